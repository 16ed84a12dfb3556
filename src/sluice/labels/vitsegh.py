"""VitSegh24's chips: a folder of Sentinel-2 bands and a folder with a mask for each.

Sources:
    github.com/armtos-np/vitsegh `vitsegh/dataset.py` and github.com/macdonaldezra/MineSegSAT,
    which it grew out of (`constants.py`, `organize_download_images.py`, `download/tile.py`):

        dataset_splits.csv                       split (train, val, test), data_path, mask_path
        image_directory_DATE_N/B04.tif …         a file for each band, at its own pixel size
        mask_directory_DATE_N/mask.tif           0 other, 1 mine, at 10 m

    Bands are B04 B03 B02 B08 (10 m, 768 px), B05 B06 B07 B8A B11 B12 (20 m, 384 px), B01 B09
    (60 m, 128 px), L2A counts. Two more forms are read, as their download code leaves tiles and
    as people sort them: `TILE/B04.tif …` with `TILE/mask.tif`, and `TILE/image-…/B04.tif …` with
    `TILE/masks/mask.tif`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox

from sluice.base.arrays import ArrayBHW, ArrayHW
from sluice.base.errors import (
    AssetReadError,
    BandNotFound,
    ConfigError,
    DataError,
    ItemNotFound,
)
from sluice.base.files import write_whole
from sluice.base.sensors import find_sensor
from sluice.labels.dataset import UNLABELLED, ChipDataset, DatasetAbout, DatasetWriter
from sluice.labels.foreign_chips import (
    COUNTS_PER_UNIT,
    ImportedChips,
    read_bands,
    read_binary_mask,
    size_of,
    tell_offset,
)

SPLITS_FILE, MASK_FILE = "dataset_splits.csv", "mask.tif"
FILE_BANDS = (
    *("B04", "B03", "B02", "B08"),
    *("B05", "B06", "B07", "B8A", "B11", "B12"),
    *("B01", "B09"),
)
"""In the order in which their loader stacks them."""
_SENSOR = find_sensor("s2-l2a")
_COMMON = {name: _SENSOR.band(name).common_name for name in FILE_BANDS}
_FACTOR = {name: round(_SENSOR.band(name).gsd_m / 10) for name in FILE_BANDS}
"""Pixels of 10 m along a side of one of the band's."""
_SPLIT_NAMES = {"validation": "val", "valid": "val"}
_SAMPLED = 40


@dataclass(frozen=True)
class _Tile:
    name: str
    images: Path
    mask: Path
    group: str
    split: str


def import_vitsegh(
    folder: Path | str,
    out: Path,
    *,
    offset: float | None = None,
    mine_value: int = 1,
    default_split: str = "",
) -> ImportedChips:
    """Make a data set of chips in VitSegh24's layout.

    Args:
        folder: The root of theirs.
        out: Where the data set goes: not there yet, or empty.
        offset: reflectance = counts / 10000 + offset; None tells it from the darkest pixels.
        mine_value: Of mines in the masks.
        default_split: Where there is no `dataset_splits.csv`.

    Returns:
        Chips at 10 m, coarser bands bilinear; of the bands that every chip has.

    Raises:
        ItemNotFound: No masks, or no images beside them.
        AssetReadError, DataError: A file is damaged, or images and masks do not fit each other.
        BandNotFound: The chips have no band in common.
        ConfigError: An offset that the pixels do not tell.
    """
    folder = Path(folder)
    tiles, left_out = _find_tiles(folder, default_split)
    names = [name for name in FILE_BANDS if all(_band_path(tile.images, name) for tile in tiles)]
    if not names:
        found = sorted({path.stem for tile in tiles for path in tile.images.glob("*.tif")})
        raise BandNotFound.from_missing_and_available(
            FILE_BANDS[:4], found, wanted_by="VitSegh24's layout", href=str(folder)
        )
    told = offset if offset is not None else _offset_of(tiles, names, folder)
    about = DatasetAbout(
        name=folder.resolve().name,
        summary="Imported from VitSegh24's layout.",
        bands=tuple(_COMMON[name] for name in names),
        sensor=_SENSOR.id,
        gsd_m=10,
    )
    writer = DatasetWriter(out, about)
    for tile in tiles:
        mask = read_binary_mask(tile.mask, mine_value)
        image, grid = _read_image(tile, names, mask.shape)
        writer.add(
            tile.name,
            (image / COUNTS_PER_UNIT + told).astype(np.float32),
            grid,
            mask,
            source=folder.resolve().name,
            group=tile.group,
            split=tile.split,
        )
    how = "as stated" if offset is not None else "told from the darkest pixels"
    notes = (f"reflectance = count / {COUNTS_PER_UNIT} {told:+g} ({how})",)
    return ImportedChips(writer.finish(), left_out, notes)


