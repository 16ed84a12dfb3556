"""Classes of a model of pixels, from images to the files that people open."""

import csv
import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import geopandas as gpd
import numpy as np
import pystac
import pytest
from pystac.extensions.classification import ClassificationExtension
from typer.testing import CliRunner

from scenes import (
    CLASSES,
    Patch,
    forest_with,
    utm_geobox,
    write_class_model,
    write_dated_folder,
)
from sluice.app.cli.main import app
from sluice.app.config import ScanConfig
from sluice.app.products.layout import WORK_FOLDER
from sluice.app.products.summary import summary_text
from sluice.app.workflows import FinishedScan, scan
from sluice.base.files import open_raster

SHAPE = (300, 412)
GEOBOX = utm_geobox(SHAPE, left=500_000)
ACTIVE, LEFT = Patch(40, 60, 50, 60), Patch(200, 100, 40, 70)
BOTH, ITS_LEFT_PART = Patch(120, 300, 60, 60), Patch(120, 300, 60, 20)
CLOUD = Patch(230, 150, 30, 120)
CELL_HA = 0.01 / 0.9996**2


def truth() -> np.ndarray:
    """By number; under cloud nothing is observed."""
    classes = np.zeros(SHAPE, np.uint8)
    classes[ACTIVE.slices] = classes[BOTH.slices] = 1
    classes[LEFT.slices] = classes[ITS_LEFT_PART.slices] = 2
    classes[CLOUD.slices] = 255
    return classes


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return write_class_model(tmp_path_factory.mktemp("models")).folder


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    bands = forest_with((ACTIVE, LEFT, BOTH), SHAPE)
    for patch in (LEFT, ITS_LEFT_PART):
        bands["nir"][patch.slices] = 0.2
    folder = tmp_path_factory.mktemp("image") / "scene"
    return write_dated_folder(folder, bands, GEOBOX, date="20240110", cloud=[CLOUD])


def run(model: Path, out: Path, image: Path, **settings: object) -> FinishedScan:
    config = {"images": (image,), "out": out, "model": str(model), "cloud_margin_px": 0}
    return scan(ScanConfig(**(config | settings)))


def class_map(finished: FinishedScan) -> np.ndarray:
    with open_raster(finished.paths.classes) as found:
        return found.read(1)


@pytest.fixture(scope="module")
def finished(model, image, tmp_path_factory) -> FinishedScan:
    return run(model, tmp_path_factory.mktemp("run") / "out", image)


def test_the_class_map_is_the_truth_on_the_grid_of_the_scores(finished):
    with open_raster(finished.paths.score) as score, open_raster(finished.paths.classes) as found:
        classes = found.read(1)
        np.testing.assert_array_equal(classes, truth())
        np.testing.assert_array_equal(classes == 255, np.isnan(score.read(1)))
        assert (found.transform, found.crs) == (score.transform, score.crs)
        assert (found.dtypes, found.nodata) == (("uint8",), 255)
        assert found.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert found.tags(1)["class_2"] == "left behind"
        assert len({found.colormap(1)[number][:3] for number in range(3)}) == 3
        assert found.tags()["model"] == "classes"


@pytest.mark.parametrize("tile_px", [64, 150])
def test_classes_do_not_depend_on_tiles(finished, model, image, tmp_path, tile_px):
    again = run(model, tmp_path / "out", image, workers=2, tile_px=tile_px)
    np.testing.assert_array_equal(class_map(again), class_map(finished))
    with open_raster(again.paths.score) as one, open_raster(finished.paths.score) as other:
        np.testing.assert_array_equal(one.read(1), other.read(1))


def test_sites_tell_their_class_in_every_format(finished):
    paths = finished.paths
    columns = ["class", "class_active_ha", "class_left_behind_ha"]
    seen = truth()
    left = (seen[LEFT.slices] == 2).sum()
    expected = {  # by footprint: active and left behind
        "active": [(40 * 60, 20 * 60), (50 * 60, 0)],
        "left behind": [(0, left)],
    }
    for table in (
        gpd.read_file(paths.sites_gpkg, layer="sites"),
        gpd.read_parquet(paths.sites_parquet),
        gpd.read_file(paths.sites_geojson),
    ):
        assert list(table["class"]) == ["active", "active", "left behind"]
        names = list(table.columns)
        assert names[names.index("cells") + 1 : names.index("imagery_link")] == columns
        for name, cells in expected.items():
            found = table[table["class"] == name][columns[1:]].to_numpy()
            np.testing.assert_allclose(found, np.array(cells) * CELL_HA, rtol=1e-4, atol=1e-4)
    with paths.sites_csv.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["class"] for row in rows] == ["active", "active", "left behind"]
    assert float(rows[2]["class_left_behind_ha"]) == pytest.approx(left * CELL_HA, rel=1e-4)


