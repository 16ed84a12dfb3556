"""Images from disk: what they hold, and what their counts mean."""

import datetime as dt
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from scenes import as_stored
from sluice.base.errors import (
    BandNotFound,
    ConfigError,
    GridMismatch,
    NoValidData,
    SluiceError,
)
from sluice.base.files import sha256_file
from sluice.base.protocols import ImagerySource
from sluice.imagery.local import open_local
from sluice.imagery.scenes import SceneImages

WriteTif = Callable[..., Path]

COUNTS = np.random.default_rng(1).integers(1, 4000, (3, 40, 50), dtype=np.uint16)


def read_own(images: SceneImages, *bands: str) -> np.ndarray:
    (scene,) = images.scenes
    return images.read(scene, bands, images.source_grids(scene)[0]).data_bhw


# Bands


def test_bands_are_found_by_description_whatever_the_order(
    tmp_path: Path, write_tif: WriteTif
) -> None:
    path = write_tif(tmp_path / "a.tif", COUNTS, descriptions=["Red", "NDVI", "B2"])
    images = open_local([path], scale=1e-4, offset=0.0)
    assert isinstance(images, ImagerySource)
    assert images.scenes[0].bands == ("red", "blue")
    found = read_own(images, "blue", "red")
    np.testing.assert_allclose(found, COUNTS[[2, 0]] * 1e-4, rtol=1e-6)


def test_stated_bands_name_a_file_without_descriptions(tmp_path: Path, write_tif: WriteTif) -> None:
    path = write_tif(tmp_path / "a.tif", COUNTS)
    images = open_local([path], bands=["nir", "-", "B04"], scale=1e-4, offset=0.0)
    assert images.scenes[0].bands == ("nir", "red")
    np.testing.assert_allclose(read_own(images, "red")[0], COUNTS[2] * 1e-4, rtol=1e-6)


def test_bands_are_never_taken_by_position(tmp_path: Path, write_tif: WriteTif) -> None:
    path = write_tif(tmp_path / "a.tif", COUNTS)
    with pytest.raises(BandNotFound, match=r"--bands blue,green,red"):
        open_local([path], scale=1e-4, offset=0.0)


def test_the_stated_sensors_order_holds_if_the_number_of_bands_agrees(
    tmp_path: Path, write_tif: WriteTif
) -> None:
    four = write_tif(tmp_path / "four.tif", COUNTS[[0, 1, 2, 0]])
    images = open_local([four], sensor="nicfi", scale=1e-4, offset=0.0)
    assert images.scenes[0].bands == ("blue", "green", "red", "nir")
    assert images.scenes[0].sensor == "nicfi"
    three = write_tif(tmp_path / "three.tif", COUNTS)
    with pytest.raises(BandNotFound):
        open_local([three], sensor="nicfi", scale=1e-4, offset=0.0)


@pytest.mark.parametrize(
    ("bands", "says"),
    [
        (["red", "green"], "names 2 bands .*has 3"),
        (["red", "green", "infrablue"], "'infrablue' is not a band"),
        (["red", "green", "B04"], "red is there twice"),
    ],
)
def test_stated_bands_that_do_not_fit(
    tmp_path: Path, write_tif: WriteTif, bands: list[str], says: str
) -> None:
    path = write_tif(tmp_path / "a.tif", COUNTS)
    with pytest.raises(ConfigError, match=says):
        open_local([path], bands=bands, scale=1e-4, offset=0.0)


def test_a_missing_band_names_both_sides(tmp_path: Path, write_tif: WriteTif) -> None:
    images = open_local(
        [write_tif(tmp_path / "a.tif", COUNTS, descriptions=["red", "green", "blue"])],
        scale=1e-4,
        offset=0.0,
    )
    with pytest.raises(BandNotFound, match=r"nir, vv is missing.*found: red, green, blue"):
        read_own(images, "red", "nir", "vv")


