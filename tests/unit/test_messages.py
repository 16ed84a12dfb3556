"""The catalogues of all languages: complete, used, and each in its own language."""

import ast
import datetime as dt
import re
from pathlib import Path
from string import Formatter

import pytest

import sluice.app
from sluice.app.messages import LANGUAGES, Messages, messages, read_catalogue
from sluice.app.reports.context_words import _INSIDE, _NEAR
from sluice.base.errors import ConfigError
from sluice.base.places import (
    AlertKind,
    AlertState,
    Legality,
    Level,
    Reason,
    Status,
    Verdict,
)
from sluice.base.sensors import SENSORS

ENUMS = {
    "status": Status,
    "status_means": Status,
    "level": [*Level, "none"],
    "level_means": [*Level, "none"],
    "alert_kind": AlertKind,
    "alert_state": AlertState,
    "legality": Legality,
    "legality_short": Legality,
    "verdict": Verdict,
    "reason": Reason,
    "layer": {*_INSIDE, *_NEAR, "district", "slope"},
    "sensor": [*SENSORS, "import"],
    "part": ["probability", "growth", "protected", "river", "settlement"],
}
# Words that English has and the other three have not.
ENGLISH = re.compile(
    r"\b(the|and|of|was|were|with|which|that|this|not|been|from|before|there|here|sites?|area)\b",
    re.IGNORECASE,
)
SHARED = {"fr": {"site", "sites"}, "es": {"area"}, "pt": {"area"}}


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


def test_every_text_is_used_and_every_enumeration_has_its_words():
    strings = set()
    for path in Path(sluice.app.__path__[0]).rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        strings |= {
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
    for key in read_catalogue("en"):
        group, _, name = key.partition(".")
        if group in ENUMS:
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

    def plain(text):
        return re.sub(r"[\u00a0\u202f\u2009]", " ", text)

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


def test_what_is_missing_is_told():
    with pytest.raises(ConfigError, match="language 'tw' is not known; use one of en, fr, es, pt"):
        messages("tw")
    with pytest.raises(KeyError):
        messages("en").text("no.such")
    with pytest.raises(KeyError):
        messages("en").text("site.subtitle", site="x")
    with pytest.raises(TypeError, match="not float"):
        messages("en").text("site.subtitle", site=1.5, area="x")  # type: ignore[arg-type]
