"""Which site a detection belongs to, from run to run.

A site is whatever was ever detected at one place. Detections that overlap its outline, or lie near
it, belong to it; so it keeps its id while it grows, moves along a river, falls into parts, or is
hidden for a while. Where detections join sites, the oldest goes on and the others are merged.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyproj
import shapely
from scipy import sparse

from sluice.base.arrays import FloatArray, IntArray, ObjectArray
from sluice.base.errors import ConfigError, DataError, GridMismatch
from sluice.sites.area import geodesic_areas_ha
from sluice.sites.vectorise import geohash

_MERCATOR = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:3395", always_xy=True)
_WGS84 = pyproj.Geod(ellps="WGS84")
_TURN_M = 2 * np.pi * _WGS84.a
_MOST_LAT = 89.0
_NEEDED = {
    "detections": ("detection_id", "lon", "lat", "score_peak", "footprint_ha"),
    "sites": ("site_id", "first_seen", "merged_into", "current"),
}


@dataclass(frozen=True)
class LinkRule:
    """When a detection belongs to a site."""

    reach_m: float = 100.0
    """How far apart outlines may lie, in metres on the ground: a cell of a scan is 80 m wide, so
    that this bridges one that was not marked."""

    def __post_init__(self) -> None:
        if not 0 <= self.reach_m < np.inf:
            raise ConfigError(f"the reach of a site is {self.reach_m} m; give 0 or more")


@dataclass(frozen=True)
class Links:
    """What became of the detections of a run, and of the sites that they met."""

    site_ids: pd.Series
    """The site of each detection, in the detections' index."""
    new: list[str]
    """Ids that no site had, sorted."""
    merged: pd.Series
    """By the id of each site that does not go on: the id that goes on. Sites merged earlier are
    among them where the one that they were merged into does not go on now."""


def link(detections: gpd.GeoDataFrame, sites: gpd.GeoDataFrame, rule: LinkRule) -> Links:
    """Link the detections of one run to the sites that there are.

    Detections within reach of each other are of one site too: the next run would join them. Of
    the sites that are joined the current ones come first, then the first seen, the largest, and
    the first by id. A new site is named after the place of the best cell of its best detection.
    The order of the rows does not matter, and the same run linked again changes nothing.

    Args:
        detections: Of one run, in EPSG:4326: columns of `Detection`.
        sites: In EPSG:4326, all of the area: `site_id`, `first_seen`, `merged_into`, `current`,
            and as geometry the union of all that was detected there; an empty one is met by
            nothing. What meets a merged site meets the one that it was merged into.
        rule: The reach.

    Raises:
        DataError: A column is missing, a detection has no geometry, a merged site leads nowhere.
        GridMismatch: Not in EPSG:4326.
    """
    for name, frame in (("detections", detections), ("sites", sites)):
        _check(frame, name)
    if shapely.is_empty(detections.geometry.to_numpy()).any() or detections.geometry.isna().any():
        bad = detections[detections.geometry.isna() | detections.geometry.is_empty]
        raise DataError(f"detection {bad['detection_id'].iloc[0]} has no geometry; leave it out")
    survivors = follow_merges(sites)
    group = _components(detections, sites, survivors, rule.reach_m)
    of_detection, of_site = group[: len(detections)], group[len(detections) :]
    own = survivors.index.to_numpy() == survivors.to_numpy()
    heirs = _heirs(sites[own], of_site[own], of_detection)
    names, new = _name_new(detections, of_detection, heirs, sites)
    name_of = np.empty(group.max(initial=-1) + 1, dtype=object)
    name_of[heirs.index] = heirs.to_numpy()
    name_of[names.index] = names.to_numpy()
    met = np.isin(of_site, of_detection)
    heir = np.where(met, name_of[of_site], survivors.to_numpy()) if len(sites) else np.array([])
    changed = heir != survivors.to_numpy()
    merged = pd.Series(heir[changed], index=survivors.index[changed], dtype=object)
    return Links(
        site_ids=pd.Series(name_of[of_detection], index=detections.index, dtype=object),
        new=new,
        merged=merged.sort_index(),
    )


