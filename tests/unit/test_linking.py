"""Ids of sites: closed forms, a slow plain reference, and what must never change them."""

import datetime as dt
import functools

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.base.errors import ConfigError, DataError, GridMismatch
from sluice.base.longitudes import cut_at_180
from sluice.base.places import Site, columns_of
from sluice.sites.area import geodesic_areas_ha
from sluice.sites.linking import LinkRule, Links, follow_merges, link
from sluice.sites.vectorise import geohash

REACH_M = 105.0
RULE = LinkRule(reach_m=REACH_M)
PLACES = {"equator": (10.0, 0.0), "north": (25.0, 52.0), "fiji": (180.0, -17.0)}
# (x, y, width, height) in tens of metres: no distance between two is near the reach.
Box = tuple[int, int, int, int]
boxes = st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(1, 12), st.integers(1, 12))


@functools.cache
def local_metres(place: str) -> pyproj.Transformer:
    lon, lat = PLACES[place]
    local = pyproj.CRS.from_proj4(f"+proj=aeqd +lon_0={lon} +lat_0={lat} +datum=WGS84")
    return pyproj.Transformer.from_crs(local, "EPSG:4326", always_xy=True)


def on_ground(box: Box, place: str = "equator"):
    """A rectangle in metres from a place, in degrees."""
    x, y, width, height = (10 * number for number in box)
    turn = local_metres(place)
    shape = shapely.box(x - 300, y - 300, x - 300 + width, y - 300 + height)
    return cut_at_180(
        shapely.transform(shape, lambda xy: np.column_stack(turn.transform(xy[:, 0], xy[:, 1])))
    )


def found(*placed: Box, place: str = "equator", names=None, score=None) -> gpd.GeoDataFrame:
    shapes = [on_ground(box, place) for box in placed]
    points = [shape.representative_point() for shape in shapes]
    return gpd.GeoDataFrame(
        {
            "detection_id": names or [f"d-{geohash(p.x, p.y)}" for p in points],
            "lon": [p.x for p in points],
            "lat": [p.y for p in points],
            "score_peak": score or [0.5] * len(points),
            "footprint_ha": [box[2] * box[3] / 100 for box in placed],
        },
        geometry=gpd.GeoSeries(shapes, crs="EPSG:4326"),
    )


def no_sites() -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame({c: [] for c in columns_of(Site)}, geometry=[], crs="EPSG:4326")


def land(
    detections: gpd.GeoDataFrame, sites: gpd.GeoDataFrame, day: dt.date
) -> tuple[Links, gpd.GeoDataFrame]:
    """What a store would keep: unions, merges, first days."""
    links = link(detections, sites, RULE)
    kept = {
        row.site_id: [row.first_seen, row.merged_into, row.current, row.geometry]
        for row in sites.itertuples()
    }
    for name in links.new:
        kept[name] = [day, None, True, shapely.MultiPolygon()]
    for name, shape in zip(links.site_ids, detections.geometry, strict=True):
        kept[name][3] = shapely.union(kept[name][3], shape)
        kept[name][2] = True
    for gone, heir in links.merged.items():
        kept[heir][3] = shapely.union(kept[heir][3], kept[gone][3])
        kept[gone][1:3] = [heir, False]
    frame = pd.DataFrame.from_dict(
        kept, orient="index", columns=["first_seen", "merged_into", "current", "geometry"]
    )
    frame = frame.rename_axis("site_id").reset_index()
    return links, gpd.GeoDataFrame(frame, geometry="geometry", crs="EPSG:4326")


def metres(left: Box, right: Box) -> float:
    return 10 * float(
        shapely.box(*left[:2], left[0] + left[2], left[1] + left[3]).distance(
            shapely.box(*right[:2], right[0] + right[2], right[1] + right[3])
        )
    )


def plain_groups(placed: list[Box]) -> set[frozenset[int]]:
    """Union-find, one pair after another."""
    head = list(range(len(placed)))

    def root(k: int) -> int:
        while head[k] != k:
            k = head[k]
        return k

    for i in range(len(placed)):
        for j in range(i):
            if metres(placed[i], placed[j]) <= REACH_M:
                head[root(i)] = root(j)
    groups: dict[int, set[int]] = {}
    for k in range(len(placed)):
        groups.setdefault(root(k), set()).add(k)
    return {frozenset(group) for group in groups.values()}


def day(number: int) -> dt.date:
    return dt.date(2023, 1, 1) + dt.timedelta(days=91 * number)


