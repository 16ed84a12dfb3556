"""Pages of features, from the store or from what a person may see of it."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from sluice.app.messages import messages
from sluice.app.web.boxes import boxes_meet
from sluice.app.web.collections import (
    ALERTS,
    AREAS,
    CONTEXT,
    DETECTIONS,
    SITES,
    Collection,
)
from sluice.app.web.crs import CRS84
from sluice.app.web.feature_texts import make_urgent_texts_soon, site_texts, texts_of
from sluice.app.web.filters import conditions, evaluate, named_properties
from sluice.app.web.site_indexes import index_if_made
from sluice.app.web.views import Places, view_of
from sluice.app.web.withheld import visible
from sluice.base.places import Legality, Level, Status, Verdict
from sluice.base.store import BBox, SiteQuery, Store
from sluice.store.frames import boxes_of

_SCANNED_AT_ONCE = 2000
_MOST_SCANNED = 100_000
"""Detections that one request looks through with a filter: then it gives what it found, and says
where to go on."""
_DIGITS = 15
_ENGLISH = messages("en")
"""Of values in pages, which are the same for all; `/api/alerts` tells codes."""
_WORDS: dict[str, type[Status | Level | Verdict | Legality]] = {
    "status": Status,
    "level": Level,
    "verdict": Verdict,
    "legality": Legality,
}
_LEAST = {"area_ha": "min_area_ha", "priority": "min_priority", "last_seen": "seen_since"}


@dataclass(frozen=True)
class Asked:
    """Which features of a collection, and which part of them."""

    limit: int
    offset: int = 0
    after: int = 0
    """Of detections, in place of the offset."""
    bbox: BBox | None = None
    start: dt.date | None = None
    end: dt.date | None = None
    """Features of some day from `start` to `end`."""
    tree: Any = None
    """A filter, see `filter_reading.parse`; its shapes in degrees."""
    ids: tuple[str, ...] | None = None
    crs: str = CRS84
    """Of the features; a box and the shapes of a filter are in degrees."""

    @property
    def conditions(self) -> list[Any]:
        """Of the filter, all of which must hold."""
        return [] if self.tree is None else conditions(self.tree)


@dataclass(frozen=True)
class Page:
    """Some features."""

    features: list[bytes]
    """Each as the text of GeoJSON."""
    matched: int | None
    """How many there are in all; None where to count them would take too long."""
    more: dict[str, int] | None
    """Parameters of the next page."""


def read_page(places: Places, collection: Collection, asked: Asked) -> Page:
    """A page of features as a person may see them."""
    if collection is SITES:
        return _sites(places, asked)
    if collection is DETECTIONS:
        return _detections(places, asked)
    if collection is ALERTS:
        return _alerts(places, asked)
    return _areas(places, asked)


def _more(asked: Asked, matched: int) -> dict[str, int] | None:
    end = asked.offset + asked.limit
    return {"offset": end} if end < matched else None


def _sites(places: Places, asked: Asked) -> Page:
    query, rest = _as_query(asked)
    if not places.is_open:
        table = places.shown_that_fit(query)
        return _in_memory(table, SITES, replace(asked, bbox=None), rest)
    query = visible(query, places.person)
    part = replace(query, limit=asked.limit, offset=asked.offset)
    if rest:
        found = _filtered_ids(places, query, rest)
        chosen, matched = found[asked.offset : asked.offset + asked.limit], len(found)
    elif (listed := _listed(places, part)) is not None:
        chosen, matched = listed
    else:
        chosen = places.service.store.site_columns(part, ["site_id"])["site_id"]
        matched = _count(places, query)
    texts = site_texts(places, chosen, asked.crs)
    return Page(texts, matched, _more(asked, matched))


def _listed(places: Places, query: SiteQuery) -> tuple[list[str], int] | None:
    """Ids of the sites of a page, and how many fit; None where the store has to be asked."""
    if query.verdict is not None or query.site_ids is not None:
        return None
    index = index_if_made(places.service, places.person)
    if index is None or index.listed is None:
        return None
    make_urgent_texts_soon(places, index.listed.ids)
    return index.listed.page(query)


def _count(places: Places, query: SiteQuery) -> int:
    """Kept while the store is as it is: each page of a list asks for it."""
    name = f"count {hashlib.blake2b(repr(query).encode(), digest_size=12).hexdigest()}"
    found: int = places.service.kept(name, lambda store: store.count_sites(query))
    return found


def _filtered_ids(places: Places, query: SiteQuery, rest: list[Any]) -> list[str]:
    """Ids of the sites that fit a filter, the most urgent first."""
    text = repr((query, rest))
    name = f"filtered {hashlib.blake2b(text.encode(), digest_size=12).hexdigest()}"

    def make(store: Store) -> list[str]:
        named = set().union(*map(named_properties, rest))
        needed = {"context" if one.startswith(CONTEXT) else one for one in named}
        columns = store.site_columns(query, [*needed | {"site_id", "priority"}])
        ids, urgent = columns["site_id"], columns["priority"]
        columns = _for_filter(columns, named)
        fits = evaluate({"op": "and", "args": rest}, columns, SITES.queryables, len(ids))
        rows = np.flatnonzero(fits).tolist()
        return [ids[k] for k in sorted(rows, key=lambda k: (-urgent[k], ids[k]))]

    found: list[str] = places.service.kept(name, make)
    return found


def _for_filter(columns: Mapping[str, Any], named: set[str]) -> dict[str, Any]:
    """The properties that a filter names, of columns of the store."""
    found: dict[str, Any] = {}
    for name in named:
        if name.startswith(CONTEXT):
            key = name.removeprefix(CONTEXT)
            found[name] = [(context or {}).get(key) for context in columns["context"]]
        elif name == "geometry":
            found[name] = shapely.from_wkb(np.array(columns[name], dtype=object))
        else:
            found[name] = columns[name]
    return found


def _as_query(asked: Asked) -> tuple[SiteQuery, list[Any]]:
    """What the store can answer by its indexes, and the conditions that are left.

    A condition that the store answers roughly is left too.
    """
    query = SiteQuery(bbox_lonlat=asked.bbox, seen_since=asked.start, site_ids=asked.ids)
    left: list[Any] = []
    if asked.end is not None:
        day = {"date": asked.end.isoformat()}
        left.append({"op": "<=", "args": [{"property": "first_seen"}, day]})
    for condition in asked.conditions:
        changes, exact = _taken_by_store(condition, query)
        query = replace(query, **changes)
        if not exact:
            left.append(condition)
    return query, left


def _taken_by_store(condition: Any, query: SiteQuery) -> tuple[dict[str, Any], bool]:
    """What of a query a condition sets, and whether that is all that it says."""
    if not isinstance(condition, dict) or "op" not in condition:
        return {}, False
    op, args = condition["op"], condition["args"]
    name = args[0].get("property") if isinstance(args[0], dict) else None
    if op in {"=", "in"} and name in {*_WORDS, "site_id", "area"}:
        given = args[1] if op == "in" else [args[1]]
        return _words_taken(name, given, query)
    if op in {">=", ">"} and name in _LEAST and getattr(query, _LEAST[name]) is None:
        value = args[1]
        if name == "last_seen":
            value = _day_of(value)
        if isinstance(value, dt.date) or (
            name != "last_seen" and isinstance(value, int | float) and not isinstance(value, bool)
        ):
            return {_LEAST[name]: value}, op == ">="
    if op == "s_intersects" and name == "geometry" and query.bbox_lonlat is None:
        box = _box_of(args[1])
        return ({} if box is None else {"bbox_lonlat": box}), False
    return {}, False


def _words_taken(name: str, given: Sequence[Any], query: SiteQuery) -> tuple[dict[str, Any], bool]:
    if not all(isinstance(word, str) for word in given):
        return {}, False
    if name == "area":
        free = query.area is None and len(given) == 1
        return ({"area": given[0]} if free else {}), free
    field = "site_ids" if name == "site_id" else name
    if getattr(query, field) is not None:
        return {}, False
    if name in _WORDS:
        known = {str(word): word for word in _WORDS[name]}
        # A word that is none fits no site.
        return {field: tuple(known[word] for word in given if word in known)}, True
    return {field: tuple(given)}, True


def _day_of(value: Any) -> dt.date | None:
    text = value.get("date") if isinstance(value, dict) else value
    try:
        return dt.date.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _box_of(tree: Any) -> BBox | None:
    """The box around a literal shape, where it is within the world."""
    if not isinstance(tree, dict):
        return None
    if "bbox" in tree and len(tree["bbox"]) == 4:
        west, south, east, north = (float(side) for side in tree["bbox"])
    elif "coordinates" in tree:
        corners = shapely.get_coordinates(_shape_of(tree))
        if not len(corners):
            return None
        (west, south), (east, north) = corners.min(axis=0), corners.max(axis=0)
    else:
        return None
    within = -180 <= west <= east <= 180 and -90 <= south <= north <= 90
    return (float(west), float(south), float(east), float(north)) if within else None


def _shape_of(tree: Any) -> Any:
    try:
        return shapely.geometry.shape(tree)
    except (ValueError, TypeError, IndexError, shapely.GEOSException):
        return None


def _in_memory(
    table: gpd.GeoDataFrame, collection: Collection, asked: Asked, rest: list[Any]
) -> Page:
    """A page of a table that holds all."""
    fits = np.ones(len(table), dtype=bool)
    if asked.bbox is not None and len(table):
        fits &= boxes_meet(boxes_of(table.geometry.to_numpy()), asked.bbox)
    if asked.ids is not None:
        fits &= table[collection.key].isin(asked.ids).to_numpy()
    if rest:
        columns = {
            name: table[name].to_numpy(dtype=object) if name in table else [None] * len(table)
            for name in set().union(*map(named_properties, rest))
            if not name.startswith(CONTEXT)
        }
        if "context" in table:
            columns |= _for_filter(
                {"context": table["context"].tolist()},
                {n for n in collection.properties if n.startswith(CONTEXT)},
            )
        else:
            columns |= {
                n: [None] * len(table) for n in collection.properties if n.startswith(CONTEXT)
            }
        tree = {"op": "and", "args": rest}
        fits &= evaluate(tree, columns, collection.queryables, len(table))
    chosen = table[fits]
    matched = len(chosen)
    part = chosen.iloc[asked.offset : asked.offset + asked.limit]
    lists = {name: part[name].tolist() for name in part.columns if name != "geometry"}
    if not len(part):
        lists[collection.key] = []
    texts = texts_of(lists, part.geometry.to_numpy(), collection, asked.crs)
    return Page(texts, matched, _more(asked, matched))


def _alerts(places: Places, asked: Asked) -> Page:
    def make(_: Store) -> gpd.GeoDataFrame:
        table, _total = places.alerts(SiteQuery())
        points = shapely.points(table["lon"].to_numpy(float), table["lat"].to_numpy(float))
        if "reasons" in table:
            table = table.assign(reasons=[_ENGLISH.said(one) for one in table["reasons"]])
        return gpd.GeoDataFrame(table, geometry=points, crs="EPSG:4326")

    table = places.service.kept(f"alert points {view_of(places.person)}", make)
    rest = asked.conditions
    if asked.start is not None or asked.end is not None:
        rest = [*rest, *_raised_within(asked.start, asked.end)]
    return _in_memory(table, ALERTS, asked, rest)


def _raised_within(start: dt.date | None, end: dt.date | None) -> list[Any]:
    found = []
    for op, day in ((">=", start), ("<=", end)):
        if day is not None:
            found.append({"op": op, "args": [{"property": "raised"}, {"date": day.isoformat()}]})
    return found


def _areas(places: Places, asked: Asked) -> Page:
    table = places.service.kept("area shapes", lambda store: store.areas(), of=("sites",))
    table = table[table["name"].isin(places.area_names())]
    return _in_memory(table, AREAS, asked, asked.conditions)


def _detections(places: Places, asked: Asked) -> Page:
    """Those that fit, from one part of the store to the next."""
    store = places.service.store
    told = places.service.kept("runs", lambda store: store.runs(), of=("sites",))
    runs = pd.DataFrame(
        [(run.run_id, run.start, run.end, run.sensor) for run in told],
        columns=["run_id", "start", "end", "sensor"],
    ).set_index("run_id")
    query = visible(SiteQuery(bbox_lonlat=asked.bbox), places.person)
    if asked.ids is not None:
        return _one_detection(store, query, runs, asked)
    filtered = bool(asked.conditions) or asked.start is not None or asked.end is not None
    found: list[gpd.GeoDataFrame] = []
    after: int | None = asked.after
    count = scanned = 0
    while after is not None and count < asked.limit and scanned < _MOST_SCANNED:
        wanted = _SCANNED_AT_ONCE if filtered else asked.limit
        table = _with_runs(store.detections_after(query, after, wanted), runs)
        scanned += len(table)
        after = int(table["number"].iloc[-1]) if len(table) == wanted else None
        if filtered and len(table):
            table = table[_detections_that_fit(table, asked)]
        if count + len(table) > asked.limit:
            table = table.iloc[: asked.limit - count]
            after = int(table["number"].iloc[-1])
        if len(table) or not found:
            found.append(table)
        count += len(table)
    whole = found[0] if len(found) == 1 else pd.concat(found, ignore_index=True)
    return _detection_page(whole, asked.crs, None if after is None else {"after": after})


def _one_detection(store: Store, query: SiteQuery, runs: pd.DataFrame, asked: Asked) -> Page:
    """The one of a number, or none."""
    text = (asked.ids or ("",))[0]
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else 0
    table = _with_runs(store.detections_after(query, max(number - 1, 0), 1), runs)
    return _detection_page(table[table["number"] == number], asked.crs, None)


def _detection_page(table: gpd.GeoDataFrame, crs: str, more: dict[str, int] | None) -> Page:
    lists = {name: table[name].tolist() for name in DETECTIONS.properties}
    return Page(texts_of(lists, table.geometry.to_numpy(), DETECTIONS, crs), None, more)


def _with_runs(table: gpd.GeoDataFrame, runs: pd.DataFrame) -> gpd.GeoDataFrame:
    own = runs.reindex(table["run_id"])
    return table.assign(
        id=table["number"].astype(str),
        **{name: own[name].to_numpy(dtype=object) for name in ("start", "end", "sensor")},
    )


def _detections_that_fit(table: gpd.GeoDataFrame, asked: Asked) -> Any:
    fits = np.ones(len(table), dtype=bool)
    if asked.start is not None:
        fits &= (table["end"] >= asked.start).to_numpy(dtype=bool)
    if asked.end is not None:
        fits &= (table["start"] <= asked.end).to_numpy(dtype=bool)
    if asked.conditions:
        named = named_properties(asked.tree)
        columns = {name: table[name].to_numpy(dtype=object) for name in named}
        fits &= evaluate(asked.tree, columns, DETECTIONS.queryables, len(table))
    return fits
