"""Boxes in degrees that meet another one."""

from __future__ import annotations

import numpy as np

from sluice.base.store import BBox
from sluice.store.database import sides_of


def boxes_meet(boxes: np.ndarray, bbox: BBox) -> np.ndarray:
    """Which boxes meet one that may cross 180 degrees: (N, 4) to (N,)."""
    found = np.zeros(len(boxes), dtype=bool)
    for west, south, east, north in sides_of(bbox):
        found |= (
            (boxes[:, 0] <= east)
            & (boxes[:, 2] >= west)
            & (boxes[:, 1] <= north)
            & (boxes[:, 3] >= south)
        )
    return found
