"""Boxes in degrees that meet another one."""

from __future__ import annotations

import numpy as np

from sluice.base.store import BBox
from sluice.store.database import sides_of


def boxes_meet(boxes: np.ndarray, bbox: BBox) -> np.ndarray:
    """Which boxes meet one: (N, 4) to (N,); where west > east, either crosses 180 degrees."""
    lon_min, lat_min, lon_max, lat_max = boxes.T
    crosses = lon_min > lon_max
    some_cross = bool(crosses.any())
    found = np.zeros(len(boxes), dtype=bool)
    for west, south, east, north in sides_of(bbox):
        begins, ends = lon_min <= east, lon_max >= west
        side = begins & ends
        if some_cross:
            side |= crosses & (begins | ends)
        side &= lat_min <= north
        side &= lat_max >= south
        found |= side
    return found
