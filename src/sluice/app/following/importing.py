"""Other people's detections, brought into a store and linked to its sites."""

from __future__ import annotations

import datetime as dt
import hashlib
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from pydantic import BaseModel, ConfigDict, Field

from sluice import __version__
from sluice.app.area import read_area
from sluice.app.following.landing import Arrival, Landed, Rules, add_named_area, land
from sluice.base.arrays import FloatArray
from sluice.base.errors import ConfigError
from sluice.base.files import read_vector, sha256_file
from sluice.base.periods import parse_span
from sluice.base.places import LandedRun
from sluice.base.store import Store
from sluice.sites.area import geodesic_areas_ha
from sluice.sites.discs import disc_shapes
from sluice.sites.vectorise import COLUMN_TYPES, geohash

IMPORTED = "import"
"""`LandedRun.sensor` of what others found: with what is not known."""


class ImportRequest(BaseModel):
    """A file of detections, and what its columns mean."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Path
    first: str
    last: str
    area_name: str | None = None
    """None takes the file's name."""
    area: str | None = None
    """Of the area, where the store does not know it; None takes the box around the detections."""
    probability: float | None = Field(default=None, gt=0, lt=1)
    """Share of the detections that are mines, as far as is known."""
    probability_column: str | None = None
    """Of each detection, in place of `probability`."""
    hectares_column: str | None = None
    """Of points: they become discs of this size."""
    looked_everywhere: bool = False
    """The whole area was looked at, so that no detection means none seen."""
    sensor: str = IMPORTED
    licence: str = ""


def import_file(store: Store, request: ImportRequest, rules: Rules | None = None) -> Landed:
    """Land a file of detections as a run of one period.

    Args:
        store: Where to.
        request: What it is.
        rules: See `land`.

    Raises:
        ItemNotFound, AssetReadError, ConfigError: The file cannot be read, has no geometry, no
            CRS or no such column.
        StoreError: See `land`.
    """
    period = parse_span(request.first, request.last)
    detections = read_detections(request)
    name = request.area_name or request.file.stem
    areas = store.areas()
    if name not in set(areas["name"]):
        outline = (
            read_area(request.area)
            if request.area is not None
            else shapely.box(*detections.total_bounds)
        )
        add_named_area(store, name, outline)
    else:
        outline = areas.loc[areas["name"] == name].geometry.iloc[0]
    inside = shapely.intersects(detections.geometry.to_numpy(), outline)
    if not inside.any():
        raise ConfigError(
            f"{request.file}: none of its {len(detections):,} detections meets area {name}; give "
            "another --area-name"
        )
    sha256 = sha256_file(request.file)
    asked = f"{sha256}-{period.name}-{name}-{request.sensor}"
    run = LandedRun(
        run_id=f"import-{hashlib.sha256(asked.encode()).hexdigest()[:16]}",
        area=name,
        part=request.file.name,
        start=period.start,
        end=period.end,
        sensor=request.sensor,
        model=request.file.name,
        model_sha256=sha256,
        prior=None,
        landed=dt.datetime.now(dt.UTC),
        folder=None,
        record={
            "sluice_version": __version__,
            "command": "import detections",
            "file": request.file.name,
            "sha256": sha256,
            "licence": request.licence,
            "looked_everywhere": request.looked_everywhere,
            "scenes": [],
        },
    )
    kept = detections[inside].reset_index(drop=True)
    arrival = Arrival(run, kept, looked_everywhere=request.looked_everywhere)
    landed = land(store, arrival, rules)
    return landed.model_copy(update={"outside": int((~inside).sum())})


