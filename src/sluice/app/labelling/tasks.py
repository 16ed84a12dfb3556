"""`sluice labels prepare`: images → pictures to label, and where on earth each lies."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyproj
from odc.geo.geobox import GeoBox
from PIL import Image
from pydantic import Field, field_validator
from scipy import ndimage

from sluice.app.config import ImageryConfig
from sluice.app.gathering import Gatherer, Tell, choose_sensor
from sluice.app.jobs import Job, plan_jobs
from sluice.app.loading import Compositor, refuse_missing_bands
from sluice.app.planning import clearest_scenes, recipe_of, usable_cores
from sluice.app.products.landing import telling_disk_errors
from sluice.app.products.picture_tones import ColourTones, GreyTones, grey_tones_of, tones_of
from sluice.app.products.quicklook import preview_grid
from sluice.app.recipe import Recipe
from sluice.app.skies import without_networks
from sluice.app.within import needed_by
from sluice.base.errors import ConfigError, NoValidData
from sluice.base.files import write_whole
from sluice.base.grid import PixelWindow, is_metric_north_up, iter_tiles
from sluice.base.raster import Raster
from sluice.base.records import Record, Scene
from sluice.composite.indices import ndwi
from sluice.imagery.names import find_band
from sluice.imagery.scenes import SceneImages
from sluice.imagery.target_grid import area_grid, scan_grid
from sluice.labels.pictures import PicturePlace
from sluice.labels.polygons import IGNORE
from sluice.labels.tasks import (
    COLOUR_SUFFIX,
    NDWI_SUFFIX,
    LabellingTask,
    label_studio_config,
    label_studio_tasks,
    labelbox_ontology,
    labelbox_rows,
)

PICTURES = "pictures"
_WATER_BANDS = ("green", "nir")
_USUAL_GSD_M = 10.0
_BRIGHTEST_PERCENT = 99.5
"""Mines are among the brightest ground, and are what is to be seen."""
_MOST_WORKERS = 8


class LabellingTasksConfig(ImageryConfig):
    """Pictures of one area or set of images, to be labelled by people."""

    tool: Literal["label-studio", "labelbox"] = "label-studio"
    chip_px: int = Field(default=256, ge=32, le=4096)
    """Side of the ground in a picture, in pixels of the image."""
    picture_px: int = Field(default=768, ge=32, le=4096)
    """Side of a picture, about: pixels are enlarged by a whole number."""
    gsd_m: float | None = Field(default=None, ge=0.5, le=100)
    """Pixel side in metres; None takes the finest of the images."""
    colours: tuple[str, ...] = ("red", "green", "blue")
    """Bands shown as red, green and blue."""
    classes: tuple[str, ...] = ("mine",)
    """To choose from."""
    address: str | None = None
    """Of the folder of pictures, as the tool reaches it."""
    name: str | None = None
    """Begins the pictures' ids; the output folder's name where None."""
    least_observed: float = Field(default=0.1, gt=0, le=1)
    """Share of a picture that must be observed."""

    @property
    def command(self) -> str:
        """See `ResultsConfig`."""
        return "labels prepare"

    @field_validator("colours")
    @classmethod
    def _three(cls, colours: tuple[str, ...]) -> tuple[str, ...]:
        if len(colours) != 3:
            raise ConfigError("--colours: name three bands, as in nir,red,green")
        return tuple(find_band(name, None) or name for name in colours)

    @field_validator("classes")
    @classmethod
    def _some(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if not set(classes) - {IGNORE} or len(set(classes)) != len(classes):
            raise ConfigError("--classes: name at least one class, each once")
        return classes


class LabellingTasksSummary(Record):
    """What was prepared."""

    pictures: int
    blank: int
    """Left out, because too little of them was observed."""
    outside: int
    """Left out, because the area does not reach them."""
    width_px: int
    height_px: int
    ground_m: float
    """Width of the ground in a picture."""
    with_ndwi: bool
    images: int


@dataclass(frozen=True)
class _Painter:
    """Makes the pictures of a part of the grid."""

    compositor: Compositor
    veiled: Compositor | None
    """The same images with their clouds, to fill what no clear look shows: who labels can tell a
    cloud from a bright pit, which cloud layers often cannot. None where nothing is masked."""
    colours: tuple[str, ...]
    colour_tones: ColourTones
    ndwi_tones: GreyTones | None
    enlarge: int
    folder: Path
    least_observed: float

    def paint(self, picture: str, geobox: GeoBox) -> float | None:
        """Write the pictures; the share with a clear look, None where that is too little."""
        raster = self.compositor(geobox).raster
        clear = 1 - float(np.isnan(raster.data_bhw).any(axis=0).mean())
        if clear < self.least_observed:
            return None
        if self.veiled is not None and clear < 1:
            under = self.veiled(geobox).raster.data_bhw
            np.copyto(raster.data_bhw, under, where=np.isnan(raster.data_bhw))
        rgb = _bands(raster, self.colours)
        missing = np.asarray(np.isnan(rgb).any(axis=0))
        self._save(self.colour_tones.apply(rgb), missing, picture + COLOUR_SUFFIX)
        if self.ndwi_tones is not None:
            water = ndwi(raster.band("green"), raster.band("nir"))
            self._save(self.ndwi_tones.apply(water), np.isnan(water), picture + NDWI_SUFFIX)
        return clear

    def _save(
        self, pixels: npt.NDArray[np.uint8], missing: npt.NDArray[np.bool_], name: str
    ) -> None:
        image = Image.fromarray(pixels)
        if self.enlarge > 1:
            size = (image.width * self.enlarge, image.height * self.enlarge)
            plain = image.resize(size, Image.Resampling.NEAREST)
            # Enlarged smoothly, the edge of what is missing would get a rim that looks like ground.
            if missing.any() and not missing.all():
                nearest = ndimage.distance_transform_edt(
                    missing, return_distances=False, return_indices=True
                )
                image = Image.fromarray(pixels[tuple(nearest)])
            image = image.resize(size, Image.Resampling.BICUBIC)
            if image.mode == "L":
                # Beside bright pixels it overshoots, and 0 is no data.
                image = image.point([1, *range(1, 256)])
            holes = Image.fromarray(missing).resize(size, Image.Resampling.NEAREST)
            image.paste(plain, mask=holes)
        image.save(self.folder / name, format="PNG", compress_level=6)


def prepare_labelling(
    config: LabellingTasksConfig, tell: Tell | None = None
) -> LabellingTasksSummary:
    """Make pictures to label, and the files that a labelling tool imports.

    The pictures are of one set of tones, so that the same ground looks the same in all of them.

    Args:
        config: Which images, which tool, and where the files go.
        tell: Told what was found.

    Raises:
        ConfigError: The folder holds something, several results are asked for, or Labelbox gets
            no address.
        BandNotFound: The images lack a colour.
        NoValidData: Nothing was observed.
        SourceError, GridMismatch: As for a scan.
    """
    job = _only_job(config)
    _check_request(config)
    gatherer = Gatherer(config, choose_sensor(config, []), tell)
    wanted = tuple(dict.fromkeys([*config.colours, *_WATER_BANDS]))
    images = gatherer.gather(job, wanted).images
    refuse_missing_bands(images.scenes, config.colours, wanted_by="--colours")
    shared = set.intersection(*(set(scene.bands) for scene in images.scenes))
    with_ndwi = shared.issuperset(_WATER_BANDS)
    bands = wanted if with_ndwi else tuple(dict.fromkeys(config.colours))
    geobox = _grid(config, job, images)
    # All files at once, or none.
    with telling_disk_errors(config.out), write_whole(config.out.absolute()) as stage:
        (stage / PICTURES).mkdir(parents=True)
        painter = _painter(config, images, bands, geobox, stage / PICTURES, with_ndwi=with_ndwi)
        tasks, blank, outside = _paint_all(config, job, painter, geobox, images.scenes)
        if not tasks:
            raise NoValidData(
                f"no picture has at least {config.least_observed:.0%} that was observed; check "
                "--nodata and the cloud layer, or use images of other dates"
            )
        _write_imports(config, tasks, stage, with_ndwi=with_ndwi)
        if config.out.is_dir():
            config.out.rmdir()
    return LabellingTasksSummary(
        pictures=len(tasks),
        blank=blank,
        outside=outside,
        width_px=tasks[0].place.width,
        height_px=tasks[0].place.height,
        ground_m=min(config.chip_px, geobox.shape.x) * float(abs(geobox.affine.a)),
        with_ndwi=with_ndwi,
        images=len(images.scenes),
    )


def summary_text(summary: LabellingTasksSummary, config: LabellingTasksConfig) -> str:
    """The outcome in words, and what to do next."""
    kinds = "colour and grey NDWI" if summary.with_ndwi else "colour"
    lines = [
        f"{summary.pictures} pictures ({kinds}) of {summary.ground_m:,.0f} m, from "
        f"{summary.images} images"
    ]
    if not summary.with_ndwi:
        lines.append("No NDWI: the images have no green and near infrared")
    if summary.blank:
        lines.append(
            f"{summary.blank} left out: less than {config.least_observed:.0%} was observed"
        )
    if summary.outside:
        lines.append(f"{summary.outside} left out: outside the area")
    out = config.out
    if config.tool == "label-studio":
        lines += [
            f"Paste {out / 'labelling.xml'} as the labelling interface, import {out / 'tasks.json'}"
            f", and let Label Studio serve {out / PICTURES}",
            f"Then: sluice labels import label-studio EXPORT.json --pictures {out} --out labels",
        ]
    else:
        lines += [
            f"Upload {out / PICTURES} to {config.address}, create the data rows of "
            f"{out / 'data-rows.ndjson'} and the ontology of {out / 'ontology.json'}",
            f"Then: sluice labels import labelbox EXPORT.ndjson --pictures {out} --out labels",
        ]
    return "\n".join(lines)


def _only_job(config: LabellingTasksConfig) -> Job:
    jobs = plan_jobs(config)
    if len(jobs) != 1:
        raise ConfigError(
            f"the areas and periods make {len(jobs)} sets of pictures; prepare them one by one"
        )
    return jobs[0]


def _check_request(config: LabellingTasksConfig) -> None:
    out = config.out
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out}: is not empty; give --out a new folder", href=str(out))
    if config.tool == "labelbox" and config.address is None:
        raise ConfigError(
            "--for labelbox needs --address: where Labelbox will find the pictures, such as "
            "https://storage.googleapis.com/bucket/pictures"
        )


def _grid(config: LabellingTasksConfig, job: Job, images: SceneImages) -> GeoBox:
    gsd_m = config.gsd_m or _finest_m(images, config.colours)
    if job.area is not None and job.period is not None:
        return area_grid(job.area, gsd_m)
    return scan_grid(images, gsd_m, job.area)


def _finest_m(images: SceneImages, colours: Sequence[str]) -> float:
    """The pixel side of the images' colours where they lie on a grid in metres."""
    sides = {
        round(float(files.bands[colour].geobox.affine.a), 3)
        for files in images.files
        for colour in colours
        if is_metric_north_up(files.bands[colour].geobox)
    }
    return min(sides, default=_USUAL_GSD_M)


