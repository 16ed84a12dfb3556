"""What runs saw, as map tiles: images in colours, and probabilities; and heights of the ground."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path as FilePath
from typing import Annotated, TypeVar

import numpy as np
from fastapi import APIRouter, Header, Path, Query
from starlette.responses import Response

from sluice.app.following.cover_of_runs import image_of
from sluice.app.products import layout
from sluice.app.products.elevation_files import ATTRIBUTION
from sluice.app.products.picture_tones import ColourTones
from sluice.app.web.access import Person
from sluice.app.web.answers import json_response
from sluice.app.web.errors import DOCUMENTED, NotHere
from sluice.app.web.image_tiles import (
    MOST_ZOOM,
    TileAddress,
    draw_heights,
    draw_image,
    draw_probability,
    facts_of,
    lowest_of,
    read_tones,
)
from sluice.app.web.parameters import Nothing
from sluice.app.web.places import Asks
from sluice.app.web.service import Served, Service
from sluice.base.errors import ConfigError, ItemNotFound, SourceError
from sluice.base.places import LandedRun, LayerKind
from sluice.base.store import Store

router = APIRouter(tags=["imagery"], responses=DOCUMENTED)

RunId = Annotated[str, Path(min_length=1, max_length=200)]
Zoom = Annotated[int, Path(ge=0, le=MOST_ZOOM)]
Step = Annotated[int, Path(ge=0, lt=2**MOST_ZOOM)]
_Made = TypeVar("_Made")
_A_DAY = "private, max-age=86400"


class Shown(StrEnum):
    """What a tile is cut from."""

    IMAGE = "image"
    PROBABILITY = "probability"


@dataclass(frozen=True)
class _Kept:
    """The files of one run."""

    area: str
    image: FilePath
    alike: tuple[str, str]
    """Runs whose images are shown in the same tones: area and sensor."""

    def file(self, shown: Shown) -> FilePath:
        if shown is Shown.IMAGE:
            return self.image
        return self.image.with_name(layout.PROBABILITY)


@router.get("/api/imagery/{run_id}")
def imagery(service: Served, who: Asks, run_id: RunId, _: Annotated[Nothing, Query()]) -> Response:
    """Where a run's image lies, its bands, and the addresses of its tiles, as TileJSON."""
    kept = _run(service, who, run_id)
    facts = _of_files(service, f"facts {run_id}", lambda: facts_of(kept.image))
    names = [Shown.IMAGE]
    if kept.file(Shown.PROBABILITY).is_file():
        names.append(Shown.PROBABILITY)
    told = facts.model_dump(mode="json")
    tiles = {name.value: f"/imagery/{run_id}/{name.value}/{{z}}/{{x}}/{{y}}.png" for name in names}
    return json_response(told | {"tilejson": "3.0.0", "run_id": run_id, "tiles": tiles})


