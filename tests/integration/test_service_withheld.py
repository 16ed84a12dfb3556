"""Whoever sees sites only roughly learns no more by lists, filters, boxes, tiles or files."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import shapely
from starlette.testclient import TestClient

from service_cases import client_of, some_sites, write_store
from sluice.app.following.stores import open_store
from sluice.app.web import access, withheld
from sluice.app.web.access import Person, Role
from sluice.base.places import Area
from sluice.sites.redaction import Redaction
from stores import NOW

RULE = Redaction(grid_m=5000.0, key=b"a secret of the test")
TODAY = dt.date(2026, 1, 1)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    path = write_store(tmp_path_factory.mktemp("withheld") / "s.sqlite")
    with pytest.MonkeyPatch.context() as patch, client_of(path) as one:
        patch.setattr(withheld, "_today", lambda: TODAY)
        viewer = Person("Ama", Role.VIEWER, None, redacted=True, redaction=RULE)
        one.app.dependency_overrides[access.person] = lambda: viewer  # type: ignore[attr-defined]
        yield one


def told_of_places(answer: Any) -> list[float]:
    """All coordinates in an answer."""
    if isinstance(answer, dict):
        return [n for value in answer.values() for n in told_of_places(value)]
    if isinstance(answer, list):
        return [n for value in answer for n in told_of_places(value)]
    return [answer] if isinstance(answer, float) else []


PATHS = [
    "/api/sites",
    "/api/sites?area=ashanti",
    "/api/alerts",
    "/api/statistics",
    "/api/statistics?period=2024-01-01/2024-03-31",
    "/api/search?q=s-3",
    "/ogc/collections/sites/items",
    "/ogc/collections/alerts/items",
    "/stac/search",
]


@pytest.mark.parametrize("path", PATHS)
def test_no_id_and_no_exact_place_leaves(client: TestClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200, response.text
    for row in some_sites().itertuples():
        assert f'"{row.site_id}"' not in response.text
        assert row.lon not in told_of_places(json.loads(response.text))
    assert re.search(r'river_m":\s*\d', response.text) is None


def test_areas_smaller_than_their_cells_are_not_there(tmp_path: Path) -> None:
    path = write_store(tmp_path / "s.sqlite")
    with contextlib.closing(open_store(str(path))) as store:
        site = some_sites().iloc[0]
        around = shapely.box(site.lon - 0.005, site.lat - 0.005, site.lon + 0.005, site.lat + 0.005)
        store.add_area(Area(name="tiny", created=NOW), around)
    asked = [
        "/api/sites?area=tiny",
        "/api/alerts?area=tiny",
        "/api/statistics?area=tiny",
        "/tiles/sites/0/0/0.pbf?area=tiny",
        "/exports/sites.geojson?area=tiny",
        "/reports/areas/tiny.html",
        "/stac/collections/tiny",
        "/ogc/collections/areas/items/tiny",
    ]
    lists = ["/api/areas", "/ogc/collections/areas/items", "/api/search?q=tin", "/stac/collections"]
    with client_of(path) as client:
        assert all("tiny" in client.get(one).text for one in lists)
    with client_of(path) as client:
        viewer = Person("Ama", Role.VIEWER, None, redacted=True, redaction=RULE)
        client.app.dependency_overrides[access.person] = lambda: viewer  # type: ignore[attr-defined]
        for one in lists:
            assert "tiny" not in client.get(one).text, one
        assert "ashanti" in client.get("/api/areas").text
        for one in asked:
            assert client.get(one).status_code in {403, 404}, one


@pytest.mark.parametrize("z", [0, 8, 10, 11, 14])
def test_tiles_hold_cells_not_sites(client: TestClient, z: int) -> None:
    n = 2**z
    x, y = int((0.025 / 360 + 0.5) * n), int(0.486 * n)
    tiles = [client.get(f"/tiles/sites/{z}/{x}/{y + k}.pbf") for k in range(-1, 2) if y + k < n]
    found = b"".join(tile.content for tile in tiles if tile.status_code == 200)
    assert b"s-0" not in found
    period = client.get("/tiles/sites/0/0/0.pbf?period=2024-04-01/2024-06-30&area=ashanti")
    assert b"growing" in period.content
    assert b"s-0" not in period.content


def test_filters_work_on_what_is_shown(client: TestClient) -> None:
    everything = client.get("/api/sites").json()
    assert everything["total"] == 12
    # What is withheld fits no filter: how many there are would tell of whom it is true.
    assert client.get("/api/sites?min_priority=1").json()["total"] == 0
    withheld = client.get("/ogc/collections/sites/items", params={"filter": "priority > 1"})
    assert withheld.json()["numberMatched"] == 0
    near = {"filter": "context_river_m < 150"}
    assert client.get("/ogc/collections/sites/items", params=near).json()["numberMatched"] == 0
    # A box around the site alone finds its cell, as any box does that meets the cell.
    row = everything["sites"][0]
    box = f"{row['lon'] + 0.01},{row['lat']},{row['lon'] + 0.011},{row['lat'] + 0.001}"
    found = client.get("/api/sites", params={"bbox": box}).json()["sites"]
    assert row["site_id"] in [one["site_id"] for one in found]


def test_a_site_is_told_by_its_cell_alone(client: TestClient) -> None:
    assert client.get("/api/sites/s-3").status_code == 404
    shown = client.get("/api/sites").json()["sites"][0]["site_id"]
    told = client.get(f"/api/sites/{shown}").json()
    assert told["periods"]
    assert told["looks"] == told["outlines"] == told["scenes"] == told["reviews"] == []
    assert told["coordinates"] is None
    body = {"verdict": "confirmed"}
    assert client.post(f"/api/sites/{shown}/reviews", json=body).status_code == 403
    assert client.get(f"/reports/sites/{shown}.html").status_code == 403


def test_what_has_exact_places_is_not_there(client: TestClient) -> None:
    refused = client.get("/ogc/collections/detections/items")
    assert refused.status_code == 404
    told = refused.json()["error"]["message"]
    assert told == "there is no collection 'detections'; there are sites, alerts, areas"
    told = client.get("/exports/sites.csv?what=detections").json()["error"]["message"]
    assert "choose sites, alerts or periods" in told
    assert "--" not in told, "nobody types options into the address of a page"
    listed = client.get("/ogc/collections").json()["collections"]
    assert "detections" not in [one["id"] for one in listed]
    item = client.get("/stac/collections/ashanti/items/run-0").json()
    assert item["assets"] == {}


def test_exports_are_redacted_and_take_no_filter(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sluice.app.web.exports.redaction_of", lambda _: RULE)
    exported = client.get("/exports/sites.geojson", params={"area": "ashanti", "language": "fr"})
    assert exported.status_code == 200
    assert "s-3" not in exported.text
    narrow = client.get("/exports/sites.geojson", params={"bbox": "0,5,1,6"})
    assert narrow.status_code == 403


def test_files_of_runs_are_not_served(client: TestClient, tmp_path: Path) -> None:
    assert client.get("/stac/collections/ashanti/items/run-0/score.tif").status_code == 404
