"""Evidence maps: what goes in comes out, and places find their cells."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
import rasterio.features
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from sluice.base.errors import AssetReadError, ConfigError, GridMismatch, ShapeMismatch
from sluice.sites.evidence_map import (
    Meaning,
    cells_of_places,
    read_evidence_map,
    read_looks,
    write_drop_map,
    write_evidence_map,
    write_observed_map,
)
from sluice.sites.radar_evidence import DROP_LOG_LR, drop_log_lr

CRS = "EPSG:32721"
GRID = GeoBox((40, 50), Affine(80, 0, 600_000, 0, -80, 9_300_000), CRS)
NAN = np.float32(np.nan)


def probabilities(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.001, 0.999, GRID.shape.yx).astype(np.float32)
    values[rng.random(values.shape) < 0.2] = NAN
    return values


def places(*shapes: shapely.Geometry, crs: str = CRS) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(geometry=list(shapes), crs=crs)


def cell_box(row: int, col: int, rows: int = 1, cols: int = 1) -> shapely.Polygon:
    west, north = 600_000 + 80 * col, 9_300_000 - 80 * row
    return shapely.box(west, north - 80 * rows, west + 80 * cols, north)


@pytest.mark.parametrize("prior", [0.001, 0.1, 0.5])
def test_probabilities_come_back_as_likelihood_ratios(prior: float) -> None:
    given_hw = probabilities()
    found = read_evidence_map(write_evidence_map(given_hw, GRID, prior=prior))
    p = given_hw.astype(np.float64)
    expected = np.log(p / (1 - p)) - np.log(prior / (1 - prior))
    assert np.array_equal(np.isnan(found.values_hw), np.isnan(given_hw))
    assert np.nanmax(np.abs(found.values_hw - expected)) <= 0.0051
    assert (found.geobox, found.meaning, found.prior) == (GRID, Meaning.LOG_LR, prior)


def test_the_prior_of_a_scan_does_not_matter() -> None:
    log_lr = np.linspace(-7, 8, 2000).reshape(GRID.shape.yx)
    maps = []
    for prior in (0.001, 0.3):
        chance = 1 / (1 + np.exp(-(log_lr + np.log(prior / (1 - prior)))))
        data = write_evidence_map(chance.astype(np.float32), GRID, prior=prior)
        maps.append(read_evidence_map(data).values_hw)
    assert np.abs(maps[0] - maps[1]).max() < 0.02


def test_certainty_stays_finite_and_files_stay_small() -> None:
    sure = np.zeros(GRID.shape.yx, np.float32)
    sure[:, 25:] = 1
    data = write_evidence_map(sure, GRID, prior=0.001)
    assert np.isfinite(read_evidence_map(data).values_hw).all()
    assert len(data) < 2 * sure.size


def test_a_place_takes_its_best_cell_and_tells_what_was_seen() -> None:
    log_lr = np.full(GRID.shape.yx, -2.0)
    log_lr[10, 10], log_lr[11, 11] = 3.0, np.nan
    p = (1 / (1 + np.exp(-log_lr))).astype(np.float32)
    data = write_evidence_map(p, GRID, prior=0.5)
    found = read_looks(data, places(cell_box(10, 10, 2, 2), cell_box(20, 20), cell_box(11, 11)))
    assert found["observed_share"].tolist() == [0.75, 1.0, 0.0]
    assert found["log_lr"].tolist() == pytest.approx([3.0, -2.0, np.nan], abs=0.006, nan_ok=True)


def test_small_places_take_the_cell_they_lie_in_and_far_ones_none() -> None:
    p = np.full(GRID.shape.yx, 0.5, np.float32)
    p[3, 4] = 0.9
    inside = shapely.Point(600_000 + 80 * 4 + 5, 9_300_000 - 80 * 3 - 5)
    half_out = cell_box(5, 48, 1, 4)
    far = shapely.box(100_000, 1_000_000, 100_500, 1_000_500)
    looks = read_looks(
        write_evidence_map(p, GRID, prior=0.5),
        places(inside, inside.buffer(3), half_out, far, shapely.Polygon()),
    )
    assert looks["observed_share"].tolist() == [1.0, 1.0, 0.5, 0.0, 0.0]
    assert looks["log_lr"].iloc[:2].tolist() == pytest.approx([np.log(9)] * 2, abs=0.006)
    assert looks["log_lr"].iloc[3:].isna().all()


def test_places_in_degrees_and_on_the_other_side_of_the_world() -> None:
    p = probabilities(1)
    own = places(cell_box(4, 4, 3, 5).buffer(-1))
    other = places(shapely.box(120, 40, 121, 41), shapely.box(-179, -80, 179, 80), crs="EPSG:4326")
    data = write_evidence_map(p, GRID, prior=0.1)
    here, there = read_looks(data, own), read_looks(data, own.to_crs("EPSG:4326"))
    assert here.equals(there)
    assert read_looks(data, other.iloc[:1])["observed_share"].tolist() == [0.0]


shapes = st.builds(
    lambda x, y, size, sides: shapely.Point(600_000 + x, 9_300_000 - y).buffer(
        size, quad_segs=sides
    ),
    st.floats(-300, 4300),
    st.floats(-300, 3500),
    st.floats(60, 900),
    st.integers(1, 4),
)


@settings(max_examples=25)
@given(st.lists(shapes, min_size=1, max_size=6))
def test_cells_are_those_that_a_rasteriser_burns(drawn: list[shapely.Polygon]) -> None:
    wide = GRID.pad(20)
    frame = places(*drawn)
    for place, cell in cells_of_places(frame.geometry, GRID):
        for number in np.unique(place):
            burnt = rasterio.features.rasterize(
                [drawn[number]], wide.shape.yx, transform=wide.affine
            )
            within = burnt[20:-20, 20:-20]
            own = cell[place == number]
            if burnt.any():
                assert (place == number).sum() == burnt.sum()
                assert set(own[own >= 0]) == set(np.flatnonzero(within))
            else:
                assert len(own) == 1


def test_maps_without_likelihoods_tell_what_was_seen() -> None:
    score = probabilities(2)
    area = places(cell_box(0, 0, 20, 20))
    known = read_looks(write_observed_map(score, GRID), area)
    share = np.isfinite(score[:20, :20]).mean()
    assert known["observed_share"].iloc[0] == pytest.approx(share)
    assert known["log_lr"].isna().all()


def test_radar_drops_count_by_the_share_that_fell() -> None:
    score = np.full(GRID.shape.yx, 0.1, np.float32)
    score[:2, :5] = 0.9
    data = write_drop_map(score, GRID)
    assert read_evidence_map(data).meaning is Meaning.DROP
    looks = read_looks(data, places(cell_box(0, 0, 10, 10), cell_box(20, 20, 5, 5)))
    assert looks["log_lr"].tolist() == [DROP_LOG_LR[-1], 0.0]


def test_drops_never_speak_against_and_more_never_says_less() -> None:
    found = drop_log_lr(np.array([0.0, 0.004, 0.005, 0.02, 0.5, np.nan]))
    assert np.isnan(found[-1])
    assert (np.diff(found[:-1]) >= 0).all()
    assert found[0] == 0


def test_what_is_wrong_is_told() -> None:
    p = probabilities()
    with pytest.raises(ConfigError, match="prior"):
        write_evidence_map(p, GRID, prior=1.0)
    with pytest.raises(ShapeMismatch):
        write_evidence_map(p[1:], GRID, prior=0.1)
    turned = GeoBox(GRID.shape, GRID.affine @ Affine.rotation(10), CRS)
    with pytest.raises(GridMismatch, match="north up"):
        write_evidence_map(p, turned, prior=0.1)
    with pytest.raises(AssetReadError, match="cannot be read"):
        read_evidence_map(b"II*\0 no image")
    with pytest.raises(GridMismatch, match="no CRS"):
        read_looks(
            write_evidence_map(p, GRID, prior=0.1), gpd.GeoDataFrame(geometry=[cell_box(0, 0)])
        )


def test_no_places_have_no_looks() -> None:
    empty = gpd.GeoDataFrame(geometry=gpd.GeoSeries([], crs=CRS))
    found = read_looks(write_evidence_map(probabilities(), GRID, prior=0.1), empty)
    assert [*found.columns] == ["observed_share", "log_lr"]
    assert found.empty
