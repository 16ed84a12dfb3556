"""Sentinel-1: speckle, reduction over time, and the drop between periods.

Arithmetic is done in linear power, as backscatter adds up there; results are in decibels. Power
that is not above 0 is no measurement: absent, NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from sluice.base.arrays import ArrayBHW, ArrayHW, ArrayTBHW, BoolTHW, FloatArray
from sluice.base.errors import ConfigError, ShapeMismatch
from sluice.composite.reduce import LooksHW, Reduced, reduce_stack

BackscatterMethod: TypeAlias = Literal["median", "minimum"]
FloatAny: TypeAlias = npt.NDArray[np.float32]

PIT_DROP_DB = 1.65
"""A fall of the period's minimum by more than this marks new water-filled pits (Forkuor 2020)."""
SPECKLE_WINDOW_PX = 7
"""Side of the window in which speckle is smoothed."""
GRD_LOOKS = 4.4
"""Equivalent number of looks of Sentinel-1 IW GRD at high resolution (10 m pixels), and of what
is made from it without averaging."""


def to_db(power: FloatAny) -> FloatAny:
    """Decibels of linear power; any shape.

    Args:
        power: Linear backscatter (gamma0 or sigma0), NaN = no data.

    Returns:
        float32, NaN where the power is not above 0.
    """
    decibels = np.full(power.shape, np.nan, np.float32)
    np.log10(power, out=decibels, where=power > 0)
    decibels *= 10
    return decibels


def from_db(decibels: FloatAny) -> FloatAny:
    """Linear power of decibels; any shape, NaN kept."""
    power: FloatAny = np.power(10, decibels / 10, dtype=np.float32)
    return power


def filter_lee(
    power: ArrayHW, *, window_px: int = SPECKLE_WINDOW_PX, looks: float = GRD_LOOKS
) -> ArrayHW:
    """Smooth speckle where the ground is even, and keep what varies more than speckle does.

    Each pixel is drawn to the mean of its window, the more the better speckle alone explains the
    window's variance.

    Args:
        power: (H, W) linear power of one date, NaN = no data.
        window_px: Side of the window, odd. Read a margin of half of it: beyond the array's edge
            nothing is known, and the window is smaller there.
        looks: Equivalent number of looks of the product; speckle's variance is 1 / looks.

    Returns:
        (H, W) float32 linear power, NaN where `power` is; NaN is not smeared.

    Raises:
        ConfigError: The window is even or not above 0, or `looks` is not above 0.

    Source:
        Lee 1980, doi:10.1109/TPAMI.1980.4766994.
    """
    if looks <= 0:
        raise ConfigError(f"the number of looks must be above 0, got {looks:g}")
    mean, mean_square = _window_means(power, window_px)
    variance = np.maximum(mean_square - mean**2, 0)
    speckle = 1 / looks
    ground = np.maximum((variance - mean**2 * speckle) / (1 + speckle), 0)
    weight = np.divide(ground, variance, out=np.zeros_like(ground), where=variance > 0)
    filtered: ArrayHW = (mean + weight * (power - mean)).astype(np.float32)
    return filtered


def filter_series(power_thw: ArrayTBHW, *, window_px: int = SPECKLE_WINDOW_PX) -> ArrayTBHW:
    """Smooth speckle of a series, with the other dates as witnesses of the ground's texture.

    Each date keeps its own level, and the pattern within is averaged over all dates, so that far
    finer detail survives than in a filter of one date; use it wherever there are some dates.

    Args:
        power_thw: (T, H, W) linear power of one polarisation and one orbit direction, NaN = no
            data.
        window_px: Side of the window, odd. Read a margin of half of it.

    Returns:
        (T, H, W) float32 linear power, NaN where the input is.

    Raises:
        ConfigError: The window is even or not above 0.

    Source:
        Quegan and Yu 2001, doi:10.1109/36.964973, without the weights for correlated dates.
    """
    total = np.zeros(power_thw.shape[1:], np.float64)
    count = np.zeros(power_thw.shape[1:], np.int32)
    means = np.empty(power_thw.shape, np.float32)
    for date, power in enumerate(power_thw):
        means[date] = _window_means(power, window_px)[0]
        known = np.isfinite(power) & (means[date] > 0)
        total += np.divide(power, means[date], out=np.zeros_like(total), where=known)
        count += known
    pattern = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    filtered: ArrayTBHW = means * pattern.astype(np.float32)
    filtered[~np.isfinite(power_thw)] = np.nan
    return filtered


