"""Windows of remote rasters, put together from blocks on disk and what is missing there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.windows import Window

from sluice.base.errors import GridMismatch
from sluice.base.grid import PixelWindow
from sluice.imagery.block_cache import BlockCache, cache_in
from sluice.imagery.raster_header import RasterHeader
from sluice.imagery.remote import OpenRaster, RemoteAccess, identity, with_raster

Counts = npt.NDArray[Any]
"""(H, W) in the file's own type."""
Check = Callable[[RasterHeader], None]
"""Raises GridMismatch where a file is not what was promised."""

# Smaller blocks (the strips of plain TIFFs) are kept several in one entry.
_LEAST_CELL_PX = 512 * 512
# Files in one huge piece are read past the cache, which would need all of it in memory.
_LARGEST_CELL_PX = 16 * 2**20


@dataclass(frozen=True)
class RemoteFile:
    """A file at an address."""

    href: str
    access: RemoteAccess
    size_bytes: int | None = None
    """As its catalogue says; a file of another size is another file."""

    def cache(self) -> BlockCache | None:
        """Where its blocks are kept."""
        folder = self.access.cache_folder
        if folder is None or self.access.cache_bytes <= 0:
            return None
        return cache_in(folder, self.access.cache_bytes)

    def key(self, *parts: object) -> str:
        """Key of an entry; without signature."""
        return "|".join(map(str, (identity(self.href, self.access), self.size_bytes, *parts)))


def fetch_header(file: RemoteFile) -> RasterHeader:
    """What the file says of itself, from the cache or by opening it.

    Raises:
        SourceError: Any of them, see `with_raster`.
    """
    cache = file.cache()
    known = _known_header(file, cache, lambda _: None)
    if known is not None:
        return known
    header = with_raster(file.href, file.access, lambda raster: raster.header)
    _keep_header(file, cache, header)
    return header


def fetch_window(file: RemoteFile, band: int, window: PixelWindow, check: Check) -> Counts:
    """Counts of a window; the blocks that it touches are kept.

    Args:
        file: Where it is.
        band: Number from 1; negative for that band's mask.
        window: Inside the raster.
        check: Called with the file's header before pixels are used.

    Returns:
        (H, W) in the file's type; the caller may write into it.

    Raises:
        SourceError: Any of them, see `with_raster`.
        GridMismatch: From `check`.
    """
    cache = file.cache()
    if cache is None:

        def read_straight(raster: OpenRaster) -> Counts:
            check(raster.header)
            return _read(raster, band, window)

        return with_raster(file.href, file.access, read_straight)
    known = _known_header(file, cache, check)
    if known is not None:
        cells = _Cells(file, cache, known, band, window)
        found = cells.kept(cells.touched()) if cells.fit else {}
        if cells.fit and len(found) == len(cells.touched()):
            return cells.join(found)

    def read_missing(raster: OpenRaster) -> Counts:
        check(raster.header)
        # Its fingerprint is in the cells' keys, so blocks of a file that was replaced since do
        # not get mixed with the new one's.
        cells = _Cells(file, cache, raster.header, band, window)
        if raster.header != known:
            _keep_header(file, cache, raster.header)
        return cells.join(cells.fetch(raster)) if cells.fit else _read(raster, band, window)

    return with_raster(file.href, file.access, read_missing)


def fetch_decimated(file: RemoteFile, band: int, shape: tuple[int, int], check: Check) -> Counts:
    """Counts of the whole raster at a coarser size, from its overviews; kept too.

    Args:
        file: Where it is.
        band: Number from 1; negative for that band's mask.
        shape: (height, width) to read.
        check: Called with the file's header before pixels are used.

    Raises:
        SourceError: Any of them, see `with_raster`.
        GridMismatch: From `check`.
    """
    cache = file.cache()
    known = _known_header(file, cache, check)

    def key(header: RasterHeader) -> str:
        return file.key(header.fingerprint, "overview", band, *shape)

    if known is not None and cache is not None:
        kept = cache.get_array(key(known))
        if kept is not None:
            return kept.copy()

    def read_whole(raster: OpenRaster) -> Counts:
        check(raster.header)
        counts = _read(raster, band, PixelWindow(0, 0, *raster.header.shape), shape)
        if cache is not None:
            _keep_header(file, cache, raster.header)
            cache.put_array(key(raster.header), counts)
        return counts

    return with_raster(file.href, file.access, read_whole)


def _known_header(file: RemoteFile, cache: BlockCache | None, check: Check) -> RasterHeader | None:
    """The header kept, None where it is unknown or not as promised: then the file decides."""
    text = cache.get_text(file.key("header")) if cache is not None else None
    if text is None:
        return None
    try:
        header = RasterHeader.from_json(text)
        check(header)
    except (ValueError, GridMismatch):
        return None
    return header


def _keep_header(file: RemoteFile, cache: BlockCache | None, header: RasterHeader) -> None:
    if cache is not None:
        cache.put_text(file.key("header"), header.to_json())


def _read(
    raster: OpenRaster, band: int, window: PixelWindow, shape: tuple[int, int] | None = None
) -> Counts:
    area = Window(window.col, window.row, window.width, window.height)
    read = raster.dataset.read if band > 0 else raster.dataset.read_masks
    counts: Counts = read(abs(band), window=area, out_shape=shape)
    return counts


