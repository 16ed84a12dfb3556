"""Reads a file that somebody sent, in a process of its own that can be killed.

It gets a folder with that one file, little memory and time, no network where the system allows to
give it up, and GDAL with the few drivers that are needed. What it read it leaves beside the file.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import sys
from pathlib import Path
from typing import Any

AREA, LAYER = "area.wkb", "layer.parquet"
ANSWER = "answer.json"
_NEW_USER, _NEW_NET = 0x10000000, 0x40000000


def give_up_network() -> bool:
    """Go on without any network, where Linux allows that; gives whether it did."""
    if not sys.platform.startswith("linux"):
        return False
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        return any(libc.unshare(what) == 0 for what in (_NEW_NET, _NEW_USER | _NEW_NET))
    return False


def limit(seconds: float, memory_bytes: int, file_bytes: int) -> None:
    """Bound time, memory and files, where the system can."""
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return
    for what, most in (
        (resource.RLIMIT_CPU, int(seconds) + 1),
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(what, (most, most))


def main() -> None:
    """Read what `request.json` in this folder asks for."""
    request = json.loads(Path("request.json").read_text(encoding="utf-8"))
    give_up_network()
    limit(request["seconds"], request["memory_bytes"], request["file_bytes"])
    Path(ANSWER).write_text(json.dumps(answer_to(request)), encoding="utf-8")


def answer_to(request: dict[str, Any]) -> dict[str, Any]:
    """What was read, or `error`: why not."""
    from sluice.base.errors import SluiceError  # noqa: PLC0415 - after the limits

    try:
        return _read(request)
    except SluiceError as err:
        return {"error": str(err)}
    except (MemoryError, RecursionError):
        return {"error": f"{request['file']}: needs more memory than an upload may"}
    except Exception as err:  # noqa: BLE001 - the boundary of a process; the file is a stranger's
        said = (str(err).strip().splitlines() or [""])[0]
        return {"error": f"{request['file']}: cannot be read ({type(err).__name__}: {said})"}


def _read(request: dict[str, Any]) -> dict[str, Any]:
    from sluice.app.web.upload_checks import check_content, check_size  # noqa: PLC0415

    path = Path(request["file"])
    check_content(path)
    if request["what"] == "area":
        import shapely  # noqa: PLC0415 - after the limits

        from sluice.app.area import read_area  # noqa: PLC0415

        # A name with a comma in it could be a box.
        area = read_area(f"./{path}")
        check_size([area], request["vertices"], request["features"], str(path))
        Path(AREA).write_bytes(shapely.to_wkb(area))
        return {"what": "area"}
    from sluice.app.following.layer_files import LayerColumns, read_layer  # noqa: PLC0415

    read = read_layer(
        path,
        name=request["name"],
        kind=request["kind"],
        buffer=request["buffer"],
        columns=LayerColumns(**request["columns"]),
        licence=request["licence"],
    )
    features = read.features
    check_size(features.geometry, request["vertices"], request["features"], str(path))
    told = features.assign(
        properties=[json.dumps(one) for one in features["properties"]],
        **{
            name: [None if day is None else day.isoformat() for day in features[name]]
            for name in ("start", "end")
        },
    )
    told.to_parquet(LAYER, compression=None)
    return {
        "what": "layer",
        "layer": read.layer.model_dump(mode="json"),
        "notes": list(read.notes),
    }


if __name__ == "__main__":
    main()
