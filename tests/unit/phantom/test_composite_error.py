"""The proof's own arithmetic on composites: figures in the docs stand on it."""

import importlib
import math
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def proof(monkeypatch):
    """`proof` lies beside the installed package."""
    monkeypatch.syspath_prepend(str(REPOSITORY))
    return importlib.import_module("proof.composite_error")


def test_figures_of_an_error_are_those_worked_out_by_hand(proof):
    true = np.full(101, 0.2)
    # Errors from -0.05 to 0.05 in even steps, then one pixel that was not observed.
    found = np.append(true + np.linspace(-0.05, 0.05, 101), np.nan)
    figures = proof.error_figures(found, np.append(true, 0.3))
    assert figures["bias"] == pytest.approx(0, abs=1e-12)
    # A uniform grid of n points of step d: variance d^2 (n^2 - 1) / 12.
    assert figures["rmse"] == pytest.approx(0.001 * math.sqrt((101**2 - 1) / 12))
    assert figures["p95"] == pytest.approx(0.0475, abs=0.0005)
    assert figures["observed"] == pytest.approx(101 / 102)


def test_ground_that_was_never_seen_has_no_error(proof):
    figures = proof.error_figures(np.full(3, np.nan), np.zeros(3))
    assert figures["observed"] == 0
    assert all(math.isnan(figures[name]) for name in ("bias", "rmse", "p95"))


def test_dates_are_added_until_the_median_pixel_was_seen_often_enough(proof):
    clear = np.zeros((5, 1, 3), dtype=bool)
    clear[0, 0, 0] = clear[1, 0, :2] = clear[3, 0, 1:] = clear[4] = True
    # Looks of the median pixel after each date: 0, 1, 1, 2, 3.
    assert [proof._dates_for(clear, looks) for looks in (1, 2, 3)] == [2, 4, 5]


def test_a_figure_over_seeds_is_their_mean_and_range(proof):
    assert proof.over_seeds([1.0, 4.0, math.nan, 1.0]).value == 2
    assert (proof.over_seeds([1.0, 4.0]).low, proof.over_seeds([1.0, 4.0]).high) == (1, 4)
    assert proof.over_seeds([math.nan]).value is None
    assert proof.over_seeds([3.0]).low is None


def test_the_tables_hold_every_mask_method_and_band(proof):
    errors, passed = proof.measure_series([1, 2], looks=(1, 2), size_px=240)
    assert len(passed) == 2 * 2 * len(proof.MASKS)
    assert set(errors["ground"]) == {"all", "bright", "mine"}
    true = errors[(errors["mask"] == "true") & (errors["ground"] == "all")]
    assert (true["rmse"] < 0.03).all()
    by_mask = passed.groupby("mask")
    assert (by_mask["let_through"].max()[["true", "flawed"]] == 0).all()
    assert (by_mask["kept"].min()["true"]) == 1
    assert by_mask["kept"].max()["flawed"] < 1
    text = proof.composite_error_table(errors, passed)
    for words in (*proof.BANDS, *proof.METHODS, "flawed SCL and guard", "seeds 1, 2"):
        assert words in text
