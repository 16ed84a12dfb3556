"""Checks, copies and newer versions of stores."""

import json
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from proof.store_kills import state_of
from proof.store_rows import land_rows, make_rows

from sluice.app.config import store_address
from sluice.app.following import stores
from sluice.app.following.stores import (
    backup_store,
    check_store,
    migrate_store,
    open_store,
    restore_store,
)
from sluice.base.errors import ConfigError, StoreError
from sluice.base.places import Verdict
from sluice.base.store import SiteQuery
from sluice.store import schema
from sluice.store.migrating import FOLDER, downgrade
from stores import (
    PostgisPlaces,
    SqlitePlaces,
    StorePlaces,
    a_review,
    detections,
    land_three,
    open_with_area,
)


def wrong_of(address: str) -> dict[str, str]:
    return {finding.what: finding.wrong for finding in check_store(address) if finding.wrong}


def fill(address: str) -> None:
    """Two runs, reviews, and all else that a store keeps."""
    with open_with_area(address) as store:
        for number in range(2):
            land_rows(store, make_rows("ashanti", number, 30))
        store.add_review(a_review("r1", "s-ashanti-0000001"))
        store.add_review(a_review("r2", "s-ashanti-0000001", who="Kofi"))
        store.add_review(a_review("r3", "s-ashanti-0000002", verdict=Verdict.UNSURE))


def test_a_sound_store_is_sound(places: StorePlaces):
    address = places.made()
    assert wrong_of(address) == {}
    fill(address)
    assert wrong_of(address) == {}


DAMAGE = {
    "a box that is another": (
        "UPDATE sites SET max_lon = max_lon + 1 WHERE site_id = 's-ashanti-0000003'",
        "shapes",
        "sites: 0 unreadable, 1 with a wrong box",
    ),
    "a verdict that nobody gave": (
        "UPDATE sites SET verdict = 'rejected' WHERE site_id = 's-ashanti-0000002'",
        "verdicts",
        "1 sites do not say what their reviews say: s-ashanti-0000002",
    ),
    "a detection that was taken out": (
        "DELETE FROM detections WHERE detection_id = 'd4' AND run_id = 'ashanti-001'",
        "runs",
        "ashanti-001: 30 landed, 29 there",
    ),
}
SQLITE_DAMAGE = {
    "a shape that cannot be read": (
        "UPDATE detections SET geometry = x'0103' WHERE detection_id = 'd4'",
        "shapes",
        "detections: 2 unreadable",
    ),
    "a box that is not in the tree": (
        "DELETE FROM rtree_sites WHERE fid = 3",
        "boxes",
        "rtree_sites: 30 rows, 29 boxes",
    ),
    "a box in the tree that does not fit": (
        "UPDATE rtree_detections SET west = east + 1, east = east + 2 WHERE fid = 3",
        "boxes",
        "60 rows, 60 boxes, 59 that fit",
    ),
    "a look at no site": (
        "PRAGMA foreign_keys = OFF; UPDATE looks SET site_id = 'nix' "
        "WHERE site_id = 's-ashanti-0000003' AND run_id = 'ashanti-000'",
        "references",
        "1 looks without their sites",
    ),
    "a review that was changed": (
        "DROP TRIGGER reviews_stay_update; UPDATE reviews SET who = 'Yaa' WHERE seq = 2",
        "reviews",
        "review r2 of Yaa, or one before it, was changed",
    ),
    "a review that was taken out": (
        "DROP TRIGGER reviews_stay_delete; DELETE FROM reviews WHERE seq = 1",
        "reviews",
        "review r2",
    ),
    "the last review that was taken out": (
        "DROP TRIGGER reviews_stay_delete; DELETE FROM reviews WHERE seq = 3; "
        "UPDATE sites SET verdict = NULL, reviewers = 0 WHERE site_id = 's-ashanti-0000002'",
        "reviews",
        "3 reviews were added and 2 are there: the last ones were taken out",
    ),
    "all reviews that were taken out": (
        "DROP TRIGGER reviews_stay_delete; DELETE FROM reviews; "
        "UPDATE sites SET verdict = NULL, reviewers = 0",
        "reviews",
        "3 reviews were added and 0 are there",
    ),
    "an end of the reviews that was taken out": (
        "DROP TRIGGER review_end_stays_delete; DELETE FROM review_end",
        "reviews",
        "3 reviews are there and 0 were added by Sluice",
    ),
    "a guard of the end that was taken away": (
        "DROP TRIGGER review_end_stays_update",
        "reviews and log stay",
        "review_end_stays_update",
    ),
    "a guard that was taken away": (
        "DROP TRIGGER reviews_stay_delete",
        "reviews and log stay",
        "reviews_stay_delete",
    ),
}
POSTGIS_DAMAGE = {
    "a look at no site": (
        "SET session_replication_role = replica; UPDATE looks SET site_id = 'nix' "
        "WHERE site_id = 's-ashanti-0000003' AND run_id = 'ashanti-000'",
        "references",
        "1 looks without their sites",
    ),
    "a review that was changed": (
        "SET session_replication_role = replica; UPDATE reviews SET note = 'no' WHERE seq = 2",
        "reviews",
        "review r2 of Kofi",
    ),
    "the last review that was taken out": (
        "SET session_replication_role = replica; UPDATE reviews SET note = '' WHERE seq = 2; "
        "DELETE FROM reviews WHERE seq = 3",
        "reviews",
        "3 reviews were added and 2 are there: the last ones were taken out",
    ),
    "a guard of the end that was taken away": (
        "ALTER TABLE review_end DISABLE TRIGGER review_end_stays_all",
        "reviews and log stay",
        "review_end_stays_all",
    ),
    "a guard that was taken away": (
        "ALTER TABLE reviews DISABLE TRIGGER reviews_stay",
        "reviews and log stay",
        "reviews_stay",
    ),
}


