"""What a report is put together from, before it becomes a PDF or a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from sluice.app.reports.drawing import Drawing


@dataclass(frozen=True)
class Heading:
    """Begins a section; of level 3, a part of one."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """A paragraph: plain, a `note`, or a `box` that must not be overlooked."""

    text: str
    kind: str = ""


@dataclass(frozen=True)
class Facts:
    """Names, and what is to be said of each, in lines."""

    rows: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Points:
    """A list."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table with heads."""

    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    widths: tuple[float, ...]
    """Of the columns, as parts of the whole."""
    codes: tuple[int, ...] = ()
    """Columns of hashes and addresses, which break anywhere."""
    figures: tuple[int, ...] = ()
    """Columns of numbers, which are set to the right."""


@dataclass(frozen=True)
class Picture:
    """A picture with its lettering; without pixels, a blank that says why."""

    title: str
    pixels: npt.NDArray[np.uint8] | None
    lines: tuple[str, ...]
    alt: str = ""


@dataclass(frozen=True)
class Pictures:
    """Pictures beside each other."""

    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Chart:
    """A drawing and what it shows."""

    drawing: Drawing
    caption: str
    alt: str


Block: TypeAlias = Heading | Text | Facts | Points | Table | Pictures | Chart


@dataclass(frozen=True)
class Document:
    """A whole report in one language."""

    language: str
    title: str
    subtitle: str
    state: str
    """Date of what it is made from, and the software."""
    footer: str
    page_of: str
    """Words for the number of a page, with {page} and {pages} left open."""
    seconds: int
    """Moment of the data, since 1970: the date of the file."""
    author: str
    blocks: Sequence[Block] = field(default_factory=tuple)
