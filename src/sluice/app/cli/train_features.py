"""`sluice train random-features | feature-table`: fixed features and a simple model of them."""

from __future__ import annotations

import typer

from sluice.app.cli.requests import make_command
from sluice.app.training_config import FeatureTableRequest, RandomFeaturesRequest

_SETTINGS = {"model", "patches", "patch_kind", "folds", "alphas", "seed"}


def _train_random_features(request: RandomFeaturesRequest) -> None:
    """Train random convolutional features with a linear model or a forest (MOSAIKS)."""
    from sluice.app.products.landing import telling_disk_errors
    from sluice.evaluation.report import render_report
    from sluice.training.feature_detector import FeatureSettings, train_on_dataset

    settings = FeatureSettings.model_validate(request.model_dump(include=_SETTINGS))
    asked = request.model_dump(exclude={"data", "out", *_SETTINGS})
    with telling_disk_errors(request.out):
        trained = train_on_dataset(
            request.data,
            request.out,
            settings=settings,
            tell=lambda doing: typer.echo(doing, err=True),
            **asked,
        )
    typer.echo(render_report(trained.report))
    typer.echo(f"Model: {trained.package.folder}")


def _train_feature_table(request: FeatureTableRequest) -> None:
    """Train on ready features without images, test on unseen blocks, and map every cell."""
    from sluice.app.cell_maps import train_cells
    from sluice.labels.mine_points import PointFilters

    report, found = train_cells(
        request.labels,
        request.features,
        request.out,
        covariates=request.covariates,
        # 0 refuses nobody, so the column need not be there.
        filters=PointFilters(
            request.min_inspected or None, request.min_confidence or None, request.exclude_types
        ),
        half_side_deg=request.half_side,
        settings={
            "block_side_deg": request.block_side,
            **request.model_dump(include={"model", "alphas", "seed", "aim", "calibration"}),
        },
        prior=request.prior,
    )
    typer.echo(report)
    typer.echo(found.in_words())


def register(app: typer.Typer) -> None:
    """Add the commands."""
    packages = ("sklearn", "skl2onnx", "yaml")
    app.command("random-features")(
        make_command(RandomFeaturesRequest, _train_random_features, *packages)
    )
    app.command("feature-table")(make_command(FeatureTableRequest, _train_feature_table, *packages))
