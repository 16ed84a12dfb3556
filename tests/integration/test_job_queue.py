"""The queue of analyses in both databases: nothing is done twice, nothing is lost."""

from __future__ import annotations

import datetime as dt
import itertools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from sluice.app.following.stores import open_store
from sluice.base.errors import Conflict
from sluice.base.jobs import AnalysisJob, JobState, Order, Pulse, Stage, TooManyJobs
from sluice.store.jobs import SqlJobs
from stores import NOW, StorePlaces

MANY = {"most_open": 1000, "most_of_person": 1000}
LONG_S, AT_ONCE_S = 60.0, 0.0


def a_job(number: int = 0, **changes: object) -> AnalysisJob:
    values: dict[str, object] = {
        "job_id": f"job-{number:03}",
        "area": f"area {number}",
        "outline": None,
        "first": dt.date(2024, 1, 1),
        "last": dt.date(2024, 3, 31),
        "by": "ama",
        "created": NOW + dt.timedelta(seconds=number),
    }
    return AnalysisJob(**values | changes)


@pytest.fixture
def queue(places: StorePlaces) -> Iterator[SqlJobs]:
    with open_store(places.made()) as store:
        yield SqlJobs(store.db)


def claim(queue: SqlJobs, worker: str, stale_s: float = LONG_S) -> AnalysisJob | None:
    return queue.claim(worker, model="toy", stale_s=stale_s)


def test_a_job_comes_back_as_it_was_put(queue: SqlJobs) -> None:
    outline = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}
    job = a_job(outline=outline, every="month")
    queue.add(job, **MANY)
    assert queue.job(job.job_id) == job
    assert queue.job("none") is None
    assert queue.some([job.job_id, "none"]) == [job]


def test_workers_share_the_queue_and_none_gets_what_another_has(queue: SqlJobs) -> None:
    for number in range(24):
        queue.add(a_job(number), **MANY)
    start = threading.Barrier(4)

    def take_all(worker: str) -> list[str]:
        start.wait()
        taken = []
        while (job := claim(queue, worker)) is not None:
            taken.append(job.job_id)
        return taken

    with ThreadPoolExecutor(4) as pool:
        taken = [*pool.map(take_all, ["a", "b", "c", "d"])]
    assert sorted(itertools.chain(*taken)) == [f"job-{number:03}" for number in range(24)]
    assert all(part == sorted(part) for part in taken)


def test_people_who_ask_at_once_do_not_pass_the_limit(queue: SqlJobs) -> None:
    start = threading.Barrier(6)

    def ask(number: int) -> bool:
        start.wait()
        try:
            queue.add(a_job(number), most_open=1000, most_of_person=2)
        except TooManyJobs:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(ask, range(6))) == 2
    with pytest.raises(TooManyJobs, match="2 analyses wait or run"):
        queue.add(a_job(9, by="kofi"), most_open=2, most_of_person=2)


def test_what_waits_already_is_not_asked_for_twice(queue: SqlJobs) -> None:
    queue.add(a_job(0), **MANY)
    with pytest.raises(Conflict, match="already"):
        queue.add(a_job(1, area="area 0"), **MANY)
    outline = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}
    with pytest.raises(Conflict, match="choose another name"):
        queue.add(a_job(1, area="area 0", outline=outline, every="month"), **MANY)
    queue.add(a_job(1, area="area 0", every="month"), **MANY)
    queue.cancel("job-000")
    queue.add(a_job(2, area="area 0"), **MANY)


def test_a_silent_worker_loses_its_job_and_a_third_one_ends_it(queue: SqlJobs) -> None:
    queue.add(a_job(), **MANY)
    pulse = Pulse(stage=Stage.SCANNING, done=1, total=3)
    for number, worker in enumerate("abc", 1):
        job = claim(queue, worker, AT_ONCE_S)
        assert job is not None
        assert (job.attempts, job.worker, job.model) == (number, worker, "toy")
        assert queue.beat(job.job_id, worker, pulse) is Order.GO_ON
        assert claim(queue, "z") is None
        time.sleep(0.002)
    assert queue.beat("job-000", "a", pulse) is Order.LOST
    assert not queue.finish("job-000", "a", JobState.DONE)
    assert not queue.release("job-000", "b", at_fault=False)
    assert claim(queue, "d", AT_ONCE_S) is None
    job = queue.job("job-000")
    assert job is not None
    assert (job.state, "lost 3 times" in job.message) == (JobState.FAILED, True)


def test_a_worker_hears_that_its_job_is_cancelled(queue: SqlJobs) -> None:
    queue.add(a_job(), **MANY)
    claim(queue, "a")
    asked = queue.cancel("job-000")
    assert asked is not None
    assert (asked.state, asked.cancel_asked) == (JobState.RUNNING, True)
    assert queue.beat("job-000", "a", Pulse(stage=Stage.SCANNING)) is Order.CANCEL
    # Where the worker is gone there is nobody to hear it.
    time.sleep(0.002)
    ended = queue.cancel("job-000", stale_s=AT_ONCE_S)
    assert ended is not None
    assert ended.state is JobState.CANCELLED
    assert queue.cancel("none") is None


def test_a_version_rises_with_what_there_is_to_tell(queue: SqlJobs) -> None:
    queue.add(a_job(), **MANY)
    claim(queue, "a")

    def version() -> int:
        found = queue.job("job-000")
        assert found is not None
        return found.version

    pulse = Pulse(stage=Stage.SCANNING, done=1, total=3, parts=1)
    before = version()
    queue.beat("job-000", "a", pulse)
    assert version() == before + 1
    queue.beat("job-000", "a", pulse)
    assert version() == before + 1
    assert queue.finish("job-000", "a", JobState.DONE, run_ids=["r1"])
    assert version() == before + 2
    job = queue.job("job-000")
    assert job is not None
    assert (job.run_ids, job.stage, job.finished is not None) == (("r1",), Stage.ENDED, True)


def test_a_job_given_back_keeps_its_place(queue: SqlJobs) -> None:
    for number in range(2):
        queue.add(a_job(number), **MANY)
    claim(queue, "a")
    assert queue.release("job-000", "a", at_fault=False)
    again = claim(queue, "b")
    assert again is not None
    assert (again.job_id, again.attempts) == ("job-000", 1)


def test_lists_are_of_one_person_and_newest_first(queue: SqlJobs) -> None:
    for number in range(4):
        queue.add(a_job(number, by="ama" if number % 2 else "kofi"), **MANY)
    found, total = queue.jobs(by="ama", limit=1)
    assert ([job.job_id for job in found], total) == (["job-003"], 2)
    found, total = queue.jobs(areas=["area 0", "area 1"])
    assert ([job.job_id for job in found], total) == (["job-001", "job-000"], 2)
    assert queue.jobs(state=JobState.DONE) == ([], 0)
