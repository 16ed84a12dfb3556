"""Open the store that a command names, and keep it in order."""

from __future__ import annotations

import contextlib
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sluice.base.errors import ConfigError, SluiceError
from sluice.base.people import People
from sluice.store.checking import Finding, check, count_rows
from sluice.store.copying import backup, restore_into
from sluice.store.database import WAIT_S
from sluice.store.migrating import migrate, schema_version
from sluice.store.people import SqlPeople
from sluice.store.schema import HEAD
from sluice.store.sql_store import SqlStore
from sluice.store.sqlite import SqliteDatabase
from sluice.store.verdicts import reviews_end

_USER_AT_HOST = re.compile(r"[^/\\\s]+:[^/\\]*@")
_POSTGRES = ("postgresql", "postgres", "postgresql+psycopg")


def open_store(address: str, *, create: bool = False, wait_s: float = WAIT_S) -> SqlStore:
    """Open a store; close it, or use it as a context manager.

    Args:
        address: Path of a SQLite file, or `postgresql://user:password@host:port/database`.
        create: Make it where there is none.
        wait_s: How long a writer waits for others.

    Raises:
        ConfigError: There is no store, or the address is of no kind that is known.
        SchemaVersion: It was written by another version.
        StoreError: It is not a store, or cannot be reached.
    """
    if is_postgres(address):
        from sluice.store.postgis import PostgisDatabase  # noqa: PLC0415 - its driver is an extra

        return SqlStore(PostgisDatabase(address, create=create, wait_s=wait_s))
    return SqlStore(SqliteDatabase(store_path(address), create=create, wait_s=wait_s))


def people_of(store: SqlStore) -> People:
    """Accounts of a store; they are gone once it is closed."""
    return SqlPeople(store.db)


def is_postgres(address: str) -> bool:
    """Whether an address is that of a PostgreSQL database."""
    return address.partition("://")[0] in _POSTGRES and "://" in address


def _refuse_mistyped(address: str) -> None:
    """Refuse what is no path but an address gone wrong; it may hold a password, and is not told."""
    if address.startswith(("postgres:", "postgresql:")) or _USER_AT_HOST.match(address):
        raise ConfigError(
            "--store looks like an address without its beginning; write "
            "postgresql://user:password@host:port/database, or the path of a file"
        )


def store_path(address: str) -> Path:
    """Path of a store in a file.

    Raises:
        ConfigError: It is an address of another kind.
    """
    _refuse_mistyped(address)
    kind, is_address, _ = address.partition("://")
    if is_address:
        raise ConfigError(
            f"--store {kind}://…: no store of this kind; give the path of a file, or "
            "postgresql://user:password@host:port/database"
        )
    return Path(address)


def check_store(address: str) -> Iterator[Finding]:
    """Findings of all checks, one after the other.

    Raises:
        ConfigError, SchemaVersion, StoreError: See `open_store`.
    """
    with open_store(address) as store:
        yield from check(store.db)


def backup_store(address: str, to: Path) -> None:
    """Copy a store into a new file, while others go on writing.

    Raises:
        ConfigError: The file is there already.
        StoreError: It cannot be written.
    """
    with open_store(address) as store:
        backup(store.db, to)


def restore_store(source: Path, address: str) -> None:
    """Make a store of a backup, where there is none yet.

    Raises:
        ConfigError: There is a store already.
        SchemaVersion: The backup is of another version, and the store is no file.
        StoreError: The backup is none, or the store cannot be written.
    """
    if not source.is_file():
        raise ConfigError(f"{source}: no such file; give a file that `sluice store backup` wrote")
    if not is_postgres(address):
        with contextlib.closing(SqliteDatabase(source, any_version=True)) as db:
            backup(db, store_path(address))
        return
    with (
        contextlib.closing(SqliteDatabase(source)) as db,
        open_store(address, create=True) as store,
    ):
        restore_into(db, store.db)


@dataclass(frozen=True)
class Migration:
    """What became of a store's schema."""

    before: str
    after: str
    backup: Path | None
    """The store as it was; None where there was nothing to do, or it is no file."""


def migrate_store(address: str) -> Migration:
    """Bring a store to the newest schema; of a file, keep a backup beside it.

    Raises:
        ConfigError: There is no store.
        SchemaVersion: It is newer than this version of Sluice.
        StoreError: It is not a store, or cannot be written.
    """
    if is_postgres(address):
        from sluice.store.postgis import PostgisDatabase  # noqa: PLC0415 - as in `open_store`

        with contextlib.closing(PostgisDatabase(address, any_version=True)) as server:
            return Migration(*migrate(server), backup=None)
    path = store_path(address)
    with contextlib.closing(SqliteDatabase(path, any_version=True)) as db:
        with db.reading() as connection:
            found = schema_version(connection, db.name)
        kept = None
        if found < HEAD:
            kept = _back_up_beside(db, path, found)
        try:
            before, after = migrate(db)
        except SluiceError:
            # Nothing was changed, so that it would only be a second copy.
            if kept is not None:
                kept.unlink()
            raise
        if kept is not None and before == after:
            # Another process was faster, and keeps a copy of its own.
            kept.unlink()
            kept = None
        return Migration(before, after, backup=kept)


def _back_up_beside(db: SqliteDatabase, path: Path, version: str) -> Path:
    """Copy a store to a file beside it that nobody else writes, and give its path."""
    part = path.with_name(f"{path.stem}-{uuid.uuid4().hex}{path.suffix}")
    backup(db, part)
    kept = _claimed(path.with_name(f"{path.stem}-schema-{version}{path.suffix}"))
    part.replace(kept)
    return kept


def _claimed(path: Path) -> Path:
    """The path, or the first of its numbers that was free, as an empty file: another migration may
    look for one now, and an earlier one may have been stopped."""
    number, free = 1, path
    while True:
        try:
            free.touch(exist_ok=False)
        except FileExistsError:
            number += 1
            free = path.with_name(f"{path.stem}-{number}{path.suffix}")
        else:
            return free


def describe_store(address: str) -> dict[str, Any]:
    """Name, kind, version of the schema, and how much there is of what.

    Raises:
        ConfigError, SchemaVersion, StoreError: See `open_store`.
    """
    with open_store(address) as store, store.db.reading() as connection:
        kind = "PostGIS" if is_postgres(address) else "SQLite"
        return {
            "store": store.db.name,
            "kind": kind,
            "schema": schema_version(connection, store.db.name),
            "rows": count_rows(connection),
            "reviews_end": reviews_end(connection),
            "areas": store.areas()["name"].tolist(),
        }
