"""The engine: fits any torch module to any task, and goes on where it was cut off.

What an epoch does follows from the seed and its number alone. A fit that was killed, and is
called again, therefore takes the very steps that it would have taken: on a processor with the
same number of threads the weights are equal to the last bit.
"""

from __future__ import annotations

import hashlib
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from sluice.base.errors import ConfigError, DataError
from sluice.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from sluice.training.curves import EpochRow, draw_curves, write_curves
from sluice.training.options import FitOptions
from sluice.training.schedule import learning_rate, look_at_plateau

Scorer = Callable[[Tensor], Tensor]
"""From images on the CPU to logits on the CPU, float32, without gradients."""


class FitTask(Protocol):
    """What a network is fitted to."""

    @property
    def figure(self) -> str:
        """What the validation figure is called."""
        ...

    @property
    def steps(self) -> int:
        """Batches in an epoch, at least 1."""
        ...

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and targets of an epoch, on the CPU; the same for the same number."""
        ...

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """A scalar to make small."""
        ...

    def validate(self, score: Scorer) -> float:
        """The validation figure, higher is better."""
        ...


@dataclass(frozen=True)
class Fit:
    """A finished fit."""

    network: nn.Module
    """With the weights of the best epoch, on the CPU, in evaluation mode."""
    rows: tuple[EpochRow, ...]
    best_epoch: int
    best_figure: float
    device: str
    """Where it was fitted, and how precisely."""


def fit(
    build: Callable[[], nn.Module],
    task: FitTask,
    options: FitOptions,
    *,
    work_dir: Path,
    name: str,
    identity: str,
) -> Fit:
    """Fit a network, a checkpoint after each epoch.

    Args:
        build: Makes the network; its random numbers come from the seed.
        task: See there.
        options: See there.
        work_dir: Keeps `<name>-<identity>.safetensors`, and the curves.
        name: Of the fit, in its files and messages.
        identity: Whatever the result depends on beside the options, such as digests of data and
            code. A call with another one, or other options, begins anew beside.

    Returns:
        The network of the epoch with the best validation figure.

    Raises:
        DataError: The loss or the validation figure is no finite number any more. The checkpoint
            of the epoch before stays.
        ConfigError: The device is not there.
        WeightsError: The checkpoint is damaged; it stays as it is.
        OSError: The folder cannot be written, or the disk is full.
    """
    device, precision = _choose_device(options)
    key = _identity(options, identity, device, precision)
    path = work_dir / f"{name}-{key[:12]}.safetensors"
    torch.manual_seed(options.seed)
    network = build().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = _optimiser(network, options)
    progress, best = load_checkpoint(path, network, optimiser, key)
    runner = _Runner(network, optimiser, task, options, device, precision)
    started, first = time.monotonic(), progress.epoch
    while not progress.finished:
        progress, is_best = runner.run_epoch(progress)
        if is_best:
            best = {n: t.detach().cpu().clone() for n, t in network.state_dict().items()}
        # Curves first: what is finished is complete.
        write_curves(work_dir, name, progress.rows, task.figure)
        if progress.finished:
            draw_curves(work_dir, name, progress.rows, task.figure)
        save_checkpoint(path, network, optimiser, best, progress)
        pace = (time.monotonic() - started) / (progress.epoch - first)
        _tell(name, progress, options, pace, task.figure)
    network.load_state_dict(best)
    return Fit(
        network.cpu().to(memory_format=torch.contiguous_format).eval(),  # type: ignore[call-overload]
        tuple(progress.rows),
        progress.best_epoch,
        progress.best_figure,
        f"{device.type} {precision}",
    )


@dataclass(frozen=True)
class _Runner:
    """One epoch after another."""

    network: nn.Module
    optimiser: torch.optim.Optimizer
    task: FitTask
    options: FitOptions
    device: torch.device
    precision: str

    def run_epoch(self, progress: Progress) -> tuple[Progress, bool]:
        """Fit, validate, and decide whether to go on."""
        epoch = progress.epoch + 1
        started = time.monotonic()
        torch.manual_seed(derived_seed(self.options.seed, epoch))
        loss, rate = self._fit_batches(epoch, progress)
        self.network.eval()
        figure = float(self.task.validate(self._score))
        if not math.isfinite(figure):
            raise DataError(
                f"epoch {epoch}: the validation figure, {self.task.figure}, is {figure}; "
                "check the validation chips, and use a lower learning rate"
            )
        improved = figure > progress.best_figure
        best = figure >= progress.best_figure
        improved_epoch = epoch if improved else progress.improved_epoch
        row = EpochRow(
            epoch=epoch,
            loss=loss,
            figure=figure,
            learning_rate=rate,
            seconds=time.monotonic() - started,
        )
        options = self.options
        return progress.model_copy(
            update={
                "epoch": epoch,
                "step": progress.step + self.task.steps,
                "best_epoch": epoch if best else progress.best_epoch,
                "improved_epoch": improved_epoch,
                "best_figure": max(figure, progress.best_figure),
                "plateau": look_at_plateau(progress.plateau, figure, options),
                "rows": [*progress.rows, row],
                "finished": epoch >= options.epochs or epoch - improved_epoch >= options.early_stop,
            }
        ), best

    def _fit_batches(self, epoch: int, progress: Progress) -> tuple[float, float]:
        self.network.train()
        total, rate = 0.0, 0.0
        all_steps = self.options.epochs * self.task.steps
        for k, (images, target) in enumerate(self.task.batches(epoch)):
            rate = learning_rate(self.options, progress.step + k, all_steps, progress.plateau)
            for group in self.optimiser.param_groups:
                group["lr"] = rate
            loss = self.task.loss(self._forward(images), target.to(self.device))
            self.optimiser.zero_grad(set_to_none=True)
            value = float(loss.detach())
            if not math.isfinite(value):
                raise DataError(
                    f"training broke down in epoch {epoch}: the loss is {value}; use a lower "
                    f"learning rate than {self.options.learning_rate:g}, and check the chips. "
                    f"The first {epoch - 1} epochs are kept"
                )
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self.network.parameters(), self.options.clip_norm)
            self.optimiser.step()
            total += value
        return total / self.task.steps, rate

    def _forward(self, images: Tensor) -> Tensor:
        images = images.to(self.device, memory_format=torch.channels_last, non_blocking=True)
        with torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16"
        ):
            logits: Tensor = self.network(images)
        return logits.float()

    def _score(self, images: Tensor) -> Tensor:
        with torch.inference_mode():
            return self._forward(images).cpu()


def open_scorer(network: nn.Module, options: FitOptions) -> Scorer:
    """Score with a fitted network where it was fitted, in float32.

    Args:
        network: In evaluation mode; is moved there.
        options: Their `device`.

    Raises:
        ConfigError: The device is not there.
    """
    device, _ = _choose_device(options)
    network.to(device)

    def score(images: Tensor) -> Tensor:
        with torch.inference_mode():
            logits: Tensor = network(images.to(device))
        return logits.float().cpu()

    return score


def derived_seed(seed: int, *numbers: int) -> int:
    """A seed that follows from others, far from its neighbours'."""
    return int(np.random.SeedSequence((seed, *numbers)).generate_state(1, np.uint64)[0] >> 1)


