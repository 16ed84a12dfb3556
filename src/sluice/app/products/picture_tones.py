"""From reflectance to the bytes of a picture, the same way over a whole image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sluice.app.products.map_furniture import NO_IMAGE
from sluice.base.arrays import ArrayBHW, ArrayHW

# Lifted shadows: forest is dark, and its texture helps to judge.
_GAMMA = 0.7
_DARKEST_BYTE = 24
"""Of an index: 0 is no data, and is seen as such."""


@dataclass(frozen=True)
class ColourTones:
    """How three bands become red, green and blue."""

    low: tuple[float, float, float]
    """Reflectance that becomes black, by band."""
    span: float
    """From black to white, in all bands."""

    def apply(self, rgb: ArrayBHW) -> npt.NDArray[np.uint8]:
        """Make the picture.

        Args:
            rgb: (3, H, W), NaN = no image.

        Returns:
            (H, W, 3); a pixel that lacks any band is grey.
        """
        missing = np.isnan(rgb).any(axis=0)
        level = np.clip((rgb - np.array(self.low)[:, None, None]) / self.span, 0, 1)
        out = np.moveaxis(255 * level**_GAMMA, 0, -1)
        out[missing] = NO_IMAGE
        picture: npt.NDArray[np.uint8] = np.round(out).astype(np.uint8)
        return picture


@dataclass(frozen=True)
class GreyTones:
    """How an index becomes grey."""

    low: float
    high: float

    def apply(self, index_hw: ArrayHW) -> npt.NDArray[np.uint8]:
        """Make the picture: (H, W), black where the index is NaN."""
        level = np.clip((index_hw - self.low) / (self.high - self.low), 0, 1)
        grey = _DARKEST_BYTE + level * (255 - _DARKEST_BYTE)
        return np.where(np.isnan(index_hw), 0, np.round(grey)).astype(np.uint8)


def tones_of(rgb: ArrayBHW, *, brightest_percent: float = 99) -> ColourTones:
    """Tones that fill the range without changing the bands' balance.

    Each band starts at its own 1st percentile, which takes out haze, and all share the span of
    the widest one, so that bare soil stays reddish and forest green.

    Args:
        rgb: (3, H, W) of the whole image, NaN = no image.
        brightest_percent: Percentile that becomes white.
    """
    seen = rgb[:, np.isfinite(rgb).all(axis=0)]
    if not seen.size:
        return ColourTones((0.0, 0.0, 0.0), 1.0)
    low, high = np.percentile(seen, (1, brightest_percent), axis=1)
    span = float((high - low).max())
    return ColourTones((float(low[0]), float(low[1]), float(low[2])), span if span > 0 else 1.0)


def grey_tones_of(index_hw: ArrayHW) -> GreyTones:
    """Tones from the 1st to the 99th percentile of an index over the whole image."""
    seen = index_hw[np.isfinite(index_hw)]
    if not seen.size:
        return GreyTones(-1.0, 1.0)
    low, high = (float(value) for value in np.percentile(seen, (1, 99)))
    return GreyTones(low, high if high > low else low + 1.0)
