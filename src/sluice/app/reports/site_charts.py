"""Charts of reports: area by period, and the map of an area's sites. Readable without colour."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyproj
import shapely
from shapely.geometry.base import BaseGeometry

from sluice.app.messages import Messages
from sluice.app.products.map_furniture import round_length
from sluice.app.reports.drawing import (
    FAINT,
    INK,
    LIGHT,
    PAPER,
    Disc,
    Drawing,
    Line,
    Shape,
    Words,
    text_width,
)
from sluice.base.arrays import FloatArray

WIDTH = 482.0
"""Of a chart: that of a page's text."""
_LEFT, _RIGHT, _TOP, _FLOOR = 46.0, 6.0, 22.0, 150.0
_MAP_HEIGHT = 330.0
_LETTERS = 7.0
_TILT = 40.0


@dataclass(frozen=True)
class Bar:
    """One period of a chart."""

    label: str
    value: float | None
    """None: not known."""
    low: float | None
    high: float | None
    observed: bool
    below: str = ""
    """A second line under the axis."""


def area_chart(bars: Sequence[Bar], say: Messages) -> Drawing:
    """Hectares by period: bars with intervals, a circle for nothing, a hatch for not observed."""
    slot = (WIDTH - _LEFT - _RIGHT) / max(1, len(bars))
    tilted = max((text_width(bar.label, _LETTERS) for bar in bars), default=0.0) > slot - 4
    second = any(bar.below for bar in bars)
    drawing = Drawing(
        WIDTH, _FLOOR + (78 if tilted and second else 58 if tilted else 30 if second else 19)
    )
    highest = max(
        (value for bar in bars for value in (bar.value, bar.high) if value is not None), default=0.0
    )
    step = round_length(max(highest, 0.1) / 3.999)
    top_value = step * max(1, math.ceil(highest * 1.04 / step))
    scale = (_FLOOR - _TOP) / top_value
    _grid(drawing, say, step=step, top=top_value, scale=scale)
    half = min(17.0, slot * 0.32)
    every = max(1, math.ceil(9.0 / slot))
    for k, bar in enumerate(bars):
        middle = _LEFT + slot * (k + 0.5)
        if bar.observed:
            _bar(drawing, bar, middle, half, scale)
        else:
            drawing.hatch(middle - slot * 0.46, _TOP, middle + slot * 0.46, _FLOOR)
            _cross(drawing, middle, _FLOOR - 9)
        if k % every == 0:
            _label(drawing, bar, middle, tilted=tilted)
    drawing.add(Line(((_LEFT, _FLOOR), (WIDTH - _RIGHT, _FLOOR)), INK, 1.0))
    return drawing


def _grid(drawing: Drawing, say: Messages, *, step: float, top: float, scale: float) -> None:
    digits = max(0, -math.floor(math.log10(step)))
    for number in range(round(top / step) + 1):
        y = _FLOOR - number * step * scale
        drawing.add(
            Line(((_LEFT, y), (WIDTH - _RIGHT, y)), LIGHT, 0.6),
            Words(_LEFT - 5, y + 2.5, say.number(number * step, digits), anchor="end"),
        )
    drawing.add(Words(4, 9, say.text("history.axis"), 7.5, colour=FAINT))


def _bar(drawing: Drawing, bar: Bar, middle: float, half: float, scale: float) -> None:
    at_most = bar.high is not None and bar.high > 0
    if bar.value is None or (bar.value <= 0 and not at_most):
        drawing.add(Disc(middle, _FLOOR, 4.2, fill=PAPER, stroke=INK, width=1.3))
        return
    if bar.value > 0:
        top = _FLOOR - bar.value * scale
        drawing.rectangle(middle - half, top, middle + half, _FLOOR, width=1.0)
    if bar.low is not None and bar.high is not None:
        low, high = _FLOOR - bar.low * scale, _FLOOR - bar.high * scale
        cap = min(4.0, half)
        drawing.add(
            Line(((middle, low), (middle, high)), INK, 1.3),
            Line(((middle - cap, low), (middle + cap, low)), INK, 1.3),
            Line(((middle - cap, high), (middle + cap, high)), INK, 1.3),
        )


def _cross(drawing: Drawing, x: float, y: float, size: float = 3.6) -> None:
    drawing.add(
        Disc(x, y, size + 2.6, fill=PAPER, stroke=None),
        Line(((x - size, y - size), (x + size, y + size)), INK, 1.3),
        Line(((x - size, y + size), (x + size, y - size)), INK, 1.3),
    )


def _label(drawing: Drawing, bar: Bar, middle: float, *, tilted: bool) -> None:
    if not tilted:
        drawing.add(Words(middle, _FLOOR + 14, bar.label, _LETTERS, "middle"))
        if bar.below:
            drawing.add(Words(middle, _FLOOR + 25, bar.below, _LETTERS, "middle", FAINT))
        return
    text = f"{bar.label} · {bar.below}" if bar.below else bar.label
    drawing.add(Words(middle + 3, _FLOOR + 10, text, 6.3, "end", tilt=_TILT))


