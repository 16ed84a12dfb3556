"""Points that people judged to be mines or not, as a CSV table, with the filters it calls for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sluice.base.errors import AssetReadError, DataError, ItemNotFound, NoValidData

_LON, _LAT = ("lon", "longitude"), ("lat", "latitude")


@dataclass(frozen=True)
class PointFilters:
    """Which judgements to trust; None or an empty tuple turns a filter off."""

    min_inspected: float | None = 0.2
    """A place without a mine counts only if this share of it was inspected."""
    min_confidence: float | None = 3
    """On the labels' own scale."""
    excluded_types: tuple[str, ...] = ("commercial",)
    """Values of `mine_type`, in any case."""


@dataclass(frozen=True)
class MinePoints:
    """What a table of labels holds after the filters."""

    table: pd.DataFrame
    """`lon`, `lat` (degrees), `label` (int64; 1 mine, 0 none) and `mine_type` (`""` where
    unknown); index 0..N-1."""
    dropped: dict[str, int]
    """Rows left out, by the first filter that refused them."""


def read_mine_points(path: Path | str, filters: PointFilters | None = None) -> MinePoints:
    """Read labels in the MOSAIKS form.

    Args:
        path: CSV with `lon`, `lat` (or `longitude`, `latitude`; WGS 84), `label`, and where the
            filters need them `mine_type`, `confidence` and `proportion_inspected`.
        filters: Ours if None. A row without a confidence or, being no mine, without an inspected
            share is refused: nobody vouches for it.

    Raises:
        ItemNotFound: No such file.
        AssetReadError: Not a CSV table.
        DataError: A column is missing or holds what it should not.
        NoValidData: No row, or none passes the filters.
    """
    path, filters = Path(path), filters or PointFilters()
    raw = _read_csv(path)
    place = place_columns(raw.columns.tolist(), href=str(path))
    needed = {
        "label": True,
        "mine_type": bool(filters.excluded_types),
        "confidence": filters.min_confidence is not None,
        "proportion_inspected": filters.min_inspected is not None,
    }
    missing = [column for column, wanted in needed.items() if wanted and column not in raw]
    if missing:
        raise DataError(
            f"{path}: column {', '.join(missing)} is missing; found: "
            f"{', '.join(map(str, raw.columns))}. Add it, or turn its filter off",
            href=str(path),
        )
    lon, lat = (_numbers(raw[column], path, required=True) for column in place)
    check_degrees(lon.to_numpy(), lat.to_numpy(), href=str(path))
    label = _numbers(raw["label"].replace({True: 1, False: 0}), path, required=True)
    wrong = ~label.isin((0, 1))
    if wrong.any():
        raise DataError(
            f"{path}: label in line {_line(wrong)} is {raw['label'][wrong].iloc[0]}, neither "
            "1 (mine) nor 0 (none); correct it",
            href=str(path),
        )
    kinds = raw["mine_type"].astype(object).fillna("").astype(str) if "mine_type" in raw else ""
    table = pd.DataFrame({"lon": lon, "lat": lat, "label": label.astype(int), "mine_type": kinds})
    refused = _refusals(raw, table, filters, path)
    kept = table["label"].notna()
    dropped = {}
    for reason, rows in refused.items():
        dropped[reason] = int((rows & kept).sum())
        kept &= ~rows
    if not kept.any():
        raise NoValidData(
            f"{path}: none of {len(table)} labels passes the filters ({_spell(dropped)}); "
            "loosen them",
            href=str(path),
        )
    return MinePoints(table[kept].reset_index(drop=True), dropped)


def place_columns(columns: list[str], *, href: str) -> tuple[str, str]:
    """Names of the columns of longitude and latitude.

    Raises:
        DataError: One of them is missing.
    """
    found = [next((n for n in names if n in columns), None) for names in (_LON, _LAT)]
    lon, lat = found
    if lon is None or lat is None:
        raise DataError(
            f"{href}: columns lon and lat (WGS 84 degrees) are needed; found: "
            f"{', '.join(map(str, columns[:12]))}{', …' if len(columns) > 12 else ''}. Add them",
            href=href,
        )
    return lon, lat


def check_degrees(
    lon: np.ndarray[tuple[int], np.dtype[np.float64]],
    lat: np.ndarray[tuple[int], np.dtype[np.float64]],
    *,
    href: str,
) -> None:
    """Refuse what cannot be longitude and latitude.

    Raises:
        DataError: Out of range: exchanged, or in a projection.
    """
    wrong = ~((np.abs(lon) <= 180) & (np.abs(lat) <= 90))
    if not wrong.any():
        return
    first = int(np.flatnonzero(wrong)[0])
    exchanged = bool(((np.abs(lat) <= 180) & (np.abs(lon) <= 90)).all())
    remedy = (
        "lon and lat are exchanged: rename the columns"
        if exchanged
        else "these are no degrees: reproject to WGS 84 (EPSG:4326)"
    )
    raise DataError(
        f"{href}: {int(wrong.sum())} places are not on the globe, such as lon {lon[first]:g}, "
        f"lat {lat[first]:g}; {remedy}",
        href=href,
    )


def _refusals(
    raw: pd.DataFrame, table: pd.DataFrame, filters: PointFilters, path: Path
) -> dict[str, pd.Series]:
    refused: dict[str, pd.Series] = {}
    if filters.min_inspected is not None:
        inspected = _numbers(raw["proportion_inspected"], path)
        refused["too little inspected"] = (table["label"] == 0) & ~(
            inspected >= filters.min_inspected
        )
    if filters.excluded_types:
        excluded = {name.strip().casefold() for name in filters.excluded_types}
        refused["excluded type"] = table["mine_type"].str.strip().str.casefold().isin(excluded)
    if filters.min_confidence is not None:
        confidence = _numbers(raw["confidence"], path)
        refused["low confidence"] = ~(confidence >= filters.min_confidence)
    return refused


def _read_csv(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise ItemNotFound(f"{path}: no such file; check the path", href=str(path))
    try:
        raw = pd.read_csv(path)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, OSError) as err:
        raise AssetReadError(f"{path}: not a CSV table ({err})", href=str(path)) from err
    if raw.empty:
        raise NoValidData(f"{path}: has no rows; list the labels in it", href=str(path))
    return raw


def _numbers(values: pd.Series, path: Path, *, required: bool = False) -> pd.Series:
    numbers = pd.to_numeric(values, errors="coerce").astype(np.float64)
    wrong = ~numbers.abs().lt(np.inf) & (values.notna() | required)
    if wrong.any():
        raise DataError(
            f"{path}: {values.name} in line {_line(wrong)} is {values[wrong].iloc[0]}, not a "
            "number; correct it",
            href=str(path),
        )
    return numbers


def _line(wrong: pd.Series) -> int:
    """Line of the first True in the file, the header being line 1."""
    return int(np.flatnonzero(wrong.to_numpy())[0]) + 2


def _spell(dropped: dict[str, int]) -> str:
    return ", ".join(f"{reason}: {count}" for reason, count in dropped.items())
