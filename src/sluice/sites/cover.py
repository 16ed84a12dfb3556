"""Forest, farmland, water and bare ground told from four bands, and what a mine took of them.

A simple rule, the same for every place and period, so that before and after compare. How well it
tells them apart is measured in docs/context.md: water and bare ground well, closed forest from
other plants only as far as canopy is darker in the short-wave infrared, and a green tree crop not
at all from forest.
"""

from __future__ import annotations

from enum import IntEnum

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio.features
from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry

from sluice.base.arrays import ArrayHW, FloatArray
from sluice.base.classes import NOT_OBSERVED, ClassesHW
from sluice.base.errors import ShapeMismatch
from sluice.base.grid import PixelWindow
from sluice.sites.area import geodesic_areas_ha


class Cover(IntEnum):
    """What covers the ground; 255, `NOT_OBSERVED`, where nothing was seen."""

    FOREST = 0
    """Closed canopy of trees, old regrowth and tree crops included."""
    FARMLAND = 1
    """Any other ground under plants: fields, pasture, shrubs, grass."""
    WATER = 2
    BARE = 3


COLUMNS = tuple(f"{cover.name.lower()}_ha" for cover in Cover)
"""`forest_ha`, `farmland_ha`, `water_ha`, `bare_ha`: as in `Look`."""
LOST_COLUMNS = ("forest_lost_ha", "farmland_lost_ha", "water_lost_ha")
"""Likewise."""

GREEN_NDVI = 0.3
"""Below it less than about a third of the ground bears green plants."""
CANOPY_NDVI = 0.7
CANOPY_SWIR16 = 0.2
"""Closed canopy shades itself and holds water, so it stays below this reflectance."""
MUDDY_WATER_SWIR16 = 0.04
"""Water, however muddy, takes nearly all light of 1.6 um; hardly any dry ground does."""


def classify_cover(green: ArrayHW, red: ArrayHW, nir: ArrayHW, swir16: ArrayHW) -> ClassesHW:
    """Name what covers each pixel.

    In this order: water where MNDWI > 0 and either NDWI > 0 or swir16 < `MUDDY_WATER_SWIR16`;
    bare below an NDVI of `GREEN_NDVI`; forest from an NDVI of `CANOPY_NDVI` on where swir16 is
    below `CANOPY_SWIR16`; else farmland.

    Args:
        green: Surface reflectance, (H, W), unitless 0-1, NaN = not observed.
        red: Likewise.
        nir: Likewise.
        swir16: Likewise.

    Returns:
        (H, W) `Cover`; `NOT_OBSERVED` where a band is NaN.

    Raises:
        ShapeMismatch: The bands differ in shape.

    Source:
        Water: McFeeters 1996, doi:10.1080/01431169608948714; Xu 2006,
        doi:10.1080/01431160600589179. Forest as dark in red and short-wave infrared: Huang et al.
        2010, doi:10.1016/j.rse.2009.08.017. NDVI: Tucker 1979, doi:10.1016/0034-4257(79)90013-0.
        The thresholds are ours, set on the spectra of the phantom's ground.
    """
    if len({green.shape, red.shape, nir.shape, swir16.shape}) > 1:
        raise ShapeMismatch(
            f"bands of {green.shape}, {red.shape}, {nir.shape} and {swir16.shape}; give one grid"
        )
    # Differences and sums instead of ratios: nothing is divided by 0.
    seen = np.isfinite(green) & np.isfinite(red) & np.isfinite(nir) & np.isfinite(swir16)
    water = (green > swir16) & ((green > nir) | (swir16 < MUDDY_WATER_SWIR16))
    total, difference = nir + red, nir - red
    bare = difference < GREEN_NDVI * total
    forest = (difference >= CANOPY_NDVI * total) & (swir16 < CANOPY_SWIR16)
    classes = np.select(
        [~seen, water, bare, forest],
        [NOT_OBSERVED, Cover.WATER.value, Cover.BARE.value, Cover.FOREST.value],
        Cover.FARMLAND.value,
    )
    return classes.astype(np.uint8)


def cover_hectares(
    classes: ClassesHW, geobox: GeoBox, places: gpd.GeoDataFrame | gpd.GeoSeries
) -> pd.DataFrame:
    """Hectares of each cover within places.

    Pixels whose centre lies in a place share its geodesic area; a place smaller than a pixel takes
    those that it touches.

    Args:
        classes: (H, W) from `classify_cover`.
        geobox: Its grid, north up.
        places: In any CRS.

    Returns:
        `COLUMNS` and `cover_observed_share` (of the place, 0-1) on the index of `places`. What was
        not observed is in no column: hectares of a place that was half hidden add up to half of
        it. NaN in all but the share where nothing was observed.

    Raises:
        ShapeMismatch: Classes and grid differ in shape.
    """
    _check_grid(classes, geobox)
    counts, pixels, hectares = _count(classes, geobox, places, len(Cover))
    seen = counts.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        table = counts * (hectares / pixels)[:, None]
        share = np.where(pixels > 0, seen / pixels, 0.0)
    table[seen == 0] = np.nan
    found = pd.DataFrame(table, columns=list(COLUMNS), index=places.index)
    found["cover_observed_share"] = share
    return found


