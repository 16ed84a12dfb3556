"""An area taken out of a store, with all that hangs on it.

Reviews are evidence, and the database refuses to delete them. Here alone that guard is set aside,
within the transaction; the chain of the reviews that stay is drawn anew.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from sluice.base.places import Review, columns_of
from sluice.store import schema
from sluice.store.database import Database
from sluice.store.reviewing import FIRST_LINK, link
from sluice.store.verdicts import REVIEWS_LOCK

_GUARDED = (schema.reviews.name, schema.review_end.name)
_TOLD = ("runs", "detections", "sites", "alerts", "reviews")


def count_area(connection: Connection, name: str) -> dict[str, int]:
    """Rows of an area by table, of what people count; tables without any are left out."""
    found = {}
    for table_name in _TOLD:
        table = schema.metadata.tables[table_name]
        counted = sa.select(sa.func.count()).select_from(table).where(_of_area(table, name))
        found[table_name] = int(connection.execute(counted).scalar_one())
    return {table: rows for table, rows in found.items() if rows}


def rows_text(rows: Mapping[str, int]) -> str:
    """`3 runs, 120 detections and 1 review`."""
    told = [f"{n:,} {table[:-1] if n == 1 else table}" for table, n in rows.items()]
    return " and ".join([", ".join(told[:-1]), told[-1]] if len(told) > 1 else told)


def remove_area(db: Database, connection: Connection, name: str) -> None:
    """Delete an area and all rows that belong to it; labels, which are truth of their own, stay.

    Args:
        db: Where.
        connection: In a transaction that holds the area's lock.
        name: Of the area.
    """
    site = schema.sites.c
    # Rows before the lock of reviews, as whoever adds a review takes them.
    own = sa.select(site.fid).where(site.area == name).order_by(site.fid)
    connection.execute(own.with_for_update()).all()
    db.hold(connection, REVIEWS_LOCK)
    with _without_guard(connection):
        # Those that hang on others come first.
        for table in reversed(schema.metadata.sorted_tables):
            if table is schema.areas or not _keys_of(table):
                continue
            connection.execute(sa.delete(table).where(_of_area(table, name)))
        _draw_chain_anew(connection)
    connection.execute(sa.delete(schema.areas).where(schema.areas.c.name == name))


def _keys_of(table: sa.Table) -> dict[sa.Table, sa.Column[Any]]:
    """Columns that tie a table to an area, by what they name: the area, its runs or its sites."""
    tied = {key.column.table: key.parent for key in table.foreign_keys}
    return {to: tied[to] for to in (schema.areas, schema.sites, schema.runs) if to in tied}


def _of_area(table: sa.Table, name: str) -> sa.ColumnElement[bool]:
    parts = []
    for to, column in _keys_of(table).items():
        if to is schema.areas:
            parts.append(column == name)
        else:
            key = to.c.site_id if to is schema.sites else to.c.run_id
            parts.append(column.in_(sa.select(key).where(to.c.area == name)))
    return sa.or_(*parts)


@contextlib.contextmanager
def _without_guard(connection: Connection) -> Iterator[None]:
    """Set the triggers aside by which the database keeps reviews from being changed."""
    if connection.dialect.name == "postgresql":
        for table in _GUARDED:
            connection.exec_driver_sql(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        yield
        # What foreign keys still have to check would be in the way of changing the tables.
        connection.exec_driver_sql("SET CONSTRAINTS ALL IMMEDIATE")
        for table in _GUARDED:
            connection.exec_driver_sql(f"ALTER TABLE {table} ENABLE TRIGGER USER")
        connection.exec_driver_sql("SET CONSTRAINTS ALL DEFERRED")
        return
    wanted = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?"
    guards = [
        guard for table in _GUARDED for guard in connection.exec_driver_sql(wanted, (table,)).all()
    ]
    for guard in guards:
        connection.exec_driver_sql(f'DROP TRIGGER "{guard.name}"')
    yield
    for guard in guards:
        connection.exec_driver_sql(guard.sql)


def _draw_chain_anew(connection: Connection) -> None:
    """Number the reviews that stay from one, link each to the one before it, and say the end."""
    table, end = schema.reviews, schema.review_end
    previous, number = FIRST_LINK, 0
    for row in connection.execute(sa.select(*table.c).order_by(table.c.seq)).all():
        number += 1
        review = Review(**{name: getattr(row, name) for name in columns_of(Review)})
        previous = link(previous, review)
        if (row.seq, row.chain) != (number, previous):
            connection.execute(
                sa.update(table)
                .where(table.c.review_id == row.review_id)
                .values(seq=number, chain=previous)
            )
    if number:
        connection.execute(sa.update(end).values(reviews=number, chain=previous))
    else:
        connection.execute(sa.delete(end))
