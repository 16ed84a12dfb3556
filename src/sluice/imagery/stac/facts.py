"""What an item says of its scene: when, where on the Sentinel-2 grid, how processed.

Items are plain dictionaries as catalogues send them, of STAC 1.0 and 1.1 and of the years before;
what a field is called differs from catalogue to catalogue, so each fact is looked for under
several names.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sluice.imagery.names import baseline_in_name, sensor_in_name

Item = Mapping[str, Any]

_TILE = re.compile(r"(?:MGRS-|T)?(\d{1,2}[C-X][A-Z]{2})")
_TILE_IN_NAME = re.compile(r"(?:_T|^S2[A-D]_)(\d{1,2}[C-X][A-Z]{2})(?=_|$)")
_BASELINE = re.compile(r"(\d{2})\.(\d{2})")
_DOTTED_BASELINE = re.compile(r"_N(\d{2})\.(\d{2})(?:_|$)")
_DATATAKE = re.compile(r"GS(2[A-D])_(\d{8}T\d{6})_")
_PRODUCT = re.compile(r"S(2[A-D])_MSIL(?:1C|2A)_(\d{8}T\d{6})_")
_STRIP_START = re.compile(r"_S(\d{8}T\d{6})_")
_SENTINEL_1 = re.compile(r"sentinel[- ]?1", re.IGNORECASE)
_UNSAFE = re.compile(r"[^0-9A-Za-z._-]+")
_LONGEST_ID = 120
_PRODUCT_TYPES = {"S2MSI2A": "s2-l2a", "S2MSI1C": "s2-l1c"}
_CORRECTED = ("rtc", "nrb", "gamma0")


@dataclass(frozen=True)
class Acquisition:
    """What tells one acquisition of Sentinel-2 from another, whoever processed it."""

    satellite: str
    datatake: str
    """Start of the datatake."""
    tile: str


def properties_of(item: Item) -> Mapping[str, Any]:
    """The item's properties; none where it has none."""
    found = item.get("properties")
    return found if isinstance(found, Mapping) else {}


def id_of(item: Item) -> str:
    """The item's id, as it may stand in a file name."""
    return _UNSAFE.sub("_", str(item.get("id") or "unnamed")).strip("._")[:_LONGEST_ID] or "unnamed"


def self_href(item: Item) -> str | None:
    """Where the item itself lies."""
    for link in item.get("links") or ():
        if isinstance(link, Mapping) and link.get("rel") == "self" and link.get("href"):
            return str(link["href"])
    return None


def acquired_at(item: Item) -> dt.datetime | None:
    """The moment of acquisition, UTC; the start where the item names a span."""
    props = properties_of(item)
    for key in ("datetime", "start_datetime"):
        moment = as_datetime(props.get(key))
        if moment is not None:
            return moment
    return None


def as_datetime(value: object) -> dt.datetime | None:
    """A moment in UTC from what JSON or Arrow hold, else None."""
    if isinstance(value, dt.datetime):
        moment = value
    else:
        try:
            moment = dt.datetime.fromisoformat(str(value))
        except ValueError:
            return None
    return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)


def cloud_cover(item: Item) -> float | None:
    """Percent of the scene."""
    return finite(properties_of(item).get("eo:cloud_cover"))


def finite(value: object) -> float | None:
    """A number, else None: NaN, which Python writes into JSON where there is none, says nothing."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        # JSON's integers may have hundreds of digits.
        return None


def number_of(value: object) -> float | None:
    """A finite number, also one written as text."""
    if not isinstance(value, str):
        return finite(value)
    try:
        return finite(float(value))
    except ValueError:
        return None


def orbit_state(item: Item) -> str | None:
    """`ascending` or `descending`."""
    value = str(properties_of(item).get("sat:orbit_state") or "").lower()
    return value if value in {"ascending", "descending"} else None


def tile_of(item: Item) -> str | None:
    """The tile of Sentinel-2's grid, `21MVN`."""
    props = properties_of(item)
    parts = [props.get(f"mgrs:{part}") for part in ("utm_zone", "latitude_band", "grid_square")]
    old = [props.get(f"sentinel:{part}") for part in ("utm_zone", "latitude_band", "grid_square")]
    texts = [str(props.get("s2:mgrs_tile") or ""), str(props.get("grid:code") or "")]
    texts += ["".join(map(str, names)) for names in (parts, old) if all(names)]
    found = [_TILE.fullmatch(text) for text in texts]
    found += [_TILE_IN_NAME.search(name) for name in _names_of(item)]
    return next((match[1].zfill(5) for match in found if match), None)


