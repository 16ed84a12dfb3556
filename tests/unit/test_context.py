"""Flags, shares and distances against closed forms and a slow reference on the ellipsoid."""

import datetime as dt
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import LineString, Point, Polygon, box

from context_cases import YEAR, layer, places
from sluice.base.files import read_vector
from sluice.base.polygons import mended
from sluice.sites.context import (
    COLUMN_KINDS,
    REACH_M,
    ContextLayer,
    as_records,
    describe_places,
)
from sluice.sites.zones import cut_into_pieces

_GEOD = pyproj.Geod(ellps="WGS84")
KM = 1 / 111.2  # degrees, near the equator


def geodesic_metres(one: shapely.Geometry, other: shapely.Geometry) -> float:
    """The reference: on a map of true distances from the first shape's middle.

    Off by less than one in ten thousand within 100 km of it.
    """
    middle = one.centroid
    around = pyproj.CRS.from_proj4(
        f"+proj=aeqd +lon_0={middle.x!r} +lat_0={middle.y!r} +ellps=WGS84"
    )
    to_metres = pyproj.Transformer.from_crs("EPSG:4326", around, always_xy=True)
    on_map = [
        shapely.transform(
            shapely.segmentize(shape, 0.001),
            lambda xy: np.column_stack(to_metres.transform(xy[:, 0], xy[:, 1])),
        )
        for shape in (one, other)
    ]
    return float(shapely.distance(*on_map))


@settings(max_examples=40)
@given(
    lon=st.floats(-179, 179),
    lat=st.floats(-65, 65),
    ends=st.lists(st.floats(-0.5, 0.5), min_size=4, max_size=6),
    side=st.sampled_from([0.0, 0.004, 0.03]),
    as_area=st.booleans(),
)
def test_distances_are_those_on_the_ellipsoid(
    lon: float, lat: float, ends: list[float], side: float, as_area: bool
) -> None:
    point = Point(lon, lat)
    place = box(lon - side, lat - side, lon + side, lat + side) if side else point
    xy = [(lon + ends[i], lat + ends[i + 1]) for i in range(0, len(ends) - 1, 2)]
    feature = LineString(xy) if LineString(xy).length else Point(xy[0])
    if as_area:
        feature = feature.buffer(0.02)
    road = layer("roads", [feature])
    found = describe_places(places(place), [road], YEAR)["road_m"].iloc[0]
    expected = geodesic_metres(place, feature)
    if np.isnan(found):
        assert expected > REACH_M * 0.99
    else:
        assert found == pytest.approx(expected, rel=0.003, abs=1)


def test_a_point_has_its_distance_within_two_in_a_thousand() -> None:
    for lon in (-2.9, -0.1, 0.0, 2.9, 5.9):
        here, there = Point(lon, 6.0), Point(lon + 0.2, 6.3)
        found = describe_places(places(here), [layer("rivers", [there])], YEAR)["river_m"].iloc[0]
        expected = _GEOD.inv(here.x, here.y, there.x, there.y)[2]
        assert found == pytest.approx(expected, rel=0.002)


def test_the_nearest_is_found_across_180_degrees() -> None:
    fiji = places(Point(179.95, -17), Point(-179.95, -17))
    strips = layer("airstrips", [Point(-179.9, -17), Point(179.5, -17)])
    found = describe_places(fiji, [strips], YEAR)
    expected = [_GEOD.inv(lon, -17, -179.9, -17)[2] for lon in (179.95, -179.95)]
    assert found["airstrip_m"].to_numpy() == pytest.approx(expected, rel=0.002)
    assert found["airstrip_name"].tolist() == ["a", "a"]


def test_beyond_50_km_nothing_is_said() -> None:
    found = describe_places(places(Point(0, 0)), [layer("rivers", [Point(49 * KM, 0)])], YEAR)
    assert found["river_m"].iloc[0] == pytest.approx(49_000, rel=0.01)
    found = describe_places(places(Point(0, 0)), [layer("rivers", [Point(51 * KM, 0)])], YEAR)
    assert np.isnan(found["river_m"].iloc[0])
    assert found["river_name"].iloc[0] is None


def test_without_layers_nothing_is_known() -> None:
    found = describe_places(places(Point(0, 0)), [], YEAR)
    assert list(found) == list(COLUMN_KINDS)
    assert found.isna().all(axis=None)
    assert as_records(found) == [{}]
    assert describe_places(places(), [layer("roads", [Point(0, 0)])], YEAR).empty


