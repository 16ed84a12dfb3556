"""Areas and layers that people send."""

from __future__ import annotations

import contextlib
import logging
import shlex
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field
from starlette.responses import Response

from sluice.app.following.applying import apply_layers, areas_near
from sluice.app.following.landing import add_named_area
from sluice.app.following.layers import far_from_areas
from sluice.app.web.access import Person, Role, require
from sluice.app.web.answers import json_response
from sluice.app.web.errors import DOCUMENTED, Busy, ErrorAnswer, Forbidden
from sluice.app.web.guards import LARGER_BODIES
from sluice.app.web.parameters import Name, Strict
from sluice.app.web.service import Served, Service
from sluice.app.web.settings import Settings
from sluice.app.web.upload_reading import (
    Limits,
    UploadedLayer,
    Wanted,
    read_uploaded_area,
    read_uploaded_layer,
    receive,
    upload_folder,
)
from sluice.app.web.views import bounds_of
from sluice.base.errors import Conflict, SluiceError
from sluice.base.places import LayerKind
from sluice.sites.area import geodesic_areas_ha

_MORE: dict[int | str, dict[str, Any]] = {
    409: {"model": ErrorAnswer, "description": "There is one of this name."},
    413: {"model": ErrorAnswer, "description": "The file is too large."},
    507: {"model": ErrorAnswer, "description": "The service's disk is full."},
}
router = APIRouter(prefix="/api", tags=["uploads"], responses=DOCUMENTED | _MORE)

_LOG = logging.getLogger("sluice.web")
JUDGED_AT_ONCE = 10_000
"""Sites and detections that are judged while the sender waits: some seconds, in which nobody else
can write to a store in a file."""
_AREA_BYTES, _AREA_VERTICES, _AREA_PARTS = 10_000_000, 100_000, 10_000
_LAYER_VERTICES, _LAYER_FEATURES = 5_000_000, 300_000
# The limits of `Settings` hold; this lets their bodies through.
LARGER_BODIES.update({"/api/layers": 1_000_000_000, "/api/areas": _AREA_BYTES})
_FILE = r"^[^/\\\x00-\x1f]{1,100}$"
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The file itself: GeoPackage, GeoJSON, FlatGeobuf or KML.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}

Analyst = Annotated[Person, Depends(require(Role.ANALYST))]
Text = Annotated[str | None, Field(min_length=1, max_length=100)]


class AreaUpload(Strict):
    """What the area is called, and the file's name."""

    name: Name
    file: str = Field(default="area.geojson", pattern=_FILE)


class LayerUpload(Strict):
    """What the layer is, the file's name, and which of its columns say what."""

    name: Name
    file: str = Field(pattern=_FILE)
    kind: LayerKind
    buffer: str = Field(default="0 m", max_length=20)
    licence: str = Field(default="", max_length=500)
    name_column: Text = None
    id_column: Text = None
    start_column: Text = None
    end_column: Text = None
    replace: bool = False


class AreaAdded(Strict):
    """An area that is followed now."""

    name: str
    bbox: list[float]
    hectares: float


class LayerAdded(Strict):
    """A layer that is registered now."""

    name: str
    kind: LayerKind
    features: int
    notes: list[str]
    """What was mended or left out, and what was judged by it, or has to be."""


class Turns:
    """Uploads that go on at a time."""

    def __init__(self, at_once: int) -> None:
        """Begin with all of them free."""
        self._lock = threading.Lock()
        self._free = at_once

    @contextlib.contextmanager
    def take(self) -> Iterator[None]:
        """A turn.

        Raises:
            Busy: There is none.
        """
        with self._lock:
            if self._free < 1:
                raise Busy("others send files at this moment; try again in a minute")
            self._free -= 1
        try:
            yield
        finally:
            with self._lock:
                self._free += 1


def _turns(request: Request) -> Turns:
    state = request.app.state
    if not hasattr(state, "upload_turns"):
        state.upload_turns = Turns(state.settings.uploads_at_once)
    turns: Turns = state.upload_turns
    return turns


