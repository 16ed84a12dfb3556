"""`sluice publish`: what the folder holds, what it leaves out, and that it is whole."""

import contextlib
import datetime as dt
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import geopandas as gpd
import pytest
import shapely
from typer.testing import CliRunner

pytest.importorskip("fastapi")

from fastapi.testclient import TestClient

from map_cases import AREA, LATE, OLD, QUARTERS, write_store
from sluice import __version__
from sluice.app.cli.errors import INTERRUPTED
from sluice.app.cli.main import app
from sluice.app.following.landing import add_named_area
from sluice.app.following.reviewing import add_review
from sluice.app.following.stores import open_store, restore_store
from sluice.app.publishing import publish as publishing
from sluice.app.publishing.content import file_name
from sluice.app.publishing.publish import Publishing, publish
from sluice.app.web import settings
from sluice.app.web.server import create_app
from sluice.app.worker_names import own_name
from sluice.base.errors import ConfigError, RunFailed
from sluice.base.places import Layer, LayerKind, Reason, Verdict
from sluice.base.store import SiteQuery
from stores import StorePlaces

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


def test_a_place_without_a_name_is_refused(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    for place in (".", "..", "../inner/..", "/"):
        with pytest.raises(ConfigError, match=r"is where you are, or above it; give the name"):
            publish(store, Path(place), Publishing(pictured=0), overwrite=True)
    assert [path.name for path in tmp_path.rglob("*")] == ["inner"]


@pytest.fixture
def reviewed(places: StorePlaces, store: str) -> str:
    """A store of each kind, for this test alone."""
    address = places.empty()
    restore_store(Path(store), address)
    return address


def test_a_map_is_of_one_moment_whoever_reviews_meanwhile(
    reviewed: str, out: Path, built: Path, tmp_path: Path
) -> None:
    given = []

    def review(done: int, total: int) -> None:
        if not given:
            with contextlib.closing(open_store(reviewed)) as opened:
                ids = sorted(opened.sites(SiteQuery())["site_id"])[2:]
                for one in ids:
                    add_review(opened, one, Verdict.REJECTED, Reason.CLOUD, who="Ama", note="")
            given.extend(ids)

    written = publish(
        reviewed, tmp_path / "now", Publishing(pictured=0), map_folder=built, done=review
    )
    assert (len(given), written.sites) == (ALL - 2, ALL - 1)
    for name in ("sites", "alerts", "statistics"):
        told = f"areas/0/{name}.json"
        assert read(tmp_path / "now", told) == read(out, told)
    for one in rows(read(out, "areas/0/sites.json")):
        page = read(tmp_path / "now", f"sites/{one['site_id']}.json")
        assert page["site"]["verdict"] == one["verdict"] != "rejected"
    later = publish(reviewed, tmp_path / "later", Publishing(pictured=0), map_folder=built)
    assert later.sites == 1
    assert not list(tmp_path.glob(".*"))


_SLOW = """
import sys, time
from pathlib import Path
from sluice.app.publishing import content
from sluice.app.web import settings

built = Path(sys.argv.pop(1))
settings.Settings.model_fields["map_folder"].default_factory = lambda: built

def slow(part):
    print("begun", flush=True)
    time.sleep(60)

content.site_list = slow
from sluice.app.cli.main import main
main()
"""


@pytest.fixture
def begin(store: str, built: Path) -> Iterator[Callable[[Path], Popen[str]]]:
    """Begin to publish, and go on until all is over."""
    begun = []

    def begin(out_dir: Path) -> Popen[str]:
        words = ["publish", str(out_dir), "--store", store, "--overwrite"]
        one = Popen(
            [sys.executable, "-c", _SLOW, str(built), *words], stdout=PIPE, stderr=PIPE, text=True
        )
        begun.append(one)
        assert one.stdout.readline() == "begun\n", one.stderr.read()
        return one

    yield begin
    for one in begun:
        one.kill()
        one.wait()
        one.stdout.close()
        one.stderr.close()


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_who_is_told_to_end_leaves_nothing(begin: Any, tmp_path: Path) -> None:
    one = begin(tmp_path / "public")
    assert [path.name.partition("-")[0] for path in tmp_path.iterdir()] == [".public.publishing"]
    one.send_signal(signal.SIGTERM)
    assert one.wait(20) == INTERRUPTED
    assert one.stderr.read().strip() == "Stopped."
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_what_a_killed_one_left_goes_and_nothing_else(
    begin: Any, store: str, tmp_path: Path
) -> None:
    out = tmp_path / "public"
    killed, alive = begin(out), begin(out)
    elsewhere = begin(tmp_path / "public.publishing-x")
    killed.kill()
    elsewhere.kill()
    for one in (killed, elsewhere):
        one.wait()
    theirs = tmp_path / ".public.publishing-theirs"
    theirs.mkdir()
    (theirs / "thesis.txt").write_text("mine", "utf-8")
    (tmp_path / ".part-ours").mkdir()
    before = {path.name for path in tmp_path.iterdir()}
    assert len(before) == 5
    publish(store, out, Publishing(pictured=0))
    gone = before - {path.name for path in tmp_path.iterdir()}
    (left,) = gone
    assert left.startswith(".public.publishing-")
    assert left != theirs.name
    assert alive.poll() is None
    assert (theirs / "thesis.txt").read_text("utf-8") == "mine"
    # The other one's own target takes its leavings along.
    publish(store, tmp_path / "public.publishing-x", Publishing(pictured=0))
    assert len({path.name for path in tmp_path.iterdir()} - before) == 2
    assert not list(tmp_path.glob(".public.publishing-x.*"))


def test_a_map_that_was_put_aside_by_a_killed_one_comes_back(store: str, tmp_path: Path) -> None:
    out = tmp_path / "public"
    publish(store, out, Publishing(pictured=0))
    work = tmp_path / ".public.publishing-0000"
    work.mkdir()
    owner = {"worker": own_name(), "of": "public"}
    owner["worker"] = owner["worker"].replace(f"-{os.getpid()}-", "-4194303-")
    (work / "owner.json").write_text(json.dumps(owner), "utf-8")
    out.rename(work / "old")
    with pytest.raises(ConfigError, match="give --overwrite"):
        publish(store, out, Publishing(pictured=0))
    assert (out / "index.html").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["public"]


def test_layers_of_other_areas_are_not_named(store: str, tmp_path: Path) -> None:
    ours = str(shutil.copy(store, tmp_path / "ours.sqlite"))
    far = shapely.box(20, 20, 21, 21)
    with contextlib.closing(open_store(ours)) as opened:
        add_named_area(opened, "far", far)
        about = Layer(
            name="dioceses", kind=LayerKind.DISTRICTS, source="made.gpkg", sha256="0" * 64,
            features=1, registered=dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
        )  # fmt: skip
        table = {"name": ["North"], "start": [None], "end": [None], "properties": [{}]}
        opened.put_layer(about, gpd.GeoDataFrame(table, geometry=[far], crs="EPSG:4326"))
    told = {}
    for name, areas in (("one", (AREA,)), ("other", ("far",)), ("both", None)):
        publish(ours, tmp_path / name, Publishing(areas=areas, pictured=0))
        lines = read(tmp_path / name, "published.json")["about"]["en"]
        told[name] = [line for line in lines if "districts" in line or "dioceses" in line]
    assert ["dioceses" in line for lines in told.values() for line in lines] == [False, True, True]
    assert ["rivers" in line for lines in told.values() for line in lines] == [True, False, True]


def test_ids_that_are_no_file_names_get_one() -> None:
    assert file_name("s-6yb5hz7d6") == "s-6yb5hz7d6"
    assert file_name("r-0123456789abcdef") == "r-0123456789abcdef"
    odd = ["../../etc/passwd", "s-A", "s-a", "con", "s-", "é/ü", "s-" + "a" * 90]
    names = {file_name(one) for one in odd}
    assert len(names) == len(odd)
    assert all(re.fullmatch(r"[a-z]-[0-9a-z]+", name) for name in names)
