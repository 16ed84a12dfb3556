"""U-Nets and SegFormers from a folder of chips to a package, small."""

import dataclasses
import hashlib
import json
import shutil

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: make test EXTRAS=dev,train")
pytest.importorskip("monai", reason="U-Nets need monai: make test EXTRAS=dev,train")
pytest.importorskip("transformers", reason="SegFormers need transformers")
pytest.importorskip("matplotlib", reason="curves need matplotlib")

import onnxruntime  # noqa: E402
from affine import Affine  # noqa: E402
from odc.geo.geobox import GeoBox  # noqa: E402

from sluice.base.errors import (  # noqa: E402
    BandNotFound,
    ConfigError,
    DataError,
    ManifestMismatch,
    WeightsError,
)
from sluice.labels.chip_digests import chip_digests  # noqa: E402
from sluice.labels.dataset import DatasetAbout, DatasetWriter, read_dataset  # noqa: E402
from sluice.models.package import load_package  # noqa: E402
from sluice.models.taught import read_taught  # noqa: E402
from sluice.training import families, pixel_model  # noqa: E402
from sluice.training.families import network_record, take_shape  # noqa: E402
from sluice.training.naming import Naming  # noqa: E402
from sluice.training.options import CnnOptions, SegFormerOptions, UNetOptions  # noqa: E402
from sluice.training.patch_cnn import ARCHITECTURES  # noqa: E402
from sluice.training.pixel_data import look_through  # noqa: E402
from sluice.training.pixel_model import train_pixel_model  # noqa: E402
from sluice.training.scaling import Scaling  # noqa: E402
from training_cases import write_masked_chips  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = {"epochs": 6, "batch": 4, "warmup_steps": 4, "learning_rate": 0.01}
UNET = UNetOptions(**TINY, width=4, dropout=0, indices=("ndwi",), loss="dice", positive_share=0.5)
NAMING = Naming("tiny", "CC0-1.0", "nobody")


@pytest.fixture(scope="module")
def ponds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "ponds"
    write_masked_chips(folder, splits=True)
    return folder


@pytest.fixture(scope="module")
def unet(ponds, tmp_path_factory, one_thread):
    return train_pixel_model(ponds, tmp_path_factory.mktemp("models"), UNET, NAMING)


def session(package):
    return onnxruntime.InferenceSession(package.read_weights(), providers=["CPUExecutionProvider"])


def test_a_unet_learns_ponds_and_loads_as_a_package(unet):
    package = load_package(unet.package.folder, None)
    manifest = package.manifest
    assert (manifest.judges, manifest.classes) == ("pixels", ("other", "mine"))
    assert (manifest.patch_px, manifest.patch_overlap_px, manifest.window_px) == (32, 8, 1)
    assert (manifest.indices, manifest.bands) == (("ndwi",), ("red", "green", "nir"))
    assert manifest.stride_m == manifest.gsd_m == 10
    assert manifest.calibration is not None
    assert "part cal" in manifest.calibration.fitted_on
    assert manifest.training["chips"] == {"train": 16, "val": 8, "cal": 8, "test": 8}
    assert unet.report.f1.value > 0.9
    assert unet.report.iou.value > 0.8
    card = package.card_path.read_text(encoding="utf-8")
    for words in ("IoU at", "CC0-1.0", "nobody", "8 test chips", "Calling every pixel"):
        assert words in card


def test_weights_give_probabilities_at_any_size(unet):
    rng = np.random.default_rng(0)
    for shape in ((1, 3, 32, 32), (2, 3, 48, 96)):
        image = rng.normal(size=shape).astype(np.float32)
        (found,) = session(unet.package).run(None, {"image": image})
        assert found.shape == (shape[0], 2, *shape[2:])
        assert np.allclose(found.sum(axis=1), 1, atol=1e-5)


def test_scaling_comes_from_the_training_chips_alone(unet, ponds):
    from sluice.labels.dataset import read_dataset

    dataset = read_dataset(ponds)
    train = np.flatnonzero(dataset.table["split"] == "train")
    pixels = dataset.images(train).transpose(1, 0, 2, 3).reshape(3, -1)
    pixels = pixels[:, np.isfinite(pixels).all(axis=0)].astype(np.float64)
    for spec, band in zip(unet.package.manifest.inputs, pixels, strict=True):
        assert spec.subtract == pytest.approx(band.mean())
        assert spec.divide == pytest.approx(band.std())


