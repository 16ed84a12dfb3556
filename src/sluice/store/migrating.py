"""Bring a store to the newest schema; alembic's migrations are in `migrations`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from sluice import __version__
from sluice.base.errors import SchemaVersion, StoreError
from sluice.store.schema import HEAD

if TYPE_CHECKING:
    from alembic.config import Config

    from sluice.store.database import Database

FOLDER = Path(__file__).parent / "migrations"


def schema_version(connection: Connection, store: str) -> str:
    """The version of a store's schema.

    Raises:
        StoreError: It has none.
    """
    try:
        found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").all()
    except (sa.exc.OperationalError, sa.exc.ProgrammingError) as err:
        raise StoreError(
            f"{store}: the store says no version of its schema; it is damaged: restore a backup "
            "with `sluice store restore`",
            href=store,
        ) from err
    if len(found) != 1:
        raise StoreError(
            f"{store}: the store has {len(found)} versions of its schema in place of one; it is "
            "damaged: restore a backup with `sluice store restore`",
            href=store,
        )
    return str(found[0][0])


def require_newest(connection: Connection, store: str) -> None:
    """Refuse a store of another schema.

    Raises:
        SchemaVersion: It is older or newer than what this version reads.
    """
    found = schema_version(connection, store)
    if found == HEAD:
        return
    if found < HEAD:
        raise SchemaVersion(
            f"{store}: its schema is version {found}, this Sluice ({__version__}) needs {HEAD}; "
            f"bring it up with `sluice store migrate --store {_named(store)}`",
            href=store,
        )
    raise SchemaVersion(
        f"{store}: its schema is version {found}, this Sluice ({__version__}) knows up to {HEAD}; "
        "install a newer Sluice",
        href=store,
    )


def _named(store: str) -> str:
    """A store as a shell takes it; an address is not told whole, as it may hold a password."""
    return "ADDRESS" if "://" in store else shlex.quote(store)


def upgrade(connection: Connection, to: str = "head") -> None:
    """Run migrations within the transaction that the connection is in."""
    from alembic import command  # noqa: PLC0415 - most commands open a store that is up to date

    command.upgrade(_config(connection), to)


def downgrade(connection: Connection, to: str) -> None:
    """Undo migrations: for tests of migrating."""
    from alembic import command  # noqa: PLC0415 - as in `upgrade`

    command.downgrade(_config(connection), to)


def migrate(db: Database) -> tuple[str, str]:
    """Bring an open store to the newest schema, in one transaction.

    Returns:
        The version that it had, and the one that it has.

    Raises:
        SchemaVersion: It is newer than this version of Sluice.
    """
    with db.writing("sluice: schema") as connection:
        found = schema_version(connection, db.name)
        if found < HEAD:
            upgrade(connection)
        else:
            require_newest(connection, db.name)
    return found, HEAD


def _config(connection: Connection) -> Config:
    from alembic.config import Config  # noqa: PLC0415 - as in `upgrade`

    config = Config()
    # `%` begins a reference in these options.
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
