"""How sure it is that a mine is worked at a place, from all looks at it.

Looks of one sensor at one place are no independent witnesses: a sandbar is a sandbar in every
quarter. So they are discounted by Kish's design effect, as the members of a cluster in a survey
are; sensors add up. `docs/alerts.md` has the model, and where each figure comes from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator
from scipy.special import expit, logit

from sluice.base.arrays import FloatArray, IntArray, ObjectArray
from sluice.base.errors import ConfigError
from sluice.base.places import Level

BoolArray = npt.NDArray[np.bool_]

CORRELATION = 0.8
"""Intraclass correlation of the log likelihood ratios of one place over time. Measured: 0.65 at
marked places without a mine and 0.79 at mines of a phantom over quarters, 0.78 and 0.79 at real
places of human and of natural change after two years (`python -m proof --only evidence`)."""
SITE_PRIOR = 0.1
"""Share of mines among the places that a scan marks, before it is known how they score. Fits best
on four phantom landscapes: 0.13 (the same command). Not the prior of a scan, which is of windows
anywhere."""
MOST_PER_LOOK = 6.0
"""Largest log likelihood ratio of one look, either way, a factor of 400. A choice: the calibration
rests on some thousand chips, and cannot know of what is rarer than one in some hundred."""

_GONE = 2
"""Silences in a row that end an event; one that is too long for a gap counts as these."""
_NEEDED = ("site_id", "sensor", "start", "end", "observed_share", "detected", "log_lr")
_RESULT: dict[str, Any] = {
    "site_id": object,
    "start": object,
    "end": object,
    "posterior": np.float64,
    "level": object,
    "sensors": object,
    "dates": np.int64,
    "event": np.int64,
    "event_start": object,
    "known_before": bool,
    "confirmed": bool,
    "outcome": object,
}
"""Columns of `posteriors`, and their types."""


class EvidenceRule(BaseModel):
    """Thresholds and figures by which looks are added up."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    correlation: float = Field(default=CORRELATION, gt=0, le=1)
    """Of looks of one sensor at one place, see `CORRELATION`; they never count more than its
    inverse."""
    most_per_look: float = Field(default=MOST_PER_LOOK, gt=0)
    """Natural logarithm."""
    low: float = Field(default=0.5, gt=0, lt=1)
    """Least posterior of an alert: more likely than not."""
    high: float = Field(default=0.85, gt=0, lt=1)
    """Least posterior of a confirmed one; with two dates. What RADD asks of any alert."""
    strong: float = Field(default=0.95, gt=0, lt=1)
    """Least posterior at which one date is enough for `high`."""
    reject_below: float = Field(default=0.3, gt=0, lt=1)
    """An alert that is not confirmed is rejected below it, by a silence."""
    doubt_looks: int = Field(default=2, ge=1)
    """Silences, all below `low`, after which an alert that is not confirmed is rejected.
    RADD gives 90 days, in which some ten looks, taken as independent, confirm what is true. Here
    looks are discounted, and many a true place stays at low: so it is not rejected for that."""
    gap_max_days: int = Field(default=125, ge=0)
    """One observed period without a detection that is no longer than this is a gap; a second one in
    a row, or a longer one, ends an event, as it makes a site inactive."""
    least_share: float = Field(default=0.7, gt=0, le=1)
    """Of a place's cells that must be seen for a look without a detection to be silence."""
    change_sensors: tuple[str, ...] = ("s1",)
    """Their models see change only: their silence tells nothing of a mine that stays."""
    unknown_sensors: tuple[str, ...] = ("import", "unknown")
    """What others found, and images that do not tell their sensor: they may be the same images.
    Their looks count as further ones of the sensor that says most, and are no second sensor."""

    @model_validator(mode="after")
    def _in_order(self) -> EvidenceRule:
        if not self.reject_below <= self.low <= self.high <= self.strong:
            raise ValueError("reject_below, low, high and strong must not decrease")
        return self