def test_figures_of_the_card_are_those_of_the_package(unet, ponds):
    """The ONNX weights, run by the manifest alone, find on the test chips what the card says."""
    from sluice.labels.dataset import read_dataset

    dataset, manifest = read_dataset(ponds), unet.package.manifest
    test = np.flatnonzero(dataset.table["split"] == "test")
    scaled, valid = Scaling(manifest.inputs)(torch.from_numpy(dataset.images(test)))
    (given,) = session(unet.package).run(None, {"image": scaled.numpy()})
    masks = dataset.masks(test)
    known = (masks != 255) & valid.numpy()
    found, truth = (1 - given[:, 0] >= manifest.thresholds.t_main)[known], masks[known] == 1
    assert (found & truth).sum() / (found | truth).sum() == pytest.approx(
        unet.report.iou.value, abs=0.002
    )


def test_torch_weights_lie_beside_and_are_checked(unet, tmp_path):
    package = unet.package
    content = package.read_extra("weights.safetensors")
    digest = hashlib.sha256(content).hexdigest()
    assert package.manifest.training["files"]["weights.safetensors"] == digest
    assert package.read_extra("curves.csv").startswith(b"epoch,loss,F1,learning_rate")
    with pytest.raises(WeightsError, match="has no other"):
        package.read_extra("other.csv")


def test_training_again_reads_the_finished_fit(unet, ponds, capsys):
    again = train_pixel_model(ponds, unet.package.folder.parent, UNET, NAMING)
    assert "epoch" not in capsys.readouterr().err
    assert again.package.manifest.weights == unet.package.manifest.weights
    assert again.package.manifest.thresholds == unet.package.manifest.thresholds


def test_a_training_that_was_cut_off_ends_with_the_same_weights(
    unet, ponds, tmp_path, monkeypatch, capsys
):
    from sluice.training import loop

    with monkeypatch.context() as patch:

        def stop(name, progress, *_):
            if progress.epoch == 3:
                raise KeyboardInterrupt

        patch.setattr(loop, "_tell", stop)
        with pytest.raises(KeyboardInterrupt):
            train_pixel_model(ponds, tmp_path, UNET, NAMING)
    again = train_pixel_model(ponds, tmp_path, UNET, NAMING)
    assert "epoch 4/6" in capsys.readouterr().err.splitlines()[0]
    before, after = (p.read_extra("weights.safetensors") for p in (unet.package, again.package))
    assert before == after
    assert again.report == unet.report


def test_chips_labelled_in_one_class_alone_are_refused(tmp_path):
    from sluice.labels.dataset import DatasetAbout, DatasetWriter

    def write(folder, label):
        writer = DatasetWriter(folder, DatasetAbout(name="d", bands=("red",), gsd_m=10))
        noise = np.random.default_rng(0)
        for k in range(20):
            image = noise.random((1, 16, 16)).astype(np.float32)
            writer.add(f"c{k}", image, None, np.full((16, 16), label, np.uint8))
        return writer.finish().folder

    options = UNetOptions(**TINY, width=2, sensor="s2-l2a")
    with pytest.raises(DataError, match="nothing sought"):
        train_pixel_model(write(tmp_path / "a", 0), tmp_path / "out", options, NAMING)
    with pytest.raises(DataError, match="no observed training pixel is of class other"):
        train_pixel_model(write(tmp_path / "b", 1), tmp_path / "out", options, NAMING)
    no_sensor = options.model_copy(update={"sensor": None})
    with pytest.raises(ConfigError, match="which sensor"):
        train_pixel_model(write(tmp_path / "c", 1), tmp_path / "out", no_sensor, NAMING)


def test_test_chips_change_nothing_but_the_figures(unet, tmp_path, ponds):
    other = tmp_path / "other"
    shutil.copytree(ponds, other)
    table = (other / "index.csv").read_text().splitlines()
    images = [line.split(",")[1] for line in table if ",test," in line]
    for k, image in enumerate(images):  # each other's under the test chips' names
        shutil.copy(ponds / images[k - 1], other / image)
    changed = train_pixel_model(other, tmp_path / "out", UNET, NAMING)
    before, after = unet.package.manifest, changed.package.manifest
    assert after.weights == before.weights
    assert (after.thresholds, after.calibration) == (before.thresholds, before.calibration)
    assert changed.report.iou != unet.report.iou


