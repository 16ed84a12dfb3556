"""Servers that refuse, fail, stall, or answer something else."""

import contextlib
import itertools
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import shapely

import stac_items as si
from sluice.base.errors import (
    AuthError,
    ConfigError,
    ItemNotFound,
    RateLimited,
    SluiceError,
    SourceUnavailable,
    is_retryable,
)
from sluice.base.periods import parse_span
from sluice.imagery.stac import search
from sluice.imagery.stac.catalogues import open_catalogue
from sluice.imagery.stac.static import StaticCatalogue
from sluice.imagery.stac.web import Patience

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]
AREA = shapely.box(*si.AREA)
YEAR = parse_span("2024", "2024")
QUICK = Patience(timeout_s=5, retries=2, backoff_s=0.01, longest_wait_s=1.0)

Answer = tuple[int, dict[str, str], bytes]


class Server(ThreadingHTTPServer):
    """Says nothing of clients that hang up."""

    def handle_error(self, request: Any, client_address: Any) -> None: ...


class Script:
    """A server that answers as told, and remembers what it was asked."""

    def __init__(self, answer: Callable[[str, str, Any], Answer]) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str, Any]] = []

    @contextlib.contextmanager
    def running(self) -> Iterator[str]:
        script = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._reply(None)

            def do_POST(self) -> None:
                self._reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def _reply(self, body: Any) -> None:
                script.asked.append((self.command, self.path, body))
                status, headers, content = script.answer(self.command, self.path, body)
                with contextlib.suppress(ConnectionError):
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None: ...  # noqa: A002

        server = Server(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


CLASSES = ["core", "item-search", "collections", "ogcapi-features"]


def as_json(content: Any, status: int = 200, **headers: str) -> Answer:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, {"Content-Type": "application/json"} | sent, json.dumps(content).encode()


def root(url: str, methods: tuple[str, ...] = ("GET", "POST")) -> Any:
    links = [
        {"rel": "search", "href": f"{url}/search", "method": m, "type": "application/geo+json"}
        for m in methods
    ]
    return {
        "type": "Catalog",
        "id": "scripted",
        "description": "scripted",
        "stac_version": "1.0.0",
        "conformsTo": [f"https://api.stacspec.org/v1.0.0/{one}" for one in CLASSES],
        "links": [*links, {"rel": "data", "href": f"{url}/collections"}],
    }


def page(items: list[si.Item], next_link: Any = None) -> Any:
    links = [next_link] if next_link else []
    return {"type": "FeatureCollection", "features": items, "links": links}


@contextlib.contextmanager
def scripted(search_answer: Callable[[int, str, Any], Answer]) -> Iterator[tuple[str, Script]]:
    """An API whose searches are answered by number, method and body."""
    count = itertools.count()
    place: dict[str, str] = {}

    def answer(method: str, path: str, body: Any) -> Answer:
        if path.startswith("/search"):
            return search_answer(next(count), method, body)
        if path == "/":
            return as_json(root(place["url"]))
        return as_json({"collections": [], "links": []}, 200 if path == "/collections" else 404)

    script = Script(answer)
    with script.running() as url:
        place["url"] = url
        yield url, script


def find(url: str, **how: Any) -> Any:
    patience = how.pop("patience", QUICK)
    catalogue = open_catalogue(
        url, "s2-l2a", collection="sentinel-2-c1-l2a", patience=patience, **how
    )
    return catalogue.find(how.pop("area", AREA), YEAR, ("red",))


def searches(script: Script) -> list[tuple[str, str, Any]]:
    return [one for one in script.asked if one[1].startswith("/search")]


@pytest.mark.parametrize(
    ("status", "kind", "tries", "words"),
    [
        (401, AuthError, 1, "wants credentials"),
        (403, AuthError, 1, "wants credentials"),
        (429, RateLimited, 3, "slow down"),
        (500, SourceUnavailable, 3, "HTTP 500"),
        (502, SourceUnavailable, 3, "HTTP 502"),
        (503, SourceUnavailable, 3, "HTTP 503"),
        (504, SourceUnavailable, 3, "HTTP 504"),
        (418, ConfigError, 1, "refused the request"),
        # Answers that another way of asking may mend; the last one counts.
        (400, ConfigError, 3, "HTTP 400"),
        (404, ItemNotFound, 3, "nothing there"),
    ],
)
def test_refusals(status: int, kind: type[SluiceError], tries: int, words: str) -> None:
    with scripted(lambda *_: as_json({"description": "no"}, status)) as (url, script):
        with pytest.raises(kind, match=words) as caught:
            find(url)
        assert len(searches(script)) == tries
        assert is_retryable(caught.value) == (status in {429, 500, 502, 503, 504})
        assert caught.value.href == url
        assert "\n" not in str(caught.value)


def test_a_fault_that_passes() -> None:
    def answer(count: int, method: str, body: Any) -> Answer:
        return as_json({}, 503) if count < 2 else as_json(page([si.earth_search_c1()]))

    with scripted(answer) as (url, script):
        assert len(find(url).files) == 1
        assert len(searches(script)) == 3


@pytest.mark.parametrize("asked", ["1", "3600"])
def test_waits_as_long_as_asked_within_a_limit(asked: str) -> None:
    def answer(count: int, method: str, body: Any) -> Answer:
        if count == 0:
            return as_json({}, 429, Retry_After=asked)
        return as_json(page([si.earth_search_c1()]))

    with scripted(answer) as (url, _):
        started = time.monotonic()
        assert len(find(url).files) == 1
        assert 0.95 <= time.monotonic() - started < 20


def test_a_wait_that_makes_no_sense() -> None:
    def answer(count: int, method: str, body: Any) -> Answer:
        if count == 0:
            return as_json({}, 429, Retry_After="soon")
        return as_json(page([si.earth_search_c1()]))

    with scripted(answer) as (url, _):
        assert len(find(url).files) == 1


def test_no_answer_in_time() -> None:
    release = threading.Event()

    def answer(count: int, method: str, body: Any) -> Answer:
        release.wait(60)
        return as_json(page([]))

    with scripted(answer) as (url, _):
        started = time.monotonic()
        with pytest.raises(SourceUnavailable, match="no answer"):
            find(url, patience=Patience(timeout_s=0.2, retries=1, backoff_s=0.01))
        assert time.monotonic() - started < 20
        release.set()


def test_nobody_listens() -> None:
    with Script(lambda *_: as_json({})).running() as url:
        pass
    with pytest.raises(SourceUnavailable, match="check the address and the connection"):
        open_catalogue(url, "s2-l2a", patience=QUICK)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html><html>Log in</html>", "no STAC catalogue"),
        (b"{not json", "no STAC catalogue"),
        (b"[1, 2]", "not as STAC does"),
        (b'{"hello": 1}', "not as STAC does"),
        (b"\xff\xfe\x00", "no STAC catalogue"),
    ],
)
def test_an_address_of_something_else(content: bytes, message: str) -> None:
    with Script(lambda *_: (200, {"Content-Type": "text/html"}, content)).running() as url:
        with pytest.raises(ConfigError, match=message) as caught:
            open_catalogue(url, "s2-l2a", patience=QUICK)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400


