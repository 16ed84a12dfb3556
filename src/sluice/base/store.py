"""The seam of persistence: what the rest of the house may expect of a store.

A store keeps what it is given and knows nothing of geometry but boxes; what follows from what is
worked out in `sites`. Tables are those of `sluice.base.places`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import geopandas as gpd
import pandas as pd
from shapely.geometry.base import BaseGeometry

from sluice.base.places import AlertState, Area, LandedRun, Layer, Level, Review, Status, Verdict

BBox = tuple[float, float, float, float]
Row: TypeAlias = Mapping[Any, Any]
"""A row of a table, by column."""
NOT_REJECTED: tuple[Verdict | None, ...] = (None, Verdict.CONFIRMED, Verdict.UNSURE)
"""For `SiteQuery.verdict`: what lists, exports and reports tell of where nobody asks for one."""


@dataclass(frozen=True)
class SiteQuery:
    """Which sites, or alerts, are asked for; None asks for all."""

    area: str | None = None
    areas: tuple[str, ...] | None = None
    """Some of these only, whatever else is asked; none where it is empty."""
    bbox_lonlat: BBox | None = None
    """Those whose box meets it; west > east crosses 180 degrees."""
    status: tuple[Status, ...] | None = None
    level: tuple[Level, ...] | None = None
    verdict: tuple[Verdict | None, ...] | None = None
    """Of the last review; None among them asks for sites that nobody has reviewed."""
    legality: tuple[str, ...] | None = None
    min_area_ha: float | None = None
    min_priority: float | None = None
    seen_since: dt.date | None = None
    """Last seen on this day or later; of alerts, raised."""
    site_ids: tuple[str, ...] | None = None
    state: tuple[AlertState, ...] | None = None
    """Of alerts."""
    standing: bool = False
    """Of alerts: those that neither later looks nor the last review rejected."""
    with_past: bool = False
    """Merged sites and those without a run's detections too."""
    limit: int | None = None
    """Most rows, by priority, then by id."""
    offset: int = 0


@dataclass(frozen=True)
class Revision:
    """Texts of which each is another one after a change of what it stands for."""

    sites: str
    """Something was put into an area, or an area was added or removed."""
    reviews: str
    """A review was added."""
    layers: str
    """A layer was registered or removed."""


class Landing(Protocol):
    """A transaction on one area: all that is put lands whole at its end, or not at all.

    Reads see what was put before. Two landings on one area wait for each other.
    """

    def runs(self) -> list[LandedRun]:
        """Current runs of the area, oldest period first, then by sensor."""
        ...

    def evidence_map(self, run_id: str) -> bytes | None:
        """See `put_run`."""
        ...

    def put_run(self, run: LandedRun, evidence_map: bytes | None) -> None:
        """Add a run and its scenes; one of the same area, period and sensor is current no more.

        What an earlier landing of this very run left (detections, looks) is taken out.

        Args:
            run: Its `record` names its scenes.
            evidence_map: A GeoTIFF of the scan's cells: log likelihood ratios, see
                `sluice.sites.evidence_map`; None where there was no map.
        """
        ...

    def sites(self) -> gpd.GeoDataFrame:
        """All sites of the area, past ones too: columns of `Site`, and `geometry`."""
        ...

    def looks(self) -> pd.DataFrame:
        """All looks of current runs at sites of the area: columns of `Look`."""
        ...

    def detections(self) -> gpd.GeoDataFrame:
        """Detections of current runs: columns of `Detection`, `run_id`, `site_id`, `context` (a
        dict each), `geometry` (footprint and workings)."""
        ...

    def alerts(self) -> pd.DataFrame:
        """All alerts of the area."""
        ...

    def verdicts(self, merged_into: Mapping[str, str]) -> dict[str, Verdict]:
        """The last verdict on each site of the area, those on sites merged into it among them.

        Args:
            merged_into: By site, the one that it was merged into: as it is going to be put.
        """
        ...

    def put_detections(self, detections: gpd.GeoDataFrame) -> None:
        """Add detections of a run, or replace those with the same `run_id`, `detection_id`.

        Args:
            detections: As `detections` gives them; without `context`, the one that is there stays.
        """
        ...

    def put_sites(self, sites: gpd.GeoDataFrame) -> None:
        """Add sites, or replace those with the same id.

        Reviews follow merges: a site's verdict is that of all reviews of it and of those that were
        merged into it.

        Raises:
            ConfigError: An id belongs to a site of another area.
        """
        ...

    def put_looks(self, looks: pd.DataFrame) -> None:
        """Add looks, or replace those with the same `site_id`, `run_id`."""
        ...

    def put_periods(self, site_ids: Sequence[str], periods: pd.DataFrame) -> None:
        """Replace the periods of these sites by those of the table (columns of `SitePeriod`)."""
        ...

    def put_alerts(self, site_ids: Sequence[str], alerts: pd.DataFrame) -> None:
        """Replace the alerts of these sites by those of the table."""
        ...


