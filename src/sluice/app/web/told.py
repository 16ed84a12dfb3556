"""What answers hold, for the document that describes the interface: nothing is built from these."""

from __future__ import annotations

import datetime as dt
from typing import Any

from pydantic import BaseModel, ConfigDict, create_model

from sluice.base.places import Alert, LayerKind, Look, Review, Site, SitePeriod, Verdict
from sluice.base.records import Record
from sluice.sites.cover import COLUMNS, LOST_COLUMNS


class Told(BaseModel):
    """A part of an answer."""

    model_config = ConfigDict(extra="forbid")


class Geometry(BaseModel):
    """A GeoJSON geometry, longitude first."""

    model_config = ConfigDict(extra="allow")

    type: str


def _told(name: str, record: type[Record], doc: str, **more: Any) -> Any:
    """A record of which any field may be withheld but those that name and place it."""
    needed = {"site_id", "alert_id", "run_id", "start", "end", "lon", "lat"}
    fields: dict[str, Any] = {}
    for key, field in record.model_fields.items():
        needs = key in needed
        kind: Any = field.annotation
        fields[key] = (kind, ...) if needs else (kind | None, None)
    fields |= {"redacted": (bool | None, None), "cell_m": (float | None, None), **more}
    return create_model(name, __base__=Told, __doc__=doc, **fields)


_SAID: dict[str, Any] = {"verdict": (Verdict | None, None), "reviewers": (int | None, None)}
SiteTold: Any = _told("SiteTold", Site, "A site, with what people said of it last.", **_SAID)
AlertTold: Any = _told("AlertTold", Alert, "An alert.", verdict=(Verdict | None, None))
ListedAlert: Any = _told(
    "ListedAlert",
    Alert,
    "An alert, with the status of its site.",
    verdict=(Verdict | None, None),
    site_status=(str | None, None),
)
PeriodTold: Any = _told("PeriodTold", SitePeriod, "What became of a site in a period.")
LookTold: Any = _told(
    "LookTold",
    Look,
    "What a run saw of a site.",
    satellites=(str, ...),
    scene_ids=(list[str], ...),
)


_COVER: dict[str, Any] = {
    **dict.fromkeys(("cover_before", "cover_after"), (dt.date, ...)),
    "known_before": (bool, ...),
    **{
        f"{name.removesuffix('_ha')}_{when}_ha": (float, ...)
        for name in COLUMNS
        for when in ("before", "after")
    },
    **dict.fromkeys(LOST_COLUMNS, (float | None, None)),
}
CoverTold: Any = create_model(
    "CoverTold",
    __base__=Told,
    __doc__="Ground cover of a site before it began and after, in hectares of the same ground.",
    **_COVER,
)


class Sites(Told):
    """A part of a list of sites."""

    sites: list[SiteTold]
    total: int


class Alerts(Told):
    """A part of a list of alerts."""

    alerts: list[ListedAlert]
    total: int


class PeriodOfArea(Told):
    """A period that was scanned."""

    start: dt.date
    end: dt.date
    name: str


class RunTold(Told):
    """A run."""

    run_id: str
    start: dt.date
    end: dt.date
    sensor: str
    owners: list[str]
    """Who is to be named for its images."""
    model: str
    has_image: bool
    has_probability: bool


class AreaTold(Told):
    """An area that is followed."""

    name: str
    bbox: list[float]
    geometry: Geometry
    hectares: float
    sites: int
    alerts: int
    periods: list[PeriodOfArea]
    runs: list[RunTold]


class Outline(Told):
    """What a run outlined at a site."""

    run_id: str
    start: dt.date
    end: dt.date
    sensor: str
    geometry: Geometry


class Drawn(Told):
    """What somebody drew around a site; `label_id` is the id of the review."""

    label_id: str
    class_name: str
    start: dt.date | None
    end: dt.date | None
    who: str
    when: dt.datetime
    geometry: Geometry


class ReportedMine(Told):
    """A mine that somebody saw and no scan found; of withheld places a cell and a month."""

    label_id: str
    area: str | None = None
    start: dt.date | None = None
    end: dt.date | None = None
    who: str | None = None
    when: dt.datetime | dt.date
    name: str | None = None
    note: str | None = None
    own: bool = False
    """Whether whoever asks may take it back."""
    redacted: bool | None = None
    cell_m: float | None = None
    geometry: Geometry


class ReportedMines(Told):
    """A part of them, the oldest first."""

    reports: list[ReportedMine]
    total: int


class SceneTold(Told):
    """An image that a run was made of."""

    run_id: str
    scene_id: str
    href: str | None
    sensor: str | None
    acquired: dt.date | None
    tile: str | None
    orbit_state: str | None
    cloud_cover: float | None
    processing_baseline: str | None


class Coordinates(Told):
    """A place as people write it."""

    decimal: str
    dms: str
    mgrs: str


class SitePage(Told):
    """All that is known of a site."""

    site: SiteTold
    geometry: Geometry
    periods: list[PeriodTold]
    looks: list[LookTold]
    cover: CoverTold | None
    """Of sites of which two looks or more tell it."""
    alerts: list[AlertTold]
    reviews: list[Review]
    outlines: list[Outline]
    drawn: list[Drawn]
    scenes: list[SceneTold]
    runs: list[RunTold]
    coordinates: Coordinates | None


class Found(Told):
    """A place that fits what was typed."""

    kind: str
    label: str
    lon: float
    lat: float
    bbox: list[float]


class SearchAnswer(Told):
    """The likeliest first."""

    found: list[Found]


class LayerTold(Told):
    """A registered layer."""

    name: str
    kind: LayerKind
    features: int
    buffer_m: float
    licence: str
    registered: dt.datetime


class Counted(Told):
    """Figures of one district or protected area."""

    name: str | None
    sites: int
    active: int
    hectares: float
    new_sites: int
    new_hectares: float
    alerts: int


class Linked(BaseModel):
    """A document with links."""

    model_config = ConfigDict(extra="allow")

    links: list[dict[str, Any]]


class Conformance(Told):
    """Standards that are kept."""

    conformsTo: list[str]  # noqa: N815 - the standard's name
