"""`overview.csv`: one line for each result of a command that makes several."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from sluice.app.products.landing import holds_finished, telling_disk_errors
from sluice.app.products.layout import OVERVIEW, RUN
from sluice.base.errors import ConfigError, SluiceError
from sluice.base.files import write_whole
from sluice.base.records import DISCLAIMER, Record


class JobOutcome(Record):
    """What became of one area and period."""

    job: str
    folder: Path
    status: Literal["complete", "kept", "failed"]
    """`kept`: it was finished by an earlier call."""
    error: str | None = None
    summary: dict[str, Any] = Field(default_factory=dict)
    """The figures told at the end, as in `run.json`."""

    @classmethod
    def complete(cls, job: str, folder: Path, summary: Mapping[str, Any]) -> JobOutcome:
        """A result that was made now."""
        return cls(job=job, folder=folder, status="complete", summary=dict(summary))

    @classmethod
    def failed(cls, job: str, folder: Path, err: SluiceError) -> JobOutcome:
        """A result that could not be made."""
        return cls(job=job, folder=folder, status="failed", error=" ".join(str(err).split()))


def kept_outcome(job: str, folder: Path, request: Mapping[str, Any]) -> JobOutcome | None:
    """A result that an earlier call finished; None where there is none.

    Args:
        job: Its name.
        folder: Where it lies.
        request: What is asked for now, `ImageryConfig.request`.

    Raises:
        ConfigError: It was made otherwise: by another command, model or option.
    """
    if not holds_finished(folder):
        return None
    record = json.loads((folder / RUN).read_bytes())
    made = record.get("parameters", {})
    # As JSON has them: there NaN is null.
    asked = json.loads(json.dumps(request).replace("NaN", "null"))
    differing = [name for name, value in asked.items() if made.get(name) != value]
    if differing:
        raise ConfigError(
            f"{folder}: holds a result that was made with other settings "
            f"({', '.join(differing[:3])}); give --overwrite to replace it, or another --out folder"
        )
    return JobOutcome(job=job, folder=folder, status="kept", summary=record.get("summary", {}))


_COLUMNS = (
    "sites",
    "footprint_ha",
    "area_ha",
    "not_observed_percent",
    "images",
    "first_date",
    "last_date",
)


def write_overview(outcomes: Sequence[JobOutcome], out_dir: Path) -> Path:
    """Write `overview.csv`, whole or not at all.

    Raises:
        RunFailed: The disk is full.
        ConfigError: The folder cannot be written.
    """
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["job", "status", *_COLUMNS, "folder", "error", "note"])
    for outcome in outcomes:
        folder = outcome.folder.relative_to(out_dir).as_posix()
        table.writerow(
            [
                outcome.job,
                outcome.status,
                *(outcome.summary.get(column, "") for column in _COLUMNS),
                folder,
                outcome.error or "",
                DISCLAIMER,
            ]
        )
    path = out_dir / OVERVIEW
    with telling_disk_errors(out_dir), write_whole(path) as part:
        # With a mark of its encoding, without which Excel takes it for another.
        part.write_text(text.getvalue(), encoding="utf-8-sig", newline="")
    return path
