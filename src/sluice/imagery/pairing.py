"""Cloud layers for top-of-atmosphere images: the surface reflectance product of the same look."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import replace

from sluice.imagery.scenes import SceneFiles

# One catalogue gives the start of the datatake, another the moment over the tile, up to 20
# minutes later. The satellite itself is back over a tile after one orbit, 100 minutes.
_SAME_PASS = dt.timedelta(minutes=25)
# Between satellites only the same second tells: for a while Sentinel-2C flew close behind another.
_SAME_MOMENT = dt.timedelta(seconds=2)
_PLATFORM = re.compile(r"(S2[A-D])(?![0-9A-Z])", re.IGNORECASE)


def lend_sky(l1c: Sequence[SceneFiles], l2a: Sequence[SceneFiles]) -> list[SceneFiles]:
    """Give L1C scenes the scene classification (SCL) of the L2A product of tile and datatake.

    Both levels of a tile lie on one grid, so the classes fit pixel for pixel. Of several such
    products the one nearest in time lends, of those the one with the L1C's processing baseline,
    else the latest.

    Args:
        l1c: Scenes; those that have a cloud layer of their own keep it.
        l2a: Surface reflectance products of the same place and time, from any catalogue.

    Returns:
        The L1C scenes in their order. One that has no twin keeps `sky_layer=None`: its clouds
        are not known, and it is for the caller to say so.
    """
    lenders = [files for files in l2a if files.sky is not None and files.scene.sky_layer == "scl"]
    return [files if files.sky is not None else _lend(files, lenders) for files in l1c]


def _lend(files: SceneFiles, lenders: Sequence[SceneFiles]) -> SceneFiles:
    times = [(_time_apart(files, other), other) for other in lenders]
    twins = [(apart, other) for apart, other in times if apart is not None]
    if not twins:
        return files
    baseline = files.scene.processing_baseline
    nearest = min(apart for apart, _ in twins)
    close = [other for apart, other in twins if apart - nearest <= _SAME_MOMENT]
    twin = max(
        close,
        key=lambda other: (
            other.scene.processing_baseline == baseline,
            other.scene.processing_baseline or "",
            other.scene.id,
        ),
    )
    scene = files.scene.model_copy(update={"sky_layer": "scl", "sky_from": twin.scene.id})
    return replace(files, scene=scene, sky=twin.sky)


def _time_apart(one: SceneFiles, other: SceneFiles) -> dt.timedelta | None:
    """Time between two scenes of one look; None where they are not of one."""
    a, b = one.scene, other.scene
    if a.tile is None or a.tile != b.tile or a.acquired_at is None or b.acquired_at is None:
        return None
    apart = abs(a.acquired_at - b.acquired_at)
    platforms = [_PLATFORM.match(scene.id) for scene in (a, b)]
    named = [found[1].upper() for found in platforms if found is not None]
    if len(named) == 2:
        return apart if named[0] == named[1] and apart <= _SAME_PASS else None
    return apart if apart <= _SAME_MOMENT else None
