"""Statuses: closed forms, and a slow machine that takes one site after another."""

import datetime as dt
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from said_cases import english
from sluice.base.errors import ConfigError, DataError
from sluice.base.periods import Period
from sluice.base.places import Look, SitePeriod, columns_of
from sluice.base.said import Said, packed, read_said
from sluice.sites.growth import growth_within_year
from sluice.sites.history import (
    HistoryRule,
    by_quarter,
    by_year,
    first_and_last,
    site_periods,
    with_well_seen,
)

NAN = math.nan
RULE = HistoryRule()


def quarter(number: int) -> tuple[dt.date, dt.date]:
    year, part = 2023 + number // 4, number % 4
    following = dt.date(year + (part == 3), (3 * part + 3) % 12 + 1, 1)
    return dt.date(year, 3 * part + 1, 1), following - dt.timedelta(days=1)


def look(number: int, site: str = "s-a", **given_as) -> dict:
    """A clear look without detection, or what is said of it; `area` with its interval."""
    start, end = quarter(number)
    row = dict.fromkeys(columns_of(Look), NAN) | {
        "site_id": site,
        "sensor": "s2-l2a",
        "start": start,
        "end": end,
        "observed_share": 1.0,
        "detected": False,
    }
    if "area" in given_as:
        low, area, high = given_as.pop("area")
        row |= {"area_ha": area, "area_low_ha": low, "area_high_ha": high, "detected": True}
    row |= given_as
    return row | {"run_id": given_as.get("run_id", f"{row['sensor']}-{row['start']}")}


def history(*looks: dict, rule: HistoryRule = RULE) -> pd.DataFrame:
    return site_periods(pd.DataFrame(list(looks), columns=columns_of(Look)), rule)


def why(rows: pd.DataFrame) -> list[str]:
    return [english(said) for said in rows["status_rule"]]


def statuses(*looks: dict, rule: HistoryRule = RULE) -> list[str]:
    return history(*looks, rule=rule)["status"].tolist()


STEADY = {"area": (2.5, 3.1, 4.0)}
CLOUD = {"observed_share": 0.0}


def test_growth_needs_a_share_hectares_and_more_than_noise() -> None:
    rows = history(look(0), look(1, **STEADY), look(2, area=(4.1, 4.4, 5.0)))
    assert rows["status"].tolist() == ["new", "growing"]
    assert why(rows) == [
        "First detected; the place was observed before, and nothing was detected. "
        "Its area: 3.1 ha.",
        "It grew from 3.1 ha in Apr – Jun 2023 to 4.4 ha: by more than 20%, 0.5 ha and the 29% by "
        "which two looks differ.",
    ]
    assert [one.code for one in read_said(rows["status_rule"][0])] == [
        "status_rule.began",
        "status_rule.area",
    ]
    assert rows["status_rule"][1] == packed(
        [
            Said.of(
                "status_rule.grew",
                from_ha=3.1,
                to_ha=4.4,
                since_period=Period(*quarter(1)),
                least_share=0.2,
                least_ha=0.5,
                noise_share=RULE.growth.outline_noise - 1,
            )
        ]
    )
    # 26 % more: beyond the share, within what two looks differ.
    within = look(2, area=(3.5, 3.9, 4.4))
    assert statuses(look(1, **STEADY), within) == ["new", "steady"]
    exact = HistoryRule(growth=replace(RULE.growth, outline_noise=1.0))
    assert statuses(look(1, **STEADY), within, rule=exact) == ["new", "growing"]
    assert statuses(look(1, **STEADY), look(2, area=(3, 3.7, 4)), rule=exact) == ["new", "steady"]
    # A third more, and less than half a hectare.
    assert statuses(look(1, area=(0.9, 1, 1.1)), look(2, area=(1.3, 1.4, 1.5))) == ["new", "steady"]


def test_slow_growth_adds_up_from_where_it_last_grew() -> None:
    sizes = [10.0, 11.0, 12.0, 13.0, 14.0, 15.0]
    rows = [look(n, area=(0.97 * a, a, 1.03 * a)) for n, a in enumerate(sizes)]
    found = history(*rows)
    assert found["status"].tolist() == ["new", "steady", "steady", "growing", "steady", "steady"]
    assert "from 10.0 ha in Jan – Mar 2023 to 13.0 ha" in why(found)[3]


