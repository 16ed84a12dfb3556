"""Shapes as answers tell them: to few decimals, and valid as they were."""

import json

import numpy as np
import orjson
import pyogrio
import pytest
import shapely
from hypothesis import given, settings

from export_cases import sites_table
from scanned import outline, outlines
from sluice.app.exports.write import export_sites
from sluice.app.web.answers import geojson_of
from sluice.app.web.collections import DETECTIONS
from sluice.app.web.crs import KNOWN, reproject
from sluice.app.web.feature_texts import texts_of

GRID = 1e-6


def told(shapes) -> list[shapely.Geometry | None]:
    texts = json.loads(orjson.dumps(geojson_of(shapes)))
    return [None if text is None else shapely.from_geojson(json.dumps(text)) for text in texts]


@settings(max_examples=150)
@given(outlines())
def test_shapes_are_told_valid_and_where_they_are(shape) -> None:
    assert shape.is_valid
    (found,) = told([shape])
    assert found.is_valid, shapely.is_valid_reason(found)
    assert found.geom_type in {"Polygon", "MultiPolygon"}
    if not shapely.equals_exact(found, shape, 0):
        xy = shapely.get_coordinates(found)
        assert np.array_equal(xy, np.round(xy, 6))
    # No more than the strip along its edges that rounding moves.
    assert found.symmetric_difference(shape).area <= 2 * GRID * shape.length


def test_rounding_alone_would_break_such_shapes() -> None:
    """What the test above can fail by."""
    rng = np.random.default_rng(1)
    shapes = np.array(
        [outline(rng.random((7, 7)) < 0.6, pixel=9e-5, noise=7e-7, seed=k) for k in range(40)]
    )
    only = shapely.transform(shapes, lambda xy: np.round(xy, 6))
    assert (~shapely.is_valid(only)).sum() > 10
    assert shapely.is_valid(told(shapes)).all()


def test_rings_smaller_than_a_decimal_are_left_out() -> None:
    hole = shapely.box(0.0005, 0.0005, 0.0005003, 0.0005003)
    shape = shapely.box(0, 0, 0.001, 0.001).difference(hole)
    assert [shapely.get_num_interior_rings(one) for one in (shape, *told([shape]))] == [1, 0]


def test_what_would_be_nothing_and_what_is_nothing_stay() -> None:
    speck = shapely.box(0, 0, 2e-7, 2e-7)
    found = told([speck, None, shapely.Point(1.23456789, 2)])
    assert found == [speck, None, shapely.Point(1.234568, 2)]


@pytest.mark.parametrize("crs", KNOWN)
def test_features_of_all_coordinate_systems_are_valid(crs) -> None:
    rng = np.random.default_rng(2)
    shapes = [outline(rng.random((7, 7)) < 0.6, pixel=9e-5, noise=7e-7, seed=k) for k in range(20)]
    columns = {"id": [*map(str, range(20))]}
    texts = texts_of({DETECTIONS.key: columns["id"]}, np.array(shapes), DETECTIONS, crs)
    found = np.array([shapely.from_geojson(json.dumps(json.loads(t)["geometry"])) for t in texts])
    assert shapely.is_valid(found).all()
    truth = reproject(shapes, crs)
    # 0.1 m, on the ground or in degrees.
    assert (shapely.area(shapely.symmetric_difference(found, truth))
            <= 2 * GRID * shapely.length(truth)).all()  # fmt: skip


def test_rings_run_as_rfc_7946_has_them() -> None:
    """Joined shapes have theirs the other way around."""
    ring = shapely.box(0, 0, 0.001, 0.001).difference(shapely.box(4e-4, 4e-4, 6e-4, 6e-4))
    joined = shapely.union_all([ring, shapely.box(0.001, 0, 0.002, 0.001), shapely.box(1, 1, 2, 2)])
    assert not shapely.is_ccw(shapely.get_exterior_ring(shapely.get_parts(joined))).any()
    (found,) = told([joined])
    parts = shapely.get_parts(found)
    assert shapely.is_ccw(shapely.get_exterior_ring(parts)).all()
    holes = [hole for part in parts for hole in part.interiors]
    assert len(holes) == 1
    assert not holes[0].is_ccw
    assert shapely.equals(found, joined)


@pytest.mark.parametrize("suffix", ["geojson", "kml"])
def test_files_hold_valid_shapes(suffix, tmp_path) -> None:
    rng = np.random.default_rng(3)
    shapes = [outline(rng.random((7, 7)) < 0.6, pixel=9e-5, noise=7e-8, seed=k) for k in range(40)]
    table = sites_table(*rng.uniform(-3, 0, (2, 40))).set_geometry(shapes, crs="EPSG:4326")
    path = export_sites(table, tmp_path / f"sites.{suffix}").path
    layer = "outlines" if suffix == "kml" else "sites"
    found = pyogrio.read_dataframe(path, layer=layer, columns=[]).geometry.to_numpy()
    assert shapely.is_valid(found).all()
    # 0.01 m.
    moved = shapely.area(shapely.symmetric_difference(found, shapes))
    assert (moved <= 2e-7 * shapely.length(shapes)).all()
