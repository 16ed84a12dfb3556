"""What label files of all kinds have in common: a CRS, a class and dates in columns."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyproj

from sluice.base.arrays import FloatArray
from sluice.base.errors import ConfigError, DataError, GridMismatch, NoValidData
from sluice.base.periods import day_of

if TYPE_CHECKING:
    from sluice.base.grid import BBox

COLUMNS = ("class", "start", "end", "source")
"""Before `geometry`, in every normalised table."""
NEGATIVE = "negative"
"""Column of a file that tells what its classes are not: true where one is mistaken for what is
sought. It comes with every normalised table whose file has it."""
_EDGE = 1e-3
_FLAGS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
_FAR_DEGREES = 10.0
"""National CRSs are used somewhat outside of what their authors had in mind."""


@dataclass(frozen=True)
class LabelColumns:
    """Which columns of a file say what."""

    class_column: str | None = None
    """Holds each feature's class; None where all are `class_name`."""
    class_name: str = "mine"
    start_column: str | None = None
    """Holds the first day a label is true of: a date, or a year or month for its first day."""
    end_column: str | None = None
    """Holds the last day; may be the column of the first."""
    source: str | None = None
    """Name of the set; the file's name where None."""
    source_column: str | None = None
    """Holds each feature's source, in place of `source`."""
    keep: tuple[str, ...] = ()
    """More columns to keep, as they are."""

    @classmethod
    def usual(cls, frame: pd.DataFrame) -> Self:
        """Those of a normalised table, as far as a file has them."""
        there = {name: name if name in frame else None for name in COLUMNS}
        return cls(
            class_column=there["class"],
            start_column=there["start"],
            end_column=there["end"],
            source_column=there["source"],
        )


@dataclass(frozen=True)
class LabelTable:
    """Labels of a file, all alike whatever the file was."""

    table: gpd.GeoDataFrame
    """EPSG:4326, index 0..N-1: `class`, `start` and `end` (datetime64, NaT where unknown; both
    days included), `source`, facts of the format, `geometry`; in the file's order."""
    mended: int = 0
    """Outlines that crossed themselves or were otherwise invalid, and were mended."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Why features of the file are not in the table, and how many."""
    notes: tuple[str, ...] = ()
    """What whoever reads the file should know."""


def normalise(frame: gpd.GeoDataFrame, columns: LabelColumns, where: str) -> gpd.GeoDataFrame:
    """Bring class, dates and source into columns of known names.

    Args:
        frame: As read; keeps its CRS and its geometry.
        columns: Which of its columns say what.
        where: The file, for messages and as the source.

    Returns:
        The columns `class`, `start`, `end`, `source`, `negative` where the file has it, those to
        keep and `geometry`, on the index of `frame`.

    Raises:
        ConfigError: A column that is named is not there; the message lists those that are.
        DataError: A class is empty, a date cannot be read, a label ends before it begins, or
            `negative` is neither true nor false.
    """
    start = _dates(frame, columns.start_column, where, last=False)
    end = _dates(frame, columns.end_column, where, last=True)
    reversed_ = np.asarray(end < start)
    if reversed_.any():
        at = int(np.flatnonzero(reversed_)[0])
        raise DataError(
            f"{where}: feature {at + 1} ends ({end.iloc[at]:%Y-%m-%d}) before it begins "
            f"({start.iloc[at]:%Y-%m-%d}); correct it, or swap the columns",
            href=where,
        )
    return gpd.GeoDataFrame(
        {
            "class": _classes(frame, columns, where),
            "start": start,
            "end": end,
            "source": _sources(frame, columns, where),
            **({NEGATIVE: _negative(frame, where)} if NEGATIVE in frame else {}),
            **{name: column(frame, name, where) for name in columns.keep},
        },
        geometry=np.asarray(frame.geometry),
        crs=frame.crs,
        index=frame.index,
    )


