"""Augmentation that keeps reflectance meaningful.

A chip may be turned, mirrored, shifted and zoomed a little, and seen through another sky: with
another gain (sun, sensor), with path radiance taken away (surface instead of top-of-atmosphere
reflectance), with haze, blurred, with noise, or with a part not observed.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

# What a clear tropical atmosphere adds to red, green and blue reflectance, as a share of the
# scale's top (0.3): the most that removing it may take away.
_PATH_RADIANCE = (0.06, 0.09, 0.17)
_HAZE_COLOUR = (0.55, 0.60, 0.65)


EDGE_SHARE = 0.25
"""Of `hide_surroundings`, for networks that look beyond their window."""


class Augmentation(BaseModel):
    """How strongly chips are changed, 0 to 1 for each kind of change."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shape: float = Field(default=0.45, ge=0, le=1)
    """Zoom and shift; turning and mirroring are always on."""
    light: float = Field(default=0.1, ge=0, le=1)
    """Gain, path radiance, haze, contrast, noise, blur."""
    gaps: float = Field(default=0.1, ge=0, le=1)
    """Parts not observed."""


def augment(
    images: Tensor,
    fill: Tensor,
    strength: Augmentation,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Change each image of a batch in its own way.

    Args:
        images: (N, 3, H, W) red, green, blue float32 in 0-1.
        fill: (3,) value that stands for pixels that were not observed.
        strength: Of each kind of change.
        generator: Of random numbers; None takes torch's own.

    Returns:
        Same shape, in 0-1.
    """
    images = _move(images, strength.shape, generator)
    if strength.light:
        images = _relight(images, strength.light, generator)
    return _hide(images, fill, strength.gaps, generator) if strength.gaps else images


def surround(images: Tensor, px: int) -> Tensor:
    """Give images the surroundings that they came without: mirrored ones.

    Args:
        images: (N, B, H, W), H and W above `px`.
        px: Rows and columns to add at each side.

    Returns:
        (N, B, H + 2 px, W + 2 px).
    """
    return F.pad(images, (px, px, px, px), mode="reflect")


def hide_surroundings(
    images: Tensor,
    fill: Tensor,
    px: int,
    share: float,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Blank a part of the surroundings of some images, as at the edge of what was observed.

    Args:
        images: (N, B, H, W) with `px` rows and columns of surroundings at each side.
        fill: (B,) value that stands for pixels that were not observed.
        px: The most that is blanked of a side.
        share: Chance that an image may lose sides; each of its sides then goes with the same one.
        generator: Of random numbers; None takes torch's own.

    Returns:
        Same shape.
    """
    n, _, height, width = images.shape
    chosen = torch.rand(n, 4, generator=generator) < share
    chosen &= torch.rand(n, 1, generator=generator) < share
    top, bottom, left, right = (
        (torch.rand(n, 4, generator=generator) * px).ceil() * chosen
    ).T.reshape(4, n, 1, 1, 1)
    rows = torch.arange(height).view(1, 1, -1, 1)
    cols = torch.arange(width).view(1, 1, 1, -1)
    hidden = (rows < top) | (rows >= height - bottom) | (cols < left) | (cols >= width - right)
    return torch.where(hidden, fill.view(1, -1, 1, 1), images)


def _uniform(n: int, low: float, high: float, generator: torch.Generator | None) -> Tensor:
    return low + (high - low) * torch.rand(n, 1, 1, 1, generator=generator)


def _sometimes(n: int, share: float, generator: torch.Generator | None) -> Tensor:
    return (torch.rand(n, 1, 1, 1, generator=generator) < share).float()


def _move(images: Tensor, strength: float, generator: torch.Generator | None) -> Tensor:
    n = len(images)
    angle = 2 * math.pi * torch.rand(n, generator=generator)
    zoom = torch.exp((torch.rand(n, generator=generator) - 0.5) * 0.35 * strength)
    shift = (torch.rand(n, 2, generator=generator) - 0.5) * 0.16 * strength
    mirror = torch.where(torch.rand(n, generator=generator) < 0.5, -1.0, 1.0)
    # Half of the chips keep their pixels exactly: interpolation blurs, real windows are sharp.
    exact = torch.rand(n, generator=generator) < 0.5
    angle = torch.where(exact, torch.round(angle / (math.pi / 2)) * (math.pi / 2), angle)
    zoom = torch.where(exact, torch.ones(n), zoom)
    shift = torch.where(exact[:, None], torch.zeros(n, 2), shift)
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    rows = [
        torch.stack([cos * mirror, -sin, shift[:, 0]], 1),
        torch.stack([sin * mirror, cos, shift[:, 1]], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def _relight(images: Tensor, strength: float, generator: torch.Generator | None) -> Tensor:
    n, bands = images.shape[:2]
    per_band = torch.rand(n, bands, 1, 1, generator=generator) - 0.5
    gain = torch.exp(strength * (0.25 * _uniform(n, -1, 1, generator) + 0.2 * per_band))
    path = torch.tensor(_PATH_RADIANCE).view(1, -1, 1, 1)
    removed = path * _uniform(n, 0, strength, generator) * _sometimes(n, 0.5, generator)
    images = (images - removed) * gain
    haze = _uniform(n, 0, 0.25 * strength, generator) * _sometimes(n, 0.25, generator)
    images = images * (1 - haze) + haze * torch.tensor(_HAZE_COLOUR).view(1, -1, 1, 1)
    gamma = torch.exp(0.15 * strength * _uniform(n, -1, 1, generator))
    images = images.clamp(1e-3, 1) ** gamma
    noise = torch.randn(images.shape, generator=generator)
    images = images + 0.012 * strength * noise * _uniform(n, 0, 1, generator)
    blurred = _sometimes(n, 0.15 * strength, generator)
    return (images + blurred * (_blur(images) - images)).clamp(0, 1)


def _blur(images: Tensor) -> Tensor:
    bands = images.shape[1]
    line = torch.tensor([0.25, 0.5, 0.25])
    kernel = (line[:, None] * line[None, :]).expand(bands, 1, 3, 3)
    return F.conv2d(F.pad(images, (1, 1, 1, 1), mode="reflect"), kernel, groups=bands)


def _hide(
    images: Tensor, fill: Tensor, strength: float, generator: torch.Generator | None
) -> Tensor:
    """Blank a rectangle of up to a fifth of the window, as the manifest allows at a scan."""
    n, _, height, width = images.shape
    share = _uniform(n, 0.02, 0.2, generator)
    aspect = torch.exp(_uniform(n, -1, 1, generator))
    tall = (share * aspect).sqrt().clamp(max=1) * height
    wide = (share / aspect).sqrt().clamp(max=1) * width
    top = torch.rand(n, 1, 1, 1, generator=generator) * (height - tall)
    left = torch.rand(n, 1, 1, 1, generator=generator) * (width - wide)
    rows = torch.arange(height).view(1, 1, -1, 1)
    cols = torch.arange(width).view(1, 1, 1, -1)
    inside = (rows >= top) & (rows < top + tall) & (cols >= left) & (cols < left + wide)
    hidden = inside & (_sometimes(n, 0.15 * strength, generator) > 0)
    return torch.where(hidden, fill.view(1, -1, 1, 1), images)
