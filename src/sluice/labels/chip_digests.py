"""What is in a chip, as a short text: the same wherever the chip lies and whatever it is called."""

from __future__ import annotations

import hashlib

import numpy as np

from sluice.base.arrays import ArrayNBHW

_STEP = np.float32(0.0001)
"""Of data sets' reflectance: chips that were written again have the same text."""
_DIGITS = 16


def chip_digests(images_nbhw: ArrayNBHW) -> list[str]:
    """Tell chips by their pixels, not by name, folder or split.

    Args:
        images_nbhw: (N, bands, H, W) float32, NaN where not observed: all bands of the data set
            as `ChipDataset.images` gives them.

    Returns:
        For each chip 16 hex digits of the SHA-256 of its shape, and of its pixels in steps of
        0.0001. Of a chip of which nothing was observed an empty text, as nothing can be learnt
        from it and all such are alike.
    """
    shape = ",".join(map(str, images_nbhw.shape[1:])).encode()
    digests = []
    for image in images_nbhw:
        # Plus 0.0, as -0.0 has other bytes; and one NaN of the many.
        steps = np.rint(image / _STEP) + np.float32(0.0)
        if np.isnan(steps).all():
            digests.append("")
            continue
        steps[np.isnan(steps)] = np.nan
        digest = hashlib.sha256(shape + b"\0" + steps.astype("<f4").tobytes())
        digests.append(digest.hexdigest()[:_DIGITS])
    return digests
