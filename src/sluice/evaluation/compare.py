"""Models against each other on the same chips, difference by difference.

Two intervals that overlap say little of which model is better: both widen with chips that are
hard for either. The difference on the same resamples leaves that out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field

from sluice.base.arrays import FloatArray
from sluice.base.calibration import Calibration
from sluice.base.errors import ConfigError, DataError, NoValidData
from sluice.base.records import DISCLAIMER, Record
from sluice.evaluation import metrics
from sluice.evaluation.bootstrap import RESAMPLES, Estimate, Statistic, bootstrap_estimates

FIGURES = {
    "average_precision": "average precision",
    "roc_auc": "ROC AUC",
    "f1": "F1 at its threshold",
    "brier": "Brier score",
}
"""Names of the figures that are compared; of the Brier score less is better."""


@dataclass(frozen=True)
class ScoredModel:
    """A model and its verdict on each chip."""

    name: str
    scores: npt.NDArray[np.float32]
    """(N,) in the order of the chips, NaN = not observed."""
    threshold: float
    """Its own, never one chosen on these chips."""
    calibration: Calibration | None


class ComparedFigures(Record):
    """Figures of one model, or differences of two."""

    average_precision: Estimate
    roc_auc: Estimate
    f1: Estimate
    brier: Estimate | None
    """None where a model has no calibration."""


class ComparedModel(Record):
    """One model of several."""

    name: str
    threshold: float
    figures: ComparedFigures
    less_reference: ComparedFigures | None
    """Its figures less those of the first model; None for the first itself."""


class Comparison(Record):
    """Several models on the chips that all of them scored."""

    data: str
    """Which chips, in words."""
    chips: int
    mines: int
    blocks: int
    left_out: int
    """Chips that at least one model did not score."""
    models: tuple[ComparedModel, ...]
    """The first is the one that the others are compared with."""
    resamples: int
    seed: int
    disclaimer: str = Field(default=DISCLAIMER)


def compare_models(
    table: pd.DataFrame,
    models: Sequence[ScoredModel],
    *,
    data: str,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare models with the first of them, on the same chips and the same resamples.

    The Brier score is of the probability with the prior of each model's own calibration, as in
    `evaluate_scores`.

    Args:
        table: A row for each chip with `label` and `group`, the block that it belongs to.
        models: At least two, of different names.
        data: Which chips, in words.
        resamples: Of the block bootstrap.
        seed: Of the resamples.

    Raises:
        ConfigError: Fewer than two models, or two of one name.
        DataError: A column is missing, or scores do not fit the chips.
        NoValidData: No chip was scored by all.

    Source:
        Efron & Tibshirani 1993, An Introduction to the Bootstrap, section 8.3 (paired data).
    """
    _check(table, models)
    seen = np.logical_and.reduce([~np.isnan(model.scores) for model in models])
    if not seen.any():
        raise NoValidData(f"none of {len(table)} chips was scored by all {len(models)} models")
    labels, groups = (table[column].to_numpy()[seen] for column in ("label", "group"))
    statistics = _statistics(labels, models, seen)
    found = bootstrap_estimates(statistics, groups, resamples=resamples, seed=seed)
    return Comparison(
        data=data,
        chips=int(seen.sum()),
        mines=int(labels.sum()),
        blocks=np.unique(groups).size,
        left_out=int((~seen).sum()),
        models=tuple(
            ComparedModel(
                name=model.name,
                threshold=model.threshold,
                figures=_gather(found, place, "own"),
                less_reference=_gather(found, place, "less") if place else None,
            )
            for place, model in enumerate(models)
        ),
        resamples=resamples,
        seed=seed,
    )


class _Once:
    """A statistic that two others need, worked out once for each set of weights."""

    def __init__(self, statistic: Callable[[FloatArray], FloatArray]) -> None:
        self._statistic = statistic
        self._weights: FloatArray | None = None
        self._figure: FloatArray = np.empty(0)

    def __call__(self, weights: FloatArray) -> FloatArray:
        if weights is not self._weights:
            self._weights, self._figure = weights, self._statistic(weights)
        return self._figure


def _difference(figure: Statistic, reference: Statistic, weights: FloatArray) -> FloatArray:
    return figure(weights) - reference(weights)


