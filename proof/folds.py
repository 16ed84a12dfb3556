"""The pool's out-of-fold scores: read, scored again, and judged with nothing fitted on them."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from proof.setup import Setup
from sluice.base.errors import DataError
from sluice.evaluation import metrics
from sluice.evaluation.bootstrap import Estimate, Statistic, bootstrap_estimates
from sluice.evaluation.calibration import choose_threshold, fit_calibration
from sluice.labels.chips import CHIP_BANDS, chip_reflectance, load_chips
from sluice.labels.splits import check_folds, trainable
from sluice.models.package import load_package
from sluice.models.predictor import WindowPredictor

_KEYS = ["grid", "cell"]


def join_out_of_fold(setup: Setup, chips: pd.DataFrame) -> pd.DataFrame:
    """The pool with the columns `fold` and `score` of `out_of_fold.csv`.

    Args:
        setup: Names the file.
        chips: From `read_chip_table`.

    Raises:
        DataError: The file leaves chips of the pool out, or a group lies in two folds.
    """
    scores = pd.read_csv(setup.out_of_fold, usecols=[*_KEYS, "fold", "score"])
    chosen = trainable(chips)
    # The index stays that of the chips, so that their pixels can be found.
    joined = chosen.join(scores.set_index(_KEYS), on=_KEYS)
    missing = int(joined["fold"].isna().sum())
    if missing or len(scores) != len(chosen):
        raise DataError(
            f"{setup.out_of_fold}: {len(scores)} chips, of the pool's {len(chosen)} "
            f"{missing} are not among them; write the file with the same training run"
        )
    check_folds(joined, joined["fold"])
    return joined.astype({"fold": np.int64})


def score_again(setup: Setup, joined: pd.DataFrame) -> pd.Series:
    """Score each fold with the package that did not see it.

    Returns:
        Scores on the index of `joined`; NaN where a chip holds too little data for the model.
    """
    again = pd.Series(np.nan, index=joined.index)
    for fold in sorted(joined["fold"].unique()):
        members = joined[joined["fold"] == fold]
        predictor = WindowPredictor(load_package(setup.fold_folder(fold), None))
        chips = chip_reflectance(load_chips(setup.chips, members)).transpose(0, 3, 1, 2)
        again[members.index] = predictor.score_chips(chips, CHIP_BANDS)
    return again


def nested_figures(joined: pd.DataFrame) -> dict[str, Estimate]:
    """Figures with threshold and calibration of each fold fitted on the other folds' scores.

    Returns:
        `f1`, `precision`, `recall`, `false_alarm_rate`, `calibration_error` and `brier`.
    """
    labels = joined["label"].to_numpy()
    scores = joined["score"].to_numpy(np.float32)
    fold_of = joined["fold"].to_numpy()
    detected, probability = np.zeros(labels.size), np.zeros(labels.size, np.float32)
    for fold in np.unique(fold_of):
        here, others = fold_of == fold, fold_of != fold
        detected[here] = scores[here] >= choose_threshold(scores[others], labels[others])
        calibration = fit_calibration(scores[others], labels[others], "the other folds")
        probability[here] = calibration.probability(scores[here], calibration.training_prior)
    statistics: dict[str, Statistic] = {
        "f1": partial(metrics.f1, labels, detected, 0.5),
        "precision": partial(metrics.precision, labels, detected, 0.5),
        "recall": partial(metrics.recall, labels, detected, 0.5),
        "false_alarm_rate": partial(metrics.false_alarm_rate, labels, detected, 0.5),
        "calibration_error": partial(metrics.calibration_error, labels, probability),
        "brier": partial(metrics.brier_score, labels, probability),
    }
    return bootstrap_estimates(statistics, joined["group"].to_numpy())