Cell = tuple[int, int]
"""Row and column of a cell."""


class _Cells:
    """The pieces of one band that a window touches: a block of the file each, or several."""

    def __init__(
        self,
        file: RemoteFile,
        cache: BlockCache,
        header: RasterHeader,
        band: int,
        window: PixelWindow,
    ) -> None:
        self._file, self._cache, self._header = file, cache, header
        self._band, self._window = band, window
        self._size = _cell_size(header.block_shapes[abs(band) - 1], header.shape)
        self.fit = self._size[0] * self._size[1] <= _LARGEST_CELL_PX
        """Whether they are small enough to be kept."""

    def touched(self) -> list[Cell]:
        """Row by row."""
        (height, width), window = self._size, self._window
        rows = range(window.row // height, (window.row + window.height - 1) // height + 1)
        cols = range(window.col // width, (window.col + window.width - 1) // width + 1)
        return [(row, col) for row in rows for col in cols]

    def kept(self, cells: Iterable[Cell]) -> dict[Cell, Counts]:
        """Those that the cache has."""
        found = {}
        for cell in cells:
            pixels = self._cache.get_array(self._key(cell))
            if pixels is not None and pixels.shape == (self._area(cell, cell)[2:]):
                found[cell] = pixels
        return found

    def fetch(self, raster: OpenRaster) -> dict[Cell, Counts]:
        """All that are touched; what other threads are fetching is waited for."""
        found = self.kept(self.touched())
        missing = {self._key(cell): cell for cell in self.touched() if cell not in found}
        with _claims.hold(missing) as keys:
            mine = [missing.pop(key) for key in sorted(keys)]
            # One more look, as another thread may just have finished.
            found |= self.kept(mine)
            found |= self._read([cell for cell in mine if cell not in found], raster)
        if missing:
            _claims.wait(missing, self._file.access.timeout_s)
            found |= self.kept(missing.values())
            found |= self._read([cell for cell in missing.values() if cell not in found], raster)
        return found

    def join(self, found: dict[Cell, Counts]) -> Counts:
        """The window's pixels."""
        window = self._window
        dtype = next(iter(found.values())).dtype
        out = np.empty((window.height, window.width), dtype)
        for cell, pixels in found.items():
            row, col, height, width = self._area(cell, cell)
            top, left = max(row, window.row), max(col, window.col)
            bottom = min(row + height, window.row + window.height)
            right = min(col + width, window.col + window.width)
            out[top - window.row : bottom - window.row, left - window.col : right - window.col] = (
                pixels[top - row : bottom - row, left - col : right - col]
            )
        return out

    def _read(self, cells: list[Cell], raster: OpenRaster) -> dict[Cell, Counts]:
        """Read the rectangle around cells at once, as GDAL then merges requests; keep each."""
        if not cells:
            return {}
        rows, cols = [row for row, _ in cells], [col for _, col in cells]
        top, left, height, width = self._area((min(rows), min(cols)), (max(rows), max(cols)))
        pixels = _read(raster, self._band, PixelWindow(top, left, height, width))
        found = {}
        for cell in cells:
            row, col, height, width = self._area(cell, cell)
            found[cell] = pixels[row - top :, col - left :][:height, :width]
            self._cache.put_array(self._key(cell), found[cell])
        return found

    def _area(self, first: Cell, last: Cell) -> tuple[int, int, int, int]:
        """First row and column, height and width in pixels, from one cell to another."""
        (height, width), (rows, cols) = self._size, self._header.shape
        top, left = first[0] * height, first[1] * width
        bottom, right = min(rows, (last[0] + 1) * height), min(cols, (last[1] + 1) * width)
        return top, left, bottom - top, right - left

    def _key(self, cell: Cell) -> str:
        return self._file.key(self._header.fingerprint, self._band, *self._size, *cell)


def _cell_size(block: tuple[int, int], shape: tuple[int, int]) -> tuple[int, int]:
    """Height and width of a cell: whole blocks, and enough of them."""
    height, width = min(block[0], shape[0]), min(block[1], shape[1])
    while height * width < _LEAST_CELL_PX and (height < shape[0] or width < shape[1]):
        if width < shape[1] and (width <= height or height >= shape[0]):
            width *= 2
        else:
            height *= 2
    return height, width


class _Claims:
    """Which entries threads of this process are fetching, so that none is fetched twice."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held: set[str] = set()

    @contextmanager
    def hold(self, keys: Iterable[str]) -> Iterator[set[str]]:
        """Claim those that nobody holds; nobody waits while holding, so none waits for ever."""
        with self._changed:
            mine = set(keys) - self._held
            self._held |= mine
        try:
            yield mine
        finally:
            with self._changed:
                self._held -= mine
                self._changed.notify_all()

    def wait(self, keys: Iterable[str], timeout_s: float) -> None:
        """Until nobody holds any of them, or the time is over."""
        wanted = set(keys)
        with self._changed:
            self._changed.wait_for(lambda: wanted.isdisjoint(self._held), timeout_s)


_claims = _Claims()
