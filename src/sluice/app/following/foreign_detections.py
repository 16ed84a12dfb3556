"""Other people's detections, read in whatever form they come; what is left out is counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
from pydantic import BaseModel, ConfigDict, Field, model_validator

from sluice.app.following.ground import GROUND, MADE_BY
from sluice.base.arrays import FloatArray, ObjectArray
from sluice.base.errors import AssetReadError, ConfigError, NoValidData
from sluice.base.files import read_vector
from sluice.base.longitudes import within_180
from sluice.base.periods import Period, calendar_period, day_of, parse_span
from sluice.base.point_tables import is_table, read_point_table
from sluice.base.polygons import mended
from sluice.base.vector_content import KINDS
from sluice.sites.area import geodesic_areas_ha
from sluice.sites.discs import disc_shapes
from sluice.sites.vectorise import COLUMN_TYPES, geohash

USUAL_RADIUS_M = 100 / np.pi**0.5
"""Of a hectare."""
_LARGEST_RADIUS_M = 50_000
"""Far beyond any mine; discs of half the world would have no place."""
_MOST_PERIODS = 240
"""Twenty years of months."""
_SITE_ID = r"s-[0-9b-hjkmnp-z]{8,12}(?:-\d+)?"
_REDACTED = ("redacted", "cell_m")
_SCANNED = {"detection_id", "score_peak", "footprint_ha"}
_OWN = ("geometry", "_period", "_lon", "_lat")
"""Columns that are added to the file's."""
_WORLD = (180.001, 90.001)

BoolArray = npt.NDArray[np.bool_]


class ImportRequest(BaseModel):
    """A file of detections, and what its columns mean."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Path
    first: str | None = None
    """First year, month or day of the images; with a column of dates, of those that are taken."""
    last: str | None = None
    """None takes `first`."""
    date_column: str | None = None
    """Holds the day, month or year of each: they land as one run for each period."""
    every: str = "year"
    """Length of these periods, see `sluice.base.periods.EVERY_MONTHS`."""
    area_name: str | None = None
    """None takes the file's name."""
    area: str | None = None
    """Of the area, where the store does not know it; None takes the box around the detections."""
    layer: str | None = None
    """Of a file with several."""
    lon: str | None = None
    """Column of a table; None takes one of a usual name."""
    lat: str | None = None
    crs: str | None = None
    """Of a table's coordinates; None takes degrees of WGS 84."""
    probability: float | None = Field(default=None, gt=0, lt=1)
    """Share of the detections that are mines, as far as is known."""
    probability_column: str | None = None
    """Of each detection, in place of `probability`."""
    hectares_column: str | None = None
    """Of points: they become discs of this size."""
    radius_m: float | None = Field(default=None, gt=0, le=_LARGEST_RADIUS_M)
    """Of points without hectares: they become discs; None takes that of a hectare."""
    looked_everywhere: bool = False
    """The whole area was looked at, so that no detection means none seen."""
    licence: str = ""

    @model_validator(mode="after")
    def _fits(self) -> ImportRequest:
        if self.first is None and (self.last is not None or self.date_column is None):
            raise ConfigError(
                "when were the images taken? Give --from 2023 --to 2023, or --date-column with the "
                "name of the column that tells it"
            )
        table = is_table(self.file)
        if not table and (self.lon or self.lat or self.crs):
            raise ConfigError("--lon, --lat and --crs are of a table (.csv); this file has shapes")
        if table and self.layer:
            raise ConfigError("--layer is of a file with shapes; a table has none")
        return self

    @property
    def span(self) -> Period | None:
        """The period that is stated."""
        return None if self.first is None else parse_span(self.first, self.last or self.first)


