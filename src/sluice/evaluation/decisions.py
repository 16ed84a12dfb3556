"""Threshold and calibration of a model, from its scores of labels that it never saw."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from sluice.base.calibration import Calibration
from sluice.evaluation.aims import CalibrationMethod
from sluice.evaluation.calibration import (
    choose_isolated_threshold,
    choose_threshold_for,
    fit_calibration,
)
from sluice.evaluation.metrics import Numbers
from sluice.evaluation.pixel_sample import ScoredChip, sample_pixels

FEWEST = 10
"""Chips of each label that thresholds and calibration need."""
_THRESHOLD_PIXELS = 2_000_000
_CALIBRATION_PIXELS_PER_CHIP = 32
"""Neighbouring pixels are no independent evidence; more of them would claim more than is known."""
_HIGHEST = 1 - 1e-6
"""A sigmoid or a softmax rounds to 1 easily: then no threshold could be above it."""


@dataclass(frozen=True)
class WindowDecisions:
    """What a manifest needs to know of a model that judges windows."""

    t_main: float
    t_iso: float
    calibration: Calibration


def decide_windows(
    scores: Numbers,
    labels: Numbers,
    fitted_on: str,
    *,
    aim: str = "f1",
    method: CalibrationMethod = "beta",
) -> WindowDecisions:
    """Choose the thresholds of windows and fit their calibration.

    Args:
        scores: (N,) in [0, 1], of chips that the model never saw.
        labels: (N,) 1 mine, 0 none; both must occur.
        fitted_on: In words: which chips.
        aim: As for `choose_threshold_for`.
        method: As for `fit_calibration`.

    Raises:
        ShapeMismatch: Lists of different length.
        DataError: A score outside [0, 1], one label only, or scores all alike.
        ConfigError: No such aim or method.
    """
    held = np.minimum(np.asarray(scores, np.float64), _HIGHEST)
    main = choose_threshold_for(aim, held, labels)
    isolated = choose_isolated_threshold(held, labels, main)
    calibration = fit_calibration(held, labels, fitted_on, method=method)
    return WindowDecisions(main, isolated, calibration)


def choose_pixel_threshold(
    chips: Iterable[ScoredChip], count: int, rng: np.random.Generator, *, aim: str = "f1"
) -> float:
    """The threshold of a model that judges pixels.

    Args:
        chips: That the model never saw.
        count: Of them.
        rng: Of the draw of pixels where there are more than two millions.
        aim: As for `choose_threshold_for`.

    Raises:
        DataError: One label only.
        ConfigError: No such aim.
    """
    seen = sample_pixels(chips, max(1, _THRESHOLD_PIXELS // count), rng, by_class=False)
    return choose_threshold_for(aim, np.minimum(seen.scores, _HIGHEST), seen.sought)


def fit_pixel_calibration(
    chips: Iterable[ScoredChip],
    data: str,
    rng: np.random.Generator,
    *,
    method: CalibrationMethod = "beta",
) -> Calibration:
    """Fit the calibration of a model that judges pixels to a few pixels of each chip.

    Args:
        chips: That the model never saw.
        data: Which they are, in words.
        rng: Of the draw of pixels.
        method: As for `fit_calibration`.

    Raises:
        DataError: One label only, or scores all alike.
        ConfigError: No such method.
    """
    drawn = sample_pixels(chips, _CALIBRATION_PIXELS_PER_CHIP, rng, by_class=True)
    fitted_on = f"{drawn.scores.size} pixels of {data}"
    return fit_calibration(drawn.scores, drawn.sought, fitted_on, drawn.weights, method=method)
