"""`sluice models calibrate`, and judging on data sets: scores and labels are known."""

import json

import numpy as np
import onnx.parser
import pandas as pd
import pytest
import rasterio
from typer.testing import CliRunner

from scenes import PIXELS, write_toy_model
from sluice.app.calibrating import calibrate_model, calibrated_text
from sluice.app.chip_inputs import open_chip_inputs, was_taught, weights_were_taught
from sluice.app.cli.main import app
from sluice.app.judging import evaluate_chips, judge_models, write_judged_scores
from sluice.app.reports.chip_report import chip_report_html
from sluice.base.errors import BandNotFound, ConfigError, DataError, ManifestMismatch
from sluice.labels.chip_digests import chip_digests
from sluice.labels.dataset import DatasetAbout, DatasetWriter, read_dataset
from sluice.models.manifest import Adaptation, Level, Manifest, ScaledInput, Thresholds, Weights
from sluice.models.package import load_package, weights_sha256, write_package
from sluice.models.pixels import PixelPredictor
from sluice.models.predictor import WindowPredictor
from sluice.models.taught import TAUGHT_FILE, gather_lessons

BANDS = ("nir", "green", "blue", "red")
COUNT = 40
REDNESS = np.linspace(0.0, 0.3, COUNT)
LABELS = (np.arange(COUNT) >= 24).astype(int)
LABELS[[20, 30]] = 1, 0  # one mine lower than others, one bare place higher


def write_chips(folder, *, splits=("",), about=None, **changes):
    """Chips whose redness rises; the model of `write_toy_model` scores by it."""
    writer = DatasetWriter(
        folder,
        DatasetAbout(**{"name": "own", "bands": BANDS, "gsd_m": 10} | changes),
    )
    for k, redness in enumerate(REDNESS):
        image = np.full((4, 48, 48), 0.1, np.float32)
        image[3] += redness
        mask = np.full((48, 48), LABELS[k], np.uint8)
        writer.add(f"c{k}", image, None, mask, split=splits[k % len(splits)], source="fields")
    return writer.finish().folder


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    monkeypatch.setenv("SLUICE_MODELS", str(tmp_path / "models"))
    write_toy_model(tmp_path / "models")
    return tmp_path / "models"


def test_a_model_is_judged_on_chips_of_other_bands_in_another_order(tmp_path) -> None:
    _, table = evaluate_chips(write_chips(tmp_path / "set"), "toy")
    chips = np.full((COUNT, 2, 48, 48), 0.1, np.float32)
    chips[:, 0] += REDNESS[:, None, None]
    expected = WindowPredictor(load_package("toy", None or tmp_path / "models")).score_chips(
        chips, ("red", "green")
    )
    np.testing.assert_allclose(table["score"], expected, atol=1e-3)
    assert np.all(np.diff(table["score"]) >= 0)


def count_pictures(judgement) -> int:
    return chip_report_html(judgement).count("data:image/png")


def count_mistakes(judgement) -> int:
    """Those that are shown: a dozen of each sort at most."""
    table = judgement.models[0].table
    alarm, mine = table["score"] >= 0.5, table["label"] == 1
    return min(12, int((alarm & ~mine).sum())) + min(12, int((~alarm & mine).sum()))


def test_scores_and_page_of_a_data_set(tmp_path) -> None:
    judgement = judge_models(write_chips(tmp_path / "set"), ["toy"])
    write_judged_scores(judgement, tmp_path / "s.csv")
    assert list(pd.read_csv(tmp_path / "s.csv")) == ["chip_id", "score"]
    assert count_pictures(judgement) == count_mistakes(judgement)
    assert judgement.warning is None


def test_a_page_of_chips_without_colour_shows_them_in_grey(tmp_path, models) -> None:
    folder = write_chips(tmp_path / "set", bands=("nir", "green", "swir16", "red"))
    judgement = judge_models(folder, ["toy"])
    assert count_pictures(judgement) == count_mistakes(judgement)


