"""Sentinel-2's tiles over an area: squares of the military grid, each a little larger."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import mgrs
import numpy as np
import pyproj
import shapely
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

from sluice.base.arrays import FloatArray

_SQUARE_M = 100_000
_SIDE_M = 109_800
_STEP_M = 60
"""Corners lie on multiples of the coarsest pixel."""
_SOUTH_M = 10_000_000
"""False northing of the southern zones."""
_POINTS = 24
"""Along a square's side, to find the names that it goes by."""
_BAND_BREAKS = (-80.0, 84.0)
_REACH_DEGREES = 1.0
"""A tile's 109.8 km are less than a degree of latitude more than its square's 100 km."""
_EDGE_DEGREES = 0.25


def tiles_over(area: BaseGeometry) -> list[str]:
    """The names of the tiles that may hold ground of an area, sorted.

    A tile covers its square of 100 km and 9.8 km more to the east and south, and near the rim of
    a UTM zone reaches into the next; so a place lies in up to six tiles. A square that two bands
    of latitude share is listed under both letters, though one of the two tiles may not exist.

    Args:
        area: In longitude and latitude, within -180 to 180 degrees.

    Source:
        Sentinel-2 Products Specification Document, "Tiling grid"; NGA.STND.0037 for the names.
    """
    found: set[str] = set()
    for zone, north in itertools.product(range(1, 61), (True, False)):
        near = _near_zone(area, zone, north=north)
        if near.is_empty:
            continue
        epsg = (32600 if north else 32700) + zone
        to_zone = pyproj.Transformer.from_crs(4326, epsg, always_xy=True)
        projected = _project(shapely.segmentize(near, _EDGE_DEGREES), to_zone)
        shapely.prepare(projected)
        for x, y in _corners(projected.bounds, north=north):
            if projected.intersects(tile_box(x, y, north=north)):
                found |= _names(x, y, zone, to_zone, north=north)
    return sorted(found)


def tile_box(x: float, y: float, *, north: bool) -> shapely.Polygon:
    """The ground of the tile whose 100 km square has its lower left corner at (x, y), in UTM."""
    left = x // _STEP_M * _STEP_M
    base = 0 if north else _SOUTH_M
    top = base + math.ceil((y + _SQUARE_M - base) / _STEP_M) * _STEP_M
    return shapely.box(left, top - _SIDE_M, left + _SIDE_M, top)


def _near_zone(area: BaseGeometry, zone: int, *, north: bool) -> BaseGeometry:
    """The part of an area that tiles of a zone may reach, on one turn around the world."""
    meridian = 6 * zone - 183
    low, high = (-_REACH_DEGREES, _BAND_BREAKS[1]) if north else (_BAND_BREAKS[0], _REACH_DEGREES)
    _, south, _, top = area.bounds
    if top < low or south > high:
        return shapely.Polygon()
    farthest = min(max(abs(max(south, low)), abs(min(top, high))), 84.0)
    # Around Norway and Svalbard zones are up to twice as wide.
    half = (6.0 if farthest > 55 and north else 3.0) + _REACH_DEGREES / math.cos(
        math.radians(farthest)
    )
    parts = [
        shapely.clip_by_rect(
            translate(area, xoff=turn), meridian - half, low, meridian + half, high
        )
        for turn in (-360, 0, 360)
    ]
    return shapely.union_all([part for part in parts if not part.is_empty])


def _project(geometry: BaseGeometry, to_zone: pyproj.Transformer) -> BaseGeometry:
    def to_metres(points: FloatArray) -> FloatArray:
        return np.column_stack(to_zone.transform(points[:, 0], points[:, 1]))

    return shapely.transform(geometry, to_metres)


def _corners(
    bounds: tuple[float, float, float, float], *, north: bool
) -> Iterator[tuple[int, int]]:
    """Lower left corners of the squares whose tiles may meet a box."""
    xmin, ymin, xmax, ymax = bounds
    extra = _SIDE_M - _SQUARE_M
    columns = range(
        math.floor((xmin - extra) / _SQUARE_M), math.floor((xmax + _STEP_M) / _SQUARE_M) + 1
    )
    first = math.floor((ymin - _STEP_M) / _SQUARE_M)
    rows = range(first, math.floor((ymax + extra) / _SQUARE_M) + 1)
    for column, row in itertools.product(columns, rows):
        if (row >= 0) if north else (row < _SOUTH_M // _SQUARE_M):
            yield column * _SQUARE_M, row * _SQUARE_M


def _names(x: int, y: int, zone: int, to_zone: pyproj.Transformer, *, north: bool) -> set[str]:
    """Names of a square: none where all of it lies in other zones, two across bands."""
    way = (np.arange(_POINTS) + 0.5) / _POINTS * _SQUARE_M
    # A hair inside the rim, where zones and bands may cut off a sliver.
    way = np.concatenate([[1.0], way, [_SQUARE_M - 1.0]])
    xs, ys = np.meshgrid(x + way, y + way)
    lon, lat = to_zone.transform(xs.ravel(), ys.ravel(), direction="INVERSE")
    convert = mgrs.MGRS()
    names = set()
    for one_lon, one_lat in zip(lon, lat, strict=True):
        if _BAND_BREAKS[0] <= one_lat < _BAND_BREAKS[1] and (one_lat >= 0) == north:
            name = str(convert.toMGRS(one_lat, (one_lon + 180) % 360 - 180, MGRSPrecision=0))
            names.add(name.zfill(5))
    return {name for name in names if int(name[:2]) == zone}
