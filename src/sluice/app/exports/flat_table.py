"""Tables of a store with one plain value in each cell, as files can hold them."""

from __future__ import annotations

import datetime as dt
import json
import re
import types
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import shapely

from sluice.base.errors import DataError, GridMismatch
from sluice.base.longitudes import within_180
from sluice.base.places import Alert, Site, SitePeriod
from sluice.base.records import Detection, Record
from sluice.sites.coordinates import degrees_minutes_seconds, mgrs_references
from sluice.sites.redaction import CELL_M, REDACTED

DATE = pd.ArrowDtype(pa.date32())


class Notation(StrEnum):
    """How coordinates are written beside decimal degrees, which are always there."""

    DMS = "dms"
    MGRS = "mgrs"


@dataclass(frozen=True)
class Kind:
    """What a table shows."""

    name: str
    """Of its layer; its title is the text `table.NAME`."""
    record: type[Record]
    key: str
    """Column that names a row."""
    sort: str | None
    """Column whose values are coloured."""


SITES = Kind("sites", Site, "site_id", "status")
ALERTS = Kind("alerts", Alert, "alert_id", "level")
PERIODS = Kind("periods", SitePeriod, "site_id", None)
DETECTIONS = Kind("detections", Detection, "detection_id", None)
KINDS = {kind.name: kind for kind in (SITES, ALERTS, PERIODS, DETECTIONS)}

_EXTRA = {"verdict": "str", "reviewers": "Int64", REDACTED: "bool", CELL_M: "float64"}
_DECIMALS = {"_ha": 4, "lon": 6, "lat": 6, "posterior": 6, "_m": 1}
_PRIORITY_DECIMALS = 2
# What XML 1.0 cannot hold, and what is no character at all.
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_NOT_PLAIN = re.compile(r"[^a-z0-9]+")


def flat_table(
    table: pd.DataFrame, kind: Kind, notations: Sequence[Notation] = tuple(Notation)
) -> pd.DataFrame:
    """Give a table of a store plain columns of known types, the same ones with or without rows.

    Args:
        table: Columns of the kind's record and any others. Dicts are spread over columns
            (`context_river_m`, `priority_growth`), lists joined with semicolons.
        kind: What it shows.
        notations: Columns to add to `lon` and `lat`.

    Returns:
        With `geometry` in EPSG:4326 where there are places: a site's outline, cut at 180 degrees;
        an alert's point.

    Raises:
        DataError: The column that names the rows is missing, or the place.
        GridMismatch: Outlines are not in EPSG:4326.
    """
    placed = kind is not PERIODS
    missing = [c for c in (kind.key, *(("lon", "lat") if placed else ())) if c not in table]
    if missing:
        raise DataError(
            f"the table of {kind.name} lacks the columns {', '.join(missing)}; "
            "give it as the store does"
        )
    known = _known_types(kind.record) | _EXTRA
    geometry = table.geometry.name if isinstance(table, gpd.GeoDataFrame) else "geometry"
    given = [str(name) for name in table.columns]
    table = table.set_axis(given, axis="columns")
    names = [*(name for name in known if name in given), *(c for c in given if c not in known)]
    columns: dict[str, pd.Series] = {}
    for name in names:
        if name == geometry:
            continue
        for part, values in _spread(name, table[name], known.get(name)).items():
            columns[_unused(part, columns)] = values.reset_index(drop=True)
    for notation in notations if placed else ():
        columns[notation.value] = _written(columns["lon"], columns["lat"], notation)
    frame = pd.DataFrame(columns, index=pd.RangeIndex(len(table)))
    return gpd.GeoDataFrame(frame, geometry=_shapes(table, kind), crs=4326) if placed else frame


def _known_types(record: type[Record]) -> dict[str, str]:
    """Type of each field: `date`, `bool`, `float64`, `str`, `dict` or `list`."""
    return {name: _type_name(field.annotation) for name, field in record.model_fields.items()}


def _type_name(annotation: Any) -> str:
    if isinstance(annotation, types.UnionType):
        annotation = next(one for one in typing.get_args(annotation) if one is not types.NoneType)
    origin = typing.get_origin(annotation) or annotation
    plain = {dt.date: "date", bool: "bool", int: "Int64", float: "float64"}
    plain |= {dict: "dict", list: "list"}
    return plain.get(origin, "str")


