"""Chips with masks from a catalogue: one period, several, and two compared."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
import shapely

from sluice.app.config import make_config
from sluice.app.labelling.config import LabelGridConfig
from sluice.app.labelling.grid import make_label_grid
from sluice.labels.check import check_dataset
from sluice.labels.dataset import read_dataset

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]


@pytest.fixture
def labels(catalogue, tmp_path):
    """A square in the middle of the area."""
    west, south, east, north = map(float, catalogue.area.split(","))
    middle = shapely.Point((west + east) / 2, (south + north) / 2)
    square = middle.buffer(0.003, cap_style="square")
    gpd.GeoSeries([square], crs="EPSG:4326").to_file(tmp_path / "labels.gpkg")
    return square


def make(catalogue, tmp_path, **settings):
    values = {
        "source": catalogue.api,
        "sensor": "s2-l2a",
        "area": catalogue.area,
        "labels": tmp_path / "labels.gpkg",
        "layers": ("green", "nir"),
        "chip_px": 48,
        "apart_m": 100.0,
        "first": "2021-11",
        "last": "2022-04",
        "out": tmp_path / "d",
    }
    finished = make_label_grid(make_config(LabelGridConfig, **(values | settings)))
    return finished, read_dataset(tmp_path / "d")


def test_chips_of_a_period_are_its_composite_without_clouds(catalogue, labels, tmp_path) -> None:
    finished, dataset = make(catalogue, tmp_path)
    assert finished.summary.images == 8
    assert finished.summary.labelled == dataset.table["label"].sum() >= 4
    masks = dataset.masks(np.arange(len(dataset.table)))
    burned_m2 = (masks == 1).sum() * 100
    metres = 111_195**2 * np.cos(np.radians(labels.centroid.y))
    assert burned_m2 == pytest.approx(labels.area * metres, rel=0.03)
    truth = catalogue.series.truth_at(catalogue.series.dates[0], ("green", "nir"))
    image = dataset.images(np.arange(len(dataset.table)))
    assert np.nanmedian(image[:, 0]) == pytest.approx(np.nanmedian(truth.band("green")), abs=0.02)
    assert dataset.table["start"].dt.strftime("%Y-%m-%d").unique().tolist() == ["2021-11-01"]
    # All labelled chips show one mine, so they are one group.
    assert dataset.table.loc[dataset.table["label"] == 1, "group"].nunique() == 1


def test_a_place_in_several_periods_is_one_group(catalogue, labels, tmp_path) -> None:
    finished, dataset = make(catalogue, tmp_path, every="quarter")
    table = dataset.table.assign(cell=dataset.table["chip_id"].str.split("_").str[0])
    assert set(table["start"].dt.strftime("%Y-%m")) == {"2021-11", "2022-02"}
    assert table.groupby("cell")["group"].nunique().max() == 1
    assert finished.summary.chips == len(table)
    assert table.groupby("cell").size().max() == 2
    assert check_dataset(tmp_path / "d").fit_for_training


def test_radar_of_two_periods_lies_in_one_chip(catalogue, labels, tmp_path) -> None:
    _, dataset = make(
        catalogue, tmp_path, sensor="s1", layers=("vv", "vv@-1"), every="quarter", negatives=0
    )
    assert dataset.about.bands == ("vv", "vv@-1")
    image = dataset.images(np.arange(len(dataset.table)))
    assert np.isfinite(image).mean() > 0.9
    assert -30 < np.nanmedian(image) < 0
    assert np.nanmax(np.abs(image[:, 0] - image[:, 1])) > 0.1
    assert dataset.table["start"].dt.strftime("%Y-%m").unique().tolist() == ["2022-02"]
