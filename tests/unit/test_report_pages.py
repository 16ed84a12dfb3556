"""How a report is laid out on its pages."""

import shutil
import subprocess
from pathlib import Path

import pytest

from sluice.app.reports.blocks import Chart, Document, Heading, Text
from sluice.app.reports.drawing import Drawing, Line
from sluice.app.reports.site_pdf import write_pdf


def pages_of(path: Path) -> list[str]:
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext is not installed (Debian: poppler-utils)")
    done = subprocess.run(
        ["pdftotext", "-layout", str(path), "-"], capture_output=True, check=True, timeout=30
    )
    return done.stdout.decode().split("\f")


def test_a_chart_is_on_the_page_of_its_heading(tmp_path) -> None:
    """However far down the page it would begin."""
    pages = set()
    for lines in range(15, 60, 4):
        drawing = Drawing(400, 150)
        drawing.add(Line(((0, 0), (400, 150))))
        blocks = [
            *[Text("what was found before")] * lines,
            Heading("Development"),
            Chart(drawing, "Hectares by quarter.", "A chart."),
        ]
        words = ("Report", "of a site", "2024", "A lead.", "{page} of {pages}")
        path = tmp_path / f"{lines}.pdf"
        write_pdf(Document("en", *words, 0, "Sluice", blocks), path)
        found = pages_of(path)
        ((number, page),) = [(n, one) for n, one in enumerate(found) if "Hectares" in one]
        assert "Development" in page, lines
        pages.add(number)
    assert pages == {0, 1}
