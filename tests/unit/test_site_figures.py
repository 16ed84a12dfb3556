"""Detected against true polygons: closed forms, other CRSs, odd places and bad input."""

import geopandas as gpd
import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.base.errors import ConfigError, DataError, GridMismatch, NoValidData
from sluice.evaluation.site_figures import SiteReport, evaluate_sites, render_sites

UTM = "EPSG:32721"
ORIGIN = (500_000, 9_300_000)
POINT_ON_LAND = (-57.0, -6.3)


def square(x: float, y: float, side: float) -> shapely.Polygon:
    """In metres from the lower left corner of the area."""
    return shapely.box(*np.add((x, y, x + side, y + side), ORIGIN * 2))


def frame(*shapes: shapely.Geometry, crs: str | None = UTM) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(geometry=list(shapes), crs=crs)


AREA = frame(square(0, 0, 100_000)).geometry


def judge(detections: gpd.GeoDataFrame, truth: gpd.GeoDataFrame, **options: float) -> SiteReport:
    return evaluate_sites(detections, truth, AREA, resamples=100, **options)


def counts(report: SiteReport) -> tuple[int, int, int, int]:
    return report.found, report.missed, report.detections, report.false_alarms


def test_found_missed_and_false_alarms_by_hand() -> None:
    truth = frame(
        square(1000, 1000, 50),  # 0.25 ha, found
        square(5000, 1000, 80),  # 0.64 ha, missed
        square(9000, 1000, 200),  # 4 ha, found
        square(20_000, 1000, 600),  # 36 ha, found by two detections
    )
    detections = frame(
        square(900, 900, 400),
        square(9100, 1000, 400),
        square(19_900, 900, 400),
        square(20_400, 1400, 400),
        square(60_000, 60_000, 400),
        square(70_000, 60_000, 400),
    )
    report = judge(detections, truth)
    assert counts(report) == (3, 1, 6, 2)
    assert report.recall.value == pytest.approx(3 / 4)
    assert report.precision.value == pytest.approx(4 / 6)
    sizes = [(row.low_ha, row.high_ha, row.found, row.missed) for row in report.by_size]
    assert sizes == [(0, 1, 1, 1), (1, 5, 1, 0), (5, 25, 0, 0), (25, None, 1, 0)]
    assert report.by_size[2].recall.value is None
    # On the ellipsoid: UTM's square is 0.08 % too small at its central meridian.
    assert report.area_km2 == pytest.approx(10_000, rel=2e-3)
    assert report.false_alarms_per_1000_km2.value == pytest.approx(2 / report.area_km2 * 1000)
    text = render_sites(report)
    assert "all sizes       3 of 4 found, 0.750 [" in text
    assert "under 1 ha      1 of 2 found" in text
    assert "not proof" in text


def test_the_area_is_that_on_the_ellipsoid() -> None:
    lonlat = shapely.segmentize(shapely.box(-60, -5, -58, -3), 0.01)
    true, _ = pyproj.Geod(ellps="WGS84").geometry_area_perimeter(lonlat)
    area = gpd.GeoSeries([shapely.box(-60, -5, -58, -3)], crs="EPSG:4326")
    report = evaluate_sites(frame(), frame(), area, resamples=10)
    assert report.area_km2 == pytest.approx(abs(true) / 1e6, rel=1e-6)
    # The same ground in Web Mercator, in which it would seem larger.
    report = evaluate_sites(frame(), frame(), area.to_crs("EPSG:3857"), resamples=10)
    assert report.area_km2 == pytest.approx(abs(true) / 1e6, rel=1e-6)


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:32720", "EPSG:5880"])
def test_files_may_have_any_crs(crs: str) -> None:
    truth = frame(square(1000, 1000, 500), square(30_000, 30_000, 500))
    detections = frame(square(1400, 1400, 400), square(50_000, 1000, 400))
    expected = judge(detections, truth)
    found = judge(detections.to_crs(crs), truth)
    assert counts(found) == counts(expected) == (1, 1, 2, 1)
    assert judge(detections, truth.to_crs(crs)).by_size == expected.by_size


