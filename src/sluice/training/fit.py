"""Fitting one network to chips."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import BaseModel, ConfigDict, Field
from safetensors.torch import load_file, save_file
from torch import Tensor

from sluice.base.arrays import FloatArray, IntArray
from sluice.base.errors import DataError
from sluice.base.files import write_whole
from sluice.training.augment import Augmentation, augment
from sluice.training.network import ChipNetwork, NetworkShape


class FitSettings(BaseModel):
    """What a fit depends on, beside the chips."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=60, ge=1)
    chips_per_epoch: int = Field(default=5000, ge=64)
    """All mines, and other chips in proportion to how hard they have been."""
    batch: int = Field(default=64, ge=2)
    learning_rate: float = Field(default=4e-3, gt=0)
    warmup_steps: int = Field(default=200, ge=1)
    weight_decay: float = Field(default=0.02, ge=0)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    label_smoothing: float = Field(default=0.04, ge=0, lt=0.5)
    augmentation: Augmentation = Augmentation()
    widths: tuple[int, int, int] = (32, 64, 128)
    seed: int = 0


@dataclass(frozen=True)
class ChipSet:
    """Chips ready for a network."""

    images_bytes: npt.NDArray[np.uint8]
    """(N, bands, 48, 48), 255 = the top of the manifest's scale."""
    labels: npt.NDArray[np.bool_]
    """(N,), True = mine."""
    fill: tuple[float, ...]
    """Value of unobserved pixels, 0-1 per band; already in `images_bytes`."""

    def images(self, index: IntArray) -> Tensor:
        """(len(index), bands, 48, 48) float32 in 0-1."""
        return torch.from_numpy(self.images_bytes[index]).float() / 255


@dataclass(frozen=True)
class EpochReport:
    """Progress of a fit."""

    epoch: int
    epochs: int
    loss: float
    seconds: float


def fit_network(
    chips: ChipSet,
    index: IntArray,
    settings: FitSettings,
    on_epoch: Callable[[EpochReport], None] | None = None,
) -> ChipNetwork:
    """Fit a network to some of the chips.

    The result is the exponential moving average of the weights. Same chips, settings, thread
    count and machine give the same weights.

    Args:
        chips: All chips.
        index: Which to fit to.
        settings: See there.
        on_epoch: Called after each epoch.

    Returns:
        The network in evaluation mode.

    Raises:
        DataError: One label is missing, or the loss is no finite number any more.
    """
    labels = chips.labels[index]
    if labels.all() or not labels.any():
        raise DataError("training needs chips with mines and without; got one kind only")
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    network = _network(chips, settings)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = torch.optim.swa_utils.AveragedModel(network, avg_fn=_ema, use_buffers=True)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    sampler = _HardNegativeSampler(index, labels, settings, rng)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        max_lr=settings.learning_rate,
        total_steps=settings.epochs * sampler.batches,
        pct_start=min(0.3, settings.warmup_steps / (settings.epochs * sampler.batches)),
        cycle_momentum=False,
    )
    fill = torch.tensor(chips.fill, dtype=torch.float32)
    targets = torch.from_numpy(chips.labels).float()
    targets = targets * (1 - settings.label_smoothing) + settings.label_smoothing / 2
    started = time.monotonic()
    for epoch in range(settings.epochs):
        network.train()
        total = 0.0
        for batch in sampler.epoch():
            images = augment(chips.images(batch), fill, settings.augmentation)
            logits = network(images.contiguous(memory_format=torch.channels_last)).flatten()
            losses = F.binary_cross_entropy_with_logits(logits, targets[batch], reduction="none")
            optimiser.zero_grad(set_to_none=True)
            losses.mean().backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            average.update_parameters(network)
            sampler.learn(batch, losses.detach().numpy())
            total += float(losses.detach().mean())
        mean_loss = total / sampler.batches
        if not math.isfinite(mean_loss):
            raise DataError(
                f"training broke down in epoch {epoch + 1}: the loss is {mean_loss}; "
                f"use a lower learning rate than {settings.learning_rate:g}, and check the chips"
            )
        if on_epoch:
            seconds = time.monotonic() - started
            on_epoch(EpochReport(epoch + 1, settings.epochs, mean_loss, seconds))
    network.load_state_dict(average.module.state_dict())
    network.eval()
    return network


