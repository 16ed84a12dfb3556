"""Finished tiles on disk, so that a scan that was cut off goes on where it stopped."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import zipfile
import zlib
from pathlib import Path

import numpy as np

from sluice.base.errors import ConfigError, RunFailed
from sluice.base.files import write_whole
from sluice.base.records import TileOutcome, TileStatus
from sluice.scan.predict import TileScores
from sluice.scan.tiles import TileTask

# What reading a cut-off or damaged .npz file raises.
DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


class Checkpoint:
    """The finished tiles of one run, one file each, in a folder that belongs to this run alone.

    Runs are told apart by a fingerprint of all that their scores depend on. A run with another
    fingerprint has another folder and starts over; the full fingerprint inside each file guards
    against a mix-up. A file that is damaged, or of other windows, counts as absent. Failed
    tiles are not kept, so that they are tried again.

    Args:
        root: Folder for the work in progress; made if it is missing.
        fingerprint: Everything the scores depend on (inputs, model hash, engine, precision, grid,
            stride, parameters), as a text.

    Raises:
        ConfigError: The folder cannot be made.
    """

    def __init__(self, root: Path, fingerprint: str) -> None:
        self.fingerprint = hashlib.sha256(fingerprint.encode()).hexdigest()
        self.folder = root / self.fingerprint[:16]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise ConfigError(
                f"{root}: cannot be written ({err.strerror}); choose another output folder"
            ) from err

    def save(self, tile: TileScores) -> None:
        """Keep a tile, unless it failed; the file is whole or not there.

        Raises:
            RunFailed: The disk is full, or the folder is gone.
        """
        if tile.outcome.status is TileStatus.FAILED:
            return
        try:
            with write_whole(self._path(tile.task)) as part, part.open("wb") as stream:
                np.savez(
                    stream,
                    scores=tile.scores,
                    seen=tile.seen,
                    identity=np.array(self._identity(tile.task)),
                    outcome=np.array(tile.outcome.model_dump_json()),
                )
        except OSError as err:
            raise RunFailed(
                f"{self.folder}: cannot keep tile {tile.task.tile_id} ({err.strerror or err}); "
                "free some space and run the same command again: it goes on where it stopped",
                tile_id=tile.task.tile_id,
            ) from err

    def load(self, task: TileTask) -> TileScores | None:
        """A tile that was kept, or None."""
        path = self._path(task)
        if not path.is_file():
            return None
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                if str(stored["identity"]) != self._identity(task):
                    return None
                scores, seen = stored["scores"], stored["seen"]
                outcome = TileOutcome.model_validate_json(str(stored["outcome"]))
        except DAMAGED:
            return None
        if scores.shape != task.scores_shape or scores.dtype != np.float32:
            return None
        if seen.shape != task.cell_shape or seen.dtype != np.bool_:
            return None
        return TileScores(task, scores, seen, outcome)

    def clear(self) -> None:
        """Remove this run's folder, and the one above if nothing else is in it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.folder.parent.rmdir()

    def _path(self, task: TileTask) -> Path:
        return self.folder / f"{task.tile_id}.npz"

    def _identity(self, task: TileTask) -> str:
        return f"{self.fingerprint} {task}"
