"""What the report of a site says, in order, in one language."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
    capital,
    check,
    decimal_degrees,
    degrees_minutes_seconds,
    figure,
    frame,
    interval_words,
    limits,
    method,
    mgrs_reference,
    sensor_name,
    yes_no,
)
from sluice.app.reports.site_charts import Bar, area_chart
from sluice.app.reports.site_evidence import SiteEvidence
from sluice.base.places import Status

_MOST_SCENES = 3
_LATEST = 40
"""Periods in the table; ten years of quarters."""
_NEITHER = 1.05
_HALF = 0.5


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
    subtitle = say.text("site.subtitle", site=evidence.site.site_id, area=evidence.site.area)
    return frame(evidence, say, say.text("site.title"), subtitle, blocks)


def _warnings(evidence: SiteEvidence, say: Messages) -> list[Block]:
    site = evidence.site
    blocks: list[Block] = [Text(say.text("site.lead_box"), "box")]
    if evidence.withheld is not None:
        size = say.metres(evidence.withheld.grid_m)
        blocks.append(Text(say.text("site.hidden_box", size=size), "box"))
    if site.merged_into is not None:
        blocks.append(Text(say.text("site.merged_box", site=site.merged_into), "box"))
    elif not site.current:
        blocks.append(Text(say.text("site.past_box"), "box"))
    return blocks


def _glance(evidence: SiteEvidence, say: Messages) -> list[Block]:
    site, open_ = evidence.site, evidence.withheld is None
    rows: list[tuple[str, tuple[str, ...]]] = [
        (say.text("site.place"), _place(evidence, say)),
        (say.text("site.since"), _since(evidence, say)),
        (say.text("site.size"), _size(evidence, say)),
    ]
    status = say.of("status", site.status)
    meaning = say.of("status_means", site.status)
    rows.append(
        (
            say.text("site.status"),
            (say.text("site.status_line", status=capital(status), meaning=meaning),),
        )
    )
    level = site.level or "none"
    sure = say.text(
        "site.confidence_line",
        level=capital(say.of("level", level)),
        meaning=say.of("level_means", level),
    )
    posterior = (say.text("site.posterior", share=say.percent(site.posterior)),) if open_ else ()
    rows.append((say.text("site.confidence"), (sure, *posterior)))
    if open_:
        law = say.text("site.law_line", legality=say.of("legality", site.legality))
        rows.append((say.text("site.law"), (law,)))
    rows.append((say.text("site.review"), (_verdict(evidence, say),)))
    if open_:
        rows.append((say.text("site.priority"), (_priority(evidence, say),)))
    return [Heading(say.text("site.at_a_glance")), Facts(tuple(rows))]


def _place(evidence: SiteEvidence, say: Messages) -> tuple[str, ...]:
    lon, lat = evidence.site.lon, evidence.site.lat
    if evidence.withheld is not None:
        rough = say.text("site.decimal", coordinates=decimal_degrees(lon, lat, 2))
        return rough, capital(say.text("site.rounded"))
    return (
        say.text("site.decimal", coordinates=decimal_degrees(lon, lat)),
        degrees_minutes_seconds(lon, lat, say),
        say.text("site.mgrs", coordinates=mgrs_reference(lon, lat)),
    )


def _since(evidence: SiteEvidence, say: Messages) -> tuple[str, ...]:
    site, periods = evidence.site, evidence.periods
    first = periods[periods["start"] == site.first_seen] if len(periods) else periods
    end = first["end"].iloc[0] if len(first) else None
    period = say.date(site.first_seen) if end is None else say.period(site.first_seen, end)
    key = "site.began" if site.known_before else "site.may_be_older"
    if evidence.withheld is not None:
        return (say.text(key, period=period),)
    seen = say.text("site.last_seen", seen=site.last_seen, observed=site.last_observed)
    return say.text(key, period=period), seen


def _size(evidence: SiteEvidence, say: Messages) -> tuple[str, ...]:
    site = evidence.site
    area, low, high = figure(site.area_ha), figure(site.area_low_ha), figure(site.area_high_ha)
    if area is None:
        size = say.text("site.size_unknown")
    elif low is None or high is None:
        size = say.text("site.size_no_interval", area=say.hectares(area))
    else:
        interval = say.text(
            "common.interval",
            area=say.hectares(area),
            low=say.number(low, 1),
            high=say.hectares(high),
        )
        size = say.text("site.size_at", area=interval)
    if evidence.withheld is not None:
        return (size,)
    return size, say.text("site.size_cumulative", area=say.hectares(site.cumulative_ha))


def _verdict(evidence: SiteEvidence, say: Messages) -> str:
    if evidence.withheld is not None and evidence.verdict is not None:
        return capital(say.of("verdict", evidence.verdict))
    if not evidence.reviews:
        return say.text("site.not_reviewed")
    last = evidence.reviews[-1]
    verdict = capital(say.of("verdict", last.verdict))
    who = last.who or say.text("common.unknown")
    return say.text("site.reviewed", verdict=verdict, who=who, when=last.when.date())


def _priority(evidence: SiteEvidence, say: Messages) -> str:
    site = evidence.site
    parts = sorted(site.priority_parts.items(), key=lambda part: (-part[1], part[0]))
    told = ", ".join(
        f"{say.of('part', name) if say.known('part', name) else name} {say.number(points)}"
        for name, points in parts
        if round(points)
    )
    points = say.number(site.priority)
    if not told:
        return say.text("site.priority_bare", points=points)
    return say.text("site.priority_line", points=points, parts=told)


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
    told = tuple(_period_row(row, say) for row in rows[-_LATEST:])
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
        rule = say.text("history.rule", rule=evidence.site.status_rule)
        blocks.append(Text(rule, "note"))
    return blocks


def baseline(looks: pd.DataFrame, periods: pd.DataFrame) -> list[dict[str, Any]]:
    """Periods before the first one on record, in which the place was looked at.

    They are what "it was not there before" rests on; a period counts as observed where a look saw
    at least half of the site.
    """
    if not len(looks) or not len(periods):
        return []
    before = looks[looks["end"] < periods["start"].min()]
    return [
        {
            "start": start,
            "end": end,
            "observed": bool((group["observed_share"] >= _HALF).any()),
            "detected": bool(group["detected"].astype(bool).any()),
            "area_ha": None,
            "area_low_ha": None,
            "area_high_ha": None,
        }
        for (start, end), group in before.groupby(["start", "end"], sort=True)
    ]


def _bar(row: Mapping[Any, Any], say: Messages) -> Bar:
    found = bool(row["detected"])
    return Bar(
        label=say.period(row["start"], row["end"]),
        value=figure(row["area_ha"]) if found else 0.0,
        low=figure(row["area_low_ha"]) if found else None,
        high=figure(row["area_high_ha"]) if found else None,
        observed=bool(row["observed"]),
    )


def _period_row(row: Mapping[Any, Any], say: Messages) -> tuple[str, ...]:
    area = figure(row.get("area_ha"))
    posterior = figure(row.get("posterior"))
    observed = bool(row.get("observed", True))
    return (
        say.period(row["start"], row["end"]),
        yes_no(say, observed),
        yes_no(say, row.get("detected")) if observed else NOTHING,
        NOTHING if area is None else say.hectares(area),
        interval_words(say, figure(row.get("area_low_ha")), figure(row.get("area_high_ha"))),
        NOTHING if posterior is None else say.percent(posterior),
        say.of("status", row["status"]) if row.get("status") in set(Status) else NOTHING,
    )


def _evidence(evidence: SiteEvidence, say: Messages) -> list[Block]:
    blocks: list[Block] = [Heading(say.text("evidence.heading")), Text(say.text("evidence.intro"))]
    looks = evidence.looks
    if len(looks):
        heads = ("sensor", "looks", "with_detection", "observed_share", "ratio")
        blocks.append(
            Table(
                say.text("evidence.table"),
                tuple(say.of("evidence", head) for head in heads),
                tuple(
                    _sensor_row(str(sensor), group, say)
                    for sensor, group in looks.groupby("sensor", sort=True)
                ),
                (28, 17, 15, 16, 29),
                figures=(1, 2, 3),
            )
        )
        if (looks["sensor"] == "s1").any():
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
        sensor_name(say, sensor),
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
    growth = figure(row.get("growth_ha"))
    kind = say.of("alert_kind", row["kind"])
    return (
        kind if growth is None else f"{kind} (+{say.hectares(growth)})",
        say.date(row["raised"]),
        say.of("level", row["level"]),
        say.of("alert_state", row["state"]),
        "; ".join(_texts(row["reasons"])) or NOTHING,
    )


def _texts(value: Any) -> Sequence[str]:
    return [str(text) for text in value] if isinstance(value, list | tuple) else []


def _context(evidence: SiteEvidence, say: Messages) -> list[Block]:
    site = evidence.site
    blocks: list[Block] = [
        Heading(say.text("context.heading")),
        Heading(say.text("context.law"), 3),
        Text(say.text("site.law_line", legality=say.of("legality", site.legality))),
    ]
    if site.legality_why:
        blocks.append(Text(say.text("context.law_why", why=site.legality_why), "note"))
    blocks.append(Text(say.text("context.law_note"), "note"))
    rows = context_rows(site.context, say)
    if rows:
        heads = (say.text("context.fact"), say.text("context.value"))
        blocks.append(Table(say.text("context.nearby"), heads, rows, (45, 55)))
    else:
        blocks.append(Text(say.text("context.empty")))
    cover = cover_rows(evidence.looks, say)
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
    rows = tuple(
        (
            say.of("verdict", review.verdict),
            say.of("reason", review.reason) if review.reason else NOTHING,
            review.who,
            say.date(review.when.date()),
            review.note or NOTHING,
        )
        for review in evidence.reviews
    )
    heads = tuple(say.of("reviews", head) for head in ("verdict", "reason", "who", "when", "note"))
    return [*blocks, Table("", heads, rows, (14, 16, 18, 18, 34))]
