"""Phantom scenes as files: what is read back is what was drawn."""

from pathlib import Path

import numpy as np
import pytest
import rasterio

from sluice.base.files import open_raster, read_vector
from sluice.base.sensors import SENSORS
from sluice.phantom.scene import PhantomScene, build_scene
from sluice.phantom.write import write_scene


@pytest.fixture(scope="module")
def scene() -> PhantomScene:
    return build_scene(8, 240, mine_count=2, largest_ha=5)


@pytest.fixture(scope="module")
def folder(scene: PhantomScene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom") / "S2_phantom"
    names = {path.name for path in write_scene(scene, folder)}
    assert names == {path.name for path in folder.iterdir()}
    return folder


def test_bands_come_back_at_their_own_pixel_size(scene: PhantomScene, folder: Path) -> None:
    for band in SENSORS["s2-l2a"].bands:
        with open_raster(folder / f"{band.name}.tif") as source:
            assert source.res == (band.gsd_m, band.gsd_m)
            assert source.crs.to_epsg() == 32721
            assert source.nodata == 0
            assert source.dtypes == ("uint16",)
            assert (source.scales, source.offsets) == ((0.0001,), (-0.1,))
            assert tuple(source.bounds) == tuple(scene.raster.geobox.extent.boundingbox)
            number = source.read(1)
            reflectance = number * source.scales[0] + source.offsets[0]
        size = int(band.gsd_m // 10)
        assert number.min() > 0
        expected = scene.raster.band(band.common_name)[::size, ::size]
        np.testing.assert_allclose(reflectance, expected, atol=0.000051)


def test_files_are_cloud_optimised_and_say_that_the_place_is_fictional(folder: Path) -> None:
    with rasterio.open(folder / "B04.tif") as source:
        assert source.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert "fictional" in source.tags()["TIFFTAG_IMAGEDESCRIPTION"]


def test_scene_classification_comes_back_at_20_m(scene: PhantomScene, folder: Path) -> None:
    with open_raster(folder / "SCL.tif") as source:
        assert source.res == (20, 20)
        assert source.dtypes == ("uint8",)
        back = source.read(1)
    np.testing.assert_array_equal(back.repeat(2, 0).repeat(2, 1), scene.scl_hw)


def test_truth_comes_back_as_layers(scene: PhantomScene, folder: Path) -> None:
    mines = read_vector(folder / "truth.gpkg", layer="mines")
    confusers = read_vector(folder / "truth.gpkg", layer="confusers")
    assert mines.crs == scene.mines.crs
    assert list(mines["mine_id"]) == list(scene.mines["mine_id"])
    np.testing.assert_allclose(mines.area, scene.mines.area)
    assert list(confusers["kind"]) == list(scene.confusers["kind"])


def test_writing_twice_gives_the_same_pixels(
    scene: PhantomScene, folder: Path, tmp_path: Path
) -> None:
    write_scene(scene, tmp_path)
    assert (tmp_path / "B08.tif").read_bytes() == (folder / "B08.tif").read_bytes()
    write_scene(scene, tmp_path)  # over itself
    assert len(read_vector(tmp_path / "truth.gpkg", layer="mines")) == len(scene.mines)


def test_a_folder_that_cannot_be_made_is_an_os_error(scene: PhantomScene, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        write_scene(scene, tmp_path / "file")
