"""Every file is read back by a reader that did not write it, and compared with the table."""

import csv
import datetime as dt
import io
import json
import re
import sqlite3
import struct
import zipfile
from xml.etree import ElementTree as ET

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely

from export_cases import (
    GEOMETRIC,
    alerts_table,
    periods_table,
    png,
    read_sites,
    sites_table,
    suffix,
)
from sluice.app.exports.flat_table import SITES, Notation, flat_table
from sluice.app.exports.marked_up import Picture
from sluice.app.exports.vector_formats import drawable, furthest_zoom, short_names
from sluice.app.exports.write import (
    EXPORT_FORMATS,
    export_sites,
    write_export,
)
from sluice.base.errors import NoValidData
from sluice.base.records import DISCLAIMER
from sluice.sites.redaction import Redaction

TODAY = dt.date(2025, 7, 1)
HOSTILE = [
    "=HYPERLINK(\"http://x\")", "+1", "-1+2", "@SUM(A1)", "\t=1", "＝1+1",
    "</Placemark><script>alert(1)</script>", "]]>&amp;&#0;", "two\nlines\r\n", "nul\x00 \x08 \x07",
    "\U0001f3de\ufe0f emoji", "\u202eright to left\u202c عربى", "ü" * 300, "lone \ud800 surrogate",
    "'; DROP TABLE sites; --", "a,b;c\"d'", "$[name] %s {0}",
]  # fmt: skip
KML = "{http://www.opengis.net/kml/2.2}"
GPX = "{http://www.topografix.com/GPX/1/1}"


def parse_xml(content: bytes | str) -> ET.Element:
    return ET.fromstring(content)  # noqa: S314 - written here


@pytest.fixture
def hostile():
    count = len(HOSTILE)
    rng = np.random.default_rng(0)
    table = sites_table(rng.uniform(-3, 0, count), rng.uniform(5, 8, count))
    table["status_rule"] = pd.Series(HOSTILE, dtype=object)
    table["context"] = [{"district": text, "River (m)": 5.0} for text in HOSTILE]
    return table


def legible(text: str) -> str:
    return re.sub("[\x00-\x08\x07\ud800]", "\N{REPLACEMENT CHARACTER}", text)


@pytest.mark.parametrize("fmt", [fmt for fmt in GEOMETRIC if fmt != "pmtiles"])
def test_vector_files_hold_the_table(fmt, hostile, tmp_path) -> None:
    done = export_sites(hostile, tmp_path / f"sites{suffix(fmt)}", format=fmt)
    assert done.rows == {"sites": len(hostile)}
    assert [path.name for path in tmp_path.iterdir()] == [done.path.name]
    found = read_sites(done.path, fmt)
    assert found.crs.equals("EPSG:4326")
    flat = flat_table(hostile, SITES)
    names = {name: name for name in flat if name != "geometry"}
    if fmt == "shapefile":
        names = short_names(list(names))
    for name, short in names.items():
        expected = flat[name].astype(object).where(flat[name].notna(), None)
        values = found[short].astype(object).where(found[short].notna(), None)
        for ours, theirs in zip(expected, values, strict=True):
            if isinstance(ours, float):
                assert float(theirs) == pytest.approx(ours)
            elif isinstance(ours, bool):
                assert theirs in (ours, int(ours), float(ours))
            elif isinstance(ours, int):
                assert int(theirs) == ours
            elif isinstance(ours, dt.date):
                assert str(theirs)[:10] == str(ours)
            elif fmt == "shapefile" and isinstance(ours, str):
                assert theirs == ours.encode()[:254].decode("utf-8", "ignore")
            elif fmt in ("kml", "kmz") and isinstance(ours, str):
                # XML readers turn every line end into a plain one.
                assert theirs == ours.replace("\r\n", "\n")
            else:
                assert theirs == ours, name
    apart = shapely.symmetric_difference(found.geometry.to_numpy(), flat.geometry.to_numpy())
    assert shapely.area(apart).max() < 1e-9


def test_texts_keep_everything_but_what_no_file_can_hold(hostile) -> None:
    flat = flat_table(hostile, SITES)
    assert list(flat["status_rule"]) == [legible(text) for text in HOSTILE]
    assert list(flat["context_district"]) == list(flat["status_rule"])
    assert list(flat["context_river_m"]) == [5.0] * len(HOSTILE)


