"""Fitting a network to masks: which chips an epoch shows, how they look, how it is judged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sluice.base.arrays import IntArray
from sluice.base.errors import ConfigError, DataError
from sluice.labels.dataset import UNLABELLED
from sluice.training.augment_bands import augment_chips
from sluice.training.chip_reading import ChipReader, read_ahead
from sluice.training.loop import Scorer, derived_seed
from sluice.training.losses import Loss
from sluice.training.options import PixelOptions
from sluice.training.patches import ScoreHistogram, score_chips
from sluice.training.scaling import Scaling

_ORDER, _LOOKS = 1, 2
"""Apart, so that the order of chips says nothing about how they are changed."""


@dataclass(frozen=True)
class PixelTask:
    """Implements `sluice.training.loop.FitTask`."""

    reader: ChipReader
    train: IntArray
    val: IntArray
    has_sought: npt.NDArray[np.bool_]
    """For each row of the table: whether something sought is in the chip."""
    scaling: Scaling
    patch: int
    criterion: Loss
    options: PixelOptions

    figure = "F1"

    @property
    def steps(self) -> int:
        """Batches in an epoch; chips that make no whole batch wait for another."""
        return len(self.train) // self.options.batch

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Chips in a new order, each cut, turned and relit in a new way."""
        rng = np.random.default_rng(derived_seed(self.options.seed, epoch, _ORDER))
        share = self.options.positive_share
        order = draw_order(self.train, self.has_sought[self.train], share, rng)
        size = self.options.batch
        jobs = [
            (order[k * size : (k + 1) * size], derived_seed(self.options.seed, epoch, _LOOKS, k))
            for k in range(self.steps)
        ]
        yield from read_ahead(lambda job: self._make(*job), jobs)

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss that was chosen."""
        return self.criterion(logits, target)

    def validate(self, score: Scorer) -> float:
        """F1 of the validation pixels at the threshold that is best for them."""
        histogram = ScoreHistogram()
        chips = score_chips(
            score,
            self.reader,
            self.val,
            self.scaling,
            patch=self.patch,
            batch=self.options.batch,
        )
        for chip in chips:
            histogram.add(*chip.labelled())
        return histogram.best_f1()

    def _make(self, rows: IntArray, seed: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        images, masks = map(torch.from_numpy, self.reader.read(rows))
        images, masks = _cut(images, masks, self.patch, generator)
        changed, moved = augment_chips(
            images,
            masks,
            self.reader.bands,
            generator,
            light=self.options.light,
            gaps=self.options.gaps,
        )
        if moved is None:
            raise AssertionError("masks were given")
        scaled, valid = self.scaling(changed)
        return scaled, moved.masked_fill(~valid, UNLABELLED)


def draw_order(
    rows: IntArray,
    sought: npt.NDArray[np.bool_],
    positive_share: float | None,
    rng: np.random.Generator,
) -> IntArray:
    """As many rows as there are, in random order.

    Args:
        rows: To draw from.
        sought: (len(rows),) whether something sought is in it.
        positive_share: Share of those in the result; a kind that is too rare comes again, as
            evenly as can be. None takes each row once.
        rng: Of the draw.
    """
    if positive_share is None:
        return rng.permutation(rows)
    wanted = min(len(rows) - 1, max(1, round(positive_share * len(rows))))
    drawn = [
        _again_and_again(rows[sought], wanted, rng),
        _again_and_again(rows[~sought], len(rows) - wanted, rng),
    ]
    return rng.permutation(np.concatenate(drawn))


def _again_and_again(rows: IntArray, count: int, rng: np.random.Generator) -> IntArray:
    rounds = -(-count // len(rows))
    return np.concatenate([rng.permutation(rows) for _ in range(rounds)])[:count]


def choose_patch(chip: tuple[int, int], wanted: int | None, multiple: int) -> int:
    """The side of patches.

    Args:
        chip: (H, W).
        wanted: By the user; None takes whole chips, which then must be square.
        multiple: What the network needs.

    Raises:
        ConfigError: The side is no such multiple, or larger than a chip.
        DataError: Chips as a whole do not fit the network.
    """
    fitting = min(chip) // multiple * multiple
    if wanted is None:
        if chip[0] == chip[1] == fitting:
            return fitting
        advice = f"set patch_px to {fitting}" if fitting else "make larger chips"
        raise DataError(
            f"chips of {chip[0]} x {chip[1]} px do not fit a network that takes squares whose "
            f"side is a multiple of {multiple}; {advice}"
        )
    if wanted % multiple or wanted > min(chip):
        raise ConfigError(
            f"patch_px {wanted} must be a multiple of {multiple} and fit into chips of "
            f"{chip[0]} x {chip[1]} px; use {fitting or 'larger chips'}"
        )
    return wanted


def check_batches(chips: int, batch: int) -> None:
    """Refuse fewer chips than a batch.

    Raises:
        DataError: It is so.
    """
    if chips < batch:
        raise DataError(f"{chips} training chips are fewer than a batch of {batch}; lower batch")


def _cut(
    images: Tensor, masks: Tensor, patch: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A patch at random from each chip."""
    height, width = images.shape[-2:]
    if (height, width) == (patch, patch):
        return images, masks
    tops = torch.randint(height - patch + 1, (len(images),), generator=generator).tolist()
    lefts = torch.randint(width - patch + 1, (len(images),), generator=generator).tolist()
    boxes = [
        (..., slice(t, t + patch), slice(c, c + patch)) for t, c in zip(tops, lefts, strict=True)
    ]
    return (
        torch.stack([image[box] for image, box in zip(images, boxes, strict=True)]),
        torch.stack([mask[box] for mask, box in zip(masks, boxes, strict=True)]),
    )
