"""Tables of pandas and rows of databases, either way.

What goes in is what both databases take as it is: text, numbers, None; dates as ISO 8601; JSON as
text. What comes out has `datetime.date` for dates, None for absent text, NaN for absent numbers.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from json.scanner import make_scanner
from typing import Any, cast

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
import sqlalchemy as sa
from pyproj import CRS

from sluice.base.errors import DataError
from sluice.base.said import Said, packed, read_said
from sluice.store.columns import BOX, Moment, Shape, moment_text

Values = dict[str, list[Any]]
"""By column, rows in order: what `rows_in` gives and databases take."""
_LONLAT = CRS.from_epsg(4326)
_WHOLE_WORLD = (-180.0, -90.0, 180.0, 90.0)


def rows_in(
    table: sa.Table,
    frame: pd.DataFrame,
    columns: Iterable[str],
    *,
    key: Sequence[str] = (),
    fixed: Mapping[str, Any] | None = None,
) -> Values:
    """Rows to write.

    Args:
        table: Where they belong.
        frame: Has the columns; others are left aside. With `geometry` among them, a GeoDataFrame
            in EPSG:4326, and the columns of the box are worked out.
        columns: To write.
        key: Columns that tell rows apart.
        fixed: Values that all rows share, of other columns.

    Raises:
        DataError: A column is missing, a value is absent where one is needed or of the wrong kind,
            a row is there twice, or a shape is empty or not in degrees.
    """
    names = list(columns)
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise DataError(
            f"{table.name}: the table has no column {', '.join(missing)}; "
            f"it has {', '.join(map(str, frame.columns)) or 'none'}"
        )
    if key and len(frame) and frame.duplicated(list(key)).any():
        twice = frame.loc[frame.duplicated(list(key)), list(key)].iloc[0].tolist()
        raise DataError(
            f"{table.name}: {' '.join(map(str, twice))} is there more than once; give each row once"
        )
    values: Values = {}
    for name in names:
        if name == "geometry":
            values |= _shapes_in(table, frame)
        else:
            values[name] = column_in(table, name, frame[name])
    for name, value in (fixed or {}).items():
        values[name] = [value] * len(frame)
    return values


def column_in(table: sa.Table, name: str, series: pd.Series[Any]) -> list[Any]:
    """One column's values; see `rows_in`.

    Raises:
        DataError: See `rows_in`.
    """
    column = table.c[name]
    absent = series.isna().to_numpy()
    if absent.any() and not column.nullable:
        row = int(np.argmax(absent))
        raise DataError(
            f"{table.name}: {name} is absent in row {row}; it must have a value in every row"
        )
    try:
        values = _CONVERSIONS[type(column.type)](series, absent)
    except (TypeError, ValueError, AttributeError, OverflowError) as err:
        raise DataError(f"{table.name}: {name} does not fit: {err}") from err
    return values


def _text_in(series: pd.Series[Any], absent: np.ndarray) -> list[Any]:
    values = [
        None if gone else _text(value) for value, gone in zip(series.tolist(), absent, strict=True)
    ]
    # Nearly always there is nothing to find, and all at once is told soonest.
    whole = "".join(value for value in values if value is not None)
    if "\x00" not in whole and whole.isascii():
        return values
    for value in values:
        if value is not None and ("\x00" in value or not _is_unicode(value)):
            raise ValueError(f"{value!r} holds characters that no database keeps")
    return values


def _text(value: Any) -> str:
    """As text; sentences of records as tables have them. A StrEnum's text is its value."""
    return packed(read_said(value)) if isinstance(value, tuple) else str(value)


def _is_unicode(text: str) -> bool:
    """Whether there is no half of a surrogate pair in it."""
    return text.isascii() or text.encode("utf-8", "ignore").decode() == text


def _numbers_in(series: pd.Series[Any], absent: np.ndarray) -> list[Any]:
    numbers = series.to_numpy(dtype=float, na_value=np.nan)
    if not absent.any():
        found: list[Any] = numbers.tolist()
        return found
    with_none = numbers.astype(object)
    with_none[absent] = None
    return list(with_none.tolist())


def _whole_numbers_in(series: pd.Series[Any], _absent: np.ndarray) -> list[Any]:
    numbers = series.to_numpy(dtype=float)
    if not np.array_equal(numbers, np.rint(numbers)):
        raise ValueError("holds fractions, where whole numbers belong")
    return list(series.to_numpy(dtype=np.int64).tolist())


def _flags_in(series: pd.Series[Any], _absent: np.ndarray) -> list[Any]:
    return list(series.to_numpy(dtype=bool).tolist())


def _dates_in(series: pd.Series[Any], absent: np.ndarray) -> list[Any]:
    # A timestamp's ISO form begins with its date. Many rows share few days.
    days = series.tolist()
    text = {day: day.isoformat()[:10] for day in {*series[~absent]}}
    return [None if gone else text[day] for day, gone in zip(days, absent, strict=True)]


def _moments_in(series: pd.Series[Any], absent: np.ndarray) -> list[Any]:
    return [
        None if gone else moment_text(value)
        for value, gone in zip(series.tolist(), absent, strict=True)
    ]


def _json_in(series: pd.Series[Any], absent: np.ndarray) -> list[Any]:
    return [
        None if gone else json_text(value)
        for value, gone in zip(series.tolist(), absent, strict=True)
    ]


_CONVERSIONS = {
    sa.Text: _text_in,
    sa.Double: _numbers_in,
    sa.Integer: _whole_numbers_in,
    sa.Boolean: _flags_in,
    sa.Date: _dates_in,
    Moment: _moments_in,
    sa.JSON: _json_in,
}


