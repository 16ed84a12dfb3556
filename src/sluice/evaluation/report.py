"""The figures of a model on a folder of chips, with intervals, as data and as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field

from sluice.base.arrays import FloatArray
from sluice.base.calibration import Calibration
from sluice.base.errors import DataError, NoValidData
from sluice.base.records import DISCLAIMER, Record
from sluice.evaluation import metrics
from sluice.evaluation.bootstrap import (
    RESAMPLES,
    Estimate,
    Statistic,
    bootstrap_estimates,
    zero_aware,
)

CLEAR_THRESHOLD = 0.75
"""Chips composed of looks at least this clear; hazier ones hold no mine, so haze gives the
label away and figures with them flatter."""

NOT_NAMED = "not named"
"""A source that the data set does not name."""

_COLUMNS = ("label", "kind", "source", "group", "clear_threshold", "score")


class FalseAlarms(Record):
    """Places of one kind without a mine, and how many of them were detected."""

    kind: str
    chips: int
    alarms: int
    rate: Estimate
    """Share detected."""


class SourceFigures(Record):
    """Mines of one source, and how many of them were detected."""

    source: str
    chips: int
    """With and without a mine."""
    mines: int
    found: int
    recall: Estimate
    average_precision: Estimate | None
    """None where the source has mines only."""


class ChipFigures(Record):
    """Figures on one set of chips."""

    chips: int
    """Scored ones; the figures are of these."""
    mines: int
    blocks: int
    """Groups of chips that share ground or pixels, the unit of the bootstrap."""
    not_observed: int
    """Chips without a score, left out."""
    average_precision: Estimate
    roc_auc: Estimate
    f1: Estimate
    precision: Estimate
    recall: Estimate
    false_alarm_rate: Estimate
    brier: Estimate | None
    """Of the probability; None without a calibration."""
    calibration_error: Estimate | None
    """Expected calibration error of the probability; None without a calibration."""
    false_alarms: tuple[FalseAlarms, ...]
    """By kind of place, the highest rate first."""
    sources: tuple[SourceFigures, ...] = ()
    """Sources with mines, the lowest recall first."""


class ChipReport(Record):
    """What `sluice evaluate chips` found."""

    model: str
    data: str
    """Which chips, in words: folder, split, folds."""
    threshold: float
    """A chip is detected where its score is at or above it."""
    probability_prior: float | None
    """Prior with which scores became probabilities; None without a calibration."""
    resamples: int
    seed: int
    overall: ChipFigures
    clear: ChipFigures | None
    """On `clear_threshold` 0.75 alone; None where no chip is marked so."""
    warning: str | None = None
    """That the model has learnt from these chips, where that is known."""
    disclaimer: str = Field(default=DISCLAIMER)

    def to_json(self) -> str:
        """Indented JSON."""
        return self.model_dump_json(indent=2)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read `to_json`'s output back."""
        return cls.model_validate_json(text)


def evaluate_scores(
    table: pd.DataFrame,
    threshold: float,
    calibration: Calibration | None,
    *,
    model: str,
    data: str,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> ChipReport:
    """Evaluate scores against labels.

    Probabilities are posteriors with the calibration's training prior, the only one that the
    model's maker could know. Where mines are commoner or rarer among these chips, Brier score
    and calibration error say so: they are not flattered by the share of mines found here.

    Args:
        table: A row for each chip with `label`, `kind`, `source`, `group`, `clear_threshold`
            (as `labels.read_chip_table` gives them) and `score` (NaN = not observed).
        threshold: The model's, never one chosen on these chips.
        calibration: The model's, None if it has none.
        model: Its name.
        data: Which chips, in words.
        resamples: Of the block bootstrap.
        seed: Of the resamples.

    Raises:
        DataError: A column is missing.
        NoValidData: No chip has a score.
    """
    missing = [column for column in _COLUMNS if column not in table]
    if missing:
        raise DataError(f"the scored chips lack the column {', '.join(missing)}; add it")
    figures = partial(
        _figures, threshold=threshold, calibration=calibration, resamples=resamples, seed=seed
    )
    clear = table[table["clear_threshold"] == CLEAR_THRESHOLD]
    return ChipReport(
        model=model,
        data=data,
        threshold=threshold,
        probability_prior=None if calibration is None else calibration.training_prior,
        resamples=resamples,
        seed=seed,
        overall=figures(table),
        clear=figures(clear) if clear["score"].notna().any() else None,
    )


@dataclass(frozen=True)
class _Scored:
    """Chips with a score, (N,) each."""

    labels: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]
    groups: npt.NDArray[Any]
    detected: npt.NDArray[np.bool_]
    kinds: dict[str, npt.NDArray[np.bool_]]
    """Those without a mine, by kind."""
    sources: dict[str, npt.NDArray[np.bool_]]
    """All of a source, by sources that have mines."""


_OfShare = Callable[[str, npt.NDArray[np.bool_]], Estimate]
"""The estimate of a statistic that is a share, by its name and the chips counted over."""


