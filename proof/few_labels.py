"""Random features against a network, by the number of labels."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from proof.markdown import to_table
from proof.setup import Setup
from sluice.evaluation import metrics
from sluice.evaluation.bootstrap import bootstrap_estimates
from sluice.evaluation.compare import estimate_text
from sluice.labels.chips import chip_reflectance, load_chips, read_chip_table
from sluice.labels.splits import grouped_folds, trainable
from sluice.training.fit import FitSettings, fit_network, score_chips
from sluice.training.folds import FOLD_SEED
from sluice.training.members import chip_set
from sluice.training.random_features import draw_empirical_filters, featurise_all, fit_scaling
from sluice.training.regressors import fit_model

_LABELS = (50, 200, 1000, None)
"""Chips with labels in each training set; None is all of a fold's."""
_FOLDS, _PATCHES = 5, 256
_EPOCHS = {50: 120, 200: 60, 1000: 30}
"""Few chips need more passes; for all of them the default model's own scores are taken."""
_PENALTIES = (1.0, 10.0, 100.0, 1e3, 1e4)

Scores = dict[tuple[str, int | None], npt.NDArray[np.float64]]


def prove_few_labels(setup: Setup) -> str:
    """Average precision out of fold, pooled over folds, and the paired difference."""
    table = trainable(read_chip_table(setup.chips)).reset_index(drop=True)
    labels, groups = table["label"].to_numpy(), table["group"].to_numpy()
    fold_of = grouped_folds(table, _FOLDS, FOLD_SEED).to_numpy()
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as workers:
        jobs = [workers.submit(_score_fold, setup.chips, fold) for fold in range(_FOLDS)]
        found = [job.result() for job in jobs]
    scores: Scores = {key: np.full(len(table), np.nan) for key in found[0]}
    for fold, parts in enumerate(found):
        for key, part in parts.items():
            scores[key][fold_of == fold] = part
    scores["network", None] = _default_scores(setup, table)
    rows = []
    for n in _LABELS:
        ridge, network = scores["ridge", n], scores["network", n]
        figures = bootstrap_estimates(
            {
                "ridge": lambda w, s=ridge: metrics.average_precision(labels, s, w),
                "network": lambda w, s=network: metrics.average_precision(labels, s, w),
                "gain": lambda w, r=ridge, s=network: (
                    metrics.average_precision(labels, r, w)
                    - metrics.average_precision(labels, s, w)
                ),
            },
            groups,
        )
        rows.append(
            [
                "all" if n is None else f"{n:,}",
                estimate_text(figures["ridge"]),
                estimate_text(figures["network"]),
                estimate_text(figures["gain"], signed=True),
            ]
        )
    heads = ["labels", "random features + ridge", "network", "features less network"]
    return to_table(heads, rows) + (
        f"\n\nAverage precision on the {len(table):,} chips of the pool ({labels.mean():.1%} "
        f"mines), {_FOLDS} folds by group, each scored by models that never saw its places; each "
        f"fold draws labels of its own, which is in the intervals only in part. {_PATCHES} patches "
        "of 4 and 6 pixels, cut from the fold's other chips without their labels and whitened. "
        "The network is one of the default model's, from one side; its row of all labels is the "
        "shipped model's scores out of fold: two networks, each from two sides. "
        "[ ] 95 % intervals over groups."
    )


def _score_fold(folder: Path, fold: int) -> Scores:
    """Scores of a fold's chips by models of few labels and of many."""
    torch.set_num_threads(1)
    table = trainable(read_chip_table(folder)).reset_index(drop=True)
    labels, groups = table["label"].to_numpy(), table["group"].to_numpy()
    fold_of = grouped_folds(table, _FOLDS, FOLD_SEED).to_numpy()
    learn, judge = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
    chips = load_chips(folder, table)
    reflectance = chip_reflectance(chips).transpose(0, 3, 1, 2)
    observed = np.isfinite(reflectance).all(axis=1).any(axis=(1, 2))
    scaling = fit_scaling(reflectance.__getitem__, learn)
    filters = draw_empirical_filters(
        reflectance.__getitem__, learn[observed[learn]], scaling, _PATCHES, seed=fold
    )
    features = featurise_all(reflectance.__getitem__, np.arange(len(table)), scaling, filters)
    rng = np.random.default_rng(fold)
    scores: Scores = {}
    for n in _LABELS:
        chosen = learn if n is None else _draw(learn, labels, n, rng)
        model = fit_model(
            "ridge", features[chosen], labels[chosen], groups[chosen], alphas=_PENALTIES
        )
        scores["ridge", n] = model.decide(features[judge])
        if n is not None:
            settings = FitSettings(
                epochs=_EPOCHS[n], batch=min(64, n // 2), warmup_steps=50, seed=fold
            )
            ready = chip_set(chips, labels, chosen)
            network = fit_network(ready, chosen, settings)
            scores["network", n] = score_chips(network, ready, judge)
    return scores


def _draw(
    learn: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    n: int,
    rng: np.random.Generator,
) -> npt.NDArray[np.int64]:
    """n chips with as large a share of mines as all have."""
    mines = round(n * labels[learn].mean())
    with_mine, without = learn[labels[learn] == 1], learn[labels[learn] == 0]
    return np.sort(
        np.concatenate(
            [
                rng.choice(with_mine, mines, replace=False),
                rng.choice(without, n - mines, replace=False),
            ]
        )
    )


def _default_scores(setup: Setup, table: pd.DataFrame) -> npt.NDArray[np.float64]:
    kept = pd.read_csv(setup.out_of_fold)[["grid", "cell", "score"]]
    scores: npt.NDArray[np.float64] = (
        table[["grid", "cell"]].merge(kept, how="left")["score"].to_numpy()
    )
    return scores
