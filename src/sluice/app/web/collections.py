"""The collections of features that programs read, and the properties of each."""

from __future__ import annotations

import datetime as dt
import types
import typing
from dataclasses import dataclass
from typing import Any

from sluice.app.web.filters import Kind
from sluice.base.places import Alert, Area, Site
from sluice.base.records import Detection, Record
from sluice.sites.context import COLUMN_KINDS

CONTEXT = "context_"
"""Before the name of what lies around a place."""
_CONTEXT_KINDS = {"flag": Kind.FLAG, "number": Kind.NUMBER, "text": Kind.TEXT, "date": Kind.DATE}


@dataclass(frozen=True)
class Collection:
    """Features of one kind."""

    name: str
    title: str
    description: str
    properties: dict[str, Kind]
    """Without the shape."""
    key: str
    """The property that is the feature's id."""

    @property
    def queryables(self) -> dict[str, Kind]:
        """What a filter may name."""
        return self.properties | {"geometry": Kind.SHAPE}


def _kinds(record: type[Record], *, without: tuple[str, ...] = ()) -> dict[str, Kind]:
    return {
        name: _kind(field.annotation)
        for name, field in record.model_fields.items()
        if name not in without
    }


def _kind(annotation: Any) -> Kind:
    if isinstance(annotation, types.UnionType):
        annotation = next(one for one in typing.get_args(annotation) if one is not types.NoneType)
    if annotation is bool:
        return Kind.FLAG
    if annotation in {int, float}:
        return Kind.NUMBER
    if annotation in {dt.date, dt.datetime}:
        return Kind.DATE
    return Kind.TEXT


SITES = Collection(
    "sites",
    "Sites",
    "Places at which mining was detected, followed over time, the most urgent first. A detection "
    "is a lead to verify, not proof. Rejected ones are among them: `verdict` says so, and "
    "`verdict IS NULL OR verdict <> 'rejected'` leaves them out.",
    {
        **_kinds(Site, without=("context", "priority_parts", "merged_into", "current")),
        "verdict": Kind.TEXT,
        "reviewers": Kind.NUMBER,
        **{CONTEXT + name: _CONTEXT_KINDS[kind] for name, kind in COLUMN_KINDS.items()},
    },
    "site_id",
)
ALERTS = Collection(
    "alerts",
    "Alerts",
    "Changes of sites worth telling, the most urgent first. Rejected ones are among them: "
    "`state <> 'rejected' AND (verdict IS NULL OR verdict <> 'rejected')` leaves them out.",
    {
        **_kinds(Alert, without=("reasons", "priority_parts")),
        "reasons": Kind.TEXT,
        "verdict": Kind.TEXT,
    },
    "alert_id",
)
DETECTIONS = Collection(
    "detections",
    "Detections",
    "What single runs outlined; sites are made of them.",
    {
        "id": Kind.TEXT,
        **_kinds(Detection),
        "run_id": Kind.TEXT,
        "site_id": Kind.TEXT,
        "start": Kind.DATE,
        "end": Kind.DATE,
        "sensor": Kind.TEXT,
    },
    "id",
)
AREAS = Collection("areas", "Areas", "Areas that are followed.", _kinds(Area), "name")
COLLECTIONS = {one.name: one for one in (SITES, DETECTIONS, ALERTS, AREAS)}
