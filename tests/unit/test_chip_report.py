"""The report on a small table worked out by hand, and on the real chips."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sluice.base.calibration import Calibration
from sluice.base.errors import DataError, NoValidData
from sluice.evaluation.report import ChipReport, evaluate_scores, render_report
from sluice.labels.chips import read_chip_table
from sluice.labels.splits import select_split

CALIBRATION = Calibration(
    scores=(0.0, 1.0),
    log_likelihood_ratio=(-2.0, 2.0),
    training_prior=0.25,
    fitted_on="synthetic",
)


@pytest.fixture
def table() -> pd.DataFrame:
    """12 chips: 4 mines (3 found, 2 by rivers), 7 others (2 alarms by rivers), 1 unobserved."""
    return pd.DataFrame(
        {
            "label": [1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0],
            "kind": ["river"] * 2 + ["mine"] * 2 + ["river"] * 4 + ["random"] * 4,
            "source": ["a", "", "", "a"] + ["a"] * 4 + ["b"] * 4,
            "group": [1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10],
            "clear_threshold": [0.75] * 8 + [0.05] * 2 + [0.75] * 2,
            "score": [0.9, 0.8, 0.7, 0.2, 0.6, 0.6, 0.3, 0.1, 0.1, 0.1, 0.3, np.nan],
        }
    )


def evaluate(table: pd.DataFrame, calibration: Calibration | None = CALIBRATION) -> ChipReport:
    return evaluate_scores(table, 0.5, calibration, model="m", data="d", resamples=200)


def test_figures_worked_out_by_hand(table: pd.DataFrame) -> None:
    found = evaluate(table).overall
    assert (found.chips, found.mines, found.blocks, found.not_observed) == (11, 4, 10, 1)
    assert found.precision.value == pytest.approx(3 / 5)
    assert found.recall.value == pytest.approx(3 / 4)
    assert found.f1.value == pytest.approx(2 / 3)
    assert found.false_alarm_rate.value == pytest.approx(2 / 7)
    # The mine at 0.2 lies below four of the others.
    assert found.roc_auc.value == pytest.approx((28 - 4) / 28)
    assert found.average_precision.value == pytest.approx((1 + 1 + 1 + 4 / 8) / 4)


def test_false_alarms_by_kind_are_of_places_without_a_mine(table: pd.DataFrame) -> None:
    river, random = evaluate(table).overall.false_alarms
    assert (river.kind, river.alarms, river.chips, river.rate.value) == ("river", 2, 4, 0.5)
    assert (random.kind, random.alarms, random.chips, random.rate.value) == ("random", 0, 3, 0)
    # Three blocks without an alarm: a rate of 0.71 would show none in 2.5 % of cases.
    assert random.rate.high == pytest.approx(1 - 0.025 ** (1 / 3))


def test_mines_are_told_by_source(table: pd.DataFrame) -> None:
    report = evaluate(table)
    a, blank = report.overall.sources
    # Scores of a: mines 0.9 and 0.2, the others 0.6, 0.6, 0.3 and 0.1.
    assert (a.source, a.mines, a.found, a.chips) == ("a", 2, 1, 6)
    assert a.recall.value == 0.5
    assert a.average_precision.value == pytest.approx((1 + 2 / 5) / 2)
    assert (blank.source, blank.mines, blank.found) == ("not named", 2, 2)
    assert blank.average_precision is None
    # Two blocks without a miss.
    assert blank.recall.low == pytest.approx(0.025 ** (1 / 2))
    text = render_report(report)
    assert "mines found by source, at 0.500" in text
    rows = [line.split() for line in text.splitlines() if line.startswith("not named")]
    assert rows[0][-1] == "2/2"
    one = render_report(evaluate(table.assign(source="")))
    assert "by source" not in one


def test_hazy_chips_are_left_out_of_the_clear_figures(table: pd.DataFrame) -> None:
    clear = evaluate(table).clear
    assert clear is not None
    assert (clear.chips, clear.mines) == (9, 4)
    assert clear.false_alarm_rate.value == pytest.approx(2 / 5)
    assert evaluate(table.assign(clear_threshold=np.nan)).clear is None


def test_probabilities_take_the_training_prior(table: pd.DataFrame) -> None:
    report = evaluate(table)
    seen = table[table["score"].notna()]
    logit = 4 * seen["score"] - 2 + np.log(0.25 / 0.75)
    expected = ((1 / (1 + np.exp(-logit)) - seen["label"]) ** 2).mean()
    assert report.probability_prior == 0.25
    assert report.overall.brier is not None
    assert report.overall.brier.value == pytest.approx(expected, abs=1e-6)


def test_without_a_calibration_a_score_is_no_probability(table: pd.DataFrame) -> None:
    report = evaluate(table, None)
    assert report.overall.brier is None
    assert report.overall.calibration_error is None
    assert "the model has no calibration" in render_report(report)


def test_the_report_survives_json(table: pd.DataFrame) -> None:
    report = evaluate(table)
    assert ChipReport.from_json(report.to_json()) == report
    assert json.loads(report.to_json())["overall"]["recall"]["value"] == 0.75


def test_the_text_holds_the_figures(table: pd.DataFrame) -> None:
    text = render_report(evaluate(table))
    assert "all chips: 11 chips, 4 mines, 10 blocks, 1 not observed" in text
    assert "clear_threshold 0.75 alone: 9 chips, 4 mines" in text
    assert "recall at 0.500" in text
    assert "0.750 [" in text
    assert "0.000 [0.000-0.708]  0/3" in text
    assert "not proof" in text


def test_chips_of_one_label_leave_gaps_and_no_error(table: pd.DataFrame) -> None:
    report = evaluate(table[table["label"] == 1])
    assert report.overall.roc_auc.value is None
    assert report.overall.false_alarms == ()
    assert report.overall.recall.value == 0.75
    line = next(line for line in render_report(report).splitlines() if "ROC AUC" in line)
    assert line.split()[2:] == ["-", "-"]


def test_missing_columns_and_scores_are_named(table: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="lack the column kind, score"):
        evaluate(table.drop(columns=["kind", "score"]))
    with pytest.raises(NoValidData, match="none of 12 chips has a score"):
        evaluate(table.assign(score=np.nan))


def test_the_published_model_on_real_chips(shared_data: Path) -> None:
    folder = shared_data / "amw-chips"
    scores = pd.read_csv(folder / "keras_44px_v2.6_rgb_scores.csv")
    chips = read_chip_table(folder).merge(scores, on=["grid", "cell"], validate="1:1")
    report = evaluate_scores(
        select_split(chips, "test_caroni"), 0.8, None, model="amw-2021-rgb", data="test_caroni"
    )
    found = report.overall
    assert found.average_precision.value == pytest.approx(0.947, abs=5e-4)
    assert found.average_precision.low == pytest.approx(0.91, abs=0.01)
    assert found.average_precision.high == pytest.approx(0.97, abs=0.01)
    assert (found.chips, found.mines) == (797, 209)
    assert report.clear is not None
    assert (report.clear.chips, report.clear.mines) == (720, 209)
    assert sum(row.alarms for row in found.false_alarms) == 13
