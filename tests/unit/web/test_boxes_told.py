"""Boxes that the service tells, and what the map makes of them."""

from typing import Any

import pytest
import shapely

from map_code import asker

pytest.importorskip("fastapi")

from sluice.app.web.views import bounds_of

FIJI = shapely.MultiPolygon([shapely.box(177, -18, 180, -16), shapely.box(-180, -19, -179, -17)])


def test_a_box_across_180_degrees_is_narrow() -> None:
    assert bounds_of(FIJI) == [177, -19, -179, -16]


def test_other_boxes_are_as_they_were() -> None:
    assert bounds_of(shapely.box(-2.12345678, 5, -1, 6)) == [-2.123457, 5, -1, 6]
    assert bounds_of(shapely.box(-180, -1, 180, 1)) == [-180, -1, 180, 1]
    apart = shapely.MultiPolygon([shapely.box(-80, 0, -70, 1), shapely.box(20, 0, 30, 2)])
    assert bounds_of(apart) == [-80, 0, 30, 2]


@pytest.fixture(scope="module")
def unrolled() -> Any:
    return asker("base/boxes.ts", "unrolled", "unrolled(value)")


@pytest.fixture(scope="module")
def around() -> Any:
    return asker(
        "base/boxes.ts", "boxAround", "boxAround(value.map(([lon, lat]) => ({ lon, lat })), 5000)"
    )


def test_the_map_goes_eastwards_over_180_degrees(unrolled) -> None:
    assert unrolled([[177, -19, -179, -16], [-2, 5, -1, 6]]) == [
        [177, -19, 181, -16],
        [-2, 5, -1, 6],
    ]


def test_the_box_of_cells_holds_all_of_them_and_no_more(around) -> None:
    near, across = around([[[-56, -6], [-55, -7]], [[179.9, -17], [-179.9, -17.5]]])
    half = 2500 / 111_320
    for box, (west, south, east, north) in (
        (near, (-56, -7, -55, -6)),
        (across, (179.9, -17.5, 180.1, -17)),
    ):
        assert box[0] <= west - half
        assert box[1] <= south - half
        assert box[2] >= east + half
        assert box[3] >= north + half
        assert box[2] - box[0] < east - west + 6 * half
