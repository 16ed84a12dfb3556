"""One scan from images to a map: read this first to understand what Sluice does.

A toy model (`scenes`) marks squares of 480 m that are more than half bare; the images are forest
with bare rectangles in known places. So all that a scan says can be checked by hand.
"""

import json
from pathlib import Path
from types import SimpleNamespace

import geopandas as gpd
import numpy as np
import pystac
import pytest
import rasterio
from odc.geo.geobox import GeoBox
from PIL import Image, ImageDraw
from shapely.geometry import Point, box

from scenes import (
    Patch,
    forest_with,
    lonlat,
    toy_score,
    utm_geobox,
    write_dated_folder,
    write_image,
    write_toy_model,
)
from sluice import __version__
from sluice.app.config import ScanConfig
from sluice.app.products.layout import (
    CLASSES,
    CLASSES_STYLE,
    FAILED_RUN,
    ORDER,
    WORK_FOLDER,
)
from sluice.app.workflows import FinishedScan, scan
from sluice.base.errors import NoValidData
from sluice.base.files import sha256_file
from sluice.base.records import DISCLAIMER

SHAPE = (420, 517)
INNER = Patch(100, 120, 96, 120)
CORNER = Patch(330, 410, 90, 107)  # to the last row and column
SPECK = Patch(30, 400, 36, 36)  # alone, and at most 56 % of a square: left out
GEOBOX = utm_geobox(SHAPE)


def run(model: Path, out: Path, *images: Path, **settings: object) -> FinishedScan:
    return scan(ScanConfig(images=images, out=out, model=str(model), **settings))


def sites_of(finished: FinishedScan) -> gpd.GeoDataFrame:
    return gpd.read_file(finished.paths.sites_gpkg, layer="sites")


