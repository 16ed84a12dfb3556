"""A layer that is sent to a service judges what lies near it, or says which command does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import shapely
import shapely.affinity
from starlette.testclient import TestClient
from typer.testing import CliRunner

from arrivals import GRID, PIT, arrival_of
from service_cases import client_of
from sluice.app.cli.main import app
from sluice.app.following.landing import add_named_area, land
from sluice.app.following.stores import open_store
from sluice.app.products.coverage import outline_lonlat
from sluice.app.web import uploads
from sluice.base.errors import Conflict
from stores import StorePlaces

BOUNDS = outline_lonlat(GRID)
FAR = shapely.affinity.translate(BOUNDS, 20)


@pytest.fixture
def address(places: StorePlaces) -> str:
    made = places.made()
    with open_store(made) as store:
        add_named_area(store, "ours", BOUNDS)
        for quarter in range(2):
            land(store, arrival_of(quarter, [PIT]))
    return made


@pytest.fixture
def client(address: str) -> Iterator[TestClient]:
    with client_of(address) as opened:
        yield opened


def send(client: TestClient, shape: shapely.Geometry, **options: Any) -> list[str]:
    feature = {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(shape)}
    content = json.dumps({"type": "FeatureCollection", "features": [feature]})
    asked = {"name": "park", "kind": "protected", "file": "park.geojson"} | options
    answer = client.post("/api/layers", params=asked, content=content)
    assert answer.status_code == 201, answer.text
    notes: list[str] = answer.json()["notes"]
    return notes


def legality(client: TestClient) -> set[str]:
    """As lists and pages tell it: the second may come of what is kept in memory."""
    (site,) = client.get("/api/sites").json()["sites"]
    (feature,) = client.get("/ogc/collections/sites/items").json()["features"]
    return {site["legality"], feature["properties"]["legality"]}


def test_a_layer_judges_what_lies_near_it(client: TestClient) -> None:
    assert legality(client) == {"unknown"}
    (note,) = send(client, BOUNDS)
    assert note.startswith("ours: 1 sites and 2 detections judged by the layers; 1 sites")
    assert legality(client) == {"protected"}
    # One that takes its place judges where that was.
    notes = send(client, FAR, replace=True)
    assert "none of its features lies within 50 km" in notes[0]
    assert "1 sites, 2 detections" in notes[1]
    assert "protected" not in legality(client)


def test_what_is_too_much_for_a_request_is_left_to_a_command(
    client: TestClient, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "JUDGED_AT_ONCE", 2)
    (note,) = send(client, BOUNDS)
    assert legality(client) == {"unknown"}
    assert "`sluice context apply --area-name ours`" in note
    words = ["context", "apply", "--area-name", "ours", "--store", address]
    CliRunner().invoke(app, words, catch_exceptions=False)
    client.app.state.service.written()  # type: ignore[attr-defined]
    assert legality(client) == {"protected"}


def test_a_layer_stays_where_the_judging_fails(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise Conflict("/home/ama/ours.sqlite: somebody else writes")

    monkeypatch.setattr(uploads, "apply_layers", fail)
    (note,) = send(client, BOUNDS)
    assert "`sluice context apply --area-name ours`" in note
    assert "/home" not in note
    assert [layer["name"] for layer in client.get("/api/layers").json()] == ["park"]
