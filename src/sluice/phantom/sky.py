"""What lies between the ground and the file: clouds, their shadows, and the instrument."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from sluice.base.arrays import ArrayBHW
from sluice.base.sensors import SENSORS
from sluice.phantom.canvas import Canvas, block_mean
from sluice.phantom.spectra import BANDS, CLOUD_B, SHADOW_B

CLOUD_SHADOW, CLOUD_MEDIUM, CLOUD_HIGH, THIN_CIRRUS = 3, 8, 9, 10
"""Classes of the scene classification layer (SCL)."""

# Point spread of 10 m bands as a Gaussian's sigma in pixels: a modulation transfer of about 0.2
# at the Nyquist frequency, in the range that ESA's quality reports give for MSI.
_BLUR_PX = 0.57
_NOISE_SD = 0.0008
_SHADOW_OFFSET_PX = (14, 20)


def paint_clouds(canvas: Canvas, share: float, cirrus_share: float) -> None:
    """Fair-weather cumulus with shadows to the south-west, and a veil of cirrus.

    SCL becomes 9 in clouds, 8 at their edges, 10 under the veil, 3 in shadow: exactly where
    this puts them.

    Args:
        canvas: Painted in place.
        share: Part of the scene under cumulus, 0-1.
        cirrus_share: Part of the scene under thin cirrus, 0-1.
    """
    puffs = canvas.noise(canvas.size_px / 25, 3.8)
    if share > 0:
        opacity = np.clip((puffs - float(np.quantile(puffs, 1 - share))) * 3.5, 0, 1)
    else:
        opacity = np.zeros(canvas.shape, dtype=np.float32)
    rows, cols = _SHADOW_OFFSET_PX
    shade = ndimage.gaussian_filter(ndimage.shift(opacity, (rows, -cols), order=0), 1.5)
    dimming = 1 - shade[None] * (1 - SHADOW_B.astype(np.float32))[:, None, None]
    canvas.reflectance_bhw *= dimming
    canvas.scl_hw[shade > 0.1] = CLOUD_SHADOW
    veil = canvas.noise(canvas.size_px / 8, 4)
    cut = float(np.quantile(veil, 1 - cirrus_share)) if cirrus_share > 0 else np.inf
    thin = np.clip((veil - cut) * 0.25, 0, 0.22)
    canvas.reflectance_bhw += thin * (0.55 - canvas.reflectance_bhw)
    canvas.scl_hw[thin > 0.01] = THIN_CIRRUS
    billow = 1 + 0.12 * canvas.noise(3, 3)
    cloud_bhw = CLOUD_B.astype(np.float32)[:, None, None] * billow
    canvas.reflectance_bhw += opacity * (cloud_bhw - canvas.reflectance_bhw)
    canvas.scl_hw[opacity > 0.02] = CLOUD_MEDIUM
    canvas.scl_hw[opacity > 0.5] = CLOUD_HIGH


def observe(canvas: Canvas) -> ArrayBHW:
    """Reflectance as the instrument records it: blurred, noisy, each band at its own pixel size.

    Returns:
        (B, H, W) float32 at 10 m; bands of 20 and 60 m repeat their value over the pixels they
        cover.
    """
    sensor = SENSORS["s2-l2a"]
    out = np.empty_like(canvas.reflectance_bhw)
    for index, name in enumerate(BANDS):
        size = round(sensor.band(name).gsd_m / 10)
        blurred = ndimage.gaussian_filter(canvas.reflectance_bhw[index], _BLUR_PX * size)
        coarse = block_mean(blurred, size)
        noise = canvas.rng.standard_normal(coarse.shape, dtype=np.float32)
        # Shot noise grows with the light, read-out noise does not.
        coarse += noise * np.sqrt(_NOISE_SD**2 + (0.004 * coarse) ** 2)
        out[index] = np.repeat(np.repeat(coarse, size, axis=0), size, axis=1)
    # Surface reflectance below 0.0001 would be stored as 0 or less, which is no reflectance.
    return np.maximum(out, 0.0001)
