"""Whatever leaves a store redacted is searched for the true places, and for what leads to them."""

from __future__ import annotations

import contextlib
import datetime as dt
import math
import re
import shutil
import sqlite3
import subprocess
import zipfile
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely
from typer.testing import CliRunner

from arrivals import GRID, PIT, arrival_of
from sluice.app.cli.main import app
from sluice.app.exports.write import EXPORT_FORMATS
from sluice.app.following.landing import add_named_area, land
from sluice.app.following.reviewing import add_review
from sluice.app.following.stores import open_store
from sluice.app.messages import LANGUAGES
from sluice.app.products.coverage import outline_lonlat
from sluice.base.errors import ConfigError
from sluice.base.places import Verdict
from sluice.base.store import SiteQuery
from sluice.sites.fixed_grid import cells_of

AREA = "rio-crepori"
OTHER = (60, 60, 3)
FILE = "joao-teodoro.gpkg"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sites, one of which others had found before."""
    folder = tmp_path_factory.mktemp("store")
    path = folder / "ours.sqlite"
    with contextlib.closing(open_store(str(path), create=True)) as store:
        add_named_area(store, AREA, outline_lonlat(GRID))
        for quarter, mines in enumerate([[PIT], [PIT, OTHER]]):
            arrival = arrival_of(quarter, mines)
            land(store, type(arrival)(arrival.run.model_copy(update={"area": AREA}),
                                      arrival.detections, arrival.evidence_map))  # fmt: skip
        outlines = store.sites(SiteQuery()).geometry.iloc[:1]
    outlines.to_frame("geometry").to_file(folder / FILE)
    words = (str(folder / FILE), "--from", "2022", "--area-name", AREA, "--store", str(path))
    said("import", "detections", *words)
    return path


@pytest.fixture
def store(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / filled.name).write_bytes(filled.read_bytes())
    monkeypatch.setenv("SLUICE_STORE", "ours.sqlite")
    monkeypatch.chdir(tmp_path)
    return tmp_path / filled.name


@pytest.fixture
def built_map(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `sluice publish` takes for the built map."""
    settings = pytest.importorskip("sluice.app.web.settings")
    folder = tmp_path_factory.mktemp("static")
    page = '<html lang="en"><title>Sluice</title><body><div id="app"></div></body></html>'
    (folder / "index.html").write_text(page, "utf-8")
    field = settings.Settings.model_fields["map_folder"]
    monkeypatch.setattr(field, "default_factory", lambda: folder)
    return folder


def said(*words: str) -> str:
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def secrets_of(store: Path) -> dict[str, str]:
    """What must not be told, and what it is."""
    with contextlib.closing(open_store(str(store))) as opened:
        sites = opened.sites(SiteQuery())
        alerts = opened.alerts(SiteQuery())
        found = opened.detections(SiteQuery())
    words = {AREA: "area", FILE: "file", "teodoro": "file"}
    words |= dict.fromkeys([*alerts["alert_id"]], "alert")
    for ids in (sites["site_id"], found["detection_id"]):
        # Six letters of a geohash are a kilometre.
        words |= {name.partition("-")[2][:6]: "geohash" for name in ids}
    points = [*zip(sites["lon"], sites["lat"], strict=True)]
    points += [tuple(point) for point in shapely.get_coordinates(sites.geometry.to_numpy())]
    for lon, lat in points:
        for value in (lon, lat):
            cut = math.trunc(value * 1000) / 1000
            words |= {f"{value:.3f}": "place", f"{cut:.3f}": "place"}
    # An outline may lie on the edge of a cell, which is told.
    cells = cells_of(*np.array(points).T, 5000)
    edges = shapely.get_coordinates(cells.polygons()).ravel()
    told = {f"{value:.7f}" for value in (*edges, *cells.lon, *cells.lat)}
    return {word: kind for word, kind in words.items() if not any(word in one for one in told)}


def told_by(path: Path) -> str:
    """All text in a file, also what is packed in it; its name too."""
    content = path.read_bytes()
    texts = [path.name, content.decode("latin-1")]
    if path.suffix == ".pdf":
        texts += [_output("pdftotext", "-raw", str(path), "-"), _output("pdfinfo", str(path))]
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                texts += [name, archive.read(name).decode("latin-1")]
    elif path.suffix == ".parquet":
        texts += [gpd.read_parquet(path).to_csv(), str(pq.read_schema(path).metadata)]
    elif path.suffix == ".gpkg":
        with contextlib.closing(sqlite3.connect(path)) as opened:
            texts += list(opened.iterdump())
    if path.suffix in {".gpkg", ".pmtiles"}:
        for layer in pyogrio.list_layers(path)[:, 0]:
            frame = pyogrio.read_dataframe(path, layer=layer)
            located = frame.to_crs(4326) if isinstance(frame, gpd.GeoDataFrame) else frame
            texts += [located.to_csv(), str(pyogrio.read_info(path, layer=layer))]
    return "\n".join(texts)


def _output(*words: str) -> str:
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed (Debian: poppler-utils)")
    return subprocess.run(words, capture_output=True, check=True, timeout=30).stdout.decode()


def assert_silent(path: Path, secrets: dict[str, str]) -> None:
    text = told_by(path)
    found = {f"{kind} {word}" for word, kind in secrets.items() if re.search(_whole(word), text)}
    assert not found, f"{path.name}: {sorted(found)[:5]}"


def _whole(word: str) -> str:
    # A digit before would make it another number.
    return r"(?<![\d.])" + re.escape(word) if re.fullmatch(r"-?\d+\.\d+", word) else re.escape(word)


