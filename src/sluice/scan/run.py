"""The scan: from a grid, a loader and a model to the scores of all windows."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from odc.geo.geobox import GeoBox

from sluice.base.arrays import BoolHW
from sluice.base.errors import ConfigError, GridMismatch, RunFailed
from sluice.base.protocols import Predictor, TileLoader
from sluice.base.records import TileOutcome, TileStatus
from sluice.base.windows import ScoredWindows, WindowLattice
from sluice.scan.cells import cell_axes
from sluice.scan.checkpoint import Checkpoint
from sluice.scan.executors import TileExecutor, run_serially
from sluice.scan.predict import TileScores
from sluice.scan.tiles import TileTask, plan_tiles


class Progress(Protocol):
    """Told of each tile as it is finished."""

    def __call__(self, outcome: TileOutcome, *, done: int, total: int, resumed: bool) -> None:
        """Take note.

        Args:
            outcome: The tile's.
            done: Tiles finished so far, this one included.
            total: Tiles of the run.
            resumed: The tile was finished by an earlier call: it says nothing about speed.
        """
        ...


def noting(outcomes: list[TileOutcome], progress: Progress | None) -> Progress:
    """A progress that keeps each outcome as well: of a run that fails, the record needs them.

    Args:
        outcomes: Taken in here, in the order in which tiles are finished.
        progress: Told afterwards.
    """

    def note(outcome: TileOutcome, *, done: int, total: int, resumed: bool) -> None:
        outcomes.append(outcome)
        if progress is not None:
            progress(outcome, done=done, total=total, resumed=resumed)

    return note


@dataclass(frozen=True)
class ScanResult:
    """All windows, and what became of each tile."""

    windows: ScoredWindows
    seen: BoolHW
    """(rows, columns) of the cells of `blend`, True where at least half of a cell's own pixels
    are valid; the cells of a failed tile are not seen."""
    outcomes: tuple[TileOutcome, ...]
    """One for each tile that was needed, in the order of `plan_tiles`."""


def scan_windows(
    geobox: GeoBox,
    loader: TileLoader,
    predictor: Predictor,
    *,
    stride_px: int,
    tile_px: int = 1024,
    execute: TileExecutor = run_serially,
    checkpoint: Checkpoint | None = None,
    progress: Progress | None = None,
    failure_budget: float = 0.1,
    needed: Callable[[GeoBox], bool] | None = None,
) -> ScanResult:
    """Score every window of an image, tile by tile.

    Memory: what the executor holds (one or two tiles of pixels for each worker, whatever the
    image's size) and five bytes for each window: at a stride of 8 px, 31 MB for 20,000 x 20,000 px.
    Where windows have cells, as many for each of these, and four for each sought class where
    there are several.

    Args:
        geobox: Grid of the image, at the model's pixel size.
        loader: Reads the model's inputs on any part of the grid, NaN beyond it.
        predictor: The model.
        stride_px: Pixels between windows.
        tile_px: Largest side of a tile, halo included.
        execute: How tiles are run.
        checkpoint: Where finished tiles are kept; a second call with the same one resumes.
        progress: Told of each tile.
        failure_budget: Largest share of tiles that may fail; their windows are not observed.
        needed: Whether the pixels of a tile are of use; a tile that is not is neither read nor
            counted, and its windows are not observed. None where all are.

    Raises:
        GridMismatch: The grid's pixels are not of the model's size.
        RunFailed: Too many tiles failed, memory or disk ran out, or a worker died.
        AuthError, BandNotFound, ConfigError, ModelError: Wrong for every tile alike.
    """
    _check(geobox, predictor, failure_budget)
    lattice = WindowLattice(
        geobox.shape.yx,
        predictor.window_px,
        stride_px,
        predictor.cells_per_window,
        predictor.scores_per_cell,
    )
    tasks = needed_tiles(plan_tiles(lattice, tile_px, predictor.context_px), geobox, needed)
    scores = np.full(lattice.scores_shape, np.nan, np.float32)
    seen = np.zeros([axis.count for axis in cell_axes(lattice)], bool)
    outcomes: dict[str, TileOutcome] = {}
    failed: list[TileOutcome] = []
    run = functools.partial(execute, geobox=geobox, loader=loader, predictor=predictor)
    with contextlib.closing(_finish(tasks, run, checkpoint)) as finished:
        for tile, resumed in finished:
            scores[..., *tile.task.score_slices] = tile.scores
            seen[tile.task.cell_slices] = tile.seen
            outcomes[tile.task.tile_id] = tile.outcome
            if tile.outcome.status is TileStatus.FAILED:
                failed.append(tile.outcome)
            if progress is not None:
                progress(tile.outcome, done=len(outcomes), total=len(tasks), resumed=resumed)
            if len(failed) > failure_budget * len(tasks):
                raise _over_budget(failed, len(tasks), failure_budget)
    return ScanResult(
        ScoredWindows(lattice, scores, geobox), seen, tuple(outcomes[t.tile_id] for t in tasks)
    )


def needed_tiles(
    tasks: Sequence[TileTask], geobox: GeoBox, needed: Callable[[GeoBox], bool] | None
) -> list[TileTask]:
    """Those of the tiles of a grid whose pixels are of use; see `scan_windows`."""
    return [task for task in tasks if needed is None or needed(task.pixels.of(geobox))]


def _finish(
    tasks: Sequence[TileTask],
    execute: Callable[[Sequence[TileTask]], Generator[TileScores, None, None]],
    checkpoint: Checkpoint | None,
) -> Generator[tuple[TileScores, bool], None, None]:
    """Yield each tile once, and whether an earlier call had finished it; keep the new ones."""
    missing: list[TileTask] = []
    for task in tasks:
        kept = checkpoint.load(task) if checkpoint is not None else None
        if kept is None:
            missing.append(task)
        else:
            yield kept, True
    with contextlib.closing(execute(missing)) as results:
        for tile in results:
            if checkpoint is not None:
                checkpoint.save(tile)
            yield tile, False


def _check(geobox: GeoBox, predictor: Predictor, failure_budget: float) -> None:
    pixel = abs(geobox.affine.a)
    if abs(pixel / predictor.gsd_m - 1) > 0.01:
        raise GridMismatch(
            f"the grid has pixels of {pixel:g}, the model takes {predictor.gsd_m:g} m; "
            "make the grid at the model's pixel size"
        )
    if not 0 <= failure_budget < 1:
        raise ConfigError(f"a failure budget of {failure_budget} is no share; use 0 to below 1")


def _over_budget(failed: Sequence[TileOutcome], total: int, budget: float) -> RunFailed:
    return RunFailed(
        f"{len(failed)} of {total} tiles failed, more than the {budget:.0%} allowed; first "
        f"{failed[0].tile_id}: {failed[0].reason}. Finished tiles are kept: repair the cause and "
        "run the same command again",
        tile_id=failed[0].tile_id,
    )