def export_vitsegh(
    dataset: ChipDataset, folder: Path, *, unlabelled_as_other: bool = False
) -> dict[str, int]:
    """Write a data set in VitSegh24's layout, for their code to read.

    Args:
        dataset: With masks, all twelve bands of Sentinel-2 L2A, and chips of a multiple of 6 px.
        folder: Not there yet, or empty.
        unlabelled_as_other: Write pixels that nobody labelled as 0; their masks know two classes.

    Returns:
        Chips written, by split; chips without one are in `train`.

    Raises:
        ConfigError: The folder holds something, chips do not divide by 6, or pixels that nobody
            labelled without `unlabelled_as_other`.
        BandNotFound: A band is missing.
        DataError: The data set has no masks.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder}: is not empty; choose another folder", href=str(folder))
    missing = [band for band in _COMMON.values() if band not in dataset.about.bands]
    if missing:
        raise BandNotFound.from_missing_and_available(
            missing, dataset.about.bands, wanted_by="VitSegh24's layout"
        )
    order = [dataset.about.bands.index(band) for band in _COMMON.values()]
    rows, counts = [], dict[str, int]()
    for k, chip in enumerate(dataset.table.itertuples()):
        at = np.array([k])
        image, mask = dataset.images(at)[0][order], dataset.masks(at)[0]
        chip_id = str(chip.chip_id)
        _check_exportable(chip_id, mask, unlabelled_as_other=unlabelled_as_other)
        binary = ((mask != 0) & (mask != UNLABELLED)).astype(np.uint8)
        names = f"image_directory_{chip_id}", f"mask_directory_{chip_id}"
        grid = _grid_of(dataset.folder / str(getattr(chip, "mask", "")))
        for name, band in zip(FILE_BANDS, image, strict=True):
            _write_band(folder / names[0] / f"{name}.tif", _coarser(band, _FACTOR[name]), grid)
        _write_band(folder / names[1] / MASK_FILE, binary, grid)
        split = _SPLIT_NAMES.get(str(chip.split), str(chip.split)) or "train"
        counts[split] = counts.get(split, 0) + 1
        rows.append({"split": split, "data_path": names[0], "mask_path": names[1]})
    with write_whole(folder / SPLITS_FILE) as part:
        pd.DataFrame(rows).to_csv(part, index=False, lineterminator="\n")
    return counts


def _find_tiles(folder: Path, default_split: str) -> tuple[list[_Tile], dict[str, int]]:
    if not folder.is_dir():
        raise ItemNotFound(f"{folder}: no such folder; check the path", href=str(folder))
    if (folder / SPLITS_FILE).is_file():
        return _tiles_of_table(folder), {}
    tiles, alone = list[_Tile](), 0
    for mask in sorted(folder.rglob(MASK_FILE)):
        images = list(_images_beside(mask.parent))
        alone += not images
        for image in images:
            name = _id_of(image.relative_to(folder), folder)
            group = _id_of(mask.parent.relative_to(folder), folder)
            tiles.append(_Tile(name, image, mask, group, default_split))
    if not tiles:
        raise ItemNotFound(
            f"{folder}: holds no {SPLITS_FILE}, nor a {MASK_FILE} with bands beside it such as "
            "B04.tif; give the root of the set",
            href=str(folder),
        )
    return tiles, {"masks without images": alone} if alone else {}


def _tiles_of_table(folder: Path) -> list[_Tile]:
    path = folder / SPLITS_FILE
    try:
        table = pd.read_csv(path, dtype=str).fillna("")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, OSError) as err:
        raise AssetReadError(f"{path}: not a CSV table ({err})", href=str(path)) from err
    missing = [name for name in ("split", "data_path", "mask_path") if name not in table]
    if missing:
        raise DataError(f"{path}: column {missing[0]} is missing; add it", href=str(path))
    tiles = []
    for row in table.to_dict("records"):
        images, masks = (folder / str(row[key]) for key in ("data_path", "mask_path"))
        for place in (images, masks):
            # A path that leaves the folder could read any file of the machine.
            if not place.resolve().is_relative_to(folder.resolve()):
                raise DataError(f"{path}: {place} lies outside the set; correct it", href=str(path))
            if not place.is_dir():
                raise ItemNotFound(f"{path}: {place} is missing; restore it", href=str(place))
        name = _id_of(Path(str(row["data_path"])), folder)
        split = _SPLIT_NAMES.get(str(row["split"]), str(row["split"]))
        tiles.append(_Tile(name, images, masks / MASK_FILE, name, split))
    return tiles


def _images_beside(masks: Path) -> Iterable[Path]:
    """The folders with bands that belong to a folder with a mask."""
    if _band_path(masks, "B04"):
        yield masks
        return
    twin = masks.with_name(masks.name.replace("mask", "image", 1))
    if twin != masks and twin.is_dir() and _band_path(twin, "B04"):
        yield twin
        return
    yield from (
        sibling
        for sibling in sorted(masks.parent.glob("image*"))
        if sibling.is_dir() and masks.name.startswith("masks") and _band_path(sibling, "B04")
    )


def _band_path(folder: Path, name: str) -> Path | None:
    short = f"B{int(name[1:])}" if name[1:].isdigit() else name
    for stem in (name, short):
        path = folder / f"{stem}.tif"
        if path.is_file():
            return path
    return None


def _id_of(path: Path, folder: Path) -> str:
    text = re.sub(r"image_directory_|mask_directory_", "", path.as_posix())
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-") or folder.resolve().name


def _read_image(
    tile: _Tile, names: Sequence[str], shape: tuple[int, ...]
) -> tuple[ArrayBHW, GeoBox | None]:
    height, width = shape
    image: ArrayBHW = np.empty((len(names), height, width), np.float32)
    grid: GeoBox | None = None
    for k, name in enumerate(names):
        path = _band_path(tile.images, name)
        if path is None:
            raise ItemNotFound(f"{tile.images}: {name}.tif is missing; restore it")
        _refuse_other_ground(path, name, (height, width))
        band, own = read_bands(path, (height, width))
        image[k] = np.where(band[0] == 0, np.nan, band[0])
        if own is not None and own.shape.yx == (height, width):
            grid = own
    return image, grid


def _refuse_other_ground(path: Path, name: str, shape: tuple[int, int]) -> None:
    found = size_of(path)
    factor = shape[0] / found[0]
    if shape[1] / found[1] != factor or factor not in {1, _FACTOR[name]}:
        raise DataError(
            f"{path}: is {found[0]} x {found[1]} px, its mask {shape[0]} x {shape[1]}; the band "
            f"has pixels of {_FACTOR[name] * 10} m, so they show different ground",
            href=str(path),
        )


def _offset_of(tiles: Sequence[_Tile], names: Sequence[str], folder: Path) -> float:
    sample = tiles[:: max(1, len(tiles) // _SAMPLED)]
    counts: dict[str, list[npt.NDArray[np.float64]]] = {}
    for name in [name for name in ("B04", "B12") if name in names]:
        counts[name] = []
        for tile in sample:
            path = _band_path(tile.images, name)
            if path is not None:
                band = read_bands(path)[0]
                counts[name].append(band[np.isfinite(band) & (band != 0)].astype(np.float64))
    return tell_offset(counts, str(folder))


def _check_exportable(
    chip_id: str, mask: npt.NDArray[np.uint8], *, unlabelled_as_other: bool
) -> None:
    if any(side % 6 for side in mask.shape):
        raise ConfigError(
            f"chip {chip_id} is {mask.shape[0]} x {mask.shape[1]} px; bands of 60 m need a "
            "multiple of 6: make chips of 96 or 768 px"
        )
    if not unlabelled_as_other and (mask == UNLABELLED).any():
        raise ConfigError(
            f"chip {chip_id} has pixels that nobody labelled, and VitSegh24's masks know only mine "
            "and other; take other for them (--unlabelled-as-other), or leave such chips out"
        )


def _coarser(band: ArrayHW, factor: int) -> npt.NDArray[np.uint16]:
    """Counts of a band at its own pixel size, the mean of what is observed; 0 where nothing is."""
    height, width = band.shape
    blocks = band.reshape(height // factor, factor, width // factor, factor)
    seen = np.isfinite(blocks)
    total, count = np.where(seen, blocks, 0).sum(axis=(1, 3)), seen.sum(axis=(1, 3))
    mean = total / np.maximum(count, 1)
    counts = np.clip(np.rint(mean * COUNTS_PER_UNIT), 1, 32_767)
    return np.where(count > 0, counts, 0).astype(np.uint16)


def _grid_of(path: Path) -> GeoBox | None:
    return read_bands(path)[1] if path.is_file() else None


def _write_band(
    path: Path, band: npt.NDArray[np.uint16] | npt.NDArray[np.uint8], grid: GeoBox | None
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = band.shape
    place: Mapping[str, object] = {"transform": Affine(1, 0, 0, 0, -1, height)}
    if grid is not None:
        a = grid.affine
        step = grid.shape.y / height
        affine = Affine(a.a * step, a.b, a.c, a.d, a.e * step, a.f)
        place = {"crs": str(grid.crs), "transform": affine}
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=height,
        width=width,
        count=1,
        dtype=band.dtype,
        compress="lzw",
        **place,
    ) as file:
        file.write(band, 1)
