"""`sluice evaluate sites`: a scan of known ground judged from the command line."""

import json

import geopandas as gpd
import numpy as np
import pytest
import shapely

from scenes import Patch, forest_with, utm_geobox, write_image
from sluice.app.config import ScanConfig
from sluice.app.products.landing import holds_finished
from sluice.app.workflows import scan

SHAPE = (420, 517)
GEOBOX = utm_geobox(SHAPE)
FOUND = Patch(100, 120, 96, 120)
SMALL = Patch(30, 400, 20, 20)  # 4 ha of bare ground, at most a sixth of a square: missed
HIDDEN = Patch(300, 20, 60, 60)  # under a hole in the image
FALSE = Patch(330, 410, 90, 107)  # bare and no mine
MARGIN = 48  # in pixels: no square around the hole holds too much of it


def outline(patch: Patch) -> shapely.Polygon:
    a = GEOBOX.affine
    left, top = a.c + a.a * patch.col, a.f + a.e * patch.row
    return shapely.box(left, top + a.e * patch.height, left + a.a * patch.width, top)


@pytest.fixture(scope="module")
def scanned(tmp_path_factory, toy_model):
    folder = tmp_path_factory.mktemp("judged")
    bands = forest_with([FOUND, SMALL, FALSE], SHAPE)
    hole = (
        slice(HIDDEN.row - MARGIN, HIDDEN.row + HIDDEN.height + MARGIN),
        slice(0, HIDDEN.col + HIDDEN.width + MARGIN),
    )
    for band in bands.values():
        band[hole] = np.nan
    image = write_image(folder / "scene_20240115.tif", bands, GEOBOX)
    mines = gpd.GeoDataFrame(
        geometry=[outline(p) for p in (FOUND, SMALL, HIDDEN)], crs="EPSG:32630"
    )
    roads = gpd.GeoDataFrame(geometry=[outline(FALSE)], crs="EPSG:32630")
    mines.to_file(folder / "truth.gpkg", layer="mines")
    roads.to_file(folder / "truth.gpkg", layer="roads")
    scan(ScanConfig(images=(image,), out=folder / "map", model=str(toy_model)))
    return folder


def test_ground_that_a_scan_did_not_observe_was_not_looked_at(scanned, sluice) -> None:
    code, said, told = sluice(
        *("evaluate", "sites", scanned / "map", scanned / "truth.gpkg"),
        *("--truth-layer", "mines", "--block-km", 1, "--json"),
    )
    assert (code, told) == (0, "")
    report = json.loads(said)
    assert (report["found"], report["missed"], report["sites_outside"]) == (1, 1, 1)
    assert (report["detections"], report["false_alarms"]) == (2, 1)
    sizes = [(row["low_ha"], row["found"], row["missed"]) for row in report["by_size"]]
    assert sizes == [(0, 0, 0), (1, 0, 1), (5, 0, 0), (25, 1, 0)]
    summary = json.loads((scanned / "map" / "run.json").read_text())["summary"]
    observed_ha = summary["area_ha"] * (1 - summary["not_observed_percent"] / 100)
    assert 5 < summary["not_observed_percent"] < 15
    # Outlined here, and counted by pixels' centres there.
    assert report["area_km2"] == pytest.approx(observed_ha / 100, rel=0.01)


def test_a_scan_is_judged_within_the_area_named(scanned, sluice, tmp_path) -> None:
    area = tmp_path / "area.geojson"
    wanted = gpd.GeoSeries([outline(Patch(60, 60, 140, 240))], crs="EPSG:32630")
    wanted.to_crs("EPSG:4326").to_file(area)
    code, said, _ = sluice(
        *("evaluate", "sites", scanned / "map", scanned / "truth.gpkg"),
        *(
            "--truth-layer",
            "mines",
            "--block-km",
            1,
            "--area",
            area,
            "--found-share",
            0.5,
            "--json",
        ),
    )
    report = json.loads(said)
    assert code == 0
    assert (report["found"], report["missed"], report["false_alarms"]) == (1, 0, 0)
    assert report["area_km2"] == pytest.approx(3.36, rel=2e-3)


