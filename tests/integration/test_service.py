"""The map's interface over a small store, through HTTP in this process."""

from __future__ import annotations

import contextlib
import csv
import getpass
import io
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from service_cases import client_of, get, refused, some_sites, write_store
from sluice.app.following.stores import open_store
from sluice.app.web import access
from sluice.app.web.access import Person, Role
from sluice.base.places import Verdict
from sluice.store.checking import check


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("service") / "s.sqlite")


@pytest.fixture(scope="module")
def client(store: Path) -> Iterator[TestClient]:
    with client_of(store) as one:
        yield one


def test_areas_tell_periods_runs_and_how_many_sites(client: TestClient) -> None:
    ashanti, bono = get(client, "/api/areas")
    assert (ashanti["name"], bono["name"]) == ("ashanti", "bono east")
    assert (ashanti["sites"], bono["sites"]) == (12, 0)
    # Of the alerts at sites 0, 3, 6 and 9 the last was rejected.
    assert ashanti["alerts"] == 3
    assert ashanti["bbox"] == [-3, 4, 2, 8]
    assert ashanti["periods"] == [
        {"start": "2024-01-01", "end": "2024-03-31", "name": "2024-01_2024-03"},
        {"start": "2024-04-01", "end": "2024-06-30", "name": "2024-04_2024-06"},
    ]
    assert [run["run_id"] for run in ashanti["runs"]] == ["run-0", "run-1"]
    assert not ashanti["runs"][0]["has_image"]
    # 5 by 4 degrees at 6 degrees north, by the formula of a sphere of equal area.
    assert ashanti["hectares"] == pytest.approx(24_475_000, rel=0.01)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, range(12)),
        ({"limit": 2, "offset": 3}, (3, 4)),
        ({"area": "bono east"}, ()),
        ({"bbox": "0.1,5,0.26,5.1"}, (1, 2)),
        ({"status": "new,growing"}, (0, 1, 5, 6, 10, 11)),
        ({"status": ["new", "growing"]}, (0, 1, 5, 6, 10, 11)),
        ({"level": "low", "min_priority": 45}, (2, 5)),
        ({"min_area_ha": 13}, (10, 11)),
        ({"since": "2024-07-01"}, ()),
    ],
)
def test_sites_are_those_that_are_asked_for(
    client: TestClient, query: dict[str, Any], expected: Any
) -> None:
    told = get(client, "/api/sites", **query)
    assert [site["site_id"] for site in told["sites"]] == [f"s-{n}" for n in expected]
    if "offset" not in query:
        assert told["total"] == len(list(expected))


def test_a_site_is_told_whole(client: TestClient) -> None:
    told = get(client, "/api/sites/s-3")
    assert told["site"]["site_id"] == "s-3"
    assert told["site"]["area_ha"] is None  # NaN in the store, and no number in JSON
    assert told["geometry"]["type"] == "Polygon"
    assert [period["status"] for period in told["periods"]] == ["new"]
    assert [look["run_id"] for look in told["looks"]] == ["run-0", "run-1"]
    assert [outline["run_id"] for outline in told["outlines"]] == ["run-0", "run-1"]
    assert told["alerts"][0]["alert_id"] == "a-3"
    assert told["coordinates"]["decimal"] == "5.025000, 0.325000"
    assert told["coordinates"]["dms"] == "5°01'30.0\"N 0°19'30.0\"E"
    assert told["coordinates"]["mgrs"].startswith("31N")


