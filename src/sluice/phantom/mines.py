"""Alluvial mines: bare ground mottled with many small ponds of many colours, along streams."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from shapely.geometry import LineString

from sluice.base.arrays import ArrayHW, BoolHW, FloatArray
from sluice.phantom.canvas import (
    FINE,
    Canvas,
    FineSpectra,
    Frame,
    Planted,
    frame_at,
    outline_of,
)
from sluice.phantom.fields import correlated_noise

_SOILS = ("mine_ochre", "mine_sand", "mine_tailings")
_PONDS = ("pond_turquoise", "pond_orange", "pond_milky", "pond_green", "pond_dark")
_PX_PER_HA = 100.0  # of 10 m


@dataclass(frozen=True)
class MineStyle:
    """How a kind of working looks from above."""

    name: str
    elongation: float
    """Length over width of the worked ground."""
    bare_share: float
    """Part of the worked ground that is bare or water; the rest is left or regrown."""
    pond_share: float
    """Part of the bare part that is water."""
    grain_px: float
    """Size of pits and heaps, in pixels of 10 m."""
    freshness: float
    """1 is bright and bare, 0 grown over."""
    weight: float
    """How often it occurs."""


STYLES = (
    MineStyle("pits", 1.8, 0.42, 0.25, 2.0, 0.95, 0.26),
    MineStyle("strip", 7.0, 0.75, 0.24, 2.0, 0.85, 0.30),
    MineStyle("field", 1.6, 0.88, 0.24, 3.2, 0.95, 0.26),
    MineStyle("old", 2.2, 0.65, 0.22, 2.8, 0.40, 0.18),
)


@dataclass(frozen=True)
class MinePlan:
    """A mine as it will be when it has reached its full size."""

    style: str
    """Name of one of `STYLES`."""
    frame: Frame
    """Where it lies."""
    kind_hw: np.ndarray
    """(h, w) at fine resolution: index into the palette, 0 where regrowth stands, negative
    where nothing is touched."""
    palette: FineSpectra
    """What each index looks like; index 0 is regrowth."""
    rank_hw: FloatArray
    """(h, w) at fine resolution: ground is worked in the order of this number."""

    @property
    def planted(self) -> Planted:
        """Kind and outline at full size."""
        return Planted(self.style, outline_of(worked_outline(self.kind_hw > 0), self.frame.window))


def plant_mine(
    canvas: Canvas, area_ha: float, streams: list[LineString], far_hw: ArrayHW
) -> Planted:
    """Paint one mine near a stream.

    Args:
        canvas: Painted in place.
        area_ha: Area of the outline to aim at; the truth is the outline returned.
        streams: Creeks, in pixels; a mine follows the nearest one's direction.
        far_hw: Distance of each pixel to the nearest of them, in pixels.

    Returns:
        The mine, kind = name of its style; the outline closes gaps of up to 40 m.

    Raises:
        NoPlace: No room for it.
    """
    plan = plan_mine(canvas, area_ha, streams, far_hw)
    canvas.paint_fine(plan.frame, plan.kind_hw, plan.palette)
    return plan.planted


def plan_mine(
    canvas: Canvas, area_ha: float, streams: list[LineString], far_hw: ArrayHW
) -> MinePlan:
    """Find a place for a mine and draw what it will look like, without painting it.

    Arguments as for `plant_mine`; the place is marked as taken.

    Raises:
        NoPlace: No room for it.
    """
    rng = canvas.rng
    weights = np.array([style.weight for style in STYLES])
    style = STYLES[rng.choice(len(STYLES), p=weights / weights.sum())]
    # Pits leave ground between them that the outline does not count.
    area_px = area_ha * _PX_PER_HA / min(1.0, style.bare_share + 0.2)
    # Large workings fill the valley's width too: length alone would run out of the scene.
    elongation = max(1.3, style.elongation * min(1.0, float(np.sqrt(25 / area_ha))))
    half_width = float(np.sqrt(area_px / (np.pi * elongation)))
    half_length = half_width * elongation
    reach = 1.25 * half_length + 4
    centre = canvas.find_place(reach, far_hw < max(6.0, 0.8 * half_width))
    frame = frame_at(centre, _heading(streams, centre), reach)
    rank, limit = _working_order(canvas, frame, half_width, half_length, area_px)
    kind, palette = _dig(canvas, style, np.asarray(rank <= limit))
    return MinePlan(style.name, frame, kind, palette, rank)


def worked_outline(bare: BoolHW) -> BoolHW:
    """Bare ground and ponds with gaps of up to 40 m closed and holes filled.

    Args:
        bare: (h, w) at fine resolution, True where ground is bare or water.

    Returns:
        The same shape. More bare ground never gives less outline.
    """
    closed = ndimage.binary_closing(np.pad(bare, 8), iterations=4)[8:-8, 8:-8]
    return np.asarray(ndimage.binary_fill_holes(closed | bare))


def _heading(streams: list[LineString], centre_xy: tuple[int, int]) -> float:
    """Direction of the nearest stream there, radians."""
    x, y = centre_xy
    points = np.vstack([np.asarray(stream.segmentize(4).coords) for stream in streams])
    nearest = int(np.argmin(np.hypot(points[:, 0] - x, points[:, 1] - y)))
    before, after = points[max(0, nearest - 8)], points[min(len(points) - 1, nearest + 8)]
    return float(np.arctan2(after[1] - before[1], after[0] - before[0]))


def _noise(canvas: Canvas, frame: Frame, scale_px: float, slope: float) -> FloatArray:
    noise = correlated_noise(frame.u.shape, canvas.rng, scale_px=scale_px * FINE, slope=slope)
    return noise.astype(np.float64)


def _working_order(
    canvas: Canvas, frame: Frame, half_width: float, half_length: float, area_px: float
) -> tuple[FloatArray, float]:
    """An irregular lobed patch of the wanted area, bent like the stream it follows.

    Returns:
        A number that grows from the patch's core outwards, and the one at its edge.
    """
    rng = canvas.rng
    bend = (
        half_width
        * rng.uniform(0.3, 1.0)
        * np.sin(
            frame.u * 2 * np.pi / (half_length * rng.uniform(0.9, 1.8)) + rng.uniform(0, 2 * np.pi)
        )
    )
    distance = np.hypot(frame.u / half_length, (frame.v - bend) / half_width)
    lobes = 0.30 * _noise(canvas, frame, half_width * 0.55, 4) + 0.12 * _noise(canvas, frame, 1, 3)
    height = distance + lobes
    # The frame's rim stays untouched, so that the outline lies inside the scene.
    height[np.maximum(np.abs(frame.u), np.abs(frame.v)) > frame.window.width / 2 - 1.5] = np.inf
    pixels = int(area_px * FINE**2)
    return height, float(np.partition(height.ravel(), pixels)[pixels])


def _dig(canvas: Canvas, style: MineStyle, worked: BoolHW) -> tuple[np.ndarray, FineSpectra]:
    """Choose what each fine pixel shows: soil, pond, regrowth, or the ground that was there.

    Returns:
        Index into the palette (negative where nothing was touched), and the palette.
    """
    rng = canvas.rng
    freshness = style.freshness * rng.uniform(0.6, 1.1)

    def noise(scale_px: float, slope: float) -> FloatArray:
        field = correlated_noise(worked.shape, rng, scale_px=scale_px * FINE, slope=slope)
        return field.astype(np.float64)

    digs = noise(style.grain_px, 3.8) + 0.7 * noise(4 * style.grain_px, 4)
    bare = worked & (digs > np.quantile(digs[worked], 1 - style.bare_share))
    bare = np.asarray(ndimage.binary_opening(bare, iterations=2))
    if not bare.any():
        bare = worked
    wet = noise(style.grain_px * 0.8, 4.5) - 0.25 * digs
    water = bare & (wet > np.quantile(wet[bare], 1 - style.pond_share))
    names, spectra = _colours(canvas, freshness)
    number_hw, count = ndimage.label(water)
    pond_of = rng.integers(_SOIL_TONES + 2, len(names), size=count + 1)
    # Ordered tones on a smooth field: soil grades from place to place, it does not flicker.
    tones = noise(2.2 * style.grain_px, 3.2)
    tone_hw = np.digitize(tones, np.quantile(tones, np.linspace(0, 1, _SOIL_TONES + 1)[1:-1]))
    kind = np.full(worked.shape, -1, dtype=np.int16)
    # Between the pits regrowth thickens with age; young workings leave forest standing.
    young = noise(3, 3)
    kind[worked & (young > np.quantile(young, 0.3 + 0.4 * freshness))] = 0
    kind[bare] = tone_hw[bare] + 1
    # Washed gravel lies in small heaps, the brightest thing in a fresh mine.
    kind[bare & (noise(1.1, 4) + 0.3 * tones > 2.6 - 0.5 * freshness)] = _SOIL_TONES + 1
    kind[water] = pond_of[number_hw[water]]
    rough = 0.6 * noise(0.6, 2) + 0.8 * noise(2.5, 3)

    def texture(pixel_sd: np.ndarray) -> np.ndarray:
        return np.asarray(np.clip(pixel_sd * rough, -0.5, 0.6), dtype=np.float32)

    return kind, FineSpectra(names, spectra, texture)


_SOIL_TONES = 5


def _colours(canvas: Canvas, freshness: float) -> tuple[list[str], list[FloatArray]]:
    """One mine's palette: regrowth, soil from damp to washed, heaps, then ponds.

    A mine works one kind of ground: its soils are mixtures of two, veiled with weeds as it ages,
    and its shallow ponds show their bed.
    """
    rng = canvas.rng
    chances = [0.48, 0.32, 0.2] if freshness > 0.5 else [0.5, 0.05, 0.45]
    first, second = (str(name) for name in rng.choice(_SOILS, size=2, p=chances))
    damp, washed = canvas.draw_spectrum(first), canvas.draw_spectrum(second)
    weeds = canvas.draw_spectrum("regrowth")
    names, spectra = ["regrowth"], [weeds]
    for mix in np.linspace(0, 0.8, _SOIL_TONES):
        soil = (0.75 + 0.55 * mix) * ((1 - mix) * damp + mix * washed)
        veil = np.clip((1 - freshness) * rng.uniform(0.5, 1.0), 0, 0.75)
        names.append(first)
        spectra.append((1 - veil) * soil + veil * weeds)
    names.append("mine_sand")
    spectra.append(0.3 * spectra[-1] + 0.7 * canvas.draw_spectrum("mine_sand"))
    for name in rng.choice(_PONDS, size=rng.integers(2, 4), replace=False):
        for _ in range(2):
            bed = rng.uniform(0, 0.4)
            names.append(str(name))
            spectra.append((1 - bed) * canvas.draw_spectrum(str(name)) + bed * spectra[1])
    return names, spectra
