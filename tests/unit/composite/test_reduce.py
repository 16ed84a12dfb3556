"""Reductions over time, against plain references."""

import warnings
from datetime import date
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sluice.base.errors import ConfigError, ShapeMismatch
from sluice.composite import ordering
from sluice.composite.ordering import make_network
from sluice.composite.reduce import (
    METHODS,
    Method,
    counted_looks,
    last_clear_day,
    median_of_clear,
    medoid_of_clear,
    minimum_of_clear,
    percentile_of_clear,
    reduce_stack,
)

VALUES = st.floats(-0.25, 1.5, width=32) | st.sampled_from([float("nan"), float("inf"), 0.0, 0.5])


@st.composite
def stacks(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    t, b, h, w = (draw(st.integers(1, high)) for high in (7, 3, 3, 3))
    stack = draw(hnp.arrays(np.float32, (t, b, h, w), elements=VALUES))
    clear = draw(hnp.arrays(np.bool_, (t, h, w)))
    return stack, clear


def random_stack(times: int, seed: int = 0, size: int = 13) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    stack = rng.normal(0.2, 0.2, (times, 3, size, size + 2)).astype(np.float32)
    stack[rng.random(stack.shape) < 0.05] = np.nan
    return stack, rng.random((times, size, size + 2)) < 0.7


def with_nan(stack: np.ndarray, clear: np.ndarray) -> np.ndarray:
    """The stack with NaN, in all bands, where a look does not count."""
    counts = clear & np.isfinite(stack).all(axis=1)
    return np.where(counts[:, None], stack, np.nan)


@given(stacks())
@settings(max_examples=150)
def test_median_equals_the_plain_loop(given_stack: tuple[np.ndarray, np.ndarray]) -> None:
    stack, clear = given_stack
    before = stack.copy()
    median, n_looks = median_of_clear(stack, clear)
    times, bands, height, width = stack.shape
    for row in range(height):
        for col in range(width):
            looks = [
                stack[t, :, row, col]
                for t in range(times)
                if clear[t, row, col] and np.isfinite(stack[t, :, row, col]).all()
            ]
            assert n_looks[row, col] == len(looks)
            expected = np.median(looks, axis=0) if looks else np.full(bands, np.nan)
            np.testing.assert_allclose(median[:, row, col], expected, rtol=1e-6, atol=1e-7)
    assert median.dtype == np.float32
    assert n_looks.dtype == np.int16
    np.testing.assert_array_equal(stack, before)


@given(stacks(), st.floats(0, 100))
@settings(max_examples=100)
def test_percentile_equals_numpys(
    given_stack: tuple[np.ndarray, np.ndarray], percent: float
) -> None:
    stack, clear = given_stack
    result, _ = percentile_of_clear(stack, clear, percent)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        expected = np.nanpercentile(with_nan(stack, clear).astype(np.float64), percent, axis=0)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("times", [1, 2, 3, 12, 20, 39, 40, 41, 136, 300])
@pytest.mark.parametrize("percent", [0, 10, 50, 90, 100])
def test_any_number_of_looks(times: int, percent: float) -> None:
    stack, clear = random_stack(times)
    result, n_looks = percentile_of_clear(stack, clear, percent)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        expected = np.nanpercentile(with_nan(stack, clear), percent, axis=0)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(n_looks, np.isfinite(with_nan(stack, clear)[:, 0]).sum(axis=0))


@pytest.mark.parametrize("times", [1, 2, 3, 5, 8, 13, 14])
def test_the_network_sorts_every_arrangement_of_zeros_and_ones(times: int) -> None:
    # A network that orders all of those orders everything (Knuth 5.3.4, theorem Z).
    every = (np.arange(1 << times)[:, None] >> np.arange(times) & 1).T.astype(np.float32)
    for places in range(1, times + 1):
        network = make_network(times, places)
        rows = [*every.copy(), np.empty(every.shape[1], np.float32)]
        for one, other, free in network.steps:
            low, high = np.minimum(rows[one], rows[other]), np.maximum(rows[one], rows[other])
            rows[free], rows[other] = low, high
        ordered = np.sort(every, axis=0)
        for place in range(places):
            np.testing.assert_array_equal(rows[network.row_of_place[place]], ordered[place])


def test_network_and_sort_agree_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    stack, clear = random_stack(25)
    by_network = [reduce_stack(method, stack, clear) for method in METHODS]
    monkeypatch.setattr(ordering, "NETWORK_UP_TO", 0)
    for method, (one, looks) in zip(METHODS, by_network, strict=True):
        other, other_looks = reduce_stack(method, stack, clear)
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(looks, other_looks)


@pytest.mark.parametrize("method", METHODS)
def test_the_result_does_not_depend_on_how_the_image_is_cut(method: Method) -> None:
    stack, clear = random_stack(9, size=400)
    whole, looks = reduce_stack(method, stack, clear)
    part, part_looks = reduce_stack(method, stack[..., 31:200, 7:], clear[..., 31:200, 7:])
    np.testing.assert_array_equal(part, whole[:, 31:200, 7:])
    np.testing.assert_array_equal(part_looks, looks[31:200, 7:])


def test_nothing_clear_is_nan_without_a_warning() -> None:
    for method in METHODS:
        reduced, n_looks = reduce_stack(
            method, np.ones((4, 2, 3, 3), dtype=np.float32), np.zeros((4, 3, 3), dtype=bool)
        )
        assert np.isnan(reduced).all()
        assert not n_looks.any()


def test_zero_and_negative_reflectance_are_values() -> None:
    stack = np.array([0.0, -0.01, 0.0], np.float32).reshape(3, 1, 1, 1)
    clear = np.ones((3, 1, 1), bool)
    assert median_of_clear(stack, clear)[0].item() == 0
    assert minimum_of_clear(stack, clear)[0].item() == pytest.approx(-0.01)


def test_shapes_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ShapeMismatch, match=r"\(2, 1, 3, 3\).*\(3, 3, 3\)"):
        median_of_clear(np.ones((2, 1, 3, 3), dtype=np.float32), np.ones((3, 3, 3), dtype=bool))
    with pytest.raises(ShapeMismatch):
        median_of_clear(np.ones((0, 1, 3, 3), dtype=np.float32), np.ones((0, 3, 3), dtype=bool))


