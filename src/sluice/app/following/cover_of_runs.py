"""Forest, farmland, water and bare ground at sites, and what was lost, in runs' own images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.windows import Window

from sluice.app.products import layout
from sluice.app.products.shown_pixels import read_onto
from sluice.base.classes import ClassesHW
from sluice.base.errors import SourceError
from sluice.base.files import open_raster
from sluice.base.grid import PixelWindow
from sluice.base.places import LandedRun
from sluice.sites.cover import (
    COLUMNS,
    LOST_COLUMNS,
    classify_cover,
    cover_hectares,
    cover_loss,
)

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

    def tell(image: Any, window: Window, part: GeoBox, places: gpd.GeoSeries) -> pd.DataFrame:
        return cover_hectares(_classes_within(image, window), part, places)

    try:
        with open_raster(path) as image:
            if not _tells_cover(image):
                return None
            table = _by_blocks(image, sites, [*COLUMNS, "cover_observed_share"], tell)
    except (RasterioError, SourceError):
        # A damaged image costs the cover, not the landing.
        return None
    return _of_whole_sites(table, "cover_observed_share", sites)


def cover_lost(before: LandedRun, after: LandedRun, sites: gpd.GeoDataFrame) -> pd.DataFrame | None:
    """Hectares of forest, farmland and water that sites lost between two runs, pixel by pixel.

    Args:
        before: The earlier run.
        after: The later one, on whose grid both are told; where the earlier image has another, the
            nearest of its pixels counts.
        sites: `site_id` and `geometry`.

    Returns:
        By `site_id`, `LOST_COLUMNS`, see `cover_loss`; what was hidden is taken to be like the
        rest. NaN where less than nine tenths of a site were seen both times. None where an image
        is gone, damaged, or lacks a band.
    """
    paths = image_of(before), image_of(after)
    if paths[0] is None or paths[1] is None or sites.empty:
        return None
    try:
        with open_raster(paths[0]) as earlier, open_raster(paths[1]) as later:
            if not (_tells_cover(earlier) and _tells_cover(later)):
                return None

            def tell(
                image: Any, window: Window, part: GeoBox, places: gpd.GeoSeries
            ) -> pd.DataFrame:
                now, then = _classes_within(image, window), _classes_on(earlier, part)
                return cover_loss(then, now, part, places)

            table = _by_blocks(later, sites, [*LOST_COLUMNS, "compared_share"], tell)
    except (RasterioError, SourceError):
        return None
    return _of_whole_sites(table, "compared_share", sites)


def _tells_cover(image: Any) -> bool:
    return set(BANDS) <= set(image.descriptions)


def _of_whole_sites(table: pd.DataFrame, share: str, sites: gpd.GeoDataFrame) -> pd.DataFrame:
    """By `site_id`, hectares of the whole of those sites of which enough was seen."""
    seen = table.pop(share)
    told = table.div(seen, axis=0).where(seen.ge(_LEAST_SEEN), np.nan)
    return told.set_index(sites["site_id"].to_numpy())


def _numbers_of_bands(image: Any) -> list[int]:
    return [image.descriptions.index(band) + 1 for band in BANDS]


def _classes_within(image: Any, window: Window) -> ClassesHW:
    counts = image.read(_numbers_of_bands(image), window=window)
    values = counts.astype(np.float32) * np.float32(image.scales[0])
    values[counts == image.nodata] = np.nan
    return classify_cover(*values)


def _classes_on(image: Any, grid: GeoBox) -> ClassesHW:
    """Of an image that may have another grid; each pixel takes the nearest of its own."""
    values = read_onto(image, _numbers_of_bands(image), grid, Resampling.nearest)
    return classify_cover(*values)


def _by_blocks(
    image: Any,
    sites: gpd.GeoDataFrame,
    columns: list[str],
    tell: Callable[[Any, Window, GeoBox, gpd.GeoSeries], pd.DataFrame],
) -> pd.DataFrame:
    """Added up over parts of the image, of which only those with sites are read."""
    table = pd.DataFrame(0.0, index=sites.index, columns=columns)
    whole = GeoBox(image.shape, image.transform, str(image.crs))
    shapes = sites.geometry.to_crs(str(whole.crs))
    for row in range(0, whole.shape.y, _BLOCK_PX):
        for col in range(0, whole.shape.x, _BLOCK_PX):
            height = min(_BLOCK_PX, whole.shape.y - row)
            width = min(_BLOCK_PX, whole.shape.x - col)
            part = PixelWindow(row, col, height, width).of(whole)
            here = shapely.intersects(shapes.to_numpy(), shapely.box(*part.boundingbox.bbox))
            if not here.any():
                continue
            found = tell(image, Window(col, row, width, height), part, shapes[here])
            table.loc[here, columns] += found[columns].fillna(0.0)
    return table
