"""Reading a band onto another grid, so that no pixel depends on the tile it is read in.

GDAL's warper approximates coordinates along each line of the requested rectangle, so a pixel's
value depends a little on the rectangle: tiles would meet in seams. Here coordinates are exact
at the nodes of a lattice that is anchored to the CRS, not to the tile, and bilinear between
them: any tile gives, to the last bit, the pixels of the whole.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from affine import Affine
from odc.geo import CRS
from odc.geo.geobox import GeoBox

from sluice.base.arrays import ArrayBHW, ArrayHW, BoolHW, FloatArray, IntArray
from sluice.base.errors import GridMismatch
from sluice.base.grid import PixelWindow
from sluice.imagery.assets import Asset

_LATTICE_PX = 16
# Over 16 pixels of 10 m, a UTM zone's curvature moves a straight line by under a millimetre.
_ALIGNED_PX = 1e-3
_PLANS_KEPT = 8
"""Scenes of a series share their grids: a plan serves a tile's cloud layers or bands of 20 m."""
_MAX_SOURCE_PIXELS = 8_000_000


@dataclass(frozen=True)
class _Samples:
    """Where each target pixel's centre falls in the window that is read, all (H, W)."""

    inside: BoolHW
    """Whether it falls on the source."""
    closest: IntArray
    """Flat index of the pixel that holds it."""
    between: _Between | None
    """Its place between the pixels around; None where the closest alone is wanted."""
    lines: tuple[IntArray, IntArray] | None = None
    """Row and column of the closest pixel for each target row and column, where the grids are
    parallel and the closest alone is wanted: far faster than pixel by pixel."""


@dataclass(frozen=True)
class _Between:
    """Where each target pixel's centre lies between four source pixels, all (H, W)."""

    around: tuple[IntArray, IntArray, IntArray, IntArray]
    """Flat indices of upper left, upper right, lower left, lower right neighbour."""
    down: ArrayHW
    """Way from the upper to the lower neighbours, 0-1."""
    across: ArrayHW
    """Way from the left to the right neighbours, 0-1."""


@dataclass(frozen=True)
class ReadPlan:
    """How to read bands of one source grid onto one target grid; shared by such bands."""

    target: GeoBox
    blocks: tuple[int, int]
    """Source pixels averaged into one, by row and column; (1, 1) where none are."""
    window: PixelWindow | None
    """Block pixels to read; None where the grids do not meet."""
    corner: tuple[int, int] | None
    """Where the window lies in the target, if pixels are copied as they are."""
    samples: _Samples | None
    """Where to look in the window, if they are not."""
    nearest: bool

    @functools.cached_property
    def is_covered(self) -> bool:
        """Whether every target pixel falls on the source."""
        if self.corner is not None and self.window is not None:
            return (self.window.height, self.window.width) == self.target.shape.yx
        return self.samples is not None and bool(self.samples.inside.all())

    def read(self, asset: Asset) -> ArrayHW:
        """Read one band; see `read_bands`."""
        only: ArrayHW = self.read_bands([asset])[0]
        return only

    def read_bands(self, assets: Sequence[Asset], *, backscatter: bool = False) -> ArrayBHW:
        """Read bands.

        Args:
            assets: Bands on the plan's source grid.
            backscatter: They are linear power or dB. Several pixels are weighed in power, since
                the mean of dB lies below the mean of what came back; dB comes out.

        Returns:
            (bands, H, W) float32 on the target grid, NaN where there is no value.

        Raises:
            AssetReadError: A file is damaged.
        """
        out: ArrayBHW = np.empty((len(assets), *self.target.shape.yx), dtype=np.float32)
        if not self.is_covered:
            out.fill(np.nan)
        if self.window is None:
            return out
        copied = self.nearest or (self.corner is not None and self.blocks == (1, 1))
        # What is copied stays to the last bit as it was stored.
        in_power = [backscatter and (asset.is_power or not copied) for asset in assets]
        sources = _read_blocks(assets, self.window, self.blocks, in_power)
        for band, source in zip(out, sources, strict=True):
            if self.corner is not None:
                row, col = self.corner
                band[row : row + self.window.height, col : col + self.window.width] = source
            elif self.samples is not None:
                if self.samples.lines is not None:
                    rows, cols = self.samples.lines
                    # Columns first: the rows are fewer then, and are copied whole afterwards.
                    found = source.take(cols, axis=1).take(rows, axis=0)
                elif self.samples.between is None:
                    found = source.take(self.samples.closest)
                else:
                    found = _bilinear(source, self.samples.closest, self.samples.between)
                np.copyto(band, found, where=self.samples.inside)
        for band, power in zip(out, in_power, strict=True):
            if power:
                _to_decibel(band)
        return out


