"""Accounts, tokens, sessions and the log, in both databases."""

import datetime as dt
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from sluice.app.following.stores import backup_store, check_store, open_store, restore_store
from sluice.base.errors import ConfigError, DataError
from sluice.base.people import Event, Role, Session, Token, User
from sluice.store.people import SqlPeople
from sluice.store.sql_store import SqlStore
from stores import NOW, StorePlaces

HOUR = dt.timedelta(hours=1)


@pytest.fixture
def store(places: StorePlaces) -> Iterator[SqlStore]:
    with open_store(places.made()) as opened:
        yield opened


@pytest.fixture
def people(store: SqlStore) -> SqlPeople:
    return SqlPeople(store.db)


def a_user(name: str = "Ama", **changes: object) -> User:
    values = {"name": name, "role": Role.REVIEWER, "areas": None, "created": NOW}
    return User(**values | changes)


def a_session(person: str = "Ama", **changes: object) -> Session:
    values = {
        "person": person,
        "csrf": "secret",
        "created": NOW,
        "last_seen": NOW,
        "expires": NOW + HOUR,
    }
    return Session(**values | changes)


def a_token(name: str = "qgis", **changes: object) -> Token:
    values = {"name": name, "person": "Ama", "created": NOW, "expires": NOW + HOUR}
    return Token(**values | changes)


def test_roles_include_those_before_them():
    assert Role.ADMIN.includes(Role.VIEWER)
    assert Role.REVIEWER.includes(Role.REVIEWER)
    assert not Role.REVIEWER.includes(Role.ANALYST)


def test_users_come_out_as_they_went_in(people: SqlPeople):
    assert not people.any_users()
    users = [a_user("Ama", areas=frozenset({"b", "a"})), a_user("Kofi", disabled=True)]
    for user in reversed(users):
        people.add_user(user, f"hash of {user.name}")
    assert people.any_users()
    assert people.users() == users
    assert people.user("Ama") == users[0]
    assert people.user("ama") is None
    assert people.password_hash("Kofi") == "hash of Kofi"
    assert people.password_hash("nobody") is None


def test_names_that_look_alike_are_refused(people: SqlPeople):
    people.add_user(a_user("Ama"), "hash")
    with pytest.raises(ConfigError, match="there is Ama already"):
        people.add_user(a_user("AMA", role=Role.ADMIN), "other")
    assert people.password_hash("Ama") == "hash"
    with pytest.raises(ConfigError, match="which has Ama"):
        people.change_user(a_user("Kofi"))


def test_a_new_password_ends_sessions_but_the_one_that_set_it(people: SqlPeople):
    people.add_user(a_user(), "old")
    people.add_user(a_user("Kofi"), "his")
    for digest, person in (("a", "Ama"), ("b", "Ama"), ("c", "Kofi")):
        people.add_session(a_session(person), digest)
    people.set_password("Ama", "new", keep="b")
    assert people.password_hash("Ama") == "new"
    assert people.by_session("a") is None
    assert people.by_session("b") == (a_session(), a_user())
    assert people.by_session("c") is not None
    people.renew_hash("Ama", "old", "wrong")
    assert people.password_hash("Ama") == "new"
    people.renew_hash("Ama", "new", "stronger")
    assert people.password_hash("Ama") == "stronger"


def test_whoever_is_disabled_is_logged_out(people: SqlPeople):
    people.add_user(a_user(), "hash")
    people.add_session(a_session(), "a")
    people.add_token(a_token(), "t")
    changed = a_user(disabled=True, role=Role.VIEWER, areas=frozenset({"north"}))
    people.change_user(changed)
    assert people.user("Ama") == changed
    assert people.by_session("a") is None
    # A token may be used again once its owner may; until then its owner's row says so.
    found = people.by_token("t")
    assert found is not None
    assert found[1].disabled


