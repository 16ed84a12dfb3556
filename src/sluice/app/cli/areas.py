"""`sluice areas add | list`: the areas that a store follows."""

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
