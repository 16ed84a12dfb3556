"""Several looks at one place, reduced to one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sluice.base.arrays import ArrayBHW, ArrayTBHW, BoolTHW
from sluice.base.errors import ShapeMismatch


def median_of_clear(
    stack_tbhw: ArrayTBHW, clear_thw: BoolTHW
) -> tuple[ArrayBHW, npt.NDArray[np.int16]]:
    """Median over time of the clear looks, band by band.

    A look counts where it is clear and every band has a value, so all bands of a pixel come from
    the same dates.

    Args:
        stack_tbhw: (T, B, H, W) float32, NaN = no data.
        clear_thw: (T, H, W), True where the ground was seen.

    Returns:
        The median, (B, H, W) float32, NaN where no look counts (the mean of the middle two
        where their number is even); and the number of looks, (H, W).

    Raises:
        ShapeMismatch: The inputs differ in T, H or W, or T is 0.
    """
    times, bands, height, width = stack_tbhw.shape
    if clear_thw.shape != (times, height, width) or times == 0:
        raise ShapeMismatch(
            f"a stack of {stack_tbhw.shape} (time, band, row, column) needs one clear layer for "
            f"each time, got {clear_thw.shape}"
        )
    looks_thw = clear_thw & np.isfinite(stack_tbhw).all(axis=1)
    n_looks: npt.NDArray[np.int16] = looks_thw.sum(axis=0, dtype=np.int16)
    if times == 1:
        return np.where(looks_thw, stack_tbhw[0], np.float32(np.nan)), n_looks
    # Looks that do not count sort behind all others, so the median's place depends on the
    # number of looks alone; far faster than nanmedian.
    ordered = np.where(looks_thw[:, None], stack_tbhw, np.float32(np.inf))
    ordered.sort(axis=0)
    lower, upper = np.maximum(n_looks - 1, 0) // 2, np.minimum(n_looks // 2, times - 1)
    median: ArrayBHW = np.empty((bands, height, width), dtype=np.float32)
    other = np.empty_like(median)
    for place in range(times // 2 + 1):
        np.copyto(median, ordered[place], where=lower == place)
        np.copyto(other, ordered[place], where=upper == place)
    # Halved before they are added, so that no sum overflows.
    median *= np.float32(0.5)
    median += np.float32(0.5) * other
    median[:, n_looks == 0] = np.nan
    return median, n_looks