@functools.lru_cache(maxsize=_PLANS_KEPT)
def plan_read(source: GeoBox, target: GeoBox, *, nearest: bool = False) -> ReadPlan:
    """Decide how pixels of a source grid reach a target grid.

    Grids that share their lines are copied. Otherwise bilinear; where the target's pixels are
    more than twice the source's, whole source pixels are averaged first, as bilinear alone would
    look at four of them and alias the rest.

    Args:
        source: Grid of the file.
        target: Axis-parallel grid to read onto.
        nearest: Take the pixel that holds the target pixel's centre (for classes).

    Raises:
        GridMismatch: The target is rotated.
    """
    if target.affine.b or target.affine.d:
        raise GridMismatch("images are read onto axis-parallel grids only; got a rotated one")
    blocks = (1, 1)
    shift = aligned_shift(source, target)
    if shift is None and not nearest:
        blocks = _block_size(source, target)
        source = _blocked(source, blocks)
        shift = aligned_shift(source, target)
    if shift is not None:
        window, corner = _overlap(shift, source.shape.yx, target.shape.yx)
        return ReadPlan(target, blocks, window, corner, None, nearest)
    rows, cols = _positions(source, target)
    window = _needed(rows, cols, source.shape.yx)
    samples = None if window is None else _place_samples(rows, cols, window, nearest=nearest)
    return ReadPlan(target, blocks, window, None, samples, nearest)


def crs_of(grid: GeoBox) -> CRS:
    """The CRS of a grid that must have one.

    Raises:
        GridMismatch: It has none.
    """
    if grid.crs is None:
        raise GridMismatch("a grid without CRS cannot be placed on Earth; give it one")
    return grid.crs


def aligned_shift(source: GeoBox, target: GeoBox) -> tuple[int, int] | None:
    """Row and column of `source` at which `target` begins, if both share their grid lines.

    Returns:
        Whole pixels, or None where CRS, pixel size or phase differ.
    """
    if source.crs is None or source.crs != target.crs:
        return None
    inverse, wanted = ~source.affine, target.affine
    # The target's first corner and its pixel's two sides, in source pixels.
    col_at = inverse.a * wanted.c + inverse.b * wanted.f + inverse.c
    row_at = inverse.d * wanted.c + inverse.e * wanted.f + inverse.f
    across = (
        inverse.a * wanted.a + inverse.b * wanted.d,
        inverse.d * wanted.a + inverse.e * wanted.d,
    )
    down = inverse.a * wanted.b + inverse.b * wanted.e, inverse.d * wanted.b + inverse.e * wanted.e
    height, width = target.shape.yx
    drift = max(abs(across[0] - 1), abs(across[1])) * width
    drift += max(abs(down[0]), abs(down[1] - 1)) * height
    row, col = round(row_at), round(col_at)
    drift += max(abs(row_at - row), abs(col_at - col))
    return (row, col) if drift < _ALIGNED_PX else None


def _overlap(
    shift: tuple[int, int], source: tuple[int, int], target: tuple[int, int]
) -> tuple[PixelWindow | None, tuple[int, int]]:
    """The source window that the target covers, and where in the target it goes."""
    (top, height), (left, width) = (
        (max(0, s), min(have, s + want) - max(0, s))
        for s, have, want in zip(shift, source, target, strict=True)
    )
    corner = (top - shift[0], left - shift[1])
    if height <= 0 or width <= 0:
        return None, corner
    return PixelWindow(top, left, height, width), corner


def _block_size(source: GeoBox, target: GeoBox) -> tuple[int, int]:
    """Source pixels to average, by row and column, judged at the source's centre.

    It must not depend on the tile, so only the target's CRS and resolution are used.
    """
    height, width = source.shape.yx
    # The centre, one pixel below it, one pixel right of it.
    row = np.array([height / 2, height / 2 + 1, height / 2])
    col = np.array([width / 2, width / 2, width / 2 + 1])
    a = source.affine
    x, y = a.a * col + a.b * row + a.c, a.d * col + a.e * row + a.f
    if source.crs != target.crs:
        x, y = crs_of(source).transformer_to_crs(crs_of(target), always_xy=True)(x, y)
    below, right = np.hypot(x[1:] - x[0], y[1:] - y[0])
    pixel = math.sqrt(abs(target.affine.a * target.affine.e))
    rows, cols = (
        math.floor(pixel / step + 1e-3) if pixel / step > 2 + 1e-3 else 1
        for step in (float(below), float(right))
    )
    return min(rows, height), min(cols, width)


