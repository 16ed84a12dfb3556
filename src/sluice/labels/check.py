"""What is wrong with a data set, before anybody trains on it."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import computed_field

from sluice.base.arrays import FloatArray, IntArray
from sluice.base.records import Record
from sluice.labels.dataset import ChipDataset, read_dataset
from sluice.labels.duplicates import look_alikes, pixel_sharers
from sluice.labels.groups import EARTH_RADIUS_M, located, near_pairs
from sluice.labels.shortcuts import (
    PLACE,
    OneSided,
    Predictability,
    metadata_columns,
    one_sided,
    predictability,
)
from sluice.labels.splits import EXCLUDED, leaking_groups, leaking_pairs
from sluice.labels.survey import Survey, survey_chips

_EXAMPLES = 5
_TELLING_AUC = 0.6
"""Of the lower end of the interval: from here on a column is worth a warning."""
_RIGHTLY = {"mean brightness"}
"""Columns of the picture itself, which may tell the label rightly."""
_FIRST_LIGHT = {
    "s1": dt.date(2014, 4, 3),
    "s2": dt.date(2015, 6, 23),
    "nicfi": dt.date(2015, 12, 1),
}
"""When the first images of a sensor were taken, by the first part of its id."""
_AGAIN = "divide it again: sluice labels split"
_ONE_GROUP = "give them one group: folds cut between groups"


class Severity(StrEnum):
    """How bad a finding is."""

    LEAK = "leak"
    """The test would not be new to the model."""
    ERROR = "error"
    """Chips cannot be used, or say what is not so."""
    WARNING = "warning"
    """A model may learn something else than what is sought."""
    NOTE = "note"
    """Good to know; nothing to do."""


class Finding(Record):
    """One thing that a check found."""

    check: str
    severity: Severity
    count: int
    """How many chips, pairs, groups or columns."""
    message: str
    examples: tuple[str, ...] = ()
    advice: str = ""


class CheckReport(Record):
    """All that the checks found."""

    name: str
    chips: int
    findings: tuple[Finding, ...]
    """The worst first."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def fit_for_training(self) -> bool:
        """Whether there is neither a leak nor an error."""
        return not any(f.severity in {Severity.LEAK, Severity.ERROR} for f in self.findings)


def check_dataset(folder: Path | str) -> CheckReport:
    """Look for leaks, damage, contradictions and accidental hints in a data set.

    Reads every chip once. What tells labels is looked for among chips that are not held out.

    Args:
        folder: A data set, or a folder of chip sheets.

    Raises:
        ItemNotFound, AssetReadError, DataError: Its table cannot be read at all.
    """
    dataset = read_dataset(folder)
    survey = survey_chips(dataset)
    findings = [
        *_unread(dataset, survey),
        *_places(dataset, survey),
        *_dates(dataset),
        *_split_groups(dataset.table),
        *_split_ground(dataset, survey),
        *_shown_twice(dataset, survey),
        *_masks(dataset, survey),
        *_hints(dataset, survey),
    ]
    order = list(Severity)
    findings.sort(key=lambda finding: order.index(finding.severity))
    return CheckReport(name=dataset.about.name, chips=len(dataset.table), findings=tuple(findings))


def report_text(report: CheckReport) -> str:
    """Say it in plain language, the worst first."""
    lines = [f"{report.name}: {report.chips:,} chips"]
    for finding in report.findings:
        lines.append(f"{finding.severity.upper()} {finding.check}: {finding.message}.")
        if finding.examples:
            lines.append(f"    such as {'; '.join(finding.examples)}")
        if finding.advice:
            lines.append(f"    {finding.advice}")
    lines.append(
        "Fit for training." if report.fit_for_training else "Not fit for training: see above."
    )
    return "\n".join(lines)


def _unread(dataset: ChipDataset, survey: Survey) -> list[Finding]:
    findings = []
    for what, unread in (("image", survey.unread), ("mask", survey.unread_masks)):
        if unread:
            findings.append(
                Finding(
                    check=f"{what} files",
                    severity=Severity.ERROR,
                    count=len(unread),
                    message=f"{len(unread):,} {what}s are missing, damaged or of another form",
                    examples=tuple(unread.values())[:_EXAMPLES],
                    advice="make them again, or drop their lines from the table",
                )
            )
    sizes = Counter(survey.sizes).most_common()
    if len(sizes) > 1:
        named = ", ".join(f"{h} x {w} px: {n:,}" for (h, w), n in sizes)
        findings.append(
            Finding(
                check="sizes",
                severity=Severity.ERROR,
                count=sum(n for _, n in sizes[1:]),
                message=f"chips are of {len(sizes)} sizes ({named})",
                advice="make all of one size",
            )
        )
    blank = np.flatnonzero(survey.blank > 0.5)
    if len(blank):
        findings.append(
            Finding(
                check="blank",
                severity=Severity.WARNING,
                count=len(blank),
                message=f"{len(blank):,} chips are more than half not observed",
                examples=_named(dataset.table, blank),
                advice="leave them out, or train with a model that knows absent pixels",
            )
        )
    return findings


