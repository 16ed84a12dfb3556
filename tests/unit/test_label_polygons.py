"""Polygons of labels: any file becomes one table, and the table masks of the right area."""

import json

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import pytest
import shapely
import shapely.affinity
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from typer.testing import CliRunner

from sluice.app.cli.main import app
from sluice.base.errors import (
    AssetReadError,
    ConfigError,
    DataError,
    GridMismatch,
    ItemNotFound,
    NoValidData,
)
from sluice.labels.polygons import rasterise_polygons, read_polygons
from sluice.labels.vector_table import LabelColumns, check_near

UTM = "EPSG:32630"
PX = 10.0
GRID = GeoBox((40, 50), Affine(PX, 0, 600_000, 0, -PX, 700_400), UTM)
CLASSES = ("other", "mine", "river")
LEFT, TOP = 600_000, 700_400


def write(tmp_path, shapes, crs="EPSG:4326", name="a.gpkg", **columns):
    path = tmp_path / name
    gpd.GeoDataFrame(columns, geometry=list(shapes), crs=crs).to_file(path)
    return path


def at(col, row, width, height):
    """A box in pixels of the grid."""
    return shapely.box(
        LEFT + col * PX, TOP - (row + height) * PX, LEFT + (col + width) * PX, TOP - row * PX
    )


def table(*pairs, crs=UTM):
    names, shapes = zip(*pairs, strict=True)
    return gpd.GeoDataFrame({"class": names}, geometry=list(shapes), crs=crs)


SQUARE = shapely.box(-1.5, 6.0, -1.4, 6.1)


def test_class_dates_and_source_come_by_their_columns(tmp_path):
    path = write(
        tmp_path,
        [SQUARE, SQUARE],
        kind=["active", "river"],
        since=["2019", "2020-02"],
        until=["2019", "2020-02"],
    )
    columns = LabelColumns("kind", start_column="since", end_column="until")
    found = read_polygons(path, columns).table
    assert list(found.columns) == ["class", "start", "end", "source", "geometry"]
    assert found["class"].tolist() == ["active", "river"]
    assert found["source"].tolist() == ["a", "a"]
    assert found["start"].dt.strftime("%F").tolist() == ["2019-01-01", "2020-02-01"]
    assert found["end"].dt.strftime("%F").tolist() == ["2019-12-31", "2020-02-29"]
    assert found.crs == "EPSG:4326"


def test_years_as_numbers_and_codes_with_gaps(tmp_path):
    path = write(tmp_path, [SQUARE, SQUARE], year=[2019, 2020], code=[1.0, 2.0])
    found = read_polygons(path, LabelColumns("code", start_column="year", end_column="year")).table
    assert found["class"].tolist() == ["1", "2"]
    assert found["end"].dt.strftime("%F").tolist() == ["2019-12-31", "2020-12-31"]


def test_dates_with_a_time_zone_are_days_of_utc(tmp_path):
    when = pd.to_datetime(["2020-01-01T01:00:00+05:00", None])
    path = tmp_path / "a.parquet"
    gpd.GeoDataFrame({"when": when}, geometry=[SQUARE, SQUARE], crs="EPSG:4326").to_parquet(path)
    start = read_polygons(path, LabelColumns(start_column="when")).table["start"]
    assert str(start[0].date()) == "2019-12-31"
    assert pd.isna(start[1])


@pytest.mark.parametrize(
    ("columns", "error", "part"),
    [
        (LabelColumns("klass"), ConfigError, "found: kind, since"),
        (LabelColumns("geometry"), ConfigError, "no column 'geometry'"),
        (LabelColumns("kind"), DataError, "kind is empty in 1 of 2 features, first in feature 2"),
        (LabelColumns(start_column="since"), DataError, "feature 2 is 'last year'"),
    ],
)
def test_columns_that_do_not_serve_are_told(tmp_path, columns, error, part):
    path = write(tmp_path, [SQUARE, SQUARE], kind=["mine", " "], since=["2020-01-05", "last year"])
    with pytest.raises(error, match=part):
        read_polygons(path, columns)


