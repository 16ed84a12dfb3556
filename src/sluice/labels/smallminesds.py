"""SmallMinesDS: 128 px chips of south-western Ghana in January 2016 and 2022, with masks.

Sources:
    Ofori-Ampofo et al. 2025, "SmallMinesDS", CC BY-SA 4.0. The card of
    huggingface.co/datasets/ellaampy/SmallMinesDS gives the layout: a folder for each year with
    `IMAGE/IMG_XXXX_YYYY.tif` and `MASK/MASK_XXXX_YYYY.tif` (XXXX the patch, YYYY the year), 13
    bands: Sentinel-2 L2A blue, green, red, red edge 1-3, near infrared, red edge 4, swir1, swir2;
    Sentinel-1 vv, vh (terrain-corrected, without speckle); Copernicus DEM. "Red edge 4" is B8A's
    name in Earth Engine's catalogue, between B8 and B11 in this order.

    What the card does not say is told from the pixels or by argument: whether the counts hold the
    1000 of processing baseline 04.00 (the means in the authors' training code, 1474 in blue and
    2226 in swir22 over green land, suggest so), and whether backscatter is in dB or in power.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from sluice.base.arrays import ArrayBHW, ArrayHW, FloatArray
from sluice.base.errors import BandNotFound, ConfigError, DataError, ItemNotFound
from sluice.labels.dataset import DatasetAbout, DatasetWriter
from sluice.labels.foreign_chips import (
    COUNTS_PER_UNIT,
    ImportedChips,
    read_bands,
    read_binary_mask,
    tell_offset,
)

BANDS = (
    "blue",
    "green",
    "red",
    "rededge071",
    "rededge075",
    "rededge078",
    "nir",
    "nir08",
    "swir16",
    "swir22",
    "vv",
    "vh",
    "elevation",
)
"""STAC common names, in file order."""
Radar = Literal["auto", "db", "power"]

_RADAR_BANDS = ("vv", "vh")
_IMAGE = re.compile(r"IMG_(\d+)_(\d{4})\.tiff?", re.IGNORECASE)
_MASK = re.compile(r"MASK_(\d+)_(\d{4})\.tiff?", re.IGNORECASE)
_SAMPLED = 40
"""Chips of a year that are looked at to tell the offset."""
_LEAST_POWER_DB = -50.0


@dataclass(frozen=True)
class _Patch:
    number: str
    year: int
    image: Path
    mask: Path


def import_smallminesds(
    folder: Path | str,
    out: Path,
    *,
    file_bands: Sequence[str] = BANDS,
    bands: Sequence[str] | None = None,
    offset: float | None = None,
    radar: Radar = "auto",
    mine_value: int = 1,
) -> ImportedChips:
    """Make a data set of SmallMinesDS, or of a part of it.

    Chips of one patch in both years are of one `group`, so that no split tells them apart;
    neighbouring patches share no pixels.

    Args:
        folder: Holds the folders of the years, or is one of them.
        out: Where the data set goes: not there yet, or empty.
        file_bands: Names of the files' bands, in file order.
        bands: Those to keep; None for all.
        offset: reflectance = counts / 10000 + offset; None tells it from the darkest pixels of
            each year.
        radar: Whether backscatter is in dB or in linear power; `auto` tells it from its sign.
        mine_value: Of mines in the masks.

    Raises:
        ItemNotFound: No images of such names.
        BandNotFound, ConfigError: A band that is not in the files, or an offset that the pixels do
            not tell.
        AssetReadError, DataError: A file is damaged, has another number of bands, or other values.
        NoValidData: No image has a mask.
    """
    folder, kept = Path(folder), tuple(bands or file_bands)
    missing = [band for band in kept if band not in file_bands]
    if missing:
        raise BandNotFound.from_missing_and_available(
            missing, file_bands, wanted_by="--bands", href=str(folder)
        )
    patches, left_out = _find_patches(folder)
    years = sorted({patch.year for patch in patches})
    offsets = {
        year: _offset_of([p for p in patches if p.year == year], file_bands, offset)
        for year in years
    }
    about = DatasetAbout(
        name="smallminesds",
        summary="Artisanal gold mines of south-western Ghana, January of each year, 10 m.",
        bands=kept,
        sensor="s2-l2a",
        gsd_m=10,
        licence="CC-BY-SA-4.0",
        attribution="SmallMinesDS, Ofori-Ampofo et al. 2025",
    )
    writer = DatasetWriter(out, about)
    for patch in patches:
        told = offsets[patch.year]
        _add(writer, patch, file_bands, offset=told, radar=radar, mine_value=mine_value)
    notes = tuple(
        f"{year}: reflectance = count / {COUNTS_PER_UNIT} {value:+g}"
        f" ({'told from the darkest pixels' if offset is None else 'as stated'})"
        for year, value in offsets.items()
    )
    return ImportedChips(writer.finish(), left_out, notes)


def _add(
    writer: DatasetWriter,
    patch: _Patch,
    file_bands: Sequence[str],
    *,
    offset: float,
    radar: Radar,
    mine_value: int,
) -> None:
    image, grid = read_bands(patch.image)
    _refuse_other_count(image, file_bands, patch.image)
    scaled = _to_units(image, file_bands, offset, radar, patch.image)
    writer.add(
        f"patch-{patch.number}-{patch.year}",
        scaled[[file_bands.index(band) for band in writer.about.bands]],
        grid,
        read_binary_mask(patch.mask, mine_value),
        source="smallminesds",
        group=f"patch-{patch.number}",
        start=f"{patch.year}-01-01",
        end=f"{patch.year}-01-31",
    )


def _find_patches(folder: Path) -> tuple[list[_Patch], dict[str, int]]:
    if not folder.is_dir():
        raise ItemNotFound(f"{folder}: no such folder; check the path", href=str(folder))
    images: dict[tuple[str, int], Path] = {}
    masks: dict[tuple[str, int], Path] = {}
    for path in sorted(folder.rglob("*.tif*")):
        for pattern, found in ((_IMAGE, images), (_MASK, masks)):
            name = pattern.fullmatch(path.name)
            if name is None:
                continue
            key = (name[1], int(name[2]))
            if key in found:
                raise DataError(f"{path}: is there twice, as {found[key]} too; keep one")
            found[key] = path
    if not images:
        raise ItemNotFound(
            f"{folder}: holds no IMG_XXXX_YYYY.tif; give the folder with the years in it",
            href=str(folder),
        )
    both = sorted(images.keys() & masks.keys(), key=lambda key: (key[1], key[0]))
    counts = {
        "images without a mask": len(images.keys() - masks.keys()),
        "masks without an image": len(masks.keys() - images.keys()),
    }
    left_out = {reason: count for reason, count in counts.items() if count}
    return [_Patch(*key, images[key], masks[key]) for key in both], left_out


def _offset_of(patches: Sequence[_Patch], file_bands: Sequence[str], stated: float | None) -> float:
    if stated is not None:
        return stated
    dark = [band for band in ("red", "swir22") if band in file_bands]
    samples = [
        (patch.image, read_bands(patch.image)[0])
        for patch in patches[:: max(1, len(patches) // _SAMPLED)]
    ]
    for path, image in samples:
        _refuse_other_count(image, file_bands, path)
    counts = {
        band: [_known(image[file_bands.index(band)]) for _, image in samples] for band in dark
    }
    return tell_offset(counts, str(patches[0].image.parent))


def _known(band: ArrayHW) -> FloatArray:
    counts: FloatArray = band[np.isfinite(band) & (band != 0)].astype(np.float64)
    return counts


def _to_units(
    image: ArrayBHW, file_bands: Sequence[str], offset: float, radar: Radar, path: Path
) -> ArrayBHW:
    out = image.copy()
    for k, band in enumerate(file_bands):
        if band in _RADAR_BANDS:
            out[k] = _to_db(image[k], radar, path)
        elif band != "elevation":
            # 0 is Sentinel-2's no-data.
            counts = np.where(image[k] == 0, np.nan, image[k])
            out[k] = counts / COUNTS_PER_UNIT + offset
    return out


def _to_db(band: ArrayHW, radar: Radar, path: Path) -> ArrayHW:
    known = band[np.isfinite(band)]
    if radar == "auto" and known.size:
        # Power is never negative, and dB of land hardly ever reaches 0.
        radar = "db" if np.median(known) < 0 else "power"
    if radar == "power":
        if known.size and np.median(known) > 10:
            raise ConfigError(
                f"{path}: backscatter of {np.median(known):g} is neither dB nor power; convert it"
            )
        with np.errstate(divide="ignore", invalid="ignore"):
            decibels: ArrayHW = 10 * np.log10(np.maximum(band, 0))
        return np.where(np.isneginf(decibels), _LEAST_POWER_DB, decibels).astype(np.float32)
    return band


def _refuse_other_count(image: ArrayBHW, file_bands: Sequence[str], path: Path) -> None:
    if len(image) != len(file_bands):
        raise DataError(
            f"{path}: has {len(image)} bands, {len(file_bands)} are named "
            f"({', '.join(file_bands)}); name its bands with --file-bands, in file order",
            href=str(path),
        )
