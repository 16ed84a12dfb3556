"""`sluice`: a thin layer over functions that take the same arguments."""

from __future__ import annotations

import sys

import typer

from sluice.app.cli import (
    alerts,
    area,
    areas,
    cells,
    composite,
    context,
    elevation,
    evaluate,
    imports,
    labels,
    models,
    publish,
    report,
    review,
    scan,
    serve,
    sites,
    store,
    train,
    users,
    worker,
)
from sluice.app.cli.errors import report_error, stoppable

app = typer.Typer(
    name="sluice",
    cls=stoppable("scan", "composite", "demo"),
    help="Find and follow artisanal and small-scale mines in satellite images. "
    "A detection is a lead to verify, not proof.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("scan")(scan.scan)
app.command("composite")(composite.composite)
app.command("elevation")(elevation.elevation)
app.command("demo")(scan.demo)
app.command("report")(report.report)
app.command("serve")(serve.serve)
app.command("publish")(publish.publish)
app.command("worker")(worker.worker)
app.command("map-features")(cells.map_features)
app.add_typer(areas.app, name="areas")
app.add_typer(sites.app, name="sites")
app.add_typer(alerts.app, name="alerts")
app.command("review")(review.review)
app.add_typer(imports.app, name="import")
app.add_typer(models.app, name="models")
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(train.app, name="train")
app.add_typer(labels.app, name="labels")
app.add_typer(context.app, name="context")
app.add_typer(area.app, name="area")
app.add_typer(store.app, name="store")
app.add_typer(users.app, name="users")


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
