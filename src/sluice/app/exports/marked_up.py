"""Google Earth's KML and KMZ, and waypoints for hand-held receivers (GPX)."""

from __future__ import annotations

import html
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from xml.etree import ElementTree as ET

import geopandas as gpd
import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry
from shapely.geometry.polygon import orient

from sluice.app.exports.appearance import OTHER, Look, Wording, looks_of
from sluice.app.exports.flat_table import Kind
from sluice.app.messages import Messages
from sluice.app.products.classes import RGB
from sluice.base.errors import ConfigError
from sluice.base.polygons import rounded

_KML = "http://www.opengis.net/kml/2.2"
_GPX = "http://www.topografix.com/GPX/1/1"
_ICON = "http://maps.google.com/mapfiles/kml/shapes/placemark_circle.png"
_PICTURE_TYPES = {b"\x89PNG\r\n\x1a\n": ".png", b"\xff\xd8\xff": ".jpg"}
_PICTURE_WIDTH = 320
_KML_DECIMALS = 7
"""Of coordinates, in degrees."""
# A balloon begins with what is looked for first, and leaves out what only programs need.
_FIRST = ("status", "level", "kind", "dms", "mgrs")
_NOT_IN_BALLOONS = ("site_id", "lon", "lat", "current")
# Receivers show little more of a description.
_GPX_COLUMNS = ("status", "level", "kind", "area_ha", "growth_ha", "last_seen", "raised",
                "verdict", "cell_m")  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """A picture of a site, such as it was before or is after."""

    caption: str
    content: bytes
    """PNG or JPEG."""


Pictures = Mapping[str, Sequence[Picture]]
"""By the id of the site."""


def write_kml(
    frame: gpd.GeoDataFrame, path: Path, kind: Kind, *, disclaimer: str, say: Messages
) -> None:
    """Write folders of outlines and of places, coloured by status or level.

    Args:
        frame: From `flat_table`.
        path: A `.kml` file.
        kind: What it shows.
        disclaimer: The document's description, and the end of every balloon.
        say: The language of titles.

    Raises:
        OSError: It cannot be written.
    """
    with path.open("wb") as stream:
        _kml(stream, frame, kind, disclaimer, {}, say=say)


def write_kmz(
    frame: gpd.GeoDataFrame,
    path: Path,
    kind: Kind,
    *,
    disclaimer: str,
    pictures: Pictures,
    say: Messages,
) -> None:
    """Write KML and its pictures as one zip file; see `write_kml`.

    Raises:
        ConfigError: A picture is neither PNG nor JPEG.
        OSError: It cannot be written.
    """
    files: dict[str, list[tuple[str, str]]] = {}
    members: list[tuple[str, bytes]] = []
    # Numbered: an id as a name would have to be legal on every system.
    for number, site_id in enumerate(dict.fromkeys(frame["site_id"])):
        for picture in pictures.get(site_id, ()):
            suffix = _picture_type(picture.content)
            name = f"files/{number + 1}-{len(files.get(site_id, ())) + 1}{suffix}"
            files.setdefault(site_id, []).append((name, picture.caption))
            members.append((name, picture.content))
    with tempfile.TemporaryDirectory(prefix=".part-", dir=path.parent) as folder:
        # A member written as a stream has a header that Google's library does not read.
        document = Path(folder) / "doc.kml"
        with document.open("wb") as stream:
            _kml(stream, frame, kind, disclaimer, files, say=say)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            # Readers take the first member that ends in .kml.
            archive.write(document, document.name)
            for name, content in members:
                archive.writestr(name, content, zipfile.ZIP_STORED)  # compressed already


def _picture_type(content: bytes) -> str:
    for start, suffix in _PICTURE_TYPES.items():
        if content.startswith(start):
            return suffix
    raise ConfigError("a picture for the KMZ is neither PNG nor JPEG; give one of these")


