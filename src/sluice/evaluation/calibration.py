"""From out-of-fold scores to a calibration and to the thresholds of a model.

Everything here must see scores of models that were not trained on the chips they score
(out-of-fold), and never a test split: scores of seen chips are too good, so the calibration
would overstate every detection.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

from sluice.base.arrays import FloatArray
from sluice.base.calibration import Calibration
from sluice.base.errors import DataError, ShapeMismatch
from sluice.evaluation.metrics import Numbers

_KNOTS = 33
# A float32 score of a sigmoid cannot come closer to 0 or 1 and mean anything by it.
_EDGE = 1e-7


def fit_calibration(
    scores: Numbers, labels: Numbers, fitted_on: str, weights: Numbers | None = None
) -> Calibration:
    """Fit what a score is worth as evidence: beta calibration, tabulated.

    The posterior among the labels is ``logit p = a log s - b log(1 - s) + c`` with a, b >= 0.
    Three parameters make it smooth and monotone: on the chips' scores it equals or beats
    isotonic regression in held-out log loss, whose steps claim infinite evidence at both ends,
    and beats Platt scaling where a model was badly calibrated. Targets are drawn in as Platt
    proposed, so that labels which a score separates perfectly still give finite evidence.

    The log-likelihood ratio is the posterior's logit less the prior's. n places without a mine,
    none of them scoring so high, cannot show that such a score is rarer there than about 1 in
    n: the ratio is held below log(n of the others) and above -log(n of the mines), and constant
    beyond the scores that were seen.

    Args:
        scores: (N,) in [0, 1], out-of-fold.
        labels: (N,) 1 mine, 0 none; both must occur.
        fitted_on: In words: which chips, which folds.
        weights: (N,) positive, None for equal. n is then Kish's effective number.

    Returns:
        Up to 33 knots, evenly spaced in the logit of the score.

    Raises:
        ShapeMismatch: Lists of different length.
        DataError: A score outside [0, 1], one label only, or scores all alike.

    Source:
        Kull, Silva Filho & Flach 2017, doi:10.1214/17-EJS1338SI; Platt 1999 (targets).
    """
    values, mine = _checked(scores, labels)
    weight = np.ones(values.size) if weights is None else np.asarray(weights, np.float64)
    if weight.shape != values.shape or not (weight > 0).all():
        raise ShapeMismatch("weights must be positive, one for each score")
    weight = weight / weight.mean()
    lowest, highest = np.clip((values.min(), values.max()), _EDGE, 1 - _EDGE)
    if lowest >= highest:
        raise DataError(
            f"all scores are {values[0]:.4g} and tell nothing apart; train the model first"
        )
    prior = float(weight[mine].sum() / weight.sum())
    mines, others = _effective_number(weight[mine]), _effective_number(weight[~mine])
    slopes_and_offset = _fit_beta(values, mine, weight, mines, others)

    fine = np.linspace(logit(lowest), logit(highest), 4001)
    ratio = _features(expit(fine)) @ slopes_and_offset - logit(prior)
    # Knots where the ratio is held constant would be wasted.
    inside = np.flatnonzero((ratio > -np.log(mines)) & (ratio < np.log(others)))
    first, last = (inside[0], inside[-1]) if inside.size > 1 else (0, fine.size - 1)
    at = np.linspace(max(first - 1, 0), min(last + 1, fine.size - 1), _KNOTS).round().astype(int)
    at = np.unique(at)
    held = np.clip(ratio[at], -np.log(mines), np.log(others))
    return Calibration(
        scores=tuple(expit(fine[at]).tolist()),
        # Rounding may undo the order of equal values by the last digit.
        log_likelihood_ratio=tuple(np.maximum.accumulate(held).tolist()),
        training_prior=prior,
        fitted_on=fitted_on,
    )


def choose_threshold(scores: Numbers, labels: Numbers) -> float:
    """The threshold with the highest F1.

    Args:
        scores: (N,) in [0, 1], out-of-fold.
        labels: (N,) 1 mine, 0 none; both must occur.

    Returns:
        Midway between the lowest score that is still detected and the next below, so that
        rounding changes no detection; of equal F1, the highest threshold.

    Raises:
        ShapeMismatch: Lists of different length.
        DataError: A score outside [0, 1], or one label only.
    """
    values, mine = _checked(scores, labels)
    order = np.argsort(-values, kind="stable")
    ordered = values[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    hits = mine[order].cumsum()[ends]
    f1 = 2 * hits / (ends + 1 + mine.sum())
    best = int(f1.argmax())
    below = ordered[ends[best + 1]] if best + 1 < ends.size else 0.0
    return float((ordered[ends[best]] + below) / 2)


def choose_isolated_threshold(
    scores: Numbers, labels: Numbers, main_threshold: float, *, share: float = 0.5
) -> float:
    """The threshold for detections with no others near them.

    A mine seldom lies alone and a false alarm often does. A stricter false-alarm rate says so
    without knowing how many windows of a map hold mines, which a wanted precision would need.

    Args:
        scores: (N,) in [0, 1], out-of-fold.
        labels: (N,) 1 mine, 0 none; both must occur.
        main_threshold: From `choose_threshold`.
        share: Of the false alarms at the main threshold, how many may remain; in (0, 1].

    Returns:
        The lowest threshold, not below the main one, with at most that share of its false
        alarms; midway between the highest refused score without a mine and the next above.

    Raises:
        ShapeMismatch: Lists of different length.
        DataError: A score outside [0, 1], one label only, a share outside (0, 1], or scores
            of 1 without a mine in such number that no threshold refuses enough of them.
    """
    if not 0 < share <= 1:
        raise DataError(f"a share of {share} false alarms cannot be kept; use one in (0, 1]")
    values, mine = _checked(scores, labels)
    alarms = np.sort(values[~mine & (values >= main_threshold)])[::-1]
    kept = int(share * alarms.size)
    if kept == alarms.size:
        return main_threshold
    refused = alarms[kept]
    if refused >= 1:
        raise DataError(
            f"{int((alarms >= 1).sum())} chips without a mine score 1, so no threshold keeps "
            f"only {share:.0%} of the false alarms; train the model further"
        )
    above = values[values > refused]
    return float((refused + (above.min() if above.size else 1.0)) / 2)


def _fit_beta(
    values: FloatArray, mine: Numbers, weight: FloatArray, mines: float, others: float
) -> FloatArray:
    """The two slopes and the offset, by weighted maximum likelihood."""
    features = _features(values)
    target = np.where(mine, (mines + 1) / (mines + 2), 1 / (others + 2))

    def loss(parameters: FloatArray) -> tuple[float, FloatArray]:
        logits = features @ parameters
        total = weight @ (np.logaddexp(0, logits) - target * logits)
        return float(total), features.T @ (weight * (expit(logits) - target))

    fit = minimize(
        loss,
        (1.0, 1.0, 0.0),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, None), (0, None), (None,) * 2],
    )
    parameters: FloatArray = fit.x
    return parameters


def _features(values: FloatArray) -> FloatArray:
    inside = np.clip(values, _EDGE, 1 - _EDGE)
    return np.stack((np.log(inside), -np.log1p(-inside), np.ones_like(inside)), axis=-1)


def _effective_number(weight: FloatArray) -> float:
    """Kish 1965: equally weighted samples that would be as sure."""
    return float(weight.sum() ** 2 / (weight**2).sum())


def _checked(scores: Numbers, labels: Numbers) -> tuple[FloatArray, Numbers]:
    if scores.ndim != 1 or scores.shape != labels.shape:
        raise ShapeMismatch(
            f"scores {scores.shape} and labels {labels.shape} must be two lists of one length"
        )
    values = scores.astype(np.float64)
    outside = ~((values >= 0) & (values <= 1))
    if outside.any():
        raise DataError(
            f"{int(outside.sum())} scores are not in [0, 1], such as {values[outside][0]}; "
            "leave chips that were not observed out, and give the model's last sigmoid's output"
        )
    mine = labels == 1
    if mine.all() or not mine.any():
        raise DataError(
            f"{int(mine.sum())} of {mine.size} chips are mines; both labels are needed, "
            "so add chips of the other"
        )
    return values, mine
