"""Models of cells with ready features: a folder with `model.json`, and `forest.onnx` for a forest.

They are no window models: they score rows of a table and never see an image.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnxruntime
import pandas as pd
from pydantic import Field, JsonValue, ValidationError, model_validator
from scipy.special import expit

from sluice.base.arrays import FloatArray
from sluice.base.calibration import Calibration
from sluice.base.errors import ConfigError, DataError, ManifestMismatch, WeightsError
from sluice.base.files import write_whole
from sluice.base.records import Record

MODEL_FILE = "model.json"
FOREST_FILE = "forest.onnx"
TABLE_INPUT = "table"
# Rows in memory as float64 at once.
_AT_ONCE = 4096


class CellModel(Record):
    """Everything that scoring a table needs to know."""

    schema_version: Literal[1] = 1
    kind: str
    """`ridge`, `logistic`, `svm` or `forest`."""
    features: tuple[str, ...]
    """Columns of the table of features, in the weights' order."""
    numeric: tuple[str, ...] = ()
    """Covariates that are numbers; they follow the features."""
    categories: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Covariates that are text, with the values known; a column of 0 and 1 for each value, after
    the numbers."""
    half_side_deg: float = Field(gt=0)
    """Half of a cell's side."""
    weights: tuple[float, ...] | None = None
    """One for each column; None for a forest."""
    intercept: float = 0.0
    forest_sha256: str | None = None
    threshold: float = Field(ge=0, le=1)
    """Score from which a cell counts as detected."""
    calibration: Calibration
    training: dict[str, JsonValue] = Field(default_factory=dict)
    """For the record: data, splits, settings."""

    @model_validator(mode="after")
    def _consistent(self) -> CellModel:
        if (self.weights is None) == (self.forest_sha256 is None):
            raise ValueError("either weights or the hash of a forest must be given")
        if self.weights is not None:
            if len(self.weights) != len(self.columns):
                raise ValueError(f"{len(self.weights)} weights for {len(self.columns)} columns")
            if not all(map(math.isfinite, (*self.weights, self.intercept))):
                raise ValueError("weights must be finite")
        if len(set(self.columns)) < len(self.columns):
            raise ValueError("a column is named twice")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """What each weight belongs to: features, numbers, and `covariate=value`."""
        told = tuple(
            f"{name}={value}" for name, known in self.categories.items() for value in known
        )
        return (*self.features, *self.numeric, *told)

    @property
    def covariates(self) -> tuple[str, ...]:
        """Columns of the table of covariates that are needed."""
        return (*self.numeric, *self.categories)


