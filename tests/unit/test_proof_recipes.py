"""What the comparisons of recipes stand on: who learns from what, and what is counted."""

import importlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def module(monkeypatch):
    """Modules of `proof`, which lies beside the installed package."""
    monkeypatch.syspath_prepend(str(REPOSITORY))
    return lambda name: importlib.import_module(f"proof.{name}")


def _country(country, seeds, kinds):
    """Landscapes of nothing but a table of tiles, the same kinds in each."""
    tiles = pd.DataFrame({"row": 0, "col": np.arange(len(kinds)), "kind": kinds, "block": "b"})
    empty = np.zeros((6, 1, 1), np.float32)
    return [country.Landscape(seed, empty, np.zeros((1, 1), bool), tiles) for seed in seeds]


def test_a_landscape_knows_the_tiles_that_its_mines_reach(module):
    country = module("country")
    scene = importlib.import_module("sluice.phantom.scene").build_scene(
        3, 384, mine_count=2, largest_ha=20, cloud_share=0, cirrus_share=0
    )
    land = country.as_landscape(scene)
    assert len(land.tiles) == 9
    assert len(scene.mines)
    burnt = 0
    for tile in land.tiles.itertuples():
        image, mask = land.cut(tile.row, tile.col)
        assert image.shape == (6, 128, 128)
        assert (tile.kind == country.MINE) == bool(mask.any())
        burnt += int(mask.sum())
    assert burnt == pytest.approx(100 * scene.mines["area_ha"].sum(), rel=0.1)
    assert land.km2 == pytest.approx(3.84**2)


def test_the_published_tiles_are_mines_alone_dealt_without_regard_to_place(module):
    country = module("country")
    lands = _country(country, range(10), ["mine"] * 5 + ["river", "", "background", "oxbow"])
    chosen = country.choose_mines_alone(lands, np.random.default_rng(0))
    assert set(chosen["kind"]) == {"mine"}
    assert not chosen.duplicated(["seed", "col"]).any()
    assert chosen["split"].value_counts().to_dict() == {
        "train": 25,
        "cal": 5,
        "val": 10,
        "test": 10,
    }
    assert len(chosen[["seed", "split"]].drop_duplicates()) > 10


def test_ours_keeps_landscapes_whole_and_takes_every_kind_of_confuser(module):
    country = module("country")
    kinds = ["mine"] * 4 + ["bare_field"] * 20 + ["oxbow", "settlement"] + ["farmland"] * 20
    lands = _country(country, range(4), kinds)
    split_of = {0: "train", 1: "train", 2: "val", 3: "cal"}
    chosen = country.choose_with_negatives(lands, split_of, np.random.default_rng(0))
    assert (chosen["split"] == chosen["seed"].map(split_of)).all()
    assert not chosen.duplicated(["seed", "col"]).any()
    train = chosen[chosen["split"] == "train"]["kind"].value_counts()
    assert train["mine"] == train["random"] == 8
    assert train["oxbow"] == train["settlement"] == 2
    assert train["bare_field"] == 4
    assert "farmland" not in train


def test_no_landscape_is_learnt_from_and_judged(module):
    proof = module("all_mine")
    assert not set(proof._LEARN) & set(proof._TEST)
    assert set(proof._SPLIT_OF) == set(proof._LEARN)
    assert set(proof._SPLIT_OF.values()) == {"train", "val", "cal"}


def test_false_alarms_are_patches_that_touch_no_mine(module):
    called, mine = np.zeros((2, 60, 60), bool)
    called[2:12, 2:12] = mine[11:20, 11:20] = True  # Touches a mine by a corner.
    called[30:40, 30:40] = called[40:45, 40:45] = True  # One patch, joined at a corner.
    called[50:57, 2:9] = True  # 49 px: too small to go to.
    found = module("all_mine").count_false_alarms(called, mine)
    assert found.sum() == 1
    assert found[30:45, 30:45].sum() == 1
    assert module("all_mine").count_false_alarms(np.zeros_like(called), mine).sum() == 0


def test_no_place_is_dealt_to_two_sides(module):
    ways = module("calibration_ways")
    units = np.random.default_rng(1).integers(0, 50, 400)
    sides = ways.deal(units, (0.6, 0.2, 0.2), np.random.default_rng(2))
    assert sorted(np.concatenate(sides).tolist()) == list(range(400))
    held = [set(units[side].tolist()) for side in sides]
    assert [len(part) for part in held] == [30, 10, 10]
    assert not held[0] & held[1]
    assert not (held[0] | held[1]) & held[2]


def test_a_place_is_a_quarter_degree_or_a_group(module):
    table = pd.DataFrame(
        {
            "group": ["a", "a", "b", "c", "d", "e"],
            "lon": [-60.01, np.nan, -60.2, -60.3, np.nan, np.nan],
            "lat": [1.1, np.nan, 1.2, 1.1, np.nan, np.nan],
        }
    )
    places = module("calibration_ways").number_places(table)
    assert places[0] == places[1] == places[2]
    assert len(set(places.tolist())) == 4


def test_isotonic_regression_finds_itself_calibrated_on_pure_noise(module):
    ways = module("calibration_ways")
    rng = np.random.default_rng(4)
    decisions, labels = rng.normal(size=(2, 100)), rng.integers(0, 2, (2, 100))
    probability = ways.isotonic(decisions[0], labels[0])
    seen, unseen = (
        ways.figures_of(labels[k], decisions[k], probability(decisions[k])) for k in (0, 1)
    )
    assert seen["calibration error"] < 1e-9
    assert unseen["calibration error"] > 0.05
    assert seen["Brier"] < 0.25 < unseen["Brier"]
    assert np.isfinite(unseen["log loss"])


def test_figures_follow_their_definitions(module):
    labels, decisions = np.array([0, 1, 0, 1]), np.array([-1.0, 2.0, 0.5, 0.0])
    figures = module("calibration_ways").figures_of(labels, decisions, np.full(4, 0.25))
    assert figures["AUC"] == 0.75
    assert figures["Brier"] == pytest.approx((0.0625 + 0.5625) / 2)
    assert figures["log loss"] == pytest.approx(-(np.log(0.25) + np.log(0.75)) / 2)
    assert figures["calibration error"] == pytest.approx(0.25)


def test_new_ground_was_called_nothing_before(module):
    before, after = np.zeros((2, 4, 3, 3), np.float32)
    before[3, 0], after[3, :2] = 0.2, 0.2
    found = module("cleared_ground").new_ground(lambda image: image[3] > 0.1, [before, after])
    np.testing.assert_array_equal(found, [[False] * 3, [True] * 3, [False] * 3])


def test_two_places_side_by_side_are_learnt_and_judged_apart(module, tmp_path):
    masks = module("real_masks")
    mask = np.zeros((256, 512), np.uint8)
    mask[:, 256:] = 1
    image = np.stack([np.full(mask.shape, 0.1, np.float32), mask * 0.5 + 0.1])
    rule = np.ones(mask.shape, bool)
    task = masks.Task(
        "t", "s2-l2a", ("green", "red"), ("other", "it"), image, mask, rule, "r", gap=0
    )
    tested = masks.write_task(task, tmp_path / "set")
    assert len(tested) == 16
    dataset = importlib.import_module("sluice.labels.dataset").read_dataset(tmp_path / "set")
    assert len(dataset.table) == 32
    held = dataset.table["split"] == "test"
    assert dataset.table.loc[held, "label"].all()
    assert not dataset.table.loc[~held, "label"].any()
    assert masks.judge_rule(task, tested).iou.value == 1.0
