"""Folders of PlanetScope orders and of quads of mosaics."""

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import shapely
from affine import Affine

from scenes import as_stored
from sluice.base.errors import ConfigError
from sluice.base.periods import Period
from sluice.imagery.catalogue import Found
from sluice.imagery.image_folders import open_folder
from sluice.imagery.planet import span_in_name
from sluice.imagery.scenes import SceneImages

WriteTif = Callable[..., Path]

# 120 m by 90 m near 59.9 W, 5 S: UTM zone 21 south, 3 m pixels.
UTM = {"crs": "EPSG:32721", "transform": Affine(3, 0, 178000, 0, -3, 9446000)}
HERE = shapely.box(-59.91, -5.02, -59.89, -4.99)
ELSEWHERE = shapely.box(-50.0, -5.02, -49.9, -4.99)
JANUARY = Period(dt.date(2024, 1, 1), dt.date(2024, 1, 31))
COUNTS = np.random.default_rng(3).integers(100, 4000, (8, 30, 40), dtype=np.uint16)
EIGHT = ("coastal", "blue", "green05", "green", "yellow", "red", "rededge071", "nir")
PLANETS_NAMES = (
    "coastal_blue",
    "blue",
    "green_i",
    "green",
    "yellow",
    "red",
    "rededge",
    "nir",
)
SCENE = "20240105_141230_12_24a3"


def own_pixels(found: Found, *bands: str) -> np.ndarray:
    images = SceneImages(found.files)
    scene = images.scenes[0]
    return images.read(scene, bands, images.source_grids(scene)[0]).data_bhw


def write_order(folder: Path, write_tif: WriteTif, scene: str = SCENE, clear: int = 1) -> None:
    write_tif(
        folder / f"{scene}_3B_AnalyticMS_SR_8b_clip.tif",
        COUNTS,
        descriptions=PLANETS_NAMES,
        nodata=0,
        **UTM,
    )
    mask = np.zeros((8, 30, 40), np.uint8)
    mask[0] = clear
    names = ("clear", "snow", "shadow", "haze_light", "haze_heavy", "cloud", "confidence", "udm1")
    write_tif(folder / f"{scene}_3B_udm2_clip.tif", mask, descriptions=names, **UTM)


# PlanetScope


def test_a_scene_is_its_reflectance_and_its_mask(tmp_path: Path, write_tif: WriteTif) -> None:
    folder = tmp_path / "order" / "PSScene"
    write_order(folder, write_tif)
    properties = {"acquired": "2024-01-05T14:12:30.125Z", "cloud_cover": 0.07}
    (folder / f"{SCENE}_metadata.json").write_text(json.dumps({"properties": properties}))
    found = open_folder(tmp_path, "planet").find(HERE, JANUARY, ["red", "nir"])
    assert not found.left_out
    (files,) = found.files
    scene = files.scene
    assert scene.id == SCENE
    assert scene.sensor == "planet-8b"
    assert scene.bands == EIGHT
    assert scene.acquired == dt.date(2024, 1, 5)
    assert scene.acquired_at == dt.datetime(2024, 1, 5, 14, 12, 30, 125000, tzinfo=dt.UTC)
    assert scene.cloud_cover == pytest.approx(7)
    assert (scene.scale, scene.offset) == (1e-4, 0.0)
    assert "Planet" in scene.radiometry_from
    # Blue is the second of eight bands, and red the sixth.
    np.testing.assert_allclose(
        own_pixels(found, "blue", "red"), COUNTS[[1, 5]] * np.float32(1e-4), rtol=1e-6
    )
    images = SceneImages(found.files)
    assert scene.sky_layer == "udm2"
    sky = images.read_sky(scene, images.source_grids(scene)[0], as_stored)
    assert sky is not None
    assert (sky == 1).all()


