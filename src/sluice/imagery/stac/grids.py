"""The grid of an item's asset, from what the item says: no file is opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from affine import Affine
from odc.geo import CRS
from odc.geo.geobox import GeoBox
from pyproj.exceptions import CRSError

from sluice.imagery.stac.facts import Item, finite, number_of, properties_of

_LARGEST_SIDE_PX = 1_000_000


def grid_of(item: Item, asset: Mapping[str, Any]) -> GeoBox | None:
    """The asset's grid, None where the item does not tell it or contradicts itself.

    Args:
        item: Its properties hold what its assets have in common.
        asset: Says it of itself where assets differ.
    """
    places: tuple[Mapping[str, Any], ...] = (asset, properties_of(item))
    crs = _crs(places)
    shape = _numbers(places, "proj:shape", (2,))
    transform = _numbers(places, "proj:transform", (6, 9))
    bbox = _numbers(places, "proj:bbox", (4,))
    if crs is None:
        return None
    if transform is None and bbox is not None and shape is not None and min(shape) > 0:
        west, south, east, north = bbox
        transform = [
            (east - west) / shape[1], 0.0, west, 0.0, (south - north) / shape[0], north,
        ]  # fmt: skip
    if transform is None:
        return None
    affine = Affine(*transform[:6])
    if affine.is_degenerate:
        return None
    if shape is None and bbox is not None and affine.is_rectilinear:
        shape = [
            round(abs((bbox[3] - bbox[1]) / affine.e)),
            round(abs((bbox[2] - bbox[0]) / affine.a)),
        ]
    if shape is None or not all(1 <= side <= _LARGEST_SIDE_PX for side in shape):
        return None
    return GeoBox((int(shape[0]), int(shape[1])), affine, crs)


def _crs(places: Sequence[Mapping[str, Any]]) -> CRS | None:
    for place in places:
        for name in ("proj:code", "proj:epsg", "proj:wkt2", "proj:projjson"):
            value = place.get(name)
            if isinstance(value, int | float):
                # Tables with gaps keep codes as floating point.
                code = finite(value)
                value = f"EPSG:{code:.0f}" if code else None
            if value:
                try:
                    return CRS(value)
                except (CRSError, ValueError, TypeError):
                    continue
    return None


def _numbers(
    places: Sequence[Mapping[str, Any]], name: str, lengths: tuple[int, ...]
) -> list[float] | None:
    for place in places:
        value = place.get(name)
        if isinstance(value, Sequence) and not isinstance(value, str) and len(value) in lengths:
            numbers = [number_of(number) for number in value]
            stated = [number for number in numbers if number is not None]
            # Not the item's own for the asset's: the asset may differ, as it states one.
            return stated if len(stated) == len(numbers) else None
    return None
