"""The posterior: against a slow reference, closed forms, and what must hold of any looks."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.base.errors import ConfigError
from sluice.sites.evidence import SITE_PRIOR, EvidenceRule, posteriors

RULE = EvidenceRule(correlation=0.8)
COLUMNS = ["site_id", "sensor", "start", "end", "observed_share", "detected", "log_lr"]


def quarter(number: int) -> tuple[dt.date, dt.date]:
    year, part = 2020 + number // 4, number % 4
    following = dt.date(year + part // 3, (3 * part + 3) % 12 + 1, 1)
    return dt.date(year, 3 * part + 1, 1), following - dt.timedelta(days=1)


def table(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    """Rows of (site, sensor, number of the quarter, share, detected, log_lr)."""
    listed = [
        (site, sensor, *quarter(number), share, found, value)
        for site, sensor, number, share, found, value in rows
    ]
    return pd.DataFrame(listed, columns=COLUMNS)


def steady(values: list[float], sensor: str = "s2-l2a") -> list[tuple[Any, ...]]:
    return [("a", sensor, number, 1.0, value > 0, value) for number, value in enumerate(values)]


def log_odds(probability: float) -> float:
    return math.log(probability / (1 - probability))


def gained(rows: list[tuple[Any, ...]], rule: EvidenceRule = RULE) -> float:
    """Log odds after the last period, less the prior's."""
    last = posteriors(table(rows), rule, prior=SITE_PRIOR)["posterior"].iloc[-1]
    return log_odds(float(last)) - log_odds(SITE_PRIOR)


def reference(looks: pd.DataFrame, rule: EvidenceRule, prior: float) -> list[tuple[Any, ...]]:
    """Site by site, period by period, as the documentation says it."""
    told = []
    for site, own in looks.groupby("site_id"):
        phase: list[dict[str, Any]] = []
        number, is_open, quiet, doubted = 0, False, 0, 0
        alerted = confirmed = silent_before = False
        spans = sorted(set(zip(own["end"], own["start"], strict=True)))
        for end, start in spans:
            here = own[(own["start"] == start) & (own["end"] == end)]
            seen = [_merge(part, name, rule) for name, part in here.groupby("sensor")]
            detected = any(look["detected"] for look in seen)
            silent = not detected and any(
                look["share"] >= rule.least_share and look["sensor"] not in rule.change_sensors
                for look in seen
            )
            if detected and not is_open:
                phase, number, is_open, quiet, doubted = [], number + 1, True, 0, 0
                alerted = confirmed = False
            phase.append({"looks": seen, "detected": detected})
            quiet = 0 if detected else quiet + silent
            long = (end - start).days + 1 > rule.gap_max_days
            posterior, speaking, dates = _add_up(phase, rule, prior)
            outcome = ""
            level = None
            if is_open:
                sure = posterior >= rule.high
                twice = dates >= 2 or speaking >= 2
                if posterior >= rule.low:
                    level = "low"
                if sure and (twice or posterior >= rule.strong):
                    level = "high"
                if sure and speaking >= 2:
                    level = "highest"
                confirmed |= level == "highest" or (level == "high" and dates >= 2)
                alerted |= posterior >= rule.low
                waiting = alerted and not confirmed
                gone = quiet >= 2 or (quiet >= 1 and silent and long)
                below = posterior < rule.low
                doubted = doubted + silent if below else 0
                denied = posterior < rule.reject_below or doubted >= rule.doubt_looks
                if gone:
                    outcome = "inactive"
                if waiting and (gone or (silent and denied)):
                    outcome = "rejected"
            event = number if is_open else 0
            if outcome:
                last = max((i for i, each in enumerate(phase) if each["detected"]), default=-1)
                phase = phase[last + 1 :]
                if not detected:
                    posterior, level = _add_up(phase, rule, prior)[0], None
                is_open = False
            silent_before |= silent
            told.append((site, end, posterior, level, event, outcome))
    return told


def _merge(part: pd.DataFrame, sensor: str, rule: EvidenceRule) -> dict[str, Any]:
    weight = weighed = share = 0.0
    for look in part.itertuples():
        share += look.observed_share
        if look.observed_share > 0 and not math.isnan(look.log_lr):
            capped = min(max(look.log_lr, -rule.most_per_look), rule.most_per_look)
            weight += look.observed_share
            weighed += look.observed_share * capped
    found = bool(part["detected"].any())
    if not found and sensor in rule.change_sensors and weighed <= 0:
        weight = weighed = 0.0
    if not found and sensor not in rule.change_sensors:
        weighed = min(weighed, 0.0)
    over = max(weight, 1.0)
    return {
        "sensor": sensor,
        "weight": weight / over,
        "weighed": weighed / over,
        "share": share,
        "detected": found,
    }


