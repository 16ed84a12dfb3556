"""Features as the text of GeoJSON; those of sites are kept while the store is as it is."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import shapely

from sluice.app.web.answers import geojson_of, to_json
from sluice.app.web.collections import CONTEXT, SITES, Collection
from sluice.app.web.crs import CRS84, reproject
from sluice.app.web.site_indexes import said_of
from sluice.app.web.views import Places
from sluice.base.store import SiteQuery, Store

_OVERHEAD_BYTES = 300
"""Of a text that is kept, besides its own."""
_SHARE = 0.8
"""Of what is kept, for the most urgent."""
_AT_ONCE, _PAUSE_S = 200, 0.02


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


def site_texts(places: Places, ids: Sequence[str], crs: str) -> list[bytes]:
    """Features of sites, as they are; of those that are there, in the order of their ids."""
    service = places.service
    landed, said = service.revision().sites, said_of(service, places.person)
    # What a review changes is in the key, so that the others outlive it.
    keys = {one: ("site text", landed, crs, one, said.get(one)) for one in ids}
    known = dict(zip(ids, service.texts.get_many([*keys.values()]), strict=True))
    missing = [one for one, text in known.items() if text is None]
    if missing:
        columns = service.store.site_columns(
            SiteQuery(site_ids=tuple(missing)), site_columns_to_read()
        )
        shapes = shapely.from_wkb(np.array(columns.pop("geometry"), dtype=object))
        made = zip(columns["site_id"], texts_of(columns, shapes, SITES, crs), strict=True)
        for one, text in made:
            known[one] = text
            service.texts.put(keys[one], text, len(text) + _OVERHEAD_BYTES)
    return [text for text in known.values() if text is not None]


def make_urgent_texts_soon(places: Places, ids: npt.NDArray[np.object_]) -> None:
    """Begin to make the features of the sites that lists begin with, before somebody asks.

    Args:
        places: As somebody sees them who sees them as they are.
        ids: (N,) of all sites, the most urgent first; as many are made as are kept.
    """

    service = places.service

    def make(_: Store) -> bool:
        size = 0
        for start in range(0, len(ids), _AT_ONCE):
            texts = site_texts(places, ids[start : start + _AT_ONCE].tolist(), CRS84)
            size += sum(map(len, texts)) + _OVERHEAD_BYTES * len(texts)
            if size > _SHARE * service.texts.most_bytes or service.is_closed:
                break
            # Requests come first.
            time.sleep(_PAUSE_S)
        return True

    # For whoever asks first: others mostly see the same sites, and there is room for some only.
    service.kept_soon("urgent texts", make, of=("sites",))


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
