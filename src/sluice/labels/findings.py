"""What a check of a data set tells."""

from __future__ import annotations

from enum import StrEnum

import pandas as pd
from pydantic import computed_field

from sluice.base.arrays import IntArray
from sluice.base.records import Record

EXAMPLES = 5
"""Of each finding."""


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
    """Or features, of a file of polygons."""
    unit: str = "chip"
    findings: tuple[Finding, ...]
    """The worst first."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def fit_for_training(self) -> bool:
        """Whether there is neither a leak nor an error."""
        return not any(f.severity in {Severity.LEAK, Severity.ERROR} for f in self.findings)


def report_text(report: CheckReport) -> str:
    """Say it in plain language, the worst first."""
    lines = [f"{report.name}: {several(report.chips, report.unit)}"]
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


def named(table: pd.DataFrame, rows: IntArray) -> tuple[str, ...]:
    """The first of some chips, by id."""
    return tuple(table["chip_id"].iloc[rows[:EXAMPLES]].astype(str))


def named_pairs(table: pd.DataFrame, pairs: pd.DataFrame, how: str) -> tuple[str, ...]:
    """The first pairs, with what their third column says of them."""
    chips = table["chip_id"].astype(str).to_numpy()
    first = pairs.head(EXAMPLES)
    return tuple(
        f"{chips[one]} and {chips[other]} ({how.format(value)})"
        for one, other, value in zip(first["one"], first["other"], first.iloc[:, 2], strict=True)
    )


def several(count: int, noun: str) -> str:
    """`1 chip`, `1,200 chips`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
