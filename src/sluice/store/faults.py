"""What databases complain of, in this project's errors: the only place that reads their codes."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

import sqlalchemy as sa

from sluice.base.errors import Conflict, DataError, StoreBusy, StoreError

_AGAIN = "nothing of it was written; try again"

# By the beginning of SQLite's name of the error; the first that fits.
_SQLITE: tuple[tuple[str, type[StoreError | DataError], str], ...] = (
    (
        "SQLITE_BUSY",
        StoreBusy,
        "another process holds it for too long; nothing was written; wait until it is done, "
        "then try again",
    ),
    (
        "SQLITE_LOCKED",
        StoreBusy,
        "another process holds it for too long; nothing was written; wait until it is done, "
        "then try again",
    ),
    (
        "SQLITE_FULL",
        StoreError,
        f"the disk is full; make room: {_AGAIN}",
    ),
    (
        "SQLITE_READONLY",
        StoreError,
        "the file, or its folder, is read-only; allow writing to both, or copy the file to "
        "where you may write",
    ),
    (
        "SQLITE_CANTOPEN",
        StoreError,
        "cannot be opened; its folder must be there and be writable, as SQLite writes beside it",
    ),
    (
        "SQLITE_NOTADB",
        StoreError,
        "not a store: no SQLite file; check the path",
    ),
    (
        "SQLITE_CORRUPT",
        StoreError,
        "damaged; `sluice store check` says where, `sluice store restore` makes it again of a "
        "backup",
    ),
    (
        "SQLITE_IOERR",
        StoreError,
        f"the disk failed, or is full; check it: {_AGAIN}",
    ),
    (
        "SQLITE_PERM",
        StoreError,
        "you may not read it; ask whoever owns the file",
    ),
    (
        "SQLITE_CONSTRAINT_FOREIGNKEY",
        DataError,
        "rows name a run, a site, an area or a layer that is not there; put it in the same landing",
    ),
    ("SQLITE_CONSTRAINT_TRIGGER", DataError, "the store refuses that"),
    ("SQLITE_CONSTRAINT", DataError, "rows contradict what is there, or lack a value"),
    ("SQLITE_TOOBIG", DataError, "a value is too large to be stored"),
)

# By the beginning of SQLSTATE; the first that fits.
_POSTGRES: tuple[tuple[str, type[StoreError | DataError], str], ...] = (
    (
        "55P03",
        StoreBusy,
        "somebody else writes there for too long; nothing was written; wait until they are done, "
        "then try again",
    ),
    ("40", Conflict, f"somebody else wrote at the same time; {_AGAIN}"),
    ("53100", StoreError, f"the server's disk is full; make room: {_AGAIN}"),
    ("53", StoreError, f"the server is out of connections or memory; {_AGAIN}"),
    ("57", StoreError, f"the server was stopped, or broke the connection off; {_AGAIN}"),
    ("08", StoreError, f"the connection was lost; {_AGAIN}"),
    (
        "25006",
        StoreError,
        "the database is read-only (a replica, or default_transaction_read_only); name the one "
        "that may be written",
    ),
    (
        "42501",
        StoreError,
        "this user may not do that; ask the database's owner for the right, or give another user",
    ),
    ("28", StoreError, "user or password were refused; check both"),
    (
        "3D000",
        StoreError,
        "there is no such database; create it with `createdb`, or check its name",
    ),
    ("42", StoreError, "not a store, or damaged: tables are not as they must be"),
    ("XX", StoreError, "damaged; restore it from a backup: `sluice store restore`"),
    (
        "23503",
        DataError,
        "rows name a run, a site, an area or a layer that is not there; put it in the same landing",
    ),
    ("P0001", DataError, "the store refuses that"),
    ("23", DataError, "rows contradict what is there, or lack a value"),
    ("22", DataError, "a value cannot be stored as it is"),
)
_UNREACHABLE = (
    "cannot be reached, or the connection broke off: nothing was written; check host, port and "
    "network, then try again"
)


@contextlib.contextmanager
def translating(store: str) -> Iterator[None]:
    """Raise what a database complains of within the block as an error of this project.

    Args:
        store: What the message calls the store: a path, or an address without its password.
    """
    try:
        yield
    except sa.exc.DBAPIError as err:
        raise translate(err.orig if err.orig is not None else err, store) from err
    except sa.exc.TimeoutError as err:
        raise StoreError(
            f"{store}: all connections are taken; close some, and try again", href=store
        ) from err
    except Exception as err:
        if isinstance(err, sqlite3.Error) or _is_psycopg(err):
            raise translate(err, store) from err
        raise


def translate(err: BaseException, store: str) -> StoreError | DataError:
    """The error of this project that says the same."""
    code = getattr(err, "sqlite_errorname", None)
    if code is not None:
        return _from_table(_SQLITE, str(code), err, store)
    if _is_psycopg(err):
        state = getattr(err, "sqlstate", None)
        if state is None:
            state = _state_of_refusal(str(err))
        if state is None:
            return StoreError(f"{store}: {_UNREACHABLE} ({_first_line(err)})", href=store)
        return _from_table(_POSTGRES, str(state), err, store)
    return _unforeseen(err, store)


def _from_table(
    table: tuple[tuple[str, type[StoreError | DataError], str], ...],
    code: str,
    err: BaseException,
    store: str,
) -> StoreError | DataError:
    for start, kind, what in table:
        if code.startswith(start):
            return kind(f"{store}: {what} ({_first_line(err)})", href=store)
    return _unforeseen(err, store)


def _unforeseen(err: BaseException, store: str) -> StoreError:
    what = f"{_first_line(err)}; check it with `sluice store check`"
    return StoreError(f"{store}: {what}", href=store)


def _state_of_refusal(message: str) -> str | None:
    """A connection that is refused carries no code, only the server's words."""
    for part, state in (
        ("password authentication failed", "28P01"),
        ("no password supplied", "28P01"),
        ("role ", "28000"),
        ("no pg_hba.conf entry", "28000"),
        ("database ", "3D000"),
        ("too many", "53300"),
    ):
        if "FATAL" in message and part in message:
            return state
    return None


def is_busy(err: BaseException | None) -> bool:
    """Whether SQLite says that somebody else holds the file."""
    name = getattr(err, "sqlite_errorname", None) or ""
    return str(name).startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def _is_psycopg(err: BaseException) -> bool:
    """Without an import: the driver is an extra."""
    return any(kind.__module__.startswith("psycopg") for kind in type(err).__mro__)


def _first_line(err: BaseException) -> str:
    lines = str(err).strip().splitlines()
    return lines[0] if lines else type(err).__name__