def _places(dataset: ChipDataset, survey: Survey) -> list[Finding]:
    table = dataset.table
    lon, lat = table["lon"].to_numpy(np.float64), table["lat"].to_numpy(np.float64)
    given = np.isfinite(lon) & np.isfinite(lat)
    beyond = given & ~located(table)
    checks = [
        (
            beyond,
            "lie off the globe"
            + (
                ", and would not if longitude and latitude were swapped"
                if (beyond & (np.abs(lon) <= 90) & (np.abs(lat) <= 180)).any()
                else ""
            ),
            "longitude is lon, latitude is lat, both in degrees (EPSG:4326); correct them",
        ),
        (
            np.isfinite(lon) != np.isfinite(lat),
            "have a longitude or a latitude, and not the other",
            "give both or none",
        ),
        (
            given & (lon == 0) & (lat == 0),
            "lie at 0, 0",
            "leave lon and lat empty where the place is not known",
        ),
    ]
    if survey.file_places is not None:
        files = survey.file_places
        away = _distance_m(lon, lat, files[:, 0], files[:, 1])
        moved = away > _side_m(dataset, survey)
        swapped = moved & (
            _distance_m(lat, lon, files[:, 0], files[:, 1]) < _side_m(dataset, survey)
        )
        checks += [
            (swapped, "have longitude and latitude swapped, as their files say", "swap them"),
            (
                moved & ~swapped,
                "lie elsewhere than their files say",
                "correct the table, or the files' CRS",
            ),
        ]
    findings = [
        Finding(
            check="places",
            severity=Severity.ERROR,
            count=int(wrong.sum()),
            message=f"{int(wrong.sum()):,} chips {what}",
            examples=_named(table, np.flatnonzero(wrong)),
            advice=advice,
        )
        for wrong, what, advice in checks
        if wrong.any()
    ]
    if not given.all():
        findings.append(
            Finding(
                check="places",
                severity=Severity.NOTE,
                count=int((~given).sum()),
                message=f"{int((~given).sum()):,} chips do not say where they are: that they are "
                "apart from others can be told from groups and pixels only",
            )
        )
    return findings


def _dates(dataset: ChipDataset) -> list[Finding]:
    table = dataset.table
    first = _FIRST_LIGHT.get((dataset.about.sensor or "").split("-")[0])
    start, end = table["start"], table["end"]
    today = pd.Timestamp(dt.datetime.now(dt.UTC).date())
    checks: list[tuple[pd.Series, str, Severity]] = [
        (end < start, "end before they begin", Severity.ERROR),
        (start > today, "begin in the future", Severity.ERROR),
        (start.isna() | end.isna(), "have no dates", Severity.NOTE),
    ]
    if first is not None:
        early = end < pd.Timestamp(first)
        what = f"end before the first image of {dataset.about.sensor} ({first})"
        checks.append((early, what, Severity.ERROR))
    return [
        Finding(
            check="dates",
            severity=severity,
            count=int(wrong.sum()),
            message=f"{int(wrong.sum()):,} chips {what}",
            examples=_named(table, np.flatnonzero(wrong)) if severity is not Severity.NOTE else (),
            advice="correct start and end" if severity is not Severity.NOTE else "",
        )
        for wrong, what, severity in checks
        if wrong.any()
    ]


def _split_groups(table: pd.DataFrame) -> list[Finding]:
    groups = leaking_groups(table)
    if groups:
        return [
            Finding(
                check="groups",
                severity=Severity.LEAK,
                count=len(groups),
                message=f"{len(groups):,} groups have chips in two splits",
                examples=tuple(groups[:_EXAMPLES]),
                advice=_AGAIN,
            )
        ]
    if (table["split"] == "").all():
        message = "there are no splits yet"
        return [Finding(check="groups", severity=Severity.NOTE, count=0, message=message)]
    count = table.loc[table["split"] != EXCLUDED, "group"].nunique()
    message = f"none of {count:,} groups is in two splits (excluded chips aside)"
    return [Finding(check="groups", severity=Severity.NOTE, count=0, message=message)]


