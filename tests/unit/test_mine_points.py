"""Labels as points: which rows count, and what is refused."""

from pathlib import Path

import pandas as pd
import pytest

from sluice.base.errors import AssetReadError, DataError, ItemNotFound, NoValidData
from sluice.labels.mine_points import PointFilters, read_mine_points

# lon, lat, mine_type, confidence, label, proportion_inspected, kept by our filters
ROWS = [
    (-11.1, 8.1, "artisanal", 5, 1, 0.0, True),  # a mine needs no inspected share
    (-11.2, 8.2, None, 3, 0, 0.2, True),  # both limits are included
    (-11.3, 8.3, None, 4, 0, 0.19, False),
    (-11.4, 8.4, None, 4, 0, None, False),
    (-11.5, 8.5, " Commercial", 5, 1, 1.0, False),
    (-11.6, 8.6, "artisanal", 2, 1, 1.0, False),
    (-11.7, 8.7, "artisanal", None, 1, 1.0, False),
    (-11.8, 8.8, "commercial", 1, 0, 0.0, False),
]
COLUMNS = ["lon", "lat", "mine_type", "confidence", "label", "proportion_inspected"]


def write_rows(folder: Path, **columns: object) -> Path:
    table = pd.DataFrame([row[:-1] for row in ROWS], columns=COLUMNS).assign(**columns)
    table.to_csv(folder / "labels.csv", index=False)
    return folder / "labels.csv"


def test_the_three_filters(tmp_path: Path) -> None:
    found = read_mine_points(write_rows(tmp_path))
    expected = [row[0] for row in ROWS if row[-1]]
    assert found.table["lon"].tolist() == expected
    assert found.table["label"].tolist() == [1, 0]
    assert found.table["mine_type"].tolist() == ["artisanal", ""]
    # The last row fails all three, and is counted once.
    assert found.dropped == {
        "too little inspected": 3,
        "excluded type": 1,
        "low confidence": 2,
    }


def test_filters_can_be_changed_and_turned_off(tmp_path: Path) -> None:
    path = write_rows(tmp_path)
    everything = PointFilters(min_inspected=None, min_confidence=None, excluded_types=())
    assert len(read_mine_points(path, everything).table) == len(ROWS)
    assert len(read_mine_points(path, PointFilters(min_confidence=2)).table) == 3
    assert len(read_mine_points(path, PointFilters(excluded_types=("artisanal",))).table) == 2


def test_a_filter_that_is_off_needs_no_column(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    pd.DataFrame({"longitude": [1.0], "latitude": [2.0], "label": [True]}).to_csv(path, index=False)
    off = PointFilters(min_inspected=None, min_confidence=None, excluded_types=())
    assert read_mine_points(path, off).table["label"].tolist() == [1]
    with pytest.raises(DataError, match="mine_type, confidence, proportion_inspected is missing"):
        read_mine_points(path)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": 2}, "line 2 is 2, neither"),
        ({"label": "mine"}, "not a number"),
        ({"confidence": "high"}, "not a number"),
        ({"lon": [8.0] * 8, "lat": [-101.0] * 8}, "lon and lat are exchanged"),
        ({"lon": 350_000.0, "lat": 900_000.0}, "reproject"),
        ({"lat": None}, "not a number"),
    ],
)
def test_bad_columns_are_named(tmp_path: Path, columns: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_mine_points(write_rows(tmp_path, **columns))


def test_nothing_left_and_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(NoValidData, match="loosen"):
        read_mine_points(write_rows(tmp_path), PointFilters(min_confidence=9))
    with pytest.raises(ItemNotFound):
        read_mine_points(tmp_path / "none.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(AssetReadError):
        read_mine_points(tmp_path / "empty.csv")
    (tmp_path / "head.csv").write_text(",".join(COLUMNS) + "\n")
    with pytest.raises(NoValidData):
        read_mine_points(tmp_path / "head.csv")
    (tmp_path / "place.csv").write_text("x,y,label\n1,2,1\n")
    with pytest.raises(DataError, match="lon and lat"):
        read_mine_points(tmp_path / "place.csv")