def damaged(address: str, statements: str) -> dict[str, str]:
    with open_store(address) as store, store.db.engine.connect() as connection:
        alone = connection.execution_options(isolation_level="AUTOCOMMIT")
        driver = alone.connection.driver_connection
        for statement in statements.split("; "):
            driver.execute(statement)
        # What was set holds for this connection alone.
        connection.invalidate()
    return wrong_of(address)


@pytest.mark.parametrize("name", [*DAMAGE, *SQLITE_DAMAGE])
def test_a_check_finds_damage_to_a_file(sqlite_places: SqlitePlaces, name: str):
    statements, what, said = (DAMAGE | SQLITE_DAMAGE)[name]
    address = sqlite_places.made()
    fill(address)
    assert said in damaged(address, statements)[what]


def test_a_check_finds_damage_to_a_database(postgis_places: PostgisPlaces):
    address = postgis_places.empty()
    fill(address)
    for statements, what, said in (DAMAGE | POSTGIS_DAMAGE).values():
        assert said in damaged(address, statements)[what]


@pytest.fixture
def both(sqlite_places: SqlitePlaces, postgis_places: PostgisPlaces):
    yield {"sqlite": sqlite_places, "postgis": postgis_places}
    postgis_places.take_back()


def test_a_backup_of_either_kind_restores_to_either(places: StorePlaces, both, tmp_path: Path):
    address = places.made()
    fill(address)
    file = tmp_path / "backup.sqlite"
    backup_store(address, file)
    # What comes later is not in it.
    with open_store(address) as store:
        before = state_of(store)
        land_rows(store, make_rows("ashanti", 2, 30))
        expected = state_of(store)
    assert [path.name for path in tmp_path.iterdir()] == ["backup.sqlite"]
    for kind, others in both.items():
        target = others.empty() if kind == "sqlite" else others.made()
        restore_store(file, target)
        assert wrong_of(target) == {}
        with open_store(target) as restored:
            assert state_of(restored) == before
            # It goes on where the other stopped.
            land_rows(restored, make_rows("ashanti", 2, 30))
            assert state_of(restored) == expected
            restored.add_review(a_review("r4", "s-ashanti-0000004"))
        assert wrong_of(target) == {}


