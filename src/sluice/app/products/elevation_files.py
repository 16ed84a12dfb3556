"""The files of an elevation map: `elevation.tif`, a shaded preview, the record, a catalogue."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from odc.geo.geobox import GeoBox
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
from sluice.base.arrays import ArrayBHW, ArrayHW
from sluice.base.errors import NoValidData
from sluice.base.grid import PixelWindow
from sluice.base.records import ImageryRun, Record

ATTRIBUTION = (
    "Copernicus DEM GLO-30: (c) DLR e.V. 2010-2014 and (c) Airbus Defence and Space GmbH "
    "2014-2018, provided under COPERNICUS by the European Union and ESA; all rights reserved"
)
"""That its licence asks of whoever publishes it."""
STEEP_DEGREES = 15.0
_STAGE = "products"
_PREVIEW_PX = 1000
_LIGHT = np.array([-1.0, 1.0, 1.4]) / np.sqrt(1 + 1 + 1.4**2)
"""From the north-west and above: east, north, up."""
_HEIGHT_COLOURS = np.array(
    [(112, 150, 106), (172, 184, 122), (214, 192, 138), (176, 130, 92), (238, 232, 226)]
)
"""From the lowest to the highest."""
_ABSENT = (214, 226, 236)
"""Pale blue: sea, mostly."""


@dataclass(frozen=True)
class ElevationPaths:
    """Where the files of a finished map are."""

    folder: Path
    elevation: Path
    """COG, float32: metres above the EGM2008 geoid, and slope in degrees; NaN where none."""
    preview: Path
    run: Path


class ElevationSummary(Record):
    """The outcome: `summary` in `run.json`, and what `--json` prints."""

    area_ha: float
    not_observed_ha: float
    not_observed_percent: float
    """Without heights: sea, and countries whose heights are not public."""
    lowest_m: float
    highest_m: float
    """Of the rectangle that was read around the area."""
    steep_percent: float
    """Share of that with a slope of `STEEP_DEGREES` and more."""
    cells: tuple[str, ...]
    """Names of the cells that were read."""
    cells_missing: tuple[str, ...]
    """Names of cells that were not there."""
    attribution: str = ATTRIBUTION


@dataclass
class _Figures:
    """What is counted while tiles pass."""

    lowest: float = np.inf
    highest: float = -np.inf
    sloping: int = 0
    steep: int = 0

    def add(self, values: ArrayBHW) -> None:
        metres, slope = values
        if np.isfinite(metres).any():
            self.lowest = min(self.lowest, float(np.nanmin(metres)))
            self.highest = max(self.highest, float(np.nanmax(metres)))
        self.sloping += int(np.isfinite(slope).sum())
        self.steep += int((slope >= STEEP_DEGREES).sum())


def write_elevation(
    out_dir: Path,
    work: Path,
    geobox: GeoBox,
    tiles: Iterable[tuple[PixelWindow, ArrayBHW]],
    *,
    cells: Set[str],
    missing: Set[str],
    record: Callable[[], ImageryRun],
    area: BaseGeometry,
) -> tuple[ElevationPaths, ElevationSummary]:
    """Write tiles as they come, in hiding, then let the files land, `run.json` last.

    Args:
        out_dir: A folder that `open_output` accepted.
        work: What it gave.
        geobox: Grid of the whole, in UTM.
        tiles: Metres and degrees, (2, H, W); what is in none of them has no value.
        cells: Names of the cells over the area.
        missing: Those that are not there, complete once the tiles are through.
        record: Gives the record after that.
        area: In EPSG:4326.

    Raises:
        NoValidData: There is no height anywhere.
        RunFailed: The disk is full, or a file could not be written.
        SourceError: From the tiles.
    """
    with telling_disk_errors(out_dir):
        stage = work / _STAGE
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir(parents=True)
        plain = stage / "plain.tif"
        figures = _write_plain(plain, geobox, tiles)
        if figures.lowest > figures.highest:
            gone = sorted(cells & missing)
            raise NoValidData(
                "no height anywhere in the area: "
                + (
                    f"not there: {', '.join(gone)}; at sea, in a country whose heights are not "
                    "public, or not copied to the folder"
                    if gone
                    else "its cells are there and hold none; check the files"
                )
            )
        add_overviews(plain, Resampling.average)
        coverage = measure_coverage(plain, geobox, area=area)
        _write_preview(plain, stage / layout.PREVIEW)
        compress(plain, stage / layout.ELEVATION)
        plain.unlink()
        summary = _summarise(figures, coverage, cells, missing)
        run = record().model_copy(update={"summary": summary.model_dump(mode="json")})
        write_run(run, stage / layout.RUN)
        files = {n: stage / n for n in (layout.ELEVATION, layout.PREVIEW, layout.RUN)}
        product = Product("Elevation and slope", f"Elevation and slope. {ATTRIBUTION}.", None, None)
        write_stac(stage, files, run=run, product=product, geobox=geobox)
        files |= {name: stage / name for name in (layout.ITEM, layout.CATALOGUE)}
        land(files, out_dir)
    paths = ElevationPaths(
        out_dir, out_dir / layout.ELEVATION, out_dir / layout.PREVIEW, out_dir / layout.RUN
    )
    return paths, summary


def elevation_text(summary: ElevationSummary) -> str:
    """Say it in plain language."""
    lines = [
        f"Elevation from {summary.lowest_m:,.0f} to {summary.highest_m:,.0f} m in the rectangle "
        f"around the area; {percent(summary.steep_percent)} of it slopes {STEEP_DEGREES:g} degrees "
        "or more.",
        f"{summary.area_ha:,.0f} ha, without heights: {percent(summary.not_observed_percent)} of "
        f"it, {summary.not_observed_ha:,.0f} ha.",
        *(
            [f"Cells that are not there: {', '.join(summary.cells_missing)}."]
            if summary.cells_missing
            else []
        ),
        f"{summary.attribution}.",
    ]
    return "\n".join(lines)


def _write_plain(
    path: Path, geobox: GeoBox, tiles: Iterable[tuple[PixelWindow, ArrayBHW]]
) -> _Figures:
    figures = _Figures()
    with (
        rasterio.Env(GDAL_CACHEMAX=256 * 2**20),
        rasterio.open(
            path,
            "w",
            driver="GTiff",
            height=geobox.shape.y,
            width=geobox.shape.x,
            count=2,
            dtype="float32",
            nodata=np.nan,
            crs=str(geobox.crs),
            transform=geobox.affine,
            tiled=True,
            blockxsize=BLOCK_PX,
            blockysize=BLOCK_PX,
            interleave="band",
            bigtiff="if_safer",
        ) as target,
    ):
        target.descriptions, target.units = ("elevation", "slope"), ("m", "deg")
        target.update_tags(TIFFTAG_SOFTWARE="Sluice", TIFFTAG_COPYRIGHT=ATTRIBUTION)
        for window, values in tiles:
            place = Window(window.col, window.row, window.width, window.height)
            target.write(values, window=place)
            figures.add(values)
    return figures


def _summarise(
    figures: _Figures, coverage: Coverage, cells: Set[str], missing: Set[str]
) -> ElevationSummary:
    return ElevationSummary(
        area_ha=round(coverage.area_ha, 1),
        not_observed_ha=round(coverage.not_observed_ha, 1),
        not_observed_percent=round(coverage.not_observed_percent, 2),
        lowest_m=round(figures.lowest, 1),
        highest_m=round(figures.highest, 1),
        steep_percent=round(100 * figures.steep / max(1, figures.sloping), 2),
        cells=tuple(sorted(cells - missing)),
        cells_missing=tuple(sorted(cells & missing)),
    )


def _write_preview(elevation: Path, preview: Path) -> None:
    """Heights in colour, shaded as by a sun in the north-west."""
    with rasterio.open(elevation) as source:
        shrink = max(1.0, max(source.shape) / _PREVIEW_PX)
        shape = tuple(max(1, round(side / shrink)) for side in source.shape)
        metres = source.read(1, out_shape=shape, resampling=Resampling.average)
        pixel_m = source.transform.a * shrink
    absent = np.isnan(metres)
    picture = _colours(metres) * _shade(metres, pixel_m)[..., None]
    picture[absent] = _ABSENT
    Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(preview, compress_level=3)


def _colours(metres: ArrayHW) -> npt.NDArray[np.float64]:
    low, high = np.nanquantile(metres, [0.02, 0.98])
    share = np.clip((metres - low) / max(1.0, high - low), 0, 1) * (len(_HEIGHT_COLOURS) - 1)
    steps = np.arange(len(_HEIGHT_COLOURS))
    return np.stack([np.interp(share, steps, colour) for colour in _HEIGHT_COLOURS.T], axis=-1)


def _shade(metres: ArrayHW, pixel_m: float) -> npt.NDArray[np.float64]:
    """0.35 (in shadow) to about 1.2; flat ground 0.95."""
    if min(metres.shape) < 2:
        return np.ones(metres.shape)
    south, east = np.gradient(metres.astype(np.float64), pixel_m)
    # Flat country would show nothing, so slopes are drawn steeper there.
    steepest = float(np.nanquantile(np.hypot(south, east), 0.98)) if np.isfinite(south).any() else 1
    exaggeration = np.clip(0.6 / max(steepest, 1e-6), 1, 8)
    east, south = east * exaggeration, south * exaggeration
    light = (-east * _LIGHT[0] + south * _LIGHT[1] + _LIGHT[2]) / np.sqrt(1 + east**2 + south**2)
    return np.asarray(np.nan_to_num(0.35 + 0.6 * np.clip(light, 0, None) / _LIGHT[2], nan=0.95))
