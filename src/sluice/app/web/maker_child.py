"""The process of a `Maker`: the service's routes, without what guards them, asked by a pipe."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import struct
import sys
import threading
from typing import Any, BinaryIO, NamedTuple

import anyio.to_thread
from starlette.types import Message, Scope

from sluice.app.garbage import collect_seldom
from sluice.app.web.server import make_routes
from sluice.app.web.service import Service
from sluice.app.web.site_indexes import site_index
from sluice.base.store import Revision

_LOG = logging.getLogger("sluice.web")
HEAD = struct.Struct("<Q")
"""Before each message: how many bytes it has."""


class Wanted(NamedTuple):
    """What is asked."""

    number: int
    """Which its answer bears."""
    revision: Revision | None
    """Of the store, that the answer must not be older than."""
    scope: Scope
    """Of a request without a body."""
    only_read: bool = False
    """Read what answers to this person are made of, which takes long, and answer nothing."""


def packed(message: Any) -> bytes:
    """A message as it goes through a pipe."""
    body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return HEAD.pack(len(body)) + body


def read_message(pipe: BinaryIO) -> Any:
    """The next message, of the process that started this one; None at the end."""
    head = pipe.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    (size,) = HEAD.unpack(head)
    body = pipe.read(size)
    return pickle.loads(body) if len(body) == size else None  # noqa: S301 - of our own parent


def main() -> None:
    """Answer until the end of the input."""
    asked, told = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # What is printed by mistake is no answer.
    os.dup2(2, 1)
    settings = read_message(asked)
    if settings is None:
        return
    service = Service(settings)
    collect_seldom()
    asyncio.run(_Answers(service, told).serve(asked))
    service.close()


class _Answers:
    """What is asked, answered by the routes in threads as the service does it."""

    def __init__(self, service: Service, told: BinaryIO) -> None:
        self._service, self._told = service, told
        self._app = make_routes(service)
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, asked: BinaryIO) -> None:
        """Until the end of the input."""
        threads = anyio.to_thread.current_default_thread_limiter()
        threads.total_tokens = self._service.settings.threads
        loop, ended = asyncio.get_running_loop(), asyncio.Event()

        def read() -> None:
            while (message := read_message(asked)) is not None:
                loop.call_soon_threadsafe(self._begin, message)
            loop.call_soon_threadsafe(ended.set)

        # No task reads: not every system can wait for a pipe and for something else at a time.
        threading.Thread(target=read, name="asked", daemon=True).start()
        await ended.wait()

    def _begin(self, wanted: Wanted) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(wanted))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, wanted: Wanted) -> None:
        number, revision, scope, only_read = wanted
        messages: list[Message] = []

        async def collect(message: Message) -> None:
            messages.append(message)

        self._service.expect(revision)
        try:
            if only_read:
                await anyio.to_thread.run_sync(self._read, scope)
            else:
                await self._app(scope, _nothing_more, collect)
        except Exception as err:  # noqa: BLE001 - the service tries itself, and answers as to faults
            _LOG.error("%s failed in the process beside", scope["path"], exc_info=err)
            messages = []
        self._tell((number, messages))

    def _read(self, scope: Scope) -> None:
        person = scope["state"]["asked"].person
        if person is not None:
            site_index(self._service, person, None)

    def _tell(self, message: Any) -> None:
        self._told.write(packed(message))
        self._told.flush()


async def _nothing_more() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


if __name__ == "__main__":
    main()
