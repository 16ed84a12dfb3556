"""`sluice publish`: from a store to a folder that shows it without a server."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import shapely

from sluice import __version__
from sluice.app.exports.flat_table import SITES
from sluice.app.exports.vector_formats import write_pmtiles
from sluice.app.exports.write import redaction_note
from sluice.app.following.reporting import gather_site
from sluice.app.following.stores import backup_store, open_store
from sluice.app.messages import LANGUAGES, Messages, catalogue_json, messages
from sluice.app.publishing import content
from sluice.app.publishing.content import Part, file_name, period_name
from sluice.app.publishing.folder import MARK, check_folder, write_folder
from sluice.app.publishing.page import DATA, About, check_map, write_page
from sluice.app.reports.place_pictures import PlacePicture, as_jpeg
from sluice.app.web.answers import feature_collection, to_json
from sluice.app.web.identity import Person
from sluice.app.web.service import Service
from sluice.app.web.settings import Settings
from sluice.base.errors import ConfigError, NoValidData
from sluice.base.people import Role
from sluice.base.places import Verdict
from sluice.base.sensors import OWNERS, owners_of
from sluice.base.store import NOT_REJECTED, Store
from sluice.sites.redaction import Redaction

FORMAT = 1
"""Of the folder's files; a page reads those of its own format only."""
LARGEST_GEOJSON_BYTES = 1_000_000
"""Larger outlines become tiles, of which a browser asks for those that it shows."""
MOST_PICTURED = 500
_PUBLIC = "public"
_COPY = "store.sqlite"
_QUALITY = 80


@dataclass(frozen=True)
class Publishing:
    """What is published, and how."""

    areas: tuple[str, ...] | None = None
    """None for all."""
    redaction: Redaction | None = None
    verified_only: bool = False
    language: str | None = None
    """That the page begins with; None for the one of whoever looks."""
    pictured: int = MOST_PICTURED
    """Most sites of an area with pictures."""


@dataclass(frozen=True)
class Published:
    """What was written."""

    folder: Path
    areas: int
    sites: int
    alerts: int
    pictured: int
    files: int
    size_bytes: int


