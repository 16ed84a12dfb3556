"""Forest, farmland, water and bare ground at sites, in the images that runs left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError
from rasterio.windows import Window

from sluice.app.products import layout
from sluice.base.errors import SourceError
from sluice.base.files import open_raster
from sluice.base.grid import PixelWindow
from sluice.base.places import LandedRun
from sluice.sites.cover import COLUMNS, classify_cover, cover_hectares

BANDS = ("green", "red", "nir", "swir16")
"""Of a kept image, for its cover to be told."""
_BLOCK_PX = 2048
_LEAST_SEEN = 0.9
"""Share of a site that must be seen for its cover to be told: the same ground is compared."""


def image_of(run: LandedRun) -> Path | None:
    """The image that a run left, if it is still there and still its own."""
    if run.folder is None:
        return None
    path = Path(run.folder) / layout.COMPOSITE
    return path if path.is_file() and is_result_of(path.parent, run.run_id) else None


def is_result_of(folder: Path, run_id: str) -> bool:
    """Whether a folder holds the result of this run, and not of a later one."""
    try:
        return bool(json.loads((folder / layout.RUN).read_bytes()).get("run_id") == run_id)
    except (OSError, ValueError, AttributeError):
        return False


def cover_of_run(run: LandedRun, sites: gpd.GeoDataFrame) -> pd.DataFrame | None:
    """Hectares of each cover within sites.

    Args:
        run: Whose image is looked at.
        sites: `site_id` and `geometry`.

    Returns:
        By `site_id`, the columns of `cover_hectares`, which add up to the outline: what is hidden
        is taken to be covered like the rest. NaN where less than nine tenths of a site were seen.
        None where the image is gone, damaged, or lacks a band.
    """
    path = image_of(run)
    if path is None or sites.empty:
        return None
    try:
        with open_raster(path) as raster:
            if not set(BANDS) <= set(raster.descriptions):
                return None
            table = _by_blocks(raster, sites)
    except (RasterioError, SourceError):
        # A damaged image costs the cover, not the landing.
        return None
    seen = table.pop("cover_observed_share")
    told = table.div(seen, axis=0).where(seen.ge(_LEAST_SEEN), np.nan)
    return told.set_index(sites["site_id"].to_numpy())


def _by_blocks(raster: Any, sites: gpd.GeoDataFrame) -> pd.DataFrame:
    """Added up over parts of the image, of which only those with sites are read."""
    names = [*COLUMNS, "cover_observed_share"]
    table = pd.DataFrame(0.0, index=sites.index, columns=names)
    whole = GeoBox(raster.shape, raster.transform, str(raster.crs))
    bands = [raster.descriptions.index(band) + 1 for band in BANDS]
    shapes = sites.geometry.to_crs(str(whole.crs))
    for row in range(0, whole.shape.y, _BLOCK_PX):
        for col in range(0, whole.shape.x, _BLOCK_PX):
            height = min(_BLOCK_PX, whole.shape.y - row)
            width = min(_BLOCK_PX, whole.shape.x - col)
            part = PixelWindow(row, col, height, width).of(whole)
            here = shapely.intersects(shapes.to_numpy(), shapely.box(*part.boundingbox.bbox))
            if not here.any():
                continue
            window = Window(col, row, width, height)
            counts = raster.read(bands, window=window)
            values = counts.astype(np.float32) * np.float32(raster.scales[0])
            values[counts == raster.nodata] = np.nan
            found = cover_hectares(classify_cover(*values), part, shapes[here])
            table.loc[here, names] += found[names].fillna(0.0)
    return table
