"""How sites and alerts look in QGIS, Google Earth and on hand-held receivers."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree as ET

import pandas as pd

from sluice.app.exports.flat_table import Kind
from sluice.app.products.classes import RGB
from sluice.app.products.qgis_style import fill_symbol, layer_qml, marker_symbol
from sluice.base.places import Level, Status
from sluice.sites.redaction import REDACTED


@dataclass(frozen=True)
class Look:
    """Of the rows with one value."""

    label: str
    colour: RGB
    symbol: str
    """A waypoint's symbol, by the names of Garmin's receivers."""


# Warm where work goes on, cool where it rests: apart for colour-blind eyes by lightness too.
_STATUS = {
    Status.NEW: Look("new", (255, 50, 130), "Flag, Red"),
    Status.GROWING: Look("growing", (255, 150, 30), "Flag, Red"),
    Status.STEADY: Look("steady", (255, 230, 80), "Flag, Blue"),
    Status.INACTIVE: Look("inactive", (90, 160, 255), "Flag, Blue"),
    Status.RECOVERING: Look("recovering", (70, 210, 140), "Flag, Green"),
    Status.NOT_OBSERVED: Look("not observed", (190, 190, 190), "Flag, Blue"),
}
_LEVEL = {
    Level.LOW: Look("low", (255, 230, 80), "Flag, Green"),
    Level.HIGH: Look("high", (255, 150, 30), "Flag, Blue"),
    Level.HIGHEST: Look("highest", (255, 50, 130), "Flag, Red"),
}
OTHER = Look("not told", (190, 190, 190), "Flag, Blue")

_NAMES = {
    "site_id": "Site",
    "alert_id": "Alert",
    "area": "Followed area",
    "first_seen": "First seen",
    "known_before": "Seen empty before",
    "last_seen": "Last seen",
    "last_observed": "Last observed",
    "status_rule": "Why this status",
    "posterior": "Probability of a mine",
    "area_ha": "Area (ha)",
    "area_low_ha": "Area, low (ha)",
    "area_high_ha": "Area, high (ha)",
    "growth_ha": "Growth (ha)",
    "cumulative_ha": "Area ever detected (ha)",
    "legality_why": "Why this legality",
    "merged_into": "Grew together with",
    "dms": "Coordinates",
    "mgrs": "MGRS",
    "lon": "Longitude",
    "lat": "Latitude",
    "cell_m": "Cell shown instead of the place (m)",
}


def column_title(name: str) -> str:
    """What a column is called before people."""
    if name in _NAMES:
        return _NAMES[name]
    if name.startswith("priority_"):
        return f"Priority, points for {name.removeprefix('priority_').replace('_', ' ')}"
    words, unit = name.removeprefix("context_"), ""
    for end in ("_ha", "_m"):
        if words.endswith(end):
            words, unit = words.removesuffix(end), f" ({end[1:]})"
    return words.replace("_", " ").capitalize() + unit


def looks_of(kind: Kind) -> dict[str, Look]:
    """By the value of the kind's `sort` column, in the order of a legend."""
    known = _STATUS if kind.sort == "status" else _LEVEL
    return {str(value): look for value, look in known.items()}


def qgis_style(frame: pd.DataFrame, kind: Kind) -> str:
    """Sites as outlines, alerts as dots, coloured by status or level; redacted ones are dashed."""
    renderer = ET.Element(
        "renderer-v2",
        type="categorizedSymbol",
        attr=kind.sort or "",
        symbollevels="0",
        forceraster="0",
        enableorderby="0",
    )
    categories = ET.SubElement(renderer, "categories")
    symbols = ET.SubElement(renderer, "symbols")
    dashed = f"if(\"{REDACTED}\", 'dash', 'solid')" if REDACTED in frame else "'solid'"
    # The value of the last one is empty: QGIS takes it for all others.
    for number, (value, look) in enumerate([*looks_of(kind).items(), ("", OTHER)]):
        shown = {"value": value, "label": look.label, "symbol": str(number), "render": "true"}
        ET.SubElement(categories, "category", {"type": "string", **shown})
        symbols.append(
            marker_symbol(str(number), look.colour)
            if kind.name == "alerts"
            else fill_symbol(str(number), look.colour, dashed)
        )
    names = [name for name in frame.columns if name != "geometry"]
    return layer_qml(
        renderer,
        label=kind.key,
        map_tip=_map_tip(names, kind),
        aliases={name: column_title(name) for name in names},
    )


def _map_tip(names: list[str], kind: Kind) -> str:
    """HTML with QGIS expressions, of the columns that are there."""
    shown = (kind.sort, "area_ha", "growth_ha", "posterior", "first_seen", "last_seen", "dms")
    lines = [
        f"{column_title(name)}: [% coalesce(\"{name}\", '-') %]" for name in shown if name in names
    ]
    return "<br>".join([f'<b>[% "{kind.key}" %]</b>', *lines])
