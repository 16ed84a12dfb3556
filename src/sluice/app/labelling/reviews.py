"""From what people said of sites to labels: what is a mine, what is mistaken for one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import shapely

from sluice.app.following.cover_of_runs import is_result_of
from sluice.app.following.reviewing import MINE, SOURCE
from sluice.app.products import layout
from sluice.app.products.landing import telling_disk_errors
from sluice.app.products.vectors import WORKINGS, GpkgLayer, write_geojson, write_gpkg_layers
from sluice.base.errors import ConfigError, NoValidData
from sluice.base.files import read_vector, vector_layers, write_whole
from sluice.base.places import LandedRun, Reason, Verdict
from sluice.base.store import SiteQuery, Store
from sluice.labels.polygons import IGNORE
from sluice.labels.vector_table import NEGATIVE
from sluice.sites.linking import follow_merges
from sluice.sites.site_ground import union_by_site

LAYER = "labels"
COLUMNS = ("class", NEGATIVE, "start", "end", "source", "who", "when", "site_id", "area", "outline")
DRAWN, OUTLINED, MARKED = "drawn", "workings", "footprint"
"""Where an outline is from: a person, the model that outlines workings, or the squares that were
marked."""
_ENDINGS = (".gpkg", ".geojson")
_LABELS_ABOUT = (
    "Sites that people reviewed in Sluice: mines they confirmed, and what was mistaken for one. A "
    "person confirmed the place; its outline is a model's unless it was drawn."
)


@dataclass(frozen=True)
class ReviewLabels:
    """Labels, and what became none."""

    table: gpd.GeoDataFrame
    """`COLUMNS` and `geometry`, EPSG:4326. First ground to leave alone, of class `ignore`, then
    typed negatives, then what was confirmed: where they overlap the later one counts."""
    left_out: dict[str, int]
    """Sites that are no label, by why; their ground is `ignore`."""

    @property
    def counts(self) -> dict[str, int]:
        """Labels by class."""
        labels = self.table[self.table["class"] != IGNORE]
        return {str(name): int(count) for name, count in labels["class"].value_counts().items()}


def review_labels(store: Store, area: str | None = None) -> ReviewLabels:
    """Labels from the last review of each site, and from the outlines that people drew.

    A confirmed site is `mine`; a rejected one a typed negative, whose class is the reason. Each
    has the outline and the dates of the last period that the store knew when the review was made.
    What else sites ever covered is `ignore`: nobody said what it is at other dates, nor what the
    sites are that nobody reviewed.

    Args:
        store: Where sites and reviews are.
        area: One area; None for all.

    Raises:
        NoValidData: Nobody has confirmed or rejected a site, or drawn an outline.
    """
    sites = store.sites(SiteQuery(area=area, with_past=True))
    said = _last_words(store, sites)
    live = sites[sites["current"].to_numpy(dtype=bool)].set_index("site_id", drop=False)
    verdict = said["verdict"].reindex(live.index)
    judged = verdict.isin([Verdict.CONFIRMED, Verdict.REJECTED])
    left_out = {
        "not reviewed": int(verdict.isna().sum()),
        "unsure": int((verdict == Verdict.UNSURE).sum()),
    }
    found = _seen(store, area, live[judged], said, sites.set_index("site_id").geometry)
    gone = ~said.index.isin(found["site_id"]) & (said["verdict"] != Verdict.UNSURE)
    drawn, contrary = _drawn(store, area, said, sites)
    left_out["judged, and not detected any more"] = int(gone.sum())
    left_out["drawn, and judged otherwise since"] = contrary
    # An outline that a person drew counts more than a model's of the same period.
    told = pd.concat([part for part in (found, drawn) if len(part)] or [found], ignore_index=True)
    twice = told.duplicated(["site_id", "start", "end"], keep="last") & told["site_id"].notna()
    told = told[~twice]
    if told.empty:
        why = ", ".join(f"{count:,} {reason}" for reason, count in left_out.items() if count)
        raise NoValidData(
            f"no site was confirmed or rejected ({why or 'there are no sites'}); say what they are "
            "with `sluice review`"
        )
    # What was confirmed lies over what was rejected, and both over what is left alone.
    told = told.sort_values([NEGATIVE, "area", "site_id"], ascending=[False, True, True])
    table = pd.concat([_ground(live), told], ignore_index=True)[[*COLUMNS, "geometry"]]
    return ReviewLabels(
        gpd.GeoDataFrame(table, geometry="geometry", crs="EPSG:4326"),
        {reason: count for reason, count in left_out.items() if count},
    )


def _last_words(store: Store, sites: gpd.GeoDataFrame) -> pd.DataFrame:
    """By site that goes on: the last review of it and of those that were merged into it."""
    heirs = follow_merges(sites)
    names = ("site_id", "verdict", "reason", "who", "when")
    rows = [[getattr(review, name) for name in names] for review in store.reviews()]
    said = pd.DataFrame(rows, columns=["of_site", *names[1:]], dtype=object)
    said["site_id"] = said["of_site"].map(heirs)
    said["when"] = pd.to_datetime(said["when"], utc=True)
    known = said[said["site_id"].notna()]
    return known.drop_duplicates("site_id", keep="last").set_index("site_id")


def _seen(
    store: Store,
    area: str | None,
    judged: gpd.GeoDataFrame,
    said: pd.DataFrame,
    ground: gpd.GeoSeries,
) -> pd.DataFrame:
    """A label for each judged site: what was marked in the period that the reviewer saw."""
    detections = store.detections(SiteQuery(area=area, site_ids=tuple(judged["site_id"])))
    if detections.empty:
        return pd.DataFrame(columns=[*COLUMNS, "geometry"], dtype=object)
    runs = store.runs(area, with_past=True)
    detections = detections.merge(_dates(runs), on="run_id")
    detections = detections.join(said, on="site_id")
    detections = _of_period_seen(detections)
    # Of a site that grew together with others, the part of which it was said.
    own = ground.reindex(detections["of_site"]).to_numpy()
    shapes = detections.geometry.to_numpy()
    meets = shapely.intersects(shapes, own) & ~shapely.touches(shapes, own)
    some = pd.Series(meets, detections.index).groupby(detections["site_id"]).transform("any")
    detections = detections[meets | ~some.to_numpy(dtype=bool)]
    marked = union_by_site(detections["site_id"], detections.geometry)
    confirmed = detections[detections["verdict"] == Verdict.CONFIRMED]
    outlined = _workings(confirmed, runs)
    labels = detections.drop_duplicates("site_id").set_index("site_id")
    labels["geometry"] = marked.reindex(labels.index)
    labels["outline"] = MARKED
    has_outline = labels.index.isin(outlined.index)
    labels.loc[has_outline, "outline"] = OUTLINED
    labels.loc[has_outline, "geometry"] = outlined.reindex(labels.index[has_outline])
    labels[NEGATIVE] = labels["verdict"] == Verdict.REJECTED
    reasons = labels["reason"].map(lambda reason: str(reason or Reason.OTHER))
    labels["class"] = reasons.where(labels[NEGATIVE], MINE)
    labels["area"] = judged["area"].reindex(labels.index)
    labels["source"] = SOURCE
    return pd.DataFrame(labels.reset_index()).reindex(columns=[*COLUMNS, "geometry"])


def _dates(runs: Sequence[LandedRun]) -> pd.DataFrame:
    """By run: its period, and when the store first knew of that period."""
    table = pd.DataFrame(
        [(run.run_id, run.area, run.start, run.end, run.landed) for run in runs],
        columns=["run_id", "area_of_run", "start", "end", "landed"],
    )
    # A run that took another's place shows the same period, which was known before.
    table["known"] = table.groupby(["area_of_run", "start", "end"])["landed"].transform("min")
    return table.drop(columns=["landed", "area_of_run"])


def _of_period_seen(detections: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Those of the last period that was there when the review was made, else of the first one."""
    seen = (detections["known"] <= detections["when"]).to_numpy(dtype=bool)
    periods = detections[["site_id", "start", "end"]].assign(seen=seen)
    periods["order"] = pd.to_datetime(periods["end"]).astype("int64") * np.where(seen, 1, -1)
    chosen = periods.sort_values(["seen", "order", "start"]).drop_duplicates("site_id", keep="last")
    return detections.merge(chosen[["site_id", "start", "end"]], on=["site_id", "start", "end"])


