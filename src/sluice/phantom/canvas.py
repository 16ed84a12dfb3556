"""The painter's canvas: later strokes cover earlier ones, by their share of each pixel."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from affine import Affine
from rasterio import features
from shapely.geometry.base import BaseGeometry

from sluice.base.arrays import ArrayHW, BoolHW, FloatArray
from sluice.base.grid import PixelWindow
from sluice.phantom.fields import correlated_noise
from sluice.phantom.spectra import BANDS, COVERS

FINE = 2
"""Fine pixels per pixel and side: objects are drawn at 5 m and averaged to 10 m."""


_MARGIN_PX = 4  # what a soft edge may add to a shape


@dataclass(frozen=True)
class Planted:
    """Something whose place is known: a mine or a confuser."""

    kind: str
    outline: BaseGeometry
    """In pixels, x to the right and y down from the scene's upper left corner."""


@dataclass(frozen=True)
class Frame:
    """A part of the canvas at fine resolution, with axes of its own.

    `u` and `v` are distances in pixels from the centre along the object's own axes, so that a
    pond or a street is straight in them whichever way it lies on the ground.
    """

    window: PixelWindow
    u: FloatArray
    v: FloatArray


def frame_at(centre_xy: tuple[float, float], angle: float, reach_px: float) -> Frame:
    """A square frame of `reach_px` to each side of a centre, turned by `angle` radians."""
    col = int(np.floor(centre_xy[0] - reach_px))
    row = int(np.floor(centre_xy[1] - reach_px))
    side = int(np.ceil(2 * reach_px))
    window = PixelWindow(row, col, side, side)
    y, x = (np.indices((side * FINE, side * FINE)) + 0.5) / FINE
    x += col - centre_xy[0]
    y += row - centre_xy[1]
    cos, sin = np.cos(angle), np.sin(angle)
    return Frame(window, x * cos + y * sin, y * cos - x * sin)


