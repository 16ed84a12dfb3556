"""A store in one SQLite file: the default, which needs no set-up.

Write-ahead logging lets others read while one writes. A writer takes the file as a whole.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection
from sqlalchemy.pool import QueuePool

from sluice.base.errors import ConfigError, StoreError
from sluice.base.store import BBox
from sluice.store.database import WAIT_S, sides_of
from sluice.store.faults import is_busy, translating
from sluice.store.frames import Values, read_json
from sluice.store.migrating import require_newest, upgrade
from sluice.store.schema import APPLICATION_ID, rtree_name

_BATCH = 20_000
"""Rows that are handed over at once: a bound of memory."""
_PRAGMAS = (
    "PRAGMA busy_timeout = 1000",
    "PRAGMA foreign_keys = ON",
    # What was committed outlives a power failure, not a kill alone.
    "PRAGMA synchronous = FULL",
    "PRAGMA cache_size = -131072",
    "PRAGMA journal_size_limit = 67108864",
)


class SqliteDatabase:
    """A file with the tables of `schema`: see `database.Database`."""

    def __init__(
        self,
        path: Path,
        *,
        create: bool = False,
        wait_s: float = WAIT_S,
        any_version: bool = False,
    ) -> None:
        """Open a file.

        Args:
            path: Of the file.
            create: Make it where there is none.
            wait_s: How long to wait for another writer.
            any_version: Of the schema too: only to copy it, or to bring it up.

        Raises:
            ConfigError: There is no such file, and none is to be made.
            SchemaVersion: It was written by another version.
            StoreError: It is not a store, or cannot be opened.
        """
        self.name = str(path)
        self.path = path
        self._wait_s = wait_s
        if path.is_dir():
            raise ConfigError(f"{path}: is a folder; give the path of a file")
        fresh = not path.exists() or path.stat().st_size == 0
        if fresh and not create:
            raise ConfigError(missing_message(self.name), href=self.name)
        with translating(self.name):
            if fresh:
                self._make_file(path)
            self.engine = connect_file(path, wait_s=wait_s)
            try:
                self._recognise(create=create, any_version=any_version)
            except BaseException:
                self.engine.dispose()
                raise

    def _make_file(self, path: Path) -> None:
        require_no_stale_log(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise StoreError(f"{path}: its folder cannot be made ({err}); check the path") from err
        with contextlib.closing(sqlite3.connect(path, timeout=self._wait_s)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")

    def _recognise(self, *, create: bool, any_version: bool) -> None:
        """Tell a store from other files, and make the tables of a new one."""
        with self.engine.connect() as connection:
            kind, tables = _read_kind(connection)
            if kind == APPLICATION_ID:
                if not any_version:
                    require_newest(connection, self.name)
                return
        if kind or tables:
            raise StoreError(
                f"{self.name}: a SQLite file, but not a store of Sluice; give another path",
                href=self.name,
            )
        if not create:
            raise ConfigError(missing_message(self.name), href=self.name)
        with self.writing() as connection:
            # Somebody else may have made it meanwhile.
            if _read_kind(connection) == (0, 0):
                upgrade(connection)
                connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """See `Database`."""
        with translating(self.name), self.engine.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self, lock: str | None = None) -> Iterator[Connection]:
        """See `Database`; the whole file is one lock."""
        del lock
        with translating(self.name), self.engine.connect() as connection:
            writer = connection.execution_options(sluice_write=True)
            with writer.begin():
                yield writer

    def hold(self, connection: Connection, lock: str) -> None:
        """See `Database`; who writes holds the file."""

    def put(
        self, connection: Connection, table: sa.Table, values: Values, key: Sequence[str] = ()
    ) -> None:
        """See `Database`."""
        statement = insert_statement(connection, table, list(values), key)
        rows = zip(*values.values(), strict=True)
        while batch := list(itertools.islice(rows, _BATCH)):
            connection.exec_driver_sql(statement, batch)

    def among(self, column: sa.ColumnElement[Any], values: Sequence[str]) -> sa.ColumnElement[bool]:
        """See `Database`: one parameter, however many values."""
        given = sa.func.json_each(json.dumps([str(value) for value in values]))
        return column.in_(sa.select(given.table_valued("value").c.value))

    def near(self, table: sa.Table, bbox: BBox) -> sa.ColumnElement[bool]:
        """See `Database`."""
        return table.c.fid.in_(_in_tree(table, bbox))

    def join_near(self, wanted: sa.Select[Any], table: sa.Table, bbox: BBox) -> sa.Select[Any]:
        """See `Database`; `IN` would gather all before the first."""
        if len(sides_of(bbox)) > 1:
            return wanted.where(self.near(table, bbox))
        found = _in_tree(table, bbox).subquery()
        return wanted.join(found, found.c.fid == table.c.fid)

    def near_rows(self, table: sa.Table, bbox: BBox) -> sa.Select[Any] | sa.CompoundSelect[Any]:
        """See `Database`."""
        return _in_tree(table, bbox)

    def are_few(
        self, connection: Connection, rows: sa.Select[Any] | sa.CompoundSelect[Any], few: int
    ) -> bool:
        """See `Database`; SQLite has no guess of its own, so it counts, up to where it is clear."""
        found = sa.select(rows.subquery()).limit(few + 1).subquery()
        counted = sa.select(sa.func.count()).select_from(found)
        return int(connection.execute(counted).scalar_one()) <= few

    def unindexed(self, column: sa.Column[Any]) -> sa.ColumnElement[Any]:
        """See `Database`: what a `+` means to SQLite."""
        return sa.literal_column(f"+{column.table.name}.{column.name}", column.type)

    def after_many(self, tables: set[str]) -> None:
        """See `Database`: statements say by themselves which index they take."""

    def close(self) -> None:
        """See `Database`."""
        self.engine.dispose()


def missing_message(name: str) -> str:
    """What to do where there is no store."""
    return (
        f"{name}: there is no store; land a scan in it (`sluice scan … --store {name} --area-name "
        "NAME`), add an area, import detections or give `sluice serve` --create to make one, or "
        "check --store"
    )


def require_no_stale_log(path: Path) -> None:
    """Refuse to make a store where the log of one that is gone lies: it would be read into it.

    Raises:
        ConfigError: There is such a log.
    """
    log = path.with_name(path.name + "-wal")
    if log.exists() and log.stat().st_size and not path.exists():
        raise ConfigError(
            f"{log}: belongs to a store that is not there; bring {path.name} back beside it, or "
            "move it away"
        )


def connect_file(path: Path, *, wait_s: float = WAIT_S) -> sa.Engine:
    """An engine whose connections keep this project's rules; the file must be there."""
    mode = "mode=rw"
    log = path.with_name(path.name + "-wal")
    if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        # Without a log nobody is writing, and the file can be read as it lies; with one, whoever
        # writes keeps what reading needs beside it.
        mode = "mode=ro" if log.exists() and log.stat().st_size else "mode=ro&immutable=1"
    address = f"{path.absolute().as_uri()}?{mode}"

    def open_connection() -> sqlite3.Connection:
        connection = sqlite3.connect(
            address, uri=True, isolation_level=None, check_same_thread=False
        )
        for pragma in _PRAGMAS:
            connection.execute(pragma)
        return connection

    engine = sa.create_engine(
        "sqlite://", creator=open_connection, poolclass=QueuePool, json_deserializer=read_json
    )

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if not connection.get_execution_options().get("sluice_write"):
            connection.exec_driver_sql("BEGIN")
            return
        until = time.monotonic() + wait_s
        while True:
            # In turns, so that Ctrl-C is heard between them.
            try:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                return
            except sa.exc.OperationalError as err:
                if not is_busy(err.orig) or time.monotonic() > until:
                    raise

    return engine


