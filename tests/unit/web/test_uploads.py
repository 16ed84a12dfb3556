"""Files that people send: what is read, and that no trick reaches the disk or the network."""

import contextlib
import gzip
import io
import json
import os
import random
import socket
import sqlite3
import subprocess
import sys
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from access_cases import Case, Serve
from sluice.app.following.stores import open_store
from sluice.app.web import upload_reading, uploads
from sluice.app.web.upload_reading import Wanted
from sluice.base.errors import DataError

SQUARE = shapely.box(-1.6, 5.2, -1.5, 5.3)
TABLE = gpd.GeoDataFrame(
    {"title": ["Ofin", "Pra"], "from": ["2020-01-01", None]},
    geometry=[SQUARE, shapely.box(-1.4, 5.2, -1.3, 5.3)],
    crs="EPSG:4326",
)
DRIVERS = {"gpkg": "GPKG", "geojson": "GeoJSON", "fgb": "FlatGeobuf", "kml": "KML"}


def file_of(suffix: str, folder: Path, table: gpd.GeoDataFrame = TABLE) -> bytes:
    path = folder / f"made.{suffix}"
    path.unlink(missing_ok=True)
    table.to_file(path, driver=DRIVERS[suffix])
    return path.read_bytes()


@pytest.fixture
def analyst(case: Case, serve: Serve) -> TestClient:
    return serve(case, heavy_per_minute=10**6)("analyst")


def send_area(client: TestClient, content: bytes, file: str, name: str = "new") -> Any:
    return client.post("/api/areas", params={"name": name, "file": file}, content=content)


def send_layer(client: TestClient, content: bytes, file: str, **options: Any) -> Any:
    params = {"name": "belts", "kind": "concessions", "file": file} | options
    return client.post("/api/layers", params=params, content=content)


def test_an_area_is_followed(case: Case, serve: Serve, tmp_path):
    clients = serve(case)
    analyst = clients("analyst")
    assert send_area(analyst, b"<kml>", "b.gpx").status_code == 422
    answer = send_area(analyst, file_of("kml", tmp_path), "my-area.KML")
    assert answer.status_code == 201, answer.text
    assert answer.json()["name"] == "new"
    with open_store(case.address) as store:
        areas = store.areas().set_index("name")
    assert areas.geometry["new"].equals(TABLE.union_all())
    assert "new" in {area["name"] for area in analyst.get("/api/areas").json()}
    told = clients("admin").get("/api/audit?what=upload").json()["events"]
    assert [(row["who"], row["on"], row["outcome"]) for row in told] == [
        ("analyst-1", "/api/areas?name=new&file=my-area.KML", "done"),
        ("analyst-1", "/api/areas?name=new&file=b.gpx", "refused: 422"),
    ]


def test_the_box_of_an_area_across_180_degrees_is_told_as_a_narrow_one(analyst: TestClient):
    sides = [shapely.box(177, -19, 180, -16), shapely.box(-180, -19, -178, -16)]
    content = shapely.to_geojson(shapely.MultiPolygon(sides)).encode()
    answer = send_area(analyst, content, "fiji.geojson", "fiji")
    assert answer.status_code == 201, answer.text
    assert answer.json()["bbox"] == [177, -19, -178, -16]


@pytest.mark.parametrize("box", [(0, 0, 1e-9, 1e-9), (-180, -90, 180, 90)])
def test_an_area_of_no_size_and_the_world_are_refused(analyst: TestClient, box):
    content = shapely.to_geojson(shapely.box(*box)).encode()
    answer = send_area(analyst, content, "odd.geojson", "odd")
    assert answer.status_code == 422
    assert "one that is followed" in answer.json()["error"]["message"]
    assert "odd" not in {area["name"] for area in analyst.get("/api/areas").json()}


def test_a_layer_is_registered(analyst: TestClient, case: Case, tmp_path):
    projected = TABLE.to_crs("EPSG:32630")
    options = {"name_column": "title", "start_column": "from", "licence": "CC0"}
    answer = send_layer(analyst, file_of("gpkg", tmp_path, projected), "a.gpkg", **options)
    assert answer.status_code == 201, answer.text
    assert (answer.json()["features"], answer.json()["kind"]) == (2, "concessions")
    with open_store(case.address) as store:
        (layer,) = store.layers()
        features = store.layer_features("belts")
    assert (layer.source, layer.licence) == ("uploaded: a.gpkg", "CC0")
    assert features["name"].tolist() == ["Ofin", "Pra"]
    assert str(features["start"].iloc[0]) == "2020-01-01"
    assert features["start"].iloc[1] is None
    np.testing.assert_allclose(features.total_bounds, TABLE.total_bounds, atol=1e-5)
    # What is there is replaced only where that is asked for.
    again = send_layer(analyst, file_of("gpkg", tmp_path), "a.gpkg")
    assert again.status_code == 409
    assert send_layer(analyst, file_of("fgb", tmp_path), "a.fgb", replace=True).status_code == 201


