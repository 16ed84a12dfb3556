"""Put each pixel's looks in order, fast: the work inside medians and percentiles.

Up to some dozens of looks a sorting network does it: the same few comparisons for all pixels, so
that each is one call over a block, in vector registers. Its length grows faster than that of a
sort, so many looks are sorted pixel by pixel, brought together first, as numpy gathers them one
by one along the first axis.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from sluice.base.arrays import BoolTHW

FloatTN = npt.NDArray[np.float32]
"""Axes: time, pixel."""

NETWORK_UP_TO = 40
"""Looks up to which the network wins; measured with numpy 2.4 on AVX-512, where its rival is at
its best."""
_INFINITY_BITS = 0x7F800000
_BLOCK_PX, _BLOCK_VALUES = 65_536, 2_000_000


def count_looks(flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.int16]:
    """How many are True along the first axis, time."""
    # As bytes: numpy adds booleans up much more slowly.
    dtype = np.uint8 if len(flags) <= 255 else np.int16
    count: npt.NDArray[np.int16] = np.add.reduce(flags.view(np.uint8), axis=0, dtype=dtype)
    return count.astype(np.int16)


def blocks_of_rows(flags_thw: BoolTHW) -> Iterator[slice]:
    """Rows to work through at a time.

    Blocks are small enough for a processor's cache, and large enough that two threads do not
    stand in each other's way between the calls to numpy, each of which lets go of Python's lock.
    """
    times, height, width = flags_thw.shape
    step = max(1, min(_BLOCK_PX, _BLOCK_VALUES // max(times, 1)) // max(width, 1))
    for first in range(0, height, step):
        yield slice(first, min(first + step, height))


def floor_of_looks(counted_thw: BoolTHW) -> npt.NDArray[np.float32]:
    """The least that a look may be: minus infinity where it counts, infinity where not.

    Looks that do not count are so put behind all others. Made from bits: choosing element by
    element takes ten times as long on a ragged mask.
    """
    bits = np.empty(counted_thw.shape, np.int32)
    np.copyto(bits, counted_thw.view(np.int8))
    bits <<= 31  # the sign
    bits |= _INFINITY_BITS
    return bits.view(np.float32)


@dataclass(frozen=True)
class Network:
    """Comparisons that bring the lowest places of a number of looks into order."""

    steps: tuple[tuple[int, int, int], ...]
    """(one, other, free) rows: the lesser goes to `free`, the greater to `other`."""
    row_of_place: tuple[int, ...]
    """Where each place is found in the end."""


class LookSorter:
    """Sorts blocks of one shape; its memory is used again for each.

    Args:
        times: Number of looks.
        pixels: Pixels in a block.
        places: How many of the lowest places are wanted.
    """

    def __init__(self, times: int, pixels: int, places: int) -> None:
        self._network = make_network(times, places) if times <= NETWORK_UP_TO else None
        self._rows: FloatTN = np.empty((times + 1, pixels), np.float32)
        self._by_pixel = None if self._network else np.empty((pixels, times), np.float32)
        self._times = times

    def sort(self, values_tn: FloatTN, floor_tn: FloatTN) -> npt.NDArray[np.float32]:
        """Order the looks, those that do not count last.

        Args:
            values_tn: (T, N), NaN allowed where a look does not count.
            floor_tn: (T, N), see `floor_of_looks`.

        Returns:
            Flat, to be read at `indices`; overwritten by the next call.
        """
        rows = self._rows
        np.fmax(values_tn, floor_tn, out=rows[:-1])  # of NaN and infinity it takes infinity
        if self._network is None:
            assert self._by_pixel is not None  # noqa: S101 - as made in __init__
            np.copyto(self._by_pixel, rows[:-1].T)
            self._by_pixel.sort(axis=1)
            return self._by_pixel.reshape(-1)
        views = list(rows)
        for one, other, free in self._network.steps:
            np.minimum(views[one], views[other], out=views[free])
            np.maximum(views[one], views[other], out=views[other])
        return rows.reshape(-1)

    def indices(self, place_n: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        """Where each pixel's look of a given place stands in what `sort` returns."""
        pixel = np.arange(place_n.size, dtype=np.intp)
        if self._network is None:
            return pixel * self._times + place_n
        row = np.asarray(self._network.row_of_place, np.intp)[place_n]
        return row * place_n.size + pixel


def sort_looks(values_tn: FloatTN) -> FloatTN:
    """Each pixel's looks in order, darkest first; (T, N) without NaN, left as it is."""
    times = len(values_tn)
    if times > NETWORK_UP_TO:
        by_pixel = np.ascontiguousarray(values_tn.T)
        by_pixel.sort(axis=1)
        return np.ascontiguousarray(by_pixel.T)
    network = make_network(times, times)
    rows = [*values_tn.copy(), np.empty_like(values_tn[0])]
    for one, other, free in network.steps:
        np.minimum(rows[one], rows[other], out=rows[free])
        np.maximum(rows[one], rows[other], out=rows[other])
    return np.stack([rows[row] for row in network.row_of_place])


@lru_cache(maxsize=64)
def make_network(times: int, places: int) -> Network:
    """Build the network; comparisons that no wanted place depends on are left out.

    Source:
        Batcher's merge exchange: Knuth, The Art of Computer Programming 3, 5.2.2, algorithm M.
    """
    wanted = set(range(places))
    needed: list[tuple[int, int]] = []
    for low, high in reversed(_merge_exchange(times)):
        if low in wanted or high in wanted:
            needed.append((low, high))
            wanted |= {low, high}
    row_of_place, free = list(range(times)), times
    steps = []
    for low, high in reversed(needed):
        one = row_of_place[low]
        steps.append((one, row_of_place[high], free))
        row_of_place[low], free = free, one
    return Network(tuple(steps), tuple(row_of_place))


def _merge_exchange(times: int) -> list[tuple[int, int]]:
    pairs = []
    top = 1 << max(times - 1, 1).bit_length() - 1
    span = top
    while span > 0:
        size, offset, distance = top, 0, span
        while True:
            pairs += [(i, i + distance) for i in range(times - distance) if i & span == offset]
            if size == span:
                break
            distance, size, offset = size - span, size >> 1, span
        span >>= 1
    return pairs
