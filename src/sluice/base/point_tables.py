"""Tables of places: a CSV with columns of longitude and latitude, or with shapes as text (WKT)."""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import shapely

from sluice.base.arrays import FloatArray, ObjectArray
from sluice.base.errors import AssetReadError, ConfigError, DataError, ItemNotFound

SUFFIXES = (".csv", ".tsv")
_LON_NAMES = ("lon", "longitude", "long", "lng", "x", "x_geo", "lon_dd", "decimallongitude")
_LAT_NAMES = ("lat", "latitude", "y", "y_geo", "lat_dd", "decimallatitude")
_SHAPE_NAMES = ("geometry", "wkt", "geom", "the_geom", "wkt_geom")
_SEPARATORS = ",;\t|"
_HEAD = 4096
_DEEPEST = 10
"""Parentheses within one another: a multipolygon in a collection has four."""


def is_table(path: Path | str) -> bool:
    """Whether a file is called as tables are."""
    return Path(path).suffix.lower() in SUFFIXES


def read_point_table(
    path: Path | str,
    *,
    lon: str | None = None,
    lat: str | None = None,
    crs: str = "EPSG:4326",
    strict: bool = True,
) -> gpd.GeoDataFrame:
    """Read a table of places: UTF-8, or else as Windows writes it in Western Europe.

    Columns may be parted by commas, semicolons (then decimals may have commas), tabs or bars.

    Args:
        path: `.csv` or `.tsv`.
        lon: Column of longitudes, or of eastings in `crs`; recognised by its name where None.
        lat: Column of latitudes, or of northings.
        crs: Of the two.
        strict: Refuse coordinates that are no numbers; else they are absent.

    Returns:
        All columns, and a point for each row; None where a coordinate is absent.

    Raises:
        ItemNotFound, AssetReadError: There is no such file, or it is no table.
        ConfigError: A column is missing, or the CRS is not known.
        DataError: A coordinate is no number.
    """
    path, where = Path(path), str(path)
    frame = _read(path)
    x = _numbers(frame, lon or _recognise(frame, _LON_NAMES, "--lon", where), where, strict=strict)
    y = _numbers(frame, lat or _recognise(frame, _LAT_NAMES, "--lat", where), where, strict=strict)
    known = np.isfinite(x) & np.isfinite(y)
    shapes = np.full(len(frame), None, dtype=object)
    shapes[known] = shapely.points(x[known], y[known])
    # A column of this name, as of a text with coordinates, would be taken for the points.
    return _placed(frame.rename(columns={"geometry": "geometry_text"}), shapes, crs)


def read_shape_table(path: Path | str, *, crs: str = "EPSG:4326") -> gpd.GeoDataFrame:
    """Read a table with a column of shapes as well-known text, as QGIS and databases write it.

    Args:
        path: `.csv` or `.tsv`; parted and encoded as for `read_point_table`.
        crs: Of the shapes.

    Returns:
        All other columns, and the shapes; None where the text is absent.

    Raises:
        ItemNotFound, AssetReadError: There is no such file, or it is no table.
        ConfigError: No column is called as one of shapes is, or the CRS is not known.
        DataError: A text is no shape, or nested deeper than shapes are.
    """
    path, where = Path(path), str(path)
    frame = _read(path)
    by_name = {str(name).strip().lower(): name for name in frame.columns}
    name = next((by_name[known] for known in _SHAPE_NAMES if known in by_name), None)
    if name is None:
        raise ConfigError(
            f"{where}: no column is called {' or '.join(_SHAPE_NAMES[:2])}; found: "
            f"{_listed(frame)}. Give the shapes as WKT, or read places as points",
            href=where,
        )
    texts = frame[name].astype("string").str.strip()
    texts = texts.mask(texts == "")
    given = texts.notna().to_numpy()
    _refuse_nested(texts, name, where)
    shapes = np.full(len(frame), None, dtype=object)
    shapes[given] = shapely.from_wkt(texts[given].to_numpy(dtype=object), on_invalid="ignore")
    wrong = given & shapely.is_missing(shapes)
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"{where}: {name} of row {at + 1} is {texts.iloc[at][:40]!r}, which is no WKT such as "
            "POLYGON ((-1.5 6, -1.4 6, -1.4 6.1, -1.5 6)); correct it",
            href=where,
        )
    return _placed(frame.drop(columns=name), shapes, crs)


