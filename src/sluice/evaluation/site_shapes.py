"""Polygons of sites on an equal-area map: projected, overlaid, and put into blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pyproj
import shapely

from sluice.base.arrays import FloatArray, IntArray
from sluice.base.errors import ConfigError, DataError, GridMismatch, NoValidData
from sluice.base.polygons import mended

Shapes = npt.NDArray[Any]
"""(N,) polygons and multipolygons."""

_MIN_INSIDE = 0.5
# A straight edge on one map is bent on another; in such steps the two part by a metre at most.
_STEP_DEG, _STEP_M = 0.05, 5000.0
_MOST_BLOCKS = 250_000
# Less than this is rounding where two outlines share a border, and no overlap.
_NOTHING_M2 = 0.01


@dataclass(frozen=True)
class EqualAreaShapes:
    """What is compared, in metres on one map."""

    detections: Shapes
    sites: Shapes
    area: shapely.Geometry
    mended: int
    """Polygons that were invalid."""


def on_equal_area(
    detections: gpd.GeoSeries, sites: gpd.GeoSeries, area: gpd.GeoSeries, *, mend: bool
) -> EqualAreaShapes:
    """Bring polygons of any CRS onto an equal-area map around the area.

    Args:
        detections: Polygons.
        sites: Polygons.
        area: Polygons.
        mend: Whether to mend invalid polygons rather than refuse them.

    Raises:
        GridMismatch: A layer has no CRS, or coordinates that do not fit it.
        DataError: A geometry is missing, no polygon, or invalid and not to be mended.
        NoValidData: The area is empty.

    Source:
        Snyder 1987, USGS Professional Paper 1395, p. 187 (Lambert's azimuthal projection).
    """
    layers = {"the detections": detections, "the true sites": sites, "the area": area}
    checked = {name: _polygons(layer, name, mend=mend) for name, layer in layers.items()}
    lonlat = {name: _to_lonlat(shapes, layers[name].crs, name) for name, shapes in checked.items()}
    if not lonlat["the area"].size:
        raise NoValidData("the area looked at is empty; give its polygons")
    there = _projection_around(lonlat["the area"])
    drawn, true, ground = (
        _transformed(shapes, there, f"{name} cannot be put on one map with the area")
        for name, shapes in lonlat.items()
    )
    invalid = sum(int((~layer.is_valid).sum()) for layer in layers.values())
    return EqualAreaShapes(drawn, true, shapely.union_all(ground), invalid)


def mostly_inside(shapes: Shapes, area: shapely.Geometry) -> npt.NDArray[np.bool_]:
    """Whether at least half of each lies in the area."""
    inside = shapely.area(_parts_inside(shapes, area))
    return np.asarray(inside >= _MIN_INSIDE * shapely.area(shapes))


def covered_share(sites: Shapes, detections: Shapes, area: shapely.Geometry) -> FloatArray:
    """Share of each site's part in the area that detections cover together.

    Returns:
        (number of sites,) in [0, 1]; exactly 0 where they share a border only.
    """
    visible = _parts_inside(sites, area)
    share = np.zeros(len(sites))
    of_site, of_detection = shapely.STRtree(detections).query(visible, predicate="intersects")
    order = np.argsort(of_site, kind="stable")
    touched, first = np.unique(of_site[order], return_index=True)
    for site, members in zip(touched, np.split(of_detection[order], first)[1:], strict=True):
        near = shapely.union_all(detections[members])
        covered = float(shapely.area(shapely.intersection(visible[site], near)))
        if covered > _NOTHING_M2:
            share[site] = min(1.0, covered / float(shapely.area(visible[site])))
    return share


def _parts_inside(shapes: Shapes, area: shapely.Geometry) -> Shapes:
    """What of each shape lies in the area; most lie wholly inside, and that is quickly seen."""
    shapely.prepare(area)
    parts = shapes.copy()
    cut = ~shapely.contains(area, shapes)
    parts[cut] = shapely.intersection(shapes[cut], area)
    return parts


def overlaps_any(shapes: Shapes, others: Shapes) -> npt.NDArray[np.bool_]:
    """Whether each shares area with any of the others."""
    of_shape, of_other = shapely.STRtree(others).query(shapes, predicate="intersects")
    common = shapely.area(shapely.intersection(shapes[of_shape], others[of_other]))
    hit = np.zeros(len(shapes), np.bool_)
    hit[of_shape[common > _NOTHING_M2]] = True
    return hit


@dataclass(frozen=True)
class Blocks:
    """Squares of a grid that an area meets."""

    side_m: float
    corner: FloatArray
    """(2,) lower left corner of block (0, 0)."""
    cells: IntArray
    """(B, 2) column and row of each, in order."""
    km2: FloatArray
    """(B,) of the area in each."""

    def of(self, shapes: Shapes) -> IntArray:
        """The block that holds a point within each shape; the nearest one for a point outside."""
        points = shapely.get_coordinates(shapely.point_on_surface(shapes))
        if not len(points):
            return np.empty(0, np.int64)
        points = points - self.corner
        middles: Shapes = np.asarray(shapely.points((self.cells + 0.5) * self.side_m))
        # A point on the area's own edge may lie a hair beyond its last block.
        nearest = shapely.STRtree(middles).nearest(
            shapely.points((np.floor(points / self.side_m) + 0.5) * self.side_m)
        )
        return np.asarray(nearest, np.int64)

    def count(self, blocks: IntArray) -> FloatArray:
        """(B,) how often each block is named."""
        return np.bincount(blocks, minlength=len(self.km2)).astype(np.float64)


def lay_blocks(area: shapely.Geometry, side_m: float) -> Blocks:
    """Lay a grid over an area, from its lower left corner: a small area is one block.

    Raises:
        ConfigError: The blocks are too small for such an area.
    """
    bounds = np.array(shapely.bounds(area))
    corner: FloatArray = bounds[:2]
    columns, lines = np.ceil((bounds[2:] - corner) / side_m)
    cols, rows = np.arange(max(columns, 1)), np.arange(max(lines, 1))
    if cols.size * rows.size > _MOST_BLOCKS:
        raise ConfigError(
            f"blocks of {side_m / 1000:g} km would be {cols.size * rows.size:,} in this area; "
            "choose larger ones"
        )
    cells = np.stack(np.meshgrid(cols, rows, indexing="ij"), axis=-1).reshape(-1, 2)
    low, high = corner + cells * side_m, corner + (cells + 1) * side_m
    boxes = shapely.box(low[:, 0], low[:, 1], high[:, 0], high[:, 1])
    shapely.prepare(area)
    km2 = np.where(shapely.contains(area, boxes), side_m**2 / 1e6, 0.0)
    rest = np.flatnonzero((km2 == 0) & shapely.intersects(area, boxes))
    km2[rest] = shapely.area(shapely.intersection(area, boxes[rest])) / 1e6
    met = km2 > 0
    return Blocks(side_m, corner, cells[met].astype(np.int64), km2[met])


def _polygons(layer: gpd.GeoSeries, name: str, *, mend: bool) -> Shapes:
    """The shapes of a layer, once they are known to be valid polygons."""
    if layer.crs is None:
        raise GridMismatch(f"{name}: no CRS; set the one they were made in")
    shapes: Shapes = layer.to_numpy().copy()
    missing = shapely.is_missing(shapes) | shapely.is_empty(shapes)
    kinds = shapely.get_type_id(shapes)
    polygons = np.isin(kinds, (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON))
    _refuse_rows(missing, f"{name}: row {{row}} has no geometry; remove it")
    _refuse_rows(~polygons, f"{name}: row {{row}} is no polygon; give outlines")
    invalid = ~shapely.is_valid(shapes)
    if mend:
        shapes = mended(shapes)
        invalid &= shapely.area(shapes) == 0
    if invalid.any():
        why = shapely.is_valid_reason(layer.to_numpy()[np.flatnonzero(invalid)[0]])
        what = f"{name}: row {{row}} is invalid: {why}; mend it (QGIS: Fix geometries)"
        _refuse_rows(invalid, what)
    return shapes


def _parts(shape: shapely.Geometry) -> list[shapely.Polygon]:
    """The polygons of a geometry of any kind."""
    parts = shapely.get_parts(shapely.get_parts(shape))
    return [part for part in parts if isinstance(part, shapely.Polygon)]


def _refuse_rows(wrong: npt.NDArray[np.bool_], what: str) -> None:
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0]) + 1
        raise DataError(f"{what.format(row=row)} ({int(wrong.sum())} such)")


def _to_lonlat(shapes: Shapes, of: Any, name: str) -> Shapes:
    """Longitude and latitude of polygons, with edges short enough to be bent."""
    crs = pyproj.CRS(of)
    misfit = f"{name}: coordinates do not fit the CRS {crs.name}; correct the CRS"
    if crs.is_geographic:
        bounds = shapely.bounds(shapes)
        # Some write 179 to 181 across 180 degrees; 179 to -179 is a belt around the world.
        if (np.abs(bounds) > (360.001, 90.001, 360.001, 90.001)).any():
            raise GridMismatch(misfit)
        if (bounds[:, 2] - bounds[:, 0] > 180).any():
            raise GridMismatch(
                f"{name}: a polygon is wider than 180 degrees; cut it at 180 degrees of longitude"
            )
    step = _STEP_DEG if crs.is_geographic else _STEP_M / crs.axis_info[0].unit_conversion_factor
    to_lonlat = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    # Corners first: what lies a million kilometres out would have a million vertices an edge.
    _transformed(shapes, to_lonlat, misfit)
    return _transformed(shapely.segmentize(shapes, step), to_lonlat, misfit)


def _projection_around(area_lonlat: Shapes) -> pyproj.Transformer:
    """To Lambert's azimuthal equal-area projection, centred on an area.

    No part of the world but the opposite side is cut: an area across 180 degrees stays whole.
    """
    lon, lat = np.radians(shapely.get_coordinates(area_lonlat)).T
    vertices = np.stack((np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)))
    middle = vertices.mean(axis=1)
    if (vertices.T @ middle <= 0).any():
        raise GridMismatch("the area is larger than half the world; judge it in parts")
    centre_lon = np.degrees(np.arctan2(middle[1], middle[0]))
    centre_lat = np.degrees(np.arcsin(middle[2] / np.linalg.norm(middle)))
    there = f"+proj=laea +lat_0={centre_lat:.2f} +lon_0={centre_lon:.2f} +datum=WGS84 +units=m"
    return pyproj.Transformer.from_crs("EPSG:4326", there, always_xy=True)


def _transformed(shapes: Shapes, transformer: pyproj.Transformer, misfit: str) -> Shapes:
    def move(coordinates: FloatArray) -> FloatArray:
        return np.column_stack(transformer.transform(*coordinates.T))

    if not len(shapes):
        return np.empty(0, object)
    moved: Shapes = shapely.transform(shapes, move)
    if not np.isfinite(shapely.get_coordinates(moved)).all():
        raise GridMismatch(misfit)
    # Two edges that nearly touch may cross once they are bent.
    crossed = ~shapely.is_valid(moved)
    moved[crossed] = shapely.buffer(moved[crossed], 0)
    return moved
