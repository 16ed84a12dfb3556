"""Backups, which are stores in a SQLite file whatever they are of, and the way back."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import shapely
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from sluice.base.errors import ConfigError, StoreError
from sluice.base.files import write_whole
from sluice.store import schema
from sluice.store.columns import Shape
from sluice.store.database import Database
from sluice.store.faults import translating
from sluice.store.frames import Values, column_in
from sluice.store.sqlite import SqliteDatabase, require_no_stale_log

_BATCH = 20_000
_AS_THEY_ARE = (sa.BigInteger, sa.LargeBinary)


def backup(db: Database, to: Path) -> None:
    """Copy a store as it is at this moment, while others go on writing; or the other way, a backup
    to where it becomes a store.

    Args:
        db: The store.
        to: A new SQLite file: a store itself.

    Raises:
        ConfigError: The file is there already.
        StoreError: It cannot be written.
    """
    with _new_file(to) as part:
        if isinstance(db, SqliteDatabase):
            _copy_file(db, part)
        else:
            with contextlib.closing(SqliteDatabase(part, create=True)) as target:
                _copy_rows(db, target)


def restore_into(source: SqliteDatabase, target: Database) -> None:
    """Fill an empty store from a backup: all of it or nothing.

    Raises:
        ConfigError: The store is not empty.
    """
    _copy_rows(source, target)
    target.after_many({table.name for table in schema.metadata.sorted_tables})


@contextlib.contextmanager
def _new_file(path: Path) -> Iterator[Path]:
    """A place to write to, which becomes `path` when all is written."""
    if path.exists():
        raise ConfigError(f"{path}: is there already, and is never overwritten; give a new name")
    require_no_stale_log(path)
    part = None
    try:
        with write_whole(path) as part:
            yield part
    except OSError as err:
        raise StoreError(f"{path}: cannot be written ({err}); choose another place") from err
    finally:
        if part is not None:
            for suffix in ("-wal", "-shm", "-journal"):
                part.with_name(part.name + suffix).unlink(missing_ok=True)


def _copy_file(db: SqliteDatabase, to: Path) -> None:
    """By SQLite's own means: in one step, so that no writer can come between."""
    with (
        translating(str(to)),
        db.engine.connect() as connection,
        contextlib.closing(sqlite3.connect(to)) as target,
    ):
        driver: Any = connection.connection.driver_connection
        driver.backup(target)
        said = target.execute("PRAGMA quick_check(1)").fetchone()[0]
        if said != "ok":
            raise StoreError(
                f"{db.name}: the copy is damaged ({said}); see what `sluice store check` says of it"
            )


def _copy_rows(source: Database, target: Database) -> None:
    """All rows of all tables into an empty store, in one transaction."""
    tables = schema.metadata.sorted_tables
    with source.reading() as reader, target.writing("sluice: restore") as writer:
        for table in tables:
            if writer.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first():
                raise ConfigError(
                    f"{target.name}: holds {table.name} already; restore into a store that is "
                    "empty: give a new path or a new database"
                )
        for table in tables:
            wanted = sa.select(*table.c).order_by(*table.primary_key.columns)
            found = reader.execution_options(yield_per=_BATCH).execute(wanted)
            for rows in found.partitions():
                target.put(writer, table, _values(table, rows))
            if "fid" in table.c and writer.dialect.name == "postgresql":
                _go_on_counting(writer, table)


def _values(table: sa.Table, rows: Sequence[sa.Row[Any]]) -> Values:
    by_column = dict(zip(table.c, zip(*rows, strict=True), strict=True))
    return {column.name: _column(table, column, held) for column, held in by_column.items()}


def _column(table: sa.Table, column: sa.Column[Any], held: Sequence[Any]) -> list[Any]:
    if isinstance(column.type, Shape):
        encoded = np.array(held, dtype=object)
        return list(shapely.to_wkb(shapely.from_wkb(encoded), output_dimension=2))
    if isinstance(column.type, _AS_THEY_ARE):
        return list(held)
    return column_in(table, column.name, pd.Series(list(held), dtype=object))


def _go_on_counting(connection: Connection, table: sa.Table) -> None:
    """Rows that are added later get numbers after those that were given."""
    counter = sa.func.pg_get_serial_sequence(table.name, "fid")
    last = sa.select(sa.func.max(table.c.fid)).scalar_subquery()
    is_any = sa.select(sa.func.count(table.c.fid) > 0).scalar_subquery()
    connection.execute(sa.select(sa.func.setval(counter, sa.func.coalesce(last, 1), is_any)))