def test_shares_are_of_the_area_and_ground_in_two_counts_once() -> None:
    place = box(0, 0, 0.01, 0.01)
    left, middle = box(-1, -1, 0.004, 1), box(0.002, -1, 0.006, 1)
    found = describe_places(places(place), [layer("concessions", [left, middle])], YEAR).iloc[0]
    assert found["concession_share"] == pytest.approx(0.6, abs=1e-4)
    assert found["concession_valid_share"] == pytest.approx(0.6, abs=1e-4)
    assert found["in_concession"] is True
    assert found["concession_m"] == 0
    # Both hold 0.4 of it; the first is named.
    assert (found["concession_name"], found["concession_id"]) == ("a", "P0")


def test_a_common_border_is_no_overlap() -> None:
    found = describe_places(
        places(box(0, 0, 0.01, 0.01)), [layer("protected", [box(0.01, 0, 0.02, 0.01)])], YEAR
    ).iloc[0]
    assert found["in_protected"] is False
    assert found["protected_share"] == 0


@pytest.mark.parametrize("lat", [0.0, 55.0])
def test_buffers_are_metres(lat: float) -> None:
    metre = 1 / _GEOD.inv(10, lat, 11, lat)[2]
    place = box(10, lat, 10 + 1000 * metre, lat + 0.001)
    # A road along the place's eastern side, 400 m away, with a buffer of 600 m.
    road = LineString([(10 + 1400 * metre, lat - 0.2), (10 + 1400 * metre, lat + 0.2)])
    found = describe_places(places(place), [layer("roads", [road], buffer_m=600)], YEAR).iloc[0]
    assert found["on_road"] is True
    assert found["road_share"] == pytest.approx(0.2, abs=0.005)
    assert found["road_m"] == pytest.approx(400, rel=0.005)


def test_a_line_without_a_buffer_has_no_ground() -> None:
    place, road = box(0, 0, 0.01, 0.01), LineString([(-1, 0.005), (1, 0.005)])
    found = describe_places(places(place), [layer("roads", [road])], YEAR).iloc[0]
    assert found["on_road"] is False
    assert found["road_m"] == 0


def test_the_valid_concession_is_named_before_the_larger_one() -> None:
    place = box(0, 0, 0.01, 0.01)
    day = dt.date
    concessions = layer(
        "concessions",
        [box(-1, -1, 0.009, 1), box(0.007, -1, 1, 1), box(-1, -1, 0.009, 1)],
        start=[day(2000, 1, 1), day(2024, 6, 1), None],
        end=[day(2010, 12, 31), None, day(2020, 12, 31)],
    )
    found = describe_places(places(place), [concessions], YEAR).iloc[0]
    assert found["concession_name"] == "b"
    assert found["concession_start"] == day(2024, 6, 1)
    assert found["concession_end"] is None
    assert found["concession_share"] == pytest.approx(1, abs=1e-6)
    assert found["concession_valid_share"] == pytest.approx(0.3, abs=1e-4)
    # Of those that have run out, the last to do so.
    older = ContextLayer(concessions.layer, concessions.features.drop(index=1))
    assert describe_places(places(place), [older], YEAR)["concession_name"].iloc[0] == "c"


def test_other_features_count_only_in_their_time() -> None:
    place = box(0, 0, 0.01, 0.01)
    parks = layer("protected", [box(-1, -1, 1, 1)], start=[dt.date(2025, 1, 1)])
    found = describe_places(places(place), [parks], YEAR).iloc[0]
    assert found["in_protected"] is False
    parks = layer("protected", [box(-1, -1, 1, 1)], start=[dt.date(2024, 12, 31)])
    assert describe_places(places(place), [parks], YEAR)["in_protected"].iloc[0] is True


def test_an_inventory_is_silent_far_from_itself() -> None:
    near, far = box(1.2, 0, 1.21, 0.01), box(3, 0, 3.01, 0.01)
    layers = [layer(kind, [box(0, 0, 1, 1)]) for kind in ("concessions", "protected", "roads")]
    found = describe_places(places(near, far), layers, YEAR)
    assert found["in_concession"].tolist() == [False, None]
    assert found["in_protected"].tolist() == [False, None]
    assert found["on_road"].tolist() == [False, False]
    assert np.isnan(found["concession_share"].iloc[1])


