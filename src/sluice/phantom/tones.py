"""How the same place differs from date to date, other than by cloud."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import numpy as np

from sluice.base.arrays import ArrayBHW, ArrayHW
from sluice.phantom.canvas import Canvas, block_mean
from sluice.phantom.fields import correlated_noise
from sluice.phantom.scene import NOT_CLEAR
from sluice.phantom.sky import CLOUD_HIGH, CLOUD_MEDIUM, Sky
from sluice.phantom.spectra import BANDS, CLOUD_B

DARKEST = 0.0001
"""Reflectance below this would be stored as 0, which is no reflectance."""
BRIGHT_FROM = 0.11
"""Mean reflectance of blue, green and red from which a classification may see cloud."""

# Answer of each band to a dry spell: of grass, and of forest leaves.
_GRASS = np.array([5, 6, 4, 12, 8, -2, -4, -5, -4, -3, 8, 14], dtype=np.float32) / 100
_LEAVES = np.array([0, 0, -1, 1, -1, -3, -3, -3, -3, -3, 1, 1], dtype=np.float32) / 100
_DRIEST_DAY = 240  # late August south of the equator


def season_factor(land_bhw: ArrayBHW, index: Sequence[int], day: dt.date) -> ArrayBHW:
    """What the season makes of the land: slight, and only where plants grow.

    Args:
        land_bhw: (12, H, W) reflectance.
        index: Places of the bands that are wanted.
        day: Its place in the year counts.

    Returns:
        (B, H, W) factor around 1; the same day of another year gives the same.
    """
    red, nir, swir = (land_bhw[BANDS.index(name)] for name in ("B04", "B08", "B11"))
    green = np.clip((nir - red) / (nir + red) * 2 - 0.5, 0, 1)
    grass = green * np.clip((swir - 0.17) / 0.15, 0, 1)
    phase = 2 * np.pi * (day.timetuple().tm_yday - _DRIEST_DAY) / 365.25
    dry = np.float32(np.cos(phase))
    weights = (_GRASS[index], _LEAVES[index])
    answer = weights[0][:, None, None] * grass + weights[1][:, None, None] * (green - grass)
    return np.asarray(1 + dry * answer, dtype=np.float32)


def call_bright_ground_cloud(
    scl_hw: np.ndarray, bright_bhw: ArrayBHW, strength: float, rng: np.random.Generator
) -> np.ndarray:
    """Take bright ground for cloud, as Sen2Cor does with ponds, sandbars and bare mines.

    The brighter and the less green, the more often: at strength 1 ground whose mean of blue,
    green and red is 0.12 on one date in twenty, 0.16 on half of them, 0.2 on four of five, 0.25
    on nearly all. How often Sen2Cor really errs differs from place to place; this is no
    measurement of it.

    Args:
        scl_hw: (H, W) true classification, of blocks of 20 m.
        bright_bhw: (4, H, W) blue, green, red and nir of the ground without cloud.
        strength: 0 is not at all.
        rng: Source of chance: a date is more or less prone to it, and it differs from place to
            place.

    Returns:
        (H, W) classification in which such ground is 8 or 9.
    """
    blue, green, red, nir = block_mean(bright_bhw, 2)
    visible = (blue + green + red) / 3
    ndvi = (nir - red) / np.maximum(nir + red, 1e-6)
    mood = rng.normal(0, 0.5)
    patches = 0.5 * correlated_noise(visible.shape, rng, scale_px=3, slope=3)
    score = (visible - 0.16) / 0.035 + mood + patches + 2 * (strength - 1)
    wrong = (visible > BRIGHT_FROM) & (ndvi < 0.25) & (score > 0)
    named = np.where(score > 1.5, CLOUD_HIGH, CLOUD_MEDIUM)
    wrong, named = (a.repeat(2, axis=0).repeat(2, axis=1) for a in (wrong, named))
    wrong &= ~np.isin(scl_hw, NOT_CLEAR)
    return np.where(wrong, named, scl_hw).astype(np.uint8)


def cloud_brightness(canvas: Canvas) -> ArrayHW:
    """How bright cumulus is, relative to `CLOUD_B`: thin cloud is grey, thick cloud white.

    Optical thickness is lognormal around 10, half of its spread between dates and half within.

    Args:
        canvas: Gives size and chance; nothing is painted.

    Returns:
        (H, W) float32 factor.

    Source:
        Reflectance of a thickness: Lacis and Hansen 1974, "A parameterization for the
        absorption of solar radiation in the Earth's atmosphere", equation for thick clouds.
        Thickness: rounded from King et al. 2013, doi:10.1109/TGRS.2012.2227333.
    """
    logarithm = np.log(10) + 0.6 * canvas.rng.normal() + 0.6 * canvas.noise(40, 3.5)
    thickness = np.exp(logarithm)
    reflectance = 0.13 * thickness / (1 + 0.13 * thickness)
    return np.asarray(reflectance / CLOUD_B[0], dtype=np.float32)


def cirrus_band(sky: Sky) -> ArrayHW:
    """Top-of-atmosphere reflectance of band 10 (1.37 micrometres).

    Water vapour hides the ground and most of the low clouds; high ice shows.

    Returns:
        (H, W) float32.

    Source:
        Gao et al. 1993, doi:10.1029/93GL00106, for the principle.
    """
    return np.asarray(0.0012 + 0.13 * sky.thin_hw + 0.006 * sky.opacity_hw, dtype=np.float32)