def test_four_bands_are_known_by_their_order(tmp_path: Path, write_tif: WriteTif) -> None:
    # Scenes of the first satellites: no counter in the name, no names of bands in the file.
    name = "20190109_015005_1020_3B_AnalyticMS_SR.tif"
    counts = COUNTS[:4].copy()
    counts[:, 0] = 0
    write_tif(tmp_path / "files" / name, counts, **UTM)
    period = Period(dt.date(2019, 1, 9), dt.date(2019, 1, 9))
    found = open_folder(tmp_path, "planet").find(HERE, period, ["nir"])
    (files,) = found.files
    assert files.scene.sensor == "planet-4b"
    assert files.scene.bands == ("blue", "green", "red", "nir")
    assert files.scene.acquired_at == dt.datetime(2019, 1, 9, 1, 50, 5, tzinfo=dt.UTC)
    assert files.scene.sky_layer is None
    assert files.sky is None
    nir = own_pixels(found, "nir")[0]
    # Black fill is 0, though the tag that says so is gone.
    assert np.isnan(nir[0]).all()
    np.testing.assert_allclose(nir[1:], counts[3, 1:] * np.float32(1e-4), rtol=1e-6)


def test_dates_and_places_outside_are_not_there(tmp_path: Path, write_tif: WriteTif) -> None:
    write_order(tmp_path, write_tif)
    folder = open_folder(tmp_path, "planet")
    february = Period(dt.date(2024, 2, 1), dt.date(2024, 2, 29))
    assert folder.find(HERE, february, ["red"]) == Found(())
    assert folder.find(ELSEWHERE, JANUARY, ["red"]) == Found(())
    # What lies outside the period is not even opened.
    damaged = tmp_path / "20240301_141230_12_24a3_3B_AnalyticMS_SR_8b.tif"
    damaged.write_bytes(b"II*\0 and then nothing")
    assert len(folder.find(HERE, JANUARY, ["red"]).files) == 1


def test_what_cannot_be_used_is_left_out_and_named(tmp_path: Path, write_tif: WriteTif) -> None:
    write_order(tmp_path / "good", write_tif)
    radiance = "20240106_141230_12_24a3"
    write_tif(tmp_path / f"{radiance}_3B_AnalyticMS_8b.tif", COUNTS, **UTM)
    visual = "20240107_141230_12_24a3"
    write_tif(tmp_path / f"{visual}_3B_Visual.tif", COUNTS[:3].astype(np.uint8), **UTM)
    cut_off = "20240108_141230_12_24a3"
    (tmp_path / f"{cut_off}_3B_AnalyticMS_SR_8b.tif").write_bytes(b"II*\0 and then nothing")
    as_float = "20240109_141230_12_24a3"
    write_tif(
        tmp_path / f"{as_float}_3B_AnalyticMS_SR_8b.tif", COUNTS.astype(np.float32) / 1e4, **UTM
    )
    three = "20240110_141230_12_24a3"
    write_tif(tmp_path / f"{three}_3B_AnalyticMS_SR.tif", COUNTS[:3], **UTM)
    mask_cut_off = "20240111_141230_12_24a3"
    write_order(tmp_path, write_tif, mask_cut_off)
    (tmp_path / f"{mask_cut_off}_3B_udm2_clip.tif").write_bytes(b"II*\0")
    no_date = "20241340_141230_12_24a3"
    write_tif(tmp_path / f"{no_date}_3B_AnalyticMS_SR_8b.tif", COUNTS, **UTM)
    write_tif(tmp_path / "composite.tif", COUNTS, **UTM)

    found = open_folder(tmp_path, "planet").find(HERE, JANUARY, ["red"])
    assert [files.scene.id for files in found.files] == [SCENE]
    reasons = {left.scene_id: left.reason for left in found.left_out}
    assert set(reasons) == {
        radiance, visual, cut_off, as_float, three, mask_cut_off, no_date, "composite",
    }  # fmt: skip
    assert "no surface reflectance" in reasons[radiance]
    assert "no surface reflectance" in reasons[visual]
    assert "not a readable image" in reasons[cut_off]
    assert "float32" in reasons[as_float]
    assert "none of its bands has a known name" in reasons[three]
    assert "not a readable image" in reasons[mask_cut_off]
    assert "not a date" in reasons[no_date]
    assert "not of a PlanetScope scene" in reasons["composite"]


