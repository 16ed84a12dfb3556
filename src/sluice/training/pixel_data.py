"""What a training of pixels needs to know of its data set before it starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from sluice.base.arrays import ArrayNBHW, IntArray
from sluice.base.errors import ConfigError, DataError
from sluice.labels.dataset import UNLABELLED, ChipDataset
from sluice.labels.splits import (
    CALIBRATION,
    EXCLUDED,
    TEST,
    count_joined,
    join_alike,
    join_overlapping,
    refuse_leaks,
)
from sluice.models.manifest import Level, ScaledInput
from sluice.models.package import ModelPackage
from sluice.training.chip_reading import ChipReader
from sluice.training.data_choice import choose_sensor, refuse_repeats
from sluice.training.digests import DataDigest
from sluice.training.divisions import Division, divide
from sluice.training.in_graph import check_index
from sluice.training.kept import refuse_taught
from sluice.training.levels import levels_for
from sluice.training.options import PixelOptions
from sluice.training.parent_chips import JudgingChips, ParentChips, SeenByParent
from sluice.training.pixel_task import check_batches, choose_patch
from sluice.training.scaling import band_statistics, scaled_inputs

_AT_ONCE = 16


@dataclass(frozen=True)
class PixelData:
    """A data set, looked through once."""

    reader: ChipReader
    division: Division
    inputs: tuple[ScaledInput, ...]
    indices: tuple[str, ...]
    patch: int
    """Side of the patches that are learnt from."""
    overlap: int
    """What neighbouring patches of a scan share."""
    class_pixels: tuple[int, ...]
    """Labelled and observed pixels of each class among the training chips."""
    levels: tuple[Level, ...]
    """Kinds of imagery that the model will take."""
    digest: str
    """Of the chips of train, val and cal, and of their labels."""
    taught: tuple[str, ...]
    """`labels.chip_digests` of the chips of train and val."""
    kept: tuple[str, ...]
    """Of those of cal."""
    joined_groups: int
    """How many groups of the data set were made one with others, as they share ground."""
    seen: SeenByParent | None
    """How the chips of val, cal and test meet what the parent has learnt; None without one."""


def look_through(
    dataset: ChipDataset, options: PixelOptions, multiple: int, parent: ModelPackage | None
) -> PixelData:
    """Read all chips that are learnt from once: division, scaling, classes, digest.

    Args:
        dataset: With masks.
        options: Of the training.
        multiple: Of which patches' sides must be.
        parent: Model that training goes on from; then inputs, scaling and indices are its own.

    Raises:
        DataError: Chips do not fit the network, a class is missing where it is needed, or chips of
            the splits `val`, `cal` and `test` teach, too, or those of `cal` taught the parent.
        BandNotFound: A band is not in the data set, or none of the sensor's.
        ConfigError: The sensor is unknown, or an option contradicts the data.
    """
    own = parent.manifest if parent else None
    bands = own.bands if own else options.bands or dataset.about.bands
    indices = own.indices if own else options.indices
    refuse_repeats(bands, "--bands")
    refuse_repeats(indices, "--indices")
    for name in indices:
        check_index(name, bands)
    levels = levels_for(choose_sensor(dataset, options.sensor), bands)
    cache = int(options.cache_gb * 1e9)
    reader = ChipReader(dataset, bands, cache, with_masks=True, note_digests=True)
    table = _by_content(_by_ground(dataset.table, dataset.chip_side_m()), reader)
    division = divide(table, options.seed)
    check_batches(len(division.train), options.batch)
    sought = dataset.table["label"].to_numpy()[division.train] == 1
    check_share(sought, options.positive_share)
    chip = reader.read(division.train[:1])[0].shape[2:]
    patch, overlap = _choose_patches((chip[0], chip[1]), options, multiple)
    digest = DataDigest(dataset.table)
    digest.add_rows(division.train, division.val, division.cal)
    pixels = np.zeros(len(dataset.about.classes), np.int64)
    watched = _watched(reader, division.train, pixels, digest)
    if own:
        inputs = own.inputs
        for _ in watched:
            pass
    else:
        statistics = band_statistics(watched, options.clip_at)
        inputs = scaled_inputs(bands, statistics, options.scaling, options.clip_at)
    _refuse_missing(dataset.about.classes, pixels)
    for name, rows in (("val", division.val), ("cal", division.cal)):
        counts = np.zeros(len(dataset.about.classes), np.int64)
        for _ in _watched(reader, rows, counts, digest):
            pass
        _refuse_one_kind(name, counts)
    _refuse_repeated(reader, division)
    return PixelData(
        reader,
        division,
        inputs,
        indices,
        patch,
        overlap,
        tuple(pixels.tolist()),
        levels,
        digest.text(),
        tuple(reader.digests(np.concatenate([division.train, division.val]))),
        tuple(reader.digests(division.cal)),
        count_joined(dataset.table, table),
        _held_against(parent, reader, division),
    )


def _choose_patches(
    chip_hw: tuple[int, int], options: PixelOptions, multiple: int
) -> tuple[int, int]:
    """Side of patches and how far they overlap, in pixels."""
    patch = choose_patch(chip_hw, options.patch_px, multiple)
    overlap = patch // 4 if options.patch_overlap_px is None else options.patch_overlap_px
    if 2 * overlap > patch or overlap % options.window_px:
        raise ConfigError(
            f"patch_overlap_px {overlap} is more than half of the patches' side, {patch}, or no "
            f"multiple of window_px {options.window_px}; choose another"
        )
    return patch, overlap


def _refuse_repeated(reader: ChipReader, division: Division) -> None:
    """Refuse chips of the data set's own splits that are among others."""
    dataset, before = reader.dataset, division.train
    splits = dataset.table["split"].to_numpy()
    for name, rows in (("val", division.val), (CALIBRATION, division.cal), (TEST, division.test)):
        # Those with names of their own for testing, too.
        if np.char.startswith(splits[rows].astype(str), name).all():
            refuse_taught(reader.digests(rows), reader.digests(before), dataset.about.name, name)
        before = np.concatenate([before, rows])


