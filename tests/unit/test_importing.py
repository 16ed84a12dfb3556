"""Other people's detections, read in whatever form they come."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely

from sluice.app.following.importing import ImportRequest, read_detections
from sluice.base.errors import AssetReadError, ConfigError, ItemNotFound
from sluice.base.records import Detection
from sluice.sites.area import geodesic_areas_ha


def _write(tmp_path: Path, shapes: list[shapely.Geometry], crs: str = "EPSG:4326", **columns):
    path = tmp_path / "theirs.gpkg"
    gpd.GeoDataFrame(columns, geometry=shapes, crs=crs).to_file(path)
    return path


def _request(path: Path, **more) -> ImportRequest:
    return ImportRequest(file=path, first="2023", last="2023", **more)


def test_polygons_keep_their_ground_and_probability(tmp_path: Path) -> None:
    squares = [shapely.box(-1.9, 6.0, -1.89, 6.01), shapely.box(-1.8, 6.0, -1.78, 6.01)]
    path = _write(tmp_path, squares, sure=[0.4, 0.9])
    found = read_detections(_request(path, probability_column="sure"))
    assert list(found.columns[: len(Detection.model_fields)]) == list(Detection.model_fields)
    assert found["probability_mean"].tolist() == [0.4, 0.9]
    assert found["footprint_ha"].to_numpy() == pytest.approx(
        geodesic_areas_ha(squares, "EPSG:4326")
    )
    assert shapely.equals(found.geometry.to_numpy(), np.array(squares)).all()
    assert found["detection_id"].is_unique


def test_a_projected_layer_lands_where_it_is(tmp_path: Path) -> None:
    square = shapely.box(600_000, 9_290_000, 601_000, 9_291_000)
    found = read_detections(_request(_write(tmp_path, [square], "EPSG:32721")))
    assert found["footprint_ha"].iloc[0] == pytest.approx(100, rel=0.001)
    assert found["lon"].iloc[0] == pytest.approx(-56.09, abs=0.01)


def test_points_become_discs_of_their_hectares(tmp_path: Path) -> None:
    points = [shapely.Point(-1.9, 6.0), shapely.Point(28.5, -2.5), shapely.Point(28.6, -2.5)]
    path = _write(tmp_path, points, ha=[3.5, 120.0, None])
    found = read_detections(_request(path, hectares_column="ha"))
    # UTM's scale is off by up to 0.1 % in length.
    assert found["footprint_ha"].tolist() == pytest.approx([3.5, 120.0, 1.0], rel=0.003)
    middle = shapely.centroid(found.geometry.to_numpy())
    assert shapely.get_coordinates(middle) == pytest.approx(
        shapely.get_coordinates(points), abs=1e-6
    )


def test_a_self_crossing_polygon_is_mended(tmp_path: Path) -> None:
    bow = shapely.Polygon([(0, 0), (0.01, 0.01), (0.01, 0), (0, 0.01)])
    found = read_detections(_request(_write(tmp_path, [bow])))
    assert found.geometry.is_valid.all()
    halves = shapely.make_valid(bow)
    assert found["footprint_ha"].iloc[0] == pytest.approx(
        geodesic_areas_ha([halves], "EPSG:4326")[0]
    )


def test_detections_at_one_place_have_ids_of_their_own(tmp_path: Path) -> None:
    square = shapely.box(-1.9, 6.0, -1.89, 6.01)
    found = read_detections(_request(_write(tmp_path, [square, square])))
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
    with pytest.raises(ConfigError, match="neither polygons nor points"):
        read_detections(_request(lines))
    wrong = _write(tmp_path, [shapely.box(600_000, 100, 601_000, 200)])
    with pytest.raises(ConfigError, match="do not fit its CRS"):
        read_detections(_request(wrong))
    text = tmp_path / "text.geojson"
    text.write_text(json.dumps({"a": 1}))
    with pytest.raises(AssetReadError):
        read_detections(_request(text))


def test_real_detections_keep_their_ground(shared_data: Path) -> None:
    name = "ghana_48px_v3.2-3.7ensemble_0.50_2024-01-01_2024-11-15-dissolved-0.6.geojson"
    path = shared_data / "amw-vectors" / name
    theirs = gpd.read_file(path)
    found = read_detections(_request(path))
    assert len(found) == len(theirs)
    equal_area = theirs.to_crs("ESRI:54034").area.sum() / 10_000
    assert found["footprint_ha"].sum() == pytest.approx(equal_area, rel=1e-4)