def reduce_backscatter(
    power_tbhw: ArrayTBHW, method: BackscatterMethod, *, min_looks: int = 1
) -> Reduced:
    """Reduce a series of one orbit direction.

    Args:
        power_tbhw: (T, B, H, W) linear power, a band for each polarisation, NaN = no data. Only
            one direction: the two see slopes and edges from opposite sides.
        method: `median`, or `minimum`, which new water pulls down at once.
        min_looks: Pixels with fewer looks are not observed.

    Returns:
        (B, H, W) float32 dB, NaN where not observed; and the number of looks, (H, W).

    Raises:
        ConfigError: No such method.
        ShapeMismatch: There are no dates.
    """
    if method not in ("median", "minimum"):
        raise ConfigError(f"backscatter method {method!r} is not known; use median, minimum")
    # NaN is not above 0 either.
    measured_thw: BoolTHW = np.logical_and.reduce(power_tbhw > 0, axis=1)
    power_bhw, n_looks = reduce_stack(method, power_tbhw, measured_thw, min_looks=min_looks)
    return to_db(power_bhw), n_looks


def combine_directions(results: Sequence[Reduced], method: BackscatterMethod) -> Reduced:
    """One band for each polarisation from the ascending and the descending passes.

    The minimum of minima is the minimum of all. Medians are averaged in dB, of those that are
    there: what tells the directions apart, angle of incidence and slope, multiplies power and so
    adds to decibels, and one direction's glint (a roof, a bank that faces the radar) cannot
    outweigh the other as it would in power.

    Args:
        results: From `reduce_backscatter`, one for each direction, dB, NaN = not observed.
        method: The method that they were reduced with.

    Returns:
        (B, H, W) float32 dB, NaN where no direction observed; and the sum of looks.

    Raises:
        ConfigError: No results, or no such method.
        ShapeMismatch: They differ in shape.
    """
    if not results or method not in ("median", "minimum"):
        raise ConfigError(
            f"directions are combined as median or minimum of at least one result, got "
            f"{method!r} of {len(results)}"
        )
    shapes = {result.shape for result, _ in results}
    if len(shapes) != 1:
        raise ShapeMismatch(f"directions need one shape, got {sorted(shapes)}")
    stack = np.stack([result for result, _ in results])
    n_looks: LooksHW = np.sum([looks for _, looks in results], axis=0, dtype=np.int16)
    observed = np.isfinite(stack)
    if method == "minimum":
        lowest = np.where(observed, stack, np.inf).min(axis=0)
        combined = np.where(observed.any(axis=0), lowest, np.nan).astype(np.float32)
    else:
        count = observed.sum(axis=0)
        total = np.where(observed, stack, 0).sum(axis=0, dtype=np.float64)
        combined = np.full(total.shape, np.nan, np.float32)
        np.divide(total, count, out=combined, where=count > 0, casting="same_kind")
    return combined, n_looks


def radar_drop(before_db: ArrayBHW, after_db: ArrayBHW) -> ArrayBHW:
    """By how much backscatter fell between two periods.

    Give it each period's minimum; above `PIT_DROP_DB` new water-filled pits are likely. Both
    periods must be of the same directions, or a change of viewing angle passes for one of the
    ground.

    Args:
        before_db: (B, H, W) dB of the earlier period, NaN = not observed.
        after_db: (B, H, W) dB of the later one.

    Returns:
        (B, H, W) dB, positive where it fell; NaN where one of them was not observed.

    Raises:
        ShapeMismatch: They differ in shape.

    Source:
        Forkuor, Ullmann and Griesbeck 2020, doi:10.3390/rs12060911.
    """
    if before_db.shape != after_db.shape:
        raise ShapeMismatch(
            f"periods need one shape, got {before_db.shape} before and {after_db.shape} after"
        )
    drop: ArrayBHW = before_db - after_db
    return drop


def _window_means(power: ArrayHW, window_px: int) -> tuple[FloatArray, FloatArray]:
    """Mean and mean square over the window's pixels that have a value, NaN where power is."""
    if window_px < 1 or window_px % 2 == 0:
        raise ConfigError(f"the window's side must be odd and above 0, got {window_px}")
    known = np.isfinite(power)
    filled = np.where(known, power, 0).astype(np.float64)

    def sum_of(values: FloatArray) -> FloatArray:
        side = np.ones(window_px)
        for axis in (0, 1):
            # Sums one by one, not running ones: those depend on where the array begins.
            values = ndimage.correlate1d(values, side, axis=axis, mode="constant")
        return values

    count = sum_of(known.astype(np.float64))
    mean, mean_square = (
        np.divide(sum_of(values), count, out=np.full_like(filled, np.nan), where=known)
        for values in (filled, filled**2)
    )
    return mean, mean_square
