"""The frame of a page, and the parts that pages are put together from.

What a part is given as text is escaped there; `Html` is text that is a part already.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from sluice.base.files import write_whole


class Html(str):
    """Text that is a part of a page already, and not escaped again."""

    __slots__ = ()


_CSS = """
:root { --ink: #1d2730; --faint: #5a6670; --line: #d5dbe1; --soft: #f3f6f8; --blue: #0b5394; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: #fff; -webkit-text-size-adjust: 100%;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.8rem; line-height: 1.2; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.4rem 0 .6rem; padding-bottom: .25rem;
  border-bottom: 2px solid var(--line); }
h3 { font-size: 1rem; margin: 1.4rem 0 .5rem; }
p { margin: .4rem 0 .8rem; max-width: 46rem; }
.lead, .note, figcaption { color: var(--faint); }
.note, figcaption { font-size: .88rem; }
.box { background: #fff4d6; border-left: .3rem solid #e0a800; padding: .6rem .9rem;
  margin: 1rem 0; max-width: none; }
.cards { display: grid; grid-template-columns: repeat(4, 1fr); gap: .7rem; margin: 1rem 0;
  padding: 0; list-style: none; }
.cards li { background: var(--soft); border-radius: .4rem; padding: .6rem .8rem; }
.cards b { display: block; font-size: 1.5rem; line-height: 1.25;
  font-variant-numeric: tabular-nums; }
.cards span { display: block; font-size: .85rem; color: var(--faint); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums;
  margin: .5rem 0 1rem; }
caption { text-align: left; font-weight: 600; padding: .2rem 0 .4rem; }
th, td { padding: .35rem .7rem; text-align: right; border-bottom: 1px solid var(--line);
  vertical-align: baseline; white-space: nowrap; }
th:first-child { text-align: left; }
thead th { border-bottom: 2px solid var(--ink); font-weight: 600; }
tbody th { font-weight: 500; white-space: normal; overflow-wrap: anywhere; min-width: 7rem; }
td small { color: var(--faint); }
td.bar { min-width: 8rem; text-align: left; }
td.bar i { display: block; height: .75rem; background: var(--blue); min-width: 1px;
  print-color-adjust: exact; -webkit-print-color-adjust: exact; }
td.good, td.bad { font-size: 1.25rem; text-align: center;
  print-color-adjust: exact; -webkit-print-color-adjust: exact; }
td.good { background: #e3f0e9; }
td.bad { background: #fbe6e2; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 25rem), 1fr));
  gap: 1rem 2rem; align-items: start; }
figure { margin: .5rem 0; }
svg.chart { display: block; width: 100%; max-width: 46rem; height: auto; }
.thumbs { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr));
  gap: .9rem; margin: .6rem 0 1rem; padding: 0; list-style: none; }
