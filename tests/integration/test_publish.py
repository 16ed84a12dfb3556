"""`sluice publish`: what the folder holds, what it leaves out, and that it is whole."""

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

pytest.importorskip("fastapi")

from fastapi.testclient import TestClient

from map_cases import AREA, LATE, OLD, QUARTERS, write_store
from sluice import __version__
from sluice.app.cli.main import app
from sluice.app.following.reviewing import add_review
from sluice.app.following.stores import open_store
from sluice.app.publishing import publish as publishing
from sluice.app.publishing.content import file_name
from sluice.app.publishing.publish import Publishing, publish
from sluice.app.web import settings
from sluice.app.web.server import create_app
from sluice.base.errors import ConfigError, RunFailed
from sluice.base.places import Reason, Verdict
from sluice.base.store import SiteQuery

ALL = len(OLD) + len(LATE)
NOTE = "seen from the road by the chief's brother"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Seven sites; one is confirmed, one rejected."""
    path = write_store(tmp_path_factory.mktemp("store") / "ours.sqlite", images=True)
    with contextlib.closing(open_store(path)) as opened:
        ids = sorted(opened.sites(SiteQuery())["site_id"])
        outline = opened.sites(SiteQuery(site_ids=(ids[0],))).geometry.iloc[0].envelope
        who = "Kofi Mensah"
        add_review(opened, ids[0], Verdict.CONFIRMED, None, who=who, note=NOTE, outline=outline)
        add_review(opened, ids[1], Verdict.REJECTED, Reason.FISH_POND, who="Kofi Mensah", note="")
    return path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the built map looks like from here; the true one is for tests with a browser."""
    folder = tmp_path_factory.mktemp("static")
    (folder / "assets").mkdir()
    (folder / "assets" / "index-1.js").write_text("0", "utf-8")
    page = '<!doctype html>\n<html lang="en"><title>Sluice</title><body><div id="app"></div></body>'
    (folder / "index.html").write_text(page, "utf-8")
    return folder


@pytest.fixture(autouse=True)
def _built_map(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "packaged_map", lambda: built)
    field = settings.Settings.model_fields["map_folder"]
    monkeypatch.setattr(field, "default_factory", lambda: built)


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / "data" / name).read_text("utf-8"))


def rows(table: dict[str, Any]) -> list[dict[str, Any]]:
    return [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]


