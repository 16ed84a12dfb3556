"""Pixels that came over the network, kept on disk up to a size.

One file per entry, named by the hash of its key, written whole, and checked when read: what is
damaged, half-written or somebody else's counts as absent. Threads and processes may share a
folder. Nothing here can fail a read: without room or rights the cache keeps nothing.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import math
import os
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sluice.base.files import write_whole

Array = npt.NDArray[Any]

_MAGIC = b"SLUICE1\n"
_HEAD_BYTES = len(_MAGIC) + 4
_DESCRIPTION_BYTES = 256
_SUFFIX = ".block"
_WORTH_PACKING = 0.6
_KEPT_AFTER_EVICTION = 0.9
# Entries of other processes are counted when this share of the limit was written here.
_RECOUNT_SHARE = 1 / 16
_ABANDONED_S = 3600.0
_PAUSE_S = 60.0


class BlockCache:
    """A folder of checked entries, the least recently used removed first.

    The limit holds for what one process writes. Several that share a folder may exceed it by a
    sixteenth each until they count again.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit = limit_bytes
        self._lock = threading.Lock()
        self._counted: int | None = None
        """Bytes in the folder, as far as is known."""
        self._written = 0
        """Bytes written since they were counted."""
        self._paused_until = 0.0

    def get_text(self, key: str) -> str | None:
        """What `put_text` kept, None where it is not there."""
        body = self._get(key)
        return None if body is None else bytes(body).decode(errors="replace")

    def put_text(self, key: str, text: str) -> None:
        """Keep a text."""
        self._put(key, text.encode())

    def get_array(self, key: str) -> Array | None:
        """What `put_array` kept, read-only; None where it is not there."""
        body = self._get(key)
        if body is None:
            return None
        try:
            return _unpack(body)
        except (ValueError, TypeError, KeyError, zlib.error):
            return None

    def put_array(self, key: str, array: Array) -> None:
        """Keep an array, compressed where that is worth it."""
        self._put(key, _pack(array))

    def _path(self, key: str) -> Path:
        name = hashlib.sha256(key.encode()).hexdigest()
        return self._folder / name[:2] / (name + _SUFFIX)

    def _get(self, key: str) -> memoryview | None:
        path = self._path(key)
        try:
            stored = path.read_bytes()
        except OSError:
            return None
        # A view, as blocks are megabytes.
        body = memoryview(stored)[_HEAD_BYTES:]
        if stored[:_HEAD_BYTES] != _MAGIC + _checksum(key, body):
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # the time of last use
        return body

    def _put(self, key: str, body: bytes) -> None:
        size = _HEAD_BYTES + len(body)
        if size > self._limit or time.monotonic() < self._paused_until:
            return
        try:
            with write_whole(self._path(key)) as part:
                part.write_bytes(_MAGIC + _checksum(key, body) + body)
        except PermissionError:
            # On Windows also where another process is reading the entry at this moment.
            if not os.access(self._folder, os.W_OK):
                self._paused_until = time.monotonic() + _PAUSE_S
            return
        except OSError:
            # A full disk or no such folder: do not try for each block.
            self._paused_until = time.monotonic() + _PAUSE_S
            return
        with self._lock:
            self._account(size)

    def _account(self, size: int) -> None:
        """Count an entry that was written, and make room where the limit is passed."""
        self._written += size
        if self._counted is not None:
            self._counted += size
        stale = self._written > self._limit * _RECOUNT_SHARE
        if self._counted is None or stale or self._counted > self._limit:
            entries = list(_entries(self._folder))
            self._counted = sum(entry.size for entry in entries)
            self._written = 0
            if self._counted > self._limit:
                self._counted -= _remove_oldest(
                    entries, self._counted - self._limit * _KEPT_AFTER_EVICTION
                )


@functools.lru_cache(maxsize=16)
def cache_in(folder: Path, limit_bytes: int) -> BlockCache:
    """The cache of a folder; one object per process, so that its threads count together."""
    return BlockCache(folder, limit_bytes)


@dataclass(frozen=True)
class _Entry:
    path: str
    size: int
    used: float


def _entries(folder: Path) -> Iterator[_Entry]:
    """Entries of all processes; what a killed one left half-written is removed after an hour."""
    for shelf in _scan(folder):
        if len(shelf.name) != 2 or not shelf.is_dir(follow_symlinks=False):
            continue
        for file in _scan(shelf.path):
            with contextlib.suppress(OSError):
                stat = file.stat(follow_symlinks=False)
                if file.name.endswith(_SUFFIX) and not file.name.startswith("."):
                    yield _Entry(file.path, stat.st_size, stat.st_mtime)
                elif file.name.startswith(".part-") and time.time() - stat.st_mtime > _ABANDONED_S:
                    Path(file.path).unlink()


def _scan(folder: Path | str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError:
        return []


def _remove_oldest(entries: list[_Entry], to_free: float) -> int:
    freed = 0
    for entry in sorted(entries, key=lambda entry: entry.used):
        if freed >= to_free:
            break
        try:
            Path(entry.path).unlink(missing_ok=True)
        except OSError:
            continue  # open in another process on Windows
        freed += entry.size
    return freed


def _checksum(key: str, body: bytes | memoryview) -> bytes:
    # Against accidents, so the fastest there is; with the key, so that a file under another's
    # name is not taken for it.
    return zlib.crc32(body, zlib.crc32(key.encode())).to_bytes(4, "big")


def _pack(array: Array) -> bytes:
    array = np.ascontiguousarray(array)
    head = {"dtype": array.dtype.str, "shape": array.shape, "packed": _compresses(array)}
    body = zlib.compress(array.data, 1) if head["packed"] else array.tobytes()
    return json.dumps(head).encode() + b"\n" + body


def _compresses(array: Array) -> bool:
    """Judged by some of its lines: classes and gaps do, ground does hardly.

    To pack a block of reflectance takes ten times as long as to write it, and saves a quarter.
    """
    some = np.ascontiguousarray(array[:: max(1, len(array) // 64)])
    return len(zlib.compress(some.data, 1)) < _WORTH_PACKING * some.nbytes


def _unpack(body: memoryview) -> Array:
    end = bytes(body[:_DESCRIPTION_BYTES]).index(b"\n")
    described, content = json.loads(bytes(body[:end])), body[end + 1 :]
    dtype, shape = np.dtype(described["dtype"]), tuple(described["shape"])
    expected = math.prod(shape) * dtype.itemsize
    if described["packed"]:
        content = memoryview(zlib.decompressobj().decompress(content, expected + 1))
    if len(content) != expected:
        raise ValueError(f"{len(content)} bytes in place of {expected}")
    return np.frombuffer(content, dtype).reshape(shape)
