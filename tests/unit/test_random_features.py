"""Random convolutional features against slow plain code, scikit-learn and closed forms."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pandas as pd
import pytest

pytest.importorskip("sklearn", reason="training needs scikit-learn")
pytest.importorskip("skl2onnx", reason="forests need skl2onnx")

from PIL import Image
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from feature_cases import made_features
from sluice.app.cli.main import app
from sluice.base.errors import (
    BandNotFound,
    ConfigError,
    DataError,
    NoValidData,
    ShapeMismatch,
    WeightsError,
)
from sluice.base.raster import Raster
from sluice.evaluation.decisions import decide_windows
from sluice.labels.chip_digests import chip_digests
from sluice.labels.dataset import read_dataset
from sluice.models.predictor import WindowPredictor
from sluice.models.taught import read_taught
from sluice.training import feature_graph, regressors
from sluice.training.feature_data import LabelledImages
from sluice.training.feature_detector import (
    FeatureSettings,
    TrainedFeatures,
    train_on_dataset,
    train_random_features,
)
from sluice.training.levels import levels_for
from sluice.training.random_features import (
    BandScaling,
    RandomFilters,
    draw_empirical_filters,
    draw_random_filters,
    featurise,
    fit_scaling,
    invalid_shares,
    zca_whitening,
)
from sluice.training.regressors import (
    ForestModel,
    fit_model,
)

Images = npt.NDArray[np.float32]


@pytest.fixture(autouse=True)
def _small_forests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regressors, "TREES", 40)


def plain_features(images: Images, filters: RandomFilters) -> npt.NDArray[np.float64]:
    """The definition, one place at a time."""
    rows = []
    for image in images.astype(np.float64):
        row = []
        for kernels in filters.kernels:
            side = kernels.shape[-1]
            places = [
                image[:, top : top + side, left : left + side]
                for top in range(image.shape[1] - side + 1)
                for left in range(image.shape[2] - side + 1)
            ]
            for sign in (1, -1):
                row += [
                    np.mean([max(sign * (place * k).sum() + filters.bias, 0) for place in places])
                    for k in kernels
                ]
        rows.append(row)
    return np.array(rows)


def made_images(n: int, bands: int = 2, side: int = 16, seed: int = 0) -> tuple[Images, Images]:
    """Reflectance: mines are checkered in the last band, other places are plain noise."""
    rng = np.random.default_rng(seed)
    images = rng.normal(0.1, 0.02, (n, bands, side, side)).astype(np.float32)
    labels = (np.arange(n) % 2 == 0).astype(np.int64)
    images[labels == 1, -1, ::3, ::3] += 0.15
    return images, labels


def made_table(labels: Images, split: str = "pool") -> pd.DataFrame:
    return pd.DataFrame(
        {
            "label": labels,
            "group": np.arange(len(labels)) // 4,
            "source": "made",
            "split": split,
        }
    )


def made_training(tmp_path: Path, **settings: object) -> tuple[TrainedFeatures, Images]:
    images, labels = made_images(96)
    images[5, :, :, :9] = np.nan
    images[6, 0, :2] = np.nan
    bands, limits = ("red", "nir"), ((0.0, 0.3), (0.0, 0.3))
    labelled = LabelledImages(
        images.__getitem__, made_table(labels), bands, 10.0, "made", limits=limits
    )
    trained = train_random_features(
        labelled,
        tmp_path,
        name="tiny",
        licence="CC-BY-4.0",
        attribution="nobody",
        settings=FeatureSettings.model_validate(
            {"patches": 12, "folds": 2, "alphas": (1.0,), **settings}
        ),
    )
    return trained, images


def test_features_are_what_the_definition_says() -> None:
    images = np.random.default_rng(1).normal(size=(3, 2, 9, 8)).astype(np.float32)
    filters = draw_random_filters(5, 2, sides=(4, 6), seed=2)
    assert [k.shape for k in filters.kernels] == [(3, 2, 4, 4), (2, 2, 6, 6)]
    found = featurise(images, filters)
    assert found.shape == (3, filters.n_features) == (3, 10)
    assert np.allclose(found, plain_features(images, filters), rtol=1e-5, atol=1e-5)


def test_whitening_gives_the_identity_covariance() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(4000, 6)) @ rng.normal(size=(6, 6)) + 3
    mean, matrix = zca_whitening(vectors, 0.0)
    white = (vectors - mean) @ matrix
    assert np.allclose(np.cov(white, rowvar=False), np.eye(6), atol=1e-9)
    assert np.allclose(matrix, matrix.T)
    # With eps the eigenvalues v become v / (v + eps).
    _, damped = zca_whitening(vectors, 1e-3)
    values = np.linalg.eigvalsh(np.cov(vectors, rowvar=False))
    found = np.linalg.eigvalsh(np.cov((vectors - mean) @ damped, rowvar=False))
    assert np.allclose(np.sort(found), np.sort(values / (values + 1e-3)), atol=1e-9)


def test_empirical_patches_are_white_and_never_cut_from_gaps() -> None:
    rng = np.random.default_rng(0)
    smooth = rng.normal(size=(60, 1, 20, 20)).cumsum(axis=2).cumsum(axis=3).astype(np.float32)
    smooth[:, :, :, 10:] = np.nan
    index = np.arange(60)
    scaling = fit_scaling(smooth.__getitem__, index)
    filters = draw_empirical_filters(smooth.__getitem__, index, scaling, 600, sides=(3,), eps=1e-9)
    flat = filters.kernels[0].reshape(600, -1)
    assert np.allclose(np.cov(flat, rowvar=False), np.eye(9), atol=0.25)
    again = draw_empirical_filters(smooth.__getitem__, index, scaling, 600, sides=(3,), eps=1e-9)
    assert np.array_equal(flat, again.kernels[0].reshape(600, -1))
    smooth[:] = np.nan
    with pytest.raises(NoValidData, match="observed whole"):
        draw_empirical_filters(smooth.__getitem__, index, scaling, 10)


def test_scaling_is_of_observed_pixels_within_the_limits() -> None:
    images = np.array([0.1, 0.3, 0.9, np.nan], np.float32).reshape(1, 1, 2, 2)
    scaling = fit_scaling(images.__getitem__, np.array([0]), ((0.0, 0.5),))
    assert scaling.mean == pytest.approx((0.3,))
    assert scaling.deviation == pytest.approx((np.std([0.1, 0.3, 0.5]),))
    scaled = scaling.apply(images)
    assert scaled[0, 0, 1, 1] == 0
    assert scaled[0, 0, 1, 0] == pytest.approx(0.2 / scaling.deviation[0], rel=1e-5)
    assert np.isnan(images[0, 0, 1, 1]), "the caller's array is left alone"


@pytest.mark.parametrize(
    ("values", "error"), [(0.25, DataError), (np.nan, NoValidData)], ids=["constant", "nothing"]
)
def test_images_without_contrast_are_refused(values: float, error: type[Exception]) -> None:
    images = np.full((3, 1, 8, 8), values, np.float32)
    with pytest.raises(error):
        fit_scaling(images.__getitem__, np.arange(3))


def test_a_pixel_is_invalid_where_any_band_is() -> None:
    images = np.zeros((1, 2, 2, 2), np.float32)
    images[0, 0, 0, 0] = images[0, 1, 1, 1] = np.nan
    assert invalid_shares(images.__getitem__, np.array([0])).tolist() == [0.5]


@pytest.mark.parametrize(
    ("n", "sides"), [(1, (4, 6)), (4, ()), (4, (0,))], ids=["too few", "no side", "side 0"]
)
def test_impossible_patches_are_refused(n: int, sides: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="cannot be drawn"):
        draw_random_filters(n, 1, sides=sides)


def test_features_of_other_images_are_refused() -> None:
    filters = draw_random_filters(2, 3)
    with pytest.raises(ShapeMismatch):
        featurise(np.zeros((1, 2, 8, 8), np.float32), filters)
    with pytest.raises(ShapeMismatch):
        featurise(np.zeros((1, 3, 5, 8), np.float32), filters)


def test_forest_weights_equal_scikit_learn() -> None:
    features, labels, groups = made_features()
    model = fit_model("forest", features, labels, groups)
    assert isinstance(model, ForestModel)
    weights = feature_graph.forest_graph(model, 5).SerializeToString()
    (found,) = feature_graph.run_onnx(weights, ["score"], table=features)
    assert np.abs(found[:, 0] - model.decide(features)).max() < 1e-5


@pytest.mark.parametrize("kind", ["ridge", "logistic", "svm"])
def test_a_dense_pass_gives_the_scores_of_cut_windows(kind: str, tmp_path: Path) -> None:
    trained, _ = made_training(tmp_path, model=kind, stride_px=5, patch_kind="random")
    manifest = trained.package.manifest
    assert (manifest.window_px, manifest.dense_stride_px) == (16, 5)
    from odc.geo.geobox import GeoBox

    data = np.random.default_rng(4).normal(0.1, 0.05, (2, 43, 39)).astype(np.float32)
    data[:, 20:23, 3:9] = np.nan
    geobox = GeoBox.from_bbox((0, 0, 390, 430), "EPSG:32721", resolution=10)
    raster = Raster(data, ("red", "nir"), geobox)
    rows, cols = range(0, 28, 5), range(0, 24, 5)
    dense = WindowPredictor(trained.package).score_windows(raster, rows, cols)
    cut = WindowPredictor(trained.package, cut_windows=True).score_windows(raster, rows, cols)
    assert np.isfinite(dense).all()
    assert np.abs(dense - cut).max() < 1e-5


@pytest.mark.parametrize("patch_kind", ["random", "empirical"])
def test_the_package_scores_as_the_model_does(patch_kind: str, tmp_path: Path) -> None:
    trained, images = made_training(tmp_path, patch_kind=patch_kind)
    scores = trained.out_of_fold["score"].to_numpy()
    assert np.isnan(scores[5])
    assert np.isfinite(np.delete(scores, 5)).all()
    found = WindowPredictor(trained.package).score_chips(images, ("red", "nir"))
    assert np.isnan(found[5])
    labels = trained.out_of_fold["label"].to_numpy()
    seen = np.isfinite(found)
    assert roc_auc_score(labels[seen], found[seen]) > 0.99
    assert roc_auc_score(labels[seen], scores[seen]) > 0.95
    manifest = trained.package.manifest
    assert manifest.calibration is not None
    assert manifest.inputs[0].high == pytest.approx(
        (0.3 - manifest.inputs[0].subtract) / manifest.inputs[0].divide
    )
    assert manifest.training["images"] == 95
    assert trained.report.overall.not_observed == 1


def test_a_forest_is_a_package_too(tmp_path: Path) -> None:
    trained, images = made_training(tmp_path, model="forest", patch_kind="random")
    assert trained.package.manifest.dense_stride_px is None
    operators = {n.op_type for n in onnx.load(trained.package.weights_path).graph.node}
    assert any(operator.startswith("TreeEnsemble") for operator in operators)
    found = WindowPredictor(trained.package).score_chips(images, ("red", "nir"))
    seen = np.isfinite(found)
    labels = trained.out_of_fold["label"].to_numpy()
    assert roc_auc_score(labels[seen], found[seen]) > 0.99


def test_the_same_settings_give_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Several convolutions a side, as real models have.
    monkeypatch.setattr(feature_graph, "_PATCHES_AT_ONCE", 5)
    first, _ = made_training(tmp_path / "a")
    second, _ = made_training(tmp_path / "b")
    assert first.package.manifest.weights == second.package.manifest.weights


def test_weights_that_differ_are_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_graph, "featurise", lambda images, _: np.ones((len(images), 24)))
    with pytest.raises(WeightsError, match="differ"):
        made_training(tmp_path)
    assert not (tmp_path / "tiny").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": "test_far"}, "held out"),
        ({"split": "excluded"}, "held out"),
        ({"label": 3}, "neither 1"),
        ({"group": None}, "lacks group"),
    ],
)
def test_tables_that_may_not_teach_are_refused(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    images, labels = made_images(40)
    table = made_table(labels)
    for column, value in change.items():
        table = table.drop(columns=column) if value is None else table.assign(**{column: value})
    labelled = LabelledImages(images.__getitem__, table, ("red", "nir"), 10.0, "made")
    with pytest.raises(DataError, match=message):
        train_random_features(
            labelled,
            tmp_path,
            name="tiny",
            licence="CC-BY-4.0",
            attribution="nobody",
            settings=FeatureSettings(patches=4),
        )
    assert not any(tmp_path.iterdir())


def test_images_of_other_bands_or_too_small_are_refused(tmp_path: Path) -> None:
    images, labels = made_images(40)
    arguments = {"name": "tiny", "licence": "CC-BY-4.0", "attribution": "nobody"}
    for bands, settings, error in (
        (("red",), FeatureSettings(patches=4), ShapeMismatch),
        (("red", "nir"), FeatureSettings(patches=4, sides=(4, 20)), ConfigError),
        (("red", "purple"), FeatureSettings(patches=4), BandNotFound),
    ):
        labelled = LabelledImages(images.__getitem__, made_table(labels), bands, 10.0, "made")
        with pytest.raises(error):
            train_random_features(labelled, tmp_path, settings=settings, **arguments)


def test_levels_name_what_has_the_bands() -> None:
    of_colour = {level.sensor: level for level in levels_for("s2-l1c", ("red", "green"))}
    assert set(of_colour) == {"s2-l1c", "s2-l2a", "planet-4b", "planet-8b", "nicfi"}
    assert [level.sensor for level in of_colour.values() if level.verified] == ["s2-l1c"]
    assert of_colour["s2-l2a"].adapt["red"].gain < 1
    back = {level.sensor: level for level in levels_for("s2-l2a", ("red",))}["s2-l1c"]
    there = of_colour["s2-l2a"].adapt["red"]
    assert back.adapt["red"].offset + back.adapt["red"].gain * there.offset == pytest.approx(0)
    assert [level.sensor for level in levels_for("s1", ("vv", "vh"))] == ["s1"]
    (radar,) = levels_for("s1", ("vv", "vv@-1"))
    assert radar.adapt == {}
    twice = {level.sensor: level for level in levels_for("s2-l1c", ("red", "red@-1"))}["s2-l2a"]
    assert twice.adapt["red@-1"] == twice.adapt["red"]
    assert {level.sensor for level in levels_for("s2-l2a", ("swir16",))} == {"s2-l2a", "s2-l1c"}


def write_chip_folder(folder: Path, splits: dict[int, str]) -> None:
    """48 chips, mines checkered; `splits` says from which chip on they are of which split."""
    rng = np.random.default_rng(0)
    sheet = rng.integers(60, 90, (3 * 16, 16 * 16, 3)).astype(np.uint8)
    rows = []
    for i in range(48):
        row, col = divmod(i, 16)
        if i % 2 == 0:
            sheet[row * 16 : row * 16 + 16 : 3, col * 16 : col * 16 + 16 : 3] = 250
        split = splits[max(first for first in splits if first <= i)]
        rows.append(("a.png", i, row, col, 1 - i % 2, "set", i, split))
    (folder / "grids").mkdir(parents=True)
    Image.fromarray(sheet).save(folder / "grids" / "a.png")
    columns = ["grid", "cell", "row", "col", "label", "source", "group", "split"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "chips.csv", index=False)


def test_a_chip_folder_trains_on_its_pool_alone(tmp_path: Path) -> None:
    write_chip_folder(tmp_path / "chips", {0: "pool", 40: "test_far"})
    trained = train_on_dataset(
        tmp_path / "chips",
        tmp_path / "out",
        name="tiny",
        licence="CC-BY-4.0",
        attribution="nobody",
        settings=FeatureSettings(patches=8, folds=2, patch_kind="random"),
    )
    assert len(trained.out_of_fold) == 40
    assert trained.package.manifest.bands == ("red", "green", "blue")
    written = pd.read_csv(tmp_path / "out" / "out_of_fold.csv")
    assert written["cell"].max() == 39


@pytest.mark.parametrize("model", ["ridge", "forest"])
def test_a_split_for_calibration_sets_threshold_and_calibration(tmp_path: Path, model) -> None:
    write_chip_folder(tmp_path / "chips", {0: "pool", 26: "cal"})
    arguments = {"name": "tiny", "licence": "CC-BY-4.0", "attribution": "nobody"}
    settings = FeatureSettings(patches=8, folds=2, model=model)
    trained = train_on_dataset(tmp_path / "chips", tmp_path / "out", settings=settings, **arguments)
    dataset, manifest = read_dataset(tmp_path / "chips"), trained.package.manifest
    images, labels = dataset.images(np.arange(26, 48)), dataset.table["label"].to_numpy()[26:]
    assert manifest.calibration.fitted_on == "22 chips of chips, split cal"
    own = WindowPredictor(trained.package).score_chips(images, dataset.about.bands)
    assert manifest.thresholds.t_main == pytest.approx(
        decide_windows(own, labels, "").t_main, abs=1e-3
    )
    assert read_taught(trained.package).all == set(chip_digests(dataset.images(np.arange(48))))
    assert set(trained.out_of_fold["cell"]) == set(range(26))
    # For another aim the same model is decided upon anew.
    again = train_on_dataset(
        tmp_path / "chips", tmp_path / "out", settings=settings, **arguments, aim="recall>=0.5"
    ).package.manifest
    assert again.weights == manifest.weights
    assert again.thresholds.t_main == pytest.approx(
        decide_windows(own, labels, "", aim="recall>=0.5").t_main, abs=1e-3
    )
    write_chip_folder(tmp_path / "other", {0: "pool", 26: "cal", 47: "excluded"})
    (tmp_path / "chips").rename(tmp_path / "before")
    (tmp_path / "other").rename(tmp_path / "chips")
    with pytest.raises(ConfigError, match="of other data or settings"):
        train_on_dataset(tmp_path / "chips", tmp_path / "out", settings=settings, **arguments)


def test_images_that_teach_are_not_kept_for_thresholds_too(tmp_path: Path) -> None:
    write_chip_folder(tmp_path, {0: "pool", 26: "cal"})
    sheet = np.array(Image.open(tmp_path / "grids" / "a.png"))
    sheet[32:48, :48] = sheet[:16, :48]
    Image.fromarray(sheet).save(tmp_path / "grids" / "a.png")
    with pytest.raises(DataError, match=r"3 of the 22 chips of split cal .* chips that teach"):
        train_on_dataset(
            tmp_path,
            tmp_path / "out",
            name="tiny",
            licence="CC-BY-4.0",
            attribution="nobody",
            settings=FeatureSettings(patches=8, folds=2),
        )


def test_scaling_knows_its_fill() -> None:
    scaling = BandScaling((0.2, 0.4), (0.1, 0.1))
    image = np.full((1, 2, 2, 2), 0.3, np.float32)
    image[0, 0, 0, 0] = np.nan
    scaled = scaling.apply(image)
    assert scaled[0, :, 0, 0].tolist() == [0, 0]
    assert scaled[0, :, 1, 1] == pytest.approx((1, -1), abs=1e-5)


def test_two_periods_are_two_inputs(tmp_path: Path) -> None:
    images, labels = made_images(48)
    labelled = LabelledImages(
        images.__getitem__, made_table(labels), ("vv", "vv@-1"), 10.0, "made", sensor="s1"
    )
    trained = train_random_features(
        labelled,
        tmp_path,
        name="tiny",
        licence="CC-BY-4.0",
        attribution="nobody",
        settings=FeatureSettings(patches=8, folds=2, patch_kind="random", alphas=(1.0,)),
    )
    assert [(i.band, i.period) for i in trained.package.manifest.inputs] == [("vv", 0), ("vv", -1)]
    assert trained.package.manifest.bands == ("vv", "vv@-1")


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--model", "boosting", "--model boosting: Input should be"),
        ("--patch-kind", "learnt", "--patch-kind learnt: Input should be"),
        ("--patches", "1", "--patches 1: Input should be greater"),
        ("--folds", "1", "--folds 1: Input should be greater"),
        ("--alphas", "strong", "--alphas strong: Input should be a valid number"),
        ("--aim", "best", "--aim best: aim 'best' is not known"),
    ],
)
def test_options_that_cannot_work_are_named(
    tmp_path: Path, option: str, value: str, message: str
) -> None:
    given = ["--data", "x", "--out", str(tmp_path), "--name", "a", "--licence", "MIT"]
    ended = CliRunner().invoke(
        app, ["train", "random-features", *given, "--attribution", "nobody", option, value]
    )
    assert isinstance(ended.exception, ConfigError)
    assert message in str(ended.exception)
