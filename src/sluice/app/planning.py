"""All that a scan needs, settled and checked before anything is computed."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass

from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry

from sluice.app.area import widened_box
from sluice.app.config import ImageryConfig, ScanConfig, models_folder, omnicloudmask_folder
from sluice.app.gathering import Gathered
from sluice.app.jobs import Job
from sluice.app.loading import CompositeLoader
from sluice.app.recipe import Recipe
from sluice.app.within import Within, needed_by
from sluice.base.errors import ConfigError, ManifestMismatch
from sluice.base.grid import iter_tiles
from sluice.base.methods import Method
from sluice.base.periods import Period
from sluice.base.records import Scene
from sluice.base.windows import WindowLattice
from sluice.imagery.scenes import SceneImages
from sluice.imagery.target_grid import area_grid, refuse_far_coarser, scan_grid, times_coarser
from sluice.imagery.warp import aligned_shift
from sluice.models.manifest import Manifest
from sluice.models.package import ModelPackage, load_package
from sluice.models.pixels import PixelPredictor
from sluice.models.predictor import WindowPredictor, make_predictor
from sluice.scan.run import needed_tiles
from sluice.scan.tiles import plan_tiles

LARGEST_TILE_PX = 1024
_SMALLEST_TILE_PX = 256
_TILE_STEP_PX = 256
"""Files have blocks of 256, 512 or 1,024 pixels; a tile that cuts one decodes it in vain."""
_STACKS_BYTES = 1_200_000_000
"""For the stacks of all tiles under way; what else a scan holds comes on top."""
_COPIES = 1.6
"""Of a stack: itself, its masks, and what is read ahead, sorted and reduced in parts."""


@dataclass(frozen=True)
class ScanPlan:
    """One scan, ready to run."""

    config: ScanConfig
    job: Job
    gathered: Gathered
    package: ModelPackage
    predictor: WindowPredictor | PixelPredictor
    geobox: GeoBox
    loader: CompositeLoader
    stride_px: int
    tile_px: int
    workers: int
    outline_model: ModelPackage | None = None
    """Outlines the workings within sites; None where none are outlined."""
    kept_bands: tuple[str, ...] = ()
    """Of the image that is kept beside the map."""
    needed: Within | None = None
    """Which tiles the area needs; None for all of them."""

    @property
    def area(self) -> BaseGeometry | None:
        """In longitude and latitude; None for all of the images."""
        return self.job.area

    @property
    def images(self) -> SceneImages:
        """Of the period under judgement."""
        return self.gathered.images

    @property
    def manifest(self) -> Manifest:
        """The model's."""
        return self.package.manifest

    @property
    def times_coarser(self) -> float:
        """How many times coarser than the model's pixels those of the coarsest image are."""
        gsd_m = self.manifest.gsd_m
        return max(times_coarser(images, gsd_m) for images in self.gathered.periods.values())

    @property
    def prior(self) -> float | None:
        """Share of windows expected to hold a mine; None where no probability is told."""
        return self.config.prior if self.manifest.calibration else None


def load_model(config: ScanConfig) -> ModelPackage:
    """The model of a scan."""
    return load_package(config.model, models_folder())


def model_bands(manifest: Manifest) -> tuple[tuple[str, ...], bool]:
    """The bands that a model reads, each once, and whether it compares periods."""
    bands = tuple(dict.fromkeys(i.band for i in manifest.inputs))
    return bands, any(i.period != 0 for i in manifest.inputs)


def scan_geobox(job: Job, manifest: Manifest, gathered: Gathered | None) -> GeoBox:
    """The processing grid.

    With an area, what the model looks at at once more on each side: a mine at its edge is judged
    with its surroundings, as one in the middle is.

    Args:
        job: Gives the area.
        manifest: Gives pixel size and window.
        gathered: Images named one by one, whose own grid is kept where it fits; None for a search.
    """
    margin_m = manifest.sight_px * manifest.gsd_m
    if gathered is not None and job.period is None:
        geobox = scan_grid(gathered.images, manifest.gsd_m, job.area)
        if job.area is not None:
            widened = widened_box(job.area, margin_m)
            geobox = scan_grid(gathered.images, manifest.gsd_m, widened)
        return geobox
    if job.area is None:
        raise ConfigError("a search needs an area; give --area")
    return area_grid(job.area, manifest.gsd_m, margin_m)


