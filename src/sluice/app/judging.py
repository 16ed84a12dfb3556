"""Scoring labelled chips with a model, for `sluice evaluate` and the proof."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sluice.app.config import models_folder
from sluice.evaluation.report import ChipReport, evaluate_scores
from sluice.labels.chips import CHIP_BANDS, chip_reflectance, load_chips, read_chip_table
from sluice.labels.splits import select_split
from sluice.models.package import load_package
from sluice.models.predictor import WindowPredictor


def evaluate_chips(
    folder: Path, model: str, split: str | None = None
) -> tuple[ChipReport, pd.DataFrame]:
    """Score the chips of a folder and judge the scores at the model's own threshold.

    Args:
        folder: `chips.csv` and `grids/`.
        model: Name or folder.
        split: Only this split.

    Returns:
        The figures, and the table of chips with a column `score` (NaN: not observed).
    """
    package = load_package(model, models_folder())
    table = read_chip_table(folder)
    if split is not None:
        table = select_split(table, split)
    chips = chip_reflectance(load_chips(folder, table)).transpose(0, 3, 1, 2)
    scored = table.assign(score=WindowPredictor(package).score_chips(chips, CHIP_BANDS))
    report = evaluate_scores(
        scored,
        package.manifest.thresholds.t_main,
        package.manifest.calibration,
        model=package.name,
        data=f"{folder.resolve().name}, {f'split {split}' if split else 'all chips'}",
    )
    return report, scored
