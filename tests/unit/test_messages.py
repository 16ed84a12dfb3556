"""The catalogues of all languages: complete, used, and each in its own language."""

import ast
import datetime as dt
import itertools
import json
import re
from functools import lru_cache
from pathlib import Path
from string import Formatter

import numpy as np
import pandas as pd
import pytest

import sluice
from sluice.app.config import language_of
from sluice.app.exports.appearance import _PATTERNS
from sluice.app.exports.flat_table import KINDS
from sluice.app.messages import LANGUAGES, Messages, catalogue_json, messages, read_catalogue
from sluice.app.reports.context_words import _INSIDE, _NEAR
from sluice.base.errors import ConfigError
from sluice.base.periods import Period
from sluice.base.places import (
    AlertKind,
    AlertState,
    LayerKind,
    Legality,
    Level,
    Look,
    Reason,
    Status,
    Verdict,
    columns_of,
)
from sluice.base.said import RECORDED, Said, joined_texts, packed, read_said, said_texts
from sluice.base.sensors import OWNERS, SENSORS
from sluice.sites.history import site_periods
from sluice.store import schema
from sluice.store.frames import column_in, json_text

ENUMS = {
    "status": Status,
    "status_means": Status,
    "level": [*Level, "none"],
    "level_means": [*Level, "none"],
    "alert_kind": AlertKind,
    "alert_state": AlertState,
    "alert_state_short": AlertState,
    "legality": Legality,
    "legality_short": Legality,
    "verdict": Verdict,
    "reason": Reason,
    "layer": {*_INSIDE, *_NEAR, "district", "slope"},
    "sensor": sorted(
        {*SENSORS, *(one.satellites for one in SENSORS.values()), "import", "unknown"}
    ),
    "credit": OWNERS,
    "credit_of_years": OWNERS,
    "part": ["probability", "growth", "protected", "river", "settlement"],
    "table": KINDS,
    "column": {
        *(name for kind in KINDS.values() for name in kind.record.model_fields),
        *("run_id", "sensor", "verdict", "reviewers", "dms", "mgrs", "redacted", "cell_m"),
        *("cover_before", "cover_after"),
    }
    # Of these each has columns of its own.
    - {"context", "priority_parts"},
    "column_of": [text for *_, text in _PATTERNS],
    # Of errors that the service answers with, next to their codes.
    "fault_kind": {
        kind
        for path in (Path(sluice.__path__[0]) / "app" / "web").glob("*.py")
        for kind in re.findall(r'\b[45]\d\d[,:]\s+"(\w+)"', path.read_text("utf-8"))
    },
}
# Words that English has and the other three have not.
ENGLISH = re.compile(
    r"\b(the|and|of|was|were|with|which|that|this|not|been|from|before|there|here|sites?|area)\b",
    re.IGNORECASE,
)
SHARED = {"fr": {"site", "sites"}, "es": {"area"}, "pt": {"area"}}


def plain(text: str) -> str:
    return re.sub(r"[\u00a0\u202f\u2009]", " ", text)


def forms(entry):
    return [entry] if isinstance(entry, str) else list(entry.values())


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("language", LANGUAGES)
def test_languages_have_the_same_keys_and_places(language):
    english, other = read_catalogue("en"), read_catalogue(language)
    assert set(other) == set(english)
    for key, entry in english.items():
        wanted = set().union(*map(places, forms(entry)))
        assert isinstance(entry, str) == isinstance(other[key], str), key
        for form in forms(other[key]):
            # One of a kind need not be counted: "the site of highest priority".
            plural = set() if isinstance(entry, str) else {"n"}
            assert places(form) | plural == wanted, (key, form)
        if not isinstance(entry, str):
            assert set(other[key]) >= {"one", "other"}, key


@pytest.mark.parametrize("language", ["fr", "es", "pt"])
def test_no_english_stays_in_other_languages(language):
    english, other = read_catalogue("en"), read_catalogue(language)
    for key, entry in other.items():
        for form in forms(entry):
            words = re.sub(r"\{\w+\}", "", form)
            found = {word.lower() for word in ENGLISH.findall(words)}
            assert not found - SHARED[language], (key, form)
        # What has several words is a sentence, and differs.
        if isinstance(entry, str) and len(re.findall(r"[^\W\d_]{2,}", words)) > 3:
            assert entry != english[key], key


