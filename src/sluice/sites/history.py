"""What becomes of a site from period to period: new, growing, steady, inactive, recovering.

A status follows from the looks up to its period and from no later one, so that a history does not
change behind the reader's back; only a run that lands again, or late, changes it. A period in which
a site was hidden changes nothing.
"""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd

from sluice.base.arrays import IntArray, ObjectArray
from sluice.base.periods import Period
from sluice.base.places import SitePeriod, Status, columns_of
from sluice.sites.history_looks import LooksByPeriod, Seen, telling_area
from sluice.sites.history_states import HistoryRule, State, Told, go_by
from sluice.sites.history_words import tell

__all__ = [
    "HistoryRule",
    "by_quarter",
    "by_year",
    "first_and_last",
    "site_periods",
    "with_well_seen",
]
_COLUMNS = columns_of(SitePeriod)


def site_periods(looks: pd.DataFrame, rule: HistoryRule | None = None) -> pd.DataFrame:
    """The status of each site in each period.

    Looks of one period, of several sensors, count together: a site is detected if one of them
    detected it, observed if one of them saw enough of it.

    Args:
        looks: Columns of `Look`, rows in any order.
        rule: The thresholds; None takes them as they come.

    Returns:
        Columns of `SitePeriod`, by site and period, from the first period in which a site was
        detected on; periods are all those of the table. `posterior` NaN, `level` None and
        `sensors` empty: they follow from the evidence. `area_low_ha` and `area_high_ha` NaN where
        only the footprint is known: the area is at most that.

    Raises:
        DataError: A column is missing, or a period ends before it starts.
    """
    rule = rule or HistoryRule()
    table = LooksByPeriod.of(looks)
    state = State.of(len(table.site_ids))
    periods = [Period(*pair) for pair in table.periods.itertuples(index=False)]
    parts = []
    for number, period in enumerate(periods):
        seen = table.seen_in(number, rule.min_observed_share, rule.silent_sensors)
        told = go_by(state, seen, rule, number, (period.end - period.start).days + 1)
        words = tell(told, seen, rule, periods[: number + 1])
        parts.append(_rows(table.site_ids, told, seen, words, period))
    rows = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=_COLUMNS)
    rows["order"] = rows.index
    return rows.sort_values(["site_id", "order"], ignore_index=True)[_COLUMNS]


def first_and_last(looks: pd.DataFrame, rule: HistoryRule | None = None) -> pd.DataFrame:
    """When each detected site was first and last seen.

    Args:
        looks: Columns of `Look`.
        rule: Says what observed means.

    Returns:
        By `site_id`, of sites that were ever detected: `first_seen`, `last_seen`,
        `last_observed` (dates) and `known_before`, as in `Site`.
    """
    rule = rule or HistoryRule()
    table = LooksByPeriod.of(looks)
    count, size = len(table.periods), len(table.site_ids)
    first, last = np.full(size, count), np.full(size, -1)
    observed, before = np.full(size, -1), np.zeros(size, bool)
    for number in range(count):
        seen = table.seen_in(number, rule.min_observed_share, rule.silent_sensors)
        before |= seen.observed & ~seen.detected & (first == count)
        first = np.where(seen.detected, np.minimum(first, number), first)
        last = np.where(seen.detected, number, last)
        observed = np.where(seen.observed, number, observed)
    found = last >= 0
    start = table.periods["start"].to_numpy(dtype=object)
    end = table.periods["end"].to_numpy(dtype=object)
    return pd.DataFrame(
        {
            "first_seen": start[first[found]],
            "known_before": before[found],
            "last_seen": end[last[found]],
            "last_observed": end[observed[found]],
        },
        index=pd.Index(table.site_ids[found], name="site_id"),
    )


def with_well_seen(
    periods: pd.DataFrame, looks: pd.DataFrame, rule: HistoryRule | None = None
) -> pd.DataFrame:
    """Periods with `well_seen`: the look that tells the area saw enough of it to be compared.

    Args:
        periods: site_id, start, end.
        looks: Columns of `Look`, of these sites.
        rule: Says what enough is.
    """
    rule = rule or HistoryRule()
    keys = ["site_id", "start", "end"]
    # As in `LooksByPeriod`, so that of equal ones the same is taken.
    looks = looks[looks["detected"].astype(bool)].sort_values(["sensor", "run_id"], kind="stable")
    group: IntArray = looks.groupby(keys, sort=False).ngroup().to_numpy().astype(np.int64)
    telling = looks.iloc[telling_area(looks, group, rule.min_observed_share)]
    well = telling[keys].assign(well_seen=telling["observed_share"] >= rule.min_observed_share)
    found = periods.merge(well, on=keys, how="left")
    return found.assign(well_seen=found["well_seen"].eq(True))  # noqa: FBT003


