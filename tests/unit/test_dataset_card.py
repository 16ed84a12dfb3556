"""Counts of classes, cards, and dividing on the command line."""

from __future__ import annotations

import itertools
import json

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from odc.geo.geobox import GeoBox
from typer.testing import CliRunner

from sluice.app.cli.main import app
from sluice.base.errors import ShapeMismatch
from sluice.labels.card import card_text, co_occurrence, count_classes
from sluice.labels.dataset import DatasetAbout, DatasetWriter, read_dataset
from sluice.labels.splits import refuse_leaks

ABOUT = DatasetAbout(
    name="toy | set",
    bands=("red",),
    gsd_m=10,
    classes=("other", "mine", "pond"),
    licence="CC-BY-4.0",
)


@given(
    hnp.arrays(
        np.uint8,
        st.tuples(st.integers(1, 5), st.integers(1, 6), st.integers(1, 6)),
        elements=st.sampled_from([0, 1, 2, 255]),
    )
)
def test_counts_and_company_are_those_of_a_plain_walk(masks) -> None:
    counts = count_classes(masks, 3)
    pixels, chips = co_occurrence(counts[:, :3])
    for i in range(3):
        holders = [mask for mask in masks if (mask == i).any()]
        for j in range(3):
            assert pixels[i, j] == sum((mask == j).sum() for mask in holders)
            assert chips[i, j] == sum((mask == j).any() for mask in holders)
    assert counts[:, 3].sum() == (masks == 255).sum()


def test_masks_of_another_form_are_refused() -> None:
    with pytest.raises(ShapeMismatch, match="n, H, W"):
        count_classes(np.zeros((4, 4), np.uint8), 2)


