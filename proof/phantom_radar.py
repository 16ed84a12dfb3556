"""The radar threshold under full cloud, on phantom series with known new ponds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
from odc.geo.geobox import GeoBox
from rasterio import features
from rasterio.transform import rowcol

from proof.markdown import spell, to_table
from proof.phantom_landscapes import BANDS, SIZE_PX
from sluice.app.config import ScanConfig, make_config
from sluice.app.workflows import scan
from sluice.base.arrays import BoolHW
from sluice.base.errors import NoValidData
from sluice.base.files import open_raster
from sluice.evaluation.bootstrap import Estimate, Statistic, bootstrap_estimates
from sluice.evaluation.metrics import ratio
from sluice.models.package import ModelPackage
from sluice.phantom.catalogue import write_catalogue
from sluice.phantom.compare import MIN_FOUND_SHARE, compare_with_truth, observed_area
from sluice.phantom.radar import spread_passes
from sluice.phantom.series import PhantomSeries, build_series, spread_dates
from sluice.phantom.spectra import BARE, WATER

SEEDS = (3401, 3402, 3403, 3404, 3405)
"""Landscapes that no network saw, and not those of the optical test either."""
BEFORE_END, END = date(2022, 6, 30), date(2022, 12, 31)
"""Last days of the two half-years that are compared."""
_OPTICAL_DATES = spread_dates(date(2022, 7, 4), 4, 60)  # the last is `END`
_PASSES = tuple(
    flown
    for flown in spread_passes(date(2022, 1, 1), END)
    # Over much of the tropics only one direction is flown.
    if flown.orbit_state == "descending"
)
_MINES = 10
_LEAST_SITE_HA = 0.2
_LEAST_POND_PX = 10
_THRESHOLD = 0.5
_KM2_OF_PX = 1e-4

_COUNTED = ("seen", "marked", "pond", "pond_marked", "dug", "dug_marked", "off_mines")
"""Pixels: observed; marked; new ponds; new ponds or bare ground of mines; and those marked;
marked beyond the outlines of mines."""


@dataclass(frozen=True)
class RadarResult:
    """What the threshold said of one landscape."""

    seed: int
    pixels: dict[str, int]
    """By `_COUNTED`."""
    mines: int
    """With new ponds of at least `_LEAST_POND_PX` pixels."""
    mines_found: int
    sites: int
    false_sites: int
    """Sites of the scan that touch no mine."""
    false_on: Counter[str]
    """Number of false sites by what they lie on."""
    optical_observed: float
    """Share of the landscape that an optical model could judge in the same half-year."""
    marked_hw: BoolHW
    pond_hw: BoolHW
    dug_hw: BoolHW


def measure_radar(
    seed: int, optical: ModelPackage, work: Path, size_px: int = SIZE_PX
) -> RadarResult:
    """Scan one overcast series with `radar-drop`, and with an optical model beside it.

    Args:
        seed: Of the landscape.
        optical: A model of Sentinel-2 to ask as well.
        work: An empty folder for catalogue and maps.
        size_px: Side of the landscape.
    """
    # The first date begins the mines' histories.
    dates = (date(2022, 1, 4), *_OPTICAL_DATES)
    series = build_series(seed, size_px, dates, mine_count=_MINES, cloud_shares=(1.0,) * len(dates))
    catalog = write_catalogue(
        series, work / "catalogue", bands=BANDS, levels=("l2a", "s1"), radar_passes=_PASSES
    )
    area = work / "area.gpkg"
    ground = shapely.box(*series.geobox.boundingbox.bbox)
    gpd.GeoSeries([ground], crs=str(series.geobox.crs)).to_file(area)
    config = make_config(
        ScanConfig,
        model="radar-drop",
        area=str(area),
        source=str(catalog),
        every="half-year",
        first="2022-01",
        last="2022-12",
        out=work / "radar",
        min_footprint_ha=_LEAST_SITE_HA,
        outlines="none",
        workers=1,
    )
    finished = scan(config)
    score = scores_on(series.geobox, finished.paths.score)
    asked = {"model": str(optical.folder), "first": "2022-07", "every": "none"}
    observed = _observed_by(
        config.model_copy(update={**asked, "out": work / "optical"}), series.geobox
    )
    return _compare(series, score, gpd.read_parquet(finished.paths.sites_parquet), observed)


def scores_on(geobox: GeoBox, path: Path) -> npt.NDArray[np.float32]:
    """The score of the cell in which each pixel's centre lies, NaN beyond the map."""
    with open_raster(path) as file:
        cells, transform = file.read(1), file.transform
    height, width = geobox.shape.yx
    a = geobox.affine
    rows, _ = rowcol(transform, np.full(height, a.c), a.f + a.e * (np.arange(height) + 0.5))
    _, cols = rowcol(transform, a.c + a.a * (np.arange(width) + 0.5), np.full(width, a.f))
    inside = [
        (np.asarray(index) >= 0) & (np.asarray(index) < size)
        for index, size in zip((rows, cols), cells.shape, strict=True)
    ]
    found = cells[np.ix_(np.clip(rows, 0, len(cells) - 1), np.clip(cols, 0, cells.shape[1] - 1))]
    return np.where(np.logical_and.outer(*inside), found, np.float32(np.nan))


