"""Pages that are found in memory are those that the store gives; what is kept is kept apart."""

from __future__ import annotations

import datetime as dt
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("fastapi")

from service_cases import client_of, some_sites, write_store
from sluice.app.following.stores import open_store
from sluice.app.web import service as service_module
from sluice.app.web import site_blocks, site_indexes, vector_tiles
from sluice.app.web.access import Person, Role
from sluice.app.web.site_index import COLUMNS, SiteIndex
from sluice.app.web.site_list import SiteList
from sluice.app.web.tile_cache import Cache
from sluice.base.places import Level, Status, Verdict
from sluice.base.store import Revision, SiteQuery

OWNER = Person("ama", Role.ADMIN, None, redacted=False)
QUERIES = [
    SiteQuery(),
    SiteQuery(limit=5),
    SiteQuery(limit=5, offset=9),
    SiteQuery(limit=5, offset=50),
    SiteQuery(bbox_lonlat=(0.1, 5, 0.26, 5.1)),
    SiteQuery(bbox_lonlat=(0.1, 5, 0.8, 5.1), limit=3, offset=2),
    SiteQuery(bbox_lonlat=(179, -10, 0.3, 10), limit=2),
    SiteQuery(bbox_lonlat=(50, 5, 51, 6), limit=2),
    SiteQuery(status=(Status.NEW, Status.GROWING), limit=3),
    SiteQuery(level=(Level.LOW,)),
    SiteQuery(level=(Level.HIGHEST,)),
    SiteQuery(area="ashanti", limit=4),
    SiteQuery(area="bono east"),
    SiteQuery(areas=("bono east",)),
    SiteQuery(areas=("bono east", "ashanti"), area="ashanti", min_area_ha=8.0),
    SiteQuery(areas=("bono east",), area="ashanti"),
    SiteQuery(min_area_ha=13.0),
    SiteQuery(min_priority=45.0, limit=2),
    SiteQuery(seen_since=dt.date(2024, 6, 30), limit=2),
    SiteQuery(seen_since=dt.date(2024, 7, 1)),
    SiteQuery(legality=("outside",), limit=3),
]


@pytest.fixture(scope="module")
def store_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("pages") / "s.sqlite")


@pytest.mark.parametrize("query", QUERIES)
def test_pages_in_memory_are_those_of_the_store(store_file: Path, query: SiteQuery) -> None:
    with open_store(str(store_file)) as store:
        listed = SiteList(pd.DataFrame(store.site_columns(SiteQuery(), COLUMNS)))
        found = listed.page(query)
        assert found is not None
        expected = store.sites(query)["site_id"].tolist()
        assert found[0] == expected
        assert found[1] == store.count_sites(query)


@pytest.mark.parametrize(
    "query",
    [
        SiteQuery(verdict=(Verdict.CONFIRMED,)),
        SiteQuery(site_ids=("s-1",)),
        SiteQuery(with_past=True),
        SiteQuery(standing=True),
    ],
)
def test_what_memory_does_not_know_is_left_to_the_store(store_file: Path, query: SiteQuery) -> None:
    with open_store(str(store_file)) as store:
        listed = SiteList(pd.DataFrame(store.site_columns(SiteQuery(), COLUMNS)))
    assert listed.page(query) is None


def test_pages_are_the_same_before_and_after_all_is_in_memory(store_file: Path) -> None:
    path = "/ogc/collections/sites/items?bbox=0.1,5,0.8,5.1&limit=3&offset=1"
    with client_of(store_file) as client:
        service = client.app.state.service
        first = client.get(path).json()
        until = time.monotonic() + 20
        while not any(name.startswith("index ") for name in [*service._kept]):
            assert time.monotonic() < until
            time.sleep(0.02)
        then = client.get(path).json()
    assert [one["id"] for one in first["features"]] == ["s-2", "s-3", "s-4"]
    assert {**first, "timeStamp": ""} == {**then, "timeStamp": ""}


