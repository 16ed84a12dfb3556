"""Cells of a grid: all that meet labels, negatives that do not, the same whoever asks."""

import math

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry.base import BaseGeometry

from sluice.base.errors import ConfigError, GridMismatch, NoValidData
from sluice.labels.grid import LABELLED, RANDOM, Cell, TypedPlaces, plan_grid
from sluice.labels.grid_zones import Spacing

SPACING = Spacing(delta_m=480, chip_px=48, gsd_m=10)
BOX = shapely.box(-1.7, 5.9, -1.5, 6.1)


def disc(lon: float, lat: float, radius_m: float) -> BaseGeometry:
    angles = np.linspace(0, 2 * math.pi, 33)[:-1]
    east = np.cos(angles) * radius_m / 111_195 / math.cos(math.radians(lat))
    return shapely.Polygon(np.column_stack([lon + east, lat + np.sin(angles) * radius_m / 111_195]))


def in_metres(shape: BaseGeometry, crs: object) -> BaseGeometry:
    project = pyproj.Transformer.from_crs("EPSG:4326", str(crs), always_xy=True).transform
    return shapely.transform(shape, lambda p: np.column_stack(project(*p.T)))


def in_degrees(cell: Cell) -> BaseGeometry:
    crs = str(cell.geobox.crs)
    project = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform
    return shapely.transform(square(cell), lambda p: np.column_stack(project(*p.T)))


def square(cell: Cell) -> BaseGeometry:
    return shapely.box(*cell.geobox.boundingbox.bbox)


def of_kind(cells: tuple[Cell, ...], kind: str) -> list[Cell]:
    return [cell for cell in cells if cell.kind == kind]


def test_every_cell_of_a_brute_force_walk_and_no_other() -> None:
    labels = [disc(-1.6, 6.0, 900), disc(-1.55, 6.05, 30), disc(-1.699, 5.95, 700)]
    found = plan_grid(BOX, labels, SPACING, negatives=0)
    crs = found.cells[0].geobox.crs
    assert str(crs) == "EPSG:32630"
    ground = in_metres(shapely.union_all(labels).intersection(BOX), crs)
    xmin, ymin, xmax, ymax = (round(edge / 480) for edge in ground.bounds)
    expected = {
        (col, row)
        for col in range(xmin - 2, xmax + 3)
        for row in range(ymin - 2, ymax + 3)
        if ground.intersection(
            shapely.box(480 * col, 480 * row, 480 * col + 480, 480 * row + 480)
        ).area
        > 0
    }
    cells = {(cell.geobox.affine.c / 480, cell.geobox.affine.f / 480 - 1) for cell in found.cells}
    assert cells == expected
    assert found.found == {LABELLED: len(expected), RANDOM: 0}
    assert {cell.geobox.shape.yx for cell in found.cells} == {(48, 48)}


@settings(max_examples=6)
@given(
    places=st.lists(
        st.tuples(st.floats(-1.69, -1.51), st.floats(5.91, 6.09), st.floats(20, 1200)),
        min_size=1,
        max_size=5,
    ),
    delta=st.sampled_from([240, 480, 700]),
    apart_m=st.sampled_from([0, 300, 2000]),
    share=st.sampled_from([0.5, 1, 2]),
    seed=st.integers(0, 5),
)
def test_negatives_keep_their_distance_and_number(places, delta, apart_m, share, seed) -> None:
    labels = [disc(*place) for place in places]
    spacing = Spacing(delta, 48, 10)
    river = TypedPlaces((shapely.LineString([(-1.7, 5.9), (-1.5, 6.1)]),), 5)
    settings_ = {
        "negatives": share,
        "typed": {"riverbank": river},
        "apart_m": apart_m,
        "seed": seed,
    }
    found = plan_grid(BOX, labels, spacing, **settings_)
    assert found == plan_grid(BOX, labels, spacing, **settings_)
    assert len({cell.cell_id for cell in found.cells}) == len(found.cells)
    crs = found.cells[0].geobox.crs
    ground = in_metres(shapely.union_all(labels), crs)
    line = in_metres(river.geometries[0].segmentize(0.01), crs)
    for cell in found.cells:
        if cell.kind == LABELLED:
            assert square(cell).intersects(ground)
            continue
        assert square(cell).distance(ground) >= apart_m
        assert not square(cell).intersects(ground)
        assert BOX.contains(shapely.Point(cell.lon, cell.lat))
        if cell.kind == "riverbank":
            assert square(cell).distance(line) < 5
    counts = found.found
    assert counts["riverbank"] <= 5
    assert counts[RANDOM] <= found.wanted[RANDOM] == round(share * counts[LABELLED])
    # Where there is room for many more, none is missing.
    if apart_m < 2000 and counts[LABELLED] < 60:
        assert counts[RANDOM] == found.wanted[RANDOM]


