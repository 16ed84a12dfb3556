"""What stands before and after every route: headers, limits of size and of patience."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sluice.app.web.connections import Connections
from sluice.app.web.errors import error_response, unexpected

_LOG = logging.getLogger("sluice.web")
CONTENT_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self'",
        # MapLibre sets sizes and places of its markers by style.
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "connect-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), payment=(), usb=()",
}
PIECE_BYTES = 64 * 1024
"""Of an answer, sent at once."""
MOST_BODY_BYTES = 1_000_000
"""Of a request."""
LARGER_BODIES: dict[str, int] = {}
"""Of requests to addresses that begin so: what may be uploaded."""


class LastResort:
    """Answer where the service itself is at fault, and add the headers that tell a browser what a
    page may not do."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        began = False

        async def send_with(message: Message) -> None:
            nonlocal began
            began = True
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message.setdefault("headers", []))
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            await self.app(scope, receive, send_with)
        except TimeoutError:
            # A client without patience for its own request: there is nobody to tell.
            if began:
                raise
        except Exception as err:
            _LOG.error("%s %s failed", scope["method"], scope["path"], exc_info=err)
            if began:
                raise
            await unexpected()(scope, receive, send_with)


class AnswerHead:
    """Answer HEAD as GET, without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return
        ended = False

        async def send_head(message: Message) -> None:
            nonlocal ended
            if message["type"] == "http.response.start":
                await send(message)
            elif not ended:
                ended = True
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        await self.app({**scope, "method": "GET"}, receive, send_head)


class BodyLimit:
    """Refuse requests that send more than they may."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        larger = (n for start, n in LARGER_BODIES.items() if scope["path"].startswith(start))
        most = next(larger, MOST_BODY_BYTES)
        too_large = error_response(
            413, "too_large", f"the request's body is larger than {most:,} bytes; send less"
        )
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdigit() and int(announced) > most:
            await too_large(scope, receive, send)
            return
        came, began = 0, False

        async def receive_some() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > most:
                raise _BodyTooLarge
            return message

        async def send_on(message: Message) -> None:
            nonlocal began
            if came <= most:
                began = True
                await send(message)

        with contextlib.suppress(_BodyTooLarge):
            await self.app(scope, receive_some, send_on)
        if came > most and not began:
            await too_large(scope, receive, send)


class _BodyTooLarge(Exception):
    """What came is more than was announced, or may be."""


class Patience:
    """Hang up on clients that take an answer too slowly, or send none of their request, for long.

    Answers go out piece by piece, so that little of them waits in memory.
    """

    def __init__(self, app: ASGIApp, connections: Connections) -> None:
        self.app = app
        self._connections = connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        received = gave_up = False
        client, seconds = scope.get("client"), self._connections.seconds

        async def receive_soon() -> Any:
            nonlocal received
            if received:
                return await receive()
            async with asyncio.timeout(seconds):
                message = await receive()
            received = not message.get("more_body", False)
            return message

        async def send_soon(message: Message) -> None:
            nonlocal gave_up
            for piece in _pieces(message):
                try:
                    async with asyncio.timeout(seconds):
                        await send(piece)
                except TimeoutError:
                    gave_up = True
                    _LOG.info("%s took too little of %s: cut off", client, scope["path"])
                    self._connections.cut(client)
                    raise

        try:
            await self.app(scope, receive_soon, send_soon)
        except Exception:
            # Whatever became of it on the way here: there is nobody to tell.
            if not gave_up:
                raise
            await asyncio.sleep(0)


def _pieces(message: Message) -> Iterator[Message]:
    """A message that sends much as some that send little each: the next one waits until the one
    before was taken."""
    body = message.get("body", b"")
    if message["type"] != "http.response.body" or len(body) <= PIECE_BYTES:
        yield message
        return
    view = memoryview(body)
    for start in range(0, len(body), PIECE_BYTES):
        more = start + PIECE_BYTES < len(body) or message.get("more_body", False)
        piece = bytes(view[start : start + PIECE_BYTES])
        yield {"type": "http.response.body", "body": piece, "more_body": more}