def test_nothing_is_overwritten(places: StorePlaces, tmp_path: Path):
    address = places.made()
    fill(address)
    file = tmp_path / "backup.sqlite"
    backup_store(address, file)
    held = file.read_bytes()
    with pytest.raises(ConfigError, match="is there already"):
        backup_store(address, file)
    with pytest.raises(ConfigError, match="already"):
        restore_store(file, address)
    with pytest.raises(ConfigError, match="no such file"):
        restore_store(tmp_path / "nix.sqlite", address)
    assert file.read_bytes() == held
    with pytest.raises(StoreError, match="cannot be written"):
        backup_store(address, file / "within-a-file.sqlite")
    assert wrong_of(address) == {}


def test_a_backup_is_one_state_while_others_write(places: StorePlaces, tmp_path: Path):
    address = places.made()
    fill(address)
    states = []
    with open_store(address) as store:
        states.append(state_of(store))

    def land() -> None:
        with open_store(address) as writer:
            for number in range(2, 4):
                land_rows(writer, make_rows("ashanti", number, 30), steps=3)
                states.append(state_of(writer))

    thread = threading.Thread(target=land)
    thread.start()
    files = []
    while thread.is_alive() or not files:
        files.append(tmp_path / f"backup-{len(files)}.sqlite")
        backup_store(address, files[-1])
    thread.join()
    assert len(states) == 3
    for file in files:
        with open_store(str(file)) as copy:
            assert state_of(copy) in states


def test_migrating(places: StorePlaces):
    address = places.empty()
    fill(address)
    with open_store(address) as store:
        before = state_of(store)
        with store.db.writing() as connection:
            downgrade(connection, "0001")
    done = migrate_store(address)
    assert (done.before, done.after) == ("0001", schema.HEAD)
    with open_store(address) as store:
        assert state_of(store) == before
        names = {index["name"] for index in sa.inspect(store.db.engine).get_indexes("sites")}
        assert "sites_by_priority" in names
    assert wrong_of(address) == {}
    assert migrate_store(address).before == schema.HEAD
    if places.kind == "sqlite":
        assert done.backup == Path(address).with_name(f"{Path(address).stem}-schema-0001.sqlite")
        restored = Path(address).with_name(f"{Path(address).stem}-again.sqlite")
        restore_store(done.backup, str(restored))
        migrate_store(str(restored))
        with open_store(str(restored)) as store:
            assert state_of(store) == before


@pytest.mark.parametrize("moment", ["before", "after"])
def test_of_two_migrations_at_once_one_keeps_a_copy(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    address = str(tmp_path / "ours.sqlite")
    fill(address)
    with open_store(address) as store, store.db.writing() as connection:
        downgrade(connection, "0001")
    real, others = stores.backup, []

    def while_another_migrates(*given: Any) -> None:
        monkeypatch.setattr(stores, "backup", real)
        if moment == "before":
            others.append(migrate_store(address))
        real(*given)
        if moment == "after":
            others.append(migrate_store(address))

    monkeypatch.setattr(stores, "backup", while_another_migrates)
    done = migrate_store(address)
    assert (done.before, done.backup) == (schema.HEAD, None)
    (other,) = others
    assert other.before == "0001"
    assert sorted(tmp_path.glob("*.sqlite")) == [
        tmp_path / "ours-schema-0001.sqlite",
        Path(address),
    ]
    assert migrate_store(str(other.backup)).before == "0001"


def test_a_migration_that_fails_changes_nothing(places: StorePlaces, monkeypatch):
    address = places.empty()
    fill(address)
    with open_store(address) as store, store.db.writing() as connection:
        downgrade(connection, "0001")
        connection.exec_driver_sql("CREATE INDEX alerts_by_priority ON alerts (level)")
    with pytest.raises(StoreError):
        migrate_store(address)
    with pytest.raises(StoreError, match="migrate"):
        open_store(address)
    kind = places.kind
    if kind == "sqlite":
        # Nor does it leave a copy of what did not change.
        assert not [*Path(address).parent.glob(f"{Path(address).stem}-schema-*")]
        # One that was killed leaves its copy, which is not in the way.
        copy = Path(address).with_name(f"{Path(address).stem}-schema-0001.sqlite")
        copy.write_bytes(b"an earlier try")
    engine = sa.create_engine(
        f"sqlite:///{address}"
        if kind == "sqlite"
        else address.replace("postgresql:", "postgresql+psycopg:")
    )
    with engine.begin() as connection:
        if kind == "postgis":
            connection.execute(sa.text("SET search_path = sluice, public"))
        names = {index["name"] for index in sa.inspect(connection).get_indexes("sites")}
        assert "sites_by_priority" not in names
        connection.execute(sa.text("DROP INDEX alerts_by_priority"))
    engine.dispose()
    done = migrate_store(address)
    assert done.after == schema.HEAD
    if kind == "sqlite":
        assert copy.read_bytes() == b"an earlier try"
        assert done.backup == copy.with_name(f"{copy.stem}-2.sqlite")
        assert wrong_of(address) == {}


@pytest.mark.filterwarnings("ignore:Did not recognize type 'geometry'")
def test_migrations_make_the_schema(places: StorePlaces):
    assert ScriptDirectory(str(FOLDER)).get_heads() == [schema.HEAD]

    def is_ours(_object, name, kind, _reflected, _compared) -> bool:
        return not (kind == "table" and name.startswith("rtree_")) and not (
            kind == "index" and name.endswith("_geometry")
        )

    with open_store(places.made()) as store, store.db.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"include_object": is_ours, "compare_type": True}
        )
        differences = [
            found
            for found in compare_metadata(context, schema.metadata)
            if not (found[0] == "remove_table" and found[1].name == "spatial_ref_sys")
        ]
    assert differences == []


