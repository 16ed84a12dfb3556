"""`sluice map-features`: a map from a table of ready features."""

from __future__ import annotations

from pathlib import Path

import typer


def map_features(
    model: Path = typer.Argument(help="The folder `model` that `train feature-table` wrote."),
    features: Path = typer.Argument(help="Feather, Parquet or CSV with the model's features."),
    out: Path = typer.Option(..., "--out", help="Folder for the map."),
    covariates: Path | None = typer.Option(
        None, "--covariates", help="Table of what else the model needs to know of places."
    ),
    prior: float | None = typer.Option(
        None, "--prior", help="Share of cells with a mine where you look: 0.01 is one in 100."
    ),
) -> None:
    """Map the probability of mines from ready features, with a model of `train feature-table`."""
    from sluice.app.cell_maps import map_cells

    found = map_cells(model, features, out, covariates=covariates, prior=prior)
    typer.echo(found.in_words())
