"""`sluice elevation`: heights and slopes of each area, from Copernicus GLO-30."""

from __future__ import annotations

import datetime as dt
import functools
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry

from sluice import __version__
from sluice.app.config import ElevationConfig, access_for
from sluice.app.finding import bytes_in_words
from sluice.app.gathering import Tell
from sluice.app.jobs import Job, plan_jobs, run_jobs
from sluice.app.planning import LARGEST_TILE_PX, usable_cores
from sluice.app.products.coverage import geodesic_ha
from sluice.app.products.elevation_files import ElevationPaths, ElevationSummary, write_elevation
from sluice.app.products.landing import check_output, open_output
from sluice.app.products.overview import JobOutcome
from sluice.app.products.run_record import grid_record, name_run, write_failed_run
from sluice.app.within import needed_by
from sluice.base.arrays import ArrayBHW
from sluice.base.errors import ConfigError, SluiceError
from sluice.base.grid import PixelWindow, iter_tiles
from sluice.base.records import DISCLAIMER, ImageryRun, Record, TileOutcome, TileStatus
from sluice.composite.terrain import slope_degrees
from sluice.imagery.assets import Asset
from sluice.imagery.elevation import COPERNICUS_30M, elevation_assets, read_elevation
from sluice.imagery.remote import RemoteAccess, is_address
from sluice.imagery.target_grid import area_grid
from sluice.scan.composing import tile_id
from sluice.scan.executors import as_done
from sluice.scan.run import Progress

_BLOCK_PX, _CELL_PX = 1024, 3600 * 3600
"""Of the bucket's files."""


@dataclass(frozen=True)
class FinishedElevation:
    """What one area left."""

    paths: ElevationPaths
    summary: ElevationSummary


class ElevationFindings(Record):
    """What there is to read for one area, told before it is read."""

    job: str
    cells: int
    """Of one degree; some may turn out not to exist, as at sea."""
    area_km2: float
    bytes: int
    """At most, as if nothing were compressed; 0 where they lie on disk."""


