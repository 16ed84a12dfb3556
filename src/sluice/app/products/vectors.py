"""The sites as GeoPackage, GeoParquet, GeoJSON and CSV."""

from __future__ import annotations

import contextlib
import csv
import io
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio

from sluice.app.products.qgis_style import sites_qml
from sluice.base.errors import RunFailed
from sluice.base.polygons import rounded

LAYER = "sites"
WORKINGS = "workings"
_TITLE = "Likely mine sites"
_GEOJSON_DECIMALS = 7
# The wide forms are those of East Asian keyboards, which spreadsheets take as well.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def write_gpkg(
    table: gpd.GeoDataFrame,
    path: Path,
    *,
    disclaimer: str,
    workings: gpd.GeoDataFrame | None = None,
) -> None:
    """Write layer `sites` with its QGIS style, which QGIS applies when the layer is opened.

    Args:
        table: From `sites_table`.
        path: A file that is not there yet.
        disclaimer: Kept as the layer's description.
        workings: Goes into a second layer, `workings`.

    Raises:
        RunFailed: The file that was written does not hold every site.
        pyogrio.errors.DataSourceError: It cannot be written.
        sqlite3.Error: The style cannot be written.
    """
    layers = [GpkgLayer(LAYER, table, _TITLE, qml=sites_qml(table))]
    if workings is not None:
        layers.append(GpkgLayer(WORKINGS, workings, "Outlined workings"))
    write_gpkg_layers(layers, path, disclaimer=disclaimer)


@dataclass(frozen=True)
class GpkgLayer:
    """A layer of a GeoPackage; without geometry it becomes a plain table."""

    name: str
    table: pd.DataFrame
    title: str
    geometry_type: str = "MultiPolygon"
    qml: str | None = None
    """The QGIS style with which it is shown."""


def write_gpkg_layers(layers: Sequence[GpkgLayer], path: Path, *, disclaimer: str) -> None:
    """Write layers with their QGIS styles, which QGIS applies when a layer is opened.

    Args:
        layers: With different names.
        path: A file that is not there yet.
        disclaimer: Kept as each layer's description.

    Raises:
        RunFailed: The file that was written does not hold every row.
        pyogrio.errors.DataSourceError: It cannot be written.
        sqlite3.Error: A style cannot be written.
    """
    for layer in layers:
        shapes = isinstance(layer.table, gpd.GeoDataFrame)
        pyogrio.write_dataframe(
            layer.table,
            path,
            layer=layer.name,
            driver="GPKG",
            geometry_type=layer.geometry_type if shapes else None,
            promote_to_multi=True if shapes and layer.geometry_type.startswith("Multi") else None,
            # Arrow keeps days as days.
            use_arrow=True,
            layer_options={"IDENTIFIER": layer.title, "DESCRIPTION": disclaimer},
        )
    _embed_styles(path, layers)
    for layer in layers:
        # GDAL reports some write errors as warnings only.
        found = pyogrio.read_info(path, layer=layer.name)["features"]
        if found != len(layer.table):
            raise RunFailed(
                f"{found} of {len(layer.table)} rows of {layer.name} were written; "
                "check the free space on the disk and run again"
            )


def _embed_styles(path: Path, layers: Sequence[GpkgLayer]) -> None:
    """Add the table `layer_styles` as QGIS itself writes it, with a default style per layer.

    Source:
        QGIS `QgsOgrProviderMetadata::saveStyle` and `loadStyle`: the row is found by an empty
        schema, the layer's name and the name of its geometry column.
    """
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute(
            'CREATE TABLE layer_styles ("id" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,'
            ' "f_table_catalog" TEXT(256), "f_table_schema" TEXT(256), "f_table_name" TEXT(256),'
            ' "f_geometry_column" TEXT(256), "styleName" TEXT(30), "styleQML" TEXT,'
            ' "styleSLD" TEXT, "useAsDefault" BOOLEAN, "description" TEXT, "owner" TEXT(30),'
            ' "ui" TEXT(30),'
            " \"update_time\" DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')))"
        )
        db.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier)"
            " VALUES ('layer_styles', 'attributes', 'layer_styles')"
        )
        geometries = dict(db.execute("SELECT table_name, column_name FROM gpkg_geometry_columns"))
        rows = [
            (layer.name, geometries[layer.name], layer.qml, layer.title)
            for layer in layers
            if layer.qml is not None
        ]
        db.executemany(
            "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name,"
            " f_geometry_column, styleName, styleQML, styleSLD, useAsDefault, description, owner)"
            " VALUES ('', '', ?, ?, 'sluice', ?, '', 1, ?, '')",
            rows,
        )


def write_geoparquet(table: gpd.GeoDataFrame, path: Path, *, disclaimer: str) -> None:
    """Write GeoParquet; the disclaimer is in the file's metadata, key `description`, as well.

    Raises:
        OSError: It cannot be written.
    """
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    content = pq.read_table(pa.BufferReader(buffer.getvalue()))
    metadata = {**(content.schema.metadata or {}), b"description": disclaimer.encode()}
    pq.write_table(content.replace_schema_metadata(metadata), path)


def write_geojson(
    table: gpd.GeoDataFrame, path: Path, *, disclaimer: str, name: str = LAYER
) -> None:
    """Write GeoJSON of RFC 7946: longitude and latitude to 7 decimals, rings counter-clockwise.

    Args:
        table: In EPSG:4326.
        path: The file.
        disclaimer: The collection's description.
        name: Of the collection.

    Raises:
        OSError: It cannot be written.
    """
    # GDAL would round without a look at whether shapes stay valid.
    shapes = rounded(table.geometry.to_numpy(), _GEOJSON_DECIMALS)
    # Through memory: GDAL's own writer would not report a full disk, Python does.
    buffer = io.BytesIO()
    pyogrio.write_dataframe(
        table.set_geometry(shapes, crs=table.crs),
        buffer,
        layer=name,
        driver="GeoJSON",
        geometry_type="Unknown",
        use_arrow=True,
        layer_options={
            "RFC7946": "YES",
            "COORDINATE_PRECISION": str(_GEOJSON_DECIMALS),
            "WRITE_BBOX": "YES",
            "DESCRIPTION": disclaimer,
        },
    )
    path.write_bytes(buffer.getbuffer())


def write_csv(table: pd.DataFrame, path: Path, *, encoding: str = "utf-8") -> None:
    """Write one line per row, without its outline; the disclaimer is the column `note`.

    Args:
        table: Any columns; absent values become empty cells.
        path: The file.
        encoding: `utf-8-sig` where a spreadsheet has to tell letters beyond ASCII.

    Raises:
        OSError: It cannot be written.
    """
    rows = table.drop(columns="geometry", errors="ignore")
    with path.open("w", encoding=encoding, newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(rows.columns)
        writer.writerows(zip(*(_cells(rows[name]) for name in rows.columns), strict=True))


def _cells(column: pd.Series) -> list[object]:
    values = column.astype(object)
    cells: list[object] = values.where(column.notna(), None).tolist()
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        return cells
    return [_cell(value) for value in cells]


def _cell(value: object) -> object:
    """Text that a spreadsheet would run as a formula gets an apostrophe in front."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value
