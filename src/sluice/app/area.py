"""The area that a user names: a box on the command line, or a file."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from sluice.base.arrays import FloatArray
from sluice.base.errors import ConfigError
from sluice.base.files import read_vector

_LARGEST_KM = 1_000
"""One scan makes one map in one UTM zone; across more, neither it nor the hectares hold."""


def read_area(text: str) -> BaseGeometry:
    """Read an area of interest.

    Args:
        text: `west,south,east,north` in degrees, or the path of a vector file with polygons.

    Returns:
        A valid polygon or multipolygon in longitude and latitude (WGS 84).

    Raises:
        ConfigError: Not a box, no polygons, outside the world, or too large for one map.
        SourceError: The file cannot be read.
    """
    box = _as_box(text)
    if box is not None:
        _refuse_too_large(text, box)
        return box
    frame = read_vector(Path(text))
    shapes = frame.geometry.to_crs("EPSG:4326")
    polygons = shapes[shapes.geom_type.isin(["Polygon", "MultiPolygon"])]
    _refuse_outside_world(text, polygons.bounds.to_numpy(), str(frame.crs))
    area = shapely.union_all(shapely.make_valid(polygons.to_numpy()))
    if polygons.empty or area.is_empty or area.area == 0:
        kinds = ", ".join(sorted(set(frame.geom_type.dropna()))) or "nothing"
        raise ConfigError(f"{text}: holds no polygon, found {kinds}; an area needs polygons")
    _refuse_too_large(text, area)
    return area


def _refuse_too_large(text: str, area: BaseGeometry) -> None:
    west, south, east, north = shapely.bounds(shapely.get_parts(area)).T
    # Both sides of the date line count as neighbours.
    shift = np.where(west < 0, 360, 0)
    degrees = min(east.max() - west.min(), (east + shift).max() - (west + shift).min())
    crosses_equator = south.min() < 0 < north.max()
    nearest = 0.0 if crosses_equator else min(np.abs(south).min(), np.abs(north).min())
    # Beyond 70 degrees metres shrink so much that a zone is no help.
    width_km = 111.3 * degrees * math.cos(math.radians(min(70.0, nearest)))
    height_km = 111.3 * (north.max() - south.min())
    if max(width_km, height_km) > _LARGEST_KM:
        raise ConfigError(
            f"area {text}: is {width_km:,.0f} by {height_km:,.0f} km, more than the "
            f"{_LARGEST_KM:,} km of one map; give a smaller one, or leave it out to scan all "
            "of the images"
        )


def _refuse_outside_world(text: str, bounds: FloatArray, crs: str) -> None:
    # Infinity lies outside too; an empty polygon's bounds are NaN, and do not.
    if (np.abs(bounds) > (180.001, 90.001, 180.001, 90.001)).any():
        raise ConfigError(
            f"{text}: its coordinates do not fit its CRS {crs}; correct the CRS "
            "(QGIS: Assign projection)"
        )


def widened_box(area: BaseGeometry, margin_m: float) -> BaseGeometry:
    """The box around an area with a margin, in longitude and latitude.

    Args:
        area: In longitude and latitude.
        margin_m: At least this much, in metres.
    """
    west, south, east, north = area.bounds
    # A degree of latitude is never shorter than 110.5 km; of longitude, by its cosine.
    d_lat = margin_m / 110_500
    d_lon = d_lat / max(0.01, math.cos(math.radians(min(89.0, max(abs(south), abs(north))))))
    return shapely.box(
        max(-180, west - d_lon),
        max(-90, south - d_lat),
        min(180, east + d_lon),
        min(90, north + d_lat),
    )


def _as_box(text: str) -> BaseGeometry | None:
    parts = text.split(",")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        return None
    if len(numbers) != 4:
        raise ConfigError(
            f"area {text!r}: a box has four numbers, west,south,east,north in degrees; "
            f"got {len(numbers)}"
        )
    west, south, east, north = numbers
    if not all(map(math.isfinite, numbers)) or not (
        -180 <= west < east <= 180 and -90 <= south < north <= 90
    ):
        raise ConfigError(
            f"area {text!r}: a box is west,south,east,north in degrees with west < east and "
            "south < north; check the order"
        )
    return shapely.box(west, south, east, north)
