"""What `sluice labels grid` made, in figures and in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from sluice.app.products.layout import RUN
from sluice.base.records import Record


class LabelGridSummary(Record):
    """The outcome: `summary` in `run.json`, and what `--json` prints."""

    chips: int
    labelled: int
    """Chips with a pixel of what is sought."""
    by_kind: dict[str, int]
    """Chips by what their cell was chosen for."""
    wanted_negatives: dict[str, int]
    """Asked for, by kind; fewer where there is no more room."""
    dropped: dict[str, int]
    """Cells that became no chip, by reason: `failed` (not to be read), `blank` (too little
    observed), `hidden` (labels under cloud throughout), `smaller_than_a_pixel` (labels without
    a pixel's centre), `labelled_at_other_dates`."""
    labels: int
    labels_without_area: int
    labels_undated: int
    """Taken to hold at any time."""
    labels_of_other_dates: int
    """Whose dates meet none of the imagery's periods."""
    images: int
    images_left_out: int


def summary_notes(summary: Mapping[str, object]) -> list[str]:
    """What a card says of how a data set was made, from the `summary` of its `run.json`."""
    figures = LabelGridSummary.model_validate(summary)
    dropped = ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in figures.dropped.items())
    lines = [
        f"Cells that became no chip: {dropped or 'none'}.",
        f"Labels: {figures.labels:,} polygons, {figures.labels_undated:,} without dates (taken to "
        f"hold at any time), {figures.labels_of_other_dates:,} of other dates than the images; "
        f"{figures.labels_without_area:,} features without area were left out.",
        f"Images: {figures.images:,}, {figures.images_left_out:,} left out.",
    ]
    short = {
        kind: wanted
        for kind, wanted in figures.wanted_negatives.items()
        if wanted > figures.by_kind.get(kind, 0)
    }
    lines += [
        f"Of {wanted:,} cells of kind {kind} that were asked for there are "
        f"{figures.by_kind.get(kind, 0):,}."
        for kind, wanted in short.items()
    ]
    return lines


def notes_of(folder: Path) -> list[str]:
    """How a data set was made, where its `run.json` says so."""
    try:
        record = json.loads((folder / RUN).read_bytes())
        return summary_notes(record["summary"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return []


def summary_text(summary: LabelGridSummary) -> str:
    """Say it in plain language."""
    kinds = ", ".join(f"{name} {count:,}" for name, count in summary.by_kind.items())
    head = f"{summary.chips:,} chips, {summary.labelled:,} of them with what is sought ({kinds})."
    return "\n".join([head, *summary_notes(summary.model_dump(mode="json"))])
