"""Phantom series as quarterly scans see them: what each place looks like time after time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from sluice.base.arrays import ArrayBHW, ArrayHW, ArrayTHW, BoolHW, BoolTHW
from sluice.base.errors import ManifestMismatch
from sluice.base.periods import Period, split_period
from sluice.base.raster import Raster
from sluice.base.windows import ScoredWindows, WindowLattice
from sluice.composite.adapt import adapt_bands
from sluice.composite.clear import classify_sky, sort_sky
from sluice.composite.reduce import median_of_clear
from sluice.composite.sar import filter_series, reduce_backscatter
from sluice.models.package import ModelPackage, load_package
from sluice.models.pixels import PixelPredictor
from sluice.models.predictor import WindowPredictor
from sluice.phantom.radar import radar_scene, spread_passes
from sluice.phantom.series import PhantomSeries, build_series
from sluice.scan.blend import blend
from sluice.scan.cells import cell_axes
from sluice.sites.vectorise import vectorise

SPAN = Period(dt.date(2021, 1, 1), dt.date(2022, 12, 31))
QUARTERS = tuple(split_period(SPAN, "quarter"))
SIZE_PX, MINES, DATES = 600, 10, 3
"""Side of a landscape, mines planted, Sentinel-2 dates in a quarter."""
CLOUD_SHARES = (0.0, 0.3, 0.6)
"""Of the dates of a quarter, in an order that changes."""
_CLOUD_MARGIN_PX = 2  # as a scan widens clouds
_CELL_PX = 2  # of `radar-drop`


@dataclass(frozen=True)
class Scans:
    """What quarterly scans of one landscape gave."""

    series: PhantomSeries
    score_thw: ArrayTHW
    """(quarters, H, W) of cells, blended; NaN = not observed."""
    log_lr_thw: ArrayTHW
    marked_thw: BoolTHW
    """Cells that the main threshold marks."""
    geobox: GeoBox
    """Grid of the cells."""
    detections: tuple[gpd.GeoDataFrame, ...]
    """Of each quarter, in the series' CRS."""

    def mines_of(self, quarter: int) -> gpd.GeoDataFrame:
        """Mines on the quarter's last day."""
        return self.series.mines_at(QUARTERS[quarter].end)


def draw_series(seed: int, size_px: int = SIZE_PX) -> PhantomSeries:
    """A landscape seen three times in each quarter."""
    rng = np.random.default_rng(seed)
    dates, clouds = [], []
    for quarter in QUARTERS:
        length = (quarter.end - quarter.start).days
        days = [int((number + 0.5) * length / DATES) for number in range(DATES)]
        dates += [quarter.start + dt.timedelta(days=day) for day in days]
        clouds += list(rng.permutation(CLOUD_SHARES))
    return build_series(seed, size_px, dates, mine_count=MINES, cloud_shares=clouds)


def scan_quarters(seed: int, package: ModelPackage, size_px: int = SIZE_PX) -> Scans:
    """Composites of the clear looks of each quarter, scored as a scan does.

    Args:
        seed: Of the landscape.
        package: A calibrated model of windows.
        size_px: Side of the landscape.
    """
    series, manifest = draw_series(seed, size_px), package.manifest
    predictor = WindowPredictor(package)
    if manifest.calibration is None:
        raise ManifestMismatch(f"model {package.name} has no calibration; prove one that has")
    scores, grids, found = [], [], []
    for number, _ in enumerate(QUARTERS):
        raster = _composite(series, number, package)
        windows = _score(raster, predictor)
        blended = blend(windows, _seen(raster.valid, windows.lattice))
        sites = vectorise(blended.scores, blended.geobox, windows, manifest.thresholds)
        scores.append(blended.scores)
        grids.append(blended.geobox)
        found.append(sites.to_crs(str(series.geobox.crs)))
    score = np.stack(scores)
    chance = manifest.calibration.probability(score, 0.5).astype(np.float64)
    log_lr = np.log(chance / (1 - chance)).astype(np.float32)
    return Scans(series, score, log_lr, score >= manifest.thresholds.t_main, grids[0], tuple(found))


def _composite(series: PhantomSeries, number: int, package: ModelPackage) -> Raster:
    bands = tuple(dict.fromkeys(each.band for each in package.manifest.inputs))
    seen, clear = [], []
    for index in range(DATES * number, DATES * (number + 1)):
        scene = series.scene_at(index, bands)
        sky = classify_sky("scl", scene.scl_hw.astype(np.float32))
        seen.append(scene.raster.data_bhw)
        clear.append(sort_sky(sky, grow_px=_CLOUD_MARGIN_PX).clear)
    image: ArrayBHW = median_of_clear(np.stack(seen), np.stack(clear))[0]
    lines = package.manifest.adaptation_for("s2-l2a")
    return Raster(adapt_bands(image, lines) if lines else image, bands, series.geobox)