def _kml(
    stream: IO[bytes],
    frame: gpd.GeoDataFrame,
    kind: Kind,
    disclaimer: str,
    files: Mapping[str, Sequence[tuple[str, str]]],
    *,
    say: Messages,
) -> None:
    """Piece by piece: one tree of all sites would fill the memory."""
    stream.write(f'<?xml version="1.0" encoding="UTF-8"?>\n<kml xmlns="{_KML}">\n'.encode())
    stream.write(b"<Document>\n")
    looks = looks_of(kind)
    head = [_element("name", say.of("table", kind.name)), _element("description", disclaimer)]
    head += [_kml_style(value, look) for value, look in [*looks.items(), ("other", OTHER)]]
    columns = [name for name in frame.columns if name != "geometry"]
    wording = Wording(columns, say)
    head.append(_kml_schema(frame, kind, wording))
    for one in head:
        stream.write(ET.tostring(one, "utf-8") + b"\n")
    rows = _rows(frame, columns)
    shapes = rounded(frame.geometry.to_numpy(), _KML_DECIMALS)
    outlined = shapely.get_dimensions(shapes) == 2
    folders: list[tuple[str, Callable[[Any, dict[str, str]], ET.Element | None]]] = []
    if outlined.any():
        folders.append(("outlines", lambda shape, _row: _kml_outline(shape)))
    folders.append((kind.name, lambda _shape, row: _kml_point(row)))
    for name, geometry in folders:
        stream.write(b"<Folder>\n" + ET.tostring(_element("name", name), "utf-8") + b"\n")
        for shape, row in zip(shapes, rows, strict=True):
            drawn = geometry(shape, row)
            if drawn is None:
                continue
            value = row.get(kind.sort or "", "")
            style = value if value in looks else "other"
            balloon = _balloon(row, wording, disclaimer, files.get(row["site_id"], ()))
            mark = _kml_placemark(row.get(kind.key, ""), balloon, style)
            if name == folders[0][0]:
                mark.append(_kml_data(row, kind))
            mark.append(drawn)
            stream.write(ET.tostring(mark, "utf-8") + b"\n")
        stream.write(b"</Folder>\n")
    stream.write(b"</Document>\n</kml>\n")


def _element(tag: str, text: str, **attributes: str) -> ET.Element:
    one = ET.Element(tag, attributes)
    one.text = text
    return one


def _kml_colour(colour: RGB, alpha: int) -> str:
    red, green, blue = colour
    return f"{alpha:02x}{blue:02x}{green:02x}{red:02x}"


def _kml_style(name: str, look: Look) -> ET.Element:
    style = ET.Element("Style", id=name)
    icon = ET.SubElement(style, "IconStyle")
    icon.append(_element("color", _kml_colour(look.colour, 255)))
    icon.append(_element("scale", "0.8"))
    ET.SubElement(icon, "Icon").append(_element("href", _ICON))
    ET.SubElement(style, "LabelStyle").append(_element("scale", "0.7"))
    line = ET.SubElement(style, "LineStyle")
    line.append(_element("color", _kml_colour(look.colour, 255)))
    line.append(_element("width", "2"))
    ET.SubElement(style, "PolyStyle").append(_element("color", _kml_colour(look.colour, 50)))
    balloon = ET.SubElement(style, "BalloonStyle")
    balloon.append(_element("text", "<h3>$[name]</h3>$[description]"))
    return style


def _kml_schema(frame: pd.DataFrame, kind: Kind, wording: Wording) -> ET.Element:
    schema = ET.Element("Schema", name=kind.name, id=kind.name)
    for name, title in wording.titles.items():
        field = ET.SubElement(schema, "SimpleField", type=_kml_type(frame[name]), name=name)
        field.append(_element("displayName", title))
    return schema


def _kml_type(values: pd.Series) -> str:
    if pd.api.types.is_bool_dtype(values.dtype):
        return "bool"
    if pd.api.types.is_integer_dtype(values.dtype):
        return "int"
    return "double" if pd.api.types.is_float_dtype(values.dtype) else "string"