@router.get(
    "/imagery/{run_id}/{shown}/{z}/{x}/{y}.png",
    responses={200: {"content": {"image/png": {}}}},
    response_class=Response,
)
def tile(
    *,
    service: Served,
    who: Asks,
    run_id: RunId,
    shown: Shown,
    z: Zoom,
    x: Step,
    y: Step,
    _: Annotated[Nothing, Query()],
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """A tile of 256 px in Web Mercator, transparent beyond the image."""
    if max(x, y) >= 2**z:
        raise ConfigError(f"there is no tile {z}/{x}/{y}: at zoom {z} they end at {2**z - 1}")
    kept = _run(service, who, run_id)
    path = kept.file(shown)
    tones = _tones(service, kept) if shown is Shown.IMAGE else None
    tag = _tag(path, tones)
    headers = {"Cache-Control": _A_DAY, "ETag": tag}
    if if_none_match == tag:
        return Response(status_code=304, headers=headers)
    address = TileAddress(z, x, y)

    def draw() -> bytes:
        return (
            draw_probability(path, address) if tones is None else draw_image(path, address, tones)
        )

    # The tag stands for the file as it is and how it is shown; who may see it was asked before.
    content = service.tiles.get_or_make((tag, address), draw, len)
    return Response(content, media_type="image/png", headers=headers)


@router.get("/api/elevation")
def elevation(service: Served, _who: Asks, _: Annotated[Nothing, Query()]) -> Response:
    """Where heights are known, as TileJSON; null where no elevation map is registered."""
    kept = service.kept("elevation maps", _elevation_maps, of=("layers",))
    if kept is None:
        return json_response(None)
    boxes = np.array([facts_of(path).bounds for path in kept.maps])
    crosses = bool((boxes[:, 0] > boxes[:, 2]).any())
    sides = [boxes[:, 0].min(), boxes[:, 1].min(), boxes[:, 2].max(), boxes[:, 3].max()]
    told = {
        "tilejson": "3.0.0",
        "tiles": [f"/elevation/{kept.version}/{{z}}/{{x}}/{{y}}.png"],
        "encoding": "terrarium",
        "bounds": [-180.0, sides[1], 180.0, sides[3]] if crosses else sides,
        "minzoom": 0,
        "maxzoom": max(facts_of(path).maxzoom for path in kept.maps),
        "attribution": ATTRIBUTION,
    }
    return json_response(told)


@router.get(
    "/elevation/{version}/{z}/{x}/{y}.png",
    responses={200: {"content": {"image/png": {}}}},
    response_class=Response,
)
def heights(
    service: Served,
    _who: Asks,
    version: Annotated[str, Path(pattern="^[0-9a-f]{12}$")],
    z: Zoom,
    x: Step,
    y: Step,
    _: Annotated[Nothing, Query()],
) -> Response:
    """A tile of heights of 256 px: metres = red x 256 + green + blue / 256 - 32768."""
    if max(x, y) >= 2**z:
        raise ConfigError(f"there is no tile {z}/{x}/{y}: at zoom {z} they end at {2**z - 1}")
    kept = service.kept("elevation maps", _elevation_maps, of=("layers",))
    if kept is None or version != kept.version:
        raise NotHere("these heights are not here any more; /api/elevation tells what is")
    try:
        content = draw_heights(kept.maps, TileAddress(z, x, y), lowest_m=kept.lowest_m)
    except SourceError as err:
        raise NotHere("the elevation map is not where it was; register it again") from err
    return Response(content, media_type="image/png", headers={"Cache-Control": _A_DAY})


@dataclass(frozen=True)
class _Heights:
    """Elevation maps that are registered as layers of slopes."""

    maps: tuple[FilePath, ...]
    lowest_m: float
    version: str
    """Of their content, so that browsers ask for tiles of others anew."""


def _elevation_maps(store: Store) -> _Heights | None:
    found: dict[FilePath, float] = {}
    told = hashlib.sha256()
    for layer in store.layers():
        if layer.kind is not LayerKind.SLOPE:
            continue
        try:
            lowest = lowest_of(FilePath(layer.source))
        except SourceError:
            # A map without its third dimension is better than none.
            continue
        if lowest is not None:
            found[FilePath(layer.source)] = lowest
            told.update(layer.sha256.encode())
    return _Heights(tuple(found), min(found.values()), told.hexdigest()[:12]) if found else None


def _run(service: Service, who: Person, run_id: str) -> _Kept:
    """The run, if this person may see its area and its image is still there."""
    kept = service.kept("imagery of runs", _runs_with_image).get(run_id)
    if kept is None or (who.areas is not None and kept.area not in who.areas):
        raise NotHere(
            f"there is no image of run {run_id!r}; /api/areas lists the runs that have one"
        )
    return kept


def _runs_with_image(store: Store) -> dict[str, _Kept]:
    return {run.run_id: kept for run in store.runs() if (kept := _kept(run)) is not None}


def _kept(run: LandedRun) -> _Kept | None:
    image = image_of(run)
    return None if image is None else _Kept(run.area, image, (run.area, run.sensor))


def _tones(service: Service, kept: _Kept) -> ColourTones:
    """Those of the latest image of the same area and sensor, so that dates can be compared."""
    runs = service.kept("imagery of runs", _runs_with_image)
    latest = [other for other in runs.values() if other.alike == kept.alike][-1]
    return _of_files(service, f"tones {latest.image}", lambda: read_tones(latest.image))


def _of_files(service: Service, name: str, make: Callable[[], _Made]) -> _Made:
    try:
        return service.kept(name, lambda _: make())
    except ItemNotFound as err:
        raise NotHere("the image of this run is not where it was; scan again to have it") from err


def _tag(path: FilePath, tones: ColourTones | None) -> str:
    try:
        stat = path.stat()
    except OSError as err:
        raise NotHere("the image of this run is not where it was; scan again to have it") from err
    told = repr((path.name, str(path.parent), stat.st_mtime_ns, stat.st_size, tones))
    return f'"{hashlib.sha256(told.encode()).hexdigest()[:24]}"'
