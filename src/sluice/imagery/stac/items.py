"""From an item to a scene and its files, without opening any."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from odc.geo.geobox import GeoBox
from shapely import box, get_coordinates
from shapely.errors import ShapelyError
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from sluice.base.errors import DataError, SourceError
from sluice.base.polygons import mend
from sluice.base.records import LeftOut, Scene
from sluice.base.sensors import Sensor
from sluice.imagery.assets import Asset
from sluice.imagery.footprints import meets
from sluice.imagery.radiometry import Stated
from sluice.imagery.remote import RemoteAccess, is_address, public_address
from sluice.imagery.scenes import SceneFiles
from sluice.imagery.stac import facts
from sluice.imagery.stac.bands import BandPlace, places_of
from sluice.imagery.stac.facts import Item
from sluice.imagery.stac.grids import grid_of
from sluice.imagery.stac.hrefs import resolve
from sluice.imagery.stac.presets import RTC_NODATA, Holding
from sluice.imagery.stac.radiometry import Radiometry, radiometry_of
from sluice.imagery.stac.refusals import Refused

OpenHeader = Callable[[str, RemoteAccess | None], list[Asset]]
"""Describes the bands of a file by reading its header: for items that do not tell its grid."""

_NEAR_DEGREES = 0.1
"""Outlines are rounded and simplified."""


@dataclass(frozen=True)
class Reading:
    """How items of one search are read."""

    sensor: Sensor
    bands: tuple[str, ...] = ()
    """Common names that an item must have."""
    holding: Holding | None = None
    access: RemoteAccess | None = None
    stated: Stated = field(default=Stated())
    """The user's flags."""
    open_header: OpenHeader | None = None


def scene_of_item(item: Item, reading: Reading, *, base: str | None = None) -> SceneFiles | LeftOut:
    """A scene and its files from what an item says.

    Of Sentinel-2 the offset is as claimed, in an `UnsettledFiles` that wants to be checked.

    Args:
        item: Of STAC 1.0 or 1.1, of the reading's sensor.
        reading: What is looked for.
        base: Where the item lies, for relative addresses; None takes its self link's word.

    Returns:
        The scene with all bands that it has, or why it cannot be used.
    """
    href = facts.self_href(item) or base or ""
    try:
        return _scene(item, reading, base)
    except Refused as err:
        reason = str(err)
    except (SourceError, DataError) as err:
        reason = f"the file's header tells what the item does not, and cannot be read: {err}"
    return LeftOut(scene_id=facts.id_of(item), href=public_address(href), reason=reason)


def meets_area(item: Item, files: SceneFiles, area: BaseGeometry) -> bool:
    """Whether a scene shows any of an area.

    By its files' grid, and within that by the item's outline of what was seen.

    Args:
        item: With the outline.
        files: The item's files.
        area: In longitude and latitude, within -180 to 180 degrees.
    """
    if not any(meets(area, grid) for grid in _places(files.bands)):
        return False
    outline = outline_of(item)
    return outline is None or bool(outline.intersects(area))


def _scene(item: Item, reading: Reading, base: str | None) -> SceneFiles:
    sensor = reading.sensor
    if sensor.id == "s1" and not facts.is_terrain_corrected(item):
        raise Refused(
            "nothing says that this radar image is terrain-corrected (RTC), and slopes would look "
            "like change; use a collection such as Planetary Computer's sentinel-1-rtc"
        )
    own = facts.self_href(item)
    base = base if base is not None else own
    places, sky_places = places_of(item, reading.holding, sensor)
    missing = [band for band in reading.bands if band not in places]
    if missing:
        have = ", ".join(places) or "none with a known name"
        raise Refused(f"has no {', '.join(missing)}; its bands: {have}")
    if not places:
        raise Refused("none of its assets is an image of a known band")
    radiometry = radiometry_of(item, places, sensor, reading.stated)
    bands = _assets(item, reading, places, radiometry, base)
    layer, sky = _sky(item, reading, sky_places, base)
    _refuse_misplaced(item, bands)
    moment = facts.acquired_at(item)
    is_sentinel_2 = sensor.id.startswith("s2")
    scene = Scene(
        id=facts.id_of(item),
        href=public_address(own or base or next(iter(bands.values())).href),
        sensor=sensor.id,
        acquired=moment.date() if moment else None,
        acquired_at=moment,
        tile=facts.tile_of(item) if is_sentinel_2 else None,
        orbit_state=facts.orbit_state(item),
        cloud_cover=facts.cloud_cover(item),
        processing_baseline=facts.processing_baseline(item) if is_sentinel_2 else None,
        bands=tuple(bands),
        sky_layer=layer,
        scale=radiometry.scale,
        offset=radiometry.offset,
        radiometry_from=radiometry.source,
    )
    return radiometry.files(scene, bands, sky)


