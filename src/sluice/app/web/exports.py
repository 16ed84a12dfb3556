"""Sites as files, and reports: made in a temporary folder by the writers of the command line."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.responses import FileResponse
from starlette.types import Receive, Scope, Send

from sluice.app.exports.write import EXPORT_FORMATS
from sluice.app.following.exporting import TABLES, export
from sluice.app.following.reporting import report
from sluice.app.messages import LANGUAGES
from sluice.app.reports.report_file import FORMATS
from sluice.app.web.errors import DOCUMENTED, Forbidden
from sluice.app.web.parameters import Language, Name, SiteFilter
from sluice.app.web.places import SiteId
from sluice.app.web.service import Served
from sluice.app.web.views import Places, Seen
from sluice.app.web.withheld import redaction_of, visible
from sluice.base.store import NOT_REJECTED

router = APIRouter(responses=DOCUMENTED, tags=["files"])

_MEDIA = {
    "geojson": "application/geo+json",
    "gpkg": "application/geopackage+sqlite3",
    "kml": "application/vnd.google-earth.kml+xml",
    "kmz": "application/vnd.google-earth.kmz",
    "csv": "text/csv; charset=utf-8",
    "gpx": "application/gpx+xml",
    "geoparquet": "application/vnd.apache.parquet",
    "pmtiles": "application/vnd.pmtiles",
    "shapefile": "application/zip",
}
_REPORT_MEDIA = {
    "pdf": "application/pdf",
    "html": "text/html; charset=utf-8",
    "json": "application/json",
}
_REPORT_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:"
Ending = StrEnum(  # type: ignore[misc]
    "Ending",
    {
        suffix.strip(".").replace(".", "_"): suffix.strip(".")
        for about in EXPORT_FORMATS.values()
        for suffix in about.suffixes
    },
)


class Table(StrEnum):
    """What of sites."""

    SITES, ALERTS, PERIODS, DETECTIONS = TABLES


class ReportEnding(StrEnum):
    """Kinds of reports."""

    PDF = "pdf"
    HTML = "html"
    JSON = "json"
    """The file that comes with them: facts, and hashes of both."""


class Exported(SiteFilter, Language):
    """Which sites, what of them, and in which language titles and sentences are."""

    what: Table = Table.SITES
    by: str = Field(default="period", pattern="^(period|quarter|year)$")
    limit: int | None = Field(default=None, ge=1, le=100_000_000)
    """Most sites, the most urgent first; all if left out."""


class TemporaryFileResponse(FileResponse):
    """A file that is gone with its folder once it was sent, or the client hung up."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            shutil.rmtree(FilePath(self.path).parent, ignore_errors=True)


@router.get("/exports/sites.{ending}", response_class=FileResponse)
async def exports(
    service: Served, places: Seen, ending: Ending, asked: Annotated[Exported, Query()]
) -> TemporaryFileResponse:
    """Sites, alerts, periods or detections as a file that opens where people work.

    Without `verdict` all but rejected sites.
    """
    suffix = str(ending)
    fmt = next(n for n, about in EXPORT_FORMATS.items() if f".{suffix}" in about.suffixes)

    def make(folder: FilePath) -> FilePath:
        places.require_area(asked.area)
        redaction = redaction_of(places.person)
        if redaction is not None and asked.model_fields_set - {"area", "what", "by", "language"}:
            raise Forbidden(
                "places are shown to you only roughly, and cannot be chosen by what is not shown; "
                "leave out all but area"
            )
        path = folder / f"sluice-{asked.what}.{suffix}"
        query = asked.site_query(limit=asked.limit)
        if query.verdict is None:
            query = replace(query, verdict=NOT_REJECTED)
        query = visible(query, places.person)
        export(
            service.store,
            query,
            path,
            fmt=fmt,
            what=(str(asked.what),),
            by=asked.by,
            redaction=redaction,
            language=asked.language,
        )
        return path

    path = await service.run_heavy(lambda: _in_temporary_folder(make))
    return TemporaryFileResponse(path, media_type=_MEDIA[fmt], filename=path.name)


@router.get("/reports/sites/{site_id}.{ending}", response_class=FileResponse)
async def site_report(
    service: Served,
    places: Seen,
    site_id: SiteId,
    ending: ReportEnding,
    asked: Annotated[Language, Query()],
) -> TemporaryFileResponse:
    """The evidence of a site, to be printed and handed on."""

    def make(folder: FilePath) -> FilePath:
        _, exact = places.site(site_id)
        if not exact:
            raise Forbidden(f"site {site_id} is shown to you only roughly: it has no report")
        return _write_report(places, site_id, folder, ending, asked.language)

    return _report_response(await service.run_heavy(lambda: _in_temporary_folder(make)), ending)


@router.get("/reports/areas/{area}.{ending}", response_class=FileResponse)
async def area_report(
    service: Served,
    places: Seen,
    area: Annotated[Name, Path()],
    ending: ReportEnding,
    asked: Annotated[Language, Query()],
) -> TemporaryFileResponse:
    """The evidence of an area."""

    def make(folder: FilePath) -> FilePath:
        places.require_area(area)
        return _write_report(places, area, folder, ending, asked.language)

    return _report_response(await service.run_heavy(lambda: _in_temporary_folder(make)), ending)


def _write_report(
    places: Places, target: str, folder: FilePath, ending: ReportEnding, language: str
) -> FilePath:
    files = report(
        places.service.store,
        target,
        folder,
        languages=(language if language in LANGUAGES else LANGUAGES[0],),
        formats=FORMATS if ending is ReportEnding.JSON else (str(ending),),
        check_files=False,
        redaction=redaction_of(places.person),
    )
    # The same evidence gives the same bytes: its hashes are those of documents sent before.
    return files.manifests[0] if ending is ReportEnding.JSON else files.documents[0]


def _report_response(path: FilePath, ending: ReportEnding) -> TemporaryFileResponse:
    return TemporaryFileResponse(
        path,
        media_type=_REPORT_MEDIA[ending],
        filename=path.name,
        content_disposition_type="inline",
        headers={"Content-Security-Policy": _REPORT_POLICY},
    )


def _in_temporary_folder(make: Callable[[FilePath], FilePath]) -> Any:
    folder = FilePath(tempfile.mkdtemp(prefix="sluice-web-"))
    try:
        return make(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
