"""How sites and alerts look in QGIS, Google Earth and on hand-held receivers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from xml.etree import ElementTree as ET

import pandas as pd

from sluice.app.exports.flat_table import Kind
from sluice.app.messages import Messages
from sluice.app.products.classes import RGB
from sluice.app.products.qgis_style import fill_symbol, layer_qml, marker_symbol
from sluice.base.places import Level, Status
from sluice.sites.redaction import REDACTED


@dataclass(frozen=True)
class Look:
    """Of the rows with one value."""

    colour: RGB
    symbol: str
    """A waypoint's symbol, by the names of Garmin's receivers."""


# Warm where work goes on, cool where it rests: apart for colour-blind eyes by lightness too.
_STATUS = {
    Status.NEW: Look((255, 50, 130), "Flag, Red"),
    Status.GROWING: Look((255, 150, 30), "Flag, Red"),
    Status.STEADY: Look((255, 230, 80), "Flag, Blue"),
    Status.INACTIVE: Look((90, 160, 255), "Flag, Blue"),
    Status.RECOVERING: Look((70, 210, 140), "Flag, Green"),
    Status.NOT_OBSERVED: Look((190, 190, 190), "Flag, Blue"),
}
_LEVEL = {
    Level.LOW: Look((255, 230, 80), "Flag, Green"),
    Level.HIGH: Look((255, 150, 30), "Flag, Blue"),
    Level.HIGHEST: Look((255, 50, 130), "Flag, Red"),
}
OTHER = Look((190, 190, 190), "Flag, Blue")

# What columns of registers, priorities and ground cover are made of: beginning, end, the group of
# words of what is between, and the text.
_PATTERNS: tuple[tuple[str, str, str, str], ...] = (
    ("priority_", "", "part", "points"),
    ("in_", "", "layer", "inside"),
    ("on_", "", "layer", "inside"),
    ("", "_valid_share", "layer", "valid_share"),
    ("", "_share", "layer", "share"),
    ("", "_name", "layer", "name"),
    ("", "_id", "layer", "number"),
    ("", "_start", "layer", "start"),
    ("", "_end", "layer", "end"),
    ("", "_before_ha", "context", "before"),
    ("", "_after_ha", "context", "after"),
    ("", "_lost_ha", "context", "lost"),
    ("", "_m", "layer", "distance"),
)
_VALUES = {
    "status": "status",
    "level": "level",
    "kind": "alert_kind",
    "state": "alert_state",
    "verdict": "verdict",
    "legality": "legality",
}
"""Groups of words for the values of columns."""


def column_title(name: str, say: Messages) -> str:
    """What a column is called before people; of one that nobody knows, its name in plain words."""
    bare = name.removeprefix("context_")
    if bare in {name, "legality", "legality_why"} and say.known("column", bare):
        return say.of("column", bare)
    if bare == "district":
        return _capital(say.of("layer", bare))
    if bare == "slope_deg":
        return f"{_capital(say.text('layer.slope'))} (°)"
    for begin, end, group, text in _PATTERNS:
        middle = bare.removeprefix(begin).removesuffix(end)
        if bare == f"{begin}{middle}{end}" and say.known(group, middle):
            word = say.of(group, middle)
            what = word if begin == "priority_" else _capital(word)
            return say.text(f"column_of.{text}", what=what)
    unit = next((one for one in ("ha", "m") if bare.endswith(f"_{one}")), None)
    words = _capital(bare.removesuffix(f"_{unit}").replace("_", " "))
    return f"{words} ({unit})" if unit else words


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


class Wording:
    """Titles of columns, and words for their values, in the reader's language.

    Args:
        names: Columns.
        say: Of the language.
    """

    def __init__(self, names: Iterable[str], say: Messages) -> None:
        self.titles = {name: column_title(name, say) for name in names}
        self._say = say
        self._answers = {"true": say.text("common.yes"), "false": say.text("common.no")}
        self._known: dict[tuple[str, str], str] = {}

    def value(self, name: str, text: str) -> str:
        """The words for a value of a column; other text as it is."""
        group = _VALUES.get(name.removeprefix("context_"))
        if group is None:
            return self._answers.get(text, text)
        if (name, text) not in self._known:
            known = self._say.known(group, text)
            self._known[name, text] = self._say.of(group, text) if known else text
        return self._known[name, text]


def looks_of(kind: Kind) -> dict[str, Look]:
    """By the value of the kind's `sort` column, in the order of a legend."""
    known = _STATUS if kind.sort == "status" else _LEVEL
    return {str(value): look for value, look in known.items()}


def qgis_style(frame: pd.DataFrame, kind: Kind, say: Messages) -> str:
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
        label = say.of(str(kind.sort), value) if value else say.text("export.not_told")
        shown = {"value": value, "label": label, "symbol": str(number), "render": "true"}
        ET.SubElement(categories, "category", {"type": "string", **shown})
        symbols.append(
            marker_symbol(str(number), look.colour)
            if kind.name == "alerts"
            else fill_symbol(str(number), look.colour, dashed)
        )
    names = [name for name in frame.columns if name != "geometry"]
    titles = Wording(names, say).titles
    return layer_qml(
        renderer,
        label=kind.key,
        map_tip=_map_tip(titles, kind),
        aliases=titles,
    )


def _map_tip(titles: Mapping[str, str], kind: Kind) -> str:
    """HTML with QGIS expressions, of the columns that are there."""
    shown = (kind.sort, "area_ha", "growth_ha", "posterior", "first_seen", "last_seen", "dms")
    lines = [
        f"{titles[name]}: [% coalesce(\"{name}\", '-') %]"
        for name in shown
        if name is not None and name in titles
    ]
    return "<br>".join([f'<b>[% "{kind.key}" %]</b>', *lines])
