"""Scans with models that are formulas, on images with known truth."""

from __future__ import annotations

import json

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from rasterio.features import geometry_mask

from sluice.app.compositing import composite
from sluice.app.config import CompositeConfig, ScanConfig, make_config
from sluice.app.workflows import scan
from sluice.models.rules import DROP_DB
from sluice.phantom.scene import build_scene
from sluice.phantom.write import write_scene

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]


def read_layers(path) -> dict[str, np.ndarray]:
    """Values by name, NaN where absent."""
    with rasterio.open(path) as image:
        counts = image.read().astype(np.float64)
        values = np.where(counts == image.nodata, np.nan, counts * image.scales[0])
        return dict(zip(image.descriptions, values, strict=True))


def test_the_radar_threshold_marks_ground_that_fell_between_two_periods(
    catalogue, tmp_path
) -> None:
    settings = {
        "area": catalogue.area,
        "source": str(catalogue.folder / "catalog.json"),
        "every": "4months",
        "first": "2021-11",
        "last": "2022-06",
    }
    config = make_config(
        ScanConfig, model="radar-drop", out=tmp_path / "scan", min_footprint_ha=0.3, **settings
    )
    finished = scan(config)
    run = json.loads((tmp_path / "scan" / "run.json").read_text())
    assert {scene["sensor"] for scene in run["scenes"]} == {"s1"}
    assert run["parameters"]["reduced_by"] == "minimum"
    dropped = composite(
        make_config(
            CompositeConfig,
            out=tmp_path / "drop",
            layers=("vv_drop", "vh_drop"),
            method="minimum",
            **settings,
        )
    )
    fell = read_layers(dropped.paths.composite)
    marked = np.minimum(fell["vv_drop"], fell["vh_drop"]) > DROP_DB
    assert marked.mean() < 0.05
    sites = gpd.read_file(finished.paths.sites_gpkg, layer="sites")
    with rasterio.open(dropped.paths.composite) as file:
        inside = geometry_mask(
            sites.to_crs(file.crs).geometry, marked.shape, file.transform, invert=True
        )
    assert inside.any()
    # Cells are means over four pixels, so the rims differ.
    assert marked[inside].mean() > 0.6


def test_the_spectral_rule_outlines_pits_and_much_besides(tmp_path) -> None:
    scene = build_scene(11, 480, mine_count=4, cloud_share=0)
    write_scene(scene, tmp_path / "scene")
    finished = scan(
        make_config(
            ScanConfig,
            images=(tmp_path / "scene",),
            model="spectral-rule",
            out=tmp_path / "map",
            min_footprint_ha=0.2,
        )
    )
    sites = gpd.read_file(finished.paths.sites_gpkg, layer="sites").to_crs(scene.mines.crs)
    found = scene.mines.geometry.apply(sites.union_all().intersects)
    assert found.all()
    assert finished.summary.footprint_ha == pytest.approx(sites.area.sum() / 10_000, rel=0.01)
    with rasterio.open(finished.paths.score) as file:
        assert file.res == (20, 20)
        assert file.shape == (240, 240)