def test_a_part_seen_through_cloud_is_no_measure_of_growth() -> None:
    rows = history(
        look(0, area=(0.8, 1, 1.2), observed_share=0.3),
        look(1, area=(3.8, 4, 4.2)),
        look(2, area=(3.8, 4, 4.2)),
    )
    assert rows["status"].tolist() == ["new", "steady", "steady"]
    assert "seen well" in why(rows)[1]


def test_footprints_are_compared_with_footprints_and_say_at_most() -> None:
    rows = history(
        look(0, detected=True, footprint_ha=20.0),
        look(1, area=(2, 3, 4), footprint_ha=20.0),
        look(2, detected=True, footprint_ha=29.0),
        look(3, detected=True, footprint_ha=32.0),
    )
    assert rows["status"].tolist() == ["new", "steady", "steady", "growing"]
    assert rows["area_ha"].tolist() == [20.0, 3.0, 29.0, 32.0]
    assert np.isnan(rows["area_low_ha"][[0, 2, 3]]).all()
    assert "at most 20.0 ha" in why(rows)[0]
    assert why(rows)[3].startswith(
        "Its footprint grew from 20.0 ha in Jan – Mar 2023 to 32.0 ha: by"
    )


def test_one_silent_period_is_a_gap_and_a_second_one_the_end() -> None:
    rows = history(look(0, **STEADY), look(1), look(2, **STEADY), look(3), look(4), look(5))
    assert rows["status"].tolist() == ["new", "steady", "steady", "steady", "inactive", "inactive"]
    assert rows["detected"].tolist() == [True, False, True, False, False, False]
    assert np.isnan(rows["area_ha"][1])
    assert "of 91 days is taken for a gap" in why(rows)[1]
    assert "Not detected since Oct – Dec 2023, with 100% of it observed" in why(rows)[4]
    ungapped = HistoryRule(gap_max_days=0)
    assert statuses(look(0, **STEADY), look(1), rule=ungapped) == ["new", "inactive"]


def test_a_silent_year_is_no_gap() -> None:
    years = [{"start": dt.date(y, 1, 1), "end": dt.date(y, 12, 31)} for y in (2022, 2023)]
    rows = history(look(0, **years[0], **STEADY), look(1, **years[1]))
    assert rows["status"].tolist() == ["new", "inactive"]
    assert "since 2023," in why(rows)[1]


def test_not_observed_is_never_gone_and_changes_nothing() -> None:
    hidden = [look(n, **CLOUD) for n in range(1, 6)]
    partly = [look(n, observed_share=0.69) for n in range(1, 6)]
    for unseen in (hidden, partly):
        rows = history(look(0, **STEADY), *unseen, look(6, **STEADY))
        assert rows["status"].tolist() == ["new", *["not_observed"] * 5, "steady"]
    assert "69% of it was observed, less than 70%" in why(rows)[3]
    # Nor does it break a row of silent periods, or wake what is inactive.
    rows = [look(0, **STEADY), look(1), look(2, **CLOUD), look(3), look(4, **CLOUD), look(5)]
    assert statuses(*rows) == [
        "new", "steady", "not_observed", "inactive", "not_observed", "inactive",
    ]  # fmt: skip


def test_a_period_without_a_look_is_not_observed() -> None:
    rows = history(look(0, "s-a", **STEADY), look(0, "s-b", **STEADY), look(1, "s-b", **STEADY))
    assert rows["site_id"].tolist() == ["s-a", "s-a", "s-b", "s-b"]
    assert rows["status"].tolist() == ["new", "not_observed", "new", "steady"]


def test_the_silence_of_radar_is_no_observation_and_its_detection_is_one() -> None:
    radar = {"sensor": "s1"}
    quiet = [look(n, **radar) for n in range(1, 5)]
    assert statuses(look(0, **STEADY), *quiet) == ["new", *["not_observed"] * 4]
    rows = history(look(0, **STEADY), look(1, **CLOUD), look(1, detected=True, **radar))
    assert rows["status"].tolist() == ["new", "steady"]
    assert rows["observed"].all()


