"""Several processings of one acquisition: the newest is used."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from sluice.base.records import LeftOut
from sluice.imagery.scenes import SceneFiles
from sluice.imagery.stac import facts
from sluice.imagery.stac.facts import Item

_NUMBERED = re.compile(r"-\d+$")
_ONE_STRIP = dt.timedelta(seconds=10)
"""Processings of one datastrip give its start to the second or two; two strips lie apart."""


def newest_processings(
    found: Iterable[tuple[Item, SceneFiles]],
) -> tuple[list[SceneFiles], list[LeftOut]]:
    """Of several processings of one acquisition over one tile keep the newest.

    The highest baseline is kept, then the latest product. A datatake that was received in two
    parts gives two products that complete each other: both stay.

    Args:
        found: Items and their files, in any order.

    Returns:
        Files oldest first with unique ids, and the superseded ones.
    """
    kept: list[SceneFiles] = []
    left_out: list[LeftOut] = []
    groups: dict[facts.Acquisition, list[tuple[Item, SceneFiles]]] = {}
    for item, files in found:
        acquisition = facts.acquisition_of(item)
        if acquisition is None:
            kept.append(files)
        else:
            groups.setdefault(acquisition, []).append((item, files))
    for group in groups.values():
        for strip in _strips(group):
            ranked = sorted(strip, key=lambda pair: _rank(*pair))
            newest = ranked[-1][1]
            kept.append(newest)
            left_out += [
                LeftOut(
                    scene_id=files.scene.id,
                    href=files.scene.href,
                    reason=f"superseded by {newest.scene.id}, a newer processing",
                )
                for _, files in ranked[:-1]
            ]
    kept.sort(key=lambda files: (files.scene.acquired or dt.date.max, files.scene.id))
    return _with_unique_ids(kept), left_out


def _with_unique_ids(found: Sequence[SceneFiles]) -> list[SceneFiles]:
    """Number scenes whose ids became equal when they were made legal file names."""
    taken: set[str] = set()
    out = []
    for files in found:
        name, count = files.scene.id, 1
        while name.lower() in taken:
            count += 1
            name = f"{_NUMBERED.sub('', files.scene.id)}-{count}"
        taken.add(name.lower())
        scene = files.scene.model_copy(update={"id": name})
        out.append(files if count == 1 else replace(files, scene=scene))
    return out


def _strips(group: list[tuple[Item, SceneFiles]]) -> list[list[tuple[Item, SceneFiles]]]:
    """Part a datatake's items by datastrip; one that names none goes with the first."""
    unknown = dt.datetime.min.replace(tzinfo=dt.UTC)
    dated = sorted(
        ((facts.strip_start(item) or unknown, k) for k, (item, _) in enumerate(group)),
    )
    strips: list[list[tuple[Item, SceneFiles]]] = []
    last: dt.datetime | None = None
    for start, k in dated:
        if last is None or (last != unknown and start - last > _ONE_STRIP):
            strips.append([])
        strips[-1].append(group[k])
        last = start
    return strips


def _rank(item: Item, files: SceneFiles) -> tuple[tuple[int, ...], dt.datetime, str]:
    baseline = facts.processing_baseline(item) or "00.00"
    made = facts.processed_at(item) or dt.datetime.min.replace(tzinfo=dt.UTC)
    return tuple(int(part) for part in baseline.split(".")), made, files.scene.id
