"""`sluice areas add | list | remove`: the areas that a store follows."""

from __future__ import annotations

import typer

from sluice.app.cli import options

app = typer.Typer(help="Areas that a store follows.")


@app.command("add")
def add_area(
    name: str = typer.Argument(help="What to call it: ashanti."),
    area: str = options.AREA_NEEDED,
    store: str | None = options.STORE,
) -> None:
    """Add an area; the store is made where it is missing."""
    from sluice.app.area import read_area
    from sluice.app.cli.places import opened
    from sluice.app.following.landing import add_named_area

    geometry = read_area(area)
    with opened(store, create=True) as opened_store:
        add_named_area(opened_store, name, geometry)
    typer.echo(f"{name} is followed.")


@app.command("list")
def list_areas(store: str | None = options.STORE, json: bool = options.JSON) -> None:
    """List areas, with what is known of each."""
    from sluice.app.cli.places import echo_rows, opened
    from sluice.app.following.landing import areas_with_figures
    from sluice.app.following.place_lists import table_text

    with opened(store) as opened_store:
        rows = areas_with_figures(opened_store)
    if json:
        echo_rows(rows)
    elif not rows:
        typer.echo("No area yet: scan with --store, or `sluice areas add`.")
    else:
        head = ("area", "hectares", "runs", "first", "last", "sites", "alerts")
        typer.echo(table_text(head, [[str(row[name]) for name in head] for row in rows]))


@app.command("remove")
def remove_area(
    name: str = typer.Argument(help="As `sluice areas list` tells it."),
    with_everything: bool = typer.Option(
        False,
        "--with-everything",
        help="With its runs, sites and alerts, and what people said of them, for good.",
    ),
    yes: bool = typer.Option(False, "--yes", help="Do not ask."),
    store: str | None = options.STORE,
) -> None:
    """Forget an area; one that holds runs or reviews only with --with-everything."""
    from sluice.app.cli.places import opened
    from sluice.app.following.removing import what_is_lost

    with opened(store) as opened_store:
        lost = what_is_lost(opened_store, name, with_everything=with_everything)
        if lost:
            typer.echo(lost)
            if not yes:
                _require_yes(name)
        opened_store.remove_area(name, with_everything=with_everything)
    typer.echo(f"{name} is not followed any more.")


def _require_yes(name: str) -> None:
    """Ask, where somebody can answer.

    Raises:
        ConfigError: Nobody can, or the answer is no.
    """
    import sys

    from sluice.base.errors import ConfigError

    if not sys.stdin.isatty():
        raise ConfigError(f"area {name!r}: nobody is there to ask; give --yes to remove it")
    if not typer.confirm("Remove all of it?"):
        raise ConfigError(f"area {name!r}: stays as it is")