def _figures(
    table: pd.DataFrame,
    threshold: float,
    calibration: Calibration | None,
    resamples: int,
    seed: int,
) -> ChipFigures:
    chips = _scored(table, threshold)
    labels, groups = chips.labels, chips.groups
    statistics = _statistics(chips, threshold, calibration)
    found = bootstrap_estimates(statistics, groups, resamples=resamples, seed=seed)

    def of_share(name: str, counted_over: npt.NDArray[np.bool_]) -> Estimate:
        return zero_aware(found[name], np.unique(groups[counted_over]).size)

    return ChipFigures(
        chips=len(labels),
        mines=int(labels.sum()),
        blocks=np.unique(groups).size,
        not_observed=len(table) - len(labels),
        average_precision=found["average_precision"],
        roc_auc=found["roc_auc"],
        f1=found["f1"],
        precision=of_share("precision", chips.detected),
        recall=of_share("recall", labels == 1),
        false_alarm_rate=of_share("false_alarm_rate", labels == 0),
        brier=found.get("brier"),
        calibration_error=found.get("calibration_error"),
        false_alarms=_false_alarms(chips, of_share),
        sources=_source_figures(chips, found, of_share),
    )


def _scored(table: pd.DataFrame, threshold: float) -> _Scored:
    scored = table[table["score"].notna()]
    if scored.empty:
        raise NoValidData(
            f"none of {len(table)} chips has a score: all hold too little data for this model"
        )
    labels = scored["label"].to_numpy()
    scores = scored["score"].to_numpy(dtype=np.float32)
    kinds, sources = scored["kind"].to_numpy(), scored["source"].to_numpy()
    return _Scored(
        labels,
        scores,
        groups=scored["group"].to_numpy(),
        detected=scores >= threshold,
        kinds={kind: (kinds == kind) & (labels == 0) for kind in sorted(set(kinds[labels == 0]))},
        sources={
            source: sources == source for source in sorted(set(sources[labels == 1].tolist()))
        },
    )


def _statistics(
    chips: _Scored, threshold: float, calibration: Calibration | None
) -> dict[str, Statistic]:
    labels, scores = chips.labels, chips.scores
    statistics: dict[str, Statistic] = {
        "average_precision": partial(metrics.average_precision, labels, scores),
        "roc_auc": partial(metrics.roc_auc, labels, scores),
        "f1": partial(metrics.f1, labels, scores, threshold),
        "precision": partial(metrics.precision, labels, scores, threshold),
        "recall": partial(metrics.recall, labels, scores, threshold),
        "false_alarm_rate": partial(metrics.false_alarm_rate, labels, scores, threshold),
    }
    if calibration is not None:
        probability = calibration.probability(scores, calibration.training_prior)
        statistics["brier"] = partial(metrics.brier_score, labels, probability)
        statistics["calibration_error"] = partial(metrics.calibration_error, labels, probability)
    for kind, member in chips.kinds.items():
        statistics[_key(kind)] = partial(metrics.share, chips.detected, member)
    for source, member in chips.sources.items():
        statistics |= _of_source(source, member, labels, scores, chips.detected)
    return statistics


def _false_alarms(chips: _Scored, of_share: _OfShare) -> tuple[FalseAlarms, ...]:
    rows = [
        FalseAlarms(
            kind=kind or NOT_NAMED,
            chips=int(member.sum()),
            alarms=int((chips.detected & member).sum()),
            rate=of_share(_key(kind), member),
        )
        for kind, member in chips.kinds.items()
    ]
    return tuple(sorted(rows, key=lambda row: -row.alarms / row.chips))


def _source_figures(
    chips: _Scored, found: Mapping[str, Estimate], of_share: _OfShare
) -> tuple[SourceFigures, ...]:
    rows = []
    for source, member in chips.sources.items():
        mines = member & (chips.labels == 1)
        row = SourceFigures(
            source=source or NOT_NAMED,
            chips=int(member.sum()),
            mines=int(mines.sum()),
            found=int((chips.detected & mines).sum()),
            recall=of_share(f"recall of {source}", mines),
            average_precision=found.get(f"average precision of {source}"),
        )
        rows.append(row)
    return tuple(sorted(rows, key=lambda row: row.found / row.mines))


def _of_source(
    source: str,
    member: npt.NDArray[np.bool_],
    labels: npt.NDArray[np.int64],
    scores: npt.NDArray[np.float32],
    detected: npt.NDArray[np.bool_],
) -> dict[str, Statistic]:
    """Recall of one source, and average precision where it has both labels."""
    found: dict[str, Statistic] = {
        f"recall of {source}": partial(metrics.share, detected, member & (labels == 1))
    }
    if (labels[member] == 0).any():

        def precision(weights: FloatArray) -> FloatArray:
            return metrics.average_precision(labels[member], scores[member], weights[..., member])

        found[f"average precision of {source}"] = precision
    return found


def _key(kind: str) -> str:
    return f"kind: {kind}"