def _rows(
    site_ids: ObjectArray, told: Told, seen: Seen, words: ObjectArray, period: Period
) -> pd.DataFrame:
    """The rows of one period, of the sites that have begun."""
    begun = np.flatnonzero(told.begun)
    status = np.full(len(told.begun), Status.STEADY.value, dtype=object)
    for chosen, name in (
        (told.started, Status.NEW),
        (told.grew, Status.GROWING),
        (told.inactive, Status.INACTIVE),
        (told.recovering, Status.RECOVERING),
        (told.hidden, Status.NOT_OBSERVED),
    ):
        status[chosen] = name.value
    return pd.DataFrame(
        {
            "site_id": site_ids[begun],
            "start": np.full(len(begun), period.start, dtype=object),
            "end": np.full(len(begun), period.end, dtype=object),
            "observed": seen.observed[begun],
            "detected": seen.detected[begun],
            "status": status[begun],
            "status_rule": words[begun],
            "posterior": np.nan,
            "level": np.full(len(begun), None, dtype=object),
            "sensors": np.full(len(begun), "", dtype=object),
            "area_ha": seen.area[begun],
            "area_low_ha": seen.low[begun],
            "area_high_ha": seen.high[begun],
        }
    )


def by_quarter(periods: pd.DataFrame) -> pd.DataFrame:
    """One row for each site and quarter, of shorter periods; longer ones stay as they are.

    Arguments and columns as for `by_year`.
    """
    return _by_span(periods, months=3)


def by_year(periods: pd.DataFrame) -> pd.DataFrame:
    """One row for each site and year, of shorter periods; longer ones stay as they are.

    A period counts where its middle lies. A site is new, or growing, in a year in which it was so
    once, unless it ends it inactive or recovering; else its status is that of the year's last
    period in which it was observed. Areas are those of its last detection in the year, evidence
    is that at its end.

    Args:
        periods: Of `site_periods`, with or without evidence.

    Returns:
        Columns of `SitePeriod`, by site and period.
    """
    return _by_span(periods, months=12)


def _by_span(periods: pd.DataFrame, *, months: int) -> pd.DataFrame:
    if periods.empty:
        return periods[_COLUMNS].copy()
    pairs = periods[["start", "end"]].drop_duplicates()
    spans = [
        _span_of(start, end, months) for start, end in pairs.itertuples(index=False, name=None)
    ]
    pairs[["span_start", "span_end"]] = pd.DataFrame(spans, index=pairs.index, dtype=object)
    rows = periods.merge(pairs, on=["start", "end"], how="left")
    rows = rows.sort_values(["site_id", "end", "start"], kind="stable", ignore_index=True)
    keys = ["site_id", "span_start", "span_end"]
    number: IntArray = rows.groupby(keys, sort=False).ngroup().to_numpy().astype(np.int64)
    rows["rank"] = _ranks(rows, number)
    # The last row of the highest rank gives the status, the last detected one the area.
    told = _last_of(rows, number, rows["rank"].to_numpy(np.int64))
    area = _last_of(rows, number, rows["detected"].to_numpy(np.int64))
    last = _last_of(rows, number, np.zeros(len(rows), np.int64))
    out = last.assign(
        start=last["span_start"],
        end=last["span_end"],
        observed=rows.groupby(number)["observed"].any().to_numpy(),
        detected=rows.groupby(number)["detected"].any().to_numpy(),
        status=told["status"].to_numpy(),
        status_rule=told["status_rule"].to_numpy(),
    )
    for column in ("area_ha", "area_low_ha", "area_high_ha"):
        out[column] = area[column].to_numpy()
    return out.sort_values(["site_id", "end", "start"], ignore_index=True)[_COLUMNS]


def _ranks(rows: pd.DataFrame, number: IntArray) -> IntArray:
    """Which row of a span tells its status: the highest, and of these the last."""
    status = rows["status"].to_numpy(dtype=object)
    seen = status != Status.NOT_OBSERVED.value
    ended = np.isin(status, [Status.INACTIVE.value, Status.RECOVERING.value])
    final = _last_of(rows.assign(ended=ended), number, seen.astype(np.int64))["ended"].to_numpy(
        dtype=bool
    )
    # A site that ended the span at rest is at rest.
    news = seen & ~final[number]
    rank: IntArray = seen.astype(np.int64)
    rank[news & (status == Status.GROWING.value)] += 1
    rank[news & (status == Status.NEW.value)] += 2
    return rank


def _last_of(rows: pd.DataFrame, number: IntArray, rank: IntArray) -> pd.DataFrame:
    """Of each group the last row among those of the highest rank, by number of the group."""
    order = np.lexsort((np.arange(len(rows)), rank, number))
    last = np.append(np.flatnonzero(np.diff(number[order])), len(rows) - 1)
    found: pd.DataFrame = rows.iloc[order[last]].reset_index(drop=True)
    return found


def _span_of(start: dt.date, end: dt.date, months: int) -> tuple[dt.date, dt.date]:
    """The calendar span that holds the middle of a period; a longer period itself."""
    middle = start + (end - start) / 2
    month = (middle.month - 1) // months * months
    first = dt.date(middle.year, month + 1, 1)
    following = dt.date(middle.year + (month + months) // 12, (month + months) % 12 + 1, 1)
    last = following - dt.timedelta(days=1)
    return (start, end) if end - start > last - first else (first, last)
