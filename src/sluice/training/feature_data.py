"""Labelled images that random features are learnt from, out of a data set or from elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sluice.base.arrays import IntArray
from sluice.base.errors import DataError
from sluice.base.sensors import Sensor, find_sensor
from sluice.labels.chip_digests import chip_digests
from sluice.labels.dataset import ChipDataset
from sluice.labels.kinds import place_kind
from sluice.labels.splits import check_trainable, count_joined, trainable
from sluice.training.chip_reading import ChipReader
from sluice.training.data_choice import choose_bands, choose_sensor
from sluice.training.kept import kept_chips
from sluice.training.random_features import ImageReader, Limits

_AT_ONCE = 256
_COLUMNS = ("label", "group", "source", "split")
_CACHE_BYTES = 2_000_000_000
"""Chips kept in memory; the rest is read again for each fold."""
_BRIGHTEST = 0.6
"""Reflectance that brighter ground counts as: cloud, glint and roofs tell little by how bright
they are, and a feature of a whole image would be theirs. As networks' `clip_at`."""


@dataclass(frozen=True)
class LabelledImages:
    """Images of one size with their labels, wherever they come from."""

    images: ImageReader
    """By position in `table`."""
    table: pd.DataFrame
    """A row for each image: `label` (1 mine, 0 none), `group` (images that share ground), `source`
    and `split`; `kind` and `clear_threshold` where known."""
    bands: tuple[str, ...]
    """Keys of the inputs, `red` or `vv@-1`, in the order of the images' second axis."""
    gsd_m: float
    name: str
    """Of the data, for the record."""
    sensor: str = "s2-l1c"
    """What the images were cut from."""
    limits: Limits | None = None
    """What each band is cut to, in a scan too."""
    sought: str = "mine"
    """What label 1 says is there."""
    joined_groups: int = 0
    """Groups of the data set that were made one with others, as they share ground."""
    kept: LabelledImages | None = None
    """Images that only thresholds and calibration may use, where there are any."""
    read_digests: Callable[[IntArray], list[str]] | None = None
    """By position: what is in images that were read, see `labels.chip_digests`; None: in `images`,
    where that is all there is."""

    def digests(self, index: IntArray) -> list[str]:
        """What is in some images, which were read before: `labels.chip_digests`."""
        if self.read_digests is not None:
            return self.read_digests(index)
        starts = range(0, len(index), _AT_ONCE)
        parts = [chip_digests(self.images(index[start : start + _AT_ONCE])) for start in starts]
        return [digest for part in parts for digest in part]


def open_images(
    dataset: ChipDataset, bands: tuple[str, ...] = (), sensor: str | None = None
) -> LabelledImages:
    """The chips of a data set that may teach; they are read in parts.

    Args:
        dataset: Labels of whole chips suffice. Who teaches: `labels.splits.trainable`.
        bands: By name, or `rgb`, `rgb+nir`; none means all, in the data set's order.
        sensor: Where the data set does not say it.

    Raises:
        BandNotFound: A band is not in the data set, or none of the sensor's.
        ConfigError: The sensor is unknown.
        DataError: No chip may teach, or some share ground with chips that judge.
        SluiceError: The first chip cannot be read.
    """
    chosen_bands = choose_bands(dataset, bands)
    of = find_sensor(choose_sensor(dataset, sensor))
    reader = ChipReader(dataset, chosen_bands, _CACHE_BYTES, with_masks=False, note_digests=True)
    chosen = trainable(dataset.table, dataset.chip_side_m())
    kept = kept_chips(dataset.table)

    def part(table: pd.DataFrame, **more: Any) -> LabelledImages:
        rows = table.index.to_numpy()
        return LabelledImages(
            lambda index: reader.read(rows[index])[0],
            table.reset_index(drop=True),
            chosen_bands,
            gsd_m=dataset.about.gsd_m,
            name=dataset.about.name,
            sensor=of.id,
            limits=_limits(of, chosen_bands, dataset.about.brightest or _BRIGHTEST),
            sought=", ".join(dataset.about.classes[1:]),
            read_digests=lambda index: reader.digests(rows[index]),
            **more,
        )

    return part(
        chosen,
        kept=part(kept) if len(kept) else None,
        joined_groups=count_joined(dataset.table, chosen),
    )


def checked_table(labelled: LabelledImages) -> pd.DataFrame:
    """The table with all columns that training and its report use.

    Raises:
        DataError: A column is missing, a label is none, or held-out images are there.
    """
    table = labelled.table
    missing = [column for column in _COLUMNS if column not in table]
    if missing:
        raise DataError(
            f"{labelled.name}: the table of images lacks {', '.join(missing)}; add the column"
        )
    wrong = ~table["label"].isin((0, 1))
    if wrong.any():
        raise DataError(
            f"{labelled.name}: label {table['label'][wrong].iloc[0]} is neither 1 (mine) nor 0 "
            f"(none), {int(wrong.sum())} such; correct or leave them out"
        )
    check_trainable(table)
    table = table.reset_index(drop=True).astype({"label": np.int64})
    if "kind" not in table:
        table["kind"] = table["source"].map(place_kind)
    if "clear_threshold" not in table:
        table["clear_threshold"] = np.nan
    return table


def _limits(sensor: Sensor, bands: tuple[str, ...], brightest: float) -> Limits:
    """Reflectance is cut, backscatter in dB is not."""
    reflects = sensor.quantity == "reflectance"
    return ((0.0, brightest) if reflects else (-math.inf, math.inf),) * len(bands)
