"""A phantom series: deterministic, its truth exact, its clouds and its flaw where it says."""

import datetime as dt
from dataclasses import replace

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio import features
from scipy import ndimage

from sluice.base.errors import BandNotFound, ConfigError
from sluice.phantom.canvas import Canvas
from sluice.phantom.scene import scene_grid
from sluice.phantom.series import (
    COMMON_NAMES,
    TOA_COMMON_NAMES,
    PhantomSeries,
    build_series,
    draw_cloud_shares,
    spread_dates,
)
from sluice.phantom.sky import draw_sky, paint_clouds
from sluice.phantom.tones import BRIGHT_FROM

CLEAR_DATES, OVERCAST = (0, 2), 3
BANDS = ("blue", "red", "nir", "swir16")


def burn(series: PhantomSeries, shapes) -> np.ndarray:
    shape = series.geobox.shape.yx
    return features.rasterize(list(shapes), shape, transform=series.geobox.affine) > 0


def test_the_same_seed_gives_the_same_series_and_another_seed_another(series):
    again = build_series(
        2, 360, series.dates, mine_count=5, largest_ha=25, cloud_shares=series.cloud_shares
    )
    some = ("blue", "swir16", "coastal")
    first, second = series.scene_at(1, some), again.scene_at(1, some)
    np.testing.assert_array_equal(first.raster.data_bhw, second.raster.data_bhw)
    np.testing.assert_array_equal(first.scl_hw, second.scl_hw)
    assert first.mines.equals(second.mines)
    toa = [one.toa_at(1, ("red", "cirrus")).data_bhw for one in (series, again)]
    np.testing.assert_array_equal(*toa)
    other = build_series(3, 360, series.dates, mine_count=5, largest_ha=25)
    assert not np.array_equal(other.scene_at(1, some).raster.data_bhw, first.raster.data_bhw)


def test_a_band_does_not_depend_on_which_others_are_read_nor_on_the_order_of_dates(series):
    whole = series.scene_at(1).raster
    assert whole.bands == COMMON_NAMES
    part = series.scene_at(1, ("swir16", "blue")).raster
    for name in part.bands:
        np.testing.assert_array_equal(part.band(name), whole.band(name))
    in_turn = list(series)[1].raster
    np.testing.assert_array_equal(in_turn.data_bhw, whole.data_bhw)


def test_clear_dates_show_the_truth_within_noise_and_the_errors_of_correction(series):
    for index in CLEAR_DATES:
        scene = series.scene_at(index, BANDS)
        truth = series.truth_at(series.dates[index], BANDS)
        clear = ndimage.binary_erosion(scene.true_clear_hw, iterations=4, border_value=1)
        assert clear.mean() > 0.5
        for name in BANDS:
            seen, true = scene.raster.band(name)[clear], truth.band(name)[clear]
            # One straight line for the whole date (gain and path), and noise around it.
            gain, path = np.polyfit(true, seen, 1)
            assert gain == pytest.approx(1, abs=0.06)
            assert path == pytest.approx(0, abs=0.015)
            assert (seen - (gain * true + path)).std() < 0.003


