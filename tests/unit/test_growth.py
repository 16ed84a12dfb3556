"""Growth: like with like, beyond what looks differ by, and forgotten after a year."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.base.errors import ConfigError
from sluice.sites.growth import (
    FOOTPRINT,
    GROWTH_OF_ALERT,
    GROWTH_OF_STATUS,
    WORKINGS,
    GrowthRule,
    growth_within_year,
)

ENDS = [dt.date(2023, 3, 31) + dt.timedelta(days=round(91.3125 * quarter)) for quarter in range(10)]


def history(*areas: float | tuple[float, float] | None, site: str = "s-a") -> pd.DataFrame:
    """A row for each quarter: None not detected, a number a footprint, a pair workings."""
    rows = []
    for end, area in zip(ENDS, areas, strict=False):
        workings = isinstance(area, tuple)
        rows.append(
            {
                "site_id": site,
                "start": end - dt.timedelta(days=90),
                "end": end,
                "detected": area is not None,
                "well_seen": True,
                "area_ha": area[0] if workings else (np.nan if area is None else area),
                "area_low_ha": area[1] if workings else np.nan,
            }
        )
    return pd.DataFrame(rows)


def of(periods: pd.DataFrame, quarter: int) -> dict[str, float]:
    return dict(growth_within_year(periods, ENDS[quarter]))


def test_growth_counts_for_a_year_and_no_longer() -> None:
    grown = history((4.0, 3.0), (10.0, 8.0))
    assert of(grown, 1) == {"s-a": 6.0}
    # Nothing was detected, or seen, since: after a year its beginning is out of sight.
    assert of(grown, 4) == {"s-a": 6.0}
    assert of(grown, 5) == {}
    assert of(grown, 9) == {}


def test_workings_are_not_compared_with_footprints() -> None:
    assert of(history((4.0, 3.0), 40.0), 1) == {}
    assert of(history(40.0, (4.0, 3.0), (12.0, 9.0), 60.0), 3) == {"s-a": 8.0}
    assert of(history(10.0, (4.0, 3.0), 30.0), 2) == {"s-a": 20.0}


def test_what_a_cloud_had_hidden_is_no_growth() -> None:
    seen = history((4.0, 3.0), (10.0, 8.0), (16.0, 14.0))
    assert of(seen.assign(well_seen=[False, True, True]), 2) == {"s-a": 6.0}
    assert of(seen.assign(well_seen=[True, False, False]), 2) == {}


def test_what_two_looks_differ_by_is_no_growth() -> None:
    both = pd.concat(
        [
            history((10.0, 8.0), (12.8, 9.0), site="s-a"),
            history(10.0, 15.7, site="s-b"),
            history((10.0, 8.0), (13.0, 9.0), site="s-c"),
            history((9.0, 8.0), None, (5.0, 4.0), site="s-d"),
            history((1.0, 0.8), (1.4, 1.0), site="s-e"),
        ]
    )
    assert of(both, 2) == {"s-a": 0.0, "s-b": 0.0, "s-c": 3.0, "s-d": 0.0, "s-e": 0.0}


@given(st.floats(0.1, 500), st.floats(0.1, 500), st.sampled_from([WORKINGS, FOOTPRINT]))
def test_what_is_news_is_growth_in_a_list_too(before: float, after: float, kind: int) -> None:
    now, was, kinds = np.array([after]), np.array([before]), np.array([kind])
    news = GROWTH_OF_ALERT.has_grown(now, was, kinds)[0]
    word = GROWTH_OF_STATUS.has_grown(now, was, kinds)[0]
    assert word or not news
    noise = 1.58 if kind == FOOTPRINT else 1.29
    assert word == (after > before * noise and after - before > 0.5)
    assert not GROWTH_OF_STATUS.has_grown(now, np.array([np.nan]), kinds)[0]


def test_figures_below_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match="least_ha"):
        GrowthRule(share=0.2, least_ha=-1)
