"""Labels by the command line: pictures out, what people drew back in, at the same place."""

import json
import shutil
import sqlite3
from xml.etree import ElementTree as ET

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from PIL import Image
from typer.testing import CliRunner

from scenes import (
    SCL_CLOUD,
    Patch,
    forest_with,
    lonlat,
    utm_geobox,
    write_dated_folder,
    write_image,
)
from sluice.app.cli.main import app
from sluice.base.errors import ConfigError, DataError, GridMismatch, SluiceError
from sluice.base.sensors import find_sensor
from sluice.labels.dataset import DatasetAbout, DatasetWriter, read_dataset
from sluice.labels.pictures import PicturePlace
from sluice.labels.polygons import rasterise_polygons, read_polygons

SIDE, CHIP = 150, 64
CLASSES = ("other", "mine", "river")


def run(*words, code=0):
    """Call the command; its output as text."""
    try:
        result = CliRunner().invoke(app, ["labels", *map(str, words)], catch_exceptions=False)
    except SluiceError:
        assert code
        raise
    assert result.exit_code == code, result.output
    return result.output


def refused(error, part, *words):
    with pytest.raises(error, match=part):
        run(*words, code=2)


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """150 x 150 px of forest, a bare patch, and a corner that was not observed."""
    geobox = utm_geobox((SIDE, SIDE))
    bands = forest_with([Patch(70, 20, 30, 40)], geobox.shape.yx)
    for band in bands.values():
        band[120:, 120:] = np.nan
    path = tmp_path_factory.mktemp("image") / "S2B_MSIL2A_20240115T000000_R000_T30NXL.tif"
    write_image(path, bands, geobox)
    return path, geobox


@pytest.fixture(scope="module")
def prepared(image, tmp_path_factory):
    out = tmp_path_factory.mktemp("prepared") / "ghana"
    text = run(
        *("prepare", image[0], "--out", out, "--chip-px", CHIP, "--picture", 192),
        *("--classes", "mine,river", "--quiet"),
    )
    return out, text


def tasks_of(out):
    return json.loads((out / "tasks.json").read_text(encoding="utf-8"))


def test_every_picture_has_its_place_and_all_of_the_image_is_in_them(image, prepared):
    out, text = prepared
    tasks = tasks_of(out)
    # Of 3 x 3 parts that at the lower right is all but unobserved.
    assert "8 pictures (colour and grey NDWI) of 640 m" in text
    assert "1 left out: less than 10% was observed" in text
    assert len(tasks) == 8
    covered = []
    for task in tasks:
        data = task["data"]
        place = PicturePlace.model_validate_json(
            (out / "pictures" / f"{data['picture']}.json").read_bytes()
        )
        assert (place.width, place.height) == (192, 192)
        assert place.transform[0] == pytest.approx(10 / 3)
        for kind, mode in (("colour", "RGB"), ("ndwi", "L")):
            assert data[kind] == f"/data/local-files/?d=ghana/pictures/{data['picture']}-{kind}.png"
            with Image.open(out / "pictures" / data[kind].rpartition("/")[2]) as picture:
                assert (picture.mode, picture.size) == (mode, (192, 192))
        width = place.width
        covered.append(place.to_crs_units(shapely.box(0, 0, width, width), (width, width)))
        assert str(place.start) == str(place.end) == "2024-01-15" == data["start"]
        middle = gpd.GeoSeries([shapely.Point(data["lon"], data["lat"])], crs=4326)
        assert covered[-1].contains(middle.to_crs(place.crs).iloc[0])
    whole = shapely.box(*image[1].boundingbox.bbox)
    last = shapely.box(*image[1][128:, 128:].boundingbox.bbox)
    assert shapely.union_all([*covered, last]).covers(whole)


def test_tones_are_the_same_in_all_pictures(prepared):
    """Forest has one colour everywhere, and the bare patch another."""
    out, _ = prepared

    def mean_of(name, rows, cols):
        with Image.open(out / "pictures" / f"ghana-{name}-colour.png") as picture:
            return np.asarray(picture, float)[rows, cols].mean(axis=(0, 1))

    # Pixels are enlarged three times; the bare patch lies in rows 70-100 and columns 20-60.
    alone = mean_of("00000-00064", slice(10, 180), slice(10, 180))
    beside = mean_of("00064-00000", slice(120, 180), slice(10, 180))
    bare = mean_of("00064-00000", slice(30, 90), slice(70, 170))
    assert np.allclose(alone, beside, atol=1)
    assert bare[0] > alone[0] + 100
    assert bare[0] > bare[2] + 50
    with Image.open(out / "pictures" / "ghana-00064-00000-ndwi.png") as picture:
        assert np.asarray(picture).min() > 0
    with Image.open(out / "pictures" / "ghana-00064-00128-ndwi.png") as picture:
        # The image ends after 22 of 64 pixels.
        assert (np.asarray(picture)[:, 66:] == 0).all()
        assert (np.asarray(picture)[:150, :66] > 0).all()