def test_cover_is_told_before_and_after(tmp_path: Path) -> None:
    path = write_store(tmp_path / "s.sqlite", 3)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for run_id, figures in (("run-0", (3.0, 0.5, 0.0, 0.5)), ("run-1", (1.0, 0.5, 1.5, 1.0))):
            connection.execute(
                "UPDATE looks SET forest_ha = ?, farmland_ha = ?, water_ha = ?, bare_ha = ? "
                "WHERE run_id = ? AND site_id <> 's-2'",
                (*figures, run_id),
            )
        connection.execute(
            "UPDATE looks SET compared_with = 'run-0', forest_lost_ha = 2.25, "
            "farmland_lost_ha = 0.25, water_lost_ha = 0 WHERE run_id = 'run-1' AND site_id = 's-1'"
        )
    with client_of(path) as client:
        # Site 1 began in the second quarter, site 0 was there in the first.
        assert get(client, "/api/sites/s-1")["cover"] == {
            "cover_before": "2024-01-01", "cover_after": "2024-04-01", "known_before": True,
            "forest_before_ha": 3.0, "farmland_before_ha": 0.5, "water_before_ha": 0.0,
            "bare_before_ha": 0.5, "forest_after_ha": 1.0, "farmland_after_ha": 0.5,
            "water_after_ha": 1.5, "bare_after_ha": 1.0,
            "forest_lost_ha": 2.25, "farmland_lost_ha": 0.25, "water_lost_ha": 0.0,
        }  # fmt: skip
        earlier = get(client, "/api/sites/s-0")["cover"]
        assert (earlier["known_before"], earlier["forest_lost_ha"]) == (False, None)
        assert get(client, "/api/sites/s-2")["cover"] is None


def test_alerts_are_those_that_nobody_rejected_unless_asked(client: TestClient) -> None:
    told = get(client, "/api/alerts")
    assert [alert["alert_id"] for alert in told["alerts"]] == ["a-0", "a-3", "a-6"]
    assert told["total"] == 3
    assert told["alerts"][1]["site_status"] == "inactive"
    assert get(client, "/api/alerts", state="rejected")["alerts"][0]["alert_id"] == "a-9"
    assert get(client, "/api/alerts", limit=1)["total"] == 3


def test_lists_tell_what_is_left_to_review(tmp_path: Path) -> None:
    with client_of(write_store(tmp_path / "s.sqlite", 4)) as client:
        for site, verdict in (("s-0", "confirmed"), ("s-2", "unsure")):
            made = client.post(f"/api/sites/{site}/reviews", json={"verdict": verdict})
            assert made.status_code == 201

        def of(verdict: str) -> list[str]:
            told = get(client, "/api/sites", verdict=verdict)
            found = [site["site_id"] for site in told["sites"]]
            assert told["total"] == len(found)
            return found

        assert of("none") == ["s-1", "s-3"]
        assert of("none,unsure") == ["s-1", "s-2", "s-3"]
        assert of("confirmed") == ["s-0"]
        told = get(client, "/api/alerts", verdict="none")
        assert ([alert["site_id"] for alert in told["alerts"]], told["total"]) == (["s-3"], 1)
        assert "verdict" in refused(client, "/api/sites", verdict="nobody")


def test_a_review_shows_in_lists_and_tiles_at_once(tmp_path: Path) -> None:
    path = write_store(tmp_path / "s.sqlite")
    with client_of(path) as client:
        before = client.get("/tiles/sites/0/0/0.pbf")
        again = client.get(
            "/tiles/sites/0/0/0.pbf", headers={"If-None-Match": before.headers["etag"]}
        )
        assert again.status_code == 304
        body = {"verdict": "rejected", "reason": "sandbar", "note": "dry season"}
        made = client.post("/api/sites/s-0/reviews", json=body)
        assert made.status_code == 201
        assert made.json() | {"review_id": "", "when": ""} == body | {
            "site_id": "s-0", "who": getpass.getuser(), "review_id": "", "when": ""
        }  # fmt: skip
        after = client.get("/tiles/sites/0/0/0.pbf")
        assert after.headers["etag"] != before.headers["etag"]
        assert b"rejected" in after.content
        assert b"rejected" not in before.content
        assert get(client, "/api/sites/s-0")["reviews"][0]["note"] == "dry season"
        assert get(client, "/api/alerts")["total"] == 2
    with open_store(str(path)) as store:
        assert [review.verdict for review in store.reviews()] == [Verdict.REJECTED]


