"""Pixels on another grid: copies are exact, tiles are seamless, bilinear is bilinear."""

import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo import CRS
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from scenes import as_stored
from sluice.base.errors import ConfigError, GridMismatch
from sluice.base.grid import PixelWindow, utm_grid
from sluice.imagery.local import open_local
from sluice.imagery.scenes import SceneImages
from sluice.imagery.target_grid import scan_grid
from sluice.imagery.warp import aligned_shift, plan_read

WriteTif = Callable[..., Path]

SHAPE = (90, 70)
ARRAY = np.random.default_rng(3).random(SHAPE, dtype=np.float32)
GAPPY = np.where(np.random.default_rng(4).random(SHAPE) < 0.1, np.float32(np.nan), ARRAY)
LONLAT = Affine(1.1e-4, 0, -1.95, 0, -0.9e-4, 6.35)
GSDS = (4.77, 7.0, 10.0, 12.5)
FINE = Affine(3, 0, 600001, 0, -3, 700002)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture(scope="module")
def sources(folder: Path, write_tif: WriteTif) -> dict[str, SceneImages]:
    """The same gappy pixels on three grids."""
    places = {
        "utm": ("EPSG:32630", Affine(10, 0, 600000, 0, -10, 700000)),
        "degrees": ("EPSG:4326", LONLAT),
        "fine": ("EPSG:32630", FINE),
    }
    return {
        name: open_local(
            [write_tif(folder / f"{name}.tif", GAPPY, crs=crs, transform=t, descriptions=["red"])]
        )
        for name, (crs, t) in places.items()
    }


@pytest.fixture(scope="module")
def grids(sources: dict[str, SceneImages]) -> dict[tuple[str, float], GeoBox]:
    return {(name, gsd): scan_grid(images, gsd) for name, images in sources.items() for gsd in GSDS}


def read(images: SceneImages, geobox: GeoBox) -> np.ndarray:
    return images.read(images.scenes[0], ["red"], geobox).data_bhw[0]


@given(
    row=st.integers(-30, 100),
    col=st.integers(-30, 80),
    height=st.integers(1, 60),
    width=st.integers(1, 60),
)
@settings(max_examples=60)
def test_a_window_on_the_files_own_lines_is_a_copy(
    sources: dict[str, SceneImages], row: int, col: int, height: int, width: int
) -> None:
    images = sources["utm"]
    (own,) = images.source_grids(images.scenes[0])
    padded = np.pad(GAPPY, 100, constant_values=np.nan)
    expected = padded[row + 100 : row + 100 + height, col + 100 : col + 100 + width]
    found = read(images, PixelWindow(row, col, height, width).of(own))
    np.testing.assert_array_equal(found, expected)


@given(
    name=st.sampled_from(["utm", "degrees", "fine"]),
    gsd_m=st.sampled_from(GSDS),
    at=st.floats(0.05, 0.95),
    axis=st.sampled_from([0, 1]),
)
@settings(max_examples=60)
def test_two_halves_are_the_whole(
    *,
    sources: dict[str, SceneImages],
    grids: dict[tuple[str, float], GeoBox],
    name: str,
    gsd_m: float,
    at: float,
    axis: int,
) -> None:
    images, grid = sources[name], grids[name, gsd_m]
    height, width = grid.shape.yx
    cut = max(1, int(at * grid.shape.yx[axis]))
    if axis == 0:
        halves = [PixelWindow(0, 0, cut, width), PixelWindow(cut, 0, height - cut, width)]
    else:
        halves = [PixelWindow(0, 0, height, cut), PixelWindow(0, cut, height, width - cut)]
    joined = np.concatenate([read(images, half.of(grid)) for half in halves], axis=axis)
    whole = read(images, grid)
    assert np.isfinite(whole).any()
    if gsd_m == 4.77:
        # Corners of tiles are not whole numbers of metres here, so they carry rounding.
        np.testing.assert_allclose(joined, whole, atol=1e-5)
    else:
        np.testing.assert_array_equal(joined, whole)


