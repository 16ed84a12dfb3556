"""The record of a sample: strata, where its points lie and what the map says there.

It stays apart from the file that a person labels, who is not to know what the map says.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sluice.base.errors import AssetReadError, DataError, ItemNotFound
from sluice.base.files import write_whole
from sluice.base.records import Record
from sluice.evaluation.area_sample import Allocation, Stratum

SUFFIX = ".plan.json"
_FORMAT = 1


class PlannedPoint(Record):
    """One point of a sample."""

    point_id: str
    lon: float
    lat: float
    stratum: str


class SamplePlan(Record):
    """How a sample was drawn, so that anybody can draw it again."""

    sample_id: str
    """Of all that follows: the plan cannot be changed after the fact without it showing."""
    format: int = _FORMAT
    sluice_version: str
    source: dict[str, Any]
    """Which map."""
    hashes: dict[str, str]
    """SHA-256 of the files that the strata were made of."""
    seed: int
    allocation: Allocation
    target_se_ha: float | None
    """None where the number of points was asked for."""
    expected_se_ha: float
    """Standard error of the mine area if the guessed shares held."""
    crs: str
    pixel_m: float
    pixel_area_spread: float
    """Pixels are drawn with equal chances, and the largest is larger than the smallest by this
    share."""
    observed_ha: float
    """Of all strata."""
    not_observed_ha: float
    """Of the area that was asked for; the estimate says nothing of it."""
    strata: tuple[Stratum, ...]
    points: tuple[PlannedPoint, ...]
    """In random order."""


def sealed(plan: SamplePlan) -> SamplePlan:
    """The plan with the id that belongs to its content."""
    return plan.model_copy(update={"sample_id": _digest(plan)})


def _digest(plan: SamplePlan) -> str:
    content = plan.model_dump(mode="json", exclude={"sample_id"})
    text = json.dumps(content, sort_keys=True, ensure_ascii=True)
    return "s-" + hashlib.sha256(text.encode()).hexdigest()[:12]


def plan_path(sample: Path) -> Path:
    """Where the plan of a sample lies: beside it."""
    return sample.with_name(f"{sample.stem}{SUFFIX}")


def write_plan(plan: SamplePlan, path: Path) -> None:
    """Write a plan as JSON.

    Raises:
        OSError: It cannot be written.
    """
    with write_whole(path) as part:
        part.write_text(plan.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_plan(path: Path) -> SamplePlan:
    """Read a plan back, and see that nobody changed it.

    Raises:
        ItemNotFound: No such file.
        AssetReadError: It cannot be read.
        DataError: It is no plan, or was changed after the points were drawn.
    """
    if not path.is_file():
        raise ItemNotFound(
            f"{path}: no such file; it was written beside the sample by `sluice area plan`: put it "
            "there again, or name it with --plan",
            href=str(path),
        )
    try:
        plan = SamplePlan.model_validate_json(path.read_bytes())
    except OSError as err:
        raise AssetReadError(f"{path}: cannot be read ({err.strerror})", href=str(path)) from err
    except ValidationError as err:
        first = err.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise DataError(
            f"{path}: not a plan of this version ({where}: {first['msg']}); give the file that "
            "`sluice area plan` wrote",
            href=str(path),
        ) from err
    if _digest(plan) != plan.sample_id:
        raise DataError(
            f"{path}: was changed after the points were drawn; restore the file that `sluice area "
            "plan` wrote",
            href=str(path),
        )
    return plan
