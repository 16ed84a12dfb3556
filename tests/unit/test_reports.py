"""Reports: what they must say, in each language, whatever the evidence; and that they last."""

import contextlib
import datetime as dt
import hashlib
import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from shapely.geometry import box
from typer.testing import CliRunner

import report_cases as cases
from sluice.app.cli.main import app
from sluice.app.following import reporting
from sluice.app.messages import LANGUAGES, messages
from sluice.app.reports.area_content import area_document
from sluice.app.reports.blocks import Chart, Facts, Heading, Pictures, Points, Table, Text
from sluice.app.reports.fonts import printable
from sluice.app.reports.place_pictures import picture_grid
from sluice.app.reports.report_file import facts_sha256, write_report
from sluice.app.reports.site_content import baseline, site_document
from sluice.app.reports.site_evidence import sum_periods
from sluice.base.errors import ConfigError
from sluice.base.places import Status
from sluice.base.said import read_said
from sluice.sites.redaction import Redaction

HOSTILE = "<script>alert(1)</script>&\"' {0} </para> ]]> "
TODAY = dt.date(2024, 3, 1)


@pytest.fixture(scope="module", autouse=True)
def _small_pictures():
    """A third of their usual side: drawing takes most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reporting, "picture_grid", partial(picture_grid, size_px=240))
        yield


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return cases.followed_site(tmp_path_factory.mktemp("runs") / "runs")


@pytest.fixture(scope="module")
def evidence(store):
    return reporting.gather_site(store, cases.SITE)


@pytest.fixture(scope="module")
def area_evidence():
    return reporting.gather_area(cases.many_sites(), cases.AREA)


def document(evidence, language="en"):
    compose = site_document if hasattr(evidence, "site") else area_document
    return compose(evidence, messages(language), manifest="report.json", facts_sha256="ab" * 32)


def said(evidence, language="en") -> str:
    """All words of a report, as its formats get them."""
    found = []
    for block in document(evidence, language).blocks:
        match block:
            case Heading() | Text():
                found.append(block.text)
            case Facts():
                found += [text for name, lines in block.rows for text in (name, *lines)]
            case Points():
                found += block.items
            case Table():
                found += [
                    block.caption,
                    *block.heads,
                    *(text for row in block.rows for text in row),
                ]
            case Pictures():
                found += [text for one in block.pictures for text in (one.title, *one.lines)]
            case Chart():
                found.append(block.caption)
    return re.sub(r"[\u00a0\u2009\u202f]", " ", "\n".join(found))


def pdf_text(path: Path) -> str:
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext is not installed (Debian: poppler-utils)")
    done = subprocess.run(
        ["pdftotext", "-layout", str(path), "-"], capture_output=True, check=True, timeout=30
    )
    return done.stdout.decode()


def test_a_site_report_says_what_is_known(evidence):
    text = said(evidence)
    site = evidence.site
    for fact in (
        f"{site.lat:.6f}, {site.lon:.6f}",
        "MGRS 21M",
        "Appeared in Jul – Sept 2022",
        "7.1 ha (80% interval: 5.7 to 8.9 ha)",
        "Growing. Detected, and clearly larger than before.",
        "Highest. Two kinds of satellite sensor agree.",
        "98%",
        "Inside a protected or indigenous area",
        "To be verified with the authority",
        "Confirmed in the latest review, by M. Ferreira on 9 February 2024.",
        "87 of 100 points: probability 39, protected area 20, growth 18, river 10",
        "yes (62%) · Floresta Nacional do Crepori",
        "90 m · Rio Crepori",
        "Sandbar? Wait for the dry season.",
        "measured on simulated landscapes only",
        "Why this status: It grew from 5.2 ha in Jul – Sept 2023 to 7.1 ha: by more than 20%",
        "62% of it lies in the protected area Floresta Nacional do Crepori.",
        "Highest: two sensors agree, and the probability reached 0.975.",
        "\N{MINUS SIGN}7.1 ha",
        "ab" * 32,
    ):
        assert fact in text, fact
    assert "Who works here" in text
    for used in evidence.runs:
        assert used.run.run_id in text
        assert used.run.model_sha256 in text


def test_a_pdf_holds_the_facts_as_text_and_says_what_it_is(evidence, tmp_path):
    path = tmp_path / "site.pdf"
    write_report(evidence, path, "fr")
    text = re.sub(r"\s+", " ", pdf_text(path))
    for fact in (
        "Un indice à vérifier, pas une preuve.",
        "7,1 ha (intervalle à 80 % : de 5,7 à 8,9 ha)",
        "aire protégée",
        "Ce que ce rapport ne prouve pas",
        f"{evidence.site.lat:.6f}, {evidence.site.lon:.6f}",
        "page 1 sur",
        evidence.runs[0].run.run_id,
        evidence.runs[0].run.model_sha256,
        facts_sha256(evidence.facts()),
    ):
        assert fact in text, fact
    raw = path.read_bytes()
    assert b"/Lang (fr)" in raw
    assert b"/DisplayDocTitle true" in raw
    assert b"/CreationDate (D:20240209150000" in raw
    assert b"/FontFile2" in raw
    assert b"/BaseFont /Helvetica" not in raw


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_tells_the_same_figures(evidence, area_evidence, language):
    for known in (evidence, area_evidence):
        text = said(known, language)
        assert "{" not in text.replace("{0}", "")
        for figures in re.findall(r"-\d+\.\d{5,}", said(known)):
            assert figures in text
    own = "7.1 ha" if language == "en" else "7,1 ha"
    assert own in said(evidence, language)
    page = document(evidence, language)
    assert page.language == language


def test_rules_are_said_in_the_language_of_the_report(evidence):
    for language, facts in {
        "fr": ("est passée de 5,2 ha", "se trouve en partie (62 %)", "deux capteurs concordent"),
        "es": ("pasó de 5,2 ha", "Una parte del sitio (62 %)", "dos sensores coinciden"),
        "pt": ("passou de 5,2 ha", "Parte do local (62%)", "dois sensores concordam"),
    }.items():
        text = said(evidence, language)
        for fact in facts:
            assert fact in text, (language, fact)
        assert "Floresta Nacional do Crepori" in text
        assert "two sensors" not in text
    told = evidence.facts()["site"]["legality_why"]
    assert told == [
        {
            "code": "legality_why.protected_part",
            "values": {"name": "Floresta Nacional do Crepori", "inside_share": 0.62},
        }
    ]


def test_sentences_of_older_stores_are_quoted(evidence):
    rule = read_said("grew from 3.1 to 4.4 ha, more than 20%")
    old = replace(evidence, site=evidence.site.model_copy(update={"status_rule": rule}))
    assert "« grew from 3.1 to 4.4 ha, more than 20% »" in said(old, "fr")
    assert "Why this status: grew from 3.1 to 4.4 ha" in said(old, "en")


def test_the_same_evidence_gives_the_same_bytes(store, evidence, tmp_path):
    again = reporting.gather_site(store, cases.SITE)
    for name in ("site.pdf", "site.html"):
        for folder, known in (("one", evidence), ("two", again)):
            write_report(known, tmp_path / folder / name, "es")
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_the_manifest_binds_facts_and_documents(evidence, tmp_path):
    for fmt in ("pdf", "html"):
        manifest = write_report(evidence, tmp_path / f"site.{fmt}", "en")
    told = json.loads(manifest.read_text())
    assert manifest == tmp_path / "site.json"
    assert set(told["documents"]) == {"site.pdf", "site.html"}
    for name, known in told["documents"].items():
        assert known["sha256"] == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    # As docs/reports.md tells third parties to do it.
    text = json.dumps(told["facts"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(text.encode()).hexdigest() == told["facts_sha256"]
    assert told["facts_sha256"] in (tmp_path / "site.html").read_text()
    assert told["facts"]["site"]["site_id"] == cases.SITE
    assert told["facts"]["pictures"]["after"]["scenes"]
    # A document that was changed by hand is not vouched for any more.
    (tmp_path / "site.pdf").write_bytes(b"%PDF-1.4 forged")
    write_report(evidence, tmp_path / "site.html", "en")
    assert set(json.loads(manifest.read_text())["documents"]) == {"site.html"}


def test_altered_and_lost_files_are_told(store, tmp_path):
    store = cases.moved(store, tmp_path)
    (tmp_path / "q3/score.tif").write_bytes(b"other scores")
    (tmp_path / "q5/score.tif").unlink()
    evidence = reporting.gather_site(store, cases.SITE)
    files = {(file.of, file.name): file for used in evidence.runs for file in used.files}
    runs = [used.run.run_id for used in evidence.runs if used.run.sensor != "s1"]
    assert [file for file in files.values() if file.altered] == [files[runs[3], "score.tif"]]
    text = said(evidence)
    assert text.count("altered since the run ended") == 1
    assert hashlib.sha256(b"other scores").hexdigest() in text
    assert text.count("no longer where it was") == 1


def test_pictures_are_the_last_clear_ones_before_and_in_a_detection(evidence):
    assert (evidence.before.start, evidence.after.start) == (
        cases.QUARTERS[1][0],
        cases.QUARTERS[7][0],
    )
    assert not evidence.before.detected
    assert evidence.after.detected
    assert evidence.before.grid == evidence.after.grid
    # The mine is brighter than the forest that stood there.
    middle = np.s_[83:157, 83:157]
    assert evidence.after.pixels[middle].mean() > 1.5 * evidence.before.pixels[middle].mean()


def test_images_of_one_satellite_are_one_witness_however_they_were_corrected(evidence):
    optical = evidence.looks[evidence.looks["sensor"] != "s1"]
    mixed = optical.assign(sensor=[("s2-l1c", "s2-l2a")[k % 2] for k in range(len(optical))])
    page = document(replace(evidence, looks=mixed))
    rows = [row for table in page.blocks if isinstance(table, Table) for row in table.rows]
    told = [row[:2] for row in rows if row[0].startswith("Sentinel-2 (optical")]
    assert (messages("en").sensor("s2"), str(len(optical))) in told
    assert not any("top of atmosphere" in row[0] for row in told if row[1].isdigit())


def test_without_images_a_report_says_so(store):
    bare = cases.FakeStore(
        store.sites(cases.SiteQuery()),
        looks=cases.look_records([cases.run_record(k) for k in range(8)]),
        periods=cases.period_records(),
        runs=[cases.run_record(k) for k in range(8)],
    )
    evidence = reporting.gather_site(bare, cases.SITE)
    assert evidence.before is None
    assert evidence.after is None
    text = said(evidence)
    assert "that does not mean that nothing was there" in text
    assert "No image from the time of a detection is at hand" in text
    assert "Nobody has reviewed this site yet" in text
    assert "No alert was raised" in text


def test_a_later_result_in_the_folder_is_not_taken_for_the_run(store, tmp_path):
    store = cases.moved(store, tmp_path)
    for k in range(8):
        (tmp_path / f"q{k}/run.json").write_text('{"run_id": "another"}')
    evidence = reporting.gather_site(store, cases.SITE)
    assert evidence.after is None
    assert not any(file.output for used in evidence.runs for file in used.files)


def test_periods_before_the_first_detection_are_told_as_observed(evidence):
    rows = baseline(evidence.looks, evidence.periods)
    assert [(row["start"], row["observed"], row["detected"]) for row in rows] == [
        (cases.QUARTERS[0][0], True, False),
        (cases.QUARTERS[1][0], True, False),
    ]
    hidden = evidence.looks.assign(observed_share=0.2)
    assert not any(row["observed"] for row in baseline(hidden, evidence.periods))


def test_what_was_hidden_is_never_told_as_gone(evidence):
    text = said(evidence)
    assert "Jan – Mar 2023\nno\n–\n–" in text
    assert "not observed" in text
    site = evidence.site.model_copy(update={"status": Status.NOT_OBSERVED})
    assert "does not mean that the site is gone" in said(replace(evidence, site=site))


class _Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.sources, self.lang = set(), [], None

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        values = dict(attrs)
        self.lang = values.get("lang", self.lang)
        self.sources += [values[name] for name in ("src", "href") if name in values]
        assert not any(name.startswith("on") for name in values)


def test_a_page_loads_nothing_and_names_its_language(evidence, tmp_path):
    write_report(evidence, tmp_path / "site.html", "pt")
    page = (tmp_path / "site.html").read_text("utf-8")
    parser = _Links()
    parser.feed(page)
    assert parser.lang == "pt"
    assert "script" not in parser.tags
    assert parser.sources
    assert all(source.startswith("data:image/jpeg;base64,") for source in parser.sources)
    assert "http" not in page.replace("http-equiv", "")
    assert all("alt=" in tag for tag in re.findall(r"<img [^>]*>", page))


@pytest.mark.parametrize(
    "name", [HOSTILE, "منجم الذهب", "\u202etxt.exe\u0000\n" + "x" * 3000, "金矿"]
)
def test_hostile_names_stay_text(evidence, tmp_path, name):
    site = evidence.site.model_copy(
        update={
            "area": name,
            "legality_why": read_said(name),
            "context": {"river_m": 3.0, "river_name": name, name: name},
        }
    )
    reviews = [cases.review("rejected", name, 3, name)]
    hostile = replace(evidence, site=site, reviews=tuple(reviews), before=None, after=None)
    for fmt in ("pdf", "html"):
        write_report(hostile, tmp_path / f"site.{fmt}", "en")
    page = (tmp_path / "site.html").read_text("utf-8")
    assert "<script" not in page
    assert "\u202e" not in page
    assert "\x00" not in page
    if name == HOSTILE:
        assert html.escape(HOSTILE.strip(), quote=True) in page
        assert "<script>alert(1)</script>&" in re.sub(r"\s+", "", pdf_text(tmp_path / "site.pdf"))
    assert len(pdf_text(tmp_path / "site.pdf")) > 3000


def test_letters_are_shown_as_far_as_the_font_goes():
    assert printable("Crepori ção œ Ñ ’") == "Crepori ção œ Ñ ’"
    assert printable("金矿 x") == "□□ x"
    assert printable("a שלום b") == "a םולש b"


def test_an_area_report_lists_its_sites_by_priority(area_evidence, tmp_path):
    text = said(area_evidence)
    assert "160 sites are followed. 80 of them with high or highest confidence." in text
    assert "40 sites were confirmed by a person; 40 were rejected and are left out" in text
    assert not area_evidence.sites["verdict"].eq("rejected").any()
    assert "This sum is no estimate of the mined area." in text
    assert "a low bar says little" in text
    order = re.findall(r"s-6s\d{7}", text)
    assert order == list(area_evidence.sites["site_id"])
    write_report(area_evidence, tmp_path / "area.pdf", "en")
    pages = pdf_text(tmp_path / "area.pdf")
    assert "s-6s0000199" in pages
    assert f"page 1 of {pages.count(chr(12))}" in pages


def test_an_area_without_sites_is_not_called_clean(tmp_path):
    none = cases.site_table([cases.site_record()], [box(0, 0, 1, 1)]).iloc[:0]
    store = cases.FakeStore(none, area=box(0, 0, 1, 1))
    evidence = reporting.gather_area(store, cases.AREA)
    assert "not that there is nothing" in said(evidence)
    assert "but 3 that people rejected" in said(replace(evidence, rejected=3))
    write_report(evidence, tmp_path / "area.pdf")


def test_periods_are_summed_and_what_nobody_saw_is_not_zero(area_evidence):
    table = area_evidence.by_period
    assert table["sites"].eq(160).all()
    hidden = table[table["observed"] == 0]
    assert hidden["start"].tolist() == [cases.QUARTERS[4][0]]
    assert hidden["area_ha"].isna().all()
    periods = cases.many_sites().periods(list(area_evidence.sites["site_id"]))
    last = periods[periods["start"] == cases.QUARTERS[-1][0]]
    assert table["area_ha"].iloc[-1] == pytest.approx(last["area_ha"].sum())
    assert list(sum_periods(pd.DataFrame()).columns) == list(table.columns)


def test_a_redacted_report_does_not_give_the_place_away(store, tmp_path):
    rule = Redaction(5_000.0)
    files = reporting.report(store, cases.SITE, tmp_path, redaction=rule, today=TODAY)
    site = store.sites(cases.SiteQuery()).iloc[0]
    secrets = [
        cases.SITE,
        f"{site['lat']:.4f}",
        f"{site['lon']:.4f}",
        "Crepor",
        "Itaituba",
        "T21MVN",
        "excavators",
        "jpeg",
        "POLYGON",
        "90 m",
        "8.9",
    ]
    told = [
        path.read_text("utf-8")
        for path in (*files.documents, *files.manifests)
        if path.suffix != ".pdf"
    ]
    told.append(pdf_text(next(path for path in files.documents if path.suffix == ".pdf")))
    for text in told:
        for secret in secrets:
            assert secret not in text, secret
    assert all("withheld" in text.lower() for text in told)
    assert all(cases.SITE not in path.name for path in files.documents)


def test_a_redacted_area_hides_its_map_and_what_is_too_young(tmp_path):
    store = cases.many_sites(30)
    rule = Redaction(5_000.0, delay_months=12)
    files = reporting.report(store, cases.AREA, tmp_path, redaction=rule, today=TODAY)
    facts = json.loads(files.manifests[0].read_text())["facts"]
    assert len(facts["sites"]) == 24  # of 30, 6 of which somebody rejected
    assert {run["end"] for run in facts["runs"]} == {
        end.isoformat() for _, end in cases.QUARTERS[:4]
    }
    assert not facts["by_period"]
    page = files.documents[1].read_text("utf-8")
    assert "<svg" not in page
    assert "s-6s00000" not in page
    young = Redaction(5_000.0, delay_months=24)
    with pytest.raises(ConfigError, match="is held back"):
        reporting.report(store, "s-6s0000003", tmp_path, redaction=young, today=TODAY)


def test_mistakes_are_told_in_one_line(store, evidence, tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere: is neither a site nor an area .*tapajos"):
        reporting.report(store, "nowhere", tmp_path)
    with pytest.raises(ConfigError, match="language 'de' is not known"):
        reporting.report(store, cases.SITE, tmp_path, languages=["de"])
    with pytest.raises(ConfigError, match=r"name it \.pdf or \.html"):
        write_report(evidence, tmp_path / "site.docx")
    with pytest.raises(ConfigError, match="that name is the manifest's"):
        write_report(evidence, tmp_path / "site.json", "en", "pdf")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        write_report(evidence, tmp_path / "file" / "site.pdf")


def test_the_command_writes_and_names_its_files(store, tmp_path, monkeypatch):
    monkeypatch.setattr("sluice.app.cli.places.opened", lambda _: contextlib.nullcontext(store))
    done = CliRunner().invoke(
        app, ["report", cases.SITE, "--out", str(tmp_path), "--lang", "fr,pt", "--format", "html"]
    )
    assert done.exit_code == 0, done.output
    names = [f"{cases.SITE}-{name}" for name in ("fr.html", "pt.html", "fr.json", "pt.json")]
    assert [Path(line).name for line in done.output.split()] == names
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_past_sites_say_what_became_of_them(evidence):
    merged = evidence.site.model_copy(update={"merged_into": "s-other", "current": False})
    assert "grown together with site s-other" in said(replace(evidence, site=merged))
    past = evidence.site.model_copy(update={"current": False})
    assert "no current detection stands behind it" in said(replace(evidence, site=past))


def test_absent_figures_are_dashes_never_zero(evidence):
    site = evidence.site.model_copy(
        update={"area_ha": None, "area_low_ha": None, "area_high_ha": None, "level": None}
    )
    periods = evidence.periods.assign(area_ha=np.nan, area_low_ha=np.nan, area_high_ha=np.nan)
    text = said(replace(evidence, site=site, periods=periods, looks=evidence.looks.iloc[:0]))
    assert "Not known: no outline of the workings" in text
    assert "Below the alert threshold" in text
    assert "0.0 ha" not in text
