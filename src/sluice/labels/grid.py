"""A grid of square cells over an area: where chips are cut.

The cells of a UTM zone lie on one lattice, that begins at the zone's false origin. So what lies
where depends on the spacing alone: two areas, or two years, have the same cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry

from sluice.base.arrays import IntArray
from sluice.base.errors import ConfigError, NoValidData
from sluice.labels.grid_zones import Spacing, Zone, turned_to, zones_of
from sluice.labels.groups import outline_groups

LABELLED, RANDOM = "labelled", "random"
"""Kinds of cells: those that meet labels, and those drawn from everywhere else."""
_FIRST_DRAW = 20_000
_MOST_CELLS_OF_A_MINE = 16
"""That one label joins to a group. Inventories dissolve a river's mines into one polygon, and a
group of half a country could not be split; blocks of ground keep such neighbours together."""


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
    zones = zones_of(area, spacing, [*sought, *avoided], len(sought), apart_m, step=step)
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


def _middles(shapes: Sequence[BaseGeometry]) -> list[BaseGeometry]:
    """The middle of each part of shapes: its centroid, or a point in it where that lies outside."""
    parts = shapely.get_parts(shapely.get_parts(np.asarray(shapes, dtype=object)))
    middles = shapely.centroid(parts)
    outside = ~shapely.intersects(parts, middles)
    middles[outside] = shapely.point_on_surface(parts[outside])
    return list(middles)


def _meeting_cells(
    zones: Sequence[Zone],
    geometries: Sequence[BaseGeometry],
    taken: Mapping[tuple[int, int, int], str],
    *,
    around: bool,
) -> list[tuple[int, int, int]]:
    """Cells that shapes meet, or that are around points, and that nobody has, in order."""
    found: set[tuple[int, int, int]] = set()
    parts = shapely.get_parts(shapely.get_parts(np.asarray(geometries, dtype=object)))
    for number, zone in enumerate(zones):
        for part in turned_to(parts, zone.meridian):
            cut = shapely.intersection(part, zone.area)
            if cut.is_empty:
                continue
            shape = zone.to_metres(cut)
            keys = zone.cell_around(shape) if around else zone.cells_meeting(shape)
            keys = keys[zone.is_within(keys)] if len(keys) else keys
            found |= {(number, *key) for key in keys.tolist()}
    return sorted(found - taken.keys())


def _draw(
    zones: Sequence[Zone],
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
    zones: Sequence[Zone],
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
    zones: Sequence[Zone],
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


def _cell_id(zone: Zone, col: int, row: int) -> str:
    east, north = (f"{'m' if n < 0 else ''}{abs(n):05d}" for n in (col, row))
    return f"utm{zone.number:02d}{'s' if zone.south else 'n'}-e{east}-n{north}"


def _groups(
    zones: Sequence[Zone],
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


def _outline(zone: Zone, key: tuple[int, int, int]) -> BaseGeometry:
    """A cell in degrees, in one piece: beyond 180 where it reaches over."""
    left, bottom = (n * zone.spacing.delta_m for n in key[1:])
    side = zone.spacing.side_m
    x = np.array([left, left + side, left + side, left])
    y = np.array([bottom, bottom, bottom + side, bottom + side])
    lon, lat = zone.transformer.transform(x, y, direction="INVERSE")
    lon = np.where(lon - lon[0] > 180, lon - 360, np.where(lon - lon[0] < -180, lon + 360, lon))
    return shapely.Polygon(np.column_stack([lon, lat]))