@settings(max_examples=30)
@given(st.lists(boxes, max_size=14), st.sampled_from(sorted(PLACES)))
def test_groups_equal_union_find(placed: list[Box], place: str) -> None:
    links = link(found(*placed, place=place), no_sites(), RULE)
    ids = links.site_ids.to_numpy()
    groups = {frozenset(np.flatnonzero(ids == name).tolist()) for name in set(ids)}
    assert groups == plain_groups(placed)
    assert sorted(set(ids)) == links.new
    assert links.merged.empty


@settings(max_examples=20)
@given(st.lists(st.lists(boxes, max_size=6), max_size=3), st.sampled_from(sorted(PLACES)))
def test_runs_in_succession_equal_the_plain_rule(runs: list[list[Box]], place: str) -> None:
    sites = no_sites()
    # By id: first run, all boxes, and where it went.
    known: dict[str, tuple[int, list[Box]]] = {}
    for number, placed in enumerate(runs):
        detections = found(*placed, place=place)
        links, sites = land(detections, sites, day(number))
        names = sorted(known)
        nodes = [*placed, *(box for name in names for box in known[name][1])]
        owner = [None] * len(placed) + [name for name in names for _ in known[name][1]]
        # Boxes of one site belong together however far apart.
        for group in _joined(plain_groups(nodes), owner):
            here = [k for k in group if k < len(placed)]
            if not here:
                continue
            ids = set(links.site_ids.iloc[here])
            assert len(ids) == 1
            met = {owner[k] for k in group if owner[k]}
            (name,) = ids
            if met:
                first = min(known[each][0] for each in met)
                assert name in met
                assert known[name][0] == first
                assert {gone for gone in met if links.merged.get(gone) == name} == met - {name}
            else:
                assert name in links.new
            everything = [placed[k] for k in here] + [b for each in met for b in known[each][1]]
            start = min([known[each][0] for each in met], default=number)
            for each in met:
                del known[each]
            known[name] = (start, everything)
        going_on = sites[sites["merged_into"].isna()]
        assert set(going_on["site_id"]) == set(known)
        again, after = land(detections, sites, day(number))
        assert again.site_ids.equals(links.site_ids)
        assert again.new == []
        assert again.merged.empty
        assert (after["site_id"] == sites["site_id"]).all()


def _joined(groups: set[frozenset[int]], owner: list[str | None]) -> list[set[int]]:
    out: list[set[int]] = []
    for group in groups:
        now = set(group)
        names = {owner[k] for k in now if owner[k]}
        for other in [o for o in out if names & {owner[k] for k in o if owner[k]}]:
            out.remove(other)
            now |= other
            names |= {owner[k] for k in other if owner[k]}
        out.append(now)
    return out


@settings(max_examples=12)
@given(st.lists(boxes, max_size=8), st.lists(boxes, max_size=8), st.randoms())
def test_the_order_of_rows_does_not_matter(first: list[Box], second: list[Box], chance) -> None:
    _, sites = land(found(*first), no_sites(), day(0))
    detections = found(*second)
    links = link(detections, sites, RULE)
    rows, places = list(range(len(second))), list(range(len(sites)))
    chance.shuffle(rows)
    chance.shuffle(places)
    turned = link(detections.iloc[rows], sites.iloc[places], RULE)
    pd.testing.assert_series_equal(turned.site_ids.sort_index(), links.site_ids)
    assert turned.new == links.new
    pd.testing.assert_series_equal(turned.merged, links.merged)


def test_a_site_keeps_its_id_through_growth_gap_split_and_return() -> None:
    links, sites = land(found((10, 10, 10, 10)), no_sites(), day(0))
    (name,) = links.new
    for number, placed in enumerate(
        [
            [(8, 8, 30, 14)],  # grown
            [],  # nothing found
            [(8, 8, 4, 4), (33, 15, 5, 5)],  # two parts, 210 m apart
            [(46, 15, 6, 6)],  # moved on, 80 m from all that was
        ]
    ):
        links, sites = land(found(*placed), sites, day(number + 1))
        assert set(links.site_ids) <= {name}
        assert links.new == []
    assert list(sites["site_id"]) == [name]
    assert sites["first_seen"].iloc[0] == day(0)


def test_the_reach_is_metres_on_the_ground_at_any_latitude() -> None:
    for place in PLACES:
        near = link(found((0, 0, 5, 5), (15, 0, 5, 5), place=place), no_sites(), LinkRule(100.5))
        far = link(found((0, 0, 5, 5), (15, 0, 5, 5), place=place), no_sites(), LinkRule(99.5))
        assert (len(near.new), len(far.new)) == (1, 2)


