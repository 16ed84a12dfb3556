"""What of a store a person may see: every query and every table goes through here.

Two things: the areas that somebody may see, and sensitive places, which viewers see as
`sluice.sites.redaction` lets them out. All filters are worked out on what goes out: a search by
what is true would tell, by what it finds, what is withheld.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import geopandas as gpd
import pandas as pd

from sluice.app.web.access import Person
from sluice.app.web.errors import Forbidden
from sluice.base.store import SiteQuery, Store
from sluice.sites.redaction import Redaction, redact, redact_alerts, redact_periods, redact_reports


def visible(query: SiteQuery, person: Person) -> SiteQuery:
    """The query, within the areas and verdicts that the person may see."""
    if person.areas is not None:
        chosen = person.areas if query.areas is None else person.areas & frozenset(query.areas)
        query = replace(query, areas=tuple(sorted(chosen)))
    if person.verdicts is not None:
        asked = person.verdicts if query.verdict is None else query.verdict
        query = replace(query, verdict=tuple(one for one in asked if one in person.verdicts))
    return query


def redaction_of(person: Person) -> Redaction | None:
    """What is withheld from a person, for reports and exports; None where nothing is."""
    if person.redacted and person.redaction is None:
        raise Forbidden("what is withheld here is not known; ask whoever runs the service")
    return person.redaction


def shown(
    table: gpd.GeoDataFrame, person: Person, periods: pd.DataFrame | None = None
) -> gpd.GeoDataFrame:
    """Sites, as the person may see them.

    Args:
        table: From `Store.sites`.
        person: Who asks.
        periods: Of these sites, from `Store.periods`; needed where the redaction has a delay.
    """
    rule = redaction_of(person)
    return table if rule is None else redact(table, rule, _today(), periods=periods)


def shown_alerts(alerts: pd.DataFrame, sites: gpd.GeoDataFrame, person: Person) -> pd.DataFrame:
    """Alerts, as the person may see them.

    Args:
        alerts: From `Store.alerts`.
        sites: Their sites as they are, before `shown`.
        person: Who asks.
    """
    rule = redaction_of(person)
    return alerts if rule is None else redact_alerts(alerts, rule, _today(), sites=sites)


def shown_periods(periods: pd.DataFrame, sites: gpd.GeoDataFrame, person: Person) -> pd.DataFrame:
    """Periods of sites, as the person may see them; see `shown_alerts`."""
    rule = redaction_of(person)
    return periods if rule is None else redact_periods(periods, rule, _today(), sites=sites)


def sites_shown(store: Store, person: Person, area: str | None = None) -> gpd.GeoDataFrame:
    """All current sites that a person may see, of an area if one is named, as they may see them."""
    query = visible(SiteQuery(area=area), person)
    table = store.sites(query)
    rule = redaction_of(person)
    periods = None
    if rule is not None and rule.delayed:
        periods = store.periods(list(table["site_id"]))
    return shown(table, person, periods)


def area_shown(row: dict[str, Any], sites: int, alerts: int, person: Person) -> dict[str, Any]:
    """What is told of an area to somebody from whom places are withheld.

    Args:
        row: Of `/api/areas`: its figures are those of all sites.
        sites: How many of them the person may see.
        alerts: How many of its alerts.
        person: Who asks.
    """
    rule = redaction_of(person)
    if rule is None:
        return row
    newest = rule.newest(_today()) if rule.delayed else None
    known = [period for period in row["periods"] if newest is None or period["end"] <= newest]
    # Images show the places themselves.
    return row | {"sites": sites, "alerts": alerts, "periods": known, "runs": []}


def reports_shown(reports: gpd.GeoDataFrame, person: Person) -> gpd.GeoDataFrame:
    """Mines that people reported, as somebody from whom places are withheld may see them."""
    rule = redaction_of(person)
    if rule is None:
        raise Forbidden("what is withheld here is not known; ask whoever runs the service")
    return redact_reports(reports, rule, _today())


def shown_as_of(person: Person) -> str:
    """What tells apart those from whom different things are withheld, and on different days."""
    rule = redaction_of(person)
    if rule is None:
        return "open"
    until = f" until {rule.newest(_today())}" if rule.delayed else ""
    return f"{rule.grid_m:g} m{until}"


def _today() -> dt.date:
    return dt.datetime.now(dt.UTC).date()
