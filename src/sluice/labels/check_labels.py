"""Whether labels and masks agree, hold every class, and can be guessed from something else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from sluice.base.arrays import IntArray
from sluice.labels.dataset import ChipDataset
from sluice.labels.findings import EXAMPLES, Finding, Severity, named, several
from sluice.labels.shortcuts import (
    PLACE,
    SOURCE,
    OneSided,
    Predictability,
    metadata_columns,
    one_sided,
    predictability,
)
from sluice.labels.splits import EXCLUDED, held_out
from sluice.labels.survey import Survey

ALL_SOUGHT = (
    "what learns from such chips alone may call everything that, which a test of their kind hides"
)
"""Of pixels; where chips are labelled as wholes there is nothing to learn from them at all."""
BoolArray = npt.NDArray[np.bool_]
_TELLING_AUC = 0.6
"""Of the lower end of the interval: from here on a column is worth a warning."""
_RIGHTLY = {"mean brightness"}
"""Columns of the picture itself, which may tell the label rightly."""


def check_masks(dataset: ChipDataset, survey: Survey) -> list[Finding]:
    """Classes without pixels, masks of one class, and labels that masks contradict."""
    table, counts = dataset.table, survey.class_pixels
    if counts is None:
        return _lacking_label(dataset)
    read = counts[:, 0] >= 0
    pixels = np.where(read[:, None], counts, 0)
    findings = _lacking_classes(dataset, read, pixels) + _single_classes(dataset, pixels)
    sought = np.asarray((pixels[:, 1 : len(dataset.about.classes)] > 0).any(axis=1))
    findings += _sought_everywhere(dataset, read, sought)
    wrong = read & (sought != (table["label"] == 1).to_numpy())
    if wrong.any():
        findings.append(
            Finding(
                check="masks",
                severity=Severity.ERROR,
                count=int(wrong.sum()),
                message=f"{several(int(wrong.sum()), 'chip')} with a label that the mask "
                "contradicts",
                examples=named(table, np.flatnonzero(wrong)),
                advice="label is 1 where the mask holds any class but the first; correct it",
            )
        )
    return findings


def _lacking_label(dataset: ChipDataset) -> list[Finding]:
    found = dataset.table["label"].unique()
    if len(found) == 2:
        return []
    return [
        Finding(
            check="classes",
            severity=Severity.ERROR,
            count=len(dataset.table),
            message=f"every chip has label {found[0]}",
            advice="add chips of the other",
        )
    ]


def _lacking_classes(dataset: ChipDataset, read: BoolArray, pixels: IntArray) -> list[Finding]:
    splits = dataset.table["split"]
    findings = []
    for split in [None, *sorted(set(splits) - {"", EXCLUDED})]:
        chosen = read if split is None else read & (splits == split).to_numpy()
        lacking = [
            name for k, name in enumerate(dataset.about.classes) if not pixels[chosen, k].any()
        ]
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
    return findings


def _sought_everywhere(dataset: ChipDataset, read: BoolArray, sought: BoolArray) -> list[Finding]:
    """All chips, or all of the split that is learnt from, hold what is sought."""
    splits = dataset.table["split"]
    used = read & (splits != EXCLUDED).to_numpy()
    for which, whose in ((used, ""), (used & (splits == "train").to_numpy(), " of split train")):
        if which.any() and sought[which].all():
            return [
                Finding(
                    check="classes",
                    severity=Severity.WARNING,
                    count=int(which.sum()),
                    message=f"every chip{whose} holds what is sought, and {ALL_SOUGHT}",
                    advice="add chips of other ground: sluice labels grid --negatives 1",
                )
            ]
    return []


def _single_classes(dataset: ChipDataset, pixels: IntArray) -> list[Finding]:
    only = (pixels > 0).sum(axis=1) == 1
    if not only.any():
        return []
    names = [*dataset.about.classes, "nothing labelled"]
    kinds = {name: int((only & (pixels[:, k] > 0)).sum()) for k, name in enumerate(names)}
    told = ", ".join(f"{name} {count:,}" for name, count in kinds.items() if count)
    empty = kinds["nothing labelled"]
    return [
        Finding(
            check="masks",
            severity=Severity.WARNING if empty else Severity.NOTE,
            count=int(only.sum()),
            message=f"{several(int(only.sum()), 'mask')} of one class only ({told})",
            advice="leave out masks in which nothing is labelled" if empty else "",
        )
    ]


def check_hints(dataset: ChipDataset, survey: Survey) -> list[Finding]:
    """Columns that tell the label, among chips that are not held out.

    That kinds of negatives have one label is their nature; what else `source` tells is looked for
    among the other chips.
    """
    whole = dataset.table
    kept = ~held_out(whole)
    table = whole[kept]
    if table.empty:
        return []
    by_design = ((table["label"] == 0) & table["source"].isin(dataset.about.negatives)).to_numpy()
    findings = _by_design(table["source"][by_design])
    columns = metadata_columns(table, survey.blank[kept], survey.brightness[kept])
    for name, column in columns.items():
        values = column
        labels = table["label"].to_numpy(np.int64)
        groups = table["group"]
        asked = np.ones(len(table), np.bool_)
        if name == PLACE:
            # That a place is told at all is another column's matter.
            asked = values.notna().to_numpy()
        elif name == SOURCE:
            asked = ~by_design
        values, labels, groups = values[asked], labels[asked], groups[asked]
        found = predictability(labels, groups, values, name)
        if found is not None:
            findings += _told_by(found, len(values))
        findings += _told_by_values(one_sided(labels, groups, values, name))
    return findings


def _by_design(sources: pd.Series) -> list[Finding]:
    if sources.empty:
        return []
    told = ", ".join(f"{name} {count:,}" for name, count in sources.value_counts().items())
    return [
        Finding(
            check="hints",
            severity=Severity.NOTE,
            count=len(sources),
            message=f"{SOURCE} names kinds of negatives ({told}), and so tells their label by "
            "design",
        )
    ]


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
            message=f"{several(len(sided), 'value')} of {sided[0].column} {verb} one label only "
            f"({several(chips, 'chip')})",
            examples=tuple(
                f"{one.value}: {several(one.chips, 'chip')}, all of label {one.label}, where "
                f"{one.expected:g} of the other are due"
                for one in sided[:EXAMPLES]
            ),
            advice="report figures without them as well",
        )
    ]
