"""Files that people send: received within limits, read by a process that can be killed."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import pyogrio
import shapely
from shapely.geometry.base import BaseGeometry

from sluice.app.web.errors import TooLarge
from sluice.app.web.upload_checks import check_suffix
from sluice.app.web.upload_child import ANSWER, AREA, LAYER
from sluice.base.errors import DataError, RunFailed
from sluice.base.files import VECTOR_DRIVERS
from sluice.base.places import Layer

_RECEIVE_S = 300.0
_KEPT_VARIABLES = ("PATH", "SYSTEMROOT", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TEMP", "TMP")
"""Of the environment: the rest may hold passwords."""


@dataclass(frozen=True)
class Limits:
    """What an upload may take."""

    upload_bytes: int
    vertices: int
    features: int
    seconds: float
    memory_bytes: int = 3_000_000_000


@dataclass(frozen=True)
class Wanted:
    """What is to be read of a file."""

    what: str
    """`area` or `layer`."""
    file: str
    """Its name, as its owner calls it."""
    name: str = ""
    kind: str | None = None
    buffer: str = "0 m"
    licence: str = ""
    columns: dict[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class UploadedLayer:
    """A layer that was sent, ready for `Store.put_layer`."""

    layer: Layer
    features: gpd.GeoDataFrame
    notes: tuple[str, ...]


def upload_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder for one upload, which goes when it is left."""
    return tempfile.TemporaryDirectory(prefix="sluice-upload-", ignore_cleanup_errors=True)


async def receive(chunks: AsyncIterator[bytes], folder: Path, file: str, limits: Limits) -> Path:
    """Write a request's body to a file.

    Args:
        chunks: Of the body.
        folder: For this upload alone.
        file: The name that its owner gave; only its suffix is taken.
        limits: What it may take.

    Raises:
        DataError: Files of this kind are not taken, or nothing came.
        TooLarge: It is larger, or comes more slowly, than it may.
        RunFailed: The disk is full.
    """
    path = folder / f"upload{check_suffix(file)}"
    came, until = 0, time.monotonic() + _RECEIVE_S
    try:
        with path.open("wb") as target:
            async for chunk in chunks:
                came += len(chunk)
                if came > limits.upload_bytes:
                    raise TooLarge(
                        f"{file}: is larger than {limits.upload_bytes / 1e6:g} MB; simplify it, "
                        "or let whoever runs the service add it"
                    )
                if time.monotonic() > until:
                    raise TooLarge(f"{file}: came too slowly; send a smaller file")
                target.write(chunk)
    except OSError as err:
        raise RunFailed(f"{file}: cannot be kept for reading ({err.strerror}); ask again") from err
    if not came:
        raise DataError(f"{file}: is empty; send the file as the request's body")
    return path


def read_uploaded_area(path: Path, wanted: Wanted, limits: Limits) -> BaseGeometry:
    """The polygons of a file that was sent.

    Raises:
        DataError: It cannot be read, or is more than it may be.
    """
    _read_apart(path, wanted, limits)
    found: BaseGeometry = shapely.from_wkb((path.parent / AREA).read_bytes())
    return found


def read_uploaded_layer(path: Path, wanted: Wanted, limits: Limits) -> UploadedLayer:
    """The features of a file that was sent.

    Raises:
        DataError: It cannot be read, or is more than it may be.
    """
    answer = _read_apart(path, wanted, limits)
    features = gpd.read_parquet(path.parent / LAYER)
    features["properties"] = pd.Series(
        [json.loads(text) for text in features["properties"]], dtype=object
    )
    for name in ("start", "end"):
        days = [None if pd.isna(day) else pd.Timestamp(day).date() for day in features[name]]
        features[name] = pd.Series(days, dtype=object)
    layer = Layer(**answer["layer"]).model_copy(update={"source": f"uploaded: {wanted.file}"})
    return UploadedLayer(layer, features, tuple(answer["notes"]))


def _read_apart(path: Path, wanted: Wanted, limits: Limits) -> dict[str, Any]:
    folder = path.parent
    request = {
        "what": wanted.what,
        "file": path.name,
        "name": wanted.name,
        "kind": wanted.kind,
        "buffer": wanted.buffer,
        "licence": wanted.licence,
        "columns": wanted.columns,
        "seconds": limits.seconds,
        "vertices": limits.vertices,
        "features": limits.features,
        "memory_bytes": limits.memory_bytes,
        "file_bytes": 4 * limits.upload_bytes + 100_000_000,
    }
    (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
    too_much = f"{wanted.file}: needs more time or memory than an upload may; simplify it"
    try:
        ended = subprocess.run(
            # -P: no module is taken from the folder that it runs in.
            [sys.executable, "-P", "-m", "sluice.app.web.upload_child"],
            cwd=folder,
            env=_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=limits.seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as err:
        raise DataError(too_much) from err
    except OSError as err:
        raise RunFailed(f"{wanted.file}: cannot be read at present ({err.strerror})") from err
    told = folder / ANSWER
    if ended.returncode != 0 or not told.is_file():
        raise DataError(too_much)
    answer: dict[str, Any] = json.loads(told.read_text(encoding="utf-8"))
    if "error" in answer:
        # Its owner knows it by another name, and where it lay is nobody's business.
        message = str(answer["error"]).replace(f"./{path.name}", path.name)
        raise DataError(message.replace(path.name, wanted.file))
    return answer


@functools.cache
def _skipped_drivers() -> str:
    """All but those of the allow-list."""
    return ",".join(sorted(set(pyogrio.list_drivers()) - set(VECTOR_DRIVERS)))


def _environment(folder: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    return kept | {
        "PYTHONPATH": os.pathsep.join(part for part in sys.path if part),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "GDAL_SKIP": _skipped_drivers(),
        "GDAL_DRIVER_PATH": "disable",
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
        # What a schema says runs only where it can do no harm.
        "OGR_SQLITE_PRAGMA": "trusted_schema=OFF,cell_size_check=ON",
        "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".none",
        "GDAL_HTTP_MAX_RETRY": "0",
        "PROJ_NETWORK": "OFF",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
