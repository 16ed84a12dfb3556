"""From pixels to polygons with a model that averages: tiles, blending, thresholds, outlines."""

from collections.abc import Sequence
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import pyproj
import pytest
from affine import Affine
from geopandas.testing import assert_geodataframe_equal
from odc.geo import CRS
from odc.geo.geobox import GeoBox
from shapely.geometry import Point

from sluice.base.raster import Raster
from sluice.base.records import ModelInput
from sluice.base.windows import ScoredWindows, WindowLattice
from sluice.scan.blend import BlendedScores, blend
from sluice.scan.run import scan_windows
from sluice.sites.vectorise import vectorise

SHAPE = (707, 533)


@dataclass(frozen=True)
class Rule:
    t_main: float = 0.5
    t_iso: float = 0.9
    k: int = 2
    isolation_distance_m: float = 3000.0


class MeanModel:
    """The mean of a 48 px window, from an integral image."""

    inputs = (ModelInput(band="red"),)
    gsd_m = 10.0
    window_px = 48
    context_px = 0
    cells_per_window = 1
    scores_per_cell = 1

    def score_windows(self, raster: Raster, rows: Sequence[int], cols: Sequence[int]) -> np.ndarray:
        image = raster.band("red").astype(np.float64)
        total = np.pad(np.nan_to_num(image).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
        seen = np.pad(np.isfinite(image).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
        top, left = np.ix_(np.asarray(rows), np.asarray(cols))

        def window_sum(a: np.ndarray) -> np.ndarray:
            return a[top + 48, left + 48] - a[top, left + 48] - a[top + 48, left] + a[top, left]

        count = window_sum(seen)
        mean = window_sum(total) / np.maximum(count, 1)
        return np.where(count >= 0.8 * 48 * 48, mean, np.nan).astype(np.float32)


def grid(shape: tuple[int, int]) -> GeoBox:
    return GeoBox(shape, Affine(10, 0, 600_000, 0, -10, 700_000), CRS("EPSG:32630"))


def scan(image: np.ndarray, stride_px: int, tile_px: int) -> tuple[BlendedScores, gpd.GeoDataFrame]:
    whole = grid(image.shape)

    def load(part: GeoBox) -> Raster:
        col = round((part.affine.c - 600_000) / 10)
        row = round((700_000 - part.affine.f) / 10)
        data = np.full(part.shape.yx, np.nan, np.float32)
        found = image[row : row + data.shape[0], col : col + data.shape[1]]
        data[: found.shape[0], : found.shape[1]] = found
        return Raster(data[np.newaxis], ("red",), part)

    result = scan_windows(whole, load, MeanModel(), stride_px=stride_px, tile_px=tile_px)
    blended = blend(result.windows, result.seen)
    return blended, vectorise(blended.scores, blended.geobox, result.windows, Rule())


def holds(sites: gpd.GeoDataFrame, row: float, col: float) -> bool:
    to_lonlat = pyproj.Transformer.from_crs("EPSG:32630", "EPSG:4326", always_xy=True)
    place = Point(to_lonlat.transform(600_000 + 10 * col, 700_000 - 10 * row))
    return bool(sites.contains(place).any())


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    rng = np.random.default_rng(3)
    image = rng.uniform(0, 0.2, SHAPE).astype(np.float32)
    image[600:, 400:] = 0.8  # to the last row and column
    image[150:250, 100:220] = 0.8
    image[400:470, :60] = np.nan
    return image


@pytest.mark.parametrize("stride_px", [8, 24])
def test_sites_do_not_depend_on_the_tiles_and_reach_the_last_pixel(image, stride_px) -> None:
    blended, sites = scan(image, stride_px, 2048)
    assert len(sites) == 2
    assert holds(sites, 706.5, 532.5)
    assert holds(sites, 200.5, 160.5)
    assert not holds(sites, 100.5, 300.5)
    # The footprint is the ground where the mean of a window passes one half: about the patch.
    assert sites["footprint_ha"].sum() == pytest.approx((100 * 120 + 107 * 133) / 100, rel=0.3)
    for tile_px in (48, 100, 371):
        again, same = scan(image, stride_px, tile_px)
        np.testing.assert_allclose(again.scores, blended.scores, rtol=0, atol=1e-6)
        assert_geodataframe_equal(same, sites, check_less_precise=True)


def test_a_gap_is_not_observed_whatever_is_beside_it(image) -> None:
    blended, _ = scan(image, 8, 371)
    gap = np.isnan(blended.scores)
    col, row = np.meshgrid(np.arange(gap.shape[1]), np.arange(gap.shape[0]))
    x = (blended.geobox.affine.c - 600_000) / 10 + 8 * (col + 0.5)
    y = (700_000 - blended.geobox.affine.f) / 10 + 8 * (row + 0.5)
    # A window may hold a fifth of gap, 460 px: 10 px along its edge, or 21 x 21 px of a corner.
    core = (y > 422) & (y < 449) & (x < 39)
    assert gap[core].all()
    assert not gap[(y < 399) | (y > 471) | (x > 61)].any()


def cell_pixels(blended: BlendedScores, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The row and the column of the cell that each pixel's centre lies in."""
    a = blended.geobox.affine
    row = (a.f - 700_000 + 10 * (np.arange(shape[0]) + 0.5)) // -a.e
    col = (600_000 - a.c + 10 * (np.arange(shape[1]) + 0.5)) // a.a
    return row.astype(int)[:, np.newaxis], col.astype(int)[np.newaxis]


def observed_px(blended: BlendedScores, shape: tuple[int, int]) -> np.ndarray:
    return np.isfinite(blended.scores)[cell_pixels(blended, shape)]


@pytest.mark.parametrize("stride_px", [8, 24])
def test_a_cloud_is_not_observed_though_windows_around_it_are(stride_px: int) -> None:
    shape = (317, 283)
    missing = []
    for shift in range(0, stride_px, 3):
        image = np.full(shape, 0.1, np.float32)
        cloud = np.zeros(shape, dtype=bool)
        cloud[100 + shift : 140 + shift, 121 + shift : 161 + shift] = True
        image[cloud] = np.nan
        blended, _ = scan(image, stride_px, 150)
        of_cell = np.broadcast_arrays(*cell_pixels(blended, shape))
        valid, pixels = np.zeros((2, *blended.scores.shape))
        np.add.at(valid, (of_cell[0], of_cell[1]), ~cloud)
        np.add.at(pixels, (of_cell[0], of_cell[1]), 1)
        np.testing.assert_array_equal(np.isfinite(blended.scores), valid >= pixels / 2)
        missing.append((~observed_px(blended, shape)).sum())
    assert np.mean(missing) == pytest.approx(40 * 40, rel=0.3)


@pytest.mark.parametrize("stride_px", [8, 24])
@pytest.mark.parametrize(
    "corner", [(slice(0, 40), slice(0, 40)), (slice(277, 317), slice(243, 283))]
)
def test_a_cloud_in_a_corner_is_not_observed(stride_px: int, corner: tuple[slice, slice]) -> None:
    image = np.full((317, 283), 0.1, np.float32)
    image[corner] = np.nan
    observed = observed_px(scan(image, stride_px, 150)[0], image.shape)
    assert not observed[corner][13:27, 13:27].any()
    assert not observed[0 if corner[0].start == 0 else -1, corner[1]][13:27].any()
    assert (~observed).sum() == pytest.approx(40 * 40, rel=0.5)
    assert scan(np.full((317, 283), 0.1, np.float32), stride_px, 150)[0].scores.min() > 0


@pytest.mark.parametrize(("stride_px", "side"), [(8, 5), (24, 1)])
def test_a_mine_that_few_windows_see_is_listed(stride_px: int, side: int) -> None:
    lattice = WindowLattice((960, 960), 48, stride_px)
    scores = np.full(lattice.size, 0.01, np.float32)
    scores[20 : 20 + side, 18 : 18 + side] = 0.95
    windows = ScoredWindows(lattice, scores, grid((960, 960)))
    blended = blend(windows)
    sites = vectorise(blended.scores, blended.geobox, windows, Rule())
    assert len(sites) == 1
    assert sites["score_peak"].iloc[0] > Rule().t_main
    middle = side // 2
    assert holds(sites, (20 + middle) * stride_px + 24.5, (18 + middle) * stride_px + 24.5)


def test_a_single_window_does_not_make_a_mine_at_a_fine_stride() -> None:
    """Its neighbours see nearly the same ground, and saw no mine."""
    lattice = WindowLattice((960, 960), 48, 8)
    scores = np.full(lattice.size, 0.01, np.float32)
    scores[20, 18] = 0.95
    windows = ScoredWindows(lattice, scores, grid((960, 960)))
    blended = blend(windows)
    assert vectorise(blended.scores, blended.geobox, windows, Rule()).empty


def test_an_image_smaller_than_a_window() -> None:
    seen, sites = scan(np.full((48, 40), 0.95, np.float32), 8, 1024)
    assert np.isfinite(seen.scores).all()
    assert len(sites) == 1
    assert sites["isolated"].all()
    hidden, none = scan(np.full((48, 30), 0.95, np.float32), 8, 1024)
    assert np.isnan(hidden.scores).all()
    assert none.empty
