"""`sluice train unet | segformer | cnn`: commands whose options are the keys of a YAML file."""

from __future__ import annotations

import importlib.util
import inspect
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer
from pydantic.fields import FieldInfo

from sluice.app.training_config import (
    CnnRequest,
    SegFormerRequest,
    TrainingRequest,
    UNetRequest,
    read_request,
)

_SHARED = {"data", "out", "name", "licence", "attribution", "start_from"}


def _train_unet(request: UNetRequest) -> None:
    """Train a U-Net that judges pixels; stopped, it goes on when called again."""
    from sluice.training.options import UNetOptions

    _need("monai")
    _train_pixels(request, UNetOptions(**_of(request, UNetOptions)))


def _train_segformer(request: SegFormerRequest) -> None:
    """Train a SegFormer that judges pixels; stopped, it goes on when called again."""
    from sluice.training.options import SegFormerOptions

    _need("transformers")
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


def _need(*packages: str) -> None:
    from sluice.base.errors import ConfigError

    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise ConfigError(
                f"training needs {package}; install it with: pip install 'sluice[train]'"
            )


def _command(kind: type[TrainingRequest], train: Callable[[Any], None]) -> Callable[..., None]:
    """A command whose options are the keys of a request."""

    def run(config: Path | None, **options: Any) -> None:
        _need("torch", "yaml", "matplotlib")
        given = {
            "from" if key == "start_from" else key: value
            for key, value in options.items()
            if value is not None
        }
        train(read_request(kind, config, given))

    yaml_option = typer.Option(None, "--config", help="YAML file with options by their names.")
    parameters = [_parameter("config", Path, yaml_option)]
    # What every training needs comes first.
    names = sorted(kind.model_fields, key=lambda name: name not in _SHARED)
    for name in names:
        field = kind.model_fields[name]
        flag = "--" + (field.alias or name).replace("_", "-")
        kept = f"{flag}/--no-{flag[2:]}" if field.annotation is bool else flag
        option = typer.Option(None, kept, help=_help(field))
        parameters.append(_parameter(name, _plain(field.annotation), option))
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    run.__doc__ = train.__doc__
    return run


def _parameter(name: str, kind: type, option: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=option,
        annotation=typing.Optional[kind],  # noqa: UP045 - typer reads it at run time
    )


def _help(field: FieldInfo) -> str:
    text = (field.description or "").replace("`", "")
    choices = ", ".join(
        str(kind) for kind in _kinds(field.annotation) if isinstance(kind, str | int)
    )
    default = None if field.is_required() else field.get_default()
    told = [f"one of {choices}"] if choices else []
    told += [f"default: {default}"] if default not in (None, (), "") else []
    return f"{text} [{'; '.join(told)}]" if told else text


def _plain(annotation: Any) -> type:
    """What the command line reads; lists and names come as text, which the request checks."""
    kinds = _kinds(annotation)
    for kind in (bool, int, float, Path):
        if kind in kinds:
            return kind
    return int if kinds and all(isinstance(kind, int) for kind in kinds) else str


def _kinds(annotation: Any) -> tuple[Any, ...]:
    """Members of a union, values of a literal, or the type itself."""
    if typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        return tuple(kind for part in typing.get_args(annotation) for kind in _kinds(part))
    if typing.get_origin(annotation) is typing.Literal:
        return typing.get_args(annotation)
    return (annotation,)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("unet")(_command(UNetRequest, _train_unet))
    app.command("segformer")(_command(SegFormerRequest, _train_segformer))
    app.command("cnn")(_command(CnnRequest, _train_cnn))