@dataclass
class ElevationTiles:
    """The tiles of one map, read side by side.

    Memory is bounded by the tiles under way. Downloads are kept in the cache of `access`, so that
    a second try starts where the first was cut off.
    """

    geobox: GeoBox
    windows: list[PixelWindow]
    base: str
    """See `imagery.elevation.elevation_assets`."""
    access: RemoteAccess
    workers: int
    missing: set[str] = field(default_factory=set)
    """Cells found not to exist."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def read(self) -> Iterator[tuple[PixelWindow, ArrayBHW]]:
        """Each tile's metres and degrees, (2, H, W) float32, NaN where there is none.

        Raises:
            SourceError: A cell that is there cannot be read.
        """
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="elevation")

        def submit(window: PixelWindow) -> Future[tuple[PixelWindow, ArrayBHW]]:
            return pool.submit(self._read_one, window)

        try:
            yield from as_done(submit, self.windows, self.workers)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _read_one(self, window: PixelWindow) -> tuple[PixelWindow, ArrayBHW]:
        # A slope needs the pixels around.
        found = read_elevation(window.of(self.geobox).pad(1), self.access, base=self.base)
        with self._lock:
            self.missing |= set(found.missing)
        metres = found.metres_hw
        pixel_m = abs(self.geobox.affine.a)
        inner = np.s_[1:-1, 1:-1]
        return window, np.stack([metres[inner], slope_degrees(metres, pixel_m)[inner]])


def elevation_all(
    config: ElevationConfig, progress: Progress | None = None, tell: Tell | None = None
) -> list[JobOutcome]:
    """Make the map of each area in a folder of its own; see `run_jobs`."""

    def run(job: Job) -> dict[str, object]:
        return make_elevation(config, job, progress).summary.model_dump(mode="json")

    return run_jobs(config, plan_jobs(config), run, tell or (lambda _: None))


def find_elevation(config: ElevationConfig) -> list[ElevationFindings]:
    """Say what there is to read for each area; reads nothing."""
    base = _base(config.source)
    found = []
    for job in plan_jobs(config):
        area = _area_of(job)
        cells = elevation_assets(area, base=base)
        size = sum(_blocks_under(cell, area.bounds) for cell in cells) * 4 * _BLOCK_PX**2
        # A cell's last blocks reach beyond it, and are not stored in full.
        size = min(size, len(cells) * 4 * _CELL_PX)
        found.append(
            ElevationFindings(
                job=job.name,
                cells=len(cells),
                area_km2=round(geodesic_ha(area) / 100, 1),
                bytes=size if is_address(base) else 0,
            )
        )
    return found


def findings_text(findings: ElevationFindings) -> str:
    """One line for a person."""
    name = f"{findings.job}: " if findings.job else ""
    cells = "1 cell" if findings.cells == 1 else f"{findings.cells} cells"
    size = f", at most {bytes_in_words(findings.bytes)} to download" if findings.bytes else ""
    return f"{name}{cells} of one degree, {findings.area_km2:,.0f} km2{size}"


def make_elevation(
    config: ElevationConfig, job: Job, progress: Progress | None = None
) -> FinishedElevation:
    """Make the map of one area.

    Args:
        config: Where the cells are, and the pixel.
        job: Gives area and folder.
        progress: Told of each tile.

    Raises:
        SluiceError: See `sluice.base.errors`.
    """
    started = dt.datetime.now(dt.UTC)
    area = _area_of(job)
    check_output(job.out, overwrite=config.overwrite, command=config.command)
    geobox = area_grid(area, config.gsd_m)
    needed = needed_by(area, geobox)
    windows = [core for core, _ in iter_tiles(geobox.shape.yx, LARGEST_TILE_PX, 0)]
    tiles = ElevationTiles(
        geobox=geobox,
        windows=[core for core in windows if needed is None or needed(core.of(geobox))],
        base=_base(config.source),
        access=access_for(config.source, config.cache_gb),
        workers=config.workers or min(8, usable_cores()),
    )
    work = open_output(job.out, overwrite=config.overwrite)
    outcomes: list[TileOutcome] = []
    record = functools.partial(_record, config, geobox, outcomes, started)
    try:
        paths, summary = write_elevation(
            job.out,
            work,
            geobox,
            _noted(tiles, outcomes, progress),
            cells={Path(cell.href).stem for cell in elevation_assets(area, base=tiles.base)},
            missing=tiles.missing,
            record=record,
            area=area,
        )
    except SluiceError as err:
        write_failed_run(record(), err, job.out)
        raise
    return FinishedElevation(paths, summary)


def _noted(
    tiles: ElevationTiles, outcomes: list[TileOutcome], progress: Progress | None
) -> Iterator[tuple[PixelWindow, ArrayBHW]]:
    """The tiles, each put on record as it passes."""
    for window, values in tiles.read():
        observed = int(np.isfinite(values[0]).sum())
        outcome = TileOutcome(
            tile_id=tile_id(window),
            status=TileStatus.DONE if observed else TileStatus.NOT_OBSERVED,
            windows=values[0].size,
            observed=observed,
        )
        outcomes.append(outcome)
        if progress is not None:
            progress(outcome, done=len(outcomes), total=len(tiles.windows), resumed=False)
        yield window, values


def _area_of(job: Job) -> BaseGeometry:
    if job.area is None:
        raise ConfigError("heights of where? Give --area")
    return job.area


def _blocks_under(cell: Asset, bounds: tuple[float, float, float, float]) -> int:
    """Blocks of a cell under a box of longitudes and latitudes."""
    west, south, east, north = bounds
    a, (height, width) = cell.geobox.affine, cell.geobox.shape.yx
    rows = sorted(min(max((y - a.f) / a.e, 0), height - 1) // _BLOCK_PX for y in (north, south))
    cols = sorted(min(max((x - a.c) / a.a, 0), width - 1) // _BLOCK_PX for x in (west, east))
    return int((rows[1] - rows[0] + 1) * (cols[1] - cols[0] + 1))


def _base(source: str) -> str:
    """Address or folder of a source.

    Raises:
        ConfigError: It is neither a folder nor an address.
    """
    if source == "copernicus":
        return COPERNICUS_30M
    if not is_address(source) and not Path(source).is_dir():
        raise ConfigError(
            f"--source {source}: no such folder; give a folder of Copernicus cells, the address of "
            "their bucket, or leave it out"
        )
    return source


def _record(
    config: ElevationConfig,
    geobox: GeoBox,
    outcomes: list[TileOutcome],
    started: dt.datetime,
) -> ImageryRun:
    return ImageryRun(
        run_id=name_run(started),
        sluice_version=__version__,
        started=started,
        finished=dt.datetime.now(dt.UTC),
        status="complete",
        scenes=(),
        parameters=config.request,
        grid=grid_record(geobox),
        tiles=tuple(sorted(outcomes, key=lambda outcome: outcome.tile_id)),
        summary={},
        disclaimer=DISCLAIMER,
    )
