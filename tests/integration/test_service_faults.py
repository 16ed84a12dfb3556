"""A service whose clients, store or disk fail: others go on, and whoever is refused is told."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import socket
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from proof.postgis_cluster import postgis_programs, private_cluster

from service_cases import client_of, fill, on_loopback, write_store
from sluice.app.following.stores import open_store
from sluice.app.web import service as service_module
from sluice.app.web.connections import Connections
from sluice.app.web.guards import Patience
from sluice.app.web.running import listen, server_of
from sluice.app.web.server import create_app
from sluice.app.web.settings import Settings

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1", "localhost"])]
REVIEW = {"verdict": "confirmed"}
SLOW_S = 1.0


def refused_for_now(answer: Any, words: str) -> None:
    """Refused so that a client knows to come again: nothing of it was saved."""
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) > 0
    message = answer.json()["error"]["message"]
    assert words in message
    assert "/" not in message, "a folder of the server"


@pytest.fixture
def large_file(tmp_path: Path) -> Path:
    """A map with a file of 20 MB: more than the buffers of a connection hold."""
    folder = tmp_path / "map"
    (folder / "fonts").mkdir(parents=True)
    (folder / "index.html").write_text("map")
    (folder / "fonts" / "large.pbf").write_bytes(bytes(20_000_000))
    return folder


@contextlib.contextmanager
def serving(tmp_path: Path, **settings: Any) -> Iterator[tuple[int, Any]]:
    """A service on loopback: its port and its connections."""
    store = write_store(tmp_path / "s.sqlite")
    app = create_app(Settings(store=str(store), **{"slow_client_s": SLOW_S, **settings}))
    with on_loopback(app) as address:
        yield int(address.rpartition(":")[2]), app.state.service.connections


def slow_client(port: int, path: str) -> socket.socket:
    """A connection that asks, and takes next to nothing."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    one.connect(("127.0.0.1", port))
    one.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    return one


def wait_until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.05)


def test_a_hundred_who_read_slowly_stop_nobody_and_are_cut_off(
    tmp_path: Path, large_file: Path
) -> None:
    with (
        serving(tmp_path, map_folder=large_file) as (port, connections),
        contextlib.ExitStack() as s,
    ):
        slow = [
            s.enter_context(contextlib.closing(slow_client(port, "/fonts/large.pbf")))
            for _ in range(100)
        ]
        began = time.monotonic()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/areas", timeout=20) as answer:
            assert answer.status == 200
        quick_s = time.monotonic() - began
        for one in slow:
            one.recv(1)
        wait_until(lambda: len(connections) <= 1)
        assert quick_s < 10


@pytest.mark.parametrize("sent", [b"", b"GET /api/areas HTTP/1.1\r\nHost:"])
def test_who_says_nothing_is_cut_off(tmp_path: Path, sent: bytes) -> None:
    with (
        serving(tmp_path) as (port, connections),
        socket.create_connection(("127.0.0.1", port), timeout=20) as one,
    ):
        one.sendall(sent)
        wait_until(lambda: len(connections) == 1)
        # A reset, or an end.
        with contextlib.suppress(ConnectionError):
            assert one.recv(100) == b""
        wait_until(lambda: len(connections) == 0)


def test_heads_without_end_are_refused_and_take_no_memory(tmp_path: Path) -> None:
    begin = b"GET /api/areas HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    chunked = b"POST /api/areas HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    heads = {
        "one header": (begin + b"X-Long: ", b"a" * 4096),
        "many headers": (begin, b"X-Many: " + b"a" * 80 + b"\r\n"),
        "an address": (b"GET /", b"a" * 4096),
        "after a body": (chunked + b"1\r\na\r\n0\r\n", b"X-Many: " + b"a" * 80 + b"\r\n"),
        "a piece's size": (chunked + b"1;", b"a" * 4096),
    }
    with serving(tmp_path) as (port, connections):
        for name, (first, more) in heads.items():
            with socket.create_connection(("127.0.0.1", port), timeout=20) as one:
                one.sendall(first)
                sent = 0
                # Cut off while it still talks, it may not read why.
                with contextlib.suppress(ConnectionError):
                    while sent < 4_000_000:
                        one.sendall(more)
                        sent += len(more)
                assert sent < 4_000_000, name
            wait_until(lambda: len(connections) == 0)
        with socket.create_connection(("127.0.0.1", port), timeout=20) as one:
            one.sendall(begin + b"X-Long: " + b"a" * 70_000 + b"\r\n\r\n")
            assert one.recv(100).startswith(b"HTTP/1.1 400 ")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/areas", timeout=20) as answer:
            assert answer.status == 200


