"""Analyses that people ask a service for, and the seam of the queue that keeps them.

A job is a row of the store. Whoever runs it says so again and again (a heartbeat), so that
another one takes over where it was lost.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, Protocol

from pydantic import Field

from sluice.base.errors import SluiceError
from sluice.base.records import Record

MOST_ATTEMPTS = 3
"""How often a job is begun before it is given up; only lost workers count."""
STALE_S = 60.0
"""A worker that was silent for so long is lost."""


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_open(self) -> bool:
        """Whether something is still to come."""
        return self in OPEN_STATES


OPEN_STATES = (JobState.QUEUED, JobState.RUNNING)


class Stage(StrEnum):
    """What is being done for a job."""

    WAITING = "waiting"
    SEARCHING = "searching"
    """For images, before the first tile."""
    SCANNING = "scanning"
    LANDING = "landing"
    """All tiles are finished; the map is made, and put into the store."""
    ENDED = "ended"


class Order(StrEnum):
    """What a worker learns when it says that it is alive."""

    GO_ON = "go on"
    CANCEL = "cancel"
    LOST = "lost"
    """The job is not its own any more."""


class AnalysisJob(Record):
    """An area and a period to scan."""

    job_id: str
    area: str
    """Its name in the store."""
    outline: dict[str, Any] | None = None
    """GeoJSON polygon or multipolygon in longitude and latitude, where the store did not know the
    area."""
    first: dt.date
    last: dt.date
    """Included."""
    every: str = "none"
    """See `base.periods.EVERY_MONTHS`."""
    by: str
    """Who asked."""
    state: JobState = JobState.QUEUED
    stage: Stage = Stage.WAITING
    created: dt.datetime
    started: dt.datetime | None = None
    """First time."""
    finished: dt.datetime | None = None
    done: int = Field(default=0, ge=0)
    """Tiles of the map in work."""
    total: int = Field(default=0, ge=0)
    part: int = Field(default=0, ge=0)
    """Maps that have landed: one for each period and UTM zone."""
    parts: int = Field(default=0, ge=0)
    message: str = ""
    """What went wrong."""
    cancel_asked: bool = False
    attempts: int = Field(default=0, ge=0)
    model: str | None = None
    """What it is scanned with; None until then."""
    worker: str | None = None
    beat: dt.datetime | None = None
    """When the worker was last heard of."""
    run_ids: tuple[str, ...] = ()
    """Of what landed."""
    version: int = 0
    """Rises with each change but the heartbeat."""


class Pulse(Record):
    """What a worker says of the job that it runs."""

    stage: Stage
    done: int = 0
    total: int = 0
    part: int = 0
    parts: int = 0


class TooManyJobs(SluiceError):
    """The queue, or one person's share of it, is full."""


class Jobs(Protocol):
    """The queue of a store; each method is one transaction.

    Every method raises `StoreError` where the store cannot be reached or written.
    """

    def add(self, job: AnalysisJob, *, most_open: int, most_of_person: int) -> None:
        """Put a job at the end of the queue.

        Args:
            job: New.
            most_open: Jobs that may wait and run at a time.
            most_of_person: Those of one person.

        Raises:
            TooManyJobs: There are as many.
            Conflict: The same is asked for already, or the same name with another outline.
        """
        ...

    def claim(
        self,
        worker: str,
        *,
        model: str,
        stale_s: float = STALE_S,
        is_gone: Callable[[str], bool] = lambda _: False,
    ) -> AnalysisJob | None:
        """Take a job whose worker was lost, or the oldest one that waits; two never get one.

        Jobs of lost workers that were cancelled, or begun too often, end.

        Args:
            worker: Unique to the process.
            model: That it scans with.
            stale_s: See `STALE_S`.
            is_gone: Whether a worker of a name is known to have ended, however short ago.
        """
        ...

    def beat(self, job_id: str, worker: str, pulse: Pulse) -> Order:
        """Say that the worker is alive, and how far it is."""
        ...

    def release(self, job_id: str, worker: str, *, at_fault: bool) -> bool:
        """Give a job back: it waits again, in its place.

        Args:
            job_id: Of the job.
            worker: That had it.
            at_fault: Whether it counts as an attempt; the last one fails the job.

        Returns:
            Whether it was the worker's own.
        """
        ...

    def finish(
        self,
        job_id: str,
        worker: str,
        state: JobState,
        *,
        message: str = "",
        run_ids: Sequence[str] = (),
    ) -> bool:
        """End a job; gives whether it was the worker's own."""
        ...

    def cancel(self, job_id: str, *, stale_s: float = STALE_S) -> AnalysisJob | None:
        """End a job that waits or whose worker is lost, ask the worker of one that runs; one that
        ended stays as it is. None where there is none."""
        ...

    def queue_places(self) -> dict[str, int]:
        """By id, the places of those that wait: 1 is the next."""
        ...

    def remove_ended(self, before: dt.datetime) -> list[str]:
        """Forget those that ended before a moment; gives their ids."""
        ...

    def job(self, job_id: str) -> AnalysisJob | None:
        """One job."""
        ...

    def some(self, job_ids: Sequence[str]) -> list[AnalysisJob]:
        """Those of these that there are."""
        ...

    def jobs(
        self,
        *,
        by: str | None = None,
        areas: Sequence[str] | None = None,
        state: JobState | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> tuple[list[AnalysisJob], int]:
        """Newest first, and how many there are in all.

        Args:
            by: Those of one person.
            areas: Those of some areas.
            state: Those in a state.
            limit: Most of them.
            offset: How many to leave out.
        """
        ...