def check_coordinates(frame: gpd.GeoDataFrame, where: str) -> None:
    """Refuse coordinates that cannot be of the CRS that the file states.

    Args:
        frame: With a CRS and at least one feature that is not empty.
        where: The file, for messages.

    Raises:
        DataError: Metres called degrees, degrees called metres, longitude and latitude swapped,
            or a place far from where the CRS is used.
    """
    xmin, ymin, xmax, ymax = (float(value) for value in frame.total_bounds)
    if not np.isfinite([xmin, ymin, xmax, ymax]).all():
        raise DataError(f"{where}: coordinates are not finite; correct the file", href=where)
    crs = pyproj.CRS(frame.crs.to_wkt())
    seen = f"x from {xmin:g} to {xmax:g}, y from {ymin:g} to {ymax:g}"
    x_reach, y_reach = max(abs(xmin), abs(xmax)), max(abs(ymin), abs(ymax))
    if crs.is_geographic:
        if x_reach <= 180 + _EDGE and y_reach <= 90 + _EDGE:
            return
        if x_reach <= 90 + _EDGE and y_reach <= 180 + _EDGE:
            raise DataError(
                f"{where}: longitude and latitude look swapped ({seen}); swap them", href=where
            )
        raise DataError(
            f"{where}: says that it is in degrees ({crs.name}), and its coordinates are no degrees "
            f"({seen}); state its true CRS (QGIS: Assign projection)",
            href=where,
        )
    if x_reach <= 180 and y_reach <= 90:
        raise DataError(
            f"{where}: says that it is in {crs.name}, and its coordinates look like degrees "
            f"({seen}); state EPSG:4326 (QGIS: Assign projection)",
            href=where,
        )
    _refuse_far_from_home(crs, (xmin, ymin, xmax, ymax), where, seen)


def _refuse_far_from_home(crs: pyproj.CRS, box: BBox, where: str, seen: str) -> None:
    to_lonlat = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    x, y = np.array([box[0], box[0], box[2], box[2]]), np.array([box[1], box[3], box[1], box[3]])
    lon, lat = to_lonlat.transform(x, y)
    known = np.isfinite(lon) & np.isfinite(lat)
    home = crs.area_of_use
    far = not known.any()
    if home is not None and known.any():
        # In degrees around the middle of where it is used, so that 180 is no border.
        width = (home.east - home.west) % 360 or 360.0
        offset = (lon[known] - (home.west + width / 2) + 180) % 360 - 180
        far = bool(
            (np.abs(offset) > width / 2 + _FAR_DEGREES).all()
            or (lat[known] > home.north + _FAR_DEGREES).all()
            or (lat[known] < home.south - _FAR_DEGREES).all()
        )
    if far:
        raise DataError(
            f"{where}: its coordinates ({seen}) are far from where {crs.name} is used; state its "
            "true CRS (QGIS: Assign projection)",
            href=where,
        )


def check_near(table: gpd.GeoDataFrame, bounds_lonlat: BBox, where: str) -> None:
    """Refuse labels none of which is near the area they are to be used in.

    Args:
        table: In EPSG:4326.
        bounds_lonlat: Of the area.
        where: The file of the labels, for messages.

    Raises:
        GridMismatch: None meets the box; the message says so where swapping longitude and latitude
            would help.
    """
    west, south, east, north = bounds_lonlat
    bounds = table.geometry.bounds.to_numpy()
    if _meets(bounds, bounds_lonlat).any():
        return
    swapped = _meets(bounds[:, [1, 0, 3, 2]], bounds_lonlat).any()
    advice = (
        "swapped, they do: swap longitude and latitude in the file"
        if swapped
        else "give an area of the same place, and check the labels' CRS"
    )
    raise GridMismatch(
        f"{where}: none of its {len(table)} labels meets the area, which lies within "
        f"({west:.4f}, {south:.4f}, {east:.4f}, {north:.4f}) (west, south, east, north in "
        f"degrees); {advice}",
        href=where,
    )


def _meets(bounds: FloatArray, box: BBox) -> npt.NDArray[np.bool_]:
    west, south, east, north = box
    meets: npt.NDArray[np.bool_] = (
        (bounds[:, 0] <= east)
        & (bounds[:, 2] >= west)
        & (bounds[:, 1] <= north)
        & (bounds[:, 3] >= south)
    )
    return meets


