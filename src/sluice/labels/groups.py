"""Groups of chips that belong together: by ground, by block, by whatever a column says.

A model that has seen one chip of a group has seen them all, so a split never cuts one.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyproj
import shapely
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree
from shapely.affinity import translate

from sluice.base.arrays import FloatArray, IntArray, ObjectArray
from sluice.base.errors import ConfigError, DataError

EARTH_RADIUS_M = 6_371_007.2
"""Of the sphere with the surface of WGS 84: at most 0.6 % off in a distance."""
_EQUAL_AREA = "EPSG:6933"
_OVERLAP = 0.98
"""Of a side: centres farther apart are neighbours. UTM and the sphere differ by 1 % at most."""


def located(table: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """(N,) True where a chip's place is known and on the globe."""
    lon, lat = table["lon"].to_numpy(np.float64), table["lat"].to_numpy(np.float64)
    return np.asarray((np.abs(lon) <= 180) & (np.abs(lat) <= 90))


def near_pairs(
    lon: npt.ArrayLike, lat: npt.ArrayLike, distance_m: float
) -> tuple[IntArray, FloatArray]:
    """Pairs of points that are nearer to each other than a distance.

    Args:
        lon: (N,) degrees, none NaN.
        lat: (N,) degrees.
        distance_m: Metres on the sphere, well below half the globe.

    Returns:
        (pairs, 2) positions, the lower first, in order; and (pairs,) their distances in metres.
    """
    # In three dimensions 180 degrees of longitude and the poles are places like others.
    points = _on_unit_sphere(np.asarray(lon, np.float64), np.asarray(lat, np.float64))
    if not len(points):
        return np.empty((0, 2), np.int64), np.empty(0)
    chord = 2 * math.sin(min(distance_m / EARTH_RADIUS_M, math.pi) / 2)
    pairs = KDTree(points).query_pairs(chord, output_type="ndarray").astype(np.int64)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    chords = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1)
    distances = 2 * EARTH_RADIUS_M * np.arcsin(np.minimum(1, chords / 2))
    near = distances < distance_m
    return pairs[near], distances[near]


def overlapping_pairs(
    lon: npt.ArrayLike, lat: npt.ArrayLike, side_m: float
) -> tuple[IntArray, FloatArray]:
    """Pairs of squares, sides to the north, that share more than a sliver of ground.

    Args:
        lon: (N,) degrees of their centres, none NaN.
        lat: (N,) degrees.
        side_m: Of the squares. Those of a grid, side by side, do not overlap, though the sphere
            and the grid's projection measure them a little differently.

    Returns:
        (pairs, 2) positions, the lower first, in order; and (pairs,) metres between centres.
    """
    east, north = np.asarray(lon, np.float64), np.asarray(lat, np.float64)
    pairs, distances = near_pairs(east, north, side_m * math.sqrt(2))
    one, other = pairs.T
    turn = np.radians((east[one] - east[other] + 180) % 360 - 180)
    across = np.abs(turn) * np.cos(np.radians((north[one] + north[other]) / 2))
    along = np.abs(np.radians(north[one] - north[other]))
    overlap = np.maximum(across, along) * EARTH_RADIUS_M < _OVERLAP * side_m
    return pairs[overlap], distances[overlap]


def ground_groups(table: pd.DataFrame, side_m: float) -> pd.Series:
    """Chips that share ground, in whatever year, and chains of such.

    Args:
        table: With `lon` and `lat`.
        side_m: Side of a chip; a larger one joins neighbours too.

    Returns:
        Group of each chip, int64, on the index of `table`; one without a place is alone.
    """
    known = np.flatnonzero(located(table))
    places = table[["lon", "lat"]].to_numpy(np.float64)[known]
    pairs, _ = overlapping_pairs(places[:, 0], places[:, 1], side_m)
    return pd.Series(_components(len(table), known[pairs]), index=table.index, name="ground")


