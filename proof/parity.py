"""Imported published models against the scores that Keras gave."""

from __future__ import annotations

import numpy as np
import pandas as pd
from affine import Affine
from odc.geo.geobox import GeoBox

from proof.chips import PUBLISHED_SCORES
from proof.markdown import to_table
from proof.setup import PUBLISHED, Setup
from sluice.base.files import open_raster
from sluice.base.raster import Raster
from sluice.base.sensors import SENSORS
from sluice.labels.chips import CHIP_BANDS, FULL_SCALE_REFLECTANCE, load_chips, read_chip_table
from sluice.models.predictor import WindowPredictor

SPAIN = "s2s1-spain-water/Spain_7370579_S2Hand.tif"


def prove_parity(setup: Setup) -> str:
    """Measure, and write the table."""
    predictors = {name: WindowPredictor(p) for name, p in setup.published().items()}
    table = pd.read_csv(setup.data / "amw-models" / "keras_scores_spain.csv")
    spain = _read_spain(setup)
    rows = []
    for preset, predictor in predictors.items():
        wanted = table[table["model"] == PUBLISHED[preset]]
        if wanted.empty:
            rows.append([f"`{preset}`", "no scores are published for it", "0", "-"])
            continue
        worst = _compare_windows(predictor, spain, wanted)
        rows.append([f"`{preset}`", "windows in Spain", f"{len(wanted):,}", f"{worst:.1e}"])
    chips, worst = _compare_chips(setup, predictors["amw-2021-rgb"])
    rows.append(["`amw-2021-rgb`", "all labelled chips", f"{chips:,}", f"{worst:.1e}"])
    return to_table(["model", "compared on", "scores", "largest difference"], rows)


def _read_spain(setup: Setup) -> Raster:
    with open_raster(setup.data / SPAIN) as source:
        reflectance = source.read().astype(np.float32) / 10_000
    # In degrees on disk; Keras scored its pixels as they are, whatever their size.
    grid = GeoBox(reflectance.shape[1:], Affine(10, 0, 5e5, 0, -10, 4e6), "EPSG:32630")
    return Raster(reflectance, tuple(b.common_name for b in SENSORS["s2-l1c"].bands), grid)


def _compare_windows(predictor: WindowPredictor, image: Raster, wanted: pd.DataFrame) -> float:
    rows, cols = sorted(set(wanted["row"])), sorted(set(wanted["col"]))
    scores = predictor.score_windows(image, rows, cols)
    found = scores[np.searchsorted(rows, wanted["row"]), np.searchsorted(cols, wanted["col"])]
    return float(np.abs(found - wanted["score"].to_numpy()).max())


def _compare_chips(setup: Setup, predictor: WindowPredictor) -> tuple[int, float]:
    expected = pd.read_csv(setup.chips / PUBLISHED_SCORES).set_index(["grid", "cell"])["score"]
    table = read_chip_table(setup.chips).join(expected, on=["grid", "cell"])
    worst = 0.0
    # Sheet by sheet, so that not all chips are in memory at once.
    for _, members in table.groupby("grid"):
        # Keras saw black where nothing was observed, so the bytes are taken as they are.
        chips = load_chips(setup.chips, members).transpose(0, 3, 1, 2)
        reflectance = chips * np.float32(FULL_SCALE_REFLECTANCE / 255)
        found = predictor.score_chips(reflectance, CHIP_BANDS)
        worst = max(worst, float(np.abs(found - members["score"].to_numpy()).max()))
    return len(table), worst
