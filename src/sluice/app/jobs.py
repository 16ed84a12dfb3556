"""One command, several results: one for each area, part of an area and period."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shapely.geometry.base import BaseGeometry

from sluice.app.area import NamedArea, map_parts, read_areas
from sluice.app.config import ImageryConfig
from sluice.app.products.landing import holds_finished
from sluice.app.products.overview import JobOutcome, write_overview
from sluice.base.errors import AuthError, ModelError, SluiceError
from sluice.base.periods import Period, split_period


@dataclass(frozen=True)
class Job:
    """One result to make."""

    name: str
    """`ashanti/utm30/2024-01_2024-04`, of what there is more than one; empty for the only job."""
    out: Path
    area: BaseGeometry | None
    """In longitude and latitude, on one UTM grid; None for all of the images."""
    place: str
    """`ashanti/utm30`: the name without the period."""
    period: Period | None
    """None for images named one by one."""
    earlier: Period | None = None
    """The period before, of the same length as asked for; None for the first."""


def plan_jobs(config: ImageryConfig) -> list[Job]:
    """List what a command is to make, areas first, then parts, then periods.

    Raises:
        ConfigError: An area or a date cannot be understood.
        SourceError: An area's file cannot be read.
    """
    whole = config.period
    periods: list[Period | None] = [*split_period(whole, config.every)] if whole else [None]
    if config.area is None:
        return [Job("", config.out, None, "", None)]
    jobs = []
    for area in read_areas(config.area):
        # Images named one by one lie somewhere in the area, which may be a country.
        whole_area = [NamedArea("", area.geometry)]
        for part in map_parts(area.geometry) if config.source is not None else whole_area:
            for before, period in zip([None, *periods], periods, strict=False):
                several = period is not None and len(periods) > 1
                place = "/".join(filter(None, [area.name, part.name]))
                name = "/".join(filter(None, [place, period.name if period and several else ""]))
                jobs.append(Job(name, config.out / name, part.geometry, place, period, before))
    return jobs


def run_jobs(
    config: ImageryConfig, run: Callable[[Job], Mapping[str, Any]], tell: Callable[[str], None]
) -> list[JobOutcome]:
    """Make each result of a command, and keep `overview.csv` up to date.

    Of several, one that is finished is kept, and one that fails does not stop the others. What
    concerns them all does: refused credentials, or a model that cannot be used.

    Args:
        config: Gives areas, periods and the output folder.
        run: Makes one, and gives its figures.
        tell: Told of a result that failed.

    Raises:
        AuthError, ModelError: Wrong for every result alike.
        SluiceError: The only result could not be made.
    """
    jobs = plan_jobs(config)
    if len(jobs) == 1:
        return [JobOutcome.complete(jobs[0].name, jobs[0].out, run(jobs[0]))]
    outcomes: list[JobOutcome] = []
    for job in jobs:
        if not config.overwrite and holds_finished(job.out):
            outcomes.append(JobOutcome.kept(job.name, job.out))
        else:
            try:
                outcomes.append(JobOutcome.complete(job.name, job.out, run(job)))
            except (AuthError, ModelError):
                raise
            except SluiceError as err:
                tell(f"{job.name}: {err}")
                outcomes.append(JobOutcome.failed(job.name, job.out, err))
        write_overview(outcomes, config.out)
    return outcomes
