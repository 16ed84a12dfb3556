"""An area is cut into parts that each fit on one grid, and nothing of it is lost."""

import pyproj
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.app.area_parts import map_parts
from sluice.imagery.target_grid import area_grid

MARGIN_M = 20_000


def names(area) -> list[str]:
    return [part.name for part in map_parts(area)]


def gained_or_lost(area) -> float:
    parts = [part.geometry for part in map_parts(area)]
    return shapely.union_all(parts).symmetric_difference(area).area


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        # Peru, DR Congo: over three bands, and over more than one zone in each.
        ((-81.4, -18.4, -68.6, -0.03), {"s24", "s16", "s08"}),
        ((12.2, -13.5, 31.4, 5.4), {"s16", "s08", "n00"}),
    ],
)
def test_a_country_is_cut_by_height_too(box, expected) -> None:
    found = names(shapely.box(*box))
    assert {name.partition("-")[2] for name in found} == expected
    assert len(found) == len(set(found))
    assert all(name.replace("-", "").isalnum() for name in found)


def test_a_tall_area_that_is_narrow_is_a_part_for_each_band() -> None:
    """It crosses the border of zones 20 and 21 at 60 degrees west by a little."""
    assert names(shapely.box(-60.2, -12, -58, 12)) == [
        "utm21-n00", "utm21-n08", "utm21-s08", "utm21-s16",
    ]  # fmt: skip


def test_an_area_near_its_zone_that_is_too_wide_is_cut() -> None:
    """1,200 km at the equator; as many degrees at 60 north are 600."""
    assert names(shapely.box(-62, -2, -51.2, 2)) == ["utm20", "utm21", "utm22"]
    assert names(shapely.box(-62, 60, -51.2, 62)) == [""]


def test_names_depend_on_the_place_only() -> None:
    larger = shapely.box(-58.1, -15, -55, 10)
    assert set(names(shapely.box(-58, -10, -55, 5))) < set(names(larger))


def test_what_lies_beyond_utm_is_left_for_the_grid_to_refuse() -> None:
    assert names(shapely.box(-60, 60, -50, 88)) == [""]


@settings(max_examples=8)
@given(
    west=st.floats(-180, 179),
    south=st.floats(-79, 83),
    width=st.floats(0.01, 25),
    height=st.floats(0.01, 25),
    notch=st.floats(0.1, 0.9),
)
def test_parts_cover_the_area_and_each_fits_on_its_grid(west, south, width, height, notch) -> None:
    east, north = min(180, west + width), min(83.9, south + height)
    whole = shapely.box(west, south, east, north)
    middle = west + notch * (east - west), south + notch * (north - south)
    area = whole.difference(shapely.box(*middle, east, north))
    parts = map_parts(area)
    assert gained_or_lost(area) < 1e-9 * area.area
    assert sum(part.geometry.area for part in parts) == pytest.approx(area.area)
    assert len({part.name for part in parts}) == len(parts)
    for part in parts:
        assert part.geometry.is_valid
        grid = area_grid(part.geometry, 1000.0, MARGIN_M)
        assert max(grid.shape.yx) <= 1000
        if part.name:
            assert pyproj.CRS(str(grid.crs)).utm_zone.startswith(str(int(part.name[3:5])))
