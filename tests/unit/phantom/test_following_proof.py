"""The tables of the proof of following, on countries whose figures are plain."""

import numpy as np
import pytest
from proof.following import Following, _estimates, _half, _median, following_text

from sluice.base.places import Level, Status
from sluice.phantom.follow_records import (
    CountryComparison,
    FalseGround,
    MineOutcome,
    MineQuarter,
)


def mine(name: str, *, due: int, alerted: int | None, area_ha: float, told_ha: float | None):
    quarters = tuple(
        MineQuarter(
            quarter=number,
            status=Status.STEADY,
            seen_share=1.0,
            area_ha=area_ha,
            said=Status.STEADY if told_ha is not None else None,
            detected=told_ha is not None,
            found_ha=told_ha,
            low_ha=None if told_ha is None else 0.9 * told_ha,
            high_ha=None if told_ha is None else 1.1 * told_ha,
        )
        for number in range(due, 8)
    )
    return MineOutcome(
        mine_id=name,
        role="opens",
        largest_ha=area_ha,
        sites=(),
        shares_site_with=(),
        due=due,
        visible=due,
        found=due if told_ha is not None else None,
        alerted=alerted,
        level=None if alerted is None else Level.LOW,
        rejected=False,
        quarters=quarters,
    )


def country(*, false: int) -> CountryComparison:
    """Two of four mines alerted within a quarter, one late, one never; half of the area told."""
    mines = (
        mine("A", due=0, alerted=0, area_ha=4.0, told_ha=2.0),
        mine("B", due=2, alerted=3, area_ha=8.0, told_ha=4.0),
        mine("C", due=2, alerted=6, area_ha=6.0, told_ha=3.0),
        mine("D", due=1, alerted=None, area_ha=1.0, told_ha=None),
    )
    told = sum(len(one.quarters) for one in mines[:3])
    return CountryComparison(
        mines=mines,
        quarters=8,
        km2=25.0,
        years=2.0,
        sites=3 + false,
        false_sites=false,
        grazing_sites=0,
        shared_sites=0,
        split_mines=0,
        true_alerts=3,
        false_alerts=(FalseGround(kind="sandbar", alerts=false, high=0, rejected=0),),
        persistent=4,
        climbed=1,
        climbed_to={"high": 1},
        status_table={"steady": {"steady": told, "none": 7}},
        hidden=0,
        hidden_said_hidden=0,
        seen_said_hidden=0,
    )


def test_the_tables_tell_shares_rates_and_sizes() -> None:
    way = Following(0.3, radar=True, countries=(country(false=1), country(false=1)))
    text = following_text([way], scan_s=120, landed_s=60)
    row, sizes = [line for line in text.splitlines() if line.startswith("| 30% | with")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[2].startswith("0.75 ")  # sites within a quarter
    assert cells[3].startswith("0.50 ")  # alerted within a quarter
    assert cells[4].startswith("0.33 ")  # of the three that opened
    assert cells[5].startswith("0.75 ")  # ever
    assert cells[6].startswith("1.0 ")  # quarters, the median of 0, 1, 4
    assert cells[7].startswith("20 ")  # one in 50 km2 years
    parts = [cell.strip() for cell in sizes.strip("|").split("|")]
    assert parts[2].startswith("-0.50 ")
    assert parts[4].startswith("0.00 ")  # no interval holds the truth
    assert parts[6] == "4.0"
    assert parts[7] == "2 of 8"
    assert "2 countries" in text
    assert "8 mines" in text


def test_no_false_alert_on_little_ground_says_little() -> None:
    way = Following(0.3, radar=True, countries=(country(false=0), country(false=0)))
    row = following_text([way], scan_s=0, landed_s=0).splitlines()[4]
    # 3.69 events are as rare as 1 in 40 where none is seen; 0.1 thousand km2 years were watched.
    assert row.split("|")[8].strip() == "0 [0-37]"


def test_a_median_counts_each_value_as_often_as_it_was_drawn() -> None:
    median = _median(np.array([1.0, np.nan, 5.0, 9.0]))
    np.testing.assert_array_equal(median(np.array([[1, 7, 1, 1], [0, 1, 0, 3]], float)), [5, 9])
    assert np.isnan(median(np.array([[0.0, 4, 0, 0]]))[0])
    assert float(median(np.ones(4))) == pytest.approx(5)


def test_a_size_follows_the_countries_that_were_drawn() -> None:
    tries = np.array([[0.5, 0], [1.0, 0], [2.0, 1], [4.0, 1], [8.0, 0], [16.0, 1], [32.0, 1]])
    half = _half(tries)
    small, large = half(np.array([[1, 1, 1, 1, 0, 0, 0], [0, 1, 1, 0, 1, 1, 1]], float))
    assert 1 < small < 2
    assert large > small
    assert np.isnan(half(np.array([[0.0, 0, 1, 1, 0, 0, 0]]))[0])


def test_nothing_to_look_at_has_no_figure() -> None:
    found = _estimates({"half": _half(np.empty((0, 2)))}, np.empty(0), resamples=10)
    assert found["half"].value is None
