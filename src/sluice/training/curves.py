"""What a fit looked like: a table and a picture of each epoch."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel

from sluice.base.files import write_whole


class EpochRow(BaseModel):
    """One epoch of a fit."""

    epoch: int
    """From 1."""
    loss: float
    """Mean over the training batches, as augmented."""
    figure: float
    """Of the validation chips, higher is better."""
    learning_rate: float
    """Of the last step."""
    seconds: float


def curves_table(rows: Sequence[EpochRow], figure: str) -> str:
    """A line for each epoch, as CSV.

    Args:
        rows: Epochs of a fit.
        figure: What the validation figure is called.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("epoch", "loss", figure, "learning_rate", "seconds"))
    for row in rows:
        numbers = (row.loss, row.figure, row.learning_rate, row.seconds)
        writer.writerow((row.epoch, *(f"{number:.6g}" for number in numbers)))
    return text.getvalue()


def write_curves(folder: Path, name: str, rows: Sequence[EpochRow], figure: str) -> None:
    """Write `<name>-curves.csv`.

    Args:
        folder: Made if need be.
        name: Of the fit.
        rows: Its epochs, at least one.
        figure: What the validation figure is called.

    Raises:
        OSError: The folder cannot be written, or the disk is full.
    """
    with write_whole(folder / f"{name}-curves.csv") as part:
        part.write_bytes(curves_table(rows, figure).encode())


def draw_curves(folder: Path, name: str, rows: Sequence[EpochRow], figure: str) -> None:
    """Draw `<name>-curves.png`; arguments and errors as for `write_curves`."""
    # A Figure of its own: pyplot would keep state, and look for a screen.
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow, and only pictures need it

    picture = Figure(figsize=(7, 7))
    axes = picture.subplots(3, 1, sharex=True)
    epochs = [row.epoch for row in rows]
    series = (
        ("loss", [row.loss for row in rows]),
        (figure, [row.figure for row in rows]),
        ("learning rate", [row.learning_rate for row in rows]),
    )
    for axis, (label, values) in zip(axes, series, strict=True):
        axis.plot(epochs, values, marker="." if len(epochs) < 40 else None)
        axis.set_ylabel(label)
        axis.grid(visible=True, alpha=0.3)
    best = max(rows, key=lambda row: (row.figure, row.epoch))
    axes[1].axvline(best.epoch, linestyle="--", color="0.4")
    axes[0].set_title(f"{name}: best {figure} {best.figure:.3f} in epoch {best.epoch}")
    axes[2].set_xlabel("epoch")
    axes[2].xaxis.get_major_locator().set_params(integer=True)
    with write_whole(folder / f"{name}-curves.png") as part:
        picture.savefig(part, dpi=100)
