"""Which asset of an item holds which band, and what the item says of its pixels."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sluice.base.sensors import Sensor
from sluice.imagery.names import SKY_LAYERS, band_in_name, find_band, sky_layer_in_name
from sluice.imagery.stac.facts import Item, number_of
from sluice.imagery.stac.presets import Holding

_NOT_DATA = frozenset({"thumbnail", "overview", "visual", "metadata", "tiles"})
_PICTURES = ("visual", "tci", "preview", "thumbnail", "overview")
_TIFF = ("image/tiff", "image/vnd.stac.geotiff")
_JP2 = ("image/jp2",)
_SUFFIXES = {".tif": "tiff", ".tiff": "tiff", ".jp2": "jp2"}
# Earth Search counts the red edges; STAC's newer common names hold the wavelength.
_ALIASES = {"rededge1": "rededge071", "rededge2": "rededge075", "rededge3": "rededge078"}


@dataclass(frozen=True)
class BandPlace:
    """Where one band of an item is."""

    key: str
    """Of the asset."""
    asset: Mapping[str, Any]
    index: int = 1
    """Band number in the file, from 1."""

    @property
    def is_tiff(self) -> bool:
        """Whether the file is a GeoTIFF, not JPEG 2000."""
        return media_kind(self.asset) == "tiff"

    @functools.cached_property
    def pixels(self) -> PixelFacts:
        """What the item says of the band's counts."""
        return _pixels(self.asset, self.index - 1)


@dataclass(frozen=True)
class PixelFacts:
    """What an item states of a band's counts; None where it says nothing."""

    data_type: str | None
    nodata: float | None
    scale: float | None
    offset: float | None
    unit: str | None


def places_of(
    item: Item, holding: Holding | None, sensor: Sensor | None
) -> tuple[dict[str, BandPlace], dict[str, BandPlace]]:
    """Find bands and cloud layers among an item's assets.

    Args:
        item: Of STAC 1.0 or 1.1.
        holding: The catalogue's own names, which come first; other assets are then recognised
            by band name, asset key and common name.
        sensor: Whose bands to look for.

    Returns:
        Bands by common name in the sensor's order, and cloud layers by name, the first to prefer.
    """
    assets = {
        str(key): asset
        for key, asset in (item.get("assets") or {}).items()
        if isinstance(asset, Mapping) and asset.get("href") and media_kind(asset)
    }
    bands: dict[str, BandPlace] = {}
    sky: dict[str, BandPlace] = {}
    if holding is not None:
        bands = _listed(holding.assets, assets)
        sky = _listed(holding.sky, assets)
    if sensor is None or len(bands) < len(sensor.bands) or not sky:
        known, layers = _recognised(assets, sensor)
        bands = {**known, **bands}
        sky = {**layers, **sky}
    order = [band.common_name for band in sensor.bands] if sensor else list(bands)
    return (
        {name: bands[name] for name in order if name in bands},
        {layer: sky[layer] for layer in SKY_LAYERS if layer in sky},
    )


def media_kind(asset: Mapping[str, Any]) -> str | None:
    """`tiff` or `jp2`, None for what is no image that is read."""
    media = str(asset.get("type") or "").lower()
    if media.startswith(_TIFF):
        return "tiff"
    if media.startswith(_JP2):
        return "jp2"
    if media:
        return None
    path = str(asset.get("href") or "").split("?")[0].lower()
    return next((kind for suffix, kind in _SUFFIXES.items() if path.endswith(suffix)), None)


def resolution_m(asset: Mapping[str, Any]) -> float:
    """Pixel side as the item states it, infinite where it does not."""
    transform = asset.get("proj:transform")
    stated: list[Any] = []
    if isinstance(transform, Sequence) and not isinstance(transform, str) and len(transform) >= 6:
        stated.append(transform[0])
    stated += [band.get("spatial_resolution") for band in _entries(asset, "raster:bands")]
    stated += [asset.get("raster:spatial_resolution"), asset.get("gsd")]
    return next((abs(side) for value in stated if (side := number_of(value))), math.inf)


