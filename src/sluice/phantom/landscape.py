"""The land between the mines: forest, farmland, rivers with their sandbars, reservoirs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from scipy import ndimage
from shapely import affinity
from shapely.geometry import LineString, Point
from shapely.geometry.base import BaseGeometry

from sluice.base.arrays import ArrayHW, BoolHW, FloatArray
from sluice.base.grid import PixelWindow
from sluice.phantom.canvas import Canvas, Planted, outline_of, share_of
from sluice.phantom.fields import correlated_noise, meander, through
from sluice.phantom.spectra import BANDS, BARE, COVERS, VEGETATION, WATER

# How each band answers to a field of canopy structure (mostly shade: all bands) and to one of
# leaf state (infrared up, visible nearly still).
_LEAF = np.array([0, 0, 0.1, -0.1, 0.3, 0.9, 1, 1, 1, 1, 0.5, 0.2], dtype=np.float32)


def paint_forest(canvas: Canvas) -> None:
    """Closed canopy over everything: crowns, hill shading, stands that differ, old clearings."""
    forest = canvas.draw_spectrum("forest").astype(np.float32)
    regrowth = canvas.draw_spectrum("regrowth").astype(np.float32)
    crowns = 0.85 * canvas.noise(0.7, 2.0) + 0.6 * canvas.noise(2.5, 3.0)
    relief = canvas.noise(18, 4.0)
    stands = canvas.noise(60, 3.5)
    young = np.clip((canvas.noise(25, 3.0) - 1.3) * 1.2, 0, 0.8)
    shade = 1 + 0.085 * crowns + 0.03 * relief + 0.03 * stands
    for band in range(len(BANDS)):
        mix = forest[band] + young * (regrowth[band] - forest[band])
        canvas.reflectance_bhw[band] = mix * shade * (1 + 0.05 * _LEAF[band] * (stands + crowns))


@dataclass(frozen=True)
class Fields:
    """Farmland as a map of fields."""

    number_hw: np.ndarray
    """(H, W) int32, the field's number, 0 outside farmland."""
    cover_of: dict[int, str]
    """What each field bears."""


_FIELD_COVERS = {
    "pasture_green": 0.38,
    "pasture_dry": 0.31,
    "regrowth": 0.10,
    "forest": 0.10,
    "crop_green": 0.03,
    "crop_ripe": 0.05,
    "bare_field": 0.035,
}


def paint_farmland(canvas: Canvas, share: float) -> list[Planted]:
    """Fields of pasture and crops where the frontier has passed; bare fields are confusers.

    Args:
        canvas: Painted in place.
        share: Part of the scene that is farmland, 0-1.

    Returns:
        The bare fields, by kind `bare_field`, and the farmland as one `farmland`.
    """
    fields = _lay_out_fields(canvas, share)
    count = max(fields.cover_of, default=0)
    if count == 0:
        return []
    spectra_kb = np.zeros((count + 1, len(BANDS)), dtype=np.float32)
    scl_k = np.zeros(count + 1, dtype=np.uint8)
    second_kb, texture_k, stripe_k, trees_k = _field_properties(canvas, fields, spectra_kb, scl_k)
    inside = fields.number_hw > 0
    number = fields.number_hw
    soft = ndimage.gaussian_filter(inside.astype(np.float32), 0.6)
    patches = np.clip(0.5 + 0.45 * canvas.noise(9, 2.6), 0, 1) * texture_k[number]
    grain = 0.055 * canvas.noise(0.8, 2.0) + 0.045 * canvas.noise(4, 3)
    y, x = np.indices(canvas.shape, dtype=np.float32)
    heading = canvas.rng.uniform(0, np.pi)
    stripes = np.sin((x * np.cos(heading) + y * np.sin(heading)) * 2 * np.pi / 3.7)
    shade = 1 + grain + stripe_k[number] * stripes
    look = np.empty_like(canvas.reflectance_bhw)
    for band in range(len(BANDS)):
        first, second = spectra_kb[number, band], second_kb[number, band]
        look[band] = (first + patches * (second - first)) * shade
    keep = canvas.reflectance_bhw.copy()
    canvas.paint(soft, look, 4)
    wooded = np.isin(number, [k for k, cover in fields.cover_of.items() if cover == "forest"])
    # Woods left along gullies and hedges on some borders take no notice of the plan.
    borders, along = _borders(number), canvas.noise(12, 3)
    left = (canvas.noise(7, 3.2) > 1.7) | (borders & (along > 0.6))
    pasture_trees = (canvas.rng.random(canvas.shape) < trees_k[number]) * 2.6
    trees = ndimage.gaussian_filter(pasture_trees, 0.7)
    canopy = np.clip(np.maximum(wooded | left, trees), 0, 1) * inside
    canvas.paint(canopy.astype(np.float32), keep, VEGETATION)
    track = 0.45 * (borders & inside & (along < -0.5))
    canvas.paint(track.astype(np.float32), canvas.draw_spectrum("laterite_road"), BARE)
    ground = inside & (canopy < 0.5)
    canvas.scl_hw[ground] = scl_k[number][ground]
    _paint_farmsteads(canvas, ground)
    bare = [k for k, cover in fields.cover_of.items() if cover == "bare_field"]
    whole = PixelWindow(0, 0, *canvas.shape)
    planted = [Planted("bare_field", outline_of(number == k, whole, 1)) for k in bare]
    for field in bare:
        canvas.taken_hw |= number == field
    planted.append(Planted("farmland", outline_of(inside, whole, 1)))
    return planted


