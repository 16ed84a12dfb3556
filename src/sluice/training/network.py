"""The chip detector's network: valid convolutions only, so that it slides without seams.

No layer pads, and nothing is normalised over the window. Therefore running the network over a
whole tile gives, at every `stride_px`-th pixel, the very score that cutting the window there
and running it alone would give.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the name that everybody uses
from torch import Tensor, nn


@dataclass(frozen=True)
class NetworkShape:
    """What fixes the architecture."""

    bands: int = 3
    widths: tuple[int, int, int] = (32, 64, 128)
    """Channels at 1/2, 1/4 and again 1/4 of the resolution."""
    head: int = 96
    dropout: float = 0.3

    window_px = 48
    """Side of the window that gives one score; follows from the layers."""
    stride_px = 8
    """Pixels between scores of a dense pass."""


class _ConvNorm(nn.Sequential):
    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, bias=False), nn.BatchNorm2d(outputs)
        )


class _Residual(nn.Module):
    """Two valid 3 x 3 convolutions; the shortcut is cropped by the two pixels they eat."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first = _ConvNorm(inputs, outputs, 3)
        self.second = _ConvNorm(outputs, outputs, 3, stride)
        self.shortcut = nn.Identity() if inputs == outputs else _ConvNorm(inputs, outputs, 1)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        through = self.second(F.relu(self.first(x)))
        kept = slice(2, -2, self.stride)
        return F.relu(through + self.shortcut(x[:, :, kept, kept]))


class _Mixer(nn.Module):
    """A residual pair of 1 x 1 convolutions: depth that eats no pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.widen = _ConvNorm(channels, 2 * channels, 1)
        self.narrow = _ConvNorm(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.narrow(F.relu(self.widen(x))))


class ChipNetwork(nn.Module):
    """48 x 48 px in, one logit out; larger images give a grid of logits.

    Texture and colour come from features of 34 px, averaged and maximised over the window; the
    layout comes from features that see all of it.
    """

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        self.shape = shape
        half, quarter, deep = shape.widths
        self.stem = _ConvNorm(shape.bands, half, 6, 2)  # 48 -> 22
        self.fine = nn.Sequential(_Residual(half, half), _Mixer(half))  # -> 18, pooled to 9
        self.middle = nn.Sequential(_Residual(half, quarter), _Mixer(quarter))  # -> 5
        # Features stand every 4 px, and every second one is a window of its own.
        self.layout = nn.Sequential(_Residual(quarter, deep, 2), _Mixer(deep))  # -> 1
        self.dropout = nn.Dropout(shape.dropout)
        self.hidden = nn.Conv2d(2 * quarter + deep, shape.head, 1)
        self.logit = nn.Conv2d(shape.head, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Score windows.

        Args:
            image: (N, bands, H, W) float32 in 0-1.

        Returns:
            (N, 1, (H - 48) // 8 + 1, (W - 48) // 8 + 1) logits.
        """
        x = F.relu(self.stem((image - 0.33) / 0.2))
        middle = self.middle(F.max_pool2d(self.fine(x), 2))
        pooled = [F.avg_pool2d(middle, 5, 2), F.max_pool2d(middle, 5, 2)]
        features = torch.cat([*pooled, self.layout(middle)], dim=1)
        hidden = F.relu(self.hidden(self.dropout(features)))
        logit: Tensor = self.logit(self.dropout(hidden))
        return logit


class Ensemble(nn.Module):
    """The mean of the members' probabilities."""

    def __init__(self, members: list[ChipNetwork]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, image: Tensor) -> Tensor:
        """Scores in 0-1, shaped as the members' logits."""
        logits = torch.stack([member(image) for member in self.members])
        return torch.sigmoid(logits).mean(dim=0)
