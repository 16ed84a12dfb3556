"""The images of chips: made side by side, kept on disk until the data set is whole."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sluice.app.loading import CompositeLoader
from sluice.base.arrays import ArrayBHW
from sluice.base.errors import RunFailed
from sluice.base.files import write_whole
from sluice.base.records import TileOutcome, TileStatus
from sluice.labels.grid import Cell
from sluice.scan.checkpoint import DAMAGED
from sluice.scan.executors import as_done
from sluice.scan.predict import CONCERNS_ALL_TILES
from sluice.scan.run import Progress

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ChipTask:
    """One chip to make."""

    chip_id: str
    cell: Cell
    source: int
    """Which of the loaders reads it."""


@dataclass(frozen=True)
class StoredChip:
    """The image of a chip."""

    image_bhw: ArrayBHW
    left_out: dict[str, str]
    """Scenes that could not be read for it, and why."""


class ChipStore:
    """Chips on disk, in a folder of their own, whole or not there.

    Args:
        root: Folder for the work in progress.
        fingerprint: Everything that the pixels depend on, as a text.
    """

    def __init__(self, root: Path, fingerprint: str) -> None:
        self.folder = root / hashlib.sha256(fingerprint.encode()).hexdigest()[:16]
        self.folder.mkdir(parents=True, exist_ok=True)

    def save(self, chip_id: str, chip: StoredChip) -> None:
        """Keep a chip.

        Raises:
            RunFailed: The disk is full, or the folder is gone.
        """
        try:
            with write_whole(self._path(chip_id)) as part, part.open("wb") as stream:
                left_out = np.array(json.dumps(chip.left_out))
                np.savez(stream, image_bhw=chip.image_bhw, left_out=left_out)
        except OSError as err:
            raise RunFailed(
                f"{self.folder}: cannot keep chip {chip_id} ({err.strerror or err}); free some "
                "space and run the same command again: it goes on where it stopped",
                tile_id=chip_id,
            ) from err

    def load(self, chip_id: str) -> StoredChip | None:
        """A chip that was kept; None where none is, or it is damaged."""
        try:
            with np.load(self._path(chip_id), allow_pickle=False) as stored:
                return StoredChip(stored["image_bhw"], json.loads(str(stored["left_out"])))
        except DAMAGED:
            return None

    def _path(self, chip_id: str) -> Path:
        return self.folder / f"{chip_id}.npz"


def make_chips(
    tasks: Sequence[ChipTask],
    loaders: Sequence[CompositeLoader],
    store: ChipStore,
    *,
    workers: int,
    progress: Progress | None = None,
    failure_budget: float = 0.1,
) -> None:
    """Make the chips that are not there yet, several at a time.

    Memory: the looks of as many chips as there are workers.

    Args:
        tasks: The chips.
        loaders: Read them.
        store: Keeps them.
        workers: Threads.
        progress: Told of each chip.
        failure_budget: Largest share that may fail.

    Raises:
        RunFailed: Too many failed, or memory or disk ran out.
        AuthError, BandNotFound, ConfigError: Wrong for every chip alike.
    """
    failed: list[TileOutcome] = []
    done = 0
    with contextlib.closing(_finish(tasks, loaders, store, workers)) as finished:
        for outcome, resumed in finished:
            done += 1
            if outcome.status is TileStatus.FAILED:
                failed.append(outcome)
            if progress is not None:
                progress(outcome, done=done, total=len(tasks), resumed=resumed)
            if len(failed) > failure_budget * len(tasks):
                raise RunFailed(
                    f"{len(failed)} of {len(tasks)} chips failed, more than the "
                    f"{failure_budget:.0%} allowed; first {failed[0].tile_id}: "
                    f"{failed[0].reason}. Finished chips are kept: repair the cause and run the "
                    "same command again",
                    tile_id=failed[0].tile_id,
                )


def _finish(
    tasks: Sequence[ChipTask],
    loaders: Sequence[CompositeLoader],
    store: ChipStore,
    workers: int,
) -> Generator[tuple[TileOutcome, bool], None, None]:
    missing = []
    for task in tasks:
        kept = store.load(task.chip_id)
        if kept is None:
            missing.append(task)
        else:
            yield _outcome(task, kept), True
    pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="chip")

    def submit(task: ChipTask) -> Future[TileOutcome]:
        return pool.submit(_make_one, task, loaders[task.source], store)

    try:
        for outcome in as_done(submit, missing, workers):
            yield outcome, False
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _make_one(task: ChipTask, loader: CompositeLoader, store: ChipStore) -> TileOutcome:
    """Make and keep a chip; its failure is a result, not an exception."""
    try:
        raster = loader(task.cell.geobox)
    except CONCERNS_ALL_TILES:
        raise
    except MemoryError as err:
        raise RunFailed(
            f"out of memory on chip {task.chip_id}; use fewer workers (--workers 1)",
            tile_id=task.chip_id,
        ) from err
    except Exception as err:
        logger.debug("chip %s failed", task.chip_id, exc_info=True)
        lines = str(err).strip().splitlines()
        return TileOutcome(
            tile_id=task.chip_id,
            status=TileStatus.FAILED,
            windows=_pixels(task),
            observed=0,
            reason=f"{type(err).__name__}: {lines[0]}" if lines else type(err).__name__,
        )
    chip = StoredChip(raster.data_bhw, dict(raster.left_out))
    store.save(task.chip_id, chip)
    return _outcome(task, chip)


def _outcome(task: ChipTask, chip: StoredChip) -> TileOutcome:
    observed = int(np.isfinite(chip.image_bhw).all(axis=0).sum())
    return TileOutcome(
        tile_id=task.chip_id,
        status=TileStatus.DONE if observed else TileStatus.NOT_OBSERVED,
        windows=_pixels(task),
        observed=observed,
        left_out=chip.left_out,
    )


def _pixels(task: ChipTask) -> int:
    height, width = task.cell.geobox.shape.yx
    return int(height * width)
