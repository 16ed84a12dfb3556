"""Backscatter of a series: levels, speckle, orbits, and the drop where pits fill with water."""

import datetime as dt

import numpy as np
import pytest
from scipy import ndimage

from sluice.phantom.radar import LEVELS_DB, LOOKS, radar_scene, spread_passes
from sluice.phantom.spectra import WATER

FIRST, LAST = dt.date(2022, 1, 1), dt.date(2022, 6, 30)


def test_passes_alternate_between_orbits_that_keep_their_pace():
    passes = spread_passes(FIRST, LAST, 12)
    assert [flown.orbit_state for flown in passes[:3]] == ["descending", "ascending", "descending"]
    for state, orbit in (("ascending", 119), ("descending", 39)):
        own = [flown for flown in passes if flown.orbit_state == state]
        assert {flown.relative_orbit for flown in own} == {orbit}
        steps = np.diff([flown.acquired_at for flown in own])
        assert set(steps) == {dt.timedelta(days=12)}
    assert passes[0].acquired_at.date() == FIRST
    assert passes[-1].acquired_at.date() <= LAST
    assert len(passes) == 31


def test_levels_are_those_of_the_literature(series):
    passes = spread_passes(FIRST, LAST, 36)
    power = np.mean([radar_scene(series, flown).expected_bhw for flown in passes], axis=0)
    level_db = 10 * np.log10(power)
    swir, scl = series.ground_at(FIRST, ["B11"])
    water = ndimage.binary_erosion(scl == WATER, iterations=4)
    forest = ndimage.binary_erosion((scl == 4) & (swir[0] < 0.16), iterations=3)
    for name, where in (("water", water), ("forest", forest)):
        assert where.sum() > 50
        for band in (0, 1):
            assert np.median(level_db[band][where]) == pytest.approx(LEVELS_DB[name][band], abs=1)
    assert (level_db[0] > level_db[1] + 3).all()


def test_speckle_has_mean_one_and_the_looks_it_should(series):
    scene = radar_scene(series, spread_passes(FIRST, LAST)[4])
    assert scene.gamma0_bhw.dtype == np.float32
    for gamma0, expected in zip(scene.gamma0_bhw, scene.expected_bhw, strict=True):
        speckle = gamma0 / expected
        assert speckle.mean() == pytest.approx(1, abs=0.01)
        assert 1 / speckle.var() == pytest.approx(LOOKS, rel=0.05)
    between = np.corrcoef(*(scene.gamma0_bhw / scene.expected_bhw).reshape(2, -1))[0, 1]
    assert abs(between) < 0.02


def test_the_same_pass_is_the_same_and_another_differs(series):
    first, second = spread_passes(FIRST, LAST)[:2]
    again = radar_scene(series, first).gamma0_bhw
    np.testing.assert_array_equal(radar_scene(series, first).gamma0_bhw, again)
    assert not np.array_equal(radar_scene(series, second).gamma0_bhw, again)


def test_pits_that_filled_with_water_drop_by_more_than_the_threshold(series):
    early, late = dt.date(2020, 1, 1), LAST
    before, after = spread_passes(early, early)[0], spread_passes(late, late)[0]
    _, scl_before = series.ground_at(early, ["B11"])
    _, scl_after = series.ground_at(late, ["B11"])
    new_water = ndimage.binary_erosion((scl_after == WATER) & (scl_before == 4), iterations=1)
    assert new_water.sum() > 10
    drop_db = 10 * np.log10(
        radar_scene(series, before).expected_bhw / radar_scene(series, after).expected_bhw
    )
    assert (drop_db[:, new_water] > 1.65).all()
    untouched = ndimage.binary_erosion(
        (scl_after == scl_before) & (scl_after == 4), iterations=12, border_value=1
    )
    assert (np.abs(drop_db[:, untouched]) < 1.65).all()


def test_beyond_the_swath_nothing_is_seen(series):
    scene = radar_scene(series, spread_passes(FIRST, LAST)[0], beyond_swath=0.3)
    missing = np.isnan(scene.gamma0_bhw)
    assert missing[:, 0, 0].all()
    assert not missing[:, -1, -1].any()
    assert missing.mean() == pytest.approx(0.3**2 / 2, abs=0.002)
    assert (missing[0] == missing[1]).all()
    assert (scene.gamma0_bhw[~missing] > 0).all()
