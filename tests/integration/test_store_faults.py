"""What goes wrong with a store is said in one line, and nothing is lost."""

import contextlib
import os
import re
import resource
import shlex
import shutil
import sqlite3
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from proof.store_kills import state_of
from proof.store_rows import land_rows, make_rows
from psycopg import sql

from sluice.app.following.stores import check_store, open_store
from sluice.base.errors import ConfigError, Conflict, DataError, SchemaVersion, StoreError
from sluice.base.store import SiteQuery
from sluice.store.migrating import downgrade
from sluice.store.schema import HEAD
from stores import (
    PostgisPlaces,
    SqlitePlaces,
    StorePlaces,
    a_review,
    a_run,
    land_three,
    open_with_area,
    run_sql,
    sites,
)


def test_a_missing_store_tells_how_to_make_one(places: StorePlaces):
    address = places.empty()
    with pytest.raises(ConfigError, match=r"there is no store|holds no store") as told:
        open_store(address)
    assert "--area-name" in str(told.value)
    with open_store(address, create=True) as made, open_store(address) as again:
        assert made.runs() == again.runs() == []


def test_a_folder_and_an_unknown_kind_of_address(tmp_path: Path):
    with pytest.raises(ConfigError, match="is a folder"):
        open_store(str(tmp_path))
    with pytest.raises(ConfigError, match="no store of this kind"):
        open_store("mysql://me:secret@host/db")


def test_other_files_are_not_taken_for_stores(tmp_path: Path):
    text = tmp_path / "notes.sqlite"
    text.write_text("not a database " * 100)
    other = tmp_path / "other.gpkg"
    with contextlib.closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE roads (name)")
    cut_off = tmp_path / "empty.sqlite"
    cut_off.touch()
    for create in (False, True):
        with pytest.raises(StoreError, match="no SQLite file"):
            open_store(str(text), create=create)
        with pytest.raises(StoreError, match="not a store of Sluice"):
            open_store(str(other), create=create)
    with pytest.raises(ConfigError, match="there is no store"):
        open_store(str(cut_off))
    assert text.read_text().startswith("not a database")
    open_store(str(cut_off), create=True).close()


def test_a_store_of_another_version(places: StorePlaces):
    address = places.empty()
    with open_store(address, create=True) as store, store.db.writing() as connection:
        downgrade(connection, "0001")
    named = "ADDRESS" if places.kind == "postgis" else shlex.quote(address)
    advice = re.escape(f"`sluice store migrate --store {named}`")
    with pytest.raises(SchemaVersion, match=rf"version 0001.* needs {HEAD}.*{advice}"):
        open_store(address)
    with open_store_raw(places, address) as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0107'"))
    with pytest.raises(SchemaVersion, match=rf"version 0107.* knows up to {HEAD}"):
        open_store(address)


@contextlib.contextmanager
def open_store_raw(places: StorePlaces, address: str) -> Iterator[sa.Connection]:
    """A connection to a store that would not be opened."""
    if places.kind == "sqlite":
        engine = sa.create_engine(f"sqlite:///{address}")
    else:
        engine = sa.create_engine(
            address.replace("postgresql:", "postgresql+psycopg:"),
            connect_args={"options": "-c search_path=sluice,public"},
        )
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


@contextlib.contextmanager
def as_somebody() -> Iterator[None]:
    """Root may write everywhere: be somebody else meanwhile."""
    if os.getuid() != 0:
        yield
        return
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@pytest.mark.parametrize("folder_too", [False, True])
def test_a_read_only_file_is_read_and_not_written(sqlite_places: SqlitePlaces, folder_too: bool):
    with open_with_area(sqlite_places.made()) as store:
        land_three(store)
        address = store.db.name
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = Path(shutil.copy(address, folder / "store.sqlite"))
        file.chmod(0o444)
        folder.chmod(0o555 if folder_too else 0o777)
        try:
            with as_somebody():
                with open_store(str(file)) as store:
                    assert store.count_sites(SiteQuery()) == 3
                    with pytest.raises(StoreError, match="read-only"):
                        land_three(store, "run-2")
                if folder_too:
                    with pytest.raises(StoreError, match=r"new.sqlite: cannot be opened"):
                        open_store(str(folder / "new.sqlite"), create=True)
        finally:
            folder.chmod(0o755)