def _observed_by(config: ScanConfig, geobox: GeoBox) -> float:
    """Share of a landscape that a scan can judge."""
    try:
        finished = scan(config)
    except NoValidData:
        return 0.0
    return float(np.isfinite(scores_on(geobox, finished.paths.score)).mean())


def new_ground(series: PhantomSeries) -> tuple[BoolHW, BoolHW]:
    """Ponds, and ponds or bare ground, that are there at the end and were not half a year before.

    Only mines change their ground in a series.
    """
    before, after = (series.ground_at(day, ["B11"])[1] for day in (BEFORE_END, END))
    pond = (after == WATER) & (before != WATER)
    bare = (after == BARE) & ~np.isin(before, (WATER, BARE))
    return pond, pond | bare


def _compare(
    series: PhantomSeries,
    score: npt.NDArray[np.float32],
    sites: gpd.GeoDataFrame,
    optical_observed: float,
) -> RadarResult:
    seen = np.isfinite(score)
    marked = np.where(seen, score, 0) >= _THRESHOLD
    pond, dug = (ground & seen for ground in new_ground(series))
    mines, found = series.mines_at(END), []
    mined = np.zeros_like(seen)
    for shape in mines.geometry:
        inside = features.rasterize([shape], pond.shape, transform=series.geobox.affine) > 0
        mined |= inside
        wet = pond & inside
        if wet.sum() >= _LEAST_POND_PX:
            found.append(bool((wet & marked).sum() >= MIN_FOUND_SHARE * wet.sum()))
    layers = (seen, marked, pond, pond & marked, dug, dug & marked, marked & ~mined)
    observed = observed_area(seen, series.geobox)
    truth = compare_with_truth(sites, mines, series.confusers, observed)
    return RadarResult(
        seed=series.seed,
        pixels={name: int(layer.sum()) for name, layer in zip(_COUNTED, layers, strict=True)},
        mines=len(found),
        mines_found=sum(found),
        sites=truth.detections,
        false_sites=truth.detections - truth.true_detections,
        false_on=Counter({alarm.kind: alarm.count for alarm in truth.false_alarms}),
        optical_observed=optical_observed,
        marked_hw=marked,
        pond_hw=pond,
        dug_hw=dug,
    )


def radar_table(results: list[RadarResult]) -> str:
    """Figures of all landscapes together, with intervals over landscapes, and what they mean."""
    found = _estimates(results)
    mines, hit = (sum(getattr(r, name) for r in results) for name in ("mines", "mines_found"))
    false_on = sum((r.false_on for r in results), Counter[str]())
    kinds = ", ".join(f"{kind.replace('_', ' ')} {count}" for kind, count in false_on.most_common())
    # No resample of nothing has an interval; how much was looked at tells how little it says.
    km2 = sum(r.pixels["seen"] for r in results) * _KM2_OF_PX
    observed = 100 * np.mean([r.optical_observed for r in results])
    rows = [
        ["mines with new ponds found", f"{spell(found['mines'])} ({hit} of {mines})"],
        ["new ponds marked, share of area", spell(found["pond_recall"])],
        ["IoU with new ponds", spell(found["pond_iou"])],
        ["new ponds and bare ground marked, share of area", spell(found["dug_recall"])],
        ["IoU with new ponds and bare ground", spell(found["dug_iou"])],
        ["marked ground that is neither, share of area", spell(found["elsewhere"])],
        ["marked beyond mines' outlines, ha per 100 km²", spell(found["off_mines"], 1)],
        [
            f"false alarms of {_LEAST_SITE_HA} ha and more per 100 km²",
            f"{spell(found['alarms'], 1)} (on {kinds})" if kinds else f"none on {km2:.0f} km²",
        ],
        ["seen by optical models", f"{observed:.0f} %"],
    ]
    return to_table(["`radar-drop` under full cloud", ""], rows)


def _estimates(results: list[RadarResult]) -> dict[str, Estimate]:
    table = pd.DataFrame([r.pixels for r in results]).astype(np.float64)
    table["pond_or_marked"] = table["pond"] + table["marked"] - table["pond_marked"]
    table["dug_or_marked"] = table["dug"] + table["marked"] - table["dug_marked"]
    table["elsewhere"] = table["marked"] - table["dug_marked"]
    table["off_mines_ha"] = table["off_mines"] / 100
    table["hundred_km2"] = table["seen"] * _KM2_OF_PX / 100
    for name in ("mines", "mines_found", "false_sites"):
        table[name] = [getattr(r, name) for r in results]

    def ratio_of(part: str, whole: str) -> Statistic:
        return lambda weights: ratio(weights @ table[part], weights @ table[whole])

    statistics = {
        "mines": ratio_of("mines_found", "mines"),
        "pond_recall": ratio_of("pond_marked", "pond"),
        "pond_iou": ratio_of("pond_marked", "pond_or_marked"),
        "dug_recall": ratio_of("dug_marked", "dug"),
        "dug_iou": ratio_of("dug_marked", "dug_or_marked"),
        "elsewhere": ratio_of("elsewhere", "marked"),
        "off_mines": ratio_of("off_mines_ha", "hundred_km2"),
        "alarms": ratio_of("false_sites", "hundred_km2"),
    }
    return bootstrap_estimates(statistics, np.array([r.seed for r in results]))