def _network(chips: ChipSet, settings: FitSettings) -> ChipNetwork:
    shape = NetworkShape(len(chips.fill), settings.widths, dropout=settings.dropout)
    return ChipNetwork(shape)


def _ema(averaged: Tensor, current: Tensor, steps: Tensor | int) -> Tensor:
    """An average over about 200 steps, shorter at the start; counters are copied."""
    if not averaged.is_floating_point():
        return current
    decay = min(0.995, (float(steps) + 1) / (float(steps) + 20))
    return decay * averaged + (1 - decay) * current


class _HardNegativeSampler:
    """Every mine in every epoch; other chips as often as they have been mistaken.

    Most places without a mine are plain forest and soon teach nothing.
    """

    _FLOOR = 0.03  # so that an easy chip is still seen now and then
    _MEMORY = 0.6

    def __init__(
        self,
        index: IntArray,
        labels: npt.NDArray[np.bool_],
        settings: FitSettings,
        rng: np.random.Generator,
    ) -> None:
        self._mines, self._others = index[labels], index[~labels]
        self._rng, self._batch = rng, settings.batch
        self._n_others = min(
            len(self._others), max(settings.batch, settings.chips_per_epoch - len(self._mines))
        )
        self._hardness = np.ones(int(index.max()) + 1)
        self.batches = (len(self._mines) + self._n_others) // settings.batch
        if self.batches == 0:
            raise DataError(f"{len(index)} chips are fewer than a batch of {settings.batch}")

    def epoch(self) -> list[IntArray]:
        """Batches of chip numbers, shuffled."""
        weight = self._hardness[self._others] + self._FLOOR
        drawn = self._rng.choice(
            self._others, self._n_others, replace=False, p=weight / weight.sum()
        )
        order = self._rng.permutation(np.concatenate([self._mines, drawn]))
        size = self._batch
        return [order[i * size : (i + 1) * size] for i in range(self.batches)]

    def learn(self, batch: IntArray, losses: npt.NDArray[np.float32]) -> None:
        """Remember how hard the chips were."""
        kept = self._MEMORY * self._hardness[batch]
        self._hardness[batch] = kept + (1 - self._MEMORY) * losses


def score_chips(network: torch.nn.Module, chips: ChipSet, index: IntArray) -> FloatArray:
    """Scores of chips as they are, no augmentation; (len(index),) in 0-1."""
    scores = []
    with torch.inference_mode():
        for start in range(0, len(index), 256):
            images = chips.images(index[start : start + 256])
            logits = network(images.contiguous(memory_format=torch.channels_last))
            scores.append(torch.sigmoid(logits).flatten().numpy())
    return np.concatenate(scores).astype(np.float64)


def fit_or_load(
    path: Path,
    chips: ChipSet,
    index: IntArray,
    settings: FitSettings,
    on_epoch: Callable[[EpochReport], None] | None = None,
) -> ChipNetwork:
    """`fit_network`, kept at `path`: a second call with the same chips and settings reads it.

    A training of hours can so be stopped and called again.
    """
    key = hashlib.sha256(settings.model_dump_json().encode())
    key.update(np.ascontiguousarray(chips.images_bytes[index]).tobytes())
    key.update(chips.labels[index].tobytes())
    file = path.with_name(f"{path.name}-{key.hexdigest()[:12]}.safetensors")
    if file.exists():
        network = _network(chips, settings)
        network.load_state_dict(load_file(file))
        network.eval()
        return network
    fitted = fit_network(chips, index, settings, on_epoch)
    with write_whole(file) as part:
        save_file({k: v.contiguous() for k, v in fitted.state_dict().items()}, part)
    return fitted
