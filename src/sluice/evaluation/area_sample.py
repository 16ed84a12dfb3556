"""Where to look: a stratified random sample of a map, for `evaluation.area_estimate`.

A map's own pixels say nothing of its errors. A person who looks at points drawn at random does, and
strata put more of the points where mines are, without making the estimate lean.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
from pydantic import Field

from sluice.base.arrays import FloatArray, IntArray
from sluice.base.errors import ConfigError
from sluice.base.records import Record

Allocation: TypeAlias = Literal["neyman", "proportional", "equal"]
ALLOCATIONS: tuple[Allocation, ...] = get_args(Allocation)

OUTSIDE = 255
"""Code of a pixel that no stratum takes: not observed, or not in the area."""
LEAST_PER_STRATUM = 2
"""With one point a stratum tells nothing of its own spread."""
MOST_POINTS = 20_000
"""More than people label; a target that needs more is refused."""

CodesHW: TypeAlias = npt.NDArray[np.uint8]


class Stratum(Record):
    """A part of the map that gets a sample of its own."""

    name: str
    meaning: str
    """Which ground it is, for a person."""
    map_class: str
    """What the map says of all of it."""
    pixels: int = Field(ge=0)
    area_ha: float = Field(ge=0)
    """Geodesic."""
    expected_share: float = Field(ge=0, le=1)
    """Share of it that is guessed to be mine: it steers where points go, and no figure."""
    points: int = Field(default=0, ge=0)
    """Drawn."""


def allocate_points(
    strata: tuple[Stratum, ...], points: int, method: Allocation, minimum: int
) -> IntArray:
    """Share points out among strata.

    `proportional` follows the area, `equal` gives each as many, `neyman` follows area times spread,
    which makes the interval of the area the narrowest if the expected shares hold.

    Args:
        strata: At least one, none empty.
        points: In all.
        method: See above.
        minimum: Points that each stratum gets at least; all its pixels where it has fewer.

    Returns:
        (strata,) points, which sum to `points`, or to all pixels where there are fewer.

    Raises:
        ConfigError: Too few points for the minimum, or the minimum is below 2.

    Source:
        Cochran 1977, Sampling Techniques, 5.5; Olofsson et al. 2014,
        doi:10.1016/j.rse.2014.02.015, 5.1.2.
    """
    if minimum < LEAST_PER_STRATUM:
        raise ConfigError(
            f"--min-points {minimum}: a stratum needs at least {LEAST_PER_STRATUM} points for an "
            "interval; give more"
        )
    pixels = np.array([stratum.pixels for stratum in strata])
    floor = np.minimum(minimum, pixels)
    if points < floor.sum():
        raise ConfigError(
            f"{points} points are too few for {len(strata)} strata with at least {minimum} each; "
            f"give --points {int(floor.sum())} or more, or a smaller --min-points"
        )
    # A share of nothing still takes what no other stratum has room for.
    share = np.maximum(_shares(strata, method), 1e-9)
    total = min(points, int(pixels.sum()))

    def filled(level: float) -> FloatArray:
        """Points if all get the same multiple of their share, within their bounds."""
        wish: FloatArray = np.clip(level * share, floor, pixels)
        return wish

    low, high = 0.0, 1.0
    while filled(high).sum() < total:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (low, middle) if filled(middle).sum() >= total else (middle, high)
    wish = filled(high)
    given: IntArray = np.floor(wish + 1e-9).astype(np.int64)
    # The largest remainders are rounded up, where there is room.
    remainder = np.where(given < pixels, wish - given, -1.0)
    given[np.argsort(-remainder, kind="stable")[: total - int(given.sum())]] += 1
    return given


def _shares(strata: tuple[Stratum, ...], method: Allocation) -> FloatArray:
    """(strata,) shares of the points, summing to 1."""
    area = np.array([stratum.area_ha for stratum in strata])
    if method == "equal":
        return np.full(len(strata), 1 / len(strata))
    wanted = area * _spread(strata) if method == "neyman" else area
    shares: FloatArray = wanted / wanted.sum() if wanted.sum() > 0 else area / area.sum()
    return shares


def _spread(strata: tuple[Stratum, ...]) -> FloatArray:
    share = np.array([stratum.expected_share for stratum in strata])
    spread: FloatArray = np.sqrt(share * (1 - share))
    return spread


def expected_se_ha(strata: tuple[Stratum, ...], points: IntArray) -> float:
    """Standard error of the mine area in hectares, if the expected shares hold.

    Args:
        strata: Drawn from.
        points: (strata,) points of each.

    Source:
        Cochran 1977, Sampling Techniques, 5.3, with the finite population correction.
    """
    area = np.array([stratum.area_ha for stratum in strata])
    pixels = np.array([stratum.pixels for stratum in strata])
    seen = points / np.maximum(pixels, 1)
    variance = area**2 * _spread(strata) ** 2 * (1 - seen) / np.maximum(points, 1)
    return float(np.sqrt(variance.sum()))


def points_needed(
    strata: tuple[Stratum, ...], target_se_ha: float, method: Allocation, minimum: int
) -> int:
    """How many points bring the standard error of the mine area down to a target.

    Args:
        strata: To draw from; their expected shares are taken as true.
        target_se_ha: Standard error in hectares; a 95 % interval is about four times as wide.
        method: Of the allocation.
        minimum: Points of each stratum at least.

    Returns:
        Points in all: with Neyman's allocation and no minimum Cochran's
        n = (sum W S)^2 / (SE^2 + sum W S^2 / N).

    Raises:
        ConfigError: The target is not positive, or takes more points than anybody labels.

    Source:
        Cochran 1977, Sampling Techniques, eq. 5.25; Olofsson et al. 2014, eq. 13.
    """
    if not target_se_ha > 0:
        raise ConfigError("--target-se must be above 0; give hectares (20ha) or a share (10%)")
    area = np.array([stratum.area_ha for stratum in strata])
    pixels = np.array([stratum.pixels for stratum in strata])
    weighted = (area * _spread(strata)) ** 2
    share = np.maximum(_shares(strata, method), np.finfo(float).tiny)
    by_point = np.divide(weighted, share, out=np.zeros_like(share), where=weighted > 0).sum()
    whole = (weighted / pixels).sum()
    # A millionth keeps floating-point noise from adding a point.
    closed = np.ceil(by_point / (target_se_ha**2 + whole) - 1e-6)
    least = int(np.minimum(minimum, pixels).sum())
    most = min(int(pixels.sum()), MOST_POINTS)
    points = max(int(min(closed, most + 1)), least)
    # A minimum takes points from where they do more.
    while points <= most:
        reached = expected_se_ha(strata, allocate_points(strata, points, method, minimum))
        # Whole points share out a little worse than parts of points do.
        if reached <= target_se_ha * 1.005:
            return points
        points += max(1, points // 100)
    raise ConfigError(
        f"a standard error of {target_se_ha:.3g} ha takes more than {most:,} points; give a larger "
        "--target-se, or --points"
    )


def draw_ranks(pixels: IntArray, points: IntArray, seed: int) -> list[IntArray]:
    """Draw pixels of each stratum without replacement, each as likely as any other.

    Args:
        pixels: (strata,) how many there are.
        points: (strata,) how many to draw.
        seed: The same seed and numbers draw the same.

    Returns:
        For each stratum (points,) ranks from 0 in the order in which the map is read, ascending.
    """
    generator = np.random.default_rng(seed)
    return [
        np.sort(generator.choice(int(there), size=int(wanted), replace=False)).astype(np.int64)
        for there, wanted in zip(pixels, points, strict=True)
    ]


def count_codes(codes: CodesHW, strata: int) -> IntArray:
    """(strata,) pixels of each stratum in a block of the map; those outside count for none."""
    counts: IntArray = np.bincount(codes.ravel(), minlength=OUTSIDE + 1)[:strata].astype(np.int64)
    return counts


def find_ranked(
    codes: CodesHW, before: IntArray, ranks: list[IntArray]
) -> tuple[IntArray, IntArray, IntArray]:
    """Find the drawn pixels that lie in one block.

    Args:
        codes: (H, W) stratum of each pixel of the block.
        before: (strata,) pixels of each in the blocks that were read before this one.
        ranks: As `draw_ranks` gives them.

    Returns:
        (points,) row, column and stratum of the drawn pixels of this block.
    """
    flat = codes.ravel()
    here = count_codes(codes, len(ranks))
    found, strata = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for code, drawn in enumerate(ranks):
        first, last = np.searchsorted(drawn, [before[code], before[code] + here[code]])
        if first < last:
            found.append(np.flatnonzero(flat == code)[drawn[first:last] - before[code]])
            strata.append(np.full(last - first, code, np.int64))
    rows, cols = np.divmod(np.concatenate(found), codes.shape[1])
    return rows, cols, np.concatenate(strata)
