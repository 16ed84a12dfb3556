"""Give back ground that a mask calls cloud on most dates although it stays put.

Masks of one date take bright ponds, sandbars and bare ground for cloud: in one image they look
alike. Over time they do not. Ground returns to the same brightness from date to date; cloud is of
another thickness each time. So a pixel's looks are put in order of brightness, and the interval
is sought that holds most of them while being no wider than repeated looks at one ground scatter.
It is believed to be ground if it holds more looks than cloud could put there by chance, if the
mask called most of them cloud, and if hardly anything darker was seen clear in between: where it
was, that was the ground, and the interval is haze over it. Darker ground before all of them or
after is another matter: that is a mine dug within the period.

Everything happens pixel by pixel, so the result does not depend on how an image is cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, lgamma, log

import numpy as np
import numpy.typing as npt

from sluice.base.arrays import ArrayTHW, BoolTHW
from sluice.base.errors import ShapeMismatch
from sluice.composite.ordering import blocks_of_rows, count_looks, sort_looks

_BoolTP = npt.NDArray[np.bool_]
_FloatTP = npt.NDArray[np.float32]
_FloatP = npt.NDArray[np.float32]
_Places = npt.NDArray[np.intp]
_WIDTH_STEP = 0.0025


@dataclass(frozen=True)
class GuardRule:
    """When flagged looks are believed to be ground. The defaults are for surface reflectance.

    They were chosen on made-up series, with clouds of a two-stream model over ground that varies
    as surface reflectance is specified to; no real image had a part in it.
    """

    min_looks: int = 6
    """Observed looks below which nothing is given back: a few clouds may well agree."""
    min_brightness: float = 0.07
    """Darker ground is left to the mask: what makes it look like cloud is haze, and thin haze
    over dark ground varies little from date to date."""
    spread_abs: float = 0.005
    spread_rel: float = 0.05
    """One standard deviation of repeated looks at one ground: 0.005 + 0.05 x brightness, the
    accuracy that surface reflectance is specified to (Vermote and Kotchenova 2008,
    doi:10.1029/2007JD009662)."""
    width_spreads: float = 3.0
    """The interval's width in standard deviations, which holds seven of eight looks at a ground
    that varies so, and more than half where it varies twice as much with season and sun. Wider,
    it takes in haze."""
    chance: float = 0.01
    """How many intervals so full may be expected of cloud alone in a pixel."""
    cloud_range: float = 0.5
    """Width over which cloud's brightness is strewn. Less than in truth, for safety."""
    min_share: float = 0.35
    """Least share of the observed looks that the interval must hold, however many there are:
    cloud is not strewn quite evenly."""
    most: float = 0.5
    """Share of the observed looks, and of those in the interval, that the mask must have called
    cloud: ground that is mostly seen as clear needs no guard."""
    darker: float = 0.15
    """Clear looks darker than the interval's middle, as a share of those in it, up to which it
    may still be the ground: half of the ground's own looks that the mask let pass, and shadows
    that it missed. Only those between the interval's first date and its last count."""

    def spread(self, brightness: _FloatTP) -> _FloatTP:
        """One standard deviation of repeated looks at a ground of that brightness."""
        spread: _FloatTP = np.maximum(brightness, 0) * np.float32(self.spread_rel)
        spread += np.float32(self.spread_abs)
        return spread


def give_back_stable_ground(
    visible: Sequence[ArrayTHW],
    flagged_thw: BoolTHW,
    rule: GuardRule | None = None,
    *,
    observed_thw: BoolTHW | None = None,
) -> BoolTHW:
    """Tell which flagged looks are ground after all.

    Args:
        visible: Reflectance of visible bands, (T, H, W) float32 each, in order of time. Their mean
            is the brightness.
        flagged_thw: (T, H, W), True where the mask says cloud (not shadow).
        rule: When to believe it.
        observed_thw: (T, H, W), True where every band has a value and the mask does not say
            shadow; if None, where they have a value.

    Returns:
        (T, H, W), True for looks to be treated as clear besides those that the mask leaves;
        a subset of `flagged_thw`.

    Raises:
        ShapeMismatch: The inputs differ in shape.

    Source:
        Own, of two known parts: the shortest interval that holds a share of the data, as where
        its bulk lies (Rousseeuw and Leroy 1988, doi:10.1111/j.1467-9574.1988.tb01224.x), and
        how crowded an interval chance makes (scan statistics; Naus 1965,
        doi:10.1080/01621459.1965.10480810).
    """
    rule = rule or GuardRule()
    if observed_thw is None:
        observed_thw = np.logical_and.reduce([np.isfinite(band) for band in visible])
    shapes = {flagged_thw.shape, observed_thw.shape, *(band.shape for band in visible)}
    if len(shapes) != 1 or flagged_thw.ndim != 3:
        raise ShapeMismatch(
            f"bands and flags need one shape (time, row, column), got {sorted(shapes)}"
        )
    given_back: BoolTHW = np.zeros(flagged_thw.shape, bool)
    for rows in blocks_of_rows(flagged_thw):
        observed = observed_thw[:, rows].reshape(len(observed_thw), -1)
        flagged = flagged_thw[:, rows].reshape(observed.shape) & observed
        n_observed, n_flagged = count_looks(observed), count_looks(flagged)
        suspect = (n_observed >= max(rule.min_looks, 2)) & (n_flagged >= rule.most * n_observed)
        pixels = np.flatnonzero(suspect)
        if pixels.size:
            found = np.zeros(flagged.shape, bool)
            looks = _mean([band[:, rows].reshape(observed.shape)[:, pixels] for band in visible])
            looks[~observed[:, pixels]] = np.inf
            found[:, pixels] = _find_ground(looks, flagged[:, pixels], rule)
            given_back[:, rows] = found.reshape(given_back[:, rows].shape)
    return given_back


