"""Which kinds of imagery a model of given bands takes, and how they are brought to its own."""

from __future__ import annotations

from collections.abc import Sequence

from sluice.base.atmosphere import CLEAR_SKY
from sluice.base.errors import BandNotFound
from sluice.base.sensors import find_sensor
from sluice.models.manifest import Adaptation, Level

_SURFACE = ("s2-l2a", "planet-4b", "planet-8b", "nicfi")


def levels_for(sensor_id: str, bands: Sequence[str]) -> tuple[Level, ...]:
    """The labels' own kind of imagery, and others with the same bands.

    A model of top-of-atmosphere reflectance sees surface reflectance through a standard clear
    sky, and the other way round. Nothing but the labels' own kind is called verified.

    Args:
        sensor_id: What the labels were cut from.
        bands: Keys of the inputs: `red`, or `vv@-1` for a period before.

    Raises:
        ConfigError: No such sensor.
        BandNotFound: The sensor lacks a band.
    """
    sensor = find_sensor(sensor_id)
    missing = [key for key in bands if not sensor.has_band(_band(key))]
    if missing:
        raise BandNotFound.from_missing_and_available(
            missing, [band.common_name for band in sensor.bands], wanted_by=f"sensor {sensor_id}"
        )
    own = Level(sensor=sensor_id, verified=True, note="the labels' own kind; see the card")
    others = [] if sensor.quantity != "reflectance" else [*_SURFACE, "s2-l1c"]
    return (
        own,
        *(
            _translated(other, sensor_id, bands)
            for other in others
            if other != sensor_id and _can_stand_in(other, sensor_id, bands)
        ),
    )


def _can_stand_in(other: str, sensor_id: str, bands: Sequence[str]) -> bool:
    has_bands = all(find_sensor(other).has_band(_band(key)) for key in bands)
    through_sky = (other == "s2-l1c") != (sensor_id == "s2-l1c")
    return has_bands and (not through_sky or all(_sky_key(key) in CLEAR_SKY for key in bands))


def _translated(other: str, sensor_id: str, bands: Sequence[str]) -> Level:
    if other == "s2-l1c":
        note = "brought to surface reflectance by taking a standard clear sky away; not measured"
        adapt = {key: _without_sky(key) for key in bands}
    elif sensor_id == "s2-l1c":
        note = "brought to top-of-atmosphere reflectance with a standard clear sky; not measured"
        adapt = {key: _under_sky(key) for key in bands}
    else:
        note, adapt = "same bands, other sensor, both surface reflectance; not tried", {}
    return Level(sensor=other, verified=False, note=note, adapt=adapt)


def _band(key: str) -> str:
    return key.partition("@")[0]


def _sky_key(key: str) -> str:
    sentinel = find_sensor("s2-l1c")
    return sentinel.band(_band(key)).name if sentinel.has_band(_band(key)) else key


def _under_sky(key: str) -> Adaptation:
    path, transmission = CLEAR_SKY[_sky_key(key)]
    return Adaptation(gain=transmission, offset=path)


def _without_sky(key: str) -> Adaptation:
    path, transmission = CLEAR_SKY[_sky_key(key)]
    return Adaptation(gain=1 / transmission, offset=-path / transmission)
