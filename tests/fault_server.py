"""A file server on loopback that answers range requests, and fails when told to."""

from __future__ import annotations

import contextlib
import email.utils
import re
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit


@dataclass
class Fault:
    """What goes wrong with the requests that it concerns."""

    kind: str | int
    """A status code, or `slow` (answers after `delay_s`), `reset` (closes the connection without
    an answer), `cut` (sends half of the announced body)."""
    times: int | None = None
    """Requests that fail, then all is well; None for all."""
    late: bool = False
    """Only ranges that do not begin at 0: the header can be read, pixels cannot."""
    retry_after: str | None = None
    body: str = "no\n"
    """Of an answer with a status code."""
    delay_s: float = 1.0
    hits: int = 0
    """Requests that failed so far."""


class Request(NamedTuple):
    """One request that came."""

    method: str
    path: str
    """With its query."""
    range: str | None
    headers: Mapping[str, str]


class FaultServer:
    """Serves the files of a folder on 127.0.0.1.

    Example:
        with FaultServer(folder) as server:
            server.faults["B04"] = Fault(503, times=2)
            read(f"{server.url}/B04.tif")
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[Request] = []
        self.faults: dict[str, Fault] = {}
        """By a part of the path."""
        self.allows: Callable[[Request], bool] = lambda _: True
        """Whether a request may pass; 403 otherwise."""
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._server = _on_unused_port()
        self._server.owner = self

    @property
    def url(self) -> str:
        """Address of the folder."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> FaultServer:
        poll_s = 0.02
        threading.Thread(target=self._server.serve_forever, args=(poll_s,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()

    def paths(self) -> list[str]:
        """Paths asked for, in order, without queries."""
        return [urlsplit(request.path).path for request in self.requests]

    def fault_of(self, request: Request) -> Fault | None:
        """The fault that this request meets; counts it."""
        with self._lock:
            self.requests.append(request)
            for part, fault in self.faults.items():
                late = request.range is not None and not request.range.startswith("bytes=0-")
                if part not in request.path or (fault.late and not late):
                    continue
                if fault.times is None or fault.hits < fault.times:
                    fault.hits += 1
                    return fault
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    owner: FaultServer

    def server_bind(self) -> None:
        # Without the look-up of the host's name that HTTPServer makes.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.server_address[:2]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients hang up on faults; that is no news."""


_used_ports: set[int] = set()


def _on_unused_port() -> _Server:
    """On a port that no test used yet, as GDAL and open files remember what an address held."""
    refused = []
    while True:
        server = _Server(("127.0.0.1", 0), _Handler)
        if server.server_port not in _used_ports:
            break
        refused.append(server)
    for other in refused:
        other.server_close()
    _used_ports.add(server.server_port)
    return server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Else small answers wait for an acknowledgement that comes 40 ms late.
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        owner = self.server.owner
        request = Request(self.command, self.path, self.headers["Range"], dict(self.headers))
        fault = owner.fault_of(request)
        kind = fault.kind if fault else None
        if not owner.allows(request):
            self._refuse(403)
        elif isinstance(kind, int):
            self._refuse(kind, fault)
        elif kind == "reset":
            self._hang_up()
        else:
            if fault and kind == "slow":
                owner.stopping.wait(fault.delay_s)
            self._send_file(cut=kind == "cut")

    def _refuse(self, status: int, fault: Fault | None = None) -> None:
        body = (fault.body if fault else "no\n").encode()
        self.send_response(status)
        if fault and fault.retry_after is not None:
            self.send_header("Retry-After", fault.retry_after)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send_file(self, *, cut: bool) -> None:
        # `/~anything/a.tif` is another address of `a.tif`, for what remembers addresses.
        name = re.sub(r"^/~[^/]*/", "", unquote(urlsplit(self.path).path))
        path = self.server.owner.folder / name.lstrip("/")
        if not path.is_file():
            self._refuse(404)
            return
        whole = path.stat().st_size
        start, end = 0, whole
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers["Range"] or "")
        if asked:
            start = int(asked[1])
            end = min(end, int(asked[2]) + 1) if asked[2] else end
            if start >= whole:
                self._refuse(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{whole}")
        else:
            self.send_response(200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Last-Modified", email.utils.formatdate(path.stat().st_mtime, usegmt=True))
        self.send_header("Content-Length", str(end - start))
        self.end_headers()
        if self.command == "HEAD":
            return
        with path.open("rb") as stream:
            stream.seek(start)
            self.wfile.write(stream.read((end - start) // 2 if cut else end - start))
        if cut:
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        with contextlib.suppress(OSError):
            # `close` alone would wait for the other handles on the socket.
            self.connection.shutdown(socket.SHUT_RDWR)
