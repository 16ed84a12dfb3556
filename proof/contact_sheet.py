"""Many small maps on one picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from affine import Affine
from PIL import Image, ImageDraw
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry

from sluice.base.arrays import ArrayBHW
from sluice.base.files import write_whole

_COLUMNS = 5
_TILE_PX = 420
_TITLE_PX = 16
_BRIGHTEST = 0.2
_GAP = (40, 40, 48)
_OUTLINE, _WORKINGS = (255, 210, 0), (255, 60, 90)
_POINT, _INK = (0, 230, 255), (230, 230, 230)


@dataclass(frozen=True)
class Panel:
    """One map; outlines and points are in the CRS of `transform`."""

    title: str
    rgb_bhw: ArrayBHW
    """Reflectance, 0 in all bands = not observed."""
    transform: Affine
    outlines: tuple[BaseGeometry, ...]
    """Of sites."""
    workings: tuple[BaseGeometry, ...]
    """Outlined within them."""
    points: tuple[tuple[float, float], ...]


def draw_contact_sheet(path: Path, panels: Sequence[Panel]) -> None:
    """Draw panels row by row, all at their own scale: image, outlined sites and
    workings, centres of chips."""
    rows = math.ceil(len(panels) / _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * _TILE_PX, rows * (_TILE_PX + _TITLE_PX)))
    for number, panel in enumerate(panels):
        row, col = divmod(number, _COLUMNS)
        corner = (col * _TILE_PX, row * (_TILE_PX + _TITLE_PX))
        ImageDraw.Draw(sheet).text((corner[0] + 3, corner[1] + 2), panel.title, fill=_INK)
        sheet.paste(_draw(panel), (corner[0], corner[1] + _TITLE_PX))
    with write_whole(path) as part:
        sheet.save(part)


def _draw(panel: Panel) -> Image.Image:
    height, width = panel.rgb_bhw.shape[1:]
    scale = (_TILE_PX - 6) / max(height, width)
    bright = np.clip(panel.rgb_bhw / _BRIGHTEST, 0, 1) ** 0.8 * 255
    pixels = bright.transpose(1, 2, 0).astype(np.uint8)
    pixels[~panel.rgb_bhw.any(axis=0)] = _GAP
    size = (round(width * scale), round(height * scale))
    image = Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(image)
    a = panel.transform

    def place(x: float, y: float) -> tuple[float, float]:
        return (x - a.c) / a.a * scale, (y - a.f) / a.e * scale

    for shapes, colour in ((panel.workings, _WORKINGS), (panel.outlines, _OUTLINE)):
        for polygon in (part for shape in shapes for part in _polygons(shape)):
            for ring in (polygon.exterior, *polygon.interiors):
                draw.line([place(x, y) for x, y in ring.coords], fill=colour, width=2)
    for x, y in panel.points:
        right, down = place(x, y)
        draw.ellipse((right - 3, down - 3, right + 3, down + 3), outline=_POINT)
    return image


def _polygons(shape: BaseGeometry) -> Iterator[Polygon]:
    for part in getattr(shape, "geoms", [shape]):
        if isinstance(part, Polygon):
            yield part
