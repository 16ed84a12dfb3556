"""The dense pass against the same windows cut out one by one."""

from __future__ import annotations

import time

import numpy as np
from odc.geo.geobox import GeoBox
from rasterio import Affine

from bench.images import BANDS, SCALE
from bench.table import Row
from bench.timing import Timed, alternate
from sluice.base.raster import Raster
from sluice.base.windows import WindowLattice
from sluice.models.package import ModelPackage
from sluice.models.predictor import WindowPredictor

STRIDE_M = 80


def compare_dense(
    package: ModelPackage, pattern_bhw: np.ndarray, *, size_px: int, rounds: int
) -> Row:
    """Score all windows of a phantom image at a stride of 80 m, both ways by turns."""
    raster = _raster(pattern_bhw, size_px, package.manifest.gsd_m)
    stride_px = round(STRIDE_M / package.manifest.gsd_m)
    lattice = WindowLattice((size_px, size_px), package.manifest.window_px, stride_px)
    rows, cols = lattice.rows.tolist(), lattice.cols.tolist()
    predictors = {
        "dense": WindowPredictor(package),
        "window by window": WindowPredictor(package, cut_windows=True),
    }
    scores = {}

    def timed(name: str) -> Timed:
        def run() -> float:
            began = time.perf_counter()
            scores[name] = predictors[name].score_windows(raster, rows, cols)
            return time.perf_counter() - began

        return run

    seconds = alternate({name: timed(name) for name in predictors}, rounds)
    windows = len(rows) * len(cols)
    apart = float(np.nanmax(np.abs(scores["dense"] - scores["window by window"])))
    rates = ", ".join(f"{name} {windows / s:,.0f}" for name, s in seconds.items())
    return Row(
        f"model {package.name}, dense against window by window, stride {STRIDE_M} m",
        f"{seconds['window by window'] / seconds['dense']:.1f}x",
        "10x",
        f"windows/s: {rates}; {windows:,} windows, {predictors['dense'].engine}, "
        f"largest difference of scores {apart:.1e}",
    )


def _raster(pattern_bhw: np.ndarray, size_px: int, gsd_m: float) -> Raster:
    """A corner of the pattern as reflectance, repeated where it is too small."""
    at = np.arange(size_px) % pattern_bhw.shape[1]
    image_bhw = pattern_bhw[:, at[:, np.newaxis], at].astype(np.float32) * np.float32(SCALE)
    affine = Affine(gsd_m, 0, 600_000, 0, -gsd_m, 9_300_000)
    return Raster(image_bhw, BANDS, GeoBox((size_px, size_px), affine, "EPSG:32721"))
