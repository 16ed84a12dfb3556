"""Answers made in a process beside that of the service, where one interpreter does not suffice.

It is begun when many had to wait for others and ends when nobody asks, so that whoever works alone
does not pay for it; the service does without it where it fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import pickle
import subprocess
import sys
import time
from typing import Any

from starlette.types import Message, Scope

from sluice.app.web.maker_child import HEAD, Wanted, packed
from sluice.app.web.settings import Settings
from sluice.app.web.views import view_of
from sluice.base.store import Revision

_LOG = logging.getLogger("sluice.web")
AT_ONCE = 2
"""Answers that it makes at a time: one waits while another computes."""
_BUSY_AFTER, _WITHIN_S = 100, 10.0
"""Answers that had to wait for a turn, and within which time, before a process is begun: more than
one person makes who looks about."""
_REST_S = 60.0
"""After one that failed."""
_LONGEST_S = 60.0
"""For an answer; a process that takes longer is ended."""
_BEGIN_S = 300.0
"""Until it has read all sites for somebody."""
_MOST_FAILURES = 5
"""One after the other; then it is ended."""
_FAILED = 500
"""What fails there need not fail here: a database may have no connection left for both."""
_IDLE_S = 300.0
"""After the last answer; then its memory is given back."""
_LAST_WORDS_S = 5.0
_TOLD = (
    "type", "asgi", "http_version", "method", "scheme", "path", "raw_path", "query_string",
    "root_path", "headers", "client", "server",
)  # fmt: skip
"""Of a request, what routes look at."""


class Maker:
    """One process that makes answers; of one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._asked: dict[int, asyncio.Future[list[Message]]] = {}
        self._read_for: dict[str, bool] = {}
        """For those who see the same: whether it has read what answers to them are made of."""
        self._reads: dict[int, tuple[str, float]] = {}
        """What it reads now: for whom, and until when it may take."""
        self._numbers = itertools.count()
        self._waited = self._failures = 0
        self._waited_since = self._rest_until = -1e9
        self._closed = False

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return None if self._process is None else self._process.pid

    def has_room(self, scope: Scope) -> bool:
        """Whether it can take one more answer now, to this person: if it has yet to read what it
        needs for that, it begins to, and the service answers meanwhile."""
        if self._process is None or len(self._asked) >= AT_ONCE:
            return False
        view = _view(scope)
        if view not in self._read_for:
            self._begin_to_read(self._process, view, scope)
        return self._read_for[view]

    def note_wait(self, scope: Scope) -> None:
        """Somebody waits for a turn: after many, the process is begun.

        Args:
            scope: What they ask; the process reads what answers to them are made of before it is
                asked for any, as that takes long.
        """
        now = time.monotonic()
        if now - self._waited_since > _WITHIN_S:
            self._waited, self._waited_since = 0, now
        self._waited += 1
        if self._reading is not None or self._closed or self._waited < _BUSY_AFTER:
            return
        if now >= self._rest_until:
            self._reading = asyncio.get_running_loop().create_task(self._run(scope))

    async def make(self, revision: Revision | None, scope: Scope) -> list[Message]:
        """What the routes answer; nothing where they or the process failed.

        Args:
            revision: Of the store, that the answer must not be older than.
            scope: Of a request without a body that the gate let pass.
        """
        process = self._process
        if process is None or process.stdin is None:
            return []
        number = next(self._numbers)
        found: asyncio.Future[list[Message]] = asyncio.get_running_loop().create_future()
        self._asked[number] = found
        process.stdin.write(packed(Wanted(number, revision, _told(scope))))
        try:
            async with asyncio.timeout(_LONGEST_S):
                made = await found
        except TimeoutError:
            _LOG.warning("the process beside took more than %g s: ended", _LONGEST_S)
            _kill(process)
            return []
        finally:
            self._asked.pop(number, None)
        if made and made[0]["status"] < _FAILED:
            self._failures = 0
            return made
        self._failures += 1
        if self._failures == _MOST_FAILURES:
            _LOG.warning("the process beside failed %d times: ended", _MOST_FAILURES)
            _kill(process)
        return []

    async def close(self) -> None:
        """End the process, and begin no other."""
        self._closed = True
        if (reading := self._reading) is not None:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _run(self, first: Scope) -> None:
        """From the begin of the process to its end, whatever happens."""
        process = None
        try:
            process = self._process = await self._start(first)
            await self._listen(process)
        except (asyncio.IncompleteReadError, ConnectionError):
            self._failed("ended")
        except Exception as err:  # noqa: BLE001 - whatever it is, the service does without
            # Not every event loop can begin processes, and memory may be short.
            self._failed(f"failed ({type(err).__name__}: {err})")
        finally:
            self._read_for, self._reads = {}, {}
            for found in self._asked.values():
                if not found.done():
                    found.set_result([])
            if process is not None:
                await _end(process)
            self._process = self._reading = None
            self._waited = 0

    async def _start(self, first: Scope) -> asyncio.subprocess.Process:
        self._failures = 0
        # In a session of its own Ctrl-C reaches the service only, which ends it in good order.
        own: dict[str, Any] = {"start_new_session": True}
        if os.name == "nt":
            own = {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "sluice.app.web.maker_child"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            **own,
        )
        if process.stdin is not None:
            # Not by arguments, which others see: a store's address may hold a password.
            process.stdin.write(packed(self._settings))
            self._begin_to_read(process, _view(first), first)
        return process

    def _begin_to_read(self, process: asyncio.subprocess.Process, view: str, scope: Scope) -> None:
        self._read_for[view] = False
        number = next(self._numbers)
        self._reads[number] = view, time.monotonic() + _BEGIN_S
        if process.stdin is not None:
            process.stdin.write(packed(Wanted(number, None, _told(scope), only_read=True)))

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        """Give answers to whoever waits for them, until none come."""
        told = process.stdout
        while told is not None:
            try:
                async with asyncio.timeout(self._patience_s()):
                    head = await told.readexactly(HEAD.size)
            except TimeoutError:
                if self._patience_s() <= 0:
                    raise
                # What was asked for meanwhile has just begun.
                if self._reads or self._asked:
                    continue
                return
            (size,) = HEAD.unpack(head)
            number, messages = pickle.loads(await told.readexactly(size))  # noqa: S301 - ours
            if (read := self._reads.pop(number, None)) is not None:
                self._read_for[read[0]] = True
            elif (found := self._asked.get(number)) is not None and not found.done():
                found.set_result(messages)

    def _patience_s(self) -> float:
        """How long to wait for its next word."""
        if not self._reads:
            return _IDLE_S
        return min(until for _, until in self._reads.values()) - time.monotonic()

    def _failed(self, how: str) -> None:
        self._rest_until = time.monotonic() + _REST_S
        _LOG.warning("the process beside %s; the service makes all answers itself", how)


def _view(scope: Scope) -> str:
    person = scope["state"]["asked"].person
    return "" if person is None else view_of(person)


def _told(scope: Scope) -> Scope:
    told = {name: scope[name] for name in _TOLD if name in scope}
    return {**told, "state": {"asked": scope["state"]["asked"]}}


async def _end(process: asyncio.subprocess.Process) -> None:
    """Tell it that nothing more comes, at which it ends, and see to it that it does."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(_LAST_WORDS_S):
            await process.wait()
    except TimeoutError:
        _kill(process)
        await process.wait()


def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
