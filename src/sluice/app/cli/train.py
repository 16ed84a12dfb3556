"""`sluice train`: models from labels. Needs the extra `train`."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import typer

app = typer.Typer(help="Train a model from labels. Needs: pip install 'sluice[train]'")


@app.callback()
def _group() -> None:
    """Keep `chip-detector` a subcommand, as other families will stand beside it."""


@app.command("chip-detector")
def chip_detector(
    data: Path = typer.Option(..., "--data", help="Folder with chips.csv and grids/, with splits."),
    out: Path = typer.Option(..., "--out", help="Folder for the model package."),
    name: str = typer.Option(..., "--name", help="What to call the model."),
    licence: str = typer.Option(..., "--licence", help="SPDX licence of the weights: CC-BY-4.0"),
    attribution: str = typer.Option(..., "--attribution", help="Whom to name for the data."),
    epochs: int = typer.Option(30, "--epochs", help="Passes over the chips."),
    folds: int = typer.Option(5, "--folds", help="Cross-validation folds."),
    seeds: int = typer.Option(1, "--seeds", help="Networks in the ensemble."),
    seed: int = typer.Option(0, "--seed", help="First random seed."),
    workers: int = typer.Option(1, "--workers", help="Networks fitted at a time."),
) -> None:
    """Train the red-green-blue chip detector; stopped, it goes on when called again."""
    from sluice.base.errors import ConfigError

    if importlib.util.find_spec("torch") is None:
        raise ConfigError("training needs PyTorch; install it with: pip install 'sluice[train]'")
    from sluice.app.products.landing import telling_disk_errors
    from sluice.evaluation.report import render_report
    from sluice.training.chip_detector import train_chip_detector
    from sluice.training.fit import FitSettings

    with telling_disk_errors(out):
        trained = train_chip_detector(
            data,
            out,
            name=name,
            licence=licence,
            attribution=attribution,
            settings=FitSettings(epochs=epochs, seed=seed),
            folds=folds,
            seeds=seeds,
            workers=workers,
        )
    typer.echo(render_report(trained.report))
    typer.echo(f"Model: {trained.package.folder}")