def test_a_review_that_is_sent_again_counts_once(tmp_path: Path) -> None:
    path = write_store(tmp_path / "s.sqlite", 4)
    outline = {
        "type": "Polygon",
        "coordinates": [[[0, 5], [0.02, 5], [0.02, 5.02], [0, 5.02], [0, 5]]],
    }
    one = {"verdict": "confirmed", "note": "seen", "review_id": "0" * 31 + "1", "outline": outline}
    with client_of(path) as client:

        def sent(site: str, **changed: Any) -> int:
            return client.post(f"/api/sites/{site}/reviews", json=one | changed).status_code

        first = client.post("/api/sites/s-0/reviews", json=one)
        again = client.post("/api/sites/s-0/reviews", json=one)
        assert (first.status_code, again.status_code) == (201, 201)
        assert first.json() == again.json()
        # By the same id nothing else is said.
        assert sent("s-0", note="seen twice") == 409
        assert sent("s-1", outline=None) == 409
        # Nor is anything else drawn.
        before = get(client, "/api/sites/s-0")["drawn"]
        assert len(before) == 1
        moved = {
            "type": "Polygon",
            "coordinates": [[[0, 5], [0.01, 5], [0.01, 5.02], [0, 5.02], [0, 5]]],
        }
        assert sent("s-0", outline=moved) == 409
        assert sent("s-0") == 201
        assert sent("s-0", review_id="not an id") == 422
        told = get(client, "/api/sites/s-0")
        assert [review["note"] for review in told["reviews"]] == ["seen"]
        assert told["drawn"] == before
        # What did not arrive with its verdict comes after.
        near = get(client, "/api/sites/s-1")["geometry"]
        late = {"review_id": "0" * 31 + "3", "note": "late"}
        assert [sent("s-1", **late, outline=None), sent("s-1", **late, outline=near)] == [201, 201]
        assert len(get(client, "/api/sites/s-1")["drawn"]) == 1
        # Without one, and with another, each counts.
        assert sent("s-0", review_id=None) == 201
        assert sent("s-0", review_id="0" * 31 + "2") == 201
        assert len(get(client, "/api/sites/s-0")["reviews"]) == 3


def test_a_review_that_waited_counts_from_when_it_was_given(tmp_path: Path) -> None:
    path = write_store(tmp_path / "s.sqlite")
    with client_of(path) as client:

        def say(verdict: str, note: str, age_s: float) -> int:
            body = {"verdict": verdict, "note": note, "age_s": age_s}
            body |= {"reason": "sandbar"} if verdict == "rejected" else {}
            return client.post("/api/sites/s-0/reviews", json=body).status_code

        def verdict() -> tuple[str, list[str]]:
            told = get(client, "/api/sites/s-0")
            notes = [review["note"] for review in told["reviews"]]
            (site,) = (s for s in get(client, "/api/sites")["sites"] if s["site_id"] == "s-0")
            return site["verdict"], notes

        assert say("rejected", "of today", 0) == 201
        # In the field there was no line for two days.
        assert say("confirmed", "of Monday", 2 * 86_400) == 201
        assert verdict() == ("rejected", ["of Monday", "of today"])
        assert say("confirmed", "of a clock that is wrong", 1e300) == 201
        assert verdict()[0] == "rejected"
        assert say("confirmed", "of now", 0) == 201
        assert verdict() == (
            "confirmed", ["of a clock that is wrong", "of Monday", "of today", "of now"]
        )  # fmt: skip
        assert say("confirmed", "of tomorrow", -1) == 422
    with open_store(str(path)) as store:
        assert [finding for finding in check(store.db) if finding.wrong] == []


