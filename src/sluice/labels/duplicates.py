"""Chips that show the same ground, whatever their table says.

Two signs, each sure by itself: the same pixels in both, at any offset; and detail that matches at
some small offset though the pixels differ (another date, another resampling). Only detail
counts: half water and half forest look alike in many places, and their shores do not.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import fft

from sluice.base.arrays import FloatArray, IntArray
from sluice.labels.survey import Survey

ALIKE = 0.75
"""Least correlation of thumbnails for which detail is compared."""
SAME_GROUND = 0.75
"""Least correlation of detail. On Earth Genome's chips, the most that pairs of different places
reach by chance is 0.66, and the least of pairs known to show the same place at one date is
0.98."""
_MOST_SHARERS = 40
"""Chips with a block; more, and it is an artefact, such as a calibration pattern."""
_AT_ONCE = 512
_FFT_PAIRS = 128


def pixel_sharers(survey: Survey) -> pd.DataFrame:
    """Pairs of chips with a block of 8 x 8 textured pixels in common, at whatever offset.

    Of the blocks one in thirteen or fewer are remembered, so a pair with a small part in common may
    be missed.

    Returns:
        Columns `one`, `other` (rows, `one` the lower) and `blocks` (how many of those
        remembered), in order.
    """
    order = np.argsort(survey.block_hash, kind="stable")
    hashes, chips = survey.block_hash[order], survey.block_chip[order]
    # Most blocks are in one chip only, and are left aside at once.
    repeated = np.zeros(len(hashes), np.bool_)
    repeated[1:] = hashes[1:] == hashes[:-1]
    repeated[:-1] |= hashes[1:] == hashes[:-1]
    hashes, chips = hashes[repeated], chips[repeated]
    starts = np.flatnonzero(np.diff(hashes)) + 1
    ones: list[int] = []
    others: list[int] = []
    for sharers in np.split(chips, starts):
        members = np.unique(sharers)
        if 2 <= len(members) <= _MOST_SHARERS:
            a, b = np.triu_indices(len(members), 1)
            ones += members[a].tolist()
            others += members[b].tolist()
    pairs = pd.DataFrame({"one": ones, "other": others}, dtype=np.int64)
    return pairs.groupby(["one", "other"]).size().rename("blocks").reset_index()


def look_alikes(survey: Survey) -> pd.DataFrame:
    """Pairs of chips whose detail matches at some offset of up to a quarter of a side.

    Thumbnails of all pairs are correlated first, as one product of matrices; only those that
    are alike are looked at in full.

    Returns:
        Columns `one`, `other` (rows, `one` the lower) and `match` (-1 to 1), in order.
    """
    detail = survey.detail
    usable = np.flatnonzero(np.abs(detail).max(axis=(1, 2)) > 0)
    pairs = usable[_alike(survey.thumbnail[usable])]
    matches = np.concatenate(
        [np.empty(0)]
        + [
            _best_match(detail[part[:, 0]], detail[part[:, 1]])
            for part in np.array_split(pairs, max(1, -(-len(pairs) // _FFT_PAIRS)))
            if len(part)
        ]
    )
    same = matches >= SAME_GROUND
    found = pd.DataFrame({"one": pairs[same, 0], "other": pairs[same, 1], "match": matches[same]})
    return found.sort_values(["one", "other"], ignore_index=True)


def _alike(thumbnails: npt.NDArray[np.float32]) -> IntArray:
    """(pairs, 2) of those that correlate."""
    values = thumbnails - thumbnails.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    values = (values / np.maximum(lengths, 1e-12)).astype(np.float32)
    found = []
    for start in range(0, len(values), _AT_ONCE):
        scores = values[start : start + _AT_ONCE] @ values[start:].T
        one, other = np.nonzero(scores >= ALIKE)
        upper = one < other
        found.append(np.column_stack([one[upper], other[upper]]) + start)
    return np.concatenate([np.empty((0, 2), np.int64), *found])


def _best_match(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> FloatArray:
    """Highest correlation of two pictures over all offsets, of the part where they overlap.

    Args:
        one: (n, H, W) of mean about 0.
        other: Same shape.

    Returns:
        (n,), -1 to 1.
    """
    height, width = one.shape[1:]
    # Padded by the farthest offset, so that what leaves on one side does not enter on the other.
    reach = height // 4, width // 4
    shape = tuple(
        fft.next_fast_len(length + far, real=True)
        for length, far in zip((height, width), reach, strict=True)
    )
    spectra = [fft.rfft2(images, shape) for images in (one, other)]
    product = fft.irfft2(spectra[0] * spectra[1].conj(), shape)
    down, right = (np.arange(-far, far + 1) for far in reach)
    near = product[np.ix_(np.arange(len(one)), down % shape[0], right % shape[1])]
    energy = _energy(one, down, right) * _energy(other, -down, -right)
    scores = near / np.sqrt(np.maximum(energy, 1e-20))
    best: FloatArray = scores.max(axis=(1, 2)).astype(np.float64)
    return best


def _energy(images: npt.NDArray[np.float32], down: IntArray, right: IntArray) -> FloatArray:
    """Sum of squares in the part that a picture of the same size, so far away, covers.

    Args:
        images: (n, H, W).
        down: (r,) rows that the other one lies lower.
        right: (c,) columns that it lies farther right.

    Returns:
        (n, r, c).
    """
    sums = np.pad((images.astype(np.float64) ** 2).cumsum(1).cumsum(2), ((0, 0), (1, 0), (1, 0)))
    (top, low), (left, far) = (
        (np.maximum(0, steps), length + np.minimum(0, steps))
        for steps, length in zip((down, right), images.shape[1:], strict=True)
    )
    chips = np.arange(len(images))

    def at(rows: IntArray, cols: IntArray) -> FloatArray:
        return np.asarray(sums[np.ix_(chips, rows, cols)])

    return at(low, far) - at(top, far) - at(low, left) + at(top, left)
