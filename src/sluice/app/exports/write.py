"""One way out for sites, alerts and histories: redacted where asked, in the format asked."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd

from sluice.app.exports.appearance import qgis_style
from sluice.app.exports.flat_table import (
    ALERTS,
    DETECTIONS,
    KINDS,
    PERIODS,
    SITES,
    Kind,
    Notation,
    flat_table,
)
from sluice.app.exports.marked_up import Pictures, write_gpx, write_kml, write_kmz
from sluice.app.exports.vector_formats import write_pmtiles, write_shapefile
from sluice.app.messages import DEFAULT_LANGUAGE, Messages, messages
from sluice.app.products.landing import telling_disk_errors
from sluice.app.products.vectors import (
    GpkgLayer,
    write_csv,
    write_geojson,
    write_geoparquet,
    write_gpkg_layers,
)
from sluice.base.errors import ConfigError
from sluice.base.files import write_whole
from sluice.base.said import SAID_COLUMNS
from sluice.sites.redaction import REDACTED, Redaction, redact, redact_alerts, redact_periods

NOTE = "note"
"""Column of a CSV file that holds the disclaimer."""
_COMPANIONS = ("-wal", "-shm", "-journal")


@dataclass(frozen=True)
class ExportFormat:
    """A kind of file."""

    suffixes: tuple[str, ...]
    """How its name may end; the first is the usual one."""
    description: str
    kinds: tuple[str, ...] = ("sites", "alerts")
    """Tables that it holds; a GeoPackage several at once."""


EXPORT_FORMATS = {
    "geojson": ExportFormat(
        (".geojson", ".json"),
        "GeoJSON (RFC 7946), for web maps and scripts",
        ("sites", "alerts", "detections"),
    ),
    "gpkg": ExportFormat((".gpkg",), "GeoPackage with style, for QGIS", tuple(KINDS)),
    "kml": ExportFormat((".kml",), "KML, for Google Earth"),
    "kmz": ExportFormat((".kmz",), "KML with pictures inside, for Google Earth"),
    "csv": ExportFormat((".csv",), "table for spreadsheets, with coordinates", tuple(KINDS)),
    "gpx": ExportFormat((".gpx",), "waypoints for hand-held receivers and phones"),
    "geoparquet": ExportFormat(
        (".parquet", ".geoparquet"),
        "GeoParquet, for large tables",
        ("sites", "alerts", "detections"),
    ),
    "pmtiles": ExportFormat((".pmtiles",), "vector tiles in one file, for web maps"),
    "shapefile": ExportFormat((".shp.zip", ".zip"), "zipped Shapefile, for older programs"),
}
"""By name."""


@dataclass(frozen=True)
class Exported:
    """What was written."""

    path: Path
    rows: dict[str, int]
    """By table."""
    redacted: int
    """Of these."""
    held_back: int
    """Not written, being younger than the delay."""


def format_of(path: Path, name: str | None = None) -> str:
    """The format that is asked for by name, or by how the file's name ends.

    Raises:
        ConfigError: There is none, or name and file contradict each other.
    """
    known = ", ".join(EXPORT_FORMATS)
    if name is not None and name not in EXPORT_FORMATS:
        raise ConfigError(f"there is no format {name!r}; give one of {known}")
    ending = path.name.lower()
    if name is None:
        for one, about in EXPORT_FORMATS.items():
            if ending.endswith(about.suffixes):
                return one
        raise ConfigError(f"{path}: the name does not tell the format; give one of {known}")
    if not ending.endswith(EXPORT_FORMATS[name].suffixes):
        raise ConfigError(
            f"{path}: a file of format {name} ends in {EXPORT_FORMATS[name].suffixes[0]}; "
            "rename it, or leave the format out"
        )
    return name


def write_export(
    path: Path,
    fmt: str | None = None,
    *,
    sites: gpd.GeoDataFrame,
    alerts: pd.DataFrame | None = None,
    periods: pd.DataFrame | None = None,
    detections: gpd.GeoDataFrame | None = None,
    what: Sequence[str] = ("sites",),
    redaction: Redaction | None = None,
    today: dt.date | None = None,
    coordinates: Sequence[Notation] = tuple(Notation),
    pictures: Pictures | None = None,
    language: str = DEFAULT_LANGUAGE,
) -> Exported:
    """Write tables of a store to one file, whole or not at all.

    Args:
        path: The file; one that is there is replaced.
        fmt: A name of `EXPORT_FORMATS`; None to tell by the file's name.
        sites: From `Store.sites`; needed for other tables too where these are redacted.
        alerts: From `Store.alerts`.
        periods: From `Store.periods`; needed where a redaction delays.
        detections: From `Store.detections`; never redacted, as all that they tell is a place.
        what: Tables to write; several for a GeoPackage only.
        redaction: What is hidden; None for nothing.
        today: From which a delay counts; None for today (UTC).
        coordinates: Written beside decimal degrees.
        pictures: Before and after, by site, for a KMZ; none of redacted sites is written.
        language: Of sentences (why a status, a legality, an alert, what a reader has to know), and
            of the titles and words that people see: balloons, waypoints, legends.

    Raises:
        ConfigError: The format cannot hold this, or the file cannot be written.
        DataError: A table lacks columns, or is needed and not given.
        GridMismatch: Outlines are not in EPSG:4326.
        NoValidData: There is nothing to write, and the format cannot hold that.
        RunFailed: The disk is full.
    """
    name, say = format_of(path, fmt), messages(language)
    _check_request(name, what, pictures)
    tables = {"sites": sites, "alerts": alerts, "periods": periods, "detections": detections}
    absent = [one for one in what if tables[one] is None]
    if absent:
        raise ConfigError(f"there is no table of {', '.join(absent)} to write; give it as well")
    shown: dict[str, pd.DataFrame] = {one: tables[one] for one in what}
    before = sum(len(table) for table in shown.values())
    note = say.text("common.lead")
    if redaction is not None:
        day = today or dt.datetime.now(dt.UTC).date()
        shown = _redacted(shown, redaction, day, sites=sites, periods=periods)
        note = f"{note} {redaction_note(redaction, day, say)}"
    spoken = {one: _in_words(table, say) for one, table in shown.items()}
    flat = {one: flat_table(table, KINDS[one], coordinates) for one, table in spoken.items()}
    with telling_disk_errors(path.parent), write_whole(path) as part:
        _write(name, part, flat, note, _open_pictures(shown, pictures), say=say)
        for companion in _COMPANIONS:
            # A log of the file that was there would be taken for that of the new one.
            path.with_name(path.name + companion).unlink(missing_ok=True)
    rows = {one: len(table) for one, table in flat.items()}
    redacted = sum(int(table[REDACTED].sum()) for table in flat.values() if REDACTED in table)
    left = before - sum(rows.values())
    return Exported(path, rows, redacted, left)


def export_sites(
    table: gpd.GeoDataFrame,
    path: Path,
    *,
    format: str | None = None,  # noqa: A002 - the user's word
    periods: pd.DataFrame | None = None,
    redaction: Redaction | None = None,
    today: dt.date | None = None,
    coordinates: Sequence[Notation] = tuple(Notation),
    pictures: Pictures | None = None,
    language: str = DEFAULT_LANGUAGE,
) -> Exported:
    """Write sites; see `write_export`."""
    return write_export(
        path,
        format,
        sites=table,
        periods=periods,
        redaction=redaction,
        today=today,
        coordinates=coordinates,
        pictures=pictures,
        language=language,
    )


def redaction_note(redaction: Redaction, today: dt.date, say: Messages) -> str:
    """What a reader has to know of a redacted table."""
    which = "export.all_redacted" if redaction.which is None else "export.some_redacted"
    size = say.metres(redaction.grid_m).replace("\N{NO-BREAK SPACE}", " ")
    told = say.text(which, size=size)
    if redaction.delayed:
        told = f"{told} {say.text('export.delayed', day=redaction.newest(today))}"
    return told


def _redacted(
    shown: dict[str, pd.DataFrame],
    redaction: Redaction,
    day: dt.date,
    *,
    sites: gpd.GeoDataFrame,
    periods: pd.DataFrame | None,
) -> dict[str, pd.DataFrame]:
    """Tables by name, each redacted in its way."""
    if DETECTIONS.name in shown:
        raise ConfigError(
            "detections are exact places, and none of a redacted file; choose sites, alerts or "
            "periods"
        )
    found = {}
    for one, table in shown.items():
        if one == SITES.name:
            found[one] = redact(sites, redaction, day, periods=periods)
        else:
            one_way = redact_alerts if one == ALERTS.name else redact_periods
            found[one] = one_way(table, redaction, day, sites=sites)
    return found


def _in_words(table: pd.DataFrame, say: Messages) -> pd.DataFrame:
    """What rules decided, in sentences."""
    told = {
        name: pd.Series([_sentence(one, say) for one in table[name]], table.index, dtype=object)
        for name in SAID_COLUMNS
        if name in table
    }
    return table.assign(**told) if told else table


def _sentence(value: Any, say: Messages) -> Any:
    return say.said(value) if isinstance(value, str | list | tuple) else value


def _check_request(name: str, what: Sequence[str], pictures: Pictures | None) -> None:
    about = EXPORT_FORMATS[name]
    wrong = [one for one in what if one not in about.kinds]
    if wrong or not what:
        raise ConfigError(
            f"a file of format {name} does not hold {', '.join(wrong) or 'nothing'}; "
            f"it holds {', '.join(about.kinds)}"
        )
    if len(what) > 1 and name != "gpkg":
        raise ConfigError(f"a file of format {name} holds one table; use gpkg, or several files")
    if pictures and name != "kmz":
        raise ConfigError(f"a file of format {name} cannot hold pictures; use kmz")


def _open_pictures(shown: dict[str, pd.DataFrame], pictures: Pictures | None) -> Pictures:
    """Pictures of sites that are shown as they are."""
    if not pictures:
        return {}
    ids: set[str] = set()
    for table in shown.values():
        hidden = table[REDACTED].astype(bool) if REDACTED in table else False
        ids |= set(table["site_id"] if hidden is False else table["site_id"][~hidden])
    return {site_id: pictures[site_id] for site_id in ids if site_id in pictures}


def _write(
    name: str,
    part: Path,
    flat: dict[str, pd.DataFrame],
    note: str,
    pictures: Pictures,
    *,
    say: Messages,
) -> None:
    if name == "gpkg":
        write_gpkg_layers(
            [_layer(KINDS[one], flat[one], say) for one in flat], part, disclaimer=note
        )
        return
    (one, frame), *_ = flat.items()
    kind = KINDS[one]
    if name == "csv":
        write_csv(frame.assign(**{NOTE: note}), part, encoding="utf-8-sig")
    elif name == "geojson":
        write_geojson(frame, part, disclaimer=note, name=kind.name)
    elif name == "geoparquet":
        write_geoparquet(frame, part, disclaimer=note)
    elif name == "kml":
        write_kml(frame, part, kind, disclaimer=note, say=say)
    elif name == "kmz":
        write_kmz(frame, part, kind, disclaimer=note, pictures=pictures, say=say)
    elif name == "gpx":
        write_gpx(frame, part, kind, disclaimer=note, say=say)
    elif name == "pmtiles":
        write_pmtiles(frame, part, kind, disclaimer=note, say=say)
    else:
        write_shapefile(frame, part, kind, disclaimer=note, say=say)


def _layer(kind: Kind, frame: pd.DataFrame, say: Messages) -> GpkgLayer:
    title = say.of("table", kind.name)
    if kind is PERIODS:
        return GpkgLayer(kind.name, frame, title)
    if kind is DETECTIONS:
        return GpkgLayer(kind.name, frame, title, "MultiPolygon")
    shape = "Point" if kind is ALERTS else "MultiPolygon"
    return GpkgLayer(kind.name, frame, title, shape, qgis_style(frame, kind, say))