def json_text(value: Any) -> str:
    """JSON that every database takes: absent numbers are null, dates ISO 8601."""
    try:
        return _STRICT.encode(value)
    except ValueError:
        return json.dumps(_without_nan(value), default=_plain)


_SCAN: Any = cast("Any", make_scanner)(json.JSONDecoder())


def read_json(text: str | bytes) -> Any:
    """What `json_text` wrote: `json.loads` spends most of its time on looking for blanks."""
    return _SCAN(text if isinstance(text, str) else bytes(text).decode(), 0)[0]


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return _without_nan(value.tolist())
    if isinstance(value, dt.date | dt.datetime):
        return value.isoformat()
    if isinstance(value, Said):
        return value.plain()
    raise TypeError(f"{type(value).__name__} has no place in JSON")


_STRICT = json.JSONEncoder(allow_nan=False, default=_plain)


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): _without_nan(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(inner) for inner in value]
    return value


def along_curve(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Rows in the order of a Hilbert curve, so that neighbours in space are neighbours on disk.

    A search by box then reads few pages, however the rows came.
    """
    shapes = frame.geometry
    if len(frame) < 2 or shapes.isna().any() or shapes.is_empty.any():
        return frame
    distances = shapes.hilbert_distance(total_bounds=_WHOLE_WORLD, level=16)
    return frame.iloc[np.argsort(distances.to_numpy(), kind="stable")]


def _shapes_in(table: sa.Table, frame: pd.DataFrame) -> Values:
    """WKB, and boxes where the table has them."""
    crs = getattr(frame, "crs", None)
    if crs is not None and crs != "EPSG:4326":
        raise DataError(f"{table.name}: shapes are in {crs.to_string()}; bring them to EPSG:4326")
    shapes = np.asarray(frame["geometry"], dtype=object)
    empty = shapely.is_missing(shapes) | shapely.is_empty(shapes)
    if empty.any():
        raise DataError(
            f"{table.name}: row {int(np.argmax(empty))} has no shape; leave such rows out"
        )
    boxes = boxes_of(shapes)
    west, south, east, north = _WHOLE_WORLD
    # A box that crosses 180 degrees is within as well: its sides are.
    within = (boxes >= (west, south, west, south)) & (boxes <= (east, north, east, north))
    if not within.all():
        row = int(np.argmin(within.all(axis=1)))
        raise DataError(
            f"{table.name}: the shape of row {row} is not in degrees, its box is "
            f"{np.round(boxes[row], 3).tolist()}; bring it to EPSG:4326"
        )
    values: Values = {"geometry": list(shapely.to_wkb(shapes, output_dimension=2))}
    if BOX[0] in table.c:
        values |= {name: boxes[:, i].tolist() for i, name in enumerate(BOX)}
    return values


def boxes_of(shapes: np.ndarray) -> np.ndarray:
    """Boxes around shapes, narrow where a shape is cut at 180 degrees.

    Args:
        shapes: (N,) geometries in degrees.

    Returns:
        (N, 4) west, south, east, north; west > east where a shape has parts on both sides of
        180 degrees.
    """
    boxes = shapely.bounds(shapes)
    cut = np.flatnonzero((boxes[:, 0] == -180) & (boxes[:, 2] == 180))
    for row in cut:
        sides = shapely.bounds(shapely.get_parts(shapes[row]))
        eastern = sides[:, 0] >= 0
        # One part that goes around the world, or parts on one side only, are what they seem.
        if eastern.any() and (sides[~eastern, 2] <= 0).all() and not eastern.all():
            boxes[row, 0] = sides[eastern, 0].min()
            boxes[row, 2] = sides[~eastern, 2].max()
    return np.asarray(boxes)


def frame_out(
    columns: Sequence[sa.ColumnElement[Any]], rows: Sequence[Sequence[Any]]
) -> pd.DataFrame:
    """Rows that were read, as a table with these columns; shapes stay out."""
    by_column: Sequence[Sequence[Any]] = (
        list(zip(*rows, strict=True)) if rows else [()] * len(columns)
    )
    series = {
        str(column.key): _column_out(column, values)
        for column, values in zip(columns, by_column, strict=True)
        if not isinstance(column.type, Shape)
    }
    return pd.DataFrame(series, index=pd.RangeIndex(len(rows)))


def geo_frame_out(
    columns: Sequence[sa.ColumnElement[Any]], rows: Sequence[Sequence[Any]]
) -> gpd.GeoDataFrame:
    """Likewise, with the shapes of the column `geometry`."""
    at = next(i for i, column in enumerate(columns) if isinstance(column.type, Shape))
    encoded = np.array([row[at] for row in rows], dtype=object)
    shapes: Any = shapely.set_srid(shapely.from_wkb(encoded), 0) if len(rows) else []
    return gpd.GeoDataFrame(frame_out(columns, rows), geometry=shapes, crs=_LONLAT)


def _column_out(column: sa.ColumnElement[Any], values: Sequence[Any]) -> Any:
    if isinstance(column.type, sa.Double):
        return np.array(values, dtype=float)
    if isinstance(column.type, sa.Boolean):
        return np.array(values, dtype=bool)
    if isinstance(column.type, sa.Integer):
        return np.array(values, dtype=np.int64)
    if isinstance(column.type, sa.JSON):
        return pd.Series([{} if value is None else value for value in values], dtype=object)
    return pd.Series(list(values), dtype=object)