def test_the_summary_counts_sites_by_class_in_words_and_figures(finished):
    text = summary_text(finished.summary)
    assert "By the class that covers most of each: 2 active, 1 left behind." in text
    assert max(map(len, text.splitlines())) < 100
    told = json.loads(finished.paths.run.read_text())
    assert told["model"]["classes"] == list(CLASSES)
    active, left = told["summary"]["classes"]
    assert (active["name"], active["sites"]) == ("active", 2)
    assert active["area_ha"] == pytest.approx((40 * 60 + 50 * 60) * CELL_HA, abs=0.06)
    assert left["sites"] == 1
    assert [site["class_name"] for site in told["summary"]["largest"]][-1] == "left behind"


def test_the_command_prints_classes_and_sites_are_still_judged(finished, model, image, tmp_path):
    out = tmp_path / "out"
    runner = CliRunner()
    asked = ["scan", str(image), "--model", str(model), "--out", str(out), "--json"]
    printed = runner.invoke(app, asked, catch_exceptions=False)
    assert [c["name"] for c in json.loads(printed.stdout)["classes"]] == list(CLASSES[1:])
    truth_file = tmp_path / "truth.gpkg"
    sites = gpd.read_file(finished.paths.sites_gpkg, layer="sites")
    sites[["geometry"]].to_file(truth_file)
    judged = runner.invoke(
        app, ["evaluate", "sites", str(out), str(truth_file)], catch_exceptions=False
    )
    assert judged.exit_code == 0


def test_catalogue_and_style_name_the_classes(finished):
    item = pystac.Item.from_file(str(finished.paths.item))
    assert "2 active, 1 left behind" in item.properties["description"]
    told = ClassificationExtension.ext(item.assets["classes"]).classes
    assert [(c.value, c.title) for c in told[:-1]] == list(enumerate(CLASSES))
    assert (told[-1].value, told[-1].nodata) == (255, True)
    assert [c.name for c in told] == ["other", "active", "left-behind", "not-observed"]
    style = ET.parse(finished.paths.classes.with_suffix(".qml"))  # noqa: S314 (written by us)
    entries = list(style.iter("paletteEntry"))
    assert [(int(e.get("value")), e.get("label")) for e in entries] == list(enumerate(CLASSES))
    with open_raster(finished.paths.classes) as found:
        for entry, klass in zip(entries[1:], told[1:-1], strict=True):
            rgb = found.colormap(1)[klass.value][:3]
            assert entry.get("color").lstrip("#").upper() == klass.color_hint
            assert bytes(rgb).hex().upper() == klass.color_hint
    with sqlite3.connect(finished.paths.sites_gpkg) as db:
        qml = db.execute("SELECT styleQML FROM layer_styles").fetchone()[0]
    db.close()
    aliases = {alias.get("field") for alias in ET.fromstring(qml).iter("alias")}  # noqa: S314
    assert {"class", "class_left_behind_ha"} <= aliases
    assert '"class"' in qml


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_killed_scan_goes_on_to_the_same_classes(finished, model, image, tmp_path):
    out = tmp_path / "out"
    program = f"""
import os, signal
from sluice.app.config import ScanConfig
from sluice.app.workflows import scan
def note(outcome, *, done, total, resumed):
    if done == 9:
        os.kill(os.getpid(), signal.SIGKILL)
scan(ScanConfig(images=({str(image)!r},), out={str(out)!r}, model={str(model)!r}, tile_px=64,
     cloud_margin_px=0), note)
"""
    ended = subprocess.run([sys.executable, "-c", program], check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    assert [path.name for path in out.iterdir()] == [WORK_FOLDER]
    kept: list[bool] = []

    def note(outcome, *, done, total, resumed) -> None:
        kept.append(resumed)

    config = ScanConfig(images=(image,), out=out, model=str(model), tile_px=64, cloud_margin_px=0)
    resumed = scan(config, note)
    assert 9 <= sum(kept) < len(kept)
    np.testing.assert_array_equal(class_map(resumed), class_map(finished))
    assert resumed.summary.classes == finished.summary.classes
    assert not (out / WORK_FOLDER).exists()


def test_a_scan_without_sites_has_a_class_map_and_columns(model, tmp_path):
    grid = utm_geobox((90, 100))
    folder = write_dated_folder(tmp_path / "s", forest_with([], (90, 100)), grid, date="20240110")
    found = run(model, tmp_path / "out", folder)
    assert set(np.unique(class_map(found))) == {0}
    assert "class_active_ha" in gpd.read_parquet(found.paths.sites_parquet).columns
    assert [total.sites for total in found.summary.classes] == [0, 0]
    assert summary_text(found.summary).startswith("No likely mine site found.")


def test_a_model_without_classes_leaves_no_trace_of_them(model, toy_model, image, tmp_path):
    out = tmp_path / "out"
    run(model, out, image)
    found = run(toy_model, out, image, overwrite=True, outlines="none")
    assert found.paths.classes is None
    assert not {path.stem for path in out.iterdir()} & {"classes"}
    assert not [c for c in gpd.read_parquet(found.paths.sites_parquet) if c.startswith("class")]
    assert found.summary.classes == ()
