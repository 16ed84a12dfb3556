"""A grid over the whole world whose cells never move: where a redacted place is shown.

Rows are of equal height in degrees of latitude, counted from the south pole; each is cut into a
whole number of columns, counted from 180 degrees west. So no cell crosses 180 degrees or a pole,
and every cell is at least as wide and as high as was asked for, up to the caps around the poles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import shapely

from sluice.base.arrays import FloatArray
from sluice.base.errors import ConfigError

SMALLEST_M, LARGEST_M = 100.0, 1_000_000.0

_EQUATOR_RADIUS_M = 6_378_137.0
_FLATTENING = 1 / 298.257223563
_ECCENTRICITY_2 = _FLATTENING * (2 - _FLATTENING)
# A degree of latitude is shortest at the equator.
_SHORTEST_DEGREE_M = math.radians(1) * _EQUATOR_RADIUS_M * (1 - _ECCENTRICITY_2)
_DECIMALS = 7


@dataclass(frozen=True)
class Cells:
    """The cell of each of some places; degrees, arrays of one length."""

    west: FloatArray
    south: FloatArray
    east: FloatArray
    north: FloatArray

    @property
    def lon(self) -> FloatArray:
        """Longitude of the centre."""
        return np.round((self.west + self.east) / 2, _DECIMALS)

    @property
    def lat(self) -> FloatArray:
        """Latitude of the centre."""
        return np.round((self.south + self.north) / 2, _DECIMALS)

    def polygons(self) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
        """The cells as polygons."""
        boxes = shapely.box(self.west, self.south, self.east, self.north)
        return np.asarray(boxes, dtype=object)


def cells_of(lon: FloatArray, lat: FloatArray, grid_m: float) -> Cells:
    """The cell in which each place lies; it follows from place and size alone.

    Args:
        lon: Degrees, any turn.
        lat: Degrees.
        grid_m: Least width and height of a cell, metres.

    Raises:
        ConfigError: The size is out of range, or a place is no place.
    """
    if not SMALLEST_M <= grid_m <= LARGEST_M:
        raise ConfigError(
            f"a grid of {grid_m:g} m is not possible; give {SMALLEST_M:.0f} m to "
            f"{LARGEST_M / 1000:.0f} km, such as 5km"
        )
    lon, lat = np.asarray(lon, dtype=np.float64), np.asarray(lat, dtype=np.float64)
    if not (np.isfinite(lon).all() and (np.abs(lat) <= 90).all()):
        raise ConfigError("a site has no longitude and latitude in degrees; give lon and lat")
    rows = math.floor(180 * _SHORTEST_DEGREE_M / grid_m)
    row = np.clip(np.floor((lat + 90) * rows / 180), 0, rows - 1)
    south, north = -90 + row * 180 / rows, -90 + (row + 1) * 180 / rows
    columns = np.maximum(1, np.floor(_parallel_m(np.maximum(-south, north)) / grid_m))
    # A place just west of 180 degrees rounds to 360 here, and stays in the last column.
    turned = np.where((lon >= -180) & (lon < 180), lon + 180, (lon + 180) % 360)
    column = np.clip(np.floor(turned * columns / 360), 0, columns - 1)
    west, east = -180 + column * 360 / columns, -180 + (column + 1) * 360 / columns
    return Cells(*(np.round(edge, _DECIMALS) for edge in (west, south, east, north)))


def _parallel_m(lat: FloatArray) -> FloatArray:
    """Length of a parallel on the WGS 84 ellipsoid."""
    phi = np.radians(lat)
    radius = _EQUATOR_RADIUS_M * np.cos(phi) / np.sqrt(1 - _ECCENTRICITY_2 * np.sin(phi) ** 2)
    return np.asarray(2 * np.pi * radius)
