"""What part of a place lies within features, and which feature is nearest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely

from sluice.base.arrays import BoolHW, FloatArray, IntArray
from sluice.sites.zones import Pieces, Shapes, Zone

_SEGMENTS = 16
_SLIVER = 1e-6
"""Of a place's area: less is a common border, and rounding."""


@dataclass(frozen=True)
class Overlaps:
    """Places and the features that they meet, a pair each."""

    place: IntArray
    """(k,) by position in the zone."""
    feature: IntArray
    shapes: Shapes
    """(k,) what of the place lies within the feature and its buffer, in metres."""
    share: FloatArray
    """(k,) part of the place's area, 0-1; a place without area lies within or does not."""


def overlaps(zone: Zone, pieces: Pieces) -> Overlaps:
    """Pair places with the features that they share ground with.

    Areas are compared within one place, where a UTM zone stretches all alike.

    Args:
        zone: The places.
        pieces: Of the features, in metres of the zone. A line or point without a buffer has no
            ground to share.
    """
    with_ground = (shapely.get_dimensions(pieces.shapes) == 2) | (pieces.buffer_m > 0)
    pieces = pieces.part(with_ground)
    tree = shapely.STRtree(zone.places)
    piece, place = _pairs(tree, pieces)
    reach = pieces.shapes.copy()
    near = np.unique(piece[pieces.buffer_m[piece] > 0])
    reach[near] = shapely.buffer(reach[near], pieces.buffer_m[near])
    cut = _cut(zone.places, place, reach, piece)
    keys = np.column_stack([place, pieces.feature[piece]])
    pair, merged = _merge(keys, cut)
    share = _shares(zone.places, pair[:, 0], merged)
    kept = share > _SLIVER
    return Overlaps(pair[kept, 0], pair[kept, 1], merged[kept], share[kept])


def total_share(found: Overlaps, places: Shapes, which: npt.NDArray[np.bool_]) -> FloatArray:
    """Part of each place that lies within any of some features, 0-1.

    Args:
        found: From `overlaps`.
        places: Of the zone.
        which: (k,) the pairs that count.
    """
    total = np.zeros(len(places))
    # What lies within one feature as a whole needs no joining.
    total[found.place[which & (found.share >= 1)]] = 1
    open_ones = which & (total[found.place] < 1)
    if open_ones.any():
        place, merged = _merge(found.place[open_ones][:, None], found.shapes[open_ones])
        total[place[:, 0]] = _shares(places, place[:, 0], merged)
    return total


def common_ground(found: Overlaps) -> tuple[IntArray, Shapes]:
    """Places that meet any feature, by position in the zone, and their ground within features."""
    place, merged = _merge(found.place[:, None], found.shapes)
    return place[:, 0], merged


def nearest(zone: Zone, pieces: Pieces, reach_m: float) -> tuple[FloatArray, IntArray]:
    """Metres from each place's edge to the nearest feature's, and which that is.

    Args:
        zone: The places.
        pieces: Of the features, in metres of the zone; buffers do not count.
        reach_m: Farther ones are not looked for.

    Returns:
        (n,) metres, 0 where they meet, NaN where none is within reach; (n,) feature, -1 there.
    """
    metres = np.full(len(zone.places), np.nan)
    feature = np.full(len(zone.places), -1, np.int64)
    area = shapely.get_dimensions(pieces.shapes) == 2
    if area.any():
        within = pieces.part(area)
        place, piece = shapely.STRtree(within.shapes).query(zone.places, predicate="intersects")
        # Backwards, so that the first of several is what stays.
        order = np.argsort(-piece, kind="stable")
        metres[place], feature[place[order]] = 0.0, within.feature[piece[order]]
    apart = np.flatnonzero(feature < 0)
    edges, owner = _short_edges(pieces)
    if len(edges) and len(apart):
        (place, edge), distance = shapely.STRtree(edges).query_nearest(
            zone.places[apart], max_distance=reach_m, return_distance=True, all_matches=False
        )
        metres[apart[place]], feature[apart[place]] = distance, owner[edge]
    return metres, feature


