"""What the map says of drawn shapes is what the server will say of them."""

import numpy as np
import pytest
import shapely

from map_code import asker
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
