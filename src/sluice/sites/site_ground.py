"""What ground is a site's after another run."""

from __future__ import annotations

import geopandas as gpd
import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from sluice.base.places import Site, columns_of
from sluice.sites.area import geodesic_areas_ha
from sluice.sites.linking import Links

_LONLAT = "EPSG:4326"


def ground_of_sites(
    known: gpd.GeoDataFrame, found: gpd.GeoDataFrame, links: Links, withdrawn: pd.Series
) -> gpd.GeoDataFrame:
    """All sites with the ground that is theirs now.

    Args:
        known: From the store.
        found: The run's detections with `site_id`.
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
    ground.index = pd.Index([links.merged.get(name, name) for name in ground.index])
    ground = ground[ground.index.isin(changed)]
    outlines = union_by_site(pd.Series(ground.index), gpd.GeoSeries(ground.to_numpy(), crs=_LONLAT))
    # A site of which nothing is left keeps its outline: what comes back there is the same place.
    outlines = outlines[~shapely.is_empty(outlines.to_numpy())].map(_as_multi)
    sites.loc[outlines.index, "geometry"] = gpd.GeoSeries(outlines, crs=_LONLAT)
    sites.loc[outlines.index, "cumulative_ha"] = geodesic_areas_ha(list(outlines), _LONLAT)
    return gpd.GeoDataFrame(sites, geometry="geometry", crs=_LONLAT).reset_index(drop=True)


def _as_multi(shape: BaseGeometry) -> shapely.MultiPolygon:
    return shapely.MultiPolygon([p for p in shapely.get_parts(shape) if p.geom_type == "Polygon"])


def union_by_site(site_ids: pd.Series, shapes: gpd.GeoSeries) -> pd.Series:
    """The union of the shapes of each site, by its id."""
    groups = pd.Series(shapes.to_numpy(), index=site_ids.to_numpy()).groupby(level=0)
    return groups.agg(lambda members: shapely.union_all(members.to_numpy()))
