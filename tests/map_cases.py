"""A store with known mines, for tests of what is shown of them."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
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


def write_store(path: Path, *, images: bool = False) -> str:
    """Seven mines over four quarters: one grows in the third, three begin in the fourth.

    Args:
        path: Of the store.
        images: Whether runs leave images, in folders beside it.
    """
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
        arrival = arrival_of(quarter, mines)
        if images:
            folder = path.parent / f"run-{quarter}"
            write_image(folder, arrival.run.run_id, mines)
            run = arrival.run.model_copy(update={"folder": str(folder)})
            arrival = type(arrival)(run, arrival.detections, arrival.evidence_map)
        land(store, arrival)
    store.close()
    return str(path)


def write_image(folder: Path, run_id: str, mines: list[tuple[int, int, int]]) -> None:
    """An image of 20 m: green forest, and bare ground where mines are; and their probability."""
    folder.mkdir()
    fine = 4
    height, width = (side * fine for side in GRID.shape.yx)
    noise = np.random.default_rng(5).normal(0, 60, (height, width))
    rgb = np.stack([level + noise for level in (450, 720, 400)])
    for row, col, side in mines:
        at = slice(row * fine, (row + side) * fine), slice(col * fine, (col + side) * fine)
        for band, level in enumerate((2600, 2000, 1500)):
            rgb[band][at] = level + 6 * noise[at]
    (folder / "run.json").write_text(json.dumps({"run_id": run_id}), "utf-8")
    left, _, _, top = GRID.boundingbox.bbox
    with rasterio.open(
        folder / "composite.tif", "w", driver="GTiff", width=width, height=height, count=3,
        dtype="int16", nodata=-32768, crs="EPSG:32721",
        transform=rasterio.Affine(80 / fine, 0, left, 0, -80 / fine, top),
    ) as out:  # fmt: skip
        out.write(rgb.astype(np.int16))
        out.scales = (1e-4,) * 3
        for number, name in enumerate(("red", "green", "blue"), start=1):
            out.set_band_description(number, name)
    probability = np.full(GRID.shape.yx, 1e-4, np.float32)
    probability[:, :5] = np.nan
    for row, col, side in mines:
        probability[row : row + side, col : col + side] = 0.95
    with rasterio.open(
        folder / "probability.tif", "w", driver="GTiff", width=GRID.shape.x, height=GRID.shape.y,
        count=1, dtype="float32", nodata=np.nan, crs="EPSG:32721", transform=GRID.affine,
    ) as out:  # fmt: skip
        out.write(probability, 1)
