"""`sluice sites list | show | export`: places with a history."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import typer

from sluice.app.cli import options

app = typer.Typer(help="Sites in a store: where, since when, how large, growing or left.")


@app.command("list")
def list_sites(
    store: str | None = options.STORE,
    area_name: str | None = options.AREA_NAME,
    bbox: str | None = options.BBOX,
    status: str | None = options.STATUS,
    level: str | None = options.LEVEL,
    min_area_ha: float | None = options.MIN_AREA,
    min_priority: float | None = options.MIN_PRIORITY,
    since: str | None = options.SINCE,
    verified_only: bool = options.VERIFIED,
    verdict: str | None = options.VERDICT,
    with_past: bool = typer.Option(
        False, "--with-past", help="Sites that were merged or withdrawn, too."
    ),
    limit: int = options.LIMIT,
    language: str | None = options.LANGUAGE,
    json: bool = options.JSON,
) -> None:
    """List sites, the most urgent first; without those that a person rejected."""
    from sluice.app.cli.places import echo_rows, opened, site_query, speech, without_rejected
    from sluice.app.following.place_lists import sites_text

    say = speech(language)
    query = site_query(
        area_name=area_name,
        bbox=bbox,
        status=status,
        level=level,
        verified_only=verified_only,
        verdict=verdict,
        since=since,
        min_area_ha=min_area_ha,
        min_priority=min_priority,
        limit=limit,
        with_past=with_past,
    )
    with opened(store, area_name=area_name) as opened_store:
        query, rejected = without_rejected(query, opened_store, verdict=verdict)
        sites = opened_store.sites(query)
        total = opened_store.count_sites(query)
    if json:
        echo_rows(sites.drop(columns="geometry").to_dict("records"), say)
    else:
        typer.echo(sites_text(sites, total, rejected, say))


@app.command("export")
def export_sites(
    file: Path = typer.Argument(help="Where to; the ending tells the format."),
    store: str | None = options.STORE,
    area_name: str | None = options.AREA_NAME,
    bbox: str | None = options.BBOX,
    status: str | None = options.STATUS,
    level: str | None = options.LEVEL,
    min_area_ha: float | None = options.MIN_AREA,
    min_priority: float | None = options.MIN_PRIORITY,
    since: str | None = options.SINCE,
    verified_only: bool = options.VERIFIED,
    verdict: str | None = options.VERDICT,
    limit: int | None = typer.Option(
        None,
        "--limit",
        min=1,
        max=options.MOST_ROWS,
        help="Most sites, the most urgent first.",
    ),
    fmt: str | None = typer.Option(
        None,
        "--format",
        help="geojson, gpkg, kml, kmz (with pictures), csv, gpx, geoparquet, pmtiles, shapefile.",
    ),
    what: str = typer.Option(
        "sites",
        "--what",
        help="sites, alerts, periods or detections; several with commas in a GeoPackage.",
    ),
    by: str = typer.Option("period", "--by", help="Rows of periods: each, quarter or year."),
    redact: str | None = options.REDACT,
    delay: str | None = options.DELAY,
    key: str | None = options.REDACT_KEY,
    language: str = typer.Option(
        "en", "--language", help="Of sentences and titles: en, fr, es or pt."
    ),
) -> None:
    """Write sites to a file that opens where people work; without those that a person rejected."""
    from sluice.app.cli.places import opened, site_query, speech, without_rejected
    from sluice.app.cli.progress import stage_progress
    from sluice.app.exports.options import read_redaction
    from sluice.app.following.exporting import export, export_text
    from sluice.app.following.place_lists import rejected_text
    from sluice.app.garbage import collect_seldom

    collect_seldom()
    query = site_query(
        area_name=area_name,
        bbox=bbox,
        status=status,
        level=level,
        verified_only=verified_only,
        verdict=verdict,
        since=since,
        min_area_ha=min_area_ha,
        min_priority=min_priority,
        limit=limit,
    )
    redaction = read_redaction(redact, delay, key=key)
    tables = tuple(name.strip() for name in what.split(",") if name.strip())
    with opened(store, area_name=area_name) as opened_store, stage_progress(shown=True) as tell:
        query, rejected = without_rejected(query, opened_store, verdict=verdict)
        exported = export(
            opened_store,
            query,
            file,
            fmt=fmt,
            what=tables,
            by=by,
            redaction=redaction,
            language=language,
            done=partial(tell, "Pictures"),
        )
    typer.echo(export_text(exported))
    if rejected and "sites" in tables:
        typer.echo(rejected_text(rejected, speech(language)))


@app.command("ground")
def export_ground(
    file: Path = typer.Argument(help="Where to: .gpkg, .geojson or .parquet."),
    store: str | None = options.STORE,
    area_name: str | None = options.AREA_NAME,
    since: str | None = typer.Option(
        None, "--since", help="Only detections of periods from this day on."
    ),
    until: str | None = typer.Option(None, "--until", help="Only up to this day, included."),
    added_since: str | None = typer.Option(
        None, "--added-since", help="Only ground that was not detected up to this day."
    ),
    smallest_ha: float = typer.Option(
        1.0, "--smallest", help="With --added-since: smallest piece to keep, in hectares."
    ),
    redact: str | None = options.REDACT,
    delay: str | None = options.DELAY,
    key: str | None = options.REDACT_KEY,
) -> None:
    """Write all ground that was ever detected, or what was added after a day."""
    import datetime as dt

    from sluice.app.cli.places import opened
    from sluice.app.exports.options import read_redaction
    from sluice.app.following.ground import (
        added_ground,
        detected_ground,
        redacted_ground,
        told_until,
        write_ground,
    )
    from sluice.base.errors import ConfigError
    from sluice.base.periods import parse_day

    first = None if since is None else parse_day(since, "--since")
    last = None if until is None else parse_day(until, "--until", last=True)
    if added_since is not None and first is not None:
        raise ConfigError("--since and --added-since ask for two things; give one of them")
    redaction, today = read_redaction(redact, delay, key=key), dt.datetime.now(dt.UTC).date()
    if redaction is not None and redaction.delayed:
        begin = first if added_since is None else parse_day(added_since, "--added-since")
        last = told_until(redaction, today, since=begin, until=last)
    with opened(store, area_name=area_name) as opened_store:
        if added_since is None:
            ground = detected_ground(opened_store, area_name, since=first, until=last)
        else:
            ground = added_ground(
                opened_store,
                area_name,
                after=parse_day(added_since, "--added-since", last=True),
                until=last,
                smallest_ha=smallest_ha,
            )
        if redaction is not None:
            ground = redacted_ground(opened_store, area_name, ground, redaction, today)
    write_ground(ground, file)
    if redaction is not None:
        typer.echo(f"{file}: {len(ground):,} cells in place of sites; none shows an exact place.")
        return
    typer.echo(
        f"{file}: {len(ground):,} polygons, {ground['area_ha'].sum():,.1f} ha of detected ground, "
        "which takes in more than the mines."
    )


@app.command("show")
def show_site(
    site_id: str = options.SITE,
    by: str = typer.Option("period", "--by", help="A row for each period, quarter or year."),
    store: str | None = options.STORE,
    language: str | None = options.LANGUAGE,
    json: bool = options.JSON,
) -> None:
    """Show one site: its history, evidence, surroundings, alerts and reviews."""
    from sluice.app.cli.places import echo_rows, opened, speech
    from sluice.app.following.exporting import dated_detections, periods_view
    from sluice.app.following.place_lists import site_text
    from sluice.app.following.reporting import site_on_record
    from sluice.app.following.reviewing import find_site
    from sluice.base.store import SiteQuery
    from sluice.sites.looks import cover_change

    say, view = speech(language), periods_view(by)
    with opened(store) as opened_store:
        if not json:
            evidence = site_on_record(opened_store, site_id)
            typer.echo(site_text(evidence, view(evidence.periods), say))
            return
        site = find_site(opened_store, site_id)
        looks, periods = opened_store.looks([site_id]), view(opened_store.periods([site_id]))
        alerts = opened_store.alerts(SiteQuery(site_ids=(site_id,)))
        reviews = opened_store.reviews([site_id])
        detections = dated_detections(opened_store, [site_id])
    told = {
        **site,
        "cover": cover_change(looks, site["first_seen"]),
        "looks": looks.to_dict("records"),
        "periods": periods.to_dict("records"),
        "detections": detections.drop(columns="geometry").to_dict("records"),
        "alerts": alerts.to_dict("records"),
        "reviews": [review.model_dump(mode="json") for review in reviews],
    }
    echo_rows([told], say)