def test_alpha_is_a_mask_and_not_a_band(tmp_path: Path, write_tif: WriteTif) -> None:
    alpha = np.full((1, 40, 50), 255, dtype=np.uint16)
    alpha[0, :5] = 0
    path = write_tif(tmp_path / "a.tif", np.concatenate([COUNTS, alpha]), alpha=True)
    images = open_local([path], bands=["red", "green", "blue"], scale=1e-4, offset=0.0)
    found = read_own(images, "green")[0]
    assert np.isnan(found[:5]).all()
    np.testing.assert_allclose(found[5:], COUNTS[1, 5:] * 1e-4, rtol=1e-6)


def test_a_mask_inside_the_file_is_respected(tmp_path: Path, write_tif: WriteTif) -> None:
    path = write_tif(tmp_path / "a.tif", COUNTS, descriptions=["red", "green", "blue"])
    mask = np.full((40, 50), 255, dtype=np.uint8)
    mask[:, 7] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(mask)
    found = read_own(open_local([path], scale=1e-4, offset=0.0), "red")[0]
    np.testing.assert_array_equal(np.isnan(found), mask == 0)


# Folders


def test_a_folder_takes_the_finest_of_each_band_and_warps_the_others(
    tmp_path: Path, write_tif: WriteTif
) -> None:
    folder = tmp_path / "S2A_MSIL2A_20240101T103421_N0510_R108_T30NXM"
    coarse = Affine(20, 0, 600000, 0, -20, 700000)
    write_tif(folder / "T30NXM_20240101T103421_B04_20m.tif", COUNTS[0, :20, :25], transform=coarse)
    write_tif(folder / "T30NXM_20240101T103421_B04_10m.tif", COUNTS[1])
    flat = np.full((20, 25), 2000, dtype=np.uint16)
    write_tif(folder / "T30NXM_20240101T103421_B11_20m.tif", flat, transform=coarse)
    images = open_local([folder], scale=1e-4, offset=-0.1)
    (scene,) = images.scenes
    assert scene.bands == ("red", "swir16")
    assert (scene.sensor, scene.processing_baseline) == ("s2-l2a", "05.10")
    assert scene.acquired == dt.date(2024, 1, 1)
    found = read_own(images, "red", "swir16")
    np.testing.assert_allclose(found[0], COUNTS[1] * 1e-4 - 0.1, atol=1e-6)
    np.testing.assert_allclose(found[1], 0.1, atol=1e-6)


def test_planets_folder_of_one_image_and_its_mask(tmp_path: Path, write_tif: WriteTif) -> None:
    folder = tmp_path / "order"
    stem = "20240101_103421_12_2414_3B"
    write_tif(
        folder / f"{stem}_AnalyticMS_SR.tif",
        COUNTS[[0, 1, 2, 0]],
        descriptions=["blue", "green", "red", "nir"],
        scale=1e-4,
        offset=0.0,
    )
    usable = np.zeros((8, 40, 50), dtype=np.uint8)
    usable[0, :20] = 1
    usable[1:] = 7
    write_tif(folder / f"{stem}_udm2.tif", usable, nodata=0)
    images = open_local([folder])
    (scene,) = images.scenes
    assert (scene.sensor, scene.sky_layer) == ("planet-4b", "udm2")
    assert scene.acquired == dt.date(2024, 1, 1)
    sky = images.read_sky(scene, images.source_grids(scene)[0], as_stored)
    np.testing.assert_array_equal(sky, usable[0])


def test_two_dates_in_a_folder_are_refused_by_name(tmp_path: Path, write_tif: WriteTif) -> None:
    write_tif(tmp_path / "T30NXM_20240101T103421_B04_10m.tif", COUNTS[0])
    write_tif(tmp_path / "T30NXM_20240111T103421_B03_10m.tif", COUNTS[1])
    with pytest.raises(ConfigError, match=r"2024-01-01 .*2024-01-11 "):
        open_local([tmp_path], scale=1e-4, offset=0.0)


