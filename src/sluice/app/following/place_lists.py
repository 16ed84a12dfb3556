"""Sites and alerts as lines of text, in the language of the reader."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

import geopandas as gpd
import pandas as pd

from sluice.app.messages import Messages
from sluice.app.reports.context_words import context_rows, cover_rows
from sluice.app.reports.report_parts import (
    area_words,
    capital,
    decimal_degrees,
    figure,
    nothing_outlined,
)
from sluice.app.reports.site_evidence import SiteEvidence
from sluice.app.reports.site_words import (
    alert_kind,
    glance_rows,
    priority_words,
    review_row,
    what_became,
)
from sluice.base.store import Row

_WIDTH = 99
_GROUNDS = ("forest", "farmland", "water", "bare")


def rejected_text(rejected: int, say: Messages) -> str:
    """How many sites were left out since a person rejected them."""
    return say.text("list.rejected", n=rejected)


def sites_text(sites: gpd.GeoDataFrame, total: int, rejected: int, say: Messages) -> str:
    """A line for each site, most urgent first.

    Args:
        sites: From `Store.sites`.
        total: How many there are, whatever the limit.
        rejected: How many were left out since a person rejected them.
        say: The language.
    """
    hidden = [rejected_text(rejected, say)] if rejected else []
    if sites.empty:
        return "\n\n".join([say.text("list.no_sites"), *hidden])
    rows = [
        (
            row["site_id"],
            row["area"],
            say.of("status", row["status"]),
            since(row, say),
            area_in_words(row, say),
            _sure(row, say),
            _verdict(row, say),
            say.of("legality_short", row["legality"]),
            say.number(row["priority"]),
            decimal_degrees(row["lon"], row["lat"], 5),
        )
        for row in sites.drop(columns="geometry").to_dict("records")
    ]
    head = (
        say.text("area.site"),
        say.text("list.area"),
        say.text("area.status"),
        say.text("area.since"),
        say.text("history.axis"),
        say.text("area.level"),
        say.text("area.verdict"),
        say.text("area.legality"),
        say.text("area.priority"),
        say.text("area.coordinates"),
    )
    lines = [table_text(head, rows)]
    if total > len(sites):
        lines.append(say.text("list.shown", shown=len(sites), total=total))
    lines += hidden
    lines.append(say.text("common.lead"))
    return "\n\n".join(lines)


def alerts_text(alerts: pd.DataFrame, total: int, say: Messages) -> str:
    """A line for each alert, most urgent first.

    Args:
        alerts: From `Store.alerts`.
        total: How many there are, whatever the limit.
        say: The language.
    """
    if alerts.empty:
        return say.text("list.no_alerts")
    rows = [
        (
            row["alert_id"],
            row["site_id"],
            row["area"],
            say.of("alert_kind", row["kind"]),
            say.of("level", row["level"]),
            say.of("alert_state_short", row["state"]),
            f"{row['raised']}",
            say.number(row["posterior"], 2),
            "" if figure(row["growth_ha"]) is None else f"+{say.number(row['growth_ha'], 1)}",
            _verdict(row, say),
            say.number(row["priority"]),
            decimal_degrees(row["lon"], row["lat"], 5),
        )
        for row in alerts.to_dict("records")
    ]
    head = (
        say.text("evidence.alert"),
        say.text("area.site"),
        say.text("list.area"),
        say.text("list.news"),
        say.text("evidence.level"),
        say.text("evidence.state"),
        say.text("evidence.raised"),
        say.text("history.probability"),
        say.text("list.growth"),
        say.text("area.verdict"),
        say.text("area.priority"),
        say.text("area.coordinates"),
    )
    lines = [table_text(head, rows)]
    if total > len(alerts):
        lines.append(say.text("list.shown", shown=len(alerts), total=total))
    return "\n\n".join([*lines, say.text("common.lead")])


def site_text(evidence: SiteEvidence, periods: pd.DataFrame, say: Messages) -> str:
    """All about one site.

    Args:
        evidence: What is known.
        periods: Its history as it is to be shown, columns of `SitePeriod`.
        say: The language.
    """
    site = evidence.site
    parts = [say.text("site.subtitle", site=site.site_id, area=site.area)]
    parts += _wrapped(what_became(site, say))
    parts.append(_named_lines(glance_rows(evidence, say, why=True)))
    around = context_rows(site.context, say)
    if around:
        lines = _named_lines([(name, (value,)) for name, value in around], "  ")
        parts.append(f"{say.text('context.nearby')}\n{lines}")
    cover = cover_rows(evidence.looks, site.first_seen, say)
    if cover:
        heads = [say.text("history.period"), *(say.of("context", ground) for ground in _GROUNDS)]
        note = "\n".join(_wrapped(say.text("context.cover_note")))
        parts.append(f"{say.text('context.cover')}\n\n{table_text(heads, cover)}\n\n{note}")
    if len(periods):
        parts.append(f"{say.text('history.heading')}\n\n{_history(periods, say)}")
    parts += [alert_text(alert, say) for alert in evidence.alerts.to_dict("records")]
    if evidence.reviews:
        lines = "\n".join(
            "  " + " · ".join(review_row(review, say, site.site_id)) for review in evidence.reviews
        )
        parts.append(f"{say.text('reviews.heading')}\n{lines}")
    return "\n\n".join([*parts, say.text("common.lead")])


def alert_text(alert: Row, say: Messages) -> str:
    """All about one alert."""
    head = say.text(
        "list.alert",
        alert=alert["alert_id"],
        kind=alert_kind(alert, say),
        level=say.of("level", alert["level"]),
        state=say.of("alert_state", alert["state"]),
        raised=alert["raised"],
        probability=say.probability(alert["posterior"]),
    )
    priority = priority_words(alert["priority"], alert["priority_parts"], say)
    told = [*say.sentences(alert["reasons"]), say.text("list.priority", words=priority)]
    listed = [
        textwrap.fill(one, _WIDTH, initial_indent="  - ", subsequent_indent="    ") for one in told
    ]
    return "\n".join([*_wrapped(head), *listed])


def alert_place(alert: Row, say: Messages) -> str:
    """Where an alert is: site, area and coordinates."""
    where = say.text("site.subtitle", site=alert["site_id"], area=alert["area"])
    return f"{where} · {decimal_degrees(alert['lon'], alert['lat'], 5)}"


def since(row: Row, say: Messages) -> str:
    """`2024-01`, or `2024-01 or before` where nobody looked earlier."""
    month = f"{row['first_seen']:%Y-%m}"
    return month if row["known_before"] else say.text("list.or_before", month=month)


def area_in_words(row: Row, say: Messages) -> str:
    """`4.4 (3.1 to 5.9)`: hectares with their 80 % interval; a footprint has none. Where
    nothing could be outlined only the most is known."""
    area, low, high = (figure(row[name]) for name in ("area_ha", "area_low_ha", "area_high_ha"))
    if area is None:
        return ""
    if low is None or high is None or nothing_outlined(area, high):
        return area_words(say, area, high, unit=False)
    numbers = {"area": say.number(area, 1), "low": say.number(low, 1), "high": say.number(high, 1)}
    return say.text("list.interval", **numbers)


def table_text(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need; empty ones are left out."""
    shown = [k for k in range(len(head)) if any(row[k] for row in rows)]
    widths = [max(len(head[k]), *(len(row[k]) for row in rows)) for k in shown]
    lines = [
        "  ".join(cells[k].ljust(width) for k, width in zip(shown, widths, strict=True)).rstrip()
        for cells in (head, *rows)
    ]
    return "\n".join(lines)


