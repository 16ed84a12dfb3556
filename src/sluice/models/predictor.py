"""`WindowPredictor`: a model package that scores windows of a raster, by its manifest."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias, Unpack

import numpy as np
import numpy.typing as npt

from sluice.base.arrays import ArrayBHW, ArrayHW, BoolHW, IntArray
from sluice.base.errors import ConfigError, ShapeMismatch
from sluice.base.protocols import Predictor
from sluice.base.raster import Raster
from sluice.base.windows import central_windows
from sluice.models.package import ModelPackage
from sluice.models.packaged import PASS_PIXELS, PackageRunner, RunOptions
from sluice.models.pixels import PixelPredictor
from sluice.models.runtime import ArrayNCHW

Array1D: TypeAlias = npt.NDArray[np.float32]

BATCH = 32
"""Windows in one call of the engine; more gains nothing on processors."""


@dataclass(frozen=True)
class _Job:
    """One call of `score_windows`."""

    image: ArrayBHW
    """Bands in the model's order, not scaled yet."""
    valid: BoolHW
    rows: IntArray
    """First rows of what the weights look at: windows with their context."""
    cols: IntArray
    observed: BoolHW
    """(rows, cols), True where the window is to be scored."""
    scores: ArrayHW
    """(rows, cols), filled in."""


