"""Training on tiny chips: equalities that must hold whatever is learned."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="training needs torch: make test EXTRAS=dev,train")

from sluice.base.errors import ConfigError, DataError, WeightsError  # noqa: E402
from sluice.evaluation.decisions import decide_windows  # noqa: E402
from sluice.labels.chip_digests import chip_digests  # noqa: E402
from sluice.labels.chips import CHIP_BANDS, chip_reflectance, load_chips  # noqa: E402
from sluice.labels.dataset import read_dataset  # noqa: E402
from sluice.models.local_scores import LocalScorer  # noqa: E402
from sluice.models.predictor import WindowPredictor  # noqa: E402
from sluice.models.taught import read_taught  # noqa: E402
from sluice.training import chip_detector  # noqa: E402
from sluice.training.augment import (  # noqa: E402
    Augmentation,
    augment,
    hide_surroundings,
    surround,
)
from sluice.training.chip_detector import TrainedDetector, train_chip_detector  # noqa: E402
from sluice.training.export import export_onnx  # noqa: E402
from sluice.training.fit import (  # noqa: E402
    ChipSet,
    FitSettings,
    fit_network,
    fit_or_load,
    score_chips,
)
from sluice.training.members import Member, chip_set, fit_members  # noqa: E402
from sluice.training.network import ChipNetwork, NetworkShape  # noqa: E402

TINY = FitSettings(epochs=2, batch=16, widths=(4, 8, 8, 8), warmup_steps=2)


def striped_chips(n: int, seed: int = 0) -> ChipSet:
    """Mines are checkered, the rest is plain: any network that learns at all tells them apart."""
    rng = np.random.default_rng(seed)
    images = rng.integers(60, 90, (n, 3, 48, 48)).astype(np.uint8)
    labels = np.arange(n) % 2 == 0
    images[labels, :, ::4, ::4] = 250
    return ChipSet(images, labels, (0.2, 0.2, 0.2))


def random_network(seed: int = 0) -> ChipNetwork:
    torch.manual_seed(seed)
    network = ChipNetwork(NetworkShape(widths=(4, 8, 16, 24)))
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network.eval()


def test_dense_pass_equals_cut_windows() -> None:
    network = random_network()
    image = torch.rand(1, 3, 80 + 5 * 8, 80 + 3 * 8 + 5)
    with torch.inference_mode():
        dense = network(image)
        cut = torch.cat(
            [
                network(image[:, :, r * 8 : r * 8 + 80, c * 8 : c * 8 + 80]).flatten()
                for r in range(6)
                for c in range(4)
            ]
        ).view(1, 1, 6, 4)
    assert dense.shape == cut.shape
    assert float((dense - cut).abs().max()) < 1e-5


def test_layers_of_a_turned_network_see_what_they_see_in_the_turned_image() -> None:
    network = random_network()
    # Where pooling leaves no row over, nothing but the turn is left.
    stem = network.features[:4]
    image = torch.rand(1, 3, 80, 80)
    with torch.inference_mode():
        for turns in range(4):
            expected = torch.rot90(stem(torch.rot90(image, -turns, (2, 3))), turns, (2, 3))
            assert torch.allclose(network.turned(turns).features[:4](image), expected, atol=1e-5)


def test_exported_ensemble_is_the_mean_of_its_members(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    members = [random_network(1), random_network(2)]
    weights = export_onnx(members, 3)
    image = torch.rand(2, 3, 96, 88)
    session = onnxruntime.InferenceSession(weights, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"image": image.numpy()})
    with torch.inference_mode():
        expected = (torch.sigmoid(members[0](image)) + torch.sigmoid(members[1](image))) / 2
    assert np.abs(found - expected.numpy()).max() < 1e-5


def test_views_of_a_network_share_its_weights_in_the_file() -> None:
    onnx = pytest.importorskip("onnx")
    one = random_network()

    def kernels(weights: bytes) -> int:
        stored = onnx.load_model_from_string(weights).graph.initializer
        # A kernel of one by one looks the same from every side: it may well be there four times.
        return sum(np.prod(t.dims) for t in stored if len(t.dims) == 4 and t.dims[-1] > 1)

    views = [one.turned(turns) for turns in range(4)]
    assert kernels(export_onnx(views, 3)) == kernels(export_onnx([one], 3)) > 0


def test_fit_learns_and_repeats() -> None:
    chips = striped_chips(96)
    index = np.arange(64)
    settings = TINY.model_copy(update={"epochs": 6})
    first = fit_network(chips, index, settings)
    again = fit_network(chips, index, settings)
    scores = score_chips(first, chips, np.arange(64, 96))
    assert np.array_equal(scores, score_chips(again, chips, np.arange(64, 96)))
    held_out = chips.labels[64:]
    assert scores[held_out].min() > scores[~held_out].max()


def test_fit_needs_both_labels() -> None:
    chips = striped_chips(32)
    with pytest.raises(DataError, match="with mines and without"):
        fit_network(chips, np.arange(0, 32, 2), TINY)


def test_a_fit_goes_on_from_a_start_and_leaves_it_as_it_is() -> None:
    chips = striped_chips(64)
    start = ChipNetwork(NetworkShape(widths=TINY.widths))
    before = copy.deepcopy(start.state_dict())
    standing_still = TINY.model_copy(update={"learning_rate": 1e-9})
    kept = fit_network(chips, np.arange(64), standing_still, start=start)
    moved = fit_network(chips, np.arange(64), TINY, start=start)
    for name, weights in start.named_parameters():
        assert torch.equal(weights, before[name])
        assert torch.allclose(dict(kept.named_parameters())[name], weights, atol=1e-6)
    assert not torch.allclose(moved.logit.weight, start.logit.weight, atol=1e-6)


def test_a_teachers_scores_are_taken_as_they_are() -> None:
    chips = striped_chips(64)
    unsure = replace(chips, labels=np.where(chips.labels, 0.8, 0.2))
    settings = TINY.model_copy(update={"label_smoothing": 0.0})
    smoothed = TINY.model_copy(update={"label_smoothing": 0.4})  # Makes 0.8 and 0.2 of labels.
    index = np.arange(64)
    taught = score_chips(fit_network(unsure, index, settings), chips, index)
    expected = score_chips(fit_network(chips, index, smoothed), chips, index)
    np.testing.assert_allclose(taught, expected, atol=1e-4)
    plain = score_chips(fit_network(chips, index, settings), chips, index)
    assert np.abs(taught - plain).max() > 1e-3


def test_a_finished_network_that_is_damaged_is_named_and_kept(tmp_path: Path) -> None:
    chips = striped_chips(32)
    fitted = fit_or_load(tmp_path / "one", chips, np.arange(32), TINY)
    (file,) = tmp_path.glob("one-*.safetensors")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    members = [Member("one", TINY, (0,), np.arange(32), np.arange(4))]
    # From a process of its own, as training fits them.
    with pytest.raises(WeightsError, match="move it away to fit it again") as refused:
        fit_members(chips, members, tmp_path, workers=1)
    assert str(file) in str(refused.value)
    assert len(file.read_bytes()) == len(whole) // 2
    file.write_bytes(whole)
    again = fit_or_load(tmp_path / "one", chips, np.arange(32), TINY)
    assert torch.equal(again.logit.weight, fitted.logit.weight)


def test_a_fit_that_breaks_down_is_no_model() -> None:
    wild = TINY.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(DataError, match="broke down in epoch 1: the loss is"):
        fit_network(striped_chips(96), np.arange(64), wild)


def test_a_network_of_nan_is_not_exported() -> None:
    network = random_network()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(float("nan"))
    with pytest.raises(WeightsError, match="differs"):
        export_onnx([network], 3)


def test_augmentation_without_strength_only_moves_pixels() -> None:
    torch.manual_seed(0)
    images = torch.rand(16, 3, 48, 48) * 0.9 + 0.05
    moved = augment(images, torch.zeros(3), Augmentation(shape=0, light=0, gaps=0))
    exact = [
        i
        for i in range(16)
        if torch.allclose(
            moved[i].flatten(1).sort().values, images[i].flatten(1).sort().values, atol=1e-4
        )
    ]
    # Half of the chips are turned by right angles or mirrored, and so keep every value.
    assert 2 <= len(exact) <= 14


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_augmentation_stays_in_range(strength: float) -> None:
    torch.manual_seed(1)
    images = torch.rand(8, 3, 48, 48)
    settings = Augmentation(shape=strength, light=strength, gaps=strength)
    changed = augment(images, torch.tensor([0.2, 0.3, 0.4]), settings)
    assert changed.shape == images.shape
    assert bool(torch.isfinite(changed).all())
    assert float(changed.min()) >= 0
    assert float(changed.max()) <= 1


def test_surroundings_mirror_the_chip_and_may_be_missing() -> None:
    torch.manual_seed(2)
    images = torch.rand(400, 3, 48, 48)
    wide = surround(images, 16)
    assert wide.shape == (400, 3, 80, 80)
    assert torch.equal(wide[:, :, 16:-16, 16:-16], images)
    assert torch.equal(wide[:, :, 15], wide[:, :, 17])
    fill = torch.tensor([-1.0, -2.0, -3.0])
    hidden = hide_surroundings(wide, fill, 16, 0.5)
    gone = (hidden == fill.view(1, 3, 1, 1)).all(dim=1)
    assert not gone[:, 16:-16, 16:-16].any()
    # Half of the chips, of which one in sixteen has no side that is chosen.
    assert 0.38 < float(gone.flatten(1).any(dim=1).float().mean()) < 0.56
    assert torch.equal(
        hidden[~gone.unsqueeze(1).expand_as(hidden)], wide[~gone.unsqueeze(1).expand_as(wide)]
    )


def test_unobserved_pixels_get_the_training_chips_median() -> None:
    chips = np.full((3, 48, 48, 3), (10, 20, 30), np.uint8)
    chips[2] = 200  # not a reference: must not count
    chips[0, :5] = 0
    filled = chip_set(chips, np.array([1, 0, 0]), np.array([0, 1]))
    assert filled.fill == pytest.approx((10 / 255, 20 / 255, 30 / 255))
    assert (filled.images_bytes[0, :, :5].reshape(3, -1).T == (10, 20, 30)).all()


def write_chip_folder(folder: Path, groups: int = 40, cal: int = 36) -> None:
    """A folder in the `chips.csv` + `grids/` form, 4 x 10 chips, mines checkered.

    From chip `cal` to 35 they are of the split `cal`.
    """
    chips = striped_chips(groups).images_bytes.transpose(0, 2, 3, 1)
    sheet = np.zeros((4 * 48, 10 * 48, 3), np.uint8)
    rows = []
    for i, chip in enumerate(chips):
        row, col = divmod(i, 10)
        sheet[row * 48 : row * 48 + 48, col * 48 : col * 48 + 48] = chip
        label = int(i % 2 == 0)
        source = "positives" if label else "random_negatives"
        split = "test_far" if i >= 36 else "cal" if i >= cal else "pool"
        rows.append(("a.png", i, row, col, label, source, 0.75, i, split))
    (folder / "grids").mkdir(parents=True)
    Image.fromarray(sheet).save(folder / "grids" / "a.png")
    columns = ["grid", "cell", "row", "col", "label", "source", "clear_threshold", "group", "split"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "chips.csv", index=False)


def place_chips(folder: Path, east_m: npt.NDArray[np.float64]) -> None:
    """Say where the chips of `write_chip_folder` are, on the equator."""
    table = pd.read_csv(folder / "chips.csv").assign(lon=east_m / 111_195, lat=0.0)
    table.to_csv(folder / "chips.csv", index=False)


def train_tiny(folder: Path, **asked: Any) -> TrainedDetector:
    """Train on the chips in a folder, with as little work as will do."""
    usual = {"name": "tiny", "licence": "CC-BY-4.0", "attribution": "nobody", "settings": TINY}
    return train_chip_detector(folder / "chips", folder / "out", **{**usual, **asked})


@pytest.mark.parametrize("between", [470, 481])
def test_a_test_chip_on_ground_that_teaches_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, between: int
) -> None:
    class Reached(Exception):
        pass

    def reach(*_: object) -> None:
        raise Reached

    write_chip_folder(tmp_path / "chips")
    east = 1000.0 * np.arange(40)
    east[36] = east[35] + between
    place_chips(tmp_path / "chips", east)
    monkeypatch.setattr(chip_detector, "fit_members", reach)
    said = r"such as a-35 and a-36 \(470 m"
    expected = (DataError, said) if between < 480 else (Reached, None)
    with pytest.raises(expected[0], match=expected[1]):
        train_tiny(tmp_path)


def test_groups_that_overlap_are_one_fold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folds = []

    class Reached(Exception):
        pass

    def reach(_: object, members: list[Member], *__: object) -> None:
        folds.extend(set(m.score_index.tolist()) for m in members if m.name.startswith("fold"))
        raise Reached

    write_chip_folder(tmp_path / "chips")
    east = 1000.0 * np.arange(40)
    east[:4] = (0, 300, 600, 900)
    place_chips(tmp_path / "chips", east)
    monkeypatch.setattr(chip_detector, "fit_members", reach)
    with pytest.raises(Reached):
        train_tiny(tmp_path)
    assert sum({0, 1, 2, 3} <= fold for fold in folds) == 1
    assert "as their chips overlap by place or are the same: 3" in capsys.readouterr().err


def test_a_windows_logit_is_the_mean_of_its_fields(tmp_path: Path) -> None:
    write_chip_folder(tmp_path / "chips")
    package = train_tiny(
        tmp_path,
        settings=TINY.model_copy(update={"batch": 8, "epochs": 1}),
        folds=2,
        seeds=1,
        views=1,
    ).package
    chips = np.random.default_rng(0).uniform(0, 0.3, (5, 3, 48, 48)).astype(np.float32)
    fields = LocalScorer(package).score_fields(chips, CHIP_BANDS).scores_nhw
    logit = np.log(fields / (1 - fields))[:, ::2, ::2].mean(axis=(1, 2))
    scores = WindowPredictor(package).score_chips(chips, CHIP_BANDS)
    np.testing.assert_allclose(1 / (1 + np.exp(-logit)), scores, atol=1e-5)


@pytest.mark.parametrize("name", ["Not legal", "a" * 60])
def test_a_name_that_cannot_be_is_refused_before_anything_is_read(tmp_path: Path, name) -> None:
    with pytest.raises(ConfigError, match="cannot name a model"):
        train_chip_detector(
            tmp_path / "nowhere",
            tmp_path / "out",
            name=name,
            licence="CC0-1.0",
            attribution="nobody",
            settings=TINY,
        )


@pytest.mark.parametrize(("cal", "used"), [(14, True), (20, False)])
def test_a_split_for_calibration_is_used_where_it_suffices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cal: int, used: bool
) -> None:
    def leave_random(chips: ChipSet, members: list[Member], *_: object) -> dict[str, object]:
        fitted = {}
        for k, member in enumerate(members):
            network = random_network(k)
            fitted[member.name] = ([network], score_chips(network, chips, member.score_index))
        return fitted

    write_chip_folder(tmp_path / "chips", cal=cal)
    monkeypatch.setattr(chip_detector, "fit_members", leave_random)
    trained = train_tiny(tmp_path, folds=2, aim="recall>=0.8")
    dataset = read_dataset(tmp_path / "chips")
    images, kept = dataset.images(np.arange(cal, 36)), set(range(cal, 36))
    taught = set(chip_digests(images)) & read_taught(trained.package).all
    assert len(taught) == (len(kept) if used else 0)
    assert not kept & set(trained.out_of_fold.index)
    manifest = trained.package.manifest
    assert ("split cal" in manifest.calibration.fitted_on) == used
    own = WindowPredictor(trained.package).score_chips(images, CHIP_BANDS)
    labels = dataset.table["label"].to_numpy()[cal:36]
    expected = decide_windows(own, labels, "", aim="recall>=0.8").t_main
    assert (abs(manifest.thresholds.t_main - expected) < 1e-4) == used


def test_chips_that_teach_are_not_kept_for_thresholds_too(tmp_path: Path) -> None:
    write_chip_folder(tmp_path / "chips", cal=14)
    sheet = np.array(Image.open(tmp_path / "chips" / "grids" / "a.png"))
    sheet[96:144, :96] = sheet[:48, :96]
    Image.fromarray(sheet).save(tmp_path / "chips" / "grids" / "a.png")
    with pytest.raises(DataError, match=r"2 of the 22 chips of split cal .* chips that teach"):
        train_tiny(tmp_path, folds=2)


def test_training_leaves_a_model_that_scores_as_in_training(tmp_path: Path) -> None:
    write_chip_folder(tmp_path / "chips")
    arguments = {"settings": TINY.model_copy(update={"batch": 8}), "folds": 2}
    trained = train_tiny(tmp_path, **arguments)
    manifest = trained.package.manifest
    assert (manifest.window_px, manifest.context_px, manifest.sight_px) == (48, 16, 80)
    assert manifest.architecture.endswith("4 views")
    assert manifest.calibration is not None
    assert len(trained.out_of_fold) == 36
    dataset = read_dataset(tmp_path / "chips")
    for package in (trained.package, *trained.fold_packages):
        taught = set(chip_digests(dataset.images(trained.out_of_fold.index.to_numpy())))
        assert read_taught(package).all == taught
        assert len(taught) < len(dataset.table), "held-out chips taught nothing"
    assert trained.out_of_fold["score"].notna().all()

    # The package of fold 0's complement gives fold 0 the scores it had in training.
    held_out = trained.out_of_fold[trained.out_of_fold["fold"] == 0]
    chips = chip_reflectance(load_chips(tmp_path / "chips", held_out)).transpose(0, 3, 1, 2)
    found = WindowPredictor(trained.fold_packages[0]).score_chips(chips, CHIP_BANDS)
    assert np.abs(found - held_out["score"].to_numpy()).max() < 1e-4

    members = sorted((tmp_path / "out" / "members").iterdir())
    times = [path.stat().st_mtime_ns for path in members]
    again = train_tiny(tmp_path, **arguments)
    assert [path.stat().st_mtime_ns for path in members] == times, "finished networks are kept"
    assert again.package.manifest.weights.sha256 == manifest.weights.sha256
