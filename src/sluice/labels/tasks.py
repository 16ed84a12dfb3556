"""What labelling tools take in: tasks, and the classes to choose from.

Sources:
    labelstud.io/guide/tasks and its tags; Labelbox's "import image data" and the form that its
    SDK's `OntologyBuilder.asdict` gives an ontology.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from sluice.labels.exports import PICTURE_KEY
from sluice.labels.pictures import CANNOT_TELL, NOTHING_HERE, PicturePlace
from sluice.labels.polygons import IGNORE

COLOUR_SUFFIX, NDWI_SUFFIX = "-colour.png", "-ndwi.png"
_PALETTE = ("#e41a1c", "#ff7f00", "#984ea3", "#377eb8", "#f781bf", "#a65628", "#4daf4a")
_IGNORE_COLOUR = "#999999"
_ADVICE = (
    "Outline each mine: pits, ponds, spoil.{either} Where cloud hides the ground, outline it as "
    "ignore. No outline means that nothing is there."
)
_EITHER = " Draw it on either picture; water is bright on the grey one."


@dataclass(frozen=True)
class LabellingTask:
    """A picture to be labelled."""

    place: PicturePlace
    lon: float
    lat: float
    """Of its middle, to look the place up elsewhere."""
    with_ndwi: bool

    @property
    def picture(self) -> str:
        """Its id."""
        return self.place.picture


def label_studio_tasks(tasks: Sequence[LabellingTask], address: str) -> str:
    """The import file of Label Studio.

    Args:
        tasks: In the order of labelling.
        address: Of the folder of the pictures, as Label Studio reaches it.
    """
    rows = []
    for task in tasks:
        data: dict[str, object] = {
            PICTURE_KEY: task.picture,
            "colour": _address(address, task.picture + COLOUR_SUFFIX),
        }
        if task.with_ndwi:
            data["ndwi"] = _address(address, task.picture + NDWI_SUFFIX)
        rows.append({"data": {**data, **_facts(task)}})
    return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"


def label_studio_config(classes: Sequence[str], *, with_ndwi: bool) -> str:
    """The labelling interface of Label Studio: both pictures, outlines, brush, and a verdict.

    Args:
        classes: To choose from; `ignore` is added.
        with_ndwi: Whether tasks have the grey picture.
    """
    view = ET.Element("View")
    advice = _ADVICE.format(either=_EITHER if with_ndwi else "")
    ET.SubElement(view, "Header", value=advice, size="6")
    columns = ET.SubElement(view, "View", style="display: flex; gap: 1em")
    for name in ["colour", *(["ndwi"] if with_ndwi else [])]:
        column = ET.SubElement(columns, "View", style="flex: 1")
        ET.SubElement(
            column,
            "Image",
            name=name,
            value=f"${name}",
            zoom="true",
            zoomControl="true",
            brightnessControl="true",
            contrastControl="true",
        )
        for tag, kind in (("PolygonLabels", "outline"), ("BrushLabels", "brush")):
            labels = ET.SubElement(column, tag, name=f"{kind}-{name}", toName=name, opacity="0.3")
            for label, colour in _coloured(classes):
                ET.SubElement(labels, "Label", value=label, background=colour)
    choices = ET.SubElement(
        view, "Choices", name="seen", toName="colour", choice="single", showInline="true"
    )
    for choice in (NOTHING_HERE, CANNOT_TELL):
        ET.SubElement(choices, "Choice", value=choice)
    ET.indent(view)
    return ET.tostring(view, encoding="unicode") + "\n"


def labelbox_rows(tasks: Sequence[LabellingTask], address: str) -> str:
    """The data rows of Labelbox, NDJSON; the grey picture lies over the other as a layer.

    Args:
        tasks: In the order of labelling.
        address: Of the folder of the pictures, as Labelbox reaches it.
    """
    lines = []
    for task in tasks:
        row: dict[str, object] = {
            "row_data": _address(address, task.picture + COLOUR_SUFFIX),
            "global_key": task.picture,
            "external_id": task.picture,
            "media_type": "IMAGE",
        }
        if task.with_ndwi:
            overlay = _address(address, task.picture + NDWI_SUFFIX)
            row["attachments"] = [{"type": "IMAGE_OVERLAY", "value": overlay, "name": "NDWI"}]
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    return "".join(lines)


def labelbox_ontology(classes: Sequence[str]) -> str:
    """What there is to label, for `client.create_ontology` of Labelbox's SDK.

    Polygons only: masks are exported as addresses, which cannot be imported.
    """
    tools = [
        {
            "tool": "polygon",
            "name": name,
            "required": False,
            "color": colour,
            "classifications": [],
        }
        for name, colour in _coloured(classes)
    ]
    options = [{"label": text, "value": text} for text in (NOTHING_HERE, CANNOT_TELL)]
    seen = {
        "type": "radio",
        "name": "seen",
        "instructions": "seen",
        "required": False,
        "options": options,
    }
    return json.dumps({"tools": tools, "classifications": [seen]}, indent=2) + "\n"


def _coloured(classes: Sequence[str]) -> list[tuple[str, str]]:
    named = [name for name in classes if name != IGNORE]
    return [
        *((name, _PALETTE[k % len(_PALETTE)]) for k, name in enumerate(named)),
        (IGNORE, _IGNORE_COLOUR),
    ]


def _address(folder: str, name: str) -> str:
    return f"{folder.rstrip('/')}/{name}"


def _facts(task: LabellingTask) -> dict[str, object]:
    place = task.place
    return {
        "lon": round(task.lon, 6),
        "lat": round(task.lat, 6),
        "start": place.start.isoformat() if place.start else None,
        "end": place.end.isoformat() if place.end else None,
    }
