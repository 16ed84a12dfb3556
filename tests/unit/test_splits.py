"""No place on both sides of a split."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.base.errors import ConfigError, DataError, NoValidData
from sluice.labels.chips import read_chip_table
from sluice.labels.splits import check_folds, check_trainable, grouped_folds, pool, select_split

SOURCES = ("mine a", "mine b", "river", "cloud", "random")


def make_table(groups: list[int], sources: list[int]) -> pd.DataFrame:
    source = [SOURCES[number] for number in sources]
    return pd.DataFrame(
        {
            "group": groups,
            "source": source,
            "label": [int(name.startswith("mine")) for name in source],
            "split": "pool",
        }
    )


chip_lists = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, len(SOURCES) - 1)), min_size=1, max_size=150
)


@settings(max_examples=50, deadline=None)
@given(chips=chip_lists, n_folds=st.integers(2, 6), seed=st.integers(0, 99))
def test_folds_never_leak_and_hold_both_labels(
    chips: list[tuple[int, int]], n_folds: int, seed: int
) -> None:
    # Enough places of a mine and of a river for every fold, among whatever else there is.
    enough = [(100 + number, 2 * (number % 2)) for number in range(2 * n_folds)]
    table = make_table(*(list(column) for column in zip(*chips, *enough, strict=True)))
    folds = grouped_folds(table, n_folds, seed)
    for _, members in folds.groupby(table["group"]):
        assert len(set(members)) == 1
    for fold in range(n_folds):
        assert set(table["label"][folds == fold]) == {0, 1}
    pd.testing.assert_series_equal(folds, grouped_folds(table, n_folds, seed))


def test_too_few_places_of_a_label_are_refused() -> None:
    table = make_table([1, 1, 2, 3, 4, 5], [0, 0, 0, 2, 2, 2])
    assert sorted(grouped_folds(table, 2, 0)[:3].unique()) == [0, 1]
    with pytest.raises(DataError, match="fold 2 of 3 has no chips of both labels"):
        grouped_folds(table, 3, 0)


@settings(max_examples=50, deadline=None)
@given(counts=st.lists(st.integers(5, 40), min_size=5, max_size=5), seed=st.integers(0, 99))
def test_each_source_is_dealt_out_evenly(counts: list[int], seed: int) -> None:
    sources = np.repeat(np.arange(5), counts).tolist()
    table = make_table(list(range(len(sources))), sources)
    folds = grouped_folds(table, 5, seed)
    in_fold = pd.crosstab(table["source"], folds)
    assert (in_fold.max(axis=1) - in_fold.min(axis=1)).max() <= 1


def test_another_seed_gives_other_folds() -> None:
    table = make_table(list(range(100)), [number % 5 for number in range(100)])
    assert (grouped_folds(table, 5, 1) != grouped_folds(table, 5, 2)).any()


def test_one_fold_and_no_chips_are_refused() -> None:
    table = make_table([1, 2], [0, 2])
    with pytest.raises(ConfigError, match="1 folds"):
        grouped_folds(table, 1, 0)
    with pytest.raises(NoValidData):
        grouped_folds(table.iloc[:0], 2, 0)


def test_a_leak_is_found() -> None:
    table = make_table([1, 1, 2, 3], [0, 0, 2, 2])
    with pytest.raises(DataError, match="1 groups have chips in two folds, such as 1"):
        check_folds(table, pd.Series([0, 1, 0, 1]))


@pytest.mark.parametrize("split", ["test_caroni", "test", "excluded"])
def test_held_out_chips_never_teach(split: str) -> None:
    table = make_table([1, 2, 3, 4], [0, 0, 2, 2])
    table.loc[2, "split"] = split
    with pytest.raises(DataError, match=rf"1 chips are held out \({split}\)"):
        check_trainable(table)
    with pytest.raises(DataError, match="held out"):
        grouped_folds(table, 2, 0)


def test_a_pool_that_shares_a_place_with_the_test_is_refused() -> None:
    table = make_table([1, 2, 2, 3], [0, 0, 0, 2])
    table.loc[1, "split"] = "test_caroni"
    with pytest.raises(DataError, match="both in the pool and outside it, such as 2"):
        pool(table)


def test_an_unknown_split_lists_those_there_are() -> None:
    table = make_table([1, 2], [0, 2])
    with pytest.raises(ConfigError, match=r"'tset'; found: pool\."):
        select_split(table, "tset")
    with pytest.raises(ConfigError, match="the table has no splits"):
        pool(table.assign(split=""))


def test_the_real_pool_is_folded_as_published_figures_assume(shared_data: Path) -> None:
    chips = pool(read_chip_table(shared_data / "amw-chips"))
    assert len(chips) == 8362
    # The plain form of the rule, kept apart from the code on purpose.
    first = chips.groupby("group").source.first().reset_index().sample(frac=1, random_state=7)
    first["fold"] = first.groupby("source").cumcount() % 5
    expected = chips["group"].map(first.set_index("group")["fold"])
    folds = grouped_folds(chips, n_folds=5, seed=7)
    assert folds.tolist() == expected.tolist()
    assert folds.index.equals(chips.index)
    by_label = pd.crosstab(folds, chips["label"])
    assert by_label[1].min() > 330
    assert by_label[0].min() > 1280