def _short_edges(pieces: Pieces) -> tuple[Shapes, IntArray]:
    """Points, and the lines and borders of pieces in parts of few segments, with their feature.

    What is near is found by boxes first, and then segment by segment: short parts leave few.
    """
    dimension = shapely.get_dimensions(pieces.shapes)
    rings, of_ring = shapely.get_rings(pieces.shapes[dimension == 2], return_index=True)
    lines = np.concatenate([pieces.shapes[dimension == 1], rings])
    feature = np.concatenate(
        [pieces.feature[dimension == 1], pieces.feature[dimension == 2][of_ring]]
    )
    points = dimension == 0
    if not len(lines):
        return pieces.shapes[points], pieces.feature[points]
    xy, line = shapely.get_coordinates(lines, return_index=True)
    vertex = np.arange(len(line)) - np.searchsorted(line, line)
    part = vertex // _SEGMENTS
    # The vertex between two parts ends the one and begins the other.
    shared = np.flatnonzero((vertex % _SEGMENTS == 0) & (vertex > 0))
    chosen = np.concatenate([np.arange(len(line)), shared])
    part = np.concatenate([part, part[shared] - 1])
    order = np.lexsort((vertex[chosen], part, line[chosen]))
    chosen, part = chosen[order], part[order]
    begins = np.r_[True, (np.diff(part) != 0) | (np.diff(line[chosen]) != 0)]
    number = np.cumsum(begins) - 1
    # The last vertex of a line may stand alone: it is the end of the part before.
    whole = (np.bincount(number) > 1)[number]
    number = np.unique(number[whole], return_inverse=True)[1]
    short = shapely.linestrings(xy[chosen[whole]], indices=number)
    owner = feature[line[chosen[whole & begins]]]
    return (
        np.concatenate([pieces.shapes[points], short]),
        np.concatenate([pieces.feature[points], owner]),
    )


def _pairs(tree: shapely.STRtree, pieces: Pieces) -> tuple[IntArray, IntArray]:
    """Pieces and places that meet, buffers counted."""
    found = [np.empty((2, 0), np.int64)]
    for buffer_m in np.unique(pieces.buffer_m):
        rows = np.flatnonzero(pieces.buffer_m == buffer_m)
        hits = (
            tree.query(pieces.shapes[rows], predicate="dwithin", distance=buffer_m)
            if buffer_m > 0
            else tree.query(pieces.shapes[rows], predicate="intersects")
        )
        found.append(np.stack([rows[hits[0]], hits[1]]))
    piece, place = np.concatenate(found, axis=1)
    return piece, place


def _cut(places: Shapes, place: IntArray, reach: Shapes, piece: IntArray) -> Shapes:
    cut = places[place]
    shapely.prepare(reach)
    across = np.flatnonzero(~_covers(reach[piece], cut))
    cut[across] = shapely.intersection(cut[across], reach[piece[across]])
    return cut


def _covers(outer: Shapes, inner: Shapes) -> BoolHW:
    return np.asarray(shapely.covers(outer, inner), dtype=np.bool_)


def _merge(keys: IntArray, shapes: Shapes) -> tuple[IntArray, Shapes]:
    """Join the shapes of each key, so that ground that two share counts once.

    Args:
        keys: (k, c) integers.
        shapes: (k,).

    Returns:
        (u, c) keys in order, and (u,) shapes.
    """
    if not len(keys):
        return keys, shapes
    order = np.lexsort(keys.T[::-1])
    keys, shapes = keys[order], shapes[order]
    first = np.flatnonzero(np.r_[True, (np.diff(keys, axis=0) != 0).any(axis=1)])
    keys, shapes = keys[first], _joined(shapes, first)
    return keys, shapes


def _joined(shapes: Shapes, first: IntArray) -> Shapes:
    """The union of each run of shapes, by where each begins: neighbours two by two, all at once."""
    run = np.zeros(len(shapes), np.int64)
    run[first[1:]] = 1
    run = np.cumsum(run)
    while len(shapes) > len(first):
        place = np.arange(len(run)) - np.searchsorted(run, run)
        even = np.flatnonzero(place % 2 == 0)
        paired = even[even + 1 < len(run)]
        paired = paired[run[paired] == run[paired + 1]]
        shapes[paired] = shapely.union(shapes[paired], shapes[paired + 1])
        shapes, run = shapes[even], run[even]
    return shapes


def _shares(places: Shapes, place: IntArray, within: Shapes) -> FloatArray:
    """Part of each place's area, or, without one, of its length, or whether it lies within."""
    share = np.zeros(len(within))
    whole_m2, whole_m = shapely.area(places)[place], shapely.length(places)[place]
    areal, linear = whole_m2 > 0, (whole_m2 == 0) & (whole_m > 0)
    share[areal] = shapely.area(within)[areal] / whole_m2[areal]
    share[linear] = shapely.length(within)[linear] / whole_m[linear]
    point = ~areal & ~linear
    share[point] = ~shapely.is_empty(within[point])
    return np.clip(share, 0, 1)