def test_those_of_some_areas_add_none_for_others(case: Case, serve: Serve, tmp_path):
    clients = serve(case)
    content = file_of("geojson", tmp_path)
    assert send_area(clients("limited"), content, "a.geojson").status_code == 403
    assert send_layer(clients("limited"), content, "a.geojson").status_code == 403
    assert send_area(clients("reviewer"), content, "a.geojson").status_code == 403


@pytest.mark.parametrize(
    "file",
    [
        "a.vrt", "a.shp", "a.zip", "a.kmz", "a.gpx", "a.gml", "a.parquet", "a.geojson.zip", "a",
        "a.gpkg.gz", "a.xml", "a.csv", "a.tif", ".geojson",
    ],
)  # fmt: skip
def test_kinds_that_are_not_taken(analyst: TestClient, tmp_path, file):
    answer = send_area(analyst, file_of("geojson", tmp_path), file)
    assert answer.status_code == 422
    assert "GeoPackage" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "file", ["../../etc/passwd", "/etc/a.geojson", "a\\b.geojson", "/vsicurl/http://x/a.geojson",
             "a\x00.geojson", "\n.geojson", "x" * 101]
)  # fmt: skip
def test_names_that_are_paths(analyst: TestClient, tmp_path, file):
    assert send_area(analyst, file_of("geojson", tmp_path), file).status_code == 400


