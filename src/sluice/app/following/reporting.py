"""Reports from a store: what is known of a site or an area is gathered, and written."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from sluice import __version__
from sluice.app.following.cover_of_runs import image_of, is_result_of
from sluice.app.messages import messages
from sluice.app.products import layout
from sluice.app.reports.place_pictures import (
    PlaceImage,
    PlacePicture,
    draw_pair,
    picture_grid,
    read_picture,
)
from sluice.app.reports.report_file import FORMATS, write_report
from sluice.app.reports.site_evidence import (
    AreaEvidence,
    EvidenceFile,
    RunUsed,
    SiteEvidence,
    plain,
    sum_periods,
)
from sluice.app.reports.withholding import withhold_area, withhold_site
from sluice.base.errors import ConfigError, SluiceError
from sluice.base.files import sha256_file
from sluice.base.places import LandedRun, Review, Site, Verdict
from sluice.base.records import Scene
from sluice.base.store import NOT_REJECTED, SiteQuery, Store
from sluice.imagery.sentinel2_tiles import tiles_over
from sluice.sites.redaction import Redaction

_SHA256_MULTIHASH = "1220"
_WELL_SEEN = 0.8
_NEAR_DEGREES = 0.01
_SOME_NAMES = 8
_LAST_RESORT = "s1"
"""Radar is hard to read for those who have not learned it."""


@dataclass(frozen=True)
class ReportFiles:
    """What was written."""

    documents: tuple[Path, ...]
    manifests: tuple[Path, ...]


def report(
    store: Store,
    target: str,
    out_dir: Path,
    *,
    languages: Sequence[str] = ("en",),
    formats: Sequence[str] = FORMATS,
    check_files: bool = True,
    redaction: Redaction | None = None,
    today: dt.date | None = None,
) -> ReportFiles:
    """Write the report of a site or an area, in each language and format.

    Args:
        store: Where it is known.
        target: A site's id, or an area's name.
        out_dir: Folder; files are named by target and language.
        languages: Of `sluice.app.messages.LANGUAGES`.
        formats: `pdf`, `html`.
        check_files: Compute hashes of the runs' files anew; else tell what was recorded.
        redaction: What is hidden of sensitive places; None for nothing.
        today: The day from which the redaction's delay counts; the present one if left out.

    Raises:
        ConfigError: There is no such site or area, it is held back, or a language or
            format is not known.
        StoreError: The store cannot be read.
    """
    if not languages or not formats:
        raise ConfigError("a report needs a language and a format; give --language en --format pdf")
    for language in languages:
        messages(language)
    evidence = gather(store, target, check_files=check_files and redaction is None)
    if redaction is not None:
        evidence = _withhold(store, evidence, redaction, today or dt.datetime.now(dt.UTC).date())
    documents, manifests = [], {}
    for language in languages:
        for fmt in formats:
            path = out_dir / f"{evidence.name}-{language}.{fmt}"
            manifests[write_report(evidence, path, language, fmt)] = True
            documents.append(path)
    return ReportFiles(tuple(documents), tuple(manifests))


def gather(store: Store, target: str, *, check_files: bool = True) -> SiteEvidence | AreaEvidence:
    """What is known of a site, or of an area if there is one of this name.

    Raises:
        ConfigError: There is neither.
    """
    names = sorted(store.areas()["name"])
    if target in names:
        return gather_area(store, target, check_files=check_files)
    found = store.sites(SiteQuery(site_ids=(target,), with_past=True))
    if not len(found):
        areas = ", ".join(names[:_SOME_NAMES]) or "none"
        raise ConfigError(
            f"{target}: is neither a site nor an area of this store (areas: {areas}); "
            "`sluice sites list` tells the ids of sites"
        )
    return gather_site(store, target, check_files=check_files)


def _withhold(
    store: Store, evidence: SiteEvidence | AreaEvidence, redaction: Redaction, today: dt.date
) -> SiteEvidence | AreaEvidence:
    if isinstance(evidence, SiteEvidence):
        site = store.sites(SiteQuery(site_ids=(evidence.name,), with_past=True))
        areas = store.areas().set_index("name")
        area = areas.geometry.loc[evidence.site.area]
        return withhold_site(evidence, site, area, redaction, today)
    ids = evidence.sites["site_id"].tolist()
    periods = store.periods(ids) if ids else pd.DataFrame()
    return withhold_area(evidence, periods, redaction, today)


def gather_site(store: Store, site_id: str, *, check_files: bool = True) -> SiteEvidence:
    """What is known of a site, with pictures where runs left images.

    Raises:
        ConfigError: There is no such site.
    """
    evidence = site_on_record(store, site_id)
    outline = evidence.outline or shapely.Point(evidence.site.lon, evidence.site.lat)
    # Part by part: of a thousand together it takes hundreds of times as long.
    around = shapely.union_all(shapely.buffer(shapely.get_parts(outline), _NEAR_DEGREES))
    tiles = frozenset(tiles_over(around))
    used = tuple(_use(of.run, tiles, check_files=check_files) for of in evidence.runs)
    return _with_pictures(replace(evidence, outline=outline, runs=used))


def site_on_record(store: Store, site_id: str) -> SiteEvidence:
    """What a store knows of a site; no file of a run is opened.

    Raises:
        ConfigError: There is no such site.
    """
    found = store.sites(SiteQuery(site_ids=(site_id,), with_past=True))
    if not len(found):
        raise ConfigError(
            f"no site {site_id}; `sluice sites list` tells the ids of those there are"
        )
    row = found.iloc[0]
    site = Site(**{name: plain(row[name]) for name in Site.model_fields if name in row.index})
    outline: BaseGeometry | None = row[found.geometry.name]
    # Whatever the store's order: the same evidence gives the same report.
    looks = store.looks([site_id]).sort_values(["start", "sensor", "run_id"], ignore_index=True)
    periods = store.periods([site_id]).sort_values("start", ignore_index=True)
    reviews = tuple(store.reviews([site_id]))
    run_ids = list(dict.fromkeys(looks["run_id"])) if len(looks) else []
    runs = [store.run(run_id) for run_id in run_ids]
    runs.sort(key=lambda run: (run.start, run.sensor))
    alerts = store.alerts(SiteQuery(site_ids=(site_id,), with_past=True))
    alerts = alerts.sort_values(["raised", "alert_id"], ignore_index=True)
    return SiteEvidence(
        site=site,
        outline=None if outline is None or outline.is_empty else outline,
        periods=periods,
        looks=looks,
        alerts=alerts,
        reviews=reviews,
        runs=tuple(map(RunUsed, runs)),
        verdict=plain(row.get("verdict")),
        as_of=_as_of(runs, reviews, site.last_observed),
        software=__version__,
    )


def gather_area(store: Store, area: str, *, check_files: bool = True) -> AreaEvidence:
    """What is known of the sites of an area that nobody has rejected.

    Raises:
        ConfigError: There is no such area.
    """
    areas = store.areas()
    row = areas[areas["name"] == area]
    if not len(row):
        known = ", ".join(sorted(areas["name"])[:_SOME_NAMES]) or "none"
        raise ConfigError(f"{area}: there is no such area in this store; it has: {known}")
    sites = store.sites(SiteQuery(area=area, verdict=NOT_REJECTED))
    ids = sites["site_id"].tolist()
    periods = store.periods(ids) if ids else pd.DataFrame()
    runs = [store.run(run.run_id) for run in store.runs(area)]
    reviews = store.reviews(ids) if ids else []
    created = pd.Timestamp(row["created"].iloc[0]).date()
    return AreaEvidence(
        area=area,
        geometry=row.geometry.iloc[0],
        sites=sites,
        by_period=sum_periods(periods),
        rejected=store.count_sites(SiteQuery(area=area, verdict=(Verdict.REJECTED,))),
        runs=tuple(_use(run, None, check_files=check_files) for run in runs),
        as_of=_as_of(runs, reviews, created),
        software=__version__,
    )


def _as_of(runs: Iterable[LandedRun], reviews: Iterable[Review], least: dt.date) -> dt.datetime:
    """When the newest of it came to be known, in UTC."""
    moments = [run.landed for run in runs] + [review.when for review in reviews]
    if not moments:
        return dt.datetime.combine(least, dt.time.min, dt.UTC)
    return max(
        moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)
        for moment in moments
    )


def _use(run: LandedRun, tiles: frozenset[str] | None, *, check_files: bool) -> RunUsed:
    """A run with its files; of its scenes those that may show the place."""
    record = dict(run.record)
    scenes = [Scene.model_validate(scene) for scene in record.get("scenes", ())]
    if tiles is not None:
        scenes = [scene for scene in scenes if scene.tile is None or scene.tile in tiles]
        record["scenes"] = [scene.model_dump(mode="json") for scene in scenes]
    files = [*_inputs(scenes), *_outputs(run, check_files=check_files)]
    return RunUsed(run.model_copy(update={"record": record}), tuple(files))


def _inputs(scenes: Iterable[Scene]) -> Iterable[EvidenceFile]:
    for scene in scenes:
        for name, sha256 in sorted(scene.files.items()):
            yield EvidenceFile(name, scene.id, output=False, sha256=sha256, found=None)
        if not scene.files:
            name = Path(scene.href).name or scene.href
            yield EvidenceFile(name, scene.id, output=False, sha256=scene.sha256, found=None)


def _outputs(run: LandedRun, *, check_files: bool) -> Iterable[EvidenceFile]:
    """The files of a run's folder: as its catalogue recorded them, and as they are now."""
    if run.folder is None:
        return
    folder = Path(run.folder)
    if not is_result_of(folder, run.run_id):
        return
    recorded = _recorded(folder)
    for name in layout.EVERYTHING:
        path = folder / name
        there = path.is_file()
        if name not in recorded and not there:
            continue
        found = sha256_file(path) if check_files and there else None
        yield EvidenceFile(name, run.run_id, output=True, sha256=recorded.get(name), found=found)


