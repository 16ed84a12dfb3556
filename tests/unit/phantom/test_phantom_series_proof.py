"""The proof on phantom series: its data set, its truth and its figures, counted by hand."""

import importlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox

from sluice.app.judging_masks import CountedMasks
from sluice.evaluation.masks import count_masks
from sluice.labels.dataset import read_dataset
from sluice.labels.splits import refuse_leaks
from sluice.phantom.series import build_series
from sluice.phantom.spectra import WATER

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def module(monkeypatch):
    """Modules of `proof`, which lies beside the installed package."""
    monkeypatch.syspath_prepend(str(REPOSITORY))
    return lambda name: importlib.import_module(f"proof.{name}")


def test_landscapes_become_chips_that_share_no_ground(module, tmp_path):
    proof = module("phantom_landscapes")
    landscapes = proof.draw_landscapes({"train": (9002,), "test": (9007,)}, size_px=288)
    for classes in (proof.TWO_CLASSES, proof.THREE_CLASSES):
        proof.write_chips(landscapes, tmp_path / str(len(classes)), classes)
    two, three = (read_dataset(tmp_path / n) for n in "23")
    table = two.table
    assert table.groupby("group")["split"].nunique().max() == 1
    assert table["group"].nunique() == len(landscapes)
    refuse_leaks(table, proof.CHIP_PX * two.about.gsd_m)
    counts = table.groupby(["split", "label"]).size()
    # What is tested is the whole landscape, what is learnt from is half mines at least.
    assert counts["test"].sum() == 9
    assert counts["train", 0] <= counts["train", 1]
    rows = table.index.to_numpy()
    np.testing.assert_array_equal(two.masks(rows), np.minimum(three.masks(rows), 1))
    last = landscapes[1]
    tested = np.flatnonzero(table["split"] == "test")
    whole = np.block([list(two.images(tested[k : k + 3])) for k in (0, 3, 6)])
    np.testing.assert_allclose(whole, last.image_bhw, atol=1e-4)
    assert set(np.unique(last.truth_hw)) == {0, proof.ACTIVE, proof.INACTIVE}


def test_only_mines_dig_new_ground(module):
    proof = module("phantom_radar")
    dates = (proof.date(2022, 1, 4), proof.END)
    series = build_series(9008, 288, dates, mine_count=4, cloud_shares=(1.0, 1.0))
    pond, dug = proof.new_ground(series)
    assert 0 < pond.sum() < dug.sum()
    assert not (pond & ~dug).any()
    assert not (pond & (series.land_scl_hw == WATER)).any()
    outlines = proof.features.rasterize(
        series.mines_at(proof.END).geometry,
        pond.shape,
        transform=series.geobox.affine,
        all_touched=True,
    )
    assert (outlines[dug] > 0).all()


def test_each_pixel_has_the_score_of_its_cell(module, tmp_path):
    scores = np.array([[0.1, 0.2], [0.3, np.nan]], np.float32)
    profile = {"driver": "GTiff", "height": 2, "width": 2, "count": 1, "dtype": "float32"}
    with rasterio.open(
        tmp_path / "score.tif",
        "w",
        **profile,
        nodata=np.nan,
        crs="EPSG:32721",
        transform=Affine(20, 0, 500_000, 0, -20, 9_000_000),
    ) as file:
        file.write(scores, 1)
    # One pixel to the right of the map's corner and one below it, and beyond it on both sides.
    grid = GeoBox((4, 4), Affine(10, 0, 500_010, 0, -10, 8_999_990), "EPSG:32721")
    found = module("phantom_radar").scores_on(grid, tmp_path / "score.tif")
    nan = np.nan
    expected = [[0.1, 0.2, 0.2, nan], [0.3, nan, nan, nan], [0.3, nan, nan, nan], [nan] * 4]
    np.testing.assert_allclose(found, np.array(expected))


def test_radar_figures_are_those_worked_out_by_hand(module):
    proof = module("phantom_radar")
    pixels = {
        "seen": 1_000_000,
        "marked": 300,
        "pond": 100,
        "pond_marked": 60,
        "dug": 400,
        "dug_marked": 200,
        "off_mines": 50,
    }
    empty = np.zeros((2, 2), bool)
    results = [
        proof.RadarResult(
            seed,
            pixels,
            mines=4,
            mines_found=3,
            sites=5,
            false_sites=2,
            false_on=Counter(river=2),
            optical_observed=0.0,
            marked_hw=empty,
            pond_hw=empty,
            dug_hw=empty,
        )
        for seed in (1, 2)
    ]
    table = proof.radar_table(results)
    cells = [line.split(" | ")[1] for line in table.splitlines()[2:]]
    assert [cell.split(" ")[0] for cell in cells] == [
        "0.750",
        "0.600",
        f"{60 / (300 + 100 - 60):.3f}",
        "0.500",
        f"{200 / (300 + 400 - 200):.3f}",
        f"{100 / 300:.3f}",
        # 0.5 ha and two sites on 100 km2.
        "0.5",
        "2.0",
        "0",
    ]
    assert "(6 of 8)" in cells[0]
    assert "river 4" in table
    quiet = [replace(r, false_sites=0, false_on=Counter()) for r in results]
    assert "none on 200 km²" in proof.radar_table(quiet)


def test_what_a_model_gains_is_the_difference_of_pooled_figures(module):
    pytest.importorskip("torch")
    truth = np.zeros((4, 8, 8), np.uint8)
    truth[:, :4] = 1
    one, two = truth.copy(), truth.copy()
    one[:, :2] = 0
    two[:, 4:6] = 1

    def counted(drawn):
        groups = np.array(["a", "a", "b", "b"], object)
        return CountedMasks(count_masks(drawn, truth, 2), groups, ("other", "mine"))

    gain = module("phantom_series").iou_gain(counted(one), counted(two), 1)
    assert gain.value == pytest.approx(32 / 48 - 16 / 32)
    assert gain.low == pytest.approx(gain.high)
