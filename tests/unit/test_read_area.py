"""The area that a user names."""

import geopandas as gpd
import pytest
import shapely

from kml_cases import folders, polygon
from sluice.app.area import check_area_size, read_area
from sluice.base.errors import AssetReadError, ConfigError, DataError, ItemNotFound

SQUARE = shapely.box(-1.5, 6.0, -1.4, 6.1)


def write(path, *shapes, crs="EPSG:4326"):
    gpd.GeoDataFrame(geometry=list(shapes), crs=crs).to_file(path)
    return str(path)


def test_a_box_in_degrees() -> None:
    assert read_area("-1.5, 6, -1.4,6.1").equals(SQUARE)


def test_an_area_of_any_size(tmp_path) -> None:
    assert read_area("-180,-90,180,90").area == 64_800
    sides = shapely.box(179, -17, 180, -16), shapely.box(-180, -17, -179, -16)
    assert read_area(write(tmp_path / "fiji.geojson", *sides)).area == pytest.approx(2)


def test_polygons_are_taken_from_collections_and_mended(tmp_path) -> None:
    spike = shapely.Polygon([(0, 0), (1, 0), (1, 1), (1, 3), (1, 1), (0, 1)])
    mixed = shapely.GeometryCollection([shapely.box(5, 5, 6, 6), shapely.Point(9, 9)])
    area = read_area(write(tmp_path / "area.geojson", spike, mixed))
    assert area.geom_type == "MultiPolygon"
    assert area.area == pytest.approx(2)


@pytest.mark.parametrize(
    "text",
    [
        "6,-1.5,5,-1.4",  # latitude first
        "-1.4,6,-1.5,6.1",  # east first
        "-1.5,6,-1.5,6.1",  # no width
        "-1.5,6,-1.4,96",
        "-190,6,-1.4,6.1",
        "nan,6,-1.4,6.1",
        "-1.5,6,inf,6.1",
    ],
)
def test_a_box_that_is_none(text) -> None:
    with pytest.raises(ConfigError, match="west,south,east,north"):
        read_area(text)


@pytest.mark.parametrize("text", ["1,2,3", "1,2,3,4,5", "1"])
def test_a_box_of_too_few_numbers(text) -> None:
    with pytest.raises(ConfigError, match=f"four numbers.*got {len(text.split(','))}"):
        read_area(text)


@pytest.mark.parametrize("name", ["a.gpkg", "a.geojson", "a.shp", "a.fgb"])
def test_a_file_in_any_crs(name, tmp_path) -> None:
    far = shapely.box(-1.2, 6.3, -1.1, 6.4)
    crs = "EPSG:4326" if name.endswith("json") else "EPSG:32630"
    frame = gpd.GeoSeries([SQUARE, far], crs="EPSG:4326").to_crs(crs)
    area = read_area(write(tmp_path / name, *frame, crs=crs))
    assert area.geom_type == "MultiPolygon"
    assert area.hausdorff_distance(shapely.union_all([SQUARE, far])) < 1e-6


def test_points_and_lines_beside_polygons_are_left_out(tmp_path) -> None:
    path = write(tmp_path / "a.geojson", SQUARE, shapely.Point(10, 10))
    assert read_area(path).equals(SQUARE)


def test_a_polygon_that_crosses_itself_is_mended(tmp_path) -> None:
    bow_tie = shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])
    area = read_area(write(tmp_path / "a.geojson", bow_tie))
    assert area.is_valid
    assert area.area == pytest.approx(0.5)


def test_files_without_an_area(tmp_path) -> None:
    with pytest.raises(ConfigError, match="no polygon, found LineString, Point"):
        read_area(
            write(tmp_path / "a.gpkg", shapely.Point(0, 0), shapely.LineString([(0, 0), (1, 1)]))
        )
    flat = shapely.Polygon([(0, 0), (1, 1), (0, 0)])
    with pytest.raises(ConfigError, match="holds no polygon"):
        read_area(write(tmp_path / "flat.geojson", flat))
    with pytest.raises(ItemNotFound, match="no such file"):
        read_area(str(tmp_path / "none.gpkg"))
    (tmp_path / "a.txt").write_text("-1,6,-1,7")
    with pytest.raises(AssetReadError, match=r"a\.txt: files of this kind"):
        read_area(str(tmp_path / "a.txt"))


def test_coordinates_that_do_not_fit_their_crs(tmp_path) -> None:
    metres = shapely.box(600_000, 690_000, 610_000, 700_000)
    with pytest.raises(ConfigError, match=r"a\.gpkg: its coordinates do not fit"):
        read_area(write(tmp_path / "a.gpkg", metres, crs="EPSG:4326"))
    beyond = shapely.box(1e12, 1e12, 2e12, 2e12)
    with pytest.raises(ConfigError, match=r"b\.gpkg: its coordinates do not fit"):
        read_area(write(tmp_path / "b.gpkg", beyond, crs="EPSG:32630"))


def test_the_polygons_of_all_layers_count(tmp_path) -> None:
    path = tmp_path / "a.gpkg"
    write(path, shapely.box(0, 0, 1, 1))
    gpd.GeoDataFrame(geometry=[shapely.box(2, 0, 4, 1)], crs="EPSG:4326").to_crs(3857).to_file(
        path, layer="more"
    )
    gpd.GeoDataFrame(geometry=[shapely.Point(9, 9)], crs="EPSG:4326").to_file(path, layer="wells")
    area = read_area(str(path))
    assert area.bounds == pytest.approx((0, 0, 4, 1))
    assert area.area == pytest.approx(3)


def test_the_polygons_of_all_folders_of_a_kml_count(tmp_path) -> None:
    path = tmp_path / "a.kml"
    path.write_text(folders(("empty", ""), ("north", polygon(0)), ("south", polygon(2))))
    assert read_area(str(path)).area == pytest.approx(2)


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ((0, 0, 1e-9, 1e-9), r"has 0 m², and one that is followed at least 100;"),
        ((0, 0, 8e-5, 8e-5), r"has 79 m²"),
        ((-180, -90, 180, 90), "has 100% of the Earth's surface"),
        ((-180, -40, 180, 40), "has 64% of the Earth's surface"),
    ],
)
def test_an_area_of_no_size_and_the_world_are_not_followed(box, said) -> None:
    with pytest.raises(DataError, match=said):
        check_area_size(shapely.box(*box))


def test_a_pit_a_large_country_and_one_on_both_sides_of_180_degrees_are_followed() -> None:
    fiji = shapely.MultiPolygon(
        [shapely.box(179, -17, 180, -16), shapely.box(-180, -17, -179, -16)]
    )
    for area in (shapely.box(0, 0, 1e-4, 1e-4), shapely.box(30, 40, 180, 80), fiji):
        check_area_size(area)
