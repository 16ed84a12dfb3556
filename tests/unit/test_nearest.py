"""The nearest of many features is that which a look at each one finds."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
import shapely

from sluice.sites.shares import nearest
from sluice.sites.zones import Pieces, Zone


def zone_of(places: np.ndarray) -> Zone:
    return Zone(pyproj.CRS(32630), np.arange(len(places)), places, np.zeros((len(places), 4)))


def features(draw: np.random.Generator, count: int) -> np.ndarray:
    """Points, lines of up to some hundred vertices, polygons, some with a hole."""
    found = []
    for number in range(count):
        at = draw.uniform(0, 20_000, 2)
        vertices = [2, 16, 17, 18, 33, 200][number % 6]
        if number % 4 == 0:
            found.append(shapely.Point(at))
        elif number % 4 == 1:
            found.append(shapely.LineString(at + draw.normal(0, 90, (vertices, 2)).cumsum(axis=0)))
        else:
            whole = shapely.Point(at).buffer(draw.uniform(100, 1500), quad_segs=1 + vertices // 4)
            hole = shapely.Point(at).buffer(80) if number % 4 == 2 else shapely.Point()
            found.append(whole.difference(hole))
    return np.array(found, dtype=object)


@pytest.mark.parametrize("seed", range(4))
def test_the_nearest_is_that_of_a_look_at_each(seed: int) -> None:
    draw = np.random.default_rng(seed)
    shapes = features(draw, 60)
    pieces = Pieces(shapes, np.arange(60) * 3, np.zeros(60))
    places = np.array(
        [shapely.Point(at).buffer(draw.uniform(1, 200)) for at in draw.uniform(0, 20_000, (80, 2))]
        # In the hole of a polygon, within one, and on a point.
        + [shapely.Point(shapes[2].centroid).buffer(5), shapes[3].centroid, shapes[0]],
        dtype=object,
    )
    metres, which = nearest(zone_of(places), pieces, 1500.0)
    every = shapely.distance(places[:, np.newaxis], shapes[np.newaxis])
    least = every.min(axis=1)
    known = least <= 1500
    assert known.any()
    assert not known.all()
    np.testing.assert_allclose(metres[known], least[known], atol=1e-6)
    assert np.isnan(metres[~known]).all()
    assert (which[~known] == -1).all()
    of_them = every[np.flatnonzero(known), which[known] // 3]
    np.testing.assert_allclose(of_them, least[known], atol=1e-6)


def test_without_features_nothing_is_near() -> None:
    none = Pieces(np.empty(0, object), np.empty(0, np.int64), np.empty(0))
    metres, which = nearest(zone_of(np.array([shapely.Point(0, 0)], dtype=object)), none, 10.0)
    assert np.isnan(metres).all()
    assert which.tolist() == [-1]
