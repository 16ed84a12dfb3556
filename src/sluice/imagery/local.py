"""Images from disk: multi-band files and folders of single-band files."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import rasterio

from sluice.base.errors import ConfigError, ItemNotFound
from sluice.base.files import open_raster, sha256_file
from sluice.base.grid import iter_tiles
from sluice.base.records import Scene
from sluice.base.sensors import SENSORS, Sensor, find_sensor
from sluice.imagery.assets import Asset
from sluice.imagery.members import Members, members_of_file, members_of_folder
from sluice.imagery.names import (
    COMPOSED,
    SENSOR_TAG,
    SKY_LAYERS,
    SKY_TAG,
    baseline_in_name,
    sensor_in_name,
)
from sluice.imagery.radiometry import Stated, settle_radiometry
from sluice.imagery.scenes import SceneFiles, SceneImages, with_unique_ids

# Google Earth Engine's COPERNICUS/S2 catalogue: between these dates QA60 is there and empty.
_QA60_EMPTY_FROM = dt.date(2022, 1, 25)
_QA60_EMPTY_UNTIL = dt.date(2024, 2, 28)


def open_local(
    paths: Iterable[Path | str],
    *,
    sensor: str | None = None,
    bands: Sequence[str] | None = None,
    scale: float | None = None,
    offset: float | None = None,
    nodata: float | None = None,
) -> SceneImages:
    """Find out what images hold, and how to read them.

    Args:
        paths: Each a file of several bands, or a folder with one image: single-band files, or
            one file of several bands; a cloud layer in the folder is used.
        sensor: `Sensor.id`, where names do not tell.
        bands: Names of the bands in file order, for files whose bands have none.
        scale: reflectance = count * scale + offset; in place of what the files say.
        offset: See `scale`.
        nodata: Count that means no data; in place of what the files say.

    Raises:
        ItemNotFound: No such file or folder.
        AssetReadError: A file is damaged, or of a kind that is not opened.
        BandNotFound: No band has a known name.
        GridMismatch: A file has no CRS, or a folder's files have several.
        NoValidData: An image is empty.
        ConfigError: The sensor is unknown, dates are mixed in a folder, nobody states the
            scale, or `bands` does not fit.
    """
    images = [Path(path) for path in paths]
    _refuse_repeats(images)
    chosen = find_sensor(sensor) if sensor else None
    stated = Stated(scale, offset, nodata)
    found = [_open_scene(path, chosen, bands, stated) for path in images]
    found.sort(key=lambda files: (files.scene.acquired or dt.date.max, files.scene.id))
    return SceneImages(tuple(with_unique_ids(found)))


def _refuse_repeats(paths: list[Path]) -> None:
    if not paths:
        raise ConfigError("no image given; name a GeoTIFF or a folder of band files")
    seen: set[Path] = set()
    for path in paths:
        if not path.exists():
            raise ItemNotFound(f"{path}: no such file or folder; check the path", href=str(path))
        if path.resolve() in seen:
            raise ConfigError(f"{path}: given twice; name each image once", href=str(path))
        seen.add(path.resolve())


def _open_scene(
    path: Path, sensor: Sensor | None, bands: Sequence[str] | None, stated: Stated
) -> SceneFiles:
    collect = members_of_folder if path.is_dir() else members_of_file
    found = collect(path, sensor=sensor, bands=bands)
    radiometry = settle_radiometry(found.bands, stated, found.safe, where=str(path))
    names = [path.name, *(Path(asset.href).stem for asset in found.bands.values())]
    layer, sky = _choose_sky(found)
    tags = _tags_of(path)
    if layer is None and tags.get(SKY_TAG) == COMPOSED:
        layer = COMPOSED
    known = sensor or _recognise_sensor(found, names)
    if known is None and tags.get(SENSOR_TAG) in SENSORS:
        known = SENSORS[tags[SENSOR_TAG]]
    baselines = [found.safe.processing_baseline] if found.safe else map(baseline_in_name, names)
    files = _hash_files(path, found, sky)
    scene = Scene(
        id=path.name.removesuffix(".SAFE") if path.is_dir() else path.stem,
        href=str(path),
        sensor=known.id if known else None,
        acquired=found.acquired,
        processing_baseline=next(filter(None, baselines), None),
        bands=tuple(found.bands),
        sky_layer=layer,
        scale=radiometry.scale,
        offset=radiometry.offset,
        radiometry_from=radiometry.source,
        files=files,
        sha256=_fingerprint(files),
    )
    return SceneFiles(scene, radiometry.bands, sky)


def _tags_of(path: Path) -> dict[str, str]:
    if path.is_dir():
        return {}
    with rasterio.Env(), open_raster(path) as dataset:
        tags: dict[str, str] = dataset.tags()
        return tags


def _choose_sky(found: Members) -> tuple[str | None, Asset | None]:
    for layer in SKY_LAYERS:
        asset = found.sky.get(layer)
        if asset is None:
            continue
        # Every count of a cloud layer says something, 0 above all, whatever nodata tag it has.
        asset = replace(asset, nodata=None, scale=1.0, offset=0.0)
        if layer != "qa60" or _qa60_speaks(asset, found.acquired):
            return layer, asset
    return None, None


def _qa60_speaks(asset: Asset, acquired: dt.date | None) -> bool:
    """Whether zeros in QA60 mean clear sky, and not that nobody looked.

    Where it is zero throughout it masks nothing anyway, and it is zero in cloudy images of other
    years too: then it is no cloud layer, and the summary says so.
    """
    if acquired is not None and _QA60_EMPTY_FROM <= acquired < _QA60_EMPTY_UNTIL:
        return False
    return any(
        bool(np.nanmax(asset.read(tile), initial=0) > 0)
        for tile, _ in iter_tiles(asset.geobox.shape.yx, 2048, 0)
    )


def _recognise_sensor(found: Members, names: list[str]) -> Sensor | None:
    if found.safe is not None:
        return found.safe.sensor
    if set(found.bands) <= {"vv", "vh"}:
        return find_sensor("s1")
    if "scl" in found.sky:
        return find_sensor("s2-l2a")
    return next(filter(None, map(sensor_in_name, names)), None)


def _hash_files(path: Path, found: Members, sky: Asset | None) -> dict[str, str]:
    """SHA-256 of each file used, by its name, or its path within the folder."""
    if path.is_file():
        return {path.name: sha256_file(path)}
    used = {Path(asset.href) for asset in (*found.bands.values(), sky) if asset is not None}
    if found.safe is not None:
        used.add(found.safe.path)
    # A product's metadata may lie above the folder of its images.
    names = {Path(os.path.relpath(member, path)).as_posix(): member for member in used}
    return {name: sha256_file(names[name]) for name in sorted(names)}


def _fingerprint(files: dict[str, str]) -> str:
    if len(files) == 1:
        return next(iter(files.values()))
    return hashlib.sha256("\n".join(sorted(files.values())).encode()).hexdigest()
