"""Regressors on ready features: against scikit-learn, and on rules that are known."""

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("sklearn", reason="training needs scikit-learn")
pytest.importorskip("skl2onnx", reason="forests need skl2onnx")

from scipy.special import expit
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from feature_cases import made_features
from sluice.base.errors import (
    ConfigError,
    DataError,
    ShapeMismatch,
)
from sluice.training import regressors
from sluice.training.regressors import (
    KINDS,
    LinearModel,
    fit_model,
    grouped_inner_folds,
    scale_decisions,
)

Images = npt.NDArray[np.float32]


@pytest.fixture(autouse=True)
def _small_forests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regressors, "TREES", 40)


def test_ridge_equals_scikit_learn_on_standardised_features() -> None:
    features, labels, groups = made_features()
    model = fit_model("ridge", features, labels, groups)
    assert isinstance(model, LinearModel)
    scaled = StandardScaler().fit_transform(features.astype(np.float64))
    reference = RidgeClassifier(alpha=model.alpha).fit(scaled, labels)
    assert np.allclose(model.decide(features), reference.decision_function(scaled), atol=1e-9)
    assert np.allclose(model.standardised, reference.coef_.ravel())
    assert model.standardised[4] == 0, "a constant feature weighs nothing"


def test_the_penalty_is_the_one_that_grouped_folds_prefer() -> None:
    features, labels, groups = made_features(80, seed=3)
    alphas = (0.01, 1.0, 1000.0)
    folds = grouped_inner_folds(labels, groups, 5, 0)
    means = []
    for alpha in alphas:
        aucs = []
        for fit, judge in folds:
            scaler = StandardScaler().fit(features[fit].astype(np.float64))
            ridge = RidgeClassifier(alpha=alpha).fit(
                scaler.transform(features[fit].astype(np.float64)), labels[fit]
            )
            decided = ridge.decision_function(scaler.transform(features[judge].astype(np.float64)))
            aucs.append(roc_auc_score(labels[judge], decided))
        means.append(np.mean(aucs))
    model = fit_model("ridge", features, labels, groups, alphas=alphas)
    assert isinstance(model, LinearModel)
    assert model.alpha == alphas[int(np.argmax(means))]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_learns_a_clear_rule(kind: str) -> None:
    features, labels, groups = made_features()
    model = fit_model(kind, features, labels, groups)
    fresh, truth, _ = made_features(seed=9)
    assert roc_auc_score(truth, model.decide(fresh)) > 0.93


def test_inner_folds_divide_no_group_and_hold_both_labels() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 12, 200)
    labels = (groups % 3 == 0).astype(int)
    folds = grouped_inner_folds(labels, groups, 5, 0)
    for fit, judge in folds:
        assert not set(groups[fit]) & set(groups[judge])
        assert set(labels[fit]) == set(labels[judge]) == {0, 1}
    assert sorted(np.concatenate([judge for _, judge in folds])) == list(range(200))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.ones(160, int)}, "both occur"),
        ({"labels": np.full(160, 2)}, "both occur"),
        ({"groups": np.zeros(160)}, "cannot be divided"),
        ({"features": np.full((160, 5), np.nan)}, "NaN or infinite"),
        ({"features": np.ones((160, 5))}, "are the same for all"),
        ({"features": np.ones((3, 5))}, "one row for each label"),
    ],
)
def test_labels_and_features_that_cannot_teach_are_refused(
    change: dict[str, Images], message: str
) -> None:
    features, labels, groups = made_features()
    given = {"features": features, "labels": labels, "groups": groups, **change}
    with pytest.raises((DataError, ShapeMismatch), match=message):
        fit_model("ridge", **given)
    with pytest.raises(ConfigError):
        fit_model("boosting", features, labels, groups)
    with pytest.raises(ConfigError):
        fit_model("ridge", features, labels, groups, alphas=(0.0, 1.0))


def test_decisions_become_scores_or_are_refused() -> None:
    rng = np.random.default_rng(0)
    decisions = rng.normal(size=4000)
    labels = (rng.random(4000) < expit(3 * decisions - 1)).astype(int)
    slope, offset = scale_decisions(decisions, labels)
    assert (slope, offset) == pytest.approx((3, -1), abs=0.25)
    for worthless in (-decisions, np.zeros(4000)):
        with pytest.raises(DataError, match="tell nothing"):
            scale_decisions(worthless, labels)