def test_the_labelling_interface_names_what_tasks_hold(prepared):
    out, _ = prepared
    view = ET.parse(out / "labelling.xml").getroot()  # noqa: S314 - written by ourselves
    shown = {one.get("value") for one in view.iter("Image")}
    assert shown == {"$colour", "$ndwi"}
    assert {name.removeprefix("$") for name in shown} <= set(tasks_of(out)[0]["data"])
    names = [one.get("name") for one in view.iter() if one.get("name")]
    assert len(names) == len(set(names))
    images = {one.get("name") for one in view.iter("Image")}
    assert {one.get("toName") for one in view.iter() if one.get("toName")} == images
    labels = {one.get("value") for one in view.iter("Label")}
    assert labels == {"mine", "river", "ignore"}


def draw(place, shape, label, tool):
    """What a tool exports of a polygon drawn where a shape lies on the ground."""
    a, _, c, _, e, f = place.transform
    points = shapely.get_coordinates(shape)[:-1]
    pixels = np.column_stack([(points[:, 0] - c) / a, (points[:, 1] - f) / e])
    if tool == "labelbox":
        corners = [{"x": round(x, 3), "y": round(y, 3)} for x, y in pixels.tolist()]
        return {"annotation_kind": "ImagePolygon", "name": label, "polygon": corners}
    percent = pixels / [place.width, place.height] * 100
    return {
        "id": f"r{shape.area:.0f}",
        "type": "polygonlabels",
        "to_name": "ndwi",
        "value": {"points": percent.tolist(), "polygonlabels": [label]},
        "original_width": place.width,
        "original_height": place.height,
        "image_rotation": 0,
    }


def truth(geobox):
    """The bare patch, and a river that crosses several pictures, on the ground."""
    a = geobox.affine

    def ground(points):
        return shapely.Polygon([(a.c + x * a.a, a.f + y * a.e) for x, y in points])

    return {
        "mine": ground([(20, 70), (60, 70), (60, 100), (20, 100)]),
        "river": ground([(5, 2), (12, 2), (90, 110), (83, 110)]),
    }


