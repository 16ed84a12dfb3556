"""From "there is a mine in this square" to a mask of where it is likely to be.

Nobody outlines mines by the thousand, but whole squares are labelled so. Two cues say where in a
square the mine is: workings are redder than the plants around them, and a detector that pools
scores of small fields tells which of them it took for a mine. What neither settles stays without a
label, and a model that learns from such masks sees the same ground of squares without mines too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from sluice.base.arrays import ArrayHW
from sluice.labels.dataset import UNLABELLED

MaskHW = npt.NDArray[np.uint8]
_TOUCHING = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True)
class CueRule:
    """How the cues become a mask. Set by looking at chips, before any outline was drawn by eye."""

    plants: tuple[float, float] = (-0.30, -0.08)
    """Between which redness (NDTI) plants lie, in top-of-atmosphere reflectance."""
    plants_percent: float = 15.0
    """Of a chip's pixels, that are taken for plants."""
    bare_percent: float = 97.0
    """Percentile of a chip's redness that is taken for wholly bare ground."""
    least_contrast: float = 0.12
    """Between plants and bare ground; a chip of less is not stretched further."""
    other_below: float = 0.42
    mine_above: float = 0.55
    """Share of the way from plants to bare ground, between which a pixel is left without a label.
    The border of a working lies where it is half-way."""
    doubted_below: float = 0.35
    """Mean score of the fields over a group of bare pixels below which it is left out."""
    other_group_below: float = 0.15
    """Below which it is no mine: a road, a sandbar."""


def redness(red: ArrayHW, green: ArrayHW) -> ArrayHW:
    """(red - green) / (red + green), (H, W), of bands smoothed by half a pixel; NaN-free input."""
    red, green = (ndimage.gaussian_filter(band, 0.5) for band in (red, green))
    ratio: ArrayHW = (red - green) / (red + green + np.float32(1e-4))
    return ratio


def mask_from_cues(
    red: ArrayHW, green: ArrayHW, fields: ArrayHW, rule: CueRule | None = None
) -> MaskHW:
    """Mask a chip that is labelled as a mine.

    Args:
        red: (H, W) reflectance, NaN where not observed.
        green: Likewise.
        fields: (H, W) score of the detector's field around each pixel, 0-1.
        rule: See there.

    Returns:
        (H, W) uint8: 1 mine, 0 other, 255 where the cues do not tell or nothing was observed.
    """
    rule = rule or CueRule()
    absent = ~(np.isfinite(red) & np.isfinite(green))
    if absent.all():
        return np.full(red.shape, UNLABELLED, np.uint8)
    index = redness(*(np.where(absent, np.nanmedian(band), band) for band in (red, green)))
    plants = float(np.clip(np.percentile(index, rule.plants_percent), *rule.plants))
    bare = max(float(np.percentile(index, rule.bare_percent)), plants + rule.least_contrast)
    share = (index - plants) / (bare - plants)
    mask = np.full(red.shape, UNLABELLED, np.uint8)
    mask[share < rule.other_below] = 0
    mask[share > rule.mine_above] = 1
    groups, count = ndimage.label(share > (rule.other_below + rule.mine_above) / 2, _TOUCHING)
    if count:
        means = np.append(1.0, ndimage.mean(fields, groups, np.arange(1, count + 1)))
        mask[(means < rule.doubted_below)[groups]] = UNLABELLED
        mask[(means < rule.other_group_below)[groups]] = 0
    mask[absent] = UNLABELLED
    return mask


def spread_fields(scores: ArrayHW, first_px: float, step_px: float, side: int) -> ArrayHW:
    """Bring scores of fields to pixels, bilinear; beyond the outermost fields theirs hold.

    Args:
        scores: (fields down, fields across).
        first_px: Middle of the first field, in pixels from the corner.
        step_px: From a field to the next.
        side: Of the chip, in pixels.

    Returns:
        (side, side) float32.
    """
    places = (np.arange(side) + 0.5 - first_px) / step_px
    rows, cols = np.meshgrid(places, places, indexing="ij")
    spread: ArrayHW = ndimage.map_coordinates(
        scores, [rows, cols], order=1, mode="nearest", output=np.float32
    )
    return spread