def test_geojson_is_that_of_rfc_7946(hostile, tmp_path) -> None:
    # A ring the wrong way round.
    hostile.loc[0, "geometry"] = shapely.Polygon([(0, 0), (0, 1), (1, 1), (1, 0), (0, 0)])
    done = export_sites(hostile, tmp_path / "a.geojson")
    document = json.loads(done.path.read_text(encoding="utf-8"))
    assert document["type"] == "FeatureCollection"
    assert document["description"] == DISCLAIMER
    assert "crs" not in document
    for feature in document["features"]:
        assert feature["geometry"]["type"] == "Polygon"
        for ring in feature["geometry"]["coordinates"]:
            assert shapely.LinearRing(ring).is_ccw
            assert all(len(str(x).partition(".")[2]) <= 7 for point in ring for x in point)
    properties = document["features"][0]["properties"]
    assert properties["first_seen"] == "2024-01-01"
    assert properties["known_before"] is True
    assert properties["area_high_ha"] is None


@pytest.mark.parametrize("fmt", [fmt for fmt in GEOMETRIC if fmt != "pmtiles"])
@pytest.mark.parametrize("written", ["beyond", "wrapped", "cut"])
def test_a_site_across_180_degrees_is_cut_there(fmt, written, tmp_path) -> None:
    shapes = {
        "beyond": shapely.box(179.99, -0.01, 180.02, 0.01),
        "wrapped": shapely.Polygon(
            [(179.99, -0.01), (-179.98, -0.01), (-179.98, 0.01), (179.99, 0.01)]
        ),
        "cut": shapely.union(
            shapely.box(179.99, -0.01, 180, 0.01), shapely.box(-180, -0.01, -179.98, 0.01)
        ),
    }  # fmt: skip
    table = sites_table([179.995], [0.0])
    table.geometry = [shapes[written]]
    done = export_sites(table, tmp_path / f"a{suffix(fmt)}")
    shape = read_sites(done.path, fmt).geometry.iloc[0]
    assert shape.is_valid
    west, east = sorted(shapely.get_parts(shape), key=lambda part: part.bounds[0])
    assert west.bounds == pytest.approx((-180, -0.01, -179.98, 0.01))
    assert east.bounds == pytest.approx((179.99, -0.01, 180, 0.01))


@pytest.mark.parametrize("fmt", GEOMETRIC)
def test_an_outline_of_3000_vertices_stays_whole(fmt, tmp_path) -> None:
    turn = np.linspace(0, 2 * np.pi, 3000, endpoint=False)
    radius = 0.02 + 0.002 * np.sin(40 * turn)
    shell = np.column_stack([-1 + radius * np.cos(turn), 6 + radius * np.sin(turn)])
    hole = shapely.box(-1.005, 5.995, -0.995, 6.005).exterior.coords
    table = sites_table([-1.0], [6.0])
    table.geometry = [shapely.Polygon(shell, [hole])]
    done = export_sites(table, tmp_path / f"a{suffix(fmt)}")
    found = shapely.union_all(read_sites(done.path, fmt).to_crs(4326).geometry.to_numpy())
    difference = shapely.symmetric_difference(found, table.geometry.iloc[0]).area
    # Tiles are drawn to a few metres.
    assert difference < table.geometry.iloc[0].area * (0.02 if fmt == "pmtiles" else 1e-5)
    if fmt != "pmtiles":
        assert shapely.get_num_coordinates(found) == 3001 + 5


@pytest.mark.parametrize("fmt", EXPORT_FORMATS)
def test_an_empty_table_is_a_file_of_the_same_form(fmt, tmp_path) -> None:
    path = tmp_path / f"a{suffix(fmt)}"
    if fmt == "pmtiles":
        with pytest.raises(NoValidData, match="no sites to write"):
            export_sites(sites_table([], []), path)
        assert not any(tmp_path.iterdir())
        return
    export_sites(sites_table([], []), path)
    if fmt == "csv":
        full = tmp_path / "full.csv"
        export_sites(sites_table([1.0], [1.0]).drop(columns=["context", "priority_parts"]), full)
        (line,) = path.read_text(encoding="utf-8-sig").splitlines()
        assert line == full.read_text(encoding="utf-8-sig").splitlines()[0]
    elif fmt in ("gpx", "kml"):
        parse_xml(path.read_bytes())
    elif fmt in ("gpkg", "geoparquet", "shapefile"):
        assert len(read_sites(path, fmt)) == 0
        assert "site_id" in read_sites(path, fmt)


