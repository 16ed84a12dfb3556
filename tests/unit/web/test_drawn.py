"""What people draw: outlines of sites, and mines that no scan found."""

import datetime as dt
import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import shapely

from access_cases import Case, Serve
from sluice.app.following.stores import open_store
from sluice.app.labelling.reviews import DRAWN, review_labels
from sluice.sites.fixed_grid import cells_of

FREE = shapely.box(-1.52, 5.93, -1.515, 5.934)
"""In obuasi, away from its sites."""
WORLD = shapely.box(-180, -90, 180, 90)
BOW_TIE = {
    "type": "Polygon",
    "coordinates": [[[-1.9, 5.1], [-1.8, 5.2], [-1.8, 5.1], [-1.9, 5.2], [-1.9, 5.1]]],
}


def geojson(shape: shapely.Geometry) -> dict[str, Any]:
    return json.loads(shapely.to_geojson(shape))


def report(shape: shapely.Geometry = FREE, **changes: Any) -> dict[str, Any]:
    told = {"area": "obuasi", "outline": geojson(shape), "start": "2024-01-01"}
    return {**told, "end": "2024-03-31", **changes}


def test_a_redrawn_outline_is_shown_and_becomes_the_label(case: Case, serve: Serve):
    place = case.places[0]
    drawn = shapely.box(place.lon - 0.002, place.lat - 0.001, place.lon + 0.001, place.lat + 0.003)
    client = serve(case)("reviewer")
    path = f"/api/sites/{place.site_id}"
    body = {"verdict": "confirmed", "outline": geojson(drawn)}
    answer = client.post(f"{path}/reviews", json=body)
    assert answer.status_code == 201, answer.text
    (told,) = client.get(path).json()["drawn"]
    assert (told["label_id"], told["who"]) == (answer.json()["review_id"], "reviewer-1")
    assert (told["start"], told["end"]) == ("2024-01-01", "2024-03-31")
    shown = shapely.from_geojson(json.dumps(told["geometry"]))
    assert shapely.equals_exact(shown, drawn, 1e-6, normalize=True)
    with open_store(case.address) as store:
        (label,) = review_labels(store).table.query("outline == @DRAWN").itertuples()
    assert (label.site_id, label.who) == (place.site_id, "reviewer-1")
    assert shapely.equals(label.geometry, drawn)


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"verdict": "confirmed", "outline": BOW_TIE}, 422, "Self-intersection"),
        ({"verdict": "confirmed", "outline": geojson(FREE)}, 400, "does not meet site"),
        ({"verdict": "unsure", "outline": geojson(FREE)}, 400, "nobody is sure"),
        ({"verdict": "confirmed", "outline": geojson(FREE.boundary)}, 422, "outline"),
        ({"verdict": "confirmed", "outline": geojson(WORLD)}, 413, "degrees wide"),
        ({"verdict": "confirmed", "outline": geojson(shapely.box(-2.5, 5, -1, 7))}, 422, "km²"),
    ],
)
def test_an_outline_that_teaches_nothing_true_is_refused(
    case: Case, serve: Serve, body, status, words
):
    path = f"/api/sites/{case.places[0].site_id}/reviews"
    client = serve(case)("reviewer")
    answer = client.post(path, json=body)
    assert (answer.status_code, words in answer.text) == (status, True), answer.text
    with open_store(case.address) as store:
        assert store.reviews() == []
        assert store.labels().empty


def test_a_reported_mine_is_listed_and_exported_as_a_mine(case: Case, serve: Serve):
    clients = serve(case)
    made = clients("reviewer").post(
        "/api/reported-mines", json=report(name="Kwesi's pit", note="two excavators")
    )
    assert made.status_code == 201, made.text
    (told,) = clients("viewer").get("/api/reported-mines?area=obuasi").json()["reports"]
    assert told == made.json() | {"own": False}
    assert (told["who"], told["name"], told["note"]) == (
        "reviewer-1", "Kwesi's pit", "two excavators",
    )  # fmt: skip
    assert clients("viewer").get("/api/reported-mines?area=bibiani").json()["reports"] == []
    with open_store(case.address) as store:
        labels = review_labels(store).table
    (label,) = labels[labels["class"] == "mine"].itertuples()
    assert (label.negative, label.outline, label.source) == (False, DRAWN, "report")
    assert (label.start, label.end) == (dt.date(2024, 1, 1), dt.date(2024, 3, 31))
    assert shapely.equals(label.geometry, FREE)


