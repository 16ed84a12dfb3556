"""The files of a composite: `composite.tif`, `looks.tif`, a preview, the record, a catalogue."""

from __future__ import annotations

import contextlib
import datetime as dt
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from PIL import Image
from rasterio.enums import Resampling
from rasterio.windows import Window
from shapely.geometry.base import BaseGeometry

from sluice.app.products import layout
from sluice.app.products.catalogue import Product, write_stac
from sluice.app.products.cog import BLOCK_PX, add_overviews, compress
from sluice.app.products.coverage import Coverage, measure_coverage
from sluice.app.products.landing import land, telling_disk_errors
from sluice.app.products.run_record import write_run
from sluice.app.products.summary import percent
from sluice.base.records import ImageryRun, Record, Scene, TileStatus
from sluice.imagery.names import COMPOSED, SENSOR_TAG, SKY_TAG
from sluice.scan.composing import LayerTiles

LAYER_NODATA = -32768
LOOKS_NODATA = 65535
_STAGE = "products"
_PREVIEW_PX = 1000
_BRIGHTEST_SHARE = 0.98
_ABSENT = (214, 150, 200)
"""Pink: nothing on the ground looks so, as white sand, cloud and paper do."""
_GAMMA = 0.7
"""Brightens forest, which is dark beside bare ground."""
_STRETCH_STEP = 7
"""Every so many pixels are looked at to choose what is black and what is white."""
_RADAR_DB = {
    "vv": (-20.0, 0.0),
    "vh": (-27.0, -7.0),
    "vv_drop": (-3.0, 6.0),
    "vh_drop": (-3.0, 6.0),
}


@dataclass(frozen=True)
class CompositePaths:
    """Where the files of a finished composite are."""

    folder: Path
    composite: Path
    """COG, int16 with scale, one band for each layer, NaN as -32768."""
    looks: Path
    """COG, uint16: clear looks, and the last one's day since 1970-01-01 (65535 = none)."""
    preview: Path
    run: Path


class CompositeSummary(Record):
    """The outcome of a composite: `summary` in `run.json`, and what `--json` prints."""

    layers: tuple[str, ...]
    area_ha: float
    not_observed_ha: float
    not_observed_percent: float
    """With fewer clear looks than asked for."""
    looks_median: float
    """Clear looks, of the pixels that are observed."""
    images: int
    images_left_out: int
    images_without_cloud_layer: int
    """Optical images in which cloud was not looked for."""
    first_date: dt.date | None
    last_date: dt.date | None
    tiles: int
    tiles_failed: int


def write_composite(
    out_dir: Path,
    tiles: LayerTiles,
    run: ImageryRun,
    *,
    layers: Sequence[str],
    scale: float,
    area: BaseGeometry | None,
) -> tuple[CompositePaths, CompositeSummary]:
    """Put the tiles together in hiding, then let the files land, `run.json` last.

    Args:
        out_dir: A folder that `open_output` accepted.
        tiles: Finished ones; those that are missing become no data.
        run: Its `summary` is filled in here.
        layers: Names of the bands, in order.
        scale: Value of one count.
        area: In EPSG:4326, the part that was asked for; the whole grid if None.

    Raises:
        RunFailed: The disk is full, or a file could not be written.
        ConfigError: The folder cannot be written.
    """
    with telling_disk_errors(out_dir):
        stage = out_dir / layout.WORK_FOLDER / _STAGE
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir(parents=True)
        tags = {"run": run.run_id, "period": run.period or "", "TIFFTAG_SOFTWARE": "Sluice"}
        tags |= composite_tags(run.scenes)
        with _image_files(stage, tiles, layers, scale, tags) as (plain, histogram):
            # Looked at before it is compressed, or while it is.
            coverage = measure_coverage(plain, tiles.geobox, area=area)
            _write_preview(plain, stage / layout.PREVIEW, layers, scale)
        summary = _summarise(run, layers, coverage, histogram)
        run = run.model_copy(update={"summary": summary.model_dump(mode="json")})
        write_run(run, stage / layout.RUN)
        names = (layout.COMPOSITE, layout.LOOKS, layout.PREVIEW, layout.RUN)
        files = {name: stage / name for name in names}
        write_stac(stage, files, run=run, product=_product(summary), geobox=tiles.geobox)
        files |= {name: stage / name for name in (layout.ITEM, layout.CATALOGUE)}
        land(files, out_dir)
    paths = CompositePaths(
        out_dir,
        out_dir / layout.COMPOSITE,
        out_dir / layout.LOOKS,
        out_dir / layout.PREVIEW,
        out_dir / layout.RUN,
    )
    return paths, summary


