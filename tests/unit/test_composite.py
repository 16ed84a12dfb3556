"""Clear sky and the median of the clear looks, against plain references."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sluice.base.errors import ConfigError, ShapeMismatch
from sluice.composite.clear import clear_sky
from sluice.composite.reduce import median_of_clear

VALUES = st.floats(-0.25, 1.5, width=32) | st.just(float("nan"))


@st.composite
def stacks(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    t, b, h, w = (draw(st.integers(1, high)) for high in (7, 3, 3, 3))
    stack = draw(hnp.arrays(np.float32, (t, b, h, w), elements=VALUES))
    clear = draw(hnp.arrays(np.bool_, (t, h, w)))
    return stack, clear


@given(stacks())
@settings(max_examples=150, deadline=None)
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
                if clear[t, row, col] and not np.isnan(stack[t, :, row, col]).any()
            ]
            assert n_looks[row, col] == len(looks)
            expected = np.median(looks, axis=0) if looks else np.full(bands, np.nan)
            np.testing.assert_allclose(median[:, row, col], expected, rtol=1e-6, atol=1e-7)
    assert median.dtype == np.float32
    np.testing.assert_array_equal(stack, before)


def test_nothing_clear_is_nan_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        median, n_looks = median_of_clear(
            np.ones((4, 2, 3, 3), dtype=np.float32), np.zeros((4, 3, 3), dtype=bool)
        )
    assert np.isnan(median).all()
    assert not n_looks.any()


def test_shapes_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ShapeMismatch, match=r"\(2, 1, 3, 3\).*\(3, 3, 3\)"):
        median_of_clear(np.ones((2, 1, 3, 3), dtype=np.float32), np.ones((3, 3, 3), dtype=bool))
    with pytest.raises(ShapeMismatch):
        median_of_clear(np.ones((0, 1, 3, 3), dtype=np.float32), np.ones((0, 3, 3), dtype=bool))


@pytest.mark.parametrize(
    ("layer", "clear", "not_clear"),
    [
        ("scl", [2, 4, 5, 6, 7, 11], [0, 1, 3, 8, 9, 10, 255]),
        ("qa60", [0, 1], [1024, 2048, 3072, 1025]),
        ("cld", [0, 39], [40, 100, 255]),
        ("clp", [0, 101], [102, 255]),
        ("udm2", [1], [0, 255]),
    ],
)
def test_classes_of_each_layer(layer: str, clear: list[int], not_clear: list[int]) -> None:
    values = np.array([clear + not_clear + [np.nan]], dtype=np.float32)
    expected = [True] * len(clear) + [False] * (len(not_clear) + 1)
    assert clear_sky(layer, values)[0].tolist() == expected


def test_an_unknown_layer_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="'fmask'"):
        clear_sky("fmask", np.zeros((2, 2), dtype=np.float32))


def test_growth_is_a_disk_around_cloud_and_not_around_the_unobserved() -> None:
    scl = np.full((21, 41), 4, dtype=np.float32)
    scl[10, 10] = 9
    scl[10, 30] = np.nan
    scl[0, 30] = 0
    lost = ~clear_sky("scl", scl, grow_px=3)
    row, col = np.indices(scl.shape)
    expected = (row - 10) ** 2 + (col - 10) ** 2 <= 9
    expected[10, 30] = expected[0, 30] = True
    np.testing.assert_array_equal(lost, expected)