@pytest.mark.parametrize("date", ["2021-02-30", "2021-13", "20210101", "1.5"])
def test_what_looks_like_a_date_and_is_none(tmp_path, date):
    path = write(tmp_path, [SQUARE], since=[date])
    with pytest.raises(DataError, match="no date"):
        read_polygons(path, LabelColumns(start_column="since"))


def test_a_label_that_ends_before_it_begins(tmp_path):
    path = write(tmp_path, [SQUARE], a=["2021"], b=["2020"])
    with pytest.raises(DataError, match=r"ends \(2020-12-31\) before it begins"):
        read_polygons(path, LabelColumns(start_column="a", end_column="b"))


def test_invalid_outlines_are_mended_and_counted(tmp_path):
    bow = shapely.Polygon([(0, 0), (0.1, 0.1), (0.1, 0), (0, 0.1)])
    spike = shapely.Polygon([(0, 0), (0.1, 0), (0.1, 0.1), (0.1, 0.3), (0.1, 0.1), (0, 0.1)])
    found = read_polygons(write(tmp_path, [bow, spike, SQUARE]))
    assert (found.mended, dict(found.left_out)) == (2, {})
    assert found.table.is_valid.all()
    assert np.allclose([shape.area for shape in found.table.geometry], [0.005, 0.01, 0.01])