def test_all_free_cells_are_taken_where_more_are_wanted_than_there_are() -> None:
    label = disc(-1.6, 6.0, 400)
    area = shapely.box(-1.62, 5.98, -1.58, 6.02)
    found = plan_grid(area, [label], SPACING, negatives=1000)
    random = of_kind(found.cells, RANDOM)
    cells = plan_grid(area, [area], SPACING, negatives=0).cells
    inside = [c for c in cells if area.intersects(shapely.Point(c.lon, c.lat))]
    ground = in_metres(label, cells[0].geobox.crs)
    expected = {c.cell_id for c in inside if not square(c).intersects(ground)}
    assert {cell.cell_id for cell in random} == expected
    assert found.found[RANDOM] < found.wanted[RANDOM]


@settings(max_examples=12)
@given(
    places=st.lists(
        st.tuples(st.floats(-1.69, -1.51), st.floats(5.91, 6.09), st.floats(50, 900)),
        min_size=1,
        max_size=5,
    ),
    chip_px=st.integers(16, 300),
    gsd_m=st.sampled_from([3.0, 10.0, 60.0]),
    south=st.booleans(),
)
def test_centred_cells_lie_around_labels_and_negatives_on_the_lattice(
    places, chip_px, gsd_m, south
) -> None:
    turn = -1 if south else 1
    labels = [disc(lon, turn * lat, radius) for lon, lat, radius in places]
    area = shapely.box(-1.7, min(5.9 * turn, 6.1 * turn), -1.5, max(5.9 * turn, 6.1 * turn))
    spacing = Spacing(chip_px * gsd_m, chip_px, gsd_m)
    found = plan_grid(area, labels, spacing, centred=True, apart_m=500)
    cells = of_kind(found.cells, LABELLED)
    assert len(cells) <= len(labels)
    crs = found.cells[0].geobox.crs
    middles = [in_metres(shapely.Point(lon, turn * lat), crs) for lon, lat, _ in places]
    for middle in middles:
        near = [abs(np.subtract(square(c).centroid.coords[0], middle.coords[0])) for c in cells]
        # A disc in degrees is not quite one in metres.
        assert min(map(max, near)) <= gsd_m / 2 + 1
    ground = in_metres(shapely.union_all(labels), crs)
    for cell in found.cells:
        assert (cell.geobox.affine.c / gsd_m) % 1 == pytest.approx(0, abs=1e-6)
        if cell.kind != LABELLED:
            assert cell.geobox.affine.c % spacing.side_m == pytest.approx(0, abs=1e-6)
            assert square(cell).distance(ground) >= 500


def test_cells_around_places_that_people_judged_and_beyond_the_area() -> None:
    mine, sandbar, beyond = disc(-1.6, 6, 50), disc(-1.59, 6.0, 50), disc(-1.4999, 6.0, 300)
    river = TypedPlaces((shapely.LineString([(-1.7, 5.95), (-1.5, 5.95)]),), 6)
    typed = {"river": river, "sandbar": TypedPlaces((sandbar,), apart=False)}
    found = plan_grid(BOX, [mine, beyond], SPACING, centred=True, typed=typed, negatives=0)
    assert found.found == {LABELLED: 1, "river": 6, "sandbar": 1, RANDOM: 0}
    (around,) = of_kind(found.cells, "sandbar")
    assert (around.lon, around.lat) == pytest.approx((-1.59, 6.0), abs=6 / 111_000)
    # Of two labels that share ground the chips do, so they are of one group.
    near = [disc(-1.6, 6, 50), disc(-1.598, 6, 50), disc(-1.55, 6, 50)]
    groups = [c.group for c in plan_grid(BOX, near, SPACING, centred=True, negatives=0).cells]
    assert sorted(groups) == [0, 0, 1]


def test_two_areas_have_the_same_cells() -> None:
    label = disc(-1.6, 6.0, 700)
    one = plan_grid(BOX, [label], SPACING, negatives=0)
    other = plan_grid(BOX.buffer(0.3), [label], SPACING, negatives=0)
    assert [c.cell_id for c in one.cells] == [c.cell_id for c in other.cells]


