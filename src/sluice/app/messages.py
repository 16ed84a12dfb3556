"""What Sluice says to people, in their language: one catalogue that every face uses.

`languages/<code>.toml` holds the texts of a language. A text has named places, `{site}`, and where
it counts something, forms of the plural as CLDR names them (`one`, `other`). Numbers and dates are
written as the language writes them, by Babel. What rules decided (`sluice.base.said`) is a text
whose places tell their units.
"""

from __future__ import annotations

import datetime as dt
import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from importlib import resources
from string import Formatter
from types import MappingProxyType
from typing import Any, TypeAlias

from babel import Locale
from babel.dates import format_date, format_interval
from babel.lists import format_list
from babel.numbers import format_percent, get_decimal_symbol, get_group_symbol

from sluice.base.errors import ConfigError
from sluice.base.said import Said, SaidValue, read_said

LANGUAGES = ("en", "fr", "es", "pt")
"""Codes of ISO 639-1."""
DEFAULT_LANGUAGE = "en"

Entry: TypeAlias = str | Mapping[str, str]
"""A text, or its plural forms."""
Value: TypeAlias = str | int | dt.date

# Day before month, as outside of the United States.
_LOCALES = {"en": "en_GB"}
_PLURALS = {"zero", "one", "two", "few", "many", "other"}
COUNT = "n"
"""The place whose number chooses the plural form."""


class Messages:
    """The texts of one language.

    Args:
        language: One of `LANGUAGES`.
        entries: By key.
    """

    def __init__(self, language: str, entries: Mapping[str, Entry]) -> None:
        self.language = language
        self.entries = entries
        self._locale = Locale.parse(_LOCALES.get(language, language))
        # Babel takes 40 microseconds for a number and 60 for a period; exports have millions.
        self._signs = str.maketrans(
            {",": get_group_symbol(self._locale), ".": get_decimal_symbol(self._locale)}
        )
        self._percent = str(format_percent(0.11, locale=self._locale)).split("11")
        self._periods: dict[tuple[dt.date, dt.date], str] = {}
        self._units: dict[str, Callable[[Any], str]] = {
            "ha": self.hectares,
            "m": self.metres,
            "share": self.percent,
            "probability": self.probability,
            "day": lambda day: self.date(dt.date.fromisoformat(day)),
            "period": lambda span: self.period(*map(dt.date.fromisoformat, span.split("/"))),
            "sensors": lambda ids: self.listed([self.sensor(one) for one in ids.split(",")]),
        }

    def text(self, key: str, /, **values: Value) -> str:
        """One text with its places filled.

        Args:
            key: Such as `site.title`.
            values: For each place; whole numbers and dates are written as the language does,
                other numbers are given as text, from `number`.

        Raises:
            KeyError: No such text, or a place was not given: a fault of the caller.
        """
        entry = self.entries[key]
        if not isinstance(entry, str):
            form = str(self._locale.plural_form(_count(values)))
            entry = entry.get(form, entry["other"])
        shown = {name: self._show(value) for name, value in values.items()}
        return "".join(
            before + (shown[name] if name is not None else "") for before, name in _parts(entry)
        )

    def of(self, group: str, value: StrEnum | str) -> str:
        """The word for a value of an enumeration: of group `status` and `new`, `status.new`.

        Raises:
            KeyError: No such text.
        """
        return self.text(f"{group}.{value}")

    def known(self, group: str, value: str) -> bool:
        """Whether there is a word for a value."""
        return f"{group}.{value}" in self.entries

    def said(self, said: object) -> str:
        """What rules decided, as sentences.

        Args:
            said: As tables, stores and records hold it; see `sluice.base.said.read_said`.
        """
        return " ".join(self.sentences(said))

    def sentences(self, said: object) -> list[str]:
        """Likewise, one by one; of a code that this version does not know, code and values."""
        return [self._sentence(one) for one in read_said(said)]

    def _sentence(self, said: Said) -> str:
        try:
            worded = {name: self._worded(name, value) for name, value in said.values.items()}
            return self.text(said.code, **worded)
        except (KeyError, TypeError):
            values = ", ".join(f"{name} {value}" for name, value in said.values.items())
            return f"{said.code} ({values})" if values else said.code

    def _worded(self, name: str, value: SaidValue) -> Value:
        """A value of something said, by the unit that its name ends in."""
        unit = self._units.get(name.rpartition("_")[2])
        if unit is not None:
            try:
                return unit(value)
            except (ValueError, TypeError, AttributeError):
                return str(value)
        return self.number(value, 1) if isinstance(value, float) else value

    def sensor(self, sensor: str) -> str:
        """What people call a sensor; its id where there is no word for it."""
        return self.of("sensor", sensor) if self.known("sensor", sensor) else sensor

    def listed(self, words: Sequence[str]) -> str:
        """`a, b and c`."""
        return str(format_list(list(words), locale=self._locale))

    def number(self, value: float, digits: int = 0) -> str:
        """A number with so many digits after the decimal sign."""
        return f"{value:,.{digits}f}".translate(self._signs)

    def probability(self, value: float) -> str:
        """Up to three digits; what is not quite 0 or 1 is not rounded to it."""
        if 0 < value < 0.0005:
            return f"< {self.number(0.001, 3)}"
        if 0.9995 <= value < 1:
            return f"> {self.number(0.999, 3)}"
        return self.number(value, max(1, len(f"{value:.3f}".rstrip("0")) - 2))

    def percent(self, share: float) -> str:
        """A share of 1 as whole percent; what is not quite 0 or 100 is not rounded to it."""
        before, after = self._percent
        sign, whole = "", self.number(100 * share)
        if share > 0 and whole == "0":
            sign, whole = "< ", "1"
        elif share < 1 and whole == "100":
            sign, whole = "> ", "99"
        return f"{sign}{before}{whole}{after}"

    def hectares(self, area_ha: float) -> str:
        """An area with its unit; a tenth is told below 100 ha."""
        return f"{self.number(area_ha, 1 if area_ha < 99.95 else 0)}\N{NO-BREAK SPACE}ha"

    def metres(self, distance_m: float) -> str:
        """A distance in metres, or from 1 km on in kilometres."""
        if distance_m < 995:
            rounded = 10 * math.floor(distance_m / 10 + 0.5) if distance_m >= 20 else distance_m
            return f"{self.number(rounded)}\N{NO-BREAK SPACE}m"
        kilometres = round(distance_m / 1000, 1)
        whole = kilometres >= 100 or kilometres == round(kilometres)
        return f"{self.number(kilometres, 0 if whole else 1)}\N{NO-BREAK SPACE}km"

    def date(self, day: dt.date) -> str:
        """A day, the month as a word."""
        return str(format_date(day, "long", locale=self._locale))

    def period(self, start: dt.date, end: dt.date) -> str:
        """From one day to another, short: whole months without their days, years without them."""
        known = self._periods.get((start, end))
        if known is None:
            pattern = "yMMMd"
            if start.day == 1 and (end + dt.timedelta(days=1)).day == 1:
                pattern = "y" if (start.month, end.month) == (1, 12) else "yMMM"
            known = str(format_interval(start, end, pattern, locale=self._locale))
            self._periods[start, end] = known
        return known

    def _show(self, value: Value) -> str:
        if isinstance(value, str):
            return value
        if isinstance(value, dt.date):
            return self.date(value)
        if isinstance(value, int):
            return self.number(value)
        raise TypeError(f"a place takes text, whole numbers and dates, not {type(value).__name__}")


