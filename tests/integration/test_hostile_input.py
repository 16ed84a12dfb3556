"""Whatever is wrong with the input, a user gets one line that helps, and no half map."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio.shutil
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.errors import NotGeoreferencedWarning

from scenes import (
    Patch,
    forest_with,
    lonlat,
    utm_geobox,
    write_dated_folder,
    write_image,
    write_toy_model,
)
from sluice.app.products.layout import FAILED_RUN, ORDER, RUN
from sluice.app.products.run_record import read_run
from sluice.base.records import TileStatus

SHAPE = (160, 200)
GEOBOX = utm_geobox(SHAPE)
RED_GREEN = ("red", "green")


@pytest.fixture
def image(tmp_path) -> Path:
    bands = forest_with([Patch(30, 40, 96, 96)], SHAPE, colours=RED_GREEN)
    return write_image(tmp_path / "scene.tif", bands, GEOBOX)


@pytest.fixture
def sluice(sluice, toy_model, monkeypatch):
    """Gives what it said on stderr, or, where it is to succeed, on stdout."""
    monkeypatch.setenv("SLUICE_MODELS", str(toy_model.parent))

    def call(*words: object, code: int = 2) -> str:
        ended, out, err = sluice(*words)
        assert ended == code, err
        if code:
            assert out == ""
            assert err.count("\n") == 1
            assert err.startswith("Error: ")
            assert "Traceback" not in err
            assert "fault in Sluice" not in err
        return err if code else out

    return call


@pytest.fixture
def refused(sluice, tmp_path):
    """`sluice scan` that must fail, and leave nothing that looks whole."""

    def call(*words: object, code: int = 2, out: Path | None = None) -> str:
        out = out or tmp_path / "out"
        model = () if "--model" in words else ("--model", "toy")
        told = sluice("scan", *words, *model, "--out", out, code=code)
        if out.is_dir():
            assert not {path.name for path in out.iterdir()} & set(ORDER)
        return told

    return call


def test_an_image_without_the_bands_of_the_model(refused, tmp_path) -> None:
    path = write_image(
        tmp_path / "a.tif", forest_with([], SHAPE, colours=("blue", "green", "nir")), GEOBOX
    )
    told = refused(path)
    assert "a.tif: band red is missing, needed by model toy; found: blue, green, nir" in told
    assert "--bands" in told


def test_a_folder_without_the_bands_of_the_model(refused, tmp_path) -> None:
    """`--bands` is refused for folders of single-band files: it must not be advised."""
    bands = forest_with([], SHAPE, colours=("blue", "green"))
    folder = write_dated_folder(tmp_path / "a", bands, GEOBOX, date="20240101")
    told = refused(folder)
    assert f"{folder}: band red is missing, needed by model toy; found: blue, green. " in told
    assert "Add the file to the folder, named for example B04.tif" in told
    assert "--bands" not in told
    red = forest_with([], SHAPE, colours=("red",))
    write_image(folder / "B04.tif", red, GEOBOX)
    (folder / "T30_20240101_B03.tif").unlink()
    assert "band green is missing" in refused(folder)  # so B04.tif is found there

    planet = tmp_path / "planet"
    planet.mkdir()
    for name in ("blue", "nir"):
        write_image(planet / f"{name}.tif", forest_with([], SHAPE, colours=(name,)), GEOBOX)
    told = refused(planet, "--sensor", "planet-4b", "--any-level")
    assert "Add the files to the folder, named for example red.tif, green.tif" in told


def test_a_folder_with_one_image_of_several_bands_is_told_of_bands(refused, tmp_path) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    write_image(folder / "scene.tif", forest_with([], SHAPE, colours=("blue", "nir")), GEOBOX)
    assert "Name the bands with --bands" in refused(folder)


def test_an_image_whose_bands_have_no_names(refused, sluice, tmp_path) -> None:
    bands = forest_with([], SHAPE, colours=RED_GREEN)
    path = write_image(tmp_path / "a.tif", bands, GEOBOX, described=False)
    assert "none of its bands has a known name" in refused(path)
    assert "--bands names 1 bands (red) and the file has 2" in refused(path, "--bands", "red")
    assert "purple" in refused(path, "--bands", "red,purple")
    sluice("scan", path, "--bands", "red,green", "--model", "toy", "--out", tmp_path / "o", code=0)


def test_an_image_that_does_not_say_where_it_lies(refused, tmp_path) -> None:
    with pytest.warns(NotGeoreferencedWarning):
        path = write_image(tmp_path / "a.tif", forest_with([], SHAPE, colours=RED_GREEN), None)
    told = refused(path)
    assert "a.tif: has no CRS" in told
    assert "georeference it" in told


def test_an_area_elsewhere(refused, image) -> None:
    told = refused(image, "--area", "10,50,11,51")
    assert "the images do not meet the area" in told
    assert "(10.0000, 50.0000, 11.0000, 51.0000)" in told


@pytest.mark.parametrize(
    ("area", "said"),
    [
        ("6,-2,5,-1", "check the order"),
        ("-2,6,-1", "four numbers"),
        ("nan,6,-1,7", "check the order"),
        ("nowhere.geojson", "no such file"),
    ],
)
def test_an_area_that_is_none(area, said, refused, image) -> None:
    assert said in refused(image, "--area", area)


def test_an_area_file_without_an_area(refused, image, tmp_path) -> None:
    path = tmp_path / "area.geojson"
    path.write_text('{"type": "FeatureCollection", "features": []}')
    assert "area.geojson: holds no geometry" in refused(image, "--area", path)
    point = {"type": "Point", "coordinates": lonlat(GEOBOX, 50, 50)}
    feature = {"type": "Feature", "properties": {}, "geometry": point}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    assert "holds no polygon, found Point" in refused(image, "--area", path)
    path.write_text("not json")
    assert "area.geojson: cannot be read" in refused(image, "--area", path)
    path.write_text("")
    assert "area.geojson: cannot be read" in refused(image, "--area", path)


def test_an_image_of_nothing_but_nodata(refused, tmp_path) -> None:
    nothing = np.full(SHAPE, np.nan, np.float32)
    path = write_image(tmp_path / "a.tif", dict.fromkeys(RED_GREEN, nothing), GEOBOX)
    told = refused(path)
    assert "a.tif: the image is empty" in told
    assert "nodata (0)" in told


def test_an_image_all_cloud(refused, tmp_path) -> None:
    folder = write_dated_folder(
        tmp_path / "a",
        forest_with([], SHAPE, colours=RED_GREEN),
        GEOBOX,
        date="20240101",
        cloud=[Patch(0, 0, *SHAPE)],
    )
    told = refused(folder)
    assert "nothing could be observed in the images" in told
    assert "cloud" in told


def test_an_image_smaller_than_a_window(refused, tmp_path) -> None:
    bands = forest_with([], (30, 30), colours=RED_GREEN)
    path = write_image(tmp_path / "a.tif", bands, utm_geobox((30, 30)))
    assert "smaller than a window" in refused(path)


def test_a_truncated_image(refused, tmp_path) -> None:
    rng = np.random.default_rng(0)
    bands = {name: rng.uniform(0.01, 0.3, (600, 600)) for name in RED_GREEN}
    plain = write_image(tmp_path / "plain.tif", bands, utm_geobox((600, 600)))
    path = tmp_path / "a.tif"
    # A COG's directory stands in front, so that it opens when its end is missing.
    rasterio.shutil.copy(plain, path, driver="COG", blocksize=128)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 9 // 10])
    told = refused(path)
    assert "a.tif: band 1 cannot be read (truncated or damaged" in told
    assert "copy or download the file again" in told
    path.write_bytes(whole[:100])
    told = refused(path)
    assert "a.tif: not a readable image" in told
    assert "cut off or damaged" in told


def test_an_image_that_is_damaged_in_the_middle(refused, sluice, tmp_path) -> None:
    """It shows only once tiles are read: the run has begun, and fails, on record."""
    shape = (1300, 1300)
    rng = np.random.default_rng(0)
    bands = {name: rng.uniform(0.01, 0.3, shape) for name in RED_GREEN}
    path = write_image(
        tmp_path / "a.tif", bands, utm_geobox(shape), compress="deflate", interleave="band"
    )
    whole = path.read_bytes()
    content = bytearray(whole)
    # The second band's blocks are the second half; only the first is looked at beforehand.
    middle = len(content) * 3 // 4
    content[middle : middle + 200_000] = bytes(200_000)
    path.write_bytes(content)
    told = refused(path, code=1)
    assert "of 4 tiles failed, more than the 10% allowed" in told
    assert "a.tif: band 2 cannot be read (truncated or damaged" in told
    assert "run the same command again" in told
    record = read_run(tmp_path / "out" / FAILED_RUN)
    assert record.status == "failed"
    assert " ".join(record.summary["error"].split()) in told
    failed = [tile for tile in record.tiles if tile.status is TileStatus.FAILED]
    assert failed
    assert all("band 2 cannot be read" in tile.reason for tile in failed)

    path.write_bytes(whole)
    sluice("scan", path, "--model", "toy", "--out", tmp_path / "out", code=0)
    assert not (tmp_path / "out" / FAILED_RUN).exists()


def test_a_vrt_in_disguise(refused, image, tmp_path) -> None:
    secret = tmp_path / "vrt.tif"
    secret.write_text(
        '<VRTDataset rasterXSize="9" rasterYSize="9"><VRTRasterBand dataType="UInt16" band="1">'
        f"<SimpleSource><SourceFilename>{image}</SourceFilename><SourceBand>1</SourceBand>"
        "</SimpleSource></VRTRasterBand></VRTDataset>"
    )
    told = refused(secret)
    assert "vrt.tif: is a VRT, a list of links to other images" in told
    assert "give the images that it points to" in told
    assert str(image) not in told
    vector = tmp_path / "area.geojson"
    vector.write_text(
        '<OGRVRTDataSource><OGRVRTLayer name="a"><SrcDataSource>/etc/passwd</SrcDataSource>'
        "</OGRVRTLayer></OGRVRTDataSource>"
    )
    assert "area.geojson: " in refused(image, "--area", vector)


def test_a_folder_with_two_dates(refused, tmp_path) -> None:
    bands = forest_with([], SHAPE, colours=RED_GREEN)
    folder = write_dated_folder(tmp_path / "a", bands, GEOBOX, date="20240101")
    other = write_dated_folder(tmp_path / "b", bands, GEOBOX, date="20240211")
    for path in other.iterdir():
        path.rename(folder / path.name)
    told = refused(folder)
    assert "images of 2 dates are mixed, 2024-01-01" in told
    assert "put each date into a folder of its own" in told


def test_counts_without_a_scale(refused, tmp_path) -> None:
    path = write_image(
        tmp_path / "a.tif", forest_with([], SHAPE, colours=RED_GREEN), GEOBOX, scaled=False
    )
    told = refused(path)
    assert "band red holds uint16 counts" in told
    assert "--scale 0.0001" in told


def test_images_of_different_continents(refused, image, tmp_path) -> None:
    far = utm_geobox(SHAPE, crs="EPSG:32620")
    other = write_image(tmp_path / "b.tif", forest_with([], SHAPE, colours=RED_GREEN), far)
    told = refused(image, other)
    assert "the images lie too far apart for one map" in told
    assert "scan them one by one" in told


def test_an_image_at_the_edge_of_the_world(refused, tmp_path) -> None:
    bands = forest_with([], SHAPE, colours=RED_GREEN)
    fiji = GeoBox(SHAPE, Affine(10, 0, 817_000, 0, -10, 8_000_000), "EPSG:32760")
    pole = GeoBox(SHAPE, Affine(10, 0, 2_000_000, 0, -10, 2_000_000), "EPSG:32661")
    for number, geobox in enumerate((fiji, pole)):
        told = refused(write_image(tmp_path / f"{number}.tif", bands, geobox))
        assert "180 degrees of longitude, or beyond 84 N" in told


def test_an_offset_that_leaves_no_light(refused, tmp_path) -> None:
    bands = forest_with([], SHAPE, colours=RED_GREEN)
    path = write_image(tmp_path / "a.tif", bands, GEOBOX, scaled=False)
    told = refused(path, "--scale", "0.0001", "--offset", "-1000")
    assert "reflectances up to -1e+03 only; correct --scale and --offset" in told


def test_the_same_image_twice_and_none_at_all(refused, image, tmp_path) -> None:
    assert "given twice" in refused(image, image)
    assert "no such file or folder" in refused(tmp_path / "none.tif")


def test_models_that_are_not_there_or_not_whole(refused, image, toy_model, tmp_path) -> None:
    assert "model 'tyo' is not here; found: " in refused(image, "--model", "tyo")
    assert "no such model folder" in refused(image, "--model", tmp_path / "none")
    copy = tmp_path / "toy"
    shutil.copytree(toy_model, copy)
    weights = copy / "weights.onnx"
    weights.write_bytes(weights.read_bytes() + b"\0")
    told = refused(image, "--model", copy)
    assert "weights.onnx: SHA-256 is" in told
    assert "fetch it again" in told
    weights.unlink()
    assert "weights.onnx: cannot be read" in refused(image, "--model", copy)
    (copy / "manifest.json").write_text("{}")
    assert "schema version None" in refused(image, "--model", copy)


def test_a_model_that_compares_periods(refused, image, tmp_path) -> None:
    package = write_toy_model(tmp_path / "models", "change", earlier_period=True)
    told = refused(image, "--model", package.folder)
    assert "compares periods (it needs green@-1)" in told


def test_imagery_that_the_model_was_not_made_for(refused, sluice, image, tmp_path) -> None:
    told = refused(image, "--sensor", "nicfi")
    assert "is nicfi imagery, model toy takes s2-l2a, s2-l1c" in told
    assert "--any-level" in told
    out = tmp_path / "anyway"
    sluice(
        "scan", image, "--sensor", "nicfi", "--any-level", "--model", "toy", "--out", out, code=0
    )
    assert json.loads((out / RUN).read_text())["parameters"]["any_level"] is True


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--prior", "0"), "--prior 0.0: give a value that is greater than 0"),
        (("--prior", "1"), "--prior 1.0: give a value that is less than 1"),
        (("--stride", "0"), "--stride 0.0: give a value"),
        (("--stride", "inf"), "--stride inf: give a value that is a finite number"),
        (("--stride", "500"), "--stride 500: windows of 480 m need a stride from 10 to 480 m"),
        (("--min-area", "-1"), "--min-area -1.0: give a value"),
        (("--cloud-margin", "-1"), "--cloud-margin -1: give a value"),
        (("--workers", "0"), "--workers 0: give a value"),
        (("--scale", "0"), "--scale 0"),
        (("--scale", "nan"), "--scale nan: give a value that is a finite number"),
        (("--engine", "cuda"), "--engine cuda: give a value that is 'auto'"),
        (("--precision", "f16"), "--precision f16: give a value that is 'f32' or 'bf16'"),
        (("--sensor", "s3"), "sensor 's3' is not known; use one of"),
    ],
)
def test_settings_out_of_range(words, said, refused, image) -> None:
    assert said in refused(image, *words)


def test_images_much_coarser_than_the_model(refused, sluice, tmp_path) -> None:
    bands = forest_with([], (60, 60), colours=RED_GREEN)
    far = write_image(tmp_path / "500.tif", bands, utm_geobox((60, 60), pixel_m=500))
    told = refused(far)
    assert "500.tif: its pixels are 500 m wide, 50 times those of 10 m" in told
    assert "model toy finds nothing in them: use finer images" in told
    words = ("composite", far, "--layers", "red", "--out", tmp_path / "composite")
    assert "give --pixel 500, or finer images" in sluice(*words)
    sluice(*words, "--pixel", 500, code=0)

    def said_of(pixel_m: float) -> str:
        path = tmp_path / f"{pixel_m}.tif"
        write_image(path, bands, utm_geobox((60, 60), pixel_m=pixel_m))
        out = tmp_path / f"out-{pixel_m}"
        told = sluice("scan", path, "--model", "toy", "--out", out, code=0)
        assert max(len(line) for line in told.splitlines() if "/" not in line) < 100
        return " ".join(told.split())

    told = "Pixels of the images are 6 times coarser than those that the model was made for"
    assert told in said_of(60)
    assert "times coarser" not in said_of(20)


def test_an_output_that_cannot_be_written(refused, sluice, image, tmp_path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    assert "file: is a file; give --out a folder" in refused(image, out=file)
    told = refused(image, out=file / "deeper")
    assert "cannot be written" in told
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.docx").write_text("mine")
    told = refused(image, out=full)
    assert "holds files that Sluice did not write (thesis.docx, 1 in all)" in told
    assert [path.name for path in full.iterdir()] == ["thesis.docx"]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs /proc, where nobody may write")
def test_a_place_where_nobody_may_write(refused, image) -> None:
    told = refused(image, out=Path("/proc/sluice/out"))
    assert "cannot be written" in told


def test_a_finished_map_is_not_overwritten_unasked(sluice, image, tmp_path) -> None:
    words = ("scan", image, "--model", "toy", "--out", tmp_path / "out")
    sluice(*words, code=0)
    before = (tmp_path / "out" / RUN).read_bytes()
    told = sluice(*words)
    assert "holds a finished output; give --overwrite" in told
    assert (tmp_path / "out" / RUN).read_bytes() == before
    sluice(*words, "--overwrite", code=0)
    assert (tmp_path / "out" / RUN).read_bytes() != before


def test_a_failed_overwrite_leaves_the_old_map(sluice, image, tmp_path) -> None:
    out = tmp_path / "out"
    sluice("scan", image, "--model", "toy", "--out", out, code=0)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    told = sluice(
        "scan", image, "--model", "toy", "--out", out, "--overwrite", "--area", "10,50,11,51"
    )
    assert "do not meet" in told
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_json_is_json_and_nothing_else(sluice, image, tmp_path) -> None:
    said = sluice("scan", image, "--model", "toy", "--out", tmp_path / "out", "--json", code=0)
    summary = json.loads(said)
    assert summary["sites"] == 1
    assert summary["largest"][0]["footprint_ha"] == pytest.approx(96 * 96 / 100, rel=0.15)
    assert json.loads((tmp_path / "out" / RUN).read_text())["summary"] == summary


def test_the_plain_summary_says_what_matters(sluice, image, tmp_path) -> None:
    said = sluice("scan", image, "--model", "toy", "--out", tmp_path / "out", code=0)
    assert "1 likely mine site found" in said
    assert "Not observed" in said
    assert "a lead to verify, not proof" in said
    assert str(tmp_path / "out" / "quicklook.png") in said


def test_a_rotated_or_odd_grid_is_no_fault(sluice, toy_model, tmp_path) -> None:
    rotated = GeoBox(SHAPE, Affine(9.7, 1.0, 600_000, 1.0, -9.7, 700_000), "EPSG:32630")
    path = write_image(tmp_path / "a.tif", forest_with([], SHAPE, colours=RED_GREEN), rotated)
    sluice("scan", path, "--model", "toy", "--out", tmp_path / "out", code=0)
