"""Features as the text of GeoJSON; those of sites are kept while the store is as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import shapely

from sluice.app.web.answers import geojson_of, to_json
from sluice.app.web.collections import CONTEXT, SITES, Collection
from sluice.app.web.crs import reproject
from sluice.app.web.service import Service
from sluice.base.store import SiteQuery

_OVERHEAD_BYTES = 300
"""Of a text that is kept, besides its own."""


def texts_of(
    columns: Mapping[str, Any], shapes: Any, collection: Collection, crs: str
) -> list[bytes]:
    """Features of a collection.

    Args:
        columns: Properties of N features by name, and `context`; what is left out is absent.
        shapes: (N,) in degrees, longitude first.
        collection: Theirs.
        crs: Of the text, see `crs.KNOWN`.
    """
    spread = _spread(columns, collection)
    names = [*spread]
    given = geojson_of(reproject(shapes, crs))
    rows = zip(*spread.values(), strict=True)
    return [
        to_json({"type": "Feature", "id": one, "properties": dict(zip(names, row, strict=True)),
                 "geometry": shape})
        for one, row, shape in zip(spread[collection.key], rows, given, strict=True)
    ]  # fmt: skip


def site_texts(service: Service, ids: Sequence[str], crs: str) -> list[bytes]:
    """Features of sites, as they are; of those that are there, in the order of their ids."""
    revision = service.revision()
    state = ("site text", revision.sites, revision.reviews, crs)
    found = service.texts.get_many([(*state, one) for one in ids])
    known = dict(zip(ids, found, strict=True))
    missing = [one for one, text in known.items() if text is None]
    if missing:
        columns = site_columns_to_read()
        query = SiteQuery(site_ids=tuple(missing))
        read = service.store.site_columns(query, columns)
        shapes = shapely.from_wkb(np.array(read.pop("geometry"), dtype=object))
        made = dict(zip(read["site_id"], texts_of(read, shapes, SITES, crs), strict=True))
        known |= made
        for one, text in made.items():
            service.texts.put((*state, one), text, len(text) + _OVERHEAD_BYTES)
    return [text for text in known.values() if text is not None]


def site_columns_to_read() -> list[str]:
    """Columns of a store that a site's feature is made of."""
    own = [name for name in SITES.properties if not name.startswith(CONTEXT)]
    return [*own, "context", "geometry"]


def with_links(text: bytes, links: Sequence[Mapping[str, str]]) -> bytes:
    """A feature with links beside its members."""
    return text[:-1] + b',"links":' + orjson.dumps(links) + b"}"


def _spread(columns: Mapping[str, Any], collection: Collection) -> dict[str, list[Any]]:
    """Properties in their order, with those of the surroundings."""
    count = len(columns[collection.key])
    absent = [None] * count
    contexts = [context or {} for context in columns.get("context") or absent]
    # Mostly few are known, of many that there may be.
    known = set().union(*contexts)
    found = {}
    for name in collection.properties:
        key = name.removeprefix(CONTEXT)
        if not name.startswith(CONTEXT):
            found[name] = columns.get(name, absent)
        else:
            found[name] = [one.get(key) for one in contexts] if key in known else absent
    return found