class WindowPredictor(PackageRunner, Predictor):
    """Scores square windows with one model; implements `sluice.base.protocols.Predictor`.

    Args:
        package: A model that judges windows.
        cut_windows: Score window by window even where the weights take a larger image in one
            pass: the slow reference for tests and benchmarks.
        options: As for `PackageRunner`.

    Raises:
        ConfigError: The engine cannot do what is asked, or the model judges pixels.
    """

    def __init__(
        self, package: ModelPackage, *, cut_windows: bool = False, **options: Unpack[RunOptions]
    ) -> None:
        if package.manifest.judges != "windows":
            raise ConfigError(
                f"model {package.name} judges pixels, and windows or chips as wholes are asked "
                "for; use a model that judges windows"
            )
        super().__init__(package, **options)
        self.cut_windows = cut_windows

    def score_windows(self, raster: Raster, rows: Sequence[int], cols: Sequence[int]) -> ArrayHW:
        """Score the windows whose first pixel is at each of `rows` x `cols`.

        Args:
            raster: Holds the inputs by name, in any order, at the model's resolution; NaN where
                not observed.
            rows: First rows, increasing; every window lies inside the raster. What of its context
                does not counts as not observed.
            cols: First columns, likewise.

        Returns:
            (len(rows), len(cols)) float32 in 0-1; NaN where a window has a larger share of
            invalid pixels than the manifest allows. A pixel is invalid where any input is.

        Raises:
            BandNotFound: The raster lacks an input.
            ManifestMismatch: The raster has another resolution.
            ShapeMismatch: A window lies outside, or the positions do not increase.
            WeightsError: The weights give something that is not a score.
        """
        manifest = self.package.manifest
        self._check_resolution(raster)
        image = self._select(raster.data_bhw, raster.bands)
        row = _positions(rows, image.shape[1], "rows", manifest.window_px)
        col = _positions(cols, image.shape[2], "cols", manifest.window_px)
        image, row, col = _surround(image, row, col, manifest.window_px, manifest.context_px)
        scores = np.full((len(row), len(col)), np.nan, np.float32)
        if scores.size == 0:
            return scores
        valid = np.asarray(np.isfinite(image).all(axis=0))
        invalid = _count_invalid(valid, row, col, manifest.window_px)
        observed = invalid <= self._allowed_invalid(manifest.window_px**2)
        if not observed.any():
            return scores
        # From here on a window is all that the weights look at.
        context = manifest.context_px
        job = _Job(image, valid, row - context, col - context, observed, scores)
        if manifest.dense_stride_px is None or self.cut_windows:
            self._score_cut_windows(job)
        else:
            self._score_densely(job, manifest.dense_stride_px)
        scores[~observed] = np.nan
        return scores

    def score_chips(self, chips_nbhw: ArrayNCHW, bands: Sequence[str]) -> Array1D:
        """Score chips, each by its central window; what a chip lacks of its context is mirrored.

        Args:
            chips_nbhw: (N, bands, H, W) reflectance or dB at the model's resolution, NaN where
                not observed; H and W at least the model's window.
            bands: Names of the second axis.

        Returns:
            (N,) float32 in 0-1, NaN as in `score_windows`.

        Raises:
            BandNotFound: An input is not among `bands`.
            ShapeMismatch: The chips are smaller than the window.
            WeightsError: The weights give something that is not a score.
        """
        side, context = self.window_px, self.context_px
        if min(chips_nbhw.shape[2:]) < side:
            raise ShapeMismatch(
                f"chips of {chips_nbhw.shape[2]} x {chips_nbhw.shape[3]} px are smaller than the "
                f"window of model {self.package.name}, {side} px"
            )
        scores = np.full(len(chips_nbhw), np.nan, np.float32)
        for start in range(0, len(chips_nbhw), BATCH):
            part = central_windows(chips_nbhw[start : start + BATCH], side, context)
            image = self._select(part.swapaxes(0, 1), bands)
            valid = np.asarray(np.isfinite(image).all(axis=0))
            inside = valid[:, context : context + side, context : context + side]
            observed = (~inside).sum(axis=(1, 2)) <= self._allowed_invalid(side**2)
            scaled = self._scale(image[:, observed], valid[observed])
            scores[start : start + BATCH][observed] = self._run_windows(scaled.swapaxes(0, 1))
        return scores

    def _score_cut_windows(self, job: _Job) -> None:
        side = self.package.manifest.sight_px
        limit = max(side, PASS_PIXELS // job.image.shape[2])
        for part in _split_span(job.rows, side, limit):
            top, bottom = int(job.rows[part[0]]), int(job.rows[part[-1]]) + side
            strip = self._scale(job.image[:, top:bottom], job.valid[top:bottom])
            windows = np.lib.stride_tricks.sliding_window_view(strip, (side, side), axis=(1, 2))
            wanted = np.argwhere(job.observed[part]) + np.array([part[0], 0])
            for start in range(0, len(wanted), BATCH):
                i, j = wanted[start : start + BATCH].T
                # The view gives (bands, windows, side, side); the engine wants windows first.
                batch = windows[:, job.rows[i] - top, job.cols[j]].swapaxes(0, 1)
                job.scores[i, j] = self._run_windows(batch)

    def _score_densely(self, job: _Job, stride: int) -> None:
        side, rows, cols = self.package.manifest.sight_px, job.rows, job.cols
        for row_run, col_run in itertools.product(
            _lattice_runs(rows, stride, side), _lattice_runs(cols, stride, side)
        ):
            for i, j in _passes(rows, cols, row_run, col_run, side):
                if not job.observed[np.ix_(i, j)].any():
                    continue
                box = np.s_[rows[i[0]] : rows[i[-1]] + side, cols[j[0]] : cols[j[-1]] + side]
                scaled = self._scale(job.image[:, *box], job.valid[box])
                height, width = ((size - side) // stride + 1 for size in scaled.shape[1:])
                result = self._run(scaled[np.newaxis], (1, 1, height, width))
                down, right = (rows[i] - rows[i[0]]) // stride, (cols[j] - cols[j[0]]) // stride
                job.scores[np.ix_(i, j)] = result[0, 0][np.ix_(down, right)]

    def _run_windows(self, windows_nchw: ArrayNCHW) -> Array1D:
        windows = np.ascontiguousarray(windows_nchw)
        return self._run(windows, (len(windows), 1, 1, 1))[:, 0, 0, 0]


def _surround(
    image: ArrayBHW, rows: IntArray, cols: IntArray, side: int, context: int
) -> tuple[ArrayBHW, IntArray, IntArray]:
    """An image that holds the context of all windows, and where they begin in it."""
    if not (context and len(rows) and len(cols)):
        return image, rows, cols
    missing = [
        (max(0, context - int(at[0])), max(0, int(at[-1]) + side + context - size))
        for at, size in zip((rows, cols), image.shape[1:], strict=True)
    ]
    if not np.any(missing):
        return image, rows, cols
    widened = np.pad(image, ((0, 0), *missing), constant_values=np.nan)
    return widened, rows + missing[0][0], cols + missing[1][0]


def _positions(given: Sequence[int], size: int, name: str, side: int) -> IntArray:
    at = np.asarray(given, np.int64).reshape(-1)
    if len(at) and (at[0] < 0 or at[-1] + side > size or (np.diff(at) <= 0).any()):
        raise ShapeMismatch(
            f"{name} of windows must increase and windows of {side} px lie within {size} px; "
            f"got {at[0]} to {at[-1]}"
        )
    return at


def _count_invalid(valid: BoolHW, rows: IntArray, cols: IntArray, side: int) -> IntArray:
    """Invalid pixels of each window, exactly, from an integral image."""
    total = np.zeros((valid.shape[0] + 1, valid.shape[1] + 1), np.int32)
    np.cumsum(~valid, axis=1, dtype=np.int32, out=total[1:, 1:])
    np.cumsum(total[1:], axis=0, dtype=np.int32, out=total[1:])
    low, high = np.ix_(rows, cols), np.ix_(rows + side, cols + side)
    # Should a sum have passed 2**31, the differences wrap back to the right count.
    count = (
        total[high]
        - total[np.ix_(rows, cols + side)]
        - total[np.ix_(rows + side, cols)]
        + total[low]
    )
    return count.astype(np.int64)


def _split_span(at: IntArray, side: int, limit: int) -> Iterator[IntArray]:
    """Indices of consecutive positions whose windows together span at most `limit` pixels."""
    start = 0
    while start < len(at):
        stop = int(np.searchsorted(at, at[start] + max(limit - side, 0), side="right"))
        yield np.arange(start, stop)
        start = stop


def _lattice_runs(at: IntArray, stride: int, side: int) -> Iterator[IntArray]:
    """Indices of positions that one dense pass can serve.

    Positions of one pass lie a multiple of `stride` apart; where no window bridges a gap, a
    pass over it would compute what nobody asked for.
    """
    for residue in np.unique(at % stride):
        members = np.flatnonzero(at % stride == residue)
        breaks = np.flatnonzero(np.diff(at[members]) > side) + 1
        yield from np.split(members, breaks)


def _passes(
    rows: IntArray, cols: IntArray, row_run: IntArray, col_run: IntArray, side: int
) -> Iterator[tuple[IntArray, IntArray]]:
    """Cut a lattice into parts of at most about `PASS_PIXELS`, as square as it allows."""
    height = int(rows[row_run[-1]] - rows[row_run[0]]) + side
    width = int(cols[col_run[-1]] - cols[col_run[0]]) + side
    edge = math.isqrt(PASS_PIXELS)
    width_limit = width if width <= edge else max(edge, PASS_PIXELS // height)
    height_limit = PASS_PIXELS // min(width, width_limit)
    for i in _split_span(rows[row_run], side, height_limit):
        for j in _split_span(cols[col_run], side, width_limit):
            yield row_run[i], col_run[j]


def make_predictor(
    package: ModelPackage, **options: Unpack[RunOptions]
) -> WindowPredictor | PixelPredictor:
    """The predictor that a package's manifest asks for.

    Raises:
        ConfigError: The engine cannot do what is asked.
    """
    kind = PixelPredictor if package.manifest.judges == "pixels" else WindowPredictor
    return kind(package, **options)
