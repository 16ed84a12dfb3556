"""Commands whose options are the keys of a YAML file."""

from __future__ import annotations

import importlib.util
import inspect
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sluice.app.training_config import read_request

_SHARED = {"data", "out", "name", "licence", "attribution", "start_from", "labels", "features"}


def need(*packages: str) -> None:
    """Refuse to go on without the packages of an extra.

    Raises:
        ConfigError: One is not installed.
    """
    from sluice.base.errors import ConfigError

    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise ConfigError(
                f"training needs {package}; install it with: pip install 'sluice[train]'"
            )


def make_command(
    kind: type[BaseModel], train: Callable[[Any], None], *packages: str
) -> Callable[..., None]:
    """A command whose options are the keys of a request.

    Args:
        kind: Of request.
        train: What to do with it; its docstring is the command's help.
        packages: That it needs.
    """

    def run(config: Path | None, **options: Any) -> None:
        need(*packages)
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
    if isinstance(default, tuple):
        default = ",".join(f"{part:g}" if isinstance(part, float) else part for part in default)
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
