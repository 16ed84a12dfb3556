"""Priority: parts that add up."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.sites.priority import PARTS, PriorityRule, priorities

rows = st.fixed_dictionaries(
    {
        "posterior": st.floats(0, 1),
        "growth_ha": st.one_of(st.just(np.nan), st.floats(-5, 500)),
        "in_protected": st.booleans(),
        "in_indigenous": st.booleans(),
        "river_m": st.one_of(st.just(np.nan), st.floats(0, 1e5)),
        "settlement_m": st.one_of(st.just(np.nan), st.floats(0, 1e5)),
    }
)


@settings(max_examples=50)
@given(st.lists(rows, min_size=1, max_size=5))
def test_parts_add_up_and_stay_within_the_scale(drawn: list[dict[str, object]]) -> None:
    found = priorities(pd.DataFrame(drawn))
    for row in found.itertuples():
        assert tuple(row.priority_parts) == PARTS
        assert sum(row.priority_parts.values()) == pytest.approx(row.priority)
        assert 0 <= row.priority <= 100


def test_known_points() -> None:
    sites = pd.DataFrame(
        {
            "posterior": [1.0, 0.5],
            "growth_ha": [5.0, np.nan],
            "in_protected": [False, None],
            "in_indigenous": [True, None],
            "river_m": [0.0, np.nan],
            "settlement_m": [2500.0, np.nan],
        },
        index=["x", "y"],
    )
    found = priorities(sites)
    assert found.loc["x", "priority_parts"] == {
        "probability": 40.0,
        "growth": 10.0,
        "protected": 20.0,
        "river": 10.0,
        "settlement": 5.0,
    }
    assert found["priority"].tolist() == [85.0, 20.0]


def test_columns_may_be_missing_and_weights_must_make_a_hundred() -> None:
    assert priorities(pd.DataFrame({"posterior": [0.25]}))["priority"].tolist() == [10.0]
    assert priorities(pd.DataFrame({"posterior": []})).empty
    with pytest.raises(ValueError, match="100"):
        PriorityRule(river=50)