def _figures(
    labels: npt.NDArray[np.int64], model: ScoredModel, seen: npt.NDArray[np.bool_]
) -> dict[str, Statistic]:
    scores = np.asarray(model.scores, np.float32)[seen]
    figures: dict[str, Statistic] = {
        "average_precision": partial(metrics.average_precision, labels, scores),
        "roc_auc": partial(metrics.roc_auc, labels, scores),
        "f1": partial(metrics.f1, labels, scores, model.threshold),
    }
    if model.calibration is not None:
        prior = model.calibration.training_prior
        probability = model.calibration.probability(scores, prior)
        figures["brier"] = partial(metrics.brier_score, labels, probability)
    return figures


def _statistics(
    labels: npt.NDArray[np.int64], models: Sequence[ScoredModel], seen: npt.NDArray[np.bool_]
) -> dict[str, Statistic]:
    """Figures of each model and differences from the first, by place, `own` or `less`, and name."""
    statistics: dict[str, Statistic] = {}
    reference: dict[str, Statistic] = {}
    for place, model in enumerate(models):
        own = {name: _Once(figure) for name, figure in _figures(labels, model, seen).items()}
        statistics |= {f"{place} own {name}": figure for name, figure in own.items()}
        if place == 0:
            reference = dict(own)
            continue
        statistics |= {
            f"{place} less {name}": partial(_difference, figure, reference[name])
            for name, figure in own.items()
            if name in reference
        }
    return statistics


def _gather(
    found: Mapping[str, Estimate], place: int, kind: Literal["own", "less"]
) -> ComparedFigures:
    return ComparedFigures(
        average_precision=found[f"{place} {kind} average_precision"],
        roc_auc=found[f"{place} {kind} roc_auc"],
        f1=found[f"{place} {kind} f1"],
        brier=found.get(f"{place} {kind} brier"),
    )


def _check(table: pd.DataFrame, models: Sequence[ScoredModel]) -> None:
    missing = [column for column in ("label", "group") if column not in table]
    if missing:
        raise DataError(f"the scored chips lack the column {', '.join(missing)}; add it")
    if len(models) < 2:
        raise ConfigError(f"{len(models)} model leaves nothing to compare; name two or more")
    names = [model.name for model in models]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"model {twice[0]} is named twice; name different ones")
    for model in models:
        if model.scores.shape != (len(table),):
            raise DataError(
                f"model {model.name} gives scores of shape {model.scores.shape} for "
                f"{len(table)} chips; score each chip once"
            )


def render_comparison(comparison: Comparison) -> str:
    """The comparison as plain text, for a terminal or a fenced block of a model card."""
    first, *others = comparison.models
    left_out = f", {comparison.left_out} not scored by all left out" if comparison.left_out else ""
    lines = [
        f"{len(comparison.models)} models on {comparison.data}",
        f"{comparison.chips} chips, {comparison.mines} mines, {comparison.blocks} blocks{left_out}",
    ]
    for title, column in (("", False), (f"less {first.name}", True)):
        chosen = others if column else comparison.models
        heads = [title, *FIGURES.values()]
        rows = [[_name(model), *_cells(model, less=column)] for model in chosen]
        lines += ["", *_aligned([heads, *rows])]
    lines += [
        "",
        f"[ ] 95 % intervals: {comparison.resamples} bootstrap resamples of blocks of chips that "
        f"share ground or pixels (seed {comparison.seed}), the same for all models. A difference "
        "whose interval holds 0 may be chance; of the Brier score less is better.",
        comparison.disclaimer,
    ]
    return "\n".join(lines)


def _name(model: ComparedModel) -> str:
    return f"{model.name} at {model.threshold:.3f}"


def _cells(model: ComparedModel, *, less: bool) -> list[str]:
    figures = model.less_reference if less else model.figures
    return [estimate_text(getattr(figures, name), signed=less) for name in FIGURES]


def estimate_text(estimate: Estimate | None, *, signed: bool = False) -> str:
    """`0.873 [0.851-0.894]`; of a difference `+0.021 [-0.003 to +0.044]`."""
    if estimate is None or estimate.value is None:
        return "-"
    form = "+.3f" if signed else ".3f"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:{form}} [no interval]"
    between = " to " if signed else "-"
    return f"{estimate.value:{form}} [{estimate.low:{form}}{between}{estimate.high:{form}}]"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
