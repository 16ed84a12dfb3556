"""What is said of sites, worked out from their looks and the registered layers.

A landing judges all of a site; `sluice context apply` only what follows from the layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import geopandas as gpd
import pandas as pd

from sluice.app.following.layers import LayersAround
from sluice.base.periods import Period
from sluice.base.places import Alert, LandedRun, Site, SitePeriod, Verdict, columns_of
from sluice.base.sensors import satellites_of
from sluice.sites.alert_growth import AlertRule
from sluice.sites.alerts import raise_alerts
from sluice.sites.context import as_records
from sluice.sites.evidence import EvidenceRule, posteriors
from sluice.sites.growth import growth_within_year
from sluice.sites.history import HistoryRule, first_and_last, site_periods, with_well_seen
from sluice.sites.linking import LinkRule
from sluice.sites.priority import PriorityRule, priorities

SURROUNDINGS = ["legality", "legality_why", "context", "priority", "priority_parts"]
"""Columns of `Site` that follow from the layers."""
_JUDGED = [
    "first_seen",
    "known_before",
    "last_seen",
    "last_observed",
    "status",
    "status_rule",
    "posterior",
    "level",
    "area_ha",
    "area_low_ha",
    "area_high_ha",
    *SURROUNDINGS,
    "current",
]
"""Columns of `Site` that are worked out anew."""
_KEYS = ["site_id", "start", "end"]


@dataclass(frozen=True)
class Rules:
    """How detections become sites, statuses, alerts and priorities."""

    link: LinkRule = field(default_factory=LinkRule)
    history: HistoryRule = field(default_factory=HistoryRule)
    evidence: EvidenceRule = field(default_factory=EvidenceRule)
    alerts: AlertRule = field(default_factory=AlertRule)
    priority: PriorityRule = field(default_factory=PriorityRule)


@dataclass(frozen=True)
class Judged:
    """All that follows from looks and layers."""

    sites: gpd.GeoDataFrame
    """Columns of `Site`, and `geometry`; those without a look that detected them as they were, but
    not current."""
    periods: pd.DataFrame
    alerts: pd.DataFrame


def latest_period(runs: Sequence[LandedRun]) -> Period:
    """The period that sites are judged for: the latest, whichever landed last."""
    latest = max(runs, key=lambda run: (run.end, run.start))
    return Period(latest.start, latest.end)


def judge_sites(
    sites: gpd.GeoDataFrame,
    looks: pd.DataFrame,
    period: Period,
    around: LayersAround,
    *,
    verdicts: Mapping[str, Verdict],
    rules: Rules,
) -> Judged:
    """Judge all sites of an area.

    Args:
        sites: Columns of `Site`, of which only id, area, place, ground and `merged_into` count.
        looks: All at them; those of one satellite's images, however made, are one witness.
        period: See `latest_period`.
        around: The layers.
        verdicts: Last one of each site that has any.
        rules: By which it is judged.

    Raises:
        ConfigError: See `LayersAround.describe`.
    """
    # Here and not in the looks, so that a store that was filled before is judged alike.
    names = {one: satellites_of(one) for one in looks["sensor"].unique()}
    looks = looks.assign(sensor=looks["sensor"].map(names))
    sure = posteriors(looks, rules.evidence)
    periods = site_periods(looks, rules.history)
    if periods.empty:
        past = sites.assign(current=False)[[*columns_of(Site), "geometry"]]
        return Judged(past, periods, pd.DataFrame(columns=columns_of(Alert)))
    periods = with_well_seen(_with_posteriors(periods, sure), looks, rules.history)
    live = sites[sites["site_id"].isin(periods["site_id"])]
    live = live.drop(columns=_JUDGED).merge(_states(looks, periods, period, rules), on="site_id")
    live = with_surroundings(live, period, around, rules).assign(current=True)
    alerts = raise_alerts(
        periods, sure, live, evidence=rules.evidence, rule=rules.alerts, verdicts=verdicts
    )
    past = sites[~sites["site_id"].isin(live["site_id"])].assign(current=False)
    columns = [*columns_of(Site), "geometry"]
    parts = [part[columns] for part in (live, past) if len(part)]
    told = pd.concat(parts, ignore_index=True) if parts else sites[columns]
    return Judged(told, periods[columns_of(SitePeriod)], alerts)


def with_surroundings(
    sites: gpd.GeoDataFrame, period: Period, around: LayersAround, rules: Rules
) -> gpd.GeoDataFrame:
    """Sites with the columns `SURROUNDINGS`.

    Args:
        sites: `posterior`, `growth_ha` and ground; none of these columns.
        period: What "valid" refers to.
        around: The layers.
        rules: Of priority.

    Raises:
        ConfigError: See `LayersAround.describe`.
    """
    found = around.describe(sites, period)
    said = found[["legality", "legality_why"]]
    found = found.drop(columns=said.columns)
    sites = sites.join(said).assign(context=as_records(found))
    return sites.join(priorities(sites.join(found), rules.priority))


def detection_context(
    detections: gpd.GeoDataFrame, period: Period, around: LayersAround
) -> pd.Series:
    """What lies around detections: flags, distances, names, `legality` and `legality_why`.

    Args:
        detections: Of one run.
        period: The run's.
        around: The layers.

    Returns:
        A dict each, on the index of `detections`.

    Raises:
        ConfigError: See `LayersAround.describe`.
    """
    found = around.describe(detections, period)
    records = as_records(found)
    for record, legality, why in zip(
        records, found["legality"].tolist(), found["legality_why"].tolist(), strict=True
    ):
        record["legality"], record["legality_why"] = str(legality), why
    return pd.Series(records, index=detections.index, dtype=object)


def _states(
    looks: pd.DataFrame, periods: pd.DataFrame, latest: Period, rules: Rules
) -> pd.DataFrame:
    """What is said of each site now, and `growth_ha`: hectares added within the last year."""
    rows = periods.sort_values(["site_id", "end", "start"])
    last = rows[rows["detected"]].groupby("site_id").tail(1).set_index("site_id")
    seen = rows[rows["observed"]].groupby("site_id").tail(1).set_index("site_id")
    now = rows.groupby("site_id").tail(1).set_index("site_id")
    states = first_and_last(looks, rules.history).join(
        pd.DataFrame(
            {
                "status": seen["status"],
                "status_rule": seen["status_rule"],
                "posterior": now["posterior"],
                "level": now["level"],
                "area_ha": last["area_ha"],
                "area_low_ha": last["area_low_ha"],
                "area_high_ha": last["area_high_ha"],
            }
        )
    )
    states["growth_ha"] = growth_within_year(periods, latest.end, rules.history.growth)
    return states.reset_index()


def _with_posteriors(periods: pd.DataFrame, sure: pd.DataFrame) -> pd.DataFrame:
    """Periods with what the evidence says; where nothing was looked at, what it said before."""
    bare = periods.drop(columns=["posterior", "level", "sensors"])
    told = bare.merge(sure[[*_KEYS, "posterior", "level", "sensors"]], on=_KEYS, how="left")
    told["posterior"] = told.groupby("site_id")["posterior"].ffill()
    told["sensors"] = told["sensors"].fillna("")
    told["level"] = told["level"].where(told["level"].notna(), None)
    return told
