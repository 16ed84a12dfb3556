"""Counting against planted truth, on hand-made squares; labels of windows."""

import dataclasses

import geopandas as gpd
import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from shapely.geometry import box

from sluice.base.errors import ConfigError, GridMismatch, ShapeMismatch
from sluice.phantom.compare import compare_with_truth, observed_area
from sluice.phantom.scene import PhantomScene, build_scene
from sluice.phantom.windows import window_labels

UTM = "EPSG:32721"
X, Y = 600_000, 9_300_000


def squares(*corners: tuple[float, float, float, float]) -> gpd.GeoSeries:
    """Boxes (xmin, ymin, xmax, ymax) in metres from a corner."""
    return gpd.GeoSeries([box(X + a, Y + b, X + c, Y + d) for a, b, c, d in corners], crs=UTM)


@pytest.fixture
def mines() -> gpd.GeoDataFrame:
    """Three mines of one hectare in a row, 900 m apart."""
    outlines = squares((0, 0, 100, 100), (1000, 0, 1100, 100), (2000, 0, 2100, 100))
    return gpd.GeoDataFrame({"mine_id": ["A", "B", "C"]}, geometry=outlines)


@pytest.fixture
def confusers() -> gpd.GeoDataFrame:
    outlines = squares((0, 1000, 3000, 2000), (0, 1000, 200, 1200), (400, 1000, 600, 1200))
    return gpd.GeoDataFrame({"kind": ["farmland", "fish_pond", "settlement"]}, geometry=outlines)


EVERYTHING = squares((-5000, -5000, 5000, 5000))


def detections(*corners: tuple[float, float, float, float]) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(geometry=squares(*corners))


def test_found_missed_and_not_observed(
    mines: gpd.GeoDataFrame, confusers: gpd.GeoDataFrame
) -> None:
    # A is half covered, B is grazed by 5 %, and only 40 % of C was seen.
    seen = squares((-5000, -5000, 1900, 5000), (2000, -50, 2040, 150))
    found = detections((0, 0, 50, 100), (1095, 0, 1200, 100))
    result = compare_with_truth(found, mines, confusers, seen)
    assert result.found == ("A",)
    assert result.missed == ("B",)
    assert result.not_observed == ("C",)
    assert result.observed_mine_ha == pytest.approx(2.4)
    assert result.detected_mine_ha == pytest.approx(0.55)
    assert result.detected_ha == pytest.approx(0.5 + 1.05)
    assert (result.detections, result.true_detections) == (2, 2)
    assert result.false_alarms == ()
    text = result.to_text()
    assert "1 of 2 observed mines found (missed: B)" in text
    assert "1 not observed" in text
    assert "0.6 of 2.4 ha" in text or "0.5 of 2.4 ha" in text
    assert "0 of 2 detections are false alarms" in text


def test_false_alarms_go_to_the_object_before_the_land(
    mines: gpd.GeoDataFrame, confusers: gpd.GeoDataFrame
) -> None:
    found = detections(
        (150, 1000, 450, 1200),  # 50 m of fish pond, 50 m of settlement's neighbour: a tie
        (180, 1000, 580, 1200),  # 20 m of fish pond, 180 m of settlement
        (1500, 1500, 1600, 1600),  # farmland alone
        (-3000, -3000, -2900, -2900),  # nothing
        (-2000, -3000, -1800, -2900),  # nothing, and larger
    )
    result = compare_with_truth(found, mines, confusers, EVERYTHING)
    alarms = {alarm.kind: (alarm.count, alarm.area_ha) for alarm in result.false_alarms}
    assert alarms["background"] == (2, pytest.approx(3.0))
    assert alarms["farmland"] == (1, pytest.approx(1.0))
    assert alarms["settlement"][0] == 2
    assert result.false_alarms[0].kind in {"background", "settlement"}
    assert result.missed == ("A", "B", "C")
    assert result.true_detections == 0


def test_nothing_detected_and_overlapping_detections(
    mines: gpd.GeoDataFrame, confusers: gpd.GeoDataFrame
) -> None:
    none = compare_with_truth(detections(), mines, confusers, EVERYTHING)
    assert (none.found, none.detections, none.detected_ha) == ((), 0, 0)
    twice = detections((0, 0, 100, 100), (0, 0, 100, 100))
    assert compare_with_truth(twice, mines, confusers, EVERYTHING).detected_ha == pytest.approx(1)


