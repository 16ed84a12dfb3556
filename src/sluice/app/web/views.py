"""Sites and alerts as a person may see them.

Who may see all is answered by the store. For others every site goes through `withheld.shown`
first, and all filters, boxes and pages are worked out on what is shown: to search in what is true
would tell, by what is found, what is withheld.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from fastapi import Depends

from sluice.app.web.access import Person, person
from sluice.app.web.boxes import boxes_meet
from sluice.app.web.errors import NotHere
from sluice.app.web.service import Served, Service
from sluice.app.web.withheld import (
    redaction_of,
    shown_alerts,
    shown_as_of,
    shown_periods,
    sites_shown,
    visible,
)
from sluice.base.longitudes import box_around
from sluice.base.places import AlertState, Verdict
from sluice.base.store import Row, SiteQuery, Store
from sluice.sites.redaction import REDACTED, may_name_area
from sluice.store.frames import boxes_of


class Places:
    """A store through the eyes of one person."""

    def __init__(self, service: Service, person: Person) -> None:
        self.service = service
        self.person = person

    @property
    def is_open(self) -> bool:
        """Whether the person sees sites as they are."""
        return not self.person.redacted

    def require_area(self, name: str | None) -> None:
        """Refuse an area that is not there for the person.

        Raises:
            NotHere: It is not.
        """
        if name is not None and name not in self.area_names():
            raise NotHere(f"there is no area {name!r} here; /api/areas lists those there are")

    def is_among_areas(self, name: str) -> bool:
        """Whether sites of an area may be shown to the person, with its name or without."""
        return self.person.areas is None or name in self.person.areas

    def area_names(self) -> frozenset[str]:
        """The areas that are there for the person. Where places are withheld, those that are so
        small that their names would tell more than the cells are not."""

        def make(store: Store) -> frozenset[str]:
            table = store.areas()
            rule = redaction_of(self.person)
            return frozenset(
                name
                for name, shape in zip(table["name"], table.geometry, strict=True)
                if self.is_among_areas(name)
                and (rule is None or may_name_area(shape, self.all_shown(name), rule))
            )

        names: frozenset[str] = self.service.kept(f"areas {view_of(self.person)}", make)
        return names

    def sites(self, query: SiteQuery) -> gpd.GeoDataFrame:
        """As `Store.sites`."""
        query = visible(query, self.person)
        if self.is_open:
            return self.service.store.sites(query)
        table = self.shown_that_fit(query)
        last = None if query.limit is None else query.offset + query.limit
        return table.iloc[query.offset : last]

    def count_sites(self, query: SiteQuery) -> int:
        """As `Store.count_sites`."""
        query = visible(query, self.person)
        if self.is_open:
            return self.service.store.count_sites(query)
        return len(self.shown_that_fit(query))

    def alerts(self, query: SiteQuery) -> tuple[pd.DataFrame, int]:
        """Alerts, and how many there are."""
        query = visible(query, self.person)
        store = self.service.store
        if self.is_open:
            return store.alerts(query), store.count_alerts(query)
        table = choose_alerts(self._all_alerts(query.area), query)
        last = None if query.limit is None else query.offset + query.limit
        return table.iloc[query.offset : last], len(table)

    def site(self, site_id: str) -> tuple[gpd.GeoDataFrame, bool]:
        """One site, past ones too, and whether it is shown as it is.

        Raises:
            NotHere: There is none of this id for the person.
        """
        query = SiteQuery(site_ids=(site_id,), with_past=True)
        if self.is_open:
            found = self.service.store.sites(visible(query, self.person))
            exact = True
        else:
            found = self.shown_that_fit(query)
            exact = REDACTED in found and len(found) > 0 and not bool(found[REDACTED].iloc[0])
        if found.empty:
            raise NotHere(f"there is no site {site_id} here; /api/sites lists those there are")
        return found.iloc[:1], exact

    def shown_that_fit(self, query: SiteQuery) -> gpd.GeoDataFrame:
        """Sites as the person may see them that a query asks for, whatever its limit."""
        return choose_sites(self.all_shown(query.area), query)

    def all_shown(self, area: str | None = None) -> gpd.GeoDataFrame:
        """All sites, of an area if one is named, as the person may see them."""
        person = self.person

        def make(store: Store) -> gpd.GeoDataFrame:
            return sites_shown(store, person, area).reset_index(drop=True)

        name = f"shown {view_of(person)} {area!r}"
        table: gpd.GeoDataFrame = self.service.kept(name, make)
        return table

    def all_periods(self, area: str | None = None) -> pd.DataFrame:
        """Periods of all sites, of an area if one is named, as the person may see them."""
        person = self.person

        def make(store: Store) -> pd.DataFrame:
            sites = store.sites(visible(SiteQuery(area=area), person))
            return shown_periods(store.periods(sites["site_id"].tolist()), sites, person)

        name = f"periods {view_of(person)} {area!r}"
        table: pd.DataFrame = self.service.kept(name, make)
        return table

    def _all_alerts(self, area: str | None) -> pd.DataFrame:
        person = self.person

        def make(store: Store) -> pd.DataFrame:
            query = visible(SiteQuery(area=area, with_past=True), person)
            return shown_alerts(store.alerts(query), store.sites(query), person).reset_index(
                drop=True
            )

        table: pd.DataFrame = self.service.kept(f"alerts {view_of(person)} {area!r}", make)
        return table


async def places_of(service: Served, person_: Annotated[Person, Depends(person)]) -> Places:
    """The store through the eyes of whoever asks."""
    return Places(service, person_)


Seen = Annotated[Places, Depends(places_of)]
"""What routes take."""


def view_of(person: Person) -> str:
    """What tells apart those who see different things."""
    areas = None if person.areas is None else sorted(person.areas)
    verdicts = None if person.verdicts is None else [*map(str, person.verdicts)]
    # An area may have any name: only what is quoted cannot be taken for something else.
    return repr((shown_as_of(person), areas, verdicts))


def choose_sites(table: gpd.GeoDataFrame, query: SiteQuery) -> gpd.GeoDataFrame:
    """The rows of a table that a query asks for, all of them; a column that is withheld fits none.

    Args:
        table: Some columns of `Store.sites`.
        query: What is asked for; areas are taken to have been chosen already.
    """
    fits = np.ones(len(table), dtype=bool)
    for name, words in (
        ("site_id", query.site_ids),
        ("status", query.status),
        ("level", query.level),
        ("verdict", query.verdict),
        ("legality", query.legality),
    ):
        fits &= _is_one_of(table, name, words)
    for name, least in (
        ("area_ha", query.min_area_ha),
        ("priority", query.min_priority),
        ("last_seen", query.seen_since),
    ):
        fits &= _is_at_least(table, name, least)
    if query.bbox_lonlat is not None:
        fits &= boxes_meet(boxes_of(table.geometry.to_numpy()), query.bbox_lonlat)
    return table[fits]


def choose_alerts(table: pd.DataFrame, query: SiteQuery) -> pd.DataFrame:
    """Likewise of alerts."""
    fits = np.ones(len(table), dtype=bool)
    for name, words in (
        ("site_id", query.site_ids),
        ("level", query.level),
        ("state", query.state),
        ("verdict", query.verdict),
    ):
        fits &= _is_one_of(table, name, words)
    fits &= _is_at_least(table, "priority", query.min_priority)
    fits &= _is_at_least(table, "raised", query.seen_since)
    if query.standing:
        fits &= ~_is_one_of(table, "state", (AlertState.REJECTED,))
        fits &= ~_is_one_of(table, "verdict", (Verdict.REJECTED,))
    if query.bbox_lonlat is not None:
        points = table[["lon", "lat", "lon", "lat"]].to_numpy(dtype=float)
        fits &= boxes_meet(points, query.bbox_lonlat)
    return table[fits]


def bounds_of(geometry: Any) -> list[float]:
    """West, south, east, north, to six decimals; where the narrowest box crosses 180 degrees, west
    is the greater one (RFC 7946, section 5.2)."""
    west, south, east, north = shapely.bounds(geometry)
    if east - west > 180:
        sides = shapely.get_parts(box_around(np.array([geometry], dtype=object)))
        (west, _, _, _), (_, _, east, _) = shapely.bounds(sides)[[0, -1]]
    return [round(float(side), 6) for side in (west, south, east, north)]


def _is_one_of(table: pd.DataFrame, name: str, words: Sequence[Any] | None) -> np.ndarray:
    if words is None:
        return np.ones(len(table), dtype=bool)
    if name not in table:
        return np.zeros(len(table), dtype=bool)
    found: np.ndarray = (
        table[name].isin([str(word) for word in words if word is not None]).to_numpy()
    )
    return found | table[name].isna().to_numpy() if None in words else found


def _is_at_least(table: pd.DataFrame, name: str, least: Any) -> np.ndarray:
    if least is None:
        return np.ones(len(table), dtype=bool)
    if name not in table:
        return np.zeros(len(table), dtype=bool)
    values = table[name]
    known = values.notna().to_numpy()
    found = np.zeros(len(table), dtype=bool)
    found[known] = (values[known] >= least).to_numpy(dtype=bool)
    return found


def first_row(table: pd.DataFrame) -> Row:
    """The row of a table with one."""
    row: Row = table.iloc[0].to_dict()
    return row
