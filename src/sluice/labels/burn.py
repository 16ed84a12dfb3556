"""Polygons to masks."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox
from rasterio import features

from sluice.base.errors import DataError


def rasterise(
    polygons: gpd.GeoDataFrame, geobox: GeoBox, classes: tuple[str, ...]
) -> npt.NDArray[np.uint8]:
    """Burn polygons into a mask: a pixel belongs to the polygon that holds its centre.

    Args:
        polygons: In EPSG:4326, with the column `class`; later rows lie on top.
        geobox: Grid of the mask.
        classes: Names of the values 0, 1, …; 0 where no polygon lies.

    Returns:
        (H, W) uint8.

    Raises:
        DataError: A class without a name.
    """
    values = {name: value for value, name in enumerate(classes)}
    unknown = sorted(set(polygons["class"]) - set(values))
    if unknown:
        raise DataError(
            f"class {unknown[0]!r} of a polygon is none of {', '.join(classes)}; name it"
        )
    mask: npt.NDArray[np.uint8] = np.zeros(geobox.shape.yx, np.uint8)
    if len(polygons):
        ground = polygons.geometry.to_crs(str(geobox.crs))
        features.rasterize(
            zip(ground, polygons["class"].map(values), strict=True),
            out=mask,
            transform=geobox.affine,
        )
    return mask
