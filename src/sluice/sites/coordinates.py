"""Coordinates as people write them: degrees, minutes and seconds, and MGRS."""

from __future__ import annotations

import math
from collections.abc import Iterator

import mgrs
import numpy as np

from sluice.base.arrays import FloatArray
from sluice.base.errors import ConfigError

DECIMALS = 6
"""Of decimal degrees: 0.1 m."""
_TENTHS = 10
_DEGREE = 3600 * _TENTHS


def decimal_degrees(lon: FloatArray, lat: FloatArray) -> list[str]:
    """`latitude, longitude`, as map services take them: `5.050001, -1.034167`.

    Args:
        lon: Degrees, any turn.
        lat: Degrees, -90 to 90; NaN where there is no place.

    Returns:
        A text each, empty where there is no place.

    Raises:
        ConfigError: A latitude is beyond a pole.
    """
    # Adding zero turns -0.0 into 0.0.
    return [
        ""
        if math.isnan(y)
        else f"{round(y, DECIMALS) + 0.0:.{DECIMALS}f}, {round(x, DECIMALS) + 0.0:.{DECIMALS}f}"
        for x, y in _places(lon, lat)
    ]


def degrees_minutes_seconds(lon: FloatArray, lat: FloatArray) -> list[str]:
    """Degrees, minutes and seconds to a tenth (3 m): `5°03'00.0"N 1°02'03.0"W`.

    Args:
        lon: Degrees, any turn.
        lat: Degrees, -90 to 90; NaN where there is no place.

    Returns:
        A text each, empty where there is no place.

    Raises:
        ConfigError: A latitude is beyond a pole.
    """
    return [
        "" if math.isnan(y) else f"{_dms(y, 'NS')} {_dms(x, 'EW')}" for x, y in _places(lon, lat)
    ]


def _dms(angle: float, letters: str) -> str:
    # In whole tenths of a second first: 59.96" is then the next minute, not 60.0".
    tenths = round(abs(angle) * _DEGREE)
    degrees, rest = divmod(tenths, _DEGREE)
    minutes, rest = divmod(rest, 60 * _TENTHS)
    seconds, tenth = divmod(rest, _TENTHS)
    letter = letters[1] if angle < 0 and tenths else letters[0]
    return f"{degrees}°{minutes:02d}'{seconds:02d}.{tenth}\"{letter}"


def mgrs_references(lon: FloatArray, lat: FloatArray) -> list[str]:
    """The square of 1 m of the Military Grid Reference System: `30NXM6616708142`.

    Squares are named by their south-western corner; beyond 84° N and 80° S they are those of the
    polar grids.

    Args:
        lon: Degrees, any turn.
        lat: Degrees, -90 to 90; NaN where there is no place.

    Returns:
        A text each, empty where there is no place.

    Raises:
        ConfigError: A latitude is beyond a pole.

    Source:
        NGA.STND.0037 (GEOTRANS), through the package `mgrs`.
    """
    convert = mgrs.MGRS().toMGRS
    return ["" if math.isnan(y) else str(convert(y, x)) for x, y in _places(lon, lat)]


def _places(lon: FloatArray, lat: FloatArray) -> Iterator[tuple[float, float]]:
    """Pairs of longitude, -180 to 180, and latitude; NaN both where there is no place."""
    lon, lat = np.asarray(lon, dtype=np.float64), np.asarray(lat, dtype=np.float64)
    if (np.abs(lat) > 90).any():
        raise ConfigError(
            f"a latitude of {lat[np.abs(lat) > 90][0]:g} is beyond the pole; "
            "check that longitude and latitude are not swapped"
        )
    missing = ~(np.isfinite(lon) & np.isfinite(lat))
    lon = np.where(missing, np.nan, lon)
    # The line itself stays what it was, 180 or -180.
    turned = np.where(np.abs(lon) > 180, (lon + 180) % 360 - 180, lon)
    return zip(turned.tolist(), np.where(missing, np.nan, lat).tolist(), strict=True)