def test_what_others_write_shows_within_a_second(tmp_path: Path) -> None:
    path = write_store(tmp_path / "s.sqlite")
    with client_of(path) as client:
        before = client.get("/tiles/sites/0/0/0.pbf").headers["etag"]
        with open_store(str(path)) as other:
            from stores import a_review

            other.add_review(a_review("r1", "s-0"))
        time.sleep(1.1)
        assert client.get("/tiles/sites/0/0/0.pbf").headers["etag"] != before


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"verdict": "rejected"}, "needs a reason"),
        ({"verdict": "confirmed", "reason": "road"}, "leave it out"),
        ({"verdict": "perhaps"}, "verdict"),
        ({"verdict": "unsure", "who": "somebody else"}, "not known"),
        ({"verdict": "unsure", "note": "x" * 2001}, "note"),
        ({"verdict": "unsure", "note": "\x00"}, "character"),
    ],
)
def test_reviews_that_say_nothing_are_refused(
    client: TestClient, body: dict[str, Any], words: str
) -> None:
    response = client.post("/api/sites/s-0/reviews", json=body)
    assert response.status_code == 422
    assert words in response.json()["error"]["message"]
    assert get(client, "/api/sites/s-0")["reviews"] == []


@pytest.mark.parametrize(
    ("typed", "kind", "lon", "lat"),
    [
        ("5.05, -1.03", "coordinates", -1.03, 5.05),
        ("5.05 -1.03", "coordinates", -1.03, 5.05),
        ("120.5, 30", "coordinates", 120.5, 30),
        ("5.05 N, 1.03 W", "coordinates", -1.03, 5.05),
        ("5°03'00.0\"N 1°02'03.0\"W", "coordinates", -1.034167, 5.05),
        ("30NXM6616708142", "coordinates", -1.500003, 5.500003),
        ("s-4", "site", 0.425, 5.025),
        ("ASHANTI", "area", -0.5, 6.0),
        ("ahafo", "district", 0.6, 5.5),
        ("ofín", "rivers", 0.0, 5.3),
    ],
)
def test_places_are_found_by_what_people_type(
    client: TestClient, typed: str, kind: str, lon: float, lat: float
) -> None:
    first = get(client, "/api/search", q=typed)["found"][0]
    assert first["kind"] == kind
    assert (first["lon"], first["lat"]) == pytest.approx((lon, lat), abs=2e-5)
    west, south, east, north = first["bbox"]
    assert west <= first["lon"] <= east
    assert south <= first["lat"] <= north


@pytest.mark.parametrize("typed", ["91, 181", "nowhere", "s-99", "''; DROP TABLE sites", "%"])
def test_what_is_nowhere_is_not_found(client: TestClient, typed: str) -> None:
    assert get(client, "/api/search", q=typed)["found"] == []


def test_statistics_count_what_is_worked(client: TestClient) -> None:
    told = {row["name"]: row for row in get(client, "/api/statistics")}
    sites = some_sites()
    for number in range(3):
        own = sites.iloc[number::3]
        worked = own[own["status"].isin(["new", "growing", "steady"])]
        row = told[f"District {number}"]
        assert (row["sites"], row["active"]) == (4, len(worked))
        assert row["hectares"] == pytest.approx(worked["area_ha"].sum())
        assert row["new_sites"] == (own["status"] == "new").sum()
    assert told["District 0"]["alerts"] == 3
    by_reserve = get(client, "/api/statistics", by="protected")
    assert {row["name"]: row["sites"] for row in by_reserve} == {"=Reserve": 3, None: 9}


def test_statistics_of_a_period_are_those_of_then(client: TestClient) -> None:
    told = get(client, "/api/statistics", period="2024-01-01/2024-03-31", by="protected")
    # Sites of even number were seen then, each 1 ha and its number, all of them new.
    assert {row["name"]: row["new_sites"] for row in told} == {"=Reserve": 3, None: 3}
    hectares = {row["name"]: row["new_hectares"] for row in told}
    assert hectares == {"=Reserve": 1 + 5 + 9, None: 3 + 7 + 11}
    later = get(client, "/api/statistics", period="2024-04-01/2024-06-30", by="protected")
    # The one that was hidden counts as a site, not as one that is worked.
    assert sum(row["sites"] for row in later) == 12
    assert sum(row["active"] for row in later) == 11


