"""What part of a place lies within features, and which feature is nearest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely

from sluice.base.arrays import BoolHW, FloatArray, IntArray
from sluice.sites.zones import Pieces, Shapes, Zone

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
    if which.any():
        place, merged = _merge(found.place[which][:, None], found.shapes[which])
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
    if len(pieces.shapes):
        tree = shapely.STRtree(pieces.shapes)
        (place, piece), distance = tree.query_nearest(
            zone.places, max_distance=reach_m, return_distance=True, all_matches=False
        )
        metres[place], feature[place] = distance, pieces.feature[piece]
    return metres, feature


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
    last = np.r_[first[1:], len(keys)]
    merged = shapes[first]
    for row in np.flatnonzero(last - first > 1):
        merged[row] = shapely.union_all(shapes[first[row] : last[row]])
    return keys[first], merged


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
