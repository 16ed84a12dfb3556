"""Folders of images of many dates: looked up by area and period, like a catalogue."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shapely.geometry.base import BaseGeometry

from sluice.base.errors import ConfigError, ItemNotFound, SourceError
from sluice.base.periods import Period
from sluice.base.records import LeftOut, Scene
from sluice.base.sensors import find_sensor
from sluice.imagery.assets import list_assets
from sluice.imagery.candidates import Candidate, open_each
from sluice.imagery.catalogue import Catalogue, Found
from sluice.imagery.footprints import meets
from sluice.imagery.local import open_local
from sluice.imagery.names import (
    band_in_name,
    date_in_name,
    read_sentinel2_name,
    sensor_in_name,
    sky_layer_in_name,
)
from sluice.imagery.planet import MosaicFolder, PlanetScopeFolder
from sluice.imagery.safe import SafeMetadata, find_safe_metadata, read_safe_metadata
from sluice.imagery.scenes import SceneFiles

_SUFFIXES = {".tif", ".tiff", ".jp2"}
_METADATA = ("MTD_MSIL1C.xml", "MTD_MSIL2A.xml")


def open_folder(
    folder: Path | str,
    sensor: str,
    *,
    scale: float | None = None,
    offset: float | None = None,
    nodata: float | None = None,
) -> Catalogue:
    """The images of a folder, and of folders in it, as a catalogue.

    Args:
        folder: PlanetScope orders, quads of mosaics, Sentinel-2 products (SAFE), or images with
            their date in the name of the file or of a folder around it.
        sensor: `planet`, or a `Sensor.id`.
        scale: See `open_local`; not for Planet's, whose scale is known.
        offset: Likewise.
        nodata: Likewise.

    Raises:
        ItemNotFound: No such folder.
        ConfigError: The sensor is not known, or a scale is stated for Planet's images.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ItemNotFound(f"{folder}: no such folder; check the path", href=str(folder))
    if sensor != "planet":
        find_sensor(sensor)
    if sensor not in {"planet", "planet-4b", "planet-8b", "nicfi"}:
        return ImageFolder(folder, sensor, scale, offset, nodata)
    if (scale, offset, nodata) != (None, None, None):
        raise ConfigError(
            "the scale of images that Planet delivers is known; leave --scale, --offset and "
            "--nodata out, or name a changed image by itself"
        )
    return MosaicFolder(folder) if sensor == "nicfi" else PlanetScopeFolder(folder, sensor)


