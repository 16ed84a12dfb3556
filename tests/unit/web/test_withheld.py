"""What each route tells of sensitive places, and of areas that somebody may not see."""

import datetime as dt
import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from starlette.routing import Mount

from access_cases import SHAPES, Case, Place, Serve
from sluice.app.web import service, site_indexes
from sluice.app.web.access import Person, Role
from sluice.app.web.rules import RULES, RuleBook, Withheld, map_rules
from sluice.app.web.site_index import SiteIndex
from sluice.app.web.views import view_of
from sluice.sites.fixed_grid import cells_of

GRID_M = 5000.0


def templates_of(routes: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Method and address of all routes, those of routers within routers too."""
    for route in routes:
        if hasattr(route, "effective_candidates"):
            yield from templates_of(route.effective_candidates())
            yield from templates_of(route.effective_low_priority_routes())
        elif isinstance(route, Mount):
            assert route.path in {"", "/assets"}, "a mount has no rules; decide on its addresses"
        else:
            for method in sorted(route.methods - {"HEAD"}):
                yield method, prefix + route.path


def test_every_route_has_a_decision(filled: Case, serve: Serve):
    app: FastAPI = serve(filled).app
    routes = set(templates_of(app.routes))
    assert ("GET", "/api/sites/{site_id}") in routes
    assert ("POST", "/api/sites/{site_id}/reviews") in routes
    decided = {_nameless(template): methods for template, methods in RULES.items()}
    # What lies beside the map's page has rules of its own: see `map_rules`.
    for method, template in routes - {("GET", "/{file}")}:
        methods = decided.get(_nameless(template))
        assert methods is not None, f"{template}: decide in sluice.app.web.rules who may use it"
        assert method in methods, f"{method} {template}: decide who may do that"
        found = RuleBook(RULES).find(re.sub(r"\{[^}]*\}", "1", template))
        assert found is not None
        assert found[1] is methods, f"{template}: another rule comes before its own"


def _nameless(template: str) -> str:
    """However its parameters are called."""
    return re.sub(r"\{\w+", "{", template)


def test_what_has_no_decision_does_not_exist(filled: Case, serve: Serve):
    clients = serve(filled)
    app: FastAPI = clients.app
    app.router.add_route("/api/undecided", lambda _: None)
    assert clients().get("/api/undecided").status_code == 404


def test_files_beside_the_page_are_for_everybody(peopled: Case, serve: Serve, tmp_path):
    (tmp_path / "index.html").write_text("<title>map</title>")
    (tmp_path / "icon.svg").write_text("<svg/>")
    (tmp_path / "fonts").mkdir()
    (tmp_path / "fonts" / "a.pbf").write_bytes(b"font")
    assert set(map_rules(tmp_path)) == {"/icon.svg", "/fonts/{path:path}", "/index.html"}
    client = serve(peopled, map_folder=tmp_path)()
    assert client.get("/icon.svg").status_code == 200
    assert client.get("/fonts/a.pbf").content == b"font"
    assert client.get("/other.svg").status_code == 401


def fitting(template: str, known: set[str], place: Place) -> list[str]:
    """Addresses of a route that ask for a place as closely as they can.

    Args:
        template: Of the route.
        known: Names that its queries may have.
        place: Asked for.
    """
    if "{collection}" in template:
        return [
            one
            for name in ("sites", "alerts", "detections", "areas")
            for one in fitting(template.replace("{collection}", name), known, place)
        ]
    x, y, z = _map_tile(place.lon, place.lat, 14)
    sides = (place.lon - 0.01, place.lat - 0.01, place.lon + 0.01, place.lat + 0.01)
    near = ",".join(f"{side:.5f}" for side in sides)
    values = {
        "site_id": place.site_id, "name": "obuasi", "language": "en", "z": z, "x": x, "y": y,
        "file": "sites.geojson",
        "item": f"run-{place.area}", "feature": place.site_id, "run_id": f"run-{place.area}",
        "kind": "image", "area": place.area, "job_id": "1",
        "ending": "html" if template.startswith("/reports") else "geojson",
    }  # fmt: skip
    path = re.sub(r"\{(\w+)(:\w+)?\}", lambda found: str(values.get(found[1], 1)), template)
    queries = [
        ("bbox", near), ("area", place.area), ("q", place.site_id), ("q", place.area),
        ("limit", 1000), ("what", "alerts"), ("what", "periods"),
        ("period", "2024-01-01/2024-03-31"), ("filter", f"site_id='{place.site_id}'"),
        ("filter", f"S_INTERSECTS(geometry,BBOX({near}))"),
    ]  # fmt: skip
    return [path, *(f"{path}?{name}={value}" for name, value in queries if name in known)]


def _map_tile(lon: float, lat: float, zoom: int) -> tuple[int, int, int]:
    x = int((lon + 180) / 360 * 2**zoom)
    y = int((1 - np.arcsinh(np.tan(np.radians(lat))) / np.pi) / 2 * 2**zoom)
    return x, y, zoom


def everything(app: FastAPI, client: Any, places: list[Place]) -> Iterator[tuple[str, Any]]:
    """All that a person gets out of all routes that read."""
    asked = set()
    described = app.openapi()["paths"]
    for method, template in templates_of(app.routes):
        if method != "GET":
            continue
        told = described.get(template, {}).get("get", {}).get("parameters", ())
        known = {one["name"] for one in told if one["in"] == "query"}
        for place in places:
            asked.update(fitting(template, known, place))
    for path in sorted(asked):
        answer = client.get(path)
        assert answer.status_code < 500 or answer.status_code == 501, (path, answer.text)
        yield path, answer


def leaks(path: str, answer: Any, places: list[Place]) -> list[str]:
    """What of places stands in an answer; what was asked for may be said back."""
    text = answer.content.decode("latin1")
    found = []
    for place in places:
        code = place.site_id.removeprefix("s-")
        if code[:7] in text and place.site_id not in path:
            found.append(place.site_id)
        exact = rf"(?<![\d.])-?{abs(place.lon):.3f}\d*\D{{1,40}}?-?{abs(place.lat):.3f}\d*"
        if answer.status_code == 200 and re.search(exact, text) and "bbox" not in path:
            found.append(f"{place.lon} {place.lat}")
    return found


def test_no_route_tells_a_viewer_where_a_place_is(case: Case, serve: Serve):
    clients = serve(
        case, redact="5km", requests_at_once=10**6, heavy_per_minute=10**6,
        requests_per_second=10**6,
    )  # fmt: skip
    viewer = clients("viewer")
    shown = viewer.get("/api/sites").json()["sites"][0]["site_id"]
    # By the id that is told as well, and by the place itself.
    places = [case.places[0], replace(case.places[0], site_id=shown)]
    told = {path: leaks(path, got, case.places) for path, got in
            everything(clients.app, viewer, places)}  # fmt: skip
    assert {path: found for path, found in told.items() if found} == {}
    # The same search finds what the others see, so that it would find a leak.
    open_paths = [
        path
        for path, got in everything(clients.app, clients("reviewer"), places[:1])
        if leaks(path, got, case.places)
    ]
    for start in ("/api/sites", "/api/alerts", "/exports/", "/reports/", "/ogc/", "/tiles/"):
        assert any(path.startswith(start) for path in open_paths), start


def test_no_route_tells_of_areas_that_somebody_may_not_see(case: Case, serve: Serve):
    clients = serve(case, requests_at_once=10**6, heavy_per_minute=10**6, requests_per_second=10**6)
    hidden = [place for place in case.places if place.area == "bibiani"]
    for name in ("limited", "guest"):
        for path, answer in everything(clients.app, clients(name), hidden[:1]):
            assert leaks(path, answer, hidden) == [], path
            told = "bibiani" in answer.text and "bibiani" not in path
            assert not told, path


def test_a_limited_person_counts_and_finds_their_own(peopled: Case, serve: Serve):
    clients = serve(peopled)
    for name in ("limited", "guest"):
        client = clients(name)
        assert [area["name"] for area in client.get("/api/areas").json()] == ["obuasi"]
        assert client.get("/api/sites").json()["total"] == 6
        assert client.get("/api/alerts").json()["total"] == 6
        assert client.get("/api/sites?area=bibiani").status_code == 404
        other = next(place for place in peopled.places if place.area == "bibiani")
        assert client.get(f"/api/sites/{other.site_id}").status_code == 404
    body = {"verdict": "confirmed"}
    path = f"/api/sites/{other.site_id}/reviews"
    assert clients("limited").post(path, json=body).status_code == 404


def test_viewers_see_cells(peopled: Case, serve: Serve):
    clients = serve(peopled, redact="5km")
    viewer, reviewer = clients("viewer"), clients("reviewer")
    assert viewer.get("/api/session").json()["withheld_m"] == GRID_M
    assert reviewer.get("/api/session").json()["withheld_m"] is None
    shown = viewer.get("/api/sites").json()
    assert shown["total"] == 12
    true_lon = np.array([place.lon for place in peopled.places])
    true_lat = np.array([place.lat for place in peopled.places])
    cells = cells_of(true_lon, true_lat, GRID_M)
    expected = sorted(zip(np.round(cells.lon, 9), np.round(cells.lat, 9), strict=True))
    got = sorted((round(row["lon"], 9), round(row["lat"], 9)) for row in shown["sites"])
    assert got == expected
    assert all(re.fullmatch(r"r-[0-9a-f]{16}", row["site_id"]) for row in shown["sites"])
    assert not {"area", "areas", "context", "priority", "legality"} & set(shown["sites"][0])
    # By the id that was told one finds it again, by the true one nothing.
    site_id = shown["sites"][0]["site_id"]
    assert viewer.get(f"/api/sites/{site_id}").json()["site"]["site_id"] == site_id
    assert viewer.get(f"/api/sites/{peopled.places[0].site_id}").status_code == 404
    body = {"verdict": "confirmed"}
    assert viewer.post(f"/api/sites/{site_id}/reviews", json=body).status_code == 403
    for role in ("reviewer", "analyst", "admin"):
        assert clients(role).get("/api/sites").json()["sites"][0]["site_id"].startswith("s-")


def test_a_box_within_a_cell_tells_nothing(peopled: Case, serve: Serve):
    """Searching by ever smaller boxes must not find the place within its cell."""
    viewer = serve(peopled, redact="5km")("viewer")
    place = peopled.places[0]
    own, away = 0.002, 0.012
    for dx, dy in ((0, 0), (away, 0), (0, away), (-away, 0), (0, -away)):
        lon, lat = place.lon + dx, place.lat + dy
        same = cells_of(np.array([place.lon, lon]), np.array([place.lat, lat]), GRID_M)
        box = f"{lon - own},{lat - own},{lon + own},{lat + own}"
        total = viewer.get("/api/sites", params={"bbox": box}).json()["total"]
        within = same.lon[0] == same.lon[1] and same.lat[0] == same.lat[1]
        assert total >= 1 or not within, (dx, dy)


def test_an_area_finds_cells_that_meet_it(peopled: Case, serve: Serve):
    viewer = serve(peopled, redact="5km")("viewer")
    told = {area["name"]: area for area in viewer.get("/api/areas").json()}
    for name in SHAPES:
        assert viewer.get("/api/sites", params={"area": name}).json()["total"] == 6
        assert told[name]["sites"] == told[name]["alerts"] == 6
        assert told[name]["runs"] == []


def test_what_is_younger_than_the_delay_is_held_back(peopled: Case, serve: Serve, monkeypatch):
    clients = serve(peopled, redact="5km", delay="6months")
    viewer = clients("viewer")
    # The only period ends on 31 March 2024.
    monkeypatch.setattr("sluice.app.web.withheld._today", lambda: dt.date(2024, 9, 30))
    assert viewer.get("/api/sites").json()["total"] == 0
    assert viewer.get("/api/alerts").json()["total"] == 0
    assert viewer.get("/api/areas").json()[0]["periods"] == []
    assert clients("reviewer").get("/api/sites").json()["total"] == 12
    monkeypatch.setattr("sluice.app.web.withheld._today", lambda: dt.date(2024, 10, 1))
    assert viewer.get("/api/sites").json()["total"] == 12
    assert viewer.get("/api/alerts").json()["total"] == 12
    assert len(viewer.get("/api/areas").json()[0]["periods"]) == 1


def test_ids_stay_after_a_restart(case: Case, serve: Serve):
    first = serve(case, redact="5km")("viewer").get("/api/sites").content
    again = serve(case, redact="5km")("viewer").get("/api/sites").content
    assert json.loads(first) == json.loads(again)


@pytest.mark.parametrize("order", [("viewer", "reviewer"), ("reviewer", "viewer")])
@pytest.mark.parametrize("path", ["/api/areas", "/api/sites", "/api/alerts", "/api/statistics",
                                  "/tiles/sites/6/31/31.pbf",
                                  "/tiles/sites/12/2026/1989.pbf"])  # fmt: skip
def test_what_was_kept_for_one_is_not_told_to_another(peopled: Case, serve: Serve, order, path):
    clients = serve(peopled, redact="5km")
    got = {name: clients(name).get(path).content for name in order}
    alone = {name: serve(peopled, redact="5km")(name).get(path).content for name in order}
    assert got == alone


def test_areas_of_one_are_not_in_tiles_and_pages_that_were_kept_for_another(
    peopled: Case, serve: Serve
):
    clients = serve(peopled)
    theirs = {place.site_id for place in peopled.places if place.area != "obuasi"}
    z = 12
    for place in peopled.places:
        x = int((place.lon / 360 + 0.5) * 2**z)
        y = int((0.5 - np.arcsinh(np.tan(np.radians(place.lat))) / (2 * np.pi)) * 2**z)
        path = f"/tiles/sites/{z}/{x}/{y}.pbf"
        assert place.site_id.encode() in clients("analyst").get(path).content
        seen = clients("limited").get(path).content
        assert (place.site_id.encode() in seen) == (place.site_id not in theirs)
    path = "/ogc/collections/sites/items?limit=100"
    kept = clients.app.state.service._kept
    for in_memory in (False, True):
        until = time.monotonic() + 20
        while in_memory and len({one for one in [*kept] if one.startswith("index ")}) < 2:
            assert time.monotonic() < until
            time.sleep(0.02)
        assert clients("analyst").get(path).json()["numberMatched"] == 12
        told = clients("limited").get(path).json()
        assert told["numberMatched"] == 6
        assert not theirs & {one["id"] for one in told["features"]}


def test_cells_as_they_were_before_a_review_are_kept_by_nobody(
    case: Case, serve: Serve, monkeypatch: pytest.MonkeyPatch
):
    clients = serve(case, redact="5km")
    viewer, path = clients("viewer"), "/tiles/sites/0/0/0.pbf"
    assert "etag" in viewer.get(path).headers
    read, go_on = site_indexes._make, threading.Event()

    def read_slowly(*asked: Any) -> SiteIndex:
        assert go_on.wait(20)
        return read(*asked)

    monkeypatch.setattr(site_indexes, "_make", read_slowly)
    monkeypatch.setattr(service, "_PATIENCE_S", 0.05)
    for place in case.places:
        answer = clients("reviewer").post(
            f"/api/sites/{place.site_id}/reviews", json={"verdict": "confirmed"}
        )
        assert answer.is_success
    before = viewer.get(path)
    assert before.headers["cache-control"] == "no-store, max-age=5"
    assert "etag" not in before.headers
    assert b"confirmed" not in before.content
    go_on.set()
    monkeypatch.setattr(service, "_PATIENCE_S", 20.0)
    now = viewer.get(path)
    assert "etag" in now.headers
    assert b"confirmed" in now.content


def test_images_are_refused_to_those_from_whom_places_are_withheld(peopled: Case, serve: Serve):
    clients = serve(peopled, redact="5km")
    path = "/imagery/run-obuasi/image/10/1/1.png"
    assert RULES["/imagery/{run_id}/{shown}/{z}/{x}/{y}.png"]["GET"].withheld is Withheld.REFUSED
    assert clients("viewer").get(path).status_code == 403
    assert clients("reviewer").get(path).status_code != 403
    assert serve(peopled)("viewer").get(path).status_code != 403


def test_views_are_told_apart_whatever_areas_are_called() -> None:
    names = ["all", "a b", "a|b", "None", "'a', 'b'", "a", "b"]
    seen = [None, frozenset(), frozenset(["a", "b"]), *(frozenset([name]) for name in names)]
    people = [Person("Ama", Role.VIEWER, areas, redacted=False) for areas in seen]
    assert len({view_of(person) for person in people}) == len(people)