class Store(Protocol):
    """Areas, runs, sites and what people said of them.

    Every method raises `StoreError` where the store cannot be reached or written, `Conflict`
    where somebody else holds it for too long.
    """

    def add_area(self, area: Area, geometry: BaseGeometry) -> None:
        """Add an area, or nothing where the same one is there.

        Raises:
            ConfigError: One of this name has another geometry.
        """
        ...

    def areas(self) -> gpd.GeoDataFrame:
        """Columns of `Area`, and `geometry`."""
        ...

    def area_rows(self, name: str) -> dict[str, int]:
        """How much an area holds: rows by table, those without any left out.

        Raises:
            ConfigError: There is no such area; the message names those that there are.
        """
        ...

    def remove_area(self, name: str, *, with_everything: bool = False) -> None:
        """Forget an area.

        Args:
            name: Of the area.
            with_everything: With its runs, sites, and what people said of them; labels stay.

        Raises:
            ConfigError: There is no such area, or it holds something, and that is to stay.
        """
        ...

    def landing(
        self, area: str, *, outline: BaseGeometry | None = None
    ) -> AbstractContextManager[Landing]:
        """Begin to write into an area; an exception in the block undoes all of it.

        Args:
            area: Its name.
            outline: Adds the area where there is none, in the same transaction.

        Raises:
            ConfigError: There is no such area, and no outline; the message names those that there
                are. Or there is one of another outline.
        """
        ...

    def runs(self, area: str | None = None, *, with_past: bool = False) -> list[LandedRun]:
        """Runs, oldest period first; without their whole `record`."""
        ...

    def run(self, run_id: str) -> LandedRun:
        """One run with its record.

        Raises:
            ConfigError: There is none.
        """
        ...

    def scenes(self, run_ids: Sequence[str]) -> pd.DataFrame:
        """What runs were made of, oldest first: `run_id`, `position`, `scene_id`, `href`, `sensor`,
        `acquired`, `tile`, `orbit_state`, `cloud_cover`, `processing_baseline`, `sha256`."""
        ...

    def sites(self, query: SiteQuery) -> gpd.GeoDataFrame:
        """Columns of `Site`, `verdict` and `reviewers` (how many agree with it), `geometry`."""
        ...

    def count_sites(self, query: SiteQuery) -> int:
        """How many there are, whatever the limit."""
        ...

    def site_columns(self, query: SiteQuery, columns: Sequence[str]) -> dict[str, list[Any]]:
        """Some columns of `sites` as lists, for those who need no table.

        Shapes are WKB, as bytes or hexadecimal text; rows without a limit are in no order.
        """
        ...

    def detections(self, query: SiteQuery, *, with_past: bool = False) -> gpd.GeoDataFrame:
        """Detections by area, box and site, as `Landing.detections`; a limit takes any of them.

        Raises:
            ConfigError: The query asks for what only sites have.
        """
        ...

    def detections_after(self, query: SiteQuery, after: int, limit: int) -> gpd.GeoDataFrame:
        """Detections of current runs part by part, in an order that stays.

        Args:
            query: As for `detections`, without a limit.
            after: 0, or the last `number` of the part before.
            limit: Most rows of a part.

        Returns:
            As `detections`, and `number`, which rises from row to row.
        """
        ...

    def looks(self, site_ids: Sequence[str]) -> pd.DataFrame:
        """Looks of current runs, oldest first."""
        ...

    def periods(self, site_ids: Sequence[str]) -> pd.DataFrame:
        """Oldest first."""
        ...

    def period_columns(
        self, start: dt.date, end: dt.date, columns: Sequence[str]
    ) -> dict[str, list[Any]]:
        """Some columns of `periods`, as lists: of all sites, the periods within these days."""
        ...

    def alerts(self, query: SiteQuery) -> pd.DataFrame:
        """Columns of `Alert` and `verdict`, by priority, then by id."""
        ...

    def count_alerts(self, query: SiteQuery) -> int:
        """How many there are, whatever the limit."""
        ...

    def add_review(self, review: Review) -> Review:
        """Add a verdict; of a site that was merged it goes to the one that goes on.

        Returns:
            As it was added: its `site_id` may be another one.

        Raises:
            ConfigError: There is no such site.
        """
        ...

    def reviews(self, site_ids: Sequence[str] | None = None) -> list[Review]:
        """Of these sites and of all that were merged into them, oldest first."""
        ...

    def add_labels(self, labels: gpd.GeoDataFrame, *, most: int | None = None) -> None:
        """Add labels, or replace those with the same id.

        Args:
            labels: Columns of `Label`, and `geometry`.
            most: That one person may have of one source; None for any number.

        Raises:
            TooManyLabels: Somebody would have more; nothing was added.
        """
        ...

    def labels(self, area: str | None = None) -> gpd.GeoDataFrame:
        """All of them, oldest first."""
        ...

    def remove_label(self, label_id: str) -> None:
        """Forget a label; nothing happens where there is none of this id."""
        ...

    def put_layer(self, layer: Layer, features: gpd.GeoDataFrame) -> None:
        """Register a layer, or replace the one of this name.

        Args:
            layer: What it is.
            features: In EPSG:4326: `name`, `start`, `end` (dates or None), `properties` (a dict
                each), `geometry`.
        """
        ...

    def layers(self) -> list[Layer]:
        """By name."""
        ...

    def layer_features(self, name: str, bbox_lonlat: BBox | None = None) -> gpd.GeoDataFrame:
        """Features of a layer whose boxes meet one.

        Raises:
            ConfigError: There is no such layer; the message names those that there are.
        """
        ...

    def remove_layer(self, name: str) -> None:
        """Forget a layer.

        Raises:
            ConfigError: There is no such layer.
        """
        ...

    def revision(self) -> Revision:
        """What was worked out from the store before holds while its part of this stays."""
        ...

    def close(self) -> None:
        """Give connections back."""
        ...
