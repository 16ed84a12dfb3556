"""Scenes that may fit, opened one by one: those that cannot be used are left out with a reason."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sluice.base.errors import ConfigError, DataError, SourceError
from sluice.base.records import LeftOut
from sluice.imagery.catalogue import Found
from sluice.imagery.scenes import SceneFiles, with_unique_ids


@dataclass(frozen=True)
class Candidate:
    """A scene whose name fits."""

    scene_id: str
    href: str
    open: Callable[[], SceneFiles | None]
    """Reads headers; None where it does not meet the area."""


def open_each(
    candidates: Iterable[Candidate], bands: Sequence[str], left_out: Iterable[LeftOut] = ()
) -> Found:
    """Open scenes; a damaged one, or one without a needed band, is left out and named.

    Args:
        candidates: In any order. Of two with one name and one grid the first is used.
        bands: Common names that are needed.
        left_out: Those left out before.
    """
    refused = list(left_out)
    found: dict[tuple[str, object], SceneFiles] = {}
    for candidate in candidates:
        try:
            files = candidate.open()
        except (SourceError, DataError, ConfigError) as err:
            refused.append(_left_out(candidate, str(err)))
            continue
        if files is None:
            continue
        missing = [band for band in bands if band not in files.bands]
        if missing:
            have = ", ".join(files.bands)
            refused.append(_left_out(candidate, f"has no {', '.join(missing)}; its bands: {have}"))
            continue
        key = files.scene.id, next(iter(files.bands.values())).geobox
        if key in found:
            same = f"the same image as {found[key].scene.href}; one is enough"
            refused.append(_left_out(candidate, same))
        else:
            found[key] = files
    return Found(tuple(with_unique_ids(sorted(found.values(), key=_age))), tuple(refused))


def _left_out(candidate: Candidate, reason: str) -> LeftOut:
    return LeftOut(scene_id=candidate.scene_id, href=candidate.href, reason=reason)


def _age(files: SceneFiles) -> tuple[dt.date, str, str]:
    return files.scene.acquired or dt.date.max, files.scene.id, files.scene.href
