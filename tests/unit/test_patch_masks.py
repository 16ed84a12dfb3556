"""Masks from labels of whole squares: on made-up chips whose mine is known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sluice.app.labelling.patch_masks import make_patch_masks
from sluice.base.errors import ConfigError, DataError, ManifestMismatch, NoValidData
from sluice.labels.patch_masks import mask_from_cues, spread_fields
from sluice.models.local_scores import LocalScorer, LocalScores
from sluice.models.package import load_package
from sluice.models.predictor import WindowPredictor

PLANTS, BARE = (0.05, 0.07), (0.20, 0.15)  # red, green


def chip(*boxes):
    """(2, 48, 48): plants, with bare ground in boxes (rows, columns)."""
    image = np.empty((2, 48, 48), np.float32)
    image[0], image[1] = PLANTS
    for rows, cols in boxes:
        image[0][rows, cols], image[1][rows, cols] = BARE
    return image


PIT = (slice(8, 20), slice(6, 22))
ROAD = (slice(40, 43), slice(0, 48))


def test_bare_ground_where_the_detector_looks_is_the_mine():
    fields = np.zeros((48, 48), np.float32)
    fields[:30] = 0.9
    mask = mask_from_cues(*chip(PIT, ROAD), fields)
    inner = np.zeros((48, 48), bool)
    inner[9:19, 7:21] = True
    assert (mask[inner] == 1).all()
    assert (mask[22:] == 0).all()
    sure = mask != 255
    assert (mask == 1)[sure].sum() <= 14 * 18


@pytest.mark.parametrize(("score", "label"), [(0.05, 0), (0.25, 255), (0.6, 1)])
def test_how_sure_the_detector_is_decides_what_a_bare_group_becomes(score, label):
    mask = mask_from_cues(*chip(PIT), np.full((48, 48), score, np.float32))
    assert mask[14, 14] == label


def test_a_chip_without_contrast_holds_no_mine():
    rng = np.random.default_rng(0)
    red, green = (band + rng.normal(0, 0.0005, (48, 48)).astype("f4") for band in chip())
    assert not (mask_from_cues(red, green, np.ones((48, 48), np.float32)) == 1).any()


def test_what_was_not_observed_has_no_label():
    image = chip(PIT)
    image[0, :12] = np.nan
    mask = mask_from_cues(*image, np.ones((48, 48), np.float32))
    assert (mask[:12] == 255).all()
    assert mask[15, 14] == 1
    assert (mask_from_cues(*image * np.nan, np.ones((48, 48), np.float32)) == 255).all()


def test_fields_reach_the_pixels_in_their_middles():
    scores = np.arange(49, dtype=np.float32).reshape(7, 7)
    spread = spread_fields(scores, 12, 4, 48)
    # The middle of field (0, 0) is the corner of pixels 11 and 12.
    np.testing.assert_allclose(spread[11:13, 11:13].mean(), 0, atol=0.6)
    np.testing.assert_allclose(spread[35:37, 35:37].mean(), 48, atol=0.6)
    np.testing.assert_allclose(spread[23:25, 23:25].mean(), 24, atol=1e-4)
    assert spread[0, 0] == 0
    assert spread[-1, -1] == 48


def test_a_window_scores_between_the_fields_that_it_averages():
    package = load_package("default", None)
    images = np.random.default_rng(0).uniform(0, 0.3, (5, 3, 48, 48)).astype(np.float32)
    bands = ("red", "green", "blue")
    fields = LocalScorer(package).score_fields(images, bands)
    assert fields.scores_nhw.shape == (5, 5, 5)
    assert (fields.first_px, fields.step_px) == (7, 8)
    averaged = fields.scores_nhw[:, ::2, ::2].reshape(5, -1)
    scores = WindowPredictor(package).score_chips(images, bands)
    assert (averaged.min(axis=1) <= scores).all()
    assert (scores <= averaged.max(axis=1)).all()


def test_a_field_sees_the_pixels_about_its_middle():
    scorer = LocalScorer(load_package("default", None))
    image = np.random.default_rng(1).uniform(0, 0.3, (1, 3, 96, 96)).astype(np.float32)
    bands = ("red", "green", "blue")
    before = scorer.score_fields(image, bands)
    row, col = 5, 4
    middle = [before.first_px + before.step_px * at for at in (row, col)]
    moved = []
    for distance in (-24, -23, 22, 23):
        # A line of pixels at some distance above, and beside, the middle.
        changed = image.copy()
        changed[:, :, int(middle[0]) + distance] += 0.2
        down = scorer.score_fields(changed, bands).scores_nhw[0, row, col]
        changed = image.copy()
        changed[:, :, :, int(middle[1]) + distance] += 0.2
        across = scorer.score_fields(changed, bands).scores_nhw[0, row, col]
        moved.append(
            down != before.scores_nhw[0, row, col] or across != before.scores_nhw[0, row, col]
        )
    assert moved == [False, True, True, False]


def test_a_model_that_does_not_pool_is_refused(toy_model):
    with pytest.raises(ManifestMismatch, match="mean of local scores"):
        LocalScorer(load_package("radar-drop", None))


@pytest.fixture
def sheets(tmp_path, monkeypatch):
    """Six chips, two of a group, half of them with a pit that the detector sees."""
    monkeypatch.setattr(
        LocalScorer,
        "score_fields",
        lambda self, images, bands: LocalScores(
            np.full((len(images), 7, 7), 0.9, np.float32), 12.0, 4.0
        ),
    )
    side = 48
    sheet = np.zeros((side, 6 * side, 3), np.uint8)
    rows = []
    for k in range(6):
        red, green = chip(PIT) if k % 2 else chip()
        bands = np.stack([red, green, green * 0.7], axis=-1)
        sheet[:, k * side : (k + 1) * side] = np.clip(bands / 0.3, 0, 1) * 255
        rows.append(("a.png", k, 0, k, k % 2, "random", max(k - 1, 0), "test" if k > 3 else "pool"))
    (tmp_path / "chips" / "grids").mkdir(parents=True)
    Image.fromarray(sheet).save(tmp_path / "chips" / "grids" / "a.png")
    columns = ["grid", "cell", "row", "col", "label", "source", "group", "split"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "chips" / "chips.csv", index=False)
    return tmp_path


def test_a_folder_of_chips_becomes_one_with_masks(sheets):
    dataset = make_patch_masks(sheets / "chips", sheets / "out", split="pool")
    assert dataset.table["chip_id"].tolist() == ["a-0", "a-1", "a-2", "a-3"]
    assert dataset.about.bands == ("red", "green", "blue")
    masks = dataset.masks(np.arange(4))
    assert (masks[[0, 2]] == 0).all()
    np.testing.assert_allclose(dataset.images(np.array([1]))[0, 0, 14, 14], 0.2, atol=0.002)


def test_chips_that_are_to_judge_take_their_groups_with_them(sheets):
    (sheets / "judges.csv").write_text("chip_id\na-0\n")
    dataset = make_patch_masks(
        sheets / "chips", sheets / "out", split="pool", leave_out=sheets / "judges.csv"
    )
    assert dataset.table["chip_id"].tolist() == ["a-2", "a-3"]
    (sheets / "judges.csv").write_text("chip_id\nb-0\n")
    with pytest.raises(NoValidData, match="names no chip"):
        make_patch_masks(
            sheets / "chips", sheets / "o", leave_out=sheets / "judges.csv", split="pool"
        )


def test_a_mine_that_cannot_be_told_is_left_out_and_not_called_none(sheets, monkeypatch):
    blind = LocalScores(np.full((1, 7, 7), 0.01, np.float32), 12.0, 4.0)
    monkeypatch.setattr(
        LocalScorer,
        "score_fields",
        lambda self, images, bands: replace(
            blind, scores_nhw=blind.scores_nhw.repeat(len(images), 0)
        ),
    )
    dataset = make_patch_masks(sheets / "chips", sheets / "out", split="pool")
    assert dataset.table["chip_id"].tolist() == ["a-0", "a-2"]


def test_chips_without_mines_can_be_few(sheets):
    dataset = make_patch_masks(sheets / "chips", sheets / "out", split="pool", negatives=0.5)
    assert dataset.table["label"].tolist().count(0) == 1
    for wrong in (-1, 0, float("inf")):
        with pytest.raises(ConfigError, match="--negatives"):
            make_patch_masks(sheets / "chips", sheets / "o", split="pool", negatives=wrong)


def test_held_out_chips_are_never_masked(sheets):
    with pytest.raises(DataError, match="held out"):
        make_patch_masks(sheets / "chips", sheets / "out")
