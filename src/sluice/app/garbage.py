"""When Python looks for objects that hold each other and nobody else holds."""

from __future__ import annotations

import gc

_AFTER = 50_000
"""Objects made and not given back. Python's own 700 suit programs that make few: reading a million
rows of a store, a third of the time would go into looking through those that are there already."""


def collect_seldom() -> None:
    """Look for garbage after many new objects only, and no more through what there is now."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_AFTER)