def test_all_but_test_chips_are_written_down(unet, ponds):
    dataset = read_dataset(ponds)
    tests = (dataset.table["split"] == "test").to_numpy()
    digests = np.array(chip_digests(dataset.images(np.arange(len(tests)))))
    assert read_taught(unet.package).all == set(digests[~tests])
    assert 0 < tests.sum() < len(tests)


def test_a_split_for_calibration_must_not_have_taught(unet, ponds, tmp_path):
    shutil.copytree(ponds, tmp_path / "swapped")
    table = pd.read_csv(ponds / "index.csv")
    count = (table["split"] == "train").sum()
    swapped = table.replace({"split": {"cal": "train", "train": "cal"}})
    swapped.to_csv(tmp_path / "swapped" / "index.csv", index=False)
    with pytest.raises(DataError, match=f"{count} of the {count} chips of split cal taught tiny:"):
        train_pixel_model(tmp_path / "swapped", tmp_path / "out", UNET, NAMING, unet.package)
    first = table.groupby("split")["image"].first()
    for one, other in (("train", "val"), ("train", "cal"), ("cal", "test")):
        shutil.copytree(ponds, tmp_path / other)
        shutil.copy(ponds / first[one], tmp_path / other / first[other])
        with pytest.raises(DataError, match=f"1 of the 8 chips of split {other} are pixel by pix"):
            train_pixel_model(tmp_path / other, tmp_path / "out", UNET, NAMING)
    assert not (tmp_path / "out").exists()


def without_cal(folder, to):
    """The same chips, but those for calibration serve for nothing."""
    shutil.copytree(folder, to)
    table = pd.read_csv(to / "index.csv").replace({"split": {"cal": "excluded"}})
    table.to_csv(to / "index.csv", index=False)
    return to


def test_fine_tuning_starts_where_the_parent_stood(unet, ponds, tmp_path, capsys):
    options = UNET.model_copy(update={"epochs": 1, "learning_rate": 1e-9, "indices": ()})
    child = train_pixel_model(
        without_cal(ponds, tmp_path / "d"),
        tmp_path,
        options,
        Naming("child", "CC0-1.0", "nobody"),
        unet.package,
    )
    told = (
        "8 of the 8 validation chips and 2 of the 2 calibration chips taught tiny, which fitting "
        "began from: figures, or thresholds, that are of them flatter this model"
    )
    assert f"child: {told}" in capsys.readouterr().err
    assert told in child.package.card_path.read_text(encoding="utf-8")
    manifest = child.package.manifest
    assert (manifest.pretrained, manifest.pretrained_source) == (True, "tiny")
    assert manifest.indices == ("ndwi",)
    assert manifest.inputs == unet.package.manifest.inputs
    assert manifest.training["from_model"] == unet.package.sha256
    assert child.report.f1.value > 0.9


def test_the_shape_is_the_parents_where_nobody_asks_for_another(unet):
    expected = network_record(families.UNET, UNetOptions())
    taken = take_shape(UNetOptions(epochs=3), {"epochs"}, unet.package, expected)
    assert (taken.width, taken.epochs) == (4, 3)
    asked = UNetOptions(width=16)
    assert take_shape(asked, {"width"}, unet.package, expected).width == 16
    other = network_record(families.SEGFORMER, SegFormerOptions())
    assert take_shape(SegFormerOptions(), set(), unet.package, other) == SegFormerOptions()
    workings = load_package("workings", None)
    assert take_shape(UNetOptions(), set(), workings, expected).width == 16
    default = load_package("default", None)
    cnn = take_shape(CnnOptions(), set(), default, ARCHITECTURES["amw-2024"].record)
    assert cnn.architecture == "chip-network"


def told(package, network):
    """The same package, but with other words on its network."""
    training = {**package.manifest.training, "network": network}
    manifest = package.manifest.model_copy(update={"training": training})
    return dataclasses.replace(package, manifest=manifest)


def test_a_shape_that_no_network_has_is_refused(unet):
    expected = network_record(families.UNET, UNetOptions())
    damaged = told(unet.package, {"family": "unet", "width": "many"})
    with pytest.raises(ManifestMismatch, match=r"model tiny: training\.network.*width"):
        take_shape(UNetOptions(), set(), damaged, expected)
    record = ARCHITECTURES["amw-2024"].record
    damaged = told(unet.package, {**record, "architecture": "amw-1999"})
    with pytest.raises(ManifestMismatch, match=r"training\.network.*architecture: .*amw-2024"):
        take_shape(CnnOptions(), set(), damaged, record)