def _listed(table: Mapping[str, Sequence[str]], assets: Mapping[str, Any]) -> dict[str, BandPlace]:
    found = {}
    for name, keys in table.items():
        key = next((key for key in keys if key in assets), None)
        if key is not None:
            found[name] = BandPlace(key, assets[key])
    return found


def _recognised(
    assets: Mapping[str, Mapping[str, Any]], sensor: Sensor | None
) -> tuple[dict[str, BandPlace], dict[str, BandPlace]]:
    bands: dict[str, BandPlace] = {}
    sky: dict[str, BandPlace] = {}
    for key, asset in assets.items():
        if _is_picture(key, asset):
            continue
        layer = sky_layer_in_name(key)
        if layer == "qa60":
            # Empty for two years, when it meant nothing; no catalogue known here has it.
            continue
        if layer is not None:
            _keep_better(sky, layer, BandPlace(key, asset), sensor)
            continue
        for index, name in enumerate(_band_names(key, asset, sensor), start=1):
            if name is not None:
                _keep_better(bands, name, BandPlace(key, asset, index), sensor)
    return bands, sky


def _is_picture(key: str, asset: Mapping[str, Any]) -> bool:
    roles = {str(role).lower() for role in asset.get("roles") or ()}
    return bool(roles & _NOT_DATA) or any(part in key.lower() for part in _PICTURES)


def _band_names(key: str, asset: Mapping[str, Any], sensor: Sensor | None) -> list[str | None]:
    """Common names of a file's bands, in its order."""
    entries = _entries(asset, "bands") or _entries(asset, "eo:bands")
    if len(entries) > 1:
        return [_name_of(entry, sensor) for entry in entries]
    own = _name_of(entries[0], sensor) if entries else None
    return [own or _known(key, sensor) or band_in_name(key, sensor)]


def _name_of(entry: Mapping[str, Any], sensor: Sensor | None) -> str | None:
    # The band's own name first: STAC calls all red edges of Sentinel-2 `rededge`.
    for field in ("name", "eo:common_name", "common_name"):
        found = _known(str(entry.get(field) or ""), sensor)
        if found is not None:
            return found
    return None


@functools.lru_cache(maxsize=1024)
def _known(name: str, sensor: Sensor | None) -> str | None:
    return find_band(_ALIASES.get(name.lower(), name), sensor) if name else None


def _keep_better(
    kind: dict[str, BandPlace], name: str, place: BandPlace, sensor: Sensor | None
) -> None:
    """Of several files of one band prefer GeoTIFF, then the sensor's own resolution, then finer."""
    own = sensor.band(name).gsd_m if sensor and sensor.has_band(name) else 0.0

    def rank(candidate: BandPlace) -> tuple[bool, bool, float]:
        metres = resolution_m(candidate.asset)
        return not candidate.is_tiff, not math.isclose(metres, own), metres

    if name not in kind or rank(place) < rank(kind[name]):
        kind[name] = place


def _pixels(asset: Mapping[str, Any], position: int) -> PixelFacts:
    """Of a band: its own entry first, then the asset's."""
    entries = [
        listed[position]
        for field in ("bands", "raster:bands")
        if position < len(listed := _entries(asset, field))
    ]
    sources = [*entries, asset]

    def first(*names: str) -> Any:
        for source in sources:
            for name in names:
                if source.get(name) is not None:
                    return source[name]
        return None

    data_type = str(first("data_type") or "") or None
    return PixelFacts(
        data_type=data_type,
        nodata=_nodata(first("nodata"), data_type),
        scale=number_of(first("raster:scale", "scale")),
        offset=number_of(first("raster:offset", "offset")),
        unit=str(first("unit") or "") or None,
    )


def _nodata(value: Any, data_type: str | None) -> float | None:
    # NaN marks floating-point pixels that are absent; integers never are NaN, so there it is
    # what a writer put where it knew none. `nan` and `inf` are texts in JSON.
    if (data_type or "").startswith("float") and isinstance(value, float | str):
        try:
            return float(value)
        except ValueError:
            return None
    return number_of(value)


def _entries(asset: Mapping[str, Any], field: str) -> list[Mapping[str, Any]]:
    value = asset.get(field)
    if not isinstance(value, Sequence) or isinstance(value, str):
        return []
    return [entry if isinstance(entry, Mapping) else {} for entry in value]
