"""From what one run detected to what is known of each site: linked, judged, and told once.

All that is said of a site follows from its looks (one row for each site and run) and the
registered layers. So a run that lands again, or in the place of another, takes its looks away
and gives its own, and the rest is worked out anew; what people said is never touched.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import geopandas as gpd
import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from sluice.app.following.cover_of_runs import cover_of_run
from sluice.app.following.layers import describe_with_store
from sluice.base.errors import ConfigError
from sluice.base.periods import Period
from sluice.base.places import (
    Alert,
    Area,
    LandedRun,
    Level,
    Site,
    SitePeriod,
    Status,
    Verdict,
    columns_of,
)
from sluice.base.records import Record
from sluice.base.store import Landing, SiteQuery, Store
from sluice.sites.alert_growth import AlertRule
from sluice.sites.alerts import raise_alerts
from sluice.sites.area import geodesic_areas_ha
from sluice.sites.context import as_records
from sluice.sites.evidence import EvidenceRule, posteriors
from sluice.sites.history import HistoryRule, first_and_last, site_periods
from sluice.sites.linking import LinkRule, Links, follow_merges, link
from sluice.sites.looks import look_at_sites, merge_looks
from sluice.sites.priority import PriorityRule, priorities
from sluice.sites.site_ground import ground_of_sites, union_by_site

LANDED = "landed"
"""Beside a scan's figures: what came of its landing."""
_NAME = re.compile(r"[\w][\w .\-]{0,99}")
_LONLAT = "EPSG:4326"
_KEYS = ["site_id", "start", "end"]
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
    "legality",
    "legality_why",
    "context",
    "priority",
    "priority_parts",
    "current",
]
"""Columns of `Site` that are worked out anew."""


@dataclass(frozen=True)
class Rules:
    """How detections become sites, statuses, alerts and priorities."""

    link: LinkRule = field(default_factory=LinkRule)
    history: HistoryRule = field(default_factory=HistoryRule)
    evidence: EvidenceRule = field(default_factory=EvidenceRule)
    alerts: AlertRule = field(default_factory=AlertRule)
    priority: PriorityRule = field(default_factory=PriorityRule)


@dataclass(frozen=True)
class Arrival:
    """What one run found, ready to land."""

    run: LandedRun
    detections: gpd.GeoDataFrame
    """Columns of `Detection`, and `area_low_ha`, `area_high_ha`; in EPSG:4326."""
    evidence_map: bytes | None = None
    """See `sluice.sites.evidence_map`; None where there was no map."""
    looked_everywhere: bool = False
    """Without a map: a place without a detection was seen to have none."""


class Landed(Record):
    """What came of it."""

    run_id: str
    area: str
    period: str
    replaced: str | None = None
    """The run whose place it took."""
    detections: int = 0
    outside: int = 0
    """Detections that were left out, as they do not meet the area."""
    sites: int
    """Of the area, now."""
    before: bool = False
    """The run had landed already, and nothing was done."""
    new_sites: int = 0
    merged_sites: int = 0
    statuses: dict[str, int]
    """Sites by what they did in this period."""
    alerts: dict[str, int]
    """Alerts raised or changed by this run, by level."""

    @property
    def text(self) -> str:
        """In words."""
        if self.before:
            return f"Run {self.run_id} had landed in area {self.area} already, {self.period}."
        told = ", ".join(
            f"{count:,} {name.replace('_', ' ')}" for name, count in self.statuses.items() if count
        )
        lines = [
            f"Landed in area {self.area}, {self.period}: {self.detections:,} detections, "
            f"{self.sites:,} sites in all, {self.new_sites:,} of them not known before."
        ]
        if self.outside:
            lines.append(f"{self.outside:,} detections outside of the area were left out.")
        if self.replaced is not None:
            lines.append(f"It takes the place of run {self.replaced}.")
        if told:
            lines.append(f"In this period: {told}.")
        if self.merged_sites:
            lines.append(f"{self.merged_sites:,} sites have grown together with others.")
        news = ", ".join(f"{count:,} {level}" for level, count in self.alerts.items() if count)
        lines.append(f"Alerts: {news or 'no news'}.")
        return "\n".join(lines)


