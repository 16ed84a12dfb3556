"""Which bands and cloud layers a file or a folder holds."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sluice.base.errors import BandNotFound, ConfigError, GridMismatch
from sluice.base.sensors import Sensor
from sluice.imagery.assets import Asset, list_assets
from sluice.imagery.names import (
    band_in_description,
    band_in_name,
    date_in_name,
    find_band,
    is_landsat,
    sky_layer_in_name,
)
from sluice.imagery.safe import SafeMetadata, find_safe_metadata, read_safe_metadata

_SUFFIXES = {".tif", ".tiff", ".jp2"}
SKIP = "-"
"""In a list of bands: this one is not used."""


@dataclass
class Members:
    """What was found in a file or folder, before radiometry."""

    bands: dict[str, Asset] = field(default_factory=dict)
    """By common name."""
    sky: dict[str, Asset] = field(default_factory=dict)
    """By layer name, see `names.SKY_LAYERS`."""
    acquired: dt.date | None = None
    safe: SafeMetadata | None = None

    def add(self, name: str, asset: Asset, *, is_sky: bool) -> None:
        """Take a band in; of two resolutions of one band the finer stays.

        Raises:
            ConfigError: The band is there twice at one resolution.
        """
        kind = self.sky if is_sky else self.bands
        other = kind.get(name)
        if other is None or _pixel_area(asset) < _pixel_area(other):
            kind[name] = asset
        elif _pixel_area(asset) == _pixel_area(other):
            places = " and ".join(f"{a.name} (band {a.index})" for a in (other, asset))
            raise ConfigError(
                f"{Path(asset.href).parent}: {name} is there twice, in {places}; "
                "keep one image in a folder, or name the bands with --bands",
                href=asset.href,
            )


def members_of_file(path: Path, *, sensor: Sensor | None, bands: Sequence[str] | None) -> Members:
    """Name the bands of one file.

    By `bands`; else by the file's own descriptions; else, for a single band, by the file's
    name; else, if the user named the sensor and the number of bands agrees, in its order.

    Raises:
        BandNotFound: No band has a known name.
        ConfigError: `bands` does not fit the file, or names a band twice.
    """
    found = Members(acquired=date_in_name(path.stem))
    assets = list_assets(path)
    if bands is not None:
        names = _stated_names(path, assets, bands, sensor)
    else:
        names = _own_names(path, assets, sensor)
    for asset, name in zip(assets, names, strict=True):
        if name is not None:
            is_sky = sky_layer_in_name(name) == name
            found.add(name, asset, is_sky=is_sky)
    if not found.bands:
        have = [asset.description or f"band {asset.index} without a name" for asset in assets]
        raise BandNotFound(
            f"{path}: none of its bands has a known name; found: {', '.join(have)}. Name them "
            f"in file order, for example --bands blue,green,red,nir ({SKIP} for one to leave out)",
            href=str(path),
        )
    return found


def members_of_folder(
    folder: Path, *, sensor: Sensor | None, bands: Sequence[str] | None
) -> Members:
    """Name the bands of a folder of single-band files, or of one image and its cloud layer.

    Raises:
        BandNotFound: No file has a known name.
        ConfigError: Images of two dates, or one band twice, or not known which image is meant.
        GridMismatch: The files are in several CRS.
        AssetReadError: A file or the product's metadata is damaged.
    """
    metadata = find_safe_metadata(folder)
    files = _image_files(folder)
    named, others = _sort_by_name(files, sensor)
    found = Members(safe=read_safe_metadata(metadata) if metadata else None)
    dated = _dates_of(path for path, _, _ in named)
    _refuse_mixed_dates(folder, dated)
    for path, name, is_sky in named:
        found.add(name, _only_band(path, is_sky=is_sky), is_sky=is_sky)
    if not found.bands:
        _add_multiband(found, folder, others, dated, sensor=sensor, bands=bands)
    elif bands is not None:
        raise ConfigError(
            f"{folder}: --bands is for files of several bands; here the files' names tell "
            f"({', '.join(found.bands)}); leave it out"
        )
    _refuse_mixed_dates(folder, dated)
    _refuse_mixed_crs(folder, found)
    if found.safe is not None:
        found.acquired = found.safe.acquired
    else:
        found.acquired = next(iter(dated), None) or date_in_name(folder.name)
    return found


def _stated_names(
    path: Path, assets: list[Asset], bands: Sequence[str], sensor: Sensor | None
) -> list[str | None]:
    if len(bands) != len(assets):
        raise ConfigError(
            f"{path}: --bands names {len(bands)} bands ({', '.join(bands)}) and the file has "
            f"{len(assets)}; name each in file order, {SKIP} for one to leave out"
        )
    names: list[str | None] = []
    for band in bands:
        name = None if band == SKIP else find_band(band, sensor) or sky_layer_in_name(band)
        if name is None and band != SKIP:
            of = f" of {sensor.id}" if sensor else ""
            raise ConfigError(
                f"--bands: {band!r} is not a band{of}; use names such as B04, red, nir, VV, "
                f"or {SKIP} for one to leave out"
            )
        names.append(name)
    return names


def _own_names(path: Path, assets: list[Asset], sensor: Sensor | None) -> list[str | None]:
    names: list[str | None] = [
        band_in_description(asset.description, sensor) or sky_layer_in_name(asset.description)
        for asset in assets
    ]
    if len(assets) == 1 and not any(names):
        names = [band_in_name(path.stem, sensor)]
    if any(names):
        if is_landsat(path.stem):
            raise _landsat(path)
        return names
    unnamed = not any(asset.description for asset in assets)
    if sensor is not None and unnamed and len(sensor.bands) == len(assets):
        return [band.common_name for band in sensor.bands]
    return names


def _image_files(folder: Path) -> list[Path]:
    """Image files of a folder, of a SAFE product's image folders, and of `R10m` and the like."""
    patterns = ["*", "R*0m/*", "GRANULE/*/IMG_DATA/*", "GRANULE/*/IMG_DATA/R*0m/*"]
    patterns += ["GRANULE/*/QI_DATA/MSK_CLDPRB_*"]
    files = {path for pattern in patterns for path in folder.glob(pattern)}
    return sorted(
        path
        for path in files
        if path.suffix.lower() in _SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def _sort_by_name(
    files: Iterable[Path], sensor: Sensor | None
) -> tuple[list[tuple[Path, str, bool]], list[Path]]:
    """Files with the band or cloud layer of their name, and the other files."""
    named, others = [], []
    for path in files:
        sky = sky_layer_in_name(path.stem)
        name = sky or band_in_name(path.stem, sensor)
        if name is None:
            others.append(path)
        elif is_landsat(path.stem) or is_landsat(path.parent.name):
            raise _landsat(path)
        else:
            named.append((path, name, sky is not None))
    return named, others


def _only_band(path: Path, *, is_sky: bool) -> Asset:
    assets = list_assets(path)
    # Of a cloud layer's file the first band tells: UDM2's is `clear`.
    if len(assets) != 1 and not is_sky:
        raise ConfigError(
            f"{path}: is named after one band and holds {len(assets)}; "
            "give the file itself, with --bands if its bands have no names",
            href=str(path),
        )
    return assets[0]


def _add_multiband(
    found: Members,
    folder: Path,
    others: list[Path],
    dated: dict[dt.date, Path],
    *,
    sensor: Sensor | None,
    bands: Sequence[str] | None,
) -> None:
    """Take in the one image of several bands beside a cloud layer, as Planet delivers."""
    if len(others) != 1:
        names = ", ".join(path.name for path in others[:5]) or "no .tif or .jp2 files"
        more = f" and {len(others) - 5} more" if len(others) > 5 else ""
        raise BandNotFound(
            f"{folder}: no file is named after a band; found: {names}{more}. Give a folder with "
            "files such as B02.tif, B03.tif, or the images of several bands one by one",
            href=str(folder),
        )
    image = members_of_file(others[0], sensor=sensor, bands=bands)
    if image.acquired is not None:
        dated.setdefault(image.acquired, others[0])
    found.bands = image.bands
    found.sky = image.sky | found.sky


def _dates_of(paths: Iterable[Path]) -> dict[dt.date, Path]:
    """The dates in files' names, and the first file of each."""
    dated: dict[dt.date, Path] = {}
    for path in paths:
        date = date_in_name(path.stem)
        if date is not None:
            dated.setdefault(date, path)
    return dated


def _refuse_mixed_dates(folder: Path, dated: dict[dt.date, Path]) -> None:
    if len(dated) > 1:
        (first, one), *_, (last, other) = sorted(dated.items())
        raise ConfigError(
            f"{folder}: images of {len(dated)} dates are mixed, {first} ({one.name}) and {last} "
            f"({other.name}); put each date into a folder of its own and give those",
            href=str(folder),
        )


def _refuse_mixed_crs(folder: Path, found: Members) -> None:
    systems = {str(asset.geobox.crs) for asset in found.bands.values()}
    if len(systems) > 1:
        raise GridMismatch(
            f"{folder}: its files are in several CRS ({', '.join(sorted(systems))}); "
            "give images of different places as different folders",
            href=str(folder),
        )


def _pixel_area(asset: Asset) -> float:
    return float(abs(asset.geobox.affine.determinant))


def _landsat(path: Path) -> ConfigError:
    return ConfigError(
        f"{path}: looks like Landsat, whose band numbers mean other colours than Sentinel-2's; "
        "save its bands in one file, rename it, and name them with --bands blue,green,red,nir08",
        href=str(path),
    )
