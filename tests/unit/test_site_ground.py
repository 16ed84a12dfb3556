"""Outlines of many sites joined at once, against one site after another."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from hypothesis import given
from hypothesis import strategies as st

from sluice.sites.site_ground import union_by_site


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