def _choose_device(options: FitOptions) -> tuple[torch.device, str]:
    there = torch.cuda.is_available()
    if options.device == "cuda" and not there:
        raise ConfigError("device cuda is asked for and no GPU is usable here; use cpu or auto")
    device = torch.device("cuda" if there and options.device != "cpu" else "cpu")
    if options.precision != "auto":
        return device, options.precision
    # float16 would need its losses scaled; cards too old for bfloat16 take float32.
    mixed = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return device, "bf16" if mixed else "f32"


def _identity(options: FitOptions, identity: str, device: torch.device, precision: str) -> str:
    where_and_speed = {"device", "precision", "cache_gb", "workers"}
    # What is made of the scores afterwards changes no network.
    afterwards = {"aim", "calibration"}
    depends = options.model_dump_json(exclude=where_and_speed | afterwards)
    text = "\n".join((depends, identity, device.type, precision, torch.__version__))
    return hashlib.sha256(text.encode()).hexdigest()


def _optimiser(network: nn.Module, options: FitOptions) -> torch.optim.Optimizer:
    """AdamW; biases and normalisations are not drawn towards 0."""
    wanted = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in wanted if p.ndim > 1], "weight_decay": options.weight_decay},
        {"params": [p for p in wanted if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=options.learning_rate)


def _tell(name: str, progress: Progress, options: FitOptions, pace: float, figure: str) -> None:
    row = progress.rows[-1]
    left = 0.0 if progress.finished else pace * (options.epochs - progress.epoch) / 60
    ended = ", finished" if progress.finished else f", at most {left:.0f} min left"
    sys.stderr.write(
        f"{name}: epoch {row.epoch}/{options.epochs}, loss {row.loss:.3f}, "
        f"{figure} {row.figure:.3f} (best {progress.best_figure:.3f}, epoch {progress.best_epoch})"
        f"{ended}\n"
    )
