"""From the folder of a finished scan to a store."""

from __future__ import annotations

import contextlib
import datetime as dt
from functools import partial
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError
from shapely.geometry.base import BaseGeometry

from sluice.app.area import NamedArea, read_areas
from sluice.app.config import ScanConfig, store_address
from sluice.app.finding import Findings
from sluice.app.following.landing import (
    Arrival,
    Landed,
    Rules,
    land,
    landed_before,
)
from sluice.app.following.layers import layers_around
from sluice.app.following.stores import open_store
from sluice.app.gathering import Tell
from sluice.app.jobs import Job
from sluice.app.products import layout
from sluice.app.products.coverage import outline_lonlat
from sluice.app.products.overview import JobOutcome
from sluice.app.products.run_record import read_run
from sluice.app.products.summary import LANDED
from sluice.app.products.vectors import WORKINGS
from sluice.app.workflows import find, scan_all
from sluice.base.arrays import ArrayHW
from sluice.base.calibration import Calibration
from sluice.base.errors import AssetReadError, ConfigError
from sluice.base.files import open_raster, read_vector, vector_layers
from sluice.base.periods import Period, parse_span
from sluice.base.places import LandedRun
from sluice.base.records import Detection, Run
from sluice.base.store import Store
from sluice.scan.run import Progress
from sluice.sites.area_interval import area_intervals, perimeters_m
from sluice.sites.evidence_map import write_drop_map, write_evidence_map, write_observed_map
from sluice.sites.site_ground import ground_of_detections

RADAR_DROP = "radar-drop"
"""The model whose scores are drops of the radar echo."""


def scan_into_store(
    config: ScanConfig, progress: Progress | None = None, tell: Tell | None = None
) -> list[JobOutcome]:
    """Scan each area and period, and land each result as soon as it is finished.

    Given again after it was cut off, it goes on where it stopped: finished scans are kept, and
    landed where they have not been.

    Args:
        config: With a store.
        progress: Told of each tile.
        tell: Told what was found, what landed, and what failed.

    Raises:
        ConfigError: The area has no name, or the store does not know it.
        SluiceError: See `scan_all` and `land`.
    """
    with contextlib.closing(open_store(store_address(config.store), create=True)) as store:
        areas, names = _areas_of(config, store)
        geometries = {area.name: area.geometry for area in areas or ()}

        def land_job(job: Job) -> dict[str, Any]:
            place, _, part = job.place.partition("/")
            if place not in names:  # One area, maybe in parts: it has no folder of its own.
                place, part = "", job.place
            landed = land_folder(
                store,
                job.out,
                area_name=names[place],
                first=config.first if job.period is None else None,
                last=config.last if job.period is None else None,
                geometry=geometries.get(place),
                part=part,
            )
            if tell is not None:
                tell(landed.text)
            return {LANDED: landed.model_dump(mode="json")}

        strict = partial(layers_around, store) if config.strict else None
        return scan_all(config, progress, tell, areas=areas, layers_around=strict, also=land_job)


def find_for_store(config: ScanConfig, tell: Tell | None = None) -> list[Findings]:
    """Say what there is for each area and period, some of which a store may know; see `find`."""
    with contextlib.closing(open_store(store_address(config.store), create=True)) as store:
        areas, _ = _areas_of(config, store)
    return find(config, tell, areas=areas)


def _areas_of(config: ScanConfig, store: Store) -> tuple[list[NamedArea] | None, dict[str, str]]:
    """The areas to scan, and what each is called in the store, by the name of its folder."""
    known = store.areas()
    if config.area is None:
        if config.area_name is None:
            raise ConfigError("--store needs to know the area; give --area-name, or --area")
        found = known[known["name"] == config.area_name]
        if len(found):
            return [NamedArea("", found.geometry.iloc[0])], {"": config.area_name}
        if config.source is None:
            return None, {"": config.area_name}  # The outline of the images will be it.
        names = ", ".join(known["name"]) or "none yet"
        raise ConfigError(
            f"--area-name {config.area_name}: the store knows no such area ({names}); "
            "give --area as well, and it will be called so"
        )
    areas = read_areas(config.area)
    if len(areas) > 1 or areas[0].name:
        if config.area_name is not None:
            raise ConfigError(
                f"--area-name {config.area_name}: --area {config.area} is a folder, whose areas "
                "are called as their files; leave --area-name out"
            )
        return areas, {area.name: area.name for area in areas}
    if config.area_name is not None:
        return areas, {"": config.area_name}
    file = Path(config.area)
    if not file.is_file():
        raise ConfigError(f"--area {config.area}: a box has no name; give --area-name")
    return areas, {"": file.stem}


