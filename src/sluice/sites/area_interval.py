"""How far the true area of a mine may be from the one that was outlined.

Two errors are joined: outlines go along pixels, and a model takes more or less ground for workings
than was worked. The second one was measured where the truth is known; see `MEASURED`.
"""

from __future__ import annotations

from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyproj
import shapely

from sluice.base.arrays import FloatArray
from sluice.base.errors import ConfigError, GridMismatch, ShapeMismatch

_WGS84 = pyproj.Geod(ellps="WGS84")
_SHARE = 0.8


@dataclass(frozen=True)
class AreaRatio:
    """True over delineated area of mines that were found."""

    low: float
    """A tenth of them have less than this."""
    high: float
    """A tenth have more."""
    mines: int
    """How many groups of workings it was measured on."""

    def __post_init__(self) -> None:
        if not 0 <= self.low <= 1 <= self.high:
            raise ConfigError(
                f"a ratio from {self.low} to {self.high} does not hold 1; measure it anew"
            )


MEASURED = AreaRatio(low=0.307, high=1.480, mines=71)
"""Of the model `workings` on sites of the model `default`, on phantom landscapes that neither was
tuned on; of the `default` before the present one, which gave 0.309 and 1.505: no difference that
so few mines could tell. `python -m proof --only area-ratio` measures it anew, and on others how
often it holds; docs/history.md tells how it does on real mines."""

OUTLINE_NOISE = 1.29
"""Two outlines of a mine, a quarter apart: their areas change by up to this factor more than the
mine did, in 9 of 10 cases. The larger of two measurements of fewer than 30 mines each: 1.29 with
the `default` before the present one, 1.18 with it."""
FOOTPRINT_NOISE = 1.58
"""Likewise, of footprints: 1.58 and 1.32."""


def area_intervals(
    delineated_ha: npt.ArrayLike,
    perimeter_m: npt.ArrayLike,
    footprint_ha: npt.ArrayLike,
    observed_share: npt.ArrayLike,
    *,
    pixel_m: float = 10.0,
    ratio: AreaRatio = MEASURED,
) -> pd.DataFrame:
    """The 80 % interval of each site's area, given that it is a mine.

    Half a pixel along the whole outline is the most that pixels can shift it, either way alike; the
    share of 80 % of it and the interval of the ratio are joined as independent errors. Where part
    of a footprint was hidden, all of that part may be worked: it is added to the upper end. Where
    nothing was outlined, the whole footprint is the upper end.

    Args:
        delineated_ha: (sites,) geodesic area of the workings, NaN where none could be outlined.
        perimeter_m: (sites,) length of their outlines, from `perimeters_m`.
        footprint_ha: (sites,) geodesic area of the detections.
        observed_share: (sites,) part of the site that was observed, 0-1.
        pixel_m: Side of a pixel that was judged, in metres.
        ratio: What was measured of the model that outlined.

    Returns:
        Columns `area_low_ha`, `area_high_ha`; NaN where only the footprint is known, as it
        overstates: such an area is at most that.

    Raises:
        ShapeMismatch: The arguments differ in length.
    """
    area, perimeter, footprint, observed = (
        np.asarray(values, dtype=float)
        for values in (delineated_ha, perimeter_m, footprint_ha, observed_share)
    )
    sizes = [len(values) for values in (area, perimeter, footprint, observed)]
    if len(set(sizes)) > 1:
        raise ShapeMismatch(f"areas, perimeters, footprints and shares of {sizes} sites")
    pixels = _SHARE * perimeter * pixel_m / 2 / 10_000
    low = np.maximum(area - np.hypot(area * (1 - ratio.low), pixels), 0)
    hidden = (1 - observed) * footprint
    high = area + np.hypot(area * (ratio.high - 1), pixels) + hidden
    high = np.where(area > 0, high, np.where(area == 0, footprint, np.nan))
    return pd.DataFrame({"area_low_ha": low, "area_high_ha": high})


def perimeters_m(outlines: gpd.GeoSeries) -> FloatArray:
    """Lengths of outlines on the ellipsoid, holes included.

    Args:
        outlines: Polygons and multipolygons in EPSG:4326; None has no length.

    Returns:
        (outlines,) metres. Along pixels an outline is up to 27 % longer than a smooth one.

    Raises:
        GridMismatch: Not in EPSG:4326.
    """
    if outlines.crs is None or outlines.crs.to_epsg() != 4326:
        raise GridMismatch(f"the outlines are in {outlines.crs}; bring them to EPSG:4326")
    parts, owner = shapely.get_parts(outlines.to_numpy(), return_index=True)
    rings, part = shapely.get_rings(parts, return_index=True)
    lonlat, ring = shapely.get_coordinates(rings, return_index=True)
    same = ring[1:] == ring[:-1]
    start, end = lonlat[:-1][same], lonlat[1:][same]
    length = np.zeros(0)
    if len(start):
        length = np.asarray(_WGS84.inv(*start.T, *end.T)[2])
    lengths = np.bincount(owner[part[ring[1:][same]]], weights=length, minlength=len(outlines))
    return np.asarray(lengths, dtype=np.float64)
