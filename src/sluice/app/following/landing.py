"""From what one run detected to what is known of each site: linked, judged, and told once.

All that is said of a site follows from its looks (one row for each site and run) and the
registered layers. So a run that lands again, or in the place of another, takes its looks away
and gives its own, and the rest is worked out anew; what people said is never touched.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from sluice.app.area import check_area_size
from sluice.app.following.changes import changed
from sluice.app.following.cover_of_runs import cover_lost, cover_of_run
from sluice.app.following.judging_sites import (
    Rules,
    detection_context,
    judge_sites,
    latest_period,
)
from sluice.app.following.layers import LayersAround
from sluice.base.errors import ConfigError
from sluice.base.periods import Period
from sluice.base.places import Area, LandedRun, Level, Status
from sluice.base.records import Record
from sluice.base.store import NOT_REJECTED, Landing, SiteQuery, Store
from sluice.sites.area import geodesic_areas_ha
from sluice.sites.cover import COLUMNS, LOST_COLUMNS
from sluice.sites.history import first_and_last
from sluice.sites.linking import Links, link
from sluice.sites.looks import compared_runs, look_at_sites, merge_looks
from sluice.sites.site_ground import ground_of_sites, union_by_site

__all__ = [
    "Arrival",
    "Landed",
    "Rules",
    "add_named_area",
    "areas_with_figures",
    "check_area_name",
    "land",
    "landed_before",
    "put_changed_alerts",
]

_NAME = re.compile(r"[\w][\w .\-]{0,99}")
_LONLAT = "EPSG:4326"


@dataclass(frozen=True)
class Arrival:
    """What one run found, ready to land."""

    run: LandedRun
    detections: gpd.GeoDataFrame
    """Columns of `Detection`, and `area_low_ha`, `area_high_ha`; as geometry, in EPSG:4326, the
    ground of each (`sluice.sites.site_ground`)."""
    evidence_map: bytes | None = None
    """See `sluice.sites.evidence_map`; None where there was no map."""
    looked_everywhere: bool = False
    """Without a map: a place without a detection was seen to have none."""
    outline: BaseGeometry | None = None
    """Of an area that the store does not know: it is added with the run, or not at all."""


class Landed(Record):
    """What came of it."""

    run_id: str
    area: str
    period: str
    replaced: str | None = None
    """The run whose place it took."""
    detections: int = 0
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
        DataError: See `check_area_size`.
    """
    check_area_name(name)
    check_area_size(geometry)
    store.add_area(Area(name=name, created=dt.datetime.now(dt.UTC)), geometry)


def check_area_name(name: str) -> None:
    """Refuse what cannot be the name of an area, which is a folder's too.

    Raises:
        ConfigError: It cannot.
    """
    if _NAME.fullmatch(name) is None or name != name.strip(" ."):
        raise ConfigError(
            f"area name {name!r}: use letters, digits, spaces, dots and hyphens, 100 at most"
        )


