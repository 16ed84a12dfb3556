"""Answers that a process beside made are those that the service would have made itself."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import pickle
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from types import SimpleNamespace

import psutil
import pytest

pytest.importorskip("fastapi")

from fastapi.testclient import TestClient

from access_cases import ORIGIN, Case, app_of
from sluice.app.web import kept_answers, maker, maker_child
from sluice.app.web.gate import Asked
from sluice.app.web.identity import Person
from sluice.app.web.maker import Maker
from sluice.app.web.maker_child import HEAD, Wanted
from sluice.app.web.service import Service
from sluice.app.web.settings import Settings
from sluice.base.people import Role

ITEMS = "/ogc/collections/sites/items"
TILE = "/tiles/sites/0/0/0.pbf"
ASKED = (
    TILE,
    "/tiles/sites/7/63/62.pbf",
    "/tiles/sites/99/0/0.pbf",
    "/tiles/layers/nothing/0/0/0.pbf",
    f"{ITEMS}?limit=5",
    f"{ITEMS}?limit=2&offset=2&filter=status%3D'growing'&filter-lang=cql2-text",
    f"{ITEMS}?limit=no",
    "/ogc/collections/alerts/items",
    "/ogc/collections/nothing/items",
)
PEOPLE = ("viewer", "guest", "limited", "admin")
_SOON_S = 20.0
OWNER = Person("ama", Role.ADMIN, None, redacted=False)


@pytest.fixture(autouse=True)
def _begun_by_one(monkeypatch):
    monkeypatch.setattr(maker, "_BUSY_AFTER", 1)


@dataclass
class Beside:
    """A service with a process beside, and how often it was asked."""

    client: TestClient
    maker: Maker
    case: Case
    made: int = 0
    _fresh: int = 0

    def get(self, path: str, name: str = "admin", **headers: str):
        token = {"Authorization": f"Bearer {self.case.tokens[name]}"}
        return self.client.get(path, headers=token | headers)

    def post(self, path: str, name: str, json: object):
        token = {"Authorization": f"Bearer {self.case.tokens[name]}"}
        return self.client.post(path, headers=token, json=json)

    def wait(self) -> None:
        """Let somebody wait."""
        asked = Asked(None, "127.0.0.1", secure=False, follows=("sites", "reviews"))
        scope = {"type": "http", "method": "GET", "path": TILE, "headers": [], "query_string": b""}
        self.client.portal.call(self.maker.note_wait, {**scope, "state": {"asked": asked}})

    def begin(self, *names: str) -> psutil.Process:
        """Let somebody wait, and look for the process, until it answers to some people."""
        self.wait()
        until(lambda: self.maker.pid is not None)
        for name in names or ("admin",):
            made = self.made
            until(lambda name=name, made=made: self.ask_anew(name) and self.made > made)
        self.made = 0
        return psutil.Process(self.maker.pid)

    def ask_anew(self, name: str) -> bool:
        """Ask for what nobody asked for."""
        self._fresh += 1
        return self.get(f"{ITEMS}?limit=1&offset={self._fresh}", name).is_success


def until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + _SOON_S
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


@contextmanager
def beside(case: Case, **settings: object) -> Iterator[Beside]:
    """With one event loop for all requests, which the lifespan ends."""
    app = app_of(case, **settings)
    made = app.state.service.maker = Maker(app.state.settings)
    with TestClient(app, ORIGIN, raise_server_exceptions=False) as client:
        found = Beside(client, made, case)
        ask = made.make

        async def counted(*asked):
            answer = await ask(*asked)
            found.made += bool(answer)
            return answer

        made.make = counted
        yield found


def told(answer) -> tuple:
    """Of an answer, what does not tell when it was given."""
    # A moment is no longer than another, but may be when compressed.
    headers = {k: v for k, v in answer.headers.items() if k != "content-length"}
    return answer.status_code, headers, re.sub(rb'"timeStamp": ?"[^"]*"', b"", answer.content)


def test_answers_are_those_of_the_service(case):
    with TestClient(app_of(case, redact="20km"), ORIGIN) as alone:
        tokens = {name: {"Authorization": f"Bearer {case.tokens[name]}"} for name in PEOPLE}
        wanted = {(p, n): told(alone.get(p, headers=tokens[n])) for p in ASKED for n in PEOPLE}
    assert len({wanted[TILE, name][2] for name in PEOPLE}) == len(PEOPLE)
    with beside(case, redact="20km") as service:
        service.begin(*PEOPLE)
        for (path, name), answer in wanted.items():
            assert told(service.get(path, name)) == answer, (path, name)
        assert service.made >= 2 * len(PEOPLE)
        # What it made is kept as what the service makes.
        made, tag = service.made, service.get(TILE).headers["etag"]
        assert service.get(TILE, **{"If-None-Match": tag}).status_code == 304
        assert service.made == made
        # A review that the service wrote shows in what the process makes next.
        page = f"{ITEMS}?limit=20"
        assert "farm_pond" not in service.get(page).text
        site = case.places[0].site_id
        review = {"verdict": "rejected", "reason": "farm_pond"}
        assert service.post(f"/api/sites/{site}/reviews", "reviewer", review).is_success
        made = service.made
        sites = service.get(page).json()["features"]
        verdicts = {one["id"]: one["properties"]["verdict"] for one in sites}
        assert verdicts[site] == "rejected"
        assert service.made == made + 1


def test_it_reads_of_the_store_before_it_says_so(peopled, monkeypatch):
    read = []
    with closing(Service(Settings(store=peopled.address))) as service:
        said = io.BytesIO()
        answers = maker_child._Answers(service, said)
        monkeypatch.setattr(maker_child, "site_index", lambda *asked: read.append(asked))
        for person in (OWNER, None):
            asked = Asked(person, "127.0.0.1", secure=False, follows=("sites",))
            scope = {"path": TILE, "state": {"asked": asked}}
            asyncio.run(answers._answer(Wanted(4, None, scope, only_read=True)))
        assert read == [(service, OWNER, None)]
        assert said.getvalue() == 2 * maker_child.packed((4, []))


def test_without_waiting_there_is_no_process(peopled, monkeypatch):
    monkeypatch.setattr(maker, "_BUSY_AFTER", 50)
    now = [1000.0]
    monkeypatch.setattr(maker, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with beside(peopled) as service:
        for _ in range(3):
            for _ in range(49):
                service.wait()
            # Who waits now and then is no crowd.
            now[0] += 11.0
        assert service.get(TILE).status_code == 200
        assert service.maker.pid is None
        assert service.made == 0


def test_who_waits_for_a_turn_begins_it(peopled, monkeypatch):
    """Not through a test's own call, but by the turns of the answers."""
    monkeypatch.setattr(kept_answers, "_AT_ONCE", 0)
    with closing(Service(Settings(store=peopled.address))) as service:
        waited = []
        service.maker = type(
            "Waits", (), {"note_wait": lambda _, scope: waited.append(scope["path"])}
        )()
        kept = kept_answers.KeptAnswers(None, service=service)
        kept._turn({"path": ITEMS})
        assert waited == [ITEMS]


