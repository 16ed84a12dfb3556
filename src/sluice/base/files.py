"""Files that are whole or not there, and rasters and vectors opened by a safe driver only."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import pyogrio
import rasterio
from rasterio.errors import RasterioError

from sluice.base.errors import AssetReadError, ConfigError, ItemNotFound
from sluice.base.vector_content import KINDS, UnexpectedContent, safe_source

# A VRT, and any driver that takes addresses or other files' names from inside a file, can make
# GDAL read what the user never named. So only these are tried.
RASTER_DRIVERS = ("GTiff", "COG", "JP2OpenJPEG", "PNG", "JPEG")
VECTOR_DRIVERS = ("GPKG", "GeoJSON", "FlatGeobuf", "ESRI Shapefile", "KML", "LIBKML")
_PARQUET = {".parquet", ".geoparquet"}


@contextlib.contextmanager
def write_whole(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; rename it to `path` only if the block succeeds.

    Nothing half-written ever bears the final name, and nothing is left after a failure.

    Raises:
        OSError: The folder cannot be written, or the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last: drivers choose by it.
    handle, name = tempfile.mkstemp(prefix=".part-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    part = Path(name)
    part.unlink()
    try:
        yield part
        part.replace(path)
    finally:
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def open_raster(path: Path | str) -> Any:
    """Open a raster for reading, by a driver of the allow-list.

    Returns:
        An open `rasterio.DatasetReader`; close it.

    Raises:
        ItemNotFound: No such file.
        AssetReadError: No allowed driver reads it.
    """
    path = Path(path)
    if not path.is_file():
        raise ItemNotFound(f"{path}: no such file; check the path", href=str(path))
    try:
        # `rasterio.open` takes one driver only, the reader behind it a list. Sharing would hand
        # out a dataset that somebody else opened without the allow-list.
        with rasterio.Env():
            return rasterio.DatasetReader(path, driver=list(RASTER_DRIVERS), sharing=False)
    except RasterioError as err:
        if _is_vrt(path):
            raise AssetReadError(
                f"{path}: is a VRT, a list of links to other images, and links are not followed; "
                "give the images that it points to, or save it as a GeoTIFF (QGIS, gdal_translate)",
                href=str(path),
            ) from err
        allowed = ", ".join(RASTER_DRIVERS)
        raise AssetReadError(
            f"{path}: not a readable image ({_first_line(err)}); it is cut off or damaged, or of a "
            f"kind that is not opened: use {allowed}, not VRT or other containers of links",
            href=str(path),
        ) from err


def _is_vrt(path: Path) -> bool:
    """Whether GDAL's own driver would take a file for a VRT, whatever its name."""
    with contextlib.suppress(OSError), path.open("rb") as stream:
        return b"<VRTDataset" in stream.read(1024)
    return False


def read_vector(
    path: Path | str, *, layer: str | None = None, may_be_empty: bool = False
) -> gpd.GeoDataFrame:
    """Read a vector file, by a driver of the allow-list.

    Args:
        path: The file.
        layer: Of it; None for the first that has shapes, and of KML, whose layers are its folders,
            for all together.
        may_be_empty: Whether a file without a feature is one like any other.

    Raises:
        ItemNotFound: No such file.
        AssetReadError: Not readable, or by a driver that is not allowed.
        ConfigError: It holds no geometry or no CRS.
    """
    path = _there(path)
    parquet = path.suffix.lower() in _PARQUET
    frame = _read_geoparquet(path) if parquet else _read_ogr(path, layer)
    if not _has_shapes(frame) and not (may_be_empty and _is_empty(frame)):
        raise _no_geometry(path)
    return _with_crs(frame, path)


def read_vector_layers(path: Path | str) -> list[gpd.GeoDataFrame]:
    """Read all layers of a vector file that hold shapes, each in its own CRS; one at least.

    Raises:
        ItemNotFound, AssetReadError, ConfigError: As `read_vector`.
    """
    path = _there(path)
    if path.suffix.lower() in _PARQUET:
        frames = [_read_geoparquet(path)]
    else:
        with _translating_ogr_errors(path) as source:
            frames = [_read_one(source, path, number) for number in _layers_with_shapes(source)]
    found = [_with_crs(frame, path) for frame in frames if _has_shapes(frame)]
    if not found:
        raise _no_geometry(path)
    return found


