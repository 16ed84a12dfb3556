"""The sites as GeoPackage, GeoParquet, GeoJSON and CSV."""

from __future__ import annotations

import contextlib
import csv
import io
import sqlite3
from pathlib import Path

import geopandas as gpd
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio

from sluice.app.products.qgis_style import sites_qml
from sluice.base.errors import RunFailed

LAYER = "sites"
WORKINGS = "workings"
_TITLE = "Likely mine sites"


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
    pyogrio.write_dataframe(
        table,
        path,
        layer=LAYER,
        driver="GPKG",
        geometry_type="MultiPolygon",
        promote_to_multi=True,
        layer_options={"IDENTIFIER": _TITLE, "DESCRIPTION": disclaimer},
    )
    _embed_style(path, sites_qml(table))
    # GDAL reports some write errors as warnings only.
    found = pyogrio.read_info(path, layer=LAYER)["features"]
    if found != len(table):
        raise RunFailed(
            f"{path.name}: {found} of {len(table)} sites were written; "
            "check the free space on the disk and run again"
        )
    if workings is not None:
        _add_workings(workings, path, disclaimer)


def _add_workings(workings: gpd.GeoDataFrame, path: Path, disclaimer: str) -> None:
    pyogrio.write_dataframe(
        workings,
        path,
        layer=WORKINGS,
        driver="GPKG",
        geometry_type="MultiPolygon",
        promote_to_multi=True,
        layer_options={"IDENTIFIER": "Outlined workings", "DESCRIPTION": disclaimer},
    )
    found = pyogrio.read_info(path, layer=WORKINGS)["features"]
    if found != len(workings):
        raise RunFailed(
            f"{path.name}: {found} of {len(workings)} outlines were written; "
            "check the free space on the disk and run again"
        )


def _embed_style(path: Path, qml: str) -> None:
    """Add the table `layer_styles` as QGIS itself writes it, with one default style.

    Source:
        QGIS `QgsOgrProviderMetadata::saveStyle` and `loadStyle`: the row is found by an empty
        schema, the layer's name and the name of its geometry column.
    """
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        geometry = db.execute(
            "SELECT column_name FROM gpkg_geometry_columns WHERE table_name = ?", (LAYER,)
        ).fetchone()[0]
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
        db.execute(
            "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name,"
            " f_geometry_column, styleName, styleQML, styleSLD, useAsDefault, description, owner)"
            " VALUES ('', '', ?, ?, 'sluice', ?, '', 1, ?, '')",
            (LAYER, geometry, qml, _TITLE),
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


def write_geojson(table: gpd.GeoDataFrame, path: Path, *, disclaimer: str) -> None:
    """Write GeoJSON of RFC 7946: longitude and latitude to 7 decimals, rings counter-clockwise.

    Raises:
        OSError: It cannot be written.
    """
    # Through memory: GDAL's own writer would not report a full disk, Python does.
    buffer = io.BytesIO()
    pyogrio.write_dataframe(
        table,
        buffer,
        layer=LAYER,
        driver="GeoJSON",
        geometry_type="Unknown",
        layer_options={
            "RFC7946": "YES",
            "COORDINATE_PRECISION": "7",
            "WRITE_BBOX": "YES",
            "DESCRIPTION": disclaimer,
        },
    )
    path.write_bytes(buffer.getvalue())


def write_csv(table: gpd.GeoDataFrame, path: Path) -> None:
    """Write one line per site, centre as lon and lat; the disclaimer is the column `note`.

    Raises:
        OSError: It cannot be written.
    """
    rows = table.drop(columns="geometry").astype(object)
    rows = rows.where(rows.notna(), None)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(rows.columns)
        for row in rows.itertuples(index=False, name=None):
            writer.writerow([_cell(value) for value in row])


def _cell(value: object) -> object:
    """Text that a spreadsheet would run as a formula gets an apostrophe in front."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return value