def insert_statement(
    connection: Connection, table: sa.Table, names: Sequence[str], key: Sequence[str]
) -> str:
    """`INSERT … ON CONFLICT … DO UPDATE` of these columns, for a tuple each."""
    quote = connection.dialect.identifier_preparer.quote
    columns = ", ".join(quote(name) for name in names)
    places = ", ".join("?" for _ in names)
    statement = f"INSERT INTO {quote(table.name)} ({columns}) VALUES ({places})"  # noqa: S608
    if key:
        changed = [name for name in names if name not in key]
        to = ", ".join(f"{quote(name)} = excluded.{quote(name)}" for name in changed)
        statement += f" ON CONFLICT ({', '.join(map(quote, key))}) DO UPDATE SET {to}"
    return statement


def _in_tree(table: sa.Table, bbox: BBox) -> sa.Select[Any] | sa.CompoundSelect[Any]:
    names = ("fid", "west", "east", "south", "north")
    tree = sa.table(rtree_name(table.name), *(sa.column(name) for name in names)).c
    parts = [
        sa.select(tree.fid).where(
            tree.west <= east, tree.east >= west, tree.south <= north, tree.north >= south
        )
        for west, south, east, north in sides_of(bbox)
    ]
    return parts[0] if len(parts) == 1 else sa.union(*parts)


def _read_kind(connection: Connection) -> tuple[int, int]:
    """Application id and number of tables."""
    kind = connection.exec_driver_sql("PRAGMA application_id").scalar_one()
    tables = connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one()
    return int(kind), int(tables)
