"""What a site's history remembers, and how a period changes it."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from sluice.base.arrays import FloatArray, IntArray
from sluice.base.errors import ConfigError
from sluice.sites.growth import GROWTH_OF_STATUS, GrowthRule
from sluice.sites.history_looks import BoolArray, Seen


@dataclass(frozen=True)
class HistoryRule:
    """When a site is said to grow, to be inactive, to recover."""

    min_observed_share: float = 0.7
    """Least share of a site that must be observed for its silence or its area to be judged."""
    growth: GrowthRule = GROWTH_OF_STATUS
    """When an area has grown."""
    gap_max_days: int = 125
    """One undetected period that is no longer than this is a gap; a second one in a row, or a
    longer one, makes a site inactive. 0 bears no gap."""
    recovering_cover: float = 0.5
    """Least share of plants on the ground of a site that recovers …"""
    recovering_rise: float = 0.2
    """… and how much higher than when the site was last detected."""
    silent_sensors: tuple[str, ...] = ("s1",)
    """Sensors whose silence says nothing: drops of backscatter tell that pits open, and none that
    they are there no more."""

    def __post_init__(self) -> None:
        shares = ("min_observed_share", "recovering_cover", "recovering_rise")
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, (tuple, GrowthRule)):
                continue
            if value < 0 or (each.name in shares and value > 1):
                most = "1" if each.name in shares else "more"
                raise ConfigError(f"{each.name} of a history is {value}; use 0 to {most}")


@dataclass
class State:
    """What is remembered of each site; changed in place, period by period."""

    begun: BoolArray
    known_before: BoolArray
    """Observed before it was first detected."""
    inactive: BoolArray
    recovering: BoolArray
    silent: IntArray
    """Observed periods without detection since the last one."""
    silent_since: IntArray
    """Number of the first of them."""
    reference: FloatArray
    """(2, sites) area by kind when it was first known well, or last grew."""
    reference_at: IntArray
    worked_cover: FloatArray
    """Share of plants when it was last detected."""

    @classmethod
    def of(cls, size: int) -> State:
        """Nothing is known of any site."""

        def flags() -> BoolArray:
            return np.zeros(size, bool)

        def blank() -> FloatArray:
            return np.full((2, size), np.nan)

        return cls(
            begun=flags(),
            known_before=flags(),
            inactive=flags(),
            recovering=flags(),
            silent=np.zeros(size, np.int64),
            silent_since=np.zeros(size, np.int64),
            reference=blank(),
            reference_at=np.zeros((2, size), np.int64),
            worked_cover=np.full(size, np.nan),
        )


@dataclass(frozen=True)
class Told:
    """What a period made of each site, (sites,) each, True where it holds."""

    begun: BoolArray
    """Detected in this period or before."""
    started: BoolArray
    grew: BoolArray
    resumed: BoolArray
    judged: BoolArray
    """Detected, and its area compared with an earlier one."""
    gap: BoolArray
    inactive: BoolArray
    recovering: BoolArray
    hidden: BoolArray
    since: IntArray
    """Number of the period since which it was silent, where it is or just was."""
    known_before: BoolArray
    reference: FloatArray
    """The area that this one was compared with."""
    reference_at: IntArray
    noise: FloatArray
    """The factor within which two such areas may differ."""
    worked_cover: FloatArray
    """Before this period."""


def go_by(state: State, seen: Seen, rule: HistoryRule, number: int, days: int) -> Told:
    """Let a period go by, and tell what it made of each site."""
    sites = np.arange(len(state.begun))
    quiet = seen.observed & ~seen.detected
    state.known_before |= quiet & ~state.begun
    started, resumed = seen.detected & ~state.begun, seen.detected & state.inactive
    # An area is compared only with one of its own kind, and only where both were seen well.
    # Where nothing could be outlined, an area of 0 is no measure; comparisons with NaN are False.
    well = seen.detected & (seen.area_share >= rule.min_observed_share) & (seen.area > 0)
    reference = state.reference[seen.kind, sites]
    grew = well & rule.growth.has_grown(seen.area, reference, seen.kind)
    judged = well & ~np.isnan(reference)
    reference_at = state.reference_at[seen.kind, sites]
    renew = well & (np.isnan(reference) | grew)
    state.reference[seen.kind[renew], sites[renew]] = seen.area[renew]
    state.reference_at[seen.kind[renew], sites[renew]] = number
    state.begun |= seen.detected
    quiet &= state.begun
    state.silent = np.where(seen.detected, 0, state.silent + quiet)
    first = quiet & (state.silent == 1)
    state.silent_since = np.where(first, number, state.silent_since)
    gap = first & (days <= rule.gap_max_days)
    worked_cover = state.worked_cover.copy()
    covered = (seen.cover >= rule.recovering_cover) & (
        seen.cover >= worked_cover + rule.recovering_rise
    )
    told_cover = quiet & ~np.isnan(seen.cover)
    state.worked_cover = np.where(
        seen.detected & ~np.isnan(seen.cover), seen.cover, state.worked_cover
    )
    state.inactive = ~seen.detected & (state.inactive | (quiet & ~gap))
    state.recovering = state.inactive & np.where(told_cover, covered, state.recovering)
    return Told(
        begun=state.begun.copy(),
        started=started,
        grew=grew,
        resumed=resumed,
        judged=judged,
        gap=gap,
        inactive=quiet & state.inactive,
        recovering=quiet & state.recovering,
        hidden=state.begun & ~seen.observed,
        since=state.silent_since.copy(),
        known_before=state.known_before.copy(),
        reference=reference,
        reference_at=reference_at,
        noise=rule.growth.noise(seen.kind),
        worked_cover=worked_cover,
    )
