"""Networks that judge windows: published shapes, draws of places, the whole way to a package."""

import dataclasses
import shutil

import h5py
import numpy as np
import onnxruntime
import pandas as pd
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

torch = pytest.importorskip("torch", reason="training needs torch: make test EXTRAS=dev,train")
pytest.importorskip("matplotlib", reason="curves need matplotlib")

from sluice.base.errors import BandNotFound, DataError, ManifestMismatch  # noqa: E402
from sluice.composite.adapt import adapt_bands  # noqa: E402
from sluice.evaluation.decisions import decide_windows  # noqa: E402
from sluice.labels.chip_digests import chip_digests  # noqa: E402
from sluice.labels.dataset import DatasetAbout, DatasetWriter, read_dataset  # noqa: E402
from sluice.models.package import load_package  # noqa: E402
from sluice.models.predictor import WindowPredictor  # noqa: E402
from sluice.models.taught import read_taught  # noqa: E402
from sluice.training import window_model  # noqa: E402
from sluice.training.chip_reading import ChipReader  # noqa: E402
from sluice.training.families import load_tensors  # noqa: E402
from sluice.training.naming import Naming  # noqa: E402
from sluice.training.options import CnnOptions  # noqa: E402
from sluice.training.parent_chips import JudgingChips, ParentChips  # noqa: E402
from sluice.training.patch_cnn import ARCHITECTURES, WindowEnsemble  # noqa: E402
from sluice.training.scaling import Scaling, inputs_for  # noqa: E402
from sluice.training.window_members import draw_places, start_member  # noqa: E402
from sluice.training.window_model import train_window_model  # noqa: E402
from sluice.training.window_task import score_windows  # noqa: E402
from training_cases import write_masked_chips  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = CnnOptions(
    epochs=2,
    batch=8,
    warmup_steps=5,
    members=2,
    folds=2,
    learning_rate=5e-3,
    architecture="amw-2021",
    bands="rgb",
    plateau_patience=1,
)
NAMING = Naming("tiny-cnn", "CC0-1.0", "nobody")


def parameters(name, bands):
    return sum(p.numel() for p in ARCHITECTURES[name].build(bands).parameters())


def published(path):
    sizes = []
    with h5py.File(path) as file:
        file["model_weights"].visititems(
            lambda _, item: sizes.append(item.size) if isinstance(item, h5py.Dataset) else None
        )
    return sum(sizes)


def test_numbers_of_weights_are_the_published_ones(shared_data):
    folder = shared_data / "amw-models"
    # A softmax of two has 65 numbers more than a sigmoid.
    rgb, all_bands = (
        published(folder / f"44px_{version}_2021-11-11.h5") for version in ("v2.6_rgb", "v2.8")
    )
    assert parameters("amw-2021", 3) == rgb - 65
    assert parameters("amw-2021", 12) == all_bands - 65
    six = published(folder / "48px_v3.2-3.7ensemble_2024-02-13.h5")
    assert parameters("amw-2024", 12) == six / 6
    small = published(folder / "48px_v4.21-CNN100ka_2026-05-08ep179.h5")
    assert parameters("amw-2026-100k", 13) == small


def test_the_larger_network_of_2026_has_800_thousand_weights():
    assert parameters("amw-2026", 13) == pytest.approx(800_000, rel=0.03)
    layers = [type(m).__name__ for m in ARCHITECTURES["amw-2026"].build(13)][:10]
    assert layers == [*(("Conv2d", "ReLU", "BatchNorm2d") * 3), "MaxPool2d"]


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_every_architecture_gives_one_score_a_window(name):
    architecture = ARCHITECTURES[name]
    ensemble = WindowEnsemble([architecture.build(4), architecture.build(4)]).eval()
    image = torch.rand(3, 4, architecture.sight_px, architecture.sight_px)
    with torch.inference_mode():
        scores = ensemble(image)
        one, two = (torch.sigmoid(member(image)) for member in ensemble.members)
    assert scores.flatten(1).shape == (3, 1)
    assert torch.allclose(scores, (one + two) / 2)