def test_the_service_answers_where_the_process_was_killed_or_hangs(peopled, monkeypatch, caplog):
    with beside(peopled) as service:
        process = service.begin()
        assert service.get(TILE).status_code == 200
        assert service.made == 1
        # It has not read what somebody else may see: the service answers until it has.
        if os.name != "nt":
            process.send_signal(signal.SIGSTOP)
            for _ in range(3):
                assert service.ask_anew("limited")
            assert service.made == 1
            process.send_signal(signal.SIGCONT)
        until(lambda: service.ask_anew("limited") and service.made == 2)
        assert service.ask_anew("admin")
        assert service.made == 3
        process.kill()
        until(lambda: service.maker.pid is None)
        assert service.get(f"{ITEMS}?limit=3").json()["numberReturned"] == 3
        assert service.made == 3
        assert "the service makes all answers itself" in caplog.text
        # It rests before another one, which may fail for the same reason.
        service.wait()
        assert service.maker.pid is None
        service.maker._rest_until = 0.0
        second = service.begin()
        assert second != process
        assert service.get(f"{ITEMS}?limit=4").json()["numberReturned"] == 4
        assert service.made == 1
        if os.name != "nt":
            monkeypatch.setattr(maker, "_LONGEST_S", 0.3)
            second.send_signal(signal.SIGSTOP)
            assert service.get(f"{ITEMS}?limit=5").json()["numberReturned"] == 5
            assert service.made == 1
            assert "more than 0.3 s" in caplog.text
            until(lambda: not second.is_running())


def test_it_ends_when_nobody_asks_and_with_the_service(peopled, monkeypatch, caplog):
    with beside(peopled) as service:
        process = service.begin()
        monkeypatch.setattr(maker, "_IDLE_S", 0.2)
        # From its next answer on.
        assert service.ask_anew("admin")
        assert service.made == 1
        until(lambda: not process.is_running())
        until(lambda: service.maker.pid is None)
        monkeypatch.setattr(maker, "_IDLE_S", 60.0)
        second = service.begin()
    assert not second.is_running()
    assert not caplog.records
    # Also where it had only been begun, or hangs.
    with beside(peopled) as service:
        service.wait()
        until(lambda: service.maker.pid is not None)
        third = psutil.Process(service.maker.pid)
        assert service.get(TILE).status_code == 200
        assert service.made == 0
        monkeypatch.setattr(maker, "_LAST_WORDS_S", 0.3)
        if os.name != "nt":
            third.send_signal(signal.SIGSTOP)
    assert not third.is_running()
    assert not caplog.records