def export_of(out, geobox, path, tool):
    """A made-up export: each picture gets the part of the truth that lies in it."""
    rows = []
    for k, task in enumerate(tasks_of(out)):
        name = task["data"]["picture"]
        place = PicturePlace.model_validate_json((out / "pictures" / f"{name}.json").read_bytes())
        size = (place.width, place.height)
        frame = place.to_crs_units(shapely.box(0, 0, *size), size)
        drawn = [
            draw(place, part, label, tool)
            for label, shape in truth(geobox).items()
            if (part := shape.intersection(frame)).area > 0
        ]
        if tool == "labelbox":
            label = {"annotations": {"objects": drawn, "classifications": []}}
            rows.append(
                {
                    "data_row": {"id": str(k), "global_key": name},
                    "media_attributes": {"width": size[0], "height": size[1]},
                    "projects": {"p": {"name": "mines", "labels": [label]}},
                }
            )
        else:
            rows.append({**task, "id": k, "annotations": [{"result": drawn, "completed_by": 1}]})
    if tool == "labelbox":
        path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    else:
        path.write_text(json.dumps(rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("tool", ["label-studio", "labelbox"])
def test_what_was_drawn_comes_back_where_it_was(image, prepared, tmp_path, tool):
    out, geobox = prepared[0], image[1]
    export = export_of(out, geobox, tmp_path / "export.json", tool)
    text = run("import", tool, export, "--pictures", out, "--out", tmp_path / "labels")
    assert "8 labelled" in text
    labels = pyogrio.read_dataframe(tmp_path / "labels" / "labels.gpkg", layer="labels")
    for name, shape in truth(geobox).items():
        parts = labels[labels["class"] == name].to_crs(str(geobox.crs)).geometry
        back = shapely.union_all(parts.buffer(0.01))
        # Within a pixel of the picture, and by far.
        assert shape.buffer(1).covers(back)
        assert back.buffer(1).covers(shape)
    masks = [
        rasterise_polygons(table, geobox, CLASSES)
        for table in (
            read_polygons(tmp_path / "labels" / "labels.gpkg", layer="labels").table,
            gpd.GeoDataFrame(
                {"class": list(truth(geobox))},
                geometry=list(truth(geobox).values()),
                crs=str(geobox.crs),
            ),
        )
    ]
    both = {1, 2}
    assert set(np.unique(masks[1])) == {0, *both}
    # Where the two overlap the order of rows tells, which the parts of pictures mix.
    assert ((masks[0] > 0) == (masks[1] > 0)).mean() > 0.999
    seen = pyogrio.read_dataframe(tmp_path / "labels" / "labels.gpkg", layer="pictures")
    assert len(seen) == 8
    record = json.loads((tmp_path / "labels" / "import.json").read_text())
    assert record["verdicts"] == {"labelled": 8}
    assert list(record["sources"]) == ["export.json"]


def test_labelbox_gets_rows_with_addresses(image, tmp_path):
    words = ("prepare", image[0], "--for", "labelbox", "--chip-px", 150, "--quiet", "--out")
    refused(ConfigError, "needs --address", *words, tmp_path / "box")
    run(*words, tmp_path / "box", "--address", "https://x.org/p/", "--name", "A b/c")
    row = json.loads((tmp_path / "box" / "data-rows.ndjson").read_text())
    assert row["row_data"] == "https://x.org/p/A-b-c-00000-00000-colour.png"
    assert row["attachments"][0]["value"] == "https://x.org/p/A-b-c-00000-00000-ndwi.png"
    tools = json.loads((tmp_path / "box" / "ontology.json").read_text())["tools"]
    assert [tool["name"] for tool in tools] == ["mine", "ignore"]


def test_an_area_and_images_without_near_infrared(image, tmp_path):
    path, geobox = image
    west, north = lonlat(geobox, 10, 10)
    east, south = lonlat(geobox, 30, 30)
    text = run(
        *("prepare", path, "--out", tmp_path / "a", "--chip-px", 32, "--quiet"),
        *("--area", f"{west},{south},{east},{north}"),
    )
    assert "1 pictures" in text
    rgb = tmp_path / "rgb_S2A_MSIL2A_20240115T000000.tif"
    colours = ("red", "green", "blue")
    write_image(rgb, forest_with([], (64, 64), colours=colours), utm_geobox((64, 64)))
    text = run("prepare", rgb, "--out", tmp_path / "b", "--quiet")
    assert "No NDWI" in text
    assert not list((tmp_path / "b" / "pictures").glob("*ndwi*"))
    assert "$ndwi" not in (tmp_path / "b" / "labelling.xml").read_text()
    refused(
        SluiceError, "band nir is missing", "prepare", rgb, "--colours", "nir,red,green",
        "--out", tmp_path / "c",
    )  # fmt: skip
    assert not (tmp_path / "c").exists()


def test_clouds_are_shown_and_a_picture_of_clouds_alone_is_left_out(tmp_path):
    """Cloud layers call bright pits cloud: people see better."""
    geobox = utm_geobox((64, 128))
    bands = forest_with([Patch(20, 20, 8, 8), Patch(40, 20, 16, 16)], geobox.shape.yx)
    folder = write_dated_folder(tmp_path / "L2A", bands, geobox, date="20240115")
    scl = np.full(geobox.shape.yx, 4, np.uint8)
    scl[20:28, 20:28] = SCL_CLOUD
    scl[:, 64:] = SCL_CLOUD
    with rasterio.open(folder / "T30_20240115_SCL.tif", "r+") as file:
        file.write(scl, 1)
    text = run("prepare", folder, "--out", tmp_path / "p", "--chip-px", 64, "--quiet")
    assert "1 pictures" in text
    assert "1 left out" in text
    with Image.open(next((tmp_path / "p" / "pictures").glob("*colour.png"))) as picture:
        pixels = np.asarray(picture)
    scale = picture.width // 64
    pit = pixels[24 * scale, 24 * scale].astype(int)
    assert pit[0] > pit[2] + 50, "the bare patch is seen through what the layer calls cloud"


def test_requests_that_contradict_themselves(image, prepared, tmp_path):
    path, out = image[0], prepared[0]
    refused(ConfigError, "not empty", "prepare", path, "--out", out)
    refused(
        ConfigError, "three bands", "prepare", path, "--out", tmp_path / "a", "--colours", "red"
    )
    refused(
        ConfigError, "--classes", "prepare", path, "--out", tmp_path / "a", "--classes", "ignore"
    )
    refused(ConfigError, "--for", "prepare", path, "--out", tmp_path / "a", "--for", "paint")
    new = ("--out", tmp_path / "new")
    refused(ConfigError, "format", "import", "paint", path, *new)
    refused(ConfigError, "give --pictures", "import", "label-studio", out / "tasks.json", *new)
    refused(ConfigError, "no meaning for ipis", "import", "ipis", path, "--project", "a", *new)
    refused(ConfigError, "--radius", "import", "polygons", path, "--radius", "5", *new)
    refused(ConfigError, "give one folder", "import", "vitsegh", path, out, *new)
    refused(ConfigError, "given twice", "import", "polygons", path, path, *new)
    refused(ConfigError, "not empty", "import", "polygons", path, "--out", out)
    refused(ConfigError, "no format", "export", "coco", path, *new)
    assert not (tmp_path / "new").exists()


def test_tasks_that_nobody_labelled_and_pictures_of_another_folder(prepared, tmp_path):
    out = prepared[0]
    words = ("import", "label-studio", out / "tasks.json", "--pictures")
    text = run(*words, out, "--out", tmp_path / "none")
    assert "0 polygons (none)" in text
    assert "8 waiting" in text
    other = tmp_path / "other"
    shutil.copytree(out, other)
    for path in sorted((other / "pictures").glob("*.json"))[1:]:
        path.unlink()
    refused(DataError, "is none of the 1", *words, other, "--out", tmp_path / "a")


def test_vector_files_become_one_table(tmp_path):
    box = shapely.box(-1.5, 6.0, -1.4, 6.1)
    gpd.GeoDataFrame({"kind": ["active"], "year": [2020]}, geometry=[box], crs=4326).to_file(
        tmp_path / "a.gpkg"
    )
    gpd.GeoDataFrame({"kind": ["river"], "year": [2021]}, geometry=[box], crs=4326).to_file(
        tmp_path / "b.geojson"
    )
    words = ("--class-column", "kind", "--start-column", "year", "--end-column", "year")
    text = run(
        "import", "polygons", tmp_path / "a.gpkg", tmp_path / "b.geojson", *words,
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert "2 polygons (1 active, 1 river)" in text
    back = read_polygons(tmp_path / "out" / "labels.gpkg").table
    assert back["source"].tolist() == ["a", "b"]
    assert back["end"].dt.year.tolist() == [2020, 2021]
    with sqlite3.connect(tmp_path / "out" / "labels.gpkg") as db:
        assert db.execute("SELECT count(*) FROM labels").fetchone() == (2,)
    db.close()


def test_only_labels_of_an_area_are_taken(tmp_path):
    boxes = [shapely.box(x, 6.0, x + 0.1, 6.1) for x in (-1.5, 10, 20)]
    path = tmp_path / "world.gpkg"
    gpd.GeoDataFrame(geometry=boxes, crs=4326).to_file(path)
    words = ("import", "polygons", path, "--out", tmp_path / "a", "--area")
    text = run(*words, "-2,5,-1,7")
    assert "1 polygons" in text
    assert "2 left out: outside the area" in text
    refused(
        GridMismatch,
        "swap longitude and latitude",
        *words[:-2],
        tmp_path / "b",
        "--area",
        "5,-2,7,-1",
    )


def test_judged_points_are_filtered_as_asked(tmp_path):
    path = tmp_path / "sl.csv"
    rows = "lon,lat,mine_type,confidence,label,proportion_inspected\n"
    rows += "-11.1,8.1,artisanal,5,1,\n-11.2,8.2,,4,0,0.1\n-11.3,8.3,commercial,5,1,1\n"
    path.write_text(rows + "-11.4,8.4,,2,0,1\n")
    words = ("import", "mosaiks", path, "--out")
    text = run(*words, tmp_path / "a", "--radius", 250)
    assert "1 polygons (1 mine)" in text
    assert "1 left out: by filter (low confidence)" in text
    off = ("--min-inspected", 0, "--min-confidence", 0, "--exclude-types", "")
    assert "4 points (2 mine, 2 other)" in run(*words, tmp_path / "b", *off)
    assert "2 points" in run(*words, tmp_path / "c", "--min-inspected", 0.05)
    refused(DataError, "labels import mosaiks", "import", "points", path, "--out", tmp_path / "d")
    refused(
        ConfigError, "only for mosaiks", "import", "points", path, *off[:2], "--out", tmp_path / "d"
    )


def test_points_become_discs_or_stay_points(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("lon,lat,label\n-1.5,6,pit\n-1.6,,kiln\n")
    text = run("import", "points", path, "--out", tmp_path / "a")
    assert "label says 'pit', 'kiln', which was not read" in text
    assert "1 points (1 mine)" in text
    assert "1 left out: without coordinates" in text
    assert "--radius" in text
    out = json.loads(
        run("import", "points", path, "--radius", 200, "--json", "--out", tmp_path / "b")
    )
    assert (out["shape"], out["labels"], len(out["notes"])) == ("polygons", 1, 1)


def test_published_points(shared_data, tmp_path):
    folder = shared_data / "vec-africa-mining-watch" / "data"
    text = run(
        "import", "africa-mining-watch", folder / "detection_points.csv", "--out", tmp_path / "a"
    )
    assert "12874 polygons (12874 mine)" in text
    visits = shared_data / "vec-ipis-drc" / "cod_mines_curated_all_opendata_p_ipis.csv"
    text = run("import", "ipis", visits, "--radius", 150, "--out", tmp_path / "b")
    assert "5071 polygons" in text


def test_chips_go_out_in_the_layout_of_vitsegh_and_come_back(tmp_path):
    bands = tuple(band.common_name for band in find_sensor("s2-l2a").bands)
    writer = DatasetWriter(tmp_path / "own", DatasetAbout(name="own", bands=bands, gsd_m=10))
    mask = np.zeros((24, 24), np.uint8)
    mask[3:9, 3:9] = 1
    image = np.full((len(bands), 24, 24), 0.05, np.float32)
    writer.add("a", image, utm_geobox((24, 24)), mask, split="test")
    writer.add("b", image, utm_geobox((24, 24)), mask * 0, split="train")
    writer.finish()
    text = run("export", "vitsegh", tmp_path / "own", "--out", tmp_path / "theirs")
    assert "2 chips (1 test, 1 train)" in text
    text = run("import", "vitsegh", tmp_path / "theirs", "--out", tmp_path / "back")
    assert "2 chips (1 mine, 1 other)" in text
    assert "told from the darkest pixels" in text
    back = read_dataset(tmp_path / "back")
    assert np.array_equal(back.masks(np.array([0]))[0], mask)
    assert np.allclose(back.images(np.array([0])), 0.05, atol=1e-4)


def test_chips_of_smallminesds(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.integers(100, 3000, (13, 16, 16)).astype(np.float32)
    image[10:12] = rng.uniform(-20, -5, (2, 16, 16))
    for kind, bands in (("IMG", image), ("MASK", np.eye(16, dtype=np.uint8)[None])):
        folder = tmp_path / "s" / "2016" / {"IMG": "IMAGE"}.get(kind, kind)
        folder.mkdir(parents=True)
        profile = {"count": len(bands), "height": 16, "width": 16, "dtype": bands.dtype}
        place = {"crs": "EPSG:32630", "transform": utm_geobox((16, 16)).affine}
        with rasterio.open(
            folder / f"{kind}_0001_2016.tif", "w", driver="GTiff", **profile, **place
        ) as file:
            file.write(bands)
    words = ("import", "smallminesds", tmp_path / "s", "--bands", "red,vv,elevation")
    out = json.loads(run(*words, "--json", "--out", tmp_path / "d"))
    assert (out["labels"], out["classes"], out["shape"]) == (1, {"mine": 1}, "chips")
    assert (tmp_path / "d" / "import.json").is_file()
    found = read_dataset(tmp_path / "d").images(np.array([0]))[0]
    assert np.allclose(found[0], image[2] / 10_000, atol=1e-4)
    assert np.allclose(found[2], image[12], atol=0.13)
    refused(ConfigError, "--radar", *words, "--radar", "counts", "--out", tmp_path / "e")
    refused(DataError, "holds 1; a mask", *words, "--mine-value", 7, "--out", tmp_path / "e")
    assert not (tmp_path / "e").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d", "s"]
