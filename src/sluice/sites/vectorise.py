"""From scored cells to polygons with their figures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pyproj
import rasterio.features
import shapely
from odc.geo.geobox import GeoBox
from scipy import ndimage
from shapely.geometry import MultiPolygon
from shapely.geometry.base import BaseGeometry

from sluice.base.arrays import ArrayHW, BoolHW, FloatArray, IntArray
from sluice.base.errors import GridMismatch, ShapeMismatch
from sluice.base.grid import is_metric_north_up
from sluice.base.longitudes import cut_at_180
from sluice.base.records import Detection
from sluice.base.windows import ScoredWindows
from sluice.sites.area import geodesic_areas_ha
from sluice.sites.outlines import outline_numbers
from sluice.sites.thresholds import DualThreshold, isolated_components

COLUMN_TYPES = {
    "detection_id": "str",
    "lon": "float64",
    "lat": "float64",
    "score_mean": "float64",
    "score_peak": "float64",
    "probability_mean": "float64",
    "probability_peak": "float64",
    "footprint_ha": "float64",
    "delineated_ha": "float64",
    "isolated": "bool",
    "cells": "int64",
}
"""Of the columns of `Detection`, in a table; NaN stands for None."""
_TOUCHING = np.ones((3, 3), dtype=bool)
_GEOHASH = "0123456789bcdefghjkmnpqrstuvwxyz"


def vectorise(
    scores: ArrayHW,
    geobox: GeoBox,
    windows: ScoredWindows | None,
    rule: DualThreshold,
    *,
    to_probability: Callable[[ArrayHW], ArrayHW] | None = None,
    area: BaseGeometry | None = None,
    min_footprint_ha: float = 0.0,
) -> gpd.GeoDataFrame:
    """Outline the detections of a scan.

    A detection is a group of observed cells that touch, at corners too, each at or above `t_main`.
    A group that stands alone (`isolated_components`) is kept only if one of its cells reaches
    `t_iso`. Blending lowers what one window says and its neighbours deny. Groups are found on the
    whole grid at once, so none is cut at the border of a tile or strip.

    Memory: about 28 bytes for each cell, and the polygons.

    Args:
        scores: (rows, columns) of cells, blended, NaN = not observed.
        geobox: Grid of the cells, in UTM.
        windows: Raw scores, by which isolated detections are told; None where pixels were judged.
        rule: Thresholds.
        to_probability: From scores to probabilities, element by element, where the model is
            calibrated.
        area: Area of interest in longitude and latitude; cells whose centre is outside are
            dropped.
        min_footprint_ha: Smallest mapping unit; smaller groups are dropped.

    Returns:
        One row for each detection with the columns of `Detection` and a valid multipolygon in
        EPSG:4326, cut at 180 degrees of longitude; the highest peak score first, then the
        largest. NaN stands for None: the probabilities without a calibration, and
        `delineated_ha`, which is measured elsewhere.
        `lon` and `lat` are the centre of the best cell. `detection_id` is `d-` and that point's
        geohash: the same place has the same id in every run on the same grid. Without detections:
        the same columns, no rows.

    Raises:
        GridMismatch: The grid is not in UTM.
        ShapeMismatch: Arrays and grid differ in shape.
    """
    crs = _grid_crs(geobox)
    if scores.shape != geobox.shape.yx:
        raise ShapeMismatch(f"cells of {scores.shape} on a grid of {tuple(geobox.shape.yx)}")
    labels, count = _label_groups(scores, geobox, rule, area)
    if count == 0:
        return _frame({}, [])
    cell, group = _cells_by_group(labels)
    score = scores.ravel()[cell]
    best = _best_cells(group, score)
    # The rule counts windows of hundreds of metres; a group of pixels is company to itself.
    isolated = np.zeros(count, bool)
    if windows is not None:
        isolated = isolated_components(labels, geobox, windows, rule)
    kept = ~isolated | (score[best] >= rule.t_iso)
    labels *= np.concatenate([[False], kept])[labels]
    outlines = outline_numbers(labels, geobox)
    footprint = _footprints(outlines, count, crs)
    numbers = np.flatnonzero(kept & (footprint >= min_footprint_ha))
    columns = _places(cell[best], geobox)
    columns |= _figures(group, score, score[best], to_probability)
    columns |= {"footprint_ha": footprint, "isolated": isolated}
    chosen = {name: values[numbers] for name, values in columns.items()}
    order = np.lexsort((chosen["detection_id"], -chosen["footprint_ha"], -chosen["score_peak"]))
    return _frame(
        {name: values[order] for name, values in chosen.items()},
        gpd.GeoSeries([outlines[int(n) + 1] for n in numbers[order]], crs=crs),
    )


def _label_groups(
    scores: ArrayHW, geobox: GeoBox, rule: DualThreshold, area: BaseGeometry | None
) -> tuple[npt.NDArray[np.int32], int]:
    """Number the groups of cells above the threshold, from 1; 0 elsewhere."""
    # In float32, as the scores are: 0.7 is then at least 0.7.
    above = scores >= rule.t_main
    if area is not None:
        above &= cells_inside(area, geobox)
    labels, count = ndimage.label(above, structure=_TOUCHING, output=np.int32)
    return labels, count


def cells_inside(area: BaseGeometry, geobox: GeoBox) -> BoolHW:
    """Whether the centre of each cell lies in an area.

    Args:
        area: Polygon or multipolygon in longitude and latitude.
        geobox: Grid of the cells.

    Returns:
        (rows, columns), True inside.
    """
    to_grid = pyproj.Transformer.from_crs("EPSG:4326", _grid_crs(geobox), always_xy=True)
    # Straight lines in degrees bend in UTM: more vertices first.
    projected = shapely.transform(
        shapely.segmentize(area, 0.01),
        lambda xy: np.column_stack(to_grid.transform(xy[:, 0], xy[:, 1])),
    )
    inside: BoolHW = rasterio.features.geometry_mask(
        [projected], out_shape=geobox.shape.yx, transform=geobox.affine, invert=True
    )
    return inside


def geohash(lon: float, lat: float, length: int = 9) -> str:
    """The geohash of a place; 9 letters are a cell of 4.8 x 4.8 m or less.

    Source:
        G. Niemeyer 2008, geohash.org: bits of longitude and latitude by turns, five to a letter.
    """
    bits = length * 5
    on_lon, on_lat = (bits + 1) // 2, bits // 2
    column = min(int((lon + 180) / 360 * (1 << on_lon)), (1 << on_lon) - 1)
    row = min(int((lat + 90) / 180 * (1 << on_lat)), (1 << on_lat) - 1)
    code = 0
    for i in range(bits):
        value, left = (column, on_lon - 1 - i // 2) if i % 2 == 0 else (row, on_lat - 1 - i // 2)
        code = code << 1 | (value >> left & 1)
    return "".join(_GEOHASH[code >> 5 * i & 31] for i in reversed(range(length)))


def _cells_by_group(labels: npt.NDArray[np.int32]) -> tuple[IntArray, IntArray]:
    """Flat indices of the labelled cells, and the group of each counted from 0."""
    cell = np.flatnonzero(labels)
    return cell, labels.ravel()[cell].astype(np.int64) - 1


def _best_cells(group: IntArray, score: ArrayHW) -> IntArray:
    """The position of the best cell of each group, the first of equals."""
    order = np.lexsort((-score, group))
    _, first = np.unique(group[order], return_index=True)
    return order[first]


def _places(best: IntArray, geobox: GeoBox) -> dict[str, Any]:
    """Columns that come from the place of each group's best cell, given as a flat index."""
    row, col = np.unravel_index(best, geobox.shape.yx)
    affine = geobox.affine
    x, y = affine.c + affine.a * (col + 0.5), affine.f + affine.e * (row + 0.5)
    to_lonlat = pyproj.Transformer.from_crs(_grid_crs(geobox), "EPSG:4326", always_xy=True)
    lon, lat = to_lonlat.transform(x, y)
    ids = [f"d-{geohash(*place)}" for place in zip(lon, lat, strict=True)]
    return {"detection_id": np.array(ids, dtype=object), "lon": lon, "lat": lat}


