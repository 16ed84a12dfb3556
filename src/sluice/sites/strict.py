"""The strict rule: cut away what is likely no mine, or a legal one, instead of flagging it.

Settlements, roads, valid concessions and what an expert ruled out are cut from the outlines, with
their buffers, and so is ground that is green in the same period; what is left below the smallest
mapping unit goes. The service that watches illegal mining in Ghana does so. It loses evidence, so
it is not the default.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import geopandas as gpd
import numpy as np
import shapely
from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry

from sluice.base.arrays import ArrayHW, BoolHW, IntArray
from sluice.base.errors import ShapeMismatch
from sluice.base.longitudes import cut_at_180
from sluice.base.periods import Period
from sluice.base.places import LayerKind
from sluice.base.polygons import mended
from sluice.sites.area import geodesic_areas_ha
from sluice.sites.context import ContextLayer, counts_in
from sluice.sites.outlines import outline_numbers
from sluice.sites.shares import common_ground, overlaps
from sluice.sites.zones import NearPieces, Shapes, Zone, cut_into_pieces, zones_of

REMOVED = (
    LayerKind.SETTLEMENTS,
    LayerKind.ROADS,
    LayerKind.CONCESSIONS,
    LayerKind.EXPERT,
)
"""Kinds that are cut away, in this order; concessions where they are valid in the period."""
GREEN_NDVI = 0.3
"""Above it ground bears plants: it is no open pit."""
GREEN, TOO_SMALL = "green", "too_small"
"""What takes ground, beside the kinds of layers."""

_LEAST_CUT_HA = 1e-6


@dataclass(frozen=True)
class Removed:
    """What one rule took away."""

    by: str
    """A `LayerKind`, `green` (NDVI) or `too_small` (below the smallest mapping unit)."""
    hectares: float
    """Geodesic; ground that an earlier rule took does not count again."""
    touched: int
    """Detections that lost ground."""
    dropped: int
    """Of these, detections of which nothing is left."""


@dataclass(frozen=True)
class StrictCut:
    """Detections after the strict rule, and what it took."""

    detections: gpd.GeoDataFrame
    """Those left, in their order and with their columns. `footprint_ha` is that of what is left;
    `delineated_ha` is NaN where ground was cut, as the workings were outlined before."""
    removed: tuple[Removed, ...]
    notes: tuple[str, ...] = ()
    """What a person should know: layers that could remove nothing."""


def cut_layers(
    detections: gpd.GeoDataFrame,
    layers: Sequence[ContextLayer],
    period: Period,
    *,
    min_footprint_ha: float = 0.0,
) -> StrictCut:
    """Cut settlements, roads, valid concessions and expert masks from detections.

    Args:
        detections: Columns of `Detection`, polygons in EPSG:4326.
        layers: Registered layers; kinds that are not in `REMOVED` are left alone.
        period: Features whose dates lie outside of it remove nothing.
        min_footprint_ha: Smallest mapping unit, for what was cut; what no rule touched stays.
    """
    shapes = np.asarray(detections.geometry, dtype=object).copy()
    removed, notes = [], []
    for kind in REMOVED:
        group = [layer for layer in layers if layer.layer.kind is kind]
        if not group:
            continue
        notes += [
            f"layer {layer.layer.name}: lines and points without a buffer remove nothing; register "
            "it again with --buffer"
            for layer in group
            if not layer.layer.buffer_m and _without_area(layer)
        ]
        left = _less_features(shapes, group, period)
        removed.append(_tell(kind.value, shapes, left))
        shapes = left
    cut = _finish(detections, shapes, min_footprint_ha)
    return replace(cut, removed=(*removed, *cut.removed), notes=tuple(notes))


def cut_green(
    detections: gpd.GeoDataFrame,
    ndvi: ArrayHW,
    geobox: GeoBox,
    *,
    limit: float = GREEN_NDVI,
    min_footprint_ha: float = 0.0,
) -> StrictCut:
    """Cut pixels that are green from detections.

    Args:
        detections: Columns of `Detection`, polygons in EPSG:4326.
        ndvi: (H, W) of the same period; NaN = not observed, which is kept.
        geobox: Its grid, north up.
        limit: Pixels above it are green.
        min_footprint_ha: Smallest mapping unit, for what was cut; what no rule touched stays.

    Raises:
        ShapeMismatch: Array and grid differ in shape.
    """
    if ndvi.shape != geobox.shape.yx:
        raise ShapeMismatch(f"NDVI of {ndvi.shape} on a grid of {tuple(geobox.shape.yx)}")
    shapes = np.asarray(detections.geometry, dtype=object)
    green = ndvi > np.float32(limit)
    on_grid = np.asarray(detections.geometry.to_crs(str(geobox.crs)), dtype=object)
    left = np.array([_less_pixels(shape, green, geobox) for shape in on_grid], dtype=object)
    changed = np.array([one is not None for one in left], np.bool_)
    after = shapes.copy()
    if changed.any():
        after[changed] = _lonlat(gpd.GeoSeries(left[changed], crs=str(geobox.crs)))
    cut = _finish(detections, after, min_footprint_ha)
    return replace(cut, removed=(_tell(GREEN, shapes, after), *cut.removed))


def removal_text(removed: Sequence[Removed]) -> str:
    """One line for a person for each rule that took something."""
    lines = [
        f"{one.by.replace('_', ' ')}: {one.hectares:,.1f} ha of {one.touched} detections, "
        f"{one.dropped} of them whole"
        for one in removed
        if one.touched
    ]
    return "\n".join(lines) or "Nothing was removed."


def _less_features(shapes: Shapes, group: Sequence[ContextLayer], period: Period) -> Shapes:
    """Detections without the ground of a kind's features."""
    taken = []
    for layer in group:
        features = layer.features.to_crs("EPSG:4326")
        current = features[counts_in(features, period)]
        taken.append((np.asarray(current.geometry, dtype=object), layer.layer.buffer_m))
    pieces = NearPieces(cut_into_pieces(taken))
    left = shapes.copy()
    for zone in zones_of(gpd.GeoSeries(shapes, crs="EPSG:4326")):
        _cut_zone(left, zone, pieces)
    return left


