"""Tiles of registered layers: what is large enough to be seen is drawn, wherever it lies."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely

pytest.importorskip("fastapi")

from service_cases import client_of
from sluice.app.following.stores import open_store
from sluice.base.places import Layer, LayerKind
from stores import NOW

ZOOM = 8
PIXEL = 360 / 2**ZOOM / 512
"""Degrees of longitude."""


def shares(lon: float, lat: float) -> tuple[float, float]:
    return lon / 360 + 0.5, 0.5 - float(np.arcsinh(np.tan(np.radians(lat)))) / (2 * np.pi)


@pytest.mark.parametrize("lat", [0.5, 64.0, -80.0])
@pytest.mark.parametrize(("pixels", "drawn"), [(0.7, False), (1.5, True)])
@pytest.mark.parametrize("upright", [True, False])
def test_what_is_larger_than_a_pixel_is_drawn(
    tmp_path: Path, lat: float, pixels: float, drawn: bool, upright: bool
) -> None:
    long, thin = pixels * PIXEL, 0.1 * PIXEL
    # Shapes keep their angles on the map, and so grow with its scale.
    across, along = (thin, long * np.cos(np.radians(lat))) if upright else (long, 0.01 * thin)
    shape = shapely.box(20.5, lat, 20.5 + across, lat + along)
    layer = Layer(
        name="claims",
        kind=LayerKind.CONCESSIONS,
        source="a test",
        sha256="0" * 64,
        features=1,
        registered=NOW,
    )
    columns = {"name": ["one"], "start": [None], "end": [None], "properties": [{}]}
    path = tmp_path / "s.sqlite"
    with open_store(str(path), create=True) as store:
        store.put_layer(layer, gpd.GeoDataFrame(columns, geometry=[shape], crs="EPSG:4326"))
    x, y = (int(share * 2**ZOOM) for share in shares(20.5, lat))
    with client_of(path) as client:
        answer = client.get(f"/tiles/layers/claims/{ZOOM}/{x}/{y}.pbf")
    assert answer.status_code == (200 if drawn else 204)