@router.post("/areas", status_code=201, response_model=AreaAdded, openapi_extra=_BODY)
async def add_area(
    request: Request, service: Served, who: Analyst, asked: Annotated[AreaUpload, Query()]
) -> Response:
    """Follow an area: the polygons of the file."""
    if who.areas is not None and asked.name not in who.areas:
        raise Forbidden(
            f"{who.name} may see some areas only, and would not see {asked.name!r}; ask whoever "
            "runs the service"
        )
    settings: Settings = request.app.state.settings
    most = min(_AREA_BYTES, int(settings.upload_mb * 1e6))
    limits = Limits(most, _AREA_VERTICES, _AREA_PARTS, settings.upload_s)
    wanted = Wanted("area", asked.file)
    with _turns(request).take(), upload_folder() as folder:
        path = await receive(request.stream(), Path(folder), asked.file, limits)
        geometry = await run_sync(read_uploaded_area, path, wanted, limits)
    await run_sync(add_named_area, service.store, asked.name, geometry)
    service.written()
    hectares = float(geodesic_areas_ha([geometry], "EPSG:4326")[0])
    told = {
        "name": asked.name,
        "bbox": bounds_of(geometry),
        "hectares": round(hectares, 1),
    }
    return json_response(told, 201)


@router.post("/layers", status_code=201, response_model=LayerAdded, openapi_extra=_BODY)
async def add_layer(
    request: Request, service: Served, who: Analyst, asked: Annotated[LayerUpload, Query()]
) -> Response:
    """Register a layer of context, and judge what lies near it anew; `notes` say what was mended or
    left out, what is told otherwise, and which command judges what is too much for a request."""
    if who.areas is not None:
        raise Forbidden(f"{who.name} may see some areas only, and layers are those of all")
    if asked.kind is LayerKind.SLOPE:
        raise Forbidden("slopes are rasters, which stay where they are; use `sluice context add`")
    settings: Settings = request.app.state.settings
    limits = Limits(
        int(settings.upload_mb * 1e6), _LAYER_VERTICES, _LAYER_FEATURES, settings.upload_s
    )
    wanted = Wanted(
        "layer",
        asked.file,
        asked.name,
        asked.kind.value,
        asked.buffer,
        asked.licence,
        {
            "name": asked.name_column,
            "id": asked.id_column,
            "start": asked.start_column,
            "end": asked.end_column,
        },
    )
    await run_sync(_refuse_known, service, asked)
    with _turns(request).take(), upload_folder() as folder:
        path = await receive(request.stream(), Path(folder), asked.file, limits)
        found = await run_sync(read_uploaded_layer, path, wanted, limits)
    await run_sync(_refuse_known, service, asked)
    notes = await run_sync(_register, service, found)
    told = {
        "name": found.layer.name,
        "kind": found.layer.kind,
        "features": len(found.features),
        "notes": [*found.notes, *notes],
    }
    return json_response(told, 201)


def _register(service: Service, found: UploadedLayer) -> list[str]:
    """Put a layer into the store, and judge what lies near it; gives notes."""
    store, layer = service.store, found.layer
    was = [store.layer_features(one.name) for one in store.layers() if one.name == layer.name]
    store.put_layer(layer, found.features)
    service.written()
    far = far_from_areas(found.features, store.areas())
    near = areas_near(store, [found.features, *was], buffer_m=layer.buffer_m)
    return [*([far] if far else []), *_judge(service, near)]


def _judge(service: Service, names: list[str]) -> list[str]:
    """Judge areas by the layers as they are now, as many as may be waited for; gives notes.

    The layer is registered whatever becomes of this, and the command can be given at any time.
    """
    notes, left, most = [], [], JUDGED_AT_ONCE
    for name in names:
        held = service.store.area_rows(name)
        rows = held.get("sites", 0) + held.get("detections", 0)
        try:
            if rows > most:
                left.append(name)
                continue
            with service.writing():
                notes.append(apply_layers(service.store, name).text.removesuffix("."))
            most -= rows
        except SluiceError as err:
            _LOG.warning("%s: not judged by a layer that was sent: %s", name, err)
            left.append(name)
    if left:
        option = f" --area-name {shlex.quote(left[0])}" if len(left) == 1 else ""
        notes.append(
            f"what is said in {', '.join(left)} changes with `sluice context apply{option}` on the "
            "service's computer, or when a run next lands"
        )
    return notes


def _refuse_known(service: Service, asked: LayerUpload) -> None:
    """Refuse a name that is taken, unless it is to be replaced."""
    if not asked.replace and any(one.name == asked.name for one in service.store.layers()):
        raise Conflict(
            f"there is a layer {asked.name!r} already; send replace=true, or another name"
        )
