"""Checks of data sets find what was planted, and are silent where nothing was."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from scipy import ndimage
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from sluice.app.cli.main import app
from sluice.labels.check import check_dataset
from sluice.labels.check_labels import check_hints
from sluice.labels.dataset import ChipDataset, DatasetAbout, DatasetWriter, read_dataset
from sluice.labels.duplicates import look_alikes, pixel_sharers
from sluice.labels.findings import CheckReport, Severity, report_text
from sluice.labels.shortcuts import _auc, one_sided, predictability
from sluice.labels.survey import Survey, survey_chips

SIDE = 32
ABOUT = DatasetAbout(name="toy", bands=("red", "nir"), gsd_m=10, sensor="s2-l2a")
LEFT, TOP = 600_000, 9_300_000


def ground(seed: int, side: int = 720) -> np.ndarray:
    """(2, side, side) reflectance with detail of many sizes, the broad the strongest."""
    rng = np.random.default_rng(seed)
    image = sum(
        ndimage.zoom(rng.normal(0, spread, (2, side // s, side // s)), (1, s, s), order=1)
        for s, spread in ((1, 0.005), (4, 0.02), (20, 0.05))
    )
    return (0.2 + image).astype(np.float32)


GROUND = ground(0)


def cut(row: int, col: int, source: np.ndarray = GROUND) -> tuple[np.ndarray, GeoBox]:
    grid = GeoBox(
        (SIDE, SIDE), Affine(10, 0, LEFT + 10 * col, 0, -10, TOP - 10 * row), "EPSG:32721"
    )
    return source[:, row : row + SIDE, col : col + SIDE], grid


class Toy:
    """Writes chips of one ground; every place is far from the others unless told."""

    def __init__(self, folder) -> None:
        self.folder = folder
        self.writer = DatasetWriter(folder, ABOUT)
        self.count = 0

    def add(self, row=None, col=None, *, source=GROUND, located=True, mine=None, **facts) -> None:
        k = self.count
        row = 40 * (k // 12) if row is None else row
        col = 40 * (k % 12) if col is None else col
        image, grid = cut(row, col, source)
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[:8, :8] = k % 2 if mine is None else mine
        facts = {"split": "train", "start": "2024-01-01", "end": "2024-12-31"} | facts
        place = {} if located else {"lon": math.nan, "lat": math.nan}
        name = facts.pop("chip_id", f"c{k:03d}")
        self.writer.add(
            name, image, grid if located else None, mask, **{"source": "s", **place, **facts}
        )
        self.count += 1

    def fill(self, count: int, **facts) -> None:
        for k in range(count):
            self.add(**{name: value(k) for name, value in facts.items()})

    def check(self) -> CheckReport:
        self.writer.finish()
        return check_dataset(self.folder)


@pytest.fixture
def toy(tmp_path) -> Toy:
    return Toy(tmp_path / "d")


def by_severity(report: CheckReport, severity: Severity) -> dict[str, int]:
    return {f.check: f.count for f in report.findings if f.severity is severity}


def test_a_clean_data_set_is_fit(toy) -> None:
    toy.fill(36, split=lambda k: ("train", "val", "test")[k % 3], mine=lambda k: k // 3 % 2)
    report = toy.check()
    assert report.fit_for_training, report_text(report)
    assert not by_severity(report, Severity.WARNING), report_text(report)
    assert "no group, ground or pixels in common" in report_text(report)


def test_planted_leaks_are_found_each_by_its_sign(toy) -> None:
    toy.fill(40)
    toy.add(400, 500, group="g", chip_id="group-a")
    toy.add(460, 500, group="g", split="test", chip_id="group-b")
    toy.add(500, 100, chip_id="ground-a")
    toy.add(500, 120, split="test", chip_id="ground-b", source=ground(5))
    toy.add(600, 100, chip_id="pixels-a", located=False)
    toy.add(619, 113, chip_id="pixels-b", located=False, split="test")
    report = toy.check()
    found = {f.check: f for f in report.findings if f.severity is Severity.LEAK}
    assert set(found) == {"groups", "ground", "pixels"}
    assert found["groups"].examples == ("g",)
    assert found["ground"].count == 1
    assert "ground-a and ground-b (200 m)" in found["ground"].examples[0]
    assert found["pixels"].count == 1
    assert "pixels-a and pixels-b" in found["pixels"].examples[0]
    assert not report.fit_for_training


@settings(max_examples=8)
# One block in thirteen is remembered: of 20 x 20 px in common some, but for one pair in 700,000.
@given(down=st.integers(-12, 12), right=st.integers(-12, 12), seed=st.integers(0, 99))
def test_shared_pixels_are_found_at_any_offset(tmp_path_factory, down, right, seed) -> None:
    writer = Toy(tmp_path_factory.mktemp("s") / "d")
    source = ground(seed, 200)
    writer.add(60, 60, source=source, located=False)
    writer.add(60 + down, 60 + right, source=source, located=False)
    writer.add(60, 130, source=source, located=False)
    writer.writer.finish()
    pairs = pixel_sharers(survey_chips(read_dataset(writer.folder)))
    assert pairs[["one", "other"]].to_numpy().tolist() == [[0, 1]]


@pytest.mark.parametrize(("down", "right"), [(0, 0), (2, -1), (-3, 2)])
def test_the_same_ground_at_another_date_is_found(toy, down, right) -> None:
    """Other light, haze and noise, and a few pixels aside: no pixel is the same."""
    rng = np.random.default_rng(2)
    later = 0.8 * GROUND + 0.05 + rng.normal(0, 0.005, GROUND.shape).astype(np.float32)
    toy.fill(30, located=lambda k: False)
    toy.add(600, 300, located=False, chip_id="before")
    toy.add(
        600 + down, 300 + right, source=later, located=False, split="test", chip_id="after", mine=1
    )
    toy.writer.finish()
    survey = survey_chips(read_dataset(toy.folder))
    assert pixel_sharers(survey).empty
    assert look_alikes(survey)[["one", "other"]].to_numpy().tolist() == [[30, 31]]
    leaks = [f for f in check_dataset(toy.folder).findings if f.severity is Severity.LEAK]
    assert [f.check for f in leaks] == ["look-alikes"]
    assert leaks[0].examples[0].startswith("before and after")


def test_shores_that_only_look_alike_are_not_taken_for_one_place(toy) -> None:
    """Water to the left, land to the right, and a bank that winds differently in each."""
    rng = np.random.default_rng(1)

    def bank(k: int) -> np.ndarray:
        middle = 16 + ndimage.zoom(rng.normal(0, 3, 180), 4, order=1)[:, None]
        land = (np.arange(720)[None] - 40 * (k % 12)) > middle
        return np.where(land, GROUND + 0.3, GROUND * 0.2).astype(np.float32)

    toy.fill(24, source=bank)
    toy.writer.finish()
    survey = survey_chips(read_dataset(toy.folder))
    flat = survey.thumbnail - survey.thumbnail.mean(axis=1, keepdims=True)
    alike = np.corrcoef(flat)[np.triu_indices(24, 1)]
    assert (alike > 0.75).mean() > 0.5
    assert look_alikes(survey).empty


def test_blank_and_flat_chips_are_no_duplicates(toy) -> None:
    empty, flat = np.full_like(GROUND, np.nan), np.full_like(GROUND, 0.1)
    toy.fill(10)
    toy.fill(3, source=lambda k: empty)
    toy.fill(3, source=lambda k: flat)
    report = toy.check()
    assert by_severity(report, Severity.WARNING)["blank"] == 3
    notes = by_severity(report, Severity.NOTE)
    assert notes["pixels"] == notes["look-alikes"] == 0


def test_wrong_places_are_found(toy) -> None:
    toy.fill(30)
    report = toy.check()
    assert "places" not in by_severity(report, Severity.ERROR)
    index = toy.folder / "index.csv"
    table = pd.read_csv(index)
    table.loc[0, ["lon", "lat"]] = table.loc[0, ["lat", "lon"]].to_numpy()
    table.loc[1, "lon"] += 1
    table.loc[2, ["lon", "lat"]] = 190, 100
    table.loc[3, ["lon", "lat"]] = -6, 120
    table.loc[4, "lon"] = math.nan
    table.to_csv(index, index=False)
    findings = [f for f in check_dataset(toy.folder).findings if f.severity is Severity.ERROR]
    told = {f.message: f.examples for f in findings}
    assert told["1 chip off the globe, as longitude and latitude are swapped"] == ("c003",)
    assert told["1 chip off the globe"] == ("c002",)
    assert told["1 chip with longitude and latitude swapped, as their files say"] == ("c000",)
    assert told["1 chip elsewhere than their files say"] == ("c001",)
    assert told["1 chip with half a place"] == ("c004",)


@pytest.mark.parametrize("honest", [True, False])
def test_overlaps_tell_whether_places_are_right(toy, honest) -> None:
    toy.fill(20)
    toy.add(600, 100)
    toy.add(609, 93, source=GROUND if honest else ground(8))
    report = toy.check()
    texts = [f.message for f in report.findings if f.check == "places"]
    assert any(("show the same" if honest else "do not show the same") in text for text in texts), (
        texts
    )
    assert ("places" in by_severity(report, Severity.WARNING)) is not honest


def test_wrong_dates_are_found(toy) -> None:
    toy.fill(20)
    toy.add(start="2024-05-01", end="2024-04-01")
    toy.add(start="2014-01-01", end="2014-02-01")
    toy.add(start="2190-01-01", end="2190-02-01")
    toy.add(start=None, end=None)
    told = [f.message for f in toy.check().findings if f.check == "dates"]
    assert told == [
        "1 chip with an end before the start",
        "1 chip of the future",
        "1 chip from before the first image of s2-l2a (2015-06-23)",
        "1 chip without dates",
    ]


def test_missing_and_damaged_files_are_found(toy) -> None:
    toy.fill(20)
    toy.writer.finish()
    (toy.folder / "images" / "c003.tif").unlink()
    (toy.folder / "images" / "c007.tif").write_bytes(b"II*\0 no image")
    (toy.folder / "masks" / "c008.tif").write_bytes(b"")
    report = check_dataset(toy.folder)
    errors = by_severity(report, Severity.ERROR)
    assert errors == {"image files": 2, "mask files": 1}
    text = report_text(report)
    assert "c003.tif" in text
    assert "c007.tif" in text
    assert text.endswith("Not fit for training: see above.")


def test_chips_of_another_size_are_found(toy) -> None:
    toy.fill(6)
    toy.writer.add(
        "odd", np.zeros((2, 40, 40), np.float32), None, np.zeros((40, 40), np.uint8), split="train"
    )
    assert by_severity(toy.check(), Severity.ERROR)["sizes"] == 1


def test_classes_and_masks_that_contradict_are_found(tmp_path) -> None:
    about = ABOUT.model_copy(update={"classes": ("other", "mine", "pond")})
    writer = DatasetWriter(tmp_path / "d", about)
    for k in range(20):
        image, grid = cut(34 * k, 0)
        mask = np.full((SIDE, SIDE), 255 if k == 5 else 0, np.uint8)
        mask[0, 0] = 1 if k < 4 else mask[0, 0]
        split = "test" if k >= 15 else "train"
        writer.add(f"c{k}", image, grid, mask, split=split, start="2024-01-01", end="2024-02-01")
    writer.finish()
    index = tmp_path / "d" / "index.csv"
    table = pd.read_csv(index)
    table.loc[7, "label"] = 1
    table.to_csv(index, index=False)
    report = check_dataset(tmp_path / "d")
    told = {f.message: f.severity for f in report.findings if f.check in {"classes", "masks"}}
    assert told == {
        "no pixel of pond anywhere": Severity.ERROR,
        "1 chip with a label that the mask contradicts": Severity.ERROR,
        "no pixel of mine, pond in split test": Severity.WARNING,
        "no pixel of pond in split train": Severity.WARNING,
        "16 masks of one class only (other 15, nothing labelled 1)": Severity.WARNING,
    }


@pytest.mark.parametrize(
    ("mine", "told"),
    [
        (lambda k: 1, "every chip holds what is sought"),
        (lambda k: k % 4 != 3, "every chip of split train holds what is sought"),
        (lambda k: k % 4 != 0, None),
        # What is excluded teaches nobody.
        (lambda k: k % 4 != 2, "every chip holds what is sought"),
    ],
)
def test_chips_that_all_hold_a_mine_are_no_silent_matter(toy, mine, told) -> None:
    splits = ("train", "train", "excluded", "test")
    toy.fill(40, split=lambda k: splits[k % 4], mine=mine)
    report = toy.check()
    found = [f.message for f in report.findings if "what is sought, and" in f.message]
    assert report.fit_for_training, report_text(report)
    assert len(found) == (told is not None)
    assert told is None or found[0].startswith(told)
    assert told is None or by_severity(report, Severity.WARNING)["classes"]


def hints(label, split, negatives=(), **columns) -> str:
    """What is said of the columns of a table of chips, each a group of its own."""
    count = len(label)
    table = pd.DataFrame(
        {
            "label": label,
            "split": split,
            "group": [f"g{k}" for k in range(count)],
            "source": "s",
            "lon": np.nan,
            "lat": np.nan,
            "start": pd.Timestamp("2024-01-01"),
            "end": pd.Timestamp("2025-01-01"),
            "clear_threshold": np.nan,
        }
    ).assign(**columns)
    none = np.zeros(count)
    survey = Survey(
        blank=none,
        brightness=none,
        detail=np.zeros((count, 1, 1), np.float32),
        thumbnail=np.zeros((count, 1), np.float32),
        block_hash=np.empty(0, np.uint64),
        block_chip=np.empty(0, np.int64),
        unread={},
        sizes=[],
        class_pixels=None,
    )
    about = ABOUT.model_copy(update={"negatives": negatives})
    dataset = ChipDataset(Path(), about, table, lambda rows: np.empty(0), None)
    return " ".join(f"{f.severity} {f.message} {f.examples}" for f in check_hints(dataset, survey))


def test_a_column_that_tells_the_label_is_found_and_others_are_not() -> None:
    rng = np.random.default_rng(0)
    hazy = rng.random(600) < 0.4
    text = hints(
        np.where(hazy, 0, rng.integers(0, 2, 600)),
        rng.choice(["", "train"], 600),
        clear_threshold=np.where(hazy, 0.05, 0.75),
        start=pd.to_datetime([f"20{year}-01-01" for year in rng.integers(16, 25, 600)]),
        end=pd.Timestamp("2025-01-01"),
    )
    assert "clear_threshold tells the label" in text
    assert "1 value of clear_threshold has one label only" in text
    assert "0.05: " in text
    assert "start" not in text
    assert "place" not in text


def test_kinds_of_negatives_are_one_sided_by_design_and_drown_nothing() -> None:
    rng = np.random.default_rng(0)
    label = np.repeat([1, 0], 300)
    kinds = np.where(label == 1, "truth", rng.choice(["random", "riverbank"], 600))
    split = np.full(600, "train")
    text = hints(label, split, ("riverbank", "random"), source=kinds)
    assert "warning" not in text
    assert "note source names kinds of negatives (r" in text
    # Sources that are no such kinds still give the label away, and so do other columns.
    assert "warning source tells the label" in hints(label, split, source=kinds)
    theirs = np.where(rng.random(600) < 0.5, np.where(label == 1, "a", "b"), kinds)
    text = hints(label, split, ("riverbank", "random"), source=theirs)
    assert "warning source tells the label" in text
    hazy = np.where(label == 1, 0.05, 0.75)
    text = hints(label, split, ("riverbank", "random"), source=kinds, clear_threshold=hazy)
    assert "warning clear_threshold tells the label" in text


def test_hints_are_not_looked_for_in_held_out_chips() -> None:
    label = np.arange(600) % 2
    told = np.where(label, 0.05, 0.75)
    assert "clear_threshold" in hints(label, "train", clear_threshold=told)
    assert "clear_threshold" not in hints(label, "test_east", clear_threshold=told)
    assert "clear_threshold" not in hints(label, "excluded", clear_threshold=told)


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 6)), min_size=2, max_size=60).filter(
        lambda pairs: len({label for label, _ in pairs}) == 2
    )
)
def test_auc_is_that_of_a_reference(pairs) -> None:
    labels, scores = np.array(pairs).T
    counts = [np.bincount(scores[labels == label], minlength=7).astype(float) for label in (1, 0)]
    assert _auc(*counts) == pytest.approx(roc_auc_score(labels, scores))


def test_the_interval_of_an_idle_column_holds_one_half() -> None:
    rng = np.random.default_rng(4)
    groups = pd.Series(rng.integers(0, 200, 1000))
    holds = 0
    for seed in range(20):
        # One label for a group, as chips of a place mostly have.
        labels = rng.integers(0, 2, 200)[groups]
        values = pd.Series(rng.normal(size=200)[groups])
        found = predictability(labels, groups, values, "idle", seed=seed)
        assert found is not None
        holds += found.low <= 0.5 <= found.high
    assert holds >= 14
    assert predictability(np.ones(1000, np.int64), groups, groups, "one label") is None


def test_few_groups_of_one_label_are_no_finding() -> None:
    labels = np.repeat([0, 1], 200)
    values = pd.Series(["a"] * 40 + ["b"] * 360)
    alone, together = pd.Series(range(400)), pd.Series([0] * 40 + list(range(1, 361)))
    assert [one.value for one in one_sided(labels, alone, values, "x")] == ["a"]
    assert one_sided(labels, together, values, "x") == []


def test_the_command_ends_with_1_where_something_leaks(toy) -> None:
    toy.fill(20)
    toy.add(500, 100)
    toy.add(505, 104, split="test")
    toy.writer.finish()
    ended = CliRunner().invoke(app, ["labels", "check", str(toy.folder), "--json"])
    assert ended.exit_code == 1
    report = json.loads(ended.stdout)
    assert report["fit_for_training"] is False
    assert {f["check"] for f in report["findings"] if f["severity"] == "leak"} >= {"ground"}
    clean = toy.folder.parent / "e"
    other = Toy(clean)
    other.fill(20)
    other.writer.finish()
    assert CliRunner().invoke(app, ["labels", "check", str(clean)]).exit_code == 0


def test_what_is_known_of_real_chips_is_found(shared_data, tmp_path) -> None:
    """Hazy chips hold no mine; the test region is apart; some overlapping pairs lack a group."""
    table = pd.read_csv(shared_data / "amw-chips" / "chips.csv")
    sources = table["source"].str.startswith(("ACAexpanded", "bolivar", "v3.5", "v3.3", "v2.4"))
    table[sources].to_csv(tmp_path / "chips.csv", index=False)
    (tmp_path / "grids").symlink_to(shared_data / "amw-chips" / "grids", target_is_directory=True)
    report = check_dataset(tmp_path)
    assert report.fit_for_training, report_text(report)
    text = report_text(report)
    assert "pool (" in text
    assert "test_caroni (441 chips): no group, ground or pixels in common" in text
    assert "clear_threshold has one label only" in text
    assert "0.05: " in text
    # Two dates of one place that the table holds for two places.
    assert "ACAexpanded_amazon_negatives2025-08_S2L1C_clear0.75_2024-01-01_2025-01-01-117" in text
    # Of 40 m less than what overlaps by half, all of one date: their pixels agree.
    assert "that overlap, as their places say, show the same there" in text
