"""Workers that are gone are known by their names; old analyses go, and what they landed stays."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from sluice.app.following.stores import open_store
from sluice.app.job_upkeep import remove_old_jobs
from sluice.app.worker_names import is_gone, own_name
from sluice.base.jobs import AnalysisJob, JobState
from sluice.store import schema
from sluice.store.jobs import SqlJobs
from stores import NOW, SqlitePlaces, a_run, open_with_area

MANY = {"most_open": 1000, "most_of_person": 1000}


def a_job(number: int) -> AnalysisJob:
    return AnalysisJob(
        job_id=f"job-{number}",
        area=f"area {number}",
        first=dt.date(2024, 1, 1),
        last=dt.date(2024, 3, 31),
        by="ama",
        created=NOW + dt.timedelta(seconds=number),
    )


@pytest.mark.skipif(os.name == "nt", reason="processes of POSIX")
def test_a_worker_that_ended_here_is_gone_and_others_may_live() -> None:
    program = "from sluice.app.worker_names import own_name; print(own_name())"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    theirs = done.stdout.strip()
    assert is_gone(theirs)
    assert not is_gone(own_name())
    host, space, number, chance = theirs.rsplit("-", 3)
    assert not is_gone(f"elsewhere-{space}-{number}-{chance}")
    assert not is_gone(f"{host}-{space}1-{number}-{chance}")
    assert not is_gone("a")
    assert not is_gone(f"{host}-{space}-{10**30}-{chance}")


def test_the_job_of_a_worker_that_is_gone_is_taken_at_once(sqlite_places: SqlitePlaces) -> None:
    with open_store(sqlite_places.made()) as store:
        queue = SqlJobs(store.db)
        queue.add(a_job(0), **MANY)
        assert queue.claim("dead", model="toy") is not None
        assert queue.claim("b", model="toy", is_gone=lambda name: name == "other") is None
        taken = queue.claim("b", model="toy", is_gone=lambda name: name == "dead")
        assert taken is not None
        assert (taken.worker, taken.attempts) == ("b", 2)


def test_places_in_the_queue_move_up(sqlite_places: SqlitePlaces) -> None:
    with open_store(sqlite_places.made()) as store:
        queue = SqlJobs(store.db)
        for number in range(3):
            queue.add(a_job(number), **MANY)
        assert queue.queue_places() == {"job-0": 1, "job-1": 2, "job-2": 3}
        queue.claim("a", model="toy")
        queue.cancel("job-1")
        assert queue.queue_places() == {"job-2": 1}


@pytest.mark.parametrize("way", ["jobs", "link/jobs", "link/../real/jobs"])
def test_old_jobs_go_with_files_that_no_run_needs(
    sqlite_places: SqlitePlaces, tmp_path: Path, way: str
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    out = tmp_path / way
    for number in range(4):
        (out / f"job-{number}" / "scan").mkdir(parents=True)
    with open_with_area(sqlite_places.made()) as store:
        with store.landing("ashanti") as landing:
            landing.put_run(a_run("kept", folder=str((out / "job-1" / "scan").resolve())), None)
        queue = SqlJobs(store.db)
        for number in range(4):
            queue.add(a_job(number), **MANY)
        for number in range(3):
            queue.claim("a", model="toy")
            queue.finish(f"job-{number}", "a", JobState.DONE)
        old = dt.datetime.now(dt.UTC) - dt.timedelta(days=91)
        with store.db.writing() as connection:
            rows = schema.jobs.c.job_id.in_(["job-0", "job-1"])
            connection.execute(sa.update(schema.jobs).where(rows).values(finished=old))
        assert remove_old_jobs(store, out, 90.0) == 2
        # One that ended lately, and one that waits.
        assert sorted(job.job_id for job in queue.jobs()[0]) == ["job-2", "job-3"]
        assert sorted(folder.name for folder in out.iterdir()) == ["job-1", "job-2", "job-3"]
        assert remove_old_jobs(store, out, 90.0) == 0
