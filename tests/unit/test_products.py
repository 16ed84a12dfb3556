"""The files of a run, read back by the libraries that people will read them with."""

import csv
import datetime as dt
import hashlib
import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree as ET

import geopandas as gpd
import numpy as np
import pyogrio
import pystac
import pytest
import rasterio
import shapely
from odc.geo.geobox import GeoBox
from PIL import Image

from sluice.app.products import layout
from sluice.app.products.landing import open_output, telling_disk_errors
from sluice.app.products.run_record import read_run
from sluice.app.products.table import COLUMNS, imagery_link, sites_table
from sluice.app.products.write import write_products
from sluice.base.errors import ConfigError, DataError, GridMismatch, ItemNotFound, RunFailed
from sluice.base.raster import Raster
from sluice.base.records import (
    DISCLAIMER,
    Detection,
    Run,
    Scene,
    TileOutcome,
    TileStatus,
)

# 3 x 2 km at 10 m; scores on a lattice of 80 m, whose last column was not observed.
GRID = GeoBox((200, 304), rasterio.Affine(10, 0, 250_000, 0, -10, 720_000), "EPSG:32630")
LATTICE = rasterio.Affine(80, 0, 250_000, 0, -80, 720_000)
SCORES = np.full((25, 38), 0.25, dtype=np.float32)
SCORES[:, -1] = np.nan
ALL_NAMES = set(layout.ORDER) - {layout.CLASSES, layout.CLASSES_STYLE}


