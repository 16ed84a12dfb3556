"""Which chips a model has learnt from: a further file of its package."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import JsonValue

from sluice.base.errors import WeightsError
from sluice.models.manifest import Manifest
from sluice.models.package import EXTRAS_KEY, ModelPackage

TAUGHT_FILE = "taught.json"
"""Digests of the chips that taught weights, thresholds or calibration, sorted."""
PARENT_LESSONS_KEY = "parent_lessons"
"""In `Manifest.training`: data and split of models that fitting went on from, and that do not
tell their chips."""


@dataclass(frozen=True)
class Lessons:
    """What a package says of the chips that taught its model."""

    content: bytes
    """Of `TAUGHT_FILE`."""
    record: dict[str, JsonValue]
    """Joins `Manifest.training`."""


def gather_lessons(digests: Iterable[str], parent: ModelPackage | None) -> Lessons:
    """The chips of a training, and those of the model that it went on from.

    Args:
        digests: See `labels.chip_digests`; of every chip that taught. Empty ones, of which nothing
            was observed, are left out.
        parent: Model that fitting began from.

    Raises:
        WeightsError: The parent's file is damaged.
    """
    taught = set(digests) - {""}
    record: dict[str, JsonValue] = {}
    if parent is not None:
        before = read_taught(parent)
        taught |= before or frozenset()
        lessons: list[JsonValue] = [dict(lesson) for lesson in parent_lessons(parent.manifest)]
        training = parent.manifest.training
        if before is None and "data" in training:
            lessons.append({"data": training["data"], "split": training.get("split")})
        if lessons:
            record[PARENT_LESSONS_KEY] = lessons
    text = json.dumps(sorted(taught), indent=0) + "\n"
    return Lessons(text.encode(), record)


def read_taught(package: ModelPackage) -> frozenset[str] | None:
    """Digests of the chips that a model has learnt from; None where its package has no list.

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
    if not isinstance(found, list) or not all(isinstance(digest, str) for digest in found):
        path = package.folder / TAUGHT_FILE
        raise WeightsError(
            f"{path}: is no list of digests; fetch or write the model package again",
            href=str(path),
        )
    return frozenset(found)


def parent_lessons(manifest: Manifest) -> list[dict[str, JsonValue]]:
    """Data and split of models that fitting went on from, where their chips are not listed."""
    lessons = manifest.training.get(PARENT_LESSONS_KEY)
    return [each for each in lessons if isinstance(each, dict)] if isinstance(lessons, list) else []
