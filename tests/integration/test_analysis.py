"""Analyses on request: asked for over HTTP, followed, cancelled, run by workers that may die."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import rasterio
import shapely
from starlette.testclient import TestClient

from analysis_cases import PERIOD, Place
from sluice.app import analysis
from sluice.app.analysis import Stop, WorkerSettings, run_next, work
from sluice.app.following.landing import add_named_area
from sluice.app.following.stores import open_store
from sluice.app.products import layout
from sluice.app.products.layout import WORK_FOLDER
from sluice.app.web import access
from sluice.app.web.access import Person, Role
from sluice.app.web.server import create_app
from sluice.app.web.settings import Settings
from sluice.base.jobs import JobState, Order
from sluice.base.store import SiteQuery
from sluice.store.jobs import SqlJobs


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("analyses"))


@pytest.fixture
def store_file(sqlite_places) -> str:
    return sqlite_places.made()


@pytest.fixture
def who() -> list[Person]:
    """Whoever asks is the last one."""
    return [Person("ama", Role.ANALYST, None, redacted=False)]


@pytest.fixture
def client(store_file, who, tmp_path) -> Iterator[TestClient]:
    app = create_app(Settings(store=store_file, map_folder=tmp_path, largest_km2=50))
    app.dependency_overrides[access.person] = lambda: who[-1]
    with TestClient(app, base_url="http://127.0.0.1") as found:
        yield found


def worker_of(place: Place, store: str, out: Path, **changes: object) -> WorkerSettings:
    values = {"store": store, "out": out, "source": place.source, "model": place.model}
    values |= {"beat_s": 0.05, "stale_s": 5, "look_s": 0.05}
    return WorkerSettings(**values | changes)


def run_all(settings: WorkerSettings) -> int:
    return work(settings, once=True, say=lambda _: None, stop=threading.Event())


def events_of(text: str) -> list[dict]:
    found = []
    for block in text.split("\n\n"):
        lines = [line.partition(": ") for line in block.splitlines() if line]
        fields = {name: value for name, _, value in lines if name}
        if "data" in fields:
            found.append({**fields, "data": json.loads(fields["data"])})
    return found


def test_an_area_and_a_period_become_sites(client, place, store_file, tmp_path) -> None:
    asked = client.post("/api/jobs", json={"area": place.area, **PERIOD})
    assert asked.status_code == 201, asked.text
    job = asked.json()
    assert (job["state"], job["by"], job["first"], job["last"]) == (
        "queued", "ama", "2022-03-01", "2022-05-31",
    )  # fmt: skip
    assert asked.headers["location"] == f"/api/jobs/{job['job_id']}"
    keep = ("red", "green", "blue", "nir")
    settings = worker_of(place, store_file, tmp_path / "jobs", tile_px=160, keep=keep)
    runner = threading.Thread(target=run_all, args=[settings])
    runner.start()
    try:
        stream = client.get(f"/api/jobs/{job['job_id']}/events")
    finally:
        runner.join()
    require_whole_stream(client, job["job_id"], stream)
    told = client.get(f"/api/jobs/{job['job_id']}").json()
    assert (told["state"], told["stage"], told["message"]) == ("done", "ended", "")
    assert (told["part"], told["parts"]) == (1, 1)
    assert told["geometry"] == place.area["geometry"]
    assert told["model"] == "toy"
    assert not any("worker" in name or "beat" in name for name in told)
    (area,) = client.get("/api/areas").json()
    assert area["name"] == "tapajos"
    assert [run["run_id"] for run in area["runs"]] == told["run_ids"]
    assert area["sites"] > 0
    # Pictures of what landed stay; tiles do not.
    assert area["runs"][0]["has_image"]
    assert not list((tmp_path / "jobs").rglob(WORK_FOLDER))
    (image,) = (tmp_path / "jobs").rglob(layout.COMPOSITE)
    with rasterio.open(image) as kept:
        assert kept.descriptions == keep
    # The same area by its name: what is there is found again in another period.
    again = client.post("/api/jobs", json={"area": "tapajos", "first": "2022-05", "last": "2022"})
    assert again.status_code == 201, again.text
    assert again.json()["geometry"] is None


def require_whole_stream(client, job_id, answer) -> None:
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = events_of(answer.text)
    assert {event["event"] for event in found[:-1]} == {"job"}
    assert (found[-1]["event"], found[-1]["data"]["state"]) == ("end", "done")
    versions = [int(event["id"]) for event in found]
    assert versions == sorted(set(versions))
    # Who has seen all is told to ask no more; who has not gets what is missing.
    heard = {"Last-Event-ID": found[-1]["id"]}
    assert client.get(f"/api/jobs/{job_id}/events", headers=heard).status_code == 204
    late = client.get(f"/api/jobs/{job_id}/events", headers={"Last-Event-ID": "0"})
    assert [event["event"] for event in events_of(late.text)] == ["end"]


def test_a_job_that_waits_is_cancelled_at_once(client, place, store_file, tmp_path) -> None:
    job_id = client.post("/api/jobs", json={"area": place.area, **PERIOD}).json()["job_id"]
    answer = client.delete(f"/api/jobs/{job_id}")
    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    assert run_all(worker_of(place, store_file, tmp_path / "jobs")) == 0
    assert client.delete(f"/api/jobs/{job_id}").json()["state"] == "cancelled"


def test_a_job_is_cancelled_in_the_middle(client, place, store_file, tmp_path, monkeypatch) -> None:
    on_tile = analysis._Beating.on_tile

    def wait_for_an_order(self: analysis._Beating, *told: object, **more: object) -> None:
        # However fast the machine is: after its first tile it is still at work.
        on_tile(self, *told, **more)
        give_up = time.monotonic() + 60
        while self._order is Order.GO_ON and time.monotonic() < give_up:
            time.sleep(0.01)

    monkeypatch.setattr(analysis._Beating, "on_tile", wait_for_an_order)
    job_id = client.post("/api/jobs", json={"area": place.area, **PERIOD}).json()["job_id"]
    settings = worker_of(place, store_file, tmp_path / "jobs", tile_px=128, workers=1)
    runner = threading.Thread(target=run_all, args=[settings])
    runner.start()
    try:
        wait_for_tiles(tmp_path / "jobs", 1)
        answer = client.delete(f"/api/jobs/{job_id}")
    finally:
        runner.join()
    assert (answer.status_code, answer.json()["cancel_asked"]) == (202, True)
    told = client.get(f"/api/jobs/{job_id}").json()
    assert (told["state"], told["run_ids"]) == ("cancelled", [])
    assert client.get("/api/areas").json() == []
    assert list((tmp_path / "jobs").iterdir()) == []


def kept_tiles(folder: Path) -> set[Path]:
    return set(folder.rglob(f"{WORK_FOLDER}/tiles/*/r*.npz"))


def wait_for_tiles(folder: Path, number: int, process: subprocess.Popen | None = None) -> None:
    give_up = time.monotonic() + 60
    while len(kept_tiles(folder)) < number:
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < give_up, "no tile was finished"
        time.sleep(0.01)


STAYS = """
import sys, threading, time
from sluice.app import analysis

