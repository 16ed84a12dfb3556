"""A large area cut into parts that each fit on one UTM grid."""

from __future__ import annotations

import math

import shapely
from shapely.geometry.base import BaseGeometry

from sluice.app.area import NamedArea
from sluice.base.grid import utm_crs
from sluice.base.polygons import polygon_parts
from sluice.imagery.target_grid import utm_box

_FARTHEST_DEGREES = 6.0
"""From a zone's central meridian: UTM's scale is off by half a percent there, not more."""
_LARGEST_PART_M = 900_000
"""Side of a part: within that of a grid (`LARGEST_SIDE_M`), with the margin that a scan adds."""
_BAND_DEGREES = 8
"""Height of the bands that a tall area is cut into, as UTM's own: 890 km at most."""


def map_parts(area: BaseGeometry) -> list[NamedArea]:
    """Cut an area into parts that each fit on one UTM grid.

    One part without a name where all of it does: on one side of 180 degrees of longitude, within
    six degrees of the central meridian of the zone of its middle, and no side over 900 km.
    Else a part for each zone that it touches, named `utm21`. One that is too tall for a zone is
    cut into bands of 8 degrees of latitude first, and of a band that fits on one grid all is one
    part: `utm21-s08` reaches from 8 degrees south to the equator, `utm21-n00` on to 8 north. So
    names depend on where a part lies only.

    Args:
        area: In longitude and latitude, from -180 to 180 degrees.

    Returns:
        By name; they cover the area and do not overlap. An area that reaches beyond UTM at the
        poles is one part, for `area_grid` to refuse.
    """
    if _fits(area) or not _is_within_utm(area):
        return [NamedArea("", area)]
    _, south, _, north = area.bounds
    parts = []
    for low in _band_edges(south, north):
        suffix = "" if low is None else f"-{'s' if low < 0 else 'n'}{abs(low):02d}"
        band = area if low is None else _within_box(area, -180, low, 180, low + _BAND_DEGREES)
        if low is not None and _fits(band):
            parts.append(NamedArea(f"utm{_zone_of(band):02d}{suffix}", band))
            continue
        for number in range(1, 61):
            zone = _within_box(band, 6 * number - 186, -90, 6 * number - 180, 90)
            if not zone.is_empty:
                parts.append(NamedArea(f"utm{number:02d}{suffix}", zone))
    return sorted(parts, key=lambda part: part.name)


def _band_edges(south: float, north: float) -> list[int | None]:
    """Southern edges of the bands that an area meets; only None where it needs none."""
    # At the poles, where degrees are longest.
    if (north - south) * 111_700 <= _LARGEST_PART_M:
        return [None]
    first = math.floor(south / _BAND_DEGREES) * _BAND_DEGREES
    return [*range(first, math.ceil(north), _BAND_DEGREES)]


def _fits(area: BaseGeometry) -> bool:
    """Whether one UTM grid holds an area."""
    if area.is_empty or not _is_within_utm(area):
        return False
    west, _, east, _ = area.bounds
    meridian = 6 * _zone_of(area) - 183
    if max(abs(west - meridian), abs(east - meridian)) > _FARTHEST_DEGREES:
        return False
    _, (xmin, ymin, xmax, ymax) = utm_box(area)
    return max(xmax - xmin, ymax - ymin) <= _LARGEST_PART_M


def _is_within_utm(area: BaseGeometry) -> bool:
    return bool(area.bounds[1] > -80 and area.bounds[3] < 84)


def _zone_of(area: BaseGeometry) -> int:
    middle = area.envelope.centroid
    return utm_zone(utm_crs(middle.x, middle.y).epsg or 0)


def _within_box(
    area: BaseGeometry, west: float, south: float, east: float, north: float
) -> BaseGeometry:
    """The polygons of an area in a box; empty where there are none."""
    inside: BaseGeometry = shapely.union_all(
        polygon_parts(area.intersection(shapely.box(west, south, east, north)))
    )
    return inside


def utm_zone(epsg: int) -> int:
    """Number of the zone of a WGS 84 / UTM code, 32601 to 32660 or 32701 to 32760."""
    return epsg % 100
