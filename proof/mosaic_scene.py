"""One mosaic of located chips, and what of it was seen by which networks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from affine import Affine
from pyproj import Transformer
from scipy import ndimage

from sluice.base.arrays import ArrayBHW, BoolHW, FloatArray, IntArray
from sluice.base.files import open_raster

HALF_WINDOW_M = 240.0
MIN_OBSERVED = 0.8
"""Least share of a 480 m square that must be observed for it to count."""
_DARK_RED = 0.08


@dataclass(frozen=True)
class MosaicScene:
    """Pixels, and the chips in them."""

    path: Path
    rgb_bhw: ArrayBHW
    """Reflectance of red, green, blue; 0 in all = between the chips."""
    transform: Affine
    crs: str
    chips: pd.DataFrame
    """Mine chips whose square is observed, with `x`, `y` in `crs`, `group` and `fold`."""

    @property
    def seen(self) -> BoolHW:
        """(H, W), True where there are pixels."""
        return np.asarray(self.rgb_bhw.any(axis=0))

    @property
    def folds(self) -> list[int]:
        """Folds of its chips."""
        return sorted(int(fold) for fold in self.chips["fold"].unique())

    def nearest_fold(self, x: FloatArray, y: FloatArray) -> IntArray:
        """Fold of the chip that lies nearest, so that no place is judged by who saw it."""
        across = x.reshape(-1, 1) - self.chips["x"].to_numpy()
        down = y.reshape(-1, 1) - self.chips["y"].to_numpy()
        nearest = np.hypot(across, down).argmin(axis=1)
        return np.asarray(self.chips["fold"].to_numpy()[nearest].reshape(x.shape))

    def pixel_centres(self) -> tuple[FloatArray, FloatArray]:
        """(H, W) x and y."""
        height, width = self.seen.shape
        a = self.transform
        x, y = a.c + a.a * (np.arange(width) + 0.5), a.f + a.e * (np.arange(height) + 0.5)
        across, down = np.meshgrid(x, y)
        return across, down


def read_mosaic(path: Path, chips: pd.DataFrame) -> MosaicScene:
    """Read a mosaic and find the chips in it.

    Args:
        path: Three bands of counts, red, green, blue, with their scale in the file.
        chips: With `lon`, `lat`, `label`, `group` and `fold`.
    """
    with open_raster(path) as source:
        rgb = source.read().astype(np.float32) * np.float32(source.scales[0])
        transform, crs = source.transform, source.crs.to_wkt()
    located = chips[chips["lon"].notna() & (chips["label"] == 1)]
    to_grid = Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    x, y = to_grid.transform(located["lon"].to_numpy(), located["lat"].to_numpy())
    # Chips of other years may lie beside the pixels, or half on them.
    inside = share_around(rgb.any(axis=0), transform, x, y) >= MIN_OBSERVED
    found: pd.DataFrame = located.assign(x=x, y=y).loc[inside]
    return MosaicScene(path, rgb, transform, crs, found)


def share_around(layer_hw: BoolHW, transform: Affine, x: FloatArray, y: FloatArray) -> FloatArray:
    """Share of True in the 480 m square around places; beyond the raster nothing is True.

    Args:
        layer_hw: (H, W).
        transform: Of it, north up.
        x: Of the places, any shape.
        y: Likewise.
    """
    side = round(2 * HALF_WINDOW_M / transform.a)
    padded = np.pad(layer_hw.astype(np.float64), side)
    # A box of an even side is centred on the corner before its pixel.
    means = ndimage.uniform_filter(padded, side, mode="constant")
    row = _index(y - transform.f, transform.e, side, padded.shape[0])
    col = _index(x - transform.c, transform.a, side, padded.shape[1])
    return np.asarray(means[row, col])


def _index(away_m: FloatArray, pixel_m: float, pad: int, length: int) -> npt.NDArray[np.int64]:
    # Far beyond the raster, the first cell of the padding stands for nothing.
    at = np.rint(np.asarray(away_m) / pixel_m).astype(np.int64) + pad
    return np.where((at < 0) | (at >= length), 0, at)


def is_vegetation(rgb_bhw: ArrayBHW) -> BoolHW:
    """Green and dark in the red, by two plain rules.

    The green-red vegetation index is above 0, which parts vegetation from soil, and red
    reflectance is below 0.08, which shuts out pale ground and turbid water that the haze of
    L1C tints green. Clear dark water passes too.

    Args:
        rgb_bhw: (3, H, W) reflectance of red, green, blue.

    Source:
        Motohka et al. 2010, doi:10.3390/rs2102369 (the index and its threshold of 0).
    """
    red, green, _ = rgb_bhw
    return np.asarray((green > red) & (red < _DARK_RED))
