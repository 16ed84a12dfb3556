"""A vector file is what its suffix says, or no library with many drivers gets to see it."""

import json
import shutil

import geopandas as gpd
import pandas as pd
import pyogrio
import pytest
import shapely

from sluice.base.errors import AssetReadError, ConfigError, ItemNotFound
from sluice.base.files import read_vector, vector_layers
from sluice.base.vector_content import safe_source

SQUARE = shapely.box(-1.5, 6.0, -1.4, 6.1)
SUFFIXES = ("gpkg", "geojson", "json", "shp", "fgb", "kml", "parquet")
VRT = (
    '<OGRVRTDataSource><OGRVRTLayer name="a"><SrcDataSource>/vsicurl/http://127.0.0.1:9/a.json'
    "</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>"
)
KML_SPACE = 'xmlns="http://www.opengis.net/kml/2.2"'


def write(path, **columns):
    frame = gpd.GeoDataFrame(columns, geometry=[SQUARE], crs="EPSG:4326")
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        driver = {".kml": "KML", ".json": "GeoJSON"}.get(path.suffix)
        frame.to_file(path, driver=driver)
    return path


@pytest.fixture
def unseen(monkeypatch):
    """Nothing may be opened by a driver, not even to ask what it is."""

    def fail(*_args, **_kwargs):
        pytest.fail("OGR saw the file")

    monkeypatch.setattr(pyogrio, "read_info", fail)
    monkeypatch.setattr(pyogrio, "list_layers", fail)
    monkeypatch.setattr(pyogrio, "read_dataframe", fail)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_each_kind_is_read(suffix, tmp_path) -> None:
    frame = read_vector(write(tmp_path / f"a.{suffix}", name=["x"]))
    assert frame.crs == "EPSG:4326"
    assert shapely.force_2d(frame.geometry.iloc[0]).equals(SQUARE)


def test_a_name_in_capitals_and_one_that_begins_like_an_address(tmp_path, monkeypatch) -> None:
    shutil.copy(write(tmp_path / "a.geojson"), tmp_path / "A.GEOJSON")
    assert len(read_vector(tmp_path / "A.GEOJSON")) == 1
    monkeypatch.chdir(tmp_path)
    shutil.copy(write(tmp_path / "a.gpkg"), "WFS-b.gpkg")
    assert len(read_vector("WFS-b.gpkg")) == 1


@pytest.mark.usefixtures("unseen")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_of_links_reaches_no_driver_under_any_name(suffix, tmp_path) -> None:
    path = tmp_path / f"area.{suffix}"
    path.write_text(VRT)
    with pytest.raises(AssetReadError, match=rf"area\.{suffix}: "):
        read_vector(path)


@pytest.mark.usefixtures("unseen")
@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.vrt", VRT, "files of this kind"),
        ("a.kmz", "PK\3\4", "files of this kind"),
        ("a.geojson", '{"type": "gdal_streamed_alg", "command_line": "x"}', "no feature"),
        ("a.geojson", '{"type": "Topology", "objects": {}}', "no feature"),
        ("a.geojson", "[]", "no feature"),
        ("a.geojson", "[" * 100_000, "not JSON"),
        ("a.geojson", "\xff", "no feature|not JSON"),
        ("a.kml", f"<kml {KML_SPACE}/>{VRT}", "not XML"),
        ("a.kml", f"<kml {KML_SPACE}><!-- {VRT} --></kml>", "other formats"),
        ("a.kml", '<kml xmlns:g="http://www.opengis.net/gml"/>', "other formats"),
        ("a.kml", '<!DOCTYPE kml SYSTEM "file:///etc/passwd"><kml/>', "DOCTYPE"),
        ("a.kml", "<gpx/>", "is gpx, not kml"),
        ("a.kml", "", "not XML"),
        ("a.gpkg", "SQLite format 3\0" + "\0" * 100, "as a GeoPackage does"),
        ("a.shp", "", "as a Shapefile does"),
        ("a.fgb", "fgb", "as a FlatGeobuf does"),
    ],
)
def test_content_that_does_not_fit_the_name(name, content, said, tmp_path) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(AssetReadError, match=said):
        read_vector(tmp_path / name)


def test_markup_in_an_attribute_is_text(tmp_path) -> None:
    """Descriptions hold HTML; and no text in a JSON file makes XML of it."""
    path = write(tmp_path / "a.geojson", note=[f"{VRT} \\<b>"])
    assert read_vector(path)["note"].tolist() == [f"{VRT} \\<b>"]
    before = json.dumps({"a": VRT})[:-1] + "," + path.read_text()[1:]
    path.write_text(before)
    assert len(read_vector(path)) == 1


def test_no_file_and_a_folder(tmp_path) -> None:
    with pytest.raises(ItemNotFound, match="no such file"):
        read_vector(tmp_path / "a.gpkg")
    (tmp_path / "a.gpkg").mkdir()
    with pytest.raises(AssetReadError, match="cannot be read as GeoPackage"):
        read_vector(tmp_path / "a.gpkg")


