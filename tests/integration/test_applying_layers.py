"""Layers applied to what has landed: the same as if they had been there before."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import pytest
import shapely
from typer.testing import CliRunner

from arrivals import GRID, PIT, QUARTERS, arrival_of
from sluice.app.cli.main import app
from sluice.app.following.applying import apply_layers, areas_near
from sluice.app.following.judging_sites import SURROUNDINGS
from sluice.app.following.landing import add_named_area, land
from sluice.app.following.reviewing import add_review
from sluice.app.following.stores import open_store
from sluice.app.products.coverage import outline_lonlat
from sluice.base.errors import ConfigError
from sluice.base.places import Layer, LayerKind, Verdict
from sluice.base.store import SiteQuery, Store

BOUNDS = outline_lonlat(GRID)
WEST, SOUTH, EAST, NORTH = BOUNDS.bounds
OTHER = (60, 60, 3)
RUNS = [arrival_of(0, [PIT]), arrival_of(1, [PIT, OTHER]), arrival_of(2, [PIT], sensor="planet-4b")]
TABLES = ("sites", "looks", "periods", "alerts", "detections")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with contextlib.closing(new_store(tmp_path / "a.sqlite")) as opened:
        yield opened


def new_store(path: Path) -> Store:
    opened = open_store(str(path), create=True)
    add_named_area(opened, "ours", BOUNDS)
    return opened


def register(store: Store, kind: str, shapes: list[Any], **columns: list[Any]) -> None:
    layer = Layer(
        name=kind,
        kind=LayerKind(kind),
        source=f"{kind}.gpkg",
        sha256="0" * 64,
        features=len(shapes),
        registered=dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
    )
    table = {"name": [f"{kind} {n}" for n in range(len(shapes))], "start": None, "end": None}
    features = gpd.GeoDataFrame(table | columns, geometry=shapes, crs="EPSG:4326")
    store.put_layer(layer, features.assign(properties=[{}] * len(shapes)))


def register_some(store: Store) -> None:
    """A river beside the area, a park over its north, a permit for the first quarter."""
    register(store, "rivers", [shapely.LineString([(WEST, SOUTH), (WEST, NORTH)])])
    register(store, "protected", [shapely.box(WEST, (SOUTH + NORTH) / 2, EAST, NORTH)])
    register(store, "concessions", [BOUNDS], end=[QUARTERS[0][1]])


def contents(store: Store) -> dict[str, pd.DataFrame]:
    """All of a store, in an order of its own."""
    sites = store.sites(SiteQuery(with_past=True))
    ids = sites["site_id"].tolist()
    keys = ["site_id", "run_id", "start", "end", "alert_id", "detection_id"]
    tables = {
        "sites": sites,
        "looks": store.looks(ids),
        "periods": store.periods(ids),
        "alerts": store.alerts(SiteQuery()),
        "detections": store.detections(SiteQuery()),
    }
    return {
        name: pd.DataFrame(table.sort_values([key for key in keys if key in table]))
        .reset_index(drop=True)
        .assign(**({"geometry": table.geometry.to_wkb()} if "geometry" in table else {}))
        for name, table in tables.items()
    }


def assert_equal(one: dict[str, pd.DataFrame], other: dict[str, pd.DataFrame]) -> None:
    for name in TABLES:
        pd.testing.assert_frame_equal(one[name], other[name], obj=name)


def test_applying_gives_what_landing_with_the_layers_gives(store: Store, tmp_path: Path) -> None:
    for arrival in RUNS:
        land(store, arrival)
    register_some(store)
    applied = apply_layers(store, "ours")
    assert (applied.sites, applied.changed_sites) == (2, 2)
    assert (applied.detections, applied.changed_detections) == (4, 4)
    with contextlib.closing(new_store(tmp_path / "b.sqlite")) as other:
        register_some(other)
        for arrival in RUNS:
            land(other, arrival)
        assert_equal(contents(store), contents(other))


def test_applying_twice_changes_nothing_and_the_first_time_only_what_follows_from_layers(
    store: Store,
) -> None:
    for arrival in RUNS:
        land(store, arrival)
    (site_id, *_) = store.sites(SiteQuery())["site_id"]
    add_review(store, site_id, Verdict.CONFIRMED, None, who="ama")
    before, reviews = contents(store), store.reviews()
    register_some(store)
    apply_layers(store, "ours")
    after = contents(store)
    told = {"sites": SURROUNDINGS, "alerts": ["priority", "priority_parts"]}
    told["detections"] = ["context"]
    for name in TABLES:
        same = [column for column in before[name] if column not in told.get(name, [])]
        pd.testing.assert_frame_equal(before[name][same], after[name][same], obj=name)
    assert (before["sites"]["priority"] != after["sites"]["priority"]).any()
    assert (before["alerts"]["priority"] != after["alerts"]["priority"]).any()
    assert store.reviews() == reviews
    again = apply_layers(store, "ours")
    assert (again.changed_sites, again.changed_detections, again.changed_alerts) == (0, 0, 0)
    assert_equal(after, contents(store))


def test_a_detection_is_told_as_of_its_own_period(store: Store) -> None:
    register_some(store)
    for arrival in RUNS:
        land(store, arrival)
    found = store.detections(SiteQuery()).set_index("run_id")
    (site_id,) = set(found.loc["s2-l2a-2023-01-01":"s2-l2a-2023-01-01", "site_id"])
    own = found[found["site_id"] == site_id]["context"]
    first, later = own["s2-l2a-2023-01-01"], own["s2-l2a-2023-04-01"]
    assert first["legality"] == "in_concession"
    assert later["legality"] == "protected", "the permit had ended"
    assert "rivers 0" in {first["river_name"], later["river_name"]}
    assert first["in_protected"] is True
    utm = gpd.GeoSeries([shapely.LineString([(WEST, SOUTH), (WEST, NORTH)])], crs=4326)
    shapes = store.detections(SiteQuery(site_ids=(site_id,))).geometry.to_crs("EPSG:32721")
    expected = shapes.distance(utm.to_crs("EPSG:32721").iloc[0]).iloc[0]
    assert first["river_m"] == pytest.approx(expected, rel=0.002)
    assert first["legality_why"]


def test_a_withdrawn_site_is_left_as_it_is(store: Store) -> None:
    land(store, arrival_of(0, [PIT, OTHER]))
    land(store, arrival_of(0, [PIT], tag="-again"))
    register_some(store)
    applied = apply_layers(store, "ours")
    assert applied.changed_sites == 1
    past = store.sites(SiteQuery(with_past=True))
    assert past.loc[~past["current"], "legality"].tolist() == ["unknown"]


def test_an_area_without_runs_has_nothing_to_judge(store: Store) -> None:
    register_some(store)
    assert apply_layers(store, "ours").text == "ours: nothing has landed yet."
    with pytest.raises(ConfigError, match="which has ours"):
        apply_layers(store, "theirs")


def test_nothing_found_is_judged_too(store: Store) -> None:
    land(store, arrival_of(0, []))
    register_some(store)
    assert apply_layers(store, "ours").sites == 0


def test_only_areas_that_a_layer_may_reach_are_judged(store: Store) -> None:
    land(store, RUNS[0])
    add_named_area(store, "empty", BOUNDS)
    east = EAST + 0.3
    near = gpd.GeoDataFrame(geometry=[shapely.box(east, SOUTH, east + 1, NORTH)], crs=4326)
    far = near.translate(1, 0).to_frame()
    across = near.translate(360, 0).to_frame()
    assert areas_near(store, [near]) == ["ours"]
    assert areas_near(store, [far, near.iloc[:0]]) == []
    assert areas_near(store, [far], buffer_m=100_000) == ["ours"]
    assert areas_near(store, [across]) == ["ours"]


def said(store: Path, *words: str) -> str:
    result = CliRunner().invoke(
        app, ["context", *words, "--store", str(store)], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    return result.output


def test_what_is_registered_counts_at_once_unless_it_is_to_wait(tmp_path: Path) -> None:
    path, park = tmp_path / "c.sqlite", tmp_path / "park.gpkg"
    gpd.GeoDataFrame({"NAME": ["Park"]}, geometry=[BOUNDS], crs=4326).to_file(park)
    with contextlib.closing(new_store(path)) as store:
        land(store, RUNS[0])

    def legality() -> str:
        with contextlib.closing(open_store(str(path))) as store:
            return str(store.sites(SiteQuery())["legality"].iloc[0])

    add = ("add", "protected", str(park), "--name-column", "NAME")
    text = said(path, *add, "--later")
    assert "sluice context apply" in text
    assert legality() == "unknown"
    assert "1 sites, 1 detections" in said(path, "apply", "--area", "ours")
    assert legality() == "protected"
    assert "0 sites, 0 detections and 0 alerts" in said(path, "apply")
    text = said(path, "remove", "protected")
    assert text.startswith("Removed protected.\nours: 1 sites")
    assert legality() == "unknown"
    told = json.loads(said(path, *add, "--json"))
    assert told["applied"][0]["changed_sites"] == 1
    assert legality() == "protected"
