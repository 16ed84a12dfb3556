"""Old analyses go: the record of each, and files of it that no landed run needs."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path

from sluice.store.jobs import SqlJobs
from sluice.store.sql_store import SqlStore

KEEP_DAYS = 90.0
"""How long an analysis that ended is listed."""


def remove_old_jobs(store: SqlStore, out: Path, keep_days: float = KEEP_DAYS) -> int:
    """Remove analyses that ended long ago; what they landed stays, with its images.

    Args:
        store: With the queue.
        out: Where the folders of jobs are.
        keep_days: Since they ended.

    Returns:
        How many were removed.

    Raises:
        StoreError: The store cannot be reached or written.
    """
    before = dt.datetime.now(dt.UTC) - dt.timedelta(days=keep_days)
    removed = SqlJobs(store.db).remove_ended(before)
    if removed:
        needed = [
            Path(run.folder).resolve()
            for run in store.runs(with_past=True)
            if run.folder is not None
        ]
        for job_id in removed:
            folder = (out / job_id).resolve()
            if not any(path.is_relative_to(folder) for path in needed):
                shutil.rmtree(folder, ignore_errors=True)
    return len(removed)
