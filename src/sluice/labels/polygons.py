"""Polygons of mines: from any vector file to one table, and from the table to masks.

Made for published inventories (Tang & Werner 2023, doi:10.1038/s43247-023-00805-6; Maus et al.
2022, doi:10.1038/s41597-022-01547-4) and for people's own files alike: which column holds the
class and the dates is told by argument.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import rasterio.features
import shapely
from odc.geo.geobox import GeoBox
from shapely import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from sluice.base.arrays import IntArray
from sluice.base.errors import ConfigError, DataError, GridMismatch
from sluice.base.files import read_vector
from sluice.base.grid import PixelWindow
from sluice.base.longitudes import cut_at_180
from sluice.base.point_tables import is_table, read_shape_table
from sluice.base.polygons import mended
from sluice.labels.dataset import UNLABELLED
from sluice.labels.vector_table import (
    LabelColumns,
    LabelTable,
    check_coordinates,
    normalise,
    refuse_none_left,
)

Rule = Literal["centre", "touched"]
"""Which pixels a polygon takes: those whose centre lies in it, or all that it touches."""
IGNORE = "ignore"
"""Class of ground that nobody can judge, as under cloud: 255 in a mask."""

_WHOLE = 1e-3
"""Share of a pixel that does not count."""
_BEND_PX = 20.0
"""Edges longer than this get vertices in between, since straight in degrees is not straight in
metres."""


def read_polygons(
    path: Path | str,
    columns: LabelColumns | None = None,
    *,
    layer: str | None = None,
    crs: str | None = None,
) -> LabelTable:
    """Read polygons with their classes and dates.

    Args:
        path: Vector file with a CRS: GeoPackage, GeoJSON, Shapefile, FlatGeobuf, KML, GeoParquet;
            or a CSV with a column of WKT.
        columns: Which of its columns say what; None takes `class`, `start`, `end` and `source`
            where it has them, and `mine` for the class where it has none.
        layer: Of a file with several.
        crs: Of a CSV; EPSG:4326 if None.

    Returns:
        Valid polygons and multipolygons, cut at 180 degrees.

    Raises:
        ItemNotFound, AssetReadError: There is no such file, or none that may be opened.
        ConfigError: It has no CRS, or lacks a column; or `crs` is given for a file that has one.
        DataError: Its coordinates are not of its CRS, a class is empty, or a date cannot be read.
        NoValidData: No feature has an area.
    """
    where = str(path)
    frame = read_shapes(path, layer=layer, crs=crs)
    return tidy_polygons(frame, columns or LabelColumns.usual(frame), where)


def read_shapes(
    path: Path | str, *, layer: str | None = None, crs: str | None = None
) -> gpd.GeoDataFrame:
    """Read a file as it is: its columns and shapes, with a CRS, index 0..N-1.

    Raises:
        ItemNotFound, AssetReadError, ConfigError, DataError: As `read_polygons`.
    """
    if is_table(path):
        return read_shape_table(path, crs=crs or "EPSG:4326")
    if crs is not None:
        raise ConfigError(f"--crs {crs}: {path} says its own; leave it out", href=str(path))
    return read_vector(path, layer=layer).reset_index(drop=True)


def tidy_polygons(frame: gpd.GeoDataFrame, columns: LabelColumns, where: str) -> LabelTable:
    """Check, mend and normalise polygons that were read already; see `read_polygons`.

    Args:
        frame: With a CRS, index 0..N-1.
        columns: Which of its columns say what.
        where: What to call the file in messages.
    """
    check_coordinates(frame, where)
    table = normalise(frame, columns, where)
    shapes = shapely.force_2d(np.asarray(table.geometry))
    empty = shapely.is_missing(shapes) | shapely.is_empty(shapes)
    invalid = ~empty & ~shapely.is_valid(shapes)
    shapes = mended(shapes)
    table = table.set_geometry(gpd.GeoSeries(shapes, crs=frame.crs, index=table.index))
    table = table.to_crs("EPSG:4326")
    parts = [_polygon_of(shape) for shape in table.geometry]
    polygonal = np.array([part is not None for part in parts], bool)
    flat = np.array([_may_hold_area(shape) for shape in frame.geometry], bool)
    reasons = {
        "without a shape": empty,
        "points or lines (points take a radius)": ~polygonal & ~empty & ~flat,
        "without area": ~polygonal & ~empty & flat,
    }
    left_out = {reason: int(which.sum()) for reason, which in reasons.items() if which.any()}
    refuse_none_left(int(polygonal.sum()), left_out, where, "polygon")
    kept = table[polygonal].set_geometry(
        gpd.GeoSeries(
            [cut_at_180(part) for part in parts if part is not None],
            crs="EPSG:4326",
            index=table.index[polygonal],
        )
    )
    count = int((invalid & polygonal).sum())
    return LabelTable(kept.reset_index(drop=True), count, left_out)


def rasterise_polygons(
    table: gpd.GeoDataFrame,
    geobox: GeoBox,
    classes: Sequence[str],
    *,
    rule: Rule = "centre",
    outside: int = 0,
    ignored: Iterable[str] = (IGNORE,),
    small_px: float = 0.0,
) -> npt.NDArray[np.uint8]:
    """Burn polygons into a mask; later rows lie over earlier ones.

    Args:
        table: Columns `class` and `geometry`, with a CRS.
        geobox: Axis-parallel grid.
        classes: Names of the mask's values 0, 1, …, as in `DatasetAbout.classes`.
        rule: Which pixels a polygon takes.
        outside: Value of pixels in no polygon: 0 where the inventory is complete, 255 where
            nothing is known of what it leaves out.
        ignored: Classes burned as 255.
        small_px: Of a polygon smaller than this many pixels the pixels that its outline crosses
            become 255, unless they were of its class before: they are as much of one class as of
            the other.

    Returns:
        (H, W) uint8.

    Raises:
        DataError: A class that is neither in `classes` nor in `ignored`.
        GridMismatch: A grid without a CRS, or rotated.
        ConfigError: `outside` is no value of the mask.
    """
    if geobox.crs is None or geobox.affine.b or geobox.affine.d:
        raise GridMismatch("masks need a grid with a CRS whose rows run east; reproject the image")
    if outside != UNLABELLED and not 0 <= outside < len(classes):
        raise ConfigError(
            f"outside={outside}: give a class below {len(classes)}, or {UNLABELLED} for unknown"
        )
    values = {name: value for value, name in enumerate(classes)}
    values |= dict.fromkeys(ignored, UNLABELLED)
    _refuse_unknown(table, values)
    mask: npt.NDArray[np.uint8] = np.full(geobox.shape.yx, outside, np.uint8)
    near = _project(table, geobox)
    px_area = abs(geobox.affine.a * geobox.affine.e)
    runs = itertools.groupby(
        ((shape, values[name]) for shape, name in near),
        key=lambda pair: bool(pair[0].area < small_px * px_area),
    )
    for small, pairs in runs:
        if small:
            for shape, value in pairs:
                _burn_small(mask, shape, value, geobox, rule)
        else:
            _burn(mask, list(pairs), geobox, rule)
    return mask


def _burn(
    mask: npt.NDArray[np.uint8],
    pairs: list[tuple[BaseGeometry, int]],
    geobox: GeoBox,
    rule: Rule,
) -> None:
    rasterio.features.rasterize(
        pairs,
        out=mask,
        transform=geobox.affine,
        all_touched=rule == "touched",
    )


def _burn_small(
    mask: npt.NDArray[np.uint8], shape: BaseGeometry, value: int, geobox: GeoBox, rule: Rule
) -> None:
    window = _window_of(shape, geobox)
    if window is None:
        return
    # A copy: GDAL wants rows that follow each other in memory.
    part, grid = mask[window.slices].copy(), window.of(geobox)
    crossed = rasterio.features.rasterize(
        [(shape.boundary, 1)],
        out_shape=part.shape,
        transform=grid.affine,
        all_touched=True,
        dtype=np.uint8,
    ).astype(bool)
    crossed &= part != value
    rows, cols = np.nonzero(crossed)
    # An outline along the edges of pixels touches them and divides none.
    crossed[rows, cols] = _divided(shape, grid, rows, cols)
    _burn(part, [(shape, value)], grid, rule)
    part[crossed] = UNLABELLED
    mask[window.slices] = part


def _divided(
    shape: BaseGeometry, grid: GeoBox, rows: IntArray, cols: IntArray
) -> npt.NDArray[np.bool_]:
    """Whether pixels lie partly in a shape and partly outside."""
    a = grid.affine
    left, top = a.c + cols * a.a, a.f + rows * a.e
    cells = shapely.box(
        np.minimum(left, left + a.a),
        np.minimum(top, top + a.e),
        np.maximum(left, left + a.a),
        np.maximum(top, top + a.e),
    )
    share = shapely.area(shapely.intersection(cells, shape)) / abs(a.a * a.e)
    divided: npt.NDArray[np.bool_] = (share > _WHOLE) & (share < 1 - _WHOLE)
    return divided


def _window_of(shape: BaseGeometry, geobox: GeoBox) -> PixelWindow | None:
    """The pixels around a shape, None where it lies outside."""
    a = geobox.affine
    xmin, ymin, xmax, ymax = shape.bounds
    cols = sorted(((xmin - a.c) / a.a, (xmax - a.c) / a.a))
    rows = sorted(((ymin - a.f) / a.e, (ymax - a.f) / a.e))
    height, width = geobox.shape.yx
    top, left = max(0, int(np.floor(rows[0])) - 1), max(0, int(np.floor(cols[0])) - 1)
    bottom = min(height, int(np.ceil(rows[1])) + 1)
    right = min(width, int(np.ceil(cols[1])) + 1)
    if top >= bottom or left >= right:
        return None
    return PixelWindow(top, left, bottom - top, right - left)


def _project(table: gpd.GeoDataFrame, geobox: GeoBox) -> Iterator[tuple[BaseGeometry, str]]:
    """The polygons near a grid, in its CRS, in their order."""
    crs = str(geobox.crs)
    box = shapely.box(*geobox.boundingbox.bbox)
    side = max(abs(geobox.affine.a), abs(geobox.affine.e))
    if table.crs == crs:
        near = table[np.asarray(table.intersects(box))]
        yield from zip(near.geometry, near["class"], strict=True)
        return
    outline = shapely.segmentize(box.buffer(2 * side), max(box.length / 64, side))
    around = gpd.GeoSeries([outline], crs=crs).to_crs(table.crs).map(cut_at_180).iloc[0]
    near = table[np.asarray(table.intersects(around.envelope))]
    if near.empty:
        return
    # Only what lies around the grid: a country's outline would get vertices every few pixels, and
    # far from its zone UTM has no numbers.
    clipped = near.geometry.intersection(around.buffer(around.length / 8).envelope)
    span = np.ptp(np.asarray(around.envelope.bounds).reshape(2, 2), axis=0).max()
    step = span * _BEND_PX / max(geobox.shape.yx)
    shapes = clipped.segmentize(step).to_crs(crs)
    for shape, name in zip(shapes, near["class"], strict=True):
        polygon = _polygon_of(shape)
        if polygon is not None:
            yield polygon, name


def _refuse_unknown(table: gpd.GeoDataFrame, values: dict[str, int]) -> None:
    unknown = sorted(set(table["class"]) - set(values))
    if unknown:
        raise DataError(
            f"class {', '.join(map(repr, unknown[:5]))} of the polygons is not among "
            f"{', '.join(values)}; name it, or map it to one of these"
        )


def _polygon_of(shape: BaseGeometry | None) -> Polygon | MultiPolygon | None:
    """The part of a shape that has an area, None where none has."""
    if shape is None or shape.is_empty:
        return None
    parts = [
        part
        for part in shapely.get_parts(shapely.get_parts(shape))
        if isinstance(part, Polygon) and part.area > 0
    ]
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else MultiPolygon(parts)


def _may_hold_area(shape: BaseGeometry | None) -> bool:
    kinds = {"Polygon", "MultiPolygon"}
    if shape is None:
        return False
    parts = shapely.get_parts(shape) if shape.geom_type == "GeometryCollection" else [shape]
    return any(part.geom_type in kinds for part in parts)