@pytest.fixture(scope="module")
def out(store: str, built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of it, with pictures of two sites."""
    folder = tmp_path_factory.mktemp("public") / "out"
    done = []
    written = publish(
        store,
        folder,
        Publishing(pictured=2),
        map_folder=built,
        done=lambda k, n: done.append((k, n)),
    )
    assert (written.sites, written.areas, written.pictured) == (ALL - 1, 1, 2)
    assert done == [(k, ALL - 1) for k in range(1, ALL)]
    return folder


def test_a_folder_tells_what_the_service_tells(store: str, out: Path) -> None:
    client = TestClient(create_app(settings.Settings(store=store)), base_url="http://127.0.0.1")
    served = {one["site_id"]: one for one in client.get("/api/sites").json()["sites"]}
    rejected = {name for name, one in served.items() if one["verdict"] == "rejected"}
    sites = rows(read(out, "areas/0/sites.json"))
    assert {one["site_id"] for one in sites} == served.keys() - rejected
    for one in sites:
        known = served[one["site_id"]]
        assert {k: one[k] for k in ("status", "verdict", "first_seen")} == {
            k: known[k] for k in ("status", "verdict", "first_seen")
        }
        assert one["lon"] == pytest.approx(known["lon"], abs=1e-6)
        assert one["priority"] == pytest.approx(known["priority"], abs=0.051)
        page, other = (
            read(out, f"sites/{one['site_id']}.json"),
            client.get(f"/api/sites/{one['site_id']}").json(),
        )
        assert page["periods"] == other["periods"]
        assert page["site"] == other["site"]
        assert page["geometry"] == other["geometry"]
    alerts = {one["alert_id"] for one in rows(read(out, "areas/0/alerts.json"))}
    standing = client.get("/api/alerts").json()["alerts"]
    assert alerts == {one["alert_id"] for one in standing if one["site_id"] not in rejected}
    published = read(out, "published.json")
    (area,) = published["areas"]
    assert (area["name"], area["sites"], area["alerts"]) == (AREA, ALL - 1, len(alerts))
    assert len(area["periods"]) == len(QUARTERS)
    for period in area["periods"]:
        span = f"{period['start']}/{period['end']}"
        sums = client.get(f"/api/statistics?by=district&period={span}").json()
        assert read(out, "areas/0/statistics.json")["district"][span] == sums
    assert read(out, "messages/pt.json") == client.get("/api/messages/pt").json()


def test_the_most_urgent_sites_have_pictures(out: Path) -> None:
    sites = rows(read(out, "areas/0/sites.json"))
    found = [read(out, f"sites/{one['site_id']}.json").get("pictures") for one in sites]
    assert [one is not None for one in found] == [True, True, *[False] * (ALL - 3)]
    for pair in found[:2]:
        after = pair["after"]
        assert (after["start"], after["end"]) == ("2023-10-01", "2023-12-31")
        assert (out / "data" / after["file"]).read_bytes()[:2] == b"\xff\xd8"
    assert len(list(out.rglob("*.jpg"))) == sum(len(pair) for pair in found[:2])


def test_what_nobody_needs_to_know_stays_out(store: str, out: Path) -> None:
    everything = "\n".join(
        path.read_bytes().decode("latin-1") for path in out.rglob("*") if path.is_file()
    )
    for secret in ("Kofi", "chief", str(Path(store).parent), "composite.tif", "sqlite"):
        assert secret not in everything
    page = (out / "index.html").read_text("utf-8")
    for words in ("A detection is a lead to verify, not proof.", "Copernicus Sentinel data 2023"):
        assert words in page
        assert words in (out / "README.txt").read_text("utf-8")
    assert f"Sluice {__version__}" in page
    assert re.search(r"Made on \d+ \w+ 20\d\d", page)
    assert 'data-published="data/"' in page


def test_only_confirmed_sites_and_only_some_areas(store: str, tmp_path: Path) -> None:
    publish(store, tmp_path / "some", Publishing(areas=(AREA,), verified_only=True, pictured=0))
    sites = rows(read(tmp_path / "some", "areas/0/sites.json"))
    assert [one["verdict"] for one in sites] == ["confirmed"]
    (area,) = read(tmp_path / "some", "published.json")["areas"]
    assert area["sites"] == 1
    sums = read(tmp_path / "some", "areas/0/statistics.json")["district"]["latest"]
    assert sum(one["sites"] for one in sums) == 1
    ids = {one["site_id"] for one in rows(read(tmp_path / "some", "areas/0/alerts.json"))}
    assert ids <= {sites[0]["site_id"]}
    with pytest.raises(ConfigError, match=r"--area elsewhere: .* it knows ours"):
        publish(store, tmp_path / "none", Publishing(areas=("elsewhere",)))
    assert not (tmp_path / "none").exists()


def test_large_outlines_become_tiles(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(store, tmp_path / "small", Publishing(pictured=0))
    monkeypatch.setattr(publishing, "LARGEST_GEOJSON_BYTES", 100)
    publish(store, tmp_path / "large", Publishing(pictured=0))
    names = [read(tmp_path / one, "published.json")["areas"][0]["outlines"]
             for one in ("small", "large")]  # fmt: skip
    assert names == ["outlines.geojson", "outlines.pmtiles"]
    content = (tmp_path / "large" / "data/areas/0/outlines.pmtiles").read_bytes()
    assert content[:7] == b"PMTiles"
    assert not list((tmp_path / "large").rglob("*.geojson"))
    assert not list((tmp_path / "small").rglob("*.jpg"))


def test_a_folder_is_replaced_only_where_asked_and_whole(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "public"
    publish(store, out, Publishing(pictured=0))
    (out / "data" / "sites" / "s-old.json").write_text("{}", "utf-8")
    with pytest.raises(ConfigError, match="--overwrite"):
        publish(store, out, Publishing(pictured=0))

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(publishing, "write_page", full)
        with pytest.raises(RunFailed, match="disk is full"):
            publish(store, out, Publishing(pictured=0), overwrite=True)
        with pytest.raises(RunFailed, match="disk is full"):
            publish(store, tmp_path / "new", Publishing(pictured=0))
    assert (out / "data" / "sites" / "s-old.json").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["public"]
    publish(store, out, Publishing(pictured=0), overwrite=True)
    assert not (out / "data" / "sites" / "s-old.json").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["public"]


def test_a_published_folder_that_others_use_too_is_left_alone(store: str, tmp_path: Path) -> None:
    out = tmp_path / "public"
    publish(store, out, Publishing(pictured=0))
    (out / ".git").mkdir()
    with pytest.raises(ConfigError, match=r"did not publish \(\.git, 1 in all"):
        publish(store, out, Publishing(pictured=0), overwrite=True)
    assert (out / ".git").is_dir()
    theirs = tmp_path / "theirs"
    (theirs / "data").mkdir(parents=True)
    (theirs / "data" / "published.json").write_text('{"hello": 1}', "utf-8")
    with pytest.raises(ConfigError, match="did not publish"):
        publish(store, theirs, Publishing(pictured=0), overwrite=True)
    assert (theirs / "data" / "published.json").read_text("utf-8") == '{"hello": 1}'


def test_other_peoples_folders_are_left_alone(store: str, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine", "utf-8")
    with pytest.raises(ConfigError, match=r"did not publish \(thesis.txt"):
        publish(store, tmp_path, Publishing(), overwrite=True)
    assert (tmp_path / "thesis.txt").read_text("utf-8") == "mine"
    with pytest.raises(ConfigError, match="is a file"):
        publish(store, tmp_path / "thesis.txt", Publishing(), overwrite=True)
    (tmp_path / "empty").mkdir()
    publish(store, tmp_path / "empty", Publishing(pictured=0))
    assert (tmp_path / "empty" / "index.html").is_file()


def test_the_command_says_what_it_wrote_and_what_is_wrong(
    store: str, tmp_path: Path, built: Path
) -> None:
    words = ["publish", str(tmp_path / "public"), "--store", store, "--pictures", "0"]
    found = CliRunner().invoke(app, [*words, "--language", "fr"], catch_exceptions=False)
    assert found.exit_code == 0
    assert f"{ALL - 1} sites and" in found.output
    assert "python -m http.server" in found.output
    assert '<html lang="fr">' in (tmp_path / "public" / "index.html").read_text("utf-8")
    for wrong, said in (
        (["--language", "de"], "language 'de' is not known"),
        (["--delay", "6months"], "--redact 5km --delay 6months"),
        ([], "holds a published map; give --overwrite"),
    ):
        with pytest.raises(ConfigError, match=said):
            CliRunner().invoke(app, [*words, *wrong], catch_exceptions=False)


def test_without_a_built_map_nothing_is_written(store: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no built map .* `make map` .* wheel"):
        publish(store, tmp_path / "public", Publishing(), map_folder=tmp_path / "nowhere")
    assert not list(tmp_path.iterdir())


def test_ids_that_are_no_file_names_get_one() -> None:
    assert file_name("s-6yb5hz7d6") == "s-6yb5hz7d6"
    assert file_name("r-0123456789abcdef") == "r-0123456789abcdef"
    odd = ["../../etc/passwd", "s-A", "s-a", "con", "s-", "é/ü", "s-" + "a" * 90]
    names = {file_name(one) for one in odd}
    assert len(names) == len(odd)
    assert all(re.fullmatch(r"[a-z]-[0-9a-z]+", name) for name in names)
