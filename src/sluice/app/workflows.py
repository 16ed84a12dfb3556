"""The main road on one screen: images → composite → scores → sites → files."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

import geopandas as gpd

from sluice import __version__
from sluice.app.area import NamedArea
from sluice.app.config import ScanConfig
from sluice.app.finding import Findings
from sluice.app.following.strictness import LayersAround, cut_strictly
from sluice.app.gathering import Gatherer, Tell, choose_sensor
from sluice.app.jobs import Job, plan_jobs, run_jobs
from sluice.app.keeping import keep_image, kept_bands
from sluice.app.loading import CompositeLoader
from sluice.app.outlining import fitting, load_outline_model, outline_sites
from sluice.app.planning import (
    ScanPlan,
    clearest_scenes,
    load_model,
    model_bands,
    period_of,
    prepare_scan,
    scan_geobox,
)
from sluice.app.products import layout
from sluice.app.products.class_map import class_colours
from sluice.app.products.coverage import part_near
from sluice.app.products.landing import check_output, open_output, telling_disk_errors
from sluice.app.products.layout import ProductPaths
from sluice.app.products.overview import JobOutcome
from sluice.app.products.run_record import grid_record, left_out_of, name_run, write_failed_run
from sluice.app.products.summary import Summary
from sluice.app.products.write import write_products
from sluice.app.recipe import Recipe
from sluice.app.skies import without_networks
from sluice.base.classes import ClassesHW, name_classes
from sluice.base.errors import ConfigError, NoValidData, SluiceError
from sluice.base.records import DISCLAIMER, ModelInput, Run, TileOutcome
from sluice.base.windows import ScoredWindows
from sluice.models.package import ModelPackage
from sluice.scan.blend import BlendedScores, blend
from sluice.scan.checkpoint import Checkpoint
from sluice.scan.executors import run_in_processes, run_in_threads
from sluice.scan.mosaic import write_class_map, write_probability_map, write_score_map
from sluice.scan.run import Progress, ScanResult, noting, scan_windows
from sluice.sites.classes import add_classes
from sluice.sites.vectorise import vectorise


@dataclass(frozen=True)
class FinishedScan:
    """What a scan left."""

    paths: ProductPaths
    summary: Summary


def scan(
    config: ScanConfig, progress: Progress | None = None, tell: Tell | None = None
) -> FinishedScan:
    """Find likely mines in one area and period, and write the map.

    A scan that is cut off goes on where it stopped when it is called again.

    Args:
        config: What to scan, with which model, and where the files go.
        progress: Told of each tile.
        tell: Told what was found before reading begins.

    Raises:
        SluiceError: See `sluice.base.errors`; `RunFailed` once the scan has begun;
            `ConfigError` where the areas and periods make several results (`scan_all`).
    """
    scanner = _Scanner(config, tell)
    jobs = scanner.jobs()
    if len(jobs) != 1:
        raise ConfigError(f"the areas and periods make {len(jobs)} results, not one")
    return scanner.run(jobs[0], progress)


def scan_all(
    config: ScanConfig,
    progress: Progress | None = None,
    tell: Tell | None = None,
    *,
    areas: Sequence[NamedArea] | None = None,
    layers_around: LayersAround | None = None,
    also: Callable[[Job], Mapping[str, Any]] | None = None,
) -> list[JobOutcome]:
    """Scan each area and period into a folder of its own; see `run_jobs`.

    Args:
        config: As for `scan`.
        progress: Told of each tile.
        tell: Told what was found, and what failed.
        areas: In place of the configuration's.
        layers_around: What `--strict` takes away, with green ground; None takes nothing.
        also: Done with each finished result, see `run_jobs`.
    """
    scanner = _Scanner(config, tell, areas, layers_around)

    def run(job: Job) -> dict[str, object]:
        return scanner.run(job, progress).summary.model_dump(mode="json")

    return run_jobs(config, scanner.jobs(), run, scanner.gatherer.tell, also)


def find(
    config: ScanConfig, tell: Tell | None = None, *, areas: Sequence[NamedArea] | None = None
) -> list[Findings]:
    """Say what there is for each area and period, and what it would cost; reads next to nothing.

    Raises:
        ConfigError: Images are named one by one, so there is nothing to search.
        SourceError: A catalogue gave no answer.
    """
    scanner = _Scanner(config, tell, areas)
    return [scanner.look(job) for job in scanner.jobs()]


class _Scanner:
    """Model and catalogues of a command, loaded and opened once for all its jobs."""

    def __init__(
        self,
        config: ScanConfig,
        tell: Tell | None,
        areas: Sequence[NamedArea] | None = None,
        layers_around: LayersAround | None = None,
    ) -> None:
        self.config = config
        self.areas = areas
        self.layers_around = layers_around
        self.package = load_model(config)
        manifest = self.package.manifest
        sensor = choose_sensor(config, [level.sensor for level in manifest.levels])
        margin_m = manifest.sight_px * manifest.gsd_m
        self.gatherer = Gatherer(config, sensor, tell, margin_m=margin_m)
        self.bands, self.with_earlier = model_bands(manifest)
        self.outline_model = load_outline_model(config, self.package)
        self.kept_bands = kept_bands(config, manifest)
        self.wanted = tuple(dict.fromkeys([*self.bands, *self.kept_bands]))

    def jobs(self) -> list[Job]:
        """What the command is to make."""
        return plan_jobs(self.config, comparing=self.with_earlier, areas=self.areas)

    def look(self, job: Job) -> Findings:
        """Search for a job's scenes, and tell what was found."""
        geobox = scan_geobox(job, self.package.manifest, None)
        return self.gatherer.describe(job, self.wanted, geobox, with_earlier=self.with_earlier)

    def run(self, job: Job, progress: Progress | None) -> FinishedScan:
        """Scan one job."""
        started = dt.datetime.now(dt.UTC)
        check_output(job.out, overwrite=self.config.overwrite, command=self.config.command)
        if self.config.source is not None:
            self.look(job)
        gathered = self.gatherer.gather(job, self.wanted, with_earlier=self.with_earlier)
        plan = replace(
            prepare_scan(self.config, job, self.package, gathered),
            outline_model=fitting(self.outline_model, gathered.images.scenes, self.config),
            kept_bands=self.kept_bands,
        )
        work = open_output(job.out, overwrite=self.config.overwrite)
        outcomes: list[TileOutcome] = []
        try:
            return _make_map(plan, work, started, noting(outcomes, progress), self.layers_around)
        except SluiceError as err:
            record = _record(plan, outcomes, started)
            write_failed_run(record, err, job.out)
            raise


