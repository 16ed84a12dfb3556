"""`sluice import detections | run`: what others found, and what was scanned before."""

from __future__ import annotations

from pathlib import Path

import typer

from sluice.app.cli import options

app = typer.Typer(help="Bring detections and finished scans into a store.")


@app.command("detections")
def import_detections(
    file: Path = typer.Argument(
        help="Polygons or points: GeoPackage, GeoJSON, Shapefile, KML, GeoParquet; or a table with "
        "longitude and latitude (.csv)."
    ),
    first: str | None = typer.Option(None, "--from", help="First year, month or day of images."),
    last: str | None = typer.Option(
        None, "--to", help="Last year, month or day, included; that of --from if left out."
    ),
    date_column: str | None = typer.Option(
        None,
        "--date-column",
        help="Column with the date of each: they land period by period, see --every; with --from "
        "and --to only those between.",
    ),
    every: str = typer.Option(
        "year", "--every", help="With --date-column: month, quarter, 4months, half-year or year."
    ),
    area_name: str | None = options.AREA_NAME,
    area: str | None = options.AREA,
    lon: str | None = typer.Option(
        None, "--lon", help="Of a table: column of longitudes; found by usual names if left out."
    ),
    lat: str | None = typer.Option(None, "--lat", help="Of a table: column of latitudes."),
    crs: str | None = typer.Option(
        None, "--crs", help="Of a table: CRS of its coordinates, if not degrees: EPSG:32735."
    ),
    file_layer: str | None = typer.Option(
        None, "--layer", help="Of a file with several; the first with shapes if left out."
    ),
    radius: str | None = typer.Option(
        None,
        "--radius",
        help="Of points: they become discs this wide from the middle (50m); of a hectare if left "
        "out.",
    ),
    hectares: str | None = typer.Option(
        None, "--hectares-column", help="Of points: column with hectares; they become discs."
    ),
    probability: float | None = typer.Option(
        None, "--probability", help="Share of them that are mines, as far as you know: 0.9."
    ),
    probability_column: str | None = typer.Option(
        None, "--probability-column", help="Column with the probability of each, 0 to 1."
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
    """Bring other people's detections into a store, and link them to its sites.

    What they used is not known, so they are never counted as a second sensor.
    """
    from functools import partial

    from sluice.app.cli.places import opened
    from sluice.app.cli.progress import stage_progress
    from sluice.app.config import make_config
    from sluice.app.exports.options import read_size
    from sluice.app.following.foreign_detections import ImportRequest
    from sluice.app.following.importing import import_file

    request = make_config(
        ImportRequest,
        file=file,
        first=first,
        last=last,
        date_column=date_column,
        every=every,
        area_name=area_name,
        area=area,
        layer=file_layer,
        lon=lon,
        lat=lat,
        crs=crs,
        probability=probability,
        probability_column=probability_column,
        hectares_column=hectares,
        radius_m=None if radius is None else read_size(radius),
        looked_everywhere=looked_everywhere,
        licence=licence,
    )
    with opened(store, create=True) as opened_store, stage_progress(shown=not json) as tell:
        imported = import_file(opened_store, request, done=partial(tell, "Periods"))
    typer.echo(imported.model_dump_json(indent=2) if json else imported.text)


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