def _split_ground(dataset: ChipDataset, survey: Survey) -> list[Finding]:
    """Chips of two splits, and of two groups, nearer than a chip is wide."""
    table, side_m = dataset.table, _side_m(dataset, survey)
    across = leaking_pairs(table, side_m)
    findings = []
    if len(across):
        findings.append(
            Finding(
                check="ground",
                severity=Severity.LEAK,
                count=len(across),
                message=f"{len(across):,} pairs of chips of two splits have centres within "
                f"{side_m:g} m, the side of a chip",
                examples=_named_pairs(table, across, "{:.0f} m"),
                advice=_AGAIN,
            )
        )
    known = np.flatnonzero(located(table))
    places = table[["lon", "lat"]].to_numpy(np.float64)[known]
    pairs, distances = near_pairs(places[:, 0], places[:, 1], side_m)
    groups = table["group"].to_numpy()
    one, other = known[pairs[:, 0]], known[pairs[:, 1]]
    apart = groups[one] != groups[other]
    near = pd.DataFrame(
        {"one": one[apart], "other": other[apart], "distance_m": distances[apart]}
    ).sort_values("distance_m", kind="stable")
    if len(near):
        findings.append(
            Finding(
                check="ground",
                severity=Severity.WARNING,
                count=len(near),
                message=f"{len(near):,} pairs of chips within {side_m:g} m are of two groups",
                examples=_named_pairs(table, near, "{:.0f} m"),
                advice=_ONE_GROUP,
            )
        )
    return findings


def _shown_twice(dataset: ChipDataset, survey: Survey) -> list[Finding]:
    table = dataset.table
    sharers, alike = pixel_sharers(survey), look_alikes(survey)
    findings = []
    for check, pairs, what, how in (
        ("pixels", sharers, "share pixels", "blocks {}"),
        ("look-alikes", alike, "show the same ground", "match {:.2f}"),
    ):
        splits, groups = (table[name].to_numpy() for name in ("split", "group"))
        one, other = pairs["one"].to_numpy(), pairs["other"].to_numpy()
        idle = np.isin(splits, ("", EXCLUDED))
        excluded = (splits[one] == EXCLUDED) | (splits[other] == EXCLUDED)
        across = (splits[one] != splits[other]) & ~idle[one] & ~idle[other]
        apart = ~across & ~excluded & (groups[one] != groups[other])
        for which, severity, whose, advice in (
            (across, Severity.LEAK, "of two splits", _AGAIN),
            (apart, Severity.WARNING, "of two groups", _ONE_GROUP),
        ):
            if which.any():
                findings.append(
                    Finding(
                        check=check,
                        severity=severity,
                        count=int(which.sum()),
                        message=f"{_several(int(which.sum()), 'pair')} of chips {whose} {what}",
                        examples=_named_pairs(table, pairs[which], how),
                        advice=advice,
                    )
                )
        inside = int((~across & ~apart).sum())
        findings.append(
            Finding(
                check=check,
                severity=Severity.NOTE,
                count=inside,
                message=f"{_several(inside, 'pair')} of chips {what} within a group, or with an "
                "excluded chip, as they may",
            )
        )
    labels = table["label"].to_numpy()
    contrary = alike[labels[alike["one"]] != labels[alike["other"]]]
    if len(contrary):
        findings.append(
            Finding(
                check="labels",
                severity=Severity.WARNING,
                count=len(contrary),
                message=f"{len(contrary):,} pairs show the same ground under two labels",
                examples=_named_pairs(table, contrary, "match {:.2f}"),
                advice="look at them: one label is wrong, or the ground changed",
            )
        )
    return findings