@dataclass(frozen=True)
class ImageFolder:
    """Images with dates in their names, each as `open_local` understands it.

    A scene is a SAFE product, a folder of single-band files, or a file of several bands. Its
    date is in the product's name, else in its files' names, else in that of the nearest folder.
    """

    folder: Path
    sensor: str
    scale: float | None = None
    """See `open_local`."""
    offset: float | None = None
    nodata: float | None = None

    def find(self, area: BaseGeometry, period: Period, bands: Sequence[str]) -> Found:
        """See `Catalogue.find`.

        Only of scenes whose date fits, headers are read; of those that meet the area too, the
        few windows that `open_local` looks at to check the radiometry.
        """
        left_out: list[LeftOut] = []
        candidates: list[Candidate] = []
        paths = list(_scene_paths(self.folder, self.sensor))
        if not paths:
            raise ConfigError(
                f"{self.folder}: holds no image (.tif or .jp2), nor do folders in it; check the "
                "path",
                href=str(self.folder),
            )
        for path in paths:
            try:
                dates = self._dates(path)
                refusal = None if dates else _NO_DATE
            except SourceError as err:
                dates, refusal = set(), str(err)
            if refusal is not None:
                left_out.append(LeftOut(scene_id=_name(path), href=str(path), reason=refusal))
            elif any(date in period for date in dates):
                candidates.append(self._candidate(path, min(dates), area))
        return open_each(candidates, bands, left_out)

    def _dates(self, path: Path) -> set[dt.date]:
        """Dates of a scene's images, of which there should be one."""
        product = read_sentinel2_name(path.name)
        if product is not None:
            return {product.datatake_start.date()}
        safe = _safe_of(path)
        if safe is not None:
            return {safe.acquired}
        files = _images_in(path) if path.is_dir() else [path]
        dates = {date_in_name(file.stem) for file in files} - {None}
        if not dates:
            around = [path, *path.parents] if path.is_dir() else path.parents
            inside = [p.name for p in around if p.is_relative_to(self.folder)]
            dates = {next(filter(None, map(date_in_name, inside)), None)} - {None}
        return {date for date in dates if date is not None}

    def _candidate(self, path: Path, acquired: dt.date, area: BaseGeometry) -> Candidate:
        return Candidate(_name(path), str(path), lambda: self._open(path, acquired, area))

    def _open(self, path: Path, acquired: dt.date, area: BaseGeometry) -> SceneFiles | None:
        safe = _safe_of(path)
        known = safe.sensor if safe else sensor_in_name(path.name)
        if known is not None and known.id != self.sensor:
            raise ConfigError(
                f"{path}: is {known.id}, and {self.sensor} was asked for; give --sensor {known.id} "
                "to use it"
            )
        first = next(iter(_images_in(path)), path) if path.is_dir() else path
        if not meets(area, list_assets(first)[0].geobox):
            return None
        (files,) = open_local(
            [path], sensor=self.sensor, scale=self.scale, offset=self.offset, nodata=self.nodata
        ).files
        return replace(files, scene=_told_by_product(files.scene, path, safe, acquired))


_NO_DATE = (
    "no date in its name, nor in that of its folder; add it, as in 2024-01-15_B04.tif, or name "
    "the image by itself"
)


def _scene_paths(folder: Path, sensor: str) -> Iterator[Path]:
    """Files and folders that each hold one scene, in order of their names."""
    if folder.suffix == ".SAFE" or any((folder / name).is_file() for name in _METADATA):
        yield folder
        return
    files = _images_in(folder)
    if any(_is_layer(path, sensor) for path in files):
        yield folder
    else:
        yield from files
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        resolution = entry.name in {"R10m", "R20m", "R60m"}
        if entry.is_dir() and not entry.name.startswith(".") and not resolution:
            yield from _scene_paths(Path(entry.path), sensor)


def _images_in(folder: Path) -> list[Path]:
    """Image files of one folder, with those of its folders by resolution, or of a product."""
    patterns = ("*", "R*0m/*", "GRANULE/*/IMG_DATA/*", "GRANULE/*/IMG_DATA/R*0m/*")
    files = {path for pattern in patterns for path in folder.glob(pattern)}
    return sorted(
        path
        for path in files
        if path.suffix.lower() in _SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def _is_layer(path: Path, sensor: str) -> bool:
    """Whether a file holds one band, or a cloud layer, of a scene of several files."""
    band = band_in_name(path.stem, find_sensor(sensor))
    return band is not None or sky_layer_in_name(path.stem) is not None


def _safe_of(path: Path) -> SafeMetadata | None:
    metadata = find_safe_metadata(path) if path.is_dir() else None
    return read_safe_metadata(metadata) if metadata else None


def _told_by_product(
    scene: Scene, path: Path, safe: SafeMetadata | None, acquired: dt.date
) -> Scene:
    """The scene with what its product's name and metadata tell besides."""
    told: dict[str, object] = {}
    if scene.acquired is None:
        told["acquired"] = acquired
    product = read_sentinel2_name(path.name)
    if product is not None:
        told |= {"tile": product.tile, "acquired_at": product.datatake_start}
    if safe is not None:
        told |= {"acquired_at": safe.acquired_at, "cloud_cover": safe.cloud_cover}
    return scene.model_copy(update=told)


def _name(path: Path) -> str:
    return path.name.removesuffix(".SAFE") if path.is_dir() else path.stem
