"""The alert level of real pairs of dates, against what people called the change."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd

from proof.before_after import load_pairs, score_by_default
from proof.evidence import score_pairs
from proof.markdown import to_table
from proof.setup import Setup
from sluice.base.arrays import FloatArray
from sluice.base.places import Level
from sluice.evaluation.bootstrap import Statistic, bootstrap_estimates
from sluice.evaluation.compare import estimate_text
from sluice.evaluation.metrics import ratio
from sluice.sites.alerts import raise_alerts
from sluice.sites.evidence import SITE_PRIOR, EvidenceRule, posteriors

_YEARS = (2019, 2021)
_SURE = (Level.HIGH.value, Level.HIGHEST.value)


def prove_alert_levels(setup: Setup) -> str:
    """Alerts of the pairs by label, with intervals over blocks."""
    pairs = load_pairs(setup)
    looks = _looks(setup)
    known = posteriors(looks)
    keys = ["site_id", "start", "end"]
    periods = known[keys].merge(looks, on=keys)
    periods = periods.assign(area_ha=np.nan, area_low_ha=np.nan, well_seen=True)
    sites = pd.DataFrame({"site_id": looks["site_id"].unique(), "area": "pairs"})
    alerts = raise_alerts(periods, known, sites.assign(lon=np.nan, lat=np.nan))
    table = sites.merge(alerts[["site_id", "level", "state", "raised"]], how="left", on="site_id")
    if len(table) != len(pairs.kind):
        raise ValueError(f"{len(table)} alerts and places of {len(pairs.kind)} pairs: one each")
    level = table["level"]
    marked = looks.groupby("site_id", sort=True)["detected"].any().to_numpy()
    columns = {
        "marked in either year": marked,
        "any alert": level.notna().to_numpy(),
        "high or highest": level.isin(_SURE).to_numpy(),
        "rejected by the second date": (table["state"] == "rejected").to_numpy(),
    }
    rows = []
    for kind in ("mining", "human_non_mining", "natural"):
        own = pairs.kind == kind
        shares = [_share(columns[name], own, pairs.block) for name in columns]
        rows.append([kind.replace("_", " "), str(int(own.sum())), *shares])
    precise = [_share(pairs.kind == "mining", columns[name], pairs.block) for name in columns]
    rows.append(["of these, mining", "-", *precise])
    rule = EvidenceRule()
    return to_table(["labelled change", "pairs", *columns], rows) + (
        "\n\nWhere none of n pairs has an alert the interval is empty, and the true share may "
        "still be 3 / n: 5 % of human, 4 % of natural change."
        f" One look in {_YEARS[0]} and one in {_YEARS[1]}, a prior of {SITE_PRIOR:g}, least "
        f"posteriors of {rule.low:g} and {rule.high:g}; nothing was tuned on these pairs. Each "
        "chip is one window, so a mine at its rim scores less than in a scan, which takes the "
        "best of the windows over a place. [ ] 95 % intervals over blocks of a quarter degree."
    )


def _looks(setup: Setup) -> pd.DataFrame:
    pairs = load_pairs(setup)
    threshold = setup.package.manifest.thresholds.t_main
    tables = []
    for year, score, log_lr in zip(
        _YEARS, score_by_default(pairs, setup), score_pairs(pairs, setup), strict=True
    ):
        tables.append(
            pd.DataFrame(
                {
                    "site_id": [f"p{number:03d}" for number in range(len(score))],
                    "sensor": "s2-l2a",
                    "start": dt.date(year, 1, 1),
                    "end": dt.date(year, 12, 31),
                    "observed_share": 1.0,
                    "detected": score >= threshold,
                    "log_lr": log_lr,
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def _share(marked: np.ndarray, among: np.ndarray, blocks: np.ndarray) -> str:
    """Share of some pairs that are marked, with an interval."""
    hits, whole = (marked & among).astype(np.float64), among.astype(np.float64)

    def share(weights: FloatArray) -> FloatArray:
        return ratio(weights @ hits, weights @ whole)

    statistic: Statistic = share
    return estimate_text(bootstrap_estimates({"": statistic}, blocks)[""])