def test_a_scale_of_somebody_elses_is_not_overruled(tmp_path: Path, write_tif: WriteTif) -> None:
    name = f"{SCENE}_3B_AnalyticMS_SR_8b.tif"
    write_tif(tmp_path / name, COUNTS, scale=2e-4, offset=0.0, **UTM)
    (left,) = open_folder(tmp_path, "planet").find(HERE, JANUARY, ["red"]).left_out
    assert "scale 0.0002" in left.reason


def test_harmonized_comes_first_and_other_files_of_the_scene_do_no_harm(
    tmp_path: Path, write_tif: WriteTif
) -> None:
    write_order(tmp_path, write_tif)
    harmonized = f"{SCENE}_3B_AnalyticMS_SR_8b_harmonized_clip.tif"
    write_tif(tmp_path / harmonized, COUNTS + 7, nodata=0, **UTM)
    write_tif(tmp_path / f"{SCENE}_3B_AnalyticMS_8b.tif", COUNTS, **UTM)
    write_tif(tmp_path / f"{SCENE}_3B_AnalyticMS_DN_udm.tif", COUNTS[0], **UTM)
    # Not on the map: no place on Earth.
    write_tif(tmp_path / f"{SCENE}_1B_udm2.tif", COUNTS[0].astype(np.uint8), **UTM)
    found = open_folder(tmp_path, "planet").find(HERE, JANUARY, ["red"])
    assert not found.left_out
    (files,) = found.files
    assert Path(files.scene.href).name == harmonized
    assert files.sky is not None
    assert f"{SCENE}_3B_udm2_clip" in str(files.sky)
    np.testing.assert_allclose(
        own_pixels(found, "red")[0], (COUNTS[5] + 7) * np.float32(1e-4), rtol=1e-6
    )


def test_a_band_that_is_lacking_leaves_the_scene_out(tmp_path: Path, write_tif: WriteTif) -> None:
    write_order(tmp_path, write_tif)
    found = open_folder(tmp_path, "planet").find(HERE, JANUARY, ["red", "swir16"])
    assert not found.files
    assert "has no swir16" in found.left_out[0].reason


def test_one_kind_of_satellite_can_be_asked_for(tmp_path: Path, write_tif: WriteTif) -> None:
    write_order(tmp_path, write_tif)
    assert len(open_folder(tmp_path, "planet-8b").find(HERE, JANUARY, []).files) == 1
    (left,) = open_folder(tmp_path, "planet-4b").find(HERE, JANUARY, []).left_out
    assert "is planet-8b, and planet-4b was asked for" in left.reason


def test_a_scene_of_two_orders_counts_once_unless_cut_to_two_places(
    tmp_path: Path, write_tif: WriteTif
) -> None:
    write_order(tmp_path / "first", write_tif)
    write_order(tmp_path / "second", write_tif)
    found = open_folder(tmp_path, "planet").find(HERE, JANUARY, ["red"])
    assert len(found.files) == 1
    assert "the same image as" in found.left_out[0].reason
    beside = {"crs": "EPSG:32721", "transform": Affine(3, 0, 178120, 0, -3, 9446000)}
    name = f"{SCENE}_3B_AnalyticMS_SR_8b_clip.tif"
    write_tif(tmp_path / "second" / name, COUNTS, nodata=0, **beside)
    found = open_folder(tmp_path, "planet").find(HERE, JANUARY, ["red"])
    assert [files.scene.id for files in found.files] == [SCENE, f"{SCENE}-2"]


