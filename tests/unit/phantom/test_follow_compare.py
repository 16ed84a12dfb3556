"""Following against the truth, on squares whose answer is plain."""

import datetime as dt
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from shapely.geometry import box

from sluice.base.errors import DataError, GridMismatch
from sluice.base.places import Level, Status
from sluice.phantom.follow_compare import FollowTruth, compare_following
from sluice.phantom.follow_records import CountryComparison, size_at_half

UTM = "EPSG:32721"
X, Y = 600_000, 9_300_000
PERIODS = (
    (dt.date(2023, 1, 1), dt.date(2023, 3, 31)),
    (dt.date(2023, 4, 1), dt.date(2023, 6, 30)),
    (dt.date(2023, 7, 1), dt.date(2023, 9, 30)),
    (dt.date(2023, 10, 1), dt.date(2023, 12, 31)),
)
Box = tuple[float, float, float, float]

# Two mines of 4 ha beside each other, and one far away that begins in the second quarter.
A, B, C = (0, 0, 200, 200), (250, 0, 450, 200), (3000, 0, 3200, 200)
TOWN, FIELDS = (0, 1000, 500, 1500), (0, 900, 4000, 2000)


def at(corners: Box) -> Any:
    a, b, c, d = corners
    return box(X + a, Y + b, X + c, Y + d)


def mine(
    name: str,
    corners: Box,
    first: int,
    *,
    areas: list[float],
    words: list[str],
    seen: list[float],
) -> list[dict[str, Any]]:
    return [
        {
            "mine_id": name,
            "role": "grows",
            "quarter": first + number,
            "area_ha": area,
            "status": word,
            "seen_share": share,
            "geometry": at(corners),
        }
        for number, (area, word, share) in enumerate(zip(areas, words, seen, strict=True))
    ]


def truth(*, alone: bool = False) -> FollowTruth:
    grown = ["new", "growing", "growing", "steady"]
    rows = mine("A", A, 0, areas=[0.5, 1.5, 3.0, 4.0], words=grown, seen=[1.0, 0.2, 0.9, 1.0])
    if not alone:
        rows += mine("B", B, 0, areas=[4.0] * 4, words=["new"] + ["steady"] * 3, seen=[1.0] * 4)
    rows += mine(
        "C", C, 1, areas=[2.0, 4.0, 4.0], words=["new", "growing", "steady"], seen=[1.0, 1.0, 0.0]
    )
    confusers = gpd.GeoDataFrame(
        {"kind": ["farmland", "settlement"]}, geometry=[at(FIELDS), at(TOWN)], crs=UTM
    )
    return FollowTruth(gpd.GeoDataFrame(rows, crs=UTM), confusers, PERIODS, area_km2=500.0)


def sites(*rows: tuple[str, Box], merged: dict[str, str] | None = None) -> gpd.GeoDataFrame:
    heirs = [(merged or {}).get(name) for name, _ in rows]
    table = gpd.GeoDataFrame(
        {
            "site_id": [name for name, _ in rows],
            "current": [heir is None for heir in heirs],
            "merged_into": np.array(heirs, dtype=object),
        },
        geometry=[at(corners) for _, corners in rows],
        crs=UTM,
    )
    return table.to_crs("EPSG:4326")


def told(site: str, **quarters: tuple[str, float | None, str | None]) -> list[dict[str, Any]]:
    """Of each quarter `q0` …: word, area where it was detected, level."""
    rows = []
    for key, (word, area, level) in quarters.items():
        start, end = PERIODS[int(key[1:])]
        rows.append(
            {
                "site_id": site,
                "start": start,
                "end": end,
                "status": word,
                "detected": area is not None,
                "area_ha": np.nan if area is None else area,
                "area_low_ha": np.nan if area is None else 0.5 * area,
                "area_high_ha": np.nan if area is None else 1.5 * area,
                "level": level,
            }
        )
    return rows


def alert(site: str, quarter: int, level: str = "low", state: str = "open") -> dict[str, Any]:
    day = PERIODS[quarter][1]
    name = f"{site}-{quarter}"
    return {"alert_id": name, "site_id": site, "raised": day, "level": level, "state": state}