def _history(periods: pd.DataFrame, say: Messages) -> str:
    rows = [
        (
            say.period(row["start"], row["end"]),
            say.of("status", row["status"]),
            area_in_words(row, say),
            "" if figure(row["posterior"]) is None else say.number(row["posterior"], 2),
            say.of("level", row["level"]) if isinstance(row["level"], str) else "",
            row["sensors"] if isinstance(row["sensors"], str) else "",
        )
        for row in periods.to_dict("records")
    ]
    head = (
        say.text("history.period"),
        say.text("history.status"),
        say.text("history.axis"),
        say.text("history.probability"),
        say.text("evidence.level"),
        say.text("evidence.sensor"),
    )
    return table_text(head, rows)


def _named_lines(rows: Iterable[tuple[str, Sequence[str]]], indent: str = "") -> str:
    """A name and what there is to say, one below the other, in two columns."""
    rows = list(rows)
    width = max(len(name) for name, _ in rows) + 2
    lines = []
    for name, texts in rows:
        label = capital(name)
        for text in texts:
            lines += textwrap.wrap(
                text,
                _WIDTH,
                initial_indent=f"{indent}{label.ljust(width)}",
                subsequent_indent=f"{indent}{' ' * width}",
            )
            label = ""
    return "\n".join(lines)


def _wrapped(text: str | None) -> list[str]:
    return textwrap.wrap(text, _WIDTH) if text else []


def _sure(row: Row, say: Messages) -> str:
    """`high 0.97`."""
    level = say.of("level", row["level"]) if isinstance(row["level"], str) else ""
    known = figure(row["posterior"])
    return " ".join(filter(None, (level, "" if known is None else say.number(known, 2))))


def _verdict(row: Row, say: Messages) -> str:
    verdict = row.get("verdict")
    return say.of("verdict", verdict) if isinstance(verdict, str) else ""
