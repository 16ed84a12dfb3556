"""Terrain from elevation."""

from __future__ import annotations

import numpy as np

from sluice.base.arrays import ArrayHW, FloatArray
from sluice.base.errors import ConfigError


def slope_degrees(elevation: ArrayHW, pixel_m: float | tuple[float, float]) -> ArrayHW:
    """Steepness of the ground.

    Args:
        elevation: (H, W) metres, NaN = no data. Read a margin of one pixel: the outermost pixels
            have no neighbours on one side and come out NaN.
        pixel_m: Size of a pixel in metres, or its width and height.

    Returns:
        (H, W) float32 degrees, 0 (level) to 90; NaN where the pixel or one of the eight around
        it has no elevation.

    Raises:
        ConfigError: A pixel's size is not above 0.

    Source:
        Horn 1981, doi:10.1109/PROC.1981.11918, as in GDAL and ArcGIS.
    """
    width_m, height_m = pixel_m if isinstance(pixel_m, tuple) else (pixel_m, pixel_m)
    if not (width_m > 0 and height_m > 0):
        raise ConfigError(f"a pixel's size in metres must be above 0, got {pixel_m}")
    # In float64: differences of centimetres at thousands of metres.
    z = np.pad(elevation.astype(np.float64), 1, constant_values=np.nan)
    across = _weigh(z, axis=0)  # 1-2-1 down each column
    down = _weigh(z, axis=1)
    per_m_east = (across[:, 2:] - across[:, :-2]) / (8 * width_m)
    per_m_south = (down[2:] - down[:-2]) / (8 * height_m)
    slope = np.degrees(np.arctan(np.hypot(per_m_east, per_m_south)))
    # The middle has no weight of its own.
    slope[np.isnan(elevation)] = np.nan
    result: ArrayHW = slope.astype(np.float32)
    return result


def _weigh(z: FloatArray, axis: int) -> FloatArray:
    moved = np.moveaxis(z, axis, 0)
    return np.moveaxis(moved[:-2] + 2 * moved[1:-1] + moved[2:], 0, axis)