def _there(path: Path | str) -> Path:
    path = Path(path)
    if not path.exists():
        raise ItemNotFound(f"{path}: no such file; check the path", href=str(path))
    return path


def _has_shapes(frame: Any) -> bool:
    return isinstance(frame, gpd.GeoDataFrame) and not frame.geometry.isna().all()


def _is_empty(frame: Any) -> bool:
    return isinstance(frame, gpd.GeoDataFrame) and frame.empty


def _no_geometry(path: Path) -> ConfigError:
    return ConfigError(f"{path}: holds no geometry; give points or polygons", href=str(path))


def _with_crs(frame: gpd.GeoDataFrame, path: Path) -> gpd.GeoDataFrame:
    if frame.crs is None:
        raise ConfigError(f"{path}: has no CRS; add one (QGIS: Assign projection)", href=str(path))
    return frame


def _read_geoparquet(path: Path) -> gpd.GeoDataFrame:
    try:
        return gpd.read_parquet(path)
    except (ValueError, OSError) as err:
        raise AssetReadError(f"{path}: not a GeoParquet file ({_first_line(err)})") from err


def vector_layers(path: Path | str) -> tuple[str, ...]:
    """Names of a vector file's layers that have shapes, in the file's order.

    Raises:
        ItemNotFound: No such file.
        AssetReadError: Not readable, or by a driver that is not allowed.
    """
    path = _there(path)
    if path.suffix.lower() in _PARQUET:
        return (path.stem,)
    with _translating_ogr_errors(path) as source:
        return tuple(_layers_with_shapes(source).values())


def _read_ogr(path: Path, layer: str | None) -> gpd.GeoDataFrame:
    with _translating_ogr_errors(path) as source:
        if layer is not None:
            return _read_one(source, path, layer)
        # Left open, pyogrio warns of others, such as the one with QGIS's styles. By number: a
        # GeoJSON layer without a name is given another one each time.
        numbers: list[int | None] = [*_layers_with_shapes(source)] or [None]
        if KINDS[path.suffix.lower()] != "KML":
            return _read_one(source, path, numbers[0])
        folders = [_read_one(source, path, number) for number in numbers]
        filled = [folder for folder in folders if len(folder)]
        return pd.concat(filled, ignore_index=True) if len(filled) > 1 else [*filled, *folders][0]


def _read_one(source: Path | bytes, path: Path, layer: str | int | None) -> gpd.GeoDataFrame:
    found = pyogrio.read_info(source, layer=layer)["driver"]
    if found not in VECTOR_DRIVERS:
        raise AssetReadError(
            f"{path}: is a {found} file inside, and such files may read others; convert it",
            href=str(path),
        )
    return pyogrio.read_dataframe(source, layer=layer)


def _layers_with_shapes(source: Path | bytes) -> dict[int, str]:
    """Names by number."""
    layers = pyogrio.list_layers(source)
    if not len(layers):
        raise pyogrio.errors.DataSourceError("it holds no layer, or is damaged")
    return {number: str(name) for number, (name, kind) in enumerate(layers) if kind is not None}


@contextlib.contextmanager
def _translating_ogr_errors(path: Path) -> Iterator[Path | bytes]:
    """What may be opened in place of a file, and named errors for what goes wrong with it."""
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        raise AssetReadError(
            f"{path}: files of this kind are not opened; "
            "use GeoPackage, GeoJSON, Shapefile, FlatGeobuf, KML or GeoParquet",
            href=str(path),
        )
    try:
        yield safe_source(path)
    except (
        UnexpectedContent,
        OSError,
        pyogrio.errors.DataSourceError,
        pyogrio.errors.DataLayerError,
    ) as err:
        raise AssetReadError(
            f"{path}: cannot be read as {kind} ({_first_line(err)}); "
            "open and save it again in QGIS, or use another format",
            href=str(path),
        ) from err


def _first_line(err: Exception) -> str:
    return str(err).strip().splitlines()[0] if str(err).strip() else type(err).__name__
