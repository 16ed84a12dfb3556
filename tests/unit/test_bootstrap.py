"""Block bootstrap: intervals that hold the truth as often as they say."""

from functools import partial

import numpy as np
import pytest

from sluice.base.errors import DataError, NoValidData
from sluice.evaluation import metrics
from sluice.evaluation.bootstrap import Estimate, block_weights, bootstrap_estimates, zero_aware


def mean_of(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return weights @ values / weights.sum(axis=-1)


def test_blocks_are_drawn_whole_and_as_many_as_there_are() -> None:
    blocks = np.array(["b", "a", "b", "c", "a", "b"])
    (weights,) = block_weights(blocks, resamples=50, seed=3)
    assert weights.shape == (50, 6)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    np.testing.assert_array_equal(weights[:, 0], weights[:, 5])
    np.testing.assert_array_equal(weights[:, 1], weights[:, 4])
    np.testing.assert_array_equal(weights[:, [0, 1, 3]].sum(axis=1), 3)
    assert weights.std(axis=0).min() > 0


def test_every_block_is_drawn_equally_often() -> None:
    weights = np.concatenate(list(block_weights(np.arange(50), resamples=2000, seed=1)))
    assert weights.shape == (2000, 50)
    # 2000 draws of a count with mean 1 and variance 0.98: five standard errors are 0.11.
    np.testing.assert_allclose(weights.mean(axis=0), 1, atol=0.11)
    assert weights.var() == pytest.approx(1 - 1 / 50, abs=0.03)


def test_the_interval_of_a_mean_is_the_textbook_one() -> None:
    values = np.random.default_rng(0).normal(size=400)
    found = bootstrap_estimates({"mean": partial(mean_of, values)}, np.arange(400), seed=1)["mean"]
    half = 1.96 * values.std() / 20
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=0.02)
    assert found.high == pytest.approx(values.mean() + half, abs=0.02)


def coverage(*, by_block: bool, trials: int = 200) -> float:
    """How often the interval holds the true false-alarm rate of 0.3, chips of a block alike."""
    rng = np.random.default_rng(5)
    held = 0
    for trial in range(trials):
        blocks = np.repeat(np.arange(60), 6)
        alike = rng.random(60) < 0.3
        scores = alike[blocks].astype(float)
        labels = np.zeros(blocks.size, int)
        names = blocks if by_block else np.arange(blocks.size)
        rate = partial(metrics.false_alarm_rate, labels, scores, 0.5)
        found = bootstrap_estimates({"rate": rate}, names, resamples=200, seed=trial)["rate"]
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 0.3 <= found.high
    return held / trials


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    assert 0.89 <= coverage(by_block=True) <= 0.99


def test_intervals_by_chip_would_be_far_too_narrow() -> None:
    assert coverage(by_block=False) < 0.75


def test_the_same_seed_gives_the_same_interval_and_another_does_not() -> None:
    rng = np.random.default_rng(2)
    statistics = {"auc": partial(metrics.roc_auc, rng.integers(0, 2, 100), rng.random(100))}
    blocks = np.arange(100) // 2
    first, again, other = (
        bootstrap_estimates(statistics, blocks, resamples=100, seed=seed) for seed in (7, 7, 8)
    )
    assert first == again
    assert first != other


def test_resamples_without_both_labels_are_counted_and_left_out() -> None:
    labels = np.array([1] + [0] * 5)
    scores = np.array([0.9, 0.1, 0.2, 0.3, 0.4, 0.95])
    auc = partial(metrics.roc_auc, labels, scores)
    found = bootstrap_estimates({"auc": auc}, np.arange(6), seed=0)["auc"]
    # The only mine is missing from (5/6)^6 = 33 % of the resamples: too many for an interval.
    assert found.value == pytest.approx(0.8)
    assert found.undefined_resamples == pytest.approx(335, abs=60)
    assert (found.low, found.high) == (None, None)


def test_a_few_undefined_resamples_do_not_spoil_the_interval() -> None:
    labels = np.array([1] * 4 + [0] * 20)
    scores = np.linspace(1, 0, 24)
    recall = partial(metrics.recall, labels, scores, 0.95)
    found = bootstrap_estimates({"recall": recall}, np.arange(24), seed=0)["recall"]
    # All four mines are missing from (20/24)^24 = 1.3 % of the resamples.
    assert 2 <= found.undefined_resamples <= 30
    assert found.low is not None
    assert found.value == pytest.approx(0.5)


def test_a_figure_without_meaning_has_no_value() -> None:
    auc = partial(metrics.roc_auc, np.ones(5), np.arange(5.0))
    found = bootstrap_estimates({"auc": auc}, np.arange(5), resamples=20)["auc"]
    assert found == Estimate(value=None, low=None, high=None, undefined_resamples=20)


def test_one_block_gives_no_interval() -> None:
    found = bootstrap_estimates({"mean": partial(mean_of, np.arange(3.0))}, np.zeros(3))["mean"]
    assert found == Estimate(value=1.0, low=None, high=None)


def test_nothing_to_resample_is_refused() -> None:
    with pytest.raises(NoValidData):
        bootstrap_estimates({}, np.array([]))
    with pytest.raises(DataError, match="1 resamples"):
        bootstrap_estimates({}, np.arange(3), resamples=1)


def test_none_of_n_is_not_never() -> None:
    none = zero_aware(Estimate(value=0.0, low=0.0, high=0.0), independent=50)
    # The rate at which 50 places without an alarm have probability 2.5 %.
    assert none.low == 0
    assert none.high is not None
    assert (1 - none.high) ** 50 == pytest.approx(0.025)
    every = zero_aware(Estimate(value=1.0, low=1.0, high=1.0), independent=50)
    assert (every.low, every.high) == (pytest.approx(1 - none.high), 1.0)
    some = Estimate(value=0.1, low=0.05, high=0.2)
    assert zero_aware(some, independent=50) is some
