"""What goes into the weights beside the network: spectral indices before it, softmax after it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sluice.base.errors import BandNotFound, ConfigError
from sluice.composite.indices import INDICES
from sluice.models.manifest import ScaledInput

NORMALIZED_DIFFERENCES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "ndvi": (("nir",), ("red",)),
    "ndwi": (("green",), ("nir",)),
    "mndwi": (("green",), ("swir16",)),
    "bsi": (("swir16", "red"), ("nir", "blue")),
    "ndti": (("red",), ("green",)),
}
"""The indices of `composite.indices` as (sum of the first - sum of the others) / (sum of all)."""


class IndexChannels(nn.Module):
    """Adds spectral indices as channels.

    The manifest's scaling is undone first, so that an index is that of reflectance, not of
    scaled numbers. It is held to [-1, 1], and 0 where its denominator is 0: a network must
    never see infinity.
    """

    subtract: Tensor
    divide: Tensor
    above: Tensor
    below: Tensor

    def __init__(self, inputs: Sequence[ScaledInput], indices: Sequence[str]) -> None:
        super().__init__()
        keys = [i.key for i in inputs]
        above = torch.zeros(len(indices), len(keys), 1, 1)
        below = torch.zeros(len(indices), len(keys), 1, 1)
        for row, name in enumerate(indices):
            check_index(name, keys)
            positive, negative = NORMALIZED_DIFFERENCES[name]
            for sign, bands in ((1.0, positive), (-1.0, negative)):
                for band in bands:
                    above[row, keys.index(band)] = sign
                    below[row, keys.index(band)] = 1.0
        # They follow from the manifest: not part of the fitted weights.
        self.register_buffer("above", above, persistent=False)
        self.register_buffer("below", below, persistent=False)
        for name, values in (
            ("subtract", [i.subtract for i in inputs]),
            ("divide", [i.divide for i in inputs]),
        ):
            line = torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1)
            self.register_buffer(name, line, persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """(N, inputs, H, W) in the model's units to (N, inputs + indices, H, W)."""
        # Mixed precision would leave an index of dark water two digits.
        with torch.autocast(image.device.type, enabled=False):
            values = image.float() * self.divide + self.subtract
            above = nn.functional.conv2d(values, self.above)
            below = nn.functional.conv2d(values, self.below)
            safe = torch.where(below == 0, torch.ones_like(below), below)
            index = torch.where(below == 0, torch.zeros_like(above), above / safe)
            return torch.cat((image.float(), index.clamp(-1, 1)), dim=1)


def check_index(name: str, keys: Sequence[str]) -> None:
    """Refuse an index that cannot be computed.

    Raises:
        ConfigError: No such index.
        BandNotFound: A band that it needs is no input.
    """
    if name not in NORMALIZED_DIFFERENCES:
        raise ConfigError(f"index {name!r} is not known; use {', '.join(NORMALIZED_DIFFERENCES)}")
    missing = [band for band in INDICES[name].bands if band not in keys]
    if missing:
        raise BandNotFound.from_missing_and_available(missing, keys, wanted_by=f"index {name}")


class PixelNetwork(nn.Module):
    """Indices, then a network; logits of every pixel."""

    def __init__(
        self, core: nn.Module, inputs: Sequence[ScaledInput], indices: Sequence[str]
    ) -> None:
        super().__init__()
        self.indices = IndexChannels(inputs, indices) if indices else nn.Identity()
        self.core = core

    def forward(self, image: Tensor) -> Tensor:
        """(N, inputs, H, W) in the model's units to (N, classes, H, W) logits."""
        logits: Tensor = self.core(self.indices(image))
        return logits


class Probabilities(nn.Module):
    """The softmax over classes: what a package of weights gives."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, classes, H, W) that sum to 1."""
        return torch.softmax(self.network(image), dim=1)