def block_mean(fine: npt.NDArray[Any], size: int) -> npt.NDArray[np.float32]:
    """Mean over blocks of `size` x `size` of the last two axes, float32."""
    *lead, height, width = fine.shape
    total = np.zeros((*lead, height // size, width // size), dtype=np.float32)
    # Adding strided views is several times faster than a mean over two short axes.
    for row in range(size):
        for col in range(size):
            total += fine[..., row::size, col::size]
    total /= size * size
    return total


class Canvas:
    """Reflectance, ground class and what is taken, while a scene is being drawn."""

    def __init__(self, size_px: int, rng: np.random.Generator) -> None:
        self.size_px = size_px
        self.rng = rng
        self.shape = (size_px, size_px)
        self.reflectance_bhw = np.zeros((len(BANDS), size_px, size_px), dtype=np.float32)
        self.scl_hw = np.full(self.shape, 4, dtype=np.uint8)
        self.taken_hw: BoolHW = np.zeros(self.shape, dtype=np.bool_)
        """Where something is planted, which nothing else may cover."""

    def noise(self, scale_px: float, slope: float = 3.0) -> ArrayHW:
        """Correlated noise over the whole canvas, see `correlated_noise`."""
        return correlated_noise(self.shape, self.rng, scale_px=scale_px, slope=slope)

    def draw_spectrum(self, name: str) -> FloatArray:
        """The mean spectrum of one new object of a cover, (B,)."""
        return COVERS[name].draw(self.rng)

    def paint(
        self,
        share_hw: ArrayHW,
        spectrum: np.ndarray,
        scl: int,
        *,
        window: PixelWindow | None = None,
    ) -> None:
        """Cover the ground by a share of each pixel.

        Args:
            share_hw: (h, w) in 0-1.
            spectrum: (B,) or (B, h, w) reflectance.
            scl: Class of pixels that are covered by half or more.
            window: Where it lies; the whole canvas without. Parts outside are cut off.
        """
        window = window or PixelWindow(0, 0, *self.shape)
        top, left = max(0, window.row), max(0, window.col)
        bottom = min(self.size_px, window.row + window.height)
        right = min(self.size_px, window.col + window.width)
        if bottom <= top or right <= left:
            return
        inner = (
            slice(top - window.row, bottom - window.row),
            slice(left - window.col, right - window.col),
        )
        outer = (slice(top, bottom), slice(left, right))
        share = share_hw[inner]
        if spectrum.ndim == 1:
            new = spectrum.astype(np.float32)[:, None, None]
        else:
            new = spectrum[(slice(None), *inner)]
        ground = self.reflectance_bhw[(slice(None), *outer)]
        ground += share * (new - ground)
        self.scl_hw[outer][share >= 0.5] = scl

    def paint_fine(self, frame: Frame, kind_hw: np.ndarray, palette: FineSpectra) -> None:
        """Paint an object that was drawn at fine resolution.

        Args:
            frame: Where it lies.
            kind_hw: (h * FINE, w * FINE) index into the palette, negative where the ground
                below shows.
            palette: What each index looks like.
        """
        opaque = kind_hw >= 0
        kind = np.maximum(kind_hw, 0)
        spectra = palette.spectra_kb[kind].transpose(2, 0, 1)
        spectra = spectra * (1 + palette.texture(kind)) * opaque
        share = block_mean(opaque.astype(np.float32), FINE)
        mean = block_mean(spectra, FINE) / np.maximum(share, 1e-6)
        scl = np.asarray(palette.scl_k)[kind][::FINE, ::FINE]
        for value in np.unique(np.asarray(palette.scl_k)):
            part = np.where(scl == value, share, 0).astype(np.float32)
            self.paint(part, mean, int(value), window=frame.window)

    def paint_shape(
        self, shape: BaseGeometry, spectrum: np.ndarray, scl: int, *, strength: float = 1.0
    ) -> None:
        """Paint a shape in one colour, (B,), with edges shared by the pixels they cut."""
        share, window = share_of(shape, self.size_px)
        self.paint(share * np.float32(strength), spectrum, scl, window=window)

    def take(self, shape: BaseGeometry) -> None:
        """Mark a shape's pixels as taken."""
        share, window = share_of(shape, self.size_px)
        self.taken_hw[window.slices] |= share > 0

    def is_taken(self, shape: BaseGeometry) -> bool:
        """Whether a shape touches something planted."""
        share, window = share_of(shape, self.size_px)
        return bool((self.taken_hw[window.slices] & (share > 0)).any())

    def find_place(self, reach_px: float, allowed_hw: BoolHW | None = None) -> tuple[int, int]:
        """A random centre (x, y) whose surroundings are free and inside; marks them as taken.

        Args:
            reach_px: Half the side of the square that must be free.
            allowed_hw: Where the centre may lie; anywhere without.

        Raises:
            NoPlace: The canvas is full.
        """
        reach = int(np.ceil(reach_px))
        if 2 * reach + 5 > self.size_px:
            raise NoPlace(f"{2 * reach} px do not fit a canvas of {self.size_px} px")
        border, side = reach + 2, 2 * reach + 1
        # Counting by sums over boxes costs the same for any reach.
        total = np.pad(self.taken_hw.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
        taken = total[side:, side:] - total[:-side, side:] - total[side:, :-side]
        free = np.zeros(self.shape, dtype=np.bool_)
        free[reach : self.size_px - reach, reach : self.size_px - reach] = (
            taken + total[:-side, :-side] == 0
        )
        if allowed_hw is not None:
            free &= allowed_hw
        inner = free[border : self.size_px - border, border : self.size_px - border]
        places = np.flatnonzero(inner)
        if len(places) == 0:
            raise NoPlace(f"no free place of {2 * reach} px on a canvas of {self.size_px} px")
        y, x = np.unravel_index(places[self.rng.integers(len(places))], inner.shape)
        centre = int(x) + border, int(y) + border
        self.taken_hw[
            centre[1] - reach : centre[1] + reach + 1, centre[0] - reach : centre[0] + reach + 1
        ] = True
        return centre


class NoPlace(Exception):
    """Nothing of that size fits any more; the layout goes on without it."""


class FineSpectra:
    """A palette for `Canvas.paint_fine`: a few spectra, each with its texture."""

    def __init__(
        self,
        names: Sequence[str],
        spectra_kb: Sequence[FloatArray],
        texture_of: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        """Take cover names and the spectrum drawn for each, and optionally a relative texture."""
        self.spectra_kb = np.stack(spectra_kb).astype(np.float32)
        self.scl_k = tuple(COVERS[name].scl for name in names)
        self.pixel_sd_k = np.array([COVERS[name].pixel_sd for name in names], dtype=np.float32)
        self.texture_of = texture_of

    def of_bands(self, index: Sequence[int]) -> FineSpectra:
        """The same palette in some of the bands, by their places in `BANDS`."""
        part = copy.copy(self)
        part.spectra_kb = self.spectra_kb[:, list(index)]
        return part

    def texture(self, kind: np.ndarray) -> np.ndarray:
        """Relative departure of each fine pixel from its spectrum."""
        if self.texture_of is None:
            return np.zeros(kind.shape, dtype=np.float32)
        return self.texture_of(self.pixel_sd_k[kind])


def share_of(geometry: BaseGeometry, size_px: int) -> tuple[ArrayHW, PixelWindow]:
    """Share of each pixel that a shape covers, to a quarter of a pixel.

    Args:
        geometry: In pixels.
        size_px: Side of the canvas.

    Returns:
        (h, w) in 0-1 and the window that it fills: the shape's bounds with a margin, cut to the
        canvas; an empty window where the shape lies outside.
    """
    canvas = (0.0, 0.0, float(size_px), float(size_px))
    xmin, ymin, xmax, ymax = geometry.bounds if not geometry.is_empty else canvas
    left, top = (max(0, int(np.floor(edge)) - _MARGIN_PX) for edge in (xmin, ymin))
    right, bottom = (min(size_px, int(np.ceil(edge)) + _MARGIN_PX) for edge in (xmax, ymax))
    window = PixelWindow(top, left, max(0, bottom - top), max(0, right - left))
    if geometry.is_empty or window.height == 0 or window.width == 0:
        window = PixelWindow(0, 0, 0, 0)
        return np.zeros((0, 0), dtype=np.float32), window
    fine = features.rasterize(
        [geometry],
        out_shape=(window.height * FINE, window.width * FINE),
        transform=Affine(1 / FINE, 0, left, 0, 1 / FINE, top),
        dtype="uint8",
    )
    return block_mean(fine, FINE), window


def outline_of(inside_hw: BoolHW, window: PixelWindow, pixels_per_px: int = FINE) -> BaseGeometry:
    """The exact outline of a set of pixels: its area is their number.

    Args:
        inside_hw: (h, w), at `pixels_per_px` times the canvas's resolution.
        window: Where it lies on the canvas.
        pixels_per_px: Pixels of `inside_hw` per canvas pixel and side.

    Returns:
        Polygon or multipolygon in canvas pixels; empty where nothing is inside.
    """
    step = 1 / pixels_per_px
    transform = Affine(step, 0, window.col, 0, step, window.row)
    parts = [
        shapely.geometry.shape(shape)
        for shape, _ in features.shapes(
            inside_hw.astype(np.uint8), mask=inside_hw, transform=transform
        )
    ]
    return shapely.union_all(parts)
