"""One tile, from pixels to scores: the function that every executor runs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from odc.geo.geobox import GeoBox

from sluice.base.arrays import ArrayHW, BoolHW
from sluice.base.errors import (
    AuthError,
    BandNotFound,
    ConfigError,
    ModelError,
    RunFailed,
    ShapeMismatch,
)
from sluice.base.protocols import Predictor, TileLoader
from sluice.base.raster import Raster
from sluice.base.records import TileOutcome, TileStatus
from sluice.scan.tiles import TileTask

logger = logging.getLogger(__name__)

# These concern every tile alike: trying the next one would only repeat them.
CONCERNS_ALL_TILES = (AuthError, BandNotFound, ConfigError, ModelError, RunFailed)


@dataclass(frozen=True)
class TileScores:
    """What came of one tile."""

    task: TileTask
    scores: ArrayHW
    """`task.scores_shape` float32, NaN = not observed."""
    seen: BoolHW
    """`task.cell_shape`, True where at least half of a cell's own pixels are valid."""
    outcome: TileOutcome


def read_tile(task: TileTask, geobox: GeoBox, loader: TileLoader) -> Raster:
    """Read the pixels of a tile, halo included.

    Args:
        task: The tile.
        geobox: Grid of the whole image; what the loader is asked for may reach beyond it.
        loader: Reads the model's inputs.
    """
    return loader(task.pixels.of(geobox))


def score_tile(task: TileTask, raster: Raster, predictor: Predictor) -> TileScores:
    """Score the windows of a tile that was read.

    Raises:
        BandNotFound: The loader did not bring all bands that the model takes.
        ShapeMismatch: The loader or the model gave an array of another size than it was asked for.
    """
    if raster.data_bhw.shape[1:] != (task.pixels.height, task.pixels.width):
        raise ShapeMismatch(
            f"tile {task.tile_id} has {task.pixels.height} x {task.pixels.width} px, "
            f"the loader gave {raster.data_bhw.shape[1:]}",
            tile_id=task.tile_id,
        )
    valid = raster.valid
    seen = _cells_seen(valid, task)
    if not valid.any():
        return _result(task, np.full(task.scores_shape, np.nan, np.float32), seen, raster)
    del valid
    scores = predictor.score_windows(raster, task.rows, task.cols)
    if scores.shape != task.scores_shape:
        raise ShapeMismatch(
            f"tile {task.tile_id} has places for {task.scores_shape} scores, the model gave "
            f"{scores.shape}",
            tile_id=task.tile_id,
        )
    return _result(task, scores.astype(np.float32, copy=False), seen, raster)


def predict_tile(
    task: TileTask, geobox: GeoBox, loader: TileLoader, predictor: Predictor
) -> TileScores:
    """Read and score one tile; its failure is a result, not an exception.

    Raises:
        AuthError, BandNotFound, ConfigError, ModelError: Wrong for every tile alike.
        RunFailed: Out of memory.
    """
    return score_or_fail(task, lambda: read_tile(task, geobox, loader), predictor)


def score_or_fail(task: TileTask, read: Callable[[], Raster], predictor: Predictor) -> TileScores:
    """The executor boundary: `predict_tile` for an executor that reads in its own way.

    Args:
        task: The tile.
        read: Gives its pixels, or raises what reading them raised.
        predictor: Scores them.

    Raises:
        AuthError, BandNotFound, ConfigError, ModelError: Wrong for every tile alike.
        RunFailed: Out of memory.
    """
    try:
        return score_tile(task, read(), predictor)
    except CONCERNS_ALL_TILES:
        raise
    except MemoryError as err:
        raise RunFailed(
            f"out of memory on tile {task.tile_id} of {task.pixels.height} x "
            f"{task.pixels.width} px; use fewer workers (--workers 1)",
            tile_id=task.tile_id,
        ) from err
    except Exception as err:  # The one place where any error becomes an outcome.
        logger.debug("tile %s failed", task.tile_id, exc_info=True)
        lines = str(err).strip().splitlines()
        return TileScores(
            task,
            np.full(task.scores_shape, np.nan, np.float32),
            np.zeros(task.cell_shape, dtype=bool),
            TileOutcome(
                tile_id=task.tile_id,
                status=TileStatus.FAILED,
                windows=task.windows,
                observed=0,
                reason=f"{type(err).__name__}: {lines[0]}" if lines else type(err).__name__,
            ),
        )


def _cells_seen(valid: BoolHW, task: TileTask) -> BoolHW:
    rows, cols = np.array(task.row_edges), np.array(task.col_edges)
    # Where a cell has no pixel of its own, `reduceat` takes the one at its edge (`CellAxis.edges`).
    down = np.add.reduceat(valid[: rows[-1], : cols[-1]], rows[:-1], axis=0, dtype=np.int32)
    count = np.add.reduceat(down, cols[:-1], axis=1)
    pixels = np.outer(np.maximum(np.diff(rows), 1), np.maximum(np.diff(cols), 1))
    return np.asarray(2 * count >= pixels)


def _result(task: TileTask, scores: ArrayHW, seen: BoolHW, raster: Raster) -> TileScores:
    n = task.cells_per_window
    # The scores of a cell are there or not there together.
    first = scores if task.scores_per_cell == 1 else scores[0]
    blocks = np.isfinite(first).reshape(len(task.rows), n, len(task.cols), n)
    observed = int(blocks.any(axis=(1, 3)).sum())
    return TileScores(
        task,
        scores,
        seen,
        TileOutcome(
            tile_id=task.tile_id,
            status=TileStatus.DONE if observed else TileStatus.NOT_OBSERVED,
            windows=task.windows,
            observed=observed,
            left_out=dict(raster.left_out),
        ),
    )
