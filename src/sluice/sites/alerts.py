"""Changes of sites worth telling, each told once.

Everything follows from a site's whole history, so that a replay gives the same alerts with the
same ids. `docs/alerts.md` has the rules and their reasons.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from sluice.base.alert_verdicts import judged_by
from sluice.base.arrays import ObjectArray
from sluice.base.errors import ConfigError
from sluice.base.periods import Period
from sluice.base.places import Alert, AlertKind, AlertState, Level, Verdict, columns_of
from sluice.base.said import Said
from sluice.sites.alert_growth import AlertRule, growths_of
from sluice.sites.evidence import EvidenceRule

_KEYS = ["site_id", "start", "end"]
_MEASURED = ("detected", "well_seen", "area_ha", "area_low_ha")
_LEVELS = np.array([None, Level.LOW.value, Level.HIGH.value, Level.HIGHEST.value], object)
_NUMBERS = dict.fromkeys(["posterior", "growth_ha", "lon", "lat", "priority"], np.float64)
_HIGH = 2
_RADAR = "s1"


def raise_alerts(
    periods: pd.DataFrame,
    posteriors: pd.DataFrame,
    sites: pd.DataFrame,
    *,
    evidence: EvidenceRule | None = None,
    rule: AlertRule | None = None,
    verdicts: Mapping[str, Verdict] | None = None,
) -> pd.DataFrame:
    """All alerts of some sites, from their whole history.

    Args:
        periods: Columns of `SitePeriod`: at least site_id, start, end, detected, area_ha and
            area_low_ha (NaN where the area is a footprint, not of the workings); and `well_seen`
            (see `sluice.sites.history`).
        posteriors: From `sluice.sites.evidence.posteriors`, of the same looks.
        sites: site_id, area, lon, lat; priority and priority_parts where they are known.
        evidence: The rule that the posteriors were made with, for the reasons.
        rule: When growth is news.
        verdicts: Last verdict of a person by site. Alerts of a rejected site are rejected, those
            of a confirmed one confirmed.

    Returns:
        Columns of `Alert`, by site, then by the day raised, then by id.

    Raises:
        ConfigError: A column is missing, or a site with alerts is not among `sites`.
    """
    _check(periods, (*_KEYS, *_MEASURED), "periods")
    _check(posteriors, (*_KEYS, "event", "outcome", "level"), "posteriors")
    _check(sites, ("site_id", "area", "lon", "lat"), "sites")
    evidence, rule = evidence or EvidenceRule(), rule or AlertRule()
    said = {site: Verdict(verdict) for site, verdict in (verdicts or {}).items()}
    rows = _told_rows(posteriors, periods)
    if rows.empty:
        return _typed(pd.DataFrame(columns=columns_of(Alert)))
    events = _events(rows)
    growths = growths_of(rows, rule)
    found = pd.concat(
        [_event_alerts(events, evidence, said), _growth_alerts(growths, said)],
        ignore_index=True,
    )
    table = _with_sites(found, sites)
    order = ["site_id", "raised", "alert_id"]
    return _typed(table.sort_values(order, ignore_index=True)[columns_of(Alert)])


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    """The same types whether there are rows or not."""
    return table.astype({name: _NUMBERS.get(name, object) for name in table.columns})


def _check(table: pd.DataFrame, needed: tuple[str, ...], name: str) -> None:
    missing = [column for column in needed if column not in table.columns]
    if missing:
        raise ConfigError(f"{name} lack the columns {', '.join(missing)}; got {[*table.columns]}")


def _told_rows(posteriors: pd.DataFrame, periods: pd.DataFrame) -> pd.DataFrame:
    """Rows of the events that are told, in time, with the areas seen; `told` from the first news.

    An event is told from the period in which it first has a level. After a rejected one at the same
    site a level below high is no news: that is what was told and rejected before.
    """
    rows = posteriors[posteriors["event"] > 0]
    areas = periods[[*_KEYS, *_MEASURED]]
    rows = rows.merge(areas, on=_KEYS, how="left", validate="one_to_one")
    rows = rows.sort_values(["site_id", "end", "start"], ignore_index=True)
    rank = np.zeros(len(rows), np.int64)
    for number, level in enumerate(_LEVELS[1:], 1):
        rank[(rows["level"] == level).to_numpy(bool)] = number
    rows["rank"] = rank
    group = rows.groupby(["site_id", "event"], sort=False)
    rows["event_row"] = group.ngroup()
    rows["after"] = _told_before(rows)[rows["event_row"]]
    least = np.where(rows["after"] == "rejected", _HIGH, 1)
    rows["told"] = (rows["rank"] >= least).groupby(rows["event_row"]).cummax()
    is_told = rows.groupby("event_row")["told"].transform("any")
    return rows[is_told].reset_index(drop=True)


def _told_before(rows: pd.DataFrame) -> ObjectArray:
    """For each event, in order: what became of the last event that was told at the same site.

    `rejected`, `inactive`, or empty where there was none.
    """
    events = rows.groupby("event_row", sort=True).agg(
        site=("site_id", "first"), top=("rank", "max"), outcome=("outcome", "last")
    )
    number = events.groupby("site", sort=False).cumcount().to_numpy()
    code = pd.factorize(events["site"])[0]
    top, outcome = events["top"].to_numpy(), events["outcome"].to_numpy(object)
    last = np.full(code.max(initial=-1) + 1, "", object)
    before = np.full(len(events), "", object)
    for step in range(int(number.max(initial=-1)) + 1):
        at = np.flatnonzero(number == step)
        before[at] = last[code[at]]
        told = at[top[at] >= np.where(before[at] == "rejected", _HIGH, 1)]
        last[code[told]] = outcome[told]
    return before


def _events(rows: pd.DataFrame) -> pd.DataFrame:
    """One row for each event that is told, as it stands after its last period."""
    shown = rows["rank"].clip(lower=1).where(rows["told"], 0)
    highest = shown.groupby(rows["event_row"]).cummax()
    # Once confirmed it stays what it was: a mine that is left was a mine all the same.
    shown = shown.where(~rows["confirmed"], highest)
    state = np.select(
        [rows["confirmed"], rows["outcome"] == "rejected"],
        [AlertState.CONFIRMED.value, AlertState.REJECTED.value],
        AlertState.OPEN.value,
    )
    # A place may fall silent in the period that rejects it; the level stays what was told.
    table = rows.assign(shown=shown, state=state)
    group = table.groupby("event_row", sort=True)
    changed = (table["shown"] != group["shown"].shift()) | (
        table["state"] != group["state"].shift()
    )
    last_change = table[changed & table["told"]].groupby("event_row")["end"].last()
    first, last = group.first(), group.last()
    news = table[table["told"]].groupby("event_row").first()
    spoke = table[table["rank"] > 0].groupby("event_row").last()
    return pd.DataFrame(
        {
            "site_id": first["site_id"],
            "start": first["start"],
            "end": first["end"],
            "known_before": first["known_before"],
            "after": first["after"],
            "raised": news["end"],
            "updated": last_change,
            "rank": last["shown"].astype(np.int64),
            "state": last["state"],
            "posterior": last["posterior"],
            "outcome": last["outcome"],
            "sensors": spoke["sensors"],
            "dates": spoke["dates"],
            "best": group["posterior"].max(),
        }
    )


def _event_alerts(
    events: pd.DataFrame, evidence: EvidenceRule, said: Mapping[str, Verdict]
) -> pd.DataFrame:
    kind = np.where(events["after"] == "inactive", AlertKind.RESUMED.value, AlertKind.NEW.value)
    reasons = [_reasons(event, evidence) for event in events.itertuples()]
    table = pd.DataFrame(
        {
            "site_id": events["site_id"],
            "kind": kind,
            "start": events["start"],
            "end": events["end"],
            "raised": events["raised"],
            "updated": events["updated"],
            "level": _LEVELS[events["rank"]],
            "state": events["state"],
            "posterior": events["posterior"],
            "growth_ha": np.nan,
            "reasons": reasons,
        }
    ).reset_index(drop=True)
    return _with_verdicts(table, said)


def _reasons(event: Any, evidence: EvidenceRule) -> list[dict[str, Any]]:
    """Why an event has its level and state."""
    said = [_news(event)]
    if event.after == "rejected":
        said.append(Said.of("alert_reason.after_rejected"))
    sensors, best = event.sensors or "", event.best
    if sensors:
        said.append(
            Said.of(
                "alert_reason.detected",
                n=int(event.dates),
                sensors=sensors,
                highest_probability=best,
            )
        )
    else:
        said.append(Said.of("alert_reason.likely", highest_probability=best))
    said.append(_level_reason(event, evidence))
    names = sensors.split(",")
    if len(names) > 1 and set(names) & set(evidence.unknown_sensors):
        said.append(Said.of("alert_reason.unknown_sensor"))
    if _RADAR in names:
        said.append(Said.of("alert_reason.radar"))
    if event.state == AlertState.CONFIRMED.value:
        said.append(Said.of("alert_reason.confirmed"))
    elif event.state == AlertState.REJECTED.value and event.posterior < evidence.reject_below:
        said.append(Said.of("alert_reason.rejected_fell", probability=event.posterior))
    elif event.state == AlertState.REJECTED.value:
        said.append(Said.of("alert_reason.rejected_stayed", low_probability=evidence.low))
    return [one.plain() for one in said]


def _news(event: Any) -> Said:
    if event.after == "inactive":
        return Said.of("alert_reason.resumed")
    if event.known_before:
        return Said.of("alert_reason.new", period=Period(event.start, event.end))
    return Said.of("alert_reason.found")


def _level_reason(event: Any, evidence: EvidenceRule) -> Said:
    level = _LEVELS[event.rank]
    if level == Level.HIGHEST.value:
        return Said.of("alert_reason.highest", high_probability=evidence.high)
    if level == Level.HIGH.value and event.dates >= _HIGH:
        return Said.of("alert_reason.high_dates", high_probability=evidence.high)
    if level == Level.HIGH.value:
        return Said.of("alert_reason.high_strong", strong_probability=evidence.strong)
    return Said.of(
        "alert_reason.low",
        low_probability=evidence.low,
        high_probability=evidence.high,
        strong_probability=evidence.strong,
    )


def _growth_alerts(growths: pd.DataFrame, said: Mapping[str, Verdict]) -> pd.DataFrame:
    if growths.empty:
        return pd.DataFrame()
    reasons = [_growth_reasons(row) for row in growths.itertuples()]
    table = pd.DataFrame(
        {
            "site_id": growths["site_id"],
            "kind": AlertKind.GROWTH.value,
            "start": growths["start"],
            "end": growths["end"],
            "raised": growths["end"],
            "updated": growths["updated"],
            "level": _LEVELS[growths["rank"]],
            "state": growths["state"],
            "posterior": growths["posterior"],
            "growth_ha": growths["growth_ha"],
            "reasons": reasons,
        }
    )
    return _with_verdicts(table, said)


def _growth_reasons(row: Any) -> list[dict[str, Any]]:
    workings = np.isfinite(row.area_low_ha)
    grown = Said.of(
        "alert_reason.workings_grew" if workings else "alert_reason.footprint_grew",
        was_ha=row.was_ha,
        since_day=row.since,
        area_ha=row.area_ha,
        growth_share=row.growth_ha / row.was_ha,
    )
    said = [grown, Said.of("alert_reason.probability", probability=row.posterior)]
    if row.state == AlertState.CONFIRMED.value:
        said.append(Said.of("alert_reason.growth_confirmed"))
    elif row.state == AlertState.REJECTED.value:
        said.append(Said.of("alert_reason.growth_rejected"))
    return [one.plain() for one in said]


def _with_verdicts(table: pd.DataFrame, said: Mapping[str, Verdict]) -> pd.DataFrame:
    """A person's verdict counts more than what looks say."""
    states, reasons = table["state"].tolist(), table["reasons"].tolist()
    for row in np.flatnonzero(table["site_id"].isin(said)):
        verdict = said[table["site_id"].iloc[row]]
        state, reasons[row] = judged_by(AlertState(states[row]), reasons[row], verdict)
        states[row] = state.value
    return table.assign(state=states, reasons=pd.Series(reasons, table.index, dtype=object))


def _with_sites(found: pd.DataFrame, sites: pd.DataFrame) -> pd.DataFrame:
    wanted = ["site_id", "area", "lon", "lat", "priority", "priority_parts"]
    known = pd.DataFrame(sites[[name for name in wanted if name in sites.columns]])
    if "priority" not in known.columns:
        known["priority"] = np.nan
    if "priority_parts" not in known.columns:
        known["priority_parts"] = pd.Series([{}] * len(known), known.index, dtype=object)
    unknown = sorted(set(found["site_id"]) - set(known["site_id"]))
    if unknown:
        raise ConfigError(
            f"{len(unknown)} sites with alerts are not among the sites ({unknown[0]}); give all"
        )
    table = found.merge(known, on="site_id", how="left", validate="many_to_one")
    keys = zip(table["site_id"], table["kind"], table["start"], strict=True)
    table["alert_id"] = [alert_id(site, AlertKind(kind), start) for site, kind, start in keys]
    return table


def alert_id(site_id: str, kind: AlertKind, start: Any) -> str:
    """`a-` and 16 hex digits that follow from site, kind and first day of the first period."""
    key = f"{site_id}|{kind.value}|{start.isoformat()}"
    return "a-" + hashlib.sha256(key.encode()).hexdigest()[:16]
