"""Sites and alerts as lines of text."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

import geopandas as gpd
import pandas as pd

from sluice.base.places import Level, Status
from sluice.base.records import DISCLAIMER
from sluice.base.store import Row
from sluice.sites.looks import cover_change

_STATUS_WORDS = {
    Status.NEW: "new",
    Status.GROWING: "growing",
    Status.STEADY: "steady",
    Status.INACTIVE: "inactive",
    Status.RECOVERING: "recovering",
    Status.NOT_OBSERVED: "not observed",
}
_WIDTH = 99


def sites_text(sites: gpd.GeoDataFrame, total: int) -> str:
    """A line for each site, most urgent first.

    Args:
        sites: From `Store.sites`.
        total: How many there are, whatever the limit.
    """
    if sites.empty:
        return "No site fits. Leave out a filter, or look with `sluice areas list` what there is."
    rows = [
        (
            row["site_id"],
            row["area"],
            _STATUS_WORDS[Status(row["status"])],
            since(row),
            area_in_words(row),
            sure(row),
            _verdict(row),
            str(row["legality"]).replace("_", " "),
            f"{row['priority']:.0f}",
            f"{row['lat']:.5f}, {row['lon']:.5f}",
        )
        for row in sites.drop(columns="geometry").to_dict("records")
    ]
    head = ("site", "area", "status", "since", "hectares", "sure", "review", "legality")
    lines = [table_text((*head, "priority", "lat, lon"), rows)]
    if total > len(sites):
        lines.append(f"{len(sites):,} of {total:,} shown; --limit shows more.")
    lines.append(DISCLAIMER)
    return "\n\n".join(lines)


def alerts_text(alerts: pd.DataFrame) -> str:
    """A line for each alert, most urgent first."""
    if alerts.empty:
        return "No alert fits."
    rows = [
        (
            row["alert_id"],
            row["site_id"],
            row["area"],
            row["kind"],
            row["level"],
            row["state"],
            f"{row['raised']}",
            f"{row['posterior']:.2f}",
            f"+{row['growth_ha']:.1f}" if _known(row["growth_ha"]) else "",
            _verdict(row),
            f"{row['priority']:.0f}",
            f"{row['lat']:.5f}, {row['lon']:.5f}",
        )
        for row in alerts.to_dict("records")
    ]
    head = ("alert", "site", "area", "news", "level", "state", "raised", "sure", "grown", "review")
    return f"{table_text((*head, 'priority', 'lat, lon'), rows)}\n\n{DISCLAIMER}"


def site_text(
    site: Row,
    looks: pd.DataFrame,
    periods: pd.DataFrame,
    alerts: pd.DataFrame,
    reviews: Sequence[str],
) -> str:
    """All about one site.

    Args:
        site: A row of `Store.sites`.
        looks: From `Store.looks`.
        periods: From `Store.periods`.
        alerts: From `Store.alerts`.
        reviews: A line for each.
    """
    parts = [f"{site['site_id']} in {site['area']}   {site['lat']:.5f}, {site['lon']:.5f}"]
    if isinstance(site.get("merged_into"), str):
        parts.append(f"It grew together with {site['merged_into']}, which goes on.")
    parts.append(
        f"Since {since(site)}, last seen {site['last_seen']}, last observed "
        f"{site['last_observed']}.\n"
        f"Status: {_STATUS_WORDS[Status(site['status'])]}: {site['status_rule']}\n"
        f"Hectares: {area_in_words(site)}; of all that was ever detected: "
        f"{site['cumulative_ha']:,.1f}\n"
        f"How sure: {sure(site)}\n"
        f"Legality: {str(site['legality']).replace('_', ' ')}: {site['legality_why']}\n"
        f"Priority: {_parts_in_words(site)}"
    )
    context = {name: value for name, value in site["context"].items() if _known(value)}
    if context:
        told = "; ".join(f"{name} {_value(value)}" for name, value in context.items())
        parts.append("\n".join(textwrap.wrap(f"Around it: {told}", _WIDTH)))
    cover = cover_change(looks, site["first_seen"])
    if cover is not None:
        parts.append(_cover_in_words(cover))
    history = [
        (
            f"{row['start']} to {row['end']}",
            _STATUS_WORDS[Status(row["status"])],
            area_in_words(row),
            f"{row['posterior']:.2f}" if _known(row["posterior"]) else "",
            row["level"] if isinstance(row["level"], str) else "",
            row["sensors"] if isinstance(row["sensors"], str) else "",
        )
        for row in periods.to_dict("records")
    ]
    if history:
        head = ("period", "status", "hectares", "probability", "level", "sensors")
        parts.append(table_text(head, history))
    parts += [alert_text(alert) for alert in alerts.to_dict("records")]
    if reviews:
        parts.append("Reviews:\n" + "\n".join(f"  {line}" for line in reviews))
    parts.append(DISCLAIMER)
    return "\n\n".join(parts)


def _cover_in_words(cover: Row) -> str:
    """Hectares of each cover before and after; forest cannot be told from tree crops."""
    names = ("forest", "farmland", "water", "bare")
    told = ", ".join(
        f"{name} {cover[f'{name}_before_ha']:,.1f} to {cover[f'{name}_after_ha']:,.1f}"
        for name in names
    )
    since = "before it began" if cover["known_before"] else "when it was first looked at"
    text = (
        f"Cover of its ground, hectares from {cover['before']:%Y-%m} ({since}) to "
        f"{cover['after']:%Y-%m}: {told}. Tree crops and regrowth count as forest."
    )
    return "\n".join(textwrap.wrap(text, _WIDTH))


def alert_text(alert: Row) -> str:
    """All about one alert."""
    head = (
        f"Alert {alert['alert_id']}: {alert['kind']}, {alert['level']}, {alert['state']}, "
        f"raised {alert['raised']}, probability {alert['posterior']:.2f}"
    )
    reasons = [
        textwrap.fill(reason, _WIDTH, initial_indent="  - ", subsequent_indent="    ")
        for reason in alert["reasons"]
    ]
    return "\n".join([head, *reasons, f"  Priority: {_parts_in_words(alert)}"])


def since(row: Row) -> str:
    """`2024-01`, or `2024-01 or before` where nobody looked earlier."""
    month = f"{row['first_seen']:%Y-%m}"
    return month if row["known_before"] else f"{month} or before"


def area_in_words(row: Row) -> str:
    """`4.4 (3.1 to 5.9)`: hectares with their 80 % interval; a footprint has none."""
    if not _known(row["area_ha"]):
        return ""
    text = f"{row['area_ha']:,.1f}"
    if _known(row["area_low_ha"]) and _known(row["area_high_ha"]):
        text += f" ({row['area_low_ha']:,.1f} to {row['area_high_ha']:,.1f})"
    return text


def sure(row: Row) -> str:
    """`high 0.97`."""
    level = row["level"] if isinstance(row["level"], str) else ""
    known = _known(row["posterior"])
    return f"{Level(level).value + ' ' if level else ''}{row['posterior']:.2f}" if known else level


def table_text(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need; empty ones are left out."""
    shown = [k for k in range(len(head)) if any(row[k] for row in rows)]
    widths = [max(len(head[k]), *(len(row[k]) for row in rows)) for k in shown]
    lines = [
        "  ".join(cells[k].ljust(width) for k, width in zip(shown, widths, strict=True)).rstrip()
        for cells in (head, *rows)
    ]
    return "\n".join(lines)


def _parts_in_words(row: Row) -> str:
    parts = ", ".join(
        f"{name.replace('_', ' ')} {points:.0f}" for name, points in row["priority_parts"].items()
    )
    return f"{row['priority']:.0f} of 100 ({parts})"


def _verdict(row: Row) -> str:
    verdict = row.get("verdict")
    return verdict if isinstance(verdict, str) else ""


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)


def _known(value: object) -> bool:
    if value is None or value is False or value == "":
        return False
    return not (isinstance(value, float) and math.isnan(value)) and not isinstance(
        value, type(pd.NaT)
    )