@pytest.mark.parametrize("said", [b"not pickled", b"\x00" * 3], ids=["no answer", "cut off"])
def test_a_process_that_talks_nonsense_is_ended(peopled, monkeypatch, caplog, tmp_path, said):
    program = tmp_path / "sluice"
    program.write_text(f"""#!{sys.executable}
import struct, sys, time
sys.stdout.buffer.write(struct.pack("<Q", 11) + {said!r})
sys.stdout.buffer.flush()
if len({said!r}) == 11:
    time.sleep(60)
""")
    program.chmod(0o700)
    monkeypatch.setattr(maker, "_LAST_WORDS_S", 0.3)
    with beside(peopled) as service:
        monkeypatch.setattr(maker.sys, "executable", str(program))
        begin, begun = service.maker._start, []

        async def noted(first):
            begun.append(await begin(first))
            return begun[-1]

        monkeypatch.setattr(service.maker, "_start", noted)
        service.wait()
        # It may have ended before anybody looks.
        until(lambda: begun and service.maker._reading is None)
        assert begun[0].returncode is not None
        assert "the service makes all answers itself" in caplog.text
        assert service.get(TILE).status_code == 200


FAILS = """#!{python}
import sys
from sluice.app.web.maker_child import packed, read_message
asked, told = sys.stdin.buffer, sys.stdout.buffer
read_message(asked)
while (wanted := read_message(asked)) is not None:
    head = {{"type": "http.response.start", "status": 503, "headers": []}}
    body = {{"type": "http.response.body", "body": b"gone"}}
    told.write(packed((wanted.number, [] if wanted.only_read else [head, body])))
    told.flush()
"""


def test_what_fails_there_alone_is_made_here_and_it_is_ended(
    peopled, monkeypatch, caplog, tmp_path
):
    program = tmp_path / "sluice"
    program.write_text(FAILS.format(python=sys.executable))
    program.chmod(0o700)
    with beside(peopled) as service:
        monkeypatch.setattr(maker.sys, "executable", str(program))
        service.wait()
        until(lambda: service.maker.pid is not None)
        process = psutil.Process(service.maker.pid)
        until(lambda: service.ask_anew("admin") and service.maker.pid is None)
        assert not process.is_running()
        assert "failed 5 times" in caplog.text
        assert service.made == 0
        # And it rests.
        service.wait()
        assert service.maker.pid is None


def test_one_that_does_not_begin_in_time_is_ended(peopled, monkeypatch, caplog):
    monkeypatch.setattr(maker, "_BEGIN_S", 0.1)
    monkeypatch.setattr(maker, "_LAST_WORDS_S", 0.1)
    with beside(peopled) as service:
        service.wait()
        until(lambda: "TimeoutError" in caplog.text)
        until(lambda: service.maker.pid is None)


def test_what_it_begins_to_read_when_nobody_has_asked_for_long_has_its_own_time(
    peopled, monkeypatch
):
    monkeypatch.setattr(maker, "_IDLE_S", 0.05)
    monkeypatch.setattr(maker, "_BEGIN_S", 0.3)
    looks = []

    async def silent(_: int) -> bytes:
        looks.append(1)
        await asyncio.Event().wait()
        return b""

    async def play() -> None:
        beside = Maker(Settings(store=peopled.address))
        process = SimpleNamespace(stdout=SimpleNamespace(readexactly=silent), stdin=None)
        listening = asyncio.create_task(beside._listen(process))
        await asyncio.sleep(0)
        # It waits already, for as long as it may be idle.
        assert looks == [1]
        beside._begin_to_read(process, "limited", {})
        await asyncio.wait([listening], timeout=_SOON_S)
        assert isinstance(listening.exception(), TimeoutError)
        assert len(looks) > 1

    asyncio.run(play())


def test_the_service_does_without_where_none_can_be_begun(peopled, monkeypatch, caplog):
    with beside(peopled) as service:
        monkeypatch.setattr(maker.sys, "executable", "/nowhere/python")
        service.wait()
        until(lambda: "FileNotFoundError" in caplog.text)
        assert service.get(TILE).status_code == 200
        assert service.made == 0


def test_a_fault_of_the_routes_is_left_to_the_service(peopled, caplog):
    said = io.BytesIO()
    with closing(Service(Settings(store=peopled.address))) as service:
        answers = maker_child._Answers(service, said)

        async def fail(scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            raise ZeroDivisionError

        answers._app = fail
        with caplog.at_level(logging.ERROR):
            asyncio.run(answers._answer(Wanted(7, service.revision(), {"path": "/tiles/x"})))
    assert pickle.loads(said.getvalue()[HEAD.size :]) == (7, [])  # noqa: S301
    assert "/tiles/x failed in the process beside" in caplog.text


def test_half_a_message_is_none():
    whole = maker_child.packed(("a", 1))
    assert maker_child.read_message(io.BytesIO(whole)) == ("a", 1)
    for size in range(len(whole)):
        assert maker_child.read_message(io.BytesIO(whole[:size])) is None
