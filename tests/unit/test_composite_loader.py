"""`CompositeLoader`: what a model sees of several dates, whatever part is read."""

import pickle

import numpy as np
import pytest

from scenes import BARE, FOREST, Patch, forest_with, utm_geobox, write_dated_folder, write_image
from sluice.app.loading import CompositeLoader
from sluice.app.recipe import Recipe
from sluice.base.errors import BandNotFound, ConfigError
from sluice.base.grid import PixelWindow
from sluice.base.records import ModelInput
from sluice.imagery.local import open_local
from sluice.imagery.scenes import SceneImages

SHAPE = (120, 140)
GEOBOX = utm_geobox(SHAPE)
INPUTS = (ModelInput(band="red"), ModelInput(band="green"))
CLOUD_A, CLOUD_B, CLOUD_BOTH = Patch(10, 10, 25, 30), Patch(60, 20, 20, 20), Patch(50, 90, 31, 17)


@pytest.fixture(scope="module")
def two_dates(tmp_path_factory) -> SceneImages:
    folder = tmp_path_factory.mktemp("dates")
    bands = forest_with([Patch(0, 0, 120, 70)], SHAPE, colours=("red", "green"))
    a = write_dated_folder(
        folder / "a", bands, GEOBOX, date="20240101", cloud=[CLOUD_A, CLOUD_BOTH]
    )
    b = write_dated_folder(
        folder / "b", bands, GEOBOX, date="20240201", cloud=[CLOUD_B, CLOUD_BOTH]
    )
    return open_local([a, b])


@pytest.mark.parametrize("margin", [0, 2, 7])
def test_shows_what_any_date_saw_clearly(margin, two_dates) -> None:
    whole = CompositeLoader({0: two_dates}, INPUTS, Recipe(cloud_margin_px=margin))(GEOBOX)
    assert whole.bands == ("red", "green")
    # No trace of a cloud's white, under one cloud or at its rim.
    for band in whole.bands:
        image = whole.band(band)
        for cols, ground in ((slice(0, 70), BARE), (slice(70, 140), FOREST)):
            values = image[:, cols]
            seen = np.isfinite(values)
            np.testing.assert_allclose(values[seen], ground[band], atol=0.0045)
    # Unseen is what lies within the margin of the cloud of both dates, as a plain reference says.
    row, col = np.indices(SHAPE)
    patch = CLOUD_BOTH
    down = np.maximum(np.maximum(patch.row - row, row - (patch.row + patch.height - 1)), 0)
    across = np.maximum(np.maximum(patch.col - col, col - (patch.col + patch.width - 1)), 0)
    np.testing.assert_array_equal(~whole.valid, down**2 + across**2 <= margin**2)


@pytest.mark.parametrize("margin", [0, 2, 7])
def test_a_part_is_the_whole_cut_out(margin, two_dates) -> None:
    """Cloud just beyond a tile's border spoils pixels inside it."""
    loader = CompositeLoader({0: two_dates}, INPUTS, Recipe(cloud_margin_px=margin))
    whole = loader(GEOBOX)
    # Borders beside, at and through each cloud.
    for top, left in ((0, 0), (36, 0), (49, 41), (48, 88), (82, 108), (30, 106), (60, 39)):
        window = PixelWindow(top, left, min(37, SHAPE[0] - top), min(33, SHAPE[1] - left))
        part = loader(window.of(GEOBOX))
        np.testing.assert_array_equal(part.data_bhw, whole.data_bhw[:, *window.slices])


def test_beyond_the_images_is_nothing(two_dates) -> None:
    loaded = CompositeLoader({0: two_dates}, INPUTS)(PixelWindow(-5, -7, 20, 20).of(GEOBOX))
    assert not loaded.valid[:5].any()
    assert not loaded.valid[:, :7].any()
    assert loaded.valid[5:10, 7:].all()


def test_a_pixel_that_lacks_one_band_is_not_seen(tmp_path) -> None:
    bands = forest_with([], SHAPE, colours=("red", "green"))
    bands["green"][40:50, 40:50] = np.nan
    image = open_local([write_image(tmp_path / "a.tif", bands, GEOBOX)])
    loaded = CompositeLoader({0: image}, INPUTS)(GEOBOX)
    assert np.isnan(loaded.data_bhw[:, 40:50, 40:50]).all()
    assert loaded.valid.sum() == SHAPE[0] * SHAPE[1] - 100


def test_the_median_of_the_clear_looks(tmp_path) -> None:
    paths = []
    for k, value in enumerate((0.1, 0.5, 0.2)):
        bands = {name: np.full(SHAPE, value, np.float32) for name in ("red", "green")}
        paths.append(write_image(tmp_path / f"{k}.tif", bands, GEOBOX))
    loaded = CompositeLoader({0: open_local(paths)}, INPUTS)(GEOBOX)
    np.testing.assert_allclose(loaded.data_bhw, 0.2, atol=1e-6)


def test_scenes_of_a_sensor_are_brought_to_the_models_level(two_dates) -> None:
    """One date is of the sensor that the manifest adapts, and so are both."""
    sensor = two_dates.scenes[0].sensor
    assert sensor == "s2-l2a"
    plain = CompositeLoader({0: two_dates}, INPUTS)(GEOBOX)
    adapted = CompositeLoader({0: two_dates}, INPUTS, adapt={sensor: ((0.9, 0.02), (1.0, 0.0))})(
        GEOBOX
    )
    np.testing.assert_allclose(adapted.band("red"), plain.band("red") * 0.9 + 0.02, atol=1e-6)
    np.testing.assert_array_equal(adapted.band("green"), plain.band("green"))
    other = CompositeLoader({0: two_dates}, INPUTS, adapt={"nicfi": ((0.9, 0.02), (1.0, 0.0))})(
        GEOBOX
    )
    np.testing.assert_array_equal(other.data_bhw, plain.data_bhw)


def test_bands_come_in_the_order_of_the_model(two_dates) -> None:
    turned = CompositeLoader({0: two_dates}, INPUTS[::-1])(GEOBOX)
    assert turned.bands == ("green", "red")
    straight = CompositeLoader({0: two_dates}, INPUTS)(GEOBOX)
    np.testing.assert_array_equal(turned.band("red"), straight.band("red"))


def test_what_every_tile_would_lack_is_said_first(two_dates) -> None:
    CompositeLoader({0: two_dates}, INPUTS).check("toy")
    with pytest.raises(BandNotFound, match="band nir is missing, needed by model toy; found: "):
        CompositeLoader({0: two_dates}, (*INPUTS, ModelInput(band="nir"))).check("toy")
    earlier = ModelInput(band="red", period=-1)
    with pytest.raises(ConfigError, match=r"model toy compares periods \(it needs red@-1\)"):
        CompositeLoader({0: two_dates}, (*INPUTS, earlier)).check("toy")


def test_travels_to_a_worker(two_dates) -> None:
    loader = CompositeLoader({0: two_dates}, INPUTS)
    sent = pickle.loads(pickle.dumps(loader))  # noqa: S301
    np.testing.assert_array_equal(sent(GEOBOX).data_bhw, loader(GEOBOX).data_bhw)
