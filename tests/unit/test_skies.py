"""Clouds found in a scene's own bands, where its cloud layer is not to be used or there is none."""

import hashlib
import json
import sys
from types import ModuleType

import numpy as np
import pytest
import rasterio

from scenes import utm_geobox, write_image
from sluice.app import skies
from sluice.app.compositing import composite
from sluice.app.config import CompositeConfig, ScanConfig, make_config
from sluice.app.loading import Compositor
from sluice.app.recipe import Recipe
from sluice.app.skies import with_found_clouds
from sluice.app.workflows import scan
from sluice.base.errors import BandNotFound, ConfigError, WeightsError
from sluice.base.grid import PixelWindow
from sluice.composite.spectral_cloud import BANDS
from sluice.imagery.local import open_local
from sluice.imagery.scenes import SceneImages

SHAPE = (300, 420)
GEOBOX = utm_geobox(SHAPE)
# Top of atmosphere: blue, green, red, nir, swir16, swir22.
FOREST = dict(zip(BANDS, (0.10, 0.09, 0.06, 0.35, 0.16, 0.07), strict=True))
CLOUD = dict(zip(BANDS, (0.55, 0.54, 0.56, 0.65, 0.50, 0.40), strict=True))


def write_date(folder, day: int, cloud: tuple[slice, slice]):
    bands = {}
    for band in BANDS:
        bands[band] = np.full(SHAPE, FOREST[band], np.float32)
        bands[band][cloud] = CLOUD[band]
    path = folder / f"S2A_MSIL1C_202401{day:02d}T103421_N0209_R108_T30NXM.tif"
    return write_image(path, bands, GEOBOX)


@pytest.fixture
def images(tmp_path):
    """Three dates: one cloud over all of them, and one over the first alone."""
    dates = [write_date(tmp_path, day, np.s_[200:240, 300:360]) for day in (5, 15, 25)]
    with rasterio.open(dates[0], "r+") as first:
        for k, band in enumerate(BANDS, start=1):
            counts = first.read(k)
            counts[20:60, 30:90] = round(CLOUD[band] * 1e4)
            first.write(counts, k)
    return dates


@pytest.fixture
def package(monkeypatch, tmp_path):
    """Stands in for OmniCloudMask: cloud is what is far brighter than the patch on the whole."""
    stand_in = ModuleType("omnicloudmask")
    stand_in.shapes = []

    def predict_from_array(image, **options):
        stand_in.shapes.append(image.shape)
        assert options["destination_model_dir"] == tmp_path / "weights"
        red = image[0]
        return (red > 3 * red[red > 0].mean()).astype(np.uint8)[None]

    stand_in.predict_from_array = predict_from_array
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model.safetensors").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "omnicloudmask", stand_in)
    monkeypatch.setenv("SLUICE_OMNICLOUDMASK", str(tmp_path / "weights"))
    monkeypatch.setattr(skies, "_found_blocks", skies._FoundBlocks())
    return stand_in


def compose(images, out, **settings):
    return composite(make_config(CompositeConfig, images=tuple(images), out=out, **settings))


@pytest.mark.parametrize("mask", ["spectral", "omnicloudmask"])
def test_clouds_are_found_taken_out_and_put_on_record(mask, images, package, tmp_path) -> None:
    made = compose(images, tmp_path / "out", cloud_mask=mask, cloud_margin_px=3, guard=False)
    with rasterio.open(made.paths.composite) as found:
        red = found.read(3) * found.scales[2]
    with rasterio.open(made.paths.looks) as found:
        looks = found.read(1)
    assert red[18:62, 28:92] == pytest.approx(FOREST["red"], abs=1e-4)
    assert (looks[20:60, 30:90] == 2).all()
    assert (looks[200:240, 300:360] == 0).all()
    # The margin, and nothing beyond it.
    assert (looks[197, 300:360] == 0).all()
    assert (looks[196, 300:360] == 3).all()
    record = json.loads(made.paths.run.read_text())
    assert record["parameters"]["cloud_mask"] == mask
    assert {scene["sky_layer"] for scene in record["scenes"]} == {mask}
    (found_by,) = {scene["sky_from"] for scene in record["scenes"]}
    digest = hashlib.sha256(hashlib.sha256(b"").digest()).hexdigest()[:16]
    known = f"omnicloudmask of unknown version, weights {digest}"
    assert found_by == (known if mask == "omnicloudmask" else None)
    assert made.summary.images_without_cloud_layer == 0


