"""Mapbox Vector Tiles: shapes as commands of a pen, and numbers as varints.

Written by hand, as the package `mapbox-vector-tile` takes a tenth of a millisecond for each
feature, and a tile may have some thousands.

Source:
    Vector Tile Specification 2.1, https://github.com/mapbox/vector-tile-spec.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely

EXTENT = 4096
"""Units along the side of a tile."""
BUFFER = 64
"""Units beyond its sides that shapes are drawn."""
_POINT = 1
_MOVE_TO, _LINE_TO, _CLOSE = 1, 2, 7
_SMALLEST = 2
"""Units of the side of a polygon that would vanish."""
_TOLERANCE = 2.0
"""Units: a quarter of a pixel of a screen on which a tile is 512 pixels wide."""

Ints = npt.NDArray[np.int64]
Parts = npt.NDArray[np.object_]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Shapes:
    """Shapes in units of a tile."""

    kinds: Ints
    """(N,) 1 point, 2 line, 3 polygon; 0 where nothing of a shape is left."""
    commands: Ints
    """Those of the first shape, then those of the second, and so on."""
    counts: Ints
    """(N,) how many of them are a shape's."""


def mercator(lonlat: Floats) -> Floats:
    """Spherical Mercator: (N, 2) degrees to (N, 2) shares of the world's width, y southward."""
    lon, lat = lonlat[:, 0], np.clip(lonlat[:, 1], -85.06, 85.06)
    sine = np.sin(np.radians(lat))
    y = 0.5 - np.log((1 + sine) / (1 - sine)) / (4 * math.pi)
    return np.column_stack([lon / 360 + 0.5, y])


def tile_box(z: int, x: int, y: int, units: float = 0) -> tuple[float, float, float, float]:
    """West, south, east, north of a tile in degrees, with so many units around."""
    side, more = 2.0**-z, units / EXTENT * 2.0**-z

    def lat_of(share: float) -> float:
        return math.degrees(math.atan(math.sinh(math.pi * (1 - 2 * share))))

    west, east = (x * side - more) * 360 - 180, ((x + 1) * side + more) * 360 - 180
    north, south = lat_of(max(y * side - more, 0)), lat_of(min((y + 1) * side + more, 1))
    return max(west, -180.0), south, min(east, 180.0), north


def point_shapes(units: Ints) -> Shapes:
    """Points, from (N, 2) units."""
    commands = np.column_stack([np.full(len(units), _MOVE_TO | 1 << 3), _zigzag(units)])
    counts = np.full(len(units), 3)
    return Shapes(np.full(len(units), _POINT), commands.ravel(), counts)


def shapes_of(lonlat: npt.NDArray[np.object_], z: int, x: int, y: int) -> Shapes:
    """Any shapes, clipped to a tile and its buffer, and as coarse as its units.

    Args:
        lonlat: (N,) geometries in degrees; of a mixed collection those of the highest dimension
            are drawn.
        z: Of the tile.
        x: Of the tile.
        y: Of the tile.
    """
    return shapes_within(shapely.transform(lonlat, mercator), z, x, y)


def shapes_within(shares: npt.NDArray[np.object_], z: int, x: int, y: int) -> Shapes:
    """Likewise, of shapes in shares of the world's width, see `mercator`."""
    scale = EXTENT * 2.0**z
    corner = np.array([x, y]) * EXTENT
    units = _clip(shapely.transform(shares, lambda xy: xy * scale - corner))
    parts, owner = shapely.get_parts(units, return_index=True)
    while (shapely.get_type_id(parts) > shapely.GeometryType.POLYGON).any():
        parts, of_part = shapely.get_parts(parts, return_index=True)
        owner = owner[of_part]
    is_left = ~shapely.is_empty(parts)
    parts, owner = parts[is_left], owner[is_left]
    dimensions = shapely.get_dimensions(parts)
    highest = np.full(len(units), -1)
    np.maximum.at(highest, owner, dimensions)
    found = []
    for dimension, encode in ((0, _point_commands), (1, _line_commands), (2, _polygon_commands)):
        own = (dimensions == dimension) & (highest[owner] == dimension)
        if own.any():
            found.append(encode(parts[own], owner[own]))
    return _in_order(highest + 1, found)


