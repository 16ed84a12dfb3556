"""Periods of time: what a composite is made of."""

from __future__ import annotations

import calendar
import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass

from sluice.base.errors import ConfigError

EVERY_MONTHS = {"month": 1, "quarter": 3, "4months": 4, "half-year": 6, "year": 12}
"""Lengths that a span of time is cut into, in months."""

_FIRST_YEAR = 1972
"""When Landsat began."""
_DATE = re.compile(r"(\d{4})(?:-(\d{2}))?(?:-(\d{2}))?")
_CLOCK = re.compile(r"(?<=-\d{2}-\d{2})[T ]\d{2}:\d{2}.*")


@dataclass(frozen=True, order=True)
class Period:
    """From one day to another, both included, in UTC."""

    start: dt.date
    end: dt.date

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise ConfigError(
                f"a period from {self.start} to {self.end} ends before it begins; swap the dates"
            )

    def __contains__(self, day: dt.date) -> bool:
        return self.start <= day <= self.end

    @property
    def name(self) -> str:
        """`2024-01`, `2024-01_2024-04` or `2024-01-10_2024-02-03`; a legal file name."""
        whole = self.start.day == 1 and self.end == _last_of_month(self.end)
        if whole and (self.start.year, self.start.month) == (self.end.year, self.end.month):
            return f"{self.start:%Y-%m}"
        return f"{self.start:%Y-%m}_{self.end:%Y-%m}" if whole else f"{self.start}_{self.end}"

    @property
    def datetimes(self) -> tuple[dt.datetime, dt.datetime]:
        """First and last moment, UTC."""
        return (
            dt.datetime.combine(self.start, dt.time.min, dt.UTC),
            dt.datetime.combine(self.end, dt.time.max, dt.UTC),
        )


def parse_span(first: str, last: str, *, options: tuple[str, str] = ("--from", "--to")) -> Period:
    """The period from the first day of `first` to the last of `last`.

    Args:
        first: `2024`, `2024-01` or `2024-01-15`.
        last: Likewise.
        options: Where each was given, for messages.

    Raises:
        ConfigError: Not a date, none that a satellite can have seen, or `last` before `first`.
    """
    return Period(_parse(first, options[0])[0], _parse(last, options[1])[1])


def parse_day(text: str, option: str, *, last: bool = False) -> dt.date:
    """The first or last day that a year, a month or a day stands for.

    Args:
        text: `2024`, `2024-01` or `2024-01-15`.
        option: Where it was given, for messages.
        last: The last day, else the first.

    Raises:
        ConfigError: Not a date, or none that a satellite can have seen.
    """
    return _parse(text, option)[-1 if last else 0]


def split_period(period: Period, every: str) -> Iterator[Period]:
    """Cut a span into periods of whole months, counted from its first month; the last may be cut.

    Args:
        period: The whole span.
        every: A key of `EVERY_MONTHS`, or `none`.

    Raises:
        ConfigError: `every` is not known.
    """
    if every == "none":
        yield period
        return
    if every not in EVERY_MONTHS:
        known = ", ".join([*EVERY_MONTHS, "none"])
        raise ConfigError(f"--every {every}: is not known; use one of {known}")
    start = period.start
    while start <= period.end:
        following = _add_months(start, EVERY_MONTHS[every])
        yield Period(start, min(period.end, following - dt.timedelta(days=1)))
        start = following


def calendar_period(day: dt.date, every: str) -> Period:
    """The month, quarter or year that a day lies in, counted from January.

    Raises:
        ConfigError: `every` is no key of `EVERY_MONTHS`.
    """
    if every not in EVERY_MONTHS:
        raise ConfigError(f"--every {every}: is not known; use one of {', '.join(EVERY_MONTHS)}")
    months = EVERY_MONTHS[every]
    start = dt.date(day.year, (day.month - 1) // months * months + 1, 1)
    return Period(start, _add_months(start, months) - dt.timedelta(days=1))


def day_of(value: object, *, last: bool) -> dt.date | None:
    """The day that a value of a table tells, or the first or last one of a year or month.

    Args:
        value: A date, a number such as 2024.0, or a text: `2024`, `2024-01`, `2024-01-15`, the last
            with a time of day or without.
        last: The last day of a year or month, else the first.

    Returns:
        None where it is none of these.
    """
    if isinstance(value, dt.datetime):
        return value.date()
    if isinstance(value, dt.date):
        return value
    text = f"{value:.0f}" if isinstance(value, float) and value % 1 == 0 else str(value).strip()
    found = _DATE.fullmatch(_CLOCK.sub("", text))
    try:
        return None if found is None else _span_of(found)[-1 if last else 0]
    except ValueError:
        return None


def _parse(text: str, option: str) -> tuple[dt.date, dt.date]:
    """First and last day that a year, a month or a day stands for."""
    found = _DATE.fullmatch(text.strip())
    try:
        if found is None:
            raise ValueError
        span = _span_of(found)
    except ValueError:
        raise ConfigError(
            f"{option} {text}: is not a date; give a year (2024), a month (2024-01) or a day "
            "(2024-01-15)"
        ) from None
    following = dt.datetime.now(dt.UTC).year + 1
    if not _FIRST_YEAR <= span[0].year <= following:
        raise ConfigError(
            f"{option} {text}: no satellite has seen that; give a date from {_FIRST_YEAR} to "
            f"{following}"
        )
    return span


def _span_of(found: re.Match[str]) -> tuple[dt.date, dt.date]:
    year, month, day = (int(part or 0) for part in found.groups())
    first = dt.date(year, month or 1, day or 1)
    if day:
        return first, first
    return first, _last_of_month(first) if month else dt.date(year, 12, 31)


def _last_of_month(day: dt.date) -> dt.date:
    return day.replace(day=calendar.monthrange(day.year, day.month)[1])


def _add_months(day: dt.date, months: int) -> dt.date:
    """The first day of the month that lies so many months later."""
    index = day.year * 12 + day.month - 1 + months
    return dt.date(index // 12, index % 12 + 1, 1)
