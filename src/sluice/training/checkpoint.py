"""Checkpoints of a fit: tensors and a few numbers in one safetensors file, nothing that runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic import BaseModel, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from sluice.base.errors import WeightsError
from sluice.base.files import write_whole
from sluice.training.curves import EpochRow
from sluice.training.schedule import Plateau

_STATE = "state"


class Progress(BaseModel):
    """How far a fit has come, beside its tensors."""

    identity: str
    """Of data, options and code; another one's checkpoint is not gone on with."""
    epoch: int = 0
    """Epochs finished. Orders, crops, augmentation and dropout of the next ones follow from the
    seed and their number, so that no state of a random generator needs keeping."""
    step: int = 0
    best_figure: float = -math.inf
    best_epoch: int = 0
    """Of equal figures the latest: where they cannot get better, the loss still does."""
    improved_epoch: int = 0
    """When the best figure was first reached; early stopping counts from it."""
    plateau: Plateau = Field(default_factory=Plateau)
    rows: list[EpochRow] = Field(default_factory=list)
    finished: bool = False


def save_checkpoint(
    path: Path,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    best: Mapping[str, Tensor],
    progress: Progress,
) -> None:
    """Write a checkpoint after an epoch; the one before stays until this one is whole.

    Raises:
        OSError: The folder cannot be written, or the disk is full.
    """
    tensors = {f"network/{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"best/{name}": value for name, value in best.items()}
    for k, parameter in enumerate(_parameters(optimiser)):
        for name, value in optimiser.state.get(parameter, {}).items():
            tensors[f"optimiser/{k}/{name}"] = value
    # A finished fit needs its result only.
    if progress.finished:
        tensors = {name: value for name, value in tensors.items() if name.startswith("best/")}
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    with write_whole(path) as part:
        save_file(plain, part, {_STATE: progress.model_dump_json()})


def load_checkpoint(
    path: Path, network: nn.Module, optimiser: torch.optim.Optimizer, identity: str
) -> tuple[Progress, dict[str, Tensor]]:
    """Put a checkpoint's tensors back where they were.

    Args:
        path: Need not exist.
        network: Of the same shape; filled in place.
        optimiser: Of its parameters; filled in place.
        identity: Expected.

    Returns:
        The progress, and the best weights so far; an empty progress where there is no checkpoint.

    Raises:
        WeightsError: The file is damaged, or of another fit. It is left as it is.
    """
    if not path.exists():
        return Progress(identity=identity), {}
    try:
        with safe_open(path, framework="pt") as file:
            progress = Progress.model_validate_json((file.metadata() or {})[_STATE])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if progress.identity != identity:
            raise ValueError("it belongs to another fit")
        best = {n.removeprefix("best/"): t for n, t in tensors.items() if n.startswith("best/")}
        if progress.finished:
            network.load_state_dict(best)
        else:
            _fill(network, optimiser, tensors)
    except (SafetensorError, OSError, KeyError, ValidationError, ValueError, RuntimeError) as err:
        reason = " ".join(str(err).split())[:160]
        raise WeightsError(
            f"{path}: this checkpoint cannot be gone on with ({reason}); "
            "move it away to begin again, or put back a whole copy",
            href=str(path),
        ) from err
    return progress, best


def _fill(
    network: nn.Module, optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]
) -> None:
    network.load_state_dict(
        {n.removeprefix("network/"): t for n, t in tensors.items() if n.startswith("network/")}
    )
    parameters = _parameters(optimiser)
    for name, value in tensors.items():
        if not name.startswith("optimiser/"):
            continue
        _, number, field = name.split("/")
        parameter = parameters[int(number)]
        if value.shape == parameter.shape and value.ndim:
            # In the parameter's own memory layout: another one rounds otherwise.
            value = torch.empty_like(parameter, requires_grad=False).copy_(value)  # noqa: PLW2901
        optimiser.state[parameter][field] = value


def _parameters(optimiser: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimiser.param_groups for parameter in group["params"]]