def write(folder, count: int = 60):
    writer = DatasetWriter(folder, ABOUT)
    rng = np.random.default_rng(0)
    for k in range(count):
        left, top = 300_000 + 10_000 * (k % 10), 9_300_000 - 10_000 * (k // 10)
        grid = GeoBox((8, 8), Affine(10, 0, left, 0, -10, top), "EPSG:32721")
        mask = np.zeros((8, 8), np.uint8)
        mask[0, : k % 3] = 1
        mask[1, :2] = 2 if k % 6 == 1 else 0
        mask[7] = 255
        image = rng.uniform(0, 0.3, (1, 8, 8)).astype(np.float32)
        writer.add(
            f"c{k}", image, grid, mask, source="s", start="2024-01-01", end=f"2024-0{k % 9 + 1}-02"
        )
    return writer.finish()


def test_a_card_tells_what_is_there(tmp_path) -> None:
    dataset = write(tmp_path / "d")
    text = card_text(dataset, notes=["Made by hand."])
    assert text.startswith("# toy \\| set\n")
    assert "| Chips | 60 in 60 groups |" in text
    assert "| Dates | 2024-01-01 to 2024-09-02 |" in text
    assert "| Licence | CC-BY-4.0 |" in text
    assert "| s | 60 | 40 | 60 |" in text
    assert "| mine | 60 | 60 |" in text
    # Pixels of mine in the ten chips that hold ponds, one in each.
    assert "| pond | 530 (10) | 10 (10) | 20 (10) |" in text
    assert "Nobody labelled 12.5% of the pixels." in text
    assert "60 of 60 chips say where they are." in text
    assert text.endswith("- Made by hand.\n")


def test_the_places_of_a_card_cross_180_degrees(tmp_path) -> None:
    dataset = write(tmp_path / "d", 3)
    dataset.table["lon"] = [179.0, -179.5, 179.5]
    assert "| 179.000 |" in card_text(dataset)
    assert "| -179.500 |" in card_text(dataset)


def run(*words: object) -> str:
    ended = CliRunner().invoke(app, ["labels", *map(str, words)], catch_exceptions=False)
    assert ended.exit_code == 0, ended.stdout
    return ended.stdout


def test_the_card_command(tmp_path, shared_data) -> None:
    write(tmp_path / "d")
    run("card", tmp_path / "d")
    assert (tmp_path / "d" / "DATASET_CARD.md").is_file()
    run("card", shared_data / "amw-chips", "--out", tmp_path / "amw.md")
    assert "| pool | 8,362 | 1,820 |" in (tmp_path / "amw.md").read_text()


def test_dividing_by_blocks_groups_and_a_column(tmp_path) -> None:
    write(tmp_path / "d")
    index = tmp_path / "d" / "index.csv"
    assert "train" in run("split", tmp_path / "d", "--side", 25)
    blocks = read_dataset(tmp_path / "d").table
    refuse_leaks(blocks, 80)
    assert set(blocks["split"]) == {"train", "val", "test"}
    raw = pd.read_csv(index).assign(country=[f"land {k % 10}" for k in range(60)])
    raw.to_csv(index, index=False)
    figures = json.loads(
        run("split", tmp_path / "d", "--by", "country", "--calibration", "--overwrite", "--json")
    )
    assert sum(figures["chips"].values()) == 60
    raw = pd.read_csv(index)
    assert set(raw["split"]) == {"train", "val", "cal", "test"}
    assert raw.groupby("country")["split"].nunique().max() == 1


def test_dividing_by_places_and_with_a_region_for_the_test(tmp_path) -> None:
    table = write(tmp_path / "d").table
    edges = np.quantile(table["lon"], np.linspace(0, 1, 6))
    edges[0], edges[-1] = edges[0] - 1, edges[-1] + 1
    lands = gpd.GeoDataFrame(
        {"name": list("abcde")},
        geometry=[shapely.box(west, -20, east, 20) for west, east in itertools.pairwise(edges)],
        crs="EPSG:4326",
    )
    lands.to_file(tmp_path / "lands.gpkg")
    places = f"{tmp_path / 'lands.gpkg'}:name"
    run("split", tmp_path / "d", "--by", "land", "--places", places)
    splits = read_dataset(tmp_path / "d").table["split"]
    land = np.searchsorted(edges, table["lon"]) - 1
    assert splits.groupby(land).nunique().max() == 1
    box = f"{edges[0]},-20,{edges[1]},20"
    region = ("--test-region", box, "--margin", 12_000, "--overwrite")
    run("split", tmp_path / "d", "--by", "group", *region)
    splits = read_dataset(tmp_path / "d").table["split"]
    assert (splits[land == 0] == "test").all()
    assert not (splits[land != 0] == "test").any()
    beyond_km = (table["lon"] - edges[1]) * 111.195 * np.cos(np.radians(table["lat"]))
    assert ((splits == "excluded") == ((beyond_km > 0) & (beyond_km <= 12))).all()


def test_splits_that_are_there_are_not_replaced_unasked(tmp_path) -> None:
    write(tmp_path / "d")
    run("split", tmp_path / "d", "--seed", 1)
    before = (tmp_path / "d" / "index.csv").read_bytes()
    ended = CliRunner().invoke(app, ["labels", "split", str(tmp_path / "d"), "--seed", "2"])
    assert "divided already (test, train, val)" in str(ended.exception)
    assert (tmp_path / "d" / "index.csv").read_bytes() == before
    run("split", tmp_path / "d", "--seed", 2, "--overwrite")
    assert (tmp_path / "d" / "index.csv").read_bytes() != before


def test_options_that_cannot_be_are_refused(tmp_path) -> None:
    write(tmp_path / "d")
    before = (tmp_path / "d" / "index.csv").read_bytes()
    for words, told in (
        (("--by", "colour"), "neither blocks"),
        (("--shares", "train=x"), "not understood"),
        (("--shares", "train=0.5,test=0.5", "--calibration"), "both given"),
        (("--places", "x.gpkg"), "not understood"),
        (("--side", "0"), "above 0"),
        (("--by", "source"), "no chip is left"),
    ):
        ended = CliRunner().invoke(app, ["labels", "split", str(tmp_path / "d"), *words])
        assert told in str(ended.exception)
    assert (tmp_path / "d" / "index.csv").read_bytes() == before