def _blocked(source: GeoBox, blocks: tuple[int, int]) -> GeoBox:
    if blocks == (1, 1):
        return source
    height, width = source.shape.yx
    shape = math.ceil(height / blocks[0]), math.ceil(width / blocks[1])
    a, (down, across) = source.affine, blocks
    larger = Affine(a.a * across, a.b * down, a.c, a.d * across, a.e * down, a.f)
    return GeoBox(shape, larger, source.crs)


def _positions(source: GeoBox, target: GeoBox) -> tuple[FloatArray, FloatArray]:
    """Row and column in the source of each target pixel's centre, NaN outside of it."""
    height, width = target.shape.yx
    affine = target.affine
    nodes_x, i, u = _lattice(affine.c, affine.a, width)
    nodes_y, j, v = _lattice(affine.f, affine.e, height)
    x, y = np.meshgrid(nodes_x, nodes_y)
    if source.crs != target.crs:
        x, y = crs_of(target).transformer_to_crs(crs_of(source), always_xy=True)(x, y)
        if crs_of(source).geographic:
            # Keep longitudes of a source at the date line together.
            middle = source.affine.c + source.affine.a * source.shape.x / 2
            x = middle + (x - middle + 180) % 360 - 180
    outside = ~(np.isfinite(x) & np.isfinite(y))
    x[outside], y[outside] = np.nan, np.nan
    inverse = ~source.affine
    found = []
    for node in (
        inverse.d * x + inverse.e * y + inverse.f,
        inverse.a * x + inverse.b * y + inverse.c,
    ):
        lines = node[j] * (1 - v)[:, None] + node[j + 1] * v[:, None]
        found.append(lines[:, i] * (1 - u) + lines[:, i + 1] * u)
    rows, cols = found
    rows_have, cols_have = source.shape.yx
    inside = (rows >= 0) & (rows < rows_have) & (cols >= 0) & (cols < cols_have)
    rows[~inside], cols[~inside] = np.nan, np.nan
    return rows, cols


def _lattice(origin: float, step: float, count: int) -> tuple[FloatArray, IntArray, FloatArray]:
    """Nodes along one axis, and for each pixel centre the node before it and the way to the next.

    Args:
        origin: Coordinate of the first pixel's outer edge.
        step: Pixel size, signed.
        count: Pixels.
    """
    spacing = abs(step) * _LATTICE_PX
    centres = origin + (np.arange(count, dtype=np.float64) + 0.5) * step
    places = centres / spacing
    before = np.floor(places).astype(np.int64)
    first = before.min()
    nodes = np.arange(first, before.max() + 2, dtype=np.float64) * spacing
    return nodes, before - first, places - before


def _needed(rows: FloatArray, cols: FloatArray, shape: tuple[int, int]) -> PixelWindow | None:
    """The source pixels that bilinear weights touch."""
    inside = np.isfinite(rows)
    if not inside.any():
        return None
    spans = []
    for values, have in zip((rows[inside], cols[inside]), shape, strict=True):
        first = max(0, math.floor(values.min()) - 1)
        spans.append((first, min(have, math.floor(values.max()) + 2) - first))
    (row, height), (col, width) = spans
    return PixelWindow(row, col, height, width)


def _place_samples(
    rows: FloatArray, cols: FloatArray, window: PixelWindow, *, nearest: bool
) -> _Samples:
    """Turn positions into indices of the window; beyond its rim the rim's pixels count."""
    inside = np.isfinite(rows)
    # Taking a whole number off is exact, so the ways between pixels are the same in any window.
    rows = np.where(inside, rows - window.row, 0.5)
    cols = np.where(inside, cols - window.col, 0.5)
    closest = rows.astype(np.int64) * window.width + cols.astype(np.int64)
    if nearest:
        lines = None
        if inside.all():
            own_rows, own_cols = rows.astype(np.int64), cols.astype(np.int64)
            if (own_rows == own_rows[:, :1]).all() and (own_cols == own_cols[:1]).all():
                lines = own_rows[:, 0], own_cols[0]
        return _Samples(inside, closest, None, lines)
    row, col = np.floor(rows - 0.5), np.floor(cols - 0.5)
    upper, lower = (
        np.clip(row + k, 0, window.height - 1).astype(np.int64) * window.width for k in (0, 1)
    )
    left, right = (np.clip(col + k, 0, window.width - 1).astype(np.int64) for k in (0, 1))
    between = _Between(
        (upper + left, upper + right, lower + left, lower + right),
        (rows - 0.5 - row).astype(np.float32),
        (cols - 0.5 - col).astype(np.float32),
    )
    return _Samples(inside, closest, between)