def _lay_out_fields(canvas: Canvas, share: float) -> Fields:
    """Cut a turned, slightly bent plane into fields, and keep those inside the frontier."""
    rng, size = canvas.rng, canvas.size_px
    frontier = canvas.noise(size / 7, 4)
    cut = float(np.quantile(frontier, 1 - share))
    side = int(size * 1.5)
    plan = np.zeros((side, side), dtype=np.int32)
    pending, number = [(0, 0, side, side)], 0
    while pending:
        top, left, height, width = pending.pop()
        limit = rng.uniform(25, 80)
        if max(height, width) > limit and max(height, width) > 16:
            along_height = height * rng.uniform(0.7, 1.4) > width
            at = int((height if along_height else width) * rng.uniform(0.35, 0.65))
            if along_height:
                pending += [(top, left, at, width), (top + at, left, height - at, width)]
            else:
                pending += [(top, left, height, at), (top, left + at, height, width - at)]
            continue
        number += 1
        plan[top : top + height, left : left + width] = number
    y, x = np.indices(canvas.shape, dtype=np.float32) - size / 2
    angle = rng.uniform(0, np.pi)
    bend_u, bend_v = 4.5 * canvas.noise(30, 4), 4.5 * canvas.noise(30, 4)
    u = x * np.cos(angle) + y * np.sin(angle) + bend_u + side / 2
    v = y * np.cos(angle) - x * np.sin(angle) + bend_v + side / 2
    number_hw = plan[np.clip(v, 0, side - 1).astype(int), np.clip(u, 0, side - 1).astype(int)]
    pixels = np.bincount(number_hw.ravel(), minlength=number + 1)
    total = np.bincount(number_hw.ravel(), weights=frontier.ravel(), minlength=number + 1)
    farmed = total > cut * np.maximum(pixels, 1) if share > 0 else np.zeros(number + 1, bool)
    number_hw = np.where(farmed[number_hw], number_hw, 0)
    names, weights = list(_FIELD_COVERS), np.array(list(_FIELD_COVERS.values()))
    present = np.unique(number_hw)
    drawn = rng.choice(names, size=len(present), p=weights / weights.sum())
    cover_of = {int(k): str(c) for k, c in zip(present, drawn, strict=True) if k > 0}
    return Fields(number_hw, cover_of)


