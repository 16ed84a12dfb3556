"""Paired comparison: differences that hold the truth, and are narrower than the figures."""

import numpy as np
import pandas as pd
import pytest

from sluice.base.calibration import Calibration
from sluice.base.errors import ConfigError, DataError, NoValidData
from sluice.evaluation import metrics
from sluice.evaluation.compare import (
    Comparison,
    ScoredModel,
    compare_models,
    render_comparison,
)
from sluice.evaluation.report import evaluate_scores

CALIBRATION = Calibration(
    scores=(0.0, 1.0), log_likelihood_ratio=(-3.0, 3.0), training_prior=0.3, fitted_on="synthetic"
)


def chips(n: int = 400, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.3).astype(int)
    return pd.DataFrame(
        {
            "label": labels,
            "group": np.arange(n) // 2,
            "kind": "some",
            "source": "",
            "clear_threshold": 0.75,
        }
    )


def model(
    name: str, table: pd.DataFrame, *, skill: float, seed: int, hard: np.ndarray | None = None
) -> ScoredModel:
    """Scores that know `skill` of the label; `hard` is noise that other models share."""
    rng = np.random.default_rng(seed)
    logits = skill * (2 * table["label"].to_numpy() - 1) + rng.normal(size=len(table))
    logits += 0 if hard is None else hard
    return ScoredModel(name, (1 / (1 + np.exp(-logits))).astype(np.float32), 0.5, CALIBRATION)


def compare(table: pd.DataFrame, *models: ScoredModel, resamples: int = 300) -> Comparison:
    return compare_models(table, models, data="d", resamples=resamples)


def test_figures_and_differences_are_those_of_the_metrics() -> None:
    table = chips()
    good, poor = model("good", table, skill=1.5, seed=1), model("poor", table, skill=0.5, seed=2)
    found = compare(table, good, poor)
    labels = table["label"].to_numpy()
    auc = [float(metrics.roc_auc(labels, m.scores)) for m in (good, poor)]
    f1 = [float(metrics.f1(labels, m.scores, 0.5)) for m in (good, poor)]
    first, second = found.models
    assert first.less_reference is None
    assert second.less_reference is not None
    assert [m.figures.roc_auc.value for m in found.models] == pytest.approx(auc)
    assert second.less_reference.roc_auc.value == pytest.approx(auc[1] - auc[0])
    assert second.less_reference.f1.value == pytest.approx(f1[1] - f1[0])
    assert second.less_reference.average_precision.high < 0
    # The report on one model draws the same blocks.
    alone = evaluate_scores(
        table.assign(score=poor.scores), 0.5, CALIBRATION, model="m", data="d", resamples=300
    )
    assert alone.overall.average_precision == second.figures.average_precision
    assert alone.overall.brier == second.figures.brier


def test_a_model_does_not_differ_from_itself() -> None:
    table = chips()
    one = model("one", table, skill=1, seed=1)
    other = ScoredModel("other", one.scores, one.threshold, one.calibration)
    less = compare(table, one, other).models[1].less_reference
    for figure in (less.average_precision, less.roc_auc, less.f1, less.brier):
        assert (figure.value, figure.low, figure.high) == (0, 0, 0)


def test_pairing_narrows_the_interval_of_models_that_find_the_same_chips_hard() -> None:
    table = chips(600)
    hard = np.random.default_rng(9).normal(scale=2, size=len(table))
    models = [model(f"m{seed}", table, skill=1, seed=seed, hard=hard) for seed in (1, 2)]
    found = compare(table, *models).models
    widths = [m.figures.roc_auc.high - m.figures.roc_auc.low for m in found]
    less = found[1].less_reference.roc_auc
    assert less.high - less.low < 0.75 * np.hypot(*widths)


def test_intervals_of_a_difference_hold_nothing_as_often_as_they_say() -> None:
    held = 0
    for trial in range(80):
        table = chips(200, seed=trial)
        models = [model(f"m{k}", table, skill=1, seed=1000 * k + trial) for k in (1, 2)]
        less = compare(table, *models, resamples=150).models[1].less_reference.roc_auc
        held += less.low <= 0 <= less.high
    # Two standard errors of 80 trials at 95 % are 5 points; resamples of few blocks cost some.
    assert 0.87 <= held / 80 <= 1


def test_only_chips_that_all_scored_count() -> None:
    table = chips(100)
    whole, half = (model(name, table, skill=1, seed=1) for name in ("whole", "half"))
    half.scores[:20] = np.nan
    found = compare(table, whole, half)
    assert (found.chips, found.left_out) == (80, 20)
    assert found.models[1].less_reference.roc_auc.value == 0
    half.scores[:] = np.nan
    with pytest.raises(NoValidData, match="none of 100 chips was scored by all 2"):
        compare(table, whole, half)


def test_without_a_calibration_there_is_no_brier_score() -> None:
    table = chips(100)
    one, two = (model(name, table, skill=1, seed=1) for name in ("one", "two"))
    two = ScoredModel("two", two.scores, 0.5, None)
    found = compare(table, one, two).models
    assert found[0].figures.brier is not None
    assert found[1].figures.brier is None
    assert found[1].less_reference.brier is None
    found = compare(table, two, one).models
    assert found[1].figures.brier is not None
    assert found[1].less_reference.brier is None


def test_the_text_holds_both_tables() -> None:
    table = chips()
    models = [model(name, table, skill=s, seed=1) for name, s in (("a", 1), ("bb", 0.2))]
    comparison = compare(table, *models)
    text = render_comparison(comparison)
    assert "2 models on d" in text
    assert "400 chips" in text
    less = next(line for line in text.splitlines() if line.startswith("less a"))
    assert less.split("  ")[-1] == "Brier score"
    rows = [line for line in text.splitlines() if line.startswith("bb at 0.500")]
    assert len(rows) == 2
    assert "-0." in rows[1]
    assert " to -0." in rows[1]
    assert "not proof" in text
    assert Comparison.model_validate_json(comparison.model_dump_json()) == comparison


def test_bad_requests_are_named() -> None:
    table = chips(100)
    one = model("one", table, skill=1, seed=1)
    with pytest.raises(ConfigError, match="nothing to compare"):
        compare(table, one)
    with pytest.raises(ConfigError, match="one is named twice"):
        compare(table, one, one)
    with pytest.raises(DataError, match="column group"):
        compare(table.drop(columns="group"), one, one)
    two = model("two", table, skill=1, seed=2)
    with pytest.raises(DataError, match=r"shape \(100,\) for 50 chips"):
        compare(table.iloc[:50], one, two)