def _painter(
    config: LabellingTasksConfig,
    images: SceneImages,
    bands: tuple[str, ...],
    geobox: GeoBox,
    folder: Path,
    *,
    with_ndwi: bool,
) -> _Painter:
    recipe = recipe_of(config)
    # What is counted in pixels means nothing on a coarse grid.
    coarse = replace(recipe, cloud_margin_px=0, guard=False, overcast_px=0)
    few = without_networks(clearest_scenes(images, geobox))
    whole = Compositor(few, bands, coarse)(preview_grid(geobox)).raster
    water = ndwi(whole.band("green"), whole.band("nir")) if with_ndwi else None
    return _Painter(
        compositor=Compositor(images, bands, recipe),
        veiled=_with_clouds(images, bands, recipe),
        colours=config.colours,
        colour_tones=tones_of(_bands(whole, config.colours), brightest_percent=_BRIGHTEST_PERCENT),
        ndwi_tones=grey_tones_of(water) if water is not None else None,
        enlarge=max(1, round(config.picture_px / config.chip_px)),
        folder=folder,
        least_observed=config.least_observed,
    )


def _with_clouds(images: SceneImages, bands: tuple[str, ...], recipe: Recipe) -> Compositor | None:
    if all(one.sky is None and one.scene.sky_layer is None for one in images.files):
        return None
    files = tuple(
        replace(one, sky=None, scene=one.scene.model_copy(update={"sky_layer": None}))
        for one in images.files
    )
    return Compositor(SceneImages(files), bands, recipe)


