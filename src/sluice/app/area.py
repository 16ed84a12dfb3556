"""The area that a user names: a box on the command line, or a file."""

from __future__ import annotations

import math
from pathlib import Path

import shapely
from shapely.geometry.base import BaseGeometry

from sluice.base.errors import ConfigError
from sluice.base.files import read_vector


def read_area(text: str) -> BaseGeometry:
    """Read an area of interest.

    Args:
        text: `west,south,east,north` in degrees, or the path of a vector file with polygons.

    Returns:
        A valid polygon or multipolygon in longitude and latitude (WGS 84).

    Raises:
        ConfigError: Not a box, no polygons, or outside the world.
        SourceError: The file cannot be read.
    """
    box = _as_box(text)
    if box is not None:
        return box
    frame = read_vector(Path(text)).to_crs("EPSG:4326")
    polygons = frame.geometry[frame.geom_type.isin(["Polygon", "MultiPolygon"])]
    area = shapely.union_all(shapely.make_valid(polygons.to_numpy()))
    if polygons.empty or area.is_empty or area.area == 0:
        kinds = ", ".join(sorted(set(frame.geom_type.dropna()))) or "nothing"
        raise ConfigError(f"{text}: holds no polygon, found {kinds}; an area needs polygons")
    bounds = area.bounds
    if not all(map(math.isfinite, bounds)):
        raise ConfigError(f"{text}: its coordinates do not fit its CRS {frame.crs}; correct it")
    return area


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