@settings(max_examples=25)
@given(covered=st.floats(0.02, 0.98), asked=st.floats(0.01, 1), split=st.booleans())
def test_a_site_is_found_where_the_share_asked_for_is_covered(
    covered: float, asked: float, split: bool
) -> None:
    if abs(covered - asked) < 1e-4:
        return
    edge = 1000 * covered
    parts = [(0, edge)] if not split else [(0, edge * 0.7), (edge * 0.5, edge)]
    detections = frame(
        *(shapely.box(*np.add((a, -50, b, 1050), ORIGIN * 2) + 20_000) for a, b in parts)
    )
    report = judge(detections, frame(square(20_000, 20_000, 1000)), found_share=asked)
    assert report.found == int(covered >= asked)
    assert report.false_alarms == 0


def test_half_is_half_and_a_shared_border_is_nothing() -> None:
    site = frame(square(10_000, 10_000, 1000))
    half = frame(shapely.box(*np.add((10_000, 10_000, 10_500, 11_000), ORIGIN * 2)))
    assert judge(half, site, found_share=0.5).found == 1
    beside = frame(square(11_000, 10_000, 1000))
    assert counts(judge(beside, site)) == (0, 1, 1, 1)


def test_what_lies_mostly_outside_is_left_out() -> None:
    truth = frame(square(-600, 100, 1000), square(-400, 5000, 1000))
    detections = frame(square(-600, 100, 1000), square(-400, 5000, 1000), square(-9000, 100, 400))
    report = judge(detections, truth)
    assert counts(report) == (1, 0, 1, 0)
    assert (report.sites_outside, report.detections_outside) == (1, 2)
    assert "1 sites, 2 detections" in render_sites(report)
    # Outside the area nothing was looked at, so the part inside is all that counts.
    inside = frame(square(0, 5000, 600), square(0, 5400, 600))
    assert judge(inside, truth.iloc[1:], found_share=0.9).found == 1


def test_nothing_detected_and_nothing_true() -> None:
    report = judge(frame(), frame())
    assert counts(report) == (0, 0, 0, 0)
    assert report.recall.value is None
    assert report.precision.value is None
    alarms = report.false_alarms_per_1000_km2
    assert (alarms.value, alarms.low) == (0, 0)
    # A rate at which 10,000 km2 show no alarm in 2.5 % of cases.
    assert np.exp(-alarms.high * report.area_km2 / 1000) == pytest.approx(0.025)
    assert "0 true sites, 0 detections" in render_sites(report)
    assert counts(judge(frame(), frame(square(5000, 5000, 500)))) == (0, 1, 0, 0)
    assert counts(judge(frame(square(5000, 5000, 500)), frame())) == (0, 0, 1, 1)


def test_intervals_draw_whole_blocks() -> None:
    rng = np.random.default_rng(0)
    corners = rng.choice(16, 8, replace=False)
    # Eight blocks of 25 km with ten false alarms each, close together, and eight without.
    alarms = [
        square(25_000 * (c % 4) + 5000 + 600 * k, 25_000 * (c // 4) + 9000, 300)
        for c in corners
        for k in range(10)
    ]
    clustered = judge(frame(*alarms), frame(), block_km=25).false_alarms_per_1000_km2
    spread = [square(1200 * k, 50_000 + 300 * (k % 40), 300) for k in range(80)]
    single = judge(frame(*spread), frame(), block_km=1.25).false_alarms_per_1000_km2
    assert clustered.value == pytest.approx(single.value)
    assert clustered.high - clustered.low > 2 * (single.high - single.low)
    # Poisson: 80 alarms have a standard error of 9.
    assert single.high - single.low == pytest.approx(2 * 1.96 * 80**0.5 / 10, rel=0.3)


def test_blocks_cover_the_area_once() -> None:
    ring = shapely.Point(*np.add(ORIGIN, 50_000)).buffer(40_000)
    hollow = ring.difference(shapely.Point(*np.add(ORIGIN, 50_000)).buffer(15_000))
    report = evaluate_sites(
        frame(), frame(), gpd.GeoSeries([hollow], crs=UTM), block_km=5, resamples=10
    )
    assert report.area_km2 == pytest.approx(hollow.area / 1e6, rel=2e-3)
    assert report.blocks > hollow.area / 25e6


def test_an_area_across_180_degrees() -> None:
    parts = [shapely.box(179.5, -17, 180, -16), shapely.box(-180, -17, -179.5, -16)]
    area = gpd.GeoSeries(parts, crs="EPSG:4326")
    truth = gpd.GeoDataFrame(geometry=[shapely.box(179.99, -16.5, 180.01, -16.49)], crs="EPSG:4326")
    detections = gpd.GeoDataFrame(
        geometry=[
            shapely.box(179.98, -16.51, 180, -16.48),
            shapely.box(-180, -16.51, -179.98, -16.48),
        ],
        crs="EPSG:4326",
    )
    report = evaluate_sites(detections, truth, area, found_share=0.99, resamples=10)
    assert counts(report) == (1, 0, 2, 0)
    true, _ = pyproj.Geod(ellps="WGS84").geometry_area_perimeter(
        shapely.segmentize(shapely.box(0, -17, 1, -16), 0.01)
    )
    assert report.area_km2 == pytest.approx(abs(true) / 1e6, rel=1e-6)


BOW_TIE = shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])


