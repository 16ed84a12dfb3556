"""Whether chips are where and when their table says."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import numpy.typing as npt
import pandas as pd

from sluice.base.arrays import ArrayBHW, FloatArray, IntArray
from sluice.labels.dataset import ChipDataset
from sluice.labels.findings import Finding, Severity, named, named_pairs, several
from sluice.labels.groups import EARTH_RADIUS_M, located, near_pairs
from sluice.labels.survey import Survey

FIRST_LIGHT = {
    "s1": dt.date(2014, 4, 3),
    "s2": dt.date(2015, 6, 23),
    "nicfi": dt.date(2015, 12, 1),
}
"""When the first images of a sensor were taken, by the first part of its id."""
_MOST_OVERLAPS = 300
_LEAST_MATCH = 0.5
"""Correlation of the pixels of two overlapping chips of one date; those of good places are
above 0.99."""
_SEARCH_PX = 2

BoolArray = npt.NDArray[np.bool_]


def check_places(dataset: ChipDataset, survey: Survey) -> list[Finding]:
    """Chips off the globe, swapped coordinates, and places that files or pixels contradict."""
    table = dataset.table
    lon, lat = table["lon"].to_numpy(np.float64), table["lat"].to_numpy(np.float64)
    given = np.isfinite(lon) & np.isfinite(lat)
    beyond = given & ~located(table)
    turned = beyond & (np.abs(lon) <= 90) & (np.abs(lat) <= 180)
    swapped, moved = (wrong & ~beyond for wrong in _contradicted_by_files(dataset, survey))
    findings = [
        Finding(
            check="places",
            severity=Severity.ERROR,
            count=int(wrong.sum()),
            message=f"{several(int(wrong.sum()), 'chip')} {what}",
            examples=named(table, np.flatnonzero(wrong)),
            advice=advice,
        )
        for wrong, what, advice in (
            (turned, "off the globe, as longitude and latitude are swapped", "swap them"),
            (beyond & ~turned, "off the globe", "give degrees (EPSG:4326), longitude in lon"),
            (
                swapped & ~beyond,
                "with longitude and latitude swapped, as their files say",
                "swap them",
            ),
            (
                moved & ~beyond,
                "elsewhere than their files say",
                "correct the table, or the files' CRS",
            ),
            (np.isfinite(lon) != np.isfinite(lat), "with half a place", "give lon and lat or none"),
            (given & (lon == 0) & (lat == 0), "at 0, 0", "leave unknown places empty"),
        )
        if wrong.any()
    ]
    if not given.all():
        findings.append(
            Finding(
                check="places",
                severity=Severity.NOTE,
                count=int((~given).sum()),
                message=f"{several(int((~given).sum()), 'chip')} without a place: that they are "
                "apart from others can be told from groups and pixels only",
            )
        )
    return findings + _overlaps(dataset, survey)


def _contradicted_by_files(dataset: ChipDataset, survey: Survey) -> tuple[BoolArray, BoolArray]:
    """(swapped, elsewhere), (N,) each."""
    if survey.file_places is None:
        none = np.zeros(len(dataset.table), np.bool_)
        return none, none
    lon, lat = (dataset.table[name].to_numpy(np.float64) for name in ("lon", "lat"))
    east, north = survey.file_places.T
    side_m = chip_side_m(dataset, survey)
    away = _distance_m(lon, lat, east, north) > side_m
    swapped = away & (_distance_m(lat, lon, east, north) < side_m)
    return swapped, away & ~swapped


def _overlaps(dataset: ChipDataset, survey: Survey) -> list[Finding]:
    """Chips of one date that overlap, as their places say, show the same in the overlap."""
    table = dataset.table
    known = np.flatnonzero(located(table) & np.isfinite(survey.blank))
    places = table[["lon", "lat"]].to_numpy(np.float64)[known]
    pairs, _ = near_pairs(places[:, 0], places[:, 1], chip_side_m(dataset, survey) / 2)
    pairs = known[pairs]
    same = np.ones(len(pairs), np.bool_)
    for name in ("start", "end"):
        dates = table[name].to_numpy()
        same &= dates[pairs[:, 0]] == dates[pairs[:, 1]]
    pairs = pairs[same]
    if len(pairs) > _MOST_OVERLAPS:
        pairs = pairs[np.linspace(0, len(pairs) - 1, _MOST_OVERLAPS).astype(np.int64)]
    matches = np.array([_match(dataset, pair) for pair in pairs])
    wrong = matches < _LEAST_MATCH
    told = int(np.isfinite(matches).sum())
    if not told:
        return []
    shown = pd.DataFrame(
        {"one": pairs[wrong, 0], "other": pairs[wrong, 1], "match": matches[wrong]}
    )
    if wrong.any():
        return [
            Finding(
                check="places",
                severity=Severity.WARNING,
                count=int(wrong.sum()),
                message=f"{int(wrong.sum()):,} of {several(told, 'pair')} of chips that overlap, "
                "as their places say, and are of one date do not show the same there",
                examples=named_pairs(table, shown, "match {:.2f}"),
                advice="their places, dates or pixel size are wrong; correct them",
            )
        ]
    message = (
        f"{several(told, 'pair')} of chips of one date that overlap, as their places say, show the "
        "same there"
    )
    return [Finding(check="places", severity=Severity.NOTE, count=told, message=message)]


def _match(dataset: ChipDataset, pair: IntArray) -> float:
    """Correlation of two chips where they overlap; NaN where that cannot be told."""
    one, other = dataset.images(pair)
    lon, lat = (dataset.table[name].to_numpy(np.float64)[pair] for name in ("lon", "lat"))
    metres = math.radians(1) * EARTH_RADIUS_M / dataset.about.gsd_m
    turn = (lon[1] - lon[0] + 180) % 360 - 180
    right = round(turn * metres * math.cos(math.radians(lat.mean())))
    down = round((lat[0] - lat[1]) * metres)
    # UTM's north is a little off, and centres are rounded.
    steps = range(-_SEARCH_PX, _SEARCH_PX + 1)
    found = [_correlation(one, other, down + r, right + c) for r in steps for c in steps]
    return float(np.nanmax(found)) if np.isfinite(found).any() else math.nan


def _correlation(one: ArrayBHW, other: ArrayBHW, down: int, right: int) -> float:
    """Of the part that two pictures share, the second lying so many pixels lower and right."""
    height, width = one.shape[1:]
    if abs(down) > height - 8 or abs(right) > width - 8:
        return math.nan
    here = one[:, max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)]
    there = other[:, max(0, -down) : height - max(0, down), max(0, -right) : width - max(0, right)]
    seen = np.isfinite(here).all(axis=0) & np.isfinite(there).all(axis=0)
    if seen.sum() < 64:
        return math.nan
    a, b = (
        values - values.mean(axis=1, keepdims=True) for values in (here[:, seen], there[:, seen])
    )
    energy = float((a * a).sum()) * float((b * b).sum())
    return float((a * b).sum()) / math.sqrt(energy) if energy > 0 else math.nan


def check_dates(dataset: ChipDataset) -> list[Finding]:
    """Periods that end before they begin, before the sensor flew, or in the future."""
    table = dataset.table
    first = FIRST_LIGHT.get((dataset.about.sensor or "").split("-")[0])
    start, end = table["start"], table["end"]
    today = pd.Timestamp(dt.datetime.now(dt.UTC).date())
    checks: list[tuple[pd.Series, str, Severity]] = [
        (end < start, "with an end before the start", Severity.ERROR),
        (start > today, "of the future", Severity.ERROR),
        (start.isna() | end.isna(), "without dates", Severity.NOTE),
    ]
    if first is not None:
        early = end < pd.Timestamp(first)
        what = f"from before the first image of {dataset.about.sensor} ({first})"
        checks.append((early, what, Severity.ERROR))
    return [
        Finding(
            check="dates",
            severity=severity,
            count=int(wrong.sum()),
            message=f"{several(int(wrong.sum()), 'chip')} {what}",
            examples=named(table, np.flatnonzero(wrong)) if severity is not Severity.NOTE else (),
            advice="correct start and end" if severity is not Severity.NOTE else "",
        )
        for wrong, what, severity in checks
        if wrong.any()
    ]


def chip_side_m(dataset: ChipDataset, survey: Survey) -> float:
    """Shorter side of the largest chip, in metres."""
    side = max((min(size) for size in survey.sizes), default=1)
    return side * dataset.about.gsd_m


def _distance_m(lon1: object, lat1: object, lon2: object, lat2: object) -> FloatArray:
    """Metres on the sphere; NaN where a place is not known or off the globe."""
    east1, north1, east2, north2 = (
        np.radians(np.asarray(v, np.float64)) for v in (lon1, lat1, lon2, lat2)
    )
    half = np.sin((north2 - north1) / 2) ** 2
    half = half + np.cos(north1) * np.cos(north2) * np.sin((east2 - east1) / 2) ** 2
    return np.asarray(2 * EARTH_RADIUS_M * np.arcsin(np.sqrt(np.clip(half, 0, 1))))