def test_a_report_that_is_sent_again_is_kept_once(case: Case, serve: Serve):
    clients = serve(case, reports_per_person=2)
    reviewer = clients("reviewer")
    for said in (report(), report(name="Kwesi's pit", note="two excavators")):
        said["label_id"] = str(uuid.uuid4())
        first = reviewer.post("/api/reported-mines", json=said)
        again = reviewer.post("/api/reported-mines", json=said)
        assert (first.status_code, again.status_code) == (201, 201), again.text
        assert first.json() == again.json()
    for other in (
        reviewer.post("/api/reported-mines", json=said | {"note": "three excavators"}),
        reviewer.post("/api/reported-mines", json=said | {"name": ""}),
        reviewer.post("/api/reported-mines", json=said | {"outline": geojson(FREE.buffer(1e-4))}),
        clients("analyst").post("/api/reported-mines", json=said),
    ):
        assert (other.status_code, "says something else" in other.text) == (409, True), other.text
    kept = reviewer.get("/api/reported-mines").json()["reports"]
    assert [one["note"] for one in kept] == [None, "two excavators"]


def test_only_who_reported_a_mine_or_an_admin_takes_it_back(case: Case, serve: Serve):
    clients = serve(case)
    ids = [
        clients("reviewer").post("/api/reported-mines", json=report()).json()["label_id"]
        for _ in range(2)
    ]
    path = f"/api/reported-mines/{ids[0]}"
    assert clients("analyst").delete(path).status_code == 403
    assert clients("reviewer").delete(path).status_code == 204
    assert clients("reviewer").delete(path).status_code == 404
    assert clients("admin").delete(f"/api/reported-mines/{ids[1]}").status_code == 204
    assert clients("viewer").get("/api/reported-mines").json()["reports"] == []
    log = clients("admin").get("/api/audit?what=report of a mine").json()["events"]
    assert [(event["who"], event["outcome"]) for event in log][:2] == [
        ("admin-1", "done"), ("reviewer-1", "refused: 404"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"outline": BOW_TIE}, 422, "Self-intersection"),
        (
            {"outline": {"type": "Polygon", "coordinates": [[[False, "5"]] * 4]}},
            422,
            "valid number",
        ),
        ({"outline": geojson(shapely.box(-1.9, 5.1, -1.1, 5.9))}, 422, "km²"),
        ({"outline": geojson(WORLD)}, 413, "degrees wide"),
        ({"outline": geojson(shapely.box(-1.52, 5.93, -1.51999, 5.93001))}, 422, "at least 100"),
        ({"end": "9999-12-31"}, 400, "still to come"),
        ({"outline": geojson(shapely.box(-1.5, 7.5, -1.49, 7.51))}, 400, "outside area"),
        ({"area": "elsewhere"}, 404, "no area"),
        ({"start": "2024-04-01"}, 400, "before the first"),
        ({"start": "2999-01-01", "end": "2999-01-02"}, 400, "still to come"),
        ({"end": "2024"}, 422, "2024-01-31"),
        ({"note": "a\x00b"}, 422, "no database keeps"),
    ],
)
def test_a_report_that_cannot_be_true_is_refused(case: Case, serve: Serve, changes, status, words):
    client = serve(case)("reviewer")
    answer = client.post("/api/reported-mines", json=report(**changes))
    assert (answer.status_code, words in answer.text) == (status, True), answer.text
    assert client.get("/api/reported-mines").json()["reports"] == []