def test_the_layer_with_shapes_is_read_without_a_warning_of_others(tmp_path) -> None:
    path = write(tmp_path / "a.gpkg", first=[1])
    gpd.GeoDataFrame({"second": [1]}, geometry=[SQUARE], crs="EPSG:4326").to_file(path, layer="b")
    pyogrio.write_dataframe(pd.DataFrame({"style": ["red"]}), path, layer="styles")
    assert vector_layers(path) == ("a", "b")
    assert "first" in read_vector(path)
    assert "second" in read_vector(path, layer="b")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_of_one_layer_have_one(suffix, tmp_path) -> None:
    assert len(vector_layers(write(tmp_path / f"a.{suffix}", first=[1]))) == 1


def test_layers_of_what_is_no_vector_file_are_refused(unseen, tmp_path) -> None:
    (tmp_path / "a.geojson").write_text(VRT)
    with pytest.raises(AssetReadError, match="cannot be read as GeoJSON"):
        vector_layers(tmp_path / "a.geojson")
    with pytest.raises(ItemNotFound, match="no such file"):
        vector_layers(tmp_path / "none.gpkg")


def test_an_empty_file_is_read_where_that_is_an_answer(tmp_path) -> None:
    path = tmp_path / "a.parquet"
    gpd.GeoDataFrame(geometry=[], crs="EPSG:4326").to_parquet(path)
    assert len(read_vector(path, may_be_empty=True)) == 0
    with pytest.raises(ConfigError, match="no geometry"):
        read_vector(path)


def test_geojson_without_a_name_is_read(tmp_path) -> None:
    feature = {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(SQUARE)}
    (tmp_path / "a.geojson").write_text(
        json.dumps({"type": "FeatureCollection", "features": [feature]})
    )
    assert len(read_vector(tmp_path / "a.geojson")) == 1


def _with_crs(crs: str, at: str = "top") -> str:
    member = f"{crs}, " if crs else ""
    top, feature, geometry = (
        member if at == place else "" for place in ("top", "feature", "shape")
    )
    return (
        f'{{{top}"type": "FeatureCollection", "features": [{{{feature}"type": "Feature", '
        f'"properties": {{"crs": "x"}}, "geometry": {{{geometry}"type": "Point", '
        '"coordinates": [1, 2]}}]}'
    )


LINK = '{"type": "link", "properties": {"href": "http://127.0.0.1:9/x", "type": "proj4"}}'


@pytest.mark.parametrize("at", ["top", "feature", "shape"])
@pytest.mark.parametrize(
    "crs",
    [
        f'"crs": {LINK}',
        f'"CRS": {LINK}',
        f'"\\u0063r\\u0073" : {LINK}',
        f'"crs": {LINK}, "crs": null',
        f'"crs": null, "Crs": {LINK}',
        '"crs": {"type": "url", "properties": {"url": "http://127.0.0.1:9/x"}}',
        '"crs": {"type": "URL", "properties": {"URL": "/etc/passwd"}}',
        '"crs": {"type": "name", "properties": {"name": "http://127.0.0.1:9/x"}}',
        '"crs": {"type": "name", "properties": {"name": "/etc/passwd"}}',
        '"crs": {"type": "name", "properties": {"name": "+proj=longlat +nadgrids=/etc/passwd"}}',
        '"crs": {"type": "name", "properties": {"name": "EPSG:4326"}, "href": "http://x"}',
        f'"crs": [{LINK}]',
    ],
)
def test_a_geojson_that_links_its_crs_is_not_opened(crs, at, tmp_path, unseen) -> None:
    path = tmp_path / "a.geojson"
    path.write_text(_with_crs(crs, at))
    if crs.endswith("null"):
        # Of two that have one name the last one counts, and nothing else is handed on.
        assert b"127.0.0.1" not in safe_source(path)
        return
    with pytest.raises(AssetReadError, match="CRS is not named by a code"):
        read_vector(path)


@pytest.mark.parametrize(
    ("name", "epsg"),
    [
        ("urn:ogc:def:crs:OGC:1.3:CRS84", 4326),
        ("urn:ogc:def:crs:EPSG::32630", 32630),
        ("EPSG:32630", 32630),
    ],
)
def test_a_geojson_that_names_its_crs_is_read(name, epsg, tmp_path) -> None:
    path = tmp_path / "a.geojson"
    path.write_text(_with_crs(f'"crs": {{"type": "name", "properties": {{"name": "{name}"}}}}'))
    frame = read_vector(path)
    assert frame.crs.to_epsg() in {epsg, None}
    assert frame.crs.equals(f"EPSG:{epsg}", ignore_axis_order=True)
    assert frame["crs"].tolist() == ["x"]


def test_a_file_that_is_damaged_within_is_told(tmp_path) -> None:
    path = write(tmp_path / "a.fgb", name=["x"])
    content = path.read_bytes()
    path.write_bytes(content[:60] + b"\xff\xff" + content[62:])
    with pytest.raises(AssetReadError, match="cannot be read as FlatGeobuf"):
        read_vector(path)
