"""Shapes that cross 180 degrees of longitude."""

import json

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from shapely.affinity import translate

from scenes import utm_geobox
from sluice.app.products.coverage import measure_coverage, outline_lonlat, part_near
from sluice.app.products.map_furniture import ticks
from sluice.app.products.vectors import write_geojson
from sluice.base.longitudes import box_around, cut_at_180, degrees_across, within_180
from sluice.base.windows import ScoredWindows, WindowLattice
from sluice.models.manifest import Thresholds
from sluice.sites.area import geodesic_areas_ha
from sluice.sites.vectorise import vectorise

LEFT_60, TOP = 816_000, 8_120_000
"""In EPSG:32760 180 degrees lie 3 degrees from the meridian: at x = 819,600 m at 17 south."""


def geodesic_area_ha(shape, crs: str) -> float:
    return float(geodesic_areas_ha([shape], crs)[0])


def wrapped(shape):
    """With longitudes as a projection gives them."""
    return shapely.transform(
        shape, lambda xy: np.column_stack([(xy[:, 0] + 180) % 360 - 180, xy[:, 1]])
    )


@settings(max_examples=50)
@given(
    west=st.floats(178.0, 179.999),
    width=st.floats(0.01, 2),
    # Millimetres: GEOS loses its way among numbers next to 0.
    south=st.floats(-80, 80).map(lambda lat: round(lat, 8)),
    hole=st.booleans(),
)
def test_a_shape_is_cut_at_the_line(west: float, width: float, south: float, hole: bool) -> None:
    whole = shapely.box(west, south, west + width, south + 1)
    if hole:
        whole = whole.difference(whole.centroid.buffer(width / 4))
    cut = cut_at_180(wrapped(whole))
    assert cut.is_valid
    assert -180 <= cut.bounds[0] <= cut.bounds[2] <= 180
    assert cut.area == pytest.approx(whole.area, rel=1e-9)
    # Put together again, it is the same.
    parts = [p if p.bounds[0] > 0 else translate(p, xoff=360) for p in shapely.get_parts(cut)]
    assert shapely.union_all(parts).symmetric_difference(whole).area < 1e-9
    shells = [part.exterior for part in shapely.get_parts(cut)]
    assert all(shell.is_ccw for shell in shells) or west + width <= 180


def test_what_only_touches_the_line_stays_on_its_side() -> None:
    east = shapely.Polygon([(180, 0), (-179, 0), (-179, 1), (180, 1)])
    assert cut_at_180(east).bounds == (-180, 0, -179, 1)
    west = shapely.Polygon([(179, 0), (-180, 0), (-180, 1), (179, 1)])
    assert cut_at_180(west).bounds == (179, 0, 180, 1)
    away = shapely.box(-60, -10, 30, 10)
    assert cut_at_180(away) is away


def array(*shapes) -> np.ndarray:
    found = np.empty(len(shapes), dtype=object)
    found[:] = shapes
    return found


@settings(max_examples=40)
@given(
    west=st.floats(-180, 179).map(lambda lon: round(lon, 6)),
    width=st.floats(0.01, 5),
    turn=st.sampled_from([-360, 0, 360]),
)
def test_however_a_shape_was_written_it_is_the_same_ground(west, width, turn) -> None:
    whole = shapely.box(west, 1, west + width, 2)
    jumping = wrapped(whole)
    (expected,) = within_180(array(jumping))
    written = translate(whole, xoff=turn)
    if written.bounds[0] >= -360 and written.bounds[2] <= 360:
        (found,) = within_180(array(written))
        assert found.symmetric_difference(expected).area < 1e-9
    assert expected.area == pytest.approx(whole.area, rel=1e-6)
    assert expected.bounds[0] >= -180
    assert expected.bounds[2] <= 180


def test_belts_and_what_is_far_apart_stay() -> None:
    world = shapely.box(-180, -90, 180, 90)
    apart = shapely.MultiPolygon([shapely.box(-101, 0, -100, 1), shapely.box(100, 0, 101, 1)])
    wide = shapely.box(-80, 0, 120, 1)
    metres = shapely.box(600_000, 0, 601_000, 1)
    given_ = array(world, apart, wide, metres, None, shapely.Polygon())
    found = within_180(given_)
    assert shapely.equals(found[:4], given_[:4]).all()
    assert found[4] is None
    assert found[5].is_empty


def test_a_crossed_outline_across_the_line_is_mended() -> None:
    bow = shapely.Polygon([(179.9, 0), (-179.9, 0.2), (-179.9, 0), (179.9, 0.2)])
    (found,) = within_180(array(bow))
    assert found.is_valid
    assert found.area == pytest.approx(0.2 * 0.2 / 2)
    assert found.bounds == (-180, 0, 180, 0.2)


def test_the_box_around_shapes_is_the_narrow_one() -> None:
    east, west = shapely.box(179, -17, 180, -16), shapely.box(-180, -18, -178, -16)
    box = box_around(array(shapely.MultiPolygon([east, west])))
    assert sorted(part.bounds for part in box.geoms) == [
        (-180, -18, -178, -16),
        (179, -18, 180, -16),
    ]
    assert box_around(array(east)).bounds == east.bounds
    africa = array(shapely.box(-17, 0, -16, 1), shapely.box(40, -30, 41, -29))
    assert box_around(africa).equals(shapely.box(-17, -30, 41, 1))


