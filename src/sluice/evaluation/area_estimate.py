"""How much there is, from a labelled sample: area and accuracy of a map with intervals.

The strata may be finer than the map's classes, or different from them. All figures are means and
ratios of indicators over the strata, which is the error matrix of Olofsson et al. 2014 where strata
and map classes are the same.

Sources:
    Olofsson et al. 2014, doi:10.1016/j.rse.2014.02.015; Stehman 2014,
    doi:10.1080/01431161.2014.930207.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import optimize, special

from sluice.base.arrays import FloatArray, IntArray
from sluice.base.errors import DataError
from sluice.base.records import Record

LEVEL = 0.95
_Z = float(special.ndtri((1 + LEVEL) / 2))

_LABELS = ("stratum", "map_class", "reference")
_Bools = npt.NDArray[np.bool_]


class SampledStratum(Record):
    """What is known of a stratum before anybody looks."""

    name: str
    area_ha: float
    pixels: int | None = None
    """Of the population; None where it is as good as endless."""
    map_class: str | None = None
    """What the map says of all of it; None where it says different things."""


class Figure(Record):
    """An estimate with its interval."""

    value: float
    se: float
    """Standard error."""
    low: float
    """Lower end of the 95 % interval that stays right where few points hit."""
    high: float
    normal_low: float
    """Lower end of the published interval, 1.96 standard errors below; too narrow, or of no width,
    where few points hit."""
    normal_high: float


class ClassEstimate(Record):
    """Area and accuracy of one class."""

    name: str
    points: int
    """Labelled so by the person."""
    mapped_ha: float | None
    """What counting pixels of the map gives; None where the map does not tell."""
    share: Figure
    """Of the area, 0-1."""
    area_ha: Figure
    users: Figure | None
    """Share of the ground mapped as this class that is of it; None where none was sampled."""
    producers: Figure | None
    """Share of the ground of this class that is mapped as it; None where no point was of it."""


class StratumCount(Record):
    """What the sample of a stratum showed."""

    name: str
    area_ha: float
    points: int
    by_class: dict[str, int]


class AreaEstimate(Record):
    """What a labelled sample says of a map and of the ground."""

    area_ha: float
    """Of all strata: the ground that the estimate is about."""
    points: int
    level: float
    classes: tuple[str, ...]
    """Rows (map) and columns (reference) of the matrices."""
    matrix: tuple[tuple[float, ...], ...]
    """Estimated shares of the area, which sum to 1."""
    counts: tuple[tuple[int, ...], ...]
    """Points, which say nothing of area until they are weighed by their strata."""
    overall: Figure
    by_class: tuple[ClassEstimate, ...]
    strata: tuple[StratumCount, ...]


def estimate_area(
    strata: Sequence[SampledStratum], labels: pd.DataFrame, classes: Sequence[str]
) -> AreaEstimate:
    """Estimate the area of each class and the accuracy of a map.

    Args:
        strata: All strata that were sampled, with their areas.
        labels: A row for each labelled point: `stratum`, `map_class`, `reference`.
        classes: Of map and reference, in the order wanted.

    Raises:
        DataError: A stratum has fewer than two labelled points; a stratum or class is not known; a
            point contradicts its stratum's map class.
    """
    _check(strata, labels, classes)
    sample = _Sample.of(strata, labels)
    reference = labels["reference"].to_numpy(dtype=object)
    mapped = labels["map_class"].to_numpy(dtype=object)
    stratum_of = labels["stratum"].to_numpy(dtype=object)
    cells = [[(mapped == row) & (reference == col) for col in classes] for row in classes]
    return AreaEstimate(
        area_ha=sample.total_ha,
        points=len(labels),
        level=LEVEL,
        classes=tuple(classes),
        matrix=tuple(tuple(sample.mean(cell) for cell in row) for row in cells),
        counts=tuple(tuple(int(cell.sum()) for cell in row) for row in cells),
        overall=sample.share(mapped == reference),
        by_class=tuple(
            _estimate_class(sample, name, mapped == name, reference == name) for name in classes
        ),
        strata=tuple(
            StratumCount(
                name=stratum.name,
                area_ha=stratum.area_ha,
                points=int(here.sum()),
                by_class={name: int((here & (reference == name)).sum()) for name in classes},
            )
            for stratum in strata
            for here in [stratum_of == stratum.name]
        ),
    )


def _check(strata: Sequence[SampledStratum], labels: pd.DataFrame, classes: Sequence[str]) -> None:
    missing = [name for name in _LABELS if name not in labels]
    if missing:
        raise DataError(f"labels lack the columns {', '.join(missing)}; give {', '.join(_LABELS)}")
    known = {stratum.name for stratum in strata}
    names = labels["stratum"].to_numpy(dtype=object)
    strange = sorted({str(name) for name in names} - known)
    if strange:
        raise DataError(f"points of unknown strata: {', '.join(strange)}; known: {sorted(known)}")
    for column in ("map_class", "reference"):
        wrong = sorted({str(value) for value in labels[column].to_numpy()} - set(classes))
        if wrong:
            raise DataError(
                f"unknown classes in {column}: {', '.join(wrong)}; known: {', '.join(classes)}"
            )
    points = Counter(names)
    few = [
        stratum.name
        for stratum in strata
        # All of a stratum is enough, be it a single pixel.
        if points[stratum.name] < min(2, stratum.pixels or 2)
    ]
    if few:
        raise DataError(
            f"fewer than two labelled points in stratum {', '.join(few)}: such a stratum has no "
            "interval; label more of its points"
        )
    said = set(zip(names, labels["map_class"].to_numpy(dtype=object), strict=True))
    for stratum in strata:
        mapped = {map_class for name, map_class in said if name == stratum.name}
        if stratum.map_class is not None and mapped != {stratum.map_class}:
            raise DataError(
                f"stratum {stratum.name} is mapped as {stratum.map_class}, and some of its points "
                "are not; give no map class of the stratum"
            )


@dataclass(frozen=True)
class _Sample:
    """The points in their strata, ready for means of indicators."""

    weight: FloatArray
    """(strata,) share of the area."""
    stratum: IntArray
    """(points,) number of the stratum."""
    points: IntArray
    """(strata,)"""
    unseen: FloatArray
    """(strata,) share of the pixels that were not drawn, for the finite population correction."""
    total_ha: float
    map_class: tuple[str | None, ...]
    """(strata,)"""

    @classmethod
    def of(cls, strata: Sequence[SampledStratum], labels: pd.DataFrame) -> _Sample:
        area = np.array([stratum.area_ha for stratum in strata])
        names = pd.Index([stratum.name for stratum in strata])
        number = names.get_indexer(pd.Index(labels["stratum"])).astype(np.int64)
        points = np.bincount(number, minlength=len(strata)).astype(np.int64)
        pixels = np.array([stratum.pixels or np.inf for stratum in strata], dtype=float)
        return cls(
            weight=area / area.sum(),
            stratum=number,
            points=points,
            unseen=1 - points / pixels,
            total_ha=float(area.sum()),
            map_class=tuple(stratum.map_class for stratum in strata),
        )

    def hits(self, indicator: _Bools) -> IntArray:
        """(strata,) points for which something holds."""
        counted: IntArray = np.bincount(
            self.stratum, weights=indicator, minlength=len(self.points)
        ).astype(np.int64)
        return counted

    def mean(self, indicator: _Bools) -> float:
        """Share of the area for which something holds."""
        return float(self.weight @ (self.hits(indicator) / self.points))

    def covariance(self, a: _Bools, b: _Bools) -> float:
        """Of the means of two indicators."""
        both = self.hits(a & b) / self.points
        within = both - self.hits(a) / self.points * self.hits(b) / self.points
        # The sample's own covariance has n / (n - 1) of this, and its mean that divided by n.
        return float((self.weight**2 * self.unseen * within / np.maximum(self.points - 1, 1)).sum())

    def share(self, indicator: _Bools, within: _Bools | None = None) -> Figure:
        """Share of the area, or of the area of some strata, for which something holds."""
        weight = self.weight if within is None else np.where(within, self.weight, 0.0)
        scale = weight.sum()
        value = self.mean(indicator) / scale
        se = float(np.sqrt(max(self.covariance(indicator, indicator), 0.0))) / scale
        _, low, high = self.limits(indicator, weight / scale)
        return _figure(value, se, low, high)

    def limits(self, indicator: _Bools, weight: FloatArray) -> tuple[float, float, float]:
        """A weighted sum of the strata's shares, with 95 % limits recovered from theirs (MOVER).

        A stratum in which no point hit has an upper limit above 0, unlike its standard error.

        Source:
            Zou, Huang & Zhang 2009, doi:10.1016/j.csda.2008.09.033.
        """
        hits = self.hits(indicator)
        share = hits / self.points
        low, high = binomial_limits(hits, self.points)
        value = weight @ share
        # What was drawn is known, so that of a stratum seen whole nothing is unsure.
        scale = weight * np.sqrt(self.unseen)
        below, above = np.linalg.norm(scale * (share - low)), np.linalg.norm(scale * (high - share))
        return float(value), float(value - below), float(value + above)

    def ratio(self, part: _Bools, whole: _Bools) -> tuple[float, float] | None:
        """Share of one part of the area that is another, and its standard error."""
        of = self.mean(whole)
        if of == 0:
            return None
        value = self.mean(part) / of
        variance = (
            self.covariance(part, part)
            + value**2 * self.covariance(whole, whole)
            - 2 * value * self.covariance(part, whole)
        )
        return value, float(np.sqrt(max(variance, 0.0))) / of


def _estimate_class(sample: _Sample, name: str, mapped: _Bools, is_class: _Bools) -> ClassEstimate:
    share = sample.share(is_class)
    told = None not in sample.map_class
    of_map = np.array([said == name for said in sample.map_class])
    return ClassEstimate(
        name=name,
        points=int(is_class.sum()),
        mapped_ha=float(sample.weight[of_map].sum()) * sample.total_ha if told else None,
        share=share,
        area_ha=Figure(**{k: v * sample.total_ha for k, v in share.model_dump().items()}),
        users=_users(sample, of_map if told else None, mapped, is_class),
        producers=_producers(sample, of_map if told else None, mapped, is_class),
    )


def _users(
    sample: _Sample, of_map: _Bools | None, mapped: _Bools, is_class: _Bools
) -> Figure | None:
    if of_map is not None:
        # The map's area is known, and need not be estimated.
        return sample.share(mapped & is_class, of_map) if of_map.any() else None
    found = sample.ratio(mapped & is_class, mapped)
    return None if found is None else _normal(*found)


def _producers(
    sample: _Sample, of_map: _Bools | None, mapped: _Bools, is_class: _Bools
) -> Figure | None:
    found = sample.ratio(mapped & is_class, is_class)
    if found is None or of_map is None:
        return None if found is None else _normal(*found)
    # A stratum is mapped as one class: it can hold what is mapped right, or what is missed.
    right = sample.limits(is_class, np.where(of_map, sample.weight, 0.0))
    missed = sample.limits(is_class, np.where(of_map, 0.0, sample.weight))
    return _figure(*found, *_part_limits(right, missed))


def _figure(value: float, se: float, low: float, high: float) -> Figure:
    reach = _Z * se
    return Figure(
        value=value,
        se=se,
        low=min(max(low, 0.0), value),
        high=max(min(high, 1.0), value),
        normal_low=value - reach,
        normal_high=value + reach,
    )


def _normal(value: float, se: float) -> Figure:
    return _figure(value, se, value - _Z * se, value + _Z * se)


def binomial_limits(hits: IntArray, points: IntArray) -> tuple[FloatArray, FloatArray]:
    """95 % limits of shares: Jeffreys', closed at 0 and 1 where no point, or every one, hits.

    Args:
        hits: (N,) points for which something holds.
        points: (N,) of how many.

    Source:
        Brown, Cai & DasGupta 2001, doi:10.1214/ss/1009213286, 4.3.
    """
    tail = (1 - LEVEL) / 2
    low = special.betaincinv(hits + 0.5, points - hits + 0.5, tail)
    high = special.betaincinv(hits + 0.5, points - hits + 0.5, 1 - tail)
    return np.where(hits == 0, 0.0, low), np.where(hits == points, 1.0, high)


def _part_limits(
    right: tuple[float, float, float], missed: tuple[float, float, float]
) -> tuple[float, float]:
    """95 % limits of right / (right + missed) from the values and limits of both.

    They are the shares s at which (1 - s) right - s missed could still be 0.

    Source:
        Donner & Zou 2012, doi:10.1177/0962280210383082, for ratios; here of a part of a sum.
    """
    (a, a_low, a_high), (b, b_low, b_high) = right, missed

    def lowest(s: float) -> float:
        return (1 - s) * a - s * b - float(np.hypot((1 - s) * (a - a_low), s * (b_high - b)))

    def highest(s: float) -> float:
        return (1 - s) * a - s * b + float(np.hypot((1 - s) * (a_high - a), s * (b - b_low)))

    low = optimize.brentq(lowest, 0.0, 1.0) if lowest(0.0) > 0 > lowest(1.0) else 0.0
    high = optimize.brentq(highest, 0.0, 1.0) if highest(0.0) > 0 > highest(1.0) else 1.0
    return float(low), float(high)
