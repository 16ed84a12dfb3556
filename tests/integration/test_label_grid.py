"""Labels and imagery go in, a data set that can be learnt from comes out."""

from __future__ import annotations

import json

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from rasterio.features import rasterize
from typer.testing import CliRunner

from sluice.app.cli.main import app
from sluice.app.config import make_config
from sluice.app.labelling import chip_making
from sluice.app.labelling.config import LabelGridConfig
from sluice.app.labelling.grid import make_label_grid
from sluice.app.products.coverage import outline_lonlat
from sluice.base.errors import ConfigError, NoValidData, RunFailed
from sluice.labels.dataset import read_dataset
from sluice.models.package import load_package
from sluice.phantom.scene import build_scene
from sluice.phantom.write import write_scene

CHIP_PX = 32


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A clear scene with its mines, a dozen of which cover a few chips each."""
    scene = build_scene(3, 480, mine_count=6, largest_ha=30, cloud_share=0, cirrus_share=0)
    folder = tmp_path_factory.mktemp("phantom")
    write_scene(scene, folder / "scene")
    labels = scene.mines[["geometry"]].assign(**{"class": "mine", "source": "truth"})
    labels.to_crs("EPSG:4326").to_file(folder / "mines.gpkg")
    rivers = scene.confusers[scene.confusers["kind"].isin(["river", "sandbar"])]
    rivers[["geometry"]].to_file(folder / "rivers.gpkg")
    return scene, folder


def area_of(scene, margin: float = 0.0) -> str:
    west, south, east, north = outline_lonlat(scene.raster.geobox).bounds
    box = (west - margin, south - margin, east + margin, north + margin)
    return ",".join(f"{edge:.7f}" for edge in box)


def config(scene, folder, out, **settings) -> LabelGridConfig:
    values = {
        "images": (folder / "scene",),
        "area": area_of(scene, 0.001),
        "labels": folder / "mines.gpkg",
        "chip_px": CHIP_PX,
        "layers": ("red", "nir"),
        "out": out,
        "apart_m": 50.0,
        "workers": 2,
        "max_blank": 0.5,
    }
    return make_config(LabelGridConfig, **(values | settings))


def test_chips_show_the_scene_and_masks_the_truth(scene, tmp_path) -> None:
    truth, folder = scene
    typed = (f"riverbank={folder / 'rivers.gpkg'}:3",)
    finished = make_label_grid(config(truth, folder, tmp_path / "d", typed=typed))
    dataset = read_dataset(tmp_path / "d")
    summary = finished.summary
    assert summary.chips == len(dataset.table) == sum(summary.by_kind.values())
    assert summary.by_kind["riverbank"] == 3
    assert summary.by_kind["random"] > 5
    assert set(dataset.table["source"]) == {"truth", "riverbank", "random"}
    assert dataset.about.negatives == ("riverbank", "random")
    geobox = truth.raster.geobox
    mines = rasterize(truth.mines.geometry, geobox.shape.yx, transform=geobox.affine)
    seen = np.zeros_like(mines)
    every = np.arange(len(dataset.table))
    images, masks = dataset.images(every), dataset.masks(every)
    for row, image, mask in zip(dataset.table.itertuples(), images, masks, strict=True):
        with rasterio.open(tmp_path / "d" / row.image) as file:
            assert file.crs == str(geobox.crs)
            top = round((geobox.affine.f - file.transform.f) / 10)
            left = round((file.transform.c - geobox.affine.c) / 10)
        rows, cols = np.arange(top, top + CHIP_PX), np.arange(left, left + CHIP_PX)
        row_in, col_in = ((n >= 0) & (n < 480) for n in (rows, cols))
        inside = np.ix_(row_in, col_in)
        place = np.ix_(rows[row_in], cols[col_in])
        wrong = np.zeros_like(mines, bool)
        wrong[place] = (mask[inside] == 1) != (mines[place] == 1)
        # A centre on an outline falls to either side when the outline went through degrees.
        for at_row, at_col in np.argwhere(wrong):
            x = geobox.affine.c + 10 * (at_col + 0.5)
            y = geobox.affine.f - 10 * (at_row + 0.5)
            assert truth.mines.boundary.distance(shapely.Point(x, y)).min() < 0.01
        assert row.label == mines[place].any()
        red = truth.raster.band("red")[place]
        np.testing.assert_allclose(image[0][inside], red, atol=0.0002)
        seen[place] = 1
    # No mine is left out but in chips that are mostly beyond the scene.
    dropped = summary.dropped.get("blank", 0) + summary.dropped.get("smaller_than_a_pixel", 0)
    assert (mines & ~seen.astype(bool)).sum() <= 30 * dropped
    run = json.loads((tmp_path / "d" / "run.json").read_text())
    assert run["parameters"]["command"] == "labels grid"
    assert len(run["tiles"]) == summary.chips + sum(summary.dropped.values())
    card = (tmp_path / "d" / "DATASET_CARD.md").read_text()
    assert "| riverbank | 3 | 0 | 3 |" in card
    assert not (tmp_path / "d" / ".sluice-work").exists()


def test_a_grid_of_any_bands_trains_random_features_that_scan(scene, tmp_path) -> None:
    pytest.importorskip("skl2onnx", reason="training needs scikit-learn and skl2onnx")
    truth, folder = scene
    layers = ("green", "red", "nir", "swir16")
    make_label_grid(config(truth, folder, tmp_path / "d", layers=layers))
    naming = "--name grid --licence CC0-1.0 --attribution nobody --folds 2 --patches 12"
    trained = ["train", "random-features", "--data", tmp_path / "d", "--out", tmp_path / "m"]
    ended = CliRunner().invoke(app, [*map(str, trained), *naming.split()])
    assert ended.exit_code == 0, ended.output
    assert load_package(tmp_path / "m" / "grid", None).manifest.bands == layers
    scanned = ["scan", folder / "scene", "--model", tmp_path / "m" / "grid"]
    ended = CliRunner().invoke(app, [*map(str, scanned), "--out", str(tmp_path / "s"), "--quiet"])
    assert ended.exit_code == 0, ended.output
    with rasterio.open(tmp_path / "s" / "score.tif") as file:
        scores = file.read(1, masked=True).compressed()
        places = truth.mines.to_crs(file.crs).representative_point()
        at_mines = [value for (value,) in file.sample(zip(places.x, places.y, strict=True))]
    assert np.median(at_mines) > np.quantile(scores, 0.9)


def test_ground_that_nobody_can_judge_is_not_labelled(scene, tmp_path) -> None:
    truth, folder = scene
    labels = gpd.read_file(folder / "mines.gpkg")
    labels.loc[0, "class"] = "ignore"
    labels.to_file(tmp_path / "some.gpkg")
    make_label_grid(config(truth, folder, tmp_path / "d", labels=tmp_path / "some.gpkg"))
    dataset = read_dataset(tmp_path / "d")
    assert dataset.about.classes == ("other", "mine")
    masks = dataset.masks(np.arange(len(dataset.table)))
    for row, mask in zip(dataset.table.itertuples(), masks, strict=True):
        with rasterio.open(tmp_path / "d" / row.image) as file:
            shape = labels.geometry.iloc[[0]].to_crs(file.crs)
            ignored = rasterize(shape, mask.shape, transform=file.transform).astype(bool)
        assert (mask[ignored] == 255).all()


def test_only_cells_with_labels_as_one_published_recipe_has_it(scene, tmp_path) -> None:
    truth, folder = scene
    make_label_grid(config(truth, folder, tmp_path / "d", negatives=0))
    assert read_dataset(tmp_path / "d").table["label"].all()


def test_places_where_somebody_saw_no_mine_become_chips_of_their_own(scene, tmp_path) -> None:
    truth, folder = scene
    west, south, east, north = map(float, area_of(truth).split(","))
    mines = gpd.read_file(folder / "mines.gpkg").geometry
    every = shapely.union_all(mines)
    middle = [shapely.Point(west + (east - west) * k / 20, (south + north) / 2) for k in range(20)]
    free = [place for place in middle[2:18] if place.distance(every) > 0.005][:2]
    places = [*mines.representative_point(), *free]
    table = pd.DataFrame({"lon": [p.x for p in places], "lat": [p.y for p in places]})
    table["label"] = [1] * len(mines) + [0] * len(free)
    table.assign(mine_type="", confidence=5, proportion_inspected=1).to_csv(
        tmp_path / "judged.csv", index=False
    )
    words = ["labels", "import", "mosaiks", tmp_path / "judged.csv", "--radius", 100]
    words = [*map(str, words), "--out", str(tmp_path / "l")]
    assert CliRunner().invoke(app, words, catch_exceptions=False).exit_code == 0
    labels = tmp_path / "l" / "labels.gpkg"
    made = make_label_grid(config(truth, folder, tmp_path / "d", labels=labels, negatives=0))
    assert made.summary.by_kind["other"] >= len(free) == 2
    table = read_dataset(tmp_path / "d").table
    assert (table.loc[table["source"] == "other", "label"] == 0).all()
    assert table["label"].any()


def test_one_chip_around_each_polygon(scene, tmp_path) -> None:
    truth, folder = scene
    made = make_label_grid(config(truth, folder, tmp_path / "d", centred=True, max_blank=0.9))
    polygons = gpd.read_file(folder / "mines.gpkg").explode().geometry
    dropped = made.summary.dropped.get("smaller_than_a_pixel", 0)
    assert made.summary.by_kind["labelled"] + dropped == len(polygons) > len(truth.mines)
    dataset = read_dataset(tmp_path / "d")
    mines = polygons.to_crs(truth.raster.geobox.crs)
    for path in dataset.table.loc[dataset.table["label"] == 1, "image"]:
        with rasterio.open(tmp_path / "d" / path) as file:
            middle = shapely.box(*file.bounds).centroid
        assert mines.distance(middle).min() <= 10


def test_ground_beyond_the_area_is_not_labelled(scene, tmp_path) -> None:
    truth, folder = scene
    half = area_of(truth).split(",")
    half[2] = f"{(float(half[0]) + float(half[2])) / 2:.7f}"
    make_label_grid(config(truth, folder, tmp_path / "d", area=",".join(half)))
    dataset = read_dataset(tmp_path / "d")
    masks = dataset.masks(np.arange(len(dataset.table)))
    for row, mask in zip(dataset.table.itertuples(), masks, strict=True):
        with rasterio.open(tmp_path / "d" / row.image) as file:
            cols = file.transform.c + 10 * (np.arange(CHIP_PX) + 0.5)
            rows = file.transform.f - 10 * (np.arange(CHIP_PX) + 0.5)
            east, north = np.meshgrid(cols, rows)
            points = gpd.GeoSeries.from_xy(east.ravel(), north.ravel(), crs=file.crs)
        lonlat = points.to_crs("EPSG:4326")
        west, south, east, north = map(float, half)
        within = lonlat.x.between(west, east) & lonlat.y.between(south, north)
        np.testing.assert_array_equal((mask != 255).ravel(), within)


def test_labels_of_other_dates_are_not_taken_for_these(scene, tmp_path) -> None:
    truth, folder = scene
    labels = gpd.read_file(folder / "mines.gpkg")
    labels["start"], labels["end"] = pd.Timestamp("2026-01-01"), pd.Timestamp("2026-12-31")
    labels.loc[0, ["start", "end"]] = [pd.Timestamp("2019-01-01"), pd.Timestamp("2019-12-31")]
    labels.loc[1, ["start", "end"]] = pd.NaT
    labels.to_file(tmp_path / "dated.gpkg")
    settings = {"labels": tmp_path / "dated.gpkg", "negatives": 0.5}
    images = (tmp_path / "scene_20260715",)
    images[0].mkdir()
    for path in (folder / "scene").glob("*.tif"):
        (images[0] / f"T21MXX_20260715T134000_{path.name}").write_bytes(path.read_bytes())
    made = make_label_grid(
        config(truth, folder, tmp_path / "d", images=images, sensor="s2-l2a", **settings)
    )
    assert made.summary.labels_of_other_dates == 1
    assert made.summary.labels_undated == 1
    dataset = read_dataset(tmp_path / "d")
    assert dataset.table["start"].dt.year.unique().tolist() == [2026]
    other = labels.geometry.iloc[[0]]
    masks = dataset.masks(np.arange(len(dataset.table)))
    for row, mask in zip(dataset.table.itertuples(), masks, strict=True):
        with rasterio.open(tmp_path / "d" / row.image) as file:
            shape = other.to_crs(file.crs)
            old = rasterize(shape, mask.shape, transform=file.transform).astype(bool)
        assert not (mask[old] == 1).any()
    dropped = make_label_grid(
        config(
            truth,
            folder,
            tmp_path / "e",
            images=images,
            sensor="s2-l2a",
            other_dates="drop",
            **settings,
        )
    )
    assert dropped.summary.chips == made.summary.chips


def test_what_was_cut_off_goes_on_and_a_finished_one_is_kept(scene, tmp_path, monkeypatch) -> None:
    truth, folder = scene
    asked = config(truth, folder, tmp_path / "d", workers=1)
    made: list[str] = []
    save = chip_making.ChipStore.save

    def stop_after_five(store, chip_id, chip) -> None:
        if len(made) == 5:
            raise RunFailed("the disk is full")
        made.append(chip_id)
        save(store, chip_id, chip)

    monkeypatch.setattr(chip_making.ChipStore, "save", stop_after_five)
    with pytest.raises(RunFailed):
        make_label_grid(asked)
    assert not (tmp_path / "d" / "dataset.json").exists()
    assert (tmp_path / "d" / "run-failed.json").is_file()
    again: list[str] = []

    def note(store, chip_id, chip) -> None:
        again.append(chip_id)
        save(store, chip_id, chip)

    monkeypatch.setattr(chip_making.ChipStore, "save", note)
    finished = make_label_grid(asked)
    assert not set(made) & set(again)
    whole = make_label_grid(config(truth, folder, tmp_path / "e"))
    assert whole.summary == finished.summary
    one, other = (read_dataset(tmp_path / name) for name in "de")
    pd.testing.assert_frame_equal(one.table, other.table)
    rows = np.arange(len(one.table))
    np.testing.assert_array_equal(one.images(rows), other.images(rows))
    with pytest.raises(ConfigError, match="--overwrite"):
        make_label_grid(asked)
    make_label_grid(config(truth, folder, tmp_path / "d", negatives=0, overwrite=True))
    table = read_dataset(tmp_path / "d").table
    assert table["label"].all()
    assert len(list((tmp_path / "d" / "images").iterdir())) == len(table)


def test_blank_chips_are_dropped_and_counted(scene, tmp_path) -> None:
    truth, folder = scene
    wide = config(truth, folder, tmp_path / "d", area=area_of(truth, 0.02), seed=4)
    finished = make_label_grid(wide)
    assert finished.summary.dropped["blank"] > 3
    dataset = read_dataset(tmp_path / "d")
    images = dataset.images(np.arange(len(dataset.table)))
    assert np.isnan(images).any(axis=1).mean(axis=(1, 2)).max() <= 0.5


def test_what_cannot_be_is_refused(scene, tmp_path) -> None:
    truth, folder = scene
    for settings, error, words in (
        ({"layers": ("red", "vv@-1")}, ConfigError, "--every"),
        ({"layers": ("pink",)}, ConfigError, "no band"),
        ({"typed": ("rivers",)}, ConfigError, "KIND=FILE"),
        ({"delta_m": 33.0}, ConfigError, "--delta 33"),
        ({"area": "10,10,11,11"}, NoValidData, "no cell"),
        ({"classes": ("other", "pit")}, Exception, "mine"),
    ):
        with pytest.raises(error, match=words):
            make_label_grid(config(truth, folder, tmp_path / "d", **settings))
        assert not (tmp_path / "d" / "dataset.json").exists()


def test_on_the_command_line(scene, tmp_path) -> None:
    truth, folder = scene
    words = ["labels", "grid", str(folder / "scene"), "--area", area_of(truth, 0.001)]
    words += ["--labels", str(folder / "mines.gpkg"), "--chip-px", "32", "--layers", "red,nir"]
    words += ["--apart", "50", "--typed", f"riverbank={folder / 'rivers.gpkg'}:2"]
    words += ["--out", str(tmp_path / "d"), "--json"]
    ended = CliRunner().invoke(app, words, catch_exceptions=False)
    assert ended.exit_code == 0
    assert json.loads(ended.stdout)["by_kind"]["riverbank"] == 2
    checked = CliRunner().invoke(app, ["labels", "check", str(tmp_path / "d")])
    assert "source names kinds of negatives (random " in checked.stdout
    assert "of source ha" not in checked.stdout
