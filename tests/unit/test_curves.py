"""Curves as numbers, against scikit-learn and the figures that stand for them."""

import numpy as np
import pytest
import sklearn.calibration
import sklearn.metrics as reference
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sluice.base.errors import DataError, ShapeMismatch
from sluice.evaluation import metrics
from sluice.evaluation.curves import confusion, precision_recall_curve, reliability, roc_curve

samples = (
    st.integers(2, 40)
    .flatmap(
        lambda n: st.tuples(
            hnp.arrays(np.int64, n, elements=st.integers(0, 1)),
            hnp.arrays(np.float32, n, elements=st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])),
        )
    )
    .filter(lambda s: 0 < s[0].sum() < s[0].size)
)


@settings(max_examples=60)
@given(sample=samples)
def test_roc_equals_scikit_learns_and_has_the_area_of_the_figure(sample) -> None:
    labels, scores = sample
    alarms, hits, thresholds = reference.roc_curve(labels, scores, drop_intermediate=False)
    found = roc_curve(labels, scores)
    np.testing.assert_allclose(found.false_alarm_rate, alarms)
    np.testing.assert_allclose(found.recall, hits)
    np.testing.assert_array_equal(found.thresholds, thresholds)
    area = np.trapezoid(found.recall, found.false_alarm_rate)
    assert area == pytest.approx(float(metrics.roc_auc(labels, scores)))


@settings(max_examples=60)
@given(sample=samples)
def test_precision_and_recall_equal_scikit_learns(sample) -> None:
    labels, scores = sample
    precision, recall, thresholds = reference.precision_recall_curve(labels, scores)
    found = precision_recall_curve(labels, scores)
    # scikit-learn goes upwards and ends with a point that no threshold has.
    np.testing.assert_allclose(found.precision, precision[-2::-1])
    np.testing.assert_allclose(found.recall, recall[-2::-1])
    np.testing.assert_array_equal(found.thresholds, thresholds[::-1])
    steps = np.diff(found.recall, prepend=0) @ found.precision
    assert steps == pytest.approx(float(metrics.average_precision(labels, scores)))


def test_reliability_equals_scikit_learns_where_no_probabilities_are_equal() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.random(1000)
    labels = (rng.random(1000) < probabilities).astype(int)
    found = reliability(labels, probabilities, bins=10)
    shares, stated = sklearn.calibration.calibration_curve(
        labels, probabilities, n_bins=10, strategy="quantile"
    )
    np.testing.assert_array_equal(found.chips, 100)
    np.testing.assert_allclose(found.found, shares)
    np.testing.assert_allclose(found.stated, stated)


@settings(max_examples=60)
@given(sample=samples, bins=st.integers(1, 20))
def test_reliability_averages_to_the_calibration_error(sample, bins: int) -> None:
    labels, probabilities = sample
    found = reliability(labels, probabilities, bins=bins)
    assert found.chips.sum() == labels.size
    assert found.chips.min() > 0
    error = np.average(np.abs(found.stated - found.found), weights=found.chips)
    assert error == pytest.approx(
        float(metrics.calibration_error(labels, probabilities, bins=bins)), abs=1e-12
    )


@settings(max_examples=40)
@given(sample=samples, threshold=st.sampled_from([0.0, 0.25, 0.6, 1.0, 1.1]))
def test_confusion_equals_scikit_learns(sample, threshold: float) -> None:
    labels, scores = sample
    found = confusion(labels, scores, threshold)
    matrix = reference.confusion_matrix(labels, scores >= threshold, labels=[0, 1])
    assert [[found.rejections, found.alarms], [found.misses, found.hits]] == matrix.tolist()


def test_what_has_no_curve_is_refused() -> None:
    ones, scores = np.ones(3, int), np.array([0.1, 0.2, 0.3])
    with pytest.raises(DataError, match="with a mine and without"):
        roc_curve(ones, scores)
    with pytest.raises(DataError, match="recall needs"):
        precision_recall_curve(0 * ones, scores)
    with pytest.raises(DataError, match="1 scores are NaN"):
        reliability(ones, np.array([0.1, np.nan, 0.2]))
    with pytest.raises(DataError, match="0 bins"):
        reliability(ones, scores, bins=0)
    with pytest.raises(ShapeMismatch, match="one length"):
        confusion(ones, scores[:2], 0.5)
    with pytest.raises(ShapeMismatch, match="not empty"):
        roc_curve(ones[:0], scores[:0])
