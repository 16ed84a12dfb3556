"""Unions and differences: areas by hand, plain loops, and the line of 180 degrees."""

import datetime as dt

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.base.errors import ConfigError, DataError, GridMismatch
from sluice.sites.area import geodesic_areas_ha
from sluice.sites.cumulative import cumulative_union, differences, dissolve

STEP = 0.001


def series(*boxes: tuple[float, ...], crs: str | None = "EPSG:4326") -> gpd.GeoSeries:
    return gpd.GeoSeries([shapely.box(*box) for box in boxes], crs=crs)


def cells(*places: tuple[int, int], lon: float = 10.0, lat: float = 50.0) -> gpd.GeoSeries:
    """Squares of a thousandth of a degree: 0.80 ha at 50 degrees."""
    return series(
        *(
            (lon + x * STEP, lat + y * STEP, lon + (x + 1) * STEP, lat + (y + 1) * STEP)
            for x, y in places
        )
    )


def hectares(frame: gpd.GeoDataFrame | gpd.GeoSeries) -> float:
    return float(geodesic_areas_ha(frame.geometry.to_numpy(), "EPSG:4326").sum())


def test_shared_borders_melt_and_corners_do_not() -> None:
    found = dissolve(cells((0, 0), (1, 0), (2, 1), (5, 5), (5, 5)))
    assert len(found) == 3
    assert found["area_ha"].sum() == pytest.approx(4 * hectares(cells((0, 0))), rel=1e-4)
    assert found.geometry.is_valid.all()


def test_a_shape_that_crosses_itself_is_mended() -> None:
    bow = shapely.Polygon([(0, 0), (0.01, 0.01), (0.01, 0), (0, 0.01)])
    found = dissolve(gpd.GeoSeries([bow, shapely.Point(5, 5), shapely.Polygon()], crs=4326))
    assert len(found) == 2
    assert found.geometry.is_valid.all()
    assert found["area_ha"].sum() == pytest.approx(hectares(series((0, 0, 0.01, 0.01))) / 2, 1e-3)


places = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=14)


@settings(max_examples=40)
@given(places, places, st.sampled_from([0.0, 1.0, 2.0]))
def test_differences_equal_sets_of_cells(before, after, smallest_ha: float) -> None:
    found = differences(cells(*before), cells(*after), smallest_ha=smallest_ha)
    left = set(after) - set(before)
    pieces = []
    while left:
        piece, edge = set(), {left.pop()}
        while edge:
            piece |= edge
            near = {(x + i, y + j) for x, y in edge for i, j in ((0, 1), (1, 0), (0, -1), (-1, 0))}
            edge = near & left
            left -= edge
        pieces.append(piece)
    # A cell is 0.80 ha: one is less than a hectare, two are less than two.
    kept = [piece for piece in pieces if 0.797 * len(piece) >= smallest_ha]
    assert sorted(round(area / 0.797) for area in found["area_ha"]) == sorted(map(len, kept))


def test_the_smallest_area_is_one_of_the_ground_not_of_a_map() -> None:
    piece = series((10, 50, 10.004, 50.004))
    on_web_map = piece.to_crs(3857).area.iloc[0] / 10_000
    assert hectares(piece) < 13 < on_web_map
    assert differences(series(), piece, smallest_ha=13).empty
    assert len(differences(series(), piece, smallest_ha=12)) == 1


def test_what_lies_across_180_degrees_is_one_piece() -> None:
    later = series((179.998, -17, 180, -16.998), (-180, -17, -179.998, -16.998), (-180, 5, -179, 6))
    found = differences(series(), later, smallest_ha=8)
    assert len(found) == 2
    assert hectares(later.iloc[:1]) < 8 < found["area_ha"].min()
    assert found.geometry.is_valid.all()
    assert dissolve(later)["area_ha"].tolist() == pytest.approx(found["area_ha"].tolist())


def test_a_cumulative_union_takes_whole_periods_of_a_span() -> None:
    years = [2018, 2019, 2020]
    frame = gpd.GeoDataFrame(
        {"start": [dt.date(y, 1, 1) for y in years], "end": [dt.date(y, 12, 31) for y in years]},
        geometry=cells((0, 0), (0, 0), (3, 3)),
    )
    one = hectares(cells((0, 0)))
    assert cumulative_union(frame)["area_ha"].tolist() == pytest.approx([one, one], rel=1e-3)
    assert len(cumulative_union(frame, since=dt.date(2020, 1, 1))) == 1
    assert len(cumulative_union(frame, since=dt.date(2018, 6, 1), until=dt.date(2019, 12, 31))) == 1
    assert cumulative_union(frame, until=dt.date(2018, 12, 30)).empty
    with pytest.raises(ConfigError, match="ends before"):
        cumulative_union(frame, dt.date(2020, 1, 1), dt.date(2019, 1, 1))
    with pytest.raises(DataError, match="no column start"):
        cumulative_union(frame.drop(columns="start"))


def test_bad_input_is_refused_and_nothing_gives_nothing() -> None:
    assert dissolve(series()).empty
    assert differences(cells((0, 0)), series(), smallest_ha=0).empty
    assert len(differences(series(), cells((0, 0)), smallest_ha=0)) == 1
    with pytest.raises(GridMismatch, match="EPSG:4326"):
        dissolve(series((0, 0, 9, 9), crs="EPSG:32631"))
    with pytest.raises(GridMismatch, match="EPSG:4326"):
        differences(series(crs=None), series(), smallest_ha=1)
    with pytest.raises(ConfigError, match="smallest"):
        differences(series(), series(), smallest_ha=np.nan)
