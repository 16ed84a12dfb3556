"""Tables of a store as JSON."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping
from typing import Any

import geopandas as gpd
import numpy as np
import orjson
import pandas as pd
import shapely
from isal import igzip
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from sluice.base.polygons import rounded
from sluice.base.said import SAID_COLUMNS, read_said

GEO_DECIMALS = 6
"""Of degrees: 0.1 m."""
_LEAST_BYTES = 500
"""That are worth it."""
_EFFORT = 2
"""Of compression, by ISA-L: a page of features is as small as by zlib, a tile a tenth larger, in a
sixth of the time."""


def plain(value: Any) -> Any:
    """What orjson does not know by itself."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    if isinstance(value, (frozenset, set)):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def to_json(content: Any) -> bytes:
    """JSON text; absent numbers (NaN) are null, dates ISO 8601."""
    return orjson.dumps(content, default=plain, option=orjson.OPT_NON_STR_KEYS)


def described(media_type: str, schema: Mapping[str, Any] | None = None) -> Any:
    """For `responses` of a route that answers something else than plain JSON."""
    return {200: {"content": {media_type: {"schema": dict(schema or {})}}}}


GEOJSON = "application/geo+json"
_FEATURE = {
    "type": "object",
    "required": ["type", "geometry", "properties"],
    "properties": {
        "type": {"const": "Feature"},
        "geometry": {"type": ["object", "null"]},
        "properties": {"type": "object"},
    },
}
FEATURE = described(GEOJSON, _FEATURE)
FEATURES = described(
    GEOJSON,
    {
        "type": "object",
        "required": ["type", "features"],
        "properties": {
            "type": {"const": "FeatureCollection"},
            "features": {"type": "array", "items": _FEATURE},
        },
    },
)


def json_response(
    content: Any,
    status: int = 200,
    *,
    media_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An answer of JSON."""
    return Response(to_json(content), status, dict(headers or {}), media_type)


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON can hold them: absent values are None; shapes stay out.

    What rules decided is told as codes with values, see `sluice.base.said`.
    """
    columns = [name for name in table.columns if name != "geometry"]
    lists = {name: _column(table[name]) for name in columns}
    for name in set(SAID_COLUMNS) & set(columns):
        lists[name] = [_said(value) for value in lists[name]]
    return [dict(zip(columns, row, strict=True)) for row in zip(*lists.values(), strict=True)]


def compressed_response(
    request: Request,
    body: bytes,
    media_type: str,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An answer, compressed where who asks can read that: in the thread of its route, and not in
    that of all requests, as the middleware does it.

    Args:
        request: That is answered.
        body: As it is.
        media_type: Of it.
        headers: Others.
    """
    given = {"Vary": "Accept-Encoding", **(headers or {})}
    if len(body) < _LEAST_BYTES or "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(body, headers=given, media_type=media_type)
    packed = igzip.compress(body, _EFFORT, mtime=0)
    return Response(packed, headers={**given, "Content-Encoding": "gzip"}, media_type=media_type)


def _said(value: Any) -> list[dict[str, Any]] | None:
    return None if value is None else [one.plain() for one in read_said(value)]


def _column(values: pd.Series[Any]) -> list[Any]:
    found: list[Any] = values.tolist()
    if values.dtype == bool or values.dtype.kind in "iu":
        return found
    return [None if _is_absent(value) else value for value in found]


def _is_absent(value: Any) -> bool:
    return value is None or value is pd.NaT or (isinstance(value, float) and math.isnan(value))


def geojson_of(shapes: Iterable[Any]) -> list[Any]:
    """GeoJSON geometries to `GEO_DECIMALS`, ready to be put into JSON; rings as RFC 7946 has them,
    outer ones counter-clockwise."""
    given = np.asarray(list(shapes), dtype=object)
    if not len(given):
        return []
    texts = shapely.to_geojson(shapely.orient_polygons(rounded(given, GEO_DECIMALS)))
    return [None if text is None else orjson.Fragment(text) for text in texts]


def feature_collection(table: gpd.GeoDataFrame, **members: Any) -> dict[str, Any]:
    """A GeoJSON FeatureCollection of a table."""
    shapes = geojson_of(table.geometry)
    features = [
        {"type": "Feature", "properties": row, "geometry": shape}
        for row, shape in zip(rows_of(table), shapes, strict=True)
    ]
    return {"type": "FeatureCollection", **members, "features": features}


def moment_text(moment: dt.datetime) -> str:
    """RFC 3339, in UTC."""
    return moment.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
