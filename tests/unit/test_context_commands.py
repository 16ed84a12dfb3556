"""`sluice context`, on a store that is only a dictionary."""

import json
import sys
import types
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pytest
from shapely.geometry import LineString, Point, box

from context_cases import YEAR, places
from said_cases import english
from sluice.app.cli.errors import report_error
from sluice.app.following.layer_files import LayerColumns, read_layer
from sluice.app.following.layers import LayersAround
from sluice.base.errors import ConfigError, SluiceError
from sluice.base.places import Layer

SQUARE = box(-2.0, 6.0, -1.9, 6.1)


class FakeStore:
    """Layers and areas of the protocol `Store`."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[Layer, gpd.GeoDataFrame]] = {}
        self.asked: list[tuple[str, object]] = []
        self.area = gpd.GeoDataFrame({"name": ["ashanti"]}, geometry=[SQUARE], crs=4326)
        self.closed = 0

    def areas(self) -> gpd.GeoDataFrame:
        return self.area

    def runs(self) -> list[object]:
        return []

    def layers(self) -> list[Layer]:
        return [layer for _, (layer, _) in sorted(self.kept.items())]

    def put_layer(self, layer: Layer, features: gpd.GeoDataFrame) -> None:
        self.kept[layer.name] = layer, features

    def layer_features(self, name: str, bbox_lonlat: object = None) -> gpd.GeoDataFrame:
        self.asked.append((name, bbox_lonlat))
        if name not in self.kept:
            raise ConfigError(f"layer {name}: there is none; there is {', '.join(self.kept)}")
        features = self.kept[name][1]
        if bbox_lonlat is not None:
            near = features.intersects(box(*bbox_lonlat))
            features = features[near]
        return features

    def remove_layer(self, name: str) -> None:
        self.layer_features(name)
        del self.kept[name]

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> FakeStore:
    fake = FakeStore()
    stores = types.ModuleType("sluice.app.following.stores")
    stores.open_store = lambda address, *, create=False: fake  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sluice.app.following.stores", stores)
    monkeypatch.setattr(
        "sluice.app.config.store_address", lambda option: option or "x", raising=False
    )
    return fake


@pytest.fixture
def sluice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    def run(*words: object) -> tuple[int, str, str]:
        from sluice.app.cli.main import app

        try:
            app([str(word) for word in ("context", *words)], standalone_mode=False)
            code = 0
        except SluiceError as err:
            code = report_error(err, debug=False)
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def roads(tmp_path: Path) -> Path:
    path = tmp_path / "roads.gpkg"
    shapes = [LineString([(-2, 6), (-1, 6)]), LineString([(5, 6), (5, 7)])]
    gpd.GeoDataFrame({"ref": ["N6", None]}, geometry=shapes, crs=4326).to_file(path)
    return path


def test_a_layer_is_added_listed_shown_and_removed(
    store: FakeStore, sluice: Callable[..., tuple[int, str, str]], roads: Path
) -> None:
    code, out, _ = sluice("list")
    assert (code, out.startswith("No layer is registered")) == (0, True)
    code, out, _ = sluice("add", "roads", roads, "--buffer", "30m", "--name-column", "ref")
    assert code == 0
    assert out.startswith("Registered roads: roads, 2 features, buffer 30 m, within 6.00 N to 7.00")
    assert store.kept["roads"][0].buffer_m == 30
    assert sluice("add", "roads", roads, "--buffer", "50m")[1].startswith("Replaced roads")
    assert sluice("add", "n6", roads, "--kind", "roads", "--name-column", "ref")[0] == 0
    out = sluice("list")[1]
    assert [line.split()[0] for line in out.splitlines()] == ["n6", "roads"]
    out = sluice("show", "n6")[1]
    assert "1 with a name: N6" in out
    assert json.loads(sluice("show", "n6", "--json")[1])["shapes"] == {"LineString": 2}
    assert [layer["name"] for layer in json.loads(sluice("list", "--json")[1])] == ["n6", "roads"]
    assert sluice("remove", "n6")[1] == "Removed n6.\n"
    code, _, err = sluice("show", "n6")
    assert (code, err) == (2, "Error: layer n6: there is none; there is roads\n")
    assert store.closed


def test_notes_are_told(
    store: FakeStore, sluice: Callable[..., tuple[int, str, str]], roads: Path
) -> None:
    store.area = store.area.set_geometry([box(100, 0, 101, 1)], crs=4326)
    out = sluice("add", "roads", roads)[1].splitlines()
    assert out[1].startswith("Note: 2 features without an area")
    assert "none of its features lies within 50 km of an area of this store" in out[2]
    notes = json.loads(sluice("add", "roads", roads, "--json")[1])["notes"]
    assert len(notes) == 2


def test_mistakes_are_one_line_and_change_nothing(
    store: FakeStore, sluice: Callable[..., tuple[int, str, str]], roads: Path, tmp_path: Path
) -> None:
    for words in (
        ("add", "roads", tmp_path / "none.gpkg"),
        ("add", "ways", roads),
        ("add", "roads", roads, "--buffer", "30"),
        ("add", "roads", roads, "--name-column", "name"),
        ("add", "concessions", roads),
        ("add", "slope", roads),
        ("remove", "roads"),
    ):
        code, _, err = sluice(*words)
        assert code == 2
        assert err.startswith("Error: ")
        assert err.count("\n") == 1
    assert not store.kept


def test_places_are_described_by_all_layers_of_a_store(
    store: FakeStore, roads: Path, tmp_path: Path
) -> None:
    path = tmp_path / "permits.gpkg"
    table = {"n": ["A", "B"], "until": ["2020", "2040"]}
    shapes = [box(-3, 5, -1.95, 7), box(40, 5, 41, 6)]
    gpd.GeoDataFrame(table, geometry=shapes, crs=4326).to_file(path)
    columns = LayerColumns("n", end="until")
    for read in (
        read_layer(roads, name="roads", buffer="30m"),
        read_layer(path, name="concessions", columns=columns),
    ):
        store.put_layer(read.layer, read.features)
    frame = places(box(-1.97, 6.01, -1.96, 6.02), Point(-1.5, 6.0), Point(20, 6))
    found = LayersAround(store, frame).describe(frame, YEAR)
    assert found["legality"].tolist() == ["expired_concession", "outside", "outside"]
    assert "It had ended before the period" in english(found["legality_why"].iloc[0])
    assert found["on_road"].tolist() == [False, True, False]
    # Roads only around the places, concessions whole: their box tells where they are silent.
    asked = dict(store.asked)
    assert asked["concessions"] is None
    assert asked["roads"] == pytest.approx((-2.43, 5.5, 20.46, 6.5), abs=0.1)
    assert LayersAround(store, frame.iloc[:0]).describe(frame.iloc[:0], YEAR).empty
    assert isinstance(found, pd.DataFrame)
