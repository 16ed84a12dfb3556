"""What the two databases do each in their own way."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from sluice.base.store import BBox
from sluice.store.frames import Values

WAIT_S = 300.0
"""How long a writer waits for another one: longer than a large landing takes."""


class Database(Protocol):
    """An open database with the tables of `schema`."""

    engine: Engine
    name: str
    """What messages call it: a path, or an address without its password."""

    def reading(self) -> AbstractContextManager[Connection]:
        """A connection that sees one state of the store throughout."""
        ...

    def writing(self, lock: str | None = None) -> AbstractContextManager[Connection]:
        """A transaction: written at the end of the block, undone by an exception.

        Args:
            lock: Those who name the same one wait for each other.

        Raises:
            Conflict: Somebody else held it for too long.
        """
        ...

    def hold(self, connection: Connection, lock: str) -> None:
        """Take one more lock within a transaction, until its end."""
        ...

    def put(
        self,
        connection: Connection,
        table: sa.Table,
        values: Values,
        key: Sequence[str] = (),
    ) -> None:
        """Add rows; those whose key is there take the place of what is there.

        Args:
            connection: In a transaction.
            table: Where they go.
            values: Of `frames.rows_in`.
            key: Columns of a unique key; none where rows are only added.
        """
        ...

    def among(self, column: sa.ColumnElement[Any], values: Sequence[str]) -> sa.ColumnElement[bool]:
        """Whether a column holds one of many texts."""
        ...

    def near(self, table: sa.Table, bbox: BBox) -> sa.ColumnElement[bool]:
        """Whether the index says that a row's box may meet this one."""
        ...

    def join_near(self, wanted: sa.Select[Any], table: sa.Table, bbox: BBox) -> sa.Select[Any]:
        """Rows of a statement whose box may meet this one, each as it is found by the index."""
        ...

    def near_rows(self, table: sa.Table, bbox: BBox) -> sa.Select[Any] | sa.CompoundSelect[Any]:
        """The numbers of those rows."""
        ...

    def are_few(
        self, connection: Connection, rows: sa.Select[Any] | sa.CompoundSelect[Any], few: int
    ) -> bool:
        """Whether to begin with these rows: the alternative goes through all in the order that is
        wanted, until enough are found.

        Args:
            connection: To look with.
            rows: Found by an index.
            few: How many may be looked at one by one.
        """
        ...

    def unindexed(self, column: sa.Column[Any]) -> sa.ColumnElement[Any]:
        """A column for which no index is to be taken."""
        ...

    def after_many(self, tables: set[str]) -> None:
        """Make the database ready to be asked, after much was written to tables."""
        ...

    def close(self) -> None:
        """Give connections back."""
        ...


def meets(table: sa.Table, bbox: BBox) -> sa.ColumnElement[bool]:
    """Whether a row's box meets one exactly; either may cross 180 degrees."""
    west, south, east, north = bbox
    row = table.c
    begins, ends, crosses = row.min_lon <= east, row.max_lon >= west, row.min_lon > row.max_lon
    if west > east:
        by_lon = sa.or_(crosses, begins, ends)
    else:
        by_lon = sa.or_(sa.and_(begins, ends), sa.and_(crosses, sa.or_(begins, ends)))
    return sa.and_(row.min_lat <= north, row.max_lat >= south, by_lon)


def point_within(lon: sa.ColumnElement[Any], lat: sa.ColumnElement[Any], bbox: BBox) -> Any:
    """Whether a place lies in a box, which may cross 180 degrees."""
    west, south, east, north = bbox
    by_lon = sa.or_(lon >= west, lon <= east) if west > east else lon.between(west, east)
    return sa.and_(lat.between(south, north), by_lon)


def sides_of(bbox: BBox) -> list[BBox]:
    """The box, or its parts on both sides of 180 degrees."""
    west, south, east, north = bbox
    if west <= east:
        return [bbox]
    return [(west, south, 180.0, north), (-180.0, south, east, north)]
