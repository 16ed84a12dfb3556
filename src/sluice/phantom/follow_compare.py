"""What was told of places over periods, against the mines that were planted: pure tables."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from sluice.base.arrays import BoolHW, FloatArray, IntArray, ObjectArray
from sluice.base.errors import DataError, GridMismatch
from sluice.base.places import AlertState, Level, Status
from sluice.phantom.compare import ground_under
from sluice.phantom.follow_records import (
    LEAST_HA,
    LEAST_SEEN,
    CountryComparison,
    FalseGround,
    MineOutcome,
    MineQuarter,
)

LEAST_OVERLAP = 0.1
"""Least share of the mine, or of the site, in which both lie, for a site to be of a mine."""
MINE = "mine"
"""Ground of a site that touches a mine without being of one."""

_HIGH = 2
_LEVELS = [level.value for level in (Level.LOW, Level.HIGH, Level.HIGHEST)]


@dataclass(frozen=True)
class FollowTruth:
    """What is true of a country, to compare with what was told of it."""

    quarters: gpd.GeoDataFrame
    """`phantom.country.truth_by_quarter`: in a CRS in metres."""
    confusers: gpd.GeoDataFrame
    """With a column `kind`."""
    periods: tuple[tuple[dt.date, dt.date], ...]
    """First and last day of each quarter, in order."""
    area_km2: float


def compare_following(
    truth: FollowTruth, sites: gpd.GeoDataFrame, periods: pd.DataFrame, alerts: pd.DataFrame
) -> CountryComparison:
    """Compare what was told of places with the mines that were planted.

    A site is of a mine where `LEAST_OVERLAP` of either lies in the other, the mine taken as all
    that was ever worked of it; a site may be of several mines, and a mine have several sites. An
    alert is false where its site is of no mine that had begun by the period that raised it.

    Args:
        truth: The mines and the rest of the ground.
        sites: Columns of `Site` and `geometry`; those that were merged or left behind may be among
            them, and are left out.
        periods: Columns of `SitePeriod` of these sites.
        alerts: Columns of `Alert`.

    Raises:
        GridMismatch: The truth is not in metres, or the sites have no CRS.
        DataError: A period is none of the quarters.
    """
    matched = _match(truth, sites)
    told = _told(truth, periods, matched)
    quarter_of = {last: number for number, (_, last) in enumerate(truth.periods)}
    raised = _raised(truth, alerts, matched, quarter_of)
    mines = tuple(
        _outcome(name, rows, matched, told, raised) for name, rows in matched.quarters.items()
    )
    false_alerts, true_alerts = _false_alerts(raised, matched)
    persistent, climbed_to = _persistent(told, matched)
    days = (truth.periods[-1][1] - truth.periods[0][0]).days + 1
    return CountryComparison(
        mines=mines,
        quarters=len(truth.periods),
        km2=truth.area_km2,
        years=days / 365.25,
        sites=len(matched.site_ids),
        false_sites=int((~matched.touches).sum()),
        grazing_sites=int((matched.touches & ~matched.of_mine.any(axis=1)).sum()),
        shared_sites=int((matched.of_mine.sum(axis=1) > 1).sum()),
        split_mines=int((matched.of_mine.sum(axis=0) > 1).sum()),
        true_alerts=true_alerts,
        false_alerts=false_alerts,
        persistent=persistent,
        climbed=sum(climbed_to.values()),
        climbed_to=climbed_to,
        **_status_figures(mines),
    )


@dataclass(frozen=True)
class _Matched:
    """Which site is of which mine."""

    site_ids: list[str]
    mine_ids: list[str]
    overlap: FloatArray
    """(sites, mines) in square metres."""
    of_mine: BoolHW
    """(sites, mines)."""
    touches: BoolHW
    """(sites,) some mine."""
    ground: list[str]
    """Of each site: kind of the confuser under it."""
    quarters: dict[str, pd.DataFrame]
    """Truth of each mine, by quarter."""
    alone: BoolHW
    """(mines,) True where none of its sites is of another mine too."""
    merged: dict[str, str]
    """Sites that were merged, and those that they are part of now."""

    def sites_of(self, mine: str) -> list[int]:
        """Rows of a mine's sites, the one with most of it first."""
        column = self.mine_ids.index(mine)
        rows = np.flatnonzero(self.of_mine[:, column])
        return [int(row) for row in rows[np.argsort(-self.overlap[rows, column], kind="stable")]]


