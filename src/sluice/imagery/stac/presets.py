"""What the well-known STAC APIs call things, one small table each.

Sources: Earth Search's collection pages and items of `sentinel-2-c1-l2a` and `sentinel-2-l2a`,
Planetary Computer's collections and items, Copernicus Data Space's items of
`stac.dataspace.copernicus.eu/v1`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sluice.base.errors import ConfigError
from sluice.base.sensors import SENSORS, find_sensor


@dataclass(frozen=True)
class Holding:
    """One collection of a catalogue: where its assets are, and what can be trusted."""

    collection: str
    sensor: str
    """`Sensor.id`."""
    assets: Mapping[str, tuple[str, ...]]
    """Common name -> asset keys, the first that is there is used."""
    sky: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Cloud layer -> asset keys; the layer to prefer first."""
    nodata: float | None = None
    """Where an item does not state it."""
    requester_pays: bool = False
    """Whoever reads the files pays for the transfer, and needs an account."""


@dataclass(frozen=True)
class Preset:
    """A STAC API that is known by name."""

    name: str
    url: str
    holdings: tuple[Holding, ...]
    """Of several for one sensor the first is used, unless its collection is named."""
    needs_s3_keys: bool = False
    """No file can be read without keys."""

    def holding(self, sensor: str, collection: str | None = None) -> Holding | None:
        """The collection of a sensor, or None."""
        for holding in self.holdings:
            if holding.sensor == sensor and collection in (None, holding.collection):
                return holding
        return None


# Earth Search names assets by STAC common names; red edges and narrow NIR have numbers.
_EARTH_SEARCH_S2 = {
    "coastal": ("coastal",),
    "blue": ("blue",),
    "green": ("green",),
    "red": ("red",),
    "rededge071": ("rededge1",),
    "rededge075": ("rededge2",),
    "rededge078": ("rededge3",),
    "nir": ("nir",),
    "nir08": ("nir08",),
    "nir09": ("nir09",),
    "swir16": ("swir16",),
    "swir22": ("swir22",),
}
_BY_CODE = {band.common_name: (band.name,) for band in SENSORS["s2-l1c"].bands}
# Copernicus stores a band at its own resolution and at coarser ones; sampled up it says no more.
_CDSE_L2A = {
    band.common_name: tuple(
        f"{band.name}_{gsd}m" for gsd in sorted((10, 20, 60), key=lambda g: (g != band.gsd_m, g))
    )
    for band in SENSORS["s2-l2a"].bands
}
_RADAR = {"vv": ("vv",), "vh": ("vh",)}
RTC_NODATA = -32768.0

PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "earth-search",
            "https://earth-search.aws.element84.com/v1",
            (
                # Collection 1 first: one processing, and its offset is stated right.
                Holding(
                    "sentinel-2-c1-l2a",
                    "s2-l2a",
                    _EARTH_SEARCH_S2,
                    {"scl": ("scl",), "cld": ("cloud",)},
                    nodata=0,
                ),
                Holding("sentinel-2-l2a", "s2-l2a", _EARTH_SEARCH_S2, {"scl": ("scl",)}, nodata=0),
                Holding(
                    "sentinel-2-l1c",
                    "s2-l1c",
                    _EARTH_SEARCH_S2 | {"cirrus": ("cirrus",)},
                    nodata=0,
                    requester_pays=True,
                ),
            ),
        ),
        Preset(
            "planetary-computer",
            "https://planetarycomputer.microsoft.com/api/stac/v1",
            (
                Holding("sentinel-2-l2a", "s2-l2a", _BY_CODE, {"scl": ("SCL",)}, nodata=0),
                Holding("sentinel-1-rtc", "s1", _RADAR, nodata=RTC_NODATA),
            ),
        ),
        Preset(
            "cdse",
            "https://stac.dataspace.copernicus.eu/v1",
            (
                Holding(
                    "sentinel-2-l2a",
                    "s2-l2a",
                    _CDSE_L2A,
                    {"scl": ("SCL_20m", "SCL_60m")},
                    nodata=0,
                ),
                Holding("sentinel-2-l1c", "s2-l1c", _BY_CODE, nodata=0),
            ),
            needs_s3_keys=True,
        ),
    )
}

_USUAL_COLLECTIONS = {
    "s2-l2a": ("sentinel-2-c1-l2a", "sentinel-2-l2a", "sentinel-s2-l2a-cogs", "sentinel-s2-l2a"),
    "s2-l1c": ("sentinel-2-l1c", "sentinel-s2-l1c"),
    "s1": ("sentinel-1-rtc", "sentinel-s1-rtc", "sentinel1-rtc-aws"),
}


def preset_at(url: str) -> Preset | None:
    """The preset whose address this is, else None."""
    wanted = url.rstrip("/").lower()
    return next((p for p in PRESETS.values() if p.url == wanted), None)


def holding_for(preset: Preset, sensor: str) -> Holding:
    """The collection that a catalogue is searched in for a sensor.

    Raises:
        ConfigError: The catalogue has none, or the sensor is unknown.
    """
    found = preset.holding(sensor)
    if found is not None:
        return found
    find_sensor(sensor)
    have = ", ".join(f"{h.sensor} ({h.collection})" for h in preset.holdings)
    elsewhere = sorted(p.name for p in PRESETS.values() if p.holding(sensor))
    advice = f"use --source {' or '.join(elsewhere)}" if elsewhere else "use another --source"
    raise ConfigError(f"--source {preset.name} has no {sensor}; it has {have}; {advice}")


def choose_collection(sensor: str, available: tuple[str, ...], *, where: str) -> str:
    """The collection of an API that nobody named.

    Raises:
        ConfigError: It cannot be told from the names.
    """
    for usual in _USUAL_COLLECTIONS.get(sensor, ()):
        if usual in available:
            return usual
    if len(available) == 1:
        return available[0]
    shown = ", ".join(available[:20]) or "none"
    more = f" and {len(available) - 20} more" if len(available) > 20 else ""
    raise ConfigError(
        f"{where}: which collection holds {sensor} cannot be told; name it with --collection. "
        f"It has: {shown}{more}"
    )
