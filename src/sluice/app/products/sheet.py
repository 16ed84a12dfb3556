"""The sheet around the picture of a quicklook: title, frame, legend, scale, caption."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyproj
from odc.geo.geobox import GeoBox
from PIL import Image, ImageDraw

from sluice.app.products import map_furniture as furniture
from sluice.app.products.classes import RGB, SureClass
from sluice.app.products.map_furniture import FAINT, INK, PAPER, font
from sluice.app.products.summary import Summary, classes_in_words, dates_in_words, percent
from sluice.base.records import Run

_LEFT, _RIGHT = 84, 36
_TOP = 112
_NARROWEST = 1040
_FRAME_LABELS = 42
_LINE = 27
_SWATCH = (40, 18)


@dataclass(frozen=True)
class Sheet:
    """A finished picture and what has to be said about it."""

    picture: Image.Image
    """RGB, with the sites drawn."""
    grid: GeoBox
    """Of the picture, before it was enlarged."""
    metres_per_px: float
    classes: tuple[SureClass, ...]
    """Colours in use; none where there is no site."""
    has_isolated: bool
    has_unobserved: bool
    has_gaps: bool
    """Whether pixels without an image lie in places that have a score."""
    has_area: bool
    colours: str
    """`true colour`, or which bands are shown."""
    numbered: int
    """Sites with a number."""


def compose(sheet: Sheet, run: Run, summary: Summary) -> Image.Image:
    """Put the picture on a sheet with everything that a reader needs."""
    width = max(_NARROWEST, sheet.picture.width + _LEFT + _RIGHT)
    # Below the picture three columns; the legend is the highest of them.
    legend = _legend(sheet)
    caption = _caption(sheet, run, summary)
    column = (width - _LEFT - _RIGHT) // 2
    face = font(19)
    caption_lines = [line for text in caption for line in furniture.wrap(text, face, column - 20)]
    disclaimer = furniture.wrap(run.disclaimer, font(21), width - _LEFT - _RIGHT - 32)

    foot_top = _TOP + sheet.picture.height + _FRAME_LABELS + 14
    foot_height = max(_LINE * len(legend) + 76, _LINE * len(caption_lines)) + 14
    note_top = foot_top + foot_height
    note_height = 28 * len(disclaimer) + 20
    out = Image.new("RGB", (width, note_top + note_height + 30), PAPER)
    draw = ImageDraw.Draw(out)
    _draw_title(draw, run, summary)
    _draw_map(out, draw, sheet, width)
    for number, (swatch, text) in enumerate(legend):
        y = foot_top + _LINE * number
        swatch(out, (_LEFT, y))
        draw.text((_LEFT + _SWATCH[0] + 14, y + 9), text, fill=INK, font=face, anchor="lm")
    scale_y = foot_top + _LINE * len(legend) + 22
    furniture.draw_north(draw, _LEFT + 16, scale_y - 8)
    furniture.draw_scale_bar(
        draw, _LEFT + 62, scale_y, metres_per_px=sheet.metres_per_px, longest_px=column // 2
    )
    for number, line in enumerate(caption_lines):
        at = (_LEFT + column + 20, foot_top + _LINE * number + 9)
        draw.text(at, line, fill=INK if number == 0 else FAINT, font=face, anchor="lm")
    draw.rectangle((_LEFT, note_top, width - _RIGHT, note_top + note_height), fill=(255, 243, 205))
    for number, line in enumerate(disclaimer):
        at = (_LEFT + 16, note_top + 24 + 28 * number)
        draw.text(at, line, fill=INK, font=font(21), anchor="lm")
    return out


def _draw_title(draw: ImageDraw.ImageDraw, run: Run, summary: Summary) -> None:
    draw.text((_LEFT, 44), "Likely mine sites", fill=INK, font=font(38), anchor="lm")
    below = f"Images {dates_in_words(summary)}  ·  run {run.run_id}"
    draw.text((_LEFT, 84), below, fill=FAINT, font=font(20), anchor="lm")


def _draw_map(out: Image.Image, draw: ImageDraw.ImageDraw, sheet: Sheet, width: int) -> None:
    """The picture in a thin frame with degrees along the left and the bottom side."""
    room = width - _LEFT - _RIGHT
    x, y = _LEFT + (room - sheet.picture.width) // 2, _TOP
    right, bottom = x + sheet.picture.width, y + sheet.picture.height
    out.paste(sheet.picture, (x, y))
    draw.rectangle((x - 1, y - 1, right, bottom), outline=INK)
    face = font(16)
    for tick in furniture.ticks(sheet.grid, pixels=sheet.picture.width, side="bottom"):
        at = x + tick.at
        draw.line((at, bottom, at, bottom + 7), fill=INK)
        draw.text((at, bottom + 11), tick.text, fill=FAINT, font=face, anchor="mt")
    for tick in furniture.ticks(sheet.grid, pixels=sheet.picture.height, side="left"):
        at = y + tick.at
        draw.line((x - 8, at, x - 1, at), fill=INK)
        # Lettered upwards, so that the margin stays narrow.
        label = Image.new("RGB", (int(face.getlength(tick.text)) + 4, 22), PAPER)
        ImageDraw.Draw(label).text((2, 11), tick.text, fill=FAINT, font=face, anchor="lm")
        turned = label.rotate(90, expand=True)
        top = min(max(round(at - turned.height / 2), 0), out.height - turned.height)
        out.paste(turned, (x - 12 - turned.width, top))


Swatch = Callable[[Image.Image, tuple[int, int]], None]


def _legend(sheet: Sheet) -> list[tuple[Swatch, str]]:
    entries: list[tuple[Swatch, str]] = [
        (_outline(sure.colour), f"likely mine, {sure.label}") for sure in sheet.classes
    ]
    if sheet.has_isolated:
        entries.append(
            (_outline(sheet.classes[-1].colour, dash=8), "dashed: few or no others nearby")
        )
    if sheet.numbered:
        numbers = "1" if sheet.numbered == 1 else f"1-{sheet.numbered}"
        entries.append((_number, f"{numbers}: the largest, as ranked in the tables"))
    if sheet.has_unobserved:
        entries.append((_hatched, "not observed: nothing can be said here"))
    if sheet.has_gaps:
        entries.append((_grey, "no clear image, but judged with its surroundings"))
    if sheet.has_area:
        entries.append((_outline(PAPER), "area asked for"))
    return entries


def _outline(colour: RGB, *, dash: int | None = None) -> Swatch:
    def paint(out: Image.Image, at: tuple[int, int]) -> None:
        (x, y), (w, h) = at, _SWATCH
        ring = [(x + 3, y + 2), (x + w - 3, y + 2), (x + w - 3, y + h - 2), (x + 3, y + h - 2)]
        draw = ImageDraw.Draw(out)
        draw.rectangle((x, y - 1, x + w, y + h + 1), fill=(72, 90, 66))
        furniture.draw_ring(draw, [*ring, ring[0]], colour, width=3, dash=dash)

    return paint


def _number(out: Image.Image, at: tuple[int, int]) -> None:
    x, y = at
    draw = ImageDraw.Draw(out)
    draw.rounded_rectangle((x + 10, y - 2, x + 30, y + 20), radius=5, fill=INK)
    draw.text((x + 20, y + 9), "1", fill=PAPER, font=font(16), anchor="mm")


def _grey(out: Image.Image, at: tuple[int, int]) -> None:
    (x, y), (w, h) = at, _SWATCH
    ImageDraw.Draw(out).rectangle((x, y, x + w, y + h), fill=furniture.NO_IMAGE, outline=FAINT)


def _hatched(out: Image.Image, at: tuple[int, int]) -> None:
    w, h = _SWATCH
    patch = Image.new("RGB", _SWATCH, furniture.NO_IMAGE)
    furniture.hatch(patch, np.ones((h, w), dtype=np.bool_), spacing=10)
    out.paste(patch, at)


def _caption(sheet: Sheet, run: Run, summary: Summary) -> list[str]:
    found = "1 likely site" if summary.sites == 1 else f"{summary.sites:,} likely sites"
    crs_name = pyproj.CRS(str(sheet.grid.crs)).name
    images = "1 image" if summary.images == 1 else f"{summary.images:,} images"
    return [
        f"{found}, {summary.footprint_ha:,.0f} ha of marked cells",
        *([f"By class: {classes_in_words(summary)}"] if summary.classes and summary.sites else []),
        f"Area {summary.area_ha:,.0f} ha, not observed {percent(summary.not_observed_percent)}",
        f"{images}, {sheet.colours}, contrast stretched",
        *(["Clouds not looked for: no cloud layer"] if summary.images_without_cloud_layer else []),
        f"Model {summary.model}, squares of {summary.window_m:,.0f} m",
        f"Sluice {run.sluice_version}, {crs_name}, north is up",
    ]