@pytest.mark.parametrize(
    ("shapes", "crs", "error", "message"),
    [
        ([square(0, 0, 10)], None, GridMismatch, "the true sites: no CRS"),
        ([square(0, 0, 10)], "EPSG:4326", GridMismatch, "do not fit the CRS WGS 84;"),
        ([shapely.box(1e12, 1e12, 2e12, 2e12)], UTM, GridMismatch, "do not fit the CRS WGS 84 / "),
        ([shapely.box(-179, 0, 179, 1)], "EPSG:4326", GridMismatch, "cut it at 180"),
        ([BOW_TIE], "EPSG:4326", DataError, "row 1 is invalid: Self-intersection"),
        ([square(0, 0, 10), None], UTM, DataError, r"row 2 has no geometry.*\(1 such\)"),
        ([shapely.Polygon()], UTM, DataError, "row 1 has no geometry"),
        ([shapely.Point(*POINT_ON_LAND)], "EPSG:4326", DataError, "row 1 is no polygon"),
    ],
)
def test_bad_layers_are_named(
    shapes: list, crs: str | None, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        judge(frame(), frame(*shapes, crs=crs))


def test_bad_areas_and_options_are_named() -> None:
    nowhere = gpd.GeoSeries([], crs=UTM)
    with pytest.raises(NoValidData, match="area looked at is empty"):
        evaluate_sites(frame(), frame(), nowhere)
    world = gpd.GeoSeries([shapely.box(-80, -90, 80, 90)], crs="EPSG:4326")
    with pytest.raises(GridMismatch, match="larger than half the world"):
        evaluate_sites(frame(), frame(), world)
    with pytest.raises(ConfigError, match="choose larger ones"):
        judge(frame(), frame(), block_km=0.01)
    with pytest.raises(ConfigError, match=r"share of 1\.1"):
        judge(frame(), frame(), found_share=1.1)
    with pytest.raises(ConfigError, match="do not rise"):
        judge(frame(), frame(), size_edges_ha=(5, 1))
    with pytest.raises(ConfigError, match="blocks of 0 km"):
        judge(frame(), frame(), block_km=0)


def test_invalid_polygons_are_mended_and_counted_where_that_is_wanted() -> None:
    x, y = np.add(ORIGIN, 10_000)
    bow_tie = [(x, y), (x + 400, y + 400), (x + 400, y), (x, y + 400)]
    spike = [(x + 9000, y), (x + 9100, y), (x + 9100, y + 900), (x + 9100, y + 100), (x + 9000, y)]
    truth = frame(shapely.Polygon(bow_tie), shapely.Polygon(spike), square(50_000, 0, 100))
    report = judge(frame(square(10_000, 10_000, 90)), truth, mend=True)
    assert report.mended == 2
    assert counts(report) == (1, 2, 1, 0)
    # Half a hectare without its spike, a square of one, two triangles of four each.
    assert [row.sites for row in report.by_size] == [1, 1, 1, 0]
    assert "Mended: 2 polygons" in render_sites(report)
    flat = frame(shapely.Polygon([(x, y), (x + 9, y + 9), (x, y)]))
    with pytest.raises(DataError, match="row 1 is invalid"):
        judge(frame(), flat, mend=True)


def test_an_area_smaller_than_a_block_is_one() -> None:
    small = shapely.box(600_000, 600_000, 602_000, 602_500)
    report = evaluate_sites(
        frame(), frame(), gpd.GeoSeries([small], crs=UTM), block_km=25, resamples=10
    )
    assert report.blocks == 1
