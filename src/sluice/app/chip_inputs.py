"""Labelled chips as a model takes them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from sluice.base.arrays import ArrayNBHW, IntArray
from sluice.base.errors import BandNotFound, ManifestMismatch
from sluice.composite.adapt import adapt_bands
from sluice.labels.chip_digests import chip_digests
from sluice.labels.dataset import ChipDataset, read_dataset
from sluice.labels.lessons import lesson_rows
from sluice.labels.splits import select_split
from sluice.models.manifest import Manifest
from sluice.models.package import ModelPackage
from sluice.models.taught import Taught, parent_lessons, read_taught

_AT_ONCE = 256
"""Chips of a sheet lie together: so many are seldom of more than a few."""


@dataclass(frozen=True)
class ChipInputs:
    """A data set, read for one model."""

    dataset: ChipDataset
    manifest: Manifest
    table: pd.DataFrame
    """The chips that were chosen; their index are rows of the data set."""
    taught: Taught | None = None
    """The chips that the model has learnt from; None where it does not list them."""
    _digests: dict[int, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def data(self) -> str:
        """Name of the data set."""
        return self.dataset.about.name

    def batches(self, at_once: int = _AT_ONCE) -> Iterator[tuple[IntArray, ArrayNBHW]]:
        """Read the chosen chips in order, some at a time.

        Args:
            at_once: Of them.

        Yields:
            Rows of the data set, and (n, inputs, H, W) float32: the manifest's inputs in its
            order, of a sensor that it adapts brought to what the weights were fitted to.

        Raises:
            AssetReadError: A file is damaged.
            DataError: Chips differ in size.
        """
        there = self.dataset.about.bands
        columns = [there.index(band) for band in self.manifest.bands]
        sensor = self.dataset.about.sensor
        lines = None if sensor is None else self.manifest.adaptation_for(sensor)
        rows = self.table.index.to_numpy()
        for start in range(0, len(rows), at_once):
            batch = rows[start : start + at_once]
            images = np.ascontiguousarray(self._read(batch)[:, columns])
            if lines is not None:
                for image in images:
                    adapt_bands(image, lines, out=image)
            yield batch, images

    def are_among(self, digests: frozenset[str]) -> bool:
        """Whether one of the chosen chips is among some, such as those that taught.

        Chips that `batches` has not read are read.

        Args:
            digests: Of those, see `labels.chip_digests`.

        Raises:
            AssetReadError, DataError: As `batches`.
        """
        return any(not digests.isdisjoint(part) for part in self._digests_in_parts())

    def digests(self) -> frozenset[str]:
        """What is in the chosen chips, see `labels.chip_digests`; of a model that lists its own.

        Raises:
            AssetReadError, DataError: As `batches`.
        """
        return frozenset(digest for part in self._digests_in_parts() for digest in part)

    def _digests_in_parts(self) -> Iterator[list[str]]:
        rows = self.table.index.to_numpy()
        for start in range(0, len(rows), _AT_ONCE):
            batch = rows[start : start + _AT_ONCE]
            unread = batch[[row not in self._digests for row in batch.tolist()]]
            if unread.size:
                self._read(unread)
            yield [self._digests[row] for row in batch.tolist()]

    def _read(self, rows: IntArray) -> ArrayNBHW:
        images = self.dataset.images(rows)
        if self.taught is not None:
            self._digests.update(zip(rows.tolist(), chip_digests(images), strict=True))
        return images


def open_chip_inputs(folder: Path, package: ModelPackage, split: str | None) -> ChipInputs:
    """Open a data set, or a folder of chip sheets, for a model.

    Args:
        folder: Of the data set.
        package: The model.
        split: Only this split; None for all chips.

    Raises:
        BandNotFound: An input of the model is not among the bands.
        ManifestMismatch: The chips have other pixels, or are of another sensor, than the model
            takes.
        ConfigError: No chip is in the split.
        SourceError: The data set cannot be read.
        WeightsError: The package's list of chips is damaged.
    """
    manifest, taught = package.manifest, read_taught(package)
    dataset = read_dataset(folder)
    about = dataset.about
    missing = [band for band in manifest.bands if band not in about.bands]
    if missing:
        raise BandNotFound.from_missing_and_available(
            missing,
            about.bands,
            wanted_by=f"model {manifest.name}",
            href=str(folder),
            advice="Use a model of these bands, or make the chips with those",
        )
    if not math.isclose(about.gsd_m, manifest.gsd_m, rel_tol=1e-3):
        raise ManifestMismatch(
            f"{folder}: its chips have pixels of {about.gsd_m:g} m, model {manifest.name} takes "
            f"{manifest.gsd_m:g} m; make chips of that size"
        )
    if about.sensor is not None and manifest.find_level(about.sensor) is None:
        known = ", ".join(level.sensor for level in manifest.levels)
        raise ManifestMismatch(
            f"{folder}: is {about.sensor} imagery, model {manifest.name} takes {known}; use such "
            "chips or another model"
        )
    table = dataset.table if split is None else select_split(dataset.table, split)
    return ChipInputs(dataset, manifest, table, taught)


CALIBRATED_KEY = "calibrated_on"
"""In `Manifest.training`: data and split that threshold and calibration were chosen on."""


def was_taught(chips: ChipInputs) -> bool:
    """Whether weights, thresholds or calibration have learnt from some of these chips."""
    if weights_were_taught(chips):
        return True
    if chips.taught is not None:
        return chips.are_among(chips.taught.decisions)
    calibrated = chips.manifest.training.get(CALIBRATED_KEY)
    return isinstance(calibrated, dict) and _names(calibrated, chips)


def taught_warning(names: Sequence[str]) -> str | None:
    """What is said of models that are judged on chips that taught them; None where none is."""
    if not names:
        return None
    return (
        f"{', '.join(names)} was trained or calibrated on chips of this split: these figures "
        "flatter it. Judge a model on chips that it never saw."
    )


def weights_were_taught(chips: ChipInputs) -> bool:
    """Whether the weights have learnt from some of these chips.

    Chips are known by what is in them where the package lists them, and else, as those of a model
    that fitting went on from, by the data set's name and split.
    """
    lessons: list[Mapping[str, object]] = [*parent_lessons(chips.manifest)]
    if chips.taught is None:
        lessons.append(chips.manifest.training)
    elif chips.are_among(chips.taught.weights):
        return True
    return any(_names(lesson, chips) for lesson in lessons)


def _names(lesson: Mapping[str, object], chips: ChipInputs) -> bool:
    taught = lesson_rows(lesson, chips.data, chips.dataset.table)
    return bool(taught[chips.table.index].any())