def read_map(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def read_header(path: Path) -> SimpleNamespace:
    with rasterio.open(path) as dataset:
        return SimpleNamespace(
            epsg=dataset.crs.to_epsg(),
            nodata=dataset.nodata,
            dtype=dataset.dtypes[0],
            right=dataset.bounds.right,
            tags=dataset.tags(),
        )


def value_at(path: Path, geobox: GeoBox, row: float, col: float) -> float:
    """What a map says at a pixel of the image."""
    with rasterio.open(path) as dataset:
        x = geobox.affine.c + geobox.affine.a * col
        y = geobox.affine.f + geobox.affine.e * row
        return float(next(dataset.sample([(x, y)]))[0])


def holds(sites: gpd.GeoDataFrame, geobox: GeoBox, row: float, col: float) -> bool:
    return bool(sites.contains(Point(lonlat(geobox, row, col))).any())


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("image")
    bands = forest_with([INNER, CORNER, SPECK], SHAPE)
    return write_image(folder / "scene_20240115.tif", bands, GEOBOX)


@pytest.fixture(scope="module")
def finished(image, toy_model, tmp_path_factory) -> FinishedScan:
    return run(toy_model, tmp_path_factory.mktemp("scan") / "out", image)


def test_finds_the_bare_ground_where_it_is(finished) -> None:
    sites = sites_of(finished)
    assert len(sites) == 2
    for patch in (INNER, CORNER):
        found = sites[sites.contains(Point(lonlat(GEOBOX, *patch.centre)))].iloc[0]
        # At a threshold of one half the outline follows straight edges and rounds the corners;
        # a corner at the image's edge has none to round.
        area_ha = patch.height * patch.width / 100
        assert found.footprint_ha == pytest.approx(area_ha, rel=0.15)
        top, left = (
            lonlat(GEOBOX, patch.row, patch.col),
            lonlat(GEOBOX, patch.row + patch.height, patch.col + patch.width),
        )
        patch_outline = box(top[0], left[1], left[0], top[1])
        shared = found.geometry.intersection(patch_outline).area
        assert shared / found.geometry.union(patch_outline).area > 0.8
        assert found.score_peak == pytest.approx(toy_score(1), abs=1e-3)
        assert not found.isolated
        assert patch_outline.contains(Point(found.lon, found.lat))
    assert not holds(sites, GEOBOX, *SPECK.centre)
    assert finished.summary.sites == 2
    assert finished.summary.footprint_ha == pytest.approx(sites.footprint_ha.sum(), abs=0.1)


def test_every_pixel_is_on_the_map_to_the_last_row_and_column(finished) -> None:
    for row in (0.5, SHAPE[0] - 0.5):
        for col in (0.5, SHAPE[1] - 0.5):
            assert np.isfinite(value_at(finished.paths.score, GEOBOX, row, col))
    assert value_at(finished.paths.score, GEOBOX, SHAPE[0] - 0.5, SHAPE[1] - 0.5) > 0.95
    assert finished.summary.not_observed_ha == 0
    assert finished.summary.area_ha == pytest.approx(SHAPE[0] * SHAPE[1] / 100, rel=2e-3)


def test_scores_are_what_the_model_says_of_a_square(finished) -> None:
    # Wholly bare, and wholly forest: blending equal scores changes nothing.
    inside = value_at(finished.paths.score, GEOBOX, *INNER.centre)
    assert inside == pytest.approx(toy_score(1), abs=2e-3)
    forest = value_at(finished.paths.score, GEOBOX, 300, 200)
    assert forest == pytest.approx(toy_score(0), abs=2e-3)


def test_probability_is_the_score_as_evidence_for_the_prior(finished, image, toy_model, tmp_path):
    rare = read_map(finished.paths.probability)
    score = read_map(finished.paths.score)
    # The toy's evidence is a straight line, from -6 at score 0 to 6 at score 1.
    odds = np.exp(12 * score.astype(float) - 6) * 0.001 / 0.999
    np.testing.assert_allclose(rare, odds / (1 + odds), rtol=1e-4)
    common = run(toy_model, tmp_path / "out", image, prior=0.5)
    even = read_map(common.paths.probability)
    np.testing.assert_allclose(even, 1 / (1 + np.exp(6 - 12 * score.astype(float))), rtol=1e-4)
    assert read_header(common.paths.probability).tags["prior"] == "0.5"
    # Scores are the same: the prior is kept apart.
    np.testing.assert_array_equal(read_map(common.paths.score), score)


def test_maps_and_picture_say_that_a_detection_is_a_lead(
    image, toy_model, tmp_path, monkeypatch
) -> None:
    """They go from hand to hand without the tables and without the summary."""
    written = []
    draw_text = ImageDraw.ImageDraw.text

    def noting(self, xy, text, *args, **kwargs):
        written.append(str(text))
        draw_text(self, xy, text, *args, **kwargs)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", noting)
    paths = run(toy_model, tmp_path / "out", image).paths
    for path in (paths.score, paths.probability):
        assert "a lead to verify, not proof" in read_header(path).tags["note"]
        assert "Do not accuse anyone" in read_header(path).tags["note"]
    # Wrapped into lines of the sheet, one after the other.
    assert DISCLAIMER in " ".join(written)
    with Image.open(paths.quicklook) as picture:
        sheet = np.asarray(picture.convert("RGB"))
    # The yellow box at the foot, with dark letters in it.
    rows, cols = np.nonzero((sheet == (255, 243, 205)).all(axis=2))
    assert rows.min() > sheet.shape[0] * 0.7
    note = sheet[rows.min() : rows.max() + 1, cols.min() : cols.max() + 1]
    assert (note.max(axis=2) < 100).sum() > 500


def test_leaves_every_product_and_nothing_else(finished) -> None:
    folder = finished.paths.folder
    assert {p.name for p in folder.iterdir()} == set(ORDER) - {CLASSES, CLASSES_STYLE}
    count = len(sites_of(finished))
    assert len(gpd.read_parquet(finished.paths.sites_parquet)) == count
    assert len(gpd.read_file(finished.paths.sites_geojson)) == count
    assert len(finished.paths.sites_csv.read_text("utf-8").splitlines()) == count + 1
    assert finished.paths.quicklook.read_bytes().startswith(b"\x89PNG")
    for path in (finished.paths.score, finished.paths.probability):
        header = read_header(path)
        assert header.epsg == 32630
        assert np.isnan(header.nodata)
        assert header.dtype == "float32"


def test_the_run_is_evidence(finished, image, toy_model) -> None:
    record = json.loads(finished.paths.run.read_text("utf-8"))
    [scene] = record["scenes"]
    assert scene["sha256"] == sha256_file(image)
    assert (scene["acquired"], scene["scale"]) == ("2024-01-15", 0.0001)
    assert scene["radiometry_from"] == "file tags"
    assert record["model"]["name"] == "toy"
    assert record["model"]["weights_sha256"] == sha256_file(toy_model / "weights.onnx")
    assert record["sluice_version"] == __version__
    assert record["precision"] == "f32"
    assert record["engine"].startswith("onnxruntime ")
    assert record["prior"] == 0.001
    assert record["parameters"]["stride_px"] == 8
    assert record["status"] == "complete"
    assert record["grid"]["shape"] == list(SHAPE)
    assert [tile["status"] for tile in record["tiles"]] == ["done"]
    # Windows begin at 0, 8, 16, … and one more is flush with each far edge.
    per_side = [len({*range(0, size - 47, 8), size - 48}) for size in SHAPE]
    assert record["tiles"][0]["windows"] == record["tiles"][0]["observed"] == np.prod(per_side)
    assert record["summary"] == finished.summary.model_dump(mode="json")
    assert "not proof" in record["disclaimer"]


def test_the_catalogue_reads_back_and_its_checksums_hold(finished) -> None:
    catalogue = pystac.Catalog.from_file(str(finished.paths.catalogue))
    [item] = catalogue.get_items(recursive=True)
    west, south, east, north = item.bbox
    assert Point(lonlat(GEOBOX, *INNER.centre)).within(box(west, south, east, north))
    assert {Path(asset.href).name for asset in item.assets.values()} >= {
        "score.tif", "probability.tif", "sites.gpkg", "run.json", "quicklook.png",
    }  # fmt: skip
    for asset in item.assets.values():
        path = Path(asset.get_absolute_href())
        # A multihash: 0x12 is SHA-256, 0x20 its length.
        assert asset.extra_fields["file:checksum"] == "1220" + sha256_file(path)
        assert asset.extra_fields["file:size"] == path.stat().st_size


def test_the_same_scan_twice_gives_the_same_sites(finished, image, toy_model, tmp_path) -> None:
    again = run(toy_model, tmp_path / "out", image)
    first, second = (json.loads(f.paths.sites_geojson.read_text()) for f in (finished, again))
    for one, other in zip(first["features"], second["features"], strict=True):
        assert one["geometry"] == other["geometry"]
        assert one["properties"]["detection_id"] == other["properties"]["detection_id"]
    np.testing.assert_array_equal(read_map(finished.paths.score), read_map(again.paths.score))


@pytest.mark.parametrize(
    "settings",
    [{"tile_px": 100}, {"workers": 1}, {"workers": 3}, {"workers": 2, "processes": True}],
)
def test_tiles_and_workers_leave_no_trace(settings, finished, image, toy_model, tmp_path) -> None:
    other = run(toy_model, tmp_path / "out", image, **{"tile_px": 300, **settings})
    assert other.summary.tiles > 1
    expected = read_map(finished.paths.score)
    np.testing.assert_allclose(read_map(other.paths.score), expected, rtol=0, atol=1e-5)
    assert list(sites_of(other).detection_id) == list(sites_of(finished).detection_id)


def test_an_area_cuts_the_scan(image, toy_model, tmp_path) -> None:
    west, north = lonlat(GEOBOX, 40, 60)
    east, south = lonlat(GEOBOX, 300, 300)
    finished = run(toy_model, tmp_path / "out", image, area=f"{west},{south},{east},{north}")
    sites = sites_of(finished)
    assert len(sites) == 1
    assert holds(sites, GEOBOX, *INNER.centre)
    assert finished.summary.area_ha == pytest.approx(260 * 240 / 100, rel=0.02)
    # The map reaches a window farther, so that the area's edge is judged like its middle.
    reach = (read_header(finished.paths.score).right - GEOBOX.affine.c) / 10
    assert 300 + 48 <= reach < 300 + 48 + 2 * 8


@pytest.mark.parametrize("area", ["-30,-25,40,30", "-180,-90,180,90"])
def test_an_area_far_larger_than_the_image(area, image, toy_model, finished, tmp_path) -> None:
    wide = run(toy_model, tmp_path / "out", image, area=area)
    np.testing.assert_array_equal(read_map(wide.paths.score), read_map(finished.paths.score))
    assert list(sites_of(wide).detection_id) == list(sites_of(finished).detection_id)
    # What no image shows was not observed.
    assert wide.summary.area_ha > 3e9
    assert 99.99 < wide.summary.not_observed_percent < 100


def test_an_area_of_any_shape_keeps_what_lies_inside(image, toy_model, tmp_path) -> None:
    # Two triangles' worth of image, with the far corner's patch outside.
    corners = [lonlat(GEOBOX, *place) for place in ((0, 0), (0, 517), (420, 0))]
    area = tmp_path / "area.geojson"
    triangle = gpd.GeoDataFrame(geometry=gpd.GeoSeries.from_wkt(
        [f"POLYGON(({', '.join(f'{x} {y}' for x, y in [*corners, corners[0]])}))"]
    ), crs="EPSG:4326")  # fmt: skip
    triangle.to_file(area)
    finished = run(toy_model, tmp_path / "out", image, area=str(area))
    sites = sites_of(finished)
    assert len(sites) == 1
    assert holds(sites, GEOBOX, *INNER.centre)
    assert finished.summary.area_ha == pytest.approx(SHAPE[0] * SHAPE[1] / 200, rel=0.02)


def test_what_one_date_hides_another_shows(toy_model, tmp_path) -> None:
    """Two dates that overlap; over one patch clouds stand in one date, over the other in both."""
    shape = (300, 400)
    seen, hidden = Patch(40, 60, 80, 80), Patch(180, 280, 80, 80)
    bands = forest_with([seen, hidden], shape)
    around_seen, around_hidden = Patch(20, 40, 120, 120), Patch(150, 250, 140, 150)
    geobox = utm_geobox(shape)
    first = write_dated_folder(
        tmp_path / "a", bands, geobox, date="20240105", cloud=[around_seen, around_hidden]
    )
    second = write_dated_folder(
        tmp_path / "b", bands, geobox, date="20240206", cloud=[around_hidden]
    )
    finished = run(toy_model, tmp_path / "out", second, first)
    sites = sites_of(finished)
    assert holds(sites, geobox, *seen.centre)
    # Neither a site nor clean: nobody saw it.
    assert not holds(sites, geobox, *hidden.centre)
    assert np.isnan(value_at(finished.paths.score, geobox, *hidden.centre))
    assert np.isnan(value_at(finished.paths.probability, geobox, *hidden.centre))
    # The cloud's own area, in whole cells.
    assert finished.summary.not_observed_ha == pytest.approx(210, rel=0.1)
    assert (finished.summary.first_date.month, finished.summary.last_date.month) == (1, 2)
    record = json.loads(finished.paths.run.read_text())
    assert [scene["sky_layer"] for scene in record["scenes"]] == ["scl", "scl"]
    assert [scene["acquired"] for scene in record["scenes"]] == ["2024-01-05", "2024-02-06"]

    alone = run(toy_model, tmp_path / "alone", first)
    assert sites_of(alone).empty
    assert np.isnan(value_at(alone.paths.score, geobox, *seen.centre))


def test_images_side_by_side_are_one_map(toy_model, tmp_path) -> None:
    """A patch across the border of two images is one site."""
    patch, shape = Patch(100, 200, 96, 120), (300, 500)
    bands = forest_with([patch], shape)
    halves = []
    for name, cols in (("west", slice(0, 270)), ("east", slice(250, 500))):
        part = {colour: band[:, cols] for colour, band in bands.items()}
        place = utm_geobox((300, cols.stop - cols.start), left=600_000 + 10 * cols.start)
        halves.append(write_image(tmp_path / f"{name}.tif", part, place))
    finished = run(toy_model, tmp_path / "out", *halves)
    [footprint] = sites_of(finished).footprint_ha
    assert footprint == pytest.approx(96 * 120 / 100, rel=0.15)
    whole = run(
        toy_model, tmp_path / "w", write_image(tmp_path / "w.tif", bands, utm_geobox(shape))
    )
    np.testing.assert_allclose(
        read_map(finished.paths.score), read_map(whole.paths.score), rtol=0, atol=1e-5
    )


def test_an_image_in_degrees(toy_model, tmp_path) -> None:
    degree = 9e-5  # about 10 m
    geobox = GeoBox(SHAPE, rasterio.Affine(degree, 0, -1.8, 0, -degree, 6.3), "EPSG:4326")
    image = write_image(tmp_path / "scene.tif", forest_with([INNER], SHAPE), geobox)
    finished = run(toy_model, tmp_path / "out", image)
    [site] = sites_of(finished).itertuples()
    lon, lat = -1.8 + degree * INNER.centre[1], 6.3 - degree * INNER.centre[0]
    assert site.geometry.contains(Point(lon, lat))
    # At 6.3 degrees north: 9e-5 degrees are 9.96 m of longitude and 9.95 m of latitude.
    assert site.footprint_ha == pytest.approx(96 * 120 * 9.96 * 9.95 / 1e4, rel=0.15)
    assert read_header(finished.paths.score).epsg == 32630


def test_nothing_seen_is_said_and_not_mapped(toy_model, tmp_path) -> None:
    geobox = utm_geobox((200, 200))
    folder = write_dated_folder(
        tmp_path / "a",
        forest_with([], (200, 200)),
        geobox,
        date="20240105",
        cloud=[Patch(0, 0, 200, 200)],
    )
    with pytest.raises(NoValidData, match="nothing could be observed"):
        run(toy_model, tmp_path / "out", folder)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {WORK_FOLDER, FAILED_RUN}


def test_one_damaged_block_costs_its_tiles_and_no_more(toy_model, tmp_path) -> None:
    shape = (900, 900)
    geobox = utm_geobox(shape)
    rng = np.random.default_rng(0)
    bands = {name: rng.uniform(0.01, 0.3, shape) for name in ("red", "green")}
    path = write_image(
        tmp_path / "a.tif", bands, geobox, compress="deflate", blockxsize=64, blockysize=64
    )
    with rasterio.open(path) as source:
        # Not among the blocks that are looked at before a scan begins.
        start = int(source.get_tag_item("BLOCK_OFFSET_4_4", "TIFF", bidx=1))
    content = bytearray(path.read_bytes())
    content[start : start + 2000] = bytes(2000)
    path.write_bytes(content)
    finished = run(toy_model, tmp_path / "out", path, tile_px=128)
    summary = finished.summary
    assert 0 < summary.tiles_failed < 0.1 * summary.tiles
    assert 0 < summary.not_observed_percent < 10
    assert finished.paths.quicklook.exists()


def test_models_are_found_by_name(image, tmp_path, monkeypatch) -> None:
    write_toy_model(tmp_path / "models", "my-toy")
    monkeypatch.setenv("SLUICE_MODELS", str(tmp_path / "models"))
    finished = scan(ScanConfig(images=(image,), out=tmp_path / "out", model="my-toy"))
    assert finished.summary.model == "my-toy"
