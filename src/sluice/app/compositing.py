"""`sluice composite`: images → one image of each area and period."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox

from sluice import __version__
from sluice.app.config import CompositeConfig
from sluice.app.finding import Findings
from sluice.app.gathering import Gathered, Gatherer, Tell, choose_sensor
from sluice.app.jobs import Job, plan_jobs, run_jobs
from sluice.app.loading import Compositor, refuse_missing_bands
from sluice.app.planning import choose_tiles, first_tile, recipe_of
from sluice.app.products.composite_files import (
    LAYER_NODATA,
    LOOKS_NODATA,
    CompositePaths,
    CompositeSummary,
    write_composite,
)
from sluice.app.products.landing import check_output, open_output, telling_disk_errors
from sluice.app.products.overview import JobOutcome
from sluice.app.products.run_record import (
    grid_record,
    left_out_of,
    name_run,
    write_failed_run,
)
from sluice.app.within import needed_by
from sluice.base.arrays import ArrayBHW, ArrayHW
from sluice.base.errors import ConfigError, NoValidData, SluiceError
from sluice.base.records import DISCLAIMER, ImageryRun, TileOutcome
from sluice.composite.indices import INDICES, compute_index
from sluice.composite.sar import radar_drop
from sluice.imagery.names import find_band
from sluice.imagery.target_grid import area_grid, refuse_far_coarser, scan_grid
from sluice.scan.composing import LayerTile, LayerTiles, compose_tiles
from sluice.scan.run import Progress, noting

_DAY_LIMIT = LOOKS_NODATA - 1
_DROP = "_drop"
"""After the name of a radar band: by how much it fell since the period before."""
_RADAR_BANDS = ("vv", "vh")


@dataclass(frozen=True)
class FinishedComposite:
    """What a composite left."""

    paths: CompositePaths
    summary: CompositeSummary


@dataclass(frozen=True)
class LayerMaker:
    """Makes the stored layers of a part of the grid; pickles."""

    compositor: Compositor
    layers: tuple[str, ...]
    scale: float
    """Value of one count."""
    earlier: Compositor | None = None
    """Of the period before, where a layer compares with it."""

    def __call__(self, geobox: GeoBox) -> LayerTile:
        """Compose the bands, work out the indices, and round them to counts."""
        composite = self.compositor(geobox)
        raster, left_out = composite.raster, dict(composite.raster.left_out)
        bands = dict(zip(raster.bands, raster.data_bhw, strict=True))
        if self.earlier is not None:
            before = self.earlier(geobox).raster
            left_out |= before.left_out
            drops = radar_drop(before.data_bhw, raster.data_bhw)
            bands |= {
                f"{band}{_DROP}": drop for band, drop in zip(raster.bands, drops, strict=True)
            }
        layers: ArrayBHW = np.stack(
            [
                bands[layer] if layer in bands else compute_index(layer, bands)
                for layer in self.layers
            ]
        )
        return LayerTile(
            layers=_to_counts(layers, self.scale),
            looks=_looks(composite.looks_hw, composite.last_day_hw),
            observed=int(np.isfinite(layers).all(axis=0).sum()),
            left_out=left_out,
        )


def composite(
    config: CompositeConfig, progress: Progress | None = None, tell: Tell | None = None
) -> FinishedComposite:
    """Make the composite of one area and period; one that was cut off goes on.

    Args:
        config: Which images, which bands and indices, and where the files go.
        progress: Told of each tile.
        tell: Told what was found before reading begins.

    Raises:
        SluiceError: See `sluice.base.errors`; `RunFailed` once it has begun; `ConfigError` where
            the areas and periods make several results (`composite_all`).
    """
    maker = _Maker(config, tell)
    jobs = maker.jobs()
    if len(jobs) != 1:
        raise ConfigError(f"the areas and periods make {len(jobs)} results, not one")
    return maker.run(jobs[0], progress)


def composite_all(
    config: CompositeConfig, progress: Progress | None = None, tell: Tell | None = None
) -> list[JobOutcome]:
    """Make the composite of each area and period in a folder of its own; see `run_jobs`."""
    maker = _Maker(config, tell)

    def run(job: Job) -> dict[str, object]:
        return maker.run(job, progress).summary.model_dump(mode="json")

    return run_jobs(config, maker.jobs(), run, maker.gatherer.tell)


def find_for_composite(config: CompositeConfig, tell: Tell | None = None) -> list[Findings]:
    """Say what there is for each area and period; see `workflows.find`."""
    maker = _Maker(config, tell)
    return [maker.look(job) for job in maker.jobs()]


class _Maker:
    """The catalogues of a command, opened once for all its jobs."""

    def __init__(self, config: CompositeConfig, tell: Tell | None) -> None:
        self.config = config
        self.layers = tuple(dict.fromkeys(_layer_name(layer) for layer in config.layers))
        self.bands = _bands_of(self.layers)
        self.comparing = any(layer.endswith(_DROP) for layer in self.layers)
        if self.comparing and config.source is None:
            raise ConfigError(
                "--layers: a drop compares periods; give --source with --every, and begin --from "
                "one period earlier"
            )
        sensor = choose_sensor(config, ["s1"] if set(self.bands) <= set(_RADAR_BANDS) else [])
        self.gatherer = Gatherer(config, sensor, tell)

    def jobs(self) -> list[Job]:
        """What the command is to make."""
        return plan_jobs(self.config, comparing=self.comparing)

    def look(self, job: Job) -> Findings:
        """Search for a job's scenes, and tell what was found."""
        if job.area is None:
            raise ConfigError("a search needs an area; give --area")
        geobox = area_grid(job.area, self.config.gsd_m)
        return self.gatherer.describe(job, self.bands, geobox, with_earlier=self.comparing)

    def _grid(self, job: Job, gathered: Gathered) -> GeoBox:
        gsd_m = self.config.gsd_m
        for images in gathered.periods.values():
            refuse_far_coarser(images, gsd_m, advice="give --pixel {}, or finer images")
        if job.area is not None and job.period is not None:
            return area_grid(job.area, gsd_m)
        return scan_grid(gathered.images, gsd_m, job.area)

    def run(self, job: Job, progress: Progress | None) -> FinishedComposite:
        """Make one composite."""
        config, started = self.config, dt.datetime.now(dt.UTC)
        check_output(job.out, overwrite=config.overwrite, command=config.command)
        if config.source is not None:
            self.look(job)
        gathered = self.gatherer.gather(job, self.bands, with_earlier=self.comparing)
        refuse_missing_bands(gathered.scenes, self.bands, wanted_by="--layers")
        geobox = self._grid(job, gathered)
        tile_px, workers = choose_tiles(config, gathered.periods.values(), geobox, len(self.bands))
        recipe = recipe_of(config)
        compositors = {
            place: Compositor(images, self.bands, recipe)
            for place, images in gathered.periods.items()
        }
        scale = 0.01 if set(self.bands) <= set(_RADAR_BANDS) else 0.0001
        work = open_output(job.out, overwrite=config.overwrite)
        parts = {
            "version": __version__,
            "scenes": {
                place: [scene.model_dump(mode="json") for scene in images.scenes]
                for place, images in gathered.periods.items()
            },
            "layers": self.layers,
            "read_as": config.model_dump(include={"bands", "sensor", "nodata"}),
            "recipe": dataclasses.asdict(recipe),
            "grid": grid_record(geobox),
            "tile_px": tile_px,
        }
        with telling_disk_errors(job.out):
            fingerprint = json.dumps(parts, sort_keys=True)
            tiles = LayerTiles(
                work / "tiles",
                fingerprint,
                geobox,
                tile_px,
                needed_by(job.area, geobox),
                first=first_tile(gathered.images, geobox, tile_px),
            )
        outcomes: list[TileOutcome] = []
        note = noting(outcomes, progress)

        def record() -> ImageryRun:
            return _record(config, job, gathered, grid_record(geobox), outcomes, started=started)

        try:
            compose_tiles(
                tiles,
                LayerMaker(compositors[0], self.layers, scale, compositors.get(-1)),
                workers=workers,
                progress=note,
                failure_budget=config.failure_budget,
            )
            _refuse_nothing_seen(outcomes)
            paths, summary = write_composite(
                job.out, tiles, record(), layers=self.layers, scale=scale, area=job.area
            )
        except SluiceError as err:
            write_failed_run(record(), err, job.out)
            raise
        return FinishedComposite(paths, summary)


