"""One pass over all pixels of a data set: what its checks need to know of each chip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyproj
from scipy import ndimage

from sluice.base.arrays import FloatArray, IntArray
from sluice.base.errors import SluiceError
from sluice.base.files import open_raster
from sluice.labels.card import count_classes
from sluice.labels.dataset import ChipDataset

_BATCH_BYTES = 64_000_000
_DETAIL_PX = 48
"""Side that chips are reduced to before their detail is compared."""
_THUMBNAIL_PX = 12
_SMOOTH_PX = 9
_BLOCK_PX = 8
"""Side of the blocks of pixels that are looked for in other chips."""
_BLOCKS_OF_A_CHIP = 128
"""How many of a chip's blocks are remembered, about."""
_LEAST_CHANGES = 24
"""Of the 56 steps from pixel to pixel along the rows of a block: a flat one proves nothing."""
_DECIBEL_BANDS = ("vv", "vh")
_ODD = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)


@dataclass
class Survey:
    """What was found out of each chip, in the order of the table."""

    blank: FloatArray
    """(N,) share of pixels not observed; NaN where the chip cannot be read."""
    brightness: FloatArray
    """(N,) mean of the bands that detail was taken from."""
    detail: npt.NDArray[np.float32]
    """(N, side, side): the mean of the bands less its surroundings; 0 where a chip is too blank
    or too flat to be told from others."""
    thumbnail: npt.NDArray[np.float32]
    """(N, values): the same picture, with what is broad, on a few pixels."""
    block_hash: npt.NDArray[np.uint64]
    """Of the blocks that are remembered, all chips in a row."""
    block_chip: IntArray
    """Which chip each is in."""
    unread: dict[int, str]
    """Chips that cannot be read, and why."""
    sizes: list[tuple[int, int]]
    """(height, width) of each that can be."""
    class_pixels: IntArray | None
    """(N, classes + 1), unlabelled ones last; -1 where the mask cannot be read. None without
    masks."""
    unread_masks: dict[int, str] = field(default_factory=dict)
    file_places: FloatArray | None = None
    """(N, 2) longitude and latitude of the centre as the image's file says, NaN where it does
    not; None where chips are no files of their own."""


def survey_chips(dataset: ChipDataset) -> Survey:
    """Read every chip and mask once.

    Memory: a batch of 64 MB, and about 10 kB for each chip.
    """
    count = len(dataset.table)
    blank, brightness = np.full((2, count), np.nan)
    details: dict[int, tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]] = {}
    hashes: list[npt.NDArray[np.uint64]] = []
    owners: list[IntArray] = []
    unread: dict[int, str] = {}
    sizes: list[tuple[int, int]] = []
    bands = _bands_to_look_at(dataset.about.bands)
    for rows, images in _read_batches(dataset, unread):
        sizes += [images.shape[2:]] * len(rows)
        blank[rows] = 1 - np.isfinite(images).all(axis=1).mean(axis=(1, 2))
        plain = _plain(images[:, bands])
        brightness[rows] = plain.mean(axis=(1, 2))
        small = _reduced(plain, _DETAIL_PX)
        broad = ndimage.uniform_filter(small, (0, _SMOOTH_PX, _SMOOTH_PX), mode="reflect")
        usable = (blank[rows] <= 0.5) & _is_textured(plain)
        thumbnails = _reduced(plain, _THUMBNAIL_PX)
        for row, part, thumbnail in zip(
            rows[usable], (small - broad)[usable], thumbnails[usable], strict=True
        ):
            details[int(row)] = (part, thumbnail.ravel())
        found, inside = _block_hashes(images)
        hashes.append(found)
        owners.append(rows[inside])
    first = next(iter(details.values()), (np.zeros((1, 1)), np.zeros(1)))
    detail = np.zeros((count, *first[0].shape), np.float32)
    thumbnail = np.zeros((count, *first[1].shape), np.float32)
    for row, (part, few) in details.items():
        # Chips of another size are a finding of their own.
        if part.shape == first[0].shape and few.shape == first[1].shape:
            detail[row], thumbnail[row] = part, few
    class_pixels, unread_masks = _read_classes(dataset)
    return Survey(
        blank=blank,
        brightness=brightness,
        detail=detail,
        thumbnail=thumbnail,
        block_hash=np.concatenate([np.empty(0, np.uint64), *hashes]),
        block_chip=np.concatenate([np.empty(0, np.int64), *owners]),
        unread=unread,
        sizes=sizes,
        class_pixels=class_pixels,
        unread_masks=unread_masks,
        file_places=_file_places(dataset),
    )


