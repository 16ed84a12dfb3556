"""What makes a picture a map: degrees along the frame, scale bar, north, legend, lettering."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyproj
from odc.geo.geobox import GeoBox
from PIL import Image, ImageDraw, ImageFont

from sluice.app.products.classes import RGB
from sluice.base.arrays import BoolHW

INK: RGB = (32, 36, 42)
FAINT: RGB = (105, 112, 122)
PAPER: RGB = (255, 255, 255)
NO_IMAGE: RGB = (205, 208, 212)
_HATCH: RGB = (88, 94, 102)

# Pillow's own font has no accents and no dashes but the hyphen: keep the lettering to ASCII,
# the middle dot and the degree sign.
Font = ImageFont.ImageFont | ImageFont.FreeTypeFont


def font(size: float) -> Font:
    """The font that comes with Pillow, so that every machine draws the same map."""
    return ImageFont.load_default(size=size)


def hatch(picture: Image.Image, where: BoolHW, *, spacing: int) -> None:
    """Lay grey and diagonal lines over a part of a picture, in place.

    Args:
        picture: RGB.
        where: (height, width), True where to hatch.
        spacing: Pixels from line to line.
    """
    if not where.any():
        return
    rows, cols = np.ogrid[: picture.height, : picture.width]
    line = (rows + cols) % spacing < max(2, spacing // 5)
    veil = Image.new("RGB", picture.size, NO_IMAGE)
    picture.paste(Image.blend(picture, veil, 0.65), mask=Image.fromarray(where))
    picture.paste(_HATCH, mask=Image.fromarray(where & line))


def draw_ring(
    draw: ImageDraw.ImageDraw,
    points: Sequence[tuple[float, float]],
    colour: RGB,
    *,
    width: int,
    dash: int | None = None,
) -> None:
    """Draw a closed line on a dark casing, which keeps it visible on bright ground.

    Args:
        draw: Target.
        points: x, y in pixels; the last is the first again.
        colour: Of the line.
        width: Of the line in pixels.
        dash: Length of dashes and gaps in pixels, None for a full line.
    """
    draw.line(points, fill=(0, 0, 0), width=width + 2 * max(1, width // 2), joint="curve")
    for piece in [points] if dash is None else _dashes(points, dash):
        draw.line(piece, fill=colour, width=width, joint="curve")


def _dashes(points: Sequence[tuple[float, float]], dash: int) -> list[list[tuple[float, float]]]:
    """Cut a line into every other piece of length `dash`, corners kept."""
    xy = np.asarray(points, dtype=np.float64)
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(xy, axis=0).T))])
    pieces = []
    for start in np.arange(0.0, along[-1], 2 * dash):
        stop = min(start + dash, along[-1])
        corners = along[(along > start) & (along < stop)]
        at = np.concatenate([[start], corners, [stop]])
        xs, ys = np.interp(at, along, xy[:, 0]), np.interp(at, along, xy[:, 1])
        pieces.append(list(zip(xs.tolist(), ys.tolist(), strict=True)))
    return pieces


def round_length(longest: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that is not longer."""
    power = 10.0 ** math.floor(math.log10(longest))
    return next(step * power for step in (5.0, 2.0, 1.0) if step * power <= longest * (1 + 1e-9))


def draw_scale_bar(
    draw: ImageDraw.ImageDraw, x: int, y: int, *, metres_per_px: float, longest_px: int
) -> None:
    """Draw a bar of a round length in four alternating parts, labelled in km or m.

    Args:
        draw: Target.
        x: Left end in pixels.
        y: Top in pixels.
        metres_per_px: On the drawing.
        longest_px: Room for it.
    """
    metres = round_length(longest_px * metres_per_px)
    length = metres / metres_per_px
    for part in range(4):
        left, right = x + length * part / 4, x + length * (part + 1) / 4
        fill = INK if part % 2 == 0 else PAPER
        draw.rectangle((left, y, right, y + 9), fill=fill, outline=INK)
    text = f"{metres / 1000:g} km" if metres >= 1000 else f"{metres:g} m"
    draw.text((x, y + 16), "0", fill=INK, font=font(18), anchor="lt")
    draw.text((x + length, y + 16), text, fill=INK, font=font(18), anchor="mt")


def draw_north(draw: ImageDraw.ImageDraw, x: int, y: int) -> None:
    """Draw an arrow to the top of the sheet, centred on x, 52 px high from y."""
    draw.polygon([(x, y), (x + 12, y + 34), (x, y + 26), (x - 12, y + 34)], fill=INK)
    draw.text((x, y + 52), "N", fill=INK, font=font(20), anchor="mb")


@dataclass(frozen=True)
class Tick:
    """A degree on the frame."""

    at: float
    """Pixels along the side."""
    text: str


def ticks(geobox: GeoBox, *, pixels: int, side: str) -> list[Tick]:
    """Round degrees along the bottom (longitude) or left (latitude) side of a grid.

    Args:
        geobox: Grid, north up.
        pixels: Length of that side on the drawing.
        side: `bottom` or `left`.
    """
    height, width = geobox.shape.yx
    along = np.linspace(0, 1, 101)
    a = geobox.affine
    xs = a.c + a.a * width * (along if side == "bottom" else np.zeros_like(along))
    ys = a.f + a.e * height * (along if side == "left" else np.ones_like(along))
    to_lonlat = pyproj.Transformer.from_crs(str(geobox.crs), "EPSG:4326", always_xy=True)
    lon, lat = to_lonlat.transform(xs, ys)
    if np.ptp(lon) > 180:
        # Across 180 degrees they go on, and are told as 179°W after 180°.
        lon = np.where(lon < 0, lon + 360, lon)
    degrees, letters = (lon, "EW") if side == "bottom" else (lat, "NS")
    low, high = float(np.min(degrees)), float(np.max(degrees))
    step = round_length((high - low) / 3)
    decimals = max(0, -math.floor(math.log10(step)))
    rising = np.argsort(degrees)
    found = []
    for number in range(math.ceil(low / step), math.floor(high / step) + 1):
        value = number * step
        at = float(np.interp(value, degrees[rising], along[rising])) * pixels
        value = value - 360 if value > 180 else value
        letter = "" if abs(value) in (0, 180) else letters[0] if value > 0 else letters[1]
        found.append(Tick(at, f"{abs(value):.{decimals}f}°{letter}"))
    return found


def wrap(text: str, face: Font, width: float) -> list[str]:
    """Break a text into lines that fit a width in pixels."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and face.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