def sites_map(
    lon: FloatArray,
    lat: FloatArray,
    area_ha: FloatArray,
    sure: npt.NDArray[np.bool_],
    area: BaseGeometry | None,
    *,
    numbered: int = 30,
) -> Drawing:
    """Sites on the ground, numbered in the order given.

    Args:
        lon: (N,) degrees.
        lat: (N,) degrees.
        area_ha: (N,), NaN where not known.
        sure: (N,) True: full marks.
        area: Outline of the area in EPSG:4326, or None.
        numbered: So many of the first bear their number.
    """
    shape = None if area is None or area.is_empty else area
    bounds = _extent(lon, lat, shape)
    project = _local(*bounds)
    x, y = project(lon, lat)
    outline = (
        None
        if shape is None
        else shapely.transform(shape, lambda xy: np.column_stack(project(xy[:, 0], xy[:, 1])))
    )
    left, bottom, right, top = _box(x, y, outline)
    scale = min((WIDTH - 2) / (right - left), _MAP_HEIGHT / (top - bottom))
    wide, tall = (right - left) * scale, (top - bottom) * scale
    drawing = Drawing(WIDTH, tall + 34)
    shift = (WIDTH - wide) / 2

    def at(px: float, py: float) -> tuple[float, float]:
        return shift + (px - left) * scale, (top - py) * scale

    drawing.rectangle(shift, 0, shift + wide, tall, fill="#f6f8f9", stroke="#8a949d")
    for part in [] if outline is None else shapely.get_parts(outline):
        if part.geom_type == "Polygon":
            ring = shapely.simplify(part.exterior, 0.4 / scale)
            points = tuple(at(*point) for point in np.asarray(ring.coords)[:, :2].tolist())
            drawing.add(Shape(points, PAPER, FAINT, 1.0))
    _marks(drawing, [at(*point) for point in zip(x, y, strict=True)], area_ha, sure, numbered)
    _map_foot(drawing, shift, wide, tall, scale)
    return drawing


def _marks(
    drawing: Drawing,
    places: list[tuple[float, float]],
    area_ha: FloatArray,
    sure: npt.NDArray[np.bool_],
    numbered: int,
) -> None:
    radii = np.clip(1.6 + 0.9 * np.sqrt(np.nan_to_num(area_ha, nan=0.0) / 3), 1.8, 7.0)
    # The first are drawn last, on top.
    for k in reversed(range(len(places))):
        fill = INK if sure[k] else PAPER
        drawing.add(Disc(*places[k], float(radii[k]), fill=fill, stroke=INK))
    taken: list[tuple[float, float]] = []
    for k, (px, py) in enumerate(places[:numbered]):
        text = str(k + 1)
        step = float(radii[k]) + 2
        spots = ((px + step, py - step + 2), (px - step - 9, py - step + 2),
                 (px + step, py + step + 5), (px - step - 9, py + step + 5))  # fmt: skip
        free = [
            spot
            for spot in spots
            if all(abs(spot[0] - x) > 10 or abs(spot[1] - y) > 8 for x, y in taken)
        ]
        if not free:
            continue
        taken.append(free[0])
        drawing.add(Words(*free[0], text, 7.5, bold=True))


def _map_foot(drawing: Drawing, shift: float, wide: float, tall: float, scale: float) -> None:
    metres = round_length(wide * 0.3 / scale)
    length = metres * scale
    y = tall + 9
    for part in range(4):
        fill = INK if part % 2 == 0 else PAPER
        begin = shift + length * part / 4
        drawing.rectangle(begin, y, begin + length / 4, y + 4, fill=fill)
    text = f"{metres / 1000:g} km" if metres >= 1000 else f"{metres:g} m"
    drawing.add(Words(shift, y + 14, "0"), Words(shift + length, y + 14, text, anchor="middle"))
    x = shift + wide - 10
    drawing.add(
        Shape(((x, y - 4), (x + 5, y + 10), (x, y + 7), (x - 5, y + 10)), INK, None),
        Words(x, y + 19, "N", 8, "middle", bold=True),
    )


def _extent(lon: FloatArray, lat: FloatArray, area: BaseGeometry | None) -> tuple[float, float]:
    """Middle of all there is, in degrees."""
    lons, lats = lon, lat
    if area is not None:
        corners = shapely.get_coordinates(area)
        lons, lats = np.append(lon, corners[:, 0]), np.append(lat, corners[:, 1])
    if not len(lons):
        return 0.0, 0.0
    if np.ptp(lons) > 180:
        lons = np.where(lons < 0, lons + 360, lons)
    return float(lons.min() + lons.max()) / 2, float(lats.min() + lats.max()) / 2


def _local(lon: float, lat: float) -> Callable[[FloatArray, FloatArray], tuple[FloatArray, ...]]:
    """From degrees to metres around a point, areas kept."""
    crs = f"+proj=laea +lat_0={lat:.6f} +lon_0={lon:.6f} +datum=WGS84 +units=m"
    to_metres = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    return to_metres.transform


def _box(
    x: FloatArray, y: FloatArray, outline: BaseGeometry | None
) -> tuple[float, float, float, float]:
    xs, ys = x, y
    if outline is not None:
        corners = shapely.get_coordinates(outline)
        xs, ys = np.append(x, corners[:, 0]), np.append(y, corners[:, 1])
    if not len(xs):
        xs, ys = np.zeros(1), np.zeros(1)
    wide, tall = float(np.ptp(xs)), float(np.ptp(ys))
    longest = max(wide, tall, 1000.0)
    half_x, half_y = max(wide, longest * 0.6) * 0.54, max(tall, longest / 3) * 0.54
    mid_x, mid_y = float(xs.min() + xs.max()) / 2, float(ys.min() + ys.max()) / 2
    return mid_x - half_x, mid_y - half_y, mid_x + half_x, mid_y + half_y
