"""Layers read from files of all kinds, and what is told about them."""

import datetime as dt
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from affine import Affine
from shapely.geometry import LineString, Point, Polygon, box

from kml_cases import folders, polygon
from sluice.app.following.layer_files import LayerColumns, parse_buffer, read_layer
from sluice.app.following.layers import far_from_areas, layer_summary, slope_reader, summary_text
from sluice.base.errors import (
    AssetReadError,
    ConfigError,
    DataError,
    ItemNotFound,
    NoValidData,
    SluiceError,
)
from sluice.base.places import LayerKind

SQUARE = box(-2.0, 6.0, -1.9, 6.1)


def write(folder: Path, shapes: list[Any], *, crs: Any = 4326, name: str = "x.gpkg", **cols: Any):
    frame = gpd.GeoDataFrame(cols, geometry=shapes, crs=crs)
    path = folder / name
    frame.to_file(path)
    return path


def test_a_file_becomes_features_with_names_dates_and_properties(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        [SQUARE, box(-1, 6, -0.9, 6.1), box(0, 6, 0.1, 6.1)],
        holder=["Obuasi", None, " "],
        permit=[12.0, np.nan, 14.0],
        granted=["2010-05-01", "2012", None],
        expires=["2030-12", "2040", ""],
    )
    columns = LayerColumns("holder", "permit", "granted", "expires")
    read = read_layer(path, name="permits", kind="concessions", columns=columns, licence="CC0")
    assert read.notes == ()
    table = read.features
    assert list(table) == ["name", "start", "end", "properties", "geometry"]
    assert table["name"].tolist() == ["Obuasi", None, None]
    assert table["start"].tolist() == [dt.date(2010, 5, 1), dt.date(2012, 1, 1), None]
    assert table["end"].tolist() == [dt.date(2030, 12, 31), dt.date(2040, 12, 31), None]
    assert table["properties"].iloc[0]["id"] == "12"
    assert "id" not in table["properties"].iloc[1]
    assert table["properties"].iloc[0]["holder"] == "Obuasi"
    layer = read.layer
    assert (layer.kind, layer.features, layer.licence) == (LayerKind.CONCESSIONS, 3, "CC0")
    assert len(layer.sha256) == 64
    assert Path(layer.source).is_absolute()


def test_all_folders_of_a_kml_are_read_and_an_empty_one_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "titles.kml"
    inner = f"<Folder><name>inner</name>{polygon(4, 'c')}</Folder>"
    path.write_text(
        folders(("none", ""), ("same", polygon(0, "a")), ("same", polygon(2, "b") + inner))
    )
    read = read_layer(path, name="concessions", columns=LayerColumns(name="Name"))
    assert sorted(read.features["name"]) == ["a", "b", "c"]
    assert read.features.geometry.bounds["minx"].sum() == pytest.approx(6)


def test_of_several_layers_one_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, [SQUARE])
    gpd.GeoDataFrame(geometry=[SQUARE, box(0, 6, 1, 7)], crs=4326).to_file(path, layer="valid")
    with pytest.raises(ConfigError, match="has the layers x, valid; name one with --layer"):
        read_layer(path, name="concessions")
    assert read_layer(path, name="concessions", file_layer="valid").layer.features == 2


def test_the_kind_follows_from_the_name(tmp_path: Path) -> None:
    path = write(tmp_path, [SQUARE], a=[1])
    assert read_layer(path, name="protected").layer.kind is LayerKind.PROTECTED
    with pytest.raises(ConfigError, match="what does layer parks show"):
        read_layer(path, name="parks")
    with pytest.raises(ConfigError, match="is not known; use one of settlements"):
        read_layer(path, name="parks", kind="park")
    with pytest.raises(ConfigError, match="is no name for a layer"):
        read_layer(path, name="../roads", kind="roads")


@pytest.mark.parametrize(
    ("text", "metres"), [("30m", 30), ("30 m", 30), ("1.5 KM", 1500), ("0", 0), ("0 m", 0)]
)
def test_buffers(text: str, metres: float) -> None:
    assert parse_buffer(text) == metres


@pytest.mark.parametrize("text", ["30", "-5m", "thirty", "5 ft", "", "1,5km", "nanm"])
def test_buffers_need_a_unit(text: str) -> None:
    with pytest.raises(ConfigError, match="write a number and m or km"):
        parse_buffer(text)


@pytest.mark.parametrize("crs", [32630, 25000, 3857])
def test_any_crs_is_brought_to_degrees(tmp_path: Path, crs: int) -> None:
    wide = box(-2.0, 6.0, -1.0, 7.0)
    path = write(tmp_path, [*gpd.GeoSeries([wide], crs=4326).to_crs(crs)], crs=crs, a=[1])
    read = read_layer(path, name="protected")
    assert read.features.crs.to_epsg() == 4326
    assert read.features.total_bounds == pytest.approx([-2, 6, -1, 7], abs=0.01)
    if crs != 3857:
        # Its edges stay straight where they were straight.
        assert shapely.get_num_coordinates(read.features.geometry.iloc[0]) > 50