def _assets(
    item: Item,
    reading: Reading,
    places: dict[str, BandPlace],
    radiometry: Radiometry,
    base: str | None,
) -> dict[str, Asset]:
    bands = {}
    for name, place in places.items():
        wanted = name in reading.bands or not reading.bands
        asset = _asset(item, reading, place, base, must=wanted)
        if asset is None:
            continue
        nodata = _nodata(place, reading)
        bands[name] = replace(
            asset,
            scale=radiometry.scale,
            offset=radiometry.offset,
            has_scale_tags=False,
            is_power=radiometry.is_power,
            nodata=asset.nodata if nodata is None else nodata,
        )
    return bands


def _asset(
    item: Item, reading: Reading, place: BandPlace, base: str | None, *, must: bool
) -> Asset | None:
    """A band's file as the item describes it, or as its header does where it must be known."""
    href = resolve(str(place.asset["href"]), base)
    size = facts.finite(place.asset.get("file:size"))
    size_bytes = None if size is None else int(size)
    grid = grid_of(item, place.asset)
    if grid is not None:
        pixels = place.pixels
        usual = "float32" if reading.sensor.quantity == "backscatter_db" else "uint16"
        return Asset(
            href=href,
            index=place.index,
            description=place.key,
            geobox=grid,
            dtype=pixels.data_type or usual,
            nodata=pixels.nodata,
            has_mask=False,
            access=reading.access if is_address(href) else None,
            size_bytes=size_bytes,
            is_promised=True,
        )
    if not must:
        return None
    if reading.open_header is None:
        raise Refused(
            f"neither asset {place.key} nor the item says on which grid it lies "
            "(proj:code, proj:shape, proj:transform)"
        )
    listed = {asset.index: asset for asset in reading.open_header(href, reading.access)}
    if place.index not in listed:
        raise Refused(f"asset {place.key} has no band {place.index}; it has {len(listed)}")
    return replace(listed[place.index], size_bytes=size_bytes)


def _sky(
    item: Item, reading: Reading, places: dict[str, BandPlace], base: str | None
) -> tuple[str | None, Asset | None]:
    for layer, place in places.items():
        asset = _asset(item, reading, place, base, must=reading.open_header is not None)
        if asset is not None:
            # Every count of a cloud layer says something, 0 above all.
            dtype = place.pixels.data_type or "uint8"
            return layer, replace(asset, dtype=dtype, nodata=None)
    return None, None


def _nodata(place: BandPlace, reading: Reading) -> float | None:
    """By flag, item, catalogue, and for Sentinel by what the products have."""
    holding = reading.holding
    usual = {"s2-l1c": 0.0, "s2-l2a": 0.0, "s1": RTC_NODATA}.get(reading.sensor.id)
    stated = (reading.stated.nodata, place.pixels.nodata, holding.nodata if holding else None)
    return next((value for value in (*stated, usual) if value is not None), None)


def _refuse_misplaced(item: Item, bands: dict[str, Asset]) -> None:
    """Refuse a grid that lies elsewhere than the item itself, as with a swapped transform."""
    outline = outline_of(item)
    if outline is None:
        return
    for grid in _places(bands):
        if not _on_earth(grid, outline):
            raise Refused(
                "its proj:transform and proj:code put its files elsewhere than its outline "
                f"({', '.join(f'{value:.2f}' for value in outline.bounds)})"
            )


def _places(bands: dict[str, Asset]) -> list[GeoBox]:
    """One grid of each extent: the resolutions of a tile cover the same ground."""
    found = {}
    for asset in bands.values():
        grid, a = asset.geobox, asset.geobox.affine
        height, width = grid.shape.yx
        across, down = (a.a * width, a.d * width), (a.b * height, a.e * height)
        found[str(grid.crs), a.c, a.f, across, down] = grid
    return list(found.values())


def _on_earth(grid: GeoBox, outline: BaseGeometry) -> bool:
    try:
        with np.errstate(invalid="ignore"):
            return meets(box(*outline.bounds).buffer(_NEAR_DEGREES), grid)
    except ValueError:
        # No outline is left of a grid where its projection has no numbers.
        return False


def outline_of(item: Item) -> BaseGeometry | None:
    """The outline of what an item shows, by its geometry, else its box, in degrees.

    Returns:
        None where it has none, or one that spans half the world: that is one across 180 degrees,
        drawn the wrong way round, and tells nothing.
    """
    outline = _drawn_outline(item)
    if outline is None or outline.bounds[2] - outline.bounds[0] > 180:
        return None
    return outline


def _drawn_outline(item: Item) -> BaseGeometry | None:
    try:
        with np.errstate(invalid="ignore"):
            geometry = shape(item["geometry"])
        if not geometry.is_empty and np.isfinite(get_coordinates(geometry)).all():
            return mend(geometry)
    except (KeyError, TypeError, ValueError, AttributeError, ShapelyError):
        pass
    bbox = item.get("bbox")
    if not isinstance(bbox, list | tuple) or len(bbox) not in {4, 6}:
        return None
    sides = [facts.finite(bbox[k]) for k in (0, 1, len(bbox) // 2, len(bbox) // 2 + 1)]
    numbers = [side for side in sides if side is not None]
    if len(numbers) < len(sides):
        return None
    west, south, east, north = numbers
    # By GeoJSON's rule a box across 180 degrees has its west east of its east.
    return box(west, south, east, north) if west <= east else None