TABLES = [
    *((fmt, "sites") for fmt in EXPORT_FORMATS),
    *((fmt, "alerts") for fmt in EXPORT_FORMATS),
    ("csv", "periods"),
    ("gpkg", "sites,alerts,periods"),
]


@pytest.mark.parametrize(("fmt", "what"), TABLES)
def test_no_export_tells_the_place(store: Path, fmt: str, what: str) -> None:
    name = f"public{EXPORT_FORMATS[fmt].suffixes[0]}"
    words = ("sites", "export", name, "--format", fmt, "--what", what)
    secrets = secrets_of(store)
    text = said(*words, "--redact", "5km")
    assert "show no exact place" in text
    assert_silent(store.parent / name, secrets)
    # The search finds what is there to be found.
    said(*words)
    with pytest.raises(AssertionError, match=r"place|geohash|area"):
        assert_silent(store.parent / name, secrets)


@pytest.mark.parametrize("name", ["ground.gpkg", "ground.geojson", "ground.parquet"])
def test_no_ground_tells_the_place(store: Path, name: str) -> None:
    secrets = secrets_of(store)
    assert "2 cells" in said("sites", "ground", name, "--redact", "5km")
    assert_silent(store.parent / name, secrets)
    # The second site was not there yet before the second quarter of 2023.
    days = (dt.datetime.now(dt.UTC).date() - dt.date(2023, 5, 1)).days
    late = ("--redact", "5km", "--delay", f"{days}days")
    assert "1 cells" in said("sites", "ground", name, *late)
    said("sites", "ground", name)
    with pytest.raises(AssertionError, match=r"place|geohash|area"):
        assert_silent(store.parent / name, secrets)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_report_tells_the_place(store: Path, language: str) -> None:
    secrets = secrets_of(store)
    with contextlib.closing(open_store(str(store))) as opened:
        site_id = opened.sites(SiteQuery())["site_id"].iloc[0]
    for target in (site_id, AREA):
        # A cell of 5 km of an area of 8 km: the area's name would tell more than the cell.
        said("report", target, "--out", "public", "--lang", language, "--redact", "5km")
    files = sorted((store.parent / "public").iterdir())
    assert len(files) == 6
    for path in files:
        assert_silent(path, secrets)
    said("report", site_id, "--out", "open", "--lang", language)
    for path in (store.parent / "open").iterdir():
        with pytest.raises(AssertionError):
            assert_silent(path, secrets)


@pytest.mark.parametrize(
    ("more", "largest_geojson"),
    [((), 0), (("--delay", "1month"), 1_000_000), (("--verified-only",), 0)],
)
def test_no_published_map_tells_the_place(
    store: Path,
    more: tuple[str, ...],
    largest_geojson: int,
    built_map: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    publishing = pytest.importorskip("sluice.app.publishing.publish")
    monkeypatch.setattr(publishing, "LARGEST_GEOJSON_BYTES", largest_geojson)
    with contextlib.closing(open_store(str(store))) as opened:
        for site_id in opened.sites(SiteQuery())["site_id"]:
            add_review(opened, site_id, Verdict.CONFIRMED, None, who="Ama Owusu", note="AA-77-pit")
    secrets = secrets_of(store) | {"Owusu": "reviewer", "AA-77": "note"}
    said("publish", "public", "--redact", "5km", *more)
    files = [path for path in Path("public").rglob("*") if path.is_file()]
    outlines = "pmtiles" if largest_geojson == 0 else "geojson"
    assert len([path for path in files if path.suffix == f".{outlines}"]) == 1
    assert len(list(Path("public/data/sites").iterdir())) == 2
    assert not [path for path in files if path.suffix in {".jpg", ".png"}]
    for path in files:
        assert_silent(path, secrets)
    # Published as it is, sites and tiles tell what is searched for.
    said("publish", "open", "--pictures", "0")
    for path in [*Path("open/data/sites").iterdir(), *Path("open").rglob("outlines.*")]:
        with pytest.raises(AssertionError, match=r"place|geohash"):
            assert_silent(path, secrets)


def test_an_area_is_named_where_it_is_much_larger_than_a_cell(store: Path) -> None:
    # 64 square kilometres; cells at its edge would show which part of them is meant.
    with contextlib.closing(open_store(str(store))) as opened:
        site_id = opened.sites(SiteQuery())["site_id"].iloc[0]
    for size, named in (("500m", True), ("1km", False)):
        said("report", AREA, "--out", size, "--redact", size, "--format", "html")
        said("report", site_id, "--out", size, "--redact", size, "--format", "html")
        pages = [path.read_text("utf-8") for path in Path(size).glob("*.html")]
        assert [AREA in page for page in pages] == [named, named]
        assert Path(size, f"{AREA}-en.html").is_file() == named
        assert Path(size, "area-en.html").is_file() != named


def test_a_key_gives_the_same_ids_everywhere_and_never_stands_alone(store: Path) -> None:
    key = ("--redact-key", "only we know this one")
    for words in (("sites", "export", "a.csv"), ("report", AREA, "--out", "public")):
        with pytest.raises(ConfigError, match=r"--redact-key .* exact places are written"):
            CliRunner().invoke(app, [*words, *key], catch_exceptions=False)
    assert not Path("a.csv").exists()
    said("sites", "export", "a.csv", "--redact", "5km", *key)
    said("report", AREA, "--out", "public", "--redact", "5km", *key, "--format", "html")
    ids = re.findall(r"r-[0-9a-f]{16}", Path("a.csv").read_text("utf-8"))
    assert len(np.unique(ids)) == 2
    page = Path("public", "area-en.html").read_text("utf-8")
    assert all(one in page for one in ids)
