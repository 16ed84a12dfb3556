"""The letters of PDF reports: DejaVu, which comes with matplotlib, put into the file itself."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from importlib import resources
from typing import cast

from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont

REGULAR, BOLD, OBLIQUE, MONO = "SluiceSans", "SluiceSans-Bold", "SluiceSans-Oblique", "SluiceMono"
_FILES = {
    REGULAR: "DejaVuSans.ttf",
    BOLD: "DejaVuSans-Bold.ttf",
    OBLIQUE: "DejaVuSans-Oblique.ttf",
    MONO: "DejaVuSansMono.ttf",
}
_MISSING = "\N{WHITE SQUARE}"
_RIGHT_TO_LEFT = {"R", "AL"}
_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn"}


@lru_cache(maxsize=1)
def register_fonts() -> None:
    """Make the fonts known to reportlab, once."""
    folder = resources.files("matplotlib").joinpath("mpl-data", "fonts", "ttf")
    for name, file in _FILES.items():
        with resources.as_file(folder.joinpath(file)) as path:
            pdfmetrics.registerFont(TTFont(name, str(path)))
    pdfmetrics.registerFontFamily(
        REGULAR, normal=REGULAR, bold=BOLD, italic=OBLIQUE, boldItalic=BOLD
    )


def clean(text: str) -> str:
    """Text without what is not seen but does something: controls, marks that turn direction."""
    spaced = "".join(" " if char in "\n\r\t" else char for char in text)
    return "".join(char for char in spaced if unicodedata.category(char) not in _INVISIBLE)


def printable(text: str) -> str:
    """Text as the fonts can show it, from left to right.

    Letters that the font lacks become squares. Runs of Hebrew or Arabic letters are turned, as a
    PDF shows letters in the order in which they are drawn; Arabic letters are not joined.
    """
    register_fonts()
    glyphs = cast("TTFont", pdfmetrics.getFont(REGULAR)).face.charToGlyph
    shown = "".join(
        char if ord(char) in glyphs else _MISSING
        for char in clean(unicodedata.normalize("NFC", text))
    )
    out: list[str] = []
    run: list[str] = []
    for char in shown:
        turned = unicodedata.bidirectional(char) in _RIGHT_TO_LEFT
        neutral = bool(run) and (char == " " or unicodedata.combining(char) > 0)
        if turned or neutral:
            run.append(char)
            continue
        out += _turn(run)
        run = []
        out.append(char)
    return "".join(out + _turn(run))


def _turn(run: list[str]) -> list[str]:
    """A run backwards; spaces that follow it stay behind it."""
    kept = len("".join(run).rstrip(" "))
    return run[:kept][::-1] + run[kept:]