def refuse_none_left(count: int, left_out: Mapping[str, int], where: str, wanted: str) -> None:
    """Fail where no feature of a file can be used.

    Raises:
        NoValidData: `count` is 0; the message tells why.
    """
    if count:
        return
    why = "; ".join(f"{number} {reason}" for reason, number in left_out.items())
    raise NoValidData(
        f"{where}: holds no {wanted}{f' ({why})' if why else ''}; give a file that does", href=where
    )


def column(frame: pd.DataFrame, name: str, where: str) -> pd.Series:
    """A column by name.

    Raises:
        ConfigError: It is not there; the message lists those that are.
    """
    if name not in frame or name == getattr(frame, "_geometry_column_name", None):
        there = [str(c) for c in frame.columns if c != getattr(frame, "_geometry_column_name", "")]
        raise ConfigError(
            f"{where}: has no column {name!r}; found: {', '.join(there) or 'none'}. "
            "Name one of these",
            href=where,
        )
    values: pd.Series = frame[name]
    return values


def _classes(frame: gpd.GeoDataFrame, columns: LabelColumns, where: str) -> pd.Series:
    if columns.class_column is None:
        return pd.Series(columns.class_name, index=frame.index, dtype=object)
    values = column(frame, columns.class_column, where)
    whole = pd.api.types.is_float_dtype(values) and bool((values.dropna() % 1 == 0).all())
    # A code read as 1.0 because another was missing is still code 1.
    texts = values.map(lambda v: f"{v:.0f}" if whole else str(v).strip(), na_action="ignore")
    empty = np.asarray(texts.isna() | (texts == ""))
    if empty.any():
        raise DataError(
            f"{where}: {columns.class_column} is empty in {int(empty.sum())} of {len(frame)} "
            f"features, first in feature {int(np.flatnonzero(empty)[0]) + 1}; fill it in",
            href=where,
        )
    return texts.astype(object)


def _sources(frame: gpd.GeoDataFrame, columns: LabelColumns, where: str) -> pd.Series:
    name = columns.source or re.split(r"[/\\]", where)[-1].rpartition(".")[0] or where
    if columns.source_column is None:
        return pd.Series(name, index=frame.index, dtype=object)
    return column(frame, columns.source_column, where).fillna(name).astype(object)


def _negative(frame: gpd.GeoDataFrame, where: str) -> pd.Series:
    words = frame[NEGATIVE].map(lambda value: str(value).strip().lower())
    said = words.map(_FLAGS)
    # Absent is nothing that was said against it.
    wrong = np.asarray(said.isna() & frame[NEGATIVE].notna() & (words != ""))
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"{where}: {NEGATIVE} of feature {at + 1} is {frame[NEGATIVE].iloc[at]!r}; write true "
            "for what is mistaken for a mine, and false for the rest",
            href=where,
        )
    negative: pd.Series = said.isin([True])
    return negative


def _dates(frame: gpd.GeoDataFrame, name: str | None, where: str, *, last: bool) -> pd.Series:
    if name is None:
        return pd.Series(pd.NaT, index=frame.index, dtype="datetime64[s]")
    values = column(frame, name, where)
    days, wrong = read_days(values, last=last)
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"{where}: {name} of feature {at + 1} is {values.iloc[at]!r}, which is no date "
            f"({int(wrong.sum())} such); write 2024, 2024-01 or 2024-01-31",
            href=where,
        )
    return days


def read_days(values: pd.Series, *, last: bool) -> tuple[pd.Series, npt.NDArray[np.bool_]]:
    """Days that a column tells, as `day_of` reads them.

    Args:
        values: Dates, years, texts; missing or empty where nothing is said.
        last: The last day of a year or month, else the first.

    Returns:
        Days (datetime64, NaT where none is told), and (N,) True where what is told is no date.
    """
    if pd.api.types.is_datetime64_any_dtype(values):
        days = values.dt.tz_convert("UTC") if values.dt.tz is not None else values
        days = days.dt.tz_localize(None).dt.normalize().astype("datetime64[s]")
        return pd.Series(days), np.zeros(len(values), np.bool_)
    parsed = values.map(lambda value: day_of(value, last=last), na_action="ignore")
    wrong = np.asarray(parsed.isna() & values.notna() & (values.astype(str).str.strip() != ""))
    return pd.to_datetime(parsed).astype("datetime64[s]"), wrong
