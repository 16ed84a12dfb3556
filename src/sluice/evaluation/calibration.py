"""From out-of-fold scores to a calibration and to the thresholds of a model.

Everything here must see scores of models that were not trained on the chips they score
(out-of-fold), and never a test split: scores of seen chips are too good, so the calibration
would overstate every detection.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast, get_args

import numpy as np
from scipy.optimize import isotonic_regression, minimize
from scipy.special import expit, logit

from sluice.base.arrays import FloatArray
from sluice.base.calibration import Calibration
from sluice.base.errors import ConfigError, DataError, ShapeMismatch
from sluice.evaluation.aims import BestF, CalibrationMethod, parse_aim
from sluice.evaluation.metrics import Numbers

_KNOTS = 33
# A float32 score of a sigmoid cannot come closer to 0 or 1 and mean anything by it.
_EDGE = 1e-7


@dataclass(frozen=True)
class _Evidence:
    """Checked scores and how much they can show."""

    values: FloatArray
    mine: Numbers
    weight: FloatArray
    prior: float
    mines: float
    """Kish's effective number, as `others`."""
    others: float

    def held(self, ratio: FloatArray) -> FloatArray:
        """The log-likelihood ratio, not beyond what so many chips can show."""
        held: FloatArray = np.clip(ratio, -np.log(self.mines), np.log(self.others))
        return held

    @property
    def span(self) -> tuple[float, float]:
        """Lowest and highest score, off the ends where a logit is infinite."""
        low, high = np.clip((self.values.min(), self.values.max()), _EDGE, 1 - _EDGE)
        return float(low), float(high)


def check_method(name: str) -> CalibrationMethod:
    """The calibration of that name.

    Raises:
        ConfigError: None is called so.
    """
    for known in get_args(CalibrationMethod):
        if name == known:
            return cast(CalibrationMethod, known)
    names = ", ".join(get_args(CalibrationMethod))
    raise ConfigError(f"no calibration is called {name!r}; use {names}")


def fit_calibration(
    scores: Numbers,
    labels: Numbers,
    fitted_on: str,
    weights: Numbers | None = None,
    *,
    method: CalibrationMethod = "beta",
) -> Calibration:
    """Fit what a score is worth as evidence, as a table.

    The posterior p among the labels is one of

    - ``beta``: ``logit p = a log s - b log(1 - s) + c`` with a, b >= 0. Three parameters make
      it smooth and monotone: on the chips' scores it equals or beats isotonic regression in
      held-out log loss, whose steps claim infinite evidence at both ends, and beats Platt
      scaling where a model was badly calibrated.
    - ``isotonic``: any that never falls, by pooling adjacent violators. It takes any shape and
      wants thousands of chips.
    - ``temperature``: ``logit p = logit(s) / T`` with T > 0. One parameter, for few chips and
      a network whose scores were posteriors but for being too sure.

    For the two with parameters targets are drawn in as Platt proposed, so that labels which a
    score separates perfectly still give finite evidence.

    The log-likelihood ratio is the posterior's logit less the prior's. n places without a mine,
    none of them scoring so high, cannot show that such a score is rarer there than about 1 in
    n: the ratio is held below log(n of the others) and above -log(n of the mines), and constant
    beyond the scores that were seen.

    Args:
        scores: (N,) in [0, 1], out-of-fold.
        labels: (N,) 1 mine, 0 none; both must occur.
        fitted_on: In words: which chips, which folds.
        weights: (N,) positive, None for equal. n is then Kish's effective number.
        method: The form of the posterior.

    Returns:
        Up to 33 knots, evenly spaced in the logit of the score; of `isotonic` the ends of each
        pool of scores, as many as there are.

    Raises:
        ShapeMismatch: Lists of different length.
        DataError: A score outside [0, 1], one label only, or scores all alike.
        ConfigError: No such method.

    Source:
        Kull, Silva Filho & Flach 2017, doi:10.1214/17-EJS1338SI (beta); Platt 1999 (targets);
        Zadrozny & Elkan 2002, doi:10.1145/775047.775151 (isotonic); Guo, Pleiss, Sun &
        Weinberger 2017, arXiv:1706.04599 (temperature).
    """
    method = check_method(method)
    seen = _evidence(scores, labels, weights)
    at, ratio = _isotonic_knots(seen) if method == "isotonic" else _smooth_knots(seen, method)
    return Calibration(
        scores=tuple(at.tolist()),
        # Rounding may undo the order of equal values by the last digit.
        log_likelihood_ratio=tuple(np.maximum.accumulate(seen.held(ratio)).tolist()),
        training_prior=seen.prior,
        fitted_on=fitted_on,
    )