def _refuse_nested(texts: pd.Series, name: str, where: str) -> None:
    """Refuse what GEOS would read until its stack is full, which ends the program."""
    many = texts.str.count(r"\(").fillna(0) > _DEEPEST
    for at in np.flatnonzero(many):
        marks = np.frombuffer(re.sub(r"[^()]+", "", texts.iloc[at]).encode(), np.uint8)
        depth = np.cumsum(np.where(marks == ord("("), 1, -1))
        if depth.max() > _DEEPEST:
            raise DataError(
                f"{where}: {name} of row {at + 1} is nested {depth.max()} deep, and shapes "
                f"are at the most {_DEEPEST}; correct it",
                href=where,
            )


def _placed(frame: pd.DataFrame, shapes: ObjectArray, crs: str) -> gpd.GeoDataFrame:
    try:
        return gpd.GeoDataFrame(frame, geometry=gpd.GeoSeries(shapes, crs=crs))
    except pyproj.exceptions.CRSError as err:
        raise ConfigError(f"--crs {crs}: is not known; give a code like EPSG:32630") from err


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise ItemNotFound(f"{path}: no such file; check the path", href=str(path))
    try:
        content = path.read_bytes()
        text = _text(content)
        return pd.read_csv(io.StringIO(text), sep=_separator(text), low_memory=False)
    except (ValueError, OSError, csv.Error) as err:
        reason = " ".join(str(err).split())
        raise AssetReadError(f"{path}: not a CSV table ({reason})", href=str(path)) from err


def _text(content: bytes) -> str:
    for encoding in ("utf-8-sig", "cp1252"):
        with contextlib.suppress(UnicodeDecodeError):
            text = content.decode(encoding)
            if "\0" not in text:
                return text
    raise ValueError("its letters are of no encoding that is known; save it as UTF-8")


def _separator(text: str) -> str:
    """What parts the columns: of the usual ones that which stands in the first line most often."""
    head = text[:_HEAD].lstrip().partition("\n")[0]
    return max(_SEPARATORS, key=head.count)


def _recognise(frame: pd.DataFrame, names: Sequence[str], option: str, where: str) -> str:
    """The column of one of some names; by their order, since `x` may be anything beside `lon`."""
    by_name = {str(name).strip().lower(): str(name) for name in frame.columns}
    for name in names:
        if name in by_name:
            return by_name[name]
    raise ConfigError(
        f"{where}: no column is called {names[0]}, {names[1]} or the like; found: "
        f"{_listed(frame)}. Name it with {option}",
        href=where,
    )


def _listed(frame: pd.DataFrame) -> str:
    return ", ".join(map(str, frame.columns)) or "none"


def _numbers(frame: pd.DataFrame, name: str, where: str, *, strict: bool) -> FloatArray:
    if name not in frame:
        raise ConfigError(
            f"{where}: has no column {name!r}; found: {_listed(frame)}. Name one of these",
            href=where,
        )
    values = frame[name]
    if values.dtype == object or isinstance(values.dtype, pd.StringDtype):
        values = values.astype("string").str.strip().str.replace(",", ".", n=1, regex=False)
        values = values.mask(values == "")
    numbers = pd.to_numeric(values, errors="coerce").astype(np.float64)
    wrong = np.asarray(numbers.isna() & values.notna())
    if wrong.any() and strict:
        at = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"{where}: {name} in line {at + 2} is {frame[name].iloc[at]!r}, not a number; "
            "correct it",
            href=where,
        )
    return np.asarray(numbers, np.float64)
