"""Progress of analyses for those who wait: one look at the store a second, for all together."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator

import anyio
import anyio.to_thread

from sluice.app.web.answers import to_json
from sluice.app.web.errors import Busy
from sluice.app.web.job_views import job_told
from sluice.app.web.service import Service
from sluice.base.errors import SluiceError
from sluice.base.jobs import AnalysisJob, JobState
from sluice.store.jobs import SqlJobs

_LOOK_S = 1.0
_SILENT_S = 15.0
"""How long a stream is silent before a comment keeps it open."""
_LONGEST_S = 600.0
"""Of one stream; browsers begin another where it ended, and rights are looked at again."""
_MOST_LISTENERS = 300


class JobWatch:
    """What listeners share."""

    def __init__(self, service: Service) -> None:
        """Watch the store of a service."""
        self._service = service
        self._watched: Counter[str] = Counter()
        self._known: dict[str, AnalysisJob] = {}
        self._places: dict[str, int] = {}
        self._looked = -1e9
        self._lock = anyio.Lock()
        self._closed = False
        self.looks = 0
        """How often the store was asked."""

    def close(self) -> None:
        """End all streams at their next look."""
        self._closed = True

    def require_room(self) -> None:
        """Refuse one more listener where there are many.

        Raises:
            Busy: There are.
        """
        if self._watched.total() >= _MOST_LISTENERS:
            raise Busy("too many follow analyses at this moment; ask /api/jobs now and then")

    async def events(self, job: AnalysisJob, seen: int | None) -> AsyncIterator[bytes]:
        """A stream of server-sent events: `job` with each change, `end` with the last one.

        Args:
            job: As it is now.
            seen: The version that the listener has: the id of the last event.
        """
        began = spoke = time.monotonic()
        place: int | None = None
        self._watched[job.job_id] += 1
        try:
            yield b"retry: 3000\n\n"
            if job.state is JobState.QUEUED:
                job = await self._look(job)
            while True:
                now_at = self._places.get(job.job_id)
                if job.version != seen or (now_at != place and job.state.is_open):
                    seen, place, spoke = job.version, now_at, time.monotonic()
                    yield _event(job, self._places)
                if not job.state.is_open or self._closed:
                    return
                now = time.monotonic()
                if now - began > _LONGEST_S:
                    return
                if now - spoke > _SILENT_S:
                    spoke = now
                    yield b": still here\n\n"
                await anyio.sleep(_LOOK_S)
                job = await self._look(job)
        finally:
            self._watched[job.job_id] -= 1
            if self._watched[job.job_id] <= 0:
                del self._watched[job.job_id]
                self._known.pop(job.job_id, None)

    async def _look(self, job: AnalysisJob) -> AnalysisJob:
        """The job as it is; as it was, where the store cannot be reached."""
        async with self._lock:
            if time.monotonic() - self._looked >= _LOOK_S * 0.9:
                wanted = list(self._watched)
                try:
                    found = await anyio.to_thread.run_sync(self._read, wanted)
                    self._known = {one.job_id: one for one in found[0]}
                    self._places = found[1]
                except SluiceError:
                    pass
                self.looks += 1
                self._looked = time.monotonic()
        known = self._known.get(job.job_id, job)
        return known if known.version > job.version else job

    def _read(self, job_ids: list[str]) -> tuple[list[AnalysisJob], dict[str, int]]:
        queue = SqlJobs(self._service.store.db)
        return queue.some(job_ids), queue.queue_places()


def _event(job: AnalysisJob, places: dict[str, int]) -> bytes:
    name = b"job" if job.state.is_open else b"end"
    # JSON of orjson has no line ends, which would end the data.
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (job.version, name, to_json(job_told(job, places)))