def _score(raster: Raster, predictor: WindowPredictor) -> ScoredWindows:
    manifest = predictor.package.manifest
    stride = round(manifest.stride_m / manifest.gsd_m)
    lattice = WindowLattice(raster.geobox.shape.yx, manifest.window_px, stride)
    scores = predictor.score_windows(raster, lattice.rows.tolist(), lattice.cols.tolist())
    return ScoredWindows(lattice, scores, raster.geobox)


def _seen(valid: BoolHW, lattice: WindowLattice) -> BoolHW:
    """Cells of which at least half the pixels are valid, as a scan asks for."""
    rows, cols = (axis.edges(0, axis.count) for axis in cell_axes(lattice))
    down = np.add.reduceat(valid[: rows[-1], : cols[-1]], rows[:-1], axis=0, dtype=np.int32)
    count = np.add.reduceat(down, cols[:-1], axis=1)
    pixels = np.outer(np.maximum(np.diff(rows), 1), np.maximum(np.diff(cols), 1))
    return np.asarray(2 * count >= pixels)


def scan_radar(series: PhantomSeries, quarters: Sequence[int]) -> dict[int, ArrayHW]:
    """Scores of `radar-drop` on its cells, for each quarter against the one before.

    Args:
        series: A landscape.
        quarters: Numbers of `QUARTERS`, from 1.
    """
    predictor = PixelPredictor(load_package("radar-drop", None))
    least = {number: _least(series, number) for number in {n - d for n in quarters for d in (0, 1)}}
    found = {}
    for number in quarters:
        chip = np.concatenate([least[number], least[number - 1]])
        marked = predictor.classify_chips(chip[np.newaxis], predictor.package.manifest.bands)[0, 1]
        height, width = (side // _CELL_PX for side in marked.shape)
        found[number] = marked.reshape(height, _CELL_PX, width, _CELL_PX).mean(axis=(1, 3))
    return found


def radar_grid(series: PhantomSeries) -> GeoBox:
    """Grid of the cells of `scan_radar`."""
    height, width = (side // _CELL_PX for side in series.geobox.shape.yx)
    return GeoBox((height, width), series.geobox.affine * Affine.scale(_CELL_PX), series.geobox.crs)


def _least(series: PhantomSeries, number: int) -> ArrayBHW:
    """Least VV and VH of a quarter in dB, descending passes, speckle smoothed as in a scan."""
    quarter = QUARTERS[number]
    flown = [
        each
        for each in spread_passes(SPAN.start, SPAN.end)
        if each.orbit_state == "descending" and each.acquired_at.date() in quarter
    ]
    power = np.stack([radar_scene(series, each).gamma0_bhw for each in flown])
    for band in range(power.shape[1]):
        power[:, band] = filter_series(power[:, band])
    return reduce_backscatter(power, "minimum")[0]


def sites_of(scans: Scans) -> gpd.GeoDataFrame:
    """Places in which something was detected in any quarter, the outlines of all that touch.

    Returns:
        `kind`: `mine` where it touches one that was there in any quarter, else the confuser that
        covers most of it, else `background`; `geometry` in the series' CRS.
    """
    crs = str(scans.series.geobox.crs)
    every = [shape for table in scans.detections for shape in table.geometry]
    if not every:
        return gpd.GeoDataFrame({"kind": []}, geometry=gpd.GeoSeries([], crs=crs), crs=crs)
    whole = shapely.union_all(shapely.buffer(every, 1.0, join_style="mitre"))
    shapes = gpd.GeoSeries(list(shapely.get_parts(whole)), crs=crs)
    return gpd.GeoDataFrame({"kind": kinds_of(scans, shapes)}, geometry=shapes, crs=crs)


def kinds_of(scans: Scans, shapes: gpd.GeoSeries) -> list[str]:
    """What lies under each shape: see `sites_of`."""
    mines = shapely.union_all(
        [shape for number, _ in enumerate(QUARTERS) for shape in scans.mines_of(number).geometry]
    )
    confusers = scans.series.confusers
    kinds = []
    for shape in shapes:
        overlap = confusers.geometry.intersection(shape).area
        by_kind = overlap.groupby(confusers["kind"]).sum()
        if shape.intersects(mines):
            kinds.append("mine")
        elif by_kind.empty or by_kind.max() <= 0:
            kinds.append("background")
        else:
            kinds.append(str(by_kind.idxmax()))
    return kinds