def compare(
    found: gpd.GeoDataFrame,
    periods: list[dict[str, Any]],
    alerts: list[dict[str, Any]],
    *,
    alone: bool = False,
) -> CountryComparison:
    columns = ["site_id", "start", "end", "status", "detected", "area_ha", "area_low_ha"]
    table = pd.DataFrame(periods, columns=[*columns, "area_high_ha", "level"])
    raised = pd.DataFrame(alerts, columns=["alert_id", "site_id", "raised", "level", "state"])
    return compare_following(truth(alone=alone), found, table, raised)


def of(result: CountryComparison, name: str) -> Any:
    return next(each for each in result.mines if each.mine_id == name)


def test_nothing_told_is_nothing_found() -> None:
    result = compare(sites(), [], [])
    assert [each.mine_id for each in result.mines] == ["A", "B", "C"]
    assert [each.alerted for each in result.mines] == [None, None, None]
    assert result.sites == 0
    assert result.false_per_1000_km2_year == 0
    assert result.status_errors == (0, 0)
    # A has 1 ha from the second quarter on, which clouds hid: it is visible in the third.
    assert (of(result, "A").due, of(result, "A").visible) == (1, 2)
    assert (of(result, "B").due, of(result, "B").visible) == (0, 0)


def test_delays_count_from_one_hectare_and_from_what_could_be_seen() -> None:
    periods = told("s-a", q2=("new", 2.4, "low"), q3=("growing", 4.4, "high"))
    periods += told("s-c", q1=("new", 1.0, None), q2=("steady", 3.0, "low"))
    result = compare(
        sites(("s-a", A), ("s-c", C)), periods, [alert("s-a", 2, "high"), alert("s-c", 2)]
    )
    first, third = of(result, "A"), of(result, "C")
    assert (first.alerted, first.delay, first.delay_visible, first.level) == (2, 1, 0, Level.HIGH)
    assert (first.found, first.delay_found) == (2, 0)
    assert (third.alerted, third.delay, third.delay_visible, third.level) == (2, 1, 1, Level.LOW)
    assert (third.found, third.delay_found) == (1, 0)
    # 2.4 of 3 ha, 4.4 of 4, 1 of 2, 3 of 4.
    np.testing.assert_allclose(result.areas_ha, [[3, 2.4], [4, 4.4], [2, 1], [4, 3]])
    assert result.true_alerts == 2
    assert result.judged == [first, of(result, "B"), third]


def test_hidden_ground_is_right_only_as_not_observed() -> None:
    periods = told(
        "s-a",
        q0=("new", 0.5, None),
        q1=("not_observed", None, None),
        q2=("not_observed", None, None),
        q3=("inactive", None, None),
    )
    result = compare(sites(("s-a", A)), periods, [])
    assert (result.hidden, result.hidden_said_hidden, result.seen_said_hidden) == (1, 1, 1)
    assert result.status_table["growing"] == {"not_observed": 1, "none": 1}
    assert result.status_table["new"] == {"new": 1, "none": 2}
    # Of the words told of seen ground, "new" is right; "not observed" and "inactive" are wrong.
    assert result.status_errors == (2, 3)
    assert of(result, "A").quarters[1].said is Status.NOT_OBSERVED


def test_one_site_over_two_mines_finds_both_and_measures_neither() -> None:
    both = (-50, -50, 500, 250)
    periods = told("s-both", q0=("new", 8.0, "low"))
    result = compare(sites(("s-both", both)), periods, [alert("s-both", 0)])
    assert of(result, "A").shares_site_with == ("B",)
    assert of(result, "B").alerted == 0
    assert result.shared_sites == 1
    assert len(result.areas_ha) == 0
    assert result.true_alerts == 1


def test_two_sites_on_one_mine_add_up() -> None:
    left, right = (0, 0, 80, 200), (120, 0, 200, 200)
    periods = told("s-1", q2=("new", 1.0, None)) + told("s-2", q2=("new", 1.5, None))
    result = compare(sites(("s-1", left), ("s-2", right)), periods, [], alone=True)
    assert result.split_mines == 1
    np.testing.assert_allclose(result.areas_ha, [[3, 2.5]])
    # Intervals do not add up.
    assert of(result, "A").quarters[2].low_ha is None


