"""The records of places that are followed over time, and the words for what becomes of them.

Detections of successive runs are linked to sites. Many at a time they travel as tables, whose
columns are the fields of these records in their order (`columns_of`); geometries stand beside
them, in EPSG:4326, as a GeoDataFrame's `geometry`.
"""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from typing import Any

from pydantic import Field

from sluice.base.records import Record
from sluice.base.said import Sayings


class Status(StrEnum):
    """What a site does in a period, by the rule that its row tells."""

    NEW = "new"
    GROWING = "growing"
    STEADY = "steady"
    INACTIVE = "inactive"
    """Observed clearly, and not detected any more."""
    RECOVERING = "recovering"
    """Inactive, and its ground is no longer bare."""
    NOT_OBSERVED = "not_observed"
    """Hidden in this period: never taken for gone."""


class Level(StrEnum):
    """How sure an alert is, as in the integrated alerts of Global Forest Watch."""

    LOW = "low"
    HIGH = "high"
    """Two dates, or strong evidence in one."""
    HIGHEST = "highest"
    """Two sensors agree."""


class AlertKind(StrEnum):
    """The news that an alert tells."""

    NEW = "new"
    GROWTH = "growth"
    RESUMED = "resumed"
    """Worked again after it had been inactive."""


class AlertState(StrEnum):
    """What later looks made of an alert."""

    OPEN = "open"
    CONFIRMED = "confirmed"
    REJECTED = "rejected"


class Legality(StrEnum):
    """What registered layers say about a place; never a verdict of a court."""

    IN_CONCESSION = "in_concession"
    """Within a concession that is valid in the period."""
    EXPIRED_CONCESSION = "expired_concession"
    """Within a concession that is not valid in the period."""
    PROTECTED = "protected"
    """Within a protected or indigenous area, and in no valid concession."""
    OUTSIDE = "outside"
    """Concessions are registered, and it lies in none."""
    UNKNOWN = "unknown"
    """No registered layer of concessions reaches it."""


class Verdict(StrEnum):
    """What a person says of a site."""

    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    UNSURE = "unsure"


class Reason(StrEnum):
    """Why a person rejects a site: what it is instead."""

    SANDBAR = "sandbar"
    RIVER = "river"
    OXBOW = "oxbow"
    FISH_POND = "fish_pond"
    FARM_POND = "farm_pond"
    FARMLAND = "farmland"
    SETTLEMENT = "settlement"
    ROAD = "road"
    LANDSLIDE = "landslide"
    BARE_ROCK = "bare_rock"
    INDUSTRIAL = "industrial"
    CLOUD = "cloud"
    OTHER = "other"


class LayerKind(StrEnum):
    """What a registered layer shows."""

    SETTLEMENTS = "settlements"
    ROADS = "roads"
    CONCESSIONS = "concessions"
    PROTECTED = "protected"
    INDIGENOUS = "indigenous"
    RIVERS = "rivers"
    DISTRICTS = "districts"
    AIRSTRIPS = "airstrips"
    EXPERT = "expert"
    """Places that an expert ruled out."""
    SLOPE = "slope"
    """A raster of degrees."""


class Area(Record):
    """A named area that is followed."""

    name: str
    """Unique in a store, legal as a folder's name."""
    created: dt.datetime


class LandedRun(Record):
    """A run whose result is in a store."""

    run_id: str
    area: str
    part: str = ""
    """Of an area that was scanned in several."""
    start: dt.date
    """First day of its period."""
    end: dt.date
    """Last day, included."""
    sensor: str
    """`Sensor.id`; `import` of other people's detections, whose sensor is not known. A run replaces
    the one of the same area, part, period and sensor."""
    model: str
    model_sha256: str | None
    prior: float | None
    landed: dt.datetime
    folder: str | None
    """Where its files were when it landed."""
    current: bool = True
    """False once another run has taken its place; kept as evidence."""
    record: dict[str, Any] = Field(default_factory=dict)
    """The whole `run.json`."""


