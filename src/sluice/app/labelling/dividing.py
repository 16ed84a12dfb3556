"""`sluice labels split`: which chips teach, and which judge."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from sluice.app.area import read_area
from sluice.base.errors import ConfigError
from sluice.base.files import read_vector
from sluice.base.records import Record
from sluice.labels.dataset import read_dataset
from sluice.labels.groups import located, spatial_blocks
from sluice.labels.splits import (
    EXCLUDED,
    SHARES,
    SHARES_WITH_CALIBRATION,
    make_splits,
    read_raw_index,
    refuse_leaks,
    write_splits,
)


class DivideConfig(BaseModel):
    """How a data set is to be divided."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path
    by: str = "blocks"
    """`blocks`, `group`, `source`, or a column of the table or of `places`."""
    side_km: float = 25.0
    apart_m: float | None = None
    """None takes the side of a chip."""
    shares: str | None = None
    calibration: bool = False
    test_region: str | None = None
    margin_m: float = 5000.0
    places: str | None = None
    """`FILE:COLUMN` of polygons."""
    seed: int = 0
    overwrite: bool = False
    """Replace splits that are there, held-out ones too."""


class Division(Record):
    """What was divided."""

    table: str
    """The file in which the splits stand."""
    groups: int
    """What was kept together."""
    largest_group: int
    """Chips."""
    chips: dict[str, int]
    """By split."""
    sought: dict[str, int]
    """Chips of label 1, by split."""


def divide(config: DivideConfig) -> Division:
    """Divide a data set and write the splits into its table.

    Raises:
        ConfigError: An option cannot be understood, or names no column.
        SluiceError: The data set cannot be read, or not be divided as asked.
        OSError: The table cannot be written.
    """
    dataset = read_dataset(config.folder)
    table = dataset.table
    present = sorted(set(table["split"]) - {""})
    if present and not config.overwrite:
        raise ConfigError(
            f"{config.folder}: is divided already ({', '.join(present)}), and chips that were held "
            "out would be trained on; give --overwrite if no model has seen them yet",
            href=str(config.folder),
        )
    side_m = dataset.chip_side_m()
    apart_m = side_m if config.apart_m is None else config.apart_m
    plan = make_splits(
        table,
        _groups(config, table),
        shares=_shares(config),
        seed=config.seed,
        region=read_area(config.test_region) if config.test_region else None,
        margin_m=config.margin_m if config.test_region else 0.0,
        apart_m=apart_m,
    )
    divided = table.assign(split=plan.splits)
    refuse_leaks(divided, apart_m)
    path = write_splits(config.folder, plan.splits)
    by_split = divided.groupby("split")["label"]
    return Division(
        table=str(path),
        groups=int(plan.groups.nunique()),
        largest_group=int(plan.groups.value_counts().iloc[0]),
        chips={str(name): int(count) for name, count in by_split.size().items()},
        sought={str(name): int(count) for name, count in by_split.sum().items()},
    )


def division_text(division: Division) -> str:
    """Say it in plain language."""
    total = sum(division.chips.values())
    lines = [
        f"{name}: {count:,} chips ({count / total:.0%}), {division.sought[name]:,} with what is "
        "sought"
        for name, count in division.chips.items()
    ]
    lines += [
        f"Split {name} holds no chip with what is sought: its figures will say little. What is "
        "kept together is too coarse; choose smaller blocks, or another --by."
        for name in division.chips
        if name != EXCLUDED and not division.sought[name]
    ]
    lines.append(
        f"Kept together: {division.groups:,} groups, the largest of {division.largest_group:,} "
        f"chips\nTable: {division.table}"
    )
    return "\n".join(lines)


def _shares(config: DivideConfig) -> dict[str, float]:
    if config.shares is None:
        return dict(SHARES_WITH_CALIBRATION if config.calibration else SHARES)
    if config.calibration:
        raise ConfigError("--calibration and --shares are both given; name all splits in --shares")
    shares = {}
    for part in config.shares.split(","):
        name, _, number = part.partition("=")
        try:
            shares[name.strip()] = float(number)
        except ValueError:
            raise ConfigError(
                f"--shares {config.shares}: {part!r} is not understood; give "
                "train=0.6,val=0.2,test=0.2"
            ) from None
    return shares


def _groups(config: DivideConfig, table: pd.DataFrame) -> pd.Series:
    if config.places is not None:
        return _by_place(config, table)
    if config.by == "blocks":
        return spatial_blocks(table, config.side_km)
    if config.by in {"group", "source"}:
        return table[config.by]
    raw = read_raw_index(config.folder)
    if config.by not in raw:
        known = ", ".join(map(str, raw.columns))
        raise ConfigError(
            f"--by {config.by}: is neither blocks, group nor source, and no column of the table "
            f"({known}); add it, or give --places FILE:{config.by}"
        )
    values = raw[config.by].set_axis(table.index)
    return values.where(values != "", "group " + table["group"].astype(str))


def _by_place(config: DivideConfig, table: pd.DataFrame) -> pd.Series:
    """The name of the polygon that each chip's centre lies in; of none, its group's."""
    file, _, column = str(config.places).rpartition(":")
    if not file or not column:
        raise ConfigError(f"--places {config.places}: is not understood; give countries.gpkg:name")
    polygons = read_vector(Path(file)).to_crs("EPSG:4326")
    if column not in polygons:
        known = ", ".join(map(str, polygons.columns.drop(polygons.geometry.name)))
        raise ConfigError(f"--places: {file} has no column {column}; it has {known}")
    names = ("group " + table["group"].astype(str)).rename(config.by)
    known_rows = table.index[located(table)]
    points = gpd.GeoSeries.from_xy(
        table.loc[known_rows, "lon"], table.loc[known_rows, "lat"], crs="EPSG:4326"
    )
    chip, polygon = polygons.sindex.query(points, predicate="intersects")
    # Of polygons that overlap the first counts.
    chip, first = np.unique(chip, return_index=True)
    names.loc[known_rows[chip]] = polygons[column].astype(str).to_numpy()[polygon[first]]
    return names