def test_crossing_empty_and_flat_shapes_are_mended_left_out_and_told(tmp_path: Path) -> None:
    bow_tie = Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])
    path = write(tmp_path, [SQUARE, bow_tie, None, Polygon()], a=[1, 2, 3, 4])
    read = read_layer(path, name="protected")
    assert read.notes == (
        "2 features without a shape left out",
        "1 self-crossing shape mended",
    )
    assert read.features.geometry.is_valid.all()
    assert read.features.geometry.iloc[1].area == pytest.approx(0.5)
    flat = Polygon([(0, 0), (1, 1), (0, 0)])
    read = read_layer(write(tmp_path, [SQUARE, flat], name="f.gpkg", a=[1, 2]), name="protected")
    assert "1 feature without any area left out once mended" in read.notes
    with pytest.raises(NoValidData, match="no shape is left"):
        read_layer(write(tmp_path, [flat], name="g.gpkg", a=[1]), name="protected")


def test_files_that_cannot_serve_are_refused(tmp_path: Path) -> None:
    cases: list[tuple[Path, type[SluiceError], str]] = [
        (tmp_path / "none.gpkg", ItemNotFound, "no such file"),
        (write(tmp_path, [], name="empty.gpkg"), NoValidData, "holds no feature"),
        (write(tmp_path, [None], name="null.gpkg", a=[1]), ConfigError, "holds no geometry"),
        (write(tmp_path, [Point(200, 95)], name="far.gpkg", a=[1]), DataError, "no degrees"),
        (
            write(tmp_path, [Point(60, 120)], name="swapped.gpkg", a=[1]),
            DataError,
            "look swapped",
        ),
        (
            write(tmp_path, [Point(-2, 6)], crs=32630, name="metres.gpkg", a=[1]),
            DataError,
            "look like degrees",
        ),
    ]
    shp = write(tmp_path, [SQUARE], name="nocrs.shp", a=[1])
    shp.with_suffix(".prj").unlink()
    cases.append((shp, ConfigError, "has no CRS"))
    text = tmp_path / "x.txt"
    text.write_text("1,2")
    cases.append((text, AssetReadError, "not opened"))
    for path, error, words in cases:
        with pytest.raises(error, match=words) as caught:
            read_layer(path, name="protected")
        assert str(path) in str(caught.value)


def test_a_vrt_in_disguise_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "roads.geojson"
    path.write_text("<OGRVRTDataSource><OGRVRTLayer name='a'/></OGRVRTDataSource>")
    with pytest.raises(AssetReadError):
        read_layer(path, name="roads")


def test_dates_are_read_strictly_and_told(tmp_path: Path) -> None:
    path = write(
        tmp_path, [SQUARE] * 4, day=["2020-02-30", "3/4/2021", "2021", None], none=["a"] * 4
    )
    read = read_layer(path, name="concessions", columns=LayerColumns(end="day"))
    assert read.features["end"].tolist() == [None, None, dt.date(2021, 12, 31), None]
    assert read.notes == (
        "day: 2 of 3 values are no dates, for example '2020-02-30'; these count as unknown",
    )
    with pytest.raises(ConfigError, match="none holds no date that can be read, for example 'a'"):
        read_layer(path, name="concessions", columns=LayerColumns(start="none"))
    with pytest.raises(ConfigError, match="has no column 'nme'; found: day, none"):
        read_layer(path, name="concessions", columns=LayerColumns(name="nme"))


def test_columns_of_dates_and_numbers_are_read_too(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        [SQUARE, SQUARE],
        a=pd.to_datetime(["2020-01-05", None]),
        b=[2030, 2031],
        c=[True, False],
    )
    read = read_layer(path, name="concessions", columns=LayerColumns("b", None, "a", "b"))
    assert read.features["start"].tolist() == [dt.date(2020, 1, 5), None]
    assert read.features["end"].tolist() == [dt.date(2030, 12, 31), dt.date(2031, 12, 31)]
    assert read.features["name"].tolist() == ["2030", "2031"]
    assert read.features["properties"].iloc[0]["c"] is True


def test_a_term_that_ends_before_it_begins(tmp_path: Path) -> None:
    path = write(tmp_path, [SQUARE, SQUARE], a=["2020", "2022"], b=["2021", "2021"])
    with pytest.raises(DataError, match="1 feature with an end before the start, first feature 2"):
        read_layer(path, name="concessions", columns=LayerColumns(start="a", end="b"))


def test_points_and_lines_need_a_buffer_to_hold_anything(tmp_path: Path) -> None:
    points = write(tmp_path, [Point(-2, 6), Point(0, 0)], a=[1, 2])
    with pytest.raises(ConfigError, match="concessions are areas"):
        read_layer(points, name="concessions")
    read = read_layer(points, name="settlements", buffer="1km")
    assert read.layer.buffer_m == 1000
    assert read.notes == ("1 feature at 0 degrees north, 0 east, where lost places end up",)
    assert read_layer(points, name="airstrips").notes == read.notes
    lines = write(tmp_path, [LineString([(-2, 6), (-1, 6)])], name="l.gpkg", a=[1])
    assert "without an area" in read_layer(lines, name="roads").notes[0]


