"""Folders of dated images, looked up like a catalogue; and where a grid lies on Earth."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo import CRS
from odc.geo.geobox import GeoBox

from sluice.base.errors import ConfigError, ItemNotFound
from sluice.base.grid import utm_crs
from sluice.base.periods import Period
from sluice.imagery.footprints import footprint_lonlat, meets
from sluice.imagery.image_folders import open_folder
from sluice.imagery.scenes import SceneImages

WriteTif = Callable[..., Path]

HERE = shapely.box(-2.1, 6.32, -2.08, 6.34)
ELSEWHERE = shapely.box(10, 6.32, 10.1, 6.34)
YEAR = Period(dt.date(2024, 1, 1), dt.date(2024, 12, 31))
COUNTS = np.random.default_rng(1).integers(1001, 4000, (64, 64), dtype=np.uint16)
COLOURS = ("blue", "green", "red", "nir")
L1C = """<?xml version="1.0" encoding="UTF-8"?>
<n1:Level-1C_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/x.xsd">
  <n1:General_Info>
    <PRODUCT_START_TIME>2024-03-01T10:34:21.024Z</PRODUCT_START_TIME>
    <PROCESSING_LEVEL>Level-1C</PROCESSING_LEVEL>
    <PROCESSING_BASELINE>05.10</PROCESSING_BASELINE>
    <SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT><SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX>
    <QUANTIFICATION_VALUE unit="none">10000</QUANTIFICATION_VALUE>
    <RADIO_ADD_OFFSET band_id="1">-1000</RADIO_ADD_OFFSET>
    <RADIO_ADD_OFFSET band_id="3">-1000</RADIO_ADD_OFFSET>
  </n1:General_Info>
  <Cloud_Coverage_Assessment>12.5</Cloud_Coverage_Assessment>