def _recorded(folder: Path) -> dict[str, str]:
    """SHA-256 by name, as the run's STAC item has them."""
    try:
        item = json.loads((folder / layout.ITEM).read_bytes())
        assets = item["assets"].values()
        hashes = {
            Path(asset["href"]).name: str(asset["file:checksum"])
            for asset in assets
            if "file:checksum" in asset
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {
        name: value.removeprefix(_SHA256_MULTIHASH)
        for name, value in hashes.items()
        if value.startswith(_SHA256_MULTIHASH)
    }


def _with_pictures(evidence: SiteEvidence) -> SiteEvidence:
    """Add the pictures that runs left, before the first detection and in the last one."""
    images = {used.run.run_id: path for used in evidence.runs if (path := image_of(used.run))}
    looks = evidence.looks
    if evidence.outline is None or not images or not len(looks):
        return evidence
    before, after = choose_looks(looks[looks["run_id"].isin(images)], evidence.site.first_seen)
    grid = picture_grid(evidence.outline)
    read: list[PlaceImage | None] = []
    for look in (before, after):
        run_id = None if look is None else str(look["run_id"])
        read.append(None if run_id is None else _read(images[run_id], grid))
    drawn = draw_pair(read[0], read[1], evidence.outline)
    by_id = {used.run.run_id: used for used in evidence.runs}
    pictures: list[PlacePicture | None] = []
    for look, image, pixels in zip((before, after), read, drawn[:2], strict=True):
        if look is None or image is None or pixels is None:
            pictures.append(None)
            continue
        of = by_id[str(look["run_id"])]
        pictures.append(
            PlacePicture(
                pixels=pixels,
                bands=image.bands,
                start=of.run.start,
                end=of.run.end,
                run_id=of.run.run_id,
                scenes=of.scenes,
                hidden_share=float(image.hidden_hw.mean()),
                grid=image.grid,
                file=images[of.run.run_id].name,
                file_sha256=image.sha256,
                same_tones=drawn[2],
                detected=bool(look["detected"]),
            )
        )
    return replace(evidence, before=pictures[0], after=pictures[1])


def choose_looks(
    looks: pd.DataFrame, first_seen: dt.date
) -> tuple[pd.Series[Any] | None, pd.Series[Any] | None]:
    """Which looks to show: before the first detection, and in the last one.

    Args:
        looks: Columns of `Look`, of runs that left an image.
        first_seen: First day of the first period with a detection.

    Returns:
        The last clear one before, else the clearest of those before, else the earliest at all
        if it is another one than the second; and the last clear one with a detection. Radar only
        where there is nothing else. None where there is none.
    """
    clear = looks["observed_share"].ge(_WELL_SEEN)
    ranked = looks.assign(
        optical=looks["sensor"].ne(_LAST_RESORT),
        clear=clear,
        share=looks["observed_share"].where(~clear, 1.0),
    )
    keys = ["optical", "clear", "share", "end", "run_id"]
    found = ranked[ranked["detected"].astype(bool)].sort_values(keys)
    earlier = ranked[ranked["end"].lt(first_seen) & ~ranked["detected"].astype(bool)]
    after = found.iloc[-1] if len(found) else None
    if len(earlier):
        return earlier.sort_values(keys).iloc[-1], after
    others = ranked[ranked["end"] < after["start"]] if after is not None else ranked
    first = others.sort_values(["optical", "clear"], ascending=False, kind="stable")
    return (first.iloc[0] if len(first) else None), after


def _read(path: Path, grid: Any) -> PlaceImage | None:
    """A damaged image costs its picture, not the report."""
    try:
        return read_picture(path, grid, sha256_file(path))
    except SluiceError:
        return None