class Canary:
    """A server that nobody should ask, and a file that nobody should read."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[bytes] = []
        self.file = folder / "secret.geojson"
        TABLE.assign(title="canary").to_file(self.file, driver="GeoJSON")
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/x.geojson"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                with connection:
                    self.asked.append(connection.recv(1000))
                    connection.sendall(b"HTTP/1.0 404 Not Found\r\n\r\n")

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()


@pytest.fixture
def canary(tmp_path, socket_enabled) -> Iterator[Canary]:
    made = Canary(tmp_path)
    yield made
    made.close()


def test_the_canary_sings(canary: Canary):
    """Read without care, such a file does ask the server: what the tests below rely on."""
    import pyogrio

    crs = {"type": "link", "properties": {"href": canary.url, "type": "proj4"}}
    point = {"type": "Point", "coordinates": [1, 2], "crs": crs}
    pyogrio.read_dataframe(json.dumps(point).encode())
    assert canary.asked


def vrt(canary: Canary, source: str) -> bytes:
    return (
        f'<OGRVRTDataSource><OGRVRTLayer name="a"><SrcDataSource>{source}</SrcDataSource>'
        "</OGRVRTLayer></OGRVRTDataSource>"
    ).encode()


def kml(body: str, doctype: str = "", encoding: str = "utf-8") -> bytes:
    text = (
        f'<?xml version="1.0" encoding="{encoding}"?>{doctype}'
        f'<kml xmlns="http://www.opengis.net/kml/2.2"><Document>{body}</Document></kml>'
    )
    return text.encode(encoding)


PLACEMARK = (
    "<Placemark><name>{name}</name><Polygon><outerBoundaryIs><LinearRing><coordinates>"
    "-1.6,5.2 -1.5,5.2 -1.5,5.3 -1.6,5.2</coordinates></LinearRing></outerBoundaryIs></Polygon>"
    "</Placemark>"
)


def read_apart(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """What becomes of each file of a folder, as an area and as a layer: the same reader as behind
    the routes, without starting Python for each; a process that was taken down says nothing."""
    script = Path(__file__).resolve().parents[2] / "upload_fuzz.py"
    ended = subprocess.run(
        [sys.executable, "-P", script, folder],
        check=False,
        env=upload_reading._environment(folder),
        capture_output=True,
        timeout=240,
    )
    assert ended.returncode == 0, ended.stderr.decode()
    told = [json.loads(line) for line in ended.stdout.splitlines()]
    return {
        (one["file"], one["what"]): json.loads(one["said"]) if one["status"] == 0 else {}
        for one in told
    }


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def hostile_texts(canary: Canary) -> dict[str, bytes]:
    square = shapely.geometry.mapping(SQUARE)
    link = {"type": "link", "properties": {"href": canary.url, "type": "ogcwkt"}}
    entity = f'<!DOCTYPE kml [<!ENTITY x SYSTEM "file://{canary.file}">]>'
    remote = f'<!DOCTYPE kml SYSTEM "{canary.url}">'
    laughs = "<!DOCTYPE kml [<!ENTITY a0 'ha'>" + "".join(
        f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 12)
    ) + "]>"  # fmt: skip
    network_link = f"<NetworkLink><Link><href>{canary.url}</href></Link></NetworkLink>"
    return {
        "link.geojson": json.dumps({**square, "crs": link}).encode(),
        "vrt.geojson": vrt(canary, canary.url),
        "vrt.kml": vrt(canary, str(canary.file)),
        "vrt.gpkg": vrt(canary, f"/vsicurl/{canary.url}"),
        "vrt.fgb": vrt(canary, f"/vsicurl/{canary.url}"),
        "path.geojson": str(canary.file).encode(),
        "address.json": canary.url.encode(),
        "string.json": json.dumps(canary.url).encode(),
        "wfs.kml": b"<OGRWFSDataSource><URL>" + canary.url.encode() + b"</URL></OGRWFSDataSource>",
        "stac.json": json.dumps({"type": "Catalog", "stac_version": "1.0.0", "links": [
            {"rel": "item", "href": canary.url}]}).encode(),
        "esri.json": json.dumps({"geometryType": "esriGeometryPolygon", "features": [],
                                 "exceededTransferLimit": True, "next": canary.url}).encode(),
        "xxe.kml": kml(PLACEMARK.format(name="&x;"), entity),
        "xxe16.kml": kml(PLACEMARK.format(name="&x;"), entity, "utf-16"),
        "dtd.kml": kml(PLACEMARK.format(name="a"), remote),
        "laughs.kml": kml(PLACEMARK.format(name="&a11;"), laughs),
        "links.kml": kml(network_link),
        "gml.kml": kml('<x xmlns:gml="http://www.opengis.net/gml"/>'),
        "deep.geojson": b'{"type":"GeometryCollection","geometries":[' * 50_000,
        "deep.json": b"[" * 5_000_000,
        "deep.kml": b"<kml>" + b"<a>" * 500_000,
        "zip.kml": zipped("a.kml", kml(PLACEMARK.format(name="a"))),
        "zip.gpkg": zipped("a.gpkg", b"0" * 200_000_000),
        "gz.geojson": gzip.compress(b"0" * 50_000_000),
        "empty.geojson": b"",
        "none.geojson": b'{"type": "FeatureCollection", "features": []}',
        "null.geojson": b'{"type": "Feature", "properties": null, "geometry": null}',
        "text.gpkg": b"GPKG",
        "far.geojson": shapely.to_geojson(shapely.box(1e300, 1, 1e301, 2)).encode(),
        "nan.geojson": b'{"type":"Polygon","coordinates":[[[NaN,1],[2,2],[3,1],[NaN,1]]]}',
    }  # fmt: skip


def zipped(name: str, content: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return target.getvalue()


@needs_fork
def test_files_that_are_more_than_a_map(canary: Canary, tmp_path):
    folder = tmp_path / "hostile"
    folder.mkdir()
    files = hostile_texts(canary)
    for file, content in files.items():
        (folder / file).write_bytes(content)
    told = read_apart(folder)
    assert len(told) == 2 * len(files)
    for (file, what), answer in told.items():
        assert file in answer.get("error", ""), (file, what, answer)
        assert "needs more" not in answer["error"] or file.startswith("deep"), answer
    assert canary.asked == []


def test_a_hostile_file_is_refused_in_one_line(analyst: TestClient, canary: Canary):
    files = hostile_texts(canary)
    answer = send_layer(analyst, files["link.geojson"], "link.geojson")
    assert answer.status_code == 422, answer.text
    message = answer.json()["error"]["message"]
    assert "link.geojson" in message
    assert "upload" not in message
    assert canary.asked == []
    assert analyst.get("/api/layers").json() == []


GPKG_TRAPS = {
    "a view": """CREATE VIEW trap AS SELECT fid, geom, load_extension('{file}') AS a FROM made;
        UPDATE gpkg_contents SET table_name = 'trap';
        UPDATE gpkg_geometry_columns SET table_name = 'trap'""",
    "a view that asks a server": """CREATE VIEW trap AS SELECT fid, geom,
        ogr_geocode('{url}') AS a FROM made; UPDATE gpkg_contents SET table_name = 'trap';
        UPDATE gpkg_geometry_columns SET table_name = 'trap'""",
    "a virtual table": """CREATE TABLE x(a); PRAGMA writable_schema = ON; UPDATE sqlite_master SET
        sql = 'CREATE VIRTUAL TABLE x USING VirtualOGR(''{file}'')', rootpage = 0
        WHERE name = 'x'""",
    "a virtual shapefile": """CREATE TABLE x(a); PRAGMA writable_schema = ON; UPDATE sqlite_master
        SET sql = 'create  virtual table x using VirtualShape(''{file}'', ''UTF-8'', 4326)',
        rootpage = 0 WHERE name = 'x'""",
    "a generated column": "ALTER TABLE made ADD COLUMN trap AS (title || 'x')",
    "a loop in the schema": """PRAGMA writable_schema = ON; UPDATE sqlite_master SET rootpage = 1
        WHERE name = 'made'""",
    "a CRS with grids": """UPDATE gpkg_spatial_ref_sys SET organization = 'NONE', definition =
        'PROJCS["x",GEOGCS["WGS 84",DATUM["x",SPHEROID["WGS 84",6378137,298.257223563]],
        PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],PROJECTION["Mercator_1SP"],
        PARAMETER["central_meridian",0],PARAMETER["scale_factor",1],PARAMETER["false_easting",0],
        PARAMETER["false_northing",0],UNIT["metre",1],EXTENSION["PROJ4",
        "+proj=merc +nadgrids={file} +units=m +no_defs"]]' WHERE srs_id = 4326""",
}