def test_a_wrong_address() -> None:
    with (
        Script(lambda *_: (404, {}, b"<html>nothing</html>")).running() as url,
        pytest.raises(ItemNotFound, match="nothing there"),
    ):
        open_catalogue(f"{url}/v1", "s2-l2a", patience=QUICK)


@pytest.mark.parametrize("garbage", [b"{", b'{"features": 7}', b'{"features": [{"no": "id"}]}'])
def test_garbage_instead_of_results(garbage: bytes) -> None:
    with (
        scripted(lambda *_: (200, {"Content-Type": "application/json"}, garbage)) as (url, _),
        pytest.raises(ConfigError, match="no STAC catalogue"),
    ):
        find(url)


def test_a_page_that_never_ends() -> None:
    def answer(count: int, method: str, body: Any) -> Answer:
        more = {"rel": "next", "href": f"{place['url']}/search", "method": "POST", "body": {}}
        return as_json(page([si.earth_search_c1()], more))

    place: dict[str, str] = {}
    with scripted(answer) as (url, script):
        place["url"] = url
        with pytest.raises(SourceUnavailable, match="again and again"):
            find(url)
        assert len(searches(script)) == 2


def test_more_than_anybody_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MOST_ITEMS", 30)

    def answer(count: int, method: str, body: Any) -> Answer:
        items = [si.earth_search_c1() | {"id": f"{count}-{k}"} for k in range(20)]
        more = {"rel": "next", "href": f"{place['url']}/search", "method": "POST", "body": {}}
        return as_json(page(items, more))

    place: dict[str, str] = {}
    with scripted(answer) as (url, _):
        place["url"] = url
        with pytest.raises(ConfigError, match="more than 30 scenes; search a smaller --area"):
            find(url)


