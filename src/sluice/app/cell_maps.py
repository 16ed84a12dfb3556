"""Models of cells with ready features: from tables to a model, and from a model to a map."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyogrio
import rasterio
import shapely
from affine import Affine
from pydantic import BaseModel, ValidationError
from rasterio.enums import Resampling

from sluice.app.products.cog import add_overviews, compress
from sluice.app.products.landing import telling_disk_errors
from sluice.app.products.vectors import write_geoparquet
from sluice.base.arrays import ArrayHW, FloatArray, IntArray
from sluice.base.errors import ConfigError, NoValidData, RunFailed
from sluice.base.files import write_whole
from sluice.base.records import DISCLAIMER
from sluice.evaluation.report import render_report
from sluice.labels.cells import (
    HALF_SIDE_DEG,
    CellTable,
    JoinedLabels,
    join_covariates,
    join_labels,
    read_cell_table,
    read_covariates,
)
from sluice.labels.mine_points import MinePoints, PointFilters, read_mine_points
from sluice.models.cell_model import LoadedCellModel, load_cell_model, write_cell_model

if TYPE_CHECKING:
    from sluice.training.feature_table import TrainedTable

MODEL_FOLDER = "model"
LAYER = "cells"
# A raster of scattered cells would be nearly all gaps.
_MAX_PIXELS_PER_CELL = 1000
_OFF_GRID = 0.05


@dataclass(frozen=True)
class CellMap:
    """What a map of cells holds."""

    cells: gpd.GeoDataFrame
    """`id`, `lon`, `lat`, `score`, `probability`, `detected`, and the square."""
    files: tuple[Path, ...]
    not_observed: int
    """Cells without a score: a covariate is missing or of an unknown category."""

    def in_words(self) -> str:
        """What was found and where it lies, for a terminal."""
        detected = int(self.cells["detected"].fillna(value=False).sum())
        unseen = f", {self.not_observed} not observed" if self.not_observed else ""
        listed = "\n".join(str(path) for path in self.files)
        return f"{len(self.cells)} cells, {detected} detected{unseen}\n{listed}\n{DISCLAIMER}"


def train_cells(
    labels: Path,
    features: Path,
    out_dir: Path,
    *,
    covariates: Path | None = None,
    filters: PointFilters | None = None,
    half_side_deg: float = HALF_SIDE_DEG,
    settings: dict[str, Any] | None = None,
    prior: float | None = None,
) -> tuple[str, CellMap]:
    """Fit a model to labels and ready features, test it, and map all cells with it.

    Args:
        labels: CSV in the MOSAIKS form (`labels.mine_points`).
        features: Feather, Parquet or CSV (`labels.cells`).
        out_dir: Gets `model/`, `report.txt`, `importance.csv`, `coefficients.csv` (linear models),
            `labels.csv` (the cells used, their split and score) and the map's files.
        covariates: Table of what else is known of places.
        filters: Of labels; ours if None.
        half_side_deg: Half of a cell's side.
        settings: Fields of `training.feature_table.TableSettings`.
        prior: As in `map_cells`.

    Returns:
        The report as text, and the map.

    Raises:
        ConfigError: The folder holds a model already.
        SluiceError: A table is missing, wrong, or too small.
    """
    # scikit-learn is an extra: a map from a fitted model needs none.
    from sluice.training.feature_table import (  # noqa: PLC0415
        LabelledCells,
        TableSettings,
        train_feature_table,
    )

    _check_prior(prior)
    wanted = _settings(TableSettings, settings or {})
    if (out_dir / MODEL_FOLDER).exists():
        raise ConfigError(
            f"{out_dir}: holds a model already; choose another folder or remove it",
            href=str(out_dir),
        )
    points = read_mine_points(labels, filters)
    table = read_cell_table(features)
    joined = join_labels(points.table, table.cells, half_side_deg)
    known = _covariates(covariates, table, half_side_deg)
    at = joined.table["cell"].to_numpy()
    trained = train_feature_table(
        LabelledCells(
            joined.table,
            table.values[at],
            table.names,
            half_side_deg,
            None if known is None else known.iloc[at].reset_index(drop=True),
        ),
        wanted,
        data=f"{labels.name} on {features.name}",
    )
    report = _told(points, joined, trained)
    _write_training(trained, report, out_dir)
    return report, _map(trained.loaded, table, known, out_dir, prior=prior)


def _told(points: MinePoints, joined: JoinedLabels, trained: TrainedTable) -> str:
    """The report as text."""
    left_out = ", ".join(f"{count} {reason}" for reason, count in points.dropped.items())
    split = trained.table["split"].value_counts()
    importance = trained.importance.to_string(index=False, float_format="{:.4f}".format)
    return "\n".join(
        [
            f"{len(points.table)} labels used, left out: {left_out or 'none'}",
            f"{len(joined.table)} cells with labels ({joined.mixed} with both kinds, counted as "
            f"mines), {joined.outside} labels in no cell",
            ", ".join(f"{side}: {count} cells" for side, count in split.items())
            + f", without a covariate: {trained.without_covariates}",
            "",
            render_report(trained.report),
            "",
            "ROC AUC lost by permutation",
            importance,
        ]
    )


def _write_training(trained: TrainedTable, report: str, out_dir: Path) -> None:
    with telling_disk_errors(out_dir):
        write_cell_model(out_dir / MODEL_FOLDER, trained.loaded)
        _write_csv(trained.importance, out_dir / "importance.csv")
        _write_csv(trained.table, out_dir / "labels.csv")
        if trained.coefficients is not None:
            _write_csv(trained.coefficients, out_dir / "coefficients.csv")
        with write_whole(out_dir / "report.txt") as part:
            part.write_bytes((report + "\n").encode())


def map_cells(
    model: Path,
    features: Path,
    out_dir: Path,
    *,
    covariates: Path | None = None,
    prior: float | None = None,
) -> CellMap:
    """Map cells with a fitted model.

    Args:
        model: The folder `model` that training wrote.
        features: Feather, Parquet or CSV with the model's features.
        out_dir: Gets `cells.gpkg`, `cells.parquet` and, where the cells form a regular grid,
            `probability.tif`.
        covariates: Table of what else is known of places, where the model needs it.
        prior: Share of cells that hold a mine where one looks; None takes that of the
            calibration's labels, which is far too high for a country.

    Raises:
        ConfigError: A prior that is not between 0 and 1.
        SluiceError: The model or a table is missing or wrong.
    """
    _check_prior(prior)
    loaded = load_cell_model(model)
    table = read_cell_table(features)
    known = _covariates(covariates, table, loaded.model.half_side_deg)
    return _map(loaded, table, known, out_dir, prior=prior)


def regular_grid(lon: FloatArray, lat: FloatArray) -> tuple[Affine, IntArray, IntArray] | None:
    """The grid that places form.

    Args:
        lon: (N,) centres, degrees.
        lat: (N,) likewise.

    Returns:
        Transform from (column, row) to degrees, and each place's row and column from the north
        west; None where they lie on no regular grid, or so scattered that a raster is mostly gaps.
    """
    across, up = _steps(lon), _steps(lat)
    if across is None or up is None:
        return None
    (x_step, column), (y_step, from_south) = across, up
    row = from_south.max() - from_south
    pixels = (int(column.max()) + 1) * (int(row.max()) + 1)
    if pixels > _MAX_PIXELS_PER_CELL * max(lon.size, 1000):
        return None
    west, north = lon.min() - x_step / 2, lat.min() + (from_south.max() + 0.5) * y_step
    return Affine(x_step, 0, west, 0, -y_step, north), row, column


def _steps(axis: FloatArray) -> tuple[float, IntArray] | None:
    """The step between coordinates, and how many each is from the lowest."""
    values = np.unique(axis)
    gaps = np.diff(values)
    gaps = gaps[gaps > 1e-6]
    if not gaps.size:
        return None
    # The smallest gap is a step give or take rounding; all the gaps together tell it better.
    rough = float(gaps.min())
    step = float(gaps.sum() / np.round(gaps / rough).sum())
    count = (axis - values[0]) / step
    whole = np.round(count)
    return (step, whole.astype(np.int64)) if np.abs(count - whole).max() < _OFF_GRID else None


def _map(
    loaded: LoadedCellModel,
    table: CellTable,
    covariates: pd.DataFrame | None,
    out_dir: Path,
    *,
    prior: float | None,
) -> CellMap:
    model = loaded.model
    scores = loaded.score(table.values, table.names, covariates)
    prior = model.calibration.training_prior if prior is None else prior
    probability = model.calibration.probability(scores.astype(np.float32), prior)
    if np.isnan(scores).all():
        raise NoValidData("no cell has all that the model needs; check the covariates")
    lon, lat, half = table.cells["lon"], table.cells["lat"], model.half_side_deg
    cells = gpd.GeoDataFrame(
        table.cells.assign(
            score=scores,
            probability=probability.astype(np.float64),
            # Not observed is neither: a missing value, not False.
            detected=pd.array(scores >= model.threshold, "boolean"),
        ),
        geometry=shapely.box(lon - half, lat - half, lon + half, lat + half),
        crs="EPSG:4326",
    )
    cells.loc[np.isnan(scores), "detected"] = pd.NA
    with telling_disk_errors(out_dir):
        files = [_write_gpkg(cells, out_dir / "cells.gpkg")]
        with write_whole(out_dir / "cells.parquet") as part:
            write_geoparquet(cells, part, disclaimer=DISCLAIMER)
        files.append(out_dir / "cells.parquet")
        grid = regular_grid(lon.to_numpy(), lat.to_numpy())
        if grid is not None:
            files.append(_write_raster(probability, grid, out_dir / "probability.tif"))
    return CellMap(cells, tuple(files), int(np.isnan(scores).sum()))


def _write_gpkg(cells: gpd.GeoDataFrame, path: Path) -> Path:
    with write_whole(path) as part:
        pyogrio.write_dataframe(
            cells,
            part,
            layer=LAYER,
            driver="GPKG",
            layer_options={"IDENTIFIER": "Probability of mines", "DESCRIPTION": DISCLAIMER},
        )
        # GDAL reports some write errors as warnings only.
        found = pyogrio.read_info(part, layer=LAYER)["features"]
        if found != len(cells):
            raise RunFailed(
                f"{path.name}: {found} of {len(cells)} cells were written; check the free space "
                "on the disk and run again"
            )
    return path


def _write_raster(
    probability: npt.NDArray[np.float32],
    grid: tuple[Affine, IntArray, IntArray],
    path: Path,
) -> Path:
    transform, row, column = grid
    image: ArrayHW = np.full((row.max() + 1, column.max() + 1), np.nan, np.float32)
    image[row, column] = probability
    with _plain_copy(path) as plain, write_whole(path) as part:
        with rasterio.open(
            plain,
            "w",
            driver="GTiff",
            height=image.shape[0],
            width=image.shape[1],
            count=1,
            dtype="float32",
            nodata=np.nan,
            crs="EPSG:4326",
            transform=transform,
            tiled=True,
        ) as raster:
            raster.write(image, 1)
            raster.set_band_description(1, "probability")
            raster.update_tags(disclaimer=DISCLAIMER)
        add_overviews(plain, Resampling.average)
        compress(plain, part)
    return path


@contextlib.contextmanager
def _plain_copy(path: Path) -> Iterator[Path]:
    """A name on the same disk, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix=".part-", dir=path.parent) as folder:
        yield Path(folder) / "plain.tif"


_Settings = TypeVar("_Settings", bound=BaseModel)


def _settings(kind: type[_Settings], fields: dict[str, Any]) -> _Settings:
    try:
        return kind.model_validate(fields)
    except ValidationError as err:
        problem = err.errors(include_url=False)[0]
        name = ".".join(map(str, problem["loc"]))
        raise ConfigError(f"{name}: {problem['msg']}, got {problem['input']!r}") from err


def _check_prior(prior: float | None) -> None:
    if prior is not None and not 0 < prior < 1:
        raise ConfigError(f"a prior lies between 0 and 1, got {prior}; 0.01 is one cell in 100")


def _covariates(path: Path | None, table: CellTable, half_side_deg: float) -> pd.DataFrame | None:
    if path is None:
        return None
    return join_covariates(read_covariates(path), table.cells, half_side_deg)


def _write_csv(table: pd.DataFrame, path: Path) -> None:
    with write_whole(path) as part:
        table.to_csv(part, index=False, lineterminator="\n")
