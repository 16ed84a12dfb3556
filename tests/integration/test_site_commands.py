"""What a person sees of a store: lists, files and verdicts on the command line."""

from __future__ import annotations

import contextlib
import csv
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import geopandas as gpd
import pytest
import shapely
from typer.testing import CliRunner

from arrivals import GRID, PIT, arrival_of
from sluice.app.cli.main import app
from sluice.app.exports.write import EXPORT_FORMATS
from sluice.app.following.landing import add_named_area, land
from sluice.app.following.stores import open_store
from sluice.app.products.coverage import outline_lonlat
from sluice.base.errors import ConfigError
from sluice.base.files import read_vector

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


def test_areas_have_as_many_sites_and_alerts_as_lists_show(store: Path) -> None:
    def counted() -> tuple[object, object]:
        (area,) = json.loads(said("areas", "list", "--json"))
        return area["sites"], area["alerts"]

    def listed() -> tuple[int, int]:
        return len(sites()), len(json.loads(said("alerts", "list", "--json")))

    before = listed()
    assert counted() == before
    said("review", str(sites()[0]["site_id"]), "rejected", "--reason", "sandbar", "--who", "ama")
    assert listed() < before
    assert counted() == listed()


def test_a_site_is_shown_with_its_history(store: Path) -> None:
    site_id = str(next(site["site_id"] for site in sites() if not site["known_before"]))
    text = said("sites", "show", site_id)
    assert "may be older" in text
    assert text.count("2023") >= 4
    by_year = said("sites", "show", site_id, "--by", "year")
    assert re.search(r"^2023 +new ", by_year, re.MULTILINE)


