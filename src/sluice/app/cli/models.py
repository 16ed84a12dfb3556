"""`sluice models import | list | show | calibrate`."""

from __future__ import annotations

from pathlib import Path

import typer

app = typer.Typer(help="Models: what there is, what one is, and published ones to import.")
_MODEL = typer.Argument(help="A model's name, or its folder.")


@app.command("list")
def list_models(json: bool = typer.Option(False, "--json", help="For machines.")) -> None:
    """List the models that `--model` takes."""
    import json as json_module

    from sluice.app.config import models_folder
    from sluice.models.package import DamagedPackage, list_packages

    packages = list_packages(models_folder())
    if json:
        rows = [
            {"name": p.name, "folder": str(p.folder)}
            | ({"damaged": p.reason} if isinstance(p, DamagedPackage) else {"sha256": p.sha256})
            for p in packages
        ]
        typer.echo(json_module.dumps(rows, indent=2))
        return
    for package in packages:
        if isinstance(package, DamagedPackage):
            typer.echo(f"{package.name:24} damaged: {package.reason}")
            continue
        manifest = package.manifest
        bands = f"{len(manifest.inputs)} bands" if len(manifest.inputs) > 1 else "1 band"
        judged = "window" if manifest.judges == "windows" else "cells"
        window = f"{manifest.window_px * manifest.gsd_m:.0f} m {judged}"
        typer.echo(f"{package.name:24} {bands:9} {window:14} {manifest.title}")
    typer.echo(f"\nYour own are in {models_folder()}")


@app.command("show")
def show(
    name: str = _MODEL,
    json: bool = typer.Option(False, "--json", help="The manifest, for machines."),
) -> None:
    """Show a model's card, or its manifest."""
    from sluice.app.config import models_folder
    from sluice.models.package import load_package

    package = load_package(name, models_folder())
    if json:
        typer.echo(package.manifest.to_json())
        return
    typer.echo(package.card_path.read_text(encoding="utf-8"))
    typer.echo(f"Folder: {package.folder}\nSHA-256: {package.sha256}")


@app.command("import")
def import_model(
    file: Path = typer.Argument(help="A Keras .h5 file."),
    preset: str = typer.Option(
        ..., "--preset", help="amw-2021-28px, amw-2021, amw-2021-rgb, amw-2024 or amw-2026."
    ),
    name: str = typer.Option(..., "--name", help="What to call it from now on."),
) -> None:
    """Turn a published Keras model into a model that `sluice scan --model` takes.

    TensorFlow is not needed, and no code from the file is run.
    """
    from sluice.app.config import models_folder
    from sluice.app.products.landing import telling_disk_errors
    from sluice.models.keras_import import import_keras

    folder = models_folder()
    with telling_disk_errors(folder):
        package = import_keras(file, preset, name, folder)
    typer.echo(f"Imported {file} as {package.name} in {package.folder}")
    typer.echo(f"Try it: sluice scan IMAGE --model {package.name} --out results")


@app.command("calibrate")
def calibrate(
    model: str = _MODEL,
    data: Path = typer.Option(..., "--data", help="Labelled chips that the model never saw."),
    name: str = typer.Option(..., "--name", help="What to call the calibrated model."),
    split: str | None = typer.Option(
        None, "--split", help="Of the chips; cal where there is one, if left out."
    ),
    aim: str = typer.Option(
        "f1", "--aim", help="What the threshold is for: f1, f0.5, F of another beta, recall>=0.9."
    ),
    method: str = typer.Option(
        "beta", "--method", help="Form of the calibration: beta, isotonic or temperature."
    ),
) -> None:
    """Give a model thresholds and a calibration of your own labels; its weights stay."""
    from sluice.app.calibrating import calibrate_model, calibrated_text
    from sluice.app.config import models_folder
    from sluice.app.products.landing import telling_disk_errors

    with telling_disk_errors(models_folder()):
        calibrated = calibrate_model(model, data, name, split=split, aim=aim, method=method)
    typer.echo(calibrated_text(calibrated))