IN_FOLDS = (
    "Threshold and calibration were chosen on the out-of-fold scores that these figures are of, "
    "and flatter them a little. Judge on chips that were kept apart."
)
"""For cards of models that were judged in cross-validation."""
ON_KEPT = (
    "Threshold and calibration were chosen on the model's own scores of a split kept for that. "
    "The figures are of out-of-fold scores, of models fitted to fewer places than this one: at its "
    "threshold F1, precision and recall are theirs, and may be better or worse than its own. Judge "
    "it on chips that were kept apart."
)
"""Likewise, with a split for calibration."""


def render_report(report: ChipReport) -> str:
    """The report as plain text, for a terminal or a fenced block of a model card."""
    lines = [
        f"{report.model} on {report.data}",
        _counts("all chips", report.overall),
    ]
    if report.clear is not None:
        lines.append(_counts(f"clear_threshold {CLEAR_THRESHOLD} alone", report.clear))
    heads = ["all chips", *([f"clear {CLEAR_THRESHOLD}"] if report.clear else [])]
    sets = [report.overall, *([report.clear] if report.clear else [])]
    at = f"at {report.threshold:.3f}"
    rows: list[tuple[str, list[Estimate | None]]] = [
        ("average precision", [s.average_precision for s in sets]),
        ("ROC AUC", [s.roc_auc for s in sets]),
        (f"F1 {at}", [s.f1 for s in sets]),
        (f"precision {at}", [s.precision for s in sets]),
        (f"recall {at}", [s.recall for s in sets]),
        (f"false alarms {at}", [s.false_alarm_rate for s in sets]),
        ("calibration error", [s.calibration_error for s in sets]),
        ("Brier score", [s.brier for s in sets]),
    ]
    lines += [
        "",
        *_table("", heads, [(name, [_text(estimate) for estimate in row]) for name, row in rows]),
    ]
    by_kind = [{row.kind: row for row in s.false_alarms} for s in sets]
    kind_rows = [
        (kind, [_kind_text(rows_of.get(kind)) for rows_of in by_kind]) for kind in by_kind[0]
    ]
    if kind_rows:
        lines += ["", *_table(f"false alarms by kind, {at}", heads, kind_rows)]
    lines += _by_source(sets, heads, at)
    lines += ["", *_notes(report), report.disclaimer]
    return "\n".join(lines)


def _by_source(sets: Sequence[ChipFigures], heads: list[str], at: str) -> list[str]:
    """Lines on sources of mines; none where there is nothing to tell apart."""
    named = [row.source for row in sets[0].sources]
    if named in ([], [NOT_NAMED]):
        return []
    of = [{row.source: row for row in figures.sources} for figures in sets]
    lines = ["", *_table(f"mines found by source, {at}", heads, _rows(named, of, _source_text))]
    both = [name for name in named if of[0][name].average_precision is not None]
    if both:
        rows = _rows(both, of, lambda row: _text(None if row is None else row.average_precision))
        lines += ["", *_table("average precision by source", heads, rows)]
    return lines


def _rows(
    names: Sequence[str],
    of: Sequence[Mapping[str, SourceFigures]],
    text: Callable[[SourceFigures | None], str],
) -> list[tuple[str, list[str]]]:
    return [(name, [text(rows.get(name)) for rows in of]) for name in names]


def _notes(report: ChipReport) -> list[str]:
    notes = [
        f"[ ] 95 % intervals: {report.resamples} bootstrap resamples of blocks of chips that share "
        f"ground or pixels (seed {report.seed}); exact binomial where a share is 0 or 1."
    ]
    if report.probability_prior is None:
        notes.append("No calibration error or Brier score: the model has no calibration.")
    else:
        notes.append(
            "Calibration error and Brier score are of the probability with the prior of the "
            f"calibration, {report.probability_prior:.3f}; chance alone makes the first positive."
        )
    return notes


def _counts(name: str, figures: ChipFigures) -> str:
    unseen = f", {figures.not_observed} not observed" if figures.not_observed else ""
    return f"{name}: {figures.chips} chips, {figures.mines} mines, {figures.blocks} blocks{unseen}"


def _table(title: str, heads: list[str], rows: list[tuple[str, list[str]]]) -> list[str]:
    first = max(len(title), *(len(name) for name, _ in rows))
    width = max(map(len, (*heads, *(cell for _, cells in rows for cell in cells))))
    return [
        "  ".join((name.ljust(first), *(cell.ljust(width) for cell in cells))).rstrip()
        for name, cells in [(title, heads), *rows]
    ]


def _text(estimate: Estimate | None) -> str:
    if estimate is None or estimate.value is None:
        return "-"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f} [no interval]"
    return f"{estimate.value:.3f} [{estimate.low:.3f}-{estimate.high:.3f}]"


def _kind_text(row: FalseAlarms | None) -> str:
    return "-" if row is None else f"{_text(row.rate)}  {row.alarms}/{row.chips}"


def _source_text(row: SourceFigures | None) -> str:
    return "-" if row is None else f"{_text(row.recall)}  {row.found}/{row.mines}"
