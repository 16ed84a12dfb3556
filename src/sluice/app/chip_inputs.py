"""Labelled chips as a model takes them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sluice.base.arrays import ArrayNBHW, IntArray
from sluice.base.errors import BandNotFound, ManifestMismatch
from sluice.composite.adapt import adapt_bands
from sluice.labels.dataset import ChipDataset, read_dataset
from sluice.labels.splits import may_teach, select_split
from sluice.models.manifest import Manifest

_AT_ONCE = 256
"""Chips of a sheet lie together: so many are seldom of more than a few."""


@dataclass(frozen=True)
class ChipInputs:
    """A data set, read for one model."""

    dataset: ChipDataset
    manifest: Manifest
    table: pd.DataFrame
    """The chips that were chosen; their index are rows of the data set."""

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
            images = np.ascontiguousarray(self.dataset.images(batch)[:, columns])
            if lines is not None:
                for image in images:
                    adapt_bands(image, lines, out=image)
            yield batch, images


def open_chip_inputs(folder: Path, manifest: Manifest, split: str | None) -> ChipInputs:
    """Open a data set, or a folder of chip sheets, for a model.

    Args:
        folder: Of the data set.
        manifest: Of the model.
        split: Only this split; None for all chips.

    Raises:
        BandNotFound: An input of the model is not among the bands.
        ManifestMismatch: The chips have other pixels, or are of another sensor, than the model
            takes.
        ConfigError: No chip is in the split.
        SourceError: The data set cannot be read.
    """
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
    return ChipInputs(dataset, manifest, table)


CALIBRATED_KEY = "calibrated_on"
"""In `Manifest.training`: data and split that threshold and calibration were chosen on."""


def was_taught(chips: ChipInputs) -> bool:
    """Whether weights, thresholds or calibration have learnt from some of these chips."""
    calibrated = chips.manifest.training.get(CALIBRATED_KEY)
    return weights_were_taught(chips) or (
        isinstance(calibrated, dict) and _names(calibrated, chips)
    )


def weights_were_taught(chips: ChipInputs) -> bool:
    """Whether the manifest says that the weights have learnt from some of these chips.

    Data are known by their name.
    """
    return _names(chips.manifest.training, chips)


def _names(lesson: Mapping[str, object], chips: ChipInputs) -> bool:
    if lesson.get("data") != chips.data:
        return False
    table, split = chips.dataset.table, lesson.get("split")
    taught = (table["split"] == split).to_numpy() if split else may_teach(table)
    return bool(taught[chips.table.index].any())