@pytest.mark.parametrize("fmt", EXPORT_FORMATS)
def test_every_file_says_that_it_is_no_proof(fmt, tmp_path) -> None:
    table = sites_table([-1.0], [6.0])
    path = export_sites(table, tmp_path / f"a{suffix(fmt)}").path
    content = path.read_bytes()
    if fmt in ("kmz", "shapefile"):
        with zipfile.ZipFile(path) as archive:
            content = archive.read("doc.kml" if fmt == "kmz" else "README.txt")
    elif fmt == "geoparquet":
        content = pq.read_schema(path).metadata[b"description"]
    elif fmt == "pmtiles":
        content = json.dumps(pyogrio.read_info(path)["dataset_metadata"]).encode()
    assert DISCLAIMER.encode() in content


def test_csv_is_safe_in_a_spreadsheet(hostile, tmp_path) -> None:
    path = export_sites(hostile, tmp_path / "a.csv").path
    content = path.read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    assert len(rows) == len(hostile)
    for row, text in zip(rows, HOSTILE, strict=True):
        for name, cell in row.items():
            number = name.endswith(("_ha", "_m", "lon", "lat")) or "priority" in name
            assert number or not cell.startswith(tuple("=+-@\t\r\n＝＋－＠")), (name, cell)
        assert row["status_rule"].removeprefix("'") == legible(text).removeprefix("'")
        assert row["note"] == DISCLAIMER
        assert (row["known_before"], row["area_high_ha"], row["first_seen"]) == (
            "true", "", "2024-01-01",
        )  # fmt: skip
        assert re.fullmatch(r"\d°\d\d'\d\d\.\d\"N \d°\d\d'\d\d\.\d\"W", row["dms"])
        assert re.fullmatch(r"30N[A-Z]{2}\d{10}", row["mgrs"])
        assert float(row["lon"]) == pytest.approx(hostile.lon[rows.index(row)], abs=1e-6)


def test_coordinates_are_those_that_were_asked_for(tmp_path) -> None:
    table = sites_table([-1.0], [6.0])
    for chosen in ((), (Notation.DMS,), (Notation.MGRS,)):
        path = export_sites(table, tmp_path / "a.csv", coordinates=chosen).path
        header = path.read_text(encoding="utf-8-sig").splitlines()[0].split(",")
        assert [name for name in header if name in ("dms", "mgrs")] == [str(one) for one in chosen]
        assert {"lon", "lat"} <= set(header)


def test_a_geopackage_brings_its_styles_and_several_tables(tmp_path) -> None:
    sites = sites_table([-1.0, -1.1], [6.0, 6.1])
    done = write_export(
        tmp_path / "a.gpkg",
        sites=sites,
        alerts=alerts_table(sites),
        periods=periods_table(sites),
        what=("sites", "alerts", "periods"),
    )
    assert done.rows == {"sites": 2, "alerts": 2, "periods": 4}
    layers = dict(pyogrio.list_layers(done.path))
    assert layers["sites"] == "MultiPolygon"
    assert layers["alerts"] == "Point"
    assert len(pyogrio.read_dataframe(done.path, layer="periods", read_geometry=False)) == 4
    assert pyogrio.read_dataframe(done.path, layer="sites")["first_seen"].dtype.kind == "M"
    with sqlite3.connect(done.path) as db:
        styles = dict(db.execute("SELECT f_table_name, styleQML FROM layer_styles"))
        described = {row[0] for row in db.execute("SELECT DISTINCT description FROM gpkg_contents")}
    assert DISCLAIMER in described
    assert set(styles) == {"sites", "alerts"}
    for name, field, kind in (("sites", "status", "fill"), ("alerts", "level", "marker")):
        style = parse_xml(styles[name])
        renderer = style.find("renderer-v2")
        assert renderer.get("attr") == field
        symbols = {symbol.get("name") for symbol in renderer.iter("symbol")}
        for category in renderer.iter("category"):
            assert category.get("symbol") in symbols
        assert {symbol.get("type") for symbol in renderer.iter("symbol")} == {kind}
        fields = set(pyogrio.read_info(done.path, layer=name)["fields"])
        aliased = {alias.get("field") for alias in style.iter("alias")}
        assert aliased == fields
        label = style.find("labeling/settings/text-style")
        used = {label.get("fieldName"), *re.findall(r'"(\w+)"', style.findtext("mapTip"))}
        assert used <= fields