def follow_merges(sites: pd.DataFrame) -> pd.Series:
    """The site that goes on for each site: itself where it was not merged.

    Args:
        sites: `site_id` and `merged_into`.

    Returns:
        By `site_id`, in the order of the rows.

    Raises:
        DataError: A site was merged into one that is not there, or in a circle.
    """
    ids = pd.Index(sites["site_id"].to_numpy(dtype=object), name="site_id")
    into = sites["merged_into"].to_numpy(dtype=object)
    merged = ~pd.isna(into)
    position = np.arange(len(ids))
    position[merged] = ids.get_indexer(into[merged])
    if (position < 0).any():
        lost = int(np.flatnonzero(position < 0)[0])
        raise DataError(
            f"site {ids[lost]} was merged into {into[lost]}, which is not there; "
            "give all sites of the area"
        )
    # Each round doubles the length of the chains that it has followed.
    for _ in range(int(np.ceil(np.log2(len(ids) + 1))) + 1):
        position = position[position]
    if merged[position].any():
        lost = int(np.flatnonzero(merged[position])[0])
        raise DataError(f"site {ids[lost]} was merged in a circle; check `merged_into`")
    return pd.Series(ids.to_numpy()[position], index=ids, dtype=object)


def _check(frame: gpd.GeoDataFrame, name: str) -> None:
    missing = [column for column in _NEEDED[name] if column not in frame.columns]
    if missing:
        raise DataError(
            f"the table of {name} has no column {', '.join(missing)}; it has "
            f"{', '.join(map(str, frame.columns))}"
        )
    if frame.crs is None or frame.crs.to_epsg() != 4326:
        raise GridMismatch(f"the {name} are in {frame.crs}; bring them to EPSG:4326")


def _components(
    detections: gpd.GeoDataFrame, sites: gpd.GeoDataFrame, survivors: pd.Series, reach_m: float
) -> npt.NDArray[np.int32]:
    """Number of the group of each detection, then of each site, that reach each other."""
    geometries = np.concatenate([detections.geometry.to_numpy(), sites.geometry.to_numpy()])
    left, right = _pairs_within(geometries, len(detections), reach_m)
    size, first = len(geometries), len(detections)
    # A merged site stands for the one that goes on.
    own = np.arange(len(sites)) + first
    going_on = survivors.index.get_indexer(pd.Index(survivors)) + first
    left, right = np.concatenate([left, own]), np.concatenate([right, going_on])
    graph = sparse.coo_array((np.ones(len(left), np.int8), (left, right)), shape=(size, size))
    return np.asarray(sparse.csgraph.connected_components(graph, directed=False)[1])


def _pairs_within(geometries: ObjectArray, asked: int, reach_m: float) -> tuple[IntArray, IntArray]:
    """Pairs of geometries that lie within reach; the first of each is among those asked for.

    Distances are taken on the ellipsoidal Mercator projection, which is conformal: at one place it
    stretches all directions alike, by a factor that is known. Over the few kilometres of a
    detection the factor changes by less than 0.3 % up to 60 degrees.
    """
    parts, owner = shapely.get_parts(geometries, return_index=True)
    lat = shapely.bounds(parts)[:, [1, 3]].mean(axis=1) if len(parts) else np.zeros(0)
    on_plane = np.asarray(shapely.transform(parts, _project), dtype=object)
    tree = shapely.STRtree(on_plane)
    query = np.flatnonzero(owner < asked)
    reach = np.nextafter(reach_m * _stretch(lat), np.inf)
    pairs = [_query(tree, on_plane[query], query, reach)]
    # Beyond 180 degrees the map begins anew on its other side.
    bounds = shapely.bounds(on_plane).reshape(-1, 4)
    edge = _TURN_M / 2 - reach
    for near, shift in ((bounds[:, 2] > edge, -_TURN_M), (bounds[:, 0] < -edge, _TURN_M)):
        across = query[near[query]]
        moved = shapely.transform(on_plane[across], functools.partial(np.add, [shift, 0]))
        pairs.append(_query(tree, np.asarray(moved, dtype=object), across, reach))
    left, right = np.concatenate(pairs, axis=1)
    return owner[left], owner[right]


