"""Areas on the ellipsoid, so that no map projection stretches them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyproj
import shapely
from shapely.geometry.base import BaseGeometry

from sluice.base.arrays import FloatArray, IntArray, ObjectArray
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
    step = _STEP_DEG if known.is_geographic else _STEP_M
    polygons, owner = _polygons(shapely.segmentize(np.asarray(geometries, dtype=object), step))
    rings, polygon = shapely.get_rings(polygons, return_index=True)
    outer = np.diff(polygon, prepend=-1) > 0
    areas_m2 = _rings_m2(rings, pyproj.Transformer.from_crs(known, "EPSG:4326", always_xy=True))
    areas = np.zeros(len(geometries))
    np.add.at(areas, owner[polygon], np.where(outer, areas_m2, -areas_m2) / 10_000)
    return areas


def _polygons(geometries: ObjectArray) -> tuple[ObjectArray, IntArray]:
    """The polygons of which these are made, and to which of them each belongs."""
    parts, owner = shapely.get_parts(geometries, return_index=True)
    # A collection may hold multipolygons.
    while (shapely.get_type_id(parts) > shapely.GeometryType.POLYGON).any():
        parts, of_part = shapely.get_parts(parts, return_index=True)
        owner = owner[of_part]
    kept = shapely.get_type_id(parts) == shapely.GeometryType.POLYGON
    return parts[kept], owner[kept]


def _rings_m2(rings: ObjectArray, to_lonlat: pyproj.Transformer) -> FloatArray:
    x, y = shapely.get_coordinates(rings).T
    lon, lat = to_lonlat.transform(x, y)
    ends = np.cumsum(shapely.get_num_coordinates(rings))
    # The sign tells the ring's direction only.
    return np.array(
        [
            abs(_WGS84.polygon_area_perimeter(lon[start:end], lat[start:end])[0])
            for start, end in itertools.pairwise([0, *ends.tolist()])
        ],
        dtype=float,
    )