@dataclass(frozen=True)
class LoadedCellModel:
    """A cell model, ready to score."""

    model: CellModel
    forest: bytes | None = None

    def score(
        self,
        values: npt.NDArray[np.float32],
        names: Sequence[str],
        covariates: pd.DataFrame | None = None,
    ) -> FloatArray:
        """Score cells.

        Args:
            values: (N, F) features, all finite.
            names: Of the columns of `values`, in any order; more than needed is no harm.
            covariates: N rows; None where the model needs none.

        Returns:
            (N,) scores in 0-1; NaN where a covariate is missing or a category is unknown.

        Raises:
            DataError: A feature or covariate that is needed is missing.
        """
        order = _order(self.model.features, names, "features")
        if self.model.covariates and covariates is None:
            raise DataError(
                f"the model needs the covariates {', '.join(self.model.covariates)}; "
                "give a table with them"
            )
        told = encode_covariates(
            covariates, self.model.numeric, self.model.categories, rows=len(values)
        )
        run = self._linear if self.forest is None else self._trees(self.forest)
        scores = np.full(len(values), np.nan)
        for start in range(0, len(values), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            # Covariates are rounded as the features are: so they were when the model was fitted.
            columns = (values[part][:, order], told[part].astype(np.float32))
            matrix = np.concatenate(columns, axis=1)
            known = np.isfinite(matrix).all(axis=1)
            if known.any():
                scores[part][known] = run(matrix[known])
        return scores

    def _linear(self, matrix: npt.NDArray[np.float32]) -> FloatArray:
        weights = np.array(self.model.weights or (), np.float64)
        scores: FloatArray = expit(matrix.astype(np.float64) @ weights + self.model.intercept)
        return scores

    @staticmethod
    def _trees(forest: bytes) -> Any:
        session = onnxruntime.InferenceSession(forest, providers=["CPUExecutionProvider"])

        def run(matrix: npt.NDArray[np.float32]) -> FloatArray:
            (scores,) = session.run(None, {TABLE_INPUT: matrix})
            share: FloatArray = np.clip(scores[:, 0].astype(np.float64), 0, 1)
            return share

        return run


def encode_covariates(
    covariates: pd.DataFrame | None,
    numeric: Sequence[str],
    categories: dict[str, tuple[str, ...]],
    *,
    rows: int,
) -> FloatArray:
    """Covariates as numbers.

    Args:
        covariates: `rows` rows, or None where nothing is asked for.
        numeric: Columns taken as they are.
        categories: Columns of text with their known values: one column of 0 and 1 for each.
        rows: Of the result.

    Returns:
        (rows, columns) float64; all of a row's columns of a category are NaN where its value is
        missing or unknown.

    Raises:
        DataError: A column is missing, or a number is wanted and text was found.
    """
    if covariates is None or not (numeric or categories):
        return np.empty((rows, 0))
    _order((*numeric, *categories), covariates.columns.tolist(), "covariates")
    parts = []
    for name in numeric:
        if not pd.api.types.is_numeric_dtype(covariates[name]):
            raise DataError(f"covariate {name} must be numbers, got text; correct the table")
        parts.append(covariates[name].to_numpy(np.float64)[:, np.newaxis])
    for name, known in categories.items():
        at = pd.Index(known).get_indexer(pd.Index(covariates[name]))
        part = (at[:, np.newaxis] == np.arange(len(known))).astype(np.float64)
        part[at < 0] = np.nan
        parts.append(part)
    return np.concatenate(parts, axis=1)


def write_cell_model(folder: Path, loaded: LoadedCellModel) -> None:
    """Write `model.json`, and `forest.onnx` where there is a forest; whole or not at all.

    Raises:
        ConfigError: The folder is there already.
        OSError: It cannot be written.
    """
    if folder.exists():
        raise ConfigError(
            f"{folder}: is there already; choose another or remove it", href=str(folder)
        )
    with write_whole(folder) as part:
        part.mkdir()
        (part / MODEL_FILE).write_bytes((loaded.model.model_dump_json(indent=1) + "\n").encode())
        if loaded.forest is not None:
            (part / FOREST_FILE).write_bytes(loaded.forest)


def load_cell_model(folder: Path) -> LoadedCellModel:
    """Read a model's folder.

    Raises:
        ManifestMismatch: `model.json` is missing, unreadable or wrong.
        WeightsError: The forest is missing or not the one that was written.
    """
    path = folder / MODEL_FILE
    try:
        model = CellModel.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as err:
        reason = " ".join(str(err).split())[:200]
        raise ManifestMismatch(
            f"{path}: not a model of cells ({reason}); give the folder that training wrote",
            href=str(path),
        ) from err
    if model.forest_sha256 is None:
        return LoadedCellModel(model)
    path = folder / FOREST_FILE
    try:
        forest = path.read_bytes()
    except OSError as err:
        raise WeightsError(
            f"{path}: cannot be read ({err.strerror}); copy the whole folder of the model",
            href=str(path),
        ) from err
    if hashlib.sha256(forest).hexdigest() != model.forest_sha256:
        raise WeightsError(
            f"{path}: is not the forest that {MODEL_FILE} names; copy the folder again",
            href=str(path),
        )
    return LoadedCellModel(model, forest)


def _order(needed: Sequence[str], names: Sequence[str], what: str) -> npt.NDArray[np.int64]:
    at = {name: position for position, name in enumerate(names)}
    missing = [name for name in needed if name not in at]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise DataError(
            f"the {what} {', '.join(missing[:3])}{more} are missing, the model needs "
            f"{len(needed)}; found: {', '.join(list(names)[:6])}{', …' if len(names) > 6 else ''}. "
            "Give a table made as the one for training"
        )
    return np.array([at[name] for name in needed], np.int64)
