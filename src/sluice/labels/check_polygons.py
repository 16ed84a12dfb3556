"""What is wrong with a file of label polygons, before chips are made of it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from sluice.base.arrays import FloatArray, ObjectArray
from sluice.base.errors import DataError, GridMismatch
from sluice.base.polygons import mended
from sluice.labels.check_facts import FIRST_LIGHT
from sluice.labels.findings import EXAMPLES, CheckReport, Finding, Severity, several
from sluice.labels.polygons import IGNORE, read_shapes
from sluice.labels.vector_table import check_coordinates, check_near, read_days

_EQUAL_AREA = "EPSG:6933"
_PIXEL_M2 = 100.0
_LARGE_M2 = 100e6
"""A hundred square kilometres: more than any single mine."""

BoolArray = npt.NDArray[np.bool_]
_Check = tuple[str, Severity, BoolArray, str, str]
"""What is checked, how bad it is, which features, what they are, and what to do."""


def check_polygons(path: Path | str, area: BaseGeometry | None = None) -> CheckReport:
    """Look for shapes without area, places that cannot be, dates that contradict, and doubles.

    Args:
        path: Vector file.
        area: Where labels should lie, in longitude and latitude.

    Raises:
        ItemNotFound, AssetReadError: There is no such file, or none that may be opened.
        ConfigError: It holds no geometry, or has no CRS.
        DataError: A table holds text that is no shape.
    """
    path = Path(path)
    frame = read_shapes(path)
    shapes = np.asarray(frame.geometry)
    beyond, swapped = _off_the_globe(frame)
    whole = mended(shapes)
    metres = gpd.GeoSeries(whole, crs=frame.crs).where(~pd.Series(beyond)).to_crs(_EQUAL_AREA)
    area_m2 = metres.area.fillna(0).to_numpy()
    empty = shapely.is_missing(shapes) | shapely.is_empty(shapes)
    usable = ~empty & ~beyond & (area_m2 > 0)
    crosses = usable & ~shapely.is_valid(shapes)
    elsewhere = _elsewhere(frame[~empty & ~beyond], str(path), area)
    checks: list[_Check] = [
        ("shapes", Severity.ERROR, empty, "without a shape", "drop them"),
        (
            "shapes",
            Severity.ERROR,
            ~empty & ~beyond & ~(area_m2 > 0),
            "without area",
            "draw polygons; points and lines mark no ground",
        ),
        *_off_checks(beyond, swapped, str(frame.crs.name)),
        (
            "shapes",
            Severity.WARNING,
            crosses,
            "with an outline that crosses itself",
            "they are mended when read; look whether rightly",
        ),
        # In a wrong CRS sizes say nothing.
        *([] if elsewhere else _size_checks(usable, area_m2)),
        *_classes(frame),
        *_dates(frame),
    ]
    findings = [*elsewhere, *(_finding(*one) for one in checks if one[2].any())]
    if not frame.crs.is_geographic and not elsewhere and usable.any():
        findings.append(_lies(frame[usable]))
    findings += _doubles(frame, whole, usable)
    order = list(Severity)
    findings.sort(key=lambda finding: order.index(finding.severity))
    return CheckReport(name=path.name, chips=len(frame), unit="feature", findings=tuple(findings))


def _finding(check: str, severity: Severity, wrong: BoolArray, what: str, advice: str) -> Finding:
    return Finding(
        check=check,
        severity=severity,
        count=int(wrong.sum()),
        message=f"{several(int(wrong.sum()), 'feature')} {what}",
        examples=tuple(f"feature {k}" for k in np.flatnonzero(wrong)[:EXAMPLES]),
        advice=advice,
    )


def _elsewhere(frame: gpd.GeoDataFrame, where: str, area: BaseGeometry | None) -> list[Finding]:
    """What the whole file's coordinates say against its CRS, or against the area."""
    if frame.empty:
        return []
    try:
        check_coordinates(frame, where)
        if area is not None:
            check_near(frame.to_crs("EPSG:4326"), area.bounds, where)
    except (DataError, GridMismatch) as err:
        what, _, advice = str(err).removeprefix(f"{where}: ").rpartition("; ")
        return [
            Finding(
                check="places",
                severity=Severity.ERROR,
                count=len(frame),
                message=what,
                advice=advice,
            )
        ]
    return []


def _lies(frame: gpd.GeoDataFrame) -> Finding:
    """Where a file in metres lies: in a wrong zone of UTM its numbers look right."""
    west, south, east, north = frame.to_crs("EPSG:4326").total_bounds
    return Finding(
        check="places",
        severity=Severity.NOTE,
        count=len(frame),
        message=f"in {frame.crs.name} it lies within ({west:.4f}, {south:.4f}, {east:.4f}, "
        f"{north:.4f}) (west, south, east, north in degrees)",
        advice="look whether that is the place: a zone too far looks alike; --area checks it",
    )


