"""A store with known mines, for tests of what is shown of them."""

import datetime as dt
from pathlib import Path
from typing import Any

import geopandas as gpd
import shapely

from arrivals import GRID, arrival_of
from sluice.app.following.landing import add_named_area, land
from sluice.app.following.stores import open_store
from sluice.base.places import Layer, LayerKind

AREA = "ours"
# Squares of 80 m cells: row, column, side.
OLD = [(10, 10, 3), (10, 40, 4), (40, 12, 3), (70, 70, 5)]
GROWN = [(9, 9, 6), (10, 40, 4), (40, 12, 3), (70, 70, 5)]
LATE = [(30, 80, 4), (85, 30, 3), (55, 50, 3)]
QUARTERS = [OLD, OLD, GROWN, [*GROWN, *LATE]]


def write_store(path: Path) -> str:
    """Seven mines over four quarters: one grows in the third, three begin in the fourth."""
    extent = shapely.box(*GRID.boundingbox.bbox)
    area = gpd.GeoSeries([extent], crs="EPSG:32721").to_crs("EPSG:4326").envelope.iloc[0]
    west, south, east, north = area.bounds
    middle = (west + east) / 2
    store = open_store(str(path), create=True)
    add_named_area(store, AREA, area)
    layers = {
        LayerKind.DISTRICTS: {
            "Westland": shapely.box(west, south, middle, north),
            "Eastland": shapely.box(middle, south, east, north),
        },
        LayerKind.RIVERS: {"Rio Claro": shapely.LineString([(west, south), (east, north)])},
        LayerKind.PROTECTED: {
            "Quiet Forest": shapely.box(middle, (south + north) / 2, east, north)
        },
    }
    for kind, features in layers.items():
        about = Layer(
            name=kind.value,
            kind=kind,
            source="made.gpkg",
            sha256="0" * 64,
            features=len(features),
            registered=dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
        )
        shapes = list(features.values())
        nothing: list[Any] = [None] * len(shapes)
        table = {
            "name": list(features),
            "start": nothing,
            "end": nothing,
            "properties": [{} for _ in shapes],
        }
        store.put_layer(about, gpd.GeoDataFrame(table, geometry=shapes, crs="EPSG:4326"))
    for quarter, mines in enumerate(QUARTERS):
        land(store, arrival_of(quarter, mines))
    store.close()
    return str(path)
