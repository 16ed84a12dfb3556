"""What is known of a site, its history, alerts and reviews: the words that every face uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from sluice.app.messages import Messages
from sluice.app.reports.report_parts import (
    NOTHING,
    area_words,
    capital,
    decimal_degrees,
    degrees_minutes_seconds,
    figure,
    interval_words,
    mgrs_reference,
    nothing_outlined,
    yes_no,
)
from sluice.app.reports.site_evidence import SiteEvidence
from sluice.base.places import Review, Site, Status

_HALF = 0.5


def glance_rows(
    evidence: SiteEvidence, say: Messages, *, why: bool = False
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """What is asked first of a site: a name and its lines for each.

    Args:
        evidence: What is known.
        say: The language.
        why: Tell the rules that gave status and legality, too.
    """
    site, open_ = evidence.site, evidence.withheld is None
    rows: list[tuple[str, tuple[str, ...]]] = [
        (say.text("site.place"), _place(evidence, say)),
        (say.text("site.since"), _since(evidence, say)),
        (say.text("site.size"), _size(evidence, say)),
    ]
    status = say.of("status", site.status)
    meaning = say.of("status_means", site.status)
    rule = (say.said(site.status_rule),) if why and site.status_rule else ()
    line = say.text("site.status_line", status=capital(status), meaning=meaning)
    rows.append((say.text("site.status"), (line, *rule)))
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
        reasons = (say.said(site.legality_why),) if why and site.legality_why else ()
        rows.append((say.text("site.law"), (law, *reasons)))
    rows.append((say.text("site.review"), (_verdict(evidence, say),)))
    if open_:
        line = priority_words(site.priority, site.priority_parts, say)
        rows.append((say.text("site.priority"), (line,)))
    return tuple(rows)


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
    elif nothing_outlined(area, high):
        size = capital(say.text("site.size_at", area=area_words(say, area, high)))
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


def priority_words(priority: float, parts: Mapping[str, float], say: Messages) -> str:
    """Points with their parts, the largest first; parts without a point are left out."""
    ordered = sorted(parts.items(), key=lambda part: (-part[1], part[0]))
    told = ", ".join(
        f"{say.of('part', name) if say.known('part', name) else name} {say.number(points)}"
        for name, points in ordered
        if round(points)
    )
    points = say.number(priority)
    if not told:
        return say.text("site.priority_bare", points=points)
    return say.text("site.priority_line", points=points, parts=told)


def what_became(site: Site, say: Messages) -> str | None:
    """Of a site that is no longer followed on its own."""
    if site.merged_into is not None:
        return say.text("site.merged_box", site=site.merged_into)
    return None if site.current else say.text("site.past_box")


def alert_kind(alert: Mapping[Any, Any], say: Messages) -> str:
    """`growth (+1.2 ha)`."""
    growth = figure(alert.get("growth_ha"))
    kind = say.of("alert_kind", alert["kind"])
    return kind if growth is None else f"{kind} (+{say.hectares(growth)})"


def review_row(review: Review, say: Messages, site_id: str) -> tuple[str, ...]:
    """Verdict, reason, who, when and note.

    Args:
        review: What was said.
        say: The language.
        site_id: The site that is shown: of another one, which grew together with it, the verdict
            says so.
    """
    verdict = say.of("verdict", review.verdict)
    if review.site_id != site_id:
        verdict = say.text("reviews.of", verdict=verdict, site=review.site_id)
    return (
        verdict,
        say.of("reason", review.reason) if review.reason else NOTHING,
        review.who,
        say.date(review.when.date()),
        review.note or NOTHING,
    )


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


def period_row(row: Mapping[Any, Any], say: Messages) -> tuple[str, ...]:
    """Period, observed, detected, area, interval, probability and status."""
    area, low, high = (figure(row.get(f"area{end}_ha")) for end in ("", "_low", "_high"))
    posterior = figure(row.get("posterior"))
    observed = bool(row.get("observed", True))
    return (
        say.period(row["start"], row["end"]),
        yes_no(say, observed),
        yes_no(say, row.get("detected")) if observed else NOTHING,
        NOTHING if area is None else area_words(say, area, high),
        NOTHING if nothing_outlined(area, high) else interval_words(say, low, high),
        NOTHING if posterior is None else say.percent(posterior),
        say.of("status", row["status"]) if row.get("status") in set(Status) else NOTHING,
    )