def test_false_alerts_are_put_down_to_the_ground_and_to_time() -> None:
    periods = told("s-town", q0=("new", 5.0, "low"), q1=("steady", 5.0, "high"))
    periods += told("s-field", q0=("new", 5.0, "low"), q1=("steady", 5.0, "low"))
    found = sites(
        ("s-town", TOWN),
        ("s-field", (1000, 1000, 1200, 1200)),
        ("s-c", C),
        ("s-w", (9e3, 0, 1e4, 9)),
    )
    alerts = [alert("s-town", 1, "high"), alert("s-field", 0, state="rejected")]
    # The third mine began in the second quarter: an alert in the first is none of it.
    result = compare(found, periods, [*alerts, alert("s-c", 0), alert("s-w", 0)])
    kinds = {each.kind: (each.alerts, each.high, each.rejected) for each in result.false_alerts}
    assert kinds == {
        "settlement": (1, 1, 0),
        "farmland": (1, 0, 1),
        "mine": (1, 0, 0),
        "background": (1, 0, 0),
    }
    assert of(result, "C").alerted is None
    assert result.true_alerts == 0
    assert result.years == pytest.approx(1.0, abs=0.01)
    assert result.false_per_1000_km2_year == pytest.approx(4 / 0.5, rel=0.01)
    assert (result.persistent, result.climbed, result.climbed_to) == (2, 1, {"high": 1})


def test_a_site_that_grazes_a_mine_is_neither_its_own_nor_false() -> None:
    result = compare(sites(("s-edge", (190, 0, 390, 8))), [], [alert("s-edge", 1)], alone=True)
    assert (result.grazing_sites, result.false_sites) == (1, 0)
    assert of(result, "A").sites == ()
    assert [each.kind for each in result.false_alerts] == ["mine"]


def test_alerts_of_merged_sites_count_for_the_one_that_goes_on() -> None:
    found = sites(("s-old", A), ("s-mid", A), ("s-a", A), merged={"s-old": "s-mid", "s-mid": "s-a"})
    result = compare(found, [], [alert("s-old", 1)], alone=True)
    assert of(result, "A").sites == ("s-a",)
    assert of(result, "A").alerted == 1


def test_a_taken_back_alert_is_told_as_such() -> None:
    result = compare(sites(("s-a", A)), [], [alert("s-a", 2, state="rejected")])
    assert of(result, "A").rejected
    assert of(result, "A").alerted == 2


@pytest.mark.parametrize("half_ha", [0.7, 2.0, 9.0])
def test_the_size_at_half_is_that_of_the_curve_that_made_the_data(half_ha: float) -> None:
    rng = np.random.default_rng(3)
    area = np.exp(rng.uniform(np.log(0.1), np.log(60), 4000))
    share = 1 / (1 + np.exp(-2.0 * np.log(area / half_ha)))
    tries = np.column_stack([area, rng.random(4000) < share]).astype(float)
    assert size_at_half(tries) == pytest.approx(half_ha, rel=0.15)


def test_the_size_at_half_is_unknown_where_nothing_tells() -> None:
    assert size_at_half(np.empty((0, 2))) is None
    assert size_at_half(np.array([[1.0, 1.0], [2.0, 1.0]])) is None
    # The larger ones were detected less often: no size can be told.
    assert size_at_half(np.array([[1.0, 1.0], [5.0, 0.0], [1.2, 1.0], [6.0, 0.0]])) is None
    parted = size_at_half(np.array([[1.0, 0.0], [2.0, 0.0], [8.0, 1.0], [9.0, 1.0]]))
    assert parted is not None
    assert 2.0 < parted < 8.0


def test_what_is_no_quarter_is_refused() -> None:
    rows = told("s-a", q0=("new", 1.0, None))
    rows[0]["end"] = dt.date(2023, 2, 28)
    with pytest.raises(DataError, match="none of the quarters"):
        compare(sites(("s-a", A)), rows, [])
    late = alert("s-a", 0)
    late["raised"] = dt.date(2023, 2, 28)
    with pytest.raises(DataError, match="ends no quarter"):
        compare(sites(("s-a", A)), [], [late])
    wrong = truth()
    with pytest.raises(GridMismatch, match="projected CRS"):
        compare_following(
            FollowTruth(wrong.quarters.to_crs(4326), wrong.confusers, PERIODS, 1.0),
            sites(),
            pd.DataFrame(),
            pd.DataFrame(),
        )
