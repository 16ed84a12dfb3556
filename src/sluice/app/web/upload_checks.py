"""What a file that somebody sent must not hold, looked at before a library opens it.

The drivers of the allow-list are left with these: a GeoPackage is a program as much as a table
(views, virtual tables and generated columns run what they say when they are read), and a CRS may
name grids that are files or addresses.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely

from sluice.base.errors import AssetReadError, DataError
from sluice.base.vector_content import UnexpectedContent, safe_source

SUFFIXES = (".gpkg", ".geojson", ".json", ".fgb", ".kml")
"""Files that stand alone; archives, and what reads others, are not among them."""
_MOST_TABLES = 500
_HARMLESS_TABLE = re.compile(r"CREATE\s+VIRTUAL\s+TABLE\s+\S+\s+USING\s+rtree\b", re.IGNORECASE)
_READS_FILES = re.compile(r"grids\s*=|PARAMETERFILE|vsi|://", re.IGNORECASE)


def check_suffix(name: str) -> str:
    """The suffix of a file's name.

    Raises:
        DataError: Files of this kind are not taken.
    """
    suffix = Path(name).suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(
            f"{name}: files of this kind are not taken; send a GeoPackage (.gpkg), GeoJSON, "
            "FlatGeobuf (.fgb) or KML; export a shapefile, an archive or GPX as one of them"
        )
    return suffix


def check_content(path: Path) -> None:
    """Refuse a file that would run or fetch something.

    Raises:
        DataError: It would, or is not what its name says.
    """
    check_suffix(path.name)
    try:
        source = safe_source(path)
    except (UnexpectedContent, OSError, RecursionError) as err:
        raise DataError(f"{path}: is not what its name says ({err}); export it again") from err
    if path.suffix.lower() == ".gpkg":
        _check_geopackage(path)
    try:
        layers = pyogrio.list_layers(source)
        for number, (_, kind) in enumerate(layers):
            if kind is not None:
                _check_crs(pyogrio.read_info(source, layer=number)["crs"], path)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as err:
        raise AssetReadError(f"{path}: cannot be read ({err}); export it again") from err


def _check_crs(crs: Any, path: Path) -> None:
    if crs is not None and _READS_FILES.search(str(crs)):
        raise DataError(
            f"{path}: its CRS names files of shifts; reproject it to EPSG:4326 and send it again"
        )


def check_size(shapes: Iterable[Any], vertices: int, features: int, where: str) -> None:
    """Refuse more than an upload may hold.

    Raises:
        DataError: It is more.
    """
    given = np.asarray(shapes, dtype=object)
    count = int(shapely.get_num_coordinates(given).sum())
    if len(given) > features or count > vertices:
        raise DataError(
            f"{where}: has {len(given):,} features with {count:,} vertices; an upload may have "
            f"{features:,} and {vertices:,}: simplify it, or let whoever runs the service add it"
        )


def _check_geopackage(path: Path) -> None:
    address = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True)) as connection:
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA cell_size_check = ON")
            rows = connection.execute(
                "SELECT type, name, sql FROM sqlite_master LIMIT ?", (_MOST_TABLES + 1,)
            ).fetchall()
            trap = _trap_of(connection, rows)
    except (sqlite3.Error, UnicodeError) as err:
        raise DataError(f"{path}: is damaged ({err}); export it again") from err
    if trap is not None:
        raise DataError(
            f"{path}: holds {trap}, and such files may run what they say; export the layer into a "
            "new GeoPackage (QGIS: Export, Save Features As)"
        )


def _trap_of(connection: sqlite3.Connection, rows: list[tuple[Any, Any, Any]]) -> str | None:
    """What a GeoPackage holds besides tables that are only read."""
    if len(rows) > _MOST_TABLES:
        return f"more than {_MOST_TABLES} tables"
    for kind, name, sql in rows:
        text = str(sql or "")
        if kind == "view":
            return f"the view {name}"
        virtual = kind == "table" and re.match(r"\s*CREATE\s+VIRTUAL", text, re.IGNORECASE)
        if virtual and not _HARMLESS_TABLE.match(text.lstrip()):
            return f"the virtual table {name}"
        if kind == "table" and not virtual:
            quoted = str(name).replace('"', '""')
            columns = connection.execute(f'PRAGMA table_xinfo("{quoted}")').fetchall()
            if any(column[6] in {2, 3} for column in columns):
                return f"generated columns in {name}"
    return None