def _add_up(
    phase: list[dict[str, Any]], rule: EvidenceRule, prior: float
) -> tuple[float, int, int]:
    odds, speaking = log_odds(prior), 0
    every = [look for each in phase for look in each["looks"]]
    for sensor in {look["sensor"] for look in every}:
        own = [look for look in every if look["sensor"] == sensor]
        n, total = sum(look["weight"] for look in own), sum(look["weighed"] for look in own)
        odds += total / (1 + (max(n, 1) - 1) * rule.correlation)
        speaking += total > 0 and any(look["detected"] and look["weighed"] > 0 for look in own)
    dates = sum(
        any(look["detected"] and look["weighed"] > 0 for look in each["looks"]) for each in phase
    )
    return 1 / (1 + math.exp(-odds)), speaking, dates


looks_of_places = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["s2-l2a", "s1", "planet-4b"]),
        st.integers(0, 7),
        st.sampled_from([0.0, 0.2, 0.6, 1.0]),
        st.booleans(),
        st.one_of(st.floats(-9, 9).map(lambda value: round(value, 3)), st.just(math.nan)),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=60)
@given(
    looks_of_places,
    st.sampled_from([0.01, 0.1, 0.5]),
    st.sampled_from([0.2, 0.8, 1.0]),
    st.sampled_from([0, 125]),
)
def test_equals_the_slow_reference(
    rows: list[Any], prior: float, correlation: float, gap: int
) -> None:
    rule = EvidenceRule(correlation=correlation, gap_max_days=gap)
    looks = table(rows)
    found = posteriors(looks, rule, prior=prior)
    expected = reference(looks, rule, prior)
    assert len(found) == len(expected)
    for row, (site, end, posterior, level, event, outcome) in zip(
        found.itertuples(), expected, strict=True
    ):
        assert (row.site_id, row.end, row.event, row.outcome) == (site, end, event, outcome)
        assert row.posterior == pytest.approx(posterior, abs=1e-9)
        assert (row.level if isinstance(row.level, str) else None) == level


@settings(max_examples=15)
@given(looks_of_places, st.randoms())
def test_order_of_rows_does_not_matter(rows: list[Any], chance: Any) -> None:
    looks = table(rows)
    shuffled = list(range(len(rows)))
    chance.shuffle(shuffled)
    pd.testing.assert_frame_equal(posteriors(looks), posteriors(looks.iloc[shuffled]))


@settings(max_examples=15)
@given(looks_of_places, st.integers(0, 7))
def test_an_unobserved_look_changes_nothing(rows: list[Any], number: int) -> None:
    looks = table(rows)
    hidden = table([("a", "s2-l2a", number, 0.0, False, math.nan)])
    before, after = posteriors(looks), posteriors(pd.concat([looks, hidden], ignore_index=True))
    key = ["site_id", "start", "end"]
    both = before.merge(after, on=key, suffixes=("", "_after"))
    assert len(both) == len(before)
    for name in ("posterior", "level", "event", "outcome", "dates"):
        pd.testing.assert_series_equal(both[name], both[name + "_after"], check_names=False)


@pytest.mark.parametrize("count", [1, 2, 3, 8, 40])
def test_identical_looks_follow_kish_and_never_exceed_their_cap(count: int) -> None:
    found = gained(steady([2.0] * count), RULE.model_copy(update={"low": 0.97}))
    assert found == pytest.approx(2.0 * count / (1 + (count - 1) * 0.8))
    assert found < 2.0 / 0.8


@settings(max_examples=15)
@given(st.floats(0.01, 5.9), st.integers(2, 6), st.floats(0.1, 1))
def test_splitting_a_look_never_strengthens_it(value: float, parts: int, share: float) -> None:
    whole = gained([("a", "s2-l2a", 0, share, True, value)])
    same_images = [("a", "s2-l2a", 0, share / parts, True, value)] * parts
    assert gained(same_images) == pytest.approx(whole)
    in_time = [("a", "s2-l2a", n, share, True, value / parts) for n in range(parts)]
    assert gained(in_time) <= whole + 1e-9


@given(st.floats(0.1, 5), st.floats(0.1, 5))
@settings(max_examples=10)
def test_a_second_sensor_that_agrees_raises(one: float, other: float) -> None:
    alone = gained(steady([one]))
    both = gained([*steady([one]), ("a", "planet-4b", 0, 1.0, True, other)])
    assert both == pytest.approx(alone + other)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=6), st.data())
@settings(max_examples=15)
def test_more_evidence_never_lowers_within_an_event(values: list[float], data: Any) -> None:
    rule = EvidenceRule(reject_below=1e-9, doubt_looks=99)
    which = data.draw(st.integers(0, len(values) - 1))
    raised = list(values)
    raised[which] += data.draw(st.floats(0, 3))

    def rows(of: list[float]) -> list[tuple[Any, ...]]:
        return [("a", "s2-l2a", n, 1.0, True, value) for n, value in enumerate(of)]

    assert gained(rows(raised), rule) >= gained(rows(values), rule) - 1e-9


