"""One band in one file: where it is, on which grid, and how its counts become values."""

from __future__ import annotations

import functools
import math
import threading
import warnings
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import numpy.typing as npt
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from sluice.base.arrays import ArrayHW
from sluice.base.errors import AssetReadError, GridMismatch
from sluice.base.files import open_raster
from sluice.base.grid import PixelWindow, shifted
from sluice.imagery.raster_header import RasterHeader, read_header, same_crs
from sluice.imagery.remote import RemoteAccess, is_address, public_address
from sluice.imagery.remote_blocks import RemoteFile, fetch_decimated, fetch_header, fetch_window

_Counts = npt.NDArray[Any]
_Layers = tuple[_Counts, list[_Counts]]
"""Counts, good until this thread's next read, and masks that are 0 where there is no data."""

# In all threads together. A series has some hundred files, and each tile goes through all of them.
_OPEN_AT_MOST = 512
_LEAST_OPEN = 8
# Catalogues round coordinates.
_SAME_PLACE_PX = 0.02
# GDAL would keep decoded blocks in up to a twentieth of the machine's memory. This is one cache
# for the process, yet each thread's dataset keeps blocks of its own. For one thread it holds the
# strips under a row of tiles (1,024 lines of 20,000 pixels in three uint16 bands are 123 MB);
# several threads in a wide striped file decode some strips again.
_BLOCK_CACHE_BYTES = 256 * 2**20
_LARGEST_SCRATCH_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Asset:
    """One band of a raster file; holds no open file, so it pickles."""

    href: str
    """Path on disk, or http(s) or s3 address; without signature."""
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
    access: RemoteAccess | None = None
    """How to fetch it, for an address."""
    size_bytes: int | None = None
    """Of the file, as its catalogue says."""
    is_power: bool = False
    """Values are backscatter as linear power, not dB."""
    is_promised: bool = False
    """Grid and type are a catalogue's word: a local file is checked when it is opened. A remote
    one always is."""

    @property
    def is_remote(self) -> bool:
        """Whether it is fetched over the network."""
        return is_address(self.href)

    @property
    def name(self) -> str:
        """The file's name, without folder or query."""
        if self.is_remote:
            return unquote(urlsplit(self.href).path.rpartition("/")[2])
        return Path(self.href).name

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

    def read(self, window: PixelWindow, out: ArrayHW | None = None) -> ArrayHW:
        """Read values, NaN where there is none.

        Args:
            window: Inside the raster.
            out: (height, width) float32 to read into, with gaps between its rows or without; a
                new one if None.

        Returns:
            (height, width) float32.

        Raises:
            ItemNotFound: The file is gone.
            AssetReadError: The file is damaged.
            AuthError, RateLimited, SourceUnavailable: Its source refused, or gave no answer.
            GridMismatch: The file is not on the grid, or not of the type, of its catalogue.
        """
        counts, masks = self._layers(window)
        values: ArrayHW = np.empty(counts.shape, np.float32) if out is None else out
        # One pass, and straight to where they are wanted: a series is read by the gigabyte.
        np.multiply(counts, np.float32(self.scale), out=values, dtype=np.float32, casting="unsafe")
        if self.offset:
            values += np.float32(self.offset)
        return self._blank_absent(values, counts, masks)

    def _layers(self, window: PixelWindow, shape: tuple[int, int] | None = None) -> _Layers:
        """Counts and masks of a window, decimated to `shape` if that is given."""
        read_band = self._remote_reader if self.is_remote else self._local_reader
        return read_band(window, shape)

    def _local_reader(self, window: PixelWindow, shape: tuple[int, int] | None) -> _Layers:
        opened = _open_datasets.get(Path(self.href))
        dataset = opened.dataset
        area = Window(window.col, window.row, window.width, window.height)
        masks = []
        try:
            # Inside an environment GDAL's own warnings go to the log, not to the terminal.
            # One thread of GDAL's, as failures of its others reach nobody: a JPEG 2000 file that is
            # cut off would give wrong pixels.
            with rasterio.Env(GDAL_CACHEMAX=_BLOCK_CACHE_BYTES, GDAL_NUM_THREADS="1"):
                if self.is_promised and not opened.is_checked(self):
                    self._refuse_other_file(opened.header)
                    opened.keep_checked(self)
                size = shape or (window.height, window.width)
                counts = _scratch.lend(size, dataset.dtypes[self.index - 1])
                dataset.read(self.index, window=area, out=counts)
                if self.alpha_index is not None:
                    masks.append(dataset.read(self.alpha_index, window=area, out_shape=shape))
                if self.has_mask:
                    masks.append(dataset.read_masks(self.index, window=area, out_shape=shape))
        except RasterioError as err:
            raise AssetReadError(
                f"{self.href}: band {self.index} cannot be read (truncated or damaged: "
                f"{err.__cause__ or err}); copy or download the file again",
                href=self.href,
            ) from err
        return counts, masks

    def _remote_reader(self, window: PixelWindow, shape: tuple[int, int] | None) -> _Layers:
        file = RemoteFile(self.href, self.access or RemoteAccess(), self.size_bytes)

        def fetch(band: int) -> _Counts:
            if shape is None:
                return fetch_window(file, band, window, self._refuse_other_file)
            return fetch_decimated(file, band, shape, self._refuse_other_file)

        masks = [fetch(self.alpha_index)] if self.alpha_index is not None else []
        if self.has_mask:
            masks.append(fetch(-self.index))
        return fetch(self.index), masks

    def _blank_absent(self, values: ArrayHW, counts: _Counts, masks: list[_Counts]) -> ArrayHW:
        """Put NaN where there is no data."""
        absent = [mask == 0 for mask in masks]
        if self.is_float:
            absent.append(~np.isfinite(counts))
        if self.nodata is not None:
            absent.append(counts == self._typed_nodata)
        for here in absent:
            if here.any():
                np.copyto(values, np.nan, where=here)
        return values

    def _refuse_other_file(self, header: RasterHeader) -> None:
        """Raise where the file's header contradicts its catalogue."""
        promised = f"{self.dtype} {tuple(self.geobox.shape.yx)} px, {_place(self.geobox)}"
        place = public_address(self.href)
        if self.index > len(header.dtypes):
            found = f"{len(header.dtypes)} bands"
            promised = f"a band {self.index}"
        elif not header.crs_wkt:
            found = "no CRS"
        elif header.dtypes[self.index - 1] == self.dtype and _same_grid(self.geobox, header.geobox):
            return
        else:
            found = f"{header.dtypes[self.index - 1]} {header.shape} px, {_place(header.geobox)}"
        raise GridMismatch(
            f"{place}: its catalogue promises {promised}; the file has {found}; "
            "tell the catalogue's keeper, and leave this scene out",
            href=place,
        )