def test_a_full_disk_loses_nothing(sqlite_places: SqlitePlaces):
    with open_with_area(sqlite_places.made()) as store:
        land_rows(store, make_rows("ashanti", 0, 50))
        before = state_of(store)
        pages = 0

        # SQLite says the same of a file that may not grow as of a disk that is full.
        @sa.event.listens_for(store.db.engine, "checkout")
        def narrow(connection, *_):
            connection.execute(f"PRAGMA max_page_count = {pages or 2**30}")

        with store.db.reading() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one() + 30
        with pytest.raises(StoreError, match="the disk is full"):
            land_rows(store, make_rows("ashanti", 1, 3000))
        assert state_of(store) == before
        pages = 0
        land_rows(store, make_rows("ashanti", 1, 3000))
        assert store.count_sites(SiteQuery()) == 3000


def test_a_disk_that_fails_in_mid_write_loses_nothing(sqlite_places: SqlitePlaces):
    with open_with_area(sqlite_places.made()) as store:
        land_rows(store, make_rows("ashanti", 0, 50))
        before = state_of(store)
        # Of a large landing some is written to disk before its end.
        with store.db.reading() as connection:
            connection.exec_driver_sql("PRAGMA cache_size = 10")
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        size = Path(store.db.name).stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100_000, hard))
        try:
            with pytest.raises(StoreError, match=r"the disk failed, or is full|the disk is full"):
                land_rows(store, make_rows("ashanti", 1, 3000))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, hard))
        assert state_of(store) == before
        land_rows(store, make_rows("ashanti", 1, 3000))
        assert store.count_sites(SiteQuery()) == 3000


def test_whoever_waits_too_long_is_told(places: StorePlaces):
    address = places.made()
    with open_with_area(address) as first, open_store(address, wait_s=0.3) as second:
        land_three(first)
        with first.landing("ashanti") as landing:
            landing.put_run(a_run("run-2"), None)
            landing.put_sites(sites(5))
            with pytest.raises(Conflict, match="too long"), second.landing("ashanti"):
                pass
            with pytest.raises(Conflict, match="too long"):
                second.add_review(a_review("r1"))
            # Reading does not wait.
            assert second.count_sites(SiteQuery()) == 3
        second.add_review(a_review("r1"))
        assert second.count_sites(SiteQuery()) == 5


def test_damage_is_told(sqlite_places: SqlitePlaces):
    with open_with_area(sqlite_places.made()) as store:
        land_rows(store, make_rows("ashanti", 0, 500))
        path = Path(store.db.name)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 40 * 4096] = b"\xa5" * (40 * 4096)
    path.write_bytes(content)
    with pytest.raises(StoreError, match="damaged"), open_store(str(path)) as store:
        state_of(store)
    wrong = {finding.what for finding in check_store(str(path)) if finding.wrong}
    assert "integrity" in wrong


def test_a_store_without_its_version_is_damaged(sqlite_places: SqlitePlaces):
    address = sqlite_places.made()
    with contextlib.closing(sqlite3.connect(address)) as connection:
        connection.executescript("DELETE FROM alembic_version")
    with pytest.raises(StoreError, match="0 versions"):
        open_store(address)
    with contextlib.closing(sqlite3.connect(address)) as connection:
        connection.executescript("DROP TABLE alembic_version")
    with pytest.raises(StoreError, match="no version"):
        open_store(address)


