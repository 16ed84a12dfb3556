"""Mines through time: growth never shrinks them, regrowth never enlarges them."""

import datetime as dt
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import LineString

from sluice.phantom.canvas import Canvas
from sluice.phantom.history import ABANDONED, ACTIVE, MineHistory, draw_histories
from sluice.phantom.landscape import paint_forest
from sluice.phantom.mines import plan_mine, plant_mine, worked_outline

FIRST, LAST = dt.date(2022, 1, 1), dt.date(2023, 12, 31)
STREAM = LineString([(0, 140), (300, 160)])
NEAR = np.zeros((300, 300), dtype=np.float32)


@pytest.fixture(scope="module")
def histories() -> tuple[MineHistory, ...]:
    plans = [
        plan_mine(Canvas(300, np.random.default_rng(seed)), 9.0, [STREAM], NEAR)
        for seed in range(5)
    ]
    return draw_histories(plans, FIRST, LAST, np.random.default_rng(8))


def test_a_planned_mine_at_full_size_is_the_planted_one():
    planted, planned = (Canvas(300, np.random.default_rng(4)) for _ in range(2))
    for canvas in (planted, planned):
        paint_forest(canvas)
    before = planned.reflectance_bhw.copy()
    mine = plant_mine(planted, 9.0, [STREAM], NEAR)
    plan = plan_mine(planned, 9.0, [STREAM], NEAR)
    np.testing.assert_array_equal(planned.reflectance_bhw, before)
    planned.paint_fine(plan.frame, plan.kind_hw, plan.palette)
    np.testing.assert_array_equal(planned.reflectance_bhw, planted.reflectance_bhw)
    assert plan.planted.outline.equals(mine.outline)
    full = MineHistory("M", plan, FIRST, FIRST + dt.timedelta(days=9), None, np.zeros((1, 1)))
    np.testing.assert_array_equal(full.kind_at(LAST), plan.kind_hw)


def test_some_mines_grow_some_begin_and_some_are_abandoned(histories):
    on_first = [history.state(FIRST) for history in histories]
    on_last = [history.state(LAST) for history in histories]
    assert on_first.count(None) == 2
    assert on_last.count(ABANDONED) == 1
    assert on_last.count(ACTIVE) == 4
    assert len({history.mine_id for history in histories}) == 5


def test_active_mines_grow_and_never_shrink(histories):
    days = [FIRST + dt.timedelta(days=60 * step) for step in range(13)]
    for history in histories:
        if history.abandoned is not None:
            continue
        outlines = [history.outline_at(day) for day in days]
        for earlier, later in itertools.pairwise(outlines):
            assert later.area >= earlier.area
            assert earlier.difference(later).area == 0
        assert outlines[-1].area > 1.15 * outlines[0].area
        assert history.plan.planted.outline.area >= outlines[-1].area
        assert history.outline_at(history.started - dt.timedelta(days=1)).is_empty


def test_abandoned_mines_stop_and_grow_over(histories):
    gone = next(history for history in histories if history.abandoned)
    assert gone.abandoned is not None
    days = [gone.abandoned + dt.timedelta(days=200 * step) for step in range(6)]
    areas = [gone.outline_at(day).area for day in days]
    assert areas[0] == gone.plan.planted.outline.area
    assert all(later <= earlier for earlier, later in itertools.pairwise(areas))
    assert areas[-1] < 0.9 * areas[0]
    soil = [int((gone.kind_at(day) > 0).sum()) for day in days]
    assert soil[-1] < 0.6 * soil[0]
    # Ponds keep their water longer than soil stays bare.
    kinds = gone.kind_at(days[-1])
    water = np.array([scl == 6 for scl in gone.plan.palette.scl_k])
    pond = water[np.maximum(gone.plan.kind_hw, 0)]
    bare = (gone.plan.kind_hw > 0) & ~pond
    assert (kinds[pond] > 0).mean() > (kinds[bare] > 0).mean() + 0.2


def test_the_share_that_was_worked_is_that_part_of_the_ground(histories):
    history = next(history for history in histories if history.abandoned is None)
    for day in (FIRST, LAST):
        share = history.worked_share(day)
        whole = (history.plan.kind_hw >= 0).sum()
        assert (history.kind_at(day) >= 0).sum() == pytest.approx(share * whole, abs=2)


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1))
def test_more_bare_ground_never_gives_less_outline(seed):
    rng = np.random.default_rng(seed)
    more = rng.random((24, 24)) < 0.4
    less = more & (rng.random((24, 24)) < 0.7)
    assert not (worked_outline(less) & ~worked_outline(more)).any()
    assert worked_outline(more)[more].all()
