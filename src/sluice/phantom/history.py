"""Mines through time: when they begin, how they grow, and what grows back over them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from shapely.geometry.base import BaseGeometry

from sluice.base.arrays import BoolHW, FloatArray
from sluice.phantom.canvas import FINE, outline_of
from sluice.phantom.fields import correlated_noise
from sluice.phantom.mines import MinePlan, worked_outline

ACTIVE, PAUSED, ABANDONED = "active", "paused", "abandoned"
"""States of a mine that has begun."""

_ROLES = ("grows", "begins", "abandoned", "grows", "begins")
# Bare tailings stay bare for years; see Kalamandeen et al. 2020, doi:10.1111/1365-2664.13702.
_REGROWTH_DAYS = 900.0
_PONDS_REGROW = 0.3  # of the share of the soil: ponds fill with weeds late


@dataclass(frozen=True)
class MineHistory:
    """One mine from its first pit to regrowth."""

    mine_id: str
    plan: MinePlan
    started: dt.date
    full: dt.date
    """When it reaches, or would reach, the size of the plan, if nobody paused."""
    abandoned: dt.date | None
    """When work stops; None if it goes on."""
    order_hw: FloatArray
    """(h, w) at fine resolution, 0-1: ground grows over in this order."""
    paused: tuple[dt.date, dt.date] | None = None
    """First day without work, and the day on which it begins again, on the same ground."""
    regrowth_days: float = _REGROWTH_DAYS
    """After so many days without work 63 % of the bare soil has grown over."""

    def state(self, day: dt.date) -> str | None:
        """`active`, `paused`, `abandoned`, or None before it begins."""
        if day < self.started:
            return None
        if self.abandoned is not None and day >= self.abandoned:
            return ABANDONED
        return PAUSED if self._in_pause(day) else ACTIVE

    def worked_share(self, day: dt.date) -> float:
        """Part of the plan's ground that has been worked by then, 0-1."""
        until = day if self.abandoned is None else min(day, self.abandoned)
        whole = max(1, (self.full - self.started).days)
        days = (until - self.started).days
        if self.paused is not None and until > self.paused[0]:
            days -= (min(until, self.paused[1]) - self.paused[0]).days
        return float(np.clip(days / whole, 0, 1))

    def regrown_share(self, day: dt.date) -> float:
        """Part of the bare soil that has grown over by then, 0-1."""
        stopped = self.abandoned
        if stopped is None or day <= stopped:
            if self.paused is None or not self._in_pause(day):
                return 0.0
            stopped = self.paused[0]
        return float(1 - np.exp(-(day - stopped).days / self.regrowth_days))

    def kind_at(self, day: dt.date) -> np.ndarray:
        """What each fine pixel of the plan's frame shows.

        Returns:
            (h, w) index into the plan's palette, negative where nothing was touched yet.
        """
        kind = self._worked_kind(day)
        regrown = self.regrown_share(day)
        if regrown > 0:
            share = np.where(self._is_pond, _PONDS_REGROW * regrown, regrown)
            kind[(kind > 0) & (self.order_hw < share)] = 0
        return kind

    def outline_at(self, day: dt.date) -> BaseGeometry:
        """Outline of what is bare or water then, in canvas pixels; may be empty."""
        return outline_of(worked_outline(self.kind_at(day) > 0), self.plan.frame.window)

    def worked_outline_at(self, day: dt.date) -> BaseGeometry:
        """Outline of all that was ever bare or water until then, in canvas pixels."""
        return outline_of(worked_outline(self._worked_kind(day) > 0), self.plan.frame.window)

    def _worked_kind(self, day: dt.date) -> np.ndarray:
        """As `kind_at`, as if nothing grew back."""
        worked = self.plan.rank_hw <= self._limit(self.worked_share(day))
        return np.where(worked, self.plan.kind_hw, -1)

    def _in_pause(self, day: dt.date) -> bool:
        return self.paused is not None and self.paused[0] <= day < self.paused[1]

    @cached_property
    def _ranks(self) -> FloatArray:
        return np.sort(self.plan.rank_hw[self.plan.kind_hw >= 0])

    @cached_property
    def _is_pond(self) -> BoolHW:
        water = np.array([scl == 6 for scl in self.plan.palette.scl_k])
        return np.asarray(water[np.maximum(self.plan.kind_hw, 0)])

    def _limit(self, share: float) -> float:
        """Number in the working order up to which a share of the plan's ground comes."""
        if share <= 0:
            return -np.inf
        return float(self._ranks[min(len(self._ranks) - 1, int(share * len(self._ranks)))])


def draw_histories(
    plans: Sequence[MinePlan], first: dt.date, last: dt.date, rng: np.random.Generator
) -> tuple[MineHistory, ...]:
    """Give each mine a beginning and perhaps an end.

    Of five mines two were there before the first day and grow, two begin within the period,
    and one is abandoned in its first half.

    Args:
        plans: The mines.
        first: First day of the period that is watched.
        last: Its last day.
        rng: Source of chance.
    """
    span = max(30, (last - first).days)
    histories = []
    for number, plan in enumerate(plans):
        role = _ROLES[number % len(_ROLES)]
        before, after = rng.uniform(0.35, 0.65), rng.uniform(0.8, 1.0)
        abandoned = None
        if role == "grows":
            days = span / (after - before)
            start, full = -before * days, (1 - before) * days
        elif role == "begins":
            start = rng.uniform(0.15, 0.55) * span
            full = start + (span - start) / after
        else:
            full = rng.uniform(0.1, 0.5) * span
            start = full - rng.uniform(400, 1500)
            abandoned = first + dt.timedelta(days=int(full))
        order = correlated_noise(plan.kind_hw.shape, rng, scale_px=2.5 * FINE, slope=3)
        # Weeds come in from the rim.
        order -= (plan.rank_hw / np.abs(plan.rank_hw[np.isfinite(plan.rank_hw)]).max()).clip(-1, 1)
        histories.append(
            MineHistory(
                mine_id=f"M{number + 1:02d}",
                plan=plan,
                started=first + dt.timedelta(days=int(start)),
                full=first + dt.timedelta(days=int(full)),
                abandoned=abandoned,
                order_hw=_as_ranks(order, plan.kind_hw > 0),
            )
        )
    return tuple(histories)


def _as_ranks(values: np.ndarray, inside: BoolHW) -> FloatArray:
    """Values inside replaced by their rank, 0-1; 1 outside."""
    ranks = np.ones(values.shape)
    inner = values[inside]
    ranks[inside] = np.argsort(np.argsort(inner)) / max(1, len(inner))
    return ranks
