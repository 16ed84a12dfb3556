"""Judging models of pixels on chips with masks, for `sluice evaluate masks`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from sluice.app.chip_inputs import ChipInputs, open_chip_inputs, taught_warning, was_taught
from sluice.app.config import models_folder
from sluice.base.arrays import ObjectArray
from sluice.base.classes import NOT_OBSERVED, name_classes
from sluice.base.errors import ConfigError, ManifestMismatch
from sluice.evaluation.mask_comparison import MaskComparison, compare_masks
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
    """As the data set names them, in the first model's order."""


@dataclass(frozen=True)
class JudgedMasks:
    """A model of pixels, judged."""

    inputs: ChipInputs
    predictor: PixelPredictor
    counts: pd.DataFrame
    """As of `CountedMasks`."""
    report: MaskReport
    was_taught: bool
    """Whether it has learnt from some of these chips."""
    note: str | None
    """That data set and model call the same class differently."""

    @property
    def name(self) -> str:
        """Of the model."""
        return self.inputs.manifest.name


@dataclass(frozen=True)
class MaskJudgement:
    """Models of pixels judged on the same chips."""

    models: tuple[JudgedMasks, ...]
    comparison: MaskComparison | None
    """With the first model; None where there is only one."""

    @property
    def warning(self) -> str | None:
        """What is said of models that have learnt from these chips; None where none has."""
        return taught_warning([model.name for model in self.models if model.was_taught])

    @property
    def note(self) -> str | None:
        """What is said of classes with other names; None where there are none."""
        return " ".join(model.note for model in self.models if model.note) or None


def judge_masks(folder: Path, models: Sequence[str], split: str | None = None) -> MaskJudgement:
    """Compare models' classes with the masks of a data set, each at its own threshold.

    Several are judged on the pixels that all of them observed.

    Args:
        folder: A data set with masks.
        models: Names or folders of models that judge pixels.
        split: Only this split.

    Raises:
        ConfigError: A model judges windows or is named twice, or no chip is in the split.
        ManifestMismatch: The data set names other classes than a model.
        DataError: The chips have no masks, or differ in size.
        SluiceError: Something cannot be read.
    """
    opened = [_open(folder, model, split) for model in models]
    names = [inputs.manifest.name for inputs, _ in opened]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"model {name} is named twice; name different ones")
    counted = _count(opened)
    judged = tuple(
        JudgedMasks(
            inputs,
            predictor,
            one.counts,
            evaluate_masks(one.counts, one.groups, one.classes),
            was_taught(inputs),
            order_classes(inputs).note,
        )
        for (inputs, predictor), one in zip(opened, counted, strict=True)
    )
    comparison = None
    if len(judged) > 1:
        tables = {model.name: model.counts for model in judged}
        comparison = compare_masks(tables, counted[0].groups, counted[0].classes)
    return MaskJudgement(judged, comparison)


def count_chip_masks(folder: Path, model: str, split: str | None = None) -> CountedMasks:
    """Count right and wrong pixels of each chip and class, at the model's own threshold.

    A pixel is of what is sought where its score reaches the threshold, and then of the most
    probable of these classes. Pixels that were not observed count for nothing.

    Arguments and errors as for `judge_masks`.
    """
    return _count([_open(folder, model, split)])[0]


_Opened = tuple[ChipInputs, PixelPredictor]


def _open(folder: Path, model: str, split: str | None) -> _Opened:
    package = load_package(model, models_folder())
    predictor = PixelPredictor(package)
    return open_chip_inputs(folder, package, split), predictor


def _count(opened: Sequence[_Opened]) -> list[CountedMasks]:
    """Count the pixels that all models observed, classes in the first one's order."""
    orders = [order_classes(inputs) for inputs, _ in opened]
    first = orders[0]
    size = len(first.named)
    # From each model's numbers over the data set's to the first model's.
    renumber = [first.numbers[np.argsort(order.numbers[:size])] for order in orders]
    counts: list[list[pd.DataFrame]] = [[] for _ in opened]
    for together in zip(*(classified_chips(*one) for one in opened), strict=True):
        truth = together[0][1]
        for _, other in together[1:]:
            truth[other == UNLABELLED] = UNLABELLED
        for k, (found, _) in enumerate(together):
            threshold = opened[k][0].manifest.thresholds.t_main
            drawn = renumber[k][choose_classes(found, threshold)]
            part = count_masks(drawn, truth, size)
            counts[k].append(part.assign(chip=part["chip"] + _AT_ONCE * len(counts[k])))
    groups = opened[0][0].table["group"].to_numpy()
    return [
        CountedMasks(pd.concat(parts, ignore_index=True), groups, first.named) for parts in counts
    ]


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
