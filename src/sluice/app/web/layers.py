"""Registered layers of context: concessions, protected areas, rivers and so on."""

from __future__ import annotations

from typing import Annotated

import geopandas as gpd
from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.responses import Response

from sluice.app.web.answers import FEATURES, feature_collection, json_response
from sluice.app.web.errors import DOCUMENTED, NotHere
from sluice.app.web.parameters import DEFAULT_LIMIT, MOST, BoxText, Nothing, Strict, read_bbox
from sluice.app.web.places import Asks
from sluice.app.web.service import Served, Service
from sluice.app.web.told import LayerTold
from sluice.base.places import Layer

router = APIRouter(prefix="/api", tags=["layers"], responses=DOCUMENTED)

LayerName = Annotated[str, Path(min_length=1, max_length=100)]


class LayerItems(Strict):
    """Which features of a layer."""

    bbox: BoxText | None = None
    limit: int = Field(default=DEFAULT_LIMIT, ge=1, le=MOST)


def layers_of(service: Service) -> dict[str, Layer]:
    """Registered layers by name."""
    found: dict[str, Layer] = service.kept(
        "layers", lambda store: {layer.name: layer for layer in store.layers()}, of=("layers",)
    )
    return found


def require_layer(service: Service, name: str) -> Layer:
    """A registered layer.

    Raises:
        NotHere: There is none of this name.
    """
    known = layers_of(service)
    if name not in known:
        raise NotHere(f"there is no layer {name!r} here; /api/layers lists those there are")
    return known[name]


@router.get("/layers", response_model=list[LayerTold])
def layers(service: Served, _who: Asks, _: Annotated[Nothing, Query()]) -> Response:
    """The registered layers."""
    return json_response(
        [
            {
                "name": layer.name,
                "kind": layer.kind,
                "features": layer.features,
                "buffer_m": layer.buffer_m,
                "licence": layer.licence,
                "registered": layer.registered,
            }
            for layer in layers_of(service).values()
        ]
    )


@router.get("/layers/{name}/items.geojson", response_class=Response, responses=FEATURES)
def items(
    service: Served, _who: Asks, name: LayerName, asked: Annotated[LayerItems, Query()]
) -> Response:
    """Features of a layer, in the order in which they were registered."""
    require_layer(service, name)
    box = None if asked.bbox is None else read_bbox(asked.bbox)
    features: gpd.GeoDataFrame = service.store.layer_features(name, box)
    part = features.iloc[: asked.limit]
    return json_response(
        feature_collection(part, numberMatched=len(features), numberReturned=len(part)),
        media_type="application/geo+json",
    )
