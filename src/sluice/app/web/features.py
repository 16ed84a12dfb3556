"""OGC API Features: core, GeoJSON, coordinate systems, and filters in CQL2 text.

Source:
    OGC 17-069r4 (Part 1), 18-058r1 (Part 2), 19-079r2 (Part 3), 21-065r2 (CQL2).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import orjson
import shapely
from fastapi import APIRouter, Path, Query, Request
from pydantic import ConfigDict, Field
from starlette.responses import Response

from sluice.app.web.access import Person
from sluice.app.web.answers import (
    FEATURE,
    FEATURES,
    GEOJSON,
    compressed_response,
    described,
    json_response,
    moment_text,
    to_json,
)
from sluice.app.web.collections import COLLECTIONS, DETECTIONS, Collection
from sluice.app.web.crs import CRS84, KNOWN, check_crs, lonlat_of, read_box, sides_in_degrees
from sluice.app.web.errors import DOCUMENTED, NotHere
from sluice.app.web.feature_pages import Asked, Page, read_page
from sluice.app.web.feature_texts import with_links
from sluice.app.web.filter_reading import LONGEST, equals, parse
from sluice.app.web.filters import Kind
from sluice.app.web.parameters import Limit, Nothing, Strict, read_day
from sluice.app.web.places import Asks
from sluice.app.web.service import Served
from sluice.app.web.told import Conformance, Linked
from sluice.app.web.views import Places, Seen, bounds_of
from sluice.base.errors import ConfigError
from sluice.base.store import BBox

router = APIRouter(prefix="/ogc", tags=["OGC API Features"], responses=DOCUMENTED)

_SCHEMA_JSON = "application/schema+json"
_DEFAULT_LIMIT = 100
CONFORMS_TO = (
    *(
        f"http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/{part}"
        for part in ("core", "geojson")
    ),
    "http://www.opengis.net/spec/ogcapi-features-2/1.0/conf/crs",
    *(
        f"http://www.opengis.net/spec/ogcapi-features-3/1.0/conf/{part}"
        for part in ("filter", "features-filter", "queryables", "queryables-query-parameters")
    ),
    *(
        f"http://www.opengis.net/spec/cql2/1.0/conf/{part}"
        for part in (
            "cql2-text", "basic-cql2", "advanced-comparison-operators",
            "case-insensitive-comparison", "basic-spatial-functions",
            "basic-spatial-functions-plus", "property-property", "arithmetic",
        )
    ),
)  # fmt: skip

CollectionId = Annotated[str, Path(min_length=1, max_length=50)]
FeatureId = Annotated[str, Path(min_length=1, max_length=300)]


class InCrs(Strict):
    """In which coordinate system."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    crs: str | None = Field(default=None, max_length=200, examples=[KNOWN[0]])