def _workings(detections: gpd.GeoDataFrame, runs: Sequence[LandedRun]) -> pd.Series:
    """By site: the workings that scans outlined within detections, where their files are there."""
    folders = {run.run_id: run.folder for run in runs if run.folder is not None}
    parts = []
    for run_id, rows in detections.groupby("run_id"):
        folder = Path(folders.get(str(run_id), ""))
        file = folder / layout.SITES_GPKG
        if not is_result_of(folder, str(run_id)) or WORKINGS not in vector_layers(file):
            continue
        workings = read_vector(file, layer=WORKINGS, may_be_empty=True).to_crs("EPSG:4326")
        parts.append(workings.merge(rows[["detection_id", "site_id"]], on="detection_id"))
    if not parts:
        return pd.Series(dtype=object)
    found = pd.concat(parts, ignore_index=True)
    found = found[~(found.geometry.is_empty | found.geometry.isna())]
    return union_by_site(found["site_id"], found.geometry)


def _drawn(
    store: Store, area: str | None, said: pd.DataFrame, sites: gpd.GeoDataFrame
) -> tuple[pd.DataFrame, int]:
    """The outlines that people drew, and of how many a later review says something else."""
    drawn = store.labels(area)
    drawn["site_id"] = drawn["site_id"].map(follow_merges(sites)).astype(object)
    now = said.reindex(drawn["site_id"])
    drawn[NEGATIVE] = drawn["class_name"].isin([str(reason) for reason in Reason])
    expected = drawn[NEGATIVE].map({True: Verdict.REJECTED, False: Verdict.CONFIRMED})
    verdict = now["verdict"].to_numpy()
    drawn["when"] = pd.to_datetime(drawn["when"], utc=True)
    later = now["when"].set_axis(drawn.index) > drawn["when"]
    contrary = later & pd.notna(verdict) & (verdict != expected)
    kept = drawn[~contrary].rename(columns={"class_name": "class"}).assign(outline=DRAWN)
    return pd.DataFrame(kept).reindex(columns=[*COLUMNS, "geometry"]), int(contrary.sum())


