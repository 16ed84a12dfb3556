"""Numbers in items and flags that are none, or make no sense."""

import copy
from typing import Any

import numpy as np
import pytest
import shapely
from odc.geo import CRS

import stac_items as si
from sluice.base.errors import ConfigError
from sluice.base.records import LeftOut
from sluice.base.sensors import find_sensor
from sluice.imagery.radiometry import Stated
from sluice.imagery.scenes import SceneFiles
from sluice.imagery.stac.catalogues import open_catalogue
from sluice.imagery.stac.grids import grid_of
from sluice.imagery.stac.items import Reading, outline_of, scene_of_item

NAN, INFINITE = float("nan"), float("inf")
GRID = {
    "proj:code": "EPSG:32721",
    "proj:shape": [100, 100],
    "proj:transform": [3, 0, si.LEFT, 0, -3, si.TOP],
}


def files_of(item: si.Item, sensor: str = "s2-l2a", **how: Any) -> SceneFiles:
    found = scene_of_item(item, Reading(find_sensor(sensor), **how))
    assert isinstance(found, SceneFiles), found
    return found


def reason_of(item: si.Item, sensor: str = "s2-l2a", **how: Any) -> str:
    found = scene_of_item(item, Reading(find_sensor(sensor), **how))
    assert isinstance(found, LeftOut), found
    return found.reason


def bare(item: si.Item, *names: str) -> si.Item:
    """Without what `names` say of grid and pixels."""
    for asset in item["assets"].values():
        for place in (asset, *asset.get("raster:bands", ())):
            for name in names:
                place.pop(name, None)
    return item


@pytest.mark.parametrize("value", [NAN, INFINITE, -INFINITE])
@pytest.mark.parametrize("name", ["scale", "offset", "nodata", "spatial_resolution"])
def test_pixel_facts_that_are_no_numbers_are_absent(name: str, value: float) -> None:
    item = si.earth_search_c1()
    for asset in item["assets"].values():
        for band in asset.get("raster:bands", ()):
            band[name] = value
    assert files_of(item) == files_of(bare(si.earth_search_c1(), name))


@pytest.mark.parametrize("value", [NAN, INFINITE])
def test_scene_facts_that_are_no_numbers_are_absent(value: float) -> None:
    item = si.earth_search_c1(**{"eo:cloud_cover": value})
    item["bbox"] = [value] * 4
    for asset in item["assets"].values():
        asset |= {"file:size": value, "gsd": value}
    files = files_of(item)
    assert files.scene.cloud_cover is None
    assert files.bands["red"].size_bytes is None
    item["geometry"] = copy.deepcopy(item["geometry"])
    item["geometry"]["coordinates"][0][1] = [value, value]
    assert outline_of(item) is None
    item["bbox"] = list(si.AREA)
    assert outline_of(item) == shapely.box(*si.AREA)


@pytest.mark.parametrize("value", [NAN, INFINITE])
@pytest.mark.parametrize("name", ["proj:shape", "proj:transform"])
def test_a_grid_of_no_numbers_is_none(name: str, value: float) -> None:
    item = si.earth_search_c1()
    asset = item["assets"]["red"]
    assert grid_of(item, asset) is not None
    asset[name] = [value, *asset[name][1:]]
    assert grid_of(item, asset) is None
    assert "on which grid it lies" in reason_of(item, bands=("red",))


def test_a_code_that_is_no_number_does_not_hide_another() -> None:
    item = si.earth_search_c1()
    asset = item["assets"]["red"]
    for name in ("proj:code", "proj:epsg"):
        item["properties"].pop(name, None)
        asset.pop(name, None)
    assert grid_of(item, asset) is None
    # Floating point in tables with gaps.
    asset |= {"proj:code": NAN, "proj:epsg": float(si.EPSG)}
    grid = grid_of(item, asset)
    assert grid is not None
    assert grid.crs == CRS(f"EPSG:{si.EPSG}")


def test_nan_as_nodata_of_floating_point_stays() -> None:
    item = si.earth_search_c1()
    for asset in item["assets"].values():
        for band in asset.get("raster:bands", ()):
            band |= {"nodata": "nan", "data_type": "float32"}
    nodata = files_of(item).bands["red"].nodata
    assert nodata is not None
    assert np.isnan(nodata)


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        (Stated(scale=0.0), "--scale 0 makes all values equal"),
        (Stated(scale=0.0, offset=0.0), "--scale 0 makes all values equal"),
        (Stated(scale=-0.0001, offset=1.0), "--scale -0.0001 turns bright into dark"),
        (Stated(scale=NAN), "--scale nan is no number"),
        (Stated(scale=0.0001, offset=INFINITE), "--offset inf is no number"),
    ],
)
def test_flags_that_make_no_sense(stated: Stated, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        files_of(si.earth_search_c1(), stated=stated)
    with pytest.raises(ConfigError, match=message):
        open_catalogue("earth-search", "s2-l2a", stated=stated)


def test_a_stated_scale_that_makes_no_sense() -> None:
    item = si.planetary_computer_l2a()
    bands = [{"name": name} for name in ("blue", "green", "red", "nir")]
    asset = {"href": "https://x.test/a.tif", "type": si.COG, "bands": bands, "raster:scale": 0}
    item["assets"] = {"analytic": asset | GRID}
    assert "states a scale of 0" in reason_of(item, "planet-4b")
