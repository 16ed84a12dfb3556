"""What one look is worth, and how alike the looks at one place are: on phantom series."""

from __future__ import annotations

from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from proof.before_after import Pairs, load_pairs, score_by_default
from proof.evidence_series import QUARTERS, SIZE_PX, Scans, scan_quarters, sites_of
from proof.markdown import spell, to_table
from proof.setup import Setup
from sluice.base.arrays import FloatArray
from sluice.base.errors import ManifestMismatch
from sluice.evaluation import metrics
from sluice.evaluation.bootstrap import Estimate, Statistic, bootstrap_estimates
from sluice.sites.evidence_map import cells_of_places

FIT_SEEDS = (5001, 5002, 5003, 5004)
CHECK_SEEDS = (5005, 5006, 5007, 5008, 5009, 5010)
"""Each is a landscape of its own; the way to sum a look up was chosen on the first."""
WAYS = {
    "mean": "mean of the place's cells",
    "marked": "mean of its marked cells",
    "peak": "highest of its cells",
}
_LEAST_HA = 1.0
_LEAST_SHARE = 0.5


@dataclass(frozen=True)
class _Looks:
    """Looks at places of all landscapes."""

    marked: pd.DataFrame
    """At places that were marked in any quarter, in the quarters in which they were: seed, mine,
    and `WAYS`."""
    places: pd.DataFrame
    """At planted places in every quarter: seed, place, group (`mine`, `confuser`, `marked`), and
    peak."""


def prove_evidence(setup: Setup) -> str:
    """Measure, and write the tables."""
    seeds = (*FIT_SEEDS, *CHECK_SEEDS)
    parts = [_look(seed, scan_quarters(seed, setup.package)) for seed in seeds]
    looks = _Looks(
        pd.concat([part.marked for part in parts], ignore_index=True),
        pd.concat([part.places for part in parts], ignore_index=True),
    )
    km2 = SIZE_PX**2 / 10_000
    marked = looks.marked
    said = [
        f"{len(seeds)} landscapes of {km2:.0f} km², {len(QUARTERS)} quarters each. Looks at places "
        f"while they are marked: {int(marked['mine'].sum())} at mines, "
        f"{int((~marked['mine']).sum())} at others. A slope of 1 says that log likelihood ratios "
        "are neither too bold nor too timid. The prior is what fits best with a slope of 1 on "
        f"{len(FIT_SEEDS)} landscapes; log loss and AUC are of the {len(CHECK_SEEDS)} others.",
        _way_table(marked),
        "How alike looks at one place are: intraclass correlation of the highest log likelihood "
        "ratio.",
        _correlation_table(looks.places, setup),
        "[ ] 95 % intervals over landscapes, or over blocks of a quarter degree.",
    ]
    return "\n\n".join(said)


def _look(seed: int, scans: Scans) -> _Looks:
    marked, places = sites_of(scans), []
    frames = {"marked": marked[marked["kind"] != "mine"]}
    confusers = scans.series.confusers
    frames["confuser"] = confusers[confusers["area_ha"] >= _LEAST_HA]
    frames["mine"] = scans.mines_of(len(QUARTERS) - 1)
    for group, frame in frames.items():
        table = summarise(scans, frame)
        if group == "mine":
            table = table[_grown(scans, frame, table)]
        places.append(table.assign(group=group))
    own = summarise(scans, marked)
    own = own[np.isfinite(own["marked"])]
    own["mine"] = marked["kind"].to_numpy()[own["place"]] == "mine"
    every = pd.concat(places, ignore_index=True)
    every["place"] = [
        f"{seed}-{group}-{place}"
        for group, place in zip(every["group"], every["place"], strict=True)
    ]
    return _Looks(own.assign(seed=seed), every.assign(seed=seed))