def test_zones_and_hemispheres_are_covered_and_seams_are_one_group() -> None:
    # The meridian of 0 degrees parts zones 30 and 31, the equator north from south.
    label = disc(0, 0, 250)
    found = plan_grid(label.buffer(0.1).envelope, [label], SPACING, negatives=1)
    crs = {str(cell.geobox.crs) for cell in of_kind(found.cells, LABELLED)}
    assert crs == {"EPSG:32630", "EPSG:32631", "EPSG:32730", "EPSG:32731"}
    assert {cell.group for cell in of_kind(found.cells, LABELLED)} == {0}
    covered = shapely.union_all([in_degrees(cell) for cell in of_kind(found.cells, LABELLED)])
    assert label.difference(covered.buffer(1e-7)).area == 0


def test_across_180_degrees() -> None:
    # Taveuni, Fiji: zones 60 and 1.
    whole = disc(180, -16.9, 400)
    label = shapely.MultiPolygon(
        [
            whole.intersection(shapely.box(170, -20, 180, 0)),
            shapely.affinity.translate(whole.intersection(shapely.box(180, -20, 190, 0)), -360),
        ]
    )
    area = shapely.MultiPolygon(
        [shapely.box(179.9, -17, 180, -16.8), shapely.box(-180, -17, -179.9, -16.8)]
    )
    found = plan_grid(area, [label], SPACING, negatives=2, apart_m=500)
    labelled = of_kind(found.cells, LABELLED)
    assert {str(cell.geobox.crs) for cell in labelled} == {"EPSG:32760", "EPSG:32701"}
    assert {cell.group for cell in labelled} == {0}
    assert {cell.lon > 0 for cell in of_kind(found.cells, RANDOM)} == {True, False}
    for cell in of_kind(found.cells, RANDOM):
        lon = cell.lon if cell.lon > 0 else cell.lon + 360
        gap = math.hypot((lon - 180) * math.cos(math.radians(16.9)), cell.lat + 16.9) * 111_195
        assert gap > 400 + 500


def test_cells_that_share_ground_or_a_mine_are_one_group() -> None:
    labels = [disc(-1.6, 6.0, 700), disc(-1.55, 6.05, 30)]
    found = plan_grid(BOX, labels, SPACING, negatives=1, apart_m=2000, seed=2)
    assert {cell.group for cell in of_kind(found.cells, LABELLED)} == {0, 1}
    assert len({cell.group for cell in of_kind(found.cells, RANDOM)}) == found.found[RANDOM]
    river = shapely.LineString([(-1.69, 5.91), (-1.51, 6.09)]).buffer(0.0005)
    long = plan_grid(BOX, [river], SPACING, negatives=0)
    assert len({cell.group for cell in long.cells}) == len(long.cells) > 16
    halves = plan_grid(BOX, labels[1:], Spacing(240, 48, 10), negatives=0)
    assert len(halves.cells) >= 4
    assert {cell.group for cell in halves.cells} == {0}


def test_what_cannot_be_is_refused() -> None:
    label = disc(-1.6, 6.0, 700)
    with pytest.raises(ConfigError, match="give 480"):
        Spacing(482, 48, 10)
    with pytest.raises(ConfigError, match="above 0"):
        Spacing(480, 0, 10)
    with pytest.raises(ConfigError, match="0 or more"):
        plan_grid(BOX, [label], SPACING, negatives=-1)
    with pytest.raises(ConfigError, match="this name is taken"):
        plan_grid(BOX, [label], SPACING, typed={"random": TypedPlaces((label,))})
    with pytest.raises(NoValidData, match="no cell"):
        plan_grid(BOX, [disc(10, 10, 500)], SPACING)
    with pytest.raises(GridMismatch, match="84 N"):
        plan_grid(shapely.box(0, 83, 1, 85), [label], SPACING)
    with pytest.raises(ConfigError, match="no outline of a mine"):
        plan_grid(shapely.box(-3, 3, -1, 9), [shapely.box(-3, 3, -1, 9)], Spacing(100, 10, 10))


def test_places_that_people_judged_may_lie_beside_labels() -> None:
    mine, beside = disc(-1.6, 6.0, 300), disc(-1.592, 6.0, 200)
    cells = {
        apart: plan_grid(
            BOX,
            [mine],
            SPACING,
            negatives=0,
            typed={"sandbar": TypedPlaces((beside,), apart=apart)},
            apart_m=5000,
        ).cells
        for apart in (True, False)
    }
    assert not of_kind(cells[True], "sandbar")
    found = of_kind(cells[False], "sandbar")
    crs = found[0].geobox.crs
    assert all(square(cell).intersects(in_metres(beside, crs)) for cell in found)
    # What meets the mine is its own.
    assert not any(square(cell).intersects(in_metres(mine, crs)) for cell in found)
