"""The page on how models judge chips: what it holds, and what it must never hold."""

import base64
import io
import itertools
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from scenes import BARE, FOREST, write_toy_model
from sluice.app.cli.main import app
from sluice.app.judging import Judgement, judge_models, write_judged_scores
from sluice.app.reports import charts, page
from sluice.app.reports.chip_report import chip_report_html, write_chip_report
from sluice.base.errors import ConfigError, DataError
from sluice.evaluation.compare import Comparison
from sluice.evaluation.report import ChipReport
from sluice.labels.chips import load_chips, read_chip_table

HOSTILE = "<script>alert(1)</script>&\"'"
SIDE, COLUMNS = 48, 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """24 chips: 10 mines of which 2 look like forest, 14 others of which 3 look bare."""
    folder = tmp_path_factory.mktemp("chips")
    (folder / "grids").mkdir()
    rng = np.random.default_rng(0)
    label = np.arange(COLUMNS) < 10
    bare = label.copy()
    bare[[0, 1]] = False
    bare[[10, 11, 12]] = True
    sheet = np.zeros((SIDE, COLUMNS * SIDE, 3))
    for k in range(COLUMNS):
        ground = BARE if bare[k] else FOREST
        colour = np.array([ground[band] for band in ("red", "green", "blue")])
        noise = rng.normal(scale=0.01 + 0.002 * k, size=(SIDE, SIDE, 3))
        sheet[:, k * SIDE : (k + 1) * SIDE] = colour + noise
    Image.fromarray((np.clip(sheet / 0.3, 0.01, 1) * 255).astype(np.uint8)).save(
        folder / "grids" / "a.png"
    )
    pd.DataFrame(
        {
            "grid": "a.png",
            "cell": np.arange(COLUMNS),
            "row": 0,
            "col": np.arange(COLUMNS),
            "label": label.astype(int),
            "source": [HOSTILE if k >= 12 else "riverbank_set" for k in range(COLUMNS)],
            "clear_threshold": 0.75,
            "start": "2024-01-01",
            "end": "2024-12-31",
            "lon": np.where(np.arange(COLUMNS) < 12, -57 + 0.1 * np.arange(COLUMNS), np.nan),
            "lat": np.where(np.arange(COLUMNS) < 12, -6.0, np.nan),
            "group": np.arange(COLUMNS) // 2,
            "split": "pool",
        }
    ).to_csv(folder / "chips.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def judgement(folder: Path, tmp_path_factory) -> Judgement:
    models = tmp_path_factory.mktemp("models")
    names = [str(write_toy_model(models, name).folder) for name in ("one", "two")]
    return judge_models(folder, names, "pool")


@pytest.fixture(scope="module")
def html(judgement: Judgement) -> str:
    return chip_report_html(judgement)


class Parsed(HTMLParser):
    """Tags in order, and whether they close as they opened."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        if "style" not in self.open:
            self.text.append(data)

    @property
    def said(self) -> str:
        return " ".join("".join(self.text).split())


def test_it_is_a_whole_document(html: str) -> None:
    parsed = Parsed(html)
    assert parsed.open == []
    names = [tag for tag, _ in parsed.tags]
    assert html.startswith("<!DOCTYPE html>")
    assert dict(parsed.tags)["html"]["lang"] == "en"
    assert names.count("h1") == names.count("title") == names.count("main") == 1
    assert "<title>Model report: one and two</title>" in html
    levels = [int(name[1]) for name in names if re.fullmatch(r"h[1-6]", name)]
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))
    ids = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    known = {f"#{name}" for name in ids}
    used = set(re.findall(r"url\((#[^)]+)\)", html)) | {
        str(attributes["href"]) for tag, attributes in parsed.tags if tag == "use"
    }
    assert used
    assert used <= known


def test_nothing_is_loaded_and_nothing_from_the_data_is_markup(html: str) -> None:
    parsed = Parsed(html)
    names = {tag for tag, _ in parsed.tags}
    assert not names & {"script", "link", "iframe", "object", "embed", "base", "form"}
    for tag, attributes in parsed.tags:
        for name in ("src", "href"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/png;base64,", "#")), (tag, value)
        assert not [name for name in attributes if name.startswith("on")]
    assert "default-src 'none'" in html
    addresses = set(re.findall(r"https?://[^\s\"'<>]+", html))
    assert addresses <= {"http://www.w3.org/2000/svg"}
    assert HOSTILE not in html
    assert HOSTILE in parsed.said


def test_the_same_judgement_gives_the_same_page(judgement: Judgement, html: str) -> None:
    assert chip_report_html(judgement) == html
    assert not re.search(r"dc:date|<metadata|Matplotlib v", html)


def test_the_figures_are_those_of_the_report(judgement: Judgement, html: str) -> None:
    said = Parsed(html).said
    overall = judgement.models[0].report.overall
    assert overall.precision.value == pytest.approx(8 / 11)
    assert "<span>precision at 0.500</span><b>0.727</b>" in html
    assert "24 scored chips, 10 of them mines" in said
    assert "not proof" in said
    # Of 3 alarms one bears the hostile name; its rate is 1 in 12.
    assert "1 of 12" in said
    assert "2 of 2" in said


def test_a_model_is_no_better_than_its_copy(judgement: Judgement, html: str) -> None:
    assert judgement.comparison is not None
    assert "+0.000 [+0.000 to +0.000]" in Parsed(html).said
    assert "Difference from one" in Parsed(html).said


def test_the_worst_mistakes_are_shown_as_they_are(
    judgement: Judgement, folder: Path, html: str
) -> None:
    pictures = [a for tag, a in Parsed(html).tags if tag == "img"]
    # Of each model two missed mines after three false alarms.
    assert len(pictures) == 10
    for number, model in enumerate(judgement.models):
        assert f"Worst mistakes of {model.manifest.name}" in Parsed(html).said
        table = model.table
        own = pictures[5 * number : 5 * number + 5]
        scores = [float(re.search(r"score (\d\.\d+)", a["alt"])[1]) for a in own]
        alarms = table[(table["label"] == 0) & (table["score"] >= 0.5)]["score"]
        misses = table[(table["label"] == 1) & (table["score"] < 0.5)]["score"]
        expected = [*sorted(alarms, reverse=True), *sorted(misses)]
        assert scores == pytest.approx(expected, abs=6e-4)
    chips = read_chip_table(folder)
    lowest = load_chips(folder, chips.loc[[misses.idxmin()]])[0]
    content = base64.b64decode(pictures[3]["src"].partition(",")[2])
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(content))), lowest)
    places = {a["alt"].partition("riverbank, ")[2] for a in pictures[3:5]}
    assert places == {f"-6.0000, {lon}, 2024-01 to 2024-12" for lon in ("-57.0000", "-56.9000")}


def test_the_map_tells_what_has_no_place(html: str) -> None:
    said = Parsed(html).said
    assert "mines found (8)" in said
    assert "mines missed (2)" in said
    assert "false alarms (2)" in said
    assert "12 chips have no place on record" in said
    assert "°W" in said
    assert "6°S" in said


def test_training_chips_are_called_so(judgement: Judgement, folder: Path) -> None:
    first = judgement.models[0]
    assert not first.was_taught
    assert "flatter" not in chip_report_html(judgement)
    taught = replace(judgement, models=(replace(first, was_taught=True), *judgement.models[1:]))
    assert "one was trained or calibrated on chips of this split" in chip_report_html(taught)


def test_chips_of_one_label_have_no_page(judgement: Judgement, tmp_path: Path) -> None:
    first = judgement.models[0]
    mines = replace(first, table=first.table[first.table["label"] == 1])
    path = tmp_path / "r.html"
    with pytest.raises(DataError, match="all of one label"):
        write_chip_report(replace(judgement, models=(mines,), comparison=None), path)
    assert not path.exists()


def test_without_mistakes_and_places_the_page_says_so(judgement: Judgement) -> None:
    first = judgement.models[0]
    table = first.table[(first.table["label"] == 1) == (first.table["score"] >= 0.5)]
    right = replace(first, table=table.assign(lon=np.nan, lat=np.nan))
    said = Parsed(chip_report_html(replace(judgement, models=(right,), comparison=None))).said
    assert said.count("None.") == 2
    assert "Where it errs" not in said
    assert "Models compared" not in said


def test_scores_of_several_models_have_a_column_each(judgement: Judgement, tmp_path: Path) -> None:
    write_judged_scores(judgement, tmp_path / "s.csv")
    found = pd.read_csv(tmp_path / "s.csv")
    assert list(found) == ["grid", "cell", "one", "two"]
    np.testing.assert_allclose(found["one"], judgement.models[0].table["score"], atol=1e-6)


def test_scores_that_are_missing_are_left_empty(judgement: Judgement, tmp_path: Path) -> None:
    first = judgement.models[0]
    table = first.table.head(2).assign(score=[0.25, np.nan])
    alone = replace(judgement, models=(replace(first, table=table),), comparison=None)
    write_judged_scores(alone, tmp_path / "s.csv")
    ids = [f"{grid},{cell}" for grid, cell in zip(table["grid"], table["cell"], strict=True)]
    written = (tmp_path / "s.csv").read_text()
    assert written == f"grid,cell,score\n{ids[0]},0.2500000\n{ids[1]},\n"


def test_a_model_named_twice_is_refused(folder: Path, toy_model: Path) -> None:
    with pytest.raises(ConfigError, match="named twice"):
        judge_models(folder, [str(toy_model), str(toy_model)])


def test_a_cell_is_markup_only_if_it_was_made_so() -> None:
    made = page.table("", ("", "x"), [("row", ["<td>evil</td>", page.cell("fine", "good")])])
    assert "<td>&lt;td&gt;evil&lt;/td&gt;</td>" in made
    assert '<td class="good">fine</td>' in made


@pytest.mark.parametrize(
    ("lon", "lat"), [([-60.0], [5.0]), ([-60.0, -59.0], [5.0, 5.0]), ([10.0, 10.0], [-80.0, 80.0])]
)
def test_a_map_of_odd_extent_has_room_for_all_its_points(
    lon: list[float], lat: list[float]
) -> None:
    (west, east, south, north), ratio = charts._map_frame(np.array(lon), np.array(lat))
    assert west < min(lon)
    assert max(lon) < east
    assert south < min(lat)
    assert max(lat) < north
    sides = (east - west, ratio * (north - south))
    assert max(sides) / min(sides) == pytest.approx(3, rel=0.01) or len(lon) == 1


def call(*words: object) -> Result:
    return CliRunner().invoke(app, ["evaluate", "chips", *map(str, words)], catch_exceptions=False)


def test_the_command_writes_the_page_and_compares(
    judgement: Judgement, folder: Path, tmp_path: Path, html: str
) -> None:
    packages = [write_toy_model(tmp_path, name).folder for name in ("one", "two")]
    path = tmp_path / "deep" / "r.html"
    words = (folder, "--model", packages[0], "--model", packages[1], "--split", "pool")
    told = call(*words, "--report", path)
    assert told.exit_code == 0
    assert "2 models on " in told.stdout
    assert "less one" in told.stdout
    assert told.stdout.endswith(f"Report: {path}\n")
    assert path.read_text(encoding="utf-8") == html
    found = json.loads(call(*words, "--json").stdout)
    assert [report["model"] for report in found["reports"]] == ["one", "two"]
    compared = Comparison.model_validate(found["comparison"])
    assert compared.models[1].figures == judgement.comparison.models[1].figures


def test_one_model_alone_is_told_as_ever(folder: Path, toy_model: Path) -> None:
    found = call(folder, "--model", toy_model, "--json").stdout
    assert json.loads(found)["warning"] is None
    assert ChipReport.from_json(found).overall.chips == COLUMNS


def test_a_page_that_cannot_be_written_is_told(
    folder: Path, toy_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match="cannot be written"):
        call(folder, "--model", toy_model, "--report", tmp_path / "file" / "r.html")
