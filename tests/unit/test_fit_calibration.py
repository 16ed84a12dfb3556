"""Calibration and thresholds against data whose truth is known."""

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression

from sluice.base.errors import ConfigError, DataError, ShapeMismatch
from sluice.evaluation import metrics
from sluice.evaluation.calibration import (
    choose_isolated_threshold,
    choose_precise_threshold,
    choose_threshold,
    choose_threshold_for,
    fit_calibration,
)


def draw_scores(n_mines: int, n_others: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian logits, N(1, 2) for mines and N(-1, 2): the true ratio is the logit itself."""
    rng = np.random.default_rng(seed)
    logits = np.concatenate(
        (rng.normal(1, np.sqrt(2), n_mines), rng.normal(-1, np.sqrt(2), n_others))
    )
    return expit(logits), np.repeat([1, 0], (n_mines, n_others))


def test_a_known_likelihood_ratio_is_found() -> None:
    scores, labels = draw_scores(4000, 16_000, seed=0)
    # Distorted the way an over-confident network distorts: the logit doubled and shifted.
    calibration = fit_calibration(expit(2 * logit(scores) + 1.5), labels, "synthetic")
    assert calibration.training_prior == pytest.approx(0.2)
    assert calibration.fitted_on == "synthetic"
    truth = np.linspace(-3, 3, 25)
    found = np.interp(expit(2 * truth + 1.5), calibration.scores, calibration.log_likelihood_ratio)
    np.testing.assert_allclose(found, truth, atol=0.2)


def test_posteriors_are_calibrated_on_fresh_chips_at_any_prior() -> None:
    scores, labels = draw_scores(2000, 6000, seed=1)
    calibration = fit_calibration(expit(3 * logit(scores)), labels, "synthetic")
    for mines, others in ((4000, 12_000), (400, 20_000)):
        fresh, truth = draw_scores(mines, others, seed=2)
        probability = calibration.probability(
            expit(3 * logit(fresh)).astype(np.float32), prior=mines / (mines + others)
        )
        assert float(metrics.calibration_error(truth, probability)) < 0.02


def test_the_evidence_is_bounded_by_the_number_of_chips() -> None:
    scores = np.concatenate((np.linspace(0.9, 1, 40), np.linspace(0, 0.1, 200)))
    labels = np.repeat([1, 0], (40, 200))
    calibration = fit_calibration(scores, labels, "separable")
    assert calibration.log_likelihood_ratio[-1] == pytest.approx(np.log(200))
    assert calibration.log_likelihood_ratio[0] == pytest.approx(-np.log(40))


def test_the_table_is_close_to_the_curve_it_stands_for() -> None:
    scores, labels = draw_scores(3000, 9000, seed=3)
    calibration = fit_calibration(scores, labels, "synthetic")
    assert len(calibration.scores) <= 33
    between = expit((logit(calibration.scores[:-1]) + logit(calibration.scores[1:])) / 2)
    found = np.interp(between, calibration.scores, calibration.log_likelihood_ratio)
    ratio = np.array(calibration.log_likelihood_ratio)
    np.testing.assert_allclose(found, (ratio[:-1] + ratio[1:]) / 2, atol=0.05)


@settings(max_examples=40)
@given(data=st.data(), n=st.integers(2, 60))
def test_any_scores_give_a_monotone_bounded_table(data: st.DataObject, n: int) -> None:
    scores = np.array(
        data.draw(st.lists(st.floats(0, 1, width=32), min_size=n, max_size=n, unique=True)),
        dtype=np.float32,
    )
    labels = np.array(data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    labels[:2] = (0, 1)
    try:
        calibration = fit_calibration(scores, labels, "anything")  # itself refuses disorder
    except DataError:
        assert np.clip(scores.astype(np.float64), 1e-7, 1 - 1e-7).std() == 0
        return
    ratio = np.array(calibration.log_likelihood_ratio)
    assert ratio.max() <= np.log((labels == 0).sum()) + 1e-9
    assert ratio.min() >= -np.log((labels == 1).sum()) - 1e-9
    assert calibration.scores[0] >= min(scores.min(), 1e-7)
    assert calibration.scores[-1] <= max(scores.max(), 1e-7)


def test_weights_change_the_prior_and_the_evidence_like_repeated_chips() -> None:
    scores, labels = draw_scores(200, 600, seed=4)
    doubled = fit_calibration(np.tile(scores, 2), np.tile(labels, 2), "twice")
    weighted = fit_calibration(scores, labels, "weighted", np.full(800, 2.0))
    single = fit_calibration(scores, labels, "once")
    assert weighted == single.model_copy(update={"fitted_on": "weighted"})
    assert doubled.training_prior == pytest.approx(single.training_prior)
    heavy_mines = fit_calibration(scores, labels, "heavy", np.where(labels == 1, 3.0, 1.0))
    assert heavy_mines.training_prior == pytest.approx(0.5)
    middle = np.interp(0.5, heavy_mines.scores, heavy_mines.log_likelihood_ratio)
    assert middle == pytest.approx(
        np.interp(0.5, single.scores, single.log_likelihood_ratio), abs=0.15
    )


@settings(max_examples=60)
@given(
    labels=st.lists(st.integers(0, 1), min_size=2, max_size=40).filter(
        lambda y: 0 < sum(y) < len(y)
    ),
    data=st.data(),
)
def test_no_threshold_has_a_higher_f1(labels: list[int], data: st.DataObject) -> None:
    n = len(labels)
    scores = np.array(
        data.draw(st.lists(st.sampled_from([0, 0.2, 0.4, 0.6, 0.8, 1]), min_size=n, max_size=n)),
        dtype=np.float32,
    )
    chosen = choose_threshold(scores, np.array(labels))
    every = [reference.f1_score(labels, scores >= t) for t in np.unique(scores)]
    assert reference.f1_score(labels, scores >= chosen) == pytest.approx(max(every))


def test_the_threshold_lies_midway() -> None:
    scores, labels = np.array([0.9, 0.8, 0.4, 0.2]), np.array([1, 1, 0, 0])
    assert choose_threshold(scores, labels) == pytest.approx(0.6)


def test_the_isolated_threshold_halves_the_false_alarms() -> None:
    scores, labels = draw_scores(1000, 5000, seed=5)
    main = choose_threshold(scores, labels)
    isolated = choose_isolated_threshold(scores, labels, main)
    others = scores[labels == 0]
    at_main = (others >= main).sum()
    assert (others >= isolated).sum() == at_main // 2
    # No lower threshold would do: the next alarm below is one too many.
    assert (others >= others[others < isolated].max()).sum() > at_main / 2
    assert choose_isolated_threshold(scores, labels, main, share=1) == main
    assert choose_isolated_threshold(scores, labels, main, share=0.1) > isolated


def test_without_false_alarms_both_thresholds_are_one() -> None:
    scores, labels = np.array([0.9, 0.8, 0.4]), np.array([1, 1, 0])
    assert choose_isolated_threshold(scores, labels, 0.6) == 0.6


def test_false_alarms_at_the_very_top_leave_no_threshold() -> None:
    scores, labels = np.array([1.0, 1.0, 1.0, 0.5]), np.array([1, 0, 0, 0])
    with pytest.raises(DataError, match="2 chips without a mine score 1"):
        choose_isolated_threshold(scores, labels, 0.9)


@pytest.mark.parametrize(
    ("scores", "labels", "error", "message"),
    [
        ([0.1, 1.2], [0, 1], DataError, "not in .0, 1., such as 1.2"),
        ([0.1, np.nan], [0, 1], DataError, "such as nan"),
        ([0.1, 0.2], [1, 1], DataError, "2 of 2 chips are mines"),
        ([0.1, 0.2], [0, 0], DataError, "0 of 2 chips are mines"),
        ([0.1, 0.2], [0, 1, 1], ShapeMismatch, "one length"),
        ([0.3, 0.3], [0, 1], DataError, "all scores are 0.3"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(
    scores: list[float], labels: list[int], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        fit_calibration(np.array(scores), np.array(labels), "bad")


def test_weights_must_be_positive() -> None:
    with pytest.raises(ShapeMismatch, match="positive"):
        fit_calibration(np.array([0.1, 0.9]), np.array([0, 1]), "bad", np.array([0.0, 1.0]))


METHODS = ("beta", "isotonic", "temperature")


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_a_ratio_that_a_temperature_distorted(method: str) -> None:
    scores, labels = draw_scores(10_000, 10_000, seed=6)
    calibration = fit_calibration(expit(2 * logit(scores)), labels, "synthetic", method=method)
    truth = np.linspace(-2.5, 2.5, 21)
    found = np.interp(expit(2 * truth), calibration.scores, calibration.log_likelihood_ratio)
    # Steps of pooled scores lie to both sides of the line.
    np.testing.assert_allclose(found, truth, atol=0.45 if method == "isotonic" else 0.1)
    fresh, truth = draw_scores(6000, 3000, seed=7)
    probability = calibration.probability(expit(2 * logit(fresh)).astype(np.float32), prior=2 / 3)
    assert float(metrics.calibration_error(truth, probability)) < 0.02


@pytest.mark.parametrize("method", METHODS)
def test_the_evidence_of_every_method_is_bounded(method: str) -> None:
    scores = np.concatenate((np.linspace(0.9, 1, 40), np.linspace(0, 0.1, 200)))
    labels = np.repeat([1, 0], (40, 200))
    calibration = fit_calibration(scores, labels, "separable", method=method)
    ratio = np.array(calibration.log_likelihood_ratio)
    assert ratio.max() == pytest.approx(np.log(200))
    assert ratio.min() == pytest.approx(-np.log(40))
    assert ratio.max() <= np.log(200) + 1e-9


@settings(max_examples=60)
@given(data=st.data(), n=st.integers(2, 60), method=st.sampled_from(["isotonic", "temperature"]))
def test_any_scores_give_a_monotone_bounded_table_by_any_method(
    data: st.DataObject, n: int, method: str
) -> None:
    few = st.sampled_from([0.0, 1e-8, 0.2, 0.4, 0.6, 0.8, 1.0]) | st.floats(0, 1, width=32)
    scores = np.array(data.draw(st.lists(few, min_size=n, max_size=n)))
    labels = np.array(data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    labels[:2] = (0, 1)
    if np.ptp(np.clip(scores, 1e-7, 1 - 1e-7)) == 0:
        with pytest.raises(DataError, match="all scores are"):
            fit_calibration(scores, labels, "anything", method=method)
        return
    ratio = fit_calibration(scores, labels, "anything", method=method).log_likelihood_ratio
    assert max(ratio) <= np.log((labels == 0).sum()) + 1e-9
    assert min(ratio) >= -np.log((labels == 1).sum()) - 1e-9


def test_isotonic_posteriors_equal_scikit_learns_within_the_bounds() -> None:
    scores, labels = draw_scores(300, 900, seed=8)
    weights = np.random.default_rng(0).uniform(0.5, 2, 1200)
    calibration = fit_calibration(scores, labels, "synthetic", weights, method="isotonic")
    posterior = calibration.probability(scores.astype(np.float32), calibration.training_prior)
    expected = IsotonicRegression().fit(scores, labels, weights).predict(scores)
    inside = (expected > 0.02) & (expected < 0.98)
    assert inside.mean() > 0.5
    np.testing.assert_allclose(posterior[inside], expected[inside], atol=1e-4)


def test_a_temperature_is_that_of_a_plain_search() -> None:
    scores, labels = draw_scores(300, 300, seed=9)
    given_scores = expit(3 * logit(scores))
    calibration = fit_calibration(given_scores, labels, "synthetic", method="temperature")

    def loss(temperature: float) -> float:
        target = np.where(labels == 1, 301 / 302, 1 / 302)
        logits = logit(given_scores) / temperature
        return float((np.logaddexp(0, logits) - target * logits).sum())

    best = min(np.linspace(1, 6, 2001), key=loss)
    at = logit(np.array(calibration.scores))
    inside = np.abs(at / best) < 4
    found = np.array(calibration.log_likelihood_ratio)[inside]
    np.testing.assert_allclose(found, at[inside] / best, atol=0.02)


def test_an_unknown_method_is_named() -> None:
    scores, labels = draw_scores(10, 10, seed=0)
    with pytest.raises(ConfigError, match="'platt'; use beta, isotonic, temperature"):
        fit_calibration(scores, labels, "bad", method="platt")


drawn_scores = st.integers(2, 40).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, 1), min_size=n, max_size=n).filter(lambda y: 0 < sum(y) < len(y)),
        st.lists(st.sampled_from([0, 0.2, 0.4, 0.6, 0.8, 1]), min_size=n, max_size=n),
    )
)


@settings(max_examples=60)
@given(sample=drawn_scores, beta=st.sampled_from([0.5, 1.0, 2.0]))
def test_no_threshold_has_a_higher_f_beta(
    sample: tuple[list[int], list[float]], beta: float
) -> None:
    labels, scores = np.array(sample[0]), np.array(sample[1])
    chosen = choose_threshold_for(f"F{beta:g}", scores, labels)
    every = [reference.fbeta_score(labels, scores >= t, beta=beta) for t in np.unique(scores)]
    assert reference.fbeta_score(labels, scores >= chosen, beta=beta) == pytest.approx(max(every))


@settings(max_examples=60)
@given(sample=drawn_scores, least=st.sampled_from([0.1, 0.5, 0.9, 1.0]))
def test_no_threshold_with_such_recall_is_more_precise(
    sample: tuple[list[int], list[float]], least: float
) -> None:
    labels, scores = np.array(sample[0]), np.array(sample[1])
    chosen = choose_threshold_for(f"recall >= {least}", scores, labels)
    every = [
        reference.precision_score(labels, scores >= threshold)
        for threshold in np.unique(scores)
        if reference.recall_score(labels, scores >= threshold) >= least
    ]
    assert reference.recall_score(labels, scores >= chosen) >= least
    assert reference.precision_score(labels, scores >= chosen) == pytest.approx(max(every))


def test_of_equal_precision_the_one_that_finds_more() -> None:
    scores, labels = np.array([0.9, 0.8, 0.6, 0.2]), np.array([1, 1, 1, 0])
    assert choose_precise_threshold(scores, labels, 0.3) == pytest.approx(0.4)


@pytest.mark.parametrize(
    "aim",
    ["", "f", "f0", "f-1", "recall", "recall>=", "recall>=0", "recall>=1.5", "precision>=0.9"],
)
def test_unknown_aims_are_named(aim: str) -> None:
    scores, labels = draw_scores(10, 10, seed=0)
    with pytest.raises(ConfigError, match=r"use f1, f0\.5 or recall>=0\.9"):
        choose_threshold_for(aim, scores, labels)
