"""Layers of context read from files: mended, in degrees, with names and dates."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import rasterio.warp
import shapely

from sluice.base.errors import AssetReadError, ConfigError, DataError, NoValidData
from sluice.base.files import open_raster, read_vector, sha256_file, vector_layers
from sluice.base.longitudes import cut_at_180
from sluice.base.periods import day_of
from sluice.base.places import Layer, LayerKind
from sluice.base.polygons import mended
from sluice.labels.vector_table import check_coordinates, column

_AREAS_ONLY = {
    LayerKind.CONCESSIONS,
    LayerKind.PROTECTED,
    LayerKind.INDIGENOUS,
    LayerKind.DISTRICTS,
    LayerKind.EXPERT,
}
"""Kinds that mean nothing but "inside": lines and points need a buffer."""
_DISTANCES_ONLY = {LayerKind.RIVERS, LayerKind.AIRSTRIPS}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_BUFFER = re.compile(r"(\d+(?:\.\d+)?)\s*(m|km)")
# Projected edges are straight there, not in degrees: at this length the two part by under 0.5 m.
_STEP_M = 5000.0
_NULL_ISLAND_DEG = 0.01


@dataclass(frozen=True)
class LayerColumns:
    """Which columns of a file say what; None where none does."""

    name: str | None = None
    id: str | None = None
    start: str | None = None
    """First day of being valid."""
    end: str | None = None
    """Last day, included; a year or month stands for its last day."""


@dataclass(frozen=True)
class ReadLayer:
    """A layer read from a file, ready for `Store.put_layer`."""

    layer: Layer
    features: gpd.GeoDataFrame
    """EPSG:4326: `name`, `start`, `end`, `properties` (with `id`), `geometry`."""
    notes: tuple[str, ...]
    """What a person should know: what was mended, left out or not understood."""


def read_layer(
    path: Path | str,
    *,
    name: str,
    kind: str | None = None,
    buffer: str = "0 m",
    columns: LayerColumns | None = None,
    file_layer: str | None = None,
    licence: str = "",
) -> ReadLayer:
    """Read a layer of context from a vector file, or of slopes from a raster.

    Args:
        path: Vector file in any CRS; of the kind `slope`, a GeoTIFF with slopes in degrees, in the
            band described as `slope`, as `sluice elevation` makes it, or in its only band.
        name: What to call it.
        kind: A value of `LayerKind`; None takes the name, where it is one.
        buffer: How far beyond its shapes it reaches: `30m`, `1.5 km`.
        columns: Which of its columns say what.
        file_layer: Of a file with several; None takes the only one, or all folders of a KML.
        licence: To keep beside it.

    Raises:
        ItemNotFound, AssetReadError: There is no such file, or none that may be opened.
        ConfigError: No CRS, several layers and none named, no such column, a name, kind or buffer
            that is none, or a column of dates without a date.
        DataError: The coordinates cannot be of the CRS.
        NoValidData: It holds no feature, or none with an area where an area is needed.
    """
    path = Path(path)
    layer_kind = _kind_of(name, kind)
    buffer_m = parse_buffer(buffer)
    if layer_kind is LayerKind.SLOPE:
        features, notes = _read_slope(path)
    else:
        if file_layer is None:
            _refuse_several(path)
        frame = read_vector(path, layer=file_layer, may_be_empty=True).reset_index(drop=True)
        features, notes = _read_features(frame, columns or LayerColumns(), str(path))
        _check_ground(features, layer_kind, buffer_m, str(path), notes)
    layer = Layer(
        name=name,
        kind=layer_kind,
        buffer_m=buffer_m,
        source=str(path.absolute()),
        sha256=sha256_file(path),
        features=len(features),
        licence=licence,
        registered=dt.datetime.now(dt.UTC),
    )
    return ReadLayer(layer, features, tuple(notes))


def parse_buffer(text: str) -> float:
    """Metres of `30m`, `30 m`, `1.5km` or `0`.

    Raises:
        ConfigError: It is none of these.
    """
    found = _BUFFER.fullmatch(text.strip().lower())
    if found is not None:
        return float(found[1]) * (1000 if found[2] == "km" else 1)
    if re.fullmatch(r"0+(\.0+)?", text.strip()):
        return 0.0
    raise ConfigError(f"--buffer {text}: is no distance; write a number and m or km: 30m, 1.5km")


def _refuse_several(path: Path) -> None:
    """Refuse a file of which only the first layer would be taken."""
    layers = vector_layers(path)
    if len(layers) > 1 and path.suffix.lower() != ".kml":
        raise ConfigError(
            f"{path}: has the layers {', '.join(layers)}; name one with --layer, or save the one "
            "that you need in a file of its own"
        )


def _kind_of(name: str, kind: str | None) -> LayerKind:
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r}: is no name for a layer; use letters, digits, dots, dashes and underscores"
        )
    known = ", ".join(one.value for one in LayerKind)
    if kind is None:
        if name not in {one.value for one in LayerKind}:
            raise ConfigError(f"what does layer {name} show? Give --kind: {known}")
        kind = name
    try:
        return LayerKind(kind)
    except ValueError:
        raise ConfigError(f"--kind {kind}: is not known; use one of {known}") from None


def _read_features(
    frame: gpd.GeoDataFrame, columns: LayerColumns, where: str
) -> tuple[gpd.GeoDataFrame, list[str]]:
    notes: list[str] = []
    shapes = shapely.force_2d(np.asarray(frame.geometry, dtype=object))
    whole = ~shapely.is_missing(shapes) & ~shapely.is_empty(shapes)
    if not whole.any():
        raise NoValidData(f"{where}: holds no feature with a shape; check the file", href=where)
    if (~whole).any():
        notes.append(f"{_counted(~whole, 'feature')} without a shape left out")
    check_coordinates(frame[whole], where)
    frame, shapes = frame[whole], shapes[whole]
    start, end = _terms(frame, columns, where, notes)
    wrong = ~shapely.is_valid(shapes)
    if wrong.any():
        shapes = mended(shapes)
        notes.append(f"{_counted(wrong, 'self-crossing shape')} mended")
    if not frame.crs.is_geographic:
        shapes = shapely.segmentize(shapes, _STEP_M / _metres_per_unit(frame))
    lonlat = gpd.GeoSeries(shapes, crs=frame.crs).to_crs("EPSG:4326").map(_cut_at_180)
    table = gpd.GeoDataFrame(
        {
            name: pd.Series(values, dtype=object)
            for name, values in {
                "name": _texts(frame, columns.name, where),
                "start": start,
                "end": end,
                "properties": _properties(frame, columns, where),
            }.items()
        },
        geometry=np.asarray(lonlat, dtype=object),
        crs="EPSG:4326",
    )
    kept = ~(table.geometry.is_empty | table.geometry.isna()).to_numpy()
    if not kept.all():
        notes.append(f"{_counted(~kept, 'feature')} without any area left out once mended")
    table = table[kept].reset_index(drop=True)
    if not len(table):
        raise NoValidData(f"{where}: no shape is left once mended; check the file", href=where)
    _tell_null_island(table, notes)
    return table, notes


def _check_ground(
    features: gpd.GeoDataFrame, kind: LayerKind, buffer_m: float, where: str, notes: list[str]
) -> None:
    """Tell, or refuse, lines and points in which nothing can lie."""
    thin = shapely.get_dimensions(np.asarray(features.geometry, dtype=object)) < 2
    if not thin.any() or buffer_m or kind in _DISTANCES_ONLY:
        return
    if kind in _AREAS_ONLY and thin.all():
        raise ConfigError(
            f"{where}: {kind.value} are areas, and it holds points or lines only; give --buffer, "
            "for example --buffer 500m",
            href=where,
        )
    notes.append(
        f"{_counted(thin, 'feature')} without an area (points or lines): only distances to them "
        "are told; --buffer 30m would give them one"
    )


def _tell_null_island(table: gpd.GeoDataFrame, notes: list[str]) -> None:
    reach = np.abs(table.geometry.bounds.to_numpy()).max(axis=1)
    lost = reach < _NULL_ISLAND_DEG
    if lost.any():
        notes.append(
            f"{_counted(lost, 'feature')} at 0 degrees north, 0 east, where lost places end up"
        )


def _terms(
    frame: gpd.GeoDataFrame, columns: LayerColumns, where: str, notes: list[str]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    start = _dates(frame, columns.start, where, notes, last=False)
    end = _dates(frame, columns.end, where, notes, last=True)
    reversed_ = np.array(
        [a is not None and b is not None and b < a for a, b in zip(start, end, strict=True)],
        np.bool_,
    )
    if reversed_.any():
        row = int(np.flatnonzero(reversed_)[0])
        raise DataError(
            f"{where}: {_counted(reversed_, 'feature')} with an end before the start, first "
            f"feature {row + 1} ({start[row]} to {end[row]}); correct them, or swap "
            "--start-column and --end-column",
            href=where,
        )
    return start, end


def _dates(
    frame: gpd.GeoDataFrame, name: str | None, where: str, notes: list[str], *, last: bool
) -> npt.NDArray[Any]:
    days = np.full(len(frame), None, object)
    if name is None:
        return days
    values = column(frame, name, where)
    there = values.notna() & (values.astype(str).str.strip() != "")
    days[:] = [
        day_of(value, last=last) if known else None
        for value, known in zip(values, there, strict=True)
    ]
    wrong = np.flatnonzero([known and day is None for known, day in zip(there, days, strict=True)])
    if len(wrong) and len(wrong) == there.sum():
        raise ConfigError(
            f"{where}: {name} holds no date that can be read, for example {values.iloc[wrong[0]]!r}"
            "; write 2024, 2024-01 or 2024-01-31, or name another column",
            href=where,
        )
    if len(wrong):
        notes.append(
            f"{name}: {len(wrong)} of {int(there.sum())} values are no dates, for example "
            f"{values.iloc[wrong[0]]!r}; these count as unknown"
        )
    return days


def _texts(frame: gpd.GeoDataFrame, name: str | None, where: str) -> npt.NDArray[Any]:
    texts = np.full(len(frame), None, object)
    if name is not None:
        texts[:] = [_text(value) for value in column(frame, name, where)]
    return texts


def _text(value: Any) -> str | None:
    if value is None or pd.isna(value) or not str(value).strip():
        return None
    # A number read as 1.0 because another was missing is still 1.
    return f"{value:.0f}" if isinstance(value, float) and value % 1 == 0 else str(value).strip()


def _properties(frame: gpd.GeoDataFrame, columns: LayerColumns, where: str) -> npt.NDArray[Any]:
    """The file's own columns of each feature, as JSON takes them, and its `id`."""
    names = [str(name) for name in frame.columns if name != frame.geometry.name]
    rows = np.empty(len(frame), object)
    told = {name: frame[name].tolist() for name in names}
    ids = _texts(frame, columns.id, where)
    for row in range(len(frame)):
        found = {name: _plain(values[row]) for name, values in told.items()}
        found |= {"id": ids[row]} if ids[row] is not None else {}
        rows[row] = {name: value for name, value in found.items() if value is not None}
    return rows


