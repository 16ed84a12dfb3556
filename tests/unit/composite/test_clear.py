"""Clear sky from the cloud layers of catalogues."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from sluice.base.errors import ConfigError
from sluice.composite.clear import classify_sky, grow, sort_sky


@pytest.mark.parametrize(
    ("layer", "clear", "cloud", "shadow", "neither"),
    [
        ("scl", [2, 4, 5, 6, 7, 11], [8, 9, 10], [3], [0, 1, 255]),
        ("qa60", [0, 1], [1024, 2048, 3072, 1025], [], []),
        ("cld", [0, 39], [40, 100, 255], [], []),
        ("clp", [0, 101], [102, 255], [], []),
        ("udm2", [1], [0, 255], [], []),
    ],
)
def test_classes_of_each_layer(
    layer: str, clear: list[int], cloud: list[int], shadow: list[int], neither: list[int]
) -> None:
    values = np.array([clear + cloud + shadow + neither + [np.nan]], dtype=np.float32)
    sky = sort_sky(classify_sky(layer, values))

    def marks(of: list[int]) -> list[bool]:
        return [code in of for code in clear + cloud + shadow + neither] + [False]

    assert sky.clear[0].tolist() == marks(clear)
    assert sky.cloud[0].tolist() == marks(cloud)
    assert sky.shadow[0].tolist() == marks(shadow)


def test_an_unknown_layer_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="'fmask'"):
        classify_sky("fmask", np.zeros((2, 2), dtype=np.float32))


def test_growth_is_a_disk_around_cloud_and_not_around_the_unobserved() -> None:
    scl = np.full((21, 41), 4, dtype=np.float32)
    scl[10, 10] = 9
    scl[10, 30] = np.nan
    scl[0, 30] = 0
    lost = ~sort_sky(classify_sky("scl", scl), grow_px=3).clear
    row, col = np.indices(scl.shape)
    expected = (row - 10) ** 2 + (col - 10) ** 2 <= 9
    expected[10, 30] = expected[0, 30] = True
    np.testing.assert_array_equal(lost, expected)


def test_cloud_and_shadow_grow_apart() -> None:
    scl = np.full((9, 20), 4, dtype=np.float32)
    scl[4, 4], scl[4, 14] = 8, 3
    sky = sort_sky(classify_sky("scl", scl), grow_px=2)
    np.testing.assert_array_equal(sky.clear, ~(sky.cloud | sky.shadow))
    assert sky.cloud[:, :10].sum() == 13
    assert not sky.cloud[:, 10:].any()
    assert sky.shadow[:, 10:].sum() == 13
    assert not sky.shadow[:, :10].any()


@given(
    hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)),
    st.integers(0, 7),
)
@settings(max_examples=150)
def test_growth_equals_a_dilation_with_a_disk(flagged: np.ndarray, radius: int) -> None:
    row, col = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    disk = row**2 + col**2 <= radius**2
    before = flagged.copy()
    np.testing.assert_array_equal(
        grow(flagged, radius), ndimage.binary_dilation(flagged, structure=disk)
    )
    np.testing.assert_array_equal(flagged, before)
