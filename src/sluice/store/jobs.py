"""The queue of analyses: `base.jobs.Jobs` over either database."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from sluice.base.errors import Conflict
from sluice.base.jobs import (
    MOST_ATTEMPTS,
    OPEN_STATES,
    STALE_S,
    AnalysisJob,
    JobState,
    Order,
    Pulse,
    Stage,
    TooManyJobs,
)
from sluice.base.places import columns_of
from sluice.store import schema
from sluice.store.database import Database
from sluice.store.queries import columns

_LOCK = "sluice: jobs"
_TABLE = schema.jobs
_OPEN = _TABLE.c.state.in_([str(state) for state in OPEN_STATES])
_LOST_OFTEN = (
    f"whoever worked on it was lost {MOST_ATTEMPTS} times: the area may need more memory than "
    "there is; ask for a smaller one, or for a shorter period"
)


class SqlJobs:
    """See `base.jobs.Jobs`."""

    def __init__(self, db: Database) -> None:
        """Stand on an open database; whoever opened it closes it."""
        self._db = db

    def add(self, job: AnalysisJob, *, most_open: int, most_of_person: int) -> None:
        """See `Jobs`."""
        with self._db.writing(_LOCK) as connection:
            known = _read(connection, _OPEN)
            own = sum(other.by == job.by for other in known)
            if own >= most_of_person:
                raise TooManyJobs(
                    f"{job.by} has {own} open analyses, and {most_of_person} are allowed; wait for "
                    "one to end, or cancel one"
                )
            if len(known) >= most_open:
                raise TooManyJobs(
                    f"{len(known)} analyses wait or run, and {most_open} are allowed; ask again "
                    "when one has ended"
                )
            _refuse_same(job, known)
            connection.execute(sa.insert(_TABLE).values(**_row_of(job)))

    def claim(
        self,
        worker: str,
        *,
        model: str,
        stale_s: float = STALE_S,
        is_gone: Callable[[str], bool] = lambda _: False,
    ) -> AnalysisJob | None:
        """See `Jobs`."""

        def is_lost(job: AnalysisJob, now: dt.datetime) -> bool:
            running = job.state is JobState.RUNNING and job.worker is not None
            gone = running and is_gone(str(job.worker))
            return gone or _is_stale(job, now, stale_s)

        with self._db.reading() as connection:
            # Whoever only looks takes no lock: landings may hold it for long.
            if not connection.execute(sa.select(_TABLE.c.job_id).where(_OPEN).limit(1)).first():
                return None
        with self._db.writing(_LOCK) as connection:
            now = _now(connection)
            for seen in _read(connection, _TABLE.c.state == str(JobState.RUNNING)):
                job = _locked(connection, seen.job_id) if is_lost(seen, now) else None
                # Its worker may have spoken meanwhile.
                if job is None or not is_lost(job, now):
                    continue
                if job.cancel_asked:
                    _end(connection, job, JobState.CANCELLED)
                elif job.attempts >= MOST_ATTEMPTS:
                    _end(connection, job, JobState.FAILED, message=_LOST_OFTEN)
                else:
                    return _take(connection, job, worker, model, now)
            waiting = _read(connection, _TABLE.c.state == str(JobState.QUEUED), limit=1)
            return _take(connection, waiting[0], worker, model, now) if waiting else None

    def beat(self, job_id: str, worker: str, pulse: Pulse) -> Order:
        """See `Jobs`."""
        with self._db.writing() as connection:
            job = _own(connection, job_id, worker)
            if job is None:
                return Order.LOST
            told: dict[str, Any] = pulse.model_dump(mode="json")
            if any(getattr(job, name) != value for name, value in told.items()):
                told["version"] = job.version + 1
            _update(connection, job_id, beat=_now(connection), **told)
            return Order.CANCEL if job.cancel_asked else Order.GO_ON

    def release(self, job_id: str, worker: str, *, at_fault: bool) -> bool:
        """See `Jobs`."""
        with self._db.writing(_LOCK) as connection:
            job = _own(connection, job_id, worker)
            if job is None:
                return False
            if job.cancel_asked:
                _end(connection, job, JobState.CANCELLED)
            elif at_fault and job.attempts >= MOST_ATTEMPTS:
                _end(connection, job, JobState.FAILED, message=_LOST_OFTEN)
            else:
                _update(
                    connection,
                    job_id,
                    state=str(JobState.QUEUED),
                    stage=str(Stage.WAITING),
                    worker=None,
                    beat=None,
                    attempts=job.attempts - (not at_fault),
                    version=job.version + 1,
                )
            return True

    def finish(
        self,
        job_id: str,
        worker: str,
        state: JobState,
        *,
        message: str = "",
        run_ids: Sequence[str] = (),
    ) -> bool:
        """See `Jobs`."""
        with self._db.writing(_LOCK) as connection:
            job = _own(connection, job_id, worker)
            if job is not None:
                _end(connection, job, state, message=message, run_ids=run_ids)
            return job is not None

    def cancel(self, job_id: str, *, stale_s: float = STALE_S) -> AnalysisJob | None:
        """See `Jobs`."""
        with self._db.writing(_LOCK) as connection:
            job = _locked(connection, job_id)
            if job is None or not job.state.is_open:
                return job
            now = _now(connection)
            if job.state is JobState.QUEUED or _is_stale(job, now, stale_s):
                _end(connection, job, JobState.CANCELLED)
            elif not job.cancel_asked:
                _update(connection, job_id, cancel_asked=True, version=job.version + 1)
            return _one(connection, job_id)

    def queue_places(self) -> dict[str, int]:
        """See `Jobs`."""
        wanted = sa.select(_TABLE.c.job_id).where(_TABLE.c.state == str(JobState.QUEUED))
        with self._db.reading() as connection:
            ids = connection.execute(wanted.order_by(_TABLE.c.created, _TABLE.c.job_id)).scalars()
            return {job_id: place for place, job_id in enumerate(ids, start=1)}

    def remove_ended(self, before: dt.datetime) -> list[str]:
        """See `Jobs`."""
        with self._db.reading() as connection:
            old = sa.and_(sa.not_(_OPEN), _TABLE.c.finished < before)
            found = list(connection.execute(sa.select(_TABLE.c.job_id).where(old)).scalars())
        if found:
            with self._db.writing(_LOCK) as connection:
                # One that ended does not begin again.
                connection.execute(sa.delete(_TABLE).where(self._db.among(_TABLE.c.job_id, found)))
        return found

    def job(self, job_id: str) -> AnalysisJob | None:
        """See `Jobs`."""
        with self._db.reading() as connection:
            return _one(connection, job_id)

    def some(self, job_ids: Sequence[str]) -> list[AnalysisJob]:
        """See `Jobs`."""
        with self._db.reading() as connection:
            return _read(connection, self._db.among(_TABLE.c.job_id, job_ids))

    def jobs(
        self,
        *,
        by: str | None = None,
        areas: Sequence[str] | None = None,
        state: JobState | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> tuple[list[AnalysisJob], int]:
        """See `Jobs`."""
        asked = [] if by is None else [_TABLE.c.by == by]
        asked += [] if areas is None else [self._db.among(_TABLE.c.area, areas)]
        asked += [] if state is None else [_TABLE.c.state == str(state)]
        wanted = (
            sa.select(*columns(_TABLE, columns_of(AnalysisJob)))
            .where(*asked)
            .order_by(_TABLE.c.created.desc(), _TABLE.c.job_id)
            .limit(limit)
            .offset(offset)
        )
        counted = sa.select(sa.func.count()).select_from(_TABLE).where(*asked)
        with self._db.reading() as connection:
            total = int(connection.execute(counted).scalar_one())
            return [AnalysisJob(**row) for row in connection.execute(wanted).mappings()], total


def _now(connection: Connection) -> dt.datetime:
    """By the clock of the server, where there is one: those of several workers may differ."""
    if connection.dialect.name != "postgresql":
        return dt.datetime.now(dt.UTC)
    now: dt.datetime = connection.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
    return now.astimezone(dt.UTC)


def _read(
    connection: Connection, condition: sa.ColumnElement[bool], *, limit: int | None = None
) -> list[AnalysisJob]:
    """Oldest first."""
    wanted = sa.select(*columns(_TABLE, columns_of(AnalysisJob))).where(condition)
    wanted = wanted.order_by(_TABLE.c.created, _TABLE.c.job_id).limit(limit)
    return [AnalysisJob(**row) for row in connection.execute(wanted).mappings()]


def _one(connection: Connection, job_id: str) -> AnalysisJob | None:
    found = _read(connection, _TABLE.c.job_id == job_id)
    return found[0] if found else None


def _locked(connection: Connection, job_id: str) -> AnalysisJob | None:
    """A job whose row nobody else changes until the transaction ends."""
    row = sa.select(_TABLE.c.job_id).where(_TABLE.c.job_id == job_id).with_for_update()
    connection.execute(row).all()
    return _one(connection, job_id)


def _own(connection: Connection, job_id: str, worker: str) -> AnalysisJob | None:
    """The same, where this worker runs it."""
    job = _locked(connection, job_id)
    is_own = job is not None and job.state is JobState.RUNNING and job.worker == worker
    return job if is_own else None


def _row_of(job: AnalysisJob) -> dict[str, Any]:
    row = job.model_dump()
    return row | {"state": str(job.state), "stage": str(job.stage), "run_ids": list(job.run_ids)}


def _update(connection: Connection, job_id: str, **values: Any) -> None:
    connection.execute(sa.update(_TABLE).where(_TABLE.c.job_id == job_id).values(**values))


def _take(
    connection: Connection, job: AnalysisJob, worker: str, model: str, now: dt.datetime
) -> AnalysisJob | None:
    _update(
        connection,
        job.job_id,
        state=str(JobState.RUNNING),
        stage=str(Stage.SEARCHING),
        worker=worker,
        model=model,
        beat=now,
        started=job.started or now,
        attempts=job.attempts + 1,
        version=job.version + 1,
    )
    return _one(connection, job.job_id)


def _end(
    connection: Connection,
    job: AnalysisJob,
    state: JobState,
    *,
    message: str = "",
    run_ids: Sequence[str] = (),
) -> None:
    _update(
        connection,
        job.job_id,
        state=str(state),
        stage=str(Stage.ENDED),
        finished=_now(connection),
        message=message,
        run_ids=list(run_ids),
        worker=None,
        version=job.version + 1,
    )


def _is_stale(job: AnalysisJob, now: dt.datetime, stale_s: float) -> bool:
    silent = job.state is JobState.RUNNING
    return silent and (job.beat is None or (now - job.beat).total_seconds() > stale_s)


def _refuse_same(job: AnalysisJob, known: Sequence[AnalysisJob]) -> None:
    for other in known:
        if other.area != job.area:
            continue
        if other.outline != job.outline:
            raise Conflict(
                f"area {job.area!r}: another analysis of an area of this name waits or runs; "
                "choose another name"
            )
        same = ("first", "last", "every")
        if all(getattr(other, name) == getattr(job, name) for name in same):
            raise Conflict(
                f"area {job.area!r}: this analysis waits or runs already; wait for it to end"
            )
