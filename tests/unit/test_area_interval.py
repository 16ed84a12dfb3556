"""Intervals of areas: limits by hand, and how often they hold a drawn truth."""

import geopandas as gpd
import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from sluice.base.errors import ConfigError, GridMismatch, ShapeMismatch
from sluice.sites.area_interval import MEASURED, AreaRatio, area_intervals, perimeters_m

EXACT = AreaRatio(1, 1, 0)


def interval(area: float, perimeter=0.0, footprint=50.0, share=1.0, **more) -> tuple[float, float]:
    row = area_intervals([area], [perimeter], [footprint], [share], **more).iloc[0]
    return row["area_low_ha"], row["area_high_ha"]


def test_the_ratio_alone_and_the_band_alone() -> None:
    assert interval(10, ratio=AreaRatio(0.5, 2, 9)) == pytest.approx((5, 20))
    # 4 of 5 parts of half a pixel of 10 m along 1,000 m are 0.4 ha.
    assert interval(10, 1000, ratio=EXACT) == pytest.approx((9.6, 10.4))
    assert interval(10, 1000, ratio=EXACT, pixel_m=5) == pytest.approx((9.8, 10.2))
    # Joined as independent errors: 3, 4, 5.
    assert interval(10, 10_000, ratio=AreaRatio(0.7, 1.3, 9)) == pytest.approx((5, 15))


def test_what_was_hidden_may_be_worked_and_what_was_not_outlined_too() -> None:
    assert interval(10, share=0.8, ratio=EXACT) == pytest.approx((10, 20))
    assert interval(0, footprint=30) == (0, 30)


def test_a_footprint_alone_has_no_interval() -> None:
    assert np.isnan(interval(np.nan)).all()


@given(st.floats(0.01, 1e4), st.floats(0, 1e6), st.floats(0, 1), st.floats(0, 1), st.floats(1, 9))
def test_an_interval_holds_its_area(area, perimeter, share, low, high) -> None:
    ends = interval(area, perimeter, share=share, ratio=AreaRatio(low, high, 1))
    assert 0 <= ends[0] <= area <= ends[1]


def test_four_of_five_truths_that_follow_the_ratio_lie_within() -> None:
    chance = np.random.default_rng(1)
    area = chance.uniform(1, 100, 20_000)
    spread = np.log([MEASURED.low, MEASURED.high]) / 1.2816
    error = chance.normal(size=len(area))
    truth = area * np.exp(np.where(error < 0, -error * spread[0], error * spread[1]))
    found = area_intervals(area, np.zeros_like(area), area, np.ones_like(area))
    held = (truth >= found["area_low_ha"]) & (truth <= found["area_high_ha"])
    assert held.mean() == pytest.approx(0.8, abs=0.01)


def test_perimeters_are_metres_and_count_holes() -> None:
    square = shapely.box(10, 50, 10.01, 50.01)
    hole = shapely.box(10.002, 50.002, 10.004, 50.004)
    shapes = [square.difference(hole), None, shapely.MultiPolygon([square, hole]), square]
    found = perimeters_m(gpd.GeoSeries(shapes, crs=4326))
    geod = pyproj.Geod(ellps="WGS84")
    one, other = (geod.geometry_length(shape.exterior) for shape in (square, hole))
    assert found == pytest.approx([one + other, 0, one + other, one])
    assert perimeters_m(gpd.GeoSeries([], crs=4326)).tolist() == []


def test_bad_input_is_refused() -> None:
    with pytest.raises(ShapeMismatch, match="sites"):
        area_intervals([1.0], [1.0, 2.0], [1.0], [1.0])
    with pytest.raises(ConfigError, match="does not hold 1"):
        AreaRatio(1.1, 1.4, 10)
    with pytest.raises(GridMismatch, match="EPSG:4326"):
        perimeters_m(gpd.GeoSeries([shapely.box(0, 0, 1, 1)], crs=3857))