def processing_baseline(item: Item) -> str | None:
    """Processing baseline of Sentinel-2, `05.10`."""
    props = properties_of(item)
    for key in ("s2:processing_baseline", "sentinel:processing_baseline", "processing:version"):
        found = _BASELINE.fullmatch(str(props.get(key) or "").strip())
        if found:
            return f"{found[1]}.{found[2]}"
    for name in _names_of(item):
        dotted = _DOTTED_BASELINE.search(name)
        baseline = f"{dotted[1]}.{dotted[2]}" if dotted else baseline_in_name(name)
        if baseline:
            return baseline
    return None


def acquisition_of(item: Item) -> Acquisition | None:
    """Which acquisition of Sentinel-2 an item is a processing of, None where it does not tell."""
    tile = tile_of(item)
    for name in _names_of(item):
        found = _DATATAKE.search(name) or _PRODUCT.match(name)
        if found and tile:
            return Acquisition(found[1], found[2], tile)
    moment, platform = acquired_at(item), str(properties_of(item).get("platform") or "").lower()
    if tile and moment and "sentinel-2" in platform:
        return Acquisition(platform[-2:].upper(), f"{moment:%Y%m%dT%H%M%S}", tile)
    return None


def strip_start(item: Item) -> dt.datetime | None:
    """When the datastrip begins: of a datatake received in two parts, each has its own."""
    props = properties_of(item)
    for key in ("s2:datastrip_id", "eopf:datastrip_id"):
        found = _STRIP_START.search(str(props.get(key) or ""))
        if found:
            return dt.datetime.strptime(found[1], "%Y%m%dT%H%M%S").replace(tzinfo=dt.UTC)
    return None


def processed_at(item: Item) -> dt.datetime | None:
    """When the product was made."""
    props = properties_of(item)
    for key in ("s2:generation_time", "processing:datetime", "created"):
        moment = as_datetime(props.get(key))
        if moment is not None:
            return moment
    return None


def sensor_id_of(item: Item) -> str | None:
    """`Sensor.id` of an item, None where it does not tell."""
    props = properties_of(item)
    kind = str(props.get("s2:product_type") or props.get("product:type") or "")
    for prefix, sensor_id in _PRODUCT_TYPES.items():
        # `S2MSI2Ap` is a pilot product of the same kind.
        if kind.startswith(prefix):
            return sensor_id
    platform = f"{props.get('platform') or ''} {props.get('constellation') or ''}"
    if _SENTINEL_1.search(platform) or "sar:product_type" in props:
        return "s1"
    for name in (str(item.get("collection") or ""), str(item.get("id") or "")):
        sensor = sensor_in_name(name)
        if sensor is not None:
            return sensor.id
    return None


def is_terrain_corrected(item: Item) -> bool:
    """Whether a Sentinel-1 item is radiometrically terrain-corrected.

    By the names of collection, item and product type: items of such collections keep the
    product type `GRD` of what they were made from, so it tells nothing.
    """
    props = properties_of(item)
    names = [item.get("collection"), item.get("id"), props.get("sar:product_type")]
    names += [props.get("product:type"), props.get("processing:level")]
    tokens = {token for name in names for token in re.split(r"[^a-z0-9]+", str(name or "").lower())}
    return any(token.endswith(_CORRECTED) or token.startswith(_CORRECTED) for token in tokens)


def _names_of(item: Item) -> Iterator[str]:
    """Texts in the form of product names: they hold tile, datatake and baseline."""
    props = properties_of(item)
    keys = ("s2:datatake_id", "eopf:datatake_id", "s2:product_uri", "sentinel:product_id")
    for key in (*keys, "s2:granule_id", "s2:tile_id", "earthsearch:product_id"):
        if props.get(key):
            yield str(props[key])
    private = props.get("_private")
    if isinstance(private, Mapping) and private.get("product_name"):
        yield str(private["product_name"])
    yield str(item.get("id") or "")