</n1:Level-1C_User_Product>
"""
PRODUCT = "S2B_MSIL1C_20240301T103421_N0510_R108_T30NXM_20240301T120000"


def write_product(root: Path, write_tif: WriteTif, name: str = PRODUCT) -> None:
    images = root / f"{name}.SAFE" / "GRANULE" / "L1C_T30NXM_A044444_20240301T103421" / "IMG_DATA"
    lossless = {"driver": "JP2OpenJPEG", "QUALITY": "100", "REVERSIBLE": "YES"}
    for band in ("B02", "B04"):
        write_tif(images / f"T30NXM_20240301T103421_{band}.jp2", COUNTS, **lossless)
    (root / f"{name}.SAFE" / "MTD_MSIL1C.xml").write_text(L1C, encoding="utf-8")


def write_image(path: Path, write_tif: WriteTif) -> Path:
    return write_tif(path, np.stack([COUNTS] * 4), descriptions=COLOURS, scale=1e-4, offset=0.0)


def test_a_product_tells_its_tile_time_clouds_and_radiometry(
    tmp_path: Path, write_tif: WriteTif
) -> None:
    write_product(tmp_path / "deep" / "down", write_tif)
    found = open_folder(tmp_path, "s2-l1c").find(HERE, YEAR, ["blue", "red"])
    assert not found.left_out
    (files,) = found.files
    scene = files.scene
    assert scene.id == PRODUCT
    assert scene.sensor == "s2-l1c"
    assert scene.tile == "30NXM"
    assert scene.acquired == dt.date(2024, 3, 1)
    assert scene.acquired_at == dt.datetime(2024, 3, 1, 10, 34, 21, 24000, tzinfo=dt.UTC)
    assert scene.cloud_cover == 12.5
    assert scene.processing_baseline == "05.10"
    images = SceneImages(found.files)
    red = images.read(scene, ["red"], images.source_grids(scene)[0]).data_bhw[0]
    np.testing.assert_allclose(red, (COUNTS.astype(np.float64) - 1000) / 10000, atol=1e-6)


def test_dates_in_names_of_files_and_folders(tmp_path: Path, write_tif: WriteTif) -> None:
    write_image(tmp_path / "ghana_2024-02-03.tif", write_tif)
    write_image(tmp_path / "2024_03_04" / "image.tif", write_tif)
    for band in ("B02", "B04"):
        path = tmp_path / "bands" / "R10m" / f"T30NXM_20240405T103421_{band}_10m.tif"
        write_tif(path, COUNTS, scale=1e-4, offset=0.0)
    write_image(tmp_path / "composite.tif", write_tif)
    found = open_folder(tmp_path, "s2-l2a").find(HERE, YEAR, ["red"])
    assert [files.scene.acquired for files in found.files] == [
        dt.date(2024, 2, 3), dt.date(2024, 3, 4), dt.date(2024, 4, 5),
    ]  # fmt: skip
    (left,) = found.left_out
    assert left.scene_id == "composite"
    assert "no date in its name" in left.reason


def test_only_what_fits_period_and_area_is_opened(tmp_path: Path, write_tif: WriteTif) -> None:
    write_image(tmp_path / "a_2024-02-03.tif", write_tif)
    (tmp_path / "damaged_2023-02-03.tif").write_bytes(b"II*\0 nothing")
    folder = open_folder(tmp_path, "s2-l2a")
    assert len(folder.find(HERE, YEAR, ["red"]).files) == 1
    assert folder.find(ELSEWHERE, YEAR, ["red"]).files == ()
    before = Period(dt.date(2023, 1, 1), dt.date(2023, 12, 31))
    found = folder.find(HERE, before, ["red"])
    assert not found.files
    assert "not a readable image" in found.left_out[0].reason


def test_another_level_is_left_out_and_not_relabelled(tmp_path: Path, write_tif: WriteTif) -> None:
    write_product(tmp_path, write_tif)
    found = open_folder(tmp_path, "s2-l2a").find(HERE, YEAR, ["red"])
    assert not found.files
    assert "is s2-l1c, and s2-l2a was asked for" in found.left_out[0].reason


def test_a_scale_that_images_do_not_tell_is_stated_once(
    tmp_path: Path, write_tif: WriteTif
) -> None:
    write_tif(tmp_path / "a_2024-02-03.tif", np.stack([COUNTS] * 4), descriptions=COLOURS)
    found = open_folder(tmp_path, "s2-l2a").find(HERE, YEAR, ["red"])
    assert not found.files
    assert "give --scale" in found.left_out[0].reason
    stated = open_folder(tmp_path, "s2-l2a", scale=1e-4, offset=-0.1)
    (files,) = stated.find(HERE, YEAR, ["red"]).files
    assert (files.scene.scale, files.scene.offset) == (1e-4, -0.1)
    with pytest.raises(ConfigError, match="is known"):
        open_folder(tmp_path, "planet", scale=1e-4)


def test_damaged_products_are_left_out(tmp_path: Path, write_tif: WriteTif) -> None:
    write_product(tmp_path, write_tif)
    other = tmp_path / "renamed"
    (tmp_path / f"{PRODUCT}.SAFE").rename(other)
    (other / "MTD_MSIL1C.xml").write_text("<cut", encoding="utf-8")
    found = open_folder(tmp_path, "s2-l1c").find(HERE, YEAR, ["red"])
    assert not found.files
    assert "not well-formed XML" in found.left_out[0].reason
    (other / "MTD_MSIL1C.xml").write_text(L1C, encoding="utf-8")
    found = open_folder(tmp_path, "s2-l1c").find(HERE, YEAR, ["red", "nir"])
    assert "has no nir" in found.left_out[0].reason


def test_folders_that_hold_nothing(tmp_path: Path) -> None:
    with pytest.raises(ItemNotFound, match="no such folder"):
        open_folder(tmp_path / "gone", "s2-l2a")
    with pytest.raises(ConfigError, match="holds no image"):
        open_folder(tmp_path, "s2-l2a").find(HERE, YEAR, [])
    with pytest.raises(ConfigError, match="not known"):
        open_folder(tmp_path, "landsat")


# Footprints

LONGITUDES = st.floats(-180, 180)
LATITUDES = st.floats(-78, 78)


def grid_at(lon: float, lat: float) -> GeoBox:
    """10 km around a place."""
    crs = utm_crs(min(lon, 179.999), lat)
    x, y = crs_point(crs, lon, lat)
    return GeoBox((100, 100), Affine(100, 0, x - 5000, 0, -100, y + 5000), crs)


def crs_point(crs: CRS, lon: float, lat: float) -> tuple[float, float]:
    to_crs = pyproj.Transformer.from_crs("EPSG:4326", crs.to_wkt(), always_xy=True)
    return to_crs.transform(lon, lat)


@settings(max_examples=12)
@given(LONGITUDES, LATITUDES)
def test_a_grid_meets_its_middle_and_not_what_is_far(lon: float, lat: float) -> None:
    grid = grid_at(lon, lat)
    assert meets(shapely.Point(lon, lat), grid)
    assert meets(shapely.box(-180, -90, 180, 90), grid)
    # 2 degrees of latitude are 222 km.
    assert not meets(shapely.box(-180, lat + 2, 180, lat + 3), grid)
    assert not meets(shapely.box(-180, lat - 3, 180, lat - 2), grid)
    west, _, east, _ = footprint_lonlat(grid).bounds
    assert east - west < 1


def test_a_grid_across_180_degrees_meets_areas_on_both_sides() -> None:
    grid = grid_at(179.99, -17)
    assert meets(shapely.box(179.96, -17.01, 179.98, -17), grid)
    assert meets(shapely.box(-179.99, -17.01, -179.97, -17), grid)
    assert not meets(shapely.box(-179, -17.01, -178, -17), grid)
    assert not meets(shapely.box(-1, -17.01, 1, -17), grid)


def test_neighbours_with_an_edge_in_common_do_not_meet() -> None:
    grid = GeoBox((10, 10), Affine(0.1, 0, 5, 0, -0.1, 8), "EPSG:4326")
    assert meets(shapely.box(5.9, 7, 7, 8), grid)
    assert not meets(shapely.box(6, 7, 7, 8), grid)
