"""`sluice import detections | run`: what others found, and what was scanned before."""

from __future__ import annotations

from pathlib import Path

import typer

from sluice.app.cli import options

app = typer.Typer(help="Bring detections and finished scans into a store.")


@app.command("detections")
def import_detections(
    file: Path = typer.Argument(help="Polygons or points: GeoPackage, GeoJSON, Shapefile, …"),
    first: str = typer.Option(..., "--from", help="First year, month or day of the images."),
    last: str = typer.Option(..., "--to", help="Last year, month or day, included."),
    area_name: str | None = options.AREA_NAME,
    area: str | None = options.AREA,
    probability: float | None = typer.Option(
        None, "--probability", help="Share of them that are mines, as far as you know: 0.9."
    ),
    probability_column: str | None = typer.Option(
        None, "--probability-column", help="Column with the probability of each, 0 to 1."
    ),
    hectares: str | None = typer.Option(
        None, "--hectares-column", help="Of points: column with hectares; they become discs."
    ),
    looked_everywhere: bool = typer.Option(
        False,
        "--looked-everywhere",
        help="The whole area was looked at: a place without a detection was seen to have none.",
    ),
    licence: str = typer.Option("", "--licence", help="Of the file, kept on record."),
    store: str | None = options.STORE,
    json: bool = options.JSON,
) -> None:
    """Bring other people's detections of one period into a store, and link them to its sites."""
    from sluice.app.cli.places import opened
    from sluice.app.config import make_config
    from sluice.app.following.importing import ImportRequest, import_file

    request = make_config(
        ImportRequest,
        file=file,
        first=first,
        last=last,
        area_name=area_name,
        area=area,
        probability=probability,
        probability_column=probability_column,
        hectares_column=hectares,
        looked_everywhere=looked_everywhere,
        licence=licence,
    )
    with opened(store, create=True) as opened_store:
        landed = import_file(opened_store, request)
    typer.echo(landed.model_dump_json(indent=2) if json else landed.text)


@app.command("run")
def import_run(
    folder: Path = typer.Argument(help="Folder of a finished scan."),
    area_name: str | None = options.AREA_NAME,
    first: str | None = typer.Option(
        None, "--from", help="First day, where the scan's record does not tell its period."
    ),
    last: str | None = typer.Option(None, "--to", help="Last day, likewise."),
    store: str | None = options.STORE,
    json: bool = options.JSON,
) -> None:
    """Bring a finished scan into a store, and link its detections to the sites there."""
    from sluice.app.cli.places import opened
    from sluice.app.following.landing_runs import land_folder

    with opened(store, create=True) as opened_store:
        landed = land_folder(opened_store, folder, area_name=area_name, first=first, last=last)
    typer.echo(landed.model_dump_json(indent=2) if json else landed.text)
