"""What a user types, as what exports take."""

from __future__ import annotations

import re

from sluice.base.errors import ConfigError
from sluice.sites.redaction import Redaction, Sensitive

_METRES = {"m": 1, "km": 1000}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(m|km)\s*", re.IGNORECASE)
_DELAY = re.compile(r"\s*(\d+)\s*(day|week|month|year)s?\s*", re.IGNORECASE)


def read_redaction(
    redact: str | None,
    delay: str | None = None,
    *,
    which: Sensitive | None = None,
    key: str | None = None,
) -> Redaction | None:
    """A redaction from the texts of `--redact` and `--delay`.

    Args:
        redact: Size of the grid: `5km`, `500m`; None for no redaction.
        delay: `6months`, `90days`, `2weeks`, `1year`; None for none.
        which: Sensitive sites; None for all.
        key: Secret text behind the ids, 16 characters or more; None for ids that differ from one
            export to the next.

    Raises:
        ConfigError: A text cannot be read, or a delay or a key stands alone.
    """
    if redact is None:
        if key is not None:
            raise ConfigError(
                "--redact-key (or SLUICE_REDACT_KEY) is for --redact, and without it exact places "
                "are written; give --redact 5km, or leave the key out"
            )
        if delay is not None:
            raise ConfigError(
                "--delay holds back sensitive places, which --redact hides; give both, "
                "such as --redact 5km --delay 6months"
            )
        return None
    months, days = read_delay(delay) if delay is not None else (0, 0)
    secret = {} if key is None else {"key": key.encode()}
    return Redaction(read_size(redact), months, days, which, **secret)


def read_size(text: str) -> float:
    """Metres of a length: `5km`, `500m`.

    Raises:
        ConfigError: It is none.
    """
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ConfigError(f"{text!r} is no length; give metres or kilometres, such as 5km")
    return float(found[1]) * _METRES[found[2].lower()]


def read_delay(text: str) -> tuple[int, int]:
    """Months and days of a delay: `6months`, `90days`, `2weeks`, `1year`.

    Raises:
        ConfigError: It is none.
    """
    found = _DELAY.fullmatch(text)
    if found is None:
        raise ConfigError(f"{text!r} is no delay; give days, weeks, months or years: 6months")
    number, unit = int(found[1]), found[2].lower()
    months, days = {"day": (0, 1), "week": (0, 7), "month": (1, 0), "year": (12, 0)}[unit]
    return number * months, number * days
