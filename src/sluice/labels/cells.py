"""Square cells with ready features, and what is joined to them: labels and covariates.

Every join is by place: a point belongs to the cell that it lies in. Where cells overlap, to the
one whose centre is nearest (the largest of the two coordinate differences counts), so that no
label is used twice. Nothing is joined over a distance.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
from scipy.spatial import cKDTree

from sluice.base.arrays import FloatArray, IntArray
from sluice.base.errors import AssetReadError, ConfigError, DataError, ItemNotFound, NoValidData
from sluice.labels.mine_points import check_degrees, place_columns

HALF_SIDE_DEG = 0.005
ID_COLUMN = "image_id"

_NUMBER = r"[+-]?\d+(?:(?:--|\.)\d+)?"
_IMAGE_ID = re.compile(
    rf"(?:.*[/\\_])?lat_(?P<lat>{_NUMBER})__lon_(?P<lon>{_NUMBER})(?:\.[A-Za-z]\w*)?"
)
# What pandas and R write where a table had an index.
_INDEX_COLUMNS = frozenset({"", "index", "level_0", "Unnamed: 0", "__index_level_0__"})
_PLACES = ("lon", "longitude", "lat", "latitude")


@dataclass(frozen=True)
class CellTable:
    """Cells and what is known of each."""

    cells: pd.DataFrame
    """`id` (text), `lon`, `lat` (centre, degrees); index 0..N-1."""
    values: npt.NDArray[np.float32]
    """(N, F) features, all finite."""
    names: tuple[str, ...]
    """Of the features."""


@dataclass(frozen=True)
class JoinedLabels:
    """Labels on cells."""

    table: pd.DataFrame
    """A row for each cell with labels: `cell` (its position), `id`, `lon`, `lat`, `label` (1 where
    any label in it is a mine) and `labels_in_cell`."""
    outside: int
    """Labels that lie in no cell."""
    mixed: int
    """Cells with labels of both kinds."""


def parse_image_id(image_id: str) -> tuple[float, float]:
    """Longitude and latitude of ``lat_8--4653__lon_-11--7799``: `--` is the decimal point.

    A name before `lat_` (ending in `_` or a folder's slash) and a file's suffix are passed over.

    Raises:
        DataError: Not of that form.
    """
    match = _IMAGE_ID.fullmatch(image_id.strip())
    if match is None:
        raise DataError(
            f"{ID_COLUMN} {image_id!r} names no place; lat_8--4653__lon_-11--7799 is the form, or "
            "give columns lon and lat"
        )
    lon, lat = (float(match[axis].replace("--", ".")) for axis in ("lon", "lat"))
    return lon, lat


def format_image_id(lon: float, lat: float, decimals: int = 6) -> str:
    """The name that `parse_image_id` reads."""
    return f"lat_{lat:.{decimals}f}__lon_{lon:.{decimals}f}".replace(".", "--")


def read_cell_table(path: Path | str) -> CellTable:
    """Read ready features.

    Args:
        path: Feather, Parquet or CSV. Places are columns `lon` and `lat`, or else an `image_id`;
            every other column is a feature, except an index that was written along.

    Raises:
        ItemNotFound: No such file.
        AssetReadError: Not a table of that kind.
        DataError: No places, a column of text, two cells with one id or place, or NaN.
        NoValidData: No rows or no features.
    """
    path = Path(path)
    raw = _read_table(path)
    cells, used = _cells(raw, path)
    names = [name for name in raw.column_names if name not in used | _INDEX_COLUMNS]
    texts = [n for n in names if not _is_number(raw.schema.field(n).type)]
    if texts:
        raise DataError(
            f"{path}: column {', '.join(texts[:3])} holds no numbers and is no feature; leave it "
            "out, or give it in a table of covariates",
            href=str(path),
        )
    if not names:
        raise NoValidData(f"{path}: has no columns beside the places; add features", href=str(path))
    values = np.empty((raw.num_rows, len(names)), np.float32)
    for column, name in enumerate(names):
        # A gap becomes NaN, and is then named.
        values[:, column] = raw.column(name).to_numpy()
    bad = ~np.isfinite(values)
    if bad.any():
        row, column = (int(axis[0]) for axis in np.nonzero(bad))
        raise DataError(
            f"{path}: feature {names[column]} is {values[row, column]} for {cells['id'][row]} "
            f"({int(bad.any(axis=1).sum())} cells have such gaps); leave those cells or features "
            "out",
            href=str(path),
        )
    return CellTable(cells, values, tuple(names))


def read_covariates(path: Path | str) -> pd.DataFrame:
    """Read what else is known of places: distance to a river, geology, income.

    Args:
        path: Feather, Parquet or CSV, with `image_id` or `lon` and `lat`; every other column is a
            covariate, text is a category.

    Returns:
        `id`, `lon`, `lat` and the covariates (float64, or text with None for gaps).

    Raises:
        SluiceError: As `read_cell_table`; gaps are allowed here.
    """
    path = Path(path)
    raw = _read_table(path)
    cells, used = _cells(raw, path)
    names = [name for name in raw.column_names if name not in used | _INDEX_COLUMNS]
    if not names:
        raise NoValidData(
            f"{path}: has no columns beside the places; add covariates", href=str(path)
        )
    for name in names:
        if name in cells:
            raise DataError(f"{path}: a covariate cannot be named {name!r}; rename it")
        column = raw.column(name)
        if _is_number(column.type) and not pa.types.is_boolean(column.type):
            numbers = column.to_numpy().astype(np.float64)
            cells[name] = np.where(np.isfinite(numbers), numbers, np.nan)
        else:
            texts = column.to_pandas().astype(object)
            cells[name] = texts.map(str).where(texts.notna(), None).astype(object)
        if cells[name].nunique() < 2:
            raise DataError(
                f"{path}: covariate {name} is the same everywhere and tells nothing; leave it out",
                href=str(path),
            )
    return cells


def join_labels(
    points: pd.DataFrame, cells: pd.DataFrame, half_side_deg: float = HALF_SIDE_DEG
) -> JoinedLabels:
    """Give each label to the cell it lies in.

    A cell with several labels holds a mine if any of them says so.

    Args:
        points: `lon`, `lat`, `label`.
        cells: `id`, `lon`, `lat`, index 0..N-1.
        half_side_deg: Half of a cell's side; its edge belongs to it.

    Raises:
        ConfigError: A half side that is not above 0.
        NoValidData: No label lies in any cell.
    """
    cell = nearest_cell(points, cells, half_side_deg)
    inside = cell >= 0
    if not inside.any():
        exchanged = points.rename(columns={"lon": "lat", "lat": "lon"})
        hint = (
            "with lon and lat exchanged some would: rename the columns of one table"
            if (nearest_cell(exchanged, cells, half_side_deg) >= 0).any()
            else "check that both tables are of the same country and in degrees"
        )
        raise NoValidData(
            f"none of {len(points)} labels lies in one of {len(cells)} cells of "
            f"{2 * half_side_deg:g} degrees; {hint}"
        )
    grouped = points.loc[inside, "label"].groupby(cell[inside])
    table = cells.loc[grouped.max().index, ["id", "lon", "lat"]].copy()
    table.insert(0, "cell", table.index)
    table["label"], table["labels_in_cell"] = grouped.max(), grouped.size()
    mixed = int((grouped.max() != grouped.min()).sum())
    return JoinedLabels(table.reset_index(drop=True), int((~inside).sum()), mixed)


def join_covariates(
    covariates: pd.DataFrame, cells: pd.DataFrame, half_side_deg: float = HALF_SIDE_DEG
) -> pd.DataFrame:
    """Covariates of each cell: by id where the tables share any, else by place.

    Args:
        covariates: From `read_covariates`.
        cells: `id`, `lon`, `lat`, index 0..N-1.
        half_side_deg: Half of a cell's side. By place, a cell takes the row that lies in it
            nearest to its centre.

    Returns:
        The covariates' columns, index as `cells`; NaN or None where no row belongs to a cell.

    Raises:
        NoValidData: No cell has a row.
    """
    if cells["id"].isin(covariates["id"]).any():
        row = pd.Index(covariates["id"]).get_indexer(cells["id"])
    else:
        row = nearest_cell(cells, covariates, half_side_deg)
    if (row < 0).all():
        raise NoValidData(
            f"none of {len(cells)} cells has a row of covariates, neither by id nor within "
            f"{half_side_deg:g} degrees; check that both tables are of the same country"
        )
    joined = covariates.drop(columns=["id", "lon", "lat"]).reset_index(drop=True)
    # Position -1 is no label of the index, so such rows come out empty.
    return joined.reindex(row).set_axis(cells.index)


def nearest_cell(points: pd.DataFrame, cells: pd.DataFrame, half_side_deg: float) -> IntArray:
    """Position of the cell that each point lies in, -1 where none does.

    Args:
        points: `lon`, `lat`.
        cells: `lon`, `lat` of the centres.
        half_side_deg: Half of a cell's side.

    Raises:
        ConfigError: A half side that is not above 0.
    """
    if not half_side_deg > 0:
        raise ConfigError(f"half a cell's side must be above 0 degrees, got {half_side_deg}")
    tree = cKDTree(cells[["lon", "lat"]].to_numpy())
    # The margin keeps points on the edge inside whatever the rounding.
    reach = half_side_deg * (1 + 1e-6)
    _, found = tree.query(points[["lon", "lat"]].to_numpy(), p=np.inf, distance_upper_bound=reach)
    return np.where(found < len(cells), found, -1).astype(np.int64)


def spatial_blocks(lon: FloatArray, lat: FloatArray, side_deg: float) -> npt.NDArray[np.str_]:
    """Name of the square that each place lies in, for splits by place.

    Args:
        lon: (N,) degrees.
        lat: (N,) degrees.
        side_deg: Side of the squares; they are counted from 0, 0.

    Raises:
        ConfigError: A side that is not above 0.
    """
    if not side_deg > 0:
        raise ConfigError(f"the side of a block must be above 0 degrees, got {side_deg}")
    column, row = (np.floor(axis / side_deg).astype(np.int64).astype(str) for axis in (lon, lat))
    return np.char.add(np.char.add(row, ","), column)


def _cells(raw: pa.Table, path: Path) -> tuple[pd.DataFrame, set[str]]:
    """The cells, and the columns that tell where they are."""
    href = str(path)
    columns = raw.column_names
    if not raw.num_rows:
        raise NoValidData(f"{path}: has no rows; list the cells in it", href=href)
    has_id = ID_COLUMN in columns
    if has_id and not any(column in columns for column in _PLACES):
        ids = raw.column(ID_COLUMN).to_pandas().astype(str)
        places = [parse_image_id(image_id) for image_id in ids]
        lon, lat = (np.array(axis, np.float64) for axis in zip(*places, strict=True))
        used = {ID_COLUMN}
    else:
        names = place_columns(columns, href=href)
        lon, lat = (_degrees(raw, name, href) for name in names)
        used = {*names, ID_COLUMN}
        ids = (
            raw.column(ID_COLUMN).to_pandas().astype(str)
            if has_id
            else pd.Series([format_image_id(x, y) for x, y in zip(lon, lat, strict=True)])
        )
    check_degrees(lon, lat, href=href)
    cells = pd.DataFrame({"id": ids, "lon": lon, "lat": lat})
    for what in (["lon", "lat"], ["id"]):
        twice = cells.duplicated(what)
        if twice.any():
            raise DataError(
                f"{path}: {int(twice.sum())} rows repeat the {' and '.join(what)} of another, "
                f"such as {cells['id'][twice].iloc[0]}; keep one row for each cell",
                href=href,
            )
    return cells, used


def _degrees(raw: pa.Table, name: str, href: str) -> FloatArray:
    if not _is_number(raw.schema.field(name).type):
        raise DataError(f"{href}: column {name} holds no numbers; correct it", href=href)
    degrees: FloatArray = raw.column(name).to_numpy().astype(np.float64)
    if not np.isfinite(degrees).all():
        raise DataError(
            f"{href}: {name} is missing in {int((~np.isfinite(degrees)).sum())} rows; "
            "fill it in or leave them out",
            href=href,
        )
    return degrees


def _read_table(path: Path) -> pa.Table:
    if not path.is_file():
        raise ItemNotFound(f"{path}: no such file; check the path", href=str(path))
    readers = {
        ".feather": pyarrow.feather.read_table,
        ".parquet": pyarrow.parquet.read_table,
        ".csv": pyarrow.csv.read_csv,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise AssetReadError(
            f"{path}: tables of this kind are not read; use {', '.join(readers)}", href=str(path)
        )
    try:
        table = reader(str(path))
    except (pa.ArrowException, OSError) as err:
        reason = " ".join(str(err).split())[:160]
        raise AssetReadError(
            f"{path}: not a readable table ({reason}); write it again", href=str(path)
        ) from err
    twice = {name for name in table.column_names if table.column_names.count(name) > 1}
    if twice:
        raise DataError(
            f"{path}: column {sorted(twice)[0]} is there more than once; rename it", href=str(path)
        )
    return table


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    )
