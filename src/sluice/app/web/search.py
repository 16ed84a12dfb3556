"""Find a place by what somebody types: coordinates, a site's id, or a name in the store."""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass
from typing import Annotated, Any

import mgrs
from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import Response

from sluice.app.web.access import Person
from sluice.app.web.answers import json_response
from sluice.app.web.errors import DOCUMENTED, NotHere
from sluice.app.web.parameters import Strict
from sluice.app.web.places import Asks
from sluice.app.web.service import Served, Service
from sluice.app.web.told import SearchAnswer
from sluice.app.web.views import Places, bounds_of, first_row
from sluice.base.places import LayerKind
from sluice.base.store import Store

router = APIRouter(prefix="/api", tags=["places"], responses=DOCUMENTED)

_MOST_FOUND = 20
_MOST_NAMES = 100_000
_ROUND_DEG = 0.01
_SIDE = "[NSEWLO]"
"""East and west in the languages of the map: east, este and leste; west, ouest and oeste."""
_LATITUDES, _NEGATIVE = frozenset("NS"), frozenset("SWO")
_MINUS = "\N{MINUS SIGN}"


def _twice(number: str, between: str, behind: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Two numbers, with letters behind them or before them."""
    first, second = number.replace("$", "1"), number.replace("$", "2")
    return (
        re.compile(rf"{first}(?P<s1>{behind}){between}{second}(?P<s2>{behind})"),
        re.compile(rf"(?P<s1>{_SIDE})\s*{first}{between}(?P<s2>{_SIDE})\s*{second}"),
    )


_PAIRS = tuple(
    pattern
    for part, between in (
        (r"(?:\.\d+)?", r"[\s,;]+"),
        # A comma of a number is not one between numbers.
        (r"(?:,\d+)?", r"\s*(?:;|,?\s)\s*"),
        (r",\d+", ","),
    )
    for pattern in _twice(rf"(?P<n$>[+-]?\d{{1,3}}{part})\s*°?\s*", between, f"{_SIDE}?")
)
_SEXAGESIMAL = _twice(
    r"(?P<d$>\d{1,3})\s*[°D:\s]\s*(?P<m$>\d{1,2})\s*['′M:\s]"
    r"\s*(?P<p$>\d{1,2}(?:[.,]\d+)?)?\s*[\"″S]?\s*",
    r"[\s,;]*",
    _SIDE,
)
_MGRS = re.compile(r"\d{1,2}[C-HJ-NP-X][A-HJ-NP-Z]{2}(?:\d\d){1,5}")
_KINDS = {LayerKind.DISTRICTS: "district"}
"""Other names are of the kind of their layer."""


class Searched(Strict):
    """What was typed."""

    q: str = Field(min_length=1, max_length=200)


@dataclass(frozen=True)
class _Named:
    folded: str
    kind: str
    label: str
    lon: float
    lat: float
    bbox: list[float]


@router.get("/search", response_model=SearchAnswer)
def search(service: Served, who: Asks, asked: Annotated[Searched, Query()]) -> Response:
    """Places that fit what was typed, the likeliest first."""
    text = asked.q.strip()
    found: list[dict[str, Any]] = []
    place = read_coordinates(text)
    if place is not None:
        lon, lat = place
        found.append(_told("coordinates", f"{lat:.6f}, {lon:.6f}", lon, lat, _around(lon, lat)))
    found += _sites(service, who, text)
    wanted = fold(text)
    named = [one for one in _names(service, who) if wanted and wanted in one.folded]
    # Whole names first, then beginnings, then the rest.
    named.sort(key=lambda one: (one.folded != wanted, not one.folded.startswith(wanted), one.label))
    found += [_told(one.kind, one.label, one.lon, one.lat, one.bbox) for one in named]
    return json_response({"found": found[:_MOST_FOUND]})


def _told(kind: str, label: str, lon: float, lat: float, bbox: list[float]) -> dict[str, Any]:
    return {"kind": kind, "label": label, "lon": lon, "lat": lat, "bbox": bbox}


def _around(lon: float, lat: float) -> list[float]:
    sides = (lon - _ROUND_DEG, lat - _ROUND_DEG, lon + _ROUND_DEG, lat + _ROUND_DEG)
    return [round(side, 6) for side in sides]


def fold(text: str) -> str:
    """Without case and accents."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter)).strip()


def read_coordinates(text: str) -> tuple[float, float] | None:
    """Longitude and latitude of a text.

    It may be `5.05, -1.03`, `5,05 -1,03`, `N5.05 W1.03`, `5°03'00"N 1°02'03"W` or
    `30NXM6616708142`. Of two plain numbers the first is the latitude, as map services write them,
    unless it can be none. None where it is none of these.
    """
    # Long gaps could be divided in many ways, and all would be tried.
    text = " ".join(text.split()).upper().replace(_MINUS, "-")
    pair = next(filter(None, (known.fullmatch(text) for known in _PAIRS)), None)
    if pair is not None:
        numbers = [float(pair[name].replace(",", ".")) for name in ("n1", "n2")]
        return _placed(numbers, pair)
    angle = next(filter(None, (known.fullmatch(text) for known in _SEXAGESIMAL)), None)
    if angle is not None:
        sizes = [_degrees(*(angle[f"{part}{at}"] for part in ("d", "m", "p"))) for at in (1, 2)]
        return _placed(sizes, angle)
    square = text.replace(" ", "")
    if _MGRS.fullmatch(square):
        try:
            lat, lon = mgrs.MGRS().toLatLon(square)
        except mgrs.core.MGRSError:
            return None
        return _if_on_earth(round(lon, 6), round(lat, 6))
    return None


def _placed(numbers: list[float], told: re.Match[str]) -> tuple[float, float] | None:
    """Longitude and latitude of two numbers, by their letters."""
    sides = [told["s1"], told["s2"]]
    first, second = (
        -number if side in _NEGATIVE else number
        for number, side in zip(numbers, sides, strict=True)
    )
    of_latitude = [side in _LATITUDES if side else None for side in sides]
    if sides[0] and sides[1] and of_latitude[0] == of_latitude[1]:
        return None
    turned = of_latitude[0] is False or of_latitude[1] is True
    if turned or (not any(sides) and abs(first) > 90 >= abs(second)):
        first, second = second, first
    return _if_on_earth(second, first)


def _degrees(degrees: str, minutes: str, seconds: str | None) -> float:
    rest = float((seconds or "0").replace(",", "."))
    return round(int(degrees) + int(minutes) / 60 + rest / 3600, 6)


def _if_on_earth(lon: float, lat: float) -> tuple[float, float] | None:
    fits = math.isfinite(lon) and math.isfinite(lat) and abs(lon) <= 180 and abs(lat) <= 90
    return (lon, lat) if fits else None


def _sites(service: Service, who: Person, text: str) -> list[dict[str, Any]]:
    try:
        table, _ = Places(service, who).site(text.lower())
    except NotHere:
        return []
    row = first_row(table)
    lon, lat = float(row["lon"]), float(row["lat"])
    return [_told("site", str(row["site_id"]), lon, lat, bounds_of(table.geometry.iloc[0]))]


def _names(service: Service, who: Person) -> list[_Named]:
    areas: list[_Named] = service.kept("names of areas", _area_names, of=("sites",))
    of_layers: list[_Named] = service.kept("names in layers", _layer_names, of=("layers",))
    names = Places(service, who).area_names()
    mine = [one for one in areas if one.label in names]
    return [*mine, *of_layers]


def _area_names(store: Store) -> list[_Named]:
    table = store.areas()
    return [
        _named("area", name, shape)
        for name, shape in zip(table["name"], table.geometry, strict=True)
    ]


def _layer_names(store: Store) -> list[_Named]:
    found: dict[tuple[str, str], _Named] = {}
    for layer in store.layers():
        if layer.kind is LayerKind.SLOPE or len(found) >= _MOST_NAMES:
            continue
        features = store.layer_features(layer.name)
        named = features[features["name"].notna()]
        for name, shape in zip(named["name"], named.geometry, strict=True):
            kind = _KINDS.get(layer.kind, layer.kind.value)
            found.setdefault((kind, str(name)), _named(kind, str(name), shape))
    return list(found.values())


def _named(kind: str, label: str, shape: Any) -> _Named:
    middle = shape.representative_point()
    return _Named(
        fold(label), kind, label, round(middle.x, 6), round(middle.y, 6), bounds_of(shape)
    )
