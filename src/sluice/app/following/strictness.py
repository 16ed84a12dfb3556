"""`--strict`: what the layers and the green of the period take away from a scan's detections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError
from rasterio.windows import Window

from sluice.app.outlining import grids_around
from sluice.app.planning import ScanPlan
from sluice.base.arrays import ArrayHW
from sluice.base.errors import AssetReadError
from sluice.base.files import open_raster
from sluice.base.periods import Period
from sluice.composite.indices import ndvi
from sluice.sites.context import ContextLayer
from sluice.sites.strict import Removed, cut_green, cut_layers, removal_text

LayersAround = Callable[[gpd.GeoDataFrame], Sequence[ContextLayer]]
"""Gives the registered layers with the features that matter to some places."""

NDVI_BANDS = ("red", "nir")
"""Of the kept image, for NDVI."""


@dataclass(frozen=True)
class StrictResult:
    """What is left, and what went."""

    detections: gpd.GeoDataFrame
    told: tuple[str, ...]
    """In words, for the record and the person."""


def cut_strictly(
    plan: ScanPlan,
    detections: gpd.GeoDataFrame,
    layers_around: LayersAround,
    image: Path,
    period: Period,
) -> StrictResult:
    """Cut settlements, roads, valid concessions, expert masks and green ground from detections.

    Args:
        plan: The scan's.
        detections: From `vectorise`.
        layers_around: Of the store.
        image: The kept composite, with `NDVI_BANDS`.
        period: In which concessions are valid.

    Raises:
        AssetReadError: The image cannot be read.
    """
    least = plan.config.min_footprint_ha
    cut = cut_layers(detections, layers_around(detections), period, min_footprint_ha=least)
    told = [*removal_text(cut.removed).splitlines(), *cut.notes]
    left = cut.detections
    removed: list[Removed] = []
    for grid, members in grids_around(plan.geobox, left, 0.0, plan.manifest.gsd_m):
        here = left["detection_id"].isin(members)
        green = cut_green(left[here], _read_ndvi(image, grid), grid, min_footprint_ha=least)
        # One on the border of two parts loses ground in both.
        left = pd.concat([left[~here], green.detections]).sort_index()
        removed += green.removed
    if removed:
        told += removal_text(_sum(removed)).splitlines()
    return StrictResult(left.reset_index(drop=True), tuple(told))


def _read_ndvi(image: Path, grid: GeoBox) -> ArrayHW:
    """NDVI on a part of the image's own grid, NaN beyond it."""
    try:
        with open_raster(image) as raster:
            row, col = raster.index(grid.affine.c + 1, grid.affine.f - 1)
            counts = raster.read(
                [raster.descriptions.index(band) + 1 for band in NDVI_BANDS],
                window=Window(col, row, grid.shape.x, grid.shape.y),
                boundless=True,
                fill_value=raster.nodata,
            )
            values = counts.astype(np.float32) * np.float32(raster.scales[0])
            values[counts == raster.nodata] = np.nan
    except (RasterioError, ValueError) as err:
        raise AssetReadError(
            f"{image}: the green of the period cannot be read from it ({err})", href=str(image)
        ) from err
    return ndvi(*values)


def _sum(removed: Sequence[Removed]) -> list[Removed]:
    """One for each rule."""
    by = dict.fromkeys(one.by for one in removed)
    return [
        Removed(
            name,
            sum(one.hectares for one in removed if one.by == name),
            sum(one.touched for one in removed if one.by == name),
            sum(one.dropped for one in removed if one.by == name),
        )
        for name in by
    ]
