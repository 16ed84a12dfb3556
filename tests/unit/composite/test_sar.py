"""Radar: decibels, speckle, reduction and drop, against closed forms and plain loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sluice.base.errors import ConfigError, ShapeMismatch
from sluice.composite.sar import (
    combine_directions,
    filter_lee,
    filter_series,
    from_db,
    radar_drop,
    reduce_backscatter,
    to_db,
)

NAN = float("nan")


def speckle(shape: tuple[int, ...], looks: float = 4.4, seed: int = 0) -> np.ndarray:
    """Mean 1, variance 1 / looks."""
    return np.random.default_rng(seed).gamma(looks, 1 / looks, shape).astype(np.float32)


def test_decibels_there_and_back() -> None:
    power = np.array([1, 0.1, 0.01, 0, -0.1, NAN], np.float32)
    decibels = to_db(power)
    np.testing.assert_allclose(decibels[:3], [0, -10, -20], atol=1e-6)
    assert np.isnan(decibels[3:]).all()
    np.testing.assert_allclose(from_db(decibels)[:3], power[:3], rtol=1e-6)
    assert from_db(decibels).dtype == np.float32


@given(
    hnp.arrays(np.float32, (7, 6), elements=st.floats(0.0009765625, 1, width=32) | st.just(NAN)),
    st.sampled_from([1, 3, 5]),
)
@settings(max_examples=50)
def test_lee_equals_the_plain_loop(power: np.ndarray, window: int) -> None:
    filtered = filter_lee(power, window_px=window, looks=3)
    half = window // 2
    for row, col in np.ndindex(power.shape):
        if np.isnan(power[row, col]):
            assert np.isnan(filtered[row, col])
            continue
        part = power[max(row - half, 0) : row + half + 1, max(col - half, 0) : col + half + 1]
        part = part[~np.isnan(part)].astype(np.float64)
        mean, variance = part.mean(), part.var()
        ground = max((variance - mean**2 / 3) / (1 + 1 / 3), 0)
        weight = ground / variance if variance > 1e-12 else 0
        expected = mean + weight * (power[row, col] - mean)
        assert filtered[row, col] == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_lee_takes_speckle_away_and_keeps_a_bright_point_and_the_level() -> None:
    power = 0.1 * speckle((200, 200))
    power[100, 100] = 20
    filtered = filter_lee(power)
    away = np.ones(power.shape, bool)
    away[95:106, 95:106] = False
    assert filtered[away].var() < power[away].var() / 5
    assert filtered[away].mean() == pytest.approx(0.1, rel=0.02)
    assert filtered[100, 100] > 15


def test_series_filter_keeps_each_dates_level_and_a_line_of_one_pixel() -> None:
    ground = np.full((80, 80), 0.1)
    ground[:, 40] = 0.4
    levels = np.linspace(0.5, 2, 12)
    power = (levels[:, None, None] * ground * speckle((12, 80, 80))).astype(np.float32)
    filtered = filter_series(power)
    assert filtered.dtype == np.float32
    inside = np.s_[:, 5:-5, 5:30]
    np.testing.assert_allclose(filtered[inside].mean(axis=(1, 2)), 0.1 * levels, rtol=0.05)
    spread = filtered[inside].std(axis=(1, 2)) / filtered[inside].mean(axis=(1, 2))
    assert spread.max() < 0.25  # 0.48 before
    contrast = filtered[:, :, 40].mean() / filtered[:, :, 30:36].mean()
    alone = np.stack([filter_lee(p) for p in power])
    assert contrast > 3.5
    assert contrast > alone[:, :, 40].mean() / alone[:, :, 30:36].mean() - 0.2


def test_series_filter_ignores_absent_dates_and_smears_no_nan() -> None:
    power = speckle((5, 20, 20))
    power[2] = NAN
    power[0, 10, 10] = NAN
    filtered = filter_series(power)
    np.testing.assert_array_equal(np.isnan(filtered), np.isnan(power))
    np.testing.assert_array_equal(filtered[[0, 1, 3, 4]], filter_series(power[[0, 1, 3, 4]]))


@pytest.mark.parametrize("window", [0, 4, -3])
def test_a_window_has_a_middle(window: int) -> None:
    with pytest.raises(ConfigError, match="odd"):
        filter_lee(np.ones((9, 9), np.float32), window_px=window)
    with pytest.raises(ConfigError, match="looks"):
        filter_lee(np.ones((9, 9), np.float32), looks=0)


def test_reduction_in_power_given_in_decibels() -> None:
    power = np.array([0.1, 0.3, 0.0, NAN, 0.2, 0.4], np.float32).reshape(6, 1, 1, 1)
    median, looks = reduce_backscatter(power, "median")
    assert looks.item() == 4
    assert median.item() == pytest.approx(10 * np.log10(0.25), abs=1e-5)
    minimum, _ = reduce_backscatter(power, "minimum")
    assert minimum.item() == pytest.approx(-10, abs=1e-5)
    few, looks = reduce_backscatter(power, "median", min_looks=5)
    assert np.isnan(few.item())
    assert looks.item() == 4
    with pytest.raises(ConfigError, match="'mean'"):
        reduce_backscatter(power, "mean")  # type: ignore[arg-type]


def test_a_date_with_one_polarisation_is_no_look() -> None:
    power = np.ones((2, 2, 1, 1), np.float32)
    power[0, 1] = NAN
    assert reduce_backscatter(power, "median")[1].item() == 1


def test_directions_together() -> None:
    def result(decibels: list[float], looks: list[int]) -> tuple[np.ndarray, np.ndarray]:
        return np.array([[decibels]], np.float32), np.array([looks], np.int16)

    both = [result([-10, -12, NAN, NAN], [3, 3, 0, 0]), result([-14, NAN, -9, NAN], [2, 0, 4, 0])]
    mean, looks = combine_directions(both, "median")
    np.testing.assert_array_equal(mean[0, 0], np.float32([-12, -12, -9, NAN]))
    assert looks[0].tolist() == [5, 3, 4, 0]
    lowest, _ = combine_directions(both, "minimum")
    np.testing.assert_array_equal(lowest[0, 0], np.float32([-14, -12, -9, NAN]))
    with pytest.raises(ConfigError, match="at least one"):
        combine_directions([], "median")
    with pytest.raises(ShapeMismatch):
        combine_directions([both[0], result([1.0], [1])], "median")


def test_drop_is_positive_where_it_fell() -> None:
    before = np.array([[[-8, -8, NAN]]], np.float32)
    after = np.array([[[-12, -7, -9]]], np.float32)
    np.testing.assert_array_equal(radar_drop(before, after)[0, 0], np.float32([4, -1, NAN]))
    with pytest.raises(ShapeMismatch, match="before"):
        radar_drop(before, after[:, :, :2])


def test_filters_do_not_depend_on_how_the_image_is_cut() -> None:
    power = speckle((3, 60, 70))
    power[1, 20, 20] = NAN
    inner = np.s_[..., 10:40, 10:50]
    margin = np.s_[..., 7:43, 7:53]
    core = np.s_[..., 3:-3, 3:-3]
    np.testing.assert_array_equal(filter_series(power)[inner], filter_series(power[margin])[core])
    one = power[1]
    np.testing.assert_array_equal(filter_lee(one)[inner], filter_lee(one[margin])[core])
