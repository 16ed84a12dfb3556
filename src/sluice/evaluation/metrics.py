"""Figures of a detector on labelled chips, for many weightings at once.

Each function takes weights of shape (N,) or (R, N) and gives one figure for each of the R rows,
so that a thousand bootstrap resamples cost a few passes over an array; scikit-learn, which the
tests compare with, takes one weighting a call. A figure that has no meaning (a precision with
nothing detected, a ranking without both labels) is NaN.

Common arguments: `labels` (N,) 1 mine, 0 none; `scores` or `probabilities` (N,) higher means
more like a mine, no NaN; `weights` as above, not negative, None for ones. A chip is detected
where its score is at or above the threshold.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sluice.base.arrays import FloatArray
from sluice.base.errors import DataError, ShapeMismatch

Numbers = npt.NDArray[Any]
"""Any numeric dtype."""

CALIBRATION_BINS = 15


def average_precision(
    labels: Numbers, scores: Numbers, weights: FloatArray | None = None
) -> FloatArray:
    """Area under the precision-recall curve, as a sum of steps without interpolation.

    Returns:
        (R,) or (), in [0, 1]; NaN without a mine.

    Source:
        The definition of scikit-learn's `average_precision_score`.
    """
    hits, alarms = _cumulative_counts(labels, scores, weights)
    found = np.diff(hits, axis=-1, prepend=0)
    # Nothing is found while nothing is flagged, so what stands in for 0 / 0 is never counted.
    precision = ratio(hits, hits + alarms, undefined=0.0)
    return ratio((found * precision).sum(axis=-1), hits[..., -1])


def roc_auc(labels: Numbers, scores: Numbers, weights: FloatArray | None = None) -> FloatArray:
    """Probability that a mine scores higher than another place, ties counted half.

    Returns:
        (R,) or (), in [0, 1]; NaN without both labels.

    Source:
        Hanley & McNeil 1982, doi:10.1148/radiology.143.1.7063747.
    """
    hits, alarms = _cumulative_counts(labels, scores, weights)
    found = np.diff(hits, axis=-1, prepend=0)
    alarmed = np.diff(alarms, axis=-1, prepend=0)
    ranked_higher = (alarmed * (hits - found / 2)).sum(axis=-1)
    return ratio(ranked_higher, hits[..., -1] * alarms[..., -1])


def precision(
    labels: Numbers, scores: Numbers, threshold: float, weights: FloatArray | None = None
) -> FloatArray:
    """Share of mines among the detected.

    Returns:
        (R,) or (), in [0, 1]; NaN where nothing is detected.
    """
    detected = _detected(scores, threshold)
    return share(labels == 1, detected, weights)


def recall(
    labels: Numbers, scores: Numbers, threshold: float, weights: FloatArray | None = None
) -> FloatArray:
    """Share of detected among the mines.

    Returns:
        (R,) or (), in [0, 1]; NaN without a mine.
    """
    return share(_detected(scores, threshold), labels == 1, weights)


def f1(
    labels: Numbers, scores: Numbers, threshold: float, weights: FloatArray | None = None
) -> FloatArray:
    """Harmonic mean of precision and recall.

    Returns:
        (R,) or (), in [0, 1]; NaN where there is neither a mine nor a detection.
    """
    detected, mine = _detected(scores, threshold), labels == 1
    weights = _weights(weights, labels, scores)
    return ratio(
        2 * weights @ (detected & mine).astype(np.float64),
        weights @ (detected.astype(np.float64) + mine),
    )


def false_alarm_rate(
    labels: Numbers, scores: Numbers, threshold: float, weights: FloatArray | None = None
) -> FloatArray:
    """Share of detected among the places without a mine.

    Returns:
        (R,) or (), in [0, 1]; NaN where every place has a mine.
    """
    return share(_detected(scores, threshold), labels == 0, weights)


def share(counted: Numbers, among: Numbers, weights: FloatArray | None = None) -> FloatArray:
    """Share of those counted among some chips: any rate of a chosen kind of chip.

    Args:
        counted: (N,) bool.
        among: (N,) bool.
        weights: As above.

    Returns:
        (R,) or (), in [0, 1]; NaN where `among` is empty.
    """
    weights = _weights(weights, counted, among)
    return ratio(weights @ (counted & among).astype(np.float64), weights @ among.astype(np.float64))


def brier_score(
    labels: Numbers, probabilities: Numbers, weights: FloatArray | None = None
) -> FloatArray:
    """Mean squared difference of probability and truth.

    Returns:
        (R,) or (), in [0, 1], 0 best.

    Source:
        Brier 1950, doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.
    """
    weights = _weights(weights, labels, probabilities)
    return ratio(weights @ (probabilities.astype(np.float64) - labels) ** 2, weights.sum(axis=-1))


def calibration_error(
    labels: Numbers,
    probabilities: Numbers,
    weights: FloatArray | None = None,
    *,
    bins: int = CALIBRATION_BINS,
) -> FloatArray:
    """Expected calibration error: how far stated probability and observed share lie apart.

    Chips are sorted by probability into bins of equal numbers (equal probabilities stay in one
    bin), and the absolute differences of mean probability and share of mines are averaged over
    the bins, by weight. The bins come from the unweighted chips, so that all resamples share
    them. Chance alone makes the differences non-zero: a perfect model on 800 chips gives about
    0.03. Resampling adds chance of its own, so a bootstrap interval leans to the high side.

    Returns:
        (R,) or (), in [0, 1], 0 best.

    Source:
        Nguyen & O'Connor 2015, doi:10.18653/v1/D15-1182 (bins of equal numbers).
    """
    weights = _weights(weights, labels, probabilities)
    probabilities = probabilities.astype(np.float64)
    ranks = np.arange(1, bins + 1) / bins
    highest = np.unique(np.quantile(probabilities, ranks, method="inverted_cdf"))
    bin_of = np.searchsorted(highest, probabilities)
    excess = np.zeros((probabilities.size, highest.size))
    excess[np.arange(probabilities.size), bin_of] = probabilities - labels
    return ratio(np.abs(weights @ excess).sum(axis=-1), weights.sum(axis=-1))


def _cumulative_counts(
    labels: Numbers, scores: Numbers, weights: FloatArray | None
) -> tuple[FloatArray, FloatArray]:
    """Mines and others at or above each distinct score, from the highest score down."""
    weights = _weights(weights, labels, scores)
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    # Chips of equal score are detected together, so only the last of them ends a step.
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    of_mines = weights[..., order] * (labels[order] == 1)
    of_others = weights[..., order] - of_mines
    hits: FloatArray = of_mines.cumsum(axis=-1)[..., ends]
    alarms: FloatArray = of_others.cumsum(axis=-1)[..., ends]
    return hits, alarms


def ratio(part: FloatArray, whole: FloatArray, *, undefined: float = np.nan) -> FloatArray:
    """Part by whole, of any one shape; `undefined` where the whole is 0."""
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    quotient: FloatArray = np.divide(
        part, whole, out=np.full(part.shape, undefined, np.float64), where=whole > 0
    )
    return quotient


def _weights(weights: FloatArray | None, labels: Numbers, values: Numbers) -> FloatArray:
    if labels.ndim != 1 or labels.shape != values.shape or labels.size == 0:
        raise ShapeMismatch(
            f"labels {labels.shape} and scores {values.shape} must be two lists of one length, "
            "not empty"
        )
    _refuse_nan(values)
    if weights is None:
        return np.ones(labels.shape)
    if weights.shape[-1:] != labels.shape:
        raise ShapeMismatch(f"weights {weights.shape} do not fit {labels.size} chips")
    return weights


def _detected(scores: Numbers, threshold: float) -> npt.NDArray[np.bool_]:
    _refuse_nan(scores)
    return np.asarray(scores >= threshold)


def _refuse_nan(values: Numbers) -> None:
    missing = int(np.isnan(values).sum())
    if missing:
        raise DataError(f"{missing} scores are NaN; leave chips that were not observed out")
