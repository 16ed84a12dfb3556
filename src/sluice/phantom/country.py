"""A fictional country over quarters: mines open, grow, pause, stop and heal, under clouds."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from scipy import special
from shapely.geometry.base import BaseGeometry

from sluice.base.arrays import BoolHW
from sluice.base.errors import ConfigError
from sluice.base.periods import Period, split_period
from sluice.base.places import LayerKind, Status
from sluice.phantom.history import ACTIVE, MineHistory
from sluice.phantom.scene import NOT_CLEAR, at_20_m, share_inside, to_ground
from sluice.phantom.series import PhantomSeries, build_series
from sluice.phantom.territory import draw_territory

FIRST_DAY = dt.date(2023, 1, 1)
DATES_PER_QUARTER = 5
ROLES = ("grows", "opens", "heals", "opens", "pauses", "steady", "opens", "brief")
"""What becomes of mines, in turns of random order: there before and growing; beginning in some
quarter; there before, left and grown over; left for three quarters; worked, and not growing;
begun, and left a year later."""
GROWTH_SHARE, GROWTH_HA = 0.2, 0.5
"""A mine grows in a quarter in which its ground has become larger by this share, and by so many
hectares, since it was last new or growing: slow growth is told now and then."""
BARE_SHARE = 0.5
"""A mine without work heals once less than this share of the most that was bare is bare."""
CLOUD_CONCENTRATION = 1.4
"""Sum of the parameters of the beta distribution of cloud cover; see `draw_clouds`."""

_CLOUDS, _ROLES = 200, 201  # beside the series' own kinds of chance
_QUICK_REGROWTH_DAYS = 180.0  # weeds cover abandoned pits of the wet tropics within a year or two


@dataclass(frozen=True)
class Country:
    """A landscape, its mines' fates, and the quarters in which it is watched. It is fictional."""

    series: PhantomSeries
    quarters: tuple[Period, ...]
    roles: dict[str, str]
    """One of `ROLES` for each `mine_id`."""
    layers: dict[LayerKind, gpd.GeoDataFrame]
    """What an authority would have on file, in the grid's CRS; columns id, name, start, end (days,
    None where it has none)."""

    @property
    def outline(self) -> gpd.GeoSeries:
        """The country, one polygon in the grid's CRS."""
        box = shapely.box(*self.series.geobox.boundingbox.bbox)
        return gpd.GeoSeries([box], crs=str(self.series.geobox.crs))

    def clear_in(self, quarter: int) -> BoolHW:
        """(H, W), True where some Sentinel-2 date of a quarter saw the ground."""
        period, series = self.quarters[quarter], self.series
        seen = np.zeros(series.geobox.shape.yx, np.bool_)
        for index, day in enumerate(series.dates):
            if day in period:
                scl = np.zeros(seen.shape, np.uint8)
                series.sky_at(index).classify(scl)
                seen |= ~np.isin(at_20_m(scl), NOT_CLEAR)
        return seen


def build_country(
    seed: int,
    *,
    size_px: int = 720,
    quarters: int = 8,
    cloud: float = 0.6,
    dates_per_quarter: int = DATES_PER_QUARTER,
    mine_count: int = 10,
    largest_ha: float = 40.0,
    first: dt.date = FIRST_DAY,
) -> Country:
    """Draw a country. The same arguments give the same one; land and mines do not depend on cloud.

    Args:
        seed: Source of all chance.
        size_px: Side in pixels of 10 m, a multiple of 6, at least 240.
        quarters: How many are watched.
        cloud: Mean part of a Sentinel-2 scene under cloud, 0-1 without the ends.
        dates_per_quarter: Sentinel-2 scenes.
        mine_count: Mines; fewer where they do not fit.
        largest_ha: Upper end of their full sizes, which are log-uniform from 1 ha.
        first: First day of the first quarter, of a month.

    Raises:
        ConfigError: A number that cannot be drawn.
    """
    if quarters < 2 or dates_per_quarter < 1 or first.day != 1:
        raise ConfigError(
            f"{quarters} quarters of {dates_per_quarter} dates from {first}: a country needs two "
            "quarters or more with a date each, from the first day of a month"
        )
    watched = watched_quarters(quarters, first)
    dates = [day for quarter in watched for day in _spread(quarter, dates_per_quarter)]
    clouds = draw_clouds(cloud, len(dates), np.random.default_rng([seed, _CLOUDS]))
    series = build_series(
        seed, size_px, dates, mine_count=mine_count, largest_ha=largest_ha, cloud_shares=clouds
    )
    roles, histories = _draw_fates(series, watched)
    series = replace(series, histories=histories)
    return Country(series, watched, roles, draw_territory(series, roles, watched))


