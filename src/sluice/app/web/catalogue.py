"""The runs of a store as a STAC API: a collection for each area, an item for each run.

Source:
    https://github.com/radiantearth/stac-api-spec, 1.0.0.
"""

from __future__ import annotations

import json
from pathlib import Path as FilePath
from typing import Annotated, Any
from urllib.parse import quote

import shapely
from fastapi import APIRouter, Path, Query, Request
from pydantic import Field
from starlette.responses import FileResponse, Response

from sluice.app.following.cover_of_runs import is_result_of
from sluice.app.products import layout
from sluice.app.web.answers import FEATURE, FEATURES, GEOJSON, geojson_of, json_response
from sluice.app.web.crs import CRS84, read_box
from sluice.app.web.errors import DOCUMENTED, NotHere
from sluice.app.web.features import read_datetime
from sluice.app.web.parameters import (
    DEFAULT_LIMIT,
    MOST,
    Limit,
    Name,
    Nothing,
    Strict,
    Words,
)
from sluice.app.web.places import Asks
from sluice.app.web.told import Conformance, Linked
from sluice.app.web.views import Places, Seen, bounds_of
from sluice.base.errors import ConfigError
from sluice.base.places import LandedRun
from sluice.base.records import DISCLAIMER
from sluice.store.database import sides_of

router = APIRouter(prefix="/stac", tags=["STAC"], responses=DOCUMENTED)

VERSION = "1.1.0"
CONFORMS_TO = tuple(
    f"https://api.stacspec.org/v1.0.0/{part}"
    for part in ("core", "collections", "ogcapi-features", "item-search")
) + tuple(
    f"http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/{part}" for part in ("core", "geojson")
)

_LONGEST_SHAPE = 20_000
"""Characters of a shape to search in."""

AreaName = Annotated[Name, Path()]
RunId = Annotated[str, Path(min_length=1, max_length=200)]


class Part(Strict):
    """Which part of a list."""

    limit: Limit = DEFAULT_LIMIT
    offset: int = Field(default=0, ge=0, le=100_000_000)


class Search(Part):
    """Which runs."""

    bbox: str | None = Field(default=None, max_length=200, examples=["-2.5,5.5,-1.5,6.5"])
    intersects: str | None = Field(default=None, max_length=_LONGEST_SHAPE)
    """A GeoJSON geometry."""
    datetime: str | None = Field(default=None, max_length=100)
    collections: Annotated[list[Name], Words] = Field(default_factory=list, max_length=MOST)
    """Areas."""
    ids: Annotated[list[Name], Words] = Field(default_factory=list, max_length=MOST)


@router.get("", response_model=Linked)
@router.get("/", include_in_schema=False)
def catalogue(request: Request, places: Seen, _: Annotated[Nothing, Query()]) -> Response:
    """The catalogue of all runs."""
    root = _root(request)
    links = [
        _link(root, "self"),
        _link(root, "root"),
        _link(f"{root}/conformance", "conformance"),
        _link(f"{root}/collections", "data"),
        *({**_link(f"{root}/search", "search", GEOJSON), "method": m} for m in ("GET", "POST")),
        _link(
            f"{str(request.base_url).rstrip('/')}/api/openapi.json",
            "service-desc",
            "application/vnd.oai.openapi+json;version=3.1",
        ),
        *(_link(_collection_at(root, name), "child") for name in _areas(places)),
    ]
    return json_response(
        {
            "type": "Catalog",
            "id": "sluice",
            "stac_version": VERSION,
            "title": "Runs of Sluice",
            "description": f"Scans and what they left. {DISCLAIMER}",
            "conformsTo": list(CONFORMS_TO),
            "links": links,
        }
    )


@router.get("/conformance", response_model=Conformance)
def conformance(_who: Asks, _: Annotated[Nothing, Query()]) -> Response:
    """Standards that the catalogue keeps."""
    return json_response({"conformsTo": list(CONFORMS_TO)})


@router.get("/collections", response_model=Linked)
def collections(request: Request, places: Seen, _: Annotated[Nothing, Query()]) -> Response:
    """A collection for each area."""
    root = _root(request)
    told = [_collection(root, places, name) for name in _areas(places)]
    links = [_link(f"{root}/collections", "self"), _link(root, "root")]
    return json_response({"collections": told, "links": links})


@router.get("/collections/{area}", response_model=Linked)
def collection(
    request: Request, places: Seen, area: AreaName, _: Annotated[Nothing, Query()]
) -> Response:
    """One area."""
    places.require_area(area)
    return json_response(_collection(_root(request), places, area))


@router.get("/collections/{area}/items", response_class=Response, responses=FEATURES)
def items(
    request: Request, places: Seen, area: AreaName, asked: Annotated[Search, Query()]
) -> Response:
    """The runs of an area, oldest first."""
    places.require_area(area)
    wanted = asked.model_copy(update={"collections": [area]})
    return _item_collection(
        request, places, wanted, f"{_collection_at(_root(request), area)}/items"
    )


