"""UTM zones of a grid: the lattice of cells in each, and the labels and the area in its metres."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyproj
import shapely
from odc.geo import CRS
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

from sluice.base.arrays import FloatArray, IntArray, ObjectArray
from sluice.base.errors import ConfigError, GridMismatch

_ZONE_DEGREES = 6
_METRES_PER_DEGREE = 110_500
"""A degree of latitude is never shorter."""
_MOST_CELLS_OF_A_LABEL = 4_000_000


@dataclass(frozen=True)
class Spacing:
    """The lattice of a grid."""

    delta_m: float
    """From a cell's corner to the next one's."""
    chip_px: int
    """Side of a cell in pixels."""
    gsd_m: float
    """Side of a pixel."""

    def __post_init__(self) -> None:
        if self.chip_px < 1 or not self.gsd_m > 0:
            raise ConfigError(
                f"chips of {self.chip_px} px of {self.gsd_m:g} m are no squares; give both above 0"
            )
        steps = self.delta_m / self.gsd_m
        if not steps >= 1 or abs(steps - round(steps)) > 1e-6:
            raise ConfigError(
                f"--delta {self.delta_m:g}: is no multiple of the pixel's {self.gsd_m:g} m, so "
                "cells would not lie on pixels; "
                f"give {max(1, round(steps)) * self.gsd_m:g}"
            )

    @property
    def side_m(self) -> float:
        """Side of a cell."""
        return self.chip_px * self.gsd_m


@dataclass
class Zone:
    """The part of an area in one UTM zone and hemisphere, and the labels there."""

    number: int
    south: bool
    area: BaseGeometry
    """In longitude and latitude."""
    spacing: Spacing
    labels: list[BaseGeometry]
    """In the zone's metres: sought ones, cut to the area."""
    label_ids: list[int]
    """Which label each is a part of."""
    around: shapely.STRtree
    """All that negatives keep away from."""
    apart_m: float
    transformer: pyproj.Transformer = field(repr=False)
    step: int = 1
    """Cells that are around nothing lie on every so manyth column and row."""

    @property
    def crs(self) -> CRS:
        """Its metres."""
        return CRS(f"EPSG:{_zone_epsg(self.number, self.south)}")

    @property
    def meridian(self) -> float:
        """Its middle, in degrees east."""
        return _ZONE_DEGREES * (self.number - 30.5)

    def labelled_cells(self, *, around: bool) -> list[tuple[tuple[int, int], int]]:
        """(column, row) of each cell that meets a label, and the label; several for some.

        Around points each has the cell of which it is the middle.
        """
        found: dict[tuple[int, int, int], None] = {}
        for label, owner in zip(self.labels, self.label_ids, strict=True):
            cells = self.cell_around(label) if around else self.cells_meeting(label)
            for col, row in cells.tolist():
                found[(col, row, owner)] = None
        return [((col, row), owner) for col, row, owner in found]

    def cells_meeting(self, shape: BaseGeometry) -> IntArray:
        """(n, 2) column and row of the cells that a shape in metres meets, not just touches."""
        delta, side = self.step * self.spacing.delta_m, self.spacing.side_m
        xmin, ymin, xmax, ymax = shape.bounds
        cols = np.arange(math.floor((xmin - side) / delta) + 1, math.floor(xmax / delta) + 1)
        rows = np.arange(math.floor((ymin - side) / delta) + 1, math.floor(ymax / delta) + 1)
        if len(cols) * len(rows) > _MOST_CELLS_OF_A_LABEL:
            raise ConfigError(
                f"one label spans {len(cols)} x {len(rows)} cells: it is no outline of a mine; "
                "leave it out, or give a larger --delta"
            )
        keys = np.array(list(itertools.product(cols, rows)), np.int64).reshape(-1, 2) * self.step
        shapely.prepare(shape)
        boxes = self.boxes(keys)
        meets = shapely.intersects(shape, boxes) & ~shapely.touches(shape, boxes)
        return np.asarray(keys[meets])

    def cell_around(self, place: BaseGeometry) -> IntArray:
        """(1, 2) column and row of the cell whose middle is nearest to a point in metres."""
        corner = shapely.get_coordinates(place) - self.spacing.side_m / 2
        return np.asarray(np.rint(corner / self.spacing.delta_m), np.int64)

    def boxes(self, keys: IntArray) -> ObjectArray:
        """Squares of cells in metres."""
        left, bottom = keys.T * self.spacing.delta_m
        side = self.spacing.side_m
        return np.asarray(shapely.box(left, bottom, left + side, bottom + side))

    def centres(self, keys: IntArray) -> FloatArray:
        """(n, 2) longitude and latitude of cells' centres."""
        middle = keys * self.spacing.delta_m + self.spacing.side_m / 2
        lon, lat = self.transformer.transform(middle[:, 0], middle[:, 1], direction="INVERSE")
        return np.column_stack([lon, lat])

    def is_within(self, keys: IntArray) -> npt.NDArray[np.bool_]:
        """Whether cells' centres lie in the area's part in this zone."""
        lon, lat = self.centres(keys).T
        return np.asarray(shapely.intersects_xy(self.area, lon, lat))

    def is_free(self, keys: IntArray) -> npt.NDArray[np.bool_]:
        """Whether cells lie away from labels."""
        free = np.ones(len(keys), np.bool_)
        near, _ = self.around.query(self.boxes(keys), predicate="dwithin", distance=self.apart_m)
        free[near] = False
        return free

    def lattice(self) -> tuple[int, int, int, int]:
        """First column and row, and number of columns and rows, of the box around the area, in
        steps.
        """
        delta = self.step * self.spacing.delta_m
        shape = self.to_metres(shapely.segmentize(self.area.envelope, 0.05))
        low = [math.floor((edge - self.spacing.side_m) / delta) for edge in shape.bounds[:2]]
        high = [math.ceil(edge / delta) for edge in shape.bounds[2:]]
        return low[0], low[1], high[0] - low[0] + 1, high[1] - low[1] + 1

    def to_metres(self, lonlat: BaseGeometry) -> BaseGeometry:
        """Project a shape that lies in or near the zone."""
        return _project(lonlat, self.transformer)


