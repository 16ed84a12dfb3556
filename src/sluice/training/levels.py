"""Which kinds of imagery a model takes, by the kind that it was fitted to."""

from __future__ import annotations

from sluice.base.atmosphere import CLEAR_SKY
from sluice.base.sensors import SENSORS
from sluice.models.manifest import Adaptation, Level, ScaledInput

_SURFACE = ("s2-l2a", "planet-4b", "planet-8b", "nicfi")
"""Sensors of surface reflectance, which a clear sky brings to what is seen from above it."""
_BAND_IDS = {band.common_name: band.name for band in SENSORS["s2-l1c"].bands}


def levels_for(sensor: str, inputs: tuple[ScaledInput, ...], note: str) -> tuple[Level, ...]:
    """The levels of a model that was fitted to imagery of one sensor.

    A model of Sentinel-2 as seen from above the atmosphere takes surface reflectance too, under a
    standard clear sky, where its bands have one.

    Args:
        sensor: `Sensor.id` of the labels' images.
        inputs: The model's.
        note: Of the level that it was fitted to.
    """
    own = Level(sensor=sensor, verified=True, note=note)
    skies = {i.key: CLEAR_SKY.get(_BAND_IDS.get(i.band, "")) for i in inputs}
    if sensor != "s2-l1c" or not all(skies.values()):
        return (own,)
    adapt = {key: Adaptation(gain=sky[1], offset=sky[0]) for key, sky in skies.items() if sky}
    return (
        own,
        *(
            Level(
                sensor=other,
                verified=False,
                note="brought to L1C with a standard clear sky; not measured",
                adapt=adapt,
            )
            for other in _SURFACE
            if {i.band for i in inputs} <= {band.common_name for band in SENSORS[other].bands}
        ),
    )