def spatial_blocks(table: pd.DataFrame, side_km: float) -> pd.Series:
    """The cell of an equal-area grid that each chip's centre lies in.

    Args:
        table: With `lon`, `lat` and `group`.
        side_km: Cells hold the square of it everywhere; they are squares at 30 degrees of
            latitude, and a third wider than high at the equator.

    Returns:
        Names such as `block 12 -3` on the index of `table`; a chip without a place is in the
        block of its group's name.

    Raises:
        ConfigError: A side that is not positive.
    """
    if not side_km > 0:
        raise ConfigError(f"blocks of {side_km:g} km: give a side above 0, such as 25")
    known = located(table)
    to_metres = pyproj.Transformer.from_crs("EPSG:4326", _EQUAL_AREA, always_xy=True)
    places = table[["lon", "lat"]].to_numpy(np.float64)
    x, y = to_metres.transform(places[:, 0], places[:, 1])
    names = [
        f"block {math.floor(east / side_km / 1000)} {math.floor(north / side_km / 1000)}"
        if here
        else f"group {group}"
        for east, north, here, group in zip(x, y, known, table["group"], strict=True)
    ]
    return pd.Series(names, index=table.index, name="block")


def join_groups(*groupings: pd.Series) -> pd.Series:
    """The finest grouping that cuts no group of any of several.

    Args:
        groupings: Groups of the same chips; at least one.

    Returns:
        int64 from 0, in the order of each group's first chip, on the index of the first.

    Raises:
        DataError: A chip has no group.
    """
    first = groupings[0]
    links = []
    for grouping in groupings:
        codes, _ = pd.factorize(grouping)
        if (codes < 0).any():
            chip = grouping.index[codes < 0][0]
            raise DataError(f"chip {chip} has no {grouping.name}; fill it in")
        members = np.argsort(codes, kind="stable")
        same = codes[members[1:]] == codes[members[:-1]]
        links.append(np.column_stack([members[:-1][same], members[1:][same]]))
    return pd.Series(_components(len(first), np.concatenate(links)), first.index, name="group")


def outline_groups(outlines: ObjectArray, links: IntArray) -> IntArray:
    """Outlines that share ground or are linked, and chains of such.

    Args:
        outlines: (N,) in degrees, each in one piece: beyond 180 where it reaches over.
        links: (links, 2) positions of outlines that belong together anyway.

    Returns:
        (N,) groups from 0, in the order of each one's first outline.
    """
    # What lies beyond 180 degrees is there on both sides, so that it meets its neighbours.
    bounds = shapely.bounds(outlines)
    east, west = np.flatnonzero(bounds[:, 2] > 179), np.flatnonzero(bounds[:, 0] < -179)
    ends = np.concatenate([np.arange(len(outlines)), east, west])
    everywhere = np.concatenate(
        [
            outlines,
            [translate(outlines[k], xoff=-360) for k in east],
            [translate(outlines[k], xoff=360) for k in west],
        ]
    )
    one, other = shapely.STRtree(everywhere).query(everywhere, predicate="intersects")
    one, other = one[one < other], other[one < other]
    # Neighbours touch; a hundredth of a cell is more than the rounding of corners.
    shared = shapely.area(shapely.intersection(everywhere[one], everywhere[other]))
    overlap = shared > 0.01 * shapely.area(everywhere[one])
    ground = np.column_stack([ends[one[overlap]], ends[other[overlap]]])
    return _components(len(outlines), np.concatenate([links, ground]))


def _components(count: int, links: npt.NDArray[np.int64]) -> IntArray:
    ones = np.ones(len(links), np.bool_)
    graph = coo_array((ones, (links[:, 0], links[:, 1])), shape=(count, count))
    _, parts = connected_components(graph, directed=False)
    # Numbered by first appearance, whatever order the library walks the graph in.
    codes, _ = pd.factorize(parts)
    return np.asarray(codes, np.int64)


def _on_unit_sphere(lon: FloatArray, lat: FloatArray) -> FloatArray:
    east, north = np.radians(lon), np.radians(lat)
    return np.column_stack(
        [np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)]
    )
