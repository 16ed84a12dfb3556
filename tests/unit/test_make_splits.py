"""Splits that cut no group, have their shares, and keep the test's ground untouched."""

import math

import numpy as np
import pandas as pd
import pyproj
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.base.errors import ConfigError, DataError, NoValidData
from sluice.labels.chips import read_chip_table
from sluice.labels.groups import (
    ground_groups,
    join_groups,
    near_pairs,
    overlapping_pairs,
    spatial_blocks,
)
from sluice.labels.splits import (
    SHARES,
    leaking_pairs,
    make_splits,
    read_raw_index,
    refuse_leaks,
    write_splits,
)


def chips(lon, lat, group=None, label=None, source=None) -> pd.DataFrame:
    count = len(lon)
    return pd.DataFrame(
        {
            "chip_id": [f"c{k}" for k in range(count)],
            "lon": np.asarray(lon, float),
            "lat": np.asarray(lat, float),
            "group": [f"g{k}" for k in range(count)] if group is None else group,
            "label": [k % 2 for k in range(count)] if label is None else label,
            "source": "s" if source is None else source,
            "split": "",
        }
    )


def haversine_m(lon1, lat1, lon2, lat2) -> float:
    a, b = math.radians(lat1), math.radians(lat2)
    h = math.sin((b - a) / 2) ** 2
    h += math.cos(a) * math.cos(b) * math.sin(math.radians(lon2 - lon1) / 2) ** 2
    return 2 * 6_371_007.2 * math.asin(math.sqrt(h))


@settings(max_examples=40)
@given(
    groups=st.lists(st.integers(0, 40), min_size=60, max_size=300),
    seed=st.integers(0, 9),
    calibration=st.booleans(),
)
def test_no_group_is_cut_and_shares_are_near(groups, seed, calibration) -> None:
    # Enough groups of one chip for every split, whatever else there is.
    groups = [*groups, *range(100, 130)]
    table = chips([math.nan] * len(groups), [math.nan] * len(groups), group=groups)
    shares = {"train": 0.5, "val": 0.2, "test": 0.2, "cal": 0.1}
    shares = shares if calibration else SHARES
    plan = make_splits(table, table["group"], shares=shares, seed=seed)
    assert plan.splits.groupby(table["group"]).nunique().max() == 1
    largest = table.groupby("group").size().max() / len(table)
    found = plan.splits.value_counts(normalize=True)
    for name, share in shares.items():
        # Where groups are dealt out by size, none can be farther off than the largest of them.
        assert abs(found[name] - share) <= largest + 0.02
    again = make_splits(table, table["group"], shares=shares, seed=seed)
    pd.testing.assert_series_equal(plan.splits, again.splits)
    refuse_leaks(table.assign(split=plan.splits))


def test_each_split_has_its_share_of_rare_labels_and_sources() -> None:
    rng = np.random.default_rng(3)
    source = rng.choice(["pits", "river", "rare"], 2000, p=[0.3, 0.65, 0.05])
    table = chips(
        [math.nan] * 2000,
        [math.nan] * 2000,
        group=rng.integers(0, 900, 2000),
        label=(source == "pits").astype(int),
        source=source,
    )
    plan = make_splits(table, table["group"])
    for name, share in SHARES.items():
        members = table[plan.splits == name]
        for kind, total in table["source"].value_counts().items():
            assert abs((members["source"] == kind).sum() / total - share) < 0.03


def test_mines_in_large_groups_are_dealt_out_as_evenly_as_others() -> None:
    """Mines in groups of forty, everything else alone: the large groups are dealt out first."""
    group = np.concatenate([np.repeat(np.arange(50), 40), np.arange(50, 8050)])
    label = (group < 50).astype(int)
    table = chips([math.nan] * 10_000, [math.nan] * 10_000, group=group, label=label)
    plan = make_splits(table, table["group"])
    for name, share in SHARES.items():
        members = table[plan.splits == name]
        assert len(members) / 10_000 == pytest.approx(share, abs=0.01)
        assert members["label"].sum() / 2000 == pytest.approx(share, abs=0.025)


