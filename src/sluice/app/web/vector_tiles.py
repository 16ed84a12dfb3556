"""Vector tiles of sites and of registered layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
import shapely
from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import Response

from sluice.app.web.access import Person
from sluice.app.web.answers import compressed_response, described
from sluice.app.web.errors import DOCUMENTED, NotHere
from sluice.app.web.layers import LayerName, require_layer
from sluice.app.web.parameters import Name, Nothing, PeriodText, Strict, read_period
from sluice.app.web.places import Asks
from sluice.app.web.service import Served, Service
from sluice.app.web.site_blocks import MOST_POLYGONS, block_of
from sluice.app.web.site_columns import Positions
from sluice.app.web.site_index import SiteIndex
from sluice.app.web.site_indexes import is_of, said_of, site_index
from sluice.app.web.states import states_in
from sluice.app.web.tile_encoding import (
    BUFFER,
    EXTENT,
    Floats,
    mercator,
    point_shapes,
    shapes_of,
    shapes_within,
    tile_box,
)
from sluice.app.web.tile_layers import (
    Coded,
    Tags,
    coded_counts,
    coded_numbers,
    coded_texts,
    encode_layer,
)
from sluice.app.web.views import Places, view_of

router = APIRouter(prefix="/tiles", tags=["tiles"], responses=DOCUMENTED)

MEDIA_TYPE = "application/vnd.mapbox-vector-tile"
POLYGONS_FROM = 11
"""Zoom from which on sites are drawn as outlines."""
HIGHEST = 22
_UNSAID = (None, 0)
_AGAIN_S = 5
"""After which the map asks again for a tile of sites as they were before."""
_LAYER_IN_MEMORY = 50_000

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
def sites(
    request: Request,
    service: Served,
    who: Asks,
    at: At,
    asked: Annotated[Drawn, Query()],
) -> Response:
    """Sites: points below zoom 11, of those that crowd the most urgent; outlines from there on."""
    try:
        return _answer(request, _site_tile(service, who, asked, at))
    except _Older as err:
        # Neither kept here nor there; the map asks again then.
        return _answer(request, err.tile, {"Cache-Control": f"no-store, max-age={_AGAIN_S}"})


@router.get("/layers/{name}/{z}/{x}/{y}.pbf", response_class=Response, responses=_DESCRIBED)
def layers(
    request: Request,
    service: Served,
    _who: Asks,
    name: LayerName,
    at: At,
    _: Annotated[Nothing, Query()],
) -> Response:
    """Features of a registered layer; tiny ones are left out at low zooms."""
    return _answer(request, _layer_tile(service, name, at))


def _answer(request: Request, tile: bytes, headers: Mapping[str, str] | None = None) -> Response:
    if not tile:
        return Response(status_code=204, headers=headers)
    return compressed_response(request, tile, MEDIA_TYPE, headers)


class _Older(Exception):
    """A tile of sites as they were before, while what they are now is being read."""

    def __init__(self, tile: bytes) -> None:
        super().__init__()
        self.tile = tile


def _site_tile(service: Service, who: Person, asked: Drawn, at: Tile) -> bytes:
    Places(service, who).require_area(asked.area)
    if at.z >= POLYGONS_FROM:
        return _outlines(service, who, asked, at)
    revision = service.revision()
    index = site_index(service, who, asked.area)
    tile = _points(service, who, asked, at, index)
    if not is_of(index, revision, who):
        raise _Older(tile)
    return tile


def _points(service: Service, who: Person, asked: Drawn, at: Tile, index: SiteIndex) -> bytes:
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
    words, numbers = index.words, index.numbers
    columns: dict[str, Coded] = {
        "id": Coded(np.arange(len(rows)), index.ids[rows].tolist()),
        "status": words["status"].coded(rows),
        "level": words["level"].coded(rows),
        "verdict": _verdicts(service, who, index, rows),
        "area_ha": coded_numbers(numbers["area_ha"][rows], 2),
        "priority": coded_numbers(numbers["priority"][rows], 1),
        "posterior": coded_numbers(numbers["posterior"][rows], 3),
        "legality": words["legality"].coded(rows),
        "first_seen": words["first_seen"].coded(rows),
        "count": coded_counts(counts),
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

    def columns(self, rows: Positions) -> dict[str, Coded]:
        """Columns in place of those of today."""
        then = self._states.iloc[self._rows[rows]]
        return then_columns(then)


def then_columns(then: pd.DataFrame) -> dict[str, Coded]:
    """Columns of a tile from rows of `states_in`."""
    return {
        "status": coded_texts(then["status"].tolist()),
        "level": coded_texts(then["level"].tolist()),
        "area_ha": coded_numbers(then["area_ha"], 2),
        "posterior": coded_numbers(then["posterior"], 3),
    }


def _then(places: Places, index: SiteIndex, asked: Drawn) -> _Then:
    states = states_in(places, read_period(str(asked.period)), asked.area)
    name = f"then {asked.period} {asked.area!r} {view_of(places.person)} {id(index)}"
    found: _Then = places.service.kept(name, lambda _: _Then(index, states))
    return found


def _verdicts(service: Service, who: Person, index: SiteIndex, rows: Positions) -> Coded:
    if who.redacted:
        return index.words["verdict"].coded(rows)
    said = said_of(service, who)
    if not said:
        return Coded(np.full(len(rows), -1), [])
    return coded_texts([said.get(site_id, _UNSAID)[0] for site_id in index.ids[rows].tolist()])


def _outlines(service: Service, who: Person, asked: Drawn, at: Tile) -> bytes:
    states = None
    if asked.period is not None:
        states = states_in(Places(service, who), read_period(asked.period), asked.area)
    block = block_of(service, who, asked.area, at, None if states is None else states.index)
    rows = block.within(tile_box(*at, BUFFER), asked.area)
    then: dict[str, Coded] = {}
    if states is not None:
        found = states.index.get_indexer(pd.Index([block.ids[row] for row in rows.tolist()]))
        rows, found = rows[found >= 0], found[found >= 0]
        then = then_columns(states.iloc[found])
    if not len(rows):
        return b""
    tags = Tags.of(block.columns(rows) | then, np.arange(len(rows)))
    outlines = shapes_within(block.shapes[rows], *at)
    return encode_layer("sites", outlines, tags) + _places(block.places[rows], tags, at)


def _places(places: Floats, tags: Tags, at: Tile) -> bytes:
    """Where the marks of outlined sites stand.

    A shape that crosses an edge is in both tiles, its mark in the one that holds its place.
    """
    shares = places * 2.0**at.z - np.array([at.x, at.y])
    rows = np.flatnonzero(((shares >= 0) & (shares < 1)).all(axis=1))
    if not len(rows):
        return b""
    units = np.floor(shares[rows] * EXTENT).astype(np.int64)
    return encode_layer("places", point_shapes(units), tags.take(rows))


def _texts(values: Iterable[Any]) -> list[str | None]:
    return [None if value is None or value != value else str(value) for value in values]  # noqa: PLR0124 - NaN


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
    # As drawn: away from the equator a degree of latitude takes more than one of longitude.
    widest = (mercator(sides[:, [2, 1]]) - mercator(sides[:, [0, 3]])).max(axis=1)
    thick = shapely.get_dimensions(shapes) > 0
    kept = np.flatnonzero(~thick | (widest > 2.0**-at.z / 512))
    if len(kept) > MOST_POLYGONS:
        kept = np.sort(kept[np.argsort(-widest[kept], kind="stable")[:MOST_POLYGONS]])
    features, shapes = features.iloc[kept], shapes[kept]
    if not len(features):
        return b""
    columns = {name: _texts(features[name]) for name in ("name", "start", "end")}
    columns["kind"] = [layer.kind.value] * len(features)
    return encode_layer(layer.name, shapes_of(shapes, *at), columns)