@pytest.mark.parametrize(
    ("content", "cover"),
    [
        ({"properties": {"cloud_cover": 1, "acquired": "2024-01-05T14:12:30Z"}}, 100),
        ({"properties": {"eo:cloud_cover": 1, "datetime": "2024-01-05T14:12:30Z"}}, 1),
        ({"properties": {"cloud_percent": 12}}, 12),
        ({"properties": {"cloud_cover": 3.5}}, None),
        ({"properties": {"cloud_cover": "much", "acquired": "yesterday"}}, None),
        ([1, 2], None),
    ],
)
def test_metadata_tells_clouds_or_is_passed_over(
    tmp_path: Path, write_tif: WriteTif, content: object, cover: float | None
) -> None:
    write_order(tmp_path, write_tif)
    (tmp_path / f"{SCENE}_metadata.json").write_text(json.dumps(content))
    (files,) = open_folder(tmp_path, "planet").find(HERE, JANUARY, ["red"]).files
    assert files.scene.cloud_cover == cover
    assert files.scene.acquired == dt.date(2024, 1, 5)


def test_damaged_metadata_does_not_cost_the_scene(tmp_path: Path, write_tif: WriteTif) -> None:
    write_order(tmp_path, write_tif)
    (tmp_path / f"{SCENE}_metadata.json").write_bytes(b'{"properties": {\xff')
    assert len(open_folder(tmp_path, "planet").find(HERE, JANUARY, ["red"]).files) == 1


