"""A grid of square cells over an area: where chips are cut.

The cells of a UTM zone lie on one lattice, that begins at the zone's false origin. So what lies
where depends on the spacing alone: two areas, or two years, have the same cells.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyproj
import shapely
from affine import Affine
from odc.geo import CRS
from odc.geo.geobox import GeoBox
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

from sluice.base.arrays import FloatArray, IntArray, ObjectArray
from sluice.base.errors import ConfigError, GridMismatch, NoValidData
from sluice.labels.groups import outline_groups

LABELLED, RANDOM = "labelled", "random"
"""Kinds of cells: those that meet labels, and those drawn from everywhere else."""
_ZONE_DEGREES = 6
_METRES_PER_DEGREE = 110_500
"""A degree of latitude is never shorter."""
_FIRST_DRAW = 20_000
_MOST_CELLS_OF_A_LABEL = 4_000_000
_MOST_CELLS_OF_A_MINE = 16
"""That one label joins to a group. Inventories dissolve a river's mines into one polygon, and a
group of half a country could not be split; blocks of ground keep such neighbours together."""


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


@dataclass(frozen=True)
class TypedPlaces:
    """Places of a kind that is mistaken for what is sought."""

    geometries: tuple[BaseGeometry, ...]
    """In longitude and latitude, of any shape."""
    count: int | None = None
    """Cells to draw from those that meet them; None takes all."""
    apart: bool = True
    """False where people judged the very places: such cells may lie beside labels, and are around
    them where labelled ones are."""


@dataclass(frozen=True)
class Cell:
    """One cell of the grid."""

    cell_id: str
    """`utm21s-e00615-n03623`: zone, hemisphere, column and row of the lattice."""
    kind: str
    """`LABELLED`, `RANDOM`, or the kind of typed places."""
    geobox: GeoBox
    """Its pixels."""
    lon: float
    lat: float
    """Of its centre."""
    group: int
    """Cells that share ground, or a labelled polygon of at most 16 cells, have the same."""


@dataclass(frozen=True)
class LabelGrid:
    """The cells that were chosen."""

    cells: tuple[Cell, ...]
    """Labelled ones first, then typed, then random; by id."""
    wanted: dict[str, int]
    """Negatives asked for, by kind."""

    @property
    def found(self) -> dict[str, int]:
        """Cells of each kind."""
        kinds = [LABELLED, *self.wanted]
        return {kind: sum(cell.kind == kind for cell in self.cells) for kind in kinds}


def plan_grid(
    area: BaseGeometry,
    sought: Sequence[BaseGeometry],
    spacing: Spacing,
    *,
    negatives: float = 1.0,
    typed: Mapping[str, TypedPlaces] | None = None,
    avoided: Sequence[BaseGeometry] = (),
    apart_m: float = 0.0,
    centred: bool = False,
    seed: int = 0,
) -> LabelGrid:
    """Choose the cells of an area: all that meet labels, and some that are far from any.

    Args:
        area: In longitude and latitude, within -180 to 180 degrees and UTM. Labelled cells meet
            labels in it; negative ones have their centre in it.
        sought: Labels of what is sought, in longitude and latitude.
        spacing: The lattice.
        negatives: Random cells for each labelled one; 0 takes none.
        typed: Confusers by kind, each with the number of cells to take.
        avoided: What no negative may be near to besides the labels: those of other years, and
            ground that nobody can judge.
        apart_m: Least distance of a negative cell's edge from labels and from what is avoided; 0
            still keeps them off.
        centred: One cell around the middle of each polygon, within half a pixel, in place of all
            that meet it; a middle beyond the area has none. Other negatives stay on the lattice.
        seed: Of every draw; the same arguments give the same cells.

    Raises:
        ConfigError: Numbers that make no sense, or an area beyond UTM.
        NoValidData: No cell meets a label, and none else is asked for.
    """
    typed = dict(typed or {})
    if negatives < 0 or apart_m < 0 or any((p.count or 0) < 0 for p in typed.values()):
        raise ConfigError("numbers of negatives and distances are 0 or more; correct them")
    reserved = {LABELLED, RANDOM} & typed.keys()
    if reserved:
        raise ConfigError(f"--typed {min(reserved)}: this name is taken; choose another")
    step = 1
    if centred:
        step = round(spacing.delta_m / spacing.gsd_m)
        spacing = replace(spacing, delta_m=spacing.gsd_m)
        sought, avoided = _middles(sought), [*avoided, *sought]
    zones = _zones_of(area, spacing, [*sought, *avoided], len(sought), apart_m, step=step)
    rng = np.random.default_rng(seed)
    chosen: dict[tuple[int, int, int], str] = {}
    owners: dict[tuple[int, int, int], list[int]] = {}
    for number, zone in enumerate(zones):
        for key, label in zone.labelled_cells(around=centred):
            chosen[(number, *key)] = LABELLED
            owners.setdefault((number, *key), []).append(label)
    labelled = len(chosen)
    wanted: dict[str, int] = {}
    for kind, places in typed.items():
        around = centred and not places.apart
        shapes = _middles(places.geometries) if around else places.geometries
        met = _meeting_cells(zones, shapes, chosen, around=around)
        wanted[kind] = len(met) if places.count is None else places.count
        order = rng.permutation(len(met))
        near = places.apart
        free = [
            key
            for key in map(met.__getitem__, order)
            if not near or zones[key[0]].is_free(np.array([key[1:]]))[0]
        ]
        chosen |= dict.fromkeys(free[: wanted[kind]], kind)
    wanted[RANDOM] = round(negatives * labelled)
    chosen |= dict.fromkeys(_draw(zones, wanted[RANDOM], chosen, rng), RANDOM)
    if not chosen:
        raise NoValidData(
            "no cell of the area meets a label, and no typed negatives were found; check that "
            "labels and area lie at one place, in longitude and latitude"
        )
    return LabelGrid(_as_cells(zones, chosen, owners, list(typed)), wanted)


@dataclass
class _Zone:
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
        return CRS(f"EPSG:{_zone_epsg(self.number, self.south)}")

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


def _zones_of(
    area: BaseGeometry,
    spacing: Spacing,
    shapes: Sequence[BaseGeometry],
    sought: int,
    apart_m: float,
    *,
    step: int,
) -> list[_Zone]:
    """The zones of an area; of `shapes` the first so many are labels, the others only avoided."""
    _, bottom, _, top = area.bounds
    if area.is_empty or not (bottom > -80 and top < 84):
        raise GridMismatch(
            "the area is empty or reaches beyond 80 S or 84 N, where UTM ends; give another area"
        )
    parts, owner = shapely.get_parts(np.asarray(shapes, dtype=object), return_index=True)
    parts, whole = shapely.get_parts(parts, return_index=True)
    owner = owner[whole]
    reach = (apart_m + 2 * spacing.side_m) / _METRES_PER_DEGREE
    zones = []
    for number, south in itertools.product(range(1, 61), (False, True)):
        west = _ZONE_DEGREES * (number - 31)
        low, high = (-80, 0) if south else (0, 84)
        inside = shapely.intersection(area, shapely.box(west, low, west + _ZONE_DEGREES, high))
        if inside.area == 0:
            continue
        shapely.prepare(inside)
        transformer = pyproj.Transformer.from_crs(
            "EPSG:4326", f"EPSG:{_zone_epsg(number, south)}", always_xy=True
        )
        near = _turned_to(parts, west + _ZONE_DEGREES / 2)
        wide = reach / math.cos(math.radians(max(abs(edge) for edge in inside.bounds[1::2])))
        strip = shapely.box(
            inside.bounds[0] - wide,
            inside.bounds[1] - reach,
            inside.bounds[2] + wide,
            inside.bounds[3] + reach,
        )
        here = np.flatnonzero(shapely.intersects(near, strip))
        around = [_project(shapely.intersection(near[k], strip), transformer) for k in here]
        labels, ids = [], []
        for k in here[owner[here] < sought]:
            cut = shapely.intersection(near[k], inside)
            if not cut.is_empty:
                labels.append(_project(cut, transformer))
                ids.append(int(owner[k]))
        zones.append(
            _Zone(
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


def _middles(shapes: Sequence[BaseGeometry]) -> list[BaseGeometry]:
    """The middle of each part of shapes: its centroid, or a point in it where that lies outside."""
    parts = shapely.get_parts(shapely.get_parts(np.asarray(shapes, dtype=object)))
    middles = shapely.centroid(parts)
    outside = ~shapely.intersects(parts, middles)
    middles[outside] = shapely.point_on_surface(parts[outside])
    return list(middles)


def _turned_to(parts: ObjectArray, meridian: float) -> ObjectArray:
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


def _meeting_cells(
    zones: Sequence[_Zone],
    geometries: Sequence[BaseGeometry],
    taken: Mapping[tuple[int, int, int], str],
    *,
    around: bool,
) -> list[tuple[int, int, int]]:
    """Cells that shapes meet, or that are around points, and that nobody has, in order."""
    found: set[tuple[int, int, int]] = set()
    parts = shapely.get_parts(shapely.get_parts(np.asarray(geometries, dtype=object)))
    for number, zone in enumerate(zones):
        meridian = _ZONE_DEGREES * zone.number - 183
        for part in _turned_to(parts, meridian):
            cut = shapely.intersection(part, zone.area)
            if cut.is_empty:
                continue
            shape = zone.to_metres(cut)
            keys = zone.cell_around(shape) if around else zone.cells_meeting(shape)
            keys = keys[zone.is_within(keys)] if len(keys) else keys
            found |= {(number, *key) for key in keys.tolist()}
    return sorted(found - taken.keys())


def _draw(
    zones: Sequence[_Zone],
    count: int,
    taken: Mapping[tuple[int, int, int], str],
    rng: np.random.Generator,
) -> list[tuple[int, int, int]]:
    """Draw free cells, each as likely as the other; fewer where there are no more."""
    if count == 0:
        return []
    lattices = [zone.lattice() for zone in zones]
    total = sum(cols * rows for _, _, cols, rows in lattices)
    size = min(total, max(_FIRST_DRAW, 20 * count))
    while True:
        # A lattice may have more cells than memory has room for, and few are needed.
        numbers = rng.choice(total, size=size, replace=False, shuffle=True)
        drawn = _free_of(zones, lattices, numbers, count, taken)
        if len(drawn) == count or size == total:
            return drawn
        size = min(total, 8 * size)


def _free_of(
    zones: Sequence[_Zone],
    lattices: Sequence[tuple[int, int, int, int]],
    numbers: IntArray,
    count: int,
    taken: Mapping[tuple[int, int, int], str],
) -> list[tuple[int, int, int]]:
    """The first so many of numbered cells that are free, in the order of the numbers."""
    ends = np.cumsum([cols * rows for _, _, cols, rows in lattices])
    which = np.searchsorted(ends, numbers, side="right")
    free: list[tuple[int, tuple[int, int, int]]] = []
    for number, (zone, lattice) in enumerate(zip(zones, lattices, strict=True)):
        col0, row0, cols, rows = lattice
        places = np.flatnonzero(which == number)
        rest = numbers[places] - (ends[number] - cols * rows)
        keys = np.column_stack([col0 + rest % cols, row0 + rest // cols]) * zone.step
        within = zone.is_within(keys)
        places, keys = places[within], keys[within]
        # Distances are dear, so only as many cells are asked as are needed, a little at a time.
        found = 0
        for start in range(0, len(keys), 4096):
            part = slice(start, start + 4096)
            for place, key, is_free in zip(
                places[part], keys[part].tolist(), zone.is_free(keys[part]), strict=True
            ):
                if is_free and (number, *key) not in taken:
                    free.append((int(place), (number, key[0], key[1])))
                    found += 1
            if found >= count:
                break
    return [key for _, key in sorted(free)[:count]]


def _as_cells(
    zones: Sequence[_Zone],
    chosen: Mapping[tuple[int, int, int], str],
    owners: Mapping[tuple[int, int, int], list[int]],
    kinds: Sequence[str],
) -> tuple[Cell, ...]:
    spacing = zones[0].spacing
    rank = {kind: k for k, kind in enumerate([LABELLED, *kinds, RANDOM])}
    names = {key: _cell_id(zones[key[0]], *key[1:]) for key in chosen}
    keys = sorted(chosen, key=lambda key: (rank[chosen[key]], names[key]))
    groups = _groups(zones, keys, owners)
    cells = []
    for key, group in zip(keys, groups.tolist(), strict=True):
        zone, left = zones[key[0]], key[1] * spacing.delta_m
        top = key[2] * spacing.delta_m + spacing.side_m
        gsd = spacing.gsd_m
        geobox = GeoBox(
            (spacing.chip_px, spacing.chip_px), Affine(gsd, 0, left, 0, -gsd, top), zone.crs
        )
        lon, lat = zone.centres(np.array([key[1:]]))[0]
        cells.append(Cell(names[key], chosen[key], geobox, float(lon), float(lat), group))
    return tuple(cells)


def _cell_id(zone: _Zone, col: int, row: int) -> str:
    east, north = (f"{'m' if n < 0 else ''}{abs(n):05d}" for n in (col, row))
    return f"utm{zone.number:02d}{'s' if zone.south else 'n'}-e{east}-n{north}"


def _groups(
    zones: Sequence[_Zone],
    keys: Sequence[tuple[int, int, int]],
    owners: Mapping[tuple[int, int, int], list[int]],
) -> IntArray:
    """Number of each cell's group: cells that share ground or a label, and chains of such."""
    place = {key: k for k, key in enumerate(keys)}
    members: dict[int, list[int]] = {}
    for key, labels in owners.items():
        for label in labels:
            members.setdefault(label, []).append(place[key])
    links = [
        (cells[0], cell)
        for cells in members.values()
        if len(cells) <= _MOST_CELLS_OF_A_MINE
        for cell in cells
    ]
    outlines = np.array([_outline(zones[key[0]], key) for key in keys], dtype=object)
    return outline_groups(outlines, np.array(links, np.int64).reshape(-1, 2))


def _outline(zone: _Zone, key: tuple[int, int, int]) -> BaseGeometry:
    """A cell in degrees, in one piece: beyond 180 where it reaches over."""
    left, bottom = (n * zone.spacing.delta_m for n in key[1:])
    side = zone.spacing.side_m
    x = np.array([left, left + side, left + side, left])
    y = np.array([bottom, bottom, bottom + side, bottom + side])
    lon, lat = zone.transformer.transform(x, y, direction="INVERSE")
    lon = np.where(lon - lon[0] > 180, lon - 360, np.where(lon - lon[0] < -180, lon + 360, lon))
    return shapely.Polygon(np.column_stack([lon, lat]))
