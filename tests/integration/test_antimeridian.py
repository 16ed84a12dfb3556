"""An area across 180 degrees of longitude: a result on each side, both whole."""

from __future__ import annotations

import json
from pathlib import Path

import antimeridian
import geopandas as gpd
import numpy as np
import pyogrio
import pyproj
import pystac
import pytest
import rasterio
import shapely

from scenes import Patch, forest_with, utm_geobox, write_dated_folder
from sluice.app.compositing import composite_all
from sluice.app.config import CompositeConfig, ScanConfig, make_config
from sluice.app.workflows import scan_all
from sluice.sites.area import geodesic_areas_ha

AREA = "179.975,-17.025,-179.975,-17.0"
SIDES = {
    "utm60": shapely.box(179.975, -17.025, 180, -17.0),
    "utm01": shapely.box(-180, -17.025, -179.975, -17.0),
}
SPAN = {"first": "2024-02", "last": "2024-02", "sensor": "s2-l2a"}
SHAPE = (500, 800)
MINE_PX = 120
"""Side of the bare square around 180 E, 17.0125 S: 1.2 km, so 72 ha on each side."""


def write_scene(folder: Path, crs: str, *, date: str) -> None:
    """A scene of one zone, 4 km to each side of the line."""
    to_zone = pyproj.Transformer.from_crs(4326, crs, always_xy=True)
    x, y = to_zone.transform(180, -17.0125)
    height, width = SHAPE
    left, top = round(x / 10) * 10 - 5 * width, round(y / 10) * 10 + 5 * height
    geobox = utm_geobox(SHAPE, left=left, top=top, crs=crs)
    mine = Patch((height - MINE_PX) // 2, (width - MINE_PX) // 2, MINE_PX, MINE_PX)
    write_dated_folder(folder, forest_with([mine], SHAPE), geobox, date=date)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder of images of both zones."""
    folder = tmp_path_factory.mktemp("fiji")
    write_scene(folder / "west", "EPSG:32760", date="20240204")
    write_scene(folder / "east", "EPSG:32701", date="20240207")
    return str(folder)


def check_item(folder: Path, name: str) -> None:
    item = pystac.Item.from_file(str(folder / "item.json"))
    outline = shapely.geometry.shape(item.geometry)
    assert outline.is_valid
    assert -180 <= outline.bounds[0] <= outline.bounds[2] <= 180
    assert item.bbox == pytest.approx(antimeridian.bbox(item.geometry))
    with rasterio.open(
        folder / item.assets["score" if "score" in item.assets else "composite"].href
    ) as image:
        truth = geodesic_areas_ha([shapely.box(*image.bounds)], image.crs.to_wkt())
    # Score maps reach up to a cell beyond the processing grid, which the outline is of.
    assert geodesic_areas_ha([outline], "EPSG:4326") == pytest.approx(truth, rel=0.06)
    assert geodesic_areas_ha([outline.intersection(SIDES[name])], "EPSG:4326") == pytest.approx(
        geodesic_areas_ha([SIDES[name]], "EPSG:4326"), rel=1e-3
    )


def test_a_scan_has_a_whole_result_on_each_side(scenes, toy_model, tmp_path) -> None:
    config = make_config(
        ScanConfig, source=scenes, area=AREA, out=tmp_path, model=str(toy_model), **SPAN
    )
    outcomes = scan_all(config)
    assert [outcome.job for outcome in outcomes] == ["utm01", "utm60"]
    found = []
    for name, side in SIDES.items():
        folder = tmp_path / name
        summary = json.loads((folder / "run.json").read_text())["summary"]
        assert summary["not_observed_percent"] == pytest.approx(0, abs=0.01)
        assert summary["area_ha"] == pytest.approx(
            geodesic_areas_ha([side], "EPSG:4326")[0], abs=0.1
        )
        item = json.loads((folder / "item.json").read_text())
        # A window's margin reaches beyond the line.
        assert item["geometry"]["type"] == "MultiPolygon"
        assert item["bbox"][0] > 179 > -179 > item["bbox"][2]
        check_item(folder, name)
        for kind in ("gpkg", "parquet", "geojson"):
            path = folder / f"sites.{kind}"
            sites = (
                gpd.read_parquet(path)
                if kind == "parquet"
                else pyogrio.read_dataframe(path, layer="sites")
            )
            assert len(sites) == 1
            assert sites.geometry.is_valid.all()
            bounds = sites.total_bounds
            assert -180 <= bounds[0] <= bounds[2] <= 180
            # Half a cell beyond the line at most.
            site = sites.geometry.iloc[0]
            assert site.difference(side.buffer(1e-6)).area <= 0.05 * site.area
            assert geodesic_areas_ha([site], "EPSG:4326") == pytest.approx(
                sites.footprint_ha, rel=1e-3
            )
            assert abs(sites.lon.iloc[0]) > 179.99
        text = json.loads((folder / "sites.geojson").read_text())
        longitudes = np.concatenate(
            [
                shapely.get_coordinates(part)[:, 0]
                for feature in text["features"]
                for part in shapely.get_parts(shapely.geometry.shape(feature["geometry"]))
            ]
        )
        assert np.abs(longitudes).max() <= 180
        found.append(summary["footprint_ha"])
    # A window at a corner of the square holds less of it: (ln 2 - 1/2) / 2 of a window is lost.
    corners_ha = 4 * (np.log(2) - 0.5) / 2 * 48**2 / 100
    assert sum(found) == pytest.approx(MINE_PX**2 / 100 - corners_ha, rel=0.1)
    assert found[0] == pytest.approx(found[1], rel=0.1)


def test_a_composite_has_a_whole_result_on_each_side(scenes, tmp_path) -> None:
    config = make_config(
        CompositeConfig, source=scenes, area=AREA, out=tmp_path, layers=("red", "green"), **SPAN
    )
    composite_all(config)
    for name in SIDES:
        folder = tmp_path / name
        summary = json.loads((folder / "run.json").read_text())["summary"]
        assert summary["not_observed_percent"] == pytest.approx(0, abs=0.01)
        check_item(folder, name)
