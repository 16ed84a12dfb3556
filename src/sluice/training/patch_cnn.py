"""The family of networks that judge windows: Amazon Mining Watch's, and our own.

Source:
    Amazon Mining Watch, github.com/earthrise-media/mining-detector: the published `.h5` files,
    whose layers and numbers of weights these have. Where a published network ends in a softmax
    of two, ours ends in a sigmoid, which says the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import JsonValue
from torch import Tensor, nn

from sluice.training.network import ChipNetwork, NetworkShape

_DROPOUT = 0.3


@dataclass(frozen=True)
class Architecture:
    """A network by name, and how it was published to be used."""

    name: str
    window_px: int
    context_px: int
    """Pixels beyond each side of the window that it looks at too."""
    scaling: Literal["standard", "clip"]
    clip_at: float
    """Reflectance that becomes 1, where scaling is `clip`."""
    dense_stride_px: int | None
    """Where the network slides over larger images: pixels between scores."""
    build: Callable[[int], nn.Module]
    """From the number of bands to a network of one logit a window."""

    @property
    def sight_px(self) -> int:
        """Side of the square that it looks at for one score."""
        return self.window_px + 2 * self.context_px

    @property
    def record(self) -> dict[str, JsonValue]:
        """What `training.network` of a manifest says."""
        record: dict[str, JsonValue] = {"family": "cnn", "architecture": self.name}
        # Networks of one name that look farther than they once did are others.
        return record | ({"context_px": self.context_px} if self.context_px else {})


def _amw_2021(bands: int) -> nn.Module:
    """44 px; Conv16, MaxPool3, Conv32, MaxPool2, Dense 64-64-64."""
    return nn.Sequential(
        *_convolutions(bands, (16,)),
        nn.MaxPool2d(3),
        *_convolutions(16, (32,)),
        nn.MaxPool2d(2),
        nn.Flatten(),
        *_dense(7 * 7 * 32, (64, 64, 64)),
    )


def _amw_2024(bands: int) -> nn.Module:
    """48 px; three blocks of three Conv32, Dense 64-64-32."""
    return nn.Sequential(
        *_convolutions(bands, (32, 32, 32)),
        nn.MaxPool2d(2),
        *_convolutions(32, (32, 32, 32)),
        nn.MaxPool2d(2),
        *_convolutions(32, (32, 32, 32)),
        nn.MaxPool2d(3),
        nn.Flatten(),
        *_dense(4 * 4 * 32, (64, 64, 32)),
    )


def _amw_2026(bands: int) -> nn.Module:
    """48 px; three blocks of three Conv with normalisation, 32, 64 and 128 filters."""
    layers: list[nn.Module] = []
    inputs = bands
    for filters in (32, 64, 128):
        layers += [*_convolutions(inputs, (filters,) * 3, normalised=True), nn.MaxPool2d(2)]
        inputs = filters
    return nn.Sequential(*layers, nn.Flatten(), *_dense(6 * 6 * 128, (64, 64, 32)))


def _chip_network(bands: int) -> nn.Module:
    return ChipNetwork(NetworkShape(bands=bands))


ARCHITECTURES: dict[str, Architecture] = {
    architecture.name: architecture
    for architecture in (
        Architecture("amw-2021", 44, 0, "standard", 1.0, None, _amw_2021),
        Architecture("amw-2024", 48, 0, "clip", 1.0, None, _amw_2024),
        Architecture("amw-2026", 48, 0, "clip", 1.0, None, _amw_2026),
        Architecture("amw-2026-100k", 48, 0, "clip", 1.0, None, _amw_2024),
        Architecture(
            "chip-network",
            NetworkShape.window_px,
            NetworkShape.context_px,
            "clip",
            0.3,
            NetworkShape.stride_px,
            _chip_network,
        ),
    )
}
"""By the name that `--architecture` takes."""


class WindowEnsemble(nn.Module):
    """The mean of the members' probabilities: what a package of weights gives."""

    PREFIX = "members"
    """Of the names of its tensors; then comes the member's number."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, image: Tensor) -> Tensor:
        """Scores in 0-1, shaped as the members' logits."""
        logits = torch.stack([member(image) for member in self.members])
        return torch.sigmoid(logits).mean(dim=0)


def _convolutions(
    inputs: int, filters: Sequence[int], *, normalised: bool = False
) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for outputs in filters:
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
        # Behind the activation, as in the published network.
        layers += [nn.BatchNorm2d(outputs)] if normalised else []
        inputs = outputs
    return layers


def _dense(inputs: int, units: Sequence[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for outputs in units:
        layers += [nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(_DROPOUT)]
        inputs = outputs
    return [*layers, nn.Linear(inputs, 1)]
