"""What each cell of a scan says, kept small, so that a place found later can be asked of it.

A scan's map of probabilities becomes a map of log likelihood ratios: these do not depend on the
prior that the scan was given, so runs with different priors can be compared and added up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile

from sluice.base.arrays import ArrayHW, FloatArray, IntArray, ObjectArray
from sluice.base.errors import AssetReadError, ConfigError, GridMismatch, ShapeMismatch
from sluice.sites.radar_evidence import drop_log_lr

_NODATA = -32768
_STEP = 0.01
_TAG, _PRIOR_TAG = "sluice_evidence", "sluice_prior"
# Largest float32 below 1: what a saturated probability can still be told from certainty by.
_MOST = 1 - 2.0**-24
_LEAST = 1e-30
_POINTS_AT_ONCE = 4_000_000


class Meaning(StrEnum):
    """What the numbers of an evidence map are."""

    LOG_LR = "log_lr"
    """Natural logarithm of the likelihood ratio mine : no mine."""
    DROP = "drop"
    """1 where the radar echo fell, 0 where it did not."""
    OBSERVED = "observed"
    """0: the model tells no likelihood, and it is only known what was seen."""


@dataclass(frozen=True)
class EvidenceMap:
    """A map as it was kept."""

    values_hw: ArrayHW
    """(H, W) float32 by `meaning`; NaN = not observed."""
    geobox: GeoBox
    meaning: Meaning
    prior: float | None
    """At which the probabilities stood; for the record."""


def write_evidence_map(probability_hw: ArrayHW, geobox: GeoBox, *, prior: float) -> bytes:
    """Keep calibrated probabilities as evidence.

    Args:
        probability_hw: (H, W) float32 blended probabilities of cells, NaN = not observed.
        geobox: Grid of the cells, north up.
        prior: The one at which the probabilities are expressed, 0 < prior < 1.

    Returns:
        A GeoTIFF: log likelihood ratios in int16 hundredths, which round by at most 0.005.

    Raises:
        ConfigError: The prior is no probability.
        GridMismatch: The grid is turned, or has no CRS.
        ShapeMismatch: Array and grid differ in shape.
    """
    if not 0 < prior < 1:
        raise ConfigError(f"the prior must lie between 0 and 1, got {prior:g}")
    likely = np.clip(probability_hw.astype(np.float64), _LEAST, _MOST)
    log_lr = np.log(likely) - np.log1p(-likely) - np.log(prior / (1 - prior))
    return _encode(log_lr, geobox, Meaning.LOG_LR, prior)


def write_drop_map(score_hw: ArrayHW, geobox: GeoBox, *, threshold: float = 0.5) -> bytes:
    """Keep where the radar echo fell, as `radar-drop` marks it.

    Args:
        score_hw: (H, W) scores of cells, NaN = not observed.
        geobox: Grid of the cells, north up.
        threshold: Least score of a drop.

    Returns:
        A GeoTIFF.

    Raises:
        GridMismatch: The grid is turned, or has no CRS.
        ShapeMismatch: Array and grid differ in shape.
    """
    fell = np.where(np.isfinite(score_hw), score_hw >= threshold, np.nan)
    return _encode(fell, geobox, Meaning.DROP, None)


def write_observed_map(score_hw: ArrayHW, geobox: GeoBox) -> bytes:
    """Keep what a model without calibration saw; its scores are no likelihoods.

    Args:
        score_hw: (H, W) scores of cells, NaN = not observed.
        geobox: Grid of the cells, north up.

    Returns:
        A GeoTIFF.

    Raises:
        GridMismatch: The grid is turned, or has no CRS.
        ShapeMismatch: Array and grid differ in shape.
    """
    seen = np.where(np.isfinite(score_hw), 0.0, np.nan)
    return _encode(seen, geobox, Meaning.OBSERVED, None)


def _encode(
    values_hw: npt.NDArray[np.floating[Any]], geobox: GeoBox, meaning: Meaning, prior: float | None
) -> bytes:
    if values_hw.shape != geobox.shape.yx:
        raise ShapeMismatch(f"cells of {values_hw.shape} on a grid of {tuple(geobox.shape.yx)}")
    _check_grid(geobox)
    steps = np.rint(np.clip(values_hw / _STEP, _NODATA + 1, -_NODATA - 1))
    counts = np.where(np.isfinite(steps), steps, _NODATA).astype(np.int16)
    height, width = counts.shape
    profile = {
        "driver": "GTiff",
        "height": height,
        "width": width,
        "count": 1,
        "dtype": "int16",
        "crs": str(geobox.crs),
        "transform": geobox.affine,
        "nodata": _NODATA,
        "compress": "deflate",
        "predictor": 2,
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
    }
    with MemoryFile() as memory:
        with memory.open(**profile) as file:
            file.write(counts, 1)
            file.scales = (_STEP,)
            tags = {_TAG: meaning.value}
            file.update_tags(**tags if prior is None else tags | {_PRIOR_TAG: repr(prior)})
        return bytes(memory.read())


def read_evidence_map(data: bytes) -> EvidenceMap:
    """Read what `write_evidence_map` and its like wrote.

    Raises:
        AssetReadError: It is no GeoTIFF, or none of these.
    """
    try:
        # One driver only: a VRT could read other files.
        with MemoryFile(data) as memory, memory.open(driver="GTiff") as file:
            tags = file.tags()
            if tags.get(_TAG) not in [*Meaning] or file.dtypes[0] != "int16":
                raise AssetReadError(
                    "an evidence map was expected, and this GeoTIFF is none (it does not say what "
                    f"its numbers mean in {_TAG}); land the run again"
                )
            counts = file.read(1)
            geobox = GeoBox(counts.shape, file.transform, file.crs.to_wkt())
    except RasterioError as err:
        first = (str(err).splitlines() or [type(err).__name__])[0]
        raise AssetReadError(
            f"an evidence map of {len(data)} bytes cannot be read ({first}); land the run again"
        ) from err
    values = np.where(counts == _NODATA, np.float32(np.nan), counts * np.float32(_STEP))
    prior = float(tags[_PRIOR_TAG]) if _PRIOR_TAG in tags else None
    return EvidenceMap(values.astype(np.float32, copy=False), geobox, Meaning(tags[_TAG]), prior)


def read_looks(evidence_map: bytes | EvidenceMap, places: gpd.GeoDataFrame) -> pd.DataFrame:
    """What a run saw of many places.

    A place's log likelihood ratio is the highest of its observed cells: that of the window which
    fits best over the mine, if there is one. The mean over its cells sinks with the ground around
    a mine that windows take in, and told mines from other places far worse (`docs/alerts.md`). Of a
    radar map it follows from the share of cells that fell (`sluice.sites.radar_evidence`).

    Args:
        evidence_map: As written, or read already.
        places: Polygons or points in any CRS; they may overlap.

    Returns:
        Index of `places`; `observed_share` of the place's cells, 0 beyond the grid; `log_lr`, NaN
        where nothing was observed or the model tells no likelihood.

    Raises:
        AssetReadError: See `read_evidence_map`.
        GridMismatch: The places have no CRS.
    """
    known = read_evidence_map(evidence_map) if isinstance(evidence_map, bytes) else evidence_map
    values, count = known.values_hw.ravel(), len(places)
    inside, observed = np.zeros(count, np.int64), np.zeros(count, np.int64)
    total, peak = np.zeros(count), np.full(count, -np.inf)
    for place, cell in cells_of_places(places.geometry, known.geobox):
        inside += np.bincount(place, minlength=count)
        found = np.where(cell >= 0, values[cell], np.nan).astype(np.float64)
        seen = np.isfinite(found)
        observed += np.bincount(place[seen], minlength=count)
        total += np.bincount(place[seen], weights=found[seen], minlength=count)
        np.maximum.at(peak, place[seen], found[seen])
    share = np.divide(observed, inside, out=np.zeros(count), where=inside > 0)
    log_lr = np.where(observed > 0, peak, np.nan)
    if known.meaning is Meaning.DROP:
        mean = np.divide(total, observed, out=np.full(count, np.nan), where=observed > 0)
        log_lr = drop_log_lr(mean)
    elif known.meaning is Meaning.OBSERVED:
        log_lr = np.full(count, np.nan)
    return pd.DataFrame({"observed_share": share, "log_lr": log_lr}, index=places.index)


def cells_of_places(places: gpd.GeoSeries, geobox: GeoBox) -> Iterator[tuple[IntArray, IntArray]]:
    """The cells of places: those whose centre lies inside, else the one that the place lies in.

    Args:
        places: Polygons or points in any CRS; empty ones, and those that do not meet the grid,
            have no cells.
        geobox: Grid of the cells, north up.

    Yields:
        Position of the place, and flat number of the cell, -1 where it lies beyond the grid; some
        million at a time, all cells of a place together.

    Raises:
        GridMismatch: The grid is turned, or it or the places have no CRS.
    """
    _check_grid(geobox)
    if places.crs is None:
        raise GridMismatch("the places have no CRS, so it is not known which cells are theirs")
    shapes = np.asarray(places.to_crs(str(geobox.crs)).array, dtype=object)
    chosen = _meeting(shapes, geobox)
    shapes = shapes[chosen]
    shapely.prepare(shapes)
    first, count = _candidate_boxes(shapes, geobox)
    ends = np.cumsum(np.maximum(count.prod(axis=1), 1))
    start = 0
    while start < len(shapes):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + _POINTS_AT_ONCE, "right")))
        part = slice(start, stop)
        place, row, col = _cells_inside(shapes[part], first[part], count[part], geobox)
        height, width = geobox.shape.yx
        within = (row >= 0) & (row < height) & (col >= 0) & (col < width)
        yield chosen[start + place], np.where(within, row * width + col, -1)
        start = stop


def _meeting(shapes: ObjectArray, geobox: GeoBox) -> IntArray:
    """Positions of the shapes whose boxes meet the grid's."""
    west, south, east, north = geobox.boundingbox.bbox
    # An empty shape has no box, and one far from the grid's zone may have an infinite one.
    bounds = shapely.bounds(shapes).reshape(-1, 4)
    meets = np.isfinite(bounds).all(axis=1)
    with np.errstate(invalid="ignore"):
        meets &= (bounds[:, 0] < east) & (bounds[:, 2] > west)
        meets &= (bounds[:, 1] < north) & (bounds[:, 3] > south)
    return np.flatnonzero(meets)


