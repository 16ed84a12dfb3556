"""What requests may ask for; anything else is refused."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from sluice.app.messages import LANGUAGES
from sluice.base.periods import Period
from sluice.base.places import AlertState, Level, Reason, Status, Verdict
from sluice.base.store import BBox, SiteQuery

DEFAULT_LIMIT = 100
MOST = 1000
"""Rows of one answer."""
Limit = Annotated[int, Field(ge=1), AfterValidator(lambda wanted: min(wanted, MOST))]
"""Of the standards' lists, where whoever asks for more is given the most."""
_NUMBER = r"-?\d{1,3}(?:\.\d{1,15})?"
_BOX = rf"^{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}$"
_PERIOD = r"^\d{4}-\d{2}-\d{2}/\d{4}-\d{2}-\d{2}$"


def split_commas(given: Any) -> Any:
    """Several words in one value, with commas, as well as several values."""
    if isinstance(given, str):
        given = [given]
    if isinstance(given, list):
        return [part for one in given for part in str(one).split(",")]
    return given


def read_bbox(text: str) -> BBox:
    """`west,south,east,north` in degrees; west > east crosses 180 degrees.

    Raises:
        ValueError: It is none.
    """
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 4 or not all(map(math.isfinite, numbers)):
        raise ValueError(f"{text!r} is no box; give west,south,east,north in degrees")
    west, south, east, north = numbers
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90):
        raise ValueError(
            f"the box {text} is not in degrees, or its south lies north of its north; give "
            "west,south,east,north"
        )
    return west, south, east, north


def _check_bbox(text: str) -> str:
    read_bbox(text)
    return text


def read_day(text: str) -> dt.date:
    """A day, or that of a moment in UTC, as all days of a store are; both of ISO 8601.

    Raises:
        ValueError: It is neither.
    """
    moment = dt.datetime.fromisoformat(text.upper().replace("Z", "+00:00"))
    # In the first and the last year the day in UTC may be none that a date can be.
    if moment.tzinfo is not None and dt.MINYEAR < moment.year < dt.MAXYEAR:
        moment = moment.astimezone(dt.UTC)
    return moment.date()


def read_period(text: str) -> Period:
    """`2024-01-01/2024-03-31`.

    Raises:
        ValueError: It is none.
    """
    start, slash, end = text.partition("/")
    try:
        first, last = dt.date.fromisoformat(start), dt.date.fromisoformat(end)
    except ValueError:
        slash = ""
    if not slash or last < first:
        raise ValueError(
            f"{text!r} is no period; give its first and last day: 2024-01-01/2024-03-31"
        )
    return Period(first, last)


def _check_period(text: str) -> str:
    read_period(text)
    return text


