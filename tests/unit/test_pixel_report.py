"""Figures of pixels against scikit-learn and by hand."""

import numpy as np
import pytest

from sluice.base.errors import NoValidData, ShapeMismatch
from sluice.evaluation.pixel_report import (
    PixelReport,
    count_pixels,
    evaluate_pixels,
    render_pixel_report,
)


def chips(n=12, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, (n, 6, 7)).astype(np.uint8)
    logits = rng.normal(size=(n, classes, 6, 7)) + 1.5 * (
        np.arange(classes)[None, :, None, None] == truth[:, None]
    )
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth[:, 0] = 255
    return probabilities.astype(np.float32), truth


def test_figures_are_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics")
    probabilities, truth = chips()
    counts = [count_pixels(p, t, 0.6) for p, t in zip(probabilities, truth, strict=True)]
    groups = np.repeat(np.arange(6), 2)
    report = evaluate_pixels(counts, groups, ("a", "b", "c"), 0.6, model="m", data="d")
    known = truth != 255
    sought, found = truth[known] > 0, (1 - probabilities[:, 0])[known] >= 0.6
    assert report.iou.value == pytest.approx(metrics.jaccard_score(sought, found))
    assert report.f1.value == pytest.approx(metrics.f1_score(sought, found))
    assert report.precision.value == pytest.approx(metrics.precision_score(sought, found))
    assert report.recall.value == pytest.approx(metrics.recall_score(sought, found))
    guess = probabilities.argmax(axis=1)[known]
    expected = metrics.jaccard_score(truth[known], guess, average=None)
    assert [report.class_iou[name].value for name in "abc"] == pytest.approx(expected.tolist())
    assert (report.chips, report.groups, report.pixels) == (12, 6, 12 * 35)
    assert report.sought_share == pytest.approx(sought.mean())
    assert report.iou.low < report.iou.value < report.iou.high
    assert PixelReport.model_validate_json(report.model_dump_json()) == report
    text = render_pixel_report(report)
    assert f"IoU at 0.600        {report.iou.value:.3f} [" in text


def test_calling_everything_sought_has_the_iou_that_is_told():
    _, truth = chips(classes=2)
    everything = np.stack([np.zeros((6, 7)), np.ones((6, 7))]).astype(np.float32)
    counts = [count_pixels(everything, t, 0.5) for t in truth]
    report = evaluate_pixels(counts, np.arange(12), ("o", "m"), 0.5, model="m", data="d")
    assert report.iou.value == pytest.approx(report.sought_share)
    assert f"IoU {report.iou.value:.3f} here" in render_pixel_report(report)


def test_nothing_sought_and_nothing_found_has_no_figure():
    nothing = np.stack([np.ones((6, 7)), np.zeros((6, 7))]).astype(np.float32)
    counts = [count_pixels(nothing, np.zeros((6, 7), np.uint8), 0.5)]
    report = evaluate_pixels(counts, np.array(["a"]), ("o", "m"), 0.5, model="m", data="d")
    assert report.f1.value is None
    assert "F1 at 0.500         -" in render_pixel_report(report)


def test_what_cannot_be_counted_is_refused():
    probabilities, truth = chips(1)
    with pytest.raises(ShapeMismatch, match="differ in"):
        count_pixels(probabilities[0], truth[0, :3], 0.5)
    unlabelled = [count_pixels(probabilities[0], np.full((6, 7), 255, np.uint8), 0.5)]
    with pytest.raises(NoValidData, match="no labelled pixel"):
        evaluate_pixels(unlabelled, np.array([0]), ("a", "b", "c"), 0.5, model="m", data="d")
