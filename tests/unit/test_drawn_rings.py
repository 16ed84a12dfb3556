"""What the map says of drawn shapes is what the server will say of them."""

import json
from itertools import combinations

import numpy as np
import orjson
import pytest
import shapely

from map_code import asker
from scanned import outline
from sluice.app.web.answers import geojson_of
from sluice.sites.area import geodesic_areas_ha


@pytest.fixture(scope="module")
def judged():
    """Ask the map's own code: faults and hectares of lists of rings."""
    return asker(
        "map/rings.ts", "faultOf, ringHectares", "[faultOf(value), ringHectares(value[0])]"
    )


def closed(points) -> list[list[float]]:
    ring = np.round(points, 6).tolist()
    return [*ring, ring[0]]


def test_rings_that_cross_themselves_are_found(judged) -> None:
    rng = np.random.default_rng(4)
    rings = [
        closed(rng.uniform(0, 0.1, (corners, 2))) for corners in (3, 4, 5, 6, 8) for _ in range(60)
    ]
    valid = [bool(shapely.Polygon(ring).is_valid) for ring in rings]
    assert 50 < sum(valid) < 250
    told = [fault is None for fault, _ in judged([[ring] for ring in rings])]
    assert told == valid


def test_spikes_and_touching_corners_are_faults(judged) -> None:
    spike = closed(np.array([[0, 0], [1, 0], [2, 0], [1, 0], [1, 1]]))
    eight = closed(np.array([[0, 0], [1, 1], [2, 0], [2, 2], [1, 1], [0, 2]]))
    straight = closed(np.array([[0, 0], [1, 0], [2, 0], [2, 2], [0, 2]]))
    assert [fault for fault, _ in judged([[spike], [eight], [straight]])] == [
        "crosses",
        "crosses",
        None,
    ]


def test_parts_that_overlap_are_found(judged) -> None:
    def square(west, south, side):
        return [
            list(point)
            for point in shapely.box(west, south, west + side, south + side).exterior.coords
        ]

    pairs = [
        [square(0, 0, 1), square(2, 0, 1)],
        [square(0, 0, 1), square(0.5, 0.5, 1)],
        [square(0, 0, 3), square(1, 1, 1)],
    ]
    valid = [shapely.MultiPolygon([(ring, []) for ring in pair]).is_valid for pair in pairs]
    assert valid == [True, False, False]
    assert [fault for fault, _ in judged(pairs)] == [None, "overlaps", "overlaps"]


def test_hectares_are_those_of_the_ellipsoid(judged) -> None:
    shapes = [shapely.box(-56.1, lat, -56.05, lat + 0.04) for lat in (-34, -6.4, 0.2, 12)]
    rings = [[[list(point) for point in shape.exterior.coords]] for shape in shapes]
    told = [size for _, size in judged(rings)]
    assert told == pytest.approx(geodesic_areas_ha(shapes, "EPSG:4326").tolist(), rel=1e-4)


def sent(rings) -> shapely.MultiPolygon:
    """What the server is sent of rings, read as it reads it."""
    return shapely.MultiPolygon([(np.round(ring, 6), []) for ring in rings])


def touching(rng, cells: int) -> list[list[list[float]]]:
    """Rectangles and triangles that touch, share edges, cover and cross; on whole degrees, so that
    nothing of that hangs on a last digit."""
    rings = []
    for _ in range(cells):
        x, y = rng.integers(0, 5, 2)
        wide, high = rng.integers(1, 4, 2)
        corners = np.array([[0, 0], [wide, 0], [wide, high], [0, high]])
        if rng.random() < 0.5:
            corners = np.delete(corners, rng.integers(4), axis=0)
        rings.append(closed(np.add(corners, (x, y))))
    return rings


def test_parts_may_touch_as_the_server_has_it(judged) -> None:
    rng = np.random.default_rng(11)
    shapes = [touching(rng, cells) for cells in (2, 2, 3, 4) for _ in range(250)]
    valid = [bool(shapely.is_valid(sent(rings))) for rings in shapes]
    touch = [
        any(shapely.touches(*map(shapely.Polygon, pair)) for pair in combinations(rings, 2))
        for rings in shapes
    ]
    assert 200 < sum(valid) < 800
    assert sum(np.array(valid) & touch) > 30
    told = [fault is None for fault, _ in judged(shapes)]
    assert told == valid


def test_a_point_twice_in_a_row_is_no_fault(judged) -> None:
    ring = [[0, 0], [0.0000001, 0], [0.001, 0], [0.001, 0.001], [0.001, 0.0010000001], [0, 0.001]]
    assert shapely.is_valid(sent([[*ring, ring[0]]]))
    assert [fault for fault, _ in judged([[[*ring, ring[0]]]])] == [None]


def test_outlines_of_scans_can_be_redrawn_at_once() -> None:
    """Begun with as the service tells them, their holes and what lies in these filled."""
    ask = asker(
        "map/rings.ts",
        "faultOf, outerRings, shapeOf",
        "((rings) => [faultOf(rings), shapeOf(rings)])(outerRings(value))",
    )
    rng = np.random.default_rng(7)
    around = np.zeros((9, 9), bool)
    around[[1, -2], 1:-1] = around[1:-1, [1, -2]] = True
    shapes = [
        outline(around | (rng.random((9, 9)) < share), pixel=9e-5, noise=noise, seed=seed)
        for share in (0.2, 0.4, 0.6)
        for noise in (0, 1e-8, 7e-7)
        for seed in range(8)
    ]
    served = json.loads(orjson.dumps(geojson_of(shapes)))
    told = ask(served)
    assert [fault for fault, _ in told] == [None] * len(shapes)
    begun = np.array([shapely.from_geojson(json.dumps(shape)) for _, shape in told])
    assert shapely.is_valid(begun).all()
    parts = [shapely.get_parts(shapely.from_geojson(json.dumps(shape))) for shape in served]
    filled = [
        shapely.union_all([shapely.Polygon(part.exterior) for part in several]) for several in parts
    ]
    assert shapely.area(shapely.symmetric_difference(begun, filled)).max() < 1e-15
    in_a_hole = sum(
        len(shapely.get_parts(one)) < len(several)
        for one, several in zip(begun, parts, strict=True)
    )
    assert in_a_hole > 5
