"""What a vector file holds, looked at before a library with many drivers may look.

GDAL tries its drivers on the content, not the name. Some of them read other files or addresses
that the content names (OGR VRT, WFS, GML with a schema), and they do so while the file is being
opened: asking afterwards which driver it was is too late.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.parsers import expat

KINDS = {
    ".gpkg": "GeoPackage",
    ".geojson": "GeoJSON",
    ".json": "GeoJSON",
    ".fgb": "FlatGeobuf",
    ".shp": "Shapefile",
    ".kml": "KML",
}
"""By suffix."""

_JSON_TYPES = {
    "Feature",
    "FeatureCollection",
    "GeometryCollection",
    *(f"{many}{kind}" for many in ("", "Multi") for kind in ("Point", "LineString", "Polygon")),
}
# GDAL takes this member in any case, of a collection, a feature or a geometry.
_CRS_KEY = re.compile(
    r'"(?:[cC]|\\u00[64]3)(?:[rR]|\\u00[75]2)(?:[sS]|\\u00[75]3)"\s*:'  # escaped or not
)
_CRS_NAME = re.compile(r"(?:urn:(?:x-)?ogc:def:crs:)?[A-Za-z]+\d*:[\d.]*:?\w+")
_SQLITE = b"SQLite format 3\0"
_GEOPACKAGE_AT, _GEOPACKAGE_IDS = 68, {b"GPKG", b"GP10", b"GP11"}
_SHAPEFILE = (9994).to_bytes(4, "big")
_FLATGEOBUF = (b"fgb\x03fgb\x00", b"fgb\x03fgb\x01")
# A file that two parsers see differently could be KML to one and one of these to another.
_FOREIGN_IN_KML = (b"<ogr", b"opengis.net/gml")


class UnexpectedContent(Exception):
    """The content is not what the suffix says; the text says why."""


def safe_source(path: Path) -> Path | bytes:
    """What a library may open in place of a vector file.

    Args:
        path: Its suffix is one of `KINDS`.

    Returns:
        The path of a binary format, absolute, or the content of a text format.

    Raises:
        UnexpectedContent: It is not what the suffix says.
        OSError: It cannot be read.
    """
    kind = KINDS[path.suffix.lower()]
    if kind == "GeoJSON":
        return _checked_json(path.read_bytes())
    if kind == "KML":
        return _checked_kml(path.read_bytes())
    with path.open("rb") as stream:
        head = stream.read(100)
    application = head[_GEOPACKAGE_AT : _GEOPACKAGE_AT + 4]
    fits = {
        # An SQLite file that is no GeoPackage would be opened by another driver.
        "GeoPackage": head.startswith(_SQLITE) and application in _GEOPACKAGE_IDS,
        "FlatGeobuf": head.startswith(_FLATGEOBUF),
        "Shapefile": head.startswith(_SHAPEFILE),
    }
    if not fits[kind]:
        raise UnexpectedContent(f"it does not begin as a {kind} does")
    # Absolute, since drivers are also chosen by how a name begins ("WFS:").
    return path.absolute()


def _checked_json(content: bytes) -> bytes:
    try:
        text = content.decode("utf-8-sig")
        document = json.loads(text)
    except (ValueError, RecursionError) as err:
        raise UnexpectedContent(f"not JSON: {err}") from err
    if not isinstance(document, dict) or document.get("type") not in _JSON_TYPES:
        raise UnexpectedContent("its JSON is no feature, feature collection or geometry")
    named = len(_CRS_KEY.findall(text))
    if named:
        _refuse_linked_crs(document, alone=named == 1)
    if named > 1:
        # Of a member that is there twice, each parser takes another one.
        text = json.dumps(document)
    # "<" can only stand within a string. Escaped, it means the same, and no driver takes the
    # file for XML.
    return text.replace("<", "\\u003c").encode()


def _refuse_linked_crs(document: dict[str, Any], *, alone: bool) -> None:
    """Refuse a CRS that is not named but linked: it would be fetched from wherever that leads.

    Args:
        document: That has one somewhere.
        alone: Whether it has one only.
    """
    at_top = [value for name, value in document.items() if name.lower() == "crs"]
    if alone and at_top:
        _require_named_crs(at_top[0])
        return
    waiting: list[Any] = [document]
    while waiting:
        part = waiting.pop()
        members = part.items() if isinstance(part, dict) else enumerate(part)
        for name, value in members:
            if isinstance(name, str) and name.lower() == "crs":
                _require_named_crs(value)
            if name != "coordinates" and isinstance(value, dict | list):
                waiting.append(value)


def _require_named_crs(crs: Any) -> None:
    if not isinstance(crs, dict | list):
        # Of a feature's own columns one may be called so.
        return
    told = crs.get("properties") if isinstance(crs, dict) else None
    if isinstance(crs, dict) and isinstance(told, dict):
        alone = set(crs) == {"type", "properties"} and len(told) == 1
        if alone and crs["type"] == "name" and _CRS_NAME.fullmatch(str(told.get("name"))):
            return
        if alone and crs["type"] == "EPSG" and str(told.get("code")).isdigit():
            return
    raise UnexpectedContent("its CRS is not named by a code, and such files may read others")


def _checked_kml(content: bytes) -> bytes:
    roots: list[str] = []

    def note_root(name: str, _attributes: dict[str, str]) -> None:
        if not roots:
            roots.append(name.rpartition(":")[2])

    def refuse_doctype(*_declaration: object) -> None:
        raise UnexpectedContent("it has a DOCTYPE, and such files may read others")

    parser = expat.ParserCreate()
    parser.StartElementHandler = note_root
    parser.StartDoctypeDeclHandler = refuse_doctype
    try:
        parser.Parse(content, True)  # noqa: FBT003 - takes no keyword
    except expat.ExpatError as err:
        raise UnexpectedContent(f"not XML: {err}") from err
    if roots != ["kml"]:
        raise UnexpectedContent(f"its XML is {roots[0]}, not kml")
    lower = content.lower()
    if any(foreign in lower for foreign in _FOREIGN_IN_KML):
        raise UnexpectedContent("it holds parts of other formats, and such files may read others")
    return content
