"""Imagery of one level, brought to another by a line for each band."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sluice.base.arrays import ArrayBHW


def adapt_bands(image_bhw: ArrayBHW, lines: Sequence[tuple[float, float]]) -> ArrayBHW:
    """Bring imagery to what a model was fitted to.

    Args:
        image_bhw: (B, H, W) values, NaN kept.
        lines: (gain, offset) for each band, see `Manifest.adaptation_for`.

    Returns:
        (B, H, W) float32.
    """
    gain, offset = np.asarray(lines, np.float32).T[:, :, None, None]
    adapted: ArrayBHW = image_bhw * gain + offset
    return adapted
