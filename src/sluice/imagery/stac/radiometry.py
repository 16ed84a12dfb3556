"""How counts of an item's bands become values, before the pixels are asked."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sluice.base.errors import ConfigError
from sluice.base.records import Scene
from sluice.base.sensors import Sensor
from sluice.imagery.assets import Asset
from sluice.imagery.radiometry import Stated
from sluice.imagery.scenes import SceneFiles
from sluice.imagery.stac.bands import BandPlace
from sluice.imagery.stac.claims import (
    S2_SCALE,
    SHIFT_COUNTS,
    OffsetClaim,
    UnsettledFiles,
    claim_of_item,
    scale_of,
)
from sluice.imagery.stac.facts import Item
from sluice.imagery.stac.refusals import Refused

_ADVICE = "give --scale and --offset"
_USUAL = f"--scale {S2_SCALE:g} and --offset 0 or -0.1"


@dataclass(frozen=True)
class Radiometry:
    """Scale and offset of a scene's bands: value = count * scale + offset."""

    scale: float
    offset: float
    source: str
    is_power: bool = False
    """Values are linear backscatter power."""
    claim: OffsetClaim | None = None
    """Of Sentinel-2: to be checked against the pixels."""

    def files(self, scene: Scene, bands: dict[str, Asset], sky: Asset | None) -> SceneFiles:
        """The scene's files, with the claim where there is one to check."""
        if self.claim is None:
            return SceneFiles(scene, bands, sky)
        return UnsettledFiles(scene, bands, sky, self.claim)


def radiometry_of(
    item: Item, places: dict[str, BandPlace], sensor: Sensor, stated: Stated
) -> Radiometry:
    """What an item, and before it the user, says of its counts.

    Args:
        item: The item.
        places: Its bands by common name, at least one.
        sensor: What it was taken by.
        stated: The user's flags, each for its own number.

    Raises:
        Refused: Nobody says it, or it makes no sense.
        ConfigError: A flag makes no sense.
    """
    refuse_senseless(stated)
    if stated.scale is not None and stated.offset is not None:
        return Radiometry(stated.scale, stated.offset, "flags")
    if sensor.quantity == "backscatter_db":
        return _backscatter(places)
    if sensor.id in {"s2-l1c", "s2-l2a"} and not _is_float(places):
        return _sentinel_2(item, places, sensor, stated)
    return _as_stated(places, stated)


def refuse_senseless(stated: Stated) -> None:
    """Refuse flags that would turn any counts into nonsense.

    Raises:
        ConfigError: The scale is not above 0, or a number is infinite or none.
    """
    for name, value in (("--scale", stated.scale), ("--offset", stated.offset)):
        if value is not None and not math.isfinite(value):
            raise ConfigError(f"{name} {value:g} is no number; for counts to 10000 give {_USUAL}")
    if stated.scale is None or stated.scale > 0:
        return
    effect = "makes all values equal" if stated.scale == 0 else "turns bright into dark"
    raise ConfigError(f"--scale {stated.scale:g} {effect}; for counts to 10000 give {S2_SCALE:g}")


def _sentinel_2(
    item: Item, places: dict[str, BandPlace], sensor: Sensor, stated: Stated
) -> Radiometry:
    listed = list(places.values())
    if stated.scale is not None:
        scale = stated.scale
    else:
        # The bands of a product share one scale; stated by none, it is Sentinel-2's.
        scale = {scale_of(place) for place in listed}.pop()
    if stated.offset is not None:
        return Radiometry(scale, stated.offset, "offset by flag")
    claim = claim_of_item(item, listed, sensor)
    # Until the pixels decide; where nobody says, nothing is taken off.
    offset = -SHIFT_COUNTS * scale if claim.shifted else 0.0
    source = claim.source if stated.scale is None else f"{claim.source}, scale by flag"
    return Radiometry(scale, offset, source, claim=claim)


def _backscatter(places: dict[str, BandPlace]) -> Radiometry:
    """Terrain-corrected radar is stored as linear power, and says so where it is dB."""
    place = next(iter(places.values()))
    pixels = place.pixels
    if (pixels.unit or "").lower() in {"db", "decibel", "decibels"}:
        scale, offset = pixels.scale or 1.0, pixels.offset or 0.0
        return Radiometry(scale, offset, "item: backscatter in dB")
    if pixels.data_type is not None and not _is_float(places):
        raise Refused(
            f"asset {place.key} holds {pixels.data_type} values and does not say what they mean; "
            "floating-point power, or a unit of dB, is needed"
        )
    return Radiometry(1.0, 0.0, "linear backscatter power (gamma0)", is_power=True)


def _as_stated(places: dict[str, BandPlace], stated: Stated) -> Radiometry:
    pixels = [place.pixels for place in places.values()]
    scales = {p.scale for p in pixels}
    offsets = {p.offset or 0.0 for p in pixels}
    if len(scales) > 1 or len(offsets) > 1:
        raise Refused(f"its bands state different scales or offsets; {_ADVICE}")
    scale, offset = scales.pop(), offsets.pop()
    source = "item's raster:bands"
    if stated.scale is not None:
        scale, source = stated.scale, "scale by flag"
    if stated.offset is not None:
        offset, source = stated.offset, f"{source}, offset by flag"
    if scale is None:
        raise Refused(
            "neither the item nor its assets say how counts become reflectance; "
            f"{_ADVICE} (counts of reflectance x 10000: {S2_SCALE:g} and 0)"
        )
    if scale <= 0:
        raise Refused(f"it states a scale of {scale:g}, which makes no sense; {_ADVICE}")
    return Radiometry(scale, offset, source)


def _is_float(places: dict[str, BandPlace]) -> bool:
    kinds = {place.pixels.data_type for place in places.values()} - {None}
    return all(str(kind).startswith("float") for kind in kinds) and bool(kinds)