def _match(truth: FollowTruth, sites: gpd.GeoDataFrame) -> _Matched:
    crs = truth.quarters.crs
    if crs is None or not crs.is_projected or sites.crs is None:
        raise GridMismatch(
            "mines must be in a projected CRS in metres, and sites have a CRS; bring the mines "
            "into a UTM zone"
        )
    kept = sites[sites["current"].astype(bool) & sites["merged_into"].isna()]
    shapes = kept.geometry.to_crs(crs).to_numpy()
    # Rows are in time: the last one has all that was ever worked.
    last = truth.quarters.groupby("mine_id", sort=True).tail(1).sort_values("mine_id")
    mines = last.geometry.to_numpy()
    overlap = np.zeros((len(shapes), len(mines)))
    pairs = shapely.STRtree(mines).query(shapes, predicate="intersects")
    overlap[tuple(pairs)] = shapely.area(shapely.intersection(shapes[pairs[0]], mines[pairs[1]]))
    least = LEAST_OVERLAP * np.minimum.outer(shapely.area(shapes), shapely.area(mines))
    of_mine = (overlap > 0) & (overlap >= least)
    touches = np.zeros(len(shapes), np.bool_)
    touches[pairs[0]] = True
    shared = of_mine.sum(axis=1) > 1
    return _Matched(
        site_ids=[str(name) for name in kept["site_id"]],
        mine_ids=[str(name) for name in last["mine_id"]],
        overlap=overlap,
        of_mine=of_mine,
        touches=touches,
        ground=_grounds(shapes, touches, truth.confusers.to_crs(crs)),
        quarters={str(name): rows for name, rows in truth.quarters.groupby("mine_id", sort=True)},
        alone=~(of_mine & shared[:, np.newaxis]).any(axis=0),
        merged=_survivors(sites),
    )


def _survivors(sites: gpd.GeoDataFrame) -> dict[str, str]:
    """The site that goes on, for each that was merged into one, or into one that was merged."""
    gone = sites[sites["merged_into"].notna()]
    into = dict(zip(gone["site_id"].astype(str), gone["merged_into"].astype(str), strict=True))
    return {site: _last(site, into) for site in into}


def _last(site: str, into: Mapping[str, str]) -> str:
    for _ in into:
        if site not in into:
            break
        site = into[site]
    return site


def _grounds(shapes: npt.NDArray[Any], touches: BoolHW, confusers: gpd.GeoDataFrame) -> list[str]:
    by_kind = {
        str(kind): shapely.union_all(part.geometry.to_numpy())
        for kind, part in confusers.groupby("kind")
    }
    return [
        MINE if near else ground_under(shape, by_kind)
        for shape, near in zip(shapes, touches, strict=True)
    ]


@dataclass(frozen=True)
class _Told:
    """What was told of each site in each quarter, (sites, quarters) each."""

    status: ObjectArray
    """None where nothing was told."""
    detected: BoolHW
    area_ksq: FloatArray
    """(3, sites, quarters): area and its interval; no interval where it is of a footprint."""
    level: IntArray
    """0 without, 1 to 3."""


def _told(truth: FollowTruth, periods: pd.DataFrame, matched: _Matched) -> _Told:
    shape = len(matched.site_ids), len(truth.periods)
    table = _Told(
        np.full(shape, None, object),
        np.zeros(shape, np.bool_),
        np.full((3, *shape), np.nan),
        np.zeros(shape, np.int64),
    )
    row_of = {name: row for row, name in enumerate(matched.site_ids)}
    number_of = {period: number for number, period in enumerate(truth.periods)}
    for period in _rows(periods):
        row = row_of.get(str(period.site_id))
        number = number_of.get((period.start, period.end))
        if number is None:
            raise DataError(
                f"site {period.site_id} has a period from {period.start} to {period.end}, which is "
                "none of the quarters of the truth; land the country by quarters"
            )
        if row is None:
            continue
        table.status[row, number] = str(period.status)
        table.detected[row, number] = bool(period.detected)
        table.area_ksq[:, row, number] = period.area_ha, period.area_low_ha, period.area_high_ha
        table.level[row, number] = 1 + _LEVELS.index(period.level) if period.level in _LEVELS else 0
    return table


@dataclass(frozen=True)
class _Raised:
    """One alert."""

    row: int
    """Of its site."""
    quarter: int
    level: int
    rejected: bool
    mines: tuple[str, ...]
    """Under it, those that had begun."""


def _raised(
    truth: FollowTruth,
    alerts: pd.DataFrame,
    matched: _Matched,
    quarter_of: Mapping[dt.date, int],
) -> list[_Raised]:
    row_of = {name: row for row, name in enumerate(matched.site_ids)}
    row_of |= {old: row_of[new] for old, new in matched.merged.items() if new in row_of}
    begun = {name: int(rows["quarter"].iloc[0]) for name, rows in matched.quarters.items()}
    found = []
    for alert in _rows(alerts):
        row = row_of.get(str(alert.site_id))
        if row is None:
            continue
        if alert.raised not in quarter_of:
            last = truth.periods[-1][1]
            raise DataError(
                f"alert {alert.alert_id} was raised on {alert.raised}, which ends no quarter of "
                f"the truth (the last on {last}); land the country by quarters"
            )
        quarter = quarter_of[alert.raised]
        under = np.flatnonzero(matched.of_mine[row])
        names = [matched.mine_ids[column] for column in under]
        found.append(
            _Raised(
                row,
                quarter,
                1 + _LEVELS.index(str(alert.level)),
                str(alert.state) == AlertState.REJECTED.value,
                tuple(name for name in names if begun[name] <= quarter),
            )
        )
    return found