def test_what_has_no_area_is_left_out_and_counted(tmp_path):
    flat = shapely.Polygon([(0, 0), (1, 1), (0, 0), (0, 0)])
    shapes = [flat, None, shapely.Point(0, 0), shapely.LineString([(0, 0), (1, 1)]), SQUARE]
    path = tmp_path / "a.geojson"
    features = [
        {"type": "Feature", "properties": {}, "geometry": s and shapely.geometry.mapping(s)}
        for s in shapes
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    found = read_polygons(path)
    assert len(found.table) == 1
    assert sorted(found.left_out.values()) == [1, 1, 2]
    assert found.left_out["without area"] == 1


def test_points_where_polygons_are_needed(tmp_path):
    path = write(tmp_path, [shapely.Point(0, 1), shapely.Point(1, 1)])
    with pytest.raises(NoValidData, match=r"no polygon \(2 points or lines"):
        read_polygons(path)


@pytest.mark.parametrize(
    ("shape", "crs", "part"),
    [
        (SQUARE, UTM, "look like degrees"),
        (shapely.box(600_000, 700_000, 601_000, 701_000), "EPSG:4326", "no degrees"),
        (shapely.box(6.0, -101.5, 6.1, -101.4), "EPSG:4326", "swapped"),
        (shapely.box(600_000, 700_000, 601_000, 701_000), "EPSG:2193", "far from where"),
    ],
)
def test_coordinates_that_are_not_of_their_crs(tmp_path, shape, crs, part):
    with pytest.raises(DataError, match=part):
        read_polygons(write(tmp_path, [shape], crs))


def test_a_file_without_a_crs(tmp_path):
    path = tmp_path / "a.fgb"
    with pytest.warns(UserWarning, match="crs"):
        gpd.GeoDataFrame(geometry=[SQUARE]).to_file(path)
    with pytest.raises(ConfigError, match="has no CRS"):
        read_polygons(path)


@pytest.mark.parametrize("name", ["a.gpkg", "a.geojson", "a.shp", "a.fgb", "a.parquet"])
def test_files_that_are_empty_or_something_else(tmp_path, name):
    with pytest.raises(ItemNotFound):
        read_polygons(tmp_path / name)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(AssetReadError):
        read_polygons(tmp_path / name)
    (tmp_path / name).write_text(
        "<OGRVRTDataSource><OGRVRTLayer name='a'><SrcDataSource>/etc/passwd</SrcDataSource>"
        "</OGRVRTLayer></OGRVRTDataSource>"
    )
    with pytest.raises(AssetReadError):
        read_polygons(tmp_path / name)


def test_labels_elsewhere_and_labels_swapped():
    here = table(("mine", shapely.box(-2, 5, -1, 6)), crs="EPSG:4326")
    check_near(here, (-1.5, 5.5, 0, 7), "a.gpkg")
    with pytest.raises(GridMismatch, match="swap longitude and latitude"):
        check_near(here, (5, -2, 6, -1), "a.gpkg")
    with pytest.raises(GridMismatch, match="an area of the same place"):
        check_near(here, (20, 20, 21, 21), "a.gpkg")


def test_a_polygon_that_crosses_180_degrees_is_cut(tmp_path):
    box = shapely.box(596_000, 8_000_000, 612_000, 8_010_000)
    found = read_polygons(write(tmp_path, [box], "EPSG:32660")).table
    west, _, east, _ = found.total_bounds
    assert (west, east) == (-180, 180)
    geod = pyproj.Geod(ellps="WGS84")
    area = abs(geod.geometry_area_perimeter(found.geometry[0])[0])
    assert area == pytest.approx(160e6, rel=0.01)


def test_later_rows_lie_over_earlier_ones_and_ignored_ground_is_255():
    labels = table(
        ("mine", at(5, 5, 10, 10)),
        ("river", at(10, 5, 10, 10)),
        ("other", at(12, 7, 2, 2)),
        ("ignore", at(0, 30, 4, 4)),
    )
    mask = rasterise_polygons(labels, GRID, CLASSES)
    expected = np.zeros((40, 50), np.uint8)
    expected[5:15, 5:15] = 1
    expected[5:15, 10:20] = 2
    expected[7:9, 12:14] = 0
    expected[30:34, 0:4] = 255
    assert np.array_equal(mask, expected)
    unknown = rasterise_polygons(labels, GRID, CLASSES, outside=255)
    assert np.array_equal(unknown == 255, (expected == 255) | ((expected == 0) & (unknown != 0)))
    assert (unknown[7:9, 12:14] == 0).all()


def test_all_touched_takes_what_the_centre_rule_leaves():
    labels = table(("mine", at(5.2, 5.2, 2.1, 2.1)))
    centre = rasterise_polygons(labels, GRID, CLASSES)
    touched = rasterise_polygons(labels, GRID, CLASSES, rule="touched")
    assert [int((m == 1).sum()) for m in (centre, touched)] == [4, 9]


def test_pixels_at_the_rim_of_a_small_polygon_belong_to_nobody():
    labels = table(("mine", at(5.2, 5.2, 3.4, 3.4)), ("mine", at(20.2, 5.2, 9, 9)))
    mask = rasterise_polygons(labels, GRID, CLASSES, small_px=20)
    expected = np.full((4, 4), 255)
    expected[1:3, 1:3] = 1
    assert np.array_equal(mask[5:9, 5:9], expected)
    assert 255 not in mask[:, 15:]
    aligned = table(("mine", at(3, 3, 4, 4)))
    assert 255 not in rasterise_polygons(aligned, GRID, CLASSES, small_px=20)
    within = table(("mine", at(0, 0, 30, 30)), ("mine", at(5.2, 5.2, 3.4, 3.4)))
    assert 255 not in rasterise_polygons(within, GRID, CLASSES, small_px=20)


def test_an_unknown_class_a_rotated_grid_and_a_wrong_outside():
    labels = table(("pit", at(0, 0, 1, 1)))
    with pytest.raises(DataError, match="class 'pit'"):
        rasterise_polygons(labels, GRID, CLASSES)
    turned = GeoBox((4, 4), Affine(10, 1, 0, 1, -10, 0), UTM)
    with pytest.raises(GridMismatch, match="rows run east"):
        rasterise_polygons(labels, turned, CLASSES)
    with pytest.raises(ConfigError, match="outside=7"):
        rasterise_polygons(labels, GRID, CLASSES, outside=7)


def test_a_large_polygon_in_degrees_keeps_its_straight_edges():
    """Its southern edge is a parallel: in UTM that bends, by far more than a pixel."""
    grid = GeoBox((60, 60), Affine(10, 0, 770_000, 0, -10, 5_545_700), "EPSG:32630")
    south = 50.0
    labels = table(("mine", shapely.box(-3, south, 1.5, 51)), crs="EPSG:4326")
    mask = rasterise_polygons(labels, grid, CLASSES)
    cols, rows = np.meshgrid(np.arange(60) + 0.5, np.arange(60) + 0.5)
    back = pyproj.Transformer.from_crs(grid.crs.to_wkt(), "EPSG:4326", always_xy=True)
    _, lat = back.transform(770_000 + cols * 10, 5_545_700 - rows * 10)
    assert 0 < (lat > south).mean() < 1
    assert (mask == (lat > south)).mean() > 0.995


@st.composite
def polygons(draw):
    """Star-shaped, so never invalid, with a hole at times, and partly off the grid at times."""
    x = draw(st.floats(LEFT - 50, LEFT + 550))
    y = draw(st.floats(TOP - 450, TOP + 50))
    count = draw(st.integers(3, 9))
    radii = draw(st.lists(st.floats(4, 150), min_size=count, max_size=count))
    turns = np.arange(count) * 2 * np.pi / count
    ring = np.column_stack([x + radii * np.cos(turns), y + radii * np.sin(turns)])
    hole = [np.column_stack([x, y]) + 0.4 * (ring - [x, y])] if draw(st.booleans()) else []
    return shapely.Polygon(ring, hole)


@settings(max_examples=60)
@given(polygon=polygons())
def test_the_area_of_a_mask_is_the_polygons_but_for_its_rim(polygon):
    inside = polygon.intersection(shapely.box(*GRID.boundingbox.bbox))
    labels = table(("mine", polygon))
    centre, touched, careful = (
        rasterise_polygons(labels, GRID, CLASSES, rule=rule, small_px=small)
        for rule, small in (("centre", 0), ("touched", 0), ("centre", 1e9))
    )
    cells = [at(col, row, 1, 1) for row in range(GRID.shape.y) for col in range(GRID.shape.x)]
    shapely.prepare(polygon)
    whole = shapely.contains(polygon, cells).reshape(GRID.shape.yx)
    met = shapely.intersects(polygon, cells).reshape(GRID.shape.yx)
    middle = shapely.contains_xy(polygon, shapely.get_coordinates(shapely.centroid(cells))).reshape(
        GRID.shape.yx
    )
    # The slow and plain reference; at a hair's breadth GDAL and GEOS may differ.
    assert (centre == middle).mean() > 0.998
    assert not (whole & (centre != 1)).any()
    assert not ((centre == 1) & ~met).any()
    rim = (met & ~whole).sum() * PX**2
    assert abs((centre == 1).sum() * PX**2 - inside.area) <= rim
    assert (touched == 1).sum() * PX**2 >= inside.area * 0.999 - 1
    assert (careful == 1).sum() * PX**2 <= inside.area + 1e-3 * rim + 1e-6
    assert np.isin(careful, (1, 255)).sum() * PX**2 >= inside.area * 0.999 - 1e-3 * rim - 1


@settings(max_examples=25)
@given(first=polygons(), second=polygons())
def test_burning_is_the_same_from_degrees_as_from_the_grids_crs(first, second):
    labels = table(("mine", first), ("river", second))
    direct = rasterise_polygons(labels, GRID, CLASSES)
    degrees = rasterise_polygons(labels.to_crs("EPSG:4326"), GRID, CLASSES)
    assert (direct == degrees).mean() > 0.998


def test_shapes_as_text_in_a_table_are_read(tmp_path):
    path = tmp_path / "a.csv"
    for column, separator in (("geometry", ","), ("WKT", ";"), ("wkt_geom", "\t")):
        rows = [(column, "kind"), (f'"{SQUARE.wkt}"', "gold"), ("", "gold")]
        path.write_text("\n".join(separator.join(row) for row in rows))
        found = read_polygons(path, LabelColumns("kind"))
        assert found.table.geometry[0].equals(SQUARE)
        assert found.table["class"].tolist() == ["gold"]
        assert dict(found.left_out) == {"without a shape": 1}
    path.write_text('geometry\n"POLYGON ((5e5 0, 6e5 0, 6e5 1e5, 5e5 1e5, 5e5 0))"\n')
    assert read_polygons(path, crs="EPSG:32630").table.total_bounds[0] == pytest.approx(-3)
    with pytest.raises(DataError, match="no degrees"):
        read_polygons(path)


def test_shapes_of_many_rings_are_read_from_text(tmp_path):
    parts = [
        shapely.Point(k, 0).buffer(0.4).difference(shapely.Point(k, 0).buffer(0.2))
        for k in range(20)
    ]
    shape = shapely.GeometryCollection([shapely.MultiPolygon(parts)])
    (tmp_path / "a.csv").write_text(f'geometry\n"{shape.wkt}"\n')
    assert shapely.area(
        read_polygons(tmp_path / "a.csv").table.geometry.to_numpy()
    ).sum() == pytest.approx(shape.area)


@pytest.mark.parametrize(
    ("text", "error", "part"),
    [
        ("name,area\na,1\n", ConfigError, "no column is called geometry or wkt; found: name, area"),
        ("geometry\nPOINT (1 2)\nhere\n", DataError, "geometry of row 2 is 'here'"),
        (
            f"geometry\nPOINT (1 2)\n{'GEOMETRYCOLLECTION(' * 200_000}\n",
            DataError,
            "row 2 is nested",
        ),
        ("geometry\nPOINT (1 2)\n", NoValidData, "1 points or lines"),
    ],
)
def test_tables_that_hold_no_polygons_are_refused(tmp_path, text, error, part):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(error, match=part):
        read_polygons(path)


def test_a_file_with_a_crs_takes_no_other(tmp_path):
    with pytest.raises(ConfigError, match="says its own"):
        read_polygons(write(tmp_path, [SQUARE]), crs="EPSG:32630")


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        # As they are described; of Tang and Werner's columns only that none is a class or a date.
        ("tang_werner.shp", {"Id": [0, 1]}),
        (
            "maus.gpkg",
            {"ISO3_CODE": ["GHA"] * 2, "COUNTRY_NAME": ["Ghana"] * 2, "AREA": [0.01, 0.02]},
        ),
    ],
)
def test_inventories_without_classes_and_dates_take_the_class_that_is_given(
    tmp_path, name, columns
):
    path = write(tmp_path, [SQUARE, shapely.affinity.translate(SQUARE, 1)], name=name, **columns)
    out = tmp_path / "out"
    words = ["labels", "import", "polygons", str(path), "--class", "mining", "--out", str(out)]
    ended = CliRunner().invoke(app, words, catch_exceptions=False)
    assert "2 polygons (2 mining)" in ended.stdout
    found = read_polygons(out / "labels.gpkg").table
    assert found["class"].tolist() == ["mining"] * 2
    assert found["source"].tolist() == [path.stem] * 2
    assert found[["start", "end"]].isna().all(axis=None)