def test_rights_hold_for_reports(case: Case, serve: Serve):
    clients = serve(case)
    assert clients("viewer").post("/api/reported-mines", json=report()).status_code == 403
    other = report(shapely.box(-1.5, 7.5, -1.49, 7.51), area="bibiani")
    assert clients("limited").post("/api/reported-mines", json=other).status_code == 404
    made = clients("analyst").post("/api/reported-mines", json=other).json()
    for name in ("limited", "guest"):
        assert clients(name).get("/api/reported-mines").json()["reports"] == []
        assert clients(name).get("/api/reported-mines?area=bibiani").status_code == 404
    path = f"/api/reported-mines/{made['label_id']}"
    assert clients("limited").delete(path).status_code == 404


def test_reports_are_told_in_parts(case: Case, serve: Serve):
    clients = serve(case, redact="5km")
    for number in range(5):
        clients("reviewer").post("/api/reported-mines", json=report(name=f"pit {number}"))
    reviewer = clients("reviewer")
    parts = [
        reviewer.get("/api/reported-mines", params={"limit": 2, "offset": offset}).json()
        for offset in (0, 2, 4, 6)
    ]
    assert [part["total"] for part in parts] == [5] * 4
    names = [[one["name"] for one in part["reports"]] for part in parts]
    assert names == [["pit 0", "pit 1"], ["pit 2", "pit 3"], ["pit 4"], []]
    withheld = clients("viewer").get("/api/reported-mines?limit=2&offset=4").json()
    assert (len(withheld["reports"]), withheld["total"]) == (1, 5)
    assert reviewer.get("/api/reported-mines?limit=1001").status_code == 400


def test_one_person_may_report_so_many_mines(case: Case, serve: Serve):
    clients = serve(case, reports_per_person=3)
    reviewer = clients("reviewer")
    with ThreadPoolExecutor(6) as pool:
        told = list(
            pool.map(lambda _: reviewer.post("/api/reported-mines", json=report()), range(6))
        )
    # Those that found no turn to write were sent away before.
    made = [answer.json()["label_id"] for answer in told if answer.status_code == 201]
    while len(made) < 3:
        made.append(reviewer.post("/api/reported-mines", json=report()).json()["label_id"])
    answer = reviewer.post("/api/reported-mines", json=report())
    assert answer.status_code == 409
    assert "reviewer-1 has reported 3 mines, and one person may have no more" in answer.text
    assert reviewer.get("/api/reported-mines").json()["total"] == len(made) == 3
    assert clients("analyst").post("/api/reported-mines", json=report()).status_code == 201
    assert reviewer.delete(f"/api/reported-mines/{made[0]}").status_code == 204
    assert reviewer.post("/api/reported-mines", json=report()).status_code == 201


def test_withheld_reports_are_cells_of_a_month(case: Case, serve: Serve, monkeypatch):
    clients = serve(case, redact="5km", delay="6months")
    viewer = clients("viewer")
    assert viewer.get("/api/reported-mines").json()["reports"] == []
    body = report(name="Kwesi's pit", note="two excavators")
    made = clients("reviewer").post("/api/reported-mines", json=body).json()
    assert viewer.get("/api/reported-mines").json()["reports"] == []
    later = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=200)
    monkeypatch.setattr("sluice.app.web.withheld._today", lambda: later)
    (told,) = viewer.get("/api/reported-mines").json()["reports"]
    assert set(told) == {"label_id", "when", "redacted", "cell_m", "geometry"}
    assert told["label_id"] != made["label_id"]
    assert told["when"] == made["when"][:8] + "01"
    centre = FREE.centroid
    (cell,) = cells_of(np.array([centre.x]), np.array([centre.y]), 5000).polygons()
    shown = shapely.from_geojson(json.dumps(told["geometry"]))
    assert shapely.equals_exact(shown, cell, 1e-6, normalize=True)
    assert viewer.delete(f"/api/reported-mines/{told['label_id']}").status_code == 403
