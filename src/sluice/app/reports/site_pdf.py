"""A report as PDF: A4, fonts inside, the same bytes for the same evidence."""

from __future__ import annotations

import io
import itertools
import time
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt
from reportlab.lib.colors import HexColor
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    CondPageBreak,
    Flowable,
    Frame,
    Image,
    KeepTogether,
    PageTemplate,
    Paragraph,
    Spacer,
)
from reportlab.platypus import Table as PdfTable

from sluice.app.reports import blocks as parts
from sluice.app.reports.drawing import FAINT, INK, LIGHT, to_flowable
from sluice.app.reports.fonts import BOLD, MONO, OBLIQUE, REGULAR, printable, register_fonts
from sluice.app.reports.place_pictures import as_jpeg
from sluice.app.reports.report_parts import capital

_MARGIN, _HEAD, _FOOT = 56.0, 46.0, 50.0
_WIDTH = A4[0] - 2 * _MARGIN
_ROWS_TOGETHER = 10
_PICTURES_ROOM, _PICTURES_SHARE = 340.0, 0.87
_CHART_WORDS = 80.0
"""Height of a chart's heading and caption."""


def _style(name: str, size: float, leading: float, **more: Any) -> ParagraphStyle:
    more = {"fontName": REGULAR, "textColor": HexColor(INK), "splitLongWords": True} | more
    return ParagraphStyle(name, fontSize=size, leading=leading, **more)


_STYLES = {
    "title": _style("title", 17, 21, fontName=BOLD, spaceAfter=2),
    "subtitle": _style("subtitle", 10, 13.5, textColor=HexColor(FAINT)),
    "h2": _style("h2", 12, 15, fontName=BOLD, spaceBefore=13, spaceAfter=4),
    "h3": _style("h3", 9.5, 12, fontName=BOLD, spaceBefore=7, spaceAfter=2),
    "text": _style("text", 9, 12.6, spaceAfter=4),
    "note": _style("note", 7.8, 10.6, textColor=HexColor(FAINT), spaceAfter=4),
    "code": _style("code", 7.4, 10.4, fontName=MONO, spaceAfter=4),
    "caption": _style("caption", 9, 12, fontName=BOLD, spaceBefore=5, spaceAfter=3),
    "cell": _style("cell", 7.4, 9.4),
    "cell-figure": _style("cell-figure", 7.4, 9.4, alignment=TA_RIGHT),
    "cell-code": _style("cell-code", 5.9, 8.2, fontName=MONO),
    "head": _style("head", 6.8, 8.8, fontName=BOLD),
    "head-figure": _style("head-figure", 6.8, 8.8, fontName=BOLD, alignment=TA_RIGHT),
    "name": _style("name", 8.8, 11.8, fontName=BOLD),
    "fact": _style("fact", 8.8, 11.8),
    "aside": _style("aside", 7.8, 10.2, textColor=HexColor(FAINT)),
    "small": _style("small", 7.0, 8.8, textColor=HexColor(FAINT)),
    "point": _style("point", 9, 12.6, leftIndent=11, bulletFontName=REGULAR, spaceAfter=2.5),
    "blank": _style("blank", 8.4, 11.6, fontName=OBLIQUE, alignment=1),
}


def write_pdf(document: parts.Document, path: Path) -> None:
    """Write a report.

    Raises:
        OSError: It cannot be written.
    """
    register_fonts()
    buffer = io.BytesIO()
    template = _Template(document, buffer)
    story: list[Flowable] = [
        _paragraph(document.title, "title"),
        _paragraph(document.subtitle, "subtitle"),
        _paragraph(document.state, "subtitle"),
        Spacer(1, 7),
    ]
    for block, following in itertools.zip_longest(document.blocks, document.blocks[1:]):
        if isinstance(following, parts.Pictures):
            story.append(CondPageBreak(_PICTURES_ROOM))
        elif isinstance(block, parts.Heading) and isinstance(following, parts.Chart):
            # A chart that goes to the next page takes its heading along.
            story.append(CondPageBreak(_CHART_WORDS + following.drawing.height))
        story += _flowables(block)
    template.build(story, canvasmaker=_numbered(document))
    path.write_bytes(buffer.getvalue())


class _Template(BaseDocTemplate):  # type: ignore[misc]  # reportlab has no types
    """Pages with a head line and a foot, and a bookmark for each section."""

    def __init__(self, document: parts.Document, target: io.BytesIO) -> None:
        super().__init__(
            target,
            pagesize=A4,
            title=f"{document.title} – {document.subtitle}",
            author=document.author,
            subject=document.footer,
            creator=document.author,
            lang=document.language,
            displayDocTitle=1,
            invariant=1,
            initialFontName=REGULAR,
        )
        height = A4[1] - _HEAD - _FOOT
        frame = Frame(_MARGIN, _FOOT, _WIDTH, height, 0, 0, 0, 0)
        self.addPageTemplates([PageTemplate("page", [frame])])
        self._sections = 0

    def afterFlowable(self, flowable: Flowable) -> None:  # noqa: N802 - reportlab's name
        """Make a bookmark of a heading."""
        style = getattr(getattr(flowable, "style", None), "name", "")
        if style == "h2":
            self._sections += 1
            key = f"section-{self._sections}"
            self.canv.bookmarkPage(key)
            self.canv.addOutlineEntry(flowable.getPlainText(), key, level=0)


