"""Discs in place of detections of which only a point and an area are known."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pyproj
import shapely

from sluice.base.errors import DataError
from sluice.base.longitudes import cut_at_180

_WGS84 = pyproj.Geod(ellps="WGS84")
_CORNERS = 32


def disc_shapes(lon: npt.ArrayLike, lat: npt.ArrayLike, area_ha: npt.ArrayLike) -> gpd.GeoSeries:
    """A disc of each area around each point.

    It stands for a shape that nobody gave: where it lies is right to about its radius.

    Args:
        lon: (points,) degrees.
        lat: (points,) degrees.
        area_ha: (points,) geodesic hectares.

    Returns:
        Polygons of 32 corners in EPSG:4326, cut at 180 degrees; discs of up to 1,000 km2 have
        their area within 0.1 %.

    Raises:
        DataError: An area is not positive, or a place is none.
    """
    x, y, area = np.broadcast_arrays(*(np.asarray(each, float) for each in (lon, lat, area_ha)))
    wrong = ~((area > 0) & np.isfinite(area) & (np.abs(x) <= 180) & (np.abs(y) <= 90))
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"point {first} lies at longitude {x[first]}, latitude {y[first]} and has "
            f"{area[first]} ha; give degrees, and areas above 0"
        )
    radius = np.sqrt(2 * area * 10_000 / (_CORNERS * np.sin(2 * np.pi / _CORNERS)))
    angle = np.tile(np.linspace(0, 360, _CORNERS, endpoint=False), len(x))
    at = [np.repeat(values, _CORNERS) for values in (x, y, radius)]
    corner_x, corner_y, _ = _WGS84.fwd(at[0], at[1], angle, at[2])
    corners = np.stack([corner_x, corner_y], axis=1).reshape(-1, _CORNERS, 2)
    # From north by east: clockwise, and a shell goes the other way.
    shapes = np.zeros(len(x), dtype=object)
    if len(x):
        shapes[:] = shapely.polygons(corners[:, ::-1])
    crossing = np.ptp(corners[..., 0], axis=1) > 180 if len(x) else np.zeros(0, bool)
    shapes[crossing] = [cut_at_180(shape) for shape in shapes[crossing]]
    return gpd.GeoSeries(shapes, crs="EPSG:4326")
