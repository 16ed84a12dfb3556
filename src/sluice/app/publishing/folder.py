"""A published folder is written beside its place, and takes it only when it is whole."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sluice.app.products.landing import telling_disk_errors
from sluice.base.errors import ConfigError

MARK = "data/published.json"
"""The file by which a published folder is known."""
OURS = frozenset({"README.txt", "assets", "data", "icon.svg", "index.html"})
"""What a published folder holds, at its top."""
_SOME_NAMES = 3


def check_folder(out_dir: Path, *, overwrite: bool) -> None:
    """Refuse a place that may not be written to.

    Raises:
        ConfigError: It is a file, holds something that Sluice did not publish, or a published map
            that may not be replaced.
    """
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

    A map that was there stays whole until then. After a failure nothing is left.

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
        part = Path(tempfile.mkdtemp(prefix=".part-", dir=parent))
        try:
            # Others have to read it: a web server under another name, too.
            part.chmod(0o755)
            yield part
            check_folder(out_dir, overwrite=overwrite)
            _take_place(part, out_dir)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _take_place(part: Path, out_dir: Path) -> None:
    if not out_dir.exists():
        part.rename(out_dir)
        return
    old = part.with_name(part.name.replace(".part-", ".old-"))
    out_dir.rename(old)
    try:
        part.rename(out_dir)
    except OSError:
        old.rename(out_dir)
        raise
    shutil.rmtree(old, ignore_errors=True)
