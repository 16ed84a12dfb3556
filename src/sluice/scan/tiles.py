"""The share of a scan that is read and scored in one go."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from sluice.base.errors import ConfigError
from sluice.base.grid import PixelWindow
from sluice.base.windows import WindowLattice, with_scores_per_cell
from sluice.scan.cells import cell_axes


@dataclass(frozen=True)
class TileTask:
    """A block of windows, and the pixels that cover them.

    Tiles share no window and no cell, and overlap in pixels: the overlap is the halo. As each
    window is scored once and whole, its score does not depend on how the image was tiled.
    """

    tile_id: str
    """From the first pixel of its windows, `r0000000-c0000976`: sorts, and is a legal file name
    everywhere."""
    lattice_rows: tuple[int, int]
    """[start, stop) among the lattice's rows."""
    lattice_cols: tuple[int, int]
    pixels: PixelWindow
    """All pixels of its windows and their context; that, and a window larger than the image,
    reach beyond it."""
    rows: tuple[int, ...]
    """First rows of its windows, counted from the first row of `pixels`."""
    cols: tuple[int, ...]
    cell_rows: tuple[int, int]
    """[start, stop) among the rows of the score map's cells (`CellAxis.of_windows`)."""
    cell_cols: tuple[int, int]
    row_edges: tuple[int, ...]
    """First rows of its cells and the end of the last, counted from the first row of `pixels`."""
    col_edges: tuple[int, ...]
    cells_per_window: int = 1
    """Scores along a side of a window."""
    scores_per_cell: int = 1
    """See `WindowLattice`."""

    @property
    def scores_shape(self) -> tuple[int, ...]:
        """(rows, columns) of scores, those of a cell first where it has several."""
        rows, cols = self.shape
        n = self.cells_per_window
        return with_scores_per_cell(self.scores_per_cell, rows * n, cols * n)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of windows."""
        return len(self.rows), len(self.cols)

    @property
    def windows(self) -> int:
        """Number of windows."""
        return len(self.rows) * len(self.cols)

    @property
    def score_slices(self) -> tuple[slice, slice]:
        """Where its scores go among those of the whole lattice."""
        (top, bottom), (left, right), n = (
            self.lattice_rows,
            self.lattice_cols,
            self.cells_per_window,
        )
        return slice(top * n, bottom * n), slice(left * n, right * n)

    @property
    def cell_shape(self) -> tuple[int, int]:
        """(rows, columns) of cells."""
        return len(self.row_edges) - 1, len(self.col_edges) - 1

    @property
    def cell_slices(self) -> tuple[slice, slice]:
        """Where its cells are among those of the whole map."""
        return slice(*self.cell_rows), slice(*self.cell_cols)


def plan_tiles(lattice: WindowLattice, tile_px: int, context_px: int = 0) -> list[TileTask]:
    """Deal the windows of an image out to tiles, row by row.

    Args:
        lattice: All windows.
        tile_px: Largest side of a tile in pixels, halo included; memory grows with its square.
        context_px: Pixels beyond each side of a window that the model looks at too.

    Raises:
        ConfigError: A tile would not hold one window.
    """
    sight_px = lattice.window_px + 2 * context_px
    if tile_px < sight_px:
        raise ConfigError(
            f"tiles of {tile_px} px cannot hold the {sight_px} px that the model looks at; "
            "use larger tiles"
        )
    per_side = (tile_px - sight_px) // lattice.stride_px + 1
    return [
        _task(lattice, row_range, col_range, context_px)
        for row_range in _even_ranges(lattice.size[0], per_side)
        for col_range in _even_ranges(lattice.size[1], per_side)
    ]


def _even_ranges(count: int, largest: int) -> list[tuple[int, int]]:
    """Split range(count) into the fewest ranges of at most `largest`, of nearly equal length.

    Equal, because a sliver at the far edge would read a whole halo for a few windows.
    """
    parts = math.ceil(count / largest)
    edges = [count * i // parts for i in range(parts + 1)]
    return list(itertools.pairwise(edges))


def _task(
    lattice: WindowLattice,
    row_range: tuple[int, int],
    col_range: tuple[int, int],
    context_px: int,
) -> TileTask:
    own_rows, own_cols = lattice.rows[slice(*row_range)], lattice.cols[slice(*col_range)]
    first_row, first_col = int(own_rows[0]), int(own_cols[0])
    top, left = first_row - context_px, first_col - context_px
    height = int(np.ptp(own_rows)) + lattice.window_px + 2 * context_px
    width = int(np.ptp(own_cols)) + lattice.window_px + 2 * context_px
    down, across = cell_axes(lattice)
    cell_rows = down.of_windows(*row_range, lattice.size[0])
    cell_cols = across.of_windows(*col_range, lattice.size[1])
    return TileTask(
        tile_id=f"r{first_row:07d}-c{first_col:07d}",
        lattice_rows=row_range,
        lattice_cols=col_range,
        pixels=PixelWindow(top, left, height, width),
        rows=tuple((own_rows - top).tolist()),
        cols=tuple((own_cols - left).tolist()),
        cell_rows=cell_rows,
        cell_cols=cell_cols,
        row_edges=tuple((down.edges(*cell_rows) - top).tolist()),
        col_edges=tuple((across.edges(*cell_cols) - left).tolist()),
        cells_per_window=lattice.cells_per_window,
        scores_per_cell=lattice.scores_per_cell,
    )