def strings_in(folder: Path) -> set[str]:
    """All texts of its code."""
    return {
        node.value
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def test_every_text_is_used_and_every_enumeration_has_its_words():
    strings = strings_in(Path(sluice.__path__[0]))
    # What the map says of its own is used in the browser.
    shown = set()
    for path in (Path(__file__).parents[2] / "web" / "src").rglob("*.ts"):
        shown |= set(re.findall(r'"([a-z0-9_]+)"', path.read_text("utf-8")))
    shown |= {f"layer_{kind}" for kind in LayerKind}
    for key in read_catalogue("en"):
        group, _, name = key.partition(".")
        if group == "map":
            assert name in shown, key
        elif group in ENUMS:
            assert name in {str(value) for value in ENUMS[group]}, key
        elif key != "language.name":
            # Given whole, or as a group and a name.
            assert (
                key in strings
                or (group in strings and name in strings)
                or (key.startswith("pictures.absent_"))
            ), key
    for group, values in ENUMS.items():
        for value in values:
            assert messages("en").known(group, str(value)), (group, value)


@pytest.mark.parametrize(
    ("language", "texts"),
    [
        ("en", ("1,234.5", "1,235 ha", "98%", "5 March 2024", "Jan–Mar 2024")),
        ("fr", ("1 234,5", "1 235 ha", "98 %", "5 mars 2024", "janv.–mars 2024")),
        ("es", ("1.234,5", "1.235 ha", "98 %", "5 de marzo de 2024", "ene–mar 2024")),
        ("pt", ("1.234,5", "1.235 ha", "98%", "5 de março de 2024", "jan. – mar. de 2024")),
    ],
)
def test_numbers_and_dates_are_those_of_the_language(language, texts):
    number, area, percent, date, period = texts
    say = messages(language)

    assert plain(say.number(1234.5, 1)) == number
    assert plain(say.hectares(1234.6)) == area
    assert plain(say.percent(0.98)) == percent
    assert say.date(dt.date(2024, 3, 5)) == date
    whole = plain(say.period(dt.date(2024, 1, 1), dt.date(2024, 3, 31)))
    assert whole.replace(" – ", "–") == period.replace(" – ", "–")
    assert "5" in say.period(dt.date(2024, 1, 5), dt.date(2024, 3, 31))


@pytest.mark.parametrize(
    ("language", "none", "one", "two"),
    [
        ("en", "0 sites are followed.", "1 site is followed.", "2 sites are followed."),
        ("fr", "0 site est suivi.", "1 site est suivi.", "2 sites sont suivis."),
        ("es", "Se siguen 0 sitios.", "Se sigue 1 sitio.", "Se siguen 2 sitios."),
        ("pt", "0 local é acompanhado.", "1 local é acompanhado.", "2 locais são acompanhados."),
    ],
)
def test_plurals_follow_the_language(language, none, one, two):
    said = [messages(language).text("area.sites_line", n=n) for n in (0, 1, 2)]
    assert said == [none, one, two]


def test_almost_certain_is_not_certain():
    say = messages("en")
    assert [say.percent(share) for share in (0.0, 0.001, 0.999, 1.0)] == [
        "0%",
        "< 1%",
        "> 99%",
        "100%",
    ]


@pytest.mark.parametrize(
    ("metres", "text"),
    [(7.0, "7 m"), (85.0, "90 m"), (994.0, "990 m"), (2140.0, "2.1 km"), (5000.0, "5 km")],
)
def test_distances_have_a_fitting_unit(metres, text):
    assert messages("en").metres(metres).replace("\N{NO-BREAK SPACE}", " ") == text


def test_braces_in_names_are_left_alone():
    say = Messages("en", {"a.b": "Site {site}."})
    assert say.text("a.b", site="{0.__class__} {x}") == "Site {0.__class__} {x}."


def test_every_key_in_the_code_is_in_the_catalogue():
    english = read_catalogue("en")
    groups = {key.partition(".")[0] for key in english}
    keyed = re.compile(rf"({'|'.join(groups)})\.[a-z_]+")
    paths = [Path(sluice.__path__[0], room) for room in ("app", "sites", "base")]
    given = {text for path in paths for text in strings_in(path) if keyed.fullmatch(text)}
    # Names of files are written alike.
    files = (".gpkg", ".geojson", ".parquet", ".wkb")
    assert {key for key in given if not key.endswith(files)} <= set(english)
    assert len(given) > 200


@lru_cache
def said_of_histories() -> set[tuple[str, frozenset[tuple[str, object]]]]:
    """What the rules of history say of looks drawn at random."""
    rng = np.random.default_rng(1)
    rows = []
    for site, number in itertools.product(range(150), range(8)):
        start = pd.Timestamp(2022, 1, 1) + pd.DateOffset(months=3 * number)
        detected, outlined = rng.random() < 0.4, rng.random() < 0.6
        area = rng.choice([1.0, 4.0, 5.0, 30.0])
        plants = rng.choice([0.0, 0.9])
        rows.append(
            {
                **dict.fromkeys(columns_of(Look), np.nan),
                "site_id": f"s-{site}",
                "run_id": f"r-{number}",
                "sensor": "s2-l2a",
                "start": start.date(),
                "end": (start + pd.DateOffset(months=3, days=-1)).date(),
                "observed_share": rng.choice([0.0, 0.4, 1, 1, 1, 1]) if not detected else 1.0,
                "detected": detected,
                "footprint_ha": area if detected and rng.random() < 0.9 else np.nan,
                "area_ha": area if detected and outlined else np.nan,
                "area_low_ha": 0.8 * area if detected and outlined else np.nan,
                "area_high_ha": 1.2 * area if detected and outlined else np.nan,
            }
            | (
                {"forest_ha": plants, "farmland_ha": 0.0, "water_ha": 0.0, "bare_ha": 1 - plants}
                if rng.random() < 0.8
                else {}
            )
        )
    looks = pd.DataFrame(rows)
    looks.loc[looks["detected"] & (rng.random(len(looks)) < 0.2), "observed_share"] = 0.3
    return {
        (one.code, frozenset(one.values.items()))
        for told in site_periods(looks)["status_rule"]
        for one in read_said(told)
    }


@pytest.mark.parametrize("language", LANGUAGES)
def test_values_that_rules_give_fill_the_places_of_their_texts(language):
    say = messages(language)
    seen = set()
    for code, values in said_of_histories():
        entry = say.entries[code]
        wanted = set().union(*map(places, forms(entry)))
        assert {name for name, _ in values} == wanted, code
        text = say.said(Said(code, dict(values)))
        assert code not in text
        assert not re.search(r"\d{4}-\d{2}|\d\.\d{3}", text.replace("1.000", "")), text
        seen.add(code)
    assert seen == {key for key in say.entries if key.startswith("status_rule.")}


def test_units_are_told_by_the_last_word_of_a_place():
    code = {"a.b": "{x_ha} | {x_m} | {x_share} | {x_probability} | {x_day} | {x_period} | {name}"}
    said = Said.of(
        "a.b",
        x_ha=3.14159,
        x_m=1234.5,
        x_share=np.float64(0.125),
        x_probability=0.975,
        x_day=dt.date(2024, 3, 5),
        x_period=Period(dt.date(2024, 1, 1), dt.date(2024, 12, 31)),
        name="{x_ha}",
    )
    assert plain(Messages("fr", code).said(packed([said]))) == (
        "3,1 ha | 1,2 km | 12 % | 0,975 | 5 mars 2024 | 2024 | {x_ha}"
    )
    # Nonsense from elsewhere is shown, not trusted.
    odd = Said("a.b", dict.fromkeys(said.values, "x"))
    assert Messages("fr", code).said(odd) == " | ".join("x" * 7)
    assert Messages("fr", code).said(Said("a.c", {"n": 3})) == "a.c (n 3)"
    assert Messages("fr", code).said(Said("a.b", {"x_ha": 3})) == "a.b (x_ha 3)"


def test_sensors_and_old_sentences():
    detected = Said.of("alert_reason.detected", n=1, sensors="s1,x9", highest_probability=0.5)
    assert messages("en").said(detected) == (
        "Detected in 1 period, by Sentinel-1 (radar) and x9; probability up to 0.5."
    )
    assert messages("en").said("as it was [stored]") == "as it was [stored]"
    assert messages("en").said('[{"code": not JSON') == '[{"code": not JSON'
    assert messages("en").said(["one.", "two."]) == "one. two."
    assert [messages("es").said(nothing) for nothing in (None, "", [], float("nan"))] == [""] * 4


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_catalogue_for_other_faces_is_plain_json(language):
    told = json.loads(json.dumps(catalogue_json(language)))
    assert told["language.name"] == read_catalogue(language)["language.name"]
    assert set(told["area.sites_line"]) == {"one", "other"}
    assert set(told) == set(read_catalogue("en"))
    with pytest.raises(ConfigError, match="'tw'"):
        catalogue_json("tw")


@pytest.mark.parametrize(
    ("option", "environment", "language"),
    [
        ("PT", {"LANG": "fr_FR.UTF-8"}, "pt"),
        (None, {"SLUICE_LANGUAGE": "es", "LC_ALL": "fr_FR"}, "es"),
        (None, {"LANG": "fr_CD.UTF-8"}, "fr"),
        (None, {"LC_ALL": "pt_BR.UTF-8", "LANG": "fr_FR.UTF-8"}, "pt"),
        (None, {"LANG": "sw_KE.UTF-8", "LANGUAGE": "sw:fr"}, "fr"),
        (None, {"LANG": "C.UTF-8", "LANGUAGE": "fr"}, "en"),
        (None, {"LANG": "sw_KE.UTF-8"}, "en"),
        (None, {}, "en"),
    ],
)
def test_the_language_is_that_of_the_user(option, environment, language, monkeypatch):
    for name in ("SLUICE_LANGUAGE", "LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert language_of(option) == language


def test_what_is_missing_is_told():
    with pytest.raises(ConfigError, match="language 'tw' is not known; use one of en, fr, es, pt"):
        messages("tw")
    with pytest.raises(KeyError):
        messages("en").text("no.such")
    with pytest.raises(KeyError):
        messages("en").text("site.subtitle", site="x")
    with pytest.raises(TypeError, match="not float"):
        messages("en").text("site.subtitle", site=1.5, area="x")  # type: ignore[arg-type]


def test_stores_keep_sentences_however_they_come():
    one = Said.of("status_rule.hidden")
    rows = pd.Series([(one,), packed([one]), "Growing: 7 ha.", ()], dtype=object)
    kept = column_in(schema.sites, "status_rule", rows)
    assert kept == [packed([one])] * 2 + ["Growing: 7 ha.", ""]
    assert [read_said(text) for text in kept[:2]] == [(one,)] * 2
    assert read_said(json.loads(json_text([one, "Two dates."]))) == (
        one,
        Said(RECORDED, {"text": "Two dates."}),
    )
    with pytest.raises(ValueError, match="not JSON compliant"):
        packed([Said.of("status_rule.area", area_ha=float("nan"))])
    with pytest.raises(ValueError, match="a finite number"):
        said_texts("status_rule.area", 2, area_ha=np.array([1.0, np.nan]))
    joined = joined_texts(
        said_texts("a.b", 2, name=np.array(['100 % "', "b"], object), x_share=0.5),
        said_texts(np.array(["a.c", "a.d"], object), 2),
    )
    assert joined.tolist() == [
        packed([Said.of("a.b", name='100 % "', x_share=0.5), Said.of("a.c")]),
        packed([Said.of("a.b", name="b", x_share=0.5), Said.of("a.d")]),
    ]
