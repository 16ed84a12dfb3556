"""Cells with ready features: names of places, files, and joins by place."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.base.errors import AssetReadError, ConfigError, DataError, ItemNotFound, NoValidData
from sluice.labels.cells import (
    format_image_id,
    join_covariates,
    join_labels,
    nearest_cell,
    parse_image_id,
    read_cell_table,
    read_covariates,
    spatial_blocks,
)


@given(st.floats(-180, 180), st.floats(-90, 90), st.integers(1, 12))
def test_an_image_id_keeps_its_place(lon: float, lat: float, decimals: int) -> None:
    name = format_image_id(lon, lat, decimals)
    assert "." not in name
    found = parse_image_id(name)
    assert found == pytest.approx((lon, lat), abs=0.51 * 10**-decimals)
    assert parse_image_id(f"sl_2020/tile_{name}.tif") == found


@pytest.mark.parametrize(
    ("image_id", "place"),
    [
        ("lat_8--4653__lon_-11--7799", (-11.7799, 8.4653)),
        ("lat_-0--05__lon_+0--5", (0.5, -0.05)),
        ("lat_7__lon_-12", (-12, 7)),
        ("lat_7.5__lon_-12.25", (-12.25, 7.5)),
        ("lat_7--5__lon_-12--25.tif", (-12.25, 7.5)),
    ],
)
def test_image_ids_of_known_places(image_id: str, place: tuple[float, float]) -> None:
    assert parse_image_id(image_id) == pytest.approx(place)


@pytest.mark.parametrize(
    "image_id", ["", "lat_8--4", "lon_1__lat_2", "lat_8--4__lon_", "lat_a__lon_b", "lat_1-2__lon_3"]
)
def test_other_image_ids_are_refused(image_id: str) -> None:
    with pytest.raises(DataError, match="names no place"):
        parse_image_id(image_id)


def made_cells(**columns: object) -> pd.DataFrame:
    return pd.DataFrame(
        {"lon": [0.0, 0.01, 0.0], "lat": [0.0, 0.0, 0.01], "f0": [1.0, 2.0, 3.0], "f1": [4, 5, 6]}
    ).assign(**columns)


@pytest.mark.parametrize("suffix", [".feather", ".parquet", ".csv"])
@pytest.mark.parametrize("by_id", [True, False])
def test_every_format_gives_the_same_table(tmp_path: Path, suffix: str, *, by_id: bool) -> None:
    table = made_cells()
    if by_id:
        ids = [format_image_id(x, y) for x, y in zip(table["lon"], table["lat"], strict=True)]
        table = table.drop(columns=["lon", "lat"]).assign(image_id=ids)
    path = tmp_path / f"features{suffix}"
    if suffix == ".csv":
        table.to_csv(path)  # with an index, which is no feature
    else:
        getattr(table, f"to_{suffix[1:]}")(path)
    found = read_cell_table(path)
    assert found.names == ("f0", "f1")
    assert found.values.dtype == np.float32
    assert found.values.tolist() == [[1, 4], [2, 5], [3, 6]]
    assert np.allclose(found.cells[["lon", "lat"]], made_cells()[["lon", "lat"]])
    assert found.cells["id"].iloc[1] == "lat_0--000000__lon_0--010000"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"f0": [1.0, np.nan, 2.0]}, "feature f0 is nan"),
        ({"f0": [1.0, 2.0, np.inf]}, "feature f0 is inf"),
        ({"f0": ["a", "b", "c"]}, "is no feature"),
        ({"lon": [0.0, 0.0, 0.0], "lat": [0.0, 0.0, 1.0]}, "repeat the lon and lat"),
        ({"image_id": ["a", "a", "b"]}, "repeat the id"),
        ({"lon": [10.0, 20.0, 30.0], "lat": [95.0, 96.0, 97.0]}, "lon and lat are exchanged"),
        ({"lon": [4e5, 5e5, 6e5]}, "reproject"),
        ({"lon": [0.0, None, 1.0]}, "missing in 1 rows"),
        ({"lon": ["a", "b", "c"]}, "holds no numbers"),
    ],
)
def test_bad_features_are_named(tmp_path: Path, columns: dict[str, object], message: str) -> None:
    made_cells(**columns).to_parquet(tmp_path / "features.parquet")
    with pytest.raises(DataError, match=message):
        read_cell_table(tmp_path / "features.parquet")


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    with pytest.raises(ItemNotFound):
        read_cell_table(tmp_path / "none.feather")
    for name in ("features.feather", "features.parquet", "features.pkl"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(AssetReadError):
            read_cell_table(tmp_path / name)
    made_cells()[["f0"]].to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(DataError, match="lon and lat"):
        read_cell_table(tmp_path / "a.csv")
    made_cells()[["lon", "lat"]].to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(NoValidData, match="add features"):
        read_cell_table(tmp_path / "b.csv")
    made_cells().iloc[:0].to_parquet(tmp_path / "c.parquet")
    with pytest.raises(NoValidData, match="no rows"):
        read_cell_table(tmp_path / "c.parquet")


def test_labels_go_to_the_cell_they_lie_in() -> None:
    cells = pd.DataFrame({"id": list("abc"), "lon": [0.0, 0.01, 0.02], "lat": 0.0})
    points = pd.DataFrame(
        {
            "lon": [0.001, -0.005, 0.012, 0.009, 0.03, 0.02],
            "lat": [0.001, 0.005, 0.0, 0.0, 0.0, 0.0051],
            "label": [0, 1, 0, 0, 1, 1],
        }
    )
    found = join_labels(points, cells)
    # The corner of a belongs to it; the last two lie outside every cell, if only just.
    assert found.table["id"].tolist() == ["a", "b"]
    assert found.table["label"].tolist() == [1, 0], "any mine makes a cell one"
    assert found.table["labels_in_cell"].tolist() == [2, 2]
    assert (found.outside, found.mixed) == (2, 1)
    # Where cells overlap, the nearest centre alone gets the label.
    assert nearest_cell(points, cells, 0.05).tolist() == [0, 0, 1, 1, 2, 2]


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=30))
def test_joins_agree_with_a_plain_search(places: list[tuple[int, int]]) -> None:
    cells = pd.DataFrame(
        [(x / 100, y / 100) for x in range(3) for y in range(3)], columns=["lon", "lat"]
    )
    # Off the edges, where rounding decides.
    points = pd.DataFrame([(x / 1500 + 1e-5, y / 1500 + 1e-5) for x, y in places])
    points.columns = ["lon", "lat"]
    found = nearest_cell(points, cells, 0.004)
    for (lon, lat), cell in zip(points.to_numpy(), found, strict=True):
        far = np.maximum(abs(cells["lon"] - lon), abs(cells["lat"] - lat))
        assert (cell == -1) == (far.min() > 0.004)
        assert cell == -1 or far[cell] == far.min()


def test_a_join_that_finds_nothing_says_why() -> None:
    cells = pd.DataFrame({"id": ["a"], "lon": [-11.0], "lat": [8.0]})
    exchanged = pd.DataFrame({"lon": [8.0], "lat": [-11.0], "label": [1]})
    with pytest.raises(NoValidData, match="lon and lat exchanged"):
        join_labels(exchanged, cells)
    with pytest.raises(NoValidData, match="same country"):
        join_labels(exchanged.assign(lat=0.0), cells)
    with pytest.raises(ConfigError, match="above 0"):
        join_labels(exchanged, cells, 0)


def test_covariates_by_id_and_by_place(tmp_path: Path) -> None:
    cells = pd.DataFrame({"id": ["a", "b", "c"], "lon": [0.0, 0.01, 0.02], "lat": 0.0})
    table = pd.DataFrame(
        {
            "image_id": ["c", "a", "x"],
            "lon": [0.5, 0.6, 0.7],
            "lat": 0.0,
            "river_km": [3, 1, 9],
            "geology": ["schist", None, "gneiss"],
            "protected": [True, False, True],
        }
    )
    table.to_parquet(tmp_path / "more.parquet")
    joined = join_covariates(read_covariates(tmp_path / "more.parquet"), cells)
    assert joined["river_km"].tolist()[::2] == [1, 3]
    assert np.isnan(joined["river_km"].iloc[1])
    assert joined["geology"].iloc[2] == "schist"
    assert joined["geology"].iloc[:2].isna().all()
    assert joined["protected"].iloc[0] == "False", "yes and no are categories"

    by_place = table.drop(columns="image_id").assign(lon=[0.018, 0.0, 0.9])
    by_place.to_csv(tmp_path / "more.csv", index=False)
    joined = join_covariates(read_covariates(tmp_path / "more.csv"), cells)
    assert joined["river_km"].tolist()[::2] == [1, 3]
    with pytest.raises(NoValidData, match="neither by id nor"):
        join_covariates(read_covariates(tmp_path / "more.csv"), cells.assign(lat=5.0))


def test_bad_covariates_are_named(tmp_path: Path) -> None:
    path = tmp_path / "more.csv"
    made_cells(f0=7.0).to_csv(path, index=False)
    with pytest.raises(DataError, match="f0 is the same everywhere"):
        read_covariates(path)
    made_cells(id=[1, 2, 3]).to_csv(path, index=False)
    with pytest.raises(DataError, match="cannot be named 'id'"):
        read_covariates(path)
    made_cells()[["lon", "lat"]].to_csv(path, index=False)
    with pytest.raises(NoValidData, match="add covariates"):
        read_covariates(path)


@given(st.floats(-179, 179), st.floats(-89, 89), st.sampled_from([0.1, 0.25, 1.0]))
def test_blocks_are_squares_counted_from_zero(lon: float, lat: float, side: float) -> None:
    (name,) = spatial_blocks(np.array([lon]), np.array([lat]), side)
    row, column = map(int, name.split(","))
    assert column * side <= lon + 1e-9
    assert lon < (column + 1) * side + 1e-9
    assert row * side <= lat + 1e-9
    assert lat < (row + 1) * side + 1e-9


def test_blocks_need_a_side() -> None:
    with pytest.raises(ConfigError, match="above 0"):
        spatial_blocks(np.zeros(1), np.zeros(1), 0)
