"""Where on Earth a grid lies, and whether that meets an area."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import shapely
from odc.geo import CRS
from odc.geo.geobox import GeoBox
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

from sluice.base.arrays import FloatArray
from sluice.imagery.warp import crs_of

_EDGE_PARTS = 16


def meets(area: BaseGeometry, grid: GeoBox) -> bool:
    """Whether a grid covers any of an area.

    Args:
        area: In longitude and latitude, within -180 to 180 degrees.
        grid: With a CRS, narrower than half the world.

    Raises:
        GridMismatch: The grid has no CRS.
    """
    footprint = footprint_lonlat(grid)
    for turn in (0, -360, 360):
        moved = translate(footprint, xoff=turn)
        # An edge in common holds no pixel.
        if moved.intersects(area) and not moved.touches(area):
            return True
    return False


def footprint_lonlat(grid: GeoBox) -> shapely.Polygon:
    """The outline of a grid in degrees, in one piece: across 180 degrees longitudes go on.

    Raises:
        GridMismatch: The grid has no CRS.
    """
    height, width = grid.shape.yx
    ends = np.array([(0, 0), (width, 0), (width, height), (0, height), (0, 0)], dtype=np.float64)
    way = np.arange(_EDGE_PARTS)[:, None] / _EDGE_PARTS
    sides = [start + (end - start) * way for start, end in pairwise(ends)]
    # The middle comes first, to say on which turn around the world the others are.
    pixels = np.vstack([[[width / 2, height / 2]], *sides])
    lon, lat = _to_lonlat(grid, pixels)
    lon = lon[0] + (lon - lon[0] + 180) % 360 - 180
    outline = np.column_stack([lon, lat])[1:]
    # Far outside a projection there are no numbers.
    outline = outline[np.isfinite(outline).all(axis=1)]
    return shapely.Polygon(outline if len(outline) > 3 else None)


def _to_lonlat(grid: GeoBox, pixels: FloatArray) -> tuple[FloatArray, FloatArray]:
    a = grid.affine
    x = a.a * pixels[:, 0] + a.b * pixels[:, 1] + a.c
    y = a.d * pixels[:, 0] + a.e * pixels[:, 1] + a.f
    crs = crs_of(grid)
    if crs == CRS("EPSG:4326"):
        return x, y
    lon, lat = crs.transformer_to_crs(CRS("EPSG:4326"), always_xy=True)(x, y)
    return np.asarray(lon), np.asarray(lat)
