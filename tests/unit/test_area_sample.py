"""Where the points go: published numbers, closed forms, and draws that are fair."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.base.errors import ConfigError
from sluice.evaluation.area_sample import (
    OUTSIDE,
    Stratum,
    allocate_points,
    count_codes,
    draw_ranks,
    expected_se_ha,
    find_ranked,
    points_needed,
)


def strata(pixels, shares) -> tuple[Stratum, ...]:
    return tuple(
        Stratum(
            name=str(k), meaning="", map_class="x", pixels=n, area_ha=n * 0.09, expected_share=p
        )
        for k, (n, p) in enumerate(zip(pixels, shares, strict=True))
    )


# Olofsson et al. 2014, 5.1.1 and table 5: 10 million pixels of 30 m.
PIXELS = (200_000, 150_000, 3_200_000, 6_450_000)
PAPER = strata(PIXELS, (0.7, 0.6, 0.9, 0.95))
ONE_PERCENT_HA = 0.01 * sum(PIXELS) * 0.09


def test_sample_size_is_the_published_one() -> None:
    assert points_needed(PAPER, ONE_PERCENT_HA, "neyman", 2) == 641


def test_allocations_are_the_published_ones() -> None:
    assert allocate_points(PAPER, 641, "proportional", 2).tolist() == [13, 10, 205, 413]
    assert sorted(allocate_points(PAPER, 640, "equal", 2)) == [160] * 4
    # The paper rounds to 75, 75, 165, 325.
    assert allocate_points(PAPER, 640, "proportional", 75).tolist() == [75, 75, 162, 328]


def test_neyman_is_the_best_allocation() -> None:
    best = allocate_points(PAPER, 600, "neyman", 2)
    least = expected_se_ha(PAPER, best)
    rng = np.random.default_rng(0)
    for _ in range(200):
        moved = best + rng.permutation([20, -10, -10, 0])
        if moved.min() > 1:
            assert expected_se_ha(PAPER, moved) > least


@pytest.mark.parametrize("method", ["neyman", "proportional", "equal"])
def test_as_many_points_as_the_target_takes_and_no_more(method) -> None:
    for target in (0.5, 1, 2):
        points = points_needed(PAPER, target * ONE_PERCENT_HA, method, 2)
        reached = expected_se_ha(PAPER, allocate_points(PAPER, points, method, 2))
        fewer = expected_se_ha(PAPER, allocate_points(PAPER, points - 8, method, 2))
        assert reached <= 1.005 * target * ONE_PERCENT_HA < 1.01 * fewer


@given(
    pixels=st.lists(st.integers(1, 500), min_size=1, max_size=6),
    share=st.floats(0, 1),
    points=st.integers(1, 2000),
    minimum=st.integers(2, 60),
    method=st.sampled_from(["neyman", "proportional", "equal"]),
)
def test_allocation_keeps_its_promises(pixels, share, points, minimum, method) -> None:
    parts = strata(pixels, np.linspace(0, share, len(pixels)))
    floor = np.minimum(pixels, minimum)
    if points < floor.sum():
        with pytest.raises(ConfigError, match="too few"):
            allocate_points(parts, points, method, minimum)
        return
    given_ = allocate_points(parts, points, method, minimum)
    assert given_.sum() == min(points, sum(pixels))
    assert (given_ >= floor).all()
    assert (given_ <= pixels).all()


def test_impossible_wishes_are_refused() -> None:
    with pytest.raises(ConfigError, match="--min-points 1"):
        allocate_points(PAPER, 600, "equal", 1)
    with pytest.raises(ConfigError, match="above 0"):
        points_needed(PAPER, 0, "neyman", 2)
    with pytest.raises(ConfigError, match="more than 20,000 points"):
        points_needed(PAPER, ONE_PERCENT_HA / 100, "neyman", 2)


def test_every_pixel_is_as_likely_as_any_other_and_none_comes_twice() -> None:
    hits = np.zeros(20)
    for seed in range(3000):
        (drawn,) = draw_ranks(np.array([20]), np.array([5]), seed)
        assert np.unique(drawn).size == 5
        hits[drawn] += 1
    # A quarter of the draws each: 750 with a standard deviation of about 24.
    assert abs(hits - 750).max() < 100


def test_a_seed_gives_the_same_points() -> None:
    numbers = np.array([1000, 50]), np.array([30, 50])
    first, again, other = (draw_ranks(*numbers, seed) for seed in (1, 1, 2))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert (first[0] != other[0]).any()
    assert first[1].tolist() == list(range(50))


def test_ranks_are_found_across_blocks() -> None:
    rng = np.random.default_rng(0)
    codes = rng.choice([0, 1, 2, OUTSIDE], (40, 30)).astype(np.uint8)
    blocks = [codes[:17], codes[17:20], codes[20:]]
    totals = count_codes(codes, 3)
    ranks = draw_ranks(totals, np.array([10, 3, totals[2]]), 4)
    before, found = np.zeros(3, np.int64), []
    for block, top in zip(blocks, (0, 17, 20), strict=True):
        rows, cols, of = find_ranked(block, before, ranks)
        found += list(zip(of, (rows + top) * 30 + cols, strict=True))
        before = before + count_codes(block, 3)
    wanted = [
        (code, place)
        for code, drawn in enumerate(ranks)
        for place in np.flatnonzero(codes.ravel() == code)[drawn]
    ]
    assert sorted(found) == sorted(wanted)
