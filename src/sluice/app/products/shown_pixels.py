"""Pixels of an image on another grid: that of a picture, or of another image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from sluice.base.arrays import ArrayBHW


def read_onto(
    source: Any, numbers: Sequence[int], grid: GeoBox, resampling: Resampling
) -> ArrayBHW:
    """Read bands of an open raster onto another grid.

    Args:
        source: An open `rasterio.DatasetReader` with a CRS.
        numbers: Of the bands, from 1.
        grid: Of the picture.
        resampling: How.

    Returns:
        (bands, H, W) float32 with scale and offset applied, NaN = no data or beyond the image.

    Raises:
        RasterioError: It cannot be read.
    """
    with WarpedVRT(
        source,
        crs=str(grid.crs),
        transform=grid.affine,
        width=grid.shape.x,
        height=grid.shape.y,
        resampling=resampling,
        # Without a value for "no data", all that lies beyond the image would be 0, a value like
        # others; the alpha band, the last one, tells it.
        add_alpha=source.nodata is None,
        nodata=source.nodata,
    ) as warped:
        counts = warped.read(list(numbers), masked=True)
        beyond = warped.read(warped.count) == 0 if source.nodata is None else None
    values = to_values(source, numbers, counts)
    if beyond is not None:
        values[:, beyond] = np.nan
    return values


def to_values(source: Any, numbers: Sequence[int], counts: Any) -> ArrayBHW:
    """Counts as values, masked ones as NaN.

    Args:
        source: Whose scales and offsets hold.
        numbers: Of the bands, from 1.
        counts: (bands, H, W), masked array.
    """
    scale = np.array([source.scales[number - 1] for number in numbers], np.float32)
    offset = np.array([source.offsets[number - 1] for number in numbers], np.float32)
    values = counts.astype(np.float32).filled(np.nan)
    return np.asarray(values * scale[:, None, None] + offset[:, None, None], np.float32)