def _numbered(document: parts.Document) -> Any:
    """A canvas that writes its pages once it knows how many there are."""

    class Numbered(Canvas):  # type: ignore[misc]  # reportlab has no types
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._pages: list[dict[str, Any]] = []
            _set_moment(self, document.seconds)

        def showPage(self) -> None:  # noqa: N802 - reportlab's name
            self._pages.append(dict(self.__dict__))
            self._startPage()

        def save(self) -> None:
            for number, page in enumerate(self._pages, start=1):
                self.__dict__.update(page)
                _frame_page(self, document, number, len(self._pages))
                super().showPage()
            super().save()

    return Numbered


def _set_moment(canvas: Canvas, seconds: int) -> None:
    """Date the file by its data. `invariant` alone dates every file 2000-01-01."""
    stamp = canvas._doc._timeStamp  # reportlab offers no other way
    stamp.t, stamp.lt = float(seconds), tuple(time.gmtime(seconds))
    stamp.YMDhms = stamp.lt[:6]


def _frame_page(canvas: Canvas, document: parts.Document, number: int, count: int) -> None:
    canvas.saveState()
    canvas.setFillColor(HexColor(FAINT))
    canvas.setStrokeColor(HexColor(LIGHT))
    canvas.setFont(REGULAR, 7.4)
    right, line = A4[0] - _MARGIN, 32
    words = document.page_of.format(page=number, pages=count)
    canvas.drawRightString(right, line, words)
    canvas.line(_MARGIN, _FOOT - 8, right, _FOOT - 8)
    room = _WIDTH - canvas.stringWidth(words, REGULAR, 7.4) - 14
    lines = _wrapped(document.footer, room)
    for k, text in enumerate(lines[:2]):
        canvas.drawString(_MARGIN, line - 9.5 * k, text)
    if number > 1:
        canvas.drawString(_MARGIN, A4[1] - 32, _shortened(document.subtitle, _WIDTH - 190))
        canvas.drawRightString(right, A4[1] - 32, document.state.split(" · ")[0])
    canvas.restoreState()


def _wrapped(text: str, room: float) -> list[str]:
    from reportlab.lib.utils import simpleSplit  # noqa: PLC0415

    return [str(line) for line in simpleSplit(printable(text), REGULAR, 7.4, room)]


def _shortened(text: str, room: float) -> str:
    lines = _wrapped(text, room)
    return lines[0] if len(lines) == 1 else f"{lines[0]} …"


def _flowables(block: parts.Block) -> list[Flowable]:
    match block:
        case parts.Heading():
            style, room = ("h2", 100) if block.level == 2 else ("h3", 60)
            found = [CondPageBreak(room), _paragraph(block.text, style)]
        case parts.Text():
            found = _text(block)
        case parts.Facts():
            found = [_facts(block), Spacer(1, 4)]
        case parts.Points():
            found = [
                Paragraph(_markup(item), _STYLES["point"], bulletText="•") for item in block.items
            ]
        case parts.Table():
            found = _table(block)
        case parts.Pictures():
            found = [_pictures(block), Spacer(1, 4)]
        case parts.Chart():
            chart = to_flowable(block.drawing)
            found = [KeepTogether([chart, Spacer(1, 3), _paragraph(block.caption, "note")])]
    return found


def _text(block: parts.Text) -> list[Flowable]:
    if block.kind != "box":
        return [_paragraph(block.text, block.kind or "text")]
    first, _, rest = block.text.partition(". ")
    words = f"<b>{_markup(first)}.</b> {_markup(rest)}" if rest else _markup(block.text)
    box = PdfTable(
        [[Paragraph(words, _STYLES["text"])]],
        colWidths=[_WIDTH],
        style=[
            ("FONTNAME", (0, 0), (-1, -1), REGULAR),
            ("BACKGROUND", (0, 0), (-1, -1), HexColor("#f4f1e6")),
            ("LINEBEFORE", (0, 0), (0, -1), 3, HexColor(INK)),
            ("LEFTPADDING", (0, 0), (-1, -1), 10),
            ("TOPPADDING", (0, 0), (-1, -1), 6),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 5),
        ],
    )
    return [box, Spacer(1, 4)]


