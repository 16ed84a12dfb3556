"""The strict rule: what is cut, what is left, and what is told."""

import datetime as dt

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from shapely.geometry import LineString, Point, box

from context_cases import YEAR, layer
from sluice.base.errors import ShapeMismatch
from sluice.sites.area import geodesic_areas_ha
from sluice.sites.strict import cut_green, cut_layers, removal_text

GRID = GeoBox((100, 100), Affine(10, 0, 600_000, 0, -10, 700_000), "EPSG:32630")
EDGE = 600_000, 699_000


def detections(*shapes: shapely.Geometry) -> gpd.GeoDataFrame:
    """Squares on the grid, in degrees."""
    series = gpd.GeoSeries(list(shapes), crs="EPSG:32630").to_crs("EPSG:4326")
    middle = series.to_crs(32630).representative_point().to_crs(4326)
    return gpd.GeoDataFrame(
        {
            "detection_id": [f"d-{n}" for n in range(len(shapes))],
            "lon": middle.x,
            "lat": middle.y,
            "footprint_ha": geodesic_areas_ha(list(series), "EPSG:4326"),
            "delineated_ha": 1.0,
        },
        geometry=series,
        crs="EPSG:4326",
    )


def square(x: float, y: float, side: float = 200.0) -> shapely.Geometry:
    return box(EDGE[0] + x, EDGE[1] + y, EDGE[0] + x + side, EDGE[1] + y + side)


def on_ground(kind: str, *shapes: shapely.Geometry, buffer_m: float = 0.0, **columns: object):
    lonlat = list(gpd.GeoSeries(list(shapes), crs="EPSG:32630").to_crs(4326))
    return layer(kind, lonlat, buffer_m=buffer_m, **columns)


def test_roads_cut_a_strip_as_wide_as_their_buffer() -> None:
    found = detections(square(0, 0), square(500, 0))
    road = LineString([(EDGE[0] - 500, EDGE[1] + 100), (EDGE[0] + 300, EDGE[1] + 100)])
    cut = cut_layers(found, [on_ground("roads", road, buffer_m=30)], YEAR)
    assert cut.detections["footprint_ha"].to_numpy() == pytest.approx([2.8, 4.0], rel=0.003)
    (took,) = cut.removed
    assert (took.by, took.touched, took.dropped) == ("roads", 1, 0)
    assert took.hectares == pytest.approx(1.2, rel=0.003)
    assert cut.detections.geometry.iloc[0].geom_type == "MultiPolygon"
    # What was outlined before the cut is no area of what is left; the other keeps its own.
    assert np.isnan(cut.detections["delineated_ha"].iloc[0])
    assert cut.detections["delineated_ha"].iloc[1] == 1
    # The point that stands for it moves out of the road.
    inside = shapely.covers(
        np.asarray(cut.detections.geometry),
        shapely.points(cut.detections["lon"], cut.detections["lat"]),
    )
    assert inside.all()
    assert found["footprint_ha"].to_numpy() == pytest.approx([4, 4], rel=0.003)


def test_kinds_follow_each_other_and_ground_counts_once() -> None:
    found = detections(square(0, 0), square(500, 0))
    town = on_ground("settlements", square(-100, 0, 200), square(450, -50, 400))
    mine = on_ground("concessions", square(0, 0, 200))
    cut = cut_layers(found, [mine, town], YEAR)
    assert len(cut.detections) == 0
    assert [(r.by, r.touched, r.dropped) for r in cut.removed] == [
        ("settlements", 2, 1),
        ("concessions", 1, 1),
    ]
    assert [r.hectares for r in cut.removed] == pytest.approx([6.0, 2.0], rel=0.003)
    assert removal_text(cut.removed).splitlines()[0].startswith("settlements: 6.0 ha of 2")


def test_only_valid_concessions_are_cut_and_parks_never() -> None:
    found = detections(square(0, 0))
    old = on_ground("concessions", square(-50, -50, 400), end=[dt.date(2020, 1, 1)])
    park = on_ground("protected", square(-50, -50, 400))
    cut = cut_layers(found, [old, park], YEAR)
    assert len(cut.detections) == 1
    assert cut.removed[0].touched == 0
    assert removal_text(cut.removed) == "Nothing was removed."


def test_what_is_left_below_the_smallest_unit_goes() -> None:
    found = detections(square(0, 0), square(500, 0, 100))
    expert = on_ground("expert", square(0, 0, 150))
    cut = cut_layers(found, [expert], YEAR, min_footprint_ha=2.0)
    # The small one that no rule touched stays.
    assert cut.detections["detection_id"].tolist() == ["d-1"]
    assert [(r.by, r.dropped) for r in cut.removed] == [("expert", 0), ("too_small", 1)]
    assert sum(r.hectares for r in cut.removed) == pytest.approx(4.0, rel=0.003)


def test_lines_without_a_buffer_are_told() -> None:
    road = on_ground("roads", LineString([EDGE, (EDGE[0] + 300, EDGE[1] + 300)]))
    cut = cut_layers(detections(square(0, 0)), [road], YEAR)
    assert len(cut.detections) == 1
    assert "--buffer" in cut.notes[0]


def test_no_detections_and_no_layers() -> None:
    nothing = detections(square(0, 0)).iloc[:0]
    assert cut_layers(
        nothing, [on_ground("expert", Point(EDGE), buffer_m=9)], YEAR
    ).detections.empty
    assert cut_green(nothing, np.zeros((100, 100), np.float32), GRID).detections.empty
    assert len(cut_layers(detections(square(0, 0)), [], YEAR).detections) == 1


def test_green_pixels_are_cut_and_hidden_ones_kept() -> None:
    ndvi = np.full((100, 100), 0.1, np.float32)
    ndvi[:, :10] = 0.8  # the western half of the first square
    ndvi[:, 50:60] = np.nan
    ndvi[:, 60:70] = 0.3  # not above the limit
    cut = cut_green(detections(square(0, 0), square(500, 0)), ndvi, GRID)
    assert cut.detections["footprint_ha"].to_numpy() == pytest.approx([2, 4], rel=0.003)
    assert [(r.by, r.touched, r.dropped) for r in cut.removed] == [("green", 1, 0)]
    with pytest.raises(ShapeMismatch):
        cut_green(detections(square(0, 0)), ndvi[:5], GRID)


def test_squares_beyond_the_image_stay() -> None:
    found = detections(square(-5000, 0), square(-100, 0))
    cut = cut_green(found, np.full((100, 100), 0.9, np.float32), GRID)
    assert cut.detections["footprint_ha"].to_numpy() == pytest.approx([4, 2], rel=0.003)


@settings(max_examples=8)
@given(seed=st.integers(0, 9999))
def test_what_is_left_and_what_was_taken_are_the_whole(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spots = rng.uniform(0, 900, (5, 2))
    found = detections(*[square(x, y, rng.uniform(50, 200)) for x, y in spots])
    ndvi = rng.uniform(-0.2, 0.8, (100, 100)).astype(np.float32)
    town = on_ground("settlements", *[square(*rng.uniform(0, 900, 2)) for _ in range(4)])
    first = cut_layers(found, [town], YEAR, min_footprint_ha=0.5)
    second = cut_green(first.detections, ndvi, GRID, min_footprint_ha=0.5)
    taken = sum(r.hectares for r in (*first.removed, *second.removed))
    left = second.detections["footprint_ha"].sum()
    assert taken + left == pytest.approx(found["footprint_ha"].sum(), rel=1e-4)
    assert second.detections.geometry.is_valid.all()
