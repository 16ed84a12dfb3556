"""`sluice labels grid`: labels and imagery → chips with masks, ready to learn from."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
from rasterio.features import geometry_mask
from shapely.geometry.base import BaseGeometry

from sluice import __version__
from sluice.app.area import read_areas
from sluice.app.gathering import Gathered, Gatherer, Tell, choose_sensor
from sluice.app.jobs import Job, plan_jobs
from sluice.app.labelling.chip_making import ChipStore, ChipTask, StoredChip, make_chips
from sluice.app.labelling.config import LabelGridConfig
from sluice.app.labelling.summary import LabelGridSummary, summary_notes
from sluice.app.loading import CompositeLoader, refuse_missing_bands
from sluice.app.planning import recipe_of, usable_cores
from sluice.app.products.coverage import outline_lonlat, to_grid
from sluice.app.products.landing import check_output, open_output, telling_disk_errors
from sluice.app.products.layout import FAILED_RUN, RUN, WORK_FOLDER
from sluice.app.products.run_record import left_out_of, name_run, write_failed_run, write_run
from sluice.base.errors import ConfigError, SluiceError
from sluice.base.files import read_vector
from sluice.base.longitudes import cut_at_180
from sluice.base.periods import Period
from sluice.base.polygons import polygon_parts
from sluice.base.records import DISCLAIMER, ImageryRun, TileOutcome
from sluice.labels.card import CARD_FILE, write_card
from sluice.labels.dataset import (
    ABOUT_FILE,
    INDEX_FILE,
    UNLABELLED,
    DatasetAbout,
    DatasetWriter,
)
from sluice.labels.grid import LABELLED, RANDOM, Cell, LabelGrid, TypedPlaces, plan_grid
from sluice.labels.grid_zones import Spacing
from sluice.labels.polygons import IGNORE, rasterise_polygons, read_polygons
from sluice.labels.vector_table import NEGATIVE
from sluice.scan.run import Progress, noting

_LANDING = (RUN, ABOUT_FILE, INDEX_FILE, CARD_FILE, "masks", "images")
"""What is removed first and lands last comes first: a folder without `run.json` is not whole."""

_FAILED, _BLANK, _HIDDEN = "failed", "blank", "hidden"
_SMALL, _OTHER_DATES = "smaller_than_a_pixel", "labelled_at_other_dates"


@dataclass(frozen=True)
class FinishedLabelGrid:
    """What was made."""

    folder: Path
    summary: LabelGridSummary


@dataclass(frozen=True)
class _Labels:
    """Polygons, and the ground that they are complete on."""

    polygons: gpd.GeoDataFrame
    """Typed negatives are of the class that is not sought; `kind` says what they are, else ""."""
    without_area: int
    classes: tuple[str, ...]
    area: BaseGeometry

    @property
    def sought(self) -> npt.NDArray[np.bool_]:
        """(N,) True where a polygon shows what is sought."""
        return np.asarray(~self.polygons["class"].isin((self.classes[0], IGNORE)))

    @property
    def ignored(self) -> npt.NDArray[np.bool_]:
        """(N,) True where nobody could judge the ground."""
        return np.asarray(self.polygons["class"] == IGNORE)

    @functools.cached_property
    def kinds(self) -> list[str]:
        """Of typed negatives, in alphabetical order."""
        return sorted(set(self.polygons["kind"]) - {""})

    def holding(self, period: Period | None) -> npt.NDArray[np.bool_]:
        """(N,) True where a polygon's dates meet a period; one without dates always holds."""
        if period is None:
            return np.ones(len(self.polygons), np.bool_)
        start, end = self.polygons["start"], self.polygons["end"]
        late = start.dt.normalize() > pd.Timestamp(period.end)
        early = end < pd.Timestamp(period.start)
        return np.asarray(~(late | early))


@dataclass(frozen=True)
class _Source:
    """Imagery of one part of the area in one period."""

    job: Job
    gathered: Gathered
    period: Period | None
    """Of the job, or of the images that were named."""