@needs_fork
def test_geopackages_that_are_programs(canary: Canary, tmp_path):
    folder = tmp_path / "traps"
    folder.mkdir()
    for number, script in enumerate(GPKG_TRAPS.values()):
        path = folder / f"trap{number}.gpkg"
        path.write_bytes(file_of("gpkg", tmp_path))
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.executescript(script.format(file=canary.file, url=canary.url))
    told = read_apart(folder)
    assert len(told) == 2 * len(GPKG_TRAPS)
    for (file, _), answer in told.items():
        trap = list(GPKG_TRAPS)[int(file[4])]
        assert "error" in answer, trap
        assert "canary" not in json.dumps(answer), trap
    assert canary.asked == []


def test_triggers_of_a_geopackage_do_not_run(analyst: TestClient, case: Case, tmp_path):
    """Each one that QGIS writes has some; nothing is written, so that none runs."""
    path = tmp_path / "a.gpkg"
    path.write_bytes(file_of("gpkg", tmp_path))
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TRIGGER t AFTER UPDATE ON gpkg_contents BEGIN DELETE FROM made; END"
        )
    assert send_area(analyst, path.read_bytes(), "a.gpkg").status_code == 201


def test_what_is_larger_than_it_may_be(case: Case, serve: Serve, tmp_path, monkeypatch):
    client = serve(case, upload_mb=0.001)("analyst")
    content = file_of("gpkg", tmp_path)
    assert len(content) > 1000
    for answer in (send_area(client, content, "a.gpkg"), send_layer(client, content, "a.gpkg")):
        assert answer.status_code == 413
        assert "0.001 MB" in answer.json()["error"]["message"]
    # Without a length that is said beforehand.
    parts = client.post(
        "/api/layers?name=x&kind=rivers&file=a.gpkg", content=iter([content[:900], content[900:]])
    )
    assert parts.status_code == 413
    assert list(Path(upload_reading.tempfile.gettempdir()).glob("sluice-upload-*")) == []


def test_more_vertices_than_there_may_be(analyst: TestClient, tmp_path, monkeypatch):
    round_shape = shapely.Point(-1.5, 5.2).buffer(0.1, quad_segs=300)
    table = gpd.GeoDataFrame(geometry=[round_shape], crs="EPSG:4326")
    monkeypatch.setattr(uploads, "_AREA_VERTICES", 1000)
    monkeypatch.setattr(uploads, "_LAYER_FEATURES", 1)
    answer = send_area(analyst, file_of("geojson", tmp_path, table), "a.geojson")
    assert answer.status_code == 422
    assert "1,201 vertices" in answer.json()["error"]["message"]
    answer = send_layer(analyst, file_of("geojson", tmp_path), "a.geojson")
    assert "2 features" in answer.json()["error"]["message"]


def test_what_takes_too_long_is_killed(case: Case, serve: Serve, tmp_path):
    client = serve(case, upload_s=0.05)("analyst")
    answer = send_area(client, file_of("geojson", tmp_path), "a.geojson")
    assert answer.status_code == 422
    assert "time or memory" in answer.json()["error"]["message"]


