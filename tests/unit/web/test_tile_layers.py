"""Vector tiles, read back by a reader of their own that follows the specification."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("fastapi")

from sluice.app.web.tile_encoding import EXTENT, point_shapes, shapes_of, sizes_of, varints
from sluice.app.web.tile_layers import (
    Coded,
    coded,
    coded_counts,
    coded_numbers,
    coded_texts,
    encode_layer,
)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Numbers and contents of the fields of a message."""
    at = 0
    while at < len(data):
        tag, at = read_varint(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = read_varint(data, at)
            yield tag >> 3, value
        else:
            size, at = (4, at) if kind == 5 else read_varint(data, at)
            yield tag >> 3, data[at : at + size]
            at += size


def numbers_of(data: bytes) -> list[int]:
    found, at = [], 0
    while at < len(data):
        value, at = read_varint(data, at)
        found.append(value)
    return found


def value_of(data: bytes) -> Any:
    ((number, content),) = fields(data)
    if number == 1:
        return content.decode()
    if number == 2:
        return struct.unpack("<f", content)[0]
    if number == 6:
        return (content >> 1) ^ -(content & 1)
    return bool(content) if number == 7 else content


def rings_of(commands: list[int]) -> list[list[tuple[int, int]]]:
    """Vertices of the points, lines or rings that commands draw."""
    found: list[list[tuple[int, int]]] = []
    x = y = at = 0
    while at < len(commands):
        command, count = commands[at] & 7, commands[at] >> 3
        at += 1
        if command == 7:
            continue
        for _ in range(count):
            dx, dy = ((c >> 1) ^ -(c & 1) for c in commands[at : at + 2])
            x, y, at = x + dx, y + dy, at + 2
            if command == 1:
                found.append([])
            found[-1].append((x, y))
    return found


def read_tile(tile: bytes) -> dict[str, list[dict[str, Any]]]:
    """Layers by name: of each feature its kind, its vertices and its properties."""
    layers = {}
    for number, layer in fields(tile):
        assert number == 3
        parts = list(fields(layer))
        name = next(content.decode() for number, content in parts if number == 1)
        keys = [content.decode() for number, content in parts if number == 3]
        values = [value_of(content) for number, content in parts if number == 4]
        assert dict(parts)[15] == 2
        assert dict(parts)[5] == EXTENT
        features = []
        for content in (content for number, content in parts if number == 2):
            told = dict(fields(content))
            tags = numbers_of(told[2])
            properties = {keys[k]: values[v] for k, v in zip(tags[::2], tags[1::2], strict=True)}
            drawn = rings_of(numbers_of(told[4]))
            features.append({"kind": told[3], "drawn": drawn, "properties": properties})
        layers[name] = features
    return layers


def test_numbers_are_written_as_varints() -> None:
    values = [0, 1, 127, 128, 300, 16383, 16384, 2**21, 2**35 + 5, 2**50]
    assert numbers_of(varints(np.array(values))) == values
    assert sizes_of(np.array(values)).tolist() == [1, 1, 1, 2, 2, 2, 3, 4, 6, 8]
    assert varints(np.array([], dtype=np.int64)) == b""


def test_points_and_what_is_known_of_them() -> None:
    units = np.array([[5, 7], [4095, 0], [-3, 4100]])
    long = "s" * 200
    columns = {
        "id": Coded(np.arange(3), ["a", "é", long]),
        "status": coded_texts(["new", None, "new"]),
        "area": coded_numbers([1.234, np.nan, 70_000.5], 2),
        "count": coded_counts(np.array([1, 300, 1])),
        "mixed": coded([True, 1, -5]),
    }
    ((name, found),) = read_tile(encode_layer("sites", point_shapes(units), columns)).items()
    assert name == "sites"
    assert [feature["drawn"] for feature in found] == [[[(5, 7)]], [[(4095, 0)]], [[(-3, 4100)]]]
    first, second, third = (feature["properties"] for feature in found)
    assert first == {
        "id": "a", "status": "new", "area": pytest.approx(1.23), "count": 1, "mixed": True
    }  # fmt: skip
    assert second == {"id": "é", "count": 300, "mixed": 1}
    assert (third["id"], third["area"], third["mixed"]) == (long, 70_000.5, -5)
    assert type(first["mixed"]) is bool


def test_shapes_of_all_kinds_keep_their_order_and_their_properties() -> None:
    # Tile 2/1/1 reaches from 90 degrees west to 0, and from the equator to 66.5 north.
    hole = shapely.Polygon(
        shapely.box(-60, 20, -50, 30).exterior, [shapely.box(-57, 23, -53, 27).exterior]
    )
    shapes = [
        hole,
        shapely.Point(-45, 0.0001),
        shapely.box(100, 20, 110, 30),
        shapely.LineString([(-80, 10), (-70, 10)]),
        shapely.MultiPolygon([shapely.box(-20, 20, -15, 25), shapely.box(-10, 20, -5, 25)]),
    ]
    encoded = shapes_of(np.array(shapes, dtype=object), 2, 1, 1)
    tile = encode_layer("all", encoded, {"id": ["hole", "point", "out", "line", "two"]})
    found = {feature["properties"]["id"]: feature for feature in read_tile(tile)["all"]}
    assert list(found) == ["hole", "point", "line", "two"]
    assert [found[name]["kind"] for name in found] == [3, 1, 2, 3]
    assert [len(found[name]["drawn"]) for name in found] == [2, 1, 1, 2]
    ((x, y),) = found["point"]["drawn"][0]
    assert (x, y) == (2048, 4096)
    outer, inner = (shapely.Polygon(ring) for ring in found["hole"]["drawn"])
    # Clockwise on the screen, where y grows downward, which is the other way here.
    assert (outer.exterior.is_ccw, inner.exterior.is_ccw) == (True, False)
    assert outer.contains(inner)
    width = EXTENT * 10 / 90
    assert outer.bounds[2] - outer.bounds[0] == pytest.approx(width, abs=1)


@given(
    start=st.tuples(st.floats(-100, 4200), st.floats(-100, 4200)),
    step=st.tuples(st.floats(-300, 300), st.floats(-300, 300)),
    width=st.floats(0, 3),
    kind=st.sampled_from(["sliver", "line", "ring"]),
)
def test_what_is_thin_or_at_an_edge_is_drawn_where_it_is_or_not_at_all(
    start, step, width, kind
) -> None:
    (x, y), (dx, dy) = start, step
    # In units of tile 14/8192/8192, whose corner is where the equator meets Greenwich.
    shape: shapely.Geometry = shapely.LineString([(x, y), (x + dx, y + dy), (x + dx, y)])
    if kind == "sliver":
        shape = shapely.Polygon([(x, y), (x + dx, y + dy), (x + dx + width, y + dy)])
    elif kind == "ring":
        shape = shapely.LineString([(x, y), (x + dx, y + dy)]).buffer(2 + width)
        shape = shape.difference(shapely.LineString([(x, y), (x + dx, y + dy)]).buffer(width))
    in_degrees = shapely.transform(shape, _degrees_of_units)
    encoded = shapes_of(np.array([in_degrees], dtype=object), 14, 8192, 8192)
    tile = encode_layer("thin", encoded, {"id": ["a"]})
    near = shape.buffer(4)
    for feature in read_tile(tile).get("thin", []):
        assert feature["drawn"]
        for part in feature["drawn"]:
            assert near.covers(shapely.MultiPoint(part))


def _degrees_of_units(units: np.ndarray) -> np.ndarray:
    share = 2.0**-14 * units / EXTENT
    return np.column_stack(
        [360 * share[:, 0], np.degrees(np.arctan(np.sinh(-2 * np.pi * share[:, 1])))]
    )


def test_an_outline_long_and_thin_does_not_vanish() -> None:
    needle = shapely.Polygon([(10, 10), (900, 900), (902, 900)])
    in_degrees = shapely.transform(needle, _degrees_of_units)
    encoded = shapes_of(np.array([in_degrees], dtype=object), 14, 8192, 8192)
    (feature,) = read_tile(encode_layer("thin", encoded, {"id": ["a"]}))["thin"]
    (ring,) = feature["drawn"]
    assert sorted(ring) == [(10, 10), (900, 900), (902, 900)]


def test_nothing_makes_no_layer() -> None:
    assert encode_layer("none", point_shapes(np.zeros((0, 2), np.int64)), {"id": []}) == b""
    far = shapes_of(np.array([shapely.box(100, 20, 110, 30)], dtype=object), 2, 1, 1)
    assert encode_layer("none", far, {"id": ["a"]}) == b""
