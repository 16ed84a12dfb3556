"""A real STAC API on loopback: `rustac serve`, in memory, for as long as it is needed."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

_HOST = "127.0.0.1"
_STARTS_WITHIN_S = 20.0


def rustac_program() -> str | None:
    """Path of the program, None where it is not installed."""
    beside = Path(sys.executable).with_name("rustac.exe" if sys.platform == "win32" else "rustac")
    return str(beside) if beside.is_file() else shutil.which("rustac")


@contextlib.contextmanager
def serve_items(
    items: Sequence[Mapping[str, Any]],
    folder: Path,
    collections: Sequence[Mapping[str, Any]] = (),
) -> Iterator[str]:
    """Serve items and give the API's address.

    Args:
        items: With the ids of their collections; those not given are made up by the server.
        folder: Where the files that the server reads are written.
        collections: Served beside, for example one without items.
    """
    program = rustac_program()
    if program is None:
        raise FileNotFoundError("rustac is not installed; it comes with the extra `dev`")
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / "items.json"]
    files[0].write_text(json.dumps({"type": "FeatureCollection", "features": list(items)}))
    for k, one in enumerate(collections):
        files.append(folder / f"collection-{k}.json")
        files[-1].write_text(json.dumps(one))
    address = f"{_HOST}:{_free_port()}"
    command = [program, "serve", "--create-collections", "--addr", address, *map(str, files)]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait_for(f"http://{address}", server, folder / "server.log")
            yield f"http://{address}"
        finally:
            server.terminate()
            server.wait(timeout=10)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind((_HOST, 0))
        return int(one.getsockname()[1])


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _STARTS_WITHIN_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"rustac ended with {server.returncode}: {log.read_text()}")
        try:
            with urllib.request.urlopen(url, timeout=1):  # noqa: S310 -- loopback
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.05)
    raise TimeoutError(f"rustac did not answer at {url}: {log.read_text()}")