def _make_map(
    plan: ScanPlan,
    work: Path,
    started: dt.datetime,
    progress: Progress,
    layers_around: LayersAround | None,
) -> FinishedScan:
    config = plan.config
    executor = run_in_processes if config.processes else run_in_threads
    result = scan_windows(
        plan.geobox,
        plan.loader,
        plan.predictor,
        stride_px=plan.stride_px,
        tile_px=plan.tile_px,
        execute=functools.partial(executor, workers=plan.workers),
        checkpoint=Checkpoint(work / "tiles", _fingerprint(plan)),
        progress=progress,
        failure_budget=config.failure_budget,
        needed=plan.needed,
    )
    _refuse_nothing_seen(plan, result)
    blended, outcomes = blend(result.windows, result.seen), result.outcomes
    windows = result.windows if plan.manifest.judges == "windows" else None
    del result  # Scores of patches are large, and of no more use.
    classes = None
    if blended.likeliest is not None:
        classes = name_classes(blended.scores, blended.likeliest, plan.manifest.thresholds.t_main)
    image = keep_image(plan, plan.kept_bands, work)
    detections, workings = _find_sites(plan, windows, blended, classes), None
    removed: tuple[str, ...] = ()
    if layers_around is not None:
        cut = cut_strictly(
            plan, detections, layers_around, image[layout.COMPOSITE], period_of(plan)
        )
        detections, removed = cut.detections, cut.told
    if plan.outline_model is not None:
        outlined = outline_sites(plan, plan.outline_model, detections, work)
        detections, workings = outlined.detections, outlined.workings
    elif plan.manifest.judges == "pixels":
        # What is marked is what was judged, pixel by pixel.
        detections["delineated_ha"] = detections["footprint_ha"]
    run = _record(plan, outcomes, started)
    paths, summary = write_products(
        plan.job.out,
        detections,
        run,
        **_write_maps(plan, blended, classes, work, run.run_id),
        image=image,
        preview=_preview(plan),
        geobox=plan.geobox,
        window_m=plan.manifest.window_px * plan.manifest.gsd_m,
        smallest_site_ha=config.min_footprint_ha,
        area=plan.area,
        workings=workings,
        removed=removed,
        times_coarser=plan.times_coarser,
    )
    return FinishedScan(paths, summary)


class _Maps(TypedDict):
    score_path: Path
    probability_path: Path | None
    classes_path: Path | None


def _write_maps(
    plan: ScanPlan, blended: BlendedScores, classes: ClassesHW | None, work: Path, run_id: str
) -> _Maps:
    manifest, tags = plan.manifest, {"model": plan.package.name, "run": run_id, "note": DISCLAIMER}
    maps = _Maps(score_path=work / layout.SCORE, probability_path=None, classes_path=None)
    with telling_disk_errors(plan.job.out):
        write_score_map(maps["score_path"], blended, tags)
        if manifest.calibration is not None:
            path = maps["probability_path"] = work / layout.PROBABILITY
            write_probability_map(path, blended, manifest.calibration, plan.config.prior, tags)
        if classes is not None:
            path = maps["classes_path"] = work / layout.CLASSES
            legend = list(zip(manifest.classes, class_colours(manifest.classes), strict=True))
            write_class_map(path, classes, blended.geobox, legend, tags)
    return maps


