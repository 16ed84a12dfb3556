"""The style with which QGIS shows the sites, as QML."""

from __future__ import annotations

from collections.abc import Mapping
from xml.etree import ElementTree as ET

import geopandas as gpd

from sluice.app.products.classes import RGB, SureClass, classes_of, sure_column
from sluice.sites.classes import CLASS

_ALIASES = {
    "rank": "Rank by footprint",
    "score_mean": "Score, mean",
    "score_peak": "Score, peak",
    "probability_mean": "Probability at the run's prior, mean",
    "probability_peak": "Probability at the run's prior, peak",
    "footprint_ha": "Footprint (ha): marked cells, not the mine",
    "delineated_ha": "Outlined workings (ha)",
    "isolated": "Few or no others nearby",
    "cells": "Cells",
    "imagery_link": "Recent imagery",
    "note": "Note",
}
# The values are QGIS expressions, filled in when the mouse rests on a site.
_MAP_TIP = (
    "<b>Site [% rank %]</b>, footprint [% round(footprint_ha, 1) %] ha<br>{site_class}"
    "peak score [% round(score_peak, 2) %]"
    "[% if(probability_peak is null, '', ', probability ' || round(probability_peak, 3)) %]<br>"
    '<a href="[% imagery_link %]">recent imagery</a><br><i>[% note %]</i>'
)
_CLASS_TIP = 'mostly [% "class" %]<br>'


def sites_qml(table: gpd.GeoDataFrame) -> str:
    """Outlines coloured by how sure the model is, dashed where isolated, labelled by rank.

    Args:
        table: From `sites_table`.

    Returns:
        A QGIS 3 layer style, XML.
    """
    column = sure_column(table)
    classes = _class_aliases(table)
    return layer_qml(
        _renderer(column, classes_of(column)),
        label="rank",
        map_tip=_MAP_TIP.format(site_class=_CLASS_TIP if classes else ""),
        aliases={**_ALIASES, **classes},
    )


def layer_qml(renderer: ET.Element, *, label: str, map_tip: str, aliases: Mapping[str, str]) -> str:
    """The style of a vector layer.

    Args:
        renderer: A `renderer-v2` of QGIS.
        label: The column that is written beside each feature.
        map_tip: HTML with QGIS expressions.
        aliases: What columns are called.

    Returns:
        A QGIS 3 layer style, XML.
    """
    root = ET.Element(
        "qgis",
        version="3.28.0",
        labelsEnabled="1",
        styleCategories="Symbology|Labeling|Fields|Forms|MapTips",
    )
    root.append(renderer)
    root.append(_labels(label))
    ET.SubElement(root, "mapTip", enabled="1").text = map_tip
    named = ET.SubElement(root, "aliases")
    for field, name in aliases.items():
        ET.SubElement(named, "alias", field=field, name=name)
    return qml_text(root)


def qml_text(root: ET.Element) -> str:
    """A style as QGIS writes it to a file."""
    ET.indent(root)
    doctype = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
    return doctype + ET.tostring(root, encoding="unicode") + "\n"


def _class_aliases(table: gpd.GeoDataFrame) -> dict[str, str]:
    """What the columns of `add_classes` are called, where the table has them."""
    if CLASS not in table.columns:
        return {}
    columns = [column for column in table.columns if column.startswith(f"{CLASS}_")]
    plain = [c.removeprefix(f"{CLASS}_").removesuffix("_ha").replace("_", " ") for c in columns]
    hectares = {c: f"Of class {name} (ha)" for c, name in zip(columns, plain, strict=True)}
    return {CLASS: "Class that covers most of it", **hectares}


def _renderer(column: str, classes: tuple[SureClass, ...]) -> ET.Element:
    renderer = ET.Element(
        "renderer-v2",
        type="graduatedSymbol",
        attr=column,
        graduatedMethod="GraduatedColor",
        symbollevels="0",
        forceraster="0",
        enableorderby="0",
    )
    ranges = ET.SubElement(renderer, "ranges")
    symbols = ET.SubElement(renderer, "symbols")
    lower = 0.0
    for number, sure in enumerate(classes):
        ET.SubElement(
            ranges,
            "range",
            lower=f"{lower:.15f}",
            upper=f"{sure.upper:.15f}",
            symbol=str(number),
            label=sure.label,
            render="true",
        )
        dashed = "if(\"isolated\", 'dash', 'solid')"
        symbols.append(fill_symbol(str(number), sure.colour, dashed))
        lower = sure.upper
    return renderer