def _figures(
    group: IntArray,
    score: ArrayHW,
    peak: ArrayHW,
    to_probability: Callable[[ArrayHW], ArrayHW] | None,
) -> dict[str, Any]:
    """Columns that come from the cells' scores and each group's peak."""
    size = np.bincount(group)

    def mean(values: ArrayHW) -> FloatArray:
        return np.asarray(np.bincount(group, weights=values) / size)

    nothing = np.full(len(size), np.nan)
    return {
        "score_mean": mean(score),
        "score_peak": peak.astype(np.float64),
        "probability_mean": mean(to_probability(score)) if to_probability else nothing,
        "probability_peak": to_probability(peak).astype(np.float64) if to_probability else nothing,
        "delineated_ha": nothing,
        "cells": size,
    }


def _footprints(outlines: dict[int, MultiPolygon], count: int, crs: pyproj.CRS) -> FloatArray:
    """Geodesic hectares of each group; NaN for those that went, which have no outline."""
    areas = np.full(count, np.nan)
    areas[np.array([*outlines], dtype=int) - 1] = geodesic_areas_ha([*outlines.values()], crs)
    return areas


def _grid_crs(geobox: GeoBox) -> pyproj.CRS:
    if not is_metric_north_up(geobox):
        raise GridMismatch(f"outlines need a UTM grid, the scan's is in {geobox.crs}")
    return pyproj.CRS(str(geobox.crs))


def _frame(columns: dict[str, Any], geometry: Any) -> gpd.GeoDataFrame:
    """The table in EPSG:4326, with the columns of `Detection` in their order."""
    frame = gpd.GeoDataFrame(
        {name: columns.get(name, []) for name in Detection.model_fields},
        geometry=gpd.GeoSeries(geometry, crs=getattr(geometry, "crs", "EPSG:4326")),
    )
    frame = frame.astype(COLUMN_TYPES).to_crs("EPSG:4326")
    if len(frame):
        frame.geometry = frame.geometry.map(cut_at_180)
    return frame
