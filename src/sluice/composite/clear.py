"""From a cloud layer to `clear`: where the ground was seen."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from sluice.base.arrays import ArrayHW, BoolHW
from sluice.base.errors import ConfigError

SCL_CLEAR = (2, 4, 5, 6, 7, 11)
"""Dark area, vegetation, bare, water, unclassified, snow.

Unclassified is kept: Sen2Cor puts bright bare soil and ponds there, which is what a mine is.
"""
SCL_CLOUD = (3, 8, 9, 10)
"""Cloud shadow, cloud of medium and of high probability, thin cirrus."""
CLOUD_PROBABILITY = 0.4
"""A probability from here on is cloud: the threshold that s2cloudless was tuned with."""
_QA60_CLOUD = (1 << 10) | (1 << 11)
_PROBABILITY_OF_ONE = {"cld": 100.0, "clp": 255.0}


def clear_sky(layer_name: str, values: ArrayHW, *, grow_px: int = 0) -> BoolHW:
    """Tell where the ground was seen.

    Args:
        layer_name: `scl` (Sen2Cor's scene classification), `qa60` (opaque cloud in bit 10, cirrus
            in bit 11), `cld` (cloud probability 0-100), `clp` (0-255) or `udm2` (band 1 of
            Planet's usable data mask, 1 = clear).
        values: The layer, (H, W), NaN = not observed.
        grow_px: Pixels by which cloud and shadow are widened, as their rims are hazy. Cloud
            beyond the array's edge is not known of: read a margin as wide where that matters.

    Returns:
        (H, W), True where clear; False where not observed.

    Raises:
        ConfigError: No such layer.

    Source:
        ESA Sentinel-2 L2A algorithm theoretical basis (SCL classes); Google Earth Engine
        catalogue, COPERNICUS/S2 (QA60); Zupanc 2017, "Improving cloud detection with machine
        learning" (s2cloudless); Planet, "Usable data masks" (UDM2).
    """
    observed = np.isfinite(values)
    codes = np.where(observed, values, 0).astype(np.int32)
    if layer_name == "scl":
        cloud = np.isin(codes, SCL_CLOUD)
        clear = np.isin(codes, SCL_CLEAR)
    elif layer_name == "qa60":
        cloud = (codes & _QA60_CLOUD) != 0
        clear = ~cloud
    elif layer_name in _PROBABILITY_OF_ONE:
        cloud = codes >= CLOUD_PROBABILITY * _PROBABILITY_OF_ONE[layer_name]
        clear = ~cloud
    elif layer_name == "udm2":
        clear = codes == 1
        cloud = ~clear
    else:
        raise ConfigError(
            f"cloud layer {layer_name!r} is not known; use scl, qa60, cld, clp or udm2"
        )
    if grow_px > 0:
        # What was not observed is no cloud, and does not grow.
        cloud = ndimage.binary_dilation(cloud & observed, structure=_disk(grow_px))
        clear = clear & ~cloud
    return np.asarray(clear & observed)


def _disk(radius_px: int) -> BoolHW:
    row, col = np.ogrid[-radius_px : radius_px + 1, -radius_px : radius_px + 1]
    return np.asarray(row**2 + col**2 <= radius_px**2)