def posteriors(
    looks: pd.DataFrame, rule: EvidenceRule | None = None, *, prior: float = SITE_PRIOR
) -> pd.DataFrame:
    """The posterior of each site after each of its periods.

    An event begins with the first look that detects something: at first, and again after an
    event was rejected or has ended. Looks before it are the baseline, and do not speak against it.
    Within an event each sensor's looks add their log likelihood ratios times the share of the place
    that was observed, divided by Kish's design effect; log odds are the prior's plus the sum over
    sensors. Looks of one sensor in one period saw the same images, and count as one. Looks of an
    unknown sensor are added to those of the known one that says most, and their period is a date
    only where it overlaps none in which something was detected.

    Args:
        looks: Columns of `Look` in any order, at least site_id, sensor, start, end,
            observed_share, detected and log_lr (NaN: says nothing).
        rule: Thresholds.
        prior: Share of mines among the places that are marked.

    Returns:
        One row for each site, start and end among the looks, by site, then in time: site_id, start,
        end; `posterior`; `level` (None below the least); `sensors` that speak for it, with commas;
        `dates`: how many periods do; `event`: its number at the site, 0 without one;
        `event_start` (None without); `known_before`: the place had been observed, without a
        detection, before the event; `confirmed`; `outcome`: `rejected` or `inactive` in the period
        that ends an event, else empty.

    Raises:
        ConfigError: A column is missing, or the prior is no probability.

    Source:
        Kish 1965, Survey Sampling (design effect 1 + (n - 1) r). Reiche et al. 2021,
        doi:10.1088/1748-9326/abd0a8 (thresholds; alerts confirmed or rejected by later looks).
    """
    rule = rule or EvidenceRule()
    missing = [name for name in _NEEDED if name not in looks.columns]
    if missing:
        raise ConfigError(f"looks lack the columns {', '.join(missing)}; give those of Look")
    if not 0 < prior < 1:
        raise ConfigError(f"the prior must lie between 0 and 1, got {prior:g}")
    if looks.empty:
        return _result(None, [], [])
    merged = _Merged.of(looks, rule)
    state = _State.fresh(merged, rule, prior)
    rows, steps = [], []
    for number in range(len(merged.periods)):
        chosen = merged.rows_of(number)
        sites = np.unique(merged.site[chosen])
        steps.append(state.see(sites, _Seen.of(merged, chosen, sites, rule), number))
        rows.append((np.full(len(sites), number), sites))
    return _result(merged, rows, steps)


@dataclass(frozen=True)
class _Merged:
    """One row for each site, period and sensor, sorted by period."""

    sites: npt.NDArray[Any]
    periods: pd.DataFrame
    """start, end; in time."""
    sensors: list[str]
    long: BoolArray
    """(periods,) too long for a gap."""
    site: IntArray
    period: IntArray
    sensor: IntArray
    weight: FloatArray
    """Share observed with a likelihood, 0-1."""
    weighed: FloatArray
    """Log likelihood ratio times weight; never above 0 without a detection, but where a sensor of
    change saw one."""
    share: FloatArray
    """Share observed."""
    detected: BoolArray

    @classmethod
    def of(cls, looks: pd.DataFrame, rule: EvidenceRule) -> _Merged:
        site, sites = pd.factorize(looks["site_id"].to_numpy(object), sort=True)
        sensor, sensors = pd.factorize(looks["sensor"].to_numpy(object), sort=True)
        period, periods = _number_periods(looks)
        share = looks["observed_share"].to_numpy(np.float64).clip(0, 1)
        share = np.where(np.isfinite(share), share, 0)
        log_lr = looks["log_lr"].to_numpy(np.float64, na_value=np.nan)
        says = np.isfinite(log_lr) & (share > 0)
        capped = np.where(says, log_lr, 0).clip(-rule.most_per_look, rule.most_per_look)
        weight, weighed = np.where(says, share, 0), np.where(says, share * capped, 0)
        detected = looks["detected"].to_numpy(bool)
        key = (period * len(sites) + site) * len(sensors) + sensor
        # Sums must not depend on the order of rows, to the last digit.
        order = np.lexsort((weighed, weight, key))
        first = np.flatnonzero(np.diff(key[order], prepend=-1))
        weight, weighed, share = (
            np.add.reduceat(values[order], first) for values in (weight, weighed, share)
        )
        detected = np.logical_or.reduceat(detected[order], first)
        sensor = sensor[order][first]
        # What stayed below the threshold is no news of a mine, however near it came.
        lasting = ~np.isin(sensors, rule.change_sensors)[sensor]
        weighed = np.where(lasting & ~detected, np.minimum(weighed, 0), weighed)
        # Where nothing changed, a sensor of change has said nothing: it is not even a weak look.
        told = lasting | detected | (weighed > 0)
        weight, weighed = np.where(told, weight, 0), np.where(told, weighed, 0)
        over = np.maximum(weight, 1)
        return cls(
            sites=sites,
            periods=periods,
            sensors=[*map(str, sensors)],
            long=np.array(
                [(end - start).days >= rule.gap_max_days for start, end in periods.to_numpy()]
            ),
            site=site[order][first],
            period=period[order][first],
            sensor=sensor,
            weight=weight / over,
            weighed=weighed / over,
            share=np.minimum(share, 1),
            detected=detected,
        )

    def rows_of(self, number: int) -> slice:
        """Rows of a period."""
        first, last = np.searchsorted(self.period, [number, number + 1])
        return slice(int(first), int(last))