@dataclass(frozen=True)
class ForeignDetections:
    """What a file holds."""

    table: gpd.GeoDataFrame
    """Columns of `Detection`, `area_low_ha`, `area_high_ha`, and a multipolygon in EPSG:4326. An id
    is the geohash of a point within, numbered where several share one."""
    periods: ObjectArray
    """The `Period` of each."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Rows that are not among them, by what is wrong."""
    notes: tuple[str, ...] = ()
    """What was taken for granted."""
    site_ids: tuple[str, ...] = ()
    """Of sites, as Sluice names them, in a file that it exported."""
    scan_ids: tuple[str, ...] = ()
    """Of detections in a file that one of its scans wrote."""


@dataclass
class _Rows:
    """The rows that are left, and what became of the others."""

    frame: gpd.GeoDataFrame
    noun: str
    left_out: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def drop(self, wrong: npt.ArrayLike, reason: str) -> None:
        """Leave rows out."""
        wrong = np.asarray(wrong, dtype=bool)
        if wrong.any():
            self.left_out[reason] = self.left_out.get(reason, 0) + int(wrong.sum())
            self.frame = self.frame[~wrong].reset_index(drop=True)

    def note(self, which: BoolArray, what: str) -> None:
        """Tell that something was taken for granted of some rows."""
        count = int(which.sum())
        if count:
            self.notes.append(f"{count:,} {self.noun}{'' if count == 1 else 's'} {what}")

    @property
    def shapes(self) -> ObjectArray:
        """Their geometries."""
        return np.asarray(self.frame.geometry.to_numpy(), dtype=object)


def read_detections(request: ImportRequest) -> ForeignDetections:
    """Read detections in anybody's form.

    Polygons are mended where they cross themselves, and cut at 180 degrees. Points become discs of
    their hectares, or of the stated radius.

    Raises:
        ItemNotFound, AssetReadError: There is no such file, or none that can be read.
        ConfigError: It has no such column or no CRS, its coordinates do not fit it, it holds
            probabilities beyond 0 to 1, or cells of a redacted export.
        NoValidData: Nothing is left.
    """
    rows = _Rows(_read(request), "row" if is_table(request.file) else "feature")
    if not len(rows.frame):
        raise NoValidData(f"{request.file}: holds no row; give a file with detections")
    site_ids, scan_ids = _made_by_sluice(rows.frame, request)
    _keep_placed(rows, request)
    rows.frame["_period"] = _periods(rows, request)
    rows.frame[["_lon", "_lat"]] = np.nan
    rows.drop(rows.frame["_period"].isna(), _period_reason(request))
    _refuse_none_left(rows, request)
    rows.frame = rows.frame.set_geometry(_outlines(rows, request), crs="EPSG:4326")
    rows.drop(rows.frame.geometry.is_empty, "outlines without an area")
    _refuse_none_left(rows, request)
    return ForeignDetections(
        table=_as_detections(rows, _probabilities(rows, request)),
        periods=rows.frame["_period"].to_numpy(dtype=object),
        left_out=rows.left_out,
        notes=tuple(rows.notes),
        site_ids=site_ids,
        scan_ids=scan_ids,
    )


def _read(request: ImportRequest) -> gpd.GeoDataFrame:
    if is_table(request.file):
        crs = request.crs or "EPSG:4326"
        return read_point_table(
            request.file, lon=request.lon, lat=request.lat, crs=crs, strict=False
        )
    if request.file.suffix.lower() not in (*KINDS, ".parquet", ".geoparquet"):
        raise AssetReadError(
            f"{request.file}: files of this kind are not opened; use GeoPackage, GeoJSON, "
            "Shapefile, FlatGeobuf, KML or GeoParquet, or save a table as CSV"
        )
    frame = read_vector(request.file, layer=request.layer, may_be_empty=True)
    return frame.rename_geometry("geometry") if frame.geometry.name != "geometry" else frame


