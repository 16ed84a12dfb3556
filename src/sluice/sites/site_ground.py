"""What ground is a detection's, and a site's after another run.

Cells that were marked may cut a mine off, and what was outlined of it then sticks out: so the
ground of a detection is its footprint and its workings.
"""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from sluice.base.arrays import ObjectArray
from sluice.base.places import Site, columns_of
from sluice.sites.area import geodesic_areas_ha
from sluice.sites.linking import Links

_LONLAT = "EPSG:4326"


def ground_of_detections(
    footprints: gpd.GeoDataFrame, workings: gpd.GeoDataFrame
) -> gpd.GeoDataFrame:
    """Detections with the ground that is theirs: their footprint and their workings.

    Args:
        footprints: `detection_id`, unique, any other columns, and the footprint, in EPSG:4326.
        workings: `detection_id` and an outline, in EPSG:4326; of some detections, or of none.
            Those of others have no part in it.

    Returns:
        The same rows and columns; as geometry a valid multipolygon that covers both.
    """
    ids = footprints["detection_id"]
    shapes = workings.geometry.to_numpy()
    drawn = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
    own = workings[drawn & workings["detection_id"].isin(ids).to_numpy()]
    has_workings = ids.isin(own["detection_id"]).to_numpy()
    if not has_workings.any():
        return footprints
    names = pd.concat([ids[has_workings], own["detection_id"]], ignore_index=True)
    both = [*footprints.geometry[has_workings], *own.geometry]
    joined = union_by_site(names, gpd.GeoSeries(both, crs=_LONLAT))
    ground = footprints.geometry.to_numpy().astype(object)
    ground[has_workings] = _as_multi(joined.loc[ids[has_workings]].to_numpy())
    return footprints.set_geometry(gpd.GeoSeries(ground, index=footprints.index, crs=_LONLAT))


def ground_of_sites(
    known: gpd.GeoDataFrame, found: gpd.GeoDataFrame, links: Links, withdrawn: pd.Series
) -> gpd.GeoDataFrame:
    """All sites with the ground that is theirs now.

    Args:
        known: From the store.
        found: The run's detections with `site_id`, see `ground_of_detections`.
        links: Of them.
        withdrawn: By site, what is left without the run that is replaced.

    Returns:
        Columns of `Site`, as they were, or absent in new ones; `merged_into`, `cumulative_ha`
        and `geometry` as they are now.
    """
    sites = known.set_index("site_id", drop=False)
    sites.index.name = None
    if links.new:
        best = found.sort_values(["score_peak", "detection_id"], ascending=[False, True])
        best = best.drop_duplicates("site_id").set_index("site_id", drop=False)
        fresh = best.loc[links.new, ["site_id", "lon", "lat", "geometry"]]
        fresh = fresh.assign(geometry=shapely.MultiPolygon())
        fresh = fresh.reindex(columns=[*columns_of(Site), "geometry"])
        fresh["merged_into"] = None
        sites = pd.concat([sites, fresh]) if len(sites) else fresh
    heirs = sites["merged_into"].where(sites["merged_into"].notna(), None)
    heirs.update(links.merged)
    sites["merged_into"] = heirs
    parts = [
        sites.geometry[~sites.index.isin(withdrawn.index)],
        withdrawn,
        found.set_index("site_id").geometry,
    ]
    changed = set(withdrawn.index) | set(found["site_id"]) | set(links.merged)
    ground = pd.concat([pd.Series(part.to_numpy(), index=part.index) for part in parts])
    if len(links.merged):
        names = pd.Series(ground.index, dtype=object)
        ground.index = pd.Index(
            names.map(links.merged).where(names.isin(links.merged.index), names)
        )
    ground = ground[ground.index.isin(changed)]
    outlines = union_by_site(pd.Series(ground.index), gpd.GeoSeries(ground.to_numpy(), crs=_LONLAT))
    # A site of which nothing is left keeps its outline: what comes back there is the same place.
    outlines = outlines[~shapely.is_empty(outlines.to_numpy())]
    outlines = pd.Series(_as_multi(outlines.to_numpy()), index=outlines.index, dtype=object)
    sites.loc[outlines.index, "geometry"] = gpd.GeoSeries(outlines, crs=_LONLAT)
    sites.loc[outlines.index, "cumulative_ha"] = geodesic_areas_ha(list(outlines), _LONLAT)
    return gpd.GeoDataFrame(sites, geometry="geometry", crs=_LONLAT).reset_index(drop=True)


def _as_multi(shapes: ObjectArray) -> ObjectArray:
    """Multipolygons of the polygons in each."""
    parts, owner = shapely.get_parts(shapes, return_index=True)
    kept = shapely.get_type_id(parts) == shapely.GeometryType.POLYGON
    multi = np.full(len(shapes), shapely.MultiPolygon(), dtype=object)
    shapely.multipolygons(parts[kept], indices=owner[kept], out=multi)
    return multi


def union_by_site(site_ids: pd.Series, shapes: gpd.GeoSeries) -> pd.Series:
    """The union of the shapes of each site, by its id."""
    codes, names = pd.factorize(site_ids.to_numpy(), sort=True)
    order = np.argsort(codes, kind="stable")
    joined, codes = shapes.to_numpy()[order], codes[order]
    # Neighbours two by two, in all sites at once, until each has one left.
    while len(codes) > len(names):
        starts = np.searchsorted(codes, codes)
        first = np.flatnonzero((np.arange(len(codes)) - starts) % 2 == 0)
        paired = first[first + 1 < len(codes)]
        paired = paired[codes[paired] == codes[paired + 1]]
        joined[paired] = shapely.union(joined[paired], joined[paired + 1])
        joined, codes = joined[first], codes[first]
    # In one form, so that joining the same ground again changes nothing.
    return pd.Series(shapely.normalize(joined), index=names, dtype=object)
