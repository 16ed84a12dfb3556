"""Classes of sites: hectares against a closed form, names of columns."""

import numpy as np
import pytest

from scenes import utm_geobox
from sluice.app.products.class_map import describe_classes
from sluice.base.classes import NOT_OBSERVED, name_classes
from sluice.base.errors import ShapeMismatch
from sluice.models.manifest import Thresholds
from sluice.sites.classes import add_classes, class_columns
from sluice.sites.vectorise import vectorise

NAMES = ("other", "active", "left behind")
SHAPE = (90, 120)
# On the central meridian the projection shrinks lengths to 0.9996.
GRID = utm_geobox(SHAPE, left=500_000)
CELL_HA = 0.01 / 0.9996**2


def sites_of(classes, grid=GRID):
    scores = np.where(classes > 0, 0.9, 0.1).astype(np.float32)
    scores[classes == NOT_OBSERVED] = np.nan
    return vectorise(scores, grid, None, Thresholds(t_main=0.5, t_iso=0.5))


def two_sites():
    classes = np.zeros(SHAPE, np.uint8)
    classes[10:40, 10:50] = 1
    classes[10:40, 35:50] = 2
    classes[20:30, 15:25] = 0  # a hole
    classes[12:14, 12:14] = NOT_OBSERVED
    classes[60:80, 60:70] = 2
    classes[80:82, 70:75] = 1  # touches at a corner
    return classes


def test_hectares_of_classes_are_those_of_their_cells():
    classes = two_sites()
    found = add_classes(sites_of(classes), classes, GRID, NAMES)
    large, small = found.sort_values("footprint_ha", ascending=False).to_dict("records")
    assert (large["class"], small["class"]) == ("active", "left behind")
    expected = {"class_active_ha": 25 * 30 - 100 - 4, "class_left_behind_ha": 15 * 30}
    for column, cells in expected.items():
        assert large[column] == pytest.approx(cells * CELL_HA, rel=1e-5)
    assert small["class_active_ha"] == pytest.approx(10 * CELL_HA, rel=1e-5)
    assert small["class_left_behind_ha"] == pytest.approx(200 * CELL_HA, rel=1e-5)
    whole = found["class_active_ha"] + found["class_left_behind_ha"]
    np.testing.assert_allclose(whole, found["footprint_ha"], rtol=1e-9)


def test_a_site_across_180_degrees_is_counted_on_both_sides():
    grid = utm_geobox(SHAPE, left=833_700, top=100_000, crs="EPSG:32660")
    classes = two_sites()
    found = add_classes(sites_of(classes, grid), classes, grid, NAMES)
    assert found.total_bounds[0] < -179.9
    assert found.total_bounds[2] > 179.9
    whole = found["class_active_ha"] + found["class_left_behind_ha"]
    np.testing.assert_allclose(whole, found["footprint_ha"], rtol=1e-9)


def test_no_site_has_no_class_but_the_columns():
    classes = np.zeros(SHAPE, np.uint8)
    found = add_classes(sites_of(classes), classes, GRID, NAMES)
    assert len(found) == 0
    assert {"class", "class_active_ha", "class_left_behind_ha"} <= set(found.columns)
    with pytest.raises(ShapeMismatch, match="grid of"):
        add_classes(found, classes[1:], GRID, NAMES)


@pytest.mark.parametrize(
    ("names", "columns"),
    [
        (("other", "mine"), {}),
        ((), {}),
        (
            ("other", "Polluted river", "été"),
            {"Polluted river": "class_polluted_river_ha", "été": "class_été_ha"},
        ),
        (("other", "a b", "A-B"), {"a b": "class_1_ha", "A-B": "class_2_ha"}),
        (("other", "2", "?"), {"2": "class_1_ha", "?": "class_2_ha"}),
    ],
)
def test_columns_are_named_after_classes_and_never_collide(names, columns):
    assert class_columns(names) == columns


def test_a_class_begins_where_a_site_does():
    scores = np.array([0.2, 0.7, np.nan, 0.69999], np.float32)
    likeliest = np.array([2, 2, 1, 1], np.uint8)
    found = name_classes(scores, likeliest, 0.7)
    assert found.dtype == np.uint8
    assert found.tolist() == [0, 2, NOT_OBSERVED, 0]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("other", "Polluted river"), ["other", "polluted-river", "not-observed"]),
        (("other", "река"), ["class-0", "class-1", "not-observed"]),
        (("other", "a b", "A-B"), ["class-0", "class-1", "class-2", "not-observed"]),
        (("other", "not observed"), ["class-0", "class-1", "not-observed"]),
    ],
)
def test_names_in_the_catalogue_are_told_apart(names, words):
    told = describe_classes(names)
    assert [c.name for c in told] == words
    assert [c.title for c in told[:-1]] == list(names)
