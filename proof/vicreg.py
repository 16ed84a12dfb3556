"""VICReg, a self-supervised fit of the chip detector's features."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from sluice.base.arrays import IntArray
from sluice.training.augment import Augmentation, augment, surround
from sluice.training.fit import ChipSet, EpochReport, FitSettings
from sluice.training.network import ChipNetwork, NetworkShape

_VIEWS = Augmentation(shape=1, light=0.5, gaps=0.5)
"""Stronger than the recipe's: what must not matter to the features."""
_BATCH, _RATE = 128, 2e-3
_VARIANCE, _INVARIANCE, _COVARIANCE = 25.0, 25.0, 1.0


def fit_without_labels(
    chips: ChipSet,
    index: IntArray,
    settings: FitSettings,
    on_epoch: Callable[[EpochReport], None] | None = None,
) -> ChipNetwork:
    """Fit a network's local features so that two views of a chip are described alike.

    Labels are not read; the layer that makes scores of features is left as drawn.

    Source:
        Bardes et al. 2022, VICReg, arXiv:2105.04906.
    """
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    shape = NetworkShape(len(chips.fill), settings.widths, dropout=settings.dropout)
    network, width = ChipNetwork(shape), settings.widths[-1]
    expander = nn.Sequential(
        nn.Linear(width, 2 * width), nn.BatchNorm1d(2 * width), nn.ReLU(), nn.Linear(2 * width, 256)
    )
    both = nn.ModuleList([network, expander])
    size = min(_BATCH, len(index))
    steps = settings.epochs * (len(index) // size)
    optimiser = torch.optim.AdamW(both.parameters(), _RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, steps, pct_start=0.1)
    fill = torch.tensor(chips.fill)
    for epoch in range(settings.epochs):
        losses = []
        order = rng.permutation(index)
        for first in range(0, len(order) - size + 1, size):
            images = chips.images(order[first : first + size])
            one, other = (
                expander(network.describe(surround(view, shape.context_px)).mean(dim=(2, 3)))
                for view in (augment(images, fill, _VIEWS), augment(images, fill, _VIEWS))
            )
            loss = unlikeness(one, other)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            losses.append(float(loss.detach()))
        if on_epoch:
            on_epoch(EpochReport(epoch + 1, settings.epochs, float(np.mean(losses)), 0.0))
    return network


def unlikeness(one: Tensor, other: Tensor) -> Tensor:
    """VICReg's loss of two descriptions (N, D) of the same chips, N above 1.

    How far they lie apart, and what keeps them from all being the same: each feature's standard
    deviation below 1, and covariances of features.
    """
    loss = _INVARIANCE * F.mse_loss(one, other)
    for found in (one, other):
        centred = found - found.mean(dim=0)
        covariance = centred.T @ centred / (len(found) - 1)
        spread = (covariance.diagonal() + 1e-4).sqrt()
        crossed = covariance - torch.diag(covariance.diagonal())
        loss = loss + _VARIANCE * F.relu(1 - spread).mean() / 2
        loss = loss + _COVARIANCE * crossed.square().sum() / found.shape[1]
    return loss
