"""The area that a user names: a box on the command line, or a file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import shapely
from shapely import Polygon
from shapely.geometry.base import BaseGeometry

from sluice.base.arrays import FloatArray
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
    frame = read_vector(Path(text))
    # Collections may hold polygons beside other shapes.
    shapes = frame.geometry.to_crs("EPSG:4326").explode(ignore_index=True)
    polygons = shapes[shapes.geom_type == "Polygon"]
    _refuse_outside_world(text, polygons.bounds.to_numpy(), str(frame.crs))
    # Mended, a polygon with a spike is one and a line.
    area = shapely.union_all(polygon_parts(shapely.make_valid(polygons.to_numpy())))
    if polygons.empty or area.is_empty or area.area == 0:
        kinds = ", ".join(sorted(set(frame.geom_type.dropna()))) or "nothing"
        raise ConfigError(f"{text}: holds no polygon, found {kinds}; an area needs polygons")
    return area


def polygon_parts(geometries: BaseGeometry | Sequence[BaseGeometry]) -> list[Polygon]:
    """The polygons in geometries of any kind; points and lines, as at a touch, are left out."""
    # Once for collections and once for the multipolygons in them.
    parts = shapely.get_parts(shapely.get_parts(geometries))
    return [part for part in parts if isinstance(part, Polygon)]


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
