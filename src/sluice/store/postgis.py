"""A store in a PostgreSQL database with PostGIS: for several people who write at once.

Its tables are in a schema of their own, `sluice`. Those who land in different areas do not wait
for each other.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import shapely
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection

from sluice.base.errors import ConfigError, StoreError
from sluice.base.store import BBox
from sluice.store.columns import Shape
from sluice.store.database import WAIT_S, sides_of
from sluice.store.faults import translating
from sluice.store.frames import Values, read_json
from sluice.store.migrating import require_newest, upgrade

SCHEMA = "sluice"
_MAKING = "sluice: schema"
_SHAPES_AT_ONCE = 50_000
_CONNECT_S = 15


class PostgisDatabase:
    """A database with the tables of `schema`: see `database.Database`."""

    def __init__(
        self,
        address: str,
        *,
        create: bool = False,
        wait_s: float = WAIT_S,
        any_version: bool = False,
    ) -> None:
        """Connect.

        Args:
            address: `postgresql://user:password@host:port/database`.
            create: Make the tables where there are none.
            wait_s: How long to wait for another writer.
            any_version: Of the schema too: only to bring it up.

        Raises:
            ConfigError: The database holds no store, and none is to be made; or the driver is
                missing.
            SchemaVersion: It was written by another version.
            StoreError: It cannot be reached, or has no PostGIS.
        """
        url = _parse(address)
        self.name = public_name(url)
        self.engine = connect_database(url, wait_s=wait_s)
        try:
            with translating(self.name):
                self._recognise(create=create, any_version=any_version)
        except BaseException:
            self.engine.dispose()
            raise

    def _recognise(self, *, create: bool, any_version: bool) -> None:
        with self.engine.connect() as connection:
            if _has_tables(connection):
                if not any_version:
                    require_newest(connection, self.name)
                return
        if not create:
            raise ConfigError(
                f"{self.name}: the database holds no store; land a scan in it (`sluice scan … "
                "--store ADDRESS --area-name NAME`), add an area or import detections to make one, "
                "or check --store",
                href=self.name,
            )
        with self.writing(_MAKING) as connection:
            # Somebody else may have made it meanwhile.
            if not _has_tables(connection):
                self._require_postgis(connection)
                connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
                upgrade(connection)

    def _require_postgis(self, connection: Connection) -> None:
        wanted = "SELECT 1 FROM pg_extension WHERE extname = 'postgis'"
        if connection.exec_driver_sql(wanted).first() is not None:
            return
        try:
            with connection.begin_nested():
                connection.exec_driver_sql("CREATE EXTENSION postgis")
        except sa.exc.DBAPIError as err:
            raise StoreError(
                f"{self.name}: the database has no PostGIS, and this user cannot add it; as a "
                "superuser run `CREATE EXTENSION postgis` in it",
                href=self.name,
            ) from err

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """See `Database`."""
        with translating(self.name), self.engine.connect() as connection:
            yield connection.execution_options(isolation_level="REPEATABLE READ")

    @contextlib.contextmanager
    def writing(self, lock: str | None = None) -> Iterator[Connection]:
        """See `Database`."""
        with translating(self.name), self.engine.connect() as connection, connection.begin():
            if lock is not None:
                self.hold(connection, lock)
            yield connection

    def hold(self, connection: Connection, lock: str) -> None:
        """See `Database`."""
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_lock_number(lock))))

    def put(
        self, connection: Connection, table: sa.Table, values: Values, key: Sequence[str] = ()
    ) -> None:
        """See `Database`: copied, into a table of its own first where rows may be replaced."""
        quote = connection.dialect.identifier_preparer.quote
        columns = ", ".join(quote(name) for name in values)
        if not key:
            _copy(connection, table, quote(table.name), values)
            return
        arrived = quote(f"arrived_{table.name}")
        connection.exec_driver_sql(
            f"CREATE TEMPORARY TABLE {arrived} ON COMMIT DROP AS "  # noqa: S608 - names of ours
            f"SELECT {columns} FROM {quote(table.name)} WITH NO DATA"
        )
        _copy(connection, table, arrived, values)
        changed = [name for name in values if name not in key]
        to = ", ".join(f"{quote(name)} = excluded.{quote(name)}" for name in changed)
        connection.exec_driver_sql(
            f"INSERT INTO {quote(table.name)} ({columns}) SELECT {columns} FROM {arrived} "  # noqa: S608
            f"ON CONFLICT ({', '.join(map(quote, key))}) DO UPDATE SET {to}"
        )
        connection.exec_driver_sql(f"DROP TABLE {arrived}")

    def among(self, column: sa.ColumnElement[Any], values: Sequence[str]) -> sa.ColumnElement[bool]:
        """See `Database`."""
        given = sa.cast([str(value) for value in values], sa.ARRAY(sa.Text()))
        return column.in_(sa.select(sa.func.unnest(given)))

    def near(self, table: sa.Table, bbox: BBox) -> sa.ColumnElement[bool]:
        """See `Database`."""
        parts = [
            table.c.geometry.op("&&", is_comparison=True)(sa.func.ST_MakeEnvelope(*side, 4326))
            for side in sides_of(bbox)
        ]
        return sa.or_(*parts)

    def join_near(self, wanted: sa.Select[Any], table: sa.Table, bbox: BBox) -> sa.Select[Any]:
        """See `Database`."""
        return wanted.where(self.near(table, bbox))

    def near_rows(self, table: sa.Table, bbox: BBox) -> sa.Select[Any] | sa.CompoundSelect[Any]:
        """See `Database`."""
        return sa.select(table.c.fid).where(self.near(table, bbox))

    def are_few(
        self, connection: Connection, rows: sa.Select[Any] | sa.CompoundSelect[Any], few: int
    ) -> bool:
        """See `Database`: as the server's statistics have it. Left to choose by itself, it takes
        the sides of a box for independent of each other, and expects far too few rows."""
        written = rows.compile(connection.engine, compile_kwargs={"literal_binds": True})
        plan = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {written}").scalar_one()
        return int(plan[0]["Plan"]["Plan Rows"]) <= few

    def unindexed(self, column: sa.Column[Any]) -> sa.ColumnElement[Any]:
        """See `Database`: the server decides."""
        return column

    def after_many(self, tables: set[str]) -> None:
        """See `Database`: statistics, and which rows everybody sees, so that indexes do alone."""
        with translating(self.name), self.engine.connect() as connection:
            alone = connection.execution_options(isolation_level="AUTOCOMMIT")
            alone.exec_driver_sql(
                f"VACUUM (ANALYZE, SKIP_LOCKED) {', '.join(sorted(tables | {'runs'}))}"
            )

    def close(self) -> None:
        """See `Database`."""
        self.engine.dispose()


def _parse(address: str) -> sa.URL:
    unreadable = ConfigError(
        "--store: the address cannot be read; write "
        "postgresql://user:password@host:port/database, with %40 for @, %2F for / and %3F for ? in "
        "a password"
    )
    try:
        url = sa.make_url(address)
    except (sa.exc.ArgumentError, ValueError):
        # What SQLAlchemy says may hold the password.
        raise unreadable from None
    if "@" in f"{url.host}{url.database}":
        # The end of a password that was cut in two: it would be shown as a host.
        raise unreadable
    return url.set(drivername="postgresql+psycopg")


def public_name(url: sa.URL) -> str:
    """The address for messages: without password and options, which may hold one."""
    host = url.host or url.query.get("host") or ""
    where = host if isinstance(host, str) else ",".join(host)
    user = f"{url.username}@" if url.username else ""
    port = f":{url.port}" if url.port else ""
    return f"postgresql://{user}{where}{port}/{url.database or ''}"


def connect_database(url: sa.URL, *, wait_s: float = WAIT_S) -> sa.Engine:
    """An engine whose connections keep this project's rules.

    Raises:
        ConfigError: The driver is missing.
    """
    try:
        engine = sa.create_engine(
            url,
            # A prepared statement would be planned for any box, when how many rows lie in one
            # decides which index is best.
            connect_args={"connect_timeout": _CONNECT_S, "prepare_threshold": None},
            pool_pre_ping=True,
            json_deserializer=read_json,
        )
    except ImportError as err:
        raise ConfigError(
            "a store in PostgreSQL needs psycopg; install it with `pip install 'sluice[postgis]'`"
        ) from err

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        with connection.cursor() as cursor:
            # PostGIS may be in a schema that the database's own path names.
            cursor.execute(
                "SELECT set_config('search_path', %s || ', ' || current_setting('search_path'), "
                "false), set_config('lock_timeout', %s, false), set_config('timezone', 'UTC', "
                "false), set_config('client_encoding', 'UTF8', false), "
                # The default is that of turning disks.
                "set_config('random_page_cost', '1.1', false)",
                (SCHEMA, f"{int(wait_s * 1000)}ms"),
            )
        connection.commit()

    return engine


def _has_tables(connection: Connection) -> bool:
    wanted = f"SELECT to_regclass('{SCHEMA}.alembic_version') IS NOT NULL"
    return bool(connection.exec_driver_sql(wanted).scalar_one())


def _lock_number(lock: str) -> int:
    """Of an advisory lock: 64 bits, signed."""
    digest = hashlib.sha256(lock.encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def _copy(connection: Connection, table: sa.Table, target: str, values: Values) -> None:
    """`COPY` rows into a table that has these columns."""
    quote = connection.dialect.identifier_preparer.quote
    columns = ", ".join(quote(name) for name in values)
    given = [
        _as_ewkb(column) if isinstance(table.c[name].type, Shape) else iter(column)
        for name, column in values.items()
    ]
    driver: Any = connection.connection.driver_connection
    with (
        driver.cursor() as cursor,
        cursor.copy(f"COPY {target} ({columns}) FROM STDIN") as copy,
    ):
        for row in zip(*given, strict=True):
            copy.write_row(row)


def _as_ewkb(shapes: Sequence[bytes]) -> Iterator[str]:
    """Hexadecimal, with the number of the CRS in it."""
    for start in range(0, len(shapes), _SHAPES_AT_ONCE):
        batch = shapes[start : start + _SHAPES_AT_ONCE]
        with_crs = shapely.set_srid(shapely.from_wkb(batch), 4326)
        yield from shapely.to_wkb(with_crs, hex=True, include_srid=True)
