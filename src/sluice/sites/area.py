"""Areas on the ellipsoid, so that no map projection stretches them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyproj
import shapely
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry, BaseMultipartGeometry

from sluice.base.arrays import FloatArray
from sluice.base.errors import ConfigError

_WGS84 = pyproj.Geod(ellps="WGS84")
# A straight edge on a map is no geodesic. At this length the two part by less than 0.4 m: most on a
# parallel at 45 degrees, and a tenth of that in UTM.
_STEP_DEG, _STEP_M = 0.05, 5000.0


def geodesic_areas_ha(geometries: Sequence[BaseGeometry], crs: Any) -> FloatArray:
    """Areas on the WGS 84 ellipsoid, in hectares; holes do not count.

    Args:
        geometries: Polygons and multipolygons, rings in any direction; points and lines have no
            area.
        crs: Their CRS, in any form that pyproj takes.

    Returns:
        (number of geometries,) hectares.

    Raises:
        ConfigError: The CRS is not known.

    Source:
        Karney 2013, doi:10.1007/s00190-012-0578-z.
    """
    try:
        known = pyproj.CRS.from_user_input(crs)
    except pyproj.exceptions.CRSError as err:
        raise ConfigError(f"the CRS {crs!r} is not known; give an EPSG code") from err
    to_lonlat = pyproj.Transformer.from_crs(known, "EPSG:4326", always_xy=True)
    step = _STEP_DEG if known.is_geographic else _STEP_M
    parts, owner = shapely.get_parts(
        shapely.segmentize(np.asarray(geometries, dtype=object), step), return_index=True
    )
    areas = np.zeros(len(geometries))
    for part, index in zip(parts, owner, strict=True):
        areas[index] += _geometry_m2(part, to_lonlat) / 10_000
    return areas


def _geometry_m2(geometry: BaseGeometry, to_lonlat: pyproj.Transformer) -> float:
    if isinstance(geometry, BaseMultipartGeometry):
        return sum(_geometry_m2(part, to_lonlat) for part in geometry.geoms)
    return _polygon_m2(geometry, to_lonlat) if isinstance(geometry, Polygon) else 0.0


def _polygon_m2(polygon: Polygon, to_lonlat: pyproj.Transformer) -> float:
    if polygon.is_empty:
        return 0.0
    outer = _ring_m2(np.asarray(polygon.exterior.coords), to_lonlat)
    return outer - sum(_ring_m2(np.asarray(hole.coords), to_lonlat) for hole in polygon.interiors)


def _ring_m2(coordinates: FloatArray, to_lonlat: pyproj.Transformer) -> float:
    lon, lat = to_lonlat.transform(coordinates[:, 0], coordinates[:, 1])
    # The sign tells the ring's direction only.
    return abs(float(_WGS84.polygon_area_perimeter(lon, lat)[0]))
