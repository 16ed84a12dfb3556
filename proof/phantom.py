"""The phantom: are its mines told from its confusers, and what does a scan find of them?"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
from odc.geo.geobox import GeoBox

from proof.markdown import spell, to_table
from proof.setup import Setup
from sluice.app.config import ScanConfig
from sluice.app.workflows import scan
from sluice.base.atmosphere import to_top_of_atmosphere
from sluice.base.files import open_raster
from sluice.base.raster import Raster
from sluice.base.sensors import SENSORS
from sluice.composite.adapt import adapt_bands
from sluice.evaluation import metrics
from sluice.evaluation.bootstrap import Estimate, bootstrap_estimates
from sluice.models.predictor import WindowPredictor
from sluice.phantom.compare import TruthComparison, compare_with_truth, observed_area
from sluice.phantom.scene import PhantomScene, build_scene
from sluice.phantom.windows import window_labels
from sluice.phantom.write import write_scene

SEEDS = (101, 102, 103, 104, 105)
"""Not the demo's."""
LEVELS = {"l2a": "surface (L2A), as a scan adapts it", "l1c": "hazy top of atmosphere (L1C)"}
HAZE = 0.5
"""Of the L1C column: half way to a visibly hazy sky."""
STRIDE_PX = 24
_BLOCK_PX = 240
"""Side of the squares that the bootstrap draws: windows overlap, and a mine fills several."""
_MINE, _BACKGROUND = "mine", "background"


@dataclass(frozen=True)
class _Scanned:
    seed: int
    truth: TruthComparison


def prove_phantom(setup: Setup) -> str:
    """Measure, and write the tables."""
    predictor = WindowPredictor(setup.package)
    tables, scans = [], []
    for seed in SEEDS:
        scene = build_scene(seed)
        tables.append(_score_windows(scene, predictor))
        folder = setup.work / f"phantom-{seed}"
        scans.append(_Scanned(seed, _scan(scene, setup.model, folder)))
    threshold = setup.package.manifest.thresholds.t_main
    return "\n\n".join(
        [
            f"Windows of {len(SEEDS)} scenes (seeds {', '.join(map(str, SEEDS))}), every "
            f"{STRIDE_PX * 10} m. ROC AUC: mines against the others of the row. Marked: share of "
            f"the row's windows at or above {threshold:.3f}.",
            _auc_table(pd.concat(tables, ignore_index=True), threshold),
            "Scans of the same scenes (L2A with SCL, all settings as they come):",
            _scan_table(scans),
        ]
    )


def _score_windows(scene: PhantomScene, predictor: WindowPredictor) -> pd.DataFrame:
    """Labelled windows with a score for each of `LEVELS` and the block they lie in."""
    table = window_labels(scene, predictor.window_px, STRIDE_PX)
    rows, cols = sorted(set(table["row"])), sorted(set(table["col"]))
    at = np.searchsorted(rows, table["row"]), np.searchsorted(cols, table["col"])
    names = tuple(i.band for i in predictor.inputs)
    surface = np.stack([scene.raster.band(name) for name in names])
    codes = [SENSORS["s2-l2a"].band(name).name for name in names]
    lines = predictor.package.manifest.adaptation_for("s2-l2a")
    images = {
        # As a scan brings it to the model.
        "l2a": adapt_bands(surface, lines) if lines else surface,
        # Hazy, as a clear sky is what the adaptation assumes.
        "l1c": to_top_of_atmosphere(surface, codes, haze=HAZE),
    }
    for level, image in images.items():
        raster = Raster(image, names, scene.raster.geobox)
        table[level] = predictor.score_windows(raster, rows, cols)[at]
    block = table["row"] // _BLOCK_PX * 1000 + table["col"] // _BLOCK_PX
    return table.assign(block=scene.seed * 1_000_000 + block)


def _auc_table(windows: pd.DataFrame, threshold: float) -> str:
    kinds = windows["kind"]
    confusers = sorted(set(kinds) - {_MINE, _BACKGROUND})
    groups = {
        "all confusers": kinds.isin(confusers),
        **{kind.replace("_", " "): kinds == kind for kind in confusers},
        "nothing planted": kinds == _BACKGROUND,
    }
    rows = [["mine", f"{(kinds == _MINE).sum():,}", "-", "-"]]
    rows[0] += [_marked(windows[kinds == _MINE], level, threshold) for level in LEVELS]
    for name, members in groups.items():
        others = windows[members]
        found = [_auc(windows[kinds == _MINE], others, level) for level in LEVELS]
        rows.append(
            [
                name,
                f"{len(others):,}",
                *map(spell, found),
                *(_marked(others, level, threshold) for level in LEVELS),
            ]
        )
    heads = [f"ROC AUC, {name}" for name in LEVELS.values()]
    heads += [f"marked, {name}" for name in LEVELS.values()]
    return to_table(["", "windows", *heads], rows)


def _auc(mines: pd.DataFrame, others: pd.DataFrame, level: str) -> Estimate:
    both = pd.concat([mines, others])
    labels = np.repeat([1, 0], [len(mines), len(others)])
    statistic = partial(metrics.roc_auc, labels, both[level].to_numpy())
    return bootstrap_estimates({"auc": statistic}, both["block"].to_numpy())["auc"]


def _marked(windows: pd.DataFrame, level: str, threshold: float) -> str:
    return f"{100 * (windows[level] >= threshold).mean():.1f} %"


def _scan(scene: PhantomScene, model: str, folder: Path) -> TruthComparison:
    write_scene(scene, folder / "scene")
    finished = scan(ScanConfig(images=(folder / "scene",), out=folder / "map", model=model))
    with open_raster(finished.paths.score) as score:
        grid = GeoBox(score.shape, score.transform, score.crs.to_wkt())
        observed = observed_area(np.isfinite(score.read(1)), grid)
    detections = gpd.read_parquet(finished.paths.sites_parquet)
    return compare_with_truth(detections, scene.mines, scene.confusers, observed)


def _scan_table(scans: list[_Scanned]) -> str:
    rows = []
    for scanned in scans:
        truth = scanned.truth
        kinds = ", ".join(f"{a.kind.replace('_', ' ')} {a.count}" for a in truth.false_alarms)
        rows.append(
            [
                str(scanned.seed),
                f"{len(truth.found)}",
                f"{len(truth.missed)}",
                f"{len(truth.not_observed)}",
                f"{truth.detected_mine_ha:.0f} of {truth.observed_mine_ha:.0f}",
                f"{truth.detected_ha:.0f}",
                f"{truth.detections}",
                f"{truth.detections - truth.true_detections}",
                kinds or "-",
            ]
        )
    heads = ["seed", "mines found", "missed", "not observed", "ha of mines in detections"]
    heads += ["ha of detections", "detections", "false", "false ones lie on"]
    return to_table(heads, rows)
