"""Real images: names, radiometry, cloud layers and seams."""

import datetime as dt
from pathlib import Path

import numpy as np
import pytest
import rasterio

from scenes import as_stored
from sluice.base.errors import ConfigError, GridMismatch
from sluice.base.grid import PixelWindow, iter_tiles
from sluice.imagery.local import open_local
from sluice.imagery.target_grid import scan_grid


def stored(path: Path, band: int = 1) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read(band)


def test_a_folder_of_level_2a_bands_in_degrees(shared_data: Path) -> None:
    folder = shared_data / "s2-fortmcmurray-l2a"
    with pytest.raises(ConfigError, match=r"uint16 counts.*--scale"):
        open_local([folder])
    images = open_local([folder], scale=1e-4, offset=0.0)
    (scene,) = images.scenes
    assert scene.bands == ("blue", "green", "red", "nir", "swir16")
    assert (scene.sensor, scene.sky_layer) == ("s2-l2a", "scl")
    own = images.source_grids(scene)[0]
    found = images.read(scene, ["nir"], own).data_bhw[0]
    np.testing.assert_allclose(found, stored(folder / "B08.tif") * 1e-4, rtol=1e-6)

    grid = scan_grid(images, 10.0)
    assert grid.crs.to_epsg() == 32612
    part = PixelWindow(1600, 900, 400, 300).of(grid)
    whole = images.read(scene, ["red", "nir"], part).data_bhw
    sky = images.read_sky(scene, part, as_stored)
    assert sky is not None
    for _, window in iter_tiles((400, 300), 128, 16):
        tile = images.read(scene, ["red", "nir"], window.of(part)).data_bhw
        np.testing.assert_array_equal(tile, whole[:, *window.slices])
        seen = images.read_sky(scene, window.of(part), as_stored)
        np.testing.assert_array_equal(seen, sky[window.slices])
    # Vegetation (4) and water (6) look like it, so bands and classes lie on one another.
    index = (whole[1] - whole[0]) / (whole[1] + whole[0])
    assert np.nanmedian(index[sky == 4]) > 0.5
    assert np.nanmedian(index[sky == 6]) < 0


def test_single_bands_of_three_resolutions(shared_data: Path) -> None:
    name = "S2A_MSIL2A_20170617T113321_4_55"
    folder = shared_data / "s2s1-bands-by-resolution" / "s2-tiny" / name
    images = open_local([folder], scale=1e-4, offset=0.0)
    (scene,) = images.scenes
    assert len(scene.bands) == 12
    assert (scene.sensor, scene.acquired) == ("s2-l2a", dt.date(2017, 6, 17))
    grid = scan_grid(images, 10.0)
    assert grid.shape.yx == (120, 120)
    found = images.read(scene, ["red", "swir16", "coastal"], grid)
    assert found.valid.all()
    expected = stored(folder / f"{name}_B04.tif")
    np.testing.assert_allclose(found.band("red"), expected * 1e-4, rtol=1e-6)
    for band, code, times in (("swir16", "B11", 2), ("coastal", "B01", 6)):
        coarse = stored(folder / f"{name}_{code}.tif") * 1e-4
        mean = found.band(band).reshape(120 // times, times, -1, times).mean(axis=(1, 3))
        # Bilinear smooths, and keeps what lies where.
        assert np.corrcoef(mean.ravel(), coarse.ravel())[0, 1] > 0.97


def test_radar_of_the_same_archive(shared_data: Path) -> None:
    name = "S1A_IW_GRDH_1SDV_20170617T064724_29UPU_4_55"
    folder = shared_data / "s2s1-bands-by-resolution" / "s1-tiny" / name
    images = open_local([folder])
    (scene,) = images.scenes
    assert (scene.sensor, scene.acquired) == ("s1", dt.date(2017, 6, 17))
    found = images.read(scene, ["vv", "vh"], scan_grid(images, 10.0))
    np.testing.assert_array_equal(found.band("vh"), stored(folder / f"{name}_VH.tif"))


def test_thirteen_bands_by_description(shared_data: Path) -> None:
    path = shared_data / "s2s1-spain-water" / "Spain_7370579_S2Hand.tif"
    images = open_local([path], scale=1e-4, offset=0.0)
    (scene,) = images.scenes
    assert len(scene.bands) == 13
    own = images.source_grids(scene)[0]
    found = images.read(scene, ["nir08", "cirrus"], own)
    np.testing.assert_allclose(found.band("nir08"), stored(path, 9) * 1e-4, rtol=1e-6)
    np.testing.assert_allclose(found.band("cirrus"), stored(path, 11) * 1e-4, rtol=1e-6)
    assert scan_grid(images, 10.0).crs.to_epsg() == 32630


def test_a_mosaic_with_tags_and_gaps(shared_data: Path) -> None:
    (path,) = (shared_data / "s2-rgb-mosaics").glob("*_32619_730060_431880.tif")
    images = open_local([path])
    (scene,) = images.scenes
    assert scene.bands == ("red", "green", "blue")
    assert (scene.scale, scene.radiometry_from) == (1e-4, "file tags")
    grid = scan_grid(images, 10.0)
    assert (grid.crs.to_epsg(), grid.shape.yx) == (32619, (244, 188))
    found = images.read(scene, scene.bands, grid)
    counts = np.stack([stored(path, band) for band in (1, 2, 3)])
    np.testing.assert_array_equal(np.isnan(found.data_bhw), counts == 0)
    seen = counts != 0
    np.testing.assert_allclose(found.data_bhw[seen], counts[seen] * 1e-4, rtol=1e-6)


def test_a_folder_of_many_dates_and_images_without_crs(shared_data: Path) -> None:
    folder = shared_data / "s2s1-para-multidate" / "sent2"
    with pytest.raises(ConfigError, match=r"2019-03-18 .*2021-05-11 "):
        open_local([folder], scale=1e-4, offset=0.0)
    image = next(folder.glob("Sentinel2_B4_*.tiff"))
    with pytest.raises(GridMismatch, match="has no CRS"):
        open_local([image], scale=1e-4, offset=0.0)
