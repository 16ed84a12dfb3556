"""After the sites are found: the workings within them, pixel by pixel."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from odc.geo.geobox import GeoBox

from sluice import __version__
from sluice.app.config import ScanConfig, models_folder
from sluice.app.loading import refuse_missing_bands
from sluice.app.planning import ScanPlan, check_level, model_bands
from sluice.base.errors import BandNotFound, ConfigError, ManifestMismatch
from sluice.base.grid import PixelWindow
from sluice.base.longitudes import cut_at_180
from sluice.base.records import Scene
from sluice.models.package import ModelPackage, load_package
from sluice.models.pixels import PixelPredictor
from sluice.scan.blend import BlendedScores, blend
from sluice.scan.checkpoint import Checkpoint
from sluice.scan.executors import run_in_threads
from sluice.scan.run import scan_windows
from sluice.sites.workings import outline_workings

USUAL_MODEL = "workings"
NO_MODEL = "none"
_COLUMNS = ["detection_id", "delineated_ha", "geometry"]
_BLOCK_PX = 4096
_LEAST_SEEN = 0.5
"""Share of a footprint's pixels that must be observed for its workings to be told."""


@dataclass(frozen=True)
class Outlined:
    """Sites with the area of their workings."""

    detections: gpd.GeoDataFrame
    """As they were, with `delineated_ha` where the workings could be told."""
    workings: gpd.GeoDataFrame
    """`detection_id`, `delineated_ha` and a multipolygon in EPSG:4326 for each site that has
    some."""


def load_outline_model(config: ScanConfig, main: ModelPackage) -> ModelPackage | None:
    """The model that outlines workings; None where none is wanted, or the first needs no second.

    Raises:
        ConfigError: It judges windows, or there is no such model.
        ModelError: Its package is damaged.
    """
    name = config.outlines or USUAL_MODEL
    if name == NO_MODEL or (main.manifest.judges == "pixels" and config.outlines is None):
        return None
    package = load_package(name, models_folder())
    if package.manifest.judges != "pixels":
        raise ConfigError(
            f"--outlines {name}: judges windows, and outlines need a model that judges pixels; "
            f"use {USUAL_MODEL}, another such model, or {NO_MODEL}"
        )
    return package


def fitting(
    package: ModelPackage | None, scenes: Sequence[Scene], config: ScanConfig
) -> ModelPackage | None:
    """The model that outlines workings, if the scenes have its bands and are of its levels.

    Raises:
        BandNotFound, ManifestMismatch: They do not, and the model was asked for by name.
    """
    if package is None:
        return None
    manifest = package.manifest
    try:
        refuse_missing_bands(scenes, model_bands(manifest)[0], wanted_by=f"model {package.name}")
        for scene in scenes:
            check_level(scene, manifest, any_level=config.any_level)
    except (BandNotFound, ManifestMismatch):
        if config.outlines is not None:
            raise
        return None
    return package


def outline_sites(
    plan: ScanPlan, package: ModelPackage, detections: gpd.GeoDataFrame, work: Path
) -> Outlined:
    """Outline the workings of a scan's sites; only the ground around them is read again.

    Args:
        plan: The scan's.
        package: From `load_outline_model`.
        detections: From `vectorise`.
        work: The run's folder for work in progress, where finished tiles are kept.

    Raises:
        SluiceError: As `scan_windows`.
    """
    reach_m = plan.manifest.window_px * plan.manifest.gsd_m / 2
    found = []
    for grid, members in grids_around(plan.geobox, detections, reach_m, package.manifest.gsd_m):
        # Sites of other parts count here too, as theirs are not this one's workings.
        blended = _score(plan, package, grid, work)
        part = outline_workings(
            blended.scores,
            blended.geobox,
            detections[["detection_id", "geometry"]],
            threshold=package.manifest.thresholds.t_main,
            reach_m=reach_m,
        )
        found.append(part[part["detection_id"].isin(members)])
    if not found:
        return Outlined(
            detections, detections.iloc[:0][["detection_id", "delineated_ha", "geometry"]]
        )
    parts = pd.concat(found, ignore_index=True)
    # A site on the border of two parts has workings in both.
    figures = parts.groupby("detection_id")[["delineated_ha", "pixels", "observed"]].sum()
    told = figures["observed"] >= _LEAST_SEEN * figures["pixels"]
    area = figures["delineated_ha"].where(told)
    workings = parts[~parts.geometry.is_empty].dissolve("detection_id", as_index=False)
    workings = workings.to_crs("EPSG:4326")
    workings.geometry = workings.geometry.map(cut_at_180)
    workings["delineated_ha"] = workings["detection_id"].map(area)
    return Outlined(
        detections.assign(delineated_ha=detections["detection_id"].map(area).astype(float)),
        workings[_COLUMNS],
    )