def _bilinear(source: ArrayHW, closest: IntArray, between: _Between) -> ArrayHW:
    """Weigh the four pixels around each place; those without a value carry no weight.

    As in GDAL, a place has a value only where the pixel that holds it has one, so data neither
    grow into gaps nor shrink from them.
    """
    absent = np.isnan(source)
    if not absent.any():
        return _weigh(source, between)
    found = _weigh(np.where(absent, np.float32(0), source), between)
    weight = _weigh((~absent).astype(np.float32), between)
    # Only where a weight is missing, so that whole neighbourhoods stay bit for bit the same
    # whether or not the tile has a gap elsewhere.
    partial = (weight < 1) & (weight > 0)
    found[partial] /= weight[partial]
    found[absent.take(closest)] = np.nan
    return found


def _weigh(source: ArrayHW, between: _Between) -> ArrayHW:
    upper_left, upper_right, lower_left, lower_right = map(source.take, between.around)
    upper = upper_left + (upper_right - upper_left) * between.across
    lower = lower_left + (lower_right - lower_left) * between.across
    found: ArrayHW = upper + (lower - upper) * between.down
    return found


def _read_blocks(
    assets: Sequence[Asset],
    window: PixelWindow,
    blocks: tuple[int, int],
    in_power: Sequence[bool],
) -> Iterator[ArrayHW]:
    """Read a window of block pixels of each band: the mean of the values in each block, or NaN."""
    down, across = blocks
    if blocks == (1, 1):
        yield from map(_read_values, assets, [window] * len(assets), in_power)
        return
    have_rows, have_cols = assets[0].geobox.shape.yx
    left, right = window.col * across, min(have_cols, (window.col + window.width) * across)
    out: ArrayBHW = np.empty((len(assets), window.height, window.width), dtype=np.float32)
    # In strips, as a fine image holds many pixels under one coarse tile; and all bands of a
    # strip in turn, as a file may interleave them, and GDAL then decodes all to read one.
    strip = max(1, _MAX_SOURCE_PIXELS // ((right - left) * down))
    for start in range(0, window.height, strip):
        count = min(strip, window.height - start)
        top = (window.row + start) * down
        bottom = min(have_rows, top + count * down)
        for band, asset, power in zip(out, assets, in_power, strict=True):
            part = PixelWindow(top, left, bottom - top, right - left)
            values = _read_values(asset, part, power)
            band[start : start + count] = _block_means(values, (count, window.width), blocks)
    yield from out


def _read_values(asset: Asset, window: PixelWindow, in_power: bool) -> ArrayHW:
    values = asset.read(window)
    if in_power and not asset.is_power:
        values = np.float32(10) ** (values / np.float32(10))
    return values


def _to_decibel(power: ArrayHW) -> None:
    """Turn power into dB in place; what is not above 0 has none."""
    power[~(power > 0)] = np.nan
    np.log10(power, out=power)
    power *= np.float32(10)


def _block_means(values: ArrayHW, shape: tuple[int, int], blocks: tuple[int, int]) -> ArrayHW:
    """Mean of the values in each block; the last ones may be cut off by the raster's edge."""
    down, across = blocks
    padded = np.full((shape[0] * down, shape[1] * across), np.nan, dtype=np.float32)
    padded[: values.shape[0], : values.shape[1]] = values
    present = ~np.isnan(padded)
    padded[~present] = 0
    totals = _block_sums(padded, blocks)
    counted = _block_sums(present.astype(np.float32), blocks)
    # As for a place between pixels: a block has a value where half of it or more was seen.
    seen = 2 * counted >= down * across
    mean: ArrayHW = np.divide(
        totals, counted, out=np.full(shape, np.nan, dtype=np.float32), where=seen
    )
    return mean


def _block_sums(values: ArrayHW, blocks: tuple[int, int]) -> ArrayHW:
    """Sum of each block; slices are added in a fixed order, so it is the same in every tile."""
    down, across = blocks
    lines = values[0::down].copy()
    for k in range(1, down):
        lines += values[k::down]
    totals: ArrayHW = lines[:, 0::across].copy()
    for k in range(1, across):
        totals += lines[:, k::across]
    return totals
