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
    widths: tuple[int, int, int, int] = (16, 32, 64, 128)
    """Channels at full, 1/2 and again 1/2, and 1/4 of the resolution."""
    dropout: float = 0.3

    window_px = 48
    """Side of the window that gives one score; follows from the layers."""
    stride_px = 8
    """Pixels between scores of a dense pass."""


class ChipNetwork(nn.Module):
    """48 x 48 px in, one logit out; larger images give a grid of logits.

    A bag of local features: each sees 24 px, they stand every 4 px, and a window's logit is
    linear in their mean. Where in the window a pond lies does not matter, and 24 px of another
    region look more familiar than 48 do.
    """

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        self.shape = shape
        full, half, middle, quarter = shape.widths
        self.features = nn.Sequential(
            *_conv(shape.bands, full, 3),  # 48 -> 46
            *_conv(full, half, 4, stride=2),  # -> 22
            *_conv(half, middle, 3),
            *_conv(middle, middle, 3),  # -> 18
            nn.MaxPool2d(2),  # -> 9
            *_conv(middle, quarter, 3),  # -> 7
            *_conv(quarter, quarter, 1),
        )
        self.dropout = nn.Dropout(shape.dropout)
        self.logit = nn.Conv2d(quarter, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Score windows.

        Args:
            image: (N, bands, H, W) float32 in 0-1.

        Returns:
            (N, 1, (H - 48) // 8 + 1, (W - 48) // 8 + 1) logits.
        """
        features = self.features((image - 0.33) / 0.2)
        # Every second position is a window of its own.
        mean = F.avg_pool2d(features, 7, 2)
        logit: Tensor = self.logit(self.dropout(mean))
        return logit


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(inputs, outputs, kernel, stride, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class Ensemble(nn.Module):
    """The mean of the members' probabilities."""

    def __init__(self, members: list[ChipNetwork]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, image: Tensor) -> Tensor:
        """Scores in 0-1, shaped as the members' logits."""
        logits = torch.stack([member(image) for member in self.members])
        return torch.sigmoid(logits).mean(dim=0)
