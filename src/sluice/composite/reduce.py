"""Several looks at one place, reduced to one.

A look counts where it is clear and every band has a value, so all bands of a pixel come from the
same dates. Nothing here copies the stack: it is worked through in blocks of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from typing import Any, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from sluice.base.arrays import ArrayBHW, ArrayHW, ArrayTBHW, BoolTHW
from sluice.base.errors import ConfigError, ShapeMismatch
from sluice.base.methods import Method
from sluice.composite.ordering import (
    LookSorter,
    blocks_of_rows,
    count_looks,
    floor_of_looks,
)

LooksHW: TypeAlias = npt.NDArray[np.int16]
Reduced: TypeAlias = tuple[ArrayBHW, LooksHW]
Reducer: TypeAlias = Callable[[ArrayTBHW, BoolTHW], Reduced]

_NAN = np.float32(np.nan)


def median_of_clear(stack_tbhw: ArrayTBHW, clear_thw: BoolTHW) -> Reduced:
    """Median over time of the clear looks, band by band.

    Args:
        stack_tbhw: (T, B, H, W) float32, NaN = no data. It is left as it was.
        clear_thw: (T, H, W), True where the ground was seen.

    Returns:
        The median, (B, H, W) float32, NaN where no look counts (the mean of the middle two
        where their number is even); and the number of looks, (H, W).

    Raises:
        ShapeMismatch: The inputs differ in T, H or W, or T is 0.
    """
    return percentile_of_clear(stack_tbhw, clear_thw, 50.0)


def percentile_of_clear(stack_tbhw: ArrayTBHW, clear_thw: BoolTHW, percent: float) -> Reduced:
    """A percentile over time of the clear looks, band by band, linear between two looks.

    Args:
        stack_tbhw: (T, B, H, W) float32, NaN = no data. It is left as it was.
        clear_thw: (T, H, W), True where the ground was seen.
        percent: 0 (the lowest) to 100 (the highest).

    Returns:
        As `median_of_clear`.

    Raises:
        ShapeMismatch: The inputs differ in T, H or W, or T is 0.
        ConfigError: The percentile is not within 0-100.

    Source:
        Hyndman and Fan 1996, definition 7 (numpy's default), doi:10.1080/00031305.1996.10473566.
    """
    if not 0 <= percent <= 100:
        raise ConfigError(f"a percentile lies within 0 to 100, got {percent:g}")
    _check_shapes(stack_tbhw, clear_thw)
    if len(stack_tbhw) == 1:
        return _only_look(stack_tbhw, clear_thw)
    reduced, n_looks = _make_results(stack_tbhw)
    for rows in blocks_of_rows(clear_thw):
        block = stack_tbhw[:, :, rows]
        counted = counted_looks(block, clear_thw[:, rows])
        n_looks[rows] = count_looks(counted)
        places = _Places(n_looks[rows], len(block), percent)
        for band, picked in enumerate(places.pick_bands(block, counted)):
            reduced[band, rows] = picked
    return reduced, n_looks


def minimum_of_clear(stack_tbhw: ArrayTBHW, clear_thw: BoolTHW) -> Reduced:
    """The lowest of the clear looks, band by band.

    Args:
        stack_tbhw: (T, B, H, W) float32, NaN = no data.
        clear_thw: (T, H, W), True where the ground was seen.

    Returns:
        As `median_of_clear`.

    Raises:
        ShapeMismatch: The inputs differ in T, H or W, or T is 0.
    """
    return percentile_of_clear(stack_tbhw, clear_thw, 0.0)


def medoid_of_clear(stack_tbhw: ArrayTBHW, clear_thw: BoolTHW) -> Reduced:
    """The clear look that lies nearest to the median of each band.

    All bands of a pixel come from one date, so their relation is one that was really seen.
    Nearest means the least sum over bands of squared differences; of equals, the earliest.

    Args:
        stack_tbhw: (T, B, H, W) float32, NaN = no data.
        clear_thw: (T, H, W), True where the ground was seen.

    Returns:
        As `median_of_clear`.

    Raises:
        ShapeMismatch: The inputs differ in T, H or W, or T is 0.

    Source:
        Flood 2013, doi:10.3390/rs5126481; the distance to the per-band median instead of to
        all other looks as in Kennedy et al. 2018, doi:10.3390/rs10050691.
    """
    _check_shapes(stack_tbhw, clear_thw)
    if len(stack_tbhw) == 1:
        return _only_look(stack_tbhw, clear_thw)
    reduced, n_looks = _make_results(stack_tbhw)
    for rows in blocks_of_rows(clear_thw):
        block = stack_tbhw[:, :, rows]
        counted = counted_looks(block, clear_thw[:, rows])
        n_looks[rows] = count_looks(counted)
        places = _Places(n_looks[rows], len(block), 50.0)
        # In float64 two looks on either side of the median are equally far exactly, so that
        # the rule for equals decides and not the rounding.
        distance = np.zeros(counted.shape, np.float64)
        for band, middle in enumerate(places.pick_bands(block, counted, np.float64)):
            distance += np.square(block[:, band] - middle)
        distance[~counted] = np.inf
        nearest = distance.argmin(axis=0)[None, None]
        chosen = np.take_along_axis(block, nearest, axis=0)[0]
        reduced[:, rows] = np.where(counted.any(axis=0), chosen, _NAN)
    return reduced, n_looks


METHODS: dict[Method, Reducer] = {
    "median": median_of_clear,
    "medoid": medoid_of_clear,
    "minimum": minimum_of_clear,
    "p10": lambda stack, clear: percentile_of_clear(stack, clear, 10.0),
    "p25": lambda stack, clear: percentile_of_clear(stack, clear, 25.0),
    "p75": lambda stack, clear: percentile_of_clear(stack, clear, 75.0),
    "p90": lambda stack, clear: percentile_of_clear(stack, clear, 90.0),
}
"""All ways to reduce."""


def reduce_stack(
    method: Method, stack_tbhw: ArrayTBHW, clear_thw: BoolTHW, *, min_looks: int = 1
) -> Reduced:
    """Reduce a stack by a method's name.

    Args:
        method: One of `METHODS`.
        stack_tbhw: (T, B, H, W) float32, NaN = no data. It is left as it was.
        clear_thw: (T, H, W), True where the ground was seen.
        min_looks: Pixels with fewer clear looks are not observed: NaN.

    Returns:
        (B, H, W) float32, and the number of looks that counted, (H, W), which says the truth
        also where they were too few.

    Raises:
        ConfigError: No such method.
        ShapeMismatch: The inputs differ in T, H or W, or T is 0.
    """
    if method not in METHODS:
        raise ConfigError(
            f"composite method {method!r} is not known; use {', '.join(get_args(Method))}"
        )
    reduced, n_looks = METHODS[method](stack_tbhw, clear_thw)
    if min_looks > 1:
        reduced[:, n_looks < min_looks] = _NAN
    return reduced, n_looks


def counted_looks(stack_tbhw: ArrayTBHW, clear_thw: BoolTHW) -> BoolTHW:
    """Tell which looks count: clear, and with a value in every band.

    Args:
        stack_tbhw: (T, B, H, W) float32, NaN = no data.
        clear_thw: (T, H, W).

    Returns:
        (T, H, W).
    """
    counted = clear_thw.copy()
    finite = np.empty_like(counted)
    for band in range(stack_tbhw.shape[1]):
        np.isfinite(stack_tbhw[:, band], out=finite)
        counted &= finite
    return counted


def last_clear_day(clear_thw: BoolTHW, days_t: Sequence[date]) -> ArrayHW:
    """Day of the last clear look.

    Args:
        clear_thw: (T, H, W), True where the ground was seen.
        days_t: Day of each look, in any order.

    Returns:
        (H, W) float32, days since 1970-01-01 (exact in float32 for more than 40,000 years),
        NaN where the ground was never seen.

    Raises:
        ShapeMismatch: There is not one day for each look.
    """
    if len(clear_thw) != len(days_t):
        raise ShapeMismatch(f"{len(clear_thw)} looks need as many days, got {len(days_t)}")
    last: ArrayHW = np.full(clear_thw.shape[1:], _NAN, np.float32)
    epoch = date(1970, 1, 1).toordinal()
    numbers = [day.toordinal() - epoch for day in days_t]
    for look in np.argsort(numbers, kind="stable"):
        last[clear_thw[look]] = numbers[look]
    return last


class _Places:
    """Where in each pixel's sorted looks the wanted one lies: between two, by a share.

    Args:
        n_looks: (H, W) looks that count.
        times: Looks in all.
        percent: 0 (the lowest) to 100 (the highest).
    """

    def __init__(self, n_looks: LooksHW, times: int, percent: float) -> None:
        last = np.maximum(n_looks.reshape(-1) - 1, 0).astype(np.intp)
        if percent == 50:
            # Whole numbers, and one share for all: the median is what is asked for most.
            below, above = last // 2, (last + 1) // 2
            self._share_above = np.asarray(0.5)
        else:
            wanted = last * (percent / 100)
            below = wanted.astype(np.intp)
            above = np.minimum(below + 1, last)
            self._share_above = wanted - below
        highest = min(int((times - 1) * percent / 100) + 2, times)
        self._sorter = LookSorter(times, n_looks.size, highest)
        self._below, self._above = self._sorter.indices(below), self._sorter.indices(above)
        self._is_absent = n_looks == 0

    def pick_bands(
        self,
        block_tbhw: ArrayTBHW,
        counted_thw: BoolTHW,
        dtype: npt.DTypeLike = np.float32,
    ) -> Iterator[npt.NDArray[Any]]:
        """The wanted value of every pixel, (H, W), band by band; NaN where no look counts."""
        times, bands = block_tbhw.shape[:2]
        floor = floor_of_looks(counted_thw).reshape(times, -1)
        share: npt.NDArray[Any] = self._share_above.astype(dtype)
        for band in range(bands):
            ordered = self._sorter.sort(block_tbhw[:, band].reshape(times, -1), floor)
            picked: npt.NDArray[Any] = ordered.take(self._below).astype(dtype, copy=False)
            # Each is weighted before they are added, so that no sum overflows. Where no look
            # counts this is infinity, or infinity times 0.
            with np.errstate(invalid="ignore"):
                picked *= 1 - share
                picked += share * ordered.take(self._above)
            picked = picked.reshape(self._is_absent.shape)
            picked[self._is_absent] = np.nan
            yield picked


def _only_look(stack_tbhw: ArrayTBHW, clear_thw: BoolTHW) -> Reduced:
    """Whatever is asked for of one look is the look; to sort it takes most of a scan's time."""
    (counted,) = counted_looks(stack_tbhw, clear_thw)
    look = np.where(counted, stack_tbhw[0], _NAN).astype(np.float32, copy=False)
    return look, counted.astype(np.int16)


def _check_shapes(stack_tbhw: ArrayTBHW, clear_thw: BoolTHW) -> None:
    times, _, height, width = stack_tbhw.shape
    if clear_thw.shape != (times, height, width) or times == 0:
        raise ShapeMismatch(
            f"a stack of {stack_tbhw.shape} (time, band, row, column) needs one clear layer for "
            f"each time, got {clear_thw.shape}"
        )


def _make_results(stack_tbhw: ArrayTBHW) -> Reduced:
    _, bands, height, width = stack_tbhw.shape
    return (
        np.empty((bands, height, width), np.float32),
        np.empty((height, width), np.int16),
    )