def read_detections(request: ImportRequest) -> gpd.GeoDataFrame:
    """Read detections in anybody's form.

    Polygons are mended where they cross themselves. Points become discs of their hectares, or of
    a hectare where no column tells them.

    Returns:
        Columns of `Detection`, `area_low_ha`, `area_high_ha`, and a multipolygon in EPSG:4326. A
        detection's id is the geohash of a point within it, numbered where several share one.

    Raises:
        ConfigError: No such column, a probability beyond 0 to 1, or neither polygons nor points.
    """
    frame = read_vector(request.file)
    frame = frame[~(frame.geometry.isna() | frame.geometry.is_empty)].reset_index(drop=True)
    probability = _probabilities(frame, request)
    frame = frame.to_crs("EPSG:4326")
    if (
        not np.isfinite(frame.total_bounds).all()
        or (np.abs(frame.total_bounds) > (180.001, 90.001) * 2).any()
    ):
        raise ConfigError(f"{request.file}: its coordinates do not fit its CRS; correct the CRS")
    shapes = _polygons(frame, request)
    known = ~shapely.is_empty(shapes)
    if not known.any():
        raise ConfigError(f"{request.file}: holds neither polygons nor points")
    shapes, probability = shapes[known], probability[known]
    points = shapely.point_on_surface(shapes)
    lon, lat = shapely.get_x(points), shapely.get_y(points)
    columns = {
        "detection_id": _numbered([f"d-{geohash(*p)}" for p in zip(lon, lat, strict=True)]),
        "lon": lon,
        "lat": lat,
        "score_mean": np.nan,
        "score_peak": np.nan,
        "probability_mean": probability,
        "probability_peak": probability,
        "footprint_ha": geodesic_areas_ha(list(shapes), "EPSG:4326"),
        "delineated_ha": np.nan,
        "isolated": False,
        "cells": 0,
    }
    table = gpd.GeoDataFrame(columns, geometry=shapes, crs="EPSG:4326").astype(COLUMN_TYPES)
    return table.assign(area_low_ha=np.nan, area_high_ha=np.nan)


def _probabilities(frame: gpd.GeoDataFrame, request: ImportRequest) -> FloatArray:
    name = request.probability_column
    if name is None:
        return np.full(len(frame), np.nan if request.probability is None else request.probability)
    values: FloatArray = pd.to_numeric(_column(frame, name, request), errors="coerce").to_numpy(
        float
    )
    if ((values < 0) | (values > 1)).any():
        raise ConfigError(
            f"{request.file}: column {name} holds {np.nanmin(values):g} to {np.nanmax(values):g}; "
            "a probability is from 0 to 1"
        )
    return values


def _column(frame: gpd.GeoDataFrame, name: str, request: ImportRequest) -> pd.Series[Any]:
    if name not in frame.columns:
        known = ", ".join(str(column) for column in frame.columns.drop("geometry", errors="ignore"))
        raise ConfigError(f"{request.file}: has no column {name!r}; it has {known or 'none'}")
    column: pd.Series[Any] = frame[name]
    return column


def _polygons(frame: gpd.GeoDataFrame, request: ImportRequest) -> np.ndarray:
    """A valid multipolygon of each row; an empty one where it is neither polygon nor point."""
    kinds = frame.geom_type
    shapes = np.full(len(frame), shapely.MultiPolygon(), dtype=object)
    area = kinds.isin(["Polygon", "MultiPolygon", "GeometryCollection"]).to_numpy()
    mended = shapely.make_valid(frame.geometry.to_numpy()[area])
    shapes[area] = [_only_polygons(shape) for shape in mended]
    point = (kinds == "Point").to_numpy()
    if point.any():
        hectares = np.ones(int(point.sum()))
        if request.hectares_column is not None:
            told = pd.to_numeric(_column(frame, request.hectares_column, request), errors="coerce")
            hectares = told.to_numpy(float)[point]
            hectares = np.where(hectares > 0, hectares, 1.0)
        points = frame.geometry[point]
        discs = disc_shapes(points.x, points.y, hectares)
        shapes[point] = [_only_polygons(shape) for shape in discs]
    return shapes


def _only_polygons(shape: shapely.Geometry) -> shapely.MultiPolygon:
    parts = shapely.get_parts(shapely.get_parts(shape))
    return shapely.MultiPolygon([part for part in parts if part.geom_type == "Polygon"])


def _numbered(ids: list[str]) -> list[str]:
    """Ids made different: the second of a kind ends in `-2`."""
    seen: dict[str, int] = {}
    told = []
    for name in ids:
        seen[name] = seen.get(name, 0) + 1
        told.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return told
