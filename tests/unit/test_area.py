import math

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.affinity import translate
from shapely.geometry import MultiPolygon, Point, Polygon, box
from shapely.geometry.base import BaseGeometry

from sluice.base.errors import ConfigError
from sluice.sites.area import geodesic_areas_ha


def geodesic_area_ha(geometry: BaseGeometry, crs: str) -> float:
    return float(geodesic_areas_ha([geometry], crs)[0])


_A, _E2 = 6_378_137.0, 0.0066943799901413165


def ellipsoid_cell_ha(south: float, north: float, width_deg: float) -> float:
    """Between two parallels and two meridians, in closed form (Snyder 1987, eq. 3-12)."""
    e = math.sqrt(_E2)

    def q(lat: float) -> float:
        s = math.sin(math.radians(lat))
        part = s / (1 - _E2 * s * s) - math.log((1 - e * s) / (1 + e * s)) / (2 * e)
        return (1 - _E2) * part

    return _A**2 / 2 * math.radians(width_deg) * (q(north) - q(south)) / 10_000


@pytest.mark.parametrize("south", [-33, -1, 0, 6, 59])
def test_a_degree_cell_has_its_area_in_closed_form(south: int) -> None:
    found = geodesic_area_ha(box(10, south, 11, south + 1), "EPSG:4326")
    assert found == pytest.approx(ellipsoid_cell_ha(south, south + 1, 1), rel=1e-6)


@pytest.mark.parametrize(("zone", "northing"), [("EPSG:32630", 700_000), ("EPSG:32718", 8_600_000)])
@pytest.mark.parametrize("easting", [200_000, 500_000, 800_000])
def test_a_utm_square_agrees_with_an_equal_area_projection(
    zone: str, northing: int, easting: int
) -> None:
    square = box(easting, northing, easting + 10_000, northing + 10_000)
    to_equal = pyproj.Transformer.from_crs(zone, "EPSG:6933", always_xy=True)
    expected = shapely.transform(
        shapely.segmentize(square, 50),
        lambda xy: np.column_stack(to_equal.transform(xy[:, 0], xy[:, 1])),
    ).area
    assert geodesic_area_ha(square, zone) == pytest.approx(expected / 1e4, rel=1e-6)
    # And the scale of UTM is seen: 10,000 ha on the map is not 10,000 ha.
    assert abs(geodesic_area_ha(square, zone) - 10_000) > 5


@given(st.integers(0, 3))
def test_holes_and_winding(turns: int) -> None:
    outer, hole = box(0, 0, 9_000, 9_000), box(3_000, 3_000, 6_000, 6_000)
    rings = [outer.exterior.coords, hole.exterior.coords]
    shell = rings[0][::-1] if turns & 1 else rings[0]
    inner = rings[1][::-1] if turns & 2 else rings[1]
    moved = translate(Polygon(shell, [inner]), 500_000, 700_000)
    parts = [translate(p, 500_000, 700_000) for p in (outer, hole)]
    whole, gap = (geodesic_area_ha(p, "EPSG:32630") for p in parts)
    assert geodesic_area_ha(moved, "EPSG:32630") == pytest.approx(whole - gap, rel=1e-9)
    assert gap == pytest.approx(900 / 0.9996**2, rel=1e-4)


@settings(max_examples=30)
@given(st.floats(-150, 150), st.floats(-70, 70))
def test_the_parts_of_a_polygon_add_up(lon: float, lat: float) -> None:
    whole = box(lon, lat, lon + 0.4, lat + 0.3)
    halves = MultiPolygon(
        [box(lon, lat, lon + 0.1, lat + 0.3), box(lon + 0.1, lat, lon + 0.4, lat + 0.3)]
    )
    assert geodesic_area_ha(halves, "EPSG:4326") == pytest.approx(
        geodesic_area_ha(whole, "EPSG:4326"), rel=1e-6
    )


def test_what_is_no_polygon_has_no_area() -> None:
    assert geodesic_area_ha(Point(0, 0), "EPSG:4326") == 0
    assert geodesic_area_ha(Polygon(), "EPSG:4326") == 0
    both = shapely.GeometryCollection([Point(0, 0), box(0, 0, 1, 1)])
    assert geodesic_area_ha(both, "EPSG:4326") == geodesic_area_ha(box(0, 0, 1, 1), "EPSG:4326")


def test_an_unknown_crs_is_refused() -> None:
    with pytest.raises(ConfigError, match="give an EPSG code"):
        geodesic_area_ha(box(0, 0, 1, 1), "EPSG:1")


def test_many_areas_are_each_their_own() -> None:
    shapes = [box(0, 0, 1, 1), Point(0, 0), MultiPolygon([box(0, 0, 1, 1), box(2, 0, 3, 1)])]
    areas = geodesic_areas_ha(shapes, "EPSG:4326")
    assert areas.tolist() == pytest.approx([areas[0], 0, 2 * areas[0]])
    assert geodesic_areas_ha([], "EPSG:4326").shape == (0,)
