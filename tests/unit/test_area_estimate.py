"""Area and accuracy from a sample: published examples, a plain reference, and coverage."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import beta

from sluice.base.errors import DataError
from sluice.evaluation.area_estimate import SampledStratum, binomial_limits, estimate_area

TWO = ("mine", "not mine")
# Olofsson et al. 2014, table 8: rows map, columns reference.
OLOFSSON = ("deforestation", "forest gain", "stable forest", "stable non-forest")
OLOFSSON_COUNTS = ((66, 0, 5, 4), (0, 55, 8, 12), (1, 0, 153, 11), (2, 1, 9, 313))
OLOFSSON_PIXELS = (200_000, 150_000, 3_200_000, 6_450_000)
# Stehman 2014, table 1: ten points in each of four strata, map and reference by point.
STEHMAN = {
    "1": (40_000, "AAAAAAABBB", "AAAAACBABC"),
    "2": (30_000, "ABBBBBBBBB", "ABBBBBAABB"),
    "3": (20_000, "BBCCCCCCBB", "CCCCCDDBBA"),
    "4": (10_000, "DDDDDDDDDD", "DDDDDDDCCB"),
}


def olofsson(*, told: bool = True):
    rows = [
        (OLOFSSON[i], OLOFSSON[i], OLOFSSON[j])
        for i in range(4)
        for j in range(4)
        for _ in range(OLOFSSON_COUNTS[i][j])
    ]
    strata = [
        SampledStratum(name=name, area_ha=pixels * 0.09, map_class=name if told else None)
        for name, pixels in zip(OLOFSSON, OLOFSSON_PIXELS, strict=True)
    ]
    return estimate_area(strata, labels(rows), OLOFSSON)


def labels(rows) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["stratum", "map_class", "reference"])


@pytest.mark.parametrize("told", [True, False])
def test_the_worked_example_of_olofsson(told) -> None:
    """Page 54: figures and the halves of their 95 % intervals, as printed."""
    found = olofsson(told=told)
    areas = [(round(c.area_ha.value), round(1.96 * c.area_ha.se)) for c in found.by_class]
    assert areas[0] == (21_158, 6_158)
    assert areas[1] == (11_686, 3_756)
    assert areas[2] == (285_770, 15_510)
    assert areas[3] == (581_386, 16_282)
    users = [(round(c.users.value, 2), round(1.96 * c.users.se, 2)) for c in found.by_class]
    assert users == [(0.88, 0.07), (0.73, 0.10), (0.93, 0.04), (0.96, 0.02)]
    producers = [
        (round(c.producers.value, 2), round(1.96 * c.producers.se, 2)) for c in found.by_class
    ]
    assert producers == [(0.75, 0.21), (0.85, 0.25), (0.93, 0.03), (0.96, 0.02)]
    assert round(found.overall.value, 2) == 0.95
    assert round(1.96 * found.overall.se, 2) == 0.02
    assert np.sum(found.matrix) == pytest.approx(1)
    assert found.matrix[0][0] == pytest.approx(0.0176)
    assert found.counts == OLOFSSON_COUNTS
    assert (found.by_class[0].mapped_ha == pytest.approx(18_000)) if told else True


def stehman():
    rows = [
        (name, mapped, reference)
        for name, (_, map_classes, references) in STEHMAN.items()
        for mapped, reference in zip(map_classes, references, strict=True)
    ]
    strata = [
        SampledStratum(name=name, area_ha=size, pixels=size) for name, (size, *_) in STEHMAN.items()
    ]
    return estimate_area(strata, labels(rows), tuple("ABCD"))


def test_the_worked_example_of_stehman() -> None:
    """Pages 4932-4936, where strata are not the map's classes."""
    found = stehman()
    of = dict(zip("ABCD", found.by_class, strict=True))
    assert (round(of["A"].share.value, 2), round(of["A"].share.se, 3)) == (0.35, 0.082)
    assert (round(of["C"].share.value, 2), round(of["C"].share.se, 3)) == (0.20, 0.064)
    assert (round(found.overall.value, 2), round(found.overall.se, 3)) == (0.63, 0.085)
    assert (round(of["B"].users.value, 3), round(of["B"].users.se, 3)) == (0.574, 0.125)
    assert (round(of["B"].producers.value, 3), round(of["B"].producers.se, 3)) == (0.794, 0.117)
    assert found.matrix[1][2] == pytest.approx(0.08)


def test_it_is_the_plain_sum_over_points() -> None:
    """Each point stands for its stratum's area over its points; variances as in a textbook."""
    rng = np.random.default_rng(5)
    sizes, drawn = (300, 2_000, 40_000), (20, 30, 50)
    of_map = ("mine", "not mine", "not mine")
    rows = [
        (str(h), of_map[h], TWO[int(rng.random() > p)])
        for h, (n, p) in enumerate(zip(drawn, (0.6, 0.2, 0.05), strict=True))
        for _ in range(n)
    ]
    strata = [
        SampledStratum(name=str(h), area_ha=size / 100, pixels=size, map_class=of_map[h])
        for h, size in enumerate(sizes)
    ]
    found = estimate_area(strata, labels(rows), TWO)
    total, variance = 0.0, 0.0
    for h, (size, n) in enumerate(zip(sizes, drawn, strict=True)):
        ones = [float(row[2] == "mine") for row in rows if row[0] == str(h)]
        total += size / 100 * sum(ones) / n
        spread = sum((one - sum(ones) / n) ** 2 for one in ones) / (n - 1)
        variance += (size / 100) ** 2 * (1 - n / size) * spread / n
    assert found.by_class[0].area_ha.value == pytest.approx(total)
    assert found.by_class[0].area_ha.se == pytest.approx(variance**0.5)
    assert found.by_class[1].area_ha.value == pytest.approx(sum(sizes) / 100 - total)


