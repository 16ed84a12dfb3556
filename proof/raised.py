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
out of fold, in the folds of the time, and of the test split."""
_KEYS = ["grid", "cell"]
_EARLIER_NAMES = {"first": "the first default model", "second": "the second"}


def prove_raised(setup: Setup) -> str:
    """Average precision of each, and the gain over it on the same chips and resamples."""
    chips = read_chip_table(setup.chips)
    published = pd.read_csv(setup.chips / PUBLISHED_SCORES).rename(columns={"score": "published"})
    pool = join_out_of_fold(setup, chips)
    _, test = evaluate_chips(setup.chips, setup.model, TEST_SPLIT)
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
    heads = ["chips", "mines", "compared with", "its AP", "AP of this model", "gain"]
    return to_table(heads, rows) + (
        "\n\nAverage precision; [ ] 95 % intervals over blocks of chips that share ground or "
        "pixels, of the gain on the same resamples. Of each model its own scores out of fold."
    )


def _row(where: str, scored: pd.DataFrame, column: str, name: str) -> list[str]:
    seen = scored[scored["score"].notna()]
    labels = seen["label"].to_numpy()
    ours, theirs = seen["score"].to_numpy(np.float64), seen[column].to_numpy(np.float64)
    figures = bootstrap_estimates(
        {
            "theirs": partial(metrics.average_precision, labels, theirs),
            "ours": partial(metrics.average_precision, labels, ours),
            "gain": partial(_gain, labels, ours, theirs),
        },
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


def _gain(labels: IntArray, ours: FloatArray, theirs: FloatArray, weights: FloatArray) -> float:
    better = metrics.average_precision(labels, ours, weights)
    return better - metrics.average_precision(labels, theirs, weights)