def publish(
    store: str,
    out_dir: Path,
    asked: Publishing,
    *,
    overwrite: bool = False,
    map_folder: Path | None = None,
    done: Callable[[int, int], None] | None = None,
) -> Published:
    """Write the map of a store as a folder, whole or not at all.

    It is made of a copy of the store: of one moment, however long it takes and whoever reviews.

    Args:
        store: Path of a SQLite file, or address of a PostGIS database.
        out_dir: The folder.
        asked: What is published.
        overwrite: Whether a published map that is there may be replaced.
        map_folder: The built map; that of this installation if left out.
        done: Told how many of how many sites are written.

    Raises:
        ConfigError: The folder may not be written to; there is no built map, no such area.
        NoValidData: There is nothing to publish.
        StoreError: The store cannot be reached, or copied.
        RunFailed: The disk is full.
    """
    map_folder = map_folder or Settings(store=store).map_folder
    check_map(map_folder)
    check_folder(out_dir, overwrite=overwrite)
    say = messages(asked.language or LANGUAGES[0])
    # Before anything is made.
    open_store(store).close()
    with (
        write_folder(out_dir, overwrite=overwrite) as folder,
        # Not beside what others may look at: it holds all that is withheld.
        tempfile.TemporaryDirectory(prefix="sluice-publish-") as aside,
    ):
        copy = Path(aside) / _COPY
        backup_store(store, copy)
        with closing(Service(Settings(store=str(copy)))) as service:
            person = _person(service.store, asked)
            parts = [part for part in content.parts_of(service, person) if len(part.sites) or
                     part.name != content.NAMELESS]  # fmt: skip
            if not parts:
                raise NoValidData(
                    "there is nothing to publish: no site and no area that may be named"
                )
            writer = _Writer(folder, service.store, asked, done, sum(len(p.sites) for p in parts))
            for number, part in enumerate(parts):
                writer.write_part(number, part)
            today = dt.datetime.now(dt.UTC).date()
            layers = [] if asked.redaction is not None else _layers_of(service.store, parts)
            about = {code: _about(service.store, parts, asked, today, messages(code), layers=layers)
                     for code in LANGUAGES}  # fmt: skip
        for code in LANGUAGES:
            writer.write(f"messages/{code}.json", catalogue_json(code))
        writer.write(MARK.removeprefix(f"{DATA}/"), _told(parts, asked, about, today))
        write_page(map_folder, folder, about[say.language], say)
        files = [path for path in folder.rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
    return Published(
        out_dir,
        areas=len(parts),
        sites=writer.sites,
        alerts=sum(part.told["alerts"] for part in parts),
        pictured=writer.pictured,
        files=len(files),
        size_bytes=size,
    )


def _person(store: Store, asked: Publishing) -> Person:
    """Through whose eyes it is published."""
    known = list(store.areas()["name"])
    for name in asked.areas or ():
        if name not in known:
            told = ", ".join(known) or "none"
            raise ConfigError(f"--area {name}: the store knows no such area; it knows {told}")
    return Person(
        _PUBLIC,
        Role.VIEWER,
        None if asked.areas is None else frozenset(asked.areas),
        redacted=asked.redaction is not None,
        redaction=asked.redaction,
        verdicts=(Verdict.CONFIRMED,) if asked.verified_only else NOT_REJECTED,
    )


class _Writer:
    """Writes files into the folder in the making."""

    def __init__(
        self,
        folder: Path,
        store: Store,
        asked: Publishing,
        done: Callable[[int, int], None] | None,
        total: int,
    ) -> None:
        self.sites = self.pictured = 0
        self._data = folder / DATA
        self._store, self._asked, self._done, self._total = store, asked, done, total

    def write(self, name: str, told: Any) -> None:
        """A file of JSON."""
        self._write_bytes(name, to_json(told))

    def _write_bytes(self, name: str, told: bytes) -> None:
        path = self._data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(told)

    def write_part(self, number: int, part: Part) -> None:
        """All of an area."""
        folder = f"areas/{number}"
        self.write(f"{folder}/sites.json", content.site_list(part))
        self.write(f"{folder}/alerts.json", content.alert_list(part))
        self.write(f"{folder}/statistics.json", content.statistics(part))
        for period in part.periods:
            self.write(f"{folder}/{period_name(period)}.json", content.states(part, period))
        part.told["outlines"] = self._write_outlines(folder, content.outlines(part))
        for position, (site_id, told) in enumerate(content.site_pages(part)):
            if self._asked.redaction is None and position < self._asked.pictured:
                told["pictures"] = self._write_pictures(site_id)
            self.write(f"sites/{file_name(site_id)}.json", told)
            self.sites += 1
            if self._done is not None:
                self._done(self.sites, self._total)

    def _write_outlines(self, folder: str, table: gpd.GeoDataFrame) -> str | None:
        """Name of the file with the outlines: plain where it is small, else tiles."""
        placed = table[table.geometry.notna() & ~table.geometry.is_empty]
        if placed.empty:
            return None
        plain = to_json(feature_collection(placed))
        if len(plain) <= LARGEST_GEOJSON_BYTES:
            self._write_bytes(f"{folder}/outlines.geojson", plain)
            return "outlines.geojson"
        say = messages(self._asked.language or LANGUAGES[0])
        path, note = self._data / folder / "outlines.pmtiles", say.text("common.lead")
        write_pmtiles(placed, path, SITES, disclaimer=note, say=say)
        return "outlines.pmtiles"

    def _write_pictures(self, site_id: str) -> dict[str, Any] | None:
        """Before and after, where runs kept images."""
        evidence = gather_site(self._store, site_id, check_files=False)
        found: dict[str, Any] = {}
        for when, picture in (("before", evidence.before), ("after", evidence.after)):
            if picture is not None:
                name = f"pictures/{file_name(site_id)}-{when}.jpg"
                self._write_bytes(name, as_jpeg(picture.pixels, quality=_QUALITY))
                found[when] = _picture_told(name, picture)
        self.pictured += bool(found)
        return found or None


def _picture_told(name: str, picture: PlacePicture) -> dict[str, Any]:
    height, width = picture.pixels.shape[:2]
    return {
        "file": name,
        "width": width,
        "height": height,
        "start": picture.start,
        "end": picture.end,
        "detected": picture.detected,
        "hidden_share": round(picture.hidden_share, 3),
        "same_tones": picture.same_tones,
    }


def _told(
    parts: Sequence[Part], asked: Publishing, about: dict[str, About], today: dt.date
) -> dict[str, Any]:
    """What the page asks for first."""
    return {
        "format": FORMAT,
        "version": __version__,
        "made": today,
        "languages": list(LANGUAGES),
        "language": asked.language,
        "withheld_m": None if asked.redaction is None else asked.redaction.grid_m,
        "about": {code: one.lines(messages(code)) for code, one in about.items()},
        "areas": [part.told for part in parts],
    }


def _layers_of(store: Store, parts: Sequence[Part]) -> list[str]:
    """Names and licences of layers that meet the areas of these parts."""
    names = {name for part in parts for name in part.places.person.areas or ()}
    areas = store.areas()
    ground = areas.geometry[areas["name"].isin(names)].to_numpy()
    shapely.prepare(ground)

    def meets(layer: str) -> bool:
        return any(
            shapely.intersects(shape, store.layer_features(layer, shape.bounds).geometry).any()
            for shape in ground
        )

    return [
        f"{one.name} ({one.licence})" if one.licence else one.name
        for one in store.layers()
        if meets(one.name)
    ]


def _about(
    store: Store,
    parts: Sequence[Part],
    asked: Publishing,
    today: dt.date,
    say: Messages,
    *,
    layers: Sequence[str],
) -> About:
    notes = []
    if asked.redaction is not None:
        notes.append(redaction_note(asked.redaction, today, say))
    if asked.verified_only:
        notes.append(say.text("published.verified_only"))
    names = {name for part in parts for name in part.places.person.areas or ()}
    runs = [run for run in store.runs() if run.area in names]
    sources = []
    for owner in OWNERS:
        own = [run for run in runs if owner in owners_of(run.sensor)]
        years = sorted({day.year for run in own for day in (run.start, run.end)})
        if asked.redaction is not None and asked.redaction.delayed:
            newest = asked.redaction.newest(today).year
            years = [year for year in years if year <= newest]
        if years:
            span = f"{years[0]}\N{EN DASH}{years[-1]}" if years[1:] else str(years[0])
            sources.append(say.text(f"credit_of_years.{owner}", years=span))
    if layers:
        sources.append(say.text("published.layers", names=say.listed(layers)))
    return About(today, __version__, tuple(sources), tuple(notes))


def published_text(published: Published) -> str:
    """What was written, in words."""
    areas = "area" if published.areas == 1 else "areas"
    pictured = f", {published.pictured:,} with pictures" if published.pictured else ""
    return (
        f"{published.folder}: {published.sites:,} sites{pictured} and {published.alerts:,} alerts "
        f"of {published.areas:,} {areas}; {published.files:,} files, "
        f"{published.size_bytes / 1e6:,.1f} MB.\n"
        f"Copy the folder to any web space. To look at it here: python -m http.server -d "
        f"{published.folder}"
    )