def grids_around(
    geobox: GeoBox, detections: gpd.GeoDataFrame, reach_m: float, gsd_m: float
) -> Iterator[tuple[GeoBox, set[str]]]:
    """Parts of a grid around sites, and the ids of those sites.

    Args:
        geobox: Grid of the whole.
        detections: `detection_id` and `geometry`.
        reach_m: How far around them.
        gsd_m: Pixel side of the parts.
    """
    if detections.empty:
        return
    bounds = detections.geometry.to_crs(str(geobox.crs)).bounds.to_numpy()
    boxes = shapely.box(*(bounds + np.array([-1, -1, 1, 1]) * reach_m).T)
    a = geobox.affine
    fine = geobox if math.isclose(a.a, gsd_m) else geobox.zoom_to(resolution=gsd_m)
    # Sites near each other are read together.
    for cluster in shapely.get_parts(shapely.union_all(boxes)):
        members = set(detections["detection_id"][shapely.intersects(boxes, cluster)])
        left, bottom, right, top = cluster.bounds
        first_col, last_col = math.floor((left - a.c) / gsd_m), math.ceil((right - a.c) / gsd_m)
        first_row, last_row = math.floor((a.f - top) / gsd_m), math.ceil((a.f - bottom) / gsd_m)
        for row in range(first_row, last_row, _BLOCK_PX):
            for col in range(first_col, last_col, _BLOCK_PX):
                height, width = min(_BLOCK_PX, last_row - row), min(_BLOCK_PX, last_col - col)
                part = PixelWindow(row, col, height, width).of(fine)
                if cluster.intersects(shapely.box(*part.boundingbox.bbox)):
                    yield part, members


def _score(plan: ScanPlan, package: ModelPackage, grid: GeoBox, work: Path) -> BlendedScores:
    """Scores of a part's pixels."""
    manifest = package.manifest
    predictor = PixelPredictor(
        package,
        engine=plan.config.engine,
        precision=plan.config.precision,
        threads=plan.predictor.threads,
        calls=plan.workers,
    )
    adapt = {level.sensor: manifest.adaptation_for(level.sensor) for level in manifest.levels}
    loader = replace(plan.loader, inputs=predictor.inputs, adapt=adapt)
    fingerprint = {
        "version": __version__,
        "read_as": plan.config.model_dump(include={"bands", "sensor", "nodata"}),
        "outlines": package.sha256,
        "grid": [str(grid.crs), *grid.affine[:6], *grid.shape.yx],
        "scenes": [scene.model_dump(mode="json") for scene in plan.gathered.scenes],
        "engine": [predictor.engine, predictor.precision],
        "recipe": repr(loader.recipe),
    }
    result = scan_windows(
        grid,
        loader,
        predictor,
        stride_px=manifest.stride_px,
        tile_px=max(plan.tile_px, manifest.sight_px),
        execute=functools.partial(run_in_threads, workers=plan.workers),
        checkpoint=Checkpoint(work / "outlines", json.dumps(fingerprint, sort_keys=True)),
        failure_budget=plan.config.failure_budget,
    )
    return blend(result.windows, result.seen)
