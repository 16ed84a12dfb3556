"""Which chips may teach, and how to divide them so that no place is on both sides."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
from shapely import affinity
from shapely.geometry.base import BaseGeometry

from sluice.base.arrays import FloatArray
from sluice.base.errors import AssetReadError, ConfigError, DataError, ItemNotFound, NoValidData
from sluice.base.files import write_whole
from sluice.labels.chips import TABLE_NAME
from sluice.labels.dataset import INDEX_FILE
from sluice.labels.groups import (
    EARTH_RADIUS_M,
    ground_groups,
    join_groups,
    located,
    overlapping_pairs,
)

POOL = "pool"
"""Split that training, threshold and calibration use."""
EXCLUDED = "excluded"
"""Split of chips that serve for nothing, as they are too near to held-out ones."""
TEST = "test"
CALIBRATION = "cal"
"""Split that only thresholds and calibrations are chosen on."""
SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}
SHARES_WITH_CALIBRATION = {"train": 0.5, "val": 0.15, "cal": 0.15, "test": 0.2}

# How much it matters that a split has its share: of chips, of each label, of each source's.
_WEIGHTS = {"chips": 4.0, "label": 2.0, "source": 1.0}


def select_split(table: pd.DataFrame, split: str) -> pd.DataFrame:
    """Rows of one split.

    Raises:
        ConfigError: No chip is in it; the message lists the splits there are.
    """
    chosen = table[table["split"] == split]
    if chosen.empty:
        known = ", ".join(sorted(set(table["split"]) - {""})) or "none: the table has no splits"
        raise ConfigError(f"no chip is in split {split!r}; found: {known}. Choose one of these")
    return chosen


def trainable(table: pd.DataFrame, chip_m: float = 0.0) -> pd.DataFrame:
    """Chips that a model may learn from, see `may_teach`.

    Groups whose chips overlap are made one, so that folds by group share no ground.

    Args:
        table: Of a data set: `chip_id`, `group`, `split`, `lon`, `lat`.
        chip_m: Side of a chip, whatever part of it a model looks at; 0 trusts groups.

    Returns:
        Rows of `table` on its index; `group` differs where groups were made one.

    Raises:
        DataError: None may teach, or a group or a place has chips that teach and chips that judge.
    """
    teaches = may_teach(table)
    if not teaches.any():
        raise DataError("every chip is held out (test, cal or excluded); give some to learn from")
    judges = ~teaches & ~table["split"].isin(("", EXCLUDED)).to_numpy()
    sides = np.select([teaches, judges], ["teaches", "judges"], "")
    refuse_leaks(table.assign(split=sides), chip_m)
    chosen = table[teaches]
    return chosen.assign(group=join_overlapping(chosen, chip_m)) if chip_m > 0 else chosen


def join_overlapping(table: pd.DataFrame, chip_m: float) -> pd.Series:
    """Groups of which those that share ground, as the places of their chips say, are one.

    Args:
        table: With `group`, `lon` and `lat`.
        chip_m: Side of a chip.

    Returns:
        Group of each chip, named as the first of those that are one; the others stay as they are.

    Raises:
        DataError: A chip has no group.
    """
    joined = join_groups(table["group"], ground_groups(table, chip_m))
    return table["group"].groupby(joined).transform("first")


def join_alike(table: pd.DataFrame, digests: Sequence[str]) -> pd.Series:
    """Groups of which those that hold the same chip, under whatever name, are one.

    Args:
        table: With `group`.
        digests: `chip_digests` of its chips; those with an empty one are like no other.

    Returns:
        As `join_overlapping`.
    """
    own = [digest or f"row {row}" for row, digest in enumerate(digests)]
    joined = join_groups(table["group"], pd.Series(own, table.index, name="content"))
    return table["group"].groupby(joined).transform("first")


def count_joined(table: pd.DataFrame, chosen: pd.DataFrame) -> int:
    """How many groups `trainable` and `join_alike` made one with others.

    Args:
        table: What `trainable` was given.
        chosen: What they gave.
    """
    return int(table.loc[chosen.index, "group"].nunique() - chosen["group"].nunique())


def joined_words(count: int) -> str:
    """Say that groups were made one."""
    return (
        f"groups made one with others, as their chips overlap by place or are the same: {count} "
        "(`sluice labels check` names such chips)"
    )


def check_trainable(table: pd.DataFrame) -> None:
    """Refuse chips that must never teach: splits `test*` and `excluded`.

    Raises:
        DataError: At least one such chip.
    """
    held = held_out(table)
    if held.any():
        named = ", ".join(sorted(table.loc[held, "split"].unique()))
        raise DataError(
            f"{int(held.sum())} chips are held out ({named}) and may not be trained on, "
            "nor set a threshold or a calibration; use the pool"
        )


def may_teach(table: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Which chips a model may learn from.

    Where there is a split `pool`, it alone; else all but those held out, and those kept for
    thresholds and calibration (`cal`).
    """
    split = table["split"].astype(str)
    if (split == POOL).any():
        return (split == POOL).to_numpy()
    return ~held_out(table) & (split != CALIBRATION).to_numpy()