def read_overview(asset: Asset, max_px: int) -> ArrayHW:
    """Read the raw counts of a whole band at a coarser size, from its overviews if it has any.

    Args:
        asset: Local or remote.
        max_px: Longest side of the result.

    Returns:
        (height, width) float32 counts, not scaled; NaN where there is no data.

    Raises:
        As `Asset.read`.
    """
    height, width = asset.geobox.shape.yx
    shrink = max(1.0, max(height, width) / max_px)
    shape = max(1, math.floor(height / shrink)), max(1, math.floor(width / shrink))
    counts, masks = asset._layers(PixelWindow(0, 0, height, width), shape)
    return asset._blank_absent(counts.astype(np.float32), counts, masks)


def list_assets(path: Path) -> list[Asset]:
    """Describe the bands of a file, without its alpha band.

    Raises:
        ItemNotFound: No such file.
        AssetReadError: No allowed driver reads it, or its numbers are complex.
        GridMismatch: It says not where on Earth it lies.
    """
    with warnings.catch_warnings():
        # Said in words that help by `refuse_unusable`.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.Env(), open_raster(path) as dataset:
            return _describe_bands(read_header(dataset), str(path))


def open_remote_assets(
    href: str, access: RemoteAccess | None = None, *, size_bytes: int | None = None
) -> list[Asset]:
    """Describe the bands of a file at an address by opening it, without its alpha band.

    Raises:
        ItemNotFound, AuthError, RateLimited, SourceUnavailable: Its source refused, or gave no
            answer.
        AssetReadError: No allowed driver reads it, or its numbers are complex.
        GridMismatch: It says not where on Earth it lies.
    """
    access = access or RemoteAccess()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        header = fetch_header(RemoteFile(href, access, size_bytes))
    return _describe_bands(header, href, access, size_bytes)


