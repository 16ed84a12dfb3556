"""Mines that people saw and no scan found: list them, report one, take one back."""

from __future__ import annotations

from typing import Annotated, Any, Self
from uuid import UUID

import geopandas as gpd
from fastapi import APIRouter, Depends, Path, Query
from pydantic import Field, model_validator
from starlette.responses import Response

from sluice.app.following.reported_mines import report_mine, reported_mines
from sluice.app.web import told
from sluice.app.web.access import Person, Role, require
from sluice.app.web.answers import geojson_of, json_response, rows_of
from sluice.app.web.errors import DOCUMENTED, Forbidden, NotHere
from sluice.app.web.parameters import Day, Name, Nothing, Paged, Strict
from sluice.app.web.places import Asks
from sluice.app.web.service import Served, Service
from sluice.app.web.shapes import Shape, read_shape
from sluice.app.web.views import Places
from sluice.app.web.withheld import reports_shown

router = APIRouter(prefix="/api", tags=["places"], responses=DOCUMENTED)

Reviewer = Annotated[Person, Depends(require(Role.REVIEWER))]
LabelId = Annotated[str, Path(min_length=1, max_length=64)]
_TOLD = ("label_id", "area", "start", "end", "who", "when", "name", "note")


class ReportList(Paged):
    """A part of the list of reports."""

    area: Name | None = None


class ReportBody(Strict):
    """A mine that somebody saw."""

    area: Name
    outline: Shape
    start: Day
    """First day on which it was seen, in an image or on the ground."""
    end: Day
    label_id: UUID | None = None
    """That the sender made up: sent again with it, as after a lost answer, it is kept once."""
    name: str = Field(default="", max_length=100)
    note: str = Field(default="", max_length=2000)

    @model_validator(mode="after")
    def _text_that_is_kept(self) -> Self:
        if "\x00" in self.name + self.note:
            raise ValueError("the text holds a character that no database keeps")
        return self


@router.get("/reported-mines", response_model=told.ReportedMines)
def reports(service: Served, who: Asks, asked: Annotated[ReportList, Query()]) -> Response:
    """Mines that people reported, as the person may see them: oldest first."""
    Places(service, who).require_area(asked.area)
    found = reported_mines(service.store, asked.area)
    if who.areas is not None:
        found = found[found["area"].isin(who.areas)]
    shown = reports_shown(found, who) if who.redacted else found
    part = shown.iloc[asked.offset : asked.offset + asked.limit]
    return json_response({"reports": _rows(part, who), "total": len(shown)})


@router.post("/reported-mines", status_code=201, response_model=told.ReportedMine)
def report(
    service: Served, who: Reviewer, body: ReportBody, _: Annotated[Nothing, Query()]
) -> Response:
    """Report a mine that no scan found: a label that training takes for one."""
    Places(service, who).require_area(body.area)
    outline = read_shape(body.outline, service.settings.most_vertices)
    with service.writing():
        made = report_mine(
            service.store,
            body.area,
            outline,
            who=who.name,
            start=body.start,
            end=body.end,
            name=body.name,
            note=body.note,
            label_id=None if body.label_id is None else body.label_id.hex,
            most=service.settings.reports_per_person,
        )
    (row,) = _rows(_report(service, who, made.label_id), who)
    return json_response(row, 201)


@router.delete("/reported-mines/{label_id}", status_code=204)
def take_back(
    service: Served, who: Reviewer, label_id: LabelId, _: Annotated[Nothing, Query()]
) -> Response:
    """Take back a report of one's own; administrators take back any."""
    (row,) = _rows(_report(service, who, label_id), who)
    if not row["own"]:
        raise Forbidden(f"{row['who']} reported it; ask them, or an administrator")
    with service.writing():
        service.store.remove_label(label_id)
    return Response(status_code=204)


def _report(service: Service, who: Person, label_id: str) -> gpd.GeoDataFrame:
    found = reported_mines(service.store)
    one = found[found["label_id"] == label_id]
    if who.areas is not None:
        one = one[one["area"].isin(who.areas)]
    if one.empty:
        raise NotHere(f"there is no report {label_id} here; /api/reported-mines lists them")
    return one


def _rows(shown: gpd.GeoDataFrame, who: Person) -> list[dict[str, Any]]:
    if who.redacted:
        rows = rows_of(shown)
    else:
        shown = shown[[*_TOLD, "geometry"]]
        admin = who.role is Role.ADMIN
        may = who.role.includes(Role.REVIEWER)
        rows = [row | {"own": may and (admin or row["who"] == who.name)} for row in rows_of(shown)]
    shapes = geojson_of(shown.geometry)
    return [row | {"geometry": shape} for row, shape in zip(rows, shapes, strict=True)]