@router.get("/collections/{area}/items/{run_id}", response_class=Response, responses=FEATURE)
def item(
    request: Request, places: Seen, area: AreaName, run_id: RunId, _: Annotated[Nothing, Query()]
) -> Response:
    """One run."""
    run = _require_run(places, area, run_id)
    return json_response(_item(_root(request), places, run), media_type=GEOJSON)


@router.get("/collections/{area}/items/{run_id}/{file}", response_class=FileResponse)
def asset(
    places: Seen,
    area: AreaName,
    run_id: RunId,
    file: Annotated[str, Path(max_length=100)],
    _: Annotated[Nothing, Query()],
) -> FileResponse:
    """A file that a run left; parts of it can be asked for, as GDAL does."""
    run = _require_run(places, area, run_id)
    if file not in _files(places, run):
        raise NotHere(f"run {run_id} has no file {file!r} here")
    path = FilePath(str(run.folder)) / file
    return FileResponse(path, headers={"Cache-Control": "private, max-age=60"})


@router.get("/search", response_class=Response, responses=FEATURES)
def search(request: Request, places: Seen, asked: Annotated[Search, Query()]) -> Response:
    """Runs of all areas, by box, time, area and id."""
    return _item_collection(request, places, asked, f"{_root(request)}/search")


class SearchBody(Strict):
    """Which runs, as a document."""

    limit: Limit = DEFAULT_LIMIT
    offset: int = Field(default=0, ge=0, le=100_000_000)
    bbox: Annotated[list[float], Field(min_length=4, max_length=6)] | None = None
    intersects: dict[str, Any] | None = None
    datetime: str | None = Field(default=None, max_length=100)
    collections: list[Name] = Field(default_factory=list, max_length=MOST)
    ids: list[Name] = Field(default_factory=list, max_length=MOST)


@router.post("/search", response_class=Response, responses=FEATURES)
def search_by_document(
    request: Request, places: Seen, body: SearchBody, _: Annotated[Nothing, Query()]
) -> Response:
    """The same; it changes nothing."""
    values = body.model_dump(exclude={"bbox", "intersects"})
    box = None if body.bbox is None else ",".join(map(str, body.bbox))
    shape = None if body.intersects is None else json.dumps(body.intersects)
    asked = Search.model_construct(**values, bbox=box, intersects=shape)
    return _item_collection(request, places, asked, f"{_root(request)}/search", by_post=True)


def _root(request: Request) -> str:
    return f"{str(request.base_url).rstrip('/')}/stac"


def _collection_at(root: str, area: str) -> str:
    """Names of areas may have spaces and accents."""
    return f"{root}/collections/{quote(area, safe='')}"


def _link(href: str, rel: str, media_type: str = "application/json") -> dict[str, Any]:
    return {"href": href, "rel": rel, "type": media_type}


def _shapes(places: Places) -> dict[str, Any]:
    """Outlines of the areas that a person may see, by name."""
    table = places.service.kept("area shapes", lambda store: store.areas(), of=("sites",))
    mine = places.area_names()
    pairs = zip(table["name"], table.geometry, strict=True)
    return {name: shape for name, shape in pairs if name in mine}


def _areas(places: Places) -> list[str]:
    return sorted(_shapes(places))


def _runs(places: Places) -> list[LandedRun]:
    runs: list[LandedRun] = places.service.kept("runs", lambda store: store.runs(), of=("sites",))
    mine = places.area_names()
    return [run for run in runs if run.area in mine]


def _require_run(places: Places, area: str, run_id: str) -> LandedRun:
    places.require_area(area)
    for run in _runs(places):
        if run.run_id == run_id and run.area == area:
            return run
    raise NotHere(f"there is no run {run_id!r} of area {area!r} here")


def _collection(root: str, places: Places, area: str) -> dict[str, Any]:
    own = _collection_at(root, area)
    runs = [run for run in _runs(places) if run.area == area]
    interval: list[str | None] = [None, None]
    if runs:
        first, last = min(run.start for run in runs), max(run.end for run in runs)
        interval = [f"{first}T00:00:00Z", f"{last}T23:59:59Z"]
    return {
        "type": "Collection",
        "id": area,
        "stac_version": VERSION,
        "title": area,
        "description": f"Scans of {area}. {DISCLAIMER}",
        "license": "other",
        "extent": {
            "spatial": {"bbox": [bounds_of(_shapes(places)[area])]},
            "temporal": {"interval": [interval]},
        },
        "links": [
            _link(own, "self"),
            _link(root, "root"),
            _link(root, "parent"),
            _link(f"{own}/items", "items", GEOJSON),
        ],
    }


