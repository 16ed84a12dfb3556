"""Analyses on request: ask for one, follow it, cancel it."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from sluice.app.web.access import Person, Role, require
from sluice.app.web.answers import json_response
from sluice.app.web.errors import DOCUMENTED, NotHere
from sluice.app.web.job_requests import JobBody, JobList, make_job
from sluice.app.web.job_views import job_told
from sluice.app.web.job_watch import JobWatch
from sluice.app.web.parameters import Nothing
from sluice.app.web.service import Served, Service
from sluice.base.jobs import AnalysisJob, JobState
from sluice.store.jobs import SqlJobs

router = APIRouter(prefix="/api", tags=["analyses"], responses=DOCUMENTED)

Analyst = Annotated[Person, Depends(require(Role.ANALYST))]
JobId = Annotated[str, Path(min_length=1, max_length=64, pattern="^[0-9a-zA-Z-]+$")]
_STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@router.post("/jobs", status_code=201)
def ask(service: Served, who: Analyst, asked: JobBody, _: Annotated[Nothing, Query()]) -> Response:
    """Ask for an analysis of an area and a period; the answer is its job."""
    settings = service.settings
    job = make_job(asked, who, service.store, settings)
    queue = SqlJobs(service.store.db)
    queue.add(job, most_open=settings.jobs_open, most_of_person=settings.jobs_per_person)
    where = {"Location": f"/api/jobs/{job.job_id}"}
    return json_response(_whole(queue, job), 201, headers=where)


@router.get("/jobs")
def jobs(service: Served, who: Analyst, asked: Annotated[JobList, Query()]) -> Response:
    """Your analyses, newest first, those of all for administrators; and what may be asked for."""
    queue = SqlJobs(service.store.db)
    found, total = queue.jobs(
        by=None if _is_admin(who) else who.name,
        areas=None if who.areas is None else sorted(who.areas),
        state=asked.state,
        limit=asked.limit,
        offset=asked.offset,
    )
    settings = service.settings
    limits = {
        "km2": settings.largest_km2,
        "days": settings.longest_days,
        "periods": settings.most_periods,
        "vertices": settings.most_vertices,
        "open_per_person": settings.jobs_per_person,
        "new_areas": who.areas is None,
        # A model may be a folder of the server's.
        "model": PurePath(settings.model).name,
    }
    places = queue.queue_places()
    told = [job_told(job, places) for job in found]
    return json_response({"jobs": told, "total": total, "limits": limits})


@router.get("/jobs/{job_id}")
def job(service: Served, who: Analyst, job_id: JobId, _: Annotated[Nothing, Query()]) -> Response:
    """One analysis."""
    found = _require_job(service, who, job_id)
    return json_response(_whole(SqlJobs(service.store.db), found))


@router.delete("/jobs/{job_id}")
def cancel(
    service: Served, who: Analyst, job_id: JobId, _: Annotated[Nothing, Query()]
) -> Response:
    """Cancel an analysis: at once where it waits, after the tile in work where it runs (202).

    What has landed stays. One that has ended stays as it is.
    """
    _require_job(service, who, job_id)
    queue = SqlJobs(service.store.db)
    found = queue.cancel(job_id)
    if found is None:
        raise _no_job(job_id)
    return json_response(_whole(queue, found), 202 if found.state.is_open else 200)


@router.get(
    "/jobs/{job_id}/events",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"text/event-stream": {}}, "description": "Events `job` and `end`."},
        204: {"description": "It has ended, and the listener knows."},
    },
)
async def events(
    request: Request,
    service: Served,
    who: Analyst,
    job_id: JobId,
    _: Annotated[Nothing, Query()],
    last_event_id: Annotated[str | None, Header(max_length=20)] = None,
) -> Response:
    """Follow an analysis: server-sent events until it ends."""
    watch: JobWatch = request.app.state.job_watch
    found = await run_in_threadpool(_require_job, service, who, job_id)
    known = last_event_id is not None and last_event_id.isascii() and last_event_id.isdigit()
    seen = int(last_event_id or 0) if known else None
    if seen == found.version and not found.state.is_open:
        # A browser would ask again for ever.
        return Response(status_code=204)
    watch.require_room()
    return StreamingResponse(
        watch.events(found, seen), media_type="text/event-stream", headers=_STREAM_HEADERS
    )


def _is_admin(who: Person) -> bool:
    return who.role is Role.ADMIN


def _require_job(service: Service, who: Person, job_id: str) -> AnalysisJob:
    found = SqlJobs(service.store.db).job(job_id)
    mine = found is not None and (_is_admin(who) or found.by == who.name)
    if found is None or not mine or (who.areas is not None and found.area not in who.areas):
        raise _no_job(job_id)
    return found


def _no_job(job_id: str) -> NotHere:
    return NotHere(f"there is no analysis {job_id} of yours; /api/jobs lists those there are")


def _whole(queue: SqlJobs, job: AnalysisJob) -> dict[str, Any]:
    places = queue.queue_places() if job.state is JobState.QUEUED else {}
    return job_told(job, places) | {"geometry": job.outline}
