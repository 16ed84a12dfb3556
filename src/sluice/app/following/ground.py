"""The ground that was ever detected in an area, and what was added between two dates."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import geopandas as gpd
import pandas as pd

from sluice.app.products.landing import telling_disk_errors
from sluice.app.products.vectors import (
    GpkgLayer,
    write_geojson,
    write_geoparquet,
    write_gpkg_layers,
)
from sluice.base.errors import ConfigError
from sluice.base.files import write_whole
from sluice.base.records import DISCLAIMER
from sluice.base.store import SiteQuery, Store
from sluice.sites.cumulative import cumulative_union, differences
from sluice.sites.redaction import CELL_M, REDACTED, Redaction, redact

_LAYER = "ground"
MADE_BY, GROUND = "made_by", "sluice sites ground"
"""Column and value by which such a file is known: it has no ids, and would be taken for what others
detected."""
_ENDINGS = (".gpkg", ".geojson", ".parquet")


def detected_ground(
    store: Store, area: str | None, *, until: dt.date | None, since: dt.date | None
) -> gpd.GeoDataFrame:
    """The union of all detections up to a day.

    Args:
        store: Where they are.
        area: One area; None for all.
        until: Last day of the periods that count; None for all.
        since: First day of theirs.

    Returns:
        As `sluice.sites.cumulative.dissolve`.
    """
    return cumulative_union(_dated_detections(store, area), since, until)


def added_ground(
    store: Store,
    area: str | None,
    *,
    after: dt.date,
    until: dt.date | None,
    smallest_ha: float,
) -> gpd.GeoDataFrame:
    """What all detections up to a day cover and those up to an earlier day do not.

    Args:
        store: Where they are.
        area: One area; None for all.
        after: Last day of the earlier periods.
        until: Last day of the later ones; None for all.
        smallest_ha: Smallest piece that is kept, in geodesic hectares.

    Raises:
        ConfigError: `until` is not later than `after`.
    """
    if until is not None and until <= after:
        raise ConfigError(
            f"--until {until} is not later than --added-since {after}; swap the dates"
        )
    dated = _dated_detections(store, area)
    earlier = cumulative_union(dated, None, after)
    later = cumulative_union(dated, None, until)
    return differences(earlier.geometry, later.geometry, smallest_ha=smallest_ha)


def told_until(
    redaction: Redaction, today: dt.date, *, since: dt.date | None, until: dt.date | None
) -> dt.date:
    """The last day of ground that a delay lets out.

    Args:
        redaction: One that delays.
        today: The day from which the delay counts.
        since: First day that is asked for; None for all.
        until: Last day that is; None for all.

    Raises:
        ConfigError: `since` is later than anything that may be told.
    """
    newest = redaction.newest(today)
    if since is not None and since > newest:
        raise ConfigError(
            f"with this delay nothing after {newest} is told, and {since} is later; ask for an "
            "earlier day, or for less delay"
        )
    return newest if until is None else min(until, newest)


def redacted_ground(
    store: Store,
    area: str | None,
    ground: gpd.GeoDataFrame,
    redaction: Redaction,
    today: dt.date,
) -> gpd.GeoDataFrame:
    """Cells in place of ground, as exports show sites: see `sluice.sites.redaction`.

    Args:
        store: Where the sites are.
        area: That the ground is of; None for all.
        ground: Of `detected_ground` or `added_ground`; with a delay, up to `redaction.newest`.
        redaction: What is hidden.
        today: The day from which the delay counts.

    Returns:
        A row for each site that has any of this ground: the cell, `area_ha` of the ground in it as
        far as it is told, `redacted` and `cell_m`.
    """
    sites = store.sites(SiteQuery(area=area))
    own = ground.sjoin(sites[["site_id", "geometry"]], predicate="intersects")
    # Areas that overlap have sites of their own on the same ground: it counts once.
    own = own[~own.index.duplicated()]
    hectares = own.groupby("site_id")["area_ha"].sum()
    sites = sites[sites["site_id"].isin(hectares.index)].reset_index(drop=True)
    sites["area_ha"] = sites["site_id"].map(hectares)
    periods = None
    if redaction.delayed:
        periods = store.periods(list(sites["site_id"]))
        periods["area_ha"] = periods["site_id"].map(hectares)
    told = redact(sites, redaction, today, periods=periods)
    return told[["area_ha", REDACTED, CELL_M, "geometry"]]


def write_ground(ground: gpd.GeoDataFrame, path: Path) -> None:
    """Write polygons to a GeoPackage, GeoJSON or GeoParquet file, whole or not at all.

    Raises:
        ConfigError: Another ending.
        RunFailed: The disk is full.
    """
    ending = path.suffix.lower()
    if ending not in _ENDINGS:
        raise ConfigError(f"{path}: give a name that ends in one of {', '.join(_ENDINGS)}")
    ground = ground.assign(**{MADE_BY: GROUND})
    with telling_disk_errors(path.parent), write_whole(path) as part:
        if ending == ".gpkg":
            layer = GpkgLayer(_LAYER, ground, "Ground that was detected")
            write_gpkg_layers([layer], part, disclaimer=DISCLAIMER)
        elif ending == ".geojson":
            write_geojson(ground, part, disclaimer=DISCLAIMER)
        else:
            write_geoparquet(ground, part, disclaimer=DISCLAIMER)


def _dated_detections(store: Store, area: str | None) -> gpd.GeoDataFrame:
    detections = store.detections(SiteQuery(area=area))
    runs = pd.DataFrame(
        [(run.run_id, run.start, run.end) for run in store.runs(area)],
        columns=["run_id", "start", "end"],
    )
    return detections.merge(runs, on="run_id")