def cover_loss(
    before: ClassesHW, after: ClassesHW, geobox: GeoBox, places: gpd.GeoDataFrame | gpd.GeoSeries
) -> pd.DataFrame:
    """What places lost and gained, pixel by pixel.

    Args:
        before: (H, W) from `classify_cover`.
        after: Likewise, on the same grid.
        geobox: The grid, north up.
        places: In any CRS.

    Returns:
        On the index of `places`: `forest_lost_ha` (forest before, anything else now),
        `farmland_lost_ha` (bare or water now), `water_lost_ha` (anything else now),
        `water_gained_ha` and `bare_gained_ha` (from anything else), and `compared_share`: of the
        place, seen both times; only there anything can be lost. NaN in all but the share where
        that is 0.

    Raises:
        ShapeMismatch: The maps differ in shape from the grid.
    """
    _check_grid(before, geobox)
    _check_grid(after, geobox)
    both = (before != NOT_OBSERVED) & (after != NOT_OBSERVED)
    pairs = np.where(both, before * len(Cover) + after, NOT_OBSERVED).astype(np.uint8)
    counts, pixels, hectares = _count(pairs, geobox, places, len(Cover) ** 2)
    change = counts.reshape(-1, len(Cover), len(Cover))
    forest, farmland, water, bare = (cover.value for cover in Cover)
    moved = {
        "forest_lost_ha": change[:, forest].sum(axis=1) - change[:, forest, forest],
        "farmland_lost_ha": change[:, farmland, water] + change[:, farmland, bare],
        "water_lost_ha": change[:, water].sum(axis=1) - change[:, water, water],
        "water_gained_ha": change[:, :, water].sum(axis=1) - change[:, water, water],
        "bare_gained_ha": change[:, :, bare].sum(axis=1) - change[:, bare, bare],
    }
    compared = counts.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        per_pixel = np.where(compared > 0, hectares / pixels, np.nan)
        share = np.where(pixels > 0, compared / pixels, 0.0)
    found = pd.DataFrame(
        {name: count * per_pixel for name, count in moved.items()}, index=places.index
    )
    found["compared_share"] = share
    return found


def _count(
    classes: ClassesHW, geobox: GeoBox, places: gpd.GeoDataFrame | gpd.GeoSeries, most: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Pixels of each class in each place, all its pixels (off the grid too), and its hectares."""
    shapes = places.geometry.to_crs(str(geobox.crs))
    pixel_m2 = abs(geobox.affine.a * geobox.affine.e)
    counts, pixels = np.zeros((len(shapes), most)), np.zeros(len(shapes))
    for row, shape in enumerate(shapes):
        if shape is None or shape.is_empty or shape.area == 0:
            continue
        inside = _pixels_in(shape, classes, geobox)
        counts[row] = np.bincount(inside, minlength=256)[:most]
        # Beyond the grid nothing was observed; the place reaches there all the same.
        pixels[row] = max(len(inside), shape.area / pixel_m2 if _leaves(shape, geobox) else 0)
    there = [row for row, shape in enumerate(shapes) if shape is not None]
    hectares = np.zeros(len(shapes))
    hectares[there] = geodesic_areas_ha([shapes.iloc[row] for row in there], str(geobox.crs))
    return counts, pixels, hectares


def _pixels_in(shape: BaseGeometry, classes: ClassesHW, geobox: GeoBox) -> ClassesHW:
    a, (height, width) = geobox.affine, geobox.shape.yx
    xmin, ymin, xmax, ymax = shape.bounds
    top, bottom = int(max(0, (ymax - a.f) // a.e)), int(min(height, (ymin - a.f) // a.e + 1))
    left, right = int(max(0, (xmin - a.c) // a.a)), int(min(width, (xmax - a.c) // a.a + 1))
    if top >= bottom or left >= right:
        return np.empty(0, np.uint8)
    window = PixelWindow(top, left, bottom - top, right - left)
    grid, part = window.of(geobox), classes[window.slices]
    for touched in (False, True):
        inside = rasterio.features.geometry_mask(
            [shape], part.shape, grid.affine, invert=True, all_touched=touched
        )
        if inside.any():
            break
    return np.asarray(part[inside])


def _leaves(shape: BaseGeometry, geobox: GeoBox) -> bool:
    box = geobox.boundingbox
    xmin, ymin, xmax, ymax = shape.bounds
    return bool(xmin < box.left or ymin < box.bottom or xmax > box.right or ymax > box.top)


def _check_grid(classes: ClassesHW, geobox: GeoBox) -> None:
    if classes.shape != geobox.shape.yx:
        raise ShapeMismatch(f"classes of {classes.shape} on a grid of {tuple(geobox.shape.yx)}")
