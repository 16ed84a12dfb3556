from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo import CRS
from odc.geo.geobox import GeoBox
from scipy import ndimage

from sluice.base.errors import GridMismatch
from sluice.base.windows import ScoredWindows, WindowLattice
from sluice.sites.thresholds import (
    half_window_lattice,
    is_isolated,
    isolated_components,
    kept_points,
)


@dataclass(frozen=True)
class Rule:
    t_main: float = 0.5
    t_iso: float = 0.8
    k: int = 5
    isolation_distance_m: float = 3000.0


def grid(shape: tuple[int, int], gsd_m: float = 10.0, crs: str = "EPSG:32630") -> GeoBox:
    return GeoBox(shape, Affine(gsd_m, 0, 600_000, 0, -gsd_m, 700_000), CRS(crs))


def half_window_cells(windows: ScoredWindows) -> GeoBox:
    """One cell for each window of a lattice at half a window."""
    step, first = windows.x[1] - windows.x[0], (windows.x[0], windows.y[0])
    transform = Affine(step, 0, first[0] - step / 2, 0, -step, first[1] + step / 2)
    return GeoBox(windows.scores.shape, transform, windows.geobox.crs)


def plainly_isolated(points: np.ndarray, k: int, distance: float) -> list[bool]:
    out = []
    for i, point in enumerate(points):
        others = sorted(
            float(np.hypot(*(point - other))) for j, other in enumerate(points) if j != i
        )
        out.append(len(others) < k or others[k - 1] > distance)
    return out


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=40),
    st.integers(1, 6),
    st.integers(1, 15),
)
def test_isolation_equals_the_plain_rule(places, k: int, distance: int) -> None:
    # Whole numbers: neighbours at exactly the distance, and points on top of each other.
    points = np.array(places, dtype=float).reshape(-1, 2)
    assert is_isolated(points, k, distance).tolist() == plainly_isolated(points, k, distance)


def test_isolation_on_real_detections_equals_scikit_learn(shared_data: Path) -> None:
    from sklearn.neighbors import NearestNeighbors

    file = shared_data / "amw-vectors" / "amazon_5_48px_v3.3_0.50_1_2023-1_2024.geojson"
    patches = gpd.read_file(file)
    centres = patches.geometry.to_crs("EPSG:32719").centroid
    points = np.stack([centres.x, centres.y], axis=1)
    distances, _ = NearestNeighbors(n_neighbors=6).fit(points).kneighbors(points)
    expected = distances[:, 5] > 3000
    found = is_isolated(points, 5, 3000.0)
    np.testing.assert_array_equal(found, expected)
    assert 0.01 < found.mean() < 0.9


