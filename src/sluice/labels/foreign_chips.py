"""What published sets of chips have in common: counts without a stated offset, and masks."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from affine import Affine
from odc.geo import CRS
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from sluice.base.arrays import ArrayBHW, FloatArray
from sluice.base.errors import AssetReadError, ConfigError, DataError
from sluice.base.files import open_raster
from sluice.labels.dataset import UNLABELLED, ChipDataset

COUNTS_PER_UNIT = 10_000
_SHIFT = 1000
_DARK_PERCENT = 1
_WELL_BELOW = 700
_FLOOR = (900, 1400)


@dataclass(frozen=True)
class ImportedChips:
    """A data set made of somebody else's."""

    dataset: ChipDataset
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Why chips of it are not in the data set, and how many."""
    notes: tuple[str, ...] = ()
    """What had to be told from the pixels."""


def tell_offset(dark_counts: Mapping[str, Iterable[FloatArray]], where: str) -> float:
    """Whether counts of Sentinel-2 hold the 1000 that baseline 04.00 added, by the darkest ground.

    Args:
        dark_counts: By band, counts of some chips without no-data; bands that are dark over
            vegetation or water, as red and swir22 are.
        where: The set, for messages.

    Returns:
        What to add to counts / 10000: -0.1 where the 1000 is in them, else 0.

    Raises:
        ConfigError: The pixels do not tell.
    """
    darkest = {}
    for band, samples in dark_counts.items():
        values = np.concatenate([np.empty(0), *(np.ravel(sample) for sample in samples)])
        if values.size:
            darkest[band] = float(np.percentile(values, _DARK_PERCENT))
    if darkest and min(darkest.values()) < _WELL_BELOW:
        return 0.0
    if darkest and all(_FLOOR[0] <= value <= _FLOOR[1] for value in darkest.values()):
        return -_SHIFT / COUNTS_PER_UNIT
    seen = ", ".join(f"{band} {value:.0f}" for band, value in darkest.items()) or "no pixel"
    raise ConfigError(
        f"{where}: its darkest pixels ({seen}) do not tell whether {_SHIFT} was added to the "
        "counts (processing baseline 04.00); give --offset 0 or -0.1 if you know"
    )


def size_of(path: Path) -> tuple[int, int]:
    """Height and width of a raster.

    Raises:
        ItemNotFound, AssetReadError: There is no such file, or it is damaged.
    """
    with _opened(path) as file:
        height, width = file.shape
    return int(height), int(width)


def read_bands(path: Path, shape: tuple[int, int] | None = None) -> tuple[ArrayBHW, GeoBox | None]:
    """Read all bands of a GeoTIFF of a chip.

    Args:
        path: The file.
        shape: (height, width) to resample to, bilinear; None for its own.

    Returns:
        (bands, H, W) float32 as stored, NaN at its nodata; and its own grid, None without a CRS.

    Raises:
        ItemNotFound, AssetReadError: There is no such file, or it is damaged.
    """
    with _opened(path) as file:
        size = (file.count, *(shape or file.shape))
        try:
            counts = file.read(out_shape=size, masked=True, resampling=Resampling.bilinear)
        except RasterioError as err:
            raise AssetReadError(
                f"{path}: damaged ({err}); fetch it again", href=str(path)
            ) from err
        grid = None
        if file.crs is not None and file.transform != Affine.identity():
            grid = GeoBox(file.shape, file.transform, CRS(file.crs.to_wkt()))
    data: ArrayBHW = counts.astype(np.float32).filled(np.nan)
    return data, grid


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Chips without a place are common, and no reason to warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with open_raster(path) as file:
            yield file


def read_binary_mask(path: Path, mine_value: int) -> npt.NDArray[np.uint8]:
    """Read a mask of two classes.

    Args:
        path: One band; `mine_value` for mines, 0 for others; -1, 255 or nodata for neither.
        mine_value: As stored.

    Returns:
        (H, W): 0, 1, 255.

    Raises:
        ItemNotFound, AssetReadError: There is no such file, or it is damaged.
        DataError: Other values.
    """
    with _opened(path) as file:
        try:
            stored = file.read(1, masked=True)
        except RasterioError as err:
            raise AssetReadError(
                f"{path}: damaged ({err}); fetch it again", href=str(path)
            ) from err
        # Masks are tagged with nodata 0 at times, and their 0 is a class.
        nodata = file.nodata if file.nodata != 0 else None
    values = stored.data.astype(np.float64)
    unknown = np.isnan(values) | np.isin(values, (-1, 255, nodata if nodata is not None else -1))
    mine = values == mine_value
    other = ~(mine | unknown | (values == 0))
    if other.any():
        raise DataError(
            f"{path}: holds {values[other][0]:g}; a mask of two classes has 0 and {mine_value} "
            "(give --mine-value if mines have another)",
            href=str(path),
        )
    mask = np.where(mine, 1, np.where(unknown, UNLABELLED, 0))
    return mask.astype(np.uint8)