def test_statistics_as_csv_start_no_formula(client: TestClient) -> None:
    response = client.get("/api/statistics.csv", params={"by": "protected"})
    rows = list(csv.reader(io.StringIO(response.content.decode("utf-8-sig"))))
    assert rows[0][:2] == ["name", "sites"]
    assert {row[0] for row in rows[1:]} == {"'=Reserve", ""}
    assert response.headers["content-disposition"].endswith('sluice-protected.csv"')


def test_layers_and_messages(client: TestClient) -> None:
    assert [layer["name"] for layer in get(client, "/api/layers")] == ["districts", "rivers"]
    told = get(client, "/api/layers/districts/items.geojson", bbox="0.1,5.1,0.2,5.2")
    assert [f["properties"]["name"] for f in told["features"]] == ["Ahafo Ano"]
    english, french = (get(client, f"/api/messages/{lang}") for lang in ("en", "fr"))
    assert set(english) == set(french)
    assert french["status.new"] != english["status.new"]


@pytest.mark.parametrize(
    ("path", "code", "words"),
    [
        ("/api/sites?foo=1", 400, "foo: is not known"),
        ("/api/sites?limit=1001", 400, "limit"),
        ("/api/sites?limit=0", 400, "limit"),
        ("/api/sites?bbox=1,2,3", 400, "bbox"),
        ("/api/sites?bbox=5,6,7,4", 400, "south"),
        ("/api/sites?status=gone", 400, "status"),
        ("/api/sites?since=0", 400, "2024-01-31"),
        ("/api/sites?area=nowhere", 404, "nowhere"),
        ("/api/sites/none", 404, "none"),
        ("/api/layers/none/items.geojson", 404, "none"),
        ("/api/messages/xx", 400, "language"),
        ("/api/statistics?period=2024-03-31/2024-01-01", 400, "period"),
        ("/tiles/sites/1/2/0.pbf", 404, "no tile"),
        ("/tiles/sites/23/0/0.pbf", 400, "z"),
        ("/tiles/layers/none/1/0/0.pbf", 404, "none"),
        ("/exports/sites.exe", 400, "ending"),
        ("/exports/sites.csv?limit=9223372036854775808", 400, "limit"),
        ("/reports/sites/none.pdf", 404, "none"),
        ("/reports/areas/none.html", 404, "none"),
        ("/nowhere", 404, "no such address"),
        ("/assets/../../../etc/passwd", 404, "no such address"),
    ],
)
def test_wrong_requests_are_refused_in_words(
    client: TestClient, path: str, code: int, words: str
) -> None:
    response = client.get(path)
    assert response.status_code == code
    assert words in response.json()["error"]["message"]
    assert "Traceback" not in response.text


def test_wrong_methods_are_told_from_wrong_addresses(client: TestClient) -> None:
    response = client.delete("/api/sites")
    assert response.status_code == 405
    assert response.headers["allow"] == "GET"
    assert client.delete("/stac/search").headers["allow"] == "GET, POST"
    head = client.head("/api/areas")
    assert (head.status_code, head.content) == (200, b"")


def test_answers_tell_browsers_what_a_page_may_not_do(client: TestClient) -> None:
    for path in ("/", "/api/areas", "/nowhere", "/api/sites?foo=1"):
        headers = client.get(path).headers
        assert "script-src 'self'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_large_bodies_are_refused(client: TestClient) -> None:
    for content in (b"x" * 1_000_001, iter([b"x" * 600_000] * 2)):
        response = client.post("/api/sites/s-0/reviews", content=content)
        assert response.status_code == 413
        assert response.json()["error"]["kind"] == "too_large"