def test_sessions_that_are_over_are_forgotten(people: SqlPeople):
    people.add_user(a_user(), "hash")
    people.add_session(a_session(), "old")
    people.add_session(a_session(created=NOW + HOUR, expires=NOW + 2 * HOUR), "new")
    assert people.by_session("old") is None
    people.note_use(["new"], NOW + HOUR)
    found = people.by_session("new")
    assert found is not None
    assert found[0].last_seen == NOW + HOUR
    people.end_session("new")
    people.end_session("new")
    assert people.by_session("new") is None


def test_tokens(people: SqlPeople):
    people.add_user(a_user(), "hash")
    with pytest.raises(ConfigError, match="user Kofi: is not in the store"):
        people.add_token(a_token(person="Kofi"), "x")
    people.add_token(a_token(), "t")
    people.add_token(a_token("cron", expires=None), "u")
    with pytest.raises(ConfigError, match="has one of this name"):
        people.add_token(a_token(), "v")
    assert [token.name for token in people.tokens()] == ["cron", "qgis"]
    assert people.tokens("Kofi") == []
    people.note_use(["t"], NOW)
    assert people.by_token("t") == (a_token(last_used=NOW), a_user())
    assert people.by_token("x") is None
    with pytest.raises(ConfigError, match="none of this name, but cron, qgis"):
        people.remove_token("Ama", "gone")
    people.remove_token("Ama", "qgis")
    assert people.by_token("t") is None


def an_event(number: int, who: str = "Ama", what: str = "login") -> Event:
    return Event(when=NOW + number * HOUR, who=who, address="::1", what=what, on="", outcome="done")


def test_the_log_is_read_by_pages_newest_first(people: SqlPeople):
    events = [an_event(n, "Ama" if n % 2 else "Kofi") for n in range(5)]
    for event in events:
        people.add_event(event)
    page = people.events(limit=2)
    assert [event for _, event in page] == [events[4], events[3]]
    rest = people.events(before=page[-1][0])
    assert [event for _, event in rest] == events[2::-1]
    assert [event for _, event in people.events(who="Ama")] == [events[3], events[1]]
    assert people.events(what="export") == []


def test_the_log_is_never_changed(store: SqlStore, people: SqlPeople):
    people.add_event(an_event(0))
    for statement in ("UPDATE audit SET who = 'Kofi'", "DELETE FROM audit"):
        with pytest.raises(DataError, match="never changed"), store.db.writing() as connection:
            connection.execute(sa.text(statement))
    assert [event for _, event in people.events()] == [an_event(0)]


def test_a_check_tells_of_a_log_that_may_be_changed(places: StorePlaces):
    address = places.empty()
    with open_store(address, create=True) as store, store.db.writing() as connection:
        on = " ON audit" if places.kind == "postgis" else "_update"
        connection.execute(sa.text(f"DROP TRIGGER audit_stay{on}"))
    (wrong,) = [found for found in check_store(address) if found.wrong]
    assert "audit_stay" in str(wrong.wrong)


def test_a_secret_stays_what_it_is(people: SqlPeople):
    secret = people.secret("places")
    assert len(secret) == 32
    assert people.secret("places") == secret
    assert people.secret("other") != secret


def test_people_are_in_a_backup(places: StorePlaces, tmp_path):
    address = places.made()
    user = a_user(areas=frozenset({"north"}))
    with open_store(address) as store:
        people = SqlPeople(store.db)
        people.add_user(user, "hash")
        people.add_session(a_session(), "s")
        people.add_token(a_token(), "t")
        people.add_event(an_event(0))
        secret = people.secret("places")
    backup_store(address, tmp_path / "backup.sqlite")
    again = places.empty()
    restore_store(tmp_path / "backup.sqlite", again)
    with open_store(again) as store:
        people = SqlPeople(store.db)
        assert people.users() == [user]
        assert people.password_hash("Ama") == "hash"
        assert people.by_session("s") == (a_session(), user)
        assert people.tokens() == [a_token()]
        assert people.secret("places") == secret
        people.add_event(an_event(1))
        assert [event for _, event in people.events()] == [an_event(1), an_event(0)]
