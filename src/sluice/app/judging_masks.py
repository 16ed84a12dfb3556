"""Judging a model of pixels on chips with masks, for `sluice evaluate masks`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from sluice.app.chip_inputs import ChipInputs, open_chip_inputs, taught_warning, was_taught
from sluice.app.config import models_folder
from sluice.base.arrays import ObjectArray
from sluice.base.classes import NOT_OBSERVED, name_classes
from sluice.base.errors import ManifestMismatch
from sluice.evaluation.masks import MaskReport, count_masks, evaluate_masks
from sluice.labels.dataset import UNLABELLED
from sluice.models.package import load_package
from sluice.models.pixels import ClassesNKHW, PixelPredictor

_AT_ONCE = 32

Masks = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class CountedMasks:
    """A model's classes against the masks of a data set, chip by chip."""

    counts: pd.DataFrame
    """See `evaluation.masks.count_masks`."""
    groups: ObjectArray
    """(N,) group of each chip."""
    classes: tuple[str, ...]
    """As the data set names them."""
    warning: str | None = None
    """What is said of a model that has learnt from some of these chips."""


@dataclass(frozen=True)
class JudgedMasks:
    """A model of pixels, judged."""

    report: MaskReport
    warning: str | None
    """As of `CountedMasks`."""


def evaluate_chip_masks(folder: Path, model: str, split: str | None = None) -> JudgedMasks:
    """Compare a model's classes with the masks of a data set, at the model's own threshold.

    Arguments and errors as for `count_chip_masks`.
    """
    counted = count_chip_masks(folder, model, split)
    report = evaluate_masks(counted.counts, counted.groups, counted.classes)
    return JudgedMasks(report, counted.warning)


def count_chip_masks(folder: Path, model: str, split: str | None = None) -> CountedMasks:
    """Count right and wrong pixels of each chip and class, at the model's own threshold.

    A pixel is of what is sought where its score reaches the threshold, and then of the most
    probable of these classes. Pixels that were not observed count for nothing.

    Args:
        folder: A data set with masks.
        model: Name or folder of a model that judges pixels.
        split: Only this split.

    Raises:
        ConfigError: The model judges windows, or no chip is in the split.
        ManifestMismatch: The data set names other classes than the model.
        DataError: The chips have no masks, or differ in size.
        SluiceError: Either cannot be read.
    """
    package = load_package(model, models_folder())
    predictor = PixelPredictor(package)
    inputs = open_chip_inputs(folder, package, split)
    classes, named = package.manifest.classes, inputs.dataset.about.classes
    if len(named) != len(classes):
        raise ManifestMismatch(
            f"{folder}: has the classes {', '.join(named)}, model {package.name} "
            f"tells {', '.join(classes)}; judge it on labels of its own classes"
        )
    threshold = package.manifest.thresholds.t_main
    counts: list[pd.DataFrame] = []
    for found, truth in classified_chips(inputs, predictor):
        part = count_masks(choose_classes(found, threshold), truth, len(classes))
        counts.append(part.assign(chip=part["chip"] + _AT_ONCE * len(counts)))
    table = pd.concat(counts, ignore_index=True)
    warning = taught_warning([package.name] if was_taught(inputs) else [])
    return CountedMasks(table, inputs.table["group"].to_numpy(), named, warning)


def classified_chips(
    inputs: ChipInputs, predictor: PixelPredictor
) -> Iterator[tuple[ClassesNKHW, Masks]]:
    """What a model says of the chosen chips, and the truth, some chips at a time.

    Yields:
        (n, classes, H, W) probabilities, NaN = not observed, and (n, H, W) uint8 classes, 255
        where nobody labelled or nothing was observed.

    Raises:
        DataError: The chips have no masks, or differ in size.
        SluiceError: They cannot be read.
    """
    for rows, images in inputs.batches(_AT_ONCE):
        truth = inputs.dataset.masks(rows)
        found = predictor.classify_chips(images, inputs.manifest.bands)
        truth[~np.isfinite(found[:, 0])] = UNLABELLED
        yield found, truth


def choose_classes(found_nkhw: ClassesNKHW, threshold: float) -> Masks:
    """The class of each pixel: what is sought where its score reaches the threshold.

    Args:
        found_nkhw: (N, classes, H, W) probabilities, NaN = not observed.
        threshold: Of the sum of all classes but the first.

    Returns:
        (N, H, W) uint8 classes, 0 where not observed.
    """
    likeliest = (found_nkhw[:, 1:].argmax(axis=1) + 1).astype(np.uint8)
    chosen: Masks = name_classes(1 - found_nkhw[:, 0], likeliest, threshold)
    chosen[chosen == NOT_OBSERVED] = 0
    return chosen