def test_a_cloud_layer_of_another_date_is_refused(tmp_path: Path, write_tif: WriteTif) -> None:
    write_tif(tmp_path / "T30NXM_20240101T103421_B04_10m.tif", COUNTS[0])
    write_tif(tmp_path / "T30NXM_20240111T103421_SCL_20m.tif", COUNTS[1])
    with pytest.raises(ConfigError, match=r"2024-01-01 .*2024-01-11 "):
        open_local([tmp_path], scale=1e-4, offset=0.0)


@pytest.mark.parametrize(
    ("files", "error", "says"),
    [
        (["B04.tif", "red.tif"], ConfigError, "red is there twice"),
        (["notes.tif", "dem.tif"], BandNotFound, "no file is named after a band; found: dem.tif"),
        ([], BandNotFound, "no .tif or .jp2 files"),
        (["LC08_20200101_B4.tif"], ConfigError, "Landsat"),
    ],
)
def test_folders_that_cannot_be_understood(
    tmp_path: Path, write_tif: WriteTif, files: list[str], error: type[SluiceError], says: str
) -> None:
    for name in files:
        write_tif(tmp_path / name, COUNTS[0])
    with pytest.raises(error, match=says):
        open_local([tmp_path], scale=1e-4, offset=0.0)


def test_several_crs_in_a_folder_are_refused(tmp_path: Path, write_tif: WriteTif) -> None:
    write_tif(tmp_path / "B04.tif", COUNTS[0])
    write_tif(tmp_path / "B03.tif", COUNTS[0], crs="EPSG:32631")
    with pytest.raises(GridMismatch, match="EPSG:32630, EPSG:32631"):
        open_local([tmp_path], scale=1e-4, offset=0.0)


# Cloud layers


def sky_of(folder: Path) -> str | None:
    return open_local([folder], scale=1e-4, offset=0.0).scenes[0].sky_layer


def test_the_best_cloud_layer_is_preferred(tmp_path: Path, write_tif: WriteTif) -> None:
    classes = np.full((40, 50), 4, dtype=np.uint8)
    write_tif(tmp_path / "B04.tif", COUNTS[0])
    assert sky_of(tmp_path) is None
    for name in ("QA60", "CLD", "CLP", "SCL"):
        write_tif(tmp_path / f"{name}.tif", classes)
        assert sky_of(tmp_path) == name.lower()


@pytest.mark.parametrize(
    ("date", "value", "layer"),
    [
        ("20210101_", 0, None),
        ("20210101_", 1024, "qa60"),
        ("20230101_", 1024, None),
        ("20250101_", 1024, "qa60"),
        ("", 0, None),
        ("", 1024, "qa60"),
    ],
)
def test_an_empty_qa60_is_no_clear_sky(
    tmp_path: Path, write_tif: WriteTif, date: str, value: int, layer: str | None
) -> None:
    qa60 = np.zeros((40, 50), dtype=np.uint16)
    qa60[-1, -1] = value
    write_tif(tmp_path / f"{date}B04.tif", COUNTS[0])
    write_tif(tmp_path / f"{date}QA60.tif", qa60)
    assert sky_of(tmp_path) == layer


def test_zero_in_a_cloud_layer_is_read_though_tagged_as_nodata(
    tmp_path: Path, write_tif: WriteTif
) -> None:
    write_tif(tmp_path / "B04.tif", COUNTS[0])
    write_tif(tmp_path / "CLD.tif", np.zeros((40, 50), dtype=np.uint8), nodata=0)
    images = open_local([tmp_path], scale=1e-4, offset=0.0)
    (scene,) = images.scenes
    sky = images.read_sky(scene, images.source_grids(scene)[0], as_stored)
    assert sky is not None
    assert not sky.any()


# Radiometry


