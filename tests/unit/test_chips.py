"""Chip sheets against sheets that the tests draw, and against the real ones."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sluice.base.errors import AssetReadError, DataError, ItemNotFound, NoValidData
from sluice.labels.chips import chip_reflectance, load_chips, read_chip_table
from sluice.labels.kinds import place_kind

SIDE = 6


def draw_folder(folder: Path, chips_in_sheet: dict[str, int], columns: int) -> np.ndarray:
    """Random chips, written as sheets that are `columns` wide; (N, side, side, 3) in file order."""
    rng = np.random.default_rng(0)
    (folder / "grids").mkdir(parents=True)
    rows, pixels = [], []
    for name, count in chips_in_sheet.items():
        across = min(columns, count)
        sheet = np.zeros((-(-count // across) * SIDE, across * SIDE, 3), np.uint8)
        for cell in range(count):
            row, col = divmod(cell, across)
            chip = rng.integers(1, 256, (SIDE, SIDE, 3), dtype=np.uint8)
            sheet[row * SIDE : (row + 1) * SIDE, col * SIDE : (col + 1) * SIDE] = chip
            pixels.append(chip)
            rows.append(
                {"grid": name, "cell": cell, "row": row, "col": col, "label": cell % 2}
                | {"source": f"set of {name}"}
            )
        Image.fromarray(sheet).save(folder / "grids" / name)
    pd.DataFrame(rows).to_csv(folder / "chips.csv", index=False)
    return np.stack(pixels)


def rewrite(folder: Path, **columns: object) -> None:
    table = pd.read_csv(folder / "chips.csv").assign(**columns)
    table.to_csv(folder / "chips.csv", index=False)


def test_chips_come_in_the_order_of_the_table(tmp_path: Path) -> None:
    expected = draw_folder(tmp_path, {"b.png": 7, "a.png": 2}, columns=3)
    table = read_chip_table(tmp_path)
    np.testing.assert_array_equal(load_chips(tmp_path, table), expected)
    shuffled = table.sample(frac=1, random_state=3)
    np.testing.assert_array_equal(load_chips(tmp_path, shuffled), expected[shuffled.index])


def test_a_few_chips_of_a_first_row_are_still_cut_right(tmp_path: Path) -> None:
    expected = draw_folder(tmp_path, {"a.png": 9}, columns=3)
    table = read_chip_table(tmp_path).iloc[[1]]
    np.testing.assert_array_equal(load_chips(tmp_path, table), expected[[1]])


def test_columns_that_are_absent_become_unknown(tmp_path: Path) -> None:
    draw_folder(tmp_path, {"a.png": 4}, columns=2)
    table = read_chip_table(tmp_path)
    assert table["group"].tolist() == [0, 1, 2, 3]
    assert table["split"].tolist() == [""] * 4
    unknown = table[["clear_threshold", "lon", "lat", "start", "end"]]
    assert unknown.isna().all(axis=None)
    assert [str(dtype) for dtype in unknown.dtypes[:3]] == ["float64"] * 3
    assert unknown["start"].dtype.kind == "M"


def test_reflectance_is_linear_and_only_three_zeros_are_no_data() -> None:
    chips = np.array([[0, 0, 0], [0, 0, 255], [51, 0, 0]], np.uint8)
    expected = [[np.nan] * 3, [0, 0, 0.3], [0.06, 0, 0]]
    found = chip_reflectance(chips)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.array(expected), rtol=1e-6)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": [0, 1, 2, 0]}, r"label is neither 0 .* line 4 \(1 such\)"),
        ({"label": [0, "mine", 1, 0]}, "label in line 3 is 'mine'"),
        ({"cell": [0, 1, 1, 3]}, "name a chip twice in line 4"),
        ({"row": [0, 0, 0, 1]}, "contradict each other in line 4"),
        ({"col": [0, 1, 0, -1]}, "negative in line 5"),
        ({"grid": "../a.png"}, "not a plain .png file name in line 2"),
        ({"grid": "C:a.png"}, "not a plain .png file name in line 2"),
        ({"lon": [1.0, "east", 2.0, None]}, "lon in line 3 is 'east'"),
        ({"start": ["2024-01-01", "2024-13-01", None, None]}, "start in line 3"),
        ({"group": [1, 1, None, 2]}, "group is empty in line 4"),
        ({"source": ["x", None, "x", "x"]}, "source is empty in line 3"),
    ],
)
def test_a_wrong_table_is_refused_with_its_line(
    tmp_path: Path, columns: dict[str, object], message: str
) -> None:
    draw_folder(tmp_path, {"a.png": 4}, columns=2)
    rewrite(tmp_path, **columns)
    with pytest.raises(DataError, match=message):
        read_chip_table(tmp_path)


def test_missing_columns_are_named_with_those_found(tmp_path: Path) -> None:
    (tmp_path / "chips.csv").write_text("grid,cell,score\na.png,0,1\n")
    with pytest.raises(DataError, match=r"row, col, label, source is missing; found: grid, cell"):
        read_chip_table(tmp_path)


def test_no_table_an_empty_file_and_no_rows_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ItemNotFound, match=r"chips\.csv"):
        read_chip_table(tmp_path)
    (tmp_path / "chips.csv").touch()
    with pytest.raises(AssetReadError, match="not a CSV table"):
        read_chip_table(tmp_path)
    (tmp_path / "chips.csv").write_text("grid,cell,row,col,label,source\n")
    with pytest.raises(NoValidData, match="no rows"):
        read_chip_table(tmp_path)


def spoil(sheet: Path, how: str) -> None:
    pixels = np.asarray(Image.open(sheet))
    if how == "missing":
        sheet.unlink()
    elif how == "truncated":
        sheet.write_bytes(sheet.read_bytes()[:-200])
    elif how == "no PNG":
        Image.fromarray(pixels).save(sheet, format="BMP")
    elif how == "grey":
        Image.fromarray(pixels[..., 0]).save(sheet)
    elif how == "blank":
        Image.fromarray(np.zeros_like(pixels)).save(sheet)
    elif how == "short":
        Image.fromarray(pixels[:-1]).save(sheet)
    elif how == "narrow":
        Image.fromarray(pixels[:, :-1]).save(sheet)


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ("missing", ItemNotFound, "sheet of chips is missing"),
        ("truncated", AssetReadError, "not a readable PNG"),
        ("no PNG", AssetReadError, "not a readable PNG"),
        ("grey", AssetReadError, "this one is L"),
        ("blank", AssetReadError, "every pixel of this sheet is 0"),
        ("short", AssetReadError, "12 x 11 px do not hold 2 chips in a row and 2 rows"),
        ("narrow", AssetReadError, "11 x 12 px do not hold"),
    ],
)
def test_a_spoilt_sheet_is_named(
    tmp_path: Path, how: str, error: type[Exception], message: str
) -> None:
    draw_folder(tmp_path, {"a.png": 4}, columns=2)
    table = read_chip_table(tmp_path)
    spoil(tmp_path / "grids" / "a.png", how)
    with pytest.raises(error, match=message) as caught:
        load_chips(tmp_path, table)
    assert "a.png" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sheets_of_different_chip_sides_are_refused(tmp_path: Path) -> None:
    draw_folder(tmp_path, {"a.png": 4, "b.png": 4}, columns=2)
    table = read_chip_table(tmp_path)
    Image.fromarray(np.ones((16, 16, 3), np.uint8)).save(tmp_path / "grids" / "b.png")
    with pytest.raises(DataError, match="8 px wide, those of other sheets 6 px"):
        load_chips(tmp_path, table)


def test_kinds_of_place() -> None:
    assert place_kind("riverbank_negatives_bolivia_v2025-08") == "riverbank"
    assert place_kind("v4.10_Q125_cloud_remnant_negatives") == "cloud remnant"
    assert place_kind("v3.4_2023_negatives") == "v3.4_2023_negatives"


def test_the_real_chips(shared_data: Path) -> None:
    folder = shared_data / "amw-chips"
    table = read_chip_table(folder)
    counts = table.groupby("split")["label"].agg(["size", "sum"])
    assert counts.loc["test_caroni"].tolist() == [797, 209]
    assert counts.loc["pool"].tolist() == [8362, 1820]
    assert len(table) == 9281

    caroni = table[table["split"] == "test_caroni"]
    chips = load_chips(folder, caroni)
    assert chips.shape == (797, 48, 48, 3)
    reflectance = chip_reflectance(chips)
    assert np.nanmax(reflectance) == pytest.approx(0.3)
    alone = load_chips(folder, caroni.iloc[[400]])
    np.testing.assert_array_equal(alone[0], chips[400])