def areas_with_figures(store: Store) -> list[dict[str, Any]]:
    """Each area with its size and runs, and as many sites and alerts as lists show."""
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
                "sites": store.count_sites(SiteQuery(area=name, verdict=NOT_REJECTED)),
                "alerts": store.count_alerts(SiteQuery(area=name, standing=True)),
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
        ConfigError: There is no such area, and the arrival tells no outline.
        StoreError: It could not be written; nothing was.
    """
    rules = rules or Rules()
    if arrival.outline is not None:
        check_area_name(arrival.run.area)
    with store.landing(arrival.run.area, outline=arrival.outline) as landing:
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
        earlier = self.landing.looks()
        before = self.landing.alerts()
        # What a site saw before it was merged went to the one that goes on.
        merged = known.loc[known["merged_into"].notna(), "site_id"]
        looks = earlier[~earlier["site_id"].isin(merged)]
        links = self._own_names(link(self.arrival.detections, known, self.rules.link))
        found = self.arrival.detections.assign(
            run_id=self.run.run_id, site_id=links.site_ids.to_numpy()
        )
        outlined = ground_of_sites(known, found, links, withdrawn)
        outlined["area"] = self.run.area
        around = LayersAround(self.store, outlined)
        own_period = Period(self.run.start, self.run.end)
        self.landing.put_detections(
            found.assign(context=detection_context(found, own_period, around))
        )
        self._move_merged(links)
        other_ground = {*_of_other_ground(outlined, known), *links.merged}
        looks = self._look(outlined, looks, found, links)
        looks = self._with_cover(looks, outlined[outlined["merged_into"].isna()], other_ground)
        judged = judge_sites(
            outlined,
            looks,
            latest_period(self.landing.runs()),
            around,
            verdicts=self.landing.verdicts(
                outlined.set_index("site_id")["merged_into"].dropna().to_dict()
            ),
            rules=self.rules,
        )
        sites, periods, alerts = judged.sites, judged.periods, judged.alerts
        ids = list(sites["site_id"])
        self.landing.put_sites(sites[changed(sites, known, ["site_id"])])
        self.landing.put_looks(looks[changed(looks, earlier, ["site_id", "run_id"])])
        self.landing.put_periods(ids, periods)
        put_changed_alerts(self.landing, alerts, before)
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
        # As it was before this landing, which leaves the detections of other runs as they are: all
        # of an area's would be many.
        found = self.store.detections(SiteQuery(site_ids=tuple(links.merged.index)))
        others = {run.run_id for run in self.landing.runs()} - {self.run.run_id}
        moved = found[found["run_id"].isin(others)]
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
        return pd.concat(parts, ignore_index=True) if parts else looks

    def _with_cover(
        self, looks: pd.DataFrame, sites: gpd.GeoDataFrame, changed: Collection[str]
    ) -> pd.DataFrame:
        """Looks with what covers the sites: in this run all, in others those of other ground.

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
        return self._with_losses(looks, sites, changed)

    def _with_losses(
        self, looks: pd.DataFrame, sites: gpd.GeoDataFrame, changed: Collection[str]
    ) -> pd.DataFrame:
        """Looks with what was lost, told anew where the two images or the ground are others."""
        if looks[COLUMNS[0]].isna().all():
            return looks
        runs = {run.run_id: run for run in self.landing.runs()}
        began = first_and_last(looks, self.rules.history)["first_seen"]
        pairs = compared_runs(looks, began)
        site, run = looks["site_id"], looks["run_id"]
        is_after = run.eq(site.map(pairs["after"]))
        same = is_after & looks["compared_with"].eq(site.map(pairs["before"]))
        same &= ~site.isin(changed) & run.ne(self.run.run_id)
        same &= looks["compared_with"].ne(self.run.run_id)
        looks.loc[~same, "compared_with"] = None
        looks.loc[~same, list(LOST_COLUMNS)] = np.nan
        told = pairs[pairs.index.isin(site[is_after & ~same])]
        for (before, after), own in told.groupby(["before", "after"]):
            wanted = sites[sites["site_id"].isin(own.index)]
            lost = cover_lost(runs[str(before)], runs[str(after)], wanted)
            if lost is None:
                continue
            # Where too little was seen nothing is told, and it is not asked again.
            rows = (run == after) & site.isin(lost.index)
            looks.loc[rows, list(LOST_COLUMNS)] = lost.loc[site[rows]].to_numpy()
            looks.loc[rows, "compared_with"] = str(before)
        return looks


def _of_other_ground(sites: gpd.GeoDataFrame, known: gpd.GeoDataFrame) -> set[str]:
    """Ids of the sites that are new, or whose outline has changed."""
    before = known.set_index("site_id").geometry.reindex(sites["site_id"]).to_numpy()
    now = sites.geometry.to_numpy()
    same = shapely.equals_exact(now, before, tolerance=0)
    # A union may set another corner on the same edge.
    same[~same] = shapely.equals(now[~same], before[~same])
    return set(sites["site_id"].to_numpy()[~same])


def put_changed_alerts(landing: Landing, alerts: pd.DataFrame, before: pd.DataFrame) -> None:
    """Write the alerts of those sites whose alerts are others than before.

    Args:
        landing: Into which.
        alerts: All of the area, as they are to be.
        before: As they are.
    """
    moved = changed(alerts, before, ["alert_id"])
    gone = ~before["alert_id"].isin(alerts["alert_id"])
    site_ids = sorted({*alerts.loc[moved, "site_id"], *before.loc[gone, "site_id"]})
    landing.put_alerts(site_ids, alerts[alerts["site_id"].isin(site_ids)])


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