def _grown(scans: Scans, mines: gpd.GeoDataFrame, table: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Whether a mine had the least size in the quarter of a look."""
    area = {
        (quarter, mine.mine_id): mine.area_ha
        for quarter, _ in enumerate(QUARTERS)
        for mine in scans.mines_of(quarter).itertuples()
    }
    names = mines["mine_id"].to_numpy()[table["place"]]
    keys = zip(table["quarter"], names, strict=True)
    return np.array([area.get(key, 0.0) >= _LEAST_HA for key in keys], bool)


def summarise(scans: Scans, places: gpd.GeoDataFrame) -> pd.DataFrame:
    """`WAYS` of each place and quarter, where at least half of its cells were observed.

    Args:
        scans: Of a landscape.
        places: In its CRS.

    Returns:
        place (position), quarter, and `WAYS`; `marked` is NaN where no cell is.
    """
    # A landscape may have no such place.
    none = {"place": np.int64, "peak": np.float64, "marked": np.float64, "mean": np.float64}
    tables = [
        pd.DataFrame({name: np.array([], kind) for name, kind in none.items()}).assign(quarter=0)
    ]
    for quarter, log_lr in enumerate(scans.log_lr_thw):
        marked = scans.marked_thw[quarter].ravel()
        for place, cell in cells_of_places(places.geometry, scans.geobox):
            inside = cell >= 0
            values = pd.DataFrame({"place": place[inside], "peak": log_lr.ravel()[cell[inside]]})
            values["marked"] = values["peak"].where(marked[cell[inside]])
            values["mean"] = values["peak"]
            how = {"peak": "max", "marked": "mean", "mean": "mean"}
            group = values.groupby("place")
            table = group.agg(how)
            seen = group["peak"].count() / group.size()
            tables.append(table[seen >= _LEAST_SHARE].reset_index().assign(quarter=quarter))
    return pd.concat(tables, ignore_index=True)


def _way_table(marked: pd.DataFrame) -> str:
    fit = marked["seed"].isin(FIT_SEEDS).to_numpy()
    mine = marked["mine"].to_numpy(np.int64)
    blocks = marked["seed"].to_numpy()[~fit]
    rows = []
    for way, name in WAYS.items():
        values = marked[way].to_numpy(np.float64)
        slope, shift = _slope(values[fit], mine[fit]), _shift(values[fit], mine[fit])
        check = values[~fit]
        losses = -np.log(np.where(mine[~fit] == 1, expit(check + shift), expit(-check - shift)))

        def mean_loss(weights: FloatArray, losses: FloatArray = losses) -> FloatArray:
            return np.asarray(weights @ losses / weights.sum(axis=-1))

        def auc(weights: FloatArray, check: FloatArray = check) -> FloatArray:
            return metrics.roc_auc(mine[~fit], check, weights)

        found = bootstrap_estimates({"loss": mean_loss, "auc": auc}, blocks)
        cells = [f"{slope:.2f}", f"{_slope(check, mine[~fit]):.2f}", f"{expit(shift):.3f}"]
        rows.append([name, *cells, spell(found["loss"]), spell(found["auc"])])
    return to_table(
        ["a look's log likelihood ratio", "slope", "slope, others", "prior", "log loss", "AUC"],
        rows,
    )


def _slope(values: FloatArray, mine: npt.NDArray[np.int64]) -> float:
    return float(LogisticRegression(C=1e6).fit(values[:, np.newaxis], mine).coef_[0, 0])


def _shift(values: FloatArray, mine: npt.NDArray[np.int64]) -> float:
    """Log odds of the prior that fits best where log likelihood ratios are taken as they are."""

    def loss(shift: float) -> float:
        signed = np.where(mine == 1, values + shift, -values - shift)
        return float(np.logaddexp(0, -signed).mean())

    return float(minimize_scalar(loss, bounds=(logit(1e-6), logit(1 - 1e-6))).x)


def _correlation_table(places: pd.DataFrame, setup: Setup) -> str:
    names = {
        "confuser": f"phantom: planted confusers of {_LEAST_HA:g} ha and more",
        "marked": "phantom: marked places that are no mine",
        "mine": f"phantom: mines, while {_LEAST_HA:g} ha or more",
    }
    rows = []
    for group, name in names.items():
        own = places[places["group"] == group]
        seeds = own["seed"].to_numpy()
        found = correlation_of(own["peak"].to_numpy(np.float64), own["place"].to_numpy(), seeds)
        rows.append([name, str(own["place"].nunique()), str(len(own)), spell(found, 2)])
    if setup.has_data:
        rows += _pair_rows(setup)
    return to_table(["places", "number", "looks", "intraclass correlation"], rows)


def _pair_rows(setup: Setup) -> list[list[str]]:
    pairs = load_pairs(setup)
    before, after = score_pairs(pairs, setup)
    rows = []
    for kind in ("human_non_mining", "natural"):
        own = pairs.kind == kind
        values = np.concatenate([before[own], after[own]])
        place = np.tile(np.flatnonzero(own), 2)
        found = correlation_of(values, place, np.tile(pairs.block[own], 2))
        name = f"real: {kind.replace('_', ' ').replace(' non mining', '')} change, 2019 and 2021"
        rows.append([name, str(int(own.sum())), str(len(values)), spell(found, 2)])
    return rows


def score_pairs(pairs: Pairs, setup: Setup) -> tuple[FloatArray, FloatArray]:
    """Log likelihood ratios of the model under proof, before and after."""
    calibration = setup.package.manifest.calibration
    if calibration is None:
        raise ManifestMismatch(f"model {setup.package.name} has no calibration")
    before, after = (
        np.interp(score, calibration.scores, calibration.log_likelihood_ratio)
        for score in score_by_default(pairs, setup)
    )
    return before, after


def correlation_of(
    values: FloatArray, place: npt.NDArray[np.generic], blocks: npt.NDArray[np.generic]
) -> Estimate:
    """Intraclass correlation of looks at places, one-way random effects, of unequal numbers.

    Args:
        values: (looks,).
        place: (looks,) of each.
        blocks: (looks,) of each place, for the interval.

    Source:
        Donner 1986, doi:10.2307/1403259 (analysis of variance estimator).
    """
    known = np.isfinite(values)
    values, place, blocks = values[known], place[known], blocks[known]
    _, first, code = np.unique(place, return_index=True, return_inverse=True)
    size = np.bincount(code).astype(np.float64)
    mean = np.bincount(code, values) / size
    within = np.bincount(code, (values - mean[code]) ** 2)

    def ratio(weights: FloatArray) -> FloatArray:
        # A place that is drawn twice counts as two.
        rows = np.atleast_2d(weights)
        groups, looks = rows.sum(axis=1), rows @ size
        overall = rows @ (size * mean) / looks
        spread = (rows * size * (mean - overall[:, np.newaxis]) ** 2).sum(axis=1) / (groups - 1)
        noise = rows @ within / (looks - groups)
        typical = (looks - rows @ size**2 / looks) / (groups - 1)
        found = (spread - noise) / (spread + (typical - 1) * noise)
        return np.asarray(found if np.ndim(weights) > 1 else found[0])

    statistic: Statistic = ratio
    return bootstrap_estimates({"r": statistic}, blocks[first])["r"]
