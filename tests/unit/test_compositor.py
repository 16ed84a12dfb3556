"""`Compositor`: many dates, overcast blocks, the guard, and scenes that cannot be read."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from scenes import utm_geobox
from sluice.app.loading import Compositor
from sluice.app.recipe import Recipe
from sluice.base.errors import AuthError, ConfigError, SourceUnavailable
from sluice.base.grid import PixelWindow
from sluice.base.raster import Raster
from sluice.base.records import Scene

SHAPE = (300, 330)
# Half a pixel off the lines of the CRS, where rounding could go either way.
GEOBOX = utm_geobox(SHAPE, left=500_005.0, top=500_005.0)
BANDS = ("blue", "green", "red")
CLOUD, VEGETATION = 9, 4


@dataclass
class MemoryScenes:
    """An imagery source in memory."""

    images_tbhw: np.ndarray
    scl_thw: np.ndarray
    errors: dict[str, Exception] = field(default_factory=dict)
    read_ids: list[str] = field(default_factory=list)
    sensor: str = "s2-l2a"
    copies: int = 1
    """Tiles in which each pass is stored."""
    apart_min: int = 1
    """Minutes between them, by their names."""

    @property
    def scenes(self) -> tuple[Scene, ...]:
        return tuple(
            Scene(
                id=f"s{k}",
                href=f"s{k}",
                sensor=self.sensor,
                acquired=dt.date(2024, 1, 1) + dt.timedelta(days=5 * (k // self.copies)),
                acquired_at=dt.datetime(
                    2024, 1, 1, 13, self.apart_min * (k % self.copies), tzinfo=dt.UTC
                )
                + dt.timedelta(days=5 * (k // self.copies)),
                bands=BANDS,
                sky_layer=None if self.sensor == "s1" else "scl",
                orbit_state=("ascending", "descending")[k % 2],
            )
            for k in range(len(self.images_tbhw))
        )

    def meets(self, scene, geobox) -> bool:
        return True

    def is_remote(self, scene) -> bool:
        return False

    def read(self, scene, bands, geobox, out=None) -> Raster:
        self.read_ids.append(scene.id)
        if scene.id in self.errors:
            if out is not None:
                out[:] = 0.9  # half a read
            raise self.errors[scene.id]
        image = self._cut(self.images_tbhw[int(scene.id[1:])], geobox)
        image = image[[BANDS.index(band) for band in bands]]
        if out is not None:
            np.copyto(out, image)
            image = out
        return Raster(image, tuple(bands), geobox)

    def read_sky(self, scene, geobox, classify) -> np.ndarray:
        return classify(self._cut(self.scl_thw[int(scene.id[1:])][None], geobox)[0])

    def _cut(self, image_bhw, geobox) -> np.ndarray:
        row = round((geobox.affine.f - GEOBOX.affine.f) / GEOBOX.affine.e)
        col = round((geobox.affine.c - GEOBOX.affine.c) / GEOBOX.affine.a)
        out = np.full((len(image_bhw), *geobox.shape.yx), np.nan, np.float32)
        rows, cols = np.indices(geobox.shape.yx)
        rows, cols = rows + row, cols + col
        inside = (rows >= 0) & (rows < SHAPE[0]) & (cols >= 0) & (cols < SHAPE[1])
        out[:, inside] = image_bhw[:, rows[inside], cols[inside]]
        return out


def make_series(dates: int, seed: int = 0) -> MemoryScenes:
    """Ground that stays put, with clouds of several sizes; some scenes all but overcast."""
    rng = np.random.default_rng(seed)
    ground = rng.uniform(0.02, 0.3, (len(BANDS), *SHAPE)).astype(np.float32)
    images = np.repeat(ground[None], dates, axis=0)
    images += rng.normal(0, 0.002, images.shape).astype(np.float32)
    scl = np.full((dates, *SHAPE), VEGETATION, np.float32)
    for k in range(dates):
        field = ndimage.gaussian_filter(rng.standard_normal(SHAPE), 12)
        share = (0.0, 0.3, 0.6, 0.995)[k % 4]
        cloud = field > np.quantile(field, 1 - share) if share else np.zeros(SHAPE, bool)
        scl[k][cloud] = CLOUD
        images[k][:, cloud] = rng.uniform(0.4, 0.9)
    # Bright ground that the classification always calls cloud.
    scl[:, 100:130, 40:90] = CLOUD
    images[:, :, 100:130, 40:90] = 0.25 + rng.normal(0, 0.002, (dates, 1, 1, 1))
    return MemoryScenes(images, scl)


SERIES = make_series(12)
WHOLE = Compositor(SERIES, BANDS)(GEOBOX)


@settings(max_examples=25)
@given(st.integers(-20, 290), st.integers(-20, 320), st.integers(1, 150), st.integers(1, 150))
def test_a_part_is_the_whole_cut_out(row, col, height, width) -> None:
    part = Compositor(SERIES, BANDS)(PixelWindow(row, col, height, width).of(GEOBOX))
    top, left = max(0, row), max(0, col)
    bottom, right = min(SHAPE[0], row + height), min(SHAPE[1], col + width)
    if bottom <= top or right <= left:
        assert not part.raster.valid.any()
        return
    inner = (slice(top - row, bottom - row), slice(left - col, right - col))
    outer = (slice(top, bottom), slice(left, right))
    np.testing.assert_array_equal(part.raster.data_bhw[:, *inner], WHOLE.raster.data_bhw[:, *outer])
    np.testing.assert_array_equal(part.looks_hw[inner], WHOLE.looks_hw[outer])
    np.testing.assert_array_equal(part.last_day_hw[inner], WHOLE.last_day_hw[outer])


def make_patchy(seed: int = 5) -> MemoryScenes:
    """Five passes in three tiles each that overlap, with all that a cloud layer may say."""
    rng = np.random.default_rng(seed)
    series = make_series(15, seed)
    classes = np.array([0, 1, CLOUD, 3, VEGETATION, VEGETATION], np.float32)
    for k in range(15):
        field = ndimage.gaussian_filter(rng.standard_normal(SHAPE), 9)
        edges = np.quantile(field, np.linspace(0, 1, len(classes) + 1)[1:-1])
        series.scl_thw[k] = classes[np.digitize(field, edges)]
        # What the ground looks like where the layer errs: bright, and always the same.
        series.scl_thw[k][100:130, 40:90] = (CLOUD, 1, 0)[k % 3]
        outside = np.s_[:, : 90 * (k % 3)] if k % 3 else np.s_[:, 200:]
        series.scl_thw[k][outside] = np.nan
        series.images_tbhw[k][:, *outside] = np.nan
    # The outer two of a pass are farther apart than a pass is long.
    return MemoryScenes(series.images_tbhw, series.scl_thw, copies=3, apart_min=20)


PATCHY = make_patchy()
WHOLE_PATCHY = Compositor(PATCHY, BANDS, Recipe(overcast_px=64))(GEOBOX)


@settings(max_examples=40)
@given(st.integers(0, 200), st.integers(0, 280), st.integers(1, 120), st.integers(1, 120))
def test_what_counts_as_a_look_does_not_depend_on_the_part(row, col, height, width) -> None:
    window = PixelWindow(row, col, min(height, SHAPE[0] - row), min(width, SHAPE[1] - col))
    part = Compositor(PATCHY, BANDS, Recipe(overcast_px=64))(window.of(GEOBOX))
    np.testing.assert_array_equal(part.looks_hw, WHOLE_PATCHY.looks_hw[window.slices])
    np.testing.assert_array_equal(
        part.raster.data_bhw, WHOLE_PATCHY.raster.data_bhw[:, *window.slices]
    )


def test_the_guard_gives_the_bright_ground_back() -> None:
    bright = (slice(105, 125), slice(45, 85))
    assert WHOLE.raster.valid[bright].all()
    np.testing.assert_allclose(WHOLE.raster.data_bhw[:, *bright], 0.25, atol=0.01)
    without = Compositor(SERIES, BANDS, Recipe(guard=False))(GEOBOX)
    assert not without.raster.valid[bright].any()


def test_the_guard_gives_no_cloud_back() -> None:
    ground = np.nanmedian(SERIES.images_tbhw[0::4], axis=0)
    error = np.abs(WHOLE.raster.data_bhw - ground)
    assert np.nanmax(error) < 0.05


def test_an_overcast_scene_is_not_even_read() -> None:
    series = make_series(4)
    series.scl_thw[2] = CLOUD
    series.read_ids.clear()
    Compositor(series, BANDS)(GEOBOX)
    assert "s2" not in series.read_ids
    # A hole in the clouds of less than a fiftieth of its blocks is not trusted.
    series.scl_thw[2, 250:253, 250:253] = VEGETATION
    series.read_ids.clear()
    holed = Compositor(series, BANDS)(GEOBOX)
    assert "s2" not in series.read_ids
    trusting = Compositor(series, BANDS, Recipe(overcast_px=0, cloud_margin_px=0))(GEOBOX)
    assert trusting.looks_hw[251, 251] == holed.looks_hw[251, 251] + 1


def test_looks_are_counted_and_too_few_are_not_observed() -> None:
    clear = (SERIES.scl_thw == VEGETATION).sum(axis=0)
    plain = Compositor(
        SERIES, BANDS, Recipe(guard=False, cloud_margin_px=0, overcast_px=0, min_looks=5)
    )(GEOBOX)
    np.testing.assert_array_equal(plain.looks_hw, clear)
    np.testing.assert_array_equal(plain.raster.valid, clear >= 5)


def test_the_last_look_is_the_latest_clear_date() -> None:
    recipe = Recipe(guard=False, cloud_margin_px=0, overcast_px=0)
    last = Compositor(SERIES, BANDS, recipe)(GEOBOX).last_day_hw
    first_day = (dt.date(2024, 1, 1) - dt.date(1970, 1, 1)).days
    clear = SERIES.scl_thw == VEGETATION
    latest = first_day + 5.0 * (len(clear) - 1 - clear[::-1].argmax(axis=0))
    np.testing.assert_array_equal(last, np.where(clear.any(axis=0), latest, np.nan))


def test_a_scene_that_cannot_be_read_is_left_out_and_named() -> None:
    series = make_series(8)
    series.errors["s1"] = SourceUnavailable("s1: no answer", item_id="s1")
    composite = Compositor(series, BANDS)(GEOBOX)
    assert dict(composite.raster.left_out) == {"s1": "s1: no answer"}
    others = MemoryScenes(np.delete(series.images_tbhw, 1, 0), np.delete(series.scl_thw, 1, 0))
    np.testing.assert_array_equal(
        composite.raster.data_bhw, Compositor(others, BANDS)(GEOBOX).raster.data_bhw
    )


def test_more_than_half_missing_fails_the_part() -> None:
    series = make_series(4)
    for name in ("s0", "s1", "s2"):
        series.errors[name] = SourceUnavailable(f"{name}: no answer")
    with pytest.raises(SourceUnavailable, match="3 of 4 scenes could not be read"):
        Compositor(series, BANDS, Recipe(overcast_px=0))(GEOBOX)


def test_refused_credentials_are_told_as_such() -> None:
    series = make_series(3)
    series.errors |= {f"s{k}": AuthError("a key is needed") for k in range(3)}
    with pytest.raises(AuthError, match="a key is needed"):
        Compositor(series, BANDS, Recipe(overcast_px=0))(GEOBOX)


def make_radar(dates: int) -> MemoryScenes:
    """Two halves of even ground under speckle of 4.4 looks, in dB, with a gap in one date."""
    rng = np.random.default_rng(5)
    power = np.where(np.arange(SHAPE[1]) < 165, 0.02, 0.2) * np.ones((dates, 3, *SHAPE))
    power *= rng.gamma(4.4, 1 / 4.4, power.shape)
    power[1, :, 40:60, 50:70] = np.nan
    return MemoryScenes(10 * np.log10(power).astype(np.float32), power[:, 0], sensor="s1")


RADAR = make_radar(6)


@pytest.mark.parametrize("method", ["median", "minimum"])
def test_a_part_of_a_radar_composite_is_the_whole_cut_out(method) -> None:
    compositor = Compositor(RADAR, BANDS, Recipe(method=method))
    whole = compositor(GEOBOX)
    for row, col, height, width in ((0, 0, 40, 50), (30, 45, 50, 60), (161, 160, 139, 170)):
        part = compositor(PixelWindow(row, col, height, width).of(GEOBOX))
        window = (slice(row, row + height), slice(col, col + width))
        np.testing.assert_array_equal(part.raster.data_bhw, whole.raster.data_bhw[:, *window])
        np.testing.assert_array_equal(part.looks_hw, whole.looks_hw[window])


# A median of three dates for each orbit has little speckle left to smooth.
@pytest.mark.parametrize(("dates", "left"), [(1, 0.6), (6, 0.9)])
def test_speckle_is_smoothed_and_levels_stay(dates, left) -> None:
    series = MemoryScenes(RADAR.images_tbhw[:dates], RADAR.scl_thw[:dates], sensor="s1")
    raw, smooth = (
        Compositor(series, BANDS, Recipe(speckle=speckle))(GEOBOX).raster.data_bhw[0]
        for speckle in (False, True)
    )
    for cols, level in ((slice(10, 150), 0.02), (slice(180, 320), 0.2)):
        assert np.nanstd(smooth[:, cols]) < left * np.nanstd(raw[:, cols])
        assert np.nanmedian(smooth[:, cols]) == pytest.approx(10 * np.log10(level), abs=0.5)


def test_the_minimum_of_speckle_is_not_taken_for_the_ground() -> None:
    raw, smooth = (
        Compositor(RADAR, BANDS, Recipe("minimum", speckle=speckle))(GEOBOX).raster.data_bhw[0]
        for speckle in (False, True)
    )
    level = 10 * np.log10(0.02)
    bias = [abs(np.nanmedian(image[:, 10:150]) - level) for image in (raw, smooth)]
    assert bias[1] < 0.6 * bias[0]


def test_radar_looks_of_both_orbits_are_counted() -> None:
    composite = Compositor(RADAR, BANDS)(GEOBOX)
    expected = np.full(SHAPE, 6)
    expected[40:60, 50:70] = 5
    np.testing.assert_array_equal(composite.looks_hw, expected)


def test_a_pass_that_is_stored_in_two_tiles_is_one_look() -> None:
    once = make_series(12)
    twice = MemoryScenes(
        once.images_tbhw.repeat(2, axis=0), once.scl_thw.repeat(2, axis=0), copies=2
    )
    one, other = (Compositor(series, BANDS)(GEOBOX) for series in (once, twice))
    np.testing.assert_array_equal(other.looks_hw, one.looks_hw)
    np.testing.assert_array_equal(other.raster.data_bhw, one.raster.data_bhw)


def test_of_two_tiles_of_a_pass_the_clear_pixel_counts() -> None:
    series = make_series(1)
    images = series.images_tbhw.repeat(2, axis=0)
    scl = np.full((2, *SHAPE), VEGETATION, np.float32)
    scl[0, :150] = CLOUD
    images[0][:, :150] = 0.8
    images[1][:, 200:] = np.nan
    joined = MemoryScenes(images, scl, copies=2)
    found = Compositor(joined, BANDS, Recipe(cloud_margin_px=0))(GEOBOX)
    assert (found.looks_hw == 1).all()
    np.testing.assert_array_equal(found.raster.data_bhw, series.images_tbhw[0])


def test_an_empty_corner_of_another_date_does_not_stop_the_speckle_filter() -> None:
    """What a date beside does not reach, it cannot be a witness of."""
    alone = MemoryScenes(RADAR.images_tbhw[:1], RADAR.scl_thw[:1], sensor="s1")
    images = RADAR.images_tbhw[[0, 2, 2]].copy()
    images[1:, :, :, :100] = np.nan
    # Orbits take turns, so the third is of the first one's direction.
    beside = MemoryScenes(images, RADAR.scl_thw[:3], sensor="s1")
    one, other = (Compositor(s, BANDS)(GEOBOX).raster.data_bhw[..., :90] for s in (alone, beside))
    np.testing.assert_allclose(other, one, atol=1e-5)


def test_radar_has_no_percentiles() -> None:
    with pytest.raises(ConfigError, match="--reduce p25"):
        Compositor(RADAR, BANDS, Recipe("p25"))(GEOBOX)
