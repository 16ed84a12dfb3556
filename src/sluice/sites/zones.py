"""Shapes in metres: places by UTM zone, and what lies around them.

Transverse Mercator of a zone stretches lengths by less than 0.2 % within 50 km around the zone, so
that distances need no more. Shapes are cut into pieces first: an index over the boxes of small
pieces finds what is near at once, and no piece lies so far from the zone that it is bent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pyproj
import shapely

from sluice.base.arrays import FloatArray, IntArray
from sluice.base.polygons import mended

Shapes = npt.NDArray[Any]
"""(N,) shapely geometries, dtype object."""

_MOST_VERTICES = 256
_WIDEST_DEG = 3.0
# A straight line in degrees is none in UTM: at this length the two part by less than 0.4 m.
_STEP_DEG = 0.05
_METRES_PER_DEGREE = 110_000.0
"""Somewhat less than the shortest degree of latitude, so that boxes are rather too large."""


@dataclass(frozen=True)
class Zone:
    """The places of one UTM zone."""

    crs: pyproj.CRS
    rows: IntArray
    """(n,) which of the places these are."""
    places: Shapes
    """(n,) in metres."""
    boxes_lonlat: FloatArray
    """(n, 4) west, south, east, north."""

    def from_lonlat(self, shapes: Shapes) -> Shapes:
        """Shapes in degrees as shapes in metres."""
        return _projected(shapes, "EPSG:4326", self.crs)

    def to_lonlat(self, shapes: Shapes) -> Shapes:
        """Shapes in metres as shapes in degrees."""
        return _projected(shapes, self.crs, "EPSG:4326")


@dataclass(frozen=True)
class Pieces:
    """Features cut into small valid parts."""

    shapes: Shapes
    """(p,) points, lines and polygons, none of several parts; in degrees, or metres of a zone."""
    feature: IntArray
    """(p,) the feature that each is part of."""
    buffer_m: FloatArray
    """(p,) how far each reaches beyond its shape."""

    def part(self, which: npt.NDArray[Any]) -> Pieces:
        """Some of them, by position or by a mask."""
        return Pieces(self.shapes[which], self.feature[which], self.buffer_m[which])


def zones_of(places: gpd.GeoSeries) -> Iterator[Zone]:
    """Sort places into UTM zones by the middle of their boxes.

    Args:
        places: In any CRS; empty and missing ones are in no zone.

    Yields:
        Each zone that has places, from the west.
    """
    shapes = np.asarray(places.to_crs("EPSG:4326"), dtype=object)
    rows = np.flatnonzero(~shapely.is_missing(shapes) & ~shapely.is_empty(shapes))
    if not len(rows):
        return
    shapes = mended(shapely.force_2d(shapes[rows]))
    boxes = shapely.bounds(shapes)
    number = (np.floor(((boxes[:, 0] + boxes[:, 2]) / 2 + 180) / 6).astype(int)) % 60 + 1
    for zone in np.unique(number):
        which = np.flatnonzero(number == zone)
        # Northings below the equator are negative: one zone for both hemispheres.
        crs = pyproj.CRS.from_epsg(32600 + int(zone))
        metres = _projected(shapely.segmentize(shapes[which], _STEP_DEG), "EPSG:4326", crs)
        yield Zone(crs, rows[which], metres, boxes[which])


def cut_into_pieces(layers: Sequence[tuple[Shapes, float]]) -> Pieces:
    """Cut the features of one or several layers into pieces.

    Args:
        layers: Shapes in EPSG:4326, cut at 180 degrees, and how far beyond them the layer reaches,
            in metres. Features count on from layer to layer.
    """
    found: list[tuple[Shapes, IntArray, FloatArray]] = []
    first = 0
    for shapes, buffer_m in layers:
        parts, feature = _single_parts(shapely.force_2d(shapes))
        parts, feature = _halved(shapely.segmentize(mended(parts), _STEP_DEG), feature)
        found.append((parts, feature + first, np.full(len(parts), float(buffer_m))))
        first += len(shapes)
    if not found:
        return Pieces(np.empty(0, object), np.empty(0, np.int64), np.empty(0))
    return Pieces(*(np.concatenate(columns) for columns in zip(*found, strict=True)))


class NearPieces:
    """Pieces in degrees, found by the box around a zone's places."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces
        self._tree = shapely.STRtree(pieces.shapes)

    def around(self, zone: Zone, reach_m: float) -> Pieces:
        """Pieces that may lie within a distance of places, in metres of their zone.

        Args:
            zone: The places.
            reach_m: The distance; buffers of the pieces come on top.
        """
        most = float(self._pieces.buffer_m.max(initial=0))
        boxes = widened(_thinned(zone.boxes_lonlat), reach_m + most)
        # Beyond 180 degrees the world goes on from -180.
        turned = [boxes + np.array([turn, 0, turn, 0]) for turn in (-360, 0, 360)]
        hits = [self._tree.query(shapely.box(*box.T))[1] for box in turned]
        near = self._pieces.part(np.unique(np.concatenate(hits)))
        return Pieces(zone.from_lonlat(near.shapes), near.feature, near.buffer_m)


