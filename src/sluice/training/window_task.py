"""Fitting a network to chips labelled as wholes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sluice.base.arrays import ArrayNBHW, FloatArray, IntArray
from sluice.base.errors import DataError
from sluice.base.windows import central_windows
from sluice.evaluation.metrics import average_precision
from sluice.training.augment import EDGE_SHARE, hide_surroundings
from sluice.training.augment_bands import augment_chips
from sluice.training.chip_reading import ChipReader, read_ahead
from sluice.training.loop import Scorer, derived_seed
from sluice.training.losses import Loss
from sluice.training.options import CnnOptions
from sluice.training.patch_cnn import Architecture
from sluice.training.scaling import Scaling

MAX_INVALID_SHARE = 0.2
"""A window with a larger share of unobserved pixels has no score; goes into the manifest."""
_ORDER, _LOOKS = 1, 2
_AT_ONCE = 64


@dataclass(frozen=True)
class WindowTask:
    """Implements `sluice.training.loop.FitTask`."""

    reader: ChipReader
    train: IntArray
    """Rows to learn from; one that was drawn twice is there twice."""
    val: IntArray
    labels: npt.NDArray[np.int64]
    """For each row of the table, 1 = mine."""
    scaling: Scaling
    architecture: Architecture
    criterion: Loss
    options: CnnOptions

    figure = "average precision"

    @property
    def steps(self) -> int:
        """Batches in an epoch; chips that make no whole batch wait for another."""
        return len(self.train) // self.options.batch

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Chips in a new order, each turned and relit in a new way."""
        seed, size = self.options.seed, self.options.batch
        order = np.random.default_rng(derived_seed(seed, epoch, _ORDER)).permutation(self.train)
        jobs = [
            (order[k * size : (k + 1) * size], derived_seed(seed, epoch, _LOOKS, k))
            for k in range(self.steps)
        ]
        yield from read_ahead(lambda job: self._make(*job), jobs)

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss that was chosen."""
        return self.criterion(logits.flatten(1), target)

    def validate(self, score: Scorer) -> float:
        """Average precision of the validation chips that were observed."""
        scores, observed = score_windows(
            score, self.reader, self.val, self.scaling, self.architecture
        )
        if not np.isfinite(scores[observed]).all():
            return math.nan
        labels = self.labels[self.val][observed]
        return float(average_precision(labels, scores[observed])) if labels.any() else math.nan

    def _make(self, rows: IntArray, seed: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        images, _ = self.reader.read(rows)
        side, context = self.architecture.window_px, self.architecture.context_px
        windows = torch.from_numpy(central(images, side, context))
        options = self.options
        changed, _ = augment_chips(
            windows, None, self.reader.bands, generator, light=options.light, gaps=options.gaps
        )
        if context:
            absent = torch.full((changed.shape[1],), math.nan)
            changed = hide_surroundings(changed, absent, context, EDGE_SHARE, generator)
        scaled, _ = self.scaling(changed)
        return scaled, torch.from_numpy(self.labels[rows].astype(np.uint8))


def central(images: ArrayNBHW, window_px: int, context_px: int) -> ArrayNBHW:
    """The window in the middle of each chip, as `WindowPredictor.score_chips` cuts it.

    Raises:
        DataError: The chips are smaller.
    """
    if min(images.shape[2:]) < window_px:
        raise DataError(
            f"chips of {images.shape[2]} x {images.shape[3]} px are smaller than the window of "
            f"the architecture, {window_px} px; make larger chips, or choose another one"
        )
    return np.ascontiguousarray(central_windows(images, window_px, context_px))


def score_windows(
    score: Scorer,
    reader: ChipReader,
    rows: IntArray,
    scaling: Scaling,
    architecture: Architecture,
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Score chips as they are, no augmentation.

    Returns:
        (len(rows),) scores in 0-1, and whether enough of each window was observed to score it.
    """
    side, context = architecture.window_px, architecture.context_px
    scores, observed = [], []
    for images, _ in reader.batches(rows, _AT_ONCE):
        scaled, valid = scaling(torch.from_numpy(central(images, side, context)))
        scores.append(torch.sigmoid(score(scaled)).flatten().double().numpy())
        inside = valid[:, context : context + side, context : context + side]
        missing = (~inside).double().mean(dim=(1, 2)).numpy()
        observed.append(missing <= MAX_INVALID_SHARE + 1e-9)
    return np.concatenate(scores), np.concatenate(observed)
