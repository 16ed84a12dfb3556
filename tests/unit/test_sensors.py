"""Whose images those of a sensor are."""

import pytest

from sluice.base.sensors import OWNERS, SENSORS, owners_of


@pytest.mark.parametrize(
    ("sensors", "owners"),
    [
        ("s2-l2a", ("copernicus",)),
        ("s1", ("copernicus",)),
        ("nicfi", ("planet",)),
        ("planet-8b,planet-4b", ("planet",)),
        ("nicfi,s2-l1c", ("copernicus", "planet")),
        ("import", ()),
    ],
)
def test_images_are_credited_to_their_owners(sensors, owners) -> None:
    assert owners_of(sensors) == owners


def test_each_sensor_has_an_owner() -> None:
    assert all(len(owners_of(sensor)) == 1 for sensor in SENSORS)
    assert {owner for sensor in SENSORS for owner in owners_of(sensor)} == set(OWNERS)