def test_degrees_are_brought_into_metres_and_degrees_as_truth_are_refused(
    mines: gpd.GeoDataFrame, confusers: gpd.GeoDataFrame
) -> None:
    found = detections((0, 0, 100, 100)).to_crs(4326)
    result = compare_with_truth(found, mines, confusers, EVERYTHING.to_crs(4326))
    assert result.found == ("A",)
    assert result.detected_mine_ha == pytest.approx(1, rel=1e-3)
    with pytest.raises(GridMismatch, match="metres"):
        compare_with_truth(found, mines.to_crs(4326), confusers, EVERYTHING)
    with pytest.raises(GridMismatch, match="no CRS"):
        compare_with_truth(found.set_crs(None, allow_override=True), mines, confusers, EVERYTHING)


def test_observed_area_is_the_area_of_the_valid_pixels() -> None:
    grid = GeoBox((4, 6), Affine(10, 0, X, 0, -10, Y), UTM)
    valid = np.zeros((4, 6), dtype=np.bool_)
    valid[0, :3] = valid[2:, 4:] = True
    area = observed_area(valid, grid)
    assert area.area.sum() == 7 * 100
    assert area.total_bounds.tolist() == [X, Y - 40, X + 60, Y]
    with pytest.raises(ShapeMismatch):
        observed_area(valid.T, grid)


@pytest.fixture(scope="module")
def scene() -> PhantomScene:
    """A scene whose truth is replaced by a mine, a pond and a field of known place."""
    plain = build_scene(3, 240, mine_count=0, cloud_share=0, cirrus_share=0)

    def at(row: int, col: int, size: int) -> gpd.GeoSeries:
        return squares((10 * col, -10 * (row + size), 10 * (col + size), -10 * row))

    mine = gpd.GeoDataFrame({"mine_id": ["M01"]}, geometry=at(60, 60, 12))
    outlines = [at(180, 180, 20)[0], at(120, 120, 120)[0]]
    kinds = gpd.GeoDataFrame(
        {"kind": ["fish_pond", "farmland"]}, geometry=gpd.GeoSeries(outlines, crs=UTM)
    )
    scl = plain.scl_hw.copy()
    scl[200:, :40] = 9
    return dataclasses.replace(plain, mines=mine, confusers=kinds, scl_hw=scl)


def test_windows_are_labelled_by_what_their_middle_holds(scene: PhantomScene) -> None:
    labels = window_labels(scene, 48, 4).set_index(["row", "col"])
    assert labels.loc[(44, 44), "kind"] == "mine"
    assert labels.loc[(44, 44), "mine_ha_in_core"] == pytest.approx(1.44)
    assert labels.loc[(164, 164), "kind"] == "fish_pond"
    assert labels.loc[(124, 124), "kind"] == "farmland"
    assert labels.loc[(0, 0), "kind"] == "background"
    # A mine at the rim makes a window ambiguous, and cloud makes it unobserved.
    assert (24, 20) not in labels.index
    assert (192, 0) not in labels.index


def test_window_labels_agree_with_counting_pixel_by_pixel(scene: PhantomScene) -> None:
    mine = np.zeros((240, 240), dtype=np.bool_)
    mine[60:72, 60:72] = True
    labels = window_labels(scene, 40, 7)
    for row in labels.itertuples():
        core = mine[row.row + 10 : row.row + 30, row.col + 10 : row.col + 30]
        whole = mine[row.row : row.row + 40, row.col : row.col + 40]
        assert (row.kind == "mine") == (core.mean() >= 0.05)
        if row.kind != "mine":
            assert not whole.any()
        assert row.mine_ha_in_core == pytest.approx(core.sum() / 100)


def test_windows_larger_than_the_scene_are_refused(scene: PhantomScene) -> None:
    with pytest.raises(ConfigError, match="241 px"):
        window_labels(scene, 241, 8)
    with pytest.raises(ConfigError, match="stride"):
        window_labels(scene, 48, 0)
