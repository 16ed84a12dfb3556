"""Metrics against scikit-learn, closed forms and the published scores."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as reference
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sluice.base.errors import DataError, ShapeMismatch
from sluice.evaluation import metrics

T = 0.5

# Few distinct scores, so that ties are common.
samples = st.integers(1, 40).flatmap(
    lambda n: st.tuples(
        hnp.arrays(np.int64, n, elements=st.integers(0, 1)),
        hnp.arrays(np.float32, n, elements=st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])),
        hnp.arrays(np.int64, n, elements=st.integers(0, 3)),
    )
)
both_labels = samples.filter(lambda s: 0 < s[0][s[2] > 0].sum() < (s[2] > 0).sum())
FIGURES: dict[str, Callable[..., np.ndarray]] = {
    "average precision": metrics.average_precision,
    "ROC AUC": metrics.roc_auc,
    "F1": lambda y, s, w=None: metrics.f1(y, s, T, w),
    "precision": lambda y, s, w=None: metrics.precision(y, s, T, w),
    "recall": lambda y, s, w=None: metrics.recall(y, s, T, w),
    "false alarms": lambda y, s, w=None: metrics.false_alarm_rate(y, s, T, w),
    "Brier": metrics.brier_score,
}
REFERENCES: dict[str, Callable[..., float]] = {
    "average precision": lambda y, s, w: reference.average_precision_score(y, s, sample_weight=w),
    "ROC AUC": lambda y, s, w: reference.roc_auc_score(y, s, sample_weight=w),
    "F1": lambda y, s, w: reference.f1_score(y, s >= T, sample_weight=w),
    "recall": lambda y, s, w: reference.recall_score(y, s >= T, sample_weight=w),
    "false alarms": lambda y, s, w: 1 - reference.recall_score(1 - y, s < T, sample_weight=w),
    "Brier": lambda y, s, w: reference.brier_score_loss(y, s, sample_weight=w),
}


@pytest.mark.parametrize("figure", REFERENCES)
@settings(max_examples=40)
@given(sample=both_labels)
def test_weighted_figures_equal_scikit_learns(
    figure: str, sample: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> None:
    labels, scores, weights = sample
    found = FIGURES[figure](labels, scores, weights.astype(np.float64))
    assert float(found) == pytest.approx(REFERENCES[figure](labels, scores, weights), abs=1e-12)


@pytest.mark.parametrize("figure", FIGURES)
@settings(max_examples=40)
@given(sample=samples.filter(lambda s: s[2].sum() > 0))
def test_weights_are_the_same_as_repeated_chips(
    figure: str, sample: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> None:
    labels, scores, times = sample
    repeated = FIGURES[figure](np.repeat(labels, times), np.repeat(scores, times))
    rows = np.stack((times, 2 * times)).astype(np.float64)
    weighted = FIGURES[figure](labels, scores, rows)
    assert weighted.shape == (2,)
    np.testing.assert_allclose(weighted, [repeated, repeated], atol=1e-12)


def test_precision_and_what_has_no_meaning() -> None:
    labels, scores = np.array([1, 0, 1, 0]), np.array([0.9, 0.6, 0.5, 0.1])
    assert float(metrics.precision(labels, scores, 0.5)) == pytest.approx(2 / 3)
    assert np.isnan(metrics.precision(labels, scores, 0.95))
    assert np.isnan(metrics.recall(np.zeros(4), scores, 0.5))
    assert np.isnan(metrics.false_alarm_rate(np.ones(4), scores, 0.5))
    assert np.isnan(metrics.roc_auc(np.ones(4), scores))
    assert np.isnan(metrics.average_precision(np.zeros(4), scores))
    assert np.isnan(metrics.f1(np.zeros(4), scores, 0.95))
    assert float(metrics.f1(labels, scores, 0.95)) == 0


def test_a_score_at_the_threshold_is_detected() -> None:
    assert float(metrics.recall(np.array([1, 0]), np.array([0.5, 0.5]), 0.5)) == 1


def test_calibration_error_of_two_known_bins() -> None:
    # Low half: stated 0.1, found 2 of 10. High half: stated 0.7, found 4 of 10.
    probabilities = np.repeat([0.1, 0.7], 10)
    labels = np.concatenate((np.arange(10) < 2, np.arange(10) < 4)).astype(int)
    found = metrics.calibration_error(labels, probabilities, bins=2)
    assert float(found) == pytest.approx((0.1 + 0.3) / 2)
    only_high = np.repeat([0.0, 1.0], 10)
    assert float(metrics.calibration_error(labels, probabilities, only_high, bins=2)) == (
        pytest.approx(0.3)
    )


def test_calibration_error_of_the_truth_is_small_and_of_a_lie_large() -> None:
    rng = np.random.default_rng(1)
    probabilities = rng.beta(0.5, 1.5, 20_000)
    labels = (rng.random(20_000) < probabilities).astype(int)
    assert float(metrics.calibration_error(labels, probabilities)) < 0.01
    shifted = np.clip(probabilities + 0.2, 0, 1)
    assert float(metrics.calibration_error(labels, shifted)) == pytest.approx(
        float(shifted.mean() - labels.mean()), abs=0.005
    )


def test_bins_hold_equal_numbers_so_rare_high_probabilities_do_not_dominate() -> None:
    probabilities = np.concatenate((np.linspace(0, 0.01, 990), np.full(10, 0.99)))
    labels = np.zeros(1000, int)
    # All 15 bins state too much; the highest one only by its ten liars.
    assert float(metrics.calibration_error(labels, probabilities)) == pytest.approx(
        probabilities.mean(), rel=1e-6
    )


def test_lists_that_do_not_fit_and_missing_scores_are_refused() -> None:
    with pytest.raises(ShapeMismatch, match=r"\(3,\) and scores \(2,\)"):
        metrics.roc_auc(np.ones(3), np.ones(2))
    with pytest.raises(ShapeMismatch, match="do not fit 2 chips"):
        metrics.roc_auc(np.ones(2), np.ones(2), np.ones((4, 3)))
    with pytest.raises(ShapeMismatch, match="not empty"):
        metrics.f1(np.ones(0), np.ones(0), T)
    with pytest.raises(DataError, match="1 scores are NaN"):
        metrics.recall(np.ones(2), np.array([0.1, np.nan]), T)


def test_the_published_scores_give_the_published_figures(shared_data: Path) -> None:
    folder = shared_data / "amw-chips"
    table = pd.read_csv(folder / "chips.csv").merge(
        pd.read_csv(folder / "keras_44px_v2.6_rgb_scores.csv"), on=["grid", "cell"]
    )
    caroni = table[table["split"] == "test_caroni"]
    labels, scores = caroni["label"].to_numpy(), caroni["score"].to_numpy()
    assert float(metrics.average_precision(labels, scores)) == pytest.approx(0.947, abs=5e-4)
    # 0.896 is the best F1 of any threshold; at the published threshold it is 0.864.
    best = max(float(metrics.f1(labels, scores, t)) for t in np.unique(scores))
    assert best == pytest.approx(0.896, abs=5e-4)
    assert float(metrics.f1(labels, scores, 0.8)) == pytest.approx(0.864, abs=5e-4)
