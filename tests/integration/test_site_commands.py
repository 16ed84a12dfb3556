"""What a person sees of a store: lists, files and verdicts on the command line."""

from __future__ import annotations

import contextlib
import csv
import json
from pathlib import Path

import geopandas as gpd
import pytest
from typer.testing import CliRunner

from arrivals import GRID, PIT, arrival_of
from sluice.app.cli.main import app
from sluice.app.following.landing import add_named_area, land
from sluice.app.following.stores import open_store
from sluice.app.products.coverage import outline_lonlat
from sluice.base.errors import ConfigError

OTHER = (60, 60, 3)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mine from the start, and one that two sensors see begin."""
    path = tmp_path_factory.mktemp("store") / "ours.sqlite"
    with contextlib.closing(open_store(str(path), create=True)) as store:
        add_named_area(store, "ours", outline_lonlat(GRID))
        land(store, arrival_of(0, [PIT]))
        land(store, arrival_of(1, [PIT, OTHER]))
        land(store, arrival_of(1, [OTHER], sensor="planet-4b"))
    return path


@pytest.fixture
def store(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = tmp_path / "ours.sqlite"
    copy.write_bytes(filled.read_bytes())
    monkeypatch.setenv("SLUICE_STORE", str(copy))
    monkeypatch.chdir(tmp_path)
    return copy


def said(*words: str) -> str:
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def sites() -> list[dict[str, object]]:
    return json.loads(said("sites", "list", "--json"))


def test_lists_tell_places_and_how_many(store: Path) -> None:
    text = said("sites", "list", "--limit", "1")
    assert "1 of 2 shown" in text
    assert "not proof" in text
    area = said("areas", "list")
    assert "ours" in area
    new = [site for site in sites() if site["known_before"]]
    assert [site["status"] for site in new] == ["new"]


def test_a_site_is_shown_with_its_history(store: Path) -> None:
    site_id = str(next(site["site_id"] for site in sites() if not site["known_before"]))
    text = said("sites", "show", site_id)
    assert "or before" in text
    assert text.count("2023-") >= 4
    by_year = said("sites", "show", site_id, "--by", "year")
    assert "2023-01-01 to 2023-12-31" in by_year


def test_an_alert_is_told_with_its_reasons(store: Path) -> None:
    (alert,) = json.loads(said("alerts", "list", "--level", "highest", "--json"))
    text = said("alerts", "show", str(alert["alert_id"]))
    assert "two sensors agree" in text
    assert str(alert["site_id"]) in text


def test_a_verdict_counts_in_lists_and_exports(store: Path) -> None:
    confirmed, rejected = (str(site["site_id"]) for site in sites())
    said("review", confirmed, "confirmed", "--who", "ama")
    said("review", rejected, "rejected", "--reason", "fish pond", "--who", "kofi", "--note", "dry")
    assert rejected in said("sites", "list")
    only = json.loads(said("sites", "list", "--verified-only", "--json"))
    assert [site["site_id"] for site in only] == [confirmed]
    assert rejected not in said("alerts", "list")
    said("sites", "export", "verified.geojson", "--verified-only")
    assert gpd.read_file("verified.geojson")["site_id"].tolist() == [confirmed]
    assert "rejected (fish pond) by kofi" in said("sites", "show", rejected)


def test_alerts_are_exported_as_they_are_listed(store: Path) -> None:
    listed = json.loads(said("alerts", "list", "--level", "highest", "--json"))
    said("sites", "export", "alerts.csv", "--what", "alerts", "--level", "highest")
    with Path("alerts.csv").open(encoding="utf-8-sig") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["alert_id"] for row in rows] == [alert["alert_id"] for alert in listed]


def test_ground_is_what_was_detected_and_what_was_added(store: Path) -> None:
    said("sites", "ground", "all.gpkg")
    said("sites", "ground", "added.gpkg", "--added-since", "2023-03")
    everything, added = (gpd.read_file(name, layer="ground") for name in ("all.gpkg", "added.gpkg"))
    assert len(everything) == 2
    assert len(added) == 1
    assert added["area_ha"].iloc[0] == pytest.approx(9 * 0.64, rel=0.002)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("sites", "list", "--area-name", "oars"), "it knows ours"),
        (("sites", "export", "x.csv", "--area-name", "oars"), "it knows ours"),
        (("sites", "ground", "x.gpkg", "--area-name", "oars"), "it knows ours"),
        (("alerts", "list", "--area-name", "oars"), "it knows ours"),
        (("sites", "list", "--status", "old"), "use one of new, growing"),
        (("sites", "list", "--bbox", "1,2,3"), "a box has four numbers"),
        (("sites", "show", "s-nowhere"), "no site s-nowhere"),
        (("alerts", "show", "a-nothing"), "no alert a-nothing"),
        (("review", "s-nowhere", "confirmed"), "no site s-nowhere"),
        (("sites", "export", "x.csv", "--what", "mines"), "use some of sites, alerts, periods"),
        (("sites", "ground", "x.txt"), "ends in one of .gpkg"),
        (("sites", "list", "--store", "absent.sqlite"), "absent.sqlite"),
        (("sites", "list", "--store", "postgresql:/ama:secret@host/db"), "without its beginning"),
    ],
)
def test_what_is_wrong_is_told(store: Path, words: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)
    assert not Path("x.csv").exists()
