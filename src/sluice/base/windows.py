"""Where a model's square windows lie on an image, and what they scored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from odc.geo.geobox import GeoBox

from sluice.base.arrays import ArrayHW, FloatArray, IntArray
from sluice.base.errors import ConfigError, ShapeMismatch


@dataclass(frozen=True)
class WindowLattice:
    """Square windows at a regular stride, and one more that is flush with each far edge.

    First rows are 0, stride, 2 stride, … and, where those do not end exactly at the last row,
    height - window; columns likewise. So every pixel lies in a window, up to the last row and
    column. An image smaller than a window gets one window at 0 that reaches beyond it.
    """

    shape: tuple[int, int]
    """(height, width) of the image in pixels."""
    window_px: int
    stride_px: int

    def __post_init__(self) -> None:
        if min(self.shape) < 1:
            raise ConfigError(f"an image of {self.shape} pixels is empty; give a larger area")
        if not 1 <= self.stride_px <= self.window_px:
            raise ConfigError(
                f"a stride of {self.stride_px} px leaves gaps between windows of "
                f"{self.window_px} px, or is not positive; use 1 to {self.window_px}"
            )

    @property
    def rows(self) -> IntArray:
        """First rows of the windows, increasing."""
        return _starts(self.shape[0], self.window_px, self.stride_px)

    @property
    def cols(self) -> IntArray:
        """First columns of the windows, increasing."""
        return _starts(self.shape[1], self.window_px, self.stride_px)

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns) of windows."""
        return len(self.rows), len(self.cols)


def _starts(length: int, window: int, stride: int) -> IntArray:
    last = max(0, length - window)
    regular = np.arange(0, last + 1, stride, dtype=np.int64)
    return regular if regular[-1] == last else np.append(regular, last)


@dataclass(frozen=True)
class ScoredWindows:
    """The raw scores of all windows of an image."""

    lattice: WindowLattice
    scores: ArrayHW
    """(rows, columns) of windows float32, NaN = not observed."""
    geobox: GeoBox
    """Grid of the image's pixels."""

    def __post_init__(self) -> None:
        if self.scores.shape != self.lattice.size or self.geobox.shape.yx != self.lattice.shape:
            raise ShapeMismatch(
                f"windows of {self.lattice.size} on {self.lattice.shape} px were announced, got "
                f"scores of {self.scores.shape} on {tuple(self.geobox.shape.yx)} px"
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
