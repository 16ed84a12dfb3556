"""Scenes on any grid: which meet it, and backscatter weighed in power."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo import CRS
from odc.geo.geobox import GeoBox

from sluice.base.grid import PixelWindow, utm_grid
from sluice.base.records import Scene
from sluice.imagery.assets import Asset, list_assets
from sluice.imagery.scenes import SceneFiles, SceneImages
from sluice.imagery.warp import plan_read

WriteTif = Callable[..., Path]
TEN_METRES = Affine(10, 0, 600000, 0, -10, 700000)
POWER = np.random.default_rng(5).gamma(4, 0.02, (60, 50)).astype(np.float32)
POWER[:4, :7] = np.nan


def images_of(**bands: Asset) -> SceneImages:
    return SceneImages((SceneFiles(Scene(id="one", href="x"), dict(bands), None),))


def on_grid(grid: GeoBox) -> SceneImages:
    return images_of(red=Asset("nowhere.tif", 1, "", grid, "uint16", None, False))  # noqa: FBT003


def read(images: SceneImages, band: str, grid: GeoBox) -> np.ndarray:
    return images.read(images.scenes[0], [band], grid).data_bhw[0]


@pytest.fixture
def power(tmp_path: Path, write_tif: WriteTif) -> Asset:
    (asset,) = list_assets(write_tif(tmp_path / "power.tif", POWER, descriptions=["vv"]))
    return replace(asset, is_power=True)


@pytest.fixture
def decibel(tmp_path: Path, write_tif: WriteTif) -> Asset:
    in_db = (10 * np.log10(POWER)).astype(np.float32)
    (asset,) = list_assets(write_tif(tmp_path / "db.tif", in_db, descriptions=["vv"]))
    return asset


def test_backscatter_comes_out_in_decibel(power: Asset, decibel: Asset) -> None:
    expected = 10 * np.log10(POWER.astype(np.float64))
    np.testing.assert_allclose(read(images_of(vv=power), "vv", power.geobox), expected, rtol=1e-5)
    # What is copied stays to the last bit.
    copied = read(images_of(vv=decibel), "vv", decibel.geobox)
    np.testing.assert_array_equal(copied, (10 * np.log10(POWER)).astype(np.float32))
    np.testing.assert_array_equal(decibel.read(PixelWindow(0, 0, 60, 50)), copied)


def test_the_mean_is_that_of_power(power: Asset, decibel: Asset) -> None:
    coarse = GeoBox((12, 10), Affine(50, 0, 600000, 0, -50, 700000), "EPSG:32630")
    blocks = POWER.reshape(12, 5, 10, 5)
    enough = np.isfinite(blocks).sum(axis=(1, 3)) * 2 >= 25
    with np.errstate(all="ignore"):
        expected = 10 * np.log10(np.nansum(blocks, axis=(1, 3)) / np.isfinite(blocks).sum((1, 3)))
    expected[~enough] = np.nan
    assert np.isnan(expected).any()
    for asset in (power, decibel):
        found = read(images_of(vv=asset), "vv", coarse)
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_between_pixels_power_is_weighed(power: Asset, decibel: Asset) -> None:
    half = GeoBox((59, 49), Affine(10, 0, 600005, 0, -10, 699995), "EPSG:32630")
    middle = (POWER[:-1, :-1] + POWER[1:, :-1] + POWER[:-1, 1:] + POWER[1:, 1:]) / 4
    whole = np.isfinite(middle)
    for asset in (power, decibel):
        found = read(images_of(vv=asset), "vv", half)
        np.testing.assert_allclose(found[whole], 10 * np.log10(middle[whole]), atol=1e-4)


def test_power_that_is_not_above_zero_has_no_decibel(tmp_path: Path, write_tif: WriteTif) -> None:
    values = np.array([[1.0, 0.0, -0.5, np.nan, np.inf, 10.0]], dtype=np.float32)
    (asset,) = list_assets(write_tif(tmp_path / "x.tif", values))
    found = read(images_of(vh=replace(asset, is_power=True)), "vh", asset.geobox)
    np.testing.assert_array_equal(found, [[0, np.nan, np.nan, np.nan, np.nan, 10]])


def test_reflectance_is_left_alone(power: Asset, decibel: Asset) -> None:
    coarse = GeoBox((12, 10), Affine(50, 0, 600000, 0, -50, 700000), "EPSG:32630")
    plain = replace(power, is_power=False)
    found = images_of(vv=decibel, red=plain)
    np.testing.assert_allclose(
        read(found, "red", coarse)[2:], POWER.reshape(12, 5, 10, 5).mean((1, 3))[2:], rtol=1e-5
    )
    both = found.read(found.scenes[0], ["red", "vv"], coarse).data_bhw
    np.testing.assert_array_equal(both[0], read(found, "red", coarse))
    np.testing.assert_array_equal(both[1], read(found, "vv", coarse))


ZONES = ["EPSG:32630", "EPSG:32631", "EPSG:32729", "EPSG:4326", "EPSG:3857"]


def grid_at(crs: str, lon: float, lat: float, side_m: float) -> GeoBox:
    """A square grid around a place."""
    x, y = CRS("EPSG:4326").transformer_to_crs(CRS(crs), always_xy=True)(lon, lat)
    side = side_m / 111_000 if crs == "EPSG:4326" else side_m
    return GeoBox((20, 20), Affine(side / 20, 0, x - side / 2, 0, -side / 20, y + side / 2), crs)


@given(
    source=st.sampled_from(ZONES),
    target=st.sampled_from(ZONES),
    lon=st.floats(-9, 3),
    lat=st.floats(-20, 20),
    step=st.tuples(st.floats(-2.5, 2.5), st.floats(-2.5, 2.5)),
    sides=st.tuples(st.floats(500, 110_000), st.floats(500, 110_000)),
)
@settings(max_examples=200)
def test_no_scene_that_has_pixels_is_said_to_have_none(
    *,
    source: str,
    target: str,
    lon: float,
    lat: float,
    step: tuple[float, float],
    sides: tuple[float, float],
) -> None:
    scene_grid = grid_at(source, lon, lat, sides[0])
    tile = grid_at(target, lon + step[0], lat + step[1], sides[1])
    images = on_grid(scene_grid)
    if plan_read(scene_grid, tile).window is not None:
        assert images.meets(images.scenes[0], tile)
    far = max(abs(step[0]), abs(step[1])) * 111_000 * 0.9 > 0.8 * (sides[0] + sides[1])
    if far:
        assert not images.meets(images.scenes[0], tile)


@pytest.mark.parametrize("source", ["EPSG:32760", "EPSG:32701", "EPSG:4326"])
@pytest.mark.parametrize("target", ["EPSG:32760", "EPSG:32701"])
@pytest.mark.parametrize("centre", [179.95, -179.99, 180.0])
def test_places_at_180_degrees(source: str, target: str, centre: float) -> None:
    scene_grid = grid_at(source, centre, -17.0, 60_000)
    images = on_grid(scene_grid)
    for lon, expected in ((centre, True), (centre - 0.2, True), (centre + 0.2, True)):
        tile = grid_at(target, (lon + 180) % 360 - 180, -17.1, 5_000)
        assert (plan_read(scene_grid, tile).window is not None) is expected
        assert images.meets(images.scenes[0], tile) is expected
    for lon in (centre - 1.5, centre + 1.5, 40.0):
        tile = grid_at(target, (lon + 180) % 360 - 180, -17.1, 5_000)
        assert not images.meets(images.scenes[0], tile)


def test_touching_is_not_meeting_by_much() -> None:
    images = on_grid(GeoBox((1000, 1000), TEN_METRES, "EPSG:32630"))
    scene = images.scenes[0]
    assert images.meets(scene, utm_grid((609000, 695000, 619000, 705000), CRS("EPSG:32630"), 10))
    assert not images.meets(
        scene, utm_grid((612000, 695000, 622000, 705000), CRS("EPSG:32630"), 10)
    )
