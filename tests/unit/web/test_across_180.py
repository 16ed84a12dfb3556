"""Sites and areas with parts on both sides of 180 degrees are found there, and nowhere else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from pydantic import TypeAdapter
from starlette.testclient import TestClient

pytest.importorskip("fastapi")

from service_cases import client_of, get
from sluice.app.following.reviewing import check_size
from sluice.app.following.stores import open_store
from sluice.app.web.boxes import boxes_meet
from sluice.app.web.shapes import Shape, read_shape
from sluice.base.errors import DataError
from sluice.base.places import Area
from stores import NOW, a_run, a_site

HERE = shapely.MultiPolygon(
    [shapely.box(179.99, -17.01, 180, -17), shapely.box(-180, -17.01, -179.99, -17)]
)
ELSEWHERE = shapely.box(20, -17.01, 20.01, -17)
FIJI = shapely.MultiPolygon([shapely.box(177, -19, 180, -16), shapely.box(-180, -19, -178, -16)])


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    path: Path = tmp_path_factory.mktemp("across") / "s.sqlite"
    with open_store(str(path), create=True) as store:
        for area, shape, name, lon in (
            ("fiji", HERE, "s-here", 179.995),
            ("zambia", ELSEWHERE, "s-elsewhere", 20.005),
        ):
            outline = FIJI if area == "fiji" else ELSEWHERE.buffer(1)
            store.add_area(Area(name=area, created=NOW), outline)
            site = a_site(name, area=area, lon=lon, lat=-17.005)
            with store.landing(area) as landing:
                landing.put_run(a_run(f"run {area}", area=area), None)
                landing.put_sites(gpd.GeoDataFrame([site], geometry=[shape], crs="EPSG:4326"))
    with client_of(path) as one:
        yield one


BOXES = {
    "west of the line": ("179,-18,180,-16", ["s-here"], ["fiji"]),
    "east of the line": ("-180,-18,-179.5,-16", ["s-here"], ["fiji"]),
    "across it": ("179,-18,-179,-16", ["s-here"], ["fiji"]),
    "far from it": ("19,-18,21,-16", ["s-elsewhere"], ["zambia"]),
    "between both": ("60,-18,70,-16", [], []),
}


@pytest.mark.parametrize("where", BOXES)
def test_boxes_find_what_crosses_180_degrees(client: TestClient, where: str) -> None:
    box, sites, areas = BOXES[where]
    # Sites are listed by the store first, and by an index in memory as soon as it is made.
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        page = get(client, "/ogc/collections/sites/items", bbox=box)
        assert [one["id"] for one in page["features"]] == sites
        assert page["numberMatched"] == len(sites)
    found = get(client, "/ogc/collections/areas/items", bbox=box)
    assert [one["id"] for one in found["features"]] == areas


@pytest.mark.parametrize("x", [0, 2**12 - 1])
def test_tiles_on_both_sides_show_an_outline(client: TestClient, x: int) -> None:
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        for query in ("", "?area=fiji"):
            tile = client.get(f"/tiles/sites/12/{x}/2244.pbf{query}")
            assert tile.status_code == 200
            assert b"s-here" in tile.content


def test_a_mine_drawn_across_180_degrees_is_as_wide_as_it_is() -> None:
    assert read_shape(TypeAdapter(Shape).validate_python(shapely.geometry.mapping(HERE)), 100)
    check_size(HERE)
    apart = shapely.MultiPolygon([shapely.box(-100, 0, -99.99, 0.01), shapely.box(0, 0, 1, 1)])
    with pytest.raises(DataError, match="degrees wide"):
        check_size(apart)


def test_boxes_meet_where_either_crosses() -> None:
    boxes: Any = np.array([[170, 0, -170, 1], [-180, 0, 180, 1], [10, 0, 20, 1]], dtype=float)
    for box, wanted in (
        ((171, 0, 172, 1), [True, True, False]),
        ((-172, 0, -171, 1), [True, True, False]),
        ((5, 0, 15, 1), [False, True, True]),
        ((175, 0, 15, 1), [True, True, True]),
        ((171, 2, 172, 3), [False, False, False]),
    ):
        assert boxes_meet(boxes, box).tolist() == wanted
