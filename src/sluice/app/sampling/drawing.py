"""Drawing the points that a person labels: `sluice area plan`."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj

from sluice import __version__
from sluice.app.products.landing import telling_disk_errors
from sluice.app.products.sample_files import (
    ANSWER,
    POINT_ID,
    SAMPLE_ID,
    labelled_points,
    write_kml,
    write_sample,
)
from sluice.app.products.table import imagery_link
from sluice.app.sampling.plan import PlannedPoint, SamplePlan, plan_path, sealed, write_plan
from sluice.app.sampling.strata import MINE, NOT_MINE, CountedStrata, MapStrata, count_strata
from sluice.app.sampling.text import how_to_label
from sluice.base.errors import ConfigError
from sluice.evaluation.area_sample import (
    LEAST_PER_STRATUM,
    Allocation,
    Stratum,
    allocate_points,
    draw_ranks,
    expected_se_ha,
    find_ranked,
    points_needed,
)

UNSURE = "unsure"
ANSWERS = (MINE, NOT_MINE, UNSURE)
DEFAULT_POINTS = 400
_USUAL_MINIMUM = 50
"""Olofsson et al. 2014 advise 50 to 100 points for a rare class."""


@dataclass(frozen=True)
class PlanOptions:
    """How to draw a sample."""

    points: int | None = None
    """In all; None for what the target takes, or 400."""
    target_se: str | None = None
    """Standard error of the mine area: `20ha`, or `10%` of what is expected."""
    allocation: Allocation = "neyman"
    min_points: int | None = None
    """Of each stratum; None for 50, or fewer where few are drawn."""
    expected: Mapping[str, float] | None = None
    """Guessed share of mine by stratum, in place of the usual guesses."""
    seed: int = 0
    overwrite: bool = False
    kml: bool = False


def plan_sample(maps: MapStrata, out: Path, options: PlanOptions) -> SamplePlan:
    """Draw a sample of a map, and write the files to label and the plan.

    Args:
        maps: The map (`read_strata`).
        out: The GeoPackage to write; GeoJSON, CSV and the plan take its name.
        options: How many points, and where.

    Raises:
        ConfigError: The options cannot be met, or `out` holds labels already.
        NoValidData: Nothing was observed.
        RunFailed: The disk is full.
    """
    out = _output(out, overwrite=options.overwrite)
    counted = count_strata(maps)
    strata = _with_expected(counted.strata, options.expected or {})
    target = _target_ha(options.target_se, strata)
    if options.points is not None and target is not None:
        raise ConfigError("give --points or --target-se, not both")
    wanted = options.points or DEFAULT_POINTS
    minimum = options.min_points
    if minimum is None:
        each = wanted // (2 * len(strata)) if target is None else _USUAL_MINIMUM
        minimum = max(LEAST_PER_STRATUM, min(_USUAL_MINIMUM, each))
    if target is not None:
        wanted = points_needed(strata, target, options.allocation, minimum)
    shares = allocate_points(strata, wanted, options.allocation, minimum)
    strata = tuple(
        stratum.model_copy(update={"points": int(points)})
        for stratum, points in zip(strata, shares, strict=True)
    )
    plan = sealed(
        SamplePlan(
            sample_id="",
            sluice_version=__version__,
            source=maps.source,
            hashes=maps.hashes,
            seed=options.seed,
            allocation=options.allocation,
            target_se_ha=target,
            expected_se_ha=round(expected_se_ha(strata, shares), 4),
            crs=_crs_name(maps),
            pixel_m=counted.pixel_m,
            pixel_area_spread=round(counted.pixel_area_spread, 8),
            observed_ha=round(counted.observed_ha, 4),
            not_observed_ha=round(counted.not_observed_ha, 4),
            strata=strata,
            points=_draw(maps, counted, strata, options.seed),
        )
    )
    table = _blind_table(plan)
    with telling_disk_errors(out.parent):
        write_sample(table, out, ANSWERS, how_to_label(plan))
        if options.kml:
            write_kml(table, out.with_suffix(".kml"))
        write_plan(plan, plan_path(out))
    return plan


def sample_files(out: Path, *, kml: bool = False) -> list[Path]:
    """The files that `plan_sample` writes, those to label first."""
    first = out if out.suffix else out.with_suffix(".gpkg")
    endings = (".geojson", ".csv", *([".kml"] if kml else []))
    return [first, *(first.with_suffix(ending) for ending in endings), plan_path(first)]


def _crs_name(maps: MapStrata) -> str:
    epsg = pyproj.CRS(str(maps.geobox.crs)).to_epsg()
    return f"EPSG:{epsg}" if epsg else str(maps.geobox.crs)


def _output(out: Path, *, overwrite: bool) -> Path:
    if out.suffix == "":
        out = out.with_suffix(".gpkg")
    if out.suffix.lower() != ".gpkg" or out.is_dir():
        raise ConfigError(f"--out {out}: give a file name that ends with .gpkg")
    beside = [out, out.with_suffix(".csv"), out.with_suffix(".geojson")]
    there = [path for path in (*beside, plan_path(out)) if path.exists()]
    if there and not overwrite:
        labelled = max(labelled_points(path) for path in beside)
        what = f"holds {labelled} labels" if labelled else "is there already"
        raise ConfigError(
            f"{there[0]}: {what}; give --out another name, or --overwrite to lose it",
            href=str(there[0]),
        )
    return out


def _with_expected(
    strata: tuple[Stratum, ...], expected: Mapping[str, float]
) -> tuple[Stratum, ...]:
    names = [stratum.name for stratum in strata]
    unknown = sorted(set(expected) - set(names))
    if unknown:
        raise ConfigError(
            f"--expect: no stratum {', '.join(unknown)}; this map has {', '.join(names)}"
        )
    wrong = [name for name, share in expected.items() if not 0 <= share <= 1]
    if wrong:
        raise ConfigError(f"--expect {wrong[0]}={expected[wrong[0]]:g}: give a share from 0 to 1")
    return tuple(
        stratum.model_copy(
            update={"expected_share": expected.get(stratum.name, stratum.expected_share)}
        )
        for stratum in strata
    )


def _target_ha(text: str | None, strata: tuple[Stratum, ...]) -> float | None:
    if text is None:
        return None
    found = re.fullmatch(r"\s*([0-9.]+)\s*(ha|%)\s*", text)
    try:
        number = float(found[1]) if found else 0.0
    except ValueError:
        number = 0.0
    if found is None or number <= 0:
        raise ConfigError(
            f"--target-se {text!r}: give hectares (20ha), or a share of the mine area (10%)"
        )
    expected = sum(stratum.area_ha * stratum.expected_share for stratum in strata)
    return number if found[2] == "ha" else number / 100 * expected


def _draw(
    maps: MapStrata, counted: CountedStrata, strata: tuple[Stratum, ...], seed: int
) -> tuple[PlannedPoint, ...]:
    points = dict(zip(counted.codes, (stratum.points for stratum in strata), strict=True))
    numbers = range(len(maps.strata))
    ranks = draw_ranks(counted.before[-1], np.array([points.get(i, 0) for i in numbers]), seed)
    rows, cols, of = [], [], []
    for number, block in enumerate(maps.blocks()):
        first, last = counted.before[number], counted.before[number + 1]
        if not any(
            np.searchsorted(drawn, first[i]) < np.searchsorted(drawn, last[i])
            for i, drawn in enumerate(ranks)
        ):
            continue
        row, col, code = find_ranked(maps.read(block), first, ranks)
        rows.append(row + block.row)
        cols.append(col + block.col)
        of.append(code)
    order = np.random.default_rng([seed, 1]).permutation(sum(part.size for part in of))
    row, col, code = (np.concatenate(parts)[order] for parts in (rows, cols, of))
    grid = maps.geobox.affine
    to_lonlat = pyproj.Transformer.from_crs(str(maps.geobox.crs), "EPSG:4326", always_xy=True)
    lon, lat = to_lonlat.transform(grid.c + grid.a * (col + 0.5), grid.f + grid.e * (row + 0.5))
    width = len(str(len(order)))
    return tuple(
        PlannedPoint(
            point_id=f"P{number:0{width}d}",
            lon=round(float(x), 7),
            lat=round(float(y), 7),
            stratum=maps.strata[i].name,
        )
        for number, (x, y, i) in enumerate(zip(lon, lat, code, strict=True), 1)
    )


def _blind_table(plan: SamplePlan) -> gpd.GeoDataFrame:
    points = pd.DataFrame([point.model_dump(exclude={"stratum"}) for point in plan.points])
    dates = plan.source.get("dates") or (None, None)
    table = points[[POINT_ID]].assign(**{ANSWER: "", "note": ""})
    table = table.assign(lon=points["lon"], lat=points["lat"])
    if dates[1]:
        last = dt.date.fromisoformat(str(dates[1]))
        table["imagery_link"] = [
            imagery_link(x, y, last) for x, y in zip(points["lon"], points["lat"], strict=True)
        ]
    table[SAMPLE_ID] = plan.sample_id
    places = gpd.points_from_xy(points["lon"], points["lat"])
    return gpd.GeoDataFrame(table, geometry=places, crs="EPSG:4326")