def _cut_zone(left: Shapes, zone: Zone, pieces: NearPieces) -> None:
    place, ground = common_ground(overlaps(zone, pieces.around(zone, 0.0)))
    remains = shapely.difference(zone.places[place], ground)
    whole = zone.to_lonlat(np.array([_polygons(shape) for shape in remains], dtype=object))
    left[zone.rows[place]] = _tidied(whole)


def _less_pixels(shape: BaseGeometry | None, green: BoolHW, geobox: GeoBox) -> BaseGeometry | None:
    """A shape without its green pixels, None where none lies in it."""
    if shape is None or shape.is_empty:
        return None
    a = geobox.affine
    xmin, ymin, xmax, ymax = shape.bounds
    height, width = geobox.shape.yx
    top, bottom = max(0, int((ymax - a.f) / a.e)), min(height, int((ymin - a.f) / a.e) + 1)
    left, right = max(0, int((xmin - a.c) / a.a)), min(width, int((xmax - a.c) / a.a) + 1)
    if top >= bottom or left >= right:
        return None
    part = green[top:bottom, left:right]
    if not part.any():
        return None
    grid = geobox[top:bottom, left:right]
    ground = shapely.intersection(outline_numbers(part.astype(np.int32), grid)[1], shape)
    return None if ground.area == 0 else _polygons(shape.difference(ground))


def _finish(detections: gpd.GeoDataFrame, shapes: Shapes, min_footprint_ha: float) -> StrictCut:
    """Drop what is too small, and measure the rest anew."""
    before = np.asarray(detections.geometry, dtype=object)
    cut = np.flatnonzero([one is not other for one, other in zip(before, shapes, strict=True)])
    found = detections.set_geometry(gpd.GeoSeries(shapes, index=detections.index, crs="EPSG:4326"))
    hectares = geodesic_areas_ha([*shapes[cut]], "EPSG:4326") if len(cut) else np.empty(0)
    small = hectares < max(min_footprint_ha, _LEAST_CUT_HA)
    columns = {"footprint_ha": hectares, "delineated_ha": np.full(len(cut), np.nan)}
    for name, values in columns.items():
        if name in found:
            found.iloc[cut, found.columns.get_loc(name)] = values
    _move_inside(found, cut[~small])
    kept = np.ones(len(found), np.bool_)
    kept[cut[small]] = False
    gone = small & (hectares > _LEAST_CUT_HA)
    took = Removed(TOO_SMALL, float(hectares[gone].sum()), int(gone.sum()), int(gone.sum()))
    return StrictCut(found[kept], (took,) if gone.any() else ())


def _move_inside(found: gpd.GeoDataFrame, rows: IntArray) -> None:
    """Where the best cell was cut away, another point stands for the place."""
    if not {"lon", "lat"} <= set(found.columns) or not len(rows):
        return
    shapes = np.asarray(found.geometry.iloc[rows], dtype=object)
    lon, lat = (found[name].to_numpy(dtype=float).copy() for name in ("lon", "lat"))
    outside = ~shapely.covers(shapes, shapely.points(lon[rows], lat[rows]))
    points = shapely.point_on_surface(shapes[outside])
    lon[rows[outside]], lat[rows[outside]] = shapely.get_x(points), shapely.get_y(points)
    found["lon"], found["lat"] = lon, lat


def _tell(by: str, before: Shapes, after: Shapes) -> Removed:
    rows = np.flatnonzero([one is not other for one, other in zip(before, after, strict=True)])
    if not len(rows):
        return Removed(by, 0.0, 0, 0)
    had, has = (geodesic_areas_ha([*shapes[rows]], "EPSG:4326") for shapes in (before, after))
    touched = had - has > _LEAST_CUT_HA
    dropped = touched & (has <= _LEAST_CUT_HA)
    return Removed(by, float((had - has)[touched].sum()), int(touched.sum()), int(dropped.sum()))


def _without_area(layer: ContextLayer) -> bool:
    shapes = np.asarray(layer.features.geometry, dtype=object)
    return bool((shapely.get_dimensions(shapes) < 2).any())


def _polygons(shape: BaseGeometry) -> BaseGeometry:
    """The parts of a shape that have an area, as one multipolygon."""
    parts = shapely.get_parts(shapely.get_parts(np.array([shape], dtype=object)))
    return shapely.MultiPolygon(list(parts[shapely.get_dimensions(parts) == 2]))


def _lonlat(shapes: gpd.GeoSeries) -> Shapes:
    return _tidied(np.asarray(shapes.to_crs("EPSG:4326"), dtype=object))


def _tidied(lonlat: Shapes) -> Shapes:
    """Valid multipolygons: rings that met in a point may cross once they are in degrees."""
    cut = np.array([cut_at_180(shape) for shape in lonlat], dtype=object)
    return np.array([_polygons(shape) for shape in mended(cut)], dtype=object)
