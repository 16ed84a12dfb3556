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


@app.command("random-features")
def random_features(
    data: Path = typer.Option(..., "--data", help="Folder with chips.csv and grids/, with splits."),
    out: Path = typer.Option(..., "--out", help="Folder for the model package."),
    name: str = typer.Option(..., "--name", help="What to call the model."),
    licence: str = typer.Option(..., "--licence", help="SPDX licence of the weights: CC-BY-4.0"),
    attribution: str = typer.Option(..., "--attribution", help="Whom to name for the data."),
    model: str = typer.Option("ridge", "--model", help="ridge, logistic, svm or forest."),
    patches: int = typer.Option(1024, "--patches", help="Patches; each gives two features."),
    patch_kind: str = typer.Option(
        "empirical", "--patch-kind", help="empirical: cut from the chips and whitened; or random."
    ),
    folds: int = typer.Option(5, "--folds", help="Cross-validation folds."),
    seed: int = typer.Option(0, "--seed", help="Random seed."),
) -> None:
    """Train random convolutional features with a linear model or a forest (MOSAIKS)."""
    from sluice.base.errors import ConfigError

    _require_sklearn()
    from pydantic import ValidationError

    from sluice.app.products.landing import telling_disk_errors
    from sluice.evaluation.report import render_report
    from sluice.training.feature_detector import FeatureSettings, train_on_chips

    try:
        settings = FeatureSettings.model_validate(
            {
                "model": model,
                "patches": patches,
                "patch_kind": patch_kind,
                "folds": folds,
                "seed": seed,
            }
        )
    except ValidationError as err:
        problem = err.errors(include_url=False)[0]
        option = "--" + "-".join(map(str, problem["loc"])).replace("_", "-")
        raise ConfigError(f"{option}: {problem['msg']}; see --help") from err
    with telling_disk_errors(out):
        trained = train_on_chips(
            data, out, name=name, licence=licence, attribution=attribution, settings=settings
        )
    typer.echo(render_report(trained.report))
    typer.echo(f"Model: {trained.package.folder}")


def _require_sklearn() -> None:
    from sluice.base.errors import ConfigError

    lacking = [m for m in ("sklearn", "skl2onnx") if importlib.util.find_spec(m) is None]
    if lacking:
        raise ConfigError(
            "this training needs scikit-learn and skl2onnx; "
            "install them with: pip install 'sluice[train]'"
        )