def watched_quarters(count: int = 8, first: dt.date = FIRST_DAY) -> tuple[Period, ...]:
    """Quarters from a first day on."""
    whole = Period(first, _months_later(first, 3 * count) - dt.timedelta(days=1))
    return tuple(split_period(whole, "quarter"))


def draw_clouds(mean: float, count: int, rng: np.random.Generator) -> tuple[float, ...]:
    """Cloud cover of dates, from overcast to clear, with a given mean.

    A beta distribution with the spread of the humid tropics (`series.draw_cloud_shares`, which has
    the mean 0.57), one value from each of `count` equal parts of it, in random order.

    Raises:
        ConfigError: The mean is not between 0 and 1.
    """
    if not 0 < mean < 1:
        raise ConfigError(f"cloud is {mean}; use a share above 0 and below 1")
    chance = (rng.permutation(count) + rng.random(count)) / count
    share = special.betaincinv(CLOUD_CONCENTRATION * mean, CLOUD_CONCENTRATION * (1 - mean), chance)
    share = np.where(share > 0.97, 1.0, np.where(share < 0.02, 0.0, share))
    return tuple(float(value) for value in share)


def truth_by_quarter(country: Country) -> gpd.GeoDataFrame:
    """What is true of each mine in each quarter, on the quarter's middle day.

    Returns:
        A row for each mine and quarter from its first ground on, in the grid's CRS:
        mine_id, role, quarter (number), start, end (days), worked (somebody digs there), area_ha
        (outline of what is bare or water), bare_ha (what is bare or water), worked_ha (outline of
        all that ever was), status (`Status`, see `_status`), seen_share (part of `worked_ha` that
        some Sentinel-2 date of the quarter saw), geometry (outline of all that ever was worked).
    """
    rows: list[dict[str, object]] = []
    shapes: list[BaseGeometry] = []
    box = country.series.geobox
    most: dict[str, float] = {}
    told: dict[str, float] = {}
    for number, quarter in enumerate(country.quarters):
        clear, day = country.clear_in(number), middle_day(quarter)
        for history in country.series.histories:
            worked = history.worked_outline_at(day)
            if worked.area < 1:
                continue
            name, shown = history.mine_id, to_ground(history.outline_at(day), box).area / 1e4
            bare_ha = _bare_ha(history, day)
            most[name] = max(most.get(name, 0.0), bare_ha)
            digging = history.state(day) == ACTIVE
            status = _status(shown, told.get(name), bare_ha / most[name], digging=digging)
            if status in (Status.NEW, Status.GROWING):
                told[name] = shown
            shapes.append(to_ground(worked, box))
            rows.append(
                {
                    "mine_id": name,
                    "role": country.roles[name],
                    "quarter": number,
                    "start": quarter.start,
                    "end": quarter.end,
                    "worked": digging,
                    "area_ha": shown,
                    "bare_ha": bare_ha,
                    "worked_ha": shapes[-1].area / 1e4,
                    "status": status.value,
                    "seen_share": share_inside(clear, worked),
                }
            )
    frame = pd.DataFrame(rows, columns=TRUTH_COLUMNS)
    return gpd.GeoDataFrame(frame, geometry=shapes, crs=str(box.crs))


