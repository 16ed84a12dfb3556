"""Vector tiles of sites and of registered layers, made once for each revision of the store."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
import shapely
from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from sluice.app.web.access import Person
from sluice.app.web.answers import described
from sluice.app.web.errors import DOCUMENTED, NotHere
from sluice.app.web.layers import LayerName, require_layer
from sluice.app.web.parameters import Name, Nothing, PeriodText, Strict, read_period
from sluice.app.web.places import Asks
from sluice.app.web.service import Part, Served, Service
from sluice.app.web.site_index import COLUMNS, Positions, SiteIndex
from sluice.app.web.states import states_in
from sluice.app.web.tile_encoding import (
    BUFFER,
    encode_layer,
    point_shapes,
    shapes_of,
    tile_box,
)
from sluice.app.web.views import Places, view_of
from sluice.app.web.withheld import visible
from sluice.base.places import Verdict
from sluice.base.store import Revision, SiteQuery, Store

router = APIRouter(prefix="/tiles", tags=["tiles"], responses=DOCUMENTED)

MEDIA_TYPE = "application/vnd.mapbox-vector-tile"
POLYGONS_FROM = 11
"""Zoom from which on sites are drawn as outlines."""
HIGHEST = 22
MOST_POLYGONS = 3000
"""Of a tile."""
_LAYER_IN_MEMORY = 50_000
_DRAWN = (
    "site_id", "area", "status", "level", "verdict", "area_ha", "priority", "posterior",
    "legality", "first_seen", "lon", "lat",
)  # fmt: skip


_DESCRIBED = {
    **described(MEDIA_TYPE),
    204: {"description": "Nothing is there."},
    304: {"description": "As it was."},
}


class Tile(NamedTuple):
    """Which tile."""

    z: int
    x: int
    y: int


async def tile_at(
    z: Annotated[int, Path(ge=0, le=HIGHEST)],
    x: Annotated[int, Path(ge=0, lt=2**HIGHEST)],
    y: Annotated[int, Path(ge=0, lt=2**HIGHEST)],
) -> Tile:
    """The tile of an address.

    Raises:
        NotHere: Its zoom has none of these numbers.
    """
    if x >= 2**z or y >= 2**z:
        raise NotHere(f"zoom {z} has no tile {x}/{y}: its numbers end at {2**z - 1}")
    return Tile(z, x, y)


At = Annotated[Tile, Depends(tile_at)]


class Drawn(Strict):
    """Which sites are drawn, and as they were when."""

    area: Name | None = None
    period: PeriodText | None = None


@router.get("/sites/{z}/{x}/{y}.pbf", response_class=Response, responses=_DESCRIBED)
async def sites(
    request: Request,
    service: Served,
    who: Asks,
    at: At,
    asked: Annotated[Drawn, Query()],
) -> Response:
    """Sites: points below zoom 11, of those that crowd the most urgent; outlines from there on."""
    revision = await _revision(service)
    key = ("sites", revision.sites, revision.reviews, view_of(who), asked.area, asked.period)
    return await _tile(request, service, (*key, *at), lambda: _site_tile(service, who, asked, at))


@router.get("/layers/{name}/{z}/{x}/{y}.pbf", response_class=Response, responses=_DESCRIBED)
async def layers(
    request: Request,
    service: Served,
    _who: Asks,
    name: LayerName,
    at: At,
    _: Annotated[Nothing, Query()],
) -> Response:
    """Features of a registered layer; tiny ones are left out at low zooms."""
    revision = await _revision(service)
    key = ("layer", revision.layers, name, *at)
    return await _tile(request, service, key, lambda: _layer_tile(service, name, at))


async def _revision(service: Service) -> Revision:
    known = service.known_revision()
    return known if known is not None else await run_in_threadpool(service.revision)


async def _tile(
    request: Request, service: Service, key: tuple[Any, ...], make: Callable[[], bytes]
) -> Response:
    etag = f'"{hashlib.blake2b(repr(key).encode(), digest_size=9).hexdigest()}"'
    # Always asked for again, and answered by "as before" mostly: a review shows at once.
    headers = {"ETag": etag, "Cache-Control": "private, no-cache", "Vary": "Accept-Encoding"}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    tile = service.tiles.get(key)
    if tile is None:
        tile = await run_in_threadpool(_make, service, key, make)
    if not tile:
        return Response(status_code=204, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(
            tile, headers={**headers, "Content-Encoding": "gzip"}, media_type=MEDIA_TYPE
        )
    return Response(gzip.decompress(tile), headers=headers, media_type=MEDIA_TYPE)


def _make(service: Service, key: tuple[Any, ...], make: Callable[[], bytes]) -> bytes:
    content = make()
    tile = gzip.compress(content, 5, mtime=0) if content else b""
    service.tiles.put(key, tile)
    return tile


def _site_tile(service: Service, who: Person, asked: Drawn, at: Tile) -> bytes:
    Places(service, who).require_area(asked.area)
    if at.z < POLYGONS_FROM:
        return _points(service, who, asked, at)
    return _outlines(service, who, asked, at)


def site_index(service: Service, who: Person, area: str | None) -> SiteIndex:
    """Sites that a person may see, along the curve; of an area where it matters to how."""
    name = f"index {view_of(who)} {area}" if who.redacted else f"index {view_of(who)}"

    def make(store: Store) -> SiteIndex:
        if who.redacted:
            return SiteIndex(pd.DataFrame(Places(service, who).all_shown(area)))
        return SiteIndex(pd.DataFrame(store.site_columns(visible(SiteQuery(), who), COLUMNS)))

    of: tuple[Part, ...] = ("sites", "reviews") if who.redacted else ("sites",)
    found: SiteIndex = service.kept(name, make, of=of, may_be_older=True)
    return found


def _points(service: Service, who: Person, asked: Drawn, at: Tile) -> bytes:
    index = site_index(service, who, asked.area)
    found = index.within(*at)
    rows: Positions = np.arange(found.start, found.stop)
    if asked.area is not None and not who.redacted:
        rows = rows[index.words["area"].is_one_of([asked.area])[found]]
    then = None
    if asked.period is not None:
        then = _then(Places(service, who), index, asked)
        rows = rows[then.known[rows]]
    rows, counts = index.thinned(rows, at.z)
    if not len(rows):
        return b""
    columns: dict[str, Any] = {
        "id": index.ids[rows].tolist(),
        "status": index.words["status"].take(rows),
        "level": index.words["level"].take(rows),
        "verdict": _verdicts(service, who, index, rows),
        "area_ha": _rounded(index.numbers["area_ha"][rows], 2),
        "priority": _rounded(index.numbers["priority"][rows], 1),
        "posterior": _rounded(index.numbers["posterior"][rows], 3),
        "legality": index.words["legality"].take(rows),
        "first_seen": index.words["first_seen"].take(rows),
        "count": counts.tolist(),
    }
    if then is not None:
        columns |= then.columns(rows)
    return encode_layer("sites", point_shapes(index.units(rows, *at)), columns)


class _Then:
    """What sites were in a period, on the rows of an index."""

    def __init__(self, index: SiteIndex, states: pd.DataFrame) -> None:
        self._rows = states.index.get_indexer(pd.Index(index.ids))
        self.known = self._rows >= 0
        self._states = states

    def columns(self, rows: Positions) -> dict[str, Any]:
        """Columns in place of those of today."""
        then = self._states.iloc[self._rows[rows]]
        return then_columns(then)


def then_columns(then: pd.DataFrame) -> dict[str, Any]:
    """Columns of a tile from rows of `states_in`."""
    return {
        "status": _texts(then["status"]),
        "level": _texts(then["level"]),
        "area_ha": _rounded(then["area_ha"], 2),
        "posterior": _rounded(then["posterior"], 3),
    }


def _then(places: Places, index: SiteIndex, asked: Drawn) -> _Then:
    states = states_in(places, read_period(str(asked.period)), asked.area)
    name = f"then {asked.period} {id(index)}"
    found: _Then = places.service.kept(name, lambda _: _Then(index, states))
    return found


def _verdicts(service: Service, who: Person, index: SiteIndex, rows: Positions) -> list[str | None]:
    """What people said last: apart from the index, which outlives a review."""

    if who.redacted:
        return index.words["verdict"].take(rows)

    def read(store: Store) -> dict[str, str]:
        query = visible(SiteQuery(verdict=tuple(Verdict)), who)
        found = store.site_columns(query, ["site_id", "verdict"])
        return dict(zip(found["site_id"], found["verdict"], strict=True))

    verdicts: dict[str, str] = service.kept(f"verdicts {view_of(who)}", read)
    return [verdicts.get(site_id) for site_id in index.ids[rows].tolist()]


def _outlines(service: Service, who: Person, asked: Drawn, at: Tile) -> bytes:
    query = SiteQuery(area=asked.area, bbox_lonlat=tile_box(*at, BUFFER), limit=MOST_POLYGONS)
    if who.redacted:
        table = Places(service, who).shown_that_fit(query).iloc[:MOST_POLYGONS]
        shapes = table.geometry.to_numpy(dtype=object)
        absent = [None] * len(table)
        found = {name: table[name].tolist() if name in table else absent for name in _DRAWN}
    else:
        found = service.store.site_columns(visible(query, who), [*_DRAWN, "geometry"])
        shapes = shapely.from_wkb(np.array(found.pop("geometry"), dtype=object))
    if not len(shapes):
        return b""
    columns: dict[str, list[Any]] = {
        "id": found["site_id"],
        "status": _texts(found["status"]),
        "level": _texts(found["level"]),
        "verdict": _texts(found["verdict"]),
        "area_ha": _rounded(found["area_ha"], 2),
        "priority": _rounded(found["priority"], 1),
        "posterior": _rounded(found["posterior"], 3),
        "legality": _texts(found["legality"]),
        "first_seen": _texts(found["first_seen"]),
    }
    lonlat = np.column_stack([np.array(found[name], dtype=float) for name in ("lon", "lat")])
    if asked.period is not None:
        states = states_in(Places(service, who), read_period(asked.period), asked.area)
        rows = states.index.get_indexer(pd.Index(found["site_id"]))
        known = np.flatnonzero(rows >= 0)
        columns = {name: [values[k] for k in known.tolist()] for name, values in columns.items()}
        columns |= then_columns(states.iloc[rows[known]])
        shapes, lonlat = shapes[known], lonlat[known]
    if not len(shapes):
        return b""
    return encode_layer("sites", shapes_of(shapes, *at), columns) + _places(lonlat, columns, at)


def _places(lonlat: np.ndarray, columns: Mapping[str, list[Any]], at: Tile) -> bytes:
    """Where the marks of outlined sites stand.

    A shape that crosses an edge is in both tiles, its mark in the one that holds its place.
    """
    west, south, east, north = tile_box(*at)
    inside = (lonlat[:, 0] >= west) & (lonlat[:, 0] < east)
    inside &= (lonlat[:, 1] > south) & (lonlat[:, 1] <= north)
    rows = np.flatnonzero(inside).tolist()
    if not rows:
        return b""
    marks = {name: [values[row] for row in rows] for name, values in columns.items()}
    points = np.asarray(shapely.points(lonlat[rows]), dtype=object)
    return encode_layer("places", shapes_of(points, *at), marks)


def _texts(values: Iterable[Any]) -> list[str | None]:
    return [None if value is None or value != value else str(value) for value in values]  # noqa: PLR0124 - NaN


def _rounded(values: Any, digits: int) -> list[float]:
    found: list[float] = np.round(np.array(values, dtype=np.float64), digits).tolist()
    return found


def _layer_tile(service: Service, name: str, at: Tile) -> bytes:
    layer = require_layer(service, name)
    box = tile_box(*at, BUFFER)
    if layer.features <= _LAYER_IN_MEMORY:
        features = service.kept(
            f"features {name}", lambda store: store.layer_features(name), of=("layers",)
        )
        features = features.iloc[np.sort(features.sindex.query(shapely.box(*box)))]
    else:
        features = service.store.layer_features(name, box)
    shapes = features.geometry.to_numpy()
    # What is smaller than a pixel of the screen is not drawn, unless it is a point.
    sides = shapely.bounds(shapes)
    widest = np.maximum(sides[:, 2] - sides[:, 0], sides[:, 3] - sides[:, 1])
    thick = shapely.get_dimensions(shapes) > 0
    kept = np.flatnonzero(~thick | (widest > 360 * 2.0**-at.z / 512))
    if len(kept) > MOST_POLYGONS:
        kept = np.sort(kept[np.argsort(-widest[kept], kind="stable")[:MOST_POLYGONS]])
    features, shapes = features.iloc[kept], shapes[kept]
    if not len(features):
        return b""
    columns = {name: _texts(features[name]) for name in ("name", "start", "end")}
    columns["kind"] = [layer.kind.value] * len(features)
    return encode_layer(layer.name, shapes_of(shapes, *at), columns)