def _number_periods(looks: pd.DataFrame) -> tuple[IntArray, pd.DataFrame]:
    """The number of each look's period, and start and end of the periods in time.

    By the last day first: what was known when.
    """
    start, starts = pd.factorize(looks["start"].to_numpy(object), sort=True)
    end, ends = pd.factorize(looks["end"].to_numpy(object), sort=True)
    pairs, number = np.unique(end * len(starts) + start, return_inverse=True)
    spans = {"start": starts[pairs % len(starts)], "end": ends[pairs // len(starts)]}
    return number, pd.DataFrame(spans, dtype=object)


@dataclass(frozen=True)
class _Seen:
    """What was seen in one period, an element or a row for each site."""

    weight: FloatArray
    """(sites, sensors)."""
    weighed: FloatArray
    detected: BoolArray
    """By any sensor."""
    speaks: BoolArray
    """(sites, sensors), detected with a likelihood ratio above 1."""
    silent: BoolArray
    """Seen well enough to be quiet, and not detected."""
    long: bool
    """The period is too long for a gap."""
    first: int
    """Ordinal of its first day."""
    last: int

    @classmethod
    def of(cls, merged: _Merged, rows: slice, sites: IntArray, rule: EvidenceRule) -> _Seen:
        at = np.searchsorted(sites, merged.site[rows]), merged.sensor[rows]
        shape = len(sites), len(merged.sensors)
        weight, weighed, share = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        detected = np.zeros(shape, bool)
        weight[at], weighed[at] = merged.weight[rows], merged.weighed[rows]
        share[at], detected[at] = merged.share[rows], merged.detected[rows]
        lasting = ~np.isin(merged.sensors, rule.change_sensors)
        found = np.asarray(detected.any(axis=1))
        silent = np.asarray((share[:, lasting] >= rule.least_share).any(axis=1) & ~found)
        number = merged.period[rows.start]
        long = bool(merged.long[number])
        first, last = (day.toordinal() for day in merged.periods.iloc[number][["start", "end"]])
        speaks = detected & (weighed > 0)
        return cls(weight, weighed, found, speaks, silent, long, first, last)


@dataclass
class _State:
    """What is known of all sites so far."""

    rule: EvidenceRule
    prior: float
    unknown: BoolArray
    """(sensors,) of which nobody knows what they are."""
    total: FloatArray
    """(sites, sensors) weighed log likelihood ratios of the event, or of the baseline."""
    count: FloatArray
    """(sites, sensors) looks, by the share that they observed."""
    later_total: FloatArray
    """As `total`, since the last detection."""
    later_count: FloatArray
    spoke: BoolArray
    """(sites, sensors) that have spoken for the event."""
    dates: IntArray
    dated_until: IntArray
    """Ordinal of the last day of a period that is one of the dates."""
    claimed_until: IntArray
    """The same of a period that only an unknown sensor made a date; a known one that overlaps it
    takes its place."""
    event: IntArray
    """Number of the last event."""
    open: BoolArray
    start: IntArray
    """Period in which the event began."""
    known: BoolArray
    """Observed before the event without a detection."""
    was_silent: BoolArray
    """Observed without a detection at any time."""
    quiet: IntArray
    doubted: IntArray
    """Silences since the posterior is below the least level."""
    alerted: BoolArray
    confirmed: BoolArray

    @classmethod
    def fresh(cls, merged: _Merged, rule: EvidenceRule, prior: float) -> _State:
        sites = len(merged.sites)
        shape = sites, len(merged.sensors)

        def numbers() -> IntArray:
            return np.zeros(sites, np.int64)

        def flags() -> BoolArray:
            return np.zeros(sites, np.bool_)

        return cls(
            rule=rule,
            prior=prior,
            unknown=np.isin(merged.sensors, rule.unknown_sensors),
            total=np.zeros(shape),
            count=np.zeros(shape),
            later_total=np.zeros(shape),
            later_count=np.zeros(shape),
            spoke=np.zeros(shape, np.bool_),
            dates=numbers(),
            dated_until=numbers(),
            claimed_until=numbers(),
            event=numbers(),
            open=flags(),
            start=numbers(),
            known=flags(),
            was_silent=flags(),
            quiet=numbers(),
            doubted=numbers(),
            alerted=flags(),
            confirmed=flags(),
        )

    def see(self, sites: IntArray, seen: _Seen, period: int) -> dict[str, npt.NDArray[Any]]:
        """Take in a period, and tell what follows, a value for each of the sites."""
        self._begin(sites[seen.detected & ~self.open[sites]], period)
        self._add(sites, seen)
        posterior = self._posterior(sites)
        level = self._level(sites, posterior)
        outcome = self._judge(sites, seen, posterior, level)
        ended, ongoing = outcome != "", self.open[sites]
        # What was seen since the last detection is the baseline of what may come.
        left = sites[ended]
        self.total[left], self.count[left] = self.later_total[left], self.later_count[left]
        quiet = ended & ~seen.detected
        posterior[quiet] = self._posterior(sites[quiet])
        level[quiet | ~ongoing] = None
        told = {
            "posterior": posterior,
            "level": level,
            "spoke": self.spoke[sites] & ongoing[:, np.newaxis],
            "dates": np.where(ongoing, self.dates[sites], 0),
            "event": np.where(ongoing, self.event[sites], 0),
            "event_period": np.where(ongoing, self.start[sites], -1),
            "known_before": self.known[sites] & ongoing,
            "confirmed": self.confirmed[sites] & ongoing,
            "outcome": outcome,
        }
        self.open[left] = False
        return told

    def _begin(self, sites: IntArray, period: int) -> None:
        for array in (self.total, self.count, self.spoke, self.dates, self.doubted, self.quiet):
            array[sites] = 0
        self.dated_until[sites] = self.claimed_until[sites] = 0
        self.alerted[sites] = self.confirmed[sites] = False
        self.open[sites], self.start[sites] = True, period
        self.event[sites] += 1
        self.known[sites] = self.was_silent[sites]

    def _add(self, sites: IntArray, seen: _Seen) -> None:
        self.later_total[sites[seen.detected]] = self.later_count[sites[seen.detected]] = 0
        self.total[sites] += seen.weighed
        self.count[sites] += seen.weight
        after = sites[~seen.detected]
        self.later_total[after] += seen.weighed[~seen.detected]
        self.later_count[after] += seen.weight[~seen.detected]
        self.spoke[sites] |= seen.speaks
        self._add_dates(sites, seen)
        self.was_silent[sites] |= seen.silent
        silence = seen.silent * (_GONE if seen.long else 1)
        self.quiet[sites] = np.where(seen.detected, 0, self.quiet[sites] + silence)

    def _add_dates(self, sites: IntArray, seen: _Seen) -> None:
        """Count the period as a date, once for the same days."""
        known = seen.speaks[:, ~self.unknown].any(axis=1)
        claimed = seen.speaks.any(axis=1) & ~known & (self.dated_until[sites] < seen.first)
        replaces = known & (self.claimed_until[sites] >= seen.first)
        self.dates[sites] += (known & ~replaces) | claimed
        self.dated_until[sites[known | claimed]] = seen.last
        self.claimed_until[sites[claimed]] = seen.last
        self.claimed_until[sites[replaces]] = 0

    def _posterior(self, sites: IntArray) -> FloatArray:
        total, count = self._pooled(sites)
        summed = (total / self._effect(count)).sum(axis=1)
        return np.asarray(expit(logit(self.prior) + summed))

    def _effect(self, count: FloatArray) -> FloatArray:
        # Below one whole look there is nothing to share with.
        return np.asarray(1 + np.maximum(count - 1, 0) * self.rule.correlation)

    def _pooled(self, sites: IntArray) -> tuple[FloatArray, FloatArray]:
        """Sums and counts of looks, those of unknown sensors with the one that says most."""
        total, count = self.total[sites], self.count[sites]
        if not self.unknown.any() or not len(sites):
            return total, count
        other = total[:, self.unknown].sum(axis=1), count[:, self.unknown].sum(axis=1)
        total[:, self.unknown] = count[:, self.unknown] = 0
        says = np.where(count > 0, total / self._effect(count), -np.inf)
        most = np.where((count > 0).any(axis=1), says.argmax(axis=1), self.unknown.argmax())
        rows = np.arange(len(sites))
        total[rows, most] += other[0]
        count[rows, most] += other[1]
        return total, count

    def _level(self, sites: IntArray, posterior: FloatArray) -> ObjectArray:
        # A sensor whose looks speak against it on the whole does not back it.
        backs = self.spoke[sites] & (self.total[sites] > 0)
        speaking = np.maximum(
            backs[:, ~self.unknown].sum(axis=1), backs[:, self.unknown].any(axis=1)
        )
        sure = posterior >= self.rule.high
        twice = (self.dates[sites] >= 2) | (speaking >= 2)
        level = np.full(len(sites), None, object)
        level[posterior >= self.rule.low] = Level.LOW.value
        level[sure & (twice | (posterior >= self.rule.strong))] = Level.HIGH.value
        level[sure & (speaking >= 2)] = Level.HIGHEST.value
        return level

    def _judge(
        self,
        sites: IntArray,
        seen: _Seen,
        posterior: FloatArray,
        level: ObjectArray,
    ) -> npt.NDArray[np.str_]:
        """Confirm, reject and end events."""
        ongoing = self.open[sites]
        high = np.isin(level, [Level.HIGH.value, Level.HIGHEST.value])
        twice = (self.dates[sites] >= 2) | (level == Level.HIGHEST.value)
        self.confirmed[sites] |= ongoing & high & twice
        below = posterior < self.rule.low
        self.alerted[sites] |= ongoing & ~below
        self.doubted[sites] = np.where(below, self.doubted[sites] + seen.silent, 0)
        waiting = ongoing & self.alerted[sites] & ~self.confirmed[sites]
        denied = posterior < self.rule.reject_below
        late = self.doubted[sites] >= self.rule.doubt_looks
        outcome = np.full(len(sites), "", "U8")
        gone = ongoing & (self.quiet[sites] >= _GONE)
        outcome[gone] = "inactive"
        # One more detection, though weaker than those before it, is no reason to drop an alert.
        outcome[waiting & (gone | (seen.silent & (denied | late)))] = "rejected"
        return outcome


def _result(
    merged: _Merged | None,
    rows: list[tuple[IntArray, IntArray]],
    steps: list[dict[str, npt.NDArray[Any]]],
) -> pd.DataFrame:
    if merged is None:
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in _RESULT.items()})
    period, site = (np.concatenate([row[part] for row in rows]) for part in (0, 1))
    # Rows of a site stand together, in time.
    order = np.lexsort((period, site))
    found = {name: np.concatenate([step[name] for step in steps])[order] for name in steps[0]}
    start, end = (merged.periods[name].to_numpy(object) for name in ("start", "end"))
    begun = found.pop("event_period")
    # The last one stands for none.
    found["event_start"] = np.append(start, np.array([None], object))[begun]
    found["sensors"] = _names(found.pop("spoke"), merged.sensors)
    found["site_id"] = merged.sites[site[order]]
    found["start"], found["end"] = start[period[order]], end[period[order]]
    return pd.DataFrame(
        {name: pd.Series(found[name], dtype=kind) for name, kind in _RESULT.items()}
    )


def _names(spoke: BoolArray, sensors: list[str]) -> ObjectArray:
    """Names of the sensors that have spoken, with commas."""
    code = spoke @ (1 << np.arange(len(sensors)))
    known, place = np.unique(code, return_inverse=True)
    texts = [
        ",".join(name for bit, name in enumerate(sensors) if code >> bit & 1) for code in known
    ]
    return np.array(texts, object)[place]
