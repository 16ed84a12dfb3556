"""Columns of a table of sites as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from sluice.app.web.tile_layers import Coded

Positions = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Words:
    """A column of few different texts."""

    known: list[str]
    codes: npt.NDArray[np.int32]
    """-1 where it is absent."""

    def coded(self, at: Positions) -> Coded:
        """The column of some rows."""
        return Coded(self.codes[at].astype(np.int64), self.known)

    def is_one_of(self, words: Sequence[str]) -> npt.NDArray[np.bool_]:
        """(N,) whether a row has one of some texts."""
        # The last one is for those that are absent, whose code is -1.
        chosen = np.array([*(word in words for word in self.known), False])
        found: npt.NDArray[np.bool_] = chosen[self.codes]
        return found


def numbers_of(table: pd.DataFrame, name: str) -> npt.NDArray[np.float64]:
    """A column of numbers, NaN where it is absent."""
    if name not in table:
        return np.full(len(table), np.nan)
    return table[name].to_numpy(dtype=np.float64, na_value=np.nan)


def words_of(table: pd.DataFrame, name: str, order: Positions) -> Words:
    """A column of texts, its rows in an order."""
    if name not in table:
        return Words([], np.full(len(table), -1, dtype=np.int32))
    codes, known = pd.factorize(table[name].astype(object), use_na_sentinel=True)
    return Words([str(word) for word in known], codes[order].astype(np.int32))
