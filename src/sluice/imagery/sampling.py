"""Taking values between the pixels of a window: the nearest, or bilinear.

Where two grids are parallel, all pixels of a target row look at the same source row, so rows and
columns are handled apart, which is far faster. Either way a pixel comes out the same to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from sluice.base.arrays import ArrayHW, BoolHW, FloatArray, IntArray
from sluice.base.grid import PixelWindow

_Value = TypeVar("_Value", bound=np.generic)
_Flat = npt.NDArray[np.int32] | IntArray


@dataclass(frozen=True)
class Samples:
    """Where each target pixel's centre falls in the window that is read."""

    inside: BoolHW
    """(H, W), whether it falls on the source."""
    closest: Pick
    """The pixel that holds it."""
    between: Between | None
    """Its place between the pixels around; None where the closest alone is wanted."""

    def of(self, source: ArrayHW) -> ArrayHW:
        """The target's values, (H, W), given those of the window; of use where `inside`.

        As in GDAL, a place has a value only where the pixel that holds it has one, so data
        neither grow into gaps nor shrink from them; pixels without a value carry no weight.
        """
        if self.between is None:
            return self.closest.of(source)
        absent = np.isnan(source)
        if not absent.any():
            return self.between.weigh(source)
        found = self.between.weigh(np.where(absent, np.float32(0), source))
        weight = self.between.weigh((~absent).astype(np.float32))
        # Only where a weight is missing, so that whole neighbourhoods stay bit for bit the same
        # whether or not the tile has a gap elsewhere.
        partial = (weight < 1) & (weight > 0)
        found[partial] /= weight[partial]
        found[self.closest.of(absent)] = np.nan
        return found


@dataclass(frozen=True)
class Pick:
    """Which pixel of the window each target pixel takes."""

    places: tuple[IntArray, IntArray] | _Flat
    """Row of each target row and column of each target column, where the grids are parallel; else
    (H, W) places in the flattened window."""

    def of(self, source: npt.NDArray[_Value]) -> npt.NDArray[_Value]:
        """The pixels, (H, W)."""
        if not isinstance(self.places, tuple):
            return np.asarray(source.take(self.places, mode="clip"))
        rows, cols = self.places
        # Columns first: the rows are fewer then, and are copied whole afterwards. Clipping, which
        # changes nothing here, spares numpy a copy.
        return np.asarray(source.take(cols, axis=1, mode="clip").take(rows, axis=0, mode="clip"))


@dataclass(frozen=True)
class Between:
    """Where each target pixel's centre lies between four source pixels."""

    corners: tuple[Pick, Pick, Pick, Pick]
    """Upper left, upper right, lower left, lower right."""
    down: ArrayHW
    """Way from the upper to the lower neighbours, 0-1; (H, 1) or (H, W)."""
    across: ArrayHW
    """Way from the left to the right neighbours, 0-1; (1, W) or (H, W)."""

    def weigh(self, source: ArrayHW) -> ArrayHW:
        """The mean of the four by nearness."""
        first, last = self.corners[0].places, self.corners[-1].places
        if isinstance(first, tuple) and isinstance(last, tuple):
            (upper_rows, left_cols), (lower_rows, right_cols) = first, last
            columns = [source.take(cols, axis=1, mode="clip") for cols in (left_cols, right_cols)]
            wide = _on_the_way(columns[0], columns[1], self.across)
            rows = [wide.take(rows, axis=0, mode="clip") for rows in (upper_rows, lower_rows)]
            return _on_the_way(rows[0], rows[1], self.down)
        upper_left, upper_right, lower_left, lower_right = (c.of(source) for c in self.corners)
        upper = _on_the_way(upper_left, upper_right, self.across)
        lower = _on_the_way(lower_left, lower_right, self.across)
        return _on_the_way(upper, lower, self.down)


def place_samples(
    rows: FloatArray, cols: FloatArray, inside: BoolHW, window: PixelWindow, *, nearest: bool
) -> Samples:
    """Turn positions into places in the window; beyond its rim the rim's pixels count.

    Args:
        rows: In the source raster, (H, 1) where the grids are parallel, else (H, W); NaN allowed
            where not inside.
        cols: (1, W) or (H, W).
        inside: (H, W), whether a position is on the source.
        window: What is read of it.
        nearest: Take the pixel that holds the position.
    """
    # Taking a whole number off is exact, so the ways between pixels are the same in any window.
    rows, cols = rows - window.row, cols - window.col
    rows[np.isnan(rows)], cols[np.isnan(cols)] = 0, 0

    def pixels(places: FloatArray, have: int) -> IntArray:
        return np.clip(np.floor(places), 0, have - 1).astype(np.int64)

    def pick(row_places: FloatArray, col_places: FloatArray) -> Pick:
        row, col = pixels(row_places, window.height), pixels(col_places, window.width)
        if are_lines(row, col):
            return Pick((row[:, 0], col[0]))
        small = window.height * window.width <= np.iinfo(np.int32).max
        flat = row * window.width + col
        return Pick(flat.astype(np.int32) if small else flat)

    closest = pick(rows, cols)
    if nearest:
        return Samples(inside, closest, None)
    row, col = np.floor(rows - 0.5), np.floor(cols - 0.5)
    between = Between(
        (pick(row, col), pick(row, col + 1), pick(row + 1, col), pick(row + 1, col + 1)),
        (rows - 0.5 - row).astype(np.float32),
        (cols - 0.5 - col).astype(np.float32),
    )
    return Samples(inside, closest, between)


def are_lines(rows: npt.NDArray[_Value], cols: npt.NDArray[_Value]) -> bool:
    """Whether they are a column of rows and a row of columns, which stand for a grid."""
    return (int(rows.shape[1]), int(cols.shape[0])) == (1, 1)


def _on_the_way(one: ArrayHW, other: ArrayHW, way: ArrayHW) -> ArrayHW:
    """From one to the other by a share of the way; `other` is overwritten."""
    other -= one
    other *= way
    other += one
    return other
