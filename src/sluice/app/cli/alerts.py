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
    json: bool = options.JSON,
) -> None:
    """List alerts, the most urgent first."""
    from sluice.app.cli.places import echo_rows, opened, site_query
    from sluice.app.following.place_lists import alerts_text
    from sluice.app.following.reviewing import standing_alerts

    query = site_query(
        area_name=area_name, bbox=bbox, level=level, verified_only=verified_only, since=since
    )
    with opened(store, area_name=area_name) as opened_store:
        alerts = opened_store.alerts(query)
    alerts = (alerts if rejected else standing_alerts(alerts)).head(limit)
    if json:
        echo_rows(alerts.to_dict("records"))
    else:
        typer.echo(alerts_text(alerts))


@app.command("show")
def show_alert(
    alert_id: str = typer.Argument(help="As `sluice alerts list` tells it."),
    store: str | None = options.STORE,
    json: bool = options.JSON,
) -> None:
    """Show one alert, and why it has its level."""
    from sluice.app.cli.places import echo_rows, opened
    from sluice.app.following.place_lists import alert_text
    from sluice.app.following.reviewing import find_alert
    from sluice.base.records import DISCLAIMER

    with opened(store) as opened_store:
        alert = find_alert(opened_store, alert_id)
    if json:
        echo_rows([alert])
    else:
        typer.echo(
            f"{alert_text(alert)}\n  Site {alert['site_id']} in {alert['area']}, "
            f"{alert['lat']:.5f}, {alert['lon']:.5f}\n\n{DISCLAIMER}"
        )
