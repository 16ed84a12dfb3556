"""From overlapping windows to one score for each cell of a grid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox
from scipy import sparse

from sluice.base.arrays import ArrayBHW, ArrayHW, BoolHW, FloatArray, IntArray
from sluice.base.classes import ClassesHW
from sluice.base.errors import ShapeMismatch
from sluice.base.grid import shifted
from sluice.base.windows import ScoredWindows, rim_weights
from sluice.scan.cells import CellAxis, cell_axes

# Far below any weight that counts, its square far above zero: it decides only where nothing
# else has a say.
_FLOOR = 1e-9


@dataclass(frozen=True)
class BlendedScores:
    """One score for each cell."""

    scores: ArrayHW
    """(rows, columns) of cells float32, NaN = not observed."""
    geobox: GeoBox
    """Grid of the cells: a stride wide, centred on the windows of the regular lattice, and
    continued outwards until every pixel of the image is in a cell; so the outermost cells may
    reach up to a stride beyond the image."""
    likeliest: ClassesHW | None = None
    """(rows, columns): of the sought classes the most probable, by number from 1, where a model
    tells several apart; None where it does not. Says nothing where the score is NaN."""


@dataclass(frozen=True)
class _Axis:
    """Windows and cells along rows or columns, in pixels of the image."""

    cells: CellAxis
    weights: Any
    """(cells, windows) sparse CSR float64."""
    reach: IntArray
    """(cells, 2): the windows [start, stop) that cover each cell."""


def blend(
    windows: ScoredWindows, seen: BoolHW | None = None, *, strip_rows: int = 256
) -> BlendedScores:
    """Average the windows that cover each cell, the nearer the more.

    A window's weight for a cell is cos²(π dy / window) cos²(π dx / window) by the distance of
    their centres, zero from half a window on. At a stride of half a window each inner cell gets
    the score of the window centred on it; finer strides smooth. A cell that is covered, but whose
    only observed windows have no weight (at the image's edge, or beside a gap), takes their mean.
    A cell is covered if its centre, moved to the image's edge where it lies outside, is within
    the window.

    A cell is not observed if no observed window covers it, or if its own pixels were not `seen`:
    a window that is clear for the most part says nothing about the cloud in its corner.

    Windows that have cells overlap too: each cell gets the mean of what the patches say that
    contain it, weighted by how far from their rims it lies, up to the width of the overlap. Patches
    know less about what is near their rims, and so meet without a seam. Probabilities of classes
    are blended like scores, and then compared.

    Memory: the cells (as many as windows, 4 bytes each, 5 with classes) and some float64 arrays of
    `strip_rows` rows.

    Args:
        windows: Raw scores.
        seen: (rows, columns) of cells, False where too few of a cell's pixels are valid; None
            where all are.
        strip_rows: Rows of cells done at a time; does not change the result.

    Raises:
        ShapeMismatch: `seen` is of other cells.
    """
    if windows.lattice.cells_per_window > 1:
        return _blend_patches(windows, seen, strip_rows)
    lattice = windows.lattice
    rows = _axis(lattice.rows, lattice.shape[0], lattice.window_px, lattice.stride_px)
    cols = _axis(lattice.cols, lattice.shape[1], lattice.window_px, lattice.stride_px)
    shape = rows.cells.count, cols.cells.count
    if seen is not None and seen.shape != shape:
        raise ShapeMismatch(f"the windows make {shape} cells, seen or not is told of {seen.shape}")
    out = np.empty(shape, np.float32)
    for part, strip in _strips(windows.scores, rows, cols, strip_rows):
        out[part] = strip if seen is None else np.where(seen[part], strip, np.nan)
    a = shifted(windows.geobox.affine, rows.cells.origin, cols.cells.origin)
    s = lattice.stride_px
    cells = Affine(a.a * s, a.b * s, a.c, a.d * s, a.e * s, a.f)
    return BlendedScores(out, GeoBox(shape, cells, windows.geobox.crs))


def _blend_patches(windows: ScoredWindows, seen: BoolHW | None, strip_rows: int) -> BlendedScores:
    lattice = windows.lattice
    down, across = cell_axes(lattice)
    shape = down.count, across.count
    if seen is not None and seen.shape != shape:
        raise ShapeMismatch(f"the patches make {shape} cells, seen or not is told of {seen.shape}")
    scores = np.full(shape, np.nan, np.float32)
    likeliest = np.zeros(shape, np.uint8) if lattice.scores_per_cell > 1 else None
    for start in range(0, shape[0], strip_rows):
        strip = slice(start, min(start + strip_rows, shape[0]))
        total, weights = _sum_patches(windows, strip, shape[1])
        known = weights > 0 if seen is None else (weights > 0) & seen[strip]
        np.divide(total[0], weights, out=scores[strip], where=known)
        if likeliest is not None:
            # The weights are those of the score, so what they divide by changes no order.
            likeliest[strip] = total[1:].argmax(axis=0) + 1
    a, s = windows.geobox.affine, lattice.cell_px
    cells = Affine(a.a * s, a.b * s, a.c, a.d * s, a.e * s, a.f)
    return BlendedScores(scores, GeoBox(shape, cells, windows.geobox.crs), likeliest)


def _sum_patches(windows: ScoredWindows, strip: slice, width: int) -> tuple[ArrayBHW, ArrayHW]:
    """Weighted sums of what the patches say of some rows of cells, and the sums of weights.

    Patches are summed in one order, so that a strip's height does not change the last digit.

    Returns:
        (scores of a cell, rows, columns) and (rows, columns) float32.
    """
    lattice, n = windows.lattice, windows.lattice.cells_per_window
    ramp = rim_weights(n, (lattice.window_px - lattice.stride_px) / lattice.cell_px)
    total = np.zeros((lattice.scores_per_cell, strip.stop - strip.start, width), np.float32)
    weights = np.zeros(total.shape[1:], np.float32)
    for i, row in enumerate((lattice.rows // lattice.cell_px).tolist()):
        # The patch's own rows that lie in the strip.
        top, bottom = max(strip.start - row, 0), min(strip.stop - row, n)
        if top >= bottom:
            continue
        rows = slice(row + top - strip.start, row + bottom - strip.start)
        for j, col in enumerate((lattice.cols // lattice.cell_px).tolist()):
            right = min(width - col, n)
            part = np.s_[..., i * n + top : i * n + bottom, j * n : j * n + right]
            # The scores of a cell are there or not there together.
            patch = windows.scores[part].reshape(-1, bottom - top, right)
            observed = np.isfinite(patch[0])
            share = np.outer(ramp[top:bottom], ramp[:right]) * observed
            place = np.s_[rows, col : col + right]
            weights[place] += share
            total[:, *place] += share * np.where(observed, patch, 0)
    return total, weights


def _strips(
    scores: ArrayHW, rows: _Axis, cols: _Axis, strip_rows: int
) -> Iterator[tuple[slice, FloatArray]]:
    """The weights are a product of a row's and a column's, so two sparse products do it."""
    across = cols.weights.T.tocsc()
    for start in range(0, len(rows.reach), strip_rows):
        part = slice(start, start + strip_rows)
        near = slice(int(rows.reach[part, 0].min()), int(rows.reach[part, 1].max()))
        down = rows.weights[part, near]
        block = scores[near].astype(np.float64)
        observed = np.isfinite(block)
        total = (down @ observed.astype(np.float64)) @ across
        weighted = (down @ np.where(observed, block, 0.0)) @ across
        yield (
            part,
            np.divide(weighted, total, out=np.full_like(total, np.nan), where=total > 0),
        )


def _axis(starts: IntArray, length: int, window: int, stride: int) -> _Axis:
    cells = CellAxis(length, window, stride)
    cell = cells.centres
    window_centre = starts + window / 2
    inside = np.clip(cell, 0, length)
    first = np.searchsorted(window_centre, inside - window / 2, side="left")
    stop = np.searchsorted(window_centre, inside + window / 2, side="right")
    covering = stop - first
    begin = np.concatenate([[0], np.cumsum(covering)])
    which = np.arange(begin[-1]) - np.repeat(begin[:-1] - first, covering)
    distance = np.abs(np.repeat(cell, covering) - window_centre[which])
    hann = np.cos(np.pi * distance / window) ** 2
    weight = np.where(distance < window / 2, hann, 0.0) + _FLOOR
    matrix = sparse.csr_array((weight, which, begin), shape=(cells.count, len(starts)))
    return _Axis(cells, matrix, np.stack([first, stop], axis=1))
