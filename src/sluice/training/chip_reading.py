"""Chips in batches: kept in memory as far as allowed, and read ahead while a network computes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from sluice.base.arrays import ArrayBHW, ArrayNBHW, IntArray
from sluice.base.errors import BandNotFound, DataError
from sluice.labels.chip_digests import chip_digests
from sluice.labels.dataset import ChipDataset, MasksNHW

_READERS = 2
_AHEAD = 4
_Made = TypeVar("_Made")


@dataclass
class ChipReader:
    """Some bands of a data set's chips."""

    dataset: ChipDataset
    bands: tuple[str, ...]
    cache_bytes: int
    with_masks: bool
    """Whether pixels are labelled, and wanted."""
    note_digests: bool = False
    """Whether to keep what `digests` tells."""
    _kept: dict[int, tuple[ArrayBHW, MasksNHW]] = field(default_factory=dict, repr=False)
    _digests: dict[int, str] = field(default_factory=dict, repr=False)
    _size: int = 0
    _shape: tuple[int, ...] = ()
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        """Find the bands.

        Raises:
            BandNotFound: The data set lacks one.
        """
        there = self.dataset.about.bands
        missing = [band for band in self.bands if band not in there]
        if missing:
            raise BandNotFound.from_missing_and_available(
                missing,
                there,
                wanted_by="the training",
                href=str(self.dataset.folder),
                advice="Choose other bands, or make the chips with these",
            )
        self._columns = [there.index(band) for band in self.bands]

    def read(self, rows: Sequence[int] | IntArray) -> tuple[ArrayNBHW, MasksNHW]:
        """Read chips.

        Args:
            rows: Of the data set's table, at least one.

        Returns:
            (n, bands, H, W) float32, NaN = not observed, and (n, H, W) uint8 masks; of chips
            labelled as wholes the masks are empty.

        Raises:
            DataError: A chip differs in size from those read before.
            AssetReadError: As `ChipDataset.images` and `masks`.
        """
        wanted = [int(row) for row in rows]
        found = {row: self._kept[row] for row in wanted if row in self._kept}
        missing = np.array([row for row in dict.fromkeys(wanted) if row not in found], np.int64)
        if missing.size:
            whole = self.dataset.images(missing)
            self._note(missing, whole)
            images = whole[:, self._columns]
            self._refuse_other_size(images.shape[2:], missing[0])
            masks = (
                self.dataset.masks(missing)
                if self.with_masks
                else np.empty((len(missing), 0, 0), np.uint8)
            )
            for row, image, mask in zip(missing.tolist(), images, masks, strict=True):
                found[row] = (image, mask)
                self._keep(row, image, mask)
        return (
            np.stack([found[row][0] for row in wanted]),
            np.stack([found[row][1] for row in wanted]),
        )

    def batches(self, rows: IntArray, size: int) -> Iterator[tuple[ArrayNBHW, MasksNHW]]:
        """Read chips in order, some at a time."""
        jobs = [rows[start : start + size] for start in range(0, len(rows), size)]
        yield from read_ahead(self.read, jobs)

    def digests(self, rows: IntArray) -> list[str]:
        """What is in some chips, over all bands of the data set; they were read before.

        See `labels.chip_digests`; needs `note_digests`.
        """
        return [self._digests[row] for row in rows.tolist()]

    def _note(self, rows: IntArray, whole: ArrayNBHW) -> None:
        # Chips that do not fit into memory are read again and again, and stay what they are.
        new = [k for k, row in enumerate(rows.tolist()) if row not in self._digests]
        if self.note_digests and new:
            self._digests.update(zip(rows[new].tolist(), chip_digests(whole[new]), strict=True))

    def _refuse_other_size(self, found: tuple[int, ...], row: int) -> None:
        self._shape = self._shape or found
        if found != self._shape:
            one, other = (f"{height} x {width} px" for height, width in (found, self._shape))
            chip = self.dataset.table["chip_id"].iloc[row]
            raise DataError(
                f"{self.dataset.folder}: chip {chip} is {one}, others are {other}; make all chips "
                "of one size"
            )

    def _keep(self, row: int, image: ArrayBHW, mask: MasksNHW) -> None:
        with self._lock:
            size = image.nbytes + mask.nbytes
            if row not in self._kept and self._size + size <= self.cache_bytes:
                # Copies: a view would hold the whole batch.
                self._kept[row] = (image.copy(), mask.copy())
                self._size += size


_Job = TypeVar("_Job")


def read_ahead(make: Callable[[_Job], _Made], jobs: Iterable[_Job]) -> Iterator[_Made]:
    """Make things in order, a few ahead of their use, in threads.

    Args:
        make: From a job to a thing; of the job alone, so that threads change nothing.
        jobs: What to make.
    """
    waiting: deque[Future[_Made]] = deque()
    with ThreadPoolExecutor(_READERS) as pool:
        try:
            for job in jobs:
                waiting.append(pool.submit(make, job))
                if len(waiting) > _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
