"""What a published map tells: the answers of the service to somebody who may not do anything.

All of it goes through `Places`, and so through `sluice.sites.redaction` where places are withheld.
Left out besides: who reviewed and what they noted, addresses and files of images, and layers.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import geopandas as gpd
import pandas as pd
import shapely

from sluice.app.web.answers import geojson_of, rows_of
from sluice.app.web.identity import Person
from sluice.app.web.places import alerts_told, areas_told, site_told
from sluice.app.web.service import Service
from sluice.app.web.states import states_in
from sluice.app.web.statistics import By, Counted, count_by
from sluice.app.web.views import Places, bounds_of
from sluice.base.periods import Period
from sluice.base.store import SiteQuery
from sluice.sites.area import geodesic_areas_ha

NAMELESS = "*"
"""In place of the names of areas that may not be told."""
SITE_LIST = ("site_id", "lon", "lat", "status", "level", "verdict", "priority", "area_ha",
             "first_seen")  # fmt: skip
ALERT_LIST = ("alert_id", "site_id", "kind", "raised", "level", "posterior", "growth_ha",
              "priority", "verdict", "site_status")  # fmt: skip
_STATE = ("status", "level", "area_ha")
_OF_SCENES = ("scene_id", "sensor", "acquired", "cloud_cover")
_PLAIN_NAME = re.compile(r"[rs]-[0-9a-z]+(-[0-9a-z]+)*")
_LONGEST_NAME = 60
_DECIMALS = {"lon": 6, "lat": 6, "priority": 1, "area_ha": 2, "posterior": 3, "growth_ha": 2}


@dataclass(frozen=True)
class Part:
    """An area, or several of which no name may be told; one entry of the map's list of areas."""

    name: str
    places: Places
    """As somebody sees them who may see these areas alone."""
    told: dict[str, Any]
    """Name, box, outline, periods, and how many sites and alerts."""
    sites: gpd.GeoDataFrame
    """The most urgent first."""

    @property
    def periods(self) -> list[Period]:
        """In their order."""
        return [Period(one["start"], one["end"]) for one in self.told["periods"]]


def parts_of(service: Service, person: Person) -> list[Part]:
    """What there is to publish, by area.

    An area that is not much larger than the cells in place of its sites would tell more than they
    do: such areas are told without name and outline, together.
    """
    places = Places(service, person)
    parts = [_part(service, person, [row]) for row in areas_told(places)]
    nameless = areas_told(places, named=False)
    return [*parts, _part(service, person, nameless, nameless=True)] if nameless else parts


def _part(
    service: Service, person: Person, rows: Sequence[dict[str, Any]], *, nameless: bool = False
) -> Part:
    places = Places(service, replace(person, areas=frozenset(row["name"] for row in rows)))
    sites = places.sites(SiteQuery())
    told = {key: rows[0][key] for key in ("name", "bbox", "geometry", "hectares")}
    if nameless:
        # Of the cells: whose outline it is they tell already.
        ground = shapely.union_all(sites.geometry.to_numpy())
        told = {"name": NAMELESS, "bbox": bounds_of(ground), "geometry": geojson_of([ground])[0]}
        told["hectares"] = round(float(geodesic_areas_ha([ground], "EPSG:4326")[0]), 1)
    periods = {(one["start"], one["end"]): one for row in rows for one in row["periods"]}
    told |= {
        "sites": len(sites),
        "alerts": places.alerts(SiteQuery(standing=True))[1],
        "periods": [periods[key] for key in sorted(periods)],
        "runs": [],
    }
    return Part(told["name"], places, told, sites)


def columns_and_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> dict[str, Any]:
    """Rows without their keys: a third of the bytes."""
    return {
        "columns": list(columns),
        "rows": [[_short(name, row.get(name)) for name in columns] for row in rows],
    }


def site_list(part: Part) -> dict[str, Any]:
    """All sites with what the list and the marks on the map need."""
    rows = rows_of(part.sites)
    odd = {row["site_id"] for row in rows if file_name(row["site_id"]) != row["site_id"]}
    columns = [*SITE_LIST, "file"] if odd else list(SITE_LIST)
    named = [row | {"file": file_name(row["site_id"])} for row in rows] if odd else rows
    return columns_and_rows(named, columns)


def alert_list(part: Part) -> dict[str, Any]:
    """Alerts that nobody rejected."""
    rows, _ = alerts_told(part.places, SiteQuery(standing=True))
    return columns_and_rows(rows, ALERT_LIST)


def states(part: Part, period: Period) -> dict[str, Any]:
    """What sites were in a period: by position in the list, those of which something is known."""
    known = states_in(part.places, period, None)
    at = {site_id: row for row, site_id in enumerate(part.sites["site_id"])}
    mine = known[known.index.isin(at)]
    rows = [
        {"site": at[site_id], **row}
        for site_id, row in zip(mine.index, rows_of(pd.DataFrame(mine)), strict=True)
    ]
    return columns_and_rows(rows, ("site", *_STATE))


def statistics(part: Part) -> dict[str, Any]:
    """Sums by what they are made by, and by period; `latest` is without one."""
    spans = ["latest", *(f"{period.start}/{period.end}" for period in part.periods)]
    service, who = part.places.service, part.places.person
    found: dict[str, Any] = {}
    for by in By:
        found[by.value] = {}
        for span in spans:
            asked = Counted(by=by, period=None if span == "latest" else span)
            found[by.value][span] = rows_of(count_by(service, who, asked))
    return found


def site_pages(part: Part) -> Iterator[tuple[str, dict[str, Any]]]:
    """All that is told of each site, by its id."""
    for site_id in part.sites["site_id"]:
        told = site_told(part.places, site_id)
        # Who reviewed is nobody's business; what was drawn tells it, too.
        told["reviews"], told["runs"], told["drawn"] = [], [], []
        told["scenes"] = [{name: one.get(name) for name in _OF_SCENES} for one in told["scenes"]]
        for one in told["looks"]:
            one.pop("scene_ids", None)
        if part.name == NAMELESS:
            told["site"] = told["site"] | {"area": part.name}
        yield site_id, told


def outlines(part: Part) -> gpd.GeoDataFrame:
    """Sites' ground, or cells, with nothing but ids."""
    table = part.sites[["site_id", "geometry"]].rename(columns={"site_id": "id"})
    return gpd.GeoDataFrame(table, geometry="geometry", crs="EPSG:4326")


def file_name(site_id: str) -> str:
    """Under which a site's files lie: its id, where every system takes that for a name."""
    if len(site_id) <= _LONGEST_NAME and _PLAIN_NAME.fullmatch(site_id):
        return site_id
    return "x-" + hashlib.sha256(site_id.encode()).hexdigest()[:20]


def period_name(period: Period) -> str:
    """Of a file."""
    return f"{period.start}_{period.end}"


def _short(name: str, value: Any) -> Any:
    digits = _DECIMALS.get(name)
    return round(value, digits) if digits is not None and isinstance(value, float) else value
