"""Phantom landscapes as ordinary data sets of chips with masks, divided by landscape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox
from rasterio import features

from sluice.base.arrays import ArrayBHW
from sluice.base.grid import PixelWindow
from sluice.composite.clear import classify_sky, sort_sky
from sluice.composite.reduce import median_of_clear
from sluice.labels.dataset import DatasetAbout, DatasetWriter
from sluice.phantom.history import ABANDONED
from sluice.phantom.series import PhantomSeries, build_series, draw_cloud_shares, spread_dates

BANDS = ("blue", "green", "red", "nir", "swir16", "swir22")
SIZE_PX, CHIP_PX = 480, 96
DATES = 6
"""Looks that a composite is made of, cloudy ones among them."""
ACTIVE, INACTIVE = 1, 2
TWO_CLASSES = ("other", "mine")
THREE_CLASSES = ("other", "active mine", "inactive mine")

_BEGIN = date(2020, 1, 15)
"""Begin of the mines' histories: some are abandoned by the time of the looks, and overgrow."""
_LOOKS = spread_dates(date(2022, 10, 1), DATES, 10)
_MINES = 10
_CLOUD_MARGIN_PX = 2  # as a scan widens clouds
_PLACES_IN_ROW = 8
_WEST_M, _NORTH_M, _APART_M = 600_000.0, 9_300_000.0, 6_000.0


@dataclass(frozen=True)
class Landscape:
    """One place as a composite shows it, and what is true of it."""

    seed: int
    split: str
    image_bhw: ArrayBHW
    """`BANDS`, median of the clear looks; NaN where there was none."""
    truth_hw: npt.NDArray[np.uint8]
    """Class in `THREE_CLASSES` on the last look's day."""
    geobox: GeoBox

    @property
    def name(self) -> str:
        """Group of its chips."""
        return f"landscape-{self.seed}"


def draw_landscapes(
    seeds: Mapping[str, Sequence[int]], size_px: int = SIZE_PX
) -> tuple[Landscape, ...]:
    """Draw the landscapes of each split, no two of them on the same ground.

    Args:
        seeds: Of each split; another seed is another landscape.
        size_px: Side of a landscape.
    """
    drawn = [(split, seed) for split, members in seeds.items() for seed in members]
    return tuple(_draw(seed, split, number, size_px) for number, (split, seed) in enumerate(drawn))


def _draw(seed: int, split: str, number: int, size_px: int) -> Landscape:
    row, col = divmod(number, _PLACES_IN_ROW)
    series = build_series(
        seed,
        size_px,
        (_BEGIN, *_LOOKS),
        mine_count=_MINES,
        cloud_shares=(0.0, *draw_cloud_shares(DATES, np.random.default_rng(seed))),
        upper_left_m=(_WEST_M + col * _APART_M, _NORTH_M - row * _APART_M),
    )
    return Landscape(seed, split, compose(series), rasterize_mines(series), series.geobox)


def compose(series: PhantomSeries) -> ArrayBHW:
    """Median of the clear looks of `BANDS`, without the day that only begins the histories."""
    seen, clear = [], []
    for index in range(1, len(series)):
        scene = series.scene_at(index, BANDS)
        sky = classify_sky("scl", scene.scl_hw.astype(np.float32))
        seen.append(scene.raster.data_bhw)
        clear.append(sort_sky(sky, grow_px=_CLOUD_MARGIN_PX).clear)
    return median_of_clear(np.stack(seen), np.stack(clear))[0]


def rasterize_mines(series: PhantomSeries) -> npt.NDArray[np.uint8]:
    """Classes of `THREE_CLASSES` on the last day: pixels whose centre lies in a mine's outline."""
    mines = series.mines_at(series.dates[-1])
    shapes = [
        (shape, INACTIVE if state == ABANDONED else ACTIVE)
        for shape, state in zip(mines.geometry, mines["state"], strict=True)
    ]
    truth = np.zeros(series.geobox.shape.yx, np.uint8)
    if shapes:
        features.rasterize(shapes, out=truth, transform=series.geobox.affine)
    return truth


def write_chips(landscapes: Sequence[Landscape], folder: Path, classes: tuple[str, ...]) -> None:
    """Write a data set; with two classes every mine is of the second.

    Args:
        landscapes: Their sides are multiples of `CHIP_PX`.
        folder: New.
        classes: `TWO_CLASSES` or `THREE_CLASSES`.
    """
    about = DatasetAbout(
        name="phantom-series",
        summary="Drawn by a program: nothing of it was observed.",
        bands=BANDS,
        sensor="s2-l2a",
        gsd_m=10,
        classes=classes,
        licence="CC0-1.0",
        attribution="Sluice",
    )
    writer = DatasetWriter(folder, about)
    for landscape in landscapes:
        mask = np.minimum(landscape.truth_hw, len(classes) - 1).astype(np.uint8)
        for window in _windows(landscape):
            writer.add(
                f"{landscape.name}-{window.row}-{window.col}",
                landscape.image_bhw[:, *window.slices],
                window.of(landscape.geobox),
                mask[window.slices],
                source="phantom",
                group=landscape.name,
                split=landscape.split,
            )
    writer.finish()


def _windows(landscape: Landscape) -> list[PixelWindow]:
    """All chips; of a landscape to learn from, as many without a mine as with one at most."""
    height, width = landscape.truth_hw.shape
    windows = [
        PixelWindow(row, col, CHIP_PX, CHIP_PX)
        for row in range(0, height, CHIP_PX)
        for col in range(0, width, CHIP_PX)
    ]
    if landscape.split != "train":
        return windows
    mined = [window for window in windows if landscape.truth_hw[window.slices].any()]
    free = [window for window in windows if window not in mined]
    chosen = np.random.default_rng(landscape.seed).permutation(len(free))[: len(mined)]
    return mined + [free[number] for number in sorted(chosen)]
