"""Detections of five quarters linked to the sites of a continent, against the plain way."""

from __future__ import annotations

import time

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from proof.store_rows import make_rows

from bench.table import Row
from sluice.base.places import Site, columns_of
from sluice.sites.linking import LinkRule, link
from sluice.sites.site_ground import ground_of_sites

_AREA = "everywhere"
_STRAY_DEG = 0.0006
"""How far a detection lies from the last one of its place, at most: about 65 m."""
_EQUAL_AREA = "EPSG:6933"


def measure_linking(*, sites: int, quarters: int) -> list[Row]:
    """Link quarter after quarter, and the last of them by buffers and joins too."""
    rule = LinkRule()
    known = gpd.GeoDataFrame(
        {name: pd.Series(dtype=object) for name in columns_of(Site)}, geometry=[], crs="EPSG:4326"
    )
    took_s = []
    for number in range(quarters):
        found = _detections(number, sites)
        before = known
        began = time.perf_counter()
        links = link(found, known, rule)
        known = ground_of_sites(
            known,
            found.assign(site_id=links.site_ids.to_numpy()),
            links,
            pd.Series(dtype=object),
        )
        took_s.append(time.perf_counter() - began)
        known["current"] = known["merged_into"].isna()
        known["first_seen"] = known["first_seen"].where(known["first_seen"].notna(), number)
    began = time.perf_counter()
    joined = _plain(found, before[before["current"].astype(bool)], rule.reach_m)
    plain_s = time.perf_counter() - began
    own = int(known["merged_into"].isna().sum())
    return [
        Row(
            f"linking {sites * quarters:,} detections of {quarters} quarters",
            f"{sum(took_s):.0f} s",
            "60 s",
            f"to {own:,} sites, outlines joined; the last quarter {took_s[-1]:.1f} s",
        ),
        Row(
            f"linking a quarter of {sites:,} detections, against geopandas",
            f"{plain_s / took_s[-1]:.1f}x",
            "",
            f"buffers, one union and a spatial join: {plain_s:.1f} s, {joined:,} places, "
            "no ids kept, no merges told, distances true at 30 degrees of latitude alone",
        ),
    ]


def _detections(number: int, sites: int) -> gpd.GeoDataFrame:
    found = make_rows(_AREA, number, sites).detections.drop(columns="site_id")
    stray = np.random.default_rng([number, 7]).uniform(-_STRAY_DEG, _STRAY_DEG, (sites, 2))
    moved = shapely.box(*(shapely.bounds(found.geometry.to_numpy()) + np.tile(stray, 2)).T)
    return found.set_geometry(gpd.GeoSeries(moved, index=found.index, crs="EPSG:4326"))


def _plain(found: gpd.GeoDataFrame, sites: gpd.GeoDataFrame, reach_m: float) -> int:
    """As a notebook does it: grown by half the reach, what overlaps is one place."""
    both = pd.concat([found.geometry, sites.geometry], ignore_index=True)
    grown = gpd.GeoSeries(both, crs="EPSG:4326").to_crs(_EQUAL_AREA).buffer(reach_m / 2)
    places = gpd.GeoDataFrame(geometry=[grown.union_all()], crs=_EQUAL_AREA).explode()
    shapes = gpd.GeoDataFrame(geometry=grown, crs=_EQUAL_AREA)
    joined = shapes.sjoin(places.reset_index(drop=True), predicate="intersects")
    return int(joined["index_right"].nunique())
