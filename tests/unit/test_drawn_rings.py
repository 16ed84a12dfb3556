"""What the map says of drawn shapes is what the server will say of them."""

import importlib.util
import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import shapely

from sluice.sites.area import geodesic_areas_ha

WEB = Path(__file__).parents[2] / "web"
LEAST_NODE = (22, 18)
"""That reads TypeScript by itself."""


@pytest.fixture(scope="module")
def judged():
    """Ask the map's own code: faults and hectares of lists of rings."""
    spec = importlib.util.spec_from_file_location("build_map", WEB / "build_map.py")
    build_map = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build_map)
    try:
        node, _ = build_map.node_and_npm()
    except build_map.MapNotBuilt as err:
        pytest.skip(str(err))
    version = subprocess.run([*node, "--version"], capture_output=True, text=True, check=True)
    if tuple(map(int, re.findall(r"\d+", version.stdout)[:2])) < LEAST_NODE:
        pytest.skip(f"node {version.stdout.strip()} reads no TypeScript")
    rings = json.dumps((WEB / "src" / "map" / "rings.ts").as_uri())
    program = (
        f"import {{ faultOf, ringHectares }} from {rings};"
        "import { readFileSync } from 'node:fs';"
        "const shapes = JSON.parse(readFileSync(0, 'utf-8'));"
        "const told = shapes.map((rings) => [faultOf(rings), ringHectares(rings[0])]);"
        "console.log(JSON.stringify(told));"
    )

    def ask(shapes):
        done = subprocess.run(
            [*node, "--input-type=module", "-e", program],
            input=json.dumps(shapes),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return ask


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
