"""Items of each catalogue become the same scene."""

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from odc.geo import CRS

import stac_items as si
from sluice.base.errors import SourceUnavailable
from sluice.base.records import LeftOut
from sluice.base.sensors import SENSORS, find_sensor
from sluice.imagery.assets import Asset, list_assets
from sluice.imagery.radiometry import Stated
from sluice.imagery.remote import RemoteAccess
from sluice.imagery.scenes import SceneFiles
from sluice.imagery.stac.claims import OffsetClaim, UnsettledFiles
from sluice.imagery.stac.items import Reading, meets_area, scene_of_item
from sluice.imagery.stac.presets import PRESETS, Holding

L2A = find_sensor("s2-l2a")
L2A_BANDS = tuple(band.common_name for band in L2A.bands)


def read(item: si.Item, sensor: str = "s2-l2a", preset: str | None = None, **how: Any) -> Any:
    holding: Holding | None = None
    if preset is not None:
        holding = PRESETS[preset].holding(sensor, item["collection"])
        assert holding is not None
    base = how.pop("base", None)
    reading = Reading(sensor=find_sensor(sensor), holding=holding, **how)
    return scene_of_item(item, reading, base=base)


def files_of(*args: Any, **how: Any) -> SceneFiles:
    found = read(*args, **how)
    assert isinstance(found, SceneFiles), found
    return found


def reason_of(*args: Any, **how: Any) -> str:
    found = read(*args, **how)
    assert isinstance(found, LeftOut), found
    return found.reason


PRESET_ITEMS = {
    "earth-search c1": ("earth-search", si.earth_search_c1),
    "earth-search": ("earth-search", si.earth_search_l2a),
    "planetary-computer": ("planetary-computer", si.planetary_computer_l2a),
    "cdse": ("cdse", si.cdse_l2a),
}


@pytest.mark.parametrize("with_table", [True, False], ids=["by table", "recognised"])
@pytest.mark.parametrize("name", PRESET_ITEMS)
def test_surface_reflectance_of_each_catalogue(name: str, with_table: bool) -> None:
    preset, make = PRESET_ITEMS[name]
    access = RemoteAccess(timeout_s=5)
    item = make()
    files = files_of(item, preset=preset if with_table else None, access=access, bands=L2A_BANDS)
    scene = files.scene
    assert scene.bands == tuple(files.bands) == L2A_BANDS
    assert scene.sensor == "s2-l2a"
    assert scene.tile == "21MVN"
    assert scene.processing_baseline == "05.11"
    assert scene.cloud_cover == 12.5
    assert scene.acquired == dt.date(2024, 8, 1)
    assert scene.acquired_at == dt.datetime(2024, 8, 1, 13, 50, 9, 24000, tzinfo=dt.UTC)
    assert scene.href == item["links"][0]["href"]
    assert scene.id == item["id"]
    for band in L2A.bands:
        asset = files.bands[band.common_name]
        # Each band in its own resolution, from the file that its name says.
        assert asset.geobox.affine == Affine(band.gsd_m, 0, si.LEFT, 0, -band.gsd_m, si.TOP)
        assert asset.geobox.shape == (109800 / band.gsd_m,) * 2
        assert asset.geobox.crs == CRS("EPSG:32721")
        assert f"{band.name}." in asset.href or f"_{band.name}_" in asset.href
        assert asset.dtype == "uint16"
        assert asset.nodata == 0
        assert asset.scale == pytest.approx(1e-4)
        assert asset.access is access
        assert not asset.is_power
    assert scene.sky_layer == "scl"
    assert files.sky is not None
    assert (files.sky.dtype, files.sky.nodata, files.sky.scale) == ("uint8", None, 1)
    assert "SCL" in files.sky.href
    assert files.sky.geobox.affine.a == 20


def test_sizes_of_files() -> None:
    assert files_of(si.earth_search_c1()).bands["red"].size_bytes == 23_000_000
    assert files_of(si.cdse_l2a()).bands["red"].size_bytes == 9_000_000
    assert files_of(si.planetary_computer_l2a()).bands["red"].size_bytes is None


def test_geotiffs_before_the_originals() -> None:
    item = si.earth_search_l2a()
    # Listed first, so that order does not decide.
    item["assets"] = {"red-jp2": item["assets"]["red-jp2"]} | item["assets"]
    for preset in ("earth-search", None):
        files = files_of(item, preset=preset)
        assert all(a.href.endswith(".tif") for a in (*files.bands.values(), files.sky))  # type: ignore[union-attr]


