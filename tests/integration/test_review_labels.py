"""What people say of sites becomes labels, and labels become chips with typed negatives."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from typer.testing import CliRunner

from arrivals import GRID, PIT, QUARTERS, arrival_of
from sluice.app.cli.main import app
from sluice.app.following.landing import Arrival, add_named_area, land
from sluice.app.following.reviewing import add_review
from sluice.app.following.stores import open_store
from sluice.app.labelling.reviews import review_labels, write_review_labels
from sluice.app.products.coverage import outline_lonlat
from sluice.base.errors import ConfigError, NoValidData
from sluice.base.places import Label, LandedRun, Reason, Review, Verdict
from sluice.base.records import Detection
from sluice.base.store import SiteQuery, Store
from sluice.labels.check_polygons import check_polygons
from sluice.labels.dataset import read_dataset
from sluice.labels.polygons import read_polygons
from sluice.phantom.scene import PhantomScene, build_scene
from sluice.phantom.write import write_scene
from sluice.sites.area import geodesic_areas_ha

FAR, THIRD = (60, 60, 3), (20, 60, 3)
LANDED = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)


def said(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with contextlib.closing(open_store(str(tmp_path / "s.sqlite"), create=True)) as opened:
        add_named_area(opened, "ours", outline_lonlat(GRID))
        yield opened


def landed(arrival: Arrival, when: dt.datetime, **changes: object) -> Arrival:
    run = arrival.run.model_copy(update={"landed": when, **changes})
    return Arrival(run, arrival.detections, arrival.evidence_map)


def site_at(store: Store, place: tuple[int, int, int]) -> str:
    outline = arrival_of(0, [place]).detections.geometry.iloc[0]
    sites = store.sites(SiteQuery())
    (found,) = sites.loc[sites.intersects(outline.centroid), "site_id"]
    return str(found)


def say(store: Store, site_id: str, when: dt.datetime, verdict: Verdict, reason=None) -> Review:
    review_id = f"r{len(store.reviews())}"
    return store.add_review(
        Review(
            review_id=review_id,
            site_id=site_id,
            verdict=verdict,
            reason=reason,
            who="ama",
            when=when,
        )
    )


def of_class(table: gpd.GeoDataFrame, name: str) -> pd.Series:
    (row,) = table[table["class"] == name].index
    return table.loc[row]


def hectares(shape: shapely.Geometry) -> float:
    return float(geodesic_areas_ha([shape], "EPSG:4326")[0])


def test_a_label_is_what_the_reviewer_saw(store: Store) -> None:
    """The outline and dates of the last period that was there; what came later is left alone."""
    bigger = (20, 20, 6)
    land(store, landed(arrival_of(0, [PIT]), LANDED))
    land(store, landed(arrival_of(1, [PIT, FAR]), LANDED))
    mine, bar = site_at(store, PIT), site_at(store, FAR)
    say(store, mine, LANDED + dt.timedelta(days=1), Verdict.CONFIRMED)
    say(store, bar, LANDED + dt.timedelta(days=1), Verdict.REJECTED, Reason.SANDBAR)
    land(store, landed(arrival_of(2, [bigger, FAR, THIRD]), LANDED + dt.timedelta(days=2)))
    # Another run in the place of one that was seen shows the same period.
    land(store, landed(arrival_of(1, [PIT, FAR], tag="-b"), LANDED + dt.timedelta(days=3)))
    labels = review_labels(store)
    assert labels.counts == {"mine": 1, "sandbar": 1}
    assert labels.left_out == {"not reviewed": 1}
    found = of_class(labels.table, "mine")
    assert (found["start"], found["end"]) == QUARTERS[1]
    assert hectares(found.geometry) == pytest.approx(9 * 0.64, rel=0.01)
    assert (found["who"], found["source"], found["outline"]) == ("ama", "review", "footprint")
    assert not found["negative"]
    assert of_class(labels.table, "sandbar")["negative"]
    ignored = labels.table[labels.table["class"] == "ignore"]
    assert sorted(ignored["site_id"]) == sorted(store.sites(SiteQuery())["site_id"])
    assert ignored["start"].isna().all()
    assert labels.table["class"].tolist()[-2:] == ["sandbar", "mine"]


def test_the_last_word_counts_and_unsure_is_left_out(store: Store) -> None:
    land(store, arrival_of(0, [PIT, FAR, THIRD]))
    after = LANDED + dt.timedelta(days=1)
    say(store, site_at(store, PIT), after, Verdict.CONFIRMED)
    say(store, site_at(store, PIT), after + dt.timedelta(1), Verdict.REJECTED, Reason.FISH_POND)
    say(store, site_at(store, FAR), after, Verdict.CONFIRMED)
    say(store, site_at(store, FAR), after + dt.timedelta(1), Verdict.UNSURE)
    labels = review_labels(store)
    assert labels.counts == {"fish_pond": 1}
    assert labels.left_out == {"not reviewed": 1, "unsure": 1}
    # An outline of before the store knew: a review in the past sees the first period.
    say(store, site_at(store, THIRD), dt.datetime(2020, 1, 1, tzinfo=dt.UTC), Verdict.CONFIRMED)
    assert of_class(review_labels(store).table, "mine")["start"] == QUARTERS[0][0]


def test_of_a_site_that_grew_together_the_part_that_was_reviewed(store: Store) -> None:
    left, right = (20, 20, 3), (20, 28, 3)
    land(store, landed(arrival_of(0, [left]), LANDED))
    land(store, landed(arrival_of(1, [left, right]), LANDED))
    say(store, site_at(store, right), LANDED + dt.timedelta(days=1), Verdict.CONFIRMED)
    whole = (20, 20, 11)
    land(store, landed(arrival_of(2, [whole]), LANDED + dt.timedelta(days=2)))
    found = of_class(review_labels(store).table, "mine")
    assert found["site_id"] == site_at(store, whole)
    expected = arrival_of(1, [right]).detections.geometry.iloc[0]
    assert shapely.equals(found.geometry, expected)


def test_workings_that_a_scan_outlined_are_the_outline(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "scan"
    folder.mkdir()
    arrival = landed(arrival_of(0, [PIT, FAR]), LANDED, folder=str(folder))
    small = arrival.detections.iloc[[0]][["detection_id", "geometry"]]
    small = small.set_geometry(small.geometry.scale(0.5, 0.5))
    small.to_file(folder / "sites.gpkg", layer="workings")
    (folder / "run.json").write_text(json.dumps({"run_id": arrival.run.run_id}))
    land(store, arrival)
    for place in (PIT, FAR):
        say(store, site_at(store, place), LANDED + dt.timedelta(days=1), Verdict.CONFIRMED)
    table = review_labels(store).table.set_index("site_id")
    mines = table[table["class"] == "mine"]
    assert mines["outline"].to_dict() == {
        site_at(store, PIT): "workings",
        site_at(store, FAR): "footprint",
    }
    assert hectares(mines.geometry[site_at(store, PIT)]) == pytest.approx(9 * 0.16, rel=0.01)
    # The folder holds another run's result by now.
    (folder / "run.json").write_text(json.dumps({"run_id": "another"}))
    assert set(review_labels(store).table["outline"]) == {"footprint"}


def test_an_outline_that_a_person_drew_takes_the_models_place(store: Store) -> None:
    land(store, landed(arrival_of(0, [PIT, FAR]), LANDED))
    site = site_at(store, PIT)
    outline = store.sites(SiteQuery(site_ids=(site,))).geometry.iloc[0]
    drawn = shapely.affinity.scale(outline, 0.5, 0.5)
    add_review(store, site, Verdict.CONFIRMED, None, who="ama", outline=drawn)
    found = of_class(review_labels(store).table, "mine")
    assert (found["outline"], found["site_id"], found["start"]) == ("drawn", site, QUARTERS[0][0])
    assert shapely.equals(found.geometry, drawn)
    far = site_at(store, FAR)
    with pytest.raises(ConfigError, match="does not meet site"):
        add_review(store, far, Verdict.CONFIRMED, None, who="ama", outline=drawn)
    with pytest.raises(ConfigError, match="teaches nothing"):
        add_review(store, site, Verdict.UNSURE, None, who="ama", outline=drawn)
    assert len(store.reviews()) == 1
    # What was drawn without a site stays, whatever is said of sites.
    free = Label(
        label_id="free",
        area="ours",
        class_name="mine",
        start=None,
        end=None,
        source="field.gpkg",
        who="kofi",
        when=LANDED,
    )
    store.add_labels(gpd.GeoDataFrame([free.model_dump()], geometry=[outline], crs="EPSG:4326"))
    assert review_labels(store).counts == {"mine": 2}
    # Later somebody rejects it: what was drawn stands no more.
    add_review(store, site, Verdict.REJECTED, Reason.FARM_POND, who="kofi")
    labels = review_labels(store)
    assert labels.counts == {"mine": 1, "farm_pond": 1}
    assert labels.left_out["drawn, and judged otherwise since"] == 1
    assert of_class(labels.table, "mine")["source"] == "field.gpkg"


def test_nothing_said_is_no_label(store: Store) -> None:
    with pytest.raises(NoValidData, match="there are no sites"):
        review_labels(store)
    land(store, landed(arrival_of(0, [PIT]), LANDED))
    with pytest.raises(NoValidData, match="1 not reviewed"):
        review_labels(store)
    say(store, site_at(store, PIT), LANDED, Verdict.UNSURE)
    with pytest.raises(NoValidData, match="1 unsure"):
        review_labels(store, "ours")


def test_a_file_of_labels_is_read_as_it_was_written(store: Store, tmp_path: Path) -> None:
    land(store, landed(arrival_of(0, [PIT, FAR]), LANDED))
    say(store, site_at(store, PIT), LANDED, Verdict.CONFIRMED)
    say(store, site_at(store, FAR), LANDED, Verdict.REJECTED, Reason.OXBOW)
    labels = review_labels(store)
    for name in ("l.gpkg", "l.geojson"):
        write_review_labels(labels, tmp_path / name)
        table = read_polygons(tmp_path / name).table
        assert table["class"].tolist() == labels.table["class"].tolist()
        assert table["negative"].tolist() == labels.table["negative"].tolist()
        days = [None if pd.isna(day) else day.date() for day in table["start"]]
        assert days == [None, None, QUARTERS[0][0], QUARTERS[0][0]]
        report = check_polygons(tmp_path / name)
        assert report.fit_for_training
        out = tmp_path / f"imported-{name}"
        said("labels", "import", "polygons", tmp_path / name, "--out", out)
        again = read_polygons(out / "labels.gpkg").table
        assert again["negative"].tolist() == table["negative"].tolist()
    with pytest.raises(ConfigError, match="ends in one of"):
        write_review_labels(labels, tmp_path / "l.txt")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[PhantomScene, Path]:
    scene = build_scene(3, 480, mine_count=6, largest_ha=30, cloud_share=0, cirrus_share=0)
    folder = tmp_path_factory.mktemp("phantom")
    write_scene(scene, folder / "scene")
    return scene, folder


def marked(scene: PhantomScene) -> tuple[Arrival, pd.Series]:
    """A run that marked all mines and three other places, and by detection what each is."""
    mines = scene.mines.to_crs("EPSG:4326").geometry
    others = scene.confusers[scene.confusers.area.between(5_000, 100_000)]
    others = others[others.distance(scene.mines.union_all()) > 250]
    others = others.drop_duplicates("kind").head(3).to_crs("EPSG:4326")
    shapes = [*mines, *others.geometry]
    middle = shapely.point_on_surface(np.array(shapes, dtype=object))
    ids = [f"d-{k}" for k in range(len(shapes))]
    size = geodesic_areas_ha(shapes, "EPSG:4326")
    columns = {
        "detection_id": ids,
        "lon": shapely.get_x(middle),
        "lat": shapely.get_y(middle),
        "score_mean": 0.9,
        "score_peak": 0.9,
        "probability_mean": 0.9,
        "probability_peak": 0.9,
        "footprint_ha": size,
        "delineated_ha": size,
        "isolated": False,
        "cells": 9,
    }
    table = gpd.GeoDataFrame(
        {name: columns[name] for name in Detection.model_fields}, geometry=shapes, crs="EPSG:4326"
    ).assign(area_low_ha=size, area_high_ha=size)
    day = scene.acquired
    run = LandedRun(
        run_id="one",
        area="phantom",
        start=day.replace(day=1),
        end=day,
        sensor="s2-l2a",
        model="default",
        model_sha256=None,
        prior=0.001,
        landed=LANDED,
        folder=None,
        record={"scenes": []},
    )
    kinds = pd.Series(["mine"] * len(mines) + others["kind"].tolist(), index=ids)
    return Arrival(run, table, looked_everywhere=True), kinds


def test_from_review_to_chips_with_typed_negatives(
    scene: tuple[PhantomScene, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, folder = scene
    store_path = tmp_path / "s.sqlite"
    monkeypatch.setenv("SLUICE_STORE", str(store_path))
    outline = outline_lonlat(truth.raster.geobox)
    arrival, kinds = marked(truth)
    with contextlib.closing(open_store(str(store_path), create=True)) as store:
        add_named_area(store, "phantom", outline)
        land(store, arrival)
        found = store.detections(SiteQuery()).set_index("detection_id")["site_id"]
    sites = kinds.groupby(found.reindex(kinds.index).to_numpy()).agg(set)
    assert len(sites) > 5
    reasons = iter(["sandbar", "fish-pond"])
    chosen = {}
    for site, what in sites.items():
        if what == {"mine"}:
            said("review", site, "confirmed", "--who", "ama")
        elif (reason := next(reasons, None)) is not None:
            said("review", site, "rejected", "--reason", reason, "--who", "ama")
            chosen[reason.replace("-", "_")] = site
    assert sorted(chosen) == ["fish_pond", "sandbar"]
    file = tmp_path / "reviews.gpkg"
    told = said("labels", "export-reviews", "--area", "phantom", "--out", file)
    assert "2 of them typed negatives" in told
    assert "1 left out: not reviewed" in told
    box = ",".join(f"{side:.6f}" for side in outline.bounds)
    words = ["--area", box, "--labels", file, "--chip-px", 32, "--layers", "red,nir"]
    words += ["--apart", 200, "--max-blank", 0.5, "--workers", 2, "--quiet"]
    said("labels", "grid", folder / "scene", "--out", tmp_path / "set", *words)
    dataset = read_dataset(tmp_path / "set")
    assert dataset.about.classes == ("other", "mine")
    table = dataset.table
    assert {"sandbar", "fish_pond", "random", "review"} == set(table["source"])
    assert table.loc[table["source"] == "review", "label"].all()
    assert not table.loc[table["source"] != "review", "label"].any()
    masks = dataset.masks(np.arange(len(table)))
    labels = gpd.read_file(file, layer="labels")
    for kind, site in chosen.items():
        outline_of = labels[(labels["class"] == kind) & (labels["site_id"] == site)]
        assert len(outline_of) == 1
        # Its ground is known to be no mine.
        assert any((mask == 0).any() for mask in masks[np.asarray(table["source"] == kind)])
    # No random chip shows ground that nobody judged.
    ignored = labels[labels["class"] == "ignore"].union_all()
    rows = table[table["source"] == "random"]
    places = shapely.points(rows["lon"], rows["lat"])
    assert (shapely.distance(places, ignored) * 111_000 > 200).all()
    summary = json.loads((tmp_path / "set" / "run.json").read_text())["summary"]
    assert summary["by_kind"]["sandbar"] == (table["source"] == "sandbar").sum()
