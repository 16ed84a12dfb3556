"""What is in a data set: counts of classes and their company, and a card for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from sluice.base.arrays import IntArray
from sluice.base.errors import ShapeMismatch
from sluice.base.files import write_whole
from sluice.labels.dataset import ChipDataset
from sluice.labels.groups import located

CARD_FILE = "DATASET_CARD.md"
_AT_ONCE = 64
_MARKDOWN = str.maketrans({"|": "\\|", "\n": " ", "\r": " "})


@dataclass(frozen=True)
class ClassCounts:
    """How often each class occurs in the masks, and which occur together."""

    pixels: IntArray
    """(C, C): in the chips that hold class i, the pixels of class j; the diagonal counts all
    pixels of a class."""
    chips: IntArray
    """(C, C): chips that hold both; the diagonal counts the chips that hold a class."""
    unlabelled: int
    """Pixels."""
    pixels_by_chip: IntArray
    """(N, C)."""


def count_classes(masks_nhw: npt.NDArray[np.uint8], classes: int) -> IntArray:
    """Pixels of each class in each mask.

    Args:
        masks_nhw: (n, H, W) values 0 to `classes` - 1, or 255.
        classes: How many there are.

    Returns:
        (n, classes + 1), the unlabelled pixels last.

    Raises:
        ShapeMismatch: Not three axes.
    """
    if masks_nhw.ndim != 3:
        raise ShapeMismatch(f"masks are (n, H, W), got {masks_nhw.shape}")
    values = np.minimum(masks_nhw.reshape(len(masks_nhw), -1), classes).astype(np.int64)
    offsets = np.arange(len(masks_nhw))[:, None] * (classes + 1)
    counts = np.bincount((values + offsets).ravel(), minlength=len(masks_nhw) * (classes + 1))
    return counts.reshape(len(masks_nhw), classes + 1).astype(np.int64)


def co_occurrence(pixels_by_chip: IntArray) -> tuple[IntArray, IntArray]:
    """Which classes occur together.

    Args:
        pixels_by_chip: (N, C) pixels of each class in each chip.

    Returns:
        The matrices `pixels` and `chips` of `ClassCounts`.
    """
    holds = (pixels_by_chip > 0).astype(np.int64)
    return holds.T @ pixels_by_chip, holds.T @ holds


def read_class_counts(dataset: ChipDataset) -> ClassCounts:
    """Count the classes of a data set's masks.

    Raises:
        DataError: It has no masks, or they hold other classes.
        AssetReadError: A mask is damaged.
    """
    classes = len(dataset.about.classes)
    rows = np.arange(len(dataset.table))
    parts = [
        count_classes(dataset.masks(rows[start : start + _AT_ONCE]), classes)
        for start in range(0, len(rows), _AT_ONCE)
    ]
    counts = np.concatenate(parts)
    pixels, chips = co_occurrence(counts[:, :classes])
    return ClassCounts(pixels, chips, int(counts[:, classes].sum()), counts[:, :classes])


def card_text(dataset: ChipDataset, *, notes: Sequence[str] = ()) -> str:
    """Describe a data set in Markdown.

    Args:
        dataset: Its masks are read, where it has any.
        notes: How it was made, a line each.

    Raises:
        SluiceError: Its masks cannot be read.
    """
    about, table = dataset.about, dataset.table
    counts = read_class_counts(dataset) if dataset.read_masks is not None else None
    lines = [f"# {_cell(about.name)}", ""]
    lines += [about.summary, ""] if about.summary else []
    lines += _facts(dataset)
    lines += ["", "## Chips", "", *_label_table(table, "split"), "", *_label_table(table, "source")]
    if counts is not None:
        lines += ["", "## Classes", "", *_class_table(about.classes, counts, table)]
        lines += ["", *_together(about.classes, counts)]
    lines += ["", "## Places", "", *_places(table)]
    if notes:
        lines += ["", "## Making", "", *(f"- {note}" for note in notes)]
    return "\n".join(lines) + "\n"


def write_card(
    dataset: ChipDataset, path: Path | None = None, *, notes: Sequence[str] = ()
) -> Path:
    """Write the card of a data set, beside it unless told otherwise; see `card_text`.

    Raises:
        OSError: The folder cannot be written.
    """
    path = path or dataset.folder / CARD_FILE
    text = card_text(dataset, notes=notes)
    with write_whole(path) as part:
        part.write_text(text, encoding="utf-8")
    return path


def _facts(dataset: ChipDataset) -> list[str]:
    about, table = dataset.about, dataset.table
    known = table[table["start"].notna() & table["end"].notna()]
    dates = (
        f"{known['start'].min():%Y-%m-%d} to {known['end'].max():%Y-%m-%d}" if len(known) else ""
    )
    rows = {
        "Chips": f"{len(table):,} in {table['group'].nunique():,} groups",
        "Bands": ", ".join(about.bands),
        "Sensor": about.sensor or "not stated",
        "Pixel": f"{about.gsd_m:g} m",
        "Classes": ", ".join(about.classes),
        "Dates": dates + _undated(len(table) - len(known), bool(len(known))),
        "Licence": about.licence or "not stated",
        "Attribution": about.attribution or "not stated",
    }
    return ["| | |", "|---|---|", *(f"| {name} | {_cell(text)} |" for name, text in rows.items())]


def _undated(count: int, some: bool) -> str:
    return f"; {count:,} chips without" if count and some else ""


def _label_table(table: pd.DataFrame, column: str) -> list[str]:
    """Chips and groups by a column, those with something sought apart."""
    lines = [f"| {column} | chips | with something sought | groups |", "|---|---:|---:|---:|"]
    for name, members in table.groupby(column, sort=True):
        sought = int(members["label"].sum())
        groups = members["group"].nunique()
        lines.append(f"| {_cell(str(name)) or '–'} | {len(members):,} | {sought:,} | {groups:,} |")
    return lines


def _class_table(classes: Sequence[str], counts: ClassCounts, table: pd.DataFrame) -> list[str]:
    splits = sorted(set(table["split"]))
    lines = [
        f"| pixels | all | {' | '.join(_cell(split) or '–' for split in splits)} |",
        "|---|---:|" + "---:|" * len(splits),
    ]
    for k, name in enumerate(classes):
        own = counts.pixels_by_chip[:, k]
        parts = " | ".join(f"{own[(table['split'] == split)].sum():,}" for split in splits)
        lines.append(f"| {_cell(name)} | {own.sum():,} | {parts} |")
    total = counts.pixels_by_chip.sum() + counts.unlabelled
    lines += ["", f"Nobody labelled {counts.unlabelled / max(1, total):.1%} of the pixels."]
    return lines


def _together(classes: Sequence[str], counts: ClassCounts) -> list[str]:
    head = " | ".join(map(_cell, classes))
    lines = [
        "In the chips that hold the class of the row: pixels of the class of the column, and in "
        "brackets the chips that hold both.",
        "",
        f"| | {head} |",
        "|---|" + "---:|" * len(classes),
    ]
    for k, name in enumerate(classes):
        row = " | ".join(
            f"{pixels:,} ({chips:,})"
            for pixels, chips in zip(counts.pixels[k], counts.chips[k], strict=True)
        )
        lines.append(f"| {_cell(name)} | {row} |")
    return lines


def _places(table: pd.DataFrame) -> list[str]:
    known = located(table)
    lines = [f"{int(known.sum()):,} of {len(table):,} chips say where they are."]
    if not known.any():
        return lines
    lines += ["", "| split | west | south | east | north |", "|---|---:|---:|---:|---:|"]
    for name, members in table[known].groupby("split", sort=True):
        west, east = _longitudes(members["lon"].to_numpy(np.float64))
        south, north = members["lat"].min(), members["lat"].max()
        edges = " | ".join(f"{edge:.3f}" for edge in (west, south, east, north))
        lines.append(f"| {_cell(str(name)) or '–'} | {edges} |")
    return lines


def _longitudes(lon: npt.NDArray[np.float64]) -> tuple[float, float]:
    """West and east end of the shortest span; the west is the greater one across 180 degrees."""
    ordered = np.unique(lon)
    gaps = np.diff(ordered, append=ordered[0] + 360)
    last = int(np.argmax(gaps))
    return float(ordered[(last + 1) % len(ordered)]), float(ordered[last])


def _cell(text: str) -> str:
    return text.translate(_MARKDOWN)
