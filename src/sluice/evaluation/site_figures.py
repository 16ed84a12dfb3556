"""Detected polygons against true ones: what was found, what was missed, and how many false alarms.

Two rules decide, and both are about area, so that a shared border counts for nothing:

- A true site is *found* where detections, taken together, cover more than nothing of it, and at
  least the share of it that the caller names.
- A detection is a *false alarm* where it overlaps no true site at all.

Sites and detections count if at least half of their area lies in the area looked at; of a site,
only the part inside has to be covered. Areas are those of an equal-area projection around the area
looked at, whatever the CRS of the files.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import shapely
from pydantic import Field

from sluice.base.arrays import FloatArray, IntArray
from sluice.base.errors import ConfigError
from sluice.base.records import DISCLAIMER, Record
from sluice.evaluation.bootstrap import (
    LEVEL,
    RESAMPLES,
    Estimate,
    bootstrap_estimates,
    zero_aware,
)
from sluice.evaluation.compare import estimate_text
from sluice.evaluation.metrics import ratio
from sluice.evaluation.site_shapes import (
    Blocks,
    Shapes,
    covered_share,
    lay_blocks,
    mostly_inside,
    on_equal_area,
    overlaps_any,
)

SIZE_EDGES_HA = (1.0, 5.0, 25.0)
"""Between the classes of size: a few pits, a small working, a large one, a field of them."""
BLOCK_KM = 25.0
"""Side of a block of the bootstrap, about a quarter of a degree."""

_PER_KM2 = 1000.0


class SizeClass(Record):
    """True sites of one class of size."""

    low_ha: float
    """This or more."""
    high_ha: float | None
    """Less than this; None for no limit."""
    sites: int
    found: int
    missed: int
    recall: Estimate
    """Share found."""


class SiteReport(Record):
    """What `sluice evaluate sites` found."""

    area_km2: float
    """Looked at."""
    found_share: float
    """Share of a site that detections must cover for it to be found; 0 is any overlap."""
    sites: int
    found: int
    missed: int
    recall: Estimate
    by_size: tuple[SizeClass, ...]
    """The smallest first."""
    detections: int
    false_alarms: int
    precision: Estimate
    """Share of detections that overlap a site."""
    false_alarms_per_1000_km2: Estimate
    sites_outside: int
    """Of which more than half lies outside the area; left out."""
    detections_outside: int
    mended: int = 0
    """Polygons that crossed themselves and were mended."""
    block_km: float
    blocks: int
    """Squares of that side that the area meets, the unit of the bootstrap."""
    resamples: int
    seed: int
    disclaimer: str = Field(default=DISCLAIMER)


def evaluate_sites(
    detections: gpd.GeoDataFrame,
    truth: gpd.GeoDataFrame,
    area: gpd.GeoSeries,
    *,
    found_share: float = 0.0,
    size_edges_ha: Sequence[float] = SIZE_EDGES_HA,
    block_km: float = BLOCK_KM,
    mend: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> SiteReport:
    """Judge detected polygons by true ones.

    Blocks are squares of a grid in the equal-area projection; a site or detection belongs to the
    block of a point within it. Where there is no false alarm at all, the interval of their rate
    ends at the exact Poisson limit, as no resample can show one.

    Args:
        detections: Polygons in any CRS; may be empty, where nothing was detected.
        truth: Polygons of all mines in the area, in any CRS; may be empty.
        area: Polygons of what was looked at, in any CRS.
        found_share: See `SiteReport.found_share`; in [0, 1].
        size_edges_ha: Rising limits between classes of size.
        block_km: Side of a block.
        mend: Whether to mend invalid polygons, and count them, rather than refuse them.
        resamples: Of the block bootstrap.
        seed: Of the resamples.

    Raises:
        GridMismatch: A layer has no CRS, or coordinates that do not fit it.
        DataError: A geometry is missing, no polygon, or invalid and not to be mended.
        NoValidData: The area is empty.
        ConfigError: A share, edge or side that cannot be.

    Source:
        Garwood 1936, doi:10.1093/biomet/28.3-4.437 (limit of a rate without events).
    """
    _check_options(found_share, size_edges_ha, block_km)
    shapes = on_equal_area(detections.geometry, truth.geometry, area, mend=mend)
    blocks = lay_blocks(shapes.area, block_km * 1000)
    sites = _judge_sites(shapes.sites, shapes.detections, shapes.area, blocks, found_share)
    drawn = _judge_detections(shapes.detections, shapes.sites, shapes.area, blocks)
    sizes = {
        limits: (sites.size_ha >= limits[0]) & (sites.size_ha < limits[1])
        for limits in itertools.pairwise((0.0, *size_edges_ha, np.inf))
    }
    found = _estimates(sites, drawn, sizes, blocks, resamples=resamples, seed=seed)
    return SiteReport(
        area_km2=float(blocks.km2.sum()),
        found_share=found_share,
        sites=sites.good.size,
        found=int(sites.good.sum()),
        missed=int((~sites.good).sum()),
        recall=found["recall"],
        by_size=tuple(
            _size_class(limits, sites.good[member], found[_key(limits)])
            for limits, member in sizes.items()
        ),
        detections=drawn.good.size,
        false_alarms=int((~drawn.good).sum()),
        precision=found["precision"],
        false_alarms_per_1000_km2=found["alarms"],
        sites_outside=sites.left_out,
        detections_outside=drawn.left_out,
        mended=shapes.mended,
        block_km=block_km,
        blocks=blocks.km2.size,
        resamples=resamples,
        seed=seed,
    )


@dataclass(frozen=True)
class _PerBlock:
    """A ratio of sums over blocks, as a statistic."""

    part: FloatArray
    whole: FloatArray

    def __call__(self, weights: FloatArray) -> FloatArray:
        return ratio(weights @ self.part, weights @ self.whole)


@dataclass(frozen=True)
class _Judged:
    """Polygons that count, and the verdict on each."""

    good: npt.NDArray[np.bool_]
    """(N,) of a site: found; of a detection: on a site."""
    block: IntArray
    left_out: int
    size_ha: FloatArray = dataclasses.field(default_factory=lambda: np.empty(0))

    def share(self, blocks: Blocks, member: npt.NDArray[np.bool_] | None = None) -> _PerBlock:
        """Share of the good among those of a kind."""
        among = np.ones(self.good.size, np.bool_) if member is None else member
        return _PerBlock(
            blocks.count(self.block[self.good & among]), blocks.count(self.block[among])
        )


def _judge_sites(
    sites: Shapes, detections: Shapes, area: shapely.Geometry, blocks: Blocks, found_share: float
) -> _Judged:
    counted = mostly_inside(sites, area)
    covered = covered_share(sites[counted], detections, area)
    return _Judged(
        # A hair of tolerance: half of a square is half of it, whatever the projection rounds.
        good=(covered > 0) & (covered >= found_share - 1e-9),
        block=blocks.of(sites[counted]),
        left_out=int((~counted).sum()),
        size_ha=shapely.area(sites[counted]) / 10_000,
    )


def _judge_detections(
    detections: Shapes, sites: Shapes, area: shapely.Geometry, blocks: Blocks
) -> _Judged:
    counted = mostly_inside(detections, area)
    return _Judged(
        good=overlaps_any(detections[counted], sites),
        block=blocks.of(detections[counted]),
        left_out=int((~counted).sum()),
    )


def _estimates(
    sites: _Judged,
    drawn: _Judged,
    sizes: Mapping[tuple[float, float], npt.NDArray[np.bool_]],
    blocks: Blocks,
    *,
    resamples: int,
    seed: int,
) -> dict[str, Estimate]:
    shares = {
        "recall": sites.share(blocks),
        "precision": drawn.share(blocks),
        **{_key(limits): sites.share(blocks, member) for limits, member in sizes.items()},
    }
    alarms = _PerBlock(blocks.count(drawn.block[~drawn.good]), blocks.km2 / _PER_KM2)
    names = np.arange(blocks.km2.size)
    found = bootstrap_estimates({**shares, "alarms": alarms}, names, resamples=resamples, seed=seed)
    return {
        **{
            name: zero_aware(found[name], int((share.whole > 0).sum()))
            for name, share in shares.items()
        },
        "alarms": _poisson_aware(found["alarms"], float(blocks.km2.sum())),
    }


def _key(limits: tuple[float, float]) -> str:
    return f"recall from {limits[0]} ha"


def _size_class(
    limits: tuple[float, float], found: npt.NDArray[np.bool_], recall: Estimate
) -> SizeClass:
    low, high = limits
    return SizeClass(
        low_ha=low,
        high_ha=None if high == np.inf else high,
        sites=found.size,
        found=int(found.sum()),
        missed=int((~found).sum()),
        recall=recall,
    )


def _poisson_aware(rate: Estimate, area_km2: float) -> Estimate:
    """Give a rate of exactly 0 an upper limit: what shows no event in 2.5 % of cases."""
    if rate.value != 0:
        return rate
    highest = -np.log((1 - LEVEL) / 2) * _PER_KM2 / area_km2
    return rate.model_copy(update={"low": 0.0, "high": float(highest)})


def _check_options(found_share: float, size_edges_ha: Sequence[float], block_km: float) -> None:
    if not 0 <= found_share <= 1:
        raise ConfigError(f"a share of {found_share} of a site cannot be covered; use 0 to 1")
    rising = all(a < b for a, b in itertools.pairwise((0.0, *size_edges_ha)))
    if not rising or not np.isfinite(size_edges_ha).all():
        raise ConfigError(f"sizes {tuple(size_edges_ha)} ha do not rise from 0; use 1, 5, 25")
    if not 0 < block_km < np.inf:
        raise ConfigError(f"blocks of {block_km} km cannot be; use 25")


def render_sites(report: SiteReport) -> str:
    """The report as plain text, for a terminal."""
    alarms = estimate_text(report.false_alarms_per_1000_km2)
    enough = f"{report.found_share:.0%} of it" if report.found_share else "any part of it"
    rows = [(_size_name(row), row) for row in report.by_size]
    width = max(len("all sizes"), *(len(name) for name, _ in rows))
    lines = [
        f"{report.area_km2:,.0f} km2 looked at, {report.sites} true sites, "
        f"{report.detections} detections",
        "",
        f"{'all sizes'.ljust(width)}  {report.found} of {report.sites} found, "
        f"{estimate_text(report.recall)}",
        *(
            f"{name.ljust(width)}  {row.found} of {row.sites} found, {estimate_text(row.recall)}"
            for name, row in rows
            if row.sites
        ),
        "",
        f"false alarms per 1,000 km2  {alarms}  ({report.false_alarms} in all)",
        f"detections on a true site   {estimate_text(report.precision)}",
        "",
        f"A site is found where detections cover {enough}; a detection that overlaps no true site "
        "is a false alarm.",
    ]
    if report.sites_outside or report.detections_outside:
        lines.append(
            f"Left out, as more than half lies outside the area: {report.sites_outside} sites, "
            f"{report.detections_outside} detections."
        )
    if report.mended:
        lines.append(f"Mended: {report.mended} polygons that crossed themselves.")
    lines += [
        f"[ ] 95 % intervals: {report.resamples} bootstrap resamples of {report.blocks} blocks of "
        f"{report.block_km:g} km (seed {report.seed}); exact where a figure is 0 or a share 1.",
        report.disclaimer,
    ]
    return "\n".join(lines)


def _size_name(row: SizeClass) -> str:
    if row.high_ha is None:
        return f"{row.low_ha:g} ha and more"
    return f"{row.low_ha:g} to {row.high_ha:g} ha" if row.low_ha else f"under {row.high_ha:g} ha"