def _rows(frame: pd.DataFrame, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows as text, without what is absent."""
    texts = []
    for name in columns:
        values = frame[name].astype(object)
        present = values.notna().to_numpy()
        truth = pd.api.types.is_bool_dtype(frame[name].dtype)
        texts.append(
            [
                (str(value).lower() if truth else str(value)) if there else None
                for value, there in zip(values, present, strict=True)
            ]
        )
    return [
        {name: text for name, text in zip(columns, row, strict=True) if text is not None}
        for row in zip(*texts, strict=True)
    ]


def _kml_placemark(name: str, balloon: str, style: str) -> ET.Element:
    mark = ET.Element("Placemark")
    mark.append(_element("name", name))
    # Else Google Earth shows the table's beginning in its list of places.
    ET.SubElement(mark, "Snippet", maxLines="0")
    mark.append(_element("description", balloon))
    mark.append(_element("styleUrl", f"#{style}"))
    return mark


def _kml_data(row: Mapping[str, str], kind: Kind) -> ET.Element:
    """The columns for other programs; balloons do not need them, so they stand once per row."""
    data = ET.Element("ExtendedData")
    values = ET.SubElement(data, "SchemaData", schemaUrl=f"#{kind.name}")
    values.extend(_element("SimpleData", text, name=name) for name, text in row.items())
    return data


def _balloon(
    row: Mapping[str, str],
    wording: Wording,
    disclaimer: str,
    files: Sequence[tuple[str, str]],
) -> str:
    """HTML; everything that was not written here is escaped, since Google Earth runs scripts."""
    cells = "".join(
        f'<td><img src="{name}" width="{_PICTURE_WIDTH}"/><br/>{html.escape(caption)}</td>'
        for name, caption in files
    )
    pictures = f"<table><tr>{cells}</tr></table>" if cells else ""
    names = dict.fromkeys([*(name for name in _FIRST if name in row), *row])
    lines = "".join(
        f"<tr><td><b>{html.escape(wording.titles[name])}</b></td>"
        f"<td>{html.escape(wording.value(name, row[name]))}</td></tr>"
        for name in names
        if name not in _NOT_IN_BALLOONS
    )
    return f"{pictures}<table>{lines}</table><p><i>{html.escape(disclaimer)}</i></p>"


def _kml_point(row: Mapping[str, str]) -> ET.Element | None:
    if "lon" not in row or "lat" not in row:
        return None
    point = ET.Element("Point")
    point.append(_element("coordinates", f"{row['lon']},{row['lat']}"))
    return point


def _kml_outline(shape: BaseGeometry | None) -> ET.Element | None:
    if shape is None or shape.is_empty:
        return None
    polygons = [part for part in shapely.get_parts(shape) if part.geom_type == "Polygon"]
    drawn = [_kml_polygon(orient(part)) for part in polygons]
    if len(drawn) == 1:
        return drawn[0]
    many = ET.Element("MultiGeometry")
    many.extend(drawn)
    return many if drawn else None


def _kml_polygon(polygon: shapely.Polygon) -> ET.Element:
    element = ET.Element("Polygon")
    rings = [("outerBoundaryIs", polygon.exterior)]
    rings += [("innerBoundaryIs", ring) for ring in polygon.interiors]
    for tag, ring in rings:
        boundary = ET.SubElement(ET.SubElement(element, tag), "LinearRing")
        points = shapely.get_coordinates(ring).tolist()
        boundary.append(
            _element(
                "coordinates",
                " ".join(f"{x:.{_KML_DECIMALS}f},{y:.{_KML_DECIMALS}f}" for x, y in points),
            )
        )
    return element


def write_gpx(
    frame: gpd.GeoDataFrame, path: Path, kind: Kind, *, disclaimer: str, say: Messages
) -> None:
    """Write a waypoint per row, with name, description and symbol; rows without a place are not.

    Args:
        frame: From `flat_table`.
        path: A `.gpx` file.
        kind: What it shows.
        disclaimer: The file's description.
        say: The language of titles.

    Raises:
        OSError: It cannot be written.

    Source:
        GPX 1.1, topografix.com/GPX/1/1: longitudes are below 180.
    """
    columns = [name for name in frame.columns if name != "geometry"]
    with path.open("wb") as stream:
        stream.write(
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f'<gpx version="1.1" creator="Sluice" xmlns="{_GPX}">\n'.encode()
        )
        about = ET.Element("metadata")
        about.append(_element("name", say.of("table", kind.name)))
        about.append(_element("desc", disclaimer))
        stream.write(ET.tostring(about, "utf-8") + b"\n")
        for waypoint in _waypoints(_rows(frame, columns), kind, Wording(columns, say)):
            stream.write(ET.tostring(waypoint, "utf-8") + b"\n")
        stream.write(b"</gpx>\n")


def _waypoints(
    rows: Iterable[Mapping[str, str]], kind: Kind, wording: Wording
) -> Iterator[ET.Element]:
    looks = looks_of(kind)
    for row in rows:
        if "lon" not in row or "lat" not in row:
            continue
        lon = "-180.0" if float(row["lon"]) >= 180 else row["lon"]
        waypoint = ET.Element("wpt", lat=row["lat"], lon=lon)
        waypoint.append(_element("name", row.get(kind.key, "")))
        about = [
            f"{wording.titles[c]}: {wording.value(c, row[c])}" for c in _GPX_COLUMNS if c in row
        ]
        waypoint.append(_element("desc", "; ".join(about)))
        waypoint.append(_element("sym", looks.get(row.get(kind.sort or "", ""), OTHER).symbol))
        waypoint.append(_element("type", kind.name))
        yield waypoint
