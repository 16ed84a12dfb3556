"""Polygons as they come, made valid: the one way to mend shapes that cross themselves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from shapely import Polygon
from shapely.geometry.base import BaseGeometry

from sluice.base.arrays import ObjectArray


def mended(shapes: ObjectArray) -> ObjectArray:
    """The same shapes, valid: those that cross themselves are made anew of their parts.

    A spike of a polygon becomes a line beside it, which is no part of an area, and is left out: a
    polygon without area becomes an empty one.

    Args:
        shapes: (N,) of any kind, None among them.
    """
    wrong = ~shapely.is_valid(shapes) & ~shapely.is_missing(shapes)
    if not wrong.any():
        return shapes
    whole = shapes.copy()
    area = shapely.get_dimensions(shapes) == 2
    whole[wrong] = shapely.make_valid(shapes[wrong])
    for row in np.flatnonzero(wrong & area):
        whole[row] = shapely.union_all(polygon_parts(whole[row]))
    return whole


def rounded(shapes: ObjectArray, decimals: int) -> ObjectArray:
    """Shapes with rounded coordinates, valid as they were.

    Rounding lays corners that are close onto each other, and then a ring may cross itself, or have
    too few: such shapes are made anew on the grid of those decimals, without the rings that are
    smaller than it. What would be nothing then stays as it is.

    Args:
        shapes: (N,) of any kind, None among them.
        decimals: Of their coordinates.
    """

    def plainly(shapes: ObjectArray) -> ObjectArray:
        found: ObjectArray = shapely.transform(shapes, lambda xy: np.round(xy, decimals))
        return found

    found = plainly(shapes)
    broken = np.flatnonzero(~shapely.is_valid(found) & ~shapely.is_missing(found))
    if len(broken):
        whole = mended(shapes[broken])
        anew = plainly(shapely.set_precision(whole, 10.0**-decimals))
        found[broken] = np.where(shapely.is_empty(anew), whole, anew)
    return found


def mend(shape: BaseGeometry) -> BaseGeometry:
    """One shape, valid; see `mended`."""
    one = np.empty(1, dtype=object)
    one[0] = shape
    whole: BaseGeometry = mended(one)[0]
    return whole


def polygon_parts(geometries: BaseGeometry | Sequence[BaseGeometry] | ObjectArray) -> list[Polygon]:
    """The polygons in geometries of any kind; points and lines, as at a touch, are left out."""
    # Once for collections and once for the multipolygons in them.
    parts = shapely.get_parts(shapely.get_parts(geometries))
    return [part for part in parts if isinstance(part, Polygon) and not part.is_empty]