def test_a_folder_without_scenes_says_so(tmp_path: Path, write_tif: WriteTif) -> None:
    write_tif(tmp_path / "other.tif", COUNTS, **UTM)
    with pytest.raises(ConfigError, match="no PlanetScope scene"):
        open_folder(tmp_path, "planet").find(HERE, JANUARY, ["red"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no quad"):
        open_folder(tmp_path / "empty", "nicfi").find(HERE, JANUARY, ["red"])


# Mosaics

QUAD_M = 40075016.685578 / 2048
PIXEL_M = QUAD_M / 32


def quad_at(col: int, row: int) -> dict[str, object]:
    """The grid of quad `col-row` of zoom 15, in 32 pixels across; rows count from the south."""
    left, top = col * QUAD_M - 20037508.342789, (row + 1) * QUAD_M - 20037508.342789
    return {"crs": "EPSG:3857", "transform": Affine(PIXEL_M, 0, left, 0, -PIXEL_M, top)}


MONTHLY = "planet_medres_normalized_analytic_2024-01_mosaic"
QUAD = np.random.default_rng(4).integers(100, 4000, (4, 32, 32), dtype=np.uint16)
# Inside quad 0683-0995, which spans 59.94-59.77 W.
WITHIN = shapely.box(-59.9, -5.0, -59.85, -4.95)


def write_quad(path: Path, write_tif: WriteTif, name: str = "0683-0995", fill: int = 0) -> Path:
    col, row = map(int, name.split("-"))
    alpha = np.full((1, 32, 32), 65535, np.uint16)
    alpha[0, :fill] = 0
    return write_tif(
        path / f"{name}_quad.tif", np.concatenate([QUAD, alpha]), alpha=True, **quad_at(col, row)
    )


def test_quads_of_the_months_mosaic_over_the_area(tmp_path: Path, write_tif: WriteTif) -> None:
    write_quad(tmp_path / MONTHLY, write_tif, fill=3)
    write_quad(tmp_path / MONTHLY, write_tif, "0684-0995")
    write_tif(tmp_path / MONTHLY / "0683-0995_ucm.tif", QUAD[0], **quad_at(683, 995))
    found = open_folder(tmp_path, "nicfi").find(WITHIN, JANUARY, ["red", "nir"])
    assert not found.left_out
    (files,) = found.files
    scene = files.scene
    assert scene.id == f"{MONTHLY}_0683-0995"
    assert scene.sensor == "nicfi"
    assert scene.bands == ("blue", "green", "red", "nir")
    assert scene.acquired == dt.date(2024, 1, 1)
    assert scene.sky_layer is None
    values = own_pixels(found, "blue", "nir")
    assert np.isnan(values[:, :3]).all()
    np.testing.assert_allclose(values[:, 3:], QUAD[[0, 3], 3:] * np.float32(1e-4), rtol=1e-6)


def test_a_quad_whose_alpha_lost_its_tag_is_read_the_same(
    tmp_path: Path, write_tif: WriteTif
) -> None:
    alpha = np.full((1, 32, 32), 65535, np.uint16)
    alpha[0, 5] = 0
    path = tmp_path / MONTHLY / "0683-0995_quad.tif"
    write_tif(path, np.concatenate([QUAD, alpha]), photometric="MINISBLACK", **quad_at(683, 995))
    found = open_folder(tmp_path, "nicfi").find(WITHIN, JANUARY, ["nir"])
    nir = own_pixels(found, "nir")[0]
    assert np.isnan(nir[5]).all()
    np.testing.assert_allclose(nir[6:], QUAD[3, 6:] * np.float32(1e-4), rtol=1e-6)


def test_a_mosaic_belongs_to_each_period_that_it_overlaps(
    tmp_path: Path, write_tif: WriteTif
) -> None:
    biannual = "planet_medres_normalized_analytic_2019-06_2019-11_mosaic"
    write_quad(tmp_path / biannual, write_tif)
    # The folder of one mosaic is as good as the folder around it.
    for folder in (tmp_path, tmp_path / biannual):
        catalogue = open_folder(folder, "nicfi")
        for start, end, count in [
            ((2019, 1, 1), (2019, 5, 31), 0),
            ((2019, 1, 1), (2019, 6, 1), 1),
            ((2019, 8, 3), (2019, 8, 4), 1),
            ((2019, 11, 30), (2020, 3, 1), 1),
            ((2019, 12, 1), (2020, 3, 1), 0),
        ]:
            period = Period(dt.date(*start), dt.date(*end))
            found = catalogue.find(WITHIN, period, ["red"])
            assert len(found.files) == count
            assert {files.scene.acquired for files in found.files} <= {dt.date(2019, 6, 1)}


def test_mosaics_that_are_no_reflectance_are_refused(tmp_path: Path, write_tif: WriteTif) -> None:
    write_quad(tmp_path / "planet_medres_visual_2024-01_mosaic", write_tif)
    write_quad(tmp_path / "global_monthly_2024_01_mosaic", write_tif)
    write_quad(tmp_path / "quads", write_tif)
    bytes_only = tmp_path / MONTHLY / "0683-0995_quad.tif"
    write_tif(bytes_only, QUAD.astype(np.uint8), photometric="MINISBLACK", **quad_at(683, 995))
    found = open_folder(tmp_path, "nicfi").find(WITHIN, JANUARY, ["red"])
    assert not found.files
    reasons = {left.scene_id: left.reason for left in found.left_out}
    assert "no reflectance" in reasons["planet_medres_visual_2024-01_mosaic"]
    assert "does not say" in reasons["global_monthly_2024_01_mosaic"]
    assert "keep the name" in reasons["quads"]
    assert "uint8" in reasons[f"{MONTHLY}_0683-0995"]


@pytest.mark.parametrize(
    ("name", "start", "end"),
    [
        ("planet_medres_normalized_analytic_2024-02_mosaic", (2024, 2, 1), (2024, 2, 29)),
        ("planet_medres_normalized_analytic_2019-12_2020-05_mosaic", (2019, 12, 1), (2020, 5, 31)),
        ("ps_monthly_normalized_analytic_sub_2023_12_mosaic", (2023, 12, 1), (2023, 12, 31)),
        ("global_quarterly_2024q2_mosaic", (2024, 4, 1), (2024, 6, 30)),
        ("ps_weekly_normalized_analytic_2024_01_08_mosaic", (2024, 1, 8), (2024, 1, 14)),
        ("ps_biweekly_normalized_analytic_2024_01_08_mosaic", (2024, 1, 8), (2024, 1, 21)),
    ],
)  # fmt: skip
def test_the_time_of_a_mosaic(name: str, start: tuple[int, ...], end: tuple[int, ...]) -> None:
    assert span_in_name(name) == Period(dt.date(*start), dt.date(*end))


@pytest.mark.parametrize(
    "name", ["0567-1023_quad", "2012-1023_quad", "2024-13_mosaic", "2024_02_31"]
)
def test_other_numbers_are_no_time(name: str) -> None:
    assert span_in_name(name) is None