def _spread(name: str, values: pd.Series, kind: str | None) -> dict[str, pd.Series]:
    """The plain columns of one column."""
    if kind == "dict" or (kind is None and _first(values, dict) is not None):
        return _spread_dicts("priority" if name == "priority_parts" else name, values)
    return {name: _typed(name, values, kind)}


def _spread_dicts(prefix: str, values: pd.Series) -> dict[str, pd.Series]:
    rows = [value if isinstance(value, dict) else {} for value in values]
    spread: dict[str, pd.Series] = {}
    # In the order in which they first come.
    for key in dict.fromkeys(key for row in rows for key in row):
        within = pd.Series([row.get(key) for row in rows], index=values.index, dtype=object)
        name = _NOT_PLAIN.sub("_", str(key).lower()).strip("_") or "unnamed"
        for part, column in _spread(f"{prefix}_{name}", within, None).items():
            spread[_unused(part, spread)] = column
    return spread


def _unused(name: str, taken: Iterable[str]) -> str:
    """The name, with a number where columns would be called alike, in whatever case."""
    lower = {one.lower() for one in taken}
    number = 2
    found = name
    while found.lower() in lower:
        found, number = f"{name}_{number}", number + 1
    return found


def _first(values: pd.Series, kind: type) -> object | None:
    return next((value for value in values if isinstance(value, kind)), None)


def _typed(name: str, values: pd.Series, kind: str | None) -> pd.Series:
    kind = kind or _guess(values)
    if kind == "date":
        days = pd.to_datetime(values).dt.date
        days = days.astype(object).where(days.notna(), None)
        return pd.Series(pa.array(days, pa.date32(), from_pandas=True), dtype=DATE)
    if kind == "bool":
        present = values.notna()
        answers = values.astype(object).where(present, None)
        return answers.astype("bool" if present.all() else "boolean")
    if kind == "Int64":
        return pd.to_numeric(values).astype("Int64")
    if kind == "float64":
        numbers = pd.to_numeric(values).astype("float64")
        decimals = _decimals(name)
        return numbers if decimals is None else numbers.round(decimals)
    texts = values.astype(object)
    return pd.Series([_text(value) for value in texts], index=values.index, dtype="str")


def _guess(values: pd.Series) -> str:
    present = values[values.notna()] if values.dtype == object else values
    found = {type(value) for value in present} if values.dtype == object else {present.dtype.type}
    if found and all(issubclass(one, bool | np.bool_) for one in found):
        return "bool"
    if found and all(issubclass(one, int | np.integer) for one in found):
        return "Int64"
    if found and all(issubclass(one, int | float | np.number) for one in found):
        return "float64"
    if found and found <= {dt.date}:
        return "date"
    return "str"


def _decimals(name: str) -> int | None:
    if name.startswith("priority"):
        return _PRIORITY_DECIMALS
    return next((some for end, some in _DECIMALS.items() if name.endswith(end)), None)


def _text(value: object) -> str | None:
    if isinstance(value, str) and type(value) is str and value.isprintable():
        return value
    if isinstance(value, dict):
        value = json.dumps(value, ensure_ascii=False, default=str)
    elif isinstance(value, list | tuple | set | np.ndarray):
        value = "; ".join(str(part) for part in value)
    elif value is None or value != value:  # noqa: PLR0124 - NaN and NaT
        return None
    return _ILLEGAL.sub("\N{REPLACEMENT CHARACTER}", str(value))


def _written(lon: pd.Series, lat: pd.Series, notation: Notation) -> pd.Series:
    write = degrees_minutes_seconds if notation is Notation.DMS else mgrs_references
    texts = write(lon.to_numpy(dtype=float), lat.to_numpy(dtype=float))
    return pd.Series(texts, dtype="str")


def _shapes(table: pd.DataFrame, kind: Kind) -> np.ndarray[Any, np.dtype[np.object_]]:
    if kind is ALERTS or not isinstance(table, gpd.GeoDataFrame):
        lon, lat = (table[name].to_numpy(dtype=float) for name in ("lon", "lat"))
        points = np.asarray(shapely.points(lon, lat), dtype=object)
        points[np.isnan(lon) | np.isnan(lat)] = None
        return points
    if table.crs is None or not table.crs.equals("EPSG:4326"):
        raise GridMismatch(
            f"{kind.name} must be in EPSG:4326, got {table.crs}; reproject them first"
        )
    shapes: np.ndarray[Any, np.dtype[np.object_]] = shapely.force_2d(table.geometry.to_numpy())
    return within_180(shapes)