def _evidence(scores: Numbers, labels: Numbers, weights: Numbers | None) -> _Evidence:
    values, mine = _checked(scores, labels)
    weight = np.ones(values.size) if weights is None else np.asarray(weights, np.float64)
    if weight.shape != values.shape or not (weight > 0).all():
        raise ShapeMismatch("weights must be positive, one for each score")
    weight = weight / weight.mean()
    seen = _Evidence(
        values=values,
        mine=mine,
        weight=weight,
        prior=float(weight[mine].sum() / weight.sum()),
        mines=_effective_number(weight[mine]),
        others=_effective_number(weight[~mine]),
    )
    if seen.span[0] >= seen.span[1]:
        raise DataError(
            f"all scores are {values[0]:.4g} and tell nothing apart; train the model first"
        )
    return seen


def _smooth_knots(seen: _Evidence, method: CalibrationMethod) -> tuple[FloatArray, FloatArray]:
    """Scores and log-likelihood ratios of a posterior with parameters."""
    features, bounds = _FORMS[method]
    parameters = _fit_logistic(seen, features(seen.values), bounds)
    lowest, highest = seen.span
    fine = np.linspace(logit(lowest), logit(highest), 4001)
    ratio = features(expit(fine)) @ parameters - logit(seen.prior)
    # Knots where the ratio is held constant would be wasted.
    inside = np.flatnonzero((ratio > -np.log(seen.mines)) & (ratio < np.log(seen.others)))
    first, last = (inside[0], inside[-1]) if inside.size > 1 else (0, fine.size - 1)
    at = np.linspace(max(first - 1, 0), min(last + 1, fine.size - 1), _KNOTS).round().astype(int)
    at = np.unique(at)
    return expit(fine[at]), ratio[at]


def _isotonic_knots(seen: _Evidence) -> tuple[FloatArray, FloatArray]:
    """Scores and log-likelihood ratios at both ends of each pool of scores."""
    distinct, index = np.unique(np.clip(seen.values, *seen.span), return_inverse=True)
    weight = np.bincount(index, seen.weight)
    share = np.bincount(index, seen.weight * seen.mine) / weight
    pooled = isotonic_regression(share, weights=weight).x
    # Within a pool values are equal, so what lies between its ends says nothing more.
    new = np.append(True, np.diff(pooled) > 0)
    ends = new | np.append(new[1:], True)
    with np.errstate(divide="ignore"):
        ratio = logit(pooled[ends]) - logit(seen.prior)
    return distinct[ends], ratio


def choose_threshold(scores: Numbers, labels: Numbers, *, beta: float = 1.0) -> float:
    """The threshold with the highest F-beta.

    Args:
        scores: (N,) in [0, 1], out-of-fold.
        labels: (N,) 1 mine, 0 none; both must occur.
        beta: How many times as much recall counts as precision: 1 gives F1, 0.5 spares those
            who look into alarms, 2 those who must not miss a mine.

    Returns:
        Midway between the lowest score that is still detected and the next below, so that
        rounding changes no detection; of equal F-beta, the highest threshold.

    Raises:
        ShapeMismatch: Lists of different length.
        DataError: A score outside [0, 1], one label only, or beta not positive.

    Source:
        van Rijsbergen 1979, Information Retrieval, chapter 7.
    """
    if not (0 < beta < np.inf):
        raise DataError(f"F-beta needs a positive beta, got {beta}; use 1, 0.5 or 2")
    steps = _steps(scores, labels)
    # (1 + b2) hits / (detected + b2 mines): what precision and recall come to without a 0 / 0.
    figure = (1 + beta**2) * steps.hits / (steps.detected + beta**2 * steps.mines)
    return steps.threshold(int(figure.argmax()))


