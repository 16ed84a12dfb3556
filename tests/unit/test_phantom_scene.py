"""The phantom: deterministic, its truth exact, its sky where the classification says."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio import features
from scipy import ndimage
from shapely.geometry import LineString

from sluice.base.atmosphere import to_top_of_atmosphere
from sluice.base.errors import BandNotFound, ConfigError, ShapeMismatch
from sluice.base.grid import PixelWindow
from sluice.phantom.canvas import FINE, Canvas, NoPlace, block_mean, outline_of, share_of
from sluice.phantom.fields import correlated_noise, meander, through
from sluice.phantom.landscape import paint_forest
from sluice.phantom.mines import plant_mine
from sluice.phantom.scene import SPECIFIC_CONFUSERS, PhantomScene, build_scene
from sluice.phantom.spectra import BANDS, COVERS

SIZE = 360


@pytest.fixture(scope="module")
def scene() -> PhantomScene:
    return build_scene(5, SIZE, mine_count=4, largest_ha=20, cloud_share=0.06, cirrus_share=0.05)


def test_the_same_seed_gives_the_same_scene_and_another_seed_another(scene: PhantomScene) -> None:
    again = build_scene(5, SIZE, mine_count=4, largest_ha=20, cloud_share=0.06, cirrus_share=0.05)
    np.testing.assert_array_equal(again.raster.data_bhw, scene.raster.data_bhw)
    np.testing.assert_array_equal(again.scl_hw, scene.scl_hw)
    assert again.mines.equals(scene.mines)
    assert again.confusers.equals(scene.confusers)
    other = build_scene(6, SIZE, mine_count=4, largest_ha=20)
    assert not np.array_equal(other.raster.data_bhw, scene.raster.data_bhw)


def test_every_pixel_is_a_plausible_reflectance(scene: PhantomScene) -> None:
    data = scene.raster.data_bhw
    assert data.shape == (12, SIZE, SIZE)
    assert scene.raster.bands[:4] == ("coastal", "blue", "green", "red")
    assert np.isfinite(data).all()
    assert data.min() > 0
    assert data.max() < 1.3
    forest = scene.scl_hw == 4
    red, nir = (scene.raster.band(name)[forest] for name in ("red", "nir"))
    assert np.median((nir - red) / (nir + red)) > 0.6


def test_coarse_bands_repeat_their_value(scene: PhantomScene) -> None:
    for name, size in (("swir16", 2), ("coastal", 6)):
        band = scene.raster.band(name)
        blocks = band.reshape(SIZE // size, size, SIZE // size, size)
        assert np.ptp(blocks, axis=(1, 3)).max() == 0


def test_mines_and_confusers_lie_inside_and_are_measured_on_the_ground(scene: PhantomScene) -> None:
    box = shapely.box(*scene.raster.geobox.extent.boundingbox)
    for frame in (scene.mines, scene.confusers):
        assert frame.crs.to_epsg() == 32721
        assert box.covers(shapely.union_all(frame.geometry.to_numpy()))
        np.testing.assert_allclose(frame["area_ha"], frame.area / 10_000)
        assert frame["clear_share"].between(0, 1).all()
    assert len(scene.mines) >= 2
    assert scene.mines["mine_id"].is_unique
    assert {"sandbar", "settlement", "fish_pond", "industry"} <= set(scene.confusers["kind"])


def test_confusers_that_are_objects_do_not_cover_mines(scene: PhantomScene) -> None:
    placed = scene.confusers[scene.confusers["kind"].isin(set(SPECIFIC_CONFUSERS) - {"road"})]
    overlap = gpd.overlay(scene.mines[["geometry"]], placed[["geometry"]], how="intersection")
    assert overlap.area.sum() < 0.01 * scene.mines.area.sum()


def test_bare_ground_and_ponds_of_a_mine_fill_its_outline() -> None:
    canvas = Canvas(300, np.random.default_rng(4))
    paint_forest(canvas)
    stream = LineString([(0, 140), (300, 160)])
    before = canvas.reflectance_bhw.copy()
    mine = plant_mine(canvas, 12.0, [stream], np.zeros((300, 300), dtype=np.float32))
    assert mine.outline.area == pytest.approx(1200, rel=0.35)
    share, window = share_of(mine.outline, 300)
    assert share.sum() == pytest.approx(mine.outline.area)
    inside = np.zeros((300, 300), dtype=np.bool_)
    inside[window.slices] = share > 0
    worked = canvas.scl_hw != 4
    assert not worked[~inside].any()
    assert worked[inside].mean() > 0.5
    assert (canvas.scl_hw == 6).sum() > 0.05 * inside.sum()
    far = ~ndimage.binary_dilation(inside, iterations=60)
    np.testing.assert_array_equal(canvas.reflectance_bhw[:, far], before[:, far])


def test_a_mine_that_does_not_fit_is_refused() -> None:
    canvas = Canvas(240, np.random.default_rng(0))
    with pytest.raises(NoPlace):
        plant_mine(
            canvas, 900.0, [LineString([(0, 0), (240, 240)])], np.zeros((240, 240), np.float32)
        )


def test_clouds_change_pixels_only_where_the_classification_says_so(scene: PhantomScene) -> None:
    bare = build_scene(5, SIZE, mine_count=4, largest_ha=20, cloud_share=0, cirrus_share=0)
    assert bare.clear.all()
    assert bare.mines.geometry.equals(scene.mines.geometry)
    assert {3, 8, 9, 10} <= set(np.unique(scene.scl_hw))
    red, red_bare = scene.raster.band("red"), bare.raster.band("red")
    away = ~ndimage.binary_dilation(~scene.clear, iterations=4)
    assert np.abs(red - red_bare)[away].max() < 0.01
    assert np.quantile((red - red_bare)[scene.scl_hw == 9], 0.1) > 0.1
    shadow = ndimage.binary_erosion(scene.scl_hw == 3, iterations=1)
    assert np.quantile((red / red_bare)[shadow], 0.9) < 1
    np.testing.assert_array_equal(scene.scl_hw[away], bare.scl_hw[away])
    under = scene.mines["clear_share"] < 1
    for row in scene.mines[under].itertuples():
        hit = features.rasterize(
            [row.geometry], (SIZE, SIZE), transform=scene.raster.geobox.affine, all_touched=True
        )
        assert (~scene.clear[hit > 0]).any()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"size_px": 250}, "multiple of 6"),
        ({"size_px": 120}, "240 or more"),
        ({"size_px": 240, "cloud_share": 1.0}, "cloud_share"),
        ({"size_px": 240, "farmland_share": -0.1}, "farmland_share"),
        ({"size_px": 240, "largest_ha": 0.5}, "largest_ha"),
    ],
)
def test_impossible_scenes_are_refused(arguments: dict[str, float], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build_scene(1, **arguments)  # type: ignore[arg-type]


def test_a_scene_without_farmland_mines_and_sky_still_stands() -> None:
    scene = build_scene(2, 240, mine_count=0, farmland_share=0, cloud_share=0, cirrus_share=0)
    assert scene.mines.empty
    assert {"mine_id", "style", "area_ha", "clear_share"} <= set(scene.mines.columns)
    assert "farmland" not in set(scene.confusers["kind"])


def test_noise_is_standard_and_correlated_over_its_length() -> None:
    noise = correlated_noise((256, 200), np.random.default_rng(1), scale_px=6, slope=4)
    assert noise.shape == (256, 200)
    assert noise.mean() == pytest.approx(0, abs=1e-4)
    assert noise.std() == pytest.approx(1, abs=1e-4)
    near, far = np.mean(noise[:, :-2] * noise[:, 2:]), np.mean(noise[:, :-60] * noise[:, 60:])
    assert near > 0.8
    assert abs(far) < 0.25


def test_a_meander_bends_as_its_curvature_says() -> None:
    points, curvature = meander(
        np.random.default_rng(3), length_px=400, wavelength_px=100, swing_rad=1.0, step_px=0.5
    )
    steps = np.diff(points, axis=0)
    np.testing.assert_allclose(np.hypot(*steps.T), 0.5)
    turn = np.diff(np.arctan2(steps[:, 1], steps[:, 0])) / 0.5
    np.testing.assert_allclose(turn[5:-5], curvature[6:-6], atol=0.01)
    moved = through(points, np.array([10.0, 20.0]), np.array([-5.0, 90.0]))
    np.testing.assert_allclose(moved[[0, -1]], [[10, 20], [-5, 90]], atol=1e-9)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9))
def test_outlines_enclose_exactly_the_pixels_they_are_made_of(
    seed: int, height: int, width: int
) -> None:
    inside = np.random.default_rng(seed).random((height * FINE, width * FINE)) < 0.5
    outline = outline_of(inside, PixelWindow(3, 4, height, width))
    assert outline.area == pytest.approx(inside.sum() / FINE**2)
    share, window = share_of(outline, 20)
    full = np.zeros((20, 20))
    full[window.slices] = share
    np.testing.assert_allclose(full[3 : 3 + height, 4 : 4 + width], block_mean(inside, FINE))


def test_forest_at_the_top_of_the_atmosphere_is_blue_grey_and_haze_brightens_it() -> None:
    forest = np.array(COVERS["forest"].mean_b, dtype=np.float32)[:, None, None] / 10_000
    clear = to_top_of_atmosphere(forest, BANDS)[:, 0, 0]
    hazy = to_top_of_atmosphere(forest, BANDS, haze=0.5)[:, 0, 0]
    blue, green, red = clear[1:4]
    assert blue > green > red > forest[3, 0, 0]
    assert (hazy[:4] > clear[:4] + 0.005).all()
    assert hazy[1] - clear[1] > hazy[3] - clear[3]


def test_an_unknown_band_has_no_atmosphere() -> None:
    with pytest.raises(BandNotFound, match="B10"):
        to_top_of_atmosphere(np.zeros((1, 2, 2), np.float32), ["B10"])
    with pytest.raises(ShapeMismatch):
        to_top_of_atmosphere(np.zeros((1, 2, 2), np.float32), ["B02", "B03"])
