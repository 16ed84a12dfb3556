"""Which of Sentinel-2's tiles lie over an area."""

import json
from pathlib import Path

import mgrs
import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.imagery.sentinel2_tiles import tile_box, tiles_over


def around(lon: float, lat: float, reach: float = 0.001) -> shapely.Polygon:
    return shapely.box(lon - reach, lat - reach, lon + reach, lat + reach)


def test_the_corner_of_a_tile_is_that_of_its_products() -> None:
    # From items of 35MNM and the tiling grid's entry of 32TQM.
    assert tile_box(500000, 9100000, north=False).bounds == (499980, 9090220, 609780, 9200020)
    assert tile_box(700000, 4900000, north=True).bounds == (699960, 4890240, 809760, 5000040)


def test_real_items_lie_in_the_tiles_found(shared_data: Path) -> None:
    path = shared_data / "stac-items-s2-drc" / "site2-2020_jun_jul-35MNM.geojson"
    for item in json.loads(path.read_text())["features"]:
        geometry = shapely.geometry.shape(item["geometry"])
        # 8 S runs through the tile, so its square could go by L as well.
        assert tiles_over(geometry.centroid.buffer(0.01)) == ["35LNM", "35MNM"]
        assert item["properties"]["s2:mgrs_tile"] in tiles_over(geometry)


@pytest.mark.parametrize(
    ("lon", "lat", "expected"),
    [
        # The middle of a tile.
        (-56.5, -7.7, ["21MWM", "21MWN"]),
        # Zones 29 and 30 meet at 6 W: a place near it lies in tiles of both.
        (-6.01, 6.3, ["29NRH", "29NRG", "30NTM", "30NTN"]),
    ],
)
def test_known_places(lon: float, lat: float, expected: list[str]) -> None:
    own = mgrs.MGRS().toMGRS(lat, lon, MGRSPrecision=0)
    found = tiles_over(around(lon, lat))
    assert own in found
    zones = {name[:2] for name in found}
    assert zones == {name[:2] for name in expected}


def transformer(zone: int, *, north: bool) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(4326, (32600 if north else 32700) + zone, always_xy=True)


def corner_of(name: str, near_y: float) -> tuple[int, int]:
    """Lower left corner of a square in its zone, from the lettering scheme of the grid."""
    zone, column, row = int(name[:2]), name[3], name[4]
    columns = ("STUVWXYZ", "ABCDEFGH", "JKLMNPQR")[zone % 3]
    rows = "ABCDEFGHJKLMNPQRSTUV"
    place = (rows.index(row) - (0 if zone % 2 else 5)) % 20
    turns = round((near_y - 50_000) / 100_000 - place) // 20
    candidates = [(place + 20 * (turns + k)) * 100_000 for k in (-1, 0, 1, 2)]
    y = min(candidates, key=lambda value: abs(value + 50_000 - near_y))
    return (columns.index(column) + 1) * 100_000, y


def box_of(name: str, lon: float, lat: float) -> tuple[shapely.Polygon, tuple[float, float]]:
    """A tile's ground, and a place near it, in the tile's zone."""
    north = name[2] >= "N"
    point = transformer(int(name[:2]), north=north).transform(lon, lat)
    return tile_box(*corner_of(name, point[1]), north=north), point


@settings(max_examples=40)
@given(
    st.floats(-179.9, 179.9),
    # Less than a micrometre south of the equator, the library that names places rounds across it.
    st.floats(-79.9, 83.9).filter(lambda lat: not -1e-9 < lat < 0),
)
def test_a_place_is_in_its_own_tile_and_in_each_tile_found(lon: float, lat: float) -> None:
    own = str(mgrs.MGRS().toMGRS(lat, lon, MGRSPrecision=0)).zfill(5)
    found = tiles_over(around(lon, lat, 1e-6))
    assert own in found
    for name in found:
        box, point = box_of(name, lon, lat)
        assert box.distance(shapely.Point(point)) < 1


def test_a_large_area_by_brute_force() -> None:
    # Across 6 W, where zones 29 and 30 meet, and 8 N, where bands N and P do.
    area = shapely.Polygon([(-7.5, 4.2), (-3.2, 4.6), (-4.0, 8.3), (-6.4, 9.1)])
    found = set(tiles_over(area))
    rng = np.random.default_rng(5)
    lon, lat = rng.uniform(-8.7, -2, 30000), rng.uniform(3, 10.3, 30000)
    name_of = mgrs.MGRS().toMGRS
    there = {name_of(y, x, MGRSPrecision=0) for x, y in zip(lon, lat, strict=True)}
    inside = shapely.contains_xy(area, lon, lat)
    near = shapely.contains_xy(area.buffer(0.05), lon, lat)
    held, almost = set(), set()
    for name in there:
        to_zone = transformer(int(name[:2]), north=True)
        x, y = to_zone.transform(lon, lat)
        box = tile_box(*corner_of(name, float(np.median(y))), north=True)
        within = shapely.contains_xy(box, x, y)
        if (within & inside).any():
            held.add(name)
        if (within & near).any():
            almost.add(name)
    assert held <= found
    assert found <= almost
    assert {name[:3] for name in found} == {"29N", "29P", "30N", "30P"}


def test_both_sides_of_180_degrees() -> None:
    fiji = shapely.MultiPolygon(
        [shapely.box(179.9, -17, 180, -16.9), shapely.box(-180, -17, -179.9, -16.9)]
    )
    zones = {name[:2] for name in tiles_over(fiji)}
    assert zones == {"01", "60"}


def test_both_sides_of_the_equator() -> None:
    found = tiles_over(around(-57.0, 0.0, 0.01))
    assert {name[2] for name in found} == {"M", "N"}


def test_beyond_the_tiles_there_are_none() -> None:
    assert tiles_over(around(10, 86)) == []
    assert tiles_over(around(10, -85)) == []
