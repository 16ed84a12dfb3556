"""The default model against those shipped before it, and against the published one."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from proof.chips import PUBLISHED_SCORES, TEST_SPLIT, UNSEEN_SINCE
from proof.folds import join_out_of_fold
from proof.markdown import to_table
from proof.setup import Setup
from sluice.app.judging import evaluate_chips
from sluice.base.arrays import FloatArray, IntArray
from sluice.evaluation import metrics
from sluice.evaluation.bootstrap import bootstrap_estimates
from sluice.evaluation.compare import estimate_text
from sluice.labels.chips import read_chip_table

EARLIER = Path(__file__).with_name("earlier_defaults.csv.gz")
"""Scores of the earlier default models, with the columns grid, cell, first and second: of the pool
out of fold, in the folds of the time, and of the test split; there also `<name>_fold_K` of the
networks that had not seen fold K."""
_KEYS = ["grid", "cell"]
_EARLIER_NAMES = {"first": "the first default model", "second": "the second"}


def prove_raised(setup: Setup) -> str:
    """Average precision of each, and the gain over it on the same chips and resamples."""
    chips = read_chip_table(setup.chips)
    published = pd.read_csv(setup.chips / PUBLISHED_SCORES).rename(columns={"score": "published"})
    pool = join_out_of_fold(setup, chips)
    _, test = evaluate_chips(setup.chips, setup.model, TEST_SPLIT)
    for fold in sorted(pool["fold"].unique()):
        model = str(setup.fold_folder(fold))
        test[f"fold_{fold}"] = evaluate_chips(setup.chips, model, TEST_SPLIT)[1]["score"]
    judged = {
        f"`{TEST_SPLIT}`": test,
        "pool, out of fold": pool,
        f"of it since {UNSEEN_SINCE:%Y}": pool[pool["start"] >= UNSEEN_SINCE],
    }
    rows = []
    for where, table in judged.items():
        scored = table.merge(pd.read_csv(EARLIER), on=_KEYS).merge(published, on=_KEYS)
        others = dict(_EARLIER_NAMES)
        if "since" in where:
            others = {"published": "the published RGB model of 2021, which saw none of them"}
        rows += [_row(where, scored, column, name) for column, name in others.items()]
        if where == f"`{TEST_SPLIT}`":
            rows += [
                _row(f"{where}, mean of the fold networks", scored, column, name, by_fold=True)
                for column, name in others.items()
            ]
    heads = ["chips", "mines", "compared with", "its AP", "AP of this model", "gain"]
    return to_table(heads, rows) + (
        "\n\nAverage precision; [ ] 95 % intervals over blocks of chips that share ground or "
        "pixels, of the gain on the same resamples. Of each model its own scores out of fold. "
        "Mean of the fold networks: of the average precisions of five, each fitted to four fifths "
        "of the pool; a network varies by chance, their mean less."
    )


def _row(
    where: str, scored: pd.DataFrame, column: str, name: str, *, by_fold: bool = False
) -> list[str]:
    seen = scored[scored["score"].notna()]
    labels = seen["label"].to_numpy()
    numbers = sorted(c.removeprefix("fold_") for c in seen if c.startswith("fold_"))
    ours = [f"fold_{k}" for k in numbers] if by_fold else ["score"]
    theirs = [f"{column}_fold_{k}" for k in numbers] if by_fold else [column]
    statistics = {
        key: partial(_mean_precision, labels, seen[columns].to_numpy(np.float64))
        for key, columns in (("ours", ours), ("theirs", theirs))
    }
    figures = bootstrap_estimates(
        {**statistics, "gain": lambda w: statistics["ours"](w) - statistics["theirs"](w)},
        seen["group"].to_numpy(),
    )
    return [
        f"{where} ({len(seen):,})",
        f"{int(labels.sum()):,}",
        name,
        estimate_text(figures["theirs"]),
        estimate_text(figures["ours"]),
        estimate_text(figures["gain"], signed=True),
    ]


def _mean_precision(labels: IntArray, scores: FloatArray, weights: FloatArray) -> FloatArray:
    """Mean over networks, the columns of the scores, for each resample's weights."""
    figures = [metrics.average_precision(labels, one, weights) for one in scores.T]
    mean: FloatArray = np.mean(figures, axis=0)
    return mean