def add_named_area(store: Store, name: str, geometry: BaseGeometry) -> None:
    """Add an area to follow.

    Raises:
        ConfigError: The name cannot be one, or is another area's.
    """
    if _NAME.fullmatch(name) is None or name != name.strip(" ."):
        raise ConfigError(
            f"area name {name!r}: use letters, digits, spaces, dots and hyphens, 100 at most"
        )
    store.add_area(Area(name=name, created=dt.datetime.now(dt.UTC)), geometry)


def areas_with_figures(store: Store) -> list[dict[str, Any]]:
    """Each area with its size, runs and sites."""
    areas = store.areas()
    rows = []
    sizes = geodesic_areas_ha(list(areas.geometry), _LONLAT)
    for name, hectares in zip(areas["name"], sizes, strict=True):
        runs = store.runs(name)
        rows.append(
            {
                "area": name,
                "hectares": f"{hectares:,.0f}",
                "runs": len(runs),
                "first": min((run.start for run in runs), default=""),
                "last": max((run.end for run in runs), default=""),
                "sites": store.count_sites(SiteQuery(area=name)),
                "alerts": len(store.alerts(SiteQuery(area=name))),
            }
        )
    return rows


def land(store: Store, arrival: Arrival, rules: Rules | None = None) -> Landed:
    """Land a run in its area: whole, or not at all.

    Args:
        store: Where the area is.
        arrival: The run and what it found.
        rules: The usual ones if None.

    Raises:
        ConfigError: There is no such area.
        StoreError: It could not be written; nothing was.
    """
    rules = rules or Rules()
    with store.landing(arrival.run.area) as landing:
        return _Landing(landing, arrival, rules, store).land()


