"""How much mine there is, from points that a person labelled: `sluice area estimate`."""

from __future__ import annotations

import csv
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import shapely

from sluice.app.judging import read_truth
from sluice.app.products.landing import telling_disk_errors
from sluice.app.products.sample_files import (
    ANSWER,
    POINT_ID,
    SAMPLE_ID,
    labelled_points,
    read_sample,
)
from sluice.app.sampling.drawing import ANSWERS, UNSURE
from sluice.app.sampling.plan import SamplePlan, plan_path, read_plan
from sluice.app.sampling.strata import MINE, NOT_MINE, source_hashes
from sluice.app.sampling.text import remarks
from sluice.base.errors import DataError
from sluice.base.files import write_whole
from sluice.base.polygons import mended
from sluice.base.records import Record
from sluice.evaluation.area_estimate import AreaEstimate, Figure, SampledStratum, estimate_area

_MOVED_M = 1.0
_GEOD = pyproj.Geod(ellps="WGS84")


class UnsureBounds(Record):
    """The mine area if all unsure points were one thing or the other."""

    points: int
    all_mine_ha: Figure
    none_mine_ha: Figure


class AreaReport(Record):
    """What a labelled sample says."""

    sample_id: str
    source: dict[str, object]
    observed_ha: float
    not_observed_ha: float
    unlabelled: int
    unsure: UnsureBounds | None
    estimate: AreaEstimate
    """Of the points that are sure."""
    remarks: tuple[str, ...]
    """What to know before the figures are used."""


def estimate_sample(
    sample: Path,
    *,
    plan: Path | None = None,
    maps: Path | None = None,
    truth: Path | None = None,
    truth_layer: str | None = None,
    unfinished: bool = False,
) -> AreaReport:
    """Estimate the mine area and the map's accuracy from a labelled sample.

    Args:
        sample: The file that a person labelled.
        plan: Of the sample; None for the one beside it.
        maps: The map that was sampled, to see that it is still the same; None not to look.
        truth: Outlines of all mines, which label the points in place of a person; None for the
            labels of the sample.
        truth_layer: Of `truth`; None where it has only one.
        unfinished: Go on where points have no label yet.

    Raises:
        DataError: Points without a label, unknown words, points that were moved or are not of the
            plan, a stratum with fewer than two sure labels, or another map.
        SourceError: A file cannot be read.
    """
    table = read_sample(sample)
    plan_file = plan if plan is not None else _find_plan(sample, table)
    known = read_plan(plan_file)
    if maps is not None:
        _check_same_map(known, maps)
    if truth is not None:
        table[ANSWER] = _answers_of(read_truth(truth, truth_layer), table, sample)
    labelled, unlabelled = _match(table, known, sample)
    if unlabelled and (not unfinished or labelled.empty):
        shown = ", ".join(unlabelled[:5]) + (", …" if len(unlabelled) > 5 else "")
        raise DataError(
            f"{sample}: {len(unlabelled)} of {len(known.points)} points have no label ({shown}); "
            f"label them ({', '.join(ANSWERS)}), or give {_in_place_of(sample, labelled)}",
            href=str(sample),
        )
    sure = labelled[labelled["reference"] != UNSURE]
    estimate = _estimate(known, sure)
    unsure = _bounds(known, labelled)
    told = remarks(estimate, unsure=unsure.points if unsure else 0, unlabelled=len(unlabelled))
    if truth is not None:
        told = (f"The answers are those of the outlines in {truth.name}.", *told)
    return AreaReport(
        sample_id=known.sample_id,
        source=known.source,
        observed_ha=known.observed_ha,
        not_observed_ha=known.not_observed_ha,
        unlabelled=len(unlabelled),
        unsure=unsure,
        estimate=estimate,
        remarks=told,
    )


def _in_place_of(sample: Path, labelled: pd.DataFrame) -> str:
    """What to give where labels are missing: the file that has them, or the option."""
    beside = [sample.with_suffix(ending) for ending in (".gpkg", ".csv", ".geojson")]
    others = [path for path in beside if path != sample and labelled_points(path)]
    if labelled.empty and others:
        return f"{others[0].name} beside it, which has labels"
    return "--unfinished for a preliminary figure"


def _answers_of(outlines: gpd.GeoDataFrame, table: pd.DataFrame, sample: Path) -> pd.Series:
    if not {"lon", "lat"} <= set(table) or table[["lon", "lat"]].isna().any(axis=None):
        raise DataError(f"{sample}: tells no places to compare with outlines; give the GeoPackage")
    places = gpd.GeoSeries.from_xy(table["lon"], table["lat"], crs="EPSG:4326")
    outlined = shapely.STRtree(mended(outlines.geometry.to_numpy()))
    hit = outlined.query(places.to_crs(outlines.crs).to_numpy(), predicate="intersects")[0]
    answers = pd.Series(NOT_MINE, index=table.index)
    answers.iloc[np.unique(hit)] = MINE
    return answers


def _find_plan(sample: Path, table: pd.DataFrame) -> Path:
    beside = plan_path(sample)
    if beside.is_file() or SAMPLE_ID not in table:
        return beside
    # The file may have been saved under another name: then its id tells.
    ids = set(table[SAMPLE_ID].dropna().astype(str))
    for path in sorted(sample.parent.glob("*.plan.json")):
        try:
            if read_plan(path).sample_id in ids:
                return path
        except DataError:
            continue
    return beside


