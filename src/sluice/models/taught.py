"""Which chips a model has learnt from: a further file of its package."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeGuard

from pydantic import JsonValue

from sluice.base.errors import WeightsError
from sluice.models.manifest import Manifest
from sluice.models.package import EXTRAS_KEY, ModelPackage

TAUGHT_FILE = "taught.json"
"""Digests of the chips that taught the weights, and of those that thresholds and calibration were
chosen on, sorted."""
PARENT_LESSONS_KEY = "parent_lessons"
"""In `Manifest.training`: data and split of models that fitting went on from, and that do not
tell their chips."""


@dataclass(frozen=True)
class Taught:
    """Digests of chips that a model has learnt from, see `labels.chip_digests`."""

    weights: frozenset[str]
    """That fitted it, or a model that it went on from."""
    decisions: frozenset[str]
    """That its own thresholds and calibration were chosen on."""

    @property
    def all(self) -> frozenset[str]:
        """Either."""
        return self.weights | self.decisions

    @property
    def content(self) -> bytes:
        """Of `TAUGHT_FILE`. Empty digests, of chips of which nothing was observed, are left out."""
        told = {"weights": sorted(self.weights - {""}), "decisions": sorted(self.decisions - {""})}
        return (json.dumps(told, indent=0) + "\n").encode()


@dataclass(frozen=True)
class Lessons:
    """What a package says of the chips that taught its model."""

    content: bytes
    """Of `TAUGHT_FILE`."""
    record: dict[str, JsonValue]
    """Joins `Manifest.training`."""


def gather_lessons(
    weights: Iterable[str], parent: ModelPackage | None, decisions: Iterable[str] = ()
) -> Lessons:
    """The chips of a training, and those of the model that it went on from.

    Args:
        weights: See `labels.chip_digests`; of every chip that fitted. Empty ones, of which nothing
            was observed, are left out.
        parent: Model that fitting began from. What its thresholds were chosen on is left behind,
            as they are.
        decisions: Of every chip that thresholds and calibration were chosen on.

    Raises:
        WeightsError: The parent's file is damaged.
    """
    taught = frozenset(weights)
    record: dict[str, JsonValue] = {}
    if parent is not None:
        before = read_taught(parent)
        taught |= before.weights if before else frozenset()
        lessons: list[JsonValue] = [dict(lesson) for lesson in parent_lessons(parent.manifest)]
        training = parent.manifest.training
        if before is None and "data" in training:
            lessons.append({"data": training["data"], "split": training.get("split")})
        if lessons:
            record[PARENT_LESSONS_KEY] = lessons
    return Lessons(Taught(taught, frozenset(decisions)).content, record)


def read_taught(package: ModelPackage) -> Taught | None:
    """The chips that a model has learnt from; None where its package does not list them.

    Raises:
        WeightsError: The file is missing, changed, or no list of digests.
    """
    files = package.manifest.training.get(EXTRAS_KEY)
    if not isinstance(files, dict) or TAUGHT_FILE not in files:
        return None
    try:
        found = json.loads(package.read_extra(TAUGHT_FILE))
    except ValueError:
        found = None
    told = found if isinstance(found, dict) else {}
    weights, decisions = told.get("weights"), told.get("decisions")
    if not _is_list(weights) or not _is_list(decisions):
        path = package.folder / TAUGHT_FILE
        raise WeightsError(
            f"{path}: is no list of digests; fetch or write the model package again",
            href=str(path),
        )
    return Taught(frozenset(weights), frozenset(decisions))


def _is_list(found: object) -> TypeGuard[list[str]]:
    return isinstance(found, list) and all(isinstance(digest, str) for digest in found)


def parent_lessons(manifest: Manifest) -> list[dict[str, JsonValue]]:
    """Data and split of models that fitting went on from, where their chips are not listed."""
    lessons = manifest.training.get(PARENT_LESSONS_KEY)
    return [each for each in lessons if isinstance(each, dict)] if isinstance(lessons, list) else []
