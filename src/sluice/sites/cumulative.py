"""All that was ever detected, and what one period adds to another, as areas on the ground.

Unions and differences are taken in degrees, where borders that are shared stay shared; areas are
geodesic hectares. A smallest area that is measured in Web Mercator is another one at each latitude:
what it calls 11 ha is 10.9 ha at 5 degrees and 5.5 ha at 45.
"""

from __future__ import annotations

import datetime as dt

import geopandas as gpd
import numpy as np
import shapely
from scipy import sparse

from sluice.base.arrays import ObjectArray
from sluice.base.errors import ConfigError, DataError, GridMismatch
from sluice.base.polygons import mended
from sluice.sites.area import geodesic_areas_ha

_POLYGONAL = (3, 6)
_AT_EDGE_DEG = 1e-9


def dissolve(shapes: gpd.GeoSeries) -> gpd.GeoDataFrame:
    """Melt shapes that overlap or share a border into one.

    Args:
        shapes: In EPSG:4326. Those that cross themselves are mended; points and lines have no
            part in it.

    Returns:
        Columns `area_ha` (geodesic) and `geometry`, in EPSG:4326, from west to east: polygons that
        do not touch but at corners, and multipolygons where one lies across 180 degrees.

    Raises:
        GridMismatch: Not in EPSG:4326.
    """
    _check_crs(shapes)
    return _frame(_join_across_180(_parts(shapely.union_all(_polygons(shapes)))))


def cumulative_union(
    detections: gpd.GeoDataFrame, since: dt.date | None = None, until: dt.date | None = None
) -> gpd.GeoDataFrame:
    """All that was detected in the periods that lie within a span.

    Args:
        detections: In EPSG:4326, with `start` and `end` of their run's period, as dates.
        since: First day; None from the first detection on.
        until: Last day, included; None to the last detection.

    Returns:
        As `dissolve`.

    Raises:
        ConfigError: The span ends before it starts.
        DataError: A column is missing.
        GridMismatch: Not in EPSG:4326.
    """
    if since is not None and until is not None and until < since:
        raise ConfigError(f"a span from {since} to {until} ends before it starts; swap the dates")
    missing = [name for name in ("start", "end") if name not in detections.columns]
    if missing:
        raise DataError(
            f"the detections have no column {', '.join(missing)}; add their run's period"
        )
    kept = np.ones(len(detections), bool)
    if since is not None:
        kept &= np.array([day >= since for day in detections["start"]], bool)
    if until is not None:
        kept &= np.array([day <= until for day in detections["end"]], bool)
    return dissolve(detections.geometry[kept])


def differences(
    earlier: gpd.GeoSeries, later: gpd.GeoSeries, *, smallest_ha: float
) -> gpd.GeoDataFrame:
    """What later shapes cover and earlier ones do not.

    Args:
        earlier: In EPSG:4326; need not be dissolved.
        later: Likewise.
        smallest_ha: Smallest piece that is kept, in geodesic hectares.

    Returns:
        As `dissolve`.

    Raises:
        ConfigError: The smallest area is negative.
        GridMismatch: Not in EPSG:4326.
    """
    if not smallest_ha >= 0:
        raise ConfigError(f"the smallest kept area is {smallest_ha} ha; give 0 or more")
    _check_crs(earlier)
    _check_crs(later)
    before = _parts(shapely.union_all(_polygons(earlier)))
    after = _parts(shapely.union_all(_polygons(later)))
    # Each shape is cut only by those that it meets.
    of_after, of_before = shapely.STRtree(before).query(after, predicate="intersects")
    order = np.argsort(of_after, kind="stable")
    # Dissolved parts do not overlap, so that together they are a valid shape.
    met = np.full(len(after), shapely.MultiPolygon(), dtype=object)
    if len(order):
        shapely.multipolygons(before[of_before[order]], indices=of_after[order], out=met)
    pieces = _parts(shapely.difference(after, met))
    found = _frame(_join_across_180(pieces))
    return found[found["area_ha"] >= smallest_ha].reset_index(drop=True)


def _check_crs(shapes: gpd.GeoSeries) -> None:
    if shapes.crs is None or shapes.crs.to_epsg() != 4326:
        raise GridMismatch(f"the shapes are in {shapes.crs}; bring them to EPSG:4326")


def _polygons(shapes: gpd.GeoSeries) -> ObjectArray:
    """Valid polygons, without what is none."""
    return _parts(mended(shapes.to_numpy()))


def _parts(shapes: ObjectArray | shapely.Geometry) -> ObjectArray:
    """The polygons that shapes are made of, however deep."""
    parts = shapely.get_parts(shapely.get_parts(np.atleast_1d(np.asarray(shapes, dtype=object))))
    parts = parts[np.isin(shapely.get_type_id(parts), _POLYGONAL) & ~shapely.is_empty(parts)]
    return np.asarray(parts, dtype=object)


def _join_across_180(parts: ObjectArray) -> ObjectArray:
    """Make one of the polygons that meet at 180 degrees of longitude."""
    west, _, east, _ = shapely.bounds(parts).reshape(-1, 4).T
    left = np.flatnonzero(west <= -180 + _AT_EDGE_DEG)
    right = np.flatnonzero(east >= 180 - _AT_EDGE_DEG)
    if not len(left) or not len(right):
        return parts
    moved = shapely.transform(parts[left], lambda lonlat: np.add(lonlat, [360, 0]))
    asked, found = shapely.STRtree(parts[right]).query(
        np.asarray(moved, dtype=object), predicate="dwithin", distance=2 * _AT_EDGE_DEG
    )
    graph = sparse.coo_array(
        (np.ones(len(asked)), (left[asked], right[found])), (len(parts), len(parts))
    )
    count, group = sparse.csgraph.connected_components(graph, directed=False)
    alone = np.bincount(group, minlength=count)[group] == 1
    several = np.flatnonzero(~alone)
    _, number = np.unique(group[several], return_inverse=True)
    order = np.argsort(number, kind="stable")
    joined = np.zeros(number.max() + 1 if len(number) else 0, dtype=object)
    if len(joined):
        shapely.multipolygons(parts[several[order]], indices=number[order], out=joined)
    return np.concatenate([parts[alone], joined])


def _frame(shapes: ObjectArray) -> gpd.GeoDataFrame:
    shapes = shapely.normalize(shapes)
    bounds = shapely.bounds(shapes).reshape(-1, 4)
    order = np.lexsort((bounds[:, 3], bounds[:, 2], bounds[:, 1], bounds[:, 0]))
    areas = geodesic_areas_ha([*shapes], "EPSG:4326")
    return gpd.GeoDataFrame(
        {"area_ha": areas[order]}, geometry=gpd.GeoSeries(shapes[order], crs="EPSG:4326")
    )