def test_a_look_without_a_detection_lowers_and_its_cap_holds() -> None:
    one = gained(steady([3.0]))
    assert gained([*steady([3.0]), ("a", "s2-l2a", 1, 1.0, False, -4.0)]) < one
    assert gained(steady([500.0])) == pytest.approx(RULE.most_per_look)


def test_a_sandbar_in_every_quarter_does_not_climb() -> None:
    found = posteriors(table(steady([2.8] * 24)), RULE, prior=SITE_PRIOR)
    limit = 1 / (1 + math.exp(-(log_odds(SITE_PRIOR) + 2.8 / 0.8)))
    assert found["posterior"].max() < limit < RULE.high
    assert set(found["level"].dropna()) <= {"low"}
    assert not found["confirmed"].any()


def test_levels_ask_for_dates_and_sensors() -> None:
    once = posteriors(table(steady([4.5])), RULE, prior=SITE_PRIOR)
    assert once["level"].tolist() == ["low"]
    assert once["posterior"].iloc[0] > RULE.high
    strong = posteriors(table(steady([5.9])), RULE, prior=SITE_PRIOR)
    assert strong["level"].tolist() == ["high"]
    assert not strong["confirmed"].any()
    twice = posteriors(table(steady([4.5, 4.5])), RULE, prior=SITE_PRIOR)
    assert twice["level"].tolist() == ["low", "high"]
    assert twice["confirmed"].tolist() == [False, True]
    both = posteriors(table([*steady([5.0]), ("a", "s1", 0, 1.0, True, 1.5)]), RULE)
    assert both["level"].tolist() == ["highest"]
    assert both["sensors"].tolist() == ["s1,s2-l2a"]


def claim(number: int, value: float = 6.0, sensor: str = "import") -> tuple[Any, ...]:
    return ("a", sensor, number, 1.0, True, value)


@pytest.mark.parametrize("sensor", ["import", "unknown"])
def test_an_unknown_sensor_is_no_second_one(sensor: str) -> None:
    claims = [claim(number, sensor=sensor) for number in (0, 0, 1, 2)]
    with_claims = posteriors(table([*steady([5.0, 5.0, 5.0]), *claims]), RULE)
    assert set(with_claims["level"].dropna()) <= {"low", "high"}
    # Two that are known back each other all the same.
    both = [*steady([5.0]), ("a", "s1", 0, 1.0, True, 1.5), claim(0, sensor=sensor)]
    assert posteriors(table(both), RULE)["level"].tolist() == ["highest"]


def test_what_others_say_counts_as_one_more_look_of_the_sensor_that_says_most() -> None:
    own = [*steady([4.0]), ("a", "s1", 0, 1.0, True, 1.5)]
    told = gained([*own, claim(0, 3.0)])
    assert told == pytest.approx((4.0 + 3.0) / (1 + RULE.correlation) + 1.5)
    # As an independent sensor it would have added all of it.
    assert told < gained(own) + 3.0
    assert gained([claim(0, 3.0)]) == pytest.approx(3.0)


def test_the_same_days_are_one_date_whoever_looked() -> None:
    def dates(rows: list[tuple[Any, ...]], year: int | None = None) -> int:
        looks = table(rows)
        if year is not None:
            others = looks["sensor"] == "import"
            looks.loc[others, "start"] = dt.date(year, 1, 1)
            looks.loc[others, "end"] = dt.date(year, 12, 31)
        return int(posteriors(looks, RULE)["dates"].iloc[-1])

    assert dates([*steady([4.0]), claim(0)]) == 1
    # A year that holds the quarter, and a quarter within the year.
    assert dates([*steady([4.0]), claim(0)], year=2020) == 1
    assert dates([claim(0), ("a", "s2-l2a", 3, 1.0, True, 4.0)], year=2020) == 1
    # Another year is another date, and quarters within it stay two.
    assert dates([claim(0), *steady([4.0])], year=2019) == 2
    later = [("a", "s2-l2a", number, 1.0, True, 4.0) for number in (3, 4)]
    assert dates([claim(0), *later], year=2020) == 2


@settings(max_examples=60)
@given(looks_of_places, st.lists(st.tuples(st.integers(0, 7), st.floats(-6, 6)), max_size=6))
def test_claims_never_make_a_level_the_highest(rows: list[Any], claims: list[Any]) -> None:
    own = [(site, "s2-l2a", *rest) for site, _, *rest in rows]
    told = posteriors(table([*own, *(claim(number, value) for number, value in claims)]), RULE)
    assert "highest" not in set(told["level"])


