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
    """As the data set names them, in the model's order."""
    warning: str | None = None
    """What is said of a model that has learnt from some of these chips."""
    note: str | None = None
    """That data set and model call the same class differently."""


@dataclass(frozen=True)
class JudgedMasks:
    """A model of pixels, judged."""

    report: MaskReport
    warning: str | None
    note: str | None
    """Both as of `CountedMasks`."""


def evaluate_chip_masks(folder: Path, model: str, split: str | None = None) -> JudgedMasks:
    """Compare a model's classes with the masks of a data set, at the model's own threshold.

    Arguments and errors as for `count_chip_masks`.
    """
    counted = count_chip_masks(folder, model, split)
    report = evaluate_masks(counted.counts, counted.groups, counted.classes)
    return JudgedMasks(report, counted.warning, counted.note)


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
    classes = package.manifest.classes
    order = order_classes(inputs)
    threshold = package.manifest.thresholds.t_main
    counts: list[pd.DataFrame] = []
    for found, truth in classified_chips(inputs, predictor):
        part = count_masks(choose_classes(found, threshold), truth, len(classes))
        counts.append(part.assign(chip=part["chip"] + _AT_ONCE * len(counts)))
    table = pd.concat(counts, ignore_index=True)
    warning = taught_warning([package.name] if was_taught(inputs) else [])
    groups = inputs.table["group"].to_numpy()
    return CountedMasks(table, groups, order.named, warning, order.note)


@dataclass(frozen=True)
class ClassOrder:
    """Which class of a model each class of a data set is."""

    numbers: Masks
    """(256,) the model's number by the data set's; 255 stays."""
    named: tuple[str, ...]
    """Names of the data set in the model's order."""
    note: str | None
    """That names differ; None where they do not."""


def order_classes(inputs: ChipInputs) -> ClassOrder:
    """Find each class of a data set among those of the model, by name.

    Of two classes one is what is sought and the other is not, whatever either calls them.

    Raises:
        ManifestMismatch: The data set names other classes than the model.
    """
    manifest, named = inputs.manifest, inputs.dataset.about.classes
    classes, note = manifest.classes, None
    numbers = np.full(256, UNLABELLED, np.uint8)
    if set(named) == set(classes):
        numbers[: len(named)] = [classes.index(name) for name in named]
        named = classes
    elif len(named) == len(classes) == 2 and all(
        named.index(name) == classes.index(name) for name in set(named) & set(classes)
    ):
        numbers[:2] = 0, 1
        note = (
            f"The classes of {inputs.data} are {', '.join(named)}, those of {manifest.name} "
            f"{', '.join(classes)}: taken for the same, in this order."
        )
    else:
        raise ManifestMismatch(
            f"{inputs.dataset.folder}: has the classes {', '.join(named)}, model {manifest.name} "
            f"tells {', '.join(classes)}; judge it on labels of its own classes"
        )
    return ClassOrder(numbers, named, note)


def classified_chips(
    inputs: ChipInputs, predictor: PixelPredictor
) -> Iterator[tuple[ClassesNKHW, Masks]]:
    """What a model says of the chosen chips, and the truth, some chips at a time.

    Yields:
        (n, classes, H, W) probabilities, NaN = not observed, and (n, H, W) uint8 classes, 255
        where nobody labelled or nothing was observed; both in the model's order of classes.

    Raises:
        ManifestMismatch: As `order_classes`.
        DataError: The chips have no masks, or differ in size.
        SluiceError: They cannot be read.
    """
    numbers = order_classes(inputs).numbers
    for rows, images in inputs.batches(_AT_ONCE):
        truth = numbers[inputs.dataset.masks(rows)]
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
