"""A published folder is written beside its place, and takes it only when it is whole."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from sluice.app.products.landing import telling_disk_errors
from sluice.app.worker_names import is_gone, own_name
from sluice.base.errors import ConfigError

MARK = "data/published.json"
"""The file by which a published folder is known."""
OURS = frozenset({"README.txt", "assets", "data", "icon.svg", "index.html"})
"""What a published folder holds, at its top."""
_SOME_NAMES = 3
_OWNER, _NEW, _OLD = "owner.json", "map", "old"
"""In the folder in which a map is made: whose it is, the map, and the one whose place it takes."""
_LONGEST_NAME = 100
_ABANDONED_S = 7 * 24 * 3600.0
"""So long after it was begun nobody works on it any more, wherever that was."""


def check_folder(out_dir: Path, *, overwrite: bool) -> None:
    """Refuse a place that may not be written to.

    Raises:
        ConfigError: It has no name, is a file, holds something that Sluice did not publish, or a
            published map that may not be replaced.
    """
    if out_dir.name in {"", ".."}:
        raise ConfigError(
            f"{out_dir}: is where you are, or above it; give the name of a folder to make, such as "
            "public",
            href=str(out_dir),
        )
    if out_dir.is_symlink() or (out_dir.exists() and not out_dir.is_dir()):
        raise ConfigError(f"{out_dir}: is a file or a link; give a new folder", href=str(out_dir))
    names = sorted(path.name for path in out_dir.iterdir()) if out_dir.is_dir() else []
    if not names:
        return
    foreign = names if not _is_published(out_dir) else [name for name in names if name not in OURS]
    if foreign:
        told = ", ".join(foreign[:_SOME_NAMES])
        raise ConfigError(
            f"{out_dir}: holds files that Sluice did not publish ({told}, {len(foreign)} in all); "
            "give a new or an empty folder",
            href=str(out_dir),
        )
    if not overwrite:
        raise ConfigError(
            f"{out_dir}: holds a published map; give --overwrite to replace it, or another folder",
            href=str(out_dir),
        )


def _is_published(folder: Path) -> bool:
    try:
        told = json.loads((folder / MARK).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(told, dict) and {"format", "version", "areas"} <= told.keys()


@contextlib.contextmanager
def write_folder(out_dir: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give an empty folder beside `out_dir`; it takes its place if the block succeeds.

    A map that was there stays whole until then. After a failure nothing is left; what somebody left
    who was killed goes with the next map of this place.

    Args:
        out_dir: Where it is to be.
        overwrite: Whether a published map may be replaced.

    Raises:
        ConfigError: See `check_folder`; or the place cannot be written.
        RunFailed: The disk is full.
    """
    check_folder(out_dir, overwrite=overwrite)
    parent = out_dir.absolute().parent
    with telling_disk_errors(out_dir):
        parent.mkdir(parents=True, exist_ok=True)
        for left in _left_behind(out_dir):
            _clear(left, out_dir)
        check_folder(out_dir, overwrite=overwrite)
        work = Path(tempfile.mkdtemp(prefix=_prefix(out_dir), dir=parent))
        try:
            owner = {"worker": own_name(), "of": out_dir.name}
            (work / _OWNER).write_text(json.dumps(owner), "utf-8")
            folder = work / _NEW
            folder.mkdir()
            # Others have to read it: a web server under another name, too.
            folder.chmod(0o755)
            yield folder
            check_folder(out_dir, overwrite=overwrite)
            if out_dir.exists():
                out_dir.rename(work / _OLD)
            folder.rename(out_dir)
        finally:
            _clear(work, out_dir)


def _clear(work: Path, out_dir: Path) -> None:
    """Take away what a map was made in; the old one comes back where no new one took its place."""
    if not out_dir.exists() and (work / _OLD).is_dir():
        (work / _OLD).rename(out_dir)
    shutil.rmtree(work, ignore_errors=True)


def _prefix(out_dir: Path) -> str:
    return f".{out_dir.name[:_LONGEST_NAME]}.publishing-"


def _left_behind(out_dir: Path) -> list[Path]:
    """Of the same place, and nobody works on them any more."""
    found = [
        path
        for path in out_dir.absolute().parent.iterdir()
        if path.name.startswith(_prefix(out_dir)) and path.is_dir() and not path.is_symlink()
    ]
    return [path for path in found if _is_abandoned(path, out_dir.name)]


def _is_abandoned(work: Path, name: str) -> bool:
    try:
        owner = json.loads((work / _OWNER).read_bytes())
        age_s = time.time() - (work / _OWNER).stat().st_mtime
    except (OSError, ValueError):
        return False
    if not isinstance(owner, dict) or owner.get("of") != name:
        return False
    return is_gone(str(owner.get("worker"))) or age_s > _ABANDONED_S
