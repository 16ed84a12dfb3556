"""The rule that gave a status, in words with its figures."""

from __future__ import annotations

import calendar
import datetime as dt
from collections.abc import Callable, Sequence

import numpy as np

from sluice.base.arrays import ObjectArray
from sluice.base.periods import Period
from sluice.sites.history_looks import FOOTPRINT, BoolArray, Seen
from sluice.sites.history_states import HistoryRule, Told


def period_name(period: Period) -> str:
    """`2024`, `2024-Q1`, or what `Period.name` says."""
    start, end = period.start, period.end
    whole = start.day == 1 and end.day == calendar.monthrange(end.year, end.month)[1]
    if whole and start.year == end.year:
        if (start.month, end.month) == (1, 12):
            return f"{start.year}"
        if start.month % 3 == 1 and end.month == start.month + 2:
            return f"{start.year}-Q{end.month // 3}"
    return period.name


def tell(told: Told, seen: Seen, rule: HistoryRule, periods: Sequence[Period]) -> ObjectArray:
    """Say of each site why it has its status.

    Args:
        told: What the last of the periods made of the sites.
        seen: What was seen of them in it.
        rule: The thresholds.
        periods: All up to this one.

    Returns:
        (sites,) sentences; empty for sites that have not begun.
    """
    words = np.full(len(told.begun), "", dtype=object)
    names = [period_name(period) for period in periods]
    days = (periods[-1].end - periods[-1].start) // dt.timedelta(days=1) + 1
    least = f"{rule.min_observed_share:.0%}"

    def put(chosen: BoolArray, text: Callable[[int], str]) -> None:
        rows = np.flatnonzero(chosen)
        words[rows] = [text(int(row)) for row in rows]

    def area(row: int) -> str:
        return _area(seen, row)

    def growth(row: int) -> str:
        return _growth(told, seen, rule, row, names)

    detected = told.begun & seen.detected
    put(detected, lambda row: f"detected, {area(row)}; the first area that was seen well")
    put(
        detected & (seen.share < rule.min_observed_share),
        lambda row: (
            f"detected, {area(row)}; with {_percent(seen.share[row])} of it observed, less than "
            f"{least}, its growth is not judged"
        ),
    )
    put(detected & np.isnan(seen.area), lambda _: "detected; its area is not known")
    put(told.judged, growth)
    put(
        told.resumed,
        lambda row: (
            f"detected again, {area(row)}; it was inactive since {names[told.since[row]]}"
            + (f"; {growth(row)}" if told.grew[row] else "")
        ),
    )
    put(
        told.started,
        lambda row: (
            f"first detected, {area(row)}; "
            + (
                "observed before, and nothing was detected"
                if told.known_before[row]
                else "not observed before, so it may be older"
            )
        ),
    )
    put(
        told.gap,
        lambda row: (
            f"not detected, with {_percent(seen.share[row])} of it observed: one such period of "
            f"{days} days is taken for a gap, a second one for the end"
        ),
    )
    put(
        told.inactive,
        lambda row: (
            f"not detected since {names[told.since[row]]}, with {_percent(seen.share[row])} of it "
            f"observed, {least} or more"
        ),
    )
    put(told.recovering, lambda row: _recovery(told, seen, rule, row, names))
    put(
        told.hidden,
        lambda row: (
            f"{_percent(seen.share[row])} of it observed, less than {least}: nothing can be said"
            if seen.share[row] > 0
            else "not observed: nothing can be said"
        ),
    )
    return words


def _percent(share: float) -> str:
    """Whole percents below it, so that what is less than a limit does not look like it."""
    return f"{int(100 * share + 1e-9)}%"


def _area(seen: Seen, row: int) -> str:
    if np.isnan(seen.area[row]):
        return "its area is not known"
    return f"{'at most ' if seen.kind[row] == FOOTPRINT else ''}{seen.area[row]:.1f} ha"


def _growth(told: Told, seen: Seen, rule: HistoryRule, row: int, names: Sequence[str]) -> str:
    """`grew from 3.1 to 4.4 ha, more than 20% and 0.5 ha, since 2024-Q1`, or that it did not."""
    what = "footprint " if seen.kind[row] == FOOTPRINT else ""
    noise = told.noise[row] - 1
    limit = (
        f"more than {rule.growth_share:.0%}, {rule.growth_ha:g} ha and the {noise:.0%} by which "
        "two looks differ, since "
    )
    limit += names[told.reference_at[row]]
    figures = f"from {told.reference[row]:.1f} to {seen.area[row]:.1f} ha"
    if told.grew[row]:
        return f"{what}grew {figures}, {limit}"
    return f"detected; {what}{figures}: not grown by {limit}"


def _recovery(told: Told, seen: Seen, rule: HistoryRule, row: int, names: Sequence[str]) -> str:
    since = f"inactive since {names[told.since[row]]}, and plants"
    if np.isnan(seen.cover[row]):
        return f"{since} covered its ground when it was last seen well"
    return (
        f"{since} cover {seen.cover[row]:.0%} of its ground, at least {rule.recovering_cover:.0%}, "
        f"after {told.worked_cover[row]:.0%} when it was last detected"
    )
