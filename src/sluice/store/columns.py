"""Types of columns that both databases keep, each in its own way.

Reading goes through these types; writing many rows at once through `frames`, which gives what the
databases take as it is. Migrations use what stands here: add to it, and change nothing.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine, UserDefinedType

BOX = ("min_lon", "min_lat", "max_lon", "max_lat")
"""Columns of a shape's box."""


class _PostgisGeometry(UserDefinedType[Any]):
    """Goes in and comes out as hexadecimal EWKB."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """How `CREATE TABLE` names it."""
        return "geometry(Geometry,4326)"


class Shape(TypeDecorator[Any]):
    """A geometry in EPSG:4326: WKB in SQLite, a geometry in PostGIS."""

    impl = sa.LargeBinary
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The type of this database."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(_PostgisGeometry())
        return dialect.type_descriptor(sa.LargeBinary())


class Moment(TypeDecorator[dt.datetime]):
    """A moment in UTC, to the microsecond; ISO 8601 text in SQLite, which has no such type."""

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The type of this database."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(sa.DateTime(timezone=True))
        return dialect.type_descriptor(sa.Text())

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> Any:
        """On the way in."""
        if value is None:
            return None
        return in_utc(value) if dialect.name == "postgresql" else moment_text(value)

    def process_result_value(self, value: Any, _dialect: Dialect) -> dt.datetime | None:
        """On the way out."""
        if value is None:
            return None
        return in_utc(value if isinstance(value, dt.datetime) else dt.datetime.fromisoformat(value))


def words() -> sa.Text:
    """Text that sorts by its characters' codes in both databases."""
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def in_utc(moment: dt.datetime) -> dt.datetime:
    """The same moment in UTC; one without a zone is taken to be in UTC."""
    if moment.tzinfo is None:
        return moment.replace(tzinfo=dt.UTC)
    return moment.astimezone(dt.UTC)


def moment_text(moment: dt.datetime) -> str:
    """ISO 8601 in UTC with microseconds: text that sorts by time."""
    return in_utc(moment).isoformat(timespec="microseconds")


def text_column(name: str, *, optional: bool = False) -> sa.Column[Any]:
    """Text."""
    return sa.Column(name, words(), nullable=optional)


def number_column(name: str, *, optional: bool = True) -> sa.Column[Any]:
    """NaN is NULL, so that most may be."""
    return sa.Column(name, sa.Double(), nullable=optional)


def date_column(name: str, *, optional: bool = False) -> sa.Column[Any]:
    """A day."""
    return sa.Column(name, sa.Date(), nullable=optional)


def flag_column(name: str) -> sa.Column[Any]:
    """True or false."""
    return sa.Column(name, sa.Boolean(), nullable=False)


def json_column(name: str, *, optional: bool = False) -> sa.Column[Any]:
    """Lists and objects; absent is NULL."""
    return sa.Column(name, sa.JSON(none_as_null=True), nullable=optional)


def moment_column(name: str) -> sa.Column[Any]:
    """A moment in UTC."""
    return sa.Column(name, Moment(), nullable=False)


def link_column(
    name: str, target: str, *, optional: bool = False, cascade: bool = False, key: bool = False
) -> sa.Column[Any]:
    """A reference to another table's column."""
    reference = sa.ForeignKey(
        target, ondelete="CASCADE" if cascade else None, deferrable=True, initially="DEFERRED"
    )
    return sa.Column(name, words(), reference, nullable=optional, primary_key=key)


def fid_column() -> sa.Column[Any]:
    """A number for the index of boxes."""
    # INTEGER PRIMARY KEY is SQLite's own row number.
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column("fid", kind, primary_key=True, autoincrement=True)


def shape_and_box() -> list[sa.Column[Any]]:
    """A shape, and the sides of its box."""
    boxes = [number_column(name, optional=False) for name in BOX]
    return [*boxes, sa.Column("geometry", Shape(), nullable=False)]
