"""What the report of an area says, in order, in one language."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from sluice.app.messages import Messages
from sluice.app.reports.blocks import Block, Chart, Document, Facts, Heading, Table, Text
from sluice.app.reports.report_parts import (
    NOTHING,
    area_words,
    check,
    decimal_degrees,
    figure,
    frame,
    limits,
    method,
)
from sluice.app.reports.site_charts import Bar, area_chart, sites_map
from sluice.app.reports.site_evidence import AreaEvidence
from sluice.base.places import Legality, Level, Status, Verdict

_MOST_SITES = 500
_LATEST = 40
_SURE = (Level.HIGH.value, Level.HIGHEST.value)
_COLUMNS: tuple[tuple[str, str, float], ...] = (
    ("number", "", 6),
    ("site", "site_id", 13),
    ("coordinates", "lat", 22),
    ("since", "first_seen", 10),
    ("status", "status", 16),
    ("level", "level", 14),
    ("hectares", "area_ha", 9),
    ("legality", "legality", 18),
    ("verdict", "verdict", 13.5),
    ("priority", "priority", 12.5),
)
"""Heading, the column without which it is left out, and width."""


def area_document(
    evidence: AreaEvidence, say: Messages, *, manifest: str, facts_sha256: str
) -> Document:
    """The report of an area; see `site_document`."""
    blocks: list[Block] = [Text(say.text("area.lead_box"), "box")]
    if evidence.withheld is not None:
        size = say.metres(evidence.withheld.grid_m)
        blocks.append(Text(say.text("area.hidden_box", size=size), "box"))
    blocks += _glance(evidence, say)
    if len(evidence.sites):
        if evidence.withheld is None:
            blocks += _map(evidence, say)
        blocks += [*_statuses(evidence, say), *_history(evidence, say), *_sites(evidence, say)]
    blocks += [
        *limits(say, area=True),
        *method(say, evidence.runs),
        *check(say, evidence.runs, manifest, facts_sha256),
    ]
    subtitle = say.text("area.subtitle", area=evidence.area or NOTHING)
    return frame(evidence, say, say.text("area.title"), subtitle, blocks)


def _glance(evidence: AreaEvidence, say: Messages) -> list[Block]:
    sites = evidence.sites
    rows: list[tuple[str, tuple[str, ...]]] = []
    if not len(sites):
        none = say.text("area.empty")
        if evidence.rejected and evidence.withheld is None:
            none = say.text("area.empty_but_rejected", n=evidence.rejected)
        return [Heading(say.text("area.at_a_glance")), Text(none)]
    sure = say.text("area.sure", n=evidence.count("level", *_SURE))
    rows.append((say.text("area.sites"), (f"{say.text('area.sites_line', n=len(sites))} {sure}",)))
    total = float(pd.to_numeric(sites["area_ha"]).sum())
    rows.append((say.text("area.size"), (say.text("area.size_line", area=say.hectares(total)),)))
    if evidence.runs:
        first = min(used.run.start for used in evidence.runs)
        last = max(used.run.end for used in evidence.runs)
        line = say.text("area.observed_line", first=first, last=last)
        rows.append((say.text("area.observed"), (line,)))
    if "verdict" in sites:
        confirmed = evidence.count("verdict", Verdict.CONFIRMED.value)
        unsaid = int(sites["verdict"].isna().sum())
        told = " ".join(
            (
                say.text("area.reviewed_line", n=confirmed),
                say.text("area.rejected_line", n=evidence.rejected),
                say.text("area.unreviewed_line", n=unsaid),
            )
        )
        rows.append((say.text("area.reviewed"), (told,)))
    if "legality" in sites and evidence.count("legality", Legality.UNKNOWN.value) < len(sites):
        protected = evidence.count("legality", Legality.PROTECTED.value)
        inside = evidence.count("legality", Legality.IN_CONCESSION.value)
        law = (
            say.text("area.protected_line", n=protected),
            say.text("area.concession_line", n=inside),
        )
        rows.append((say.text("area.law"), law))
    return [Heading(say.text("area.at_a_glance")), Facts(tuple(rows))]


def _map(evidence: AreaEvidence, say: Messages) -> list[Block]:
    sites = evidence.sites
    drawing = sites_map(
        sites["lon"].to_numpy(dtype=float),
        sites["lat"].to_numpy(dtype=float),
        pd.to_numeric(sites["area_ha"]).to_numpy(dtype=float),
        np.asarray(sites["level"].isin(_SURE)),
        evidence.geometry,
    )
    caption, alt = say.text("area.map_caption"), say.text("area.map_alt")
    return [Heading(say.text("area.map")), Chart(drawing, caption, alt)]


def _statuses(evidence: AreaEvidence, say: Messages) -> list[Block]:
    counts = [(status, evidence.count("status", status.value)) for status in Status]
    rows = tuple(
        (say.of("status", status), say.number(count), say.of("status_means", status))
        for status, count in counts
        if count
    )
    heads = (say.text("area.status"), say.text("area.count"), "")
    table = Table(say.text("area.statuses"), heads, rows, (20, 12, 68), figures=(1,))
    return [table]


def _history(evidence: AreaEvidence, say: Messages) -> list[Block]:
    rows = evidence.by_period.to_dict(orient="records")[-_LATEST:]
    if not rows:
        return []
    bars, told = [], []
    for row in rows:
        known, observed = int(row["sites"]), int(row["observed"])
        share = say.percent(observed / known) if known else NOTHING
        area = figure(row["area_ha"])
        period = say.period(row["start"], row["end"])
        bars.append(Bar(period, area, None, None, observed=area is not None, below=share))
        shown = NOTHING if area is None else say.hectares(area)
        told.append((period, shown, say.number(int(row["detected"])), share))
    chart = area_chart(bars, say)
    heads = tuple(say.of("area", head) for head in ("period", "area", "detected", "observed_share"))
    return [
        Heading(say.text("area.history")),
        Chart(chart, say.text("area.chart"), say.text("area.chart_alt")),
        Table("", heads, tuple(told), (30, 22, 22, 26), figures=(1, 2, 3)),
    ]


def _sites(evidence: AreaEvidence, say: Messages) -> list[Block]:
    sites = evidence.sites
    shown = [column for column in _COLUMNS if not column[1] or column[1] in sites]
    records = sites.drop(columns="geometry").head(_MOST_SITES).to_dict(orient="records")
    digits = 5 if evidence.withheld is None else 2
    rows = tuple(
        tuple(_CELLS[name](row, k, say, digits) for name, _, _ in shown)
        for k, row in enumerate(records, start=1)
    )
    table = Table(
        "",
        tuple(say.of("area", name) for name, _, _ in shown),
        rows,
        tuple(width for _, _, width in shown),
        codes=tuple(
            k for k, column in enumerate(shown) if column[0] in {"site", "coordinates", "since"}
        ),
        figures=tuple(
            k for k, column in enumerate(shown) if column[0] in {"number", "hectares", "priority"}
        ),
    )
    blocks: list[Block] = [Heading(say.text("area.table")), table]
    if len(sites) > _MOST_SITES:
        blocks.append(Text(say.text("area.partial", n=_MOST_SITES), "note"))
    return blocks


def _month(row: dict[Any, Any], *_: Any) -> str:
    day = row["first_seen"]
    return day.strftime("%Y-%m") if hasattr(day, "strftime") else str(day)[:7]


def _word(group: str, column: str) -> Callable[..., str]:
    def cell(row: dict[Any, Any], _: int, say: Messages, __: int) -> str:
        value = row[column]
        if not isinstance(value, str) or not say.known(group, str(value)):
            return NOTHING
        return say.of(group, str(value))

    return cell


def _area(row: dict[Any, Any], _: int, say: Messages, __: int) -> str:
    area, high = figure(row["area_ha"]), figure(row.get("area_high_ha"))
    return NOTHING if area is None else area_words(say, area, high, unit=False)


_CELLS: dict[str, Callable[..., str]] = {
    "number": lambda _, k, say, __: say.number(k),
    "site": lambda row, *_: str(row["site_id"]),
    "coordinates": lambda row, _, __, digits: decimal_degrees(row["lon"], row["lat"], digits),
    "since": _month,
    "status": _word("status", "status"),
    "level": _word("level", "level"),
    "hectares": _area,
    "legality": _word("legality_short", "legality"),
    "verdict": _word("verdict", "verdict"),
    "priority": lambda row, _, say, __: say.number(figure(row["priority"]) or 0),
}
