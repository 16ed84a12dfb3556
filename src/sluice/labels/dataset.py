"""Labelled chips of any bands, with or without masks: what training reads.

A data set is a folder:

    dataset.json    what is in it: bands, pixel size, classes, licence
    index.csv       a line for each chip: where it is, what it shows, which split it belongs to
    images/*.tif    its bands, 16-bit counts with a scale
    masks/*.tif     its classes, 8 bits; 255 where nobody labelled

Where its place is known, every file opens there in QGIS. A folder of chip sheets (`labels.chips`)
is read as one too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyproj
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from pydantic import Field, ValidationError, field_validator
from rasterio.errors import RasterioError

from sluice.base.arrays import ArrayBHW, ArrayNBHW, IntArray
from sluice.base.errors import (
    AssetReadError,
    ConfigError,
    DataError,
    ItemNotFound,
    NoValidData,
    ShapeMismatch,
)
from sluice.base.files import open_raster, write_whole
from sluice.base.records import Record
from sluice.labels.chips import (
    CHIP_BANDS,
    FULL_SCALE_REFLECTANCE,
    TABLE_NAME,
    chip_reflectance,
    load_chips,
    read_chip_table,
)
from sluice.labels.kinds import place_kind

ABOUT_FILE, INDEX_FILE = "dataset.json", "index.csv"
UNLABELLED = 255
"""In a mask: nobody said what is there."""
_NODATA = -32768
_CHIP_ID = re.compile(r"\w[\w.-]*")
_STEPS = {"vv": 0.01, "vh": 0.01, "elevation": 0.25}
"""Of dB and of metres; all else is reflectance, in steps of 0.0001."""

MasksNHW = npt.NDArray[np.uint8]

_COLUMNS = {
    "chip_id": "str",
    "image": "str",
    "mask": "str",
    "label": "int64",
    "source": "str",
    "group": "str",
    "split": "str",
    "lon": "float64",
    "lat": "float64",
    "start": "datetime64[s]",
    "end": "datetime64[s]",
    "clear_threshold": "float64",
}


class DatasetAbout(Record):
    """What a data set is: `dataset.json`."""

    schema_version: Literal[1] = 1
    name: str
    summary: str = ""
    bands: tuple[str, ...] = Field(min_length=1)
    """`ModelInput.key` of each: `red`, `vv@-1`; in the order of the images' first axis."""
    sensor: str | None = None
    """`Sensor.id`, None where unknown."""
    gsd_m: float = Field(gt=0)
    brightest: float | None = Field(default=None, gt=0)
    """Reflectance that brighter ground was cut to when the chips were made; None: it was not."""
    classes: tuple[str, ...] = ("other", "mine")
    """Names of the masks' values 0, 1, …; 0 is what is not sought."""
    negatives: tuple[str, ...] = ()
    """Values of `source` that name kinds of chips chosen for showing nothing that is sought."""
    licence: str = ""
    """SPDX expression, empty where unknown."""
    attribution: str = ""

    @field_validator("classes")
    @classmethod
    def _distinct(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if not 2 <= len(set(classes)) == len(classes) < UNLABELLED:
            raise ValueError("classes need at least two names, each once")
        return classes


@dataclass(frozen=True)
class ChipDataset:
    """Chips that are read when they are wanted."""

    folder: Path
    about: DatasetAbout
    table: pd.DataFrame
    """A row for each chip, index 0..N-1: `chip_id`, `label` (1: something sought is in it),
    `source`, `kind`, `group` (chips that share ground or pixels), `split` (`""` where there are
    none), `lon`, `lat`, `start`, `end`, `clear_threshold` (NaN and NaT where unknown)."""
    read_images: Callable[[pd.DataFrame], ArrayNBHW]
    read_masks: Callable[[pd.DataFrame], MasksNHW] | None
    """None where the chips are labelled as wholes only."""

    def images(self, index: IntArray) -> ArrayNBHW:
        """Read some chips.

        Args:
            index: Rows of `table`.

        Returns:
            (n, bands, H, W) float32 reflectance or dB, NaN where not observed.

        Raises:
            NoValidData: None are asked for.
            AssetReadError: A file is damaged.
            DataError: They differ in size.
        """
        return self.read_images(self._rows(index))

    def masks(self, index: IntArray) -> MasksNHW:
        """Read the masks of some chips.

        Args:
            index: Rows of `table`.

        Returns:
            (n, H, W) uint8 classes, 255 where nobody labelled.

        Raises:
            DataError: The data set has no masks, they hold other classes, or differ in size.
            NoValidData, AssetReadError: As `images`.
        """
        if self.read_masks is None:
            raise DataError(
                f"{self.folder}: its chips are labelled as wholes, and pixels are asked for; "
                "use labels with masks",
                href=str(self.folder),
            )
        return self.read_masks(self._rows(index))

    def chip_side_m(self) -> float:
        """Longer side of the first chip in metres, the square that chips share ground by.

        Raises:
            AssetReadError: The chip's file is damaged.
        """
        return float(max(self.images(np.array([0])).shape[2:]) * self.about.gsd_m)

    def _rows(self, index: IntArray) -> pd.DataFrame:
        if len(index) == 0:
            raise NoValidData(f"{self.folder}: no chips chosen; choose another split")
        return self.table.iloc[index]


def read_dataset(folder: Path | str) -> ChipDataset:
    """Open a data set, or a folder of chip sheets.

    Raises:
        ItemNotFound: It is neither.
        AssetReadError: Its tables cannot be read.
        DataError: They hold what they should not.
    """
    folder = Path(folder)
    if (folder / ABOUT_FILE).is_file():
        about = _read_about(folder / ABOUT_FILE)
        return ChipDataset(
            folder,
            about,
            _read_index(folder / INDEX_FILE),
            lambda rows: _read_images(folder, about, rows),
            lambda rows: _read_masks(folder, about, rows),
        )
    if (folder / TABLE_NAME).is_file():
        about = DatasetAbout(
            name=folder.resolve().name,
            bands=CHIP_BANDS,
            sensor="s2-l1c",
            gsd_m=10,
            brightest=FULL_SCALE_REFLECTANCE,
        )
        return ChipDataset(
            folder,
            about,
            read_chip_table(folder),
            lambda rows: chip_reflectance(load_chips(folder, rows)).transpose(0, 3, 1, 2),
            None,
        )
    raise ItemNotFound(
        f"{folder}: holds neither {ABOUT_FILE} nor {TABLE_NAME}; give a folder of labelled chips "
        "(`sluice labels --help` shows how they are made)",
        href=str(folder),
    )


class DatasetWriter:
    """Writes a data set chip by chip; it is there, whole, after `finish`.

    Args:
        folder: Must not exist, or be empty.
        about: What will be in it.

    Raises:
        ConfigError: The folder holds something.
    """

    def __init__(self, folder: Path, about: DatasetAbout) -> None:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError(f"{folder}: is not empty; choose another folder", href=str(folder))
        self.folder, self.about = folder, about
        self._rows: list[dict[str, object]] = []
        self._ids: set[str] = set()
        (folder / "images").mkdir(parents=True, exist_ok=True)
        (folder / "masks").mkdir(exist_ok=True)

    def add(
        self,
        chip_id: str,
        image_bhw: ArrayBHW,
        geobox: GeoBox | None,
        mask_hw: npt.NDArray[np.uint8],
        **facts: object,
    ) -> None:
        """Write one chip.

        Args:
            chip_id: Small, unlike the others'; names its files.
            image_bhw: (bands, H, W) float32 reflectance or dB, NaN where not observed.
            geobox: Where it lies; None where that is unknown.
            mask_hw: (H, W) classes, 255 where nobody labelled.
            facts: `source`, `group`, `split`, `lon`, `lat`, `start`, `end`, `clear_threshold`.
                Without `group` the chip is one of its own, without `lon` and `lat` they are the
                centre's.

        Raises:
            ShapeMismatch: Image, mask and grid differ in shape.
            DataError: An id twice, a class without a name, or a fact without a column.
            OSError: The disk is full.
        """
        self._check(chip_id, image_bhw, geobox, mask_hw, facts)
        counts, scales = _to_counts(image_bhw, self.about.bands)
        image, mask = f"images/{chip_id}.tif", f"masks/{chip_id}.tif"
        _write_tiff(
            self.folder / image,
            counts,
            geobox,
            nodata=_NODATA,
            names=self.about.bands,
            scales=scales,
        )
        _write_tiff(self.folder / mask, mask_hw[None], geobox, nodata=UNLABELLED, names=("class",))
        self._ids.add(chip_id)
        sought = (mask_hw != 0) & (mask_hw != UNLABELLED)
        row = {"chip_id": chip_id, "image": image, "mask": mask, "label": int(sought.any())}
        self._rows.append({**row, "group": chip_id, "split": "", **_centre(geobox), **facts})

    def finish(self) -> ChipDataset:
        """Write the index and the description, and open the data set.

        Raises:
            NoValidData: No chip was added.
        """
        if not self._rows:
            raise NoValidData(f"{self.folder}: no chip was made; nothing is there to learn from")
        table = pd.DataFrame(self._rows).reindex(columns=list(_COLUMNS))
        with write_whole(self.folder / INDEX_FILE) as part:
            table.to_csv(part, index=False, lineterminator="\n", date_format="%Y-%m-%d")
        with write_whole(self.folder / ABOUT_FILE) as part:
            part.write_text(self.about.model_dump_json(indent=2) + "\n", encoding="utf-8")
        return read_dataset(self.folder)

    def _check(
        self,
        chip_id: str,
        image_bhw: ArrayBHW,
        geobox: GeoBox | None,
        mask_hw: npt.NDArray[np.uint8],
        facts: Mapping[str, object],
    ) -> None:
        expected = (len(self.about.bands), *mask_hw.shape)
        if image_bhw.shape != expected or (geobox and geobox.shape.yx != mask_hw.shape):
            raise ShapeMismatch(
                f"chip {chip_id}: an image of {image_bhw.shape} with a mask of {mask_hw.shape}; "
                f"{expected} is expected, on a grid of the same size"
            )
        if chip_id in self._ids or not _CHIP_ID.fullmatch(chip_id):
            raise DataError(
                f"chip {chip_id!r}: an id is used once, and made of letters, digits, ., - and _"
            )
        unknown = sorted(set(facts) - set(_COLUMNS))
        if unknown:
            raise DataError(f"chip {chip_id}: {unknown[0]} is no column of {INDEX_FILE}")
        _check_classes(mask_hw, self.about, chip_id)


def _read_about(path: Path) -> DatasetAbout:
    try:
        return DatasetAbout.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as err:
        raise AssetReadError(f"{path}: cannot be read ({err})", href=str(path)) from err
    except ValidationError as err:
        first = err.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise DataError(f"{path}: {where}: {first['msg']}; correct it", href=str(path)) from err


def _read_index(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise ItemNotFound(f"{path}: is missing; make the data set again", href=str(path))
    texts = {name: str for name, kind in _COLUMNS.items() if kind == "str"}
    try:
        table = pd.read_csv(path, dtype=texts, parse_dates=["start", "end"])
        missing = [name for name in _COLUMNS if name not in table]
        if missing:
            raise DataError(f"{path}: column {missing[0]} is missing; add it", href=str(path))
        for name in ("mask", "split", "source"):
            table[name] = table[name].fillna("")
        table = table[list(_COLUMNS)].astype(_COLUMNS)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, OSError) as err:
        raise AssetReadError(f"{path}: not a CSV table ({err})", href=str(path)) from err
    except (ValueError, TypeError) as err:
        raise DataError(f"{path}: {err}; correct it", href=str(path)) from err
    _check_index(table, path)
    return table.assign(kind=table["source"].map(place_kind))


def _check_index(table: pd.DataFrame, path: Path) -> None:
    if table.empty:
        raise NoValidData(f"{path}: lists no chips; make the data set again", href=str(path))
    inside = r"[\w-]+/[\w.-]+\.tif"
    checks = {
        "a chip twice": table["chip_id"].duplicated() | table["chip_id"].isna(),
        "a label that is neither 0 nor 1": ~table["label"].isin((0, 1)),
        # A path that leaves the folder could read any file of the machine.
        "an image outside the data set": ~table["image"].str.fullmatch(inside),
        "a mask outside the data set": ~table["mask"].str.fullmatch(f"({inside})?"),
        "no group": table["group"].isna(),
    }
    for what, wrong in checks.items():
        if wrong.any():
            line = int(np.flatnonzero(wrong.to_numpy())[0]) + 2
            raise DataError(f"{path}: line {line} has {what}; correct it", href=str(path))


def _read_images(folder: Path, about: DatasetAbout, rows: pd.DataFrame) -> ArrayNBHW:
    images: ArrayNBHW = np.empty((0, 0, 0, 0), np.float32)
    for k, name in enumerate(rows["image"]):
        image = _read_image(folder / name, about)
        if not k:
            images = np.empty((len(rows), *image.shape), np.float32)
        _refuse_other_size(image.shape, images.shape[1:], folder / name)
        images[k] = image
    return images


def _read_image(path: Path, about: DatasetAbout) -> ArrayBHW:
    with open_raster(path) as file:
        if file.count != len(about.bands):
            raise DataError(
                f"{path}: has {file.count} bands, {ABOUT_FILE} names {len(about.bands)} "
                f"({', '.join(about.bands)}); make it again",
                href=str(path),
            )
        try:
            counts = file.read(masked=True)
        except RasterioError as err:
            raise AssetReadError(f"{path}: damaged ({err}); make it again", href=str(path)) from err
        lines = np.array([file.scales, file.offsets], np.float32)[:, :, None, None]
    image: ArrayBHW = counts.astype(np.float32).filled(np.nan) * lines[0] + lines[1]
    return image


def _read_masks(folder: Path, about: DatasetAbout, rows: pd.DataFrame) -> MasksNHW:
    masks: MasksNHW = np.empty((0, 0, 0), np.uint8)
    for k, name in enumerate(rows["mask"]):
        if not name:
            chip = rows["chip_id"].iloc[k]
            raise DataError(f"{folder}: chip {chip} has no mask; pixels cannot be learnt from it")
        with open_raster(folder / name) as file:
            try:
                mask = file.read(1)
            except RasterioError as err:
                raise AssetReadError(f"{folder / name}: damaged ({err}); make it again") from err
        if mask.dtype != np.uint8:
            raise DataError(f"{folder / name}: a mask has 8 bits, this one is {mask.dtype}")
        if not k:
            masks = np.empty((len(rows), *mask.shape), np.uint8)
        _refuse_other_size(mask.shape, masks.shape[1:], folder / name)
        _check_classes(mask, about, name)
        masks[k] = mask
    return masks


def _check_classes(mask_hw: npt.NDArray[np.uint8], about: DatasetAbout, name: str) -> None:
    unnamed = (mask_hw >= len(about.classes)) & (mask_hw != UNLABELLED)
    if unnamed.any():
        raise DataError(
            f"{name}: holds class {int(mask_hw[unnamed][0])}, and only 0 to "
            f"{len(about.classes) - 1} have names ({', '.join(about.classes)}); "
            f"name it, or use {UNLABELLED} for pixels that nobody labelled"
        )


def _refuse_other_size(found: tuple[int, ...], others: tuple[int, ...], path: Path) -> None:
    if found != others:
        raise DataError(
            f"{path}: is {found[-2]} x {found[-1]} px, the others are {others[-2]} x {others[-1]}; "
            "make all chips of one size",
            href=str(path),
        )


def _to_counts(
    image_bhw: ArrayBHW, bands: tuple[str, ...]
) -> tuple[npt.NDArray[np.int16], tuple[float, ...]]:
    """Whole steps of `_STEPS`; what lies beyond 16 bits is held at their end."""
    scales = tuple(_STEPS.get(band.split("@")[0], 0.0001) for band in bands)
    steps = np.rint(image_bhw / np.array(scales, np.float32)[:, None, None])
    counts = np.where(np.isfinite(steps), np.clip(steps, -32767, 32767), _NODATA)
    return counts.astype(np.int16), scales


def _write_tiff(
    path: Path,
    bands: npt.NDArray[np.int16] | npt.NDArray[np.uint8],
    geobox: GeoBox | None,
    *,
    nodata: int,
    names: tuple[str, ...],
    scales: tuple[float, ...] | None = None,
) -> None:
    count, height, width = bands.shape
    place = (
        {"crs": str(geobox.crs), "transform": geobox.affine}
        if geobox is not None
        # Without any transform rasterio warns: pixels are counted from the lower left corner.
        else {"transform": Affine(1, 0, 0, 0, -1, height)}
    )
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=height,
        width=width,
        count=count,
        dtype=bands.dtype,
        nodata=nodata,
        compress="deflate",
        predictor=2,
        **place,
    ) as file:
        file.write(bands)
        file.descriptions = names
        if scales is not None:
            file.scales = scales


def _centre(geobox: GeoBox | None) -> dict[str, float]:
    if geobox is None:
        return {"lon": math.nan, "lat": math.nan}
    height, width = geobox.shape.yx
    x, y = geobox.affine @ (width / 2, height / 2)
    to_lonlat = pyproj.Transformer.from_crs(str(geobox.crs), "EPSG:4326", always_xy=True)
    lon, lat = to_lonlat.transform(x, y)
    return {"lon": lon, "lat": lat}
