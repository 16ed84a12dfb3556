"""What people are told of an analysis."""

from __future__ import annotations

from typing import Any

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


def job_told(job: AnalysisJob) -> dict[str, Any]:
    """An analysis, without what concerns workers only and without its outline."""
    told = job.model_dump(include=set(_TOLD))
    return {name: told[name] for name in _TOLD}