def test_a_fit_that_breaks_down_leaves_no_model(ponds, tmp_path, monkeypatch):
    real = pixel_model.choose_loss

    def choose(options, class_pixels):
        loss, steps = real(options, class_pixels), iter(range(100))
        # 16 chips to learn from: four steps an epoch.
        return lambda *given: loss(*given) * (torch.nan if next(steps) > 9 else 1)

    monkeypatch.setattr(pixel_model, "choose_loss", choose)
    with pytest.raises(DataError, match="broke down in epoch 3: the loss is nan"):
        train_pixel_model(ponds, tmp_path, UNET, NAMING)
    assert [path.name for path in tmp_path.iterdir()] == ["work"]


def test_new_classes_keep_all_but_the_last_layer(unet, tmp_path):
    classes = ("other", "active", "old")
    write_masked_chips(tmp_path / "d", classes=classes, splits=True, seed=6)
    options = UNET.model_copy(update={"epochs": 1, "loss": "weighted_bce"})
    child = train_pixel_model(tmp_path / "d", tmp_path, options, NAMING, unet.package)
    assert child.package.manifest.classes == ("other", "active", "old")
    assert set(child.report.class_iou) == {"other", "active", "old"}


def test_another_shape_or_other_bands_cannot_go_on(unet, ponds, tmp_path):
    wider = UNET.model_copy(update={"width": 8})
    with pytest.raises(ManifestMismatch, match=r"width 4.*width 8"):
        train_pixel_model(ponds, tmp_path, wider, NAMING, unet.package)
    with pytest.raises(ManifestMismatch, match=r"unet.*segformer"):
        train_pixel_model(ponds, tmp_path, SegFormerOptions(**TINY), NAMING, unet.package)
    fewer = UNET.model_copy(update={"bands": ("red", "nir")})
    with pytest.raises(ManifestMismatch, match="takes the bands"):
        train_pixel_model(ponds, tmp_path, fewer, NAMING, unet.package)


def test_that_all_chips_hold_what_is_sought_is_told(unet, ponds, tmp_path, capsys):
    train_pixel_model(ponds, unet.package.folder.parent, UNET, NAMING)
    assert "holds what is sought" not in capsys.readouterr().err
    write_masked_chips(tmp_path / "d", splits=True, everywhere=True)
    options = UNET.model_copy(update={"epochs": 1, "positive_share": None})
    train_pixel_model(tmp_path / "d", tmp_path / "m", options, NAMING)
    told = [line for line in capsys.readouterr().err.splitlines() if "what is sought" in line]
    assert len(told) == 1
    assert told[0].startswith("tiny: every training chip holds what is sought")
    assert "--negatives 1" in told[0]


def test_a_damaged_parent_is_refused(unet, tmp_path):
    ponds = write_masked_chips(tmp_path / "d", splits=True, seed=6).folder
    folder = tmp_path / "tiny"
    shutil.copytree(unet.package.folder, folder)
    file = folder / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(WeightsError, match="SHA-256"):
        train_pixel_model(ponds, tmp_path / "out", UNET, NAMING, load_package(folder, None))
    # A manifest that was changed along with it does not help either.
    manifest = json.loads((folder / "manifest.json").read_text())
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    manifest["training"]["files"]["weights.safetensors"] = digest
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(WeightsError, match="damaged"):
        train_pixel_model(ponds, tmp_path / "out", UNET, NAMING, load_package(folder, None))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"bands": ("red", "swir16"), "indices": ()}, BandNotFound, "swir16 is missing"),
        ({"indices": ("mndwi",)}, BandNotFound, "swir16 is missing"),
        ({"patch_px": 24}, ConfigError, "multiple of 16"),
        ({"patch_overlap_px": 32}, ConfigError, "more than half"),
        ({"batch": 64}, DataError, "fewer than a batch"),
        ({"sensor": "landsat"}, ConfigError, "not known"),
        ({"sensor": "s1"}, BandNotFound, "needed by sensor s1"),
        ({"loss": "focal", "class_weights": (1.0,)}, ConfigError, "1 numbers"),
    ],
)
def test_what_cannot_be_is_refused_before_fitting(ponds, tmp_path, change, error, words):
    with pytest.raises(error, match=words):
        train_pixel_model(ponds, tmp_path / "out", UNET.model_copy(update=change), NAMING)
    assert not (tmp_path / "out").exists()


