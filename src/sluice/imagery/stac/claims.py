"""What an item claims of its counts: how they become reflectance, and who says so.

From processing baseline 04.00 on, ESA adds 1000 to the counts of Sentinel-2, so that dark ground
can be a little below zero: reflectance = (count - 1000) / 10000. Some catalogues have taken the
1000 off again. Three sources speak of it, and they may disagree:

    earthsearch:boa_offset_applied   `true`: Earth Search took the 1000 off. `false` is often
                                     wrong, so it decides nothing alone: there the 1000 was taken
                                     off and the flag not set (Element84/earth-search, issues 66
                                     and 71; cirrus-earth-search, issue 33).
    offset in raster:bands or bands  -0.1: the 1000 is in the counts; 0: it is not. Beside
                                     `boa_offset_applied: true` Earth Search goes on stating -0.1,
                                     which is known to be wrong.
    processing baseline              04.00 and later: ESA added the 1000; before, it did not.
                                     Collection 1 is baseline 05.00, also where the image is old:
                                     the date tells nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sluice.base.sensors import Sensor
from sluice.imagery.scenes import SceneFiles
from sluice.imagery.stac.bands import BandPlace
from sluice.imagery.stac.facts import Item, processing_baseline, properties_of
from sluice.imagery.stac.refusals import Refused

SHIFT_COUNTS = 1000
"""Added to the counts from baseline 04.00 on."""
S2_SCALE = 0.0001
"""Reflectance of one count, in every Sentinel-2 product so far."""
_FIRST_SHIFTED = (4, 0)
_STATED = "item's raster:bands"


@dataclass(frozen=True)
class OffsetClaim:
    """Whether 1000 is in the counts, and how far that can be believed."""

    shifted: bool | None
    """1000 is in the counts; None: nobody says."""
    is_sure: bool
    """Sources agree, or one that is to be trusted speaks. Otherwise the pixels must confirm."""
    source: str
    """Who says so."""


@dataclass(frozen=True)
class UnsettledFiles(SceneFiles):
    """A scene whose offset is claimed and not yet checked; assets carry the claimed one."""

    claim: OffsetClaim


def claim_of_baseline(baseline: str | None) -> OffsetClaim:
    """What the processing baseline alone tells, `05.10`."""
    if baseline is None:
        return OffsetClaim(None, is_sure=False, source="nobody")
    numbers = tuple(int(part) for part in baseline.split("."))
    return OffsetClaim(numbers >= _FIRST_SHIFTED, is_sure=True, source=f"baseline {baseline}")


def claim_of_item(item: Item, places: Sequence[BandPlace], sensor: Sensor) -> OffsetClaim:
    """Weigh what an item says of the 1000.

    Args:
        item: Of Sentinel-2.
        places: Its bands.
        sensor: Which level it is.

    Raises:
        Refused: Bands state different offsets, or one that no Sentinel-2 product has.
    """
    by_baseline = claim_of_baseline(processing_baseline(item))
    applied = _applied_flag(item)
    # The flag is about the converted GeoTIFFs; beside them lie the original files, and of L1C
    # there are only those.
    if applied is not None and sensor.id == "s2-l2a" and all(place.is_tiff for place in places):
        source = f"item's boa_offset_applied ({str(applied).lower()})"
        if applied:
            return OffsetClaim(shifted=False, is_sure=True, source=source)
        shifted = by_baseline.shifted
        return OffsetClaim(shifted, is_sure=shifted is False, source=source)
    stated = _stated_shift(places)
    if stated is None:
        return by_baseline
    agrees = by_baseline.shifted in (None, stated)
    source = _STATED if agrees else f"{_STATED} against {by_baseline.source}"
    return OffsetClaim(stated, is_sure=agrees, source=source)


def scale_of(place: BandPlace) -> float:
    """Reflectance of one count.

    Raises:
        Refused: The item states a scale that no Sentinel-2 product has.
    """
    scale = place.pixels.scale
    if scale is None:
        return S2_SCALE
    if not math.isclose(scale, S2_SCALE, rel_tol=1e-6):
        raise Refused(
            f"asset {place.key} states a scale of {scale:g} where Sentinel-2 has {S2_SCALE:g}; "
            "give --scale and --offset if it is right"
        )
    return scale


def _applied_flag(item: Item) -> bool | None:
    props = properties_of(item)
    for key in ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied"):
        value = props.get(key)
        if isinstance(value, bool):
            return value
    return None


def _stated_shift(places: Sequence[BandPlace]) -> bool | None:
    """Whether stated offsets mean that 1000 is in the counts; None where none is stated."""
    shifts: dict[bool, str] = {}
    for place in places:
        pixels = place.pixels
        if pixels.offset is None:
            continue
        counts = -pixels.offset / (pixels.scale or S2_SCALE)
        if math.isclose(counts, SHIFT_COUNTS, rel_tol=1e-3):
            shifts[True] = place.key
        elif abs(counts) < 1:
            shifts[False] = place.key
        else:
            raise Refused(
                f"asset {place.key} states an offset of {pixels.offset:g}, which no Sentinel-2 "
                "product has (0 or -0.1); give --scale and --offset if it is right"
            )
    if len(shifts) > 1:
        raise Refused("its bands state different offsets, 0 and -0.1; give --scale and --offset")
    return next(iter(shifts), None)
