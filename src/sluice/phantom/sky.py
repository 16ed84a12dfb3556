"""What lies between the ground and the file: clouds, their shadows, and the instrument."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from sluice.base.arrays import ArrayBHW, ArrayHW
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


@dataclass(frozen=True)
class Sky:
    """Clouds, shadows and cirrus over a scene, each (H, W) float32."""

    opacity_hw: ArrayHW
    """Of cumulus, 0-1."""
    shade_hw: ArrayHW
    """Depth of the clouds' shadow, 0-1."""
    thin_hw: ArrayHW
    """Opacity of the cirrus veil, 0-0.22."""
    billow_hw: ArrayHW
    """Brightness of cumulus, around 1."""

    def cover(self, reflectance_bhw: ArrayBHW, bands: Sequence[str] = BANDS) -> None:
        """Lay shadow, veil and cloud over the ground.

        Args:
            reflectance_bhw: (B, H, W), changed in place.
            bands: Provider's names of the first axis, `B02`.
        """
        index = [BANDS.index(name) for name in bands]
        shadow = SHADOW_B[index].astype(np.float32)
        dimming = 1 - self.shade_hw[None] * (1 - shadow)[:, None, None]
        reflectance_bhw *= dimming
        reflectance_bhw += self.thin_hw * (0.55 - reflectance_bhw)
        cloud_bhw = CLOUD_B[index].astype(np.float32)[:, None, None] * self.billow_hw
        reflectance_bhw += self.opacity_hw * (cloud_bhw - reflectance_bhw)

    def classify(self, scl_hw: np.ndarray) -> None:
        """Mark sky in a scene classification, in place: exactly where it lies."""
        scl_hw[self.shade_hw > 0.1] = CLOUD_SHADOW
        scl_hw[self.thin_hw > 0.01] = THIN_CIRRUS
        scl_hw[self.opacity_hw > 0.02] = CLOUD_MEDIUM
        scl_hw[self.opacity_hw > 0.5] = CLOUD_HIGH


def draw_sky(
    canvas: Canvas,
    share: float,
    cirrus_share: float,
    *,
    puff_px: float | None = None,
    shadow_offset_px: tuple[int, int] = _SHADOW_OFFSET_PX,
) -> Sky:
    """Cumulus with shadows to the south-west, and a veil of cirrus.

    Args:
        canvas: Gives size and chance; nothing is painted.
        share: Part of the scene under cumulus, 0-1; 1 is overcast without a gap.
        cirrus_share: Part of the scene under thin cirrus, 0-1.
        puff_px: Size of the clouds; a twenty-fifth of the scene without.
        shadow_offset_px: How far shadows fall from their clouds, rows down and columns left.
    """
    puffs = canvas.noise(canvas.size_px / 25 if puff_px is None else puff_px, 3.8)
    if share >= 1:
        opacity = np.ones(canvas.shape, dtype=np.float32)
    elif share > 0:
        opacity = np.clip((puffs - float(np.quantile(puffs, 1 - share))) * 3.5, 0, 1)
    else:
        opacity = np.zeros(canvas.shape, dtype=np.float32)
    rows, cols = shadow_offset_px
    shade = ndimage.gaussian_filter(ndimage.shift(opacity, (rows, -cols), order=0), 1.5)
    veil = canvas.noise(canvas.size_px / 8, 4)
    cut = float(np.quantile(veil, 1 - cirrus_share)) if cirrus_share > 0 else np.inf
    thin = np.clip((veil - cut) * 0.25, 0, 0.22)
    return Sky(opacity, shade, thin, 1 + 0.12 * canvas.noise(3, 3))


def paint_clouds(canvas: Canvas, share: float, cirrus_share: float) -> None:
    """Fair-weather cumulus with shadows to the south-west, and a veil of cirrus.

    SCL becomes 9 in clouds, 8 at their edges, 10 under the veil, 3 in shadow: exactly where
    this puts them.

    Args:
        canvas: Painted in place.
        share: Part of the scene under cumulus, 0-1.
        cirrus_share: Part of the scene under thin cirrus, 0-1.
    """
    sky = draw_sky(canvas, share, cirrus_share)
    sky.cover(canvas.reflectance_bhw)
    sky.classify(canvas.scl_hw)


def observe(canvas: Canvas) -> ArrayBHW:
    """Reflectance as the instrument records it: blurred, noisy, each band at its own pixel size.

    Returns:
        (B, H, W) float32 at 10 m; bands of 20 and 60 m repeat their value over the pixels they
        cover.
    """
    out = np.empty_like(canvas.reflectance_bhw)
    for index, name in enumerate(BANDS):
        out[index] = record_band(canvas.reflectance_bhw[index], name, canvas.rng)
    # Surface reflectance below 0.0001 would be stored as 0 or less, which is no reflectance.
    return np.maximum(out, 0.0001)


def record_band(ground_hw: ArrayHW, name: str, rng: np.random.Generator | None) -> ArrayHW:
    """One band as the instrument records it.

    Args:
        ground_hw: (H, W) reflectance at 10 m.
        name: Provider's name, which gives the pixel size.
        rng: Source of noise; without one there is none.

    Returns:
        (H, W) float32 at 10 m; a band of 20 or 60 m repeats its value over the pixels it covers.
    """
    size = round(SENSORS["s2-l1c"].band(name).gsd_m / 10)
    coarse = block_mean(ndimage.gaussian_filter(ground_hw, _BLUR_PX * size), size)
    if rng is not None:
        noise = rng.standard_normal(coarse.shape, dtype=np.float32)
        # Shot noise grows with the light, read-out noise does not.
        coarse += noise * np.sqrt(_NOISE_SD**2 + (0.004 * coarse) ** 2)
    return np.repeat(np.repeat(coarse, size, axis=0), size, axis=1)