def test_kmz_holds_the_pictures_that_its_balloons_show(hostile, tmp_path) -> None:
    ids = list(hostile["site_id"])
    pictures = {
        ids[0]: [Picture("before <2019>", png("red")), Picture("after", b"\xff\xd8\xff jpeg")],
        ids[6]: [Picture("only", png("blue"))],
        "s-unknown": [Picture("never", png("green"))],
    }
    path = export_sites(hostile, tmp_path / "a.kmz", pictures=pictures).path
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        assert names[0] == "doc.kml"
        assert {archive.read(name) for name in names[1:]} == {
            png("red"), png("blue"), b"\xff\xd8\xff jpeg",
        }  # fmt: skip
        root = parse_xml(archive.read("doc.kml"))
    balloons = [mark.findtext(f"{KML}description") for mark in root.iter(f"{KML}Placemark")]
    shown = {name for text in balloons for name in re.findall(r'<img src="([^"]+)"', text)}
    assert shown == set(names[1:])
    # Google's own library, within GDAL, reads it.
    assert pyogrio.read_info(path, layer="outlines")["driver"] == "LIBKML"
    assert len(pyogrio.read_dataframe(path, layer="outlines")) == len(hostile)
    # Names are text in balloons too: Google Earth runs scripts.
    assert not any("<script" in text for text in balloons)
    assert any("&lt;script&gt;" in text for text in balloons)
    assert all(DISCLAIMER in text for text in balloons)


# Order of elements, OGC 07-147r2 (KML 2.2), of those that are written here.
ORDER = {
    "Document": ["name", "description", "Style", "Schema", "Folder"],
    "Folder": ["name", "Placemark"],
    "Placemark": ["name", "Snippet", "description", "styleUrl", "ExtendedData",
                  "Point", "Polygon", "MultiGeometry"],
    "Style": ["IconStyle", "LabelStyle", "LineStyle", "PolyStyle", "BalloonStyle"],
    "Polygon": ["outerBoundaryIs", "innerBoundaryIs"],
}  # fmt: skip


def test_kml_is_built_as_the_standard_says(hostile, tmp_path) -> None:
    path = export_sites(hostile, tmp_path / "a.kml").path
    root = parse_xml(path.read_bytes())
    assert root.tag == f"{KML}kml"
    assert [child.tag for child in root] == [f"{KML}Document"]
    for tag, order in ORDER.items():
        for element in root.iter(KML + tag):
            places = [order.index(child.tag.removeprefix(KML)) for child in element]
            assert places == sorted(places)
    styles = {style.get("id") for style in root.iter(f"{KML}Style")}
    for mark in root.iter(f"{KML}Placemark"):
        assert mark.findtext(f"{KML}styleUrl").removeprefix("#") in styles
    (schema,) = root.iter(f"{KML}Schema")
    fields = {field.get("name") for field in schema}
    assert {data.get("name") for data in root.iter(f"{KML}SimpleData")} <= fields
    for ring in root.iter(f"{KML}outerBoundaryIs"):
        texts = ring.findtext(f"{KML}LinearRing/{KML}coordinates").split()
        points = [tuple(map(float, text.split(","))) for text in texts]
        assert points[0] == points[-1]
        assert shapely.LinearRing(points).is_ccw
    colours = root.findall(f".//{KML}LineStyle/{KML}color")
    assert all(re.fullmatch("[0-9a-f]{8}", colour.text) for colour in colours)
    # aabbggrr: new sites are magenta, red above blue above green.
    new = root.find(f".//{KML}Style[@id='new']/{KML}LineStyle/{KML}color").text
    assert new == "ff8232ff"
    places = pyogrio.read_dataframe(path, layer="sites")
    assert places.geometry.geom_type.eq("Point").all()
    assert list(shapely.get_x(places.geometry)) == pytest.approx(hostile["lon"], abs=1e-6)


