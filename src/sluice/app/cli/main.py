"""`sluice`: a thin layer over functions that take the same arguments."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import typer

from sluice.app.cli.errors import report_error, stoppable

_WHERE = {
    "scan": "scan:scan",
    "composite": "composite:composite",
    "elevation": "elevation:elevation",
    "demo": "scan:demo",
    "report": "report:report",
    "serve": "serve:serve",
    "publish": "publish:publish",
    "worker": "worker:worker",
    "map-features": "cells:map_features",
    "review": "review:review",
    "areas": "areas:app",
    "sites": "sites:app",
    "alerts": "alerts:app",
    "import": "imports:app",
    "models": "models:app",
    "evaluate": "evaluate:app",
    "train": "train:app",
    "labels": "labels:app",
    "context": "context:app",
    "area": "area:app",
    "store": "store:app",
    "users": "users:app",
}
"""Module beside this one and name in it of each command, in the order in which help has them."""


@functools.cache
def _command(name: str) -> Any:
    """What typer makes of a command, or of a group of them."""
    module, _, attribute = _WHERE[name].partition(":")
    found = getattr(importlib.import_module(f"sluice.app.cli.{module}"), attribute)
    alone = typer.Typer(rich_markup_mode=None)
    if isinstance(found, typer.Typer):
        alone.add_typer(found, name=name)
    else:
        alone.command(name)(found)
    return typer.main.get_group(alone).commands[name]


class _Commands(Mapping[str, Any]):
    """All commands; each is made when it is asked for: to make them all takes longer than some."""

    def __getitem__(self, name: str) -> Any:
        if name not in _WHERE:
            raise KeyError(name)
        return _command(name)

    def __iter__(self) -> Iterator[str]:
        return iter(_WHERE)

    def __len__(self) -> int:
        return len(_WHERE)


class _Sluice(stoppable("scan", "composite", "demo")):  # type: ignore[misc]  # made by a function
    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"commands": _Commands()})


app = typer.Typer(
    name="sluice",
    cls=_Sluice,
    help="Find and follow artisanal and small-scale mines in satellite images. "
    "A detection is a lead to verify, not proof.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from sluice import __version__

        typer.echo(f"sluice {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: bool = typer.Option(False, "--debug", help="Print the traceback of an error."),
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version."
    ),
) -> None:
    del debug, version  # `main` looks for --debug itself: it is needed where this was not reached


def main() -> None:
    """Entry point of the command line."""
    debug = "--debug" in sys.argv[1:]
    try:
        app()
    except Exception as err:  # noqa: BLE001 - the last boundary
        raise SystemExit(report_error(err, debug=debug)) from None
