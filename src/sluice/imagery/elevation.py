"""Elevation from Copernicus GLO-30: cells of one degree, read as one seamless surface."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry

from sluice.base.arrays import ArrayHW
from sluice.base.errors import ItemNotFound
from sluice.base.grid import PixelWindow
from sluice.imagery.assets import Asset
from sluice.imagery.footprints import footprint_lonlat
from sluice.imagery.remote import RemoteAccess, is_address
from sluice.imagery.warp import plan_read

COPERNICUS_30M = "https://copernicus-dem-30m.s3.amazonaws.com"
"""Public, free, without key."""
_ROWS = 3600
# Poleward of a latitude, pixels along a parallel: each about as wide on the ground.
_COLUMNS = ((85, 360), (80, 720), (70, 1200), (60, 1800), (50, 2400), (0, 3600))
_LOWEST_M = -1000.0
"""Lower than any land. The bucket's cells have no gaps; copies of them mark theirs by -9999 or
-32767, and their tags are not looked at."""
_MARGIN_DEGREES = 0.002
"""A few pixels beyond the grid, that bilinear looks at."""


@dataclass(frozen=True)
class Elevation:
    """Heights on a grid."""

    metres_hw: ArrayHW
    """(H, W) float32 above the EGM2008 geoid, of roofs and tree tops; NaN where there is none."""
    missing: tuple[str, ...]
    """Cells that do not exist: at sea, and in the few countries whose heights are not public."""


def elevation_assets(
    area: BaseGeometry, access: RemoteAccess | None = None, *, base: str | Path = COPERNICUS_30M
) -> list[Asset]:
    """The cells of Copernicus GLO-30 over an area, opening none.

    Args:
        area: In longitude and latitude, within -180 to 180 degrees.
        access: How to fetch them, where `base` is an address.
        base: The bucket's address, or a folder of cells named as there, in any folder below.

    Returns:
        One for each degree, also where there may be no cell, as at sea.

    Source:
        Copernicus DEM Product Handbook; readme of the bucket (the last row and column of the
        original cells, which belong to the neighbours too, are taken off).
    """
    where = str(base)
    return [_asset(lon, lat, where, access) for lon, lat in sorted(_cells(area))]


def read_elevation(
    geobox: GeoBox, access: RemoteAccess | None = None, *, base: str | Path = COPERNICUS_30M
) -> Elevation:
    """Read heights onto a grid, bilinear, as one surface across cells.

    Only at 50, 60, 70, 80 and 85 degrees, where the spacing of longitudes changes, is the
    half-pixel next to the line taken from the row beside it alone.

    Args:
        geobox: Axis-parallel grid. For slopes, a pixel larger on each side than needed.
        access: See `elevation_assets`.
        base: See `elevation_assets`.

    Raises:
        SourceError: A cell that is there cannot be read.
        GridMismatch: The grid is rotated, or has no CRS.
    """
    footprint = footprint_lonlat(geobox).buffer(_MARGIN_DEGREES)
    # In one piece across 180 degrees: longitudes go on, and only names turn back.
    by_columns: dict[int, list[tuple[int, int]]] = {}
    for lon, lat in sorted(_cells_of_one_piece(footprint)):
        by_columns.setdefault(_columns(lat), []).append((lon, lat))
    metres: ArrayHW = np.full(geobox.shape.yx, np.nan, dtype=np.float32)
    missing: set[str] = set()
    for cells in by_columns.values():
        mosaic = _mosaic(cells, str(base), access)
        found = plan_read(mosaic.geobox, geobox).read(mosaic)
        np.copyto(metres, found, where=np.isnan(metres))
        missing |= mosaic.missing
    return Elevation(metres, tuple(sorted(missing)))


def cell_name(lon: int, lat: int) -> str:
    """The name of the cell whose south-west corner is at whole degrees."""
    lon = (lon + 180) % 360 - 180
    south, west = "NS"[lat < 0], "EW"[lon < 0]
    return f"Copernicus_DSM_COG_10_{south}{abs(lat):02d}_00_{west}{abs(lon):03d}_00_DEM"


def _columns(lat: int) -> int:
    nearest_equator = min(abs(lat), abs(lat + 1))
    return next(columns for degrees, columns in _COLUMNS if nearest_equator >= degrees)


def _cells(area: BaseGeometry) -> set[tuple[int, int]]:
    """South-west corners of the cells that an area meets, -180 to 179 east."""
    found = _cells_of_one_piece(area)
    return {((lon + 180) % 360 - 180, lat) for lon, lat in found}


def _cells_of_one_piece(area: BaseGeometry) -> Iterator[tuple[int, int]]:
    west, south, east, north = area.bounds
    shapely.prepare(area)
    # Rows lie on whole degrees, so that the northern edge belongs to the cell.
    lats = range(max(-90, math.floor(south)), min(90, math.floor(north) + 1))
    for lon, lat in itertools.product(range(math.floor(west), math.floor(east) + 1), lats):
        if shapely.intersects(area, shapely.box(lon, lat, lon + 1, lat + 1)):
            yield lon, lat


def _grid(lon: int, lat: int, columns: int, wide: int = 1, high: int = 1) -> GeoBox:
    """The grid of cells beside each other, given the south-western one.

    Heights are of points at whole degrees and parts of them, so pixels begin half a pixel
    before.
    """
    across, down = 1 / columns, 1 / _ROWS
    left, top = lon - across / 2, lat + high + down / 2
    transform = Affine(across, 0, left, 0, -down, top)
    return GeoBox((high * _ROWS, wide * columns), transform, "EPSG:4326")


def _asset(lon: int, lat: int, base: str, access: RemoteAccess | None) -> Asset:
    name = cell_name(lon, lat)
    at_address = is_address(base)
    href = f"{base.rstrip('/')}/{name}/{name}.tif" if at_address else _in_folder(Path(base), name)
    return Asset(
        href=href,
        index=1,
        description="elevation",
        # Across 180 degrees a mosaic counts on; the file itself does not.
        geobox=_grid((lon + 180) % 360 - 180, lat, _columns(lat)),
        dtype="float32",
        nodata=None,
        has_mask=False,
        access=(access or RemoteAccess()) if at_address else None,
        # A file of that name may be a resampled copy, or another cell.
        is_promised=True,
    )


def _in_folder(folder: Path, name: str) -> str:
    nested = folder / name / f"{name}.tif"
    beside = folder / f"{name}.tif"
    if nested.is_file() or beside.is_file():
        return str(nested if nested.is_file() else beside)
    return str(next(iter(sorted(folder.rglob(f"{name}.tif"))), beside))


@dataclass(frozen=True)
class _Mosaic(Asset):
    """Cells of one spacing as one raster, so that bilinear crosses their borders."""

    cells: dict[tuple[int, int], Asset] = field(default_factory=dict, compare=False)
    """By (row, column) of cells."""
    missing: set[str] = field(default_factory=set, compare=False)
    """Names of cells found not to exist."""

    def read(self, window: PixelWindow, out: ArrayHW | None = None) -> ArrayHW:
        """See `Asset.read`; NaN where there is no cell."""
        if out is None:
            out = np.empty((window.height, window.width), np.float32)
        out.fill(np.nan)
        for (row, col), cell in self.cells.items():
            name = Path(cell.href).stem
            rows, cols = cell.geobox.shape.yx
            top, left = max(window.row, row * rows), max(window.col, col * cols)
            bottom = min(window.row + window.height, (row + 1) * rows)
            right = min(window.col + window.width, (col + 1) * cols)
            if bottom <= top or right <= left or name in self.missing:
                continue
            inner = PixelWindow(top - row * rows, left - col * cols, bottom - top, right - left)
            try:
                values = cell.read(inner)
            except ItemNotFound:
                self.missing.add(name)
                continue
            values[values < _LOWEST_M] = np.nan
            out[top - window.row : bottom - window.row, left - window.col : right - window.col] = (
                values
            )
        return out


def _mosaic(cells: list[tuple[int, int]], base: str, access: RemoteAccess | None) -> _Mosaic:
    west, north = min(lon for lon, _ in cells), max(lat for _, lat in cells)
    east, south = max(lon for lon, _ in cells), min(lat for _, lat in cells)
    columns = _columns(north)
    return _Mosaic(
        href=base,
        index=1,
        description="elevation",
        geobox=_grid(west, south, columns, east - west + 1, north - south + 1),
        dtype="float32",
        nodata=None,
        has_mask=False,
        cells={(north - lat, lon - west): _asset(lon, lat, base, access) for lon, lat in cells},
    )
