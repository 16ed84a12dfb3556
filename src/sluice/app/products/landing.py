"""Files of a run appear in the output folder only when all of them are whole."""

from __future__ import annotations

import contextlib
import errno
import json
import shutil
import sqlite3
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyogrio
from rasterio.errors import RasterioError

from sluice.app.products.layout import (
    CATALOGUE,
    EVERYTHING,
    FAILED_RUN,
    ITEM,
    OVERVIEW,
    RUN,
    WORK_FOLDER,
)
from sluice.base.errors import ConfigError, RunFailed

_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_FORBIDDEN = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EEXIST,
    # Parents are made where they are missing: then the place itself takes no folder.
    errno.ENOENT,
}
_NOTHING_LEFT = 1_000_000  # bytes
# What QGIS leaves beside a file describes the file that was there before.
_COMPANIONS = ("-wal", "-shm", "-journal", ".aux.xml")


def open_output(out_dir: Path, *, overwrite: bool = False) -> Path:
    """Make sure that a run may write here, before it starts; make the folder if need be.

    A folder in which a run was cut off is taken up again. A finished output stays whole until
    the new one lands.

    Args:
        out_dir: Output folder.
        overwrite: Whether a finished output may be replaced.

    Returns:
        The folder for everything unfinished (tiles, rasters in the making), inside `out_dir`
        and so on the same disk.

    Raises:
        ConfigError: It holds a finished output, or other people's files, or cannot be written.
    """
    check_output(out_dir, overwrite=overwrite)
    with telling_disk_errors(out_dir):
        work = out_dir / WORK_FOLDER
        work.mkdir(parents=True, exist_ok=True)
        # A folder may be there and refuse files.
        probe = work / ".probe"
        probe.write_bytes(b"")
        probe.unlink()
    return work


def check_output(out_dir: Path, *, overwrite: bool = False, command: str = "") -> None:
    """Refuse a folder that a run may not write to, as far as that shows without writing.

    Args:
        out_dir: Output folder; may be missing.
        overwrite: Whether a finished output may be replaced.
        command: That writes; what another one left is never replaced.

    Raises:
        ConfigError: It holds a finished output, or other people's files, or is no folder.
    """
    with telling_disk_errors(out_dir):
        if command and out_dir.is_dir() and holds_finished(out_dir):
            record = json.loads((out_dir / RUN).read_bytes())
            other = record.get("parameters", {}).get("command", command)
            if other != command:
                raise ConfigError(
                    f"{out_dir}: holds the output of `sluice {other}`, which --overwrite would "
                    "remove; give --out another folder",
                    href=str(out_dir),
                )
        if out_dir.is_dir():
            _refuse_what_is_not_ours(out_dir, overwrite=overwrite)
        elif out_dir.exists():
            raise ConfigError(f"{out_dir}: is a file; give --out a folder", href=str(out_dir))


def _refuse_what_is_not_ours(out_dir: Path, *, overwrite: bool) -> None:
    if holds_finished(out_dir):
        if not overwrite:
            raise ConfigError(
                f"{out_dir}: holds a finished output; "
                "give --overwrite to replace it, or another --out folder",
                href=str(out_dir),
            )
    elif not (out_dir / WORK_FOLDER).is_dir():
        foreign = sorted(path.name for path in out_dir.iterdir() if not path.name.startswith("."))
        if OVERVIEW in foreign:
            raise ConfigError(
                f"{out_dir}: holds the results of a command that made several; "
                "give --out a new or an empty folder",
                href=str(out_dir),
            )
        if foreign:
            raise ConfigError(
                f"{out_dir}: holds files that Sluice did not write ({foreign[0]}, "
                f"{len(foreign)} in all); give --out a new or an empty folder",
                href=str(out_dir),
            )


def holds_finished(out_dir: Path) -> bool:
    """Whether a folder holds a finished output."""
    try:
        record = json.loads((out_dir / RUN).read_bytes())
    except (FileNotFoundError, ValueError):
        return False
    # Not the full record: an output of another version is an output as well.
    return isinstance(record, dict) and {"run_id", "sluice_version"} <= record.keys()


def land(staged: Mapping[str, Path], out_dir: Path) -> None:
    """Move finished files to their places, `run.json` last, and drop the work folder.

    While files are being replaced, the folder has no `run.json` and so does not look whole.
    Files with other names are left alone.

    Args:
        staged: Final name to present path, on the same disk.
        out_dir: Output folder.

    Raises:
        OSError: A file cannot be moved or replaced.
    """
    for name in (FAILED_RUN, RUN, CATALOGUE, ITEM):
        (out_dir / name).unlink(missing_ok=True)
    for name in EVERYTHING:
        for suffix in _COMPANIONS:
            (out_dir / f"{name}{suffix}").unlink(missing_ok=True)
        if name in staged:
            staged[name].replace(out_dir / name)
        else:
            (out_dir / name).unlink(missing_ok=True)
    shutil.rmtree(out_dir / WORK_FOLDER, ignore_errors=True)


@contextlib.contextmanager
def telling_disk_errors(folder: Path) -> Iterator[None]:
    """Turn what goes wrong on writing into one clear line.

    Args:
        folder: Where the block writes; errors of reading belong to those who read.

    Raises:
        RunFailed: The disk is full, or a library could not write for another reason.
        ConfigError: Writing is not allowed there.
    """
    try:
        yield
    except OSError as err:
        if err.errno in _FORBIDDEN:
            concerned = err.filename or folder
            raise ConfigError(
                f"{concerned}: cannot be written ({err.strerror}); "
                "close it in other programs, or choose another folder",
                href=str(folder),
            ) from err
        raise _failed(folder, err, full=err.errno in _FULL) from err
    except (
        pyogrio.errors.DataSourceError,
        pyogrio.errors.DataLayerError,
        sqlite3.Error,
        RasterioError,
    ) as err:
        raise _failed(folder, err, full=False) from err


def _failed(folder: Path, err: Exception, *, full: bool) -> RunFailed:
    free = _free_bytes(folder)
    # GDAL and SQLite do not pass on why they failed; the free space mostly tells.
    if full or free < _NOTHING_LEFT:
        why = "the disk is full, or a limit on file size was reached"
    else:
        detail = (str(err).strip() or type(err).__name__).splitlines()[0]
        why = f"a file could not be written ({textwrap.shorten(detail, 160)})"
    return RunFailed(
        f"{folder}: {why}; {free / 1e6:,.0f} MB are free; make room and run again",
        href=str(folder),
    )


def _free_bytes(folder: Path) -> int:
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(existing).free
