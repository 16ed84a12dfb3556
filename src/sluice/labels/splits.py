"""Which chips may teach, and how to divide them so that no place is on both sides."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sluice.base.errors import ConfigError, DataError, NoValidData

POOL = "pool"
"""Split that training, threshold and calibration use."""


def select_split(table: pd.DataFrame, split: str) -> pd.DataFrame:
    """Rows of one split.

    Raises:
        ConfigError: No chip is in it; the message lists the splits there are.
    """
    chosen = table[table["split"] == split]
    if chosen.empty:
        known = ", ".join(sorted(set(table["split"]) - {""})) or "none: the table has no splits"
        raise ConfigError(f"no chip is in split {split!r}; found: {known}. Choose one of these")
    return chosen


def pool(table: pd.DataFrame) -> pd.DataFrame:
    """Chips that training, threshold and calibration may use.

    Raises:
        ConfigError: The table has no split `pool`.
        DataError: A place has chips both in the pool and outside it.
    """
    chosen = select_split(table, POOL)
    others = table[table["split"] != POOL]
    shared = np.intersect1d(chosen["group"].unique(), others["group"].unique())
    if shared.size:
        raise DataError(
            f"{shared.size} groups have chips both in the pool and outside it, "
            f"such as {shared[0]}; move each group to one side"
        )
    return chosen


def check_trainable(table: pd.DataFrame) -> None:
    """Refuse chips that must never teach: splits `test*` and `excluded`.

    Raises:
        DataError: At least one such chip.
    """
    held_out = table["split"].str.startswith("test") | (table["split"] == "excluded")
    if held_out.any():
        named = ", ".join(sorted(table.loc[held_out, "split"].unique()))
        raise DataError(
            f"{int(held_out.sum())} chips are held out ({named}) and may not be trained on, "
            "nor set a threshold or a calibration; use the pool"
        )


def grouped_folds(table: pd.DataFrame, n_folds: int, seed: int) -> pd.Series:
    """Divide chips into folds that no group straddles, alike in sources and labels.

    Groups are shuffled, then those of a source are dealt out to the folds in turn; a group of
    several sources counts as its first one's. So every fold has its share of each kind of
    place, and of both labels.

    Args:
        table: With the columns `group`, `source`, `label` and `split`; the order of rows counts.
        n_folds: At least 2.
        seed: Of the shuffle; the same seed and table give the same folds.

    Returns:
        Fold of each chip, int64 from 0, on the index of `table`.

    Raises:
        ConfigError: Fewer than 2 folds.
        DataError: Held-out chips in `table`, a fold without both labels, or a group in two folds.
    """
    if n_folds < 2:
        raise ConfigError(f"{n_folds} folds leave nothing to hold out; use 2 or more")
    if table.empty:
        raise NoValidData("no chips to divide into folds; choose another split or folder")
    check_trainable(table)
    sources = table.groupby("group")["source"].first()
    shuffled = sources.sample(frac=1, random_state=seed)
    fold_of_group = shuffled.groupby(shuffled).cumcount() % n_folds
    folds = table["group"].map(fold_of_group).astype(np.int64).rename("fold")
    check_folds(table, folds)
    labels_in_fold = table["label"].groupby(folds).nunique().reindex(range(n_folds), fill_value=0)
    lacking = labels_in_fold.index[labels_in_fold < 2]
    if len(lacking):
        raise DataError(
            f"fold {lacking[0]} of {n_folds} has no chips of both labels; "
            "use fewer folds or more chips"
        )
    return folds


def check_folds(table: pd.DataFrame, folds: pd.Series) -> None:
    """Refuse folds of which two share a group.

    Args:
        table: With the column `group`.
        folds: Fold of each chip, on the index of `table`.

    Raises:
        DataError: A group has chips in two folds.
    """
    spread = folds.groupby(table["group"]).nunique()
    leaking = spread.index[spread > 1]
    if len(leaking):
        raise DataError(
            f"{len(leaking)} groups have chips in two folds, such as {leaking[0]}: "
            "a model would be tested on ground it has seen; fold by group"
        )