def test_top_of_atmosphere() -> None:
    files = files_of(si.earth_search_l1c(), "s2-l1c", "earth-search")
    assert tuple(files.bands) == tuple(b.common_name for b in SENSORS["s2-l1c"].bands)
    assert files.bands["cirrus"].href.startswith("s3://sentinel-s2-l1c/")
    assert files.sky is None
    assert files.scene.sky_layer is None
    holding = PRESETS["earth-search"].holding("s2-l1c")
    assert holding is not None
    assert holding.requester_pays


def test_terrain_corrected_radar() -> None:
    files = files_of(si.planetary_computer_rtc(), "s1", "planetary-computer", bands=("vv", "vh"))
    assert tuple(files.bands) == ("vv", "vh")
    assert type(files) is SceneFiles
    asset = files.bands["vh"]
    assert asset.is_power
    assert (asset.dtype, asset.nodata, asset.scale, asset.offset) == ("float32", -32768, 1, 0)
    assert asset.geobox.shape == (20000, 26000)
    scene = files.scene
    assert scene.orbit_state == "ascending"
    assert scene.acquired_at == dt.datetime(2024, 8, 1, 9, tzinfo=dt.UTC)
    assert scene.tile is None
    assert scene.processing_baseline is None


def test_radar_in_decibels_is_no_power() -> None:
    item = si.planetary_computer_rtc()
    for asset in item["assets"].values():
        asset["raster:bands"][0]["unit"] = "dB"
    assert not files_of(item, "s1").bands["vv"].is_power


def test_radar_that_is_not_terrain_corrected() -> None:
    item = si.planetary_computer_rtc() | {"collection": "sentinel-1-grd"}
    item["id"] = item["id"].removesuffix("_rtc")
    assert "terrain-corrected" in reason_of(item, "s1")


def test_radar_counts_without_a_meaning() -> None:
    item = si.planetary_computer_rtc()
    for asset in item["assets"].values():
        asset["raster:bands"][0]["data_type"] = "uint16"
    assert "does not say what they mean" in reason_of(item, "s1")


@pytest.mark.parametrize(
    ("make", "claim"),
    [
        (si.earth_search_c1, (True, True)),
        (lambda: si.earth_search_l2a(applied=True), (False, True)),
        (lambda: si.earth_search_l2a(applied=False), (True, False)),
        (lambda: si.earth_search_l2a(baseline="02.14", applied=False), (False, True)),
        (si.planetary_computer_l2a, (True, True)),
        (lambda: si.planetary_computer_l2a(baseline="03.01"), (False, True)),
        # Reprocessed: the image is old, and the 1000 is there.
        (lambda: si.planetary_computer_l2a("2019-07-01", "05.00"), (True, True)),
        (si.cdse_l2a, (True, True)),
        (lambda: si.cdse_l2a("2019-07-01", "02.13"), (True, False)),
        (si.earth_search_l1c, (False, False)),
        (lambda: si.earth_search_l1c("2019-07-01", "02.07"), (False, True)),
    ],
)
def test_what_is_claimed_of_the_1000(make: Any, claim: tuple[bool, bool]) -> None:
    item = make()
    sensor = "s2-l1c" if item["collection"].endswith("l1c") else "s2-l2a"
    files = files_of(item, sensor)
    assert isinstance(files, UnsettledFiles)
    assert (files.claim.shifted, files.claim.is_sure) == claim
    expected = -0.1 if files.claim.shifted else 0
    assert files.scene.offset == pytest.approx(expected)
    assert {a.offset for a in files.bands.values()} == {files.scene.offset}


def test_a_flag_about_geotiffs_says_nothing_of_the_originals() -> None:
    item = si.earth_search_l2a(applied=True)
    item["assets"] = {key: a for key, a in item["assets"].items() if key.endswith("-jp2")}
    for key in list(item["assets"]):
        item["assets"][key.removesuffix("-jp2")] = item["assets"].pop(key)
    files = files_of(item)
    assert isinstance(files, UnsettledFiles)
    assert files.claim == OffsetClaim(shifted=True, is_sure=True, source="item's raster:bands")


def test_nobody_claims_anything() -> None:
    item = si.planetary_computer_l2a()
    item["properties"] = {"datetime": item["properties"]["datetime"], "proj:epsg": si.EPSG}
    files = files_of(item | {"id": "an image"})
    assert isinstance(files, UnsettledFiles)
    assert files.claim.shifted is None
    assert files.scene.id == "an_image"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"offset": -0.2}, "states an offset of -0.2"),
        ({"scale": 2.75e-5}, "states a scale of 2.75e-05"),
    ],
)
def test_radiometry_that_sentinel_2_does_not_have(change: dict[str, float], reason: str) -> None:
    item = si.earth_search_c1()
    item["assets"]["green"]["raster:bands"][0] |= change
    assert reason in reason_of(item)


