"""Random features of any data set: what teaches, what is read, and what is refused."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("sklearn", reason="training needs scikit-learn")
pytest.importorskip("skl2onnx", reason="forests need skl2onnx")

from affine import Affine
from odc.geo.geobox import GeoBox
from sklearn.metrics import average_precision_score
from typer.testing import CliRunner

from sluice.app.cli.main import app
from sluice.base.errors import BandNotFound, ConfigError, DataError, ShapeMismatch, SluiceError
from sluice.labels.chip_digests import chip_digests
from sluice.labels.dataset import DatasetAbout, DatasetWriter, read_dataset
from sluice.models.package import load_package
from sluice.models.predictor import WindowPredictor
from sluice.models.taught import read_taught
from sluice.training import feature_data, feature_detector
from sluice.training.feature_data import open_images
from sluice.training.feature_detector import FeatureSettings, train_on_dataset
from sluice.training.random_features import featurise
from training_cases import write_masked_chips

BANDS = ("red", "green", "blue", "nir")
SETTINGS = FeatureSettings(patches=12, folds=2, alphas=(1.0,))
NAMING = {"name": "tiny", "licence": "CC0-1.0", "attribution": "nobody"}


def write_places(
    folder: Path,
    east_m: list[float],
    *,
    splits: list[str] | None = None,
    sizes: list[tuple[int, int]] | None = None,
    sensor: str | None = "s2-l2a",
    label: int | None = None,
) -> Path:
    """Chips of noise by metres to the east, every second one brighter, each its own group."""
    about = DatasetAbout(name="places", bands=("red", "nir"), sensor=sensor, gsd_m=10)
    writer = DatasetWriter(folder, about)
    rng = np.random.default_rng(0)
    for k, east in enumerate(east_m):
        size = sizes[k] if sizes else (16, 16)
        mask = np.full(size, k % 2 if label is None else label, np.uint8)
        image = rng.uniform(0, 0.3, (2, *size)).astype(np.float32)
        image[1] += 0.2 * mask
        grid = GeoBox(size, Affine(10, 0, 600_000 + east, 0, -10, 9_300_000), "EPSG:32721")
        split = splits[k] if splits else ""
        writer.add(f"c{k}", image, grid, mask, split=split, source="made")
    writer.finish()
    return folder


def apart(count: int) -> list[float]:
    return [1000.0 * k for k in range(count)]


def test_a_data_set_of_four_bands_trains_with_one_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = write_masked_chips(tmp_path / "ponds", chips=48, side=16, bands=BANDS, group_of=2)
    fits = []
    cross_fit = feature_detector._cross_fit
    monkeypatch.setattr(
        feature_detector, "_cross_fit", lambda run: fits.append(cross_fit(run)) or fits[-1]
    )
    words = ["--data", tmp_path / "ponds", "--out", tmp_path / "out", "--name", "tiny"]
    words += ["--licence", "CC0-1.0", "--attribution", "nobody", "--bands", "nir, red,green"]
    words += ["--patches", "12", "--folds", "2", "--alphas", "1"]
    ended = CliRunner().invoke(app, ["train", "random-features", *map(str, words)])
    assert ended.exit_code == 0, ended.output

    package = load_package(tmp_path / "out" / "tiny", None)
    manifest = package.manifest
    assert manifest.bands == ("nir", "red", "green")
    assert (manifest.window_px, manifest.gsd_m) == (16, 10)
    assert manifest.levels[0].sensor == "s2-l2a"
    assert manifest.training["data"] == "ponds"
    images, labels = dataset.images(np.arange(48)), dataset.table["label"].to_numpy()
    found = WindowPredictor(package).score_chips(images, dataset.about.bands)
    (fitted, _) = fits[0]
    own = featurise(fitted.scaling.apply(images[:, [3, 0, 1]]), fitted.filters)
    expected = 1 / (1 + np.exp(-fitted.model.decide(own)))
    assert np.abs(found - expected).max() < 1e-4
    assert average_precision_score(labels, found) > 0.99

    written = pd.read_csv(tmp_path / "out" / "out_of_fold.csv")
    columns = ["chip_id", "label", "source", "group", "fold", "score"]
    assert written.columns.tolist() == columns
    assert written["chip_id"].tolist() == dataset.table["chip_id"].tolist()
    assert average_precision_score(written["label"], written["score"]) > 0.95


def test_the_same_chips_are_read_in_whatever_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = ["test", "excluded", *["train"] * 4]
    dataset = read_dataset(write_places(tmp_path / "d", apart(6), splits=splits))
    monkeypatch.setattr(feature_data, "_CACHE_BYTES", 16 * 16 * 2 * 4 * 2)  # Two of the chips.
    labelled = open_images(dataset, ("nir",))
    assert labelled.table["chip_id"].tolist() == ["c2", "c3", "c4", "c5"]
    for index in ([0, 1, 2, 3], [3, 1], [2]):
        expected = dataset.images(np.array(index) + 2)[:, [1]]
        assert np.array_equal(labelled.images(np.array(index)), expected)


def test_bright_ground_is_cut_as_the_chips_say_and_backscatter_is_not(tmp_path: Path) -> None:
    folder = write_places(tmp_path / "d", apart(2))
    assert open_images(read_dataset(folder)).limits == ((0.0, 0.6),) * 2
    about = (folder / "dataset.json").read_text()
    (folder / "dataset.json").write_text(about.replace('"brightest": null', '"brightest": 0.25'))
    assert open_images(read_dataset(folder)).limits == ((0.0, 0.25),) * 2
    (folder / "dataset.json").write_text(
        about.replace('"red",', '"vv",').replace('"nir"', '"vv@-1"').replace("s2-l2a", "s1")
    )
    labelled = open_images(read_dataset(folder))
    assert labelled.bands == ("vv", "vv@-1")
    assert labelled.limits == ((-np.inf, np.inf),) * 2


def test_radar_of_two_periods_trains(tmp_path: Path) -> None:
    about = DatasetAbout(name="radar", bands=("vv", "vv@-1"), sensor="s1", gsd_m=10)
    writer = DatasetWriter(tmp_path / "d", about)
    rng = np.random.default_rng(0)
    for k in range(24):
        mask = np.full((16, 16), k % 2, np.uint8)
        image = rng.normal(-9, 1, (2, 16, 16)).astype(np.float32)
        image[0] -= 10.0 * mask
        writer.add(f"c{k}", image, None, mask)
    writer.finish()
    trained = train_on_dataset(tmp_path / "d", tmp_path / "out", settings=SETTINGS, **NAMING)
    manifest = trained.package.manifest
    assert manifest.bands == ("vv", "vv@-1")
    assert [(i.low, i.high) for i in manifest.inputs] == [(None, None)] * 2
    assert average_precision_score(*(trained.out_of_fold[c] for c in ("label", "score"))) == 1


def test_groups_that_overlap_are_one_fold_and_it_is_told(tmp_path: Path) -> None:
    east = [80.0 * k for k in range(4)] + [5000.0 + 1000 * k for k in range(20)]
    folder = write_places(tmp_path / "d", east)
    # The same chip twice, wherever it is said to be.
    for k in (12, 14, 16):
        shutil.copy(folder / "images" / "c10.tif", folder / "images" / f"c{k}.tif")
    said: list[str] = []
    trained = train_on_dataset(
        folder, tmp_path / "out", settings=SETTINGS, tell=said.append, **NAMING
    )
    folds = trained.out_of_fold["fold"]
    assert [len(set(folds[rows])) for rows in ([0, 1, 2, 3], [10, 12, 14, 16])] == [1, 1]
    assert trained.package.manifest.training["joined_groups"] == 6
    assert [line for line in said if "overlap by place or are the same: 6 " in line] == said[:1]
    assert "the same" not in "".join(said[1:])


@pytest.mark.parametrize(
    ("made", "given", "error", "message"),
    [
        ({}, {"bands": ("red", "swir16")}, BandNotFound, "swir16"),
        ({}, {"bands": ("red", "red")}, ConfigError, "red is named twice"),
        ({}, {"sensor": "s1"}, BandNotFound, "red"),
        ({"sensor": None}, {}, ConfigError, "does not say which sensor"),
        ({"label": 0}, {}, DataError, "all 8 chips that may teach are labelled 0"),
        ({"sizes": [(16, 12)] * 8}, {}, ShapeMismatch, r"square .* got \(1, 2, 16, 12\); cut"),
        ({"sizes": [*[(16, 16)] * 7, (20, 20)]}, {}, DataError, "20 x 20 px, "),
        ({"splits": ["excluded"] * 8}, {}, DataError, "every chip is held out"),
    ],
)
def test_what_cannot_teach_is_refused_in_one_line(
    tmp_path: Path,
    made: dict[str, object],
    given: dict[str, object],
    error: type[SluiceError],
    message: str,
) -> None:
    folder = write_places(tmp_path / "d", apart(8), **made)
    with pytest.raises(error, match=message) as caught:
        train_on_dataset(folder, tmp_path / "out", settings=SETTINGS, **given, **NAMING)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_sizes_that_change_between_parts_are_refused(tmp_path: Path) -> None:
    """Chips that are read one by one are compared all the same."""
    sizes = [*[(16, 16)] * 5, (20, 20)]
    labelled = open_images(read_dataset(write_places(tmp_path / "d", apart(6), sizes=sizes)))
    labelled.images(np.array([0]))
    with pytest.raises(DataError, match="chip c5 is 20 x 20 px, others are 16 x 16 px"):
        labelled.images(np.array([5]))


def test_a_test_chip_on_ground_that_teaches_is_refused(tmp_path: Path) -> None:
    splits = ["train"] * 7 + ["test_far"]
    folder = write_places(tmp_path / "d", [*apart(7), 6080.0], splits=splits)
    with pytest.raises(DataError, match="1 pairs of chips of two splits overlap, such as c6 and"):
        train_on_dataset(folder, tmp_path / "out", settings=SETTINGS, **NAMING)


def test_the_package_knows_its_chips_and_gives_way_to_none_of_other_data(tmp_path: Path) -> None:
    folder = write_places(tmp_path / "d", apart(20), splits=["train"] * 16 + ["test"] * 4)
    out = tmp_path / "out"
    first = train_on_dataset(folder, out, settings=SETTINGS, **NAMING)
    dataset = read_dataset(folder)
    assert read_taught(first.package).all == set(chip_digests(dataset.images(np.arange(16))))

    again = train_on_dataset(folder, out, settings=SETTINGS, **NAMING)
    assert again.package.sha256 == first.package.sha256
    written = (out / "out_of_fold.csv").read_bytes()
    other = write_places(tmp_path / "other" / "d", apart(24))
    for data, changes, bands in (
        (other, {}, ()),
        (folder, {"patches": 14}, ()),
        (folder, {}, ("red",)),
    ):
        settings = SETTINGS.model_copy(update=changes)
        with pytest.raises(ConfigError, match=r"tiny: is there already, and of other data"):
            train_on_dataset(data, out, settings=settings, bands=bands, **NAMING)
    assert load_package(out / "tiny", None).sha256 == first.package.sha256
    assert (out / "out_of_fold.csv").read_bytes() == written


def test_a_name_that_cannot_be_is_refused_before_anything_is_fitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_places(tmp_path / "d", apart(12))
    monkeypatch.setattr(feature_detector, "_cross_fit", lambda run: pytest.fail("it fits"))
    with pytest.raises(ConfigError, match="'No name' cannot name a model"):
        train_on_dataset(
            folder, tmp_path / "out", settings=SETTINGS, **{**NAMING, "name": "No name"}
        )
