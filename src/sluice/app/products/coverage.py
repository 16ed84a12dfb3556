"""How much of the area was looked at, and how much could not be observed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyproj
import shapely
from odc.geo.geobox import GeoBox
from rasterio import Affine, features
from rasterio.windows import Window
from shapely.geometry.base import BaseGeometry
from shapely.geometry.polygon import orient

from sluice.base.arrays import BoolHW
from sluice.base.files import open_raster
from sluice.base.longitudes import cut_at_180
from sluice.base.polygons import polygon_parts

_GEOD = pyproj.Geod(ellps="WGS84")
_NEAR_DEGREES = 0.05
_STEP_DEGREES = 0.01
_QUARTERS = (-180, -90, 0, 90)


@dataclass(frozen=True)
class Coverage:
    """Hectares of the area asked for, and of the part without a score."""

    area_ha: float
    not_observed_ha: float

    @property
    def not_observed_percent(self) -> float:
        """0-100."""
        return 100 * self.not_observed_ha / self.area_ha if self.area_ha else 0.0


def outline_lonlat(geobox: GeoBox) -> BaseGeometry:
    """Outline of a grid in EPSG:4326, with 50 points a side, as its edges become curves.

    Returns:
        A polygon; a multipolygon with a part on each side where the grid crosses 180 degrees.
    """
    outline = shapely.box(*geobox.boundingbox.bbox)
    longest = max(geobox.boundingbox.span_x, geobox.boundingbox.span_y)
    dense = gpd.GeoSeries([outline.segmentize(longest / 50)], crs=str(geobox.crs))
    return cut_at_180(dense.to_crs("EPSG:4326").iloc[0])


def part_near(area: BaseGeometry, geobox: GeoBox) -> BaseGeometry:
    """The part of an area that a grid covers, and a little more.

    An area may be a country, and far from the grid's zone UTM has no numbers for it.

    Args:
        area: In EPSG:4326.
        geobox: In UTM.
    """
    boxes = [side.buffer(_NEAR_DEGREES).bounds for side in polygon_parts(outline_lonlat(geobox))]
    clipped = [shapely.clip_by_rect(area, *box) for box in boxes]
    near: BaseGeometry = shapely.union_all(polygon_parts(clipped))
    return near


def to_grid(area: BaseGeometry, crs: object) -> BaseGeometry:
    """Project an area, with vertices added, as lines that are straight in degrees bend.

    Args:
        area: In EPSG:4326, near the grid's zone (`part_near`).
        crs: Of the grid.
    """
    dense = gpd.GeoSeries([shapely.segmentize(area, _STEP_DEGREES)], crs="EPSG:4326")
    projected: BaseGeometry = dense.to_crs(str(crs)).iloc[0]
    return projected


def measure_coverage(
    score_path: Path, geobox: GeoBox, *, area: BaseGeometry | None = None
) -> Coverage:
    """Count the pixels without a score, block by block.

    Args:
        score_path: Raster in a projected CRS, north up, no data = not observed.
        geobox: Processing grid, which the raster covers.
        area: In EPSG:4326, the part that was asked for; the whole raster if None. What of it
            lies outside the raster counts as not observed.

    Returns:
        Geodesic hectares; the share is that of the pixels.

    Raises:
        AssetReadError: The raster is unreadable.
    """
    outline = outline_lonlat(geobox)
    wanted = outline if area is None else area
    wanted_ha = geodesic_ha(wanted)
    inside = wanted if area is None else wanted.intersection(outline)
    inside_ha = geodesic_ha(inside)
    near = None if area is None else part_near(area, geobox)
    with open_raster(score_path) as score:
        pixels, observed = _count(score, near)
        if not pixels:
            # An area smaller than a pixel may have no pixel's centre in it.
            pixels, observed = _count(score, near, all_touched=True)
    observed_ha = inside_ha * observed / pixels if pixels else 0.0
    missing_ha = wanted_ha - observed_ha
    # Less than a billionth is what sums of floating-point numbers differ by.
    return Coverage(wanted_ha, missing_ha if missing_ha > 1e-9 * wanted_ha else 0.0)


def observed_polygons(
    score_path: Path, geobox: GeoBox, *, area: BaseGeometry | None = None
) -> gpd.GeoSeries:
    """Outline the ground that has a score.

    Args:
        score_path: As for `measure_coverage`; read as a whole.
        geobox: Processing grid, beyond which the raster's coarser pixels may reach.
        area: In EPSG:4326, the part that is wanted; the whole grid if None.

    Returns:
        Polygons in the grid's CRS, none where nothing was observed.

    Raises:
        AssetReadError: The raster is unreadable.
    """
    with open_raster(score_path) as score:
        has_score = score.read_masks(1) > 0
        transform = score.transform
    wanted: BaseGeometry = shapely.box(*geobox.boundingbox.bbox)
    if area is not None:
        wanted = wanted.intersection(to_grid(part_near(area, geobox), geobox.crs))
    found = features.shapes(has_score.astype(np.uint8), mask=has_score, transform=transform)
    observed = shapely.union_all([shapely.geometry.shape(outline) for outline, _ in found])
    return gpd.GeoSeries(polygon_parts(observed.intersection(wanted)), crs=str(geobox.crs))


def geodesic_ha(lonlat: BaseGeometry) -> float:
    """Hectares on the ellipsoid of polygons in EPSG:4326."""
    # By quarters of the globe, and in short edges: a geodesic takes the shorter way around.
    quarters = [shapely.clip_by_rect(lonlat, west, -90, west + 90, 90) for west in _QUARTERS]
    short = [shapely.segmentize(quarter, 1.0) for quarter in quarters]
    # Rings are summed with their sign, so that holes must run the other way than shells.
    polygons = [orient(part) for part in polygon_parts(short)]
    return sum(abs(_GEOD.geometry_area_perimeter(polygon)[0]) for polygon in polygons) / 1e4


def _count(score: Any, area: BaseGeometry | None, *, all_touched: bool = False) -> tuple[int, int]:
    """Pixels inside the area, and those of them that have a score."""
    shape = None if area is None else to_grid(area, score.crs)
    pixels = observed = 0
    for _, window in score.block_windows(1):
        has_score: BoolHW = score.read_masks(1, window=window) > 0
        if shape is None:
            inside = np.ones_like(has_score)
        else:
            inside = features.geometry_mask(
                [shape],
                has_score.shape,
                _moved(score, window),
                all_touched=all_touched,
                invert=True,
            )
        pixels += int(inside.sum())
        observed += int((has_score & inside).sum())
    return pixels, observed


def _moved(score: Any, window: Window) -> Affine:
    """Transform of a block of a raster that is north up."""
    a = score.transform
    left, top = a.c + a.a * window.col_off, a.f + a.e * window.row_off
    return Affine(a.a, 0.0, left, 0.0, a.e, top)
