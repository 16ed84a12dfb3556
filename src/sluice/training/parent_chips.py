"""What the model that fitting goes on from has learnt, held against the chips that judge its child.

The child's weights hold what its parent's do: a chip that taught the parent is no more unseen
than one that teaches the child itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sluice.base.arrays import IntArray
from sluice.base.errors import DataError
from sluice.labels.dataset import ChipDataset
from sluice.labels.lessons import lesson_rows
from sluice.labels.splits import CALIBRATION
from sluice.models.package import ModelPackage
from sluice.models.taught import parent_lessons, read_taught


@dataclass(frozen=True)
class JudgingChips:
    """Chips that judge a model."""

    what: str
    """In words, in the plural: `test chips`."""
    rows: IntArray
    """Of the data set."""
    digests: Sequence[str]
    """`labels.chip_digests` of them."""


@dataclass(frozen=True)
class SeenByParent:
    """How some chips that judge meet what the parent has learnt."""

    count: int
    """That taught it, as far as it tells."""
    words: str
    """A sentence or two."""
    clear: bool
    """Whether none taught it, and it lists all that did."""


class ParentChips:
    """What a parent tells of the chips that taught it and the models before it."""

    def __init__(self, parent: ModelPackage) -> None:
        """Read its list.

        Raises:
            WeightsError: The list is damaged.
        """
        taught = read_taught(parent)
        self.name = parent.name
        # Chips of which nothing was observed are all alike.
        self._taught = (taught.weights if taught else frozenset()) - {""}
        unlisted: list[Mapping[str, object]] = [*parent_lessons(parent.manifest)]
        if taught is None:
            unlisted.append(parent.manifest.training)
        self._unlisted = unlisted

    def refuse(self, dataset: ChipDataset, kept: JudgingChips) -> None:
        """Refuse chips for thresholds and calibration that taught the parent.

        Raises:
            DataError: There is one.
        """
        seen = self._count(dataset, kept)
        if seen:
            raise DataError(
                f"{dataset.about.name}: {seen} of the {len(kept.rows)} chips of split "
                f"{CALIBRATION} taught {self.name}: what goes on from it scores too well there. "
                "Keep chips for it that it never saw, or leave out --from"
            )

    def meet(self, dataset: ChipDataset, chips: Sequence[JudgingChips]) -> SeenByParent:
        """Say whether chips that judge taught the parent.

        Args:
            dataset: That all are of.
            chips: Kinds of them, at least one chip in all.
        """
        of = " and ".join(f"{len(each.rows)} {each.what}" for each in chips if len(each.rows))
        counts = [self._count(dataset, each) for each in chips]
        parent = f"{self.name}, which fitting began from"
        if sum(counts):
            seen = " and ".join(
                f"{count} of the {len(each.rows)} {each.what}"
                for count, each in zip(counts, chips, strict=True)
                if count
            )
            return SeenByParent(
                sum(counts),
                f"{seen} taught {parent}: figures, or thresholds, that are of them flatter this "
                "model. Judge it on chips that neither saw.",
                clear=False,
            )
        if self._unlisted:
            return SeenByParent(
                0,
                f"{parent}, does not list all chips that taught it ({self._told()}): whether the "
                f"{of} are among them is not known.",
                clear=False,
            )
        return SeenByParent(0, f"None of the {of} taught {parent}.", clear=True)

    def _count(self, dataset: ChipDataset, chips: JudgingChips) -> int:
        named = np.zeros(len(dataset.table), np.bool_)
        for lesson in self._unlisted:
            named |= lesson_rows(lesson, dataset.about.name, dataset.table)
        listed = np.array([digest in self._taught for digest in chips.digests], np.bool_)
        return int((named[chips.rows] | listed).sum())

    def _told(self) -> str:
        told = [
            f"{lesson['data']}, split {lesson['split']}"
            if lesson.get("split")
            else str(lesson["data"])
            for lesson in self._unlisted
            if lesson.get("data")
        ]
        return (
            f"it learnt from {'; '.join(told)}" if told else "what it learnt from is not on record"
        )