def test_gpx_waypoints_are_what_receivers_take(hostile, tmp_path) -> None:
    hostile.loc[0, ["lon", "lat"]] = (180.0, 1.0)
    hostile.loc[1, ["lon", "lat"]] = np.nan
    path = export_sites(hostile, tmp_path / "a.gpx").path
    root = parse_xml(path.read_bytes())
    assert (root.tag, root.get("version")) == (f"{GPX}gpx", "1.1")
    order = ["name", "desc", "sym", "type"]
    for waypoint in root.iter(f"{GPX}wpt"):
        assert [child.tag.removeprefix(GPX) for child in waypoint] == order
        assert -180 <= float(waypoint.get("lon")) < 180
    found = pyogrio.read_dataframe(path, layer="waypoints")
    assert list(found["name"]) == [*hostile["site_id"][:1], *hostile["site_id"][2:]]
    assert list(found.geometry.x[1:]) == pytest.approx(hostile["lon"][2:], abs=1e-6)
    assert set(found["sym"]) == {"Flag, Red", "Flag, Blue", "Flag, Green"}
    assert found["desc"].str.contains("Status: new; Level: low; Area \\(ha\\): 12.3456").any()


def test_pmtiles_are_vector_tiles_with_every_site(hostile, tmp_path) -> None:
    path = export_sites(hostile, tmp_path / "a.pmtiles").path
    head = path.read_bytes()[:127]
    # PMTiles 3: magic, version; at 99 tile type (1: MVT), least and greatest zoom.
    assert head[:8] == b"PMTiles\x03"
    kind, least, most = struct.unpack_from("<3B", head, 99)
    assert (kind, least, most) == (1, 0, 12)
    west, south, east, north = (n / 1e7 for n in struct.unpack_from("<4i", head, 102))
    assert (west, south, east, north) == pytest.approx(hostile.total_bounds, abs=1e-3)
    found = pyogrio.read_dataframe(path, layer="sites")
    assert set(found["site_id"]) == set(hostile["site_id"])
    rows = found.drop_duplicates("site_id").set_index("site_id")
    assert set(rows["first_seen"]) == {"2024-01-01"}
    texts = dict(zip(hostile["site_id"], HOSTILE, strict=True))
    assert all(rows["status_rule"][one] == legible(text) for one, text in texts.items())


def test_a_shapefile_is_zipped_with_a_legend(hostile, tmp_path) -> None:
    path = export_sites(hostile, tmp_path / "a.shp.zip").path
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        names = {name.rpartition(".")[2] for name in archive.namelist()}
        assert names == {"shp", "shx", "dbf", "prj", "cpg", "csv", "txt"}
        assert archive.read("sites.cpg") == b"UTF-8"
        legend = archive.read("sites_columns.csv").decode().splitlines()
    columns = {row["short"]: row["column"] for row in csv.DictReader(legend)}
    fields = list(pyogrio.read_info(f"/vsizip/{path}/sites.shp")["fields"])
    assert fields == list(columns)
    assert columns["cumulative"] == "cumulative_ha"


def test_short_names_stay_apart() -> None:
    names = [f"context_distance_to_{n}_m" for n in range(120)] + ["Distance_t", "größe", ""]
    short = short_names(names)
    assert len({name.lower() for name in short.values()}) == len(names)
    assert all(len(name) <= 10 and name.isascii() for name in short.values())


@pytest.mark.parametrize("fmt", EXPORT_FORMATS)
def test_alerts_are_points(fmt, tmp_path) -> None:
    sites = sites_table([-1.0, -1.1], [6.0, 6.1])
    path = tmp_path / f"a{suffix(fmt)}"
    write_export(path, sites=sites, alerts=alerts_table(sites), what=["alerts"])
    if fmt == "csv":
        rows = pd.read_csv(path)
    elif fmt == "geoparquet":
        rows = gpd.read_parquet(path)
    elif fmt == "gpx":
        rows = pyogrio.read_dataframe(path, layer="waypoints")
        assert list(rows["sym"]) == ["Flag, Blue"] * 2
        rows = rows.rename(columns={"name": "alert_id"})
    else:
        inside = {"shapefile": "alerts.shp", "kmz": "doc.kml"}.get(fmt)
        source = f"/vsizip/{path}/{inside}" if inside else path
        rows = pyogrio.read_dataframe(source, layer="alerts")
    assert set(rows["alert_id"]) == set(alerts_table(sites)["alert_id"])
    if fmt != "csv":
        assert set(rows.explode().geometry.geom_type) == {"Point"}
    if fmt not in ("gpx",):
        assert set(rows["reasons"]) == {"Two dates. 0.4 km from a river."}


