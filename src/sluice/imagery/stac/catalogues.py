"""Opening a catalogue by the name, address or path that a user gives."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from sluice.base.errors import AuthError, ConfigError, ItemNotFound
from sluice.base.sensors import find_sensor
from sluice.imagery.assets import Asset, list_assets, open_remote_assets
from sluice.imagery.catalogue import Catalogue
from sluice.imagery.credentials import CDSE_KEYS, READER_PAYS
from sluice.imagery.radiometry import Stated
from sluice.imagery.remote import RemoteAccess, is_address, public_address, without_secrets
from sluice.imagery.stac.hrefs import suffix_of
from sluice.imagery.stac.items import Reading
from sluice.imagery.stac.presets import PRESETS, Holding, Preset, holding_for, preset_at
from sluice.imagery.stac.radiometry import refuse_senseless
from sluice.imagery.stac.search import StacApi
from sluice.imagery.stac.static import StaticCatalogue, read_json
from sluice.imagery.stac.web import Patience, open_io

_FILES = {".json", ".geojson", ".parquet", ".geoparquet"}
_STATIC_TYPES = {"Catalog", "Collection", "Feature", "FeatureCollection"}


def open_catalogue(
    source: str,
    sensor: str,
    *,
    collection: str | None = None,
    access: RemoteAccess | None = None,
    max_cloud: float | None = None,
    stated: Stated | None = None,
    patience: Patience | None = None,
) -> Catalogue:
    """Open a STAC catalogue.

    Args:
        source: Name of a preset; address of an API, or of a catalogue, item, list of items or
            stac-geoparquet file; or the path of one of these files.
        sensor: `Sensor.id`.
        collection: In place of the preset's, or of what an API's names tell.
        access: How the files that are found will be fetched; None where they are only looked up.
        max_cloud: Percent of a scene; cloudier ones are left out.
        stated: Scale, offset and nodata by flag, in place of what items say.
        patience: With servers.

    Raises:
        ConfigError: No such preset or file, the sensor is unknown or not there, the radar images
            are not terrain-corrected, the address is none of STAC, or a flag makes no sense.
        AuthError: The files cannot be read with this access.
        ItemNotFound, AuthError, RateLimited, SourceUnavailable: The address could not be read.
    """
    chosen = find_sensor(sensor)
    _refuse_uncorrected(sensor, collection)
    # Before anything is searched, and where nothing is found as well.
    refuse_senseless(stated or Stated())
    patience = patience or Patience()
    preset = PRESETS.get(source) or (preset_at(source) if is_address(source) else None)
    holding = _holding(preset, sensor, collection) if preset else None
    if preset is not None and access is not None:
        _refuse_locked(preset, holding, access)
    reading = Reading(
        sensor=chosen,
        holding=holding,
        access=access,
        stated=stated or Stated(),
        open_header=_open_header,
    )
    if preset is not None:
        name = collection or (holding.collection if holding else None)
        return StacApi(preset.url, reading, name, max_cloud, patience)
    if _is_served(source, patience):
        return StacApi(source, reading, collection, max_cloud, patience)
    return StaticCatalogue(source, reading, collection, max_cloud, patience)


def _holding(preset: Preset, sensor: str, collection: str | None) -> Holding | None:
    """The table for a collection; None for one of the catalogue's that is not listed here."""
    if collection is None:
        return holding_for(preset, sensor)
    return preset.holding(sensor, collection)


def _refuse_locked(preset: Preset, holding: Holding | None, access: RemoteAccess) -> None:
    """Refuse what could be found and never read, before anything is searched."""
    if preset.needs_s3_keys and not access.s3_key:
        raise AuthError(
            f"--source {preset.name}: its images cannot be read without keys; {CDSE_KEYS}",
            href=preset.url,
        )
    if holding is not None and holding.requester_pays and not access.requester_pays:
        raise AuthError(
            f"--source {preset.name}, collection {holding.collection}: {READER_PAYS}; "
            f"or use another --source for {holding.sensor}",
            href=preset.url,
        )


def _refuse_uncorrected(sensor: str, collection: str | None) -> None:
    words = set(re.split(r"[^a-z0-9]+", (collection or "").lower()))
    if sensor == "s1" and words & {"grd", "slc"} and not words & {"rtc", "nrb"}:
        raise ConfigError(
            f"--collection {collection}: these radar images are not terrain-corrected, and slopes "
            "would look like change; use terrain-corrected ones (RTC), such as sentinel-1-rtc of "
            "--source planetary-computer"
        )


def _is_served(source: str, patience: Patience) -> bool:
    """Whether an API answers there, and not a file of a static catalogue.

    Raises:
        ConfigError: Neither.
    """
    if not is_address(source):
        _refuse_unknown(source)
        return False
    if suffix_of(source) in {".parquet", ".geoparquet"}:
        return False
    io = open_io(patience)
    try:
        content = read_json(source, io)
    finally:
        io.session.close()
    if isinstance(content, Mapping):
        links = [link for link in content.get("links") or () if isinstance(link, Mapping)]
        if any(link.get("rel") == "search" for link in links):
            return True
        if content.get("type") in _STATIC_TYPES or "stac_version" in content:
            return False
    raise ConfigError(
        f"{public_address(source)}: answers, and not as STAC does; check the address: an API's "
        "ends for example in /v1 or /stac",
        href=public_address(source),
    )


def _refuse_unknown(source: str) -> None:
    if Path(source).is_file() and suffix_of(source) in _FILES:
        return
    known = ", ".join(PRESETS)
    if suffix_of(source) in _FILES:
        raise ItemNotFound(f"{source}: no such file; check the path", href=source)
    raise ConfigError(
        f"--source {without_secrets(source)}: is not known; use {known}, the address of a STAC "
        "API, or the path of a catalog.json, a file of items (.json, .geojson) or a "
        "stac-geoparquet file (.parquet)"
    )


def _open_header(href: str, access: RemoteAccess | None) -> list[Asset]:
    return open_remote_assets(href, access) if is_address(href) else list_assets(Path(href))
