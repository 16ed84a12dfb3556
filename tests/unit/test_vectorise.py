from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo import CRS
from odc.geo.geobox import GeoBox
from scipy import ndimage
from shapely.geometry import Point, box

from sluice.base.errors import GridMismatch, ShapeMismatch
from sluice.base.records import Detection
from sluice.base.windows import ScoredWindows, WindowLattice
from sluice.sites.vectorise import cells_inside, geohash, vectorise

CELLS = (40, 60)
STEP_M = 240.0


@dataclass(frozen=True)
class Rule:
    t_main: float = 0.5
    t_iso: float = 0.8
    k: int = 2
    isolation_distance_m: float = 1000.0


CROWD = Rule(k=1, isolation_distance_m=1e9, t_iso=0.5)
"""Nothing is isolated."""


def scan_of(scores: np.ndarray) -> tuple[np.ndarray, GeoBox, ScoredWindows]:
    """Cells and windows that agree: a stride of half a window, nothing blended."""
    rows, cols = scores.shape
    lattice = WindowLattice((24 * (rows + 1), 24 * (cols + 1)), 48, 24)
    pixels = GeoBox(lattice.shape, Affine(10, 0, 600_000, 0, -10, 700_000), CRS("EPSG:32630"))
    cells = GeoBox(scores.shape, Affine(STEP_M, 0, 600_120, 0, -STEP_M, 699_880), CRS("EPSG:32630"))
    scores = scores.astype(np.float32)
    return scores, cells, ScoredWindows(lattice, scores, pixels)


def to_cells(frame: gpd.GeoDataFrame, cells: GeoBox) -> list[np.ndarray]:
    """Which cells each polygon holds, by their centres."""
    utm = frame.to_crs(str(cells.crs))
    col, row = np.meshgrid(np.arange(cells.shape.x), np.arange(cells.shape.y))
    x = cells.affine.c + cells.affine.a * (col + 0.5)
    y = cells.affine.f + cells.affine.e * (row + 0.5)
    return [np.asarray(shapely.contains_xy(g, x, y)) for g in utm.geometry]


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), share=st.floats(0.02, 0.9))
def test_polygons_hold_exactly_their_group_of_cells(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    raw = np.where(rng.random((14, 17)) < share, rng.uniform(0.5, 1, (14, 17)), 0.1)
    raw[rng.random(raw.shape) < 0.1] = np.nan
    scores, cells, windows = scan_of(raw)
    probability = scores**2
    found = vectorise(scores, cells, windows, CROWD, to_probability=np.square)
    labels, count = ndimage.label(scores >= 0.5, np.ones((3, 3)))
    if count == 1 and (labels > 0).sum() == 1:
        # A single cell has no neighbour at any distance.
        assert found["isolated"].all()
    assert len(found) == count
    assert found.geometry.is_valid.all()
    assert set(found.geometry.geom_type) <= {"MultiPolygon"}
    seen = np.zeros(scores.shape, dtype=bool)
    for inside, (_, row) in zip(to_cells(found, cells), found.iterrows(), strict=True):
        assert not (seen & inside).any()
        seen |= inside
        assert len(np.unique(labels[inside])) == 1
        assert row["cells"] == inside.sum()
        assert row["score_mean"] == pytest.approx(scores[inside].mean(), rel=1e-5)
        assert row["score_peak"] == scores[inside].max()
        assert row["probability_mean"] == pytest.approx(probability[inside].mean(), rel=1e-5)
        assert row["probability_peak"] == probability[inside].max()
        # The scale of UTM is within 0.1 % here.
        assert row["footprint_ha"] == pytest.approx(inside.sum() * 5.76, rel=2e-3)
    np.testing.assert_array_equal(seen, scores >= 0.5)


def test_the_point_is_the_centre_of_the_best_cell() -> None:
    raw = np.zeros(CELLS)
    raw[10, 20:23] = 0.6, 0.9, 0.7
    scores, cells, windows = scan_of(raw)
    found = vectorise(scores, cells, windows, CROWD).iloc[0]
    to_utm = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32630", always_xy=True)
    x, y = to_utm.transform(found["lon"], found["lat"])
    assert (x, y) == pytest.approx((600_120 + 21.5 * 240, 699_880 - 10.5 * 240), abs=1e-3)
    assert found.geometry.contains(Point(found["lon"], found["lat"]))
    assert found["detection_id"] == f"d-{geohash(found['lon'], found['lat'])}"


def test_a_lone_group_needs_the_higher_threshold() -> None:
    raw = np.zeros(CELLS)
    raw[5, 5:8] = 0.6  # three windows within 1 km: company
    raw[20, 50] = 0.79  # alone
    raw[35, 10] = 0.81  # alone, and sure
    scores, cells, windows = scan_of(raw)
    found = vectorise(scores, cells, windows, Rule())
    assert found["score_peak"].round(2).tolist() == [0.81, 0.6]
    assert found["isolated"].tolist() == [True, False]


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000))
def test_no_detection_is_listed_below_the_threshold_that_kept_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, cells, windows = scan_of(rng.random(CELLS) ** 12)
    lowered = scores * rng.uniform(0.3, 1, CELLS).astype(np.float32)
    found = vectorise(lowered, cells, windows, Rule())
    assert (found["score_peak"] >= np.where(found["isolated"], 0.8, 0.5)).all()
    assert (found["score_peak"] >= found["score_mean"]).all()