def _query(
    tree: shapely.STRtree, parts: ObjectArray, numbers: IntArray, reach: FloatArray
) -> npt.NDArray[np.int64]:
    if not len(parts) or not len(tree):
        return np.zeros((2, 0), dtype=np.int64)
    asked, found = tree.query(parts, predicate="dwithin", distance=reach[numbers])
    return np.stack([numbers[asked], found])


def _project(lonlat: FloatArray) -> FloatArray:
    lat = np.clip(lonlat[:, 1], -_MOST_LAT, _MOST_LAT)
    return np.column_stack(_MERCATOR.transform(lonlat[:, 0], lat))


def _stretch(lat: FloatArray) -> FloatArray:
    """How many metres of the Mercator map a metre of ground is.

    Source:
        Snyder 1987, Map Projections: A Working Manual, doi:10.3133/pp1395, equation 7-8.
    """
    phi = np.radians(np.clip(lat, -_MOST_LAT, _MOST_LAT))
    return np.asarray(np.sqrt(1 - _WGS84.es * np.sin(phi) ** 2) / np.cos(phi))


def _heirs(
    own: gpd.GeoDataFrame, group: npt.NDArray[np.int32], of_detection: npt.NDArray[np.int32]
) -> pd.Series:
    """By group: the id of the site that goes on, where the group has detections and sites."""
    met = np.isin(group, of_detection)
    group, own = group[met], own[met]
    # Only where sites compete does size matter.
    size = np.zeros(len(own))
    rivals = pd.Series(group).duplicated(keep=False).to_numpy()
    size[rivals] = geodesic_areas_ha(own.geometry.to_numpy()[rivals], "EPSG:4326")
    first_seen = pd.to_datetime(pd.Series(own["first_seen"].to_numpy(dtype=object)))
    table = pd.DataFrame(
        {
            "group": group,
            "past": ~own["current"].to_numpy(dtype=bool),
            "first_seen": first_seen.to_numpy(),
            # Equal areas may differ in the last digit, and whichever row came first would win.
            "size": -np.round(size, 6),
            "site_id": own["site_id"].to_numpy(dtype=object),
        }
    ).sort_values(["group", "past", "first_seen", "size", "site_id"], kind="stable")
    return table.drop_duplicates("group").set_index("group")["site_id"].astype(object)


def _name_new(
    detections: gpd.GeoDataFrame,
    of_detection: npt.NDArray[np.int32],
    heirs: pd.Series,
    sites: gpd.GeoDataFrame,
) -> tuple[pd.Series, list[str]]:
    """By group without a site: its id; and which of these ids are new."""
    table = pd.DataFrame(detections[list(_NEEDED["detections"])]).assign(group=of_detection)
    table = table[~table["group"].isin(heirs.index)]
    for column in ("score_peak", "footprint_ha"):
        table[column] = -table[column].astype(float)
    best = table.sort_values(
        ["group", "score_peak", "footprint_ha", "detection_id", "lon", "lat"], kind="stable"
    ).drop_duplicates("group")
    best["name"] = [f"s-{geohash(*at)}" for at in zip(best["lon"], best["lat"], strict=True)]
    best = best.sort_values(["name", "score_peak", "footprint_ha", "detection_id", "lon", "lat"])
    lasting = sites["current"].to_numpy(dtype=bool) | sites["merged_into"].notna().to_numpy()
    taken = set(sites["site_id"][lasting | sites["site_id"].isin(heirs).to_numpy()])
    names = best["name"].to_numpy(dtype=object)
    doubled = best["name"].duplicated().to_numpy() | best["name"].isin(taken).to_numpy()
    taken |= set(names[~doubled])
    for row in np.flatnonzero(doubled):
        names[row] = _free_name(names[row], taken)
        taken.add(names[row])
    known = set(sites["site_id"])
    return (
        pd.Series(names, index=best["group"].to_numpy(), dtype=object),
        sorted(set(names) - known),
    )


def _free_name(name: str, taken: set[str]) -> str:
    number = 2
    while f"{name}-{number}" in taken:
        number += 1
    return f"{name}-{number}"
