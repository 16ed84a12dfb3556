"""Growth of sites beyond what was told of them: what makes it news."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict

from sluice.base.arrays import FloatArray, IntArray, ObjectArray
from sluice.base.places import AlertState
from sluice.sites.growth import FOOTPRINT, GROWTH_OF_ALERT, WORKINGS, GrowthRule

BoolArray = npt.NDArray[np.bool_]


class AlertRule(BaseModel):
    """When growth is news."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    growth: GrowthRule = GROWTH_OF_ALERT
    """Since the last news of the site, of the area told then."""


@dataclass(frozen=True)
class _Rows:
    """Rows of events as arrays; those of an event stand together, in time."""

    event: IntArray
    step: IntArray
    """Number of the row in its event."""
    area: FloatArray
    kind: IntArray
    """Of the area: a footprint, or workings."""
    usable: BoolArray
    """Detected and seen well, with an area; where nothing could be outlined, 0 is none."""
    told: BoolArray
    told_before: BoolArray
    """The row before was told already."""
    has_level: BoolArray
    end: ObjectArray

    @classmethod
    def of(cls, rows: pd.DataFrame) -> _Rows:
        area = rows["area_ha"].to_numpy(np.float64)
        known = np.isfinite(rows["area_low_ha"].to_numpy(np.float64))
        detected = (rows["detected"].eq(True) & rows["well_seen"].eq(True)).to_numpy(bool)  # noqa: FBT003
        told = rows["told"].to_numpy(bool)
        event = np.unique(rows["event_row"], return_inverse=True)[1]
        step = rows.groupby("event_row").cumcount().to_numpy()
        return cls(
            event=event,
            step=np.asarray(step, np.int64),
            area=area,
            kind=np.where(known, WORKINGS, FOOTPRINT),
            usable=detected & np.isfinite(area) & (area > 0),
            told=told,
            told_before=(step > 0) & np.concatenate([[False], told[:-1]]),
            has_level=rows["rank"].to_numpy() > 0,
            end=rows["end"].to_numpy(object),
        )


@dataclass
class _State:
    """What is known of the events so far."""

    base: FloatArray
    """(events, kinds) hectares told last; NaN where none was seen."""
    base_end: ObjectArray
    """(events, kinds) last day of the period that they were seen in."""
    pending: IntArray
    """(events, kinds) number of the growth that waits for a second look, -1 without."""
    least: FloatArray
    """(events, kinds) hectares that a second look must show."""
    row: list[int] = field(default_factory=list)
    """Of each growth."""
    was: list[float] = field(default_factory=list)
    since: list[Any] = field(default_factory=list)
    state: list[str] = field(default_factory=list)
    updated: list[Any] = field(default_factory=list)

    @classmethod
    def fresh(cls, events: int) -> _State:
        shape = events, 2
        return cls(
            base=np.full(shape, np.nan),
            base_end=np.full(shape, None, dtype=object),
            pending=np.full(shape, -1, dtype=np.int64),
            least=np.full(shape, np.nan),
        )

    def settle(self, rows: _Rows, at: IntArray) -> None:
        """Confirm growth that a second look shows at least half of; reject it otherwise."""
        place = rows.event[at], rows.kind[at]
        for number, kept, row in zip(
            self.pending[place], rows.area[at] >= self.least[place], at, strict=True
        ):
            if number >= 0:
                word = AlertState.CONFIRMED if kept else AlertState.REJECTED
                self.state[number], self.updated[number] = word.value, rows.end[row]
        self.pending[place] = -1

    def tell(self, rows: _Rows, at: IntArray) -> None:
        """Note growth in some rows."""
        place = rows.event[at], rows.kind[at]
        self.pending[place] = len(self.row) + np.arange(len(at))
        self.least[place] = (self.base[place] + rows.area[at]) / 2
        self.row += at.tolist()
        self.was += self.base[place].tolist()
        self.since += self.base_end[place].tolist()
        self.state += [AlertState.OPEN.value] * len(at)
        self.updated += rows.end[at].tolist()

    def renew(self, rows: _Rows, at: IntArray) -> None:
        """Measure later areas by those of some rows."""
        place = rows.event[at], rows.kind[at]
        self.base[place], self.base_end[place] = rows.area[at], rows.end[at]


def growths_of(rows: pd.DataFrame, rule: AlertRule) -> pd.DataFrame:
    """Growth of events beyond what was told, one row for each news.

    Like is compared with like: workings with workings, footprints with footprints. Until an event
    is told its largest area counts as told, afterwards that of the last news.

    Args:
        rows: Of told events, in time: event_row, told, rank, end, detected, well_seen, area_ha,
            area_low_ha.
        rule: What is news.

    Returns:
        The rows that grew, with growth_ha, was_ha, since, state and updated; empty without one.
    """
    seen = _Rows.of(rows)
    state = _State.fresh(int(seen.event.max(initial=-1)) + 1)
    for number in range(int(seen.step.max(initial=-1)) + 1):
        at = np.flatnonzero((seen.step == number) & seen.usable)
        base = state.base[seen.event[at], seen.kind[at]]
        state.settle(seen, at)
        grown = seen.told_before[at] & seen.has_level[at] & _is_news(seen, at, base, rule)
        largest = ~seen.told_before[at] & ~(seen.area[at] <= base)
        state.tell(seen, at[grown])
        state.renew(seen, at[grown | np.isnan(base) | largest])
    if not state.row:
        return pd.DataFrame()
    found = rows.iloc[state.row].reset_index(drop=True)
    return found.assign(
        growth_ha=found["area_ha"] - np.array(state.was),
        was_ha=state.was,
        since=state.since,
        state=state.state,
        updated=state.updated,
    )


def _is_news(rows: _Rows, at: IntArray, base: FloatArray, rule: AlertRule) -> BoolArray:
    """Whether areas exceed what was told by enough; nothing exceeds what is not known."""
    return rule.growth.has_grown(rows.area[at], base, rows.kind[at])