def _layer_name(name: str) -> str:
    """The common name of a band, or the name of an index.

    Raises:
        ConfigError: Neither.
    """
    if name.lower() in INDICES or name.lower().removesuffix(_DROP) in _RADAR_BANDS:
        return name.lower()
    band = find_band(name, None)
    if band is None:
        known = ", ".join(INDICES)
        raise ConfigError(
            f"--layers: {name!r} is neither a band nor an index; use names such as B04, red, nir, "
            f"vv, vv{_DROP}, or {known}"
        )
    return band


def _bands_of(layers: Sequence[str]) -> tuple[str, ...]:
    """The bands to read for some layers, each once."""
    needed = [
        INDICES[layer].bands if layer in INDICES else (layer.removesuffix(_DROP),)
        for layer in layers
    ]
    return tuple(dict.fromkeys(band for bands in needed for band in bands))


def _refuse_nothing_seen(outcomes: Sequence[TileOutcome]) -> None:
    if not any(outcome.observed for outcome in outcomes):
        raise NoValidData(
            "nothing could be observed: no pixel has enough clear looks; use a longer period, "
            "fewer --min-looks, or check --nodata and the cloud layer"
        )


def _to_counts(layers: ArrayBHW, scale: float) -> npt.NDArray[np.int16]:
    """Round values to counts; what is absent, or too large for them, is no data."""
    counts = np.rint(layers / np.float32(scale))
    counts[~(np.abs(counts) <= 32767)] = LAYER_NODATA
    stored: npt.NDArray[np.int16] = counts.astype(np.int16)
    return stored


def _looks(looks_hw: npt.NDArray[np.int16], last_day_hw: ArrayHW) -> npt.NDArray[np.uint16]:
    days = np.where((last_day_hw >= 0) & (last_day_hw <= _DAY_LIMIT), last_day_hw, LOOKS_NODATA)
    return np.stack([looks_hw.astype(np.uint16), days.astype(np.uint16)])


def _record(
    config: CompositeConfig,
    job: Job,
    gathered: Gathered,
    grid: dict[str, object],
    outcomes: Sequence[TileOutcome],
    *,
    started: dt.datetime,
) -> ImageryRun:
    asked = {**config.request, "reduced_by": recipe_of(config).method}
    return ImageryRun(
        run_id=name_run(started),
        sluice_version=__version__,
        started=started,
        finished=dt.datetime.now(dt.UTC),
        status="complete",
        period=job.period.name if job.period else None,
        scenes=gathered.scenes,
        left_out=left_out_of(gathered.scenes, gathered.left_out, outcomes),
        parameters=asked,
        grid=grid,
        tiles=tuple(sorted(outcomes, key=lambda outcome: outcome.tile_id)),
        summary={},
        disclaimer=DISCLAIMER,
    )
