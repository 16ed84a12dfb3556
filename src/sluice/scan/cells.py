"""The cells of the score map along one axis of the image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sluice.base.arrays import FloatArray, IntArray
from sluice.base.windows import WindowLattice


@dataclass(frozen=True)
class CellAxis:
    """Cells a stride wide along rows or columns, in pixels of the image.

    Each window of the regular lattice has a cell on its centre; more cells at both ends reach
    the first and the last pixel, and may reach beyond.
    """

    length: int
    """Pixels of the image."""
    window_px: int
    stride_px: int

    @property
    def before(self) -> int:
        """Cells before that of the first window."""
        return -(-(self.window_px - self.stride_px) // (2 * self.stride_px))

    @property
    def origin(self) -> float:
        """Near edge of the first cell: whole or half a pixel, not above 0."""
        return (self.window_px - self.stride_px) / 2 - self.before * self.stride_px

    @property
    def count(self) -> int:
        """Number of cells."""
        return math.ceil((self.length - self.origin) / self.stride_px)

    @property
    def centres(self) -> FloatArray:
        """(count,) pixels."""
        return np.asarray(self.origin + self.stride_px * (np.arange(self.count) + 0.5))

    def of_windows(self, start: int, stop: int, windows: int) -> tuple[int, int]:
        """The cells [start, stop) that belong to a range of the lattice's windows.

        Those on the windows' centres; the first and the last window have those at the ends too.
        The windows together have each cell once, and each contains the pixels of its cells.
        """
        first = 0 if start == 0 else self.before + start
        return first, self.count if stop == windows else self.before + stop

    def edges(self, start: int, stop: int) -> IntArray:
        """First pixels of the cells [start, stop), and the end of the last, within the image.

        A pixel belongs to the cell that holds its centre. Where the image begins with a sliver
        of a cell that holds none, that cell begins with the next one's first pixel.
        """
        edge: FloatArray = np.floor(self.origin + self.stride_px * np.arange(start, stop + 1))
        return np.asarray(np.clip(edge, 0, self.length), dtype=np.int64)


@dataclass(frozen=True)
class PatchCellAxis:
    """Cells within windows that have several: equal squares from the image's first pixel on."""

    length: int
    """Pixels of the image."""
    cell_px: int
    starts: IntArray
    """First pixels of the windows, multiples of a cell."""

    @property
    def origin(self) -> float:
        """Near edge of the first cell."""
        return 0.0

    @property
    def count(self) -> int:
        """Number of cells; the last may reach beyond the image."""
        return math.ceil(self.length / self.cell_px)

    def of_windows(self, start: int, stop: int, windows: int) -> tuple[int, int]:
        """The cells [start, stop) from the first window of a range to the next range's.

        The ranges together have each cell once, and the windows of each contain its cells.
        """
        end = self.count if stop == windows else int(self.starts[stop]) // self.cell_px
        return int(self.starts[start]) // self.cell_px, end

    def edges(self, start: int, stop: int) -> IntArray:
        """First pixels of the cells [start, stop), and the end of the last, within the image."""
        return np.minimum(self.cell_px * np.arange(start, stop + 1, dtype=np.int64), self.length)


def cell_axes(lattice: WindowLattice) -> tuple[CellAxis | PatchCellAxis, ...]:
    """The cells of a lattice along rows and columns."""
    if lattice.cells_per_window == 1:
        return tuple(CellAxis(n, lattice.window_px, lattice.stride_px) for n in lattice.shape)
    return tuple(
        PatchCellAxis(n, lattice.cell_px, starts)
        for n, starts in zip(lattice.shape, (lattice.rows, lattice.cols), strict=True)
    )