def write_image(
    stage: Path, tiles: LayerTiles, layers: Sequence[str], scale: float, tags: dict[str, str]
) -> None:
    """Write `composite.tif` and `looks.tif` of finished tiles.

    Args:
        stage: Folder that is there.
        tiles: Those that are missing become no data.
        layers: Names of the bands, in order.
        scale: Value of one count.
        tags: Of both files.

    Raises:
        OSError, RasterioError: They cannot be written.
    """
    with _image_files(stage, tiles, layers, scale, tags):
        pass


@contextlib.contextmanager
def _image_files(
    stage: Path, tiles: LayerTiles, layers: Sequence[str], scale: float, tags: dict[str, str]
) -> Iterator[tuple[Path, np.ndarray]]:
    """Write both files; within, the image lies uncompressed, and the looks have been counted."""
    plain, plain_looks = stage / "plain.tif", stage / "plain-looks.tif"
    histogram = _write_plain(tiles, (plain, plain_looks), layers, scale, tags)
    add_overviews(plain, Resampling.average)
    add_overviews(plain_looks, Resampling.nearest)
    with ThreadPoolExecutor(1, thread_name_prefix="compress") as background:
        compressed = [
            background.submit(compress, plain, stage / layout.COMPOSITE),
            background.submit(compress, plain_looks, stage / layout.LOOKS),
        ]
        yield plain, histogram
    for done in compressed:
        done.result()
    plain.unlink()
    plain_looks.unlink()


def composite_tags(scenes: Sequence[Scene]) -> dict[str, str]:
    """What a scan of the file must know: its level, and that clouds are gone from it."""
    sensors = {scene.sensor for scene in scenes}
    tags = {SENSOR_TAG: sensors.pop() or ""} if len(sensors) == 1 else {}
    if all(scene.sky_layer is not None or scene.sensor == "s1" for scene in scenes):
        tags[SKY_TAG] = COMPOSED
    return tags


def composite_text(summary: CompositeSummary) -> str:
    """Say it in plain language."""
    dates = f"{summary.first_date} to {summary.last_date}" if summary.first_date else "unknown date"
    lines = [
        f"Composite of {_images(summary)}, {dates}: {', '.join(summary.layers)}.",
        f"{summary.area_ha:,.0f} ha, clear looks in the median: {summary.looks_median:g}.",
        f"Not observed (cloud, no image, or unreadable): {percent(summary.not_observed_percent)} "
        f"of it, {summary.not_observed_ha:,.0f} ha.",
    ]
    if summary.images_without_cloud_layer:
        lines.append(
            f"No cloud layer for {summary.images_without_cloud_layer} of {summary.images} images: "
            "cloud there counts as clear."
        )
    if summary.images_left_out:
        lines.append(
            f"{summary.images_left_out} images were left out, or not used everywhere; "
            "run.json says why."
        )
    if summary.tiles_failed:
        lines.append(
            f"{summary.tiles_failed:,} of {summary.tiles:,} parts of the area failed; "
            "run.json says why."
        )
    return "\n".join(lines)


def _write_plain(
    tiles: LayerTiles,
    paths: tuple[Path, Path],
    layers: Sequence[str],
    scale: float,
    tags: dict[str, str],
) -> np.ndarray:
    """Write both rasters uncompressed; how many observed pixels have each number of looks."""
    plain, plain_looks = paths
    geobox = tiles.geobox
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "height": geobox.shape.y,
        "width": geobox.shape.x,
        "crs": str(geobox.crs),
        "transform": geobox.affine,
        "tiled": True,
        "blockxsize": BLOCK_PX,
        "blockysize": BLOCK_PX,
        "interleave": "band",
        "bigtiff": "if_safer",
        "sparse_ok": False,
    }
    histogram = np.zeros(65536, np.int64)
    with (
        rasterio.Env(GDAL_CACHEMAX=256 * 2**20),
        rasterio.open(
            plain, "w", count=len(layers), dtype="int16", nodata=LAYER_NODATA, **profile
        ) as image,
        rasterio.open(
            plain_looks, "w", count=2, dtype="uint16", nodata=LOOKS_NODATA, **profile
        ) as looks,
    ):
        image.descriptions, looks.descriptions = tuple(layers), ("looks", "last_look")
        image.scales = (scale,) * len(layers)
        for target in (image, looks):
            target.update_tags(**tags)
        looks.update_tags(2, unit="days since 1970-01-01")
        for window, data, counts in tiles.arrays():
            place = Window(window.col, window.row, window.width, window.height)
            image.write(data, window=place)
            looks.write(counts, window=place)
            seen = (data != LAYER_NODATA).all(axis=0)
            histogram += np.bincount(counts[0][seen], minlength=65536)
    return histogram


