"""What kind of place a chip shows, by the name of the set it came from."""

from __future__ import annotations

# The Earth Genome sets name their typed negatives; most others are named after the region and
# the model whose mistakes were collected, which says nothing about the place, so those keep the
# set's own name. First match wins.
_KIND_BY_PART_OF_NAME = (
    ("cloud_remnant", "cloud remnant"),
    ("riverbank", "riverbank"),
    ("oxbow", "oxbow"),
    ("landslide", "landslide"),
    ("aquaculture", "aquaculture"),
    ("industrial", "industrial"),
    ("mountain", "mountains"),
    ("random", "random"),
)


def place_kind(source: str) -> str:
    """Readable kind of place, `riverbank`, or `source` itself where its name tells none."""
    name = source.lower()
    return next((kind for part, kind in _KIND_BY_PART_OF_NAME if part in name), source)
