"""`sluice alerts list | show`: the news about sites."""

from __future__ import annotations

import typer

from sluice.app.cli import options

app = typer.Typer(help="Alerts: changes of sites, each told once, the most urgent first.")


@app.command("list")
def list_alerts(
    store: str | None = options.STORE,
    area_name: str | None = options.AREA_NAME,
    bbox: str | None = options.BBOX,
    level: str | None = options.LEVEL,
    since: str | None = options.SINCE,
    verified_only: bool = options.VERIFIED,
    rejected: bool = typer.Option(
        False, "--with-rejected", help="Those that later looks or a person rejected, too."
    ),
    limit: int = options.LIMIT,
    language: str | None = options.LANGUAGE,
    json: bool = options.JSON,
) -> None:
    """List alerts, the most urgent first."""
    from sluice.app.cli.places import echo_rows, opened, site_query, speech
    from sluice.app.following.place_lists import alerts_text
    from sluice.app.following.reviewing import standing_alerts

    say = speech(language)
    query = site_query(
        area_name=area_name, bbox=bbox, level=level, verified_only=verified_only, since=since
    )
    with opened(store, area_name=area_name) as opened_store:
        alerts = opened_store.alerts(query)
    alerts = alerts if rejected else standing_alerts(alerts)
    shown = alerts.head(limit)
    if json:
        echo_rows(shown.to_dict("records"), say)
    else:
        typer.echo(alerts_text(shown, len(alerts), say))


@app.command("show")
def show_alert(
    alert_id: str = typer.Argument(help="As `sluice alerts list` tells it."),
    store: str | None = options.STORE,
    language: str | None = options.LANGUAGE,
    json: bool = options.JSON,
) -> None:
    """Show one alert, and why it has its level."""
    from sluice.app.cli.places import echo_rows, opened, speech
    from sluice.app.following.place_lists import alert_place, alert_text
    from sluice.app.following.reviewing import find_alert

    say = speech(language)
    with opened(store) as opened_store:
        alert = find_alert(opened_store, alert_id)
    if json:
        echo_rows([alert], say)
    else:
        told = (alert_place(alert, say), alert_text(alert, say), say.text("common.lead"))
        typer.echo("\n\n".join(told))