@given(stacks())
@settings(max_examples=100)
def test_medoid_is_the_earliest_of_the_nearest_looks(
    given_stack: tuple[np.ndarray, np.ndarray],
) -> None:
    stack, clear = given_stack
    medoid, n_looks = medoid_of_clear(stack, clear)
    counted = counted_looks(stack, clear)
    for row, col in np.ndindex(stack.shape[2:]):
        looks = stack[counted[:, row, col], :, row, col].astype(np.float64)
        assert n_looks[row, col] == len(looks)
        if not len(looks):
            assert np.isnan(medoid[:, row, col]).all()
            continue
        distance = ((looks - np.median(looks, axis=0)) ** 2).sum(axis=1)
        np.testing.assert_array_equal(medoid[:, row, col], looks[distance.argmin()])


def test_medoid_keeps_the_bands_of_one_date_together() -> None:
    # The medians of the bands, (2, 2), were never seen together.
    looks = np.array([[1, 2], [2, 9], [9, 1], [1.5, 3.5], [4, 1.5]], np.float32)
    stack = looks[:, :, None, None]
    medoid, _ = medoid_of_clear(stack, np.ones((5, 1, 1), bool))
    np.testing.assert_array_equal(medoid[:, 0, 0], looks[0])


def test_too_few_looks_are_not_observed_but_still_counted() -> None:
    stack, clear = random_stack(6)
    plain, looks = reduce_stack("median", stack, clear)
    strict, strict_looks = reduce_stack("median", stack, clear, min_looks=4)
    assert (looks < 4).any()
    np.testing.assert_array_equal(np.isnan(strict).all(axis=0), looks < 4)
    np.testing.assert_array_equal(strict[:, looks >= 4], plain[:, looks >= 4])
    np.testing.assert_array_equal(looks, strict_looks)


def test_methods_have_one_list() -> None:
    assert set(METHODS) == set(get_args(Method))
    with pytest.raises(ConfigError, match=r"'mean'.*median, medoid"):
        reduce_stack("mean", np.ones((1, 1, 1, 1), np.float32), np.ones((1, 1, 1), bool))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="101"):
        percentile_of_clear(np.ones((1, 1, 1, 1), np.float32), np.ones((1, 1, 1), bool), 101)


def test_day_of_the_last_clear_look_in_any_order_of_dates() -> None:
    days = [date(2024, 5, 1), date(2024, 1, 1), date(2024, 3, 1)]
    clear = np.array([[[0, 1, 0]], [[1, 1, 0]], [[1, 0, 0]]], bool)
    last = last_clear_day(clear, days)
    expected = [(day - date(1970, 1, 1)).days for day in (days[2], days[0])]
    assert last[0, :2].tolist() == expected
    assert np.isnan(last[0, 2])
    with pytest.raises(ShapeMismatch, match="3 looks"):
        last_clear_day(clear, days[:2])
