"""Figures of class masks against scikit-learn, a plain reference and shapes worked out by hand."""

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as reference
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sluice.base.errors import DataError, NoValidData, ShapeMismatch
from sluice.evaluation.bootstrap import block_weights
from sluice.evaluation.mask_comparison import compare_masks
from sluice.evaluation.masks import MaskFigures, count_masks, evaluate_masks

CLASSES = 3
NAMES = ["land", "mine", "water"]
BLANK = np.zeros((1, 4, 4), np.uint8)

masks = hnp.arrays(np.uint8, (3, 6, 5), elements=st.integers(0, CLASSES - 1))
truths = hnp.arrays(np.uint8, (3, 6, 5), elements=st.sampled_from([0, 1, 2, 255]))


def figures_of(
    predicted: np.ndarray, truth: np.ndarray, **options: float
) -> dict[int, MaskFigures]:
    counts = count_masks(predicted, truth, CLASSES, **options)
    report = evaluate_masks(counts, np.arange(len(truth)), NAMES, resamples=2)
    return {row.class_id: row.figures for row in report.classes}


@settings(max_examples=40)
@given(predicted=masks, truth=truths)
def test_areas_equal_scikit_learns(predicted: np.ndarray, truth: np.ndarray) -> None:
    seen = truth != 255
    if not seen.any():
        return
    found = figures_of(predicted, truth)
    for number, figures in found.items():
        true, drawn = truth[seen] == number, predicted[seen] == number
        assert figures.iou.value == pytest.approx(reference.jaccard_score(true, drawn))
        assert figures.f1.value == pytest.approx(reference.f1_score(true, drawn))
        if drawn.any():
            assert figures.precision.value == pytest.approx(reference.precision_score(true, drawn))
        else:
            assert figures.precision.value is None
        if true.any():
            assert figures.recall.value == pytest.approx(reference.recall_score(true, drawn))
    assert set(found) == set(truth[seen]) | set(predicted[seen])


def plain_outline(mask: np.ndarray, seen: np.ndarray, number: int) -> list[tuple[int, int]]:
    height, width = mask.shape
    outline = []
    for y, x in np.ndindex(height, width):
        if not seen[y, x] or mask[y, x] != number:
            continue
        around = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        inside = [(v, u) for v, u in around if 0 <= v < height and 0 <= u < width and seen[v, u]]
        if any(mask[at] != number for at in inside):
            outline.append((y, x))
    return outline


def plain_close(outline: list, other: list, tolerance: float) -> int:
    return sum(any(np.hypot(y - v, x - u) <= tolerance for v, u in other) for y, x in outline)


@settings(max_examples=40)
@given(predicted=masks, truth=truths, tolerance=st.sampled_from([0.0, 1.0, 1.5, 2.0]))
def test_outlines_equal_a_plain_count(
    predicted: np.ndarray, truth: np.ndarray, tolerance: float
) -> None:
    counts = count_masks(predicted, truth, CLASSES, tolerance_px=tolerance)
    for row in counts.itertuples():
        seen = truth[row.chip] != 255
        drawn = plain_outline(predicted[row.chip], seen, row.class_id)
        true = plain_outline(truth[row.chip], seen, row.class_id)
        assert (row.drawn, row.true) == (len(drawn), len(true))
        assert row.drawn_close == plain_close(drawn, true, tolerance)
        assert row.true_close == plain_close(true, drawn, tolerance)


def square(top: int, left: int, side: int = 10) -> np.ndarray:
    mask = np.zeros((1, 40, 40), np.uint8)
    mask[0, top : top + side, left : left + side] = 1
    return mask


def test_a_shifted_square() -> None:
    truth, shifted = square(10, 10), square(10, 12)
    found = figures_of(shifted, truth, tolerance_px=2)[1]
    assert found.iou.value == pytest.approx(80 / 120)
    assert found.f1.value == pytest.approx(160 / 200)
    assert found.boundary_f1.value == 1
    # Of the 36 pixels of an outline 16 lie on the two long sides in both, and nothing else.
    assert figures_of(shifted, truth, tolerance_px=0)[1].boundary_f1.value == pytest.approx(16 / 36)
    assert figures_of(square(25, 25), truth)[1].boundary_f1.value == 0


def test_the_edge_of_a_chip_and_of_the_labels_is_no_outline() -> None:
    truth = np.ones((1, 8, 8), np.uint8)
    counts = count_masks(truth, truth, 2)
    assert counts[["drawn", "true"]].to_numpy().sum() == 0
    truth[0, :, 4:] = 255
    drawn = np.ones((1, 8, 8), np.uint8)
    drawn[0, :, 5:] = 0
    assert count_masks(drawn, truth, 2)[["drawn", "true"]].to_numpy().sum() == 0
    report = evaluate_masks(count_masks(drawn, truth, 2), np.zeros(1), ["land", "mine"])
    assert [row.name for row in report.classes] == ["mine"]
    assert report.mean.iou.value == 1
    assert report.mean.boundary_f1.value is None