def _field_properties(
    canvas: Canvas, fields: Fields, spectra_kb: np.ndarray, scl_k: np.ndarray
) -> tuple[ArrayHW, ArrayHW, ArrayHW, ArrayHW]:
    """Fill spectra and class of each field; return second spectra, patches, stripes, trees."""
    rng = canvas.rng
    partner = {
        "pasture_green": "pasture_dry",
        "pasture_dry": "pasture_green",
        "crop_ripe": "bare_field",
    }
    second_kb = np.zeros_like(spectra_kb)
    patch_k = np.zeros(len(spectra_kb), dtype=np.float32)
    stripe_k, trees_k = np.zeros_like(patch_k), np.zeros_like(patch_k)
    for number, name in fields.cover_of.items():
        spectra_kb[number] = canvas.draw_spectrum(name)
        second_kb[number] = canvas.draw_spectrum(partner.get(name, name))
        scl_k[number] = COVERS[name].scl
        patch_k[number] = rng.uniform(0.3, 0.9)
        if name in {"bare_field", "crop_ripe", "crop_green"}:
            stripe_k[number] = rng.uniform(0, 0.03)
        if name.startswith("pasture"):
            trees_k[number] = rng.choice([0.004, 0.015, 0.04])
    return second_kb, patch_k, stripe_k, trees_k


def _borders(number_hw: np.ndarray) -> BoolHW:
    border = np.zeros(number_hw.shape, dtype=np.bool_)
    border[1:] |= number_hw[1:] != number_hw[:-1]
    border[:, 1:] |= number_hw[:, 1:] != number_hw[:, :-1]
    return border


def _paint_farmsteads(canvas: Canvas, ground: BoolHW) -> None:
    """Single roofs, troughs and worn ground: bright dots of a pixel or two."""
    dots = (canvas.rng.random(canvas.shape) < 0.0012) & ground
    dots |= np.roll(dots & (canvas.rng.random(canvas.shape) < 0.5), 1, axis=1)
    dots |= np.roll(dots & (canvas.rng.random(canvas.shape) < 0.3), 1, axis=0)
    spread = np.clip(ndimage.gaussian_filter(dots * 1.2, 0.6), 0, 0.7)
    canvas.paint(spread.astype(np.float32), canvas.draw_spectrum("laterite_road"), 5)
    roofs = np.clip(ndimage.gaussian_filter((dots & (canvas.noise(2) > 1.3)) * 1.0, 0.5), 0, 0.6)
    canvas.paint(roofs.astype(np.float32), canvas.draw_spectrum("roof_metal"), 5)


def paint_river(
    canvas: Canvas, *, width_px: float, turbid: bool, bar_share: float
) -> list[Planted]:
    """A meandering river across the scene with sandbars, oxbows and a wooded margin.

    Args:
        canvas: Painted in place.
        width_px: Of the channel.
        turbid: Brown with silt, or clear and dark.
        bar_share: Chance that a bend has a bar.

    Returns:
        Bars (`sandbar`), bends of a turbid river (`turbid_river_bend`), oxbows (`oxbow`), the
        channel (`river`).
    """
    rng, size = canvas.rng, canvas.size_px
    start, end = crossing(rng, size)
    wavelength = max(9 * width_px, 60) * rng.uniform(0.9, 1.3)
    for calmer in (1.0, 0.9, 0.8, 0.7, 0.6):
        swing = rng.uniform(0.95, 1.3) * calmer
        points, curvature = meander(
            rng, length_px=1.8 * size, wavelength_px=wavelength, swing_rad=swing
        )
        line_xy = through(points, start, end)
        # A bend that closes into a ring would be cut off by the river itself.
        if LineString(line_xy).is_simple:
            break
    # A curve that crosses the scene was shrunk or stretched; its bends were too.
    curvature = curvature * np.hypot(*(points[-1])) / np.hypot(*(line_xy[-1] - line_xy[0]))
    line = LineString(line_xy).simplify(0.2)
    channel = line.buffer(width_px / 2)
    name = "river_turbid" if turbid else "river_clear"
    _paint_water(canvas, channel, name)
    planted = [Planted("river", _inside(channel, size))]
    bends = _bend_apexes(curvature)
    for apex in bends:
        x, y = line_xy[apex]
        if not (0 <= x < size and 0 <= y < size):
            continue
        if turbid:
            bend = channel.intersection(Point(x, y).buffer(2.2 * width_px))
            planted.append(Planted("turbid_river_bend", _inside(bend, size)))
        if rng.random() < bar_share:
            bar = _point_bar(rng, line_xy, apex, np.sign(curvature[apex]), width_px)
            planted.append(Planted("sandbar", _inside(bar, size)))
            _paint_sand(canvas, bar)
    canvas.take(line.buffer(width_px / 2 + 3))
    planted += _paint_oxbows(canvas, line_xy, width_px, name)
    return [p for p in planted if p.outline.area > 2]