def test_a_scan_that_found_nothing_is_judged_too(tmp_path, toy_model, scanned, sluice) -> None:
    image = write_image(tmp_path / "scene_20240115.tif", forest_with([], SHAPE), GEOBOX)
    scan(ScanConfig(images=(image,), out=tmp_path / "map", model=str(toy_model)))
    assert holds_finished(tmp_path / "map")
    code, said, _ = sluice(
        *("evaluate", "sites", tmp_path / "map", scanned / "truth.gpkg", "--truth-layer", "mines")
    )
    assert code == 0
    assert "3 true sites, 0 detections" in said
    assert "0 of 3 found, 0.000 [no interval]" not in said
    assert "not proof" in said


def test_a_damaged_record_is_named(scanned, tmp_path, sluice) -> None:
    folder = tmp_path / "map"
    folder.mkdir()
    for name in ("score.tif", "sites.parquet"):
        (folder / name).write_bytes((scanned / "map" / name).read_bytes())
    (folder / "run.json").write_text('{"run_id": "a", "sluice_version": "0"}')
    words = ("evaluate", "sites", folder, scanned / "truth.gpkg", "--truth-layer", "mines")
    code, _, told = sluice(*words)
    assert code == 2
    assert "run.json: tells no grid" in told


def test_a_file_is_judged_within_the_area_named(sluice, tmp_path) -> None:
    west, south, east, north = -56.09, -6.43, -56.04, -6.34
    inside = [shapely.box(-56.08, -6.4, -56.079, -6.399), shapely.box(-56.06, -6.4, -56.059, -6.39)]
    truth, drawn = tmp_path / "truth.geojson", tmp_path / "drawn.gpkg"
    gpd.GeoDataFrame(geometry=inside, crs="EPSG:4326").to_file(truth)
    alarm = shapely.box(-56.05, -6.42, -56.049, -6.419)
    beyond = shapely.box(-56.01, -6.42, -56.009, -6.419)
    gpd.GeoDataFrame(geometry=[inside[0], alarm, beyond], crs="EPSG:4326").to_crs(
        "EPSG:32721"
    ).to_file(drawn)
    area = f"--area={west},{south},{east},{north}"
    code, said, _ = sluice("evaluate", "sites", drawn, truth, area, "--block-km", 2)
    assert code == 0
    assert "2 true sites, 2 detections" in said
    assert "1 of 2 found" in said
    assert "(1 in all)" in said
    assert "0 sites, 1 detections" in said
    # 0.05 degrees of longitude at 6.385 S by 0.09 of latitude.
    assert said.startswith("55 km2 looked at")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["map", "truth.gpkg"], "has the layers mines, roads; name one with --truth-layer"),
        (["map", "truth.gpkg", "--truth-layer=rivers"], "has no layer 'rivers'; found: mines"),
        (["map/sites.gpkg", "truth.gpkg", "--truth-layer=mines"], "--area is missing"),
        ([".", "truth.gpkg", "--truth-layer=mines"], "holds no finished scan"),
        (["map", "none.gpkg"], "no such file"),
        (["map", "map/score.tif"], "score.tif: files of this kind are not opened"),
        (
            ["map", "truth.gpkg", "--truth-layer=mines", "--area=10,10,11,11"],
            "observed nothing of the area",
        ),
        (["map", "truth.gpkg", "--truth-layer=mines", "--found-share=2"], "a share of 2.0"),
    ],
)
def test_what_cannot_be_judged_is_told_in_a_line(scanned, sluice, monkeypatch, words, told) -> None:
    monkeypatch.chdir(scanned)
    code, _, said = sluice("evaluate", "sites", *words)
    assert code == 2
    assert told in said
    assert said.count("\n") == 1