def _summarise(
    run: ImageryRun, layers: Sequence[str], coverage: Coverage, histogram: np.ndarray
) -> CompositeSummary:
    dates = [scene.acquired for scene in run.scenes if scene.acquired is not None]
    cumulative = histogram.cumsum()
    return CompositeSummary(
        layers=tuple(layers),
        area_ha=round(coverage.area_ha, 1),
        not_observed_ha=round(coverage.not_observed_ha, 1),
        not_observed_percent=round(coverage.not_observed_percent, 2),
        looks_median=float(np.searchsorted(cumulative, (cumulative[-1] + 1) // 2)),
        images=len(run.scenes),
        images_without_cloud_layer=sum(
            scene.sky_layer is None and scene.sensor != "s1" for scene in run.scenes
        ),
        images_left_out=len({left_out.scene_id for left_out in run.left_out}),
        first_date=min(dates, default=None),
        last_date=max(dates, default=None),
        tiles=len(run.tiles),
        tiles_failed=sum(tile.status is TileStatus.FAILED for tile in run.tiles),
    )


def _images(summary: CompositeSummary) -> str:
    return "1 image" if summary.images == 1 else f"{summary.images} images"


def _product(summary: CompositeSummary) -> Product:
    return Product(
        title="Composite image",
        description=f"Composite of {_images(summary)}: {', '.join(summary.layers)}.",
        first_date=summary.first_date,
        last_date=summary.last_date,
    )


def _write_preview(composite: Path, preview: Path, layers: Sequence[str], scale: float) -> None:
    """True colour where there is, else the first three layers; pink is not observed."""
    colours = [layers.index(c) for c in ("red", "green", "blue") if c in layers]
    chosen = colours if len(colours) == 3 else [*range(min(3, len(layers)))]
    chosen = chosen if len(chosen) == 3 else [chosen[0]] * 3
    with rasterio.open(composite) as source:
        shrink = max(1.0, max(source.shape) / _PREVIEW_PX)
        shape = tuple(max(1, round(side / shrink)) for side in source.shape)
        counts = source.read(
            [k + 1 for k in chosen], out_shape=(3, *shape), resampling=Resampling.average
        )
    absent = (counts == LAYER_NODATA).any(axis=0)
    picture = np.empty((3, *shape), np.uint8)
    picture[:] = np.array(_ABSENT, np.uint8)[:, None, None]
    if not absent.all():
        some = counts[:, ~absent][:, ::_STRETCH_STEP] * np.float32(scale)
        # What each count is shown as, by its bits.
        values = np.arange(65536, dtype=np.uint16).view(np.int16) * np.float32(scale)
        for k, band in enumerate(chosen):
            low, high = _stretch(some[k], layers[band], joint=some)
            shown = np.clip((values - low) / max(1e-6, high - low), 0, 1) ** _GAMMA * 235
            bright = shown.astype(np.uint8).take(counts[k].view(np.uint16))
            picture[k] = np.where(absent, _ABSENT[k], bright)
    Image.fromarray(picture.transpose(1, 2, 0)).save(preview, compress_level=3)


def _stretch(values: np.ndarray, layer: str, *, joint: np.ndarray) -> tuple[float, float]:
    if layer in _RADAR_DB:
        return _RADAR_DB[layer]
    if layer in {"red", "green", "blue"}:
        # One stretch for all colours keeps their balance.
        return 0.0, max(0.1, float(np.quantile(joint, _BRIGHTEST_SHARE)))
    low, high = np.quantile(values, [0.02, _BRIGHTEST_SHARE])
    return float(low), float(high)