def _fingerprint(plan: ScanPlan) -> str:
    """Everything that the scores depend on."""
    return json.dumps(
        {
            "version": __version__,
            "scenes": {
                period: [scene.model_dump(mode="json") for scene in images.scenes]
                for period, images in plan.gathered.periods.items()
            },
            "read_as": plan.config.model_dump(include={"bands", "sensor", "nodata"}),
            "model": plan.package.sha256,
            "engine": plan.predictor.engine,
            "precision": plan.predictor.precision,
            "grid": grid_record(plan.geobox),
            "stride_px": plan.stride_px,
            "tile_px": plan.tile_px,
            "recipe": dataclasses.asdict(plan.loader.recipe),
        },
        sort_keys=True,
    )


def _refuse_nothing_seen(plan: ScanPlan, result: ScanResult) -> None:
    if any(outcome.observed for outcome in result.outcomes):
        return
    where = "the area" if plan.area is not None else "the images"
    share = plan.manifest.max_invalid_share
    raise NoValidData(
        f"nothing could be observed in {where}: every window is more than {share:.0%} nodata, "
        "cloud or shadow, or the image is smaller than a window; check --nodata and the cloud "
        "layer, or use images of other dates or a longer period"
    )


def _find_sites(
    plan: ScanPlan,
    windows: ScoredWindows | None,
    blended: BlendedScores,
    classes: ClassesHW | None,
) -> gpd.GeoDataFrame:
    calibration = plan.manifest.calibration
    detections = vectorise(
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
    if classes is None:
        return detections
    return add_classes(detections, classes, blended.geobox, plan.manifest.classes)


def _preview(plan: ScanPlan) -> CompositeLoader:
    """True colour where the images have it, else what the model saw."""
    images = without_networks(clearest_scenes(plan.images, plan.geobox))
    shared = set.intersection(*(set(scene.bands) for scene in images.scenes))
    colours = ("red", "green", "blue")
    # What is counted in pixels means nothing on the picture's coarse grid.
    recipe = Recipe(cloud_margin_px=0, guard=False, overcast_px=0)
    if not shared.issuperset(colours):
        others = {
            number: without_networks(clearest_scenes(one, plan.geobox))
            for number, one in plan.loader.periods.items()
            if number != 0
        }
        return replace(plan.loader, periods={0: images, **others}, recipe=recipe)
    inputs = tuple(ModelInput(band=colour) for colour in colours)
    return CompositeLoader({0: images}, inputs, recipe)


def _record(plan: ScanPlan, outcomes: Sequence[TileOutcome], started: dt.datetime) -> Run:
    job = plan.job
    return Run(
        run_id=name_run(started),
        sluice_version=__version__,
        started=started,
        finished=dt.datetime.now(dt.UTC),
        status="complete",
        period=job.period.name if job.period else None,
        scenes=tuple(scene for images in plan.gathered.periods.values() for scene in images.scenes),
        left_out=left_out_of(plan.gathered.scenes, plan.gathered.left_out, outcomes),
        model=_model_record(plan.package),
        outlines=_model_record(plan.outline_model) if plan.outline_model else None,
        engine=f"{plan.predictor.engine} {plan.predictor.engine_version}",
        precision=plan.predictor.precision,
        prior=plan.prior,
        parameters={
            **plan.config.request,
            "reduced_by": plan.loader.recipe.method,
            "stride_px": plan.stride_px,
            "tile_px": plan.tile_px,
            "workers": plan.config.workers,
            "processes": plan.config.processes,
        },
        grid=grid_record(plan.geobox),
        tiles=tuple(outcomes),
        summary={},
        disclaimer=DISCLAIMER,
    )


def _model_record(package: ModelPackage) -> dict[str, Any]:
    manifest = package.manifest
    return {
        "name": manifest.name,
        "sha256": package.sha256,
        "weights_sha256": manifest.weights.sha256,
        "judges": manifest.judges,
        "classes": list(manifest.classes),
        "window_px": manifest.window_px,
        "context_px": manifest.context_px,
        "levels": [level.model_dump(mode="json") for level in manifest.levels],
        "inputs": [i.model_dump(mode="json") for i in manifest.inputs],
        "thresholds": manifest.thresholds.model_dump(mode="json"),
        "calibration": (
            manifest.calibration.model_dump(mode="json") if manifest.calibration else None
        ),
    }
