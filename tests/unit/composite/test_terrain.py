"""Slope, on planes whose slope is known."""

import numpy as np
import pytest

from sluice.base.errors import ConfigError
from sluice.composite.terrain import slope_degrees


@pytest.mark.parametrize(("rise_east", "rise_south"), [(0, 0), (0.5, 0), (0, -1), (0.3, 0.4)])
def test_a_plane_has_its_own_slope_everywhere(rise_east: float, rise_south: float) -> None:
    row, col = np.indices((6, 8))
    elevation = (2000 + rise_east * col * 20 + rise_south * row * 30).astype(np.float32)
    slope = slope_degrees(elevation, (20, 30))
    expected = np.degrees(np.arctan(np.hypot(rise_east, rise_south)))
    np.testing.assert_allclose(slope[1:-1, 1:-1], expected, atol=1e-3)
    edge = np.ones(slope.shape, bool)
    edge[1:-1, 1:-1] = False
    assert np.isnan(slope[edge]).all()


def test_absent_elevation_spoils_its_neighbours_only() -> None:
    elevation = np.zeros((7, 7), np.float32)
    elevation[3, 3] = np.nan
    row, col = np.indices(elevation.shape)
    near = np.maximum(abs(row - 3), abs(col - 3)) <= 1
    slope = slope_degrees(elevation, 10)
    np.testing.assert_array_equal(np.isnan(slope[1:-1, 1:-1]), near[1:-1, 1:-1])


def test_a_pixel_has_a_size() -> None:
    with pytest.raises(ConfigError, match="above 0"):
        slope_degrees(np.zeros((3, 3), np.float32), 0)
