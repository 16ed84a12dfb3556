"""The chip detector's network: valid convolutions only, so that it slides without seams.

No layer pads, and nothing is normalised over the window. Therefore running the network over a
whole tile gives, at every `stride_px`-th pixel, the very score that cutting the window there,
with its context, and running it alone would give.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the name that everybody uses
from torch import Tensor, nn


@dataclass(frozen=True)
class NetworkShape:
    """What fixes the architecture."""

    bands: int = 3
    widths: tuple[int, int, int, int] = (16, 32, 64, 128)
    """Channels at full, 1/2, 1/4 and 1/8 of the resolution."""
    dropout: float = 0.3

    window_px = 48
    """Side of the window that a score judges."""
    context_px = 16
    """Pixels beyond each of its sides that the network looks at too."""
    sight_px = window_px + 2 * context_px
    """Follows from the layers, which leave over the last 2 px."""
    stride_px = 8
    """Pixels between scores of a dense pass."""


class ChipNetwork(nn.Module):
    """80 x 80 px in, one logit out; larger images give a grid of logits.

    A bag of local features: each sees 46 px, and a window's logit is the mean of nine local ones,
    16 px apart. So that pixels near the window's edge count as much as others, those look
    beyond it. Windows share them: their grid is as fine as that of the windows.
    """

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        self.shape = shape
        full, half, quarter, eighth = shape.widths
        self.features = nn.Sequential(
            *_block(shape.bands, full),  # 80 -> 78 -> 39
            *_block(full, half),  # -> 37 -> 18
            *_block(half, quarter),  # -> 16 -> 8
            *_block(quarter, eighth, pool_stride=1),  # -> 6 -> 5
        )
        # Whole features are dropped, as if from their mean over the window.
        self.dropout = nn.Dropout2d(shape.dropout)
        self.logit = nn.Conv2d(eighth, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Score windows.

        Args:
            image: (N, bands, H, W) float32 in 0-1.

        Returns:
            (N, 1, (H - 80) // 8 + 1, (W - 80) // 8 + 1) logits.
        """
        local = self.logit(self.dropout(self.describe(image)))
        return F.conv2d(local, local.new_full((1, 1, 3, 3), 1 / 9), dilation=2)

    def describe(self, image: Tensor) -> Tensor:
        """Local features: (N, widths[3], h, w), 5 x 5 of an image of 80 px; `image` as above."""
        features: Tensor = self.features((image - 0.33) / 0.2)
        return features

    def turned(self, quarter_turns: int) -> ChipNetwork:
        """A copy with turned kernels: it sees an image as this one sees it turned.

        But for the row and column that pooling leaves over, which stay where they are. Training
        turns chips at random, and yet no network scores a chip and the turned chip quite alike:
        the mean over turns is better than either.

        Args:
            quarter_turns: 0 to 3.
        """
        other = copy.deepcopy(self)
        for layer in other.modules():
            if isinstance(layer, nn.Conv2d):
                kernels = torch.rot90(layer.weight.detach(), quarter_turns, (2, 3))
                layer.weight = nn.Parameter(kernels.contiguous())
        return other


def _block(inputs: int, outputs: int, pool_stride: int = 2) -> tuple[nn.Module, ...]:
    # Pooling first leaves a quarter of the values to normalise: half of a fit's time.
    return (
        nn.Conv2d(inputs, outputs, 3, bias=False),
        nn.MaxPool2d(2, pool_stride),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class Ensemble(nn.Module):
    """The mean of the members' probabilities."""

    PREFIX = "members"
    """Of the names of its tensors; then comes the member's number."""

    def __init__(self, members: list[ChipNetwork]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, image: Tensor) -> Tensor:
        """Scores in 0-1, shaped as the members' logits."""
        logits = torch.stack([member(image) for member in self.members])
        return torch.sigmoid(logits).mean(dim=0)
