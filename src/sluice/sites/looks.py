"""What a run saw of each site: the evidence, from which all else about a site follows."""

from __future__ import annotations

import datetime as dt
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from sluice.base.arrays import FloatArray
from sluice.base.places import LandedRun, Look, columns_of
from sluice.sites.cover import COLUMNS, LOST_COLUMNS
from sluice.sites.evidence import SITE_PRIOR
from sluice.sites.evidence_map import read_evidence_map, read_looks

BoolArray = npt.NDArray[np.bool_]
_SUMMED = ("footprint_ha", "area_ha", "area_low_ha", "area_high_ha")
_COVERS = COLUMNS


def look_at_sites(
    run: LandedRun,
    evidence_map: bytes | None,
    sites: gpd.GeoDataFrame,
    found: gpd.GeoDataFrame,
    *,
    everywhere: bool = False,
) -> pd.DataFrame:
    """The looks of one run.

    Where it detected something, what counts is the ground of its detections; where it did not,
    all of the site.

    Args:
        run: Its period, sensor and prior.
        evidence_map: Of the run; None where there was none.
        sites: `site_id` and `geometry`.
        found: Its detections: columns of `Detection`, `site_id`, `area_low_ha`, `area_high_ha`,
            `geometry`.
        everywhere: Without a map: sites without a detection were seen to have none.

    Returns:
        Columns of `Look`; no row for a site that lies beyond the run's map, or that a run without
        a map says nothing of.
    """
    looks = pd.DataFrame({"site_id": sites["site_id"].to_numpy(dtype=object)})
    looks["detected"] = looks["site_id"].isin(found["site_id"]).to_numpy()
    if evidence_map is None:
        looks["observed_share"] = 1.0
        looks["log_lr"] = np.nan
        looks = looks[looks["detected"] | everywhere].reset_index(drop=True)
    else:
        opened = read_evidence_map(evidence_map)
        seen = read_looks(opened, sites)
        for name in ("observed_share", "log_lr"):
            looks[name] = seen[name].to_numpy()
        outline = gpd.GeoSeries(
            [shapely.box(*opened.geobox.boundingbox.bbox)], crs=str(opened.geobox.crs)
        )
        within = sites.geometry.to_crs(outline.crs).intersects(outline.iloc[0]).to_numpy()
        looks = looks[within | looks["detected"]].reset_index(drop=True)
    detected = _of_detections(run, evidence_map, found)
    looks = looks.set_index("site_id")
    for name in (*_SUMMED, *_COVERS, *LOST_COLUMNS):
        looks[name] = np.nan
    looks["compared_with"] = None
    looks.update(detected)
    # Where something was detected, something was observed.
    hidden = looks["detected"] & (looks["observed_share"] == 0)
    looks.loc[hidden, "observed_share"] = 1.0
    looks = looks.reset_index().assign(
        run_id=run.run_id, sensor=run.sensor, start=run.start, end=run.end
    )
    told: pd.DataFrame = looks[columns_of(Look)]
    return told


def _of_detections(
    run: LandedRun, evidence_map: bytes | None, found: gpd.GeoDataFrame
) -> pd.DataFrame:
    """By site: summed areas, and the evidence of the ground that was detected."""
    if found.empty:
        return pd.DataFrame()
    figures = found.assign(area_ha=found["delineated_ha"])[["site_id", *_SUMMED]]
    table = figures.groupby("site_id")[list(_SUMMED)].sum(min_count=1)
    # One part without an outline leaves the whole without an area.
    partly = figures[list(_SUMMED)].isna().groupby(figures["site_id"]).any()
    table = table.mask(partly)
    if evidence_map is not None:
        seen = read_looks(evidence_map, found)
        log_lr, weight = seen["log_lr"].to_numpy(), found["footprint_ha"].to_numpy(float)
    else:
        log_lr, weight = _log_lr_of(found["probability_mean"].to_numpy(float), run.prior), None
    told: pd.DataFrame = table.assign(log_lr=_means(found["site_id"], log_lr, weight))
    return told


def _log_lr_of(probability: FloatArray, prior: float | None) -> FloatArray:
    # What others say of a place that they marked stands beside the prior of a marked place, so that
    # one look alone is worth what they say.
    at = SITE_PRIOR if prior is None else prior
    likely = np.clip(probability, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(likely / (1 - likely)) - np.log(at / (1 - at)))


def _means(names: pd.Series, values: FloatArray, weights: FloatArray | None) -> pd.Series:
    """Weighted mean of each name; NaN where all of its values are."""
    weight = np.ones(len(values)) if weights is None else np.where(weights > 0, weights, 1e-9)
    known = np.isfinite(values)
    sums = pd.DataFrame(
        {"value": np.where(known, values * weight, 0.0), "weight": np.where(known, weight, 0.0)},
        index=names.to_numpy(),
    )
    total = sums.groupby(level=0).sum()
    return total["value"] / total["weight"].where(total["weight"] > 0)


