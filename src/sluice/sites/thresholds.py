"""Which scores make a detection: one threshold in a crowd, a higher one for the lonely.

Mining comes in clusters, false alarms come alone. So a window that scores at least `t_main` is
kept if others are kept near it, and must reach `t_iso` if they are not. Counting neighbours only
means something on a lattice whose spacing does not change with the stride: at 80 m a lone pond
lights dozens of overlapping windows. It is done on half-window steps, whatever the stride.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox
from scipy import ndimage
from scipy.spatial import cKDTree

from sluice.base.arrays import ArrayHW, FloatArray, IntArray
from sluice.base.errors import GridMismatch
from sluice.base.grid import is_metric_north_up
from sluice.base.windows import ScoredWindows

BoolArray = npt.NDArray[np.bool_]


class DualThreshold(Protocol):
    """The rule's four numbers; a model's manifest has them."""

    @property
    def t_main(self) -> float:
        """Least score of a window that has company."""
        ...

    @property
    def t_iso(self) -> float:
        """Least score of a window that has none."""
        ...

    @property
    def k(self) -> int:
        """Which neighbour is looked at."""
        ...

    @property
    def isolation_distance_m(self) -> float:
        """How far it may be."""
        ...


def is_isolated(points_m: FloatArray, k: int, distance_m: float) -> BoolArray:
    """Whether the k-th nearest other point is farther than a distance, or does not exist.

    Args:
        points_m: (n, 2) coordinates in metres.
        k: 1 is the nearest other point.
        distance_m: A neighbour at exactly this distance is company.

    Returns:
        (n,) True where the point is isolated.

    Source:
        Amazon Mining Watch, earthrise-media/mining-detector: k = 5, 3 km.
    """
    if len(points_m) <= k:
        return np.ones(len(points_m), dtype=bool)
    # The point itself is at distance 0: among k + 1 points, the farthest is the k-th other.
    farthest, _ = cKDTree(points_m).query(points_m, k=[k + 1])
    return np.asarray(farthest[:, 0] > distance_m)


def half_window_lattice(windows: ScoredWindows) -> tuple[IntArray, IntArray]:
    """Rows and columns of the windows that stand for the others when neighbours are counted.

    They are those whose first pixel is a multiple of half a window (of the next multiple of the
    stride, where half a window is none): a stride of 8 px and one of 24 px give the same windows.
    The flush windows at the far edges are not among them.

    Returns:
        Indices into the lattice's rows and into its columns.
    """
    lattice = windows.lattice
    half = -(-lattice.window_px // 2)
    step = -(-half // lattice.stride_px) * lattice.stride_px
    return np.flatnonzero(lattice.rows % step == 0), np.flatnonzero(lattice.cols % step == 0)


def kept_points(
    windows: ScoredWindows, rule: DualThreshold
) -> tuple[FloatArray, ArrayHW, BoolArray]:
    """The windows of the half-window lattice that score at least `t_main`.

    Returns:
        Centres (n, 2) as x, y in metres; scores (n,) float32; isolated (n,). By the rule for
        single windows, those are detections where ``~isolated | (score >= t_iso)``.

    Raises:
        GridMismatch: The grid is not in metres, north up.
    """
    if not is_metric_north_up(windows.geobox):
        raise GridMismatch(
            f"distances need a UTM grid, the scan's is in {windows.geobox.crs}; scan on a UTM grid"
        )
    rows, cols = half_window_lattice(windows)
    scores = windows.scores[np.ix_(rows, cols)]
    # A comparison with NaN is False: what was not observed is not kept.
    row, col = np.nonzero(scores >= rule.t_main)
    points = np.stack([windows.x[cols[col]], windows.y[rows[row]]], axis=1)
    return points, scores[row, col], is_isolated(points, rule.k, rule.isolation_distance_m)


def isolated_components(
    labels: npt.NDArray[np.int32],
    geobox: GeoBox,
    windows: ScoredWindows,
    rule: DualThreshold,
) -> BoolArray:
    """Whether each group of cells stands alone.

    At a fine stride a detection is a group of touching cells, and its company is told from the
    half-window lattice (`kept_points`). A group has company if a kept point that is not isolated
    lies within half a window of one of its cells, centre to centre along each axis. Otherwise it
    is isolated: all kept points near it are, or there is none because the group lies between the
    lattice's points, or at the far edge beyond its last one.

    So one point with company is enough for the whole group; and at a stride of half a window,
    where cells and lattice points are the same, each point belongs to the group of its own cell.
    Points outside an area of interest count as company, though no detection is made of them.

    Args:
        labels: (rows, columns) of cells, 0 = none, else the number of the group.
        geobox: Grid of the cells: a stride wide, a cell centred on each regular window.
        windows: Raw scores.
        rule: Thresholds.

    Returns:
        (number of groups,) for label 1, 2, ….

    Raises:
        GridMismatch: The grid is not in metres, north up.
    """
    points, _, isolated = kept_points(windows, rule)
    company = np.zeros(labels.shape, dtype=np.uint8)
    company[
        _index(points[~isolated, 1], geobox.affine.f, geobox.affine.e, labels.shape[0]),
        _index(points[~isolated, 0], geobox.affine.c, geobox.affine.a, labels.shape[1]),
    ] = 1
    reach = windows.lattice.window_px // 2 // windows.lattice.stride_px
    near = ndimage.maximum_filter(company, size=2 * reach + 1, mode="constant") > 0
    alone = np.ones(int(labels.max(initial=0)) + 1, dtype=bool)
    alone[labels[near]] = False
    return alone[1:]


def _index(coordinate: FloatArray, origin: float, step: float, count: int) -> IntArray:
    """Cells that hold these coordinates; centres at the far edge fall into the last one."""
    cell = np.floor((coordinate - origin) / step).astype(np.int64)
    return np.clip(cell, 0, count - 1)
