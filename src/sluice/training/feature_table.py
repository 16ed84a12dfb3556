"""Models of cells with ready features, judged on blocks of ground that they never saw.

The blocks are dealt to three sides: those that fit the model and choose its penalty, those that
set threshold and calibration, and those that test it. No block is on two sides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field, JsonValue

from sluice.base.arrays import FloatArray, IntArray
from sluice.base.errors import DataError, NoValidData, ShapeMismatch, WeightsError
from sluice.base.records import Record
from sluice.evaluation.aims import CalibrationMethod
from sluice.evaluation.calibration import choose_threshold_for, fit_calibration
from sluice.evaluation.metrics import roc_auc
from sluice.evaluation.report import ChipReport, evaluate_scores
from sluice.labels.cells import spatial_blocks
from sluice.models.cell_model import CellModel, LoadedCellModel, encode_covariates
from sluice.training.feature_graph import forest_graph
from sluice.training.options import ALPHAS, Penalties, Regressor, Seed
from sluice.training.regressors import (
    FittedModel,
    LinearModel,
    fit_model,
    grouped_inner_folds,
    scale_decisions,
)

TEST, CALIBRATION, FIT = "test", "calibration", "fit"
IMAGE_FEATURES = "image features"
# More than these are not looked at one by one: alone, none of thousands means anything.
_FEATURES_TO_NAME = 32
# Numbers that permuted tables may hold at once: 80 MB.
_NUMBERS_AT_ONCE = 20_000_000
_TOLERANCE = 1e-5


class TableSettings(Record):
    """What a fit depends on, beside the tables."""

    model: Regressor = "ridge"
    alphas: Penalties = ALPHAS
    block_side_deg: float = Field(default=0.25, gt=0)
    """Side of the blocks; beyond the reach of what makes neighbours alike."""
    folds: int = Field(default=5, ge=3)
    """Parts that the blocks are dealt to: one tests, one calibrates, the others fit."""
    permutations: int = Field(default=20, ge=1)
    """Of each group of columns, for their importance."""
    seed: Seed = 0
    aim: str = "f1"
    """What the threshold is chosen for, see `choose_threshold_for`."""
    calibration: CalibrationMethod = "beta"


@dataclass(frozen=True)
class LabelledCells:
    """Cells that have labels, with all that is known of them."""

    table: pd.DataFrame
    """`lon`, `lat`, `label` (1 mine, 0 none); any other columns are kept."""
    values: npt.NDArray[np.float32]
    """(N, F) features, all finite."""
    names: tuple[str, ...]
    half_side_deg: float
    covariates: pd.DataFrame | None = None
    """N rows, numbers or text; NaN or None where unknown."""


@dataclass(frozen=True)
class TrainedTable:
    """What training leaves."""

    loaded: LoadedCellModel
    table: pd.DataFrame
    """The cells used, with `block`, `split` (fit, calibration or test) and `score`."""
    report: ChipReport
    """Figures of the test blocks."""
    importance: pd.DataFrame
    """`group`, `auc_drop` (mean over permutations) and `deviation`, the highest first."""
    coefficients: pd.DataFrame | None
    """`column` and `weight` for columns of deviation 1; None for a forest."""
    without_covariates: int
    """Cells left out because a covariate is unknown."""


def train_feature_table(
    cells: LabelledCells, settings: TableSettings, *, data: str
) -> TrainedTable:
    """Fit, calibrate and test a model of cells.

    Args:
        cells: See there.
        settings: See there.
        data: Which labels and features, in words.

    Raises:
        NoValidData: No cell has all covariates.
        DataError: One label only, too few blocks for three sides with both labels, or features
            that tell nothing.
        ShapeMismatch: Tables of different length.
    """
    numeric, categories = _columns_of(cells.covariates)
    matrix = _matrix(cells, numeric, categories)
    known: npt.NDArray[np.bool_] = np.asarray(np.isfinite(matrix).all(axis=1))
    matrix, table = matrix[known], _dealt(cells.table.loc[known], settings)
    labels = table["label"].to_numpy(np.int64)
    side = {name: np.flatnonzero(table["split"] == name) for name in (FIT, CALIBRATION, TEST)}
    fitted = fit_model(
        settings.model,
        matrix[side[FIT]],
        labels[side[FIT]],
        pd.factorize(table["block"].iloc[side[FIT]])[0],
        alphas=settings.alphas,
        seed=settings.seed,
    )
    fitted, table["score"] = _scored(fitted, matrix, labels, side[CALIBRATION])
    seen = table["score"].to_numpy()[side[CALIBRATION]], labels[side[CALIBRATION]]
    blocks = f"blocks of {settings.block_side_deg:g} degrees"
    weights, forest = _export(fitted, matrix.shape[1])
    contract = CellModel(
        kind=settings.model,
        features=cells.names,
        numeric=numeric,
        categories=categories,
        half_side_deg=cells.half_side_deg,
        threshold=choose_threshold_for(settings.aim, *seen),
        calibration=fit_calibration(
            *seen, f"{seen[0].size} cells of {data} in {blocks}", method=settings.calibration
        ),
        training=_record(settings, data, side, int((~known).sum())),
        **weights,
    )
    loaded = LoadedCellModel(contract, forest)
    _check_equal(loaded, cells, known, table["score"].to_numpy())
    test = side[TEST]
    return TrainedTable(
        loaded,
        table,
        _report(contract, table.iloc[test], f"{data}, test {blocks}"),
        permutation_importance(
            fitted,
            matrix[test],
            labels[test],
            _importance_groups(contract),
            permutations=settings.permutations,
        ),
        _coefficients(contract, fitted),
        int((~known).sum()),
    )


def permutation_importance(
    model: FittedModel,
    matrix: npt.NDArray[np.float32],
    labels: IntArray,
    groups: Mapping[str, IntArray],
    *,
    permutations: int = 20,
    seed: int = 0,
) -> pd.DataFrame:
    """How much ROC AUC is lost where what a group of columns says is given to other rows.

    Args:
        model: Fitted to other rows.
        matrix: (N, F) rows that the model has not seen.
        labels: (N,) 1 mine, 0 none.
        groups: Columns that are exchanged together, by name: those of one category, or all
            features of the image.
        permutations: Draws for each group.
        seed: Of the draws.

    Returns:
        `group`, `auc_drop` and `deviation` over the draws, the highest drop first. Columns that
        tell the same take each other's place, so each of them seems to matter little.

    Source:
        Breiman 2001, doi:10.1023/A:1010933404324.
    """
    rng = np.random.default_rng(seed)
    whole = float(roc_auc(labels, model.decide(matrix)))
    rows = []
    for name, columns in groups.items():
        drops: list[float] = []
        while len(drops) < permutations:
            # Many in one call: a forest takes as long for few rows as for some thousands.
            draws = min(permutations - len(drops), max(1, _NUMBERS_AT_ONCE // matrix.size))
            changed = np.tile(matrix, (draws, 1))
            others = np.concatenate([rng.permutation(len(matrix)) for _ in range(draws)])
            changed[:, columns] = matrix[np.ix_(others, columns)]
            decisions = model.decide(changed).reshape(draws, -1)
            drops.extend(whole - float(roc_auc(labels, row)) for row in decisions)
        rows.append((name, float(np.mean(drops)), float(np.std(drops))))
    importance = pd.DataFrame(rows, columns=["group", "auc_drop", "deviation"])
    return importance.sort_values("auc_drop", ascending=False, ignore_index=True)


def _matrix(
    cells: LabelledCells, numeric: tuple[str, ...], categories: dict[str, tuple[str, ...]]
) -> npt.NDArray[np.float32]:
    """Features and covariates side by side; NaN where a covariate is unknown."""
    n_covariates = len(cells.table) if cells.covariates is None else len(cells.covariates)
    if not len(cells.table) == len(cells.values) == n_covariates:
        raise ShapeMismatch(
            f"{len(cells.table)} labels, {len(cells.values)} rows of features and {n_covariates} "
            "of covariates must be one for each cell"
        )
    bad = ~np.isfinite(cells.values).all(axis=1)
    if bad.any():
        raise DataError(
            f"{int(bad.sum())} of {bad.size} cells have features that are NaN or infinite; "
            "leave those cells or features out"
        )
    told = encode_covariates(cells.covariates, numeric, categories, rows=n_covariates)
    if not np.isfinite(told).all(axis=1).any():
        raise NoValidData(
            f"some covariate is unknown for each of {n_covariates} cells with labels; give a "
            "table that covers them, or leave it out"
        )
    # Features are float32 in files and in forests; covariates follow them.
    return np.concatenate([cells.values, told.astype(np.float32)], axis=1)


def _dealt(table: pd.DataFrame, settings: TableSettings) -> pd.DataFrame:
    """The table with the columns `block` and `split`."""
    table = table.reset_index(drop=True)
    labels = table["label"].to_numpy(np.int64)
    blocks = spatial_blocks(
        table["lon"].to_numpy(), table["lat"].to_numpy(), settings.block_side_deg
    )
    folds = grouped_inner_folds(labels, blocks, settings.folds, settings.seed)
    if len(folds) < 3:
        raise DataError(
            f"{labels.size} labelled cells in {np.unique(blocks).size} blocks of "
            f"{settings.block_side_deg:g} degrees cannot be dealt to fit, calibration and test "
            "with both labels each; use smaller blocks, or add labels of other places"
        )
    split = np.full(labels.size, FIT, dtype=object)
    split[folds[0][1]], split[folds[1][1]] = TEST, CALIBRATION
    return table.assign(block=blocks, split=split)


def _scored(
    model: FittedModel, matrix: npt.NDArray[np.float32], labels: IntArray, calibration: IntArray
) -> tuple[FittedModel, FloatArray]:
    """The model whose decisions a sigmoid makes scores, and the scores of all rows."""
    if not isinstance(model, LinearModel):
        return model, model.decide(matrix)
    unseen = model.decide(matrix[calibration])
    model = model.rescaled(*scale_decisions(unseen, labels[calibration]))
    scores: FloatArray = 1 / (1 + np.exp(-np.clip(model.decide(matrix), -500, 500)))
    return model, scores


def _columns_of(
    covariates: pd.DataFrame | None,
) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    if covariates is None:
        return (), {}
    names = covariates.columns.tolist()
    numbers = [name for name in names if pd.api.types.is_numeric_dtype(covariates[name])]
    texts = [name for name in names if name not in numbers]
    return tuple(numbers), {
        name: tuple(sorted(covariates[name].dropna().unique())) for name in texts
    }


def _export(model: FittedModel, n_columns: int) -> tuple[dict[str, Any], bytes | None]:
    """Fields of the record that hold or name the weights, and the forest if it is one."""
    if isinstance(model, LinearModel):
        return {"weights": tuple(model.weights.tolist()), "intercept": model.intercept}, None
    forest = forest_graph(model, n_columns).SerializeToString()
    return {"forest_sha256": hashlib.sha256(forest).hexdigest()}, forest


def _check_equal(
    loaded: LoadedCellModel, cells: LabelledCells, known: npt.NDArray[np.bool_], scores: FloatArray
) -> None:
    """Read the model back from its text and score the tables with it."""
    again = replace(loaded, model=CellModel.model_validate_json(loaded.model.model_dump_json()))
    covariates = None if cells.covariates is None else cells.covariates.loc[known]
    found = again.score(cells.values[known], cells.names, covariates)
    # Asked this way round, NaN is not equal.
    if not np.abs(found - scores).max() <= _TOLERANCE:
        far = np.abs(found - scores).max()
        raise WeightsError(
            f"the model as written differs from the fitted one by {far:.2g}; scale covariates to "
            "ordinary numbers, or use other versions of skl2onnx and onnxruntime"
        )


def _importance_groups(contract: CellModel) -> dict[str, IntArray]:
    n = len(contract.features)
    if n > _FEATURES_TO_NAME:
        groups = {IMAGE_FEATURES: np.arange(n)}
    else:
        groups = {name: np.array([i]) for i, name in enumerate(contract.features)}
    groups |= {name: np.array([n + i]) for i, name in enumerate(contract.numeric)}
    first = n + len(contract.numeric)
    for name, values in contract.categories.items():
        groups[name] = np.arange(first, first + len(values))
        first += len(values)
    return groups


def _coefficients(contract: CellModel, model: FittedModel) -> pd.DataFrame | None:
    if not isinstance(model, LinearModel):
        return None
    told = pd.DataFrame({"column": contract.columns, "weight": model.standardised})
    return told.sort_values("weight", key=np.abs, ascending=False, ignore_index=True)


def _report(contract: CellModel, test: pd.DataFrame, data: str) -> ChipReport:
    rows = test.assign(kind="labelled cell", source="", group=test["block"], clear_threshold=np.nan)
    return evaluate_scores(
        rows, contract.threshold, contract.calibration, model=contract.kind, data=data
    )


def _record(
    settings: TableSettings, data: str, side: Mapping[str, IntArray], without_covariates: int
) -> dict[str, JsonValue]:
    return {
        "data": data,
        "cells": {name: int(rows.size) for name, rows in side.items()},
        "without_covariates": without_covariates,
        "settings": settings.model_dump(mode="json"),
    }
