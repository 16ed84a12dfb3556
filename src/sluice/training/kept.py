"""Thresholds and calibration of windows: of chips kept for that alone, or of folds."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from sluice.base.arrays import FloatArray
from sluice.base.errors import DataError
from sluice.evaluation.aims import CalibrationMethod
from sluice.evaluation.decisions import FEWEST, WindowDecisions, decide_windows
from sluice.labels.splits import CALIBRATION


def kept_chips(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of a data set's table that only thresholds and calibration may use; may be none."""
    return table[table["split"] == CALIBRATION]


def refuse_taught(
    kept: Sequence[str], teaching: Collection[str], data: str, split: str = CALIBRATION
) -> None:
    """Refuse kept chips that teach as well, under another name or in another group.

    Args:
        kept: `labels.chip_digests` of the chips kept for thresholds and calibration, or to judge.
        teaching: Likewise, of the chips that the model is fitted to.
        data: Name of the data set.
        split: Of the chips kept.

    Raises:
        DataError: A chip is in both.
    """
    # Chips of which nothing was observed are all alike.
    teaching = frozenset(teaching) - {""}
    both = sum(digest in teaching for digest in kept)
    if both:
        raise DataError(
            f"{data}: {both} of the {len(kept)} chips of split {split} are pixel by pixel "
            f"chips that teach; take them out of {split}, or out of what teaches"
        )


@dataclass(frozen=True)
class ScoredWindows:
    """Windows that a model never saw, and what it said of them."""

    table: pd.DataFrame
    """With `label` (1 mine, 0 none) and `score` in [0, 1], NaN where too little was observed."""
    data: str
    """Which they are, in words."""

    def observed(self) -> tuple[FloatArray, npt.NDArray[np.int64]]:
        """Scores and labels of those that have a score."""
        seen = self.table[self.table["score"].notna()]
        return seen["score"].to_numpy(np.float64), seen["label"].to_numpy(np.int64)

    def suffice(self) -> bool:
        """Whether `FEWEST` of each label were observed."""
        _, labels = self.observed()
        return bool(min((labels == 1).sum(), (labels == 0).sum()) >= FEWEST)


def decide_on_kept(
    kept: ScoredWindows,
    folds: ScoredWindows,
    *,
    aim: str = "f1",
    method: CalibrationMethod = "beta",
) -> tuple[WindowDecisions, bool]:
    """Decide on windows kept for that alone where they suffice, else on out-of-fold scores.

    Args:
        kept: Scores of the model itself; may be empty.
        folds: Scores of models that did not see the fold.
        aim: As for `decide_windows`.
        method: As for `decide_windows`.

    Returns:
        The decisions, and whether they are of those kept. Where some are kept and do not suffice,
        that is told on stderr.

    Raises:
        DataError: As `decide_windows`.
        ConfigError: Likewise.
    """
    on_kept = kept.suffice()
    if not on_kept and len(kept.table):
        sys.stderr.write(
            f"{kept.data}: fewer than {FEWEST} chips of each label were observed, so thresholds "
            "and calibration are of out-of-fold scores\n"
        )
    used = kept if on_kept else folds
    scores, labels = used.observed()
    fitted_on = f"{len(scores)} chips of {used.data}"
    if not on_kept:
        fitted_on = f"out-of-fold scores of {fitted_on}"
    return decide_windows(scores, labels, fitted_on, aim=aim, method=method), on_kept