def test_an_item_that_comes_twice_counts_once() -> None:
    def answer(count: int, method: str, body: Any) -> Answer:
        if count == 0:
            more = {"rel": "next", "href": f"{place['url']}/search", "method": "POST", "body": {}}
            return as_json(page([si.earth_search_c1("2024-08-01")], more))
        return as_json(page([si.earth_search_c1("2024-08-01"), si.earth_search_c1("2024-08-02")]))

    place: dict[str, str] = {}
    with scripted(answer) as (url, _):
        place["url"] = url
        found = find(url)
        assert [str(files.scene.acquired) for files in found.files] == ["2024-08-01", "2024-08-02"]
        assert not found.left_out


def test_a_server_that_cannot_intersect() -> None:
    def answer(count: int, method: str, body: Any) -> Answer:
        if body and "intersects" in body:
            return as_json({"description": "intersects: unknown"}, 400)
        return as_json(page([si.earth_search_c1()]))

    with scripted(answer) as (url, script):
        assert len(find(url).files) == 1
        assert searches(script)[-1][2]["bbox"] == pytest.approx(list(si.AREA))


def test_a_server_that_takes_no_post() -> None:
    def answer(count: int, method: str, body: Any) -> Answer:
        return as_json({}, 405) if method == "POST" else as_json(page([si.earth_search_c1()]))

    with scripted(answer) as (url, script):
        assert len(find(url).files) == 1
        method, path, _ = searches(script)[-1]
        assert method == "GET"
        assert "bbox=" in path
        assert "collections=sentinel-2-c1-l2a" in path


def test_what_is_sent() -> None:
    with scripted(lambda *_: as_json(page([]))) as (url, script):
        with pytest.raises(ConfigError, match="no collection"):
            find(url)
        sent = searches(script)[0][2]
    assert sent["collections"] == ["sentinel-2-c1-l2a"]
    assert shapely.geometry.shape(sent["intersects"]).equals(AREA)
    first, last = sent["datetime"].split("/")
    assert first == "2024-01-01T00:00:00Z"
    assert re.match(r"2024-12-31T23:59:59", last)
    assert sent["limit"] == 100


def test_a_static_catalogue_at_an_address() -> None:
    place: dict[str, str] = {}

    def answer(method: str, path: str, body: Any) -> Answer:
        if path == "/deep/item.json":
            return as_json(si.earth_search_c1())
        if path == "/catalog.json":
            links = [
                {"rel": "item", "href": "./deep/item.json"},
                {"rel": "item", "href": "./gone.json"},
                {"rel": "item", "href": "file:///etc/hostname"},
                {"rel": "child", "href": "catalog.json"},
            ]
            return as_json({"type": "Catalog", "id": "c", "stac_version": "1.0.0", "links": links})
        return as_json({}, 404)

    with Script(answer).running() as url:
        place["url"] = url
        catalogue = open_catalogue(f"{url}/catalog.json", "s2-l2a", patience=QUICK)
        assert isinstance(catalogue, StaticCatalogue)
        found = catalogue.find(AREA, YEAR, ("red",))
    assert len(found.files) == 1
    assert {out.scene_id for out in found.left_out} == {"gone.json", "hostname"}