@pytest.fixture
def sluice(sluice, tmp_path, monkeypatch):
    """`sluice store`, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return partial(sluice, "store")


def test_commands(sluice, places: StorePlaces, monkeypatch, tmp_path: Path):
    code, _, told = sluice("info")
    assert (code, told.count("\n")) == (2, 1)
    assert "sluice.sqlite: there is no store" in told
    address = places.made()
    fill(address)
    monkeypatch.setenv("SLUICE_STORE", address)
    code, said, _ = sluice("info", "--json")
    told = json.loads(said)
    assert (code, told["rows"]["sites"], told["areas"]) == (0, 30, ["ashanti"])
    assert told["kind"] == {"sqlite": "SQLite", "postgis": "PostGIS"}[places.kind]
    assert "detections              60" in sluice("info")[1]
    assert told["reviews_end"]["reviews"] == 3
    assert f"reviews end with {told['reviews_end']['chain']}" in sluice("info")[1]
    code, said, _ = sluice("check")
    assert (code, said.count(" ok\n")) == (0, 8 if places.kind == "sqlite" else 7)
    assert sluice("backup", "copy.sqlite")[0] == 0
    assert sluice("restore", "copy.sqlite", "--store", "again.sqlite")[0] == 0
    assert sluice("info", "--store", "again.sqlite")[0] == 0
    assert "Nothing to do" in sluice("migrate", "--store", "again.sqlite")[1]
    code, _, told = sluice("restore", "copy.sqlite", "--store", "again.sqlite")
    assert (code, told.count("\n")) == (2, 1)
    with open_store("again.sqlite") as store, store.db.writing() as connection:
        connection.exec_driver_sql("UPDATE sites SET reviewers = 9")
    code, said, told = sluice("check", "--store", "again.sqlite")
    assert code == 2
    assert "verdicts" in told
    assert "30 sites do not say" in said


def test_where_the_store_is(monkeypatch):
    monkeypatch.delenv("SLUICE_STORE", raising=False)
    assert store_address(None) == "sluice.sqlite"
    monkeypatch.setenv("SLUICE_STORE", "other.sqlite")
    assert store_address(None) == "other.sqlite"
    assert store_address("given.sqlite") == "given.sqlite"


def test_a_restored_store_counts_on(both, tmp_path: Path):
    """Numbers of rows that are added later do not meet those that were copied."""
    address = both["sqlite"].made()
    with open_with_area(address) as store:
        land_three(store)
    backup_store(address, tmp_path / "copy.sqlite")
    target = both["postgis"].made()
    restore_store(tmp_path / "copy.sqlite", target)
    with open_store(target) as store:
        with store.landing("ashanti") as landing:
            landing.put_detections(detections("run-1", ["e0", "e1"]))
        assert len(store.detections(SiteQuery())) == 5
