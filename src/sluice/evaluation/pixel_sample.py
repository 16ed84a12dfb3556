"""Labelled pixels with their scores: what thresholds and calibrations of pixels are chosen on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sluice.base.arrays import ArrayBHW, FloatArray
from sluice.evaluation.masks import UNLABELLED


@dataclass(frozen=True)
class ScoredChip:
    """A chip as a model sees it."""

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
        return ScoredChip(mean, classes)

    def labelled(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Scores and truths (True = sought) of the labelled pixels, as two lists."""
        known = self.classes != UNLABELLED
        return self.sought[known], self.classes[known] != 0


@dataclass(frozen=True)
class PixelSample:
    """Scores of some labelled pixels."""

    scores: FloatArray
    sought: npt.NDArray[np.int64]
    weights: FloatArray
    """Pixels that each stands for."""


def sample_pixels(
    chips: Iterable[ScoredChip], per_chip: int, rng: np.random.Generator, *, by_class: bool
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
