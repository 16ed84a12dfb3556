"""Cloud from one image's own bands, for images that come without any cloud layer.

A last resort, to be asked for: without a thermal band it takes a good part of bright bare ground
for cloud, and it does not know shadow. Of several dates, the guard may give some of it back.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sluice.base.arrays import ArrayHW, BoolHW
from sluice.base.errors import BandNotFound
from sluice.composite.clear import CLEAR, CLOUD, UNSEEN, ClassesHW
from sluice.composite.indices import normalized_difference

BANDS = ("blue", "green", "red", "nir", "swir16", "swir22")


def classify_by_spectrum(raster_bands: Mapping[str, ArrayHW]) -> ClassesHW:
    """Bright, white, haze-coloured pixels that are no snow, rock or plants.

    Args:
        raster_bands: By common name, (H, W) reflectance at the top of the atmosphere (L1C), NaN =
            not observed; needs `BANDS`. Surface reflectance lacks the haze that a part of the
            test relies on, so that less cloud is found.

    Returns:
        (H, W) of `composite.clear`'s classes, without shadow.

    Raises:
        BandNotFound: A band is missing.

    Source:
        The first pass of Fmask, "potential cloud pixels", without its thermal test: Zhu and
        Woodcock 2012, doi:10.1016/j.rse.2011.10.028, equations 1 to 4; for Sentinel-2: Zhu,
        Wang and Woodcock 2015, doi:10.1016/j.rse.2014.12.014. Haze: Zhang et al. 2002.
    """
    missing = [band for band in BANDS if band not in raster_bands]
    if missing:
        raise BandNotFound.from_missing_and_available(
            missing, raster_bands, wanted_by="the spectral cloud test"
        )
    blue, green, red, nir, swir16, swir22 = (raster_bands[band] for band in BANDS)
    observed: BoolHW = np.logical_and.reduce([np.isfinite(raster_bands[b]) for b in BANDS])
    mean = (blue + green + red) / 3
    off_white = np.abs(blue - mean) + np.abs(green - mean) + np.abs(red - mean)
    # NaN, and an index without a value, compares as False: no cloud.
    bright = (swir22 > 0.03) & (normalized_difference(green, swir16) < 0.8)
    not_green = normalized_difference(nir, red) < 0.8
    white = off_white < 0.7 * mean
    hazy = blue - 0.5 * red > 0.08
    not_rock = nir > 0.75 * swir16
    cloud = observed & bright & not_green & white & hazy & not_rock
    classes: ClassesHW = np.where(cloud, np.uint8(CLOUD), np.uint8(CLEAR))
    classes[~observed] = UNSEEN
    return classes
