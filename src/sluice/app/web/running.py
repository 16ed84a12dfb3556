"""Listen, say where, and serve until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import socket
import threading
import webbrowser
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn

from sluice.app.web.connections import protocol_of
from sluice.app.web.server import create_app
from sluice.app.web.settings import Settings
from sluice.app.web.worker_child import WorkerChild
from sluice.base.errors import ConfigError

_KEEP_ALIVE_S = 20
_LAST_WORDS_S = 10
_COLLECT_AFTER = 20_000
"""Objects made and not given back: an answer makes some thousands."""


def listen(settings: Settings) -> socket.socket:
    """A socket that listens.

    Raises:
        ConfigError: The address is not this computer's, the port is taken, or only the
            administrator may use it.
    """
    try:
        (family, kind, proto, _, address), *_ = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as err:
        raise ConfigError(
            f"--host {settings.host}: is no address of this computer; use 127.0.0.1"
        ) from err
    listening = socket.socket(family, kind, proto)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
        listening.listen(512)
    except OSError as err:
        listening.close()
        raise ConfigError(_bind_message(settings, err)) from err
    return listening


def _bind_message(settings: Settings, err: OSError) -> str:
    if err.errno == errno.EADDRINUSE:
        return (
            f"--port {settings.port}: another program listens there, perhaps a `sluice serve`; "
            "stop it, or give another port (0 takes any free one)"
        )
    if err.errno == errno.EACCES:
        return f"--port {settings.port}: needs administrator's rights; give one from 1024 on"
    return f"--host {settings.host}: cannot listen there ({err.strerror}); use 127.0.0.1"


def address_of(settings: Settings, listening: socket.socket) -> str:
    """What to type into a browser."""
    port = listening.getsockname()[1]
    host = "localhost" if settings.host in {"0.0.0.0", "::"} else settings.host  # noqa: S104
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def run_service(
    settings: Settings, *, open_browser: bool = False, tell: Callable[[str], Any] = print
) -> None:
    """Serve until Ctrl-C.

    Args:
        settings: Of the service.
        open_browser: On loopback only.
        tell: Gets the address.

    Raises:
        ConfigError: It cannot listen there, or there is no store.
        SchemaVersion, StoreError: See `open_store`.
    """
    app = create_app(settings)
    listening = listen(settings)
    address = address_of(settings, listening)
    server = _Server(
        uvicorn.Config(
            app,
            http=protocol_of(app.state.service.connections),
            log_level="warning",
            server_header=False,
            # `access` looks at these itself, and only where a proxy was named.
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_LAST_WORDS_S,
            limit_concurrency=settings.connections,
            h11_max_incomplete_event_size=64 * 1024,
        )
    )
    tell(f"Sluice serves {app.state.service.store.db.name} at {address} (Ctrl-C stops it)")
    if open_browser and settings.is_loopback:
        threading.Timer(0.5, webbrowser.open, [address]).start()
    _spare_what_stays()
    worker = WorkerChild(settings) if settings.worker else contextlib.nullcontext()
    with listening, worker:
        asyncio.run(server.serve(sockets=[listening]))


def _spare_what_stays() -> None:
    """Tell the collector of garbage not to look through modules and routes again and again: it
    would take a tenth of the time of all tiles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)


class _Server(uvicorn.Server):
    """Ends streams that would go on for as long as their listeners wish."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Told to end."""
        app: Any = self.config.app
        app.state.job_watch.close()
        super().handle_exit(sig, frame)
