"""The tiles of a composite: made side by side, kept on disk, put together in the end."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox

from sluice.base.errors import RunFailed
from sluice.base.files import write_whole
from sluice.base.grid import PixelWindow, iter_tiles
from sluice.base.records import TileOutcome, TileStatus
from sluice.scan.checkpoint import DAMAGED
from sluice.scan.executors import as_done
from sluice.scan.predict import CONCERNS_ALL_TILES
from sluice.scan.run import Progress

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LayerTile:
    """A part of a composite, as it is stored."""

    layers: npt.NDArray[np.int16]
    """(L, H, W) counts."""
    looks: npt.NDArray[np.uint16]
    """(2, H, W): clear looks, and the day of the last one."""
    observed: int
    """Pixels with a value in every layer."""
    left_out: dict[str, str]
    """Scenes that could not be read, and why."""


MakeTile = Callable[[GeoBox], LayerTile]


class LayerTiles:
    """The tiles of one composite on disk, in a folder of its own.

    Args:
        root: Folder for the work in progress.
        fingerprint: Everything that the pixels depend on, as a text.
        geobox: Grid of the whole.
        tile_px: Side of a tile.
        needed: Whether a tile is of use; one that is not is not made. None where all are.
        first: (height, width) of the first row and column of tiles, 0 for whole ones.
    """

    def __init__(
        self,
        root: Path,
        fingerprint: str,
        geobox: GeoBox,
        tile_px: int,
        needed: Callable[[GeoBox], bool] | None = None,
        *,
        first: tuple[int, int] = (0, 0),
    ) -> None:
        self.geobox = geobox
        self._identity = hashlib.sha256(fingerprint.encode()).hexdigest()
        self.folder = root / self._identity[:16]
        self.folder.mkdir(parents=True, exist_ok=True)
        windows = [core for core, _ in iter_tiles(geobox.shape.yx, tile_px, 0, first)]
        self.windows = [core for core in windows if needed is None or needed(core.of(geobox))]

    def save(self, window: PixelWindow, tile: LayerTile, outcome: TileOutcome) -> None:
        """Keep a tile, whole or not at all.

        Raises:
            RunFailed: The disk is full, or the folder is gone.
        """
        try:
            with write_whole(self._path(window)) as part, part.open("wb") as stream:
                np.savez(
                    stream,
                    layers=tile.layers,
                    looks=tile.looks,
                    identity=np.array(self._identity),
                    outcome=np.array(outcome.model_dump_json()),
                )
        except OSError as err:
            raise RunFailed(
                f"{self.folder}: cannot keep tile {tile_id(window)} ({err.strerror or err}); free "
                "some space and run the same command again: it goes on where it stopped",
                tile_id=tile_id(window),
            ) from err

    def outcome(self, window: PixelWindow) -> TileOutcome | None:
        """What became of a tile that was kept; None where none is, or it is damaged."""
        try:
            with np.load(self._path(window), allow_pickle=False) as stored:
                if str(stored["identity"]) != self._identity:
                    return None
                shape = stored["layers"].shape[1:], stored["looks"].shape[1:]
                if set(shape) != {(window.height, window.width)}:
                    return None
                return TileOutcome.model_validate_json(str(stored["outcome"]))
        except DAMAGED:
            return None

    def arrays(
        self,
    ) -> Iterator[tuple[PixelWindow, npt.NDArray[np.int16], npt.NDArray[np.uint16]]]:
        """Each tile that was kept: its window, its layers, its looks."""
        for window in self.windows:
            if self._path(window).is_file():
                with np.load(self._path(window), allow_pickle=False) as stored:
                    yield window, stored["layers"], stored["looks"]

    def _path(self, window: PixelWindow) -> Path:
        return self.folder / f"{tile_id(window)}.npz"


def tile_id(window: PixelWindow) -> str:
    """From its first pixel, `r0000000-c0001024`."""
    return f"r{window.row:07d}-c{window.col:07d}"


def compose_tiles(
    tiles: LayerTiles,
    make: MakeTile,
    *,
    workers: int,
    progress: Progress | None = None,
    failure_budget: float = 0.1,
) -> list[TileOutcome]:
    """Make the tiles that are not there yet, several at a time.

    Args:
        tiles: Where they are kept.
        make: Makes one.
        workers: Threads.
        progress: Told of each tile.
        failure_budget: Largest share of tiles that may fail; they are not observed.

    Raises:
        RunFailed: Too many failed, or memory or disk ran out.
        AuthError, BandNotFound, ConfigError: Wrong for every tile alike.
    """
    outcomes: list[TileOutcome] = []
    failed: list[TileOutcome] = []
    with contextlib.closing(_finish(tiles, make, workers)) as finished:
        for outcome, resumed in finished:
            outcomes.append(outcome)
            if outcome.status is TileStatus.FAILED:
                failed.append(outcome)
            if progress is not None:
                progress(outcome, done=len(outcomes), total=len(tiles.windows), resumed=resumed)
            if len(failed) > failure_budget * len(tiles.windows):
                raise RunFailed(
                    f"{len(failed)} of {len(tiles.windows)} tiles failed, more than the "
                    f"{failure_budget:.0%} allowed; first {failed[0].tile_id}: "
                    f"{failed[0].reason}. Finished tiles are kept: repair the cause and run the "
                    "same command again",
                    tile_id=failed[0].tile_id,
                )
    return sorted(outcomes, key=lambda outcome: outcome.tile_id)


def _finish(
    tiles: LayerTiles, make: MakeTile, workers: int
) -> Generator[tuple[TileOutcome, bool], None, None]:
    missing = []
    for window in tiles.windows:
        kept = tiles.outcome(window)
        if kept is None:
            missing.append(window)
        else:
            yield kept, True
    pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="compose")

    def submit(window: PixelWindow) -> Future[TileOutcome]:
        return pool.submit(_make_one, tiles, make, window)

    try:
        for outcome in as_done(submit, missing, workers):
            yield outcome, False
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _make_one(tiles: LayerTiles, make: MakeTile, window: PixelWindow) -> TileOutcome:
    """Make and keep a tile; its failure is a result, not an exception."""
    pixels = window.height * window.width
    try:
        tile = make(window.of(tiles.geobox))
    except CONCERNS_ALL_TILES:
        raise
    except MemoryError as err:
        raise RunFailed(
            f"out of memory on tile {tile_id(window)} of {window.height} x {window.width} px; "
            "use fewer workers (--workers 1)",
            tile_id=tile_id(window),
        ) from err
    except Exception as err:  # The one place where any error becomes an outcome.
        logger.debug("tile %s failed", tile_id(window), exc_info=True)
        lines = str(err).strip().splitlines()
        return TileOutcome(
            tile_id=tile_id(window),
            status=TileStatus.FAILED,
            windows=pixels,
            observed=0,
            reason=f"{type(err).__name__}: {lines[0]}" if lines else type(err).__name__,
        )
    outcome = TileOutcome(
        tile_id=tile_id(window),
        status=TileStatus.DONE if tile.observed else TileStatus.NOT_OBSERVED,
        windows=pixels,
        observed=tile.observed,
        left_out=tile.left_out,
    )
    tiles.save(window, tile, outcome)
    return outcome
