"""The map: what is where, checked pixel by pixel."""

from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from PIL import Image, ImageDraw

from sluice.app.products import map_furniture as furniture
from sluice.app.products.classes import class_of, classes_of
from sluice.app.products.quicklook import pick_bands, preview_grid, stretch, without_score
from sluice.base.raster import Raster

UTM = "EPSG:32630"


@given(height=st.integers(1, 30_000), width=st.integers(1, 30_000))
def test_preview_covers_exactly_the_same_ground(height: int, width: int) -> None:
    grid = GeoBox((height, width), rasterio.Affine(10, 0, 3e5, 0, -10, 7e5), UTM)
    coarse = preview_grid(grid)
    assert max(coarse.shape.yx) <= 1600
    assert coarse.boundingbox.bbox == pytest.approx(grid.boundingbox.bbox, rel=1e-12)


def test_stretch_ignores_gaps_and_keeps_the_balance() -> None:
    rgb = np.stack([np.linspace(0.1, 0.5, 200), np.linspace(0.1, 0.3, 200), np.full(200, 0.2)])
    rgb = rgb.astype(np.float32).reshape(3, 10, 20)
    rgb[1, 0, 0] = np.nan
    out = stretch(rgb)
    assert tuple(out[0, 0]) == furniture.NO_IMAGE
    assert out[-1, -1, 0] == 255  # the widest band fills the scale
    assert 120 < out[-1, -1, 1] < 170  # (1/2) ** 0.7 of it
    assert (out[1:, :, 2] == 0).all()  # no contrast of its own, none invented
    with_more_gaps = np.concatenate([rgb, np.full((3, 50, 20), np.nan, np.float32)], axis=1)
    np.testing.assert_array_equal(stretch(with_more_gaps)[:10], out)


def test_stretch_of_no_image_is_grey() -> None:
    out = stretch(np.full((3, 4, 5), np.nan, dtype=np.float32))
    assert (out == furniture.NO_IMAGE).all()


def test_bands_are_picked_by_name() -> None:
    grid = GeoBox((1, 1), rasterio.Affine(10, 0, 3e5, 0, -10, 7e5), UTM)

    def raster(*bands: str) -> Raster:
        values = np.arange(len(bands), dtype=np.float32).reshape(-1, 1, 1)
        return Raster(values, bands, grid)

    rgb, words = pick_bands(raster("blue", "nir", "green", "red"))
    assert (rgb.ravel().tolist(), words) == ([3, 2, 0], "true colour")
    rgb, words = pick_bands(raster("swir16", "nir", "red", "vv"))
    assert (rgb.ravel().tolist(), words) == ([0, 1, 2], "false colour (swir16, nir, red)")
    rgb, words = pick_bands(raster("vv", "vh"))
    assert (rgb.ravel().tolist(), words) == ([0, 0, 0], "one band (vv)")


def test_unobserved_is_where_the_score_is_nan(tmp_path: Path) -> None:
    scores = np.zeros((4, 6), dtype=np.float32)
    scores[1, 2] = np.nan
    path = tmp_path / "score.tif"
    transform = rasterio.Affine(80, 0, 3e5, 0, -80, 7e5)
    with rasterio.open(
        path, "w", driver="GTiff", dtype="float32", count=1, height=4, width=6, crs=UTM,
        transform=transform, nodata=np.nan,
    ) as out:  # fmt: skip
        out.write(scores, 1)
    grid = GeoBox((32, 48), rasterio.Affine(10, 0, 3e5, 0, -10, 7e5), UTM)
    expected = np.zeros((32, 48), dtype=bool)
    expected[8:16, 16:24] = True
    np.testing.assert_array_equal(without_score(path, grid), expected)


def test_hatching_touches_only_its_part() -> None:
    picture = Image.new("RGB", (40, 30), (10, 60, 20))
    where = np.zeros((30, 40), dtype=bool)
    where[5:20, 10:30] = True
    furniture.hatch(picture, where, spacing=8)
    pixels = np.asarray(picture)
    assert (pixels[~where] == (10, 60, 20)).all()
    assert (pixels[where] != (10, 60, 20)).any(axis=-1).all()
    assert len(np.unique(pixels[where], axis=0)) == 2  # veil and lines


@given(longest=st.floats(1e-3, 1e7))
def test_round_length_is_the_largest_round_one_that_fits(longest: float) -> None:
    length = furniture.round_length(longest)
    assert length <= longest * (1 + 1e-6)
    assert length * 2.5 > longest * (1 - 1e-6)
    assert float(f"{length:.0e}") == pytest.approx(length)
    assert f"{length:.0e}"[0] in "125"


def test_scale_bar_is_as_long_as_it_says() -> None:
    picture = Image.new("RGB", (400, 60), (255, 255, 255))
    furniture.draw_scale_bar(
        ImageDraw.Draw(picture), 20, 10, metres_per_px=10, longest_px=300
    )  # 2 km
    dark = (np.asarray(picture)[10] < 128).all(axis=-1)
    assert np.flatnonzero(dark)[[0, -1]].tolist() == [20, 220]


@pytest.mark.parametrize("side", ["bottom", "left"])
def test_ticks_stand_at_their_degree(side: str) -> None:
    grid = GeoBox((3000, 4000), rasterio.Affine(10, 0, 3e5, 0, -10, 7e5), UTM)
    pixels = 800 if side == "bottom" else 600
    found = furniture.ticks(grid, pixels=pixels, side=side)
    assert 2 <= len(found) <= 8
    to_lonlat = pyproj.Transformer.from_crs(UTM, "EPSG:4326", always_xy=True)
    for tick in found:
        along = tick.at / pixels
        x = 3e5 + 40_000 * along if side == "bottom" else 3e5
        y = 7e5 - 30_000 if side == "bottom" else 7e5 - 30_000 * along
        lon, lat = to_lonlat.transform(x, y)
        value = float(tick.text.split("°")[0])
        assert value == pytest.approx(-lon if side == "bottom" else lat, abs=2e-5)
        assert tick.text[-1] == ("W" if side == "bottom" else "N")


def test_dashes_leave_gaps_and_a_full_line_none() -> None:
    def share(dash: int | None) -> float:
        picture = Image.new("RGB", (120, 120))
        ring = [(10, 10), (110, 10), (110, 110), (10, 110), (10, 10)]
        furniture.draw_ring(ImageDraw.Draw(picture), ring, (255, 0, 0), width=1, dash=dash)
        return float((np.asarray(picture)[10, 10:110, 0] == 255).mean())

    assert share(None) == 1
    assert share(10) == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize(("value", "number"), [(0.0, 0), (0.1, 0), (0.11, 1), (0.5, 1), (1.0, 2)])
def test_classes_include_their_upper_bound(value: float, number: int) -> None:
    classes = classes_of("probability_peak")
    assert class_of(value, classes) is classes[number]


def test_long_text_is_wrapped_without_losing_a_word() -> None:
    text = "A detection is a lead to verify, not proof. " * 5
    lines = furniture.wrap(text, furniture.font(20), 300)
    assert " ".join(lines) == text.strip()
    assert all(furniture.font(20).getlength(line) <= 300 for line in lines)