def test_a_review_shows_in_a_tile_of_outlines_and_on_a_page(tmp_path: Path) -> None:
    path = write_store(tmp_path / "s.sqlite")
    sites = some_sites()
    lon, lat = sites["lon"].iloc[0], sites["lat"].iloc[0]
    z = 13
    y = 0.5 - np.arcsinh(np.tan(np.radians(lat))) / (2 * np.pi)
    tile = f"/tiles/sites/{z}/{int((lon / 360 + 0.5) * 2**z)}/{int(y * 2**z)}.pbf"
    with client_of(path) as client:
        before = client.get(tile)
        assert b"s-0" in before.content
        assert b"confirmed" not in before.content
        body = {"verdict": "confirmed"}
        assert client.post("/api/sites/s-0/reviews", json=body).status_code == 201
        assert b"confirmed" in client.get(tile).content
        page = client.get("/ogc/collections/sites/items?limit=1").json()
        assert page["features"][0]["properties"]["verdict"] == "confirmed"


@pytest.mark.parametrize("indexed", [True, False])
def test_a_crowded_tile_of_a_period_shows_sites_of_that_period(
    store_file: Path, monkeypatch: pytest.MonkeyPatch, indexed: bool
) -> None:
    # Of the tile's s-5, s-6 and s-7 the first is the most urgent, and had not begun.
    tile = "/tiles/sites/11/1027/995.pbf?period=2024-01-01/2024-03-31"
    for module in (site_blocks, vector_tiles):
        monkeypatch.setattr(module, "MOST_POLYGONS", 1)
    if not indexed:
        monkeypatch.setattr(site_blocks, "index_if_made", lambda *_: None)
    with client_of(store_file) as client:
        if indexed:
            index = site_indexes.site_index(client.app.state.service, OWNER, None)
            monkeypatch.setattr(site_blocks, "index_if_made", lambda *_: index)
        told = client.get(tile)
        assert told.status_code == 200
        assert b"s-6" in told.content
        assert b"s-7" not in told.content


def test_nobody_waits_after_a_landing_until_all_sites_are_read(
    store_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "/tiles/sites/6/32/31.pbf"
    read, go_on = site_indexes._make, threading.Event()

    def read_slowly(*asked: Any) -> SiteIndex:
        assert go_on.wait(20)
        return read(*asked)

    with client_of(store_file) as client:
        service = client.app.state.service
        now = service.revision()
        one = SiteIndex(pd.DataFrame(service.store.site_columns(SiteQuery(limit=1), COLUMNS)))
        one.made_of = earlier = Revision("earlier", now.reviews, now.layers)
        monkeypatch.setattr(site_indexes, "_make", lambda *_: one)
        for name in ("revision", "known_revision"):
            monkeypatch.setattr(service, name, lambda: earlier)
        assert client.get(path).status_code == 200
        for name in ("revision", "known_revision"):
            monkeypatch.setattr(service, name, lambda: now)
        monkeypatch.setattr(site_indexes, "_make", read_slowly)
        monkeypatch.setattr(service_module, "_PATIENCE_S", 0.05)
        for _ in range(2):
            older = client.get(path)
            assert b"s-0" in older.content
            assert b"s-7" not in older.content
            # Kept by nobody; the map asks again.
            assert older.headers["cache-control"] == "no-store, max-age=5"
            assert "etag" not in older.headers
        go_on.set()
        monkeypatch.setattr(service_module, "_PATIENCE_S", 20.0)
        newer = client.get(path)
        assert b"s-7" in newer.content
        assert "etag" in newer.headers


def test_a_cache_keeps_what_was_used_last_within_its_bytes() -> None:
    cache = Cache[bytes](100)
    made: list[str] = []

    def make(name: str, size: int) -> bytes:
        def do() -> bytes:
            made.append(name)
            return bytes(size)

        return cache.get_or_make((name,), do, len)

    make("a", 40)
    make("b", 40)
    make("a", 40)
    make("c", 40)
    assert made == ["a", "b", "c"]
    assert cache.get(("b",)) is None
    assert cache.get(("a",)) == bytes(40)
    make("large", 200)
    assert cache.get(("large",)) is None
    make("empty", 0)
    assert cache.get(("empty",)) == b""