def _off_checks(beyond: BoolArray, swapped: BoolArray, crs: str) -> list[_Check]:
    return [
        (
            "places",
            Severity.ERROR,
            beyond & swapped,
            "off the globe, as longitude and latitude are swapped",
            "swap them",
        ),
        (
            "places",
            Severity.ERROR,
            beyond & ~swapped,
            f"beyond where {crs} has places",
            "correct the CRS (QGIS: Assign projection)",
        ),
    ]


def _size_checks(usable: BoolArray, area_m2: FloatArray) -> list[_Check]:
    return [
        (
            "shapes",
            Severity.WARNING,
            usable & (area_m2 > _LARGE_M2),
            "of more than 100 square kilometres",
            "look at them: a concession or a district is no outline of a mine",
        ),
        (
            "shapes",
            Severity.NOTE,
            usable & (area_m2 < _PIXEL_M2),
            "smaller than a pixel of 10 m",
            "",
        ),
    ]


def _off_the_globe(frame: gpd.GeoDataFrame) -> tuple[BoolArray, BoolArray]:
    """(beyond, and would not be if swapped), (N,) each; nothing of what has no shape."""
    bounds = frame.geometry.bounds.to_numpy()
    if not frame.crs.is_geographic:
        lonlat = frame.geometry.to_crs("EPSG:4326").bounds.to_numpy()
        known = np.isfinite(bounds).all(axis=1)
        return known & ~np.isfinite(lonlat).all(axis=1), np.zeros(len(frame), np.bool_)
    # Some write longitudes from 0 to 360, or beyond 180 where a shape crosses the line.
    largest = np.abs(bounds)
    beyond = (largest > (360.0, 90.001, 360.0, 90.001)).any(axis=1)
    fits = (largest <= (90.001, 180.001, 90.001, 180.001)).all(axis=1)
    return beyond, fits


def _dates(frame: gpd.GeoDataFrame) -> list[_Check]:
    none = pd.Series(None, frame.index, dtype=object)
    start, no_start = read_days(frame.get("start", none), last=False)
    end, no_end = read_days(frame.get("end", none), last=True)
    today = dt.datetime.now(dt.UTC).date()
    # A year that is not over may be told as a year.
    this_year = pd.Timestamp(today.year, 12, 31)
    first = FIRST_LIGHT["s2"]
    future = (start > pd.Timestamp(today)).to_numpy()
    advice = "correct start and end"
    return [
        ("dates", Severity.ERROR, (end < start).to_numpy(), "with an end before the start", advice),
        ("dates", Severity.ERROR, future, "of the future", advice),
        (
            "dates",
            Severity.ERROR,
            no_start | no_end,
            "with a start or end that is no date",
            "write 2024-01-31",
        ),
        (
            "dates",
            Severity.WARNING,
            ~future & (end > this_year).to_numpy(),
            f"with an end after {this_year.date()}",
            "end is the last day on which somebody saw it; leave it empty where it holds on",
        ),
        (
            "dates",
            Severity.WARNING,
            (end < pd.Timestamp(first)).to_numpy(),
            f"with an end before the first image of Sentinel-2 ({first})",
            "only images of older satellites show them as labelled",
        ),
    ]


def _classes(frame: gpd.GeoDataFrame) -> list[_Check]:
    if "class" not in frame:
        return []
    empty = frame["class"].isna() | (frame["class"].astype(str).str.strip() == "")
    return [("classes", Severity.ERROR, empty.to_numpy(), "without a class", "fill it in")]


def _doubles(frame: gpd.GeoDataFrame, mended: ObjectArray, usable: BoolArray) -> list[Finding]:
    """Shapes that lie on one another: the same one twice, or ground of two classes."""
    rows = np.flatnonzero(usable)
    shapes = mended[rows]
    one, other = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    upper = one < other
    one, other = one[upper], other[upper]
    shared = shapely.area(shapely.intersection(shapes[one], shapes[other]))
    areas = shapely.area(shapes)
    kinds = frame["class"].astype(str).to_numpy()[rows] if "class" in frame else None
    findings = []
    same = shared > 0.95 * np.maximum(areas[one], areas[other])
    contrary = np.zeros(len(one), np.bool_)
    if kinds is not None:
        contrary = (kinds[one] != kinds[other]) & (
            shared > 0.05 * np.minimum(areas[one], areas[other])
        )
        # Ground to leave alone is drawn first, and what is known of it over it.
        beneath = (kinds[one] == IGNORE) & (kinds[other] != IGNORE)
        same, contrary = same & ~beneath, contrary & ~beneath
    for which, what, advice in (
        (same & ~contrary, "of features are the same shape", "drop one of each"),
        (contrary, "of features put ground into two classes", "the later one counts; cut them"),
    ):
        if which.any():
            pairs = zip(rows[one[which]], rows[other[which]], strict=True)
            findings.append(
                Finding(
                    check="doubles",
                    severity=Severity.WARNING,
                    count=int(which.sum()),
                    message=f"{several(int(which.sum()), 'pair')} {what}",
                    examples=tuple(f"features {a} and {b}" for a, b in list(pairs)[:EXAMPLES]),
                    advice=advice,
                )
            )
    return findings