class Look(Record):
    """What one run saw of one site: the evidence, from which all else about a site follows."""

    site_id: str
    run_id: str
    sensor: str
    start: dt.date
    end: dt.date
    observed_share: float = Field(ge=0, le=1)
    """Of the site's cells."""
    detected: bool
    log_lr: float | None
    """Natural logarithm of the likelihood ratio mine : no mine of what was seen; None where it
    says nothing."""
    footprint_ha: float | None
    """Geodesic area of the detections; None where there is none."""
    area_ha: float | None
    """Of the delineated workings."""
    area_low_ha: float | None
    """Lower end of the 80 % interval."""
    area_high_ha: float | None
    forest_ha: float | None = None
    """Within the site's outline in this period."""
    farmland_ha: float | None = None
    water_ha: float | None = None
    bare_ha: float | None = None
    compared_with: str | None = None
    """The run with whose image this one's was compared pixel by pixel: of the last look that tells
    the cover, the one before the site began. Only there it may be known what was lost: nothing is
    told where less than nine tenths of the site were seen both times."""
    forest_lost_ha: float | None = None
    """Forest then, anything else now."""
    farmland_lost_ha: float | None = None
    """Farmland then, bare or water now."""
    water_lost_ha: float | None = None
    """Water then, anything else now."""


class SitePeriod(Record):
    """What became of one site in one period, from all looks up to it."""

    site_id: str
    start: dt.date
    end: dt.date
    observed: bool
    detected: bool
    status: Status
    status_rule: Sayings
    """The rule that gave the status, with its figures; in tables as `sluice.base.said.packed`."""
    posterior: float
    """Probability that a mine is worked here, given all looks up to this one."""
    level: Level | None
    """None below the least level."""
    sensors: str
    """Those that speak for it, with commas, as `Sensor.satellites`."""
    area_ha: float | None
    """Of the workings, else of the footprint, where it was detected."""
    area_low_ha: float | None
    area_high_ha: float | None


class Site(Record):
    """Detections linked over time: a place."""

    site_id: str
    """`s-` and the geohash of its first detection's best cell; kept for ever."""
    area: str
    lon: float
    lat: float
    first_seen: dt.date
    """First day of the first period in which it was detected."""
    known_before: bool
    """True where the place was observed before, and nothing was detected: then it began in
    `first_seen`'s period; else it may be older."""
    last_seen: dt.date
    """Last day of the last period in which it was detected."""
    last_observed: dt.date
    status: Status
    """In the last period in which it was observed."""
    status_rule: Sayings
    posterior: float
    level: Level | None
    area_ha: float | None
    """In the last period in which it was detected: workings, else footprint."""
    area_low_ha: float | None
    area_high_ha: float | None
    cumulative_ha: float
    """Geodesic area of all that was ever detected: footprints, and workings beyond them."""
    legality: Legality
    legality_why: Sayings
    context: dict[str, Any]
    """Flags, distances and names from the registered layers."""
    priority: float
    """0 to 100; which to visit first."""
    priority_parts: dict[str, float]
    """Points of each part, which add up to it."""
    merged_into: str | None = None
    """The site that it grew together with, whose id goes on; None while it is its own."""
    current: bool = True
    """False where no run's detections stand behind it any more, or it was merged."""


class Alert(Record):
    """A change of a site worth telling, told once."""

    alert_id: str
    """Follows from site, kind and first period: the same event has the same id in every replay."""
    site_id: str
    area: str
    kind: AlertKind
    start: dt.date
    """First day of the period in which the event was first seen."""
    end: dt.date
    raised: dt.date
    """Last day of the period whose looks first made it an alert."""
    updated: dt.date
    """Last day of the period whose looks last changed level or state."""
    level: Level
    state: AlertState
    posterior: float
    growth_ha: float | None
    """Hectares added, of an alert of growth."""
    reasons: Sayings
    """Why this level and state; in tables a list of codes with values, as JSON has them."""
    lon: float
    lat: float
    priority: float
    priority_parts: dict[str, float]


class Review(Record):
    """A person's verdict on a site; added, never changed."""

    review_id: str
    site_id: str
    verdict: Verdict
    reason: Reason | None
    """Of a rejection."""
    who: str
    when: dt.datetime
    """When it was given: of several the latest counts, whenever it came in."""
    note: str = ""


class Label(Record):
    """Training truth that a store keeps; its polygon stands beside it."""

    label_id: str
    area: str
    class_name: str
    start: dt.date | None
    end: dt.date | None
    source: str
    """`review`, `report` (a mine that no scan found), or the file that it came from."""
    who: str
    when: dt.datetime
    site_id: str | None = None
    """Of the site whose outline was drawn; None where it is none's."""
    name: str | None = None
    """Of the place, as people call it."""
    note: str | None = None


class Layer(Record):
    """A registered layer of context."""

    name: str
    kind: LayerKind
    buffer_m: float = Field(default=0, ge=0)
    """How far beyond its shapes it reaches."""
    source: str
    """The file that it was read from."""
    sha256: str
    features: int
    licence: str = ""
    registered: dt.datetime


def columns_of(record: type[Record]) -> list[str]:
    """The columns of a table of these records."""
    return list(record.model_fields)
