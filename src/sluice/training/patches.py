"""Scores of whole chips from patches, and what thresholds and figures need of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sluice.base.arrays import ArrayBHW, ArrayNBHW, FloatArray, IntArray
from sluice.labels.dataset import UNLABELLED, MasksNHW
from sluice.training.chip_reading import ChipReader
from sluice.training.loop import Scorer
from sluice.training.scaling import Scaling

_BINS = 2048
_LIMIT = 14.0
"""Logits beyond are one bin: a float32 probability tells them apart no more."""


@dataclass(frozen=True)
class ScoredChip:
    """A chip as a model sees it."""

    row: int
    """Of the data set's table."""
    probabilities: ArrayBHW
    """(classes, H, W), sum 1."""
    classes: npt.NDArray[np.uint8]
    """(H, W) truth, 255 = unlabelled or not observed."""

    @property
    def sought(self) -> npt.NDArray[np.float32]:
        """(H, W) probability of anything sought."""
        sought: npt.NDArray[np.float32] = 1 - self.probabilities[0]
        return sought

    def in_squares(self, side: int) -> ScoredChip:
        """The chip in squares of pixels, as a map gives its scores.

        Args:
            side: Of a square, pixels; rows and columns that make no whole one are left out.

        Returns:
            Mean probabilities. A square is of the commonest sought class where half of it is
            sought, else of class 0, and unlabelled where a pixel of it is.
        """
        if side == 1:
            return self
        count, height, width = self.probabilities.shape
        rows, cols = height // side, width // side
        whole = np.s_[..., : rows * side, : cols * side]
        mean = self.probabilities[whole].reshape(count, rows, side, cols, side).mean(axis=(2, 4))
        blocks = self.classes[whole].reshape(rows, side, cols, side)
        votes = np.stack([(blocks == k).sum(axis=(1, 3)) for k in range(count)])
        sought = 2 * votes[1:].sum(axis=0) >= side * side
        classes = np.where(sought, 1 + votes[1:].argmax(axis=0), 0).astype(np.uint8)
        classes[(blocks == UNLABELLED).any(axis=(1, 3))] = UNLABELLED
        return ScoredChip(self.row, mean, classes)

    def labelled(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Scores and truths (True = sought) of the labelled pixels, as two lists."""
        known = self.classes != UNLABELLED
        return self.sought[known], self.classes[known] != 0


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
    done = 0
    for images, masks in reader.batches(rows, batch):
        probabilities, classes = _score_batch(score, images, masks, scaling, patch)
        for p, c in zip(probabilities, classes, strict=True):
            yield ScoredChip(int(rows[done]), p, c)
            done += 1


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


@dataclass(frozen=True)
class PixelSample:
    """Scores of some labelled pixels."""

    scores: FloatArray
    sought: npt.NDArray[np.int64]
    weights: FloatArray
    """Pixels that each stands for."""


def sample_pixels(
    chips: Iterator[ScoredChip], per_chip: int, rng: np.random.Generator, *, by_class: bool
) -> PixelSample:
    """Draw pixels: neighbours tell the same thing again, and nobody needs millions.

    Args:
        chips: Scored.
        per_chip: Most pixels of a chip.
        rng: Of the draw.
        by_class: Draw half of them from what is sought where there is enough, and weigh each
            by how many it stands for; else draw without regard to the truth.
    """
    scores, sought, weights = [], [], []
    for chip in chips:
        values, truth = chip.labelled()
        strata = [truth, ~truth] if by_class else [np.ones_like(truth)]
        for stratum in strata:
            there = np.flatnonzero(stratum)
            if there.size == 0:
                continue
            most = max(1, per_chip // len(strata))
            taken = there if there.size <= most else rng.choice(there, most, replace=False)
            scores.append(values[taken])
            sought.append(truth[taken])
            weights.append(np.full(taken.size, there.size / taken.size))
    empty = np.zeros(0)
    return PixelSample(
        np.concatenate([empty, *scores]).astype(np.float64),
        np.concatenate([empty, *sought]).astype(np.int64),
        np.concatenate([empty, *weights]),
    )