def fill_symbol(name: str, colour: RGB, outline_style: str) -> ET.Element:
    """An outline in a colour, faintly filled.

    Args:
        name: As the renderer calls it.
        colour: Of the outline.
        outline_style: A QGIS expression that gives `dash` or `solid`.
    """
    rgb = ",".join(str(part) for part in colour)
    symbol = ET.Element(
        "symbol", type="fill", name=name, alpha="1", clip_to_extent="1", force_rhr="0"
    )
    layer = ET.SubElement(symbol, "layer", {"class": "SimpleFill"})
    layer.attrib.update(enabled="1", locked="0", **{"pass": "0"})
    options = ET.SubElement(layer, "Option", type="Map")
    for key, value in {
        "color": f"{rgb},30",
        "joinstyle": "round",
        "offset": "0,0",
        "offset_unit": "MM",
        "outline_color": f"{rgb},255",
        "outline_style": "solid",
        "outline_width": "0.6",
        "outline_width_unit": "MM",
        "style": "solid",
    }.items():
        ET.SubElement(options, "Option", name=key, type="QString", value=value)
    layer.append(_outline_style(outline_style))
    return symbol


def marker_symbol(name: str, colour: RGB) -> ET.Element:
    """A dot in a colour with a dark rim, so that it shows on any ground."""
    symbol = ET.Element(
        "symbol", type="marker", name=name, alpha="1", clip_to_extent="1", force_rhr="0"
    )
    layer = ET.SubElement(symbol, "layer", {"class": "SimpleMarker"})
    layer.attrib.update(enabled="1", locked="0", **{"pass": "0"})
    options = ET.SubElement(layer, "Option", type="Map")
    for key, value in {
        "color": f"{','.join(str(part) for part in colour)},255",
        "name": "circle",
        "outline_color": "20,20,20,255",
        "outline_style": "solid",
        "outline_width": "0.3",
        "outline_width_unit": "MM",
        "size": "3.2",
        "size_unit": "MM",
    }.items():
        ET.SubElement(options, "Option", name=key, type="QString", value=value)
    return symbol


def _outline_style(expression: str) -> ET.Element:
    defined = ET.Element("data_defined_properties")
    whole = ET.SubElement(defined, "Option", type="Map")
    ET.SubElement(whole, "Option", name="name", type="QString", value="")
    properties = ET.SubElement(whole, "Option", name="properties", type="Map")
    style = ET.SubElement(properties, "Option", name="outlineStyle", type="Map")
    ET.SubElement(style, "Option", name="active", type="bool", value="true")
    ET.SubElement(style, "Option", name="expression", type="QString", value=expression)
    ET.SubElement(style, "Option", name="type", type="int", value="3")
    ET.SubElement(whole, "Option", name="type", type="QString", value="collection")
    return defined


def _labels(field: str) -> ET.Element:
    labelling = ET.Element("labeling", type="simple")
    settings = ET.SubElement(labelling, "settings", calloutType="simple")
    text = ET.SubElement(
        settings,
        "text-style",
        fieldName=field,
        isExpression="0",
        fontSize="9",
        fontSizeUnit="Point",
        fontWeight="75",
        namedStyle="Bold",
        textColor="20,20,20,255",
        textOpacity="1",
    )
    ET.SubElement(
        text,
        "text-buffer",
        bufferDraw="1",
        bufferSize="0.8",
        bufferSizeUnits="MM",
        bufferColor="255,255,255,255",
        bufferOpacity="1",
    )
    # 1: around the centroid, kept near the site; large sites win where labels would collide.
    ET.SubElement(settings, "placement", placement="1", dist="0", centroidWhole="1")
    ET.SubElement(settings, "rendering", drawLabels="1", obstacle="1", displayAll="0")
    return labelling
