"""From a cloud layer to `clear`: where the ground was seen, and what hid it elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sluice.base.arrays import ArrayHW, BoolHW
from sluice.base.errors import ConfigError

ClassesHW = npt.NDArray[np.uint8]
"""(H, W) of `UNSEEN`, `CLEAR`, `CLOUD` and `SHADOW`."""

SCL_CLEAR = (2, 4, 5, 6, 7, 11)
"""Dark area, vegetation, bare, water, unclassified, snow.

Unclassified is kept: Sen2Cor puts bright bare soil and ponds there, which is what a mine is.
No data (0) and saturated or defective (1) are neither clear nor cloud.
"""
SCL_CLOUD = (8, 9, 10)
"""Cloud of medium and of high probability, thin cirrus."""
SCL_SHADOW = (3,)
UNSEEN, CLEAR, CLOUD, SHADOW = 0, 1, 2, 3
_SCL_CLASSES = np.full(12, UNSEEN, np.uint8)
for _class, _codes in ((CLEAR, SCL_CLEAR), (CLOUD, SCL_CLOUD), (SHADOW, SCL_SHADOW)):
    _SCL_CLASSES[list(_codes)] = _class
CLOUD_PROBABILITY = 0.4
"""A probability from here on is cloud: the threshold that s2cloudless was tuned with."""
_QA60_CLOUD = (1 << 10) | (1 << 11)
_PROBABILITY_OF_ONE = {"cld": 100.0, "clp": 255.0}


@dataclass(frozen=True)
class Sky:
    """What a cloud layer says of each pixel; growth is in it."""

    clear: BoolHW
    """(H, W), True where the ground was seen; False where not observed."""
    cloud: BoolHW
    """Cloud or cirrus, and what is near it. The guard may overrule this."""
    shadow: BoolHW
    """Cloud shadow, and what is near it; may overlap `cloud`. No evidence of brightness."""


def classify_sky(layer_name: str, values: ArrayHW) -> ClassesHW:
    """Sort a cloud layer's values, pixel by pixel.

    Args:
        layer_name: `scl` (Sen2Cor's scene classification), `qa60` (opaque cloud in bit 10, cirrus
            in bit 11), `cld` (cloud probability 0-100), `clp` (0-255) or `udm2` (band 1 of
            Planet's usable data mask, 1 = clear). Only `scl` knows shadow; everything that `udm2`
            does not call clear is cloud here.
        values: The layer as stored, (H, W), NaN = not observed.

    Returns:
        (H, W) of `UNSEEN`, `CLEAR`, `CLOUD` and `SHADOW`.

    Raises:
        ConfigError: No such layer.

    Source:
        ESA Sentinel-2 L2A algorithm theoretical basis (SCL classes); Google Earth Engine
        catalogue, COPERNICUS/S2 (QA60); Zupanc 2017, "Improving cloud detection with machine
        learning" (s2cloudless); Planet, "Usable data masks" (UDM2).
    """
    if layer_name == "scl":
        known = (values >= 0) & (values < len(_SCL_CLASSES))
        return _SCL_CLASSES[np.where(known, values, 0).astype(np.uint8)]
    observed = np.isfinite(values)
    codes = np.where(observed, values, 0).astype(np.int32)
    if layer_name == "qa60":
        cloud = (codes & _QA60_CLOUD) != 0
    elif layer_name in _PROBABILITY_OF_ONE:
        cloud = codes >= CLOUD_PROBABILITY * _PROBABILITY_OF_ONE[layer_name]
    elif layer_name == "udm2":
        cloud = codes != 1
    else:
        raise ConfigError(
            f"cloud layer {layer_name!r} is not known; use scl, qa60, cld, clp or udm2"
        )
    classes: ClassesHW = np.where(cloud, np.uint8(CLOUD), np.uint8(CLEAR))
    classes[~observed] = UNSEEN
    return classes


def sort_sky(classes: ClassesHW, *, grow_px: int = 0) -> Sky:
    """Tell clear, cloud and shadow apart, and widen what hides the ground.

    Args:
        classes: (H, W), see `classify_sky`.
        grow_px: Pixels by which cloud and shadow are widened, as their rims are hazy. Cloud
            beyond the array's edge is not known of: read a margin as wide where that matters.

    Returns:
        The sky after growth.
    """
    return grow_sky(classes == CLEAR, classes == CLOUD, classes == SHADOW, grow_px=grow_px)


def grow_sky(clear: BoolHW, cloud: BoolHW, shadow: BoolHW, *, grow_px: int) -> Sky:
    """Widen cloud and shadow, and take them from the clear.

    Args:
        clear: (H, W), where the ground would be seen if nothing grew.
        cloud: (H, W); what was not observed is no cloud, and does not grow.
        shadow: (H, W).
        grow_px: Radius in pixels.

    Returns:
        The sky after growth.
    """
    cloud, shadow = grow(cloud, grow_px), grow(shadow, grow_px)
    return Sky(clear & ~cloud & ~shadow, cloud, shadow)


def grow(flagged: BoolHW, radius_px: int) -> BoolHW:
    """Widen what is flagged by a disk: everything within `radius_px` of a flagged pixel.

    Args:
        flagged: (H, W).
        radius_px: 0 leaves it as it is.

    Returns:
        (H, W), a new array where the radius is not 0.
    """
    if radius_px <= 0 or not flagged.any():
        return flagged
    # The disk, row by row: spread along rows once for each half-width, then move the result up
    # and down. Several times as fast as a dilation with a disk.
    widened = flagged.copy()
    grown = np.zeros_like(flagged)
    half_widths = [int((radius_px**2 - row**2) ** 0.5) for row in range(radius_px + 1)]
    for half_width in range(radius_px + 1):
        if half_width:
            widened[:, half_width:] |= flagged[:, :-half_width]
            widened[:, :-half_width] |= flagged[:, half_width:]
        for row, reach in enumerate(half_widths):
            if reach == half_width:
                grown[row:] |= widened[: max(len(widened) - row, 0)]
                grown[: max(len(grown) - row, 0)] |= widened[row:]
    return grown
