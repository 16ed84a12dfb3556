"""What a fit looked like: a table and a picture of each epoch."""

from __future__ import annotations

import csv
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
    with (
        write_whole(folder / f"{name}-curves.csv") as part,
        part.open("w", encoding="utf-8", newline="") as stream,
    ):
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("epoch", "loss", figure, "learning_rate", "seconds"))
        writer.writerows(
            (
                r.epoch,
                f"{r.loss:.6g}",
                f"{r.figure:.6g}",
                f"{r.learning_rate:.6g}",
                f"{r.seconds:.1f}",
            )
            for r in rows
        )


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