def _held_against(
    parent: ModelPackage | None, reader: ChipReader, division: Division
) -> SeenByParent | None:
    """How chips that judge meet what the parent learnt; a split for calibration must not."""
    if parent is None:
        return None
    val, cal, test = (
        JudgingChips(f"{kind} chips", rows, reader.digests(rows))
        for kind, rows in (
            ("validation", division.val),
            ("calibration", division.cal),
            ("test", division.test),
        )
    )
    known = ParentChips(parent)
    if division.has_own_cal:
        known.refuse(reader.dataset, cal)
    return known.meet(reader.dataset, [val, cal, test])


def _by_ground(table: pd.DataFrame, chip_m: float) -> pd.DataFrame:
    """The table with groups that share no ground, so that parts drawn by group share none."""
    refuse_leaks(table, chip_m)
    used, groups = _serves(table), table["group"].copy()
    groups[used] = join_overlapping(table[used], chip_m)
    return table.assign(group=groups)


def _by_content(table: pd.DataFrame, reader: ChipReader) -> pd.DataFrame:
    """The table with groups that hold the same chip of a split, under whatever name, made one."""
    groups = table["group"].copy()
    for _, chips in table[_serves(table)].groupby("split"):
        rows = table.index.get_indexer(chips.index)
        for _ in reader.batches(rows, _AT_ONCE):
            pass
        groups[chips.index] = join_alike(chips, reader.digests(rows))
    return table.assign(group=groups)


def _serves(table: pd.DataFrame) -> pd.Series:
    """Without any splits all chips are dealt out; else those in none serve for nothing."""
    idle = ("", EXCLUDED) if (table["split"] != "").any() else ()
    return ~table["split"].isin(idle)


def _watched(
    reader: ChipReader, rows: IntArray, class_pixels: IntArray, digest: DataDigest
) -> Iterator[ArrayNBHW]:
    """Images of chips, while their classes are counted and their bytes digested."""
    for images, masks in reader.batches(rows, _AT_ONCE):
        known = (masks != UNLABELLED) & np.isfinite(images).all(axis=1)
        class_pixels += np.bincount(masks[known], minlength=len(class_pixels))
        digest.add_chips(images, masks)
        yield images


def _refuse_missing(names: tuple[str, ...], class_pixels: IntArray) -> None:
    missing = [name for name, count in zip(names, class_pixels, strict=True) if not count]
    if missing:
        raise DataError(
            f"no observed training pixel is of class {', '.join(missing)}; add such chips to the "
            "part that is trained on, or make the data set without that class"
        )


def _refuse_one_kind(part: str, class_pixels: IntArray) -> None:
    sought = int(class_pixels[1:].sum())
    if not sought or not class_pixels[0]:
        raise DataError(
            f"part {part} has {sought} observed pixels of what is sought and "
            f"{int(class_pixels[0])} others; both are needed to judge a model, so add chips"
        )


def check_share(sought: npt.NDArray[np.bool_], positive_share: float | None) -> None:
    """Refuse a share of chips with something sought where all chips are of one kind.

    Raises:
        ConfigError: It is so.
    """
    if positive_share is not None and (sought.all() or not sought.any()):
        raise ConfigError(
            f"positive_share {positive_share:g} needs training chips with something sought and "
            f"chips without; {int(sought.sum())} of {len(sought)} have it: leave it out"
        )
