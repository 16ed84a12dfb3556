"""Alerts: what is told, once, and why."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.test_evidence import quarter

from said_cases import english
from sluice.base.alert_verdicts import judged_by
from sluice.base.errors import ConfigError
from sluice.base.places import Alert, AlertKind, AlertState, Verdict, columns_of
from sluice.sites.alerts import AlertRule, alert_id, raise_alerts
from sluice.sites.evidence import EvidenceRule, posteriors
from sluice.sites.growth import GrowthRule

RULE = EvidenceRule(correlation=0.8)
SITES = pd.DataFrame(
    {
        "site_id": ["a", "b"],
        "area": "ashanti",
        "lon": [-1.5, -1.6],
        "lat": [6.1, 6.2],
        "priority": [55.0, 20.0],
        "priority_parts": [{"probability": 55.0}, {"probability": 20.0}],
    }
)


def history(
    values: list[float | None],
    areas: list[float | None] | None = None,
    site: str = "a",
    sensor: str = "s2-l2a",
    width: float = 0.0,
) -> pd.DataFrame:
    """Looks of one sensor; None is cloud."""
    rows = []
    for number, value in enumerate(values):
        area = areas[number] if areas else None
        start, end = quarter(number)
        rows.append(
            {
                "site_id": site,
                "sensor": sensor,
                "start": start,
                "end": end,
                "observed_share": 0.0 if value is None else 1.0,
                "detected": value is not None and value > 0,
                "log_lr": np.nan if value is None else value,
                "area_ha": np.nan if area is None else area,
                "area_low_ha": np.nan if area is None or not width else area * (1 - width),
            }
        )
    return pd.DataFrame(rows)


def told(looks: pd.DataFrame, prior: float = 0.1, **more: Any) -> pd.DataFrame:
    known = posteriors(looks, RULE, prior=prior)
    keys = ["site_id", "start", "end"]
    own = looks[looks["sensor"] != "s1"].drop_duplicates(keys)
    periods = known[keys].merge(own, on=keys, how="left")
    periods["well_seen"] = periods["observed_share"] >= 0.7
    return raise_alerts(periods, known, SITES, evidence=RULE, **more)


def test_one_mine_is_told_once_and_confirmed_by_the_second_look() -> None:
    alerts = told(history([-4.0, -4.0, 5.0, 5.9, 5.9, 5.9]))
    assert [*alerts.columns] == columns_of(Alert)
    assert len(alerts) == 1
    alert = alerts.iloc[0]
    assert (alert["kind"], alert["level"], alert["state"]) == ("new", "high", "confirmed")
    assert (alert["start"], alert["end"]) == quarter(2)
    assert alert["raised"] == quarter(2)[1]
    assert alert["updated"] == quarter(3)[1]
    assert alert["alert_id"] == alert_id("a", AlertKind.NEW, quarter(2)[0])
    assert "had been observed before" in english(alert["reasons"])
    assert (alert["priority"], alert["lon"]) == (55.0, -1.5)
    Alert.model_validate({**alert.to_dict(), "growth_ha": None})


def test_a_first_look_may_be_old() -> None:
    alert = told(history([5.0])).iloc[0]
    assert "may be older" in english(alert["reasons"][0])
    assert (alert["level"], alert["state"]) == ("low", "open")


def test_a_weak_place_is_not_told() -> None:
    assert told(history([1.5] * 8)).empty


def test_a_sandbar_is_told_once_at_most_and_stays_low() -> None:
    alerts = told(history([3.0] * 24))
    assert len(alerts) == 1
    assert (alerts["level"].iloc[0], alerts["state"].iloc[0]) == ("low", "open")
    assert alerts["updated"].iloc[0] == alerts["raised"].iloc[0]


def test_what_stays_in_doubt_is_rejected() -> None:
    alerts = told(history([1.0, -0.01, 0.3, -0.01]), prior=0.31)
    assert alerts["state"].tolist() == ["rejected"]
    assert alerts["updated"].iloc[0] == quarter(3)[1]
    assert "stayed below 0.5," in english(alerts["reasons"].iloc[0])


def test_what_is_found_in_every_period_stays_open_however_weak() -> None:
    alerts = told(history([2.6, 1.2, 1.2, 1.2]))
    assert alerts["state"].tolist() == ["open"]
    assert alerts["posterior"].iloc[0] < 0.5


def test_a_flickering_place_is_not_told_again() -> None:
    alerts = told(history([4.5, -5.0, -5.0, -5.0] * 4))
    assert len(alerts) == 1
    assert alerts["state"].iloc[0] == "rejected"


def test_after_a_rejection_strong_evidence_is_told() -> None:
    alerts = told(history([4.5, -5.0, -5.0, 5.9, 5.9, 5.9]))
    assert alerts["kind"].tolist() == ["new", "new"]
    assert alerts["state"].tolist() == ["rejected", "confirmed"]
    assert alerts["level"].tolist() == ["low", "high"]
    assert alerts["start"].iloc[1] == quarter(3)[0]
    assert "An earlier alert here was rejected" in english(alerts["reasons"].iloc[1])


def test_work_that_begins_again_is_news() -> None:
    alerts = told(history([5.9, 5.9, -5.0, -5.0, -5.0, 5.9, 5.9]))
    assert alerts["kind"].tolist() == ["new", "resumed"]
    assert alerts["state"].tolist() == ["confirmed", "confirmed"]


def test_cloud_neither_rejects_nor_repeats() -> None:
    alerts = told(history([2.6, *[None] * 7, 2.6]))
    assert len(alerts) == 1
    assert alerts["state"].iloc[0] == "open"


def test_two_sensors_make_the_highest_level() -> None:
    looks = pd.concat([history([5.0, 5.0]), history([2.5, 0.0], sensor="s1")])
    alert = told(looks).iloc[0]
    assert (alert["level"], alert["state"]) == ("highest", "confirmed")
    text = english(alert["reasons"])
    assert "two sensors agree" in text
    assert "without floods" in text


def test_growth_is_told_beyond_a_share_once() -> None:
    alerts = told(history([5.9] * 6, [4.0, 4.5, 4.8, 6.0, 6.2, 6.1], width=0.2))
    growth = alerts[alerts["kind"] == "growth"]
    assert len(growth) == 1
    assert growth["start"].iloc[0] == quarter(3)[0]
    assert growth["growth_ha"].iloc[0] == pytest.approx(2.0)
    assert growth["state"].iloc[0] == "confirmed"
    assert "50% more" in english(growth["reasons"].iloc[0][0])


def test_growth_that_goes_back_is_rejected_and_not_told_again() -> None:
    alerts = told(history([5.9] * 6, [4.0, 8.0, 4.0, 8.0, 4.0, 8.0]))
    growth = alerts[alerts["kind"] == "growth"]
    assert growth["state"].tolist() == ["rejected"]


def test_growth_within_the_noise_and_small_growth_is_no_news() -> None:
    for width, share in ((0.2, 0.3), (0.0, 0.58)):
        small = told(history([5.9] * 3, [10.0, 9.9 * (1 + share), 10.0], width=width))
        assert "growth" not in set(small["kind"])
        large = told(history([5.9] * 3, [10.0, 10.1 * (1 + share), 10.0], width=width))
        assert "growth" in set(large["kind"])
    assert "growth" not in set(told(history([5.9] * 3, [1.0, 1.9, 1.9]))["kind"])
    assert "growth" in set(told(history([5.9] * 3, [1.0, 2.1, 2.1]))["kind"])


def test_ground_that_a_cloud_had_hidden_is_no_growth() -> None:
    looks = history([5.9] * 4, [4.0, 10.0, 4.0, 10.0], width=0.1)
    looks.loc[0, "observed_share"] = 0.5
    assert "growth" not in set(told(looks)["kind"])
    # A look that saw half of it does not reject what grew; the next one confirms it.
    looks = history([5.9] * 4, [4.0, 10.0, 4.0, 10.0], width=0.1)
    looks.loc[2, "observed_share"] = 0.5
    growth = told(looks)[told(looks)["kind"] == "growth"]
    assert growth["state"].tolist() == ["confirmed"]


def test_footprints_are_not_compared_with_workings() -> None:
    looks = history([5.9] * 4, [3.0, 30.0, 3.1, 31.0], width=0.1)
    looks.loc[[1, 3], "area_low_ha"] = np.nan
    assert "growth" not in set(told(looks)["kind"])


def test_a_persons_verdict_counts() -> None:
    looks = pd.concat([history([5.0]), history([5.0], site="b")])
    alerts = told(looks, verdicts={"a": Verdict.REJECTED, "b": Verdict.CONFIRMED})
    assert alerts["site_id"].tolist() == ["a", "b"]
    assert alerts["state"].tolist() == ["rejected", "confirmed"]
    assert english(alerts["reasons"].iloc[0][-1]) == "Rejected by a person."
    assert english(alerts["reasons"].iloc[1][-1]) == "Confirmed by a person."
    unsure = told(looks, verdicts={"a": Verdict.UNSURE})
    assert unsure["state"].tolist() == ["open", "open"]


@pytest.mark.parametrize("verdict", Verdict)
@settings(max_examples=8)
@given(
    drawn=st.lists(st.sampled_from([None, -5.0, -2.0, 2.0, 4.3, 5.9]), min_size=2, max_size=12),
    seed=st.integers(0, 99),
)
def test_a_verdict_that_comes_later_makes_of_alerts_what_judging_anew_does(
    drawn: list[Any], seed: int, verdict: Verdict
) -> None:
    looks = history(drawn, [*np.random.default_rng(seed).uniform(2, 12, len(drawn))])
    ways = {None: told(looks)} | {one: told(looks, verdicts={"a": one}) for one in Verdict}
    for before in ways.values():
        found = [
            judged_by(AlertState(state), reasons, verdict)
            for state, reasons in zip(before["state"], before["reasons"], strict=True)
        ]
        expected = ways[verdict]
        assert found == [*zip(expected["state"], expected["reasons"], strict=True)]


values = st.lists(
    st.one_of(st.none(), st.sampled_from([-5.0, -2.0, 2.0, 4.3, 5.9])), min_size=2, max_size=12
)


@settings(max_examples=8)
@given(values, st.integers(0, 99))
def test_a_replay_tells_the_same_and_more_looks_only_add(drawn: list[Any], seed: int) -> None:
    areas = [*np.random.default_rng(seed).uniform(2, 12, len(drawn))]
    looks = history(drawn, areas)
    whole = told(looks)
    pd.testing.assert_frame_equal(whole, told(looks.iloc[::-1]))
    assert whole["alert_id"].is_unique
    part = told(looks.iloc[:-1])
    kept = whole[whole["alert_id"].isin(part["alert_id"])]
    assert len(kept) == len(part)
    for name in ("kind", "start", "end", "raised", "growth_ha"):
        pd.testing.assert_series_equal(
            part[name].reset_index(drop=True), kept[name].reset_index(drop=True)
        )
    assert (whole["updated"] >= whole["raised"]).all()


def test_nothing_to_tell_and_what_is_wrong() -> None:
    none = told(history([-3.0, -3.0]))
    assert none.empty
    assert [*none.columns] == columns_of(Alert)
    looks = history([5.0], site="nowhere")
    with pytest.raises(ConfigError, match="nowhere"):
        told(looks)
    known = posteriors(history([5.0]))
    with pytest.raises(ConfigError, match="periods lack the columns"):
        raise_alerts(known, known, SITES)


def test_rules_can_be_changed() -> None:
    looks = history([5.9] * 3, [4.0, 4.5, 4.5])
    rule = AlertRule(growth=GrowthRule(share=0.1, least_ha=0.1, footprint_noise=1.1))
    assert "growth" in set(told(looks, rule=rule)["kind"])


def test_ids_do_not_change() -> None:
    known = alert_id("s-d29tjy0k1", AlertKind.NEW, dt.date(2024, 1, 1))
    assert known == alert_id("s-d29tjy0k1", AlertKind.NEW, dt.date(2024, 1, 1))
    assert known.startswith("a-")
    assert len(known) == 18