def make_label_grid(
    config: LabelGridConfig, progress: Progress | None = None, tell: Tell | None = None
) -> FinishedLabelGrid:
    """Cut an area into chips, compose each, and burn the labels into masks.

    What was cut off goes on where it was when it is called again; the data set is there as a
    whole, `run.json` last, or not at all.

    Args:
        config: Area, labels, imagery, and where the data set goes.
        progress: Told of each chip.
        tell: Told what was chosen and found before reading begins.

    Raises:
        SluiceError: See `sluice.base.errors`; `RunFailed` once reading has begun.
    """
    return _LabelGridMaker(config, tell).run(progress)


class _LabelGridMaker:
    def __init__(self, config: LabelGridConfig, tell: Tell | None) -> None:
        self.config = config
        self.started = dt.datetime.now(dt.UTC)
        check_output(config.out, overwrite=config.overwrite, command=config.command)
        self.tell: Tell = tell or (lambda _: None)
        self.inputs = config.inputs
        self.bands = tuple(dict.fromkeys(one.band for one in self.inputs))
        self.comparing = any(one.period for one in self.inputs)
        sensor = choose_sensor(config, ["s1"] if set(self.bands) <= {"vv", "vh"} else [])
        self.spacing = Spacing(
            config.delta_m or config.chip_px * config.gsd_m, config.chip_px, config.gsd_m
        )
        self.gatherer = Gatherer(config, sensor)
        self.labels = self._read_labels()
        self.outcomes: list[TileOutcome] = []

    def run(self, progress: Progress | None) -> FinishedLabelGrid:
        """Make the data set."""
        config = self.config
        jobs = plan_jobs(config, comparing=self.comparing)
        named = self._gather_named(jobs[0]) if config.source is None else None
        periods = [named.period] if named else list(dict.fromkeys(job.period for job in jobs))
        grid = self._plan(periods)
        self.tell(_grid_text(grid))
        places = _assign(grid.cells, jobs)
        sources = [named] if named else self._gather_all(jobs, places)
        several = len(periods) > 1
        tasks = [
            ChipTask(_chip_id(cell, source.period if several else None), cell, number)
            for number, source in enumerate(sources)
            for cell in (grid.cells if named else places[source.job.place])
        ]
        recipe = recipe_of(config)
        loaders = [CompositeLoader(s.gathered.periods, self.inputs, recipe) for s in sources]
        for loader in loaders:
            loader.check("--layers")
        work = open_output(config.out, overwrite=config.overwrite)
        with telling_disk_errors(config.out):
            store = ChipStore(work / "chips", self._fingerprint(sources))
        workers = config.workers or min(8, usable_cores())
        try:
            make_chips(
                tasks,
                loaders,
                store,
                workers=workers,
                progress=noting(self.outcomes, progress),
                failure_budget=config.failure_budget,
            )
            with telling_disk_errors(config.out):
                return self._write(work, grid, sources, tasks, store)
        except SluiceError as err:
            write_failed_run(self._record(sources), err, config.out)
            raise

    def _read_labels(self) -> _Labels:
        config = self.config
        found_labels = read_polygons(config.labels)
        polygons, without_area = found_labels.table, sum(found_labels.left_out.values())
        negative = np.zeros(len(polygons), np.bool_)
        if NEGATIVE in polygons:
            negative |= polygons[NEGATIVE].to_numpy(dtype=bool)
        polygons["kind"] = polygons["class"].where(negative, "")
        found = sorted(set(polygons["class"][~negative]) - {IGNORE})
        found = [name for name in found if name != "other"] or ["mine"]
        classes = config.classes or ("other", *found)
        unknown = [name for name in found if name not in classes]
        if unknown:
            raise ConfigError(
                f"{config.labels}: holds class {unknown[0]}, and --classes names "
                f"{', '.join(classes)}; name it too"
            )
        polygons["class"] = polygons["class"].mask(negative, classes[0])
        twice = set(polygons["kind"]) & {one.kind for one in config.typed_files}
        if twice:
            raise ConfigError(
                f"--typed {min(twice)}: {config.labels} has negatives of this kind too; choose "
                "another name"
            )
        area = shapely.union_all([named.geometry for named in read_areas(config.area)])
        return _Labels(polygons, without_area, classes, area)

    def _gather_named(self, job: Job) -> _Source:
        gathered = self.gatherer.gather(job, self.bands)
        refuse_missing_bands(gathered.scenes, self.bands, wanted_by="--layers")
        days = [scene.acquired for scene in gathered.scenes if scene.acquired is not None]
        return _Source(job, gathered, Period(min(days), max(days)) if days else None)

    def _gather_all(self, jobs: Sequence[Job], places: dict[str, list[Cell]]) -> list[_Source]:
        return [self._gather(job, places[job.place]) for job in jobs if places[job.place]]

    def _gather(self, job: Job, cells: list[Cell]) -> _Source:
        """Search around the chosen cells only: an area may be a country."""
        near = shapely.union_all([_outline(cell) for cell in cells])
        job = dataclasses.replace(job, area=near)
        gathered = self.gatherer.gather(job, self.bands, with_earlier=self.comparing)
        refuse_missing_bands(gathered.scenes, self.bands, wanted_by="--layers")
        name = f"{job.name}: " if job.name else ""
        self.tell(f"{name}{len(gathered.scenes)} scenes for {len(cells)} cells")
        return _Source(job, gathered, job.period)

    def _plan(self, periods: Sequence[Period | None]) -> LabelGrid:
        config, labels = self.config, self.labels
        holding = np.logical_or.reduce([labels.holding(period) for period in periods])
        shapes = np.asarray(labels.polygons.geometry)
        sought = labels.sought & holding
        typed = {
            one.kind: TypedPlaces(_geometries(one.file), one.count) for one in config.typed_files
        }
        for kind in labels.kinds:
            told = shapes[holding & np.asarray(labels.polygons["kind"] == kind)]
            typed[kind] = TypedPlaces(tuple(told), apart=False)
        return plan_grid(
            labels.area,
            list(shapes[sought]),
            self.spacing,
            negatives=config.negatives,
            typed=typed,
            avoided=list(shapes[(labels.sought & ~holding) | labels.ignored]),
            apart_m=config.apart_m,
            centred=config.centred,
            seed=config.seed,
        )

    def _fingerprint(self, sources: Sequence[_Source]) -> str:
        """Everything that the pixels of a chip of some id depend on."""
        config = self.config
        return json.dumps(
            {
                "version": __version__,
                "scenes": [
                    {
                        period: [scene.model_dump(mode="json") for scene in images.scenes]
                        for period, images in source.gathered.periods.items()
                    }
                    for source in sources
                ],
                "inputs": [one.key for one in self.inputs],
                "read_as": config.model_dump(include={"bands", "sensor", "nodata"}),
                "recipe": dataclasses.asdict(recipe_of(config)),
                "spacing": dataclasses.asdict(self.spacing),
                # Numbers in a cell's id then are of pixels.
                "centred": config.centred,
            },
            sort_keys=True,
        )

    def _write(
        self,
        work: Path,
        grid: LabelGrid,
        sources: Sequence[_Source],
        tasks: Sequence[ChipTask],
        store: ChipStore,
    ) -> FinishedLabelGrid:
        config = self.config
        stage = work / "dataset"
        shutil.rmtree(stage, ignore_errors=True)
        writer = DatasetWriter(stage, self._about(sources))
        dropped: Counter[str] = Counter()
        kinds: Counter[str] = Counter()
        for task, chip in _stored(tasks, store):
            source = sources[task.source]
            mask, reason = self._judge(task.cell, chip, source.period)
            if mask is None or chip is None:
                dropped[reason] += 1
                continue
            kinds[task.cell.kind] += 1
            writer.add(
                task.chip_id,
                chip.image_bhw,
                task.cell.geobox,
                mask,
                source=self._source_of(task.cell, source.period),
                group=f"g{task.cell.group:06d}",
                start=source.period.start if source.period else None,
                end=source.period.end if source.period else None,
            )
        dataset = writer.finish()
        summary = self._summary(grid, sources, kinds, dropped, int(dataset.table["label"].sum()))
        record = self._record(sources).model_copy(
            update={"summary": summary.model_dump(mode="json")}
        )
        write_run(record, stage / RUN)
        write_card(dataset, notes=summary_notes(record.summary))
        _land(stage, config.out)
        return FinishedLabelGrid(config.out, summary)

    def _about(self, sources: Sequence[_Source]) -> DatasetAbout:
        config = self.config
        sensors = {scene.sensor for source in sources for scene in source.gathered.scenes}
        return DatasetAbout(
            name=config.name or config.out.resolve().name,
            summary=f"Chips over {config.labels.name} on a grid of {self.spacing.delta_m:g} m",
            bands=tuple(one.key for one in self.inputs),
            sensor=sensors.pop() if len(sensors) == 1 else None,
            gsd_m=config.gsd_m,
            classes=self.labels.classes,
            negatives=(*(one.kind for one in config.typed_files), *self.labels.kinds, RANDOM),
            licence=config.licence,
            attribution=config.attribution,
        )

    def _judge(
        self, cell: Cell, chip: StoredChip | None, period: Period | None
    ) -> tuple[npt.NDArray[np.uint8] | None, str]:
        """The mask of a chip; or None, and why it is dropped."""
        if chip is None:
            return None, _FAILED
        observed = np.isfinite(chip.image_bhw).all(axis=0)
        if 1 - observed.mean() > self.config.max_blank:
            return None, _BLANK
        mask = self._mask(cell, period)
        sought = (mask != 0) & (mask != UNLABELLED)
        if cell.kind == LABELLED and not sought.any():
            near = self._near(cell)
            holds = (near & self.labels.sought & self.labels.holding(period)).any()
            return None, _SMALL if holds else _OTHER_DATES
        if cell.kind in self.labels.kinds:
            of_kind = np.asarray(self.labels.polygons["kind"] == cell.kind)
            if not (self._near(cell) & of_kind & self.labels.holding(period)).any():
                return None, _OTHER_DATES
        if sought.any() and not (sought & observed).any():
            return None, _HIDDEN
        return mask, ""

    def _mask(self, cell: Cell, period: Period | None) -> npt.NDArray[np.uint8]:
        labels = self.labels
        near, holding = self._near(cell), labels.holding(period)
        mask = rasterise_polygons(labels.polygons[near & holding], cell.geobox, labels.classes)
        if self.config.other_dates == "unlabelled":
            others = rasterise_polygons(
                labels.polygons[near & ~holding & labels.sought], cell.geobox, labels.classes
            )
            mask[(mask == 0) & (others != 0)] = UNLABELLED
        outline = _outline(cell)
        if not labels.area.contains(outline):
            part = shapely.union_all(polygon_parts(labels.area.intersection(outline.buffer(0.01))))
            outside = geometry_mask(
                [to_grid(part, cell.geobox.crs)], cell.geobox.shape.yx, cell.geobox.affine
            )
            mask[outside] = UNLABELLED
        return mask

    def _near(self, cell: Cell) -> npt.NDArray[np.bool_]:
        """(N,) True for the polygons that may reach into a cell."""
        near = np.zeros(len(self.labels.polygons), np.bool_)
        near[self.labels.polygons.sindex.query(_outline(cell))] = True
        return near

    def _source_of(self, cell: Cell, period: Period | None) -> str:
        if cell.kind != LABELLED:
            return cell.kind
        members = self._near(cell) & self.labels.sought & self.labels.holding(period)
        names = self.labels.polygons["source"][members].dropna().astype(str)
        return str(names.mode().iloc[0]) if len(names) else self.config.labels.stem

    def _summary(
        self,
        grid: LabelGrid,
        sources: Sequence[_Source],
        kinds: Counter[str],
        dropped: Counter[str],
        labelled: int,
    ) -> LabelGridSummary:
        labels = self.labels
        polygons = labels.polygons
        holding = np.logical_or.reduce([labels.holding(source.period) for source in sources])
        record = self._record(sources)
        return LabelGridSummary(
            chips=sum(kinds.values()),
            labelled=labelled,
            by_kind=dict(kinds),
            wanted_negatives=grid.wanted,
            dropped=dict(dropped),
            labels=len(polygons),
            labels_without_area=labels.without_area,
            labels_undated=int((polygons["start"].isna() & polygons["end"].isna()).sum()),
            labels_of_other_dates=int((~holding).sum()),
            images=len(record.scenes),
            images_left_out=len(record.left_out),
        )

    def _record(self, sources: Sequence[_Source]) -> ImageryRun:
        config = self.config
        spans = [source.period for source in sources if source.period is not None]
        whole = Period(min(s.start for s in spans), max(s.end for s in spans)) if spans else None
        scenes = {s.href: s for source in sources for s in source.gathered.scenes}
        refused = [left for source in sources for left in source.gathered.left_out]
        lattice = dataclasses.asdict(self.spacing)
        return ImageryRun(
            run_id=name_run(self.started),
            sluice_version=__version__,
            started=self.started,
            finished=dt.datetime.now(dt.UTC),
            status="complete",
            period=whole.name if whole else None,
            scenes=tuple(scenes.values()),
            left_out=left_out_of(tuple(scenes.values()), refused, self.outcomes),
            parameters=config.request,
            grid=lattice,
            tiles=tuple(sorted(self.outcomes, key=lambda outcome: outcome.tile_id)),
            summary={},
            disclaimer=DISCLAIMER,
        )


