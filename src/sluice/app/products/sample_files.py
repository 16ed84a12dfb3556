"""The files that a person labels: points with an empty answer, and nothing of what the map says."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import geopandas as gpd
import pandas as pd
import pyogrio

from sluice.app.products.qgis_style import qml_text
from sluice.app.products.vectors import GpkgLayer, write_gpkg_layers
from sluice.base.errors import AssetReadError, ConfigError, DataError, ItemNotFound
from sluice.base.files import read_vector, write_whole

LAYER = "sample"
_TITLE = "Points to label"
ANSWER, POINT_ID, SAMPLE_ID = "reference", "point_id", "sample_id"
_COLOURS = {"": "255,255,0", "mine": "214,39,40", "not mine": "31,119,180", "unsure": "150,150,150"}


def write_sample(table: gpd.GeoDataFrame, path: Path, answers: Sequence[str], text: str) -> None:
    """Write the points as GeoPackage with a form for QGIS, and as GeoJSON and CSV beside it.

    Args:
        table: Points in EPSG:4326 with `point_id`, `reference`, `lon`, `lat` and others.
        path: Of the GeoPackage; those beside it take its name.
        answers: That the form offers.
        text: How to label, kept as the layer's description.

    Raises:
        OSError: A file cannot be written.
        pyogrio.errors.DataSourceError: Likewise.
        sqlite3.Error: Likewise.
    """
    # A blank answer is text to be: a column of nothing would get no type.
    layer = table.assign(**{ANSWER: table[ANSWER].astype("str")})
    with write_whole(path) as part:
        written = GpkgLayer(LAYER, layer, _TITLE, geometry_type="Point", qml=_form(answers))
        write_gpkg_layers([written], part, disclaimer=text)
    buffer = io.BytesIO()
    options = {"RFC7946": "YES", "COORDINATE_PRECISION": "7", "DESCRIPTION": text}
    pyogrio.write_dataframe(
        layer,
        buffer,
        layer=LAYER,
        driver="GeoJSON",
        geometry_type="Point",
        layer_options=options,
    )
    with write_whole(path.with_suffix(".geojson")) as part:
        part.write_bytes(buffer.getvalue())
    with write_whole(path.with_suffix(".csv")) as part, part.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        rows = table.drop(columns="geometry")
        writer.writerow(rows.columns)
        writer.writerows(rows.itertuples(index=False, name=None))


def write_kml(table: gpd.GeoDataFrame, path: Path) -> None:
    """Write the places alone, named by their ids, for Google Earth.

    Raises:
        OSError: It cannot be written.
    """
    root = ET.Element("kml", xmlns="http://www.opengis.net/kml/2.2")
    document = ET.SubElement(root, "Document")
    ET.SubElement(document, "name").text = _TITLE
    for row in table.itertuples():
        mark = ET.SubElement(document, "Placemark")
        ET.SubElement(mark, "name").text = str(row.point_id)
        point = ET.SubElement(mark, "Point")
        ET.SubElement(point, "coordinates").text = f"{row.lon:.7f},{row.lat:.7f}"
    with write_whole(path) as part:
        part.write_bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))


def read_sample(path: Path) -> pd.DataFrame:
    """Read a sample that a person has labelled.

    Args:
        path: GeoPackage, GeoJSON, another vector file, or CSV with commas, semicolons or tabs.

    Returns:
        `point_id` and `reference` as text, blank where there is none; `lon` and `lat` in degrees
        where the file tells of places, of a vector file those of its points; `sample_id` where it
        is there.

    Raises:
        ItemNotFound: No such file.
        SourceError: It cannot be read.
        DataError: A column is missing.
    """
    if path.suffix.lower() in {".csv", ".tsv", ".txt"}:
        table = _read_csv(path)
    else:
        frame = read_vector(path, layer=_layer_of(path))
        places = frame.geometry.to_crs("EPSG:4326")
        if not (places.geom_type == "Point").all():
            raise DataError(f"{path}: holds no points alone; give the sample that was labelled")
        table = pd.DataFrame(frame.drop(columns=frame.geometry.name))
        table = table.assign(lon=places.x, lat=places.y)
    missing = [name for name in (POINT_ID, ANSWER) if name not in table]
    if missing:
        raise DataError(
            f"{path}: has no column {', '.join(missing)}; found: {', '.join(table.columns)}. Give "
            "the sample that `sluice area plan` wrote, with its columns",
            href=str(path),
        )
    for name in (POINT_ID, ANSWER):
        table[name] = table[name].fillna("").astype(str).str.strip()
    return table


def _layer_of(path: Path) -> str | None:
    if path.suffix.lower() != ".gpkg" or not path.is_file():
        return None
    try:
        names = [str(name) for name, _ in pyogrio.list_layers(path)]
    except pyogrio.errors.DataSourceError:
        return None  # `read_vector` says what is wrong with it.
    return LAYER if LAYER in names else None


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as err:
        raise ItemNotFound(f"{path}: no such file; check the path", href=str(path)) from err
    except (OSError, UnicodeDecodeError) as err:
        raise AssetReadError(
            f"{path}: cannot be read as text ({err}); save it as CSV in UTF-8", href=str(path)
        ) from err
    first = text.split("\n", 1)[0]
    separator = max(",;\t", key=first.count)
    try:
        table = pd.read_csv(io.StringIO(text), sep=separator, dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as err:
        raise DataError(f"{path}: is no table ({err}); save it as CSV", href=str(path)) from err
    table.columns = table.columns.str.strip()
    for name in ("lon", "lat"):
        if name in table:
            # Some spreadsheets write 12,5 for 12.5.
            numbers = table[name].str.replace(",", ".", regex=False)
            table[name] = pd.to_numeric(numbers, errors="coerce")
    return table


def labelled_points(path: Path) -> int:
    """How many points of a sample have an answer; 0 where there is no such file."""
    if not path.is_file():
        return 0
    try:
        return int((read_sample(path)[ANSWER] != "").sum())
    except (AssetReadError, ConfigError, DataError):
        return 0


def _form(answers: Sequence[str]) -> str:
    """Crosses coloured by answer, and a form that offers the answers."""
    root = ET.Element("qgis", version="3.28.0", styleCategories="Symbology|Fields|Forms|Labeling")
    renderer = ET.SubElement(
        root, "renderer-v2", type="categorizedSymbol", attr=ANSWER, symbollevels="0"
    )
    categories = ET.SubElement(renderer, "categories")
    symbols = ET.SubElement(renderer, "symbols")
    for number, answer in enumerate(("", *answers)):
        label = answer or "to be labelled"
        ET.SubElement(
            categories,
            "category",
            value=answer,
            label=label,
            symbol=str(number),
            render="true",
            type="string",
        )
        symbols.append(_cross(str(number), _COLOURS.get(answer, "255,255,255")))
    fields = ET.SubElement(root, "fieldConfiguration")
    field = ET.SubElement(fields, "field", name=ANSWER, configurationFlags="None")
    widget = ET.SubElement(field, "editWidget", type="ValueMap")
    config = ET.SubElement(ET.SubElement(widget, "config"), "Option", type="Map")
    listed = ET.SubElement(config, "Option", name="map", type="List")
    for answer in ("", *answers):
        entry = ET.SubElement(listed, "Option", type="Map")
        name = answer or "(to be labelled)"
        ET.SubElement(entry, "Option", name=name, type="QString", value=answer)
    editable = ET.SubElement(root, "editable")
    for name in (POINT_ID, SAMPLE_ID, "lon", "lat", "imagery_link"):
        ET.SubElement(editable, "field", name=name, editable="0")
    for name in (ANSWER, "note"):
        ET.SubElement(editable, "field", name=name, editable="1")
    return qml_text(root)


def _cross(name: str, colour: str) -> ET.Element:
    symbol = ET.Element("symbol", type="marker", name=name, alpha="1", clip_to_extent="1")
    layer = ET.SubElement(symbol, "layer", {"class": "SimpleMarker"}, enabled="1", locked="0")
    layer.set("pass", "0")
    options = ET.SubElement(layer, "Option", type="Map")
    for key, value in {
        "name": "cross",
        "color": f"{colour},255",
        "outline_color": f"{colour},255",
        "outline_width": "0.6",
        "outline_width_unit": "MM",
        "size": "5",
        "size_unit": "MM",
    }.items():
        ET.SubElement(options, "Option", name=key, type="QString", value=value)
    return symbol
