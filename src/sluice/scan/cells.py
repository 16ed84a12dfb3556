"""The cells of the score map along one axis of the image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sluice.base.arrays import FloatArray, IntArray


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
