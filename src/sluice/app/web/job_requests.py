"""What may be asked for as an analysis, and what is refused before it waits in the queue."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from typing import Annotated, Any, Literal

import numpy as np
import shapely
from pydantic import BeforeValidator, Field
from shapely.geometry.base import BaseGeometry

from sluice.app.area import check_area_size
from sluice.app.following.landing import check_area_name
from sluice.app.web.access import Person
from sluice.app.web.errors import Forbidden, NotHere, TooLarge
from sluice.app.web.parameters import Name, Paged, Strict
from sluice.app.web.settings import Settings
from sluice.app.web.shapes import Shape, read_shape
from sluice.base.errors import ConfigError
from sluice.base.jobs import AnalysisJob, JobState
from sluice.base.longitudes import box_around
from sluice.base.periods import Period, parse_span, split_period
from sluice.base.store import Store
from sluice.sites.area import geodesic_areas_ha

_BOX_SHARE = 10
"""How much larger than the largest area the box around one may be: its grid is held in memory."""


def _as_named(given: Any) -> Any:
    return {"name": given} if isinstance(given, str) else given


class AreaAsked(Strict):
    """An area that the store knows, or the outline of a new one."""

    name: Name
    geometry: Shape | None = None


class JobBody(Strict):
    """An analysis."""

    area: Annotated[AreaAsked, BeforeValidator(_as_named, json_schema_input_type=Name | AreaAsked)]
    """The name of an area that is there, or the name and the outline of a new one."""
    first: str = Field(max_length=10, examples=["2024-01"])
    """Year, month or day."""
    last: str = Field(max_length=10, examples=["2024-12"])
    """Included."""
    every: Literal["none", "month", "quarter", "4months", "half-year", "year"] = "none"
    """Length of the periods that it is cut into."""


class JobList(Paged):
    """A part of the list of analyses."""

    state: JobState | None = None


def make_job(asked: JobBody, person: Person, store: Store, settings: Settings) -> AnalysisJob:
    """The job that is asked for.

    Raises:
        ConfigError, DataError: It cannot be done as asked.
        TooLarge: Its area, its period or its outline is larger than allowed.
        NotHere: There is no such area, or not for this person.
        Forbidden: The person may not add areas.
    """
    period = _period(asked, settings)
    name, shape = asked.area.name, asked.area.geometry
    areas = store.areas()
    known = areas[areas["name"] == name]
    if shape is None:
        if known.empty or (person.areas is not None and name not in person.areas):
            raise NotHere(
                f"there is no area {name!r} here; /api/areas lists those there are, and "
                "{name, geometry} makes a new one"
            )
        _refuse_large(known.geometry.iloc[0], settings)
        outline = None
    else:
        if person.areas is not None:
            raise Forbidden("you work on certain areas; name one of them, without an outline")
        check_area_name(name)
        if len(known):
            raise ConfigError(
                f"area {name!r}: is in the store; leave its geometry out to analyse it, or choose "
                "another name"
            )
        geometry = read_shape(shape, settings.most_vertices)
        check_area_size(geometry)
        _refuse_large(geometry, settings)
        outline = json.loads(shapely.to_geojson(geometry))
    return AnalysisJob(
        job_id=uuid.uuid4().hex,
        area=name,
        outline=outline,
        first=period.start,
        last=period.end,
        every=asked.every,
        by=person.name,
        created=dt.datetime.now(dt.UTC),
    )


def _period(asked: JobBody, settings: Settings) -> Period:
    period = parse_span(asked.first, asked.last, options=("first", "last"))
    if period.start > dt.datetime.now(dt.UTC).date():
        raise ConfigError(f"first {asked.first}: lies in the future; give a day that has been")
    days = (period.end - period.start).days + 1
    if days > settings.longest_days:
        raise TooLarge(
            f"{period.name} has {days:,} days, and an analysis may have {settings.longest_days:,}; "
            "ask for a part of it"
        )
    periods = len(list(split_period(period, asked.every)))
    if periods > settings.most_periods:
        raise TooLarge(
            f"{period.name} by {asked.every} makes {periods} periods, and an analysis may have "
            f"{settings.most_periods}; take longer ones, or ask for a part"
        )
    return period


def _refuse_large(geometry: BaseGeometry, settings: Settings) -> None:
    around = box_around(np.array([geometry], dtype=object))
    area, box = geodesic_areas_ha([geometry, around], "EPSG:4326") / 100
    if area > settings.largest_km2:
        raise TooLarge(
            f"the area has {area:,.0f} km², and an analysis may have {settings.largest_km2:,.0f}; "
            "take a part of it"
        )
    if box > _BOX_SHARE * settings.largest_km2:
        raise TooLarge(
            f"the parts of the area lie far apart, in a box of {box:,.0f} km²; analyse them one by "
            "one"
        )
