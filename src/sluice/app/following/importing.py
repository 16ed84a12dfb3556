"""Other people's detections, brought into a store and linked to its sites."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable

import numpy as np
from shapely.geometry.base import BaseGeometry

from sluice import __version__
from sluice.app.area import read_area
from sluice.app.following.foreign_detections import (
    ForeignDetections,
    ImportRequest,
    read_detections,
)
from sluice.app.following.landing import Arrival, Landed, Rules, check_area_name, land
from sluice.base.arrays import BoolArray
from sluice.base.errors import ConfigError
from sluice.base.files import sha256_file
from sluice.base.longitudes import box_around
from sluice.base.periods import Period
from sluice.base.places import LandedRun
from sluice.base.records import Record
from sluice.base.store import SiteQuery, Store

IMPORTED = "import"
"""`LandedRun.sensor` of what others found, with what is not known: it backs no other sensor, see
`sluice.sites.evidence.EvidenceRule.unknown_sensors`."""
_LOOKED_UP = 1000
"""Ids of a file that are looked for in the store."""


class Imported(Record):
    """What came of a file of detections."""

    landings: list[Landed]
    """One for each period, oldest first."""
    left_out: dict[str, int]
    """Rows of the file that were not used, by what is wrong."""
    notes: list[str]
    """What was taken for granted."""

    @property
    def text(self) -> str:
        """In words."""
        lines = [
            f"{one.period}: {one.detections:,} detections, {one.new_sites:,} sites not known "
            "before."
            for one in self.landings[:-1]
        ]
        lines.append(self.landings[-1].text)
        lines += [f"Left out, {reason}: {count:,}." for reason, count in self.left_out.items()]
        return "\n".join([*lines, *(f"Note: {note}." for note in self.notes)])


def import_file(
    store: Store,
    request: ImportRequest,
    rules: Rules | None = None,
    *,
    done: Callable[[int, int], None] | None = None,
) -> Imported:
    """Land a file of detections, as one run for each period.

    Each run lands whole or not at all; one that fails leaves those of earlier periods, and the same
    command again goes on.

    Args:
        store: Where to.
        request: What it is.
        rules: See `land`.
        done: Told how many of how many periods have landed.

    Raises:
        ItemNotFound, AssetReadError, ConfigError, NoValidData: See `read_detections`; or it holds
            what is in the store already, or nothing within the area.
        StoreError: See `land`.
    """
    found = read_detections(request)
    name = request.area_name or request.file.stem
    _refuse_own(store, found, name, request)
    inside, outline = _within_area(store, found, name, request)
    notes = list(found.notes)
    if found.site_ids or found.scan_ids:
        notes.append(
            "the file was made by Sluice, maybe of images that this store knows: it backs no other "
            "sensor. Scans land with `sluice import run FOLDER`, with all that they saw"
        )
    left_out = dict(found.left_out)
    if not inside.all():
        left_out[f"outside of area {name}"] = int((~inside).sum())
    sha256 = sha256_file(request.file)
    periods = sorted(set(found.periods[inside]))
    landings = []
    for number, period in enumerate(periods, 1):
        chosen = inside & (found.periods == period)
        run = _run(request, name, period, sha256, left_out)
        kept = found.table[chosen].reset_index(drop=True)
        arrival = Arrival(
            run,
            kept,
            looked_everywhere=request.looked_everywhere,
            outline=outline if number == 1 else None,
        )
        landings.append(land(store, arrival, rules))
        if done is not None:
            done(number, len(periods))
    return Imported(landings=landings, left_out=left_out, notes=notes)


def _refuse_own(store: Store, found: ForeignDetections, name: str, request: ImportRequest) -> None:
    """Refuse what came out of this store: it would be taken for a second witness of itself."""
    ids = found.site_ids[:_LOOKED_UP]
    if ids and store.count_sites(SiteQuery(site_ids=ids, with_past=True)):
        raise ConfigError(
            f"{request.file}: was exported from this store, and its sites are in it already; what "
            "people say of them goes in with `sluice review`"
        )
    if not found.scan_ids or name not in set(store.areas()["name"]):
        return
    known = set(store.detections(SiteQuery(area=name))["detection_id"])
    if known.intersection(found.scan_ids[:_LOOKED_UP]):
        raise ConfigError(
            f"{request.file}: is the result of a scan that has landed in area {name} already"
        )


def _within_area(
    store: Store, found: ForeignDetections, name: str, request: ImportRequest
) -> tuple[BoolArray, BaseGeometry | None]:
    """Which detections meet the area, and its outline where the store does not know it."""
    areas = store.areas()
    shapes = found.table.geometry.to_numpy()
    known = areas.loc[areas["name"] == name]
    if len(known):
        outline = known.geometry.iloc[0]
    else:
        check_area_name(name)
        outline = box_around(shapes) if request.area is None else read_area(request.area)
    meets = found.table.intersects(outline).to_numpy(dtype=bool)
    if not meets.any():
        raise ConfigError(
            f"{request.file}: none of its {len(found.table):,} detections meets area {name}; give "
            f"another --area{'-name' if len(known) else ''}"
        )
    return np.asarray(meets), None if len(known) else outline


def _run(
    request: ImportRequest, name: str, period: Period, sha256: str, left_out: dict[str, int]
) -> LandedRun:
    asked = f"{sha256}-{period.name}-{name}-{IMPORTED}"
    meaning = request.model_dump(mode="json", exclude={"file", "area", "area_name"})
    return LandedRun(
        run_id=f"import-{hashlib.sha256(asked.encode()).hexdigest()[:16]}",
        area=name,
        part=request.file.name,
        start=period.start,
        end=period.end,
        sensor=IMPORTED,
        model=request.file.name,
        model_sha256=sha256,
        prior=None,
        landed=dt.datetime.now(dt.UTC),
        folder=None,
        record={
            "sluice_version": __version__,
            "command": "import detections",
            "file": request.file.name,
            "sha256": sha256,
            **meaning,
            "left_out": left_out,
            "scenes": [],
        },
    )
