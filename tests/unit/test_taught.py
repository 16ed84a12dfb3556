"""Which chips taught a model: known by what is in them, wherever they lie and however split."""

import json
import shutil
from dataclasses import replace

import numpy as np
import onnx.parser
import pandas as pd
import pytest
from typer.testing import CliRunner

from scenes import PLAIN, write_toy_model
from sluice.app.chip_inputs import open_chip_inputs, was_taught, weights_were_taught
from sluice.app.cli.main import app
from sluice.base.errors import WeightsError
from sluice.labels.chip_digests import chip_digests
from sluice.labels.dataset import ChipDataset, DatasetAbout, DatasetWriter, read_dataset
from sluice.models.manifest import Level, Manifest, ScaledInput, Thresholds, Weights
from sluice.models.package import load_package, weights_sha256, write_package
from sluice.models.taught import TAUGHT_FILE, gather_lessons, read_taught

BANDS = ("nir", "red", "green")
COUNT = 12
TAUGHT = np.arange(COUNT) % 2 == 0


def write_chips(folder, *, name="own", seed=0, side=48):
    writer = DatasetWriter(folder, DatasetAbout(name=name, bands=BANDS, gsd_m=10))
    rng = np.random.default_rng(seed)
    for k in range(COUNT):
        image = rng.uniform(0.05, 0.4, (3, side, side)).astype(np.float32)
        image[:, 0, 0] = np.nan
        mask = np.full((side, side), k % 3 == 0, np.uint8)
        writer.add(f"c{k}", image, None, mask, split="train" if TAUGHT[k] else "test")
    return writer.finish().folder


def split_again(folder, splits):
    table = pd.read_csv(folder / "index.csv").assign(split=splits)
    table.to_csv(folder / "index.csv", index=False)


def rename(folder, name):
    about = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps({**about, "name": name}))


def write_taught(models, name, lessons, base="toy", **training):
    """The toy model, said to have learnt from some chips."""
    package = load_package(base, models)
    files = {TAUGHT_FILE: weights_sha256(lessons.content)}
    training = {**package.manifest.training, "files": files, **lessons.record, **training}
    manifest = package.manifest.model_copy(update={"name": name, "training": training})
    extras = {TAUGHT_FILE: lessons.content}
    return write_package(models / name, manifest, package.read_weights(), "", extras=extras)


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    monkeypatch.setenv("SLUICE_MODELS", str(tmp_path / "models"))
    write_toy_model(tmp_path / "models")
    return tmp_path / "models"


@pytest.fixture
def folder(tmp_path):
    return write_chips(tmp_path / "set")


@pytest.fixture
def package(folder, models):
    digests = chip_digests(read_dataset(folder).images(np.flatnonzero(TAUGHT)))
    return write_taught(models, "own", gather_lessons(digests, None), data="own", split="train")


