"""Label Studio's brush strokes: run-length encoded pictures of four channels.

The code is that of thi.ng's `rle-pack`. A stream of bits, the highest of each byte first, holds

- 32 bits: how many words follow;
- 5 bits: bits in a word, less one;
- 4 times 4 bits: bits of each of four kinds of length, less one;
- runs until all words are there: 1 bit that says whether the words of the run are alike, 2 bits
  for the kind of length, the length less one, and then one word for all, or a word for each.

The words are red, green, blue and alpha of one pixel after another, row by row; what was painted
has an alpha above 0.

Source:
    github.com/thi-ng/umbrella `packages/rle-pack`, as used by
    github.com/HumanSignal/label-studio-converter `brush.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sluice.base.arrays import BoolHW
from sluice.base.errors import DataError

_COUNT_BITS, _WORD_BITS, _LENGTH_BITS = 32, 5, 4
_CHANNELS = 4
_ALPHA = 3


def decode_brush(rle: Sequence[int], width: int, height: int) -> BoolHW:
    """Which pixels were painted.

    Args:
        rle: Bytes, as `value.rle` of a result holds them.
        width: Of the picture, in pixels.
        height: Likewise.

    Returns:
        (height, width), True where painted.

    Raises:
        DataError: The code is cut off, holds no bytes, or is of a picture of another size.
    """
    words = _decode(rle, width * height * _CHANNELS)
    painted: BoolHW = words.reshape(height, width, _CHANNELS)[:, :, _ALPHA] > 0
    return painted


class _Bits:
    """Reads numbers off a stream of bits."""

    def __init__(self, rle: Sequence[int]) -> None:
        try:
            code = np.asarray(rle, dtype=np.int64)
        except (TypeError, ValueError, OverflowError) as err:
            raise DataError(f"a brush stroke holds what is no byte ({err}); export again") from err
        if code.ndim != 1 or ((code < 0) | (code > 255)).any():
            raise DataError("a brush stroke holds numbers that are no bytes; export again")
        self.text = "".join(map(str, np.unpackbits(code.astype(np.uint8)).tolist()))
        self.at = 0

    def read(self, count: int) -> int:
        end = self.at + count
        if end > len(self.text):
            raise DataError("a brush stroke is cut off; export again")
        number = int(self.text[self.at : end], 2)
        self.at = end
        return number


def _decode(rle: Sequence[int], expected: int) -> npt.NDArray[np.uint8]:
    bits = _Bits(rle)
    count = bits.read(_COUNT_BITS)
    # Looked at before memory is taken: the number is whatever the file says.
    if count != expected:
        raise DataError(
            f"a brush stroke has {count} words, its picture {expected}; the export says another "
            "size than the stroke was painted in: export again"
        )
    word_bits = bits.read(_WORD_BITS) + 1
    length_bits = [bits.read(_LENGTH_BITS) + 1 for _ in range(4)]
    words = np.zeros(count, np.uint32)
    at = 0
    while at < count:
        alike = bits.read(1)
        length = bits.read(length_bits[bits.read(2)]) + 1
        if at + length > count:
            raise DataError("a brush stroke runs beyond its picture; export again")
        if alike:
            words[at : at + length] = bits.read(word_bits)
        else:
            words[at : at + length] = [bits.read(word_bits) for _ in range(length)]
        at += length
    return (words > 0).astype(np.uint8)