def test_of_several_looks_the_narrowest_outline_counts() -> None:
    rows = history(
        look(0, area=(1, 3, 9), sensor="nicfi"),
        look(0, area=(2, 4, 6)),
        look(0, detected=True, footprint_ha=50.0, sensor="s1"),
    )
    assert rows[["area_low_ha", "area_ha", "area_high_ha"]].to_numpy().tolist() == [[2, 4, 6]]


def test_the_area_comes_from_a_satellite_that_saw_the_site() -> None:
    cut = look(0, area=(2.4, 3.0, 3.6), observed_share=0.3)
    whole = look(0, area=(8.0, 10.0, 12.0), sensor="nicfi")
    looks = pd.DataFrame([cut, whole, look(1, area=(8.0, 10.0, 12.0))], columns=columns_of(Look))
    rows = with_well_seen(site_periods(looks), looks)
    assert rows["area_ha"].tolist() == [10.0, 10.0]
    assert rows["status"].tolist() == ["new", "steady"]
    assert rows["well_seen"].tolist() == [True, True]
    assert growth_within_year(rows, quarter(1)[1]).tolist() == [0.0]


def test_a_satellite_that_detected_nothing_does_not_vouch_for_the_area_of_another() -> None:
    cut = look(0, area=(2.4, 3.0, 3.6), observed_share=0.3)
    nothing = look(0, sensor="nicfi")
    looks = pd.DataFrame([cut, nothing, look(1, area=(8.0, 10.0, 12.0))], columns=columns_of(Look))
    rows = with_well_seen(site_periods(looks), looks)
    assert rows["status"].tolist() == ["new", "steady"]
    assert rows["well_seen"].tolist() == [False, True]
    assert growth_within_year(rows, quarter(1)[1]).empty


def cover(plants: float) -> dict:
    return {"forest_ha": plants, "farmland_ha": 0.0, "water_ha": 3.0, "bare_ha": 1 - plants}


def test_ground_that_is_covered_again_recovers() -> None:
    worked, silent = look(0, **STEADY, **cover(0.1)), look(1, **cover(0.1))
    rows = history(
        worked,
        silent,
        look(2, **cover(0.2)),
        look(3, **cover(0.6)),
        look(4),
        look(5, **CLOUD),
        look(6, **cover(0.3)),
    )
    assert rows["status"].tolist() == [
        "new", "steady", "inactive", "recovering", "recovering", "not_observed", "inactive",
    ]  # fmt: skip
    assert "plants cover 60% of its ground, at least 50%, after 10%" in why(rows)[3]
    assert "when it was last seen well" in why(rows)[4]
    # A footprint with forest in it does not recover by having had it before.
    wooded = history(look(0, **STEADY, **cover(0.6)), look(1), look(2, **cover(0.7)))
    assert wooded["status"].tolist()[-1] == "inactive"
    # What it was like is not known.
    assert statuses(look(0, **STEADY), look(1), look(2, **cover(0.9)))[-1] == "inactive"


def test_work_that_begins_again() -> None:
    rows = [look(0, **STEADY), look(1), look(2)]
    found = history(*rows, look(3, **STEADY))
    assert found["status"].tolist() == ["new", "steady", "inactive", "steady"]
    assert why(found)[3] == (
        "Detected again; it had been inactive since Apr – Jun 2023. Its area: 3.1 ha."
    )
    found = history(*rows, look(3, area=(8, 9, 10)))
    assert found["status"].tolist()[-1] == "growing"
    assert "It grew from 3.1 ha in Jan – Mar 2023 to 9.0 ha" in why(found)[3]


def test_rows_have_the_columns_of_the_record_and_their_types() -> None:
    rows = history(look(0, **STEADY), look(1, **CLOUD))
    assert rows.columns.tolist() == columns_of(SitePeriod)
    assert rows["start"].tolist() == [quarter(0)[0], quarter(1)[0]]
    for row in rows.to_dict("records"):
        row |= {k: None for k in ("area_ha", "area_low_ha", "area_high_ha") if np.isnan(row[k])}
        SitePeriod.model_validate(row | {"posterior": 0.5})
    assert history().columns.tolist() == columns_of(SitePeriod)
    assert history(look(0)).empty