def _zone_epsg(number: int, south: bool) -> int:
    return (32700 if south else 32600) + number


def _zone_west(number: int) -> int:
    return _ZONE_DEGREES * (number - 31)


def zones_of(
    area: BaseGeometry,
    spacing: Spacing,
    shapes: Sequence[BaseGeometry],
    sought: int,
    apart_m: float,
    *,
    step: int,
) -> list[Zone]:
    """The zones of an area.

    Args:
        area: In longitude and latitude.
        spacing: Of the lattice.
        shapes: Labels, and what is only avoided, in longitude and latitude.
        sought: How many of `shapes`, from the first, are labels.
        apart_m: See `plan_grid`.
        step: See `Zone`.

    Raises:
        GridMismatch: The area is empty or reaches beyond UTM.
    """
    _, bottom, _, top = area.bounds
    if area.is_empty or not (bottom > -80 and top < 84):
        raise GridMismatch(
            "the area is empty or reaches beyond 80 S or 84 N, where UTM ends; give another area"
        )
    parts, owner = shapely.get_parts(np.asarray(shapes, dtype=object), return_index=True)
    parts, whole = shapely.get_parts(parts, return_index=True)
    owner = owner[whole]
    zones = []
    for number, south, inside in _by_zone(area):
        shapely.prepare(inside)
        transformer = pyproj.Transformer.from_crs(
            "EPSG:4326", f"EPSG:{_zone_epsg(number, south)}", always_xy=True
        )
        near = turned_to(parts, _zone_west(number) + _ZONE_DEGREES / 2)
        strip = _box_around(inside, (apart_m + 2 * spacing.side_m) / _METRES_PER_DEGREE)
        here = np.flatnonzero(shapely.intersects(near, strip))
        around = [_project(shapely.intersection(near[k], strip), transformer) for k in here]
        labels, ids = [], []
        for k in here[owner[here] < sought]:
            cut = shapely.intersection(near[k], inside)
            if not cut.is_empty:
                labels.append(_project(cut, transformer))
                ids.append(int(owner[k]))
        zones.append(
            Zone(
                number,
                south,
                inside,
                spacing,
                labels,
                ids,
                shapely.STRtree(around),
                apart_m,
                transformer,
                step,
            )
        )
    return zones


def _by_zone(area: BaseGeometry) -> Iterator[tuple[int, bool, BaseGeometry]]:
    """Number and hemisphere of each zone that has a part of the area, and that part."""
    for number, south in itertools.product(range(1, 61), (False, True)):
        west = _zone_west(number)
        low, high = (-80, 0) if south else (0, 84)
        inside = shapely.intersection(area, shapely.box(west, low, west + _ZONE_DEGREES, high))
        if inside.area > 0:
            yield number, south, inside


def _box_around(inside: BaseGeometry, reach: float) -> BaseGeometry:
    """A box that holds all that is within some degrees of latitude of a shape."""
    west, south, east, north = inside.bounds
    wide = reach / math.cos(math.radians(max(abs(south), abs(north))))
    return shapely.box(west - wide, south - reach, east + wide, north + reach)


def turned_to(parts: ObjectArray, meridian: float) -> ObjectArray:
    """Shapes moved by whole turns to where they are nearest to a meridian."""
    if not len(parts):
        return parts
    bounds = shapely.bounds(parts)
    turns = np.rint((meridian - (bounds[:, 0] + bounds[:, 2]) / 2) / 360) * 360
    turned = parts.copy()
    for k in np.flatnonzero(turns):
        turned[k] = translate(parts[k], xoff=turns[k])
    return turned


def _project(lonlat: BaseGeometry, transformer: pyproj.Transformer) -> BaseGeometry:
    def to_metres(points: FloatArray) -> FloatArray:
        return np.column_stack(transformer.transform(points[:, 0], points[:, 1]))

    projected: BaseGeometry = shapely.transform(lonlat, to_metres)
    return projected