def _read_batches(
    dataset: ChipDataset, unread: dict[int, str]
) -> Iterator[tuple[IntArray, npt.NDArray[np.float32]]]:
    """Rows and images, many at a time."""
    count, size, start = len(dataset.table), 1, 0
    while start < count:
        rows = np.arange(start, min(count, start + size))
        start += len(rows)
        for part, images in _read_parts(dataset, rows, unread):
            yield part, images
            size = max(1, _BATCH_BYTES // max(1, images[0].nbytes))


def _read_parts(
    dataset: ChipDataset, rows: IntArray, unread: dict[int, str]
) -> Iterator[tuple[IntArray, npt.NDArray[np.float32]]]:
    """Rows in one go; where one of them cannot be read, by halves down to that one."""
    try:
        images = dataset.images(rows)
    except SluiceError as err:
        if len(rows) == 1:
            unread[int(rows[0])] = str(err)
            return
        for half in np.array_split(rows, 2):
            yield from _read_parts(dataset, half, unread)
        return
    yield rows, images


def _bands_to_look_at(bands: tuple[str, ...]) -> list[int]:
    """Reflectance of the current period, as decibels would drown it; else all bands."""
    plain = [
        k
        for k, band in enumerate(bands)
        if "@" not in band and band.split("@")[0] not in _DECIBEL_BANDS
    ]
    return plain or list(range(len(bands)))


def _plain(images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(n, H, W) mean of bands, the chip's own mean where nothing is known."""
    known = np.isfinite(images)
    total = np.where(known, images, 0).sum(axis=1)
    counts = known.sum(axis=1)
    plain = total / np.maximum(1, counts)
    chips = plain.sum(axis=(1, 2)) / np.maximum(1, (counts > 0).sum(axis=(1, 2)))
    filled: npt.NDArray[np.float32] = np.where(counts > 0, plain, chips[:, None, None])
    return filled.astype(np.float32)


def _reduced(plain_nhw: npt.NDArray[np.float32], most_px: int) -> npt.NDArray[np.float32]:
    """Means of squares of pixels, so that no side is longer than that."""
    step = -(-max(plain_nhw.shape[1:]) // most_px)
    height, width = (max(1, length // step) for length in plain_nhw.shape[1:])
    cut = plain_nhw[:, : height * step, : width * step]
    squares = cut.reshape(len(cut), height, cut.shape[1] // height, width, cut.shape[2] // width)
    reduced: npt.NDArray[np.float32] = squares.mean(axis=(2, 4))
    return reduced


def _is_textured(plain_nhw: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Whether more than a few pixels differ from their neighbours: else nothing can be said."""
    changes = plain_nhw[:, :, 1:] != plain_nhw[:, :, :-1]
    return np.asarray(changes.mean(axis=(1, 2)) > 0.05)


def _block_hashes(
    images: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.uint64], IntArray]:
    """Hashes of some blocks of each chip, chosen by what is in them and not by where they are.

    So the same ground under another offset gives the same hashes, however chips overlap.

    Returns:
        (M,) hashes and (M,) which chip of the batch each is in.
    """
    height, width = images.shape[2:]
    if min(height, width) < _BLOCK_PX:
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    bits = np.where(np.isfinite(images), images, np.float32(-1)).view(np.uint32)
    pixels = np.zeros((len(images), height, width), np.uint64)
    with np.errstate(over="ignore"):
        for band in range(images.shape[1]):
            pixels = (pixels ^ bits[:, band]) * _ODD[0]
            pixels ^= pixels >> np.uint64(29)
        rolled = _roll(_roll(pixels, 2, _ODD[1]), 1, _ODD[2])
    rolled ^= rolled >> np.uint64(32)
    changes = np.zeros(pixels.shape, np.int32)
    changes[:, :, 1:] = pixels[:, :, 1:] != pixels[:, :, :-1]
    sums = np.pad(
        changes.cumsum(axis=1, dtype=np.int32).cumsum(axis=2, dtype=np.int32),
        ((0, 0), (1, 0), (1, 0)),
    )
    b = _BLOCK_PX
    # The first step of a row leads into the block from outside it.
    textured = (
        sums[:, b:, b:] - sums[:, :-b, b:] - sums[:, b:, 1 : -b + 1] + sums[:, :-b, 1 : -b + 1]
    ) >= _LEAST_CHANGES
    every = max(13, rolled[0].size // _BLOCKS_OF_A_CHIP)
    chosen = textured & (rolled % np.uint64(every) == 0)
    return rolled[chosen], np.nonzero(chosen)[0].astype(np.int64)


def _roll(values: npt.NDArray[np.uint64], axis: int, factor: np.uint64) -> npt.NDArray[np.uint64]:
    """Polynomial of each run of `_BLOCK_PX` values along an axis, modulo 2**64."""
    length = values.shape[axis] - _BLOCK_PX + 1
    rolled = np.zeros_like(np.take(values, range(length), axis=axis))
    for k in range(_BLOCK_PX):
        part = [slice(None)] * values.ndim
        part[axis] = slice(k, k + length)
        rolled = rolled * factor + values[tuple(part)]
    return rolled


def _read_classes(dataset: ChipDataset) -> tuple[IntArray | None, dict[int, str]]:
    if dataset.read_masks is None:
        return None, {}
    classes = len(dataset.about.classes)
    counts = np.full((len(dataset.table), classes + 1), -1, np.int64)
    unread: dict[int, str] = {}
    for row in range(len(dataset.table)):
        try:
            counts[row] = count_classes(dataset.masks(np.array([row])), classes)[0]
        except SluiceError as err:
            unread[row] = str(err)
    return counts, unread


def _file_places(dataset: ChipDataset) -> FloatArray | None:
    if "image" not in dataset.table:
        return None
    places = np.full((len(dataset.table), 2), np.nan)
    transformers: dict[str, pyproj.Transformer] = {}
    for row, name in enumerate(dataset.table["image"]):
        try:
            with open_raster(dataset.folder / name) as file:
                if file.crs is None:
                    continue
                crs, middle = file.crs.to_wkt(), (file.width / 2, file.height / 2)
                x, y = file.transform @ middle
        except SluiceError:
            continue
        if crs not in transformers:
            transformers[crs] = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
        places[row] = transformers[crs].transform(x, y)
    return places