def _only_iso(given: Any) -> Any:
    if isinstance(given, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", given) is None:
        raise ValueError("give a day as 2024-01-31")
    return given


Day = Annotated[dt.date, BeforeValidator(_only_iso)]
BoxText = Annotated[
    str,
    Field(pattern=_BOX, examples=["-2.5,5.5,-1.5,6.5"]),
    AfterValidator(_check_bbox),
]
PeriodText = Annotated[
    str,
    Field(pattern=_PERIOD, examples=["2024-01-01/2024-03-31"]),
    AfterValidator(_check_period),
]
Name = Annotated[str, Field(min_length=1, max_length=100)]
Words = BeforeValidator(split_commas)


class AskedVerdict(StrEnum):
    """Of the last review, for filters; `none` asks for sites that nobody has reviewed."""

    CONFIRMED = Verdict.CONFIRMED.value
    REJECTED = Verdict.REJECTED.value
    UNSURE = Verdict.UNSURE.value
    NONE = "none"


Verdicts = Annotated[list[AskedVerdict], Words]


def verdicts_of(asked: Iterable[AskedVerdict]) -> tuple[Verdict | None, ...] | None:
    """The same for a store: None in place of `none`, and alone where nothing is asked."""
    found = (None if one is AskedVerdict.NONE else Verdict(one.value) for one in asked)
    return tuple(found) or None


class Strict(BaseModel):
    """Frozen; what is not known is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Paged(Strict):
    """A part of a list."""

    limit: int = Field(default=DEFAULT_LIMIT, ge=1, le=MOST)
    offset: int = Field(default=0, ge=0, le=100_000_000)


class Nothing(Strict):
    """For routes without parameters."""


class SiteFilter(Strict):
    """Which sites."""

    area: Name | None = None
    bbox: BoxText | None = None
    ids: Annotated[list[Name], Field(max_length=MOST), Words] = Field(default_factory=list)
    """Of sites, past ones too."""
    status: Annotated[list[Status], Words] = Field(default_factory=list)
    level: Annotated[list[Level], Words] = Field(default_factory=list)
    verdict: Verdicts = Field(default_factory=list)
    min_area_ha: float | None = Field(default=None, ge=0, le=1e9)
    min_priority: float | None = Field(default=None, ge=0, le=100)
    since: Day | None = None
    """Last seen on this day or later."""

    def site_query(self, *, limit: int | None = None, offset: int = 0) -> SiteQuery:
        """The same for a store."""
        return SiteQuery(
            area=self.area,
            bbox_lonlat=None if self.bbox is None else read_bbox(self.bbox),
            status=tuple(self.status) or None,
            level=tuple(self.level) or None,
            verdict=verdicts_of(self.verdict),
            min_area_ha=self.min_area_ha,
            min_priority=self.min_priority,
            seen_since=self.since,
            site_ids=tuple(self.ids) or None,
            with_past=bool(self.ids),
            limit=limit,
            offset=offset,
        )


class SiteList(SiteFilter, Paged):
    """A part of the list of sites."""


class AlertList(Paged):
    """A part of the list of alerts; without `state`, those that nobody rejected."""

    area: Name | None = None
    bbox: BoxText | None = None
    level: Annotated[list[Level], Words] = Field(default_factory=list)
    state: Annotated[list[AlertState], Words] = Field(default_factory=list)
    verdict: Verdicts = Field(default_factory=list)
    """Of their sites."""
    min_priority: float | None = Field(default=None, ge=0, le=100)
    since: Day | None = None
    """Raised on this day or later."""

    @property
    def query(self) -> SiteQuery:
        """The same for a store."""
        return SiteQuery(
            area=self.area,
            bbox_lonlat=None if self.bbox is None else read_bbox(self.bbox),
            level=tuple(self.level) or None,
            state=tuple(self.state) or None,
            verdict=verdicts_of(self.verdict),
            standing=not self.state,
            min_priority=self.min_priority,
            seen_since=self.since,
            limit=self.limit,
            offset=self.offset,
        )


class Language(Strict):
    """In which language."""

    language: str = Field(default="en", pattern=f"^({'|'.join(LANGUAGES)})$")


class ReviewBody(Strict):
    """A person's verdict on a site."""

    verdict: Verdict
    reason: Reason | None = None
    """What a rejected site is instead."""
    review_id: UUID | None = None
    """That the sender made up: sent again with it, as after a lost answer, a review counts once."""
    age_s: float = Field(default=0, ge=0, allow_inf_nan=False)
    """Seconds since it was given: one that waited for a line counts from then."""
    note: str = Field(default="", max_length=2000)

    @model_validator(mode="after")
    def _reason_of_rejection(self) -> Self:
        known = ", ".join(Reason)
        if self.verdict is Verdict.REJECTED and self.reason is None:
            raise ValueError(f"a rejection needs a reason, which teaches the model: {known}")
        if self.verdict is Verdict.CONFIRMED and self.reason is not None:
            raise ValueError("a reason says what a rejected site is instead; leave it out")
        if "\x00" in self.note:
            raise ValueError("the note holds a character that no database keeps")
        return self
