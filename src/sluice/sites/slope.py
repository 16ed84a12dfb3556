"""How steep the ground of places is, from a raster of slopes."""

from __future__ import annotations

from typing import Any

import geopandas as gpd
import numpy as np
import rasterio.features
import shapely
from rasterio.errors import RasterioError
from rasterio.windows import Window

from sluice.base.arrays import FloatArray
from sluice.base.errors import AssetReadError


def mean_slopes(places: gpd.GeoSeries, raster: Any, band: int) -> FloatArray:
    """Mean slope of the pixels whose centre lies in each place.

    A point, or a place smaller than a pixel, takes the pixels that it touches.

    Args:
        places: In any CRS.
        raster: An open `rasterio.DatasetReader`, north up.
        band: Of the raster, from 1: slope in degrees.

    Returns:
        (n,) degrees; NaN outside of the raster, where it has no value, and for empty places.

    Raises:
        AssetReadError: The raster cannot be read.
    """
    shapes = np.asarray(places.to_crs(raster.crs.to_wkt()), dtype=object)
    slopes = np.full(len(shapes), np.nan)
    bounds = shapely.bounds(shapes)
    a, height, width = raster.transform, raster.height, raster.width
    cols = np.sort((bounds[:, [0, 2]] - a.c) / a.a, axis=1)
    rows = np.sort((bounds[:, [1, 3]] - a.f) / a.e, axis=1)
    left, right = np.floor(cols[:, 0]).clip(0), (np.floor(cols[:, 1]) + 1).clip(max=width)
    top, bottom = np.floor(rows[:, 0]).clip(0), (np.floor(rows[:, 1]) + 1).clip(max=height)
    # A comparison with NaN, the bounds of what is empty, is False.
    meets = np.flatnonzero((left < right) & (top < bottom))
    block = raster.block_shapes[0][0]
    # Neighbours one after the other find their blocks in GDAL's cache.
    for row in meets[np.lexsort((left[meets], top[meets] // block))]:
        window = Window(
            int(left[row]), int(top[row]), int(right[row] - left[row]), int(bottom[row] - top[row])
        )
        slopes[row] = _mean(shapes[row], raster, band, window)
    return slopes


def _mean(shape: Any, raster: Any, band: int, window: Window) -> float:
    try:
        part = raster.read(band, window=window, masked=True)
    except RasterioError as err:
        raise AssetReadError(
            f"{raster.name}: cannot be read ({err}); make it again", href=raster.name
        ) from err
    values = np.ma.filled(part.astype(np.float64), np.nan)
    for touched in (False, True):
        inside = rasterio.features.geometry_mask(
            [shape],
            values.shape,
            raster.window_transform(window),
            invert=True,
            all_touched=touched,
        )
        if inside.any():
            break
    known = values[inside & np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
