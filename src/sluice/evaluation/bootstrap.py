"""How far a figure may be off: block bootstrap intervals.

Chips that overlap, or that were cut from the same pixels, are one observation told several
times. Drawing chips would call the figure surer than it is, so whole blocks are drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from sluice.base.arrays import FloatArray
from sluice.base.errors import DataError, NoValidData
from sluice.base.records import Record

RESAMPLES = 1000
LEVEL = 0.95

# A resample in which a figure has no meaning says nothing of its spread. Where that happens more
# often than this, the rest is no fair picture either, and no interval is given.
_MAX_UNDEFINED_SHARE = 0.05
# Resamples weighed at once: 64 x 10,000 chips are 5 MB, which the processor's cache likes.
_AT_ONCE = 64

Statistic = Callable[[FloatArray], FloatArray]
"""Weights (R, N) or (N,) to one figure for each row, NaN where it has no meaning."""


class Estimate(Record):
    """A figure and its interval."""

    value: float | None
    """None where the figure has no meaning, such as a precision with nothing detected."""
    low: float | None
    """2.5 % point; None where too many resamples lack the figure."""
    high: float | None
    """97.5 % point."""
    undefined_resamples: int = Field(default=0, ge=0)
    """Resamples in which the figure had no meaning (one label only); left out."""


def block_weights(
    blocks: npt.NDArray[Any], *, resamples: int = RESAMPLES, seed: int = 0
) -> Iterator[FloatArray]:
    """Draw blocks with replacement, as many as there are.

    Args:
        blocks: (N,) name of each chip's block.
        resamples: How many draws in all.
        seed: The same seed and blocks give the same draws.

    Yields:
        (r, N): how often each chip's block was drawn, for the next r draws.
    """
    generator = np.random.default_rng(seed)
    names, block_of = np.unique(blocks, return_inverse=True)
    for first in range(0, resamples, _AT_ONCE):
        rows = min(_AT_ONCE, resamples - first)
        drawn = generator.integers(names.size, size=(rows, names.size))
        drawn += names.size * np.arange(rows)[:, np.newaxis]
        times = np.bincount(drawn.ravel(), minlength=rows * names.size)
        yield times.reshape(rows, names.size)[:, block_of].astype(np.float64)


def bootstrap_estimates(
    statistics: Mapping[str, Statistic],
    blocks: npt.NDArray[Any],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Estimate figures with percentile intervals, all from the same resamples.

    Args:
        statistics: The figures, by name.
        blocks: (N,) name of each chip's block, no missing ones.
        resamples: How many.
        seed: Of the draws.

    Returns:
        An estimate for each name. Nothing but one block gives no interval.

    Raises:
        NoValidData: No chips.
        DataError: Fewer than 2 resamples.

    Source:
        Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapters 8 and 13.
    """
    if blocks.size == 0:
        raise NoValidData("no chips to evaluate; choose another split or folder")
    if resamples < 2:
        raise DataError(f"{resamples} resamples give no interval; use 1000")
    drawn: dict[str, list[FloatArray]] = {name: [] for name in statistics}
    if np.unique(blocks).size > 1:
        for weights in block_weights(blocks, resamples=resamples, seed=seed):
            for name, statistic in statistics.items():
                drawn[name].append(statistic(weights))
    ones = np.ones(blocks.size)
    return {
        name: _estimate(float(statistic(ones)), drawn[name])
        for name, statistic in statistics.items()
    }


def zero_aware(estimate: Estimate, independent: int) -> Estimate:
    """Give a share of exactly 0 or 1 an interval, which no resample can.

    Where none of n places raised an alarm, none does in any resample either, and the bootstrap
    would say "0 to 0", however small n is. The exact binomial limit takes its place.

    Args:
        estimate: Of a share.
        independent: Blocks that the share was counted over.

    Returns:
        `estimate`, or one with the Clopper-Pearson interval if its value is 0 or 1.

    Source:
        Clopper & Pearson 1934, doi:10.1093/biomet/26.4.404.
    """
    if estimate.value not in (0.0, 1.0) or independent < 1:
        return estimate
    reach = 1 - ((1 - LEVEL) / 2) ** (1 / independent)
    limits = (0.0, reach) if estimate.value == 0 else (1 - reach, 1.0)
    return estimate.model_copy(update={"low": limits[0], "high": limits[1]})


def _estimate(value: float, drawn: list[FloatArray]) -> Estimate:
    figures = np.concatenate(drawn) if drawn else np.empty(0)
    defined = figures[~np.isnan(figures)]
    undefined = figures.size - defined.size
    low = high = None
    if defined.size and undefined <= _MAX_UNDEFINED_SHARE * figures.size:
        tail = (1 - LEVEL) / 2
        low, high = (float(limit) for limit in np.quantile(defined, (tail, 1 - tail)))
    return Estimate(
        value=None if np.isnan(value) else value, low=low, high=high, undefined_resamples=undefined
    )
