"""Listen, say where, and serve until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import threading
import webbrowser
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from sluice.app.garbage import collect_seldom
from sluice.app.planning import usable_cores
from sluice.app.web.connections import Connections, protocol_of
from sluice.app.web.errors import error_response
from sluice.app.web.maker import Maker
from sluice.app.web.server import create_app
from sluice.app.web.settings import Settings
from sluice.app.web.worker_child import WorkerChild
from sluice.base.errors import ConfigError

_KEEP_ALIVE_S = 20
_LAST_WORDS_S = 10


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
    if settings.second_process and usable_cores() > 1:
        app.state.service.maker = Maker(settings)
    listening = listen(settings)
    address = address_of(settings, listening)
    server = server_of(app)
    tell(f"Sluice serves {app.state.service.store.db.name} at {address} (Ctrl-C stops it)")
    if open_browser and settings.is_loopback:
        threading.Timer(0.5, webbrowser.open, [address]).start()
    collect_seldom()
    worker = WorkerChild(settings) if settings.worker else contextlib.nullcontext()
    with listening, worker:
        asyncio.run(server.serve(sockets=[listening]))


def server_of(app: FastAPI) -> uvicorn.Server:
    """The server of a service, of one event loop."""
    connections: Connections = app.state.service.connections
    return _Server(
        uvicorn.Config(
            _Room(app, connections, app.state.settings.connections),
            http=protocol_of(connections),
            log_level="warning",
            server_header=False,
            # `access` looks at these itself, and only where a proxy was named.
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_LAST_WORDS_S,
        )
    )


class _Room:
    """Sends away who comes when there are as many connections as there may be.

    uvicorn's own limit does the same, and does not say when to come again.
    """

    def __init__(self, app: FastAPI, connections: Connections, most: int) -> None:
        self.app, self._connections, self._most = app, connections, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "http" and len(self._connections) >= self._most:
            words = "too many connections are open at this moment; ask again in a few seconds"
            answer = error_response(503, "busy", words, {"Connection": "close"})
            await answer(scope, receive, send)
            return
        await self.app(scope, receive, send)


class _Server(uvicorn.Server):
    """Ends streams that would go on for as long as their listeners wish."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Told to end."""
        room: Any = self.config.app
        room.app.state.job_watch.close()
        super().handle_exit(sig, frame)