def test_lists_and_sites_are_told_in_the_users_language(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = next(site for site in sites() if not site["known_before"])
    site_id = str(older["site_id"])
    assert "ou avant" in said("sites", "list", "--language", "fr")
    monkeypatch.delenv("SLUICE_LANGUAGE")
    monkeypatch.setenv("LC_ALL", "es_PE.UTF-8")
    text = " ".join(said("sites", "show", site_id).split())
    assert "Sin un cambio claro de superficie, o un solo período sin detección. Detectado" in text
    assert "Una detección es un indicio" in text
    monkeypatch.setenv("SLUICE_LANGUAGE", "pt")
    (alert,) = json.loads(said("alerts", "list", "--level", "highest", "--json"))
    text = said("alerts", "show", str(alert["alert_id"]))
    assert "Nível muito alto: dois sensores concordam" in text
    # For machines: codes and values beside the words.
    told = alert["reasons"][0]
    assert (told["code"], set(told["values"])) == ("alert_reason.new", {"period"})
    assert told["text"].startswith("Novo local")
    with pytest.raises(ConfigError, match="language 'tw' is not known"):
        CliRunner().invoke(app, ["sites", "list", "--language", "tw"], catch_exceptions=False)


@pytest.mark.parametrize("ending", ["csv", "geojson", "kml", "gpkg"])
def test_files_hold_sentences_in_the_language_asked_for(store: Path, ending: str) -> None:
    said("sites", "export", f"fr.{ending}", "--language", "fr")
    text = Path(f"fr.{ending}").read_bytes().decode("utf-8", "replace")
    assert "Première détection" in text
    assert "status_rule." not in text
    said("sites", "export", f"en.{ending}")
    text = Path(f"en.{ending}").read_bytes().decode("utf-8", "replace")
    assert "First detected; the place was observed before" in text
    assert "A detection is a lead to verify" in text


def test_an_alert_is_told_with_its_reasons(store: Path) -> None:
    (alert,) = json.loads(said("alerts", "list", "--level", "highest", "--json"))
    text = said("alerts", "show", str(alert["alert_id"]))
    assert "two sensors agree" in text
    assert str(alert["site_id"]) in text


def test_a_verdict_counts_in_lists_and_exports(store: Path) -> None:
    confirmed, rejected = (str(site["site_id"]) for site in sites())
    said("review", confirmed, "confirmed", "--who", "ama")
    said("review", rejected, "rejected", "--reason", "fish pond", "--who", "kofi", "--note", "dry")
    listed = said("sites", "list")
    assert rejected not in listed
    assert "1 site that a person rejected is left out; --verdict all" in listed
    assert rejected in said("sites", "list", "--verdict", "all")
    assert [site["site_id"] for site in sites()] == [confirmed]
    for words, expected in (
        ("rejected", [rejected]),
        ("none", []),
        ("Confirmed, unsure", [confirmed]),
        ("rejected,confirmed", [confirmed, rejected]),
    ):
        found = json.loads(said("sites", "list", "--verdict", words, "--json"))
        assert sorted(site["site_id"] for site in found) == sorted(expected)
    only = json.loads(said("sites", "list", "--verified-only", "--json"))
    assert [site["site_id"] for site in only] == [confirmed]
    assert rejected not in said("alerts", "list")
    said("sites", "export", "verified.geojson", "--verified-only")
    assert gpd.read_file("verified.geojson")["site_id"].tolist() == [confirmed]
    assert "1 site that a person rejected is left out" in said("sites", "export", "all.geojson")
    assert gpd.read_file("all.geojson")["site_id"].tolist() == [confirmed]
    assert "left out" not in said("sites", "export", "a.geojson", "--verdict", "all")
    assert len(gpd.read_file("a.geojson")) == 2
    assert "rejected · fish pond · kofi" in said("sites", "show", rejected)


def test_lists_say_how_many_alerts_they_cut_off(store: Path) -> None:
    everything = json.loads(said("alerts", "list", "--json"))
    assert len(everything) == 2
    assert "shown" not in said("alerts", "list")
    cut = said("alerts", "list", "--limit", "1")
    assert "1 of 2 shown; --limit shows more." in cut
    assert str(everything[1]["alert_id"]) not in cut


def test_a_review_of_a_merged_site_says_where_it_went(store: Path) -> None:
    old, young = (str(site["site_id"]) for site in sorted(sites(), key=_first_seen))
    said("review", young, "confirmed", "--who", "ama")
    with contextlib.closing(open_store(str(store))) as opened:
        land(opened, arrival_of(2, [(15, 15, 60)]))
    assert [site["site_id"] for site in sites()] == [old]
    only = json.loads(said("sites", "list", "--verified-only", "--json"))
    assert [site["site_id"] for site in only] == [old]
    assert f"confirmed (said of {young}, which grew together" in said("sites", "show", old)
    told = said("review", young, "rejected", "--reason", "sandbar", "--who", "kofi")
    assert f"{young} grew together with {old}, which goes on." in told
    assert f"{old}: rejected (sandbar) by kofi" in told
    assert sites() == []


def _first_seen(site: dict[str, object]) -> str:
    return str(site["first_seen"])


def test_alerts_are_exported_as_they_are_listed(store: Path) -> None:
    listed = json.loads(said("alerts", "list", "--level", "highest", "--json"))
    said("sites", "export", "alerts.csv", "--what", "alerts", "--level", "highest")
    with Path("alerts.csv").open(encoding="utf-8-sig") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["alert_id"] for row in rows] == [alert["alert_id"] for alert in listed]


IMPORT = ("import", "detections", "--from", "2023-04", "--to", "2023-06", "--area-name", "ours")


@pytest.mark.parametrize("name", ["a.geojson", "a.gpkg", "a.csv", "a.shp.zip", "a.kml"])
def test_what_came_out_of_a_store_does_not_go_in_again(store: Path, name: str) -> None:
    said("sites", "export", name)
    if name.endswith(".zip"):
        with zipfile.ZipFile(name) as archive:
            archive.extractall("unpacked")
        name = "unpacked/sites.shp"
    before = store.read_bytes()
    result = CliRunner().invoke(app, [*IMPORT, name])
    assert isinstance(result.exception, ConfigError)
    assert "was exported from this store" in str(result.exception)
    assert store.read_bytes() == before
    said("sites", "export", "r.geojson", "--redact", "5km")
    with pytest.raises(ConfigError, match="cells of a grid, not places"):
        CliRunner().invoke(app, [*IMPORT, "r.geojson"], catch_exceptions=False)


