"""Other people's detections, read in whatever form they come."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from sluice.app.following.foreign_detections import ImportRequest, read_detections
from sluice.base.errors import AssetReadError, ConfigError, ItemNotFound, NoValidData
from sluice.base.records import Detection
from sluice.sites.area import geodesic_areas_ha


def _write(tmp_path: Path, shapes: list[shapely.Geometry], crs: str = "EPSG:4326", **columns):
    path = tmp_path / "theirs.gpkg"
    gpd.GeoDataFrame(columns, geometry=shapes, crs=crs).to_file(path)
    return path


def _request(path: Path, **more) -> ImportRequest:
    return ImportRequest(file=path, first="2023", last="2023", **more)


def _read(path: Path, **more) -> gpd.GeoDataFrame:
    return read_detections(_request(path, **more)).table


def test_polygons_keep_their_ground_and_probability(tmp_path: Path) -> None:
    squares = [shapely.box(-1.9, 6.0, -1.89, 6.01), shapely.box(-1.8, 6.0, -1.78, 6.01)]
    path = _write(tmp_path, squares, sure=[0.4, 0.9])
    found = _read(path, probability_column="sure")
    assert list(found.columns[: len(Detection.model_fields)]) == list(Detection.model_fields)
    assert found["probability_mean"].tolist() == [0.4, 0.9]
    assert found["footprint_ha"].to_numpy() == pytest.approx(
        geodesic_areas_ha(squares, "EPSG:4326")
    )
    assert shapely.equals(found.geometry.to_numpy(), np.array(squares)).all()
    assert found["detection_id"].is_unique


def test_a_projected_layer_lands_where_it_is(tmp_path: Path) -> None:
    square = shapely.box(600_000, 9_290_000, 601_000, 9_291_000)
    found = _read(_write(tmp_path, [square], "EPSG:32721"))
    assert found["footprint_ha"].iloc[0] == pytest.approx(100, rel=0.001)
    assert found["lon"].iloc[0] == pytest.approx(-56.09, abs=0.01)


def test_points_become_discs_of_their_hectares(tmp_path: Path) -> None:
    points = [shapely.Point(-1.9, 6.0), shapely.Point(28.5, -2.5), shapely.Point(28.6, -2.5)]
    path = _write(tmp_path, points, ha=[3.5, 120.0, None])
    found = _read(path, hectares_column="ha")
    # UTM's scale is off by up to 0.1 % in length.
    assert found["footprint_ha"].tolist() == pytest.approx([3.5, 120.0, 1.0], rel=0.003)
    middle = shapely.centroid(found.geometry.to_numpy())
    assert shapely.get_coordinates(middle) == pytest.approx(
        shapely.get_coordinates(points), abs=1e-6
    )


def test_a_self_crossing_polygon_is_mended(tmp_path: Path) -> None:
    bow = shapely.Polygon([(0, 0), (0.01, 0.01), (0.01, 0), (0, 0.01)])
    found = _read(_write(tmp_path, [bow]))
    assert found.geometry.is_valid.all()
    halves = shapely.make_valid(bow)
    assert found["footprint_ha"].iloc[0] == pytest.approx(
        geodesic_areas_ha([halves], "EPSG:4326")[0]
    )


def test_detections_at_one_place_have_ids_of_their_own(tmp_path: Path) -> None:
    square = shapely.box(-1.9, 6.0, -1.89, 6.01)
    found = _read(_write(tmp_path, [square, square]))
    first, second = found["detection_id"]
    assert second == f"{first}-2"


def test_what_is_wrong_with_a_file_is_told(tmp_path: Path) -> None:
    path = _write(tmp_path, [shapely.box(0, 0, 1, 1)], sure=[40.0])
    with pytest.raises(ConfigError, match="has no column 'p'; it has sure"):
        read_detections(_request(path, probability_column="p"))
    with pytest.raises(ConfigError, match="holds 40 to 40; a probability is from 0 to 1"):
        read_detections(_request(path, probability_column="sure"))
    with pytest.raises(ItemNotFound, match="no such file"):
        read_detections(_request(tmp_path / "absent.gpkg"))
    lines = _write(tmp_path, [shapely.LineString([(0, 0), (1, 1)])])
    with pytest.raises(NoValidData, match=r"nothing in it can be used \(lines: 1\)"):
        read_detections(_request(lines))
    wrong = _write(tmp_path, [shapely.box(600_000, 100, 601_000, 200)])
    with pytest.raises(ConfigError, match="do not fit its CRS"):
        read_detections(_request(wrong))
    text = tmp_path / "text.geojson"
    text.write_text(json.dumps({"a": 1}))
    with pytest.raises(AssetReadError):
        read_detections(_request(text))


def _table(tmp_path: Path, text: str, encoding: str = "utf-8") -> Path:
    path = tmp_path / "theirs.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("name,lon,lat\nMongbwalu,30.05,1.95\n", "utf-8"),
        ("\ufeffname;Longitude;Latitude\nMine d'été;30,05;1,95\n", "utf-8"),
        ("nom\tx\ty\nMine d'été\t30.05\t1.95\n", "cp1252"),
    ],
)
def test_tables_as_people_write_them(tmp_path: Path, text: str, encoding: str) -> None:
    found = _read(_table(tmp_path, text, encoding), radius_m=50)
    assert found[["lon", "lat"]].to_numpy() == pytest.approx(np.array([[30.05, 1.95]]), abs=1e-6)
    assert found["footprint_ha"].tolist() == pytest.approx([np.pi * 50**2 / 1e4], rel=0.001)


def test_a_table_in_metres_and_with_names_of_its_own(tmp_path: Path) -> None:
    path = _table(tmp_path, "este,norte\n600500,9290500\n")
    found = _read(path, lon="este", lat="norte", crs="EPSG:32721")
    assert found["lon"].iloc[0] == pytest.approx(-56.09, abs=0.01)
    with pytest.raises(ConfigError, match=r"found: este, norte\. Name it with --lon"):
        _read(path)
    with pytest.raises(ConfigError, match="do not fit its CRS WGS 84; give the right one with"):
        _read(path, lon="este", lat="norte")


def test_degrees_in_a_crs_of_metres_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"look like degrees, .* leave --crs out"):
        _read(_table(tmp_path, "lon,lat\n30.05,1.95\n"), crs="EPSG:32735")
    with pytest.raises(ConfigError, match=r"look like degrees, .* correct the CRS"):
        _read(_write(tmp_path, [shapely.box(30, 1, 30.1, 1.1)], "EPSG:32735"))


def test_what_is_left_out_is_counted_by_kind(tmp_path: Path) -> None:
    rows = ["30,1,2,0.9", "30.1,,2,0.9", "x,1,2,0.9", "0,0,2,0.9", "200,95,2,0.9", "30.2,1,-3,"]
    text = "\n".join(["lon,lat,ha,p", *rows])
    found = read_detections(
        _request(_table(tmp_path, text), hectares_column="ha", probability_column="p")
    )
    assert found.left_out == {
        "without coordinates": 2,
        "outside of the world": 1,
        "at 0 degrees north, 0 east, where lost places end up": 1,
    }
    assert found.table["footprint_ha"].tolist() == pytest.approx([2.0, 1.0], rel=0.001)
    assert found.table["probability_mean"].isna().tolist() == [False, True]
    assert [note.partition(" row ")[0] for note in found.notes] == ["1", "1"]
    shapes = [
        shapely.box(30, 1, 30.01, 1.01),
        shapely.LineString([(30, 1), (31, 1)]),
        shapely.Polygon([(30, 1), (30.1, 1.1), (30, 1)]),
        shapely.MultiPoint([(30.5, 1), (30.6, 1)]),
        None,
    ]
    mixed = read_detections(_request(_write(tmp_path, shapes)))
    assert len(mixed.table) == 3
    assert mixed.left_out == {"without a shape": 1, "lines": 1, "outlines without an area": 1}


def test_detections_across_180_degrees_stay_small(tmp_path: Path) -> None:
    whole = shapely.box(179.99, -17, 180.01, -16.99)
    jumping = shapely.Polygon([(179.99, -17), (-179.99, -17), (-179.99, -16.99), (179.99, -16.99)])
    found = _read(_write(tmp_path, [whole, jumping]))
    size = geodesic_areas_ha([shapely.box(179.98, -17, 180, -16.99)], "EPSG:4326")[0]
    assert found["footprint_ha"].tolist() == pytest.approx([size, size])
    assert (np.abs(found["lon"]) > 179.9).all()


def test_a_column_of_dates_makes_periods(tmp_path: Path) -> None:
    text = "lon,lat,seen\n30,1,2019-05-02\n30,1,2019\n30.1,1,2020-12-31\n30.2,1,soon\n30.3,1,\n"
    path = _table(tmp_path, text)
    request = ImportRequest(file=path, date_column="seen")
    found = read_detections(request)
    assert [period.name for period in found.periods] == [
        "2019-01_2019-12",
        "2019-01_2019-12",
        "2020-01_2020-12",
    ]
    assert found.left_out == {"without a date in seen": 2}
    only = request.model_copy(update={"first": "2020", "every": "quarter"})
    (period,) = read_detections(only).periods
    assert period.name == "2020-10_2020-12"
    with pytest.raises(ConfigError, match="--date-column"):
        ImportRequest(file=path)
    with pytest.raises(ConfigError, match="column lon holds no date"):
        read_detections(ImportRequest(file=path, date_column="lon"))


def test_tables_of_real_mines_are_read_whole(shared_data: Path) -> None:
    africa = shared_data / "vec-africa-mining-watch" / "data" / "detection_points.csv"
    found = read_detections(_request(africa, hectares_column="area_ha"))
    assert (len(found.table), found.left_out, found.notes) == (12_874, {}, ())
    told = pd.read_csv(africa)["area_ha"].to_numpy()
    assert found.table["footprint_ha"].to_numpy() == pytest.approx(told, rel=0.001)
    ipis = shared_data / "vec-ipis-drc" / "cod_mines_curated_all_opendata_p_ipis.csv"
    visits = read_detections(ImportRequest(file=ipis, date_column="visit_date", radius_m=50))
    assert (len(visits.table), visits.left_out) == (5071, {})
    assert {period.start.year for period in visits.periods} == set(range(2009, 2021))


def test_real_detections_keep_their_ground(shared_data: Path) -> None:
    name = "ghana_48px_v3.2-3.7ensemble_0.50_2024-01-01_2024-11-15-dissolved-0.6.geojson"
    path = shared_data / "amw-vectors" / name
    theirs = gpd.read_file(path)
    found = _read(path)
    assert len(found) == len(theirs)
    equal_area = theirs.to_crs("ESRI:54034").area.sum() / 10_000
    assert found["footprint_ha"].sum() == pytest.approx(equal_area, rel=1e-4)