class _Landing:
    """One run on its way into its area."""

    def __init__(
        self,
        landing: Landing,
        arrival: Arrival,
        rules: Rules,
        store: Store,
    ) -> None:
        self.landing = landing
        self.arrival = arrival
        self.run = arrival.run
        self.rules = rules
        self.store = store

    def land(self) -> Landed:
        """Put everything into the open transaction."""
        replaced, withdrawn = self._withdraw()
        self.landing.put_run(self.run, self.arrival.evidence_map)
        known = self.landing.sites()
        looks = self.landing.looks()
        before = self.landing.alerts()
        # What a site saw before it was merged went to the one that goes on.
        looks = looks[~looks["site_id"].isin(known.loc[known["merged_into"].notna(), "site_id"])]
        links = self._own_names(link(self.arrival.detections, known, self.rules.link))
        found = self.arrival.detections.assign(
            run_id=self.run.run_id, site_id=links.site_ids.to_numpy()
        )
        self.landing.put_detections(found)
        self._move_merged(links)
        outlined = ground_of_sites(known, found, links, withdrawn)
        outlined["area"] = self.run.area
        looks = self._look(outlined, looks, found, links)
        sites, periods, alerts = self._judge(outlined, looks)
        ids = list(sites["site_id"])
        self.landing.put_sites(sites)
        self.landing.put_looks(looks)
        self.landing.put_periods(ids, periods)
        self.landing.put_alerts(ids, alerts)
        told = before.set_index("alert_id")["level"].to_dict()
        news = [
            str(level)
            for alert_id, level in zip(alerts["alert_id"], alerts["level"], strict=True)
            if told.get(alert_id) != level
        ]
        return _told(self.run, sites, periods, news).model_copy(
            update={
                "replaced": _other_run(replaced, self.run),
                "detections": len(self.arrival.detections),
                "new_sites": len(links.new),
                "merged_sites": len(links.merged),
            }
        )

    def _verdicts(self, sites: gpd.GeoDataFrame) -> dict[str, Verdict]:
        """The last verdict on each site, those on sites that were merged into it among them."""
        heirs = follow_merges(sites)
        said = {}
        for review in self.store.reviews():
            said[str(heirs.get(review.site_id, review.site_id))] = review.verdict
        return said

    def _withdraw(self) -> tuple[LandedRun | None, pd.Series]:
        """The run that this one replaces, and what remains of the sites where that one saw some.

        The second by site: the union of the other runs' detections, empty where there are none.
        """
        replaced = next((run for run in self.landing.runs() if _same_slot(run, self.run)), None)
        if replaced is None:
            return None, pd.Series(dtype=object)
        detections = self.landing.detections()
        its_own = (detections["run_id"] == replaced.run_id).to_numpy()
        touched = detections.loc[its_own, "site_id"].unique()
        others = detections[~its_own & detections["site_id"].isin(touched).to_numpy()]
        left = union_by_site(others["site_id"], others.geometry).to_dict()
        remains = {name: left.get(name, shapely.MultiPolygon()) for name in touched}
        return replaced, pd.Series(remains, dtype=object)

    def _own_names(self, links: Links) -> Links:
        """Links whose new sites have names that no site of another area has."""
        taken = set(
            self.store.sites(SiteQuery(site_ids=tuple(links.new), with_past=True))["site_id"]
        )
        if not taken:
            return links
        names = {name: _free_name(self.store, name) for name in sorted(taken)}
        return replace(
            links,
            site_ids=links.site_ids.replace(names),
            new=sorted(names.get(name, name) for name in links.new),
            merged=links.merged.replace(names),
        )

    def _move_merged(self, links: Links) -> None:
        """Give the detections of sites that were merged to those that go on."""
        if links.merged.empty:
            return
        detections = self.landing.detections()
        moved = detections[detections["site_id"].isin(links.merged.index)]
        self.landing.put_detections(moved.assign(site_id=moved["site_id"].map(links.merged)))

    def _look(
        self,
        sites: gpd.GeoDataFrame,
        looks: pd.DataFrame,
        found: gpd.GeoDataFrame,
        links: Links,
    ) -> pd.DataFrame:
        """The looks of this run at every site, and of earlier ones at the sites that are new."""
        own = sites[sites["merged_into"].isna()]
        looks = merge_looks(looks[looks["run_id"] != self.run.run_id], links.merged)
        parts = [
            looks,
            look_at_sites(
                self.run,
                self.arrival.evidence_map,
                own,
                found,
                everywhere=self.arrival.looked_everywhere,
            ),
        ]
        fresh = own[own["site_id"].isin(links.new)]
        if len(fresh):
            parts += [
                look_at_sites(
                    run,
                    self.landing.evidence_map(run.run_id),
                    fresh,
                    found.iloc[:0],
                    everywhere=bool(run.record.get("looked_everywhere")),
                )
                for run in self.landing.runs()
                if run.run_id != self.run.run_id
            ]
        parts = [part for part in parts if len(part)]
        told = pd.concat(parts, ignore_index=True) if parts else looks
        changed = {*found["site_id"], *links.merged}
        return self._with_cover(told, own, changed)

    def _with_cover(
        self, looks: pd.DataFrame, sites: gpd.GeoDataFrame, changed: Collection[str]
    ) -> pd.DataFrame:
        """Looks with what covers the sites: in this run all, in others those that changed.

        So the cover of a site is always that of the same ground.
        """
        if looks.empty:
            return looks
        for run in self.landing.runs():
            wanted = sites
            if run.run_id != self.run.run_id:
                wanted = sites[sites["site_id"].isin(changed)]
            cover = cover_of_run(run, wanted)
            if cover is not None:
                rows = (looks["run_id"] == run.run_id) & looks["site_id"].isin(cover.index)
                told = cover.loc[looks.loc[rows, "site_id"]].to_numpy()
                looks.loc[rows, list(cover.columns)] = told
        return looks

    def _states(self, looks: pd.DataFrame, periods: pd.DataFrame) -> pd.DataFrame:
        """What is said of each site now, and `growth_ha`: hectares added within the last year."""
        rows = periods.sort_values(["site_id", "end", "start"])
        detected = rows[rows["detected"]]
        # Whole rows: `last` would fill what is absent from earlier ones.
        last = detected.groupby("site_id").tail(1).set_index("site_id")
        seen = rows[rows["observed"]].groupby("site_id").tail(1).set_index("site_id")
        now = rows.groupby("site_id").tail(1).set_index("site_id")
        states = first_and_last(looks, self.rules.history).join(
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
        apart = detected["site_id"].map(last["end"]) - detected["end"]
        year = detected[[gap <= dt.timedelta(days=366) for gap in apart]]
        before = year.groupby("site_id").head(1).set_index("site_id")
        states["growth_ha"] = last["area_ha"] - before["area_ha"]
        return states.reset_index()

    def _judge(
        self, sites: gpd.GeoDataFrame, looks: pd.DataFrame
    ) -> tuple[gpd.GeoDataFrame, pd.DataFrame, pd.DataFrame]:
        """Sites with all that is said of them, their periods and their alerts."""
        rules = self.rules
        sure = posteriors(looks, rules.evidence)
        periods = site_periods(looks, rules.history)
        if periods.empty:
            past = sites.assign(current=False)[[*columns_of(Site), "geometry"]]
            return past, periods, pd.DataFrame(columns=columns_of(Alert))
        periods = _with_posteriors(periods, sure)
        live = sites[sites["site_id"].isin(periods["site_id"])]
        live = live.drop(columns=_JUDGED).merge(self._states(looks, periods), on="site_id")
        latest = max(self.landing.runs(), key=lambda run: (run.end, run.start))
        # As of the latest period, whichever lands last.
        around = describe_with_store(self.store, live, Period(latest.start, latest.end))
        said = around[["legality", "legality_why"]]
        around = around.drop(columns=said.columns)
        live = live.join(said).assign(context=as_records(around), current=True)
        live = live.join(priorities(live.join(around), rules.priority))
        alerts = raise_alerts(
            periods,
            sure,
            live,
            evidence=rules.evidence,
            rule=rules.alerts,
            verdicts=self._verdicts(sites),
        )
        past = sites[~sites["site_id"].isin(live["site_id"])].assign(current=False)
        columns = [*columns_of(Site), "geometry"]
        parts = [part[columns] for part in (live, past) if len(part)]
        told = pd.concat(parts, ignore_index=True) if parts else sites[columns]
        return told, periods[columns_of(SitePeriod)], alerts


def _with_posteriors(periods: pd.DataFrame, sure: pd.DataFrame) -> pd.DataFrame:
    """Periods with what the evidence says; where nothing was looked at, what it said before."""
    bare = periods.drop(columns=["posterior", "level", "sensors"])
    told = bare.merge(sure[[*_KEYS, "posterior", "level", "sensors"]], on=_KEYS, how="left")
    told["posterior"] = told.groupby("site_id")["posterior"].ffill()
    told["sensors"] = told["sensors"].fillna("")
    told["level"] = told["level"].where(told["level"].notna(), None)
    return told


def _told(
    run: LandedRun, sites: gpd.GeoDataFrame, periods: pd.DataFrame, news: Sequence[str]
) -> Landed:
    """What a landing came to, but for what only it knows."""
    here = periods[(periods["start"] == run.start) & (periods["end"] == run.end)]
    statuses = here["status"].value_counts()
    return Landed(
        run_id=run.run_id,
        area=run.area,
        period=Period(run.start, run.end).name,
        sites=int(sites["current"].sum()),
        statuses={status.value: int(statuses.get(status.value, 0)) for status in Status},
        alerts={level.value: news.count(level.value) for level in Level},
    )


def _other_run(replaced: LandedRun | None, run: LandedRun) -> str | None:
    """The id of the run that was replaced; None where the same one landed again."""
    return replaced.run_id if replaced is not None and replaced.run_id != run.run_id else None


def _same_slot(one: LandedRun, other: LandedRun) -> bool:
    """Whether one takes the other's place."""
    return (one.part, one.start, one.end, one.sensor) == (
        other.part,
        other.start,
        other.end,
        other.sensor,
    )


def landed_before(store: Store, run: LandedRun) -> Landed:
    """What a run that is in the store already came to."""
    sites = store.sites(SiteQuery(area=run.area))
    told = _told(run, sites, store.periods(list(sites["site_id"])), [])
    return told.model_copy(update={"before": True})


def _free_name(store: Store, name: str) -> str:
    """`s-6yb57bewn-2`: a name that no site has, where areas overlap."""
    number = 2
    while len(store.sites(SiteQuery(site_ids=(f"{name}-{number}",), with_past=True))):
        number += 1
    return f"{name}-{number}"