def test_coarse_bands_repeat_their_value(series):
    size = series.geobox.shape.x
    for raster in (series.scene_at(1).raster, series.truth_at(series.dates[1])):
        for name, step in (("swir16", 2), ("coastal", 6)):
            blocks = raster.band(name).reshape(size // step, step, size // step, step)
            assert np.ptp(blocks, axis=(1, 3)).max() == 0


def test_clouds_lie_where_the_classification_says_and_only_there(series):
    scene = series.scene_at(1, ("blue", "red"))
    truth = series.truth_at(series.dates[1], ("blue", "red"))
    difference = np.abs(scene.raster.data_bhw - truth.data_bhw)
    away = ndimage.binary_erosion(scene.true_clear_hw, iterations=4)
    assert np.quantile(difference[:, away], 0.999) < 0.02
    assert np.median(difference[:, scene.scl_hw == 9]) > 0.3
    assert {3, 8, 9} <= set(np.unique(scene.scl_hw))
    assert 30 < scene.cloud_cover < 60


def test_an_overcast_date_has_no_gap(series):
    scene = series.scene_at(OVERCAST, ("red",))
    assert scene.cloud_cover == 100
    assert not scene.true_clear_hw.any()
    assert (scene.mines["clear_share"] == 0).all()


def test_top_of_atmosphere_is_hazy_and_cirrus_shows_in_its_own_band(series):
    toa = series.toa_at(0)
    assert toa.bands == TOA_COMMON_NAMES
    assert toa.bands.index("cirrus") == 10
    truth = series.truth_at(series.dates[0])
    forest = series.land_scl_hw == 4
    assert np.median(toa.band("blue")[forest]) > np.median(truth.band("blue")[forest]) + 0.03
    assert np.median(toa.band("cirrus")) < 0.003
    veiled = build_series(2, 360, [dt.date(2022, 5, day) for day in range(1, 9)])
    for index in range(len(veiled)):
        thin = veiled.sky_at(index).thin_hw > 0.1
        if thin.any():
            band = veiled.toa_at(index, ("cirrus",)).band("cirrus")
            assert np.median(band[thin]) > 0.01
            break
    else:
        pytest.fail("eight dates and no cirrus")


def test_a_flawed_classification_errs_on_bright_ground_alone(series):
    flawed = replace(series, scl_flaw=1.0)
    wrong_anywhere = np.zeros(series.geobox.shape.yx, dtype=bool)
    for index in range(len(series)):
        true, given_scene = series.scene_at(index, BANDS), flawed.scene_at(index, BANDS)
        np.testing.assert_array_equal(true.raster.data_bhw, given_scene.raster.data_bhw)
        np.testing.assert_array_equal(true.scl_hw, given_scene.true_scl_hw)
        wrong = given_scene.scl_hw != true.scl_hw
        assert np.isin(given_scene.scl_hw[wrong], (8, 9)).all()
        assert given_scene.true_clear_hw[wrong].all()
        ground, _ = series.ground_at(series.dates[index], ["B02", "B03", "B04"])
        visible = ground.mean(axis=0).reshape(180, 2, 180, 2).mean(axis=(1, 3))
        bright = (visible > BRIGHT_FROM).repeat(2, 0).repeat(2, 1)
        assert not (wrong & ~bright).any()
        if index in CLEAR_DATES:
            brightest = (visible > 0.25).repeat(2, 0).repeat(2, 1) & true.true_clear_hw
            assert wrong[brightest].mean() > 0.8
        wrong_anywhere |= wrong
    mines = burn(series, series.mines_at(series.dates[0]).geometry)
    assert (wrong_anywhere & mines).any()


def test_truth_follows_the_outlines_where_ground_was_dug(series):
    before, after = dt.date(2020, 1, 1), series.dates[-1]
    bare_before, bare_after = (series.ground_at(day, ["B04"])[1] != 4 for day in (before, after))
    new = bare_after & ~bare_before
    outlines = burn(series, series.mines_at(after).geometry)
    near = ndimage.binary_dilation(outlines, iterations=1)
    assert new.sum() > 100
    assert not (new & ~near).any()
    assert bare_after[outlines].mean() > 0.5


def test_the_area_of_an_outline_is_that_of_its_pixels(series):
    mines = series.mines_at(series.dates[-1])
    # At 2.5 m no pixel's centre lies on an outline, whose corners are multiples of 5 m.
    fine = GeoBox((1440, 1440), series.geobox.affine * Affine.scale(0.25), series.geobox.crs)
    pixels = features.rasterize(list(mines.geometry), fine.shape.yx, transform=fine.affine)
    assert (pixels > 0).sum() / 1600 == pytest.approx(mines["area_ha"].sum(), rel=0.001)
    assert burn(series, mines.geometry).sum() / 100 > 0.9 * mines["area_ha"].sum()
    np.testing.assert_allclose(mines.area / 10_000, mines["area_ha"])
    assert mines.crs.to_epsg() == 32721


def test_seasons_are_slight_and_come_back_each_year(series):
    bare = replace(series, histories=())
    wet, dry, next_year = (
        bare.ground_at(day, ["B04", "B08", "B11"])[0]
        for day in (dt.date(2022, 2, 28), dt.date(2022, 8, 28), dt.date(2023, 8, 28))
    )
    plants = series.land_scl_hw == 4
    change = np.abs(dry / wet - 1)[:, plants]
    assert 0.002 < change.mean() < 0.1
    assert change.max() < 0.35
    np.testing.assert_allclose(next_year[:, plants], dry[:, plants], rtol=1e-5)


@settings(max_examples=60)
@given(st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_cloud_shares_are_shares_and_long_series_have_both_ends(count, seed):
    shares = np.array(draw_cloud_shares(count, np.random.default_rng(seed)))
    assert shares.shape == (count,)
    assert ((shares >= 0) & (shares <= 1)).all()
    if count >= 8:
        assert shares.min() < 0.12
        assert shares.max() > 0.9
    if count >= 30:
        assert 0.5 < shares.mean() < 0.65


def test_a_series_lies_where_it_is_told_and_its_default_dates_cross_the_change_of_baseline():
    moved = build_series(1, 240, mine_count=0, upper_left_m=(828_000.0, 9_300_000.0))
    assert moved.geobox.affine.c == 828_000
    assert moved.geobox.shape == scene_grid(240).shape
    assert len(moved) == 8
    assert moved.dates[0] < dt.date(2022, 1, 25) < moved.dates[-1]
    assert moved.mines_at(moved.dates[0]).empty
    assert {"mine_id", "state", "area_ha"} <= set(moved.mines_at(moved.dates[0]).columns)


def test_painting_a_sky_is_drawing_it_and_laying_it_over():
    painted, drawn = (Canvas(240, np.random.default_rng(4)) for _ in range(2))
    for canvas in (painted, drawn):
        canvas.reflectance_bhw += 0.1
    paint_clouds(painted, 0.2, 0.1)
    sky = draw_sky(drawn, 0.2, 0.1)
    sky.cover(drawn.reflectance_bhw)
    sky.classify(drawn.scl_hw)
    np.testing.assert_array_equal(painted.reflectance_bhw, drawn.reflectance_bhw)
    np.testing.assert_array_equal(painted.scl_hw, drawn.scl_hw)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"size_px": 250}, "multiple of 6"),
        ({"dates": []}, "needs dates"),
        ({"dates": [dt.date(2022, 1, 2), dt.date(2022, 1, 1)]}, "sort them"),
        ({"dates": [dt.date(2022, 1, 2)], "cloud_shares": [0.1, 0.2]}, "1 dates need"),
        ({"dates": [dt.date(2022, 1, 2)], "cloud_shares": [1.2]}, "0 to 1"),
        ({"scl_flaw": -1.0}, "scl_flaw"),
        ({"farmland_share": 1.0}, "farmland_share"),
    ],
)
def test_impossible_series_are_refused(arguments, words):
    with pytest.raises(ConfigError, match=words):
        build_series(1, **{"size_px": 240, **arguments})


def test_unknown_bands_are_named(series):
    with pytest.raises(BandNotFound, match="cirrus"):
        series.scene_at(0, ("red", "cirrus"))
    with pytest.raises(BandNotFound, match="vv"):
        series.toa_at(0, ("vv",))


def test_dates_are_spread_evenly():
    days = spread_dates(dt.date(2024, 2, 20), 3, 10)
    assert days == (dt.date(2024, 2, 20), dt.date(2024, 3, 1), dt.date(2024, 3, 11))
