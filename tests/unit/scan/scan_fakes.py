"""An image in memory and a model that averages; a module of its own, so that processes find it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from affine import Affine
from odc.geo import CRS
from odc.geo.geobox import GeoBox

from sluice.base.arrays import ArrayHW
from sluice.base.errors import AssetReadError, ManifestMismatch
from sluice.base.raster import Raster
from sluice.base.records import ModelInput


def utm_geobox(shape: tuple[int, int], gsd_m: float = 10.0, crs: str = "EPSG:32630") -> GeoBox:
    return GeoBox(shape, Affine(gsd_m, 0, 600_000, 0, -gsd_m, 700_000), CRS(crs))


@dataclass(frozen=True)
class MemoryLoader:
    image_hw: ArrayHW
    geobox: GeoBox
    broken: frozenset[tuple[int, int]] = frozenset()
    """First pixels of the tiles that cannot be read."""
    error: type[BaseException] = AssetReadError
    bands: tuple[str, ...] = ("red",)

    def __call__(self, geobox: GeoBox) -> Raster:
        gsd = self.geobox.affine.a
        col = round((geobox.affine.c - self.geobox.affine.c) / gsd)
        row = round((self.geobox.affine.f - geobox.affine.f) / gsd)
        if (row, col) in self.broken:
            raise self.error(f"block at {row}, {col} is damaged")
        out = np.full(tuple(geobox.shape.yx), np.nan, np.float32)
        top, left = max(0, -row), max(0, -col)
        part = self.image_hw[row + top : row + out.shape[0], col + left : col + out.shape[1]]
        out[top : top + part.shape[0], left : left + part.shape[1]] = part
        return Raster(np.stack([out] * len(self.bands)), self.bands, geobox)


@dataclass
class MeanPredictor:
    """The mean of the valid pixels of a window; not observed above a fifth invalid."""

    window_px: int = 8
    context_px: int = 0
    gsd_m: float = 10.0
    calls: list[int] = field(default_factory=list)
    """Process id of each call."""
    interrupt_after: int | None = None
    mismatch: bool = False

    @property
    def inputs(self) -> tuple[ModelInput, ...]:
        return (ModelInput(band="red"),)

    @property
    def cells_per_window(self) -> int:
        return 1

    @property
    def scores_per_cell(self) -> int:
        return 1

    def score_windows(self, raster: Raster, rows: Sequence[int], cols: Sequence[int]) -> ArrayHW:
        if self.mismatch:
            raise ManifestMismatch("weights and manifest disagree; import the model again")
        if self.interrupt_after is not None and len(self.calls) >= self.interrupt_after:
            raise KeyboardInterrupt
        self.calls.append(os.getpid())
        return score_means(raster.band("red"), self.window_px, rows, cols)


def score_means(
    image_hw: ArrayHW, window: int, rows: Sequence[int], cols: Sequence[int]
) -> ArrayHW:
    """The plain reference, window by window."""
    out = np.full((len(rows), len(cols)), np.nan, np.float32)
    for i, row in enumerate(rows):
        for j, col in enumerate(cols):
            part = image_hw[row : row + window, col : col + window]
            valid = np.isfinite(part)
            if valid.sum() >= 0.8 * window * window:
                out[i, j] = part[valid].astype(np.float64).mean()
    return out


class ConstantPredictor(MeanPredictor):
    """Costs nothing."""

    def score_windows(self, raster: Raster, rows: Sequence[int], cols: Sequence[int]) -> ArrayHW:
        return np.ones((len(rows), len(cols)), np.float32)


class SlowLoader(MemoryLoader):
    """Gives a test the time to interrupt it."""

    def __call__(self, geobox: GeoBox) -> Raster:
        time.sleep(0.2)
        return super().__call__(geobox)


class DeadlyLoader:
    """Takes its process down, as the system does when memory runs out."""

    def __call__(self, geobox: GeoBox) -> Raster:
        os._exit(9)
