"""A quarter landed in an area that has its history: how long the whole of it takes."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely
from odc.geo import CRS
from odc.geo.geobox import GeoBox

from bench.table import Row
from sluice.app.following.applying import apply_layers
from sluice.app.following.landing import Arrival, add_named_area, land
from sluice.app.following.stores import open_store
from sluice.app.products.coverage import outline_lonlat
from sluice.base.arrays import FloatArray, IntArray
from sluice.base.places import LandedRun, Layer, LayerKind
from sluice.base.store import SiteQuery, Store
from sluice.sites.area import geodesic_areas_ha
from sluice.sites.evidence_map import write_evidence_map
from sluice.sites.vectorise import COLUMN_TYPES, geohash

_AREA = "everywhere"
_CELL_M = 80
_CELLS_APART = 9
"""So that a place stays one: on the mean, each has this many cells to itself, square."""
_CRS = CRS("EPSG:32630")
_WEST_M, _NORTH_M = 600_000, 800_000
_PRIOR = 0.001
_SEEN_SHARE = 0.7
"""Of the places, in each quarter."""


def measure_landings(work: Path, *, sites: int, quarters: int) -> list[Row]:
    """Land quarters, each with most of the places, and tell of the last one."""
    with open_store(str(work / "landings.sqlite"), create=True) as store:
        add_named_area(store, _AREA, outline_lonlat(_grid(sites)))
        _register_layers(store, sites)
        for number in range(quarters):
            arrival = make_arrival(number, sites)
            began, cpu = time.perf_counter(), time.process_time()
            land(store, arrival)
            took_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
        known = store.count_sites(SiteQuery(area=_AREA))
        began = time.perf_counter()
        apply_layers(store, _AREA)
        applied_s = time.perf_counter() - began
    found = len(arrival.detections)
    return [
        Row(
            f"landing of a quarter of {found:,} detections in an area of {known:,} sites",
            f"{took_s:.0f} s",
            "",
            f"the last of {quarters} quarters, with four layers of context; {cpu_s:.0f} s of one "
            "core; SQLite",
        ),
        Row(
            f"layers applied anew to {known:,} sites and the detections of {quarters} quarters",
            f"{applied_s:.0f} s",
            "",
            "`sluice context apply`",
        ),
    ]


def _grid(sites: int) -> GeoBox:
    side_m = _CELL_M * _CELLS_APART * int(np.ceil(np.sqrt(sites)) + 2)
    box = (_WEST_M, _NORTH_M - side_m, _WEST_M + side_m, _NORTH_M)
    return GeoBox.from_bbox(box, _CRS, resolution=_CELL_M)


def make_arrival(number: int, sites: int) -> Arrival:
    """What a quarter's run found: squares of cells at most of the places, with its evidence."""
    grid = _grid(sites)
    draw = np.random.default_rng([number, sites])
    start = dt.date(2020 + number // 4, number % 4 * 3 + 1, 1)
    following = dt.date(2020 + (number + 1) // 4, (number + 1) % 4 * 3 + 1, 1)
    chosen = np.flatnonzero(draw.random(sites) < _SEEN_SHARE)
    across = int(np.ceil(np.sqrt(sites)))
    side = draw.integers(1, 4, len(chosen))
    row = _CELLS_APART * (1 + chosen // across) + draw.integers(0, 2, len(chosen))
    col = _CELLS_APART * (1 + chosen % across) + draw.integers(0, 2, len(chosen))
    likely = draw.uniform(0.05, 0.95, len(chosen))
    chance = np.full(grid.shape.yx, 1e-5, np.float32)
    for down in range(3):
        for right in range(3):
            within = (down < side) & (right < side)
            chance[row[within] + down, col[within] + right] = likely[within]
    a = grid.affine
    west, north = a.c + _CELL_M * col, a.f - _CELL_M * row
    size = _CELL_M * side
    outlines = gpd.GeoSeries(shapely.box(west, north - size, west + size, north), crs=str(_CRS))
    record = {"scenes": [{"id": f"S2-{number}", "href": "x", "acquired": start.isoformat()}]}
    run = LandedRun(
        run_id=f"quarter-{number:03d}",
        area=_AREA,
        start=start,
        end=following - dt.timedelta(days=1),
        sensor="s2-l2a",
        model="toy",
        model_sha256=None,
        prior=_PRIOR,
        landed=dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
        folder=None,
        record=record,
    )
    evidence = write_evidence_map(chance, grid, prior=_PRIOR)
    return Arrival(run, _detections(outlines.to_crs("EPSG:4326"), likely, side), evidence)


def _detections(shapes: gpd.GeoSeries, likely: FloatArray, side: IntArray) -> gpd.GeoDataFrame:
    middle = shapely.centroid(shapes.to_numpy())
    lon, lat = shapely.get_x(middle), shapely.get_y(middle)
    hectares = geodesic_areas_ha(list(shapes), "EPSG:4326")
    columns = {
        "detection_id": [f"d-{geohash(*at)}" for at in zip(lon, lat, strict=True)],
        "lon": lon,
        "lat": lat,
        "score_mean": likely,
        "score_peak": likely,
        "probability_mean": likely,
        "probability_peak": likely,
        "footprint_ha": hectares,
        "delineated_ha": hectares / 2,
        "isolated": False,
        "cells": side**2,
    }
    table = gpd.GeoDataFrame(columns, geometry=shapes.to_numpy(), crs="EPSG:4326")
    table = table.astype(COLUMN_TYPES)
    return table.assign(area_low_ha=hectares * 0.4, area_high_ha=hectares * 0.6)


def _register_layers(store: Store, sites: int) -> None:
    """Rivers, roads, concessions and protected areas, strewn over the area."""
    west, south, east, north = _grid(sites).boundingbox.bbox
    draw = np.random.default_rng(3)

    def lines(count: int) -> list[shapely.Geometry]:
        steps = draw.normal(0, 400, (count, 100, 2)).cumsum(axis=1)
        first = draw.uniform((west, south), (east, north), (count, 2))
        return list(shapely.linestrings(first[:, np.newaxis] + steps))

    def boxes(count: int) -> list[shapely.Geometry]:
        x, y = draw.uniform((west, south), (east, north), (count, 2)).T
        half = draw.uniform(500, 3000, count)
        return list(shapely.box(x - half, y - half, x + half, y + half))

    for name, shapes in {
        "rivers": lines(150),
        "roads": lines(150),
        "concessions": boxes(300),
        "protected": boxes(20),
    }.items():
        places = gpd.GeoSeries(shapes, crs=str(_CRS)).to_crs("EPSG:4326")
        names = [f"{name} {number}" for number in range(len(shapes))]
        table = gpd.GeoDataFrame({"name": names}, geometry=places)
        layer = Layer(
            name=name,
            kind=LayerKind(name),
            source="drawn",
            sha256="0" * 64,
            features=len(table),
            registered=dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
        )
        store.put_layer(layer, table.assign(start=None, end=None, properties=[{}] * len(table)))
