"""A calibration fitted on the test set, and a random split: what they report, and what holds."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression

from proof.markdown import to_table
from proof.setup import Setup
from sluice.base.arrays import FloatArray, IntArray
from sluice.evaluation import metrics
from sluice.evaluation.bootstrap import Estimate
from sluice.evaluation.calibration import fit_calibration
from sluice.evaluation.compare import estimate_text
from sluice.labels.chips import chip_reflectance, load_chips, read_chip_table
from sluice.labels.splits import trainable
from sluice.training.random_features import draw_random_filters, featurise_all, fit_scaling
from sluice.training.regressors import fit_model, scale_decisions

_LABELS = (500, 3000)
_DRAWS, _PATCHES, _SEED = 20, 128, 0
_HELD_OUT = 0.4
"""Share of the places that nothing but the truth is told on."""
_SHARES = (0.6, 0.2, 0.2)
"""To fit, calibrate and test."""
_BLOCK_DEG = 0.25
_SURE = 1e-6
"""As far as log loss follows a probability to 0 or 1."""

Probability = Callable[[FloatArray], FloatArray]
"""From decision values."""
Figures = dict[str, float]


@dataclass(frozen=True)
class Chips:
    """Labelled chips as features."""

    features: npt.NDArray[np.float32]
    labels: IntArray
    places: IntArray
    """Number of the place that each lies in."""


def prove_calibration_ways(setup: Setup) -> str:
    """AUC, calibration error, Brier score and log loss, reported and on places never seen."""
    chips = _load(setup)
    found: dict[tuple[int, str, str], list[tuple[Figures, Figures]]] = {}
    for draw in range(_DRAWS):
        rng = np.random.default_rng([_SEED, draw])
        held, rest = deal(chips.places, (_HELD_OUT, 1 - _HELD_OUT), rng)
        for n in _LABELS:
            drawn = rng.choice(rest, n, replace=False)
            ways = {"at random": np.arange(len(chips.labels)), "by place": chips.places}
            for split, units in ways.items():
                sides = [drawn[part] for part in deal(units[drawn], _SHARES, rng)]
                for way, figures in _judge(chips, sides, units, held).items():
                    found.setdefault((n, split, way), []).append(figures)
    names = list(next(iter(found.values()))[0][0])
    heads = ["labels", "split", "calibrated on"]
    heads += [f"{name}{what}" for name in names for what in (", true", ": reported less true")]
    rows = []
    for (n, split, way), pairs in found.items():
        reported, true = (pd.DataFrame([pair[k] for pair in pairs]) for k in (0, 1))
        cells = []
        for name in names:
            cells.append(estimate_text(_over_draws(true[name])))
            cells.append(estimate_text(_over_draws(reported[name] - true[name]), signed=True))
        rows.append([f"{n:,}", split, way, *cells])
    return to_table(heads, rows) + (
        f"\n\n{len(chips.labels):,} chips of the pool ({chips.labels.mean():.1%} mines) in "
        f"{np.unique(chips.places).size:,} places: quarter degrees where the place is known, else "
        f"groups. Each draw keeps {_HELD_OUT:.0%} of the places for the truth and takes its labels "
        f"from the others, {_SHARES[0]:.0%} to fit, {_SHARES[1]:.0%} to calibrate, "
        f"{_SHARES[2]:.0%} to test and report; {_PATCHES} random patches, ridge, its penalty by "
        "AUC in five folds. Calibrated on the test labels: isotonic regression, as published; on "
        "labels of their own: as `sluice train feature-table` does. Log loss holds probabilities "
        f"of 0 and 1 at {_SURE:g}. Calibration error of few labels is high by chance alone, so a "
        f"report may also be too dark. Means of {_DRAWS} draws, [ ] 95 % of the draws."
    )


def deal(units: IntArray, shares: tuple[float, ...], rng: np.random.Generator) -> list[IntArray]:
    """Deal chips out by place.

    Args:
        units: (N,) place of each chip; a place is never divided.
        shares: Of the places; sum 1.
        rng: Of the draw.

    Returns:
        Positions of each share, in order.
    """
    places = rng.permutation(np.unique(units))
    ends = np.round(np.cumsum((0.0, *shares)) * len(places)).astype(int)
    return [
        np.flatnonzero(np.isin(units, places[first:last]))
        for first, last in itertools.pairwise(ends)
    ]


def _judge(
    chips: Chips, sides: list[IntArray], units: IntArray, held: IntArray
) -> Mapping[str, tuple[Figures, Figures]]:
    """Reported and true figures of one model, by how it is calibrated."""
    fit, own, test = sides
    model = fit_model("ridge", chips.features[fit], chips.labels[fit], units[fit], seed=_SEED)
    decided = {k: model.decide(chips.features[side]) for k, side in enumerate((own, test, held))}
    ways = {
        "the test labels": isotonic(decided[1], chips.labels[test]),
        "labels of their own": _as_trained(decided[0], chips.labels[own]),
    }
    return {
        name: (
            figures_of(chips.labels[test], decided[1], probability(decided[1])),
            figures_of(chips.labels[held], decided[2], probability(decided[2])),
        )
        for name, probability in ways.items()
    }


def isotonic(decisions: FloatArray, labels: IntArray) -> Probability:
    """Plain isotonic regression, constant beyond what was seen."""
    fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(decisions, labels)
    return lambda values: np.asarray(fitted.predict(values), np.float64)


def _as_trained(decisions: FloatArray, labels: IntArray) -> Probability:
    """What training of feature tables does with labels kept for calibration."""
    slope, offset = scale_decisions(decisions, labels)
    scores = expit(slope * decisions + offset)
    calibration = fit_calibration(scores, labels, f"{labels.size} chips")
    prior = calibration.training_prior
    return lambda values: np.asarray(
        calibration.probability(expit(slope * values + offset), prior), np.float64
    )


def figures_of(labels: IntArray, decisions: FloatArray, probabilities: FloatArray) -> Figures:
    """AUC of decision values; calibration error, Brier score and log loss of probabilities."""
    inside = np.clip(probabilities, _SURE, 1 - _SURE)
    loss = -np.where(labels == 1, np.log(inside), np.log1p(-inside)).mean()
    return {
        "AUC": float(metrics.roc_auc(labels, decisions)),
        "calibration error": float(metrics.calibration_error(labels, probabilities)),
        "Brier": float(metrics.brier_score(labels, probabilities)),
        "log loss": float(loss),
    }


def _over_draws(values: pd.Series) -> Estimate:
    low, high = values.quantile([0.025, 0.975])
    return Estimate(value=float(values.mean()), low=float(low), high=float(high))


def _load(setup: Setup) -> Chips:
    table = trainable(read_chip_table(setup.chips)).reset_index(drop=True)
    reflectance = chip_reflectance(load_chips(setup.chips, table)).transpose(0, 3, 1, 2)
    every = np.arange(len(table))
    # Random patches know no image; the scaling sees all, and no label.
    scaling = fit_scaling(reflectance.__getitem__, every)
    filters = draw_random_filters(_PATCHES, reflectance.shape[1], seed=_SEED)
    features = featurise_all(reflectance.__getitem__, every, scaling, filters)
    return Chips(features, table["label"].to_numpy(), number_places(table))


def number_places(table: pd.DataFrame) -> IntArray:
    """Quarter degrees where a group's place is known, else the group itself.

    Args:
        table: With `group`, `lon` and `lat`.

    Returns:
        (N,) numbers from 0. A group has one place, that of its first chip that has any.
    """
    first = table.groupby("group")[["lon", "lat"]].transform("first")
    cells = np.floor(first / _BLOCK_DEG)
    located = "cell " + cells["lon"].astype(str) + " " + cells["lat"].astype(str)
    names = located.where(first["lon"].notna(), "group " + table["group"].astype(str))
    return np.asarray(pd.factorize(names)[0], np.int64)