def _plain(value: Any) -> Any:
    if isinstance(value, str | bool | int):
        return value
    if isinstance(value, list | dict | tuple | np.ndarray):
        return str(value)
    if value is None or pd.isna(value):
        return None
    if isinstance(value, dt.date):
        return value.isoformat()
    return value if isinstance(value, float) else str(value)


def _metres_per_unit(frame: gpd.GeoDataFrame) -> float:
    factor = frame.crs.axis_info[0].unit_conversion_factor
    return float(factor) or 1.0


def _cut_at_180(shape: Any) -> Any:
    return cut_at_180(shape) if shapely.get_dimensions(shape) == 2 else shape


def _read_slope(path: Path) -> tuple[gpd.GeoDataFrame, list[str]]:
    with open_raster(path) as raster:
        if raster.crs is None:
            raise ConfigError(f"{path}: has no CRS; make it with sluice elevation", href=str(path))
        band = slope_band(raster)
        transform = raster.transform
        if transform.b or transform.d:
            raise ConfigError(f"{path}: is rotated; warp it north up first", href=str(path))
        bounds = rasterio.warp.transform_bounds(raster.crs, "EPSG:4326", *raster.bounds)
    table = gpd.GeoDataFrame(
        {
            "name": pd.Series([None], dtype=object),
            "start": pd.Series([None], dtype=object),
            "end": pd.Series([None], dtype=object),
            "properties": [{"band": band}],
        },
        geometry=[shapely.box(*bounds)],
        crs="EPSG:4326",
    )
    return table, []


def slope_band(raster: Any) -> int:
    """The band of slopes, from 1."""
    if "slope" in raster.descriptions:
        return int(raster.descriptions.index("slope")) + 1
    if raster.count == 1:
        return 1
    raise AssetReadError(
        f"{raster.name}: none of its {raster.count} bands is called slope; make it with sluice "
        "elevation, or give a raster of slopes alone",
        href=raster.name,
    )


def _counted(which: npt.NDArray[np.bool_], noun: str) -> str:
    count = int(which.sum())
    return f"1 {noun}" if count == 1 else f"{count:,} {noun}s"