def test_places_that_overlap_are_one_group_across_180_degrees_and_years() -> None:
    side = 480 / 111_195
    table = chips([180 - side / 3, -180 + side / 3, 10, 10, 10 + 3 * side, math.nan], [0] * 6)
    found = ground_groups(table, 480)
    assert found.tolist() == [0, 0, 1, 1, 2, 3]
    assert join_groups(found, pd.Series(list("aabbba"))).tolist() == [0, 0, 1, 1, 1, 0]
    with pytest.raises(DataError, match="has no group"):
        join_groups(pd.Series(["a", None], name="group"))


@pytest.mark.parametrize("lat", [0, 30, 60, 79])
@pytest.mark.parametrize("lon", [-54.0, -57.0, -59.9])
def test_cells_side_by_side_do_not_overlap_and_corners_do(lat, lon) -> None:
    """In a zone's middle and at its edge, as its own grid has them."""
    to_utm = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32621", always_xy=True)
    x, y = to_utm.transform(lon, lat)
    steps = np.array([(0, 0), (2560, 0), (0, 2560), (2560, 2560), (-2300, -2300)])
    east, north = to_utm.transform(x + steps[:, 0], y + steps[:, 1], direction="INVERSE")
    pairs, _ = overlapping_pairs(east, north, 2560)
    assert pairs.tolist() == [[0, 4]]


@settings(max_examples=40)
@given(
    places=st.lists(
        st.tuples(st.floats(-180, 180), st.floats(-85, 85)), min_size=2, max_size=12, unique=True
    ),
    reach=st.floats(1_000, 5_000_000),
)
def test_near_pairs_are_those_of_the_plain_formula(places, reach) -> None:
    lon, lat = np.array(places).T
    expected = {
        (a, b)
        for a in range(len(lon))
        for b in range(a + 1, len(lon))
        if haversine_m(lon[a], lat[a], lon[b], lat[b]) < reach
    }
    pairs, distances = near_pairs(lon, lat, reach)
    differing = expected ^ {tuple(pair) for pair in pairs.tolist()}
    for a, b in differing:
        assert haversine_m(lon[a], lat[a], lon[b], lat[b]) == pytest.approx(reach, rel=1e-6)
    for (a, b), distance in zip(pairs, distances, strict=True):
        expected_m = haversine_m(lon[a], lat[a], lon[b], lat[b])
        assert distance == pytest.approx(expected_m, rel=1e-6, abs=0.1)


def test_blocks_hold_the_same_ground_everywhere() -> None:
    rng = np.random.default_rng(1)
    counts = []
    for south in (0, 55):
        # Even over the ground: as many chips in each square kilometre.
        sines = rng.uniform(*np.sin(np.radians([south, south + 5])), 20_000)
        lon, lat = rng.uniform(0, 10, 20_000), np.degrees(np.arcsin(sines))
        blocks = spatial_blocks(chips(lon, lat), 100)
        area = math.radians(10) * (6371.0**2) * np.ptp(sines)
        counts.append(blocks.value_counts().median() / 20_000 * area)
    assert counts == pytest.approx([100 * 100] * 2, rel=0.1)
    table = chips([math.nan, 1, 1.0001], [math.nan, 2, 2], group=["x", "y", "z"])
    found = spatial_blocks(table, 50).tolist()
    assert found[0] == "group x"
    assert found[1] == found[2]
    with pytest.raises(ConfigError, match="above 0"):
        spatial_blocks(table, 0)


