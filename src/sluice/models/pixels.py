"""`PixelPredictor`: a model package that judges every pixel, patch by patch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import numpy as np
import numpy.typing as npt

from sluice.base.arrays import ArrayBHW, ArrayHW
from sluice.base.errors import ConfigError, ShapeMismatch
from sluice.base.protocols import Predictor
from sluice.base.raster import Raster
from sluice.base.windows import rim_weights, with_scores_per_cell
from sluice.models.package import ModelPackage
from sluice.models.packaged import PASS_PIXELS, PackageRunner, RunOptions
from sluice.models.runtime import ArrayNCHW

ClassesNKHW = npt.NDArray[np.float32]


class PixelPredictor(PackageRunner, Predictor):
    """Scores the cells of square patches; implements `sluice.base.protocols.Predictor`.

    Weights are always given patches of one size, as what some of them say of a pixel depends on
    that. A patch has `cells_per_window` scores along a side, each the mean of its valid pixels'.
    With three classes or more, a cell has the probabilities of those that are sought as well.

    Args:
        package: A model that judges pixels.
        options: As for `PackageRunner`.

    Raises:
        ConfigError: The engine cannot do what is asked, or the model judges windows.
    """

    def __init__(self, package: ModelPackage, **options: Unpack[RunOptions]) -> None:
        if package.manifest.judges != "pixels":
            raise ConfigError(
                f"model {package.name} judges windows, and pixels are asked for; "
                "use a model that judges pixels"
            )
        super().__init__(package, **options)

    def score_windows(self, raster: Raster, rows: Sequence[int], cols: Sequence[int]) -> ArrayHW:
        """Score the cells of the patches whose first pixel is at each of `rows` x `cols`.

        Args:
            raster: Holds the inputs by name, in any order, at the model's resolution; NaN where
                not observed.
            rows: First rows of patches, increasing; every patch lies inside the raster.
            cols: First columns, likewise.

        Returns:
            (len(rows), len(cols)) times `cells_per_window` float32 in 0-1, those of a patch
            together; NaN for cells without a valid pixel, and for patches of which a larger share
            is invalid than the manifest allows. A pixel is invalid where any input is. With three
            classes or more, as many layers: the score, then each sought class's probability.

        Raises:
            BandNotFound: The raster lacks an input.
            ManifestMismatch: The raster has another resolution.
            ShapeMismatch: A patch lies outside the raster.
            WeightsError: The weights give something that is not a probability.
        """
        self._check_resolution(raster)
        image = self._select(raster.data_bhw, raster.bands)
        side, n = self.window_px, self.cells_per_window
        places = [(i, j) for i in range(len(rows)) for j in range(len(cols))]
        if places and (
            min(rows[0], cols[0]) < 0
            or rows[-1] + side > image.shape[1]
            or cols[-1] + side > image.shape[2]
        ):
            raise ShapeMismatch(
                f"patches of {side} px from rows {rows[0]} to {rows[-1]} and columns {cols[0]} to "
                f"{cols[-1]} do not lie within {image.shape[1]} x {image.shape[2]} px"
            )
        shape = with_scores_per_cell(self.scores_per_cell, len(rows) * n, len(cols) * n)
        scores = np.full(shape, np.nan, np.float32)
        at_once = max(1, PASS_PIXELS // side**2)
        for start in range(0, len(places), at_once):
            batch = places[start : start + at_once]
            patches = np.stack(
                [image[:, rows[i] : rows[i] + side, cols[j] : cols[j] + side] for i, j in batch]
            )
            for (i, j), patch in zip(batch, self._score_patches(patches), strict=True):
                scores[..., i * n : (i + 1) * n, j * n : (j + 1) * n] = patch
        return scores

    def classify_chips(self, chips_nbhw: ArrayNCHW, bands: Sequence[str]) -> ClassesNKHW:
        """Probabilities of the classes at every pixel of chips.

        Args:
            chips_nbhw: (N, bands, H, W) reflectance or dB at the model's resolution, NaN where
                not observed. Chips smaller than a patch are judged with nothing around them;
                larger ones by patches that overlap, blended like a scan's.
            bands: Names of the second axis.

        Returns:
            (N, classes, H, W) float32 that sum to 1; NaN where a pixel is invalid.

        Raises:
            BandNotFound: An input is not among `bands`.
            WeightsError: The weights give something that is not a probability.
        """
        height, width = chips_nbhw.shape[2:]
        out = np.full(
            (len(chips_nbhw), len(self.package.manifest.classes), height, width), np.nan, np.float32
        )
        for chip, found in zip(chips_nbhw, out, strict=True):
            found[:] = self._classify(self._select(chip, bands))
        return out

    def _classify(self, image: ArrayBHW) -> npt.NDArray[np.float32]:
        side, overlap = self.window_px, self.package.manifest.patch_overlap_px
        height, width = image.shape[1:]
        rows, cols = (_starts(size, side, side - overlap) for size in (height, width))
        room = np.full((len(image), max(height, side), max(width, side)), np.nan, np.float32)
        room[:, :height, :width] = image
        total = np.zeros((len(self.package.manifest.classes), *room.shape[1:]), np.float32)
        ramp = rim_weights(side, overlap)
        weights = np.zeros(room.shape[1:], np.float32)
        for row in rows:
            for col in cols:
                place = np.s_[row : row + side, col : col + side]
                valid = np.asarray(np.isfinite(room[:, *place]).all(axis=0))
                if valid.any():
                    total[:, *place] += (
                        np.outer(ramp, ramp)
                        * self._run_patches(room[np.newaxis, :, *place], valid[np.newaxis])[0]
                    )
                    weights[place] += np.outer(ramp, ramp)
        found = np.full(total.shape, np.nan, np.float32)
        known = (weights > 0) & np.isfinite(room).all(axis=0)
        np.divide(total, weights, out=found, where=known)
        return found[:, :height, :width]

    def _score_patches(self, patches_nbhw: ArrayNCHW) -> npt.NDArray[np.float32]:
        """(N, scores of a cell, cells, cells)."""
        side, n = self.window_px, self.cells_per_window
        scores = np.full((len(patches_nbhw), self.scores_per_cell, n, n), np.nan, np.float32)
        valid = np.asarray(np.isfinite(patches_nbhw).all(axis=1))
        invalid = (~valid).sum(axis=(1, 2))
        kept = np.flatnonzero((invalid <= self._allowed_invalid(side**2)) & (invalid < side**2))
        found = self._run_patches(patches_nbhw[kept], valid[kept])[:, : self.scores_per_cell]
        found[:, 0] = 1 - found[:, 0]
        scores[kept] = _cell_means(found, valid[kept, np.newaxis], side // n)
        return scores

    def _run_patches(
        self, patches_nbhw: ArrayNCHW, valid_nhw: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.float32]:
        """(N, classes, side, side) probabilities."""
        scaled = self._scale(patches_nbhw.swapaxes(0, 1), valid_nhw).swapaxes(0, 1)
        classes = len(self.package.manifest.classes)
        shape = (len(patches_nbhw), classes, *patches_nbhw.shape[2:])
        return self._run(np.ascontiguousarray(scaled), shape)


def _cell_means(
    scores_nkhw: ClassesNKHW, valid_n1hw: npt.NDArray[np.bool_], cell: int
) -> npt.NDArray[np.float32]:
    """Mean of the valid pixels of each cell, NaN where there is none."""
    if cell == 1:
        return np.where(valid_n1hw, scores_nkhw, np.float32(np.nan))
    count, layers, size, _ = scores_nkhw.shape
    cells = (size // cell, cell, size // cell, cell)
    total = np.where(valid_n1hw, scores_nkhw, 0).reshape(count, layers, *cells)
    total = total.sum(axis=(3, 5), dtype=np.float32)
    pixels = np.broadcast_to(valid_n1hw.reshape(count, 1, *cells).sum(axis=(3, 5)), total.shape)
    means: npt.NDArray[np.float32] = np.full(total.shape, np.nan, np.float32)
    np.divide(total, pixels, out=means, where=pixels > 0)
    return means


def _starts(length: int, side: int, stride: int) -> list[int]:
    last = max(0, length - side)
    return [*range(0, last, stride), last]