.thumbs li { font-size: .8rem; line-height: 1.35; color: var(--faint); break-inside: avoid; }
.thumbs li { overflow-wrap: anywhere; }
.thumbs img { display: block; width: 100%; height: auto; border-radius: .25rem;
  margin-bottom: .3rem; background: #111; }
.thumbs b { color: var(--ink); }
@media (max-width: 40rem) {
  .cards { grid-template-columns: repeat(2, 1fr); }
  th, td { padding: .35rem .4rem; }
  thead th { white-space: normal; }
  td small { display: block; }
  td.bar { min-width: 4rem; }
}
@media print {
  main { max-width: none; padding: 0; }
  body { font-size: 11pt; }
  h2, h3, caption { break-after: avoid; }
  figure, table, .box, .cards li { break-inside: avoid; }
  .scroll { overflow: visible; }
}
"""


def page(title: str, body: Sequence[Html], *, lang: str = "en", css: str = "") -> str:
    """A whole document that loads nothing from anywhere.

    Args:
        title: Of the document.
        body: Its parts.
        lang: Code of its language.
        css: Rules of its own, after those of all pages.
    """
    content = "\n".join(body)
    return (
        "<!DOCTYPE html>\n"
        f'<html lang="{escape(lang)}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # Nothing is loaded even if something slipped in.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "img-src data:; style-src 'unsafe-inline'\">\n"
        f"<title>{escape(title)}</title>\n<style>{_CSS}{css}</style>\n</head>\n"
        f"<body>\n<main>\n{content}\n</main>\n</body>\n</html>\n"
    )


def write(content: str, path: Path) -> None:
    """Write a document, whole or not at all, the same on every system.

    Raises:
        OSError: The file cannot be written.
    """
    with write_whole(path) as part:
        part.write_text(content, encoding="utf-8", newline="\n")


def escape(text: str) -> Html:
    """Text as it may stand in a page, within an attribute too."""
    return Html(html.escape(text, quote=True))


def heading(text: str, level: int = 2) -> Html:
    """A heading."""
    return Html(f"<h{level}>{escape(text)}</h{level}>")


def paragraph(text: str, kind: str = "") -> Html:
    """A paragraph; of kind `lead`, `note` or `box`."""
    return Html(f"<p{_class(kind)}>{escape(text)}</p>")


def cards(figures: Sequence[tuple[str, str, str]]) -> Html:
    """Large figures: what, how much, and its interval."""
    items = (
        f"<li><span>{escape(name)}</span><b>{escape(value)}</b><span>{escape(interval)}</span></li>"
        for name, value, interval in figures
    )
    return Html(f'<ul class="cards">{"".join(items)}</ul>')


def table(
    caption: str, heads: Sequence[str], rows: Sequence[tuple[str, Sequence[Html | str]]]
) -> Html:
    """A table whose first column names the rows.

    Args:
        caption: Above it; none where empty.
        heads: One for each column, the first above the names.
        rows: Name and cells; one that is `Html` is a whole `td` already.
    """
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(cell if isinstance(cell, Html) else f"<td>{escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for name, cells in rows
    )
    told = f"<caption>{escape(caption)}</caption>" if caption else ""
    return Html(
        f'<div class="scroll"><table>{told}<thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def cell(text: str, kind: str) -> Html:
    """A cell of kind `good` or `bad`."""
    return Html(f"<td{_class(kind)}>{escape(text)}</td>")


def figure_cell(text: str, small: str) -> Html:
    """A cell with a figure and what belongs to it, which goes below it where there is no room."""
    beside = f" <small>{escape(small)}</small>" if small else ""
    return Html(f"<td>{escape(text)}{beside}</td>")


def bar(share: float) -> Html:
    """A cell with a bar as long as a share."""
    return Html(
        f'<td class="bar"><i style="width: {100 * min(1.0, max(0.0, share)):.1f}%"></i></td>'
    )


def figure(svg: str, caption: str) -> Html:
    """A chart with what it shows."""
    return Html(f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>")


def side_by_side(parts: Sequence[Html]) -> Html:
    """Parts beside each other where there is room."""
    return Html(f'<div class="pair">{"".join(f"<div>{part}</div>" for part in parts)}</div>')


def thumbnails(pictures: Sequence[tuple[npt.NDArray[np.uint8], str, Sequence[str]]]) -> Html:
    """Small pictures.

    Args:
        pictures: (H, W, 3) uint8, a line in bold, and lines below it.
    """
    items = []
    for pixels, first, lines in pictures:
        below = "".join(f"<br>{escape(line)}" for line in lines)
        alt = escape(", ".join((first, *lines)))
        items.append(
            f'<li><img src="{_png(pixels)}" alt="{alt}" width="{pixels.shape[1]}" '
            f'height="{pixels.shape[0]}"><b>{escape(first)}</b>{below}</li>'
        )
    return Html(f'<ul class="thumbs">{"".join(items)}</ul>')


def _png(pixels: npt.NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _class(kind: str) -> str:
    return f' class="{escape(kind)}"' if kind else ""
