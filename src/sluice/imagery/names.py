"""What file names tell: bands, cloud layers, dates, sensors.

Sources: Sentinel-2 Products Specification Document S2-PDGS-TAS-DI-PSD (SAFE names), the
BigEarthNet archive, sentinelhub-py (B02, CLD, CLP, SCL), Planet's asset names.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import re
from dataclasses import dataclass

from sluice.base.sensors import SENSORS, Sensor, find_sensor

SKY_LAYERS = ("scl", "udm2", "clp", "cld", "qa60")
"""Cloud layers that are understood, the one to prefer first."""

SENSOR_TAG, SKY_TAG = "SLUICE_SENSOR", "SLUICE_SKY"
"""Tags of composites that Sluice wrote: the sensor's id, and what became of clouds."""
COMPOSED = "composed"
"""In place of a cloud layer's name: clouds were taken out when looks were reduced to one image."""

_SKY_TOKENS = {name: name for name in SKY_LAYERS} | {"cldprb": "cld"}
_CODE = re.compile(r"b(0?[1-9]|1[0-2]|8a)|vv|vh", re.IGNORECASE)
_RESOLUTION = re.compile(r"\d+m", re.IGNORECASE)
_LANDSAT = re.compile(r"landsat\w*|l[cetom]0[1-9]", re.IGNORECASE)
_SENTINEL_1 = re.compile(r"s1[abcd]|sentinel1", re.IGNORECASE)
_BASELINE = re.compile(r"(?:^|_)N(\d{2})(\d{2})(?:_|$)")
_DATE = re.compile(r"(?<!\d)((?:19|20)\d{2})([-_]?)(\d{2})\2(\d{2})(?!\d)")
_PRODUCT = re.compile(r"(S[123][A-D]_|L[COTEM]0\d_)", re.IGNORECASE)
_SENTINEL_2 = re.compile(
    r"(?P<platform>S2[A-D])_MSI(?P<level>L1C|L2A)_(?P<start>\d{8}T\d{6})_N(?P<baseline>\d{4})"
    r"_R(?P<orbit>\d{3})_T(?P<tile>\d{2}[C-X][A-Z]{2})_(?P<told_apart>\d{8}T\d{6})"
)


@dataclass(frozen=True)
class Sentinel2Name:
    """What the name of a Sentinel-2 product tells, as they are called since December 2016."""

    platform: str
    """`S2A`"""
    sensor_id: str
    """`s2-l1c` or `s2-l2a`."""
    datatake_start: dt.datetime
    """UTC; minutes before the satellite passes over the tile itself."""
    processing_baseline: str
    """`05.10`"""
    tile: str
    """`21MVN`"""
    told_apart_by: str
    """The last time in the name: it tells apart products of one datatake and tile."""


def find_band(name: str, sensor: Sensor | None) -> str | None:
    """The common name of a band that is named as a provider or STAC names it, else None.

    Args:
        name: `B04`, `b4`, `Red`, `VV`; nothing around it.
        sensor: Look among its bands only. Without one, all sensors are searched: they agree
            wherever they share a name.
    """
    for candidate in [sensor] if sensor else SENSORS.values():
        if candidate.has_band(name):
            return candidate.band(name).common_name
    return None


def band_in_name(stem: str, sensor: Sensor | None) -> str | None:
    """The common name of the one band that a file's name tells of.

    A code (`B04`, `VH`) counts anywhere in the name, a word (`red`) only as the last part, as
    it may be a place's name elsewhere. A name that holds several bands tells of none.
    """
    tokens = [token for token in _tokens(stem) if not _RESOLUTION.fullmatch(token)]
    if not tokens:
        return None
    codes = {find_band(token, sensor) for token in tokens if _CODE.fullmatch(token)} - {None}
    if len(codes) == 1:
        return codes.pop()
    if codes:
        return None
    return find_band("_".join(tokens[-2:]), sensor) or find_band(tokens[-1], sensor)


def band_in_description(description: str, sensor: Sensor | None) -> str | None:
    """The common name of the band that a file's own description names.

    `Red`, or a code with an explanation behind it, as GDAL writes: `B4, central wavelength
    665 nm`. Not `B4_stdDev`, which is no reflectance.
    """
    first = re.split(r"[\s,:(]", description.strip(), maxsplit=1)[0]
    return find_band(first if _CODE.fullmatch(first) else description, sensor)


def sky_layer_in_name(stem: str) -> str | None:
    """The cloud layer that a file or band is named after, one of `SKY_LAYERS`, else None."""
    for token in _tokens(stem):
        if token.lower() in _SKY_TOKENS:
            return _SKY_TOKENS[token.lower()]
    return None


def date_in_name(name: str) -> dt.date | None:
    """The first date written as YYYYMMDD, YYYY-MM-DD or YYYY_MM_DD.

    In a satellite product's name the first date is the acquisition, the last the processing.
    Elsewhere two dates are a period, and none of its days is the image's.
    """
    dates = []
    for year, _, month, day in _DATE.findall(name):
        with contextlib.suppress(ValueError):
            dates.append(dt.date(int(year), int(month), int(day)))
    if len(set(dates)) > 1 and not _PRODUCT.match(name):
        return None
    return dates[0] if dates else None


def baseline_in_name(name: str) -> str | None:
    """Processing baseline of a Sentinel-2 product's name: `..._N0510_...` is 05.10."""
    found = _BASELINE.search(name)
    return f"{found[1]}.{found[2]}" if found else None


def sensor_in_name(name: str) -> Sensor | None:
    """The sensor and level that a file's or folder's name gives away, else None."""
    tokens = {token.lower() for token in _tokens(name)}
    if tokens & {"msil1c", "l1c"}:
        return find_sensor("s2-l1c")
    if tokens & {"msil2a", "l2a"}:
        return find_sensor("s2-l2a")
    if any(_SENTINEL_1.fullmatch(token) for token in tokens):
        return find_sensor("s1")
    if "nicfi" in tokens or {"planet", "medres"} <= tokens:
        return find_sensor("nicfi")
    if {"analyticms", "sr"} <= tokens:
        return find_sensor("planet-8b" if "8b" in tokens else "planet-4b")
    return None


def read_sentinel2_name(name: str) -> Sentinel2Name | None:
    """What a product's name tells, with or without `.SAFE`; None where it is not of that form."""
    found = _SENTINEL_2.match(name)
    if found is None:
        return None
    try:
        start = dt.datetime.strptime(found["start"], "%Y%m%dT%H%M%S").replace(tzinfo=dt.UTC)
    except ValueError:
        return None
    baseline = found["baseline"]
    return Sentinel2Name(
        platform=found["platform"],
        sensor_id="s2-l1c" if found["level"] == "L1C" else "s2-l2a",
        datatake_start=start,
        processing_baseline=f"{baseline[:2]}.{baseline[2:]}",
        tile=found["tile"],
        told_apart_by=found["told_apart"],
    )


def is_landsat(name: str) -> bool:
    """Whether a name is of Landsat, whose B2 to B7 are other colours than Sentinel-2's."""
    return any(_LANDSAT.fullmatch(token) for token in _tokens(name))


def _tokens(name: str) -> list[str]:
    return [token for token in re.split(r"[^0-9A-Za-z]+", name) if token]
