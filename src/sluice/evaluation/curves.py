"""What is behind a figure, as numbers: ROC, precision and recall, reliability, confusion.

Arguments as in `metrics`: `labels` (N,) 1 mine, 0 none; `scores` or `probabilities` (N,) without
NaN. A chip is detected where its score is at or above the threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sluice.base.arrays import FloatArray, IntArray
from sluice.base.errors import DataError, ShapeMismatch
from sluice.base.records import Record
from sluice.evaluation.metrics import CALIBRATION_BINS, Numbers


@dataclass(frozen=True)
class RocCurve:
    """Recall against false-alarm rate, from nothing detected to everything."""

    thresholds: FloatArray
    """(K,) falling; the first is infinite, as nothing reaches it."""
    false_alarm_rate: FloatArray
    """(K,) from 0 to 1."""
    recall: FloatArray
    """(K,) from 0 to 1."""


@dataclass(frozen=True)
class PrecisionRecallCurve:
    """Precision against recall, from the highest score down."""

    thresholds: FloatArray
    """(K,) falling: the distinct scores."""
    recall: FloatArray
    """(K,) never falling, 1 at the end."""
    precision: FloatArray
    """(K,)"""


@dataclass(frozen=True)
class Reliability:
    """Stated probability and share of mines found, in bins of equal numbers of chips.

    Average the differences by `chips` to have `metrics.calibration_error`.
    """

    bin_of: IntArray
    """(N,) bin of each chip, from 0, the lowest probabilities."""
    chips: IntArray
    """(B,) in each bin."""
    stated: FloatArray
    """(B,) mean probability."""
    found: FloatArray
    """(B,) share of mines."""


class Confusion(Record):
    """Chips by label and verdict."""

    threshold: float
    hits: int
    """Mines that are detected."""
    misses: int
    """Mines that are not."""
    alarms: int
    """Others that are detected."""
    rejections: int
    """Others that are not."""


def roc_curve(labels: Numbers, scores: Numbers) -> RocCurve:
    """The receiver operating characteristic, a point for each distinct score.

    Raises:
        ShapeMismatch: Lists of different length, or empty.
        DataError: A score is NaN, or one label only.

    Source:
        The definition of scikit-learn's `roc_curve` with `drop_intermediate=False`.
    """
    thresholds, hits, alarms = _counts(labels, scores)
    if not hits[-1] or not alarms[-1]:
        raise DataError("a ROC curve needs chips with a mine and without; add those that lack")
    return RocCurve(
        thresholds=np.append(np.inf, thresholds),
        false_alarm_rate=np.append(0, alarms / alarms[-1]),
        recall=np.append(0, hits / hits[-1]),
    )


def precision_recall_curve(labels: Numbers, scores: Numbers) -> PrecisionRecallCurve:
    """Precision and recall, a point for each distinct score.

    Draw it in steps: between two points no threshold lies, and a straight line would flatter
    (Davis & Goadrich 2006, doi:10.1145/1143844.1143874). The area under the steps is
    `metrics.average_precision`.

    Raises:
        ShapeMismatch: Lists of different length, or empty.
        DataError: A score is NaN, or no chip is a mine.
    """
    thresholds, hits, alarms = _counts(labels, scores)
    if not hits[-1]:
        raise DataError("recall needs chips with a mine; add some")
    return PrecisionRecallCurve(
        thresholds=thresholds, recall=hits / hits[-1], precision=hits / (hits + alarms)
    )


def reliability(
    labels: Numbers, probabilities: Numbers, *, bins: int = CALIBRATION_BINS
) -> Reliability:
    """Whether of the chips called 30 % likely 30 % are mines.

    The bins are those of `metrics.calibration_error`: of equal numbers, equal probabilities in
    one bin, so that there may be fewer of them than asked for.

    Raises:
        ShapeMismatch: Lists of different length, or empty.
        DataError: A probability is NaN, or fewer than 1 bin.

    Source:
        Murphy & Winkler 1977, doi:10.2307/2346866 (the diagram); Nguyen & O'Connor 2015,
        doi:10.18653/v1/D15-1182 (bins of equal numbers).
    """
    mine, stated = _checked(labels, probabilities)
    if bins < 1:
        raise DataError(f"{bins} bins hold no chip; use 15")
    ranks = np.arange(1, bins + 1) / bins
    highest = np.unique(np.quantile(stated, ranks, method="inverted_cdf"))
    bin_of = np.searchsorted(highest, stated)
    chips = np.bincount(bin_of, minlength=highest.size)
    return Reliability(
        bin_of=bin_of.astype(np.int64),
        chips=chips.astype(np.int64),
        stated=np.bincount(bin_of, stated, highest.size) / chips,
        found=np.bincount(bin_of, mine, highest.size) / chips,
    )


def confusion(labels: Numbers, scores: Numbers, threshold: float) -> Confusion:
    """Count chips by label and verdict at a threshold.

    Raises:
        ShapeMismatch: Lists of different length, or empty.
        DataError: A score is NaN.
    """
    mine, _ = _checked(labels, scores)
    # Of the scores as they came: a float32 score is compared like in `metrics`.
    detected = scores >= threshold
    return Confusion(
        threshold=threshold,
        hits=int((mine & detected).sum()),
        misses=int((mine & ~detected).sum()),
        alarms=int((~mine & detected).sum()),
        rejections=int((~mine & ~detected).sum()),
    )


def _counts(labels: Numbers, scores: Numbers) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Distinct scores, falling, and the mines and others at or above each."""
    mine, values = _checked(labels, scores)
    order = np.argsort(-values, kind="stable")
    ordered = values[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    hits = mine[order].cumsum()[ends].astype(np.float64)
    return ordered[ends], hits, ends + 1 - hits


def _checked(labels: Numbers, scores: Numbers) -> tuple[npt.NDArray[np.bool_], FloatArray]:
    if labels.ndim != 1 or labels.shape != scores.shape or labels.size == 0:
        raise ShapeMismatch(
            f"labels {labels.shape} and scores {scores.shape} must be two lists of one length, "
            "not empty"
        )
    values = scores.astype(np.float64)
    missing = int(np.isnan(values).sum())
    if missing:
        raise DataError(f"{missing} scores are NaN; leave chips that were not observed out")
    return labels == 1, values