class Items(InCrs):
    """Which features, and which part of them. What else is asked for are values of properties, see
    `equals`."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)

    limit: Limit = _DEFAULT_LIMIT
    offset: int = Field(default=0, ge=0, le=100_000_000)
    after: int = Field(default=0, ge=0, le=2**53)
    """As a link to the next page has it."""
    bbox: str | None = Field(default=None, max_length=200, examples=["-2.5,5.5,-1.5,6.5"])
    bbox_crs: str | None = Field(default=None, alias="bbox-crs", max_length=200)
    datetime: str | None = Field(default=None, max_length=100, examples=["2024-01-01/.."])
    filter: str | None = Field(default=None, max_length=LONGEST, examples=["status = 'new'"])
    filter_lang: str | None = Field(default=None, alias="filter-lang", pattern="^cql2-text$")
    filter_crs: str | None = Field(default=None, alias="filter-crs", max_length=200)


@router.get("", response_model=Linked)
@router.get("/", include_in_schema=False)
def landing(request: Request, _who: Asks, _: Annotated[Nothing, Query()]) -> Response:
    """Where the parts of the interface are."""
    root = _root(request)
    return json_response(
        {
            "title": "Sluice",
            "description": "Mines found in satellite images, followed over time.",
            "links": [
                _link(f"{root}/ogc", "self", "This document"),
                _link(
                    f"{root}/api/openapi.json",
                    "service-desc",
                    "The interface",
                    "application/vnd.oai.openapi+json;version=3.1",
                ),
                _link(f"{root}/ogc/conformance", "conformance", "Standards kept"),
                _link(f"{root}/ogc/collections", "data", "Collections"),
            ],
        }
    )


@router.get("/conformance", response_model=Conformance)
def conformance(_who: Asks, _: Annotated[Nothing, Query()]) -> Response:
    """Standards that the interface keeps."""
    return json_response({"conformsTo": list(CONFORMS_TO)})


@router.get("/collections", response_model=Linked)
def collections(
    request: Request, service: Served, who: Asks, _: Annotated[Nothing, Query()]
) -> Response:
    """The collections."""
    root = _root(request)
    told = [
        _collection_told(root, Places(service, who), one)
        for one in COLLECTIONS.values()
        if _may_see(one, who)
    ]
    links = [_link(f"{root}/ogc/collections", "self", "This document")]
    return json_response({"links": links, "collections": told, "crs": list(KNOWN)})


@router.get("/collections/{collection}", response_model=Linked)
def collection_(
    request: Request,
    service: Served,
    who: Asks,
    collection: CollectionId,
    _: Annotated[Nothing, Query()],
) -> Response:
    """One collection."""
    found = _require(collection, who)
    return json_response(_collection_told(_root(request), Places(service, who), found))


@router.get(
    "/collections/{collection}/queryables",
    response_class=Response,
    responses=described(_SCHEMA_JSON, {"type": "object"}),
)
def queryables(
    request: Request, who: Asks, collection: CollectionId, _: Annotated[Nothing, Query()]
) -> Response:
    """What a filter may name, as JSON Schema."""
    found = _require(collection, who)
    return json_response(
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": f"{_root(request)}/ogc/collections/{found.name}/queryables",
            "type": "object",
            "title": found.title,
            "properties": {name: _schema(kind) for name, kind in found.queryables.items()},
            "additionalProperties": False,
        },
        media_type=_SCHEMA_JSON,
    )


@router.get("/collections/{collection}/items", response_class=Response, responses=FEATURES)
def items(
    request: Request,
    service: Served,
    who: Asks,
    collection: CollectionId,
    asked: Annotated[Items, Query()],
) -> Response:
    """Features of a collection, page by page."""
    found = _require(collection, who)
    crs = check_crs(asked.crs)
    page = read_page(Places(service, who), found, replace(_read(asked, found), crs=crs))
    root = f"{_root(request)}/ogc/collections/{found.name}"
    told: dict[str, Any] = {
        "type": "FeatureCollection",
        "links": _page_links(request, root, asked, page),
        "timeStamp": moment_text(dt.datetime.now(dt.UTC)),
        "numberReturned": len(page.features),
        "features": [orjson.Fragment(text) for text in page.features],
    }
    if page.matched is not None:
        told["numberMatched"] = page.matched
    return compressed_response(request, to_json(told), GEOJSON, {"Content-Crs": f"<{crs}>"})


@router.get("/collections/{collection}/items/{feature}", response_class=Response, responses=FEATURE)
def item(
    request: Request,
    places: Seen,
    collection: CollectionId,
    feature: FeatureId,
    asked: Annotated[InCrs, Query()],
) -> Response:
    """One feature."""
    found = _require(collection, places.person)
    crs = check_crs(asked.crs)
    page = read_page(places, found, Asked(limit=1, ids=(feature,), crs=crs))
    if not page.features:
        raise NotHere(f"there is no feature {feature!r} in {found.name}")
    root = f"{_root(request)}/ogc/collections/{found.name}"
    links = [
        _link(f"{root}/items/{quote(feature, safe='')}", "self", "This feature", GEOJSON),
        _link(root, "collection", found.title),
    ]
    text = with_links(page.features[0], links)
    return Response(text, media_type=GEOJSON, headers={"Content-Crs": f"<{crs}>"})


def _may_see(collection: Collection, who: Person) -> bool:
    """Detections have exact places: nothing of them is shown to those who see sites roughly."""
    return collection is not DETECTIONS or not who.redacted


def _require(name: str, who: Person) -> Collection:
    found = COLLECTIONS.get(name)
    if found is None or not _may_see(found, who):
        there = ", ".join(one.name for one in COLLECTIONS.values() if _may_see(one, who))
        raise NotHere(f"there is no collection {name!r}; there are {there}")
    return found


def _root(request: Request) -> str:
    return str(request.base_url).rstrip("/")


def _link(href: str, rel: str, title: str, media_type: str = "application/json") -> dict[str, str]:
    return {"href": href, "rel": rel, "type": media_type, "title": title}


def _collection_told(root: str, places: Places, collection: Collection) -> dict[str, Any]:
    own = f"{root}/ogc/collections/{collection.name}"
    extent: dict[str, Any] = {"spatial": {"bbox": [_extent(places)], "crs": CRS84}}
    runs = places.service.kept("runs", lambda store: store.runs(), of=("sites",))
    names = places.area_names()
    mine = [run for run in runs if run.area in names]
    if mine:
        first, last = min(run.start for run in mine), max(run.end for run in mine)
        extent["temporal"] = {"interval": [[f"{first}T00:00:00Z", f"{last}T23:59:59Z"]]}
    return {
        "id": collection.name,
        "title": collection.title,
        "description": collection.description,
        "itemType": "feature",
        "extent": extent,
        "crs": list(KNOWN),
        "storageCrs": CRS84,
        "links": [
            _link(own, "self", "This document"),
            _link(f"{own}/items", "items", collection.title, GEOJSON),
            _link(
                f"{own}/queryables",
                "http://www.opengis.net/def/rel/ogc/1.0/queryables",
                "What a filter may name",
                _SCHEMA_JSON,
            ),
        ],
    }


def _extent(places: Places) -> list[float]:
    areas = places.service.kept("area shapes", lambda store: store.areas(), of=("sites",))
    areas = areas[areas["name"].isin(places.area_names())]
    if not len(areas):
        return [-180.0, -90.0, 180.0, 90.0]
    return bounds_of(shapely.GeometryCollection(areas.geometry.tolist()))


def _schema(kind: Kind) -> dict[str, str]:
    if kind is Kind.SHAPE:
        return {"format": "geometry-any", "x-ogc-role": "primary-geometry"}
    if kind is Kind.DATE:
        return {"type": "string", "format": "date"}
    return {"type": kind.value}


def _read(asked: Items, collection: Collection) -> Asked:
    """What was asked for, in degrees and days.

    Raises:
        ConfigError: A box, day, filter or coordinate system that is none.
    """
    box = None if asked.bbox is None else read_box(asked.bbox, check_crs(asked.bbox_crs))
    start, end = read_datetime(asked.datetime)
    tree = None
    if asked.filter is not None:
        tree = parse(asked.filter, collection.queryables)
        tree = _in_degrees(tree, check_crs(asked.filter_crs))
    wanted = [equals(*one, collection.queryables) for one in (asked.model_extra or {}).items()]
    if wanted:
        tree = {"op": "and", "args": wanted if tree is None else [*wanted, tree]}
    return Asked(
        limit=asked.limit,
        offset=asked.offset,
        after=asked.after,
        bbox=box,
        start=start,
        end=end,
        tree=tree,
    )


def read_datetime(text: str | None) -> tuple[dt.date | None, dt.date | None]:
    """The days of an instant or interval; None at an open end."""
    if text is None:
        return None, None
    start, slash, end = text.partition("/")
    if not slash:
        end = start
    try:
        first, last = (None if part in {"", ".."} else read_day(part) for part in (start, end))
    except ValueError:
        first = last = None
    if (first is None and last is None) or (first and last and first > last):
        raise ConfigError(
            f"datetime {text!r}: is no time; give a day, 2024-01-31, or two with a slash, of which "
            "one may be open: 2024-01-01/.."
        )
    return first, last


def _in_degrees(tree: Any, crs: str) -> Any:
    """A filter with its boxes and shapes brought from a coordinate system to degrees.

    Raises:
        ConfigError: One of them is none.
    """
    if isinstance(tree, list):
        return [_in_degrees(part, crs) for part in tree]
    if isinstance(tree, Mapping):
        if "bbox" in tree:
            return {"bbox": _box_in_degrees(tree["bbox"], crs)}
        if "coordinates" in tree and crs != CRS84:
            try:
                shape = shapely.geometry.shape(dict(tree))
            except (ValueError, TypeError, IndexError, shapely.GEOSException) as err:
                raise ConfigError("the filter's shape cannot be read") from err
            return shapely.geometry.mapping(lonlat_of(shape, crs))
        return {name: _in_degrees(part, crs) for name, part in tree.items()}
    return tree


def _box_in_degrees(sides: Any, crs: str) -> BBox:
    """Of a BBOX in a filter; west > east crosses 180 degrees, as in the parameter `bbox`."""
    try:
        west, south, east, north = found = sides_in_degrees(sides, crs)
    except ValueError:
        raise ConfigError("the filter's BBOX needs four numbers: west,south,east,north") from None
    if south > north or (west > east and not -180 <= east < west <= 180):
        raise ConfigError(
            "the filter's BBOX has its south north of its north, or its west east of its east; "
            "give west,south,east,north in the CRS that filter-crs names"
        )
    return found


def _page_links(request: Request, root: str, asked: Items, page: Page) -> list[dict[str, str]]:
    given = asked.model_dump(by_alias=True, exclude_defaults=True, exclude={"offset", "after"})
    here = f"?{request.url.query}" if request.url.query else ""
    links = [_link(f"{root}/items{here}", "self", "This page", GEOJSON)]
    if page.more is not None:
        following = urlencode({**given, **page.more})
        links.append(_link(f"{root}/items?{following}", "next", "Next page", GEOJSON))
    links.append(_link(root, "collection", "The collection"))
    return links