def _ground(live: gpd.GeoDataFrame) -> pd.DataFrame:
    """All that sites ever covered, without dates: of most of it nobody said what it is."""
    told = {"class": IGNORE, NEGATIVE: False, "source": SOURCE, "outline": MARKED}
    rows = pd.DataFrame({**told, "site_id": live["site_id"], "area": live["area"]}, live.index)
    rows["geometry"] = live.geometry.to_numpy()
    return rows.reindex(columns=[*COLUMNS, "geometry"])


def write_review_labels(labels: ReviewLabels, path: Path) -> None:
    """Write labels as GeoPackage or GeoJSON, whole or not at all.

    Raises:
        ConfigError: Another ending.
        RunFailed: The disk is full.
    """
    ending = path.suffix.lower()
    if ending not in _ENDINGS:
        raise ConfigError(f"--out {path}: give a name that ends in one of {', '.join(_ENDINGS)}")
    table = labels.table.copy()
    for name in ("start", "end"):
        # Days, not moments; a type of its own where all are absent.
        days = [None if pd.isna(day) else day for day in table[name]]
        table[name] = pd.Series(days, table.index, dtype=pd.ArrowDtype(pa.date32()))
    table["when"] = pd.to_datetime(table["when"], utc=True)
    with telling_disk_errors(path.parent), write_whole(path) as part:
        if ending == ".gpkg":
            layer = GpkgLayer(LAYER, table, "Labels from reviews")
            write_gpkg_layers([layer], part, disclaimer=_LABELS_ABOUT)
        else:
            write_geojson(table, part, disclaimer=_LABELS_ABOUT, name=LAYER)


def review_labels_text(labels: ReviewLabels, path: Path) -> str:
    """What was written, in words."""
    negatives = labels.table.loc[labels.table[NEGATIVE], "class"]
    counts = ", ".join(f"{count:,} {name}" for name, count in labels.counts.items())
    lines = [f"{path}: {counts}; {len(negatives):,} of them typed negatives."]
    outlines = labels.table.loc[labels.table["class"] == MINE, "outline"].value_counts()
    words = {
        DRAWN: "drawn by people",
        OUTLINED: "workings that a model outlined",
        MARKED: "the ground that was marked, which takes in more than the mine",
    }
    told = [f"{outlines[kind]:,} {word}" for kind, word in words.items() if kind in outlines]
    if told:
        lines.append(f"Outlines of mines: {', '.join(told)}.")
    lines += [f"{count:,} left out: {reason}." for reason, count in labels.left_out.items()]
    lines.append(
        "What else sites ever covered is of class ignore: nothing is learnt from it. Give the file "
        "to `sluice labels grid --labels`."
    )
    return "\n".join(lines)