def test_a_bridge_merges_into_the_oldest_then_the_largest_then_the_first_by_id() -> None:
    _, sites = land(found((0, 0, 5, 5)), no_sites(), day(1))
    _, sites = land(found((40, 0, 8, 8)), sites, day(0))
    oldest = sites.loc[sites["first_seen"] == day(0), "site_id"].iloc[0]
    bridge = found((5, 0, 35, 3))
    links, merged = land(bridge, sites, day(2))
    assert list(links.site_ids) == [oldest]
    assert list(links.merged) == [oldest]
    same_day = sites.assign(first_seen=day(0))
    areas = geodesic_areas_ha(list(same_day.geometry), "EPSG:4326")
    assert set(link(bridge, same_day, RULE).site_ids) == {same_day["site_id"].iloc[areas.argmax()]}
    same_size = same_day.assign(geometry=on_ground((0, 0, 5, 5)))
    assert set(link(bridge, same_size, RULE).site_ids) == {min(same_size["site_id"])}
    past = sites.assign(current=sites["site_id"] != oldest)
    assert oldest not in set(link(bridge, past, RULE).site_ids)
    # What meets the merged site's ground later meets the one that goes on.
    links = link(found((0, 0, 3, 3)), merged, RULE)
    assert list(links.site_ids) == [oldest]
    assert links.merged.empty


def test_merges_lead_to_the_last_heir() -> None:
    _, sites = land(found((0, 0, 5, 5)), no_sites(), day(2))
    _, sites = land(found((30, 0, 5, 5)), sites, day(1))
    _, sites = land(found((60, 0, 5, 5)), sites, day(0))
    _, sites = land(found((5, 0, 25, 3)), sites, day(3))
    links, sites = land(found((35, 0, 25, 3)), sites, day(4))
    oldest = sites.loc[sites["first_seen"] == day(0), "site_id"].iloc[0]
    assert set(follow_merges(sites)) == {oldest}
    assert len(links.merged) == 2
    assert set(links.merged) == {oldest}


def test_the_best_detection_names_a_new_site() -> None:
    detections = found((0, 0, 5, 5), (6, 0, 5, 5), score=[0.6, 0.9])
    assert link(detections, no_sites(), RULE).new == [f"s-{detections['detection_id'][1][2:]}"]


def test_ids_stay_unique_where_two_best_cells_share_a_geohash() -> None:
    detections = found((0, 0, 5, 5), (30, 0, 5, 5), (60, 0, 5, 5)).assign(lon=10.0, lat=0.0)
    links = link(detections, no_sites(), RULE)
    name = f"s-{geohash(10.0, 0.0)}"
    assert links.new == [name, f"{name}-2", f"{name}-3"]


def test_a_forgotten_place_without_outline_gets_its_id_back() -> None:
    detections = found((0, 0, 5, 5))
    _, sites = land(detections, no_sites(), day(0))
    gone = sites.assign(current=False, geometry=gpd.GeoSeries([shapely.Polygon()], crs=4326))
    links = link(detections, gone, RULE)
    assert list(links.site_ids) == list(sites["site_id"])
    assert links.new == []


def test_nothing_at_all() -> None:
    links = link(found(), no_sites(), RULE)
    assert links.site_ids.empty
    assert links.new == []
    _, sites = land(found((0, 0, 5, 5)), no_sites(), day(0))
    assert link(found(), sites, RULE).merged.empty


def test_what_cannot_be_linked_is_refused_with_a_reason() -> None:
    detections, sites = found((0, 0, 5, 5)), no_sites()
    with pytest.raises(GridMismatch, match="EPSG:4326"):
        link(detections.to_crs(3857), sites, RULE)
    with pytest.raises(DataError, match="no column score_peak"):
        link(detections.drop(columns="score_peak"), sites, RULE)
    with pytest.raises(DataError, match="no geometry"):
        link(detections.assign(geometry=[shapely.Polygon()]).set_crs(4326), sites, RULE)
    with pytest.raises(ConfigError, match="reach"):
        LinkRule(reach_m=-1)
    circle = pd.DataFrame({"site_id": ["s-a", "s-b"], "merged_into": ["s-b", "s-a"]})
    with pytest.raises(DataError, match="circle"):
        follow_merges(circle)
    with pytest.raises(DataError, match="not there"):
        follow_merges(circle.iloc[:1])