def test_who_sends_requests_before_the_answers_may_send_some(tmp_path: Path) -> None:
    with serving(tmp_path) as (port, connections):
        request = f"GET /api/areas HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n".encode()

        def answered(count: int) -> int:
            told = bytearray()
            with (
                socket.create_connection(("127.0.0.1", port), timeout=20) as one,
                # Cut off while it still talks, it may not read why.
                contextlib.suppress(ConnectionError),
            ):
                one.sendall((request + b"\r\n") * (count - 1))
                one.sendall(request + b"Connection: close\r\n\r\n")
                while part := one.recv(65_536):
                    told += part
            wait_until(lambda: len(connections) == 0)
            return told.count(b"HTTP/1.1 200 OK\r\n")

        assert answered(10) == 10
        assert answered(900) < 500


def test_one_address_holds_so_many_connections(tmp_path: Path) -> None:
    # They say nothing, and are to stay until they are counted.
    patient = {"slow_client_s": 60.0, "connections_per_address": 3}
    with serving(tmp_path, **patient) as (port, connections):
        kept = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
        wait_until(lambda: len(connections) == 3)
        with socket.create_connection(("127.0.0.1", port), timeout=20) as fourth:
            head, _, body = fourth.makefile("rb").read().partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: " in head
        assert "too many connections" in json.loads(body)["error"]["message"]
        kept.pop().close()
        wait_until(lambda: len(connections) == 2)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/areas", timeout=20) as answer:
            assert answer.status == 200
        for one in kept:
            one.close()


def test_beyond_all_connections_people_are_told_to_come_again(tmp_path: Path) -> None:
    store = write_store(tmp_path / "s.sqlite")
    app = create_app(Settings(store=str(store), connections=10))
    server = server_of(app)
    with listen(Settings(store="none", port=0)) as listening, ThreadPoolExecutor(1) as pool:
        served = pool.submit(lambda: asyncio.run(server.serve(sockets=[listening])))
        port = listening.getsockname()[1]
        url = f"http://127.0.0.1:{port}/api/areas"
        wait_until(lambda: server.started)
        kept = [socket.create_connection(("127.0.0.1", port)) for _ in range(9)]
        wait_until(lambda: len(app.state.service.connections) == 9)
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(url, timeout=20)
        with refused.value as told:
            assert (told.code, told.headers["Connection"]) == (503, "close")
            assert int(told.headers["Retry-After"]) > 0
            assert "too many connections" in json.load(told)["error"]["message"]
        kept.pop().close()
        wait_until(lambda: len(app.state.service.connections) == 8)
        with urllib.request.urlopen(url, timeout=20) as answer:
            assert answer.status == 200
        for one in kept:
            one.close()
        server.should_exit = True
        served.result(20)


def test_a_locked_file_refuses_reviews_for_now_and_goes_on_being_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "_WAIT_FOR_WRITERS_S", 1.0)
    path = write_store(tmp_path / "s.sqlite")
    with client_of(path) as client, ThreadPoolExecutor(12) as pool:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            waiting = [
                pool.submit(client.post, f"/api/sites/s-{n}/reviews", json=REVIEW)
                for n in range(10)
            ]
            # More wait than there are threads, and reading goes on.
            assert client.get("/api/sites").status_code == 200
            assert client.get("/tiles/sites/3/4/3.pbf").status_code in {200, 204}
            for one in waiting:
                refused_for_now(one.result(), "nothing was")
        assert client.post("/api/sites/s-1/reviews", json=REVIEW).status_code == 201
    with open_store(str(path)) as store:
        assert [review.site_id for review in store.reviews()] == ["s-1"]