def test_places_are_drawn_whole_and_the_rest_is_never_seen():
    table = pd.DataFrame({"group": np.repeat(np.arange(40), 3), "label": np.repeat([0, 1], 60)})
    rows = np.arange(120)
    drawn, rest = draw_places(table, rows, 0.7, seed=3)
    assert len(drawn) == 2 * 14 * 3
    assert not set(drawn // 3) & set(rest // 3)
    assert set(drawn // 3) | set(rest // 3) == set(range(40))
    assert len(set(drawn)) < len(drawn), "with repetition"
    assert np.bincount(drawn // 3).max() % 3 == 0
    again, _ = draw_places(table, rows, 0.7, seed=3)
    assert np.array_equal(drawn, again)
    with pytest.raises(DataError, match="too few to draw from"):
        draw_places(table, rows[:63], 0.7, seed=3)


def write_row(folder, east_m, splits):
    """Chips in a row, by metres to the east, each a group of its own."""
    about = DatasetAbout(name="row", bands=("red", "green", "blue"), sensor="s2-l2a", gsd_m=10)
    writer = DatasetWriter(folder, about)
    rng = np.random.default_rng(0)
    for k, (east, split) in enumerate(zip(east_m, splits, strict=True)):
        grid = GeoBox((48, 48), Affine(10, 0, 600_000 + east, 0, -10, 9_300_000), "EPSG:32721")
        image = rng.uniform(0, 0.3, (3, 48, 48)).astype(np.float32)
        writer.add(f"c{k}", image, grid, np.full((48, 48), k % 2, np.uint8), split=split)
    writer.finish()


def test_a_test_chip_on_ground_that_teaches_is_refused(tmp_path):
    """Chips of 480 m, though the network looks at the 440 m in the middle."""
    write_row(tmp_path / "row", [0, 1000, 2000, 2460], ["train"] * 3 + ["test_far"])
    with pytest.raises(DataError, match=r"1 pairs .* c2 and c3 \(460 m between"):
        train_window_model(tmp_path / "row", tmp_path / "out", TINY, NAMING)
    assert not (tmp_path / "out").exists()


def test_groups_that_overlap_are_folded_and_drawn_as_one(tmp_path, monkeypatch, capsys):
    class Asked(Exception):
        pass

    def ask(ensemble, members):
        raise Asked(ensemble, members)

    east = [2000.0 * (k // 2) + 100 * (k % 2) for k in range(24)]
    write_row(tmp_path / "row", east, ["test"] * 2 + ["train"] * 22)
    monkeypatch.setattr(window_model, "fit_window_members", ask)
    with pytest.raises(Asked) as asked:
        train_window_model(tmp_path / "row", tmp_path / "out", TINY, NAMING)
    ensemble, members = asked.value.args
    assert ensemble.groups.tolist() == [f"c{2 * (k // 2)}" for k in range(2, 24)]
    for member in members:
        assert not set(member.rows // 2) & set(member.score_rows // 2)
    assert "tiny-cnn: groups made one with others" in capsys.readouterr().err


@pytest.fixture(scope="module")
def ponds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "ponds"
    write_masked_chips(folder, chips=48, side=50, bands=("red", "green", "blue", "nir"))
    return folder


@pytest.fixture(scope="module")
def trained(ponds, tmp_path_factory, one_thread):
    return train_window_model(ponds, tmp_path_factory.mktemp("models"), TINY, NAMING)


def test_an_ensemble_learns_and_loads_as_a_package(trained, ponds):
    manifest = load_package(trained.package.folder, None).manifest
    assert (manifest.window_px, manifest.dense_stride_px, manifest.stride_m) == (44, None, 220)
    assert manifest.bands == ("red", "green", "blue")
    assert manifest.inputs[0].subtract != 0, "the architecture's own scaling"
    assert manifest.architecture == "amw-2021, 2 members"
    assert trained.out_of_fold["score"].notna().all()
    assert trained.report.overall.average_precision.value > 0.95
    csv = pd.read_csv(trained.package.folder.parent / "out_of_fold.csv")
    assert csv["score"].to_numpy() == pytest.approx(trained.out_of_fold["score"].to_numpy())


def test_the_package_is_the_mean_of_its_members(trained, ponds):
    """By the manifest and the ONNX alone, chips get the mean of what the torch weights give."""
    from safetensors.torch import load

    from sluice.training.scaling import Scaling

    dataset = read_dataset(ponds)
    images = dataset.images(np.arange(6))
    found = WindowPredictor(trained.package).score_chips(images, dataset.about.bands)
    ensemble = WindowEnsemble([ARCHITECTURES["amw-2021"].build(3) for _ in range(2)]).eval()
    ensemble.load_state_dict(load(trained.package.read_extra("weights.safetensors")))
    scaled, _ = Scaling(trained.package.manifest.inputs)(
        torch.from_numpy(images[:, :3, 3:47, 3:47].copy())
    )
    with torch.inference_mode():
        expected = ensemble(scaled)[:, 0].numpy()
    assert np.abs(found - expected).max() < 1e-4


def test_fine_tuning_takes_the_members_up_in_turn(trained, ponds, tmp_path, capsys):
    options = TINY.model_copy(update={"epochs": 1, "members": 3, "learning_rate": 1e-9})
    child = train_window_model(
        ponds, tmp_path, options, Naming("child", "CC0-1.0", "nobody"), trained.package
    )
    assert child.package.manifest.pretrained_source == "tiny-cnn"
    told = "48 of the 48 chips of the folds taught tiny-cnn, which fitting began from: figures"
    assert f"child: {told}" in capsys.readouterr().err
    assert child.report.warning.startswith(told)
    assert child.report.data.endswith("each scored by networks fitted without its places")
    card = child.package.card_path.read_text("utf-8")
    assert told in card
    assert "never saw its places" not in card
    from safetensors.torch import load

    parent, own = (
        load(p.read_extra("weights.safetensors")) for p in (trained.package, child.package)
    )
    name = "members.{}.0.weight"
    for k in range(3):
        assert torch.allclose(own[name.format(k)], parent[name.format(k % 2)], atol=1e-4)
    other = TINY.model_copy(update={"architecture": "amw-2024"})
    with pytest.raises(ManifestMismatch, match=r"amw-2021.*amw-2024"):
        train_window_model(ponds, tmp_path, other, NAMING, trained.package)


def test_the_default_models_networks_come_out_of_its_onnx():
    package = load_package("default", None)
    networks = [ARCHITECTURES["chip-network"].build(3) for _ in range(4)]
    ensemble = WindowEnsemble(networks).eval()
    ensemble.load_state_dict(load_tensors(package))
    images = np.random.default_rng(0).random((6, 3, 96, 104), dtype=np.float32)
    session = onnxruntime.InferenceSession(package.read_weights())
    (expected,) = session.run(None, {"image": images})
    with torch.inference_mode():
        found = ensemble(torch.from_numpy(images)).numpy()
        # Four that differ: each looks from its side.
        sums = {float(network(torch.from_numpy(images)).sum()) for network in networks}
    assert found.shape == expected.shape == (6, 1, 3, 4)
    assert np.abs(found - expected).max() < 1e-5
    assert len(sums) == 4


@pytest.mark.parametrize("sensor", ["s2-l1c", "s2-l2a"])
def test_training_starts_at_the_default_models_scores(tmp_path, sensor):
    """Of surface reflectance too, which the default model's manifest adapts."""
    write_masked_chips(tmp_path, chips=12, side=80, bands=("red", "green", "blue"))
    default, data = load_package("default", None), read_dataset(tmp_path)
    rows, cnn = np.arange(12), ARCHITECTURES["chip-network"]
    scaling = Scaling(inputs_for(default.manifest, sensor))
    scores = []
    for k in range(4):
        network = cnn.build(3).eval()
        start_member(network, default, k)
        reader = ChipReader(data, default.manifest.bands, 0, with_masks=False)
        with torch.inference_mode():
            scores.append(score_windows(network, reader, rows, scaling, cnn)[0])
    images = data.images(rows)
    adapted = default.manifest.adaptation_for(sensor)
    assert (adapted is None) == (sensor == "s2-l1c")
    seen = images if adapted is None else np.stack([adapt_bands(i, adapted) for i in images])
    expected = WindowPredictor(default).score_chips(seen, default.manifest.bands)
    assert np.ptp(expected) > 0.01
    assert np.abs(np.mean(scores, axis=0) - expected).max() < 1e-5


def test_a_model_that_went_on_from_the_default_one_is_a_package(tmp_path):
    bands = ("red", "green", "blue", "nir")
    write_masked_chips(tmp_path / "d", chips=32, side=80, bands=bands)
    default = load_package("default", None)
    changes = {"architecture": "chip-network", "epochs": 1, "members": 1, "bands": ()}
    options = TINY.model_copy(update={**changes, "learning_rate": 1e-9})
    naming = Naming("mine", "CC0-1.0", "nobody")
    own = train_window_model(tmp_path / "d", tmp_path / "out", options, naming, default).package
    assert own.manifest.pretrained_source == "default"
    assert own.manifest.bands == default.manifest.bands
    assert own.manifest.training["parent_lessons"] == [{"data": "amw-chips", "split": "pool"}]
    card = own.card_path.read_text("utf-8")
    assert "does not list all chips that taught it (it learnt from amw-chips, split pool)" in card
    assert "whether the 32 chips of the folds are among them is not known" in card
    assert "never saw its places" not in card
    name = "members.0.features.12.weight"
    assert torch.allclose(load_tensors(own)[name], load_tensors(default)[name], atol=1e-6)


def test_the_default_model_takes_its_own_bands_and_shape_alone(tmp_path):
    write_masked_chips(tmp_path / "d", side=80, bands=("red", "nir"))
    default, naming = load_package("default", None), Naming("mine", "CC0-1.0", "nobody")
    options = TINY.model_copy(update={"architecture": "chip-network", "bands": ()})
    with pytest.raises(BandNotFound, match="green, blue"):
        train_window_model(tmp_path / "d", tmp_path / "out", options, naming, default)
    both = options.model_copy(update={"bands": ("red", "nir")})
    with pytest.raises(ManifestMismatch, match="takes the bands red, green, blue"):
        train_window_model(tmp_path / "d", tmp_path / "out", both, naming, default)
    with pytest.raises(ManifestMismatch, match=r"chip-network.*amw-2021"):
        train_window_model(tmp_path / "d", tmp_path / "out", TINY, naming, default)


@pytest.mark.slow
def test_two_at_a_time_are_the_same_networks(trained, ponds, tmp_path):
    options = TINY.model_copy(update={"workers": 2})
    beside = train_window_model(ponds, tmp_path, options, NAMING)
    assert beside.package.manifest.weights == trained.package.manifest.weights
    assert np.array_equal(beside.out_of_fold["score"], trained.out_of_fold["score"])


def test_the_package_knows_its_chips_and_those_of_its_parent(trained, ponds, tmp_path):
    own = set(chip_digests(read_dataset(ponds).images(trained.out_of_fold.index.to_numpy())))
    assert read_taught(trained.package).all == own
    bands = ("red", "green", "blue")
    other = write_masked_chips(tmp_path / "other", chips=24, side=50, bands=bands, seed=6)
    options = TINY.model_copy(update={"epochs": 1, "members": 1, "bands": ()})
    child = train_window_model(
        tmp_path / "other", tmp_path, options, Naming("child", "CC0-1.0", "n"), trained.package
    )
    added = set(chip_digests(other.images(child.out_of_fold.index.to_numpy())))
    assert read_taught(child.package).all == own | added
    assert added - own
    card = child.package.card_path.read_text("utf-8")
    assert "None of the 24 chips of the folds taught tiny-cnn, which fitting began from." in card
    assert "each scored by networks that never saw its places" in card
    assert child.report.warning is None


def test_chips_kept_for_thresholds_must_not_have_taught_the_parent(trained, ponds, tmp_path):
    shutil.copytree(ponds, tmp_path / "d")
    table = pd.read_csv(tmp_path / "d" / "index.csv")
    table["split"] = np.where(np.arange(48) % 12 < 9, "pool", "cal")
    table.to_csv(tmp_path / "d" / "index.csv", index=False)
    with pytest.raises(DataError, match="12 of the 12 chips of split cal taught tiny-cnn"):
        train_window_model(tmp_path / "d", tmp_path / "out", TINY, NAMING, trained.package)
    assert not (tmp_path / "out").exists()


def test_chips_of_the_default_models_data_are_known_by_name(tmp_path):
    bands = ("red", "green", "blue")
    data = write_masked_chips(tmp_path, chips=6, side=16, bands=bands, splits=True)
    table = data.table.assign(split=["pool"] * 4 + ["cal"] * 2)
    about = data.about.model_copy(update={"name": "amw-chips"})
    data = dataclasses.replace(data, about=about, table=table)
    known = ParentChips(load_package("default", None))
    chips = JudgingChips("chips", np.arange(6), [""] * 6)
    assert known.meet(data, [chips]).count == 4
    with pytest.raises(DataError, match="4 of the 6 chips of split cal taught default"):
        known.refuse(data, chips)
    known.refuse(data, JudgingChips("chips", np.array([4, 5]), ["", ""]))


def test_chips_that_teach_are_not_kept_for_thresholds_too(tmp_path):
    """The same chip under two names, in groups of their own, its place unknown."""
    in_splits(tmp_path / "d", ("pool", "pool", "cal"))
    images = tmp_path / "d" / "images"
    shutil.copy(images / "c0.tif", images / "c4.tif")
    with pytest.raises(DataError, match=r"1 of the 26 chips of split cal .* chips that teach"):
        train_window_model(tmp_path / "d", tmp_path / "out", TINY, NAMING)


def test_the_same_chip_under_two_names_is_in_one_fold(tmp_path, monkeypatch, capsys):
    in_splits(tmp_path / "d", ("pool",))
    for k in (4, 8, 12):
        shutil.copy(tmp_path / "d" / "images" / "c0.tif", tmp_path / "d" / "images" / f"c{k}.tif")

    def look(_, members):
        raise LookupError([set(m.score_rows) for m in members if m.name.startswith("fold")])

    monkeypatch.setattr(window_model, "fit_window_members", look)
    with pytest.raises(LookupError) as found:
        train_window_model(tmp_path / "d", tmp_path / "out", TINY, NAMING)
    (folds,) = found.value.args
    assert {len({0, 4, 8, 12} & fold) for fold in folds} == {0, 4}
    assert "overlap by place or are the same: 3 " in capsys.readouterr().err


def test_our_own_network_slides(ponds, tmp_path):
    options = TINY.model_copy(
        update={"architecture": "chip-network", "epochs": 1, "members": 1, "bands": ("rgb+nir",)}
    )
    package = train_window_model(ponds, tmp_path, options, NAMING).package
    assert (package.manifest.dense_stride_px, package.manifest.inputs[0].divide) == (8, 0.3)
    assert package.manifest.bands == ("red", "green", "blue", "nir")


def in_splits(folder, names):
    """Small chips of ponds; every tenth part of them is of a split by its turn."""
    bands = ("red", "green", "blue")
    write_masked_chips(folder, chips=80, side=50, bands=bands, group_of=2)
    table = pd.read_csv(folder / "index.csv")
    table["split"] = [names[(k // 2) % len(names)] for k in range(len(table))]
    table.to_csv(folder / "index.csv", index=False)
    return read_dataset(folder)


def test_a_split_for_calibration_sets_threshold_and_calibration(tmp_path):
    data = in_splits(tmp_path / "d", ("pool", "pool", "cal"))
    options = TINY.model_copy(update={"epochs": 1})
    trained = train_window_model(tmp_path / "d", tmp_path, options, NAMING)
    manifest, cal = trained.package.manifest, data.table["split"] == "cal"
    assert manifest.calibration.fitted_on == f"{cal.sum()} chips of ponds, split cal"
    # The package's own scores of these chips, decided upon by hand.
    rows = np.flatnonzero(cal)
    scores = WindowPredictor(trained.package).score_chips(data.images(rows), data.about.bands)
    labels = data.table["label"].to_numpy()[rows]
    expected = decide_windows(scores, labels, "")
    assert manifest.thresholds.t_main == pytest.approx(expected.t_main, abs=1e-4)
    assert manifest.calibration.log_likelihood_ratio == pytest.approx(
        expected.calibration.log_likelihood_ratio, abs=0.01
    )
    assert not set(trained.out_of_fold.index) & set(rows)
    assert set(chip_digests(data.images(rows))) <= read_taught(trained.package).all
    assert manifest.training["chips"] == (~cal).sum()
    assert "own scores of a split kept for that" in trained.package.card_path.read_text("utf-8")
    # It taught no weights: what goes on from this model may be calibrated on it again.
    child = train_window_model(tmp_path / "d", tmp_path / "child", options, NAMING, trained.package)
    lessons = read_taught(child.package)
    assert lessons.decisions == set(chip_digests(data.images(rows)))
    assert not lessons.decisions & lessons.weights


def test_a_split_too_small_for_calibration_is_told_and_left_alone(tmp_path, capsys):
    data = in_splits(tmp_path / "d", ("pool",) * 9 + ("cal",))
    options = TINY.model_copy(update={"epochs": 1, "members": 1})
    package = train_window_model(tmp_path / "d", tmp_path, options, NAMING).package
    assert "ponds, split cal: fewer than 10 chips of each label" in capsys.readouterr().err
    assert package.manifest.calibration.fitted_on.startswith("out-of-fold scores of 72 chips")
    rows = np.flatnonzero(data.table["split"] == "cal")
    assert not set(chip_digests(data.images(rows))) & read_taught(package).all


def test_the_loss_that_was_asked_for_is_fitted(trained, ponds, tmp_path):
    changes = {"loss": "focal", "gamma": 1.0, "epochs": 1, "members": 1}
    options = TINY.model_copy(update=changes)
    package = train_window_model(ponds, tmp_path, options, NAMING).package
    assert package.manifest.training["options"]["loss"] == "focal"

    def losses(folder):
        return pd.read_csv(folder / "work" / "tiny-cnn-fold-0-0-curves.csv")["loss"]

    # Half of what is undecided, by (1 - p) at p = 0.5, and less of what is decided.
    plain = losses(trained.package.folder.parent)
    assert losses(tmp_path)[0] < 0.7 * plain[0]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"bands": ("rgb", "swir16")}, BandNotFound, "rgb, swir16 is missing"),
        ({"folds": 30}, DataError, "use fewer folds"),
        ({"batch": 500}, DataError, "fewer than a batch"),
    ],
)
def test_what_cannot_be_is_refused(ponds, tmp_path, change, error, words):
    with pytest.raises(error, match=words):
        train_window_model(ponds, tmp_path / "out", TINY.model_copy(update=change), NAMING)


def test_chips_smaller_than_the_window_are_refused(tmp_path):
    write_masked_chips(tmp_path / "d", bands=("red", "green", "blue"))
    with pytest.raises(DataError, match="smaller than the window"):
        train_window_model(tmp_path / "d", tmp_path / "out", TINY, NAMING)