def test_the_mean_weighs_classes_and_not_pixels() -> None:
    truth = np.zeros((1, 10, 10), np.uint8)
    truth[0, :2, :2] = 1
    drawn = np.zeros((1, 10, 10), np.uint8)
    drawn[0, :2, :1] = 1
    report = evaluate_masks(count_masks(drawn, truth, 2), np.zeros(1), ["land", "mine"])
    assert report.mean.iou.value == pytest.approx((96 / 98 + 2 / 4) / 2)
    assert report.classes[1].pixels == 4


def test_intervals_weigh_whole_blocks() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (40, 8, 8)).astype(np.uint8)
    # Half of the blocks are right throughout, the others wrong.
    blocks = np.repeat(np.arange(10), 4)
    drawn = np.where((blocks % 2 == 0)[:, None, None], truth, 1 - truth).astype(np.uint8)
    counts = count_masks(drawn, truth, 2)
    by_block = evaluate_masks(counts, blocks, ["land", "mine"], resamples=300).mean.recall
    by_chip = evaluate_masks(counts, np.arange(40), ["land", "mine"], resamples=300).mean.recall
    assert by_block.value == pytest.approx(0.5, abs=0.02)
    # The standard error of a share of 10 is twice that of one of 40.
    assert by_block.high - by_block.low == pytest.approx(4 * 0.5 / np.sqrt(10), rel=0.2)
    assert by_block.high - by_block.low > 1.6 * (by_chip.high - by_chip.low)


def test_chips_may_come_one_by_one_and_differ_in_size() -> None:
    truth = [square(3, 3)[0], square(20, 20)[0, :30]]
    counts = count_masks(iter(truth), iter(truth), 2)
    assert counts["chip"].tolist() == [0, 0, 1, 1]
    assert counts[["alarms", "misses"]].to_numpy().sum() == 0
    assert counts["hits"].sum() == 40 * 40 + 30 * 40


@pytest.mark.parametrize(
    ("predicted", "truth", "error", "message"),
    [
        (BLANK, np.zeros((1, 4, 5), np.uint8), ShapeMismatch, "chip 0"),
        (BLANK, np.zeros((2, 4, 4), np.uint8), ShapeMismatch, "only 1 pre"),
        (
            np.zeros((2, 4, 4), np.uint8),
            BLANK,
            ShapeMismatch,
            "only 1 true",
        ),
        (np.zeros((1, 4, 4)), BLANK, DataError, "uint8, got float64"),
        (np.full((1, 4, 4), 255, np.uint8), BLANK, DataError, "class 255"),
        (
            BLANK,
            np.full((1, 4, 4), 7, np.uint8),
            DataError,
            "true .*class 7",
        ),
        (np.zeros((0, 4, 4), np.uint8), np.zeros((0, 4, 4), np.uint8), NoValidData, "no masks"),
    ],
)
def test_masks_that_do_not_fit_are_refused(
    predicted: np.ndarray, truth: np.ndarray, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        count_masks(predicted, truth, CLASSES)


def test_counts_that_do_not_fit_are_refused() -> None:
    mask = square(3, 3)
    counts = count_masks(mask, mask, 2)
    with pytest.raises(ShapeMismatch, match="do not fit 2 blocks"):
        evaluate_masks(counts, np.arange(2), ["land", "mine"])
    with pytest.raises(DataError, match="lack the column hits"):
        evaluate_masks(counts.drop(columns="hits"), np.arange(1), ["land", "mine"])
    unlabelled = count_masks(mask, np.full_like(mask, 255), 2)
    with pytest.raises(NoValidData, match="no pixel"):
        evaluate_masks(unlabelled, np.arange(1), ["land", "mine"])
    with pytest.raises(DataError, match="tolerance of -1"):
        count_masks(mask, mask, 2, tolerance_px=-1)
    with pytest.raises(DataError, match="300 classes"):
        count_masks(mask, mask, 300)
    assert isinstance(counts, pd.DataFrame)


def test_a_difference_of_models_is_drawn_in_pairs():
    """Interval of a difference, by plain sums over the same resamples."""
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 2, (30, 8, 8)).astype(np.uint8)
    blocks = np.arange(30) // 2
    drawn = {
        name: np.where(rng.random(truth.shape) < wrong, 1 - truth, truth).astype(np.uint8)
        for name, wrong in (("one", 0.1), ("two", 0.3))
    }
    counts = {name: count_masks(each, truth, 2) for name, each in drawn.items()}
    found = compare_masks(counts, blocks, ("other", "mine"), resamples=200).less_reference[0]
    weights = np.concatenate(list(block_weights(blocks, resamples=200)))

    def iou(each):
        both, either = ((each & truth).sum((1, 2)), (each | truth).sum((1, 2)))
        return (weights @ both) / (weights @ either)

    low, high = np.quantile(iou(drawn["two"]) - iou(drawn["one"]), (0.025, 0.975))
    mine = found.classes[1].figures.iou
    assert (mine.low, mine.high) == pytest.approx((low, high))
    assert high < 0
    same = compare_masks({"a": counts["one"], "b": counts["one"]}, blocks, ("other", "mine"))
    zero = same.less_reference[0].mean.iou
    assert (zero.value, zero.low, zero.high) == (0, 0, 0)
    other = count_masks(drawn["one"], drawn["two"], 2)
    with pytest.raises(ShapeMismatch, match="truths of a and b differ"):
        compare_masks({"a": counts["one"], "b": other}, blocks, ("other", "mine"))