def test_a_fault_of_the_service_tells_nothing_of_itself(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr("sluice.app.web.places.rows_of", fails)
    response = client.get("/api/sites")
    assert response.status_code == 500
    assert response.json()["error"]["kind"] == "internal"
    assert "secret" not in response.text
    assert response.headers["x-content-type-options"] == "nosniff"


def test_without_the_map_the_first_page_says_how_to_get_it(store: Path, tmp_path: Path) -> None:
    with client_of(store, map_folder=tmp_path / "none") as client:
        page = client.get("/")
        assert page.status_code == 200
        assert "make map" in page.text
        assert client.get("/assets/x.js").status_code == 404
    folder = tmp_path / "map"
    (folder / "assets").mkdir(parents=True)
    (folder / "fonts").mkdir()
    (folder / "index.html").write_text("<p>the map")
    (folder / "icon.svg").write_text("<svg/>")
    (folder / ".hidden").write_text("no")
    (folder / "fonts" / "f.pbf").write_bytes(b"f")
    (folder / "assets" / "a-1234.js").write_text("1")
    with client_of(store, map_folder=folder) as client:
        assert client.get("/").text == "<p>the map"
        assert client.get("/icon.svg").status_code == 200
        assert client.get("/fonts/f.pbf").content == b"f"
        assert client.get("/.hidden").status_code == 404
        assert client.get("/..%2Fs.sqlite").status_code == 404
        assert "immutable" in client.get("/assets/a-1234.js").headers["cache-control"]


def test_a_person_of_one_area_sees_no_other(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def from_bono() -> Person:
        return Person("Ama", Role.VIEWER, frozenset({"bono east"}), redacted=False)

    with client_of(store) as client:
        client.app.dependency_overrides[access.person] = from_bono  # type: ignore[attr-defined]
        assert [area["name"] for area in get(client, "/api/areas")] == ["bono east"]
        assert get(client, "/api/sites") == {"sites": [], "total": 0}
        assert get(client, "/api/alerts") == {"alerts": [], "total": 0}
        assert refused(client, "/api/sites/s-0", 404)
        assert refused(client, "/api/sites", 404, area="ashanti")
        assert get(client, "/api/search", q="s-0")["found"] == []
        assert get(client, "/api/search", q="ashanti")["found"] == []
        assert get(client, "/api/statistics") == []
        assert client.get("/tiles/sites/0/0/0.pbf").status_code == 204
        assert client.get("/tiles/sites/11/1026/994.pbf").status_code == 204
        for name in ("sites", "detections", "alerts"):
            assert get(client, f"/ogc/collections/{name}/items")["features"] == []
        assert len(get(client, "/ogc/collections/areas/items")["features"]) == 1
        assert refused(client, "/ogc/collections/sites/items/s-0", 404)
        assert refused(client, "/ogc/collections/detections/items/1", 404)
        assert [c["id"] for c in get(client, "/stac/collections")["collections"]] == ["bono east"]
        assert get(client, "/stac/search")["features"] == []
        assert refused(client, "/stac/collections/ashanti/items/run-0", 404)
        assert refused(client, "/reports/sites/s-0.html", 404)
        assert refused(client, "/reports/areas/ashanti.html", 404)
        exported = client.get("/exports/sites.csv").content.decode("utf-8-sig")
        assert len(exported.splitlines()) == 1


def test_each_collection_has_items(client: TestClient) -> None:
    for name in ("sites", "alerts", "areas", "detections"):
        told = get(client, f"/ogc/collections/{name}/items")
        assert told["features"], name
        one = told["features"][0]["id"]
        assert get(client, f"/ogc/collections/{name}/items/{one}")["id"] == one
    reasons = get(client, "/ogc/collections/alerts/items")["features"][0]["properties"]["reasons"]
    assert reasons == "Highest: two sensors agree, and the probability reached 0.975."