def test_names_that_no_folder_can_have_are_refused():
    with pytest.raises(ConfigError, match="cannot name"):
        Naming("A model", "CC0-1.0", "nobody")
    with pytest.raises(ConfigError, match="must not be empty"):
        Naming("a", " ", "nobody")


def test_a_segformer_becomes_a_package(tmp_path):
    write_masked_chips(tmp_path / "d", side=40, chips=20, splits=True, bands=("red", "nir"))
    options = SegFormerOptions(
        **{**TINY, "epochs": 1, "learning_rate": 1e-3},
        decoder_width=32,
        patch_px=32,
        loss="tversky",
        scaling="clip",
        window_px=2,
    )
    trained = train_pixel_model(tmp_path / "d", tmp_path, options, NAMING)
    manifest = load_package(trained.package.folder, None).manifest
    assert set(manifest.architecture.split(", ")) == {"SegFormer", "size b0", "decoder_width 32"}
    assert (manifest.window_px, manifest.stride_m, manifest.patch_px) == (2, 20, 32)
    assert manifest.inputs[0].high == 1
    assert trained.report.pixels < 4 * 20 * 20, "figures are of squares"
    assert "squares of 2 x 2" in trained.package.card_path.read_text(encoding="utf-8")
    image = np.random.default_rng(0).normal(size=(1, 2, 64, 96)).astype(np.float32)
    (found,) = session(trained.package).run(None, {"image": image})
    assert found.shape == (1, 2, 64, 96)


@pytest.mark.parametrize("split", ["", "pool", "train"])
@pytest.mark.parametrize("share", ["ground", "content"])
def test_parts_that_are_drawn_share_neither_ground_nor_chips(tmp_path, split, share):
    about = DatasetAbout(name="near", bands=("red", "nir"), sensor="s2-l2a", gsd_m=10)
    writer = DatasetWriter(tmp_path / "near", about)
    rng = np.random.default_rng(0)
    for k in range(60):
        # All of groups of their own; two and two are half a chip apart, or the same chip elsewhere.
        east = 600_000 + 1000 * (k // 2) + (80 if share == "ground" else 30_000) * (k % 2)
        grid = GeoBox((16, 16), Affine(10, 0, east, 0, -10, 9_300_000), "EPSG:32721")
        mask = np.zeros((16, 16), np.uint8)
        mask[4:9, 4:9] = k // 2 % 2
        if share == "ground" or k % 2 == 0:
            image = rng.uniform(0, 0.4, (2, 16, 16)).astype(np.float32)
        name = "val" if split == "train" and k < 16 else split
        writer.add(f"c{k}", image, grid, mask, split=name)
    found = look_through(writer.finish(), UNetOptions(width=2, batch=2), 16, None)
    parts = [set(getattr(found.division, name) // 2) for name in ("train", "val", "cal", "test")]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 30
    assert found.joined_groups == 30


def test_chips_that_overlap_across_splits_are_refused(tmp_path):
    about = DatasetAbout(name="near", bands=("red", "nir"), sensor="s2-l2a", gsd_m=10)
    writer = DatasetWriter(tmp_path / "near", about)
    rng = np.random.default_rng(0)
    splits = ("train", "train", "val", "cal", "test") * 2
    for k, split in enumerate(splits):
        # Each half a chip from the last, and all of groups of their own.
        grid = GeoBox((16, 16), Affine(10, 0, 600_000 + 80 * k, 0, -10, 9_300_000), "EPSG:32721")
        mask = np.full((16, 16), k // 5, np.uint8)
        image = rng.uniform(0, 0.4, (2, 16, 16)).astype(np.float32)
        writer.add(f"c{k}", image, grid, mask, split=split)
    writer.finish()
    with pytest.raises(DataError, match="of two splits overlap"):
        train_pixel_model(
            tmp_path / "near",
            tmp_path / "out",
            UNetOptions(width=2, epochs=1, batch=2),
            Naming(name="x", licence="CC0-1.0", attribution="nobody"),
        )