def test_a_ramp_of_longitude_and_latitude_comes_out_as_the_pixels_own(
    folder: Path, write_tif: WriteTif
) -> None:
    rows, cols = np.mgrid[0:400, 0:300] + 0.5
    # Multiples of a pixel, so that float32 resolves a thousandth of one.
    images = open_local(
        [
            write_tif(
                folder / "ramp.tif",
                np.stack([rows, cols]).astype(np.float32),
                crs="EPSG:4326",
                transform=LONLAT,
                descriptions=["red", "nir"],
            )
        ],
        scale=1,
        offset=0.0,
    )
    grid = utm_grid((617000, 699000, 618000, 700000), CRS("EPSG:32630"), 10)
    found = images.read(images.scenes[0], ["red", "nir"], grid).data_bhw
    x, y = np.meshgrid(617000 + 10 * np.arange(100) + 5, 700000 - 10 * np.arange(100) - 5)
    lon, lat = pyproj.Transformer.from_crs(32630, 4326, always_xy=True).transform(x, y)
    np.testing.assert_allclose(found[0], (lat - LONLAT.f) / LONLAT.e, atol=1e-3)
    np.testing.assert_allclose(found[1], (lon - LONLAT.c) / LONLAT.a, atol=1e-3)


def test_bilinear_agrees_with_gdals_exact_warp(folder: Path, write_tif: WriteTif) -> None:
    path = write_tif(
        folder / "smooth.tif", ARRAY, crs="EPSG:4326", transform=LONLAT, descriptions=["red"]
    )
    images = open_local([path])
    grid = scan_grid(images, 10.0)
    with (
        rasterio.open(path) as dataset,
        WarpedVRT(
            dataset,
            crs=f"EPSG:{grid.crs.to_epsg()}",
            transform=grid.affine,
            height=grid.shape.y,
            width=grid.shape.x,
            resampling=Resampling.bilinear,
            tolerance=1e-6,
            nodata=math.nan,
        ) as warped,
    ):
        expected = warped.read(1)
    found = read(images, grid)
    both = np.isfinite(found) & np.isfinite(expected)
    assert both.mean() > 0.9
    # GDAL and this agree on what is covered but for centres that fall on the very rim.
    assert (np.isfinite(found) != np.isfinite(expected)).sum() <= 2
    np.testing.assert_allclose(found[both], expected[both], atol=2e-3)


def test_a_gap_stays_a_gap_and_does_not_bleed(folder: Path, write_tif: WriteTif) -> None:
    counts = np.full((20, 20), 1000, dtype=np.uint16)
    counts[8:12, 8:12] = 0
    images = open_local(
        [write_tif(folder / "gap.tif", counts, nodata=0, scale=1e-4, descriptions=["red"])]
    )
    shifted = GeoBox((18, 18), Affine(10, 0, 600013, 0, -10, 699987), "EPSG:32630")
    found = read(images, shifted)
    # 0 mixed in would give less than 0.1 beside the gap.
    np.testing.assert_allclose(found[np.isfinite(found)], 0.1, rtol=1e-6)
    assert np.isnan(found).sum() == 16


def test_zero_is_a_value_or_no_data_as_one_is_told(folder: Path, write_tif: WriteTif) -> None:
    counts = np.zeros((8, 8), dtype=np.uint16)
    counts[0] = 5000
    path = write_tif(folder / "zero.tif", counts, scale=1e-4, descriptions=["red"])
    with pytest.raises(ConfigError, match=r"88% of band red, where sampled, is 0.*--nodata 0"):
        open_local([path])
    images = open_local([path], nodata=math.nan)
    (own,) = images.source_grids(images.scenes[0])
    np.testing.assert_allclose(read(images, own), counts * 1e-4, rtol=1e-6)
    hidden = read(open_local([path], nodata=0), own)
    np.testing.assert_array_equal(np.isnan(hidden), counts == 0)


