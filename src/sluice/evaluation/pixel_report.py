"""The figures of a model of pixels on labelled chips, with intervals, as data and as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sluice.base.arrays import FloatArray, IntArray
from sluice.base.errors import NoValidData, ShapeMismatch
from sluice.base.records import DISCLAIMER, Record
from sluice.evaluation.bootstrap import RESAMPLES, Estimate, Statistic, bootstrap_estimates

_UNLABELLED = 255


@dataclass(frozen=True)
class PixelCounts:
    """Labelled pixels of one chip."""

    confusion: IntArray
    """(classes, classes): true class by most probable class."""
    detected: IntArray
    """(2, 2): sought or not, by detected at the threshold or not."""


class PixelReport(Record):
    """Figures of one set of chips; intervals from resampled groups of chips."""

    model: str
    data: str
    threshold: float
    chips: int
    groups: int
    pixels: int
    """Labelled and observed."""
    sought_share: float
    """Of the pixels; what calling everything sought has as precision and as IoU."""
    iou: Estimate
    """Intersection over union of what is sought and what is detected."""
    f1: Estimate
    precision: Estimate
    recall: Estimate
    class_iou: dict[str, Estimate]
    """Of the most probable class, by name."""
    resamples: int
    seed: int
    disclaimer: str = DISCLAIMER


def count_pixels(
    probabilities_chw: npt.NDArray[np.float32], classes_hw: npt.NDArray[np.uint8], threshold: float
) -> PixelCounts:
    """Count a chip's pixels by truth and verdict.

    Args:
        probabilities_chw: (classes, H, W); the first class is what is not sought.
        classes_hw: (H, W) truth, 255 = unlabelled.
        threshold: A pixel is detected where 1 - P(first class) is at or above it.

    Raises:
        ShapeMismatch: The two differ in shape.
    """
    n = len(probabilities_chw)
    if probabilities_chw.shape[1:] != classes_hw.shape:
        raise ShapeMismatch(
            f"probabilities {probabilities_chw.shape} and classes {classes_hw.shape} differ in "
            "shape; give those of one chip"
        )
    known = classes_hw != _UNLABELLED
    truth = classes_hw[known].astype(np.int64)
    guess = probabilities_chw.argmax(axis=0)[known]
    flagged = (1 - probabilities_chw[0])[known] >= threshold
    return PixelCounts(
        np.bincount(truth * n + guess, minlength=n * n).reshape(n, n),
        np.bincount((truth > 0) * 2 + flagged, minlength=4).reshape(2, 2),
    )


def evaluate_pixels(
    counts: Sequence[PixelCounts],
    groups: npt.NDArray[np.generic],
    class_names: Sequence[str],
    threshold: float,
    *,
    model: str,
    data: str,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> PixelReport:
    """Figures of all chips together.

    Args:
        counts: Of each chip.
        groups: (N,) chips of one group share ground and are drawn together.
        class_names: In the order of the counts.
        threshold: That the counts were made with.
        model: Its name.
        data: Which chips, in words.
        resamples: Of the block bootstrap.
        seed: Of the resamples.

    Raises:
        NoValidData: No labelled pixel.
    """
    detected = np.array([chip.detected for chip in counts], np.float64).reshape(-1, 2, 2)
    confusion = np.array([chip.confusion for chip in counts], np.float64)
    pixels = int(detected.sum())
    if not pixels:
        raise NoValidData("no labelled pixel was observed in these chips; choose other ones")
    hits, misses, alarms = detected[:, 1, 1], detected[:, 1, 0], detected[:, 0, 1]
    statistics = {
        "iou": _share(hits, hits + misses + alarms),
        "f1": _share(2 * hits, 2 * hits + misses + alarms),
        "precision": _share(hits, hits + alarms),
        "recall": _share(hits, hits + misses),
    }
    for k, name in enumerate(class_names):
        right = confusion[:, k, k]
        union = confusion[:, k].sum(axis=1) + confusion[:, :, k].sum(axis=1) - right
        statistics[f"class {name}"] = _share(right, union)
    found = bootstrap_estimates(statistics, np.asarray(groups), resamples=resamples, seed=seed)
    return PixelReport(
        model=model,
        data=data,
        threshold=threshold,
        chips=len(counts),
        groups=len(np.unique(groups)),
        pixels=pixels,
        sought_share=float(detected[:, 1].sum() / pixels),
        class_iou={name: found[f"class {name}"] for name in class_names},
        iou=found["iou"],
        f1=found["f1"],
        precision=found["precision"],
        recall=found["recall"],
        resamples=resamples,
        seed=seed,
    )


def _share(part: FloatArray, whole: FloatArray) -> Statistic:
    """A ratio of sums over chips, under any weights of the chips."""

    def statistic(weights: FloatArray) -> FloatArray:
        above, below = np.asarray(weights @ part), np.asarray(weights @ whole)
        ratio: FloatArray = np.divide(
            above, below, out=np.full(above.shape, np.nan), where=below > 0
        )
        return ratio

    return statistic


def render_pixel_report(report: PixelReport) -> str:
    """The report as plain text, for a terminal or a fenced block of a model card."""
    everything = 2 * report.sought_share / (1 + report.sought_share)
    rows = [
        (f"IoU at {report.threshold:.3f}", report.iou),
        (f"F1 at {report.threshold:.3f}", report.f1),
        (f"precision at {report.threshold:.3f}", report.precision),
        (f"recall at {report.threshold:.3f}", report.recall),
        *((f"IoU of class {name}", value) for name, value in report.class_iou.items()),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(
        (
            f"{report.model} on {report.data}",
            f"{report.chips} chips of {report.groups} groups, {report.pixels} labelled pixels, "
            f"{report.sought_share:.2%} of them sought",
            "",
            *(f"{name.ljust(width)}  {_text(value)}" for name, value in rows),
            "",
            f"Calling every pixel sought has F1 {everything:.3f} and IoU "
            f"{report.sought_share:.3f} here.",
            f"[ ] 95 % intervals: {report.resamples} bootstrap resamples of groups of chips that "
            f"share ground (seed {report.seed}).",
            report.disclaimer,
        )
    )


def _text(estimate: Estimate) -> str:
    if estimate.value is None:
        return "-"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f} [no interval]"
    return f"{estimate.value:.3f} [{estimate.low:.3f}-{estimate.high:.3f}]"