def test_what_others_found_backs_no_sensor(store: Path, tmp_path: Path) -> None:
    """The same outlines, with nothing that tells where they are from."""
    known = {site["site_id"]: site["level"] for site in sites()}
    # One that two sensors agree on, one that the second did not see.
    assert set(known.values()) == {None, "highest"}
    said("sites", "export", "sites.gpkg")
    theirs = gpd.read_file("sites.gpkg", layer="sites")[["geometry"]]
    theirs.to_file("theirs.gpkg")
    told = json.loads(said(*IMPORT, "theirs.gpkg", "--probability", "0.99", "--json"))
    assert [one["detections"] for one in told["landings"]] == [2]
    # As one more look of the sensor that saw it before.
    weak = next(site_id for site_id, level in known.items() if level is None)
    expected = known | {weak: "low"}
    assert {site["site_id"]: site["level"] for site in sites()} == expected
    # Brought in for another year they are another date, and still no other sensor.
    said(*IMPORT[:2], "theirs.gpkg", "--from", "2022", "--probability", "0.99", *IMPORT[-2:])
    assert {site["site_id"]: site["level"] for site in sites()} == expected


def test_a_table_is_imported_by_year(store: Path, tmp_path: Path) -> None:
    rows = ["x,y,found", "500000,9000000,2021-05-01", "500000,9000000,2022-06-01", "1,,2022"]
    (tmp_path / "visits.csv").write_text("\n".join(rows))
    words = ("import", "detections", "visits.csv", "--date-column", "found", "--radius", "80m")
    text = said(*words, "--crs", "EPSG:32721")
    assert "2021-01_2021-12: 1 detections, 1 sites not known before" in text
    assert "Left out, without coordinates: 1." in text
    assert "2 rows taken as discs of 2.01 ha (a radius of 80 m)" in text
    # The same again changes nothing.
    assert "0 of them not known before" in said(*words, "--crs", "EPSG:32721")


def test_a_process_that_exported_everything_ends_quietly(store: Path, tmp_path: Path) -> None:
    """Libraries' threads must not outlive the interpreter: that would abort it at its end."""
    names = [f"a{about.suffixes[0]}" for about in EXPORT_FORMATS.values()]
    script = (
        "import sys\nfrom sluice.app.cli.main import app\n"
        f"for name in {names!r}:\n"
        "    app(['sites', 'export', name], standalone_mode=False)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=False, timeout=120
    )
    assert (done.returncode, done.stderr.decode().split()) == (0, ["Pictures", "…"])
    assert all((tmp_path / name).is_file() for name in names)


def test_ground_is_what_was_detected_and_what_was_added(store: Path) -> None:
    said("sites", "ground", "all.gpkg")
    said("sites", "ground", "added.gpkg", "--added-since", "2023-03")
    everything, added = (gpd.read_file(name, layer="ground") for name in ("all.gpkg", "added.gpkg"))
    assert len(everything) == 2
    assert len(added) == 1
    assert added["area_ha"].iloc[0] == pytest.approx(9 * 0.64, rel=0.002)


@pytest.mark.parametrize("ending", ["gpkg", "geojson", "parquet"])
def test_ground_does_not_go_in_again(store: Path, ending: str) -> None:
    said("sites", "ground", f"all.{ending}")
    before = sites()
    words = ("--from", "2021", "--to", "2021", "--probability", "0.9", "--area-name", "ours")
    with pytest.raises(ConfigError, match="is what `sluice sites ground` wrote"):
        said("import", "detections", f"all.{ending}", *words)
    # Nor through another program, which keeps the columns.
    read_vector(Path(f"all.{ending}")).to_file("again.shp")
    with pytest.raises(ConfigError, match="is what `sluice sites ground` wrote"):
        said("import", "detections", "again.shp", *words)
    assert sites() == before