def test_a_much_coarser_grid_gets_means_not_picked_pixels(
    folder: Path, write_tif: WriteTif
) -> None:
    fine = np.random.default_rng(5).random((60, 80), dtype=np.float32)
    fine[:4, :4] = np.nan
    fine[4:8, 0] = np.nan
    path = write_tif(
        folder / "blocks.tif",
        fine,
        transform=Affine(2.5, 0, 600000, 0, -2.5, 700000),
        descriptions=["red"],
    )
    images = open_local([path])
    found = read(images, scan_grid(images, 10.0))
    blocks = fine.reshape(15, 4, 20, 4).swapaxes(1, 2).reshape(15, 20, 16)
    assert np.isnan(found[0, 0])
    np.testing.assert_allclose(found[1, 0], np.nanmean(blocks[1, 0]), rtol=1e-5)
    np.testing.assert_allclose(found[2:], blocks[2:].mean(axis=2), rtol=1e-5)


def test_three_metres_to_ten_smooths_a_checkerboard(folder: Path, write_tif: WriteTif) -> None:
    board = (np.indices((150, 150)).sum(axis=0) % 2).astype(np.float32)
    images = open_local(
        [write_tif(folder / "board.tif", board, transform=FINE, descriptions=["red"])],
        nodata=math.nan,
    )
    inner = read(images, scan_grid(images, 10.0))[2:-2, 2:-2]
    # Bilinear alone would swing between 0 and 1.
    assert np.abs(inner - 0.5).max() < 0.06


def test_a_cloud_layer_is_never_interpolated(folder: Path, write_tif: WriteTif) -> None:
    rng = np.random.default_rng(6)
    place = folder / "coarse_sky"
    write_tif(place / "B04.tif", ARRAY)
    classes = rng.choice(np.array([3, 11], dtype=np.uint8), size=(45, 35))
    write_tif(place / "SCL.tif", classes, transform=Affine(20, 0, 600000, 0, -20, 700000))
    images = open_local([place])
    (scene,) = images.scenes
    (own,) = images.source_grids(scene)
    sky = images.read_sky(scene, own, as_stored)
    assert sky is not None
    np.testing.assert_array_equal(sky, classes.repeat(2, axis=0).repeat(2, axis=1))


def test_grids_of_other_phase_size_or_crs_are_not_aligned() -> None:
    grid = GeoBox((50, 50), Affine(10, 0, 600000, 0, -10, 700000), "EPSG:32630")
    same = Affine(10, 0, 600030, 0, -10, 699950)
    assert aligned_shift(grid, GeoBox((9, 9), same, "EPSG:32630")) == (5, 3)
    assert aligned_shift(grid, GeoBox((9, 9), same, "EPSG:32631")) is None
    half = Affine(10, 0, 600005, 0, -10, 700000)
    assert aligned_shift(grid, GeoBox((9, 9), half, "EPSG:32630")) is None
    drifting = Affine(10.001, 0, 600000, 0, -10.001, 700000)
    assert aligned_shift(grid, GeoBox((50, 50), drifting, "EPSG:32630")) is None


def test_far_away_is_empty_and_rotated_is_refused() -> None:
    grid = GeoBox((50, 50), Affine(10, 0, 600000, 0, -10, 700000), "EPSG:32630")
    assert plan_read(grid, GeoBox((9, 9), LONLAT, "EPSG:4326")).window is None
    far = GeoBox((9, 9), Affine(10, 0, 300000, 0, -10, 200000), "EPSG:32733")
    assert plan_read(grid, far).window is None
    with pytest.raises(GridMismatch, match="rotated"):
        plan_read(grid, GeoBox((9, 9), Affine(9, 1, 0, 1, -9, 0), "EPSG:32630"))
