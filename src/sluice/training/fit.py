"""Fitting one network to chips."""

from __future__ import annotations

import copy
import hashlib
import inspect
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sluice.base.arrays import FloatArray, IntArray
from sluice.base.errors import DataError, WeightsError
from sluice.base.files import write_whole
from sluice.training import augment as augment_code
from sluice.training import network as network_code
from sluice.training.augment import (
    EDGE_SHARE,
    Augmentation,
    augment,
    hide_surroundings,
    surround,
)
from sluice.training.network import ChipNetwork, NetworkShape


class FitSettings(BaseModel):
    """What a fit depends on, beside the chips."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=24, ge=1)
    batch: int = Field(default=64, ge=2)
    learning_rate: float = Field(default=4e-3, gt=0)
    warmup_steps: int = Field(default=200, ge=1)
    weight_decay: float = Field(default=0.02, ge=0)
    dropout: float = Field(default=0.3, ge=0, lt=1)
    label_smoothing: float = Field(default=0.04, ge=0, lt=0.5)
    augmentation: Augmentation = Augmentation()
    widths: tuple[int, int, int, int] = (16, 32, 64, 128)
    seed: int = 0


@dataclass(frozen=True)
class ChipSet:
    """Chips ready for a network."""

    images_bytes: npt.NDArray[np.uint8]
    """(N, bands, 48, 48), 255 = the top of the manifest's scale."""
    labels: npt.NDArray[np.bool_] | FloatArray
    """(N,), True = mine; or in 0-1, how sure a teacher is of one."""
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
    start: ChipNetwork | None = None,
) -> ChipNetwork:
    """Fit a network to some of the chips.

    The result is the exponential moving average of the weights. Same chips, settings, thread
    count and machine give the same weights.

    Args:
        chips: All chips.
        index: Which to fit to.
        settings: See there.
        on_epoch: Called after each epoch.
        start: A network of the settings' widths to go on from, itself left as it is; None begins
            with random weights.

    Returns:
        The network in evaluation mode.

    Raises:
        DataError: One label is missing, or the loss is no finite number any more.
    """
    mine = chips.labels[index] > 0.5
    if mine.all() or not mine.any():
        raise DataError("training needs chips with mines and without; got one kind only")
    if len(index) < settings.batch:
        raise DataError(f"{len(index)} chips are fewer than a batch of {settings.batch}")
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    network = copy.deepcopy(start) if start else _network(chips, settings)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = torch.optim.swa_utils.AveragedModel(network, avg_fn=_ema, use_buffers=True)
    optimiser, schedule = _optimiser(network, settings, len(index) // settings.batch)
    started = time.monotonic()
    for epoch in range(settings.epochs):
        network.train()
        losses = []
        for batch in _batches(index, settings.batch, rng):
            loss = _loss(network, chips, batch, settings)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            average.update_parameters(network)
            losses.append(float(loss.detach()))
        mean_loss = sum(losses) / len(losses)
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


def _batches(index: IntArray, size: int, rng: np.random.Generator) -> Iterator[IntArray]:
    """All chips in a new order; the last few that make no batch wait for another epoch."""
    order = rng.permutation(index)
    return (order[start : start + size] for start in range(0, len(order) - size + 1, size))


def _loss(network: ChipNetwork, chips: ChipSet, batch: IntArray, settings: FitSettings) -> Tensor:
    context, fill = network.shape.context_px, torch.tensor(chips.fill)
    images = augment(chips.images(batch), fill, settings.augmentation)
    images = hide_surroundings(surround(images, context), fill, context, EDGE_SHARE)
    logits = network(images.contiguous(memory_format=torch.channels_last)).flatten()
    labels = torch.from_numpy(chips.labels[batch]).float()
    smooth = settings.label_smoothing
    return F.binary_cross_entropy_with_logits(logits, labels * (1 - smooth) + smooth / 2)


def _optimiser(
    network: ChipNetwork, settings: FitSettings, batches: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    steps = settings.epochs * batches
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        max_lr=settings.learning_rate,
        total_steps=steps,
        pct_start=min(0.3, settings.warmup_steps / steps),
        cycle_momentum=False,
    )
    return optimiser, schedule


def _network(chips: ChipSet, settings: FitSettings) -> ChipNetwork:
    shape = NetworkShape(len(chips.fill), settings.widths, dropout=settings.dropout)
    return ChipNetwork(shape)


def _ema(averaged: Tensor, current: Tensor, steps: Tensor | int) -> Tensor:
    """An average over about 200 steps, shorter at the start; counters are copied."""
    if not averaged.is_floating_point():
        return current
    decay = min(0.995, (float(steps) + 1) / (float(steps) + 20))
    return decay * averaged + (1 - decay) * current


def score_chips(network: ChipNetwork, chips: ChipSet, index: IntArray) -> FloatArray:
    """Scores of chips as they are, no augmentation; (len(index),) in 0-1."""
    scores = [np.zeros(0, np.float32)]
    with torch.inference_mode():
        for start in range(0, len(index), 256):
            images = chips.images(index[start : start + 256])
            images = surround(images, network.shape.context_px)
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
    """`fit_network`, kept at `path`: a second call with the same chips, settings and code reads it.

    A training of hours can so be stopped and called again.

    Raises:
        DataError: As `fit_network`.
        WeightsError: The file that is there is damaged. It is left as it is.
    """
    key = hashlib.sha256(settings.model_dump_json().encode())
    # What another version of this code fitted is another network.
    for module in (network_code, augment_code, sys.modules[__name__]):
        key.update(inspect.getsource(module).encode())
    key.update(np.ascontiguousarray(chips.images_bytes[index]).tobytes())
    key.update(chips.labels[index].tobytes())
    file = path.with_name(f"{path.name}-{key.hexdigest()[:12]}.safetensors")
    if file.exists():
        return _read_member(file, chips, settings)
    fitted = fit_network(chips, index, settings, on_epoch)
    with write_whole(file) as part:
        save_file({k: v.contiguous() for k, v in fitted.state_dict().items()}, part)
    return fitted


def _read_member(file: Path, chips: ChipSet, settings: FitSettings) -> ChipNetwork:
    network = _network(chips, settings)
    try:
        network.load_state_dict(load_file(file))
    except (SafetensorError, OSError, ValueError, RuntimeError) as err:
        reason = " ".join(str(err).split())[:160]
        raise WeightsError(
            f"{file}: this finished network cannot be read ({reason}); "
            "move it away to fit it again, or put back a whole copy",
            href=str(file),
        ) from err
    network.eval()
    return network