def crossing(rng: np.random.Generator, size_px: int) -> tuple[FloatArray, FloatArray]:
    """Two points beyond opposite edges of the scene, a random way."""
    a, b = rng.uniform(0.1, 0.9, 2) * size_px
    over = 0.08 * size_px
    ends = np.array([[-over, a], [size_px + over, b]])
    if rng.random() < 0.5:
        ends = ends[:, ::-1]
    return ends[0], ends[1]


def _inside(shape: BaseGeometry, size: int) -> BaseGeometry:
    return shape.intersection(shapely.box(0, 0, size, size))


def _paint_water(canvas: Canvas, shape: BaseGeometry, name: str) -> None:
    """Water with slow drifts of colour and a darker rim of shaded or shallow bank."""
    share, window = share_of(shape, canvas.size_px)
    if share.size == 0:
        return
    spectrum = canvas.draw_spectrum(name)
    slow, fast = _local(canvas, window, 30, 4), _local(canvas, window, 2, 2.5)
    drift = 1 + COVERS[name].pixel_sd * (slow + 0.4 * fast)
    look = spectrum.astype(np.float32)[:, None, None] * drift
    canvas.paint(share, look, WATER, window=window)


def _paint_sand(canvas: Canvas, shape: BaseGeometry) -> None:
    share, window = share_of(shape, canvas.size_px)
    if share.size == 0:
        return
    sand, mud = canvas.draw_spectrum("sandbar"), canvas.draw_spectrum("mud")
    wet = np.clip(0.25 + 0.22 * _local(canvas, window, 8, 3.5), 0, 1)
    grain = 1 + 0.06 * _local(canvas, window, 1, 2)
    look = (sand[:, None, None] + wet * (mud - sand)[:, None, None]) * grain
    canvas.paint(share, look.astype(np.float32), 5, window=window)


def _local(canvas: Canvas, window: PixelWindow, scale_px: float, slope: float) -> ArrayHW:
    return correlated_noise(
        (window.height, window.width), canvas.rng, scale_px=scale_px, slope=slope
    )


def _bend_apexes(curvature: FloatArray) -> np.ndarray:
    """Where the curve turns most: one index for each bend."""
    strength = np.abs(ndimage.gaussian_filter1d(curvature, 5))
    peak = (strength[1:-1] > strength[:-2]) & (strength[1:-1] >= strength[2:])
    peak &= strength[1:-1] > 0.5 * strength.max()
    return np.flatnonzero(peak) + 1


def _point_bar(
    rng: np.random.Generator, line_xy: FloatArray, apex: int, inner: float, width_px: float
) -> BaseGeometry:
    """A crescent on the inner bank of a bend, thickest at the apex."""
    reach = int(width_px * rng.uniform(1.2, 2.6) + 4)
    part = line_xy[max(0, apex - reach) : apex + reach + 1]
    along = np.gradient(part, axis=0)
    along /= np.hypot(along[:, 0], along[:, 1])[:, None]
    normal = np.column_stack([-along[:, 1], along[:, 0]]) * inner
    swell = np.sin(np.linspace(0, np.pi, len(part)))[:, None]
    bank = part + normal * width_px * 0.5
    thick = max(width_px * rng.uniform(0.35, 0.8), 1.2)
    ring = np.vstack([bank + normal * thick * 0.4 * swell, (bank - normal * thick * swell)[::-1]])
    bar: BaseGeometry = shapely.Polygon(ring)
    return bar if bar.is_valid else bar.buffer(0)


