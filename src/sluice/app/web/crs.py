"""Coordinate reference systems of features: which there are, and the order of their axes.

Source:
    OGC 18-058r1, OGC API - Features - Part 2.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import shapely
from pyproj import Transformer

from sluice.base.errors import ConfigError
from sluice.base.store import BBox

CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
_EPSG = "http://www.opengis.net/def/crs/EPSG/0/"
LATLON = f"{_EPSG}4326"
MERCATOR = f"{_EPSG}3857"
KNOWN = (CRS84, LATLON, MERCATOR)
_MOST_MERCATOR = 20_037_508.342789244


def check_crs(uri: str | None) -> str:
    """A known CRS, longitude and latitude where none is named.

    Raises:
        ConfigError: It is not known.
    """
    if uri is None:
        return CRS84
    if uri not in KNOWN:
        raise ConfigError(f"the CRS {uri!r} is not known here; use one of {', '.join(KNOWN)}")
    return uri


@functools.cache
def _to_mercator() -> Transformer:
    return Transformer.from_crs("EPSG:4326", "EPSG:3857", always_xy=True)


def reproject(shapes: Iterable[Any], uri: str) -> Any:
    """Shapes in degrees, longitude first, as a CRS has them."""
    given = np.asarray(list(shapes), dtype=object)
    if uri == CRS84 or not len(given):
        return given
    if uri == LATLON:
        return shapely.transform(given, lambda xy: xy[:, ::-1])
    return shapely.transform(given, _mercator_of)


def _mercator_of(lonlat: Any) -> Any:
    lat = np.clip(lonlat[:, 1], -89.99, 89.99)
    return np.column_stack(_to_mercator().transform(lonlat[:, 0], lat))


def lonlat_of(shape: Any, uri: str) -> Any:
    """A shape of a CRS in degrees, longitude first."""
    if uri == CRS84:
        return shape
    if uri == LATLON:
        return shapely.transform(shape, lambda xy: xy[:, ::-1])
    return shapely.transform(shape, _lonlat_of_mercator)


def _lonlat_of_mercator(xy: Any) -> Any:
    x, y = np.clip(xy, -_MOST_MERCATOR, _MOST_MERCATOR).T
    return np.column_stack(_to_mercator().transform(x, y, direction="INVERSE"))


def read_box(text: str, uri: str) -> BBox:
    """A box of a CRS, in degrees.

    Args:
        text: Four numbers with commas, or six of which the third and sixth are heights.
        uri: Of `KNOWN`.

    Raises:
        ConfigError: It is none, or outside of the world.
    """
    try:
        west, south, east, north = sides_in_degrees(text.split(","), uri)
    except ValueError:
        raise ConfigError(f"bbox {text!r}: is no box; give west,south,east,north") from None
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90):
        raise ConfigError(
            f"bbox {text!r}: is outside of the world, or its south lies north of its north; give "
            "west,south,east,north in the CRS that bbox-crs names"
        )
    return west, south, east, north


def sides_in_degrees(given: Sequence[Any], uri: str) -> BBox:
    """West, south, east and north of the sides of a box in the order that a CRS has them.

    Args:
        given: Four numbers or texts of them, or six of which the third and sixth are heights.
        uri: Of `KNOWN`.

    Raises:
        ValueError: They are none, or not finite.
    """
    try:
        numbers = [float(side) for side in given]
    except TypeError as err:
        raise ValueError("a side is no number") from err
    if len(numbers) == 6:
        numbers = [numbers[k] for k in (0, 1, 3, 4)]
    if len(numbers) != 4 or not np.isfinite(numbers).all():
        raise ValueError("not four numbers")
    if uri == LATLON:
        numbers = [numbers[k] for k in (1, 0, 3, 2)]
    elif uri == MERCATOR:
        corners = _lonlat_of_mercator(np.array(numbers).reshape(2, 2))
        numbers = [float(side) for side in corners.ravel()]
    west, south, east, north = numbers
    return west, south, east, north