def test_first_and_last() -> None:
    table = pd.DataFrame(
        [
            look(0, "s-a"),
            look(1, "s-a", **STEADY),
            look(2, "s-a"),
            look(3, "s-a", **CLOUD),
            look(0, "s-b", **CLOUD),
            look(1, "s-b", **STEADY),
            look(0, "s-c"),
        ]
    )
    found = first_and_last(table)
    assert found.index.tolist() == ["s-a", "s-b"]
    assert found["first_seen"].tolist() == [quarter(1)[0]] * 2
    assert found["known_before"].tolist() == [True, False]
    assert found["last_seen"].tolist() == [quarter(1)[1]] * 2
    assert found["last_observed"].tolist() == [quarter(2)[1], quarter(1)[1]]


# The slow machine: one site, one period after another.
def slow_statuses(looks: list[dict], rule: HistoryRule) -> list[str]:
    out: list[str] = []
    reference: dict[str, float] = {}
    silent, recovering, worked = 0, False, NAN
    for period in sorted({(row["end"], row["start"]) for row in looks}):
        now = [row for row in looks if (row["end"], row["start"]) == period]
        detected = any(row["detected"] for row in now)
        shares = [r["observed_share"] for r in now if r["detected"] or r["sensor"] != "s1"]
        share = max(shares, default=0.0)
        known = [
            (row["observed_share"], (row["forest_ha"] + row["farmland_ha"]) / total)
            for row in sorted(now, key=lambda row: row["sensor"])
            if (total := row["forest_ha"] + row["farmland_ha"] + row["bare_ha"]) > 0
        ]
        plants = max(known, key=lambda pair: pair[0])[1] if known else NAN
        if detected:
            silent, status = 0, "steady" if out else "new"
            telling = [
                row
                for row in now
                if row["detected"] and row["observed_share"] >= rule.min_observed_share
            ]
            kind, area = slow_area(telling)
            if area > 0:
                old = reference.get(kind, NAN)
                growth = rule.growth
                noise = growth.outline_noise if kind == "workings" else growth.footprint_noise
                grew = area > old * (1 + growth.share) and area > old * noise
                grew = grew and area - old > growth.least_ha
                status = "growing" if grew else status
                if grew or math.isnan(old):
                    reference[kind] = area
            recovering = False
            worked = worked if math.isnan(plants) else plants
            out.append(status)
        elif not out:
            continue
        elif share < rule.min_observed_share:
            out.append("not_observed")
        else:
            silent += 1
            days = (period[0] - period[1]).days + 1
            if silent == 1 and days <= rule.gap_max_days:
                out.append("steady")
                continue
            if not math.isnan(plants):
                recovering = plants >= rule.recovering_cover
                recovering = recovering and plants >= worked + rule.recovering_rise
            out.append("recovering" if recovering else "inactive")
    return out


def slow_area(looks: list[dict]) -> tuple[str, float]:
    outlined = [row for row in looks if not math.isnan(row["area_ha"])]
    if outlined:
        best = min(
            sorted(outlined, key=lambda row: row["sensor"]),
            key=lambda row: row["area_high_ha"] - row["area_low_ha"],
        )
        return "workings", best["area_ha"]
    sizes = [row["footprint_ha"] for row in looks if not math.isnan(row["footprint_ha"])]
    return "footprint", max(sizes, default=NAN)


shares = st.sampled_from([0.0, 0.3, 0.69, 0.7, 1.0])
areas = st.sampled_from([1.0, 1.3, 2.0, 2.5, 2.6, 4.0, 9.0])


@st.composite
def many_looks(draw) -> list[dict]:
    rows = []
    for site in ("s-a", "s-b", "s-c"):
        for number in range(draw(st.integers(0, 9))):
            for sensor in draw(st.sets(st.sampled_from(["s2-l2a", "nicfi", "s1"]), max_size=2)):
                more: dict = {"sensor": sensor, "observed_share": draw(shares)}
                how = draw(st.integers(0, 3))
                if how == 1:
                    width = draw(st.sampled_from([1.05, 1.2, 2.0]))
                    area = draw(areas)
                    more["area"] = (area / width, area, area * width)
                elif how == 2:
                    more |= {"detected": True, "footprint_ha": draw(areas)}
                if draw(st.booleans()):
                    more |= cover(draw(st.sampled_from([0.0, 0.25, 0.5, 1.0])))
                rows.append(look(number, site, **more))
    return rows


