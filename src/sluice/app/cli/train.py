"""`sluice train`: models from labels. Needs the extra `train`."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import typer

from sluice.app.cli import train_networks
from sluice.app.cli.errors import stoppable

app = typer.Typer(
    cls=stoppable("unet", "segformer", "cnn", "chip-detector"),
    help="Train a model from labels. Needs: pip install 'sluice[train]'",
)
train_networks.register(app)

_ALPHAS = "0.01,0.1,1,10"
_ALPHAS_HELP = "Penalties of linear models to choose from; add 100,1000 for few labels."


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
    epochs: int = typer.Option(24, "--epochs", help="Passes over the chips."),
    folds: int = typer.Option(5, "--folds", help="Cross-validation folds."),
    seeds: int = typer.Option(1, "--seeds", help="Networks in the ensemble."),
    views: int = typer.Option(4, "--views", help="Sides each looks from: 1, 2 or 4."),
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
            views=views,
            workers=workers,
        )
    typer.echo(render_report(trained.report))
    typer.echo(f"Model: {trained.package.folder}")


@app.command("random-features")
def random_features(
    data: Path = typer.Option(
        ..., "--data", help="A data set: dataset.json and index.csv, or chips.csv and grids/."
    ),
    out: Path = typer.Option(..., "--out", help="Folder for the model package."),
    name: str = typer.Option(..., "--name", help="What to call the model."),
    licence: str = typer.Option(..., "--licence", help="SPDX licence of the weights: CC-BY-4.0"),
    attribution: str = typer.Option(..., "--attribution", help="Whom to name for the data."),
    model: str = typer.Option("ridge", "--model", help="ridge, logistic, svm or forest."),
    patches: int = typer.Option(512, "--patches", help="Patches; each gives two features."),
    patch_kind: str = typer.Option(
        "empirical", "--patch-kind", help="empirical: cut from the chips and whitened; or random."
    ),
    folds: int = typer.Option(5, "--folds", help="Cross-validation folds."),
    alphas: str = typer.Option(_ALPHAS, "--alphas", help=_ALPHAS_HELP),
    bands: str = typer.Option(
        "",
        "--bands",
        help="rgb, rgb+nir, or bands of the data set by name; none: all.",
    ),
    sensor: str | None = typer.Option(
        None, "--sensor", help="Sensor of the images, where the data set does not say it."
    ),
    seed: int = typer.Option(0, "--seed", help="Random seed."),
) -> None:
    """Train random convolutional features with a linear model or a forest (MOSAIKS)."""
    from sluice.base.errors import ConfigError

    _require_sklearn()
    from pydantic import ValidationError

    from sluice.app.products.landing import telling_disk_errors
    from sluice.evaluation.report import render_report
    from sluice.training.feature_detector import FeatureSettings, train_on_dataset

    try:
        settings = FeatureSettings.model_validate(
            {
                "model": model,
                "patches": patches,
                "patch_kind": patch_kind,
                "folds": folds,
                "alphas": _numbers(alphas),
                "seed": seed,
            }
        )
    except ValidationError as err:
        problem = err.errors(include_url=False)[0]
        option = "--" + "-".join(map(str, problem["loc"])).replace("_", "-")
        where = f"{option}: " if problem["loc"] else ""
        reason = problem["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{where}{reason}; see --help") from err
    with telling_disk_errors(out):
        trained = train_on_dataset(
            data,
            out,
            name=name,
            licence=licence,
            attribution=attribution,
            settings=settings,
            bands=tuple(part.strip() for part in bands.split(",") if part.strip()),
            sensor=sensor,
            tell=lambda doing: typer.echo(doing, err=True),
        )
    typer.echo(render_report(trained.report))
    typer.echo(f"Model: {trained.package.folder}")


def _numbers(text: str) -> tuple[float, ...]:
    from sluice.base.errors import ConfigError

    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as err:
        raise ConfigError(f"--alphas {text!r} are no numbers with commas; give 0.1,1,10") from err


def _require_sklearn() -> None:
    from sluice.base.errors import ConfigError

    lacking = [m for m in ("sklearn", "skl2onnx") if importlib.util.find_spec(m) is None]
    if lacking:
        raise ConfigError(
            "this training needs scikit-learn and skl2onnx; "
            "install them with: pip install 'sluice[train]'"
        )


@app.command("feature-table")
def feature_table(
    labels: Path = typer.Option(..., "--labels", help="CSV with lon, lat, label and the rest."),
    features: Path = typer.Option(..., "--features", help="Feather, Parquet or CSV, by cell."),
    out: Path = typer.Option(..., "--out", help="Folder for model, report and map."),
    covariates: Path | None = typer.Option(
        None, "--covariates", help="Table of more about places: distances, geology, income."
    ),
    model: str = typer.Option("ridge", "--model", help="ridge, logistic, svm or forest."),
    half_side: float = typer.Option(0.005, "--half-side", help="Half of a cell's side, degrees."),
    block_side: float = typer.Option(
        0.25, "--block-side", help="Side of the blocks that splits keep whole, degrees."
    ),
    min_inspected: float = typer.Option(
        0.2, "--min-inspected", help="Share inspected that a place without a mine needs; 0: any."
    ),
    min_confidence: float = typer.Option(
        3, "--min-confidence", help="Confidence that a label needs; 0: any."
    ),
    exclude_types: str = typer.Option(
        "commercial", "--exclude-types", help="Mine types to leave out, with commas."
    ),
    prior: float | None = typer.Option(
        None, "--prior", help="Share of cells with a mine where you look, for the map: 0.01."
    ),
    alphas: str = typer.Option(_ALPHAS, "--alphas", help=_ALPHAS_HELP),
    seed: int = typer.Option(0, "--seed", help="Random seed."),
) -> None:
    """Train on ready features without images, test on unseen blocks, and map every cell."""
    _require_sklearn()
    from sluice.app.cell_maps import train_cells
    from sluice.labels.mine_points import PointFilters

    report, found = train_cells(
        labels,
        features,
        out,
        covariates=covariates,
        filters=PointFilters(
            # 0 refuses nobody, so the column need not be there.
            min_inspected or None,
            min_confidence or None,
            tuple(name.strip() for name in exclude_types.split(",") if name.strip()),
        ),
        half_side_deg=half_side,
        settings={
            "model": model,
            "block_side_deg": block_side,
            "alphas": _numbers(alphas),
            "seed": seed,
        },
        prior=prior,
    )
    typer.echo(report)
    typer.echo(found.in_words())
