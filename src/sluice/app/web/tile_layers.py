"""Layers of Mapbox Vector Tiles: what features are drawn with, and all of it as protobuf.

All but the values is one row of varints, which are written at once; a tile may have thousands of
features, and a loop over them takes longer than all else.

Source:
    Vector Tile Specification 2.1, https://github.com/mapbox/vector-tile-spec.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from sluice.app.web.tile_encoding import EXTENT, Ints, Shapes, places_of_parts, sizes_of, varints

_FLOAT = struct.Struct("<f").pack
_BODY, _TAGS, _KIND, _GEOMETRY = 0x12, 0x12, 0x18, 0x22
_FIXED = 8
"""Numbers of a feature besides its tags and its geometry: four names of fields, what follows."""
_SHORT = 126
_TEXT_HEADS = [bytes((0x22, size + 2, 0x0A, size)) for size in range(_SHORT)]
"""What stands before a text of so many bytes that is a value."""


@dataclass(frozen=True)
class Coded:
    """A column of a layer: few values, and which of them each feature has."""

    codes: Ints
    """(N,) of `values`; below 0 where a feature has none."""
    values: Sequence[Any] | npt.NDArray[np.float64]
    """Text, number, bool; an array of floats."""

    def take(self, rows: Any) -> Coded:
        """The column of some features."""
        return Coded(self.codes[rows], self.values)


Column: TypeAlias = Coded | Sequence[Any]


def coded(values: Sequence[Any]) -> Coded:
    """A column of values: text, number, bool; None and NaN are absent."""
    known: dict[Any, int] = {}
    codes = [
        # A flag and a number of the same value are two.
        known.setdefault((type(value), value), len(known))
        if value is not None and value == value  # noqa: PLR0124 - NaN
        else -1
        for value in values
    ]
    return Coded(np.array(codes, dtype=np.int64), [value for _, value in known])


def coded_texts(values: Sequence[Any]) -> Coded:
    """A column of texts, or of what is told as such; None and NaN are absent."""
    known: dict[Any, int] = {}
    codes = [
        known.setdefault(value, len(known))
        if value is not None and value == value  # noqa: PLR0124 - NaN
        else -1
        for value in values
    ]
    return Coded(np.array(codes, dtype=np.int64), [str(value) for value in known])


def coded_numbers(values: Any, digits: int) -> Coded:
    """A column of numbers, rounded; NaN are absent."""
    rounded = np.round(np.asarray(values, dtype=np.float64), digits)
    known, codes = np.unique(rounded, return_inverse=True)
    return Coded(np.where(np.isnan(rounded), -1, codes), known.astype(np.float64))


def coded_counts(values: Ints) -> Coded:
    """A column of whole numbers, none of them absent."""
    known, codes = np.unique(values, return_inverse=True)
    return Coded(codes, known.tolist())


@dataclass(frozen=True)
class Tags:
    """What N features are drawn with, as layers hold it; several layers may hold the same."""

    keys: list[str]
    pairs: Ints
    """(N, number of keys, 2): of the key and of the value."""
    are_there: npt.NDArray[np.bool_]
    """(N, number of keys)."""
    values: list[bytes]

    @classmethod
    def of(cls, columns: Mapping[str, Column], rows: Ints) -> Tags:
        """Those of some features.

        Args:
            columns: Values of all by name.
            rows: N of them.
        """
        pairs = np.empty((len(rows), len(columns), 2), dtype=np.int64)
        encoded = []
        before = 0
        for key, column in enumerate(columns.values()):
            own = column if isinstance(column, Coded) else coded(column)
            codes = own.codes[rows]
            # A tile has those values alone that its features have.
            used = np.zeros(len(own.values), dtype=bool)
            used[codes[codes >= 0]] = True
            numbers = np.cumsum(used) - 1 + before
            pairs[:, key, 0] = key
            pairs[:, key, 1] = np.where(codes >= 0, numbers[codes] if len(numbers) else -1, -1)
            before += int(used.sum())
            encoded.append(_values(own.values, used))
        return cls([*columns], pairs, pairs[:, :, 1] >= 0, encoded)

    def take(self, rows: Ints) -> Tags:
        """Those of some features; values that only others have stay."""
        return Tags(self.keys, self.pairs[rows], self.are_there[rows], self.values)


def encode_layer(name: str, shapes: Shapes, columns: Mapping[str, Column] | Tags) -> bytes:
    """A tile with one layer.

    Args:
        name: Of the layer.
        shapes: (N,); those without a kind are left out.
        columns: (N,) values each, or what was made of them.
    """
    drawn = np.flatnonzero((shapes.kinds > 0) & (shapes.counts > 0))
    if not len(drawn):
        return b""
    kinds, counts, commands = shapes.kinds[drawn], shapes.counts[drawn], shapes.commands
    if len(drawn) < len(shapes.kinds):
        starts = np.cumsum(shapes.counts) - shapes.counts
        commands = commands[places_of_parts(starts[drawn], counts)]
    tags = columns.take(drawn) if isinstance(columns, Tags) else Tags.of(columns, drawn)
    layer = [
        b"\x78\x02",
        _sized(b"\x0a", name.encode()),
        _features(tags, kinds, commands, counts),
        *(_sized(b"\x1a", key.encode()) for key in tags.keys),
        *tags.values,
        b"\x28" + _varint(EXTENT),
    ]
    return _sized(b"\x1a", b"".join(layer))


def _features(own: Tags, kinds: Ints, commands: Ints, counts: Ints) -> bytes:
    tags, tag_counts = own.pairs[own.are_there].ravel(), 2 * own.are_there.sum(axis=1)
    tag_bytes = _sums(sizes_of(tags), tag_counts)
    shape_bytes = _sums(sizes_of(commands), counts)
    body_bytes = 4 + sizes_of(tag_bytes) + tag_bytes + sizes_of(shape_bytes) + shape_bytes
    numbers = _FIXED + tag_counts + counts
    heads = np.cumsum(numbers) - numbers
    found = np.empty(int(numbers.sum()), dtype=np.int64)
    found[heads], found[heads + 1] = _BODY, body_bytes
    found[heads + 2], found[heads + 3] = _TAGS, tag_bytes
    found[places_of_parts(heads + 4, tag_counts)] = tags
    heads = heads + 4 + tag_counts
    found[heads], found[heads + 1] = _KIND, kinds
    found[heads + 2], found[heads + 3] = _GEOMETRY, shape_bytes
    found[places_of_parts(heads + 4, counts)] = commands
    return varints(found)


def _sums(values: Ints, counts: Ints) -> Ints:
    """Sums of so many values each."""
    sums = np.concatenate([[0], np.cumsum(values)])
    ends = np.cumsum(counts)
    found: Ints = sums[ends] - sums[ends - counts]
    return found


def _values(values: Sequence[Any] | npt.NDArray[np.float64], used: npt.NDArray[np.bool_]) -> bytes:
    if isinstance(values, np.ndarray):
        chosen = values[used].astype("<f4")
        found = np.empty((len(chosen), 7), dtype=np.uint8)
        found[:, :3] = (0x22, 0x05, 0x15)
        found[:, 3:] = chosen.view(np.uint8).reshape(-1, 4)
        return found.tobytes()
    chosen_values = values if used.all() else [values[k] for k in np.flatnonzero(used).tolist()]
    if all(type(value) is str for value in chosen_values):
        texts = [value.encode() for value in chosen_values]
        if max(map(len, texts), default=0) < _SHORT:
            # The ids of all features, mostly.
            return b"".join([_TEXT_HEADS[len(text)] + text for text in texts])
    return b"".join([_sized(b"\x22", _value(value)) for value in chosen_values])


def _value(value: Any) -> bytes:
    if isinstance(value, str):
        return _sized(b"\x0a", value.encode())
    if isinstance(value, float):
        return b"\x15" + _FLOAT(value)
    if isinstance(value, bool):
        return b"\x38" + bytes([value])
    if isinstance(value, int):
        return b"\x28" + _varint(value) if value >= 0 else b"\x30" + _varint(-2 * value - 1)
    return _sized(b"\x0a", str(value).encode())


def _sized(tag: bytes, content: bytes) -> bytes:
    """A field of bytes: its tag, its length and what it holds."""
    size = len(content)
    return tag + (bytes((size,)) if size < 0x80 else _varint(size)) + content


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append((value & 0x7F) | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