def _describe_bands(
    header: RasterHeader,
    href: str,
    access: RemoteAccess | None = None,
    size_bytes: int | None = None,
) -> list[Asset]:
    header.refuse_unusable(public_address(href))
    return [
        Asset(
            href=href,
            index=index,
            description=header.descriptions[index - 1],
            geobox=header.geobox,
            dtype=dtype,
            nodata=header.nodatas[index - 1],
            has_mask=header.masked[index - 1],
            alpha_index=header.alphas[0] if header.alphas else None,
            scale=header.scales[index - 1],
            offset=header.offsets[index - 1],
            has_scale_tags=(header.scales[index - 1], header.offsets[index - 1]) != (1.0, 0.0),
            access=access,
            size_bytes=size_bytes,
        )
        for index, dtype in enumerate(header.dtypes, start=1)
        if index not in header.alphas
    ]


def _same_grid(promised: GeoBox, found: GeoBox) -> bool:
    """Whether two grids are one, but for what rounding in a catalogue may do."""
    if promised.shape != found.shape or not same_crs(promised.crs, found.crs):
        return False
    pixel = math.sqrt(abs(found.affine.determinant))
    height, width = found.shape.yx
    for row, col in ((0, 0), (0, width), (height, 0)):
        one, other = shifted(promised.affine, row, col), shifted(found.affine, row, col)
        if math.hypot(one.c - other.c, one.f - other.f) > _SAME_PLACE_PX * pixel:
            return False
    return True


def _place(grid: GeoBox) -> str:
    a = grid.affine
    return f"{grid.crs}, ({a.a:g}, {a.b:g}, {a.c:.10g}, {a.d:g}, {a.e:g}, {a.f:.10g})"


class _Scratch(threading.local):
    """Memory for counts, used again by each read of a thread: new memory costs as much as a
    fifth of the decoding."""

    def __init__(self) -> None:
        self._bytes: npt.NDArray[np.uint8] = np.empty(0, np.uint8)

    def lend(self, shape: tuple[int, int], dtype: str) -> _Counts:
        """An array that the next call overwrites; a new one where it is large."""
        count = shape[0] * shape[1] * np.dtype(dtype).itemsize
        if count > _LARGEST_SCRATCH_BYTES:
            return np.empty(shape, dtype)
        if count > self._bytes.size:
            self._bytes = np.empty(count, np.uint8)
        return self._bytes[:count].view(dtype).reshape(shape)


_scratch = _Scratch()


class _OpenDataset:
    """A dataset, and what was promised of its bands and found true."""

    def __init__(self, path: Path) -> None:
        with warnings.catch_warnings():
            # Where a place was promised, its lack is told as a broken promise.
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            self.dataset = open_raster(path)
        self._checked: dict[int, tuple[GeoBox, str]] = {}

    @functools.cached_property
    def header(self) -> RasterHeader:
        return read_header(self.dataset)

    def is_checked(self, asset: Asset) -> bool:
        grid, dtype = self._checked.get(asset.index, (None, ""))
        # By identity, as comparing grids would cost at every read; copies of an asset share one.
        return grid is asset.geobox and dtype == asset.dtype

    def keep_checked(self, asset: Asset) -> None:
        self._checked[asset.index] = asset.geobox, asset.dtype


class _OpenDatasets(threading.local):
    """Datasets kept open, per process and thread, the least recently used closed first.

    GDAL's block cache lives with the dataset: without this, each tile of a scan would decode
    the same full-width strips again. The key holds size and time of change, so a file that was
    replaced is opened anew.
    """

    def __init__(self) -> None:
        self._by_key: OrderedDict[tuple[str, int, int], _OpenDataset] = OrderedDict()

    def get(self, path: Path) -> _OpenDataset:
        try:
            stat = path.stat()
        except OSError:
            return _OpenDataset(path)  # which says what is wrong
        key = (str(path), stat.st_mtime_ns, stat.st_size)
        if key not in self._by_key:
            while len(self._by_key) >= _open_at_most():
                self._by_key.popitem(last=False)[1].dataset.close()
            self._by_key[key] = _OpenDataset(path)
        self._by_key.move_to_end(key)
        return self._by_key[key]


def _open_at_most() -> int:
    """Files that one thread may keep open: half of what the process may, divided by threads."""
    allowed = _OPEN_AT_MOST
    try:
        import resource  # noqa: PLC0415 - Windows has none, and a limit far higher

        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if limit != resource.RLIM_INFINITY:
            allowed = min(allowed, limit // 2)
    except ImportError:
        pass
    return max(_LEAST_OPEN, allowed // threading.active_count())


_open_datasets = _OpenDatasets()
