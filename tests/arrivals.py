"""Runs with known mines, ready to land."""

from __future__ import annotations

import datetime as dt

import geopandas as gpd
import numpy as np
import shapely
from odc.geo import CRS
from odc.geo.geobox import GeoBox

from sluice.app.following.landing import Arrival
from sluice.base.places import LandedRun
from sluice.base.records import Detection
from sluice.sites.area import geodesic_areas_ha
from sluice.sites.evidence_map import write_evidence_map
from sluice.sites.vectorise import COLUMN_TYPES, geohash

# 80 m cells of a scan, 8 km square.
GRID = GeoBox.from_bbox((600_000, 9_280_000, 608_000, 9_288_000), CRS("EPSG:32721"), resolution=80)
PRIOR = 0.001
QUARTERS = [
    (dt.date(2023 + k // 4, k % 4 * 3 + 1, 1), dt.date(2023 + k // 4, k % 4 * 3 + 3, end))
    for k, end in enumerate((31, 30, 30, 31, 31))
]
PIT = (20, 20, 3)
"""A mine of 3 by 3 cells."""


def _cells(row: int, col: int, side: int) -> tuple[slice, slice]:
    return slice(row, row + side), slice(col, col + side)


def arrival_of(
    quarter: int,
    mines: list[tuple[int, int, int]],
    *,
    probability: float = 0.9,
    hidden: list[tuple[int, int, int]] = (),
    sensor: str = "s2-l2a",
    tag: str = "",
    background: float = 1e-5,
) -> Arrival:
    """A run that marked square groups of cells, each (row, column, side)."""
    start, end = QUARTERS[quarter]
    chance = np.full(GRID.shape.yx, background, np.float32)
    shapes = []
    for place in mines:
        chance[_cells(*place)] = probability
        rows, cols = _cells(*place)
        a = GRID.affine
        shapes.append(
            shapely.box(
                a.c + 80 * cols.start,
                a.f - 80 * rows.stop,
                a.c + 80 * cols.stop,
                a.f - 80 * rows.start,
            )
        )
    for place in hidden:
        chance[_cells(*place)] = np.nan
    found = gpd.GeoSeries(shapes, crs="EPSG:32721").to_crs("EPSG:4326")
    middle = shapely.centroid(found.to_numpy())
    columns = {
        "detection_id": [f"d-{geohash(p.x, p.y)}" for p in middle],
        "lon": shapely.get_x(middle),
        "lat": shapely.get_y(middle),
        "score_mean": 0.9,
        "score_peak": 0.9,
        "probability_mean": probability,
        "probability_peak": probability,
        "footprint_ha": geodesic_areas_ha(list(found), "EPSG:4326"),
        "delineated_ha": geodesic_areas_ha(list(found), "EPSG:4326") / 2,
        "isolated": False,
        "cells": [side * side for _, _, side in mines],
    }
    table = gpd.GeoDataFrame(
        {name: columns[name] for name in Detection.model_fields},
        geometry=found.to_numpy(),
        crs="EPSG:4326",
    ).astype(COLUMN_TYPES)
    table = table.assign(
        area_low_ha=table["delineated_ha"] * 0.8, area_high_ha=table["delineated_ha"] * 1.2
    )
    run = LandedRun(
        run_id=f"{sensor}-{start}{tag}",
        area="ours",
        start=start,
        end=end,
        sensor=sensor,
        model="default",
        model_sha256="0" * 64,
        prior=PRIOR,
        landed=dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
        folder=None,
        record={"scenes": []},
    )
    return Arrival(run, table, write_evidence_map(chance, GRID, prior=PRIOR))