TRUTH_COLUMNS = [
    "mine_id",
    "role",
    "quarter",
    "start",
    "end",
    "worked",
    "area_ha",
    "bare_ha",
    "worked_ha",
    "status",
    "seen_share",
]
"""Of `truth_by_quarter`, beside `geometry`."""


def middle_day(period: Period) -> dt.date:
    """The day of which the truth of a period is told."""
    return period.start + (period.end - period.start) // 2


def _status(area_ha: float, told_ha: float | None, bare_share: float, *, digging: bool) -> Status:
    """What a person who stands there would say.

    New in its first quarter on record, also where it is older than the record; growing by
    `GROWTH_SHARE` and `GROWTH_HA`; steady where it is worked otherwise. Without work: recovering
    once less than `BARE_SHARE` of the most that was bare is bare, inactive before.
    """
    if told_ha is None:
        return Status.NEW
    if not digging:
        return Status.RECOVERING if bare_share < BARE_SHARE else Status.INACTIVE
    grown_ha = area_ha - told_ha
    return Status.GROWING if grown_ha >= max(GROWTH_HA, GROWTH_SHARE * told_ha) else Status.STEADY


def _bare_ha(history: MineHistory, day: dt.date) -> float:
    # Two by two fine pixels are a pixel of 10 m, a hundredth of a hectare.
    return float((history.kind_at(day) > 0).sum()) / 400


def _draw_fates(
    series: PhantomSeries, quarters: Sequence[Period]
) -> tuple[dict[str, str], tuple[MineHistory, ...]]:
    """Give each mine one of `ROLES`, whatever its size."""
    rng = series.rng(_ROLES)
    turns = itertools.chain.from_iterable(rng.permutation(ROLES) for _ in itertools.count())
    roles, histories, opened = {}, [], int(rng.integers(3))
    for history, role in zip(series.histories, turns, strict=False):
        roles[history.mine_id] = str(role)
        # Openings are spread over the quarters, none so late that nobody could tell of it.
        opening = 1 + opened % max(1, len(quarters) - 3)
        opened += 2 * (role == "opens")
        histories.append(_with_fate(history, str(role), quarters, opening, rng))
    return roles, tuple(histories)


def _with_fate(
    history: MineHistory,
    role: str,
    quarters: Sequence[Period],
    opening: int,
    rng: np.random.Generator,
) -> MineHistory:
    first, last = quarters[0].start, quarters[-1].end

    def within(number: int) -> dt.date:
        quarter = quarters[min(number, len(quarters) - 1)]
        return _shifted(quarter.start, rng.uniform(0.1, 0.9) * (quarter.end - quarter.start).days)

    if role == "opens":
        started = within(opening)
        return replace(
            history, started=started, full=_shifted(started, rng.uniform(120, 420)), abandoned=None
        )
    if role == "brief":
        started, left = within(1), within(4)
        full = started + (left - started) * 3 // 4
    else:
        started = _shifted(first, -rng.uniform(250, 600))
        grown = rng.uniform(0, 200)
        full = _shifted(last, grown) if role in ("grows", "pauses") else _shifted(first, -grown)
        left = within(2)
    if role == "pauses":
        return replace(
            history,
            started=started,
            full=full,
            abandoned=None,
            paused=(left, within(5)),
            regrowth_days=_QUICK_REGROWTH_DAYS,
        )
    stops = role in ("heals", "brief")
    return replace(
        history,
        started=started,
        full=full,
        abandoned=left if stops else None,
        regrowth_days=_QUICK_REGROWTH_DAYS if stops else history.regrowth_days,
    )


def _spread(period: Period, count: int) -> list[dt.date]:
    length = (period.end - period.start).days
    return [_shifted(period.start, (number + 0.5) / count * length) for number in range(count)]


def _shifted(day: dt.date, days: float) -> dt.date:
    return day + dt.timedelta(days=int(days))


def _months_later(day: dt.date, months: int) -> dt.date:
    index = day.year * 12 + day.month - 1 + months
    return dt.date(index // 12, index % 12 + 1, 1)