def test_bands_of_different_offsets() -> None:
    item = si.earth_search_c1()
    item["assets"]["green"]["raster:bands"][0]["offset"] = 0
    assert "different offsets" in reason_of(item)


def test_flags_come_first() -> None:
    both = files_of(si.earth_search_c1(), stated=Stated(0.0002, -0.05, 7))
    assert type(both) is SceneFiles
    red = both.bands["red"]
    assert (red.scale, red.offset, red.nodata) == (0.0002, -0.05, 7)
    assert both.scene.radiometry_from == "flags"
    offset = files_of(si.earth_search_c1(), stated=Stated(offset=0.0))
    assert type(offset) is SceneFiles
    assert (offset.scene.scale, offset.scene.offset) == (pytest.approx(1e-4), 0)
    scale = files_of(si.earth_search_c1(), stated=Stated(scale=0.0002))
    assert isinstance(scale, UnsettledFiles)
    assert scale.scene.offset == pytest.approx(-0.2)


def test_planet_without_a_scale_and_with_one() -> None:
    bands = [{"name": name} for name in ("blue", "green", "red", "nir")]
    item = si.planetary_computer_l2a()
    asset = {"href": "https://x.test/a.tif", "type": si.COG, "bands": bands}
    item["assets"] = {"analytic": asset | {"proj:code": "EPSG:32721"} | _grid(3)}
    item["properties"] = {"datetime": item["properties"]["datetime"]}
    assert "give --scale and --offset" in reason_of(item, "planet-4b")
    item["assets"]["analytic"] |= {"raster:scale": 0.0001, "data_type": "uint16", "nodata": 0}
    files = files_of(item, "planet-4b")
    assert {name: a.index for name, a in files.bands.items()} == {
        "blue": 1,
        "green": 2,
        "red": 3,
        "nir": 4,
    }
    assert files.scene.scale == pytest.approx(1e-4)


def _grid(gsd: int) -> dict[str, Any]:
    return {"proj:shape": [100, 100], "proj:transform": [gsd, 0, si.LEFT, 0, -gsd, si.TOP]}


def test_a_band_that_is_missing() -> None:
    item = si.earth_search_c1()
    del item["assets"]["swir16"]
    reason = reason_of(item, preset="earth-search", bands=("red", "swir16"))
    assert "has no swir16; its bands: coastal, blue" in reason
    assert files_of(item, preset="earth-search", bands=("red",))


# Grids


def test_grid_at_the_item_and_in_other_words() -> None:
    item = si.planetary_computer_l2a()
    crs = rasterio.crs.CRS.from_epsg(si.EPSG)
    for asset in item["assets"].values():
        asset.pop("proj:transform", None)
        asset.pop("proj:shape", None)
    side = 109800
    item["properties"] |= {
        "proj:epsg": None,
        "proj:wkt2": crs.to_wkt(),
        "proj:shape": [10980, 10980],
        "proj:bbox": [si.LEFT, si.TOP - side, si.LEFT + side, si.TOP],
    }
    red = files_of(item).bands["red"]
    assert red.geobox.affine == Affine(10, 0, si.LEFT, 0, -10, si.TOP)
    assert red.geobox.shape == (10980, 10980)
    del item["properties"]["proj:shape"]
    item["properties"]["proj:transform"] = [20, 0, si.LEFT, 0, -20, si.TOP]
    assert files_of(item).bands["red"].geobox.shape == (5490, 5490)


def test_grid_from_the_header_where_the_item_is_silent(tmp_path: Path) -> None:
    path = tmp_path / "scene.tif"
    _write(path)
    asked: list[str] = []

    def open_header(href: str, access: RemoteAccess | None) -> list[Asset]:
        asked.append(href)
        return list_assets(path)

    item = si.planetary_computer_l2a()
    del item["properties"]["proj:epsg"]
    files = files_of(item, bands=("red", "nir"), open_header=open_header)
    # Only what is needed is opened.
    assert set(files.bands) == {"red", "nir"}
    assert len(asked) == 3
    assert files.bands["red"].geobox.shape == (40, 50)
    assert files.bands["red"].nodata == 0
    assert files.sky is not None
    assert "on which grid" in reason_of(item, bands=("red",))

    def fail(href: str, access: RemoteAccess | None) -> list[Asset]:
        raise SourceUnavailable("no answer")

    assert "cannot be read: no answer" in reason_of(item, bands=("red",), open_header=fail)


def _write(path: Path) -> None:
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=50,
        height=40,
        count=1,
        dtype="uint16",
        crs=f"EPSG:{si.EPSG}",
        transform=Affine(10, 0, si.LEFT, 0, -10, si.TOP),
    ) as dataset:
        dataset.write(np.ones((1, 40, 50), np.uint16))