@pytest.fixture
def across() -> GeoBox:
    """3.6 km on each side of the line, about."""
    return utm_geobox((720, 720), left=LEFT_60, top=TOP, crs="EPSG:32760")


def test_the_outline_of_a_grid_across_the_line(across: GeoBox) -> None:
    outline = outline_lonlat(across)
    assert outline.is_valid
    assert len(outline.geoms) == 2
    truth = geodesic_area_ha(shapely.box(*across.boundingbox.bbox), "EPSG:32760")
    assert geodesic_area_ha(outline, "EPSG:4326") == pytest.approx(truth, rel=1e-6)


def write_scores(path, geobox: GeoBox, scores: np.ndarray):
    with rasterio.open(
        path, "w", driver="GTiff", dtype="float32", count=1, height=scores.shape[0],
        width=scores.shape[1], crs=str(geobox.crs), nodata=np.nan, transform=geobox.affine,
    ) as out:  # fmt: skip
        out.write(scores, 1)
    return path


def test_coverage_counts_on_the_side_asked_for(across: GeoBox, tmp_path) -> None:
    scores = np.zeros(across.shape.yx, np.float32)
    path = write_scores(tmp_path / "s.tif", across, scores)
    _, south, _, north = outline_lonlat(across).bounds
    west_side = shapely.box(179.975, south + 0.01, 180, north - 0.01)
    found = measure_coverage(path, across, area=west_side)
    assert found.not_observed_percent == pytest.approx(0, abs=0.01)
    assert found.area_ha == pytest.approx(geodesic_area_ha(west_side, "EPSG:4326"), rel=1e-4)
    whole = measure_coverage(path, across)
    assert whole.not_observed_percent == 0
    # Half of the strip is not observed: its pixels west of the middle of the strip.
    x = gpd.GeoSeries([shapely.Point(179.9875, (south + north) / 2)], crs=4326).to_crs(32760)[0].x
    scores[:, : round((x - LEFT_60) / 10)] = np.nan
    half = measure_coverage(write_scores(path, across, scores), across, area=west_side)
    assert half.not_observed_percent == pytest.approx(50, abs=1)


def test_the_part_of_an_area_near_a_grid_across_the_line(across: GeoBox) -> None:
    fiji = shapely.MultiPolygon(
        [shapely.box(177, -19, 180, -16), shapely.box(-180, -19, -179, -16)]
    )
    near = part_near(fiji, across)
    inside = outline_lonlat(across).intersection(fiji)
    assert near.covers(inside)
    assert near.area < 60 * inside.area
    assert near.bounds[0] == -180
    assert near.bounds[2] == 180


def test_longitudes_go_on_along_the_frame(across: GeoBox) -> None:
    found = ticks(across, pixels=720, side="bottom")
    texts = [tick.text for tick in found]
    assert len(found) >= 2
    places = [tick.at for tick in found]
    assert places == sorted(places)
    assert any(text.endswith("°E") for text in texts)
    assert any(text.endswith("°W") for text in texts)
    assert all(float(text.partition("°")[0]) > 179.9 for text in texts)


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        (
            shapely.union(shapely.box(177, 1, 180, 2), shapely.box(-180, 3, -179, 5)),
            (4, 4),
        ),
        (shapely.union(shapely.box(-80, 0, -70, 1), shapely.box(20, 0, 30, 2)), (110, 2)),
        (shapely.box(-180, -1, 180, 1), (360, 2)),
        (shapely.Polygon(), (0, 0)),
    ],
)
def test_a_shape_is_as_wide_as_its_narrowest_box(shape, wanted) -> None:
    assert degrees_across(shape) == pytest.approx(wanted)


def test_sites_across_the_line_are_cut_in_every_file(across: GeoBox, tmp_path) -> None:
    lattice = WindowLattice(across.shape.yx, 48, 24)
    cells = GeoBox(lattice.size, Affine(240, 0, LEFT_60, 0, -240, TOP), across.crs)
    scores = np.zeros(lattice.size, np.float32)
    scores[5:20, 5:25] = 0.9
    rule = Thresholds(t_main=0.5, t_iso=0.5, k=1, isolation_distance_m=1000)
    sites = vectorise(scores, cells, ScoredWindows(lattice, scores, across), rule)
    (site,) = sites.geometry
    assert site.is_valid
    assert len(site.geoms) == 2
    assert geodesic_area_ha(site, "EPSG:4326") == pytest.approx(sites.footprint_ha[0], rel=1e-6)
    assert sites.footprint_ha[0] == pytest.approx(20 * 15 * 5.76, rel=0.01)
    path = tmp_path / "sites.geojson"
    sites["note"] = ""
    write_geojson(sites, path, disclaimer="")
    text = json.loads(path.read_text())
    written = shapely.geometry.shape(text["features"][0]["geometry"])
    assert written.is_valid
    assert geodesic_area_ha(written, "EPSG:4326") == pytest.approx(sites.footprint_ha[0], rel=1e-4)
    for box in (text["bbox"], text["features"][0]["bbox"]):
        west, _, east, _ = box
        assert west > 179.9
        assert east < -179.9