def test_published_polygons(shared_data):
    folder = shared_data / "amw-vectors"
    found = read_polygons(
        folder / "amazon_basin_48px_v3.2-3.7ensemble_dissolved-0.6_2023diff.geojson"
    )
    assert (len(found.table), found.mended, dict(found.left_out)) == (5573, 80, {})
    assert found.table.is_valid.all()
    years = LabelColumns(start_column="year")
    dated = read_polygons(folder / "mining_ghana_ashanti_v44px_v2.8_2017-2020.geojson", years)
    assert dated.table["start"].notna().all()
    airstrips = folder / "Illegal-Airstrips-NYT-Intercept-Public.geojson"
    with pytest.raises(NoValidData, match="1269 points or lines"):
        read_polygons(airstrips)


def test_what_is_mistaken_for_a_mine_is_told_by_a_column(tmp_path):
    shapes = [SQUARE] * 4
    for flags, expected in (
        ([True, False, True, False], [True, False, True, False]),
        ([1, 0, 1, 0], [True, False, True, False]),
        (["TRUE", "false", None, ""], [True, False, False, False]),
    ):
        path = write(tmp_path, shapes, name="n.gpkg", negative=flags)
        assert read_polygons(path).table["negative"].tolist() == expected
    assert "negative" not in read_polygons(write(tmp_path, shapes, name="p.gpkg")).table
    path = write(tmp_path, shapes, name="w.gpkg", negative=["yes", "true", "false", "no"])
    with pytest.raises(DataError, match="negative of feature 1 is 'yes'"):
        read_polygons(path)