def test_a_map_seen_whole_has_no_error() -> None:
    rows = [("a", "mine", "mine")] * 3 + [("a", "mine", "not mine")] * 1
    rows += [("b", "not mine", "not mine")] * 6
    strata = [
        SampledStratum(name="a", area_ha=4, pixels=4, map_class="mine"),
        SampledStratum(name="b", area_ha=6, pixels=6, map_class="not mine"),
    ]
    mine = estimate_area(strata, labels(rows), TWO).by_class[0].area_ha
    assert (mine.value, mine.se, mine.low, mine.high) == pytest.approx((3, 0, 3, 3))
    # Of a stratum of a single pixel there is no second one to see.
    strata.append(SampledStratum(name="c", area_ha=1, pixels=1, map_class="mine"))
    mine = estimate_area(strata, labels([*rows, ("c", "mine", "mine")]), TWO).by_class[0].area_ha
    assert (mine.value, mine.se, mine.low, mine.high) == pytest.approx((4, 0, 4, 4))


def test_where_nothing_was_found_the_interval_still_says_something() -> None:
    rows = [("a", "mine", "not mine")] * 30 + [("b", "not mine", "not mine")] * 100
    strata = [
        SampledStratum(name="a", area_ha=10, map_class="mine"),
        SampledStratum(name="b", area_ha=990, map_class="not mine"),
    ]
    mine = estimate_area(strata, labels(rows), TWO).by_class[0]
    assert (mine.area_ha.value, mine.area_ha.normal_high, mine.area_ha.low) == (0, 0, 0)
    assert 15 < mine.area_ha.high < 40
    assert mine.producers is None
    assert mine.users.high == pytest.approx(beta.ppf(0.975, 0.5, 30.5))


def test_limits_of_shares() -> None:
    low, high = binomial_limits(np.array([0, 5, 10]), np.array([10, 10, 10]))
    assert low[0] == 0
    assert high[2] == 1
    # Brown, Cai & DasGupta 2001, table 5: n = 10, x = 5.
    assert (low[1], high[1]) == pytest.approx((0.224, 0.776), abs=5e-4)


@pytest.mark.parametrize(
    ("sizes", "shares", "points", "mapped"),
    [
        ((0.03, 0.08, 0.12, 0.77), (0.6, 0.3, 0.03, 0.005), (60, 110, 70, 160), 2),
        ((0.11, 0.12, 0.77), (0.2, 0.01, 0.0005), (100, 100, 200), 1),
    ],
)
def test_intervals_hold_the_truth_as_often_as_they_say(sizes, shares, points, mapped) -> None:
    """Draws from maps whose mines are known: about 95 % must hold, for all four figures."""
    rng = np.random.default_rng(11)
    weight, share = np.array(sizes), np.array(shares)
    classes = np.array(TWO)[(np.arange(len(sizes)) >= mapped).astype(int)]
    strata = [
        SampledStratum(name=str(h), area_ha=w, map_class=c)
        for h, (w, c) in enumerate(zip(sizes, classes, strict=True))
    ]
    right = (weight * share)[:mapped].sum()
    truth = {
        "area": (weight * share).sum(),
        "users": right / weight[:mapped].sum(),
        "producers": right / (weight * share).sum(),
        "overall": right + (weight * (1 - share))[mapped:].sum(),
    }
    stratum = np.repeat(np.arange(len(sizes)), points)
    held = {name: [] for name in truth}
    values, too_narrow = [], []
    for _ in range(300):
        is_mine = rng.random(stratum.size) < share[stratum]
        found = estimate_area(
            strata,
            pd.DataFrame(
                {
                    "stratum": stratum.astype(str),
                    "map_class": classes[stratum],
                    "reference": np.where(is_mine, *TWO),
                }
            ),
            TWO,
        )
        mine = found.by_class[0]
        figures = {
            "area": mine.area_ha,
            "users": mine.users,
            "producers": mine.producers,
            "overall": found.overall,
        }
        for name, figure in figures.items():
            held[name].append(figure.low <= truth[name] <= figure.high)
        producers = mine.producers
        too_narrow.append(not producers.normal_low <= truth["producers"] <= producers.normal_high)
        values.append(mine.area_ha.value)
    for name, times in held.items():
        assert 0.92 <= np.mean(times) <= 0.995, name
    standard_error = np.std(values) / 300**0.5
    assert abs(np.mean(values) - truth["area"]) < 4 * standard_error
    # The published interval of a producer's accuracy does not hold what it says on such maps.
    assert np.mean(too_narrow) > 0.08


def test_what_cannot_be_estimated_is_refused() -> None:
    strata = [
        SampledStratum(name="a", area_ha=1, map_class="mine"),
        SampledStratum(name="b", area_ha=9, map_class="not mine"),
    ]
    good = [("a", "mine", "mine")] * 2 + [("b", "not mine", "not mine")] * 2
    estimate_area(strata, labels(good), TWO)
    for rows, message in (
        (good[:3], "fewer than two labelled points in stratum b"),
        ([*good, ("c", "mine", "mine")], "unknown strata: c"),
        ([*good, ("a", "mine", "maybe")], "unknown classes in reference: maybe"),
        ([*good, ("a", "not mine", "mine")], "stratum a is mapped as mine"),
    ):
        with pytest.raises(DataError, match=message):
            estimate_area(strata, labels(rows), TWO)
    with pytest.raises(DataError, match="lack the columns reference"):
        estimate_area(strata, labels(good).drop(columns="reference"), TWO)
