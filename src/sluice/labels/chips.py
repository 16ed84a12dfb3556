"""Chip sheets: `chips.csv` names the chips, `grids/*.png` hold their pixels side by side.

The form is Earth Genome's (earthrise-media/mining-detector): a byte is
``clip(DN / 3000, 0, 1) * 255`` of a Sentinel-2 composite, bands red, green, blue, and 0 in all
three where nothing was observed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image, UnidentifiedImageError

from sluice.base.errors import AssetReadError, DataError, ItemNotFound, NoValidData
from sluice.labels.kinds import place_kind

TABLE_NAME = "chips.csv"
SHEET_FOLDER = "grids"
CHIP_BANDS = ("red", "green", "blue")
"""STAC common names, in the order of the last axis."""
FULL_SCALE_REFLECTANCE = 0.3
"""Reflectance of byte 255: DN 3000 at 10,000 a unit. Brighter surfaces are cut to it."""

_REQUIRED = ("grid", "cell", "row", "col", "label", "source")
_WHOLE_NUMBERS = ("cell", "row", "col", "label")
_NUMBERS = ("clear_threshold", "lon", "lat")
_DATES = ("start", "end")

ChipBytes = npt.NDArray[np.uint8]


def read_chip_table(folder: Path | str) -> pd.DataFrame:
    """Read and check `chips.csv`.

    Args:
        folder: Holds `chips.csv` and `grids/`.

    Returns:
        A row for each chip, in the file's order, index 0..N-1, with

        - `grid` (sheet), `cell`, `row`, `col` (int64; place in the sheet, in chips);
        - `label` (int64; 1 mine, 0 none), `source` (the set it came from);
        - `clear_threshold`, `lon`, `lat` (float64, NaN where unknown);
        - `start`, `end` (datetime64, NaT where unknown);
        - `group` (chips that share ground or pixels; each chip its own where the file has none);
        - `split` (`""` where the file has none);
        - `chip_id` (of sheet and cell), `kind` (of place, from `source`) and `sheet_cols` (chips
          in a row of the sheet), all derived here.

    Raises:
        ItemNotFound: No such table.
        AssetReadError: Not readable as CSV.
        DataError: A column is missing, or holds what it should not.
        NoValidData: No rows.
    """
    path = Path(folder) / TABLE_NAME
    if not path.is_file():
        raise ItemNotFound(
            f"{path}: no such file; give a folder with {TABLE_NAME} and {SHEET_FOLDER}/",
            href=str(path),
        )
    try:
        table = pd.read_csv(path, dtype={"grid": str, "source": str, "split": str})
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, OSError) as err:
        raise AssetReadError(f"{path}: not a CSV table ({err})", href=str(path)) from err
    href = str(path)
    _check_columns(table, href)
    for column in _WHOLE_NUMBERS:
        table[column] = _whole_numbers(table[column], href)
    for column in _NUMBERS:
        table[column] = _numbers(table, column, href)
    for column in _DATES:
        table[column] = _dates(table, column, href)
    if "group" not in table:
        table["group"] = np.arange(len(table), dtype=np.int64)
    table["split"] = table["split"].fillna("") if "split" in table else ""
    _check_rows(table, href)
    table["chip_id"] = table["grid"].str.removesuffix(".png") + "-" + table["cell"].astype(str)
    table["kind"] = table["source"].map(place_kind)
    table["sheet_cols"] = _sheet_columns(table, href)
    return table


def load_chips(folder: Path | str, table: pd.DataFrame) -> ChipBytes:
    """Cut chips out of their sheets.

    Args:
        folder: Holds `grids/`.
        table: `read_chip_table` of that folder, or some of its rows.

    Returns:
        (N, side, side, 3) uint8, red, green, blue, in the order of `table`; 0 in all three is
        no data. The side in pixels follows from the sheets (48 in Earth Genome's).

    Raises:
        ItemNotFound: A sheet is missing.
        AssetReadError: A sheet is damaged, blank, or smaller than the table says.
        DataError: Chips of different sides.
        NoValidData: `table` has no rows.
    """
    if table.empty:
        raise NoValidData(f"{folder}: no chips chosen; choose another split or folder")
    chips: ChipBytes = np.empty((0, 0, 0, len(CHIP_BANDS)), dtype=np.uint8)
    for grid, members in pd.Series(np.arange(len(table))).groupby(table["grid"].to_numpy()):
        path = Path(folder) / SHEET_FOLDER / str(grid)
        sheet = _read_sheet(path)
        rows, cols = (table[axis].to_numpy()[members] for axis in ("row", "col"))
        sheet_cols = int(table["sheet_cols"].iloc[members.iloc[0]])
        side = _chip_side(sheet, sheet_cols, int(rows.max()), path)
        if not chips.size:
            chips = np.empty((len(table), side, side, len(CHIP_BANDS)), dtype=np.uint8)
        if chips.shape[1] != side:
            raise DataError(
                f"{path}: its chips are {side} px wide, those of other sheets "
                f"{chips.shape[1]} px; keep chips of different sides in different folders",
                href=str(path),
            )
        for at, row, col in zip(members, rows, cols, strict=True):
            chips[at] = sheet[row * side : (row + 1) * side, col * side : (col + 1) * side]
    return chips


def chip_reflectance(chips: ChipBytes) -> npt.NDArray[np.float32]:
    """Bytes to reflectance.

    Args:
        chips: (..., 3) uint8, the bands last.

    Returns:
        Same shape, float32, unitless 0 to 0.3 (brighter was cut when the sheets were made);
        NaN in all bands where all three bytes are 0, since that is how the sheets mark a pixel
        that was not observed. One or two zeros are dark water or forest, and stay 0.
    """
    reflectance: npt.NDArray[np.float32] = chips * np.float32(FULL_SCALE_REFLECTANCE / 255)
    reflectance[~chips.any(axis=-1)] = np.nan
    return reflectance


def _check_columns(table: pd.DataFrame, href: str) -> None:
    missing = [column for column in _REQUIRED if column not in table]
    if missing:
        raise DataError(
            f"{href}: column {', '.join(missing)} is missing; found: "
            f"{', '.join(map(str, table.columns)) or 'none'}. Add it",
            href=href,
        )
    if table.empty:
        raise NoValidData(f"{href}: has no rows; list the chips in it", href=href)
    holders = [*_REQUIRED, *(["group"] if "group" in table else [])]
    for column in holders:
        empty = table[column].isna()
        if empty.any():
            raise DataError(
                f"{href}: {column} is empty in line {_line(empty)}; fill it in", href=href
            )


def _check_rows(table: pd.DataFrame, href: str) -> None:
    checks = {
        "label is neither 0 (no mine) nor 1 (mine)": ~table["label"].isin((0, 1)),
        "cell, row or col is negative": (table[["cell", "row", "col"]] < 0).any(axis=1),
        # A name with a folder in it could reach files outside the chip folder.
        "grid is not a plain .png file name": ~table["grid"].str.fullmatch(r"[^/\\:]+\.png"),
        "grid and cell name a chip twice": table.duplicated(["grid", "cell"]),
    }
    for what, wrong in checks.items():
        if wrong.any():
            raise DataError(
                f"{href}: {what} in line {_line(wrong)} ({int(wrong.sum())} such); correct it",
                href=href,
            )


def _whole_numbers(values: pd.Series, href: str) -> pd.Series:
    numbers = pd.to_numeric(values, errors="coerce")
    wrong = numbers.isna() | (numbers % 1 != 0)
    if wrong.any():
        raise DataError(
            f"{href}: {values.name} in line {_line(wrong)} is {values[wrong].iloc[0]!r}, "
            "not a whole number; correct it",
            href=href,
        )
    return numbers.astype(np.int64)


def _numbers(table: pd.DataFrame, column: str, href: str) -> pd.Series:
    if column not in table:
        return pd.Series(np.nan, index=table.index)
    numbers = pd.to_numeric(table[column], errors="coerce").astype(np.float64)
    _refuse_unparsed(table[column], numbers, "a number", href)
    return numbers


def _dates(table: pd.DataFrame, column: str, href: str) -> pd.Series:
    if column not in table:
        return pd.Series(pd.NaT, index=table.index)
    dates = pd.to_datetime(table[column], format="%Y-%m-%d", errors="coerce")
    _refuse_unparsed(table[column], dates, "a date like 2024-01-31", href)
    return dates


def _refuse_unparsed(given: pd.Series, parsed: pd.Series, wanted: str, href: str) -> None:
    wrong = parsed.isna() & given.notna()
    if wrong.any():
        raise DataError(
            f"{href}: {given.name} in line {_line(wrong)} is {given[wrong].iloc[0]!r}, "
            f"not {wanted}; correct it or leave it empty",
            href=href,
        )


def _line(wrong: pd.Series) -> int:
    """Line of the first True in the file, the header being line 1."""
    return int(np.flatnonzero(wrong.to_numpy())[0]) + 2


def _sheet_columns(table: pd.DataFrame, href: str) -> pd.Series:
    """Chips in a row of each chip's sheet: ``cell = row * columns + col`` tells it.

    A sheet of one row is as wide as its last chip says.
    """
    below = table["row"] > 0
    told = ((table["cell"] - table["col"]) / table["row"].where(below)).groupby(table["grid"])
    last = table.groupby("grid")["col"].transform("max")
    columns = told.transform("median").fillna(last + 1)
    wrong = (table["cell"] != table["row"] * columns + table["col"]) | (columns <= last)
    if wrong.any():
        raise DataError(
            f"{href}: cell, row and col contradict each other in line {_line(wrong)}; "
            "cells count along the rows of a sheet, from 0",
            href=href,
        )
    return columns.astype(np.int64)


def _read_sheet(path: Path) -> ChipBytes:
    if not path.is_file():
        raise ItemNotFound(
            f"{path}: this sheet of chips is missing; restore it or drop its rows from "
            f"{TABLE_NAME}",
            href=str(path),
        )
    try:
        # The format by name: PIL would otherwise try every decoder it has on the file.
        with Image.open(path, formats=["PNG"]) as image:
            mode = image.mode
            sheet = np.asarray(image)
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as err:
        raise AssetReadError(
            f"{path}: not a readable PNG ({err}); fetch the sheet again", href=str(path)
        ) from err
    if mode != "RGB":
        raise AssetReadError(
            f"{path}: a sheet holds 8-bit red, green and blue, this one is {mode}; "
            "write it again as RGB",
            href=str(path),
        )
    if not sheet.any():
        raise AssetReadError(
            f"{path}: every pixel of this sheet is 0; fetch the sheet again", href=str(path)
        )
    return sheet


def _chip_side(sheet: ChipBytes, sheet_cols: int, last_row: int, path: Path) -> int:
    height: int = sheet.shape[0]
    width: int = sheet.shape[1]
    side, rest = divmod(width, sheet_cols)
    if rest or side == 0 or (last_row + 1) * side > height:
        raise AssetReadError(
            f"{path}: {width} x {height} px do not hold {sheet_cols} chips in a row and "
            f"{last_row + 1} rows of them; fetch the sheet again or correct {TABLE_NAME}",
            href=str(path),
        )
    return side