def test_a_transform_in_gdal_order() -> None:
    item = si.planetary_computer_l2a()
    for asset in item["assets"].values():
        if "proj:transform" in asset:
            a, b, c, d, e, f = asset["proj:transform"]
            asset["proj:transform"] = [c, a, b, f, d, e]
    assert "elsewhere than its outline" in reason_of(item)


@pytest.mark.parametrize(
    "wrong",
    [
        {"proj:shape": [0, 0]},
        {"proj:transform": [0, 0, 0, 0, 0, 0]},
        {"proj:transform": ["a"] * 6},
        {"proj:shape": [10**9, 10**9]},
    ],
)
def test_nonsense_instead_of_a_grid(wrong: dict[str, Any]) -> None:
    item = si.planetary_computer_l2a()
    for asset in item["assets"].values():
        asset.update(wrong)
    assert "on which grid" in reason_of(item, bands=("red",))


# Places


def test_where_a_scene_is_seen() -> None:
    item = si.earth_search_c1()
    files = files_of(item)
    assert meets_area(item, files, shapely.box(*si.AREA))
    assert not meets_area(item, files, shapely.box(-50, -7, -49, -6))
    # Within the tile, and outside of what was seen.
    half = item | {"geometry": shapely.box(-57.9, -7.32, -57.45, -6.33).__geo_interface__}
    assert not meets_area(half, files, shapely.box(-57.1, -6.9, -57.0, -6.8))
    # Drawn round the world the wrong way: the grid tells.
    wild = item | {"geometry": shapely.box(-179.9, -7.3, 179.9, -6.3).__geo_interface__}
    assert meets_area(wild, files, shapely.box(*si.AREA))
    assert not meets_area(wild, files, shapely.box(10, -7, 11, -6.5))


def test_no_outline_at_all() -> None:
    item = si.earth_search_c1() | {"geometry": None, "bbox": None}
    assert meets_area(item, files_of(item), shapely.box(*si.AREA))


# Addresses


def relative_item() -> si.Item:
    item = si.earth_search_c1()
    for key, asset in item["assets"].items():
        asset["href"] = f"./files/{key}.tif"
    return item


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        (None, "https://catalogue.test/v1/collections/sentinel-2-c1-l2a/items/files/red.tif"),
        ("http://other.test/a/item.json?token=x", "http://other.test/a/files/red.tif"),
        ("s3://bucket/deep/item.json", "s3://bucket/deep/files/red.tif"),
    ],
)
def test_relative_addresses(base: str | None, expected: str) -> None:
    assert files_of(relative_item(), base=base).bands["red"].href == expected


def test_relative_paths(tmp_path: Path) -> None:
    files = files_of(relative_item(), base=str(tmp_path / "item.json"), access=RemoteAccess())
    assert Path(files.bands["red"].href) == tmp_path / "files" / "red.tif"
    # Access is for addresses.
    assert files.bands["red"].access is None


@pytest.mark.parametrize(
    "href", ["file:///etc/passwd", "ftp://x.test/a.tif", "gs://bucket/a.tif", "C:\\secret.tif"]
)
def test_addresses_that_are_not_followed(href: str) -> None:
    item = si.earth_search_c1()
    item["assets"]["red"]["href"] = href
    assert "read" in reason_of(item)


def test_a_path_named_by_a_server_is_one_on_the_server() -> None:
    item = si.earth_search_c1()
    item["assets"]["red"]["href"] = "/etc/passwd"
    assert files_of(item).bands["red"].href == "https://catalogue.test/etc/passwd"


def test_virtual_file_systems_are_not_followed(tmp_path: Path) -> None:
    item = si.earth_search_c1()
    item["assets"]["red"]["href"] = "/vsizip/a.zip/b.tif"
    assert "virtual" in reason_of(item, base=str(tmp_path / "item.json"))


def test_relative_to_nothing() -> None:
    assert "is relative" in reason_of(relative_item() | {"links": []})


def test_no_secrets_in_records() -> None:
    item = si.earth_search_c1()
    item["links"][0]["href"] = "https://user:pass@catalogue.test/item?sig=secret"
    assert files_of(item).scene.href == "https://catalogue.test/item"
    del item["assets"]["red"]
    found = read(item, bands=("red",))
    assert found.href == "https://catalogue.test/item"


@pytest.mark.parametrize("name", ["../../etc", "a/b:c*d", "", "x" * 500, "Ø"])
def test_ids_are_legal_file_names(name: str) -> None:
    safe = files_of(si.earth_search_c1() | {"id": name}).scene.id
    assert safe
    assert len(safe) <= 120
    assert not set(safe) & set('/\\:*?"<>|')
    assert not safe.startswith(".")
