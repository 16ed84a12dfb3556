"""What is wrong with a data set, before anybody trains on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from sluice.labels.check_facts import check_dates, check_places, chip_side_m
from sluice.labels.check_labels import check_hints, check_masks
from sluice.labels.dataset import ChipDataset, read_dataset
from sluice.labels.duplicates import look_alikes, pixel_sharers
from sluice.labels.findings import (
    EXAMPLES,
    CheckReport,
    Finding,
    Severity,
    named,
    named_pairs,
    several,
)
from sluice.labels.groups import located, overlapping_pairs
from sluice.labels.splits import EXCLUDED, leaking_groups, leaking_pairs
from sluice.labels.survey import Survey, survey_chips

_AGAIN = "divide it again: sluice labels split"
_ONE_GROUP = "give them one group: folds cut between groups"


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
        *check_places(dataset, survey),
        *check_dates(dataset),
        *_split_groups(dataset.table),
        *_split_ground(dataset, survey),
        *_shown_twice(dataset, survey),
        *check_masks(dataset, survey),
        *check_hints(dataset, survey),
    ]
    findings += _apart(dataset.table, findings)
    order = list(Severity)
    findings.sort(key=lambda finding: order.index(finding.severity))
    return CheckReport(name=dataset.about.name, chips=len(dataset.table), findings=tuple(findings))


def _apart(table: pd.DataFrame, findings: Sequence[Finding]) -> list[Finding]:
    """What can be said of splits in which no leak was found."""
    splits = table.loc[~table["split"].isin(("", EXCLUDED)), "split"].value_counts().sort_index()
    if len(splits) < 2 or any(finding.severity is Severity.LEAK for finding in findings):
        return []
    told = ", ".join(f"{name} ({several(int(count), 'chip')})" for name, count in splits.items())
    message = f"{told}: no group, ground or pixels in common"
    return [Finding(check="splits", severity=Severity.NOTE, count=len(splits), message=message)]


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
                    examples=tuple(unread.values())[:EXAMPLES],
                    advice="make them again, or drop their lines from the table",
                )
            )
    sizes = Counter(survey.sizes).most_common()
    if len(sizes) > 1:
        told = ", ".join(f"{h} x {w} px: {n:,}" for (h, w), n in sizes)
        findings.append(
            Finding(
                check="sizes",
                severity=Severity.ERROR,
                count=sum(n for _, n in sizes[1:]),
                message=f"chips are of {len(sizes)} sizes ({told})",
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
                examples=named(dataset.table, blank),
                advice="leave them out, or train with a model that knows absent pixels",
            )
        )
    return findings


def _split_groups(table: pd.DataFrame) -> list[Finding]:
    groups = leaking_groups(table)
    if groups:
        return [
            Finding(
                check="groups",
                severity=Severity.LEAK,
                count=len(groups),
                message=f"{len(groups):,} groups have chips in two splits",
                examples=tuple(groups[:EXAMPLES]),
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
    table, side_m = dataset.table, chip_side_m(dataset, survey)
    across = leaking_pairs(table, side_m)
    findings = []
    if len(across):
        findings.append(
            Finding(
                check="ground",
                severity=Severity.LEAK,
                count=len(across),
                message=f"{len(across):,} pairs of chips of two splits overlap, as their places "
                "say",
                examples=named_pairs(table, across, "{:.0f} m"),
                advice=_AGAIN,
            )
        )
    known = np.flatnonzero(located(table))
    places = table[["lon", "lat"]].to_numpy(np.float64)[known]
    pairs, distances = overlapping_pairs(places[:, 0], places[:, 1], side_m)
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
                message=f"{len(near):,} pairs of chips of two groups overlap, as their places say",
                examples=named_pairs(table, near, "{:.0f} m"),
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
                        message=f"{several(int(which.sum()), 'pair')} of chips {whose} {what}",
                        examples=named_pairs(table, pairs[which], how),
                        advice=advice,
                    )
                )
        inside = int((~across & ~apart).sum())
        findings.append(
            Finding(
                check=check,
                severity=Severity.NOTE,
                count=inside,
                message=f"{several(inside, 'pair')} of chips {what} within a group, or with an "
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
                examples=named_pairs(table, contrary, "match {:.2f}"),
                advice="look at them: one label is wrong, or the ground changed",
            )
        )
    return findings
