"""A country made by a known rule: what a model of ready features must find in it."""

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import rasterio

pytest.importorskip("sklearn", reason="training needs scikit-learn")
pytest.importorskip("skl2onnx", reason="forests need skl2onnx")

from sklearn.inspection import permutation_importance as sklearn_importance
from sklearn.linear_model import LogisticRegression
from typer.testing import CliRunner

from sluice.app.cell_maps import map_cells, regular_grid, train_cells
from sluice.app.cli.main import app
from sluice.base.errors import (
    ConfigError,
    DataError,
    ManifestMismatch,
    NoValidData,
    ShapeMismatch,
    WeightsError,
)
from sluice.evaluation.metrics import roc_auc
from sluice.labels.cells import format_image_id
from sluice.labels.mine_points import PointFilters
from sluice.models.cell_model import load_cell_model
from sluice.training import regressors
from sluice.training.feature_table import (
    LabelledCells,
    TableSettings,
    permutation_importance,
    train_feature_table,
)
from sluice.training.regressors import KINDS, LinearModel

SIDE = 30
NAMES = ("f0", "f1", "f2", "f3")
GEOLOGY = ("gneiss", "schist", "sand")


def country(seed: int = 0) -> pd.DataFrame:
    """Cells of 0.01 degree. Mines follow f0, the river and schist; f1 to f3 mean nothing."""
    rng = np.random.default_rng(seed)
    row, column = np.divmod(np.arange(SIDE * SIDE), SIDE)
    cells = pd.DataFrame({"lon": -11.995 + column / 100, "lat": 7.005 + row / 100})
    cells[list(NAMES)] = rng.normal(size=(len(cells), 4)).astype(np.float32)
    cells["river_km"] = rng.exponential(5, len(cells))
    cells["geology"] = rng.choice(GEOLOGY, len(cells))
    logit = 3 * cells["f0"] - 0.3 * (cells["river_km"] - 5) + 2 * (cells["geology"] == "schist")
    cells["label"] = (logit + rng.logistic(size=len(cells)) * 0.5 > 1).astype(int)
    return cells


def labelled(cells: pd.DataFrame, *, with_covariates: bool = True) -> LabelledCells:
    return LabelledCells(
        cells[["lon", "lat", "label"]],
        cells[list(NAMES)].to_numpy(np.float32),
        NAMES,
        0.005,
        cells[["river_km", "geology"]] if with_covariates else None,
    )


SETTINGS = TableSettings(block_side_deg=0.05, permutations=5, alphas=(0.1, 10.0))

QUICK = {"block_side_deg": 0.05, "permutations": 2, "alphas": (1.0,)}


@pytest.fixture(autouse=True)
def _small_forests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regressors, "TREES", 40)


@pytest.mark.parametrize("kind", KINDS)
def test_the_rule_is_found(kind: str) -> None:
    settings = SETTINGS.model_copy(update={"model": kind})
    trained = train_feature_table(labelled(country()), settings, data="made")
    figures = trained.report.overall
    assert figures.roc_auc.value is not None
    assert figures.roc_auc.value > 0.92
    assert figures.roc_auc.low is not None
    assert figures.roc_auc.low > 0.85
    important = trained.importance["group"].tolist()
    assert set(important[:3]) == {"f0", "river_km", "geology"}
    if trained.coefficients is not None:
        weight = trained.coefficients.set_index("column")["weight"]
        assert weight["f0"] > 0 > weight["river_km"]
        assert weight["geology=schist"] > 0 > weight["geology=sand"]
        assert weight[["f1", "f2", "f3"]].abs().max() < weight["f0"] / 4


def test_no_block_is_on_two_sides() -> None:
    trained = train_feature_table(labelled(country()), SETTINGS, data="made")
    sides = trained.table.groupby("block")["split"].nunique()
    assert (sides == 1).all()
    shares = trained.table["split"].value_counts(normalize=True)
    assert shares["fit"] == pytest.approx(0.6, abs=0.05)
    assert (trained.table.groupby("split")["label"].nunique() == 2).all()
    assert trained.report.overall.chips == (trained.table["split"] == "test").sum()
    calibration = trained.loaded.model.calibration
    on_calibration = trained.table[trained.table["split"] == "calibration"]
    assert calibration.training_prior == pytest.approx(on_calibration["label"].mean())