def _candidate_boxes(shapes: ObjectArray, geobox: GeoBox) -> tuple[IntArray, IntArray]:
    """First (row, column) whose centre lies in each shape's box, and how many there are."""
    a = geobox.affine
    bounds = shapely.bounds(shapes).reshape(-1, 4)
    # Rows count southwards: the box's north is their beginning.
    low = np.stack([(bounds[:, 3] - a.f) / a.e, (bounds[:, 0] - a.c) / a.a], axis=1) - 0.5
    high = np.stack([(bounds[:, 1] - a.f) / a.e, (bounds[:, 2] - a.c) / a.a], axis=1) - 0.5
    first = np.ceil(low).astype(np.int64)
    return first, np.maximum(np.floor(high).astype(np.int64) - first + 1, 0)


def _cells_inside(
    shapes: ObjectArray, first: IntArray, count: IntArray, geobox: GeoBox
) -> tuple[IntArray, IntArray, IntArray]:
    """Place, row and column of the cells of some places."""
    a = geobox.affine
    sizes = count.prod(axis=1)
    place = np.repeat(np.arange(len(shapes)), sizes)
    number = np.arange(len(place)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    row = first[place, 0] + number // np.maximum(count[place, 1], 1)
    col = first[place, 1] + number % np.maximum(count[place, 1], 1)
    x, y = a.c + a.a * (col + 0.5), a.f + a.e * (row + 0.5)
    inside = shapely.contains_xy(shapes[place], x, y)
    place, row, col = place[inside], row[inside], col[inside]
    small = np.flatnonzero(np.bincount(place, minlength=len(shapes)) == 0)
    points: FloatArray = shapely.get_coordinates(shapely.point_on_surface(shapes[small]))
    own_row = np.floor((points[:, 1] - a.f) / a.e).astype(np.int64)
    own_col = np.floor((points[:, 0] - a.c) / a.a).astype(np.int64)
    return (
        np.concatenate([place, small]),
        np.concatenate([row, own_row]),
        np.concatenate([col, own_col]),
    )


def _check_grid(geobox: GeoBox) -> None:
    a = geobox.affine
    if geobox.crs is None or a.b or a.d or a.a <= 0 or a.e >= 0:
        raise GridMismatch(
            f"an evidence map needs a grid that is north up and has a CRS, got {geobox.crs} with "
            f"{tuple(a)[:6]}; keep the grid of the scan"
        )