def _check_same_map(plan: SamplePlan, maps: Path) -> None:
    found = source_hashes(maps)
    if found != plan.hashes:
        changed = sorted(
            name for name in found.keys() | plan.hashes if found.get(name) != plan.hashes.get(name)
        )
        raise DataError(
            f"{maps}: is not the map that was sampled ({', '.join(changed)} differ; the sample is "
            f"of {plan.source.get('run_id') or plan.source.get('name')}); give that one, or draw "
            "a new sample",
            href=str(maps),
        )


def _match(table: pd.DataFrame, plan: SamplePlan, sample: Path) -> tuple[pd.DataFrame, list[str]]:
    """The labelled points with their strata, and the ids of the points without a label."""
    where = str(sample)
    if SAMPLE_ID in table:
        others = sorted(set(table[SAMPLE_ID].dropna().astype(str)) - {plan.sample_id, ""})
        if others:
            raise DataError(
                f"{sample}: is of sample {others[0]}, and the plan of {plan.sample_id}; name the "
                "plan that was written with it with --plan",
                href=where,
            )
    twice = table.loc[table[POINT_ID].duplicated(), POINT_ID]
    if len(twice):
        raise DataError(f"{sample}: point {twice.iloc[0]} is there twice; keep one", href=where)
    planned = pd.DataFrame([point.model_dump() for point in plan.points]).set_index(POINT_ID)
    strange = table.loc[~table[POINT_ID].isin(planned.index), POINT_ID]
    if len(strange):
        raise DataError(
            f"{sample}: {len(strange)} points are not of this sample, first {strange.iloc[0]!r}; "
            "points of one's own choice make the estimate lean: remove them",
            href=where,
        )
    joined = table.set_index(POINT_ID).join(planned.add_suffix("_planned"))
    _refuse_moved(joined, sample)
    words = joined[ANSWER].str.lower().str.replace(r"[\s_-]+", " ", regex=True).str.strip()
    unknown = joined.index[(words != "") & ~words.isin(ANSWERS)]
    if len(unknown):
        first = unknown[0]
        told = joined[ANSWER].loc[first]
        raise DataError(
            f"{sample}: {len(unknown)} labels are not known, first {told!r} of point {first}; use "
            f"{', '.join(ANSWERS)}",
            href=where,
        )
    done = words[words != ""]
    missing = [name for name in planned.index if name not in done.index]
    strata = joined["stratum_planned"].loc[done.index]
    labelled = pd.DataFrame({"stratum": strata, "reference": done})
    return labelled, missing


def _refuse_moved(joined: pd.DataFrame, sample: Path) -> None:
    if not {"lon", "lat"} <= set(joined):
        return  # A table without places cannot have moved any.
    told = joined[["lon", "lat", "lon_planned", "lat_planned"]].dropna()
    lon, lat, lon_planned, lat_planned = (told[name].to_numpy() for name in told)
    _, _, metres = _GEOD.inv(lon, lat, lon_planned, lat_planned)
    moved = told.index[np.abs(metres) > _MOVED_M]
    if len(moved):
        raise DataError(
            f"{sample}: {len(moved)} points were moved, first {moved[0]} by "
            f"{np.abs(metres)[told.index.get_loc(moved[0])]:,.0f} m; a label holds only for the "
            "place that was drawn: put them back and label again",
            href=str(sample),
        )


def _estimate(plan: SamplePlan, labelled: pd.DataFrame) -> AreaEstimate:
    map_class = {stratum.name: stratum.map_class for stratum in plan.strata}
    return estimate_area(
        [
            SampledStratum(
                name=stratum.name,
                area_ha=stratum.area_ha,
                pixels=stratum.pixels,
                map_class=stratum.map_class,
            )
            for stratum in plan.strata
        ],
        labelled.assign(map_class=labelled["stratum"].map(map_class)),
        (MINE, NOT_MINE),
    )


def _bounds(plan: SamplePlan, labelled: pd.DataFrame) -> UnsureBounds | None:
    unsure = labelled["reference"] == UNSURE
    if not unsure.any():
        return None
    as_mine, as_none = (
        _estimate(plan, labelled.assign(reference=labelled["reference"].mask(unsure, answer)))
        for answer in (MINE, NOT_MINE)
    )
    return UnsureBounds(
        points=int(unsure.sum()),
        all_mine_ha=as_mine.by_class[0].area_ha,
        none_mine_ha=as_none.by_class[0].area_ha,
    )


def write_report(report: AreaReport, stem: Path) -> tuple[Path, Path]:
    """Write a report as JSON and as a table, CSV.

    Args:
        report: From `estimate_sample`.
        stem: Path without the ending.

    Returns:
        The two files.

    Raises:
        RunFailed: The disk is full.
        ConfigError: The folder cannot be written.
    """
    as_json, as_csv = (stem.with_name(stem.name + ending) for ending in (".json", ".csv"))
    with telling_disk_errors(stem.parent):
        with write_whole(as_json) as part:
            part.write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
        with write_whole(as_csv) as part, part.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            columns = tuple(Figure.model_fields)
            writer.writerow(("class", "figure", "unit", *columns))
            for name, figure, unit, values in _rows(report.estimate):
                told = [f"{getattr(values, column):.6g}" for column in columns]
                writer.writerow((name, figure, unit, *told))
    return as_json, as_csv


def _rows(estimate: AreaEstimate) -> list[tuple[str, str, str, Figure]]:
    rows = [("all", "overall accuracy", "share", estimate.overall)]
    for found in estimate.by_class:
        rows.append((found.name, "area", "ha", found.area_ha))
        rows.append((found.name, "area", "share", found.share))
        if found.users is not None:
            rows.append((found.name, "user's accuracy", "share", found.users))
        if found.producers is not None:
            rows.append((found.name, "producer's accuracy", "share", found.producers))
    return rows