def _item_collection(
    request: Request, places: Places, asked: Search, here: str, *, by_post: bool = False
) -> Response:
    shapes = _shapes(places)
    first, last = read_datetime(asked.datetime)
    runs = [
        run
        for run in _runs(places)
        if (not asked.collections or run.area in asked.collections)
        and (not asked.ids or run.run_id in asked.ids)
        and (first is None or run.end >= first)
        and (last is None or run.start <= last)
    ]
    wanted = _wanted(asked)
    if wanted is not None:
        near = {name for name, shape in shapes.items() if shapely.intersects(shape, wanted)}
        runs = [run for run in runs if run.area in near]
    part = runs[asked.offset : asked.offset + asked.limit]
    root = _root(request)
    links = [_link(here, "self", GEOJSON), _link(root, "root")]
    end = asked.offset + len(part)
    if end < len(runs):
        links.append(_next(request, here, asked, end, by_post=by_post))
    return json_response(
        {
            "type": "FeatureCollection",
            "features": [_item(root, places, run) for run in part],
            "links": links,
            "numberMatched": len(runs),
            "numberReturned": len(part),
        },
        media_type=GEOJSON,
    )


def _wanted(asked: Search) -> Any:
    """Where to search, in degrees; None for everywhere.

    Raises:
        ConfigError: A box or shape that is none, or both.
    """
    if asked.intersects is None:
        if asked.bbox is None:
            return None
        sides = sides_of(read_box(asked.bbox, CRS84))
        return shapely.union_all([shapely.box(*each) for each in sides])
    if asked.bbox is not None:
        raise ConfigError("bbox and intersects: give one of them")
    try:
        wanted = shapely.from_geojson(asked.intersects)
    except shapely.GEOSException as err:
        raise ConfigError(f"intersects: is no GeoJSON geometry: {err}") from err
    if not shapely.is_valid(wanted):
        why = shapely.is_valid_reason(wanted)
        raise ConfigError(f"intersects: is no valid shape ({why}); mend it")
    return wanted


def _next(
    request: Request, here: str, asked: Search, offset: int, *, by_post: bool
) -> dict[str, Any]:
    if by_post:
        body = {"offset": offset, "limit": asked.limit}
        return {**_link(here, "next", GEOJSON), "method": "POST", "body": body, "merge": True}
    url = request.url.include_query_params(offset=offset, limit=asked.limit)
    return _link(str(url), "next", GEOJSON)


def _files(places: Places, run: LandedRun) -> dict[str, dict[str, Any]]:
    """Files that a run left and that are still its own, with what its catalogue says of them.

    They show exact places: those who see sites roughly get none.
    """
    if places.person.redacted or run.folder is None:
        return {}
    folder = FilePath(run.folder)
    if not is_result_of(folder, run.run_id):
        return {}
    told = _own_item(folder).get("assets", {})
    assets = {
        FilePath(str(one.get("href", ""))).name: {**one, "key": key}
        for key, one in (told.items() if isinstance(told, dict) else ())
        if isinstance(one, dict)
    }
    return {
        name: assets.get(name, {"key": FilePath(name).stem})
        for name in layout.EVERYTHING
        if name not in {layout.ITEM, layout.CATALOGUE} and (folder / name).is_file()
    }


def _own_item(folder: FilePath) -> dict[str, Any]:
    """The item that a run wrote beside its files; empty where it is not there any more."""
    try:
        found = json.loads((folder / layout.ITEM).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _item(root: str, places: Places, run: LandedRun) -> dict[str, Any]:
    collection = _collection_at(root, run.area)
    own = f"{collection}/items/{quote(run.run_id, safe='')}"
    shape = _shapes(places)[run.area]
    assets = {
        str(about["key"]): {
            **{name: value for name, value in about.items() if name != "key"},
            "href": f"{own}/{name}",
        }
        for name, about in _files(places, run).items()
    }
    written = _own_item(FilePath(run.folder)) if assets and run.folder else {}
    extensions = written.get("stac_extensions", []) if assets else []
    properties = {
        "datetime": None,
        "start_datetime": f"{run.start}T00:00:00Z",
        "end_datetime": f"{run.end}T23:59:59Z",
        "created": run.landed.isoformat().replace("+00:00", "Z"),
        "title": f"{run.area}, {run.start} to {run.end}, {run.sensor}",
        "sluice:sensor": run.sensor,
        "sluice:model": run.model,
        "sluice:model_sha256": run.model_sha256,
    }
    written_properties = written.get("properties", {})
    if isinstance(written_properties, dict):
        properties |= {k: v for k, v in written_properties.items() if k.startswith(("proj:",))}
    return {
        "type": "Feature",
        "stac_version": VERSION,
        "stac_extensions": extensions,
        "id": run.run_id,
        "collection": run.area,
        "geometry": geojson_of([shape])[0],
        "bbox": bounds_of(shape),
        "properties": properties,
        "assets": assets,
        "links": [
            _link(own, "self", GEOJSON),
            _link(root, "root"),
            _link(collection, "parent"),
            _link(collection, "collection"),
        ],
    }
