"""Figures by district and by protected area."""

from __future__ import annotations

import csv
import io
from enum import StrEnum
from typing import Annotated, Any

import numpy as np
import pandas as pd
from fastapi import APIRouter, Query
from starlette.responses import Response

from sluice.app.web import told
from sluice.app.web.access import Person
from sluice.app.web.answers import described, json_response, rows_of
from sluice.app.web.errors import DOCUMENTED
from sluice.app.web.parameters import Name, PeriodText, Strict, read_period
from sluice.app.web.places import Asks
from sluice.app.web.service import Served, Service
from sluice.app.web.states import WORKED, states_in
from sluice.app.web.views import Places, view_of
from sluice.app.web.withheld import visible
from sluice.base.places import Status, Verdict
from sluice.base.store import SiteQuery, Store

router = APIRouter(prefix="/api", tags=["statistics"], responses=DOCUMENTED)

_COLUMNS = ["name", "sites", "active", "hectares", "new_sites", "new_hectares", "alerts"]
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class By(StrEnum):
    """What sites are counted by."""

    DISTRICT = "district"
    PROTECTED = "protected"


class Counted(Strict):
    """Which sites are counted, and by what."""

    by: By = By.DISTRICT
    area: Name | None = None
    period: PeriodText | None = None


@router.get("/statistics", response_model=list[told.Counted])
def statistics(service: Served, who: Asks, asked: Annotated[Counted, Query()]) -> Response:
    """Sites, hectares and alerts by district or protected area, the largest first.

    Sites that a person rejected are left out. `hectares` is the area of sites that are worked
    (new, growing, steady), `new_hectares` that of new ones, in the period or as last seen; `name`
    is null for sites in none.
    """
    return json_response(rows_of(count_by(service, who, asked)))


@router.get("/statistics.csv", response_class=Response, responses=described("text/csv"))
def statistics_csv(service: Served, who: Asks, asked: Annotated[Counted, Query()]) -> Response:
    """The same for a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(_COLUMNS)
    for row in rows_of(count_by(service, who, asked)):
        writer.writerow([_harmless(row[name]) for name in _COLUMNS])
    return Response(
        text.getvalue().encode("utf-8-sig"),
        media_type="text/csv",
        headers={"Content-Disposition": f'attachment; filename="sluice-{asked.by}.csv"'},
    )


def _harmless(value: Any) -> Any:
    """A name that a spreadsheet would take for a formula begins with an apostrophe."""
    if value is None:
        return ""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def count_by(service: Service, who: Person, asked: Counted) -> pd.DataFrame:
    """Figures by district or protected area, the largest first; columns of the answers."""
    places = Places(service, who)
    places.require_area(asked.area)
    sites = _sites_to_count(places, asked.area)
    if asked.area is not None and places.is_open:
        sites = sites[sites["area"] == asked.area]
    if asked.period is not None:
        states = states_in(places, read_period(asked.period), asked.area)
        sites = _in_period(sites, states)
    else:
        sites = sites.assign(worked=sites["status"].isin([str(one) for one in WORKED]))
    worked, new = sites["worked"], sites["status"].eq(Status.NEW.value) & sites["worked"]
    hectares = sites["area_ha"].fillna(0.0)
    table = pd.DataFrame(
        {
            "name": sites[asked.by.value],
            "sites": 1,
            "active": worked.astype(int),
            "hectares": hectares.where(worked, 0.0),
            "new_sites": new.astype(int),
            "new_hectares": hectares.where(new, 0.0),
            "alerts": sites["alerts"],
        }
    )
    found = table.groupby("name", dropna=False, sort=False).sum().reset_index()
    found = found.sort_values(["hectares", "sites", "name"], ascending=[False, False, True])
    found[["hectares", "new_hectares"]] = found[["hectares", "new_hectares"]].round(2)
    return found[_COLUMNS]


def _in_period(sites: pd.DataFrame, states: pd.DataFrame) -> pd.DataFrame:
    """Sites as they were in a period; those of which nothing is known in it are left out."""
    known = sites[sites["site_id"].isin(states.index)]
    then = states.reindex(known["site_id"])
    return known.assign(
        status=then["status"].astype(object).to_numpy(),
        area_ha=then["area_ha"].to_numpy(),
        worked=then["detected"].to_numpy(dtype=bool),
    )


def _sites_to_count(places: Places, area: str | None) -> pd.DataFrame:
    """Sites that nobody rejected, with the names by which they are counted."""

    def make(store: Store) -> pd.DataFrame:
        if places.is_open:
            names = ["site_id", "area", "status", "area_ha", "verdict", "context"]
            table = pd.DataFrame(store.site_columns(visible(SiteQuery(), places.person), names))
        else:
            table = pd.DataFrame(places.all_shown(area).drop(columns="geometry"))
        context: Any = table["context"] if "context" in table else [{}] * len(table)
        alerts, _ = places.alerts(SiteQuery(area=None if places.is_open else area, standing=True))
        count = alerts["site_id"].value_counts()
        counted = pd.DataFrame(
            {
                "site_id": table["site_id"].to_numpy(),
                "area": table["area"].to_numpy() if "area" in table else None,
                "status": table["status"].astype(object).to_numpy(),
                "area_ha": table["area_ha"].to_numpy(dtype=float),
                "district": _names(context, "district", None),
                "protected": _names(context, "protected_name", "in_protected"),
                "alerts": count.reindex(table["site_id"]).fillna(0).to_numpy(dtype=np.int64),
            }
        )
        rejected = table["verdict"].eq(Verdict.REJECTED.value).to_numpy(dtype=bool)
        return counted[~rejected]

    name = f"counted {view_of(places.person)}"
    name = name if places.is_open else f"{name} {area}"
    found: pd.DataFrame = places.service.kept(name, make)
    return found


def _names(contexts: Any, name: str, flag: str | None) -> list[str | None]:
    return [
        context.get(name) if isinstance(context, dict) and (flag is None or context.get(flag))
        else None
        for context in contexts
    ]  # fmt: skip