@pytest.mark.parametrize("threshold", [0.55, 0.7, 0.8, 0.9])
def test_a_score_at_a_threshold_reaches_it(threshold: float) -> None:
    raw = np.zeros(CELLS)
    raw[20, 30] = threshold
    assert len(vectorise(*scan_of(raw), Rule(t_main=threshold, t_iso=threshold))) == 1


def test_the_best_comes_first_and_then_the_largest() -> None:
    raw = np.zeros(CELLS)
    raw[5, 5:8] = 0.6
    raw[15, 15:20] = 0.6
    raw[25, 25:27] = 0.9
    found = vectorise(*scan_of(raw), CROWD)
    assert found["cells"].tolist() == [2, 5, 3]
    assert found.index.tolist() == [0, 1, 2]


def test_the_same_place_has_the_same_id_whatever_is_around_it() -> None:
    raw = np.zeros(CELLS)
    raw[5, 5:8] = 0.6, 0.7, 0.6
    alone = vectorise(*scan_of(raw), CROWD)
    raw[25, 25:27] = 0.9
    raw[6, 5] = 0.55
    among = vectorise(*scan_of(raw), CROWD)
    assert alone["detection_id"][0] in set(among["detection_id"])
    assert among["detection_id"].is_unique


def test_small_groups_are_dropped_below_the_mapping_unit() -> None:
    raw = np.zeros(CELLS)
    raw[5, 5:8] = 0.6
    raw[15, 15] = 0.6
    found = vectorise(*scan_of(raw), CROWD, min_footprint_ha=10)
    assert found["cells"].tolist() == [3]


def test_cells_outside_the_area_are_dropped_but_keep_company() -> None:
    raw = np.zeros(CELLS)
    raw[10, 10:20] = 0.6
    scores, cells, windows = scan_of(raw)
    to_lonlat = pyproj.Transformer.from_crs("EPSG:32630", "EPSG:4326", always_xy=True)
    west = box(600_000, 600_000, 600_120 + 11 * 240 + 1, 800_000)
    area = shapely.transform(
        shapely.segmentize(west, 1000),
        lambda xy: np.column_stack(to_lonlat.transform(xy[:, 0], xy[:, 1])),
    )
    found = vectorise(scores, cells, windows, Rule(), area=area)
    assert found["cells"].tolist() == [1]
    assert found["isolated"].tolist() == [False]
    inside = cells_inside(area, cells)
    assert inside[:, :11].all()
    assert not inside[:, 11:].any()


@pytest.mark.parametrize("raw", [np.zeros(CELLS), np.full(CELLS, np.nan)])
def test_without_detections_the_table_is_the_same_but_empty(raw: np.ndarray) -> None:
    empty = vectorise(*scan_of(raw), CROWD)
    full = vectorise(*scan_of(np.ones(CELLS)), CROWD)
    assert len(empty) == 0
    assert len(full) == 1
    assert list(empty.columns) == list(full.columns) == [*Detection.model_fields, "geometry"]
    assert empty.dtypes.to_dict() == full.dtypes.to_dict()
    assert empty.crs == full.crs == "EPSG:4326"
    assert full["delineated_ha"].isna().all()
    assert full["probability_mean"].isna().all()


def test_all_that_a_lone_threshold_drops_leaves_the_empty_table() -> None:
    raw = np.zeros(CELLS)
    raw[20, 30] = 0.7
    dropped = vectorise(*scan_of(raw), Rule())
    assert dropped.empty
    assert dropped.crs == "EPSG:4326"


def test_rows_are_detections() -> None:
    row = vectorise(*scan_of(np.ones(CELLS)), CROWD, to_probability=np.sqrt)
    fields = row.drop(columns="geometry").iloc[0].to_dict()
    assert Detection(**{**fields, "delineated_ha": None}).cells == 40 * 60


def test_a_grid_that_does_not_fit_is_refused() -> None:
    scores, cells, windows = scan_of(np.ones(CELLS))
    with pytest.raises(ShapeMismatch):
        vectorise(scores[1:], cells, windows, CROWD)
    degrees = GeoBox(CELLS, Affine(1e-3, 0, 1, 0, -1e-3, 1), CRS("EPSG:4326"))
    with pytest.raises(GridMismatch):
        vectorise(scores, degrees, windows, CROWD)


@pytest.mark.parametrize(
    ("lon", "lat", "code"),
    [
        (-5.6, 42.6, "ezs42"),
        (10.40744, 57.64911, "u4pruydqqvj"),
        (-180, -90, "00000"),
        (180, 90, "zzzzz"),
    ],
)
def test_geohashes_are_the_known_ones(lon: float, lat: float, code: str) -> None:
    assert geohash(lon, lat, len(code)) == code