def _grid_text(grid: LabelGrid) -> str:
    counts = ", ".join(f"{kind} {count:,}" for kind, count in grid.found.items())
    return f"{len(grid.cells):,} cells: {counts}"


def _geometries(path: Path) -> tuple[BaseGeometry, ...]:
    shapes = read_vector(path).to_crs("EPSG:4326").geometry
    return tuple(cut_at_180(s) if s.area else s for s in shapes if s is not None and not s.is_empty)


def _outline(cell: Cell) -> BaseGeometry:
    return outline_lonlat(cell.geobox)


def _chip_id(cell: Cell, period: Period | None) -> str:
    return cell.cell_id if period is None else f"{cell.cell_id}_{period.name}"


def _assign(cells: Sequence[Cell], jobs: Sequence[Job]) -> dict[str, list[Cell]]:
    """Cells by the part of the area that each lies in, or next to."""
    parts = {job.place: job.area for job in jobs}
    places: dict[str, list[Cell]] = {place: [] for place in parts}
    known = {place: area for place, area in parts.items() if area is not None}
    if not known or len(known) == 1:
        return {place: list(cells) for place in parts}
    points = shapely.points([cell.lon for cell in cells], [cell.lat for cell in cells])
    distances = np.stack([shapely.distance(area, points) for area in known.values()])
    names = list(known)
    for cell, nearest in zip(cells, distances.argmin(axis=0), strict=True):
        places[names[nearest]].append(cell)
    return places


def _stored(
    tasks: Sequence[ChipTask], store: ChipStore
) -> Iterator[tuple[ChipTask, StoredChip | None]]:
    for task in tasks:
        yield task, store.load(task.chip_id)


def _land(stage: Path, out: Path) -> None:
    """Move a finished data set to its place; what it replaces goes first."""
    for name in (FAILED_RUN, *_LANDING):
        old = out / name
        if old.is_dir():
            shutil.rmtree(old)
        else:
            old.unlink(missing_ok=True)
    for name in reversed(_LANDING):
        (stage / name).replace(out / name)
    shutil.rmtree(out / WORK_FOLDER, ignore_errors=True)