def test_shapes_across_180_degrees_are_cut(tmp_path: Path) -> None:
    path = write(tmp_path, [box(170_000, 8_000_000, 230_000, 8_050_000)], crs=32701, a=[1])
    read = read_layer(path, name="protected")
    west, _, east, _ = read.features.total_bounds
    assert (west, east) == pytest.approx((-180, 180))
    assert read.features.geometry.iloc[0].geom_type == "MultiPolygon"


def test_a_layer_of_another_country_is_told(tmp_path: Path) -> None:
    areas = gpd.GeoDataFrame({"name": ["ashanti"]}, geometry=[SQUARE], crs=4326)
    near = read_layer(write(tmp_path, [box(-1.8, 6, -1.7, 6.1)], a=[1]), name="protected").features
    assert far_from_areas(near, areas) is None
    assert far_from_areas(near, areas.iloc[:0]) is None
    far = read_layer(write(tmp_path, [box(20, 6, 21, 7)], name="f.gpkg", a=[1]), name="protected")
    assert "is it the right file" in str(far_from_areas(far.features, areas))
    flipped = read_layer(
        write(tmp_path, [box(6, -2, 6.1, -1.9)], name="s.gpkg", a=[1]), name="protected"
    )
    assert "swap them in the file" in str(far_from_areas(flipped.features, areas))


def test_a_layer_is_shown_in_words(tmp_path: Path) -> None:
    path = write(tmp_path, [SQUARE, Point(0, 1)], n=["A", None], y=["2020", None])
    read = read_layer(path, name="expert", columns=LayerColumns("n", end="y"), licence="ODbL")
    found = layer_summary(read.features)
    assert found["shapes"] == {"Polygon": 1, "Point": 1}
    assert (found["named"], found["last_end"]) == (1, "2020-12-31")
    text = summary_text(read.layer, read.features)
    assert "Within 1.00 N to 6.10 N, 2.00 W to 0.00 E" in text
    assert "1 with a name: A" in text
    assert "ODbL" in text


# Slopes.


def write_slope(path: Path, *, bands: int = 2, crs: str = "EPSG:32630") -> Path:
    slope = np.tile(np.arange(40, dtype=np.float32), (40, 1))
    slope[:5] = np.nan
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=40,
        height=40,
        count=bands,
        dtype="float32",
        nodata=np.nan,
        crs=crs,
        transform=Affine(30, 0, 600_000, 0, -30, 700_000),
    ) as target:
        if bands > 1:
            target.descriptions = ("elevation", "slope")
            target.write(np.full((40, 40), 500, np.float32), 1)
        target.write(slope, bands)
    return path


@pytest.mark.parametrize("bands", [1, 2])
def test_slopes_are_means_over_the_place(tmp_path: Path, bands: int) -> None:
    path = write_slope(tmp_path / "elevation.tif", bands=bands)
    read = read_layer(path, name="slope")
    assert read.features.geometry.iloc[0].area > 0
    shapes = [
        box(600_000, 699_000, 600_300, 699_300),  # columns 0 to 9
        Point(600_000 + 30 * 12.5, 699_500),
        box(601_150, 698_900, 601_300, 699_000),  # beyond the eastern border
        box(600_000, 699_900, 600_300, 699_990),  # without a value
        Point(0, 0),
        Point(),
        None,
    ]
    places = gpd.GeoSeries(shapes, crs=32630).to_crs(4326)
    slopes = slope_reader([read.layer])(places)
    assert slopes[:2] == pytest.approx([4.5, 12.0], abs=0.06)
    assert slopes[2] == pytest.approx(38.5, abs=0.6)
    assert np.isnan(slopes[3:]).all()


def test_a_raster_that_changed_or_went_is_refused(tmp_path: Path) -> None:
    path = write_slope(tmp_path / "elevation.tif")
    layer = read_layer(path, name="hills", kind="slope").layer
    write_slope(path, bands=1)
    with pytest.raises(ConfigError, match="has changed since it was registered"):
        slope_reader([layer])
    path.unlink()
    with pytest.raises(ConfigError, match="is not there any more"):
        slope_reader([layer])


def test_a_raster_without_slopes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rgb.tif"
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=2,
        height=2,
        count=3,
        dtype="uint8",
        crs="EPSG:32630",
        transform=Affine(30, 0, 600_000, 0, -30, 700_000),
    ) as target:
        target.write(np.zeros((3, 2, 2), np.uint8))
    with pytest.raises(AssetReadError, match="none of its 3 bands is called slope"):
        read_layer(path, name="slope")


# Real files.


def test_congolese_parks_are_read_as_they_are(shared_data: Path, tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(shared_data / "vec-ipis-drc" / "cod_conservation.zip") as archive:
        archive.extractall(tmp_path)
    path = tmp_path / "Conservation" / "RDC_aire_protegee_2013.shp"
    name = next(c for c in gpd.read_file(path, rows=1).columns if "NOM" in c.upper())
    read = read_layer(path, name="protected", columns=LayerColumns(name))
    assert read.layer.features == 50
    assert layer_summary(read.features)["named"] >= 45
    assert read.features.geometry.is_valid.all()
