"""The registered layers applied anew to what is in a store."""

from __future__ import annotations

from collections.abc import Iterable

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from sluice.app.following.changes import changed
from sluice.app.following.judging_sites import (
    SURROUNDINGS,
    Rules,
    detection_context,
    latest_period,
    with_surroundings,
)
from sluice.app.following.landing import put_changed_alerts
from sluice.app.following.layers import LayersAround
from sluice.base.periods import Period
from sluice.base.records import Record
from sluice.base.store import Landing, Store
from sluice.sites.context import REACH_M
from sluice.sites.growth import growth_within_year
from sluice.sites.history import with_well_seen
from sluice.sites.zones import widened

_CONTEXT = ["run_id", "detection_id", "context"]


class Applied(Record):
    """What came of it in one area."""

    area: str
    sites: int
    """That were judged."""
    detections: int
    changed_sites: int
    changed_detections: int
    changed_alerts: int
    """By the priority of their sites."""

    @property
    def text(self) -> str:
        """In words."""
        if not self.sites and not self.detections:
            return f"{self.area}: nothing has landed yet."
        return (
            f"{self.area}: {self.sites:,} sites and {self.detections:,} detections judged by the "
            f"layers; {self.changed_sites:,} sites, {self.changed_detections:,} detections and "
            f"{self.changed_alerts:,} alerts are told otherwise now."
        )


def apply_layers(store: Store, area: str, rules: Rules | None = None) -> Applied:
    """Judge what is in an area by the layers as they are now.

    Sites get context, legality and priority, alerts the priority of their sites, detections the
    context of their own periods: what a landing would give them. Nothing else changes.

    Args:
        store: Where the area is.
        area: Its name.
        rules: The usual ones if None.

    Raises:
        ConfigError: There is no such area; the raster of a layer of slopes has changed, or gone.
        StoreError: It could not be written; nothing was.
    """
    rules = rules or Rules()
    with store.landing(area) as landing:
        sites, detections = landing.sites(), landing.detections()
        around = LayersAround(
            store, gpd.GeoDataFrame(geometry=pd.concat([sites.geometry, detections.geometry]))
        )
        told, alerts_changed = _apply_to_sites(store, landing, sites, around, rules)
        found = _apply_to_detections(landing, detections, around)
    return Applied(
        area=area,
        sites=int(sites["current"].sum()),
        detections=len(detections),
        changed_sites=told,
        changed_detections=found,
        changed_alerts=alerts_changed,
    )


def _apply_to_sites(
    store: Store, landing: Landing, sites: gpd.GeoDataFrame, around: LayersAround, rules: Rules
) -> tuple[int, int]:
    """How many sites, and how many alerts, changed."""
    live = sites[sites["current"]].reset_index(drop=True)
    if live.empty:
        return 0, 0
    # A landing in this area would wait, so that what is read beside it is as it will stay.
    periods, latest = store.periods(list(live["site_id"])), latest_period(landing.runs())
    periods = with_well_seen(periods, landing.looks(), rules.history)
    growth = growth_within_year(periods, latest.end, rules.history.growth)
    bare = live.drop(columns=SURROUNDINGS)
    bare["growth_ha"] = bare["site_id"].map(growth)
    told = with_surroundings(bare, latest, around, rules)
    told = told[live.columns]
    moved = changed(told, live, ["site_id"])
    landing.put_sites(told[moved])
    before = landing.alerts()
    by_site = told.set_index("site_id")
    alerts = before.copy()
    known = alerts["site_id"].isin(by_site.index)
    for name in ("priority", "priority_parts"):
        alerts[name] = alerts[name].where(~known, alerts["site_id"].map(by_site[name]))
    put_changed_alerts(landing, alerts, before)
    return int(moved.sum()), int(changed(alerts, before, ["alert_id"]).sum())


def _apply_to_detections(
    landing: Landing, detections: gpd.GeoDataFrame, around: LayersAround
) -> int:
    """How many changed."""
    periods = {run.run_id: Period(run.start, run.end) for run in landing.runs()}
    period = detections["run_id"].map(periods)
    count = 0
    for one, own in detections.groupby(period, sort=True):
        told = own.assign(context=detection_context(own, one, around))
        moved = changed(told[_CONTEXT], own[_CONTEXT], _CONTEXT[:2])
        landing.put_detections(told[moved])
        count += int(moved.sum())
    return count


def areas_near(
    store: Store, features: Iterable[gpd.GeoDataFrame], *, buffer_m: float = 0.0
) -> list[str]:
    """Areas with runs about which features may say something, by name.

    Args:
        store: With its areas.
        features: Of a layer as it is and, where it took the place of one, as it was.
        buffer_m: Of the layer.
    """
    areas = store.areas()
    areas = areas[areas["name"].isin({run.area for run in store.runs()})]
    if areas.empty:
        return []
    boxes = widened(areas.geometry.bounds.to_numpy(), REACH_M + buffer_m)
    around = shapely.box(*boxes.T)
    near = np.zeros(len(areas), np.bool_)
    for table in features:
        if len(table):
            west, south, east, north = table.to_crs("EPSG:4326").total_bounds
            # Beyond 180 degrees the world goes on from -180.
            for turn in (-360, 0, 360):
                box = shapely.box(west + turn, south, east + turn, north)
                near |= shapely.intersects(around, box)
    return sorted(areas["name"][near])
