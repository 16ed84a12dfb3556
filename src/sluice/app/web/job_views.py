"""What people are told of an analysis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sluice.app.web.errors import without_folders
from sluice.base.jobs import AnalysisJob

_TOLD = (
    "job_id",
    "area",
    "first",
    "last",
    "every",
    "by",
    "state",
    "stage",
    "created",
    "started",
    "finished",
    "done",
    "total",
    "part",
    "parts",
    "message",
    "cancel_asked",
    "model",
    "run_ids",
    "version",
)


def job_told(job: AnalysisJob, places: Mapping[str, int]) -> dict[str, Any]:
    """An analysis, without what concerns workers only and without its outline.

    Args:
        job: The analysis.
        places: Of those that wait, see `Jobs.queue_places`; 1 is the next, the others have none.
    """
    told = job.model_dump(include=set(_TOLD))
    told["message"] = without_folders(job.message) if job.message else job.message
    return {name: told[name] for name in _TOLD} | {"queue_place": places.get(job.job_id)}