def widened(boxes_lonlat: FloatArray, reach_m: float) -> FloatArray:
    """(n, 4) boxes in degrees, larger by a distance on each side, or a little more."""
    dlat = reach_m / _METRES_PER_DEGREE
    highest = np.clip(np.abs(boxes_lonlat[:, [1, 3]]).max(axis=1) + dlat, 0, 89)
    dlon = dlat / np.cos(np.radians(highest))
    up = np.full_like(dlon, dlat)
    return np.asarray(boxes_lonlat + np.column_stack([-dlon, -up, dlon, up]))


def _thinned(boxes: FloatArray) -> FloatArray:
    """Fewer boxes that hold all of many: those of a grid of a quarter degree."""
    if len(boxes) <= 1000:
        return boxes
    return np.asarray(np.unique(np.floor(boxes * 4 + np.array([0, 0, 1, 1])) / 4, axis=0))


def _single_parts(shapes: Shapes) -> tuple[Shapes, IntArray]:
    parts, first = shapely.get_parts(shapes, return_index=True)
    inner, second = shapely.get_parts(parts, return_index=True)
    feature = first[second]
    whole = ~shapely.is_empty(inner)
    return inner[whole], feature[whole].astype(np.int64)


def _halved(shapes: Shapes, feature: IntArray) -> tuple[Shapes, IntArray]:
    """Cut shapes in halves until none has many vertices or is wide."""
    shapes, feature = _parts_like(shapes, shapely.get_dimensions(shapes), feature)
    done: list[tuple[Shapes, IntArray]] = []
    while len(shapes):
        xmin, ymin, xmax, ymax = shapely.bounds(shapes).T
        width, height = xmax - xmin, ymax - ymin
        span = np.maximum(width, height)
        large = (shapely.get_num_coordinates(shapes) > _MOST_VERTICES) & (span > 1e-5)
        large |= span > _WIDEST_DEG
        done.append((shapes[~large], feature[~large]))
        x, y = (xmin + xmax) / 2, (ymin + ymax) / 2
        flat = width >= height
        low = shapely.box(xmin, ymin, np.where(flat, x, xmax), np.where(flat, ymax, y))
        high = shapely.box(np.where(flat, x, xmin), np.where(flat, ymin, y), xmax, ymax)
        halves = [shapely.intersection(shapes[large], half[large]) for half in (low, high)]
        shapes, feature = _parts_like(
            np.concatenate(halves),
            np.tile(shapely.get_dimensions(shapes[large]), 2),
            np.tile(feature[large], 2),
        )
    done.append((shapes, feature))
    return np.concatenate([part for part, _ in done]), np.concatenate([of for _, of in done])


def _parts_like(
    shapes: Shapes, dimensions: npt.NDArray[Any], feature: IntArray
) -> tuple[Shapes, IntArray]:
    """Parts of a given dimension: where a polygon only touches a box, a line is left."""
    parts, first = shapely.get_parts(shapes, return_index=True)
    parts, second = shapely.get_parts(parts, return_index=True)
    owner = first[second]
    kept = (shapely.get_dimensions(parts) == dimensions[owner]) & ~shapely.is_empty(parts)
    return parts[kept], feature[owner[kept]]


def _projected(shapes: Shapes, source: Any, target: Any) -> Shapes:
    transformer = pyproj.Transformer.from_crs(source, target, always_xy=True)

    def project(xy: FloatArray) -> FloatArray:
        return np.column_stack(transformer.transform(xy[:, 0], xy[:, 1]))

    return np.asarray(shapely.transform(shapes, project), dtype=object)
