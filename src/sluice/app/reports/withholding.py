"""Reports without the exact place: what `sluice.sites.redaction` lets out, and nothing else."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import geopandas as gpd
import pandas as pd
from shapely.geometry.base import BaseGeometry

from sluice.app.reports.site_evidence import (
    AreaEvidence,
    RunUsed,
    SiteEvidence,
    Withheld,
    plain,
)
from sluice.base.errors import ConfigError
from sluice.base.places import Legality, Site, Status
from sluice.sites.evidence import EvidenceRule
from sluice.sites.redaction import Redaction, may_name_area, redact, redact_periods

_NOTHING: dict[str, Any] = {
    "status": Status.NOT_OBSERVED,
    "status_rule": "",
    "posterior": 0.0,
    "level": None,
    "area_ha": None,
    "area_low_ha": None,
    "area_high_ha": None,
    "cumulative_ha": 0.0,
    "legality": Legality.UNKNOWN,
    "legality_why": "",
    "context": {},
    "priority": 0.0,
    "priority_parts": {},
}
"""For fields that are not told; what tells a report not to show them is `withheld`."""


def withhold_site(
    evidence: SiteEvidence,
    site: gpd.GeoDataFrame,
    area: BaseGeometry,
    rule: Redaction,
    today: dt.date,
) -> SiteEvidence:
    """A site's evidence without what would give the place away.

    Pictures, outline, looks, alerts, reviews and images are left out: each shows the place, or the
    pattern of clouds over it. A site that the rule does not take for sensitive stays as it was.
    The area is named only where it is much larger than a cell, see `may_name_area`.

    Args:
        evidence: Of the site.
        site: Its row as the store gives it.
        area: That the site is of.
        rule: What is hidden.
        today: The day from which a delay counts.

    Raises:
        ConfigError: The site is held back altogether.
    """
    told = redact(site, rule, today, periods=evidence.periods)
    if not len(told):
        raise ConfigError(
            f"{evidence.name}: is held back, as it was first detected after "
            f"{rule.newest(today)}; report it later, or with a shorter delay"
        )
    row = told.iloc[0]
    if not row["redacted"]:
        return evidence
    names = tuple(name for name in Site.model_fields if name in told.columns)
    values = {name: plain(row[name]) for name in names}
    known = {name: value for name, value in values.items() if value is not None}
    name = evidence.site.area if may_name_area(area, told, rule) else ""
    hidden = {"area": name, "last_observed": values["last_seen"], **_NOTHING}
    periods = redact_periods(evidence.periods, rule, today, sites=site)
    return replace(
        evidence,
        site=Site(**(hidden | known)),
        outline=None,
        periods=periods,
        looks=evidence.looks.iloc[:0],
        alerts=evidence.alerts.iloc[:0],
        reviews=(),
        runs=_runs(evidence.runs, name, rule, today),
        verdict=plain(row.get("verdict")),
        as_of=_as_of(evidence.as_of, rule, today),
        before=None,
        after=None,
        withheld=Withheld(rule.grid_m, (*names, "area") if name else names),
    )


def withhold_area(
    evidence: AreaEvidence, periods: pd.DataFrame, rule: Redaction, today: dt.date
) -> AreaEvidence:
    """An area's evidence without exact places; see `withhold_site`.

    The sum over time is left out too: of few sites it tells each. So is the name of the area where
    it would tell more than the cells.

    Args:
        evidence: Of the area.
        periods: Of all its sites.
        rule: What is hidden.
        today: The day from which a delay counts.
    """
    sites = redact(evidence.sites, rule, today, periods=periods)
    named = evidence.geometry is not None and may_name_area(evidence.geometry, sites, rule)
    name = evidence.area if named else ""
    return replace(
        evidence,
        area=name,
        geometry=None,
        sites=sites,
        by_period=evidence.by_period.iloc[:0],
        runs=_runs(evidence.runs, name, rule, today),
        as_of=_as_of(evidence.as_of, rule, today),
        withheld=Withheld(rule.grid_m, tuple(sites.columns)),
    )


def _runs(
    runs: Iterable[RunUsed], area: str, rule: Redaction, today: dt.date
) -> tuple[RunUsed, ...]:
    """Runs that may be known, without their images and files."""
    told = []
    for used in runs:
        if rule.delayed and used.run.end > rule.newest(today):
            continue
        hidden: dict[str, Any] = {
            "area": area,
            "part": "",
            "folder": None,
            "record": {"sluice_version": used.version},
        }
        if used.run.sensor in EvidenceRule().unknown_sensors and used.run.folder is None:
            # The name and hash of a file that others gave find it again, and the places in it.
            hidden |= {"run_id": used.run.sensor, "model": "", "model_sha256": None}
        told.append(RunUsed(used.run.model_copy(update=hidden)))
    return tuple(told)


def _as_of(as_of: dt.datetime, rule: Redaction, today: dt.date) -> dt.datetime:
    if not rule.delayed:
        return as_of
    return min(as_of, dt.datetime.combine(rule.newest(today), dt.time.min, dt.UTC))