def _paint_all(
    config: LabellingTasksConfig,
    job: Job,
    painter: _Painter,
    geobox: GeoBox,
    scenes: Sequence[Scene],
) -> tuple[list[LabellingTask], int, int]:
    """The tasks, and how many pictures were blank and how many outside the area."""
    needed = needed_by(job.area, geobox)
    side = config.chip_px
    prefix = re.sub(r"[^A-Za-z0-9_-]+", "-", config.name or config.out.absolute().name)
    start, end = _days(job, scenes)
    # The last ones reach beyond the grid, so that all are of one size; a small image is one.
    height, width = (min(side, length) for length in geobox.shape.yx)
    corners = [(core.row, core.col) for core, _ in iter_tiles(geobox.shape.yx, side, 0)]
    parts = {
        f"{prefix}-{row:05}-{col:05}": PixelWindow(row, col, height, width).of(geobox)
        for row, col in corners
    }
    inside = {name: part for name, part in parts.items() if needed is None or needed(part)}
    workers = config.workers or min(_MOST_WORKERS, usable_cores())
    with ThreadPoolExecutor(workers) as pool:
        shares = list(pool.map(painter.paint, inside.keys(), inside.values()))
    tasks = []
    for (name, part), share in zip(inside.items(), shares, strict=True):
        if share is None:
            continue
        place = PicturePlace.of(
            name,
            part.zoom_out(1 / painter.enlarge),
            start=start,
            end=end,
            scenes=tuple(scene.id for scene in scenes),
            observed_percent=round(100 * share, 1),
        )
        (painter.folder / f"{name}.json").write_text(
            place.model_dump_json(indent=1) + "\n", encoding="utf-8"
        )
        tasks.append(LabellingTask(place, *_middle(part), painter.ndwi_tones is not None))
    return tasks, shares.count(None), len(parts) - len(inside)


