"""The ground of detections and sites: joined at once, and workings beyond footprints."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.base.places import Site, columns_of
from sluice.sites.area import geodesic_areas_ha
from sluice.sites.linking import LinkRule, link
from sluice.sites.site_ground import ground_of_detections, ground_of_sites, union_by_site

LONLAT = "EPSG:4326"


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9), st.integers(0, 9)), max_size=25))
def test_shapes_are_joined_as_one_site_after_another_would_be(
    squares: list[tuple[int, int, int]],
) -> None:
    ids = pd.Series([f"s-{site}" for site, _, _ in squares], dtype=object)
    boxes = [shapely.box(x, y, x + 1.5, y + 1.5) for _, x, y in squares]
    shapes = gpd.GeoSeries(boxes, crs="EPSG:4326")
    joined = union_by_site(ids, shapes)
    assert list(joined.index) == sorted(set(ids))
    for site, shape in joined.items():
        own = shapely.union_all([box for name, box in zip(ids, boxes, strict=True) if name == site])
        assert shape.symmetric_difference(own).area < 1e-12


def test_joining_again_changes_nothing() -> None:
    shapes = np.array([shapely.box(0, 0, 2, 2), shapely.box(1, 1, 3, 3), shapely.box(9, 9, 10, 10)])
    ids = pd.Series(["a", "a", "b"], dtype=object)
    once = union_by_site(ids, gpd.GeoSeries(shapes, crs="EPSG:4326"))
    names = pd.Series(np.repeat(once.index.to_numpy(), 2), dtype=object)
    again = union_by_site(names, gpd.GeoSeries(np.repeat(once.to_numpy(), 2), crs="EPSG:4326"))
    assert [shape.wkb for shape in again] == [shape.wkb for shape in once]


def frame(shapes: list[shapely.Geometry], ids: list[str]) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame({"detection_id": ids}, geometry=gpd.GeoSeries(shapes, crs=LONLAT))


def test_workings_that_stick_out_are_ground_too() -> None:
    footprint, apart = shapely.box(0, 0, 2, 2), shapely.box(5, 5, 6, 6)
    outlined = shapely.MultiPolygon([shapely.box(1, 1, 3, 1.5), shapely.box(1, -1, 1.5, -0.5)])
    found = frame([footprint, apart], ["d-a", "d-b"]).set_index(pd.Index([7, 3]))
    workings = frame([outlined, shapely.MultiPolygon(), footprint], ["d-a", "d-b", "d-other"])
    ground = ground_of_detections(found, workings)
    assert list(ground.index) == [7, 3]
    assert ground.geometry[7].area == 4 + 0.5 + 0.25
    assert ground.geometry[7].covers(footprint)
    assert ground.geometry[7].covers(outlined)
    assert ground.geometry[7].geom_type == "MultiPolygon"
    assert ground.geometry[3].equals(apart)
    assert found.geometry[7].equals(footprint)
    assert ground_of_detections(found, workings.iloc[:0]) is found


boxes = st.tuples(*(st.floats(0.0005, 0.008) for _ in range(2)), *(st.floats(0, 0.006),) * 2)


@settings(max_examples=12)
@given(st.lists(st.lists(st.tuples(boxes, st.none() | boxes), max_size=3), min_size=1, max_size=4))
def test_a_site_covers_the_workings_of_every_period(
    periods: list[list[tuple[tuple[float, ...], tuple[float, ...] | None]]],
) -> None:
    """A site for each column of a tenth of a degree, whatever was seen there."""
    sites = gpd.GeoDataFrame(columns=[*columns_of(Site), "geometry"], geometry="geometry")
    sites = sites.set_crs(LONLAT)
    outlined: list[tuple[int, shapely.Geometry]] = []
    for period in periods:
        footprints, workings, names = [], [], []
        for column, (box, working) in enumerate(period):
            name, east = f"d-{column}", 0.1 * column
            footprint = shapely.box(east, 0, east + box[0], box[1])
            footprints.append((name, footprint))
            if working is not None:
                width, height, right, up = working
                shape = shapely.box(east + right, up, east + right + width, up + height)
                workings.append(shape)
                names.append(name)
                outlined.append((column, shape))
        found = frame([shape for _, shape in footprints], [name for name, _ in footprints])
        at = shapely.get_coordinates(shapely.centroid(found.geometry.to_numpy()))
        found = found.assign(lon=at[:, 0], lat=at[:, 1], score_peak=0.9, footprint_ha=1.0)
        ground = ground_of_detections(found, frame(workings, names))
        links = link(ground, sites, LinkRule(reach_m=2000))
        ground["site_id"] = links.site_ids.to_numpy()
        sites = ground_of_sites(sites, ground, links, pd.Series(dtype=object))
        sites["current"], sites["first_seen"] = True, pd.Timestamp("2024-01-01").date()
    for column, shape in outlined:
        own = sites[(sites["lon"] / 0.1).astype(float).astype(int) == column].iloc[0]
        assert shape.difference(own.geometry).area < 1e-15
        assert own["cumulative_ha"] >= geodesic_areas_ha([shape], LONLAT)[0] * (1 - 1e-9)
