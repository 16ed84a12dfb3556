"""Periods: what `--from`, `--to` and `--every` mean."""

import datetime as dt
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.base.errors import ConfigError
from sluice.base.periods import EVERY_MONTHS, Period, parse_day, parse_span, split_period


@pytest.mark.parametrize(
    ("first", "last", "start", "end"),
    [
        ("2024", "2024", "2024-01-01", "2024-12-31"),
        ("2024-01", "2024-02", "2024-01-01", "2024-02-29"),
        ("2023-02-03", "2023-02-03", "2023-02-03", "2023-02-03"),
        ("2023-12-31", "2024", "2023-12-31", "2024-12-31"),
    ],
)
def test_first_and_last_day_are_included(first, last, start, end) -> None:
    period = parse_span(first, last)
    assert (str(period.start), str(period.end)) == (start, end)
    assert period.datetimes[0] == dt.datetime.fromisoformat(f"{start}T00:00:00+00:00")
    assert period.datetimes[1] > dt.datetime.fromisoformat(f"{end}T23:59:59+00:00")


@pytest.mark.parametrize("text", ["", "24", "2024-13", "2024-02-30", "January", "2024/01", "0000"])
def test_what_is_no_date_is_refused(text) -> None:
    with pytest.raises(ConfigError, match="--from"):
        parse_span(text, "2024-12")


def test_an_end_before_the_start_is_refused() -> None:
    with pytest.raises(ConfigError, match="ends before"):
        parse_span("2024-05", "2024-04")


def test_four_months_of_a_year() -> None:
    names = [period.name for period in split_period(parse_span("2024", "2024"), "4months")]
    assert names == ["2024-01_2024-04", "2024-05_2024-08", "2024-09_2024-12"]


def test_an_unknown_length_is_refused() -> None:
    with pytest.raises(ConfigError, match="week"):
        list(split_period(parse_span("2024", "2024"), "week"))


days = st.dates(dt.date(1999, 1, 1), dt.date(2040, 1, 1))


@given(days, days, st.sampled_from([*EVERY_MONTHS, "none"]))
def test_parts_cover_each_day_once(one, other, every) -> None:
    whole = Period(min(one, other), max(one, other))
    parts = list(split_period(whole, every))
    assert parts[0].start == whole.start
    assert parts[-1].end == whole.end
    for part, following in itertools.pairwise(parts):
        assert following.start == part.end + dt.timedelta(days=1)
        assert following.start.day == 1
    assert len({part.name for part in parts}) == len(parts)


@pytest.mark.parametrize("text", ["0001", "1971-12-31", "9999", "2190-01"])
def test_what_no_satellite_can_have_seen_is_refused(text) -> None:
    with pytest.raises(ConfigError, match=f"--to {text}: no satellite has seen that"):
        parse_span("2024", text)
    with pytest.raises(ConfigError, match="--since"):
        parse_day(text, "--since")


def test_a_day_stands_at_the_end_that_is_asked_for() -> None:
    assert parse_day("2024-02", "--until", last=True) == dt.date(2024, 2, 29)
    assert parse_day("2024-02", "--since") == dt.date(2024, 2, 1)
    this_year = dt.datetime.now(dt.UTC).year
    assert parse_day(f"{this_year}", "--until", last=True).year == this_year
