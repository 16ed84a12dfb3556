"""The proof's own arithmetic: figures in the docs stand on it."""

import importlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from affine import Affine

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def module(monkeypatch):
    """Modules of `proof`, which lies beside the installed package."""
    monkeypatch.syspath_prepend(str(REPOSITORY))
    return lambda name: importlib.import_module(f"proof.{name}")


def test_share_around_equals_counting_pixels(module):
    rng = np.random.default_rng(3)
    layer = rng.random((90, 130)) < 0.4
    grid = Affine(10, 0, 5000, 0, -10, 9000)
    # Corners of pixels, some of them outside: a 48 px square is centred on a corner.
    col, row = np.array([24, 60, 0, 130, 400, -200]), np.array([24, 45, 0, 90, 45, 45])
    found = module("mosaic_scene").share_around(layer, grid, 5000 + 10.0 * col, 9000 - 10.0 * row)
    padded = np.pad(layer, 500)
    expected = [
        padded[500 + r - 24 : 500 + r + 24, 500 + c - 24 : 500 + c + 24].mean()
        for r, c in zip(row, col, strict=True)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert found[4] == found[5] == 0 < found[2]


def test_vegetation_is_green_and_dark(module):
    forest, bare, turbid, black = (
        (0.045, 0.07, 0.08),
        (0.2, 0.18, 0.15),
        (0.1, 0.12, 0.1),
        (0, 0, 0),
    )
    pixels = np.array([forest, bare, turbid, black], np.float32).T[:, np.newaxis]
    assert module("mosaic_scene").is_vegetation(pixels).tolist() == [[True, False, False, False]]


def test_nested_figures_use_no_threshold_of_the_own_fold(module):
    # Fold 0 scores on half the scale of fold 1: only a threshold fitted on fold 0 would serve it.
    labels = np.tile([0, 0, 0, 1], 40)
    within = np.where(labels == 1, 0.8, 0.2)
    fold = np.repeat([0, 1], 80)
    table = pd.DataFrame(
        {
            "label": labels,
            "score": np.where(fold == 0, within / 2, within),
            "fold": fold,
            "group": np.arange(160),
        }
    )
    figures = module("folds").nested_figures(table)
    # Fitted on fold 1, 0.5 misses all mines of fold 0; fitted on fold 0, 0.25 takes fold 1's.
    assert figures["recall"].value == pytest.approx(0.5)
    assert figures["precision"].value == 1.0


def test_a_section_is_written_between_its_own_markers(module, tmp_path):
    markdown = module("markdown")
    marks = [
        f"<!-- proof {n}: {m} -->"
        for n in ("one", "two")
        for m in ("begin, written by `python -m proof --write`", "end")
    ]
    page = tmp_path / "page.md"
    page.write_text("\n".join(["Before.", *marks[:2], "Between.", *marks[2:], "After."]))
    markdown.write_section(page, "two", markdown.to_table(["a", "b"], [["c", "1"]]))
    markdown.write_section(page, "two", markdown.to_table(["a", "b"], [["c", "2"]]))
    text = page.read_text()
    assert text.count("| c | 2 |") == 1
    assert "| c | 1 |" not in text
    assert text.index("Between.") < text.index("| c | 2 |") < text.index("After.")
    assert "Before." in text
    with pytest.raises(ValueError, match="three"):
        markdown.write_section(page, "three", "")


def test_its_page_has_a_place_for_every_section(module):
    pytest.importorskip("torch", reason="sections train: make test EXTRAS=dev,train")
    for name, section in module("__main__").SECTIONS.items():
        page = section.document.read_text(encoding="utf-8")
        assert (
            page.count(f"<!-- proof {name}: begin, written by `python -m proof --write` -->") == 1
        )
        assert page.count(f"<!-- proof {name}: end -->") == 1
