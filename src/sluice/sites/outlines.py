"""From numbered cells to polygons, and back."""

from __future__ import annotations

from typing import TypeAlias

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import rasterio.features
from odc.geo.geobox import GeoBox
from shapely.geometry import MultiPolygon, Polygon

NumbersHW: TypeAlias = npt.NDArray[np.int32]


def outline_numbers(numbers: NumbersHW, geobox: GeoBox) -> dict[int, MultiPolygon]:
    """Valid outlines of the cells of each number, in the grid's CRS; 0 has none.

    Cells that touch at a corner are parts of one multipolygon: a ring through the corner would
    cross itself.
    """
    parts: dict[int, list[Polygon]] = {}
    for shape, number in rasterio.features.shapes(
        numbers, mask=numbers > 0, connectivity=4, transform=geobox.affine
    ):
        rings = shape["coordinates"]
        parts.setdefault(int(number), []).append(Polygon(rings[0], rings[1:]))
    return {number: MultiPolygon(found) for number, found in parts.items()}


def burn_numbers(polygons: gpd.GeoSeries, geobox: GeoBox) -> NumbersHW:
    """(H, W) number of the polygon at each cell's centre, from 1 in their order; 0 outside.

    Args:
        polygons: In any CRS.
        geobox: Grid of the cells.
    """
    shapes = polygons.to_crs(str(geobox.crs))
    pairs = [(shape, number) for number, shape in enumerate(shapes, 1) if not shape.is_empty]
    burnt: NumbersHW = np.zeros(geobox.shape.yx, np.int32)
    if pairs:
        rasterio.features.rasterize(pairs, out=burnt, transform=geobox.affine)
    return burnt
