"""The ground that a mine has disturbed, outlined within and around a detection's footprint.

A footprint is made of the squares that a model judged, hundreds of metres wide: it overstates most
mines and cuts off others. Where the pixels have been judged as well, the workings can be told.
"""

from __future__ import annotations

import geopandas as gpd
import numpy as np
from odc.geo.geobox import GeoBox
from scipy import ndimage
from shapely.geometry import MultiPolygon

from sluice.base.arrays import ArrayHW, BoolHW
from sluice.base.errors import GridMismatch, ShapeMismatch
from sluice.base.grid import is_metric_north_up
from sluice.sites.area import geodesic_areas_ha
from sluice.sites.outlines import NumbersHW, burn_numbers, outline_numbers

_TOUCHING = np.ones((3, 3), dtype=bool)


def outline_workings(
    scores: ArrayHW,
    geobox: GeoBox,
    footprints: gpd.GeoDataFrame,
    *,
    threshold: float,
    reach_m: float,
) -> gpd.GeoDataFrame:
    """Outline the workings of some detections.

    Workings are pixels at or above the threshold, in groups that touch a footprint, up to a
    distance from it: half of the squares that were judged, as what made a square a mine may lie
    anywhere in it. A pixel belongs to the nearest footprint, so that nothing counts twice.

    Args:
        scores: (H, W) of pixels, NaN = not observed.
        geobox: Their grid, in UTM.
        footprints: With the column `detection_id`, in any CRS; those beyond the grid have none.
        threshold: Least score of a working.
        reach_m: How far outside a footprint its workings may lie.

    Returns:
        A row for each footprint of which a pixel lies on the grid: `detection_id`,
        `delineated_ha` (geodesic; 0 where no pixel reaches the threshold), `pixels` (of the
        footprint on the grid), `observed` (how many of them were), and a valid multipolygon in
        the grid's CRS, empty where there are no workings.

    Raises:
        GridMismatch: The grid is not in UTM.
        ShapeMismatch: Scores and grid differ in shape.
    """
    if not is_metric_north_up(geobox):
        raise GridMismatch(f"outlines need a UTM grid, got {geobox.crs}")
    if scores.shape != geobox.shape.yx:
        raise ShapeMismatch(f"scores of {scores.shape} on a grid of {tuple(geobox.shape.yx)}")
    inside = burn_numbers(footprints.geometry, geobox)
    pixels = np.bincount(inside.ravel(), minlength=len(footprints) + 1)[1:]
    observed = np.bincount(inside[np.isfinite(scores)], minlength=len(footprints) + 1)[1:]
    owner = _owners(inside, reach_m / abs(geobox.affine.a))
    # A comparison with NaN is False: what was not observed is no working.
    worked = (scores >= threshold) & (owner > 0)
    owner[~_touching(worked, inside > 0)] = 0
    outlines = outline_numbers(owner, geobox)
    numbers = np.flatnonzero(pixels > 0)
    shapes = [outlines.get(int(number) + 1, MultiPolygon()) for number in numbers]
    crs = str(geobox.crs)
    return gpd.GeoDataFrame(
        {
            "detection_id": footprints["detection_id"].to_numpy()[numbers],
            "delineated_ha": geodesic_areas_ha(shapes, crs),
            "pixels": pixels[numbers],
            "observed": observed[numbers],
        },
        geometry=gpd.GeoSeries(shapes, crs=crs),
    )


def _owners(inside: NumbersHW, reach_px: float) -> NumbersHW:
    """(H, W) number of the nearest footprint within reach, 0 where there is none."""
    if not inside.any():
        return inside.copy()
    distance, (row, col) = ndimage.distance_transform_edt(inside == 0, return_indices=True)
    owner: NumbersHW = np.where(distance <= reach_px, inside[row, col], 0)
    return owner


def _touching(worked: BoolHW, inside: BoolHW) -> BoolHW:
    """The worked pixels of groups of which one lies in a footprint."""
    groups, _ = ndimage.label(worked, structure=_TOUCHING)
    kept = np.unique(groups[worked & inside])
    return np.isin(groups, kept[kept > 0])