def test_layers_and_places_may_be_in_any_crs() -> None:
    place, park = box(-2.001, 6, -1.999, 6.002), box(-2.0, 5, -1.5, 7)
    expected = describe_places(places(place), [layer("protected", [park])], YEAR).iloc[0]
    moved = gpd.GeoSeries([shapely.segmentize(park, 0.01)], crs=4326).to_crs(25000)
    there = places(place).to_crs(32630)
    found = describe_places(there, [layer("protected", list(moved), crs="EPSG:25000")], YEAR).iloc[
        0
    ]
    assert found["protected_share"] == pytest.approx(expected["protected_share"], abs=1e-3)
    assert expected["protected_share"] == pytest.approx(0.5, abs=1e-3)


def test_self_crossing_empty_and_missing_shapes_do_no_harm() -> None:
    bow_tie = Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])
    spike = Polygon([(0, 0), (1, 0), (2, 0), (1, 0), (1, 1), (0, 1)])
    shapes = [bow_tie, Polygon(), None, spike]
    found = describe_places(
        places(box(0.1, 0.45, 0.11, 0.46), Point(), None), [layer("protected", shapes)], YEAR
    )
    assert found["in_protected"].tolist() == [True, None, None]
    assert mended(np.array([spike], object))[0].equals(box(0, 0, 1, 1))


def test_points_lie_within_or_do_not() -> None:
    found = describe_places(
        places(Point(0.5, 0.5), Point(2, 2)), [layer("settlements", [box(0, 0, 1, 1)])], YEAR
    )
    assert found["in_settlement"].tolist() == [True, False]
    assert found["settlement_share"].tolist() == [1, 0]
    assert found["settlement_name"].tolist() == ["a", None]


def test_the_district_is_where_most_of_the_place_lies() -> None:
    districts = layer("districts", [box(0, 0, 1, 1), box(1, 0, 2, 1)], name=["West", "East"])
    found = describe_places(
        places(box(0.99, 0.5, 1.02, 0.51), box(0.97, 0.5, 1.02, 0.51)), [districts], YEAR
    )
    assert found["district"].tolist() == ["East", "West"]


def test_the_index_of_the_places_is_kept() -> None:
    frame = places(Point(0, 0), Point(30, 0)).set_index(pd.Index(["x", "y"]))
    found = describe_places(
        frame, [], YEAR, slope_of=lambda shapes: np.arange(len(shapes), dtype=float)
    )
    assert found["slope_deg"].to_dict() == {"x": 0.0, "y": 1.0}
    assert as_records(found) == [{"slope_deg": 0.0}, {"slope_deg": 1.0}]


@settings(max_examples=8)
@given(seed=st.integers(0, 10_000), vertices=st.integers(3, 900))
def test_pieces_are_the_whole(seed: int, vertices: int) -> None:
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.uniform(0, 2 * np.pi, vertices))
    radius = rng.uniform(0.5, 4, vertices)
    ring = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
    shape = shapely.make_valid(Polygon(ring))
    pieces = cut_into_pieces([(np.array([shape, ring_line(ring)], object), 5.0)])
    polygons = pieces.shapes[pieces.feature == 0]
    assert shapely.area(polygons).sum() == pytest.approx(shape.area, rel=1e-9)
    lines = pieces.shapes[(pieces.feature == 1)]
    assert shapely.length(lines).sum() == pytest.approx(ring_line(ring).length, rel=1e-9)
    assert shapely.get_num_coordinates(pieces.shapes).max() <= 260
    assert set(pieces.buffer_m) == {5.0}


def ring_line(ring: np.ndarray) -> LineString:
    return LineString([*ring, ring[0]])


def test_many_places_near_many_features_and_a_large_one() -> None:
    rng = np.random.default_rng(1)
    spots = rng.uniform([-3, 5], [3, 8], (2000, 2))
    frame = gpd.GeoDataFrame(geometry=shapely.box(*spots.T, *(spots + 0.004).T), crs="EPSG:4326")
    starts = rng.uniform([-3, 5], [3, 8], (2000, 1, 2))
    roads = shapely.linestrings(starts + np.cumsum(rng.normal(0, 0.004, (2000, 20, 2)), axis=1))
    # One feature as large as a country's, of 40,000 vertices.
    angle = np.linspace(0, 2 * np.pi, 40_000, endpoint=False)
    radius = 1.4 + 0.05 * np.sin(400 * angle)
    coast = Polygon(np.column_stack([radius * np.cos(angle), 6.5 + radius * np.sin(angle)]))
    found = describe_places(
        frame, [layer("roads", list(roads), buffer_m=30), layer("protected", [coast])], YEAR
    )
    rows = rng.integers(0, len(frame), 15)
    for row in rows:
        place = frame.geometry.iloc[row]
        # None beyond the reach of the layer.
        assert bool(found["in_protected"].iloc[row]) == (place.intersection(coast).area > 1e-9)
        near = roads[np.argsort(shapely.distance(roads, place))[:3]]
        least = min(geodesic_metres(place, road) for road in near)
        assert found["road_m"].iloc[row] == pytest.approx(least, rel=0.01, abs=25)


