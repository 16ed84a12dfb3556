"""The guard, on made-up series whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.base.errors import ShapeMismatch
from sluice.composite.guard import GuardRule, give_back_stable_ground, looks_needed

NAN = float("nan")
GROUND = [0.30, 0.31, 0.29, 0.30, 0.32, 0.28, 0.30, 0.31]
CLOUD = [0.45, 0.62, 0.38, 0.71, 0.55, 0.83, 0.49, 0.66]


def guard(brightness: list[float], flagged: list[int], rule: GuardRule | None = None) -> list[int]:
    found = give_back_stable_ground(
        [np.array(brightness, np.float32)[:, None, None]],
        np.array(flagged, bool)[:, None, None],
        rule,
    )
    return found[:, 0, 0].astype(int).tolist()


def cover_with_cloud(ground: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Two-stream: a cloud of that optical depth over the ground."""
    cloud = 0.13 * depth / (1 + 0.13 * depth)
    return cloud + (1 - cloud) ** 2 * ground / (1 - cloud * ground)


def series(
    level: float, cloudiness: float, times: int = 20, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Brightness (T, 1, 400) and where cloud truly is."""
    rng = np.random.default_rng(seed)
    shape = (times, 1, 400)
    ground = level * rng.normal(1, 0.05, shape) + rng.normal(0, 0.005, shape)
    is_cloud = rng.random(shape) < cloudiness
    covered = cover_with_cloud(ground, rng.lognormal(np.log(8), 1, shape))
    return np.where(is_cloud, covered, ground).astype(np.float32), is_cloud


def test_bright_ground_that_the_mask_always_calls_cloud_is_given_back() -> None:
    brightness = GROUND + CLOUD[:3]
    assert guard(brightness, [1] * 11) == [1] * 8 + [0] * 3


def test_true_cloud_over_seen_ground_stays_cloud() -> None:
    dark = [0.05, 0.06, 0.05, 0.04]
    assert not any(guard(dark + CLOUD, [0] * 4 + [1] * 8))
    assert not any(guard(CLOUD, [1] * 8))


def test_ground_that_is_mostly_seen_clear_needs_no_guard() -> None:
    assert not any(guard(GROUND, [1, 1, 1, 0, 0, 0, 0, 0]))


def test_few_looks_give_nothing_back() -> None:
    assert not any(guard(GROUND[:5], [1] * 5))
    assert any(guard(GROUND[:6], [1] * 6))
    assert not any(guard(GROUND[:5] + [NAN] * 9, [1] * 14))


def test_haze_of_even_thickness_over_dark_ground_that_is_seen_in_between() -> None:
    # Between the hazy looks the dark ground was seen clear twice.
    haze = [0.12, 0.125, 0.12, 0.13, 0.12, 0.125, 0.12, 0.13]
    brightness = [*haze[:3], 0.04, *haze[3:5], 0.04, *haze[5:]]
    flagged = [1, 1, 1, 0, 1, 1, 0, 1, 1, 1]
    assert not any(guard(brightness, flagged))


def test_haze_over_bright_ground_that_is_seen_clear_in_between() -> None:
    # The clear looks lie in the interval as well, but all at its dark end.
    haze = [0.27, 0.26, 0.28, 0.27, 0.28, 0.27, 0.26, 0.28]
    brightness = [*haze[:3], 0.245, *haze[3:5], 0.24, *haze[5:]]
    flagged = [1, 1, 1, 0, 1, 1, 0, 1, 1, 1]
    assert not any(guard(brightness, flagged))
    assert sum(guard([*haze[:3], 0.28, *haze[3:5], 0.26, *haze[5:]], flagged)) == 8


def test_a_mine_dug_within_the_period_is_given_back() -> None:
    brightness = [0.04, 0.05, 0.04, *GROUND, 0.6]
    assert guard(brightness, [0] * 3 + [1] * 9) == [0] * 3 + [1] * 8 + [0]


def test_dark_ground_is_left_to_the_mask() -> None:
    assert not any(guard([0.05] * 10, [1] * 10))
    assert all(guard([0.09] * 10, [1] * 10))


def test_what_is_not_flagged_or_not_observed_is_never_given_back() -> None:
    brightness = [*GROUND, NAN, 0.30]
    flagged = [1] * 9 + [0]
    assert guard(brightness, flagged) == [1] * 8 + [0, 0]


@pytest.mark.parametrize("level", [0.1, 0.2, 0.4])
def test_most_of_stable_ground_comes_back_between_clouds(level: float) -> None:
    brightness, is_cloud = series(level, 0.3)
    flagged = is_cloud | (np.random.default_rng(1).random(is_cloud.shape) < 0.9)
    given_back = give_back_stable_ground([brightness], flagged)
    lost = flagged & ~is_cloud
    assert (given_back & lost).sum() > 0.75 * lost.sum()
    # What of cloud came along is as bright as the ground to within its scatter.
    wrong = given_back & is_cloud
    assert (np.abs(brightness[wrong] - level) < 3 * (0.005 + 0.05 * level) + 0.05 * level).all()


@pytest.mark.parametrize("cloudiness", [0.5, 0.8, 1.0])
@pytest.mark.parametrize("times", [6, 12, 20, 60])
def test_cloud_is_hardly_ever_given_back(cloudiness: float, times: int) -> None:
    brightness, is_cloud = series(0.05, cloudiness, times)
    given_back = give_back_stable_ground([brightness], is_cloud)
    assert given_back.any(axis=0).mean() < 0.04


def plain_guard(values: np.ndarray, flags: np.ndarray, rule: GuardRule) -> np.ndarray:
    """One pixel, written out."""
    result = np.zeros(len(values), bool)
    seen = np.flatnonzero(np.isfinite(values))
    flags = flags & np.isfinite(values)
    if len(seen) < rule.min_looks or flags.sum() < rule.most * len(seen):
        return result
    best: list[int] = []
    for start in sorted(seen, key=lambda t: values[t]):
        top = values[start] + rule.width_spreads * (0.005 + 0.05 * max(values[start], 0))
        inside = [t for t in seen if values[start] <= values[t] <= top]
        if len(inside) > len(best):
            best = inside
    lowest, highest = values[best].min(), values[best].max()
    level = (lowest + highest) / 2
    width = rule.width_spreads * (0.005 + 0.05 * level)
    darker = [t for t in seen if not flags[t] and values[t] < level and min(best) < t < max(best)]
    if (
        level >= rule.min_brightness
        and len(best) >= looks_needed(len(seen), np.ceil(width / 0.0025) * 0.0025, rule)
        and flags[best].sum() >= rule.most * len(best)
        and len(darker) <= rule.darker * len(best)
    ):
        result = flags & (np.abs(values - level) <= width)
    return result


@given(st.integers(0, 10_000), st.sampled_from([6, 9, 20, 45]), st.floats(0, 1))
@settings(max_examples=40)
def test_equals_the_plain_loop(seed: int, times: int, cloudiness: float) -> None:
    rng = np.random.default_rng(seed)
    brightness, is_cloud = series(rng.uniform(0.06, 0.4), cloudiness, times, seed)
    brightness[rng.random(brightness.shape) < 0.1] = NAN
    flagged = np.where(is_cloud, rng.random(is_cloud.shape) < 0.9, rng.random() < 0.8)
    rule = GuardRule()
    given_back = give_back_stable_ground([brightness], flagged, rule)
    same = 0
    for col in range(40):
        expected = plain_guard(brightness[:, 0, col].astype(np.float64), flagged[:, 0, col], rule)
        same += (given_back[:, 0, col] == expected).all()
    # float32 and float64 may part at a limit.
    assert same >= 39


def test_the_result_does_not_depend_on_how_the_image_is_cut() -> None:
    brightness, is_cloud = series(0.2, 0.4)
    flagged = is_cloud | (np.random.default_rng(1).random(is_cloud.shape) < 0.8)
    brightness, flagged = brightness.reshape(20, 20, 20), flagged.reshape(20, 20, 20)
    whole = give_back_stable_ground([brightness], flagged)
    part = np.s_[:, 3:17, 5:]
    np.testing.assert_array_equal(
        give_back_stable_ground([brightness[part]], flagged[part]), whole[part]
    )


def test_looks_needed_is_what_chance_seldom_makes() -> None:
    rule = GuardRule()
    rng = np.random.default_rng(0)
    for n_looks, width in [(6, 0.05), (12, 0.05), (30, 0.03)]:
        needed = looks_needed(n_looks, width, rule)
        points = np.sort(rng.random((40_000, n_looks)) * rule.cloud_range, axis=1)
        crowded = (points[:, needed - 1 :] - points[:, : n_looks - needed + 1] <= width).any(axis=1)
        assert crowded.mean() <= 1.1 * rule.chance
    assert looks_needed(10, 0.6, rule) == 11
    assert looks_needed(20, 0.001, replace(rule, min_share=0.5)) == 10


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ShapeMismatch, match="one shape"):
        give_back_stable_ground([np.zeros((3, 2, 2), np.float32)], np.zeros((3, 2, 1), bool))
