"""Whether labels can be guessed from what a chip's picture does not show.

Where the date, the haze or the collection tells the label, a model learns that instead of mines,
and its test score is of no worth elsewhere.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from sluice.base.arrays import FloatArray, IntArray
from sluice.base.records import Record
from sluice.labels.groups import located

_FOLDS = 5
_BINS = 20
_RESAMPLES = 200
_FEW_VALUES = 50
_LEAST_CHIPS = 30
_COARSE_DEGREES = 2.0
_EPOCH = pd.Timestamp("2000-01-01")
PLACE = "place (2 degrees)"
"""Name of the column of coarse places, missing where a chip's place is not known."""
SOURCE = "source"
_START, _LENGTH = "start date", "length of period"


class Predictability(Record):
    """How well one column tells the label."""

    column: str
    auc: float
    """Of chips whose groups the rule has not seen, 0.5 where it tells nothing."""
    low: float
    high: float
    """95 % interval, from a bootstrap over groups."""


class OneSided(Record):
    """A value of a column under which there is only one label."""

    column: str
    value: str
    chips: int
    label: int
    expected: float
    """Chips of the other label, if the column had nothing to do with it."""


def metadata_columns(
    table: pd.DataFrame, blank: FloatArray, brightness: FloatArray
) -> dict[str, pd.Series]:
    """What might tell the label by accident.

    Args:
        table: Of a data set.
        blank: (N,) share of pixels not observed.
        brightness: (N,) mean of the bands; it may tell rightly, and is a mark to beat.

    Returns:
        By name; texts and numbers, missing where unknown.
    """
    known = located(table)
    cell = np.floor(table[["lon", "lat"]].to_numpy(np.float64) / _COARSE_DEGREES)
    places = [
        f"{east:g} {north:g}" if here else None
        for (east, north), here in zip(cell, known, strict=True)
    ]
    start, end = table["start"], table["end"]
    columns = {
        SOURCE: table["source"],
        "has a place": pd.Series(known.astype(np.float64), table.index),
        PLACE: pd.Series(places, table.index, dtype=object),
        _START: _days(start),
        "season of start": start.dt.month.astype(np.float64),
        _LENGTH: _days(end) - _days(start),
        "clear_threshold": table["clear_threshold"],
        "share not observed": pd.Series(blank, table.index),
        "mean brightness": pd.Series(brightness, table.index),
    }
    return {name: values for name, values in columns.items() if len(values.unique()) > 1}


def predictability(
    labels: IntArray, groups: pd.Series, values: pd.Series, name: str, *, seed: int = 0
) -> Predictability | None:
    """How well a rule of one column tells the labels of groups that it has not seen.

    The rule is the share of label 1 among the chips of a value, or of a bin of numbers of twenty;
    unknown is a value of its own. Five folds of whole groups.

    Args:
        labels: (N,) 0 or 1.
        groups: (N,) what belongs together.
        values: (N,) numbers or texts.
        name: Of the column.
        seed: Of folds and resamples.

    Returns:
        None where there is only one label, or fewer than ten groups.
    """
    block, names = pd.factorize(groups)
    if len(np.unique(labels)) < 2 or len(names) < 2 * _FOLDS:
        return None
    rng = np.random.default_rng(seed)
    bins = _binned(values)
    fold = rng.permutation(len(names))[block] % _FOLDS
    scores = np.empty(len(labels))
    for k in range(_FOLDS):
        seen = fold != k
        total = np.bincount(bins[seen], minlength=bins.max() + 1)
        ones = np.bincount(bins[seen], weights=labels[seen], minlength=bins.max() + 1)
        prior = labels[seen].mean()
        # As if each value had been seen once more, as often with a mine as any; the prior is
        # taken off, since it leans the other way in each fold.
        scores[~seen] = ((ones + prior) / (total + 1) - prior)[bins[~seen]]
    known_score, score_of = np.unique(scores, return_inverse=True)
    by_score = _counts(score_of, block, labels, (len(known_score), len(names)))
    draws = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), _RESAMPLES)
    resampled = [_auc(*(counts @ draw for counts in by_score)) for draw in draws]
    low, high = np.nanpercentile(resampled, [2.5, 97.5])
    return Predictability(
        column=name,
        auc=_auc(*(counts @ np.ones(len(names)) for counts in by_score)),
        low=float(low),
        high=float(high),
    )


def one_sided(labels: IntArray, groups: pd.Series, values: pd.Series, name: str) -> list[OneSided]:
    """Values with many chips, and only one label among them.

    Args:
        labels: (N,) 0 or 1.
        groups: (N,) what belongs together: a value counts by its groups, not by its chips.
        values: (N,) of few kinds; a column of more than fifty is passed over.
        name: Of the column.

    Returns:
        Those where, by chance, at least five groups of the other label were due.
    """
    if values.nunique() > _FEW_VALUES:
        return []
    share = {1: 1 - labels.mean(), 0: labels.mean()}
    found = []
    for value, members in pd.Series(labels, values.index).groupby(values):
        if members.min() == members.max() and len(members) >= _LEAST_CHIPS:
            label = int(members.iloc[0])
            due = share[label] * groups[members.index].nunique()
            if due >= 5:
                found.append(
                    OneSided(
                        column=name,
                        value=_shown(name, value),
                        chips=len(members),
                        label=label,
                        expected=round(float(share[label] * len(members)), 1),
                    )
                )
    return found


def _shown(name: str, value: object) -> str:
    if name == _START and isinstance(value, float):
        return str((_EPOCH + pd.Timedelta(days=value)).date())
    unit = " days" if name == _LENGTH else ""
    return f"{value:g}{unit}" if isinstance(value, float) else str(value)


def _days(dates: pd.Series) -> pd.Series:
    return (dates - _EPOCH).dt.days.astype(np.float64)


def _binned(values: pd.Series) -> IntArray:
    """Bin of each value, the last one for those that are unknown."""
    if pd.api.types.is_numeric_dtype(values) and values.nunique() > _BINS:
        edges = np.unique(np.nanquantile(values, np.linspace(0, 1, _BINS + 1)))
        codes = np.searchsorted(edges[1:-1], values.to_numpy(np.float64), side="right")
        codes = np.where(values.isna(), -1, codes)
    else:
        codes = pd.factorize(values)[0]
    return np.asarray(np.where(codes < 0, codes.max() + 1, codes), np.int64)


def _counts(
    score_of: IntArray, block: IntArray, labels: IntArray, shape: tuple[int, int]
) -> tuple[csr_array, csr_array]:
    """Chips of label 1, and of label 0, by score and group: resamples cost a product each."""
    mine = labels == 1
    ones, zeros = (
        csr_array((np.ones(int(which.sum())), (score_of[which], block[which])), shape=shape)
        for which in (mine, ~mine)
    )
    return ones, zeros


def _auc(ones: FloatArray, zeros: FloatArray) -> float:
    """Probability that a chip of label 1 scores higher than one of label 0, ties counted half.

    Args:
        ones: (scores,) chips of label 1 at each score, the lowest first.
        zeros: Of label 0.
    """
    pairs = ones.sum() * zeros.sum()
    lower = zeros.cumsum() - zeros / 2
    return float(ones @ lower / pairs) if pairs else float("nan")
