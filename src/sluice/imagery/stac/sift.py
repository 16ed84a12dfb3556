"""From the items that a search or a file gives to the scenes that can be used."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import shapely
from shapely.geometry.base import BaseGeometry

from sluice.base.errors import ConfigError
from sluice.base.periods import Period
from sluice.base.records import LeftOut
from sluice.imagery.catalogue import Found
from sluice.imagery.remote import public_address
from sluice.imagery.scenes import SceneFiles
from sluice.imagery.stac import facts
from sluice.imagery.stac.facts import Item
from sluice.imagery.stac.items import (
    Reading,
    meets_area,
    outline_of,
    scene_of_item,
)
from sluice.imagery.stac.processings import newest_processings

_READERS = 8
_MOST_VERTICES = 200
"""Servers limit the length of a request, and search by boxes first."""
_MOST_NAMES = 20
_FIRST_TOLERANCE = 0.005
_LAST_TOLERANCE = 2.0
_WORLD = (-180.0, -90.0, 180.0, 90.0)


def sift(
    items: Iterable[tuple[Item, str | None]],
    reading: Reading,
    area: BaseGeometry,
    period: Period,
    *,
    max_cloud: float | None = None,
    where: str,
) -> Found:
    """Keep what shows the area in the period with the sensor, in its newest processing.

    Items of other sensors, places and times are passed over; what fits and cannot be used is
    left out and named.

    Args:
        items: Items, and where each was read (None where its self link tells).
        reading: What is looked for.
        area: In longitude and latitude.
        period: When it was taken.
        max_cloud: Percent; an item that does not state its clouds stays.
        where: Address, for messages.

    Raises:
        ConfigError: There are items, all of other sensors.
    """
    shapely.prepare(area)
    others: set[str] = set()
    fitting, left_out = [], []
    is_any = False
    for item, base in items:
        is_any = True
        sensor = facts.sensor_id_of(item)
        if sensor not in {None, reading.sensor.id}:
            others.add(str(sensor))
            continue
        others.add(reading.sensor.id)
        reason = _reason_against(item, area, period, max_cloud)
        if reason is None:
            fitting.append((item, base))
        elif reason:
            left_out.append(_left_out(item, base, reason))
    if is_any and reading.sensor.id not in others:
        place = public_address(where)
        raise ConfigError(
            f"{place}: holds no {reading.sensor.id}, only {', '.join(sorted(others))}; give "
            "--sensor, or another --source",
            href=place,
        )
    with ThreadPoolExecutor(max_workers=_READERS) as pool:
        outcomes = list(pool.map(lambda one: scene_of_item(one[0], reading, base=one[1]), fitting))
    scenes: list[tuple[Item, SceneFiles]] = []
    for (item, _), outcome in zip(fitting, outcomes, strict=True):
        if isinstance(outcome, LeftOut):
            left_out.append(outcome)
        elif meets_area(item, outcome, area):
            scenes.append((item, outcome))
    kept, superseded = newest_processings(scenes)
    return Found(tuple(kept), (*left_out, *superseded))


def for_bands(reading: Reading, bands: Sequence[str]) -> Reading:
    """The reading of a search that needs these bands."""
    return replace(reading, bands=tuple(bands))


def no_such_collection(place: str, collection: str, names: Iterable[str]) -> ConfigError:
    """The error of a collection that is not there.

    Args:
        place: Address of the catalogue, without secrets.
        collection: As the user named it.
        names: Those that are there.
    """
    known = sorted(set(names))
    shown = ", ".join(known[:_MOST_NAMES]) or "none"
    more = f" and {len(known) - _MOST_NAMES} more" if len(known) > _MOST_NAMES else ""
    return ConfigError(
        f"{place}: has no collection {collection}; it has: {shown}{more}", href=place
    )


def simplified(area: BaseGeometry) -> BaseGeometry:
    """An area that holds the given one and has few vertices, to be sent to a server.

    Args:
        area: In longitude and latitude, within -180 to 180 degrees.
    """
    if shapely.get_num_coordinates(area) <= _MOST_VERTICES:
        return area
    tolerance = _FIRST_TOLERANCE
    while tolerance <= _LAST_TOLERANCE:
        grown = shapely.buffer(
            shapely.simplify(area, tolerance), 1.5 * tolerance, quad_segs=1, join_style="mitre"
        )
        sent = shapely.clip_by_rect(grown, *_WORLD)
        # GEOS may move an edge by more than the tolerance.
        if shapely.get_num_coordinates(sent) <= _MOST_VERTICES and sent.covers(area):
            return sent
        tolerance *= 2
    return shapely.union_all([shapely.box(*bounds) for bounds in boxes_of(area)])


def boxes_of(area: BaseGeometry) -> list[tuple[float, float, float, float]]:
    """Boxes that hold an area: one, or two for one that lies on both sides of 180 degrees."""
    west, _, east, _ = area.bounds
    if east - west <= 180:
        return [_bounds(area)]
    halves = (
        shapely.clip_by_rect(area, -180, -90, 0, 90),
        shapely.clip_by_rect(area, 0, -90, 180, 90),
    )
    return [_bounds(half) for half in halves if not half.is_empty]


def _bounds(area: BaseGeometry) -> tuple[float, float, float, float]:
    west, south, east, north = area.bounds
    return west, south, east, north


def _reason_against(
    item: Item, area: BaseGeometry, period: Period, max_cloud: float | None
) -> str | None:
    """None where an item fits, an empty text where it is of another place or time."""
    outline = outline_of(item)
    if outline is not None and not outline.intersects(area):
        return ""
    moment = facts.acquired_at(item)
    if moment is None:
        return "does not say when it was taken"
    if moment.date() not in period:
        return ""
    cloud = facts.cloud_cover(item)
    if max_cloud is not None and cloud is not None and cloud > max_cloud:
        return f"clouds {cloud:.0f} %, above --max-cloud {max_cloud:g}"
    return None


def _left_out(item: Item, base: str | None, reason: str) -> LeftOut:
    href = facts.self_href(item) or base or ""
    return LeftOut(scene_id=facts.id_of(item), href=public_address(href), reason=reason)
