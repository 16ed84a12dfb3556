"""Which chips a lesson was of, where a model tells data set and split alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from sluice.labels.splits import may_teach


def lesson_rows(
    lesson: Mapping[str, object], data: str, table: pd.DataFrame
) -> npt.NDArray[np.bool_]:
    """Which rows of a data set's table a lesson was of.

    Args:
        lesson: With `data`, and `split` where it was of one: as `Manifest.training`.
        data: Name of the data set.
        table: Of it, with `split`.
    """
    told, split = lesson.get("data"), lesson.get("split")
    # Some say more of the data after the name.
    if not isinstance(told, str) or not f"{told}, ".startswith(f"{data}, "):
        return np.zeros(len(table), np.bool_)
    return (table["split"] == split).to_numpy() if split else may_teach(table)
