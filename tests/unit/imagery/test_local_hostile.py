"""Images from disk that are damaged, disguised, replaced, or not there."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from sluice.base.errors import (
    AssetReadError,
    ConfigError,
    GridMismatch,
    ItemNotFound,
)
from sluice.base.grid import PixelWindow
from sluice.imagery.assets import list_assets
from sluice.imagery.local import open_local
from sluice.imagery.scenes import SceneImages

WriteTif = Callable[..., Path]

COUNTS = np.random.default_rng(1).integers(1, 4000, (3, 40, 50), dtype=np.uint16)


def read_own(images: SceneImages, *bands: str) -> np.ndarray:
    (scene,) = images.scenes
    return images.read(scene, bands, images.source_grids(scene)[0]).data_bhw


def test_a_vrt_named_as_a_geotiff_is_refused(tmp_path: Path, write_tif: WriteTif) -> None:
    secret = write_tif(tmp_path / "secret.tif", COUNTS[0])
    disguise = tmp_path / "B04.tif"
    disguise.write_text(
        '<VRTDataset rasterXSize="50" rasterYSize="40"><SRS>EPSG:32630</SRS>'
        "<GeoTransform>600000,10,0,700000,0,-10</GeoTransform>"
        '<VRTRasterBand dataType="UInt16" band="1"><Description>red</Description><SimpleSource>'
        f"<SourceFilename>{secret}</SourceFilename><SourceBand>1</SourceBand>"
        "</SimpleSource></VRTRasterBand></VRTDataset>"
    )
    with rasterio.open(disguise) as dataset:  # GDAL itself follows it
        assert dataset.read(1).any()
    told = r"B04.tif: is a VRT, .*links are not followed; give the images that it points to"
    for path in (disguise, tmp_path):
        with pytest.raises(AssetReadError, match=told):
            open_local([path], scale=1e-4, offset=0.0)
    declared = b'\xef\xbb\xbf<?xml version="1.0"?>\n' + disguise.read_bytes()
    disguise.write_bytes(declared)
    with pytest.raises(AssetReadError, match=told):
        open_local([disguise], scale=1e-4, offset=0.0)


def test_text_named_as_a_geotiff_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "B04.tif"
    path.write_text("not an image")
    with pytest.raises(AssetReadError, match=r"B04.tif: not a readable image"):
        open_local([path], scale=1e-4, offset=0.0)


def test_a_truncated_file_is_named_when_it_is_read(
    tmp_path: Path, write_tif: WriteTif, capfd: pytest.CaptureFixture[str]
) -> None:
    big = np.random.default_rng(3).integers(1, 9999, (2000, 400), dtype=np.uint16)
    path = write_tif(tmp_path / "B04.tif", big, blockysize=16)
    whole = path.read_bytes()
    images = open_local([path], scale=1e-4, offset=0.0)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(AssetReadError, match="truncated or damaged") as caught:
        read_own(images, "red")
    assert caught.value.href == str(path)
    with pytest.raises(AssetReadError, match="truncated or damaged"):
        open_local([path], scale=1e-4, offset=0.0)
    path.write_bytes(whole[:100])
    with pytest.raises(AssetReadError, match="not a readable image"):
        open_local([path], scale=1e-4, offset=0.0)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("share", [0.9, 0.6, 0.2])
def test_a_truncated_jpeg_2000_gives_no_wrong_pixels(
    tmp_path: Path, write_tif: WriteTif, capfd: pytest.CaptureFixture[str], share: float
) -> None:
    """GDAL decodes several tiles in threads, whose failures do not reach the reader."""
    noise = np.random.default_rng(3).integers(1, 9999, (600, 600), dtype=np.uint16)
    path = write_tif(
        tmp_path / "B04.jp2",
        noise,
        driver="JP2OpenJPEG",
        quality="100",
        reversible="YES",
        blockxsize=128,
        blockysize=128,
    )
    (asset,) = list_assets(path)
    window = PixelWindow(0, 0, 600, 600)
    np.testing.assert_array_equal(asset.read(window), noise)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(AssetReadError, match="truncated or damaged"):
        asset.read(window)
    assert capfd.readouterr().err == ""


def test_a_file_that_was_replaced_is_read_anew(tmp_path: Path, write_tif: WriteTif) -> None:
    path = write_tif(tmp_path / "a.tif", COUNTS[0], descriptions=["red"])
    images = open_local([path], scale=1e-4, offset=0.0)
    read_own(images, "red")
    write_tif(path, COUNTS[1], descriptions=["red"], compress="deflate")
    np.testing.assert_allclose(read_own(images, "red")[0], COUNTS[1] * 1e-4, rtol=1e-6)


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ({"crs": None}, "has no CRS"),
        ({"transform": Affine.identity()}, "has no position"),
        ({"crs": None, "transform": Affine.identity()}, "has no CRS"),
    ],
)
def test_an_image_that_lies_nowhere_is_refused(
    tmp_path: Path, write_tif: WriteTif, place: dict[str, object], says: str
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        path = write_tif(tmp_path / "a.tif", COUNTS, descriptions=["red", "green", "blue"], **place)
    with pytest.raises(GridMismatch, match=f"{says}.*QGIS"):
        open_local([path], scale=1e-4, offset=0.0)


def test_paths_that_are_not_there_or_twice_or_none(tmp_path: Path, write_tif: WriteTif) -> None:
    path = write_tif(tmp_path / "a.tif", COUNTS[0], descriptions=["red"])
    with pytest.raises(ItemNotFound, match="no such file or folder"):
        open_local([tmp_path / "b.tif"])
    with pytest.raises(ConfigError, match="given twice"):
        open_local([path, tmp_path / "." / "a.tif"], scale=1e-4, offset=0.0)
    with pytest.raises(ConfigError, match="no image given"):
        open_local([])
    with pytest.raises(ConfigError, match="'s9' is not known"):
        open_local([path], sensor="s9")