def parse_xml(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314 (written by the code under test)


def flat_image(grid: GeoBox) -> Raster:
    rows, cols = np.indices(grid.shape.yx)
    ramp = (rows + cols).astype(np.float32) / sum(grid.shape.yx)
    image = np.stack([0.1 + 0.2 * ramp, 0.1 + 0.1 * ramp, 0.05 + 0.05 * ramp]).astype(np.float32)
    return Raster(image, ("red", "green", "blue"), grid)


def make_detections(*, calibrated: bool = True) -> gpd.GeoDataFrame:
    """Two sites: 4 x 3 cells, and a lone one of 1 cell in two parts."""
    large = shapely.box(250_160, 719_200, 250_480, 719_440)
    small = shapely.MultiPolygon(
        [
            shapely.box(252_000, 718_400, 252_080, 718_480),
            shapely.box(252_080, 718_480, 252_160, 718_560),
        ]
    )
    lonlat = gpd.GeoSeries([small, large], crs="EPSG:32630").to_crs("EPSG:4326")
    centre = lonlat.to_crs("EPSG:32630").centroid.to_crs("EPSG:4326")
    return gpd.GeoDataFrame(
        {
            "detection_id": ["b", "=a"],
            "lon": centre.x,
            "lat": centre.y,
            "score_mean": [0.6, 0.7],
            "score_peak": [0.9, 0.95],
            "probability_mean": [0.02, 0.2] if calibrated else [None, None],
            "probability_peak": [0.00003, 0.6] if calibrated else [None, None],
            "footprint_ha": [1.28, 7.68],
            "delineated_ha": [None, None],
            "isolated": [True, False],
            "cells": [2, 12],
        },
        geometry=lonlat,
    )


def make_run(**changes: object) -> Run:
    fields: dict[str, object] = {
        "run_id": "20250401T000000-abcd",
        "sluice_version": "0.1.0",
        "started": dt.datetime(2025, 4, 1, tzinfo=dt.UTC),
        "finished": dt.datetime(2025, 4, 1, 0, 5, tzinfo=dt.UTC),
        "status": "complete",
        "scenes": (
            Scene(id="one", href="one.tif", acquired=dt.date(2025, 1, 5), sha256="ab" * 32),
            Scene(id="two", href="https://example.org/two.tif", acquired=dt.date(2025, 3, 1)),
        ),
        "model": {"name": "default"},
        "engine": "onnxruntime",
        "precision": "f32",
        "prior": 0.001,
        "parameters": {},
        "grid": {},
        "tiles": (TileOutcome(tile_id="0_0", status=TileStatus.DONE, windows=950, observed=925),),
        "summary": {},
        "disclaimer": DISCLAIMER,
    }
    return Run.model_validate(fields | changes)


def write(
    folder: Path, detections: gpd.GeoDataFrame, *, overwrite: bool = False, **options: object
):
    work = open_output(folder, overwrite=overwrite)
    rasters = {}
    calibrated = options.pop("calibrated", True)
    for name in ("score", "probability") if calibrated else ("score",):
        rasters[name] = work / f"made-{name}.tif"
        with rasterio.open(
            rasters[name], "w", driver="GTiff", dtype="float32", count=1, height=25, width=38,
            crs="EPSG:32630", transform=LATTICE, nodata=np.nan,
        ) as out:  # fmt: skip
            out.write(SCORES, 1)
    return write_products(
        folder,
        detections,
        options.pop("run", make_run()),
        score_path=rasters["score"],
        probability_path=rasters.get("probability"),
        preview=options.pop("preview", flat_image),
        geobox=GRID,
        window_m=480,
        smallest_site_ha=1.0,
        **options,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out") / "run 1"
    write(folder, make_detections())
    return folder


def test_the_folder_holds_every_file_and_nothing_else(finished: Path) -> None:
    assert {path.name for path in finished.iterdir()} == ALL_NAMES


@pytest.mark.parametrize("name", [layout.SITES_GPKG, layout.SITES_GEOJSON, layout.SITES_PARQUET])
def test_vectors_read_back_as_they_were(finished: Path, name: str) -> None:
    path = finished / name
    read = (
        gpd.read_parquet(path) if name.endswith("parquet") else gpd.read_file(path, layer="sites")
    )
    assert list(read.columns) == [*COLUMNS, "geometry"]
    assert read.crs.equals("EPSG:4326")
    assert list(read["detection_id"]) == ["=a", "b"]  # largest first
    assert list(read["rank"]) == [1, 2]
    assert list(read["isolated"]) == [False, True]
    assert list(read["probability_peak"]) == [0.6, 0.00003]
    assert read["delineated_ha"].isna().all()
    assert (read["note"] == DISCLAIMER).all()
    truth = make_detections().geometry[::-1].reset_index(drop=True)
    distance = shapely.hausdorff_distance(read.geometry.values, truth.values)
    assert distance.max() < 1e-7


def test_geopackage_brings_its_qgis_style(finished: Path) -> None:
    with sqlite3.connect(finished / layout.SITES_GPKG) as db:
        # The very conditions under which QGIS looks for a style.
        rows = db.execute(
            "SELECT styleQML FROM layer_styles WHERE f_table_schema = '' AND f_table_name = 'sites'"
            " AND f_geometry_column = 'geom' AND useAsDefault"
        ).fetchall()
        described = db.execute(
            "SELECT description FROM gpkg_contents WHERE table_name = 'sites'"
        ).fetchone()
    db.close()
    assert described == (DISCLAIMER,)
    (qml,) = rows[0]
    assert len(rows) == 1
    style = parse_xml(qml)
    assert style.tag == "qgis"
    renderer = style.find("renderer-v2")
    assert renderer is not None
    assert renderer.get("attr") == "probability_peak"
    bounds = [(float(r.get("lower")), float(r.get("upper"))) for r in renderer.iter("range")]
    assert bounds == [(0.0, 0.1), (0.1, 0.5), (0.5, 1.0)]
    names = {symbol.get("name") for symbol in renderer.find("symbols")}
    assert {r.get("symbol") for r in renderer.iter("range")} == names
    columns = set(pyogrio.read_info(finished / layout.SITES_GPKG, layer="sites")["fields"])
    assert {alias.get("field") for alias in style.iter("alias")} <= columns


def test_style_uses_the_score_where_there_is_no_probability(tmp_path: Path) -> None:
    write(tmp_path / "out", make_detections(calibrated=False), calibrated=False)
    assert not (tmp_path / "out" / layout.PROBABILITY).exists()
    with sqlite3.connect(tmp_path / "out" / layout.SITES_GPKG) as db:
        qml = db.execute("SELECT styleQML FROM layer_styles").fetchone()[0]
    db.close()
    assert parse_xml(qml).find("renderer-v2").get("attr") == "score_peak"


def test_geojson_follows_rfc_7946(finished: Path) -> None:
    content = json.loads((finished / layout.SITES_GEOJSON).read_text(encoding="utf-8"))
    assert content["description"] == DISCLAIMER
    assert "crs" not in content
    for feature in content["features"]:
        shape = shapely.geometry.shape(feature["geometry"])
        for part in getattr(shape, "geoms", [shape]):
            assert part.exterior.is_ccw
        for value in shapely.get_coordinates(shape).ravel():
            assert value == round(value, 7)


def test_parquet_carries_the_disclaimer(finished: Path) -> None:
    import pyarrow.parquet as pq

    metadata = pq.read_schema(finished / layout.SITES_PARQUET).metadata
    assert metadata[b"description"].decode() == DISCLAIMER
    assert b"geo" in metadata


def test_csv_reads_back_and_runs_no_formula(finished: Path) -> None:
    with (finished / layout.SITES_CSV).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == list(COLUMNS)
    assert [row["detection_id"] for row in rows] == ["'=a", "b"]
    assert [row["isolated"] for row in rows] == ["false", "true"]
    assert float(rows[1]["probability_peak"]) == 0.00003
    assert rows[0]["delineated_ha"] == ""
    assert float(rows[0]["lon"]) == pytest.approx(make_detections().lon[1], abs=5e-7)
    query = parse_qs(urlsplit(rows[0]["imagery_link"]).query)
    assert float(query["lat"][0]) == pytest.approx(make_detections().lat[1], abs=5e-6)


def test_imagery_link_covers_the_90_days_before_the_run() -> None:
    parts = urlsplit(imagery_link(-60.5, -3.25, dt.date(2025, 4, 1)))
    query = {key: value[0] for key, value in parse_qs(parts.query).items()}
    assert parts.scheme == "https"
    assert (query["lng"], query["lat"]) == ("-60.50000", "-3.25000")
    assert query["datasetId"] == "S2_L2A_CDAS"
    assert query["fromTime"] == "2025-01-01T00:00:00.000Z"
    assert query["toTime"] == "2025-04-01T23:59:59.999Z"


def test_table_refuses_another_crs_and_missing_columns() -> None:
    with pytest.raises(GridMismatch, match="EPSG:4326"):
        sites_table(make_detections().to_crs("EPSG:32630"), make_run())
    with pytest.raises(DataError, match="score_peak"):
        sites_table(make_detections().drop(columns="score_peak"), make_run())


def test_catalogue_resolves_with_checksums_after_a_move(finished: Path, tmp_path: Path) -> None:
    import shutil

    moved = tmp_path / "elsewhere"
    shutil.copytree(finished, moved)
    catalogue = pystac.Catalog.from_file(str(moved / layout.CATALOGUE))
    (item,) = catalogue.get_items()
    found = set()
    for asset in item.assets.values():
        path = Path(asset.get_absolute_href())
        assert path.parent == moved
        assert asset.extra_fields["file:size"] == path.stat().st_size
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert asset.extra_fields["file:checksum"] == f"1220{digest}"
        found.add(path.name)
    assert found == ALL_NAMES - {layout.CATALOGUE, layout.ITEM}
    assert DISCLAIMER in catalogue.description
    assert item.common_metadata.start_datetime == dt.datetime(2025, 1, 5, tzinfo=dt.UTC)
    assert item.properties["proj:code"] == "EPSG:32630"
    assert item.assets["score"].extra_fields["proj:shape"] == [25, 38]
    assert item.assets["score"].extra_fields["proj:transform"] == list(LATTICE)[:6]
    sources = item.get_links(pystac.RelType.DERIVED_FROM)
    assert [link.extra_fields.get("file:checksum") for link in sources] == [
        "1220" + "ab" * 32,
        None,
    ]
    # A local file by its name alone, an address as it is.
    assert "/" not in sources[0].href
    assert urlsplit(sources[1].href).scheme == "https"
    footprint = shapely.geometry.shape(item.geometry)
    corners = gpd.GeoSeries([shapely.box(*GRID.boundingbox.bbox)], crs="EPSG:32630")
    truth = corners.to_crs("EPSG:4326").iloc[0]
    assert footprint.symmetric_difference(truth).area / truth.area < 1e-5
    assert item.bbox == pytest.approx(footprint.bounds)


def test_item_without_dates_says_so(tmp_path: Path) -> None:
    run = make_run(scenes=(Scene(id="one", href="one.tif"),))
    write(tmp_path / "out", make_detections(), run=run)
    item = pystac.Item.from_file(str(tmp_path / "out" / layout.ITEM))
    assert item.datetime == run.started
    assert "carry no date" in item.properties["description"]


def test_run_record_reads_back_and_is_the_same_every_time(finished: Path, tmp_path: Path) -> None:
    run = read_run(finished / layout.RUN)
    assert run.model_copy(update={"summary": {}}) == make_run()
    assert run.summary["sites"] == 2
    write(tmp_path / "again", make_detections())
    assert (tmp_path / "again" / layout.RUN).read_bytes() == (finished / layout.RUN).read_bytes()


def test_a_record_of_another_version_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    with pytest.raises(ItemNotFound, match="no such file"):
        read_run(path)
    record = make_run().model_dump(mode="json")
    path.write_text(json.dumps(record | {"from_the_future": 1}), encoding="utf-8")
    with pytest.raises(DataError, match="from_the_future"):
        read_run(path)


def test_no_site_at_all_gives_the_same_files(tmp_path: Path) -> None:
    paths, summary = write(tmp_path / "out", make_detections().iloc[:0])
    assert {path.name for path in (tmp_path / "out").iterdir()} == ALL_NAMES
    assert summary.sites == 0
    for read in (
        gpd.read_file(paths.sites_gpkg, layer="sites"),
        gpd.read_parquet(paths.sites_parquet),
        gpd.read_file(paths.sites_geojson),
    ):
        assert len(read) == 0
    assert paths.sites_csv.read_text(encoding="utf-8") == ",".join(COLUMNS) + "\n"
    assert list(gpd.read_parquet(paths.sites_parquet).columns) == [*COLUMNS, "geometry"]


def test_detections_without_any_type_are_written(tmp_path: Path) -> None:
    empty = gpd.GeoDataFrame(
        {name: [] for name in Detection.model_fields}, geometry=[], crs="EPSG:4326"
    )
    paths, _ = write(tmp_path / "out", empty)
    assert pyogrio.read_info(paths.sites_gpkg, layer="sites")["features"] == 0


def test_a_finished_output_is_replaced_only_when_asked(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    write(folder, make_detections())
    before = (folder / layout.RUN).read_bytes()
    with pytest.raises(ConfigError, match="--overwrite"):
        open_output(folder)
    (folder / "my-project.qgz").write_bytes(b"mine")
    (folder / "sites.gpkg-wal").write_bytes(b"stale")
    write(
        folder, make_detections(), overwrite=True, calibrated=False, run=make_run(run_id="second")
    )
    names = {path.name for path in folder.iterdir()}
    assert names == (ALL_NAMES - {layout.PROBABILITY}) | {"my-project.qgz"}
    assert (folder / layout.RUN).read_bytes() != before


def test_open_output_refuses_what_sluice_did_not_write(tmp_path: Path) -> None:
    (tmp_path / "thesis.docx").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"thesis\.docx"):
        open_output(tmp_path)
    (tmp_path / "run.json").write_text('{"other": "tool"}', encoding="utf-8")
    with pytest.raises(ConfigError, match="did not write"):
        open_output(tmp_path, overwrite=True)
    with pytest.raises(ConfigError, match="is a file"):
        open_output(tmp_path / "thesis.docx")
    with pytest.raises(ConfigError, match="cannot be written"):
        open_output(tmp_path / "thesis.docx" / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"thesis.docx", "run.json"}


def test_a_run_that_was_cut_off_may_be_taken_up_again(tmp_path: Path) -> None:
    work = open_output(tmp_path / "out")
    (work / "tile-0").write_bytes(b"done")
    assert open_output(tmp_path / "out") == work
    assert (work / "tile-0").exists()


def test_nothing_lands_when_a_step_fails(tmp_path: Path) -> None:
    folder = tmp_path / "out"

    def full_disk(grid: GeoBox) -> Raster:
        raise OSError(28, "No space left on device")

    with pytest.raises(RunFailed, match=r"disk is full.* MB are free"):
        write(folder, make_detections(), preview=full_disk)
    assert [path.name for path in folder.iterdir()] == [layout.WORK_FOLDER]
    # The old output survives a failed replacement.
    write(folder, make_detections())
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(RunFailed):
        write(folder, make_detections(), overwrite=True, preview=full_disk)
    assert {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()} == kept


@pytest.mark.parametrize(
    ("number", "kind"), [(13, ConfigError), (30, ConfigError), (28, RunFailed), (5, RunFailed)]
)
def test_disk_errors_become_one_line(tmp_path: Path, number: int, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught, telling_disk_errors(tmp_path):
        raise OSError(number, "as the system says", str(tmp_path / "x"))
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.skipif(sys.platform == "win32", reason="limits on file size are POSIX")
@pytest.mark.parametrize("limit", [1_000, 90_000])
def test_a_real_limit_on_file_size_leaves_nothing_that_looks_whole(
    tmp_path: Path, limit: int
) -> None:
    """GDAL, SQLite, Arrow and Pillow meet the limit in turn, as they would a full disk."""
    script = f"""
import importlib.util, resource, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("helpers", {__file__!r})
helpers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(helpers)
made = helpers.make_detections()
from sluice.base.errors import RunFailed
import pandas as pd
many = pd.concat([made] * 60, ignore_index=True)
original = helpers.write_products
def limited(*args, **options):
    resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
    return original(*args, **options)
helpers.write_products = limited
try:
    helpers.write(Path({str(tmp_path / "out")!r}), many)
except RunFailed as err:
    print(err)
    sys.exit(3)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 3, done.stderr
    assert len(done.stdout.strip().splitlines()) == 1
    assert "run again" in done.stdout
    assert [path.name for path in (tmp_path / "out").iterdir()] == [layout.WORK_FOLDER]


def test_quicklook_is_a_readable_picture(finished: Path) -> None:
    with Image.open(finished / layout.QUICKLOOK) as picture:
        picture.load()
        assert picture.format == "PNG"
        assert min(picture.size) > 600
