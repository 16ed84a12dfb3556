"""Where a model's square windows lie on an image, and what they scored.

A model that judges windows gives one score for each. A model that judges pixels gives a block of
them: its windows are patches, large enough to see what surrounds a pixel, and each has as many
scores along a side as `cells_per_window`. Where it tells several sought classes apart, a cell has
more than its score: the probability of each of these classes too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from odc.geo.geobox import GeoBox

from sluice.base.arrays import ArrayHW, ArrayNBHW, FloatArray, IntArray
from sluice.base.errors import ConfigError, ShapeMismatch


@dataclass(frozen=True)
class WindowLattice:
    """Square windows at a regular stride, and one more that is flush with each far edge.

    First rows are 0, stride, 2 stride, … and, where those do not end exactly at the last row,
    height - window; columns likewise. So every pixel lies in a window, up to the last row and
    column. An image smaller than a window gets one window at 0 that reaches beyond it. With
    several cells in a window, the last one is flush but for less than a cell, so that the cells
    of all windows are the same.
    """

    shape: tuple[int, int]
    """(height, width) of the image in pixels."""
    window_px: int
    stride_px: int
    cells_per_window: int = 1
    """Scores along a side of a window, each of an equal square of it."""
    scores_per_cell: int = 1
    """1; or, where cells have classes, as many as these: the score, which is that of all sought
    classes together, then the probability of each of them."""

    def __post_init__(self) -> None:
        if min(self.shape) < 1:
            raise ConfigError(f"an image of {self.shape} pixels is empty; give a larger area")
        if not 1 <= self.stride_px <= self.window_px:
            raise ConfigError(
                f"a stride of {self.stride_px} px leaves gaps between windows of "
                f"{self.window_px} px, or is not positive; use 1 to {self.window_px}"
            )
        if self.window_px % self.cells_per_window or (
            self.cells_per_window > 1 and self.stride_px % self.cell_px
        ):
            raise ConfigError(
                f"windows of {self.window_px} px, {self.stride_px} px apart, cannot be divided "
                f"into {self.cells_per_window} cells along a side; use multiples of a cell"
            )
        if self.scores_per_cell > 1 and self.cells_per_window == 1:
            raise ConfigError("windows without cells have one score each, not several")

    @property
    def cell_px(self) -> int:
        """Side of the square that one score is of."""
        return self.window_px // self.cells_per_window

    @property
    def rows(self) -> IntArray:
        """First rows of the windows, increasing."""
        return self._starts(self.shape[0])

    @property
    def cols(self) -> IntArray:
        """First columns of the windows, increasing."""
        return self._starts(self.shape[1])

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns) of windows."""
        return len(self.rows), len(self.cols)

    @property
    def scores_shape(self) -> tuple[int, ...]:
        """(rows, columns) of scores: those of a window stand together, neighbours side by side.

        (scores_per_cell, rows, columns) where a cell has several.
        """
        rows, cols = self.size
        n = self.cells_per_window
        return with_scores_per_cell(self.scores_per_cell, rows * n, cols * n)

    def _starts(self, length: int) -> IntArray:
        last = max(0, length - self.window_px)
        if self.cells_per_window > 1:
            last = -(-last // self.cell_px) * self.cell_px
        regular = np.arange(0, last + 1, self.stride_px, dtype=np.int64)
        return regular if regular[-1] == last else np.append(regular, last)


@dataclass(frozen=True)
class ScoredWindows:
    """The raw scores of all windows of an image."""

    lattice: WindowLattice
    scores: ArrayHW
    """`lattice.scores_shape` float32, NaN = not observed."""
    geobox: GeoBox
    """Grid of the image's pixels."""

    def __post_init__(self) -> None:
        lattice, shape = self.lattice, self.geobox.shape.yx
        if self.scores.shape != lattice.scores_shape or shape != lattice.shape:
            raise ShapeMismatch(
                f"scores of {lattice.scores_shape} on {lattice.shape} px were announced, got "
                f"{self.scores.shape} on {tuple(shape)} px"
            )

    @property
    def x(self) -> FloatArray:
        """Centres of the window columns, in the grid's CRS (the grid is north up)."""
        centre = self.lattice.cols + self.lattice.window_px / 2
        return np.asarray(self.geobox.affine.c + self.geobox.affine.a * centre)

    @property
    def y(self) -> FloatArray:
        """Centres of the window rows, in the grid's CRS (the grid is north up)."""
        centre = self.lattice.rows + self.lattice.window_px / 2
        return np.asarray(self.geobox.affine.f + self.geobox.affine.e * centre)


def with_scores_per_cell(scores_per_cell: int, rows: int, cols: int) -> tuple[int, ...]:
    """Shape of an array of scores: the scores of a cell are its first axis, where it has several.

    Args:
        scores_per_cell: See `WindowLattice`.
        rows: Of cells.
        cols: Of cells.
    """
    return (rows, cols) if scores_per_cell == 1 else (scores_per_cell, rows, cols)


def rim_weights(cells: int, overlap: float) -> ArrayHW:
    """Weight of a patch's cells along a side: rises over the overlap with the next, falls likewise.

    Args:
        cells: Along the side.
        overlap: With a neighbour, in cells.

    Returns:
        (cells,) float32, above 0, at most 1.
    """
    from_rim = np.minimum(np.arange(cells), np.arange(cells)[::-1]) + 0.5
    weights: ArrayHW = np.minimum(from_rim / max(overlap, 0.5), 1).astype(np.float32)
    return weights


def central_windows(images: ArrayNBHW, window_px: int, context_px: int = 0) -> ArrayNBHW:
    """The square in the middle of each image, with its context.

    Args:
        images: (N, B, H, W), at least `window_px` high and wide.
        window_px: Side of the square.
        context_px: Pixels beyond each of its sides; mirrored at the rim where an image ends.

    Returns:
        (N, B, side, side) of `window_px + 2 * context_px`; a view where no pixel is mirrored.
    """
    side = window_px + 2 * context_px
    missing = [max(0, -(-(side - size) // 2)) for size in images.shape[2:]]
    if any(missing):
        images = np.pad(images, ((0, 0), (0, 0), *((n, n) for n in missing)), mode="reflect")
    top, left = ((size - side) // 2 for size in images.shape[2:])
    return images[:, :, top : top + side, left : left + side]