def test_what_lies_outside_of_the_area_is_told_when_it_is_left_out(store: Path) -> None:
    site = gpd.GeoSeries([shapely.box(-50, 3, -49.99, 3.01)], crs="EPSG:4326")
    with contextlib.closing(open_store(str(store))) as opened:
        inside = opened.areas().geometry.iloc[0].centroid.buffer(0.005)
    gpd.GeoDataFrame(geometry=[inside, *site], crs="EPSG:4326").to_file("theirs.gpkg")
    words = ("--from", "2021", "--to", "2021", "--probability", "0.9", "--area-name", "ours")
    told = said("import", "detections", "theirs.gpkg", *words)
    assert "1 detections" in told
    assert "Left out, outside of area ours: 1." in told


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("sites", "list", "--area-name", "oars"), "it knows ours"),
        (("sites", "export", "x.csv", "--area-name", "oars"), "it knows ours"),
        (("sites", "ground", "x.gpkg", "--area-name", "oars"), "it knows ours"),
        (("alerts", "list", "--area-name", "oars"), "it knows ours"),
        (("sites", "list", "--status", "old"), "use one of new, growing"),
        (("sites", "list", "--verdict", "maybe"), "use some of confirmed, rejected, unsure, none"),
        (("sites", "list", "--verdict", "none", "--verified-only"), "give one of them"),
        (("sites", "list", "--bbox", "1,2,3"), "--bbox '1,2,3': a box has four numbers"),
        (("sites", "list", "--bbox", "3,2,1,0"), "--bbox '3,2,1,0': a box is west"),
        (("sites", "list", "--since", "soon"), "--since soon: is not a date"),
        (("alerts", "list", "--since", "0001"), "--since 0001: no satellite"),
        (("sites", "ground", "x.gpkg", "--until", "9999"), "--until 9999: no satellite"),
        (("sites", "ground", "x.gpkg", "--added-since", "may"), "--added-since may: is not"),
        (("sites", "export", "x.gpkg", "--what", "detections", "--redact", "5km"), "exact places"),
        (("sites", "export", "x.kml", "--what", "detections"), "does not hold detections"),
        (("areas", "remove", "oars"), "which has ours"),
        (("areas", "remove", "ours"), "holds 3 runs, 4 detections, 2 sites"),
        (("areas", "remove", "ours", "--with-everything"), "give --yes"),
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


def test_detections_are_exported_with_what_lies_around_them(store: Path) -> None:
    said("sites", "export", "all.gpkg", "--what", "sites,detections")
    found = gpd.read_file("all.gpkg", layer="detections")
    assert len(found) == 4
    assert set(found["context_legality"]) == {"unknown"}
    assert sorted(found["sensor"].unique()) == ["planet-4b", "s2-l2a"]
    assert set(found.geom_type) == {"MultiPolygon"}
    (site,) = {row["site_id"] for row in sites() if row["first_seen"] == "2023-01-01"}
    (told,) = json.loads(said("sites", "show", site, "--json"))
    assert [one["start"] for one in told["detections"]] == ["2023-01-01", "2023-04-01"]
    assert told["detections"][0]["context"]["legality"] == "unknown"


def test_an_area_is_removed_with_everything_once_it_is_said_twice(store: Path) -> None:
    said("areas", "add", "empty", "--area", "-1,5,0,6")
    assert "empty is not followed any more" in said("areas", "remove", "empty")
    (site, *_) = (row["site_id"] for row in sites())
    said("review", site, "confirmed", "--who", "ama")
    text = said("areas", "remove", "ours", "--with-everything", "--yes")
    assert "ours holds 3 runs, 4 detections, 2 sites" in text
    assert "1 review: all of it is lost for good" in text
    assert "cannot be made anew" in text
    assert said("areas", "list").startswith("No area yet")
    assert "ok" in said("store", "check")