def prepare_scan(
    config: ScanConfig, job: Job, package: ModelPackage, gathered: Gathered
) -> ScanPlan:
    """Bring a job's images, grid and model together.

    Raises:
        ManifestMismatch: Imagery of a level that the model was not made for.
        BandNotFound: A scene lacks a band that the model needs.
        GridMismatch: Images and area do not meet, or make no grid, or images are far too coarse.
        ConfigError: Stride or tile size do not fit.
    """
    manifest = package.manifest
    for images in gathered.periods.values():
        for scene in images.scenes:
            check_level(scene, manifest, any_level=config.any_level)
        refuse_far_coarser(
            images,
            manifest.gsd_m,
            advice=f"model {manifest.name} finds nothing in them: use finer images",
        )
    stride_px = _stride_px(config, manifest)
    geobox = scan_geobox(job, manifest, gathered)
    cores = usable_cores()
    tile_px, workers = choose_tiles(config, gathered.periods.values(), geobox, len(manifest.inputs))
    tile_px = max(tile_px, manifest.sight_px)
    lattice = WindowLattice(
        geobox.shape.yx,
        manifest.judged_px,
        stride_px,
        manifest.cells_per_window,
    )
    needed = needed_by(job.area, geobox, _reach_m(manifest))
    tiles = needed_tiles(plan_tiles(lattice, tile_px, manifest.context_px), geobox, needed)
    workers = max(1, min(workers, len(tiles)))
    predictor = make_predictor(
        package,
        engine=config.engine,
        precision=config.precision,
        # Fewer tiles than cores: the engine gets the cores that are left.
        threads=max(1, cores // workers),
        calls=1 if config.processes else workers,
    )
    adapt = {s.sensor: manifest.adaptation_for(s.sensor) for s in manifest.levels}
    recipe = recipe_of(config, manifest.reduce)
    loader = CompositeLoader(gathered.periods, predictor.inputs, recipe, adapt)
    loader.check(package.name)
    return ScanPlan(
        config=config,
        job=job,
        gathered=gathered,
        package=package,
        predictor=predictor,
        geobox=geobox,
        loader=loader,
        stride_px=stride_px,
        tile_px=tile_px,
        workers=workers,
        needed=needed,
    )


def period_of(plan: ScanPlan) -> Period:
    """The time that a scan looks at: as asked for, else the dates of its images.

    Raises:
        ConfigError: An image has no date, and nobody says.
    """
    asked = plan.job.period or plan.config.period
    if asked is not None:
        return asked
    dates = [scene.acquired for scene in plan.images.scenes if scene.acquired is not None]
    if len(dates) < len(plan.images.scenes):
        raise ConfigError(
            "the images carry no dates, so the period is not known; say it with --from and --to"
        )
    return Period(min(dates), max(dates))


def _reach_m(manifest: Manifest) -> float:
    """How far around an area windows matter to what is found in it.

    Those over its edge, and those that are company to one there: as far from it as the model
    looks, and within the distance for that of each other.
    """
    sight_m = manifest.sight_px * manifest.gsd_m
    if manifest.judges == "pixels":
        return sight_m
    return sight_m + manifest.thresholds.isolation_distance_m


def recipe_of(config: ImageryConfig, usual: Method = "median") -> Recipe:
    """How a command wants its composites made.

    Args:
        config: May name the method.
        usual: The method where it does not.
    """
    return Recipe(
        method=config.method or usual,
        min_looks=config.min_looks,
        cloud_margin_px=config.cloud_margin_px,
        guard=config.guard,
        speckle=config.speckle,
        sky_weights=str(omnicloudmask_folder()) if config.cloud_mask == "omnicloudmask" else "",
    )


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def choose_tiles(
    config: ImageryConfig, periods: Iterable[SceneImages], geobox: GeoBox, bands: int
) -> tuple[int, int]:
    """The largest tile whose stacks of looks fit in memory, and how many of them at a time.

    Args:
        config: May state either.
        periods: The scenes of each period.
        geobox: Grid of the whole.
        bands: Bands of all periods together.

    Returns:
        Side in pixels, at most 1,024 unless stated; and workers.
    """
    workers = config.workers or min(8, usable_cores())
    if config.tile_px is not None:
        return config.tile_px, workers
    looks = max((_most_looks(images, geobox) for images in periods), default=1)
    each = _COPIES * 4 * bands * max(1, looks)
    if config.workers is None:
        # Tiles smaller than this would read each block of a file many times.
        most = int(_STACKS_BYTES / (each * _SMALLEST_TILE_PX**2))
        workers = max(1, min(workers, most))
    side = int(math.sqrt(_STACKS_BYTES / (each * workers)))
    return max(
        _SMALLEST_TILE_PX, min(LARGEST_TILE_PX, side // _TILE_STEP_PX * _TILE_STEP_PX)
    ), workers


def first_tile(images: SceneImages, geobox: GeoBox, tile_px: int) -> tuple[int, int]:
    """Height and width of the first tiles, so that the others begin where blocks of files do.

    Args:
        images: Those whose blocks count are the first scene's.
        geobox: Grid of the whole.
        tile_px: Side of a tile.

    Returns:
        (0, 0) where files do not share the grid's lines.
    """
    shift = aligned_shift(images.source_grids(images.scenes[0])[0], geobox)
    if shift is None:
        return 0, 0
    height, width = (-start % tile_px for start in shift)
    return (height if height < geobox.shape.y else 0), (width if width < geobox.shape.x else 0)


def clearest_scenes(images: SceneImages, geobox: GeoBox, *, looks: int = 4) -> SceneImages:
    """The least cloudy scenes, so many that parts of the grid have some looks, for a picture.

    Args:
        images: All scenes.
        geobox: Grid of the whole.
        looks: Scenes over each part, where there are as many.
    """
    by_cloud = sorted(images.files, key=lambda files: _cloudiness(files.scene))
    chosen = {
        files.scene.id
        for part in _coarse_parts(geobox)
        for files in [f for f in by_cloud if images.meets(f.scene, part)][:looks]
    }
    return SceneImages(tuple(files for files in images.files if files.scene.id in chosen))


def _cloudiness(scene: Scene) -> float:
    return 50.0 if scene.cloud_cover is None else scene.cloud_cover


def _most_looks(images: SceneImages, geobox: GeoBox) -> int:
    """The most scenes that lie over one of some parts of the grid."""
    return max(
        sum(images.meets(scene, part) for scene in images.scenes) for part in _coarse_parts(geobox)
    )


def _coarse_parts(geobox: GeoBox) -> list[GeoBox]:
    side = max(LARGEST_TILE_PX, max(geobox.shape.yx) // 8)
    return [core.of(geobox) for core, _ in iter_tiles(geobox.shape.yx, side, 0)]


def check_level(scene: Scene, manifest: Manifest, *, any_level: bool) -> None:
    """A model gets the imagery it was made for, unless its user says otherwise, on record.

    Raises:
        ManifestMismatch: It does not.
    """
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
    if manifest.judges == "pixels":
        raise ConfigError(
            f"--stride: model {manifest.name} judges pixels, and gives a score for each square of "
            f"{manifest.window_px * manifest.gsd_m:g} m; leave it out"
        )
    stride_px = round(config.stride_m / manifest.gsd_m)
    window_m = manifest.window_px * manifest.gsd_m
    if not 1 <= stride_px <= manifest.window_px:
        raise ConfigError(
            f"--stride {config.stride_m:g}: windows of {window_m:g} m need a stride from "
            f"{manifest.gsd_m:g} to {window_m:g} m"
        )
    return stride_px