@lru_cache(maxsize=4096)
def _parts(entry: str) -> tuple[tuple[str, str | None], ...]:
    """Text, and the place after it."""
    return tuple((before, name) for before, name, _, _ in Formatter().parse(entry))


def _count(values: Mapping[str, Value]) -> int:
    count = values[COUNT]
    if not isinstance(count, int):
        raise TypeError(f"{COUNT} chooses the plural form and is a whole number, got {count!r}")
    return count


@lru_cache(maxsize=len(LANGUAGES))
def messages(language: str = DEFAULT_LANGUAGE) -> Messages:
    """The texts of a language.

    Raises:
        ConfigError: The language is not known.
    """
    if language not in LANGUAGES:
        raise ConfigError(f"language {language!r} is not known; use one of {', '.join(LANGUAGES)}")
    return Messages(language, read_catalogue(language))


def read_catalogue(language: str) -> Mapping[str, Entry]:
    """The texts of a language by key, as its file has them."""
    path = resources.files("sluice.app").joinpath("languages", f"{language}.toml")
    return MappingProxyType(dict(_flatten(tomllib.loads(path.read_text("utf-8")), "")))


def catalogue_json(language: str = DEFAULT_LANGUAGE) -> dict[str, str | dict[str, str]]:
    """The texts of a language by key, for faces that fill the places themselves.

    A text with forms of the plural is an object of them; the value of `n` chooses the form.

    Raises:
        ConfigError: The language is not known.
    """
    entries = messages(language).entries
    return {key: text if isinstance(text, str) else dict(text) for key, text in entries.items()}


def _flatten(table: Mapping[str, Any], before: str) -> list[tuple[str, Entry]]:
    found: list[tuple[str, Entry]] = []
    for name, value in table.items():
        key = f"{before}{name}"
        if isinstance(value, str) or value.keys() <= _PLURALS:
            found.append((key, value))
        else:
            found += _flatten(value, f"{key}.")
    return found