def _write_imports(
    config: LabellingTasksConfig, tasks: Sequence[LabellingTask], stage: Path, *, with_ndwi: bool
) -> None:
    if config.tool == "label-studio":
        # Where Label Studio's local storage has it, if it is given the folder that holds `out`.
        usual = f"/data/local-files/?d={config.out.absolute().name}/{PICTURES}"
        texts = {
            "tasks.json": label_studio_tasks(tasks, config.address or usual),
            "labelling.xml": label_studio_config(config.classes, with_ndwi=with_ndwi),
        }
    else:
        texts = {
            "data-rows.ndjson": labelbox_rows(tasks, config.address or ""),
            "ontology.json": labelbox_ontology(config.classes),
        }
    for name, text in texts.items():
        (stage / name).write_text(text, encoding="utf-8")


def _bands(raster: Raster, names: Sequence[str]) -> npt.NDArray[np.float32]:
    return np.stack([raster.band(name) for name in names])


def _days(job: Job, scenes: Sequence[Scene]) -> tuple[dt.date | None, dt.date | None]:
    if job.period is not None:
        return job.period.start, job.period.end
    days = [scene.acquired for scene in scenes if scene.acquired is not None]
    return min(days, default=None), max(days, default=None)


def _middle(part: GeoBox) -> tuple[float, float]:
    box = part.boundingbox
    to_lonlat = pyproj.Transformer.from_crs(str(part.crs), "EPSG:4326", always_xy=True)
    lon, lat = to_lonlat.transform((box.left + box.right) / 2, (box.bottom + box.top) / 2)
    return float(lon), float(lat)
