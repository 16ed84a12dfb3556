"""What the report of a site says, in order, in one language."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from sluice.app.messages import Messages
from sluice.app.reports.blocks import (
    Block,
    Chart,
    Document,
    Facts,
    Heading,
    Picture,
    Pictures,
    Table,
    Text,
)
from sluice.app.reports.context_words import context_rows, cover_rows
from sluice.app.reports.place_pictures import PlacePicture
from sluice.app.reports.report_parts import (
    NOTHING,
    check,
    figure,
    frame,
    limits,
    method,
)
from sluice.app.reports.site_charts import Bar, area_chart
from sluice.app.reports.site_evidence import SiteEvidence
from sluice.app.reports.site_words import (
    alert_kind,
    baseline,
    glance_rows,
    period_row,
    review_row,
    what_became,
)
from sluice.base.sensors import satellites_of

_MOST_SCENES = 3
_LATEST = 40
"""Periods in the table; ten years of quarters."""
_NEITHER = 1.05


def site_document(
    evidence: SiteEvidence, say: Messages, *, manifest: str, facts_sha256: str
) -> Document:
    """The report of a site.

    Args:
        evidence: What is known.
        say: The language.
        manifest: Name of the file with the facts that goes with the report.
        facts_sha256: Of these facts.
    """
    blocks = [
        *_warnings(evidence, say),
        *_glance(evidence, say),
        *_pictures(evidence, say),
        *_history(evidence, say),
    ]
    if evidence.withheld is None:
        blocks += [*_evidence(evidence, say), *_context(evidence, say), *_reviews(evidence, say)]
    blocks += [
        *limits(say, area=False),
        *method(say, evidence.runs),
        *check(say, evidence.runs, manifest, facts_sha256),
    ]
    subtitle = say.text(
        "site.subtitle", site=evidence.site.site_id, area=evidence.site.area or NOTHING
    )
    return frame(evidence, say, say.text("site.title"), subtitle, blocks)


def _warnings(evidence: SiteEvidence, say: Messages) -> list[Block]:
    blocks: list[Block] = [Text(say.text("site.lead_box"), "box")]
    if evidence.withheld is not None:
        size = say.metres(evidence.withheld.grid_m)
        blocks.append(Text(say.text("site.hidden_box", size=size), "box"))
    past = what_became(evidence.site, say)
    return [*blocks, *([Text(past, "box")] if past else [])]


def _glance(evidence: SiteEvidence, say: Messages) -> list[Block]:
    return [Heading(say.text("site.at_a_glance")), Facts(glance_rows(evidence, say))]


def _pictures(evidence: SiteEvidence, say: Messages) -> list[Block]:
    pair = (
        _picture(evidence, evidence.before, "before", say),
        _picture(evidence, evidence.after, "after", say),
    )
    blocks: list[Block] = [Heading(say.text("pictures.heading")), Pictures(pair)]
    shown = [picture for picture in (evidence.before, evidence.after) if picture is not None]
    if shown:
        same = all(picture.same_tones for picture in shown)
        blocks.append(
            Text(say.text("pictures.same_tones" if same else "pictures.own_tones"), "note")
        )
    return blocks


def _picture(
    evidence: SiteEvidence, picture: PlacePicture | None, which: str, say: Messages
) -> Picture:
    already = which == "before" and picture is not None and picture.detected
    title = say.of("pictures", "earlier" if already else which)
    if picture is None:
        key = "withheld" if evidence.withheld is not None else f"absent_{which}"
        return Picture(f"{title} · {say.text('pictures.absent')}", None, (say.of("pictures", key),))
    period = say.period(picture.start, picture.end)
    names = [_scene_words(scene) for scene in picture.scenes[:_MOST_SCENES]]
    rest = len(picture.scenes) - len(names)
    if rest:
        names.append(say.text("pictures.more_scenes", n=rest))
    hidden = say.text("pictures.nothing_hidden")
    if picture.hidden_share > 0:
        hidden = say.text("pictures.hidden", share=say.percent(picture.hidden_share))
    lines = [f"{_colours(picture, say)} {hidden}"]
    if names:
        lines.append(say.text("pictures.scenes", n=len(picture.scenes), names="; ".join(names)))
    lines.append(say.text("pictures.run", run=picture.run_id))
    alt = say.text("pictures.alt", period=period)
    return Picture(f"{title} · {period}", picture.pixels, tuple(lines), alt)


def _scene_words(scene: Any) -> str:
    day = f" ({scene.acquired.isoformat()})" if scene.acquired else ""
    return f"{scene.id}{day}"


def _colours(picture: PlacePicture, say: Messages) -> str:
    if picture.bands == ("red", "green", "blue"):
        return say.text("pictures.true_colour")
    bands = ", ".join(dict.fromkeys(picture.bands))
    key = "pictures.false_colour" if len(set(picture.bands)) > 1 else "pictures.grey"
    return say.text(key, bands=bands)


def _history(evidence: SiteEvidence, say: Messages) -> list[Block]:
    periods = evidence.periods
    blocks: list[Block] = [Heading(say.text("history.heading"))]
    if not len(periods):
        return [*blocks, Text(say.text("history.empty"))]
    rows: list[Mapping[Any, Any]] = [
        *baseline(evidence.looks, periods),
        *periods.to_dict(orient="records"),
    ]
    if evidence.withheld is None:
        chart = area_chart([_bar(row, say) for row in rows[-_LATEST:]], say)
        blocks.append(Chart(chart, say.text("history.chart"), say.text("history.chart_alt")))
    heads = ("period", "observed", "found", "area", "interval", "probability", "status")
    told = tuple(period_row(row, say) for row in rows[-_LATEST:])
    kept = range(len(heads)) if evidence.withheld is None else (0, 3, 6)
    widths = (21, 11, 11, 12, 17, 15, 17)
    blocks.append(
        Table(
            say.text("history.table"),
            tuple(say.of("history", heads[k]) for k in kept),
            tuple(tuple(row[k] for k in kept) for row in told),
            tuple(widths[k] for k in kept),
            figures=tuple(place for place, k in enumerate(kept) if k in {3, 4, 5}),
        )
    )
    if evidence.withheld is None and evidence.site.status_rule:
        rule = say.text("history.rule", rule=say.said(evidence.site.status_rule))
        blocks.append(Text(rule, "note"))
    return blocks


def _bar(row: Mapping[Any, Any], say: Messages) -> Bar:
    found = bool(row["detected"])
    return Bar(
        label=say.period(row["start"], row["end"]),
        value=figure(row["area_ha"]) if found else 0.0,
        low=figure(row["area_low_ha"]) if found else None,
        high=figure(row["area_high_ha"]) if found else None,
        observed=bool(row["observed"]),
    )


def _evidence(evidence: SiteEvidence, say: Messages) -> list[Block]:
    blocks: list[Block] = [Heading(say.text("evidence.heading")), Text(say.text("evidence.intro"))]
    looks = evidence.looks
    # As alerts weigh them: images of one satellite are one witness, however they were corrected.
    satellites = looks["sensor"].map(satellites_of)
    if len(looks):
        heads = ("sensor", "looks", "with_detection", "observed_share", "ratio")
        blocks.append(
            Table(
                say.text("evidence.table"),
                tuple(say.of("evidence", head) for head in heads),
                tuple(
                    _sensor_row(str(sensor), group, say)
                    for sensor, group in looks.groupby(satellites, sort=True)
                ),
                (28, 17, 15, 16, 29),
                figures=(1, 2, 3),
            )
        )
        if (satellites == "s1").any():
            blocks.append(Text(say.text("evidence.radar_note"), "note"))
    if not len(evidence.alerts):
        return [*blocks, Text(say.text("evidence.no_alerts"))]
    alerts = evidence.alerts.to_dict(orient="records")
    blocks.append(
        Table(
            say.text("evidence.alerts"),
            tuple(
                say.of("evidence", head)
                for head in ("alert", "raised", "level", "state", "reasons")
            ),
            tuple(_alert_row(row, say) for row in alerts),
            (17, 17, 10, 18, 38),
        )
    )
    return blocks


def _sensor_row(sensor: str, looks: pd.DataFrame, say: Messages) -> tuple[str, ...]:
    weights = pd.to_numeric(looks["log_lr"]).dropna()
    return (
        say.sensor(sensor),
        say.number(len(looks)),
        say.number(int(looks["detected"].astype(bool).sum())),
        say.percent(float(looks["observed_share"].mean())),
        _weight(None if weights.empty else float(weights.mean()), say),
    )


def _weight(log_ratio: float | None, say: Messages) -> str:
    """A mean log likelihood ratio in words."""
    if log_ratio is None:
        return say.text("evidence.no_weight")
    ratio = math.exp(abs(log_ratio))
    if ratio < _NEITHER:
        return say.text("evidence.neither")
    key = "evidence.for_mine" if log_ratio > 0 else "evidence.against_mine"
    return say.text(key, ratio=say.number(ratio, 1 if ratio < 10 else 0))


def _alert_row(row: dict[Any, Any], say: Messages) -> tuple[str, ...]:
    return (
        alert_kind(row, say),
        say.date(row["raised"]),
        say.of("level", row["level"]),
        say.of("alert_state", row["state"]),
        say.said(row["reasons"]) or NOTHING,
    )


def _context(evidence: SiteEvidence, say: Messages) -> list[Block]:
    site = evidence.site
    blocks: list[Block] = [
        Heading(say.text("context.heading")),
        Heading(say.text("context.law"), 3),
        Text(say.text("site.law_line", legality=say.of("legality", site.legality))),
    ]
    if site.legality_why:
        blocks.append(Text(say.said(site.legality_why)))
    blocks.append(Text(say.text("context.law_note"), "note"))
    rows = context_rows(site.context, say)
    if rows:
        heads = (say.text("context.fact"), say.text("context.value"))
        blocks.append(Table(say.text("context.nearby"), heads, rows, (45, 55)))
    else:
        blocks.append(Text(say.text("context.empty")))
    cover = cover_rows(evidence.looks, site.first_seen, say)
    if cover:
        grounds = ("forest", "farmland", "water", "bare")
        table = Table(
            say.text("context.cover"),
            (say.text("history.period"), *(say.of("context", ground) for ground in grounds)),
            cover,
            (32, 17, 17, 17, 17),
            figures=(1, 2, 3, 4),
        )
        blocks += [table, Text(say.text("context.cover_note"), "note")]
    return blocks


def _reviews(evidence: SiteEvidence, say: Messages) -> list[Block]:
    blocks: list[Block] = [Heading(say.text("reviews.heading"))]
    if not evidence.reviews:
        return [*blocks, Text(say.text("reviews.none"))]
    heads = tuple(say.of("reviews", head) for head in ("verdict", "reason", "who", "when", "note"))
    rows = tuple(
        # The name of a site tells where it is.
        review_row(review, say, evidence.site.site_id if not evidence.withheld else review.site_id)
        for review in evidence.reviews
    )
    return [*blocks, Table("", heads, rows, (14, 16, 18, 18, 34))]
