"""The area that a user names: a box on the command line, or a file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from sluice.base.arrays import FloatArray
from sluice.base.errors import ConfigError, DataError
from sluice.base.files import read_vector_layers
from sluice.base.longitudes import within_180
from sluice.base.polygons import mended, polygon_parts
from sluice.base.vector_content import KINDS
from sluice.sites.area import geodesic_areas_ha

_SMALLEST_HA, _LARGEST_SHARE = 0.01, 0.5
"""Of what may be followed: a pixel of Sentinel-2; half of the globe, from where an area on it could
be that of what an outline leaves out."""


@dataclass(frozen=True)
class NamedArea:
    """An area and what its results are called."""

    name: str
    """Legal as a folder's name; empty for the only one."""
    geometry: BaseGeometry
    """In longitude and latitude (WGS 84)."""


def read_areas(text: str) -> list[NamedArea]:
    """Read one area, or each of a folder's.

    Args:
        text: As for `read_area`, or a folder of vector files: one area for each file.

    Raises:
        ConfigError: See `read_area`; or the folder holds no vector file.
        SourceError: A file cannot be read.
    """
    if not text.strip():
        raise ConfigError("--area is empty; give a box, a file with polygons, or a folder of them")
    folder = Path(text)
    if not folder.is_dir():
        return [NamedArea("", read_area(text))]
    suffixes = {*KINDS, ".parquet", ".geoparquet"}
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes)
    if not files:
        raise ConfigError(
            f"{text}: holds no area; put one file for each area there "
            "(GeoPackage, GeoJSON, Shapefile, KML)"
        )
    stems = [path.stem for path in files]
    names = [path.name if stems.count(path.stem) > 1 else path.stem for path in files]
    return [NamedArea(name, read_area(str(path))) for name, path in zip(names, files, strict=True)]


def read_area(text: str) -> BaseGeometry:
    """Read an area of interest.

    Args:
        text: `west,south,east,north` in degrees, or the path of a vector file with polygons: those
            of all its layers count.

    Returns:
        A valid polygon or multipolygon in longitude and latitude (WGS 84).

    Raises:
        ConfigError: Not a box, no polygons, or outside the world.
        SourceError: The file cannot be read.
    """
    box = _as_box(text)
    if box is not None:
        return box
    # Folders of a KML are layers, as tables of a GeoPackage are.
    layers = read_vector_layers(Path(text))
    area = shapely.union_all([_polygons_of(layer, text) for layer in layers])
    if area.is_empty or area.area == 0:
        kinds = ", ".join(sorted({kind for one in layers for kind in one.geom_type.dropna()}))
        raise ConfigError(
            f"{text}: holds no polygon, found {kinds or 'nothing'}; an area needs polygons"
        )
    return area


def check_area_size(area: BaseGeometry) -> None:
    """Refuse an area to follow that holds nothing, or most of the world.

    Args:
        area: In longitude and latitude.

    Raises:
        DataError: It says the size, and what is allowed.
    """
    share = _share_of_globe(area)
    if share > _LARGEST_SHARE:
        raise DataError(
            f"the area has {share:.0%} of the Earth's surface, and one that is followed may have "
            f"{_LARGEST_SHARE:.0%}; give a country, or a part of it"
        )
    hectares = float(geodesic_areas_ha([area], "EPSG:4326")[0])
    if hectares < _SMALLEST_HA:
        raise DataError(
            f"the area has {10_000 * hectares:,.0f} m², and one that is followed at least "
            f"{10_000 * _SMALLEST_HA:,.0f}; draw all of it"
        )


def _share_of_globe(area: BaseGeometry) -> float:
    """Of the surface of a sphere; a ring along both poles has no area as a geodesic."""
    flat = shapely.transform(area, lambda place: np.column_stack([place[:, 0], _sine(place[:, 1])]))
    return float(flat.area / (360 * 2))


def _sine(degrees: FloatArray) -> FloatArray:
    """Of an angle: with it as height, equal areas are equal on the map."""
    return np.asarray(np.sin(np.radians(degrees)))


def _polygons_of(frame: gpd.GeoDataFrame, text: str) -> BaseGeometry:
    """Union of a table's polygons, in longitude and latitude."""
    # Collections may hold polygons beside other shapes.
    shapes = frame.geometry.to_crs("EPSG:4326").explode(ignore_index=True)
    polygons = shapes[shapes.geom_type == "Polygon"]
    polygons = gpd.GeoSeries(within_180(polygons.to_numpy()), crs="EPSG:4326").explode(
        ignore_index=True
    )
    _refuse_outside_world(text, polygons.bounds.to_numpy(), str(frame.crs))
    union: BaseGeometry = shapely.union_all(polygon_parts(mended(polygons.to_numpy())))
    return union


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


def read_box(text: str, option: str = "--bbox") -> tuple[float, float, float, float]:
    """`west,south,east,north` in degrees; west > east crosses 180 degrees.

    Args:
        text: The box.
        option: Where it was given, for messages.

    Raises:
        ConfigError: Not a box.
    """
    if _as_box(text, option) is None:
        raise _no_box(text, option)
    west, south, east, north = (float(part) for part in text.split(","))
    return west, south, east, north


def _as_box(text: str, given: str = "area") -> BaseGeometry | None:
    parts = text.split(",")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        return None
    if len(numbers) != 4:
        raise ConfigError(
            f"{given} {text!r}: a box has four numbers, west,south,east,north in degrees; "
            f"got {len(numbers)}"
        )
    west, south, east, north = numbers
    if not all(map(math.isfinite, numbers)) or not -90 <= south < north <= 90:
        raise _no_box(text, given)
    if -180 <= east < west <= 180 and west - east > 180:
        # From Fiji to Tonga: 177,-19,-175,-16.
        sides = [shapely.box(west, south, 180, north), shapely.box(-180, south, east, north)]
        return shapely.MultiPolygon([side for side in sides if side.area > 0])
    if not -180 <= west < east <= 180:
        raise _no_box(text, given)
    return shapely.box(west, south, east, north)


def _no_box(text: str, given: str) -> ConfigError:
    return ConfigError(
        f"{given} {text!r}: a box is west,south,east,north in degrees with west < east (unless it "
        "crosses 180 degrees) and south < north; check the order"
    )