def land_folder(
    store: Store,
    folder: Path,
    *,
    area_name: str | None = None,
    first: str | None = None,
    last: str | None = None,
    geometry: BaseGeometry | None = None,
    part: str = "",
    rules: Rules | None = None,
) -> Landed:
    """Land a finished scan.

    Args:
        store: Where to.
        folder: Of the scan.
        area_name: What its area is called; None takes the folder's name.
        first: First year, month or day, where the record tells no period.
        last: Last one.
        geometry: Of the area, in longitude and latitude, where the store does not know it yet;
            None takes the outline of the scan.
        part: Of the area, where it was scanned in several.
        rules: See `land`.

    Raises:
        ItemNotFound, DataError: The folder holds no finished scan of this version.
        ConfigError: Its period is not known.
        StoreError: See `land`.
    """
    run = read_run(folder / layout.RUN)
    name = area_name or folder.resolve().name
    earlier = next((r for r in store.runs() if r.run_id == run.run_id), None)
    if earlier is not None and earlier.area == name:
        _refuse_another(store.run(run.run_id), run)
        _refuse_other_dates(earlier, first, last)
        return landed_before(store, earlier)
    period = run_period(run, first, last)
    geobox, scores = _read_scores(folder / layout.SCORE)
    is_new = name not in set(store.areas()["name"])
    outline = (geometry or outline_lonlat(geobox)) if is_new else None
    evidence_map = _evidence_map(run, scores, geobox)
    landed = LandedRun(
        run_id=run.run_id,
        area=name,
        part=part,
        start=period.start,
        end=period.end,
        sensor=run_sensor(run),
        model=str(run.model["name"]),
        model_sha256=run.model.get("sha256"),
        prior=run.prior,
        landed=dt.datetime.now(dt.UTC),
        folder=str(folder.resolve()),
        record=run.model_dump(mode="json"),
    )
    arrival = Arrival(landed, _read_detections(folder), evidence_map, outline=outline)
    return land(store, arrival, rules)


def _refuse_another(earlier: LandedRun, run: Run) -> None:
    """Ids of early versions were the same for all that a model began within a second."""
    if earlier.record.get("started") != run.model_dump(mode="json")["started"]:
        raise ConfigError(
            f"run {run.run_id}: another run of this id has landed in area {earlier.area}, "
            f"{Period(earlier.start, earlier.end).name}; scan again into another folder"
        )


def _refuse_other_dates(earlier: LandedRun, first: str | None, last: str | None) -> None:
    if first is None or last is None:
        return
    asked, landed = parse_span(first, last), Period(earlier.start, earlier.end)
    if asked != landed:
        raise ConfigError(
            f"run {earlier.run_id} has landed as {landed.name}, and {asked.name} is asked for; a "
            "run has one period: scan again into another folder"
        )


def run_period(run: Run, first: str | None, last: str | None) -> Period:
    """The period that a run looked at: as asked for, as recorded, or the dates of its images.

    Raises:
        ConfigError: Its images carry no dates, and nobody says.
    """
    if first is not None or last is not None:
        if first is None or last is None:
            raise ConfigError("a period has two ends; give both --from and --to")
        return parse_span(first, last)
    if run.period is not None:
        start, _, end = run.period.partition("_")
        return parse_span(start, end or start)
    dates = [scene.acquired for scene in run.scenes if scene.acquired is not None]
    if not dates or len(dates) < len(run.scenes):
        raise ConfigError(
            f"run {run.run_id}: its images carry no dates, so its period is not known; say it "
            "with --from and --to"
        )
    return Period(min(dates), max(dates))


def run_sensor(run: Run) -> str:
    """The sensor of a run's images; `unknown` where they do not tell, with commas where several."""
    return ",".join(sorted({scene.sensor for scene in run.scenes if scene.sensor})) or "unknown"


def _evidence_map(run: Run, scores: ArrayHW, geobox: GeoBox) -> bytes:
    calibration = run.model.get("calibration")
    if calibration is not None and run.prior is not None:
        table = Calibration.model_validate(calibration)
        return write_evidence_map(table.probability(scores, run.prior), geobox, prior=run.prior)
    if run.model["name"] == RADAR_DROP:
        return write_drop_map(scores, geobox)
    return write_observed_map(scores, geobox)


def _read_scores(path: Path) -> tuple[GeoBox, ArrayHW]:
    try:
        with open_raster(path) as raster:
            scores: ArrayHW = raster.read(1)
            return GeoBox(raster.shape, raster.transform, str(raster.crs)), scores
    except RasterioError as err:
        raise AssetReadError(f"{path}: cannot be read ({err}); scan again", href=str(path)) from err


def _read_detections(folder: Path) -> gpd.GeoDataFrame:
    """The scan's detections with their ground and the intervals of their areas."""
    table = read_vector(folder / layout.SITES_PARQUET, may_be_empty=True)
    found = table[[*Detection.model_fields, "geometry"]].set_geometry("geometry")
    workings = None
    if WORKINGS in vector_layers(folder / layout.SITES_GPKG):
        workings = read_vector(folder / layout.SITES_GPKG, layer=WORKINGS, may_be_empty=True)
    intervals = _intervals(found, workings)
    ground = found if workings is None else ground_of_detections(found, workings)
    return ground.join(intervals)


def _intervals(found: gpd.GeoDataFrame, workings: gpd.GeoDataFrame | None) -> pd.DataFrame:
    """Of the areas of detections; none where nothing was outlined."""
    perimeter = pd.Series(np.nan, index=found.index)
    if workings is not None:
        lengths = pd.Series(perimeters_m(workings.geometry), index=workings["detection_id"])
        perimeter = found["detection_id"].map(lengths).fillna(0.0)
    intervals = area_intervals(
        found["delineated_ha"],
        perimeter,
        found["footprint_ha"],
        # Of what was marked all was observed.
        np.ones(len(found)),
    )
    return intervals.set_index(found.index)