def _masks(dataset: ChipDataset, survey: Survey) -> list[Finding]:
    table, counts = dataset.table, survey.class_pixels
    if counts is None:
        found = table["label"].value_counts()
        if len(found) == 2:
            return []
        message = f"every chip has label {found.index[0]}"
        return [
            Finding(
                check="classes",
                severity=Severity.ERROR,
                count=len(table),
                message=message,
                advice="add chips of the other",
            )
        ]
    read = counts[:, 0] >= 0
    pixels = np.where(read[:, None], counts, 0)
    classes = dataset.about.classes
    findings = []
    for split in [None, *sorted(set(table["split"]) - {"", EXCLUDED})]:
        chosen = read if split is None else read & (table["split"] == split).to_numpy()
        lacking = [name for k, name in enumerate(classes) if not pixels[chosen, k].any()]
        if lacking and chosen.any():
            where = "anywhere" if split is None else f"in split {split}"
            findings.append(
                Finding(
                    check="classes",
                    severity=Severity.ERROR if split is None else Severity.WARNING,
                    count=len(lacking),
                    message=f"no pixel of {', '.join(lacking)} {where}",
                    advice="add labels of it, or take the class out",
                )
            )
    only = read & ((pixels > 0).sum(axis=1) == 1)
    kinds = {
        name: int((only & (pixels[:, k] > 0)).sum())
        for k, name in enumerate([*classes, "nothing labelled"])
    }
    if only.any():
        named = ", ".join(f"{name} {count:,}" for name, count in kinds.items() if count)
        empty = kinds["nothing labelled"]
        findings.append(
            Finding(
                check="masks",
                severity=Severity.WARNING if empty else Severity.NOTE,
                count=int(only.sum()),
                message=f"{int(only.sum()):,} masks hold one class only ({named})",
                advice="leave out masks in which nothing is labelled" if empty else "",
            )
        )
    sought = (pixels[:, 1 : len(classes)] > 0).any(axis=1)
    wrong = read & (sought != (table["label"] == 1).to_numpy())
    if wrong.any():
        findings.append(
            Finding(
                check="masks",
                severity=Severity.ERROR,
                count=int(wrong.sum()),
                message=f"{int(wrong.sum()):,} chips have a label that their mask contradicts",
                examples=_named(table, np.flatnonzero(wrong)),
                advice="label is 1 where the mask holds any class but the first; correct it",
            )
        )
    return findings


def _hints(dataset: ChipDataset, survey: Survey) -> list[Finding]:
    whole = dataset.table
    held_out = whole["split"].str.startswith("test") | (whole["split"] == EXCLUDED)
    table = whole[~held_out]
    if table.empty:
        return []
    kept = ~held_out.to_numpy()
    findings: list[Finding] = []
    columns = metadata_columns(table, survey.blank[kept], survey.brightness[kept])
    for name, values in columns.items():
        labels = table["label"].to_numpy(np.int64)
        groups = table["group"]
        if name == PLACE:
            # That a place is told at all is another column's matter.
            known = values.notna()
            values, labels, groups = values[known], labels[known], groups[known]
        found = predictability(labels, groups, values, name)
        if found is not None:
            findings += _told_by(found, len(values))
        findings += _told_by_values(one_sided(labels, groups, values, name))
    return findings


def _told_by(found: Predictability, chips: int) -> list[Finding]:
    if found.low <= 0.5:
        return []
    interval = f"AUC {found.auc:.2f} ({found.low:.2f} to {found.high:.2f})"
    if found.column in _RIGHTLY:
        message = f"{found.column} tells the label with {interval}, a mark that a model has to beat"
        return [Finding(check="hints", severity=Severity.NOTE, count=chips, message=message)]
    telling = found.low > _TELLING_AUC
    return [
        Finding(
            check="hints",
            severity=Severity.WARNING if telling else Severity.NOTE,
            count=chips,
            message=f"{found.column} tells the label with {interval}",
            advice="report figures within each of its values, and balance it when training"
            if telling
            else "",
        )
    ]


def _told_by_values(sided: Sequence[OneSided]) -> list[Finding]:
    if not sided:
        return []
    chips = sum(one.chips for one in sided)
    verb = "has" if len(sided) == 1 else "have"
    return [
        Finding(
            check="hints",
            severity=Severity.WARNING,
            count=chips,
            message=f"{_several(len(sided), 'value')} of {sided[0].column} {verb} one label only "
            f"({_several(chips, 'chip')})",
            examples=tuple(
                f"{one.value}: {_several(one.chips, 'chip')}, all of label {one.label}, where "
                f"{one.expected:g} of the other are due"
                for one in sided[:_EXAMPLES]
            ),
            advice="report figures without them as well",
        )
    ]


def _side_m(dataset: ChipDataset, survey: Survey) -> float:
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


def _named(table: pd.DataFrame, rows: IntArray) -> tuple[str, ...]:
    return tuple(table["chip_id"].iloc[rows[:_EXAMPLES]].astype(str))


def _named_pairs(table: pd.DataFrame, pairs: pd.DataFrame, how: str) -> tuple[str, ...]:
    """The first pairs, with what their third column says of them."""
    chips = table["chip_id"].astype(str).to_numpy()
    first = pairs.head(_EXAMPLES)
    return tuple(
        f"{chips[one]} and {chips[other]} ({how.format(value)})"
        for one, other, value in zip(first["one"], first["other"], first.iloc[:, 2], strict=True)
    )


def _several(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