def test_a_full_disk_is_told_and_saves_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "a folder of ours"
    folder.mkdir()
    path = write_store(folder / "s.sqlite")
    body = {"verdict": "confirmed", "note": "x" * 2000}
    with client_of(path) as client:
        full = True

        # SQLite says the same of a file that may not grow as of a disk that is full.
        @sa.event.listens_for(client.app.state.service.store.db.engine, "checkout")
        def narrow(connection: Any, *_: Any) -> None:
            connection.execute(f"PRAGMA max_page_count = {1 if full else 2**30}")

        refused = None
        for n in range(200):
            answer = client.post(f"/api/sites/s-{n % 12}/reviews", json=body)
            if answer.status_code != 201:
                refused = answer
                break
        assert refused is not None
        refused_for_now(refused, "s.sqlite: ")
        refused_for_now(refused, "the disk is full")
        assert f"{path}: " in caplog.text, "the log tells where"
        full = False
        assert client.post("/api/sites/s-0/reviews", json=body).status_code == 201
    with open_store(str(path)) as store:
        assert len(store.reviews()) == n + 1


def test_an_export_that_finds_the_disk_full_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_store(tmp_path / "s.sqlite")

    @contextlib.contextmanager
    def full(_: Path) -> Iterator[Path]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        yield

    with client_of(path) as client:
        monkeypatch.setattr("sluice.app.exports.write.write_whole", full)
        answer = client.get("/exports/sites.csv")
    assert answer.status_code == 507
    assert "disk" in answer.json()["error"]["message"]
    assert "/" not in answer.json()["error"]["message"]


def test_whoever_asks_learns_no_folder_before_the_request_is_let_in(tmp_path: Path) -> None:
    path = write_store(tmp_path / "s.sqlite")
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("DROP TABLE users")
    with client_of(path) as client:
        refused_for_now(client.get("/api/session"), "s.sqlite: ")


@pytest.mark.skipif(postgis_programs() is None, reason="PostGIS is not installed")
def test_a_database_that_is_gone_for_a_while_comes_back(tmp_path_factory: Any) -> None:
    programs = postgis_programs()
    parent = tmp_path_factory.mktemp("cluster")
    for folder in (parent, *list(parent.parents)[:-2]):
        folder.chmod(folder.stat().st_mode | 0o011)
    with private_cluster(programs, folder=parent) as address:
        folder = Path(address.partition("host=")[2])

        def control(*words: str) -> None:
            subprocess.run(
                [programs / "pg_ctl", "-D", folder / "data", "-w", "-l", folder / "log", *words],
                check=True,
                stdout=subprocess.DEVNULL,
                user="postgres" if os.geteuid() == 0 else None,
                cwd=folder,
            )

        with open_store(address, create=True) as store:
            fill(store)
        with client_of(address) as client:
            assert client.get("/api/sites").status_code == 200
            control("-m", "immediate", "stop")
            try:
                for path in ("/api/sites", "/ogc/collections/sites/items?filter=area_ha>7"):
                    refused_for_now(client.get(path), "try again")
                refused_for_now(client.post("/api/sites/s-0/reviews", json=REVIEW), "try again")
            finally:
                control("start")
            assert client.get("/api/sites").status_code == 200
            assert client.post("/api/sites/s-0/reviews", json=REVIEW).status_code == 201
        with open_store(address) as store:
            assert [review.site_id for review in store.reviews()] == ["s-0"]


def test_pieces_of_an_answer_wait_for_each_other(tmp_path: Path) -> None:
    """Of a large answer little is handed on before the client has taken what came before."""
    taken: list[dict[str, Any]] = []
    connections = Connections(Settings(store="none", slow_client_s=0.05))
    client = ("192.0.2.7", 5)
    cut: list[Any] = []
    monkey = pytest.MonkeyPatch()
    monkey.setattr(connections, "cut", cut.append)

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(150_000), "more_body": False})

    async def send(message: dict[str, Any]) -> None:
        taken.append(message)

    async def send_slowly(message: dict[str, Any]) -> None:
        taken.append(message)
        if len(taken) == 3:
            await asyncio.sleep(60)

    scope = {"type": "http", "path": "/", "client": client}
    patience: Any = Patience(app, connections)
    asyncio.run(patience(scope, None, send))
    assert [len(one.get("body", b"")) for one in taken] == [0, 65536, 65536, 18928]
    assert [one.get("more_body") for one in taken] == [None, True, True, False]
    assert not cut
    taken.clear()
    asyncio.run(patience(scope, None, send_slowly))
    assert (len(taken), cut) == (3, [client])
    monkey.undo()
