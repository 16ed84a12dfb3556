"""How the classes of a model are shown: colours, a QGIS style, and words for the catalogue."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree as ET

from pystac.extensions.classification import Classification

from sluice.app.products.classes import RGB
from sluice.app.products.qgis_style import qml_text
from sluice.base.classes import NOT_OBSERVED

_MISSING = "not-observed"
_NOT_SOUGHT: RGB = (235, 235, 235)
# Okabe & Ito 2008, Color Universal Design: told apart by colour-blind eyes too; those that show on
# forest first. After the last it begins again.
_SOUGHT: tuple[RGB, ...] = (
    (213, 94, 0),
    (86, 180, 233),
    (240, 228, 66),
    (204, 121, 167),
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
)


def class_colours(names: Sequence[str]) -> list[RGB]:
    """A colour for each class, grey for the first, which is not sought."""
    return [_NOT_SOUGHT, *map(sought_colour, range(1, len(names)))]


def sought_colour(number: int) -> RGB:
    """The colour of a class by its number, from 1 on."""
    return _SOUGHT[(number - 1) % len(_SOUGHT)]


def classes_qml(names: Sequence[str]) -> str:
    """A QGIS 3 raster style: the classes by name; the one that is not sought is transparent.

    QGIS takes it by itself from beside the map, where it has the map's name.
    """
    root = ET.Element("qgis", version="3.28.0", styleCategories="Symbology")
    pipe = ET.SubElement(root, "pipe")
    renderer = ET.SubElement(
        pipe, "rasterrenderer", type="paletted", band="1", opacity="1", alphaBand="-1"
    )
    palette = ET.SubElement(renderer, "colorPalette")
    for number, (name, colour) in enumerate(zip(names, class_colours(names), strict=True)):
        ET.SubElement(
            palette,
            "paletteEntry",
            value=str(number),
            label=name,
            color=f"#{_hexadecimal(colour).lower()}",
            alpha="255" if number else "0",
        )
    return qml_text(root)


def describe_classes(names: Sequence[str]) -> list[Classification]:
    """The classes in STAC's words; names there are of ASCII letters and digits, titles are not.

    Where that makes names alike, or leaves nothing of one, they are numbered.
    """
    words = [re.sub(r"[^0-9A-Za-z]+", "-", name).strip("-").lower() for name in names]
    if len({*words, "", _MISSING}) < len(words) + 2:
        words = [f"class-{number}" for number in range(len(names))]
    found = [
        Classification.create(
            value=number,
            name=words[number],
            title=name,
            description=name if number else f"{name}: not what the model seeks",
            color_hint=_hexadecimal(colour),
        )
        for number, (name, colour) in enumerate(zip(names, class_colours(names), strict=True))
    ]
    missing = Classification.create(
        value=NOT_OBSERVED, name=_MISSING, description="Nothing can be said", nodata=True
    )
    return [*found, missing]


def _hexadecimal(colour: RGB) -> str:
    return "".join(f"{part:02X}" for part in colour)