@lru_cache(maxsize=65_536)
def looks_needed(n_looks: int, width: float, rule: GuardRule) -> int:
    """How many of a pixel's looks must lie within an interval to be no work of cloud.

    Args:
        n_looks: Observed looks.
        width: The interval's, in brightness.
        rule: See there.

    Returns:
        The least k, at least `min_share` of the looks, for which the expected number of groups
        of k among `n_looks` points strewn evenly over `cloud_range` that fit into the width is
        at most `chance`; `n_looks` + 1 if there is none.
    """
    share = min(width / rule.cloud_range, 1.0)
    for k in range(max(2, ceil(rule.min_share * n_looks - 1e-9)), n_looks + 1):
        groups = lgamma(n_looks + 1) - lgamma(k + 1) - lgamma(n_looks - k + 1)
        fits = k * share ** (k - 1) - (k - 1) * share**k
        if fits <= 0 or groups + log(fits) <= log(rule.chance):
            return k
    return n_looks + 1


def _find_ground(looks_tp: _FloatTP, flagged_tp: _BoolTP, rule: GuardRule) -> _BoolTP:
    """Flagged looks that are ground; infinity where not observed."""
    ordered, is_flagged = _sort_with_flags(looks_tp, flagged_tp)
    first, count = _fullest_interval(ordered, rule)
    pixel = np.arange(first.size)
    lowest, highest = ordered[first, pixel], ordered[first + count - 1, pixel]
    level = (lowest + highest) / 2
    place = np.arange(len(ordered))[:, None]
    inside = (place >= first) & (place < first + count)
    is_ground = (
        (level >= rule.min_brightness)
        & (count >= _look_up_needed(count_looks(np.isfinite(ordered)), level, rule))
        & (count_looks(inside & is_flagged) >= rule.most * count)
    )
    found: _BoolTP = np.zeros(looks_tp.shape, bool)
    kept = np.flatnonzero(is_ground)
    if kept.size:
        looks, flagged, level = looks_tp[:, kept], flagged_tp[:, kept], level[kept]
        darker = _count_darker_between(looks, flagged, lowest[kept], highest[kept], level)
        near = np.abs(looks - level) <= rule.width_spreads * rule.spread(level)
        found[:, kept] = flagged & near & (darker <= rule.darker * count[kept])
    return found


def _sort_with_flags(looks_tp: _FloatTP, flagged_tp: _BoolTP) -> tuple[_FloatTP, _BoolTP]:
    """Looks in order of brightness, and their flags.

    The flag rides in the last bit of the value, a ten-millionth of it, so that plain values can
    be sorted, which is several times as fast as sorting places.
    """
    bits = looks_tp.view(np.int32) & ~1
    bits |= flagged_tp
    ordered = sort_looks(bits.view(np.float32))
    return ordered, (ordered.view(np.int32) & 1).astype(bool)


def _fullest_interval(ordered_tp: _FloatTP, rule: GuardRule) -> tuple[_Places, _Places]:
    """Place of the first look of the fullest interval, the darkest of equals, and its count."""
    times, pixels = ordered_tp.shape
    end = ordered_tp + np.float32(rule.width_spreads) * rule.spread(ordered_tp)
    end[np.isinf(ordered_tp)] = -np.inf  # nothing begins there
    first, most = np.zeros(pixels, np.intp), np.zeros(pixels, np.int16)
    for start in range(times):
        count = count_looks(ordered_tp[start:] <= end[start])
        np.copyto(first, start, where=count > most)
        np.maximum(count, most, out=most)
    return first, most.astype(np.intp)


def _count_darker_between(
    looks_tp: _FloatTP, flagged_tp: _BoolTP, lowest: _FloatP, highest: _FloatP, level: _FloatP
) -> npt.NDArray[np.int16]:
    """Clear looks darker than the interval's middle, between its first date and its last."""
    # The flag's bit may have moved the interval's ends by a ten-millionth.
    inside = (looks_tp >= lowest * (1 - 1e-6)) & (looks_tp <= highest * (1 + 1e-6))
    begun = np.logical_or.accumulate(inside, axis=0)
    not_ended = np.logical_or.accumulate(inside[::-1], axis=0)[::-1]
    return count_looks((looks_tp < level) & ~flagged_tp & begun & not_ended)


def _mean(bands: Sequence[_FloatTP]) -> _FloatTP:
    mean: _FloatTP = bands[0].astype(np.float32)
    for band in bands[1:]:
        mean += band
    if len(bands) > 1:
        mean /= len(bands)
    return mean


def _look_up_needed(n_observed: npt.NDArray[np.int16], level: _FloatP, rule: GuardRule) -> _Places:
    # In steps of width, rounded up, so that few cases are to be computed.
    width = rule.width_spreads * rule.spread(level)
    steps = np.ceil(width / _WIDTH_STEP).astype(np.intp)
    cases, which = np.unique(n_observed.astype(np.intp) * 1_000_000 + steps, return_inverse=True)
    needed = [
        looks_needed(case // 1_000_000, case % 1_000_000 * _WIDTH_STEP, rule)
        for case in cases.tolist()
    ]
    return np.asarray(needed, np.intp)[which]
