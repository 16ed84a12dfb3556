"""Reading a band onto another grid, so that no pixel depends on the tile it is read in.

GDAL's warper approximates coordinates along each line of the requested rectangle, so a pixel's
value depends a little on the rectangle: tiles would meet in seams. Here coordinates are exact
at the nodes of a lattice that is anchored to the CRS, not to the tile, and bilinear between
them: any tile gives, to the last bit, the pixels of the whole.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from affine import Affine
from odc.geo import CRS
from odc.geo.geobox import GeoBox

from sluice.base.arrays import ArrayBHW, ArrayHW, FloatArray, IntArray
from sluice.base.errors import GridMismatch
from sluice.base.grid import PixelWindow
from sluice.imagery.assets import Asset
from sluice.imagery.sampling import Samples, are_lines, place_samples

_LATTICE_PX = 16
# Over 16 pixels of 10 m, a UTM zone's curvature moves a straight line by under a millimetre.
_ALIGNED_PX = 1e-3
_PLANS_KEPT = 8
"""Scenes of a series share their grids: a plan serves a tile's cloud layers or bands of 20 m."""
_MAX_SOURCE_PIXELS = 8_000_000


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
    samples: Samples | None
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
        band: ArrayHW = np.empty(self.target.shape.yx, np.float32)
        self.read_bands([asset], [band])
        return band

    def read_bands(
        self, assets: Sequence[Asset], out: Sequence[ArrayHW], *, backscatter: bool = False
    ) -> None:
        """Read bands.

        Args:
            assets: Bands on the plan's source grid.
            out: (H, W) float32 on the target grid for each, to read into; NaN afterwards where
                there is no value.
            backscatter: They are linear power or dB. Several pixels are weighed in power, since
                the mean of dB lies below the mean of what came back; dB comes out.

        Raises:
            AssetReadError: A file is damaged.
        """
        if not self.is_covered:
            for band in out:
                band.fill(np.nan)
        if self.window is None:
            return
        copied = self.nearest or (self.corner is not None and self.blocks == (1, 1))
        # What is copied stays to the last bit as it was stored.
        in_power = [backscatter and (asset.is_power or not copied) for asset in assets]
        if self.corner is not None and self.blocks == (1, 1):
            for band, asset in zip(out, assets, strict=True):
                asset.read(self.window, out=band[self._place])
        else:
            sources = _read_blocks(assets, self.window, self.blocks, in_power)
            for band, source in zip(out, sources, strict=True):
                self._put(source, band)
        for band, power in zip(out, in_power, strict=True):
            if power:
                _to_decibel(band)

    def read_classes(
        self, asset: Asset, classify: Callable[[ArrayHW], npt.NDArray[np.uint8]]
    ) -> npt.NDArray[np.uint8]:
        """Read a layer and classify its values before they are spread over the grid.

        Args:
            asset: On the plan's source grid; the plan is of nearest pixels.
            classify: Of values as `Asset.read` gives them, pixel by pixel.

        Returns:
            (H, W) classes, 0 outside the source.
        """
        classes = np.zeros(self.target.shape.yx, np.uint8)
        if self.window is None:
            return classes
        found = classify(asset.read(self.window))
        if self.samples is not None and self.is_covered:
            return self.samples.closest.of(found)
        if self.corner is not None:
            classes[self._place] = found
        elif self.samples is not None:
            np.copyto(classes, self.samples.closest.of(found), where=self.samples.inside)
        return classes

    @property
    def _place(self) -> tuple[slice, slice]:
        """Of the window in the target, if pixels are copied as they are."""
        assert self.corner is not None and self.window is not None  # noqa: S101, PT018 - see corner
        (row, col), window = self.corner, self.window
        return slice(row, row + window.height), slice(col, col + window.width)

    def _put(self, source: ArrayHW, band: ArrayHW) -> None:
        """Spread the window's pixels over the target."""
        if self.corner is not None:
            band[self._place] = source
        elif self.samples is not None:
            np.copyto(band, self.samples.of(source), where=self.samples.inside)


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
    height, width = source.shape.yx
    # NaN compares as False.
    row_inside, col_inside = (rows >= 0) & (rows < height), (cols >= 0) & (cols < width)
    inside = row_inside & col_inside
    if not inside.any():
        return ReadPlan(target, blocks, None, None, None, nearest)
    if not are_lines(rows, cols):
        row_inside = col_inside = inside
    window = _needed(rows[row_inside], cols[col_inside], source.shape.yx)
    samples = place_samples(rows, cols, inside, window, nearest=nearest)
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
    """Row and column in the source of each target pixel's centre, NaN where it has none.

    (H, 1) and (1, W) where the grids are parallel, else (H, W) each.
    """
    height, width = target.shape.yx
    affine, inverse = target.affine, ~source.affine
    nodes_x, i, u = _lattice(affine.c, affine.a, width)
    nodes_y, j, v = _lattice(affine.f, affine.e, height)
    if source.crs == target.crs and not (inverse.b or inverse.d):
        rows, cols = inverse.e * nodes_y + inverse.f, inverse.a * nodes_x + inverse.c
        return (
            (rows[j] * (1 - v) + rows[j + 1] * v)[:, None],
            (cols[i] * (1 - u) + cols[i + 1] * u)[None],
        )
    x, y = np.meshgrid(nodes_x, nodes_y)
    if source.crs != target.crs:
        x, y = crs_of(target).transformer_to_crs(crs_of(source), always_xy=True)(x, y)
        if crs_of(source).geographic:
            # Keep longitudes of a source at the date line together.
            middle = source.affine.c + source.affine.a * source.shape.x / 2
            x = middle + (x - middle + 180) % 360 - 180
    outside = ~(np.isfinite(x) & np.isfinite(y))
    x[outside], y[outside] = np.nan, np.nan
    found = []
    for node in (
        inverse.d * x + inverse.e * y + inverse.f,
        inverse.a * x + inverse.b * y + inverse.c,
    ):
        lines = node[j] * (1 - v)[:, None] + node[j + 1] * v[:, None]
        found.append(lines[:, i] * (1 - u) + lines[:, i + 1] * u)
    rows, cols = found
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


def _needed(rows: FloatArray, cols: FloatArray, shape: tuple[int, int]) -> PixelWindow:
    """The source pixels that bilinear weights touch, of places inside it."""
    spans = []
    for values, have in zip((rows, cols), shape, strict=True):
        first = max(0, math.floor(values.min()) - 1)
        spans.append((first, min(have, math.floor(values.max()) + 2) - first))
    (row, height), (col, width) = spans
    return PixelWindow(row, col, height, width)


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
