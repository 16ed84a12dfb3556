"""Longitudes at 180 degrees, where they jump to -180."""

from __future__ import annotations

import shapely
from shapely import MultiPolygon, Polygon
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry
from shapely.geometry.polygon import orient

from sluice.base.arrays import FloatArray


def cut_at_180(lonlat: BaseGeometry) -> BaseGeometry:
    """Cut a shape that was projected to degrees where it crosses 180 degrees of longitude.

    Its vertices beyond the line got longitudes from -180 on, so that it looks like a belt around
    the world, and crosses itself.

    Args:
        lonlat: Polygon or multipolygon in degrees, on the ground narrower than half the world.

    Returns:
        The same shape where it does not cross; else a valid multipolygon within -180 to 180,
        shells counter-clockwise.

    Source:
        RFC 7946, section 3.1.9.
    """
    west, _, east, _ = lonlat.bounds
    # Written so that an empty one, whose bounds are NaN, is given back.
    if not east - west > 180:
        return lonlat
    whole = shapely.transform(lonlat, _eastwards)
    halves = (
        whole.intersection(shapely.box(0, -90, 180, 90)),
        translate(whole.intersection(shapely.box(180, -90, 360, 90)), xoff=-360),
    )
    parts = [part for half in halves for part in shapely.get_parts(half)]
    # A shape that only touches the line leaves a piece of the line on the other side.
    return MultiPolygon([orient(part) for part in parts if isinstance(part, Polygon)])


def _eastwards(points: FloatArray) -> FloatArray:
    """Points with longitudes from 0 to 360."""
    moved = points.copy()
    moved[points[:, 0] < 0, 0] += 360
    return moved