def _in_order(kinds: Ints, found: list[tuple[Ints, Ints, Ints]]) -> Shapes:
    """Shapes of commands that were made kind by kind: whose they are, all of them, how many."""
    if not found:
        return Shapes(kinds, np.zeros(0, np.int64), np.zeros(len(kinds), np.int64))
    owners, commands, sizes = (np.concatenate(part) for part in zip(*found, strict=True))
    counts = np.zeros(len(kinds), dtype=np.int64)
    counts[owners] = sizes
    if len(found) > 1:
        order = np.argsort(owners, kind="stable")
        starts = np.cumsum(sizes) - sizes
        commands = commands[places_of_parts(starts[order], sizes[order])]
    return Shapes(kinds, commands, counts)


def _clip(units: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
    low, high = -BUFFER, EXTENT + BUFFER
    boxes = shapely.bounds(units)
    out = (boxes[:, :2] < low).any(axis=1) | (boxes[:, 2:] > high).any(axis=1)
    if out.any():
        clipped = units.copy()
        try:
            clipped[out] = shapely.clip_by_rect(units[out], low, low, high, high)
        except shapely.GEOSException:
            # A shape that crosses itself.
            mended = shapely.make_valid(units[out])
            clipped[out] = shapely.clip_by_rect(mended, low, low, high, high)
        units = clipped
    coarse = shapely.simplify(units, _TOLERANCE, preserve_topology=False)
    # A long and thin one would vanish.
    units = np.where(shapely.is_empty(coarse), units, coarse)
    sides = shapely.bounds(units)
    tiny = (shapely.get_dimensions(units) == 2) & (
        (sides[:, 2:] - sides[:, :2]).min(axis=1) < _SMALLEST
    )
    if tiny.any():
        west, north = np.floor(sides[tiny, :2]).T
        units = units.copy()
        units[tiny] = shapely.box(west, north, west + _SMALLEST, north + _SMALLEST)
    return units


def _zigzag(steps: Ints) -> Ints:
    return (steps << 1) ^ (steps >> 63)


def sizes_of(values: Ints) -> Ints:
    """Bytes that each number takes as a varint."""
    sizes = np.ones(len(values), dtype=np.int64)
    most = int(values.max(initial=0))
    bits = 7
    while most >> bits:
        sizes += values >= 1 << bits
        bits += 7
    return sizes


def varints(values: Ints) -> bytes:
    """Numbers from 0 on in base 128, the lowest digits first, one after the other."""
    sizes = sizes_of(values)
    starts = np.cumsum(sizes) - sizes
    found = np.empty(int(sizes.sum()), dtype=np.uint8)
    # Most have one byte or two: each turn looks only at those that go on.
    rest, at = values, starts
    while True:
        more = rest > 0x7F
        found[at] = (rest & 0x7F) | (more << 7)
        if not more.any():
            return found.tobytes()
        rest, at = rest[more] >> 7, at[more] + 1


def places_of_parts(starts: Ints, counts: Ints) -> Ints:
    """Places of all members of parts, each of so many from its start on."""
    before = np.cumsum(counts) - counts
    found: Ints = np.repeat(starts - before, counts) + np.arange(int(counts.sum()))
    return found


def _runs(keys: Ints) -> tuple[Ints, Ints]:
    """Where runs of equal numbers begin, and how long they are."""
    starts = np.flatnonzero(np.diff(keys, prepend=keys[0] - 1) != 0)
    return starts, np.diff(starts, append=len(keys))


def _without_repeats(units: Ints, ring: Ints) -> tuple[Ints, Ints]:
    """Leave out vertices that are where the one before is."""
    moved = np.ones(len(units), dtype=bool)
    moved[1:] = (np.diff(units, axis=0) != 0).any(axis=1) | (np.diff(ring) != 0)
    return units[moved], ring[moved]


def _steps(units: Ints, owner: Ints) -> Ints:
    """From vertex to vertex, the first of each shape from the tile's corner."""
    steps = np.diff(units, axis=0, prepend=np.zeros((1, 2), np.int64))
    first = np.flatnonzero(np.diff(owner, prepend=-1) != 0)
    steps[first] = units[first]
    return _zigzag(steps)


def _point_commands(parts: Parts, owner: Ints) -> tuple[Ints, Ints, Ints]:
    coordinates, of_part = shapely.get_coordinates(parts, return_index=True)
    owner = owner[of_part]
    steps = _steps(np.round(coordinates).astype(np.int64), owner)
    starts, counts = _runs(owner)
    commands = np.zeros(2 * len(steps) + len(starts), dtype=np.int64)
    heads = 2 * starts + np.arange(len(starts))
    commands[heads] = _MOVE_TO | counts << 3
    commands[_rest(len(commands), heads)] = steps.ravel()
    return owner[starts], commands, 2 * counts + 1


def _line_commands(parts: Parts, owner: Ints) -> tuple[Ints, Ints, Ints]:
    coordinates, line = shapely.get_coordinates(parts, return_index=True)
    units, line = _without_repeats(np.round(coordinates).astype(np.int64), line)
    _, counts = _runs(line)
    whole = np.repeat(counts > 1, counts)
    return _path_commands(units[whole], line[whole], owner, closed=False)


def _polygon_commands(parts: Parts, owner: Ints) -> tuple[Ints, Ints, Ints]:
    rings, of_part = shapely.get_rings(parts, return_index=True)
    outer = np.diff(of_part, prepend=-1) != 0
    coordinates, ring = shapely.get_coordinates(rings, return_index=True)
    units, ring = _without_repeats(np.round(coordinates).astype(np.int64), ring)
    starts, counts = _runs(ring)
    # A ring ends where it began.
    last = starts + counts - 1
    open_end = np.ones(len(units), dtype=bool)
    open_end[last[counts > 1]] = False
    units, ring = units[open_end], ring[open_end]
    starts, counts = _runs(ring)
    number = ring[starts]
    twice_area = _twice_areas(units, starts, counts)
    drawn = (counts >= 3) & (twice_area != 0)
    # Without its outer ring a hole would be a shape.
    is_drawn = np.zeros(len(rings), dtype=bool)
    is_drawn[number[drawn]] = True
    outer_drawn = np.zeros(len(parts), dtype=bool)
    outer_drawn[of_part[outer & is_drawn]] = True
    drawn &= outer_drawn[of_part[number]]
    # Outer rings run clockwise on the screen, holes the other way.
    turned = (twice_area > 0) != outer[number]
    place = np.arange(len(units)) - np.repeat(starts, counts)
    back = np.repeat(starts + counts - 1, counts) - place
    order = np.where(np.repeat(turned, counts), back, np.arange(len(units)))
    kept = np.repeat(drawn, counts)
    return _path_commands(units[order][kept], ring[kept], owner[of_part], closed=True)


def _twice_areas(units: Ints, starts: Ints, counts: Ints) -> Ints:
    """Positive where a ring runs clockwise on the screen, as y grows downward."""
    following = np.arange(1, len(units) + 1)
    following[starts + counts - 1] = starts
    (x, y), (nx, ny) = units.T, units[following].T
    areas: Ints = np.add.reduceat(x * ny - nx * y, starts)
    return areas


def _path_commands(
    units: Ints, path: Ints, owner: Ints, *, closed: bool
) -> tuple[Ints, Ints, Ints]:
    """Move to the first vertex of each path, and on along the others."""
    if not len(units):
        none = np.zeros(0, np.int64)
        return none, none, none
    shape = owner[path]
    steps = _steps(units, shape)
    starts, counts = _runs(path)
    extra = 3 if closed else 2
    sizes = 2 * counts + extra
    heads = np.cumsum(sizes) - sizes
    commands = np.zeros(int(sizes.sum()), dtype=np.int64)
    fixed = [heads, heads + 3]
    commands[heads] = _MOVE_TO | 1 << 3
    commands[heads + 3] = _LINE_TO | (counts - 1) << 3
    if closed:
        ends = heads + sizes - 1
        commands[ends] = _CLOSE | 1 << 3
        fixed.append(ends)
    commands[_rest(len(commands), np.concatenate(fixed))] = steps.ravel()
    first, _ = _runs(shape[starts])
    return shape[starts][first], commands, np.add.reduceat(sizes, first)


def _rest(length: int, taken: Ints) -> Ints:
    """Places that are not taken."""
    free = np.ones(length, dtype=bool)
    free[taken] = False
    return np.flatnonzero(free)
