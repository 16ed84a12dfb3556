"""Which rows of a table are others than those that were there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely


def changed(after: pd.DataFrame, before: pd.DataFrame, key: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Rows that were not there, or differ in some column.

    Args:
        after: The rows as they are to be.
        before: As they were; of the same columns, at least.
        key: Columns that tell rows apart in both.

    Returns:
        (N,) for the rows of `after`.
    """
    if after.empty or before.empty:
        return np.ones(len(after), np.bool_)
    was = pd.MultiIndex.from_frame(before[list(key)])
    at = was.get_indexer(pd.MultiIndex.from_frame(after[list(key)]))
    differs = at < 0
    for name in after.columns:
        one, other = (
            table[name].to_numpy(dtype=object if table[name].dtype == "geometry" else None)
            for table in (after, before)
        )
        differs |= ~_same(one, other[at])
    return np.asarray(differs, np.bool_)


def _same(one: npt.NDArray[np.generic], other: npt.NDArray[np.generic]) -> npt.NDArray[np.bool_]:
    """Whether values are equal; what is absent equals what is absent."""
    if isinstance(one[0], shapely.Geometry) or isinstance(other[0], shapely.Geometry):
        return np.asarray(shapely.equals_exact(one, other, tolerance=0), np.bool_)
    equal = np.asarray(one == other, np.bool_)
    rest = np.flatnonzero(~equal)
    equal[rest] = pd.isna(pd.Series(one[rest])) & pd.isna(pd.Series(other[rest]))
    return equal