def test_flags_come_before_tags_and_say_so(tmp_path: Path, write_tif: WriteTif) -> None:
    path = write_tif(
        tmp_path / "a.tif", COUNTS, descriptions=["red", "green", "blue"], scale=1e-4, offset=-0.1
    )
    tagged = open_local([path])
    assert tagged.scenes[0].radiometry_from == "file tags"
    assert (tagged.scenes[0].scale, tagged.scenes[0].offset) == (1e-4, -0.1)
    np.testing.assert_allclose(read_own(tagged, "red")[0], COUNTS[0] * 1e-4 - 0.1, atol=1e-6)
    flagged = open_local([path], scale=2e-4)
    assert flagged.scenes[0].radiometry_from == "file tags, scale by flag"
    np.testing.assert_allclose(read_own(flagged, "red")[0], COUNTS[0] * 2e-4 - 0.1, atol=1e-6)
    both = open_local([path], scale=2e-4, offset=0)
    assert both.scenes[0].radiometry_from == "flags"
    np.testing.assert_allclose(read_own(both, "red")[0], COUNTS[0] * 2e-4, atol=1e-6)
    mended = open_local([path], offset=0)
    assert mended.scenes[0].radiometry_from == "file tags, offset by flag"
    np.testing.assert_allclose(read_own(mended, "red")[0], COUNTS[0] * 1e-4, atol=1e-6)


def test_counts_without_a_scale_are_refused(tmp_path: Path, write_tif: WriteTif) -> None:
    names = ["red", "green", "blue"]
    for name, array in {"i.tif": COUNTS, "f.tif": COUNTS.astype(np.float32)}.items():
        path = write_tif(tmp_path / name, array, descriptions=names)
        with pytest.raises(ConfigError, match=r"--scale 0.0001 --offset 0 .*--offset -0.1"):
            open_local([path])


def test_a_scale_without_an_offset_is_half_a_statement(tmp_path: Path, write_tif: WriteTif) -> None:
    path = write_tif(tmp_path / "a.tif", COUNTS, descriptions=["red", "green", "blue"])
    with pytest.raises(ConfigError, match=r"--scale 0.0001 needs --offset.*--offset -0.1"):
        open_local([path], scale=1e-4)


def test_floats_that_are_reflectance_are_taken_as_they_are(
    tmp_path: Path, write_tif: WriteTif
) -> None:
    array = COUNTS.astype(np.float32) / 10000
    array[0, 0, 0] = 3.5  # one glint does not make counts of it
    path = write_tif(tmp_path / "a.tif", array, descriptions=["red", "green", "blue"])
    images = open_local([path])
    assert images.scenes[0].radiometry_from == "reflectance, as stored"
    np.testing.assert_array_equal(read_own(images, "red")[0], array[0])


def test_backscatter_needs_no_scale_but_must_be_decibel(
    tmp_path: Path, write_tif: WriteTif
) -> None:
    decibel = np.random.default_rng(2).normal(-12, 4, (2, 40, 50)).astype(np.float32)
    images = open_local([write_tif(tmp_path / "db.tif", decibel, descriptions=["VV", "VH"])])
    assert images.scenes[0].sensor == "s1"
    np.testing.assert_array_equal(read_own(images, "vv", "vh"), decibel)
    linear = write_tif(tmp_path / "lin.tif", 10 ** (decibel / 10), descriptions=["VV", "VH"])
    with pytest.raises(ConfigError, match="not backscatter in dB"):
        open_local([linear])


def test_reflectance_flags_leave_backscatter_alone(tmp_path: Path, write_tif: WriteTif) -> None:
    mixed = np.stack([COUNTS[0].astype(np.float32), np.full((40, 50), -11, dtype=np.float32)])
    images = open_local(
        [write_tif(tmp_path / "a.tif", mixed, descriptions=["red", "VV"])], scale=1e-4, offset=0.0
    )
    found = read_own(images, "red", "vv")
    np.testing.assert_allclose(found[0], COUNTS[0] * 1e-4, rtol=1e-6)
    np.testing.assert_array_equal(found[1], -11)