def test_test_blocks_teach_nothing() -> None:
    cells = country()
    first = train_feature_table(labelled(cells), SETTINGS, data="made")
    test = (first.table["split"] == "test").to_numpy()
    spoilt = cells.copy()
    spoilt.loc[test, list(NAMES)] = 0.0
    second = train_feature_table(labelled(spoilt), SETTINGS, data="made")
    assert second.loaded.model.weights == first.loaded.model.weights
    assert second.loaded.model.threshold == first.loaded.model.threshold
    assert second.loaded.model.calibration == first.loaded.model.calibration


def test_the_threshold_is_for_the_aim() -> None:
    settings = SETTINGS.model_copy(update={"aim": "recall>=0.99", "calibration": "isotonic"})
    plain, many = (
        train_feature_table(labelled(country()), each, data="made") for each in (SETTINGS, settings)
    )
    cal = many.table[many.table["split"] == "calibration"]
    mines = cal["score"][cal["label"] == 1]
    assert (mines >= many.loaded.model.threshold).mean() >= 0.99
    assert many.loaded.model.threshold < plain.loaded.model.threshold
    assert many.loaded.model.calibration != plain.loaded.model.calibration


def test_importance_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(400, 3)).astype(np.float32)
    labels = (2 * matrix[:, 0] + matrix[:, 1] + rng.normal(size=400) > 0).astype(np.int64)
    reference = LogisticRegression().fit(matrix, labels)
    model = LinearModel(reference.coef_[0], float(reference.intercept_[0]), 1.0, reference.coef_[0])
    groups = {str(i): np.array([i]) for i in range(3)}
    found = permutation_importance(model, matrix, labels, groups, permutations=30)
    expected = sklearn_importance(
        reference, matrix, labels, scoring="roc_auc", n_repeats=30, random_state=1
    ).importances_mean
    drops = found.set_index("group")["auc_drop"]
    assert [drops[str(i)] for i in range(3)] == pytest.approx(expected, abs=0.015)
    # All columns together: nothing is left to know.
    whole = permutation_importance(model, matrix, labels, {"all": np.arange(3)}, permutations=30)
    auc = float(roc_auc(labels, model.decide(matrix)))
    assert whole["auc_drop"].iloc[0] == pytest.approx(auc - 0.5, abs=0.02)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"label": 1}, DataError, "both occur|cannot be"),
        ({"lon": -11.0, "lat": 7.0}, DataError, "cannot be divided"),
        ({"f0": np.nan}, DataError, "NaN"),
        ({"river_km": np.nan}, DataError, "covariate is unknown"),
    ],
)
def test_tables_that_cannot_teach(
    change: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        train_feature_table(labelled(country().assign(**change)), SETTINGS, data="made")


def test_few_labels_in_few_blocks() -> None:
    cells = country()
    with pytest.raises(DataError, match="smaller blocks"):
        train_feature_table(
            labelled(cells), SETTINGS.model_copy(update={"block_side_deg": 0.3}), data="made"
        )
    with pytest.raises(DataError, match="cannot be divided"):
        train_feature_table(labelled(cells.iloc[:3]), SETTINGS, data="made")
    short = labelled(cells)
    uneven = LabelledCells(short.table, short.values[1:], NAMES, 0.005, short.covariates)
    with pytest.raises(ShapeMismatch, match="one for each cell"):
        train_feature_table(uneven, SETTINGS, data="made")


def write_country(folder: Path, cells: pd.DataFrame) -> dict[str, Path]:
    """The files a user has: labels at places within cells, features by image_id, covariates."""
    rng = np.random.default_rng(1)
    shift = rng.uniform(-0.0049, 0.0049, (2, len(cells)))
    pd.DataFrame(
        {
            "lon": cells["lon"] + shift[0],
            "lat": cells["lat"] + shift[1],
            "mine_type": np.where(cells["label"] == 1, "artisanal", ""),
            "confidence": 4,
            "label": cells["label"],
            "proportion_inspected": 1.0,
        }
    ).iloc[::2].to_csv(folder / "labels.csv", index=False)
    ids = [format_image_id(x, y) for x, y in zip(cells["lon"], cells["lat"], strict=True)]
    cells[list(NAMES)].assign(image_id=ids).to_feather(folder / "features.feather")
    covariates = cells[["lon", "lat", "river_km", "geology"]]
    covariates.to_csv(folder / "more.csv", index=False)
    return {
        name: folder / file
        for name, file in (
            ("labels", "labels.csv"),
            ("features", "features.feather"),
            ("covariates", "more.csv"),
        )
    }


@pytest.mark.parametrize("kind", ["logistic", "forest"])
def test_from_files_to_a_map_and_again_from_the_model(tmp_path: Path, kind: str) -> None:
    cells = country()
    cells.loc[7, "river_km"] = np.nan
    files = write_country(tmp_path, cells)
    report, found = train_cells(
        **files, out_dir=tmp_path / "out", settings={**QUICK, "model": kind}
    )
    assert "ROC AUC" in report
    assert found.not_observed == 1
    table = found.cells
    assert np.isnan(table["score"].iloc[7])
    assert pd.isna(table["detected"].iloc[7])
    # Half of the cells had no label; the map is right about them too.
    unlabelled = np.setdiff1d(np.arange(1, len(cells), 2), [7])
    scores = table["score"].to_numpy()[unlabelled]
    assert float(roc_auc(cells["label"].to_numpy()[unlabelled], scores)) > 0.92

    with rasterio.open(tmp_path / "out" / "probability.tif") as raster:
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert raster.shape == (SIDE, SIDE)
        sampled = np.array(list(raster.sample(cells[["lon", "lat"]].to_numpy())))[:, 0]
    assert np.array_equal(sampled, table["probability"].astype(np.float32), equal_nan=True)
    stored = gpd.read_parquet(tmp_path / "out" / "cells.parquet")
    assert (
        b"not proof" in pq.read_schema(tmp_path / "out" / "cells.parquet").metadata[b"description"]
    )
    assert stored.crs == "EPSG:4326"
    points = gpd.GeoSeries(gpd.points_from_xy(cells["lon"], cells["lat"]), crs=4326)
    assert stored.geometry.contains(points).all()
    assert len(gpd.read_file(tmp_path / "out" / "cells.gpkg", layer="cells")) == SIDE * SIDE

    # Other order of rows and columns, more columns, another format: the same scores.
    again = tmp_path / "again.parquet"
    shuffled = cells.sample(frac=1, random_state=0)
    shuffled[["f3", "f0", "lon", "f2", "lat", "f1"]].assign(extra=1.0).to_parquet(again)
    mapped = map_cells(
        tmp_path / "out" / "model",
        again,
        tmp_path / "second",
        covariates=files["covariates"],
        prior=0.01,
    )
    expected = table["score"].to_numpy()[shuffled.index]
    assert np.allclose(mapped.cells["score"], expected, atol=1e-6, equal_nan=True)
    rarer = (
        mapped.cells["probability"].to_numpy() <= table["probability"].to_numpy()[shuffled.index]
    )
    assert rarer[np.isfinite(expected)].all()


def test_a_category_that_was_never_labelled_is_not_guessed(tmp_path: Path) -> None:
    cells = country()
    files = write_country(tmp_path, cells)
    train_cells(**files, out_dir=tmp_path / "out", settings=QUICK)
    cells.loc[3, "geology"] = "marble"
    more = tmp_path / "other.csv"
    cells[["lon", "lat", "river_km", "geology"]].to_csv(more, index=False)
    found = map_cells(
        tmp_path / "out" / "model", files["features"], tmp_path / "b", covariates=more
    )
    assert found.not_observed == 1
    assert "1 not observed" in found.in_words()


def test_models_and_tables_that_do_not_fit(tmp_path: Path) -> None:
    files = write_country(tmp_path, country())
    settings = {**QUICK, "model": "forest"}
    train_cells(**files, out_dir=tmp_path / "out", settings=settings)
    model = tmp_path / "out" / "model"
    with pytest.raises(ConfigError, match="holds a model already"):
        train_cells(**files, out_dir=tmp_path / "out", settings=settings)
    with pytest.raises(DataError, match="needs the covariates river_km, geology"):
        map_cells(model, files["features"], tmp_path / "b")
    with pytest.raises(ConfigError, match="prior"):
        map_cells(model, files["features"], tmp_path / "b", prior=1.0)
    fewer = tmp_path / "fewer.csv"
    country()[["lon", "lat", "f0"]].to_csv(fewer, index=False)
    with pytest.raises(DataError, match="features f1, f2, f3 are missing"):
        map_cells(model, fewer, tmp_path / "b", covariates=files["covariates"])

    (model / "forest.onnx").write_bytes((model / "forest.onnx").read_bytes()[:-1])
    with pytest.raises(WeightsError, match="is not the forest"):
        load_cell_model(model)
    (model / "forest.onnx").unlink()
    with pytest.raises(WeightsError, match="cannot be read"):
        load_cell_model(model)
    text = json.loads((model / "model.json").read_text())
    (model / "model.json").write_text(json.dumps({**text, "forest_sha256": None}))
    with pytest.raises(ManifestMismatch, match="either weights or"):
        load_cell_model(model)
    with pytest.raises(ManifestMismatch, match="not a model of cells"):
        load_cell_model(tmp_path)


def test_settings_and_labels_that_cannot_work(tmp_path: Path) -> None:
    files = write_country(tmp_path, country())
    with pytest.raises(ConfigError, match="model: Input should be"):
        train_cells(**files, out_dir=tmp_path / "out", settings={"model": "boosting"})
    with pytest.raises(NoValidData, match="loosen"):
        train_cells(**files, out_dir=tmp_path / "out", filters=PointFilters(min_confidence=5))
    assert not (tmp_path / "out").exists()


def test_a_grid_is_told_from_scattered_places() -> None:
    cells = country()
    rng = np.random.default_rng(0)
    rounded = cells[["lon", "lat"]].to_numpy().T + rng.uniform(-2e-7, 2e-7, (2, len(cells)))
    some = rng.permutation(len(cells))[:200]
    grid = regular_grid(*rounded[:, some])
    assert grid is not None
    transform, row, column = grid
    assert transform.a == pytest.approx(0.01, abs=1e-6)
    centres = np.array([transform * (c + 0.5, r + 0.5) for r, c in zip(row, column, strict=True)])
    assert np.allclose(centres, rounded[:, some].T, atol=1e-4)
    assert regular_grid(*rng.uniform(0, 1, (2, 50))) is None
    assert regular_grid(np.zeros(3), np.arange(3.0)) is None


def test_the_commands(tmp_path: Path) -> None:
    files = write_country(tmp_path, country())
    out, again = tmp_path / "out", tmp_path / "again"
    shared = ["--features", str(files["features"]), "--covariates", str(files["covariates"])]
    trained = CliRunner().invoke(
        app,
        [
            *("train", "feature-table", "--labels", str(files["labels"]), "--out", str(out)),
            *(*shared, "--block-side", "0.05", "--min-confidence", "0", "--alphas", "1"),
        ],
        catch_exceptions=False,
    )
    assert "ROC AUC lost by permutation" in trained.output
    assert "900 cells" in trained.output
    mapped = CliRunner().invoke(
        app,
        ["map-features", str(out / "model"), shared[1], *shared[2:], "--out", str(again)],
        catch_exceptions=False,
    )
    assert mapped.exit_code == trained.exit_code == 0
    first, second = (gpd.read_parquet(folder / "cells.parquet") for folder in (out, again))
    assert first.equals(second)
    wrong = CliRunner().invoke(
        app,
        [*("train", "feature-table", "--labels", "x.csv"), *shared, "--out", "x", "--prior", "2"],
    )
    assert isinstance(wrong.exception, ConfigError)
