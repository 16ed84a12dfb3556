"""The proof's figures of masks and guard, counted by hand."""

import importlib
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def masks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(REPOSITORY))
    return importlib.import_module("proof.masks")


def test_guard_figures_count_looks(masks) -> None:
    # A bright pixel that the mask calls cloud on all of 8 clear dates, and on its 2 cloudy ones;
    # a dark pixel, clear on 6 dates, cloudy on 4, of which the mask misses one.
    bright = [0.30, 0.31, 0.29, 0.30, 0.30, 0.31, 0.30, 0.29, 0.6, 0.8]
    dark = [0.04, 0.05, 0.04, 0.05, 0.04, 0.05, 0.5, 0.6, 0.7, 0.8]
    brightness = np.array([bright, dark], np.float32).T[:, None, :]
    stack = np.repeat(brightness[:, None], 3, axis=1)
    clear = np.zeros((10, 1, 2), bool)
    clear[:8, 0, 0] = clear[:6, 0, 1] = True
    flagged = np.zeros_like(clear)
    flagged[:, 0, 0] = flagged[7:, 0, 1] = True
    truth = np.array([0.30, 0.045], np.float32) * np.ones((3, 1, 1), np.float32)
    figures = masks.guard_figures(stack, flagged, clear, truth_bhw=truth)
    assert figures["cloud_recall_without"] == pytest.approx(5 / 6)
    assert figures["cloud_recall_with"] == pytest.approx(5 / 6)
    assert figures["ground_lost_without"] == pytest.approx(8 / 14)
    assert figures["ground_lost_with"] == 0
    assert figures["bright_ground_lost_without"] == 1
    assert figures["bright_ground_lost_with"] == 0
    assert figures["bright_pixels_without_look_without"] == 1
    assert figures["bright_pixels_without_look_with"] == 0
    assert np.isnan(figures["bright_error_without"])
    assert figures["bright_error_with"] == pytest.approx(0, abs=1e-6)


def test_shadow_is_neither_clear_nor_given_back(masks) -> None:
    stack = np.full((8, 3, 1, 1), 0.3, np.float32)
    flagged = np.ones((8, 1, 1), bool)
    shadow = np.zeros_like(flagged)
    shadow[0] = True
    figures = masks.guard_figures(stack, flagged, ~shadow, shadow_thw=shadow)
    assert figures["ground_lost_with"] == 0
    assert figures["cloud_recall_with"] == 1