def _facts(block: parts.Facts) -> Flowable:
    rows = [
        [
            _paragraph(name, "name"),
            [
                _paragraph(line, "fact" if k == 0 or len(line) < 60 else "aside")
                for k, line in enumerate(lines)
            ],
        ]
        for name, lines in block.rows
    ]
    return PdfTable(
        rows,
        colWidths=[118, _WIDTH - 118],
        splitInRow=1,
        style=[
            ("FONTNAME", (0, 0), (-1, -1), REGULAR),
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("LINEABOVE", (0, 0), (-1, -1), 0.5, HexColor(LIGHT)),
            ("LINEBELOW", (0, -1), (-1, -1), 0.5, HexColor(LIGHT)),
            ("LEFTPADDING", (0, 0), (-1, -1), 0),
            ("RIGHTPADDING", (0, 0), (-1, -1), 4),
            ("TOPPADDING", (0, 0), (-1, -1), 1.6),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 1.8),
        ],
    )


def _table(block: parts.Table) -> list[Flowable]:
    total = sum(block.widths)
    widths = [_WIDTH * width / total for width in block.widths]
    head = [
        _paragraph(capital(text), "head-figure" if k in block.figures else "head")
        for k, text in enumerate(block.heads)
    ]
    kinds = [
        "cell-code" if k in block.codes else "cell-figure" if k in block.figures else "cell"
        for k in range(len(block.heads))
    ]
    rows = [
        [_paragraph(text, kind) for text, kind in zip(row, kinds, strict=True)]
        for row in block.rows
    ]
    table = PdfTable(
        [head, *rows],
        colWidths=widths,
        repeatRows=1,
        splitInRow=1,
        style=[
            ("FONTNAME", (0, 0), (-1, -1), REGULAR),
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("LINEBELOW", (0, 0), (-1, 0), 0.9, HexColor(INK)),
            ("LINEBELOW", (0, 1), (-1, -1), 0.4, HexColor(LIGHT)),
            ("LEFTPADDING", (0, 0), (-1, -1), 2),
            ("RIGHTPADDING", (0, 0), (-1, -1), 4),
            *(("RIGHTPADDING", (k, 0), (k, -1), 7) for k in block.figures),
            ("TOPPADDING", (0, 0), (-1, -1), 2.2),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 2.2),
        ],
    )
    # A table that is kept with its caption would leave the rest of the page empty.
    caption = [_paragraph(block.caption, "caption")] if block.caption else []
    if len(block.rows) <= _ROWS_TOGETHER:
        return [KeepTogether([*caption, table]), Spacer(1, 6)]
    return [CondPageBreak(70), *caption, table, Spacer(1, 6)]


def _pictures(block: parts.Pictures) -> Flowable:
    gap = 12.0
    width = _PICTURES_SHARE * (_WIDTH - gap * (len(block.pictures) - 1)) / len(block.pictures)
    cells: list[Any] = []
    widths: list[float] = []
    for k, picture in enumerate(block.pictures):
        if k:
            cells.append([])
            widths.append(gap)
        shown = _blank(picture, width) if picture.pixels is None else _image(picture.pixels, width)
        # Words of a blank stand within it.
        lines = picture.lines if picture.pixels is not None else ()
        cells.append(
            [
                _paragraph(picture.title, "name"),
                Spacer(1, 2),
                shown,
                Spacer(1, 3),
                *(_paragraph(line, "small") for line in lines),
            ]
        )
        widths.append(width)
    plain = [
        ("FONTNAME", (0, 0), (-1, -1), REGULAR),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        *((f"{side}PADDING", (0, 0), (-1, -1), 0) for side in ("LEFT", "RIGHT", "TOP", "BOTTOM")),
    ]
    return PdfTable([cells], colWidths=widths, style=plain, hAlign="LEFT")


def _image(pixels: npt.NDArray[np.uint8], width: float) -> Flowable:
    buffer = io.BytesIO(as_jpeg(pixels))
    return Image(buffer, width=width, height=width * pixels.shape[0] / pixels.shape[1])


def _blank(picture: parts.Picture, width: float) -> Flowable:
    words = [_paragraph(line, "blank") for line in picture.lines]
    return PdfTable(
        [[words]],
        colWidths=[width],
        rowHeights=[width * 0.62],
        style=[
            ("FONTNAME", (0, 0), (-1, -1), REGULAR),
            ("BOX", (0, 0), (-1, -1), 0.8, HexColor(FAINT), None, (4, 3)),
            ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
            ("LEFTPADDING", (0, 0), (-1, -1), 22),
            ("RIGHTPADDING", (0, 0), (-1, -1), 22),
        ],
    )


def _paragraph(text: str, style: str) -> Paragraph:
    return Paragraph(_markup(text), _STYLES[style])


def _markup(text: str) -> str:
    """Text as reportlab's markup."""
    return escape(printable(text))
