"""One command, several results: one for each area, part of an area and period."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shapely.geometry.base import BaseGeometry

from sluice.app.area import NamedArea, read_areas
from sluice.app.area_parts import map_parts
from sluice.app.config import ResultsConfig
from sluice.app.products.overview import JobOutcome, kept_outcome, write_overview
from sluice.base.errors import AuthError, ConfigError, ModelError, SluiceError
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
    """The period before; None for the first."""


def plan_jobs(
    config: ResultsConfig,
    *,
    comparing: bool = False,
    areas: Sequence[NamedArea] | None = None,
) -> list[Job]:
    """List what a command is to make, areas first, then parts, then periods.

    Args:
        config: Gives areas, periods and the output folder.
        areas: In place of the configuration's, where a store knows them.
        comparing: Each period is compared with the one before; the first is only compared with.

    Raises:
        ConfigError: An area or a date cannot be understood.
        SourceError: An area's file cannot be read.
    """
    # Images named one by one are one period, whatever it is called.
    whole = config.period if config.source is not None else None
    if comparing and config.source is not None:
        _refuse_uneven(config)
    periods: list[Period | None] = [*split_period(whole, config.every)] if whole else [None]
    if areas is None and config.area is None:
        return [Job("", config.out, None, "", None)]
    if areas is None:
        areas = read_areas(config.area or "")
    pairs = list(zip([None, *periods], periods, strict=False))
    if comparing and config.source is not None:
        del pairs[0]
    jobs = []
    for area in areas:
        # Images named one by one lie somewhere in the area, which may be a country.
        whole_area = [NamedArea("", area.geometry)]
        for part in map_parts(area.geometry) if config.source is not None else whole_area:
            place = "/".join(filter(None, [area.name, part.name]))
            for before, period in pairs:
                span = period.name if period is not None and len(pairs) > 1 else ""
                name = "/".join(filter(None, [place, span]))
                jobs.append(Job(name, config.out / name, part.geometry, place, period, before))
    return jobs


def _refuse_uneven(config: ResultsConfig) -> None:
    """Refuse what leaves nothing to compare, or a cut period beside a whole one."""
    whole = config.period
    if whole is None:
        return
    periods = list(split_period(whole, config.every))
    if len(periods) < 2:
        raise ConfigError(
            f"each period is to be compared with the one before it, and {whole.name} is one; "
            "give --every, and begin --from one period earlier"
        )
    full = next(split_period(Period(periods[-1].start, dt.date(9999, 1, 1)), config.every))
    if periods[-1].end != full.end or periods[0].start.day != 1:
        raise ConfigError(
            f"periods are to be compared, and {periods[-1].name} is cut short; let --from begin "
            f"and --to end with whole periods of --every {config.every}"
        )


def run_jobs(
    config: ResultsConfig,
    jobs: Sequence[Job],
    run: Callable[[Job], Mapping[str, Any]],
    tell: Callable[[str], None],
    also: Callable[[Job], Mapping[str, Any]] | None = None,
) -> list[JobOutcome]:
    """Make each result of a command, and keep `overview.csv` up to date.

    Of several, one that is finished is kept, and one that fails does not stop the others. What
    concerns them all does: refused credentials, or a model that cannot be used.

    Args:
        config: Of the command.
        jobs: What to make.
        run: Makes one, and gives its figures.
        tell: Told of a result that failed.
        also: Done with each finished result, one that an earlier call finished too; its figures
            are added. Even the only result is then kept where it is finished.

    Raises:
        AuthError, ConfigError, ModelError: Wrong for every result alike.
        SluiceError: The only result could not be made.
    """

    def make(job: Job) -> JobOutcome:
        kept = None
        if (len(jobs) > 1 or also is not None) and not config.overwrite:
            kept = kept_outcome(job.name, job.out, config.request)
        made = kept or JobOutcome.complete(job.name, job.out, run(job))
        if also is None:
            return made
        return made.model_copy(update={"summary": {**made.summary, **also(job)}})

    if len(jobs) == 1:
        return [make(jobs[0])]
    outcomes: list[JobOutcome] = []
    for job in jobs:
        try:
            outcomes.append(make(job))
        except (AuthError, ConfigError, ModelError):
            raise
        except SluiceError as err:
            tell(f"{job.name}: {err}")
            outcomes.append(JobOutcome.failed(job.name, job.out, err))
        write_overview(outcomes, config.out)
    return outcomes
