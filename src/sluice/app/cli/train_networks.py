"""`sluice train unet | segformer | cnn | chip-detector`: models that are networks."""

from __future__ import annotations

from typing import Any

import typer

from sluice.app.cli.requests import make_command, need
from sluice.app.training_config import (
    ChipDetectorRequest,
    CnnRequest,
    SegFormerRequest,
    TrainingRequest,
    UNetRequest,
)


def _train_unet(request: UNetRequest) -> None:
    """Train a U-Net that judges pixels; stopped, it goes on when called again."""
    from sluice.training.options import UNetOptions

    need("monai")
    _train_pixels(request, UNetOptions(**_of(request, UNetOptions)))


def _train_segformer(request: SegFormerRequest) -> None:
    """Train a SegFormer that judges pixels; stopped, it goes on when called again."""
    from sluice.training.options import SegFormerOptions

    need("transformers")
    _train_pixels(request, SegFormerOptions(**_of(request, SegFormerOptions)))


def _train_cnn(request: CnnRequest) -> None:
    """Train networks that judge windows; stopped, it goes on when called again."""
    from sluice.app.products.landing import telling_disk_errors
    from sluice.evaluation.report import render_report
    from sluice.training.families import take_shape
    from sluice.training.options import CnnOptions
    from sluice.training.patch_cnn import ARCHITECTURES
    from sluice.training.window_model import train_window_model

    options, parent = CnnOptions(**_of(request, CnnOptions)), _parent(request)
    if parent is not None:
        expected = ARCHITECTURES[options.architecture].record
        options = take_shape(options, request.model_fields_set, parent, expected)
    with telling_disk_errors(request.out):
        trained = train_window_model(request.data, request.out, options, _naming(request), parent)
    typer.echo(render_report(trained.report))
    typer.echo(f"Model: {trained.package.folder}")


def _train_chip_detector(request: ChipDetectorRequest) -> None:
    """Train the red-green-blue chip detector; stopped, it goes on when called again."""
    from sluice.app.products.landing import telling_disk_errors
    from sluice.evaluation.report import render_report
    from sluice.training.chip_detector import train_chip_detector
    from sluice.training.fit import FitSettings

    settings = FitSettings(epochs=request.epochs, seed=request.seed)
    asked = request.model_dump(exclude={"data", "out", "epochs", "seed"})
    with telling_disk_errors(request.out):
        trained = train_chip_detector(request.data, request.out, settings=settings, **asked)
    typer.echo(render_report(trained.report))
    typer.echo(f"Model: {trained.package.folder}")


def _train_pixels(request: TrainingRequest, options: Any) -> None:
    from sluice.app.products.landing import telling_disk_errors
    from sluice.evaluation.pixel_report import render_pixel_report
    from sluice.training.families import family_of, network_record, take_shape
    from sluice.training.pixel_model import train_pixel_model

    parent = _parent(request)
    if parent is not None:
        expected = network_record(family_of(options), options)
        options = take_shape(options, request.model_fields_set, parent, expected)
    with telling_disk_errors(request.out):
        trained = train_pixel_model(request.data, request.out, options, _naming(request), parent)
    if trained.report is not None:
        typer.echo(render_pixel_report(trained.report))
    typer.echo(f"Model: {trained.package.folder}")


def _of(request: TrainingRequest, options: Any) -> dict[str, Any]:
    return request.model_dump(include=set(options.model_fields))


def _naming(request: TrainingRequest) -> Any:
    from sluice.training.naming import Naming

    return Naming(request.name, request.licence, request.attribution)


def _parent(request: TrainingRequest) -> Any:
    from sluice.app.config import models_folder
    from sluice.models.package import load_package

    start = request.start_from
    return None if start is None else load_package(start, models_folder())


def register(app: typer.Typer) -> None:
    """Add the commands."""
    networks = ("torch", "yaml", "matplotlib")
    app.command("unet")(make_command(UNetRequest, _train_unet, *networks))
    app.command("segformer")(make_command(SegFormerRequest, _train_segformer, *networks))
    app.command("cnn")(make_command(CnnRequest, _train_cnn, *networks))
    app.command("chip-detector")(
        make_command(ChipDetectorRequest, _train_chip_detector, "torch", "yaml")
    )
