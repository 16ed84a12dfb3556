"""How the looks of a period become one image."""

from __future__ import annotations

from dataclasses import dataclass

from sluice.base.methods import Method


@dataclass(frozen=True)
class Recipe:
    """The settings of a composite; all of them matter to its pixels."""

    method: Method = "median"
    min_looks: int = 1
    """Clear looks that a pixel needs."""
    cloud_margin_px: int = 2
    """Pixels around cloud and shadow that are not trusted either."""
    guard: bool = True
    """Give bright ground back that the cloud layer calls cloud on most dates."""
    speckle: bool = True
    """Smooth the speckle of radar images, with the other dates as witnesses."""
    overcast_px: int = 256
    """Side of the blocks that are left out of a look where hardly anything of them was seen; 0
    to judge pixels alone."""
    sky_weights: str = ""
    """Folder of OmniCloudMask's weights, where scenes name it as their cloud layer."""
