"""Linear models and forests on ready features; strength chosen by folds that no group straddles."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from sluice.base.arrays import FloatArray, IntArray
from sluice.base.errors import ConfigError, DataError, ShapeMismatch
from sluice.training.options import ALPHAS, Regressor

KINDS: tuple[Regressor, ...] = get_args(Regressor)
INNER_FOLDS = 5
TREES = 200

AnyFloats: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True)
class LinearModel:
    """``features @ weights + intercept``; scaling of the features is folded in."""

    weights: FloatArray
    """(F,)"""
    intercept: float
    alpha: float
    """Strength of the penalty that the folds preferred."""
    standardised: FloatArray
    """(F,) the weights of features of deviation 1: how much each can matter."""

    def decide(self, features: AnyFloats) -> FloatArray:
        """Decision values, positive for mines; (N,)."""
        decision: FloatArray = features.astype(np.float64) @ self.weights + self.intercept
        return decision

    def rescaled(self, slope: float, offset: float) -> LinearModel:
        """The model whose decision is ``slope * decision + offset``."""
        return LinearModel(
            self.weights * slope,
            self.intercept * slope + offset,
            self.alpha,
            self.standardised * slope,
        )


@dataclass(frozen=True)
class ForestModel:
    """A random forest."""

    forest: RandomForestClassifier

    def decide(self, features: AnyFloats) -> FloatArray:
        """Mean share of mines in the leaves, 0-1; (N,)."""
        probability: FloatArray = self.forest.predict_proba(features.astype(np.float32))[:, 1]
        return probability


FittedModel: TypeAlias = LinearModel | ForestModel


def fit_model(
    kind: Regressor,
    features: AnyFloats,
    labels: IntArray,
    groups: npt.NDArray[Any],
    *,
    alphas: Iterable[float] = ALPHAS,
    seed: int = 0,
) -> FittedModel:
    """Fit one model.

    Linear models see features of mean 0 and deviation 1 (a constant one weighs nothing), and the
    penalty with the highest mean ROC AUC over grouped folds is taken; logistic regression and
    the support vector machine take ``C = 1 / alpha``. A forest is fitted as it is.

    Args:
        kind: One of `KINDS`.
        features: (N, F), no NaN.
        labels: (N,) 1 mine, 0 none.
        groups: (N,) places that must not be divided.
        alphas: To choose from, each above 0.
        seed: Of folds and trees.

    Raises:
        ConfigError: An unknown kind, or a penalty that is not above 0.
        DataError: One label only, too few groups for folds, NaN, or features all constant.
        ShapeMismatch: Lists of different length.
    """
    if kind not in KINDS:
        raise ConfigError(f"model {kind!r} is not known; use one of {', '.join(KINDS)}")
    _check(features, labels, groups)
    if kind == "forest":
        forest = RandomForestClassifier(
            TREES, min_samples_leaf=3, max_features="sqrt", random_state=seed, n_jobs=1
        )
        return ForestModel(forest.fit(features.astype(np.float32), labels))
    wanted = sorted(set(alphas))
    if not wanted or wanted[0] <= 0:
        raise ConfigError(f"penalties must be above 0, got {wanted}; use {ALPHAS}")
    estimator, grid = _ESTIMATORS[kind](wanted)
    folds = grouped_inner_folds(labels, groups, INNER_FOLDS, seed)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), estimator), grid, cv=folds, scoring="roc_auc"
    )
    with warnings.catch_warnings():
        # The folds judge a solution that is not quite at its optimum like any other.
        warnings.simplefilter("ignore", ConvergenceWarning)
        search.fit(features.astype(np.float64), labels)
    (chosen,) = search.best_params_.values()
    alpha = float(chosen if kind == "ridge" else 1 / chosen)
    scaler, linear = search.best_estimator_
    standardised = linear.coef_.ravel().astype(np.float64)
    weights = standardised / scaler.scale_
    intercept = float(np.ravel(linear.intercept_)[0] - weights @ scaler.mean_)
    return LinearModel(weights, intercept, alpha, np.where(scaler.var_ > 0, standardised, 0.0))


def grouped_inner_folds(
    labels: IntArray, groups: npt.NDArray[Any], wanted: int, seed: int
) -> list[tuple[IntArray, IntArray]]:
    """Folds that no group straddles, each with both labels on both sides.

    Args:
        labels: (N,) 1 mine, 0 none.
        groups: (N,) places that must not be divided.
        wanted: Folds; fewer are made where so many cannot all have both labels.
        seed: Of the shuffle.

    Returns:
        (fit, judge) positions of each fold.

    Raises:
        DataError: Not even two such folds.
    """
    n_groups = np.unique(groups).size
    with_label = [np.unique(groups[labels == label]).size for label in (0, 1)]
    for n in range(min(wanted, *with_label), 1, -1):
        splitter = StratifiedGroupKFold(n, shuffle=True, random_state=seed)
        folds = list(splitter.split(np.zeros((labels.size, 1)), labels, groups))
        if all(np.unique(labels[side]).size == 2 for fold in folds for side in fold):
            return folds
    raise DataError(
        f"{labels.size} labels in {n_groups} separate places ({with_label[1]} with mines, "
        f"{with_label[0]} without) cannot be divided into two folds with both labels; "
        "add labels of other places, or use smaller blocks"
    )


def scale_decisions(decisions: FloatArray, labels: IntArray) -> tuple[float, float]:
    """Slope and offset that make a sigmoid of decision values a score.

    Platt scaling with a slight penalty, so that labels which the decisions separate wholly still
    give a finite slope.

    Args:
        decisions: (N,) of labels that the model has not seen.
        labels: (N,) 1 mine, 0 none; both must occur.

    Raises:
        DataError: The decisions are all alike, or rank mines below other places.

    Source:
        Platt 1999, "Probabilistic outputs for support vector machines".
    """
    deviation = float(decisions.std())
    slope = 0.0
    if deviation > 0:
        fitted = LogisticRegression().fit(decisions[:, np.newaxis] / deviation, labels)
        slope = float(fitted.coef_[0, 0]) / deviation
    if slope <= 0:
        raise DataError(
            "on labels it has not seen, the model ranks mines no higher than other places: the "
            "features tell nothing of the labels; check both, or add labels"
        )
    return slope, float(fitted.intercept_[0])


def _check(features: AnyFloats, labels: IntArray, groups: npt.NDArray[Any]) -> None:
    if features.ndim != 2 or not len(features) == labels.size == groups.size:
        raise ShapeMismatch(
            f"features {features.shape}, labels {labels.shape} and groups {groups.shape} must "
            "have one row for each label"
        )
    present = np.unique(labels)
    if present.size != 2 or not np.isin(present, (0, 1)).all():
        raise DataError(
            f"labels must be 1 (mine) and 0 (none) and both occur, got {present.tolist()[:5]}; "
            "add labels of the other kind"
        )
    bad = ~np.isfinite(features).all(axis=0)
    if bad.any():
        raise DataError(
            f"feature {int(np.flatnonzero(bad)[0])} holds NaN or infinite numbers "
            f"({int(bad.sum())} such features); leave those rows or features out"
        )
    if not (features != features[:1]).any():
        raise DataError(
            f"all {features.shape[1]} features are the same for all {len(features)} labels and "
            "tell nothing apart; check the features"
        )


def _ridge(alphas: list[float]) -> tuple[RidgeClassifier, dict[str, list[float]]]:
    return RidgeClassifier(), {"ridgeclassifier__alpha": alphas}


def _logistic(alphas: list[float]) -> tuple[LogisticRegression, dict[str, list[float]]]:
    grid = {"logisticregression__C": [1 / alpha for alpha in reversed(alphas)]}
    return LogisticRegression(max_iter=500), grid


def _svm(alphas: list[float]) -> tuple[LinearSVC, dict[str, list[float]]]:
    grid = {"linearsvc__C": [1 / alpha for alpha in reversed(alphas)]}
    # The primal problem: its solution does not hang on the order of a shuffle.
    return LinearSVC(dual=False, tol=1e-2, max_iter=200), grid


_ESTIMATORS: dict[str, Callable[[list[float]], tuple[Any, dict[str, list[float]]]]] = {
    "ridge": _ridge,
    "logistic": _logistic,
    "svm": _svm,
}
