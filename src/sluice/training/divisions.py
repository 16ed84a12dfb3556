"""Which chips are learnt from, which tell when to stop, calibrate, and test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sluice.base.arrays import IntArray
from sluice.base.errors import DataError
from sluice.labels.splits import POOL

_SHARES = {"train": 0.5, "cal": 0.1, "val": 0.2, "test": 0.2}
"""Where a data set has no splits: 60 / 20 / 20, a sixth of the 60 kept for calibration."""


@dataclass(frozen=True)
class Division:
    """Rows of a data set's table; no group is in two parts."""

    train: IntArray
    val: IntArray
    """Stops the fit and sets the thresholds."""
    cal: IntArray
    """Fits the calibration."""
    test: IntArray
    """Only looked at when all is done; may be empty."""
    how: str
    """In words, for the record."""
    has_own_cal: bool = False
    """Whether `cal` is a split of the data set, not drawn from what else would teach."""


def divide(table: pd.DataFrame, seed: int) -> Division:
    """Divide a data set by its splits, or by groups where it has none.

    Splits `train`, `val`, `cal` and `test` are taken as they are; every split whose name begins
    with `test` is for testing, and `excluded` and others are left out. Without `cal`, a sixth of
    the groups of `train` is kept for calibration. A split `pool` is divided into train, val and
    cal. A data set without any splits is divided 60 / 20 / 20 by group.

    Args:
        table: With `label`, `group` and `split`.
        seed: Of the draw.

    Returns:
        The parts, rows in order.

    Raises:
        DataError: A group has chips in two parts, or train, val or cal has nothing sought.
    """
    split, own_cal = table["split"].to_numpy(dtype=str), False
    named = {name: np.flatnonzero(split == name) for name in ("train", "val", "cal")}
    named["test"] = np.flatnonzero(np.char.startswith(split, "test"))
    pool = np.flatnonzero(split == POOL)
    _refuse_leaks(table, {**named, POOL: pool})
    if (split == "").all():
        parts, how = _draw(table, np.arange(len(table)), _SHARES, seed), "drawn 60/20/20 by group"
    elif named["train"].size:
        parts, how = named, "the data set's own splits"
        own_cal = named["cal"].size > 0
        if not own_cal:
            drawn = _draw(table, named["train"], {"train": 5 / 6, "cal": 1 / 6}, seed)
            parts, how = {**named, **drawn}, f"{how}, a sixth of train kept for calibration"
    elif pool.size:
        drawn = _draw(table, pool, {"train": 0.65, "cal": 0.15, "val": 0.2}, seed)
        parts, how = {**named, **drawn}, "split pool drawn 65/20/15 by group"
    else:
        found = ", ".join(sorted(set(split) - {""}))
        raise DataError(
            f"the data set has the splits {found} and neither train nor pool; name the chips to "
            "learn from `train` in its table, or leave all splits empty"
        )
    _refuse_nothing_sought(table, parts)
    rows = {name: parts[name] for name in ("train", "val", "cal", "test")}
    return Division(**rows, how=how, has_own_cal=own_cal)


def _draw(
    table: pd.DataFrame, rows: IntArray, shares: Mapping[str, float], seed: int
) -> dict[str, IntArray]:
    """Deal groups out, those with something sought apart from those without."""
    chosen = table.iloc[rows]
    sought = chosen.groupby("group")["label"].max()
    part_of: dict[str, str] = {}
    rng = np.random.default_rng(seed)
    for label in (1, 0):
        groups = rng.permutation(np.sort(sought.index[sought == label].to_numpy()))
        part_of |= dict(zip(groups.tolist(), _deal(len(groups), shares), strict=True))
    parts = chosen["group"].map(part_of).to_numpy()
    return {name: rows[parts == name] for name in shares}


def _deal(n: int, shares: Mapping[str, float]) -> Sequence[str]:
    """n names in the proportions of `shares`, every part with one at least where n allows."""
    counts = {name: max(1, int(n * share)) for name, share in shares.items()}
    first = next(iter(shares))
    counts[first] += n - sum(counts.values())
    return [name for name, count in counts.items() for _ in range(max(count, 0))][:n]


def _refuse_leaks(table: pd.DataFrame, parts: Mapping[str, IntArray]) -> None:
    owner: dict[object, str] = {}
    for name, rows in parts.items():
        for group in table["group"].iloc[rows].unique():
            if owner.setdefault(group, name) != name:
                raise DataError(
                    f"group {group} has chips in {owner[group]} and in {name}: a model would be "
                    "judged on ground it has seen; move the whole group to one split"
                )


def _refuse_nothing_sought(table: pd.DataFrame, parts: Mapping[str, IntArray]) -> None:
    for name in ("train", "val", "cal"):
        labels = table["label"].iloc[parts[name]]
        if not labels.any():
            raise DataError(
                f"part {name} has {len(labels)} chips and nothing sought in any; chips with it "
                "are needed there, so add some, and give those of different places different "
                "groups"
            )
