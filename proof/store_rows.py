"""Rows to put into a store, as many as are wanted: places strewn over a box, seen in quarters."""

from __future__ import annotations

import datetime as dt
import itertools
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from sluice.base.places import LandedRun, Level, Status
from sluice.base.store import BBox, Store

BOX: BBox = (-3.5, 4.5, 1.5, 11.5)
"""About Ghana."""
_STATUS = np.array([Status.NEW, Status.GROWING, Status.STEADY, Status.INACTIVE], dtype=object)
_LEVEL = np.array([None, Level.LOW, Level.HIGH, Level.HIGHEST], dtype=object)
_LEGALITY = np.array(["outside", "protected", "in_concession"], dtype=object)
_SIDE_DEG = 0.002


@dataclass(frozen=True)
class LandingRows:
    """All that one landing puts."""

    run: LandedRun
    detections: gpd.GeoDataFrame
    sites: gpd.GeoDataFrame
    looks: pd.DataFrame
    periods: pd.DataFrame
    alerts: pd.DataFrame


@dataclass(frozen=True)
class _Seen:
    """Places, (N,) each."""

    ids: np.ndarray
    lon: np.ndarray
    lat: np.ndarray
    shapes: np.ndarray


def make_rows(area: str, number: int, sites: int, *, box: BBox = BOX) -> LandingRows:
    """What the landing of a quarter puts: one detection and one look at each of its sites.

    Args:
        area: Its name; sites of two areas have different ids.
        number: Of the quarter; places stay, what is seen of them changes.
        sites: How many.
        box: In which they lie.
    """
    places = np.random.default_rng(sum(area.encode()))
    lon = places.uniform(box[0], box[2], sites)
    lat = places.uniform(box[1], box[3], sites)
    run = _run(area, number)
    draw = np.random.default_rng([number, sites])
    ids = np.array([f"s-{area}-{i:07d}" for i in range(sites)], dtype=object)
    half = _SIDE_DEG / 2 * draw.uniform(0.5, 1.5, sites)
    shapes = shapely.box(lon - half, lat - half, lon + half, lat + half)
    hectares = np.round(draw.lognormal(1, 1, sites), 3)
    seen = {"site_id": ids, "start": run.start, "end": run.end}
    sizes = {"area_ha": hectares, "area_low_ha": hectares * 0.8, "area_high_ha": np.nan}
    judged = {
        "status": draw.choice(_STATUS, sites),
        "status_rule": "grew by more than a fifth",
        "posterior": draw.random(sites),
        "level": draw.choice(_LEVEL, sites),
    }
    looks = pd.DataFrame(
        seen | sizes | {"run_id": run.run_id, "sensor": run.sensor, "observed_share": 1.0}
        | {"detected": True, "log_lr": draw.normal(2, 1, sites), "footprint_ha": hectares * 1.5}
        | dict.fromkeys(("forest_ha", "farmland_ha", "water_ha", "bare_ha"), np.nan)
        | {"compared_with": None}
        | dict.fromkeys(("forest_lost_ha", "farmland_lost_ha", "water_lost_ha"), np.nan)
    )  # fmt: skip
    periods = pd.DataFrame(
        seen | sizes | judged | {"observed": True, "detected": True, "sensors": run.sensor}
    )
    strewn = _Seen(ids, lon, lat, shapes)
    return LandingRows(
        run=run,
        detections=_detections(run, strewn, hectares, draw),
        sites=_sites(run, strewn, judged | sizes | {"site_id": ids}, draw),
        looks=looks,
        periods=periods,
        alerts=_alerts(run, strewn, draw),
    )