on_tile = analysis._Beating.on_tile

def stay(self, *told, **more):
    # However fast the machine is: after its first tile it is still at work.
    on_tile(self, *told, **more)
    time.sleep(300)

analysis._Beating.on_tile = stay
settings = analysis.WorkerSettings.model_validate_json(sys.argv[1])
analysis.work(settings, stop=threading.Event())
"""
"""A worker that is killed."""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_another_worker_goes_on_where_one_was_killed(client, place, store_file, tmp_path) -> None:
    job_id = client.post("/api/jobs", json={"area": place.area, **PERIOD}).json()["job_id"]
    out = tmp_path / "jobs"
    settings = worker_of(place, store_file, out, tile_px=180, workers=1, stale_s=0.5)
    process = subprocess.Popen([sys.executable, "-c", STAYS, settings.model_dump_json()])
    try:
        wait_for_tiles(out, 1, process)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert client.get(f"/api/jobs/{job_id}").json()["state"] == "running"
    before = {path: path.stat().st_mtime_ns for path in kept_tiles(out)}
    assert before
    kept: dict[Path, int] = {}
    time.sleep(0.6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sluice.app.workflows.blend", noting_blend(kept, out))
        assert run_all(settings) == 1
    told = client.get(f"/api/jobs/{job_id}").json()
    assert (told["state"], told["message"]) == ("done", "")
    assert len(kept) > len(before)
    assert {path: kept.get(path) for path in before} == before
    with open_store(store_file) as store:
        assert store.count_sites(SiteQuery(area="tapajos")) > 0
        assert SqlJobs(store.db).job(job_id).attempts == 2


def noting_blend(kept: dict[Path, int], out: Path):
    """Look at the tiles when all of them are there."""
    from sluice.scan.blend import blend

    def noted(*args, **kwargs):
        kept.update({path: path.stat().st_mtime_ns for path in kept_tiles(out)})
        return blend(*args, **kwargs)

    return noted


def test_a_worker_that_is_told_to_stop_gives_its_job_back(
    client, place, store_file, tmp_path, monkeypatch
) -> None:
    job_id = client.post("/api/jobs", json={"area": place.area, **PERIOD}).json()["job_id"]

    def stopped(*_args: object) -> None:
        raise Stop

    monkeypatch.setattr("sluice.app.analysis.scan_into_store", stopped)
    with open_store(store_file) as store:
        with pytest.raises(Stop):
            run_next(store, worker_of(place, store_file, tmp_path), "w", lambda _: None)
        job = SqlJobs(store.db).job(job_id)
    assert (job.state, job.attempts) == (JobState.QUEUED, 0)


def test_a_fault_of_the_request_fails_once_and_in_one_line(
    client, place, store_file, tmp_path
) -> None:
    far = {
        "name": "elsewhere",
        "geometry": json.loads(shapely.to_geojson(shapely.box(10, 10, 10.01, 10.01))),
    }
    job_id = client.post("/api/jobs", json={"area": far, **PERIOD}).json()["job_id"]
    assert run_all(worker_of(place, store_file, tmp_path / "jobs")) == 1
    told = client.get(f"/api/jobs/{job_id}").json()
    assert told["state"] == "failed"
    assert told["message"]
    assert "\n" not in told["message"]
    assert str(tmp_path) not in told["message"]
    assert run_all(worker_of(place, store_file, tmp_path / "jobs")) == 0


ACROSS_180 = shapely.MultiPolygon(
    [shapely.box(179.98, -17.02, 180, -17), shapely.box(-180, -17.02, -179.98, -17)]
)


def test_an_area_across_180_degrees_may_be_asked_for(client, store_file) -> None:
    with open_store(store_file) as store:
        add_named_area(store, "known", ACROSS_180)
    new = {"name": "new", "geometry": json.loads(shapely.to_geojson(ACROSS_180))}
    for area in ("known", new):
        answer = client.post("/api/jobs", json={"area": area, **PERIOD})
        assert answer.status_code == 201, answer.text


def test_what_failed_is_told_without_the_folders_of_the_worker(
    client, place, store_file, tmp_path
) -> None:
    job_id = client.post("/api/jobs", json={"area": place.area, **PERIOD}).json()["job_id"]
    source = tmp_path / "our images" / "catalogue.json"
    settings = worker_of(place, store_file, tmp_path / "our jobs", source=str(source))
    assert run_all(settings) == 1
    message = client.get(f"/api/jobs/{job_id}").json()["message"]
    assert "catalogue.json" in message
    assert "our images" not in message


@pytest.mark.parametrize(
    ("changes", "code", "word"),
    [
        ({"area": "nowhere"}, 404, "nowhere"),
        ({"area": {"name": "../x", "geometry": "small"}}, 400, "area name"),
        ({"area": {"name": "x", "geometry": "large"}}, 413, "km²"),
        ({"area": {"name": "x", "geometry": "speck"}}, 422, "m²"),
        ({"area": {"name": "x", "geometry": "apart"}}, 413, "far apart"),
        ({"area": {"name": "x", "geometry": "bow"}}, 422, "no valid polygon"),
        ({"area": {"name": "x", "geometry": "open"}}, 422, "not closed"),
        ({"area": {"name": "x", "geometry": "beyond"}}, 422, "degrees"),
        ({"area": {"name": "x", "geometry": "point"}}, 422, "geometry"),
        ({"area": {"name": "x", "geometry": "many"}}, 413, "vertices"),
        ({"first": "2022-13"}, 400, "not a date"),
        ({"first": "2022-06", "last": "2022-05"}, 400, "swap"),
        ({"first": "1990", "last": "2022"}, 413, "days"),
        ({"every": "week"}, 422, "every"),
        ({"source": "http://10.0.0.1/"}, 422, "not known here"),
        ({"model": "/etc/passwd"}, 422, "not known here"),
        ({"out": "/tmp/x"}, 422, "not known here"),  # noqa: S108
    ],
)
def test_what_cannot_be_is_refused(client, changes, code, word) -> None:
    ring = [[0.1 * (n % 2), 0.0] for n in range(10_002)]
    shapes = {
        "small": shapely.to_geojson(shapely.box(0, 0, 0.01, 0.01)),
        "large": shapely.to_geojson(shapely.box(0, 0, 1, 1)),
        "speck": shapely.to_geojson(shapely.box(0, 0, 1e-9, 1e-9)),
        "apart": shapely.to_geojson(
            shapely.MultiPolygon([shapely.box(0, 0, 0.01, 0.01), shapely.box(1, 1, 1.01, 1.01)])
        ),
        "bow": '{"type": "Polygon", "coordinates": [[[0,0],[0.01,0.01],[0.01,0],[0,0.01],[0,0]]]}',
        "open": '{"type": "Polygon", "coordinates": [[[0,0],[0.01,0],[0.01,0.01],[0,0.01]]]}',
        "beyond": shapely.to_geojson(shapely.box(179.99, 0, 180.01, 0.01)),
        "point": '{"type": "Point", "coordinates": [0, 0]}',
        "many": json.dumps({"type": "Polygon", "coordinates": [[*ring, ring[0]]]}),
    }
    body = {"area": {"name": "x", "geometry": "small"}, **PERIOD, **changes}
    if isinstance(body["area"], dict):
        body["area"] = body["area"] | {"geometry": json.loads(shapes[body["area"]["geometry"]])}
    answer = client.post("/api/jobs", json=body)
    assert answer.status_code == code, answer.text
    assert word in answer.json()["error"]["message"]
    assert client.get("/api/jobs").json()["jobs"] == []


def test_each_has_a_share_of_the_queue_and_sees_only_its_own(client, place, who) -> None:
    def ask(name: str):
        area = {"name": name, "geometry": place.area["geometry"]}
        return client.post("/api/jobs", json={"area": area, **PERIOD})

    ids = [ask(f"area {n}").json()["job_id"] for n in range(3)]
    refused = ask("area 4")
    assert refused.status_code == 429
    assert "3 are allowed" in refused.json()["error"]["message"]
    assert [job["job_id"] for job in client.get("/api/jobs").json()["jobs"]] == ids[::-1]
    who.append(Person("kofi", Role.ANALYST, None, redacted=False))
    assert client.get("/api/jobs").json()["total"] == 0
    for path in (f"/api/jobs/{ids[0]}", f"/api/jobs/{ids[0]}/events"):
        assert client.get(path).status_code == 404
    assert client.delete(f"/api/jobs/{ids[0]}").status_code == 404
    same = ask("area 0")
    assert (same.status_code, "already" in same.text) == (409, True)
    who.append(Person("esi", Role.ANALYST, frozenset({"ashanti"}), redacted=False))
    assert ask("area 9").status_code == 403
    assert client.post("/api/jobs", json={"area": "area 0", **PERIOD}).status_code == 404
    who.append(Person("root", Role.ADMIN, None, redacted=False))
    assert client.get("/api/jobs").json()["total"] == 3
    assert client.delete(f"/api/jobs/{ids[0]}").json()["state"] == "cancelled"
