"""Why an item or a file cannot be used."""

from __future__ import annotations


class Refused(Exception):
    """It is left out; the text says why, for a person."""
