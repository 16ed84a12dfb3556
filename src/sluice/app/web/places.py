"""Areas, sites, alerts and reviews for the map, as JSON."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

import numpy as np
import pandas as pd
import shapely
from fastapi import APIRouter, Depends, Header, Path, Query, Request
from starlette.responses import Response

from sluice.app.following.cover_of_runs import image_of
from sluice.app.following.reviewing import add_review
from sluice.app.messages import LANGUAGES, messages, read_catalogue
from sluice.app.products import layout
from sluice.app.web import told
from sluice.app.web.access import Person, Role, person, require
from sluice.app.web.answers import geojson_of, json_response, rows_of
from sluice.app.web.errors import DOCUMENTED, ErrorAnswer, Forbidden, OtherStore
from sluice.app.web.identity import Identity
from sluice.app.web.parameters import AlertList, Nothing, SiteList
from sluice.app.web.service import Served
from sluice.app.web.shapes import OutlinedReview, read_shape
from sluice.app.web.views import Places, bounds_of, view_of
from sluice.app.web.withheld import area_shown
from sluice.base.periods import Period
from sluice.base.places import LandedRun, Review
from sluice.base.sensors import owners_of, satellites_of
from sluice.base.store import NOT_REJECTED, SiteQuery, Store
from sluice.sites.area import geodesic_areas_ha
from sluice.sites.coordinates import decimal_degrees, degrees_minutes_seconds, mgrs_references
from sluice.sites.looks import cover_changes

_OLDEST_REVIEW_S = 366 * 86_400.0
"""What was given earlier counts from then: a clock may say anything."""

router = APIRouter(prefix="/api", responses=DOCUMENTED)

Asks = Annotated[Person, Depends(person)]
SiteId = Annotated[str, Path(min_length=1, max_length=100)]


@router.get("/areas", tags=["places"], response_model=list[told.AreaTold])
def areas(service: Served, who: Asks, _: Annotated[Nothing, Query()]) -> Response:
    """The areas that are followed, their periods and runs."""
    return json_response(areas_told(Places(service, who)))


def areas_told(places: Places, *, named: bool = True) -> list[dict[str, Any]]:
    """The areas that a person may see.

    Args:
        places: Of the person.
        named: False for those whose names are withheld, see `Places.area_names`.
    """
    rows, names = places.service.kept("areas told", _areas_told), places.area_names()
    mine = [row for row in rows if places.is_among_areas(row["name"])]
    mine = [row for row in mine if (row["name"] in names) == named]
    return mine if places.is_open else [_area_shown(row, places) for row in mine]


def _area_shown(row: dict[str, Any], places: Places) -> dict[str, Any]:
    sites = places.count_sites(SiteQuery(area=row["name"]))
    _, alerts = places.alerts(SiteQuery(area=row["name"], standing=True))
    return area_shown(row, sites, alerts, places.person)


def _areas_told(store: Store) -> list[dict[str, Any]]:
    table = store.areas()
    shapes = geojson_of(table.geometry)
    hectares = geodesic_areas_ha(list(table.geometry), "EPSG:4326")
    rows = []
    for name, shape, geometry, size in zip(
        table["name"], shapes, table.geometry, hectares, strict=True
    ):
        runs = store.runs(name)
        periods = sorted({Period(run.start, run.end) for run in runs})
        rows.append(
            {
                "name": name,
                "bbox": bounds_of(geometry),
                "geometry": shape,
                "hectares": round(float(size), 1),
                "sites": store.count_sites(SiteQuery(area=name, verdict=NOT_REJECTED)),
                "alerts": store.count_alerts(SiteQuery(area=name, standing=True)),
                "periods": [{"start": p.start, "end": p.end, "name": p.name} for p in periods],
                "runs": [run_told(run) for run in runs],
            }
        )
    return rows


def run_told(run: LandedRun) -> dict[str, Any]:
    """What the map needs to know of a run."""
    image = image_of(run)
    probability = image is not None and image.with_name(layout.PROBABILITY).is_file()
    return {
        "run_id": run.run_id,
        "start": run.start,
        "end": run.end,
        "sensor": run.sensor,
        "owners": owners_of(run.sensor),
        "model": run.model,
        "has_image": image is not None,
        "has_probability": probability,
    }


@router.get("/sites", tags=["places"], response_model=told.Sites)
def sites(service: Served, who: Asks, asked: Annotated[SiteList, Query()]) -> Response:
    """Sites by priority."""
    places = Places(service, who)
    places.require_area(asked.area)
    query = asked.site_query(limit=asked.limit, offset=asked.offset)
    return json_response(
        {"sites": rows_of(places.sites(query)), "total": places.count_sites(query)}
    )


@router.get("/sites/{site_id}", tags=["places"], response_model=told.SitePage)
def site(service: Served, who: Asks, site_id: SiteId, _: Annotated[Nothing, Query()]) -> Response:
    """All that is known of one site."""
    return json_response(site_told(Places(service, who), site_id))


def site_told(places: Places, site_id: str) -> dict[str, Any]:
    """All that a person may know of one site.

    Raises:
        NotHere: There is none of this id for the person.
    """
    table, exact = places.site(site_id)
    rows: dict[str, Any] = {
        "site": rows_of(table)[0],
        "geometry": geojson_of(table.geometry)[0],
        "periods": [],
        "looks": [],
        "cover": None,
        "alerts": [],
        "reviews": [],
        "outlines": [],
        "drawn": [],
        "scenes": [],
        "runs": [],
        "coordinates": None,
    }
    if not exact:
        query = SiteQuery(site_ids=(site_id,), with_past=True)
        periods = places.all_periods()
        rows["periods"] = rows_of(periods[periods["site_id"] == site_id])
        rows["alerts"] = rows_of(places.alerts(query)[0])
        return rows
    return rows | _history(places.service.store, site_id, table)


def _history(store: Store, site_id: str, table: Any) -> dict[str, Any]:
    looks = store.looks([site_id])
    run_ids = list(dict.fromkeys(looks["run_id"]))
    scenes = store.scenes(run_ids)
    by_run = scenes.groupby("run_id")["scene_id"].agg(list).to_dict() if len(scenes) else {}
    wanted = set(run_ids)
    runs = [run for run in store.runs(str(table["area"].iloc[0])) if run.run_id in wanted]
    lon, lat = (table[name].to_numpy(dtype=float) for name in ("lon", "lat"))
    reviews = store.reviews([site_id])
    return {
        "periods": rows_of(store.periods([site_id])),
        "looks": [
            row
            | {
                "satellites": satellites_of(row["sensor"]),
                "scene_ids": by_run.get(row["run_id"], []),
            }
            for row in rows_of(looks)
        ],
        "cover": _cover(looks, site_id, table["first_seen"].iloc[0]),
        "alerts": rows_of(store.alerts(SiteQuery(site_ids=(site_id,), with_past=True))),
        "reviews": [review.model_dump(mode="json") for review in reviews],
        "outlines": _outlines(store, site_id, runs),
        "drawn": _drawn(store, str(table["area"].iloc[0]), reviews),
        # Scans of several kinds may have read the same one; files of a name may be other images.
        "scenes": rows_of(
            scenes.drop_duplicates(["scene_id", "acquired", "sha256"]).drop(
                columns=["position", "sha256"]
            )
        ),
        "runs": [run_told(run) for run in runs],
        "coordinates": {
            "decimal": decimal_degrees(lon, lat)[0],
            "dms": degrees_minutes_seconds(lon, lat)[0],
            "mgrs": mgrs_references(lon, lat)[0],
        },
    }


def _cover(looks: pd.DataFrame, site_id: str, first_seen: dt.date) -> dict[str, Any] | None:
    """Ground cover before the site began and after, as reports tell it."""
    rows = rows_of(cover_changes(looks, pd.Series({site_id: first_seen}, dtype=object)))
    return rows[0] if rows else None


def _drawn(store: Store, area: str, reviews: list[Review]) -> list[dict[str, Any]]:
    """What people drew along with their reviews, oldest first."""
    labels = store.labels(area)
    mine = labels[labels["label_id"].isin([review.review_id for review in reviews])]
    rows = rows_of(mine[["label_id", "class_name", "start", "end", "who", "when"]])
    shapes = geojson_of(mine.geometry)
    return [row | {"geometry": shape} for row, shape in zip(rows, shapes, strict=True)]


def _outlines(store: Store, site_id: str, runs: list[LandedRun]) -> list[dict[str, Any]]:
    """What each run outlined, oldest first."""
    found = store.detections(SiteQuery(site_ids=(site_id,)))
    rows = []
    for run in runs:
        own = np.asarray(found.geometry[found["run_id"] == run.run_id], dtype=object)
        if not len(own):
            continue
        shape = own[0] if len(own) == 1 else shapely.union_all(own)
        rows.append(
            {
                "run_id": run.run_id,
                "start": run.start,
                "end": run.end,
                "sensor": run.sensor,
                "geometry": geojson_of([shape])[0],
            }
        )
    return rows


def of_this_store(
    request: Request, x_sluice_store: Annotated[str | None, Header(max_length=100)] = None
) -> None:
    """The dependency of what may be sent long after it was given: whoever names as `X-Sluice-Store`
    the `store` that /api/session told then reaches no other one, whose sites may have the same ids.

    Raises:
        OtherStore: Another one is served.
    """
    identity: Identity = request.app.state.identity
    if x_sluice_store is not None and identity.store_id() not in {None, x_sluice_store}:
        raise OtherStore(
            "another store is served here now than the one that this is for; nothing was saved: "
            "send it when that one is back"
        )


@router.post(
    "/sites/{site_id}/reviews",
    status_code=201,
    tags=["places"],
    response_model=Review,
    dependencies=[Depends(of_this_store)],
    responses={
        409: {
            "model": ErrorAnswer,
            "description": "Another review has this id, or another store is served.",
        },
    },
)
def review(
    service: Served,
    who: Annotated[Person, Depends(require(Role.REVIEWER))],
    site_id: SiteId,
    body: OutlinedReview,
    _: Annotated[Nothing, Query()],
) -> Response:
    """Add a verdict on a site; the one that was given last counts.

    An outline that was drawn along with it becomes a label of the last period in which the site was
    detected.
    """
    _, exact = Places(service, who).site(site_id)
    if not exact:
        raise Forbidden(f"site {site_id} is shown to you only roughly, and cannot be judged so")
    drawn = None
    if body.outline is not None:
        drawn = read_shape(body.outline, service.settings.most_vertices)
    with service.writing():
        made = add_review(
            service.store,
            site_id,
            body.verdict,
            body.reason,
            who=who.name,
            note=body.note,
            outline=drawn,
            review_id=None if body.review_id is None else body.review_id.hex,
            age=dt.timedelta(seconds=min(body.age_s, _OLDEST_REVIEW_S)),
        )
    return json_response(made.model_dump(mode="json"), 201)


@router.get("/alerts", tags=["places"], response_model=told.Alerts)
def alerts(service: Served, who: Asks, asked: Annotated[AlertList, Query()]) -> Response:
    """Alerts by priority."""
    places = Places(service, who)
    places.require_area(asked.area)
    rows, total = alerts_told(places, asked.query)
    return json_response({"alerts": rows, "total": total})


def alerts_told(places: Places, query: SiteQuery) -> tuple[list[dict[str, Any]], int]:
    """Alerts with the status of their sites, and how many there are."""
    table, total = places.alerts(query)
    ids = tuple(table["site_id"])
    if places.is_open:
        columns = places.service.store.site_columns(
            SiteQuery(site_ids=ids, with_past=True), ["site_id", "status"]
        )
    else:
        known = places.all_shown(query.area)
        columns = {name: known[name].tolist() for name in ("site_id", "status")}
    status = dict(zip(columns["site_id"], columns["status"], strict=True))
    return [row | {"site_status": status.get(row["site_id"])} for row in rows_of(table)], total


@router.get(
    "/messages/{language}", tags=["session"], response_model=dict[str, str | dict[str, str]]
)
def catalogue(
    language: Annotated[str, Path(pattern=f"^({'|'.join(LANGUAGES)})$")],
    _: Annotated[Nothing, Query()],
) -> Response:
    """All texts of a language by key; a text with plural forms is an object of them."""
    messages(language)
    rows = {
        key: entry if isinstance(entry, str) else dict(entry)
        for key, entry in read_catalogue(language).items()
    }
    return json_response(rows, headers={"Cache-Control": "max-age=3600"})


__all__ = ["Asks", "router", "view_of"]