@settings(max_examples=60)
@given(many_looks(), st.sampled_from([RULE, HistoryRule(gap_max_days=0)]))
def test_statuses_equal_the_slow_machine(rows: list[dict], rule: HistoryRule) -> None:
    found = history(*rows, rule=rule)
    # A period of one site is one of all.
    pairs = {(row["start"], row["end"]) for row in rows}
    for site in {row["site_id"] for row in rows}:
        own = [row for row in rows if row["site_id"] == site]
        unseen = [
            look(0, site, start=start, end=end, observed_share=0.0)
            for start, end in pairs - {(row["start"], row["end"]) for row in own}
        ]
        expected = slow_statuses(own + unseen, rule)
        assert found.loc[found["site_id"] == site, "status"].tolist() == expected


@settings(max_examples=15)
@given(many_looks(), st.randoms(), st.integers(0, 9))
def test_neither_row_order_nor_later_looks_change_a_history(rows, chance, until: int) -> None:
    whole = history(*rows)
    turned = list(rows)
    chance.shuffle(turned)
    pd.testing.assert_frame_equal(history(*turned), whole)
    past = history(*(row for row in rows if row["end"] <= quarter(until)[1]))
    before = whole[[end <= quarter(until)[1] for end in whole["end"]]].reset_index(drop=True)
    if len(past) or len(before):
        pd.testing.assert_frame_equal(past, before, check_dtype=False)


def test_years_and_quarters() -> None:
    rows = history(
        look(0, area=(2, 3, 4)),
        look(1, area=(6, 7, 8)),
        look(2, **CLOUD),
        look(3, area=(6, 7.5, 8)),
        look(4),
        look(5),
        look(6, **CLOUD),
        look(7, **CLOUD),
        look(8, **CLOUD),
    )
    years = by_year(rows)
    assert years["status"].tolist() == ["new", "inactive", "not_observed"]
    assert years["start"].tolist() == [dt.date(y, 1, 1) for y in (2023, 2024, 2025)]
    assert years["end"].tolist() == [dt.date(y, 12, 31) for y in (2023, 2024, 2025)]
    assert years["area_ha"].tolist()[0] == 7.5
    assert years["area_ha"].isna().tolist() == [False, True, True]
    assert years["observed"].tolist() == [True, True, False]
    pd.testing.assert_frame_equal(by_quarter(rows), rows)
    # New, and left within the same year: it ends the year at rest.
    assert by_year(history(look(0, **STEADY), look(1), look(2)))["status"].tolist() == ["inactive"]
    grown = history(look(3, **STEADY), look(4, area=(6, 7, 8)), look(5, area=(6, 7, 8)))
    assert by_year(grown)["status"].tolist() == ["new", "growing"]
    assert "grew from 3.1 ha in Oct – Dec 2023 to 7.0 ha" in why(by_year(grown))[1]


def test_months_make_quarters_and_a_year_stays_a_year() -> None:
    months = [
        {"start": dt.date(2024, m, 1), "end": dt.date(2024, m, 28), "run_id": str(m)}
        for m in (1, 2, 4)
    ]
    rows = history(*(look(0, area=(1, n, 9), **month) for n, month in enumerate(months, 2)))
    quarters = by_quarter(rows)
    assert quarters["start"].tolist() == [dt.date(2024, 1, 1), dt.date(2024, 4, 1)]
    assert quarters["area_ha"].tolist() == [3, 4]
    year = {"start": dt.date(2024, 1, 1), "end": dt.date(2024, 12, 31)}
    whole = history(look(0, **STEADY, **year))
    pd.testing.assert_frame_equal(by_quarter(whole), whole)
    assert by_year(history()).empty


def test_what_makes_no_history_is_refused() -> None:
    with pytest.raises(DataError, match="no column observed_share"):
        site_periods(pd.DataFrame([look(0)]).drop(columns="observed_share"))
    with pytest.raises(DataError, match="before it starts"):
        history(look(0, end=dt.date(2022, 1, 1)))
    with pytest.raises(ConfigError, match="min_observed_share"):
        HistoryRule(min_observed_share=70)