def test_histories_are_lines_of_csv(tmp_path) -> None:
    sites = sites_table([-1.0, -1.1], [6.0, 6.1])
    periods = periods_table(sites)
    path = tmp_path / "a.csv"
    write_export(path, sites=sites, periods=periods, what=["periods"])
    rows = pd.read_csv(path)
    assert list(rows.columns) == [*periods.columns, "note"]
    assert list(rows["start"]) == [str(day) for day in periods["start"]]
    rule = Redaction(5000)
    write_export(path, sites=sites, periods=periods, what=["periods"], redaction=rule, today=TODAY)
    assert not set(pd.read_csv(path)["site_id"]) & set(periods["site_id"])


def test_dicts_of_any_kind_become_plain_columns() -> None:
    table = sites_table([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    table["context"] = [
        {"A b": 1, "a_B": "x", "inside": True, "dates": {"start": dt.date(2020, 1, 1)},
         "n": [1, 2]},
        None,
        {"inside": None, "mixed": 1, "": "unnamed", "dates": {"start": None}},
    ]  # fmt: skip
    flat = flat_table(table, SITES)
    assert list(flat["context_a_b"].astype(object).where(lambda v: v.notna(), None)) == [
        1,
        None,
        None,
    ]
    assert flat["context_a_b_2"].iloc[0] == "x"
    assert flat["context_inside"].dtype == "boolean"
    assert flat["context_dates_start"].iloc[0] == dt.date(2020, 1, 1)
    assert flat["context_n"].iloc[0] == "1; 2"
    assert flat["context_unnamed"].iloc[2] == "unnamed"
    assert list(flat["priority_probability"]) == [40.0] * 3
    assert not {"context", "priority_parts"} & set(flat.columns)


def noisy_country(width_deg: float, points: int) -> shapely.Polygon:
    """An outline with as many bays as points."""
    turn = np.linspace(0, 2 * np.pi, points, endpoint=False)
    radius = width_deg / 2 * (1 + 0.05 * np.random.default_rng(1).normal(size=points))
    return shapely.Polygon(np.column_stack([20 + radius * np.cos(turn), radius * np.sin(turn)]))


def test_tiles_end_earlier_where_shapes_are_as_large_as_countries():
    small = shapely.buffer(shapely.points(np.linspace(0, 5, 5000), 6), 0.002)
    assert furthest_zoom(small) == 12
    country = np.array([noisy_country(10, 20_000)], dtype=object)
    world = np.array([shapely.box(-179.9, -80, 179.9, 80)], dtype=object)
    for shapes in (country, world):
        zoom = furthest_zoom(np.concatenate([small, drawable(shapes)]))
        assert zoom < 12
        # No more tiles than can be drawn while somebody waits.
        box = shapely.bounds(shapes)[0]
        assert (box[2] - box[0]) / 360 * (box[3] - box[1]) / 180 * 4**zoom < 50_000


def test_large_shapes_have_a_bounded_number_of_points_and_small_ones_all():
    country, pit = noisy_country(10, 20_000), noisy_country(0.01, 5000)
    drawn = drawable(np.array([country, pit], dtype=object))
    assert shapely.get_num_coordinates(drawn[0]) <= 3000
    assert shapely.is_valid(drawn[0])
    assert drawn[0].area == pytest.approx(country.area, rel=0.05)
    assert drawn[1] is pit


def test_a_shape_as_large_as_continents_is_written_as_tiles(tmp_path):
    sites = sites_table([20.0, 21.0], [0.0, 1.0])
    sites.loc[0, "geometry"] = shapely.box(-170, -60, 170, 60)
    exported = export_sites(sites, tmp_path / "sites.pmtiles")
    assert exported.rows == {"sites": 2}
    assert set(read_sites(exported.path, "pmtiles")["site_id"]) == set(sites["site_id"])
