"""Scores of whole chips from patches."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sluice.base.arrays import ArrayNBHW, IntArray
from sluice.evaluation.pixel_sample import ScoredChip
from sluice.labels.dataset import UNLABELLED, MasksNHW
from sluice.training.chip_reading import ChipReader
from sluice.training.loop import Scorer
from sluice.training.scaling import Scaling

_BINS = 2048
_LIMIT = 14.0
"""Logits beyond are one bin: a float32 probability tells them apart no more."""


def patch_starts(size: int, patch: int) -> list[int]:
    """First pixels of patches that cover a side, a quarter shared where it is longer."""
    step = max(1, patch - patch // 4)
    return [*range(0, size - patch, step), size - patch]


def score_patches(score: Scorer, scaled: Tensor, patch: int) -> Tensor:
    """Probabilities of every pixel; where patches overlap, their mean.

    Args:
        score: See there.
        scaled: (N, bands, H, W) in the model's units; H and W at least `patch`.
        patch: Side of a patch.

    Returns:
        (N, classes, H, W) float32.
    """
    height, width = scaled.shape[-2:]
    total: Tensor | None = None
    count = torch.zeros(1, 1, height, width)
    for top in patch_starts(height, patch):
        for left in patch_starts(width, patch):
            box = (..., slice(top, top + patch), slice(left, left + patch))
            probabilities = torch.softmax(score(scaled[box].contiguous()), dim=1)
            if total is None:
                total = torch.zeros(*probabilities.shape[:2], height, width)
            total[box] += probabilities
            count[box] += 1
    if total is None:
        raise AssertionError("patch_starts gives one position at least")
    return total / count


def score_chips(
    score: Scorer, reader: ChipReader, rows: IntArray, scaling: Scaling, *, patch: int, batch: int
) -> Iterator[ScoredChip]:
    """Score chips as they are, no augmentation."""
    for images, masks in reader.batches(rows, batch):
        scored = _score_batch(score, images, masks, scaling, patch)
        yield from itertools.starmap(ScoredChip, zip(*scored, strict=True))


def _score_batch(
    score: Scorer, images: ArrayNBHW, masks: MasksNHW, scaling: Scaling, patch: int
) -> tuple[ArrayNBHW, MasksNHW]:
    scaled, valid = scaling(torch.from_numpy(images))
    probabilities: ArrayNBHW = score_patches(score, scaled, patch).numpy()
    return probabilities, np.where(valid.numpy(), masks, np.uint8(UNLABELLED))


@dataclass
class ScoreHistogram:
    """Counts of scores by truth, fine enough for the best F1 of any number of pixels."""

    counts: IntArray = field(default_factory=lambda: np.zeros((2, _BINS), np.int64))
    undefined: int = 0
    """Scores that are no number."""

    def add(self, scores: npt.NDArray[np.float32], sought: npt.NDArray[np.bool_]) -> None:
        """Count some pixels."""
        values = scores.astype(np.float64)
        self.undefined += int(np.isnan(values).sum())
        values = np.clip(np.nan_to_num(values), 1e-9, 1 - 1e-9)
        place = (np.log(values / (1 - values)) + _LIMIT) / (2 * _LIMIT)
        bins = np.clip((place * _BINS).astype(np.int64), 0, _BINS - 1)
        for truth in (0, 1):
            self.counts[truth] += np.bincount(bins[sought == bool(truth)], minlength=_BINS)

    def best_f1(self) -> float:
        """The highest F1 of any threshold between bins; NaN where a score was no number."""
        if self.undefined:
            return float("nan")
        alarms, hits = self.counts[:, ::-1].cumsum(axis=1)
        flagged, mines = hits + alarms, self.counts[1].sum()
        return float((2 * hits / np.maximum(flagged + mines, 1)).max())