def test_a_sensor_that_the_model_adapts_is_adapted(tmp_path, models) -> None:
    package = load_package("toy", models)
    level = Level(sensor="s2-l2a", verified=False, adapt={"red": Adaptation(gain=1.0, offset=0.05)})
    manifest = package.manifest.model_copy(update={"name": "adapts", "levels": (level,)})
    write_package(models / "adapts", manifest, package.read_weights(), "")
    folder = write_chips(tmp_path / "set", sensor="s2-l2a")
    plain = evaluate_chips(folder, "toy")[1]["score"].to_numpy()
    adapted = evaluate_chips(folder, "adapts")[1]["score"].to_numpy()
    step = REDNESS[1]
    redder = np.interp(REDNESS + 0.05, REDNESS, plain)
    inside = REDNESS + 0.05 + step < REDNESS[-1]
    np.testing.assert_allclose(adapted[inside], redder[inside], atol=0.02)


@pytest.mark.parametrize(
    ("changes", "error", "told"),
    [
        ({"gsd_m": 20}, ManifestMismatch, "pixels of 20 m, model toy takes 10 m"),
        ({"bands": ("nir", "green", "blue", "swir16")}, BandNotFound, "red"),
    ],
)
def test_chips_that_do_not_fit_are_refused(tmp_path, changes, error, told) -> None:
    with pytest.raises(error, match=told):
        evaluate_chips(write_chips(tmp_path / "set", **changes), "toy")


@pytest.mark.parametrize(("aim", "missed"), [("f1", 1), ("recall>=1", 0)])
def test_thresholds_are_chosen_for_the_aim_and_weights_stay(tmp_path, models, aim, missed) -> None:
    folder = write_chips(tmp_path / "set", splits=("cal",))
    before = load_package("toy", models)
    calibrated = calibrate_model("toy", folder, "here", aim=aim, method="isotonic")
    after = load_package("here", models)
    assert after.read_weights() == before.read_weights()
    scores = evaluate_chips(folder, "here")[1]["score"].to_numpy()
    found = scores >= after.manifest.thresholds.t_main
    assert int((LABELS == 1).sum() - found[LABELS == 1].sum()) == missed
    assert after.manifest.thresholds.k == before.manifest.thresholds.k
    assert after.manifest.training["calibrated_on"]["split"] == "cal"
    assert after.manifest.calibration.training_prior == pytest.approx(LABELS.mean())
    assert calibrated.before == before.manifest.thresholds
    told = calibrated_text(calibrated)
    assert f"recall at {after.manifest.thresholds.t_main:.3f}" in told
    lone = (scores[LABELS == 1] >= after.manifest.thresholds.t_iso).mean()
    assert f"{lone:.0%} of these mines reach it" in told
    card = after.card_path.read_text()
    assert card.endswith("# Toy\n")
    assert "40 chips of own, split cal" in card


def test_the_calibration_keeps_its_word(tmp_path, models) -> None:
    folder = write_chips(tmp_path / "set")
    calibrate_model("toy", folder, "here", method="isotonic")
    calibration = load_package("here", models).manifest.calibration
    scores = evaluate_chips(folder, "here")[1]["score"].to_numpy(np.float32)
    stated = calibration.probability(scores, calibration.training_prior)
    assert stated.mean() == pytest.approx(LABELS.mean(), abs=0.05)


def test_what_has_taught_does_not_calibrate(tmp_path, models) -> None:
    folder = write_chips(
        tmp_path / "set", splits=("cal", "train", "cal", "cal", "cal", "test", "cal", "cal")
    )
    package = load_package("toy", models)
    manifest = package.manifest.model_copy(update={"name": "own", "training": {"data": "own"}})
    write_package(models / "own", manifest, package.read_weights(), "")
    with pytest.raises(DataError, match=r"has learnt from chips of own, split train"):
        calibrate_model("own", folder, "here", split="train")
    with pytest.raises(DataError, match="held out"):
        calibrate_model("own", folder, "here", split="test")
    calibrate_model("own", folder, "here")
    calibrated = load_package("here", models)
    assert calibrated.manifest.training["calibrated_on"]["split"] == "cal"
    seen = {
        split: open_chip_inputs(folder, calibrated, split) for split in ("train", "cal", "test")
    }
    assert [was_taught(chips) for chips in seen.values()] == [True, True, False]
    assert [weights_were_taught(chips) for chips in seen.values()] == [True, False, False]