def _run(area: str, number: int) -> LandedRun:
    month = 3 * number
    start = dt.date(2020 + month // 12, month % 12 + 1, 1)
    end = dt.date(2020 + (month + 3) // 12, (month + 3) % 12 + 1, 1) - dt.timedelta(days=1)
    return LandedRun(
        run_id=f"{area}-{number:03d}",
        area=area,
        start=start,
        end=end,
        sensor="sentinel-2",
        model="toy",
        model_sha256=None,
        prior=0.001,
        landed=dt.datetime(2024, 1, 1, tzinfo=dt.UTC) + dt.timedelta(hours=number),
        folder=None,
        record={"scenes": [{"id": f"S2-{number}", "href": "x", "acquired": start.isoformat()}]},
    )


def _detections(
    run: LandedRun, seen: _Seen, hectares: np.ndarray, draw: np.random.Generator
) -> gpd.GeoDataFrame:
    ids, lon, lat, shapes = seen.ids, seen.lon, seen.lat, seen.shapes
    scores = draw.random(len(ids))
    table = {
        "detection_id": [f"d{i}" for i in range(len(ids))],
        "lon": lon,
        "lat": lat,
        "score_mean": scores,
        "score_peak": np.sqrt(scores),
        "probability_mean": scores / 2,
        "probability_peak": np.nan,
        "footprint_ha": hectares * 1.5,
        "delineated_ha": hectares,
        "isolated": False,
        "cells": draw.integers(1, 20, len(ids)),
        "run_id": run.run_id,
        "site_id": ids,
    }
    return gpd.GeoDataFrame(table, geometry=shapes, crs="EPSG:4326")


def _sites(
    run: LandedRun, seen: _Seen, known: dict[str, object], draw: np.random.Generator
) -> gpd.GeoDataFrame:
    lon, lat, shapes = seen.lon, seen.lat, seen.shapes
    priority = np.round(draw.uniform(0, 100, len(lon)), 1)
    near = draw.integers(10, 9000, len(lon)).tolist()
    table = known | {
        "area": run.area,
        "lon": lon,
        "lat": lat,
        "first_seen": dt.date(2020, 1, 1),
        "known_before": False,
        "last_seen": run.end,
        "last_observed": run.end,
        "cumulative_ha": 3.0,
        "legality": draw.choice(_LEGALITY, len(lon)),
        "legality_why": "in no registered concession",
        "context": [{"river_m": m, "district": "Amansie West", "protected": False} for m in near],
        "priority": priority,
        "priority_parts": [{"probability": p / 2, "growth": p / 2} for p in priority.tolist()],
        "merged_into": None,
        "current": True,
    }
    return gpd.GeoDataFrame(table, geometry=shapes, crs="EPSG:4326")


def _alerts(run: LandedRun, seen: _Seen, draw: np.random.Generator) -> pd.DataFrame:
    """One at every fourth site."""
    lon, lat, told = seen.lon, seen.lat, seen.ids[::4]
    return pd.DataFrame(
        {
            "alert_id": [f"a-{site}" for site in told],
            "site_id": told,
            "area": run.area,
            "kind": "new",
            "start": run.start,
            "end": run.end,
            "raised": run.end,
            "updated": run.end,
            "level": draw.choice(_LEVEL[1:], len(told)),
            "state": "open",
            "posterior": draw.random(len(told)),
            "growth_ha": np.nan,
            "reasons": [["two dates agree"] for _ in told],
            "lon": lon[::4],
            "lat": lat[::4],
            "priority": np.round(draw.uniform(0, 100, len(told)), 1),
            "priority_parts": [{"probability": 1.0} for _ in told],
        }
    )


def land_rows(store: Store, rows: LandingRows, *, steps: int = 1) -> None:
    """Land them, in a transaction of that many steps of each kind."""
    with store.landing(rows.run.area) as landing:
        landing.put_run(rows.run, b"evidence")
        for part in _parts(rows.sites, steps):
            landing.put_sites(part)
        for part in _parts(rows.detections, steps):
            landing.put_detections(part)
        for part in _parts(rows.looks, steps):
            landing.put_looks(part)
        # As recomputing does it: all periods of a site at once.
        known = store.periods(rows.sites["site_id"].tolist())
        periods = pd.concat([known[known["start"] != rows.run.start], rows.periods])
        for part in _parts(rows.sites, steps):
            own = part["site_id"].tolist()
            landing.put_periods(own, periods[periods["site_id"].isin(own)])
            landing.put_alerts(own, rows.alerts[rows.alerts["site_id"].isin(own)])


def _parts(table: pd.DataFrame, steps: int) -> list[pd.DataFrame]:
    edges = np.linspace(0, len(table), steps + 1).astype(int)
    return [table.iloc[a:b] for a, b in itertools.pairwise(edges)]
