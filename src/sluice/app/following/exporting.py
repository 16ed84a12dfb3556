"""From a store to a file for others: which sites, which tables, how much is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import geopandas as gpd
import pandas as pd

from sluice.app.exports.marked_up import Picture, Pictures
from sluice.app.exports.write import Exported, format_of, write_export
from sluice.app.following.reporting import gather_site
from sluice.app.following.reviewing import standing_alerts
from sluice.app.messages import DEFAULT_LANGUAGE, Messages, messages
from sluice.app.reports.place_pictures import PlacePicture, as_jpeg
from sluice.base.errors import ConfigError
from sluice.base.places import Verdict
from sluice.base.store import SiteQuery, Store
from sluice.sites.history import by_quarter, by_year
from sluice.sites.looks import cover_changes
from sluice.sites.redaction import Redaction

TABLES = ("sites", "alerts", "periods", "detections")
_MOST_PICTURED = 500
"""Sites in a KMZ with pictures: each takes some 100 kB."""


def export(
    store: Store,
    query: SiteQuery,
    path: Path,
    *,
    fmt: str | None = None,
    what: Sequence[str] = ("sites",),
    by: str = "period",
    redaction: Redaction | None = None,
    language: str = DEFAULT_LANGUAGE,
    done: Callable[[int, int], None] | None = None,
) -> Exported:
    """Write sites, their alerts, their history and their detections to one file.

    Args:
        store: Where they are.
        query: Which sites; where alerts alone are written, which alerts. Those that later looks
            rejected stay out, as those of rejected sites unless its verdict takes such sites.
        path: The file.
        fmt: A name of `EXPORT_FORMATS`; None to tell by the file's name. A KMZ gets pictures.
        what: Some of `TABLES`; several for a GeoPackage.
        by: Rows of periods, see `periods_view`.
        redaction: What is hidden.
        language: Of sentences, and of the captions of pictures.
        done: Told how many of how many sites have their pictures.

    Raises:
        ConfigError: See `write_export`; a table that does not exist; too many sites for pictures.
        RunFailed: The disk is full.
    """
    unknown = [name for name in what if name not in TABLES]
    if unknown:
        raise ConfigError(f"--what {unknown[0]}: is no table; use some of {', '.join(TABLES)}")
    name, view = format_of(path, fmt), periods_view(by)
    alerts = None
    if tuple(what) == ("alerts",):
        # As `sluice alerts list` tells them: the level asked for is the alert's.
        alerts = _told_alerts(store.alerts(query), query)
        query = SiteQuery(site_ids=tuple(alerts["site_id"].unique()), with_past=True)
    sites = store.sites(query)
    ids = tuple(sites["site_id"])
    if "sites" in what and (redaction is None or redaction.which is not None):
        sites = _with_cover(sites, store.looks(ids))
    if alerts is None and "alerts" in what:
        alerts = _told_alerts(store.alerts(SiteQuery(site_ids=ids)), query)
    wants_periods = "periods" in what or (redaction is not None and redaction.delayed)
    pictures = None
    if name == "kmz" and redaction is None:
        pictures = _pictures(store, ids, messages(language), done)
    return write_export(
        path,
        name,
        sites=sites,
        alerts=alerts,
        periods=view(store.periods(ids)) if wants_periods else None,
        detections=dated_detections(store, ids) if "detections" in what else None,
        what=what,
        redaction=redaction,
        pictures=pictures,
        language=language,
    )


def _told_alerts(alerts: pd.DataFrame, query: SiteQuery) -> pd.DataFrame:
    """Standing alerts, and those of rejected sites where they were asked for."""
    if query.verdict is not None and Verdict.REJECTED not in query.verdict:
        return standing_alerts(alerts)
    rejected = alerts["verdict"] == Verdict.REJECTED
    told = alerts.index.isin(standing_alerts(alerts).index) | rejected
    return alerts[told]


def dated_detections(store: Store, site_ids: Sequence[str]) -> gpd.GeoDataFrame:
    """Detections of sites with `start`, `end` and `sensor` of their runs, oldest first."""
    found = store.detections(SiteQuery(site_ids=tuple(site_ids)))
    runs = {run.run_id: run for run in store.runs()}
    of_row = [runs[run_id] for run_id in found["run_id"]]
    dated = found.assign(
        start=pd.Series([run.start for run in of_row], dtype=object),
        end=pd.Series([run.end for run in of_row], dtype=object),
        sensor=pd.Series([run.sensor for run in of_row], dtype=object),
    )
    order = ["start", "end", "site_id", "detection_id"]
    return dated.sort_values(order, ignore_index=True)


def periods_view(by: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """From periods as they were scanned to quarters or years.

    Args:
        by: `period`, `quarter` or `year`.

    Raises:
        ConfigError: Another word.
    """
    views: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
        "period": lambda periods: periods,
        "quarter": by_quarter,
        "year": by_year,
    }
    if by not in views:
        raise ConfigError(f"--by {by}: is not known; use one of {', '.join(views)}")
    return views[by]


def export_text(exported: Exported) -> str:
    """What was written, in words."""
    rows = ", ".join(f"{count:,} {name}" for name, count in exported.rows.items())
    lines = [f"{exported.path}: {rows}."]
    if exported.redacted:
        lines.append(f"{exported.redacted:,} of them show no exact place.")
    if exported.held_back:
        lines.append(f"{exported.held_back:,} are held back for the delay.")
    return " ".join(lines)


def _with_cover(sites: gpd.GeoDataFrame, looks: pd.DataFrame) -> gpd.GeoDataFrame:
    """Sites with hectares of each cover before and after, where any has them."""
    cover = cover_changes(looks, sites.set_index("site_id")["first_seen"])
    if cover.empty:
        return sites
    # `known_before` is a column of sites, and of the site's beginning.
    columns = cover.drop(columns="known_before")
    return sites.join(columns, on="site_id")


def _pictures(
    store: Store, ids: Sequence[str], say: Messages, done: Callable[[int, int], None] | None
) -> Pictures:
    if len(ids) > _MOST_PICTURED:
        raise ConfigError(
            f"pictures of {len(ids):,} sites make too large a KMZ; choose {_MOST_PICTURED} sites "
            "at most, by area, level or number, or take a form without pictures, as KML or GeoJSON"
        )
    pictures = {}
    for number, site_id in enumerate(ids, 1):
        evidence = gather_site(store, site_id, check_files=False)
        found = [
            Picture(_caption(when, picture, say), as_jpeg(picture.pixels))
            for when, picture in (("before", evidence.before), ("after", evidence.after))
            if picture is not None
        ]
        if found:
            pictures[site_id] = found
        if done is not None:
            done(number, len(ids))
    return pictures


def _caption(when: str, picture: PlacePicture, say: Messages) -> str:
    seen = say.text("export.detected" if picture.detected else "export.not_detected")
    return f"{say.of('pictures', when)} · {say.period(picture.start, picture.end)} · {seen}"
