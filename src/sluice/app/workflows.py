"""The main road on one screen: images → composite → scores → sites → files."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import geopandas as gpd
from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry

from sluice import __version__
from sluice.app.area import read_area, widened_box
from sluice.app.config import ScanConfig, models_folder
from sluice.app.loading import CompositeLoader
from sluice.app.products.coverage import part_near
from sluice.app.products.landing import open_output, telling_disk_errors
from sluice.app.products.layout import FAILED_RUN, ProductPaths
from sluice.app.products.run_record import write_run
from sluice.app.products.summary import Summary
from sluice.app.products.write import write_products
from sluice.base.errors import ConfigError, ManifestMismatch, NoValidData, SluiceError
from sluice.base.records import DISCLAIMER, ModelInput, Run, Scene, TileOutcome
from sluice.base.windows import ScoredWindows, WindowLattice
from sluice.imagery.local import open_local
from sluice.imagery.scenes import SceneImages
from sluice.imagery.target_grid import scan_grid
from sluice.models.manifest import Manifest
from sluice.models.package import ModelPackage, load_package
from sluice.models.predictor import WindowPredictor
from sluice.scan.blend import BlendedScores, blend
from sluice.scan.checkpoint import Checkpoint
from sluice.scan.executors import run_in_processes, run_in_threads
from sluice.scan.mosaic import write_probability_map, write_score_map
from sluice.scan.run import Progress, ScanResult, scan_windows
from sluice.scan.tiles import plan_tiles
from sluice.sites.vectorise import vectorise


@dataclass(frozen=True)
class FinishedScan:
    """What a scan left."""

    paths: ProductPaths
    summary: Summary


@dataclass(frozen=True)
class _Plan:
    """All that a scan needs, checked before anything is computed."""

    config: ScanConfig
    area: BaseGeometry | None
    images: SceneImages
    package: ModelPackage
    predictor: WindowPredictor
    geobox: GeoBox
    loader: CompositeLoader
    stride_px: int
    workers: int

    @property
    def manifest(self) -> Manifest:
        return self.package.manifest

    @property
    def prior(self) -> float | None:
        return self.config.prior if self.manifest.calibration else None


def scan(config: ScanConfig, progress: Progress | None = None) -> FinishedScan:
    """Find likely mines in images from disk, and write the map.

    A scan that is cut off goes on where it stopped when it is called again.

    Args:
        config: What to scan, with which model, and where the files go.
        progress: Told of each tile.

    Raises:
        SluiceError: See `sluice.base.errors`; `RunFailed` once the scan has begun.
    """
    started = dt.datetime.now(dt.UTC)
    plan = _prepare(config)
    work = open_output(config.out, overwrite=config.overwrite)
    outcomes: list[TileOutcome] = []

    def note(outcome: TileOutcome, *, done: int, total: int, resumed: bool) -> None:
        outcomes.append(outcome)
        if progress is not None:
            progress(outcome, done=done, total=total, resumed=resumed)

    try:
        return _make_map(plan, work, started, note)
    except SluiceError as err:
        record = _record(plan, outcomes, started)
        failed = record.model_copy(update={"status": "failed", "summary": {"error": str(err)}})
        # On a full disk the error itself must do.
        with contextlib.suppress(OSError):
            write_run(failed, config.out / FAILED_RUN)
        raise


def _make_map(plan: _Plan, work: Path, started: dt.datetime, progress: Progress) -> FinishedScan:
    config = plan.config
    executor = run_in_processes if config.processes else run_in_threads
    result = scan_windows(
        plan.geobox,
        plan.loader,
        plan.predictor,
        stride_px=plan.stride_px,
        tile_px=config.tile_px,
        execute=functools.partial(executor, workers=plan.workers),
        checkpoint=Checkpoint(work / "tiles", _fingerprint(plan)),
        progress=progress,
        failure_budget=config.failure_budget,
    )
    _refuse_nothing_seen(plan, result)
    blended = blend(result.windows, result.seen)
    detections = _find_sites(plan, result.windows, blended)
    run = _record(plan, result.outcomes, started)
    score_path, probability_path = work / "score.tif", None
    with telling_disk_errors(config.out):
        tags = {"model": plan.package.name, "run": run.run_id, "note": DISCLAIMER}
        write_score_map(score_path, blended, tags)
        if plan.manifest.calibration is not None:
            probability_path = work / "probability.tif"
            write_probability_map(
                probability_path, blended, plan.manifest.calibration, config.prior, tags
            )
    paths, summary = write_products(
        config.out,
        detections,
        run,
        score_path=score_path,
        probability_path=probability_path,
        preview=_preview(plan),
        geobox=plan.geobox,
        window_m=plan.manifest.window_px * plan.manifest.gsd_m,
        smallest_site_ha=config.min_footprint_ha,
        area=plan.area,
    )
    return FinishedScan(paths, summary)


def _prepare(config: ScanConfig) -> _Plan:
    area = read_area(config.area) if config.area is not None else None
    package = load_package(config.model, models_folder())
    manifest = package.manifest
    images = open_local(
        config.images,
        sensor=config.sensor,
        bands=config.bands,
        scale=config.scale,
        offset=config.offset,
        nodata=config.nodata,
    )
    for scene in images.scenes:
        _check_level(scene, manifest, any_level=config.any_level)
    stride_px = _stride_px(config, manifest)
    geobox = scan_grid(images, manifest.gsd_m, area)
    if area is not None:
        # A window more on each side, where the images have it: a mine at the area's edge is
        # judged with its surroundings, as one in the middle is.
        margin_m = manifest.window_px * manifest.gsd_m
        geobox = scan_grid(images, manifest.gsd_m, widened_box(area, margin_m))
    lattice = WindowLattice(geobox.shape.yx, manifest.window_px, stride_px)
    cores = _cores()
    workers = min(config.workers or min(8, cores), len(plan_tiles(lattice, config.tile_px)))
    predictor = WindowPredictor(
        package,
        engine=config.engine,
        precision=config.precision,
        # Fewer tiles than cores: the engine gets the cores that are left.
        threads=max(1, cores // workers),
        calls=1 if config.processes else workers,
    )
    adapt = {s.sensor: manifest.adaptation_for(s.sensor) for s in manifest.levels}
    loader = CompositeLoader(images, predictor.inputs, config.cloud_margin_px, adapt)
    loader.check(package.name)
    return _Plan(config, area, images, package, predictor, geobox, loader, stride_px, workers)


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _check_level(scene: Scene, manifest: Manifest, *, any_level: bool) -> None:
    """A model gets the imagery it was made for, unless its user says otherwise, on record."""
    if scene.sensor is None or any_level or manifest.find_level(scene.sensor) is not None:
        return
    known = ", ".join(level.sensor for level in manifest.levels)
    raise ManifestMismatch(
        f"{scene.href}: is {scene.sensor} imagery, model {manifest.name} takes {known}; "
        "use such imagery or another model, or give --any-level to try it all the same",
        href=scene.href,
    )


def _stride_px(config: ScanConfig, manifest: Manifest) -> int:
    if config.stride_m is None:
        return manifest.stride_px
    stride_px = round(config.stride_m / manifest.gsd_m)
    window_m = manifest.window_px * manifest.gsd_m
    if not 1 <= stride_px <= manifest.window_px:
        raise ConfigError(
            f"--stride {config.stride_m:g}: windows of {window_m:g} m need a stride from "
            f"{manifest.gsd_m:g} to {window_m:g} m"
        )
    return stride_px


def _fingerprint(plan: _Plan) -> str:
    """Everything that the scores depend on."""
    return json.dumps(
        {
            "version": __version__,
            "scenes": [scene.model_dump(mode="json") for scene in plan.images.scenes],
            "read_as": plan.config.model_dump(include={"bands", "sensor", "nodata"}),
            "model": plan.package.sha256,
            "engine": plan.predictor.engine,
            "precision": plan.predictor.precision,
            "grid": _grid_record(plan.geobox),
            "stride_px": plan.stride_px,
            "tile_px": plan.config.tile_px,
            "cloud_margin_px": plan.config.cloud_margin_px,
        },
        sort_keys=True,
    )


def _refuse_nothing_seen(plan: _Plan, result: ScanResult) -> None:
    if any(outcome.observed for outcome in result.outcomes):
        return
    where = "the area" if plan.area is not None else "the images"
    share = plan.manifest.max_invalid_share
    raise NoValidData(
        f"nothing could be observed in {where}: every window is more than {share:.0%} nodata, "
        "cloud or shadow, or the image is smaller than a window; check --nodata and the cloud "
        "layer, or use images of other dates"
    )


def _find_sites(plan: _Plan, windows: ScoredWindows, blended: BlendedScores) -> gpd.GeoDataFrame:
    calibration = plan.manifest.calibration
    return vectorise(
        blended.scores,
        blended.geobox,
        windows,
        plan.manifest.thresholds,
        to_probability=(
            functools.partial(calibration.probability, prior=plan.config.prior)
            if calibration
            else None
        ),
        area=part_near(plan.area, plan.geobox) if plan.area is not None else None,
        min_footprint_ha=plan.config.min_footprint_ha,
    )


def _preview(plan: _Plan) -> CompositeLoader:
    """True colour where the images have it, else what the model saw."""
    shared = set.intersection(*(set(scene.bands) for scene in plan.images.scenes))
    colours = ("red", "green", "blue")
    # No margin: on the picture's coarse grid its pixels would be hundreds of metres.
    if not shared.issuperset(colours):
        return replace(plan.loader, cloud_margin_px=0)
    return CompositeLoader(
        plan.images, tuple(ModelInput(band=c) for c in colours), cloud_margin_px=0
    )


def _record(plan: _Plan, outcomes: Sequence[TileOutcome], started: dt.datetime) -> Run:
    manifest = plan.manifest
    asked = plan.config.model_dump(mode="json", exclude={"overwrite", "out", "images", "prior"})
    return Run(
        run_id=f"{started:%Y%m%dT%H%M%SZ}-{plan.package.sha256[:8]}",
        sluice_version=__version__,
        started=started,
        finished=dt.datetime.now(dt.UTC),
        status="complete",
        scenes=plan.images.scenes,
        model={
            "name": manifest.name,
            "sha256": plan.package.sha256,
            "weights_sha256": manifest.weights.sha256,
            "window_px": manifest.window_px,
            "levels": [level.model_dump(mode="json") for level in manifest.levels],
            "inputs": [i.model_dump(mode="json") for i in manifest.inputs],
            "thresholds": manifest.thresholds.model_dump(mode="json"),
            "calibration": (
                manifest.calibration.model_dump(mode="json") if manifest.calibration else None
            ),
        },
        engine=f"{plan.predictor.engine} {plan.predictor.engine_version}",
        precision=plan.predictor.precision,
        prior=plan.prior,
        parameters={**asked, "stride_px": plan.stride_px},
        grid=_grid_record(plan.geobox),
        tiles=tuple(outcomes),
        summary={},
        disclaimer=DISCLAIMER,
    )


def _grid_record(geobox: GeoBox) -> dict[str, object]:
    return {
        "crs": str(geobox.crs),
        "transform": list(geobox.affine)[:6],
        "shape": list(geobox.shape.yx),
    }