def test_the_list_of_a_model_tells_what_its_thresholds_are_of_now(tmp_path, models) -> None:
    splits = ("cal", "train", "cal", "cal", "cal", "test", "cal", "cal")
    data = read_dataset(write_chips(tmp_path / "set", splits=splits))
    rows = {name: np.flatnonzero(data.table["split"] == name) for name in ("train", "test", "cal")}
    digests = {name: chip_digests(data.images(own)) for name, own in rows.items()}
    lessons = gather_lessons(digests["train"], None, digests["test"])
    package = load_package("toy", models)
    training = {"files": {TAUGHT_FILE: weights_sha256(lessons.content)}}
    manifest = package.manifest.model_copy(update={"name": "own", "training": training})
    extras = {TAUGHT_FILE: lessons.content}
    write_package(models / "own", manifest, package.read_weights(), "", extras=extras)
    calibrate_model("own", data.folder, "here")
    # Another name, other splits: the chips are known all the same.
    split_of = {"cal": "test_a", "train": "test_b", "test": "test_c"}
    table = pd.read_csv(data.folder / "index.csv")
    table.assign(split=table["split"].map(split_of)).to_csv(data.folder / "index.csv", index=False)
    about = json.loads((data.folder / "dataset.json").read_text())
    (data.folder / "dataset.json").write_text(json.dumps({**about, "name": "copy"}))
    calibrated = load_package("here", models)
    seen = [open_chip_inputs(data.folder, calibrated, split_of[name]) for name in digests]
    assert [was_taught(chips) for chips in seen] == [True, False, True]
    assert [weights_were_taught(chips) for chips in seen] == [True, False, False]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"aim": "auc"}, "aim 'auc' is not known"),
        ({"method": "platt"}, "no calibration is called 'platt'"),
        ({"new_name": "toy"}, "is there already"),
        ({"new_name": "default"}, "comes with Sluice"),
        ({"new_name": "../up"}, "cannot name a model"),
        ({"split": "nowhere"}, "no chip is in split 'nowhere'"),
        ({}, r"has the splits train, val; say with --split"),
    ],
)
def test_requests_that_cannot_be_met(tmp_path, models, options, told) -> None:
    folder = write_chips(tmp_path / "set", splits=("train", "val"))
    before = sorted(models.iterdir())
    with pytest.raises(ConfigError, match=told):
        calibrate_model("toy", folder, **{"new_name": "here"} | options)
    assert sorted(models.iterdir()) == before


@pytest.mark.parametrize(("mines", "told"), [(0, "0 chips with"), (9, "9 chips with")])
def test_few_labels_are_refused(tmp_path, mines, told) -> None:
    folder = write_chips(tmp_path / "set")
    index = pd.read_csv(folder / "index.csv").assign(label=(np.arange(COUNT) < mines).astype(int))
    index.to_csv(folder / "index.csv", index=False)
    with pytest.raises(DataError, match=told):
        calibrate_model("toy", folder, "here")


def test_chips_that_were_not_observed_do_not_count(tmp_path) -> None:
    folder = write_chips(tmp_path / "set")
    for k in range(20, COUNT):
        with rasterio.open(folder / "images" / f"c{k}.tif", "r+") as chip:
            chip.write(np.full((4, 48, 48), chip.nodata, chip.dtypes[0]))
    with pytest.raises(DataError, match="observed: 0 chips with"):
        calibrate_model("toy", folder, "here")


