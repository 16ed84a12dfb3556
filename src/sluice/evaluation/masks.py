"""Figures of maps of classes, pixel by pixel, with intervals from the bootstrap over blocks.

Counts are kept for each chip, so that whole blocks can be weighted without looking at a pixel
again. Figures are of all pixels together: averaged over chips, a chip with three pixels of a class
would weigh as much as one that is full of it, and one without any would have no figure.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.ndimage import distance_transform_edt

from sluice.base.arrays import BoolHW, FloatArray, IntArray
from sluice.base.errors import DataError, NoValidData, ShapeMismatch
from sluice.base.records import DISCLAIMER, Record
from sluice.evaluation.bootstrap import RESAMPLES, Estimate, Statistic, bootstrap_estimates
from sluice.evaluation.compare import estimate_text
from sluice.evaluation.metrics import Numbers, ratio

UNLABELLED = 255
"""Class of pixels that nobody labelled; they are left out."""
BOUNDARY_TOLERANCE_PX = 2.0

_AREA = ("hits", "alarms", "misses")
_BOUNDARY = ("drawn", "drawn_close", "true", "true_close")
FIGURES = ("iou", "f1", "precision", "recall", "boundary_f1")
"""Names of the figures of a class."""


class MaskFigures(Record):
    """Figures of one class, or their mean over classes."""

    iou: Estimate
    """Intersection over union, also called Jaccard index."""
    f1: Estimate
    """Also called Dice coefficient."""
    precision: Estimate
    recall: Estimate
    boundary_f1: Estimate
    """Of the outlines: how much of each lies close to the other."""


class ClassFigures(Record):
    """One class."""

    class_id: int
    name: str
    pixels: int
    """Of the truth."""
    figures: MaskFigures


class MaskReport(Record):
    """Figures of maps of classes."""

    chips: int
    blocks: int
    classes: tuple[ClassFigures, ...]
    """Those that truth or prediction holds."""
    mean: MaskFigures
    """Mean over these classes, each weighing the same; no value where one of them has none."""
    tolerance_px: float
    resamples: int
    seed: int


def count_masks(
    predicted: Iterable[npt.NDArray[np.uint8]],
    truth: Iterable[npt.NDArray[np.uint8]],
    classes: int,
    *,
    tolerance_px: float = BOUNDARY_TOLERANCE_PX,
) -> pd.DataFrame:
    """Count pixels of each class of each chip.

    A pixel lies on the outline of its class where one of its four neighbours is of another; the
    edge of a chip and pixels that are not labelled draw no outline.

    Args:
        predicted: (N, H, W) uint8 classes from 0, or chips (H, W) one after the other: only one
            is looked at at a time. May not hold 255.
        truth: As many, of the same shapes; 255 = not labelled.
        classes: How many there are.
        tolerance_px: Distance in pixels up to which an outline is close to another. Csurka et
            al. take 0.75 % of the image's diagonal.

    Returns:
        A row for each chip and class: `chip`, `class_id`; pixels `hits`, `alarms`, `misses`;
        and pixels of the outlines `drawn` (predicted), `drawn_close` (to the true one), `true`,
        `true_close` (to the predicted one); all int64.

    Raises:
        ShapeMismatch: Chips that do not fit each other, or not as many of both.
        DataError: Not uint8, a class beyond those there are, or no sensible tolerance.
        NoValidData: No chips.

    Source:
        Csurka, Larlus & Perronnin 2013, What is a good evaluation measure for semantic
        segmentation?, BMVC, doi:10.5244/C.27.32 (boundary F1; there averaged over images).
    """
    if not 1 <= classes <= UNLABELLED:
        raise DataError(f"{classes} classes cannot be told apart in uint8; use 1 to {UNLABELLED}")
    if not 0 <= tolerance_px < np.inf:
        raise DataError(f"a tolerance of {tolerance_px} px cannot be; use 0 or more")
    rows: list[tuple[int, ...]] = []
    for chip, (drawn, true) in enumerate(itertools.zip_longest(predicted, truth)):
        if drawn is None or true is None:
            short = "predicted" if drawn is None else "true"
            raise ShapeMismatch(
                f"there are only {chip} {short} masks, and more of the other; "
                "give one of each for each chip"
            )
        _check_chip(chip, drawn, true, classes)
        rows += _count_chip(chip, drawn, true, classes, tolerance_px)
    if not rows:
        raise NoValidData("no masks to evaluate; choose another split or folder")
    return pd.DataFrame(np.array(rows, np.int64), columns=["chip", "class_id", *_AREA, *_BOUNDARY])


def evaluate_masks(
    counts: pd.DataFrame,
    blocks: Numbers,
    names: Sequence[str],
    *,
    tolerance_px: float = BOUNDARY_TOLERANCE_PX,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> MaskReport:
    """Figures with intervals from counts.

    Args:
        counts: From `count_masks`.
        blocks: (N,) block of each chip.
        names: Of the classes, in their order.
        tolerance_px: With which the counts were made; told on only.
        resamples: Of the block bootstrap.
        seed: Of the resamples.

    Raises:
        DataError: A column is missing.
        ShapeMismatch: Counts, blocks and names do not fit each other.
        NoValidData: Not one labelled pixel.
    """
    table = counts_array(counts, len(blocks), len(names))
    pixels = table[:, :, : len(_AREA)]
    present = np.flatnonzero(pixels.sum(axis=(0, 2)))
    if not present.size:
        raise NoValidData("no pixel of these masks is labelled; choose other chips")
    statistics = mask_statistics(table, present)
    found = bootstrap_estimates(statistics, blocks, resamples=resamples, seed=seed)
    return MaskReport(
        chips=len(blocks),
        blocks=np.unique(blocks).size,
        classes=tuple(class_figures(table, names, number, found) for number in present.tolist()),
        mean=gather_figures(found, "mean"),
        tolerance_px=tolerance_px,
        resamples=resamples,
        seed=seed,
    )


def counts_array(counts: pd.DataFrame, chips: int, classes: int) -> FloatArray:
    """Counts as (N, C, 7), chips and classes in their order.

    Args:
        counts: From `count_masks`.
        chips: How many there are.
        classes: Likewise.

    Raises:
        DataError: A column is missing.
        ShapeMismatch: Counts of other chips or classes.
    """
    columns = ["chip", "class_id", *_AREA, *_BOUNDARY]
    missing = [column for column in columns if column not in counts]
    if missing:
        raise DataError(f"the counts lack the column {', '.join(missing)}; use `count_masks`")
    ordered = counts.sort_values(["chip", "class_id"])
    expected = np.stack(np.divmod(np.arange(chips * classes), max(classes, 1)), axis=-1)
    if not np.array_equal(ordered[["chip", "class_id"]].to_numpy(), expected):
        raise ShapeMismatch(
            f"counts of {counts['chip'].nunique()} chips and {counts['class_id'].nunique()} "
            f"classes do not fit {chips} blocks and {classes} names"
        )
    values: FloatArray = ordered[[*_AREA, *_BOUNDARY]].to_numpy(np.float64)
    return values.reshape(chips, classes, len(_AREA) + len(_BOUNDARY))


def mask_statistics(table: FloatArray, present: IntArray) -> dict[str, Statistic]:
    """Figures of some classes and their mean, by figure and number of the class, or `mean`.

    Args:
        table: (N, C, 7), from `counts_array`.
        present: Numbers of the classes.
    """
    statistics: dict[str, Statistic] = {}
    for figure in FIGURES:
        for number in present:
            statistics[f"{figure}/{number}"] = partial(_figure, figure, table[:, number])
        statistics[f"{figure}/mean"] = partial(_mean, figure, table[:, present])
    return statistics


def gather_figures(found: Mapping[str, Estimate], of: object) -> MaskFigures:
    """The figures of one class, or `mean`, from the estimates of `mask_statistics`."""
    return MaskFigures(**{figure: found[f"{figure}/{of}"] for figure in FIGURES})


def class_figures(
    table: FloatArray, names: Sequence[str], number: int, found: Mapping[str, Estimate]
) -> ClassFigures:
    """One class from the estimates of `mask_statistics`."""
    return ClassFigures(
        class_id=number,
        name=names[number],
        pixels=int(table[:, number, [_AREA.index("hits"), _AREA.index("misses")]].sum()),
        figures=gather_figures(found, number),
    )


def render_masks(report: MaskReport, *, model: str, data: str) -> str:
    """The report as plain text, for a terminal.

    Args:
        report: From `evaluate_masks`.
        model: Its name.
        data: Which chips, in words.
    """
    lines = figures_table("", report.classes, report.mean)
    return "\n".join(
        (
            f"{model} on {data}",
            f"{report.chips} chips of {report.blocks} groups",
            "",
            *lines,
            "",
            f"boundary_f1: outlines up to {report.tolerance_px:g} px apart are the same.",
            f"[ ] 95 % intervals: {report.resamples} bootstrap resamples of groups of chips "
            f"(seed {report.seed}).",
            DISCLAIMER,
        )
    )


def figures_table(
    title: str, classes: Sequence[ClassFigures], mean: MaskFigures, *, signed: bool = False
) -> list[str]:
    """Lines of a table of classes and their mean."""
    heads = (title, *FIGURES)
    rows = [
        (name, *(estimate_text(getattr(figures, key), signed=signed) for key in FIGURES))
        for name, figures in (
            *((f"{c.name} ({c.pixels:,} px)", c.figures) for c in classes),
            ("mean", mean),
        )
    ]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (heads, *rows)
    ]


def _check_chip(
    chip: int, drawn: npt.NDArray[np.uint8], true: npt.NDArray[np.uint8], classes: int
) -> None:
    if drawn.ndim != 2 or drawn.shape != true.shape:
        raise ShapeMismatch(
            f"chip {chip}: the predicted mask is {drawn.shape}, the true one {true.shape}; "
            "both must be one grid of rows and columns"
        )
    if drawn.dtype != np.uint8 or true.dtype != np.uint8:
        raise DataError(f"chip {chip}: masks are uint8, got {drawn.dtype} and {true.dtype}")
    beyond = true[(true >= classes) & (true != UNLABELLED)]
    # A prediction says something of each pixel, labelled or not.
    for what, wrong in (("predicted", drawn[drawn >= classes]), ("true", beyond)):
        if wrong.size:
            raise DataError(
                f"chip {chip}: the {what} mask holds class {wrong[0]}, and there are only "
                f"{classes}, from 0; correct the mask or name more classes"
            )


def _count_chip(
    chip: int,
    drawn: npt.NDArray[np.uint8],
    true: npt.NDArray[np.uint8],
    classes: int,
    tolerance_px: float,
) -> list[tuple[int, ...]]:
    labelled = true != UNLABELLED
    # Row: truth, column: prediction.
    pairs = true[labelled].astype(np.int64) * classes + drawn[labelled]
    table = np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    hits = np.diagonal(table)
    alarms, misses = table.sum(axis=0) - hits, table.sum(axis=1) - hits
    outlines_drawn, outlines_true = _outline(drawn, labelled), _outline(true, labelled)
    rows = []
    for number in range(classes):
        of_drawn = outlines_drawn & (drawn == number)
        of_true = outlines_true & (true == number)
        rows.append(
            (
                chip,
                number,
                *(int(count[number]) for count in (hits, alarms, misses)),
                int(of_drawn.sum()),
                _close(of_drawn, of_true, tolerance_px),
                int(of_true.sum()),
                _close(of_true, of_drawn, tolerance_px),
            )
        )
    return rows


def _outline(mask: npt.NDArray[np.uint8], labelled: BoolHW) -> BoolHW:
    """Labelled pixels with a labelled neighbour, of four, of another class."""
    outline: BoolHW = np.zeros(mask.shape, np.bool_)
    for axis in (0, 1):
        one, other = (
            tuple(part if axis == a else slice(None) for a in (0, 1))
            for part in (slice(None, -1), slice(1, None))
        )
        differ = (mask[one] != mask[other]) & labelled[one] & labelled[other]
        outline[one] |= differ
        outline[other] |= differ
    return outline


def _close(outline: BoolHW, other: BoolHW, tolerance_px: float) -> int:
    """Pixels of one outline that are close to another."""
    if not outline.any() or not other.any():
        return 0
    distance = distance_transform_edt(~other)
    return int((distance[outline] <= tolerance_px).sum())


def _figure(figure: str, table: FloatArray, weights: FloatArray) -> FloatArray:
    """A figure of one class from its (N, 7) counts."""
    hits, alarms, misses, *outlines = np.moveaxis(weights @ table, -1, 0)
    if figure == "boundary_f1":
        drawn, drawn_close, true, true_close = outlines
        # The harmonic mean of two shares; without one of the outlines nothing is close, and 0.
        precision = ratio(drawn_close, drawn, undefined=0)
        recall = ratio(true_close, true, undefined=0)
        both = ratio(2 * precision * recall, precision + recall, undefined=0)
        return np.asarray(np.where(drawn + true > 0, both, np.nan))
    part, whole = {
        "iou": (hits, hits + alarms + misses),
        "f1": (2 * hits, 2 * hits + alarms + misses),
        "precision": (hits, hits + alarms),
        "recall": (hits, hits + misses),
    }[figure]
    return ratio(part, whole)


def _mean(figure: str, table: FloatArray, weights: FloatArray) -> FloatArray:
    """Mean over the classes of (N, C, 7) counts; NaN where one of them has no figure."""
    each = [_figure(figure, table[:, number], weights) for number in range(table.shape[1])]
    mean: FloatArray = np.mean(each, axis=0)
    return mean