def _made_by_sluice(
    frame: gpd.GeoDataFrame, request: ImportRequest
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Ids of sites and of a scan's detections in a file that Sluice wrote itself."""
    names = set(map(str, frame.columns))
    if set(_REDACTED) <= names and frame[_REDACTED[1]].notna().any():
        raise ConfigError(
            f"{request.file}: is a redacted export of Sluice: its shapes are cells of a grid, not "
            "places; ask for the exact one"
        )
    if MADE_BY in names and frame[MADE_BY].eq(GROUND).any():
        raise ConfigError(
            f"{request.file}: is what `{GROUND}` wrote: ground of many detections in one, which no "
            "longer tells when they were made; export sites, or land the scans themselves"
        )
    if "site_id" in names:
        ids = frame["site_id"].astype(str)
        return tuple(ids[ids.str.fullmatch(_SITE_ID)].unique()), ()
    if names >= _SCANNED:
        return (), tuple(frame["detection_id"].astype(str).unique())
    return (), ()


def _keep_placed(rows: _Rows, request: ImportRequest) -> None:
    """Leave out what has no place; what remains is in degrees, each point and outline a row."""
    table = is_table(request.file)
    shapes = rows.shapes
    nowhere = shapely.is_missing(shapes) | shapely.is_empty(shapes)
    rows.drop(nowhere, "without coordinates" if table else "without a shape")
    kind = shapely.get_type_id(rows.shapes)
    rows.drop((kind == 1) | (kind == 2) | (kind == 5), "lines")
    several = rows.frame.geom_type == "MultiPoint"
    if several.any():
        rows.frame = rows.frame.explode(ignore_index=True)
    _refuse_none_left(rows, request)
    crs = rows.frame.crs
    if crs.is_projected and (np.abs(rows.frame.total_bounds) <= _WORLD * 2).all():
        raise ConfigError(
            f"{request.file}: its coordinates look like degrees, and its CRS is {crs.name}; "
            f"{'leave --crs out' if table else 'correct the CRS (QGIS: Assign projection)'}"
        )
    rows.frame = rows.frame.set_geometry(shapely.force_2d(rows.shapes), crs=crs)
    rows.frame = rows.frame.to_crs("EPSG:4326")
    rows.frame = rows.frame.set_geometry(within_180(rows.shapes), crs="EPSG:4326")
    bounds = shapely.bounds(rows.shapes)
    outside = ~(np.abs(bounds) <= _WORLD * 2).all(axis=1)
    if outside.all():
        what = "give the right one with --crs" if table else "correct it (QGIS: Assign projection)"
        raise ConfigError(f"{request.file}: its coordinates do not fit its CRS {crs.name}; {what}")
    rows.drop(outside, "outside of the world")
    lost = (np.abs(shapely.bounds(rows.shapes)) < 1e-6).all(axis=1)
    rows.drop(lost, "at 0 degrees north, 0 east, where lost places end up")
    _refuse_none_left(rows, request)


def _period_reason(request: ImportRequest) -> str:
    within = "" if request.span is None else f" from {request.span.start} to {request.span.end}"
    return f"without a date{within} in {request.date_column}"


def _periods(rows: _Rows, request: ImportRequest) -> pd.Series:
    """The period of each row; None where it tells none, or one that is not asked for."""
    span = request.span
    if request.date_column is None:
        return pd.Series([span] * len(rows.frame), dtype=object)
    values = _column(rows.frame, request.date_column, request)
    days = {value: day_of(value, last=False) for value in values.dropna().unique()}
    if not any(days.values()):
        example = f" (first '{next(iter(days))}')" if days else ""
        raise ConfigError(
            f"{request.file}: column {request.date_column} holds no date that can be read{example};"
            " write 2024, 2024-01 or 2024-01-31"
        )
    told = {
        value: calendar_period(day, request.every)
        for value, day in days.items()
        if day is not None and (span is None or day in span)
    }
    periods = pd.Series([told.get(value) for value in values], dtype=object)
    if len(set(told.values())) > _MOST_PERIODS:
        raise ConfigError(
            f"{request.file}: {len(set(told.values())):,} periods are more than {_MOST_PERIODS}; "
            "give a longer --every, or a shorter time with --from and --to"
        )
    return periods


def _outlines(rows: _Rows, request: ImportRequest) -> ObjectArray:
    """A valid multipolygon of each row; an empty one where there is no area."""
    shapes = rows.shapes
    point = shapely.get_type_id(shapes) == 0
    if point.any():
        hectares = _hectares(rows, request)[point]
        shapes = shapes.copy()
        places = shapely.get_coordinates(shapes[point])
        rows.frame.loc[point, ["_lon", "_lat"]] = places
        shapes[point] = disc_shapes(places[:, 0], places[:, 1], hectares).to_numpy()
    return _only_polygons(mended(shapes))


def _hectares(rows: _Rows, request: ImportRequest) -> FloatArray:
    """Of each row, where it is a point."""
    radius = request.radius_m or USUAL_RADIUS_M
    usual = np.pi * radius**2 / 10_000
    point = (rows.frame.geom_type == "Point").to_numpy()
    told = np.full(len(point), np.nan)
    if request.hectares_column is not None:
        column = _column(rows.frame, request.hectares_column, request)
        told = pd.to_numeric(column, errors="coerce").to_numpy(float)
    usable = (told > 0) & (told <= np.pi * _LARGEST_RADIUS_M**2 / 10_000)
    disc = f"discs of {usual:,.3g} ha (a radius of {radius:,.0f} m)"
    without = "" if request.hectares_column is None else " without a usable size"
    rows.note(point & ~usable, f"{without} taken as {disc}".strip())
    return np.where(usable, told, usual)


def _only_polygons(shapes: ObjectArray) -> ObjectArray:
    """One multipolygon for each shape, of its polygons; vectorised, as there may be a million."""
    parts, owner = shapely.get_parts(shapes, return_index=True)
    parts, of_part = shapely.get_parts(parts, return_index=True)
    owner = owner[of_part]
    area = (shapely.get_type_id(parts) == 3) & ~shapely.is_empty(parts)
    told = np.full(len(shapes), shapely.MultiPolygon(), dtype=object)
    if area.any():
        shapely.multipolygons(parts[area], indices=owner[area], out=told)
    return told


def _probabilities(rows: _Rows, request: ImportRequest) -> FloatArray:
    name = request.probability_column
    if name is None:
        stated = np.nan if request.probability is None else request.probability
        return np.full(len(rows.frame), stated)
    column = _column(rows.frame, name, request)
    values: FloatArray = pd.to_numeric(column, errors="coerce").to_numpy(float)
    if ((values < 0) | (values > 1)).any():
        raise ConfigError(
            f"{request.file}: column {name} holds {np.nanmin(values):g} to {np.nanmax(values):g}; "
            "a probability is from 0 to 1"
        )
    if np.isnan(values).all():
        raise ConfigError(f"{request.file}: column {name} holds no number; name another column")
    rows.note(np.isnan(values), f"without a probability in {name}: how sure they are is not known")
    return values


def _column(frame: gpd.GeoDataFrame, name: str, request: ImportRequest) -> pd.Series[Any]:
    if name not in frame.columns or name in _OWN:
        known = [str(column) for column in frame.columns if column not in _OWN]
        raise ConfigError(
            f"{request.file}: has no column {name!r}; it has {', '.join(known) or 'none'}"
        )
    column: pd.Series[Any] = frame[name]
    return column


def _refuse_none_left(rows: _Rows, request: ImportRequest) -> None:
    if len(rows.frame):
        return
    why = "; ".join(f"{reason}: {count:,}" for reason, count in rows.left_out.items())
    raise NoValidData(f"{request.file}: nothing in it can be used ({why}); give polygons or points")


def _as_detections(rows: _Rows, probability: FloatArray) -> gpd.GeoDataFrame:
    shapes = rows.shapes
    within = shapely.get_coordinates(shapely.point_on_surface(shapes))
    places = rows.frame[["_lon", "_lat"]].to_numpy(float)
    lon, lat = np.where(np.isnan(places), within, places).T
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


def _numbered(ids: list[str]) -> list[str]:
    """Ids made different: the second of a kind ends in `-2`."""
    seen: dict[str, int] = {}
    told = []
    for name in ids:
        seen[name] = seen.get(name, 0) + 1
        told.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return told
