"""What a training of pixels is put together from, each against known truth."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="training needs torch: make test EXTRAS=dev,train")

from sluice.base.errors import BandNotFound, ConfigError, DataError  # noqa: E402
from sluice.composite.indices import INDICES, compute_index  # noqa: E402
from sluice.evaluation.pixel_sample import ScoredChip, sample_pixels  # noqa: E402
from sluice.models.manifest import ScaledInput  # noqa: E402
from sluice.training.augment_bands import augment_chips, hide, relight, turn  # noqa: E402
from sluice.training.chip_reading import ChipReader  # noqa: E402
from sluice.training.divisions import divide  # noqa: E402
from sluice.training.in_graph import NORMALIZED_DIFFERENCES, IndexChannels  # noqa: E402
from sluice.training.patches import (  # noqa: E402
    ScoreHistogram,
    patch_starts,
    score_patches,
)
from sluice.training.pixel_data import check_share  # noqa: E402
from sluice.training.pixel_task import choose_patch, draw_order  # noqa: E402
from sluice.training.scaling import Scaling, band_statistics, scaled_inputs  # noqa: E402
from training_cases import write_masked_chips  # noqa: E402


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


# --- augmentation ---------------------------------------------------------------------------


def test_masks_move_with_their_images():
    images = torch.rand(40, 2, 6, 6, generator=seeded())
    masks = (images[:, 0] * 200).to(torch.uint8)
    moved, moved_masks = turn(images, masks, seeded(1))
    assert torch.equal((moved[:, 0] * 200).to(torch.uint8), moved_masks)
    assert torch.equal(moved.flatten(2).sort().values, images.flatten(2).sort().values)
    ways = {
        tuple(m.flatten().argsort().tolist())
        for m in turn(images[:1].expand(99, -1, -1, -1), None, seeded())[0][:, 0]
    }
    assert len(ways) == 8, "four quarters, mirrored or not"


def test_light_changes_optical_bands_alone():
    images = torch.rand(30, 3, 4, 4, generator=seeded()) * 0.3
    images[0, :, 1, 1] = torch.nan
    changed = relight(images, ("red", "vv", "elevation"), 1.0, seeded(1))
    assert torch.equal(changed[1:, 1:], images[1:, 1:])
    assert not torch.equal(changed[1:, 0], images[1:, 0])
    assert bool(torch.isnan(changed[0, 0, 1, 1]))
    # Linear in reflectance: brighter stays brighter, and black is no darker than black.
    slope = (changed[:, 0, 0, 0] - changed[:, 0, 0, 1]) / (images[:, 0, 0, 0] - images[:, 0, 0, 1])
    assert float(slope.min()) > 0.5
    assert float(slope.max()) < 1.5
    assert float(relight(torch.zeros(30, 1, 2, 2), ("red",), 1.0, seeded()).min()) >= 0


def test_haze_adds_most_to_blue():
    black = torch.zeros(50, 3, 1, 1)
    blue, red, swir = relight(black, ("blue", "red", "swir16"), 1.0, seeded()).squeeze().T
    hazy = blue > 0
    assert 10 < int(hazy.sum()) < 40
    assert bool((blue[hazy] > red[hazy]).all())
    assert bool((red[hazy] > swir[hazy]).all())


def test_radar_alone_is_only_moved():
    images = -20 * torch.rand(4, 2, 4, 4, generator=seeded())
    assert torch.equal(relight(images, ("vv", "vh@-1"), 1.0, seeded()), images)


def test_hidden_parts_are_not_observed_and_not_labelled():
    images, masks = torch.ones(200, 2, 10, 10), torch.ones(200, 10, 10, dtype=torch.uint8)
    hidden_images, hidden_masks = hide(images, masks, 0.5, seeded())
    hidden = torch.isnan(hidden_images)
    assert torch.equal(hidden[:, 0], hidden[:, 1])
    assert torch.equal(hidden[:, 0], hidden_masks == 255)
    shares = hidden[:, 0].float().mean(dim=(1, 2))
    assert 0.4 < float((shares > 0).float().mean()) < 0.6
    assert float(shares.max()) < 0.4


def test_augmentation_follows_from_its_seed():
    images, masks = torch.rand(4, 2, 8, 8), torch.ones(4, 8, 8, dtype=torch.uint8)
    arguments = (images, masks, ("red", "vv"))
    one = augment_chips(*arguments, seeded(3), light=0.5, gaps=1)
    two = augment_chips(*arguments, seeded(3), light=0.5, gaps=1)
    assert torch.equal(torch.nan_to_num(one[0]), torch.nan_to_num(two[0]))
    assert torch.equal(one[1], two[1])


# --- scaling and indices ---------------------------------------------------------------------


def test_statistics_are_those_of_observed_pixels():
    rng = np.random.default_rng(0)
    images = rng.normal((1000, -12), (3, 2), (50, 4, 4, 2)).transpose(0, 3, 1, 2).astype(np.float32)
    images[:10, 1, 0] = np.nan
    found = band_statistics([images[:20], images[20:]], clip_at=999)
    seen = images.transpose(1, 0, 2, 3).reshape(2, -1)
    seen = seen[:, np.isfinite(seen).all(axis=0)].astype(np.float64)
    assert np.allclose(found.mean, seen.mean(axis=1))
    assert np.allclose(found.deviation, seen.std(axis=1), rtol=1e-6)
    assert np.allclose(found.clipped_mean, np.clip(seen, 0, 999).mean(axis=1))


def test_scaling_is_the_manifests():
    images = np.array([[[[0.1, 0.9, np.nan]], [[-10.0, -20.0, -15.0]]]], np.float32)
    statistics = band_statistics([images], clip_at=0.6)
    inputs = scaled_inputs(("red", "vv"), statistics, "clip", 0.6)
    assert (inputs[0].divide, inputs[0].low, inputs[0].high) == (0.6, 0, 1)
    assert (inputs[1].subtract, inputs[1].divide, inputs[1].low) == (-15, 5, None)
    scaled, valid = Scaling(inputs)(torch.from_numpy(images))
    assert valid.tolist() == [[[True, True, False]]]
    assert scaled[0, 0, 0].tolist() == pytest.approx([1 / 6, 1, (1 / 6 + 1) / 2])
    assert scaled[0, 1, 0].tolist() == pytest.approx([1, -1, 0])


def test_a_band_that_tells_nothing_is_refused():
    flat = band_statistics([np.ones((1, 1, 2, 2), np.float32)], 0.6)
    with pytest.raises(DataError, match="tells nothing"):
        scaled_inputs(("vv",), flat, "clip", 0.6)


def test_indices_in_the_graph_are_those_of_reflectance():
    assert set(NORMALIZED_DIFFERENCES) == set(INDICES)
    bands = ("red", "vv", "green", "blue", "nir", "swir16")
    inputs = [ScaledInput(band=b, subtract=0.1 * k, divide=0.2 + k) for k, b in enumerate(bands)]
    values = torch.rand(2, 6, 5, 7, generator=seeded()) * 0.5 + 0.01
    subtract, divide = (
        torch.tensor([getattr(i, name) for i in inputs]).view(1, -1, 1, 1)
        for name in ("subtract", "divide")
    )
    out = IndexChannels(inputs, tuple(INDICES))((values - subtract) / divide)
    assert torch.equal(out[:, :6], (values - subtract) / divide)
    for k, name in enumerate(INDICES):
        layers = {band: values[0, i].numpy() for i, band in enumerate(bands)}
        assert np.allclose(out[0, 6 + k].numpy(), compute_index(name, layers), atol=1e-5)


def test_an_index_without_a_denominator_is_zero_and_never_beyond_one():
    inputs = [ScaledInput(band="green"), ScaledInput(band="nir")]
    image = torch.tensor([[0.0, 0.3, -0.1], [0.0, -0.29, -0.1]]).view(1, 2, 1, 3)
    assert IndexChannels(inputs, ("ndwi",))(image)[0, 2, 0].tolist() == [0, 1, 0]
    with pytest.raises(ConfigError, match="not known"):
        IndexChannels(inputs, ("nope",))
    with pytest.raises(BandNotFound, match="swir16"):
        IndexChannels(inputs, ("mndwi",))


# --- divisions, order, patches ----------------------------------------------------------------


def table(splits=None, n=60):
    rows = np.arange(n)
    frame = pd.DataFrame({"label": rows % 2, "group": [f"g{k // 2}" for k in rows]})
    return frame.assign(split="" if splits is None else splits)


def test_a_data_set_without_splits_is_divided_by_group():
    parts = divide(table(), seed=1)
    sizes = [len(getattr(parts, name)) for name in ("train", "cal", "val", "test")]
    assert sizes == [30, 6, 12, 12]
    rows = np.concatenate([parts.train, parts.cal, parts.val, parts.test])
    assert sorted(rows) == list(range(60))
    groups = [set(rows // 2) for rows in (parts.train, parts.cal, parts.val, parts.test)]
    assert sum(map(len, groups)) == len(set.union(*groups))
    assert np.array_equal(divide(table(), seed=1).val, parts.val)
    assert not np.array_equal(divide(table(), seed=2).val, parts.val)


def test_given_splits_are_kept_and_calibration_comes_from_train():
    splits = ["train"] * 36 + ["val"] * 8 + ["test_far"] * 8 + ["excluded"] * 8
    parts = divide(table(splits), seed=0)
    assert len(parts.cal) == 6
    assert sorted([*parts.train, *parts.cal]) == list(range(36))
    assert parts.val.tolist() == list(range(36, 44))
    assert parts.test.tolist() == list(range(44, 52))
    pooled = divide(table(["pool"] * 40 + ["test"] * 20), seed=0)
    assert sorted([*pooled.train, *pooled.val, *pooled.cal]) == list(range(40))
    assert pooled.test.tolist() == list(range(40, 60))


@pytest.mark.parametrize(
    ("splits", "words"),
    [
        (["train"] * 31 + ["val"] * 29, "group g15 has chips in train and in val"),
        (["train"] * 40 + ["valid"] * 20, "part val has 0 chips"),
        (["a"] * 60, "neither train nor pool"),
    ],
)
def test_divisions_that_cannot_be_are_refused(splits, words):
    with pytest.raises(DataError, match=words):
        divide(table(splits), seed=0)


def test_one_class_alone_is_refused():
    with pytest.raises(DataError, match="nothing sought"):
        divide(table().assign(label=0), seed=0)
    divide(table().assign(label=1), seed=0)
    with pytest.raises(ConfigError, match="9 of 9 have it"):
        check_share(np.ones(9, bool), 0.5)


@given(share=st.floats(0.05, 0.95), n=st.integers(4, 60), seed=st.integers(0, 99))
def test_an_epoch_has_the_share_that_was_asked_for(share, n, seed):
    rows = np.arange(100, 100 + n)
    sought = np.arange(n) < max(1, n // 4)
    order = draw_order(rows, sought, share, np.random.default_rng(seed))
    assert len(order) == n
    positive = sought[order - 100].sum()
    assert abs(positive - share * n) <= 1
    times = np.bincount(order - 100, minlength=n)
    for kind in (sought, ~sought):
        assert np.ptp(times[kind]) <= 1, "none comes twice more often than another"


@given(patch=st.integers(1, 40), more=st.integers(0, 100))
def test_patches_cover_a_side(patch, more):
    starts = patch_starts(patch + more, patch)
    covered = np.zeros(patch + more, bool)
    for start in starts:
        covered[start : start + patch] = True
        assert start >= 0
    assert covered.all()
    assert starts[-1] == more


def test_scores_of_overlapping_patches_are_averaged():
    image = torch.randn(2, 3, 40, 56, generator=seeded())
    whole = score_patches(lambda patch: patch, image, 16)
    assert torch.allclose(whole, torch.softmax(image, 1), atol=1e-6)


def test_patches_that_do_not_fit_are_refused():
    assert choose_patch((64, 64), None, 16) == 64
    assert choose_patch((50, 60), 48, 16) == 48
    with pytest.raises(DataError, match="set patch_px to 48"):
        choose_patch((50, 50), None, 16)
    with pytest.raises(DataError, match="make larger chips"):
        choose_patch((20, 20), None, 32)
    with pytest.raises(ConfigError, match="must be a multiple of 16"):
        choose_patch((64, 64), 40, 16)


def test_squares_of_pixels_are_means_and_majorities():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet((1, 1, 1), (5, 6)).transpose(2, 0, 1).astype(np.float32)
    classes = np.zeros((5, 6), np.uint8)
    classes[0, 0] = classes[1, 1] = 2  # half of it is sought
    classes[0, 2] = 1  # a quarter is not
    classes[2, :2], classes[3, 0] = 1, 2
    classes[3, 5] = 255
    squares = ScoredChip(probabilities, classes).in_squares(2)
    assert squares.classes.tolist() == [[2, 0, 0], [1, 0, 255]]
    assert squares.probabilities.shape == (3, 2, 3)
    assert squares.probabilities[1, 1, 2] == pytest.approx(probabilities[1, 2:4, 4:6].mean())
    assert np.allclose(squares.probabilities.sum(axis=0), 1, atol=1e-6)


def test_the_histogram_finds_the_best_f1():
    rng = np.random.default_rng(0)
    truth = rng.random(4000) < 0.2
    logits = rng.normal(truth * 2.0, 1.0)
    scores = (1 / (1 + np.exp(-logits))).astype(np.float32)
    histogram = ScoreHistogram()
    histogram.add(scores[:1000], truth[:1000])
    histogram.add(scores[1000:], truth[1000:])
    metrics = pytest.importorskip("sklearn.metrics")
    precision, recall, _ = metrics.precision_recall_curve(truth, scores)
    best = (2 * precision * recall / np.maximum(precision + recall, 1e-9)).max()
    assert histogram.best_f1() == pytest.approx(best, abs=0.005)
    histogram.add(np.array([np.nan], np.float32), np.array([True]))
    assert np.isnan(histogram.best_f1())


def test_sampled_pixels_stand_for_all():
    sought = np.zeros((1, 40, 40), np.float32)
    sought[0, :2] = 0.9
    truth = (sought[0] > 0.5).astype(np.uint8)
    truth[39] = 255
    chip = ScoredChip(np.concatenate([1 - sought, sought]), truth)
    sample = sample_pixels(iter([chip]), 32, np.random.default_rng(0), by_class=True)
    assert sample.weights.sum() == 39 * 40
    assert sample.weights[sample.sought == 1].sum() == 80
    assert (sample.sought == 1).sum() == 16
    plain = sample_pixels(iter([chip]), 32, np.random.default_rng(0), by_class=False)
    assert len(plain.scores) == 32


def test_chips_are_read_once_where_memory_allows(tmp_path, monkeypatch):
    dataset = write_masked_chips(tmp_path / "d", chips=4)
    reader = ChipReader(dataset, ("nir", "red"), 10**9, with_masks=True)
    images, masks = reader.read([2, 0, 2])
    assert np.array_equal(images[0], dataset.images(np.array([2]))[0, [2, 0]], equal_nan=True)
    assert np.array_equal(images[0], images[2], equal_nan=True)
    assert np.array_equal(masks[1], dataset.masks(np.array([0]))[0])
    small = ChipReader(dataset, ("red",), 0, with_masks=True)
    small.read([0])
    monkeypatch.setattr("sluice.labels.dataset._read_image", lambda *_: pytest.fail("read again"))
    assert np.array_equal(reader.read([0, 2])[1], masks[1:])
    with pytest.raises(pytest.fail.Exception):
        small.read([0])
    with pytest.raises(BandNotFound, match="swir16 is missing"):
        ChipReader(dataset, ("swir16",), 0, with_masks=True)