def held_out(table: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Which chips nothing may be learnt from: splits `test…` and `excluded`."""
    split = table["split"].astype(str)
    return (split.str.startswith(TEST) | (split == EXCLUDED)).to_numpy()


def grouped_folds(table: pd.DataFrame, n_folds: int, seed: int) -> pd.Series:
    """Divide chips into folds that no group straddles, alike in sources and labels.

    Groups are shuffled, then those of a source and a label are dealt out to the folds in turn; a
    group of several counts as its first chip's. So every fold has its share of each kind of
    place, and of both labels.

    Args:
        table: With the columns `group`, `source`, `label` and `split`; the order of rows counts.
        n_folds: At least 2.
        seed: Of the shuffle; the same seed and table give the same folds.

    Returns:
        Fold of each chip, int64 from 0, on the index of `table`.

    Raises:
        ConfigError: Fewer than 2 folds.
        DataError: Held-out chips in `table`, chips of one label only, a fold without both labels,
            or a group in two folds.
    """
    if n_folds < 2:
        raise ConfigError(f"{n_folds} folds leave nothing to hold out; use 2 or more")
    if table.empty:
        raise NoValidData("no chips to divide into folds; choose another split or folder")
    check_trainable(table)
    labels = table["label"].unique()
    if len(labels) < 2:
        raise DataError(
            f"all {len(table)} chips that may teach are labelled {labels[0]} (1 mine, 0 none); a "
            "detector learns from both, so add chips of the other label"
        )
    kinds = table["source"].astype(str) + "/" + table["label"].astype(str)
    sources = kinds.groupby(table["group"]).first()
    shuffled = sources.sample(frac=1, random_state=seed)
    fold_of_group = shuffled.groupby(shuffled).cumcount() % n_folds
    folds = table["group"].map(fold_of_group).astype(np.int64).rename("fold")
    check_folds(table, folds)
    labels_in_fold = table["label"].groupby(folds).nunique().reindex(range(n_folds), fill_value=0)
    lacking = labels_in_fold.index[labels_in_fold < 2]
    if len(lacking):
        raise DataError(
            f"fold {lacking[0]} of {n_folds} has no chips of both labels; "
            "use fewer folds or more chips"
        )
    return folds


def check_folds(table: pd.DataFrame, folds: pd.Series) -> None:
    """Refuse folds of which two share a group.

    Args:
        table: With the column `group`.
        folds: Fold of each chip, on the index of `table`.

    Raises:
        DataError: A group has chips in two folds.
    """
    spread = folds.groupby(table["group"]).nunique()
    leaking = spread.index[spread > 1]
    if len(leaking):
        raise DataError(
            f"{len(leaking)} groups have chips in two folds, such as {leaking[0]}: "
            "a model would be tested on ground it has seen; fold by group"
        )


@dataclass(frozen=True)
class SplitPlan:
    """Which split each chip is in."""

    splits: pd.Series
    """On the index of the table."""
    groups: pd.Series
    """What was kept together."""


def make_splits(
    table: pd.DataFrame,
    groups: pd.Series,
    *,
    shares: Mapping[str, float] | None = None,
    seed: int = 0,
    region: BaseGeometry | None = None,
    margin_m: float = 0.0,
    apart_m: float = 0.0,
) -> SplitPlan:
    """Divide chips into splits of given shares, never a group in two.

    Groups are dealt out from the largest to the smallest, each to the split that then comes
    nearest to its share of all chips, of both labels and of each source.

    Args:
        table: With `group`, `label`, `source`, `lon` and `lat`; the order of rows counts.
        groups: What belongs together besides `table`'s own groups, on its index.
        shares: Of all chips by split, positive, of sum 1; None takes `SHARES`. With a `region`
            the others share what is left of them.
        seed: Of the order of groups of a size.
        region: In longitude and latitude; chips whose centre is in it are the split `test`, and
            nothing else is.
        margin_m: Chips this near to the region, or of a group that is, are `excluded`.
        apart_m: Chips whose squares of this side overlap belong together too: that of a chip
            for those that share ground, a larger one for neighbours.

    Raises:
        ConfigError: Shares that are none, or a region without chips.
        NoValidData: No chips, or nothing left for a split.
        DataError: A chip without a group.
    """
    shares = dict(SHARES if shares is None else shares)
    _check_shares(shares)
    if table.empty:
        raise NoValidData("no chips to divide into splits; choose another folder")
    joined = join_groups(table["group"], groups, ground_groups(table, apart_m))
    splits = pd.Series("", index=table.index, name="split", dtype=object)
    if region is not None:
        inside, near = _in_region(table, region, margin_m)
        tainted = joined.isin(joined[near | inside].unique())
        splits[tainted] = EXCLUDED
        splits[inside] = TEST
        shares.pop(TEST, None)
        total = sum(shares.values())
        if not total:
            raise ConfigError("--test-region leaves no split but test; give shares of others too")
        shares = {name: share / total for name, share in shares.items()}
    open_ = splits == ""
    splits[open_] = _deal_out(table[open_], joined[open_], shares, seed)
    _refuse_empty(splits, [*shares, *([TEST] if region is not None else [])])
    return SplitPlan(splits, joined)


def _check_shares(shares: Mapping[str, float]) -> None:
    if not shares or min(shares.values()) <= 0 or abs(sum(shares.values()) - 1) > 1e-6:
        named = ", ".join(f"{name} {share:g}" for name, share in shares.items()) or "none"
        raise ConfigError(
            f"shares of splits are above 0 and sum up to 1, got {named}; "
            "for example train=0.6,val=0.2,test=0.2"
        )


def _in_region(
    table: pd.DataFrame, region: BaseGeometry, margin_m: float
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    known = located(table)
    lon, lat = table["lon"].to_numpy(np.float64), table["lat"].to_numpy(np.float64)
    inside = known & shapely.intersects_xy(region, lon, lat)
    if not inside.any():
        raise ConfigError(
            f"--test-region: none of the {int(known.sum())} chips with a place lies in it; check "
            "that it is given as longitude, latitude, or choose another region"
        )
    near = np.zeros(len(table), np.bool_)
    rows = np.flatnonzero(known)
    # Degrees of longitude shrink towards the poles: a band of latitude at a time, as wide as it
    # is on the ground, and from both sides of 180 degrees.
    for band, members in pd.Series(rows).groupby(np.floor(lat[rows])):
        shrink = math.cos(math.radians(float(band) + 0.5))
        narrowed = affinity.scale(region, shrink, 1, origin=(0, 0))
        shapely.prepare(narrowed)
        chips = members.to_numpy()
        for turn in (-360, 0, 360):
            points = shapely.points((lon[chips] + turn) * shrink, lat[chips])
            degrees = shapely.distance(narrowed, points)
            near[chips] |= np.radians(degrees) * EARTH_RADIUS_M <= margin_m
    return inside, near


def _deal_out(
    table: pd.DataFrame, groups: pd.Series, shares: Mapping[str, float], seed: int
) -> pd.Series:
    if table.empty:
        raise NoValidData(
            "every chip is in the test region or belongs to one there; choose a smaller region"
        )
    codes, names = pd.factorize(groups)
    strata = _strata(table)
    sizes = np.zeros((len(names), strata.shape[1]))
    np.add.at(sizes, codes, strata)
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-sizes[order, 0], kind="stable")]
    weights = np.concatenate(
        [
            np.full(count, _WEIGHTS[kind] / count)
            for kind, count in (("chips", 1), ("label", 2), ("source", strata.shape[1] - 3))
        ]
    )
    # In shares of each stratum, so that a rare source counts as much as a common one.
    relative = sizes / np.maximum(1, strata.sum(axis=0))
    wanted = np.array(list(shares.values()))[:, None]
    have = np.zeros((len(shares), strata.shape[1]))
    split_of = np.empty(len(names), np.int64)
    for group in order:
        # What the chi-squared distance to the wanted shares grows by if a split takes the group:
        # so all splits fill at one pace, and none has had all mines when the rest is dealt out.
        growth = (relative[group] * (relative[group] + 2 * (have - wanted)) / wanted) @ weights
        split = int(np.argmin(growth))
        have[split] += relative[group]
        split_of[group] = split
    return pd.Series(np.array(list(shares), dtype=object)[split_of[codes]], index=table.index)


def _strata(table: pd.DataFrame) -> FloatArray:
    """(N, 3 + sources): 1 for each chip; for each label; for each source."""
    labels = table["label"].to_numpy()[:, None] == np.array([0, 1])
    codes, sources = pd.factorize(table["source"])
    of_source = codes[:, None] == np.arange(len(sources))
    ones = np.ones((len(table), 1))
    return np.concatenate([ones, labels, of_source], axis=1).astype(np.float64)


def _refuse_empty(splits: pd.Series, wanted: list[str]) -> None:
    empty = [name for name in wanted if not (splits == name).any()]
    if empty:
        raise NoValidData(
            f"no chip is left for split {empty[0]}: there are too few groups, or they are too "
            "large; use smaller blocks, a smaller region or fewer splits"
        )


def leaking_groups(table: pd.DataFrame) -> list[str]:
    """Groups with chips in two splits; those excluded, and those in no split, do not count."""
    used = table[~table["split"].isin(("", EXCLUDED))]
    spread = used.groupby("group")["split"].nunique()
    return [str(name) for name in spread.index[spread > 1]]


def leaking_pairs(table: pd.DataFrame, side_m: float) -> pd.DataFrame:
    """Pairs of chips of two splits that share ground, as their places say.

    Args:
        table: With `lon`, `lat` and `split`.
        side_m: Side of a chip.

    Returns:
        Columns `one` and `other` (positions in `table`) and `distance_m`, the nearest first.
    """
    usable = located(table) & ~table["split"].isin(("", EXCLUDED)).to_numpy()
    rows = np.flatnonzero(usable)
    places = table[["lon", "lat"]].to_numpy(np.float64)[rows]
    pairs, distances = overlapping_pairs(places[:, 0], places[:, 1], side_m)
    one, other = rows[pairs[:, 0]], rows[pairs[:, 1]]
    splits = table["split"].to_numpy()
    apart = splits[one] != splits[other]
    near = {"one": one[apart], "other": other[apart], "distance_m": distances[apart]}
    return pd.DataFrame(near).sort_values("distance_m", kind="stable", ignore_index=True)


def refuse_leaks(table: pd.DataFrame, chip_m: float = 0.0) -> None:
    """Refuse splits that share a place.

    Args:
        table: Of a data set: `chip_id`, `group`, `split`, `lon`, `lat`.
        chip_m: Side of a chip; those that overlap show the same ground. 0 trusts groups.

    Raises:
        DataError: A group, or a place, has chips in two splits.
    """
    groups = leaking_groups(table)
    if groups:
        raise DataError(
            f"{len(groups)} groups have chips in two splits, such as {groups[0]}: a model would "
            "be tested on ground it has seen; split again (sluice labels split)"
        )
    pairs = leaking_pairs(table, chip_m) if chip_m > 0 else pd.DataFrame()
    if len(pairs):
        chips = table["chip_id"].to_numpy()
        one, other = chips[pairs["one"].iloc[0]], chips[pairs["other"].iloc[0]]
        raise DataError(
            f"{len(pairs)} pairs of chips of two splits overlap, such as {one} and {other} "
            f"({pairs['distance_m'].iloc[0]:.0f} m between centres): the test would not be new "
            "ground; split again (sluice labels split)"
        )


def index_path(folder: Path) -> Path:
    """The table of a data set's chips, or of a folder of chip sheets.

    Raises:
        ItemNotFound: It is neither.
    """
    for name in (INDEX_FILE, TABLE_NAME):
        if (folder / name).is_file():
            return folder / name
    raise ItemNotFound(
        f"{folder}: holds neither {INDEX_FILE} nor {TABLE_NAME}; give a folder of labelled chips",
        href=str(folder),
    )


def read_raw_index(folder: Path) -> pd.DataFrame:
    """The table of a data set's chips as it is written, all columns as texts.

    Raises:
        ItemNotFound: The folder is no data set.
        AssetReadError: Not readable as CSV.
    """
    path = index_path(folder)
    try:
        raw: pd.DataFrame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, OSError) as err:
        raise AssetReadError(f"{path}: not a CSV table ({err})", href=str(path)) from err
    return raw


def write_splits(folder: Path, splits: pd.Series) -> Path:
    """Put the splits into a data set's table; the file is replaced as a whole.

    Args:
        folder: Of the data set; other columns stay as they are, letter for letter.
        splits: In the order of the table's rows.

    Raises:
        DataError: Another number of rows: somebody else wrote meanwhile.
        OSError: The folder cannot be written.
    """
    path = index_path(folder)
    raw = read_raw_index(folder)
    if len(raw) != len(splits):
        raise DataError(
            f"{path}: has {len(raw)} rows, {len(splits)} were split; run it again", href=str(path)
        )
    raw["split"] = splits.to_numpy()
    with write_whole(path) as part:
        raw.to_csv(part, index=False, lineterminator="\n")
    return path
