"""Sensors and their bands, by the names that STAC uses.

Sources: Sentinel-2 MSI spectral response 3.0 (S2A centres, ESA COPE-GSEG-EOPG-TN-15-0007),
Planet "PlanetScope product specification" (SuperDove PSB.SD and Dove-R PS2.SD), NICFI basemap
guide, STAC electro-optical and SAR extensions for the common names.
"""

from __future__ import annotations

from dataclasses import dataclass

from sluice.base.errors import ConfigError


@dataclass(frozen=True)
class Band:
    """One band of a sensor."""

    name: str
    """The provider's name, `B04`."""
    common_name: str
    """STAC common name, `red`; unique within a sensor. Where STAC has none, the provider's."""
    gsd_m: float
    """Ground sampling distance in metres."""
    wavelength_um: float | None = None
    """Centre wavelength in micrometres; None for radar."""


@dataclass(frozen=True)
class Sensor:
    """A sensor at one processing level."""

    id: str
    """Short name used on the command line, `s2-l2a`."""
    title: str
    """What people call it."""
    bands: tuple[Band, ...]
    """In the provider's order, which is the order of multi-band files."""
    quantity: str
    """`reflectance` (unitless 0-1 after scaling) or `backscatter_db`."""
    satellites: str
    """Whose images these are, `s2`: the same ones at another level, in fewer bands or as a mosaic
    are no second witness."""

    def band(self, name: str) -> Band:
        """Return the band of that name or common name, in any case, `B4` meaning `B04`.

        Raises:
            KeyError: The sensor has no such band.
        """
        key = _canonical(name)
        for band in self.bands:
            if key in (_canonical(band.name), _canonical(band.common_name)):
                return band
        raise KeyError(name)

    def has_band(self, name: str) -> bool:
        """Whether `band` would find it."""
        try:
            self.band(name)
        except KeyError:
            return False
        return True


def _canonical(name: str) -> str:
    key = name.strip().lower()
    if len(key) == 2 and key[0] == "b" and key[1].isdigit():
        key = f"b0{key[1]}"
    return key


_S2_L2A = (
    Band("B01", "coastal", 60, 0.4427),
    Band("B02", "blue", 10, 0.4927),
    Band("B03", "green", 10, 0.5598),
    Band("B04", "red", 10, 0.6646),
    Band("B05", "rededge071", 20, 0.7041),
    Band("B06", "rededge075", 20, 0.7405),
    Band("B07", "rededge078", 20, 0.7828),
    Band("B08", "nir", 10, 0.8328),
    Band("B8A", "nir08", 20, 0.8647),
    Band("B09", "nir09", 60, 0.9451),
    Band("B11", "swir16", 20, 1.6137),
    Band("B12", "swir22", 20, 2.2024),
)
_S2_L1C = (*_S2_L2A[:10], Band("B10", "cirrus", 60, 1.3735), *_S2_L2A[10:])
# As Dove-R and SuperDove record them. Dove Classic, until April 2022, had wider bands, centred at
# 485, 545, 630 and 820 nm; files do not always say whose they are.
_PLANETSCOPE_4 = (
    Band("blue", "blue", 3, 0.490),
    Band("green", "green", 3, 0.565),
    Band("red", "red", 3, 0.665),
    Band("nir", "nir", 3, 0.865),
)
_PLANETSCOPE_8 = (
    Band("coastal_blue", "coastal", 3, 0.443),
    Band("blue", "blue", 3, 0.490),
    Band("green_i", "green05", 3, 0.531),
    Band("green", "green", 3, 0.565),
    Band("yellow", "yellow", 3, 0.610),
    Band("red", "red", 3, 0.665),
    Band("rededge", "rededge071", 3, 0.705),
    Band("nir", "nir", 3, 0.865),
)
_NICFI = tuple(Band(b.name, b.common_name, 4.77, b.wavelength_um) for b in _PLANETSCOPE_4)

SENSORS: dict[str, Sensor] = {
    sensor.id: sensor
    for sensor in (
        Sensor("s2-l1c", "Sentinel-2 top of atmosphere", _S2_L1C, "reflectance", "s2"),
        Sensor("s2-l2a", "Sentinel-2 surface reflectance", _S2_L2A, "reflectance", "s2"),
        Sensor(
            "s1",
            "Sentinel-1 backscatter, terrain-corrected",
            (Band("VV", "vv", 10), Band("VH", "vh", 10)),
            "backscatter_db",
            "s1",
        ),
        Sensor("planet-4b", "PlanetScope, 4 bands", _PLANETSCOPE_4, "reflectance", "planet"),
        Sensor("planet-8b", "PlanetScope, 8 bands", _PLANETSCOPE_8, "reflectance", "planet"),
        Sensor("nicfi", "NICFI / Planet basemap mosaic", _NICFI, "reflectance", "planet"),
    )
}


def find_sensor(sensor_id: str) -> Sensor:
    """Look a sensor up.

    Raises:
        ConfigError: No such sensor; the message lists those there are.
    """
    try:
        return SENSORS[sensor_id]
    except KeyError:
        known = ", ".join(SENSORS)
        raise ConfigError(f"sensor {sensor_id!r} is not known; use one of {known}") from None


def satellites_of(sensor_ids: str) -> str:
    """Whose images those of some sensors are: `s2` of `s2-l1c,s2-l2a`.

    Args:
        sensor_ids: As `LandedRun.sensor` has them, with commas; what is no sensor stays as it is.
    """
    known = (SENSORS.get(one) for one in sensor_ids.split(","))
    names = {
        name if sensor is None else sensor.satellites
        for name, sensor in zip(sensor_ids.split(","), known, strict=True)
    }
    return ",".join(sorted(names))


OWNERS = {"copernicus": ("s1", "s2"), "planet": ("planet",)}
"""Who is to be named for images, by how the names of their satellites begin."""


def owners_of(sensor_ids: str) -> tuple[str, ...]:
    """Who is to be named for images of some sensors; some of `OWNERS`.

    Args:
        sensor_ids: See `satellites_of`.
    """
    names = satellites_of(sensor_ids).split(",")
    return tuple(
        owner
        for owner, beginnings in OWNERS.items()
        if any(name.startswith(beginnings) for name in names)
    )