def test_nodata_of_the_flag_replaces_the_files(tmp_path: Path, write_tif: WriteTif) -> None:
    counts = np.where(COUNTS[0] < 400, 0, COUNTS[0]).astype(np.uint16)
    counts[:3] = 65535
    path = write_tif(tmp_path / "a.tif", counts, nodata=0, descriptions=["red"])
    tagged = read_own(open_local([path], scale=1e-4, offset=0.0), "red")[0]
    np.testing.assert_array_equal(np.isnan(tagged), counts == 0)
    flagged = read_own(open_local([path], scale=1e-4, offset=0.0, nodata=65535), "red")[0]
    np.testing.assert_array_equal(np.isnan(flagged), counts == 65535)
    impossible = read_own(open_local([path], scale=1e-4, offset=0.0, nodata=-9999), "red")[0]
    assert np.isfinite(impossible).all()


@pytest.mark.parametrize("nodata", [0.0, None])
def test_an_empty_image_is_refused(
    tmp_path: Path, write_tif: WriteTif, nodata: float | None
) -> None:
    empty = np.full((40, 50), 0 if nodata == 0 else np.nan, dtype=np.float32)
    path = write_tif(tmp_path / "a.tif", empty, nodata=nodata, descriptions=["red"])
    with pytest.raises(NoValidData, match="the image is empty: band red"):
        open_local([path])


# The source as a whole


def test_scenes_are_oldest_first_and_have_names_of_their_own(
    tmp_path: Path, write_tif: WriteTif
) -> None:
    for place in ("a_20240301", "b_20230301", "c"):
        write_tif(tmp_path / place / "R10m" / "B04.tif", COUNTS[0])
    write_tif(tmp_path / "x_20220301.tif", COUNTS[0], descriptions=["red"])
    write_tif(tmp_path / "d" / "x_20220301.tif", COUNTS[1], descriptions=["red"])
    images = open_local(
        [
            *(tmp_path / place for place in ("c", "a_20240301", "b_20230301")),
            tmp_path / "x_20220301.tif",
            tmp_path / "d" / "x_20220301.tif",
        ],
        scale=1e-4,
        offset=0.0,
    )
    assert [scene.id for scene in images.scenes] == [
        "x_20220301",
        "x_20220301-2",
        "b_20230301",
        "a_20240301",
        "c",
    ]
    second = images.scenes[1]
    found = images.read(second, ["red"], images.source_grids(second)[0]).data_bhw[0]
    np.testing.assert_allclose(found, COUNTS[1] * 1e-4, rtol=1e-6)


def test_images_pickle_after_they_were_read(tmp_path: Path, write_tif: WriteTif) -> None:
    path = write_tif(tmp_path / "a.tif", COUNTS, descriptions=["red", "green", "blue"])
    images = open_local([path], scale=1e-4, offset=0.0)
    before = read_own(images, "green")
    copy = pickle.loads(pickle.dumps(images))  # noqa: S301 -- our own bytes
    assert copy == images
    np.testing.assert_array_equal(read_own(copy, "green"), before)


def test_the_fingerprint_changes_with_any_used_file(tmp_path: Path, write_tif: WriteTif) -> None:
    folder = tmp_path / "scene"
    write_tif(folder / "B04.tif", COUNTS[0])
    write_tif(folder / "SCL.tif", np.full((40, 50), 4, dtype=np.uint8))
    scene = open_local([folder], scale=1e-4, offset=0.0).scenes[0]
    assert scene.files == {name: sha256_file(folder / name) for name in ("B04.tif", "SCL.tif")}
    first = scene.sha256
    write_tif(folder / "unrelated.tif", COUNTS[1])
    assert open_local([folder], scale=1e-4, offset=0.0).scenes[0].sha256 == first
    write_tif(folder / "SCL.tif", np.full((40, 50), 5, dtype=np.uint8))
    assert open_local([folder], scale=1e-4, offset=0.0).scenes[0].sha256 != first
    single = folder / "B04.tif"
    assert open_local([single], scale=1e-4, offset=0.0).scenes[0].sha256 == sha256_file(single)
