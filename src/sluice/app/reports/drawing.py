"""Line drawings that a PDF and a page show alike: shapes first, formats after.

Measures are points of 1/72 inch, from the upper left corner.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from reportlab.graphics import shapes
from reportlab.lib.colors import HexColor
from reportlab.pdfbase.pdfmetrics import stringWidth

from sluice.app.reports.fonts import BOLD, REGULAR, printable, register_fonts

INK, FAINT, LIGHT, PAPER = "#1d2730", "#5a6670", "#d5dbe1", "#ffffff"
TINT = "#9db8d0"
"""Readable as a light grey where a printer has no colour."""


@dataclass(frozen=True)
class Line:
    """From corner to corner."""

    points: tuple[tuple[float, float], ...]
    colour: str = INK
    width: float = 1.0
    dash: tuple[float, ...] = ()


@dataclass(frozen=True)
class Shape:
    """A filled polygon."""

    points: tuple[tuple[float, float], ...]
    fill: str | None = TINT
    stroke: str | None = INK
    width: float = 0.8


@dataclass(frozen=True)
class Disc:
    """A circle."""

    x: float
    y: float
    radius: float
    fill: str | None = None
    stroke: str | None = INK
    width: float = 0.9


@dataclass(frozen=True)
class Words:
    """One line of text; x is its `start`, `middle` or `end`, y its base line."""

    x: float
    y: float
    text: str
    size: float = 7.5
    anchor: str = "start"
    colour: str = INK
    bold: bool = False
    tilt: float = 0.0
    """Degrees, upwards to the right."""


Part: TypeAlias = Line | Shape | Disc | Words


@dataclass
class Drawing:
    """What is drawn, in order."""

    width: float
    height: float
    parts: list[Part] = field(default_factory=list)

    def add(self, *parts: Part) -> None:
        """Draw on top of what is there."""
        self.parts.extend(parts)

    def rectangle(
        self,
        left: float,
        top: float,
        right: float,
        bottom: float,
        *,
        fill: str | None = TINT,
        stroke: str | None = INK,
        width: float = 0.8,
    ) -> None:
        """Draw an upright rectangle."""
        corners = ((left, top), (right, top), (right, bottom), (left, bottom))
        self.add(Shape(corners, fill, stroke, width))

    def hatch(self, left: float, top: float, right: float, bottom: float, step: float = 5) -> None:
        """Fill a rectangle with diagonal lines."""
        wide, tall = right - left, bottom - top
        at = step / 2
        while at < wide + tall:
            begin = (left + min(at, wide), top + max(0.0, at - wide))
            end = (left + max(0.0, at - tall), top + min(at, tall))
            self.add(Line((begin, end), "#9aa4ad", 0.5))
            at += step


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Width of a line of text."""
    register_fonts()
    return float(stringWidth(text, BOLD if bold else REGULAR, size))


def to_svg(drawing: Drawing, label: str) -> str:
    """An SVG element for a page, with a name for screen readers."""
    parts = "".join(_svg_part(part) for part in drawing.parts)
    said = html.escape(label, quote=True)
    return (
        f'<svg role="img" aria-label="{said}" class="chart" '
        f'viewBox="0 0 {_n(drawing.width)} {_n(drawing.height)}" '
        'font-family="DejaVu Sans, Verdana, sans-serif">'
        f"{parts}</svg>"
    )


def to_flowable(drawing: Drawing) -> Any:
    """A drawing of reportlab, which is a flowable."""
    register_fonts()
    # Else it names Helvetica, which is not in the file.
    target = shapes.Drawing(drawing.width, drawing.height, initialFontName=REGULAR)
    for part in drawing.parts:
        target.add(_pdf_part(part, drawing.height))
    return target


def _svg_part(part: Part) -> str:
    if isinstance(part, Line):
        dash = f' stroke-dasharray="{" ".join(map(_n, part.dash))}"' if part.dash else ""
        return (
            f'<polyline points="{_points(part.points)}" fill="none" stroke="{part.colour}" '
            f'stroke-width="{_n(part.width)}"{dash}/>'
        )
    if isinstance(part, Shape):
        return f'<polygon points="{_points(part.points)}"{_svg_style(part)}/>'
    if isinstance(part, Disc):
        return (
            f'<circle cx="{_n(part.x)}" cy="{_n(part.y)}" r="{_n(part.radius)}"{_svg_style(part)}/>'
        )
    weight = ' font-weight="bold"' if part.bold else ""
    if part.tilt:
        weight += f' transform="rotate({_n(-part.tilt)} {_n(part.x)} {_n(part.y)})"'
    return (
        f'<text x="{_n(part.x)}" y="{_n(part.y)}" font-size="{_n(part.size)}" '
        f'text-anchor="{part.anchor}" fill="{part.colour}"{weight}>{html.escape(part.text)}</text>'
    )


def _svg_style(part: Shape | Disc) -> str:
    return (
        f' fill="{part.fill or "none"}" stroke="{part.stroke or "none"}" '
        f'stroke-width="{_n(part.width)}"'
    )


def _pdf_part(part: Part, height: float) -> Any:
    if isinstance(part, Line):
        return shapes.PolyLine(
            _flat(part.points, height),
            strokeColor=HexColor(part.colour),
            strokeWidth=part.width,
            strokeDashArray=list(part.dash) or None,
        )
    if isinstance(part, Words):
        words = shapes.String(
            0,
            0,
            printable(part.text),
            fontName=BOLD if part.bold else REGULAR,
            fontSize=part.size,
            textAnchor=part.anchor,
            fillColor=HexColor(part.colour),
        )
        group = shapes.Group(words)
        group.translate(part.x, height - part.y)
        group.rotate(part.tilt)
        return group
    style = {
        "fillColor": HexColor(part.fill) if part.fill else None,
        "strokeColor": HexColor(part.stroke) if part.stroke else None,
        "strokeWidth": part.width,
    }
    if isinstance(part, Disc):
        return shapes.Circle(part.x, height - part.y, part.radius, **style)
    return shapes.Polygon(_flat(part.points, height), **style)


def _flat(points: Sequence[tuple[float, float]], height: float) -> list[float]:
    return [value for x, y in points for value in (x, height - y)]


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{_n(x)},{_n(y)}" for x, y in points)


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