@settings(max_examples=40)
@given(
    window=st.sampled_from([48, 44, 28, 7]),
    shape=st.tuples(st.integers(50, 300), st.integers(50, 300)),
)
def test_the_lattice_is_half_a_window_wide(window: int, shape: tuple[int, int]) -> None:
    for stride in {1, 2, window // 2}:
        lattice = WindowLattice(shape, window, max(1, stride))
        scored = ScoredWindows(lattice, np.zeros(lattice.size, np.float32), grid(shape))
        rows, _ = half_window_lattice(scored)
        steps = np.diff(lattice.rows[rows])
        assert (steps >= window / 2).all()
        assert (steps < window / 2 + max(1, stride)).all()


@settings(max_examples=25)
@given(seed=st.integers(0, 1000), height=st.integers(300, 900), width=st.integers(300, 900))
def test_the_stride_does_not_change_the_points(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    fine = WindowLattice((height, width), 48, 8)
    # Sparse, so that some are isolated.
    raw = rng.random(fine.size, dtype=np.float32)
    raw[rng.random(fine.size) < 0.7] = 0
    raw[rng.random(fine.size) < 0.1] = np.nan
    coarse = WindowLattice((height, width), 48, 24)
    # The coarse scan sees the same windows, and flush ones of its own: at the same places.
    rows = np.searchsorted(fine.rows, coarse.rows)
    cols = np.searchsorted(fine.cols, coarse.cols)
    rule = Rule(isolation_distance_m=900)
    at_80 = kept_points(ScoredWindows(fine, raw, grid((height, width))), rule)
    at_240 = kept_points(
        ScoredWindows(coarse, raw[np.ix_(rows, cols)], grid((height, width))), rule
    )
    for a, b in zip(at_80, at_240, strict=True):
        np.testing.assert_array_equal(a, b)


def test_kept_points_are_the_windows_centres_in_metres() -> None:
    lattice = WindowLattice((96, 120), 48, 24)
    scores = np.zeros(lattice.size, np.float32)
    scores[1, 2], scores[0, 0], scores[2, 1] = 0.5, np.nan, 0.49
    points, kept, isolated = kept_points(ScoredWindows(lattice, scores, grid((96, 120))), Rule())
    assert points.tolist() == [[600_000 + 10 * (48 + 24), 700_000 - 10 * (24 + 24)]]
    assert kept.tolist() == [0.5]
    assert isolated.tolist() == [True]


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857"])
def test_distances_are_never_measured_in_degrees_or_web_mercator(crs: str) -> None:
    lattice = WindowLattice((96, 96), 48, 24)
    box = GeoBox((96, 96), Affine(1e-4, 0, 1, 0, -1e-4, 1), CRS(crs))
    with pytest.raises(GridMismatch, match="need a UTM grid"):
        kept_points(ScoredWindows(lattice, np.ones(lattice.size, np.float32), box), Rule())


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), share=st.floats(0.01, 0.3), k=st.integers(1, 5))
def test_groups_at_half_a_window_follow_their_points(seed: int, share: float, k: int) -> None:
    """Without blending, a group is isolated if all its windows are, by the plain rule."""
    rng = np.random.default_rng(seed)
    lattice = WindowLattice((24 * 25, 24 * 31), 48, 24)
    scores = (rng.random(lattice.size) < share).astype(np.float32)
    windows = ScoredWindows(lattice, scores, grid(lattice.shape))
    rule = Rule(k=k, isolation_distance_m=600)
    labels, count = ndimage.label(scores >= 0.5, np.ones((3, 3)), output=np.int32)
    row, col = np.nonzero(labels)
    points = np.stack([windows.x[col], windows.y[row]], axis=1)
    lonely = np.array(plainly_isolated(points, k, 600), dtype=bool)
    expected = [bool(lonely[labels[row, col] == n + 1].all()) for n in range(count)]
    cells = half_window_cells(windows)
    assert isolated_components(labels, cells, windows, rule).tolist() == expected


def fine_scan(marks: dict[tuple[int, int], float]) -> tuple[ScoredWindows, GeoBox]:
    """A scan at 80 m; `marks` gives scores to cells, each centred on a window."""
    lattice = WindowLattice((1600, 1600), 48, 8)
    scores = np.zeros(lattice.size, np.float32)
    for place, score in marks.items():
        scores[place] = score
    windows = ScoredWindows(lattice, scores, grid((1600, 1600)))
    return windows, half_window_cells(windows)


def test_a_group_between_the_lattices_points_takes_the_company_beside_it() -> None:
    # Six points of the lattice (every third window) in a row, 240 m apart, have company.
    marks = {(30, 30 + 3 * i): 0.6 for i in range(6)}
    windows, cells = fine_scan(marks)
    labels = np.zeros(windows.scores.shape, np.int32)
    labels[33, 31] = 1  # 240 m below one of them: within half a window
    labels[34, 40] = 2  # 320 m below: beyond
    labels[120, 120] = 3  # far away, on a point of the lattice that is not kept
    labels[30, 30] = 4
    assert isolated_components(labels, cells, windows, Rule()).tolist() == [
        False,
        True,
        True,
        False,
    ]


def test_without_groups_there_is_nothing_to_say() -> None:
    windows, cells = fine_scan({})
    labels = np.zeros(windows.scores.shape, np.int32)
    assert isolated_components(labels, cells, windows, Rule()).shape == (0,)