def _outcome(
    name: str, rows: pd.DataFrame, matched: _Matched, told: _Told, raised: Sequence[_Raised]
) -> MineOutcome:
    sites = matched.sites_of(name)
    column = matched.mine_ids.index(name)
    others = {
        matched.mine_ids[other]
        for site in sites
        for other in np.flatnonzero(matched.of_mine[site])
        if other != column
    }
    large = rows[rows["area_ha"] >= LEAST_HA]
    due = int(large["quarter"].iloc[0]) if len(large) else None
    after = rows[(rows["quarter"] >= (due or 0)) & (rows["seen_share"] >= LEAST_SEEN)]
    visible = int(after["quarter"].iloc[0]) if due is not None and len(after) else None
    own = [alert for alert in raised if name in alert.mines]
    first = int(rows["quarter"].iloc[0])
    quarters = tuple(
        _quarter(row, sites, told, alone=bool(matched.alone[column])) for row in _rows(rows)
    )
    highest = max(
        [alert.level for alert in own] + [int(told.level[site, first:].max()) for site in sites],
        default=0,
    )
    return MineOutcome(
        mine_id=name,
        role=str(rows["role"].iloc[0]),
        largest_ha=float(rows["area_ha"].max()),
        sites=tuple(matched.site_ids[site] for site in sites),
        shares_site_with=tuple(sorted(others)),
        due=due,
        visible=visible,
        found=min((each.quarter for each in quarters if each.detected), default=None),
        alerted=min((alert.quarter for alert in own), default=None),
        level=Level(_LEVELS[highest - 1]) if highest else None,
        rejected=bool(own) and all(alert.rejected for alert in own),
        quarters=quarters,
    )


def _quarter(row: Any, sites: Sequence[int], told: _Told, *, alone: bool) -> MineQuarter:
    number = int(row.quarter)
    detected = [site for site in sites if told.detected[site, number]]
    known = [site for site in sites if told.status[site, number] is not None]
    area, low, high = told.area_ksq[:, detected, number]
    # Without an interval it is a footprint, which says at most how large the workings are.
    compared = alone and bool(detected) and bool(np.isfinite(low).all())
    single = compared and len(detected) == 1
    return MineQuarter(
        quarter=number,
        status=Status(row.status),
        seen_share=float(row.seen_share),
        area_ha=float(row.area_ha),
        said=Status(told.status[known[0], number]) if known else None,
        detected=bool(detected),
        found_ha=float(area.sum()) if compared else None,
        low_ha=float(low[0]) if single else None,
        high_ha=float(high[0]) if single else None,
    )


def _false_alerts(
    raised: Sequence[_Raised], matched: _Matched
) -> tuple[tuple[FalseGround, ...], int]:
    false = [alert for alert in raised if not alert.mines]
    by_kind: dict[str, list[_Raised]] = {}
    for alert in false:
        by_kind.setdefault(matched.ground[alert.row], []).append(alert)
    grounds = tuple(
        FalseGround(
            kind=kind,
            alerts=len(found),
            high=sum(alert.level >= _HIGH for alert in found),
            rejected=sum(alert.rejected for alert in found),
        )
        for kind, found in sorted(by_kind.items(), key=lambda item: (-len(item[1]), item[0]))
    )
    return grounds, len(raised) - len(false)


def _persistent(told: _Told, matched: _Matched) -> tuple[int, dict[str, int]]:
    """False sites detected in two periods or more, and how high those went that climbed."""
    again = ~matched.touches & (told.detected.sum(axis=1) >= 2)
    climbed: dict[str, int] = {}
    for levels in told.level[again]:
        had = levels[levels > 0]
        if had.size and had.max() > had[0]:
            word = _LEVELS[int(had.max()) - 1]
            climbed[word] = climbed.get(word, 0) + 1
    return int(again.sum()), climbed


def _status_figures(mines: Sequence[MineOutcome]) -> dict[str, Any]:
    table: dict[str, dict[str, int]] = {}
    hidden = hidden_said = seen_said = 0
    for mine in mines:
        for quarter in mine.quarters:
            said_hidden = quarter.said is Status.NOT_OBSERVED
            if quarter.seen_share < LEAST_SEEN:
                # Radar sees through cloud: a word told of hidden ground may be right as well.
                hidden += quarter.said is not None
                hidden_said += said_hidden
                continue
            seen_said += said_hidden
            words = table.setdefault(quarter.status.value, {})
            word = "none" if quarter.said is None else quarter.said.value
            words[word] = words.get(word, 0) + 1
    return {
        "status_table": table,
        "hidden": hidden,
        "hidden_said_hidden": hidden_said,
        "seen_said_hidden": seen_said,
    }


def _rows(table: pd.DataFrame) -> Iterator[Any]:
    """Rows with their values as attributes."""
    yield from table.itertuples(index=False)
