"""One band in one file: where it is, on which grid, and how its counts become values."""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import rasterio
from odc.geo import CRS
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from sluice.base.arrays import ArrayHW
from sluice.base.errors import AssetReadError, GridMismatch
from sluice.base.files import open_raster
from sluice.base.grid import PixelWindow

_OPEN_AT_MOST = 32
# GDAL would keep decoded blocks in up to a twentieth of the machine's memory. This is one cache
# for the process, yet each thread's dataset keeps blocks of its own. For one thread it holds the
# strips under a row of tiles (1,024 lines of 20,000 pixels in three uint16 bands are 123 MB);
# several threads in a wide striped file decode some strips again.
_BLOCK_CACHE_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Asset:
    """One band of a raster file; holds no open file, so it pickles."""

    path: Path
    index: int
    """Band number in the file, from 1."""
    description: str
    """The file's own name for the band; may be empty."""
    geobox: GeoBox
    dtype: str
    nodata: float | None
    """Count that means no data; None where every count is a value."""
    has_mask: bool
    """The file has a mask of its own."""
    alpha_index: int | None = None
    """Number of the file's alpha band."""
    scale: float = 1.0
    offset: float = 0.0
    """value = count * scale + offset."""
    has_scale_tags: bool = False
    """Scale and offset were written in the file."""

    @property
    def is_float(self) -> bool:
        """Whether counts are floating point."""
        return np.issubdtype(np.dtype(self.dtype), np.floating)

    @property
    def _typed_nodata(self) -> float | int | None:
        if self.nodata is None or self.is_float or not float(self.nodata).is_integer():
            return self.nodata
        # Comparing integers with a float would copy them all to float64.
        return int(self.nodata)

    def read(self, window: PixelWindow) -> ArrayHW:
        """Read values, NaN where there is none.

        Args:
            window: Inside the raster.

        Returns:
            (height, width) float32.

        Raises:
            ItemNotFound: The file is gone.
            AssetReadError: The file is damaged.
        """
        dataset = _open_datasets.get(self.path)
        area = Window(window.col, window.row, window.width, window.height)
        masks = []
        try:
            # Inside an environment GDAL's own warnings go to the log, not to the terminal.
            with rasterio.Env(GDAL_CACHEMAX=_BLOCK_CACHE_BYTES):
                counts = dataset.read(self.index, window=area)
                if self.alpha_index is not None:
                    masks.append(dataset.read(self.alpha_index, window=area))
                if self.has_mask:
                    masks.append(dataset.read_masks(self.index, window=area))
        except RasterioError as err:
            raise AssetReadError(
                f"{self.path}: band {self.index} cannot be read (truncated or damaged: "
                f"{err.__cause__ or err}); copy or download the file again",
                href=str(self.path),
            ) from err
        values: ArrayHW = counts.astype(np.float32, copy=False)
        if (self.scale, self.offset) != (1.0, 0.0):
            values = values * np.float32(self.scale) + np.float32(self.offset)
        if self.is_float:
            values[~np.isfinite(counts)] = np.nan
        if self.nodata is not None:
            values[counts == self._typed_nodata] = np.nan
        for mask in masks:
            values[mask == 0] = np.nan
        return values


def list_assets(path: Path) -> list[Asset]:
    """Describe the bands of a file, without its alpha band.

    Raises:
        ItemNotFound: No such file.
        AssetReadError: No allowed driver reads it, or its numbers are complex.
        GridMismatch: It says not where on Earth it lies.
    """
    with warnings.catch_warnings():
        # Said below in words that help.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.Env(), open_raster(path) as dataset:
            if dataset.crs is None or dataset.transform.is_identity:
                lacking = "CRS" if dataset.crs is None else "position (geotransform)"
                raise GridMismatch(
                    f"{path}: has no {lacking}, so its place on Earth is not known; georeference "
                    "it first (QGIS: Raster > Projections > Assign Projection, or Georeferencer)",
                    href=str(path),
                )
            if any(dtype.startswith("complex") for dtype in dataset.dtypes):
                raise AssetReadError(
                    f"{path}: holds complex numbers; convert radar images to backscatter in dB",
                    href=str(path),
                )
            geobox = GeoBox(dataset.shape, dataset.transform, _crs_of(dataset))
            alphas = [i for i in dataset.indexes if dataset.colorinterp[i - 1] == ColorInterp.alpha]
            alpha = alphas[0] if alphas else None
            return [
                _describe(dataset, path, geobox, index, alpha)
                for index in dataset.indexes
                if index not in alphas
            ]


def _crs_of(dataset: Any) -> CRS:
    """The dataset's CRS, by its EPSG code where it has one, as texts of one CRS may differ."""
    wkt = dataset.crs.to_wkt()
    code = dataset.crs.to_epsg()
    if code is not None and pyproj.CRS(wkt).equals(pyproj.CRS(code), ignore_axis_order=True):
        return CRS(f"EPSG:{code}")
    return CRS(wkt)


def _describe(dataset: Any, path: Path, geobox: GeoBox, index: int, alpha: int | None) -> Asset:
    scale, offset = dataset.scales[index - 1], dataset.offsets[index - 1]
    flags = dataset.mask_flag_enums[index - 1]
    return Asset(
        path=path,
        index=index,
        description=(dataset.descriptions[index - 1] or "").strip(),
        geobox=geobox,
        dtype=dataset.dtypes[index - 1],
        nodata=dataset.nodatavals[index - 1],
        has_mask=MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags,
        alpha_index=alpha,
        scale=float(scale),
        offset=float(offset),
        has_scale_tags=(scale, offset) != (1.0, 0.0),
    )


class _OpenDatasets(threading.local):
    """Datasets kept open, per process and thread, the least recently used closed first.

    GDAL's block cache lives with the dataset: without this, each tile of a scan would decode
    the same full-width strips again. The key holds size and time of change, so a file that was
    replaced is opened anew.
    """

    def __init__(self) -> None:
        self._by_key: OrderedDict[tuple[str, int, int], Any] = OrderedDict()

    def get(self, path: Path) -> Any:
        try:
            stat = path.stat()
        except OSError:
            return open_raster(path)  # which says what is wrong
        key = (str(path), stat.st_mtime_ns, stat.st_size)
        if key not in self._by_key:
            while len(self._by_key) >= _OPEN_AT_MOST:
                self._by_key.popitem(last=False)[1].close()
            self._by_key[key] = open_raster(path)
        self._by_key.move_to_end(key)
        return self._by_key[key]


_open_datasets = _OpenDatasets()