def call(*words):
    ended = CliRunner().invoke(app, ["evaluate", *map(str, words)], catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    return ended


def test_a_digest_is_of_pixels_and_shape_alone():
    image = np.linspace(-0.1, 0.6, 2 * 4 * 6, dtype=np.float32).reshape(1, 2, 4, 6)
    image[0, 0, 0, :2] = np.nan, 0.0
    (digest,) = chip_digests(image)
    assert len(digest) == 16
    same = image.copy()
    same.view(np.uint32)[0, 0, 0, 0] ^= 1  # another NaN
    same[0, 0, 0, 1] = -0.0
    assert np.isnan(same[0, 0, 0, 0])
    assert chip_digests(same) == [digest]
    # As data sets hold reflectance.
    counts = np.rint(image / np.float32(0.0001)) * np.float32(0.0001)
    assert chip_digests(counts) == [digest]
    changed = image.copy()
    changed[0, 1, 3, 5] += 0.001
    others = [changed, image.reshape(1, 2, 6, 4), image[:, ::-1], image[:, :1]]
    found = {digest, *(chip_digests(other)[0] for other in others)}
    assert len(found) == 5


def test_chips_of_which_nothing_was_observed_teach_nothing():
    nothing = np.full((1, 3, 48, 48), np.nan, np.float32)
    lessons = gather_lessons(["a" * 16, *chip_digests(nothing)], None)
    assert json.loads(lessons.content) == {"weights": ["a" * 16], "decisions": []}


def test_chips_are_known_after_another_split_and_in_a_copy(folder, package, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    rename(copy, "another")
    assert weights_were_taught(open_chip_inputs(copy, package, "train"))
    assert not was_taught(open_chip_inputs(copy, package, "test"))
    for each in (folder, copy):
        split_again(each, np.where(TAUGHT, "test", "train"))
        assert was_taught(open_chip_inputs(each, package, "test"))
        assert not was_taught(open_chip_inputs(each, package, "train"))
        assert was_taught(open_chip_inputs(each, package, None))


def test_another_folder_of_the_same_name_taught_nothing(package, tmp_path):
    other = write_chips(tmp_path / "elsewhere" / "set", seed=1)
    assert read_dataset(other).about.name == package.manifest.training["data"]
    assert not weights_were_taught(open_chip_inputs(other, package, "train"))


def test_a_model_without_a_list_goes_by_name_and_split(folder, package, models, tmp_path):
    training = {"data": "own, split train, masked by somebody", "split": "train"}
    manifest = package.manifest.model_copy(update={"name": "old", "training": training})
    old = write_package(models / "old", manifest, package.read_weights(), "")
    assert read_taught(old) is None
    assert was_taught(open_chip_inputs(folder, old, "train"))
    assert not was_taught(open_chip_inputs(folder, old, "test"))
    rename(folder, "ow")
    assert not was_taught(open_chip_inputs(folder, old, "train"))


def test_a_model_that_went_on_knows_its_parents_chips(package, models, folder, tmp_path):
    other = write_chips(tmp_path / "other", name="other", seed=1)
    digests = chip_digests(read_dataset(other).images(np.arange(COUNT)))
    child = write_taught(models, "child", gather_lessons(digests, package), data="other")
    assert read_taught(child).all == read_taught(package).all | set(digests)
    for each, split, expected in ((folder, "train", True), (folder, "test", False)):
        assert weights_were_taught(open_chip_inputs(each, child, split)) is expected
    assert weights_were_taught(open_chip_inputs(other, child, "test"))


def test_a_parent_without_a_list_leaves_its_lesson(package, models, folder, tmp_path):
    training = {"data": "own", "split": "train"}
    manifest = package.manifest.model_copy(update={"name": "old", "training": training})
    old = write_package(models / "old", manifest, package.read_weights(), "")
    child = write_taught(models, "child", gather_lessons(["0" * 16], old), data="other")
    grandchild = write_taught(models, "grandchild", gather_lessons(["1" * 16], child), data="more")
    assert read_taught(grandchild).all == {"0" * 16, "1" * 16}
    for each in (child, grandchild):
        assert each.manifest.training["parent_lessons"] == [training]
        assert weights_were_taught(open_chip_inputs(folder, each, "train"))
        assert not weights_were_taught(open_chip_inputs(folder, each, "test"))


def test_what_thresholds_were_chosen_on_is_apart_from_what_weights_learnt(models, folder):
    data = read_dataset(folder)
    fitted, chosen = (chip_digests(data.images(np.flatnonzero(own))) for own in (TAUGHT, ~TAUGHT))
    lessons = gather_lessons(fitted, None, chosen)
    package = write_taught(models, "own", lessons, data="other", split="train")
    inputs = {split: open_chip_inputs(folder, package, split) for split in ("train", "test")}
    assert [weights_were_taught(each) for each in inputs.values()] == [True, False]
    assert [was_taught(each) for each in inputs.values()] == [True, True]
    # What goes on from it chooses its own.
    child = write_taught(models, "child", gather_lessons([], package), data="none")
    assert not was_taught(open_chip_inputs(folder, child, "test"))
    assert was_taught(open_chip_inputs(folder, child, "train"))


@pytest.mark.parametrize(
    "content", [b'{"chips": 3}', b"[]", b'{"weights": [], "decisions": [1]}', b"{"]
)
def test_a_damaged_list_is_refused(package, models, folder, content):
    lessons = replace(gather_lessons([], None), content=content)
    with pytest.raises(WeightsError, match="is no list of digests"):
        open_chip_inputs(folder, write_taught(models, "odd", lessons), None)
    (package.folder / TAUGHT_FILE).write_text("[]")
    with pytest.raises(WeightsError, match="SHA-256"):
        open_chip_inputs(folder, package, None)


def test_judging_warns_and_reads_chips_once(package, folder, monkeypatch):
    split_again(folder, "test")
    read, images = [], ChipDataset.images
    monkeypatch.setattr(
        ChipDataset, "images", lambda self, index: read.extend(index) or images(self, index)
    )
    ended = call("chips", folder, "--model", "own", "--split", "test", "--json")
    assert sorted(read) == list(range(COUNT))
    assert "own was trained or calibrated on chips of this split" in ended.stderr
    assert json.loads(ended.stdout)["warning"] == ended.stderr.strip()
    told = json.loads(call("chips", folder, *("--model", "own", "--model", "toy"), "--json").stdout)
    assert told["warning"].startswith("own was trained")
    first, second = told["reports"]
    assert first["warning"] == told["warning"]
    assert second["warning"] is None
    split_again(folder, np.where(TAUGHT, "excluded", "test"))
    ended = call("chips", folder, "--model", "own", "--split", "test", "--json")
    assert ended.stderr == ""
    assert json.loads(ended.stdout)["warning"] is None


def write_pixel_model(models, lessons):
    graph = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[n, 1, y, x] image) => (float[n, 2, y, x] p)
    <float[1] one = {1}>
    { rest = Sub (one, image) p = Concat <axis = 1> (rest, image) }"""
    weights = onnx.parser.parse_model(graph).SerializeToString()
    manifest = Manifest(
        **PLAIN,
        name="pixels",
        inputs=(ScaledInput(band="red"),),
        levels=(Level(sensor="s2-l2a", verified=False),),
        judges="pixels",
        window_px=1,
        patch_px=16,
        classes=("other", "mine"),
        max_invalid_share=0.9,
        stride_m=10,
        thresholds=Thresholds(t_main=0.2, t_iso=0.2),
        weights=Weights(sha256=weights_sha256(weights)),
        training={"files": {TAUGHT_FILE: weights_sha256(lessons.content)}},
    )
    extras = {TAUGHT_FILE: lessons.content}
    return write_package(models / "pixels", manifest, weights, "", extras=extras)


def test_judging_masks_warns(models, tmp_path):
    folder = write_chips(tmp_path / "masks", side=16)
    digests = chip_digests(read_dataset(folder).images(np.flatnonzero(TAUGHT)))
    write_pixel_model(models, gather_lessons(digests, None))
    split_again(folder, np.where(TAUGHT, "test", ""))
    ended = call("masks", folder, "--model", "pixels", "--split", "test")
    assert "pixels was trained or calibrated on chips" in ended.stderr
    ended = call("masks", folder, "--model", "pixels", "--json")
    assert json.loads(ended.stdout)["warning"] == ended.stderr.strip()
    split_again(folder, np.where(TAUGHT, "", "test"))
    ended = call("masks", folder, "--model", "pixels", "--split", "test", "--json")
    assert ended.stderr == ""
    told = json.loads(ended.stdout)
    assert (told["warning"], told["chips"]) == (None, COUNT // 2)
