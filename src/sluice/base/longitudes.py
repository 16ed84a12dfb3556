"""Longitudes at 180 degrees, where they jump to -180."""

from __future__ import annotations

import numpy as np
import shapely
from shapely import GeometryCollection, MultiPolygon, Polygon
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry
from shapely.geometry.polygon import orient

from sluice.base.arrays import FloatArray, ObjectArray
from sluice.base.polygons import mend, polygon_parts

_NEAR_180 = 90.0
"""A polygon wider than half the world whose corners all lie beyond this crosses 180 degrees."""


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
    # Its belt around the world may be valid where the shape itself is not.
    whole = mend(shapely.transform(lonlat, _eastwards))
    halves = (
        whole.intersection(shapely.box(0, -90, 180, 90)),
        translate(whole.intersection(shapely.box(180, -90, 360, 90)), xoff=-360),
    )
    # A shape that only touches the line leaves a piece of the line on the other side.
    return MultiPolygon([orient(part) for part in polygon_parts(halves)])


def within_180(shapes: ObjectArray) -> ObjectArray:
    """Shapes in degrees within -180 to 180, however their authors wrote what crosses that line.

    Some write 179 to 181, some 359.9 for -0.1, some 179 to -179; the last looks like a belt around
    the world.

    Args:
        shapes: (N,) in degrees, None and empty ones among them.

    Returns:
        Polygons that cross are cut at 180 degrees; the others are the same ones. What reaches
        farther than one turn stays as it is.
    """
    west, _, east, _ = shapely.bounds(shapes).reshape(-1, 4).T
    # Comparisons with NaN, of what is empty, are false.
    beyond = (west < -180) | (east > 180)
    within_a_turn = (west >= -360) & (east <= 360)
    rows = np.flatnonzero((beyond | ((west < -90) & (east > 90))) & within_a_turn)
    if not len(rows):
        return shapes
    told = shapes.copy()
    for row in rows:
        told[row] = _within_180(shapes[row])
    return told


def _within_180(shape: BaseGeometry) -> BaseGeometry:
    pieces: list[BaseGeometry] = []
    for part in shapely.get_parts(shapely.get_parts(shape)):
        turned = shapely.transform(part, _turned)
        longitudes = np.abs(shapely.get_coordinates(turned)[:, 0])
        # A belt whose corners all lie on the line is one indeed.
        crosses = longitudes.min(initial=180) > _NEAR_180 and longitudes.min(initial=180) < 180
        cut = cut_at_180(turned) if isinstance(turned, Polygon) and crosses else turned
        pieces += list(shapely.get_parts(cut))
    if len(pieces) == 1:
        return pieces[0]
    if all(isinstance(piece, Polygon) for piece in pieces):
        return MultiPolygon(polygon_parts(pieces))
    return GeometryCollection(pieces)


def box_around(shapes: ObjectArray) -> BaseGeometry:
    """The narrowest box around shapes, in degrees; two boxes where it crosses 180 degrees.

    Args:
        shapes: (N,) within -180 to 180, cut there; at least one is not empty.
    """
    bounds = shapely.bounds(shapely.get_parts(shapely.get_parts(shapes))).reshape(-1, 4)
    bounds = bounds[np.isfinite(bounds).all(axis=1)]
    south, north = bounds[:, 1].min(), bounds[:, 3].max()
    order = np.argsort(bounds[:, 0])
    west, reached = bounds[order, 0], np.maximum.accumulate(bounds[order, 2])
    gaps = west[1:] - reached[:-1]
    widest = int(gaps.argmax()) if len(gaps) else 0
    if not len(gaps) or gaps[widest] <= west[0] + 360 - reached[-1]:
        box: BaseGeometry = shapely.box(west[0], south, reached[-1], north)
        return box
    return MultiPolygon(
        [
            shapely.box(west[widest + 1], south, 180, north),
            shapely.box(-180, south, reached[widest], north),
        ]
    )


def degrees_across(shape: BaseGeometry) -> tuple[float, float]:
    """How many degrees of longitude and of latitude the narrowest box around a shape has."""
    if shape.is_empty:
        return 0.0, 0.0
    sides = shapely.bounds(shapely.get_parts(box_around(np.array([shape], dtype=object))))
    west, south, east, north = sides.T
    return float((east - west).sum()), float((north - south).max())


def _turned(points: FloatArray) -> FloatArray:
    """Points with longitudes brought into -180 to 180."""
    moved = points.copy()
    lon = points[:, 0]
    moved[:, 0] = np.where(np.abs(lon) > 180, (lon + 180) % 360 - 180, lon)
    return moved


def _eastwards(points: FloatArray) -> FloatArray:
    """Points with longitudes from 0 to 360."""
    moved = points.copy()
    moved[points[:, 0] < 0, 0] += 360
    return moved