def test_an_event_begins_after_its_baseline_and_ends_in_silence() -> None:
    values = [-3.0, -3.0, 5.0, 5.0, 5.0, -4.0, -4.0, 5.0]
    found = posteriors(table(steady(values)), RULE, prior=0.2)
    assert found["event"].tolist() == [0, 0, 1, 1, 1, 1, 1, 2]
    assert found["known_before"].tolist()[2] is True
    assert found["outcome"].tolist() == ["", "", "", "", "", "", "inactive", ""]
    assert found["event_start"].iloc[-1] == quarter(7)[0]
    # The baseline does not speak against the mine, nor the old mine for the new one.
    assert found["posterior"].iloc[2] == pytest.approx(found["posterior"].iloc[7])
    assert found["posterior"].iloc[6] < 0.2


def test_one_silent_year_ends_an_event() -> None:
    looks = table(steady([5.0, -4.0]))
    looks["start"] = [dt.date(2020, 1, 1), dt.date(2021, 1, 1)]
    looks["end"] = [dt.date(2020, 12, 31), dt.date(2021, 12, 31)]
    assert posteriors(looks, RULE, prior=0.002)["outcome"].tolist() == ["", "inactive"]


def test_cloud_is_no_silence() -> None:
    rows = [*steady([5.0, 5.0]), *[("a", "s2-l2a", n, 0.0, False, math.nan) for n in (2, 3, 4)]]
    found = posteriors(table(rows), RULE, prior=0.2)
    assert found["event"].tolist() == [1] * 5
    assert found["posterior"].iloc[-1] == found["posterior"].iloc[1]


def test_radar_silence_ends_nothing() -> None:
    rows = [*steady([5.0, 5.0]), *[("a", "s1", n, 1.0, False, 0.0) for n in range(2, 7)]]
    found = posteriors(table(rows), RULE, prior=0.2)
    assert set(found["outcome"]) == {""}


def test_radar_silence_changes_no_posterior() -> None:
    drop = [*steady([3.5]), ("a", "s1", 0, 1.0, True, 1.5)]
    silence = [("a", "s1", n, 1.0, False, 0.0) for n in (1, 2, 3)]
    found = posteriors(table([*drop, *silence]), RULE)
    assert set(found["posterior"].round(9)) == {round(float(found["posterior"].iloc[0]), 9)}
    # A later drop is the second look, not the fifth.
    again = gained([*drop, *silence, ("a", "s1", 4, 1.0, True, 1.5)])
    assert again == pytest.approx(3.5 + 2 * 1.5 / (1 + RULE.correlation))


@settings(max_examples=30)
@given(st.lists(st.floats(-6, 6), min_size=1, max_size=8))
def test_a_place_found_in_every_period_is_never_rejected(values: list[float]) -> None:
    rows = [("a", "s2-l2a", n, 1.0, True, value) for n, value in enumerate([2.6, *values])]
    found = posteriors(table(rows), RULE)
    assert set(found["outcome"]) == {""}


def test_weak_looks_that_find_nothing_reject_what_weak_detections_leave_open() -> None:
    found = posteriors(table(steady([2.6, 1.0, 1.0, 1.0])), RULE)
    assert found["outcome"].tolist() == ["", "", "", ""]
    unseen = [("a", "s2-l2a", 1, 1.0, False, -1.0)]
    assert posteriors(table([*steady([2.6]), *unseen]), RULE)["outcome"].tolist()[-1] == "rejected"


@given(st.floats(0.01, 6), st.floats(0, 6))
@settings(max_examples=20)
def test_a_look_that_finds_nothing_never_raises(found: float, unseen: float) -> None:
    rows = [*steady([found]), ("a", "s2-l2a", 1, 1.0, False, unseen)]
    assert gained(rows) < gained(steady([found]))


def test_no_looks_give_no_rows_and_wrong_ones_an_error() -> None:
    empty = posteriors(table([]))
    assert empty.empty
    assert [*empty.columns][:4] == ["site_id", "start", "end", "posterior"]
    with pytest.raises(ConfigError, match="observed_share"):
        posteriors(table(steady([1.0])).drop(columns="observed_share"))
    with pytest.raises(ConfigError, match="prior"):
        posteriors(table(steady([1.0])), prior=1.0)
    with pytest.raises(ValueError, match="must not decrease"):
        EvidenceRule(low=0.99, high=0.9)


def test_many_sites_equal_each_alone() -> None:
    rng = np.random.default_rng(3)
    rows = [
        (f"s{site}", "s2-l2a", n, 1.0, bool(value > 0), float(value))
        for site in range(30)
        for n, value in enumerate(rng.normal(1, 3, 6))
    ]
    looks = table(rows)
    alone = [posteriors(part) for _, part in looks.groupby("site_id")]
    pd.testing.assert_frame_equal(posteriors(looks), pd.concat(alone, ignore_index=True))
