"""Imagery of one level, brought to another by a line for each band."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sluice.base.arrays import ArrayBHW


def adapt_bands(
    image_bhw: ArrayBHW, lines: Sequence[tuple[float, float]], out: ArrayBHW | None = None
) -> ArrayBHW:
    """Bring imagery to what a model was fitted to.

    Args:
        image_bhw: (B, H, W) values, NaN kept.
        lines: (gain, offset) for each band, see `Manifest.adaptation_for`.
        out: (B, H, W) float32 to write into, may be the image itself; a new one if None.

    Returns:
        (B, H, W) float32.
    """
    gain, offset = np.asarray(lines, np.float32).T[:, :, None, None]
    adapted: ArrayBHW = np.multiply(image_bhw, gain, out=out)
    adapted += offset
    return adapted