def test_the_log_of_a_store_that_is_gone_is_not_read_into_another(sqlite_places: SqlitePlaces):
    path = Path(sqlite_places.empty())
    path.with_name(path.name + "-wal").write_bytes(b"frames")
    with pytest.raises(ConfigError, match="belongs to a store that is not there"):
        open_store(str(path), create=True)


def test_reviews_cannot_be_changed_past_the_store(places: StorePlaces):
    with open_with_area(places.made()) as store:
        land_three(store)
        store.add_review(a_review("r1"))
        statements = ["UPDATE reviews SET verdict = 'rejected'", "DELETE FROM reviews"]
        statements += ["UPDATE review_end SET reviews = 0", "DELETE FROM review_end"]
        if places.kind == "postgis":
            statements += ["TRUNCATE reviews", "TRUNCATE review_end"]
        for statement in statements:
            with pytest.raises(DataError, match="added, never changed"):  # noqa: SIM117
                with store.db.writing() as connection:
                    connection.exec_driver_sql(statement)
        assert store.reviews() == [a_review("r1")]


def test_a_connection_that_is_lost_in_mid_write_loses_nothing(postgis_places: PostgisPlaces):
    address = postgis_places.empty()
    with open_with_area(address) as store:
        land_three(store)
        before = state_of(store)
        end_others = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

        def land_cut_off() -> None:
            with store.landing("ashanti") as landing:
                landing.put_run(a_run("run-2"), None)
                run_sql(address, end_others)
                landing.put_sites(sites(5))

        with pytest.raises(StoreError, match="the connection"):
            land_cut_off()
        assert state_of(store) == before
        land_three(store, "run-2")
        run_sql(address, end_others)
        # Connections that died in the pool are replaced.
        assert [run.run_id for run in store.runs()] == ["run-2"]


def test_a_database_that_may_only_be_read(postgis_places: PostgisPlaces):
    address = postgis_places.empty()
    open_with_area(address).close()
    name = address.partition("?")[0].rpartition("/")[2]
    option = "ALTER DATABASE {} SET default_transaction_read_only = on"
    run_sql(address, sql.SQL(option).format(sql.Identifier(name)))
    with open_store(address) as store:
        assert len(store.areas()) == 1
        with pytest.raises(StoreError, match="the database is read-only"):
            land_three(store)


def test_a_database_without_postgis(postgis_places: PostgisPlaces):
    address = postgis_places.address_of("template1")
    run_sql(address, "CREATE ROLE nobody_much LOGIN")
    run_sql(address, "CREATE DATABASE plain TEMPLATE template0 OWNER nobody_much")
    plain = postgis_places.address_of("plain").replace("sluice@", "nobody_much@")
    with pytest.raises(StoreError, match=r"no PostGIS.*CREATE EXTENSION postgis"):
        open_store(plain, create=True)
    with pytest.raises(StoreError, match="no such database"):
        open_store(postgis_places.address_of("nowhere"))
    with pytest.raises(StoreError, match="refused"):
        open_store(plain.replace("nobody_much@", "stranger@"))


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://ama:gold%40dust@/db?host=/nonexistent",
        "postgresql://ama@/db?host=/nonexistent&password=gold%40dust",
        "postgresql://ama:gold@dust@127.0.0.1:port/db",
        "postgresql://ama:gold@dust/7@127.0.0.1:1/db",
        "postgresql+odd://ama:gold@dust@127.0.0.1/db",
        "mysql://ama:gold@dust@127.0.0.1/db",
        "postgres://ama:gold@dust@/db?host=/nonexistent",
    ],
)
def test_no_message_holds_a_password(address: str):
    with pytest.raises((ConfigError, StoreError)) as told:
        open_store(address)
    everything = "".join(traceback.format_exception(told.value))
    assert "gold" not in everything
    assert "dust" not in str(told.value)


def test_without_its_driver_postgres_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match=r"sluice\[postgis\]"):
        open_store("postgresql://ama@/db")