def test_memory_is_bounded(tmp_path):
    if sys.platform != "linux":
        pytest.skip("only Linux bounds the memory of a process")
    path = tmp_path / "upload.geojson"
    path.write_bytes(file_of("geojson", tmp_path))
    limits = upload_reading.Limits(10**6, 1000, 10, 60, memory_bytes=150_000_000)
    with pytest.raises(DataError, match=r"a\.geojson: (needs more|cannot be read)"):
        upload_reading.read_uploaded_area(path, Wanted("area", "a.geojson"), limits)


def test_the_reader_gets_no_secrets_and_runs_nothing_beside_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("SLUICE_STORE", "postgresql://me:hunter2@host/db")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    environment = upload_reading._environment(tmp_path)
    assert "hunter2" not in json.dumps(environment)
    assert "VRT" in environment["GDAL_SKIP"] or "OGR_VRT" in environment["GDAL_SKIP"]
    assert "GPKG" not in environment["GDAL_SKIP"].split(",")
    # A module that lies where the process runs is not taken for one of ours.
    (tmp_path / "json.py").write_text("raise SystemExit('taken')")
    limits = upload_reading.Limits(10**6, 1000, 10, 60)
    path = tmp_path / "upload.geojson"
    path.write_bytes(file_of("geojson", tmp_path))
    area = upload_reading.read_uploaded_area(path, Wanted("area", "a.geojson"), limits)
    assert area.equals(TABLE.union_all())


def test_only_some_send_at_a_time(case: Case, serve: Serve, tmp_path):
    clients = serve(case, uploads_at_once=1)
    client, content = clients("analyst"), file_of("geojson", tmp_path)
    turns = uploads.Turns(1)
    clients.app.state.upload_turns = turns
    with turns.take():
        assert send_area(client, content, "a.geojson").status_code == 429
    assert send_area(client, content, "a.geojson").status_code == 201


def test_an_area_of_this_name_that_is_another(analyst: TestClient, tmp_path):
    content = file_of("geojson", tmp_path)
    assert send_area(analyst, content, "a.geojson", "obuasi").status_code == 400


SIGNS = b'0123456789-.,eE"{}[]<>&;:/ aN'


@st.composite
def damaged(draw: Any, files: dict[str, bytes]) -> tuple[str, bytes]:
    """A good file with some bytes changed, cut out or doubled; mostly few, so that parsers do not
    give up at once, and of binary formats mostly behind the head."""
    suffix = draw(st.sampled_from(sorted(files)))
    content = bytearray(files[suffix])
    chance = random.Random(draw(st.integers(0, 2**32)))  # noqa: S311 - no secret
    text = suffix in {"geojson", "kml"}
    first = 0 if text or chance.random() < 0.2 else 100
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 4, 20]))):
        at = chance.randrange(first, len(content))
        piece = bytes(content[at : at + chance.choice([1, 1, 2, 4, 8, 64])])
        changed = bytes(chance.choice(SIGNS) if text else chance.randrange(256) for _ in piece)
        ways = [changed, changed, changed, b"", piece * 2]
        content[at : at + len(piece)] = chance.choice(
            ways if text else [*ways, bytes(len(piece)), b"\xff" * len(piece)]
        )
    return suffix, bytes(content)


@needs_fork
def test_damaged_files_are_read_or_refused(tmp_path_factory, canary: Canary):
    made = tmp_path_factory.mktemp("good")
    files = {suffix: file_of(suffix, made) for suffix in DRIVERS}

    @settings(max_examples=2, suppress_health_check=list(HealthCheck))
    @given(st.lists(damaged(files), min_size=25, max_size=25))
    def read_all(batch: list[tuple[str, bytes]]) -> None:
        folder = tmp_path_factory.mktemp("damaged")
        for number, (suffix, content) in enumerate(batch):
            (folder / f"{number:02d}.{suffix}").write_bytes(content)
        told = read_apart(folder)
        assert len(told) == 2 * len(batch)
        # GDAL itself may take its process down, which is what the process is for.
        assert sum(not answer for answer in told.values()) <= 2
        assert all(("error" in one) != ("what" in one) for one in told.values() if one)
        became.update("read" if "what" in one else "refused" for one in told.values())

    became: Counter[str] = Counter()
    read_all()
    assert canary.asked == []
    # Else the files are damaged so much, or so little, that nothing is tried; both are rare.
    assert min(became["read"], became["refused"]) >= 1
