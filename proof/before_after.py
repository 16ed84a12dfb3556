"""A change score from two dates: mines dug between them, against other change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from proof.markdown import to_table
from proof.setup import Setup
from sluice.composite.adapt import adapt_bands
from sluice.composite.indices import INDICES, compute_index
from sluice.evaluation import metrics
from sluice.evaluation.bootstrap import Statistic, bootstrap_estimates
from sluice.evaluation.compare import estimate_text
from sluice.models.predictor import WindowPredictor
from sluice.training.random_features import draw_empirical_filters, featurise_all, fit_scaling
from sluice.training.regressors import fit_model, grouped_inner_folds

BANDS = ("blue", "green", "red", "nir", "swir16", "swir22")
_PATCHES, _FOLDS, _SEED = 256, 5, 0
_PENALTIES = (1.0, 10.0, 100.0, 1e3, 1e4)
"""Two hundred pairs are few for five hundred features."""
_PERCENTILES = (5, 25, 50, 75, 95)

Images = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Fold = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


@dataclass(frozen=True)
class Pairs:
    """The pairs, reflectance of both dates."""

    before: Images
    """(N, 6, 48, 48)."""
    after: Images
    mining: npt.NDArray[np.int64]
    """(N,), 1 where a mine was dug."""
    kind: npt.NDArray[np.str_]
    block: npt.NDArray[np.str_]

    @property
    def folds(self) -> list[Fold]:
        """(fit, judge) positions; no block on both sides."""
        return grouped_inner_folds(self.mining, self.block, _FOLDS, _SEED)


def prove_before_after(setup: Setup) -> str:
    """ROC AUC of each score, out of fold by block, and what it gains over single dates."""
    pairs = load_pairs(setup)
    scores = {
        "random features of both dates, ridge": _random_features_of_pairs(pairs),
        "indices of both dates and their differences, forest": _indices_of_pairs(pairs),
        "difference of single-date scores (random features)": _difference_of_scores(pairs),
        "difference of the default model's scores": _default_difference(pairs, setup),
        "rise of BSI less rise of NDVI": _index_difference(pairs),
    }
    human, natural = (pairs.kind == "human_non_mining", pairs.kind == "natural")
    sets = {"all": human | natural, "human": human, "natural": natural}
    reference = scores["difference of single-date scores (random features)"]
    rows = []
    for name, score in scores.items():
        row = [name]
        for others in sets.values():
            chosen = others | (pairs.mining == 1)
            auc = _auc(pairs.mining[chosen], score[chosen])
            row.append(estimate_text(bootstrap_estimates({"": auc}, pairs.block[chosen])[""]))
        gain = _gain(pairs.mining, score, reference)
        found = bootstrap_estimates({"": gain}, pairs.block)[""]
        rows.append([*row, "-" if score is reference else estimate_text(found, signed=True)])
    heads = [
        "score",
        "AUC, all other change",
        "against human change",
        "against natural change",
        "gain over the difference of single-date scores",
    ]
    return to_table(heads, rows) + (
        f"\n\n{int(pairs.mining.sum())} pairs of mining, {int(human.sum())} of human and "
        f"{int(natural.sum())} of natural change, 2019 and 2021; {_FOLDS} folds by quarter-degree "
        "block, each scored by what has not seen its blocks. [ ] 95 % intervals over blocks. "
        "Labels are noisy, and the pairs bear no licence: nothing fitted to them ships."
    )


def load_pairs(setup: Setup) -> Pairs:
    """Read the pairs of `s2-pairs-amazon`."""
    folder = setup.data / "s2-pairs-amazon"
    table = pd.read_csv(folder / "pairs.csv")

    def read(column: str) -> Images:
        counts = np.stack([np.load(folder / name) for name in table[column]])
        return np.ascontiguousarray(counts.transpose(0, 3, 1, 2)).astype(np.float32) / 10_000

    return Pairs(
        read("t0_path"),
        read("t1_path"),
        (table["change_type"] == "mining").to_numpy().astype(np.int64),
        table["change_type"].to_numpy(dtype=str),
        table["block"].to_numpy(dtype=str),
    )


def _random_features_of_pairs(pairs: Pairs) -> Floats:
    stacked = np.concatenate([pairs.before, pairs.after], axis=1)
    return _out_of_fold(pairs, lambda fold: _features(stacked, fold[0], np.arange(len(stacked))))


def _difference_of_scores(pairs: Pairs) -> Floats:
    """A model of one date, fitted to mines after and to all that is none; after less before."""
    n = len(pairs.mining)
    images = np.concatenate([pairs.before, pairs.after])
    labels = np.concatenate([np.zeros(n, np.int64), pairs.mining])
    groups = np.concatenate([pairs.block, pairs.block])
    score = np.full(n, np.nan)
    for fit, judge in pairs.folds:
        both = np.concatenate([fit, fit + n])
        features = _features(images, both, np.arange(2 * n))
        model = fit_model(
            "ridge", features[both], labels[both], groups[both], alphas=_PENALTIES, seed=_SEED
        )
        score[judge] = model.decide(features[judge + n]) - model.decide(features[judge])
    return score


def _indices_of_pairs(pairs: Pairs) -> Floats:
    def statistics(images: Images) -> Floats:
        found = []
        for image in images:
            bands = dict(zip(BANDS, image, strict=True))
            maps = [compute_index(name, bands) for name in INDICES]
            found.append(np.concatenate([np.nanpercentile(m, _PERCENTILES) for m in maps]))
        return np.stack(found)

    before, after = statistics(pairs.before), statistics(pairs.after)
    table = np.concatenate([before, after, after - before], axis=1)
    return _out_of_fold(pairs, lambda _: table, kind="forest")


def _default_difference(pairs: Pairs, setup: Setup) -> Floats:
    before, after = score_by_default(pairs, setup)
    return after - before


def score_by_default(pairs: Pairs, setup: Setup) -> tuple[Floats, Floats]:
    """Scores of the model under proof, before and after."""
    package = setup.package
    lines = package.manifest.adaptation_for("s2-l2a")
    bands = package.manifest.bands
    order = [BANDS.index(band) for band in bands]
    predictor = WindowPredictor(package)

    def score(images: Images) -> Floats:
        chosen = images[:, order]
        if lines:
            chosen = np.stack([adapt_bands(image, lines) for image in chosen])
        return predictor.score_chips(chosen, bands).astype(np.float64)

    return score(pairs.before), score(pairs.after)


def _index_difference(pairs: Pairs) -> Floats:
    def bare(images: Images) -> Floats:
        return np.array(
            [
                np.nanmean(compute_index("bsi", bands) - compute_index("ndvi", bands))
                for bands in (dict(zip(BANDS, image, strict=True)) for image in images)
            ]
        )

    return bare(pairs.after) - bare(pairs.before)


def _features(
    images: Images, fit: npt.NDArray[np.int64], index: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    read = images.__getitem__
    scaling = fit_scaling(read, fit)
    filters = draw_empirical_filters(read, fit, scaling, _PATCHES, seed=_SEED)
    return featurise_all(read, index, scaling, filters)


def _out_of_fold(
    pairs: Pairs, features_of: Callable[[Fold], npt.NDArray[np.generic]], kind: str = "ridge"
) -> Floats:
    score = np.full(len(pairs.mining), np.nan)
    for fit, judge in pairs.folds:
        features = features_of((fit, judge))
        model = fit_model(
            "forest" if kind == "forest" else "ridge",
            features[fit],
            pairs.mining[fit],
            pairs.block[fit],
            alphas=_PENALTIES,
            seed=_SEED,
        )
        score[judge] = model.decide(features[judge])
    return score


def _auc(labels: npt.NDArray[np.int64], score: Floats) -> Statistic:
    return lambda weights: metrics.roc_auc(labels, score, weights)


def _gain(labels: npt.NDArray[np.int64], score: Floats, reference: Floats) -> Statistic:
    one, other = _auc(labels, score), _auc(labels, reference)
    return lambda weights: one(weights) - other(weights)
