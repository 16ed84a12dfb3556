"""Augmentation of chips of any bands, masks with them, in which physics stays what it was.

Every chip is turned and mirrored. Optical bands are seen through another sky: with another gain
(sun, sensor) and with haze, which adds most at short wavelengths. Decibels, heights and whatever
else is no reflectance keep their values. Parts are hidden as a cloud would hide them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sluice.training.losses import UNLABELLED
from sluice.training.scaling import WAVELENGTH_UM, model_input

_HAZE_AT_550_NM = 0.05
"""Reflectance that the thickest haze adds there."""
_ANGSTROM_EXPONENT = 1.3
"""How haze falls with wavelength; of common aerosols."""


def augment_chips(
    images: Tensor,
    masks: Tensor | None,
    bands: Sequence[str],
    generator: torch.Generator,
    *,
    light: float,
    gaps: float,
) -> tuple[Tensor, Tensor | None]:
    """Change each chip of a batch in its own way.

    Args:
        images: (N, B, H, W) float32 reflectance or dB, square, NaN = not observed.
        masks: (N, H, W) uint8, 255 = unlabelled; None where chips are labelled as wholes.
        bands: `ModelInput.key` of each band.
        generator: Of random numbers.
        light: Of gain and haze, 0 to 1.
        gaps: Share of chips with a hidden part, 0 to 1.

    Returns:
        Images and masks of the same shape; masks moved as their images, 255 where hidden.
    """
    images, masks = turn(images, masks, generator)
    if light:
        images = relight(images, bands, light, generator)
    return hide(images, masks, gaps, generator) if gaps else (images, masks)


def turn(
    images: Tensor, masks: Tensor | None, generator: torch.Generator
) -> tuple[Tensor, Tensor | None]:
    """Turn each chip by quarters and mirror half of them: all eight are equally likely."""
    ways = torch.randint(8, (len(images),), generator=generator).tolist()
    moved = torch.stack([_turned(image, way) for image, way in zip(images, ways, strict=True)])
    if masks is None:
        return moved, None
    return moved, torch.stack([_turned(mask, way) for mask, way in zip(masks, ways, strict=True)])


def _turned(chip: Tensor, way: int) -> Tensor:
    turned = torch.rot90(chip, way % 4, dims=(-2, -1))
    return turned.flip(-1) if way >= 4 else turned


def relight(
    images: Tensor, bands: Sequence[str], light: float, generator: torch.Generator
) -> Tensor:
    """Other gain and haze for optical bands; the others stay as they are."""
    n = len(images)
    optical = [k for k, key in enumerate(bands) if model_input(key).band in WAVELENGTH_UM]
    if not optical:
        return images
    shape = (n, len(optical), 1, 1)
    common = _uniform((n, 1, 1, 1), generator)
    gain = torch.exp(light * (0.25 * common + 0.1 * _uniform(shape, generator)))
    thickness = light * torch.rand(n, 1, 1, 1, generator=generator)
    hazy = torch.rand(n, 1, 1, 1, generator=generator) < 0.5
    wavelengths = torch.tensor([WAVELENGTH_UM[model_input(bands[k]).band] for k in optical])
    spectrum = (_HAZE_AT_550_NM * (wavelengths / 0.55) ** -_ANGSTROM_EXPONENT).view(1, -1, 1, 1)
    changed = images.clone()
    # Haze adds its own light and dims what lies below it.
    veiled = images[:, optical] * gain * (1 - 0.2 * thickness * hazy) + thickness * hazy * spectrum
    changed[:, optical] = veiled
    return changed


def hide(
    images: Tensor, masks: Tensor | None, gaps: float, generator: torch.Generator
) -> tuple[Tensor, Tensor | None]:
    """Hide a rectangle of up to a fifth of some chips, in all bands: not observed."""
    n, _, height, width = images.shape
    draws = torch.rand(5, n, 1, 1, generator=generator)
    share, aspect = 0.02 + 0.18 * draws[0], torch.exp(2 * draws[1] - 1)
    tall = (share * aspect).sqrt().clamp(max=1) * height
    wide = (share / aspect).sqrt().clamp(max=1) * width
    top, left = draws[2] * (height - tall), draws[3] * (width - wide)
    rows, cols = torch.arange(height).view(1, -1, 1), torch.arange(width).view(1, 1, -1)
    inside = (rows >= top) & (rows < top + tall) & (cols >= left) & (cols < left + wide)
    hidden = inside & (draws[4] < gaps)
    images = images.masked_fill(hidden.unsqueeze(1), torch.nan)
    return images, None if masks is None else masks.masked_fill(hidden, UNLABELLED)


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Between -1 and 1."""
    return 2 * torch.rand(shape, generator=generator) - 1
