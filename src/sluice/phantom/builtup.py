"""What people build that a mine detector may take for a mine."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from shapely.geometry import LineString
from shapely.geometry.base import BaseGeometry

from sluice.phantom.canvas import (
    FINE,
    Canvas,
    FineSpectra,
    Frame,
    Planted,
    frame_at,
    outline_of,
)
from sluice.phantom.fields import correlated_noise, meander, through
from sluice.phantom.spectra import BARE, VEGETATION


def plant_fish_ponds(canvas: Canvas) -> Planted:
    """Rows of rectangular ponds between narrow dykes, each of its own colour.

    Raises:
        NoPlace: No room for it.
    """
    rng = canvas.rng
    across, along = rng.uniform(3, 6), rng.uniform(5, 11)
    columns, rows = int(rng.integers(2, 7)), int(rng.integers(1, 5))
    half_u, half_v = columns * across / 2, rows * along / 2
    frame = _place(canvas, np.hypot(half_u, half_v) + 2)
    inside = (np.abs(frame.u) < half_u) & (np.abs(frame.v) < half_v)
    u, v = (frame.u + half_u) / across, (frame.v + half_v) / along
    dyke = rng.uniform(0.35, 0.6)
    edge = np.minimum(np.abs(u - np.round(u)) * across, np.abs(v - np.round(v)) * along) < dyke
    column, row = np.clip(u, 0, columns - 1).astype(int), np.clip(v, 0, rows - 1).astype(int)
    names = ["yard", "pasture_green", *["fish_pond"] * 5, "mud"]
    pond_of = rng.choice(np.arange(2, 8), size=(rows, columns), p=[0.18] * 5 + [0.1])
    bank = int(rng.random() < 0.6)
    kind = np.where(inside, np.where(edge, bank, pond_of[row, column]), -1)
    canvas.paint_fine(frame, kind, _palette(canvas, names, frame))
    return Planted("fish_pond", outline_of(inside, frame.window))


def plant_settlement(canvas: Canvas, reach_px: float) -> Planted:
    """A village or town: earth streets, roofs of metal and tile, yards, gardens.

    Raises:
        NoPlace: No room for it.
    """
    rng = canvas.rng
    frame = _place(canvas, reach_px + 2)
    noise = _local(canvas, frame)
    inside = np.hypot(frame.u, frame.v) + 0.18 * reach_px * noise(reach_px / 3, 4) < 0.75 * reach_px
    block_u, block_v = rng.uniform(6, 9), rng.uniform(8, 14)
    street = (frame.u % block_u < 0.9) | (frame.v % block_v < 0.9)
    lot = 1.0
    draw = rng.random((256, 256))
    number = draw[
        np.floor(frame.u / lot).astype(int) % 256, np.floor(frame.v / lot).astype(int) % 256
    ]
    dense = rng.uniform(0.3, 0.6)
    names = [*["roof_metal"] * 3, *["roof_tile"] * 3, "yard", "pasture_green", "regrowth", "forest"]
    built = np.floor(number / dense * 8).astype(int)
    green = np.digitize(number, [dense + 0.4 * (1 - dense), dense + 0.8 * (1 - dense)]) + 7
    # Roofs take six of eight parts of the built lots, bare yards two.
    kind = np.where(number < dense, np.minimum(built, 6), green)
    road = len(names)
    names.append("laterite_road" if rng.random() < 0.6 else "asphalt")
    kind = np.where(inside, np.where(street, road, kind), -1)
    canvas.paint_fine(frame, kind, _palette(canvas, names, frame))
    return Planted("settlement", outline_of(inside, frame.window))


def plant_industry(canvas: Canvas, reach_px: float) -> Planted:
    """Earthworks, yards, large roofs and settling basins with straight edges.

    Raises:
        NoPlace: No room for it.
    """
    rng = canvas.rng
    frame = _place(canvas, reach_px + 2)
    noise = _local(canvas, frame)
    half_u, half_v = reach_px * rng.uniform(0.48, 0.72, 2)
    ragged = rng.uniform(0.5, 0.12 * reach_px) * noise(5, 4)
    inside = (np.abs(frame.u) + ragged < half_u) & (np.abs(frame.v) + ragged < half_v)
    ground = rng.choice(["yard", "laterite_road", "mine_tailings", "sandbar"], size=5)
    names = [*(str(name) for name in ground), "roof_metal", "asphalt"]
    names += ["pasture_green", "pond_green", "pond_turquoise"]
    if rng.random() < 0.5:
        # A quarry: benches follow the ground's height, a pool stands at the bottom.
        height = noise(9, 4)
        kind = np.where(height < -1.9, 9, np.digitize(height, [-1.0, -0.3, 0.4, 1.4]))
        blocks = int(rng.integers(1, 5))
    else:
        kind = np.digitize(noise(8, 3), [-0.3, 0.6, 1.4])
        blocks = int(rng.integers(6, 15))
    for _ in range(blocks):
        u, v = rng.uniform(-half_u, half_u), rng.uniform(-half_v, half_v)
        wide, tall = rng.uniform(1.2, 0.3 * half_u + 1.2), rng.uniform(1.2, 0.3 * half_v + 1.2)
        block = (np.abs(frame.u - u) < wide) & (np.abs(frame.v - v) < tall)
        choice = rng.choice([5, 6, 7, 8, 9, 3], p=[0.3, 0.15, 0.2, 0.12, 0.08, 0.15])
        kind = np.where(block, choice, kind)
    kind = np.where(inside, kind, -1)
    canvas.paint_fine(frame, kind, _palette(canvas, names, frame))
    return Planted("industry", outline_of(inside, frame.window))


def paint_road(
    canvas: Canvas,
    start_xy: tuple[float, float],
    end_xy: tuple[float, float],
    *,
    width_px: float,
    around: BaseGeometry,
) -> Planted:
    """A laterite road that bends a little on its way and stops where `around` begins."""
    rng = canvas.rng
    span = float(np.hypot(end_xy[0] - start_xy[0], end_xy[1] - start_xy[1]))
    points, _ = meander(rng, length_px=span, wavelength_px=span / 3 + 20, swing_rad=0.35, step_px=3)
    line = LineString(through(points, np.array(start_xy), np.array(end_xy)))
    surface = line.buffer(width_px / 2).difference(around)
    verge = line.buffer(width_px / 2 + 0.8).difference(around)
    canvas.paint_shape(verge, canvas.draw_spectrum("pasture_dry"), VEGETATION, strength=0.4)
    canvas.paint_shape(surface, canvas.draw_spectrum("laterite_road"), BARE)
    return Planted("road", surface)


def _place(canvas: Canvas, reach_px: float) -> Frame:
    centre = canvas.find_place(reach_px)
    return frame_at(centre, float(canvas.rng.uniform(0, np.pi)), reach_px)


def _local(canvas: Canvas, frame: Frame) -> Callable[[float, float], np.ndarray]:
    def noise(scale_px: float, slope: float) -> np.ndarray:
        return correlated_noise(frame.u.shape, canvas.rng, scale_px=scale_px * FINE, slope=slope)

    return noise


def _palette(canvas: Canvas, names: list[str], frame: Frame) -> FineSpectra:
    rough = correlated_noise(frame.u.shape, canvas.rng, scale_px=1.5, slope=2.5)

    def texture(pixel_sd: np.ndarray) -> np.ndarray:
        return np.asarray(pixel_sd * rough, dtype=np.float32)

    return FineSpectra(names, [canvas.draw_spectrum(name) for name in names], texture)
