"""What trainings in folds have in common: how chips are dealt, and the table of their scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from sluice.base.files import write_whole

FOLD_SEED = 7
"""The same chips fall into the same folds, whatever model is fitted to them."""
OUT_OF_FOLD_FILE = "out_of_fold.csv"


def write_out_of_fold(table: pd.DataFrame, folder: Path, columns: Sequence[str]) -> None:
    """Write the scores of chips by models that were not fitted to them.

    Args:
        table: A row for each chip.
        folder: Gets `OUT_OF_FOLD_FILE`.
        columns: Of the file, in their order.

    Raises:
        OSError: It cannot be written.
    """
    with write_whole(folder / OUT_OF_FOLD_FILE) as part:
        table[list(columns)].to_csv(part, index=False, lineterminator="\n")