def _paint_oxbows(canvas: Canvas, line_xy: FloatArray, width_px: float, name: str) -> list[Planted]:
    rng, size = canvas.rng, canvas.size_px
    planted = []
    for _ in range(int(rng.integers(2, 5))):
        anchor = line_xy[rng.integers(len(line_xy))]
        radius = width_px * rng.uniform(2, 4) + 5
        arc = np.linspace(0, rng.uniform(1.0, 1.7) * np.pi, 40)
        bow = LineString(np.column_stack([np.cos(arc) * radius, np.sin(arc) * radius * 0.7]))
        bow = affinity.rotate(bow, rng.uniform(0, 360), origin=(0, 0))
        offset = rng.normal(0, 1, 2)
        offset *= (radius + 2 * width_px) / np.hypot(*offset)
        bow = affinity.translate(bow, *(anchor + offset))
        lake = _inside(bow.buffer(max(0.35 * width_px, 0.8)), size)
        if lake.area < 10 or canvas.is_taken(lake):
            continue
        _paint_water(canvas, lake, name if rng.random() < 0.4 else "river_clear")
        canvas.take(lake.buffer(2))
        planted.append(Planted("oxbow", lake))
    return planted


def paint_stream(canvas: Canvas) -> LineString:
    """A creek a pixel wide, mostly hidden under trees; alluvial mines follow it."""
    rng, size = canvas.rng, canvas.size_px
    start, end = crossing(rng, size)
    points, _ = meander(
        rng, length_px=1.5 * size, wavelength_px=rng.uniform(35, 80), swing_rad=0.8, step_px=3
    )
    line = LineString(through(points, start, end))
    banks = canvas.draw_spectrum("regrowth")
    for reach in (4.5, 3.0, 1.5):
        canvas.paint_shape(line.buffer(reach), banks, VEGETATION, strength=0.1)
    # Trees close over it here and there.
    open_sky = canvas.noise(20, 3) > 0
    share, window = share_of(line.buffer(rng.uniform(0.3, 0.6)), size)
    water = 0.6 * share * open_sky[window.slices]
    spectrum = canvas.draw_spectrum("river_clear")
    canvas.paint(water.astype(np.float32), spectrum, WATER, window=window)
    return line


def paint_reservoir(canvas: Canvas, reach_px: float) -> list[Planted]:
    """A drowned valley: many-armed green water with a bare, bright shore."""
    x, y = canvas.find_place(reach_px)
    side = int(2 * reach_px)
    window = PixelWindow(y - side // 2, x - side // 2, side, side)
    distance = np.hypot(*(np.indices((side, side)) - side / 2)) / reach_px
    height = _local(canvas, window, 10, 4.5) - 0.2 + 3.0 * np.clip(distance - 0.55, 0, None)
    water, shore = height < 0, (height >= 0) & (height < canvas.rng.uniform(0.35, 0.8))
    shore &= ndimage.binary_dilation(water, iterations=4)
    if not water.any():
        return []
    sand, lake = canvas.draw_spectrum("shore"), canvas.draw_spectrum("reservoir")
    grain = 1 + 0.07 * _local(canvas, window, 1.5, 2.5)
    for inside, spectrum, scl in ((shore | water, sand, 5), (water, lake, WATER)):
        share = ndimage.gaussian_filter(inside.astype(np.float32), 0.5)
        look = spectrum[:, None, None] * (grain if scl == 5 else 1 + 0.1 * (grain - 1))
        canvas.paint(share, look.astype(np.float32), scl, window=window)
    return [
        Planted("reservoir_shore", outline_of(shore, window, 1)),
        Planted("reservoir", outline_of(water, window, 1)),
    ]
