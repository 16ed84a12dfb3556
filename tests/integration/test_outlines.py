"""Workings within the sites of a scan: known rectangles, found pixel by pixel."""

import contextlib
import hashlib
import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import onnx.parser
import pyogrio
import pytest

from scenes import PIXELS, Patch, forest_with, utm_geobox, write_dated_folder, write_image
from sluice.app import outlining
from sluice.app.config import ScanConfig
from sluice.app.following.landing_runs import land_folder
from sluice.app.following.stores import open_store
from sluice.app.workflows import FinishedScan, scan
from sluice.base.errors import BandNotFound, ConfigError
from sluice.base.store import SiteQuery
from sluice.models.manifest import Manifest, ScaledInput, Weights
from sluice.models.package import ModelPackage, write_package

SHAPE = (420, 517)
GEOBOX = utm_geobox(SHAPE)
# Squares of 48 px are marked where they are more than half bare.
LARGE = Patch(100, 120, 96, 120)
TWO = (Patch(300, 60, 66, 70), Patch(290, 400, 60, 64))


def write_pixel_model(folder: Path, band: str = "red", **fields: object) -> ModelPackage:
    """Bare is where a band exceeds 0.15, in patches of 64 px."""
    graph = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[n, 1, y, x] image) => (float[n, 2, y, x] p)
    <float[1] at = {0.15}, float[1] rise = {100}, float[1] one = {1}>
    { above = Sub (image, at) logit = Mul (above, rise) bare = Sigmoid (logit)
      other = Sub (one, bare) p = Concat <axis = 1> (other, bare) }"""
    weights = onnx.parser.parse_model(graph).SerializeToString()
    values = PIXELS | {
        "name": "pixels",
        "inputs": (ScaledInput(band=band),),
        "classes": ("other", "bare"),
        "weights": Weights(sha256=hashlib.sha256(weights).hexdigest()),
    }
    return write_package(folder / "pixels", Manifest(**(values | fields)), weights, "")


@pytest.fixture(scope="module")
def pixels(tmp_path_factory) -> Path:
    return write_pixel_model(tmp_path_factory.mktemp("models")).folder


@pytest.fixture
def models(toy_model, pixels) -> tuple[Path, Path]:
    """One that finds sites, and one that outlines them."""
    return toy_model, pixels


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    bands = forest_with((LARGE, *TWO), SHAPE)
    return write_image(tmp_path_factory.mktemp("image") / "scene.tif", bands, GEOBOX)


def run(model: Path, out: Path, image: Path, **settings: object) -> FinishedScan:
    return scan(ScanConfig(images=(image,), out=out, model=str(model), **settings))


def layer(finished: FinishedScan, name: str) -> gpd.GeoDataFrame:
    return gpd.read_file(finished.paths.sites_gpkg, layer=name)


def area_ha(patch: Patch) -> float:
    return patch.height * patch.width / 100


@pytest.mark.parametrize("block", [4096, 100])
def test_sites_get_the_area_and_the_outline_of_their_workings(
    models, image, tmp_path, monkeypatch, block
):
    toy_model, pixels = models
    monkeypatch.setattr(outlining, "_BLOCK_PX", block)
    finished = run(toy_model, tmp_path / "out", image, outlines=str(pixels))
    sites, workings = layer(finished, "sites"), layer(finished, "workings")
    assert len(sites) == len(workings) == 3
    expected = sorted(map(area_ha, (LARGE, *TWO)))
    assert sorted(sites.delineated_ha) == pytest.approx(expected, rel=3e-3)
    assert finished.summary.delineated_ha == pytest.approx(sum(expected), abs=0.2)
    # The squares say more, or less, than what is there.
    assert not np.allclose(sorted(sites.footprint_ha), expected, rtol=0.05)
    joined = sites.merge(workings, on="detection_id", suffixes=("", "_again"))
    assert (joined.delineated_ha - joined.delineated_ha_again).abs().max() < 1e-3
    ground = workings.to_crs(GEOBOX.crs.epsg)
    assert ground.area.sum() / 1e4 == pytest.approx(sum(expected), rel=2e-3)
    run_record = json.loads(finished.paths.run.read_text())
    assert run_record["outlines"]["name"] == "pixels"


def test_a_site_covers_its_workings_beyond_the_squares_that_were_marked(models, image, tmp_path):
    toy_model, pixels = models
    finished = run(toy_model, tmp_path / "out", image, outlines=str(pixels))
    marked, workings = layer(finished, "sites"), layer(finished, "workings")
    by_id = marked.set_index("detection_id").geometry
    beyond = workings.geometry.difference(by_id.loc[workings.detection_id], align=False)
    assert beyond.to_crs(GEOBOX.crs.epsg).area.max() > 1000
    with contextlib.closing(open_store(str(tmp_path / "a.sqlite"), create=True)) as store:
        land_folder(store, tmp_path / "out", area_name="ours", first="2024", last="2024")
        sites = store.sites(SiteQuery())
        detections = store.detections(SiteQuery())
    assert len(sites) == len(workings)
    assert (sites.cumulative_ha >= sites.area_ha - 1e-4).all()
    for shapes in (sites, detections):
        ground = shapes.geometry.union_all()
        assert all(shape.difference(ground).area < 1e-13 for shape in workings.geometry)
        assert all(shape.difference(ground).area < 1e-13 for shape in marked.geometry)
    # What was marked stays what was marked.
    assert sorted(detections.footprint_ha) == pytest.approx(sorted(marked.footprint_ha))


def test_a_model_of_two_pixels_outlines_on_its_own_cells(toy_model, image, tmp_path):
    coarse = write_pixel_model(tmp_path / "coarse", window_px=2, stride_m=20).folder
    finished = run(toy_model, tmp_path / "out", image, outlines=str(coarse))
    expected = sorted(map(area_ha, (LARGE, *TWO)))
    assert sorted(layer(finished, "sites").delineated_ha) == pytest.approx(expected, rel=0.05)


def test_no_outlines_are_made_where_none_are_wanted(toy_model, image, tmp_path):
    finished = run(toy_model, tmp_path / "out", image, outlines="none")
    assert pyogrio.list_layers(finished.paths.sites_gpkg)[:, 0].tolist()[:1] == ["sites"]
    assert "workings" not in pyogrio.list_layers(finished.paths.sites_gpkg)[:, 0]
    assert layer(finished, "sites").delineated_ha.isna().all()
    assert finished.summary.delineated_ha is None


def test_a_site_that_was_hardly_observed_has_no_area(toy_model, pixels, tmp_path):
    bands = forest_with([TWO[0], LARGE], SHAPE)
    cloud = Patch(302, 62, 46, 36)
    folder = write_dated_folder(tmp_path / "scene", bands, GEOBOX, date="20240110", cloud=[cloud])
    finished = run(toy_model, tmp_path / "out", folder, outlines=str(pixels), cloud_margin_px=0)
    sites = layer(finished, "sites")
    assert sites.delineated_ha.max() == pytest.approx(area_ha(LARGE), rel=3e-3)
    assert len(sites) == 1 or sites.delineated_ha.isna().sum() == len(sites) - 1


def test_a_model_that_cannot_outline_is_refused_only_where_it_was_asked_for(
    toy_model, image, tmp_path, monkeypatch
):
    with pytest.raises(ConfigError, match="judges windows"):
        run(toy_model, tmp_path / "a", image, outlines=str(toy_model))
    blind = write_pixel_model(tmp_path / "blind", "swir16").folder
    with pytest.raises(BandNotFound, match="swir16"):
        run(toy_model, tmp_path / "b", image, outlines=str(blind))
    monkeypatch.setattr(outlining, "USUAL_MODEL", str(blind))
    finished = run(toy_model, tmp_path / "c", image)
    assert finished.summary.delineated_ha is None


def test_a_model_of_pixels_outlines_by_itself(pixels, image, tmp_path):
    finished = run(pixels, tmp_path / "out", image)
    sites = layer(finished, "sites")
    assert len(sites) == 3
    assert (sites.delineated_ha == sites.footprint_ha).all()
    assert json.loads(finished.paths.run.read_text())["outlines"] is None


def test_a_scan_without_sites_has_nothing_to_outline(toy_model, pixels, tmp_path):
    image = write_image(tmp_path / "scene.tif", forest_with([], (120, 130)), utm_geobox((120, 130)))
    finished = run(toy_model, tmp_path / "out", image, outlines=str(pixels))
    assert finished.summary.sites == 0
    assert len(layer(finished, "workings")) == 0