# Real layers.


def drc_parks(shared_data: Path, tmp_path: Path) -> gpd.GeoDataFrame:
    import zipfile

    with zipfile.ZipFile(shared_data / "vec-ipis-drc" / "cod_conservation.zip") as archive:
        archive.extractall(tmp_path)
    return read_vector(tmp_path / "Conservation" / "RDC_aire_protegee_2013.shp")


def test_congolese_sites_in_protected_areas_are_those_of_a_plain_join(
    shared_data: Path, tmp_path: Path
) -> None:
    parks = drc_parks(shared_data, tmp_path)
    assert len(parks) == 50
    visits = pd.read_csv(
        shared_data / "vec-ipis-drc" / "cod_mines_curated_all_opendata_p_ipis.csv", low_memory=False
    )
    sites = visits.drop_duplicates("pcode").reset_index(drop=True)
    assert len(sites) == 2988
    frame = gpd.GeoDataFrame(
        geometry=gpd.points_from_xy(sites["longitude"], sites["latitude"]), crs=4326
    )
    park = layer("protected", list(parks.to_crs(4326).geometry))
    found = describe_places(frame, [park], YEAR)
    whole = parks.to_crs(4326).set_geometry(parks.to_crs(4326).geometry.make_valid())
    joined = gpd.sjoin(frame, whole, predicate="within")
    assert set(np.flatnonzero(found["in_protected"] == True)) == set(joined.index)  # noqa: E712
    assert len(set(joined.index)) > 100


def test_african_footprints_meet_units_and_airstrips_as_in_plain_joins(shared_data: Path) -> None:
    folder = shared_data / "vec-africa-mining-watch" / "data"
    table = pd.read_csv(folder / "detection_points.csv")
    assert len(table) == 12_874
    frame = gpd.GeoDataFrame(geometry=gpd.points_from_xy(table["lon"], table["lat"]), crs=4326)
    units = read_vector(folder / "detections_affected_areas.geojson")
    names = next(name for name in ("shapeName", "name") if name in units)
    districts = layer(
        "districts",
        list(units.geometry),
        name=units[names].tolist(),
        properties=[{} for _ in range(len(units))],
    )
    found = describe_places(frame, [districts], YEAR)
    valid = units.set_geometry(units.geometry.make_valid())
    joined = gpd.sjoin(frame, valid, predicate="within")
    assert set(np.flatnonzero(found["district"].notna())) >= set(joined.index)
    some = joined[~joined.index.duplicated(keep=False)].sample(500, random_state=1)
    assert (found["district"].loc[some.index] == some[names]).all()


def test_amazon_footprints_to_airstrips_are_as_far_as_geod_says(shared_data: Path) -> None:
    folder = shared_data / "amw-vectors"
    mines = read_vector(
        folder / "amazon_basin_48px_v3.2-3.7ensemble_dissolved-0.6_2023diff.geojson"
    )
    strips = read_vector(folder / "Illegal-Airstrips-NYT-Intercept-Public.geojson").to_crs(4326)
    mines = mines.to_crs(4326).iloc[::20].reset_index(drop=True)
    points = strips.geometry[strips.geometry.notna()]
    found = describe_places(
        mines, [layer("airstrips", list(points), properties=[{} for _ in points])], YEAR
    )
    ends = shapely.get_coordinates(np.asarray(points))
    for row in range(0, len(mines), 5):
        edge = shapely.get_coordinates(
            shapely.segmentize(mines.geometry.iloc[row], 0.0005).boundary
        )
        first, second = (
            np.repeat(np.arange(len(edge)), len(ends)),
            np.tile(np.arange(len(ends)), len(edge)),
        )
        near = np.abs(edge[first] - ends[second]).max(axis=1) < 0.6
        lines = (edge[first[near]], ends[second[near]])
        least = (
            _GEOD.inv(lines[0][:, 0], lines[0][:, 1], lines[1][:, 0], lines[1][:, 1])[2].min()
            if near.any()
            else np.inf
        )
        metres = found["airstrip_m"].iloc[row]
        if np.isnan(metres):
            assert least > 49_000
        else:
            inside = shapely.covers(mines.geometry.iloc[row], np.asarray(points)).any()
            assert metres == pytest.approx(0 if inside else least, rel=0.005, abs=30)
