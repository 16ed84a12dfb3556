"""Answers that stay the same while the store does: kept as they go over the line, given again."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from typing import Any, TypeAlias

from anyio.to_thread import run_sync
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sluice import __version__
from sluice.app.web.gate import Asked
from sluice.app.web.service import Service
from sluice.app.web.views import view_of
from sluice.base.errors import SluiceError

LARGEST_BYTES = 400_000
"""Of an answer that is kept."""
_OVERHEAD_BYTES = 1000
_PARTS = ("tiles", "ogc")
_AT_ONCE = 3
"""Answers that are made at a time, of each of these first parts of addresses: more threads would
only take the interpreter from each other. Where a process beside makes two, one is made here."""
_CODES = frozenset({200, 204})

Key: TypeAlias = tuple[Any, ...]


class KeptAnswers:
    """An ASGI middleware behind the gate: for rules that name the parts of the store that their
    answers follow from.

    A browser always asks again, and is answered by "as before" mostly: a review shows at once. Of
    several that ask for the same at the same time one is answered by the routes.
    """

    def __init__(self, app: ASGIApp, *, service: Service) -> None:
        self.app = app
        self._service = service
        self._making: dict[Key, asyncio.Event] = {}
        self._turns = {part: asyncio.Semaphore(_AT_ONCE) for part in _PARTS}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        asked: Asked | None = scope.get("state", {}).get("asked")
        if asked is None or not asked.follows or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        try:
            key = await self._key(scope, asked)
        except SluiceError:
            # The store cannot be asked now: the route says so.
            await self.app(scope, receive, send)
            return
        headers = _headers_of(key)
        if headers["ETag"] in Headers(scope=scope).get("if-none-match", ""):
            await Response(status_code=304, headers=headers)(scope, receive, send)
            return
        found = self._service.answers.get(key)
        if found is None and (making := self._making.get(key)) is not None:
            await making.wait()
            found = self._service.answers.get(key)
        for message in found or await self._make(key, headers, scope, receive):
            # Those that send it on add to its headers.
            mine = {"headers": [*message["headers"]]} if "headers" in message else {}
            await send({**message, **mine})

    async def _key(self, scope: Scope, asked: Asked) -> Key:
        """All that an answer follows from."""
        service, headers = self._service, Headers(scope=scope)
        known = service.known_revision()
        revision = known if known is not None else await run_sync(service.revision)
        return (
            *(getattr(revision, part) for part in asked.follows),
            "" if asked.person is None else view_of(asked.person),
            # Links are of the address by which somebody came.
            scope["scheme"], headers.get("host"), scope.get("root_path"),
            scope["path"], scope["query_string"],
            "gzip" in headers.get("accept-encoding", ""),
        )  # fmt: skip

    async def _make(
        self, key: Key, headers: dict[str, str], scope: Scope, receive: Receive
    ) -> list[Message]:
        """What the routes answer, kept if it may be kept: none of it is sent before all is there,
        so that nobody waits for the line of somebody else."""
        messages: list[Message] = []

        async def collect(message: Message) -> None:
            if message["type"] == "http.response.start" and _may_keep(message):
                MutableHeaders(raw=message["headers"]).update(headers)
            messages.append(message)

        mine = self._making.setdefault(key, asyncio.Event())
        try:
            async with self._turn(scope):
                for message in await self._made_beside(scope):
                    await collect(message)
                if not messages:
                    await self.app(scope, receive, collect)
            size = sum(len(one.get("body", b"")) for one in messages)
            if size <= LARGEST_BYTES and messages and _may_keep(messages[0]):
                self._service.answers.put(key, messages, size + _OVERHEAD_BYTES)
        finally:
            if self._making.get(key) is mine:
                del self._making[key]
            mine.set()
        return messages

    def _turn(self, scope: Scope) -> contextlib.AbstractAsyncContextManager[Any]:
        turns, maker = self._turns.get(_part_of(scope)), self._service.maker
        if turns is None:
            return contextlib.nullcontext()
        if maker is not None and turns.locked():
            maker.note_wait(scope)
        return turns

    async def _made_beside(self, scope: Scope) -> list[Message]:
        """What the process beside answers; nothing where there is none, or none that has room."""
        maker = self._service.maker
        if maker is None or not maker.has_room(scope):
            return []
        return await maker.make(self._service.known_revision(), scope)


def _part_of(scope: Scope) -> str:
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    return path.lstrip("/").partition("/")[0]


def _headers_of(key: Key) -> dict[str, str]:
    # A browser keeps it for longer than a service lives.
    tag = hashlib.blake2b(repr((__version__, key)).encode(), digest_size=9).hexdigest()
    return {
        "ETag": f'"{tag}"',
        "Cache-Control": "private, no-cache",
        "Vary": "Accept-Encoding",
    }


def _may_keep(start: Message) -> bool:
    given = Headers(raw=start.setdefault("headers", []))
    return start["status"] in _CODES and "no-store" not in given.get("cache-control", "")
