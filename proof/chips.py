"""The figures on labelled chips: the held-out region, the pool's folds, the model of 2021."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from proof.folds import join_out_of_fold, nested_figures, score_again
from proof.markdown import spell, to_table
from proof.setup import Setup
from sluice.app.judging import evaluate_chips
from sluice.base.calibration import Calibration
from sluice.evaluation.bootstrap import Estimate
from sluice.evaluation.calibration import choose_threshold
from sluice.evaluation.report import (
    CLEAR_THRESHOLD,
    ChipFigures,
    ChipReport,
    evaluate_scores,
)
from sluice.labels.chips import read_chip_table
from sluice.labels.splits import POOL

TEST_SPLIT = "test_caroni"
PUBLISHED_SCORES = "keras_44px_v2.6_rgb_scores.csv"
PUBLISHED_THRESHOLD = 0.8
"""At which the RGB model of 2021 was published."""
_FLOOR = "redness-rule"
UNSEEN_SINCE = pd.Timestamp(2022, 1, 1)
"""Chips of composites from then on did not exist when the model of 2021 was trained."""

_FIGURES = {
    "average_precision": "average precision",
    "roc_auc": "ROC AUC",
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
    "false_alarm_rate": "false-alarm rate",
    "calibration_error": "calibration error",
    "brier": "Brier score",
}

Column = tuple[str, ChipFigures | Mapping[str, Estimate]]


@dataclass(frozen=True)
class _Floor:
    """The rule that every learned model must beat, with the threshold that is its best one."""

    pool: pd.DataFrame
    """Chips with a column `score`."""
    test: pd.DataFrame

    def column(self, scored: pd.DataFrame) -> Column:
        """Its figures on some chips, at the threshold with the best F1 of the pool."""
        seen = self.pool[self.pool["score"].notna()]
        best = choose_threshold(seen["score"].to_numpy(), seen["label"].to_numpy())
        figures = _judge(scored, best, None).overall
        return f"`{_FLOOR}` at {best:.3f}, its best F1 of the pool", figures


def prove_chips(setup: Setup) -> str:
    """Measure, and write the tables."""
    package = setup.package
    chips = read_chip_table(setup.chips)
    published = pd.read_csv(setup.chips / PUBLISHED_SCORES).set_index(["grid", "cell"])["score"]
    test_report, test = evaluate_chips(setup.chips, setup.model, TEST_SPLIT)
    joined = join_out_of_fold(setup, chips)
    threshold, calibration = package.manifest.thresholds.t_main, package.manifest.calibration
    again = score_again(setup, joined)
    floor = _Floor(
        evaluate_chips(setup.chips, _FLOOR, POOL)[1],
        evaluate_chips(setup.chips, _FLOOR, TEST_SPLIT)[1],
    )
    worst = (again - joined["score"]).abs().max()
    seen = joined[again.notna()]
    pool_report = _judge(seen, threshold, calibration)
    return "\n\n".join(
        [
            f"Model `{package.name}` ({package.sha256[:12]}), threshold {threshold:.3f}. "
            f"The {joined['fold'].nunique()} folds of the pool were scored again with the networks "
            "that had not seen them: the largest difference to `out_of_fold.csv` is "
            f"{worst:.1e}. {len(joined) - len(seen)} chips of the pool, "
            f"{int(joined['label'].sum() - seen['label'].sum())} of them mines, hold too little "
            "data for a scan to score them, and are left out.",
            f"(a) On `{TEST_SPLIT}`:",
            _test_table(test_report, test, published, floor),
            "(b) In cross-validation of the pool:",
            _pool_table(pool_report, seen, floor),
            f"Both models on the chips of the pool composed of images since "
            f"{UNSEEN_SINCE:%Y}, which the published one cannot have seen:",
            _later_table(seen, threshold, calibration, published),
            "False alarms by kind of place, with the chips they were counted over:",
            _kinds_table(test_report, pool_report),
        ]
    )


def _test_table(report: ChipReport, test: pd.DataFrame, published: pd.Series, floor: _Floor) -> str:
    theirs = _with_scores(test, published)
    best = choose_threshold(theirs["score"].to_numpy(), theirs["label"].to_numpy())
    at_own, at_best = (_judge(theirs, at, None) for at in (PUBLISHED_THRESHOLD, best))
    return _figures_table(
        [
            *_both(report, "this model"),
            *_both(at_own, f"RGB of 2021 at {PUBLISHED_THRESHOLD}"),
            (f"RGB of 2021 at {best:.3f}, its best F1, chosen here", at_best.overall),
            floor.column(floor.test),
        ]
    )


def _pool_table(report: ChipReport, seen: pd.DataFrame, floor: _Floor) -> str:
    columns = [*_both(report, "threshold of the manifest")]
    columns.append(("nested", nested_figures(seen)))
    if report.clear is not None:
        clear = seen[seen["clear_threshold"] == CLEAR_THRESHOLD]
        columns.append((f"nested, clear {CLEAR_THRESHOLD} alone", nested_figures(clear)))
    columns.append(floor.column(floor.pool))
    return _figures_table(columns)


def _later_table(
    seen: pd.DataFrame,
    threshold: float,
    calibration: Calibration | None,
    published: pd.Series,
) -> str:
    later = seen[seen["start"] >= UNSEEN_SINCE]
    ours = _judge(later, threshold, calibration)
    theirs = _judge(_with_scores(later, published), PUBLISHED_THRESHOLD, None)
    return _figures_table(
        [
            *_both(ours, "this model, out of fold"),
            *_both(theirs, f"RGB of 2021 at {PUBLISHED_THRESHOLD}"),
        ]
    )


def _with_scores(table: pd.DataFrame, scores: pd.Series) -> pd.DataFrame:
    return table.drop(columns="score").join(scores, on=["grid", "cell"])


def _judge(table: pd.DataFrame, threshold: float, calibration: Calibration | None) -> ChipReport:
    return evaluate_scores(table, threshold, calibration, model="", data="")


def _both(report: ChipReport, name: str) -> list[Column]:
    columns: list[Column] = [(name, report.overall)]
    if report.clear is not None and report.clear.chips < report.overall.chips:
        columns.append((f"{name}, clear {CLEAR_THRESHOLD} alone", report.clear))
    return columns


def _figures_table(columns: list[Column]) -> str:
    counts = {
        "chips, mines": [
            f"{figures.chips:,}, {figures.mines:,}" if isinstance(figures, ChipFigures) else "same"
            for _, figures in columns
        ]
    }
    rows = [[name, *cells] for name, cells in counts.items()]
    for key, name in _FIGURES.items():
        rows.append([name, *(spell(_figure(figures, key)) for _, figures in columns)])
    return to_table(["", *(name for name, _ in columns)], rows)


def _figure(figures: ChipFigures | Mapping[str, Estimate], key: str) -> Estimate | None:
    if isinstance(figures, ChipFigures):
        found: Estimate | None = getattr(figures, key)
        return found
    return figures.get(key)


def _kinds_table(test: ChipReport, pool_report: ChipReport) -> str:
    sets = {"`test_caroni`": test.overall, "pool": pool_report.overall}
    if pool_report.clear is not None:
        sets[f"pool, clear {CLEAR_THRESHOLD} alone"] = pool_report.clear
    by_kind = {name: {row.kind: row for row in s.false_alarms} for name, s in sets.items()}
    kinds = {kind: None for rows in by_kind.values() for kind in rows}
    rows = []
    for kind in sorted(kinds, key=lambda k: -_rate(by_kind["pool"].get(k))):
        found = [rows_of.get(kind) for rows_of in by_kind.values()]
        rows.append(
            [kind, *("-" if f is None else f"{spell(f.rate)} of {f.chips:,}" for f in found)]
        )
    return to_table(["kind, or set where its name tells none", *sets], rows)


def _rate(row: object) -> float:
    rate = getattr(row, "rate", None)
    return -1.0 if rate is None or rate.value is None else float(rate.value)
