"""A report as one page that loads nothing, and prints well."""

from __future__ import annotations

import base64
from pathlib import Path

from sluice.app.reports import blocks as parts
from sluice.app.reports import page
from sluice.app.reports.drawing import to_svg
from sluice.app.reports.fonts import clean
from sluice.app.reports.page import Html, escape
from sluice.app.reports.place_pictures import as_jpeg
from sluice.app.reports.report_parts import capital

_CSS = """
dl.facts { display: grid; grid-template-columns: minmax(8rem, 13rem) 1fr; margin: .6rem 0 1rem; }
dl.facts dt, dl.facts dd { margin: 0; padding: .45rem 0; border-top: 1px solid var(--line); }
dl.facts dt { font-weight: 600; padding-right: 1rem; }
dl.facts dd { overflow-wrap: anywhere; }
dl.facts span { display: block; }
dl.facts span + span { font-size: .92rem; color: var(--faint); }
.report table { width: 100%; }
.report th, .report td { white-space: normal; text-align: left; overflow-wrap: break-word; }
.report .right { text-align: right; }
.report .code { font: .74rem/1.35 "DejaVu Sans Mono", Menlo, Consolas, monospace;
  overflow-wrap: anywhere; }
.report figure img { display: block; width: 100%; height: auto; }
.report figcaption span { display: block; overflow-wrap: anywhere; }
.blank { border: 1.5px dashed var(--faint); padding: 4.5rem 2rem; text-align: center;
  font-style: italic; }
footer { margin-top: 2.5rem; padding-top: .6rem; border-top: 2px solid var(--line);
  color: var(--faint); font-size: .88rem; }
@media (max-width: 40rem) { dl.facts { grid-template-columns: 1fr; }
  dl.facts dd { border-top: 0; padding-top: 0; } }
@media print { .report .box { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""


def report_html(document: parts.Document) -> str:
    """The page."""
    body = [
        Html('<article class="report">'),
        page.heading(clean(document.title), 1),
        page.paragraph(clean(document.subtitle), "lead"),
        page.paragraph(clean(document.state), "note"),
        *(_block(block) for block in document.blocks),
        Html(f"</article>\n<footer>{_text(document.footer)}</footer>"),
    ]
    title = clean(f"{document.title} – {document.subtitle}")
    return page.page(title, body, lang=document.language, css=_CSS)


def write_html(document: parts.Document, path: Path) -> None:
    """Write a report.

    Raises:
        OSError: It cannot be written.
    """
    path.write_bytes(report_html(document).encode())


def _block(block: parts.Block) -> Html:
    match block:
        case parts.Heading():
            found = page.heading(clean(block.text), block.level)
        case parts.Text():
            found = page.paragraph(clean(block.text), block.kind)
        case parts.Facts():
            found = Html(f'<dl class="facts">{"".join(map(_fact, block.rows))}</dl>')
        case parts.Points():
            items = "".join(f"<li>{_text(item)}</li>" for item in block.items)
            found = Html(f"<ul>{items}</ul>")
        case parts.Table():
            found = _table(block)
        case parts.Pictures():
            found = page.side_by_side([_picture(picture) for picture in block.pictures])
        case parts.Chart():
            found = page.figure(to_svg(block.drawing, block.alt), block.caption)
    return found


def _fact(row: tuple[str, tuple[str, ...]]) -> str:
    lines = "".join(f"<span>{_text(line)}</span>" for line in row[1])
    return f"<dt>{_text(row[0])}</dt><dd>{lines}</dd>"


def _table(block: parts.Table) -> Html:
    kinds = [
        ' class="code"' if k in block.codes else ' class="right"' if k in block.figures else ""
        for k in range(len(block.heads))
    ]
    head = "".join(
        f'<th scope="col"{kind}>{_text(capital(text))}</th>'
        for kind, text in zip(kinds, block.heads, strict=True)
    )
    rows = "".join(
        "<tr>"
        + "".join(
            f'<th scope="row"{kind}>{_text(text)}</th>'
            if k == 0
            else f"<td{kind}>{_text(text)}</td>"
            for k, (kind, text) in enumerate(zip(kinds, row, strict=True))
        )
        + "</tr>"
        for row in block.rows
    )
    caption = f"<caption>{_text(block.caption)}</caption>" if block.caption else ""
    return Html(
        f'<div class="scroll"><table>{caption}<thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _picture(picture: parts.Picture) -> Html:
    title = page.heading(clean(picture.title), 3)
    if picture.pixels is None:
        lines = "".join(f"<p>{_text(line)}</p>" for line in picture.lines)
        return Html(f'{title}<div class="blank">{lines}</div>')
    data = base64.b64encode(as_jpeg(picture.pixels)).decode()
    height, width = picture.pixels.shape[:2]
    lines = "".join(f"<span>{_text(line)}</span>" for line in picture.lines)
    return Html(
        f'{title}<figure><img src="data:image/jpeg;base64,{data}" alt="{_text(picture.alt)}" '
        f'width="{width}" height="{height}"><figcaption>{lines}</figcaption></figure>'
    )


def _text(text: str) -> Html:
    return escape(clean(text))
