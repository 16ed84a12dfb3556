"""Coordinates as people write them, against readers written apart and pyproj's UTM."""

import math
import re

import numpy as np
import pyproj
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.base.errors import ConfigError
from sluice.sites.coordinates import (
    decimal_degrees,
    degrees_minutes_seconds,
    mgrs_references,
)

DMS = re.compile(r"(\d+)°(\d\d)'(\d\d\.\d)\"([NS]) (\d+)°(\d\d)'(\d\d\.\d)\"([EW])")
LONGITUDE, LATITUDE = st.floats(-180, 180), st.floats(-90, 90)


def read_dms(text: str) -> tuple[float, float]:
    """Longitude and latitude; minutes and seconds below sixty, or it is no such text."""
    found = DMS.fullmatch(text)
    assert found, text
    values = []
    for degrees, minutes, seconds, letter in (found.groups()[:4], found.groups()[4:]):
        assert int(minutes) < 60
        assert float(seconds) < 60
        size = int(degrees) + int(minutes) / 60 + float(seconds) / 3600
        values.append(-size if letter in "SW" else size)
    return values[1], values[0]


@given(LONGITUDE, LATITUDE)
def test_dms_is_the_place_to_a_twentieth_of_a_second(lon, lat) -> None:
    (text,) = degrees_minutes_seconds([lon], [lat])
    read = read_dms(text)
    assert read == pytest.approx((lon, lat), abs=0.0501 / 3600)


@pytest.mark.parametrize(
    ("lon", "lat", "text"),
    [
        (-1.034167, 5.05, "5°03'00.0\"N 1°02'03.0\"W"),
        # 59.9996 seconds are the next minute, 59'59.96" the next degree.
        (0.0, 10 + 30 / 60 + 59.9996 / 3600, "10°31'00.0\"N 0°00'00.0\"E"),
        (-(7 + 59 / 60 + 59.96 / 3600), 0.0, "0°00'00.0\"N 8°00'00.0\"W"),
        # No south of nothing.
        (-0.000001, -0.000001, "0°00'00.0\"N 0°00'00.0\"E"),
        (180.0, -90.0, "90°00'00.0\"S 180°00'00.0\"E"),
        (-180.0, 90.0, "90°00'00.0\"N 180°00'00.0\"W"),
        (179.9999999, 1.0, "1°00'00.0\"N 180°00'00.0\"E"),
        (190.0, 1.0, "1°00'00.0\"N 170°00'00.0\"W"),
    ],
)
def test_dms_of_known_places(lon, lat, text) -> None:
    assert degrees_minutes_seconds([lon], [lat]) == [text]


@settings(max_examples=50)
@given(st.floats(-179.99, 179.99), st.floats(-79.9, 71.9))
def test_mgrs_is_the_square_in_utm(lon, lat) -> None:
    """Within 72° N, and south-western Norway left out, zones are plain strips of six degrees."""
    if 56 <= lat <= 64 and 0 <= lon <= 12:
        return
    (text,) = mgrs_references([lon], [lat])
    found = re.fullmatch(r"(\d\d)([C-X])([A-Z]{2})(\d{5})(\d{5})", text)
    assert found, text
    zone = math.floor((lon + 180) / 6) + 1
    assert int(found[1]) == zone
    utm = pyproj.CRS.from_dict({"proj": "utm", "zone": zone, "south": lat < 0, "ellps": "WGS84"})
    x, y = pyproj.Proj(utm)(lon, lat)
    for digits, metres in ((found[4], x), (found[5], y)):
        apart = (metres - int(digits)) % 100_000
        assert apart < 1.01 or apart > 99_999.99


@pytest.mark.parametrize(
    ("lon", "lat", "text"),
    [
        # The White House, as the standard's examples of squares give it.
        (-77.0365, 38.8977, r"18SUJ2339407395|18SUJ2339507396|18SUJ2339\d073\d\d"),
        (5.0, 60.0, r"32V.*"),  # south-western Norway
        (10.0, 78.0, r"33X.*"),  # Svalbard
        (0.0, 90.0, r"ZAH\d{10}"),
        (0.0, -90.0, r"BAN\d{10}"),
        (180.0, 0.5, r"01N.*"),
        (-180.0, 0.5, r"01N.*"),
        (179.999, -0.5, r"60M.*"),
    ],
)
def test_mgrs_of_known_places(lon, lat, text) -> None:
    assert re.fullmatch(text, mgrs_references([lon], [lat])[0])


def test_decimal_degrees_are_what_maps_take() -> None:
    assert decimal_degrees([-1.0341666, -0.0000001], [5.05, -0.0000001]) == [
        "5.050000, -1.034167",
        "0.000000, 0.000000",
    ]


@pytest.mark.parametrize("write", [decimal_degrees, degrees_minutes_seconds, mgrs_references])
def test_no_place_is_no_text_and_none_is_none(write) -> None:
    assert write([np.nan, 1.0, np.nan], [2.0, np.nan, np.nan]) == ["", "", ""]
    assert write([], []) == []
    with pytest.raises(ConfigError, match="swapped"):
        write([5.0], [-101.0])
