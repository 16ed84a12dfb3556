"""What a fall of the radar echo is worth: on phantom series, fitted on some and told of others."""

from __future__ import annotations

import itertools

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from proof.evidence_series import QUARTERS, draw_series, radar_grid, scan_radar
from proof.markdown import spell, to_table
from proof.setup import Setup
from sluice.base.arrays import FloatArray
from sluice.evaluation.bootstrap import Estimate, Statistic, bootstrap_estimates
from sluice.phantom.history import ACTIVE
from sluice.phantom.series import PhantomSeries
from sluice.sites.evidence_map import cells_of_places
from sluice.sites.radar_evidence import DROP_LOG_LR, NO_DROP_LOG_LR, SHARES

FIT_SEEDS = (5001, 5002, 5003, 5004)
CHECK_SEEDS = (5005, 5006, 5007, 5008, 5009, 5010)
_LEAST_HA = 1.0
_MARGIN_M = 80.0
"""A detection's outline takes in ground around what was detected."""
_FELL = 0.5


def prove_radar_evidence(_: Setup) -> str:
    """Measure, and write the table."""
    fit = pd.concat([_shares(seed) for seed in FIT_SEEDS], ignore_index=True)
    check = pd.concat([_shares(seed) for seed in CHECK_SEEDS], ignore_index=True)
    edges = [0.0, *SHARES, 1.0]
    kept = (NO_DROP_LOG_LR, *DROP_LOG_LR)
    rows = []
    for step, (low, high) in enumerate(itertools.pairwise(edges)):
        name = f"{100 * low:g} % and more" if step else f"below {100 * high:g} %"
        rows.append(
            [
                name,
                _counts(fit, step),
                spell(_log_lr(fit, step), 2),
                _counts(check, step),
                spell(_log_lr(check, step), 2),
                f"{kept[step]:.1f}",
            ]
        )
    named = f"{len(FIT_SEEDS)} landscapes to fit, {len(CHECK_SEEDS)} others to check"
    kinds = (
        check[~check["mine"]]
        .groupby("kind")["step"]
        .agg(lambda steps: f"{100 * (steps > 0).mean():.0f} %")
    )
    listed = ", ".join(f"{str(kind).replace('_', ' ')} {share}" for kind, share in kinds.items())
    return "\n\n".join(
        [
            f"{named}, {len(QUARTERS) - 1} quarters each against the quarter before, descending "
            "passes every twelve days, speckle smoothed as in a scan. Places: active mines and "
            f"planted confusers of {_LEAST_HA:g} ha and more, with {_MARGIN_M:g} m around them. "
            "Nothing is flooded there.",
            to_table(
                [
                    "share of the place that fell",
                    "mines : others, fit",
                    "log likelihood ratio, fit",
                    "mines : others, check",
                    "log likelihood ratio, check",
                    "kept",
                ],
                rows,
            ),
            f"Confusers of which at least {100 * SHARES[0]:g} % fell in a quarter, on the "
            f"landscapes to check: {listed}. [ ] 95 % intervals over landscapes.",
        ]
    )


def _shares(seed: int) -> pd.DataFrame:
    """Share that fell of each place and quarter: seed, kind, mine, step."""
    series = draw_series(seed)
    rows = []
    for quarter, score in scan_radar(series, range(1, len(QUARTERS))).items():
        places = _places(series, quarter)
        fell = np.where(np.isfinite(score), score >= _FELL, np.nan).ravel()
        for place, cell in cells_of_places(places.geometry, radar_grid(series)):
            inside = cell >= 0
            values = pd.Series(fell[cell[inside]]).groupby(place[inside]).mean().dropna()
            rows.append(places.iloc[values.index].assign(share=values.to_numpy()))
    table = pd.concat(rows, ignore_index=True)
    step = np.searchsorted(SHARES, table["share"].to_numpy(), side="right")
    return pd.DataFrame(
        {"seed": seed, "kind": table["kind"], "mine": table["kind"] == "mine", "step": step}
    )


def _places(series: PhantomSeries, quarter: int) -> gpd.GeoDataFrame:
    crs = str(series.geobox.crs)
    mines = series.mines_at(QUARTERS[quarter].end)
    worked = mines[(mines["state"] == ACTIVE) & (mines["area_ha"] >= _LEAST_HA)]
    others = series.confusers[series.confusers["area_ha"] >= _LEAST_HA]
    ground = shapely.union_all(mines.geometry.to_numpy()).buffer(_MARGIN_M)
    shapes = [
        *worked.geometry.buffer(_MARGIN_M),
        *others.geometry.buffer(_MARGIN_M).difference(ground),
    ]
    kinds = ["mine"] * len(worked) + [*others["kind"]]
    return gpd.GeoDataFrame({"kind": kinds}, geometry=shapes, crs=crs)


def _counts(table: pd.DataFrame, step: int) -> str:
    here = table["step"] == step
    mine = table["mine"]
    return f"{(here & mine).sum()} of {mine.sum()} : {(here & ~mine).sum()} of {(~mine).sum()}"


def _log_lr(table: pd.DataFrame, step: int) -> Estimate:
    mine = table["mine"].to_numpy(np.float64)
    here = (table["step"] == step).to_numpy(np.float64)

    def ratio(weights: FloatArray) -> FloatArray:
        # Half a count keeps what was never seen from being called impossible.
        with_mine = (weights @ (here * mine) + 0.5) / (weights @ mine + 1)
        without = (weights @ (here * (1 - mine)) + 0.5) / (weights @ (1 - mine) + 1)
        return np.asarray(np.log(with_mine / without))

    statistic: Statistic = ratio
    return bootstrap_estimates({"log_lr": statistic}, table["seed"].to_numpy())["log_lr"]