def merge_looks(looks: pd.DataFrame, merged: pd.Series) -> pd.DataFrame:
    """Give the looks at merged sites to those that go on, one for each run.

    Args:
        looks: Columns of `Look`.
        merged: The site that goes on, by the id of each that does not.

    Returns:
        Looks of one run at what is now one site are one: areas add up; evidence and share observed
        are the means of those parts that were detected, else of all. What was lost is told anew.
    """
    if merged.empty or looks.empty:
        return looks
    names = looks["site_id"].map(merged).fillna(looks["site_id"])
    renamed = looks.assign(site_id=names)
    joined = renamed["site_id"].isin(merged.to_numpy())
    alone, together = renamed[~joined], renamed[joined]
    if together.empty:
        return alone
    key = ["site_id", "run_id"]
    any_detected = together.groupby(key)["detected"].transform("any")
    counted = together[together["detected"] | ~any_detected]
    one = together.groupby(key, as_index=False).agg(
        {"sensor": "first", "start": "first", "end": "first", "detected": "any"}
    )
    sums = counted.groupby(key)[[*_SUMMED, *_COVERS]].sum(min_count=1)
    means = counted.groupby(key)[["observed_share", "log_lr"]].mean()
    one = one.merge(sums, left_on=key, right_index=True).merge(means, left_on=key, right_index=True)
    one = one.assign(compared_with=None, **dict.fromkeys(LOST_COLUMNS, np.nan))
    return pd.concat([alone, one[columns_of(Look)]], ignore_index=True)


def compared_runs(looks: pd.DataFrame, first_seen: pd.Series) -> pd.DataFrame:
    """Which looks tell the cover of sites before and after, see `cover_changes`.

    Returns:
        By `site_id`, of those of which two looks or more tell it: the run ids `before` and `after`.
    """
    before, after, _ = _before_and_after(looks, first_seen)
    return pd.DataFrame({"before": before["run_id"], "after": after["run_id"]}, index=before.index)


def cover_changes(looks: pd.DataFrame, first_seen: pd.Series) -> pd.DataFrame:
    """Cover of sites before and after, and what was lost, in hectares of the same ground.

    Before is the last look with a known cover that ended before the site was first detected, else
    the earliest look; after is the latest.

    Args:
        looks: Columns of `Look`.
        first_seen: First day of the first period in which each was detected, by `site_id`.

    Returns:
        By `site_id`, of those of which two looks or more tell it: `cover_before`, `cover_after`
        (first days of these looks' periods), `known_before` (whether the first was before the site
        began), for each cover `<cover>_before_ha`, `<cover>_after_ha`, and the columns of
        `sluice.sites.cover.cover_loss` that `Look` has, from pixel to pixel: what was lost in one
        corner and came in another is lost. NaN where the two images could not be compared.
    """
    before, after, known = _before_and_after(looks, first_seen)
    columns: dict[str, Any] = {
        "cover_before": before["start"],
        "cover_after": after["start"],
        "known_before": known,
    }
    for name in _COVERS:
        cover = name.removesuffix("_ha")
        columns |= {f"{cover}_before_ha": before[name], f"{cover}_after_ha": after[name]}
    compared = after["compared_with"].eq(before["run_id"])
    columns |= {name: after[name].astype(float).where(compared) for name in LOST_COLUMNS}
    return pd.DataFrame(columns, index=before.index)


def _before_and_after(
    looks: pd.DataFrame, first_seen: pd.Series
) -> tuple[pd.DataFrame, pd.DataFrame, BoolArray]:
    """The looks before and after, by `site_id`, and whether the first was before the site began."""
    looks = looks[looks["site_id"].isin(first_seen.index)]
    told = looks[looks[list(_COVERS)].notna().all(axis=1)]
    told = told.sort_values(["start", "end", "run_id"], kind="stable")
    told = told[told.groupby("site_id")["site_id"].transform("size") > 1]
    began = told["site_id"].map(first_seen)
    is_earlier = np.array([end < day for end, day in zip(told["end"], began, strict=True)], bool)
    earlier = told[is_earlier].groupby("site_id").tail(1)
    first = told[~told["site_id"].isin(earlier["site_id"])].groupby("site_id").head(1)
    before = pd.concat([earlier, first]).set_index("site_id").sort_index()
    after = told.groupby("site_id").tail(1).set_index("site_id").sort_index()
    return before, after, before.index.isin(earlier["site_id"])


def cover_change(looks: pd.DataFrame, first_seen: dt.date) -> dict[str, Any] | None:
    """Cover of one site before and after, see `cover_changes`; None where it is not told.

    Args:
        looks: Of this site, columns of `Look`.
        first_seen: First day of the first period in which it was detected.
    """
    began = pd.Series(first_seen, index=looks["site_id"].unique(), dtype=object)
    rows: list[dict[Any, Any]] = cover_changes(looks, began).to_dict("records")
    return rows[0] if rows else None
