"""Discs have the area and the place that was said."""

import numpy as np
import pytest

from sluice.base.errors import DataError
from sluice.sites.area import geodesic_areas_ha
from sluice.sites.discs import disc_shapes


def test_discs_have_their_areas_everywhere() -> None:
    lon, lat = np.array([0, 28.7, -179.999, 180, 12]), np.array([0, 0.3, -17, 60, 70])
    area = np.array([0.01, 10.2, 400, 5000, 100_000])
    shapes = disc_shapes(lon, lat, area)
    assert geodesic_areas_ha(shapes.to_numpy(), shapes.crs) == pytest.approx(area, rel=1e-3)
    assert shapes.is_valid.all()
    assert shapes.geom_type.tolist()[2:4] == ["MultiPolygon"] * 2
    middle = shapes.iloc[1].centroid
    assert (middle.x, middle.y) == pytest.approx((28.7, 0.3), abs=1e-6)


def test_nothing_and_nonsense() -> None:
    assert disc_shapes([], [], []).empty
    for lon, lat, area in ((0, 0, 0), (0, 91, 1), (np.nan, 0, 1), (0, 0, np.inf)):
        with pytest.raises(DataError, match="point 0"):
            disc_shapes([lon], [lat], [area])
