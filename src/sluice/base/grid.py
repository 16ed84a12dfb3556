"""Grids: pixel windows, processing tiles with a halo, and the UTM grid of a scan."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import pyproj
from affine import Affine
from odc.geo import CRS
from odc.geo.geobox import GeoBox
from pyproj.aoi import AreaOfInterest
from pyproj.database import query_utm_crs_info

BBox = tuple[float, float, float, float]
"""(xmin, ymin, xmax, ymax) in the CRS named beside it; `bbox_lonlat` is degrees."""


@dataclass(frozen=True)
class PixelWindow:
    """A rectangle of pixels; may reach beyond the raster it is cut from."""

    row: int
    col: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices; only for windows that start inside."""
        return (
            slice(self.row, self.row + self.height),
            slice(self.col, self.col + self.width),
        )

    def of(self, geobox: GeoBox) -> GeoBox:
        """The grid of this window, given the grid of the whole."""
        return GeoBox(
            (self.height, self.width), shifted(geobox.affine, self.row, self.col), geobox.crs
        )


def shifted(affine: Affine, row: float, col: float) -> Affine:
    """The transform of a grid that begins at a pixel of another, whole or not.

    Written out, because affine 3 deprecates `*` and affine 2 has no `@`.
    """
    x = affine.c + affine.a * col + affine.b * row
    y = affine.f + affine.d * col + affine.e * row
    return Affine(affine.a, affine.b, x, affine.d, affine.e, y)


def iter_tiles(
    shape: tuple[int, int], size: int, halo: int, first: tuple[int, int] = (0, 0)
) -> Iterator[tuple[PixelWindow, PixelWindow]]:
    """Cut a raster into cores that cover each pixel once, each with a margin around it.

    Args:
        shape: (height, width) in pixels.
        size: Side of a core; the last row and column of cores are smaller, never dropped.
        halo: Margin read on each side, clipped to the raster.
        first: (height, width) of the first row and column of cores, less than `size`; 0 for
            whole ones.

    Yields:
        (core, padded) windows, row by row.
    """
    rows, cols = (
        [*([0] if start else []), *range(start, length, size)]
        for length, start in zip(shape, first, strict=True)
    )
    height, width = shape
    for row, bottom in itertools.pairwise([*rows, height]):
        for col, right in itertools.pairwise([*cols, width]):
            core = PixelWindow(row, col, bottom - row, right - col)
            top, left = max(0, row - halo), max(0, col - halo)
            low, far = min(height, bottom + halo), min(width, right + halo)
            yield core, PixelWindow(top, left, low - top, far - left)


@functools.lru_cache(maxsize=256)
def utm_crs(lon: float, lat: float) -> CRS:
    """The WGS 84 / UTM zone (or UPS beyond 84 N and 80 S) of a place."""
    if lat > 84:
        return CRS("EPSG:32661")
    if lat < -80:
        return CRS("EPSG:32761")
    found = query_utm_crs_info("WGS 84", AreaOfInterest(lon, lat, lon, lat), contains=True)
    return CRS(f"EPSG:{found[0].code}")


def is_metric_north_up(geobox: GeoBox) -> bool:
    """Whether the grid is projected in UTM metres, north up, with square pixels."""
    if geobox.crs is None:
        return False
    crs = pyproj.CRS(geobox.crs.to_wkt())
    a = geobox.affine
    square = math.isclose(a.a, -a.e, rel_tol=1e-6) and a.b == 0 and a.d == 0 and a.a > 0
    return square and crs.utm_zone is not None


def utm_grid(bbox: BBox, crs: CRS, gsd_m: float) -> GeoBox:
    """The smallest grid of pixels of `gsd_m`, snapped to multiples of it, that covers a box.

    Args:
        bbox: In `crs`.
        crs: A metric CRS.
        gsd_m: Pixel side in metres.
    """
    xmin, ymin, xmax, ymax = bbox
    # A thousandth of a pixel of tolerance keeps float noise from adding a row.
    col0, row0 = math.floor(xmin / gsd_m + 1e-3), math.ceil(ymax / gsd_m - 1e-3)
    col1, row1 = math.ceil(xmax / gsd_m - 1e-3), math.floor(ymin / gsd_m + 1e-3)
    transform = Affine(gsd_m, 0, col0 * gsd_m, 0, -gsd_m, row0 * gsd_m)
    return GeoBox((row0 - row1, col1 - col0), transform, crs)