def test_a_model_that_tells_nothing_apart_is_refused(tmp_path, models) -> None:
    folder = write_chips(tmp_path / "set")
    index = pd.read_csv(folder / "index.csv")
    index.assign(label=1 - index["label"]).to_csv(folder / "index.csv", index=False)
    before = sorted(models.iterdir())
    with pytest.raises(
        DataError, match=r"tells nothing apart on these chips: at the threshold it marks 100%"
    ):
        calibrate_model("toy", folder, "here")
    assert sorted(models.iterdir()) == before


def test_chips_that_share_ground_with_another_split_are_refused(tmp_path) -> None:
    folder = write_chips(tmp_path / "set", splits=("train", "cal"))
    index = pd.read_csv(folder / "index.csv").assign(lon=10.0, lat=0.0)
    index.to_csv(folder / "index.csv", index=False)
    with pytest.raises(DataError, match="of two splits overlap"):
        calibrate_model("toy", folder, "here")


def test_images_of_a_sensor_that_the_model_does_not_take_are_refused(tmp_path) -> None:
    with pytest.raises(ManifestMismatch, match="is planet-4b imagery, model toy takes s2-l2a"):
        evaluate_chips(write_chips(tmp_path / "set", sensor="planet-4b"), "toy")


def test_a_model_of_pixels_is_calibrated_on_masks(tmp_path, models, monkeypatch) -> None:
    graph = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[n, 1, y, x] image) => (float[n, 2, y, x] p)
    <float[1] one = {1}>
    { other = Sub (one, image) p = Concat <axis = 1> (other, image) }"""
    weights = onnx.parser.parse_model(graph).SerializeToString()
    high = Thresholds(t_main=0.9, t_iso=0.9)
    fields = PIXELS | {"patch_px": 16, "patch_overlap_px": 0, "thresholds": high}
    manifest = Manifest(
        **fields,
        name="pixels",
        inputs=(ScaledInput(band="red"),),
        classes=("other", "mine"),
        weights=Weights(sha256=weights_sha256(weights)),
    )
    write_package(models / "pixels", manifest, weights, "")
    about = DatasetAbout(name="own", bands=("red",), gsd_m=10)
    writer = DatasetWriter(tmp_path / "set", about)
    rng = np.random.default_rng(0)
    for k in range(24):
        mask = np.zeros((16, 16), np.uint8)
        mask[:, :6] = k % 2
        image = np.where(mask == 1, 0.5, 0.2) + rng.uniform(-0.1, 0.1, mask.shape)
        image[0, 0] = np.nan
        writer.add(f"c{k}", image[None].astype(np.float32), None, mask)
    folder = writer.finish().folder
    scored, classify = [], PixelPredictor.classify_chips
    monkeypatch.setattr(
        PixelPredictor,
        "classify_chips",
        lambda self, images, bands: scored.append(len(images)) or classify(self, images, bands),
    )
    calibrated = calibrate_model("pixels", folder, "here")
    assert sum(scored) == 24
    now = load_package("here", models).manifest.thresholds
    assert 0.3 < now.t_main < 0.4
    assert now.t_iso == now.t_main
    assert calibrated.lone_recall is None
    assert "IoU at" in calibrated.figures
    calibration = load_package("here", models).manifest.calibration
    bright, dark = calibration.probability(np.array([0.5, 0.2], np.float32), 0.2)
    assert bright > 0.9
    assert dark < 0.1


def test_the_command(tmp_path) -> None:
    folder = write_chips(tmp_path / "set")
    words = ["models", "calibrate", "toy", "--data", str(folder), "--name", "here"]
    result = CliRunner().invoke(app, [*words, "--aim", "recall>=0.9"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "40 chips, 16 mines" in result.stdout
    assert "sluice scan IMAGE --model here" in result.stdout
    told = CliRunner().invoke(app, ["evaluate", "chips", str(folder), "--model", "here", "--json"])
    assert "calibrated on chips of this split" in told.stderr
    assert json.loads(told.stdout)["model"] == "here"
