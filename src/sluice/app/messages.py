"""What Sluice says to people, in their language: one catalogue that every face uses.

`languages/<code>.toml` holds the texts of a language. A text has named places, `{site}`, and where
it counts something, forms of the plural as CLDR names them (`one`, `other`). Numbers and dates are
written as the language writes them, by Babel.
"""

from __future__ import annotations

import datetime as dt
import math
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from importlib import resources
from string import Formatter
from types import MappingProxyType
from typing import Any, TypeAlias

from babel import Locale
from babel.dates import format_date, format_interval
from babel.numbers import format_decimal, format_percent

from sluice.base.errors import ConfigError

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
        self._entries = entries
        self._locale = Locale.parse(_LOCALES.get(language, language))

    def text(self, key: str, /, **values: Value) -> str:
        """One text with its places filled.

        Args:
            key: Such as `site.title`.
            values: For each place; whole numbers and dates are written as the language does,
                other numbers are given as text, from `number`.

        Raises:
            KeyError: No such text, or a place was not given: a fault of the caller.
        """
        entry = self._entries[key]
        if not isinstance(entry, str):
            form = str(self._locale.plural_form(_count(values)))
            entry = entry.get(form, entry["other"])
        shown = {name: self._show(value) for name, value in values.items()}
        return "".join(
            before + (shown[name] if name is not None else "")
            for before, name, _, _ in Formatter().parse(entry)
        )

    def of(self, group: str, value: StrEnum | str) -> str:
        """The word for a value of an enumeration: of group `status` and `new`, `status.new`.

        Raises:
            KeyError: No such text.
        """
        return self.text(f"{group}.{value}")

    def known(self, group: str, value: str) -> bool:
        """Whether there is a word for a value."""
        return f"{group}.{value}" in self._entries

    def number(self, value: float, digits: int = 0) -> str:
        """A number with so many digits after the decimal sign."""
        pattern = "#,##0" + ("." + "0" * digits if digits else "")
        return str(format_decimal(value, pattern, locale=self._locale))

    def percent(self, share: float) -> str:
        """A share of 1 as whole percent; what is not quite 0 or 100 is not rounded to it."""
        if 0 < share < 0.005:
            return f"< {format_percent(0.01, locale=self._locale)}"
        if 0.995 < share < 1:
            return f"> {format_percent(0.99, locale=self._locale)}"
        return str(format_percent(share, locale=self._locale))

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
        """From one day to another, short: whole months without their days."""
        whole = start.day == 1 and (end + dt.timedelta(days=1)).day == 1
        return str(format_interval(start, end, "yMMM" if whole else "yMMMd", locale=self._locale))

    def _show(self, value: Value) -> str:
        if isinstance(value, str):
            return value
        if isinstance(value, dt.date):
            return self.date(value)
        if isinstance(value, int):
            return self.number(value)
        raise TypeError(f"a place takes text, whole numbers and dates, not {type(value).__name__}")


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


def _flatten(table: Mapping[str, Any], before: str) -> list[tuple[str, Entry]]:
    found: list[tuple[str, Entry]] = []
    for name, value in table.items():
        key = f"{before}{name}"
        if isinstance(value, str) or value.keys() <= _PLURALS:
            found.append((key, value))
        else:
            found += _flatten(value, f"{key}.")
    return found
