"""Which rows changed."""

import datetime as dt

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from sluice.app.following.changes import changed

DAY = dt.date(2024, 1, 1)


def table(**changes: object) -> gpd.GeoDataFrame:
    values = {
        "key": ["a", "b", "c"],
        "number": [1.0, np.nan, 3.0],
        "text": ["x", None, "z"],
        "day": [DAY, DAY, None],
        "flag": [True, False, True],
        "facts": [{"m": 1.0}, {}, {"n": [1]}],
        "reasons": [["one", "two"], [], ["three"]],
    }
    shapes = [shapely.box(n, 0, n + 1, 1) for n in range(3)]
    return gpd.GeoDataFrame(values | changes, geometry=shapes)


def test_equal_rows_in_any_order_did_not_change() -> None:
    assert not changed(table(), table().iloc[::-1], ["key"]).any()
    # What is absent is absent, however it is written.
    other = table(text=["x", np.nan, "z"], day=[DAY, DAY, pd.NaT])
    assert not changed(table(), other, ["key"]).any()


def test_each_kind_of_column_can_tell() -> None:
    for name, values in {
        "number": [1.0, 2.0, 3.0],
        "text": ["x", "y", "z"],
        "day": [DAY, dt.date(2024, 1, 2), None],
        "flag": [True, True, True],
        "facts": [{"m": 1.0}, {"m": 2.0}, {"n": [1]}],
    }.items():
        assert changed(table(**{name: values}), table(), ["key"]).tolist() == [False, True, False]
    moved = table()
    moved.loc[1, "geometry"] = shapely.box(9, 9, 10, 10)
    assert changed(moved, table(), ["key"]).tolist() == [False, True, False]


def test_new_rows_changed_and_rows_that_are_gone_do_not_count() -> None:
    assert changed(table(), table().iloc[:2], ["key"]).tolist() == [False, False, True]
    assert changed(table().iloc[:1], table(), ["key"]).tolist() == [False]
    assert changed(table(), table().iloc[:0], ["key"]).all()
    assert changed(table().iloc[:0], table(), ["key"]).tolist() == []


def test_keys_of_several_columns() -> None:
    before = table(second=[1, 1, 1])
    after = table(key=["a", "a", "c"], second=[1, 2, 1])
    assert changed(after, before, ["key", "second"]).tolist() == [False, True, False]
