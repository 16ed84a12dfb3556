"""Workings within footprints: closed forms, and every pixel counted once."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from sluice.base.errors import GridMismatch, ShapeMismatch
from sluice.sites.workings import outline_workings

GRID = GeoBox((60, 80), Affine(10, 0, 600_000, 0, -10, 9_300_000), "EPSG:32721")


def footprints(**boxes):
    """Boxes given as (row, col, height, width) in pixels."""
    shapes = [
        shapely.box(
            600_000 + 10 * c, 9_300_000 - 10 * (r + h), 600_000 + 10 * (c + w), 9_300_000 - 10 * r
        )
        for r, c, h, w in boxes.values()
    ]
    frame = gpd.GeoDataFrame({"detection_id": list(boxes)}, geometry=shapes, crs="EPSG:32721")
    return frame.to_crs("EPSG:4326")


def outline(scores, frame, reach_m=50, threshold=0.5):
    found = outline_workings(scores, GRID, frame, threshold=threshold, reach_m=reach_m)
    return found.set_index("detection_id")


def test_a_pit_within_a_square_has_its_own_area_and_outline():
    scores = np.zeros((60, 80), np.float32)
    scores[14:20, 25:35] = 0.9
    found = outline(scores, footprints(a=(10, 20, 24, 24)))
    # UTM stretches by up to a thousandth; the figure is geodesic.
    assert found.delineated_ha["a"] == pytest.approx(0.6, rel=2e-3)
    expected = shapely.box(600_250, 9_299_800, 600_350, 9_299_860)
    assert found.geometry["a"].equals(expected)
    assert (found.pixels["a"], found.observed["a"]) == (576, 576)


def test_workings_reach_out_of_a_footprint_and_not_further_than_told():
    scores = np.zeros((60, 80), np.float32)
    scores[20, 10:70] = 1
    found = outline(scores, footprints(a=(18, 30, 5, 10)), reach_m=50)
    assert found.geometry["a"].bounds[::2] == (600_250, 600_450)


def test_what_does_not_touch_a_footprint_is_nobodys():
    scores = np.zeros((60, 80), np.float32)
    scores[2:6, 2:6] = 1
    found = outline(scores, footprints(a=(8, 8, 10, 10)), reach_m=1000)
    assert found.delineated_ha["a"] == 0
    assert found.geometry["a"].is_empty


def test_a_working_between_two_sites_is_shared_by_nearness():
    scores = np.zeros((60, 80), np.float32)
    scores[20:22, 18:42] = 1
    frame = footprints(a=(15, 10, 10, 10), b=(15, 40, 10, 10))
    found = outline(scores, frame, reach_m=1000)
    assert found.delineated_ha.sum() == pytest.approx(0.48, rel=2e-3)
    assert abs(found.delineated_ha["a"] - found.delineated_ha["b"]) <= 0.021


def test_what_was_not_observed_is_no_working_and_is_told():
    scores = np.ones((60, 80), np.float32)
    scores[:, :40] = np.nan
    found = outline(scores, footprints(a=(10, 35, 10, 10), b=(40, 2, 5, 5)), reach_m=0)
    assert found.delineated_ha["a"] == pytest.approx(0.5, rel=2e-3)
    assert (found.pixels["a"], found.observed["a"]) == (100, 50)
    assert found.observed["b"] == 0


def test_sites_beyond_the_grid_have_no_row():
    frame = footprints(a=(10, 10, 5, 5), far=(500, 500, 5, 5))
    assert outline(np.zeros((60, 80), np.float32), frame).index.tolist() == ["a"]
    assert outline(np.zeros((60, 80), np.float32), frame.iloc[:0]).empty


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.floats(0.2, 0.8), st.integers(0, 300))
def test_each_worked_pixel_counts_at_most_once(seed, share, reach_m):
    rng = np.random.default_rng(seed)
    scores = (rng.random((60, 80)) < share).astype(np.float32)
    frame = footprints(a=(5, 5, 9, 12), b=(12, 20, 20, 9), c=(40, 50, 10, 10))
    found = outline(scores, frame, reach_m=reach_m)
    assert found.geometry.is_valid.all()
    union = shapely.union_all(found.geometry.to_numpy())
    assert union.area == pytest.approx(found.geometry.area.sum())
    assert found.delineated_ha.sum() <= scores.sum() * 0.01 * 1.002


def test_what_does_not_fit_is_refused():
    frame = footprints(a=(5, 5, 5, 5))
    with pytest.raises(ShapeMismatch):
        outline_workings(np.zeros((3, 3), np.float32), GRID, frame, threshold=0.5, reach_m=1)
    degrees = GeoBox((60, 80), Affine(1e-4, 0, -56, 0, -1e-4, -6), "EPSG:4326")
    with pytest.raises(GridMismatch, match="UTM"):
        outline_workings(np.zeros((60, 80), np.float32), degrees, frame, threshold=0.5, reach_m=1)