def test_without_any_mask_the_cloud_stays_and_the_summary_says_so(images, tmp_path) -> None:
    made = compose(images, tmp_path / "out")
    assert made.summary.images_without_cloud_layer == 3
    with rasterio.open(made.paths.looks) as found:
        assert (found.read(1)[200:240, 300:360] == 3).all()


def test_what_a_network_finds_does_not_depend_on_the_tiles(images, package, tmp_path) -> None:
    files = with_found_clouds(open_local(images).files, "omnicloudmask", tmp_path / "weights")
    recipe = Recipe(guard=False, sky_weights=str(tmp_path / "weights"))
    compositor = Compositor(SceneImages(files), ("red",), recipe)
    whole = compositor(GEOBOX)
    asked = len(package.shapes)
    assert {shape[1:] for shape in package.shapes} == {(1000, 1000)}
    for window in (
        PixelWindow(0, 0, 130, 420),
        PixelWindow(130, 0, 170, 211),
        PixelWindow(130, 211, 170, 209),
    ):
        part = compositor(window.of(GEOBOX))
        np.testing.assert_array_equal(part.looks_hw, whole.looks_hw[window.slices])
    # Blocks that were judged are not judged again.
    assert len(package.shapes) == asked


def test_what_is_not_installed_is_said_before_anything_is_read(
    images, package, monkeypatch, tmp_path
) -> None:
    monkeypatch.setenv("SLUICE_OMNICLOUDMASK", str(tmp_path / "elsewhere"))
    with pytest.raises(WeightsError, match=r"elsewhere: holds no \*\.safetensors"):
        compose(images, tmp_path / "out", cloud_mask="omnicloudmask")
    monkeypatch.setitem(sys.modules, "omnicloudmask", None)
    with pytest.raises(ConfigError, match="install the package omnicloudmask"):
        compose(images, tmp_path / "out", cloud_mask="omnicloudmask")
    assert not (tmp_path / "out").exists()


def test_bands_that_clouds_are_found_by_must_be_there(tmp_path) -> None:
    three = {band: np.full(SHAPE, FOREST[band], np.float32) for band in BANDS[:3]}
    path = write_image(tmp_path / "rgb.tif", three, GEOBOX)
    with pytest.raises(BandNotFound, match="--cloud-mask spectral"):
        compose([path], tmp_path / "out", layers=("red",), cloud_mask="spectral")


def test_a_scan_with_a_network_gets_its_picture_too(toy_model, package, tmp_path) -> None:
    """The picture's grid is coarser than the scan's, and none for a network."""
    shape = (100, 1800)
    bands = {band: np.full(shape, FOREST[band], np.float32) for band in BANDS}
    path = write_image(tmp_path / "long_L1C.tif", bands, utm_geobox(shape))
    config = make_config(
        ScanConfig,
        images=(path,),
        out=tmp_path / "out",
        model=str(toy_model),
        sensor="s2-l1c",
        cloud_mask="omnicloudmask",
        any_level=True,
    )
    assert scan(config).summary.not_observed_percent == 0
    assert {shape[1:] for shape in package.shapes} == {(1000, 1000)}


def test_radar_needs_no_cloud_mask(tmp_path) -> None:
    config = make_config(
        CompositeConfig, images=(tmp_path,), out=tmp_path, sensor="s1", cloud_mask="spectral"
    )
    with pytest.raises(ConfigError, match="radar sees through cloud"):
        composite(config)


def test_a_mask_that_is_not_known_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--cloud-mask fmask.*'omnicloudmask' or 'spectral'"):
        make_config(CompositeConfig, images=("a.tif",), out="out", cloud_mask="fmask")
