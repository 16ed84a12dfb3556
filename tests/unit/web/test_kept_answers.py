"""What was answered before is given again: to those who may see it, while it is still so."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")

from starlette.datastructures import Headers
from starlette.responses import Response

from access_cases import Case, Serve
from service_cases import client_of, write_store
from sluice.app.following.stores import open_store
from sluice.app.web import kept_answers, site_blocks
from sluice.app.web.gate import Asked
from sluice.app.web.kept_answers import LARGEST_BYTES, KeptAnswers
from sluice.app.web.service import Service
from sluice.app.web.settings import Settings

ITEMS = "/ogc/collections/sites/items"
TILE = "/tiles/sites/0/0/0.pbf"
PLAIN = {"Accept-Encoding": "identity"}


@pytest.fixture(scope="module")
def store_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("kept") / "s.sqlite")


@pytest.fixture
def service(store_file: Path) -> Iterator[Service]:
    with closing(Service(Settings(store=str(store_file)))) as opened:
        yield opened


class Routes:
    """Routes that answer after a while, and count how often they are asked."""

    def __init__(self, answer: Callable[[int], Response] | None = None) -> None:
        self.asked = 0
        self.may_answer = asyncio.Event()
        self._answer = answer or (lambda number: Response(f"answer {number}"))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked += 1
        number = self.asked
        await self.may_answer.wait()
        await self._answer(number)(scope, receive, send)


class Client:
    """One request, and what came of it."""

    def __init__(self, path: str = "/tiles/1", *, reads: bool = True, **headers: str) -> None:
        self.scope = {
            "type": "http", "method": "GET", "path": path, "query_string": b"", "scheme": "http",
            "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
            "state": {"asked": Asked(None, "127.0.0.1", secure=False, follows=("sites",))},
        }  # fmt: skip
        self.messages: list[Any] = []
        self._reads = reads

    async def send(self, message: Any) -> None:
        if not self._reads:
            await asyncio.sleep(3600)
        self.messages.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(one.get("body", b"") for one in self.messages)

    def begin(self, kept: KeptAnswers) -> asyncio.Task[None]:
        return asyncio.create_task(kept(self.scope, _receive, self.send))  # type: ignore[arg-type]


async def _receive() -> Any:
    return {"type": "http.request"}


def test_one_of_many_that_ask_for_the_same_is_made(service: Service) -> None:
    async def play() -> None:
        routes, clients = Routes(), [Client() for _ in range(5)]
        kept = KeptAnswers(routes, service=service)
        tasks = [client.begin(kept) for client in clients]
        await asyncio.sleep(0.05)
        routes.may_answer.set()
        await asyncio.wait_for(asyncio.gather(*tasks), 5)
        assert routes.asked == 1
        assert {client.body for client in clients} == {b"answer 1"}
        # What is sent is each one's own.
        heads = [client.messages[0]["headers"] for client in clients]
        assert len({id(head) for head in heads}) == len(heads)

    asyncio.run(play())


def test_who_reads_slowly_keeps_nobody_from_an_answer(service: Service) -> None:
    async def play() -> None:
        routes = Routes()
        routes.may_answer.set()
        kept = KeptAnswers(routes, service=service)
        slow = [Client(f"/tiles/{n}", reads=False).begin(kept) for n in range(8)]
        others = [Client("/tiles/0"), Client("/tiles/100"), Client("/ogc/1")]
        await asyncio.wait_for(asyncio.gather(*(one.begin(kept) for one in others)), 5)
        assert all(one.body for one in others)
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)

    asyncio.run(play())


@pytest.mark.parametrize("end", ["cancelled", "failed"])
def test_the_next_one_makes_it_where_the_first_does_not(service: Service, end: str) -> None:
    def fail_first(number: int) -> Response:
        if number == 1 and end == "failed":
            raise OSError("the disk")
        return Response(f"answer {number}")

    async def play() -> None:
        routes, waiting = Routes(fail_first), [Client(), Client()]
        kept = KeptAnswers(routes, service=service)
        first = Client().begin(kept)
        while not routes.asked:
            await asyncio.sleep(0.01)
        others = [one.begin(kept) for one in waiting]
        await asyncio.sleep(0.02)
        if end == "cancelled":
            first.cancel()
        routes.may_answer.set()
        await asyncio.wait_for(asyncio.gather(*others), 5)
        assert all(one.body.startswith(b"answer") for one in waiting)
        assert isinstance((await asyncio.gather(first, return_exceptions=True))[0], BaseException)

    asyncio.run(play())


@pytest.mark.parametrize(
    "answer",
    [
        Response("x", headers={"Cache-Control": "no-store"}),
        Response("x", status_code=503),
        Response(b"x" * (LARGEST_BYTES + 1)),
    ],
)
def test_some_answers_are_made_each_time(service: Service, answer: Response) -> None:
    async def play() -> None:
        routes = Routes(lambda _: answer)
        routes.may_answer.set()
        kept = KeptAnswers(routes, service=service)
        for _ in range(2):
            client = Client()
            await client.begin(kept)
            assert client.body == answer.body
        assert routes.asked == 2
        head = Headers(raw=client.messages[0]["headers"])
        assert ("etag" in head) == (len(answer.body) > LARGEST_BYTES)

    asyncio.run(play())


def test_pages_are_asked_for_again_and_are_as_before_until_a_review(tmp_path: Path) -> None:
    with client_of(write_store(tmp_path / "s.sqlite")) as client:
        first = client.get(ITEMS)
        tag = {"If-None-Match": first.headers["etag"]}
        again = client.get(ITEMS, headers=tag)
        assert (again.status_code, again.content) == (304, b"")
        assert client.get(ITEMS).json() == first.json()
        said = client.post("/api/sites/s-0/reviews", json={"verdict": "confirmed"})
        assert said.status_code == 201
        after = client.get(ITEMS, headers=tag)
        assert after.status_code == 200
        assert after.json()["features"][0]["properties"]["verdict"] == "confirmed"
        assert after.json()["features"][1:] == first.json()["features"][1:]


@pytest.mark.parametrize("path", [ITEMS, TILE])
def test_each_gets_what_they_may_see_whoever_asked_before(
    peopled: Case, serve: Serve, path: str
) -> None:
    client = serve(peopled, redact="20km")
    names = ["analyst", "limited", "viewer", "guest"]
    alone = {name: serve(peopled, redact="20km")(name).get(path) for name in names}
    assert len({one.content for one in alone.values()}) == len(names)
    assert len({one.headers["etag"] for one in alone.values()}) == len(names)
    for name in [*names, *reversed(names)]:
        found = client(name).get(path)
        if path == TILE:
            assert found.content == alone[name].content
        else:
            assert found.json()["features"] == alone[name].json()["features"]
        assert "private" in found.headers["cache-control"]


def test_another_grid_is_another_answer(peopled: Case, serve: Serve) -> None:
    tags = {serve(peopled, redact=grid)("viewer").get(TILE).headers["etag"]
            for grid in ("5km", "20km", "50km")}  # fmt: skip
    assert len(tags) == 3


def test_packed_and_plain_are_kept_apart(store_file: Path) -> None:
    with client_of(store_file) as client:
        for _ in range(2):
            packed = client.get(ITEMS, headers={"Accept-Encoding": "gzip"})
            plain = client.get(ITEMS, headers={"Accept-Encoding": "identity"})
            assert packed.headers["content-encoding"] == "gzip"
            assert "content-encoding" not in plain.headers
            # The client unpacks it.
            assert packed.json()["features"] == plain.json()["features"]


def test_tiles_are_kept_after_a_page_made_the_index(store_file: Path) -> None:
    with client_of(store_file) as client:
        client.get(ITEMS)
        until = time.monotonic() + 20
        while not any(one.startswith("index ") for one in [*client.app.state.service._kept]):
            assert time.monotonic() < until
            time.sleep(0.02)
        tile = client.get(TILE)
        assert "etag" in tile.headers
        assert tile.headers["cache-control"] != "no-store"


@pytest.mark.parametrize("zoom", [11, 13])
def test_outlines_are_the_same_whether_sites_are_in_memory_or_not(
    store_file: Path, monkeypatch: pytest.MonkeyPatch, zoom: int
) -> None:
    x, y = int((0.125 / 360 + 0.5) * 2**zoom), int((0.5 - 5.03 / 360) * 2**zoom)
    path = f"/tiles/sites/{zoom}/{x}/{y}.pbf"
    plain = {"Accept-Encoding": "identity"}
    with client_of(store_file) as client, monkeypatch.context() as patch:
        patch.setattr(site_blocks, "index_if_made", lambda *_: None)
        of_store = client.get(path, headers=plain)
    with client_of(store_file) as client:
        client.get("/tiles/sites/0/0/0.pbf")
        of_memory = client.get(path, headers=plain)
    assert b"s-1" in of_store.content
    assert of_memory.content == of_store.content


def test_the_version_of_the_program_is_a_part_of_what_a_browser_keeps(
    store_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with client_of(store_file) as client:
        before = client.get(TILE).headers["etag"]
    monkeypatch.setattr(kept_answers, "__version__", "another")
    with client_of(store_file) as client:
        assert client.get(TILE).headers["etag"] != before


def test_urgent_features_are_there_before_somebody_asks(store_file: Path) -> None:
    with client_of(store_file) as client:
        client.get(ITEMS, params={"limit": 1})
        service = client.app.state.service
        until = time.monotonic() + 20
        while not any(key[-2] == "s-7" for key in [*service.texts._values]):
            client.get(ITEMS, params={"limit": 2, "offset": time.monotonic_ns() % 5})
            assert time.monotonic() < until
            time.sleep(0.02)


def test_what_is_packed_is_gzip(store_file: Path) -> None:
    with client_of(store_file) as client:
        request = client.build_request("GET", ITEMS, headers={"Accept-Encoding": "gzip"})
        raw = b"".join(client.send(request, stream=True).iter_raw())
    assert gzip.decompress(raw).startswith(b'{"type":"FeatureCollection"')


def test_what_others_put_without_a_run_shows_in_what_is_kept(tmp_path: Path) -> None:
    """As `sluice context apply` in another process does."""
    file = write_store(tmp_path / "s.sqlite")
    with client_of(file) as client:
        before = {path: client.get(path, headers=PLAIN) for path in (ITEMS, TILE)}
        was = [one["name"] for one in client.get("/api/statistics").json()]
        assert "Far" not in was
        with open_store(str(file)) as other, other.landing("ashanti") as landing:
            known = landing.sites()
            around = [{**one, "district": "Far"} for one in known["context"]]
            landing.put_sites(known.assign(legality="inside", context=around))
        client.app.state.service.written()
        after = {path: client.get(path, headers=PLAIN) for path in (ITEMS, TILE)}
        until = time.monotonic() + 20
        # The tile before is shown, and kept by nobody, while sites are read anew.
        while "etag" not in after[TILE].headers and time.monotonic() < until:
            time.sleep(0.02)
            after[TILE] = client.get(TILE, headers=PLAIN)
        told = after[ITEMS].json()["features"]
        assert {one["properties"]["legality"] for one in told} == {"inside"}
        assert b"inside" in after[TILE].content
        assert [one["name"] for one in client.get("/api/statistics").json()] == ["Far"]
        for path, answer in before.items():
            assert answer.headers["etag"] != after[path].headers["etag"]
            asked = {"If-None-Match": answer.headers["etag"], **PLAIN}
            assert client.get(path, headers=asked).status_code == 200