def test_a_region_is_held_out_with_a_margin_and_its_groups() -> None:
    rng = np.random.default_rng(5)
    lon, lat = rng.uniform(-60, -50, (2, 600))
    table = chips(lon, lat, group=[f"g{k // 2}" for k in range(600)])
    table["lat"] += 52
    region = shapely.box(-56, -3, -54, 0)
    plan = make_splits(table, table["group"], region=region, margin_m=20_000)
    inside = shapely.intersects_xy(region, table["lon"], table["lat"])
    assert inside.any()
    assert (plan.splits[inside] == "test").all()
    assert not (plan.splits[~inside] == "test").any()
    used = table[plan.splits.isin(["train", "val"])]
    for lon, lat in used[["lon", "lat"]].to_numpy():
        gap = shapely.Point(lon, lat).distance(region)
        assert gap * 111_195 > 20_000 * 0.99
    assert not set(used["group"]) & set(table["group"][inside])
    shares = used.groupby(plan.splits).size() / len(used)
    assert shares["train"] == pytest.approx(0.75, abs=0.02)
    refuse_leaks(table.assign(split=plan.splits), 480)
    with pytest.raises(ConfigError, match="longitude, latitude"):
        make_splits(table, table["group"], region=shapely.box(0, 0, 1, 1))


def test_the_margin_of_a_region_is_measured_on_the_ground() -> None:
    """Far north, and across 180 degrees."""
    metres = 111_195 * math.cos(math.radians(65))
    steps = np.array([-50_000, 4_000, 6_000, 30_000, 40_000, 50_000]) / metres
    lon = (179.98 + steps + 180) % 360 - 180
    table = chips(lon, [65.0] * 6)
    region = shapely.box(170, 64, 179.98, 66)
    plan = make_splits(
        table, table["group"], region=region, margin_m=5000, shares={"train": 0.8, "test": 0.2}
    )
    assert plan.splits.tolist() == ["test", "excluded", *["train"] * 4]


def test_a_planted_leak_is_refused() -> None:
    table = chips([0, 0.001, 3, 4], [0, 0, 0, 0]).assign(split=["train", "test", "train", "test"])
    refuse_leaks(table, 100)
    with pytest.raises(DataError, match=r"1 pairs .* c0 and c1 \(111 m between"):
        refuse_leaks(table, 480)
    assert leaking_pairs(table, 480)[["one", "other"]].to_numpy().tolist() == [[0, 1]]
    refuse_leaks(table.assign(split=["train", "excluded", "train", "test"]), 480)
    with pytest.raises(DataError, match="1 groups have chips in two splits, such as a"):
        refuse_leaks(table.assign(group=["a", "b", "c", "a"]))


def test_shares_that_cannot_be_are_refused() -> None:
    table = chips([0, 1, 2], [0, 0, 0])
    for shares in ({}, {"train": 0.9}, {"train": 1.5, "test": -0.5}):
        with pytest.raises(ConfigError, match="sum up to 1"):
            make_splits(table, table["group"], shares=shares)
    with pytest.raises(NoValidData, match="no chip is left for split"):
        make_splits(table, pd.Series([0, 0, 0]))


def test_only_the_split_column_of_the_file_changes(tmp_path) -> None:
    text = "chip_id,label,country,split,lon\na,1,Ghana,,-1.50\nb,0,NA,old,\n"
    (tmp_path / "index.csv").write_text(text)
    write_splits(tmp_path, pd.Series(["train", "test"]))
    expected = "chip_id,label,country,split,lon\na,1,Ghana,train,-1.50\nb,0,NA,test,\n"
    assert (tmp_path / "index.csv").read_text() == expected
    assert read_raw_index(tmp_path)["country"].tolist() == ["Ghana", "NA"]
    with pytest.raises(DataError, match="2 rows, 1 were split"):
        write_splits(tmp_path, pd.Series(["train"]))
    assert (tmp_path / "index.csv").read_text() == expected


def test_the_real_splits_do_not_leak(shared_data) -> None:
    table = read_chip_table(shared_data / "amw-chips")
    table["chip_id"] = table["grid"]
    refuse_leaks(table, 480)
    plan = make_splits(table, table["group"], apart_m=480)
    refuse_leaks(table.assign(split=plan.splits), 480)
    found = plan.splits.value_counts(normalize=True)
    assert [found[name] for name in SHARES] == pytest.approx(list(SHARES.values()), abs=0.01)
