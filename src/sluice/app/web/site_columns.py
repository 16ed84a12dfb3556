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

    def texts(self, at: Positions) -> npt.NDArray[np.object_]:
        """The texts of some rows; None where one is absent."""
        found: npt.NDArray[np.object_] = np.array([*self.known, None], dtype=object)[self.codes[at]]
        return found

    def is_one_of(self, words: Sequence[str]) -> npt.NDArray[np.bool_]:
        """(N,) whether a row has one of some texts."""
        found = np.zeros(len(self.codes), dtype=bool)
        for word in set(words) & set(self.known):
            found |= self.codes == self.known.index(word)
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