def choose_precise_threshold(scores: Numbers, labels: Numbers, min_recall: float) -> float:
    """The threshold with the highest precision among those that find enough mines.

    Args:
        scores: (N,) in [0, 1], out-of-fold.
        labels: (N,) 1 mine, 0 none; both must occur.
        min_recall: Least share of the mines to be detected, in (0, 1].

    Returns:
        Midway, as of `choose_threshold`; of equal precision the one with the higher recall.

    Raises:
        ShapeMismatch: Lists of different length.
        DataError: A score outside [0, 1], one label only, or a recall outside (0, 1].
    """
    if not 0 < min_recall <= 1:
        raise DataError(f"a recall of {min_recall} cannot be asked for; use one in (0, 1]")
    steps = _steps(scores, labels)
    # In hits, so that 0.9 of 10 mines is 9 of them, whatever 9 / 10 rounds to.
    enough = steps.hits >= min_recall * steps.mines - 1e-9
    precision = np.where(enough, steps.hits / steps.detected, -1.0)
    return steps.threshold(precision.size - 1 - int(precision[::-1].argmax()))


def choose_threshold_for(aim: str, scores: Numbers, labels: Numbers) -> float:
    """The threshold for an aim stated in words.

    Args:
        aim: `f1`, `f0.5` or F of another beta; or `recall>=0.9`, the highest precision with at
            least that recall.
        scores: (N,) in [0, 1], out-of-fold.
        labels: (N,) 1 mine, 0 none; both must occur.

    Raises:
        ConfigError: The aim is none of these.
        ShapeMismatch: Lists of different length.
        DataError: What `choose_threshold` and `choose_precise_threshold` refuse.
    """
    wanted = parse_aim(aim)
    if isinstance(wanted, BestF):
        return choose_threshold(scores, labels, beta=wanted.beta)
    return choose_precise_threshold(scores, labels, wanted.min_recall)


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


@dataclass(frozen=True)
class _Steps:
    """What is detected as the threshold falls past each distinct score."""

    scores: FloatArray
    """Falling."""
    hits: FloatArray
    detected: FloatArray
    mines: int

    def threshold(self, step: int) -> float:
        """Midway between the last score that is detected and the next below."""
        below = self.scores[step + 1] if step + 1 < self.scores.size else 0.0
        return float((self.scores[step] + below) / 2)


def _steps(scores: Numbers, labels: Numbers) -> _Steps:
    values, mine = _checked(scores, labels)
    order = np.argsort(-values, kind="stable")
    ordered = values[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    hits = mine[order].cumsum()[ends].astype(np.float64)
    return _Steps(ordered[ends], hits, (ends + 1).astype(np.float64), int(mine.sum()))


def _fit_logistic(
    seen: _Evidence, features: FloatArray, bounds: tuple[tuple[float | None, None], ...]
) -> FloatArray:
    """Parameters of a logistic posterior, by weighted maximum likelihood."""
    target = np.where(seen.mine, (seen.mines + 1) / (seen.mines + 2), 1 / (seen.others + 2))

    def loss(parameters: FloatArray) -> tuple[float, FloatArray]:
        logits = features @ parameters
        total = seen.weight @ (np.logaddexp(0, logits) - target * logits)
        return float(total), features.T @ (seen.weight * (expit(logits) - target))

    # The scores as they are: slopes of 1 and no offset.
    start = [0.0 if low is None else 1.0 for low, _ in bounds]
    fit = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
    parameters: FloatArray = fit.x
    return parameters


def _beta_features(values: FloatArray) -> FloatArray:
    inside = np.clip(values, _EDGE, 1 - _EDGE)
    return np.stack((np.log(inside), -np.log1p(-inside), np.ones_like(inside)), axis=-1)


def _temperature_features(values: FloatArray) -> FloatArray:
    return np.asarray(logit(np.clip(values, _EDGE, 1 - _EDGE)))[:, np.newaxis]


_FORMS: dict[
    CalibrationMethod,
    tuple[Callable[[FloatArray], FloatArray], tuple[tuple[float | None, None], ...]],
] = {
    "beta": (_beta_features, ((0.0, None), (0.0, None), (None, None))),
    "temperature": (_temperature_features, ((0.0, None),)),
}


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
