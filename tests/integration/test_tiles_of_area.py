"""Of an area that is not a box, only the tiles that it needs are read."""

from __future__ import annotations

import json

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from rasterio.features import geometry_mask

from scenes import Patch, forest_with, lonlat, utm_geobox, write_dated_folder
from sluice.app import planning
from sluice.app.compositing import composite
from sluice.app.config import CompositeConfig, ScanConfig, make_config
from sluice.app.workflows import scan

SHAPE = (900, 900)
GRID = utm_geobox(SHAPE)
SPAN = {"first": "2024-02", "last": "2024-02", "sensor": "s2-l2a", "tile_px": 192}


def rectangle(row: int, col: int, end_row: int, end_col: int) -> shapely.Polygon:
    corners = ((row, col), (row, end_col), (end_row, end_col), (end_row, col))
    return shapely.Polygon([lonlat(GRID, *corner) for corner in corners])


@pytest.fixture
def inputs(tmp_path):
    """A scene, and an L along its west and south sides that cuts through one of two mines."""
    mines = [Patch(300, 20, 120, 160), Patch(100, 500, 120, 120)]
    folder = tmp_path / "scenes" / "a"
    write_dated_folder(folder, forest_with(mines, SHAPE), GRID, date="20240204")
    area = shapely.union_all([rectangle(20, 20, 880, 120), rectangle(780, 20, 880, 880)])
    path = tmp_path / "l.geojson"
    gpd.GeoSeries([area], crs="EPSG:4326").to_file(path)
    return {"source": str(folder.parent), "area": str(path)}, area


def inside(path, area) -> np.ndarray:
    with rasterio.open(path) as image:
        shape = gpd.GeoSeries([area], crs="EPSG:4326").to_crs(image.crs)
        mask = geometry_mask(shape, image.shape, image.transform, invert=True)
        return image.read(1)[mask]


def tiles(out) -> int:
    return len(json.loads((out / "run.json").read_text())["tiles"])


def test_a_scan_leaves_out_tiles_far_from_the_area(
    inputs, toy_model, tmp_path, monkeypatch
) -> None:
    settings, area = inputs
    out = tmp_path / "out"
    finished = scan(make_config(ScanConfig, out=out, model=str(toy_model), **settings, **SPAN))
    assert finished.summary.sites == 1
    assert finished.summary.not_observed_percent == 0
    with rasterio.open(out / "score.tif") as score:
        assert np.isnan(score.read(1)).any()
    # The same inside as where its whole box is scanned.
    monkeypatch.setattr(planning, "needed_by", lambda *_: None)
    scan(make_config(ScanConfig, out=tmp_path / "box", model=str(toy_model), **settings, **SPAN))
    assert tiles(out) < 0.8 * tiles(tmp_path / "box")
    np.testing.assert_array_equal(
        inside(out / "score.tif", area), inside(tmp_path / "box" / "score.tif", area)
    )


def test_a_composite_leaves_out_tiles_outside_the_area(inputs, tmp_path) -> None:
    settings, area = inputs
    out = tmp_path / "out"
    finished = composite(make_config(CompositeConfig, out=out, layers=("red",), **settings, **SPAN))
    assert finished.summary.not_observed_percent == 0
    assert tiles(out) < 16
    values = inside(out / "composite.tif", area)
    assert (values > 0).all()
